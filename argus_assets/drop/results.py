"""`results/<vehicle_id>/<batch_id>.json`: the outcome of a drop, for whoever dropped it."""

import logging
from typing import Any, Final, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from argus_assets.common.texts import clean
from argus_assets.drop.bucket import Bucket
from argus_assets.drop.keys import BatchRef, results_key
from argus_assets.drop.quarantine import Reason
from argus_assets.errors import BadFile

_MAX_BYTES: Final = 4 * 1024 * 1024
_log = logging.getLogger(__name__)


class CauseResult(BaseModel):
    """One root cause, most likely first."""

    model_config = ConfigDict(frozen=True)

    cause: str
    title: str
    confidence: float


class BatchResult(BaseModel):
    """The outcome of one manifest. It replaces the earlier outcome of the batch.

    Attributes:
        state: `completed`, `failed` (processing failed) or `quarantined` (what was dropped cannot be used).
        manifest_digest: Of the manifest.
        at: Time, in UTC.
        run_id: The Dagster run, where there was one.
        reasons: Why it was quarantined, one per problem.
        error: What failed.
        error_is_permanent: Whether trying again is pointless without a change.
        page: Path of the page.
        diagnosis: The whole diagnosis, as `diagnosis.model.Diagnosis` documents it.
    """

    model_config = ConfigDict(frozen=True)

    schema_version: Literal[1] = 1
    vehicle_id: str
    batch_id: str
    partition_key: str | None = None
    manifest_digest: str
    state: Literal["completed", "failed", "quarantined"]
    at: AwareDatetime
    run_id: str | None = None
    recordings: int = 0
    recordings_damaged: int = 0
    frames: int = 0
    frames_lost: int = 0
    verdict: str | None = None
    severity: str | None = None
    drivable: str | None = None
    diagnosis_mode: str | None = None
    root_causes: tuple[CauseResult, ...] = ()
    page: str | None = None
    diagnosis: dict[str, Any] | None = None
    reasons: tuple[Reason, ...] = ()
    error: str | None = None
    error_is_permanent: bool | None = None


def write_result(bucket: Bucket, result: BatchResult) -> str:
    """Put the result where the vehicle's owner finds it, and return its key."""
    key = results_key(result.vehicle_id, result.batch_id)
    bucket.put(key, result.model_dump_json(indent=2, exclude_none=True).encode())
    return key


def read_result(bucket: Bucket, ref: BatchRef) -> BatchResult | None:
    """Return the last outcome of a batch, `None` when there is none, or when it is damaged, which is logged."""
    key = results_key(ref.vehicle_id, ref.batch_id)
    if not bucket.exists(key):
        return None
    try:
        return BatchResult.model_validate_json(bucket.read(key, max_bytes=_MAX_BYTES))
    except BadFile as error:
        _log.warning("Ignoring the result %s: %s", key, clean(error.what))
        return None
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"])) or "document"
        _log.warning("Ignoring the damaged result %s: %s: %s.", key, clean(where), clean(first["msg"]))
        return None
