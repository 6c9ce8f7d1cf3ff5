"""`error_stats`: one row for each fault of each ECU, the pairs of faults, and the totals of the drive."""

from typing import Final

import dagster as dg

from argus_assets import pipeline
from argus_assets.assets.batch_asset import BatchAsset, Check, Made, batch_spec, fingerprint, preview
from argus_assets.assets.batch_context import BatchContext
from argus_assets.assets.open_drive import aggregate_stats
from argus_assets.faults.schema import BUS_STATS, ERROR_EVENTS
from argus_assets.stats.schema import CODE_PAIRS, DRIVE_STATS, ERROR_STATS, MEASUREMENTS, REMARKS, SPEED, TOPIC_STATS


def make(batch: BatchContext) -> Made:
    """Measure the drive. No later stage reads its frames: the processes that had them end here."""
    services = batch.services
    events = batch.table(ERROR_EVENTS)
    made = aggregate_stats(
        events,
        batch.recordings,
        lake=services.lake,
        buses=batch.table(BUS_STATS),
        drive=batch.drive,
        computing=services.capacity.computing,
    )
    batch.close_drive()
    stats = made.error_stats
    occurrences = int(stats["occurrences"].sum())
    return Made(
        data=fingerprint(stats, made.pairs, made.totals, made.speed, made.measurements, made.remarks, made.topics),
        metadata={
            "dagster/row_count": stats.height,
            # A total that is not known is left out.
            **{name: value for name, value in made.totals.row(0, named=True).items() if value is not None},
            "preview": preview(
                stats,
                ["rank", "code", "ecu", "status", "severity", "occurrences", "active_s", "seconds_into_drive", "score"],
            ),
            "pairs": preview(
                made.pairs, ["code_a", "ecu_a", "code_b", "ecu_b", "joint_activations", "lift", "median_lead_s"]
            ),
        },
        tables=[
            (ERROR_STATS, stats),
            (CODE_PAIRS, made.pairs),
            (DRIVE_STATS, made.totals),
            (SPEED, made.speed),
            (MEASUREMENTS, made.measurements),
            (REMARKS, made.remarks),
            (TOPIC_STATS, made.topics),
        ],
        checks=[
            Check(
                "stats_add_up",
                passed=occurrences == events.height,
                severity=dg.AssetCheckSeverity.ERROR,
                metadata={"events": events.height, "occurrences": occurrences},
            )
        ],
    )


ASSET: Final = BatchAsset(
    pipeline.ERROR_STATS,
    batch_spec(
        pipeline.ERROR_STATS,
        "One row for each fault of each ECU: occurrences, active time, rate, what came with it, and its rank. Beside it "
        "the pairs of faults that came together, the totals of the drive, its speed, the live values of its control units, the warnings of its software, and its topics.",
        kinds={"polars", "parquet"},
        code_version="5",
        table=ERROR_STATS,
    ),
    [
        dg.AssetCheckSpec(
            "stats_add_up",
            asset=pipeline.ERROR_STATS.name,
            description="Stats count the activations that events hold.",
        )
    ],
    make,
)
