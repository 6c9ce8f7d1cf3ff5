"""A car with OBD-II on 11-bit CAN: broadcasts of the powertrain, and a tester that polls data and trouble codes.

Layouts: ISO 15765-4 (identifiers), ISO 15765-2 (segmentation), SAE J1979 (services), SAE J2012 (codes).
"""

from typing import Final

import numpy as np

from argus_assets.simulate.can import CanLog, cyclic, frames, merge, put_u16, speed_profile

_TESTER: Final = 0x7DF
_ECUS: Final = (0x7E8, 0x7E9, 0x7EA)
_POLL_CODES_S: Final = 5.0
_POLL_DATA_S: Final = 0.5
_POLL_GAP_S: Final = 0.2


def planted(scenario: str, start_s: float) -> dict[int, tuple[tuple[str, float], ...]]:
    """For each answering ECU its codes with the time from which it reports them."""
    match scenario:
        case "car_misfire_coil":
            return {0x7E8: (("P0301", start_s), ("P0351", start_s + 5.5), ("P0300", start_s + 5.5))}
        case "car_bus_loss":
            return {
                0x7E9: (("U0100", start_s), ("U0121", start_s)),
                0x7EA: (("U0100", start_s), ("U0140", start_s)),
            }
        case "car_air_flow":
            return {0x7E8: (("P0101", start_s), ("P0171", start_s + 8))}
        case _:
            return {}


def drive(scenario: str, seconds: float, start_s: float, rng: np.random.Generator) -> CanLog:
    """The bus of one drive."""
    bus_lost = scenario == "car_bus_loss"
    logs: list[CanLog] = []

    def broadcast(
        period: float, can_id: int, length: int = 8, *, engine: bool = False
    ) -> tuple[np.ndarray, np.ndarray, int]:
        times = cyclic(seconds, period, rng)
        if bus_lost and engine:
            times = times[times < start_s]
        data = rng.integers(0, 4, (len(times), length), dtype=np.uint8)
        data[:, -1] = np.arange(len(times), dtype=np.int64) & 0x0F  # rolling counter
        return times, data, can_id

    t, data, can_id = broadcast(0.01, 0x0C0, engine=True)
    put_u16(data, 0, (750 + 25 * speed_profile(t, seconds, 120) + rng.normal(0, 5, len(t))) * 4)
    logs.append(frames(t, can_id, data, extended=False))
    t, data, can_id = broadcast(0.02, 0x1A0)
    put_u16(data, 0, speed_profile(t, seconds, 120) * 100)
    logs.append(frames(t, can_id, data, extended=False))
    for period, can_id, length, engine in (
        (0.01, 0x0D1, 8, False),
        (0.02, 0x280, 8, True),
        (0.02, 0x2B0, 6, False),
        (0.1, 0x320, 8, False),
        (0.1, 0x3D0, 8, True),
        (1.0, 0x5A0, 8, False),
    ):
        t, data, can_id_ = broadcast(period, can_id, length, engine=engine)
        logs.append(frames(t, can_id_, data, extended=False))

    polls = np.arange(rng.uniform(0.5, 2.0), seconds - 0.5, _POLL_CODES_S)
    for at in cyclic(seconds - 0.2, _POLL_DATA_S, rng).tolist():
        if (np.abs(polls - at) < _POLL_GAP_S).any():
            continue  # a tester waits for one answer before it asks again
        pid = int(rng.choice([0x05, 0x0C, 0x0D, 0x10]))
        logs.append(_one(at, _TESTER, bytes([2, 0x01, pid, 0, 0, 0, 0, 0])))
        if not (bus_lost and at >= start_s):
            value = rng.integers(20, 90, 2, dtype=np.uint8)
            logs.append(_one(at + 0.008, 0x7E8, bytes([4, 0x41, pid, *value.tolist(), 0, 0, 0])))

    codes = planted(scenario, start_s)
    for at in polls.tolist():
        logs.append(_one(at, _TESTER, bytes([1, 0x03, 0, 0, 0, 0, 0, 0])))
        for number, ecu in enumerate(_ECUS):
            if bus_lost and ecu == 0x7E8 and at >= start_s:
                continue
            active = [code for code, since in codes.get(ecu, ()) if since <= at]
            logs.extend(_answer(at + 0.01 * (number + 1), ecu, active))
    return merge(logs)


def _answer(at_s: float, ecu: int, codes: list[str]) -> list[CanLog]:
    """An answer to mode 03: the service byte, the count, two bytes a code."""
    message = bytes([0x43, len(codes)]) + b"".join(dtc_bytes(code) for code in codes)
    if len(message) <= 7:
        return [_one(at_s, ecu, bytes([len(message)]) + message.ljust(7, b"\xaa"))]
    logs = [
        _one(at_s, ecu, bytes([0x10 | len(message) >> 8, len(message) & 0xFF]) + message[:6]),
        _one(at_s + 0.002, ecu - 8, bytes([0x30, 0, 10, 0, 0, 0, 0, 0])),  # the tester's flow control
    ]
    for n, start in enumerate(range(6, len(message), 7)):
        part = message[start : start + 7].ljust(7, b"\xaa")
        logs.append(_one(at_s + 0.012 + 0.01 * n, ecu, bytes([0x20 | (n + 1) & 0x0F]) + part))
    return logs


def dtc_bytes(code: str) -> bytes:
    """Two bytes of a code: two bits of letter, two of the first digit, twelve of the rest (SAE J2012)."""
    return bytes(["PCBU".index(code[0]) << 6 | int(code[1]) << 4 | int(code[2], 16), int(code[3:], 16)])


def _one(at_s: float, can_id: int, data: bytes) -> CanLog:
    return frames(np.array([at_s]), can_id, np.frombuffer(data, np.uint8).reshape(1, -1), extended=False)
