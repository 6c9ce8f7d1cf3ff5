"""Events and recordings of a drive by hand: times in whole seconds from the start of a day in 2026."""

from typing import Any

import polars as pl
from hypothesis import settings
from hypothesis import strategies as st

from argus_assets.faults.schema import ERROR_EVENTS, SOURCES, STATUSES, Severity
from argus_assets.recordings.schema import RECORDINGS

S = 1_000_000_000
DRIVE_FROM = 1_790_000_000 * S
FAULT = ("code", "source", "ecu")
NO_DEADLINE = settings(deadline=None)
"""A table takes as long as the machine is busy."""


def events_of(*rows: dict[str, Any]) -> pl.DataFrame:
    """Events from start_s, end_s and what differs from one E101."""
    full = [
        {
            "code": "E101", "source": "ros_log", "ecu": "n", "channel": "/rosout", "severity": "error",
            "severity_rule": "log: ERROR", "status": "occurred", "occurrence": 1, "frame_count": 1, "recording": "r", "frame": n,
            "payload_hex": "", "message": None,
            "first_seen": DRIVE_FROM + round(row["start_s"] * S), "last_seen": DRIVE_FROM + round(row["end_s"] * S),
            "active_s": row["end_s"] - row["start_s"],
            **{k: v for k, v in row.items() if k not in ("start_s", "end_s")},
        }
        for n, row in enumerate(rows)
    ]  # fmt: skip
    return ERROR_EVENTS.cast(pl.DataFrame(full, infer_schema_length=None)) if full else ERROR_EVENTS.empty()


def recordings_of(*ranges: tuple[float, float] | None, **columns: Any) -> pl.DataFrame:
    """A recording for each (first_s, last_s); `None` is one that could not be read."""
    rows = [
        {
            "recording": f"r{n}", "format": "mdf4", "state": "failed" if span is None else "parsed", "size_bytes": 1, "sha256": "",
            "sha256_verified": True, "frames": 0 if span is None else 10, "frames_lost": 0, "channels": 1, "problems": 0,
            "parse_s": 0.0, "decoder": "d",
            "first_timestamp": None if span is None else DRIVE_FROM + round(span[0] * S),
            "last_timestamp": None if span is None else DRIVE_FROM + round(span[1] * S),
            **columns,
        }
        for n, span in enumerate(ranges)
    ]  # fmt: skip
    times = {"first_timestamp": pl.Int64(), "last_timestamp": pl.Int64()}
    return RECORDINGS.cast(pl.DataFrame(rows, schema={**RECORDINGS.schema, **times}))


def cells(spans) -> set[int]:
    """The whole seconds that some spans cover: the slow way to join and to measure."""
    return {second for start, end in spans for second in range(start, end)}


def spans_of(rows: list[dict[str, Any]]) -> list[tuple[int, int]]:
    return [(row["start_s"], row["end_s"]) for row in rows]


def by_fault(rows: list[dict[str, Any]]) -> dict[tuple[str, ...], list[dict[str, Any]]]:
    """The rows of each fault."""
    out: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for row in rows:
        out.setdefault(tuple(row[name] for name in FAULT), []).append(row)
    return out


LONGEST_S = 400
spans = st.tuples(st.integers(0, LONGEST_S), st.integers(0, 40)).map(lambda s: (s[0], s[0] + s[1]))
event_rows = st.builds(
    lambda span, **row: {"start_s": span[0], "end_s": span[1], **row},
    spans,
    code=st.sampled_from(["E1", "E2", "P0301", "P0301-11", "P0301-12"]),
    source=st.sampled_from([*SOURCES[:2], "ros_log"]),
    ecu=st.sampled_from(["a", "b"]),
    channel=st.sampled_from(["CAN1", "CAN2"]),
    severity=st.sampled_from([s.value for s in Severity]),
    status=st.sampled_from(STATUSES),
    frame_count=st.integers(1, 1000),
)
drives = st.lists(event_rows, min_size=1, max_size=20)
covers = st.lists(spans, min_size=1, max_size=5)
"""Ranges of recordings."""
