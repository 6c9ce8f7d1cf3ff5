"""DM1 → events: an event is an inactive→active transition of one code of one ECU."""

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from argus_assets.faults.schema import ERROR_EVENTS

S = 1_000_000_000
NO_FAULT = "00ff00000000ffff"
OIL = "10ff640001 01ffff"  # red stop lamp, SPN 100, FMI 1
OIL_AMBER = "04ff64000101ffff"


def dm1(can, seconds, payload, address=0x00, **more):
    return can(round(seconds * S), 0x18FECA00 | address, bytes.fromhex(payload), **more)


def test_a_dm1_each_second_for_an_hour_is_one_event(can, can_table, find):
    events = find(can_table(dm1(can, n, OIL) for n in range(3600))).events
    assert events.height == 1
    event = events.row(0, named=True)
    assert (event["code"], event["ecu"], event["occurrence"]) == ("SPN100/FMI1", "SA 0x00", 1)
    assert (event["frame_count"], event["active_s"]) == (3600, 3599.0)
    assert (event["severity"], event["severity_rule"]) == ("critical", "lamp: red stop")
    assert (event["lamp_status"], event["occurrence_count"]) == ("red stop", 1)
    assert (event["recording"], event["frame"]) == ("drive.mf4", 0)
    assert event["payload_hex"] == OIL.replace(" ", "")


def test_off_and_on_again_are_two_occurrences(can, can_table, find):
    sent = [OIL] * 5 + [NO_FAULT] + [OIL] * 3
    events = find(can_table(dm1(can, n, payload) for n, payload in enumerate(sent))).events
    assert events["occurrence"].to_list() == [1, 2]
    assert events["frame_count"].to_list() == [5, 3]


@settings(deadline=None)
@given(states=st.lists(st.tuples(st.sampled_from(["on", "off", "missing"]), st.sampled_from([1, 9, 10, 11]))))
def test_events_are_the_rising_edges_of_a_state_machine(states, can, can_table, find):
    now, active, last, rising, reports = 0, False, 0, 0, 0
    frames = []
    for state, wait in states:
        now += wait
        if state == "missing":
            continue
        frames.append(dm1(can, now, OIL if state == "on" else NO_FAULT))
        if state == "on":
            rising += not active or now - last >= 10
            reports += 1
            last = now
        active = state == "on"
    events = find(can_table(frames)).events
    assert events.height == rising
    assert events["occurrence"].to_list() == list(range(1, rising + 1))
    assert events["frame_count"].sum() == reports
    assert events.schema == ERROR_EVENTS.schema


def test_ecus_and_channels_are_apart(can, can_table, find):
    frames = [dm1(can, n, OIL, address, channel=ch) for n in range(3) for address in (0, 3) for ch in ("CAN1", "CAN2")]
    # One ECU's "no fault" says nothing of another's.
    frames += [dm1(can, 1.5, NO_FAULT, 0x21)]
    events = find(can_table(sorted(frames))).events
    assert events.select("ecu", "channel", "frame_count").sort(pl.all()).rows() == [
        ("SA 0x00", "CAN1", 3), ("SA 0x00", "CAN2", 3), ("SA 0x03", "CAN1", 3), ("SA 0x03", "CAN2", 3),
    ]  # fmt: skip


def test_an_activation_across_recordings_is_one_event(can, can_table, find):
    first = can_table([dm1(can, n, OIL) for n in range(5)], "00000001.mf4")
    # The second part has a channel category of its own, and the parts come in any order.
    second = can_table([can(0, 1, b"", "CAN9"), *(dm1(can, n, OIL) for n in range(5, 9))], "00000002.mf4")
    events = find(pl.concat([second, first])).events
    assert events.select("frame_count", "recording", "frame").rows() == [(9, "00000001.mf4", 0)]


def test_the_worst_report_decides_the_severity_and_the_first_is_the_evidence(can, can_table, find):
    event = find(can_table([dm1(can, 0, OIL_AMBER), dm1(can, 1, OIL)])).events.row(0, named=True)
    assert (event["severity"], event["lamp_status"]) == ("critical", "red stop")
    assert (event["frame"], event["payload_hex"]) == (0, OIL_AMBER)


def test_error_and_remote_frames_are_no_dm1(can, can_table, find):
    frames = [dm1(can, 0, OIL, is_error_frame=True), dm1(can, 1, OIL, is_remote_frame=True)]
    assert find(can_table(frames)).events.filter(source="j1939_dm1").is_empty()


def test_unknown_frame_flags_mean_a_data_frame(can, can_table, find):
    assert find(can_table([dm1(can, 0, OIL, is_error_frame=None, is_remote_frame=None)])).events.height == 1


def test_other_data_pages_and_eleven_bits_are_no_dm1(can, can_table, find):
    payload = bytes.fromhex(OIL)
    frames = [can(0, 0x19FECA00, payload), can(1, 0x1AFECA00, payload), can(2, 0x7CA, payload)]
    assert find(can_table(frames)).events.is_empty()


def test_a_short_dm1_is_noted_and_changes_nothing(can, can_table, find):
    findings = find(can_table([dm1(can, 0, OIL), dm1(can, 1, "00ff00"), dm1(can, 2, OIL)]))
    assert findings.events["frame_count"].to_list() == [2]
    assert findings.notes == ("CAN1 SA 0x00: 1 DM1 frames are shorter than 6 bytes and were left out.",)


def test_an_older_spn_layout_is_reported_with_its_readings(can, can_table, find):
    # SPN 84 is 10 and the lowest three bits 4: in version 1 the high byte stands first, in version 2 the low byte.
    findings = find(can_table([dm1(can, n, "04ff000a8281ffff") for n in range(2)]))
    event = findings.events.row(0, named=True)
    assert (event["code"], event["occurrence_count"]) == ("SPN264704/FMI2", 1)
    assert event["details"] == [
        {"key": "spn_version_1", "value": "84"},
        {"key": "spn_version_2", "value": "20484"},
        {"key": "spn_version_3", "value": "264704"},
    ]
    assert "264704, or 84 or 20484" in event["message"]
    assert len(findings.notes) == 1
    assert findings.notes[0].startswith("CAN1 SA 0x00: 1 codes use an older SPN layout (conversion method 1)")


def test_no_frames_give_an_empty_table(find):
    findings = find()
    assert findings.events.schema == ERROR_EVENTS.schema
    assert findings.events.is_empty()
    assert findings.notes == ()


def test_the_dictionary_does_not_judge_an_spn_in_doubt(can, can_table, find):
    # SPN 110 with FMI 0, a critical code of the dictionary, from an ECU that knows no lamps.
    known, in_doubt = "ffff6e000001ffff", "ffff6e000081ffff"
    events = find(can_table([dm1(can, 0, known), dm1(can, 0, in_doubt, address=3)])).events
    assert events.select("ecu", "severity").rows() == [("SA 0x00", "critical"), ("SA 0x03", "warning")]
