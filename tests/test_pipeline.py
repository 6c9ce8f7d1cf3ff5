"""The pipeline is declared once, and all that depends on the stages derives from it."""

import ast
from itertools import pairwise
from pathlib import Path
from typing import get_args

import click

import argus_assets
from argus_assets.cli.rerun import rerun
from argus_assets.monitoring.latency import MEANING, StepName
from argus_assets.pipeline import (
    ASSETS,
    DROP,
    ENTERED,
    INPUT,
    PIPELINE,
    REACHED,
    RESTING,
    RUNNING,
    STAGES,
    BatchState,
    StageStep,
    stages_from,
)

PACKAGE = Path(argus_assets.__file__).parent


def test_each_stage_is_made_from_the_one_before() -> None:
    assert [INPUT[stage] for stage in STAGES] == list(ASSETS[:-1])
    assert len(set(ASSETS)) == len(ASSETS)
    assert [stages_from(stage) for stage in STAGES] == [STAGES[at:] for at in range(len(STAGES))]


def test_the_states_of_a_batch_are_those_of_its_stages_and_no_others() -> None:
    outside = {BatchState.PENDING, BatchState.UPLOADED, BatchState.FAILED}
    assert {*RUNNING, *RESTING} == set(BatchState) - outside | {BatchState.UPLOADED}
    assert RESTING[0] is BatchState.UPLOADED
    assert [stage for stage in PIPELINE if stage.done is BatchState.COMPLETED] == [PIPELINE[-1]]


def test_a_batch_never_goes_back_to_a_state() -> None:
    order = list(BatchState)
    for states in (RUNNING, RESTING):
        assert all(order.index(before) <= order.index(after) for before, after in pairwise(states))
    assert all(stage.running is not stage.done for stage in PIPELINE)


def test_every_state_is_entered_or_reached_by_exactly_one_stage() -> None:
    moved = [*ENTERED.values(), *REACHED.values()]
    assert len(moved) == len(set(moved))
    assert set(moved) == {*RUNNING, *RESTING[1:]}


def test_every_stage_is_one_step_of_the_waterfall() -> None:
    steps = [stage.step for stage in PIPELINE]
    assert steps == list(get_args(StageStep))
    assert list(MEANING) == list(get_args(StepName))
    assert list(MEANING)[-len(steps) :] == steps


def test_the_choices_of_the_command_line_are_the_stages() -> None:
    choices = {p.name: tuple(p.type.choices) for p in rerun.params if isinstance(p.type, click.Choice)}
    assert choices == {"from_stage": STAGES, "failed_at": STAGES}


def test_no_other_module_spells_the_name_of_a_stage() -> None:
    """But for names that are a table's or a document's, too."""
    own = {DROP, "rec_frames", "batch_report"}
    assert own < set(ASSETS)
    spelled = {
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and node.value in own
    }
    assert spelled == {"pipeline.py"}
