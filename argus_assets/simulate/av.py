"""An autonomous vehicle: a stack of ROS 2 nodes that log, report diagnostics and publish, and its vehicle CAN."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Final, Literal, NamedTuple

import numpy as np

from argus_assets.simulate import ros
from argus_assets.simulate.can import CanLog, cyclic, frames, from_rows, merge, put_number, speed_profile
from argus_assets.simulate.can_errors import CanErrors, error_rows
from argus_assets.simulate.signals import Change, Course, Signals
from argus_assets.simulate.timing import FROM_FAULT, Ride, When

DEBUG, INFO, WARN, ERROR, FATAL = 10, 20, 30, 40, 50
"""Levels of rcl_interfaces/msg/Log."""

OK, D_WARN, D_ERROR, D_STALE = 0, 1, 2, 3
"""Levels of diagnostic_msgs/msg/DiagnosticStatus."""

_TOP_KMH: Final = 50.0
_START_DEG: Final = (48.0, 11.0)
_DEG_PER_M: Final = 1 / 111_320
_CHATTER_PER_S: Final = 2

_CHATTER: Final = (
    ("planner", INFO, "Route updated, {} waypoints left"),
    ("perception", INFO, "Tracking {} objects"),
    ("localization", INFO, "Scan matched with score 0.{}"),
    ("planner", WARN, "Replanned after {} ms"),
    ("camera_driver", WARN, "Exposure changed to {} us"),
)

_HARDWARE: Final = {
    "lidar_top": "velodyne-128",
    "cpu_temperature": "orin-0",
    "memory": "orin-0",
    "camera_front": "imx-490",
    "radar_front": "ars-548",
    "gnss": "f9p-1",
    "imu": "adis-16470",
    "disk": "nvme0",
}
"""Components that report diagnostics, with the hardware that they run on."""


@dataclass(frozen=True, slots=True)
class Burst:
    """A node that logs the same text again and again.

    Attributes:
        node: Logger's name.
        level: Of the entries.
        text: With `{}` where a number stands.
        between: Smallest and largest number.
        when: During which time.
        period_s: From one entry to the next; infinite for one entry at each beginning.
    """

    node: str
    level: int
    text: str
    between: tuple[int, int] = (0, 100)
    when: When = FROM_FAULT
    period_s: float = 1.0


@dataclass(frozen=True, slots=True)
class Status:
    """A component whose diagnostic status is not OK.

    Attributes:
        component: One of those that report.
        level: Of the status.
        message: Its text.
        when: During which time.
        code: Value of the key `error_code`; none when empty.
    """

    component: str
    level: int
    message: str
    when: When = FROM_FAULT
    code: str = ""


@dataclass(frozen=True, slots=True)
class AvFault:
    """The fault of an autonomous vehicle.

    Attributes:
        bursts: What its nodes log.
        statuses: Diagnostics that are not OK; of two for one component the later declared one holds.
        changes: Signals that leave their healthy course (names: `SIGNALS`).
        errors: Error frames on the vehicle CAN.
    """

    platform: ClassVar[Literal["av"]] = "av"

    bursts: tuple[Burst, ...] = ()
    statuses: tuple[Status, ...] = ()
    changes: tuple[Change, ...] = ()
    errors: tuple[CanErrors, ...] = ()


class Message(NamedTuple):
    """One message of a topic."""

    time_s: float
    topic: str
    schema: str
    data: bytes


def _courses(seconds: float) -> dict[str, Course]:
    def around(mean: float, noise: float) -> Course:
        return lambda t, rng: mean + rng.normal(0, noise, len(t))

    return {
        "speed_kmh": lambda t, _: speed_profile(t, seconds, _TOP_KMH),
        "cpu_c": around(64, 1.0),
        "cpu_pct": around(55, 4),
        # Within a drive memory wanders; it must not look like a leak.
        "memory_mib": lambda t, rng: 9_000 + 15 * np.sin(t / 9) + rng.normal(0, 5, len(t)),
        "disk_ms": lambda t, rng: 2 + rng.exponential(0.5, len(t)),
        "points_per_s": lambda t, rng: 600_000 * rng.uniform(0.98, 1.0, len(t)),
        "packet_loss_pct": lambda t, rng: np.clip(rng.normal(0.02, 0.01, len(t)), 0, None),
        "camera_fps": around(30, 0.1),
        "gnss_fix": lambda t, _: t * 0 + 2,
    }


SIGNALS: Final = frozenset(_courses(1.0))
"""Names that a `Change` may give."""


def vehicle_can(fault: AvFault, ride: Ride) -> CanLog:
    """Return the traffic of the vehicle's own bus."""
    logs: list[CanLog] = []
    for period, can_id in ((0.01, 0x100), (0.02, 0x110), (0.05, 0x200)):
        t = cyclic(ride.seconds, period, ride.rng)
        data = ride.rng.integers(0, 8, (len(t), 8), dtype=np.uint8)
        put_number(data, 0, 2, speed_profile(t, ride.seconds, _TOP_KMH) * 100)
        logs.append(frames(t, can_id, data, extended=False))
    errors = error_rows(fault.errors, ride)
    return merge([*logs, from_rows(errors, before_s=ride.seconds)])


def drive(fault: AvFault, ride: Ride) -> list[Message]:
    """Return the logs, diagnostics and signals of one drive, ordered by time."""
    signals = Signals(_courses(ride.seconds), fault.changes, ride)
    messages = [*_logs(fault, ride), *_signal_messages(signals, ride), *_diagnostics(fault, signals, ride)]
    return sorted(messages, key=lambda m: m.time_s)


def _logs(fault: AvFault, ride: Ride) -> Iterator[Message]:
    def entry(at: float, node: str, level: int, text: str) -> Message:
        data = ros.log(ride.ns(at), level, node, text, int(ride.rng.integers(10, 900)))
        return Message(at, "/rosout", "rcl_interfaces/msg/Log", data)

    for at in ride.rng.uniform(0, ride.seconds, int(ride.seconds * _CHATTER_PER_S)).tolist():
        node, level, text = _CHATTER[int(ride.rng.integers(len(_CHATTER)))]
        yield entry(at, node, level, text.format(int(ride.rng.integers(10, 99))))
    for burst in fault.bursts:
        for begins in burst.when.starts(ride):
            ends = min(ride.seconds, begins + burst.when.for_s)
            for at in np.arange(begins, ends, min(burst.period_s, ride.seconds)).tolist():
                sent = at + float(ride.rng.uniform(0, 0.1 * min(burst.period_s, 1.0)))
                if sent < ride.seconds:
                    yield entry(
                        sent, burst.node, burst.level, burst.text.format(int(ride.rng.integers(*burst.between)))
                    )


def _signal_messages(signals: Signals, ride: Ride) -> Iterator[Message]:
    def columns(period_s: float, *names: str) -> Iterator[tuple[float, ...]]:
        times = cyclic(ride.seconds, period_s, ride.rng)
        return zip(times.tolist(), *(signals.values(n, times).tolist() for n in names), strict=True)

    for at, speed in columns(0.02, "speed_kmh"):
        yield Message(at, "/vehicle/speed", "std_msgs/msg/Float64", ros.float64(speed))
    for at, *values in columns(0.1, "cpu_c", "cpu_pct", "memory_mib", "disk_ms"):
        data = ros.compute_status(ride.ns(at), *values)
        yield Message(at, "/system/compute", "argus_msgs/msg/ComputeStatus", data)
    for at, points, loss in columns(0.1, "points_per_s", "packet_loss_pct"):
        data = ros.lidar_status(ride.ns(at), round(points), loss)
        yield Message(at, "/sensing/lidar/status", "argus_msgs/msg/LidarStatus", data)
    metres = 0.0
    for at, speed, fix in columns(0.2, "speed_kmh", "gnss_fix"):
        metres += speed / 3.6 * 0.2
        position = (_START_DEG[0] + metres * _DEG_PER_M, _START_DEG[1]) if fix >= 0 else (np.nan, np.nan)
        data = ros.nav_sat_fix(ride.ns(at), round(fix), *position, 520.0)
        yield Message(at, "/sensing/gnss/fix", "sensor_msgs/msg/NavSatFix", data)


def _diagnostics(fault: AvFault, signals: Signals, ride: Ride) -> Iterator[Message]:
    times = cyclic(ride.seconds, 1.0, ride.rng)
    measured = {
        "lidar_top": ("packet_loss_pct", signals.values("packet_loss_pct", times)),
        "cpu_temperature": ("temperature_c", signals.values("cpu_c", times)),
        "memory": ("used_mib", signals.values("memory_mib", times)),
        "camera_front": ("fps", signals.values("camera_fps", times)),
        "disk": ("write_latency_ms", signals.values("disk_ms", times)),
    }
    for number, at in enumerate(times.tolist()):
        current = {s.component: s for s in fault.statuses if s.when.is_active(at, ride.start_s)}
        statuses: list[tuple[int, str, str, str, dict[str, str]]] = []
        for component, hardware in _HARDWARE.items():
            status = current.get(component, Status(component, OK, "ok"))
            values = {"error_code": status.code} if status.code else {}
            if component in measured:
                key, series = measured[component]
                values[key] = f"{series[number]:.1f}"
            statuses.append((status.level, component, status.message, hardware, values))
        data = ros.diagnostic_array(ride.ns(at), statuses)
        yield Message(at, "/diagnostics", "diagnostic_msgs/msg/DiagnosticArray", data)
