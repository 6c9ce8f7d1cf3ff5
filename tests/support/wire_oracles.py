"""What stands on the wire of a drive, told by other people's libraries and by plain loops over frames.

Nothing here is Argus' own decoding: the ground truth must not rest on the code that is measured by it.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise
from statistics import median
from typing import Any, NamedTuple

import isotp
from udsoncan import Response
from udsoncan.services import ReadDTCInformation


class Frame(NamedTuple):
    """One CAN frame as a library read it."""

    time_s: float
    can_id: int
    extended: bool
    data: bytes
    error: bool = False


class Report(NamedTuple):
    """Somebody says that a code is there."""

    time_s: float
    source: str
    ecu: str
    code: str


class J1939Message(NamedTuple):
    """A parameter group, put together where it took more than one frame."""

    time_s: float
    pgn: int
    source: int
    destination: int
    body: bytes
    connection: bool = False


class Diagnostic(NamedTuple):
    """A message over ISO-TP."""

    time_s: float
    can_id: int
    message: bytes


DM = {0xFECA: "dm1", 0xFECB: "dm2", 0xFECF: "dm6", 0xFED4: "dm12"}


def j1939_messages(frames: Iterable[Frame]) -> Iterator[J1939Message]:
    """SAE J1939-21 5.10, one frame after another; a protocol that is not kept is an error."""
    open_: dict[tuple[int, int], tuple[int, int, bytes, bool]] = {}
    granted: dict[tuple[int, int], int] = {}
    for at, can_id, extended, data, _ in frames:
        assert extended
        source, low, high = can_id & 0xFF, can_id >> 8 & 0xFF, can_id >> 16 & 0xFF
        destination = low if high < 0xF0 else 0xFF
        pgn = can_id >> 8 & (0x3FF00 if high < 0xF0 else 0x3FFFF)
        way = (source, destination)
        if pgn == 0xEC00:
            size, group = data[1] | data[2] << 8, int.from_bytes(data[5:8], "little")
            match data[0]:
                case 32 | 16:
                    assert (data[0] == 32) == (destination == 0xFF), "BAM to all, RTS to one"
                    assert size > 8, "a message of 8 bytes fits a frame"
                    assert data[3] == -(-size // 7)
                    open_[way] = (group, size, b"", data[0] == 16)
                case 17:
                    assert open_[destination, source][0] == group
                    granted[destination, source] = data[1]
                case 19:
                    assert (destination, source) not in open_, "acknowledged when all has come"
        elif pgn == 0xEB00:
            group, size, so_far, connection = open_.pop(way)
            if connection:
                assert granted[way] > 0, "no data before the peer lets them come"
                granted[way] -= 1
            assert data[0] == len(so_far) // 7 + 1, "packets come in order"
            so_far += data[1:]
            if len(so_far) >= size:
                yield J1939Message(at, group, source, destination, so_far[:size], connection)
            else:
                open_[way] = (group, size, so_far, connection)
        else:
            yield J1939Message(at, pgn, source, destination, data)


def dtcs(body: bytes) -> list[str]:
    """SAE J1939-73 5.7.1: codes behind two bytes of lamps, conversion method 0."""
    found = []
    for i in range(2, len(body) - 3, 4):
        spn = body[i] | body[i + 1] << 8 | (body[i + 2] & 0xE0) << 11
        if body[i : i + 4] not in (bytes(4), b"\xff" * 4):
            assert not body[i + 3] & 0x80, "conversion method 0: the layout that is decoded here"
            found.append(f"SPN{spn}/FMI{body[i + 2] & 0x1F}")
    return found


def dm_reports(frames: Iterable[Frame]) -> list[Report]:
    """Codes of DM1, DM2, DM6 and DM12."""
    return [
        Report(m.time_s, DM[m.pgn], f"SA 0x{m.source:02X}", code)
        for m in j1939_messages(frames)
        if m.pgn in DM
        for code in dtcs(m.body[:6] if len(m.body) == 8 and not m.connection else m.body)
    ]


def isotp_messages(frames: Iterable[Frame]) -> list[Diagnostic]:
    """Messages of tester and units, by can-isotp; a message that is cut is an error, but for the drive's last one."""
    inbox: dict[int, list[isotp.CanMessage]] = defaultdict(list)
    layers: dict[int, isotp.TransportLayerLogic] = {}
    errors: list[Exception] = []
    found: list[Diagnostic] = []
    for f in frames:
        is_diagnostic = f.can_id >> 16 in (0x18DA, 0x18DB) if f.extended else 0x7DF <= f.can_id <= 0x7EF
        if f.error or not is_diagnostic or f.data[0] >> 4 == 3:
            continue
        if f.can_id not in layers:
            modes = isotp.AddressingMode
            mode = modes.Normal_29bits if f.extended else modes.Normal_11bits
            queue = inbox[f.can_id]
            layers[f.can_id] = isotp.TransportLayerLogic(
                lambda _=0.0, queue=queue: queue.pop(0) if queue else None,
                lambda _: None,
                isotp.Address(mode, rxid=f.can_id, txid=0x1FFFFFFF if f.extended else 0x001),
                error_handler=errors.append,
            )
        inbox[f.can_id].append(isotp.CanMessage(f.can_id, data=f.data, extended_id=f.extended))
        layers[f.can_id].process()
        while layers[f.can_id].available():
            found.append(Diagnostic(f.time_s, f.can_id, bytes(layers[f.can_id].recv())))
    assert not errors, errors
    return found


def j2012(code: bytes) -> str:
    number = code[0] << 8 | code[1]
    return f"{'PCBU'[number >> 14]}{number & 0x3FFF:04X}"


def obd_reports(messages: Iterable[Diagnostic]) -> list[Report]:
    """Codes of SAE J1979 services 03, 07 and 0A."""
    reports = []
    for at, can_id, message in messages:
        if message[0] in (0x43, 0x47, 0x4A):
            assert len(message) == 2 + 2 * message[1], "the count agrees with the length"
            source, ecu = f"obd{message[0] - 0x40:02x}", f"0x{can_id:X}"
            reports += [Report(at, source, ecu, j2012(message[i : i + 2])) for i in range(2, len(message), 2)]
    return reports


def uds_reports(messages: Iterable[Diagnostic]) -> list[Report]:
    """Codes that failed at least once, by udsoncan's own reading of ReadDTCInformation."""
    reports = []
    for at, can_id, message in messages:
        if message[:2] != b"\x59\x02":
            continue
        response = Response.from_payload(message)
        assert response.positive
        for dtc in ReadDTCInformation.interpret_response(response, subfunction=2).service_data.dtcs:
            raw = dtc.id.to_bytes(3, "big")
            if dtc.status.test_failed or dtc.status.confirmed or dtc.status.pending:
                reports.append(Report(at, "uds", f"0x{can_id:X}", f"{j2012(raw)}-{raw[2]:02X}"))
    return reports


def error_reports(frames: Iterable[Frame]) -> list[Report]:
    """SocketCAN error frames, by the bits of linux/can/error.h."""
    reports = []
    for f in frames:
        if not f.error:
            continue
        bits = {
            "CAN_BUSOFF": f.can_id & 0x40,
            "CAN_ACK_ERROR": f.can_id & 0x20,
            "CAN_ERROR_PASSIVE": f.can_id & 0x04 and f.data[1] & 0x30,
            "CAN_STUFF_ERROR": f.can_id & 0x08 and f.data[2] & 0x04,
            "CAN_RESTARTED": f.can_id & 0x100,
        }
        assert any(bits.values()), f
        assert len(f.data) == 8
        reports += [Report(f.time_s, "can", "bus", code) for code, is_set in bits.items() if is_set]
    return reports


def silence_reports(frames: Iterable[Frame], seconds: float) -> list[Report]:
    """A cyclic message that stopped: of twenty frames or more, and not heard for ten periods and three seconds."""
    times: dict[int, list[float]] = defaultdict(list)
    for f in frames:
        is_transport = f.extended and f.can_id >> 16 & 0xFF in (0xEA, 0xEB, 0xEC, 0xE8)
        is_diagnostic = f.can_id >> 16 in (0x18DA, 0x18DB) if f.extended else f.can_id >= 0x700
        if not (f.error or is_transport or is_diagnostic):
            times[f.can_id].append(f.time_s)
    reports = []
    for can_id, at in times.items():
        steps = [b - a for a, b in pairwise(at)]
        if len(steps) >= 20 and seconds - at[-1] > max(3.0, 10 * median(steps)):
            reports.append(Report(at[-1], "silence", f"0x{can_id:X}", "CAN_SILENT"))
    return reports


def software_reports(messages: Iterable[Any], started_ns: int) -> list[Report]:
    """Codes in logs of ERROR and FATAL, and in the keys of diagnostics that are not OK."""
    reports = []
    for m in messages:
        at = (m.log_time_ns - started_ns) / 1e9
        if m.schema == "rcl_interfaces/msg/Log" and m.content.level >= 40:
            if found := re.search(r"\b[A-Z]\d{3,5}\b", m.content.msg):
                reports.append(Report(at, "log", m.content.name, found[0]))
        elif m.schema == "diagnostic_msgs/msg/DiagnosticArray":
            for status in m.content.status:
                codes = [v.value for v in status.values if v.key == "error_code"]
                assert bool(codes) == (level_of(status) != 0)
                reports += [Report(at, "diagnostic", status.name, code) for code in codes]
    return reports


def level_of(status: Any) -> int:
    return ord(status.level) if isinstance(status.level, bytes) else status.level


RULES: dict[str, tuple[str, str, Callable[[float], bool]]] = {
    "RULE_CPU_TEMPERATURE": ("/system/compute", "cpu_temperature_c", lambda v: v > 95),
    "RULE_MEMORY_GROWTH": ("/system/compute", "memory_used_mib", lambda v: v > 12_000),
    "RULE_DISK_LATENCY": ("/system/compute", "disk_write_latency_ms", lambda v: v > 200),
    "RULE_LIDAR_POINT_RATE": ("/sensing/lidar/status", "points_per_second", lambda v: v < 400_000),
}
"""What the signals look like when they are as bad as any rule would ask: a second and a half on end."""


def rule_reports(messages: Iterable[Any], started_ns: int) -> list[Report]:
    reports = []
    held: dict[str, int] = dict.fromkeys(RULES, 0)
    for m in messages:
        for code, (topic, field, is_bad) in RULES.items():
            if m.topic == topic:
                held[code] = held[code] + 1 if is_bad(getattr(m.content, field)) else 0
                if held[code] >= 15:
                    reports.append(Report((m.log_time_ns - started_ns) / 1e9, "rule", topic, code))
    return reports
