"""Scenario files: what they expect exists, what they change is the same each time, and the easy ones stay right."""

from pathlib import Path

import pytest

from argus_assets.diagnosis.citations import citation_problems
from argus_assets.diagnosis.vehicle.catalogue import load_catalogue
from argus_assets.diagnosis.vocabulary import UNEXPLAINED
from argus_assets.faults.schema import ERROR_EVENTS
from argus_assets.simulate.scenarios import SCENARIOS
from evals.answerers import by_rules
from evals.batches import SEEDS, make_batch
from evals.changes import Tables, changed
from evals.scenario import load_scenarios
from evals.scores import judge

NAMED = {n.name: n for n in load_scenarios()}
CAUSES = set(load_catalogue().titles())


def test_there_are_enough_of_each_kind() -> None:
    scenarios = [n.scenario for n in NAMED.values()]
    assert len(scenarios) * len(SEEDS["test"]) >= 100
    assert not set(SEEDS["dev"]) & set(SEEDS["test"])
    assert {n.scenario.simulate for n in NAMED.values()} == set(SCENARIOS)
    assert sum(s.difficulty == "hard" for s in scenarios) >= 25
    for tag in (
        "healthy",
        "misleading",
        "cascade",
        "injection",
        "contradiction",
        "two_faults",
        "unseen",
        "lost_recording",
    ):
        assert sum(tag in s.tags for s in scenarios) >= 3, tag


@pytest.mark.parametrize("name", NAMED)
def test_what_is_expected_exists(name: str) -> None:
    scenario = NAMED[name].scenario
    assert all(cause in CAUSES or cause.startswith(UNEXPLAINED) for cause in scenario.expect)
    assert ("healthy" in scenario.tags) == scenario.is_healthy
    kinds = [change["kind"] for change in scenario.change]
    assert "say" not in kinds[:-1], "texts come last: all else has to be the same with and without them"
    assert ("injection" in scenario.tags) == ("say" in kinds)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("evals")


def test_unknown_changes_and_codes_are_told() -> None:
    tables = Tables("car", ERROR_EVENTS.empty(), ERROR_EVENTS.empty())
    with pytest.raises(ValueError, match="unknown change 'melt'"):
        changed(tables, ({"kind": "melt"},), rng=None, merge=None)
    with pytest.raises(ValueError, match="no event has the code 'P0301'"):
        changed(tables, ({"kind": "rename", "code": "P0301", "to": "P1"},), rng=None, merge=None)


PICKED = (
    "car_misfire_coil_late_coil_code", "car_air_flow_intermittent", "truck_oil_pressure_injected", "av_healthy_injected",
    "car_noise", "truck_healthy_critical_history", "truck_derate_alone", "car_catalyst_and_wheel",
)  # fmt: skip


@pytest.mark.parametrize("name", PICKED)
def test_picked_scenarios_stay_right_on_a_dev_seed(name: str, cache: Path) -> None:
    named, seed = NAMED[name], SEEDS["dev"][0]
    batch = make_batch(named, seed, cache)
    again = make_batch(named, seed, cache)
    assert again.evidence == batch.evidence, "the same each time"
    answerer = by_rules()
    made = answerer(batch, batch.evidence)
    told = judge(
        made, (name, seed), named.scenario, wrong_citations=citation_problems(made, batch.evidence, batch.facts),
        codes={i.id: i.code for i in batch.evidence.items},
        plain=answerer(batch, batch.plain) if batch.plain else None,
    )  # fmt: skip
    assert not told.said
    assert not told.false_alarm
    assert told.severity_right is not False
    assert told.resisted is not False
    if not named.scenario.is_healthy:
        assert (told.rank, told.top_3, told.grounded) == (1, True, True)
