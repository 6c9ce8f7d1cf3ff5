"""The traffic of real units around the faults: transport, requests, names, clears, refusals, snapshots, distance."""

import numpy as np
import pytest
from udsoncan import Response
from udsoncan.services import ReadDTCInformation

from argus_assets.simulate.scenarios import SCENARIOS
from tests.support.wire_oracles import DM, Diagnostic, J1939Message, dtcs, isotp_messages, j1939_messages, j2012

LOGGER = 0xFB


@pytest.fixture(scope="module")
def j1939_of(make_drive, read_can):
    def read(scenario: str) -> list[J1939Message]:
        return list(j1939_messages(read_can(make_drive(scenario))))

    return read


@pytest.fixture(scope="module")
def diagnostics_of(make_drive, read_can):
    def read(scenario: str, **changes) -> list[Diagnostic]:
        return isotp_messages(read_can(make_drive(scenario, **changes)))

    return read


def test_every_unit_claims_its_address_with_its_name(j1939_of) -> None:
    claims = [m for m in j1939_of("truck_healthy") if m.pgn == 0xEE00]
    functions = {}
    for m in claims:
        assert m.destination == 0xFF
        # J1939-81 4.1.1, from the top: 1 arbitrary address, 3 industry group, 4 + 7 vehicle system, 1 reserved,
        # 8 function, 5 + 3 instances, 11 manufacturer, 21 identity.
        bits = f"{int.from_bytes(m.body, 'little'):064b}"
        assert (int(bits[0], 2), int(bits[1:4], 2), int(bits[15], 2)) == (0, 1, 0)
        assert int(bits[43:], 2) > 0
        functions[m.source] = int(bits[16:24], 2)
    assert (functions[0x00], functions[0x03], functions[0x0B]) == (0, 3, 9), "engine, transmission, brakes"
    assert len(claims) == len(functions) == 5


def test_stored_codes_come_by_a_connection_when_they_do_not_fit_a_frame(j1939_of) -> None:
    messages = j1939_of("truck_old_codes")
    asked = [m for m in messages if m.pgn == 0xEA00 and m.body == b"\xcb\xfe\x00"]
    answers = [m for m in messages if m.pgn == 0xFECB]
    assert {m.source for m in asked} == {LOGGER}
    assert len(answers) == len(asked) == 3 * 5, "each unit answers, in each of three rounds"
    engine = [m for m in answers if m.source == 0x00]
    assert all(m.connection and m.destination == LOGGER for m in engine)
    assert {tuple(dtcs(m.body)) for m in engine} == {("SPN110/FMI16", "SPN94/FMI18")}
    assert not any(dtcs(m.body) for m in messages if m.pgn == 0xFECA), "none of them is active"


def test_a_unit_that_does_not_know_a_request_says_so(j1939_of) -> None:
    refused = [m for m in j1939_of("truck_old_codes") if m.pgn == 0xE800]
    assert {m.source for m in refused} == {0x03, 0x17}
    assert {m.body for m in refused} == {bytes([1, 0xFF, 0xFF, 0xFF, LOGGER, 0xD4, 0xFE, 0x00])}
    assert not any(m.pgn == 0xFED4 and m.source in (0x03, 0x17) for m in j1939_of("truck_old_codes"))


def test_an_emission_code_is_in_dm12_and_others_are_not(j1939_of) -> None:
    messages = j1939_of("truck_particulate_filter")
    assert {c for m in messages if m.pgn == 0xFED4 for c in dtcs(m.body)} == {"SPN3251/FMI16"}
    assert {c for m in messages if m.pgn == 0xFECA for c in dtcs(m.body)} == {"SPN3251/FMI16", "SPN1569/FMI31"}


def test_a_cleared_code_goes_away_and_comes_back(make_drive, read_can) -> None:
    drive = make_drive("truck_nox_sensor_cleared", seconds=40)
    messages = list(j1939_messages(read_can(drive)))
    clears = [m.time_s for m in messages if m.pgn == 0xEA00 and m.body == b"\xd3\xfe\x00"]
    done = [m.time_s for m in messages if m.pgn == 0xE800 and m.body[0] == 0 and m.body[5:] == b"\xd3\xfe\x00"]
    assert len(clears) == len(done) >= 2
    assert all(0 < b - a < 0.1 for a, b in zip(clears, done, strict=True))
    dm1 = [(m.time_s, dtcs(m.body[:6])) for m in messages if m.pgn == 0xFECA and m.source == 0x3D]
    for at in clears[:-1]:
        assert [c for t, c in dm1 if at < t < at + 2] == [[], []]
        assert [c for t, c in dm1 if at + 4 < t < at + 6] == [["SPN3226/FMI9"]] * 2
    counts = {m.body[5] & 0x7F for m in messages if m.pgn == 0xFECA and m.source == 0x3D and m.body[2:4] != b"\x00\x00"}
    assert counts == set(range(1, len(counts) + 1)), "the occurrence count rises each time it comes back"


def test_a_silent_unit_sends_nothing_and_answers_nothing(make_drive, read_can) -> None:
    drive = make_drive("truck_brake_unit_silent")
    after = [f for f in read_can(drive) if f.time_s >= drive.fault_from_s]
    assert not [f for f in after if f.can_id & 0xFF == 0x0B]
    assert [f for f in after if f.can_id >> 8 & 0xFFFF == 0xEA0B], "though it is asked"


def test_distance_is_what_speed_adds_up_to(make_drive, read_can) -> None:
    """VDHR (PGN 65217, 5 m a bit) against CCVS1 (PGN 65265, 1/256 km/h a bit)."""
    frames = read_can(make_drive("truck_healthy", seconds=60))
    distance = [(f.time_s, int.from_bytes(f.data[:4], "little") * 5) for f in frames if f.can_id == 0x18FEC117]
    speed = [(f.time_s, int.from_bytes(f.data[1:3], "little") / 256) for f in frames if f.can_id == 0x18FEF100]
    metres = [m for _, m in distance]
    assert metres == sorted(metres)
    t, v = (np.array(column) for column in zip(*speed, strict=True))
    driven = float(np.sum(np.diff(t) * (v[1:] + v[:-1]) / 2 / 3.6))
    assert driven > 500
    assert metres[-1] - metres[0] == pytest.approx(driven, rel=0.03)


def test_the_lamp_and_the_count_agree_with_the_codes(diagnostics_of) -> None:
    messages = diagnostics_of("car_misfire_coil", seconds=60)
    engine = [m.message for m in messages if m.can_id == 0x7E8]
    listed = [(n, m[1]) for n, m in enumerate(engine) if m[0] == 0x43]
    counted = [(n, m[2]) for n, m in enumerate(engine) if m[:2] == b"\x41\x01"]
    assert len(counted) > 8
    for n, lamp_and_count in counted:
        before = [count for at, count in listed if at < n][-1]
        after = next((count for at, count in listed if at > n), before)
        assert lamp_and_count in {0x80 | c if c else 0 for c in (before, after)}, "it may be set between two questions"
    assert {0, 0x83} <= {value for _, value in counted}


def test_the_freeze_frame_is_that_of_its_code(diagnostics_of) -> None:
    messages = [m for m in diagnostics_of("car_air_flow") if m.message[0] == 0x42]
    pids = {m.message[1] for m in messages}
    assert pids == {0x02, 0x05, 0x0C, 0x0D}
    assert {j2012(m.message[3:]) for m in messages if m.message[1] == 0x02} == {"P0101"}
    assert len({m.message for m in messages if m.message[1] == 0x0D}) == 1, "frozen"


def test_a_permanent_code_and_29_bit_identifiers(diagnostics_of) -> None:
    messages = diagnostics_of("car_catalyst", seconds=40)
    assert {m.can_id for m in messages} >= {0x18DB33F1, 0x18DA10F1, 0x18DAF110, 0x18DAF118, 0x18DAF128}
    assert {m.message for m in messages if m.message[0] == 0x4A and m.message[1]} == {b"\x4a\x01\x04\x20"}


def test_a_pending_code_never_confirms_and_refusals_are_negative_responses(diagnostics_of) -> None:
    messages = diagnostics_of("car_noise")
    assert {m.message for m in messages if m.message[0] == 0x47 and m.can_id == 0x7E8} == {b"\x47\x01\x04\x42"}
    assert all(m.message == b"\x43\x00" for m in messages if m.message[0] == 0x43)
    responses = [Response.from_payload(m.message) for m in messages if m.message[0] == 0x7F]
    assert {r.code for r in responses} == {0x31, 0x11, 0x78}
    assert not any(r.positive for r in responses)
    pending = [n for n, m in enumerate(messages) if m.message == b"\x7f\x31\x78"]
    assert pending
    assert {messages[n + 1].message for n in pending} == {b"\x71\x01\x02\x03"}, "the true answer follows"


def test_uds_codes_with_status_snapshot_and_extended_data(diagnostics_of) -> None:
    messages = diagnostics_of("car_wheel_sensor", seconds=60)
    statuses = set()
    for m in messages:
        if m.message[:2] == b"\x59\x02":
            answer = ReadDTCInformation.interpret_response(Response.from_payload(m.message), subfunction=2)
            statuses |= {(d.id, d.status.get_byte_as_int()) for d in answer.service_data.dtcs}
    sensor = 0x40351F
    assert statuses == {(sensor, 0x2F), (sensor, 0x2E), (0x404062, 0x50)}, "failing, passed again, not tested"

    layouts = {0x0C01: ">H", 0x0C02: ">H"}
    speeds = set()
    for m in (m for m in messages if m.message[:5] == b"\x59\x04\x40\x35\x1f"):
        answer = ReadDTCInformation.interpret_response(
            Response.from_payload(m.message), subfunction=4, dtc_snapshot_did_size=2, didconfig=dict(layouts)
        )
        (dtc,) = answer.service_data.dtcs
        speed, volts = (s.data[0] if isinstance(s.data, tuple) else s.data for s in dtc.snapshots)
        assert volts == pytest.approx(14_100, abs=400)
        speeds.add(speed)
    assert len(speeds) == 1, "a snapshot is of the moment when the code was set"
    counters = {
        m.message[-1]
        for m in messages
        if m.message[:5] == b"\x59\x06\x40\x35\x1f"
        and ReadDTCInformation.interpret_response(Response.from_payload(m.message), subfunction=6, extended_data_size=1)
    }
    assert counters == set(range(1, max(counters) + 1))
    assert max(counters) >= 3


def test_a_tester_clears_and_the_unit_confirms(diagnostics_of) -> None:
    messages = diagnostics_of("car_transmission_sensor", seconds=60)
    requests = [m for m in messages if m.message == b"\x14\xff\xff\xff"]
    answers = [m for m in messages if m.message == b"\x54"]
    assert {m.can_id for m in requests} == {0x7E1}
    assert {m.can_id for m in answers} == {0x7E9}
    assert len(requests) == len(answers) >= 2
    assert sum(m.message == b"\x04" for m in messages) == len(requests)
    assert sum(m.message == b"\x44" for m in messages) == 3 * len(requests)


def test_bus_off_comes_after_passive_and_is_followed_by_a_restart(make_drive, read_can) -> None:
    drive = make_drive("car_bus_short", seconds=40)
    told = [(f.time_s, f.can_id & 0x1FF, f.data[6]) for f in read_can(drive) if f.error]
    off = [t for t, bits, _ in told if bits == 0x40]
    assert len(off) >= 3
    for at in off:
        assert any(at - 1.6 < t < at and bits & 0x04 and errors >= 128 for t, bits, errors in told)
        assert any(bits == 0x100 and at < t < at + 0.2 for t, bits, _ in told)


def test_a_lone_sender_repeats_itself_and_hears_nobody(make_drive, read_can) -> None:
    drive = make_drive("car_logger_alone")
    after = [f for f in read_can(drive) if f.time_s > drive.fault_from_s + 1]
    per_s = sum(f.error for f in after) / (30 - drive.fault_from_s - 1)
    assert per_s > 100
    assert {f.can_id for f in after if not f.error} <= {0x7DF}, "only the tester's own questions"


@pytest.mark.parametrize(
    ("topic", "schema", "per_s"),
    [
        ("/system/compute", "argus_msgs/msg/ComputeStatus", 10),
        ("/sensing/lidar/status", "argus_msgs/msg/LidarStatus", 10),
        ("/sensing/gnss/fix", "sensor_msgs/msg/NavSatFix", 5),
        ("/vehicle/speed", "std_msgs/msg/Float64", 50),
    ],
)
def test_topics_of_the_stack(make_drive, read_mcap, topic: str, schema: str, per_s: int) -> None:
    messages = [m for path in make_drive("av_healthy").files for m in read_mcap(path) if m.topic == topic]
    assert {m.schema for m in messages} == {schema}
    assert len(messages) == pytest.approx(30 * per_s, abs=2)


def test_a_receiver_without_a_fix_says_no_position(make_drive, read_mcap) -> None:
    drive = make_drive("av_gnss_lost", seconds=40)
    fixes = [m.content for path in drive.files for m in read_mcap(path) if m.topic == "/sensing/gnss/fix"]
    assert {f.status.status for f in fixes} == {-1, 2}
    assert all(np.isnan(f.latitude) == (f.status.status == -1) for f in fixes)
    latitudes = [f.latitude for f in fixes if f.status.status >= 0]
    assert latitudes == sorted(latitudes)
    assert latitudes[-1] - latitudes[0] > 100 / 111_320, "it moved"


def test_logs_that_only_name_a_code_stay_below_error(make_drive, read_mcap) -> None:
    logs = [
        m.content
        for path in make_drive("av_noise").files
        for m in read_mcap(path)
        if m.schema == "rcl_interfaces/msg/Log"
    ]
    named = [m for m in logs if any(code in m.msg for code in ("E101", "E201", "E302"))]
    assert len(named) > 8
    assert {m.level for m in logs} <= {20, 30}


@pytest.mark.parametrize("scenario", [s.name for s in SCENARIOS.values() if s.platform == "truck"])
def test_every_message_of_a_truck_keeps_the_transport_protocol(j1939_of, scenario: str) -> None:
    """The oracle asserts it frame by frame; here: nothing of it is left out."""
    messages = j1939_of(scenario)
    assert {DM[m.pgn] for m in messages if m.pgn in DM} == {"dm1", "dm2", "dm6", "dm12"}
    assert all(len(m.body) == 8 for m in messages if m.pgn not in (*DM, 0xEA00))
