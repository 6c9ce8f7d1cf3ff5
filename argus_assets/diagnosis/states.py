"""State of a fault at the end of the drive: what is now, what was, and whether its onset was seen.

The status of a report says what a list stands for; the state also weighs the UDS status byte, whether the fault was still
reported at the end, and whether it was cleared and stayed away.
"""

from collections.abc import Mapping
from typing import Final, Literal

import polars as pl

from argus_assets.faults.clearings import CLEAR_CODES, CLEARED_ECU, ECU_SEPARATOR, PROGRAMMING, REFUSED_ECU

FaultState = Literal[
    "present",
    "moment",
    "intermittent",
    "ended",
    "pending",
    "stored",
    "permanent",
    "previous",
    "cleared",
    "serviced",
    "stopping",
]
"""`moment`: a single occurrence, such as a log line. `intermittent`: failed in this drive, passes at its end. `stored`:
kept by the control unit, not failing now. `ended`: active in this drive, once, and gone before its end. `permanent`: repaired, waits for its monitor. `cleared`: a clearing held.
`serviced`: a silence while a control unit was programmed. `stopping`: logged after somebody stopped the software."""

WEIGHTS: Final[Mapping[FaultState, float]] = {
    "present": 1.0, "moment": 1.0, "intermittent": 0.7, "ended": 0.7, "pending": 0.6, "stored": 0.3, "permanent": 0.1,
    "previous": 0.1, "cleared": 0.1, "serviced": 0.1, "stopping": 0.1,
}  # fmt: skip
"""Weight of a finding's likelihood ratio by its state (engineering judgement; 1 for one that fails now)."""

NOW: Final[frozenset[FaultState]] = frozenset({"present", "moment", "intermittent", "ended"})
"""States of faults of this drive."""

FROM_START_S: Final = 3.0
"""What is reported so soon after the first frame was there before: units broadcast their faults once a second."""

AT_END_S: Final = 5.0
"""A fault reported within this time of the last frame is there at the end: the longest period of a DM1 and its repetition."""

AFTER_PROGRAMMING_S: Final = 30.0
"""A programmed control unit starts again within this time."""

_READ_OUTS: Final = (
    "obd_",
    "uds_",
    "kwp_",
    "j1939_dm2",
    "j1939_dm3",
    "j1939_dm6",
    "j1939_dm12",
    "j1939_dm23",
    "j1939_dm27",
    "j1939_dm28",
)
"""Sources of lists that a tester asks for: the time of reading is not the time of onset."""

_TEST_FAILED: Final = 0x01
_FAILED_THIS_CYCLE: Final = 0x02
_PENDING: Final = 0x04
_CONFIRMED: Final = 0x08
_LAMP: Final = 0x80
"""Bits of the status byte of a DTC (ISO 14229-1, D.2)."""

STATE_OF_STATUS: Final[Mapping[str, FaultState]] = {
    "active": "present", "confirmed": "present", "pending": "pending", "permanent": "permanent",
    "previously_active": "previous", "occurred": "moment",
}  # fmt: skip
"""State of a fault of which nothing but the status of its reports is known."""


def is_read_out(source: str) -> bool:
    """Return whether a source is a list that a tester asked for."""
    return source.startswith(_READ_OUTS)


def onset_seen(source: str, seconds_into_drive: float) -> bool:
    """Return whether the first report shows when the fault began."""
    return not is_read_out(source) and seconds_into_drive > FROM_START_S


def fault_state(
    reports: pl.DataFrame, clears: pl.DataFrame, sessions: pl.DataFrame, *, ends_ns: int, drive_s: float
) -> FaultState:
    """Return the state of a fault.

    Args:
        reports: Its activations, of all sources: `faults.schema.ERROR_EVENTS`.
        clears: Clearings of the drive (`clearings_of`).
        sessions: Programming sessions of the drive (`sessions_of`).
        ends_ns: Time of the drive's last frame, nanoseconds since 1970 UTC.
        drive_s: Duration of the drive, seconds.
    """
    cleared = sorted(clears.filter(pl.col("ecus").list.contains(reports["ecu"][0]))["at_ns"])
    if cleared:
        seen = reports["last_seen"].dt.timestamp("ns")
        if seen.max() <= cleared[-1]:  # type: ignore[operator]
            # One that came back after an earlier clearing is not repaired by the next.
            return "intermittent" if len(cleared) > 1 and (seen > cleared[0]).any() else "cleared"
        reports = reports.filter(seen > cleared[-1])
    last = int(reports["last_seen"].dt.timestamp("ns").max())  # type: ignore[arg-type]
    by_unit = reports.filter(pl.col("dtc_status").is_not_null()).sort("last_seen")
    if by_unit.height:
        state = _of_status_byte(int(by_unit["dtc_status"][-1]))
        if state is not None:
            return state
    statuses = reports["status"].cast(pl.String).to_list()
    if sessions.height and _while_programming(reports, sessions, ends_ns):
        return "serviced"
    if "active" in statuses:
        active = reports.filter(pl.col("status") == "active")
        if active.height > 2:
            return "intermittent"
        if (ends_ns - last) / 1e9 <= max(AT_END_S, 0.05 * drive_s):
            return "present"
        return "ended" if active.height == 1 else "intermittent"
    states = {STATE_OF_STATUS[status] for status in statuses}
    return next(state for state in WEIGHTS if state in states)


def _of_status_byte(status: int) -> FaultState | None:
    if status & _TEST_FAILED:
        return "present"
    if status & (_FAILED_THIS_CYCLE | _LAMP):
        return "intermittent"
    if status & _CONFIRMED:
        return "intermittent" if status & _PENDING else "stored"
    return "pending" if status & _PENDING else "stored"


def clearings_of(events: pl.DataFrame) -> pl.DataFrame:
    """Return the clearings that ECUs confirmed: columns `at_ns` and `ecus`, the ECUs whose codes were cleared."""
    rows: list[dict[str, object]] = []
    found = events.filter(pl.col("code").is_in(CLEAR_CODES))
    for row in found.select("first_seen", "ecu", "details", "code").iter_rows(named=True):
        details = {d["key"]: d["value"] for d in row["details"] or ()}
        ecus = [e for e in details.get(CLEARED_ECU, "").split(ECU_SEPARATOR) if e]
        refused = row["code"] == "J1939_CLEAR" and not ecus and details.get(REFUSED_ECU)
        if not refused:
            rows.append({"at_ns": int(row["first_seen"].timestamp() * 1e9), "ecus": ecus or [row["ecu"]]})
    return pl.DataFrame(rows, schema={"at_ns": pl.Int64, "ecus": pl.List(pl.String)})


def sessions_of(events: pl.DataFrame) -> pl.DataFrame:
    """Return the programming sessions of the drive: columns `begins_ns` and `ends_ns`."""
    return events.filter(pl.col("code") == PROGRAMMING).select(
        begins_ns=pl.col("first_seen").dt.timestamp("ns"), ends_ns=pl.col("last_seen").dt.timestamp("ns")
    )


def _while_programming(reports: pl.DataFrame, sessions: pl.DataFrame, ends_ns: int) -> bool:
    """Return whether a silence began in a programming session and ended soon after it."""
    if not set(reports["source"].cast(pl.String)) <= {"can_silence", "can_gap"}:
        return False
    first, last = (reports[column].dt.timestamp("ns") for column in ("first_seen", "last_seen"))
    begins, ends = int(first.min()), int(last.max())  # type: ignore[arg-type]
    margin = int(AFTER_PROGRAMMING_S * 1e9)
    return any(
        session_begins - margin <= begins <= session_ends + margin
        and (ends <= session_ends + margin or ends_ns <= session_ends + margin)
        for session_begins, session_ends in sessions.iter_rows()
    )
