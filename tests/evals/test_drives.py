"""Drives of stories: what other people's libraries read in them, by hand-written expectations, and what Argus finds."""

import ast
from itertools import pairwise, product
from pathlib import Path

import can
import numpy as np
import pytest
from mcap.reader import make_reader
from mcap_ros2.decoder import DecoderFactory

from argus_assets.diagnosis.local import read_files
from argus_assets.faults.config import default_config
from evals import drives
from evals.drives import bus, files, j1939, tester
from evals.drives.build import build_drive, cached_drive, drive_key
from evals.drives.traffic import ERROR, EXTENDED, Frames
from evals.story import Read, Story, Trouble
from tests.support import wire_oracles as wire
from tests.support.story_parts import missing_parts

BASE = {
    "source": "A maker's bulletin, number 1", "source_key": "maker-bulletin-1", "grade": "A", "kind": "fault",
    "title": "A story that is only an example", "cause": "There is none at all.", "accept": ["x"], "root": ["SPN110/*"],
    "severity": ["error"], "drivable": ["no"], "seconds": 60,
}  # fmt: skip

TRUCK = {
    "platform": "truck",
    "trouble": [
        {"at": 12, "unit": 0, "spn": 110, "fmi": 3, "lamp": ["amber"]},
        {"at": 12, "unit": 0, "spn": 174, "fmi": 3, "count": 4},
        {"at": 20, "until": 30, "unit": 0, "spn": 520_200, "fmi": 31, "lamp": ["red", "mil", "protect"]},
        {"at": 0, "unit": 0x0B, "spn": 789, "fmi": 8},
        {"at": 25, "unit": 3, "spn": 191, "fmi": 9, "previous": True},
        {"at": 25, "unit": 3, "spn": 161, "fmi": 2, "previous": True},
    ],
    "silence": [{"at": 35, "until": 48, "unit": 3, "reset": True}],
    "clear": [{"at": 55, "unit": 0x0B, "by": "dm11"}],
    "signal": [{"name": "engine_speed", "points": [[0, 600], [60, 600]]}, {"name": "oil_pressure", "points": [[0, 80]]}],
}  # fmt: skip

CAR = {
    "platform": "car",
    "read": [
        {"at": 10, "unit": 0x7E8, "service": "03", "codes": ["P0301", "P0420", "P0171"], "mil": True,
         "freeze": {"engine_speed": 2400, "coolant_temperature": 88}},
        {"at": 10, "unit": 0x7E9, "service": "03"},
        {"at": 10, "unit": 0x7E8, "service": "07", "codes": ["P0302"]},
        {"at": 12, "unit": 0x7E8, "service": "0A", "codes": ["P0301"]},
        {"at": 15, "unit": 0x7E8, "service": "19", "codes": ["P0301-00:2F", "U0121-87:08", "C0035-62:24"]},
        {"at": 15, "unit": 0x768, "service": "19", "codes": ["C0040-71:2F"]},
    ],
    "clear": [{"at": 20, "unit": 0x7E8, "by": "obd"}, {"at": 22, "unit": 0x768, "by": "uds"},
              {"at": 24, "unit": 0x768, "by": "uds", "refused": True}],
    "refusal": [{"at": 27, "unit": 0x7E8, "service": 0x22, "reason": 0x31, "times": 3}],
    "silence": [{"at": 32, "until": 44, "unit": 0x768}],
    "programming": [{"at": 46, "unit": 0x7E9, "seconds": 10}],
    "signal": [{"name": "short_fuel_trim_1", "points": [[0, 25], [60, 25]]}],
}  # fmt: skip

AV = {
    "platform": "av",
    "log": [
        {"at": 10, "node": "velodyne_driver_node", "level": "error", "text": "Velodyne poll() timeout {n}", "times": 3},
        {"at": 12.5, "node": "controller_server", "level": "warn", "text": "Control loop missed its desired rate"},
    ],
    "diagnostic": [
        {"at": 12, "until": 40, "name": "velodyne: topic status", "level": "error", "message": "No events recorded.",
         "values": {"Events in window": "0"}},
        {"at": 20, "name": "cpu usage", "level": "warn", "message": "high load"},
    ],
    "trouble": [{"at": 5, "unit": 0, "spn": 168, "fmi": 1}],
    "bus_errors": [{"at": 30, "until": 34, "rate": 40, "bus_off": True}],
}  # fmt: skip


def story(*parts: dict) -> Story:
    return Story.model_validate({key: value for part in (BASE, *parts) for key, value in part.items()})


def frames_of(told: Story) -> list[wire.Frame]:
    made = bus.frames_of(told, np.random.default_rng(7))
    return [
        wire.Frame(time, can_id & 0x1FFFFFFF, bool(can_id & EXTENDED), payload, bool(can_id & ERROR))
        for time, can_id, payload in made.rows()
    ]


@pytest.mark.parametrize("suffix", files.FORMATS)
def test_each_format_holds_the_frames_as_python_can_reads_them(tmp_path: Path, suffix: str) -> None:
    made = bus.frames_of(story(CAR, {"bus_errors": [{"at": 5, "until": 6, "rate": 10}]}), np.random.default_rng(1))
    path = tmp_path / f"a.{suffix}"
    files.write(made, path, 1_795_000_000)
    with can.LogReader(path, **({"relative_timestamp": False} if suffix == "asc" else {})) as reader:
        read = list(reader)
    wanted = list(made.rows())
    assert len(read) == len(wanted)
    # asammdf gives error frames after data frames of the same moment.
    assert sum(m.is_error_frame for m in read) == sum(bool(i & ERROR) for _, i, _ in wanted) > 0
    data = [m for m in read if not m.is_error_frame]
    expected = [row for row in wanted if not row[1] & ERROR]
    assert [(m.arbitration_id, m.is_extended_id, bytes(m.data)) for m in data] == [
        (i & 0x1FFFFFFF, bool(i & EXTENDED), payload) for _, i, payload in expected
    ]
    begin = data[0].timestamp - expected[0][0]
    assert [m.timestamp - begin for m in data] == pytest.approx([time for time, _, _ in expected], abs=2e-6)


def test_bytes_of_trouble_codes_by_hand() -> None:
    amber = Trouble(at=0, unit=0, spn=110, fmi=3, lamp=("amber",))
    assert j1939.list_bytes([amber]) == bytes.fromhex("04 FF 6E 00 03 01")
    assert j1939.list_bytes([]) == bytes.fromhex("00 FF 00 00 00 00")
    # 520200 = 0x7F008: low byte, middle byte, upper three bits above the FMI.
    high = Trouble(at=0, unit=0, spn=520_200, fmi=31, count=126, lamp=("red", "mil", "protect"))
    assert j1939.list_bytes([high, amber]) == bytes.fromhex("55 FF 08 F0 FF 7E 6E 00 03 01")
    assert tester.code_bytes("P0301") + tester.code_bytes("U0121") == bytes.fromhex("0301 C121")
    assert tester.uds_bytes("C0040-71:2F") == bytes.fromhex("4040 71 2F")
    assert j1939.identifier(61444, 0, priority=3) == 0x0CF00400 | EXTENDED
    assert j1939.identifier(0xEA00, 0xF9, to=0x0B) == 0x18EA0BF9 | EXTENDED
    assert tester.high_voltage_bytes(362, -24.5) == bytes.fromhex("07 00 5A 80 FF 0B")


def test_answers_stand_where_their_requests_are_expected() -> None:
    assert tester.pair(0x7E8) == (0x7E0, 0x7E8)
    assert tester.pair(0x18DAF110) == (0x18DA10F1 | EXTENDED, 0x18DAF110 | EXTENDED)
    assert tester.pair(0x0B) == (0x18DA0BF1 | EXTENDED, 0x18DAF10B | EXTENDED)


def test_heavy_traffic_as_a_strict_reading_of_j1939_has_it() -> None:
    told = story(TRUCK, {"silence": []})
    messages = list(wire.j1939_messages(frames_of(told)))
    reports = wire.dm_reports(frames_of(told))
    assert {(r.source, r.ecu, r.code) for r in reports} == {
        ("dm1", "SA 0x00", "SPN110/FMI3"), ("dm1", "SA 0x00", "SPN174/FMI3"), ("dm1", "SA 0x00", "SPN520200/FMI31"),
        ("dm1", "SA 0x0B", "SPN789/FMI8"), ("dm2", "SA 0x03", "SPN191/FMI9"), ("dm2", "SA 0x03", "SPN161/FMI2"),
    }  # fmt: skip
    times = [r.time_s for r in reports if r.code == "SPN520200/FMI31"]
    assert 20 <= times[0] < 20.3
    assert 28.9 < times[-1] <= 31
    # Three codes at once: lamps of all of them.
    whole = next(m for m in messages if m.pgn == 0xFECA and 22 < m.time_s < 29 and m.source == 0)
    assert whole.body == bytes.fromhex("55 FF 6E 00 03 01 AE 00 03 04 08 F0 FF 01")
    # A unit without codes says so once a second.
    assert sum(m.pgn == 0xFECA and m.source == 0x17 for m in messages) in (58, 59, 60)
    # 600 rpm at 1/8 rpm; 80 kPa at 4 kPa; coolant of a circuit that is high is an error.
    by_pgn = {m.pgn: m.body for m in messages if m.source == 0 and m.time_s > 40}
    assert by_pgn[61444][3:5] == (4800).to_bytes(2, "little")
    assert by_pgn[65263][3] == 20
    assert by_pgn[65262][0] == 0xFE
    assert {m.source for m in messages if m.pgn == 0xEE00} == {0, 3, 0x0B, 0x17}
    refused = story(TRUCK, {"clear": [{"at": 55, "unit": 11, "by": "dm11", "refused": True}]})
    for one, control in ((told, 0), (refused, 1)):
        answer = next(m for m in wire.j1939_messages(frames_of(one)) if m.pgn == 0xE800)
        assert (answer.source, answer.body) == (0x0B, bytes((control, 0xFF, 0xFF, 0xFF, 0xF9, 0xD3, 0xFE, 0x00)))


def test_a_code_that_comes_again_was_away_in_between() -> None:
    twice = [{"at": 10, "unit": 0, "spn": 168, "fmi": 1}, {"at": 40, "unit": 0, "spn": 168, "fmi": 1, "count": 2}]
    messages = list(wire.j1939_messages(frames_of(story(TRUCK, {"trouble": twice, "silence": []}))))
    told = [m for m in messages if m.pgn == 0xFECA and m.source == 0]
    by_time = {count: [m.time_s for m in told if m.body[2:6] == bytes((168, 0, 1, count))] for count in (1, 2)}
    assert 10 <= by_time[1][0] < by_time[1][-1] < 25
    assert 40 <= by_time[2][0] < by_time[2][-1] < 60
    assert [m for m in told if m.body[2:6] == bytes(4) and 26 < m.time_s < 39]


def test_a_silent_unit_sends_nothing_and_claims_its_address_when_it_is_back() -> None:
    made = frames_of(story(TRUCK))
    assert not [f for f in made if f.can_id & 0xFF == 3 and 35 <= f.time_s < 48]
    back = next(f for f in made if f.can_id & 0xFF == 3 and f.time_s >= 48)
    assert back.can_id >> 8 & 0x3FF00 == 0xEE00


def test_dialogues_as_can_isotp_and_udsoncan_read_them() -> None:
    made = frames_of(story(CAR))
    messages = wire.isotp_messages(f for f in made if f.can_id in (0x7E0, 0x7E1, 0x7E8, 0x7E9, 0x7DF))
    assert {(r.source, r.ecu, r.code) for r in wire.obd_reports(messages)} == {
        ("obd03", "0x7E8", "P0301"), ("obd03", "0x7E8", "P0420"), ("obd03", "0x7E8", "P0171"),
        ("obd07", "0x7E8", "P0302"), ("obd0a", "0x7E8", "P0301"),
    }  # fmt: skip
    assert {(r.ecu, r.code) for r in wire.uds_reports(messages)} == {
        ("0x7E8", "P0301-00"), ("0x7E8", "U0121-87"), ("0x7E8", "C0035-62"),
    }  # fmt: skip
    told = {(m.can_id, m.message) for m in messages}
    assert (0x7DF, b"\x03") in told
    assert (0x7E9, b"\x43\x00") in told, "the other unit has no codes"
    assert (0x7E8, bytes.fromhex("41 01 83 07 E5 00")) in told, "lamp on, three codes"
    assert (0x7E8, bytes.fromhex("42 0C 00 25 80")) in told, "2400 rpm in the freeze frame"
    assert (0x7E8, bytes.fromhex("41 06 A0")) in told, "25% of trim"
    assert (0x7E8, b"\x44") in told
    session = [m.message for m in messages if m.can_id == 0x7E1 and m.time_s >= 46]
    assert [m[0] for m in session if m[0] != 0x36] == [
        0x10,
        0x85,
        0x28,
        0x10,
        0x27,
        0x27,
        0x31,
        0x34,
        0x37,
        0x31,
        0x11,
    ]
    blocks = [m for m in session if m[0] == 0x36]
    assert [m[1] for m in blocks] == [n & 0xFF for n in range(1, len(blocks) + 1)]
    assert len(blocks) > 10
    assert not [f for f in made if f.can_id == 0x768 and 32 <= f.time_s < 44]


def test_reads_of_one_moment_are_one_request_to_all() -> None:
    requests = [f for f in frames_of(story(CAR)) if f.can_id == 0x7DF and f.data[1] == 3]
    assert len(requests) == 1
    later = Read(at=40, unit=0x7E9, service="03", codes=("P0700",))
    apart = story(CAR, {"read": [{"at": 10, "unit": 0x7E8, "service": "03", "codes": ["P0301"]}, later.model_dump()]})
    made = frames_of(apart)
    assert not [f for f in made if f.can_id == 0x7DF and f.data[1] == 3], "each keeps its list for its time"
    assert {f.can_id for f in made if f.data[:2] == b"\x01\x03"} == {0x7E0, 0x7E1}


def test_a_bus_that_is_off_carries_nothing() -> None:
    made = frames_of(story(AV))
    codes = {r.code for r in wire.error_reports(f for f in made if f.error and f.can_id in (0x40, 0x100))}
    assert codes == {"CAN_BUSOFF", "CAN_RESTARTED"}
    off = next(f.time_s for f in made if f.error and f.can_id == 0x40)
    assert not [f for f in made if off < f.time_s < 34]
    assert [f for f in made if f.time_s > 34 and not f.error]


def test_a_stack_as_mcap_ros2_support_reads_it(tmp_path: Path) -> None:
    paths = build_drive("av/example", story(AV), tmp_path)
    assert [p.name for p in paths] == ["can.log", "stack.mcap"]
    with paths[1].open("rb") as file:
        messages = [
            (channel.topic, content)
            for _, channel, _, content in make_reader(
                file, decoder_factories=[DecoderFactory()]
            ).iter_decoded_messages()
        ]
    logs = [content for topic, content in messages if topic == "/rosout"]
    assert [(m.name, m.level, m.msg) for m in logs if m.level > 20] == [
        ("velodyne_driver_node", 40, "Velodyne poll() timeout 1"),
        ("velodyne_driver_node", 40, "Velodyne poll() timeout 2"),
        ("velodyne_driver_node", 40, "Velodyne poll() timeout 3"),
        ("controller_server", 30, "Control loop missed its desired rate"),
    ]
    states = [
        (wire.level_of(status), status.message)
        for topic, content in messages if topic == "/diagnostics"
        for status in content.status if status.name == "velodyne: topic status"
    ]  # fmt: skip
    assert [level for level, _ in states] == [0] * 12 + [2] * 29 + [0] * 19
    assert {message for _, message in states} == {"OK", "No events recorded."}
    assert sum(topic == "/tf" for topic, _ in messages) == 300


@pytest.mark.parametrize("kind", ["cloud", "scan", "image", "fix", "header"])
def test_a_topic_of_a_stack_falls_silent_lags_and_follows_the_clock(tmp_path: Path, kind: str) -> None:
    told = story({
        "platform": "av",
        "topic": [
            {"at": 20, "until": 30, "name": "/sensor", "kind": kind, "rate": 10, "then": 0},
            {"at": 40, "until": 50, "name": "/sensor", "kind": kind, "rate": 10, "then": 2, "behind": 37},
        ],
        "clock_step": [{"at": 55, "seconds": -8}],
    })  # fmt: skip
    build_drive("av/topics", told, tmp_path)
    with (tmp_path / "stack.mcap").open("rb") as file:
        read = [
            (message.log_time / 1e9, content if kind == "header" else content.header)
            for _, channel, message, content in make_reader(
                file, decoder_factories=[DecoderFactory()]
            ).iter_decoded_messages(log_time_order=False)
            if channel.topic == "/sensor"
        ]
    begin = int(read[0][0])
    times = [at - begin for at, _ in read]
    lags = [at - header.stamp.sec - header.stamp.nanosec / 1e9 for at, header in read]
    assert not [t for t in times if 20 < t < 30]
    assert sum(t < 20 for t in times) == pytest.approx(200, abs=3)
    assert sum(40 <= t < 50 for t in times) == pytest.approx(20 + 30, abs=3), "slow, and once more after the step back"
    assert {round(lag) for lag in lags} == {0, 37}
    assert [round(later - sooner) for sooner, later in pairwise(times) if later < sooner] == [-8]


@pytest.mark.parametrize(("name", "parts"), [*product([f"truck/{n}" for n in range(3)], [TRUCK]), ("car/1", CAR), ("car/2", CAR), ("av/1", AV)])  # fmt: skip
def test_argus_finds_every_part(tmp_path: Path, name: str, parts: dict) -> None:
    told = story(parts)
    made = build_drive(name, told, tmp_path)
    read = read_files([(p.name, p, True) for p in made], faults=default_config())
    assert read.vehicle_platform == told.platform
    assert read.notes == ()
    assert read.problems.is_empty()
    begins = read.recordings["first_timestamp"].min().replace(microsecond=0)
    assert missing_parts(told, read.events, begins) == []


def test_a_drive_is_the_same_whenever_it_is_built(tmp_path: Path) -> None:
    told = story(CAR)
    first, second = (bus.frames_of(told, np.random.default_rng(3)) for _ in range(2))
    assert isinstance(first, Frames)
    assert np.array_equal(first.data, second.data)
    assert np.array_equal(first.times, second.times)
    paths = cached_drive("car/x", told, tmp_path)
    stamp = paths[0].stat().st_mtime_ns
    assert cached_drive("car/x", told, tmp_path)[0].stat().st_mtime_ns == stamp
    answer = told.model_copy(update={"accept": ("y",), "cause": "Another one entirely."})
    assert drive_key("car/x", answer) == drive_key("car/x", told), "the answer is no part of the drive"
    assert drive_key("car/x", told.model_copy(update={"seconds": 61.0})) != drive_key("car/x", told)


def test_all_formats_occur(tmp_path: Path) -> None:
    short = story({"platform": "car", "seconds": 20, "read": [{"at": 1, "unit": 0x7E8, "service": "03"}]})
    suffixes: set[str] = set()
    for number in range(20):
        folder = tmp_path / str(number)
        folder.mkdir()
        suffixes |= {path.suffix for path in build_drive(f"car/{number}", short, folder)}
    assert suffixes == {f".{name}" for name in files.FORMATS}


def test_the_generator_shares_no_code_with_argus() -> None:
    for path in Path(next(iter(drives.__path__))).glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            assert not any(name.startswith("argus_assets") for name in names), path
