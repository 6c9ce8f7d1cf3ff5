"""What a diagnosis needs from outside, as protocols: a language model, a token ledger, saved answers, cases, history.

The adapters stand in `resources/`. All are safe to use from several threads and processes.
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, Protocol

from pydantic import Field

from argus_assets.diagnosis.model import Document, History, ItemHistory, SimilarCase

# ---------------------------------------------------------------------------------------------- language model


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one attempt.

    Attributes:
        prompt_tokens: Read, `cached_tokens` included.
        completion_tokens: Written.
        cached_tokens: Of the prompt, those that the server had in its cache.
        estimated: Whether the server told none and they are a bound of ours.
    """

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    estimated: bool = False

    @property
    def total(self) -> int:
        """Prompt and completion tokens."""
        return self.prompt_tokens + self.completion_tokens

    def plus(self, other: "Usage") -> "Usage":
        """Return the tokens of both; estimated if either is."""
        return Usage(
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
            self.cached_tokens + other.cached_tokens,
            self.estimated or other.estimated,
        )


@dataclass(frozen=True, slots=True)
class ModelRequest:
    """What is asked.

    Attributes:
        system: Instructions.
        user: The data and the question.
        schema: JSON schema of the answer.
        max_tokens: Of the answer.
        previous: An answer that was refused, and why: the model is to mend it.
    """

    system: str
    user: str
    schema: Mapping[str, Any]
    max_tokens: int
    previous: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True)
class ModelReply:
    """What came back: text that should be JSON, not yet checked."""

    text: str
    usage: Usage
    model: str


FailureKind = Literal["refused", "rate_limited", "server_error", "timeout", "connection", "bad_reply", "rejected"]
"""`refused`: the model would not answer. `rejected`: the request is at fault (key, model name, size)."""


class ModelFailed(Exception):
    """One attempt at asking failed.

    Attributes:
        kind: What went wrong.
        retryable: Whether the same request may succeed later.
        retry_after_s: What the server asked to wait.
        usage: Tokens that it cost; `None` when nobody knows, so that the whole reservation counts.
    """

    def __init__(
        self,
        kind: FailureKind,
        what: str,
        *,
        retryable: bool,
        retry_after_s: float | None = None,
        usage: Usage | None = None,
    ) -> None:
        super().__init__(what)
        self.kind: FailureKind = kind
        self.retryable = retryable
        self.retry_after_s = retry_after_s
        self.usage = usage


class LanguageModel(Protocol):
    """An OpenAI-compatible chat model."""

    @property
    def name(self) -> str:
        """Model name, as the endpoint knows it."""
        ...

    def attempt(self, request: ModelRequest, *, timeout_s: float) -> ModelReply:
        """Ask once; `timeout_s` is the whole time until the last byte.

        Raises:
            ModelFailed: There is no answer.
        """
        ...

    def slot(self, *, timeout_s: float) -> AbstractContextManager[None]:
        """Hold one of the places for calls at the same time, over all processes.

        Raises:
            ModelFailed: None was free in time (`timeout`, nothing spent).
        """
        ...


# ---------------------------------------------------------------------------------------------- budget


@dataclass(frozen=True, slots=True)
class Reservation:
    """Tokens set aside for one attempt."""

    id: int
    tokens: int


class OverBudget(Exception):
    """The day's tokens do not allow a call of this priority. Says what is left and when there is more."""


class Ledger(Protocol):
    """Who spent how many tokens. A reservation that nobody settles stays spent."""

    def reserve(self, tokens: int, *, batch: str, model: str, priority: float) -> Reservation:
        """Set tokens aside.

        Args:
            tokens: Upper bound of what the attempt may cost.
            batch: Partition it is for.
            model: Model name.
            priority: 0 to 1, see `budget.priority_of`.

        Raises:
            OverBudget: They are not there for this priority.
        """
        ...

    def settle(self, reservation: Reservation, usage: Usage, *, outcome: str, cost_usd: float | None) -> None:
        """Replace a reservation by what was spent.

        Args:
            reservation: Of this attempt.
            usage: What it cost.
            outcome: `answered`, or a `FailureKind`.
            cost_usd: `None` when the price is not known.
        """
        ...


# ---------------------------------------------------------------------------------------------- saved answers


class SavedAnswer(Document):
    """A model's answer that was found valid, kept for the same fault signature.

    Attributes:
        answer: The answer as JSON text, with evidence ids of `items`.
        items: Evidence id → `[ecu, code, status]` of the batch that it was made for.
        precedent: Partition of that batch.
    """

    answer: str
    items: dict[str, tuple[str, str, str]]
    precedent: str
    model: str
    made_at: datetime


class AnswerCache(Protocol):
    """Saved answers by key (`signature.cache_key`)."""

    def get(self, key: str) -> SavedAnswer | None:
        """The saved answer."""
        ...

    def put(self, key: str, answer: SavedAnswer) -> None:
        """Save one; the first that was saved for a key stays."""
        ...


# ---------------------------------------------------------------------------------------------- cases


class CodeCount(Document):
    """A code of a case, and how often it occurred."""

    code: str
    ecu: str = ""
    occurrences: int = Field(ge=1, default=1)


class Case(Document):
    """A drive whose cause a person confirmed or corrected: the memory that retrieval reads.

    Attributes:
        id: Unique; importing the same id again replaces it.
        partition: Batch that it was, when it was one of ours.
        codes: Its codes, root first.
        signature: Fault signature; empty when it is not known.
        cause: Identifier of the knowledge base, or any other of the same form for causes it does not know.
        predicted_cause: What the diagnosis had said first; `None` when there was none.
        predicted_confidence: How sure it was.
        predicted_mode: Mode of that diagnosis.
    """

    id: str = Field(min_length=1, max_length=128)
    partition: str | None = None
    platform: str
    release: str
    recorded_at: datetime
    codes: tuple[CodeCount, ...] = Field(min_length=1)
    signature: str = ""
    cause: str = Field(min_length=1, max_length=128)
    title: str
    fix: str | None = None
    note: str | None = None
    confirmed_at: datetime
    confirmed_by: str | None = None
    predicted_cause: str | None = None
    predicted_confidence: float | None = None
    predicted_mode: str | None = None


@dataclass(frozen=True, slots=True)
class CaseQuery:
    """What is looked for: a drive's codes, and what limits where it is looked for.

    Attributes:
        codes: Root first.
        platform: Cases of this platform.
        release: Cases of this release and those around it are compared first; see `retrieval`.
        at: When the drive was: recency is counted from here, and cases confirmed later are left out.
        exclude_partition: A batch never finds itself.
    """

    codes: tuple[CodeCount, ...]
    platform: str
    release: str
    at: datetime
    exclude_partition: str | None = None


@dataclass(frozen=True, slots=True)
class ConfirmedPrediction:
    """A confirmed prediction: how sure, and whether it was right."""

    mode: str
    confidence: float
    correct: bool


class CaseStore(Protocol):
    """Confirmed cases."""

    def similar(self, query: CaseQuery, *, limit: int = 5) -> Sequence[SimilarCase]:
        """The most similar cases, best first."""
        ...

    def with_signature(self, signature: str, *, platform: str) -> Sequence[Case]:
        """Cases of exactly this fault signature, newest first."""
        ...

    def outcomes(self) -> Sequence[ConfirmedPrediction]:
        """All confirmed predictions."""
        ...


class Embedder(Protocol):
    """A model that turns texts into vectors."""

    @property
    def name(self) -> str:
        """Model name, as its endpoint knows it. Vectors of different names are not comparable."""
        ...

    def embed(self, texts: Sequence[str]) -> Sequence[Sequence[float]]:
        """A vector for each text, in their order, all of one length.

        Raises:
            Unavailable: The model did not answer, or not with vectors.
            BadSetting: It cannot be used as it is set.
        """
        ...


# ---------------------------------------------------------------------------------------------- history


@dataclass(frozen=True, slots=True)
class DriveFacts:
    """What the memory of drives keeps of one.

    Attributes:
        partition: Of the batch.
        faults: (code, ecu, status, severity, occurrences) of each trouble that stands for itself.
    """

    partition: str
    vehicle_id: str
    platform: str
    release: str
    recorded_from: datetime
    recorded_h: float
    manifest_digest: str
    faults: tuple[tuple[str, str, str, str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Past:
    """What was before a drive: the counts, and those of each fault by (code, ecu)."""

    history: History
    items: Mapping[tuple[str, str], ItemHistory] = field(default_factory=dict[tuple[str, str], ItemHistory])


class DriveMemory(Protocol):
    """The faults of earlier drives."""

    def remember(self, drive: DriveFacts) -> None:
        """Keep a drive; what was kept of the same partition is replaced."""
        ...

    def past(self, drive: DriveFacts, *, window_days: int = 90) -> Past:
        """What was known before this drive: only drives that were recorded earlier, in the window."""
        ...
