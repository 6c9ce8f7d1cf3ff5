"""Price tokens: by the operator's own table (for local models), then by the public prices that `genai-prices` ships.

An unknown price is `None`, never zero. Nothing is downloaded.
"""

from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field

from argus_assets.common.config_files import Strict, read_toml
from argus_assets.diagnosis.ports import Usage

_MILLION = 1_000_000


class Price(Strict):
    """Price of a model in US dollars per million tokens.

    Attributes:
        model: Name of the model, or a pattern with `*`.
        cached_input_per_million: Price of prompt tokens from the server's cache; `input_per_million` unless given.
    """

    model: Annotated[str, Field(min_length=1)]
    input_per_million: Annotated[float, Field(ge=0)]
    output_per_million: Annotated[float, Field(ge=0)]
    cached_input_per_million: Annotated[float, Field(ge=0)] | None = None

    def of(self, usage: Usage) -> float:
        """Return the cost in US dollars."""
        cached = self.input_per_million if self.cached_input_per_million is None else self.cached_input_per_million
        fresh = usage.prompt_tokens - usage.cached_tokens
        return (
            fresh * self.input_per_million
            + usage.cached_tokens * cached
            + usage.completion_tokens * self.output_per_million
        ) / _MILLION


class _PriceFile(Strict):
    price: tuple[Price, ...] = ()


@dataclass(frozen=True, slots=True)
class Prices:
    """Active prices.

    Attributes:
        own: Prices of the operator's table; the first match wins, before all public prices.
    """

    own: tuple[Price, ...] = ()

    @classmethod
    def load(cls, path: Path | None) -> Self:
        """Load the operator's table of prices.

        Raises:
            BadSetting: The file cannot be used.
        """
        if path is None:
            return cls()
        read = read_toml(
            path, _PriceFile, what="the price table", setting="ARGUS_LLM_PRICES", guide="docs/diagnosis.md"
        )
        return cls(read.price)

    def cost_usd(self, model: str, usage: Usage) -> float | None:
        """Return the cost of tokens in US dollars, or `None` if the price is unknown."""
        for price in self.own:
            if fnmatchcase(model, price.model):
                return price.of(usage)
        if not usage.total:
            return 0.0
        from genai_prices import Usage as PricedUsage  # takes 0.1 s to import
        from genai_prices import calc_price

        try:
            priced = calc_price(
                PricedUsage(
                    input_tokens=usage.prompt_tokens,
                    cache_read_tokens=usage.cached_tokens,
                    output_tokens=usage.completion_tokens,
                ),
                model_ref=model,
            )
        except LookupError:
            return None
        return float(priced.total_price)
