"""A truck on SAE J1939: cyclic messages of its control units, and their diagnostic messages.

Each unit claims its address, sends DM1 once a second, and answers a data logger that requests DM2 and DM12. Layouts:
J1939-71 (parameter groups), J1939-73 (diagnostic messages).
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar, Final, Literal, NamedTuple

import numpy as np

from argus_assets.simulate import j1939
from argus_assets.simulate.can import CanLog, Row, cyclic, frames, from_rows, merge, put_number, speed_profile
from argus_assets.simulate.j1939 import Name, TroubleCode
from argus_assets.simulate.signals import Change, Course, Signals
from argus_assets.simulate.timing import F64, FROM_FAULT, Ride, When

ENGINE, TRANSMISSION, BRAKES, CLUSTER, AFTERTREATMENT, LOGGER = 0x00, 0x03, 0x0B, 0x17, 0x3D, 0xFB
"""Source addresses (J1939, appendix B); the logger requests, and reports no codes."""

RED_STOP, MALFUNCTION, AMBER, PROTECT, NO_LAMP = 0x10, 0x40, 0x04, 0x01, 0x00
"""Lamp bits (J1939-73 5.7.1)."""

_NAMES: Final[Mapping[int, Name]] = {
    ENGINE: Name(function=0, manufacturer=2001, identity=100_001),
    TRANSMISSION: Name(function=3, manufacturer=2002, identity=200_002),
    BRAKES: Name(function=9, manufacturer=2003, identity=300_003),
    CLUSTER: Name(function=19, manufacturer=2004, identity=400_004),
    AFTERTREATMENT: Name(function=44, manufacturer=2001, identity=500_005),
}
_UNITS: Final = tuple(_NAMES)
_TOP_KMH: Final = 85.0
_ODOMETER_KM: Final = 412_345.6
_POLL_S: Final = 10.0
_POLL_STEP_S: Final = 0.1


@dataclass(frozen=True, slots=True)
class Dtc:
    """A code that one control unit holds.

    Attributes:
        unit: Its source address.
        lamps: Lamps that it lights while active.
        when: While `kind` applies.
        kind: `active` codes are in DM1, and in DM2 after they ended; `previous` ones only in DM2; `pending` in DM6.
        emission: Emission-related: also in DM12 while active.
    """

    unit: int
    spn: int
    fmi: int
    lamps: int = AMBER
    when: When = FROM_FAULT
    kind: Literal["active", "previous", "pending"] = "active"
    emission: bool = False


@dataclass(frozen=True, slots=True)
class Silence:
    """A control unit that is silent."""

    unit: int
    when: When = FROM_FAULT


@dataclass(frozen=True, slots=True)
class Clear:
    """A request of the logger that a unit clear its codes by DM11; a code whose fault is still there comes back."""

    unit: int
    when: When


@dataclass(frozen=True, slots=True)
class TruckFault:
    """The fault of a truck.

    Attributes:
        codes: Codes of its control units.
        changes: Signals that leave their healthy course (names: `SIGNALS`).
        silent: Units that fall silent.
        clears: When the logger has codes cleared.
        refuses: Parameter groups that units answer with "not supported".
    """

    platform: ClassVar[Literal["truck"]] = "truck"

    codes: tuple[Dtc, ...] = ()
    changes: tuple[Change, ...] = ()
    silent: tuple[Silence, ...] = ()
    clears: tuple[Clear, ...] = ()
    refuses: tuple[tuple[int, int], ...] = ()


class _Field(NamedTuple):
    """A signal in a message: byte, size in bytes, value of one bit, offset (J1939-71, SLOTs)."""

    signal: str
    at: int
    size: int
    factor: float
    offset: float = 0.0


class _Message(NamedTuple):
    period_s: float
    can_id: int
    fields: tuple[_Field, ...]


_MESSAGES: Final = (
    _Message(0.02, 0x0CF00400, (_Field("load_pct", 2, 1, 1, -125), _Field("engine_rpm", 3, 2, 0.125))),  # EEC1
    _Message(0.01, 0x0CF00203, (_Field("output_rpm", 1, 2, 0.125),)),  # ETC1
    _Message(0.1, 0x18FEF100, (_Field("speed_kmh", 1, 2, 1 / 256),)),  # CCVS1
    _Message(0.1, 0x18F0010B, (_Field("brake_pct", 1, 1, 0.4),)),  # EBC1
    _Message(0.1, 0x08FE6E0B, tuple(_Field("speed_kmh", at, 2, 1 / 256) for at in (0, 2, 4, 6))),  # HRW
    _Message(0.1, 0x18FEF200, (_Field("fuel_l_per_h", 0, 2, 0.05),)),  # LFE1
    _Message(0.5, 0x18FEEF00, (_Field("fuel_kpa", 0, 1, 4), _Field("oil_kpa", 3, 1, 4), _Field("coolant_level_pct", 7, 1, 0.4))),  # EFL/P1
    _Message(0.5, 0x18FEDB00, (_Field("rail_mpa", 2, 2, 1 / 256),)),  # EFL/P2
    _Message(0.5, 0x18FEF600, (_Field("boost_kpa", 1, 1, 2), _Field("air_filter_kpa", 4, 1, 0.05))),  # IC1
    _Message(1.0, 0x18FEEE00, (_Field("coolant_c", 0, 1, 1, -40),)),  # ET1
    _Message(1.0, 0x18FEF700, (_Field("volts", 2, 2, 0.05), _Field("volts", 4, 2, 0.05))),  # VEP1
    _Message(1.0, 0x18FEC117, (_Field("odometer_m", 0, 4, 5), _Field("trip_m", 4, 4, 5))),  # VDHR
    _Message(1.0, 0x18FE563D, (_Field("def_level_pct", 0, 1, 0.4),)),  # AT1T1I
    _Message(1.0, 0x18FD9B3D, (_Field("def_quality_pct", 1, 1, 0.25),)),  # A1DEFI
    _Message(0.5, 0x18FDB23D, (_Field("dpf_kpa", 4, 2, 0.1),)),  # AT1IMG
    _Message(0.05, 0x18F00F3D, (_Field("nox_ppm", 0, 2, 0.05, -200),)),  # AT1OG1
)  # fmt: skip


def _courses(seconds: float) -> dict[str, Course]:
    def speed(t: F64) -> F64:
        return speed_profile(t, seconds, _TOP_KMH)

    def distance_m(t: F64) -> F64:
        grid = np.linspace(0, seconds, max(2, int(seconds * 10)))
        steps = speed(grid) / 3.6 * np.gradient(grid)
        return np.interp(t, grid, np.cumsum(steps) - steps[0])

    def around(mean: float, noise: float) -> Course:
        return lambda t, rng: mean + rng.normal(0, noise, len(t))

    return {
        "engine_rpm": lambda t, rng: 650 + 12 * speed(t) + rng.normal(0, 4, len(t)),
        "load_pct": lambda t, rng: 40 * np.sin(t / 5) + rng.normal(0, 2, len(t)),
        "output_rpm": lambda t, _: speed(t) * 14,
        "speed_kmh": lambda t, _: speed(t),
        "brake_pct": lambda t, _: t * 0,
        "fuel_l_per_h": lambda t, _: 4 + 0.3 * speed(t),
        "fuel_kpa": around(520, 8),
        "oil_kpa": around(380, 6),
        "coolant_level_pct": around(82, 0.3),
        "rail_mpa": around(120, 2),
        "boost_kpa": lambda t, rng: 20 + 1.6 * speed(t) + rng.normal(0, 2, len(t)),
        "air_filter_kpa": around(2, 0.05),
        "coolant_c": lambda t, _: 70 + 15 * (1 - np.exp(-t / 60)),
        "volts": around(27.8, 0.05),
        "odometer_m": lambda t, _: _ODOMETER_KM * 1000 + distance_m(t),
        "trip_m": lambda t, _: distance_m(t),
        "def_level_pct": around(64, 0.2),
        "def_quality_pct": around(32.5, 0.1),
        "dpf_kpa": around(6, 0.3),
        "nox_ppm": around(180, 15),
    }


SIGNALS: Final = frozenset(_courses(1.0))
"""Names that a `Change` may give."""


def drive(fault: TruckFault, ride: Ride) -> CanLog:
    """Return the traffic of one drive."""
    signals = Signals(_courses(ride.seconds), fault.changes, ride)
    logs: list[CanLog] = []
    for message in _MESSAGES:
        times = cyclic(ride.seconds, message.period_s, ride.rng)
        data = np.full((len(times), 8), 0xFF, np.uint8)
        for field in message.fields:
            raw = (signals.values(field.signal, times) - field.offset) / field.factor
            # The top of a field's range stands for errors and for "not available" (J1939-71 5.1.4).
            put_number(data, field.at, field.size, raw, top=(0xFB << 8 * (field.size - 1)) - 1)
        logs.append(frames(times, message.can_id, data, extended=True))
    diagnostics = [*_claims(ride), *_dm1s(fault, ride), *_polls(fault, ride)]
    bus = merge([*logs, from_rows(diagnostics, before_s=ride.seconds)])
    return bus.rows(~_silenced(bus, fault, ride.start_s))


def _silenced(bus: CanLog, fault: TruckFault, start_s: float) -> np.ndarray:
    gone = np.zeros(len(bus.time_s), np.bool_)
    for silence in fault.silent:
        gone |= ((bus.can_id & 0xFF) == silence.unit) & silence.when.active(bus.time_s, start_s)
    return gone


def _claims(ride: Ride) -> Iterator[Row]:
    for unit, name in _NAMES.items():
        yield j1939.address_claimed(float(ride.rng.uniform(0, 0.25)), unit, name)


def _dm1s(fault: TruckFault, ride: Ride) -> Iterator[Row]:
    """Return the DM1 of each unit, once a second."""
    for unit in _UNITS:
        for at in cyclic(ride.seconds, 1.0, ride.rng, jitter=0.005).tolist():
            yield from j1939.broadcast(at, j1939.PGN_DM1, unit, _body(fault, unit, at, ride.start_s, _is_active))


def _polls(fault: TruckFault, ride: Ride) -> Iterator[Row]:
    """Return the requests of the logger to one unit after another, with their answers."""
    requests = [(pgn, unit) for pgn in (j1939.PGN_DM2, j1939.PGN_DM12, j1939.PGN_DM6) for unit in _UNITS]
    for poll in np.arange(ride.rng.uniform(0.5, 2.0), ride.seconds, _POLL_S).tolist():
        for number, (pgn, unit) in enumerate(requests):
            at = poll + number * _POLL_STEP_S
            yield j1939.request(at, pgn, LOGGER, unit)
            if _is_silent(fault, unit, at, ride.start_s):
                continue
            if (unit, pgn) in fault.refuses:
                yield j1939.acknowledgement(at + 0.01, pgn, unit, LOGGER, positive=False)
                continue
            body = _body(fault, unit, at, ride.start_s, _HOLDS[pgn])
            yield from j1939.send_to(at + 0.01, pgn, unit, LOGGER, body)
    for clear in fault.clears:
        for at in clear.when.starts(ride):
            yield j1939.request(at, j1939.PGN_DM11, LOGGER, clear.unit)
            yield j1939.acknowledgement(at + 0.01, j1939.PGN_DM11, clear.unit, LOGGER, positive=True)


_Chosen = Callable[[Dtc, float, float], bool]
"""Decides whether a unit lists a code in a message, at this time, for a fault that began then."""


def _is_silent(fault: TruckFault, unit: int, at_s: float, start_s: float) -> bool:
    return any(s.unit == unit and s.when.is_active(at_s, start_s) for s in fault.silent)


def _is_active(dtc: Dtc, at_s: float, start_s: float) -> bool:
    return dtc.kind == "active" and dtc.when.is_active(at_s, start_s)


def _is_previous(dtc: Dtc, at_s: float, start_s: float) -> bool:
    if dtc.kind == "previous":
        return dtc.when.is_active(at_s, start_s)
    return dtc.kind == "active" and not dtc.when.is_active(at_s, start_s) and dtc.when.begun(at_s, start_s) > 0


def _is_emission(dtc: Dtc, at_s: float, start_s: float) -> bool:
    return dtc.emission and _is_active(dtc, at_s, start_s)


def _is_pending(dtc: Dtc, at_s: float, start_s: float) -> bool:
    return dtc.kind == "pending" and dtc.when.is_active(at_s, start_s)


_HOLDS: Final = {j1939.PGN_DM2: _is_previous, j1939.PGN_DM12: _is_emission, j1939.PGN_DM6: _is_pending}


def _body(fault: TruckFault, unit: int, at_s: float, start_s: float, chosen: _Chosen) -> bytes:
    """Return the codes of a unit that belong in a message; the lamps are the unit's, whatever the message lists."""
    own = [d for d in fault.codes if d.unit == unit]
    lamps = 0
    for dtc in own:
        if _is_active(dtc, at_s, start_s):
            lamps |= dtc.lamps
    listed = [TroubleCode(d.spn, d.fmi, d.when.begun(at_s, start_s)) for d in own if chosen(d, at_s, start_s)]
    return j1939.diagnostic_body(lamps, listed)
