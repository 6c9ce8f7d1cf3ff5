"""A car's bus: broadcasts of its control units, error frames, and a tester's questions with their answers."""

from typing import Final, NamedTuple

import numpy as np

from argus_assets.simulate import obd
from argus_assets.simulate.can import CanLog, cyclic, frames, from_rows, merge, put_number, speed_profile
from argus_assets.simulate.can_errors import error_rows
from argus_assets.simulate.car_faults import BODY, BRAKES, ENGINE, GATEWAY, TRANSMISSION, CarFault
from argus_assets.simulate.car_tester import CYCLE_S, STEP_S, Tester
from argus_assets.simulate.signals import Course, Signals
from argus_assets.simulate.timing import Ride

_TOP_KMH: Final = 120.0
_DATA_S: Final = 0.5


class _Broadcast(NamedTuple):
    """A cyclic message: its last byte counts, its first two hold a signal."""

    period_s: float
    can_id: int
    unit: int
    length: int = 8
    signal: str | None = None
    factor: float = 1.0


_BROADCASTS: Final = (
    _Broadcast(0.01, 0x0C0, ENGINE, signal="engine_rpm", factor=0.25),
    _Broadcast(0.02, 0x1A0, BRAKES, signal="speed_kmh", factor=0.01),
    _Broadcast(0.02, 0x1B0, BRAKES, signal="wheel_fl_kmh", factor=0.01),
    _Broadcast(0.01, 0x0D1, BRAKES),
    _Broadcast(0.02, 0x280, ENGINE),
    _Broadcast(0.02, 0x2B0, TRANSMISSION, length=6),
    _Broadcast(0.1, 0x320, GATEWAY),
    _Broadcast(0.1, 0x3D0, ENGINE, signal="volts", factor=0.001),
    _Broadcast(1.0, 0x5A0, BODY),
)


def _courses(seconds: float) -> dict[str, Course]:
    def around(mean: float, noise: float) -> Course:
        return lambda t, rng: mean + rng.normal(0, noise, len(t))

    return {
        "engine_rpm": lambda t, rng: 750 + 25 * speed_profile(t, seconds, _TOP_KMH) + rng.normal(0, 5, len(t)),
        "speed_kmh": lambda t, _: speed_profile(t, seconds, _TOP_KMH),
        "wheel_fl_kmh": lambda t, _: speed_profile(t, seconds, _TOP_KMH),
        "coolant_c": lambda t, _: 60 + 30 * (1 - np.exp(-t / 20)),
        "short_trim_pct": around(0, 1.5),
        "air_g_per_s": lambda t, _: 4 + 0.25 * speed_profile(t, seconds, _TOP_KMH),
        "volts": around(14.1, 0.05),
    }


SIGNALS: Final = frozenset(_courses(1.0))
"""Names that a `Change` may give."""


def drive(fault: CarFault, ride: Ride) -> CanLog:
    """Return the traffic of one drive."""
    signals = Signals(_courses(ride.seconds), fault.changes, ride)
    logs = [_broadcast(message, fault, signals, ride) for message in _BROADCASTS]
    tester = Tester(fault, signals, ride)
    rows = error_rows(fault.errors, ride)
    cycles = np.arange(ride.rng.uniform(0.5, 2.0), ride.seconds - 0.5, CYCLE_S)
    busy_until = cycles.copy()
    for number, at in enumerate(cycles.tolist()):
        found, busy_until[number] = tester.cycle(at, number)
        rows += found
    for at in cyclic(ride.seconds - 0.2, _DATA_S, ride.rng).tolist():
        if not ((at > cycles - STEP_S) & (at < busy_until + STEP_S)).any():
            rows += tester.data(at, int(ride.rng.choice(list(obd.PIDS))))
    return merge([*logs, from_rows(rows, before_s=ride.seconds)])


def _broadcast(message: _Broadcast, fault: CarFault, signals: Signals, ride: Ride) -> CanLog:
    times = cyclic(ride.seconds, message.period_s, ride.rng)
    for silence in fault.silent:
        if message.unit in silence.units:
            times = times[~silence.when.active(times, ride.start_s)]
    data = ride.rng.integers(0, 4, (len(times), message.length), dtype=np.uint8)
    data[:, -1] = np.arange(len(times), dtype=np.int64) & 0x0F
    if message.signal is not None:
        put_number(data, 0, 2, signals.values(message.signal, times) / message.factor)
    return frames(times, message.can_id, data, extended=False)
