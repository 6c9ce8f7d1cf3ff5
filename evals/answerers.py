"""Answerers to compare: similar cases alone, rules, rules with cases, and a language model."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from argus_assets.diagnosis.diagnose import Services, diagnose
from argus_assets.diagnosis.model import Diagnosis, Evidence, RootCause
from argus_assets.diagnosis.offline import diagnose_offline
from argus_assets.diagnosis.ports import Case, LanguageModel, OverBudget, Reservation, Usage
from argus_assets.diagnosis.prices import Prices
from argus_assets.diagnosis.retrieval import MemoryCaseStore, case_of, case_query, causes_of
from argus_assets.diagnosis.signature import fault_signature
from argus_assets.diagnosis.vehicle.catalogue import load_catalogue
from argus_assets.errors import BadSetting
from argus_assets.settings import Settings
from evals.batches import Batch
from evals.scenario import Scenario

NOW: Final = datetime(2026, 12, 1, tzinfo=UTC)
CONFIRMED: Final = datetime(2026, 11, 25, tzinfo=UTC)

Answerer = Callable[[Batch, Evidence], Diagnosis]


def cases_of(batches: Sequence[tuple[Batch, Scenario]]) -> MemoryCaseStore:
    """Return the confirmed cases of a fleet: without hard scenarios and healthy drives."""
    knowledge = load_catalogue()
    titles = {cause.id: cause.title for cause in knowledge.causes}
    cases: list[Case] = []
    for batch, scenario in batches:
        if scenario.is_healthy or scenario.difficulty == "hard" or not batch.evidence.items:
            continue
        cause = scenario.expect[0]
        made = diagnose_offline(batch.evidence, knowledge).model_copy(
            update={"signature": fault_signature(batch.evidence)}
        )
        cases.append(
            case_of(
                batch.evidence,
                made,
                partition=f"2026-11-20_{batch.name}_{batch.seed}",
                recorded_at=CONFIRMED,
                cause=cause,
                title=titles.get(cause, cause),
                confirmed_at=CONFIRMED,
            )
        )
    return MemoryCaseStore(cases)


def by_retrieval(store: MemoryCaseStore) -> Answerer:
    """Answer by the votes of the five most similar cases alone."""
    knowledge = load_catalogue()

    def answer(batch: Batch, evidence: Evidence) -> Diagnosis:
        rules = diagnose_offline(evidence, knowledge)
        found = store.similar(_query(batch, evidence)) if evidence.items else ()
        shared = {code for case in found for code in case.shared_codes}
        supports = tuple(item.id for item in evidence.items if item.code in shared) or tuple(
            item.id for item in evidence.items[:1]
        )
        causes = tuple(
            RootCause(
                cause=cause, title=cause, explanation="", confidence=round(min(0.95, share), 3), supports=supports
            )
            for cause, share in causes_of(found)
        )
        return rules.model_copy(update={"root_causes": causes, "verdict": "", "summary": ""})

    return answer


def by_services(services: Services) -> Answerer:
    """Answer by the whole diagnosis with the given services."""

    def answer(batch: Batch, evidence: Evidence) -> Diagnosis:
        return diagnose(evidence, services, facts=batch.facts, batch=_partition(batch), at=NOW, now=NOW)

    return answer


def by_rules() -> Answerer:
    """Answer by rules alone, as without cases and model."""
    return by_services(Services(catalogue=load_catalogue()))


def by_rules_and_cases(store: MemoryCaseStore) -> Answerer:
    """Answer by rules and confirmed cases."""
    return by_services(Services(catalogue=load_catalogue(), cases=store))


@dataclass
class CallLimit:
    """Ledger of one run that limits the number of calls."""

    calls: int
    used: list[Usage] = field(default_factory=list[Usage])

    def reserve(self, tokens: int, *, batch: str, model: str, priority: float) -> Reservation:
        """Allow a call.

        Raises:
            OverBudget: The limit is reached.
        """
        if len(self.used) >= self.calls:
            raise OverBudget(f"the limit of {self.calls} calls for this run is reached (--max-calls)")
        return Reservation(len(self.used), tokens)

    def settle(self, reservation: Reservation, usage: Usage, *, outcome: str, cost_usd: float | None) -> None:
        """Count a call."""
        self.used.append(usage)


def configured_model(environ: Mapping[str, str] = os.environ) -> LanguageModel:
    """Return the configured language model.

    Raises:
        BadSetting: No model is configured.
    """
    from argus_assets.adapters.openai_model import OpenAiModel

    settings = Settings.from_env(environ)
    if settings.llm.model is None:
        raise BadSetting(
            "No language model is configured.", help="Set ARGUS_LLM_MODEL, and ARGUS_LLM_URL if it is not OpenAI's."
        )
    key = settings.llm.api_key.get_secret_value() if settings.llm.api_key else None
    return OpenAiModel(settings.llm.model, url=settings.llm.url, api_key=key)


def by_model(store: MemoryCaseStore, max_calls: int, environ: Mapping[str, str] = os.environ) -> Answerer:
    """Answer by the whole diagnosis with the configured language model.

    Raises:
        BadSetting: No model is configured.
    """
    model = configured_model(environ)
    settings = Settings.from_env(environ)
    return by_services(
        Services(
            catalogue=load_catalogue(),
            cases=store,
            ledger=CallLimit(max_calls),
            model=model,
            prices=Prices.load(settings.llm.prices),
            deadline_s=settings.llm.deadline_s,
        )
    )


def _partition(batch: Batch) -> str:
    return f"2026-11-20_{batch.name}_{batch.seed}"


def _query(batch: Batch, evidence: Evidence):
    return case_query(evidence, at=NOW, partition=_partition(batch))
