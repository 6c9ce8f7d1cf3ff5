"""Detectors of other packages (entry points of the group `argus.faults`), and with them the whole configuration.

Their code runs in a process of its own, as that of decoders does, with limits and without network: a detector that
crashes, hangs or gives a wrong table costs its own events and a note, never the batch.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from importlib.metadata import EntryPoint, entry_points
from io import BytesIO
from pathlib import Path
from typing import Annotated, Final

import polars as pl
from pydantic import BaseModel, Field, ValidationError

from argus_assets.common.texts import clean_column, clean_names, one_line
from argus_assets.errors import BadSetting, BadTable
from argus_assets.faults.config import FaultConfig, default_config, read_config, shipped_codes
from argus_assets.faults.detector import Found
from argus_assets.faults.detectors import NAMES
from argus_assets.faults.plugins.host import EVENTS, write_drive
from argus_assets.faults.schema import ERROR_EVENTS, PLUG_IN
from argus_assets.plugins.process import (
    Description,
    ask_description,
    find_usable,
    read_answer,
    run_host,
    unusable_identity,
)
from argus_assets.plugins.workplace import Workplace, workplace
from argus_assets.recordings.drive import Drive

GROUP: Final = "argus.faults"
_HOST: Final = "argus_assets.faults.plugins.host"
_NAME_COLUMNS: Final = ("code", "ecu", "channel")
_MAX_EVENTS: Final = 1_000_000


class _Answer(BaseModel):
    """Answer of its process beside the events."""

    notes: list[Annotated[str, Field(max_length=2000)]] = Field(default_factory=list, max_length=1000)


class PlugInDetector:
    """A detector of another package; see `detector.PlugIn`."""

    def __init__(self, point: EntryPoint, description: Description) -> None:
        self._point = point
        self._bounds = description.bounds.bounds
        self.name = description.name
        self.version = description.version
        self.isolates_network = description.bounds.network == "none"
        self.identity = f"{description.name}/{description.version}/{unusable_identity(point)}"
        self.collector = DetectorOutput(description.name, unusable_identity(point))

    def run(self, drive: Drive, place: Workplace) -> str | None:
        """Run it over a drive; returns why it failed, if it did."""
        plans = place.folder.parent / "drive"
        plans.mkdir()
        order = {"do": "find", "drive": str(plans), "topics": write_drive(drive, plans)}
        outcome = run_host(_HOST, self._point, order, place, self._bounds, reads=[plans, *drive.folders])
        if not outcome.ok:
            printed = place.shown(outcome.tail)
            return f"{outcome.sentence(self._bounds)}{'; it printed: ' + printed if printed else ''}"
        return None if place.has_output() else "it left no folder where its output should be"

    def find(self, drive: Drive) -> Found:
        """Run it over a drive and read what it wrote, here; a failure is a note."""
        with workplace(BytesIO(), "") as place:
            failed = self.run(drive, place)
            return self.collector.found(place.output) if failed is None else self.collector.failed(failed)


@dataclass(frozen=True, slots=True)
class DetectorOutput:
    """Reads the events that a detector wrote; see `detector.Collector`.

    Attributes:
        name: Of the detector.
        package: Its package, for notes.
    """

    name: str
    package: str

    def found(self, output: Path) -> Found:
        """Return what lies in a folder; what cannot be used is a note."""
        try:
            answer = _Answer.model_validate(read_answer(output))
            events = self._checked(_events(output / EVENTS))
        except ValidationError as error:
            return self.failed(f"its answer is not valid: {error.errors(include_url=False)[0]['msg']}")
        except BadTable as error:
            return self.failed(error.what)
        except (pl.exceptions.PolarsError, OSError) as error:
            return self.failed(f"{type(error).__name__}: {error}"[:500])
        return Found(events, tuple(f"Detector {self.name}: {one_line(note)}" for note in answer.notes))

    def failed(self, why: str) -> Found:
        """Return a note, and no events."""
        return Found(
            ERROR_EVENTS.empty(),
            (f"Detector {self.name} ({self.package}) failed, and its events are missing: {why}.",),
        )

    def _checked(self, events: pl.DataFrame) -> pl.DataFrame:
        """Add what is the same for all plug-ins, and what follows from the rest, to its events.

        Raises:
            BadTable: They cannot be.
        """
        events = events.with_columns(
            clean_names(events[name]) if name in _NAME_COLUMNS else clean_column(events[name])
            for name in events.columns
        )
        backwards = events.filter(pl.col("first_seen") > pl.col("last_seen")).height
        nameless = events.filter(pl.col("code").str.strip_chars() == "").height
        if backwards or nameless:
            raise BadTable(f"{backwards} events end before they begin, and {nameless} have no code.")
        who = pl.concat_list(pl.struct(key=pl.lit("detector"), value=pl.lit(self.name)))
        none = pl.lit([], dtype=ERROR_EVENTS.schema["details"])
        return ERROR_EVENTS.cast(
            events.with_columns(
                source=pl.lit(PLUG_IN, dtype=ERROR_EVENTS.schema["source"]),
                active_s=(pl.col("last_seen") - pl.col("first_seen")).dt.total_nanoseconds() / 1e9,
                details=pl.concat_list(who, pl.coalesce(pl.col("details"), none)),
            )
        )


def _events(path: Path) -> pl.DataFrame:
    """Read the events that a process wrote.

    Raises:
        BadTable: They are no such table, or too many.
    """
    if path.is_symlink() or not path.is_file():
        raise BadTable("It wrote no events.")
    count = pl.scan_parquet(path).select(pl.len()).collect().item()
    if count > _MAX_EVENTS:
        raise BadTable(f"It found {count:,} events; the limit is {_MAX_EVENTS:,}.")
    return ERROR_EVENTS.cast(pl.read_parquet(path))


def describe(point: EntryPoint) -> PlugInDetector:
    """Ask a process what an entry point is.

    Raises:
        BadRecording: It cannot be imported, or is no detector.
    """
    return PlugInDetector(point, ask_description("detector", _HOST, point, Description, guide="docs/faults.md"))


def load_faults(path: Path | None, *, points: Iterable[EntryPoint] | None = None) -> FaultConfig:
    """Load the configuration and the plug-ins. A package whose detector cannot be used is skipped and noted.

    Args:
        path: The configuration, `None` for the shipped rules alone.
        points: Entry points, those of the installed packages unless given.

    Raises:
        BadSetting: The configuration cannot be used.
    """
    config = default_config() if path is None else read_config(path)
    reserved = {*NAMES, *shipped_codes()}
    found = tuple(entry_points(group=GROUP) if points is None else points)
    usable = find_usable("detector", found, describe, reserved)
    # A plug-in that cannot be used does not state its name; that of its entry point has to do.
    known = reserved | {p.name for p in usable.plug_ins} | {p.name for p in found}
    unknown = sorted(config.disabled - known)
    if unknown:
        raise BadSetting(
            f"{path}: detectors.disable: there is no detector {', '.join(map(repr, unknown))}.",
            help=f"There are {', '.join(sorted(known))}.",
        )
    running = tuple(p for p in usable.plug_ins if config.runs(p.name))
    return replace(config, plug_ins=running, notes=usable.notes, skipped=usable.skipped)
