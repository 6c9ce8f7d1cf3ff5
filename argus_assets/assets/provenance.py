"""What each asset of a batch is made with, and what Dagster's records say it was made with."""

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

import dagster as dg

from argus_assets.diagnosis.knowledge import load_knowledge
from argus_assets.diagnosis.prompt import PROMPT_VERSION
from argus_assets.event_log.events import CODE_VERSION, DATA_VERSION, MADE_WITH, digest_of, input_version_tag
from argus_assets.faults.config import FaultConfig
from argus_assets.maintenance.staleness import CODE, MadeAs, Recipe
from argus_assets.pipeline import BATCH_REPORT, DIAGNOSIS, ERROR_EVENTS, INPUT, REC_FRAMES
from argus_assets.recordings.registry import Decoders

PAGE: Final = 1000


def recipes_in_force(
    code_versions: Mapping[str, str], *, decoders: Decoders, faults: FaultConfig, model: str | None
) -> dict[str, Recipe]:
    """What each asset would be made with now.

    Args:
        code_versions: Asset → version of its code.
        decoders: The formats.
        faults: How faults are looked for.
        model: The language model, `None` without one.
    """
    recipes: dict[str, dict[str, str]] = {asset: {CODE: version} for asset, version in code_versions.items()}
    recipes[REC_FRAMES.name]["plug_ins"] = ", ".join(f"{d.name}/{d.version}" for d in decoders.plug_ins) or "none"
    recipes[ERROR_EVENTS.name]["faults"] = faults.version
    for asset in (DIAGNOSIS.name, BATCH_REPORT.name):
        recipes[asset]["dictionary"] = faults.dictionary.version
    recipes[DIAGNOSIS.name]["knowledge"] = load_knowledge().version
    if model is not None:
        recipes[DIAGNOSIS.name] |= {"prompt": PROMPT_VERSION, "model": model}
    return dict(recipes)


def made_as(
    instance: dg.DagsterInstance,
    partitions: Sequence[str],
    *,
    assets: Iterable[str],
    on_progress: Callable[[int], object] = lambda _: None,
) -> dict[str, dict[str, MadeAs]]:
    """How assets of batches were made last: partition → asset → how.

    Args:
        instance: Dagster's records.
        partitions: Which batches.
        assets: Which assets.
        on_progress: Called with the batches that were looked at since the last call, once for each asset.
    """
    found: dict[str, dict[str, MadeAs]] = defaultdict(dict)
    for asset in assets:
        for at in range(0, len(partitions), PAGE):
            some = partitions[at : at + PAGE]
            for key, made in latest(instance, asset, some).items():
                found[key][asset] = _of(asset, made)
            on_progress(len(some))
    return dict(found)


def latest_metadata(
    instance: dg.DagsterInstance, asset: str, partitions: Sequence[str], name: str
) -> dict[str, object]:
    """A value of the metadata of each batch's last materialisation of an asset, where it has one."""
    found: dict[str, object] = {}
    for at in range(0, len(partitions), PAGE):
        for key, made in latest(instance, asset, partitions[at : at + PAGE]).items():
            if name in made.metadata:
                found[key] = made.metadata[name].value
    return found


def latest(instance: dg.DagsterInstance, asset: str, partitions: Sequence[str]) -> dict[str, dg.AssetMaterialization]:
    """The last materialisation of an asset of each batch that has one."""
    wanted = dg.AssetRecordsFilter(asset_key=dg.AssetKey(asset), asset_partitions=list(partitions))
    found: dict[str, dg.AssetMaterialization] = {}
    cursor: str | None = None
    while len(found) < len(partitions):
        page = instance.fetch_materializations(wanted, limit=min(PAGE, len(partitions)), cursor=cursor)
        for record in page.records:  # newest first
            made = record.asset_materialization
            if made is not None and made.partition is not None:
                found.setdefault(made.partition, made)
        if not page.has_more:
            break
        cursor = page.cursor
    return found


def latest_digest(instance: dg.DagsterInstance, asset: str, partition: str) -> str | None:
    """Return the digest of the manifest from which an asset of a batch was materialised last."""
    made = latest(instance, asset, [partition]).get(partition)
    return None if made is None else digest_of(made)


def _of(asset: str, made: dg.AssetMaterialization) -> MadeAs:
    tags = made.tags or {}
    recorded = made.metadata.get(MADE_WITH)
    recipe: dict[str, str] = json.loads(json.dumps(recorded.value)) if recorded is not None else {}
    if CODE_VERSION in tags:
        recipe[CODE] = tags[CODE_VERSION]
    return MadeAs(
        digest=digest_of(made) or "",
        data_version=tags.get(DATA_VERSION, ""),
        recipe=recipe,
        made_from=tags.get(input_version_tag(INPUT[asset])) if asset in INPUT else None,
    )
