"""CAN error frames as a SocketCAN interface hands them to a logger.

Class bits stand in the identifier; byte 1 tells of the controller, byte 2 of the protocol, bytes 6 and 7 are the
transmit and receive error counters (layout: Linux, `include/uapi/linux/can/error.h`; counters: ISO 11898-1, 12.1.4).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from argus_assets.simulate.can import ERROR_FLAG, Row
from argus_assets.simulate.timing import FROM_FAULT, Ride, When

CONTROLLER, PROTOCOL, NO_ACKNOWLEDGE, BUS_OFF, BUS_ERROR, RESTARTED = 0x004, 0x008, 0x020, 0x040, 0x080, 0x100
"""Class bits."""

_TX_PASSIVE: Final = 0x20
_STUFF: Final = 0x04
_RESTART_S: Final = 0.1

ErrorKind = Literal["bus_off", "error_passive", "no_acknowledge", "stuff"]


@dataclass(frozen=True, slots=True)
class CanErrors:
    """A burst of error frames.

    Attributes:
        kind: What the controller tells. A controller that went off the bus is restarted a moment later.
        when: During which time.
        period_s: From one frame to the next.
    """

    kind: ErrorKind
    when: When = FROM_FAULT
    period_s: float = 0.2


def error_rows(errors: Sequence[CanErrors], ride: Ride) -> list[Row]:
    """Return the error frames of a drive."""
    rows: list[Row] = []
    for burst in errors:
        times = np.arange(max(0.0, ride.start_s + burst.when.after_s), ride.seconds, burst.period_s)
        for at in times[burst.when.active(times, ride.start_s)].tolist():
            sent = at + float(ride.rng.uniform(0, 0.2 * burst.period_s))
            rows.append((sent, *_frame(burst.kind, int(ride.rng.integers(128, 200)))))
            if burst.kind == "bus_off":
                rows.append((sent + _RESTART_S, ERROR_FLAG | RESTARTED, bytes(8)))
    return rows


def _frame(kind: ErrorKind, counter: int) -> tuple[int, bytes]:
    match kind:
        case "bus_off":  # The counter passed 255, which its byte cannot hold.
            return ERROR_FLAG | BUS_OFF, bytes(8)
        case "error_passive":
            return ERROR_FLAG | CONTROLLER, bytes([0, _TX_PASSIVE, 0, 0, 0, 0, counter, 0])
        case "no_acknowledge":  # A sender that nobody acknowledges does not count beyond passive (12.1.4.2).
            return ERROR_FLAG | NO_ACKNOWLEDGE, bytes([0, 0, 0, 0, 0, 0, 128, 0])
        case "stuff":
            return ERROR_FLAG | PROTOCOL | BUS_ERROR, bytes([0, 0, _STUFF, 0, 0, 0, 0, min(counter - 100, 95)])
