"""NAMEs behind source addresses (SAE J1939-81)."""

from hypothesis import given
from hypothesis import strategies as st

from argus_assets.faults.j1939_name import Name

S = 1_000_000_000
WIDTHS = (21, 11, 3, 5, 8, 7, 4, 3, 1)
OIL = bytes.fromhex("10ff64000101ffff")


def encoded(name: Name) -> bytes:
    bits = ""
    for value, width in zip(name, WIDTHS, strict=True):
        bits = format(int(value), f"0{width}b") + bits
        if width == 8:
            bits = "0" + bits  # reserved, behind the function
    return int(bits, 2).to_bytes(8, "little")


names = st.builds(
    Name, *(st.integers(0, 2**width - 1) for width in WIDTHS[:-1]), arbitrary_address_capable=st.booleans()
)


def engine(identity: int) -> bytes:
    return encoded(Name(identity, 123, 0, 0, 0, 1, 0, 1, arbitrary_address_capable=False))


@given(names)
def test_fields_round_trip(name):
    assert Name.of(encoded(name)) == name


def test_events_bear_the_name_that_held_the_address(can, can_table, find):
    frames = [
        can(0, 0x18FECA00, OIL),  # before any claim: the only one known
        can(1 * S, 0x18EEFF00, engine(1)),
        can(2 * S, 0x18FECA00, bytes.fromhex("00ff00000000ffff")),
        can(3 * S, 0x18EEFF00, engine(2)),
        can(4 * S, 0x18FECA00, OIL),
        can(5 * S, 0x18FECA0B, OIL),
        can(6 * S, 0x18EEFFFE, engine(3)),  # found no address
    ]
    events = find(can_table(frames)).events
    assert events.select("ecu", "ecu_name").rows() == [
        ("SA 0x00", "engine #0, manufacturer 123, identity 1"),
        ("SA 0x00", "engine #0, manufacturer 123, identity 2"),
        ("SA 0x0B", None),
    ]
