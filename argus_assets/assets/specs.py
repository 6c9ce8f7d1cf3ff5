"""The catalogue of a batch's assets, in the order in which they are made: specs, checks and versions for Dagster."""

from typing import Final

import dagster as dg

from argus_assets.assets import batch_report, diagnosis, error_events, error_stats, rec_frames
from argus_assets.assets.batch_asset import GROUP, OWNERS
from argus_assets.partitions import batches
from argus_assets.pipeline import DROP

vehicle_drop = dg.AssetSpec(
    DROP,
    description="The recordings of one drive and their completion manifest, as dropped into the bucket. "
    "Materialised by the sensor when it takes a manifest.",
    group_name=GROUP,
    kinds={"s3", "json"},
    owners=OWNERS,
    partitions_def=batches,
)

BATCH_ASSETS: Final = (rec_frames.ASSET, error_events.ASSET, error_stats.ASSET, diagnosis.ASSET, batch_report.ASSET)
BATCH_SPECS: Final = tuple(asset.spec for asset in BATCH_ASSETS)
BATCH_CHECKS: Final = tuple(check for asset in BATCH_ASSETS for check in asset.checks)

CODE_VERSIONS: Final = {asset.stage.name: str(asset.spec.code_version) for asset in BATCH_ASSETS}
