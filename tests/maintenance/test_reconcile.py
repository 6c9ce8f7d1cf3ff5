"""A pass over a bucket: what was lost goes back, what was settled stays, nothing else is touched."""

import json
from datetime import UTC, datetime, timedelta
from itertools import count

from hypothesis import given
from hypothesis import strategies as st

from argus_assets.drop.bucket import Bucket
from argus_assets.drop.keys import BatchRef, accepted_key, inbox_key, recording_key
from argus_assets.drop.manifest import Manifest, ManifestFile, manifest_digest
from argus_assets.drop.quarantine import Reason, quarantine
from argus_assets.drop.results import BatchResult, read_result, write_result
from argus_assets.drop.upload import manifest_bytes
from argus_assets.maintenance.reconcile import (
    GRACE,
    KnownBatch,
    ReconcileReport,
    TakenManifest,
    begin_pass,
    judge,
    judge_outcome,
    reconcile,
)
from tests.support.values import VIN

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
RETAIN = timedelta(days=90)
LATER = timedelta(hours=30)
"""The store's objects are made now, so the pass takes place later."""


def manifest_of(ref: BatchRef, names: tuple[str, ...] = ("a.mf4",), release: str = "1") -> bytes:
    return manifest_bytes(
        Manifest(
            vehicle_id=ref.vehicle_id,
            vin=VIN,
            batch_id=ref.batch_id,
            release=release,
            platform="truck",
            recorded_from=NOW,
            recorded_to=NOW,
            files=tuple(ManifestFile(name=n, size=1, sha256="0" * 64) for n in names),
        )
    )


def accept(bucket: Bucket, ref: BatchRef, raw: bytes | None = None) -> str:
    raw = raw or manifest_of(ref)
    digest = manifest_digest(raw)
    bucket.put(accepted_key(ref.vehicle_id, ref.batch_id, digest), raw)
    return digest


def outcome(
    ref: BatchRef, digest: str, state: str, *, permanent: bool | None = None, at: datetime = NOW
) -> BatchResult:
    return BatchResult(
        vehicle_id=ref.vehicle_id,
        batch_id=ref.batch_id,
        partition_key=None,
        manifest_digest=digest,
        state=state,
        at=at,
        error_is_permanent=permanent,
    )


def whole_pass(bucket: Bucket, known=None, *, last=None, dry_run=False, after=LATER) -> ReconcileReport:
    report = begin_pass(last, now=bucket.now() + after, dry_run=dry_run)
    return reconcile(bucket, report, known=known or {}, retain=RETAIN)


def inbox(bucket: Bucket) -> set[str]:
    return {info.key for info in bucket.iterate("inbox/")}


ages = st.sampled_from([timedelta(0), GRACE - timedelta(seconds=1), GRACE, timedelta(days=3), RETAIN, RETAIN * 2])


@given(
    st.one_of(st.none(), st.builds(KnownBatch, st.sampled_from(["d", "e", None]), st.sampled_from(["completed", "failed", "working", "resting"]), st.sampled_from(["d", "e", None]))),
    st.booleans(),
    ages,
    st.one_of(st.none(), st.builds(lambda d, s, p, age: outcome(BatchRef("v", "b"), d, s, permanent=p, at=NOW - age), st.sampled_from("de"), st.sampled_from(["completed", "failed", "quarantined"]), st.booleans(), ages)),
)  # fmt: skip
def test_only_what_nobody_answers_for_is_lost(known, waits, age, result) -> None:
    taken = TakenManifest(BatchRef("v", "b"), "d", "k", NOW - age)
    verdict = judge(taken, known=known, waits=waits, now=NOW, retain=RETAIN)
    lost = verdict == "ask_outcome" and judge_outcome(taken, result) == "lost"
    completed = (result is not None and (result.manifest_digest, result.state) == ("d", "completed")) or (
        known is not None and (known.reported == "d" or (known.digest, known.state) == ("d", "completed"))
    )
    quarantined_since = (
        result is not None
        and (result.manifest_digest, result.state) == ("d", "quarantined")
        and result.at > taken.taken_at - GRACE
    )
    at_work = waits or (known is not None and known.state == "working")
    known_failed = known is not None and (known.digest, known.state) == ("d", "failed")
    assert lost == (GRACE <= age <= RETAIN and not (completed or quarantined_since or at_work or known_failed))


def test_a_batch_that_dagster_lost_goes_back_as_it_was(bucket: Bucket) -> None:
    ref = BatchRef("truck-1", "b.1")
    raw = manifest_of(ref)
    accept(bucket, ref, raw)
    assert whole_pass(bucket, dry_run=True).put_back == ["truck-1/b.1"]
    assert not inbox(bucket)
    report = whole_pass(bucket)
    assert (report.put_back, report.ended_at is not None) == (["truck-1/b.1"], True)
    assert bucket.read(inbox_key("truck-1", "b.1"), max_bytes=10_000) == raw
    assert whole_pass(bucket, last=report).put_back_count == 0, "it waits in the inbox"


def test_what_has_an_outcome_or_is_known_is_left_alone(bucket: Bucket) -> None:
    known = {}
    for name, state in (("c", "completed"), ("q", "quarantined")):
        ref = BatchRef("v", name)
        write_result(bucket, outcome(ref, accept(bucket, ref), state, at=bucket.now() + timedelta(seconds=1)))
    known[BatchRef("v", "wiped")] = KnownBatch(None, "resting", reported=accept(bucket, BatchRef("v", "wiped")))
    known[BatchRef("v", "at-work")] = KnownBatch(None, "working")
    accept(bucket, BatchRef("v", "at-work"))
    reported = BatchRef("v", "report-wiped")
    known[reported] = KnownBatch(accept(bucket, reported), "resting")
    write_result(bucket, outcome(reported, known[reported].digest, "completed"))
    for state in ("completed", "failed", "working"):
        ref = BatchRef("v", state)
        known[ref] = KnownBatch(accept(bucket, ref), state)
    lost = {BatchRef("v", n) for n in ("transient", "permanent", "resting", "older", "other", "retried")}
    for ref in lost:
        digest = accept(bucket, ref)
        if ref.batch_id == "transient":
            write_result(bucket, outcome(ref, digest, "failed", permanent=False))
        elif ref.batch_id == "permanent":
            write_result(bucket, outcome(ref, digest, "failed", permanent=True))
        elif ref.batch_id == "retried":  # dropped again after its quarantine
            write_result(bucket, outcome(ref, digest, "quarantined", at=bucket.now() - timedelta(days=1)))
        elif ref.batch_id == "resting":
            known[ref] = KnownBatch(digest, "resting")
        elif ref.batch_id == "older":
            known[ref] = KnownBatch("0123456789abcdef", "completed")  # the database is older than this manifest
        else:
            write_result(bucket, outcome(ref, "0123456789abcdef", "completed"))
    whole_pass(bucket, known)
    assert inbox(bucket) == {inbox_key(r.vehicle_id, r.batch_id) for r in lost}


def test_retention_is_not_undone_and_a_run_gets_its_time(bucket: Bucket) -> None:
    accept(bucket, BatchRef("v", "b"))
    assert whole_pass(bucket, after=RETAIN + timedelta(days=1)).put_back_count == 0
    soon = whole_pass(bucket, after=timedelta(0))
    assert (soon.put_back_count, soon.recent_count) == (0, 1)
    assert "1 manifests were taken less than 5 minutes before" in soon.text()
    assert not inbox(bucket)


def test_a_newer_manifest_in_the_inbox_is_never_replaced(bucket: Bucket) -> None:
    ref = BatchRef("v", "b")
    accept(bucket, ref)
    newer = manifest_of(ref, release="2")
    key = inbox_key("v", "b")
    bucket.put(key, newer)
    assert whole_pass(bucket).put_back_count == 0
    assert not bucket.put_new(key, manifest_of(ref)), "also where it came after the listing"
    assert bucket.read(key, max_bytes=10_000) == newer


def test_the_newest_manifest_counts(bucket: Bucket) -> None:
    ref = BatchRef("v", "b")
    first = bucket.is_local and "wait"
    accept(bucket, ref, manifest_of(ref, release="1"))
    if not first:
        import time

        time.sleep(1.1)  # S3 tells the time of an object in seconds
    second = manifest_of(ref, release="2")
    digest = accept(bucket, ref, second)
    assert whole_pass(bucket, {ref: KnownBatch(digest, "completed")}).put_back_count == 0
    whole_pass(bucket)
    assert bucket.read(inbox_key("v", "b"), max_bytes=10_000) == second


def test_recordings_that_no_manifest_names_are_reported_and_stay(bucket: Bucket) -> None:
    ref = BatchRef("v", "named")
    known = {ref: KnownBatch(accept(bucket, ref, manifest_of(ref, ("a.mf4", "sub/b.mf4"))), "completed")}
    keys = [recording_key("v", "named", n) for n in ("a.mf4", "sub/b.mf4", "extra.mf4")]
    keys += [recording_key("v", "no-manifest", n) for n in ("x", "y")]
    keys += ["batches/v/loose.mf4", "batches/v_1/b/x", recording_key("v", "waits", "x")]
    for key in keys:
        bucket.put(key, b"12")
    bucket.put(inbox_key("v", "waits"), b"{}")
    report = whole_pass(bucket, known)
    assert {(u.where, u.objects, u.why) for u in report.unnamed} == {
        ("batches/v/named/", 1, "not in the manifest"),
        ("batches/v/no-manifest/", 2, "no manifest"),
        ("batches/v/", 1, "not a batch's name"),
        ("batches/v_1/", 1, "not a batch's name"),
    }
    assert (report.objects, report.size_bytes, report.unnamed_count) == (8, 16, 5)
    assert {info.key for info in bucket.iterate("batches/")} == set(keys)
    soon = whole_pass(bucket, known, after=timedelta(hours=2))
    assert "batches/v/no-manifest/" not in {u.where for u in soon.unnamed}, "it may still be uploaded"


def test_a_quarantined_batch_without_an_outcome_gets_one(bucket: Bucket) -> None:
    ref = BatchRef("v", "b")
    raw = manifest_of(ref)
    reason = Reason(kind="missing_file", file="a", expected="1", actual="0", help="Upload it.")
    quarantine(bucket, ref, raw_manifest=raw, digest=manifest_digest(raw), reasons=[reason], at=NOW)
    assert whole_pass(bucket).told == ["v/b"]
    result = read_result(bucket, ref)
    assert result is not None
    assert (result.state, result.manifest_digest, result.reasons) == ("quarantined", manifest_digest(raw), (reason,))
    assert whole_pass(bucket).told_count == 0


def test_a_pass_goes_on_where_it_was_stopped_and_finds_the_same(tmp_path) -> None:
    bucket = Bucket.from_url(str(tmp_path / "bucket"))
    bucket.ensure()
    refs = [BatchRef(f"v{i}", f"b{j}") for i in range(5) for j in range(3)]
    for ref in refs:
        accept(bucket, ref)
        bucket.put(recording_key(ref.vehicle_id, ref.batch_id, "extra"), b"1")
    at = bucket.now() + LATER
    whole = reconcile(bucket, ReconcileReport(started_at=at, dry_run=True), known={}, retain=RETAIN)
    report: ReconcileReport | None = None
    pieces = count()
    while report is None or report.ended_at is None:
        next(pieces)
        text = report.model_dump_json() if report else None
        report = begin_pass(ReconcileReport.model_validate_json(text) if text else None, now=at)
        asked = count()
        reconcile(bucket, report, known={}, retain=RETAIN, stop=lambda asked=asked: next(asked) >= 2)
    assert next(pieces) == 3
    assert report.put_back == whole.put_back == [f"{r.vehicle_id}/{r.batch_id}" for r in refs]
    assert report.unnamed == whole.unnamed
    assert report.started_at == at


def test_the_report_stays_small(tmp_path) -> None:
    bucket = Bucket.from_url(str(tmp_path / "bucket"))
    bucket.ensure()
    for i in range(500):
        accept(bucket, BatchRef("v", f"b{i}"))
    report = whole_pass(bucket)
    assert (report.put_back_count, len(report.put_back), len(inbox(bucket))) == (500, 200, 500)
    assert "500 were put back" in report.text()
    assert json.loads(report.model_dump_json())["put_back_count"] == 500
