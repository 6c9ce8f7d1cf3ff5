"""Write the recording of a software stack: an MCAP of /rosout, /diagnostics and the topics of a healthy stack."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np

from evals.drives.signals import Courses
from evals.story import Diagnostic, Story

_LEVELS: Final = {"debug": 10, "info": 20, "warn": 30, "error": 40, "fatal": 50}
_STATUS: Final = {"ok": 0, "warn": 1, "error": 2, "stale": 3}

_RULE: Final = "=" * 80
_TIME: Final = f"{_RULE}\nMSG: builtin_interfaces/Time\nint32 sec\nuint32 nanosec\n"
_HEADER: Final = f"{_RULE}\nMSG: std_msgs/Header\nbuiltin_interfaces/Time stamp\nstring frame_id\n"
_VECTORS: Final = (
    f"{_RULE}\nMSG: geometry_msgs/Vector3\nfloat64 x\nfloat64 y\nfloat64 z\n"
    f"{_RULE}\nMSG: geometry_msgs/Quaternion\nfloat64 x\nfloat64 y\nfloat64 z\nfloat64 w\n"
)

_SCHEMAS: Final = {
    "rcl_interfaces/msg/Log": (
        "builtin_interfaces/Time stamp\nuint8 level\nstring name\nstring msg\nstring file\nstring function\nuint32 line\n"
        + _TIME
    ),
    "diagnostic_msgs/msg/DiagnosticArray": (
        "std_msgs/Header header\ndiagnostic_msgs/DiagnosticStatus[] status\n"
        f"{_HEADER}{_TIME}{_RULE}\nMSG: diagnostic_msgs/DiagnosticStatus\n"
        "byte OK=0\nbyte WARN=1\nbyte ERROR=2\nbyte STALE=3\n"
        "byte level\nstring name\nstring message\nstring hardware_id\ndiagnostic_msgs/KeyValue[] values\n"
        f"{_RULE}\nMSG: diagnostic_msgs/KeyValue\nstring key\nstring value\n"
    ),
    "tf2_msgs/msg/TFMessage": (
        f"geometry_msgs/TransformStamped[] transforms\n{_HEADER}{_TIME}{_VECTORS}"
        f"{_RULE}\nMSG: geometry_msgs/Transform\ngeometry_msgs/Vector3 translation\ngeometry_msgs/Quaternion rotation\n"
        f"{_RULE}\nMSG: geometry_msgs/TransformStamped\nstd_msgs/Header header\nstring child_frame_id\n"
        "geometry_msgs/Transform transform\n"
    ),
    "sensor_msgs/msg/Imu": (
        "std_msgs/Header header\ngeometry_msgs/Quaternion orientation\nfloat64[9] orientation_covariance\n"
        "geometry_msgs/Vector3 angular_velocity\nfloat64[9] angular_velocity_covariance\n"
        "geometry_msgs/Vector3 linear_acceleration\nfloat64[9] linear_acceleration_covariance\n"
        f"{_HEADER}{_TIME}{_VECTORS}"
    ),
    "geometry_msgs/msg/TwistStamped": (
        f"std_msgs/Header header\ngeometry_msgs/Twist twist\n{_HEADER}{_TIME}{_VECTORS}"
        f"{_RULE}\nMSG: geometry_msgs/Twist\ngeometry_msgs/Vector3 linear\ngeometry_msgs/Vector3 angular\n"
    ),
    "std_msgs/msg/Float64": "float64 data\n",
}

_Message = tuple[float, str, str, dict[str, Any]]
"""Seconds since the drive's start, topic, schema, message."""


def write(path: Path, story: Story, courses: Courses, rng: np.random.Generator, started_ns: int) -> None:
    """Write the MCAP of a story."""
    from mcap.writer import CompressionType
    from mcap_ros2.writer import Writer

    every = [*_logs(story, rng, started_ns), *_diagnostics(story, started_ns), *_topics(story, courses, started_ns)]
    every.sort(key=lambda message: message[0])
    compression = (CompressionType.ZSTD, CompressionType.LZ4, CompressionType.NONE)[int(rng.integers(3))]
    with path.open("wb") as file, Writer(file, compression=compression) as writer:
        schemas = {name: writer.register_msgdef(name, text) for name, text in _SCHEMAS.items()}
        for number, (time, topic, schema, message) in enumerate(every):
            if time < story.seconds:
                at = started_ns + round(time * 1e9)
                writer.write_message(topic, schemas[schema], message, log_time=at, publish_time=at, sequence=number)


def _stamp(started_ns: int, time: float) -> dict[str, int]:
    at = started_ns + round(time * 1e9)
    return {"sec": at // 10**9, "nanosec": at % 10**9}


def nodes_of(story: Story) -> tuple[str, ...]:
    """Return the nodes that write logs."""
    return tuple(dict.fromkeys([*(log.node for log in story.log), *story.nodes])) or ("recorder",)


def _logs(story: Story, rng: np.random.Generator, started_ns: int) -> Iterator[_Message]:
    def line(time: float, node: str, level: int, text: str) -> _Message:
        return time, "/rosout", "rcl_interfaces/msg/Log", {
            "stamp": _stamp(started_ns, time), "level": level, "name": node, "msg": text,
            "file": "", "function": "", "line": 0,
        }  # fmt: skip

    for node in nodes_of(story):
        yield line(float(rng.uniform(0.05, 0.9)), node, _LEVELS["info"], "Node started")
    for log in story.log:
        for number in range(log.times):
            time = log.at + number * log.every
            yield line(time, log.node, _LEVELS[log.level], log.text.replace("{n}", str(number + 1)))


def _diagnostics(story: Story, started_ns: int) -> Iterator[_Message]:
    by_name: dict[tuple[str, str], list[Diagnostic]] = {}
    for part in story.diagnostic:
        by_name.setdefault((part.name, part.hardware_id), []).append(part)
    for time in np.arange(0.5, story.seconds, 1.0).tolist():
        status: list[dict[str, Any]] = [_status("recorder: disk", "", 0, "Recording", {})]
        for (name, hardware), parts in by_name.items():
            # What held within the last second, so that a short one is not missed; the later of two that overlap.
            now = [p for p in parts if p.at <= time and (p.until is None or time - 1 < p.until)]
            if now:
                part = max(now, key=lambda p: p.at)
                status.append(_status(name, hardware, _STATUS[part.level], part.message, part.values))
            else:
                status.append(_status(name, hardware, 0, parts[0].ok, {}))
        header = {"stamp": _stamp(started_ns, time), "frame_id": ""}
        yield time, "/diagnostics", "diagnostic_msgs/msg/DiagnosticArray", {"header": header, "status": status}


def _status(name: str, hardware: str, level: int, message: str, values: dict[str, str]) -> dict[str, Any]:
    return {
        "level": level,
        "name": name,
        "message": message,
        "hardware_id": hardware,
        "values": [{"key": key, "value": value} for key, value in values.items()],
    }


def _topics(story: Story, courses: Courses, started_ns: int) -> Iterator[_Message]:
    """Yield transforms, inertial measurements and speed of a vehicle in motion, and the story's other quantities."""
    times = np.arange(0.1, story.seconds, 0.2)
    speeds = courses.at("vehicle_speed", times) / 3.6
    if "vehicle_speed" not in courses.stated:
        speeds = speeds / 6  # most of these are robots and shuttles
    travelled = np.cumsum(speeds) * 0.2
    for time, speed, place in zip(times.tolist(), speeds.tolist(), travelled.tolist(), strict=True):
        header = {"stamp": _stamp(started_ns, time), "frame_id": "base_link"}
        still = {"x": 0.0, "y": 0.0, "z": 0.0}
        straight = still | {"w": 1.0}
        pose = {"translation": still | {"x": place}, "rotation": straight}
        transform = {"header": header | {"frame_id": "odom"}, "child_frame_id": "base_link", "transform": pose}
        yield time, "/tf", "tf2_msgs/msg/TFMessage", {"transforms": [transform]}
        yield time + 0.01, "/vehicle/twist", "geometry_msgs/msg/TwistStamped", {
            "header": header, "twist": {"linear": still | {"x": speed}, "angular": still},
        }  # fmt: skip
        yield time + 0.02, "/sensing/imu/imu_data", "sensor_msgs/msg/Imu", {
            "header": header | {"frame_id": "imu_link"}, "orientation": straight, "orientation_covariance": [0.0] * 9,
            "angular_velocity": still, "angular_velocity_covariance": [0.0] * 9,
            "linear_acceleration": still | {"z": 9.81}, "linear_acceleration_covariance": [0.0] * 9,
        }  # fmt: skip
    for signal in story.signal:
        if signal.by is None and signal.name != "vehicle_speed":
            seconds = np.arange(0.7, story.seconds, 1.0)
            for time, value in zip(seconds.tolist(), courses.at(signal.name, seconds).tolist(), strict=True):
                yield time, f"/vehicle/{signal.name}", "std_msgs/msg/Float64", {"data": value}
