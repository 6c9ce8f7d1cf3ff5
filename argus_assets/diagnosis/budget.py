"""Token budget: the upper bound of a call, and which calls go first when the day's tokens run short.

A call is bounded before it is made: `ceil(utf8_bytes / 2.5) + max_tokens`. No tokenizer in use produces more tokens
from text, so a settlement never exceeds its reservation.

The day's tokens are spent by priority:

    priority = severity · novelty · spread

    severity    worst fault present        critical 1.0, error 0.7, warning 0.4; no fault present: priority 0
    novelty     newest fault present       new on this vehicle 1.0 (also without history), back 0.8, recurring 0.5
    spread      other vehicles with it     0.7 for none, plus 0.1 for each doubling, at most 1.0

A call of priority p may raise the day's total to `share_of_budget(p)` of the budget:

    priority    0     0.2    0.5    0.7 and more
    share       40%   57%    83%    100%

so trivial faults leave room for serious ones, whichever come first. The drives of one vehicle together may use
`VEHICLE_SHARE` of the day's tokens, so that no vehicle spends what all others need; its first call of the day is limited
by priority alone.
"""

import json
import math
from typing import Final

from argus_assets.diagnosis.model import Evidence
from argus_assets.diagnosis.ports import ModelRequest
from argus_assets.diagnosis.severity_floor import is_there_now
from argus_assets.faults.schema import Severity

BYTES_A_TOKEN: Final = 2.5
TOKENS_A_MESSAGE: Final = 8
"""Overhead of each message: role and delimiters."""

VEHICLE_SHARE: Final = 0.25
"""Share of the day's tokens that one vehicle may use, by default."""

MIN_SHARE: Final = 0.4
FULL_SHARE_PRIORITY: Final = 0.7

_SEVERITY: Final = {Severity.INFO: 0.0, Severity.WARNING: 0.4, Severity.ERROR: 0.7, Severity.CRITICAL: 1.0}
_NOVELTY: Final = {"new": 1.0, "back": 0.8, "recurring": 0.5}


def tokens_of(text: str) -> int:
    """Return an upper bound of the number of tokens of a text."""
    return math.ceil(len(text.encode()) / BYTES_A_TOKEN)


def bound(request: ModelRequest) -> int:
    """Return an upper bound of the tokens of one attempt, prompt and answer."""
    # Servers without structured output get the schema in the prompt; others may count it, too.
    texts = [request.system, request.user, json.dumps(request.schema), *(request.previous or ())]
    return sum(tokens_of(text) + TOKENS_A_MESSAGE for text in texts) + request.max_tokens


def priority_of(evidence: Evidence) -> float:
    """Return the priority of a model's answer for this drive, 0 to 1; see the module."""
    now = [item for item in evidence.items if is_there_now(item)]
    if not now:
        return 0.0
    histories = [item.history for item in now]
    severity = max(_SEVERITY[item.severity] for item in now)
    novelty = max(_NOVELTY[h.vehicle] if h is not None and h.vehicle is not None else 1.0 for h in histories)
    vehicles = max((h.vehicles_with for h in histories if h is not None), default=0)
    spread = min(1.0, 0.7 + 0.1 * math.log2(1 + vehicles))
    return round(severity * novelty * spread, 6)


def share_of_budget(priority: float) -> float:
    """Return the share of the day's tokens up to which a call of this priority may raise the total."""
    return MIN_SHARE + (1.0 - MIN_SHARE) * min(1.0, max(0.0, priority) / FULL_SHARE_PRIORITY)
