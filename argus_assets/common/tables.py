"""Declared tables: one schema per table, used to write, to check and to document it.

Knows polars, but not where tables are stored or what is in them.
"""

from dataclasses import dataclass, field

import polars as pl

from argus_assets.errors import BadTable

TIMESTAMP = pl.Datetime("ns", "UTC")
"""Every point in time: integer nanoseconds since 1970-01-01 UTC."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a declared table.

    Attributes:
        name: Column name, with its unit (`_ns`, `_s`, `_bytes`, `_pct`).
        dtype: polars data type.
        meaning: One sentence for the people who read the table.
        nullable: Whether a value may be absent.
    """

    name: str
    dtype: pl.DataType | type[pl.DataType]
    meaning: str
    nullable: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """A declared table: name, what a row is, and its columns in order."""

    name: str
    row: str
    columns: tuple[Column, ...]
    _schema: pl.Schema = field(init=False, repr=False, compare=False)
    _empty: pl.DataFrame = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_schema", pl.Schema({c.name: c.dtype for c in self.columns}))
        object.__setattr__(self, "_empty", pl.DataFrame(schema=self._schema))

    @property
    def schema(self) -> pl.Schema:
        """Return column names and dtypes, in order."""
        return self._schema

    def empty(self) -> pl.DataFrame:
        """Return a frame with this table's columns and no rows."""
        return self._empty.clone()

    def cast(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Bring `frame` to this table: columns in order, dtypes cast, absent nullable columns null.

        Raises:
            BadTable: A column is missing, unknown, cannot be cast, or has nulls it may not have.
        """
        unknown = [name for name in frame.columns if name not in self.schema]
        missing = [c.name for c in self.columns if c.name not in frame.columns and not c.nullable]
        if unknown or missing:
            msg = f"Table {self.name!r}: missing columns {missing}, unknown columns {unknown}."
            raise BadTable(msg, help=f"Its columns are {list(self.schema)}.")
        try:
            out = frame.select(
                pl.col(c.name).cast(c.dtype) if c.name in frame.columns else pl.lit(None, dtype=c.dtype).alias(c.name)
                for c in self.columns
            )
        except pl.exceptions.PolarsError as error:
            msg = f"Table {self.name!r}: a column does not have its declared type: {error}"
            raise BadTable(msg) from error
        return self.check(out)

    def read(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Return `frame`, which an earlier version may have written, as this table: an enum may have more values since.

        Raises:
            BadTable: It differs from the declaration in anything else.
        """
        grown = {
            name: dtype
            for name, dtype in self.schema.items()
            if isinstance(dtype, pl.Enum) and _is_part(frame.schema.get(name), dtype)
        }
        return self.check(frame.cast(grown) if grown else frame)  # type: ignore[arg-type] # its stub

    def check(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Return `frame` unchanged if it is exactly this table.

        Raises:
            BadTable: Names, order, dtypes or nulls differ from the declaration.
        """
        if frame.schema != self.schema:
            msg = f"Table {self.name!r}: expected {dict(self.schema)}, found {dict(frame.schema)}."
            raise BadTable(msg, help="Rebuild it with this version of Argus.")
        if frame.height:
            nulls = frame.null_count().row(0, named=True)
            bad = {c.name: nulls[c.name] for c in self.columns if not c.nullable and nulls[c.name]}
            if bad:
                msg = f"Table {self.name!r}: columns that must have a value are null: {bad} of {frame.height} rows."
                raise BadTable(msg)
        return frame

    def markdown(self) -> str:
        """Return the table's documentation as a Markdown table."""
        head = f"### `{self.name}`\n\nOne row: {self.row}\n\n| column | type | meaning |\n|---|---|---|\n"
        return head + "".join(
            f"| `{c.name}` | {c.dtype}{', may be null' if c.nullable else ''} | {c.meaning} |\n" for c in self.columns
        )


def _is_part(dtype: pl.DataType | None, whole: pl.Enum) -> bool:
    return isinstance(dtype, pl.Enum) and dtype != whole and set(dtype.categories) <= set(whole.categories)
