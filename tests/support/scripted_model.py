"""An OpenAI-compatible server on loopback that does what a test tells it, well or badly."""

import json
import socket
import struct
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self


@dataclass
class Seen:
    """A request: path, headers and JSON."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any]

    @property
    def text(self) -> str:
        """All that the model was told."""
        return "\n".join(message["content"] for message in self.body["messages"])


Behaviour = Callable[["_Handler", Seen], None]


def completion(text: str | None, **more: Any) -> dict[str, Any]:
    """A chat completion as OpenAI documents it; `more` replaces parts of it."""
    message = {"role": "assistant", "content": text, "refusal": more.pop("refusal", None)}
    choice = {"index": 0, "message": message, "finish_reason": more.pop("finish_reason", "stop")}
    return {
        "id": "c1", "object": "chat.completion", "created": 1, "model": "scripted-1", "choices": [choice],
        "usage": {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120,
                  "prompt_tokens_details": {"cached_tokens": 40}},
        **more,
    }  # fmt: skip


def says(text: str | Callable[[Seen], str] | None, **more: Any) -> Behaviour:
    """Answers."""

    def behave(handler: "_Handler", seen: Seen) -> None:
        told = text(seen) if callable(text) else text
        handler.send(200, json.dumps(completion(told, **more)).encode())

    return behave


def raw(status: int, body: bytes, headers: dict[str, str] | None = None) -> Behaviour:
    """Sends these bytes."""
    return lambda handler, _: handler.send(status, body, headers or {})


def error(status: int, message: str, headers: dict[str, str] | None = None) -> Behaviour:
    """Refuses as OpenAI does."""
    return raw(status, json.dumps({"error": {"message": message, "type": "x", "code": None}}).encode(), headers)


def drip(seconds: float) -> Behaviour:
    """Sends its answer a byte at a time, for so long."""

    def behave(handler: "_Handler", seen: Seen) -> None:
        handler.start(200, 10_000)
        until = time.monotonic() + seconds
        while time.monotonic() < until and not handler.owner.closing.is_set():
            handler.wfile.write(b" ")
            handler.wfile.flush()
            time.sleep(0.02)

    return behave


def silent(handler: "_Handler", seen: Seen) -> None:
    """Never answers."""
    handler.owner.closing.wait(30)
    handler.close_connection = True


def cut(handler: "_Handler", seen: Seen) -> None:
    """Resets the connection in the middle of its answer."""
    handler.start(200, 1000)
    handler.wfile.write(b'{"choices": [')
    handler.wfile.flush()
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.connection.close()
    handler.close_connection = True


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    owner: "ScriptedModel"

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        seen = Seen(self.path, {k.lower(): v for k, v in self.headers.items()}, body)
        try:
            self.owner.next(seen)(self, seen)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def start(self, status: int, length: int, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(length))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()

    def send(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.start(status, len(body), headers)
        self.wfile.write(body)

    def handle(self) -> None:
        try:
            super().handle()
        except (ConnectionResetError, BrokenPipeError, ValueError):
            self.close_connection = True

    def finish(self) -> None:
        try:
            super().finish()
        except (OSError, ValueError):
            self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        pass


@dataclass
class ScriptedModel:
    """The server, for a `with` block. The last behaviour is repeated when more is asked.

    Attributes:
        seen: All requests.
    """

    behaviours: Sequence[Behaviour]
    seen: list[Seen] = field(default_factory=list)
    closing: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        """Base URL."""
        return f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    def next(self, seen: Seen) -> Behaviour:
        self.seen.append(seen)
        return self.behaviours[min(len(self.seen), len(self.behaviours)) - 1]

    def __enter__(self) -> Self:
        handler = type("Handler", (_Handler,), {"owner": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
