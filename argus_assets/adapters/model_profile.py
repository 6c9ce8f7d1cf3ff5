"""Capabilities of a language-model endpoint: seeded by provider, then learned from its refusals. Pure."""

from dataclasses import dataclass, replace
from typing import Final, Literal

Structure = Literal["json_schema", "json_object", "text"]
LimitName = Literal["max_completion_tokens", "max_tokens"]

_WEAKER: Final[dict[Structure, Structure]] = {"json_schema": "json_object", "json_object": "text"}
_OTHER_NAME: Final[dict[LimitName, LimitName]] = {
    "max_completion_tokens": "max_tokens",
    "max_tokens": "max_completion_tokens",
}
_WORDS_OF_STRUCTURE: Final = ("response_format", "json_schema", "json_object", "schema", "grammar", "structured")


@dataclass(frozen=True, slots=True)
class ModelProfile:
    """Which parameters an endpoint accepts.

    Attributes:
        limit_name: How it calls the limit of an answer's tokens.
        structure: How far it keeps an answer to a JSON schema.
        takes_temperature: False once it refused a temperature.
        limit_is_sure: True once it refused the other name of the limit.
    """

    limit_name: LimitName
    structure: Structure = "json_schema"
    takes_temperature: bool = True
    limit_is_sure: bool = False

    @classmethod
    def seed(cls, *, is_openai: bool) -> "ModelProfile":
        """Return what to try first: OpenAI's newer models know only the newer name of the limit, local servers the older."""
        return cls("max_completion_tokens" if is_openai else "max_tokens")

    def without_refused(self, refusal: str) -> "ModelProfile | None":
        """Return a profile without what the endpoint has just refused, `None` when nothing is left to try.

        Args:
            refusal: Text of the endpoint's error.
        """
        text = refusal.lower()
        if self.limit_name in text and not self.limit_is_sure:
            return replace(self, limit_name=_OTHER_NAME[self.limit_name], limit_is_sure=True)
        if "temperature" in text and self.takes_temperature:
            return replace(self, takes_temperature=False)
        if self.structure != "text" and any(word in text for word in _WORDS_OF_STRUCTURE):
            return replace(self, structure=_WEAKER[self.structure])
        return None
