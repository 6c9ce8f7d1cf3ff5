"""The bytes of a diagnostic message (SAE J1939-73, 5.7.1)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from argus_assets.faults.j1939.dtc import Dtc, parse
from argus_assets.faults.severity import RULES

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
    found = parse(payload)
    assert found is not None
    assert list(found.dtcs) == codes


def test_a_code_that_is_listed_twice_counts_once():
    code = encoded(Dtc(100, 1, 3, 0))
    found = parse(b"\x00\xff" + code + encoded(Dtc(100, 1, 4, 0)))
    assert found is not None
    assert found.dtcs == (Dtc(100, 1, 3, 0),)


@pytest.mark.parametrize("payload", ["00ff00000000ffff", "ffffffffffffffff", "00ff000000ffffff", "00ffffffffffffff"])
def test_no_fault_and_filling_are_no_codes(payload):
    found = parse(bytes.fromhex(payload))
    assert found is not None
    assert found.dtcs == ()


@pytest.mark.parametrize(
    ("lamps", "text", "rule"),
    [
        # Protect, amber warning, red stop and malfunction from the lowest bits on; their flashing in the second byte.
        ("00ff", "none on", "lamp: none on"),
        ("ffff", "not available", "lamp: not available"),
        ("f7ff", "amber warning", "lamp: amber warning"),
        ("44ff", "malfunction, amber warning", "lamp: malfunction"),
        ("55ff", "red stop, malfunction, amber warning, protect", "lamp: red stop"),
        ("01ff", "protect", "lamp: protect"),
        ("50df", "red stop (fast flash), malfunction", "lamp: red stop"),
        ("507f", "red stop, malfunction (fast flash)", "lamp: red stop"),
        ("407f", "malfunction (fast flash)", "lamp: malfunction (fast flash)"),
        ("403f", "malfunction (slow flash)", "lamp: malfunction"),
        ("04f7", "amber warning (fast flash)", "lamp: amber warning (fast flash)"),
        ("05f5", "amber warning (fast flash), protect (fast flash)", "lamp: amber warning (fast flash)"),
        # World-harmonised OBD: the worst is not always the first.
        ("80ff", "malfunction (short)", "lamp: malfunction (short)"),
        ("00bf", "malfunction (class C)", "lamp: malfunction (class C)"),
        ("40bf", "malfunction (class C)", "lamp: malfunction (class C)"),
        ("84f7", "malfunction (short), amber warning (fast flash)", "lamp: amber warning (fast flash)"),
        # A state and a flashing that the other lamps do not have.
        ("2aff", "none on", "lamp: none on"),
        ("04fb", "amber warning", "lamp: amber warning"),
        ("c0ff", "none on", "lamp: none on"),
    ],
)
def test_lamps(lamps, text, rule):
    found = parse(bytes.fromhex(lamps) + bytes(4))
    assert found is not None
    assert (found.lamps.text, found.lamps.rule) == (text, rule)


@given(st.binary(min_size=2, max_size=2))
def test_every_lamp_byte_has_a_severity_rule(lamps):
    found = parse(lamps + bytes(4))
    assert found is not None
    assert found.lamps.rule in RULES


@given(spn=st.integers(0, 2**19 - 1))
def test_an_spn_in_an_older_layout_is_among_its_readings(spn):
    upper, lowest_three = spn >> 3, spn & 0b111
    layouts = {
        1: upper.to_bytes(2, "big") + bytes([lowest_three << 5]),
        2: upper.to_bytes(2, "little") + bytes([lowest_three << 5]),
        3: (spn & 0xFFFF).to_bytes(2, "little") + bytes([spn >> 16 << 5]),
    }
    for version, layout in layouts.items():
        found = parse(b"\x00\xff" + layout[:2] + bytes([layout[2] | 7, 0x81]))
        assert found is not None
        assert [d.older_spns[version - 1] for d in found.dtcs] == [spn]


@given(st.binary(max_size=5))
def test_less_than_one_code_is_no_diagnostic_message(payload):
    assert parse(payload) is None
