"""ROS 2 message definitions (`.msg`, concatenated as MCAP and rosbag2 store them) as a tree of fields.

Syntax: docs.ros.org, "About ROS 2 interfaces". A file's types follow each other, each after a line of `=` and a line
`MSG: package/Type`.
"""

import re
from dataclasses import dataclass
from typing import Final

PRIMITIVES: Final = {
    "bool": "?", "byte": "u1", "char": "u1",
    "int8": "i1", "uint8": "u1", "int16": "i2", "uint16": "u2", "int32": "i4", "uint32": "u4",
    "int64": "i8", "uint64": "u8", "float32": "f4", "float64": "f8",
}  # fmt: skip
"""numpy type codes, without byte order."""

TIME: Final = "builtin_interfaces/Time"
DURATION: Final = "builtin_interfaces/Duration"
_TEXTS: Final = ("string", "wstring")
_SEPARATOR: Final = re.compile(r"^=+\s*$", re.MULTILINE)
_FIELD: Final = re.compile(
    r"^(?P<type>[A-Za-z][\w/]*)(?:<=\d+)?(?P<array>\[(?:<=)?(?P<size>\d*)\])?\s+(?P<name>[A-Za-z]\w*)\s*(?P<rest>.*)$"
)
_EMPTY_NAME: Final = "structure_needs_at_least_one_member"
_MAX_DEPTH: Final = 16
_MAX_ITEMS: Final = 2**28
_MAX_FIELDS: Final = 2048


class BadDefinition(ValueError):
    """A message definition that cannot be read."""


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a message.

    Attributes:
        name: Its name.
        primitive: numpy type code (`f8`), `string`, `wstring`, `time`, `duration`, or empty for a nested message.
        fields: Of a nested message.
        length: Items of a fixed array, `None` when it is none.
        is_sequence: A sequence with its length in the message.
    """

    name: str
    primitive: str
    fields: tuple["Field", ...] = ()
    length: int | None = None
    is_sequence: bool = False


_EMPTY: Final = Field(_EMPTY_NAME, "u1")
"""What rosidl puts into a type without fields; it is a byte of the message."""


def parse_message(name: str, definition: str) -> tuple[Field, ...]:
    """The fields of a message type.

    Args:
        name: `package/msg/Type`.
        definition: Its definition, followed by those of the types it uses.

    Raises:
        BadDefinition: A line is not of the format, or a type is missing.
    """
    first, *others = _SEPARATOR.split(definition)
    sources: dict[str, str] = {}
    for text in others:
        head, _, body = text.strip().partition("\n")
        if head.startswith("MSG:"):
            sources[_short(head.removeprefix("MSG:").strip())] = body
    sources[_short(name)] = first
    count = [0]

    def fields_of(type_name: str, depth: int) -> tuple[Field, ...]:
        if depth > _MAX_DEPTH:
            raise BadDefinition(f"{type_name} is nested more than {_MAX_DEPTH} deep")
        found: list[Field] = []
        for line in sources[type_name].splitlines():
            text = line.split("#", 1)[0].strip()
            match = _FIELD.match(text)
            if not text or (match is not None and match["rest"].startswith("=")):
                continue  # nothing, or a constant
            if match is None:
                raise BadDefinition(f"{type_name}: {text!r} is no field")
            count[0] += 1
            if count[0] > _MAX_FIELDS:
                raise BadDefinition(f"{name} has more than {_MAX_FIELDS} fields")
            found.append(_field(match, type_name, depth))
        return tuple(found) or (_EMPTY,)

    def _field(match: re.Match[str], owner: str, depth: int) -> Field:
        fixed = match["array"] is not None and match["size"] and "<=" not in match["array"]
        length = int(match["size"]) if fixed and len(match["size"]) <= len(str(_MAX_ITEMS)) else None
        if fixed and (length is None or length > _MAX_ITEMS):
            raise BadDefinition(f"{owner} has an array of {match['size'][:40]} items, more than {_MAX_ITEMS}")
        is_sequence = match["array"] is not None and length is None
        kind = match["type"]
        if kind in PRIMITIVES:
            return Field(match["name"], PRIMITIVES[kind], (), length, is_sequence)
        if kind in _TEXTS:
            return Field(match["name"], kind, (), length, is_sequence)
        resolved = _resolve(kind, owner, sources)
        if resolved in (TIME, DURATION):  # known without their definition
            return Field(match["name"], resolved.rpartition("/")[2].lower(), (), length, is_sequence)
        if resolved not in sources:
            raise BadDefinition(f"{owner} uses {kind}, which is not defined")
        return Field(match["name"], "", fields_of(resolved, depth + 1), length, is_sequence)

    return fields_of(_short(name), 0)


def _short(name: str) -> str:
    """`package/Type` of `package/msg/Type`."""
    return name.replace("/msg/", "/").replace("::msg::", "/").replace("::", "/")


def _resolve(kind: str, owner: str, known: dict[str, str]) -> str:
    if "/" in kind:
        return _short(kind)
    if kind == "Header":
        return "std_msgs/Header"
    if kind in ("time", "duration"):  # ROS 1 names
        return TIME if kind == "time" else DURATION
    local = f"{owner.partition('/')[0]}/{kind}"
    return local if local in known else next((k for k in known if k.rpartition("/")[2] == kind), local)
