"""Address claims → the ECU behind an address (SAE J1939-81)."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from argus_assets.faults.j1939.name import Name
from tests.support.j1939_sender import Frame, claim, single

S = 1_000_000_000
OIL = bytes.fromhex("10ff64000101")
ENGINE = 123 << 21 | 4711
BRAKES = 9 << 40 | 55 << 21 | 17

names = st.builds(
    Name,
    identity_number=st.integers(0, 2**21 - 1),
    manufacturer_code=st.integers(0, 2**11 - 1),
    ecu_instance=st.integers(0, 7),
    function_instance=st.integers(0, 31),
    function=st.integers(0, 255),
    vehicle_system=st.integers(0, 127),
    vehicle_system_instance=st.integers(0, 15),
    industry_group=st.integers(0, 7),
    arbitrary_address_capable=st.booleans(),
)


def bits_of(name: Name) -> str:
    """A NAME as one string of bits, highest field first, with the reserved bit between system and function."""
    return (
        f"{name.arbitrary_address_capable:01b}{name.industry_group:03b}{name.vehicle_system_instance:04b}"
        f"{name.vehicle_system:07b}0{name.function:08b}{name.function_instance:05b}{name.ecu_instance:03b}"
        f"{name.manufacturer_code:011b}{name.identity_number:021b}"
    )


@given(name=names)
def test_names_round_trip(name):
    bits = bits_of(name)
    assert len(bits) == 64
    assert Name.of(int(bits, 2).to_bytes(8, "little")) == name
    assert f"#{name.function_instance}" in name.text
    assert name.text.endswith(f"manufacturer {name.manufacturer_code}, identity {name.identity_number}")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (ENGINE, "engine #0, manufacturer 123, identity 4711"),
        (ENGINE | 1 << 35 | 2 << 32, "engine #1, ECU 2, manufacturer 123, identity 4711"),
        # Functions below 128 are the same in all industry groups.
        (3 << 40 | 2 << 60, "transmission #0, manufacturer 0, identity 0"),
        (128 << 40 | 1 << 60, "tachograph #0, manufacturer 0, identity 0"),
        (128 << 40 | 1 << 60 | 1 << 49, "forward camera #0, manufacturer 0, identity 0"),
        (129 << 40, "diagnostic tool #0, manufacturer 0, identity 0"),
        (128 << 40 | 2 << 60, "function 128 (industry group 2, vehicle system 0) #0, manufacturer 0, identity 0"),
        (120 << 40, "function 120 (industry group 0, vehicle system 0) #0, manufacturer 0, identity 0"),
    ],
)
def test_a_name_in_words(name, text):
    assert Name.of(name.to_bytes(8, "little")).text == text


@settings(deadline=None)
@given(
    claims=st.lists(st.tuples(st.integers(0, 20), st.sampled_from([0x00, 0x03]), st.sampled_from([ENGINE, BRAKES]))),
    reports=st.lists(st.integers(0, 20), min_size=1, unique=True),
)
def test_an_event_names_the_owner_of_its_time_or_else_the_first_one_known(claims, reports, can, can_table, find):
    claims = sorted({(at, address): (at, address, name) for at, address, name in claims}.values())
    frames = [claim(at * 30 * S, address, name) for at, address, name in claims]
    # Each report is an activation of its own, and stands behind a claim of the same second.
    frames += [f for at in reports for f in single(at * 30 * S + 1, 0xFECA, 0x00, OIL)]
    events = find(can_table(can(*f) for f in frames)).events.sort("first_seen")

    expected = []
    for at in sorted(reports):
        of_it = [(when, name) for when, address, name in claims if address == 0x00]
        before = [name for when, name in of_it if when <= at]
        held = before[-1] if before else of_it[0][1] if of_it else None
        expected.append(None if held is None else Name.of(held.to_bytes(8, "little")).text)
    assert events["ecu_name"].to_list() == expected
    assert set(events["ecu"]) == {"SA 0x00"}


def test_an_address_with_two_owners_is_noted(can, can_table, find):
    frames = [claim(0, 0x00, ENGINE), claim(S, 0x00, BRAKES), claim(2 * S, 0x00, ENGINE)]
    (note,) = find(can_table(can(*f) for f in frames)).notes
    owners = "engine #0, manufacturer 123, identity 4711; brake system #0, manufacturer 55, identity 17"
    assert note.startswith(f"CAN1 SA 0x00: 2 ECUs claimed this address ({owners})")


def test_an_ecu_without_an_address_is_noted(can, can_table, find):
    assert find(can_table([can(*claim(0, 0xFE, BRAKES))])).notes == (
        "CAN1: could not claim an address: brake system #0, manufacturer 55, identity 17.",
    )


def test_a_short_claim_is_noted_and_names_nobody(can, can_table, find):
    frames = [Frame(0, 0x18EEFF00, bytes(7)), *single(S, 0xFECA, 0x00, OIL)]
    findings = find(can_table(can(*f) for f in frames))
    assert findings.events["ecu_name"].to_list() == [None]
    assert findings.notes == ("CAN1 SA 0x00: 1 address claims are shorter than 8 bytes and were left out.",)


def test_the_name_of_one_channel_is_not_that_of_another(can, can_table, find):
    frames = [can(*claim(0, 0x00, ENGINE), channel="CAN2"), can(*single(S, 0xFECA, 0x00, OIL)[0])]
    assert find(can_table(frames)).events["ecu_name"].to_list() == [None]


def test_a_clear_names_the_ecu_that_was_asked(can, can_table, find):
    frames = [claim(0, 0x00, ENGINE), Frame(S, 0x18EA00F9, (0xFED3).to_bytes(3, "little"))]
    assert find(can_table(can(*f) for f in frames)).events["ecu_name"].to_list() == [
        "engine #0, manufacturer 123, identity 4711"
    ]
