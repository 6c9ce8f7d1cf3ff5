"""Which requests the webserver refuses."""

from hypothesis import given
from hypothesis import strategies as st

from argus_assets.embedded.web_guard import LOOPBACK, refusal

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
