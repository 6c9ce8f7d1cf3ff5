"""Report uploads that never completed, and what is missing of each.

A pass over the vehicles begins once an hour. A tick works for `TICK_SECONDS` and the next one continues after the same
vehicle. The report of the last whole pass is kept in the lake, for metrics.
"""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final

import dagster as dg
from pydantic import BaseModel

from argus_assets.common.texts import one_line
from argus_assets.drop.bucket import Bucket
from argus_assets.event_log.events import AssetEvent, to_dagster
from argus_assets.events import UploadStalled
from argus_assets.lake.reports import STALE_UPLOADS
from argus_assets.lake.store import Lake
from argus_assets.maintenance.stale_uploads import StaleUpload, StaleUploads, find_stale
from argus_assets.resources.bucket import BucketResource
from argus_assets.resources.lake import LakeResource

EVERY: Final = timedelta(hours=1)
INTERVAL_S: Final = 300
TICK_SECONDS: Final = 20.0
MAX_EVENTS: Final = 100


class StaleCursor(BaseModel):
    """Progress of the pass.

    Attributes:
        current: The pass in progress.
        last_began: When the last whole one began.
    """

    current: StaleUploads | None = None
    last_began: datetime | None = None

    @classmethod
    def load(cls, text: str | None) -> "StaleCursor":
        """Read a cursor; one that cannot be read counts as empty, and a pass begins."""
        try:
            return cls.model_validate_json(text) if text else cls()
        except ValueError:
            return cls()


def build_stale_uploads_sensor(*, quiet: timedelta) -> dg.SensorDefinition:
    """Return the sensor.

    Args:
        quiet: An upload is reported when nothing of it arrived for so long.
    """

    @dg.sensor(
        name="stale_uploads_sensor",
        minimum_interval_seconds=INTERVAL_S,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Reports uploads that never completed, and what is missing of each.",
    )
    def stale_uploads_sensor(
        context: dg.SensorEvaluationContext, bucket: BucketResource, lake: LakeResource
    ) -> dg.SensorResult:
        return report_stale_uploads(
            context.cursor, bucket.bucket(), lake.lake(), quiet=quiet, at=datetime.now(UTC), log=context.log.warning
        )

    return stale_uploads_sensor


def report_stale_uploads(
    cursor_text: str | None,
    bucket: Bucket,
    lake: Lake,
    *,
    quiet: timedelta,
    at: datetime,
    log: Callable[[str], object] = lambda _: None,
) -> dg.SensorResult:
    """Run one tick: continue the pass, and report at its end what the last one had not found.

    Args:
        cursor_text: The cursor of the last tick.
        bucket: The drop bucket.
        lake: Where the report is.
        quiet: See `find_stale`.
        at: Now, by this machine's clock, for when a pass is due; ages are by the store's clock.
        log: Logs each upload.

    Raises:
        Unavailable: The bucket or the lake did not answer. The tick fails and its cursor stays.
    """
    cursor = StaleCursor.load(cursor_text)
    if cursor.current is None and cursor.last_began is not None and at - cursor.last_began < EVERY:
        return dg.SensorResult(
            skip_reason=dg.SkipReason("The last pass began less than an hour ago."), cursor=cursor_text
        )
    found = cursor.current or StaleUploads(started_at=bucket.now())
    began = time.monotonic()
    find_stale(bucket, found, quiet=quiet, stop=lambda: time.monotonic() - began > TICK_SECONDS)
    if found.ended_at is None:
        return dg.SensorResult(
            skip_reason=dg.SkipReason(f"{found.count} so far; continues after {found.after_vehicle}."),
            cursor=StaleCursor(current=found).model_dump_json(),
        )
    last = STALE_UPLOADS.load(lake)
    known = {upload.name for upload in last.uploads} if last is not None else set()
    new = [upload for upload in found.uploads if upload.name not in known]
    for upload in new[:MAX_EVENTS]:
        log(one_line(upload.text()))
    if found.parts_not_listed is not None:
        log(f"Incomplete multipart uploads could not be listed: {found.parts_not_listed}")
    STALE_UPLOADS.save(lake, found)
    return dg.SensorResult(
        asset_events=[_observed(upload) for upload in new[:MAX_EVENTS]],
        skip_reason=dg.SkipReason(f"{found.count} uploads never completed, {len(new)} of them new."),
        cursor=StaleCursor(last_began=at).model_dump_json(),
    )


def _observed(upload: StaleUpload) -> AssetEvent:
    event = UploadStalled(
        vehicle_id=upload.vehicle_id,
        batch_id=upload.batch_id,
        kind=upload.kind,
        missing=upload.missing,
        missing_count=upload.missing_count,
        since=upload.since,
        objects=upload.objects,
        size_bytes=upload.size_bytes,
    )
    return to_dagster(event, description=upload.text())
