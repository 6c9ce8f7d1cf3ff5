"""One call to a language model: attempts, waits and a single deadline over all of them; every attempt is accounted for.

Each attempt waits for a free slot, reserves its upper bound of tokens, asks, and settles what it used. Where the usage
is unknown (the connection broke while the model was writing), the whole reservation counts, also when the process is
interrupted.

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
MIN_ATTEMPT_S: Final = 1.0
"""An attempt is not started with less time left than this."""

Cost = Callable[[str, Usage], float | None]
"""Cost in US dollars of a model's tokens; `None` when the price is unknown."""


@dataclass(slots=True)
class Spending:
    """Calls, tokens and cost so far, failed attempts included.

    Attributes:
        cost_usd: US dollars; `None` once the price of any call is unknown.
    """

    calls: int = 0
    usage: Usage = field(default_factory=Usage)
    cost_usd: float | None = 0.0

    def add(self, usage: Usage, cost_usd: float | None, *, calls: int = 1) -> None:
        """Add what further calls took."""
        self.calls += calls
        self.usage = self.usage.plus(usage)
        self.cost_usd = None if self.cost_usd is None or cost_usd is None else self.cost_usd + cost_usd


@dataclass(frozen=True, slots=True)
class Answered:
    """An answer, and what all attempts took together."""

    reply: ModelReply
    calls: int
    usage: Usage
    cost_usd: float | None


class AskFailed(Exception):
    """No answer, and what all attempts took together.

    Attributes:
        kind: How the last attempt failed.
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
) -> Answered:
    """Ask until the model answers, the retries are used up, or the deadline passes.

    Args:
        model: The model to ask.
        request: The prompt and the schema of the answer.
        ledger: Accounts for the tokens.
        batch: Partition that the call is for.
        priority: 0 to 1; see `budget.priority_of`.
        cost: Prices of tokens.
        deadline_s: Time limit for all attempts together, waits included.
        retries: Attempts after the first.
        clock: Monotonic clock, seconds.
        sleep: Wait for a number of seconds.
        chance: Random numbers from 0 to 1.

    Raises:
        OverBudget: The budget does not allow the first attempt.
        AskFailed: There is no answer; the exception holds what was spent.
    """
    until = clock() + deadline_s
    spent = Spending()
    failure = ModelFailed("timeout", f"no time was left to ask (deadline {deadline_s:g} s)", retryable=False)
    for number in range(1 + retries):
        if number:
            wait = max(FIRST_WAIT_S * 2 ** (number - 1) * (0.5 + chance()), failure.retry_after_s or 0.0)
            if clock() + wait + MIN_ATTEMPT_S > until:
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
            return Answered(reply, spent.calls, spent.usage, spent.cost_usd)
    raise AskFailed(
        failure.kind, str(failure), calls=spent.calls, usage=spent.usage, cost_usd=spent.cost_usd
    ) from failure


def _attempt(
    model: LanguageModel,
    request: ModelRequest,
    ledger: Ledger,
    reservation: Reservation,
    *,
    cost: Cost,
    timeout_s: float,
    spent: Spending,
) -> ModelReply:
    """Make one attempt and settle its reservation, whatever happens."""
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
