"""The knowledge base: well-formed, unambiguous, its codes known to the dictionary."""

import re
from collections import Counter

import pytest

from argus_assets.diagnosis.vehicle.catalogue import load_catalogue, parse_causes
from argus_assets.errors import BadSetting
from argus_assets.simulate.scenarios import SCENARIOS

CODE = re.compile(
    r"[PCBU][0-3*][0-9A-F*]{0,3}\*?(-([0-9A-F]{2}|\*))?|SPN\d+/(FMI(\d+|\*)|\*)|E\d{3}|(LOG|DIAG|RULE|CAN)_[A-Z_]*\*?"
)


def test_every_cause_is_complete() -> None:
    for cause in load_catalogue().causes:
        assert re.fullmatch(r"[a-z0-9_]+", cause.id)
        assert cause.title
        assert cause.explanation.endswith(".")
        assert cause.actions, cause.id
        assert cause.drivable in ("yes", "with_care", "no")
        assert "{n}" not in f"{cause}"
        for code in (*(c for group in cause.shows for c in group), *cause.explains, *cause.against):
            assert CODE.fullmatch(code), f"{cause.id}: {code}"


def test_no_two_causes_show_the_same() -> None:
    """Else neither could ever stand before the other for a reason."""
    seen = Counter((c.shows, c.min_ecus, c.against) for c in load_catalogue().causes)
    assert [key for key, count in seen.items() if count > 1] == []


def test_the_simulator_plants_only_known_causes() -> None:
    known = {cause.id for cause in load_catalogue().causes}
    assert {s.root_cause for s in SCENARIOS.values() if s.root_cause} <= known


def test_a_missing_field_is_named() -> None:
    with pytest.raises(BadSetting, match=r"mine.toml: cause 'x' is missing the field 'title'"):
        parse_causes('[[cause]]\nid = "x"', where="mine.toml")
