"""A truck on SAE J1939: cyclic messages of engine, transmission and brakes, and DM1 of each, BAM for more than one code.

Layouts: J1939-71 (parameter groups), J1939-73 5.7.1 (DM1), J1939-21 5.10 (transport).
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from argus_assets.simulate.can import CanLog, cyclic, frames, merge, put_u16, speed_profile

ENGINE, TRANSMISSION, BRAKES = 0x00, 0x03, 0x0B
RED_STOP, AMBER, NO_LAMP = 0x10, 0x04, 0x00

_BAM_SPACING_S: Final = 0.05


@dataclass(frozen=True, slots=True)
class PlantedDtc:
    """A code that one control unit reports during some stretches of time."""

    source_address: int
    spn: int
    fmi: int
    lamps: int
    spans_s: tuple[tuple[float, float], ...]

    def active(self, at_s: float) -> bool:
        """Whether it is reported at this time."""
        return any(start <= at_s < end for start, end in self.spans_s)


def planted(scenario: str, start_s: float, seconds: float) -> tuple[PlantedDtc, ...]:
    """The codes of a scenario whose fault begins at `start_s`."""
    end = seconds + 1
    if scenario == "truck_oil_pressure":
        toggling = tuple((t, t + 3.0) for t in np.arange(start_s + 3.0, seconds, 6.0).tolist())
        return (
            PlantedDtc(ENGINE, 100, 1, RED_STOP, ((start_s, end),)),
            PlantedDtc(ENGINE, 1569, 31, AMBER, toggling),
        )
    if scenario == "truck_charging":
        return (
            PlantedDtc(ENGINE, 167, 1, AMBER, ((start_s, end),)),
            PlantedDtc(ENGINE, 168, 18, AMBER, ((start_s + 2, end),)),
            PlantedDtc(TRANSMISSION, 168, 18, AMBER, ((start_s + 4, end),)),
            PlantedDtc(BRAKES, 168, 18, AMBER, ((start_s + 6, end),)),
        )
    return ()


def drive(scenario: str, seconds: float, start_s: float, rng: np.random.Generator) -> CanLog:
    """The bus of one drive."""
    oil_lost = scenario == "truck_oil_pressure"
    charge_lost = scenario == "truck_charging"
    logs: list[CanLog] = []

    def cycle(period: float, can_id: int) -> tuple[np.ndarray, np.ndarray, int]:
        times = cyclic(seconds, period, rng)
        return times, np.full((len(times), 8), 0xFF, np.uint8), can_id

    t, data, can_id = cycle(0.02, 0x0CF00400)  # EEC1: engine speed, 0.125 rpm
    put_u16(data, 3, (650 + 12 * speed_profile(t, seconds, 85) + rng.normal(0, 4, len(t))) / 0.125)
    data[:, 2] = np.clip(125 + 40 * np.sin(t / 5) + rng.normal(0, 2, len(t)), 0, 250).astype(np.uint8)
    logs.append(frames(t, can_id, data, extended=True))

    t, data, can_id = cycle(0.01, 0x0CF00203)  # ETC1: output shaft speed, 0.125 rpm
    put_u16(data, 1, speed_profile(t, seconds, 85) * 14 / 0.125)
    logs.append(frames(t, can_id, data, extended=True))

    t, data, can_id = cycle(0.1, 0x18FEF100)  # CCVS1: wheel-based speed, 1/256 km/h
    put_u16(data, 1, speed_profile(t, seconds, 85) * 256)
    logs.append(frames(t, can_id, data, extended=True))

    t, data, can_id = cycle(0.1, 0x18F0010B)  # EBC1
    data[:, 1] = 0
    logs.append(frames(t, can_id, data, extended=True))

    t, data, can_id = cycle(0.1, 0x18FEF200)  # LFE1: fuel rate, 0.05 l/h
    put_u16(data, 0, (4 + 0.3 * speed_profile(t, seconds, 85)) / 0.05)
    logs.append(frames(t, can_id, data, extended=True))

    t, data, can_id = cycle(0.5, 0x18FEEF00)  # EFL/P1: oil pressure, 4 kPa
    pressure = np.full(len(t), 380.0) + rng.normal(0, 6, len(t))
    if oil_lost:
        pressure -= np.clip((t - (start_s - 5)) / 5, 0, 1) * 320
    data[:, 3] = np.clip(pressure / 4, 0, 250).astype(np.uint8)
    logs.append(frames(t, can_id, data, extended=True))

    t, data, can_id = cycle(1.0, 0x18FEEE00)  # ET1: coolant, 1 °C from -40
    data[:, 0] = np.clip(40 + 70 + 15 * (1 - np.exp(-t / 60)), 0, 250).astype(np.uint8)
    logs.append(frames(t, can_id, data, extended=True))

    t, data, can_id = cycle(1.0, 0x18FEF700)  # VEP1: charging system and battery, 0.05 V
    volts = np.full(len(t), 27.8) + rng.normal(0, 0.05, len(t))
    if charge_lost:
        volts -= np.clip((t - (start_s - 3)) / 6, 0, 1) * 4.5
    put_u16(data, 2, volts / 0.05)
    put_u16(data, 4, volts / 0.05)
    logs.append(frames(t, can_id, data, extended=True))

    dtcs = planted(scenario, start_s, seconds)
    for address in (ENGINE, TRANSMISSION, BRAKES):
        logs.extend(_dm1(address, [d for d in dtcs if d.source_address == address], seconds, rng))
    return merge(logs)


def _dm1(address: int, dtcs: list[PlantedDtc], seconds: float, rng: np.random.Generator) -> list[CanLog]:
    """DM1 of one control unit, once a second."""
    logs: list[CanLog] = []
    for at in cyclic(seconds, 1.0, rng, jitter=0.005).tolist():
        active = [d for d in dtcs if d.active(at)]
        lamps = 0
        for dtc in active:
            lamps |= dtc.lamps
        body = bytes([lamps, 0xFF]) + (b"".join(_dtc(d, at) for d in active) or bytes(4))
        if len(active) <= 1:
            logs.append(_one(at, 0x18FECA00 | address, body + b"\xff\xff"))
            continue
        packets = -(-len(body) // 7)
        logs.append(
            _one(
                at, 0x1CECFF00 | address, bytes([32, len(body) & 0xFF, len(body) >> 8, packets, 0xFF, 0xCA, 0xFE, 0x00])
            )
        )
        for n in range(packets):
            part = body[7 * n : 7 * n + 7].ljust(7, b"\xff")
            # A drive that ends in the middle of a message cuts it, as a real one does.
            if (sent := at + (n + 1) * _BAM_SPACING_S) < seconds:
                logs.append(_one(sent, 0x1CEBFF00 | address, bytes([n + 1]) + part))
    return logs


def _dtc(dtc: PlantedDtc, at_s: float) -> bytes:
    """Four bytes: SPN in 19 bits, FMI in 5, conversion method 0, occurrence count in 7."""
    count = min(126, sum(1 for start, _ in dtc.spans_s if start <= at_s))
    return bytes([dtc.spn & 0xFF, dtc.spn >> 8 & 0xFF, (dtc.spn >> 16 & 7) << 5 | dtc.fmi, count])


def _one(at_s: float, can_id: int, data: bytes) -> CanLog:
    return frames(np.array([at_s]), can_id, np.frombuffer(data, np.uint8).reshape(1, -1), extended=True)
