"""An HTTP proxy on loopback that stands before an S3 server and breaks what passes, by rules that are changed at run time.

A server that is gone, slow or silent; answers 503; connections that are cut in mid-body, either way; bodies with
flipped bytes; ETags that are not the object's. The share of requests that a rule takes is drawn from a seed.
"""

import asyncio
import random
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal, Self
from urllib.parse import urlsplit

Action = Literal["status", "silence", "slow", "cut answer", "cut request", "flip answer", "wrong etag"]

SLOW_DOWN = (
    b'<?xml version="1.0" encoding="UTF-8"?><Error><Code>SlowDown</Code>'
    b"<Message>Please reduce your request rate.</Message></Error>"
)
_HEAD_LIMIT = 1 << 20
_CHUNK = 16 * 1024


@dataclass(frozen=True)
class Request:
    """What a rule may look at."""

    method: str
    target: str

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]


@dataclass(frozen=True)
class Rule:
    """One way to break an exchange.

    Attributes:
        action: What is done.
        share: Of the matching requests.
        times: So many of them at most; 0 for no bound.
        matches: Which requests.
        status: Of the answer, for `status`.
        retry_after_s: Its `Retry-After`.
        body: Its body.
        seconds: Before the answer, for `slow`.
        bytes_per_s: Of the answer's body, for `slow`; 0 for no bound.
        checksums: Whether flipped bytes come with the server's checksum, by which a client notices them.
        after_bytes: So many bytes of the body pass, for the cuts; all flips are behind them.
    """

    action: Action
    share: float = 1.0
    times: int = 0
    matches: Callable[[Request], bool] = lambda _: True
    status: int = 503
    retry_after_s: int | None = None
    body: bytes = b""
    seconds: float = 0.0
    bytes_per_s: int = 0
    after_bytes: int = 1000
    checksums: bool = True


@dataclass
class _Message:
    start: bytes
    headers: list[tuple[str, str]]
    body: bytes = b""

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key.lower() == name), None)

    def without(self, *names: str) -> list[tuple[str, str]]:
        return [(key, value) for key, value in self.headers if key.lower() not in names]


@dataclass
class FaultProxy:
    """Runs in a thread of its own for the time of the `with` block.

    Attributes:
        upstream: URL of the server behind it.
        passed: Requests that came.
        broken: Exchanges that were broken, by action.
    """

    upstream: str
    seed: int = 6
    passed: int = 0
    broken: Counter[str] = field(default_factory=Counter)
    port: int = 0
    _rules: tuple[Rule, ...] = ()
    _taken: Counter[int] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        address = urlsplit(self.upstream)
        assert address.hostname is not None
        assert address.port is not None
        self._upstream = (address.hostname, address.port)
        self._random = random.Random(self.seed)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="fault-proxy", daemon=True)
        self._server: asyncio.Server | None = None
        self._exchanges: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._thread.start()
        self.up()
        return self

    def __exit__(self, *_: object) -> None:
        self.down()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def breaks(self, *rules: Rule) -> None:
        """From now on, only these rules; the first that takes a request counts."""
        self._taken.clear()
        self._rules = rules

    def heals(self) -> None:
        """No faults from now on."""
        self._rules = ()
        self.up()

    def up(self) -> None:
        """Listen, always on the same port."""
        self._call(self._listen())

    def down(self) -> None:
        """Refuse connections, and cut those that are open."""
        self._call(self._close())

    # ------------------------------------------------------------------------------------------ inside

    def _call(self, work) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    async def _listen(self) -> None:
        if self._server is None:
            self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, limit=_HEAD_LIMIT)
            self.port = self._server.sockets[0].getsockname()[1]

    async def _close(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        for task in list(self._exchanges):
            task.cancel()
        await asyncio.gather(*self._exchanges, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._exchanges.add(task)
        try:
            while await self._exchange(reader, writer):
                pass
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # either side has gone, or this proxy is down
        finally:
            self._exchanges.discard(task)
            writer.transport.abort()

    def _rule_for(self, request: Request) -> Rule | None:
        for rule in self._rules:
            spent = rule.times and self._taken[id(rule)] >= rule.times
            if not spent and rule.matches(request) and self._random.random() < rule.share:
                self._taken[id(rule)] += 1
                self.broken[rule.action] += 1
                return rule
        return None

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """One request and its answer; false when the connection is over."""
        asked = await _read_head(reader)
        if asked is None:
            return False
        method, target, _ = asked.start.decode("latin-1").split(" ", 2)
        self.passed += 1
        rule = self._rule_for(Request(method, target))
        if (asked.header("expect") or "").lower() == "100-continue":
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if rule is not None and rule.action == "cut request":
            length = int(asked.header("content-length") or 0)
            await reader.readexactly(min(rule.after_bytes, length // 2))
            return False
        asked.body = await _read_body(reader, asked)
        if rule is not None and rule.action == "silence":
            await asyncio.sleep(3600)
        if rule is not None and rule.action == "status":
            writer.write(_refusal(rule, with_body=method != "HEAD"))
            await writer.drain()
            return True
        if rule is not None and rule.action == "slow":
            await asyncio.sleep(rule.seconds)
        answer = await self._ask_upstream(asked, no_body=method == "HEAD")
        return await _answer(writer, answer, rule, is_head=method == "HEAD")

    async def _ask_upstream(self, asked: _Message, *, no_body: bool) -> _Message:
        reader, writer = await asyncio.open_connection(*self._upstream, limit=_HEAD_LIMIT)
        try:
            headers = asked.without("connection", "expect", "transfer-encoding", "content-length")
            writer.write(
                _head(asked.start, [*headers, ("Connection", "close"), ("Content-Length", str(len(asked.body)))])
            )
            writer.write(asked.body)
            await writer.drain()
            answer = await _read_head(reader)
            if answer is None:
                raise ConnectionResetError("the server behind the proxy has gone")
            status = int(answer.start.split(b" ", 2)[1])
            if not no_body and status not in (204, 304):
                answer.body = await _read_body(reader, answer, to_end=True)
            return answer
        finally:
            writer.transport.abort()


def _head(start: bytes, headers: Sequence[tuple[str, str]]) -> bytes:
    return start + b"\r\n" + b"".join(f"{k}: {v}\r\n".encode("latin-1") for k, v in headers) + b"\r\n"


async def _read_head(reader: asyncio.StreamReader) -> _Message | None:
    try:
        raw = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    start, *lines = raw[:-4].split(b"\r\n")
    pairs = (line.decode("latin-1").partition(":") for line in lines)
    return _Message(start, [(key, value.strip()) for key, _, value in pairs])


async def _read_body(reader: asyncio.StreamReader, head: _Message, *, to_end: bool = False) -> bytes:
    if "chunked" in (head.header("transfer-encoding") or "").lower():
        parts: list[bytes] = []
        while True:
            size = int((await reader.readline()).split(b";")[0], 16)
            parts.append(await reader.readexactly(size))
            await reader.readline()
            if size == 0:
                return b"".join(parts)
    length = head.header("content-length")
    if length is not None:
        return await reader.readexactly(int(length))
    return await reader.read() if to_end else b""


def _refusal(rule: Rule, *, with_body: bool) -> bytes:
    headers = [("Content-Type", "application/xml"), ("Content-Length", str(len(rule.body)))]
    if rule.retry_after_s is not None:
        headers.append(("Retry-After", str(rule.retry_after_s)))
    return _head(f"HTTP/1.1 {rule.status} Refused".encode(), headers) + (rule.body if with_body else b"")


async def _answer(writer: asyncio.StreamWriter, answer: _Message, rule: Rule | None, *, is_head: bool) -> bool:
    """Pass an answer on, broken as the rule says; false when the connection is over."""
    headers = answer.without("connection", "transfer-encoding", *(() if is_head else ("content-length",)))
    if not is_head:
        headers.append(("Content-Length", str(len(answer.body))))
    body = answer.body
    action = rule.action if rule is not None else None
    if action == "wrong etag":
        headers = [(k, '"0123456789abcdef0123456789abcdef"' if k.lower() == "etag" else v) for k, v in headers]
    if rule is not None and action == "flip answer":
        if not rule.checksums:
            headers = [(k, v) for k, v in headers if not k.lower().startswith("x-amz-checksum")]
        body = bytes(b ^ 0x55 if at >= rule.after_bytes and at % 997 == 0 else b for at, b in enumerate(body))
    writer.write(_head(answer.start, headers))
    if rule is not None and action == "cut answer" and body:
        writer.write(body[: min(rule.after_bytes, len(body) // 2)])
        await writer.drain()
        return False
    step = _CHUNK if rule is None or not rule.bytes_per_s else max(1, rule.bytes_per_s // 10)
    for at in range(0, len(body), step):
        writer.write(body[at : at + step])
        await writer.drain()
        if rule is not None and rule.bytes_per_s:
            await asyncio.sleep(0.1)
    return True
