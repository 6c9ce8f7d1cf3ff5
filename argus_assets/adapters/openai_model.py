"""A language model behind an OpenAI-compatible endpoint.

The `openai` client makes one attempt at a time: retries, waits and their cost are the business of `diagnosis/llm_call.py`.
Its timeout applies to single reads, so an answer that drips would never end: the whole attempt has a deadline of its own,
which closes the connection. Its `parse` loses the usage of an answer that is not JSON: replies are parsed here.

What a server refuses is left out from then on (`model_profile`): structured output falls back from a JSON schema to any
JSON object to plain text, the latter two with the schema in the prompt; `max_completion_tokens` and `max_tokens` replace each
other; `temperature` is dropped. A server refuses such a request before it works on it, so the next try costs nothing.
"""

import asyncio
import json
import re
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cache
from threading import Lock
from typing import TYPE_CHECKING, Any, Final, TypeGuard

from argus_assets.adapters.model_profile import ModelProfile
from argus_assets.diagnosis.budget import bound, tokens_of
from argus_assets.diagnosis.ports import ModelFailed, ModelReply, ModelRequest, Usage

if TYPE_CHECKING:
    from openai import APIStatusError

OPENAI_URL: Final = "https://api.openai.com/v1"
MAX_REPLY_BYTES: Final = 1024 * 1024
MAX_ERROR_CHARACTERS: Final = 300

MAX_TIMES_ESTIMATED: Final = 4
"""A server may count more than our bound, for tokens of its own or for reasoning, but at most so many times it."""

_REFUSES_PARAMETER: Final = frozenset({400, 404, 422, 501})
_FENCE: Final = re.compile(r"\A```[a-z]*\n(.*?)\n?```\Z", re.DOTALL)


@contextmanager
def _free(_timeout_s: float) -> Generator[None]:
    yield


class OpenAiModel:
    """`ports.LanguageModel` on the `openai` client. Safe to use from several threads.

    Args:
        name: Model, as the endpoint names it.
        url: Base URL of the endpoint; OpenAI's own without.
        api_key: Key, where the endpoint wants one.
        slots: Holds a slot for the time of a call, given the seconds to wait for one.
    """

    def __init__(
        self,
        name: str,
        *,
        url: str | None = None,
        api_key: str | None = None,
        slots: Callable[[float], AbstractContextManager[None]] = _free,
    ) -> None:
        self._name = name
        self._url = url or OPENAI_URL
        self._key = api_key
        self._slots = slots
        self._profile = ModelProfile.seed(is_openai=url is None)
        self._learning = Lock()

    @property
    def name(self) -> str:
        """Model name, as the endpoint knows it."""
        return self._name

    @property
    def profile(self) -> ModelProfile:
        """The endpoint's capabilities, as far as they are known yet."""
        return self._profile

    def __repr__(self) -> str:
        """Show everything but the key."""
        return f"OpenAiModel({self._name!r}, url={self._url!r})"

    def slot(self, *, timeout_s: float) -> AbstractContextManager[None]:
        """Hold one of the slots for concurrent calls.

        Raises:
            ModelFailed: None was free in time.
        """
        return self._slots(timeout_s)

    def attempt(self, request: ModelRequest, *, timeout_s: float) -> ModelReply:
        """Make one call; `timeout_s` covers all of it, until the last byte.

        Raises:
            ModelFailed: There is no answer.
        """
        _warm_up()
        return asyncio.run(self._within(request, timeout_s))

    async def _within(self, request: ModelRequest, timeout_s: float) -> ModelReply:
        try:
            async with asyncio.timeout(timeout_s):
                return await self._ask(request)
        except TimeoutError as error:
            raise ModelFailed("timeout", f"no whole answer in {timeout_s:.1f} s", retryable=True) from error

    async def _ask(self, request: ModelRequest) -> ModelReply:
        import httpx2  # the client's own HTTP library; reading a body raises its errors as they are
        import openai

        async with openai.AsyncOpenAI(
            base_url=self._url,
            api_key=self._key or "none",
            max_retries=0,
            timeout=None,  # the deadline around this call holds
            http_client=openai.DefaultAsyncHttpxClient(follow_redirects=False, timeout=None),
        ) as client:
            while True:
                profile = self._profile
                try:
                    async with client.chat.completions.with_streaming_response.create(
                        **_parameters(request, profile, self._name)
                    ) as response:
                        body = await _read(response.iter_bytes())
                    return _reply(body, request, self._name)
                except openai.APIStatusError as error:
                    if not self._learn(profile, error):
                        raise _refusal(error, self._url, self._hide) from None
                except (openai.APIError, httpx2.HTTPError, OSError) as error:
                    # Refused before anything was sent costs nothing; what broke later may have been answered.
                    refused = _is_refused_connection(error)
                    raise ModelFailed(
                        "connection",
                        self._hide(f"{self._url} did not answer: {_reason(error)}"),
                        retryable=True,
                        usage=Usage() if refused else None,
                    ) from None

    def _learn(self, used: ModelProfile, error: "APIStatusError") -> bool:
        """Adopt a profile without what the server has just refused; return false when there is nothing left to try."""
        if error.status_code not in _REFUSES_PARAMETER or (learned := used.without_refused(str(error))) is None:
            return False
        with self._learning:
            if self._profile == used:  # else another thread has learned more meanwhile
                self._profile = learned
        return True

    def _hide(self, text: str) -> str:
        """Return `text` without the key."""
        return text.replace(self._key, "…") if self._key else text


@cache
def _warm_up() -> None:
    """Import the client and have it probe its machine: on a busy one that takes seconds, which must not count against a deadline."""
    import openai

    client = openai.AsyncOpenAI(base_url=OPENAI_URL, api_key="none")
    _ = client.chat.completions.with_streaming_response, client.default_headers


def _parameters(request: ModelRequest, profile: ModelProfile, name: str) -> dict[str, Any]:
    schema = json.dumps(request.schema, ensure_ascii=False)
    user = request.user
    if profile.structure != "json_schema":
        user += f"\n\nAnswer with one JSON object, and nothing else, that follows this JSON schema:\n{schema}"
    messages = [{"role": "system", "content": request.system}, {"role": "user", "content": user}]
    if request.previous is not None:
        answer, why = request.previous
        messages += [{"role": "assistant", "content": answer}, {"role": "user", "content": why}]
    parameters: dict[str, Any] = {"model": name, "messages": messages, profile.limit_name: request.max_tokens}
    if profile.takes_temperature:
        parameters["temperature"] = 0
    if profile.structure == "json_schema":
        form = {"name": "diagnosis", "strict": True, "schema": request.schema}
        parameters["response_format"] = {"type": "json_schema", "json_schema": form}
    elif profile.structure == "json_object":
        parameters["response_format"] = {"type": "json_object"}
    return parameters


async def _read(chunks: Any) -> bytes:  # noqa: ANN401 - an async iterator of the client's
    body = bytearray()
    async for chunk in chunks:
        body += chunk
        if len(body) > MAX_REPLY_BYTES:
            raise ModelFailed("bad_reply", f"the reply is longer than {MAX_REPLY_BYTES:,} bytes", retryable=False)
    return bytes(body)


def _reply(body: bytes, request: ModelRequest, name: str) -> ModelReply:
    """Return what a reply says; nothing is assumed of its shape."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as error:
        head = body[:60].decode(errors="replace").replace("\n", " ")
        raise ModelFailed("bad_reply", f"the reply is not JSON: it begins with {head!r}", retryable=True) from error
    choice = _first(document.get("choices")) if isinstance(document, Mapping) else None
    message = choice.get("message") if choice is not None else None
    if choice is None or not isinstance(message, Mapping):
        raise ModelFailed("bad_reply", "the reply holds no message", retryable=True)
    content, refusal = message.get("content"), message.get("refusal")
    text = content if isinstance(content, str) else ""
    usage = _usage(document.get("usage"), request, text)
    finish = choice.get("finish_reason")
    if refusal or finish == "content_filter":
        why = str(refusal or "its content filter")[:MAX_ERROR_CHARACTERS]
        raise ModelFailed("refused", f"the model refused to answer: {why}", retryable=False, usage=usage)
    if finish == "length":
        raise ModelFailed(
            "bad_reply", f"the answer was cut at {request.max_tokens} tokens", retryable=False, usage=usage
        )
    if not text.strip():
        raise ModelFailed("bad_reply", "the answer is empty", retryable=True, usage=usage)
    model = document.get("model")
    return ModelReply(_bare(text), usage, model if isinstance(model, str) and model else name)


def _first(values: object) -> Mapping[str, Any] | None:
    if isinstance(values, Sequence) and not isinstance(values, str) and values and isinstance(values[0], Mapping):
        return values[0]
    return None


def _usage(reported: object, request: ModelRequest, text: str) -> Usage:
    """Return the usage that the server reports, or a bound of ours where it reports nothing plausible."""
    if isinstance(reported, Mapping):
        details = reported.get("prompt_tokens_details")
        cached = details.get("cached_tokens") if isinstance(details, Mapping) else 0
        prompt, completion = reported.get("prompt_tokens"), reported.get("completion_tokens")
        if _is_count(prompt) and _is_count(completion):
            return _plausible(Usage(prompt, completion, cached if _is_count(cached) else 0), request, text)
    return Usage(bound(request) - request.max_tokens, min(request.max_tokens, tokens_of(text)), estimated=True)


def _plausible(reported: Usage, request: ModelRequest, text: str) -> Usage:
    """Return the reported usage within plausible bounds: the budget must not depend on the server's honesty."""
    max_prompt = MAX_TIMES_ESTIMATED * (bound(request) - request.max_tokens)
    max_completion = MAX_TIMES_ESTIMATED * request.max_tokens
    prompt, completion = reported.prompt_tokens, reported.completion_tokens
    if not prompt:
        prompt = bound(request) - request.max_tokens
    if not completion:
        completion = min(request.max_tokens, tokens_of(text))
    prompt, completion = min(prompt, max_prompt), min(completion, max_completion)
    believed = (prompt, completion) == (reported.prompt_tokens, reported.completion_tokens)
    return Usage(prompt, completion, min(prompt, reported.cached_tokens), estimated=not believed)


def _is_count(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _bare(text: str) -> str:
    """Return an answer without the model's thoughts and without a Markdown fence."""
    text = _without_thoughts(text).strip()
    fenced = _FENCE.match(text)
    return fenced.group(1) if fenced else text


def _without_thoughts(text: str) -> str:
    # By hand: a pattern would search for the end of each of many that are never closed.
    kept: list[str] = []
    at = 0
    while (start := text.find("<think>", at)) >= 0 and (end := text.find("</think>", start)) >= 0:
        kept.append(text[at:start])
        at = end + len("</think>")
    return "".join([*kept, text[at:]])


def _refusal(error: "APIStatusError", url: str, hide: Callable[[str], str]) -> ModelFailed:
    status = error.status_code
    text = hide(f"{url} answered {status}: {_reason(error)}")
    if status == 429:
        return ModelFailed(
            "rate_limited", text, retryable=True, retry_after_s=_retry_after(error.response.headers), usage=Usage()
        )
    if status >= 500 or status in {408, 409, 425}:
        return ModelFailed("server_error", text, retryable=True, retry_after_s=_retry_after(error.response.headers))
    help_of = {
        401: " Check ARGUS_LLM_API_KEY.",
        403: " Check ARGUS_LLM_API_KEY and what it may use.",
        404: " Check ARGUS_LLM_URL and ARGUS_LLM_MODEL.",
    }
    return ModelFailed("rejected", text + help_of.get(status, ""), retryable=False, usage=Usage())


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that a server asks to wait (RFC 9110, 10.2.3: seconds or a date; milliseconds as OpenAI sends them)."""
    try:
        if (value := headers.get("retry-after-ms")) is not None:
            return max(0.0, float(value) / 1000)
        if (value := headers.get("retry-after")) is None:
            return None
        if value.strip().isdigit():
            return float(value)
        return max(0.0, (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):
        return None


def _is_refused_connection(error: BaseException | None) -> bool:
    """Return true when the connection was never made."""
    while error is not None:
        if type(error).__name__ in {"ConnectError", "ConnectTimeout"} or isinstance(error, ConnectionRefusedError):
            return True
        error = error.__cause__ or error.__context__
    return False


def _reason(error: Exception) -> str:
    cause: BaseException = error
    while cause.__cause__ is not None:
        cause = cause.__cause__
    text = str(error) if str(error) not in ("", "Connection error.") else f"{type(cause).__name__}: {cause}"
    return " ".join(text.split())[:MAX_ERROR_CHARACTERS]
