"""What fails is recorded as the failure of the stage that it happened in, whichever stage that is."""

import shutil
from dataclasses import replace
from pathlib import Path

import dagster as dg
import pytest

from argus_assets.assets.specs import BATCH_ASSETS, BATCH_CHECKS, BATCH_SPECS, CODE_VERSIONS
from argus_assets.drop.keys import BatchRef
from argus_assets.drop.results import read_result
from argus_assets.errors import BadFile
from argus_assets.event_log.states import partition_states
from argus_assets.pipeline import ENTERED, INPUT, PIPELINE, STAGES, BatchState, stages_from
from argus_assets.status import timeline
from tests.support.site import Site
from tests.support.stages import made_by

pytestmark = pytest.mark.wiring

KEY = "2026-11-18_car-healthy_b1"


def test_every_stage_of_the_pipeline_is_an_asset_of_its_own_module() -> None:
    assert [asset.stage for asset in BATCH_ASSETS] == list(PIPELINE)
    assert [spec.key.to_user_string() for spec in BATCH_SPECS] == list(CODE_VERSIONS) == list(STAGES)
    for asset in BATCH_ASSETS:
        assert asset.make.__module__ == f"argus_assets.assets.{asset.stage.name}"
        assert [dep.asset_key.to_user_string() for dep in asset.spec.deps] == [INPUT[asset.stage.name]]
        assert {check.asset_key for check in asset.checks} <= {asset.spec.key}
    assert len({check.key for check in BATCH_CHECKS}) == len(BATCH_CHECKS)


@pytest.fixture
def taken(site: Site, drives) -> tuple[Site, dg.RunRequest]:
    site.drop(drives["car_healthy"])
    (request,) = site.tick().run_requests or ()
    return site, request


def blamed(site: Site) -> list[tuple[str, str]]:
    """The failures of the batch in the event log: the asset, and the error."""
    found = [e for e in timeline(site.instance, KEY) if e.details.get("state") == BatchState.FAILED]
    return [(event.asset, str(event.details["error"])) for event in found]


def test_a_stage_that_fails_is_the_one_that_is_blamed(taken) -> None:
    """Every stage once, with what the stages before it have made; the last stage that fails leaves nothing to do."""
    site, request = taken

    def breaks(_: object) -> None:
        raise BadFile("Nothing comes of this.", help="It is a test.")

    for number, stage in enumerate(STAGES):
        with made_by(stage, breaks):
            assert not site.run(request, selection=stages_from(STAGES[max(0, number - 1)])).success
        assert blamed(site)[number:] == [(stage, "Nothing comes of this. It is a test.")]
        assert partition_states(site.instance, [KEY])[KEY] == (BatchState.FAILED, stage)
        result = read_result(site.bucket, BatchRef("car-healthy", "b1"))
        assert result is not None
        assert (result.state, result.error_is_permanent) == ("failed", True)
        assert [site.made(s, KEY) for s in stages_from(stage)] == [0] * len(stages_from(stage))
    assert site.run(request, selection=[STAGES[-1]]).success
    assert partition_states(site.instance, [KEY])[KEY] == (BatchState.COMPLETED, None)
    states = [(e.asset, e.details["state"]) for e in timeline(site.instance, KEY) if e.run_id and "state" in e.details]
    entered = [(asset, state) for asset, state in states if state == ENTERED.get(asset)]
    assert set(entered) == {(stage, str(state)) for stage, state in ENTERED.items()}, "each by the stage that enters it"


def test_a_table_that_cannot_be_written_fails_the_stage_that_made_it(taken) -> None:
    """The run loop writes it, after `make` has returned."""
    site, request = taken
    for asset in [asset for asset in BATCH_ASSETS if "dagster/column_schema" in asset.spec.metadata]:
        stage = asset.stage.name

        def no_table(batch, asset=asset):
            made = asset.make(batch)
            return replace(made, tables=[(table, frame.drop(frame.columns[0])) for table, frame in made.tables])

        with made_by(stage, no_table):
            assert not site.run(request, selection=[stage]).success
        assert blamed(site)[-1][0] == stage
        assert site.made(stage, KEY) == 0
        assert site.run(request, selection=[stage]).success


def test_a_batch_that_cannot_be_loaded_fails_at_the_first_stage_that_was_asked_for(taken) -> None:
    site, request = taken
    shutil.rmtree(Path(str(site.lake.path("manifests"))))
    for stage in STAGES:
        assert not site.run(request, selection=stages_from(stage)).success
        asset, error = blamed(site)[-1]
        assert asset == stage
        assert "manifests" in error
