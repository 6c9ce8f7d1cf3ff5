"""Composed causes: any name, but only the vocabulary's words for how and where."""

from hypothesis import given
from hypothesis import strategies as st

from argus_assets.diagnosis.composition import FAILURES, NO_REPAIR, PLACES, component_named, compose
from argus_assets.diagnosis.vehicle.catalogue import load_catalogue

CATALOGUE = load_catalogue()


@given(st.text(max_size=200), st.sampled_from(sorted(FAILURES)), st.sampled_from(sorted(PLACES)))
def test_any_name_gives_a_clean_title_or_nothing(name, failure, place) -> None:
    made = compose(name, failure, place, CATALOGUE)
    if made is None:
        return
    assert not set("<>`*_[]{}|\\\n") & set(made.title)
    assert len(made.title) <= 200
    assert made.id.endswith(f".{failure}@{place}") or (failure == "no_repair" and made.id.startswith(NO_REPAIR))
    assert PLACES[place] in made.title or failure == "no_repair"


def test_a_component_is_known_by_its_id_and_by_its_words() -> None:
    for component in CATALOGUE.components.values():
        found = component_named(component.id.replace("_", " "), CATALOGUE)
        assert found is not None
        assert found.id == component.id
    assert (
        component_named("Sensor of the coolant temperature", CATALOGUE) == CATALOGUE.components["coolant_temperature"]
    )
    assert component_named("flux capacitor", CATALOGUE) is None
