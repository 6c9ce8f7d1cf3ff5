"""Synthetic cases: clustered by cause as the catalogue's effects are, with noise.

A case has a code of each effect that its cause always has (in one case of ten one is missing, where there are several), each
other one with a chance of a half, and on average two codes of the platform's everyday chatter. Counts are lognormal.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Final

import numpy as np

from argus_assets.diagnosis.ports import Case, CodeCount
from argus_assets.diagnosis.vehicle.catalogue import STRENGTHS, Catalogue, Cause, Effect, load_catalogue

RELEASES: Final = tuple(f"2026.{n}" for n in range(1, 13))
DAYS: Final = 360.0
OWN_LOG_MEAN: Final = 1.5
START: Final = datetime(2026, 1, 1, tzinfo=UTC)
_CHATTER: Final = 150
_SUFFIXES: Final = ("87", "00", "1F", "08", "29")


def make_cases(count: int, seed: int, *, chatter_log_mean: float = OWN_LOG_MEAN, prefix: str = "c") -> Iterator[Case]:
    """Cases in order of time, over a year.

    Args:
        count: How many.
        seed: The same seed makes the same cases.
        chatter_log_mean: How often a code of the chatter comes: mean of the logarithm.
        prefix: What ids begin with.
    """
    rng = np.random.default_rng(seed)
    catalogue = load_catalogue()
    causes = [cause for cause in catalogue.causes if _signature(cause, catalogue)[0]]
    popularity = rng.permutation(1.0 / np.arange(1, len(causes) + 1) ** 0.7)
    popularity /= popularity.sum()
    chatter = {platform: _chatter(platform) for platform in ("car", "truck", "av")}
    common = 1.0 / np.arange(1, _CHATTER + 1)
    common /= common.sum()
    for n in range(count):
        cause = causes[rng.choice(len(causes), p=popularity)]
        at = START + timedelta(days=DAYS * n / count)
        signature = _signature(cause, catalogue)
        platform = _platform(signature[0][0], rng)
        codes = _codes(signature, rng)
        for k in rng.choice(_CHATTER, size=rng.poisson(2.0), p=common):
            codes.setdefault(chatter[platform][k], int(rng.lognormal(chatter_log_mean, 1.0)) + 1)
        yield Case(
            id=f"{prefix}{n}", partition=f"2026-01-01_v{n}_{prefix}", platform=platform,
            release=RELEASES[min(11, int(12 * n / count))], recorded_at=at,
            codes=tuple(CodeCount(code=c, ecu="unit", occurrences=k) for c, k in codes.items()),
            signature=f"{cause.id}:{','.join(sorted(codes))}", cause=cause.id, title=cause.title, confirmed_at=at + timedelta(hours=6),
        )  # fmt: skip


def _signature(cause: Cause, catalogue: Catalogue) -> tuple[list[str], list[str]]:
    """Patterns of codes that a cause always shows, and of those that may follow."""
    shows: list[str] = []
    follows: list[str] = []
    for effect in map(Effect.parse, cause.effects):
        pattern = effect.selector.code or _code_of(effect.selector.component, catalogue)
        if pattern:
            (shows if effect.chance >= STRENGTHS["A"] else follows).append(pattern)
    return shows, follows


def _code_of(component: str, catalogue: Catalogue) -> str:
    """A code of a component."""
    known = catalogue.components.get(component)
    if known is None or not known.codes:
        return ""
    code = known.codes[0].partition("-")[0]
    return f"{code}/FMI" if code.startswith("SPN") else code


def _codes(signature: tuple[list[str], list[str]], rng: np.random.Generator) -> dict[str, int]:
    shown = [_one(pattern, rng) for pattern in signature[0]]
    if len(shown) > 1 and rng.random() < 0.1:
        shown.pop()
    follow = [_one(pattern, rng) for pattern in signature[1] if rng.random() < 0.5]
    return {code: int(rng.lognormal(OWN_LOG_MEAN, 1.0)) + 1 for code in (*shown, *follow)}


def _one(pattern: str, rng: np.random.Generator) -> str:
    """A code that fits a pattern."""
    if pattern.endswith("/FMI"):
        return f"{pattern}{rng.integers(8)}"
    if not pattern.endswith("*"):
        return pattern
    stem = pattern[:-1]
    if stem.endswith("-"):
        return f"{stem}{_SUFFIXES[rng.integers(5)]}"
    if stem.endswith(("/", "FMI")):
        return f"{stem.removesuffix('FMI')}FMI{rng.integers(8)}"
    if stem in ("U", "U01"):
        return f"U01{rng.integers(10)}{rng.integers(10)}-{_SUFFIXES[rng.integers(5)]}"
    return f"{stem}_{rng.integers(5)}" if len(stem) > 5 else f"{stem}-{_SUFFIXES[rng.integers(5)]}"


def _platform(first: str, rng: np.random.Generator) -> str:
    if first.startswith("SPN"):
        return "truck"
    if first[0] in "PCBU" and first[1].isdigit():
        return "car"
    return "av" if first[0] in "ER" else ("car", "truck")[rng.integers(2)]


def _chatter(platform: str) -> list[str]:
    if platform == "truck":
        return [f"SPN{600 + n // 3}/FMI{n % 3}" for n in range(_CHATTER)]
    if platform == "car":
        return [f"{'PCBU'[n % 4]}1{n:03d}" for n in range(_CHATTER)]
    return [f"LOG_NODE_{n:08x}" for n in range(_CHATTER)]
