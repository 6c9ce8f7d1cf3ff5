"""Topics as typed columns: whatever a message's schema says, flattened to one table for each topic.

Columns are named by the path of a field (`pose.position.x`). Three encodings: CDR with a `.msg` definition (ROS 2),
JSON with a JSON schema, protobuf with its file descriptors. A message that is not what its schema says is left out
of the table and counted; the frame table keeps its bytes.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import polars as pl

from argus_assets.recordings.cdr_columns import decode_columns
from argus_assets.recordings.columns import I64, U8, Flags, as_text, binary_series
from argus_assets.recordings.ros_msg import BadDefinition, parse_message

if TYPE_CHECKING:
    from google.protobuf.descriptor import Descriptor, FieldDescriptor
    from google.protobuf.message import Message

Flattener = Callable[[U8, I64, I64], tuple[pl.DataFrame, Flags]]
"""(buffer, starts, sizes) → one row for each message, and which of them are readable."""

_NOT_ONE_VALUE: Final = r"^\s*$|\}\s*\{"
_MAX_DEPTH: Final = 16
_TIME: Final = pl.Datetime("ns", "UTC")
_DURATION: Final = pl.Duration("ns")


def flattener(encoding: str, schema: str, schema_encoding: str, definition: bytes) -> Flattener | None:
    """What turns messages of a schema into columns; `None` where the schema cannot be used.

    Args:
        encoding: Of the messages: `cdr`, `json` or `protobuf`.
        schema: Name of the type.
        schema_encoding: `ros2msg`, `jsonschema` or `protobuf`.
        definition: The schema itself.
    """
    if not definition.strip():
        return None
    if encoding == "cdr" and schema_encoding == "ros2msg":
        return _of_ros(schema, definition)
    if encoding == "json" and schema_encoding == "jsonschema":
        return _of_json(definition)
    if encoding == "protobuf" and schema_encoding == "protobuf":
        return _of_protobuf(schema, definition)
    return None


def _of_ros(schema: str, definition: bytes) -> Flattener | None:
    try:
        fields = parse_message(schema, definition.decode())
    except (BadDefinition, UnicodeDecodeError):
        return None
    return lambda buffer, starts, sizes: decode_columns(buffer, starts, sizes, fields)


# ---------------------------------------------------------------------------------------------- JSON


def _of_json(definition: bytes) -> Flattener | None:
    try:
        dtype = _json_dtype(json.loads(definition), 0)
    except (ValueError, TypeError, RecursionError):
        return None
    if not isinstance(dtype, pl.Struct):
        return None
    return lambda buffer, starts, sizes: _decode_json(binary_series(buffer, starts, sizes), dtype)


def _json_dtype(schema: Any, depth: int) -> pl.DataType:  # noqa: ANN401 - any JSON value
    """The polars type of a JSON schema; text for what has no single type."""
    if not isinstance(schema, dict) or depth > _MAX_DEPTH:
        return pl.String()
    kinds = schema.get("type")
    kind = next((k for k in kinds if k != "null"), None) if isinstance(kinds, list) else kinds
    if kind == "object" and schema.get("properties"):
        fields = {str(name): _json_dtype(value, depth + 1) for name, value in schema["properties"].items()}
        return pl.Struct(fields)
    if kind == "array":
        items = schema.get("items")
        return pl.List(_json_dtype(items, depth + 1)) if isinstance(items, dict) else pl.String()
    plain = {"number": pl.Float64(), "integer": pl.Int64(), "boolean": pl.Boolean()}
    return plain.get(str(kind), pl.String())


def _decode_json(raw: pl.Series, dtype: pl.Struct) -> tuple[pl.DataFrame, Flags]:
    text = as_text(raw)
    ok = np.ones(len(text), np.bool_)
    # No value, or two of them in one message, would shift the rows behind it.
    decoded = None if text.str.contains(_NOT_ONE_VALUE).any() else _json_values(text, dtype)
    if decoded is None:
        # One message is not JSON, or not of its schema: find which.
        found = [_json_values(pl.Series([value], dtype=pl.String), dtype) for value in text]
        ok = np.array([piece is not None for piece in found], np.bool_)
        nothing = pl.Series([None], dtype=dtype)
        decoded = pl.concat([nothing if piece is None else piece for piece in found])
    ok = np.asarray(ok & decoded.is_not_null().to_numpy())
    return _flat(pl.DataFrame({"": decoded}).unnest("")), ok


def _json_values(text: pl.Series, dtype: pl.Struct) -> pl.Series | None:
    """One value for each text, `None` where they are not that."""
    try:
        decoded = text.str.json_decode(dtype)
    except pl.exceptions.PolarsError:
        return None
    return decoded if len(decoded) == len(text) else None


def _flat(frame: pl.DataFrame) -> pl.DataFrame:
    """Structs as columns of their own; `sec` with `nsec` or `nanosec` as a point in time."""
    for _ in range(_MAX_DEPTH):
        structs = [name for name, dtype in frame.schema.items() if isinstance(dtype, pl.Struct)]
        if not structs:
            break
        columns: list[pl.Expr] = []
        for name, dtype in frame.schema.items():
            if not isinstance(dtype, pl.Struct):
                columns.append(pl.col(name))
                continue
            fields = [f.name for f in dtype.fields]
            if sorted(fields) in (["nsec", "sec"], ["nanosec", "sec"]) and all(
                f.dtype.is_integer() for f in dtype.fields
            ):
                nano = next(f for f in fields if f != "sec")
                of = pl.col(name).struct
                columns.append((of.field("sec") * 10**9 + of.field(nano)).cast(_TIME).alias(name))
            else:
                columns += [pl.col(name).struct.field(f).alias(f"{name}.{f}") for f in fields]
        frame = frame.select(columns)
    return frame


# ---------------------------------------------------------------------------------------------- protobuf


def message_class(schema: str, definition: bytes) -> "type[Message] | None":
    """The class of a protobuf message from a serialised `FileDescriptorSet`; `None` when that cannot be used."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
    from google.protobuf.message import DecodeError

    try:
        files = descriptor_pb2.FileDescriptorSet.FromString(definition)
        pool = descriptor_pool.DescriptorPool()
        waiting = list(files.file)
        while waiting:
            left = []
            for file in waiting:
                try:
                    pool.Add(file)
                except TypeError:  # a file that it imports has not been added yet
                    left.append(file)
            if len(left) == len(waiting):
                return None
            waiting = left
        return message_factory.GetMessageClass(pool.FindMessageTypeByName(schema))
    except (DecodeError, KeyError, TypeError, ValueError):
        return None


def _of_protobuf(schema: str, definition: bytes) -> Flattener | None:
    made = message_class(schema, definition)
    if made is None:
        return None
    leaves = _leaves(made.DESCRIPTOR, (), 0)  # type: ignore[arg-type] # two implementations of one interface

    def decode(buffer: U8, starts: I64, sizes: I64) -> tuple[pl.DataFrame, Flags]:
        from google.protobuf.message import DecodeError

        ok = np.ones(len(starts), np.bool_)
        values: list[list[Any]] = [[] for _ in leaves]
        for i, (start, size) in enumerate(zip(starts.tolist(), sizes.tolist(), strict=True)):
            message = made()
            try:
                message.ParseFromString(buffer[start : start + size].tobytes())
            except DecodeError:
                ok[i] = False
                message = made()
            for column, (path, _, get) in zip(values, leaves, strict=True):
                owner = message
                for name in path[:-1]:
                    owner = getattr(owner, name)
                column.append(get(getattr(owner, path[-1])))
        series = {
            ".".join(path): pl.Series(column, dtype=dtype) if not _is_time(dtype) else pl.Series(column).cast(dtype)
            for column, (path, dtype, _) in zip(values, leaves, strict=True)
        }
        return pl.DataFrame(series), ok

    return decode


_Leaf = tuple[tuple[str, ...], pl.DataType, Callable[[Any], Any]]


def _is_time(dtype: pl.DataType) -> bool:
    return dtype in (_TIME, _DURATION)


def _leaves(descriptor: "Descriptor", prefix: tuple[str, ...], depth: int) -> list[_Leaf]:
    """Path, type and conversion of each value of a message; what is nested too deep is left out."""
    if depth > _MAX_DEPTH:
        return []
    found: list[_Leaf] = []
    for field in descriptor.fields:
        path = (*prefix, field.name)
        nested = field.message_type
        if nested is None:
            dtype = _protobuf_dtype(field)
            found.append((path, pl.List(dtype), list) if field.is_repeated else (path, dtype, _same))
        elif nested.full_name in ("google.protobuf.Timestamp", "google.protobuf.Duration") and not field.is_repeated:
            kind = _TIME if nested.full_name.endswith("Timestamp") else _DURATION
            found.append((path, kind, _whole_ns))
        elif field.is_repeated:
            found.append((path, pl.List(pl.String()), _texts))
        else:
            found += _leaves(nested, path, depth + 1)
    return found


def _same(value: object) -> object:
    return value


def _whole_ns(value: Any) -> int:  # noqa: ANN401 - Timestamp and Duration have no common class
    return value.seconds * 10**9 + value.nanos


def _texts(values: "Sequence[Message] | Mapping[Any, Any]") -> list[str]:
    """Repeated messages as JSON, one text each."""
    from google.protobuf.json_format import MessageToJson

    if isinstance(values, Mapping):
        return [f"{key}: {values[key]}" for key in values]
    return [MessageToJson(value, preserving_proto_field_name=True, indent=None) for value in values]


def _protobuf_dtype(field: "FieldDescriptor") -> pl.DataType:
    kinds: dict[int, pl.DataType] = {
        field.CPPTYPE_INT32: pl.Int32(), field.CPPTYPE_INT64: pl.Int64(), field.CPPTYPE_UINT32: pl.UInt32(),
        field.CPPTYPE_UINT64: pl.UInt64(), field.CPPTYPE_DOUBLE: pl.Float64(), field.CPPTYPE_FLOAT: pl.Float32(),
        field.CPPTYPE_BOOL: pl.Boolean(), field.CPPTYPE_ENUM: pl.Int32(),
    }  # fmt: skip
    if field.cpp_type == field.CPPTYPE_STRING:
        return pl.Binary() if field.type == field.TYPE_BYTES else pl.String()
    return kinds[field.cpp_type]
