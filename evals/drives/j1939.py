"""Encode a heavy vehicle's traffic: SAE J1939-71 broadcasts, J1939-73 DM1, DM2 and DM11, J1939-21 transport, J1939-81 claims."""

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

import numpy as np

from evals.drives.signals import Courses
from evals.drives.traffic import EXTENDED, F64, U8, Channel, Maker
from evals.story import Story, Trouble

ALL: Final = 0xFF
TESTER: Final = 0xF9
"""Address of a service tool (J1939, table B2: off-board diagnostic tool 1)."""

_REQUEST, _ACKNOWLEDGE, _CLAIM = 0xEA00, 0xE800, 0xEE00
_CONNECTION, _PACKET = 0xEC00, 0xEB00
_DM1, _DM2, _DM11 = 0xFECA, 0xFECB, 0xFED3

_BAM_GAP_S: Final = 0.055
"""Between packets of a broadcast: 50 to 200 ms (J1939-21, 5.10.2.1)."""

_ELECTRICAL: Final = (2, 3, 4, 5, 6, 12)
"""FMIs of a sensor whose value is not believed: it is sent as an error (J1939-71, table 1)."""


def identifier(pgn: int, source: int, *, to: int = ALL, priority: int = 6) -> int:
    """Return a 29-bit identifier (J1939-21, 5.2). `to` is used where the PGN is that of a peer-to-peer message."""
    destination = to << 8 if pgn >> 8 & 0xFF < 240 else 0
    return EXTENDED | priority << 26 | pgn << 8 | destination | source


class Parameter(NamedTuple):
    """A parameter in a message (J1939-71): first byte from 1, bytes, units per bit, offset."""

    spn: int
    signal: str
    byte: int
    size: int
    scale: float
    offset: float = 0.0


class Message(NamedTuple):
    """A parameter group that one of `homes` sends: the first of them that the vehicle has."""

    pgn: int
    period: float
    priority: int
    homes: tuple[int, ...]
    parameters: tuple[Parameter, ...]
    fixed: tuple[tuple[int, int], ...] = ()


MESSAGES: Final = (
    Message(61444, 0.05, 3, (0,), (Parameter(190, "engine_speed", 4, 2, 0.125),), ((1, 0xF0), (2, 0xAA), (3, 0xA8))),
    Message(61443, 0.1, 3, (0,), (Parameter(91, "pedal", 2, 1, 0.4), Parameter(92, "load", 3, 1, 1)), ((1, 0xD1),)),
    Message(65265, 0.1, 6, (0,), (Parameter(84, "vehicle_speed", 2, 2, 1 / 256),), ((1, 0xF7), (4, 0xC0), (5, 0xFF))),
    Message(
        65262,
        1.0,
        6,
        (0,),
        (
            Parameter(110, "coolant_temperature", 1, 1, 1, -40),
            Parameter(175, "oil_temperature", 3, 2, 0.03125, -273),
        ),
        ((2, 78),),
    ),
    Message(
        65263,
        0.5,
        6,
        (0,),
        (
            Parameter(94, "fuel_supply_pressure", 1, 1, 4),
            Parameter(100, "oil_pressure", 4, 1, 4),
            Parameter(111, "coolant_level", 8, 1, 0.4),
        ),
    ),
    Message(65243, 0.5, 6, (0,), (Parameter(157, "fuel_rail_pressure", 3, 2, 1000 / 256),)),
    Message(
        65270,
        0.5,
        6,
        (0,),
        (
            Parameter(102, "boost_pressure", 2, 1, 2),
            Parameter(105, "intake_temperature", 3, 1, 1, -40),
            Parameter(173, "exhaust_temperature", 6, 2, 0.03125, -273),
        ),
    ),
    Message(65269, 1.0, 6, (0,), (Parameter(171, "ambient_temperature", 4, 2, 0.03125, -273),), ((1, 202),)),
    Message(65110, 1.0, 6, (0x3D, 0), (Parameter(1761, "def_level", 1, 1, 0.4),), ((2, 61),)),
    Message(
        64948,
        0.5,
        6,
        (0x3D, 0),
        (
            Parameter(3241, "exhaust_temperature", 1, 2, 0.03125, -273),
            Parameter(3242, "exhaust_temperature", 3, 2, 0.03125, -273),
        ),
    ),
    Message(64891, 1.0, 6, (0x3D, 0), (Parameter(3719, "soot_load", 1, 1, 1),), ((2, 22),)),
    Message(
        65271,
        1.0,
        6,
        (0x21, 0),
        (Parameter(168, "battery_voltage", 5, 2, 0.05), Parameter(158, "battery_voltage", 7, 2, 0.05)),
    ),
    Message(61442, 0.1, 3, (3,), (), ((1, 0x05), (2, 0x40), (3, 0x2A))),
    Message(65272, 1.0, 6, (3,), (), ((2, 200), (5, 0x80), (6, 0x2C))),
    Message(61441, 0.1, 6, (0x0B,), (), ((1, 0xC0), (2, 0x00), (6, 0xF0))),
    Message(65215, 0.1, 6, (0x0B,), (Parameter(904, "vehicle_speed", 1, 2, 1 / 256),), ((3, 0x7D), (4, 0x7D))),
    Message(
        65198,
        1.0,
        6,
        (0x0B,),
        (
            Parameter(46, "air_pressure", 1, 1, 8),
            Parameter(1087, "air_pressure", 3, 1, 8),
            Parameter(1088, "air_pressure", 4, 1, 8),
        ),
    ),
    Message(65276, 1.0, 6, (0x17,), (Parameter(96, "fuel_level", 2, 1, 0.4),)),
)
"""The usual broadcasts (SAE J1939-71). Engine speed and load are sent less often than on a real bus, which carries more frames."""

_USUAL: Final = (0x00, 0x03, 0x0B, 0x17)
"""Engine, transmission, brakes, instruments."""


def units_of(story: Story) -> tuple[int, ...]:
    """Return the source addresses on the bus: those of the story, and the usual ones that no code misses.

    SPN 2000 + address says that the unit of this address is not heard (J1939-73, SPNs 2000 to 2255).
    """
    named = {t.unit for t in story.trouble}
    named |= {p.unit for p in (*story.silence, *story.programming, *story.clear, *story.refusal) if p.unit < 0xFE}
    named |= {u for u in story.units if u < 0xFE}
    missed = {t.spn - 2000 for t in story.trouble if 2000 <= t.spn <= 2255}
    return tuple(sorted(named | (set(_USUAL) - missed)))


def write(channel: Channel, story: Story, courses: Courses) -> None:
    """Write the traffic of all units: claims at power-up and after resets, broadcasts, DM1, and answers to DM2 and DM11."""
    units = units_of(story)
    for unit in units:
        _claim(channel, unit, float(channel.rng.uniform(0.01, 0.3)))
        _broadcasts(channel, unit, units, story, courses)
        _dm1(channel, unit, _recurring([t for t in story.trouble if t.unit == unit and not t.previous]))
    for silence in story.silence:
        if silence.reset and silence.until is not None and silence.unit < 0xFE:
            _claim(channel, silence.unit, silence.until + 0.02)
    for programming in story.programming:
        if programming.unit < 0xFE:
            _claim(channel, programming.unit, programming.at + programming.seconds + 2.0)
    asked = sorted({(t.unit, t.at) for t in story.trouble if t.previous})
    for unit, at in asked:
        _dm2(channel, unit, max(at, 0.5), [t for t in story.trouble if t.previous and t.unit == unit], at)
    for clear in story.clear:
        if clear.by == "dm11":
            _dm11(channel, clear.unit, clear.at, refused=clear.refused)


def _claim(channel: Channel, unit: int, time: float) -> None:
    """Send an address claim: identity, manufacturer, function = a number of the unit's, any vehicle (J1939-81, 4.2)."""
    name = (0x1000 + 37 * unit) & 0x1FFFFF | (275 + unit % 7) << 21 | unit << 40 | 1 << 63
    channel.put(time, identifier(_CLAIM, unit), name.to_bytes(8, "little"), unit)


def _broadcasts(channel: Channel, unit: int, units: Sequence[int], story: Story, courses: Courses) -> None:
    sent = 0
    for message in MESSAGES:
        if next((home for home in message.homes if home in units), None) == unit:
            make = _maker(message, story, courses)
            channel.cyclic(identifier(message.pgn, unit, priority=message.priority), message.period, unit, make)
            sent += 1
    if not sent:
        # Whatever else a unit does is the maker's own (proprietary B, J1939-21, 5.1.3).
        for pgn, period in ((0xFF10 + unit % 0xC0, 0.1), (0xFF00 + unit % 16, 1.0)):
            channel.cyclic(identifier(pgn, unit), period, unit, _own_bytes(unit, period))


def _own_bytes(unit: int, period: float) -> Maker:
    def make(times: F64) -> U8:
        data = np.full((len(times), 8), 0xFF, np.uint8)
        data[:, 0] = unit
        data[:, 1] = (times / period).astype(np.int64) & 0x0F
        data[:, 2] = 0x20 + 8 * np.sin(times / 11)
        return data

    return make


def _maker(message: Message, story: Story, courses: Courses) -> Maker:
    def make(times: F64) -> U8:
        data = np.full((len(times), 8), 0xFF, np.uint8)
        for byte, value in message.fixed:
            data[:, byte - 1] = value
        for p in message.parameters:
            top = 250 if p.size == 1 else 64_255
            raw = np.clip(np.round((courses.at(p.signal, times) - p.offset) / p.scale), 0, top).astype(np.int64)
            if p.signal not in courses.stated:
                raw = _doubted(raw, times, p, story)
            for place in range(p.size):
                data[:, p.byte - 1 + place] = raw >> 8 * place & 0xFF
        return data

    return make


def _doubted(raw: np.ndarray, times: F64, p: Parameter, story: Story) -> np.ndarray:
    """Send a parameter as an error while a circuit code of it is active, and as not available where it has another code.

    The story would have stated a value that confirms or refutes the code.
    """
    of_it = [t for t in story.trouble if t.spn == p.spn and not t.previous]
    error, missing = (0xFE, 0xFF) if p.size == 1 else (0xFE00, 0xFFFF)
    if any(t.fmi not in _ELECTRICAL for t in of_it):
        return np.full_like(raw, missing)
    for t in of_it:
        raw = np.where((times >= t.at) & (times < (t.until if t.until is not None else np.inf)), error, raw)
    return raw


def code_bytes(trouble: Trouble) -> bytes:
    """Return the four bytes of a trouble code (J1939-73, 5.7.1: SPN conversion method version 4)."""
    return bytes(
        (
            trouble.spn & 0xFF,
            trouble.spn >> 8 & 0xFF,
            trouble.spn >> 16 << 5 | trouble.fmi,
            trouble.count,
        )
    )


def lamp_bytes(troubles: Iterable[Trouble]) -> bytes:
    """Return the two bytes of lamps: on where one of the codes commands it, none flashes."""
    commanded = {lamp for t in troubles for lamp in t.lamp}
    shifts = {"mil": 6, "red": 4, "amber": 2, "protect": 0}
    return bytes((sum(1 << shift for lamp, shift in shifts.items() if lamp in commanded), 0xFF))


def list_bytes(troubles: Sequence[Trouble]) -> bytes:
    """Return a DM1 or DM2 with these codes; zeros stand for no code."""
    codes = b"".join(map(code_bytes, troubles))
    return lamp_bytes(troubles) + (codes or bytes(4))


def _recurring(troubles: Sequence[Trouble]) -> list[Trouble]:
    """Let a code that becomes active again, although its end is not stated, be inactive from halfway on until then."""
    ended: list[Trouble] = []
    for t in troubles:
        again = min((o.at for o in troubles if (o.spn, o.fmi) == (t.spn, t.fmi) and o.at > t.at), default=None)
        is_open = again is not None and (t.until is None or t.until > again)
        ended.append(t.model_copy(update={"until": (t.at + again) / 2}) if again is not None and is_open else t)
    return ended


def _dm1(channel: Channel, unit: int, troubles: Sequence[Trouble]) -> None:
    """Send DM1 once a second, and when a code becomes active (J1939-73, 5.7.1)."""
    changes = sorted({t.at for t in troubles if t.at > 0})
    time = float(channel.rng.uniform(0.3, 1.0))
    while time < channel.seconds:
        # A code that is active from the start is in the first DM1.
        active = [t for t in troubles if t.at <= time and (t.until is None or time < t.until)]
        took = 0.0
        if not channel.is_mute(unit, time):
            took = _send(channel, time, unit, _DM1, list_bytes(active))
        due = time + max(1.0, took + 0.2)
        early = next((c for c in changes if time < c < due), None)
        time = due if early is None else max(early, time + took + 0.1)


def _send(channel: Channel, time: float, unit: int, pgn: int, payload: bytes) -> float:
    """Broadcast a message, a long one by BAM (J1939-21, 5.10.3.4). Return the seconds that it takes."""
    if len(payload) <= 8:
        channel.put(time, identifier(pgn, unit), payload.ljust(8, b"\xff"), unit)
        return 0.0
    packets = _packets(payload)
    head = bytes((0x20, len(payload) & 0xFF, len(payload) >> 8, len(packets), 0xFF)) + pgn.to_bytes(3, "little")
    channel.put(time, identifier(_CONNECTION, unit, priority=7), head, unit)
    for number, packet in enumerate(packets, 1):
        channel.put(time + number * _BAM_GAP_S, identifier(_PACKET, unit, priority=7), packet, unit)
    return len(packets) * _BAM_GAP_S


def _send_to_tester(channel: Channel, time: float, unit: int, pgn: int, payload: bytes) -> None:
    """Send a message to the tester, a long one by a connection (J1939-21, 5.10.3.1 to 5.10.3.3)."""
    if len(payload) <= 8:
        channel.put(time, identifier(pgn, unit), payload.ljust(8, b"\xff"), unit)
        return
    packets = _packets(payload)
    group = pgn.to_bytes(3, "little")
    size = bytes((len(payload) & 0xFF, len(payload) >> 8, len(packets)))
    to_tester, to_unit = (
        identifier(_CONNECTION, unit, to=TESTER, priority=7),
        identifier(_CONNECTION, TESTER, to=unit, priority=7),
    )
    channel.put(time, to_tester, b"\x10" + size + b"\xff" + group, unit)
    channel.put(time + 0.004, to_unit, bytes((0x11, len(packets), 1, 0xFF, 0xFF)) + group)
    for number, packet in enumerate(packets, 1):
        channel.put(time + 0.004 + 0.006 * number, identifier(_PACKET, unit, to=TESTER, priority=7), packet, unit)
    channel.put(time + 0.01 + 0.006 * len(packets), to_unit, b"\x13" + size + b"\xff" + group)


def _packets(payload: bytes) -> list[bytes]:
    return [
        bytes((number,)) + payload[7 * (number - 1) : 7 * number].ljust(7, b"\xff")
        for number in range(1, (len(payload) + 6) // 7 + 1)
    ]


def _request(channel: Channel, time: float, unit: int, pgn: int) -> None:
    channel.put(time, identifier(_REQUEST, TESTER, to=unit), pgn.to_bytes(3, "little"))


def _dm2(channel: Channel, unit: int, time: float, previous: Sequence[Trouble], at: float) -> None:
    """Ask a unit for its previously active codes; it lists all that it has by then."""
    _request(channel, time - 0.015, unit, _DM2)
    listed = [t for t in previous if t.at <= at and (t.until is None or t.until > at)]
    # Lamps show what is active now.
    bare = [t.model_copy(update={"lamp": ()}) for t in listed]
    _send_to_tester(channel, time, unit, _DM2, list_bytes(bare))


def _dm11(channel: Channel, unit: int, time: float, *, refused: bool) -> None:
    """Ask a unit to clear its active codes, and let it acknowledge (J1939-21, 5.4.4)."""
    _request(channel, time, unit, _DM11)
    answer = bytes((1 if refused else 0, 0xFF, 0xFF, 0xFF, TESTER)) + _DM11.to_bytes(3, "little")
    channel.put(time + 0.08, identifier(_ACKNOWLEDGE, unit, to=TESTER), answer, unit)
