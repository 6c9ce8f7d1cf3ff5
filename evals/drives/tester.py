"""Encode what a tester asks and control units answer: ISO 15765-2 transport, OBD (SAE J1979), UDS (ISO 14229-1)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final

import numpy as np

from evals.drives.signals import Courses
from evals.drives.traffic import EXTENDED, Channel, Times
from evals.story import Clear, Programming, Read, Refusal, Story

_STANDARD_OBD: Final = range(0x7E8, 0x7F0)
_FUNCTIONAL: Final = 0x7DF
_PHYSICAL_29: Final = 0x18DA << 16
_FUNCTIONAL_29: Final = 0x18DB33F1
_TESTER_29: Final = 0xF1

_TOGETHER_S: Final = 2.0
"""Reads of one service that stand so close are answers to one request to all."""

_STEP_S: Final = 0.006
"""From one frame of a dialogue to the next."""

_NEGATIVE: Final = 0x7F
_PENDING: Final = 0x78

_BLOCK_BYTES: Final = 126
_BLOCKS_PER_S: Final = 3.0
"""Of a download: few, as a gateway that forwards to a slow bus would take them."""


def pair(unit: int) -> tuple[int, int]:
    """Return the identifiers of requests to a unit and of its answers.

    Args:
        unit: J1939 source address, or identifier of the answers. Requests of 11 bits stand 8 below (ISO 15765-4, 10.5),
            those of 29 bits have the addresses exchanged (10.3).
    """
    if unit < 0xFE:
        return _PHYSICAL_29 | unit << 8 | _TESTER_29 | EXTENDED, _PHYSICAL_29 | _TESTER_29 << 8 | unit | EXTENDED
    if unit <= 0x7FF:
        return unit - 8, unit
    source, target = unit & 0xFF, unit >> 8 & 0xFF
    return (unit & ~0xFFFF) | source << 8 | target | EXTENDED, unit | EXTENDED


def answers_all(unit: int) -> bool:
    """Return whether a unit listens to requests to all OBD units."""
    return unit in _STANDARD_OBD or unit >> 16 == _PHYSICAL_29 >> 16


def code_bytes(code: str) -> bytes:
    """Return the two bytes of a code such as `P0301` (ISO 15031-6)."""
    return ("PCBU".index(code[0]) << 14 | int(code[1:5], 16)).to_bytes(2, "big")


def uds_bytes(code: str) -> bytes:
    """Return the four bytes of `P0301-00:2F`: code, failure type, status (ISO 14229-1, 11.3)."""
    base, status = code.split(":")
    return code_bytes(base) + bytes((int(base[6:8], 16), int(status, 16)))


@dataclass(slots=True)
class Dialogue:
    """A tester on a channel.

    Attributes:
        channel: The channel.
        filling: Byte of unused places in frames.
        spans: Times in which each unit is in a dialogue: it has one message at a time on its identifiers.
    """

    channel: Channel
    filling: int
    spans: dict[int, list[Times]] = field(default_factory=dict[int, list[Times]])

    def free(self, unit: int, time: float) -> float:
        """Return the first time from `time` on at which the latest dialogue with a unit is over."""
        spans = self.spans.get(unit)
        return max(time, spans[-1][1]) if spans else time

    def is_free(self, unit: int, low: float, high: float) -> bool:
        """Return whether a unit is in no dialogue in a time."""
        return all(high < start or end < low for start, end in self.spans.get(unit, ()))

    def ask(self, time: float, can_id: int, request: bytes) -> float:
        """Send a request that fits in a frame. Return the time after it."""
        self.channel.put(time, can_id, self._single(request))
        return time + _STEP_S

    def exchange(
        self, time: float, unit: int, request: bytes, answer: bytes | None, *, wait: float = 0.02, is_free: bool = False
    ) -> float:
        """Send a request to one unit and its answer, after all other dialogues with it unless it is free.

        Returns:
            The time after it.
        """
        request_id, _ = pair(unit)
        time = time if is_free else self.free(unit, time)
        began = time
        if len(request) <= 7:
            self.ask(time, request_id, request)
        else:
            time = self._segmented(time, request_id, request, None, unit)
        end = time + wait if answer is None else self.answer(time + wait, unit, answer)
        self.spans.setdefault(unit, []).append((began, end))
        return end

    def answer(self, time: float, unit: int, answer: bytes) -> float:
        """Send a unit's answer, in several frames if it is long. Return the time after it."""
        if self.channel.is_silent(unit, time):
            return time
        _, answer_id = pair(unit)
        if len(answer) <= 7:
            self.channel.put(time, answer_id, self._single(answer), unit)
            end = time + _STEP_S
        else:
            end = self._segmented(time, answer_id, answer, unit, None)
        self.spans.setdefault(unit, []).append((time, end))
        return end

    def _segmented(self, time: float, can_id: int, message: bytes, sender: int | None, receiver: int | None) -> float:
        """Send a first frame, the receiver's flow control, and consecutive frames (ISO 15765-2, 9.6)."""
        request_id, answer_id = pair(sender if sender is not None else receiver or 0)
        self.channel.put(time, can_id, (0x1000 | len(message)).to_bytes(2, "big") + message[:6], sender)
        flow = bytes((0x30, 0, 5)).ljust(8, bytes((self.filling,)))
        self.channel.put(time + _STEP_S / 2, request_id if sender is not None else answer_id, flow, receiver)
        for number, at in enumerate(range(6, len(message), 7), 1):
            time += _STEP_S
            frame = bytes((0x20 | number & 0xF,)) + message[at : at + 7]
            self.channel.put(time, can_id, frame.ljust(8, bytes((self.filling,))), sender)
        return time + _STEP_S

    def _single(self, message: bytes) -> bytes:
        return (bytes((len(message),)) + message).ljust(8, bytes((self.filling,)))


def units_of(story: Story) -> tuple[int, ...]:
    """Return the identifiers of answers of all units that a tester can reach."""
    named = {p.unit for p in (*story.read, *story.refusal, *story.silence, *story.programming)}
    named |= {c.unit for c in story.clear if c.by != "dm11"} | set(story.units)
    found = {u for u in named if u >= 0xFE}
    if not any(map(answers_all, found)) and any((s.by or _way(story)) == "obd" for s in story.signal):
        found |= {0x7E8}
    return tuple(sorted(found))


def write(channel: Channel, story: Story, courses: Courses, filling: int) -> None:
    """Write all dialogues of a story."""
    dialogue = Dialogue(channel, filling)
    steps: list[tuple[float, Callable[[], object]]] = []
    for reads in _requests(story):
        if reads[0].service == "19":
            steps.append((reads[0].at, partial(_read_uds, dialogue, reads[0])))
        else:
            steps.append((reads[0].at, partial(_read_obd, dialogue, reads, story)))
    steps += [(c.at, partial(_clear, dialogue, c)) for c in story.clear if c.by != "dm11"]
    steps += [(r.at, partial(_refuse, dialogue, r)) for r in story.refusal]
    steps += [(p.at, partial(_program, dialogue, p)) for p in story.programming]
    for _, step in sorted(steps, key=lambda step: step[0]):
        step()
    polled = [s.name for s in story.signal if (s.by or _way(story)) == "obd"]
    if polled:
        _poll(dialogue, story, courses, polled)


def _way(story: Story) -> str:
    """Return how a quantity is recorded if the story leaves it open."""
    return {"truck": "j1939", "car": "obd", "av": "topic"}[story.platform]


# ------------------------------------------------------------------------------------------------------ reading codes


def _requests(story: Story) -> list[list[Read]]:
    """Return the reads by request: one for several units where they read the same OBD service at about the same time."""
    found: list[list[Read]] = []
    for read in sorted(story.read, key=lambda r: (r.at, r.service)):
        group = next(
            (
                g
                for g in found
                if read.service != "19"
                and g[0].service == read.service
                and read.at - g[0].at <= _TOGETHER_S
                and answers_all(read.unit)
                and answers_all(g[0].unit)
                and (read.unit <= 0x7FF) == (g[0].unit <= 0x7FF)
                and all(r.unit != read.unit for r in g)
            ),
            None,
        )
        if group is None:
            found.append([read])
        else:
            group.append(read)
    return found


def _read_obd(dialogue: Dialogue, reads: Sequence[Read], story: Story) -> None:
    time = max(dialogue.free(r.unit, max(reads[0].at, 0.05)) for r in reads)
    service = int(reads[0].service, 16)
    asked = {r.unit for r in reads}
    reachable = {u for u in units_of(story) if answers_all(u) and (u <= 0x7FF) == (reads[0].unit <= 0x7FF)}
    # A unit with a list at another time keeps that for then: asking all would make it answer twice.
    others = reachable - asked
    with_lists = {r.unit for r in story.read if r.service == reads[0].service}
    to_all = all(map(answers_all, asked)) and not others & with_lists

    def ask(time: float, request: bytes, unit: int | None = None) -> float:
        target = unit if unit is not None else reads[0].unit
        if unit is None and to_all:
            return dialogue.ask(time, _FUNCTIONAL if target <= 0x7FF else _FUNCTIONAL_29 | EXTENDED, request)
        return dialogue.ask(time, pair(target)[0], request)

    rounds = [list(reads)] if to_all else [[r] for r in reads]
    for together in rounds:
        if any(r.mil is not None for r in together):
            time = ask(time, b"\x01\x01", None if to_all else together[0].unit) + 0.01
            for read in together:
                time = dialogue.answer(time, read.unit, _monitor_status(read, story))
            time += 0.03
        time = ask(time, bytes((service,)), None if to_all else together[0].unit) + 0.012
        for read in together:
            codes = b"".join(map(code_bytes, read.codes))
            time = dialogue.answer(time, read.unit, bytes((service | 0x40, len(read.codes))) + codes)
        if to_all:
            for unit in sorted(others):
                time = dialogue.answer(time + 0.004, unit, bytes((service | 0x40, 0)))
        time += 0.05
        for read in together:
            if read.freeze and read.codes:
                time = _freeze_frame(dialogue, time, read)


def _monitor_status(read: Read, story: Story) -> bytes:
    """Return the answer to PID 01: lamp, number of codes, and which tests are incomplete after a clearing (SAE J1979, B.3)."""
    number = len(read.codes) if read.service == "03" else 0
    cleared = any(c.at < read.at and c.unit == read.unit and not c.refused for c in story.clear)
    return bytes((0x41, 0x01, (0x80 if read.mil else 0) | number, 0x07, 0xE5, 0xE5 if cleared else 0x00))


PIDS: Final[dict[str, tuple[int, int, Callable[[float], float]]]] = {
    "load": (0x04, 1, lambda v: v * 2.55),
    "coolant_temperature": (0x05, 1, lambda v: v + 40),
    "short_fuel_trim_1": (0x06, 1, lambda v: (v + 100) * 1.28),
    "long_fuel_trim_1": (0x07, 1, lambda v: (v + 100) * 1.28),
    "short_fuel_trim_2": (0x08, 1, lambda v: (v + 100) * 1.28),
    "long_fuel_trim_2": (0x09, 1, lambda v: (v + 100) * 1.28),
    "fuel_supply_pressure": (0x0A, 1, lambda v: v / 3),
    "boost_pressure": (0x0B, 1, lambda v: v + 101),
    "engine_speed": (0x0C, 2, lambda v: v * 4),
    "vehicle_speed": (0x0D, 1, lambda v: v),
    "intake_temperature": (0x0F, 1, lambda v: v + 40),
    "mass_air_flow": (0x10, 2, lambda v: v * 100),
    "fuel_rail_pressure": (0x23, 2, lambda v: v / 10),
    "fuel_level": (0x2F, 1, lambda v: v * 2.55),
    "exhaust_temperature": (0x3C, 2, lambda v: (v + 40) * 10),
    "battery_voltage": (0x42, 2, lambda v: v * 1000),
    "ambient_temperature": (0x46, 1, lambda v: v + 40),
    "pedal": (0x49, 1, lambda v: v * 2.55),
    "state_of_charge": (0x5B, 1, lambda v: v * 2.55),
    "oil_temperature": (0x5C, 1, lambda v: v + 40),
}
"""Quantities by PID, bytes, and raw value (SAE J1979-DA). PID 0B is absolute: boost at 101 kPa of air pressure."""


def pid_bytes(name: str, value: float) -> bytes:
    """Return the bytes of a quantity."""
    _, size, raw = PIDS[name]
    return max(0, min(round(raw(value)), 256**size - 1)).to_bytes(size, "big")


_PID_HIGH_VOLTAGE: Final = 0x9A


def high_voltage_bytes(volts: float, amperes: float) -> bytes:
    """Return the bytes of PID 9A: what is supported, state, voltage in 1/64 V, current in 0.1 A (SAE J1979-DA)."""
    return (
        b"\x07\x00" + round(max(volts, 0) * 64).to_bytes(2, "big") + round(amperes * 10).to_bytes(2, "big", signed=True)
    )


def _freeze_frame(dialogue: Dialogue, time: float, read: Read) -> float:
    """Read the freeze frame of the first code (service 02), by the unit alone."""
    time = dialogue.exchange(time, read.unit, b"\x02\x02\x00", b"\x42\x02\x00" + code_bytes(read.codes[0]))
    for name, value in read.freeze.items():
        if name in PIDS:
            pid = PIDS[name][0]
            answer = bytes((0x42, pid, 0)) + pid_bytes(name, value)
            time = dialogue.exchange(time + 0.01, read.unit, bytes((0x02, pid, 0)), answer)
    return time


def _read_uds(dialogue: Dialogue, read: Read) -> None:
    """Open the extended session and ask for codes of any status (19 02 FF)."""
    time = dialogue.exchange(max(read.at - 0.06, 0.01), read.unit, b"\x10\x03", b"\x50\x03\x00\x32\x01\xf4")
    answer = b"\x59\x02\xff" + b"".join(map(uds_bytes, read.codes))
    time = dialogue.exchange(max(time, read.at), read.unit, b"\x19\x02\xff", answer)
    dialogue.exchange(time + 0.02, read.unit, b"\x10\x01", b"\x50\x01\x00\x32\x01\xf4")


# ------------------------------------------------------------------------------------------------- everything else


def _clear(dialogue: Dialogue, clear: Clear) -> None:
    request = b"\x04" if clear.by == "obd" else b"\x14\xff\xff\xff"
    refused = bytes((_NEGATIVE, request[0], 0x22))
    time = clear.at
    if clear.by == "uds":
        time = dialogue.exchange(max(time - 0.06, 0.01), clear.unit, b"\x10\x03", b"\x50\x03\x00\x32\x01\xf4")
        if not clear.refused:
            time = dialogue.exchange(time, clear.unit, request, bytes((_NEGATIVE, request[0], _PENDING)))
            dialogue.answer(time + 0.4, clear.unit, bytes((request[0] | 0x40,)))
            return
    answer = refused if clear.refused else bytes((request[0] | 0x40,))
    dialogue.exchange(time, clear.unit, request, answer, wait=0.15)


_PAYLOADS: Final = {
    0x03: b"", 0x04: b"", 0x07: b"", 0x0A: b"", 0x01: b"\x0c", 0x02: b"\x02\x00", 0x09: b"\x02",
    0x10: b"\x03", 0x11: b"\x01", 0x14: b"\xff\xff\xff", 0x19: b"\x02\xff", 0x22: b"\xf1\x90", 0x27: b"\x01",
    0x28: b"\x03\x01", 0x2E: b"\xf1\x98\x00", 0x2F: b"\x12\x34\x03", 0x31: b"\x01\x02\x03", 0x34: b"\x00\x11\x00\x10",
    0x3E: b"\x00", 0x85: b"\x02",
}  # fmt: skip
"""Parameters with which a service is asked for."""


def _refuse(dialogue: Dialogue, refusal: Refusal) -> None:
    request = bytes((refusal.service,)) + _PAYLOADS.get(refusal.service, b"\x01")
    for number in range(refusal.times):
        dialogue.exchange(
            refusal.at + 0.8 * number, refusal.unit, request, bytes((_NEGATIVE, refusal.service, refusal.reason))
        )


def _program(dialogue: Dialogue, programming: Programming) -> None:
    """Program a unit, as ISO 14229-1 (annex on programming) orders the services."""
    unit, time = programming.unit, programming.at
    time = dialogue.exchange(time, unit, b"\x10\x03", b"\x50\x03\x00\x32\x01\xf4")
    time = dialogue.exchange(time + 0.05, unit, b"\x85\x02", b"\xc5\x02")
    time = dialogue.exchange(time + 0.05, unit, b"\x28\x03\x01", b"\x68\x03")
    time = dialogue.exchange(time + 0.05, unit, b"\x10\x02", b"\x50\x02\x00\x32\x01\xf4")
    time = dialogue.exchange(time + 0.1, unit, b"\x27\x01", b"\x67\x01\x3a\x91\x5c\x07")
    time = dialogue.exchange(time + 0.05, unit, b"\x27\x02\x88\x10\x4e\xb2", b"\x67\x02")
    erase = b"\x31\x01\xff\x00"
    time = dialogue.exchange(time + 0.05, unit, erase, b"\x7f\x31\x78")
    time = dialogue.answer(time + min(2.0, programming.seconds / 8), unit, b"\x71\x01\xff\x00\x00")
    end = programming.at + programming.seconds
    count = max(1, int(max(0.0, end - time - 1.0) * _BLOCKS_PER_S))
    size = count * _BLOCK_BYTES
    download = b"\x34\x00\x44\x00\x01\x00\x00" + size.to_bytes(4, "big")
    time = dialogue.exchange(time + 0.05, unit, download, b"\x74\x20\x00\x80")
    for number in range(1, count + 1):
        data = bytes((number * 7 + place * 13) & 0xFF for place in range(_BLOCK_BYTES))
        counter = bytes((number & 0xFF,))
        done = dialogue.exchange(time, unit, b"\x36" + counter + data, b"\x76" + counter)
        time = max(done + 0.01, time + 1 / _BLOCKS_PER_S)
    time = dialogue.exchange(time, unit, b"\x37", b"\x77")
    time = dialogue.exchange(time + 0.05, unit, b"\x31\x01\xff\x01", b"\x71\x01\xff\x01\x00")
    dialogue.exchange(time + 0.1, unit, b"\x11\x01", b"\x51\x01")


def _poll(dialogue: Dialogue, story: Story, courses: Courses, names: Sequence[str]) -> None:
    """Ask the engine's unit for current values, each about once a second."""
    unit = 0x18DAF100 if story.platform == "truck" else next(filter(answers_all, units_of(story)), 0x7E8)
    is_electric = {"hv_battery_voltage", "hv_battery_current", "state_of_charge"} & set(names)
    usual = () if is_electric else ("engine_speed", "vehicle_speed", "coolant_temperature")
    wanted = [n for n in dict.fromkeys((*usual, *names)) if n in PIDS]
    times = np.arange(1.0, dialogue.channel.seconds - 0.5, 1.0)
    values = {name: courses.at(name, times) for name in wanted}
    high_voltage = [courses.at(name, times) for name in ("hv_battery_voltage", "hv_battery_current")]
    for place, time in enumerate(times.tolist()):
        for number, name in enumerate(wanted):
            at = time + 0.31 + number * 0.06
            pid = PIDS[name][0]
            if not dialogue.is_free(unit, at - 0.02, at + 0.05):
                continue  # the tester is busy
            answer = bytes((0x41, pid)) + pid_bytes(name, float(values[name][place]))
            dialogue.exchange(at, unit, bytes((0x01, pid)), answer, is_free=True)
        if is_electric and dialogue.is_free(unit, time + 0.88, time + 0.95):
            answer = bytes((0x41, _PID_HIGH_VOLTAGE)) + high_voltage_bytes(*(float(v[place]) for v in high_voltage))
            dialogue.exchange(time + 0.9, unit, bytes((0x01, _PID_HIGH_VOLTAGE)), answer, is_free=True)
