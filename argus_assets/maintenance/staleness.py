"""Decide whether an asset of a batch would come out the same again: by versions of code, configuration and input.

Pure: the record of the last materialization, the active recipe, and the verdict.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

Recipe = Mapping[str, str]
"""Versions of everything that an asset is made with: name → version (`code`, `faults`, `plug_ins`, `prompt`, `model` …)."""

CODE: Final = "code"


@dataclass(frozen=True, slots=True)
class MaterializationRecord:
    """How an asset of a batch was made last.

    Attributes:
        digest: Of the manifest that it was made from.
        data_version: Hash of its content.
        recipe: What it was made with.
        made_from: Data version of its input at that time, `None` where it was not recorded.
    """

    digest: str
    data_version: str
    recipe: Recipe
    made_from: str | None = None


def stale_because(
    made: MaterializationRecord | None, *, digest: str, recipe: Recipe, input_version: str | None
) -> str | None:
    """Return why an asset has to be made again, `None` when it would come out the same.

    A name that only one of the recipes has is no difference: a diagnosis without a language model does not depend on one.
    An asset whose record does not name its input's version counts as made from the present one.

    Args:
        made: How it was made last, `None` when it never was.
        digest: Of the manifest that was taken last.
        recipe: The active one.
        input_version: Data version of its input; `None` where that is not known.
    """
    if made is None:
        return "not made"
    if made.digest != digest:
        return "another manifest was dropped"
    changed = [f"{name} {made.recipe[name]} → {recipe[name]}" for name in made.recipe if _differs(name, made, recipe)]
    if changed:
        return ", ".join(changed)
    if made.made_from is not None and input_version is not None and made.made_from != input_version:
        return "its input changed"
    return None


def _differs(name: str, made: MaterializationRecord, recipe: Recipe) -> bool:
    return name in recipe and recipe[name] != made.recipe[name]


@dataclass(frozen=True, slots=True)
class StaleBatch:
    """A batch with the first asset that has to be made again.

    Attributes:
        partition: Its key.
        stage: That asset. Those that follow are made again when their input has changed.
        why: In a few words.
    """

    partition: str
    stage: str
    why: str


def first_stale(
    partition: str,
    made: Mapping[str, MaterializationRecord],
    *,
    stages: Sequence[str],
    digest: str,
    recipes: Mapping[str, Recipe],
    input_version: str,
) -> StaleBatch | None:
    """Return the first asset of a batch that has to be made again, `None` when none has.

    Args:
        partition: Key of the batch.
        made: How each asset was made last.
        stages: Assets in the order in which they are made; each is the input of the next.
        digest: Of the manifest that was taken last.
        recipes: The active one of each.
        input_version: Data version of the drop, which the first asset is made from.
    """
    before = input_version
    for stage in stages:
        now = made.get(stage)
        why = stale_because(now, digest=digest, recipe=recipes[stage], input_version=before)
        if now is None or why is not None:
            return StaleBatch(partition, stage, why or "not made")
        before = now.data_version
    return None
