"""TOML files that people write for Argus: read strictly, with errors that say where, what was expected and what was found.

Knows nothing of what is in them: that say the models of the package that a file belongs to.
"""

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from argus_assets.errors import BadSetting

_MAX_FILE_BYTES: Final = 1024**2
_LABELS: Final = ("name", "code", "file")
"""Keys that tell a person which entry of a list is meant, in the order in which they count."""

_Model = TypeVar("_Model", bound=BaseModel)


class Strict(BaseModel):
    """A table of the file: a key that it does not know is an error that names those that it does."""

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
        model: What may stand in it.
        what: What it declares, in the plural: `decoders`.
        setting: Where its path was given.
        guide: The page that explains its keys.

    Raises:
        BadSetting: There is no such file, or something in it cannot be used.
    """
    try:
        if path.stat().st_size > _MAX_FILE_BYTES:
            raise BadSetting(f"{path} is larger than {_MAX_FILE_BYTES} bytes.", help=f"It should declare {what} only.")
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise BadSetting(f"The {what} in {path} cannot be read: {why}.", help=f"Check {setting}.") from error
    except tomllib.TOMLDecodeError as error:
        raise BadSetting(f"{path} is no TOML: {error}.", help=f"See {guide} for an example.") from error
    try:
        return model.model_validate(document)
    except ValidationError as error:
        raise BadSetting(f"{path}: {_told(document, error)}.", help=f"See {guide} for what each key means.") from error


def _told(document: Mapping[str, Any], error: ValidationError) -> str:
    """The first thing that is wrong, with its place as it is written in the file."""
    first = error.errors(include_url=False)[0]
    steps = _written(document, first["loc"])
    place = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps)
    who = ""
    if len(steps) > 1 and isinstance(steps[1], int):
        entry = document[str(steps[0])][steps[1]]
        label = next((key for key in _LABELS if isinstance(entry, dict) and key in entry), None)
        who = "" if label is None else f" ({label} = {entry[label]!r})"
    said = first["msg"].removeprefix("Value error, ")
    found = first["input"]
    if first["type"] not in ("value_error", "missing") and isinstance(found, str | int | float):
        said += f", found {found!r}"
    return f"{place.lstrip('.') or 'the file'}{who}: {said}"


def _written(document: Any, loc: Sequence[str | int]) -> list[str | int]:  # noqa: ANN401 - whatever TOML holds
    """The steps of a place less those that name no key: which kind of table of several was tried."""
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
