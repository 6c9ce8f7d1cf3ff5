"""The waterfall: steps follow each other, sum up to the total, and clocks that differ make none negative."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from argus_assets.monitoring.latency import MEANING, Latency, waterfall
from argus_assets.pipeline import PIPELINE

AT = datetime(2026, 11, 25, tzinfo=UTC)
seconds = st.floats(-5, 1000).map(lambda s: AT + timedelta(seconds=s))


@given(
    first=st.none() | seconds, marker=seconds, taken=seconds, run=seconds, begun=seconds,
    took=st.lists(st.floats(0, 100), min_size=len(PIPELINE), max_size=len(PIPELINE)),
)  # fmt: skip
def test_steps_follow_each_other_and_add_up(first, marker, taken, run, begun, took) -> None:
    names = [stage.step for stage in PIPELINE]
    made = waterfall(
        first_byte_at=first, marker_at=marker, taken_at=taken, run_started_at=run, begun_at=begun,
        stages=dict(zip(names, took, strict=True)),
    )  # fmt: skip
    assert [s.name for s in made.steps] == [n for n in MEANING if n != "upload" or first is not None]
    after = [s for s in made.steps if s.name != "upload"]
    at = 0.0
    for step in after:
        assert step.seconds >= 0
        assert step.start_s == pytest.approx(at)
        at += step.seconds
    assert made.total_s == pytest.approx(at)
    assert made.work_s == pytest.approx(sum(took))
    assert Latency.model_validate_json(made.model_dump_json()) == made
