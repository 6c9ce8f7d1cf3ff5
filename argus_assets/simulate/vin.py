"""Vehicle identification numbers with a valid check digit (49 CFR 565.15, ISO 3779)."""

from typing import Final

import numpy as np

_ALPHABET: Final = "ABCDEFGHJKLMNPRSTUVWXYZ0123456789"
_VALUE: Final = dict(
    zip("ABCDEFGHJKLMNPRSTUVWXYZ", (1, 2, 3, 4, 5, 6, 7, 8, 1, 2, 3, 4, 5, 7, 9, 2, 3, 4, 5, 6, 7, 8, 9), strict=True)
)
_WEIGHTS: Final = (8, 7, 6, 5, 4, 3, 2, 10, 0, 9, 8, 7, 6, 5, 4, 3, 2)


def check_digit(vin: str) -> str:
    """Return the check digit for position 9 of a VIN."""
    total = sum(w * (int(c) if c.isdigit() else _VALUE[c]) for w, c in zip(_WEIGHTS, vin, strict=True))
    return "X" if total % 11 == 10 else str(total % 11)


def make_vin(rng: np.random.Generator, maker: str = "1AR") -> str:
    """Make a VIN of no real vehicle."""
    body = (
        maker
        + "".join(_ALPHABET[i] for i in rng.integers(0, 23, 5))
        + "0"
        + "".join(str(i) for i in rng.integers(0, 10, 8))
    )
    return body[:8] + check_digit(body) + body[9:]
