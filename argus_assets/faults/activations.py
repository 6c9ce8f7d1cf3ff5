"""Group reports into activations: an event is an inactive→active transition, not a frame.

A *report* says that a fault was active at one moment. The messages of one reporter (an ECU or component on a
channel) are numbered, also those that list no fault: a fault that was in one message and not in the next has become
inactive. So has one that was not reported for longer than its source allows.
"""

from dataclasses import dataclass
from typing import Final, Self

import numpy as np
import numpy.typing as npt
import polars as pl

from argus_assets.faults.detector import Found
from argus_assets.faults.schema import DETAILS, ERROR_EVENTS, SEVERITY
from argus_assets.faults.severity import severity_of

REPORTS: Final = pl.Schema(
    {
        "source": ERROR_EVENTS.schema["source"],
        "channel": pl.String(),
        "ecu": pl.String(),
        "ecu_name": pl.String(),
        "code": pl.String(),
        "seq": pl.Int64(),
        "timestamp": pl.Int64(),
        "status": ERROR_EVENTS.schema["status"],
        "severity": SEVERITY,
        "severity_rule": pl.String(),
        "message": pl.String(),
        "lamp_status": pl.String(),
        "occurrence_count": pl.UInt8(),
        "dtc_status": pl.UInt8(),
        "details": DETAILS,
        "recording": pl.String(),
        "frame": pl.UInt64(),
        "payload": pl.Binary(),
    }
)
"""A table of reports.

`seq` numbers the reporter's messages, `timestamp` is in nanoseconds since 1970 UTC. `severity` may be null where
`severity_rule` is one of `severity.RULES`, which then decides it.
"""

FAULT: Final = ("source", "channel", "ecu", "code")
"""What makes two reports reports of the same fault."""

MAX_TEXT_CHARACTERS: Final = 512
MAX_EVIDENCE_BYTES: Final = 256

MAX_EVENTS: Final = 100_000
"""Activations that a detector reports of one kind of report: a drive of ten hours with a hundred faults that each come and
go every half a minute has no more."""

I64 = npt.NDArray[np.int64]


def as_reports(found: pl.DataFrame) -> pl.DataFrame:
    """Bring a detector's findings to `REPORTS`; columns that its source does not have become null."""
    return found.select(
        (pl.col(name) if name in found.columns else pl.lit(None, dtype=dtype)).cast(dtype).alias(name)
        for name, dtype in REPORTS.items()
    )


def activations(reports: pl.DataFrame, *, longest_gap_ns: int | None, max_events: int = MAX_EVENTS) -> Found:
    """Group reports into activations.

    Reports are many and wide, activations are few: places are sorted and compared, and only the values that an activation
    keeps are taken from the reports.

    Args:
        reports: `REPORTS`.
        longest_gap_ns: Longest time between two reports of one activation, nanoseconds; `None` for any time.
        max_events: Of further ones each fault keeps the first.

    Returns:
        `ERROR_EVENTS`, and a note on activations that were left out. Severity, its rule and the lamps are those of the
        worst report; text and evidence those of the first; the ECU's counter, its status and that of its code those of
        the last; details those of all reports, the first value of each key.
    """
    if reports.is_empty():
        return Found(ERROR_EVENTS.empty())
    runs = _Runs.of(reports, longest_gap_ns)
    kept = runs.first_of_each_fault(max_events)
    first, last, worst = (reports[runs.order[at]] for at in (kept.first, kept.last, kept.worst))
    table = pl.DataFrame(
        [
            *first.select(*FAULT, "recording", "frame"),
            first["message"].str.slice(0, MAX_TEXT_CHARACTERS),
            first["payload"].bin.slice(0, MAX_EVIDENCE_BYTES).bin.encode("hex").alias("payload_hex"),
            *worst.select(
                pl.coalesce("severity", severity_of(pl.col("severity_rule"))), "severity_rule", "lamp_status"
            ),
            *last.select("occurrence_count", "status", "dtc_status"),
            first["timestamp"].alias("first_seen"),
            last["timestamp"].alias("last_seen"),
            pl.Series("occurrence", kept.occurrence),
            pl.Series("frame_count", kept.last - kept.first + 1),
            reports["ecu_name"].gather(pl.Series(kept.first_of(runs, reports["ecu_name"]), dtype=pl.Int64)),
        ]
    )
    details = _details(reports, runs, kept)
    events = ERROR_EVENTS.cast(
        table.with_row_index("activation")
        .join(details, on="activation", how="left", maintain_order="left")
        .drop("activation")
        .with_columns(active_s=(pl.col("last_seen") - pl.col("first_seen")) / 1e9)
    )
    more = len(runs.first) - len(kept.first)
    if not more:
        return Found(events)
    sources = ", ".join(reports["source"].cast(pl.String).unique().sort())
    return Found(
        events, (f"{sources}: {more:,} of {len(runs.first):,} activations were left out, the latest of each fault.",)
    )


@dataclass(frozen=True, slots=True)
class _Runs:
    """Runs of reports, one for each activation.

    Attributes:
        order: Rows of the reports, fault by fault in time order.
        first: Place in `order` of the first report of each run.
        last: Of the last one.
        worst: Of the first one of the highest severity.
        occurrence: Which run of its fault it is, from 1.
    """

    order: I64
    first: I64
    last: I64
    worst: I64
    occurrence: I64

    @classmethod
    def of(cls, reports: pl.DataFrame, longest_gap_ns: int | None) -> Self:
        faults = reports.select(FAULT).unique().sort(FAULT).with_row_index("fault")
        severity = pl.coalesce("severity", severity_of(pl.col("severity_rule"))).cast(SEVERITY).to_physical()
        rows = (
            reports.select(*FAULT, "timestamp", "seq", badness=severity.cast(pl.Int64).fill_null(-1))
            .join(faults, on=FAULT, how="left", maintain_order="left")
            .drop(FAULT)
            .with_row_index("order")
            .sort("fault", "timestamp", "seq", maintain_order=True)
        )
        fault, timestamp, seq = (rows[name].cast(pl.Int64).to_numpy() for name in ("fault", "timestamp", "seq"))
        begins = np.ones(len(fault), np.bool_)
        is_other = fault[1:] != fault[:-1]
        begins[1:] = is_other | (np.diff(seq) > 1)
        if longest_gap_ns is not None:
            begins[1:] |= np.diff(timestamp) > longest_gap_ns
        first = np.flatnonzero(begins)
        last = np.append(first[1:], len(fault)) - 1
        number = np.arange(len(first))
        of_fault = np.maximum.accumulate(np.where(np.append(True, fault[first][1:] != fault[first][:-1]), number, 0))
        # The worst report of a run, of equal ones the first, in one number.
        places = np.arange(len(fault))
        rated = rows["badness"].to_numpy() * len(fault) + (len(fault) - 1 - places)
        worst = len(fault) - 1 - np.maximum.reduceat(rated, first) % len(fault)
        return cls(rows["order"].cast(pl.Int64).to_numpy(), first, last, worst, number - of_fault + 1)

    def first_of_each_fault(self, count: int) -> "_Runs":
        """Return at most `count` runs, or one of each fault where these are more."""
        if len(self.first) <= count:
            return self
        faults = int(np.count_nonzero(self.occurrence == 1))
        kept = self.occurrence <= max(count // faults, 1)
        return _Runs(self.order, self.first[kept], self.last[kept], self.worst[kept], self.occurrence[kept])

    def first_of(self, every: "_Runs", values: pl.Series) -> list[int | None]:
        """Return the row of the first value in each run, `None` where it has none."""
        filled = np.flatnonzero(values.is_not_null().to_numpy()[every.order])
        if not len(filled):
            return [None] * len(self.first)
        found = filled[np.minimum(np.searchsorted(filled, self.first), len(filled) - 1)]
        is_inside = (found >= self.first) & (found <= self.last)
        return [int(row) if inside else None for row, inside in zip(every.order[found], is_inside, strict=True)]


def _details(reports: pl.DataFrame, runs: _Runs, kept: _Runs) -> pl.DataFrame:
    """Return the details of activations that have some: activation, details."""
    filled = np.flatnonzero(reports["details"].list.len().fill_null(0).to_numpy()[runs.order] > 0)
    run = np.searchsorted(kept.first, filled, side="right") - 1
    inside = (run >= 0) & (filled <= kept.last[np.maximum(run, 0)])
    return (
        pl.DataFrame(
            [
                pl.Series("activation", run[inside], dtype=pl.UInt32),
                reports["details"].gather(pl.Series(runs.order[filled[inside]])),
            ]
        )
        .explode("details", empty_as_null=False)
        .unnest("details")
        .unique(["activation", "key"], keep="first", maintain_order=True)
        .group_by("activation", maintain_order=True)
        .agg(details=pl.struct("key", "value"))
    )


def numbered(events: pl.DataFrame) -> pl.DataFrame:
    """Number the activations of each fault anew, for detectors that find them without reports.

    Args:
        events: `ERROR_EVENTS`, whose `occurrence` does not count.

    Returns:
        `ERROR_EVENTS`, sorted by first_seen.
    """
    occurrence = pl.int_range(1, pl.len() + 1, dtype=pl.UInt32).over(FAULT)
    return events.sort("first_seen", maintain_order=True).with_columns(occurrence=occurrence)
