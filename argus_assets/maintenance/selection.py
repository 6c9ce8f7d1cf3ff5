"""Selection of batches: by vehicle, date, release, failure, version of code, and by what is stale. Pure.

The cheapest criterion comes first. Dagster's records are read only of batches that are still selected, and only as far
as a criterion needs them.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Protocol

from argus_assets.drop.keys import parse_partition_key
from argus_assets.errors import BadSetting
from argus_assets.maintenance.staleness import CODE, MaterializationRecord, Recipe, StaleBatch, first_stale
from argus_assets.pipeline import DROP, STAGES


@dataclass(frozen=True, slots=True)
class Criteria:
    """Which batches are wanted; each criterion that is given has to be met.

    Attributes:
        partitions: Keys of batches that were named.
        vehicles: Ids of vehicles.
        first_day: Recorded on this day (UTC) or later.
        last_day: Recorded on this day (UTC) or earlier.
        releases: Recorded with one of these software releases.
        failed: Failed.
        failed_at: Failed at one of these stages.
        code_versions: Made by all of these: stage and version of its code.
        stale: Would not come out the same with what is active now.
    """

    partitions: tuple[str, ...] = ()
    vehicles: tuple[str, ...] = ()
    first_day: date | None = None
    last_day: date | None = None
    releases: tuple[str, ...] = ()
    failed: bool = False
    failed_at: tuple[str, ...] = ()
    code_versions: tuple[tuple[str, str], ...] = ()
    stale: bool = False


class BatchRecords(Protocol):
    """Dagster's records of batches, as far as a selection reads them."""

    def releases(self, partitions: Sequence[str]) -> Mapping[str, str]:
        """Return the software release of each batch that has one."""
        ...

    def failed_stages(self, partitions: Sequence[str]) -> Mapping[str, str | None]:
        """Return the stage at which each failed batch failed, without the others."""
        ...

    def made(self, partitions: Sequence[str]) -> Mapping[str, Mapping[str, MaterializationRecord]]:
        """Return how each asset of each batch was made last."""
        ...


@dataclass(frozen=True, slots=True)
class Selection:
    """Batches that meet the criteria.

    Attributes:
        partitions: Their keys, in the order in which they were named, else in that of the partitions.
        stale: Of those, the stale ones: what is stale, and why.
    """

    partitions: tuple[str, ...]
    stale: Mapping[str, StaleBatch]


def select(
    criteria: Criteria, *, order: Sequence[str], records: BatchRecords, recipes: Mapping[str, Recipe]
) -> Selection:
    """Return the batches that meet the criteria.

    Args:
        criteria: Which are wanted.
        order: All partition keys, as Dagster keeps them.
        records: Dagster's records.
        recipes: What each stage would be made with now.
    """
    chosen: Sequence[str] = criteria.partitions or _by_key(criteria, order)
    if criteria.releases:
        releases = records.releases(chosen)
        chosen = [key for key in chosen if releases.get(key) in criteria.releases]
    if criteria.failed or criteria.failed_at:
        failed = records.failed_stages(chosen)
        chosen = [
            key for key in chosen if key in failed and (not criteria.failed_at or failed[key] in criteria.failed_at)
        ]
    made = records.made(chosen)
    for stage, version in criteria.code_versions:
        chosen = [k for k in chosen if stage in made.get(k, {}) and made[k][stage].recipe.get(CODE) == version]
    stale = {key: found for key in chosen if (found := _first_stale(key, made.get(key, {}), recipes)) is not None}
    if criteria.stale:
        chosen = [key for key in chosen if key in stale]
    return Selection(tuple(chosen), stale)


def parse_code_version(text: str) -> tuple[str, str]:
    """Return stage and version of `STAGE=VERSION`.

    Raises:
        BadSetting: It is not of that form, or names no stage.
    """
    stage, _, version = text.partition("=")
    if stage not in STAGES or not version:
        raise BadSetting(
            f"{text!r} is not a code version.", help=f"Give ASSET=VERSION; ASSET is one of {', '.join(STAGES)}."
        )
    return stage, version


def _by_key(criteria: Criteria, order: Collection[str]) -> list[str]:
    chosen: list[str] = []
    for key in order:
        ref = parse_partition_key(key)
        if (
            ref is not None
            and (not criteria.vehicles or ref.vehicle_id in criteria.vehicles)
            and (criteria.first_day is None or ref.recorded_on >= criteria.first_day)
            and (criteria.last_day is None or ref.recorded_on <= criteria.last_day)
        ):
            chosen.append(key)
    return chosen


def _first_stale(
    key: str, made: Mapping[str, MaterializationRecord], recipes: Mapping[str, Recipe]
) -> StaleBatch | None:
    drop = made.get(DROP)
    if drop is None:
        return None
    return first_stale(key, made, stages=STAGES, digest=drop.digest, recipes=recipes, input_version=drop.data_version)
