"""Turn evidence into a diagnosis by the cheapest path that can be trusted.

    1. rules and similar cases        the offline diagnosis: always available, and the fallback for everything below
    2. fast path                      a rule with enough confidence: no call
    3. saved answer                   same fault signature, prompt and model: no call
    4. budget, model, validation      one call with retries; one repair of an invalid answer
    5. otherwise                      the offline diagnosis, marked with the reason

Confidences are calibrated with confirmed predictions, whichever path answered.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from argus_assets.diagnosis.answer import (
    MAX_ANSWER_CHARS,
    CitationLookup,
    Validated,
    parse_answer,
    repair_message,
    validate_answer,
)
from argus_assets.diagnosis.budget import priority_of
from argus_assets.diagnosis.calibration import Calibration
from argus_assets.diagnosis.fast_path import known_answer
from argus_assets.diagnosis.llm_call import Answered, AskFailed, Spending, ask
from argus_assets.diagnosis.model import Degraded, Diagnosis, Evidence, Mode, SimilarCase
from argus_assets.diagnosis.offline import diagnose_offline
from argus_assets.diagnosis.ports import (
    AnswerCache,
    Case,
    CaseStore,
    LanguageModel,
    Ledger,
    ModelRequest,
    OverBudget,
    Usage,
)
from argus_assets.diagnosis.prices import Prices
from argus_assets.diagnosis.prompt import PROMPT_VERSION, build_request
from argus_assets.diagnosis.retrieval import batch_name, case_query
from argus_assets.diagnosis.reuse import reuse, saved_answer
from argus_assets.diagnosis.signature import cache_key, fault_signature
from argus_assets.diagnosis.vehicle.catalogue import Catalogue
from argus_assets.faults.dictionary.lookup import Entry, describe

SIMILAR_CASES: Final = 5
MAX_ANSWER_TOKENS: Final = 1_500


@dataclass(frozen=True, slots=True)
class Services:
    """Services that a diagnosis may use; everything but the catalogue is optional.

    Attributes:
        model: A language model; requires `ledger`.
        deadline_s: Time limit for all calls of one diagnosis together, seconds.
        max_tokens: Maximum length of one answer.
        describe: Look up the meaning of a code.
        clock: Monotonic clock, seconds.
    """

    catalogue: Catalogue
    cases: CaseStore | None = None
    answers: AnswerCache | None = None
    ledger: Ledger | None = None
    model: LanguageModel | None = None
    prices: Prices = field(default_factory=Prices)
    calibration: Calibration = field(default_factory=Calibration)
    deadline_s: float = 30.0
    max_tokens: int = MAX_ANSWER_TOKENS
    describe: Callable[[str], Entry] = describe
    clock: Callable[[], float] = time.monotonic


def diagnose(
    evidence: Evidence, services: Services, *, facts: CitationLookup, batch: str, at: datetime, now: datetime
) -> Diagnosis:
    """Diagnose one drive.

    Args:
        evidence: Evidence of the drive.
        services: Services that may be used.
        facts: Tables in which citations are verified.
        batch: Partition of the drive's batch.
        at: Time of the drive, from which the recency of cases is measured.
        now: Current time, stored with a saved answer.

    Raises:
        Unavailable: The database did not respond.
    """
    signature = fault_signature(evidence)
    similar: Sequence[SimilarCase] = ()
    same: Sequence[Case] = ()
    if services.cases is not None and evidence.items:
        similar = services.cases.similar(case_query(evidence, at=at, partition=batch), limit=SIMILAR_CASES)
        same = services.cases.with_signature(signature, platform=evidence.platform)

    def by_rules(reason: str, degraded: Degraded | None) -> Diagnosis:
        made = diagnose_offline(
            evidence, services.catalogue, cases=similar, reason=reason, degraded=degraded, describe=services.describe
        )
        return made.model_copy(update={"signature": signature})

    if not evidence.coverage.frames:
        return by_rules("no recording could be read", None)
    rules = by_rules("no language model is configured", "no_model")
    known = known_answer(evidence, rules, [case for case in same if case.partition != batch_name(batch)])
    if known is not None:
        return services.calibration.apply(known.diagnosis)
    if services.model is None or services.ledger is None:
        return services.calibration.apply(rules)
    by_model = _ModelDiagnosis(evidence, services, services.model, services.ledger, facts, batch, signature, rules, now)
    answered = by_model.from_saved_answer() or by_model.from_call(similar)
    if isinstance(answered, Diagnosis):
        return services.calibration.apply(answered)
    fallback = by_rules(answered.reason, answered.degraded)
    return services.calibration.apply(by_model.with_spending(fallback))


@dataclass(frozen=True, slots=True)
class _NoAnswer:
    reason: str
    degraded: Degraded


@dataclass
class _ModelDiagnosis:
    """Diagnosis of one drive by a language model's answer: a saved one, or one that is asked for."""

    evidence: Evidence
    services: Services
    model: LanguageModel
    ledger: Ledger
    facts: CitationLookup
    batch: str
    signature: str
    rules: Diagnosis
    now: datetime
    spent: Spending = field(default_factory=Spending)

    @property
    def key(self) -> str:
        return cache_key(
            self.signature,
            prompt_version=PROMPT_VERSION,
            model=self.model.name,
            knowledge_version=self.services.catalogue.version,
        )

    def from_saved_answer(self) -> Diagnosis | None:
        """Return the saved answer for the same faults, if there is one and it is valid for this drive."""
        saved = self.services.answers.get(self.key) if self.services.answers is not None else None
        if saved is None:
            return None
        answer = reuse(saved, self.evidence)
        if answer is None:
            return None
        valid = validate_answer(answer, self.evidence, self.rules.root_causes, self.services.catalogue, self.facts)
        if valid.problems:
            return None
        reason = f"the same faults were diagnosed for {saved.precedent} on {saved.made_at:%Y-%m-%d}"
        return self._diagnosis(valid, "cached", reason, saved.model).model_copy(update={"precedent": saved.precedent})

    def from_call(self, similar: Sequence[SimilarCase]) -> Diagnosis | _NoAnswer:
        """Ask the model; if the answer is invalid, ask once more with the problems found."""
        request = build_request(self.evidence, self.rules.root_causes, similar, max_tokens=self.services.max_tokens)
        until = self.services.clock() + self.services.deadline_s
        problems: Sequence[str] = ()
        for attempt in ("answer", "repair"):
            left = until - self.services.clock()
            if left <= 0:
                return _NoAnswer(f"no valid answer within {self.services.deadline_s:g} s", "model_failed")
            try:
                answered = self._ask(request, left)
            except OverBudget as refusal:
                why = f"the answer was invalid ({problems[0]}); " if problems else ""
                return _NoAnswer(f"{why}{refusal}", "over_budget")
            except AskFailed as failure:
                self.spent.add(failure.usage, failure.cost_usd, calls=failure.calls)
                return _NoAnswer(f"{self.model.name} did not answer: {failure}", "model_failed")
            self.spent.add(answered.usage, answered.cost_usd, calls=answered.calls)
            parsed = parse_answer(answered.reply.text)
            if not isinstance(parsed, list):
                valid = validate_answer(
                    parsed, self.evidence, self.rules.root_causes, self.services.catalogue, self.facts
                )
                if not valid.problems:
                    self._save(answered.reply.text, answered.reply.model)
                    reason = "answered after one repair" if attempt == "repair" else "answered"
                    return self._diagnosis(valid, "llm", reason, answered.reply.model)
                problems = valid.problems
            else:
                problems = parsed
            previous = (answered.reply.text[:MAX_ANSWER_CHARS], repair_message(problems))
            request = ModelRequest(request.system, request.user, request.schema, request.max_tokens, previous)
        return _NoAnswer(f"{self.model.name} gave two invalid answers: {problems[0]}", "invalid_answer")

    def with_spending(self, diagnosis: Diagnosis) -> Diagnosis:
        """Return the diagnosis with the calls, tokens and cost spent on it."""
        spent = self.spent
        return diagnosis.model_copy(
            update={
                "model": diagnosis.model or (self.model.name if spent.calls else None),
                "prompt_version": PROMPT_VERSION if diagnosis.model or spent.calls else None,
                "calls": spent.calls,
                "prompt_tokens": spent.usage.prompt_tokens,
                "completion_tokens": spent.usage.completion_tokens,
                "cached_tokens": spent.usage.cached_tokens,
                "cost_usd": spent.cost_usd,
            }
        )

    def _ask(self, request: ModelRequest, left_s: float) -> Answered:
        return ask(
            self.model,
            request,
            ledger=self.ledger,
            batch=self.batch,
            priority=priority_of(self.evidence),
            cost=self._cost,
            deadline_s=left_s,
        )

    def _cost(self, model: str, usage: Usage) -> float | None:
        return self.services.prices.cost_usd(model, usage)

    def _save(self, text: str, model: str) -> None:
        if self.services.answers is not None:
            self.services.answers.put(
                self.key, saved_answer(text, self.evidence, precedent=self.batch, model=model, made_at=self.now)
            )

    def _diagnosis(self, valid: Validated, mode: Mode, reason: str, model: str) -> Diagnosis:
        made = self.rules.model_copy(
            update={
                "mode": mode,
                "mode_reason": reason,
                "degraded": None,
                "verdict": valid.verdict,
                "summary": valid.summary,
                "severity": valid.severity,
                "drivable": valid.drivable,
                "root_causes": valid.root_causes,
                "checks": valid.checks,
                "model": model,
                "notes": valid.notes,
            }
        )
        return self.with_spending(made)
