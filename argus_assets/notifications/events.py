"""Events of batches as CloudEvents 1.0 for other systems. Pure: no Dagster, no clock, no network.

Types are `argus.<Name>`: a reverse DNS name needs a domain, and Argus has none. The id of an event follows from what
happened: whatever is recorded twice has one id, and a receiver keeps one of the two. No event holds a VIN, a secret or
the address of a file.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Literal, get_args
from uuid import UUID, uuid5

import polars as pl
from cloudevents.http import CloudEvent
from pydantic import BaseModel, ConfigDict, Field

from argus_assets import events
from argus_assets.common.texts import json_document
from argus_assets.diagnosis.redaction import redact, redact_prose, safe_identifier, safe_release
from argus_assets.drop.keys import BatchRef, parse_partition_key
from argus_assets.drop.quarantine import Reason
from argus_assets.events import Recorded
from argus_assets.faults.schema import Severity
from argus_assets.pipeline import DROP, REACHED, BatchState

EventName = Literal["BatchCreated", "StatusChanged", "FileParsed", "DiagnosisCompleted", "AlertRaised"]
NAMES: Final[tuple[EventName, ...]] = get_args(EventName)
TYPE_PREFIX: Final = "argus."
SCHEMA_PREFIX: Final = "urn:argus:schema:"
SOURCE: Final = "/argus"

MAX_ERROR: Final = 2000
MAX_REASONS: Final = 20
MAX_FAULTS: Final = 100

_NAMESPACE: Final = UUID("8f3a52ce-6f0c-5a55-9f51-2b9d0b0b8f10")


class Data(BaseModel):
    """Fields that all events of a batch have.

    Attributes:
        manifest_digest: Which drop of the batch: SHA-256 of its manifest, the first digits.
        run_id: The Dagster run; none for what a sensor saw.
        why: Why that run was started: `intake`, `rerun_failed`, `rediagnose_degraded`, `rerun`, `replay`; none for a
            run that a person launched in the Dagster UI.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    vehicle_id: str
    batch_id: str
    partition_key: str | None = None
    manifest_digest: str
    run_id: str | None = None
    why: str | None = None


class BatchCreated(Data):
    """A manifest was taken: the batch will be processed.

    Attributes:
        recorded_from: When the drive began.
        recorded_to: When it ended.
        files: Number of its recordings.
    """

    state: Literal["uploaded"] = "uploaded"
    platform: str
    release: str
    recorded_from: datetime
    recorded_to: datetime
    files: int
    size_bytes: int


class QuarantineReason(BaseModel):
    """One thing wrong with what was dropped. Names a file of the batch, never its content."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: str
    file: str
    expected: str
    actual: str
    help: str


class StatusChanged(Data):
    """The batch is in another state.

    Attributes:
        state: `scattering`, `scattered`, `gathering`, `gathered`, `diagnosing`, `completed` or `failed`.
        stage: The asset that is being made, was made, or failed.
        error: What failed it.
        permanent: Trying again without a change cannot help.
        quarantined: What was dropped cannot be used; `reasons` say why, the first 20 of them.
        crashed: The run ended without telling: its worker died, or it was cancelled.
    """

    state: str
    stage: str
    error: str | None = None
    permanent: bool | None = None
    quarantined: bool | None = None
    crashed: bool | None = None
    reasons: tuple[QuarantineReason, ...] = ()


class FileParsed(Data):
    """One recording was read.

    Attributes:
        recording: Its name in the batch.
        state: `parsed`, `damaged` (a part was lost) or `failed`.
        format: `blf`, `mf4`, `mcap` and so on.
    """

    recording: str
    state: str
    format: str
    frames: int
    frames_lost: int


class Fault(BaseModel):
    """A trouble code of the drive with the worst severity it had, over all ECUs."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    code: str
    severity: Severity


class DiagnosisCompleted(Data):
    """The diagnosis stands. All of it is in `results/<vehicle_id>/<batch_id>.json`.

    Attributes:
        severity: Of the diagnosis: `info`, `warning`, `error` or `critical`.
        cause: The most likely root cause; `none` without one.
        confidence: Of that cause, 0 to 1.
        mode: Who answered: `llm`, `cached`, `fast_path` or `offline`.
        degraded: Why no language model answered though one should have.
        faults: Worst first, at most 100.
    """

    platform: str | None = None
    release: str | None = None
    verdict: str
    severity: Severity
    drivable: str
    cause: str
    confidence: float
    mode: str
    degraded: str | None = None
    faults: tuple[Fault, ...] = ()


class AlertRaised(Data):
    """A rule of the alerts file holds for the batch.

    Attributes:
        rule: Its name.
        kind: `fault` (a code of the drive), `failed` (processing failed for good) or `quarantined`.
        code: The trouble code of a fault, else the kind.
        severity: Of the code; of what failed the rule's own.
        text: One line for a person.
        held_back: Alerts of the rule, this vehicle and code that its limits kept back since the last one.
    """

    rule: str
    kind: Literal["fault", "failed", "quarantined"]
    code: str
    severity: Severity
    text: str
    platform: str | None = None
    release: str | None = None
    mode: str | None = None
    held_back: int = Field(default=0, ge=0)


DATA: Final[Mapping[EventName, type[Data]]] = {
    "BatchCreated": BatchCreated,
    "StatusChanged": StatusChanged,
    "FileParsed": FileParsed,
    "DiagnosisCompleted": DiagnosisCompleted,
    "AlertRaised": AlertRaised,
}


_NAME_OF: Final[Mapping[type[Data], EventName]] = {kind: name for name, kind in DATA.items()}

_OfManifest = (
    events.BatchCreated
    | events.BatchQuarantined
    | events.FileParsed
    | events.StatusChanged
    | events.DiagnosisMade
    | events.AssetMade
)
"""Events of the platform that may concern others."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """An event that other systems are notified of."""

    id: str
    name: EventName
    at: datetime
    data: Data

    @property
    def subject(self) -> str:
        """Return `<vehicle>/<batch>`."""
        return f"{self.data.vehicle_id}/{self.data.batch_id}"

    @property
    def type(self) -> str:
        """Return the CloudEvents type."""
        return f"{TYPE_PREFIX}{self.name}"


def outcome_id(*parts: object) -> str:
    """Return the UUID (version 5) of what happened."""
    return str(uuid5(_NAMESPACE, "\x1f".join(str(part) for part in parts)))


def cloud_event(outcome: Outcome, *, source: str = SOURCE) -> CloudEvent:
    """Return the CloudEvent of an outcome.

    Args:
        outcome: What happened.
        source: Which installation sends it: a URI reference.
    """
    return CloudEvent(
        {
            "specversion": "1.0",
            "id": outcome.id,
            "source": source,
            "type": outcome.type,
            "subject": outcome.subject,
            "time": outcome.at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "datacontenttype": "application/json",
            "dataschema": f"{SCHEMA_PREFIX}{outcome.name}:1",
        },
        outcome.data.model_dump(mode="json", exclude_none=True),
    )


def envelope(outcome: Outcome, *, source: str = SOURCE) -> dict[str, Any]:
    """Return the CloudEvent in its JSON format, as a document."""
    event = cloud_event(outcome, source=source)
    return json_document({**event.get_attributes(), "data": event.get_data()})


def event_schemas() -> dict[str, Any]:
    """Return the JSON schema of the data of each type of event."""
    return {
        f"{TYPE_PREFIX}{name}": {
            "$id": f"{SCHEMA_PREFIX}{name}:1",
            **DATA[name].model_json_schema(mode="serialization"),
        }
        for name in NAMES
    }


def example_alert(at: datetime) -> Outcome:
    """Return an alert of a vehicle that does not exist, to try an endpoint with.

    Args:
        at: When it is sent.
    """
    data = AlertRaised(
        vehicle_id="argus-test",
        batch_id="test",
        manifest_digest="0" * 16,
        rule="argus-outbox-test",
        kind="fault",
        code="P0000",
        severity=Severity.INFO,
        text="A test of this endpoint. Nothing happened.",
    )
    return Outcome(outcome_id("test", at.isoformat()), "AlertRaised", at, data)


def outcome_of(recorded: Recorded) -> Outcome | None:
    """Return what other systems are notified of; `None` for what concerns nobody else.

    Args:
        recorded: An event of the platform.
    """
    event = recorded.event
    if isinstance(event, events.UploadStalled | events.BucketReconciled | events.OldRemoved | events.DuplicateDropped):
        return None
    about = _about(recorded, event)
    if about is None:
        return None
    match event:
        case events.BatchCreated():
            return _created(recorded, event, about)
        case events.FileParsed():
            return _parsed(recorded, event, about)
        case events.StatusChanged():
            return _changed(recorded, event, about)
        case events.BatchQuarantined():
            return _quarantined(recorded, event, about)
        case events.DiagnosisMade():
            return _diagnosed(recorded, event, about)
        case events.AssetMade() if event.asset in REACHED:
            data = StatusChanged(**about, state=REACHED[event.asset], stage=event.asset)
            return _outcome(recorded, data, data.state, data.stage)
        case events.AssetMade():
            return None


def worst_faults(stats: pl.DataFrame) -> list[dict[str, str]]:
    """Return the codes of a drive with the worst severity of each, worst first: `Fault` documents.

    Args:
        stats: `stats.schema.ERROR_STATS`; its severity orders by badness.
    """
    codes = stats.group_by("code").agg(pl.col("severity").max()).sort(["severity", "code"], descending=[True, False])
    return codes.head(MAX_FAULTS).select(pl.col("code"), pl.col("severity").cast(pl.String)).to_dicts()


# ---------------------------------------------------------------------------------------------- one kind each


def _about(recorded: Recorded, event: _OfManifest) -> dict[str, Any] | None:
    """Return the fields that all data have; `None` when it is no event of a batch's manifest."""
    ref = parse_partition_key(recorded.partition) if recorded.partition else None
    if ref is None and isinstance(event, events.BatchCreated | events.BatchQuarantined):
        ref = BatchRef(event.vehicle_id, event.batch_id)
    if ref is None or not event.manifest_digest:
        return None
    about = Data(
        vehicle_id=ref.vehicle_id,
        batch_id=ref.batch_id,
        partition_key=recorded.partition,
        manifest_digest=event.manifest_digest,
        run_id=recorded.run_id,
        why=recorded.why,
    )
    return about.model_dump()


def _outcome(recorded: Recorded, data: Data, *what: object) -> Outcome:
    name = _NAME_OF[type(data)]
    identity = outcome_id(name, data.vehicle_id, data.batch_id, data.manifest_digest, data.run_id, *what)
    return Outcome(identity, name, recorded.at, data)


def _created(recorded: Recorded, event: events.BatchCreated, about: Mapping[str, Any]) -> Outcome:
    data = BatchCreated(
        **about,
        platform=redact(event.platform),
        release=safe_release(event.release),
        recorded_from=event.recorded_from,
        recorded_to=event.recorded_to,
        files=event.files,
        size_bytes=event.size_bytes,
    )
    # The time of the marker tells two drops of the same manifest apart.
    return _outcome(recorded, data, event.marker_at.timestamp() if event.marker_at else None)


def _parsed(recorded: Recorded, event: events.FileParsed, about: Mapping[str, Any]) -> Outcome:
    data = FileParsed(
        **about,
        recording=safe_identifier(event.recording),
        state=event.state,
        format=event.format,
        frames=event.frames,
        frames_lost=event.frames_lost,
    )
    return _outcome(recorded, data, data.recording)


def _changed(recorded: Recorded, event: events.StatusChanged, about: Mapping[str, Any]) -> Outcome:
    data = StatusChanged(
        **about,
        state=event.state,
        stage=event.asset,
        error=redact_prose(event.error, MAX_ERROR) if event.error else None,
        permanent=event.permanent,
        quarantined=event.quarantined,
        crashed=event.crashed,
        reasons=_reasons(event.reasons or ()),
    )
    return _outcome(recorded, data, data.state, data.stage, "")


def _quarantined(recorded: Recorded, event: events.BatchQuarantined, about: Mapping[str, Any]) -> Outcome:
    data = StatusChanged(
        **about,
        state=BatchState.FAILED,
        stage=DROP,
        permanent=True,
        quarantined=True,
        reasons=_reasons(event.reasons),
    )
    return _outcome(recorded, data, data.state, data.stage, event.at.timestamp())


def _diagnosed(recorded: Recorded, event: events.DiagnosisMade, about: Mapping[str, Any]) -> Outcome:
    data = DiagnosisCompleted(
        **about,
        platform=event.platform,
        release=event.release,
        verdict=redact_prose(event.verdict, MAX_ERROR),
        severity=Severity(event.severity),
        drivable=event.drivable,
        cause=event.cause,
        confidence=event.confidence,
        mode=event.mode,
        degraded=None if event.degraded == "no" else event.degraded,
        faults=tuple(Fault.model_validate(fault) for fault in event.faults[:MAX_FAULTS]),
    )
    return _outcome(recorded, data)


def _reasons(given: Sequence[Reason]) -> tuple[QuarantineReason, ...]:
    return tuple(
        QuarantineReason(
            kind=reason.kind,
            **{name: redact_prose(getattr(reason, name), MAX_ERROR) for name in ("file", "expected", "actual", "help")},
        )
        for reason in given[:MAX_REASONS]
    )
