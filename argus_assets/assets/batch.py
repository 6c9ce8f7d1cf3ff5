"""The assets of a batch, as one op that takes one batch or many.

Only Dagster's side stands here: which partitions, which assets, events and failures. What a stage does stands in
`stages.py`. Each batch gets its own materialisations and its own failure; a run fails at its end when a batch
failed, and the batches that went well keep their results.
"""

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property, partial
from hashlib import sha256
from pathlib import Path
from threading import Event, Lock
from typing import Any, Final, TypeVar

import dagster as dg
import polars as pl
from dagster import DagsterEventType

from argus_assets.assets import stages
from argus_assets.assets.provenance import MADE_WITH, latest, made_as, recipes_in_force, version_tags
from argus_assets.common.capacity import READ_AHEAD_BYTES, Capacity, computing_bytes
from argus_assets.common.tables import Table
from argus_assets.common.texts import markdown_table, one_line
from argus_assets.containment.client import Pool, pool
from argus_assets.dagster_instance.storage import patch_storage
from argus_assets.diagnosis.budget import priority_of
from argus_assets.diagnosis.citations import Facts, citation_problems
from argus_assets.diagnosis.model import Diagnosis, Evidence
from argus_assets.drop.bucket import Bucket
from argus_assets.drop.keys import BatchRef, parse_partition_key
from argus_assets.drop.manifest import Manifest, manifest_digest, parse_manifest
from argus_assets.drop.quarantine import Reason, quarantine
from argus_assets.drop.results import BatchResult, CauseResult, write_result
from argus_assets.errors import ArgusError, PermanentError, TransientError, Unavailable
from argus_assets.faults.config import FaultConfig
from argus_assets.faults.schema import BUS_STATS, ERROR_EVENTS
from argus_assets.lake.store import Lake
from argus_assets.maintenance.staleness import MadeAs, Recipe, stale_because
from argus_assets.monitoring.latency import Latency, StepName, waterfall
from argus_assets.monitoring.logs import fields
from argus_assets.notifications.events import worst_faults
from argus_assets.partitions import DATA_VERSION, FROM_STAGE, ONLY_STALE, WHY, batches, runs_at_once
from argus_assets.pipeline import INPUT, STAGES
from argus_assets.recordings.model import Limits
from argus_assets.recordings.parts import READER_VERSION
from argus_assets.recordings.registry import Decoders
from argus_assets.recordings.schema import PROBLEMS, RECORDINGS
from argus_assets.report.summary import diagnosis_markdown
from argus_assets.resources.bucket import BucketResource
from argus_assets.resources.capacity import CapacityResource
from argus_assets.resources.decoders import DecodersResource
from argus_assets.resources.diagnosis import DiagnosisResource
from argus_assets.resources.faults import FaultsResource
from argus_assets.resources.lake import LakeResource
from argus_assets.stats.schema import CODE_PAIRS, DRIVE_STATS, ERROR_STATS, SPEED

OWNERS: Final = ["team:fleet_diagnostics"]
GROUP: Final = "batch"
WORKING_STATE: Final = {
    "rec_frames": "scattering",
    "error_events": "gathering",
    "error_stats": "gathering",
    "diagnosis": "diagnosing",
    "batch_report": "diagnosing",
}
"""The batch's state while an asset is being made."""

_STEP: Final[Mapping[str, StepName]] = {
    "rec_frames": "parse",
    "error_events": "events",
    "error_stats": "stats",
    "diagnosis": "diagnosis",
    "batch_report": "report",
}
"""What the waterfall calls the making of an asset."""

EVENT_KEY: Final = "argus/event"
"""Metadata key of the batch's own events: `BatchCreated`, `FileParsed`, `StatusChanged`."""

DAMAGED_SHARE_LIMIT_PCT: Final = 5.0
PREVIEW_ROWS: Final = 10
TRANSIENT_ATTEMPTS: Final = 4
EVENT_PAUSES_S: Final = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
"""Between attempts to write an event while PostgreSQL is away."""

_Made = TypeVar("_Made")


def _columns(*tables: Table) -> dg.TableSchema:
    return dg.TableSchema(
        columns=[
            dg.TableColumn(
                name=c.name,
                type=str(c.dtype),
                description=c.meaning,
                constraints=dg.TableColumnConstraints(nullable=c.nullable),
            )
            for table in tables
            for c in table.columns
        ]
    )


def _spec(
    name: str, deps: Sequence[str], description: str, *, kinds: set[str], code_version: str, table: Table | None = None
) -> dg.AssetSpec:
    return dg.AssetSpec(
        name,
        deps=list(deps),
        description=description,
        group_name=GROUP,
        kinds=kinds,
        owners=OWNERS,
        code_version=code_version,
        skippable=True,
        partitions_def=batches,
        metadata={"dagster/column_schema": _columns(table)} if table else None,
    )


vehicle_drop = dg.AssetSpec(
    "vehicle_drop",
    description="The recordings of one drive and their completion manifest, as dropped into the bucket. "
    "Materialised by the sensor when it takes a manifest.",
    group_name=GROUP,
    kinds={"s3", "json"},
    owners=OWNERS,
    partitions_def=batches,
)

BATCH_SPECS: Final = (
    _spec(
        "rec_frames",
        ["vehicle_drop"],
        "Every recording of the drive, parsed: a frame table for each, and one row for each file that says what was "
        "read, what was damaged, and that its SHA-256 is the manifest's.",
        kinds={"polars", "parquet"},
        code_version=READER_VERSION,
        table=RECORDINGS,
    ),
    _spec(
        "error_events",
        ["rec_frames"],
        "Every activation of every fault, with the recording, frame and bytes that show it.",
        kinds={"polars", "parquet"},
        code_version="1",
        table=ERROR_EVENTS,
    ),
    _spec(
        "error_stats",
        ["error_events"],
        "One row for each fault of each ECU: occurrences, active time, rate, what came with it, and its rank. Beside it "
        "the pairs of faults that came together, the totals of the drive, and its speed.",
        kinds={"polars", "parquet"},
        code_version="3",
        table=ERROR_STATS,
    ),
    _spec(
        "diagnosis",
        ["error_stats"],
        "Root causes, most likely first, each with the evidence for and against it and what to do.",
        kinds={"json"},
        code_version="3",
    ),
    _spec(
        "batch_report",
        ["diagnosis"],
        "One self-contained HTML page for the workshop.",
        kinds={"html"},
        code_version="3",
    ),
)

CODE_VERSIONS: Final = {spec.key.to_user_string(): str(spec.code_version) for spec in BATCH_SPECS}

BATCH_CHECKS: Final = (
    dg.AssetCheckSpec("files_match_manifest", asset="rec_frames", description="Every file has the manifest's SHA-256."),
    dg.AssetCheckSpec(
        "damaged_share",
        asset="rec_frames",
        description=f"At most {DAMAGED_SHARE_LIMIT_PCT:g}% of the frames were lost to damage, and every file was read.",
    ),
    dg.AssetCheckSpec("stats_add_up", asset="error_stats", description="Stats count the activations that events hold."),
    dg.AssetCheckSpec(
        "cites_evidence",
        asset="diagnosis",
        description="Every citation is in the evidence, and its frames are in the tables.",
    ),
)


@dataclass(frozen=True, slots=True)
class Drop:
    """When a batch was dropped and taken, as the sensor saw it.

    Attributes:
        first_byte_at: When the first of its recordings was put, by the bucket's clock.
        marker_at: When its manifest was put, by the bucket's clock.
        taken_at: When the sensor took it.
    """

    first_byte_at: datetime | None
    marker_at: datetime
    taken_at: datetime

    def metadata(self) -> dict[str, Any]:
        """Metadata of the event that takes the batch."""
        return {
            **({"first_byte_at": dg.MetadataValue.timestamp(self.first_byte_at)} if self.first_byte_at else {}),
            "marker_at": dg.MetadataValue.timestamp(self.marker_at),
            "taken_at": dg.MetadataValue.timestamp(self.taken_at),
        }

    @classmethod
    def of(cls, metadata: Mapping[str, dg.MetadataValue]) -> "Drop | None":
        """What that metadata says, `None` where it is of an older version."""

        def at(name: str) -> datetime | None:
            value = metadata.get(name)
            return datetime.fromtimestamp(float(str(value.value)), UTC) if value is not None else None

        marker_at, taken_at = at("marker_at"), at("taken_at")
        if marker_at is None or taken_at is None:
            return None
        return cls(at("first_byte_at"), marker_at, taken_at)


@dataclass
class _Batch:
    """One partition on its way through the stages: loads from the lake what this run did not make itself."""

    partition: str
    ref: BatchRef
    digest: str
    raw_manifest: bytes
    manifest: Manifest
    bucket: Bucket
    lake: Lake
    decoders: Decoders
    limits: Limits
    faults: FaultConfig
    diagnostician: DiagnosisResource
    capacity: Capacity
    drop: Drop | None
    run_started_at: datetime
    begun_at: datetime
    data_versions: dict[str, str]
    tables: dict[str, pl.DataFrame] = field(default_factory=dict)
    seconds: dict[StepName, float] = field(default_factory=dict)
    kept_parts: Mapping[str, Path] = field(default_factory=dict)
    _open: ExitStack = field(default_factory=ExitStack)

    def path(self, name: str) -> str:
        return f"batches/{self.partition}/{name}"

    def table(self, name: str, table: Table) -> pl.DataFrame:
        if name not in self.tables:
            self.tables[name] = self.lake.read_table(self.path(f"{name}.parquet"), table)
        return self.tables[name]

    def save(self, name: str, frame: pl.DataFrame, table: Table) -> str:
        self.tables[name] = frame
        return self.lake.write_table(self.path(f"{name}.parquet"), frame, table)

    @property
    def recordings(self) -> pl.DataFrame:
        return self.table("recordings", RECORDINGS)

    @property
    def events(self) -> pl.DataFrame:
        return self.table("error_events", ERROR_EVENTS)

    @property
    def stats(self) -> pl.DataFrame:
        return self.table("error_stats", ERROR_STATS)

    def latency(self, *, report_s: float | None = None) -> Latency | None:
        """The waterfall so far; none for a batch that this run did not take whole from its drop."""
        if self.drop is None or len(self.seconds) < len(STAGES) - 1:
            return None
        return waterfall(
            first_byte_at=self.drop.first_byte_at,
            marker_at=self.drop.marker_at,
            taken_at=self.drop.taken_at,
            run_started_at=self.run_started_at,
            begun_at=self.begun_at,
            stages={**self.seconds, **({} if report_s is None else {"report": report_s})},
        )

    @cached_property
    def drive(self) -> stages.OpenDrive:
        """The parts of the drive, open until `close_drive`."""
        drive = stages.open_drive(self.recordings, lake=self.lake, processes=self.processes, kept=self.kept_parts)
        return self._open.enter_context(drive)

    @cached_property
    def processes(self) -> Pool:
        """Confined processes that touch nothing but this batch, until `close_drive`."""
        return self._open.enter_context(pool())

    def close_drive(self) -> None:
        """End the processes that read the recordings and compute on the parts."""
        self._open.close()
        self.kept_parts = {}
        for name in ("drive", "processes"):
            self.__dict__.pop(name, None)

    def computing(self) -> AbstractContextManager[None]:
        """Room to compute on the frames of the drive."""
        return self.capacity.computing(computing_bytes(int(self.recordings["frames"].sum())))

    @cached_property
    def evidence(self) -> Evidence:
        return Evidence.model_validate_json(self.lake.read_bytes(self.path("evidence.json")))

    @cached_property
    def diagnosis(self) -> Diagnosis:
        return Diagnosis.model_validate_json(self.lake.read_bytes(self.path("diagnosis.json")))


@dg.multi_asset(
    name="batch_assets",
    specs=BATCH_SPECS,
    check_specs=BATCH_CHECKS,
    can_subset=True,
    backfill_policy=dg.BackfillPolicy.single_run(),
)
def batch_assets(  # noqa: PLR0917 - Dagster calls it with keywords
    context: dg.AssetExecutionContext,
    bucket: BucketResource,
    lake: LakeResource,
    decoders: DecodersResource,
    faults: FaultsResource,
    diagnostician: DiagnosisResource,
    capacity: CapacityResource,
) -> Iterator[dg.MaterializeResult[None]]:
    """Take each batch of the run through the selected stages; a batch that fails does not stop the others.

    Batches overlap: while one waits for storage or for a language model, others are parsed and counted.

    Yields nothing: an automatic event would cover the whole range, failed batches included. Each batch logs its own.
    """
    patch_storage(context.instance)
    log = _RunLog(context)
    formats, config = decoders.decoders(), faults.config()
    for note in (*formats.notes, *config.notes):
        log.warning(note)
    run = _Run(
        log=log,
        selected=[s for s in STAGES if dg.AssetKey(s) in context.selected_asset_keys],
        done_before=_made_by_interrupted_attempts(context),
        bucket=bucket.bucket(),
        lake=lake.lake(),
        decoders=formats,
        limits=decoders.limits(),
        faults=config,
        diagnostician=diagnostician,
        capacity=capacity.capacity(runs_at_once=runs_at_once(context.instance)),
        started_at=_started_at(context),
        recipes=recipes_in_force(CODE_VERSIONS, decoders=formats, faults=config, model=diagnostician.model),
        only_stale=context.run.tags.get(ONLY_STALE) == "true",
        from_stage=context.run.tags.get(FROM_STAGE),
    )
    log.recipes = run.recipes
    partitions = context.partition_keys
    failures = _take_all(run, partitions)
    if failures:
        raise dg.Failure(
            description=f"{len(failures)} of {len(partitions)} batches failed: "
            + "; ".join(f"{key}: {error}" for key, error in list(failures.items())[:PREVIEW_ROWS]),
            metadata={key: dg.MetadataValue.text(str(error)) for key, error in list(failures.items())[:100]},
            allow_retries=False,
        )
    yield from ()


@dataclass(frozen=True)
class _Run:
    """What all batches of a run share."""

    log: "_RunLog"
    selected: Sequence[str]
    done_before: AbstractSet[tuple[str, str, str]]
    bucket: Bucket
    lake: Lake
    decoders: Decoders
    limits: Limits
    faults: FaultConfig
    diagnostician: DiagnosisResource
    capacity: Capacity
    started_at: datetime
    recipes: Mapping[str, Recipe]
    only_stale: bool = False
    from_stage: str | None = None
    stopping: Event = field(default_factory=Event)


def _take_all(run: _Run, partitions: Sequence[str]) -> dict[str, Exception]:
    """Take all batches through the stages, as many side by side as the capacity says; returns those that failed."""
    failures: dict[str, Exception] = {}
    with ThreadPoolExecutor(min(run.capacity.batches, len(partitions)), thread_name_prefix="batch") as threads:
        futures = {threads.submit(_take_one, run, partition): partition for partition in partitions}
        try:
            for future in as_completed(futures):
                error = future.result()
                if error is not None:
                    failures[futures[future]] = error
        except BaseException:
            # The run is cancelled: what is at work ends its stage, and nothing new begins.
            run.stopping.set()
            threads.shutdown(wait=False, cancel_futures=True)
            raise
    return {key: failures[key] for key in partitions if key in failures}


def _take_one(run: _Run, partition: str) -> Exception | None:
    """Take one batch through the selected stages; returns what failed it."""
    with fields(run_id=run.log.run_id, batch=partition) as shown:
        return _take_through_stages(run, partition, shown)


def _take_through_stages(run: _Run, partition: str, shown: dict[str, str]) -> Exception | None:
    log = _BatchLog(run.log, partition)
    begun_at = datetime.now(UTC)
    started = time.perf_counter()
    batch: _Batch | None = None
    try:
        batch = _with_retries(log, partial(_load, run, partition, begun_at))
        log.digest = batch.digest
        log.data_versions = batch.data_versions
        made = made_as(run.log.instance, [partition], assets=STAGES).get(partition, {}) if run.only_stale else {}
        for stage in run.selected:
            if run.stopping.is_set():
                return None
            shown["stage"] = stage
            if (stage, partition, batch.digest) in run.done_before:
                log.info(f"{stage} was made before the interruption, kept")
                continue
            if run.only_stale and not _is_stale(run, log, stage, made.get(stage)):
                continue
            at = time.perf_counter()
            _with_retries(log, partial(_MAKE[stage], log, batch))
            batch.seconds[_STEP[stage]] = time.perf_counter() - at
        log.info(f"done in {time.perf_counter() - started:.2f} s")
    except Exception as error:  # noqa: BLE001 - recorded with the batch, and the run fails at its end
        log.failed(error)
        _report_failure(log, run.bucket, run.lake, error)
        return error
    finally:
        if batch is not None:
            batch.close_drive()
    return None


def _is_stale(run: _Run, log: "_BatchLog", stage: str, made: MadeAs | None) -> bool:
    """Whether an asset would not come out the same again, or is to be made in any case."""
    if stage == run.from_stage:
        log.info(f"{stage} is made again as asked")
        return True
    why = stale_because(made, digest=log.digest, recipe=run.recipes[stage], input_version=log.input_version(stage))
    log.info(f"{stage} is up to date, kept" if why is None else f"{stage} is made again: {why}")
    if why is None and made is not None:
        log.data_versions[stage] = made.data_version
    return why is not None


def _started_at(context: dg.AssetExecutionContext) -> datetime:
    record = context.instance.get_run_record_by_id(context.run.run_id)
    return datetime.fromtimestamp(record.start_time, UTC) if record and record.start_time else datetime.now(UTC)


# ---------------------------------------------------------------------------------------------- events of a batch


class _RunLog:
    """Writes into Dagster's event log, one event at a time whichever thread it comes from.

    An event that the database did not take is written again for half a minute: an event twice is better than a batch
    whose outcome nobody knows.
    """

    def __init__(self, context: dg.AssetExecutionContext) -> None:
        self._context = context
        self._lock = Lock()
        self.run_id = context.run.run_id
        self.why = context.run.tags.get(WHY)
        self.recipes: Mapping[str, Recipe] = {}
        self.instance = context.instance
        self.selected_checks = frozenset(context.selected_asset_check_keys)

    def event(self, event: dg.AssetMaterialization | dg.AssetObservation | dg.AssetCheckEvaluation) -> None:
        with self._lock:
            for pause in (*EVENT_PAUSES_S, None):
                try:
                    self._context.log_event(event)  # type: ignore[arg-type] # takes evaluations too; the hint lags
                except Exception as error:
                    if pause is None or not _is_of_database(error):
                        raise
                    time.sleep(pause)
                else:
                    return

    def info(self, text: str) -> None:
        with self._lock:
            self._context.log.info(one_line(text))

    def warning(self, text: str) -> None:
        with self._lock:
            self._context.log.warning(one_line(text))

    def error(self, text: str, error: Exception | None) -> None:
        with self._lock:
            self._context.log.error(one_line(text), exc_info=error)


def _is_of_database(error: Exception) -> bool:
    from dagster_postgres.utils import DagsterPostgresException
    from sqlalchemy.exc import DBAPIError

    return isinstance(error, DBAPIError | DagsterPostgresException)


@dataclass
class _BatchLog:
    """Writes one batch's events into Dagster's event log."""

    run: _RunLog
    partition: str
    digest: str = ""
    stage: str = STAGES[0]
    data_versions: dict[str, str] = field(default_factory=dict)

    def info(self, text: str) -> None:
        self.run.info(f"{self.partition}: {text}")

    def warning(self, text: str) -> None:
        self.run.warning(f"{self.partition}: {text}")

    def failed(self, error: Exception) -> None:
        """A fault of the drop is told in a line; a fault of ours with its traceback."""
        self.run.error(f"{self.partition}: {error}", None if isinstance(error, ArgusError) else error)

    def state(self, asset: str, state: str, **metadata: Any) -> None:  # noqa: ANN401 - Dagster's raw metadata
        self.observe(asset, "StatusChanged", state=state, **metadata)

    def observe(self, asset: str, event: str, **metadata: Any) -> None:  # noqa: ANN401 - Dagster's raw metadata
        self.run.event(
            dg.AssetObservation(
                asset,
                partition=self.partition,
                metadata={EVENT_KEY: event, "manifest_digest": self.digest, **metadata},
            )
        )

    def input_version(self, asset: str) -> str | None:
        """Data version of what an asset is made from: as this run made it, or as it was made last."""
        source = INPUT[asset]
        if source not in self.data_versions:
            made = made_as(self.run.instance, [self.partition], assets=[source])
            if source not in made.get(self.partition, {}):
                return None
            self.data_versions[source] = made[self.partition][source].data_version
        return self.data_versions[source]

    def materialized(
        self, asset: str, *, data: bytes, metadata: Mapping[str, Any], without: Sequence[str] = ()
    ) -> None:
        """Record that an asset was made.

        Args:
            asset: Its name.
            data: What its data version is made of.
            metadata: Of the materialisation.
            without: Names of its recipe that it did not use.
        """
        data_version = sha256(data).hexdigest()[:32]
        recipe = {name: version for name, version in self.run.recipes[asset].items() if name not in without}
        self.run.event(
            dg.AssetMaterialization(
                asset,
                partition=self.partition,
                metadata={"manifest_digest": self.digest, MADE_WITH: dg.MetadataValue.json(recipe), **metadata},
                tags=version_tags(
                    asset, data_version=data_version, recipe=recipe, input_version=self.input_version(asset)
                ),
            )
        )
        self.data_versions[asset] = data_version

    def check(self, asset: str, name: str, *, passed: bool, severity: dg.AssetCheckSeverity, **metadata: Any) -> None:  # noqa: ANN401 - Dagster's raw metadata
        if dg.AssetCheckKey(dg.AssetKey(asset), name) not in self.run.selected_checks:
            return
        self.run.event(
            dg.AssetCheckEvaluation(
                asset_key=dg.AssetKey(asset),
                check_name=name,
                passed=passed,
                severity=severity,
                partition=self.partition,
                metadata={"batch": self.partition, **metadata},
            )
        )


def _fingerprint(*frames: pl.DataFrame) -> bytes:
    """Bytes that change when the content of a table changes."""
    return b"".join(f.write_json().encode() for f in frames)


def _preview(frame: pl.DataFrame, columns: Sequence[str]) -> dg.MarkdownMetadataValue:
    """The first rows as a Markdown table."""
    rows = frame.select(columns).head(PREVIEW_ROWS)
    if rows.is_empty():
        return dg.MetadataValue.md("*no rows*")

    def cell(value: object) -> str:
        return f"{value:.3g}" if isinstance(value, float) else "" if value is None else str(value)[:120]

    return dg.MetadataValue.md(markdown_table(columns, [list(map(cell, row)) for row in rows.iter_rows()]))


# ---------------------------------------------------------------------------------------------- the five stages


def _make_rec_frames(log: _BatchLog, batch: _Batch) -> None:
    log.stage = "rec_frames"
    log.state("rec_frames", "scattering")
    started = time.perf_counter()

    def parsed_one(row: Mapping[str, object]) -> None:
        log.observe(
            "rec_frames",
            "FileParsed",
            recording=str(row["recording"]),
            state=str(row["state"]),
            format=str(row["format"]),
            frames=int(row["frames"]),  # type: ignore[call-overload]
            frames_lost=int(row["frames_lost"]),  # type: ignore[call-overload]
            parse_s=float(row["parse_s"]),  # type: ignore[arg-type]
        )

    parsed = stages.parse_recordings(
        batch.manifest,
        bucket=batch.bucket,
        lake=batch.lake,
        workers=batch.capacity.readers.total,
        on_parsed=parsed_one,
        decoders=batch.decoders,
        limits=batch.limits,
        reading=lambda memory: batch.capacity.reading(READ_AHEAD_BYTES + memory),
        processes=batch.processes,
    )
    batch.kept_parts = parsed.kept
    path = batch.save("recordings", parsed.recordings, RECORDINGS)
    batch.save("problems", parsed.problems, PROBLEMS)
    lost = int(parsed.recordings["frames_lost"].sum())
    failed = parsed.recordings.filter(pl.col("state") == "failed").height
    lost_pct = 100 * lost / max(1, parsed.frames + lost)
    log.materialized(
        "rec_frames",
        data=_fingerprint(parsed.recordings.drop("parse_s"), parsed.problems),
        metadata={
            "dagster/row_count": parsed.frames,
            "recordings": parsed.recordings.height,
            "recordings_failed": failed,
            "recordings_reused": parsed.reused,
            "readers_stopped": _of_kind(parsed.problems, "reader_stopped"),
            "readers_failed": _of_kind(parsed.problems, "reader_failed"),
            "plug_ins": ", ".join(f"{d.name}/{d.version}" for d in batch.decoders.plug_ins) or "none",
            "frames_lost": lost,
            "problems": parsed.problems.height,
            "size_bytes": int(parsed.recordings["size_bytes"].sum()),
            "seconds": time.perf_counter() - started,
            "path": dg.MetadataValue.path(path),
            "preview": _preview(
                parsed.recordings, ["recording", "format", "state", "frames", "frames_lost", "channels", "problems"]
            ),
        },
    )
    log.check(
        "rec_frames",
        "files_match_manifest",
        passed=bool(parsed.recordings["sha256_verified"].all()),
        severity=dg.AssetCheckSeverity.ERROR,
        recordings=parsed.recordings.height,
    )
    log.check(
        "rec_frames",
        "damaged_share",
        passed=failed == 0 and lost_pct <= DAMAGED_SHARE_LIMIT_PCT,
        severity=dg.AssetCheckSeverity.WARN,
        frames_lost_pct=lost_pct,
        recordings_failed=failed,
        problems=_preview(parsed.problems, ["recording", "kind", "offset", "expected", "actual", "frames_lost"]),
    )


def _of_kind(problems: pl.DataFrame, kind: str) -> int:
    return problems.filter(pl.col("kind") == kind)["recording"].n_unique()


def _make_error_events(log: _BatchLog, batch: _Batch) -> None:
    log.stage = "error_events"
    log.state("error_events", "gathering")
    findings = stages.detect_faults(
        batch.recordings, lake=batch.lake, config=batch.faults, drive=batch.drive, computing=batch.capacity.computing
    )
    path = batch.save("error_events", findings.events, ERROR_EVENTS)
    batch.save("bus_stats", findings.buses, BUS_STATS)
    log.materialized(
        "error_events",
        data=_fingerprint(findings.events, findings.buses),
        metadata={
            "dagster/row_count": findings.events.height,
            "faults_version": batch.faults.version,
            "detectors": ", ".join(p.identity for p in batch.faults.plug_ins) or "none of other packages",
            "codes": findings.events["code"].n_unique(),
            "notes": "\n".join(str(note) for note in findings.notes),
            "path": dg.MetadataValue.path(path),
            "preview": _preview(
                findings.events,
                ["first_seen", "code", "ecu", "severity", "active_s", "frame_count", "recording", "frame"],
            ),
        },
    )


def _make_error_stats(log: _BatchLog, batch: _Batch) -> None:
    log.stage = "error_stats"
    buses = batch.table("bus_stats", BUS_STATS)
    made = stages.aggregate_stats(
        batch.events,
        batch.recordings,
        lake=batch.lake,
        buses=buses,
        drive=batch.drive,
        computing=batch.capacity.computing,
    )
    batch.close_drive()
    stats = made.error_stats
    path = batch.save("error_stats", stats, ERROR_STATS)
    batch.save("code_pairs", made.pairs, CODE_PAIRS)
    batch.save("drive_stats", made.totals, DRIVE_STATS)
    batch.save("speed", made.speed, SPEED)
    occurrences = int(stats["occurrences"].sum())
    log.materialized(
        "error_stats",
        data=_fingerprint(stats, made.pairs, made.totals, made.speed),
        metadata={
            "dagster/row_count": stats.height,
            # A total that is not known is left out.
            **{name: value for name, value in made.totals.row(0, named=True).items() if value is not None},
            "path": dg.MetadataValue.path(path),
            "preview": _preview(
                stats,
                ["rank", "code", "ecu", "status", "severity", "occurrences", "active_s", "seconds_into_drive", "score"],
            ),
            "pairs": _preview(
                made.pairs, ["code_a", "ecu_a", "code_b", "ecu_b", "joint_activations", "lift", "median_lead_s"]
            ),
        },
    )
    log.check(
        "error_stats",
        "stats_add_up",
        passed=occurrences == batch.events.height,
        severity=dg.AssetCheckSeverity.ERROR,
        events=batch.events.height,
        occurrences=occurrences,
    )


def _make_diagnosis(log: _BatchLog, batch: _Batch) -> None:
    log.stage = "diagnosis"
    log.state("diagnosis", "diagnosing")
    evidence, diagnosis = stages.diagnose(
        batch.manifest,
        batch.partition,
        digest=batch.digest,
        tables={
            "recordings": batch.recordings,
            "problems": batch.table("problems", PROBLEMS),
            "error_events": batch.events,
            "error_stats": batch.stats,
            "code_pairs": batch.table("code_pairs", CODE_PAIRS),
        },
        services=batch.diagnostician.services(),
        now=datetime.now(UTC),
        memory=batch.diagnostician.memory(),
        vehicle=batch.diagnostician.pseudonym(batch.ref.vehicle_id),
        dictionary=batch.faults.dictionary,
    )
    batch.evidence, batch.diagnosis = evidence, diagnosis
    batch.lake.write_bytes(batch.path("evidence.json"), evidence.model_dump_json(indent=2).encode())
    document = diagnosis.model_dump_json(indent=2).encode()
    path = batch.lake.write_bytes(batch.path("diagnosis.json"), document)
    log.materialized(
        "diagnosis",
        data=document,
        metadata={
            "verdict": diagnosis.verdict,
            "severity": str(diagnosis.severity),
            "drivable": diagnosis.drivable,
            "cause": diagnosis.root_causes[0].cause if diagnosis.root_causes else "none",
            "confidence": diagnosis.root_causes[0].confidence if diagnosis.root_causes else 0.0,
            "mode": diagnosis.mode,
            "mode_reason": diagnosis.mode_reason,
            "degraded": diagnosis.degraded or "no",
            "platform": batch.manifest.platform,
            "release": batch.manifest.release,
            "faults": dg.MetadataValue.json(worst_faults(batch.stats)),
            "priority": priority_of(evidence),
            "similar_cases": len(diagnosis.similar_cases),
            "calls": diagnosis.calls,
            "tokens": diagnosis.prompt_tokens + diagnosis.completion_tokens,
            **({} if diagnosis.cost_usd is None else {"cost_usd": diagnosis.cost_usd}),
            **({} if diagnosis.model is None else {"model": diagnosis.model}),
            "path": dg.MetadataValue.path(path),
            "diagnosis": dg.MetadataValue.md(diagnosis_markdown(diagnosis, evidence)),
        },
        without=() if diagnosis.model is not None else ("prompt", "model"),
    )
    wrong = citation_problems(diagnosis, evidence, Facts.of(batch.events, batch.recordings))
    log.check(
        "diagnosis",
        "cites_evidence",
        passed=not wrong,
        severity=dg.AssetCheckSeverity.ERROR,
        wrong="\n".join(wrong),
    )


def _make_batch_report(log: _BatchLog, batch: _Batch) -> None:
    log.stage = "batch_report"
    started = time.perf_counter()
    render = partial(
        stages.render,
        batch.manifest,
        batch.partition,
        tables={
            "recordings": batch.recordings,
            "problems": batch.table("problems", PROBLEMS),
            "error_events": batch.events,
            "error_stats": batch.stats,
            "code_pairs": batch.table("code_pairs", CODE_PAIRS),
            "drive_stats": batch.table("drive_stats", DRIVE_STATS),
            "speed": batch.table("speed", SPEED),
        },
        evidence=batch.evidence,
        diagnosis=batch.diagnosis,
        dictionary=batch.faults.dictionary,
    )
    with batch.computing():
        page = render(latency=batch.latency()).encode()
    path = batch.lake.write_bytes(batch.path("report.html"), page)
    latency = batch.latency(report_s=time.perf_counter() - started)
    # Before the last event: a batch that counts as completed is not taken up again, and would never get its outcome.
    write_result(batch.bucket, _completed(batch, log.run.run_id))
    log.materialized(
        "batch_report",
        data=_fingerprint(batch.stats) + batch.diagnosis.model_dump_json().encode(),
        metadata={
            "size_bytes": len(page),
            **({"latency": dg.MetadataValue.json(latency.model_dump())} if latency is not None else {}),
            "path": dg.MetadataValue.path(path),
            **({"page": dg.MetadataValue.url(f"file://{path}")} if batch.lake.is_local else {}),
        },
    )


_MAKE: Final[Mapping[str, Callable[[_BatchLog, _Batch], None]]] = {
    "rec_frames": _make_rec_frames,
    "error_events": _make_error_events,
    "error_stats": _make_error_stats,
    "diagnosis": _make_diagnosis,
    "batch_report": _make_batch_report,
}


# ---------------------------------------------------------------------------------------------- around the stages


def manifest_path(partition: str, digest: str) -> str:
    """Where in the lake the sensor keeps the manifest that a run works from."""
    return f"manifests/{partition}/{digest}.json"


def latest_digest(instance: dg.DagsterInstance, asset: str, partition: str) -> str | None:
    """Digest of the manifest from which an asset of a batch was materialised last."""
    made = latest(instance, asset, [partition]).get(partition)
    return None if made is None else str(made.metadata["manifest_digest"].value)


def _load(run: _Run, partition: str, begun_at: datetime) -> _Batch:
    ref = parse_partition_key(partition)
    dropped = latest(run.log.instance, "vehicle_drop", [partition]).get(partition)
    if ref is None or dropped is None:
        raise PermanentError(
            f"No manifest was ever taken for partition {partition!r}.",
            help="Drop the batch with its manifest; don't add partitions by hand.",
        )
    digest = str(dropped.metadata["manifest_digest"].value)
    raw = run.lake.read_bytes(manifest_path(partition, digest))
    if manifest_digest(raw) != digest:
        raise Unavailable(
            f"The manifest {digest} of {partition} came damaged from the lake.", help="Run it again, or drop it again."
        )
    return _Batch(
        partition=partition,
        ref=BatchRef(ref.vehicle_id, ref.batch_id),
        digest=digest,
        raw_manifest=raw,
        manifest=parse_manifest(raw, vehicle_id=ref.vehicle_id, batch_id=ref.batch_id),
        bucket=run.bucket,
        lake=run.lake,
        decoders=run.decoders,
        limits=run.limits,
        faults=run.faults,
        diagnostician=run.diagnostician,
        capacity=run.capacity,
        drop=Drop.of(dropped.metadata) if run.log.why == "intake" else None,
        run_started_at=run.started_at,
        begun_at=begun_at,
        data_versions={vehicle_drop.key.to_user_string(): (dropped.tags or {}).get(DATA_VERSION, digest)},
    )


def _made_by_interrupted_attempts(context: dg.AssetExecutionContext) -> set[tuple[str, str, str]]:
    """What earlier attempts of this run finished: (asset, partition, manifest digest).

    Only for a run that Dagster started again because its worker died, or that a person re-executed from failure:
    any other rerun makes everything anew.
    """
    tags = context.run.tags
    if "dagster/retry_number" not in tags and tags.get("dagster/is_resume_retry") != "true":
        return set()
    done: set[tuple[str, str, str]] = set()
    parent = context.run.parent_run_id
    while parent is not None:
        for entry in context.instance.all_logs(parent, of_type=DagsterEventType.ASSET_MATERIALIZATION):
            made = entry.asset_materialization
            if made is not None and made.partition is not None and "manifest_digest" in made.metadata:
                done.add((made.asset_key.to_user_string(), made.partition, str(made.metadata["manifest_digest"].value)))
        run = context.instance.get_run_by_id(parent)
        parent = run.parent_run_id if run is not None else None
    return done


def _with_retries(log: _BatchLog, make: Callable[[], _Made]) -> _Made:
    """Call `make`, again after 1, 2 and 4 s when storage or another service did not answer."""
    for attempt in range(TRANSIENT_ATTEMPTS - 1):
        try:
            return make()
        except TransientError as error:
            log.warning(f"{error} Trying again in {2**attempt} s.")
            time.sleep(2**attempt)
    return make()


def _completed(batch: _Batch, run_id: str) -> BatchResult:
    diagnosis = batch.diagnosis
    return BatchResult(
        vehicle_id=batch.ref.vehicle_id,
        batch_id=batch.ref.batch_id,
        partition_key=batch.partition,
        manifest_digest=batch.digest,
        state="completed",
        at=datetime.now(UTC),
        run_id=run_id,
        recordings=batch.recordings.height,
        recordings_damaged=batch.recordings.filter(pl.col("state") != "parsed").height,
        frames=int(batch.recordings["frames"].sum()),
        frames_lost=int(batch.recordings["frames_lost"].sum()),
        verdict=diagnosis.verdict,
        severity=str(diagnosis.severity),
        drivable=diagnosis.drivable,
        diagnosis_mode=diagnosis.mode,
        root_causes=tuple(
            CauseResult(cause=c.cause, title=c.title, confidence=c.confidence) for c in diagnosis.root_causes
        ),
        page=batch.lake.path(batch.path("report.html")),
        diagnosis=diagnosis.model_dump(mode="json"),
    )


def _report_failure(log: _BatchLog, bucket: Bucket, lake: Lake, error: Exception) -> None:
    """Record why a batch failed: in the event log, in `results/`, and in quarantine when its files are at fault."""
    permanent = isinstance(error, PermanentError)
    reasons: tuple[Reason, ...] = error.reasons if isinstance(error, stages.FilesDiffer) else ()
    log.state(
        log.stage,
        "failed",
        error=str(error),
        permanent=permanent,
        quarantined=bool(reasons),
        reasons=dg.MetadataValue.json([json.loads(r.model_dump_json()) for r in reasons]),
    )
    ref = parse_partition_key(log.partition)
    if ref is None:
        return
    at = datetime.now(UTC)

    def tell() -> None:
        if reasons:
            quarantine(
                bucket,
                BatchRef(ref.vehicle_id, ref.batch_id),
                raw_manifest=lake.read_bytes(manifest_path(log.partition, log.digest)),
                digest=log.digest,
                reasons=reasons,
                at=at,
            )
        write_result(
            bucket,
            BatchResult(
                vehicle_id=ref.vehicle_id,
                batch_id=ref.batch_id,
                partition_key=log.partition,
                manifest_digest=log.digest,
                state="quarantined" if reasons else "failed",
                at=at,
                run_id=log.run.run_id,
                reasons=reasons,
                error=str(error),
                error_is_permanent=permanent,
            ),
        )

    try:
        _with_retries(log, tell)
    except ArgusError as second:
        # The event log holds the failure already; the bucket may be what is broken.
        log.warning(f"the outcome could not be written to the bucket: {second}")
