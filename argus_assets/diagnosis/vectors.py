"""Turn codes into a vector, so that a vector index can compare drives.

Each code is a feature with the value log1p(occurrences)·idf(code): a code that chatters a thousand times says little
more than one that occurs ten times, and a code that every case has says little at all. A code with a failure type
(`U0100-87`, `SPN100/FMI1`) also counts as its component (`U0100`, `SPN100`), since ECUs report the same fault with
different failure types.

Features are hashed to a fixed number of dimensions, with a sign (Weinberger et al. 2009, "Feature hashing for large
scale multitask learning"): a new code needs no new column. Two codes that collide in a dimension add up or cancel with
equal probability, so the cosine of two drives is unbiased; its error has a standard
deviation of about 1/√1536, or 0.026. Ten features collide with each other in 3% of all drives.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import blake2b
from math import log, log1p
from types import MappingProxyType
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from argus_assets.diagnosis.ports import CodeCount
from argus_assets.errors import BadSetting

DIMENSIONS: Final = 1536
"""Dimensions of every stored vector: pgvector indexes at most 2,000."""

Vector = npt.NDArray[np.float32]

_WITH_FAILURE_TYPE: Final = re.compile(r"([PBCU][0-3][0-9A-F]{3})-[0-9A-F]{2}|(SPN[0-9]+)/FMI[0-9]+")


@dataclass(frozen=True, slots=True)
class IdfTable:
    """Document frequencies of features, by which rare codes weigh more.

    Attributes:
        version: Vectors are comparable if they were made with the same version.
        documents: Number of cases.
        df: Number of cases by feature.
    """

    version: int = 0
    documents: int = 0
    df: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))

    @classmethod
    def of(cls, documents: Iterable[Sequence[CodeCount]], *, version: int = 0) -> "IdfTable":
        """Count the features of cases."""
        df: dict[str, int] = {}
        count = 0
        for codes in documents:
            count += 1
            for name in features(codes):
                df[name] = df.get(name, 0) + 1
        return cls(version, count, df)

    def idf(self, feature: str) -> float:
        """Return ln((1 + N) / (1 + df)) + 1.

        Not ln(N / df), which is undefined for a code that was never seen, the rarest of all, and 0 for one that all
        cases have, so a drive with no other code would have no direction. Without cases it is 1.
        """
        return log((1 + self.documents) / (1 + self.df.get(feature, 0))) + 1


def features(codes: Iterable[CodeCount]) -> dict[str, int]:
    """Return occurrences by feature over all ECUs: the codes as given, then the components of codes with a failure type."""
    counts: dict[str, int] = {}
    components: dict[str, int] = {}
    for code in codes:
        counts[code.code] = counts.get(code.code, 0) + code.occurrences
        component = component_of(code.code)
        if component is not None:
            components[component] = components.get(component, 0) + code.occurrences
    return {**counts, **{name: count for name, count in components.items() if name not in counts}}


def component_of(code: str) -> str | None:
    """Return a code without its failure type (ISO 14229-1 failure-type byte, J1939 FMI), or `None` if it has none."""
    match = _WITH_FAILURE_TYPE.fullmatch(code)
    return None if match is None else match[1] or match[2]


def code_vector(codes: Sequence[CodeCount], idf: IdfTable) -> Vector:
    """Return the vector of a drive's codes.

    Args:
        codes: At least one code.
        idf: The active IDF table.

    Returns:
        `DIMENSIONS` numbers of norm 1.
    """
    vector = np.zeros(DIMENSIONS)
    values = {name: log1p(count) * idf.idf(name) for name, count in features(codes).items()}
    for name in sorted(values):  # sorted: a sum of floats depends on its order
        place, sign = _slot(name)
        vector[place] += sign * values[name]
    norm = float(np.linalg.norm(vector))
    if norm < 1e-9:  # all features collided and cancelled: keep the strongest
        place, sign = _slot(max(sorted(values), key=values.__getitem__))
        vector[place], norm = sign, 1.0
    return (vector / norm).astype(np.float32)


def padded(embedding: Sequence[float], *, name: str) -> Vector:
    """Pad an embedding to the stored length with zeros, which do not change the cosine.

    Args:
        embedding: Embedding from a model.
        name: Name of the model, for the message.

    Raises:
        BadSetting: The embedding is longer than `DIMENSIONS`, or has no direction.
    """
    if len(embedding) > DIMENSIONS:
        raise BadSetting(
            f"The embedding model {name} returns vectors of {len(embedding)} dimensions, expected at most {DIMENSIONS}.",
            help="Set ARGUS_EMBEDDING_MODEL to a model with smaller vectors, or unset it.",
        )
    vector: npt.NDArray[Any] = np.zeros(DIMENSIONS)
    vector[: len(embedding)] = embedding
    norm = float(np.linalg.norm(vector))
    if not np.isfinite(norm) or norm == 0:
        raise BadSetting(
            f"The embedding model {name} returned a vector without a direction (norm {norm:g}).",
            help="Set ARGUS_EMBEDDING_MODEL to a text embedding model, or unset it.",
        )
    return (vector / norm).astype(np.float32)


@lru_cache(maxsize=100_000)
def _slot(name: str) -> tuple[int, float]:
    """Return the dimension and sign of a feature, by a hash that is stable across processes, unlike Python's own."""
    number = int.from_bytes(blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big")
    return (number >> 1) % DIMENSIONS, 1.0 if number & 1 else -1.0
