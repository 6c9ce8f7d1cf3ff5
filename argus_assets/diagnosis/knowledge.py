"""The knowledge base: causes with the codes that show them. Data files in `causes/`, in our own words.

A code pattern is a code, or one with `*` for any rest (`SPN100/*`, `U01*`). A cause with `cylinders` stands for one
cause per cylinder, with `{n}` for its number.
"""

import tomllib
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from hashlib import sha256
from importlib.resources import files
from typing import Any

from argus_assets.diagnosis.vocabulary import CauseKind, Drivable, System
from argus_assets.errors import BadSetting


@dataclass(frozen=True, slots=True)
class Cause:
    """One root cause and how it shows.

    Attributes:
        id: Identifier in the closed vocabulary of causes.
        shows: Codes that are the cause's own voice; one of each group has to be there. A group is alternatives.
        explains: Codes that follow from it: they fit, and prove nothing.
        against: Codes that speak for another cause.
        system: What part of the vehicle it is about.
        kind: What has gone wrong with it.
        min_ecus: How many ECUs have to report a code of `shows`.
        min_codes: How many different codes of `shows` have to be there, failure types left aside.
        drivable: Whether the vehicle may be driven.
        actions: What to check, in order.
    """

    id: str
    title: str
    explanation: str
    system: System
    kind: CauseKind
    shows: tuple[tuple[str, ...], ...]
    explains: tuple[str, ...]
    against: tuple[str, ...]
    min_ecus: int
    min_codes: int
    drivable: Drivable
    actions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Knowledge:
    """All causes, and a version that changes with their text."""

    causes: tuple[Cause, ...]
    version: str


def matches(code: str, patterns: tuple[str, ...]) -> bool:
    """Whether a code fits one of the patterns."""
    return any(fnmatchcase(code, pattern) for pattern in patterns)


@cache
def load_knowledge() -> Knowledge:
    """The knowledge base that comes with Argus."""
    folder = files("argus_assets.diagnosis") / "causes"
    texts = {entry.name: entry.read_text("utf-8") for entry in folder.iterdir() if entry.name.endswith(".toml")}
    causes = [cause for name in sorted(texts) for cause in parse_causes(texts[name], where=name)]
    ids = [cause.id for cause in causes]
    doubled = sorted({i for i in ids if ids.count(i) > 1})
    if doubled:
        raise BadSetting(f"The knowledge base has causes more than once: {', '.join(doubled)}.")
    version = sha256("".join(texts[name] for name in sorted(texts)).encode()).hexdigest()[:12]
    return Knowledge(tuple(causes), version)


def parse_causes(text: str, *, where: str) -> list[Cause]:
    """Causes of one file.

    Raises:
        BadSetting: An entry lacks a field or has one that is unknown.
    """
    causes: list[Cause] = []
    for entry in tomllib.loads(text)["cause"]:
        cylinders = entry.pop("cylinders", None)
        numbers = range(1, cylinders + 1) if cylinders else (0,)
        causes.extend(_cause(_filled(entry, n) if n else entry, where) for n in numbers)
    return causes


def _filled(value: Any, n: int) -> Any:  # noqa: ANN401 - TOML data
    if isinstance(value, str):
        return value.replace("{n}", str(n))
    if isinstance(value, list):
        return [_filled(v, n) for v in value]
    if isinstance(value, dict):
        return {k: _filled(v, n) for k, v in value.items()}
    return value


def _cause(entry: dict[str, Any], where: str) -> Cause:
    try:
        return Cause(
            id=entry["id"],
            title=entry["title"],
            explanation=entry["explanation"],
            system=System(entry["system"]),
            kind=CauseKind(entry["kind"]),
            shows=tuple(tuple(group.split(" or ")) for group in entry["shows"]),
            explains=tuple(entry.get("explains", ())),
            against=tuple(entry.get("against", ())),
            min_ecus=entry.get("min_ecus", 1),
            min_codes=entry.get("min_codes", 1),
            drivable=entry["drivable"],
            actions=tuple(entry["actions"]),
        )
    except KeyError as error:
        raise BadSetting(f"{where}: cause {entry.get('id', '?')!r} lacks the field {error}.") from error
    except ValueError as error:
        raise BadSetting(
            f"{where}: cause {entry.get('id', '?')!r}: {error}.",
            help=f"Systems are {', '.join(System)}; kinds are {', '.join(CauseKind)}.",
        ) from error
