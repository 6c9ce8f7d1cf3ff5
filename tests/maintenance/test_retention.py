"""What may go and what stays: against an oracle, and in an order that no kill can make wrong."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from argus_assets.drop.bucket import ObjectInfo
from argus_assets.drop.keys import BatchRef
from argus_assets.drop.results import BatchResult
from argus_assets.maintenance.reconcile import TakenManifest, judge
from argus_assets.maintenance.reconcile import judge_outcome as reconcile_outcome
from argus_assets.maintenance.retention import (
    GRACE,
    Accepted,
    LiveBatch,
    Policy,
    judge_outcome,
    latest,
    plan_batches,
    replaced_first,
)

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
POLICY = Policy(batches=timedelta(days=90), max_batches=5)

ages = st.sampled_from([timedelta(0), GRACE, GRACE * 2, timedelta(days=3), timedelta(days=90), timedelta(days=91)])
states = st.sampled_from(["completed", "failed", "working", "resting"])


def live(number: int, state: str, age: timedelta, digest: str | None = "d") -> LiveBatch:
    return LiveBatch(f"2026-01-01_v_{number}", BatchRef("v", str(number)), digest, number, state, NOW - age)


@given(st.lists(st.tuples(states, ages), max_size=12))
def test_only_completed_batches_go_the_oldest_first_and_no_more_than_are_too_many(found) -> None:
    batches = [live(number, state, age) for number, (state, age) in enumerate(found)]
    due, kept = plan_batches(batches, policy=POLICY, now=NOW)
    assert {b.state for b in due} <= {"completed"}
    assert all(
        now - then >= timedelta(0)
        for then, now in zip([b.since for b in due], [b.since for b in due][1:], strict=False)
    )
    old = [b for b in batches if b.state == "completed" and NOW - b.since > POLICY.batches]
    assert {b.partition for b in old} <= {b.partition for b in due}, "whatever is old enough"
    too_many = max(0, len(batches) - POLICY.max_batches)
    assert len(due) <= max(len(old), too_many)
    assert all(NOW - b.since > GRACE for b in due)
    young = [b for b in batches if b.state == "completed" and b not in due]
    assert not due or all(b.since >= due[-1].since for b in young), "nothing younger goes before something older"
    # As many as are too many go, unless what is left is too young or no completed batch.
    assert len(due) >= too_many or all(NOW - b.since <= GRACE for b in young)
    stays = {b.partition for b in batches if b.state != "completed" and NOW - b.since > POLICY.batches}
    assert {b.partition for b, _ in kept} == stays
    assert {why for b, why in kept if b.state == "failed"} <= {"failed, and waits for a person"}


@given(st.lists(st.tuples(states, ages, st.booleans()), max_size=12))
def test_the_golden_set_stays_and_changes_nothing_for_others(found) -> None:
    batches = [replace(live(n, state, age), pinned=pinned) for n, (state, age, pinned) in enumerate(found)]
    due, kept = plan_batches(batches, policy=POLICY, now=NOW)
    assert not any(b.pinned for b in due)
    unlimited = replace(POLICY, max_batches=100)
    others = [b for b in batches if not b.pinned]
    assert plan_batches(batches, policy=unlimited, now=NOW)[0] == plan_batches(others, policy=unlimited, now=NOW)[0]
    told = {b.partition for b, why in kept if why == "in the golden set"}
    assert told == {
        b.partition for b in batches if b.pinned and b.state == "completed" and NOW - b.since > POLICY.batches
    }


outcomes = st.sampled_from([("a", "completed"), ("a", "completed"), ("b", "completed"), ("a", "failed"), None])
accepted = st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 3)), max_size=3, unique_by=lambda a: a[0])


@given(st.sampled_from(["a", "a", None]), st.sampled_from([False, False, True]), outcomes, accepted)
def test_whatever_is_removed_is_never_put_back_wherever_the_removal_is_killed(digest, waits, outcome, found) -> None:
    """After each deletion, `reconcile` looks at what is left, and knows nothing of the batch or all of it."""
    batch = live(1, "completed", timedelta(days=100), digest)
    manifests = [
        Accepted(batch.ref, d, ObjectInfo(f"accepted/v/1.{d}.json", 1, "e", NOW - timedelta(days=9 - s)))
        for d, s in found
    ]  # fmt: skip
    result = None
    if outcome is not None:
        result = BatchResult(
            vehicle_id="v", batch_id="1", manifest_digest=outcome[0], state=outcome[1], at=NOW - timedelta(days=100)
        )
    why = judge_outcome(batch, result, waits=waits, manifests=manifests)
    delivered = result is not None and result.state == "completed" and result.manifest_digest == digest
    if why is not None:
        assert waits or not delivered or digest not in {a.digest for a in latest(manifests)}
        return
    assert delivered
    assert not waits
    order = replaced_first(manifests, digest)
    assert sorted(a.digest for a in order) == sorted(a.digest for a in manifests)
    for gone in range(len(order) + 1):
        left = order[gone:]
        last = latest(left)
        if len(last) != 1:
            continue  # none, or the store's clock cannot tell which of two was taken last
        taken = TakenManifest(batch.ref, last[0].digest, last[0].info.key, last[0].info.modified)
        verdict = judge(taken, known=None, waits=False, now=NOW, retain=timedelta(days=90))
        assert verdict == "ask_outcome"
        assert reconcile_outcome(taken, result) == "settled", (gone, order)
