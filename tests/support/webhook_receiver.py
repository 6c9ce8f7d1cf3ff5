"""A receiver of events on loopback, as another company would write it: with the published libraries and nothing of ours."""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from cloudevents.http import CloudEvent, from_http
from standardwebhooks.webhooks import Webhook

SECRET = "whsec_" + "QXJndXMgc2lnbnMgd2l0aCB0aGlzIGtleSBpbiB0ZXN0cy4="
OTHER_SECRET = "whsec_" + "QW5vdGhlciBrZXksIG9mIHRoZSBzYW1lIGxlbmd0aCEhIQ=="


@dataclass
class Answer:
    """What to do with a request.

    Attributes:
        status: Of the answer.
        cut: Close the connection without one.
        hang_s: Wait before it.
        drip_s: Send the answer's head byte by byte, with so much time between two.
        body_bytes: Length of its body.
    """

    status: int = 204
    headers: Mapping[str, str] = field(default_factory=dict)
    cut: bool = False
    hang_s: float = 0.0
    drip_s: float = 0.0
    body_bytes: int = 0


@dataclass
class Receiver:
    """What came.

    Attributes:
        events: Of verified requests that were answered with 2xx, in order.
        seen: (webhook-id, subject) of every verified request, whatever it was answered.
        refused: Why requests could not be verified or parsed.
        most_at_once: Requests with the same id that were open at the same time.
        answer: Decides for each event.
    """

    url: str = ""
    events: list[CloudEvent] = field(default_factory=list)
    seen: list[tuple[str, str]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    secret: str = SECRET
    answer: Callable[[CloudEvent], Answer] = lambda _: Answer()
    most_at_once: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)
    open_ids: list[str] = field(default_factory=list)
    released: threading.Event = field(default_factory=threading.Event)

    def types(self, subject: str | None = None) -> list[str]:
        return [e["type"] for e in self.events if subject is None or e["subject"] == subject]


@contextmanager
def receiver() -> Iterator[Receiver]:
    """A receiver that runs until the end of the block."""
    here = Receiver()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def log_message(self, *_: object) -> None: ...

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            headers = {k.lower(): v for k, v in self.headers.items()}
            try:
                Webhook(here.secret).verify(body, headers)
                event = from_http(headers, body)
                assert headers["webhook-id"] == event["id"]
            except Exception as error:
                here.refused.append(f"{type(error).__name__}: {error}")
                self._reply(Answer(401))
                return
            with here.lock:
                here.headers.append(headers)
                here.seen.append((event["id"], event["subject"]))
                here.open_ids.append(event["id"])
                here.most_at_once = max(here.most_at_once, here.open_ids.count(event["id"]))
            try:
                answer = here.answer(event)
                here.released.wait(answer.hang_s) if answer.hang_s else None
                if not answer.cut and 200 <= answer.status < 300:
                    with here.lock:
                        here.events.append(event)
            finally:
                with here.lock:
                    here.open_ids.remove(event["id"])
            self._reply(answer)

        def _reply(self, answer: Answer) -> None:
            if answer.cut:
                self.close_connection = True
                self.connection.close()
                return
            if answer.drip_s:
                self.close_connection = True
                for byte in b"HTTP/1.1 200 OK\r\nx-slow: " + b"a" * 1000:
                    if here.released.wait(answer.drip_s):
                        return
                    try:
                        self.connection.sendall(bytes([byte]))
                    except OSError:
                        return
                return
            self.send_response(answer.status)
            for key, value in answer.headers.items():
                self.send_header(key, value)
            self.send_header("content-length", str(answer.body_bytes))
            self.end_headers()
            try:
                for _ in range(answer.body_bytes // 65536):
                    self.wfile.write(bytes(65536))
            except OSError:
                self.close_connection = True

    class Server(ThreadingHTTPServer):
        request_queue_size = 64
        daemon_threads = True

        def handle_error(self, *_: object) -> None: ...

    server = Server(("127.0.0.1", 0), Handler)
    here.url = f"http://127.0.0.1:{server.server_port}/hook?token=not-to-be-told"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield here
    finally:
        here.released.set()
        server.shutdown()
        server.server_close()
        thread.join()
