"""Differences of two outcomes of a batch."""

from hypothesis import given
from hypothesis import strategies as st

from argus_assets.maintenance.replays import BatchOutcome, CodeOutcome, differences, summed

codes = st.builds(
    CodeOutcome,
    code=st.sampled_from(["P0301", "U0100", "SPN100/FMI1"]),
    ecu=st.sampled_from(["", "0x00"]),
    status=st.sampled_from(["confirmed", "pending"]),
    severity=st.sampled_from(["warning", "error"]),
    occurrences=st.integers(1, 3),
)
outcomes = st.builds(
    BatchOutcome,
    frames=st.integers(0, 3),
    frames_lost=st.integers(0, 2),
    recordings_failed=st.integers(0, 1),
    codes=st.lists(codes, unique_by=lambda c: (c.code, c.ecu)).map(tuple),
    mode=st.sampled_from(["offline", "llm"]),
    verdict=st.just("v"),
    severity=st.sampled_from(["info", "critical"]),
    drivable=st.sampled_from(["yes", "no"]),
    causes=st.lists(
        st.tuples(st.sampled_from(["a", "b", "c"]), st.sampled_from([0.2, 0.5, 0.9])), unique_by=lambda c: c[0]
    ).map(lambda found: tuple(sorted(found, key=lambda c: -c[1]))),
)


@given(outcomes)
def test_an_outcome_does_not_differ_from_itself(outcome: BatchOutcome) -> None:
    assert differences(outcome, BatchOutcome.model_validate_json(outcome.model_dump_json())) == []


@given(outcomes, outcomes)
def test_every_difference_is_told_and_is_told_the_other_way_round(a: BatchOutcome, b: BatchOutcome) -> None:
    found, back = differences(a, b), differences(b, a)
    same = a.model_dump(exclude={"verdict", "codes"}) == b.model_dump(exclude={"verdict", "codes"})
    assert (not found) == (same and set(a.codes) == set(b.codes))
    swapped = {"code_new": "code_gone", "code_gone": "code_new"}
    assert {(d.kind, d.name, d.before, d.after) for d in found} == {
        (swapped.get(d.kind, d.kind), d.name, d.after, d.before) for d in back
    }


@given(st.lists(st.tuples(outcomes, outcomes), max_size=4))
def test_sums_count_batches(pairs: list[tuple[BatchOutcome, BatchOutcome]]) -> None:
    found = [differences(a, b) for a, b in pairs]
    for kind, name, count in summed(found):
        assert count == sum(any((d.kind, d.name) == (kind, name) for d in of_one) for of_one in found)


def test_a_small_step_of_confidence_is_no_difference() -> None:
    def outcome(confidence: float) -> BatchOutcome:
        return BatchOutcome(
            frames=1, frames_lost=0, recordings_failed=0, codes=(), mode="offline", verdict="", severity="info",
            drivable="yes", causes=(("a", confidence),),
        )  # fmt: skip

    assert differences(outcome(0.8), outcome(0.82)) == []
    assert [d.kind for d in differences(outcome(0.8), outcome(0.9))] == ["confidence"]
