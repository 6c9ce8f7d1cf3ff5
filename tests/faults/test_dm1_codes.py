"""The bytes of DM1 (SAE J1939-73, 5.7.1)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from argus_assets.faults.j1939 import Dtc, parse_dm

dtcs = st.builds(
    Dtc,
    spn=st.integers(1, 2**19 - 2),
    fmi=st.integers(0, 31),
    occurrence_count=st.integers(0, 127),
    conversion_method=st.integers(0, 1),
)


def encoded(dtc: Dtc) -> bytes:
    """The layout as one little-endian number, unlike the decoder, which goes by bytes: SPN high bits sit above FMI."""
    spn_low, spn_high = dtc.spn & 0xFFFF, dtc.spn >> 16
    number = spn_low | dtc.fmi << 16 | spn_high << 21 | dtc.occurrence_count << 24 | dtc.conversion_method << 31
    return number.to_bytes(4, "little")


@given(st.lists(dtcs, min_size=1, max_size=20, unique_by=lambda d: d[:2]), st.booleans())
def test_codes_round_trip(codes, padded):
    payload = b"\x00\xff" + b"".join(map(encoded, codes)) + (b"\xff\xff" if padded else b"")
    found = parse_dm(payload)
    assert found is not None
    assert list(found.dtcs) == codes


def test_a_code_that_is_listed_twice_counts_once():
    code = encoded(Dtc(100, 1, 3, 0))
    found = parse_dm(b"\x00\xff" + code + encoded(Dtc(100, 1, 4, 0)))
    assert found is not None
    assert found.dtcs == (Dtc(100, 1, 3, 0),)


@pytest.mark.parametrize("payload", ["00ff00000000ffff", "ffffffffffffffff", "00ff000000ffffff", "00ffffffffffffff"])
def test_no_fault_and_filling_are_no_codes(payload):
    found = parse_dm(bytes.fromhex(payload))
    assert found is not None
    assert found.dtcs == ()


@pytest.mark.parametrize(
    ("first_byte", "on", "rule"),
    [
        (0b00_00_00_00, (), "lamp: none on"),
        (0b11_11_11_11, (), "lamp: not available"),
        (0b11_11_01_11, ("amber warning",), "lamp: amber warning"),
        (0b01_00_01_00, ("malfunction", "amber warning"), "lamp: malfunction"),
        (0b01_01_01_01, ("red stop", "malfunction", "amber warning", "protect"), "lamp: red stop"),
        (0b00_00_00_01, ("protect",), "lamp: protect"),
        (0b10_10_10_10, (), "lamp: none on"),
    ],
)
def test_lamps(first_byte, on, rule):
    found = parse_dm(bytes([first_byte, 0xFF, 0, 0, 0, 0]))
    assert found is not None
    assert (found.lamps.on, found.lamps.rule) == (on, rule)


@given(st.binary(max_size=5))
def test_less_than_one_code_is_no_dm1(payload):
    assert parse_dm(payload) is None
