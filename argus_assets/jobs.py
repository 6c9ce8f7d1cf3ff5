"""The jobs that sensors, schedules and people start."""

import dagster as dg

from argus_assets.assets.specs import BATCH_SPECS
from argus_assets.pipeline import DIAGNOSIS, stages_from

batch_job = dg.define_asset_job(
    "batch_job",
    selection=dg.AssetSelection.assets(*(spec.key for spec in BATCH_SPECS)),
    executor_def=dg.in_process_executor,
    description="Takes one batch, or a range of batches, from recordings to page.",
)

rediagnose_job = dg.define_asset_job(
    "rediagnose_job",
    selection=dg.AssetSelection.assets(*stages_from(DIAGNOSIS.name)),
    executor_def=dg.in_process_executor,
    description="Diagnoses batches again from the statistics that they have, and makes their pages anew.",
)
