"""The model's client against a server that misbehaves on purpose: every failure has a kind, a price and an end."""

import json
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from argus_assets.adapters.model_profile import ModelProfile
from argus_assets.adapters.openai_model import MAX_REPLY_BYTES, MAX_TIMES_ESTIMATED, OpenAiModel, _bare, _reply
from argus_assets.diagnosis.budget import bound
from argus_assets.diagnosis.llm_call import AskFailed, ask
from argus_assets.diagnosis.ports import ModelFailed, ModelRequest, Reservation, Usage
from tests.support.scripted_model import ScriptedModel, completion, cut, drip, error, raw, says, silent

KEY = "sk-very-secret-1234567890"
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"], "additionalProperties": False}
REQUEST = ModelRequest("be brief", "how many?", SCHEMA, max_tokens=50)
FREE = Usage()


def attempt(*behaviours, timeout_s: float = 60.0, request: ModelRequest = REQUEST):
    with ScriptedModel(behaviours) as server:
        model = OpenAiModel("m", url=server.url, api_key=KEY)
        return model.attempt(request, timeout_s=timeout_s), server, model


def failure(*behaviours, timeout_s: float = 60.0) -> ModelFailed:
    with pytest.raises(ModelFailed) as caught:
        attempt(*behaviours, timeout_s=timeout_s)
    assert KEY not in str(caught.value)
    return caught.value


def test_an_answer_comes_with_its_tokens() -> None:
    reply, server, model = attempt(says('{"a": 3}'))
    assert (reply.text, reply.model) == ('{"a": 3}', "scripted-1")
    assert reply.usage == Usage(100, 20, 40)
    (seen,) = server.seen
    assert seen.path == "/v1/chat/completions"
    assert seen.headers["authorization"] == f"Bearer {KEY}"
    assert seen.body["response_format"]["json_schema"]["schema"] == SCHEMA
    assert (seen.body["max_tokens"], seen.body["model"]) == (50, "m")
    assert KEY not in repr(model)


FIRST_CALL = """
import asyncio, sys
from argus_assets.adapters.model_profile import ModelProfile
from argus_assets.adapters.openai_model import OpenAiModel
from argus_assets.diagnosis.ports import ModelRequest

before = {}
timeout = asyncio.timeout

def begin(delay):
    before.update(sys.modules)
    return timeout(delay)

asyncio.timeout = begin
OpenAiModel("m", url=sys.argv[1]).attempt(ModelRequest("s", "u", {}, max_tokens=50), timeout_s=60)
print(*(n for n in sys.modules.keys() - before.keys() if n.partition(".")[0] in ("openai", "httpx2", "httpcore2", "pydantic", "distro")))
"""


def test_a_deadline_begins_when_the_client_is_ready() -> None:
    """In a process that has not imported it yet: on a busy machine that takes longer than a short deadline."""
    with ScriptedModel([says("{}")]) as server:
        done = subprocess.run(
            [sys.executable, "-c", FIRST_CALL, server.url], capture_output=True, text=True, check=True, timeout=240
        )
    assert done.stdout.split() == [], "imported while the deadline ran"


def test_threads_that_learn_at_once_end_with_one_profile() -> None:
    def modern(handler, seen) -> None:
        form = seen.body.get("response_format", {}).get("type")
        if "max_tokens" in seen.body:
            error(400, "Unsupported parameter: 'max_tokens'")(handler, seen)
        elif "temperature" in seen.body:
            error(400, "Unsupported value: 'temperature'")(handler, seen)
        elif form is not None:
            error(400, "response_format is not supported")(handler, seen)
        else:
            says("{}")(handler, seen)

    with ScriptedModel([modern]) as server, ThreadPoolExecutor(8) as threads:
        model = OpenAiModel("m", url=server.url)
        replies = list(threads.map(lambda _: model.attempt(REQUEST, timeout_s=60), range(16)))
    assert [reply.text for reply in replies] == ["{}"] * 16
    assert model.profile == ModelProfile("max_completion_tokens", "text", takes_temperature=False, limit_is_sure=True)


def test_a_refused_answer_and_why_are_told_to_the_model() -> None:
    repair = ModelRequest("be brief", "how many?", SCHEMA, 50, previous=("x", "that is no JSON"))
    _, server, _ = attempt(says("{}"), request=repair)
    assert [m["role"] for m in server.seen[0].body["messages"]] == ["system", "user", "assistant", "user"]


@pytest.mark.parametrize(
    ("text", "bare"),
    [
        ('```json\n{"a": 1}\n```', '{"a": 1}'),
        ('<think>hm, {"a": 2}?</think>\n{"a": 1}', '{"a": 1}'),
        ('  {"a": 1}\n', '{"a": 1}'),
    ],
)
def test_fences_and_thoughts_are_taken_off(text: str, bare: str) -> None:
    assert attempt(says(text))[0].text == bare


@pytest.mark.parametrize("level", ["json_object", "text"])
def test_a_server_without_schemas_gets_them_in_the_prompt_and_it_is_remembered(level: str) -> None:
    def knows_only(handler, seen) -> None:
        form = seen.body.get("response_format", {}).get("type", "text")
        allowed = ["text", "json_object"] if level == "json_object" else ["text"]
        (says('{"a": 1}') if form in allowed else error(400, f"response_format {form} is not supported"))(handler, seen)

    with ScriptedModel([knows_only]) as server:
        model = OpenAiModel("m", url=server.url)
        assert model.attempt(REQUEST, timeout_s=60).usage == Usage(100, 20, 40), "refused steps cost nothing"
        assert model.profile.structure == level
        tried = len(server.seen)
        model.attempt(REQUEST, timeout_s=60)
        assert len(server.seen) == tried + 1
        assert json.dumps(SCHEMA) in server.seen[-1].text
        assert "authorization" not in server.seen[-1].headers or KEY not in server.seen[-1].headers["authorization"]


def test_parameters_that_a_server_does_not_know_are_left_out() -> None:
    def modern(handler, seen) -> None:
        if "max_tokens" in seen.body:
            error(400, "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead.")(handler, seen)
        elif "temperature" in seen.body:
            error(400, "Unsupported value: 'temperature' does not support 0.")(handler, seen)
        else:
            says("{}")(handler, seen)

    reply, server, _ = attempt(modern)
    assert reply.text == "{}"
    assert server.seen[-1].body["max_completion_tokens"] == 50
    assert len(server.seen) == 3


@pytest.mark.parametrize(
    ("behaviour", "kind", "retryable", "usage"),
    [
        (error(429, "slow down"), "rate_limited", True, FREE),
        (error(500, "oops"), "server_error", True, None),
        (error(503, "busy"), "server_error", True, None),
        (error(401, f"bad key {KEY}"), "rejected", False, FREE),
        (error(404, "no such model"), "rejected", False, FREE),
        (error(400, "context length exceeded"), "rejected", False, FREE),
        (raw(200, b"<html>login</html>"), "bad_reply", True, None),
        (raw(200, b""), "bad_reply", True, None),
        (raw(200, b'{"choices": []}'), "bad_reply", True, None),
        (raw(200, b'["choices"]'), "bad_reply", True, None),
        (raw(200, b'{"choices": [{"message": null}]}'), "bad_reply", True, None),
        (raw(200, b"\xff\xfe\x00"), "bad_reply", True, None),
        (raw(200, b"x" * (MAX_REPLY_BYTES + 1)), "bad_reply", False, None),
        (raw(302, b"", {"Location": "http://127.0.0.1:9/v1"}), "rejected", False, FREE),
        (cut, "connection", True, None),
        (says("{", finish_reason="length"), "bad_reply", False, Usage(100, 20, 40)),
        (says("", finish_reason="content_filter"), "refused", False, Usage(100, 20, 40)),
        (says(None, refusal="I cannot help with that"), "refused", False, Usage(100, 20, 40)),
        (says("  "), "bad_reply", True, Usage(100, 20, 40)),
    ],
)  # fmt: skip
def test_every_misbehaviour_has_a_kind_and_a_price(behaviour, kind, retryable, usage) -> None:
    failed = failure(behaviour)
    assert (failed.kind, failed.retryable, failed.usage) == (kind, retryable, usage)


@pytest.mark.parametrize("told", [None, {}, {"prompt_tokens": -1, "completion_tokens": 2}, {"prompt_tokens": "many"}])
def test_without_a_usage_it_is_bounded(told) -> None:
    usage = attempt(raw(200, json.dumps(completion('{"a": 1}', usage=told)).encode()))[0].usage
    assert usage.estimated
    assert 0 < usage.total <= bound(REQUEST)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "61"}, 61.0),
        ({"Retry-After-Ms": "1500"}, 1.5),
        ({"Retry-After": "a date"}, 90.0),
        ({"Retry-After": "soon"}, None),
        ({}, None),
    ],
)
def test_how_long_a_server_asks_to_wait(headers, seconds) -> None:
    if seconds == 90.0:
        headers = {"Retry-After": format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True)}
    assert failure(error(429, "x", headers)).retry_after_s == (
        None if seconds is None else pytest.approx(seconds, abs=15)
    )


@pytest.mark.parametrize("behaviour", [drip(20), silent])
def test_the_deadline_holds_until_the_last_byte(behaviour) -> None:
    before = threading.active_count()
    started = time.monotonic()
    failed = failure(behaviour, timeout_s=0.5)
    assert (failed.kind, failed.retryable, failed.usage) == ("timeout", True, None)
    assert time.monotonic() - started < 10, "the server would have gone on for 20 s and more"
    while threading.active_count() > before and time.monotonic() - started < 15:
        time.sleep(0.01)  # the server's own thread for this request is about to end
    assert threading.active_count() <= before


def test_nobody_listening_costs_nothing() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    model = OpenAiModel("m", url=f"http://127.0.0.1:{port}/v1", api_key=KEY)
    with pytest.raises(ModelFailed) as caught:
        model.attempt(REQUEST, timeout_s=60)
    assert (caught.value.kind, caught.value.retryable, caught.value.usage) == ("connection", True, FREE)


class Purse:
    def __init__(self) -> None:
        self.settled: list[tuple[str, int]] = []

    def reserve(self, tokens, *, batch, model, priority) -> Reservation:
        return Reservation(1, tokens)

    def settle(self, reservation, usage, *, outcome, cost_usd) -> None:
        self.settled.append((outcome, usage.total))


def asked(*behaviours, deadline_s: float = 60.0):
    purse, waits = Purse(), []
    with ScriptedModel(behaviours) as server:
        model = OpenAiModel("m", url=server.url, api_key=KEY)
        try:
            made = ask(
                model, REQUEST, ledger=purse, batch="b", priority=1.0, cost=lambda _m, _u: None, deadline_s=deadline_s,
                sleep=waits.append, chance=lambda: 0.5,
            )  # fmt: skip
        except AskFailed as failed:
            made = failed
    return made, purse, waits


def test_failures_are_tried_again_and_paid_for() -> None:
    made, purse, waits = asked(error(429, "x", {"Retry-After": "3"}), error(500, "x"), says("{}"))
    assert (made.calls, made.reply.text) == (3, "{}")
    assert waits == [3.0, 2.0]
    assert purse.settled == [("rate_limited", 0), ("server_error", bound(REQUEST)), ("answered", 120)]
    assert made.usage.total == bound(REQUEST) + 120


def test_a_wait_beyond_the_deadline_is_not_begun() -> None:
    made, purse, waits = asked(error(429, "x", {"Retry-After": "61"}), says("{}"))
    assert isinstance(made, AskFailed)
    assert (made.kind, waits, len(purse.settled)) == ("rate_limited", [], 1)


def test_what_cannot_help_is_not_tried_again() -> None:
    made, purse, _ = asked(error(401, "bad key"), says("{}"))
    assert (made.kind, made.calls, len(purse.settled)) == ("rejected", 1, 1)


@given(st.integers(0, 10**30), st.integers(0, 10**30), st.integers(-5, 10**30))
def test_no_server_decides_what_the_budget_believes(prompt: int, answer: int, cached: int) -> None:
    """More than nothing, and at most a few times our own bound, whatever it tells."""
    told = {"prompt_tokens": prompt, "completion_tokens": answer, "prompt_tokens_details": {"cached_tokens": cached}}
    body = json.dumps(completion("an answer of a few words, longer than a token", usage=told)).encode()
    usage = _reply(body, REQUEST, "m").usage
    most = bound(REQUEST) - REQUEST.max_tokens
    assert 0 < usage.prompt_tokens <= MAX_TIMES_ESTIMATED * most
    assert 0 < usage.completion_tokens <= MAX_TIMES_ESTIMATED * REQUEST.max_tokens
    assert 0 <= usage.cached_tokens <= usage.prompt_tokens
    if 0 < prompt <= most and 0 < answer <= REQUEST.max_tokens:
        assert (usage.prompt_tokens, usage.completion_tokens, usage.estimated) == (prompt, answer, False)


@pytest.mark.parametrize("body", [b"[" * 100_000, b'{"choices":' * 50_000, b"9" * 100_000])
def test_a_reply_that_no_reader_takes_is_a_bad_reply(body: bytes) -> None:
    """Also one that is nested deeper than Python's stack."""
    with pytest.raises(ModelFailed, match=r"not JSON|no message"):
        _reply(body, REQUEST, "m")


def test_thoughts_are_left_out_and_those_never_closed_are_looked_for_once() -> None:
    """A mebibyte of either, as long as a reply may be."""
    assert _bare("<think>a</think>{}<think>b</think>") == "{}"
    assert _bare("<think>" * 150_000 + "{}").endswith("{}")
    assert _bare("<think></think>" * 70_000 + "{}") == "{}"
