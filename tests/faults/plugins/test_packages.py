"""Detectors of other packages: found, run in processes of their own, and in every way badly. All are real processes."""

import json
import re
import sys
from importlib.metadata import distributions
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner

from argus_assets.cli import root
from argus_assets.containment.client import pool
from argus_assets.containment.kernel import landlock_version
from argus_assets.errors import BadSetting
from argus_assets.faults.config import FaultConfig, default_config
from argus_assets.faults.contained import find_contained
from argus_assets.faults.detection import find_events
from argus_assets.faults.plugins.packages import load_faults
from argus_assets.recordings.drive import Drive
from argus_assets.recordings.parts import scan_part, write_part
from argus_assets.simulate.fleet import simulate_drive
from tests.support.values import VIN

GOOD = '''
import polars as pl
from argus_assets.faults.detector import Found
from argus_assets.faults.schema import ERROR_EVENTS

class Speed:
    """Frames of one identifier."""

    name = "acme-speed"
    version = 3

    def find(self, drive):
        rows = drive.frames.filter(pl.col("arbitration_id").is_not_null()).head(2).collect()
        events = rows.select(
            "recording", "frame",
            code=pl.lit("ACME1"), source=pl.lit("rule"), ecu=pl.lit("acme"), channel=pl.col("channel").cast(pl.String),
            status=pl.lit("occurred"), severity=pl.lit("warning"), severity_rule=pl.lit("acme: always"),
            occurrence=pl.lit(7), first_seen="timestamp", last_seen=pl.col("timestamp") + pl.duration(seconds=2, time_unit="ns"),
            active_s=pl.lit(99.0), frame_count=pl.lit(1), payload_hex=pl.col("payload").bin.encode("hex"),
        )
        return Found(ERROR_EVENTS.cast(events), (f"{len(drive.topics)} topics seen",))
'''


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Puts a package with one detector on `sys.path`."""
    place = tmp_path / "site"
    place.mkdir()
    monkeypatch.syspath_prepend(str(place))

    def put(code: str, config: str | None = None, value: str = "acme_speed:Speed", release: str = "1.0") -> FaultConfig:
        (place / "acme_speed.py").write_text(code)
        info = place / "acme_speed-1.0.dist-info"
        info.mkdir(exist_ok=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: acme-speed\nVersion: {release}\n")
        (info / "entry_points.txt").write_text(f"[argus.faults]\nacme-speed = {value}\n")
        path = None
        if config is not None:
            path = tmp_path / "faults.toml"
            path.write_text(config)
        return load_faults(path)

    return put


@pytest.fixture(scope="session")
def parts(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, Path]]:
    """A simulated drive in Parquet parts, as a batch has it; each lies beside its recording."""
    folder = tmp_path_factory.mktemp("drive")
    simulate_drive(
        folder, scenario="av_lidar_dropout", seed=1, vehicle_id="av-01", vin=VIN, release="2026.1",
        batch_id="b1", started_ns=1_790_000_000 * 10**9, seconds=20,
    )  # fmt: skip
    files = sorted(path for path in folder.iterdir() if path.suffix in (".mcap", ".mf4", ".MF4"))
    parts = []
    for path in files:
        part = folder / f"{path.name}.part"
        part.mkdir()
        with path.open("rb") as source:
            write_part(source, folder=part)
        parts.append((path.name, part))
    return parts


@pytest.fixture(scope="session")
def drive(parts: list[tuple[str, Path]]) -> tuple[Drive, list[Path]]:
    """The drive, and its recordings."""
    return Drive.of((name, scan_part(part)) for name, part in parts), [part.parent / name for name, part in parts]


def test_a_detector_sees_the_drive_and_its_events_are_made_to_fit(install, drive) -> None:
    config = install(GOOD)
    assert config.notes == ()
    assert "acme_speed" not in sys.modules, "its code runs in a process of its own only"
    assert [p.identity for p in config.plug_ins] == ["acme-speed/3/acme_speed:Speed@acme-speed 1.0"]
    without = find_events(drive[0])
    found = find_events(drive[0], config)
    theirs = found.events.filter(pl.col("source") == "plug_in")
    assert found.events.filter(pl.col("source") != "plug_in").equals(without.events)
    assert theirs.select("code", "occurrence", "active_s", "severity").rows() == [
        ("ACME1", 1, 2.0, "warning"), ("ACME1", 2, 2.0, "warning"),
    ]  # fmt: skip
    assert theirs["details"].to_list() == [[{"key": "detector", "value": "acme-speed"}]] * 2
    assert found.notes == (*without.notes, f"Detector acme-speed: {len(drive[0].topics)} topics seen")
    assert drive[0].topics
    assert "acme_speed" not in sys.modules


@pytest.mark.parametrize(
    ("old", "new", "reported"),
    [
        ("rows = ", "raise RuntimeError('no such table')\n        rows = ", "RuntimeError: no such table"),
        ("rows = ", "import ctypes; ctypes.string_at(0)\n        rows = ", "SIGSEGV"),
        ("rows = ", "import os; os._exit(0)\n        rows = ", "answer is not valid"),
        ("rows = ", "import socket; socket.socket()\n        rows = ", "PermissionError"),
        ("version = 3", "version = 3; timeout_s = 1\n    import time", "not done after 1 s"),
        ("return Found(", "return (", "find gave tuple"),
        ('"occurred"', '"broken"', "BadTable"),
        ("seconds=2", "seconds=-2", "2 events end before they begin"),
    ],
    ids=["raises", "crashes", "leaves", "dials out", "hangs", "no Found", "wrong status", "backwards"],
)  # fmt: skip
def test_a_detector_that_fails_is_a_note(install, drive, old: str, new: str, reported: str) -> None:
    assert old in GOOD
    code = GOOD.replace(old, new)
    if "import time" in new:
        code = code.replace("rows = ", "self.time.sleep(60)\n        rows = ")
    config = install(code)
    (plug_in,) = config.plug_ins
    found = plug_in.find(drive[0])
    assert found.events.is_empty()
    (note,) = found.notes
    assert note.startswith("Detector acme-speed (acme_speed:Speed@acme-speed 1.0) failed")
    assert re.search(reported, note), note


@pytest.mark.parametrize(
    "code", [GOOD, GOOD.replace('"occurred"', '"broken"'), GOOD.replace("seconds=2", "seconds=-2")]
)
def test_in_a_confined_process_the_same_is_found(install, drive, parts, code: str) -> None:
    config = install(code)
    here = find_events(drive[0], config)
    frames = drive[0].frames.select(pl.len()).collect().item()
    with pool([folder for _, folder in parts]) as processes, processes.process() as process:
        there = find_contained(process, parts, frames=frames, config=config)
    assert there.events.equals(here.events)
    assert [re.sub(r"\d+", "", note) for note in there.notes] == [re.sub(r"\d+", "", note) for note in here.notes]


WRITES = """
import atexit, os, sys, json
def instead():
    os.chdir(json.load(open(sys.argv[1]))["output"])
    {}
class Speed:
    name = "acme-speed"
    version = 3
    memory_mib = 4096
    def find(self, drive):
        instead()
        sys.stdout.flush()
        os._exit(0)
"""
ANSWER = "open('answer.json', 'w').write('{\"notes\": []}'); "


@pytest.mark.parametrize(
    ("act", "reported"),
    [
        (ANSWER, "wrote no events"),
        (ANSWER + "os.symlink('/etc/passwd', 'events.parquet')", "wrote no events"),
        (ANSWER + "os.mkfifo('events.parquet')", "wrote no events"),
        (ANSWER + "open('events.parquet', 'wb').write(b'PAR1' + bytes(999) + b'PAR1')", "failed"),
        (ANSWER + "import polars as pl; pl.select(x=pl.repeat('x' * 1000, 3_000_000)).write_parquet('events.parquet')", "failed"),
        ("os.symlink('/etc/passwd', 'answer.json')", "answer is not valid"),
        ("os.mkfifo('answer.json')", "answer is not valid"),
        ("open('answer.json', 'w').write('[' * 100_000)", "answer is not valid"),
        ("os.chdir('..'); os.rmdir('out'); os.symlink('/etc', 'out')", "no folder where its output should be"),
    ],
)  # fmt: skip
def test_whatever_a_detector_leaves_is_a_note(install, parts, act: str, reported: str) -> None:
    config = install(WRITES.format(act))
    assert config.notes == ()
    with pool([folder for _, folder in parts]) as processes, processes.process() as process:
        found = find_contained(process, parts, frames=1000, config=config)
        assert found.events.filter(pl.col("source") == "plug_in").is_empty()
        assert [note for note in found.notes if "acme-speed" in note and reported in note], found.notes


def test_a_detector_reads_its_drive_and_no_other_file(install, parts, tmp_path: Path) -> None:
    if not landlock_version():
        pytest.skip("no Landlock here")
    other = tmp_path / "other"
    other.write_text("content")
    code = GOOD.replace("rows = ", f"open({str(other)!r})\n        rows = ")
    with pool([folder for _, folder in parts]) as processes, processes.process() as process:
        found = find_contained(process, parts, frames=1000, config=install(code))
    assert [note for note in found.notes if "Permission" in note]


@pytest.mark.parametrize(
    ("code", "reported"),
    [
        ("raise RuntimeError('broken wheel')", "RuntimeError: broken wheel"),
        ("class Speed:\n    name = 'a'\n    version = 1", "no method find"),
        ("class Speed:\n    name = 'A B'\n    version = 1\n    def find(self, d): ...", "name: "),
        ("class Speed:\n    name = 'j1939'\n    version = 1\n    def find(self, d): ...", "'j1939' is taken"),
    ],
)
def test_a_package_that_cannot_be_used_is_skipped_and_reported(install, code: str, reported: str) -> None:
    config = install(code)
    assert config.plug_ins == ()
    (note,) = config.notes
    assert "acme-speed" in note
    assert reported in note
    assert config.version != default_config().version, "another release of it may be better"


def test_the_version_distinguishes_detectors(install) -> None:
    versions = {
        default_config().version,
        install(GOOD).version,
        install(GOOD.replace("version = 3", "version = 4")).version,
        install(GOOD, release="1.1").version,
    }
    assert len(versions) == 4


def test_a_detector_can_be_turned_off_also_one_that_cannot_be_used(install) -> None:
    off = '[detectors]\ndisable = ["acme-speed"]\n'
    assert install(GOOD, off).plug_ins == ()
    assert install("raise RuntimeError", off).plug_ins == ()
    with pytest.raises(BadSetting, match="there is no detector 'acme-sped'") as caught:
        install(GOOD, off.replace("speed", "sped"))
    assert "acme-speed" in caught.value.help
    assert "j1939" in caught.value.help


def test_the_command_runs_it_and_reports_what_is_skipped(install, drive) -> None:
    install(GOOD)
    run = CliRunner().invoke(root, ["rec", "events", "--json", *map(str, drive[1])])
    assert run.exit_code == 0, run.output
    assert "ACME1" in {fault["code"] for fault in json.loads(run.stdout)}
    install("raise RuntimeError('broken wheel')")
    run = CliRunner().invoke(root, ["rec", "events", "--json", *map(str, drive[1])])
    assert (run.exit_code, "broken wheel" in run.stderr) == (0, True)


def test_no_detector_is_installed_here() -> None:
    """So that the other tests are about what they put there themselves."""
    assert [d for d in distributions() if any(e.group == "argus.faults" for e in d.entry_points)] == []
