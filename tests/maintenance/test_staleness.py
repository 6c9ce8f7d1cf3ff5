"""What has to be made again, by versions of code, configuration and input."""

from hypothesis import given
from hypothesis import strategies as st

from argus_assets.maintenance.staleness import MaterializationRecord, first_stale, stale_because

STAGES = ("a", "b", "c")
DIGEST, DROP = "d1", "v0"
RECIPES = {stage: {"code": "1", "config": "x"} for stage in STAGES}


def fresh() -> dict[str, MaterializationRecord]:
    """All made from each other, with what is in force."""
    made, before = {}, DROP
    for stage in STAGES:
        made[stage] = MaterializationRecord(DIGEST, f"v{stage}", RECIPES[stage], made_from=before)
        before = f"v{stage}"
    return made


def look(made: dict[str, MaterializationRecord], *, digest: str = DIGEST, recipes=RECIPES):
    return first_stale("key", made, stages=STAGES, digest=digest, recipes=recipes, input_version=DROP)


def test_nothing_is_stale_when_nothing_changed() -> None:
    assert look(fresh()) is None


@given(changed=st.sets(st.sampled_from(STAGES), min_size=1), name=st.sampled_from(("code", "config")))
def test_a_batch_is_stale_from_the_first_asset_whose_recipe_changed(changed: set[str], name: str) -> None:
    recipes = {s: {**RECIPES[s], **({name: "new"} if s in changed else {})} for s in STAGES}
    found = look(fresh(), recipes=recipes)
    assert found is not None
    assert found.stage == min(changed)
    assert f"{name} {RECIPES['a'][name]} → new" in found.why


@given(missing=st.sets(st.sampled_from(STAGES), min_size=1))
def test_a_batch_is_stale_from_the_first_asset_that_is_missing(missing: set[str]) -> None:
    made = {stage: m for stage, m in fresh().items() if stage not in missing}
    found = look(made)
    assert found is not None
    assert (found.stage, found.why) == (min(missing), "not made")


def test_another_manifest_makes_everything_stale() -> None:
    found = look(fresh(), digest="d2")
    assert found is not None
    assert found.stage == "a"


def test_what_came_out_differently_makes_the_next_stale_and_no_other() -> None:
    made = fresh()
    made["a"] = MaterializationRecord(DIGEST, "other content", RECIPES["a"], made_from=DROP)
    found = look(made)
    assert found is not None
    assert (found.stage, found.why) == ("b", "its input changed")
    made["b"] = MaterializationRecord(DIGEST, "vb", RECIPES["b"], made_from="other content")
    assert look(made) is None, "the same came out of it: what follows stays"


def test_names_that_only_one_recipe_has_say_nothing() -> None:
    made = MaterializationRecord(DIGEST, "v", {"code": "1", "model": "m"}, made_from="w")
    assert stale_because(made, digest=DIGEST, recipe={"code": "1"}, input_version="w") is None
    offline = MaterializationRecord(DIGEST, "v", {"code": "1"}, made_from="w")
    assert stale_because(offline, digest=DIGEST, recipe={"code": "1", "model": "m"}, input_version="w") is None
    assert stale_because(made, digest=DIGEST, recipe={"code": "1", "model": "n"}, input_version="w") == "model m → n"


def test_records_that_name_no_input_are_taken_for_current() -> None:
    made = MaterializationRecord(DIGEST, "v", {"code": "1"}, made_from=None)
    assert stale_because(made, digest=DIGEST, recipe={"code": "1"}, input_version="w") is None
