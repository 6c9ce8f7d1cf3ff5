"""Compare what a change of decoders, rules, prompt or model would do to batches: to their codes and diagnoses.

Pure: the outcome of a batch as far as it is compared, and the differences of two.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

import polars as pl
from pydantic import BaseModel, ConfigDict

from argus_assets.diagnosis.model import Diagnosis

CONFIDENCE_STEP: Final = 0.05
"""A confidence that changes by less counts as the same."""

Kind = Literal[
    "frames", "frames_lost", "recordings_failed", "code_new", "code_gone", "code_changed", "cause", "confidence",
    "cause_order", "severity", "drivable", "mode",
]  # fmt: skip


_PLAIN: Final[tuple[Kind, ...]] = ("severity", "drivable", "mode", "frames", "frames_lost", "recordings_failed")


class CodeOutcome(BaseModel):
    """One fault of one ECU.

    Attributes:
        occurrences: Activations.
    """

    model_config = ConfigDict(frozen=True)

    code: str
    ecu: str
    status: str
    severity: str
    occurrences: int

    @property
    def name(self) -> str:
        """Return the code with its ECU."""
        return f"{self.code} ({self.ecu})" if self.ecu else self.code


class BatchOutcome(BaseModel):
    """What came out of a batch, as far as it is compared.

    Attributes:
        causes: Root causes with their confidence, the most likely first.
        tokens: Of the language model.
    """

    model_config = ConfigDict(frozen=True)

    frames: int
    frames_lost: int
    recordings_failed: int
    codes: tuple[CodeOutcome, ...]
    mode: str
    verdict: str
    severity: str
    drivable: str
    causes: tuple[tuple[str, float], ...]
    tokens: int = 0

    @property
    def cause(self) -> str:
        """Return the most likely cause."""
        return self.causes[0][0] if self.causes else "none"

    @classmethod
    def of(cls, recordings: pl.DataFrame, stats: pl.DataFrame, diagnosis: Diagnosis) -> "BatchOutcome":
        """Return the outcome that follows from tables and a diagnosis.

        Args:
            recordings: `recordings.schema.RECORDINGS`.
            stats: `stats.schema.ERROR_STATS`.
            diagnosis: The answer.
        """
        columns = stats.select(pl.col("code", "ecu", "status", "severity").cast(pl.String).fill_null(""), "occurrences")
        return cls(
            frames=int(recordings["frames"].sum()),
            frames_lost=int(recordings["frames_lost"].sum()),
            recordings_failed=recordings.filter(pl.col("state") == "failed").height,
            codes=tuple(CodeOutcome.model_validate(row) for row in columns.iter_rows(named=True)),
            mode=diagnosis.mode,
            verdict=diagnosis.verdict,
            severity=str(diagnosis.severity),
            drivable=str(diagnosis.drivable),
            causes=tuple((c.cause, c.confidence) for c in diagnosis.root_causes),
            tokens=diagnosis.prompt_tokens + diagnosis.completion_tokens,
        )


class Pin(BaseModel):
    """A batch of the golden set, with the outcome that it is to have.

    Attributes:
        digest: Of the manifest.
        made_with: Asset → what it was made with.
        note: Why it is in the set.
    """

    model_config = ConfigDict(frozen=True)

    partition: str
    digest: str
    pinned_at: datetime
    by: str
    note: str
    made_with: dict[str, dict[str, str]]
    outcome: BatchOutcome


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that came out differently.

    Attributes:
        name: Which code or cause.
        before: As it was, empty for what is new.
        after: As it would be, empty for what is gone.
    """

    kind: Kind
    name: str
    before: str
    after: str


def differences(before: BatchOutcome, after: BatchOutcome) -> list[Difference]:
    """Return what came out differently: codes first, then the diagnosis, then what was read."""
    found = _of_codes(before, after)
    old, new = dict(before.causes), dict(after.causes)
    if before.cause != after.cause:
        found.append(Difference("cause", "most likely", before.cause, after.cause))
    elif [c for c, _ in before.causes if c in new] != [c for c, _ in after.causes if c in old]:
        found.append(Difference("cause_order", "", *(", ".join(c for c, _ in o.causes) for o in (before, after))))
    for cause in dict.fromkeys([*old, *new]):
        was, is_ = old.get(cause), new.get(cause)
        if was is None or is_ is None or abs(was - is_) >= CONFIDENCE_STEP:
            found.append(Difference("confidence", cause, _percent(was), _percent(is_)))
    for kind in _PLAIN:
        values = [str(getattr(o, kind)) for o in (before, after)]
        if values[0] != values[1]:
            found.append(Difference(kind, "", *values))
    return found


def _of_codes(before: BatchOutcome, after: BatchOutcome) -> list[Difference]:
    old, new = ({(c.code, c.ecu): c for c in outcome.codes} for outcome in (before, after))
    found: list[Difference] = []
    for key in sorted({*old, *new}):
        was, is_ = old.get(key), new.get(key)
        if was is None and is_ is not None:
            found.append(Difference("code_new", is_.name, "", _described(is_)))
        elif was is not None and is_ is None:
            found.append(Difference("code_gone", was.name, _described(was), ""))
        elif was is not None and is_ is not None and was != is_:
            found.append(Difference("code_changed", was.name, _described(was), _described(is_)))
    return found


def _described(code: CodeOutcome) -> str:
    return f"{code.severity}, {code.status}, {code.occurrences} times"


def _percent(confidence: float | None) -> str:
    return "" if confidence is None else f"{confidence:.0%}"


def summed(found: Iterable[Iterable[Difference]]) -> list[tuple[Kind, str, int]]:
    """Return (kind, name, batches) of the differences over all batches, the most frequent first."""
    counts: Counter[tuple[Kind, str]] = Counter((d.kind, d.name) for of_one in found for d in set(of_one))
    return [(kind, name, n) for (kind, name), n in sorted(counts.items(), key=lambda c: (-c[1], c[0]))]
