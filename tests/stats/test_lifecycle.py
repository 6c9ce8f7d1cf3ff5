"""What became of a fault, against a brute-force reading of the rules."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from argus_assets.stats.lifecycle import Clearing, DriveSeen, FaultSeen, clearings_of, lifecycles

START = datetime(2026, 11, 1, tzinfo=UTC)
KEY = ("P0303", "0x7E8")


@st.composite
def drives(draw):
    """Drives of a day each; a fault and a clearing at any second of it, or none."""
    made = []
    for day in range(draw(st.integers(1, 12))):
        begin = START + timedelta(days=day)
        length = draw(st.sampled_from([10, 100, 1000]))
        faults = {}
        if draw(st.booleans()):
            first, last = sorted(draw(st.tuples(st.integers(0, length), st.integers(0, length))))
            faults[KEY] = FaultSeen(
                first_seen=begin + timedelta(seconds=first),
                last_seen=begin + timedelta(seconds=last),
                seconds_into_drive=first,
                occurrences=1,
                severity="error",
            )
        clearings = tuple(
            Clearing(at=begin + timedelta(seconds=at), ecu=ecu, scope=scope)
            for at, ecu, scope in draw(
                st.lists(
                    st.tuples(
                        st.integers(0, length),
                        st.sampled_from(["0x7E8", "0x7E9", None]),
                        st.sampled_from(["", "P", "C", "P0303", "P0301"]),
                    ),
                    max_size=2 * draw(st.integers(0, 1)),
                )
            )
        )
        made.append(
            DriveSeen(
                partition=f"d{day:02d}", recorded_from=begin, recorded_s=length, release=f"r{day}", faults=faults,
                clearings=clearings,
            )
        )  # fmt: skip
    return made


def covering(drive: DriveSeen) -> list[datetime]:
    code, ecu = KEY
    return [c.at for c in drive.clearings if c.ecu in (None, ecu) and c.scope in ("", "P", code)]


def brute_force(seen: list[DriveSeen], n: int) -> tuple[str, int]:
    """State and number of episodes, by looking at each gap between affected drives on its own."""
    affected = [i for i, d in enumerate(seen) if KEY in d.faults]

    def returned_inside(i):
        fault, at = seen[i].faults[KEY], covering(seen[i])
        return bool(at) and fault.first_seen <= max(at) < fault.last_seen

    def closed(k, until):
        fault, at = seen[k].faults[KEY], covering(seen[k])
        if at and max(at) >= fault.last_seen and max(at) >= fault.first_seen:
            return True
        gap = range(k + 1, until)
        needed = max(seen[i].faults[KEY].seconds_into_drive for i in affected if i <= k)
        without_tester = [i for i in gap if not covering(seen[i])]
        return len(without_tester) < len(gap) or sum(seen[i].recorded_s >= needed for i in without_tester) >= n

    episodes = 1 + sum(closed(k, i) for k, i in pairwise(affected))
    episodes += sum(returned_inside(i) for i in affected)
    if closed(affected[-1], len(seen)):
        return "cleared", episodes
    if episodes > 1:
        return "back", episodes
    return ("new" if len(affected) == 1 else "recurring"), episodes


@given(seen=drives(), n=st.integers(1, 4), order=st.randoms())
def test_state_and_episodes_are_those_of_the_rules(seen, n, order) -> None:
    shuffled = list(seen)
    order.shuffle(shuffled)
    found = lifecycles(shuffled, clear_drives=n)
    affected = [d for d in seen if KEY in d.faults]
    if not affected:
        assert found == []
        return
    (life,) = found
    assert (life.state, len(life.episodes)) == brute_force(seen, n)
    assert life.drives_affected == len(affected) == life.marks.count("affected")
    assert len(life.marks) == len(seen) - seen.index(affected[0])
    assert (life.first_release, life.drives) == (affected[0].release, len(seen))
    assert all(e.cleared_by for e in life.episodes[:-1])
    assert (life.episodes[-1].cleared_by is not None) == (life.state == "cleared")


@pytest.mark.parametrize(
    ("code", "message", "covers"),
    [
        ("OBD_CLEAR", "all emission-related codes cleared", {("P0303", "0x7E8"), ("C0035", "0x7E8")}),
        ("UDS_CLEAR", "P codes cleared (group 0x000000)", {("P0303", "0x7E8")}),
        ("UDS_CLEAR", "P0303-11 cleared", set()),
        ("UDS_CLEAR", "P0303 cleared", {("P0303", "0x7E8")}),
        ("UDS_CLEAR", "codes cleared; which ones was not recorded", {("P0303", "0x7E8"), ("C0035", "0x7E8")}),
    ],
)
def test_what_a_tester_of_obd_and_uds_cleared_by_a_table_of_argus_0_1(code, message, covers) -> None:
    (clearing,) = clearings_of(code, ecu="0x7E8", details={}, message=message, at=START)
    candidates = {("P0303", "0x7E8"), ("C0035", "0x7E8"), ("P0303", "0x7E9")}
    assert {c for c in candidates if clearing.covers(*c)} == covers


ASKED_ALL = "SA 0xF9 asked all ECUs to clear active codes (DM11): "
ACKNOWLEDGED = [f"SA 0x{address:02X}" for address in range(25)]


@pytest.mark.parametrize(
    ("ecu", "message", "answer", "ecus"),
    [
        (
            "SA 0x00",
            "SA 0xF9 asked SA 0x00 to clear active codes (DM11): acknowledged by SA 0x00",
            "acknowledged by SA 0x00",
            ["SA 0x00"],
        ),
        (
            "SA 0x00",
            "SA 0xF9 asked SA 0x00 to clear active codes (DM11): refused by SA 0x00",
            "refused by SA 0x00",
            [],
        ),
        ("SA 0xFF", ASKED_ALL + "no answer", "no answer", [None]),
        (
            "SA 0xFF",
            ASKED_ALL + "acknowledged by SA 0x00, busy by SA 0x03",
            "acknowledged by SA 0x00, busy by SA 0x03",
            ["SA 0x00"],
        ),
        (
            "SA 0x00",
            "SA 0xF9 asked SA 0x00 to clear previously active codes (DM3): acknowledged by SA 0x00",
            "acknowledged by SA 0x00",
            [],
        ),
        (
            "SA 0xFF",  # the refusal fell off the message
            (ASKED_ALL + ", ".join(f"acknowledged by {one}" for one in ACKNOWLEDGED))[:512],
            ", ".join([*(f"acknowledged by {one}" for one in ACKNOWLEDGED), "refused by SA 0x31"]),
            ACKNOWLEDGED,
        ),
    ],
)
def test_what_a_tester_of_j1939_cleared_by_a_table_of_argus_0_1(ecu, message, answer, ecus) -> None:
    details = {"requested_by": "SA 0xF9", "answer": answer}
    found = clearings_of("J1939_CLEAR", ecu=ecu, details=details, message=message, at=START)
    assert [c.ecu for c in found] == ecus
