"""CAN error frames → events: python loops over linux/can/error.h as the oracle."""

import re
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from argus_assets.faults.can_bus import errors as can_errors
from argus_assets.faults.can_bus.errors import LONGEST_GAP_NS, MANY
from argus_assets.faults.config import default_config
from argus_assets.recordings import can_errors as socketcan
from tests.support.empty_drive import EMPTY_DRIVE

S = 1_000_000_000
HEADER = Path("/usr/include/linux/can/error.h")


def found_in(frames):
    rows = can_errors.wanted(frames, default_config()).collect()
    return can_errors.find(EMPTY_DRIVE, rows, default_config())


def events_of(can, can_table, *errors, channel="CAN1"):
    frames = [can(round(at * S), bits, bytes(data), channel, is_error_frame=True) for at, bits, data in errors]
    return found_in(can_table(frames)).events.sort("first_seen", "code")


def data(**at) -> list[int]:
    """Eight bytes, zero but for `b1=…`."""
    return [at.get(f"b{i}", 0) for i in range(8)]


@pytest.mark.skipif(not HEADER.exists(), reason="no Linux headers (Debian: linux-libc-dev)")
def test_the_bits_are_those_of_the_kernel():
    text = HEADER.read_text()
    kernel = {name: int(value, 16) for name, value in re.findall(r"#define (CAN_ERR_\w+)\s+(0x[0-9A-Fa-f]+)", text)}
    ours = {
        "TX_TIMEOUT": "TX_TIMEOUT", "LOST_ARBITRATION": "LOSTARB", "CONTROLLER": "CRTL", "PROTOCOL": "PROT", "TRANSCEIVER": "TRX",
        "NO_ACK": "ACK", "BUS_OFF": "BUSOFF", "BUS_ERROR": "BUSERROR", "RESTARTED": "RESTARTED", "COUNTERS": "CNT",
        "RX_OVERFLOW": "CRTL_RX_OVERFLOW", "TX_OVERFLOW": "CRTL_TX_OVERFLOW", "RX_WARNING": "CRTL_RX_WARNING",
        "TX_WARNING": "CRTL_TX_WARNING", "RX_PASSIVE": "CRTL_RX_PASSIVE", "TX_PASSIVE": "CRTL_TX_PASSIVE",
        "BACK_TO_ACTIVE": "CRTL_ACTIVE", "BIT": "PROT_BIT", "FORM": "PROT_FORM", "STUFF": "PROT_STUFF",
        "BIT_DOMINANT": "PROT_BIT0", "BIT_RECESSIVE": "PROT_BIT1", "OVERLOAD": "PROT_OVERLOAD", "TRANSMITTING": "PROT_TX",
        "AT_CRC": "PROT_LOC_CRC_SEQ", "AT_CRC_DELIMITER": "PROT_LOC_CRC_DEL", "AT_ACK": "PROT_LOC_ACK",
        "AT_ACK_DELIMITER": "PROT_LOC_ACK_DEL",
    }  # fmt: skip
    for name, theirs in ours.items():
        assert getattr(socketcan, name) == kernel[f"CAN_ERR_{theirs}"], name
    places = {value for name, value in kernel.items() if name.startswith("CAN_ERR_PROT_LOC_") and value}
    assert set(socketcan.LOCATIONS) == places


@pytest.mark.parametrize(
    ("bits", "payload", "codes"),
    [
        (0x040, data(), {"CAN_BUSOFF"}),
        (0x004, data(b1=0x20), {"CAN_ERROR_PASSIVE"}),
        (0x004, data(b1=0x14), {"CAN_ERROR_PASSIVE"}),
        (0x004, data(b1=0x08), {"CAN_ERROR_WARNING"}),
        (0x204, data(b1=0x40), set()),
        (0x004, data(b1=0x01), {"CAN_OVERFLOW"}),
        (0x088, data(b2=0x01), {"CAN_BIT_ERROR"}),
        (0x088, data(b2=0x90, b3=0x0A), {"CAN_BIT_ERROR"}),
        (0x088, data(b2=0x02, b3=0x1B), {"CAN_FORM_ERROR"}),
        (0x088, data(b2=0x04, b3=0x08), {"CAN_STUFF_ERROR"}),
        (0x088, data(b3=0x08), {"CAN_CRC_ERROR"}),
        (0x088, data(b3=0x19), {"CAN_ACK_ERROR"}),
        (0x0A8, data(b3=0x19), {"CAN_ACK_ERROR"}),
        (0x008, data(b2=0x20), {"CAN_OVERLOAD"}),
        (0x020, data(), {"CAN_ACK_ERROR"}),
        (0x002, data(b0=5), {"CAN_ARBITRATION_LOST"}),
        (0x001, data(), {"CAN_TX_TIMEOUT"}),
        (0x010, data(b4=0x44), {"CAN_TRANSCEIVER"}),
        (0x100, data(), {"CAN_RESTARTED"}),
        (0x200, data(b6=3), set()),
        (0x080, data(), {"CAN_ERROR"}),
        (0x088, data(), {"CAN_ERROR"}),
        (0x000, [], {"CAN_ERROR"}),
        (0x0CC, data(b1=0x20, b2=0x06), {"CAN_BUSOFF", "CAN_FORM_ERROR", "CAN_STUFF_ERROR"}),
    ],
)
def test_every_class_has_its_code(bits, payload, codes, can, can_table):
    assert set(events_of(can, can_table, (0, bits, payload))["code"]) == codes


@settings(deadline=None)
@given(bits=st.integers(0, 2**29 - 1), payload=st.binary(max_size=12))
def test_any_error_frame_is_read_and_reports_something(can, can_table, bits, payload):
    events = events_of(can, can_table, (0, bits, payload))
    says_well = (
        bits == socketcan.COUNTERS
        or bits & socketcan.RESTARTED
        or (bits & socketcan.CONTROLLER and payload[1:2] and payload[1] & 0x40)
    )
    assert events.height or says_well
    assert events["code"].is_unique().all()
    assert set(events["code"]) <= set(can_errors.RULES)
    padded = events_of(can, can_table, (0, bits, payload.ljust(8, b"\0")))
    assert padded.drop("payload_hex").equals(events.drop("payload_hex"))


def reported_by(class_bits: int, payload: bytes) -> tuple[set[str], str | None]:
    """Codes and state of an error frame, bit by bit."""
    data = payload[:8].ljust(8, b"\0")
    single = (
        (0x01, "CAN_TX_TIMEOUT"),
        (0x02, "CAN_ARBITRATION_LOST"),
        (0x10, "CAN_TRANSCEIVER"),
        (0x100, "CAN_RESTARTED"),
    )
    codes = {code for bit, code in single if class_bits & bit}
    controller = data[1] if class_bits & 0x04 else 0
    if controller & 0x03:
        codes.add("CAN_OVERFLOW")
    state = None
    if class_bits & 0x40:
        state = "CAN_BUSOFF"
    elif controller & 0x30:
        state = "CAN_ERROR_PASSIVE"
    elif controller & 0x0C:
        state = "CAN_ERROR_WARNING"
    elif controller & 0x40 or class_bits & 0x100:
        state = "active"
    if class_bits & 0x08:
        kinds = ((0x19, "CAN_BIT_ERROR"), (0x02, "CAN_FORM_ERROR"), (0x04, "CAN_STUFF_ERROR"), (0x20, "CAN_OVERLOAD"))
        protocol = {code for bits, code in kinds if data[2] & bits}
        if not protocol and data[3] in (0x08, 0x18):
            protocol.add("CAN_CRC_ERROR")
        if not protocol and data[3] in (0x19, 0x1B):
            protocol.add("CAN_ACK_ERROR")
        codes |= protocol
    if class_bits & 0x20:
        codes.add("CAN_ACK_ERROR")
    if not codes and state is None and class_bits != 0x200:
        codes.add("CAN_ERROR")
    return codes | ({state} if state and state != "active" else set()), state


FLAGS = [0, 1, 2, 4, 8, 0x10, 0x20, 0x40, 0x44, 0x80, 0x19, 0x1B]


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 2**10 - 1) | st.sampled_from([1 << n for n in range(10)]),
            st.lists(st.sampled_from(FLAGS) | st.integers(0, 255), max_size=10),
        ),
        max_size=30,
    )
)
def test_codes_of_many_frames_are_those_of_a_loop(can, can_table, errors):
    expected = {code for bits, payload in errors for code in reported_by(bits, bytes(payload))[0]}
    events = events_of(can, can_table, *((n, bits, payload) for n, (bits, payload) in enumerate(errors)))
    assert set(events["code"]) == expected
    counts = dict(events.group_by("code").agg(pl.col("frame_count").sum()).rows())
    for code in expected - {"CAN_BUSOFF", "CAN_ERROR_PASSIVE", "CAN_ERROR_WARNING"}:
        assert counts[code] == sum(code in reported_by(bits, bytes(payload))[0] for bits, payload in errors)


def test_each_key_of_the_details_has_its_first_value_in_an_activation(can, can_table):
    errors = [(n, 0x08, data(b2=1, b3=0x0A if n else 0, b6=n % 200)) for n in range(5)]
    (details,) = events_of(can, can_table, *errors)["details"].to_list()
    assert details == [
        {"key": "location", "value": "data"}, {"key": "tx_errors", "value": "1"}, {"key": "rx_errors", "value": "0"},
    ]  # fmt: skip


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["CAN1", "CAN2"]), st.sampled_from([1, 5_000, 10_000, 10_001])), max_size=30))
def test_bursts_are_those_of_a_loop(can, can_table, waits):
    now, last, bursts, frames = 0, {}, {"CAN1": [], "CAN2": []}, []
    for channel, wait_ms in waits:
        now += wait_ms * 1_000_000
        if channel not in last or now - last[channel] > LONGEST_GAP_NS:
            bursts[channel].append(0)
        bursts[channel][-1] += 1
        last[channel] = now
        frames.append(can(now, 0x88, bytes(data(b2=4)), channel, is_error_frame=True))
    events = found_in(can_table(frames)).events.sort("channel", "first_seen")
    assert events.select("channel", "frame_count").rows() == [(c, n) for c in bursts for n in bursts[c]]


def test_many_errors_in_a_second_raise_the_severity(can, can_table):
    def rules(step_ms, count):
        errors = [(i * step_ms / 1000, 0x88, data(b2=4 if i % 2 else 1)) for i in range(count)]
        return dict(events_of(can, can_table, *errors).select("code", "severity").rows())

    assert rules(10, MANY - 1) == {"CAN_BIT_ERROR": "warning", "CAN_STUFF_ERROR": "warning"}
    assert rules(10, MANY) == {"CAN_BIT_ERROR": "error", "CAN_STUFF_ERROR": "error"}
    assert rules(11, 10 * MANY) == {"CAN_BIT_ERROR": "warning", "CAN_STUFF_ERROR": "warning"}


def test_a_bus_off_lasts_until_the_controller_restarts(can, can_table):
    events = events_of(
        can,
        can_table,
        (1, 0x40, data()),
        (31, 0x100, data()),
        (40, 0x40, data()),
        (41, 0x40, data()),
        (42, 0x204, data(b1=0x40)),
    )
    reported = events.select("code", "severity", "status", pl.col("active_s").round(6), "occurrence").rows()
    assert reported == [
        ("CAN_BUSOFF", "critical", "occurred", 30.0, 1),
        ("CAN_RESTARTED", "info", "occurred", 0.0, 1),
        ("CAN_BUSOFF", "critical", "occurred", 2.0, 2),
    ]


def test_a_controller_goes_through_its_states(can, can_table):
    errors = [
        (t, 0x204, data(b1=b1, b6=tx)) for t, b1, tx in ((1, 0x08, 96), (3, 0x20, 130), (6, 0x08, 120), (10, 0x20, 128))
    ]
    events = events_of(can, can_table, *errors)
    assert events.select("code", pl.col("active_s").round(6), "status").rows() == [
        ("CAN_ERROR_WARNING", 2.0, "occurred"), ("CAN_ERROR_PASSIVE", 3.0, "occurred"), ("CAN_ERROR_WARNING", 4.0, "occurred"),
        ("CAN_ERROR_PASSIVE", 0.0, "active"),
    ]  # fmt: skip
    assert events["details"][1].to_list() == [{"key": "tx_errors", "value": "130"}, {"key": "rx_errors", "value": "0"}]


def test_details_say_where_and_what(can, can_table):
    event = events_of(can, can_table, (0, 0x98, data(b2=0x81, b3=0x0A, b4=0x44))).row(0, named=True)
    assert event["details"] == [
        {"key": "direction", "value": "transmitting"}, {"key": "location", "value": "data"},
        {"key": "transceiver, CAN high", "value": "no wire"}, {"key": "transceiver, CAN low", "value": "no wire"},
    ]  # fmt: skip
    assert (event["ecu"], event["channel"], event["payload_hex"]) == ("CAN1", "CAN1", "0000810a44000000")


def test_data_frames_are_no_errors(can, can_table):
    frames = can_table([can(0, 0x40, bytes(8)), can(1, 0x40, bytes(8), is_error_frame=None)])
    assert can_errors.wanted(frames, default_config()).collect().is_empty()
