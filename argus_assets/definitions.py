"""What Dagster loads. The one module that reads the environment when it is imported: Dagster gives no other moment."""

import os
from collections.abc import Mapping

import dagster as dg

from argus_assets.assets.batch import batch_assets, vehicle_drop
from argus_assets.jobs import batch_job
from argus_assets.resources.bucket import BucketResource
from argus_assets.resources.decoders import DecodersResource
from argus_assets.resources.faults import FaultsResource
from argus_assets.resources.lake import LakeResource
from argus_assets.sensors.completed_batches import build_completed_batches_sensor
from argus_assets.settings import Settings


def build_defs(settings: Settings, *, resources: Mapping[str, object] | None = None) -> dg.Definitions:
    """All definitions.

    Args:
        settings: Sensor interval, bucket, lake, decoders and faults.
        resources: Replace resources by name (`bucket`, `lake`, `decoders`, `faults`).
    """
    return dg.Definitions(
        assets=[vehicle_drop, batch_assets],
        jobs=[batch_job],
        sensors=[build_completed_batches_sensor(batch_job, interval_s=settings.sensor_interval_s)],
        resources={
            "bucket": BucketResource(url=settings.bucket_url),
            "lake": LakeResource(url=settings.lake_url),
            "decoders": DecodersResource(path=str(settings.decoders) if settings.decoders else None),
            "faults": FaultsResource(path=str(settings.faults) if settings.faults else None),
            **(resources or {}),
        },
        # A run's processes cost more than its work: everything of a run happens in its one process.
        executor=dg.in_process_executor,
    )


defs = build_defs(Settings.from_env(os.environ))
