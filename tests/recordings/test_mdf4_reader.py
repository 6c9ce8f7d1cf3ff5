"""Our MDF4 reading against asammdf's own extraction and python-can's reader."""

import io
from pathlib import Path

import can
import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from argus_assets.recordings.reading import open_recording
from argus_assets.recordings.schema import FRAMES
from argus_assets.simulate.can import CanLog
from argus_assets.simulate.write import write_mdf4
from tests.support.values import START_NS
from tests.support.whole_recording import read_recording


def log(n: int, seed: int) -> CanLog:
    rng = np.random.default_rng(seed)
    length = rng.integers(0, 9, n).astype(np.uint8)
    data = rng.integers(0, 256, (n, 8), dtype=np.uint8) * (np.arange(8) < length[:, None])
    extended = rng.integers(0, 2, n).astype(np.bool_)
    can_id = rng.integers(0, np.where(extended, 2**29, 2**11)).astype(np.uint32)
    return CanLog(np.sort(rng.uniform(0, 100, n)), can_id, extended, data.astype(np.uint8), length)


@given(st.integers(1, 300), st.integers(0, 2**32 - 1))
@settings(max_examples=15, deadline=None)
def test_frames_are_read_back(tmp_path_factory: pytest.TempPathFactory, n: int, seed: int) -> None:
    path = tmp_path_factory.mktemp("mdf") / "a.mf4"
    wanted = log(n, seed)
    write_mdf4(path, can=wanted, bus=3, started_ns=START_NS)
    batch, summary = read_recording(path)
    frames = FRAMES.check(batch.frames)
    assert summary.problems == []
    assert frames["arbitration_id"].to_list() == wanted.can_id.tolist()
    assert frames["is_extended_id"].to_list() == wanted.extended.tolist()
    assert frames["payload"].to_list() == [bytes(d[:m]) for d, m in zip(wanted.data, wanted.length, strict=True)]
    assert set(frames["channel"].cast(pl.String)) == {"CAN3"}
    times = frames["timestamp"].dt.timestamp("ns").to_numpy() - START_NS
    assert np.abs(times - wanted.time_s * 1e9).max() <= 1


def test_a_source_that_is_no_file_is_read_too(tmp_path: Path) -> None:
    path = tmp_path / "a.mf4"
    write_mdf4(path, can=log(50, 1), bus=1, started_ns=START_NS)
    reader = open_recording(io.BytesIO(path.read_bytes()))
    assert sum(b.frames.height for b in reader) == 50


@pytest.mark.parametrize("share", [0.05, 0.3, 0.6, 0.9])
def test_a_cut_file_says_so(tmp_path: Path, share: float) -> None:
    path = tmp_path / "a.mf4"
    write_mdf4(path, can=log(500, 2), bus=1, started_ns=START_NS)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    batch, summary = read_recording(path)
    assert batch.frames.height < 500
    assert summary.problems
    assert all(p.help for p in summary.problems)


def test_canedge_files_equal_python_can(recordings: Path) -> None:
    files = sorted((recordings / "canedge").glob("*.MF4"))
    assert files
    for file in files:
        batch, summary = read_recording(file)
        assert summary.problems == []
        with can.MF4Reader(file) as reader:
            wanted = sorted(
                (m.timestamp, m.channel, m.arbitration_id, bytes(m.data), m.is_extended_id, m.is_error_frame)
                for m in reader
            )
        frames = batch.frames.with_columns(pl.col("channel").cast(pl.String))
        bus = frames["channel"].str.slice(3).cast(pl.Int64)
        got = sorted(
            zip(
                (frames["timestamp"].dt.timestamp("ns") / 1e9).to_list(),
                bus.to_list(),
                frames["arbitration_id"].to_list(),
                frames["payload"].to_list(),
                frames["is_extended_id"].to_list(),
                frames["is_error_frame"].to_list(),
                strict=True,
            )
        )
        assert len(got) == len(wanted)
        assert [g[2:] for g in got] == [w[2:] for w in wanted]
        # python-can's times are floats: about 250 ns at epoch scale.
        assert max(abs(g[0] - w[0]) for g, w in zip(got, wanted, strict=True)) < 2e-6
