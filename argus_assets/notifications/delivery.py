"""Delivery policy: after an attempt an event is delivered, retried later, or a dead letter. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Final, Literal

PAUSES: Final = tuple(timedelta(seconds=s) for s in (5, 30, 120, 600, 3600, 3 * 3600, 6 * 3600, 12 * 3600, 24 * 3600))
"""After the first attempt, the second and so on; after the last pause one more attempt, then it is a dead letter."""

REFUSALS: Final = 3
"""Attempts at a receiver that refuses the request itself (4xx, 3xx): it may still be being set up."""

PAUSE_AFTER: Final = 3
"""Consecutive failures of an endpoint after which all its events wait."""

ENDPOINT_PAUSES: Final = tuple(timedelta(seconds=s) for s in (10, 30, 60, 120, 300, 600))
MAX_RETRY_AFTER: Final = timedelta(hours=24)
_TRY_LATER: Final = frozenset({408, 425, 429})

Verdict = Literal["delivered", "again", "dead", "gone"]
"""`gone`: the receiver wants no more events (410)."""


@dataclass(frozen=True, slots=True)
class Reply:
    """The result of an attempt.

    Attributes:
        status: HTTP status, `None` without an answer.
        error: What went wrong, without addresses and secrets; empty when nothing did.
        retry_after: How long the receiver wants to be left alone.
    """

    status: int | None
    error: str = ""
    retry_after: timedelta | None = None

    @property
    def is_of_endpoint(self) -> bool:
        """Return whether the next event would fare the same: it does not answer, is overloaded or broken."""
        return self.status is None or self.status in _TRY_LATER or self.status >= 500


def judge(reply: Reply, *, attempts: int) -> tuple[Verdict, timedelta]:
    """Return what to do next, and for `again` after which pause.

    Args:
        reply: Of this attempt.
        attempts: Number of attempts, this one included.
    """
    if reply.status is not None and 200 <= reply.status < 300:
        return "delivered", timedelta(0)
    if reply.status == 410:
        return "gone", timedelta(0)
    limit = len(PAUSES) + 1 if reply.is_of_endpoint else REFUSALS
    if attempts >= limit:
        return "dead", timedelta(0)
    return "again", max(PAUSES[min(attempts, len(PAUSES)) - 1], reply.retry_after or timedelta(0))


def endpoint_pause(failures: int, reply: Reply) -> timedelta | None:
    """Return how long all events of an endpoint wait after so many consecutive failures; `None` for not at all."""
    if reply.retry_after is not None:
        return reply.retry_after
    if failures < PAUSE_AFTER:
        return None
    return ENDPOINT_PAUSES[min(failures - PAUSE_AFTER, len(ENDPOINT_PAUSES) - 1)]


def parse_retry_after(value: str | None, *, now: datetime) -> timedelta | None:
    """Parse the header `Retry-After` (RFC 9110, 10.2.3): seconds or a date, at most a day; `None` for what is neither."""
    if not value:
        return None
    text = value.strip()
    if text.isascii() and text.isdecimal():
        wait = timedelta(seconds=min(int(text[:9]), MAX_RETRY_AFTER.total_seconds()))
    else:
        try:
            at = parsedate_to_datetime(text)
        except ValueError:
            return None
        wait = (at if at.tzinfo else at.replace(tzinfo=UTC)) - now
    return min(max(wait, timedelta(0)), MAX_RETRY_AFTER)


def schedule(pauses: Sequence[timedelta] = PAUSES) -> str:
    """Return the pauses in words."""
    return ", ".join(
        f"{int(p.total_seconds() // 3600)} h" if p >= timedelta(hours=1)
        else f"{int(p.total_seconds() // 60)} min" if p >= timedelta(minutes=1)
        else f"{int(p.total_seconds())} s"
        for p in pauses
    )  # fmt: skip
