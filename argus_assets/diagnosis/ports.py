"""Protocols of the services that a diagnosis uses: a language model, a token ledger, saved answers, cases, history.

Their adapters are in `adapters/`. All are safe to use from several threads and processes.
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, Protocol

from pydantic import Field

from argus_assets.diagnosis.model import Document, History, ItemHistory, Mode, SimilarCase

# ---------------------------------------------------------------------------------------------- language model


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one attempt.

    Attributes:
        prompt_tokens: Tokens read, `cached_tokens` included.
        completion_tokens: Tokens written.
        cached_tokens: Prompt tokens that the server had in its cache.
        estimated: Whether the server reported none and these are our upper bound.
    """

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    estimated: bool = False

    @property
    def total(self) -> int:
        """Return the number of prompt and completion tokens."""
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
    """A request to a language model.

    Attributes:
        system: Instructions.
        user: The data and the question.
        schema: JSON schema of the answer.
        max_tokens: Maximum length of the answer.
        previous: An invalid answer, and the message that asks the model to repair it.
    """

    system: str
    user: str
    schema: Mapping[str, Any]
    max_tokens: int
    previous: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True)
class ModelReply:
    """A language model's reply: text that should be JSON, not yet verified."""

    text: str
    usage: Usage
    model: str


FailureKind = Literal["refused", "rate_limited", "server_error", "timeout", "connection", "bad_reply", "rejected"]
"""`refused`: the model declined to answer. `rejected`: the request is at fault (key, model name, size)."""


class ModelFailed(Exception):
    """One attempt to ask a language model failed.

    Attributes:
        kind: Kind of failure.
        retryable: Whether the same request may succeed later.
        retry_after_s: Wait that the server asked for.
        usage: Tokens used; `None` if unknown, so that the whole reservation counts.
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
        """Return the model's name, as the endpoint knows it."""
        ...

    def attempt(self, request: ModelRequest, *, timeout_s: float) -> ModelReply:
        """Ask once; `timeout_s` covers the whole time until the last byte.

        Raises:
            ModelFailed: There is no answer.
        """
        ...

    def slot(self, *, timeout_s: float) -> AbstractContextManager[None]:
        """Hold one of the slots for concurrent calls, which all processes share.

        Raises:
            ModelFailed: No slot was free in time (`timeout`, nothing spent).
        """
        ...


# ---------------------------------------------------------------------------------------------- budget


@dataclass(frozen=True, slots=True)
class Reservation:
    """Tokens set aside for one attempt."""

    id: int
    tokens: int


class OverBudget(Exception):
    """The day's tokens do not allow a call of this priority. The message states what is left, and until when."""


class Ledger(Protocol):
    """Account of the tokens spent. A reservation that is never settled counts as spent."""

    def reserve(self, tokens: int, *, batch: str, model: str, priority: float) -> Reservation:
        """Set tokens aside.

        Args:
            tokens: Upper bound of the tokens of the attempt.
            batch: Partition that the attempt is for.
            model: Model name.
            priority: 0 to 1, see `budget.priority_of`.

        Raises:
            OverBudget: The budget does not allow them at this priority.
        """
        ...

    def settle(self, reservation: Reservation, usage: Usage, *, outcome: str, cost_usd: float | None) -> None:
        """Replace a reservation by the actual usage.

        Args:
            reservation: Reservation of this attempt.
            usage: Tokens used.
            outcome: `answered`, or a `FailureKind`.
            cost_usd: Cost; `None` if the price is unknown.
        """
        ...


# ---------------------------------------------------------------------------------------------- saved answers


class SavedAnswer(Document):
    """A valid answer of a model, saved for the same fault signature.

    Attributes:
        answer: The answer as JSON text, with evidence ids of `items`.
        items: Evidence id → `[ecu, code, status]` of the original batch.
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
        """Return the saved answer, or `None`."""
        ...

    def put(self, key: str, answer: SavedAnswer) -> None:
        """Save an answer; the first one saved for a key stays."""
        ...


# ---------------------------------------------------------------------------------------------- cases


class CodeCount(Document):
    """A code of a case, with its number of occurrences."""

    code: str
    ecu: str = ""
    occurrences: int = Field(ge=1, default=1)


class Case(Document):
    """A drive whose cause was confirmed or corrected by a person; retrieval searches these.

    Attributes:
        id: Unique; importing the same id again replaces the case.
        partition: Partition of its batch, if it was processed here.
        codes: Its codes, most important first.
        signature: Fault signature; empty if unknown.
        cause: Identifier from the knowledge base, or one of the same form for a cause that it does not have.
        predicted_cause: First cause of the diagnosis; `None` without one.
        predicted_confidence: Confidence of that cause.
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
    predicted_mode: Mode | None = None


@dataclass(frozen=True, slots=True)
class CaseQuery:
    """A search for similar cases: the codes of a drive, and the scope of the search.

    Attributes:
        codes: Codes of the drive, most important first.
        platform: Only cases of this platform are compared.
        release: Cases of this release and its neighbours are compared first; see `retrieval`.
        at: Time of the drive: recency is measured from here, and cases confirmed later are ignored.
        exclude_partition: Partition of the drive's own batch, which must not be found.
    """

    codes: tuple[CodeCount, ...]
    platform: str
    release: str
    at: datetime
    exclude_partition: str | None = None


@dataclass(frozen=True, slots=True)
class ConfirmedPrediction:
    """A prediction that was confirmed or corrected: its confidence, whether it was right, and the cause it named."""

    mode: str
    confidence: float
    correct: bool
    cause: str = ""


class CaseStore(Protocol):
    """Confirmed cases."""

    def similar(self, query: CaseQuery, *, limit: int = 5) -> Sequence[SimilarCase]:
        """Return the most similar cases, best first."""
        ...

    def with_signature(self, signature: str, *, platform: str) -> Sequence[Case]:
        """Return the cases with exactly this fault signature, newest first."""
        ...

    def outcomes(self) -> Sequence[ConfirmedPrediction]:
        """Return all confirmed predictions."""
        ...


class Embedder(Protocol):
    """A model that turns texts into vectors."""

    @property
    def name(self) -> str:
        """Return the model's name, as its endpoint knows it. Vectors of different models are not comparable."""
        ...

    def embed(self, texts: Sequence[str]) -> Sequence[Sequence[float]]:
        """Return a vector for each text, in order, all of the same length.

        Raises:
            Unavailable: The model did not answer, or not with vectors.
            BadSetting: The model cannot be used as configured.
        """
        ...


# ---------------------------------------------------------------------------------------------- history


@dataclass(frozen=True, slots=True)
class DriveFacts:
    """The facts of a drive that the drive memory keeps.

    Attributes:
        partition: Partition of the batch.
        faults: (code, ecu, status, severity, occurrences) of each fault, without duplicates from other sources.
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
    """Earlier drives: the totals, and the history of each fault by (code, ecu)."""

    history: History
    items: Mapping[tuple[str, str], ItemHistory] = field(default_factory=dict[tuple[str, str], ItemHistory])


class DriveMemory(Protocol):
    """The faults of earlier drives."""

    def remember(self, drive: DriveFacts) -> None:
        """Store a drive; an earlier entry of the same partition is replaced."""
        ...

    def past(self, drive: DriveFacts, *, window_days: int = 90) -> Past:
        """Return the history before this drive: only drives recorded earlier, within the window."""
        ...
