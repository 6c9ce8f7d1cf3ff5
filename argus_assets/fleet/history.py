"""The history of a vehicle: which faults each of its drives had and which were cleared, from the drives' own tables.

`stats/lifecycle.py` makes of it what became of each fault. Who reads the tables, and from where, is not known here.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

import polars as pl

from argus_assets.drop.keys import parse_partition_key
from argus_assets.drop.manifest import Manifest
from argus_assets.faults.clearings import CLEAR_CODES
from argus_assets.stats.lifecycle import SEVERITIES, Clearing, DriveSeen, FaultSeen, clearings_of

READERS: Final = 16
"""Drives that are read at the same time: a read waits for storage most of its time."""


@dataclass(frozen=True, slots=True)
class DriveTables:
    """The part of a processed drive that the history needs.

    Attributes:
        error_stats: Table `error_stats`.
        drive_stats: Table `drive_stats`.
        error_events: Reads the table `error_events`; called only for a drive in which codes were cleared.
    """

    manifest: Manifest
    error_stats: pl.DataFrame
    drive_stats: pl.DataFrame
    error_events: Callable[[], pl.DataFrame]


def partitions_of_vehicle(keys: Iterable[str], vehicle_id: str) -> list[str]:
    """Return the partition keys of a vehicle's drives by date of recording, which keys begin with."""
    return sorted(
        key for key in keys if (parsed := parse_partition_key(key)) is not None and parsed.vehicle_id == vehicle_id
    )


def vehicle_history(
    partitions: Sequence[str], read: Callable[[str], DriveTables | None], *, readers: int = READERS
) -> list[DriveSeen]:
    """Return drives in the order of their recording.

    Args:
        partitions: Keys of the drives.
        read: Reads the tables of a drive; `None` when it was not processed. Called from several threads.
        readers: Drives that are read at the same time.
    """

    def drive(partition: str) -> DriveSeen | None:
        tables = read(partition)
        return None if tables is None else drive_seen(partition, tables)

    with ThreadPoolExecutor(readers) as pool:
        found = [drive for drive in pool.map(drive, partitions) if drive is not None]
    return sorted(found, key=lambda d: (d.recorded_from, d.partition))


def drive_seen(partition: str, tables: DriveTables) -> DriveSeen:
    """Return the faults and clearings of one drive.

    Args:
        partition: Key of the drive.
        tables: Its tables.
    """
    stats, is_clear = tables.error_stats, pl.col("code").is_in(CLEAR_CODES)
    return DriveSeen(
        partition=partition,
        recorded_from=tables.manifest.recorded_from,
        recorded_s=tables.drive_stats["recorded_h"][0] * 3600,
        release=tables.manifest.release,
        faults=_faults(stats.filter(~is_clear, pl.col("status") != "previously_active")),
        clearings=() if stats.filter(is_clear).is_empty() else _clearings(tables.error_events().filter(is_clear)),
    )


def _faults(stats: pl.DataFrame) -> Mapping[tuple[str, str], FaultSeen]:
    faults: dict[tuple[str, str], FaultSeen] = {}
    for row in stats.iter_rows(named=True):
        key = (row["code"], row["ecu"])
        fault = FaultSeen(
            first_seen=row["first_seen"],
            last_seen=row["last_seen"],
            seconds_into_drive=row["seconds_into_drive"],
            occurrences=row["occurrences"],
            severity=row["severity"],
        )
        faults[key] = _merged(faults[key], fault) if key in faults else fault
    return faults


def _merged(one: FaultSeen, other: FaultSeen) -> FaultSeen:
    """Merge what two sources reported of the same code of the same ECU."""
    return FaultSeen(
        first_seen=min(one.first_seen, other.first_seen),
        last_seen=max(one.last_seen, other.last_seen),
        seconds_into_drive=min(one.seconds_into_drive, other.seconds_into_drive),
        occurrences=max(one.occurrences, other.occurrences),
        severity=min(one.severity, other.severity, key=SEVERITIES.index),
    )


def _clearings(events: pl.DataFrame) -> tuple[Clearing, ...]:
    return tuple(
        clearing
        for row in events.iter_rows(named=True)
        for clearing in clearings_of(
            row["code"],
            ecu=row["ecu"],
            details={pair["key"]: pair["value"] for pair in row["details"] or ()},
            message=row["message"],
            at=row["first_seen"],
        )
    )
