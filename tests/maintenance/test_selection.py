"""Selection of batches against a reading of each criterion by itself."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from argus_assets.errors import BadSetting
from argus_assets.maintenance.selection import Criteria, parse_code_version, select
from argus_assets.maintenance.staleness import MaterializationRecord
from argus_assets.pipeline import DROP, STAGES

RECIPES = {stage: {"code": "2"} for stage in STAGES}


@dataclass(frozen=True)
class Batch:
    """One batch as Dagster's records have it."""

    vehicle: str
    day: int
    release: str
    failed_at: str | None
    version: str
    dropped: bool

    @property
    def key(self) -> str:
        return f"2026-11-{self.day:02d}_{self.vehicle}_b"

    def made(self) -> dict[str, MaterializationRecord]:
        made = {DROP: MaterializationRecord("d", "v", {})} if self.dropped else {}
        return made | {
            stage: MaterializationRecord("d", "v", {"code": self.version}, made_from="v") for stage in STAGES
        }


class Records:
    """The records of some batches; `asked` counts the batches that were asked for."""

    def __init__(self, batches: Sequence[Batch]) -> None:
        self.batches = {batch.key: batch for batch in batches}
        self.asked: dict[str, int] = {}

    def _of(self, name: str, partitions: Sequence[str]) -> list[Batch]:
        self.asked[name] = len(partitions)
        return [self.batches[key] for key in partitions]

    def releases(self, partitions: Sequence[str]) -> Mapping[str, str]:
        return {b.key: b.release for b in self._of("releases", partitions)}

    def failed_stages(self, partitions: Sequence[str]) -> Mapping[str, str | None]:
        return {b.key: b.failed_at for b in self._of("failed", partitions) if b.failed_at is not None}

    def made(self, partitions: Sequence[str]) -> Mapping[str, Mapping[str, MaterializationRecord]]:
        return {b.key: b.made() for b in self._of("made", partitions)}


batches = st.lists(
    st.builds(
        Batch,
        vehicle=st.sampled_from("vw"),
        day=st.integers(1, 6),
        release=st.sampled_from("ab"),
        failed_at=st.sampled_from([None, *STAGES[:2]]),
        version=st.sampled_from("12"),
        dropped=st.booleans(),
    ),
    unique_by=lambda batch: batch.key,
    max_size=8,
)
wanted = st.builds(
    Criteria,
    vehicles=st.sampled_from([(), ("v",), ("v", "w")]),
    first_day=st.sampled_from([None, date(2026, 11, 2)]),
    last_day=st.sampled_from([None, date(2026, 11, 4)]),
    releases=st.sampled_from([(), ("a",)]),
    failed=st.booleans(),
    failed_at=st.sampled_from([(), (STAGES[0],)]),
    code_versions=st.sampled_from([(), ((STAGES[2], "1"),)]),
    stale=st.booleans(),
)


def meets(batch: Batch, criteria: Criteria) -> bool:
    day = date(2026, 11, batch.day)
    return all((
        not criteria.vehicles or batch.vehicle in criteria.vehicles,
        criteria.first_day is None or day >= criteria.first_day,
        criteria.last_day is None or day <= criteria.last_day,
        not criteria.releases or batch.release in criteria.releases,
        not criteria.failed or batch.failed_at is not None,
        not criteria.failed_at or batch.failed_at in criteria.failed_at,
        not criteria.code_versions or batch.version == "1",
        not criteria.stale or (batch.dropped and batch.version != "2"),
    ))  # fmt: skip


@given(batches=batches, criteria=wanted)
def test_a_batch_is_selected_that_meets_every_criterion(batches: list[Batch], criteria: Criteria) -> None:
    order = [batch.key for batch in batches]
    found = select(criteria, order=order, records=Records(batches), recipes=RECIPES)
    chosen = [batch for batch in batches if meets(batch, criteria)]
    assert found.partitions == tuple(batch.key for batch in chosen)
    assert set(found.stale) >= {batch.key for batch in chosen if batch.dropped and batch.version != "2"}
    assert all(stale.stage == STAGES[0] for stale in found.stale.values())


def test_records_are_read_of_what_is_still_selected_only() -> None:
    batches = [Batch("v" if day < 3 else "w", day, "ab"[day % 2], None, "2", True) for day in range(1, 6)]
    records = Records(batches)
    select(Criteria(vehicles=("v",), releases=("a",)), order=[b.key for b in batches], records=records, recipes=RECIPES)
    assert records.asked == {"releases": 2, "made": 1}


def test_named_batches_keep_their_order() -> None:
    batches = [Batch("v", day, "a", None, "1", True) for day in (1, 2, 3)]
    named = (batches[2].key, batches[0].key)
    found = select(Criteria(partitions=named), order=[], records=Records(batches), recipes=RECIPES)
    assert found.partitions == named
    assert set(found.stale) == set(named)
    current = [replace(batch, version="2") for batch in batches]
    assert select(Criteria(partitions=named), order=[], records=Records(current), recipes=RECIPES).stale == {}


def test_a_code_version_names_a_stage() -> None:
    assert parse_code_version("diagnosis=3=4") == ("diagnosis", "3=4")
    for text in ("", "diagnosis", "diagnosis=", "nothing=1", "=1"):
        with pytest.raises(BadSetting, match="is not a code version"):
            parse_code_version(text)
