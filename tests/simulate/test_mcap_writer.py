"""What the batch writer writes is what the official reader reads, with every checksum on."""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mcap.reader import NonSeekingReader, make_reader

from argus_assets.simulate.mcap_writer import McapBatchWriter

rows = st.lists(
    st.tuples(st.integers(0, 2), st.integers(0, 2**63 - 1), st.binary(max_size=40), st.integers(0, 2**32 - 1)),
    max_size=60,
)


@given(rows, st.sampled_from(["", "lz4", "zstd"]), st.sampled_from([1, 100, 10**6]), st.booleans(), st.integers(0, 60))
@settings(max_examples=80, deadline=None)
def test_the_official_reader_reads_it(found, compression, chunk_bytes: int, index: bool, split: int) -> None:
    file = io.BytesIO()
    with McapBatchWriter(file, compression=compression, chunk_bytes=chunk_bytes, index=index, profile="p") as writer:
        schema = writer.add_schema("a/msg/B", "ros2msg", b"int32 x")
        channels = [writer.add_channel(f"/{n}", "cdr", schema if n else 0) for n in range(3)]
        for part in (found[:split], found[split:]):
            writer.write(
                np.array([channels[c] for c, _, _, _ in part], np.int64),
                np.array([t for _, t, _, _ in part], np.int64),
                np.frombuffer(b"".join(d for _, _, d, _ in part), np.uint8),
                np.array([len(d) for _, _, d, _ in part], np.int64),
                sequences=np.array([s for _, _, _, s in part], np.int64),
            )
    expected = [(f"/{c}", t, d, s) for c, t, d, s in found]
    data = file.getvalue()
    for reader in (
        NonSeekingReader(io.BytesIO(data), validate_crcs=True),
        make_reader(io.BytesIO(data), validate_crcs=True),
    ):
        if not index and not isinstance(reader, NonSeekingReader):
            continue
        read = [(c.topic, m.log_time, m.data, m.sequence) for _, c, m in reader.iter_messages(log_time_order=False)]
        assert read == expected
    summary = make_reader(io.BytesIO(data)).get_summary()
    assert summary is not None
    assert summary.statistics is not None
    assert summary.statistics.message_count == len(found)
    assert set(summary.channels) == {0, 1, 2}


def test_columns_that_do_not_fit_are_refused() -> None:
    writer = McapBatchWriter(io.BytesIO())
    writer.add_channel("/a", "cdr", 0)
    two, one = np.zeros(2, np.int64), np.zeros(1, np.int64)
    with pytest.raises(ValueError, match="do not fit"):
        writer.write(two, one, np.zeros(0, np.uint8), two)
    with pytest.raises(ValueError, match="channel ids from 0 to 1"):
        writer.write(np.arange(2), two, np.zeros(0, np.uint8), two)
