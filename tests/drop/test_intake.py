"""The intake plan: every manifest comes to exactly one end, and runs cover what they should and nothing else."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from argus_assets.drop.bucket import ObjectInfo
from argus_assets.drop.intake import (
    Candidate,
    IntakeCursor,
    Requested,
    Sizing,
    estimated_seconds,
    plan_intake,
    priority_of_turn,
)
from argus_assets.drop.keys import BatchRef, partition_key
from argus_assets.drop.manifest import Manifest, ManifestFile
from argus_assets.drop.quarantine import Reason
from tests.support.values import VIN

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
        vin=VIN,
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


GB = 10**9


@given(
    sizes=st.dictionaries(st.integers(0, 30), st.sampled_from([3, GB // 4, GB, 40 * GB])),
    existing=st.lists(st.integers(0, 30), unique=True),
    sizing=st.builds(
        Sizing,
        run_s=st.sampled_from([20.0, 60.0]),
        runs_at_once=st.integers(1, 4),
        max_batches=st.integers(1, 6),
        pace=st.sampled_from([0.5, 1.0, 3.0]),
    ),
)
def test_runs_cover_the_wanted_batches_and_no_other(sizes: dict[int, int], existing: list[int], sizing: Sizing) -> None:
    known = [key(f"b{n}", days=n) for n in existing]
    wanted = {
        key(f"b{n}", days=n): candidate(f"b{n}", days=n, size=size, present=size) for n, size in sorted(sizes.items())
    }
    plan = plan_intake(wanted.values(), existing=known, sizing=sizing)
    order = [*known, *plan.new_partitions]
    covered: list[str] = []
    for run in plan.runs:
        first, last = order.index(run.partitions[0]), order.index(run.partitions[-1])
        # What Dagster makes of a range: every key between its ends.
        assert tuple(order[first : last + 1]) == run.partitions
        assert len(run.partitions) <= sizing.max_batches
        seconds = [sizing.seconds(wanted[k]) for k in run.partitions]
        assert run.large == (max(seconds) > sizing.run_s), "a large batch is alone"
        assert len(seconds) == 1 or sum(seconds) <= sizing.run_s
        covered += run.partitions
    assert sorted(covered) == sorted(wanted)
    large = {k for k, c in wanted.items() if sizing.is_large(c)}
    for some in (large, wanted.keys() - large):
        mine = [k for k in plan.new_partitions if k in some]
        assert mine == sorted(mine), "keys of one kind sort by time"
    assert len({run.run_key for run in plan.runs}) == len(plan.runs)


def test_a_backlog_uses_every_place_and_a_handful_of_small_batches_one() -> None:
    def runs(count: int, size: int = 3, **settings: object) -> list[int]:
        sizing = Sizing(**{"runs_at_once": 2, **settings})  # type: ignore[arg-type]
        found = [candidate(f"b{n:04}", size=size, present=size) for n in range(count)]
        return [len(r.partitions) for r in plan_intake(found, existing=[], sizing=sizing).runs]

    assert runs(20) == [20], "6 s of work are not worth two starts"
    assert runs(200) == [100, 100]
    assert sorted(runs(200, runs_at_once=4)) == [50, 50, 50, 50]
    assert [n for n in runs(2000) if n != 192] == [80], "622 s of work in runs of 60 s"
    assert runs(4, size=GB) == [1, 1, 1, 1]


def test_packed_recordings_are_expected_to_take_longer() -> None:
    plain, packed = (ManifestFile(name=f"a.log{end}", size=GB, sha256="0" * 64) for end in ("", ".gz"))
    assert estimated_seconds([packed]) > 3 * estimated_seconds([plain]) > 30


@given(
    waiting=st.dictionaries(st.sampled_from(["a", "b", "c.d", "e-1"]), st.integers(0, 40)),
    at_work=st.dictionaries(st.sampled_from(["a", "b", "c.d"]), st.integers(0, 40)),
    most=st.integers(1, 8),
)
def test_vehicles_take_turns(waiting: dict[str, int], at_work: dict[str, int], most: int) -> None:
    wanted = [candidate(f"b{n:03}", vehicle=v, days=n) for v, count in waiting.items() for n in range(count)]
    busy = {key(f"w{n}", vehicle=v, days=n) for v, count in at_work.items() for n in range(count)}
    sizing = Sizing(max_batches=most)
    plan = plan_intake(wanted, existing=sorted(busy), in_flight=busy, sizing=sizing)
    turn = {key(f"b{n:03}", v, n): at_work.get(v, 0) + n for v, count in waiting.items() for n in range(count)}
    order = [k for run in plan.runs for k in run.partitions]
    assert sorted(order) == sorted(turn)
    assert [turn[k] for k in order] == sorted(turn.values()), "nobody has a second turn before all had the first"
    priorities = [run.priority for run in plan.runs]
    assert priorities == sorted(priorities, reverse=True)
    for run in plan.runs:
        first = min(turn[k] for k in run.partitions)
        assert run.priority == priority_of_turn(first)
        assert (run.priority == priority_of_turn(0)) == (first == 0)
        assert run.priority >= 0, "reruns stay behind"


def test_many_small_files_are_expected_to_take_their_time() -> None:
    def seconds(count: int) -> float:
        return estimated_seconds([ManifestFile(name=f"{n}.log", size=20, sha256="0" * 64) for n in range(count)])

    for milliseconds in (8, 15):
        assert 0.5 < seconds(2000) / (2 + 2 * milliseconds) < 2
    assert seconds(1) < 1.1 * seconds(0), "an ordinary batch is expected to take what it took"
    assert abs((seconds(2000) - seconds(1000)) - (seconds(1000) - seconds(0))) < 1e-6


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
