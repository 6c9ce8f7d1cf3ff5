"""Silent senders: cyclic messages that stop while their channel goes on, and channels that stop while others go on.

A message is cyclic by the way it was sent in this drive. On J1939 the identifier contains the sender, and an ECU is
silent when all its messages are; elsewhere each identifier counts on its own.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl

from argus_assets.faults.bounds import bounded_notes
from argus_assets.faults.can_bus.traffic import I64, Traffic, join_presence

MIN_FRAMES: Final = 20
MAX_PERIOD_NS: Final = 5_000_000_000
REGULAR_SHARE: Final = 0.9
MIN_COVERAGE: Final = 0.1
"""A cyclic message: at least `MIN_FRAMES` frames, and `REGULAR_SHARE` of the times between them from half to one and a
half of their median, which is at most `MAX_PERIOD_NS`. Messages that are sent on an event or a change are not that regular.
The packets of long messages are, but they are absent most of the time: a cyclic message is present for `MIN_COVERAGE` of the
time from its first to its last frame."""

MISSED_PERIODS: Final = 10
MIN_SILENCE_NS: Final = 1_000_000_000
"""A message is missed after ten periods, which no jitter and no burst of errors explains, but not before a second, which a
gateway or a logger may lose."""

MIN_SILENCE_AT_END_NS: Final = 5_000_000_000
"""A silence that lasts to the end must be longer: recorders and ECUs that are switched off stop one after another."""

SWITCHED_OFF_NS: Final = 30_000_000_000
"""Where most of a channel's senders stop within so long before the end, the vehicle was switched off."""

_PACE: Final = 5
"""A sender keeps its pace while its frames are not further apart than so many periods on average."""

_REGULAR: Final = 1.5
"""Pauses that differ by less than this factor are a slower pace, no silence."""

_J1939_PGNS: Final = (
    0xEE00, 0xEC00, 0xF003, 0xF004, 0xFECA, 0xFEE5, 0xFEE9, 0xFEEE, 0xFEEF, 0xFEF1, 0xFEF2, 0xFEF5, 0xFEF7,
)  # fmt: skip
"""Messages by which J1939 is recognised: address claims, transport, DM1, and the usual ones of engines and vehicles."""

_DIALOGUE_FORMATS: Final = (0xC7, 0xC8, 0xDA, 0xDB, 0xE8, 0xEA, 0xEB, 0xEC, 0xEE)
"""PDU formats of 29-bit identifiers that answer or ask: transport, diagnostics, acknowledge, request, address claim."""

_UDS_29_BIT: Final = 0x17FC0000
"""Upper 11 bits of the identifiers that Volkswagen's 29-bit buses use for diagnostics."""

_SHORTEST_PACE: Final = 5
"""Frames from which on a pace is known."""

SILENCES: Final = pl.Schema(
    {
        "channel": pl.String(),
        "ecu": pl.String(),
        "last_seen": pl.Int64(),
        "missed": pl.Int64(),
        "until": pl.Int64(),
        "came_back": pl.Boolean(),
        "period_ns": pl.Int64(),
        "silent_ns": pl.Int64(),
        "recording": pl.String(),
        "frame": pl.UInt64(),
    }
)
"""Silences, times in nanoseconds since 1970 UTC: when the sender was last seen, missed, and until when; the time of it in
which the channel was recorded; and the last frame before. `ecu` is that of the channel where all of it was silent."""


@dataclass(frozen=True, slots=True)
class Silences:
    """Silences and cyclic messages of a drive.

    Attributes:
        senders: `SILENCES` of messages and ECUs.
        channels: `SILENCES` of whole channels.
        cyclic: Cyclic messages: channel, ecu, arbitration_id, is_extended_id, period_ns.
        notes: What was not reported, a sentence each.
    """

    senders: pl.DataFrame
    channels: pl.DataFrame
    cyclic: pl.DataFrame
    notes: tuple[str, ...]


def find_silences(traffic: Traffic) -> Silences:
    """Find the senders and channels that fell silent."""
    can = traffic.presence.filter((pl.col("kind") == "can") & ~_flag("is_error_frame") & ~_flag("is_remote_frame"))
    names = _senders(can.select("channel", "is_extended_id", "arbitration_id").unique())
    cyclic = _cyclic(traffic, names)
    periods = cyclic.group_by("channel", "ecu").agg(pl.col("period_ns").min())
    # Any frame shows that its sender is alive, but not those that the recorder sent itself.
    heard = can.filter(pl.col("is_rx").fill_null(value=True)).join(names, on=_IDENTIFIER)
    senders = join_presence(heard, ("channel", "ecu")).join(periods, on=("channel", "ecu"))
    channels = join_presence(can, ("channel",))
    everything = join_presence(traffic.presence.with_columns(all=pl.lit(0)), ("all",))
    fastest = periods.group_by("channel").agg(pl.col("period_ns").min())
    whole = channels.with_columns(ecu="channel").join(fastest, on="channel")
    clocks = {channel: _Clock.of(rows) for (channel,), rows in channels.group_by("channel")}
    found = _silences(senders, clocks)
    kept, notes = _without_switching_off(found, periods, clocks)
    return Silences(kept, _silences(whole, dict.fromkeys(clocks, _Clock.of(everything))), cyclic, notes)


_IDENTIFIER: Final = ("channel", "is_extended_id", "arbitration_id")


def _flag(name: str) -> pl.Expr:
    return pl.col(name).fill_null(value=False)


# ------------------------------------------------------------------------------------------------- senders


def _senders(identifiers: pl.DataFrame) -> pl.DataFrame:
    """Add `ecu` to `_IDENTIFIER`: `SA 0x0B` on J1939, else `0x123`; and whether the identifier may be cyclic.

    Diagnostic and transport messages are not: testers poll, and stop when they are done.
    """
    extended = _flag("is_extended_id")
    can_id = pl.col("arbitration_id")
    pdu_format = can_id // 2**16 % 2**8
    pgn = can_id // 2**8 % 2**18
    pgn = pl.when(pdu_format < 240).then(pgn // 2**8 * 2**8).otherwise(pgn)
    # Of 11-bit identifiers, ISO 15765-4 names 0x7DF to 0x7EF, and manufacturers take others from 0x700 on.
    is_dialogue = (
        pl.when(extended)
        .then(pdu_format.is_in(_DIALOGUE_FORMATS) | (can_id // 2**18 == _UDS_29_BIT // 2**18))
        .otherwise(can_id >= 0x700)
    )
    known = identifiers.with_columns(
        may_be_cyclic=~is_dialogue, is_j1939=(extended & pgn.is_in(_J1939_PGNS)).any().over("channel") & extended
    )
    names = [
        f"SA 0x{number % 256:02X}" if is_j1939 else f"0x{number:08X}" if is_extended else f"0x{number:03X}"
        for number, is_extended, is_j1939 in known.select("arbitration_id", "is_extended_id", "is_j1939").iter_rows()
    ]
    return known.select(*_IDENTIFIER, "may_be_cyclic", ecu=pl.Series(names, dtype=pl.String))


def _cyclic(traffic: Traffic, names: pl.DataFrame) -> pl.DataFrame:
    spans = traffic.presence.group_by(_IDENTIFIER).agg(span_ns=pl.col("end").max() - pl.col("start").min())
    by_class = (
        traffic.spacing.filter(
            (pl.col("kind") == "can") & ~_flag("is_error_frame") & ~_flag("is_remote_frame"),
            pl.col("is_rx").fill_null(value=True),
        )
        .join(names.filter("may_be_cyclic"), on=_IDENTIFIER)
        .group_by(*_IDENTIFIER, "ecu", "size_class")
        .agg(pl.col("count", "total_ns").sum())
        .sort(*_IDENTIFIER, "size_class")
        .with_columns(mean_ns=pl.col("total_ns") / pl.col("count"), below=pl.col("count").cum_sum().over(_IDENTIFIER))
        .with_columns(all=pl.col("count").sum().over(_IDENTIFIER))
    )
    median = pl.col("mean_ns").filter(pl.col("below") * 2 >= pl.col("all")).first().over(_IDENTIFIER)
    return (
        by_class.with_columns(median_ns=median)
        .filter((pl.col("mean_ns") / pl.col("median_ns")).is_between(0.5, 1.5))
        .group_by(*_IDENTIFIER, "ecu")
        .agg(
            pl.col("all", "median_ns").first(),
            regular=pl.col("count").sum(),
            period_ns=(pl.col("total_ns").sum() / pl.col("count").sum()).round().cast(pl.Int64),
        )
        .filter(
            pl.col("all") >= MIN_FRAMES - 1,
            pl.col("regular") >= REGULAR_SHARE * pl.col("all"),
            pl.col("median_ns").is_between(1, MAX_PERIOD_NS),
        )
        .join(spans, on=_IDENTIFIER)
        .filter(pl.col("regular") * pl.col("period_ns") >= MIN_COVERAGE * pl.col("span_ns"))
        .select("channel", "ecu", "arbitration_id", "is_extended_id", "period_ns")
    )


# ------------------------------------------------------------------------------------------------- silences


@dataclass(frozen=True, slots=True)
class _Clock:
    """Time that runs only while there are frames.

    Attributes:
        edges: Starts and ends of the stretches with frames, nanoseconds since 1970, shape (2 n,).
        elapsed: Time with frames up to each edge, nanoseconds.
    """

    edges: I64
    elapsed: I64

    @classmethod
    def of(cls, presence: pl.DataFrame) -> "_Clock":
        stretches = presence.sort("start").select("start", "end").to_numpy()
        edges = stretches.reshape(-1).astype(np.int64)
        steps = np.diff(edges, prepend=edges[:1])
        steps[::2] = 0
        return cls(edges, np.cumsum(steps))

    def at(self, times_ns: I64) -> I64:
        """Return the time with frames up to these times, nanoseconds."""
        place = np.clip(np.searchsorted(self.edges, times_ns, "right") - 1, 0, len(self.edges) - 1)
        within = np.where(place % 2 == 0, times_ns - self.edges[place], 0)
        return self.elapsed[place] + np.maximum(within, 0)

    @property
    def end(self) -> int:
        """Time of the last frame."""
        return int(self.edges[-1])


def _silences(presence: pl.DataFrame, clocks: Mapping[str, _Clock]) -> pl.DataFrame:
    """Return the silences of senders, which are few: a hundred on a bus.

    Args:
        presence: Stretches of each channel and ecu, with period_ns.
        clocks: By channel, what the sender's silence is measured by.
    """
    found: list[dict[str, object]] = []
    for (channel, ecu), rows in presence.group_by("channel", "ecu", maintain_order=True):
        clock = clocks[str(channel)]
        period = int(rows["period_ns"][0])
        starts, ends, frames = (rows[name].to_numpy() for name in ("start", "end", "frames"))
        for last, back in _stretches(clock.at(starts), clock.at(ends), frames, period, int(clock.elapsed[-1])):
            last_seen, until = int(ends[last]), clock.end if back is None else int(starts[back])
            silent = clock.at(np.array([last_seen, until]))
            found.append(
                {
                    "channel": channel,
                    "ecu": ecu,
                    "last_seen": last_seen,
                    "missed": min(last_seen + allowed_ns(period), until),
                    "until": until,
                    "came_back": back is not None,
                    "period_ns": period,
                    "silent_ns": int(silent[1] - silent[0]),
                    "recording": rows["recording"][last],
                    "frame": rows["frame"][last],
                }
            )
    return pl.DataFrame(found, schema=SILENCES)


def allowed_ns(period_ns: int) -> int:
    """Return the time for which a message may be absent, nanoseconds."""
    return max(MISSED_PERIODS * period_ns, MIN_SILENCE_NS)


def _stretches(starts: I64, ends: I64, frames: I64, period: int, end: int) -> Iterator[tuple[int, int | None]]:
    """Yield the silences of one sender: the numbers of the stretches before and after, `None` when it did not come back.

    A silence begins where the sender kept its pace and ends where it keeps it again. A slower pace in between is none.

    Args:
        starts: Of stretches with frames, by the channel's clock, as all times here.
        ends: Their ends.
        frames: Their frames.
        period: Of the fastest message.
        end: Of the channel.
    """
    allowed = allowed_ns(period)
    breaks = np.flatnonzero(starts[1:] - ends[:-1] > allowed)
    firsts, lasts = np.append(0, breaks + 1), np.append(breaks, len(starts) - 1)
    counts = np.add.reduceat(frames, firsts)
    at_pace = np.flatnonzero(
        (counts >= _SHORTEST_PACE) & (ends[lasts] - starts[firsts] <= _PACE * period * (counts - 1))
    )
    pauses = starts[firsts[1:]] - ends[lasts[:-1]]
    for number, before in enumerate(at_pace.tolist()):
        behind = int(at_pace[number + 1]) if number + 1 < len(at_pace) else None
        between = pauses[before:behind]
        if behind is None:
            rest = end - int(ends[-1])
            begun = end - int(ends[lasts[before]])
            if begun <= max(allowed, MIN_SILENCE_AT_END_NS) or _is_slower(
                between, rest, int(counts[before + 1 :].sum()), begun
            ):
                continue
        elif _is_slower(
            between, 0, int(counts[before + 1 : behind].sum()), int(starts[firsts[behind]] - ends[lasts[before]])
        ):
            continue
        yield int(lasts[before]), None if behind is None else int(firsts[behind])


def _is_slower(pauses: I64, open_pause: int, frames: int, whole: int) -> bool:
    """Return whether a sender only slowed down.

    Args:
        pauses: Its pauses, nanoseconds.
        open_pause: The time behind its last frame, which may not have ended.
        frames: Its frames between the pauses.
        whole: The time from its usual pace to its usual pace or the end.
    """
    if len(pauses) < 2 or frames < 2:
        return False
    longest = max(int(pauses.max()), open_pause)
    return longest <= _REGULAR * int(pauses.min()) or longest <= _REGULAR * whole / (frames + 1)


def _without_switching_off(
    found: pl.DataFrame, periods: pl.DataFrame, clocks: Mapping[str, _Clock]
) -> tuple[pl.DataFrame, tuple[str, ...]]:
    """Leave out the silences of a vehicle that was switched off."""
    ends = pl.DataFrame(
        {"channel": list(clocks), "end": [c.end for c in clocks.values()]},
        schema={"channel": pl.String, "end": pl.Int64},
    )
    last = found.join(ends, on="channel").filter(
        ~pl.col("came_back") & (pl.col("end") - pl.col("last_seen") <= SWITCHED_OFF_NS)
    )
    counts = (
        last.group_by("channel")
        .agg(stopped=pl.len())
        .join(periods.group_by("channel").agg(senders=pl.len()), on="channel")
        .filter((pl.col("stopped") > 1) & (2 * pl.col("stopped") > pl.col("senders")))
        .sort("channel")
    )
    notes = bounded_notes(
        f"{channel}: {stopped} of {senders} cyclic senders stopped shortly before the end; taken for a vehicle that was "
        "switched off."
        for channel, stopped, senders in counts.select("channel", "stopped", "senders").iter_rows()
    )
    off = last.join(counts, on="channel", how="semi").select("channel", "ecu", "last_seen")
    return found.join(off, on=("channel", "ecu", "last_seen"), how="anti", maintain_order="left"), notes
