"""The recipe of each asset of a batch: the versions of code and configuration that it is made with."""

from collections.abc import Mapping

from argus_assets.diagnosis.prompt import PROMPT_VERSION
from argus_assets.diagnosis.vehicle.catalogue import load_catalogue
from argus_assets.faults.config import FaultConfig
from argus_assets.maintenance.staleness import CODE, Recipe
from argus_assets.pipeline import BATCH_REPORT, DIAGNOSIS, ERROR_EVENTS, REC_FRAMES
from argus_assets.recordings.registry import Decoders


def current_recipes(
    code_versions: Mapping[str, str], *, decoders: Decoders, faults: FaultConfig, model: str | None
) -> dict[str, Recipe]:
    """Return what each asset would be made with now.

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
    recipes[DIAGNOSIS.name]["knowledge"] = load_catalogue().version
    if model is not None:
        recipes[DIAGNOSIS.name] |= {"prompt": PROMPT_VERSION, "model": model}
    return dict(recipes)
