"""OBD parameters (PIDs) that freeze frames hold, scaled (ISO 15031-5 / SAE J1979 annex B, in our own words)."""

from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

PID_MONITOR_STATUS: Final = 0x01
PID_FREEZE_FRAME_CODE: Final = 0x02


class Pid(NamedTuple):
    """One parameter.

    Attributes:
        name: What it is.
        unit: Unit of the scaled value, empty for states.
        size: Bytes of data.
        scale: Data → value.
        decimals: Digits behind the point that its resolution is worth.
    """

    name: str
    unit: str
    size: int
    scale: Callable[[bytes], float]
    decimals: int = 0

    def text(self, data: bytes) -> str:
        """Format the value with its unit: `89 °C`."""
        return f"{self.scale(data):.{self.decimals}f} {self.unit}".rstrip()


def _linear(factor: float, offset: float = 0) -> Callable[[bytes], float]:
    return lambda data: int.from_bytes(data, "big") * factor + offset


_PERCENT: Final = _linear(100 / 255)
_TRIM: Final = _linear(100 / 128, -100)
_TEMPERATURE: Final = _linear(1, -40)

_FUEL_SYSTEM: Final = {
    0x00: "off",
    0x01: "open loop, not warm enough",
    0x02: "closed loop",
    0x04: "open loop, by driving conditions",
    0x08: "open loop, by a fault",
    0x10: "closed loop, with a faulty sensor",
}

PIDS: Final[Mapping[int, Pid]] = {
    0x04: Pid("engine load", "%", 1, _PERCENT, 1),
    0x05: Pid("coolant temperature", "°C", 1, _TEMPERATURE),
    0x06: Pid("short term fuel trim, bank 1", "%", 1, _TRIM, 1),
    0x07: Pid("long term fuel trim, bank 1", "%", 1, _TRIM, 1),
    0x08: Pid("short term fuel trim, bank 2", "%", 1, _TRIM, 1),
    0x09: Pid("long term fuel trim, bank 2", "%", 1, _TRIM, 1),
    0x0A: Pid("fuel pressure", "kPa", 1, _linear(3)),
    0x0B: Pid("intake manifold pressure", "kPa", 1, _linear(1)),
    0x0C: Pid("engine speed", "rpm", 2, _linear(1 / 4), 2),
    0x0D: Pid("vehicle speed", "km/h", 1, _linear(1)),
    0x0E: Pid("timing advance", "°", 1, _linear(1 / 2, -64), 1),
    0x0F: Pid("intake air temperature", "°C", 1, _TEMPERATURE),
    0x10: Pid("air flow", "g/s", 2, _linear(1 / 100), 2),
    0x11: Pid("throttle position", "%", 1, _PERCENT, 1),
    0x1F: Pid("run time since engine start", "s", 2, _linear(1)),
    0x21: Pid("distance with the malfunction lamp on", "km", 2, _linear(1)),
    0x22: Pid("fuel rail pressure, relative to vacuum", "kPa", 2, _linear(0.079), 2),
    0x23: Pid("fuel rail pressure", "kPa", 2, _linear(10)),
    0x2C: Pid("commanded EGR", "%", 1, _PERCENT, 1),
    0x2D: Pid("EGR error", "%", 1, _TRIM, 1),
    0x2E: Pid("commanded evaporative purge", "%", 1, _PERCENT, 1),
    0x2F: Pid("fuel level", "%", 1, _PERCENT, 1),
    0x30: Pid("warm-ups since codes were cleared", "", 1, _linear(1)),
    0x31: Pid("distance since codes were cleared", "km", 2, _linear(1)),
    0x33: Pid("barometric pressure", "kPa", 1, _linear(1)),
    0x3C: Pid("catalyst temperature, bank 1, sensor 1", "°C", 2, _linear(1 / 10, -40), 1),
    0x3D: Pid("catalyst temperature, bank 2, sensor 1", "°C", 2, _linear(1 / 10, -40), 1),
    0x3E: Pid("catalyst temperature, bank 1, sensor 2", "°C", 2, _linear(1 / 10, -40), 1),
    0x3F: Pid("catalyst temperature, bank 2, sensor 2", "°C", 2, _linear(1 / 10, -40), 1),
    0x42: Pid("control module voltage", "V", 2, _linear(1 / 1000), 3),
    0x43: Pid("absolute load", "%", 2, _linear(100 / 255), 1),
    0x44: Pid("commanded equivalence ratio", "", 2, _linear(2 / 65536), 3),
    0x45: Pid("relative throttle position", "%", 1, _PERCENT, 1),
    0x46: Pid("ambient air temperature", "°C", 1, _TEMPERATURE),
    0x47: Pid("throttle position B", "%", 1, _PERCENT, 1),
    0x49: Pid("accelerator pedal position D", "%", 1, _PERCENT, 1),
    0x4A: Pid("accelerator pedal position E", "%", 1, _PERCENT, 1),
    0x4B: Pid("accelerator pedal position F", "%", 1, _PERCENT, 1),
    0x4C: Pid("commanded throttle", "%", 1, _PERCENT, 1),
    0x4D: Pid("run time with the malfunction lamp on", "min", 2, _linear(1)),
    0x4E: Pid("time since codes were cleared", "min", 2, _linear(1)),
    0x52: Pid("ethanol in fuel", "%", 1, _PERCENT, 1),
    0x59: Pid("fuel rail absolute pressure", "kPa", 2, _linear(10)),
    0x5A: Pid("relative accelerator pedal position", "%", 1, _PERCENT, 1),
    0x5B: Pid("remaining life of the hybrid battery", "%", 1, _PERCENT, 1),
    0x5C: Pid("engine oil temperature", "°C", 1, _TEMPERATURE),
    0x5E: Pid("engine fuel rate", "L/h", 2, _linear(1 / 20), 2),
}

_UNSCALED_SIZES: Final = {
    **dict.fromkeys((0x12, 0x13, 0x1C, 0x1D, 0x1E, 0x48, 0x51, 0x5F), 1),
    **dict.fromkeys((PID_FREEZE_FRAME_CODE, 0x03, *range(0x14, 0x1C), 0x32, 0x53, 0x54, 0x5D), 2),
    **dict.fromkeys((PID_MONITOR_STATUS, *range(0x24, 0x2C), *range(0x34, 0x3C), 0x41, 0x4F, 0x50), 4),
    **dict.fromkeys(range(0x00, 0x100, 0x20), 4),  # which PIDs are supported
}
_SIZES: Final = _UNSCALED_SIZES | {number: pid.size for number, pid in PIDS.items()}
"""Bytes of data of each PID whose size is known, so that those behind it in an answer can be read."""


def pid_value(pid: int, data: bytes) -> tuple[str, str]:
    """Return name and value of a parameter in words; the bytes in hex where this table does not have it."""
    if pid == 0x03:
        states = [_FUEL_SYSTEM.get(state, f"unknown state 0x{state:02X}") for state in data]
        # A vehicle with one fuel system reports the second one as off.
        return "fuel system", "; ".join(states if data[1:] != b"\x00" else states[:1])
    entry = PIDS.get(pid)
    if entry is None or len(data) != entry.size:
        return f"PID 0x{pid:02X}", data.hex()
    return entry.name, entry.text(data)


class Parameter(NamedTuple):
    """One parameter in an answer.

    Attributes:
        pid: Its number.
        frame_number: Number of the freeze frame, 0 for current data.
        data: Its bytes.
    """

    pid: int
    frame_number: int
    data: bytes


def split_pids(data: bytes, *, with_frame_number: bool) -> tuple[tuple[Parameter, ...], bytes]:
    """Split an answer into its parameters, and the rest that is too short to be one.

    The size of a PID that is not known is that of the rest: what follows it cannot be separated.

    Args:
        data: The bytes behind the service byte.
        with_frame_number: Mode 02 has the number of the freeze frame behind each PID.
    """
    head = 2 if with_frame_number else 1
    found: list[Parameter] = []
    while len(data) > head:
        end = head + _SIZES.get(data[0], len(data) - head)
        if end > len(data):
            break
        found.append(Parameter(data[0], data[1] if with_frame_number else 0, data[head:end]))
        data = data[end:]
    return tuple(found), data


_COMMON_MONITORS: Final = ("misfire", "fuel system", "components")
_SPARK_MONITORS: Final = {
    0: "catalyst",
    1: "heated catalyst",
    2: "evaporative system",
    3: "secondary air",
    5: "oxygen sensor",
    6: "oxygen sensor heater",
    7: "EGR or VVT",
}
_COMPRESSION_MONITORS: Final = {
    0: "NMHC catalyst",
    1: "NOx aftertreatment",
    3: "boost pressure",
    5: "exhaust gas sensor",
    6: "particulate filter",
    7: "EGR or VVT",
}


class MonitorStatus(NamedTuple):
    """Mode 01 PID 01.

    Attributes:
        is_lamp_on: The malfunction indicator lamp (MIL) is on.
        dtc_count: Confirmed emission-related codes of this ECU.
        is_compression: Monitors are those of a compression ignition engine.
        readiness: Supported monitors → whether they are complete.
    """

    is_lamp_on: bool
    dtc_count: int
    is_compression: bool
    readiness: Mapping[str, bool]


def monitor_status(data: bytes) -> MonitorStatus:
    """Decode the four bytes of mode 01 PID 01."""
    a, b, c, d = data
    is_compression = bool(b & 0x08)
    readiness = {name: not b & 0x10 << n for n, name in enumerate(_COMMON_MONITORS) if b & 1 << n}
    monitors = _COMPRESSION_MONITORS if is_compression else _SPARK_MONITORS
    readiness |= {name: not d & 1 << n for n, name in monitors.items() if c & 1 << n}
    return MonitorStatus(bool(a & 0x80), a & 0x7F, is_compression, readiness)
