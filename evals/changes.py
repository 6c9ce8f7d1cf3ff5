"""Change the error events of a drive between the vehicle and the diagnosis. Pure and deterministic for a seed.

A change is a table of `scenario.toml`:

    kind        keys                                    what it simulates
    add         code, ecu, at, status, severity, source another fault: a decoy, a stale code, a contradiction
    repeat      code, times                             a consequence that chatters
    delay       code, seconds                           a code that is confirmed late: two trips, a debounce time
    lose        code, frames_lost                       the recording with these events did not arrive whole
    rename      code, to                                a code that nobody has described
    relabel     code, severity, status                  another control unit's habit
    merge       scenario                                a second, independent fault in the same drive
    say         texts                                   what the software writes into its log
    thin        share                                   a bad antenna: each activation arrives with this chance
    before      code, than, seconds                     a code that shows before another

`code` may be a pattern (`U01*`). `at` is a share of the drive, 0 to 1.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from fnmatch import fnmatchcase
from typing import Any, Final

import numpy as np
import polars as pl

from argus_assets.faults.schema import ERROR_EVENTS

_SOURCE: Final = {"truck": "j1939_dm1", "car": "uds_dtc", "av": "ros_diagnostic"}


@dataclass(frozen=True, slots=True)
class Tables:
    """A drive's tables: `faults.schema.ERROR_EVENTS` and `recordings.schema.RECORDINGS`."""

    platform: str
    events: pl.DataFrame
    recordings: pl.DataFrame


Merge = Callable[[str], Tables]
"""Tables of another scenario's drive with the same seed."""


def changed(tables: Tables, changes: tuple[dict[str, Any], ...], *, rng: np.random.Generator, merge: Merge) -> Tables:
    """Return the tables after all changes.

    Raises:
        ValueError: A change is unknown, or names a code that is not present.
    """
    for change in changes:
        given = dict(change)
        kind = given.pop("kind", None)
        if kind not in _KINDS:
            msg = f"unknown change {kind!r}; there are {', '.join(_KINDS)}"
            raise ValueError(msg)
        tables = _KINDS[kind](tables, rng, merge, **given)
    return tables


def _fits(events: pl.DataFrame, code: str) -> pl.Series:
    mask = pl.Series([fnmatchcase(c, code) for c in events["code"]], dtype=pl.Boolean)
    if not mask.any():
        msg = f"no event has the code {code!r}; there are {', '.join(sorted(set(events['code'])))}"
        raise ValueError(msg)
    return mask


def _with(tables: Tables, events: pl.DataFrame) -> Tables:
    ordered = events.sort("first_seen", "code", "ecu", maintain_order=True).with_columns(
        occurrence=(pl.int_range(pl.len()).over("code", "ecu", "source") + 1).cast(pl.UInt32)
    )
    return Tables(tables.platform, ERROR_EVENTS.cast(ordered.select(list(ERROR_EVENTS.schema))), tables.recordings)


def _span(tables: Tables) -> tuple[Any, float]:
    first, last = tables.recordings["first_timestamp"].min(), tables.recordings["last_timestamp"].max()
    return first, (last - first).total_seconds()  # type: ignore[operator]


def _add(
    tables: Tables, rng: np.random.Generator, _merge: Merge, *, code: str, ecu: str | None = None, at: float = 0.1,
    status: str = "active", severity: str = "warning", source: str | None = None, active_share: float = 0.3,
) -> Tables:  # fmt: skip
    first, seconds = _span(tables)
    jitter = float(rng.uniform(0, 0.02))
    seen = first + timedelta(seconds=seconds * min(0.97, at + jitter))
    active_s = min(seconds * active_share, seconds * 0.98 - seconds * (at + jitter))
    recording = tables.recordings.filter(pl.col("state") != "failed").row(0, named=True)
    row: dict[str, Any] = dict.fromkeys(ERROR_EVENTS.schema)
    row |= {
        "code": code, "source": source or _SOURCE[tables.platform], "ecu": ecu or "SA 0x31", "channel": "can0",
        "status": status, "severity": severity, "severity_rule": "changed by the scenario", "occurrence": 1,
        "first_seen": seen, "last_seen": seen + timedelta(seconds=max(0.0, active_s)), "active_s": max(0.0, active_s),
        "frame_count": 1 + int(max(0.0, active_s)), "recording": recording["recording"],
        "frame": int(rng.integers(1, max(2, recording["frames"]))), "payload_hex": "00",
    }  # fmt: skip
    added = ERROR_EVENTS.cast(pl.DataFrame([row], schema=ERROR_EVENTS.schema))
    return _with(tables, pl.concat([tables.events, added]))


def _repeat(tables: Tables, rng: np.random.Generator, _merge: Merge, *, code: str, times: int) -> Tables:
    mine = tables.events.filter(_fits(tables.events, code))
    first, seconds = _span(tables)
    start = (mine["first_seen"].min() - first).total_seconds()  # type: ignore[operator]
    copies = [
        mine.head(1).with_columns(
            first_seen=pl.lit(first + timedelta(seconds=at)).cast(mine.schema["first_seen"]),
            last_seen=pl.lit(first + timedelta(seconds=at)).cast(mine.schema["last_seen"]),
            active_s=pl.lit(0.0),
        )
        for at in np.sort(rng.uniform(start, max(start + 0.1, seconds - 0.1), times)).tolist()
    ]
    return _with(tables, pl.concat([tables.events, *copies]))


def _delay(tables: Tables, _rng: np.random.Generator, _merge: Merge, *, code: str, seconds: float) -> Tables:
    mask = _fits(tables.events, code)
    first, drive_s = _span(tables)
    end = first + timedelta(seconds=drive_s - 0.05)
    by = timedelta(seconds=seconds)
    later = [min(at + by, end) for at in tables.events["first_seen"]]
    moved = pl.Series(later, dtype=tables.events.schema["first_seen"])
    events = tables.events.with_columns(
        first_seen=pl.when(mask).then(moved).otherwise("first_seen"),
        last_seen=pl.when(mask).then(pl.max_horizontal("last_seen", moved)).otherwise("last_seen"),
    ).with_columns(active_s=(pl.col("last_seen") - pl.col("first_seen")).dt.total_nanoseconds() / 1e9)
    return _with(tables, events)


def _before(
    tables: Tables, rng: np.random.Generator, merge: Merge, *, code: str, than: str, seconds: float = 3.0
) -> Tables:
    """Shift `than` so that it starts after `code`."""
    mine = tables.events.filter(_fits(tables.events, code))["first_seen"].min()
    other = tables.events.filter(_fits(tables.events, than))["first_seen"].min()
    gap = (mine - other).total_seconds() + seconds  # type: ignore[operator]
    return tables if gap <= 0 else _delay(tables, rng, merge, code=than, seconds=gap)


def _lose(
    tables: Tables, _rng: np.random.Generator, _merge: Merge, *, code: str, frames_lost_pct: float = 20.0
) -> Tables:
    events = tables.events.filter(~_fits(tables.events, code))
    hurt = pl.int_range(pl.len()) == 0
    lost = (pl.col("frames").sum() * frames_lost_pct / 100).cast(pl.UInt64)
    recordings = tables.recordings.with_columns(
        frames_lost=pl.when(hurt).then(pl.col("frames_lost") + lost).otherwise("frames_lost"),
        state=pl.when(hurt).then(pl.lit("damaged")).otherwise(pl.col("state").cast(pl.String)).cast(
            tables.recordings.schema["state"]
        ),
    )  # fmt: skip
    return Tables(tables.platform, events, recordings)


def _rename(tables: Tables, _rng: np.random.Generator, _merge: Merge, *, code: str, to: str) -> Tables:
    mask = _fits(tables.events, code)
    return _with(tables, tables.events.with_columns(code=pl.when(mask).then(pl.lit(to)).otherwise("code")))


def _relabel(
    tables: Tables, _rng: np.random.Generator, _merge: Merge, *, code: str, severity: str | None = None,
    status: str | None = None,
) -> Tables:  # fmt: skip
    mask = _fits(tables.events, code)
    given = {name: value for name, value in (("severity", severity), ("status", status)) if value is not None}
    return _with(
        tables,
        tables.events.with_columns(
            **{
                name: pl.when(mask).then(pl.lit(value).cast(tables.events.schema[name])).otherwise(name)
                for name, value in given.items()
            }
        ),
    )


def _merge(tables: Tables, _rng: np.random.Generator, merge: Merge, *, scenario: str) -> Tables:
    other = merge(scenario)
    first, _ = _span(tables)
    theirs, _ = _span(other)
    by = first - theirs
    names = tables.recordings["recording"]
    events = other.events.with_columns(pl.col("first_seen", "last_seen") + by, recording=pl.lit(names[0])).filter(
        pl.col("last_seen") <= tables.recordings["last_timestamp"].max()
    )
    return _with(tables, pl.concat([tables.events, ERROR_EVENTS.cast(events.select(list(ERROR_EVENTS.schema)))]))


def _say(tables: Tables, rng: np.random.Generator, _merge: Merge, *, texts: list[str]) -> Tables:
    said = pl.Series([texts[int(n)] for n in rng.integers(0, len(texts), tables.events.height)], dtype=pl.String)
    return _with(tables, tables.events.with_columns(message=said))


def _thin(tables: Tables, rng: np.random.Generator, _merge: Merge, *, share: float) -> Tables:
    """Drop a share of the activations; the first one of each fault always arrives."""
    keep = pl.Series(rng.random(tables.events.height) < share)
    first = tables.events["occurrence"] == 1
    return _with(tables, tables.events.filter(keep | first))


_KINDS: Final[Mapping[str, Callable[..., Tables]]] = {
    "add": _add, "repeat": _repeat, "delay": _delay, "before": _before, "lose": _lose, "rename": _rename,
    "relabel": _relabel, "merge": _merge, "say": _say, "thin": _thin,
}  # fmt: skip
