"""Retrieve past cases that resemble a drive: the rules that every case store follows.

1. A case counts if it has the drive's platform, shares a code (or the component of one) with it, was confirmed by the
   time of the query, and is not the batch itself.
2. Cases of releases near the drive's (`nearby`) are compared first. If too few of them are similar enough
   (`SIMILAR_ENOUGH`), cases of all releases are compared: a good precedent under an old release is worth more than a
   poor one under the current release.
3. The most similar cases, `CANDIDATES` for each one requested, are ranked by similarity times recency.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Final, Literal

import numpy as np

from argus_assets.diagnosis.model import Diagnosis, Evidence, SimilarCase
from argus_assets.diagnosis.ports import Case, CaseQuery, CodeCount, ConfirmedPrediction
from argus_assets.diagnosis.redaction import redact
from argus_assets.diagnosis.releases import release_key
from argus_assets.diagnosis.vectors import IdfTable, Vector, code_vector, component_of, features

NEAR_RELEASES: Final = 3
"""Number of releases before and after the drive's that are near: about as many as a fleet runs at a time."""

SIMILAR_ENOUGH: Final = 0.5
CANDIDATES: Final = 4
SAME_SIGNATURE: Final = 100
"""Maximum number of cases of one signature that are read: more would not add confidence."""

HALF_LIFE_DAYS: Final = 5.0
"""94% of recurring incidents recur within 20 days (RCACopilot, EuroSys 2024): four half-lives."""

MIN_RECENCY: Final = 0.5
"""Weight of a very old case: with identical codes it equals a new case that is half as similar."""

Scope = Literal["near releases", "all releases"]


@dataclass(frozen=True, slots=True)
class Found:
    """Similar cases, and how they were found.

    Attributes:
        cases: Best first.
        scope: Which releases were compared.
        compared_by: Source of the vectors: `codes`, or the name of an embedding model.
    """

    cases: tuple[SimilarCase, ...]
    scope: Scope
    compared_by: str = "codes"


def recency_weight(age_days: float) -> float:
    """Return the weight of a case of this age, from 1 down to `MIN_RECENCY`: the excess halves every 5 days.

    Args:
        age_days: Days between the two drives; a case from after the drive counts as new.
    """
    return MIN_RECENCY + (1 - MIN_RECENCY) * 0.5 ** (max(0.0, age_days) / HALF_LIFE_DAYS)


def nearby(release: str, releases: Iterable[str]) -> frozenset[str]:
    """Return the `releases` near `release`: the same, and those of the three keys before and after it."""
    here = release_key(release)
    keys = {other: release_key(other) for other in releases}
    distinct = sorted(set(keys.values()))
    near = {
        here,
        *[key for key in distinct if key < here][-NEAR_RELEASES:],
        *[key for key in distinct if key > here][:NEAR_RELEASES],
    }
    return frozenset(other for other, key in keys.items() if key in near)


def case_query(evidence: Evidence, at: datetime, partition: str | None) -> CaseQuery:
    """Build the query for cases that resemble a drive.

    Args:
        evidence: Evidence of the drive.
        at: Time of the query: cases confirmed later are ignored, and recency is measured from here.
        partition: Partition of its batch, which must not find itself.
    """
    return CaseQuery(
        codes=_counts(evidence),
        platform=evidence.platform,
        release=evidence.release,
        at=at,
        exclude_partition=None if partition is None else batch_name(partition),
    )


def case_of(
    evidence: Evidence,
    diagnosis: Diagnosis,
    *,
    partition: str,
    recorded_at: datetime,
    cause: str,
    title: str,
    confirmed_at: datetime,
    confirmed_by: str | None = None,
    fix: str | None = None,
    note: str | None = None,
) -> Case:
    """Build the case of a diagnosis that a person confirmed or corrected. The evidence must have an item.

    Args:
        evidence: Evidence of the batch.
        diagnosis: Its diagnosis.
        partition: Partition of the batch, from which the id of the case is made.
        recorded_at: Start of the drive.
        cause: The actual cause.
        title: The cause in plain words.
        confirmed_at: When it was confirmed.
        confirmed_by: Who confirmed it.
        fix: The repair that helped.
        note: Any other remark. Free text is redacted.
    """
    name = batch_name(partition)
    first = diagnosis.root_causes[0] if diagnosis.root_causes else None
    return Case(
        id=name,
        partition=name,
        platform=evidence.platform,
        release=evidence.release,
        recorded_at=recorded_at,
        codes=_counts(evidence),
        signature=diagnosis.signature,
        cause=cause,
        title=redact(title),
        fix=redact(fix) if fix else None,
        note=redact(note) if note else None,
        confirmed_at=confirmed_at,
        confirmed_by=redact(confirmed_by) if confirmed_by else None,
        predicted_cause=first.cause if first else None,
        predicted_confidence=first.confidence if first else None,
        predicted_mode=diagnosis.mode if first else None,
    )


def batch_name(partition: str) -> str:
    """Return a partition key as cases store it: replaced by a digest if the vehicle id or batch id is a VIN."""
    if redact(partition) == partition:
        return partition
    return f"{partition[:10]}_{sha256(partition.encode()).hexdigest()[:24]}"


def causes_of(cases: Sequence[SimilarCase]) -> list[tuple[str, float]]:
    """Return the causes that similar cases vote for, with their share of the weight, highest first; ties keep their order."""
    weights: dict[str, float] = {}
    for case in cases:
        weights[case.cause] = weights.get(case.cause, 0.0) + case.weight
    total = sum(weights.values())
    return [(cause, weight / total) for cause, weight in sorted(weights.items(), key=lambda x: -x[1]) if total]


def is_visible(case: Case, query: CaseQuery) -> bool:
    """Return whether a query may find a case: same platform, confirmed in time, and not the batch itself."""
    return (
        case.platform == query.platform
        and case.confirmed_at <= query.at
        and (case.partition is None or case.partition != query.exclude_partition)
    )


def best(candidates: Iterable[tuple[Case, float]], query: CaseQuery, *, limit: int) -> tuple[SimilarCase, ...]:
    """Rank the most similar cases by similarity times recency.

    Args:
        candidates: Cases with their cosine similarity.
        query: The query that found them.
        limit: Number of cases to keep.
    """
    similar = [_similar(case, cosine, query) for case, cosine in candidates]
    return tuple(sorted(similar, key=lambda s: (-s.weight, -s.confirmed_on.toordinal(), s.id))[:limit])


def is_enough(found: Sequence[SimilarCase], *, limit: int) -> bool:
    """Return whether enough similar cases were found without comparing further releases."""
    return sum(case.similarity >= SIMILAR_ENOUGH for case in found) >= limit


class MemoryCaseStore:
    """Cases in memory, compared one by one: exact, and the oracle of the other stores. Not thread-safe.

    Args:
        cases: Initial cases.
        idf: IDF table to use; counted from the cases by default.
    """

    def __init__(self, cases: Iterable[Case] = (), *, idf: IdfTable | None = None) -> None:
        self._cases: dict[str, Case] = {}
        self._given_idf = idf
        self._idf = idf or IdfTable()
        self._vectors: dict[str, Vector] = {}
        self._stale = True
        self.add(cases)

    def add(self, cases: Iterable[Case]) -> None:
        """Add cases; one with the id of another replaces it."""
        self._cases.update((case.id, case) for case in cases)
        self._stale = True

    def remove(self, id: str) -> bool:  # noqa: A002 - the field's name
        """Remove a case. Return whether it existed."""
        self._stale = True
        return self._cases.pop(id, None) is not None

    def similar(self, query: CaseQuery, *, limit: int = 5) -> Sequence[SimilarCase]:
        """Return the most similar cases, best first."""
        return self.search(query, limit=limit).cases

    def search(self, query: CaseQuery, *, limit: int = 5) -> Found:
        """Return the most similar cases, and how they were found."""
        visible = [case for case in self._cases.values() if is_visible(case, query)]
        near = nearby(query.release, {case.release for case in visible})
        sharing = [case for case in visible if features(query.codes).keys() & features(case.codes).keys()]
        found = self._most_similar([case for case in sharing if case.release in near], query, limit)
        if is_enough(found, limit=limit):
            return Found(found, "near releases")
        return Found(self._most_similar(sharing, query, limit), "all releases")

    def with_signature(self, signature: str, *, platform: str) -> Sequence[Case]:
        """Return the cases with exactly this fault signature, newest first, at most `SAME_SIGNATURE`."""
        if not signature:
            return []
        found = [c for c in self._cases.values() if c.signature == signature and c.platform == platform]
        return sorted(found, key=_newest_first)[:SAME_SIGNATURE]

    def outcomes(self) -> Sequence[ConfirmedPrediction]:
        """Return all confirmed predictions."""
        return [o for case in self._cases.values() if (o := _outcome_of(case)) is not None]

    def idf(self) -> IdfTable:
        """Return the active IDF table."""
        self._refresh()
        return self._idf

    def _refresh(self) -> None:
        if self._stale:
            self._idf = self._given_idf or IdfTable.of([case.codes for case in self._cases.values()])
            self._vectors, self._stale = {}, False

    def _most_similar(self, cases: list[Case], query: CaseQuery, limit: int) -> tuple[SimilarCase, ...]:
        if not cases:
            return ()
        self._refresh()
        for case in cases:
            if case.id not in self._vectors:
                self._vectors[case.id] = code_vector(case.codes, self._idf)
        cosines = np.stack([self._vectors[case.id] for case in cases]) @ code_vector(query.codes, self._idf)
        first = np.argsort(-cosines, kind="stable")[: CANDIDATES * limit]
        return best([(cases[i], float(cosines[i])) for i in first], query, limit=limit)


def _newest_first(case: Case) -> tuple[float, str]:
    return -case.confirmed_at.timestamp(), case.id


def _outcome_of(case: Case) -> ConfirmedPrediction | None:
    if case.predicted_cause is None or case.predicted_confidence is None:
        return None
    right = case.predicted_cause == case.cause
    return ConfirmedPrediction(case.predicted_mode or "", case.predicted_confidence, right, case.predicted_cause or "")


def case_text(codes: Sequence[CodeCount], meaning: Callable[[str], str]) -> str:
    """Return a case as text for an embedding model: its codes in plain words, and no text from recordings.

    Args:
        codes: Codes of the case.
        meaning: Describe a code in plain words.
    """
    return "\n".join(f"{code}: {meaning(code)}" for code in dict.fromkeys(count.code for count in codes))


def _counts(evidence: Evidence) -> tuple[CodeCount, ...]:
    return tuple(CodeCount(code=i.code, ecu=i.ecu, occurrences=i.occurrences) for i in evidence.items)


def _similar(case: Case, cosine: float, query: CaseQuery) -> SimilarCase:
    similarity = min(1.0, max(0.0, cosine))
    age_days = (query.at - case.recorded_at).total_seconds() / 86_400
    return SimilarCase(
        id=case.id,
        cause=case.cause,
        title=case.title,
        fix=case.fix,
        platform=case.platform,
        release=case.release,
        similarity=round(similarity, 4),
        weight=round(similarity * recency_weight(age_days), 4),
        shared_codes=_shared(query.codes, case.codes),
        confirmed_on=case.confirmed_at.date(),
    )


def _shared(one: Sequence[CodeCount], other: Sequence[CodeCount]) -> tuple[str, ...]:
    """Return the codes in common, or their components if the failure types differ, in the order of `one`."""
    both = features(other).keys()
    codes = [code for code in features(one) if code in both]
    implied = {component_of(code) for code in codes}
    return tuple(code for code in codes if code not in implied)
