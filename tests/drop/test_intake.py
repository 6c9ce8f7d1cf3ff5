"""The intake plan: every manifest comes to exactly one end, and runs cover what they should and nothing else."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from argus_assets.drop.bucket import ObjectInfo
from argus_assets.drop.intake import Candidate, IntakeCursor, Requested, plan_intake
from argus_assets.drop.keys import BatchRef, partition_key
from argus_assets.drop.manifest import Manifest, ManifestFile
from argus_assets.drop.quarantine import Reason

START = datetime(2026, 11, 23, 8, tzinfo=UTC)


def candidate(
    batch: str,
    *,
    vehicle: str = "v",
    digest: str = "d0",
    stamp: str = "s",
    size: int = 3,
    days: int = 0,
    present: int | None = 3,
) -> Candidate:
    manifest = Manifest(
        vehicle_id=vehicle,
        vin="1M8GDM9AXKP042788",
        batch_id=batch,
        release="1",
        platform="truck",
        recorded_from=START + timedelta(days=days),
        recorded_to=START + timedelta(days=days, hours=1),
        files=(ManifestFile(name="a.mcap", size=size, sha256="0" * 64),),
    )
    files = {} if present is None else {"a.mcap": ObjectInfo("a.mcap", present, "e")}
    return Candidate(BatchRef(vehicle, batch), digest, stamp, b"{}", manifest, files=files)


def key(batch: str, vehicle: str = "v", days: int = 0) -> str:
    return partition_key(START + timedelta(days=days), vehicle, batch)


def test_a_lone_batch_is_requested_at_once() -> None:
    plan = plan_intake([candidate("b1")], existing=[])
    assert plan.new_partitions == (key("b1"),)
    assert [run.partitions for run in plan.runs] == [(key("b1"),)]
    assert plan.runs[0].run_key == f"{key('b1')}@d0@s"


def test_a_batch_dropped_again_keeps_its_first_key() -> None:
    plan = plan_intake([candidate("b1", digest="d1", days=4)], existing=[key("b1")])
    assert plan.new_partitions == ()
    assert [run.partitions for run in plan.runs] == [(key("b1"),)]


def test_the_same_manifest_again_is_a_duplicate_only_when_it_was_finished() -> None:
    again = candidate("b1", stamp="later")
    done = plan_intake([again], existing=[key("b1")], finished={(key("b1"), "d0")})
    assert [d.partition for d in done.duplicates] == [key("b1")]
    assert not done.runs
    failed = plan_intake([again], existing=[key("b1")])
    assert [run.run_key for run in failed.runs] == [f"{key('b1')}@d0@later"]


def test_a_batch_in_processing_waits() -> None:
    plan = plan_intake([candidate("b1", digest="d1")], existing=[key("b1")], in_flight={key("b1")})
    assert plan.waiting == (key("b1"),)
    assert not plan.runs
    assert not plan.quarantined


def test_missing_and_cut_files_are_named_with_both_values() -> None:
    plan = plan_intake([candidate("b1", present=None), candidate("b2", present=2), candidate("b3")], existing=[])
    reasons = {c.ref.batch_id: r[0] for c, r in plan.quarantined}
    assert reasons["b1"].kind == "missing_file"
    assert reasons["b2"].kind == "wrong_size"
    assert (reasons["b2"].expected, reasons["b2"].actual) == ("3 bytes", "2 bytes")
    assert all(r.help and r.file == "a.mcap" for r in reasons.values())
    assert [run.partitions for run in plan.runs] == [(key("b3"),)], "the others go on"


@given(
    wanted=st.sets(st.integers(0, 30)),
    existing=st.lists(st.integers(0, 30), unique=True),
    per_run=st.integers(1, 6),
)
def test_runs_cover_the_wanted_batches_and_no_other(wanted: set[int], existing: list[int], per_run: int) -> None:
    known = [key(f"b{n}", days=n) for n in existing]
    plan = plan_intake(
        [candidate(f"b{n}", days=n) for n in sorted(wanted)], existing=known, max_batches_per_run=per_run
    )
    order = [*known, *plan.new_partitions]
    covered: list[str] = []
    for run in plan.runs:
        first, last = order.index(run.partitions[0]), order.index(run.partitions[-1])
        # What Dagster makes of a range: every key between its ends.
        assert tuple(order[first : last + 1]) == run.partitions
        assert len(run.partitions) <= per_run
        covered += run.partitions
    assert sorted(covered) == sorted(key(f"b{n}", days=n) for n in wanted)
    assert list(plan.new_partitions) == sorted(plan.new_partitions), "keys sort by time"
    assert len({run.run_key for run in plan.runs}) == len(plan.runs)


outcomes = st.sampled_from(["good", "missing", "bad", "finished", "in_flight"])


@given(st.dictionaries(st.integers(0, 20), outcomes))
def test_every_manifest_comes_to_exactly_one_end(batches: dict[int, str]) -> None:
    candidates = []
    for n, outcome in batches.items():
        c = candidate(f"b{n}", present=None if outcome == "missing" else 3)
        if outcome == "bad":
            reason = Reason(kind="bad_manifest", file="m", expected="e", actual="a", help="h")
            c = Candidate(c.ref, c.digest, c.stamp, b"", None, (reason,))
        candidates.append(c)
    by = {o: {key(f"b{n}") for n, outcome in batches.items() if outcome == o} for o in ("finished", "in_flight")}
    plan = plan_intake(
        candidates,
        existing=sorted(by["finished"] | by["in_flight"]),
        in_flight=by["in_flight"],
        finished={(k, "d0") for k in by["finished"]},
    )
    ends = [
        *(b.candidate.ref.batch_id for b in plan.batches),
        *(c.ref.batch_id for c, _ in plan.quarantined),
        *(d.candidate.ref.batch_id for d in plan.duplicates),
        *(k.split("_", 2)[2] for k in plan.waiting),
    ]
    assert sorted(ends) == sorted(f"b{n}" for n in batches)


def test_a_cursor_is_read_back_and_a_foreign_one_is_empty() -> None:
    cursor = IntakeCursor(
        requested=(Requested(vehicle_id="v", batch_id="b", digest="d", stamp="s", partition="p"),), start_after="x"
    )
    assert IntakeCursor.load(cursor.model_dump_json()) == cursor
    for foreign in (None, "", "{", "2026-11-23", '{"version": 99}'):
        assert IntakeCursor.load(foreign) == IntakeCursor()
