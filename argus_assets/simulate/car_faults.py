"""What can go wrong in a car, as a scenario declares it."""

from dataclasses import dataclass
from typing import ClassVar, Final, Literal

from argus_assets.simulate.can_errors import CanErrors
from argus_assets.simulate.obd import DtcStatus
from argus_assets.simulate.signals import Change
from argus_assets.simulate.timing import FROM_FAULT, When

ENGINE, TRANSMISSION, BRAKES, GATEWAY, BODY = range(5)
"""Control units, by number."""

FAILED: Final = int(
    DtcStatus.TEST_FAILED
    | DtcStatus.TEST_FAILED_THIS_CYCLE
    | DtcStatus.PENDING
    | DtcStatus.CONFIRMED
    | DtcStatus.FAILED_SINCE_CLEAR
)
"""Status of a code whose test fails now."""

STORED: Final = FAILED & ~DtcStatus.TEST_FAILED
"""Status of a code that failed earlier in this cycle and is now passed."""

NOT_TESTED: Final = int(DtcStatus.NOT_COMPLETED_SINCE_CLEAR | DtcStatus.NOT_COMPLETED_THIS_CYCLE)
"""Status of a code whose test has not run yet: no fault."""


@dataclass(frozen=True, slots=True)
class ObdCode:
    """A code that a unit reports by OBD services.

    Attributes:
        code: Such as `P0301`.
        unit: Which.
        when: While it is stored.
        kind: `confirmed` codes are in service 03 and light the lamp, `pending` ones in 07, `permanent` ones in 03
            and 0A.
        freeze_frame: It is the one whose freeze frame the unit keeps (service 02).
    """

    code: str
    unit: int = ENGINE
    when: When = FROM_FAULT
    kind: Literal["confirmed", "pending", "permanent"] = "confirmed"
    freeze_frame: bool = False


@dataclass(frozen=True, slots=True)
class UdsCode:
    """A code that a unit reports by ReadDTCInformation.

    Attributes:
        code: With its failure type, such as `U0100-87`.
        unit: Which.
        when: While its test fails.
        status: Status byte meanwhile.
        status_after: Status byte once it has passed again.
    """

    code: str
    unit: int
    when: When = FROM_FAULT
    status: int = FAILED
    status_after: int = STORED


@dataclass(frozen=True, slots=True)
class Silence:
    """Units that are silent."""

    units: tuple[int, ...]
    when: When = FROM_FAULT


@dataclass(frozen=True, slots=True)
class Refusal:
    """A unit that answers a request of the tester with a negative response; "pending" is followed by a positive one."""

    unit: int
    request: bytes
    response_code: int


@dataclass(frozen=True, slots=True)
class CarFault:
    """The fault of a car.

    Attributes:
        obd: Codes reported by OBD services.
        uds: Codes reported by UDS.
        changes: Signals that leave their healthy course (names: `car.SIGNALS`).
        silent: Units that fall silent.
        errors: Error frames on the bus.
        refusals: Requests that are answered negatively, once in each cycle of the tester.
        clears: When the tester clears all codes (service 04, and 0x14 where UDS codes are polled).
        extended_ids: The tester uses 29-bit identifiers.
    """

    platform: ClassVar[Literal["car"]] = "car"

    obd: tuple[ObdCode, ...] = ()
    uds: tuple[UdsCode, ...] = ()
    changes: tuple[Change, ...] = ()
    silent: tuple[Silence, ...] = ()
    errors: tuple[CanErrors, ...] = ()
    refusals: tuple[Refusal, ...] = ()
    clears: When | None = None
    extended_ids: bool = False

    def is_silent(self, unit: int, at_s: float, start_s: float) -> bool:
        """Return whether a unit is silent at this time."""
        return any(unit in s.units and s.when.is_active(at_s, start_s) for s in self.silent)
