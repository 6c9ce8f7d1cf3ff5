"""An embedding model behind an OpenAI-compatible endpoint."""

from collections.abc import Sequence
from typing import Final

from argus_assets.errors import BadSetting, Unavailable
from argus_assets.resources.llm import OPENAI_URL

TIMEOUT_S: Final = 10.0
RETRIES: Final = 2
BATCH: Final = 256


class OpenAiEmbedder:
    """`ports.Embedder` on the `openai` client.

    Args:
        model: Model, as the endpoint names it.
        url: Base URL of the endpoint; OpenAI's own without.
        api_key: Key, where the endpoint wants one.
    """

    def __init__(self, model: str, *, url: str | None = None, api_key: str | None = None) -> None:
        self._model = model
        self._url = url or OPENAI_URL
        self._key = api_key

    @property
    def name(self) -> str:
        """Model name, as its endpoint knows it."""
        return self._model

    def embed(self, texts: Sequence[str]) -> Sequence[Sequence[float]]:
        """A vector for each text, in their order, all of one length.

        Raises:
            Unavailable: The model did not answer, or not with vectors.
            BadSetting: The endpoint refuses the key or the model.
        """
        import openai

        vectors: list[list[float]] = []
        with openai.OpenAI(
            base_url=self._url, api_key=self._key or "none", max_retries=RETRIES, timeout=TIMEOUT_S
        ) as client:
            for start in range(0, len(texts), BATCH):
                some = list(texts[start : start + BATCH])
                try:
                    reply = client.embeddings.create(model=self._model, input=some, encoding_format="float")
                    made = [entry.embedding for entry in sorted(reply.data, key=lambda entry: entry.index)]
                except (openai.AuthenticationError, openai.PermissionDeniedError, openai.NotFoundError) as error:
                    raise BadSetting(
                        f"{self._url} refused the embedding model {self._model}: it answered {error.status_code}.",
                        help="Check ARGUS_EMBEDDING_MODEL, ARGUS_EMBEDDING_URL and ARGUS_EMBEDDING_API_KEY.",
                    ) from None
                except (openai.OpenAIError, ValueError, TypeError, AttributeError) as error:
                    raise Unavailable(
                        f"{self._url} did not answer with embeddings: {type(error).__name__}.",
                        help="Check that it is an OpenAI-compatible endpoint and answers.",
                    ) from None
                if len(made) != len(some):
                    raise Unavailable(
                        f"{self._url} answered with {len(made)} embeddings for {len(some)} texts.",
                        help="Check that it is an OpenAI-compatible endpoint.",
                    )
                vectors += made
        if len({len(vector) for vector in vectors}) > 1:
            raise Unavailable(
                f"{self._url} answered with embeddings of several lengths.",
                help="Check that it is an OpenAI-compatible endpoint.",
            )
        return vectors
