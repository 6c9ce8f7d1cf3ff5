"""Lifecycle of each fault of a vehicle over its drives: new, recurring, cleared, back. Pure.

The rules, drive by drive in the order of their recording:

- A drive is *affected* when it reports the code as more than stored (`previously_active` alone does not count).
- A drive *counts* against a fault when it is not affected and was recorded for at least as long as the fault ever took
  to appear after the start of a drive: its monitor has had the time to run.
- A fault is *cleared* when `CLEAR_DRIVES` drives in a row count against it (three, as OBD-II turns its lamp off after
  three drives without the fault), or when a tester cleared it (OBD mode 04, UDS 0x14, J1939 DM11, confirmed)
  and it was not reported again in that drive.
- A fault that is reported after it was cleared is *back*: the repair did not last. So is one that is reported after a
  clearing in the same drive.
- Otherwise it is *new* when one drive is affected, and *recurring* when several are.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from argus_assets.faults.clearings import ALL_CODES, CLEARED_ECU, ECU_SEPARATOR, REFUSED_ECU, SCOPE

CLEAR_DRIVES: Final = 3

State = Literal["back", "new", "recurring", "cleared"]
Mark = Literal["affected", "cleared_by_tester", "counts", "too_short"]
ClearedBy = Literal["tester", "drives"]


class FaultSeen(BaseModel):
    """A fault in one drive.

    Attributes:
        seconds_into_drive: Its first report, counted from the drive's first frame.
    """

    model_config = ConfigDict(frozen=True)

    first_seen: datetime
    last_seen: datetime
    seconds_into_drive: float
    occurrences: int
    severity: str


class Clearing(BaseModel):
    """A tester cleared codes.

    Attributes:
        ecu: The ECU that cleared its codes, `None` for all.
        scope: The code that it covers, the letter of a system, or empty for all.
    """

    model_config = ConfigDict(frozen=True)

    at: datetime
    ecu: str | None
    scope: str

    def covers(self, code: str, ecu: str) -> bool:
        """Return whether it clears this code of this ECU."""
        return self.ecu in (None, ecu) and self.scope in ("", code[:1], code)


class DriveSeen(BaseModel):
    """One drive of the vehicle.

    Attributes:
        recorded_s: Seconds recorded.
        faults: Its faults by code and ECU.
    """

    model_config = ConfigDict(frozen=True)

    partition: str
    recorded_from: datetime
    recorded_s: float
    release: str
    faults: Mapping[tuple[str, str], FaultSeen] = {}
    clearings: tuple[Clearing, ...] = ()


class Episode(BaseModel):
    """Drives from the appearance of a fault until it was cleared.

    Attributes:
        drives: Number of affected drives.
        cleared_by: `None` while it is open.
        cleared_in: Partition of the drive that cleared it.
    """

    model_config = ConfigDict(frozen=True)

    first_drive: str
    last_drive: str
    release: str
    drives: int
    cleared_by: ClearedBy | None = None
    cleared_in: str | None = None


class FaultLife(BaseModel):
    """Lifecycle of a fault.

    Attributes:
        drives_affected: Affected drives, of `drives` in the window.
        counting_since: Drives in a row that count against it since its last report.
        first_release: Release under which it first appeared.
        marks: Mark of each drive, oldest first, from its first appearance on.
    """

    model_config = ConfigDict(frozen=True)

    code: str
    ecu: str
    state: State
    severity: str
    first_seen: datetime
    last_seen: datetime
    first_release: str
    drives_affected: int
    drives: int
    occurrences: int
    counting_since: Annotated[int, Field(ge=0)]
    episodes: tuple[Episode, ...]
    marks: tuple[Mark, ...]


_ORDER: Final[Mapping[State, int]] = {"back": 0, "new": 1, "recurring": 2, "cleared": 3}
SEVERITIES: Final = ("critical", "error", "warning", "info")


def lifecycles(drives: Sequence[DriveSeen], *, clear_drives: int = CLEAR_DRIVES) -> list[FaultLife]:
    """Return the lifecycle of each fault: those that are back first, then by severity.

    Args:
        drives: All drives of one vehicle in a window, in any order.
        clear_drives: Drives in a row that must count against a fault until it is cleared.
    """
    in_order = sorted(drives, key=lambda d: (d.recorded_from, d.partition))
    keys = {key for drive in in_order for key in drive.faults}
    found = [_life(*key, in_order, clear_drives) for key in keys]
    return sorted(
        found,
        key=lambda f: (_ORDER[f.state], SEVERITIES.index(f.severity), -f.last_seen.timestamp(), f.code, f.ecu),
    )


def _life(code: str, ecu: str, drives: Sequence[DriveSeen], clear_drives: int) -> FaultLife:
    episodes: list[Episode] = []
    marks: list[Mark] = []
    seen: list[FaultSeen] = []
    counting, longest_s, first_release = 0, 0.0, ""

    def is_open() -> bool:
        return bool(episodes) and episodes[-1].cleared_by is None

    def close(by: ClearedBy, drive: DriveSeen) -> None:
        episodes[-1] = episodes[-1].model_copy(update={"cleared_by": by, "cleared_in": drive.partition})

    for drive in drives:
        fault = drive.faults.get((code, ecu))
        cleared_at = max((c.at for c in drive.clearings if c.covers(code, ecu)), default=None)
        if fault is None:
            if not episodes:
                continue
            if cleared_at is not None and is_open():
                close("tester", drive)
                marks.append("cleared_by_tester")
                counting = 0
                continue
            if drive.recorded_s < longest_s:
                marks.append("too_short")
                continue
            marks.append("counts")
            counting += 1
            if is_open() and counting >= clear_drives:
                close("drives", drive)
            continue
        seen.append(fault)
        counting = 0
        longest_s = max(longest_s, fault.seconds_into_drive)
        first_release = first_release or drive.release
        marks.append("affected")
        if is_open():
            last = episodes[-1]
            episodes[-1] = last.model_copy(update={"last_drive": drive.partition, "drives": last.drives + 1})
        else:
            episodes.append(
                Episode(first_drive=drive.partition, last_drive=drive.partition, release=drive.release, drives=1)
            )
        if cleared_at is not None and cleared_at >= fault.first_seen:
            close("tester", drive)
            if fault.last_seen > cleared_at:  # it came back in the same drive
                episodes.append(
                    Episode(first_drive=drive.partition, last_drive=drive.partition, release=drive.release, drives=1)
                )
    last = episodes[-1]
    state: State = (
        "cleared"
        if last.cleared_by is not None
        else "back"
        if len(episodes) > 1
        else "new"
        if last.drives == 1
        else "recurring"
    )
    return FaultLife(
        code=code,
        ecu=ecu,
        state=state,
        severity=min((f.severity for f in seen), key=SEVERITIES.index),
        first_seen=min(f.first_seen for f in seen),
        last_seen=max(f.last_seen for f in seen),
        first_release=first_release,
        drives_affected=len(seen),
        drives=len(drives),
        occurrences=sum(f.occurrences for f in seen),
        counting_since=counting,
        episodes=tuple(episodes),
        marks=tuple(marks),
    )


_ALL_ECUS: Final = "SA 0xFF"
"""The ECU of an event of a J1939 request to all."""


def clearings_of(
    code: str, *, ecu: str, details: Mapping[str, str], message: str | None, at: datetime
) -> tuple[Clearing, ...]:
    """Return the clearings that an event of `faults.clearings.CLEAR_CODES` reports: of the ECUs that confirmed it.

    A J1939 request to all ECUs needs no answer (J1939-73, 5.7.11): those that did not refuse have done it.

    Args:
        code: Which of the codes.
        ecu: The ECU that was asked, or answered.
        details: Of the event, by key.
        message: Text of the event, which is read where a table of Argus 0.1 has no scope among the details.
        at: When.
    """
    if SCOPE not in details:
        details = _details_of_prose(code, details, message or "")
    scope = details[SCOPE]
    if code != "J1939_CLEAR":
        return (Clearing(at=at, ecu=ecu, scope="" if scope == ALL_CODES else scope),)
    if scope != "DM11":  # DM3 clears what is not active any more
        return ()
    if ecu == _ALL_ECUS and REFUSED_ECU not in details:
        return (Clearing(at=at, ecu=None, scope=""),)
    confirmed = details[CLEARED_ECU].split(ECU_SEPARATOR) if CLEARED_ECU in details else ()
    return tuple(Clearing(at=at, ecu=one, scope="") for one in confirmed)


_OF_SYSTEM: Final = re.compile(r"([PCBU]) codes cleared")
_OF_CODE: Final = re.compile(r"(\S+) cleared")
_ACKNOWLEDGED: Final = re.compile(r"acknowledged by (SA 0x[0-9A-F]{2})")
_REFUSED: Final = re.compile(r"(?:refused|access denied|busy) by (SA 0x[0-9A-F]{2})")


def _details_of_prose(code: str, details: Mapping[str, str], message: str) -> dict[str, str]:
    """Return what Argus 0.1 wrote as text only.

    The message is cut after 512 characters, which its own scope is always before. The answers of all ECUs are whole in the
    detail `answer`.
    """
    if code != "J1939_CLEAR":
        found = _OF_SYSTEM.match(message) or _OF_CODE.fullmatch(message)
        return {SCOPE: found[1] if found is not None else ALL_CODES}
    answer = details.get("answer", "")
    ecus = {CLEARED_ECU: _ACKNOWLEDGED.findall(answer), REFUSED_ECU: _REFUSED.findall(answer)}
    return {
        SCOPE: "DM11" if "(DM11)" in message else "DM3",
        **{key: ECU_SEPARATOR.join(found) for key, found in ecus.items() if found},
    }
