"""Programming sessions: found by the unit's answers, from its first to its last."""

from pathlib import Path

import polars as pl

from argus_assets.diagnosis.local import read_files
from argus_assets.faults.clearings import PROGRAMMING
from argus_assets.faults.config import default_config
from evals.drives.build import build_drive
from evals.story import Story


def events_of(tmp_path: Path, *, programmed: bool) -> pl.DataFrame:
    story = Story.model_validate(
        {
            "source": "test of programming", "source_key": "programming", "grade": "C", "platform": "car",
            "kind": "healthy", "title": "A unit is programmed", "cause": "Nothing to repair.", "severity": ["info"],
            "drivable": ["yes"], "seconds": 120,
            "programming": [{"at": 40, "unit": 0x7E9, "seconds": 20}] if programmed else [],
            "read": [{"at": 90, "unit": 0x7E9, "service": "19"}],
        }
    )  # fmt: skip
    built = build_drive("car/programming", story, tmp_path)
    return read_files([(path.name, path, True) for path in built], faults=default_config()).events


def test_a_session_is_one_remark_and_its_silence_needs_no_repair(tmp_path: Path) -> None:
    events = events_of(tmp_path, programmed=True)
    (session,) = events.filter(code=PROGRAMMING).iter_rows(named=True)
    assert (session["ecu"], session["severity"], session["source"]) == ("0x7E9", "info", "uds_programming")
    assert 10 <= session["active_s"] <= 25


def test_a_tester_that_only_reads_programs_nothing(tmp_path: Path) -> None:
    assert events_of(tmp_path, programmed=False).filter(code=PROGRAMMING).is_empty()
