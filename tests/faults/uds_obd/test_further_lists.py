"""Lists of codes in the further layouts of ReadDTCInformation, and those of KWP2000."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from argus_assets.faults.uds_obd import kwp
from argus_assets.faults.uds_obd.dtc import dtc_text
from argus_assets.faults.uds_obd.uds import parse_dtc_answer

CODE, OTHER = bytes.fromhex("C10087"), bytes.fromhex("013311")


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (b"\x59\x0f\xff" + CODE + b"\x2f", [(CODE, 0x2F)]),
        (b"\x59\x17\x18\xff" + CODE + b"\x2f" + OTHER + b"\x08", [(CODE, 0x2F), (OTHER, 0x08)]),
        (b"\x59\x08\xff\x80\x10" + CODE + b"\x2f\x40\x11" + OTHER + b"\x08", [(CODE, 0x2F), (OTHER, 0x08)]),
        (b"\x59\x09\xff\x80\x10" + CODE + b"\x2f", [(CODE, 0x2F)]),
        (b"\x59\x1a\xff\x01" + CODE + b"\x2f", [(CODE, 0x2F)]),
        (b"\x59\x42\x33\xff\xe0\x04\x80" + CODE + b"\x2f\x40" + OTHER + b"\x08", [(CODE, 0x2F), (OTHER, 0x08)]),
        (b"\x59\x55\x33\xff\x04" + CODE + b"\x2f", [(CODE, 0x2F)]),
        (b"\x59\x56\x33\xff\x04\x01" + CODE + b"\x2f", [(CODE, 0x2F)]),
        (b"\x59\x14" + CODE + b"\x7f", [(CODE, None)]),
        (b"\x59\x17\x18\xff", []),
    ],
)
def test_codes_of_each_layout(payload: bytes, expected: list[tuple[bytes, int | None]]) -> None:
    answer = parse_dtc_answer(payload, {})
    assert answer is not None
    assert [(code.dtc, code.status) for code in answer.codes] == expected


@given(st.binary(max_size=60))
def test_any_answer_is_read_or_refused(data: bytes) -> None:
    parse_dtc_answer(b"\x59" + data, {})
    kwp.parse_answer(b"\x58" + data)


@given(st.lists(st.tuples(st.integers(0, 255), st.integers(0, 255), st.integers(0, 255)), max_size=80))
def test_codes_of_kwp_are_those_that_were_sent(codes: list[tuple[int, int, int]]) -> None:
    payload = bytes((0x58, len(codes), *(byte for code in codes for byte in code)))
    assert kwp.parse_answer(payload) == tuple((dtc_text(high, low), status) for high, low, status in codes)
    assert kwp.parse_answer(payload + b"\0") is None


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (0x60, "there now"), (0x24, "stored, not there now, no signal"), (0xE1, "there now, above its maximum, warning lamp requested"),
        (0x00, "no fault"), (0x42, "maturing or intermittent, below its minimum"),
    ],
)  # fmt: skip
def test_a_status_of_kwp_in_words(status: int, text: str) -> None:
    assert kwp.status_text(status) == text
