"""The op that makes the assets of batches: what Dagster gives it becomes a `Run`."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final

import dagster as dg

from argus_assets.assets.batch_context import Services
from argus_assets.assets.event_writer import RunEvents
from argus_assets.assets.recipes import current_recipes
from argus_assets.assets.run import Run, take_batches
from argus_assets.assets.specs import BATCH_ASSETS, BATCH_CHECKS, BATCH_SPECS, CODE_VERSIONS
from argus_assets.dagster_instance.storage import patch_storage
from argus_assets.event_log.queries import made_by_run
from argus_assets.lake.batches import BatchStore
from argus_assets.partitions import FROM_STAGE, ONLY_STALE, runs_at_once
from argus_assets.resources.bucket import BucketResource
from argus_assets.resources.capacity import CapacityResource
from argus_assets.resources.decoders import DecodersResource
from argus_assets.resources.diagnosis import DiagnosisResource
from argus_assets.resources.faults import FaultsResource
from argus_assets.resources.lake import LakeResource

MAX_NAMED_FAILURES: Final = 10
"""Failed batches named in the text of a run's failure; its metadata hold more."""

MAX_SHOWN_FAILURES: Final = 100
"""Failed batches in the metadata of a run's failure: of a backlog, thousands may fail at once."""


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

    Yields nothing: an automatic event would cover the whole range, failed batches included. Each batch has its own.
    """
    patch_storage(context.instance)
    formats, config = decoders.decoders(), faults.config()
    recipes = current_recipes(CODE_VERSIONS, decoders=formats, faults=config, model=diagnostician.model)
    events = RunEvents(context, recipes)
    for note in (*formats.notes, *config.notes):
        events.warning(note)
    run = Run(
        events=events,
        services=Services(
            bucket=bucket.bucket(),
            store=BatchStore(lake.lake()),
            decoders=formats,
            limits=decoders.limits(),
            faults=config,
            diagnostician=diagnostician,
            capacity=capacity.capacity(runs_at_once=runs_at_once(context.instance)),
        ),
        assets=[asset for asset in BATCH_ASSETS if asset.spec.key in context.selected_asset_keys],
        done_before=_made_by_interrupted_attempts(context),
        started_at=_started_at(context),
        only_stale=context.run.tags.get(ONLY_STALE) == "true",
        from_stage=context.run.tags.get(FROM_STAGE),
    )
    partitions = context.partition_keys
    failures = take_batches(run, partitions)
    if failures:
        shown = list(failures.items())[:MAX_SHOWN_FAILURES]
        raise dg.Failure(
            description=f"{len(failures)} of {len(partitions)} batches failed: "
            + "; ".join(f"{key}: {error}" for key, error in shown[:MAX_NAMED_FAILURES]),
            metadata={key: dg.MetadataValue.text(str(error)) for key, error in shown},
            allow_retries=False,
        )
    yield from ()


def _started_at(context: dg.AssetExecutionContext) -> datetime:
    record = context.instance.get_run_record_by_id(context.run.run_id)
    return datetime.fromtimestamp(record.start_time, UTC) if record and record.start_time else datetime.now(UTC)


def _made_by_interrupted_attempts(context: dg.AssetExecutionContext) -> set[tuple[str, str, str]]:
    """Return what earlier attempts of this run finished: (asset, partition, manifest digest).

    Only for a run that Dagster started again because its worker died, or that a person re-executed from failure:
    any other rerun makes everything anew.
    """
    tags = context.run.tags
    if "dagster/retry_number" not in tags and tags.get("dagster/is_resume_retry") != "true":
        return set()
    done: set[tuple[str, str, str]] = set()
    parent = context.run.parent_run_id
    while parent is not None:
        done |= made_by_run(context.instance, parent)
        run = context.instance.get_run_by_id(parent)
        parent = run.parent_run_id if run is not None else None
    return done
