"""Load the knowledge base: causes and the codes that indicate them, from the data files in `causes/`.

A code pattern is a code, or a prefix with `*` (`SPN100/*`, `U01*`). A cause with `cylinders` expands to one cause per
cylinder, with `{n}` as its number.
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
    """One root cause and how it manifests.

    Attributes:
        id: Identifier in the closed vocabulary of causes.
        shows: Primary codes of the cause: one of each group must be present. A group lists alternatives.
        explains: Codes that follow from the cause: consistent with it, but no proof.
        against: Codes that point to another cause.
        system: Part of the vehicle that is affected.
        kind: Kind of failure.
        min_ecus: Number of ECUs that must report a code of `shows`.
        min_codes: Number of different codes of `shows` that must be present, ignoring failure types.
        drivable: Whether the vehicle may be driven.
        actions: Checks, in order.
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
    """All causes, with a version that changes with their text."""

    causes: tuple[Cause, ...]
    version: str


def matches(code: str, patterns: tuple[str, ...]) -> bool:
    """Return whether a code matches one of the patterns."""
    return any(fnmatchcase(code, pattern) for pattern in patterns)


@cache
def load_knowledge() -> Knowledge:
    """Load the knowledge base that ships with Argus."""
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
    """Parse the causes of one file.

    Raises:
        BadSetting: An entry lacks a field, or a value is not one of its vocabulary.
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
        raise BadSetting(f"{where}: cause {entry.get('id', '?')!r} is missing the field {error}.") from error
    except ValueError as error:
        raise BadSetting(
            f"{where}: cause {entry.get('id', '?')!r}: {error}.",
            help=f"Systems are {', '.join(System)}; kinds are {', '.join(CauseKind)}.",
        ) from error
