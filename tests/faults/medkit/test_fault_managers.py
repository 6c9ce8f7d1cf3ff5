"""Faults that a fault manager of ROS 2 publishes → events."""

import io
from itertools import pairwise
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mcap_ros2.writer import Writer

from argus_assets.faults.config import default_config
from argus_assets.faults.medkit.detector import find
from argus_assets.recordings.drive import Drive
from argus_assets.recordings.model import concat_batches
from argus_assets.recordings.reading import open_recording

S = 1_000_000_000
FAULT = """string fault_code
uint8 severity
string description
builtin_interfaces/Time first_occurred
builtin_interfaces/Time last_occurred
uint32 occurrence_count
string status
string[] reporting_sources
uint8 SEVERITY_INFO = 0
string STATUS_CONFIRMED = "CONFIRMED"
"""
TIME = f"{'=' * 80}\nMSG: builtin_interfaces/Time\nint32 sec\nuint32 nanosec\n"
EVENT = f"string event_type\nFault fault\nbuiltin_interfaces/Time timestamp\n{'=' * 80}\nMSG: ros2_medkit_msgs/Fault\n{FAULT}{TIME}"
NOW = {"sec": 5, "nanosec": 0}


def fault(
    status: str, *, code: str = "MOTOR_OVERHEAT", severity: int = 2, count: int = 1, source: str = "/motor"
) -> dict[str, Any]:
    return {
        "fault_code": code, "severity": severity, "description": "too hot", "first_occurred": NOW, "last_occurred": NOW,
        "occurrence_count": count, "status": status, "reporting_sources": [source] if source else [],
    }  # fmt: skip


def events_of(faults: list[dict[str, Any]], *, as_events: bool = True) -> pl.DataFrame:
    """Return the events of a recording with a fault each second, read as any recording is."""
    file = io.BytesIO()
    writer = Writer(file)
    name = "ros2_medkit_msgs/msg/FaultEvent" if as_events else "ros2_medkit_msgs/msg/Fault"
    schema = writer.register_msgdef(name, EVENT if as_events else FAULT + TIME)
    for n, one in enumerate(faults):
        message = {"event_type": "fault_updated", "fault": one, "timestamp": NOW} if as_events else one
        writer.write_message("/fault_manager/events", schema, message, log_time=n * S, publish_time=n * S, sequence=n)
    writer.finish()
    batch = concat_batches(list(open_recording(io.BytesIO(file.getvalue()))))
    named = pl.lit("a.mcap").alias("recording")
    drive = Drive(
        batch.frames.lazy().with_columns(named),
        batch.logs.lazy().with_columns(named),
        batch.diagnostics.lazy().with_columns(named),
        {key: table.lazy().with_columns(named) for key, table in batch.topics.items()},
    )
    return find(drive, pl.DataFrame(), default_config()).events


@pytest.mark.parametrize("as_events", [True, False])
def test_a_fault_from_its_first_failure_to_its_healing(*, as_events: bool) -> None:
    states = ["PREFAILED", "CONFIRMED", "CONFIRMED", "PREPASSED", "HEALED", "PREFAILED"]
    events = events_of([fault(s, count=n + 1) for n, s in enumerate(states)], as_events=as_events)
    assert events.select(
        "code", "source", "ecu", "channel", "status", "severity", "occurrence", "frame_count", "occurrence_count", "message"
    ).rows() == [
        ("MOTOR_OVERHEAT", "ros_fault", "/motor", "/fault_manager/events", "confirmed", "error", 1, 3, 3, "too hot"),
        ("MOTOR_OVERHEAT", "ros_fault", "/motor", "/fault_manager/events", "pending", "error", 2, 1, 6, "too hot"),
    ]  # fmt: skip
    assert (events["payload_hex"].str.len_chars() > 8).all()


def test_a_fault_that_only_shows_as_cleared_was_before() -> None:
    events = events_of([fault("CLEARED"), fault("HEALED"), fault("NEW_STATE")])
    assert events.select("status", "severity", "severity_rule").rows() == [
        ("previously_active", "info", "medkit: cleared")
    ]


def test_sources_of_one_code_are_two_faults_and_severities_are_named() -> None:
    events = events_of([
        fault("CONFIRMED", source="/a", severity=3), fault("CONFIRMED", source="", severity=9), fault("HEALED", source="/a"),
        fault("CONFIRMED", code="", source="/b"), fault("CONFIRMED", source="", severity=9, count=3000),
    ])  # fmt: skip
    assert events.sort("ecu").select("ecu", "severity", "severity_rule", "frame_count", "occurrence_count").rows() == [
        ("/a", "critical", "medkit: CRITICAL", 1, 1),
        ("fault_manager", "warning", "medkit: unknown severity", 2, 126),
    ]


@given(st.lists(st.sampled_from(["PREFAILED", "CONFIRMED", "HEALED", "CLEARED", "PREPASSED"]), min_size=1, max_size=12))
def test_each_stretch_without_an_end_is_one_event(states: list[str]) -> None:
    steps = [s for s in states if s != "PREPASSED"]
    active = [s in ("PREFAILED", "CONFIRMED") for s in steps]
    starts = sum(now and not before for before, now in pairwise([False, *active]))
    former = bool(steps) and not active[0]
    assert events_of([fault(s) for s in states]).height == starts + former


def test_messages_without_their_definition_are_no_faults() -> None:
    table = pl.LazyFrame({"frame": [0], "timestamp": [0], "recording": ["a"], "other": [1]}).with_columns(
        pl.col("timestamp").cast(pl.Datetime("ns", "UTC")), pl.col("frame").cast(pl.UInt64)
    )
    empty = pl.LazyFrame()
    drive = Drive(empty, empty, empty, {("/f", "ros2_medkit_msgs/msg/Fault"): table})
    assert find(drive, pl.DataFrame(), default_config()).events.is_empty()
