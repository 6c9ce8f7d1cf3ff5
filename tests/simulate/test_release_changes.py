"""A fleet over two releases: its ground truth is what its drives are, and the shares are those that were asked for."""

import json
from pathlib import Path

import pytest

from argus_assets.simulate.releases import RELEASE_CHANGES, simulate_release_change
from argus_assets.simulate.scenarios import SCENARIOS

STARTED_NS = 1_795_000_000 * 10**9


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("releases")


@pytest.fixture(scope="module")
def fleet(folder: Path):
    return simulate_release_change(
        folder, RELEASE_CHANGES["planner_slower"], seed=4, vehicles=40, started_ns=STARTED_NS, seconds=5
    )


def test_every_vehicle_drives_once_under_each_release(fleet) -> None:
    assert len(fleet.drives) == 80
    older, newer = ([d for d in fleet.drives if d.release == t.release] for t in fleet.truth)
    assert [(d.vehicle_id, d.vin) for d in older] == [(d.vehicle_id, d.vin) for d in newer]
    assert len({d.vin for d in older}) == 40
    assert max(d.recorded_to_ns for d in older) < min(d.recorded_from_ns for d in newer)
    assert len({(d.vehicle_id, d.batch_id) for d in fleet.drives}) == 80


def test_the_truth_is_what_the_drives_are(fleet, folder: Path) -> None:
    for truth in fleet.truth:
        own = [d for d in fleet.drives if d.release == truth.release]
        assert truth.drives_with_fault == sum(d.scenario == "av_planner_slow" for d in own)
        assert truth.hours == pytest.approx(40 * 5 / 3600)
        assert truth.faulty_drives_per_hour == pytest.approx(truth.drives_with_fault / truth.hours)
    document = json.loads((folder / "truth" / "planner_slower.json").read_text())
    assert [r["drives_with_fault"] for r in document["releases"]] == [t.drives_with_fault for t in fleet.truth]
    assert len(list(folder.glob("truth/*/*.json"))) == 80
    assert all(f.is_file() for d in fleet.drives for f in d.files)


def test_the_update_made_it_worse_by_as_much_as_it_was_to(fleet) -> None:
    """Within four standard deviations of a binomial count."""
    for truth in fleet.truth:
        expected = truth.share_planted * truth.drives
        deviation = (expected * (1 - truth.share_planted)) ** 0.5
        assert abs(truth.drives_with_fault - expected) < 4 * deviation
    assert fleet.truth[1].drives_with_fault > fleet.truth[0].drives_with_fault + 10


def test_the_same_seed_gives_the_same_fleet(tmp_path: Path) -> None:
    change = RELEASE_CHANGES["misfire_threshold"]
    one, same, other = (
        simulate_release_change(tmp_path / name, change, seed=s, vehicles=4, started_ns=STARTED_NS, seconds=20)
        for name, s in (("a", 1), ("b", 1), ("c", 2))
    )
    assert [d.truth() for d in one.drives] == [d.truth() for d in same.drives]
    assert [p.read_bytes() for d in one.drives for p in d.files] == [
        p.read_bytes() for d in same.drives for p in d.files
    ]
    assert {d.vin for d in one.drives}.isdisjoint(d.vin for d in other.drives)


@pytest.mark.parametrize("change", RELEASE_CHANGES.values(), ids=lambda c: c.name)
def test_changes_are_of_one_kind_of_vehicle(change) -> None:
    assert SCENARIOS[change.healthy].root_cause is None
    assert SCENARIOS[change.scenario].root_cause is not None
    assert SCENARIOS[change.scenario].platform == SCENARIOS[change.healthy].platform
    assert [release for release, _ in change.shares] == sorted(release for release, _ in change.shares)
