"""A JSON schema for messages that come without one, from the first of them.

Types are merged over all samples: an integer and a number are a number, and what has several types has none, so that it
becomes a text. Messages behind the samples never change the columns: what does not fit is null.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from argus_assets.recordings.model import Limits

MAX_SAMPLES: Final = 64
"""Messages of a channel that are looked at: fields that appear later are rare, and each costs a parse in Python."""
MAX_SAMPLE_BYTES: Final = 1024**2
"""Bytes of all samples of a channel together."""
_TYPED: Final = ("properties", "items", "$ref", "allOf", "anyOf", "oneOf", "enum", "const")


def states_nothing(definition: bytes) -> bool:
    """Return whether a JSON schema leaves the fields of its messages open: it is empty, `{}` or any object."""
    if not definition.strip():
        return True
    if len(definition) > MAX_SAMPLE_BYTES:
        return False
    try:
        document = json.loads(definition)
    except (ValueError, RecursionError):
        return False
    if document is True:
        return True
    return (
        isinstance(document, dict)
        and document.get("type", "object") == "object"
        and not any(document.get(key) for key in _TYPED)
    )


def infer_schema(samples: Iterable[bytes], limits: Limits) -> tuple[bytes, int] | None:
    """Return a JSON schema that samples fit, and how many of them were JSON objects; `None` if none was or none had a field.

    Args:
        samples: Messages, at most `MAX_SAMPLES`.
        limits: Its `max_columns` and `max_depth` bound what is looked at.
    """
    whole = _Kind()
    left = [limits.max_columns]
    used = 0
    for sample in samples:
        try:
            value = json.loads(sample.decode("utf-8-sig"))
        except (ValueError, RecursionError):
            continue
        if isinstance(value, dict):
            used += 1
            whole.add(value, limits.max_depth, left)
    return (json.dumps(whole.schema()).encode(), used) if whole.fields else None


@dataclass(slots=True)
class _Kind:
    """What was seen at one place of the samples.

    Attributes:
        names: Types by the names of JSON schema.
        fields: Of objects.
        items: Of arrays.
    """

    names: set[str] = field(default_factory=set)
    fields: dict[str, "_Kind"] = field(default_factory=dict)
    items: "_Kind | None" = None

    def add(self, value: Any, depth: int, left: list[int]) -> None:  # noqa: ANN401 - any JSON value
        """Merge a value; what is too deep, and fields beyond those that are left, are texts and no columns."""
        if value is None:
            return
        if isinstance(value, dict):
            self.names.add("object")
            for name, inner in value.items() if depth else ():
                if name not in self.fields:
                    if not left[0] or not _is_text(name):
                        continue
                    left[0] -= 1
                    self.fields[name] = _Kind()
                self.fields[name].add(inner, depth - 1, left)
        elif isinstance(value, list):
            self.names.add("array")
            for inner in value if depth else ():
                self.items = self.items or _Kind()
                self.items.add(inner, depth - 1, left)
        else:
            names = {bool: "boolean", int: "integer", float: "number", str: "string"}
            self.names.add(names[type(value)])

    def schema(self) -> dict[str, Any]:
        """Return the JSON schema; one without a type for several types or none."""
        names = {"number"} if self.names == {"integer", "number"} else self.names
        if len(names) != 1:
            return {}
        (name,) = names
        if name == "object":
            return {"type": name, "properties": {k: v.schema() for k, v in self.fields.items()}} if self.fields else {}
        if name == "array":
            return {"type": name, "items": self.items.schema()} if self.items is not None else {}
        return {"type": name}


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
