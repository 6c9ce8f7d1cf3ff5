"""Write the recording of a software stack: an MCAP of /rosout, /diagnostics and the topics of a healthy stack."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from evals.drives.signals import Courses
from evals.story import Diagnostic, Story, Topic

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
    "std_msgs/msg/Header": f"builtin_interfaces/Time stamp\nstring frame_id\n{_TIME}",
    "sensor_msgs/msg/PointCloud2": (
        "std_msgs/Header header\nuint32 height\nuint32 width\nsensor_msgs/PointField[] fields\nbool is_bigendian\n"
        f"uint32 point_step\nuint32 row_step\nuint8[] data\nbool is_dense\n{_HEADER}{_TIME}"
        f"{_RULE}\nMSG: sensor_msgs/PointField\nstring name\nuint32 offset\nuint8 datatype\nuint32 count\n"
    ),
    "sensor_msgs/msg/LaserScan": (
        "std_msgs/Header header\nfloat32 angle_min\nfloat32 angle_max\nfloat32 angle_increment\nfloat32 time_increment\n"
        "float32 scan_time\nfloat32 range_min\nfloat32 range_max\nfloat32[] ranges\nfloat32[] intensities\n"
        f"{_HEADER}{_TIME}"
    ),
    "sensor_msgs/msg/Image": (
        "std_msgs/Header header\nuint32 height\nuint32 width\nstring encoding\nuint8 is_bigendian\nuint32 step\n"
        f"uint8[] data\n{_HEADER}{_TIME}"
    ),
    "sensor_msgs/msg/NavSatFix": (
        "std_msgs/Header header\nsensor_msgs/NavSatStatus status\nfloat64 latitude\nfloat64 longitude\nfloat64 altitude\n"
        f"float64[9] position_covariance\nuint8 position_covariance_type\n{_HEADER}{_TIME}"
        f"{_RULE}\nMSG: sensor_msgs/NavSatStatus\nint8 status\nuint16 service\n"
    ),
}

_Message = tuple[float, str, str, dict[str, Any]]
"""Seconds since the drive's start, topic, schema, message."""


def write(path: Path, story: Story, courses: Courses, rng: np.random.Generator, started_ns: int) -> None:
    """Write the MCAP of a story."""
    from mcap.writer import CompressionType
    from mcap_ros2.writer import Writer

    clock = _Clock(started_ns, tuple((step.at, step.seconds) for step in story.clock_step))
    every = [
        *_logs(story, rng, clock),
        *_diagnostics(story, clock),
        *_topics(story, courses, clock),
        *_sensors(story, clock),
    ]
    every.sort(key=lambda message: message[0])
    compression = (CompressionType.ZSTD, CompressionType.LZ4, CompressionType.NONE)[int(rng.integers(3))]
    with path.open("wb") as file, Writer(file, compression=compression) as writer:
        schemas = {name: writer.register_msgdef(name, text) for name, text in _SCHEMAS.items()}
        for number, (time, topic, schema, message) in enumerate(every):
            if time < story.seconds:
                at = clock.ns(time)
                writer.write_message(topic, schemas[schema], message, log_time=at, publish_time=at, sequence=number)


@dataclass(frozen=True, slots=True)
class _Clock:
    """The clock of the recording computer.

    Attributes:
        steps: Seconds since the drive's start, and by how many seconds the clock is stepped then.
    """

    started_ns: int
    steps: tuple[tuple[float, float], ...]

    def ns(self, time: float) -> int:
        """Return what the clock shows, in nanoseconds since 1970."""
        shift = sum(seconds for at, seconds in self.steps if at <= time)
        return self.started_ns + round((time + shift) * 1e9)


def _stamp(clock: _Clock, time: float, behind: float = 0.0) -> dict[str, int]:
    at = max(0, clock.ns(time) - round(behind * 1e9))
    return {"sec": at // 10**9, "nanosec": at % 10**9}


def nodes_of(story: Story) -> tuple[str, ...]:
    """Return the nodes that write logs."""
    return tuple(dict.fromkeys([*(log.node for log in story.log), *story.nodes])) or ("recorder",)


def _logs(story: Story, rng: np.random.Generator, clock: _Clock) -> Iterator[_Message]:
    def line(time: float, node: str, level: int, text: str) -> _Message:
        return time, "/rosout", "rcl_interfaces/msg/Log", {
            "stamp": _stamp(clock, time), "level": level, "name": node, "msg": text,
            "file": "", "function": "", "line": 0,
        }  # fmt: skip

    for node in nodes_of(story):
        yield line(float(rng.uniform(0.05, 0.9)), node, _LEVELS["info"], "Node started")
    for log in story.log:
        for number in range(log.times):
            time = log.at + number * log.every
            yield line(time, log.node, _LEVELS[log.level], log.text.replace("{n}", str(number + 1)))


def _diagnostics(story: Story, clock: _Clock) -> Iterator[_Message]:
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
        header = {"stamp": _stamp(clock, time), "frame_id": ""}
        yield time, "/diagnostics", "diagnostic_msgs/msg/DiagnosticArray", {"header": header, "status": status}


def _status(name: str, hardware: str, level: int, message: str, values: dict[str, str]) -> dict[str, Any]:
    return {
        "level": level,
        "name": name,
        "message": message,
        "hardware_id": hardware,
        "values": [{"key": key, "value": value} for key, value in values.items()],
    }


def _topics(story: Story, courses: Courses, clock: _Clock) -> Iterator[_Message]:
    """Yield transforms, inertial measurements and speed of a vehicle in motion, and the story's other quantities."""
    times = np.arange(0.1, story.seconds, 0.2)
    speeds = courses.at("vehicle_speed", times) / 3.6
    if "vehicle_speed" not in courses.stated:
        speeds = speeds / 6  # most of these are robots and shuttles
    travelled = np.cumsum(speeds) * 0.2
    for time, speed, place in zip(times.tolist(), speeds.tolist(), travelled.tolist(), strict=True):
        header = {"stamp": _stamp(clock, time), "frame_id": "base_link"}
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


def _sensors(story: Story, clock: _Clock) -> Iterator[_Message]:
    """Yield the topics of the story's sensors; parts with the same name are one topic."""
    by_name: dict[str, list[Topic]] = {}
    for part in story.topic:
        by_name.setdefault(part.name, []).append(part)
    for name, parts in by_name.items():
        schema, content = _SENSORS[parts[0].kind]
        time = 0.15
        while time < story.seconds:
            now = [p for p in parts if p.at <= time and (p.until is None or time < p.until)]
            part = max(now, key=lambda p: p.at) if now else None
            rate = part.then if part else parts[0].rate
            if not rate:  # a gap, until it or the drive ends
                ends = [p.until for p in now if p.until is not None]
                time = max(time + 0.05, min(ends, default=story.seconds))
                continue
            header = {"stamp": _stamp(clock, time, part.behind if part else 0.0), "frame_id": "sensor"}
            message = header if parts[0].kind == "header" else {"header": header} | content
            yield time, name, schema, message
            time += 1 / rate


_FIELDS: Final = [{"name": n, "offset": 4 * i, "datatype": 7, "count": 1} for i, n in enumerate("xyz")]
_SENSORS: Final[dict[str, tuple[str, dict[str, Any]]]] = {
    # A few points and pixels: what is missing or late is told by times.
    "cloud": ("sensor_msgs/msg/PointCloud2", {
        "height": 1, "width": 4, "fields": _FIELDS, "is_bigendian": False, "point_step": 12, "row_step": 48,
        "data": bytes(48), "is_dense": True,
    }),
    "scan": ("sensor_msgs/msg/LaserScan", {
        "angle_min": -1.0, "angle_max": 1.0, "angle_increment": 0.5, "time_increment": 0.0, "scan_time": 0.1,
        "range_min": 0.1, "range_max": 12.0, "ranges": [2.0, 2.5, 3.0, 2.5, 2.0], "intensities": [],
    }),
    "image": ("sensor_msgs/msg/Image", {
        "height": 2, "width": 4, "encoding": "mono8", "is_bigendian": 0, "step": 4, "data": bytes(8),
    }),
    "fix": ("sensor_msgs/msg/NavSatFix", {
        "status": {"status": 0, "service": 1}, "latitude": 48.1, "longitude": 11.6, "altitude": 520.0,
        "position_covariance": [0.0] * 9, "position_covariance_type": 0,
    }),
    "header": ("std_msgs/msg/Header", {}),
}  # fmt: skip
