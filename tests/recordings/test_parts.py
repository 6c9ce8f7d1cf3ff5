"""Parts: what is written is read back, the summary comes last, and rows say how a recording fared."""

import io
from pathlib import Path

import polars as pl
import pytest

from argus_assets.recordings.model import Limits
from argus_assets.recordings.parts import problems_table, read_summary, recording_row, scan_part, write_part
from argus_assets.recordings.schema import PROBLEMS, RECORDINGS
from argus_assets.simulate.damage import flip_bits, truncate
from argus_assets.simulate.fleet import Drive, simulate_drive
from tests.support.values import VIN
from tests.support.whole_recording import read_recording


@pytest.fixture(scope="module")
def drive(tmp_path_factory: pytest.TempPathFactory) -> Drive:
    return simulate_drive(
        tmp_path_factory.mktemp("d") / "x", scenario="av_lidar_dropout", seed=3, vehicle_id="v", vin=VIN,
        release="1", batch_id="b", started_ns=10**18, seconds=20, files=1,
    )  # fmt: skip


@pytest.mark.parametrize("batch_frames", [10, 1000, 10**6])
def test_a_part_holds_what_was_read(drive: Drive, tmp_path: Path, batch_frames: int) -> None:
    with drive.files[0].open("rb") as source:
        summary = write_part(source, folder=tmp_path, limits=Limits(batch_frames=batch_frames))
    batch, _ = read_recording(drive.files[0])
    part = scan_part(tmp_path)
    assert part.frames.collect().equals(batch.frames)
    assert part.logs.collect().equals(batch.logs)
    assert part.diagnostics.collect().equals(batch.diagnostics)
    assert {topic for topic, _ in part.topics} == {
        "/vehicle/speed",
        "/system/compute",
        "/sensing/lidar/status",
        "/sensing/gnss/fix",
    }
    for key, table in part.topics.items():
        assert table.collect().equals(batch.topics[key])
    assert read_summary(tmp_path) == summary
    assert summary.frames == drive.frames


def test_a_crash_leaves_no_summary(drive: Drive, tmp_path: Path) -> None:
    class Failing(io.BytesIO):
        reads = 0

        def read(self, size: int | None = -1, /) -> bytes:
            self.reads += 1
            if self.reads > 1:
                raise OSError("connection lost")
            return super().read(size)

    with pytest.raises(OSError, match="lost"):
        write_part(Failing(drive.files[0].read_bytes()), folder=tmp_path)
    assert not (tmp_path / "summary.json").exists()


@pytest.mark.parametrize(
    ("content", "state", "kind"),
    [
        (b"", "failed", "empty_file"),
        (b"hello, I am no recording", "failed", "unknown_format"),
        (b"\x89MCAP0\r\n", "failed", "truncated"),
    ],
)
def test_what_cannot_be_read_is_a_row_with_a_reason(tmp_path: Path, content: bytes, state: str, kind: str) -> None:
    summary = write_part(io.BytesIO(content), folder=tmp_path)
    row = recording_row("a.mcap", summary, sha256="0" * 64, sha256_verified=True, parse_s=0.1, part=None)
    assert row["state"] == state
    problems = PROBLEMS.check(problems_table([("a.mcap", summary)]))
    assert problems["kind"].to_list() == [kind]
    assert problems["help"][0] or kind == "truncated"
    times = {"first_timestamp": pl.Int64(), "last_timestamp": pl.Int64()}
    RECORDINGS.cast(pl.DataFrame([row], schema={**RECORDINGS.schema, **times}))


@pytest.mark.parametrize("seed", range(6))
def test_a_damaged_drive_is_read_as_far_as_it_goes(drive: Drive, tmp_path: Path, seed: int) -> None:
    path = tmp_path / "a.mcap"
    path.write_bytes(drive.files[0].read_bytes())
    if seed % 2:
        truncate(path, 0.2 + 0.1 * seed)
    else:
        flip_bits(path, 3, seed)
    with path.open("rb") as source:
        summary = write_part(source, folder=tmp_path)
    assert summary.problems or summary.frames == drive.frames
    assert 0 < summary.frames <= drive.frames
    assert (tmp_path / "frames.parquet").stat().st_size > 0
