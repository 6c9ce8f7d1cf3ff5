"""Vectors of texts from an OpenAI-compatible `/embeddings` endpoint."""

import math
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from pydantic import BaseModel, ValidationError

from argus_assets.adapters.openai_model import OPENAI_URL
from argus_assets.diagnosis.vectors import DIMENSIONS
from argus_assets.errors import ArgusError, BadSetting, Unavailable
from argus_assets.settings import Settings

if TYPE_CHECKING:
    from openai import OpenAI

BATCH_TEXTS: Final = 64
DEADLINE_S: Final = 10.0
_AT_FAULT_OURSELVES: Final = frozenset({400, 401, 403, 404, 405, 413, 422})


class _Item(BaseModel):
    index: int
    embedding: list[float]


class _Reply(BaseModel):
    data: list[_Item]


class OpenAiEmbedder:
    """A model that turns texts into vectors. Safe to use from several threads.

    Args:
        model: As the endpoint names it.
        url: Base URL of the endpoint, without `/embeddings`; OpenAI's own without.
        api_key: Where the endpoint wants one.
        deadline_s: For one request of `BATCH_TEXTS` texts, until its last byte.
    """

    def __init__(
        self, model: str, *, url: str | None = None, api_key: str | None = None, deadline_s: float = DEADLINE_S
    ) -> None:
        self.name = model
        self._url = url or OPENAI_URL
        self._key = api_key
        self._deadline_s = deadline_s

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """Return a vector for each text, in their order, all of one length.

        Raises:
            Unavailable: The endpoint did not answer in time, or not with vectors.
            BadSetting: It refuses the model, the key or the request, or its vectors are too long to be stored.
        """
        vectors: list[list[float]] = []
        for start in range(0, len(texts), BATCH_TEXTS):
            vectors += self._ask(texts[start : start + BATCH_TEXTS])
        lengths = {len(vector) for vector in vectors}
        if len(lengths) > 1:
            raise self._wrong(f"vectors of one length expected, found {sorted(lengths)} numbers")
        if lengths and max(lengths) > DIMENSIONS:
            raise BadSetting(
                f"The embedding model {self.name} makes vectors of {max(lengths)} numbers, expected at most {DIMENSIONS}.",
                help="Set ARGUS_EMBEDDING_MODEL to a model with smaller vectors, or unset it.",
            )
        return vectors

    def _ask(self, texts: Sequence[str]) -> list[list[float]]:
        """Send one request. The client's timeouts are per read, which never end a slow drip: a thread with a deadline does."""
        from openai import OpenAI

        # An endpoint without keys wants none, the client wants some text.
        client = OpenAI(base_url=self._url, api_key=self._key or "none", max_retries=0, timeout=self._deadline_s)
        outcome: list[str | Exception] = []
        thread = threading.Thread(target=_post, args=(client, self.name, texts, outcome), daemon=True)
        thread.start()
        thread.join(self._deadline_s)
        client.close()  # what still reads ends with it
        if not outcome:
            raise self._unavailable(f"no whole answer within {self._deadline_s:g} s")
        if isinstance(outcome[0], Exception):
            raise self._refusal(outcome[0]) from outcome[0]
        return self._read(outcome[0], len(texts))

    def _read(self, text: str, count: int) -> list[list[float]]:
        try:
            reply = _Reply.model_validate_json(text)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            place = ".".join(map(str, first["loc"])) or "answer"
            raise self._wrong(f"{place}: {first['msg']}") from error
        items = sorted(reply.data, key=lambda item: item.index)
        if [item.index for item in items] != list(range(count)):
            raise self._wrong(
                f"{count} vectors expected, found {len(items)} with indices {[i.index for i in items][:5]}"
            )
        for item in items:
            if not all(map(math.isfinite, item.embedding)) or not any(item.embedding):
                raise self._wrong(f"vector {item.index} has no direction")
        return [item.embedding for item in items]

    def _refusal(self, error: Exception) -> ArgusError:
        status: Any = getattr(error, "status_code", None)
        text = " ".join(str(error).split())
        if self._key:
            text = text.replace(self._key, "…")  # some servers repeat what they refuse
        text = text[:300]
        if status in _AT_FAULT_OURSELVES:
            return BadSetting(
                f"The embedding model {self.name} was refused: {text}",
                help="Check ARGUS_EMBEDDING_MODEL, ARGUS_EMBEDDING_URL and ARGUS_EMBEDDING_API_KEY.",
            )
        return self._unavailable(text)

    def _unavailable(self, reason: str) -> Unavailable:
        return Unavailable(
            f"The embedding model {self.name} did not answer: {reason}.",
            help="Check that the endpoint at ARGUS_EMBEDDING_URL runs.",
        )

    def _wrong(self, reason: str) -> Unavailable:
        return Unavailable(
            f"The embedding model {self.name} did not answer with vectors: {reason}.",
            help="Check that ARGUS_EMBEDDING_URL is an OpenAI-compatible endpoint for embeddings.",
        )


def embedder_of(settings: Settings) -> OpenAiEmbedder | None:
    """Return the embedding model of the settings; `None` when vectors are made of code counts."""
    if settings.embedding.model is None:
        return None
    key = settings.embedding.api_key
    return OpenAiEmbedder(
        settings.embedding.model, url=settings.embedding.url, api_key=key.get_secret_value() if key else None
    )


def _post(client: "OpenAI", model: str, texts: Sequence[str], outcome: list[str | Exception]) -> None:
    try:
        reply = client.embeddings.with_raw_response.create(model=model, input=list(texts), encoding_format="float")
        outcome.append(reply.text)
    except Exception as error:  # noqa: BLE001 - raised by the one who waits
        outcome.append(error)
