"""An autonomous vehicle: a stack of ROS 2 nodes that log, report diagnostics and publish, and its vehicle CAN."""

from typing import Final, NamedTuple

import numpy as np

from argus_assets.simulate import ros
from argus_assets.simulate.can import CanLog, cyclic, frames, merge, put_u16, speed_profile

INFO, WARN, ERROR, FATAL = 20, 30, 40, 50
OK, D_WARN, D_ERROR, D_STALE = 0, 1, 2, 3

_CHATTER: Final = (
    ("planner", INFO, "Route updated, {} waypoints left"),
    ("perception", INFO, "Tracking {} objects"),
    ("localization", INFO, "Scan matched with score 0.{}"),
    ("planner", WARN, "Replanned after {} ms"),
    ("camera_driver", WARN, "Exposure changed to {} us"),
)


class Message(NamedTuple):
    """One message of a topic."""

    time_s: float
    topic: str
    schema: str
    data: bytes


def vehicle_can(seconds: float, rng: np.random.Generator) -> CanLog:
    """The vehicle's own bus."""
    logs: list[CanLog] = []
    for period, can_id in ((0.01, 0x100), (0.02, 0x110), (0.05, 0x200)):
        t = cyclic(seconds, period, rng)
        data = rng.integers(0, 8, (len(t), 8), dtype=np.uint8)
        put_u16(data, 0, speed_profile(t, seconds, 50) * 100)
        logs.append(frames(t, can_id, data, extended=False))
    return merge(logs)


def drive(scenario: str, seconds: float, start_s: float, started_ns: int, rng: np.random.Generator) -> list[Message]:
    """Logs, diagnostics and signals of one drive, ordered by time."""
    lidar_bad = scenario == "av_lidar_dropout"
    hot = scenario == "av_compute_overheat"
    out: list[Message] = []

    def ns(at: float) -> int:
        return started_ns + round(at * 1e9)

    def log(at: float, name: str, level: int, text: str) -> None:
        if at < seconds:
            out.append(
                Message(
                    at,
                    "/rosout",
                    "rcl_interfaces/msg/Log",
                    ros.log(ns(at), level, name, text, int(rng.integers(10, 900))),
                )
            )

    for at in np.sort(rng.uniform(0, seconds, int(seconds * 2))).tolist():
        name, level, text = _CHATTER[int(rng.integers(len(_CHATTER)))]
        log(at, name, level, text.format(int(rng.integers(10, 99))))

    for at in cyclic(seconds, 0.02, rng).tolist():
        speed = float(speed_profile(np.array([at]), seconds, 50)[0])
        out.append(Message(at, "/vehicle/speed", "std_msgs/msg/Float64", ros.float64(speed)))
    for at in cyclic(seconds, 0.1, rng).tolist():
        rate = 600_000 * (rng.uniform(0.3, 0.6) if lidar_bad and at >= start_s else rng.uniform(0.98, 1.0))
        out.append(Message(at, "/lidar_top/point_rate", "std_msgs/msg/Float64", ros.float64(float(rate))))

    if lidar_bad:
        for at in np.arange(start_s, seconds, 2.0).tolist():
            log(
                at + float(rng.uniform(0, 0.1)),
                "lidar_driver",
                ERROR,
                f"E101 lidar_top: packets lost {int(rng.integers(200, 900))} in 1 s",
            )
        for at in np.arange(start_s + 1.5, seconds, 0.2).tolist():
            log(at, "localization", ERROR, f"E301 localization degraded, covariance {rng.uniform(2, 9):.2f}")
    if hot:
        log(start_s + 3, "system_monitor", FATAL, "E201 thermal throttling, cpu at 98.5 C")
        for at in np.arange(start_s + 4, seconds, 0.25).tolist():
            log(at, "planner", ERROR, f"E302 deadline missed by {int(rng.integers(20, 300))} ms")

    for at in cyclic(seconds, 1.0, rng).tolist():
        lost = lidar_bad and at >= start_s
        lidar_level = (D_STALE if int(at) % 4 == 0 else D_ERROR) if lost else OK
        heat = 0 if not hot or at < start_s else (D_WARN if at < start_s + 2 else D_ERROR)
        temperature = 62 + (rng.uniform(0, 3) if not heat else 30 + rng.uniform(0, 5))
        statuses = [
            (lidar_level, "lidar_top", "packets lost" if lost else "ok", "velodyne-128", {"packets_lost": str(int(rng.integers(200, 900)) if lost else 0), **({"error_code": "E101"} if lost else {})}),
            (heat, "cpu_temperature", ("ok", "too hot", "throttling")[heat], "orin-0", {"temperature_c": f"{temperature:.1f}", **({"error_code": "E201"} if heat else {})}),
            (OK, "camera_front", "ok", "imx-490", {"fps": "30.0"}),
            (OK, "disk", "ok", "nvme0", {"write_latency_ms": f"{rng.uniform(1, 4):.1f}"}),
        ]  # fmt: skip
        out.append(
            Message(at, "/diagnostics", "diagnostic_msgs/msg/DiagnosticArray", ros.diagnostic_array(ns(at), statuses))
        )
    out.sort(key=lambda m: m.time_s)
    return out
