"""Which failed batches run again, when, and which stay for a person."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from argus_assets.maintenance.retry_policy import BACKOFF, LIMITS, FailedBatch, Failure, decide, plan_reruns

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
ORDER = [f"k{n:02}" for n in range(30)]
LONG_AGO = timedelta(days=2)


def failed(key: str, *kinds: str, ago: timedelta = LONG_AGO, stage: str = "rec_frames", **more) -> FailedBatch:
    failures = tuple(Failure(NOW - ago, kind) for kind in kinds)  # type: ignore[arg-type] # the tests' own words
    return FailedBatch(key, "d", stage, failures, **more)


@pytest.mark.parametrize(
    ("kinds", "verdict"),
    [
        (["transient"], "again"),
        (["transient"] * 4, "again"),
        (["transient"] * 5, "manual"),
        (["permanent"], "manual"),
        (["quarantined"], "manual"),
        (["transient", "permanent"], "manual"),
        (["crashed"], "again"),
        (["crashed", "crashed"], "manual"),
        (["crashed", "transient", "crashed"], "manual"),
        (["cancelled"], "manual"),
        (["transient", "cancelled"], "manual"),
        (["cancelled", "transient"], "again"),
    ],
)
def test_verdicts_when_every_pause_is_over(kinds: list[str], verdict: str) -> None:
    assert decide(failed("k00", *kinds), now=NOW) == verdict


@given(tries=st.integers(1, LIMITS.attempts - 1), second=st.integers(0, 7 * 3600))
def test_pauses_grow_with_each_attempt(tries: int, second: int) -> None:
    ago = timedelta(seconds=second)
    expected = "again" if ago >= BACKOFF[min(tries, len(BACKOFF)) - 1] else "later"
    assert decide(failed("k00", *["transient"] * tries, ago=ago), now=NOW) == expected


batches = st.builds(
    failed,
    st.just(""),
    st.sampled_from(["transient", "permanent", "quarantined", "crashed", "cancelled"]),
    ago=st.sampled_from([timedelta(0), LONG_AGO]),
    stage=st.sampled_from(["rec_frames", "diagnosis"]),
    large=st.booleans(),
)


@given(st.dictionaries(st.sampled_from(ORDER), batches), st.integers(1, 6))
def test_each_batch_gets_one_verdict_and_runs_are_ranges(found: dict[str, FailedBatch], most: int) -> None:
    given_ = [FailedBatch(k, b.digest, b.stage, b.failures, large=b.large) for k, b in found.items()]
    plan = plan_reruns(given_, order=ORDER, now=NOW, max_batches=most)
    again = [key for run in plan.runs for key in run.partitions]
    assert sorted([*again, *plan.later, *plan.manual]) == sorted(found)
    for batch in given_:
        verdict = decide(batch, now=NOW)
        assert batch.partition in {"again": again, "later": plan.later, "manual": plan.manual}[verdict]
    for run in plan.runs:
        at = ORDER.index(run.partitions[0])
        assert tuple(ORDER[at : at + len(run.partitions)]) == run.partitions
        assert len(run.partitions) <= most
        assert {found[key].stage for key in run.partitions} == {run.stage}
        if any(found[key].crashed or found[key].large for key in run.partitions):
            assert len(run.partitions) == 1, "what may bring a worker down takes no other batch with it"
    assert len({run.run_key for run in plan.runs}) == len(plan.runs)


def test_another_attempt_has_another_run_key() -> None:
    keys = {
        plan_reruns([failed("k00", *["transient"] * n)], order=ORDER, now=NOW, max_batches=5).runs[0].run_key
        for n in (1, 2, 3)
    }
    assert len(keys) == 3
