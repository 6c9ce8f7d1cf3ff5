"""The history of a vehicle from the tables of its drives."""

from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest

from argus_assets.drop.keys import partition_key
from argus_assets.drop.manifest import Manifest, ManifestFile
from argus_assets.fleet.history import DriveTables, drive_seen, partitions_of_vehicle, vehicle_history
from tests.support.stats_tables import events_of

START = datetime(2026, 11, 1, 8, tzinfo=UTC)


def no_events() -> pl.DataFrame:
    pytest.fail("read though nothing was cleared")


def stats_of(*rows: dict[str, Any]) -> pl.DataFrame:
    """Rows of `error_stats` from what differs from one active P0301."""
    plain = {
        "code": "P0301", "ecu": "0x7E8", "status": "active", "first_seen": START, "last_seen": START,
        "seconds_into_drive": 1.0, "occurrences": 1, "severity": "error",
    }  # fmt: skip
    return pl.DataFrame([{**plain, **row} for row in rows], schema_overrides={"first_seen": pl.Datetime("ns", "UTC")})


def drive(day: int, stats: pl.DataFrame, *, vehicle: str = "v", events=no_events) -> DriveTables:
    begin = START + timedelta(days=day)
    manifest = Manifest(
        vehicle_id=vehicle, vin="1M8GDM9AXKP042788", batch_id=f"b{day}", release=f"r{day}", platform="car",
        recorded_from=begin, recorded_to=begin, files=(ManifestFile(name="a.log", size=1, sha256="0" * 64),),
    )  # fmt: skip
    return DriveTables(manifest, stats, pl.DataFrame({"recorded_h": [0.5]}), events)


def test_what_two_sources_report_of_a_code_of_an_ecu_is_one_fault() -> None:
    later = START + timedelta(seconds=9)
    stats = stats_of(
        {"occurrences": 2, "severity": "warning", "seconds_into_drive": 3.0},
        {"last_seen": later, "severity": "critical"},
        {"ecu": "0x7E9", "occurrences": 7},
    )
    seen = drive_seen("p", drive(0, stats))
    assert (seen.partition, seen.recorded_s, seen.release, seen.clearings) == ("p", 1800.0, "r0", ())
    one = seen.faults["P0301", "0x7E8"]
    assert (one.occurrences, one.severity, one.seconds_into_drive) == (2, "critical", 1.0)
    assert (one.first_seen, one.last_seen) == (START, later)
    assert seen.faults["P0301", "0x7E9"].occurrences == 7


def test_a_memory_alone_is_no_fault_and_a_clearing_is_none_either() -> None:
    stats = stats_of({"status": "previously_active"}, {"code": "UDS_CLEAR", "ecu": "0x7E8"})
    cleared = events_of(
        {"start_s": 1, "end_s": 1, "code": "UDS_CLEAR", "ecu": "0x7E8", "message": "P codes cleared"},
        {"start_s": 2, "end_s": 2, "code": "P0301"},
    )
    seen = drive_seen("p", drive(0, stats, events=lambda: cleared))
    assert seen.faults == {}
    assert [(c.ecu, c.scope) for c in seen.clearings] == [("0x7E8", "P")]


def test_drives_come_in_the_order_of_their_recording_without_those_that_were_not_processed() -> None:
    drives = {f"p{day}": None if day == 2 else drive(-day, stats_of({})) for day in range(5)}
    history = vehicle_history(list(drives), drives.__getitem__, readers=3)
    assert [seen.partition for seen in history] == ["p4", "p3", "p1", "p0"]
    assert vehicle_history([], drives.__getitem__) == []


def test_partitions_are_those_of_the_vehicle_by_date() -> None:
    keys = [partition_key(START - timedelta(days=n), vehicle, f"b{n}") for n in range(3) for vehicle in ("v", "v-2")]
    assert partitions_of_vehicle([*keys, "not a batch"], "v") == [
        "2026-10-30_v_b2",
        "2026-10-31_v_b1",
        "2026-11-01_v_b0",
    ]
