"""`diagnosis`: root causes, most likely first, each with its evidence."""

from datetime import UTC, datetime
from typing import Final

import dagster as dg

from argus_assets import pipeline
from argus_assets.assets.batch_asset import BatchAsset, Check, Made, batch_spec
from argus_assets.assets.batch_context import BatchContext
from argus_assets.diagnosis.budget import priority_of
from argus_assets.diagnosis.citations import Facts, citation_problems
from argus_assets.diagnosis.drive import diagnose_drive
from argus_assets.faults.schema import ERROR_EVENTS
from argus_assets.notifications.events import worst_faults
from argus_assets.recordings.schema import PROBLEMS, RECORDINGS
from argus_assets.report.summary import diagnosis_markdown
from argus_assets.stats.schema import CODE_PAIRS, ERROR_STATS, MEASUREMENTS, REMARKS, TOPIC_STATS


def make(batch: BatchContext) -> Made:
    """Diagnose the drive, by a language model where there is one and its budget allows it."""
    diagnostician = batch.services.diagnostician
    evidence, diagnosis = diagnose_drive(
        batch.manifest,
        batch.partition,
        digest=batch.digest,
        tables={
            **batch.tables(RECORDINGS, PROBLEMS, ERROR_EVENTS, ERROR_STATS, CODE_PAIRS),
            MEASUREMENTS.name: batch.table_if_there(MEASUREMENTS),
            REMARKS.name: batch.table_if_there(REMARKS),
            TOPIC_STATS.name: batch.table_if_there(TOPIC_STATS),
        },
        services=diagnostician.services(),
        now=datetime.now(UTC),
        memory=diagnostician.memory(),
        vehicle=diagnostician.pseudonym(batch.ref.vehicle_id),
        dictionary=batch.services.faults.dictionary,
    )
    path = batch.save_diagnosis(evidence, diagnosis)
    wrong = citation_problems(diagnosis, evidence, Facts.of(batch.table(ERROR_EVENTS), batch.recordings))
    return Made(
        data=diagnosis.model_dump_json(indent=2).encode(),
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
            "faults": dg.MetadataValue.json(worst_faults(batch.table(ERROR_STATS))),
            "priority": priority_of(evidence),
            "similar_cases": len(diagnosis.similar_cases),
            "calls": diagnosis.calls,
            "tokens": diagnosis.prompt_tokens + diagnosis.completion_tokens,
            **({} if diagnosis.cost_usd is None else {"cost_usd": diagnosis.cost_usd}),
            **({} if diagnosis.model is None else {"model": diagnosis.model}),
            "path": dg.MetadataValue.path(path),
            "diagnosis": dg.MetadataValue.md(diagnosis_markdown(diagnosis, evidence)),
        },
        checks=[
            Check(
                "cites_evidence",
                passed=not wrong,
                severity=dg.AssetCheckSeverity.ERROR,
                metadata={"wrong": "\n".join(wrong)},
            )
        ],
        unused=() if diagnosis.model is not None else ("prompt", "model"),
    )


ASSET: Final = BatchAsset(
    pipeline.DIAGNOSIS,
    batch_spec(
        pipeline.DIAGNOSIS,
        "Root causes, most likely first, each with the evidence for and against it and what to do.",
        kinds={"json"},
        code_version="4",
    ),
    [
        dg.AssetCheckSpec(
            "cites_evidence",
            asset=pipeline.DIAGNOSIS.name,
            description="Every citation is in the evidence, and its frames are in the tables.",
        )
    ],
    make,
)
