"""The catalogue: whole, unambiguous, and strict about what is written in it."""

import pytest

from argus_assets.diagnosis.vehicle.catalogue import (
    Effect,
    Selector,
    load_catalogue,
    parse_catalogue,
    parse_check,
)
from argus_assets.errors import BadSetting

CATALOGUE = load_catalogue()
COMPONENT = (
    '[[component]]\nid = "pump"\nname = "pump"\nkind = "actuator"\nsystem = "fuel"\ncodes = ["SPN94", "P0230-P0233"]\n'
)
CAUSE = '[[cause]]\nid = "air"\ntitle = "Air"\nsystem = "fuel"\nkind = "fluid"\nexplanation = "Air."\neffects = ["pump:low A min"]\n'


def test_what_ships_is_whole() -> None:
    titles = CATALOGUE.titles()
    assert len(CATALOGUE.components) > 150
    assert len(titles) > 350
    assert all("{" not in title for title in titles.values())
    for cause in CATALOGUE.causes:
        assert cause.explanation.endswith(".")
        assert all(parse_check(check).text for check in cause.checks)
    for template in CATALOGUE.templates:
        for component in CATALOGUE.components.values():
            for text in (template.title, template.explanation, *template.checks, *template.repairs):
                assert "{" not in template.filled(text, component)


def test_every_cause_that_forbids_driving_says_what_to_do_first_or_is_of_a_stack() -> None:
    silent = [
        c.id
        for c in CATALOGUE.causes
        if c.drivable == "no"
        and not c.safety
        and c.system.value in ("lubrication", "cooling", "brakes", "high voltage")
    ]
    assert silent == []


def test_codes_and_ranges_name_their_component() -> None:
    made = parse_catalogue({"a.toml": COMPONENT + CAUSE})
    for code in ("SPN94/FMI18", "P0230", "P0232-13", "P0233"):
        assert made.component_of(code) == "pump", code
    for code in ("SPN945/FMI1", "P0234", "P023"):
        assert made.component_of(code) is None, code


def test_selectors_and_effects() -> None:
    effect = Effect.parse("pump:low,stuck A min")
    assert (effect.chance, effect.delay) == (0.95, "min")
    assert effect.selector.matches("pump", "value_low", "SPN94/FMI18")
    assert effect.selector.matches("pump", "stuck", "P0230")
    assert not effect.selector.matches("pump", "value_high", "SPN94/FMI16")
    assert Selector.parse("U04*").matches("x", "unknown", "U0401-71")
    assert Selector.parse(":circuit", "pump").component == "pump"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (COMPONENT + COMPONENT, "component 'pump' (2) exists more than once"),
        (CAUSE, "there is no component 'pump'"),
        (COMPONENT + CAUSE + CAUSE, "cause 'air' exists more than once"),
        (COMPONENT.replace("actuator", "gadget"), "component 'pump', kind"),
        (COMPONENT + CAUSE.replace("low A min", "weird A min"), "'weird' is no failure mode"),
        (COMPONENT + CAUSE.replace("A min", "A soon"), "expected `selector"),
        (COMPONENT + CAUSE + 'checks = ["look"]\n', "expected `minutes | what to do`"),
        (COMPONENT + '[[text]]\nmatch = "("\nfailure = "dead"\n', "'('"),
        (COMPONENT + '[[text]]\nmatch = "x"\nfailure = "odd"\n', "'odd' is no failure mode"),
        (COMPONENT + 'sent_by = "nobody"\n', "there is no component 'nobody'"),
        (COMPONENT + 'colour = "red"\n', "colour"),
    ],
)
def test_a_mistake_is_said_with_its_place(text: str, said: str) -> None:
    with pytest.raises(BadSetting) as error:
        parse_catalogue({"mine.toml": text})
    assert said in str(error.value)


def test_a_series_makes_one_cause_for_each_number() -> None:
    text = COMPONENT + CAUSE.replace('"air"', '"air_{n}"').replace('"Air"', '"Air {n}"') + "range = [1, 3]\n"
    assert [(c.id, c.title) for c in parse_catalogue({"a.toml": text}).causes] == [
        ("air_1", "Air 1"), ("air_2", "Air 2"), ("air_3", "Air 3"),
    ]  # fmt: skip
