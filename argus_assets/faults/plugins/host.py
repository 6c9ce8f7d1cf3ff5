"""The process in which a detector from another package runs: `python -m argus_assets.faults.plugins.host ORDER`.

See `plugins.host`. A drive is handed over as polars plans over its Parquet parts, so that a detector reads what it
needs and no more.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import polars as pl

from argus_assets.faults.detector import Found
from argus_assets.faults.schema import ERROR_EVENTS
from argus_assets.plugins.host import description, serve
from argus_assets.recordings.drive import Drive

EVENTS: Final = "events.parquet"
_TABLES: Final = ("frames", "logs", "diagnostics")


def main() -> None:
    """Do what the order says."""
    serve({"describe": _describe, "find": _find})


def write_drive(drive: Drive, folder: Path) -> list[list[str]]:
    """Write a drive's plans into an empty folder.

    Returns:
        Topic and schema of each table of typed columns, in the order in which they were written.
    """
    for name in _TABLES:
        getattr(drive, name).serialize(folder / name)
    for number, table in enumerate(drive.topics.values()):
        table.serialize(folder / _topic(number))
    return [list(key) for key in drive.topics]


def _read_drive(folder: Path, topics: list[list[str]]) -> Drive:
    frames, logs, diagnostics = (pl.LazyFrame.deserialize(folder / name) for name in _TABLES)
    tables = {
        (topic, schema): pl.LazyFrame.deserialize(folder / _topic(number))
        for number, (topic, schema) in enumerate(topics)
    }
    return Drive(frames, logs, diagnostics, tables)


def _topic(number: int) -> str:
    return f"topic_{number}"


def _describe(detector: Any, _: Mapping[str, Any]) -> dict[str, Any]:  # noqa: ANN401 - of another package
    return description(detector, "find(drive)")


def _find(detector: Any, order: Mapping[str, Any]) -> dict[str, Any]:  # noqa: ANN401 - of another package
    found = detector.find(_read_drive(Path(order["drive"]), order["topics"]))
    if not isinstance(found, Found):
        msg = f"find gave {type(found).__name__}, not argus_assets.faults.detector.Found"
        raise TypeError(msg)
    # What is wrong with the table is raised here, where its author's lines are in the traceback.
    events = ERROR_EVENTS.cast(found.events)
    events.with_columns(pl.col(pl.Enum).cast(pl.String)).write_parquet(Path(order["output"]) / EVENTS)
    return {"notes": [str(note) for note in found.notes]}


if __name__ == "__main__":
    main()
