"""Take completed batches: list the inbox, read manifests, ask `drop/intake.py` for a plan, carry it out.

Work is bounded: a tick lists at most `MAX_MANIFESTS` markers and stops reading after `READ_SECONDS` or `READ_BYTES`;
the rest waits for the next tick. The cursor holds what one tick requested and nothing older.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from hashlib import sha256
from itertools import islice
from typing import Final, TypeVar

import dagster as dg

from argus_assets.drop.bucket import Bucket, ObjectInfo
from argus_assets.drop.intake import (
    Candidate,
    IntakeCursor,
    IntakePlan,
    PlannedBatch,
    Requested,
    Sizing,
    first_keys,
    plan_intake,
)
from argus_assets.drop.keys import INBOX, BatchRef, accepted_key, inbox_key, parse_inbox_key, partition_key
from argus_assets.drop.manifest import MAX_MANIFEST_BYTES, manifest_digest, parse_manifest
from argus_assets.drop.presence import present_files
from argus_assets.drop.quarantine import Reason, quarantine, quarantine_unknown, reasons_of
from argus_assets.drop.results import BatchResult, write_result
from argus_assets.errors import BadManifest, PermanentError, Unavailable
from argus_assets.event_log.events import to_dagster
from argus_assets.event_log.queries import latest_digest
from argus_assets.events import BatchCreated, BatchQuarantined, DuplicateDropped
from argus_assets.lake.batches import BatchStore
from argus_assets.lake.store import Lake
from argus_assets.partitions import (
    BATCHES,
    ESTIMATED,
    PRIORITY,
    SIZE,
    WHY,
    Job,
    batches,
    partitions_in_flight,
    request_run,
    runs_at_once,
)
from argus_assets.pipeline import BATCH_REPORT
from argus_assets.resources.bucket import BucketResource
from argus_assets.resources.lake import LakeResource

MAX_MANIFESTS: Final = 200
MAX_OF_VEHICLE: Final = 50
READ_SECONDS: Final = 20.0
READ_BYTES: Final = 64 * 1024**2
READERS: Final = 16

PACE_RUNS: Final = 10
PACE_MIN_S: Final = 5.0
"""A shorter run says more about its start than about its work."""

MAX_PACE: Final = 20.0


_Item = TypeVar("_Item")


def build_completed_batches_sensor(
    job: Job, *, interval_s: int, run_s: float, max_batch_bytes: int | None = None
) -> dg.SensorDefinition:
    """Return the sensor.

    Args:
        job: Started for what was taken.
        interval_s: Seconds between two ticks.
        run_s: Seconds of work to put into one run.
        max_batch_bytes: Largest batch that is taken, `None` for no limit.
    """

    @dg.sensor(
        name="completed_batches_sensor",
        job=job,
        minimum_interval_seconds=interval_s,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Takes each batch whose completion manifest is in the inbox, and quarantines what cannot be used.",
    )
    def completed_batches_sensor(
        context: dg.SensorEvaluationContext, bucket: BucketResource, lake: LakeResource
    ) -> dg.SensorResult:
        return take_completed_batches(
            context.instance,
            context.cursor,
            bucket.bucket(),
            lake.lake(),
            run_s=run_s,
            max_batch_bytes=max_batch_bytes,
        )

    return completed_batches_sensor


def take_completed_batches(
    instance: dg.DagsterInstance,
    cursor_text: str | None,
    bucket: Bucket,
    lake: Lake,
    *,
    run_s: float = Sizing().run_s,
    max_batch_bytes: int | None = None,
) -> dg.SensorResult:
    """Run one tick: archive what the last tick requested, read some of the inbox, plan, carry the plan out.

    Args:
        instance: Dagster's records.
        cursor_text: The cursor of the last tick.
        bucket: The drop bucket.
        lake: Where manifests are kept.
        run_s: Seconds of work to put into one run.
        max_batch_bytes: Largest batch that is taken, `None` for no limit.

    Raises:
        Unavailable: The bucket or the lake did not answer. The tick fails and its cursor stays: nothing is lost.
    """
    cursor = IntakeCursor.load(cursor_text)
    now = datetime.now(UTC)
    with ThreadPoolExecutor(max_workers=READERS, thread_name_prefix="intake") as pool:
        # What stands in the cursor was recorded together with its runs: now it may leave the inbox.
        # An object that the storage does not delete stays in the cursor, and does not hold up the others.
        held = _do_each(pool, lambda r: _archive(bucket, r.ref, r.digest, r.stamp), cursor.requested)
        held_drops = {(r.ref, r.stamp) for r in held}

        markers, whole = list_fairly(bucket, cursor.start_after)
        candidates: list[Candidate] = []
        last_read = ""
        unread: list[Unavailable] = []
        for marker, found in _read_some(pool, bucket, markers, now):
            last_read = marker.key
            if isinstance(found, Unavailable):
                unread.append(found)
            elif found is not None and (found.ref, found.stamp) not in held_drops:
                candidates.append(found)
        if unread and not candidates:
            raise unread[0]
        at_end = whole and (not markers or last_read == markers[-1].key)

        existing = instance.get_dynamic_partitions(BATCHES) if candidates else []
        sizing = Sizing(
            run_s=run_s,
            runs_at_once=runs_at_once(instance),
            pace=_pace(instance) if candidates else 1.0,
        )
        plan = plan_intake(
            candidates,
            existing=existing,
            in_flight=partitions_in_flight(instance, existing) if candidates else frozenset(),
            finished=_finished(instance, candidates, existing),
            sizing=sizing,
            max_batch_bytes=max_batch_bytes,
        )
        # The run reads the manifest from the lake: a vehicle may replace the one in the inbox at any time.
        _do_all(pool, lambda b: _keep(lake, b), plan.batches)
        left = _do_each(pool, lambda q: _quarantine(bucket, q[0], q[1], now), plan.quarantined)
        plan = replace(plan, quarantined=tuple(q for q in plan.quarantined if q not in left))
        _do_each(
            pool, lambda d: _archive(bucket, d.candidate.ref, d.candidate.digest, d.candidate.stamp), plan.duplicates
        )

    next_cursor = IntakeCursor(
        requested=(
            *held,
            *(
                Requested(
                    vehicle_id=b.candidate.ref.vehicle_id,
                    batch_id=b.candidate.ref.batch_id,
                    digest=b.candidate.digest,
                    stamp=b.candidate.stamp,
                    partition=b.partition,
                )
                for b in plan.batches
            ),
        ),
        start_after="" if at_end else last_read,
    )
    return _result(plan, next_cursor, sizing, now)


def _do_all(pool: Executor, action: Callable[[_Item], object], items: Sequence[_Item]) -> None:
    """Do an action for each item, concurrently; raise the first error after all were tried."""
    futures = [pool.submit(action, item) for item in items]
    errors = [error for error in (future.exception() for future in futures) if error is not None]
    if errors:
        raise errors[0]


def _do_each(pool: Executor, action: Callable[[_Item], object], items: Sequence[_Item]) -> list[_Item]:
    """Do an action for each item, concurrently; return those for which the storage did not answer."""
    futures = [(item, pool.submit(action, item)) for item in items]
    errors = [(item, future.exception()) for item, future in futures]
    others = [error for _, error in errors if error is not None and not isinstance(error, Unavailable)]
    if others:
        raise others[0]
    return [item for item, error in errors if error is not None]


# ---------------------------------------------------------------------------------------------- reading the inbox


def list_fairly(bucket: Bucket, start_after: str) -> tuple[list[ObjectInfo], bool]:
    """Return some markers after a key, and whether the listing reached the end of the inbox.

    No more than `MAX_OF_VEHICLE` of one vehicle while others wait behind it; remaining room is then filled with further
    markers of those vehicles.
    """
    found: list[ObjectInfo] = []
    more: dict[str, str] = {}
    of_vehicle: Counter[str] = Counter()
    whole = False
    while not whole and len(found) < MAX_MANIFESTS:
        room = MAX_MANIFESTS - len(found)
        page = bucket.list_inbox(limit=room, start_after=start_after)
        whole = len(page) < room
        for marker in page:
            vehicle = marker.key.removeprefix(INBOX).partition("/")[0]
            if of_vehicle[vehicle] == MAX_OF_VEHICLE:
                more[vehicle] = start_after
                # Behind all keys of this vehicle: "0" is the character after the slash.
                start_after, whole = f"{INBOX}{vehicle}0", False
                break
            of_vehicle[vehicle] += 1
            found.append(marker)
            start_after = marker.key
    for vehicle, last in more.items() if whole else ():
        rest = bucket.iterate(f"{INBOX}{vehicle}/", start_after=last)
        found += islice(rest, MAX_MANIFESTS - len(found))
    return found, whole


def _read_some(
    pool: Executor, bucket: Bucket, markers: Sequence[ObjectInfo], now: datetime
) -> Iterator[tuple[ObjectInfo, Candidate | Unavailable | None]]:
    """Read markers concurrently, in order, until the tick's time or bytes are spent.

    One that the storage does not return comes with its error: it waits for the next tick, the others go on.
    """

    def read(marker: ObjectInfo) -> Candidate | Unavailable | None:
        try:
            return _read_one(bucket, marker, now)
        except Unavailable as error:
            return error

    deadline = time.monotonic() + READ_SECONDS
    left_bytes = READ_BYTES
    todo = iter(markers)
    while time.monotonic() < deadline and left_bytes > 0:
        group = list(islice(todo, READERS))
        if not group:
            return
        left_bytes -= sum(min(m.size, MAX_MANIFEST_BYTES) for m in group)
        yield from zip(group, pool.map(read, group), strict=True)


def _read_one(bucket: Bucket, marker: ObjectInfo, now: datetime) -> Candidate | None:
    """Read one manifest and list the files it names; return `None` when it has just left the inbox."""
    ref = parse_inbox_key(marker.key)
    if ref is None:
        # One that the store lists but does not return stays where it is: it must not hold up the others.
        with suppress(PermanentError):
            quarantine_unknown(bucket, marker.key, at=now)
        return None
    stamp = _stamp(marker)
    if marker.size > MAX_MANIFEST_BYTES:
        reason = Reason(
            kind="bad_manifest",
            file=marker.key,
            expected=f"at most {MAX_MANIFEST_BYTES} bytes",
            actual=f"{marker.size} bytes",
            help="Split the drive into several batches, then drop their manifests.",
        )
        digest = sha256(stamp.encode()).hexdigest()[:16]
        return Candidate(ref, digest, stamp, None, None, (reason,))
    if not bucket.exists(marker.key):
        return None
    raw = bucket.read(marker.key, max_bytes=MAX_MANIFEST_BYTES)
    digest = manifest_digest(raw)
    try:
        manifest = parse_manifest(raw, vehicle_id=ref.vehicle_id, batch_id=ref.batch_id)
    except BadManifest as error:
        return Candidate(ref, digest, stamp, raw, None, reasons_of(error))
    files = present_files(bucket, manifest)
    return Candidate(ref, digest, stamp, raw, manifest, files=files, put_at=marker.modified)


# ---------------------------------------------------------------------------------------------- Dagster's records


def _finished(
    instance: dg.DagsterInstance, candidates: Sequence[Candidate], existing: Sequence[str]
) -> set[tuple[str, str]]:
    """Return (key, digest) of those candidates whose batch was processed to the end, and from which manifest."""
    key_of = first_keys(existing)
    finished: set[tuple[str, str]] = set()
    for candidate in candidates:
        key = key_of.get((candidate.ref.vehicle_id, candidate.ref.batch_id))
        digest = latest_digest(instance, BATCH_REPORT.name, key) if key is not None else None
        if key is not None and digest is not None:
            finished.add((key, digest))
    return finished


def _pace(instance: dg.DagsterInstance) -> float:
    """Return the seconds that the last runs took for each second that was estimated for them."""
    records = instance.get_run_records(
        filters=dg.RunsFilter(statuses=[dg.DagsterRunStatus.SUCCESS], tags={WHY: "intake"}), limit=PACE_RUNS
    )
    took_s = expected_s = 0.0
    for record in records:
        expected = float(record.dagster_run.tags.get(ESTIMATED, 0))
        if expected >= PACE_MIN_S and record.start_time is not None and record.end_time is not None:
            took_s += record.end_time - record.start_time
            expected_s += expected
    return min(max(took_s / expected_s, 1 / MAX_PACE), MAX_PACE) if expected_s else 1.0


# ---------------------------------------------------------------------------------------------- carrying it out


def _keep(lake: Lake, batch: PlannedBatch) -> None:
    assert batch.candidate.raw is not None, "a planned batch has a manifest"
    BatchStore(lake).save_manifest(batch.partition, batch.candidate.digest, batch.candidate.raw)


def _stamp(marker: ObjectInfo) -> str:
    """Return what identifies one drop of a marker. In whole seconds: S3 reports the time of an object in two precisions."""
    return f"{marker.etag}@{int(marker.modified.timestamp()) if marker.modified else 0}"


def _archive(bucket: Bucket, ref: BatchRef, digest: str, stamp: str) -> None:
    """Move a manifest from the inbox to the accepted ones; harmless when repeated.

    What was dropped under its name in the meantime stays where it is, be it the same manifest or another.
    """
    marker = inbox_key(ref.vehicle_id, ref.batch_id)
    found = bucket.stat(marker)
    if found is None or _stamp(found) != stamp:
        return
    bucket.copy(marker, accepted_key(ref.vehicle_id, ref.batch_id, digest))
    bucket.delete(marker)


def _quarantine(bucket: Bucket, candidate: Candidate, reasons: Sequence[Reason], at: datetime) -> None:
    """Move a manifest out of the way, with the reasons beside it and in the results."""
    ref = candidate.ref
    quarantine(bucket, ref, raw_manifest=candidate.raw, digest=candidate.digest, reasons=reasons, at=at)
    write_result(
        bucket,
        BatchResult(
            vehicle_id=ref.vehicle_id,
            batch_id=ref.batch_id,
            partition_key=_partition_of(candidate),
            manifest_digest=candidate.digest,
            state="quarantined",
            at=at,
            reasons=tuple(reasons),
        ),
    )
    marker = inbox_key(ref.vehicle_id, ref.batch_id)
    found = bucket.stat(marker)
    if found is not None and _stamp(found) == candidate.stamp:
        bucket.delete(marker)


def _partition_of(candidate: Candidate) -> str | None:
    manifest = candidate.manifest
    if manifest is None:
        return None
    return partition_key(manifest.recorded_from, manifest.vehicle_id, manifest.batch_id)


def _result(plan: IntakePlan, cursor: IntakeCursor, sizing: Sizing, now: datetime) -> dg.SensorResult:
    events = [
        *(to_dagster(_created(b, sizing, now), partition=b.partition) for b in plan.batches),
        *(to_dagster(_rejected(c, reasons, now), partition=_partition_of(c)) for c, reasons in plan.quarantined),
        *(
            to_dagster(DuplicateDropped(manifest_digest=b.candidate.digest), partition=b.partition)
            for b in plan.duplicates
        ),
    ]
    text = (
        f"{len(plan.batches)} batches taken, {len(plan.quarantined)} quarantined, {len(plan.duplicates)} dropped again "
        f"unchanged, {len(plan.waiting)} waiting for their run to end"
    )
    return dg.SensorResult(
        run_requests=[
            request_run(
                run.run_key,
                run.partitions,
                why="intake",
                tags={
                    ESTIMATED: f"{run.estimated_s:.2f}",
                    PRIORITY: str(run.priority),
                    **({SIZE: "large"} if run.large else {}),
                },
            )
            for run in plan.runs
        ],
        skip_reason=None if plan.runs else dg.SkipReason(text),
        cursor=cursor.model_dump_json(),
        dynamic_partitions_requests=[batches.build_add_request(list(plan.new_partitions))]
        if plan.new_partitions
        else [],
        asset_events=events,
    )


def _created(batch: PlannedBatch, sizing: Sizing, now: datetime) -> BatchCreated:
    candidate, manifest = batch.candidate, batch.candidate.manifest
    assert manifest is not None, "a planned batch has a manifest"
    put = [info.modified for info in candidate.files.values() if info.modified is not None]
    return BatchCreated(
        manifest_digest=candidate.digest,
        vehicle_id=manifest.vehicle_id,
        batch_id=manifest.batch_id,
        platform=manifest.platform,
        release=manifest.release,
        recorded_from=manifest.recorded_from,
        recorded_to=manifest.recorded_to,
        files=len(manifest.files),
        size_bytes=sum(f.size for f in manifest.files),
        estimated_s=sizing.seconds(candidate),
        first_byte_at=min(put, default=None),
        marker_at=candidate.put_at or now,
        taken_at=now,
    )


def _rejected(candidate: Candidate, reasons: Sequence[Reason], now: datetime) -> BatchQuarantined:
    return BatchQuarantined(
        manifest_digest=candidate.digest,
        vehicle_id=candidate.ref.vehicle_id,
        batch_id=candidate.ref.batch_id,
        at=now,
        reasons=tuple(reasons),
    )
