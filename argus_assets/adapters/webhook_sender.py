"""Send events to the endpoints of other systems by HTTP.

An attempt has one deadline for all of it, from the name of the host to the end of the answer. Redirects are not
followed, and the body of an answer is neither kept nor shown: it may repeat what was sent.
"""

import asyncio
import os
import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from socket import gaierror
from typing import TYPE_CHECKING, Any, Final, Self

from argus_assets.adapters.postgres.outbox import Outbox
from argus_assets.notifications.delivery import Reply, Verdict, parse_retry_after
from argus_assets.notifications.endpoints import Endpoint
from argus_assets.notifications.signatures import body_of, headers_of

if TYPE_CHECKING:
    import httpx2

TIMEOUT_S: Final = 10.0
MAX_ANSWER_BYTES: Final = 64 * 1024
DELIVER_SECONDS: Final = 8.0
WORKERS: Final = 8
"""Concurrent attempts at one endpoint."""

USER_AGENT: Final = "argus-webhooks"


class WebhookSender:
    """Posts to one endpoint. For one thread; keeps its connection between posts.

    Args:
        endpoint: The receiver.
        timeout_s: Deadline of one attempt, all of it.
    """

    def __init__(self, endpoint: Endpoint, *, timeout_s: float = TIMEOUT_S) -> None:
        self._endpoint = endpoint
        self._timeout_s = timeout_s
        self._runner = asyncio.Runner()
        self._client: httpx2.AsyncClient | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._client is not None:
            self._runner.run(self._client.aclose())
        self._runner.close()

    def send(self, event_id: str, payload: Mapping[str, Any], *, at: datetime) -> Reply:
        """Make one attempt. Whatever the other side does is a `Reply`, never an exception."""
        body = body_of(payload)
        headers = headers_of(event_id, body, secrets=self._endpoint.secrets, at=at)
        return self._runner.run(self._within(body, headers, at))

    async def _within(self, body: bytes, headers: Mapping[str, str], at: datetime) -> Reply:
        import httpx2

        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._post(body, headers, at)
        except TimeoutError:
            return Reply(None, f"no complete answer within {self._timeout_s:g} s")
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as error:
            return Reply(None, _why(error))

    async def _post(self, body: bytes, headers: Mapping[str, str], at: datetime) -> Reply:
        import httpx2

        if self._client is None:
            self._client = httpx2.AsyncClient(
                timeout=None,  # the deadline around this call holds
                follow_redirects=False,
                headers={"user-agent": USER_AGENT, "accept-encoding": "identity"},
            )
        async with self._client.stream("POST", self._endpoint.url, content=body, headers=dict(headers)) as response:
            read = 0
            # A connection that was read to its end can be reused; one with more to read is closed.
            async for chunk in response.aiter_raw():
                read += len(chunk)
                if read > MAX_ANSWER_BYTES:
                    break
            status = response.status_code
            wait = parse_retry_after(response.headers.get("retry-after"), now=at) if status in (429, 503) else None
        if 200 <= status < 300:
            return Reply(status)
        error = f"answered {status} {response.reason_phrase if response.reason_phrase.isprintable() else ''}".strip()
        if 300 <= status < 400:
            error += ": redirects are not followed"
        return Reply(status, error[:200], wait)


def _why(error: BaseException) -> str:
    """Return what broke, without an address: the innermost error of the system or of a certificate."""
    at: BaseException | None = error
    while at is not None:
        if isinstance(at, ssl.SSLCertVerificationError):
            return f"its certificate was refused: {at.verify_message}"
        if isinstance(at, gaierror):
            return "no connection: its host name is unknown"
        # Its own text may name the address.
        if isinstance(at, OSError) and at.errno:
            return f"no connection: {os.strerror(at.errno)}"
        at = at.__cause__ or at.__context__
    return f"the connection broke: {type(error).__name__}"


@dataclass(frozen=True, slots=True)
class Delivered:
    """Result of one delivery pass: attempts by outcome."""

    delivered: int = 0
    again: int = 0
    dead: int = 0
    gone: int = 0

    def __add__(self, other: "Delivered") -> "Delivered":
        return Delivered(
            self.delivered + other.delivered,
            self.again + other.again,
            self.dead + other.dead,
            self.gone + other.gone,
        )

    @classmethod
    def of(cls, verdict: Verdict) -> "Delivered":
        """Return the count of one attempt."""
        return cls(**{verdict: 1})


def _now() -> datetime:
    return datetime.now(UTC)


def deliver(
    outbox: Outbox,
    endpoints: Sequence[Endpoint],
    *,
    seconds: float = DELIVER_SECONDS,
    workers: int = WORKERS,
    timeout_s: float = TIMEOUT_S,
    clock: Callable[[], datetime] = _now,
) -> Delivered:
    """Deliver what is due, until nothing is or the time is up.

    Args:
        outbox: Where events wait.
        endpoints: Receivers; each has workers of its own, so a slow one delays no other.
        seconds: After which no attempt begins.
        workers: Concurrent attempts at one endpoint.
        timeout_s: Deadline of one attempt.
        clock: The time, UTC.

    Raises:
        Unavailable: The database did not answer. What was sent and not recorded is sent again.
    """
    deadline = time.monotonic() + seconds

    def work(endpoint: Endpoint) -> Delivered:
        done = Delivered()
        with outbox.delivering() as session, WebhookSender(endpoint, timeout_s=timeout_s) as sender:
            while time.monotonic() < deadline:
                entry = session.take(endpoint.name, now=clock())
                if entry is None:
                    break
                reply = sender.send(entry.id, entry.payload, at=clock())
                done += Delivered.of(session.settle(entry, reply, now=clock()))
        return done

    due = outbox.due([endpoint.name for endpoint in endpoints], now=clock(), max_count=workers)
    todo = [endpoint for endpoint in endpoints for _ in range(due.get(endpoint.name, 0))]
    with ThreadPoolExecutor(max(1, len(todo)), thread_name_prefix="webhooks") as pool:
        futures = [pool.submit(work, endpoint) for endpoint in todo]
        return sum((future.result() for future in futures), Delivered())
