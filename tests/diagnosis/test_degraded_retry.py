"""Trying degraded diagnoses again: the important first, within the tokens that are left, not for ever."""

from hypothesis import given
from hypothesis import strategies as st

from argus_assets.diagnosis.degraded_retry import (
    MAX_ATTEMPTS,
    MAX_BATCHES,
    TOKENS_A_DIAGNOSIS,
    DegradedDiagnosis,
    worth_trying,
)

waiting = st.lists(
    st.builds(
        DegradedDiagnosis,
        partition=st.text("abc", min_size=1, max_size=6),
        reason=st.sampled_from(["no_model", "over_budget", "model_failed", "invalid_answer"]),
        priority=st.floats(0, 1),
        attempts=st.integers(0, MAX_ATTEMPTS + 1),
    ),
    max_size=80,
    unique_by=lambda d: d.partition,
)


@given(waiting, st.integers(-10, 400_000))
def test_the_most_important_are_tried_within_what_is_left(degraded, tokens_left) -> None:
    chosen = worth_trying(degraded, tokens_left=tokens_left)
    by_name = {d.partition: d for d in degraded}
    able = [d for d in degraded if d.attempts < MAX_ATTEMPTS]
    assert len(chosen) == min(len(able), MAX_BATCHES, max(0, tokens_left // TOKENS_A_DIAGNOSIS))
    assert all(by_name[p].attempts < MAX_ATTEMPTS for p in chosen)
    left_out = [d.priority for d in able if d.partition not in chosen]
    assert not chosen or not left_out or min(by_name[p].priority for p in chosen) >= max(left_out)
    assert chosen == worth_trying(degraded[::-1], tokens_left=tokens_left), "the order of reading decides nothing"
