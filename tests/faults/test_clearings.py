"""What the detectors say of a clearing is what the history of faults reads: ECUs and codes are data, not words."""

import pytest

from argus_assets.faults.clearings import CLEAR_CODES
from argus_assets.stats.lifecycle import Clearing, clearings_of
from tests.support.j1939_sender import MS, acknowledgement, request

DM3, DM11 = 0xFECC, 0xFED3
ACKNOWLEDGED, REFUSED, DENIED, BUSY, UNKNOWN = 0, 1, 2, 3, 77


def clearings(events) -> list[Clearing]:
    """All that the events of clearings report."""
    return [
        clearing
        for row in events.filter(events["code"].is_in(CLEAR_CODES)).iter_rows(named=True)
        for clearing in clearings_of(
            row["code"],
            ecu=row["ecu"],
            details={pair["key"]: pair["value"] for pair in row["details"]},
            message=None,  # whatever it says
            at=row["first_seen"],
        )
    ]


def sa(*addresses: int) -> list[str]:
    return [f"SA 0x{address:02X}" for address in addresses]


@pytest.mark.parametrize(
    ("asked", "pgn", "answers", "ecus"),
    [
        (0x00, DM11, {0x00: ACKNOWLEDGED}, sa(0x00)),
        (0x00, DM11, {0x00: REFUSED}, []),
        (0x00, DM11, {}, []),
        (0x00, DM3, {0x00: ACKNOWLEDGED}, []),
        (0xFF, DM11, {}, [None]),
        (0xFF, DM11, {0x00: ACKNOWLEDGED, 0x03: UNKNOWN}, [None]),
        (0xFF, DM11, {0x00: ACKNOWLEDGED, 0x03: BUSY}, sa(0x00)),
        (0xFF, DM11, {0x00: DENIED}, []),
        (0xFF, DM11, {**dict.fromkeys(range(25), ACKNOWLEDGED), 0x31: REFUSED}, sa(*range(25))),
        # A hundred control units, and as many as there are addresses.
        (0xFF, DM11, {**dict.fromkeys(range(99), ACKNOWLEDGED), 0x99: REFUSED}, sa(*range(99))),
        (0xFF, DM11, {**dict.fromkeys(range(253), ACKNOWLEDGED), 253: REFUSED}, sa(*range(253))),
    ],
)
def test_who_cleared_its_codes_when_a_tester_asked(asked, pgn, answers, ecus, can, can_table, find) -> None:
    frames = [request(MS, pgn, asked)]
    frames += [acknowledgement((2 + n) * MS, pgn, *answer) for n, answer in enumerate(answers.items())]
    assert [c.ecu for c in clearings(find(can_table(can(*f) for f in frames)).events)] == ecus


@pytest.mark.parametrize(
    ("asked", "answer", "covered"),
    [
        ("04", "44", {"P0303", "C0035", "P0303-11"}),
        ("14ffffff", "54", {"P0303", "C0035", "P0303-11"}),
        ("14000000", "54", {"P0303", "P0303-11"}),
        ("14030311", "54", {"P0303-11"}),
        (None, "54", {"P0303", "C0035", "P0303-11"}),
    ],
)
def test_which_codes_an_ecu_cleared(asked, answer, covered, can_table, spoken, find) -> None:
    frames = [] if asked is None else spoken(0, 0x7E0, asked)
    events = find(can_table([*frames, *spoken(10 * MS, 0x7E8, answer)])).events
    (clearing,) = clearings(events)
    assert {code for code in ("P0303", "C0035", "P0303-11") if clearing.covers(code, "0x7E8")} == covered
    assert not clearing.covers("P0303", "0x7E9")


def test_a_code_of_j1939_that_uds_cleared_is_that_code_alone(can_table, spoken, find) -> None:
    frames = [*spoken(0, 0x7E0, "190108"), *spoken(100 * MS, 0x7E8, "5901ff020001")]
    frames += [*spoken(200 * MS, 0x7E0, "14640001"), *spoken(300 * MS, 0x7E8, "54")]
    (clearing,) = clearings(find(can_table(frames)).events)
    assert clearing.covers("SPN100/FMI1", "0x7E8")
    assert not clearing.covers("SPN100/FMI10", "0x7E8")
