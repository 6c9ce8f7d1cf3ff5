"""Questions to Dagster's event log, through Dagster's own interface. In pages, however many batches there are."""

import json
from collections import defaultdict
from collections.abc import Callable, Collection, Generator, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

import dagster as dg
from dagster import DagsterEventType

from argus_assets.event_log.events import (
    CODE_VERSION,
    DATA_VERSION,
    MADE_WITH,
    AssetEvent,
    digest_of,
    from_dagster,
    input_version_tag,
    name_of,
    plain,
)
from argus_assets.events import BatchCreated, Recorded, StatusChanged
from argus_assets.maintenance.staleness import CODE, MaterializationRecord
from argus_assets.partitions import WHY
from argus_assets.pipeline import ASSETS, DROP, INPUT, STAGES, BatchState

PAGE: Final = 1000
RUNS_AT_ONCE: Final = 500
NAMED_KEYS: Final = 500
"""Partition keys that are named in a query; of more, all are read."""

MAX_EARLIER: Final = 100
"""Earlier diagnoses of a batch that are compared with its manifest."""

SIDE_BY_SIDE: Final = 10_000
"""Events that other runs may write while one is being created."""

MAX_CANCEL_EVENTS: Final = 50

_OUT_OF_TIME: Final = "exceeding maximum runtime"
_BY_FORCE: Final = "forcibly marked as canceled"
"""Dagster's words, which are all that say who ended a run."""

_MADE: Final = DagsterEventType.ASSET_MATERIALIZATION


# ---------------------------------------------------------------------------------------------- one event


def asset_event(record: dg.EventLogRecord) -> AssetEvent:
    """Return the materialisation or the observation that a record holds."""
    event = record.asset_materialization or record.event_log_entry.asset_observation
    assert event is not None, "a record of an asset event holds one"
    return event


def run_of(record: dg.EventLogRecord) -> str | None:
    """Return the run that an event is of, also where a sensor reports for it."""
    run_id = plain(asset_event(record).metadata).get("run_id")
    return record.run_id or (None if run_id is None else str(run_id))


def recorded(record: dg.EventLogRecord, why: Mapping[str, str]) -> Recorded | None:
    """Return the typed event of a record, `None` for what `from_dagster` does not know.

    Args:
        record: Of a materialisation or an observation.
        why: Why each run was started; see `why_of_runs`.

    Raises:
        ValueError: It lacks what every event of its name has.
    """
    what = asset_event(record)
    event = from_dagster(what)
    if event is None:
        return None
    run_id = run_of(record)
    at = datetime.fromtimestamp(record.timestamp, UTC)
    return Recorded(at, event, what.partition, run_id, why.get(run_id) if run_id else None)


# ---------------------------------------------------------------------------------------------- what was made last


def latest(instance: dg.DagsterInstance, asset: str, partitions: Sequence[str]) -> dict[str, dg.AssetMaterialization]:
    """Return the last materialisation of an asset of each batch that has one."""
    wanted = dg.AssetRecordsFilter(asset_key=dg.AssetKey(asset), asset_partitions=list(partitions))
    found: dict[str, dg.AssetMaterialization] = {}
    for page in _pages(instance.fetch_materializations, wanted, limit=min(PAGE, len(partitions))) if partitions else ():
        for record in page:  # newest first
            made = record.asset_materialization
            if made is not None and made.partition is not None:
                found.setdefault(made.partition, made)
        if len(found) == len(partitions):
            break
    return found


def latest_digest(instance: dg.DagsterInstance, asset: str, partition: str) -> str | None:
    """Return the digest of the manifest from which an asset of a batch was materialised last."""
    made = latest(instance, asset, [partition]).get(partition)
    return None if made is None else digest_of(made)


def latest_digests(instance: dg.DagsterInstance, asset: str, partitions: Sequence[str]) -> dict[str, str]:
    """Return the digest of the manifest from which an asset of each batch was materialised last, where it has one."""
    found: dict[str, str] = {}
    for some in _some(partitions):
        for key, made in latest(instance, asset, some).items():
            if (digest := digest_of(made)) is not None:
                found[key] = digest
    return found


def dropped_digests(instance: dg.DagsterInstance, partitions: Sequence[str] | None = None) -> dict[str, str]:
    """Return the digest of the manifest that was taken last of each batch, in one query.

    Args:
        instance: Where the log is.
        partitions: Which batches, `None` for all.
    """
    if partitions is not None and not partitions:
        return {}
    tags = instance.event_log_storage.get_latest_tags_by_partition(
        dg.AssetKey(DROP), _MADE, [DATA_VERSION], None if partitions is None else list(partitions)
    )
    return {key: of_event[DATA_VERSION] for key, of_event in tags.items() if DATA_VERSION in of_event}


def latest_ids(
    instance: dg.DagsterInstance, asset: str, partitions: Collection[str] | None = None
) -> Mapping[str, int]:
    """Return the storage id of the last materialisation of an asset of each batch, in one query.

    Args:
        instance: Where the log is.
        asset: Its name.
        partitions: Which batches; others may be in the answer where these are many. `None` for all.
    """
    # Naming thousands of keys takes longer than reading them all.
    named = set(partitions) if partitions is not None and len(partitions) <= NAMED_KEYS else None
    return instance.event_log_storage.get_latest_storage_id_by_partition(dg.AssetKey(asset), _MADE, named)


def materialization_records(
    instance: dg.DagsterInstance,
    partitions: Sequence[str],
    *,
    assets: Iterable[str],
    on_progress: Callable[[int], object] = lambda _: None,
) -> dict[str, dict[str, MaterializationRecord]]:
    """Return how assets of batches were made last: partition → asset → record.

    Args:
        instance: Where the log is.
        partitions: Which batches.
        assets: Which assets.
        on_progress: Called with the number of batches that were read since the last call, for each asset.
    """
    found: dict[str, dict[str, MaterializationRecord]] = defaultdict(dict)
    for asset in assets:
        for some in _some(partitions):
            for key, made in latest(instance, asset, some).items():
                found[key][asset] = _record_of(asset, made)
            on_progress(len(some))
    return dict(found)


def _record_of(asset: str, made: dg.AssetMaterialization) -> MaterializationRecord:
    tags = made.tags or {}
    written = made.metadata.get(MADE_WITH)
    recipe: dict[str, str] = json.loads(json.dumps(written.value)) if written is not None else {}
    if CODE_VERSION in tags:
        recipe[CODE] = tags[CODE_VERSION]
    return MaterializationRecord(
        digest=digest_of(made) or "",
        data_version=tags.get(DATA_VERSION, ""),
        recipe=recipe,
        made_from=tags.get(input_version_tag(INPUT[asset])) if asset in INPUT else None,
    )


def last_drops(instance: dg.DagsterInstance, partitions: Sequence[str]) -> dict[str, BatchCreated]:
    """Return the event that took the current manifest of each batch that has one."""
    return {
        key: event
        for some in _some(partitions)
        for key, made in latest(instance, DROP, some).items()
        if isinstance(event := from_dagster(made), BatchCreated)
    }


def first_taken_at(instance: dg.DagsterInstance, partitions: Collection[str]) -> float | None:
    """Return when the manifest was put of the batch that was taken first among these, seconds since 1970."""
    wanted_keys = set(partitions)
    taken = (
        [i for key, i in latest_ids(instance, DROP, wanted_keys).items() if key in wanted_keys] if partitions else []
    )
    if not taken:
        return None
    wanted = dg.AssetRecordsFilter(asset_key=dg.AssetKey(DROP), storage_ids=[min(taken)])
    records = instance.fetch_materializations(wanted, limit=1).records
    if not records:
        return None
    event = from_dagster(asset_event(records[0]))
    put_at = event.marker_at if isinstance(event, BatchCreated) else None
    return put_at.timestamp() if put_at is not None else records[0].timestamp


def made_by_run(instance: dg.DagsterInstance, run_id: str) -> set[tuple[str, str, str]]:
    """Return what a run materialised: (asset, partition, digest of the manifest)."""
    found: set[tuple[str, str, str]] = set()
    for entry in instance.all_logs(run_id, of_type=_MADE):
        made = entry.asset_materialization
        if made is not None and made.partition is not None and (digest := digest_of(made)) is not None:
            found.add((made.asset_key.to_user_string(), made.partition, digest))
    return found


# ---------------------------------------------------------------------------------------------- a batch, or a time


def history(instance: dg.DagsterInstance, partition: str) -> Generator[tuple[str, dg.EventLogRecord]]:
    """Yield every event of a batch with its asset: materialisations, then observations, of each asset the newest first."""
    for asset in ASSETS:
        wanted = dg.AssetRecordsFilter(asset_key=dg.AssetKey(asset), asset_partitions=[partition])
        for fetch in (instance.fetch_materializations, instance.fetch_observations):
            for page in _pages(fetch, wanted):
                for record in page:
                    yield asset, record


def made_since(instance: dg.DagsterInstance, asset: str, since: datetime) -> Generator[dg.AssetMaterialization]:
    """Yield the materialisations of an asset since then, newest first."""
    wanted = dg.AssetRecordsFilter(asset_key=dg.AssetKey(asset), after_timestamp=since.timestamp())
    for page in _pages(instance.fetch_materializations, wanted):
        for record in page:
            if record.asset_materialization is not None:
                yield record.asset_materialization


def last_id(instance: dg.DagsterInstance) -> int:
    """Return the storage id of the last event, 0 in an empty log."""
    return instance.event_log_storage.get_maximum_record_id() or 0


def events_between(
    instance: dg.DagsterInstance, after: int, up_to: int, *, max_events: int
) -> tuple[list[dg.EventLogRecord], int]:
    """Return the events of batches' assets after a storage id, in order, and the storage id up to which these are all.

    Args:
        instance: Where the log is.
        after: Storage id of the last event that was read.
        up_to: Last storage id to read; see `tables.settled_id`.
        max_events: Of materialisations and of observations, so many each at most.
    """
    horizon = up_to
    pages: list[Sequence[dg.EventLogRecord]] = []
    for kind in (_MADE, DagsterEventType.ASSET_OBSERVATION):
        if horizon <= after:
            break
        page = instance.event_log_storage.get_event_records(
            dg.EventRecordsFilter(event_type=kind, after_cursor=after, before_cursor=horizon + 1),
            limit=max_events,
            ascending=True,
        )
        if len(page) == max_events:
            horizon = page[-1].storage_id
        pages.append(page)
    ours = {dg.AssetKey(name) for name in ASSETS}
    records = [r for page in pages for r in page if r.storage_id <= horizon and asset_event(r).asset_key in ours]
    return sorted(records, key=lambda record: record.storage_id), horizon


def why_of_runs(instance: dg.DagsterInstance, run_ids: Iterable[str]) -> dict[str, str]:
    """Return why each run was started, where its tags say so."""
    wanted = sorted(run_ids)
    groups = (wanted[at : at + RUNS_AT_ONCE] for at in range(0, len(wanted), RUNS_AT_ONCE))
    return {
        run.run_id: why
        for group in groups
        for run in instance.get_runs(filters=dg.RunsFilter(run_ids=group))
        if (why := run.tags.get(WHY)) is not None
    }


def is_made_before(
    instance: dg.DagsterInstance, asset: str, partition: str, *, digest: str, before: dg.EventLogRecord
) -> bool:
    """Return whether an asset of a batch was made from this manifest before an event."""
    wanted = dg.AssetRecordsFilter(
        asset_key=dg.AssetKey(asset), asset_partitions=[partition], before_storage_id=before.storage_id
    )
    earlier = instance.fetch_materializations(wanted, limit=MAX_EARLIER).records
    return any(digest_of(asset_event(record)) == digest for record in earlier)


# ---------------------------------------------------------------------------------------------- attempts and failures


def unmade_attempts(instance: dg.DagsterInstance, stage: str, *, after: int) -> Mapping[str, tuple[str, int]]:
    """Return the last attempt at a stage of each batch that did not make it: run and storage id.

    Args:
        instance: Where the log is.
        stage: Name of the asset.
        after: Storage id; what was planned earlier is left out.
    """
    return instance.event_log_storage.get_latest_asset_partition_materialization_attempts_without_materializations(
        dg.AssetKey(stage), after_storage_id=after
    )


def planned_runs(instance: dg.DagsterInstance, stage: str, after: Mapping[str, int]) -> dict[str, list[str]]:
    """Return the runs that were to make a stage of each batch, oldest first.

    Args:
        instance: Where the log is.
        stage: Name of the asset.
        after: Partition → storage id; what was planned earlier is left out.
    """
    found: dict[str, list[str]] = defaultdict(list)
    for record in _planned(instance, stage, after):
        key = record.partition_key
        if key is not None and record.storage_id > after[key] and record.run_id not in found[key]:
            found[key].append(record.run_id)
    return found


def _planned(instance: dg.DagsterInstance, stage: str, after: Mapping[str, int]) -> Generator[dg.EventLogRecord]:
    if not after:
        return
    last = min(after.values())
    while True:
        wanted = dg.EventRecordsFilter(
            DagsterEventType.ASSET_MATERIALIZATION_PLANNED,
            asset_key=dg.AssetKey(stage),
            asset_partitions=list(after),
            after_cursor=last,
        )
        page = instance.event_log_storage.get_event_records(wanted, limit=PAGE, ascending=True)
        yield from page
        if len(page) < PAGE:
            return
        last = page[-1].storage_id


def failures_of(
    instance: dg.DagsterInstance, after: Mapping[str, int]
) -> Generator[tuple[str, str, datetime, StatusChanged]]:
    """Yield what runs recorded of batches' failures: partition, run, time and event; of each stage the oldest first.

    Args:
        instance: Where the log is.
        after: Partition → storage id; what was recorded earlier is left out.
    """
    if not after:
        return
    for stage in STAGES:
        wanted = dg.AssetRecordsFilter(
            asset_key=dg.AssetKey(stage), asset_partitions=list(after), after_storage_id=min(after.values())
        )
        for page in _pages(instance.fetch_observations, wanted, ascending=True):
            for record in page:
                seen = record.asset_observation
                if seen is None or seen.partition is None or record.storage_id <= after[seen.partition]:
                    continue
                # Of a batch of many recordings most events are of another kind: these are not even read.
                event = from_dagster(seen) if name_of(seen) == StatusChanged.__name__ else None
                if isinstance(event, StatusChanged) and event.state == BatchState.FAILED:
                    yield seen.partition, record.run_id, datetime.fromtimestamp(record.timestamp, UTC), event


def first_id_of_run(instance: dg.DagsterInstance, run_id: str) -> int:
    """Return a storage id before all events of a run, and of those that are created at the same moment; 0 without events."""
    events = instance.get_records_for_run(run_id, limit=1).records
    # Runs that are created at the same moment write side by side.
    return max(0, events[0].storage_id - SIDE_BY_SIDE) if events else 0


def is_cancelled_by_person(instance: dg.DagsterInstance, run: dg.DagsterRun) -> bool:
    """Return whether a person cancelled a run, which did not run out of time, nor was its worker interrupted otherwise."""
    if run.status is not dg.DagsterRunStatus.CANCELED:
        return False
    wanted = {DagsterEventType.RUN_CANCELING, DagsterEventType.RUN_CANCELED}
    records = instance.get_records_for_run(run.run_id, of_type=wanted, limit=MAX_CANCEL_EVENTS).records
    events = [r.event_log_entry.dagster_event for r in records]
    asked = [e for e in events if e is not None and e.event_type is DagsterEventType.RUN_CANCELING]
    if any(_OUT_OF_TIME in (e.message or "") for e in asked):
        return False
    # By force, before it has begun: Dagster asks nobody then.
    return bool(asked) or any(e is not None and _BY_FORCE in (e.message or "") for e in events)


# ---------------------------------------------------------------------------------------------- pages


def _pages(
    fetch: Callable[..., dg.EventRecordsResult],
    wanted: dg.AssetRecordsFilter,
    *,
    limit: int = PAGE,
    ascending: bool = False,
) -> Generator[Sequence[dg.EventLogRecord]]:
    """Yield what the filter allows, newest first unless `ascending`, a page at a time."""
    cursor: str | None = None
    while True:
        page = fetch(wanted, limit=limit, cursor=cursor, ascending=ascending)
        yield page.records
        if not page.has_more:
            return
        cursor = page.cursor


def _some(partitions: Sequence[str]) -> Generator[Sequence[str]]:
    for at in range(0, len(partitions), PAGE):
        yield partitions[at : at + PAGE]
