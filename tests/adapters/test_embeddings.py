"""The embedding client against a server that answers well, wrongly, late and not at all."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from argus_assets.adapters.embeddings import BATCH_TEXTS, OpenAiEmbedder, embedder_of
from argus_assets.adapters.postgres.cases import PostgresCaseStore
from argus_assets.adapters.postgres.database import Database
from argus_assets.diagnosis.vectors import DIMENSIONS
from argus_assets.errors import ArgusError, BadSetting, Unavailable
from argus_assets.runtime.ports import free_port
from argus_assets.settings import Settings
from tests.support.case_data import case, query


def vector_of(text: str, size: int = 8) -> list[float]:
    return [float(text.count(chr(48 + n))) + 0.5 for n in range(size)]


class Endpoint:
    """`answer` makes of the texts a status and a body."""

    def __init__(self) -> None:
        self.requests: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        self.answer: Callable[[list[str]], tuple[int, bytes]] = self.well
        self.drip_s = 0.0
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                outer.requests.append({"path": self.path, **request})
                outer.keys.append(self.headers["Authorization"])
                status, body = outer.answer(request["input"])
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                try:
                    for n in range(len(body)) if outer.drip_s else ():
                        self.wfile.write(body[n : n + 1])
                        self.wfile.flush()
                        time.sleep(outer.drip_s)
                    if not outer.drip_s:
                        self.wfile.write(body)
                except OSError:
                    return  # the client has gone

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1"

    def well(self, texts: list[str], size: int = 8) -> tuple[int, bytes]:
        data = [{"object": "embedding", "index": n, "embedding": vector_of(t, size)} for n, t in enumerate(texts)]
        # Not in order: the index says which is which.
        return 200, json.dumps({"object": "list", "data": data[::-1], "model": "m", "usage": {}}).encode()


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    made = Endpoint()
    thread = threading.Thread(target=made.server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield made
    made.server.shutdown()
    made.server.server_close()
    thread.join()


def test_each_text_gets_its_vector_in_batches(endpoint: Endpoint) -> None:
    texts = [f"P0{n}" for n in range(2 * BATCH_TEXTS + 3)]
    assert OpenAiEmbedder("m", url=endpoint.url, api_key="secret").embed(texts) == [vector_of(t) for t in texts]
    assert [len(r["input"]) for r in endpoint.requests] == [BATCH_TEXTS, BATCH_TEXTS, 3]
    assert {r["path"] for r in endpoint.requests} == {"/v1/embeddings"}
    assert {r["model"] for r in endpoint.requests} == {"m"}
    assert set(endpoint.keys) == {"Bearer secret"}


def test_no_text_is_no_request(endpoint: Endpoint) -> None:
    assert OpenAiEmbedder("m", url=endpoint.url).embed([]) == []
    assert endpoint.requests == []


def body(*vectors: object, indices: tuple[int, ...] | None = None) -> bytes:
    places = indices or tuple(range(len(vectors)))
    return json.dumps(
        {"data": [{"index": i, "embedding": v} for i, v in zip(places, vectors, strict=True)]}
    ).encode()  # fmt: skip


WRONG: dict[str, tuple[int, bytes, type[ArgusError], str]] = {
    "one too few": (200, body([1.0]), Unavailable, "2 vectors expected, found 1"),
    "one too many": (200, body([1.0], [1.0], [1.0]), Unavailable, "2 vectors expected, found 3"),
    "one twice": (200, body([1.0], [1.0], indices=(0, 0)), Unavailable, "indices"),
    "none": (200, b'{"data": []}', Unavailable, "2 vectors expected, found 0"),
    "other lengths": (200, body([1.0], [1.0, 2.0]), Unavailable, "one length"),
    "no numbers": (200, body([1.0], ["a"]), Unavailable, "data.1.embedding.0"),
    "no direction": (200, body([1.0], [0.0]), Unavailable, "no direction"),
    "not finite": (200, b'{"data": [{"index": 0, "embedding": [NaN]}]}', Unavailable, "did not answer with vectors"),
    "a page": (200, b"<html>hello</html>", Unavailable, "did not answer with vectors"),
    "nothing": (200, b"", Unavailable, "did not answer with vectors"),
    "too long": (200, body([1.0] * 1537, [1.0] * 1537), BadSetting, f"1537 numbers, expected at most {DIMENSIONS}"),
    "broken": (500, b'{"error": {"message": "out of memory"}}', Unavailable, "out of memory"),
    "busy": (429, b"{}", Unavailable, "429"),
    "no such model": (404, b'{"error": {"message": "no model m"}}', BadSetting, "no model m"),
    "wrong key": (401, b"{}", BadSetting, "401"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_answer_is_told_after_one_request(endpoint: Endpoint, name: str) -> None:
    status, content, error, told = WRONG[name]
    endpoint.answer = lambda _: (status, content)
    with pytest.raises(error, match=told) as raised:
        OpenAiEmbedder("m", url=endpoint.url).embed(["a", "b"])
    assert raised.value.help
    assert len(endpoint.requests) == 1


def test_an_answer_that_drips_is_given_up(endpoint: Endpoint) -> None:
    endpoint.drip_s = 0.05
    with pytest.raises(Unavailable, match=r"within 0\.5 s"):
        OpenAiEmbedder("m", url=endpoint.url, deadline_s=0.5).embed(["a", "b", "c"])


def test_an_endpoint_that_is_not_there_is_told() -> None:
    with pytest.raises(Unavailable, match="did not answer"):
        OpenAiEmbedder("m", url=f"http://127.0.0.1:{free_port()}", deadline_s=5).embed(["a"])


def test_settings_name_the_model(endpoint: Endpoint) -> None:
    assert embedder_of(Settings.from_env({})) is None
    made = embedder_of(
        Settings.from_env(
            {"ARGUS_EMBEDDING_MODEL": "m", "ARGUS_EMBEDDING_URL": endpoint.url, "ARGUS_EMBEDDING_API_KEY": "k"}
        )
    )
    assert made is not None
    assert made.name == "m"
    assert made.embed(["1"]) == [vector_of("1")]
    assert endpoint.keys == ["Bearer k"]


def test_cases_are_found_by_vectors_of_the_endpoint(endpoint: Endpoint, database_url: str) -> None:
    store = PostgresCaseStore(Database(database_url), OpenAiEmbedder("m", url=endpoint.url))
    store.add([case(1, "P0420"), case(2, "P0420", "P0301")])
    found = store.search(query("P0420"))
    assert found.compared_by == "m"
    assert found.cases[0].id == "c1"
    endpoint.answer = lambda _: (500, b"{}")
    assert store.search(query("P0420")).compared_by == "codes"
