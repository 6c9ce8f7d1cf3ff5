"""TOML files that people write for Argus: read strictly, with errors that say where, what was expected and what was found.

Knows nothing of their contents: the package that a file belongs to has the models.
"""

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from argus_assets.common.regular_file import NotRegularError, TooLargeError, read_regular
from argus_assets.errors import BadSetting

_MAX_FILE_BYTES: Final = 1024**2
_MAX_DOTS: Final = 100
"""Dots of one line: the parser's work grows with the square of a dotted key's parts, and a key stays on its line."""

_INTEGER_BITS: Final = 64
_MAX_SHOWN_CHARACTERS: Final = 200
_LABELS: Final = ("name", "code", "file")
"""Keys that identify an entry of a list to a person, most specific first."""

_Model = TypeVar("_Model", bound=BaseModel)


class Strict(BaseModel):
    """A table of the file: an unknown key is an error that names the known ones."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _known_keys(cls, given: Any) -> Any:  # noqa: ANN401 - whatever TOML holds
        if isinstance(given, Mapping):
            unknown = [str(key) for key in given if key not in cls.model_fields]
            if unknown:
                msg = f"unknown key {', '.join(map(repr, unknown))}; allowed are {', '.join(cls.model_fields)}"
                raise ValueError(msg)
        return given


def _many(given: object) -> object:
    return (given,) if isinstance(given, str) else given


Patterns = Annotated[tuple[Annotated[str, Field(min_length=1)], ...], BeforeValidator(_many)]
"""One text or several."""


def exactly_one(model: BaseModel, *names: str) -> None:
    """Require that one of these keys is given, for use in a validator.

    Raises:
        ValueError: None is, or several are.
    """
    given = [name for name in names if getattr(model, name) is not None]
    if len(given) != 1:
        msg = f"give one of {', '.join(names)}, found {' and '.join(given) or 'none'}"
        raise ValueError(msg)


def read_toml(path: Path, model: type[_Model], *, what: str, setting: str, guide: str) -> _Model:
    """Read a file into its model.

    Args:
        path: The file.
        model: What may be in it.
        what: What it declares, in the plural: `decoders`.
        setting: Where its path was given.
        guide: The page that explains its keys.

    Raises:
        BadSetting: There is no such file, or something in it cannot be used.
    """
    try:
        text = _read(path, what).decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise BadSetting(f"The {what} in {path} cannot be read: {why}.", help=f"Check {setting}.") from error
    for number, line in enumerate(text.split("\n"), start=1):
        if line.count(".") > _MAX_DOTS:
            raise BadSetting(
                f"{path}, line {number}: expected at most {_MAX_DOTS} dots in a line, found {line.count('.')}.",
                help=f"Write it in several lines. See {guide} for an example.",
            )
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise BadSetting(
            f"{path} is not valid TOML: {_cut(str(error))}.", help=f"See {guide} for an example."
        ) from error
    except RecursionError:
        raise BadSetting(f"{path} is nested too deeply to be parsed.", help=f"See {guide} for an example.") from None
    except ValueError as error:
        # TOML allows it and Python does not: an integer of thousands of digits, a date that does not exist.
        raise BadSetting(
            f"{path} has a value that cannot be used: {_cut(str(error))}.", help=f"See {guide} for an example."
        ) from error
    if _has_longer_integer(document):
        raise BadSetting(
            f"{path} has an integer that needs more than {_INTEGER_BITS} bits.", help=f"See {guide} for an example."
        )
    try:
        return model.model_validate(document)
    except ValidationError as error:
        raise BadSetting(
            f"{path}: {_first_error(document, error)}.", help=f"See {guide} for what each key means."
        ) from error
    except RecursionError:
        raise BadSetting(
            f"{path} is nested too deeply for {what}.", help=f"See {guide} for what each key means."
        ) from None


def _read(path: Path, what: str) -> bytes:
    """Return the bytes of a regular file of at most `_MAX_FILE_BYTES`.

    Raises:
        BadSetting: It is something else, or larger.
        OSError: It cannot be read.
    """
    try:
        return read_regular(path, _MAX_FILE_BYTES)
    except NotRegularError as error:
        raise BadSetting(f"{path} is not a file.", help=f"Name a TOML file that declares {what}.") from error
    except TooLargeError as error:
        raise BadSetting(
            f"{path} is larger than {_MAX_FILE_BYTES} bytes.", help=f"It should declare {what} only."
        ) from error


def _has_longer_integer(document: Mapping[str, Any]) -> bool:
    """Return whether an integer is beyond the 64 bits that TOML requires of its readers."""
    pending: list[Any] = [document]
    while pending:
        value = pending.pop()
        if isinstance(value, dict):
            pending.extend(value.values())
        elif isinstance(value, list):
            pending.extend(value)
        elif isinstance(value, int) and value.bit_length() >= _INTEGER_BITS:
            return True
    return False


def _cut(text: str) -> str:
    return text if len(text) <= _MAX_SHOWN_CHARACTERS else f"{text[:_MAX_SHOWN_CHARACTERS]}…"


def _first_error(document: Mapping[str, Any], error: ValidationError) -> str:
    """Describe the first error, with its place as it is written in the file."""
    first = error.errors(include_url=False)[0]
    steps = _written(document, first["loc"])
    place = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps)
    who = ""
    if len(steps) > 1 and isinstance(steps[1], int):
        entry = document[str(steps[0])][steps[1]]
        label = next((key for key in _LABELS if isinstance(entry, dict) and key in entry), None)
        who = "" if label is None else f" ({label} = {_cut(repr(entry[label]))})"
    said = first["msg"].removeprefix("Value error, ")
    found = first["input"]
    if first["type"] not in ("value_error", "missing") and isinstance(found, str | int | float):
        said = f"{_cut(said)}, found {_cut(repr(found))}"
    return f"{_cut(place.lstrip('.')) or 'the file'}{who}: {_cut(said)}"


def _written(document: Any, loc: Sequence[str | int]) -> list[str | int]:  # noqa: ANN401 - whatever TOML holds
    """Return the steps of a place without those that name no key but which kind of table was tried."""
    steps: list[str | int] = []
    at = document
    for number, step in enumerate(loc):
        if isinstance(at, Mapping) and isinstance(step, str) and step not in at and step in at.values():
            continue
        steps.append(step)
        try:
            at = at[step]
        except (KeyError, IndexError, TypeError):
            # A key that is missing, or the one value of what may be a list.
            return [*steps, *(s for s in loc[number + 1 :] if isinstance(s, str))]
    return steps
