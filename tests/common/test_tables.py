"""Tables that an earlier version wrote."""

from io import BytesIO

import polars as pl
import pytest

from argus_assets.common.tables import Column, Table
from argus_assets.errors import BadTable


def table(*kinds: str) -> Table:
    return Table(
        "seen", "one thing", (Column("kind", pl.Enum(kinds), "Its kind."), Column("count", pl.Int64, "How many."))
    )


def stored(written_as: Table, rows: list[tuple[str, int]]) -> pl.DataFrame:
    """Rows as they come back from a Parquet file."""
    file = BytesIO()
    pl.DataFrame(rows, schema=written_as.schema, orient="row").write_parquet(file)
    return pl.read_parquet(BytesIO(file.getvalue()))


def test_an_enum_that_has_more_values_since_is_read() -> None:
    now = table("a", "new", "b")
    read = now.read(stored(table("a", "b"), [("b", 1), ("a", 2)]))
    assert read.schema == now.schema
    assert read.rows() == [("b", 1), ("a", 2)]


def test_a_table_of_this_version_is_read_as_it_is() -> None:
    now = table("a", "b")
    written = stored(now, [("b", 1)])
    assert now.read(written) is written


@pytest.mark.parametrize("other", [table("a", "gone"), Table("seen", "one thing", (Column("kind", pl.String, "."),))])
def test_any_other_difference_is_an_error(other: Table) -> None:
    rows = [("a", 1)] if len(other.columns) > 1 else []
    with pytest.raises(BadTable, match="Rebuild it"):
        table("a", "b").read(stored(other, rows))
