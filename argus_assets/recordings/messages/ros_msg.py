"""ROS 2 message definitions (`.msg`, concatenated as MCAP and rosbag2 store them) as a tree of fields.

Syntax: docs.ros.org, "About ROS 2 interfaces". A file's types follow each other, each after a line of `=` and a line
`MSG: package/Type`. A definition is hostile until proven otherwise: each type is read once, and what a type would
unfold to is counted before anything is built of it.
"""

import re
from dataclasses import dataclass
from typing import Final

from argus_assets.common.texts import MAX_NAME_CHARS
from argus_assets.recordings.model import DEFAULT_LIMITS, Limits

PRIMITIVES: Final = {
    "bool": "?", "byte": "u1", "char": "u1",
    "int8": "i1", "uint8": "u1", "int16": "i2", "uint16": "u2", "int32": "i4", "uint32": "u4",
    "int64": "i8", "uint64": "u8", "float32": "f4", "float64": "f8",
}  # fmt: skip
"""numpy type codes, without byte order."""

TIME: Final = "builtin_interfaces/Time"
DURATION: Final = "builtin_interfaces/Duration"
HEADER: Final = "std_msgs/Header"
_HEADER_1: Final = "uint32 seq\ntime stamp\nstring frame_id"
_HEADER_2: Final = "builtin_interfaces/Time stamp\nstring frame_id"
"""The header of messages, for definitions that use it and leave it out."""
_TEXTS: Final = ("string", "wstring")
_SEPARATOR: Final = re.compile(r"^=+\s*$", re.MULTILINE)
_FIELD: Final = re.compile(
    r"^(?P<type>[A-Za-z][\w/]*)(?:<=\d+)?(?P<array>\[(?:<=)?(?P<size>\d*)\])?\s+(?P<name>[A-Za-z]\w*)\s*(?P<rest>.*)$"
)
_EMPTY_NAME: Final = "structure_needs_at_least_one_member"
_MAX_ITEMS: Final = 2**28
_MAX_TYPES: Final = 16_384
_MAX_MIN_BYTES: Final = 2**30
"""More than any message has; arrays of arrays may state more than 64 bits can count."""


class BadDefinition(ValueError):
    """A message definition that cannot be read."""


class DefinitionOverLimit(BadDefinition):
    """A message definition that unfolds to more than the limits allow."""


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a message.

    Attributes:
        name: Its name.
        primitive: numpy type code (`f8`), `string`, `wstring`, `time`, `duration`, or empty for a nested message.
        fields: Of a nested message.
        length: Items of a fixed array, else `None`.
        is_sequence: A sequence with its length in the message.
    """

    name: str
    primitive: str
    fields: tuple["Field", ...] = ()
    length: int | None = None
    is_sequence: bool = False


_EMPTY: Final = Field(_EMPTY_NAME, "u1")
"""The field that rosidl adds to a type without fields; it is a byte of the message."""


@dataclass(frozen=True, slots=True)
class _Type:
    """A type that has been read.

    Attributes:
        columns: Columns that its fields unfold to, those inside of sequences too.
        height: How deep it is nested, itself included.
        longest: Characters of the longest path of a column.
    """

    fields: tuple[Field, ...]
    columns: int
    height: int
    longest: int


_PLAIN: Final = _Type((), 1, 0, 0)


def parse_message(
    name: str, definition: str, limits: Limits = DEFAULT_LIMITS, *, is_ros1: bool = False
) -> tuple[Field, ...]:
    """Return the fields of a message type.

    Args:
        name: `package/msg/Type`.
        definition: Its definition, followed by those of the types it uses.
        limits: Its `max_columns` and `max_depth` bound what the type unfolds to.
        is_ros1: It is of ROS 1, where a type without fields has no bytes and `byte` is signed.

    Raises:
        BadDefinition: A line is not of the format, a type is missing, or it contains itself.
        DefinitionOverLimit: More columns, deeper, or with longer names than the limits allow.
    """
    first, *others = _SEPARATOR.split(definition, maxsplit=_MAX_TYPES)
    if len(others) == _MAX_TYPES:
        raise DefinitionOverLimit(f"{_MAX_TYPES:,} types or more, at most {_MAX_TYPES - 1:,}")
    sources: dict[str, str] = {}
    for text in others:
        head, _, body = text.strip().partition("\n")
        if head.startswith("MSG:"):
            sources[_short(head.removeprefix("MSG:").strip())] = body
    sources[_short(name)] = first
    return _Parser(sources, limits, is_ros1=is_ros1).type_of(_short(name), 0).fields


class _Parser:
    """Reads the types of one definition, each once."""

    def __init__(self, sources: dict[str, str], limits: Limits, *, is_ros1: bool) -> None:
        self._sources = sources
        self._is_ros1 = is_ros1
        self._limits = limits
        self._by_name: dict[str, str] = {}
        for key in sources:
            self._by_name.setdefault(key.rpartition("/")[2], key)
        self._read: dict[str, _Type] = {}
        self._open: set[str] = set()

    def type_of(self, type_name: str, depth: int) -> _Type:
        known = self._read.get(type_name)
        if known is None:
            if type_name in self._open:
                raise BadDefinition(f"{_cut(type_name)} contains itself")
            if depth > self._limits.max_depth:
                raise DefinitionOverLimit(f"nested more than {self._limits.max_depth} deep")
            self._open.add(type_name)
            known = self._read[type_name] = self._parse(type_name, depth)
            self._open.remove(type_name)
        if depth + known.height > self._limits.max_depth + 1:
            raise DefinitionOverLimit(f"nested more than {self._limits.max_depth} deep")
        return known

    def _parse(self, type_name: str, depth: int) -> _Type:
        found: dict[str, Field] = {}
        columns = height = longest = 0
        for line in self._sources[type_name].splitlines():
            text = line.split("#", 1)[0].strip()
            match = _FIELD.match(text)
            if not text or (match is not None and match["rest"].startswith("=")):
                continue  # nothing, or a constant
            if match is None:
                raise BadDefinition(f"{_cut(type_name)}: {_cut(text)!r} is not a field")
            if match["name"] in found:
                raise BadDefinition(f"{_cut(type_name)} has two fields named {_cut(match['name'])}")
            field, inner = self._field(match, type_name, depth)
            if field.length == 0:
                continue  # an array of no items has no bytes
            found[field.name] = field
            many = field.is_sequence or field.length is not None
            columns += inner.columns + (1 if field.is_sequence or (many and inner is not _PLAIN) else 0)
            height = max(height, inner.height)
            longest = max(longest, len(field.name) + 1 + inner.longest)
            if columns > self._limits.max_columns:
                raise DefinitionOverLimit(f"more than {self._limits.max_columns:,} columns")
            if longest > MAX_NAME_CHARS + 1:
                raise DefinitionOverLimit(f"a field's name of more than {MAX_NAME_CHARS} characters")
        empty = () if self._is_ros1 else (_EMPTY,)
        return _Type(tuple(found.values()) or empty, max(columns, 1), height + 1, longest)

    def _field(self, match: re.Match[str], owner: str, depth: int) -> tuple[Field, _Type]:
        fixed = match["array"] is not None and match["size"] and "<=" not in match["array"]
        length = int(match["size"]) if fixed and len(match["size"]) <= len(str(_MAX_ITEMS)) else None
        if fixed and (length is None or length > _MAX_ITEMS):
            raise BadDefinition(f"{_cut(owner)} has an array of {match['size'][:40]} items, more than {_MAX_ITEMS}")
        is_sequence = match["array"] is not None and length is None
        kind = match["type"]
        if self._is_ros1 and kind in ("time", "duration"):
            return Field(match["name"], kind, (), length, is_sequence), _PLAIN
        if self._is_ros1 and kind == "byte":
            return Field(match["name"], "i1", (), length, is_sequence), _PLAIN
        if kind in PRIMITIVES:
            return Field(match["name"], PRIMITIVES[kind], (), length, is_sequence), _PLAIN
        if kind in _TEXTS:
            return Field(match["name"], kind, (), length, is_sequence), _PLAIN
        resolved = self._resolve(kind, owner)
        if resolved in (TIME, DURATION):  # known without their definition
            return Field(match["name"], resolved.rpartition("/")[2].lower(), (), length, is_sequence), _PLAIN
        if resolved == HEADER and resolved not in self._sources:
            self._sources[HEADER] = _HEADER_1 if self._is_ros1 else _HEADER_2
        if resolved not in self._sources:
            raise BadDefinition(f"{_cut(owner)} uses {_cut(kind)}, which is not defined")
        inner = self.type_of(resolved, depth + 1)
        return Field(match["name"], "", inner.fields, length, is_sequence), inner

    def _resolve(self, kind: str, owner: str) -> str:
        if "/" in kind:
            return _short(kind)
        if kind == "Header":
            return "std_msgs/Header"
        if kind in ("time", "duration"):  # ROS 1 names
            return TIME if kind == "time" else DURATION
        local = f"{owner.partition('/')[0]}/{kind}"
        return local if local in self._sources else self._by_name.get(kind, local)


def count_columns(fields: tuple[Field, ...]) -> int:
    """Count the columns that parsed fields unfold to, those inside of sequences too, up to `max_columns`."""
    return sum(
        (count_columns(field.fields) if field.fields else 1)
        + (field.is_sequence or (field.length is not None and not field.primitive))
        for field in fields
    )


def min_bytes(fields: tuple[Field, ...]) -> int:
    """Return the bytes that a message of these fields has at least, without padding, up to `_MAX_MIN_BYTES`."""
    return min(_MAX_MIN_BYTES, sum(_min_bytes_of(field) for field in fields))


def _min_bytes_of(field: Field) -> int:
    if field.is_sequence or (field.primitive in _TEXTS and field.length is None):
        return 4
    if field.fields:
        one = min_bytes(field.fields)
    else:
        one = {"string": 4, "wstring": 4, "time": 8, "duration": 8}.get(field.primitive) or _size(field.primitive)
    return one * (1 if field.length is None else field.length)


def _size(primitive: str) -> int:
    return 1 if primitive == "?" else int(primitive[1:])


def _cut(text: str) -> str:
    """Return the start of a text, for an error message."""
    return text if len(text) <= 80 else f"{text[:80]}…"


def _short(name: str) -> str:
    """Shorten `package/msg/Type` to `package/Type`."""
    return name.replace("/msg/", "/").replace("::msg::", "/").replace("::", "/")
