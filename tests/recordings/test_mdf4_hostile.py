"""Hostile MDF 4 files: each ends within its budget, raises nothing, and tells in few problems what was not read."""

import io
import struct
from collections import Counter
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from argus_assets.common.texts import MAX_NAME_CHARS
from argus_assets.recordings.model import FrameBatch, Limits, RecordingSummary
from argus_assets.recordings.reading import open_recording
from argus_assets.recordings.schema import DAMAGE_KINDS, FRAMES
from tests.support.hostile_mdf4 import HOSTILE, Hostile, of_conversion, records

MIB = 1024**2
LIMITS = Limits(
    max_chunk_bytes=4 * MIB, min_total_bytes=16 * MIB, max_total_bytes=16 * MIB, max_in_flight_bytes=4 * MIB, workers=1,
    max_columns=200, batch_frames=10_000,
)  # fmt: skip


class Counted(io.BytesIO):
    """A source that counts the bytes that are read of it, and each read as 16 more."""

    taken = 0

    def read(self, size: int | None = -1, /) -> bytes:
        out = super().read(size)
        self.taken += len(out) + 16
        return out


def read(data: bytes, limits: Limits = LIMITS) -> tuple[list[FrameBatch], RecordingSummary, int]:
    """Batches, summary, and bytes that were read."""
    source = Counted(data)
    reader = open_recording(source, limits=limits)
    batches = list(reader)
    return batches, reader.summary, source.taken


def memory(batches: list[FrameBatch]) -> int:
    """Bytes of all columns."""
    return sum(int(table.estimated_size()) for batch in batches for table in (batch.frames, *batch.topics.values()))


def told(summary: RecordingSummary) -> str:
    return " ".join(f"{p.kind} {p.expected} {p.actual}" for p in summary.problems)


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("n", [1, 300])
@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_end_within_their_budget(name: str, n: int, workers: int) -> None:
    data = HOSTILE[name](n)
    batches, summary, taken = read(data, replace(LIMITS, workers=workers))
    for batch in batches:
        FRAMES.check(batch.frames)
    assert "reader_failed" not in told(summary)
    assert sum(batch.frames.height for batch in batches) == summary.frames
    # What is read, and what it becomes, follow the size of the file and the limits, not what the file claims.
    assert taken <= 60 * len(data) + LIMITS.max_total_bytes
    assert memory(batches) <= 2 * LIMITS.max_total_bytes
    kinds = Counter(problem.kind for problem in summary.problems)
    assert max(kinds.values(), default=0) <= 2 * LIMITS.max_problems + 1
    for problem in summary.problems:
        assert problem.kind in DAMAGE_KINDS
        assert problem.expected
        assert problem.actual
        assert problem.help
        assert len(problem.expected) + len(problem.actual) < 1500
        assert problem.offset is None or 0 <= problem.offset < 2**63
    assert 0 <= summary.frames_lost < 2**63


SAYS = {
    "conversions_that_each_refer_twice_to_the_next": "more than 32 conversions that refer to each other",
    "conversions_split_by_every_bit": "steps of conversion",
    "a_conversion_that_refers_to_itself": "a conversion that refers to itself",
    "a_long_chain_of_conversions": "more than 32 conversions",
    "a_table_that_claims_entries_it_has_not": "in a block of",
    "a_bit_field_of_many_masks": "bit masks",
    "texts_to_texts_in_a_channel_of_numbers": "one of texts",
    "conversion_blocks_that_overlap": "blocks that do not overlap",
    "structures_inside_each_other": "levels of structures",
    "many_groups_in_circles": "circle",
    "times_that_are_none": "times in group",
    "columns_over_the_same_bytes": "columns in group",
    "a_list_that_names_one_block_again_and_again": "links to blocks that were read before",
    "heads_of_lists_in_a_circle": "links to blocks that were read before",
    "one_data_block_of_many_groups": "links to blocks that were read before",
    "zipped_blocks_that_lie": "bytes inflated",
    "values_of_claimed_lengths": "a value of v for each record none for",
    "one_long_value_of_all_records": "bytes inflated",
    "numbers_that_cannot_be": "channels inside their records",
}


@pytest.mark.parametrize("name", SAYS)
def test_hostile_files_are_told_as_what_they_are(name: str) -> None:
    _, summary, _ = read(HOSTILE[name](700))
    assert SAYS[name] in told(summary)


@given(st.sampled_from(sorted(HOSTILE)), st.integers(1, 30), st.data())
@settings(max_examples=150, deadline=None)
def test_damaged_hostile_files_raise_nothing(name: str, n: int, data: st.DataObject) -> None:
    raw = bytearray(HOSTILE[name](n))
    blocks = [at for at in range(0, len(raw) - 8, 8) if raw.startswith(b"##", at)]
    numbers = st.sampled_from([0, 1, 2**16 - 1, 2**32 - 1, 2**63, 2**64 - 1, *blocks])
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.sampled_from(blocks)) + 8 * data.draw(st.integers(1, 14))
        if at + 8 <= len(raw):
            struct.pack_into("<Q", raw, at, data.draw(numbers))
    batches, summary, _ = read(bytes(raw))
    assert "reader_failed" not in told(summary)
    assert memory(batches) <= 2 * LIMITS.max_total_bytes


# ---------------------------------------------------------------------------------------------- what honest files keep


def test_a_block_that_is_named_again_is_read_once() -> None:
    m = Hostile()
    first, second = m.dt(records(10)), m.dz(records(20))
    m.dg(m.cg(m.time(m.cn(m.name("v"))), 9, cycles=30), m.dl([first, second, first, *[second] * 50]))
    batches, summary, _ = read(m.finished())
    assert sum(table.height for batch in batches for table in batch.topics.values()) == 30
    [problem] = summary.problems
    assert "51 links" in problem.actual
    assert summary.frames_lost == 0


def test_channels_that_share_a_text_read_it_once_and_cut() -> None:
    m = Hostile()
    text = m.name("a" * 100_000)
    following = 0
    for _ in range(150):
        following = m.cn(text, following)
    m.dg(m.cg(m.time(following), 9, cycles=10), m.dt(records(10)))
    data = m.finished()
    batches, summary, taken = read(data)
    [table] = [table for batch in batches for table in batch.topics.values()]
    own = table.columns[2:]
    assert own == ["a" * MAX_NAME_CHARS, *(f"{'a' * MAX_NAME_CHARS}#{i}" for i in range(2, 151))]
    assert summary.problems == []
    assert taken < 2 * len(data)


def test_columns_of_one_name_are_numbered() -> None:
    m = Hostile()
    following = 0
    for text in reversed(["a", "a#2", "a", "b", "a", "frame", "", "b", "a#2", ""]):
        following = m.cn(m.name(text), following)
    m.dg(m.cg(m.time(following), 9, cycles=10), m.dt(records(10)))
    [batch], summary, _ = read(m.finished())
    [table] = batch.topics.values()
    assert table.columns[2:] == ["a", "a#2", "a#3", "b", "a#4", "frame#2", "#2", "b#2", "a#2#2", "#3"]
    assert summary.problems == []


def test_groups_and_columns_beyond_the_limits_are_one_problem_each() -> None:
    m = Hostile()
    for i in range(20):
        channels = m.time(m.cn(m.name("v"), m.cn(m.name("w"))))
        m.dg(m.cg(channels, 9, cycles=10, name=m.name(f"g{i}")), m.dt(records(10)))
    data = m.finished()
    batches, summary, _ = read(data, replace(LIMITS, max_topics=8))
    assert len({key for batch in batches for key in batch.topics}) == 8
    [problem] = summary.problems
    assert "12 more" in problem.actual
    assert summary.frames_lost == 120
    batches, summary, _ = read(data, replace(LIMITS, max_total_columns=11))
    assert sum(len(t.columns) - 2 for t in {k: t for b in batches for k, t in b.topics.items()}.values()) == 11
    assert [p.kind for p in summary.problems].count("over_limit") == 1


def test_values_that_lead_nowhere_are_null_and_told() -> None:
    batches, summary, _ = read(HOSTILE["values_of_claimed_lengths"](50))
    [table] = [table for batch in batches for table in batch.topics.values()]
    assert table["v"].to_list() == ["abc", None, None, None, None, None, "", "abc"]
    assert summary.frames == summary.frames_lost == 0


@pytest.mark.parametrize("size", [0, 1, 899, 901, 2**40])
def test_a_zipped_block_of_a_wrong_size_costs_only_itself(size: int) -> None:
    m = Hostile()
    blocks = [m.dz(records(100)), m.dz(records(100), size=size), m.dz(records(100))]
    m.dg(m.cg(m.time(m.cn(m.name("v"))), 9), m.dl(blocks))
    batches, summary, _ = read(m.finished())
    table = pl.concat([table for batch in batches for table in batch.topics.values()])
    whole = (np.arange(100) * 37 % 251).tolist()
    assert table["v"].to_list()[:100] == whole
    assert summary.problems
    if size == 0:
        assert table["v"].to_list() == whole * 2


@given(st.integers(2, 400), st.integers(1, 40), st.integers(20, 5000), st.booleans())
@settings(max_examples=40, deadline=None)
def test_long_blocks_are_taken_apart_in_parts(rows: int, width: int, part: int, in_columns: bool) -> None:
    data = np.frombuffer(records(rows, extra=width), np.uint8).reshape(rows, 8 + width)
    m = Hostile()
    block = m.dz(data.T.tobytes() if in_columns else data.tobytes(), columns=8 + width if in_columns else 0)
    m.dg(m.cg(m.time(m.cn(m.name("v"))), 8 + width, cycles=rows), block)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("argus_assets.recordings.formats.mdf4.reader.PIECE_BYTES", part)
        patch.setattr("argus_assets.recordings.formats.mdf4.reader.TASK_BYTES", 10 * part)
        batches, summary, _ = read(m.finished())
    assert summary.problems == []
    table = pl.concat([table for batch in batches for table in batch.topics.values()])
    assert table["v"].to_list() == data[:, 8].tolist()
    assert table["timestamp"].to_physical().diff().drop_nulls().to_list() == [10**7] * (rows - 1)


def test_formulas_of_a_file_are_never_run(tmp_path_factory: pytest.TempPathFactory) -> None:
    marker = tmp_path_factory.mktemp("run") / "marker"
    for formula in (
        f'X+sin(*(eval(\'__import__("pathlib").Path("{marker}").touch()\') for i in (1,)))',
        f"__import__('pathlib').Path('{marker}').touch()",
        f"[open('{marker}','w')]",
        "9**9**9**9",
    ):
        batches, _, _ = read(of_conversion(lambda m, text=formula: m.cc(3, references=[m.name(text)])))
        assert sum(table.height for batch in batches for table in batch.topics.values()) == 10
    assert not marker.exists()
