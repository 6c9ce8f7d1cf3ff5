"""Reading in a confined process: the same as without, and what is kept when the process has to be killed."""

import io
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

import polars as pl
import pytest
from mcap.writer import CompressionType, Writer

from argus_assets.assets.ingest import parse_recordings, part_folder
from argus_assets.assets.open_drive import detect_faults, measure_motion, open_drive
from argus_assets.containment.client import SERVER, Server, pool
from argus_assets.drop.bucket import Bucket
from argus_assets.lake.store import Lake
from argus_assets.recordings import contained
from argus_assets.recordings.contained import read_contained
from argus_assets.recordings.model import Limits, Problem, RecordingSummary
from argus_assets.recordings.parts import read_summary, scan_part, write_part
from argus_assets.recordings.registry import Decoders
from argus_assets.recordings.schema import NOTICE_KINDS
from fuzz.damage import damaged
from fuzz.seeds import seeds
from tests.support.drives import manifest_of

LIMITS = Limits(batch_frames=1000)


def drive_of(frames: int, mark: int = 0) -> bytes:
    """An MCAP recording of small chunks, so that there are many batches."""
    file = io.BytesIO()
    writer = Writer(file, chunk_size=512 * 1024, compression=CompressionType.NONE)
    writer.start()
    channel = writer.register_channel("/t", "x", 0)
    for n in range(frames):
        writer.add_message(channel, n * 10**6, n.to_bytes(8, "little") + bytes([mark] * 1192), n * 10**6)
    writer.finish()
    return file.getvalue()


DRIVE = drive_of(20_000)


@pytest.fixture(scope="module")
def hostile() -> Iterator[Server]:
    made = Server("tests.support.hostile_jobs")
    yield made
    made.stop()


def frames_of(folder: Path) -> pl.DataFrame:
    return scan_part(folder).frames.collect()


@pytest.mark.parametrize("seed", sorted(seeds()))
def test_what_is_read_is_what_the_reader_reads_without(seed: str, tmp_path: Path) -> None:
    data = seeds()[seed]
    with pool() as processes, processes.process() as process:
        for number, content in enumerate([data, *(changed for _, changed in list(damaged(seed, data))[:3])]):
            plain = tmp_path / str(number)
            plain.mkdir()
            expected = write_part(io.BytesIO(content), folder=plain)
            read = read_contained(process, io.BytesIO(content))
            assert read.summary == read_summary(plain)
            assert read.summary.frames == expected.frames
            assert {f.name for f in plain.iterdir()} == {f.name for f in read.folder.iterdir()}
            for file in plain.glob("*.parquet"):
                assert pl.read_parquet(file).equals(pl.read_parquet(read.folder / file.name)), file.name


def losses(summary: RecordingSummary) -> list[Problem]:
    """The problems but notices: the drive's messages have no type, which is told."""
    return [problem for problem in summary.problems if problem.kind not in NOTICE_KINDS]


@pytest.mark.parametrize("how", ["crash", "spin", "allocate", "raise", "exit"])
def test_what_was_read_before_the_end_is_kept(
    how: str, hostile: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(SERVER, str(hostile.address))
    monkeypatch.setattr(contained, "MAX_READER_BYTES", 256 * 1024**2)
    limits = Limits(batch_frames=1000, min_cpu_s=4, cpu_s_per_mb=0)
    honest = write_part(io.BytesIO(DRIVE), folder=tmp_path, limits=limits)
    with pool() as processes, processes.process() as process:
        read = read_contained(process, io.BytesIO(DRIVE), name=f"{how}.mcap", limits=limits)
        assert 0 < read.summary.frames < honest.frames
        (stopped,) = losses(read.summary)
        assert stopped.kind == "reader_stopped"
        assert stopped.actual
        assert read.summary.try_again
        assert sum(c.frames for c in read.summary.channels) == read.summary.frames
        assert frames_of(read.folder).equals(frames_of(tmp_path).head(read.summary.frames))
        # One that does the same in the second attempt leaves nothing, and says so.
        again = read_contained(process, io.BytesIO(DRIVE), name=f"{how}!.mcap", limits=limits)
        assert [p.kind for p in losses(again.summary)] == ["reader_stopped"]
        assert again.summary.frames == frames_of(again.folder).height
        # The process, or the next one, reads on.
        assert (
            read_contained(process, io.BytesIO(DRIVE), name="good.mcap", limits=limits).summary.frames == honest.frames
        )


def test_a_recording_whose_reader_is_killed_costs_its_batch_nothing_else(
    hostile: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(SERVER, str(hostile.address))
    folder = tmp_path / "bucket" / "batches" / "v" / "b"
    folder.mkdir(parents=True)
    (tmp_path / "lake").mkdir()
    names = ["a.mcap", "crash.mcap", "b.mcap", "exit!.mcap", "c.mcap"]
    for name in names:
        (folder / name).write_bytes(drive_of(20_000, names.index(name)))
    lake = Lake.from_url(str(tmp_path / "lake"))
    manifest = manifest_of(folder)
    held: list[int] = []

    @contextmanager
    def reading(memory: int) -> Iterator[None]:
        held.append(memory)
        yield

    parsed = parse_recordings(
        manifest, bucket=Bucket.from_url(str(tmp_path / "bucket")), lake=lake, workers=2, limits=LIMITS, reading=reading
    )
    states = dict(parsed.recordings.select("recording", "state").iter_rows())
    assert states == {
        "a.mcap": "parsed",
        "b.mcap": "parsed",
        "c.mcap": "parsed",
        "crash.mcap": "damaged",
        "exit!.mcap": "failed",
    }
    assert set(parsed.problems["kind"].cast(pl.String)) == {"unsupported", "reader_stopped"}
    assert len(held) > len(names)  # other attempts reserve memory, too
    # What was whole is reused; what was not is read again.
    again = parse_recordings(
        manifest, bucket=Bucket.from_url(str(tmp_path / "bucket")), lake=lake, workers=2, limits=LIMITS
    )
    assert again.reused == 3
    assert detect_faults(parsed.recordings, lake=lake).events.height >= 0


def test_the_process_that_read_a_small_batch_computes_on_it(tmp_path: Path) -> None:
    folder = tmp_path / "bucket" / "batches" / "v" / "b"
    folder.mkdir(parents=True)
    (tmp_path / "lake").mkdir()
    for number in range(3):
        lines = (f"({1_700_000_000 + n}.5) can0 18FECA00#04FF64000{number}01FFFF\n" for n in range(50))
        (folder / f"{number}.log").write_text("".join(lines))
    (folder / "empty.log").write_bytes(b"")
    bucket, lake = Bucket.from_url(str(tmp_path / "bucket")), Lake.from_url(str(tmp_path / "lake"))
    manifest = manifest_of(folder)
    with pool() as processes:
        parsed = parse_recordings(manifest, bucket=bucket, lake=lake, workers=4, processes=processes)
        with processes.process() as reader:
            pid = reader.pid
        with open_drive(parsed.recordings, lake=lake, processes=processes, kept=parsed.kept) as drive:
            assert drive.process.pid == pid
            found = detect_faults(parsed.recordings, lake=lake, drive=drive)
            measured = measure_motion(parsed.recordings, lake=lake, drive=drive)
    from_lake = detect_faults(parsed.recordings, lake=lake)
    assert found.events.height > 0
    assert found.events.equals(from_lake.events)
    assert found.buses.equals(from_lake.buses)
    again = measure_motion(parsed.recordings, lake=lake)
    assert measured.distance == again.distance
    assert measured.speed.equals(again.speed)
    assert measured.values.equals(again.values)
    assert measured.values.height > 0
    # Of a batch that was parsed before, the process that computes reads the lake's own parts.
    with pool() as processes:
        again = parse_recordings(manifest, bucket=bucket, lake=lake, workers=4, processes=processes)
        assert again.kept == {}
        with open_drive(again.recordings, lake=lake, processes=processes, kept=again.kept) as drive:
            assert detect_faults(again.recordings, lake=lake, drive=drive).events.equals(found.events)


def test_limits_have_their_own_parts() -> None:
    content = sha256(b"x").hexdigest()
    default, other = part_folder(content), part_folder(content, limits=Limits(max_topics=7))
    assert default != other
    assert part_folder(content, limits=Limits(workers=7)) == default


def test_many_recordings_with_many_topics_need_few_open_files(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    folder = tmp_path / "bucket" / "batches" / "v" / "b"
    folder.mkdir(parents=True)
    (tmp_path / "lake").mkdir()
    topics, rounds = 300, 3
    for number in range(2):
        with (folder / f"{number}.mcap").open("wb") as file:
            writer = Writer(file, chunk_size=64 * 1024)
            writer.start()
            schema = writer.register_schema("p/msg/T", "ros2msg", b"float64 x\nstring s")
            channels = [writer.register_channel(f"/t{i}", "cdr", schema) for i in range(topics)]
            for n in range(rounds * topics):
                text = b"\0\1\0\0" + bytes(8) + b"\2\0\0\0a\0"
                writer.add_message(channels[n % topics], n * 10**6, text, n * 10**6)
            writer.finish()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(list(Path("/proc/self/fd").iterdir())) + 100, hard))
    try:
        lake = Lake.from_url(str(tmp_path / "lake"))
        parsed = parse_recordings(
            manifest_of(folder), bucket=Bucket.from_url(str(tmp_path / "bucket")), lake=lake, workers=8
        )
        detect_faults(parsed.recordings, lake=lake)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert parsed.frames == 2 * rounds * topics
    for part in parsed.recordings["part"]:
        summary = read_summary(tmp_path / "lake" / part)
        assert [t.rows for t in summary.topics] == [rounds] * topics
        tables = scan_part(tmp_path / "lake" / part).topics
        assert sum(t.collect().height for t in tables.values()) == rounds * topics
    shutil.rmtree(tmp_path)


def test_an_unknown_format_names_the_plug_ins_that_do_not_know_it_either() -> None:
    decoders = Decoders(notes=("The decoder 'x' is passed over: it cannot be imported.",))
    with pool() as processes, processes.process() as process:
        read = read_contained(process, io.BytesIO(b"PK\x03\x04 something else"), decoders=decoders)
        (problem,) = read.summary.problems
        assert problem.kind == "unknown_format"
        assert decoders.notes[0] in problem.help
        assert read_summary(read.folder).problems == [problem]
