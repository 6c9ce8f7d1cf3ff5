"""Asking a language model: attempts, waits and one deadline over all of them; every attempt is paid for.

For each attempt: wait for a place, reserve its upper bound, ask, settle with what it took. What nobody knows (a
connection that broke while the model wrote) counts with the whole reservation, also when the process is interrupted.

Waits before the retries are 1, 2 and 4 s, each times a random factor of 0.5 to 1.5. A `Retry-After` of the server
counts instead when it is longer. A wait that would pass the deadline is not begun.
"""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from argus_assets.diagnosis.budget import bound
from argus_assets.diagnosis.ports import (
    FailureKind,
    LanguageModel,
    Ledger,
    ModelFailed,
    ModelReply,
    ModelRequest,
    OverBudget,
    Reservation,
    Usage,
)

RETRIES: Final = 3
FIRST_WAIT_S: Final = 1.0
LEAST_ATTEMPT_S: Final = 1.0
"""An attempt with less time than this is not begun."""

Cost = Callable[[str, Usage], float | None]
"""Dollars that tokens of a model cost; `None` when nobody knows."""


@dataclass(frozen=True, slots=True)
class Asked:
    """An answer, and what all attempts took together."""

    reply: ModelReply
    calls: int
    usage: Usage
    cost_usd: float | None


class AskFailed(Exception):
    """No answer, and what all attempts took together.

    Attributes:
        kind: What the last attempt failed by.
    """

    def __init__(self, kind: FailureKind, what: str, *, calls: int, usage: Usage, cost_usd: float | None) -> None:
        super().__init__(what)
        self.kind: FailureKind = kind
        self.calls = calls
        self.usage = usage
        self.cost_usd = cost_usd


def ask(
    model: LanguageModel,
    request: ModelRequest,
    *,
    ledger: Ledger,
    batch: str,
    priority: float,
    cost: Cost,
    deadline_s: float = 30.0,
    retries: int = RETRIES,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
    chance: Callable[[], float] = random.random,
) -> Asked:
    """Ask until there is an answer.

    Args:
        model: Whom.
        request: What.
        ledger: Who keeps the tokens.
        batch: Partition it is for.
        priority: 0 to 1.
        cost: Prices.
        deadline_s: For everything, waits included.
        retries: Attempts after the first.
        clock: Seconds of a clock that never goes back.
        sleep: Waits so many seconds.
        chance: Random numbers, 0 to 1.

    Raises:
        OverBudget: The tokens for the first attempt are not there.
        AskFailed: There is no answer; it holds what was spent.
    """
    until = clock() + deadline_s
    spent = _Spent()
    failure = ModelFailed("timeout", f"no time was left to ask (deadline {deadline_s:g} s)", retryable=False)
    for number in range(1 + retries):
        if number:
            wait = max(FIRST_WAIT_S * 2 ** (number - 1) * (0.5 + chance()), failure.retry_after_s or 0.0)
            if clock() + wait + LEAST_ATTEMPT_S > until:
                break
            sleep(wait)
        if clock() >= until:
            break
        try:
            with model.slot(timeout_s=until - clock()):
                reservation = ledger.reserve(bound(request), batch=batch, model=model.name, priority=priority)
                reply = _attempt(model, request, ledger, reservation, cost=cost, timeout_s=until - clock(), spent=spent)
        except OverBudget:
            if not spent.calls:
                raise
            break
        except ModelFailed as failed:
            failure = failed
            if not failed.retryable:
                break
        else:
            return Asked(reply, spent.calls, spent.usage, spent.cost_usd)
    raise AskFailed(
        failure.kind, str(failure), calls=spent.calls, usage=spent.usage, cost_usd=spent.cost_usd
    ) from failure


@dataclass(slots=True)
class _Spent:
    """What all attempts took until now."""

    calls: int = 0
    usage: Usage = field(default_factory=Usage)
    cost_usd: float | None = 0.0

    def add(self, usage: Usage, cost_usd: float | None) -> None:
        before = self.usage
        self.calls += 1
        self.usage = Usage(
            before.prompt_tokens + usage.prompt_tokens,
            before.completion_tokens + usage.completion_tokens,
            before.cached_tokens + usage.cached_tokens,
            before.estimated or usage.estimated,
        )
        self.cost_usd = None if self.cost_usd is None or cost_usd is None else self.cost_usd + cost_usd


def _attempt(
    model: LanguageModel,
    request: ModelRequest,
    ledger: Ledger,
    reservation: Reservation,
    *,
    cost: Cost,
    timeout_s: float,
    spent: _Spent,
) -> ModelReply:
    """One attempt, settled whatever comes."""
    prompt = reservation.tokens - request.max_tokens
    usage = Usage(prompt, request.max_tokens, estimated=True)
    outcome, name = "interrupted", model.name
    try:
        reply = model.attempt(request, timeout_s=timeout_s)
        usage, outcome, name = reply.usage, "answered", reply.model
    except ModelFailed as failed:
        usage, outcome = failed.usage or usage, failed.kind
        raise
    finally:
        price = cost(name, usage)
        ledger.settle(reservation, usage, outcome=outcome, cost_usd=price)
        spent.add(usage, price)
    return reply
