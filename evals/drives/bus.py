"""Build the CAN channel of a story: its units' traffic, dialogues with a tester, silences and disturbances."""

from collections.abc import Iterator
from hashlib import sha256
from math import inf
from typing import Final

import numpy as np

from evals.drives import j1939, tester
from evals.drives.signals import Courses
from evals.drives.traffic import ERROR, F64, U8, Channel, Frames, Maker
from evals.story import BusErrors, Story

_RESTART_S: Final = 2.0
"""From the end of a programming session until the unit sends again."""

_COLLAPSE_S: Final = 1.5
"""Longest time with error frames before a controller goes bus-off."""


def has_bus(story: Story) -> bool:
    """Return whether the story has a CAN bus."""
    parts = (*story.trouble, *story.read, *story.clear, *story.refusal, *story.silence, *story.programming)
    told = any(s.by is not None for s in story.signal)
    return story.platform != "av" or bool(parts or story.bus_errors or story.units or told)


def is_heavy(story: Story) -> bool:
    """Return whether the bus is that of a heavy vehicle (SAE J1939)."""
    named = {p.unit for p in (*story.silence, *story.programming, *story.refusal)} | set(story.units)
    return (
        story.platform == "truck"
        or bool(story.trouble)
        or any(s.by == "j1939" for s in story.signal)
        or any(u < 0xFE for u in named)
    )


def frames_of(story: Story, rng: np.random.Generator) -> Frames:
    """Return all frames of a story's bus."""
    channel = Channel(story.seconds, rng)
    for silence in story.silence:
        until = inf if silence.until is None else silence.until
        channel.quiet.setdefault(silence.unit, []).append((silence.at, until))
    for programming in story.programming:
        until = programming.at + programming.seconds + _RESTART_S
        channel.busy.setdefault(programming.unit, []).append((programming.at + 0.2, until))
    courses = Courses.of(story, rng)
    if is_heavy(story):
        j1939.write(channel, story, courses)
    for number, unit in enumerate(_with_own_messages(story)):
        for can_id, period in _car_messages(unit, number):
            channel.cyclic(can_id, period, unit, _car_bytes(can_id, period, courses))
    tester.write(channel, story, courses, filling=(0xAA, 0x00, 0x55, 0xCC)[int(rng.integers(4))])
    for errors in story.bus_errors:
        _disturb(channel, errors)
    return channel.frames()


def _with_own_messages(story: Story) -> Iterator[int]:
    """Yield the units, by the identifiers of their answers, that send cyclic messages on a car's bus."""
    if is_heavy(story) and story.platform == "truck":
        return
    units = tester.units_of(story)
    yield from units
    if not is_heavy(story):
        # Some unit of a car that no tester asks, so that the bus is never one unit's alone.
        yield 0x7A8 if 0x7A8 not in units else 0x7AF


def _car_messages(unit: int, number: int) -> Iterator[tuple[int, float]]:
    """Yield identifiers and periods of a unit's own messages; identifiers are the maker's, and differ between units."""
    seed = sha256(str(unit).encode()).digest()
    for period, base in ((0.1, 0x0A0), (0.2, 0x220), (1.0, 0x3C0)):
        yield base + 16 * (number % 20) + seed[int(10 * period) % 32] % 16, period


def _car_bytes(can_id: int, period: float, courses: Courses) -> Maker:
    def make(times: F64) -> U8:
        data = np.zeros((len(times), 8), np.uint8)
        speed = np.clip(np.round(courses.at("vehicle_speed", times) * 100), 0, 65535).astype(np.int64)
        data[:, 0], data[:, 1] = speed >> 8, speed & 0xFF
        data[:, 2] = can_id & 0xFF
        data[:, 6] = (times / period).astype(np.int64) & 0x0F
        data[:, 7] = data[:, :7].sum(axis=1) & 0xFF
        return data

    return make


def _disturb(channel: Channel, errors: BusErrors) -> None:
    """Add error frames with the class bits of linux/can/error.h, and the loss of all traffic in bus-off."""
    end = channel.seconds if errors.until is None else min(errors.until, channel.seconds)
    burst = min(_COLLAPSE_S, (end - errors.at) / 3) if errors.bus_off else end - errors.at
    times = errors.at + np.arange(0, burst, 1 / errors.rate)
    for number, time in enumerate(times.tolist()):
        kind, place = ((0x04, 0x0A), (0x02, 0x18), (0x01, 0x0A))[number % 3]
        channel.put(time, ERROR | 0x88, bytes((0, 0, kind, place, 0, 0, min(255, 8 * number), 0)))
    if errors.bus_off:
        off = errors.at + burst
        channel.put(off, ERROR | 0x40, bytes(8))
        channel.dead.append((off, end if errors.until is not None else inf))
        if errors.until is not None:
            channel.put(end, ERROR | 0x100, bytes(8))
