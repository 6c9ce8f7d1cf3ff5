"""Which requests the webserver refuses."""

import asyncio
import http.client
import re
import threading
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message

from argus_assets.cli.metrics import metrics_server
from argus_assets.runtime.servers.webserver import SameSiteOnly
from argus_assets.runtime.web_guard import LOOPBACK, own_names, refusal

ACTING = st.sampled_from(
    [("POST", "/graphql"), ("WEBSOCKET", "/graphql"), ("POST", "/report_asset_check/a"), ("PUT", "/x")]
)
NAMES = st.from_regex(r"[a-z]{1,8}(\.[a-z]{1,8}){0,2}", fullmatch=True)


@given(ACTING, st.sampled_from(["cross-site", "same-site", "", "same-origin, none"]))
def test_what_a_browser_calls_foreign_does_not_act(acting: tuple[str, str], site: str) -> None:
    headers = {"host": "localhost:3000", "sec-fetch-site": site}
    assert refusal(method=acting[0], path=acting[1], query="", headers=headers, hosts=LOOPBACK)


@given(ACTING, NAMES, NAMES, st.booleans())
def test_an_origin_has_to_be_the_host(acting: tuple[str, str], host: str, origin: str, secure: bool) -> None:
    headers = {"host": host, "origin": f"http{'s' if secure else ''}://{origin}"}
    why = refusal(method=acting[0], path=acting[1], query="", headers=headers, hosts=None)
    assert (why is None) is (host == origin)
    for odd in ("null", "", f"http://{host}.{origin}", f"http://{host}@{origin}.x", f"http://{host}:1"):
        headers["origin"] = odd
        assert refusal(method=acting[0], path=acting[1], query="", headers=headers, hosts=None)


@given(ACTING | st.just(("GET", "/runs")), NAMES, st.sampled_from(["", ":80", ":3000"]))
def test_a_name_has_to_be_known(acting: tuple[str, str], name: str, port: str) -> None:
    def ask(host: str) -> str | None:
        return refusal(method=acting[0], path=acting[1], query="", headers={"host": host}, hosts={*LOOPBACK, "known.x"})

    assert (ask(f"{name}{port}") is None) is (name in {*LOOPBACK, "known.x"})
    for known in ("localhost", "127.0.0.1", "[::1]", "known.x", "KNOWN.X"):
        assert ask(f"{known}{port}") is None
    for odd in ("", f"{name}.localhost", f"localhost.{name}", f"{name}@evil.{name}"):
        assert ask(f"{odd}{port}")


@given(st.text(max_size=20), st.text(max_size=20))
def test_a_mutation_in_an_address_is_refused_wherever_it_stands(before: str, after: str) -> None:
    from urllib.parse import urlencode

    def ask(text: str) -> str | None:
        return refusal(
            method="GET", path="/graphql", query=urlencode({"query": text}), headers={"host": "x"}, hosts=None
        )

    assert ask(f"{before} mutation {after}")
    assert ask(f"{before}\nmutation{{{after}")
    assert ask("{ version }") is None


HOSTILE_HOSTS = st.one_of(
    st.sampled_from(
        ["[", "]", "[::1", "::1]", "[]", "localhost:", "localhost:x", "localhost:123456", "a b", "a,b", "\0"]
    ),
    st.text(min_size=1, max_size=12),
)


@given(HOSTILE_HOSTS, st.sampled_from(["/", "/graphql", "/metrics"]), st.booleans())
def test_whatever_stands_as_host_is_answered(host: str, path: str, known: bool) -> None:
    hosts = LOOPBACK if known else None
    why = refusal(method="GET", path=path, query="", headers={"host": host}, hosts=hosts)
    if not re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:[0-9]{1,5})?", host):
        assert why is not None


@given(st.text(max_size=20) | st.sampled_from(["http://[", "http://[::1", "//", "http://a]b", "http://℀.x"]))
def test_whatever_stands_as_origin_is_answered(origin: str) -> None:
    headers = {"host": "localhost", "origin": origin}
    why = refusal(method="POST", path="/graphql", query="", headers=headers, hosts=LOOPBACK)
    if why is None:
        assert urlsplit(origin).netloc == "localhost"


def answer(app: ASGIApp, *hosts: str) -> tuple[int, list[tuple[str, str]]]:
    """Status and headers of a GET."""
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request"}

    async def send(message: Message) -> None:
        sent.append(message)

    headers = [(b"host", host.encode()) for host in hosts]
    scope = {"type": "http", "method": "GET", "path": "/", "query_string": b"", "headers": headers}
    asyncio.run(app(scope, receive, send))  # type: ignore[arg-type] # a coroutine of this one
    return sent[0]["status"], [(name.decode(), value.decode()) for name, value in sent[0]["headers"]]


def test_no_answer_may_be_framed_and_the_servers_own_policy_stays() -> None:
    own = "script-src 'self'"
    app = SameSiteOnly(PlainTextResponse("page", headers={"content-security-policy": own}), LOOPBACK)
    for host, expected in (("localhost", 200), ("evil.example", 403)):
        status, headers = answer(app, host)
        assert status == expected
        assert [v for n, v in headers if n == "x-frame-options"] == ["DENY"]
        policies = [v for n, v in headers if n == "content-security-policy"]
        assert policies == [*([own] if status == 200 else []), "frame-ancestors 'none'"]


def test_two_names_are_none() -> None:
    app = SameSiteOnly(PlainTextResponse("page"), LOOPBACK)
    for hosts in (("localhost", "evil.example"), ("evil.example", "localhost"), ("[",), ()):
        assert answer(app, *hosts)[0] == 403
    assert answer(app, "localhost")[0] == 200


@pytest.mark.parametrize(
    ("host", "status"),
    [("localhost", 200), ("127.0.0.1:9464", 200), ("evil.example", 403), ("[", 403), ("", 403), ("a:b:c", 403)],
)
def test_figures_are_told_under_their_own_name_only(host: str, status: int) -> None:
    server = metrics_server(CollectorRegistry(), host="127.0.0.1", port=0, hosts=own_names("127.0.0.1", ()))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=20)
        connection.request("GET", "/metrics", headers={"Host": host})
        assert connection.getresponse().status == status
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_on_another_address_any_name_will_do_until_some_are_given() -> None:
    assert own_names("0.0.0.0", ()) is None
    assert own_names("0.0.0.0", ("argus.example",)) == {"argus.example", *LOOPBACK}
    assert own_names("127.0.0.1", ()) == LOOPBACK
