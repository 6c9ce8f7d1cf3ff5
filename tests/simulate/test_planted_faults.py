"""The planted faults stand in the recorded bytes, no others do, and the signals tell the same story.

Oracles read the bytes (`wire_oracles`): libraries of other people, and loops over frames from the standards.
"""

import itertools
from collections import Counter

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from argus_assets.errors import BadSetting
from argus_assets.simulate.obd import dtc_bytes
from argus_assets.simulate.scenarios import SCENARIOS
from tests.support.wire_oracles import Report, level_of

SETTINGS = settings(max_examples=2, deadline=None, suppress_health_check=[HealthCheck.too_slow])
seeds = st.integers(0, 2**32)

READABLE = [s.name for s in SCENARIOS.values() if s.damage is None or s.damage.kind == "missing_tail"]
"""The official readers stop at damage."""

ALSO_SEEN = {
    "car_transmission_sensor": {"P0730-64"},  # comes and goes between two questions of the tester
    "car_bus_short": {"CAN_STUFF_ERROR", "CAN_RESTARTED"},
    "car_logger_alone": {"CAN_SILENT"},  # a bus that is gone as a whole need not be told sender by sender
    "av_vehicle_bus_disturbed": {"CAN_STUFF_ERROR"},
}
"""Codes that need not be found, and may be."""

FROM_THE_BEGINNING = {"truck_air_filter_pending"}
"""A code that has nothing to do with the fault is there before it."""


def first_seen(reports: list[Report]) -> dict[str, float]:
    seen: dict[str, float] = {}
    for r in reports:
        seen.setdefault(r.code, r.time_s)
    return seen


@pytest.mark.parametrize("scenario", READABLE)
def test_exactly_the_planted_codes_are_on_the_wire(make_drive, reports_of, scenario: str) -> None:
    """In the shortest drive, where they have the least time to appear."""
    drive = make_drive(scenario, seed=11, seconds=SCENARIOS[scenario].shortest_s)
    reports = reports_of(drive)
    found = {r.code for r in reports}
    assert set(drive.codes) <= found <= set(drive.codes) | ALSO_SEEN.get(scenario, set())
    assert not found & set(drive.codes_absent)
    if drive.fault_from_s is None:
        assert drive.root_cause is None
    elif scenario not in FROM_THE_BEGINNING:
        # A message that stops was last heard up to its period before.
        assert min(r.time_s for r in reports) >= drive.fault_from_s - 1.1


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


@pytest.mark.parametrize(
    ("scenario", "code", "at_least"),
    [
        ("truck_oil_pressure", "SPN1569/FMI31", 4),
        ("truck_coolant_sensor", "SPN110/FMI3", 4),
        ("truck_wheel_sensor", "SPN789/FMI8", 5),
    ],
)
def test_intermittent_codes_come_and_go(make_drive, reports_of, scenario: str, code: str, at_least: int) -> None:
    drive = make_drive(scenario, seconds=60)
    times = [r.time_s for r in reports_of(drive) if (r.source, r.code) == ("dm1", code)]
    assert 1 + sum(b - a > 1.5 for a, b in itertools.pairwise(times)) >= at_least


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
    reports = [r for r in reports_of(drive) if r.source == "obd03"]
    assert {r.ecu for r in reports} == {"0x7E9", "0x7EA"}
    first = [min(r.time_s for r in reports if r.ecu == ecu) for ecu in ("0x7E9", "0x7EA")]
    assert abs(first[0] - first[1]) < 1
    after = {f.can_id for f in read_can(drive) if f.time_s > drive.fault_from_s + 0.1}
    assert not after & {0x0C0, 0x280, 0x3D0, 0x7E8}, "the engine is cut off"
    assert {0x1A0, 0x7DF, 0x7E9, 0x7EA} <= after, "the others are not"


@pytest.mark.parametrize(
    ("scenario", "cause", "louder"),
    [
        ("av_lidar_dropout", "E101", "E301"),
        ("av_compute_overheat", "E201", "E302"),
        ("av_memory_leak", "E202", "E302"),
        ("av_gnss_lost", "E303", "E301"),
        ("av_imu_implausible", "E304", "E301"),
    ],
)
def test_the_cause_comes_first_and_its_consequence_is_louder(
    make_drive, reports_of, scenario: str, cause: str, louder: str
) -> None:
    reports = [r for r in reports_of(make_drive(scenario)) if r.source != "rule"]
    seen, logged = first_seen(reports), Counter(r.code for r in reports if r.source == "log")
    assert seen[cause] < seen[louder]
    assert logged[louder] > 2 * logged[cause]


@SETTINGS
@given(seed=seeds)
def test_a_lidar_loses_its_points_when_its_packets_are_lost(make_drive, read_mcap, seed: int) -> None:
    drive = make_drive("av_lidar_dropout", seed)
    rates = [
        ((m.log_time_ns - drive.recorded_from_ns) / 1e9, m.content)
        for path in drive.files
        for m in read_mcap(path)
        if m.topic == "/sensing/lidar/status"
    ]
    before = [m for t, m in rates if t < drive.fault_from_s - 1e-6]
    after = [m for t, m in rates if t > drive.fault_from_s + 1e-6]
    assert min(m.points_per_second for m in before) > 580_000
    assert max(m.points_per_second for m in after) < 370_000
    assert max(m.packet_loss_pct for m in before) < 1 < 30 < min(m.packet_loss_pct for m in after)


def test_diagnostics_of_an_overheating_computer_get_worse(make_drive, read_mcap) -> None:
    messages = [m for path in make_drive("av_compute_overheat").files for m in read_mcap(path)]
    assert any(m.schema == "rcl_interfaces/msg/Log" and m.content.level == 50 for m in messages)
    levels = [
        level_of(s)
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


@given(number=st.integers(0, 0xFFFF), failure_type=st.integers(0, 0xFF))
def test_code_layout_has_an_inverse(number: int, failure_type: int) -> None:
    code = f"{'PCBU'[number >> 14]}{number & 0x3FFF:04X}"
    assert int.from_bytes(dtc_bytes(code), "big") == number
    assert dtc_bytes(f"{code}-{failure_type:02X}") == dtc_bytes(code) + bytes([failure_type])
