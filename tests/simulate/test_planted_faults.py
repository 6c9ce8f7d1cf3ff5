"""The planted faults stand in the recorded bytes, no others do, and the signals tell the same story.

The checks decode with a few lines of their own, from the standards: the ground truth must not rest on the code that is
measured by it.
"""

import itertools
import re
from collections import Counter
from collections.abc import Callable, Iterable
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from argus_assets.errors import BadSetting
from argus_assets.simulate.car import dtc_bytes
from argus_assets.simulate.fleet import Drive
from argus_assets.simulate.scenarios import SCENARIOS

SETTINGS = settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.too_slow])
seeds = st.integers(0, 2**32)


class Report(NamedTuple):
    """One control unit says that a code is active."""

    time_s: float
    ecu: str
    code: str


def dm1_reports(frames: Iterable) -> list[Report]:
    """SAE J1939-73 5.7.1, single frames and J1939-21 5.10 broadcast announcements."""
    reports: list[Report] = []
    announced: dict[int, tuple[int, int]] = {}
    parts: dict[int, bytes] = {}

    def dtcs(at: float, address: int, body: bytes) -> None:
        for i in range(2, len(body) - 3, 4):
            spn = body[i] | body[i + 1] << 8 | (body[i + 2] & 0xE0) << 11
            fmi, conversion = body[i + 2] & 0x1F, body[i + 3] & 0x80
            assert not conversion, "conversion method 0: the layout that is decoded here"
            if (spn, fmi) != (0, 0):
                reports.append(Report(at, f"SA 0x{address:02X}", f"SPN{spn}/FMI{fmi}"))

    for at, can_id, _, data in frames:
        group, address = can_id >> 8 & 0xFFFF, can_id & 0xFF
        if group == 0xFECA:
            assert len(data) == 8
            dtcs(at, address, data[:6])
        elif group == 0xECFF and data[0] == 32 and data[5:8] == b"\xca\xfe\x00":
            size, packets = data[1] | data[2] << 8, data[3]
            assert size > 8, "a message of 8 bytes fits a frame"
            assert packets == -(-size // 7)
            announced[address], parts[address] = (size, packets), b""
        elif group == 0xEBFF:
            size, packets = announced[address]
            assert data[0] == len(parts[address]) // 7 + 1, "packets come in order"
            parts[address] += data[1:]
            if data[0] == packets:
                dtcs(at, address, parts[address][:size])
    return reports


def mode_03_reports(frames: Iterable) -> list[Report]:
    """ISO 15765-2 segmentation, SAE J1979 service 03, SAE J2012 codes."""
    reports: list[Report] = []
    open_message: dict[int, tuple[int, int, bytes]] = {}
    waits_for_flow_control: set[int] = set()

    def answer(at: float, ecu: int, message: bytes) -> None:
        if message[0] != 0x43:
            return
        assert len(message) == 2 + 2 * message[1], "the count agrees with the length"
        for i in range(2, len(message), 2):
            number = message[i] << 8 | message[i + 1]
            reports.append(Report(at, f"0x{ecu:X}", f"{'PCBU'[number >> 14]}{number & 0x3FFF:04X}"))

    for at, can_id, _, data in frames:
        if 0x7E0 <= can_id <= 0x7E7:
            assert data[0] == 0x30
            waits_for_flow_control.remove(can_id + 8)
        if not 0x7E8 <= can_id <= 0x7EF:
            continue
        kind, low = data[0] >> 4, data[0] & 0x0F
        if kind == 0:
            answer(at, can_id, data[1 : 1 + low])
        elif kind == 1:
            open_message[can_id] = (low << 8 | data[1], 1, data[2:])
            waits_for_flow_control.add(can_id)
        else:
            assert kind == 2
            assert can_id not in waits_for_flow_control
            size, expected, so_far = open_message.pop(can_id)
            assert low == expected
            if len(so_far + data[1:]) >= size:
                answer(at, can_id, (so_far + data[1:])[:size])
            else:
                open_message[can_id] = (size, (expected + 1) & 0x0F, so_far + data[1:])
    assert not open_message, "every answer is complete"
    return reports


def software_reports(messages: Iterable, started_ns: int) -> list[Report]:
    """Codes in logs of ERROR and FATAL, and in the keys of diagnostics that are not OK."""
    reports: list[Report] = []
    for m in messages:
        at = (m.log_time_ns - started_ns) / 1e9
        if m.schema == "rcl_interfaces/msg/Log" and m.content.level >= 40:
            found = re.search(r"\b[A-Z]\d{3,5}\b", m.content.msg)
            assert found, f"an error without a code: {m.content.msg}"
            reports.append(Report(at, m.content.name, found[0]))
        elif m.schema == "diagnostic_msgs/msg/DiagnosticArray":
            for status in m.content.status:
                codes = [v.value for v in status.values if v.key == "error_code"]
                assert bool(codes) == (status.level != 0)
                reports += [Report(at, status.name, code) for code in codes]
    return reports


@pytest.fixture(scope="session")
def reports_of(read_can, read_mcap) -> Callable[[Drive], list[Report]]:
    """What a drive's bytes report, by platform."""

    def read(drive: Drive) -> list[Report]:
        match drive.platform:
            case "truck":
                return dm1_reports(read_can(drive))
            case "car":
                return mode_03_reports(read_can(drive))
            case _:
                messages = (m for path in drive.files for m in read_mcap(path))
                return software_reports(messages, drive.recorded_from_ns)

    return read


def first_seen(reports: list[Report]) -> dict[str, float]:
    seen: dict[str, float] = {}
    for r in reports:
        seen.setdefault(r.code, r.time_s)
    return seen


@pytest.mark.parametrize("scenario", SCENARIOS)
@SETTINGS
@given(seed=seeds, spare_s=st.floats(0, 20))
def test_exactly_the_planted_codes_are_reported(
    make_drive, reports_of, scenario: str, seed: int, spare_s: float
) -> None:
    drive = make_drive(scenario, seed, seconds=SCENARIOS[scenario].shortest_s + spare_s)
    reports = reports_of(drive)
    assert {r.code for r in reports} == set(drive.codes)
    assert not {r.code for r in reports} & set(drive.codes_absent)
    if drive.fault_from_s is None:
        assert drive.root_cause is None
    else:
        seconds = (drive.recorded_to_ns - drive.recorded_from_ns) / 1e9
        assert 0.2 * seconds <= drive.fault_from_s <= 0.6 * seconds
        assert min(r.time_s for r in reports) >= drive.fault_from_s - 1e-6


@pytest.mark.parametrize("scenario", [s.name for s in SCENARIOS.values() if s.root_cause])
def test_a_drive_too_short_for_its_codes_is_refused(make_drive, scenario: str) -> None:
    with pytest.raises(BadSetting, match=rf"{scenario}.*{SCENARIOS[scenario].shortest_s:g}"):
        make_drive(scenario, seconds=SCENARIOS[scenario].shortest_s - 0.1)


@SETTINGS
@given(seed=seeds)
def test_oil_pressure_falls_then_the_derate_is_louder(make_drive, reports_of, read_can, seed: int) -> None:
    drive = make_drive("truck_oil_pressure", seed)
    reports = reports_of(drive)
    assert {r.ecu for r in reports} == {"SA 0x00"}
    seen = first_seen(reports)
    assert seen["SPN100/FMI1"] < seen["SPN1569/FMI31"]
    frames = read_can(drive)
    kpa = [(f.time_s, f.data[3] * 4) for f in frames if f.can_id >> 8 & 0xFFFF == 0xFEEF]
    assert min(p for t, p in kpa if t < drive.fault_from_s - 5) > 300
    assert max(p for t, p in kpa if t > drive.fault_from_s) < 100
    # Red stop lamp: bits 5 and 6 of byte 1 are 01 while the root cause is active (J1939-73 5.7.1.2).
    lamps = [(f.time_s, f.data[0] >> 4 & 3) for f in frames if f.can_id == 0x18FECA00]
    assert {lamp for t, lamp in lamps if t < drive.fault_from_s} == {0}
    assert {lamp for t, lamp in lamps if t > drive.fault_from_s} <= {1}


def test_the_derate_comes_and_goes(make_drive, reports_of) -> None:
    drive = make_drive("truck_oil_pressure", seconds=60)
    times = {code: [r.time_s for r in reports_of(drive) if r.code == code] for code in drive.codes}
    activations = {code: 1 + sum(b - a > 2 for a, b in itertools.pairwise(at)) for code, at in times.items()}
    assert activations["SPN100/FMI1"] == 1
    assert activations["SPN1569/FMI31"] >= 4


@SETTINGS
@given(seed=seeds)
def test_voltage_falls_and_one_unit_after_another_says_so(make_drive, reports_of, read_can, seed: int) -> None:
    drive = make_drive("truck_charging", seed)
    reports = reports_of(drive)
    assert {r.ecu for r in reports if r.code == "SPN167/FMI1"} == {"SA 0x00"}
    assert {r.ecu for r in reports if r.code == "SPN168/FMI18"} == {"SA 0x00", "SA 0x03", "SA 0x0B"}
    seen = first_seen(reports)
    assert seen["SPN167/FMI1"] < seen["SPN168/FMI18"]
    frames = read_can(drive)
    assert any(f.can_id == 0x1CECFF00 for f in frames), "two codes need a broadcast announcement"
    volts = [(f.time_s, (f.data[2] | f.data[3] << 8) * 0.05) for f in frames if f.can_id >> 8 & 0xFFFF == 0xFEF7]
    assert min(v for t, v in volts if t < drive.fault_from_s - 3) > 27
    assert max(v for t, v in volts if t > drive.fault_from_s + 4) < 24.5


@SETTINGS
@given(seed=seeds)
def test_the_misfire_is_seen_before_its_coil(make_drive, reports_of, seed: int) -> None:
    reports = reports_of(make_drive("car_misfire_coil", seed))
    assert {r.ecu for r in reports} == {"0x7E8"}
    seen = first_seen(reports)
    assert seen["P0301"] < seen["P0351"]
    assert seen["P0301"] < seen["P0300"]


@SETTINGS
@given(seed=seeds)
def test_a_broken_bus_is_reported_by_two_units_at_once(make_drive, reports_of, read_can, seed: int) -> None:
    drive = make_drive("car_bus_loss", seed)
    reports = reports_of(drive)
    assert {r.ecu for r in reports} == {"0x7E9", "0x7EA"}
    first = [min(r.time_s for r in reports if r.ecu == ecu) for ecu in ("0x7E9", "0x7EA")]
    assert abs(first[0] - first[1]) < 1
    after = {f.can_id for f in read_can(drive) if f.time_s > drive.fault_from_s + 0.1}
    assert not after & {0x0C0, 0x280, 0x3D0, 0x7E8}, "the engine is cut off"
    assert {0x1A0, 0x7DF, 0x7E9, 0x7EA} <= after, "the others are not"


@SETTINGS
@given(seed=seeds)
def test_a_lidar_loses_points_then_localization_is_louder(make_drive, reports_of, read_mcap, seed: int) -> None:
    drive = make_drive("av_lidar_dropout", seed)
    reports = reports_of(drive)
    seen, count = first_seen(reports), Counter(r.code for r in reports)
    assert seen["E101"] < seen["E301"]
    assert count["E301"] > count["E101"]
    assert {r.ecu for r in reports if r.code == "E101"} == {"lidar_driver", "lidar_top"}
    rates = [
        ((m.log_time_ns - drive.recorded_from_ns) / 1e9, m.content.data)
        for path in drive.files
        for m in read_mcap(path)
        if m.topic == "/lidar_top/point_rate"
    ]
    assert min(r for t, r in rates if t < drive.fault_from_s - 1e-6) > 580_000
    assert max(r for t, r in rates if t > drive.fault_from_s + 1e-6) < 370_000


@SETTINGS
@given(seed=seeds)
def test_a_computer_overheats_then_the_planner_is_louder(make_drive, reports_of, read_mcap, seed: int) -> None:
    drive = make_drive("av_compute_overheat", seed)
    reports = reports_of(drive)
    seen, count = first_seen(reports), Counter(r.code for r in reports)
    assert seen["E201"] < seen["E302"]
    assert count["E302"] > count["E201"]
    messages = [m for path in drive.files for m in read_mcap(path)]
    assert any(m.schema == "rcl_interfaces/msg/Log" and m.content.level == 50 for m in messages)
    levels = [
        int.from_bytes(s.level, "little") if isinstance(s.level, bytes) else s.level
        for m in messages
        if m.topic == "/diagnostics"
        for s in m.content.status
        if s.name == "cpu_temperature"
    ]
    assert levels == sorted(levels), "OK, then WARN, then ERROR"
    assert set(levels) == {0, 1, 2}


def test_healthy_units_still_report(make_drive, read_can) -> None:
    """No fault is a message, not silence: DM1 with SPN 0, and answers with a count of zero."""
    truck = read_can(make_drive("truck_healthy"))
    for address in (0x00, 0x03, 0x0B):
        bodies = [f.data for f in truck if f.can_id == 0x18FECA00 | address]
        assert len(bodies) in (29, 30, 31), "one a second"
        assert set(bodies) == {bytes([0, 0xFF, 0, 0, 0, 0, 0xFF, 0xFF])}
    car = read_can(make_drive("car_healthy"))
    for ecu in (0x7E8, 0x7E9, 0x7EA):
        assert {f.data[:3] for f in car if f.can_id == ecu and f.data[1] == 0x43} == {b"\x02\x43\x00"}


@pytest.mark.parametrize(
    ("code", "number"),
    [("P0301", 0x0301), ("P1234", 0x1234), ("C0035", 0x4035), ("B1A00", 0x9A00), ("U0100", 0xC100), ("U3FFF", 0xFFFF)],
)
def test_code_layout(code: str, number: int) -> None:
    """Examples of SAE J2012: letter in bits 15 and 14, first digit in 13 and 12."""
    assert int.from_bytes(dtc_bytes(code), "big") == number


@given(number=st.integers(0, 0xFFFF))
def test_code_layout_has_an_inverse(number: int) -> None:
    assert int.from_bytes(dtc_bytes(f"{'PCBU'[number >> 14]}{number & 0x3FFF:04X}"), "big") == number
