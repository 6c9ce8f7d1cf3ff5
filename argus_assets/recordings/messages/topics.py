"""Topics as typed columns: messages by their schema, flattened to one table for each topic.

Columns are named by the path of a field (`pose.position.x`). The encodings: CDR with a `.msg` or IDL definition (ROS 2, DDS),
ROS 1 with its definition, JSON with a JSON schema, protobuf with its file descriptors. A message that contradicts its schema is left out
of the table and counted; the frame table keeps its bytes.

Schemas and messages are hostile until proven otherwise. What a schema unfolds to is counted before it is built, a type
that contains itself is not unfolded, and work that does not follow from a message's bytes is spent from the budget of
the file before it is done.
"""

import json
import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
import polars as pl

from argus_assets.common.texts import MAX_NAME_CHARS
from argus_assets.recordings.budget import Budget
from argus_assets.recordings.columns import I64, U8, Flags, as_text, binary_series
from argus_assets.recordings.messages.cdr import MAX_TEXT
from argus_assets.recordings.messages.cdr_columns import decode_columns
from argus_assets.recordings.messages.idl import to_message
from argus_assets.recordings.messages.ros_msg import (
    BadDefinition,
    DefinitionOverLimit,
    count_columns,
    min_bytes,
    parse_message,
)
from argus_assets.recordings.messages.standard import has_too_many
from argus_assets.recordings.model import Limits

if TYPE_CHECKING:
    from google.protobuf.descriptor import Descriptor, FieldDescriptor
    from google.protobuf.message import Message

Spend = Callable[[int], None]
"""Called with values of `Limits.max_values` before they are spent; raises `OverBudget`."""

_NOT_ONE_VALUE: Final = r"^\s*$|\}\s*\{"
_TIME: Final = pl.Datetime("ns", "UTC")
_DURATION: Final = pl.Duration("ns")
_MAX_NS: Final = 2**63 - 1
_MAX_SECONDS: Final = 9_200_000_000
"""Seconds that fit into 64 bits of nanoseconds, with room for a nanosecond field of 32 bits."""


class OverBudget(Exception):
    """The file has spent its values: the messages at hand are not decoded."""


@dataclass(frozen=True, slots=True, eq=False)
class Flattener:
    """Turns messages of one schema into columns.

    Attributes:
        decode: (buffer, starts, sizes, spend) → one row for each message, and which of them are readable.
        columns: Columns of the table, counted with those inside of lists.
        min_bytes: A shorter message is not of the schema.
        note: What of the schema has no columns of its own, and why; empty where all of it has.
    """

    decode: Callable[[U8, I64, I64, Spend], tuple[pl.DataFrame, Flags]]
    columns: int
    min_bytes: int
    budget: Budget
    schema: str
    note: str = ""

    def __call__(self, buffer: U8, starts: I64, sizes: I64) -> tuple[pl.DataFrame, Flags]:
        """Decode messages.

        Raises:
            OverBudget: They would cost more than the file has left.
        """
        self.spend(self.columns * len(starts))
        return self.decode(buffer, starts, sizes, self.spend)

    def schema_of_columns(self) -> Mapping[str, pl.DataType]:
        """Return the columns and their types."""
        nothing = np.zeros(0, np.int64)
        return dict(self.decode(np.zeros(4, np.uint8), nothing, nothing, lambda _: None)[0].schema)

    def spend(self, values: int) -> None:
        """Spend values of the file's budget.

        Raises:
            OverBudget: There are not as many.
        """
        if not self.budget.take("values", values, name=self.schema):
            raise OverBudget


def _pass(_: BadDefinition) -> None:
    """Report nothing."""


def can_flatten(encoding: str, schema_encoding: str, definition: bytes) -> bool:
    """Return whether messages of an encoding can become columns by such a schema."""
    return (encoding, schema_encoding) in _READERS and bool(definition.strip())


def flattener(
    encoding: str,
    schema: str,
    schema_encoding: str,
    definition: bytes,
    *,
    budget: Budget | None = None,
    report: Callable[[BadDefinition], None] = _pass,
) -> Flattener | None:
    """Return what turns messages of a schema into columns; `None` where the schema cannot be used.

    Args:
        encoding: Of the messages: `cdr`, `ros1`, `json` or `protobuf`.
        schema: Name of the type.
        schema_encoding: `ros2msg`, `ros2idl`, `omgidl`, `ros1msg`, `jsonschema` or `protobuf`.
        definition: The schema itself.
        budget: Of the file.
        report: Called with why the schema cannot be used, where it is one of these kinds.
    """
    read = _READERS.get((encoding, schema_encoding))
    if read is None or not definition.strip():
        return None
    budget = budget or Budget()
    try:
        made = read(schema, definition, budget.limits)
    except BadDefinition as error:
        report(error)
        return None
    return Flattener(made.decode, made.columns, made.min_bytes, budget, schema, made.note) if made.columns else None


class _Read(NamedTuple):
    """The decoder of messages, its number of columns, the smallest size of a message, and `Flattener.note`."""

    decode: Callable[[U8, I64, I64, Spend], tuple[pl.DataFrame, Flags]]
    columns: int
    min_bytes: int
    note: str = ""


def _of_ros(schema: str, definition: bytes, limits: Limits) -> _Read:
    return _of_message(schema, _utf8(definition), limits)


def _of_ros1(schema: str, definition: bytes, limits: Limits) -> _Read:
    return _of_message(schema, _utf8(definition), limits, is_ros1=True)


def _of_idl(schema: str, definition: bytes, limits: Limits) -> _Read:
    return _of_message(schema, to_message(schema, _utf8(definition)), limits)


def _utf8(definition: bytes) -> str:
    try:
        return definition.decode()
    except UnicodeDecodeError as error:
        raise BadDefinition(f"not UTF-8: {error.reason} at byte {error.start}") from error


def _of_message(schema: str, definition: str, limits: Limits, *, is_ros1: bool = False) -> _Read:
    fields = parse_message(schema, definition, limits, is_ros1=is_ros1)

    def decode(buffer: U8, starts: I64, sizes: I64, spend: Spend) -> tuple[pl.DataFrame, Flags]:
        return decode_columns(buffer, starts, sizes, fields, spend, is_ros1=is_ros1)

    empty, _ = decode(np.zeros(4, np.uint8), np.zeros(0, np.int64), np.zeros(0, np.int64), lambda _: None)
    return _Read(decode, count_columns(fields) if empty.width else 0, (0 if is_ros1 else 4) + min_bytes(fields))


def _selects_others(name: str) -> bool:
    """Return whether polars takes a name for a pattern of columns: `*`, or an expression between `^` and `$`."""
    return name == "*" or (name.startswith("^") and name.endswith("$"))


class _Names:
    """Names of columns, each only once and none too long."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._taken: set[str] = set()
        self.count = 0

    def take(self, name: str) -> str:
        """Return a free name for a column of the table."""
        self.more(name)
        if _selects_others(name):
            name = f"_{name}"
        while name in self._taken:
            name += "_"
        self._taken.add(name)
        return name

    def more(self, name: str) -> None:
        """Count a column, of the table or inside of a list.

        Raises:
            DefinitionOverLimit: It is one too many, or its name too long.
        """
        self.count += 1
        if self.count > self.limits.max_columns:
            raise DefinitionOverLimit(f"more than {self.limits.max_columns:,} columns")
        if len(name) > MAX_NAME_CHARS:
            raise DefinitionOverLimit(f"a field's name of more than {MAX_NAME_CHARS} characters")


# ---------------------------------------------------------------------------------------------- JSON


_TRY_VALUES: Final = 500
_TRY_PER_COLUMN: Final = 25
"""Values that a try to decode some messages costs beside its cells, and for each column."""
_NESTED_VALUES: Final = 3
"""Values that an array or an object costs."""
_ROW_VALUES: Final = 25
"""Values that handling one message in Python costs, beside one for each of its bytes."""
_SLICE_BYTES: Final = 1024**2
"""Text that polars is given at a time: it takes up to a hundred bytes of memory for each."""


def _of_json(schema: str, definition: bytes, limits: Limits) -> _Read:  # noqa: ARG001 - the others need the name
    try:
        document = json.loads(definition)
    except (ValueError, RecursionError) as error:
        raise BadDefinition(f"not JSON: {str(error)[:200] or type(error).__name__}") from error
    names = _Names(limits)
    dtype = _json_dtype(document, "", 0, names, _References(document))
    if not isinstance(dtype, pl.Struct):
        raise BadDefinition("not an object with properties")
    columns = _json_columns(dtype, pl.col(""), "", _Names(limits))

    def decode(buffer: U8, starts: I64, sizes: I64, spend: Spend) -> tuple[pl.DataFrame, Flags]:
        wide = [
            i for i in np.flatnonzero(sizes > _SLICE_BYTES) if has_too_many(buffer[starts[i] : starts[i] + sizes[i]])
        ]
        sizes = sizes.copy()
        sizes[wide] = 0
        raw, slices = binary_series(buffer, starts, sizes), np.cumsum(sizes) // _SLICE_BYTES
        bounds = [0, *(np.flatnonzero(np.diff(slices)) + 1).tolist(), len(raw)]
        parts = [_decode_json(raw[low:high], dtype, names.count, spend) for low, high in pairwise(bounds)]
        decoded = pl.concat([part for part, _ in parts])
        ok = np.concatenate([good for _, good in parts])
        return pl.DataFrame({"": decoded}).select(columns), np.asarray(ok & decoded.is_not_null().to_numpy())

    return _Read(decode, names.count, 0)


class _References:
    """The definitions that a JSON schema refers to: `$ref` within the document, `allOf`, and the one choice that is not null."""

    def __init__(self, document: Any) -> None:  # noqa: ANN401 - any JSON value
        self._document = document
        self._left = _MAX_REFERENCES

    def resolved(self, schema: Any, open_: frozenset[str]) -> tuple[Any, frozenset[str]]:  # noqa: ANN401
        """Return a schema with what it refers to, and the references that lie open; one to itself is free of type."""
        while isinstance(schema, dict) and isinstance(target := schema.get("$ref"), str):
            self._left -= 1
            if target in open_ or self._left < 0:
                return {}, open_
            open_ |= {target}
            schema = self._at(target)
        if not isinstance(schema, dict):
            return schema, open_
        if isinstance(parts := schema.get("allOf"), list):
            schema, open_ = self._merged(schema, parts, open_)
        for choice in ("anyOf", "oneOf"):
            if isinstance(options := schema.get(choice), list) and "type" not in schema:
                real = [o for o in options[:_MAX_CHOICES] if not (isinstance(o, dict) and o.get("type") == "null")]
                if len(real) == 1:
                    return self.resolved(real[0], open_)
        return schema, open_

    def _merged(
        self, schema: dict[str, Any], parts: list[Any], open_: frozenset[str]
    ) -> tuple[dict[str, Any], frozenset[str]]:
        merged = {key: value for key, value in schema.items() if key != "allOf"}
        properties = dict(merged.get("properties") or {}) if isinstance(merged.get("properties"), dict) else {}
        for part in parts[:_MAX_CHOICES]:
            self._left -= 1
            if self._left < 0:
                break
            inner, open_ = self.resolved(part, open_)
            if isinstance(inner, dict):
                more = inner.get("properties")
                properties |= more if isinstance(more, dict) else {}
                merged = {**{k: v for k, v in inner.items() if k != "properties"}, **merged}
        if properties:
            merged |= {"properties": properties, "type": merged.get("type", "object")}
        return merged, open_

    def _at(self, target: str) -> Any:  # noqa: ANN401
        if not target.startswith("#"):
            return {}  # another document
        found = self._document
        for part in target[1:].split("/")[1:_MAX_REFERENCE_PARTS]:
            name = part.replace("~1", "/").replace("~0", "~")
            found = found.get(name) if isinstance(found, dict) else None
        return found


_MAX_REFERENCES: Final = 10_000
_MAX_CHOICES: Final = 64
_MAX_REFERENCE_PARTS: Final = 32
"""References of a schema that are followed, alternatives of one, and parts of a path: more than any schema has."""


def _json_dtype(  # noqa: PLR0917 - called here and by itself
    schema: Any,  # noqa: ANN401 - any JSON value
    path: str,
    depth: int,
    names: _Names,
    references: _References,
    open_: frozenset[str] = frozenset({"#"}),
) -> pl.DataType:
    """Return the polars type of a JSON schema; text for what has no single type, or is nested too deep."""
    schema, open_ = references.resolved(schema, open_)
    kinds = schema.get("type") if isinstance(schema, dict) else None
    if kinds is None and isinstance(schema, dict):
        kinds = _untyped(schema)
    kind = next((k for k in kinds if k != "null"), None) if isinstance(kinds, list) else kinds
    if isinstance(schema, dict) and depth <= names.limits.max_depth:
        properties, items = schema.get("properties"), schema.get("items")
        if kind == "object" and properties and isinstance(properties, dict):
            fields: dict[str, pl.DataType] = {}
            for name, value in properties.items():
                try:
                    name.encode()
                except UnicodeEncodeError as error:
                    raise BadDefinition("a property whose name is not a text") from error
                inner = f"{path}.{name}" if path else name
                fields[name] = _json_dtype(value, inner, depth + 1, names, references, open_)
            return pl.Struct(fields)
        if kind == "array" and isinstance(items, dict):
            return pl.List(_json_dtype(items, path, depth + 1, names, references, open_))
    names.more(path)
    plain = {"number": pl.Float64(), "integer": pl.Int64(), "boolean": pl.Boolean()}
    return plain.get(kind, pl.String()) if isinstance(kind, str) else pl.String()


def _untyped(schema: dict[str, Any]) -> str | None:
    """Return the type that a schema has without stating it: by its properties, its items, or the values of its list."""
    if isinstance(schema.get("properties"), dict):
        return "object"
    if isinstance(schema.get("items"), dict):
        return "array"
    values = schema.get("enum", [schema["const"]] if "const" in schema else None)
    if not isinstance(values, list) or not values:
        return None
    kinds = {type(value) for value in values[:_MAX_CHOICES]}
    return (
        {int: "integer", float: "number", bool: "boolean", str: "string"}.get(kinds.pop()) if len(kinds) == 1 else None
    )


def _json_columns(dtype: pl.Struct, value: pl.Expr, prefix: str, names: _Names) -> list[pl.Expr]:
    """Unfold structs into columns; `sec` with `nsec` or `nanosec` becomes a point in time."""
    columns: list[pl.Expr] = []
    names_inside = [field.name for field in dtype.fields]
    if any(map(_selects_others, names_inside)):
        names_inside = [str(place) for place in range(len(names_inside))]
        value = value.struct.rename_fields(names_inside)
    for inside, field in zip(names_inside, dtype.fields, strict=True):
        of, name = value.struct.field(inside), f"{prefix}{field.name}"
        if not isinstance(field.dtype, pl.Struct):
            columns.append(of.alias(names.take(name)))
            continue
        inner = [f.name for f in field.dtype.fields]
        if sorted(inner) in (["nsec", "sec"], ["nanosec", "sec"]) and all(
            f.dtype == pl.Int64() for f in field.dtype.fields
        ):
            sec, nano = (of.struct.field(f) for f in sorted(inner, reverse=True))
            fits = sec.is_between(-_MAX_SECONDS, _MAX_SECONDS) & nano.is_between(-(2**32), 2**32)
            columns.append(pl.when(fits).then(sec * 10**9 + nano).cast(_TIME).alias(names.take(name)))
        else:
            columns += _json_columns(field.dtype, of, f"{name}.", names)
    return columns


def _decode_json(raw: pl.Series, dtype: pl.Struct, columns: int, spend: Spend) -> tuple[pl.Series, Flags]:
    """Decode one value for each message, null and false where it does not match the schema."""
    text = as_text(raw).str.strip_prefix("\ufeff")
    size = int(raw.bin.size().sum())
    nested = int(text.str.count_matches(r"[\[{]").sum() or 0)
    spend(_TRY_VALUES + columns * _TRY_PER_COLUMN + size // 16 + nested * _NESTED_VALUES)
    # No value, or two of them in one message, would shift the rows behind it.
    decoded = None if text.str.contains(_NOT_ONE_VALUE).any() else _json_values(text, dtype)
    if decoded is not None:
        return decoded, np.ones(len(text), np.bool_)
    # Some message is not JSON, or has other values than its schema: Python finds which, and where it errs, halving does.
    spend(2 * size + len(text) * (columns + _ROW_VALUES))
    plain = [_of_type(value, dtype) for value in text]
    good = np.array([value is not None for value in plain], np.bool_)
    rows = np.flatnonzero(good)
    parts = list(_by_halves(pl.Series([plain[row] for row in rows], dtype=pl.String), dtype, columns, spend))
    values = pl.concat(parts) if parts else pl.Series([], dtype=dtype)
    places = np.cumsum(good) - 1
    found = values.gather(
        pl.Series([int(p) if g else None for p, g in zip(places, good, strict=True)], dtype=pl.UInt32)
    )
    return found, good


def _by_halves(text: pl.Series, dtype: pl.Struct, columns: int, spend: Spend) -> Iterator[pl.Series]:
    """Yield the decoded values of messages, null for those that polars refuses."""
    if not len(text):
        return
    spend(_TRY_VALUES + columns * (_TRY_PER_COLUMN + len(text)))
    decoded = _json_values(text, dtype)
    if decoded is not None:
        yield decoded
    elif len(text) == 1:
        yield pl.Series([None], dtype=dtype)
    else:
        half = len(text) // 2
        yield from _by_halves(text[:half], dtype, columns, spend)
        yield from _by_halves(text[half:], dtype, columns, spend)


def _json_values(text: pl.Series, dtype: pl.Struct) -> pl.Series | None:
    """Decode one value for each text, `None` for an invalid one."""
    try:
        decoded = text.str.json_decode(dtype)
    except pl.exceptions.PolarsError:
        return None
    return decoded if len(decoded) == len(text) else None


def _first_of_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Make an object as polars reads it: of two members with one name the first."""
    return dict(reversed(pairs))


_parse_json: Final = partial(json.loads, object_pairs_hook=_first_of_each)


def _of_type(text: str | None, dtype: pl.Struct) -> str | None:
    """Return a JSON object with what a type has of it, or `None` where a text is no object.

    A message is not bad because a value is not of its schema: the value is null. NaN and infinity, which Python writes, are
    null too, and what has no single type is text.
    """
    try:
        value = None if text is None else _parse_json(text)
        return json.dumps(_fitting(value, dtype), allow_nan=False) if isinstance(value, dict) else None
    except (ValueError, RecursionError):
        return None


def _fitting(value: Any, dtype: Any) -> Any:  # noqa: ANN401 - any JSON value; a way for each kind of type
    """Return what a polars type can hold of a value."""
    if value is None:
        return None
    if isinstance(dtype, pl.Struct):
        types = {field.name: field.dtype for field in dtype.fields}
        return {k: _fitting(v, types[k]) for k, v in value.items() if k in types} if isinstance(value, dict) else None
    if isinstance(dtype, pl.List):
        return [_fitting(item, dtype.inner) for item in value] if isinstance(value, list) else None
    if dtype == pl.String():
        return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)[:MAX_TEXT]
    if dtype == pl.Boolean():
        return value if isinstance(value, bool) else None
    if isinstance(value, bool):
        return int(value)
    if not isinstance(value, int | float):
        return None
    if dtype == pl.Int64():
        fits = isinstance(value, int) or (math.isfinite(value) and value.is_integer())
        return int(value) if fits and -(2**63) <= value < 2**63 else None
    # JSON has integers of any length.
    return float(value) if abs(value) <= sys.float_info.max else None


# ---------------------------------------------------------------------------------------------- protobuf


_MAX_FILES: Final = 1024
_MAX_MESSAGE_TYPES: Final = 16_384
_MAX_MESSAGE_BYTES: Final = 16 * 1024**2
"""Bytes of a message that is decoded: in memory it takes up to thirty times as much."""
_ROW_PROTOBUF: Final = 50
_TEXT_VALUES: Final = 100
_TEXT_PER_BYTE: Final = 4
_LONG_LIST: Final = 65_536
_LONG_PER_ITEM: Final = 8
"""Values of `Limits.max_values`: of a message beside its bytes, of a nested message as a text and of each of its bytes,
and of each item of a list of more than `_LONG_LIST`."""
_MAX_TEXT_BYTES: Final = 65_536
"""Bytes of a repeated or recursive message that is kept as JSON; the column has no text of a longer one."""


def message_class(schema: str, definition: bytes) -> "type[Message] | None":
    """Return the class of a protobuf message from a serialised `FileDescriptorSet`; `None` when that cannot be used."""
    try:
        return _message_class(schema, definition)
    except BadDefinition:
        return None


def _message_class(schema: str, definition: bytes) -> "type[Message]":
    """Return the class of a protobuf message, in a pool of its own: no other file's types are seen or changed.

    Raises:
        BadDefinition: The descriptors are damaged, incomplete, contradictory, or import each other in a circle.
    """
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
    from google.protobuf.message import DecodeError

    try:
        files = descriptor_pb2.FileDescriptorSet.FromString(definition)
        _check_size(files.file)
        pool = descriptor_pool.DescriptorPool()
        for file in _in_order(files.file):
            pool.Add(file)
        return message_factory.GetMessageClass(pool.FindMessageTypeByName(schema))
    except (DecodeError, KeyError, TypeError, ValueError) as error:
        if isinstance(error, BadDefinition):
            raise
        raise BadDefinition(str(error)[:200] or type(error).__name__) from error


def _check_size(files: "Sequence[Any]") -> None:
    """Refuse descriptors of too many files and types; each type costs far more memory than its bytes."""
    if len(files) > _MAX_FILES:
        raise DefinitionOverLimit(f"{len(files):,} files, at most {_MAX_FILES:,}")
    waiting: list[Any] = list(files)
    types = 0
    while waiting:
        owner = waiting.pop()
        nested = owner.nested_type if hasattr(owner, "nested_type") else owner.message_type
        types += len(nested) + len(owner.enum_type)
        if types > _MAX_MESSAGE_TYPES:
            raise DefinitionOverLimit(f"more than {_MAX_MESSAGE_TYPES:,} types")
        waiting += nested


def _in_order(files: "Sequence[Any]") -> Iterator[Any]:
    """Yield files behind those that they import, each once."""
    by_name: dict[str, Any] = {}
    for file in files:
        if by_name.setdefault(file.name, file) != file:
            raise BadDefinition(f"two different files named {file.name[:80]!r}")
    done: set[str] = set()
    for start, first in by_name.items():
        path = [start]
        waiting = {start: iter(first.dependency)}
        while path:
            name = path[-1]
            following = (
                next((d for d in waiting[name] if d in by_name and d not in done), None) if name not in done else None
            )
            if following is None:
                path.pop()
                if name not in done:
                    done.add(name)
                    yield by_name[name]
            elif following in waiting:
                raise BadDefinition("files that import each other")
            else:
                path.append(following)
                waiting[following] = iter(by_name[following].dependency)


@dataclass(frozen=True, slots=True)
class _Leaf:
    """A column of a protobuf message.

    Attributes:
        default: Of messages that do not set it; null where the field states presence: absent is no zero.
        convert: From the value of the message; called with `spend` too.
    """

    index: int
    name: str
    dtype: pl.DataType
    default: Any
    convert: Callable[[Any, Spend], Any]


_Plan = dict[int, "_Leaf | _Plan"]
"""The columns of a message's fields, by number."""


def _of_protobuf(schema: str, definition: bytes, limits: Limits) -> _Read:
    from google.protobuf.message import DecodeError

    made = _message_class(schema, definition)
    # The methods of the class that knows no fields: a field may have the name of a method.
    parse, fields_of = made.__mro__[1].ParseFromString, made.__mro__[1].ListFields  # type: ignore[attr-defined]
    _check_names(made.DESCRIPTOR)  # type: ignore[arg-type] # two implementations of one interface
    plan, leaves, note = _plan_within(made.DESCRIPTOR, limits)  # type: ignore[arg-type]

    def fill(message: "Message", plan: _Plan, values: list[list[Any]], row: int, spend: Spend) -> None:
        for field, value in fields_of(message):
            action = plan.get(field.number)
            if isinstance(action, dict):
                # A nested message that is there has the defaults of its fields; one that is not has none.
                for leaf in action.values():
                    if not isinstance(leaf, dict) and leaf.default is not None:
                        values[leaf.index][row] = leaf.default
                fill(value, action, values, row, spend)
            elif action is not None:
                values[action.index][row] = action.convert(value, spend)

    def decode(buffer: U8, starts: I64, sizes: I64, spend: Spend) -> tuple[pl.DataFrame, Flags]:
        ok = sizes <= _MAX_MESSAGE_BYTES
        spend(int(sizes[ok].sum()) + len(starts) * _ROW_PROTOBUF)
        outermost = {leaf.index for leaf in plan.values() if not isinstance(leaf, dict)}
        values = [[leaf.default if leaf.index in outermost else None] * len(starts) for leaf in leaves]
        for i, (start, size) in enumerate(zip(starts.tolist(), sizes.tolist(), strict=True)):
            if not ok[i]:
                continue
            message = made()
            try:
                parse(message, buffer[start : start + size].tobytes())
            except DecodeError:
                ok[i] = False
            else:
                fill(message, plan, values, i, spend)
        return pl.DataFrame([_series(leaf, column) for leaf, column in zip(leaves, values, strict=True)]), ok

    return _Read(decode, len(leaves), 0, note)


def _series(leaf: _Leaf, values: list[Any]) -> pl.Series:
    if leaf.dtype in (_TIME, _DURATION):
        return pl.Series(leaf.name, values, dtype=pl.Int64()).cast(leaf.dtype)
    return pl.Series(leaf.name, values, dtype=leaf.dtype)


def _check_names(descriptor: "Descriptor") -> None:
    """Refuse names that would make long texts of short messages, in all types that a message may hold."""
    seen: set[str] = {descriptor.full_name}
    waiting = [descriptor]
    while waiting:
        for field in waiting.pop().fields:
            names = [field.name, *([] if field.enum_type is None else field.enum_type.values_by_name)]
            if max(map(len, names)) > MAX_NAME_CHARS:
                raise DefinitionOverLimit(f"a name of more than {MAX_NAME_CHARS} characters")
            nested = field.message_type
            if nested is not None and nested.full_name not in seen:
                seen.add(nested.full_name)
                waiting.append(nested)


def _plan_within(descriptor: "Descriptor", limits: Limits) -> tuple[_Plan, list[_Leaf], str]:
    """Plan the columns of a type, as deep as the limit of columns allows: types that hold each other unfold without end.

    Returns:
        The plan, its columns, and a note on the fields that are texts because of their type or depth.

    Raises:
        DefinitionOverLimit: The type's own fields are too many.
    """
    depth = limits.max_depth
    while True:
        planner = _Planner(_Names(limits), depth)
        try:
            plan = planner.plan(descriptor, "", ())
        except DefinitionOverLimit:
            if not depth:
                raise
            depth //= 2
            continue
        texts = planner.texts
        listed = ", ".join(texts[:_MAX_LISTED])
        more = f" and {len(texts) - _MAX_LISTED:,} more" if len(texts) > _MAX_LISTED else ""
        note = f"types inside of themselves, or nested more than {depth} deep: {listed}{more}" if texts else ""
        return plan, planner.leaves, note


_MAX_LISTED: Final = 4
"""Fields that a note names."""


class _Planner:
    """Plans the column of each field; a message inside of its own type is one text, and so is what is nested too deep.

    Attributes:
        leaves: The columns so far.
        texts: Names of those that are texts for that reason.
    """

    def __init__(self, names: _Names, max_depth: int) -> None:
        self.leaves: list[_Leaf] = []
        self.texts: list[str] = []
        self._names = names
        self._max_depth = max_depth

    def plan(self, descriptor: "Descriptor", prefix: str, path: tuple[str, ...]) -> _Plan:
        """Plan a type that is nested in the types of `path`.

        Raises:
            DefinitionOverLimit: Its columns are too many.
        """
        plan: _Plan = {}
        path = (*path, descriptor.full_name)
        if prefix:
            self._names.more(prefix)  # a type without fields has no column, and may be nested in others without end
        for field in descriptor.fields:
            nested = field.message_type
            name = f"{prefix}{field.name}"
            kind: tuple[pl.DataType, Any, Callable[[Any, Spend], Any]]
            if nested is None:
                dtype = _protobuf_dtype(field)
                kind = (
                    (pl.List(dtype), [], _list_of(dtype))
                    if field.is_repeated
                    else (dtype, None if field.has_presence else field.default_value, _plain(dtype))
                )
            elif _is_time(nested) and not field.is_repeated:
                kind = (_TIME if nested.name == "Timestamp" else _DURATION, None, _whole_ns)
            elif field.is_repeated:
                kind = (pl.List(pl.String()), [], _texts)
            elif nested.full_name in path or len(path) > self._max_depth:
                kind = (pl.String(), None, _json_text)
                self.texts.append(name)
            else:
                plan[field.number] = self.plan(nested, f"{name}.", path)
                continue
            leaf = _Leaf(len(self.leaves), self._names.take(name), *kind)
            self.leaves.append(leaf)
            plan[field.number] = leaf
        return plan


def _is_time(descriptor: "Descriptor") -> bool:
    """Return whether a type is the Timestamp or Duration of protobuf, and not another of that name."""
    if descriptor.full_name not in ("google.protobuf.Timestamp", "google.protobuf.Duration"):
        return False
    fields = {field.name: field for field in descriptor.fields}
    return set(fields) == {"seconds", "nanos"} and all(
        field.cpp_type in (field.CPPTYPE_INT64, field.CPPTYPE_INT32) and not field.is_repeated
        for field in fields.values()
    )


def _same(value: object, _: Spend) -> object:
    return value


def _text_of(value: object, _: Spend) -> str:
    """Decode a string field, which need not be UTF-8 in proto2 and is bytes then."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _plain(dtype: pl.DataType) -> Callable[[Any, Spend], Any]:
    return _text_of if dtype == pl.String() else _same


def _list_of(dtype: pl.DataType) -> Callable[[Any, Spend], Any]:
    convert = _plain(dtype)

    def convert_all(values: Sequence[Any], spend: Spend) -> list[Any]:
        if len(values) > _LONG_LIST:
            spend(_LONG_PER_ITEM * len(values))
        return [convert(value, spend) for value in values] if convert is _text_of else list(values)

    return convert_all


def _whole_ns(value: Any, _: Spend) -> int | None:  # noqa: ANN401 - Timestamp and Duration have no common class
    """Return nanoseconds, null where 64 bits do not hold them."""
    whole = value.seconds * 10**9 + value.nanos
    return whole if -_MAX_NS <= whole <= _MAX_NS else None


def _texts(values: "Sequence[Message] | Mapping[Any, Any]", spend: Spend) -> list[str | None]:
    """Encode repeated messages as JSON, one text each."""
    if not isinstance(values, Mapping):
        return [_json_text(value, spend) for value in values]
    found: list[str | None] = []
    for key, value in values.items():
        if hasattr(value, "DESCRIPTOR") and not _spend_text(value, spend):
            found.append(None)
            continue
        spend(_TEXT_VALUES)
        found.append(f"{key}: {value}"[:MAX_TEXT].encode("utf-8", "replace").decode())
    return found


def _json_text(value: "Message", spend: Spend) -> str | None:
    """Encode a message as JSON; `None` where it is too long, or has no JSON."""
    from google.protobuf.json_format import MessageToJson

    if not _spend_text(value, spend):
        return None
    try:
        # Zeros of fields without presence are values too.
        text = MessageToJson(
            value, preserving_proto_field_name=True, indent=None, always_print_fields_with_no_presence=True
        )[:MAX_TEXT]
    except Exception:  # noqa: BLE001 - an Any of an unknown type, a Timestamp out of range, and what else has no JSON
        return None
    spend(len(text))
    return text.encode("utf-8", "replace").decode()


def _spend_text(value: "Message", spend: Spend) -> bool:
    """Spend what a message costs as a text; whether it is short enough to be one."""
    size = type(value).__mro__[1].ByteSize(value)  # type: ignore[attr-defined] # a field may be named ByteSize
    if size > _MAX_TEXT_BYTES:
        return False
    spend(_TEXT_VALUES + size * _TEXT_PER_BYTE)
    return True


def _protobuf_dtype(field: "FieldDescriptor") -> pl.DataType:
    kinds: dict[int, pl.DataType] = {
        field.CPPTYPE_INT32: pl.Int32(), field.CPPTYPE_INT64: pl.Int64(), field.CPPTYPE_UINT32: pl.UInt32(),
        field.CPPTYPE_UINT64: pl.UInt64(), field.CPPTYPE_DOUBLE: pl.Float64(), field.CPPTYPE_FLOAT: pl.Float32(),
        field.CPPTYPE_BOOL: pl.Boolean(), field.CPPTYPE_ENUM: pl.Int32(),
    }  # fmt: skip
    if field.cpp_type == field.CPPTYPE_STRING:
        return pl.Binary() if field.type == field.TYPE_BYTES else pl.String()
    return kinds[field.cpp_type]


_READERS: Final[dict[tuple[str, str], Callable[[str, bytes, Limits], _Read]]] = {
    ("cdr", "ros2msg"): _of_ros,
    ("cdr", "ros2idl"): _of_idl,
    ("cdr", "omgidl"): _of_idl,
    ("ros1", "ros1msg"): _of_ros1,
    ("json", "jsonschema"): _of_json,
    ("protobuf", "protobuf"): _of_protobuf,
}
