"""The process in which a decoder from another package runs: `python -m argus_assets.recordings.plugins.host ORDER`.

See `plugins.host`.
"""

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from argus_assets.plugins.host import description, serve

if TYPE_CHECKING:
    import polars as pl

_ROW_GROUP: Final = 64 * 1024


def main() -> None:
    """Do what the order says."""
    serve({"describe": _describe, "matches": _matches, "read": _read})


def _describe(decoder: Any, _: Mapping[str, Any]) -> dict[str, Any]:  # noqa: ANN401 - of another package
    return {
        **description(decoder, "open(source, limits)"),
        "signatures": [(int(at), bytes(magic).hex()) for at, magic in getattr(decoder, "signatures", ())],
        "name_patterns": list(getattr(decoder, "name_patterns", ())),
        "asks": callable(getattr(decoder, "matches", None)),
    }


def _matches(decoder: Any, order: Mapping[str, Any]) -> bool:  # noqa: ANN401 - of another package
    return bool(decoder.matches(bytes.fromhex(order["head"])))


def _read(decoder: Any, order: Mapping[str, Any]) -> dict[str, Any]:  # noqa: ANN401 - of another package
    """Write what its reader hands out: `<table>.parquet`, `topic_<n>.parquet`, all texts as plain strings."""
    import pyarrow.parquet as pq

    from argus_assets.recordings.model import Limits, TopicKey
    from argus_assets.recordings.schema import DIAGNOSTICS, FRAMES, LOGS

    folder = Path(order["output"])
    tables = (FRAMES, LOGS, DIAGNOSTICS)
    writers: dict[str, pq.ParquetWriter] = {}
    topics: dict[TopicKey, str] = {}
    with Path(order["recording"]).open("rb") as source, ExitStack() as stack:

        def write(name: str, rows: "pl.DataFrame") -> None:
            arrow = _plain(rows).to_arrow()
            if name not in writers:
                path = folder / f"{name}.parquet"
                writers[name] = stack.enter_context(pq.ParquetWriter(path, arrow.schema, compression="zstd"))
            writers[name].write_table(arrow.cast(writers[name].schema), row_group_size=_ROW_GROUP)

        reader = decoder.open(source, Limits(**order["limits"]))
        for batch in reader:
            for table, rows in zip(tables, (batch.frames, batch.logs, batch.diagnostics), strict=True):
                write(table.name, table.check(rows))
            for (topic, schema), rows in batch.topics.items():
                name = topics.setdefault((str(topic), str(schema)), f"topic_{len(topics)}")
                write(name, rows)
        summary = reader.summary
        return {
            "frames_lost": summary.frames_lost,
            "problems": [asdict(p) for p in summary.problems],
            "channels": [asdict(c) for c in summary.channels],
            "topics": [list(key) for key in topics],
        }


def _plain(rows: "pl.DataFrame") -> "pl.DataFrame":
    import polars as pl

    return rows.with_columns(pl.col(pl.Categorical, pl.Enum).cast(pl.String))


if __name__ == "__main__":
    main()
