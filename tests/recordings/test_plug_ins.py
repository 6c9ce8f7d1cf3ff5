"""Formats of one's own: programs and packages that read them well, and in every way badly. All are real processes."""

import gzip
import io
import json
import re
import shutil
import struct
import subprocess
import sys
import tempfile
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import Distribution, distributions
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from argus_assets.assets.ingest import ParsedBatch, parse_recordings
from argus_assets.assets.open_drive import detect_faults
from argus_assets.cli import root
from argus_assets.containment.client import pool
from argus_assets.drop.bucket import Bucket
from argus_assets.drop.manifest import Manifest
from argus_assets.drop.upload import collect_files, upload_files
from argus_assets.errors import BadSetting
from argus_assets.lake.store import Lake
from argus_assets.recordings.contained import read_contained
from argus_assets.recordings.model import DEFAULT_LIMITS, FrameBatch, Limits, RecordingSummary, concat_batches
from argus_assets.recordings.parts import READER_VERSION, reader_version, scan_part
from argus_assets.recordings.plugins.loading import load_decoders
from argus_assets.recordings.reading import open_recording
from argus_assets.recordings.registry import BUILT_IN, Decoders
from argus_assets.recordings.schema import DIAGNOSTICS, FRAMES, LOGS
from argus_assets.simulate.fleet import simulate_drive
from tests.support.values import START_NS, VIN
from tests.support.whole_recording import read_recording

HERE = Path(__file__).parent
GUIDE = HERE.parents[1] / "docs" / "recordings.md"
T0 = 1_795_000_000_123_456_789

frames_of_a_bus = st.lists(
    st.tuples(st.integers(0, 2**62), st.integers(0, 0x1FFFFFFF), st.booleans(), st.binary(max_size=64)), max_size=40
)


def example(name: str) -> str:
    """An example of the guide."""
    found = re.search(rf"<!-- example: {re.escape(name)} -->\n```\w+\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    assert found is not None
    return found[1]


# ---------------------------------------------------------------------------------------------- the guide's program


@pytest.fixture(scope="session")
def converter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`rec2csv`, compiled."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        pytest.skip("no C compiler")
    program = tmp_path_factory.mktemp("acme") / "rec2csv"
    subprocess.run([compiler, "-O1", "-o", program, HERE / "rec2csv.c"], check=True, capture_output=True)
    return program


@pytest.fixture(scope="session")
def guide(converter: Path) -> Path:
    """The guide's declaration, beside the program."""
    path = converter.parent / "decoders.toml"
    text = example("decoders.toml")
    assert '"/opt/acme/rec2csv"' in text
    path.write_text(text.replace("/opt/acme/rec2csv", "./rec2csv"))
    return path


def acme(frames, positions=()) -> bytes:
    out = io.BytesIO(b"ACME")
    out.seek(4)
    for at, number, rx, data in frames:
        out.write(struct.pack("<BQIBB", 1, at, number, rx, len(data)) + data)
    for at_us, latitude, longitude in positions:
        out.write(struct.pack("<BQdd", 2, at_us, latitude, longitude))
    return out.getvalue()


def read(data: bytes, decoders: Decoders, name: str = "a.rec", **limits) -> tuple[FrameBatch, RecordingSummary]:
    """What is read here, which has to be what is read in a confined process."""
    reader = open_recording(io.BytesIO(data), decoders=decoders, name=name, **limits)
    batch = concat_batches(list(reader))
    FRAMES.check(batch.frames)
    LOGS.check(batch.logs)
    DIAGNOSTICS.check(batch.diagnostics)
    with pool() as processes, processes.process() as process:
        confined = read_contained(process, io.BytesIO(data), decoders=decoders, name=name, **limits)
        # What a clock did is found when a part is written.
        here, there = (
            replace(s, topics=[], problems=[p for p in s.problems if not p.kind.startswith("clock")])
            for s in (reader.summary, confined.summary)
        )
        assert [p.kind for p in there.problems] == [p.kind for p in here.problems], there.problems
        told = [replace(s, problems=[(p.kind, p.frames_lost) for p in s.problems]) for s in (here, there)]  # type: ignore[misc]
        assert told[0] == told[1]
        part = scan_part(confined.folder)
        for table in ("frames", "logs", "diagnostics"):
            assert getattr(part, table).collect().equals(getattr(batch, table)), table
        assert part.topics.keys() == batch.topics.keys()
        assert all(part.topics[key].collect().equals(rows) for key, rows in batch.topics.items())
    return batch, reader.summary


def test_the_guides_example_is_read_exactly(guide: Path, tmp_path: Path) -> None:
    frames = [(T0, 0x18FECA00, True, bytes(range(8))), (T0 + 1, 0x7FF, False, b""), (T0 + 10**9, 1, True, b"\xff" * 64)]
    path = tmp_path / "drive.rec"
    path.write_bytes(acme(frames, [(T0 // 1000, 48.137154, 11.5), (T0 // 1000 + 5, -0.1, 1e-300)]))
    batch, summary = read_recording(path, decoders=load_decoders(guide))
    assert summary.problems == []
    assert (summary.format, summary.decoder, summary.frames) == ("acme-rec", "acme-rec/1", 5)
    assert (summary.first_timestamp_ns, summary.last_timestamp_ns) == (T0 - 789, T0 + 10**9)
    assert [(c.channel, c.kind, c.frames, c.schema) for c in summary.channels] == [
        ("acme/can_1", "can", 3, ""), ("gps", "message", 2, "acme/Gps"),
    ]  # fmt: skip
    bus = batch.frames.filter(pl.col("kind") == "can")
    assert bus["timestamp"].to_physical().to_list() == [at for at, *_ in frames]
    assert bus["arbitration_id"].to_list() == [0x18FECA00, 0x7FF, 1]
    assert bus["is_extended_id"].to_list() == [True, False, False]
    assert bus["is_rx"].to_list() == [True, False, True]
    assert bus["is_fd"].to_list() == [False, False, True]
    assert bus["dlc"].to_list() == [8, 0, 15]
    assert bus["payload"].to_list() == [data for *_, data in frames]
    assert batch.frames["timestamp"].is_sorted()
    assert batch.frames["frame"].to_list() == [0, 1, 2, 3, 4]
    positions = batch.topics["gps", "acme/Gps"]
    assert positions["latitude"].to_list() == [48.137154, -0.1]
    assert positions["longitude"].to_list() == [11.5, 1e-300]
    assert positions.select("frame", "timestamp").equals(
        batch.frames.filter(pl.col("kind") == "message").select("frame", "timestamp")
    )


@given(frames=frames_of_a_bus)
@settings(max_examples=15, deadline=None)
def test_what_the_program_writes_is_what_is_read(guide: Path, frames) -> None:
    batch, summary = read(acme(frames), load_decoders(guide))
    assert summary.problems == []
    assert summary.frames == len(frames)
    # One file keeps its order, whatever its times are.
    read_back = batch.frames.select(pl.col("timestamp").to_physical(), "arbitration_id", "is_rx", "payload").rows()
    assert read_back == frames


def test_the_guides_example_through_the_command(guide: Path, tmp_path: Path) -> None:
    path = tmp_path / "drive.rec"
    path.write_bytes(acme([(T0, 1, True, b"ab")]))
    run = CliRunner().invoke
    told = json.loads(run(root, ["rec", "info", "--json", "--decoders", str(guide), str(path)]).output)
    assert (told["format"], told["frames"], told["first_timestamp_ns"]) == ("acme-rec", 1, T0)
    by_variable = run(root, ["rec", "info", "--json", str(path)], env={"ARGUS_DECODERS": str(guide)})
    assert json.loads(by_variable.output) == told
    assert json.loads(run(root, ["rec", "info", "--json", str(path)]).output)["format"] == "unknown"
    out = tmp_path / "frames.parquet"
    assert run(root, ["rec", "frames", str(path), "--to", str(out), "--decoders", str(guide)]).exit_code == 0
    assert pl.read_parquet(out)["payload"].to_list() == [b"ab"]
    events = run(root, ["rec", "events", "--json", "--decoders", str(guide), str(path)])
    assert (events.exit_code, json.loads(events.stdout)) == (0, [])


def test_a_recording_in_gzip_is_inflated_for_the_program(guide: Path) -> None:
    batch, summary = read(gzip.compress(acme([(T0, 1, True, b"ab")])), load_decoders(guide), "drive.rec.gz")
    assert summary.problems == []
    assert summary.decoder == "acme-rec/1+gzip"
    assert batch.frames["payload"].to_list() == [b"ab"]


# ---------------------------------------------------------------------------------------------- programs that fail

BUS = """
[[decoder.output]]
files = "*.csv"
format = "csv"
table = "frames"
columns = { timestamp = { column = "t", unit = "ns" }, channel = { value = "CAN1" }, arbitration_id = { column = "id", base = "hex" }, payload = "data" }
"""


def acting(folder: Path, *, outputs: str = BUS, **keys: object) -> Decoders:
    """A decoder whose program does what the recording says: Python behind the magic; `OUT` is the output folder."""
    program = "import sys, os; OUT = sys.argv[2]; os.chdir(OUT); exec(open(sys.argv[1]).read())"
    document = {
        "name": "acting",
        "version": 1,
        "magic": b"#ACT".hex(),
        "command": [sys.executable, "-I", "-S", "-c", program, "{input}", "{output_dir}"],
        **keys,
    }
    path = folder / "acting.toml"
    env = {f"env.{k}": v for k, v in document.pop("env", {}).items()}  # type: ignore[attr-defined]
    lines = [f"{k} = {json.dumps(v)}\n" for k, v in (document | env).items()]
    path.write_text("[[decoder]]\n" + "".join(lines) + outputs)
    return load_decoders(path, points=())


def act(decoders: Decoders, code: str, name: str = "a.rec") -> tuple[FrameBatch, RecordingSummary]:
    return read(b"#ACT\n" + code.encode(), decoders, name)


GOOD = "open('a.csv', 'w').write('t,id,data\\n1,1F,00\\n')\n"


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("os.kill(os.getpid(), 11)", "SIGSEGV"),
        ("print('cannot find channel 7'); sys.exit(3)", r"exit code 3 .* it printed: cannot find channel 7"),
        ("import time\nif os.fork() == 0: os.setsid()\ntime.sleep(60)", "not done after 1 s"),
        ("x = b'x' * (400 << 20)", "MemoryError"),
        ("import time\nfor _ in range(3):\n  if os.fork() == 0: x = b'x' * (90 << 20); time.sleep(9)\ntime.sleep(9)", "200 MiB of memory"),
        ("f = open('b', 'wb')\nwhile True: f.write(bytes(65536))", "File too large"),
        ("for n in range(10**6): open(f'b{n}', 'wb').write(bytes(65536))", "5 MiB or 10,000 files"),
        ("import socket; socket.create_connection(('127.0.0.1', 9))", "Permission denied"),
        ("print('\\x1b[31m' + OUT + ' ' + sys.argv[1] + '\\n' + 'x' * 5000); sys.exit(1)", "exit code 1"),
    ],
    ids=["signal", "exit code", "timeout", "memory", "memory of all", "one file", "many files", "network", "long text"],
)  # fmt: skip
def test_a_program_that_fails_is_one_problem_and_nothing_of_it_is_used(tmp_path: Path, code: str, found: str) -> None:
    decoders = acting(tmp_path, timeout_s=1.0, memory_mib=200, output_mib=5)
    batch, summary = act(decoders, GOOD + code)
    assert batch.frames.is_empty()
    (problem,) = summary.problems
    assert problem.kind == "decoder_failed"
    assert re.search(found, problem.actual), problem.actual
    assert problem.help
    assert len(problem.actual) < 700
    assert problem.actual.isprintable()
    assert str(tmp_path.parent) not in problem.actual
    assert "argus-scratch-" not in problem.actual
    assert summary.try_again


def test_a_program_that_does_not_exist_or_may_not_run(tmp_path: Path) -> None:
    (tmp_path / "plain").write_text("no program")
    for program, why in (
        ("/no/such/tool", "No such file"),
        ("./plain", "Permission denied"),
        ("no-such-tool", "No such"),
    ):
        decoders = acting(tmp_path, command=[program, "{input}", "{output_dir}"])
        _, summary = act(decoders, "")
        assert why in summary.problems[0].actual
        assert "argus doctor" in summary.problems[0].help


def test_no_secret_reaches_the_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hush")
    decoders = acting(tmp_path, env={"ACME_MODE": "csv"})
    _, summary = act(decoders, "print(sorted(os.environ), os.environ['ACME_MODE']); sys.exit(1)")
    assert "['ACME_MODE', 'HOME', 'LANG', 'PATH', 'TMPDIR', 'TZ'] csv" in summary.problems[0].actual


def test_a_program_may_be_given_the_network(tmp_path: Path) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as server:
        code = f"import socket; socket.create_connection(('127.0.0.1', {server.getsockname()[1]}))\n{GOOD}"
        assert act(acting(tmp_path, network="allowed"), code)[1].frames == 1
        assert act(acting(tmp_path), code)[1].frames == 0


# ---------------------------------------------------------------------------------------------- output that is bad


def only(summary: RecordingSummary, kind: str):
    (problem,) = [p for p in summary.problems if p.kind == kind]
    return problem


def test_a_good_end_without_output_is_a_failure(tmp_path: Path) -> None:
    _, summary = act(acting(tmp_path), "pass")
    assert "no such file" in only(summary, "decoder_failed").actual


def test_files_that_nothing_takes_are_named(tmp_path: Path) -> None:
    code = GOOD + "for n in ('b.txt', 'c/d.bin', 'e.log'):\n  os.makedirs('c', exist_ok=True); open(n, 'w')"
    _, summary = act(acting(tmp_path, ignore=["*.log"]), code)
    assert summary.frames == 1
    assert only(summary, "unsupported").actual == "b.txt, c/d.bin"


@pytest.mark.parametrize("thing", ["os.symlink('/etc/passwd', 'x.csv')", "os.mkfifo('x.csv')"])
def test_links_and_pipes_are_not_followed(tmp_path: Path, thing: str) -> None:
    _, summary = act(acting(tmp_path), GOOD + thing)
    assert summary.frames == 1
    assert only(summary, "unsupported").actual == "x.csv (not a regular file)"


def test_an_output_folder_that_became_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("t,id,data\n1,1F,00\n")
    code = f"os.chdir('/'); os.rmdir(OUT); os.symlink({str(tmp_path)!r}, OUT)"
    _, summary = act(acting(tmp_path), code)
    assert summary.frames == 0
    assert summary.try_again
    assert only(summary, "decoder_failed").expected == "a folder of files"
    assert (tmp_path / "a.csv").exists()


def test_what_is_nested_deeply_ends_the_program_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    _, summary = act(acting(tmp_path), GOOD + "for _ in range(3000): os.mkdir('d'); os.chdir('d')")
    assert [p.kind for p in summary.problems] == ["decoder_failed"]
    left = [path for path in scratch.iterdir() if not list(path.glob("files/readers"))]
    assert left == [], "but for the server of confined processes"


def test_reading_what_a_program_wrote_has_the_limits_of_reading(tmp_path: Path) -> None:
    """A table that takes more than it may costs its own recording; what came before is kept."""
    rows = "".join(f"{n},1F,00\\n" for n in range(4))
    code = (
        f"f = open('a.csv', 'w'); f.write('t,id,data\\n')\n"
        f"for _ in range(300_000): f.write({rows!r}.replace('\\\\n', chr(10)))\n"
    )
    data = b"#ACT\n" + code.encode()
    limits = Limits(min_cpu_s=1, cpu_s_per_mb=0)
    with pool() as processes, processes.process() as process:
        part = read_contained(process, io.BytesIO(data), decoders=acting(tmp_path), name="a.rec", limits=limits)
        assert [p.kind for p in part.summary.problems] in (["reader_stopped"], [])
        assert scan_part(part.folder).frames.collect().height == part.summary.frames <= 1_200_000
        assert part.summary.try_again == bool(part.summary.problems)


def test_rows_that_do_not_fit_are_counted_and_the_first_is_told(tmp_path: Path) -> None:
    rows = [
        "1,1F,00", "x,1F,00", "2.5,1F,00", "3,XYZ,00", "4,1F,0", "5,1F,0G", "6,1F", "7,1F,00,9", "8,3FFFFFFF,00",
        "9,9FFFFFFF,00", "1e9,1F,00", "99999999999999999999,1F,00", f"9,1F,{'00' * 65}", ",1F,00", "10,1F,",
    ]  # fmt: skip
    code = f"open('a.csv', 'wb').write(b't,id,data\\n' + {chr(10).join(rows)!r}.encode() + b'\\n11,\\xff\\xfe,00\\n')"
    batch, summary = act(acting(tmp_path), code)
    assert batch.frames["timestamp"].to_physical().to_list() == [1, 2, 9, 10]
    assert batch.frames["arbitration_id"].to_list() == [0x1F, 0x1F, 0x1FFFFFFF, 0x1F]
    assert batch.frames["is_extended_id"].to_list() == [False, False, True, False]
    assert batch.frames["payload"].to_list() == [b"\0", b"\0", b"\0", b""]
    problem = only(summary, "bad_record")
    assert problem.frames_lost == summary.frames_lost == len(rows) + 1 - 4
    assert "2 columns instead of 3: 6,1F" in problem.actual


def test_a_bad_value_is_shown_with_its_row(tmp_path: Path) -> None:
    code = "open('a.csv', 'w').write('t,id,data\\n1,1,00\\n2,zz,00\\n')"
    _, summary = act(acting(tmp_path), code)
    assert (
        only(summary, "bad_record").actual
        == "1 others, the first: whole row 2: arbitration_id cannot be made of id='zz'"
    )


@pytest.mark.parametrize(
    ("content", "expected", "actual"),
    [
        (b"", "columns t, data, id", "none"),
        (b"t,data\n1,00\n", "columns t", "t, data: id missing"),
        (b"t,id,id,data\n", "different names", "id more than once"),
        (b"\xff\xfe\0\0\n", "columns' names", "UnicodeDecodeError"),
        (bytes(range(256)) * 50, "", ""),
        (b"t,id,data\n" + b"x" * (9 << 20), "a whole csv file", ""),
    ],
)
def test_a_file_that_is_no_such_table_leaves_the_others(
    tmp_path: Path, content: bytes, expected: str, actual: str
) -> None:
    (tmp_path / "content").write_bytes(content)
    code = f"{GOOD}import shutil; shutil.copy({str(tmp_path / 'content')!r}, 'b.csv')"
    batch, summary = act(acting(tmp_path, reads=["."]), code)
    assert batch.frames["arbitration_id"].to_list() == [0x1F]
    problem = only(summary, "decoder_failed")
    assert problem.expected.startswith("b.csv: ")
    assert actual in problem.actual


PARQUET = BUS.replace("*.csv", "*.parquet").replace('"csv"', '"parquet"')


def test_parquet_is_read_by_its_types(tmp_path: Path) -> None:
    outputs = """
[[decoder.output]]
files = "*.parquet"
format = "parquet"
table = "frames"
[decoder.output.columns]
timestamp = { column = "t", unit = "s" }
channel = { column = "bus", prefix = "CAN" }
arbitration_id = "id"
payload = "data"
is_error_frame = { value = false }
"""
    made = {
        "integers": pl.Series([1_795_000_000, 2]),
        "decimals": pl.Series([1_795_000_000.123456, 0.1]),
        "instants": pl.Series([T0, 5]).cast(pl.Datetime("ns", "UTC")),
        "naive": pl.Series([T0 // 1000, 5]).cast(pl.Datetime("us")),
    }
    wanted = {
        "integers": [START_NS, 2 * 10**9],
        "decimals": [1_795_000_000_123_456_000, 10**8],
        "instants": [T0, 5],
        "naive": [T0 // 1000 * 1000, 5000],
    }
    decoders = acting(tmp_path, outputs=outputs, reads=["."])
    for name, times in made.items():
        file = tmp_path / f"{name}.parquet"
        pl.DataFrame({"t": times, "id": [1, 0x12345], "bus": [1, 2], "data": [b"ab", b""]}).write_parquet(file)
        batch, summary = act(decoders, f"import shutil; shutil.copy({str(file)!r}, 'a.parquet')")
        assert summary.problems == [], name
        got = batch.frames
        assert got["timestamp"].to_physical().to_list() == wanted[name], name
        assert got["payload"].to_list() == [b"ab", b""]
        assert got["channel"].cast(pl.String).to_list() == ["CAN1", "CAN2"]
        assert got["is_extended_id"].to_list() == [False, True]


@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1" + bytes(1000) + b"PAR1", b"garbage" * 1000])
def test_garbage_for_parquet_is_told(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "content").write_bytes(content)
    decoders = acting(tmp_path, outputs=PARQUET, reads=["."])
    _, summary = act(decoders, f"import shutil; shutil.copy({str(tmp_path / 'content')!r}, 'a.parquet')")
    assert only(summary, "decoder_failed").expected == "a.parquet: a whole parquet file"


def test_bytes_in_columns_of_their_own_and_a_length(tmp_path: Path) -> None:
    outputs = """
[[decoder.output]]
files = "*.csv"
format = "csv"
table = "frames"
delimiter = ";"
header = ["t", "id", "n", "b0", "b1", "b2"]
skip_lines = 2
[decoder.output.columns]
timestamp = { column = "t", unit = "ms", epoch = 1980-01-06T00:00:00Z, offset_ns = -18_000_000_000 }
channel = { value = "CAN2" }
arbitration_id = { column = "id", base = "dec" }
length = "n"
payload = { columns = ["b0", "b1", "b2"], base = "hex" }
"""
    rows = ["0.5;5;2;a;0B;0", "-1;5;3;1;2;3", "7;5;1;1;;", "8;5;2;1;;", "9;5;3;1;;3", "9;5;2;1;100;0", "9;5;0;;;"]
    code = f"open('a.csv', 'w').write('tool 1.0\\n\\n' + {chr(10).join(rows)!r})"
    batch, summary = act(acting(tmp_path, outputs=outputs), code)
    start = 315_964_800 * 10**9 - 18 * 10**9
    assert batch.frames["payload"].to_list() == [b"\x0a\x0b", b"\x01\x02\x03", b"\x01", b""]
    assert batch.frames["timestamp"].to_physical().to_list() == [
        start + 500_000,
        start - 10**6,
        start + 7 * 10**6,
        start + 9 * 10**6,
    ]
    assert summary.frames_lost == 3


TOPICS = """
[[decoder.output]]
files = "*.csv"
format = "csv"
table = "topic"
types = { code = "text" }
[decoder.output.columns]
timestamp = { column = "t", unit = "ns" }
"""


def test_typed_columns_get_the_type_that_all_values_fit(tmp_path: Path) -> None:
    code = """
import os
os.mkdir("lidar")
open("lidar/top.csv", "w").write("t,n,x,on,code,mixed,frame,none\\n1,1,1,true,007,1,9,\\n2,-2,.5e3,FALSE,8,a,9,\\n3,,,,,,,\\n")
open("gps.csv", "w").write("t,v\\n2,5\\n")
"""
    batch, summary = act(acting(tmp_path, outputs=TOPICS), code)
    assert summary.problems == []
    table = batch.topics["lidar/top", ""]
    assert dict(table.schema) == {
        "frame": pl.UInt64(), "timestamp": FRAMES.schema["timestamp"], "n": pl.Int64(), "x": pl.Float64(),
        "on": pl.Boolean(), "code": pl.String(), "mixed": pl.String(), "frame_": pl.Int64(), "none": pl.Int64(),
    }  # fmt: skip
    assert table.drop("timestamp").rows() == [
        (0, 1, 1.0, True, "007", "1", 9, None), (1 if batch.topics["gps", ""]["frame"][0] == 2 else 2, -2, 500.0, False, "8", "a", 9, None),
        (3, None, None, None, None, None, None, None),
    ]  # fmt: skip
    assert batch.frames["channel"].cast(pl.String).value_counts().sort("channel").rows() == [
        ("gps", 1),
        ("lidar/top", 3),
    ]


def test_a_declared_type_that_a_value_does_not_fit_is_a_bad_row(tmp_path: Path) -> None:
    decoders = acting(tmp_path, outputs=TOPICS.replace('code = "text"', 'n = "int"'))
    batch, summary = act(decoders, "open('a.csv', 'w').write('t,n\\n1,1\\n2,x\\n')")
    assert batch.topics["a", ""]["n"].to_list() == [1]
    assert only(summary, "bad_record").frames_lost == 1
    assert summary.frames == 1


def test_topics_of_a_column_and_of_several_files_are_one_table_each(tmp_path: Path) -> None:
    decoders = acting(tmp_path, outputs=TOPICS.replace('types = { code = "text" }', "") + 'topic = "topic"\n')
    code = """
open("a.csv", "w").write("t,topic,v\\n1,/a,1\\n3,/b,2\\n")
open("b.csv", "w").write("t,topic,v,w\\n2,/a,0.5,x\\n")
"""
    batch, summary = act(decoders, code)
    assert summary.problems == []
    assert batch.topics["/a", ""].drop("timestamp").rows() == [(0, 1.0, None), (1, 0.5, "x")]
    assert batch.topics["/b", ""].drop("timestamp").rows() == [(2, 2.0, None)]


@given(
    files=st.lists(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 0x7FF)), max_size=30), min_size=1, max_size=5)
)
@settings(max_examples=50, deadline=None)
def test_files_merge_by_time_and_keep_their_own_order(files) -> None:
    from argus_assets.recordings.plugins.merge import merged
    from argus_assets.recordings.plugins.program_tables import BodySchema, Rows

    def rows(file, step):
        for at in range(0, len(file), step):
            part = file[at : at + step]
            frame = {"timestamp": [t for t, _ in part], "arbitration_id": [n for _, n in part]}
            typed = pl.DataFrame({"n": frame["arbitration_id"]}, schema={"n": pl.Int64})
            columns = [
                pl.Series(name, frame.get(name, [None] * len(part)), dtype=pl.Int64 if name == "timestamp" else None).cast(dtype)
                if name in frame else pl.repeat(None, len(part), dtype=dtype, eager=True).alias(name)
                for name, dtype in BodySchema.items()
            ]  # fmt: skip
            yield Rows(pl.DataFrame(columns), (("topic", str(number)), typed))

    sources = []
    for number, file in enumerate(files):
        sources.append(list(rows(file, 3 + number)))
    batches = list(merged([iter(s) for s in sources]))
    frames = pl.concat([b.frames for b in batches]) if batches else FRAMES.empty()
    assert frames["frame"].to_list() == list(range(sum(map(len, files))))
    for number, file in enumerate(files):
        tables = [b.topics[key] for b in batches for key in b.topics if key == ("topic", str(number))]
        own = pl.concat(tables) if tables else pl.DataFrame(schema={"frame": pl.UInt64, "n": pl.Int64})
        assert own["n"].to_list() == [n for _, n in file]
        assert own["frame"].is_sorted()
        assert frames["arbitration_id"].gather(own["frame"]).to_list() == own["n"].to_list()
    if all(file == sorted(file, key=lambda row: row[0]) for file in files):
        assert frames["timestamp"].is_sorted()


# ---------------------------------------------------------------------------------------------- which one is asked


def test_content_comes_before_names_and_plug_ins_before_ours(tmp_path: Path) -> None:
    by_name = acting(tmp_path, magic="ff ff", name_pattern=["*.rec", "x_*"])
    (decoder,) = by_name.plug_ins
    assert by_name.detect(b"#ACT\n", "a.rec") is decoder
    assert by_name.detect(b"#ACT\n", "x_1.bin") is decoder
    assert by_name.detect(b"#ACT\n", "a.bin") is None
    mcap = BUILT_IN.detect(b"\x89MCAP0\r\n")
    assert mcap is not None
    assert by_name.detect(b"\x89MCAP0\r\n", "a.rec") is mcap, "a name never decides against the content"
    by_content = acting(tmp_path, magic="4d 43 41 50", magic_offset=1)
    assert by_content.detect(b"\x89MCAP0\r\n", "a.mcap") is by_content.plug_ins[0]
    assert by_name.detect(b"", "a.rec") is None


def test_parts_are_told_apart_by_what_made_them(tmp_path: Path) -> None:
    one = acting(tmp_path, name_pattern="*.rec")
    assert reader_version() == reader_version(BUILT_IN, "a.rec") == READER_VERSION
    versions = {
        READER_VERSION,
        reader_version(one, "a.bin"),
        reader_version(one, "a.rec"),
        reader_version(one, "a.rec.gz"),
        reader_version(acting(tmp_path, name_pattern="*.rec", version=2), "a.rec"),
        reader_version(acting(tmp_path, name_pattern="*.rec", timeout_s=5), "a.rec"),
        reader_version(acting(tmp_path, name_pattern="*.rec", outputs=BUS.replace("hex", "dec", 1)), "a.rec"),
    }
    assert len(versions) == 7
    assert all(re.fullmatch(r"[\w.+-]+", v) for v in versions)
    assert reader_version(one, "b.rec") == reader_version(acting(tmp_path, name_pattern="*.rec"), "a.rec")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ('nam = "x"', r"decoder\[0\] \(name = 'acme-rec'\): unknown key 'nam'; allowed are name, version, magic"),
        ("version = 'x'", r"\.version .*: "),
        ('name = "A b"', r"\.name .*: "),
        ('magic = "4z"', "'4z' is not hex"),
        ('command = ["x", "{input}"]', r"command has no \{output_dir\}"),
        ('command = ["x", "{input}", "{output_dir}", "{outdir}"]', r"command has \{outdir\}"),
        ("timeout_s = 0", r"\.timeout_s .*: "),
        ('network = "maybe"', r"\.network .*: "),
        ("output = []", r"\.output .*: "),
        ("magic_offset = 5000", r"\.magic_offset .*: "),
    ],
)
def test_a_wrong_declaration_names_the_key(tmp_path: Path, change: str, told: str) -> None:
    key = change.partition(" ")[0]
    lines = example("decoders.toml").split("\n[[decoder.output]]", 1)
    head = "\n".join(line for line in lines[0].splitlines() if not line.startswith(f"{key} "))
    rest = "" if key == "output" else "\n[[decoder.output]]" + lines[1]
    path = tmp_path / "d.toml"
    path.write_text(f"{head}\n{change}\n{rest}")
    with pytest.raises(BadSetting, match=told):
        load_decoders(path, points=())


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        (', unit = "s"', "", "needs a unit"),
        ('unit = "s"', 'unit = "m"', r"output\[0\].columns.timestamp.unit"),
        (', base = "hex"', "", "needs base"),
        ('source = "file", ', 'source = "file", value = "x", ', "give one of column, value, source"),
        ('payload = { column = "data", encoding = "hex" }', "", "need columns for payload"),
        ('timestamp = { column = "t_us", unit = "us" }', 'timestamp = { column = "t_us", unit = "us" }\npayload = "x"', "are not used here"),
        ('unit = "us"', 'unit = "us", epoch = 2020-01-01T00:00:00', "epoch"),
        ("[[decoder]]", "[[decoders]]", "unknown key 'decoders'; allowed are decoder"),
        ("[[decoder]]", "[[decoder", "is not valid TOML"),
        ('name = "acme-rec"', 'name = "mcap"', "'mcap' is taken"),
    ],
)  # fmt: skip
def test_a_wrong_mapping_names_its_place(tmp_path: Path, old: str, new: str, told: str) -> None:
    text = example("decoders.toml")
    assert old in text
    path = tmp_path / "d.toml"
    path.write_text(text.replace(old, new))
    with pytest.raises(BadSetting, match=told) as caught:
        load_decoders(path, points=())
    assert caught.value.help


def test_a_file_of_declarations_that_is_not_there_is_told(tmp_path: Path) -> None:
    result = CliRunner().invoke(root, ["rec", "info", "--decoders", str(tmp_path / "no.toml"), __file__])
    assert isinstance(result.exception, BadSetting)


# ---------------------------------------------------------------------------------------------- packages


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Puts a package with one decoder on `sys.path`."""
    place = tmp_path / "site"
    place.mkdir()
    monkeypatch.syspath_prepend(str(place))

    def put(code: str, value: str = "acme_log:AcmeLog") -> Decoders:
        (place / "acme_log.py").write_text(code)
        info = place / "acme_log-1.0.dist-info"
        info.mkdir(exist_ok=True)
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-log\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[argus.decoders]\nacme-log = {value}\n")
        return load_decoders(None)

    return put


LOG = b"ACMELOG\n" + f"{T0} 18fecaf9 0011223344556677\n{T0 + 1} 7ff 00\n".encode()


def test_the_guides_package_is_found_and_read(install) -> None:
    decoders = install(example("acme_log.py"))
    assert decoders.notes == ()
    assert "acme_log" not in sys.modules, "its code runs in a child only"
    batch, summary = read(LOG, decoders, limits=DEFAULT_LIMITS)
    assert summary.problems == []
    assert (summary.format, summary.frames, summary.first_timestamp_ns) == ("acme-log", 2, T0)
    assert batch.frames["arbitration_id"].to_list() == [0x18FECAF9, 0x7FF]
    assert batch.frames["payload"].to_list() == [bytes.fromhex("0011223344556677"), b"\0"]
    assert [(c.channel, c.frames) for c in summary.channels] == [("CAN1", 2)]
    assert "acme_log" not in sys.modules


@pytest.mark.parametrize(
    ("old", "new", "found"),
    [
        ("rows = [", "raise RuntimeError('no such version')\n        rows = [", "RuntimeError: no such version"),
        ("rows = [", "import ctypes; ctypes.string_at(0)\n        rows = [", "SIGSEGV"),
        ("rows = [", "import os; os._exit(0)\n        rows = [", "_Answer"),
        ("rows = [", "import socket; socket.socket()\n        rows = [", "PermissionError"),
        ("range(len(rows))", "[5] * len(rows)", "does not count on"),
        ("FRAMES.cast(frames)", "frames", "'arbitration_id': Int64"),
        ('["can"]', '["canbus"]', "BadTable"),
    ],
    ids=["raises", "crashes", "leaves", "dials out", "wrong numbers", "wrong table", "wrong kind"],
)
def test_a_reader_that_fails_is_one_problem(install, old: str, new: str, found: str) -> None:
    code = example("acme_log.py")
    assert old in code
    _, summary = read(LOG, install(code.replace(old, new)))
    (problem,) = summary.problems
    assert problem.kind == "decoder_failed"
    assert re.search(found, problem.actual) or found == "_Answer", problem.actual
    assert summary.frames == 0
    assert summary.try_again


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("raise RuntimeError('broken wheel')", "RuntimeError: broken wheel"),
        ("import ctypes; ctypes.string_at(0)", "SIGSEGV"),
        ("import os; os._exit(0)", "valid dictionary"),
        ("class AcmeLog:\n    name = 'a'\n    version = 1", "no method open"),
        ("class AcmeLog:\n    name = 'A B'\n    version = 1\n    def open(self, s, l): ...", "name: "),
        ("class AcmeLog:\n    name = 'blf'\n    version = 1\n    def open(self, s, l): ...", "'blf' is taken"),
        ("class Other: ...", "AttributeError"),
    ],
)
def test_a_package_that_cannot_be_used_is_passed_over_and_told(install, code: str, found: str) -> None:
    decoders = install(code)
    assert decoders.plug_ins == ()
    (note,) = decoders.notes
    assert "acme-log" in note
    assert found in note
    _, summary = read(b"hello, I am no recording", decoders)
    assert note in summary.problems[0].help
    assert reader_version(decoders) != READER_VERSION
    assert reader_version(decoders) == reader_version(install(code)), "the same from run to run"


def test_a_decoder_that_wants_to_be_asked_is_asked_in_a_child(install, caplog: pytest.LogCaptureFixture) -> None:
    asks = "\n    def matches(self, head):\n        {}\n\n    def open(self"
    code = re.sub(r"    signatures = .*\n", "", example("acme_log.py"))
    decoders = install(code.replace("\n    def open(self", asks.format("return b'LOG' in head"), 1))
    assert read(LOG, decoders)[1].frames == 2
    assert read(b"hello", decoders)[1].problems[0].kind == "unknown_format"
    raising = install(code.replace("\n    def open(self", asks.format("raise KeyError(head)"), 1))
    for other in (b"hello", b"hello again"):
        assert read(other, raising)[1].problems[0].kind == "unknown_format"
    assert sum("KeyError" in r.message for r in caplog.records) == 1, "told once"


def test_no_plug_in_is_installed_here() -> None:
    """So that the other tests are about what they put there themselves."""
    found: list[Distribution] = [d for d in distributions() if any(e.group == "argus.decoders" for e in d.entry_points)]
    assert found == []


# ---------------------------------------------------------------------------------------------- in a batch


def test_a_plug_in_that_fails_leaves_the_rest_of_the_batch(guide: Path, tmp_path: Path) -> None:
    drive = simulate_drive(
        tmp_path / "drive", scenario="car_healthy", seed=3, vehicle_id="v", vin=VIN, release="1",
        batch_id="b", started_ns=START_NS, seconds=5, files=1,
    )  # fmt: skip
    (drive.folder / "good.rec").write_bytes(acme([(T0, 1, True, b"ab")]))
    (drive.folder / "bad.rec").write_bytes(acme([(T0, 1, True, b"ab")]) + b"\x07" * 9)
    bucket = Bucket.from_url(str(tmp_path / "bucket"))
    bucket.ensure()
    done = upload_files(bucket, collect_files([drive.folder]), vehicle_id="v", batch_id="b")
    moment = datetime.fromtimestamp(T0 // 10**9, UTC)
    manifest = Manifest(
        vehicle_id="v", vin=drive.vin, batch_id="b", release="1", platform="car", recorded_from=moment,
        recorded_to=moment, files=tuple(f.entry for f in done),
    )  # fmt: skip
    lake = Lake.from_url(str(tmp_path / "lake"))

    def parse(decoders: Decoders) -> ParsedBatch:
        return parse_recordings(manifest, bucket=bucket, lake=lake, workers=2, decoders=decoders)

    decoders = load_decoders(guide)
    parsed = parse(decoders)
    states = dict(parsed.recordings.select("recording", "state").iter_rows())
    assert states["good.rec"] == "parsed"
    assert states["bad.rec"] == "failed"
    assert set(states.values()) == {"parsed", "failed"}
    assert len(states) == 3
    problems = parsed.problems.filter(pl.col("recording") == "bad.rec")
    assert problems["kind"].to_list() == ["decoder_failed"]
    assert "exit code 5" in problems["actual"][0]
    assert "record of unknown kind 7" in problems["actual"][0]
    assert detect_faults(parsed.recordings, lake=lake) is not None

    again = parse(decoders)
    assert again.reused == 2, "what failed is tried again, the others are not"
    assert again.recordings.drop("parse_s").equals(parsed.recordings.drop("parse_s"))
    assert parse(BUILT_IN).recordings.filter(pl.col("recording") == "good.rec")["format"][0] == "unknown"
    assert parse(decoders).recordings.filter(pl.col("recording") == "good.rec")["format"][0] == "acme-rec"
