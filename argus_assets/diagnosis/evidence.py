"""Condense error statistics into evidence: the compact document that a diagnosis rests on and may cite."""

from collections.abc import Callable, Mapping
from typing import Any, Final

import polars as pl

from argus_assets.diagnosis.citations import SHA256_DIGITS
from argus_assets.diagnosis.model import Coverage, Damage, Evidence, EvidenceItem, EvidencePair
from argus_assets.diagnosis.observations import observations, read_outs, units_seen
from argus_assets.diagnosis.ports import Past
from argus_assets.diagnosis.redaction import redact, safe_identifier, safe_release
from argus_assets.diagnosis.remarks import AFTER_STOP_S, log_remarks, recoveries, stopped_at, topics_seen
from argus_assets.diagnosis.states import (
    STATE_OF_STATUS,
    FaultState,
    clearings_of,
    fault_state,
    onset_seen,
    sessions_of,
)
from argus_assets.faults.dictionary import lookup as dictionary
from argus_assets.faults.schema import Severity
from argus_assets.stats.errors import top
from argus_assets.stats.ranking import SAME_MOMENT_NS

K: Final = 10
"""Number of faults in the evidence."""

MAX_PAIRS: Final = 24
MAX_VALUES: Final = 16
MAX_VALUE: Final = 60
MAX_DAMAGE: Final = 20
MAX_KINDS: Final = 5
MAX_RELATED: Final = 8


def build_evidence(
    stats: pl.DataFrame,
    recordings: pl.DataFrame,
    *,
    platform: str,
    release: str,
    drive_s: float,
    k: int = K,
    events: pl.DataFrame | None = None,
    problems: pl.DataFrame | None = None,
    pairs: pl.DataFrame | None = None,
    measurements: pl.DataFrame | None = None,
    remarks: pl.DataFrame | None = None,
    topics: pl.DataFrame | None = None,
    vehicle: str = "",
    past: Past | None = None,
    describe: Callable[[str], str] = lambda code: dictionary.describe(code).text,
) -> Evidence:
    """Select the `k` most important faults, and state how much of the drive could be read.

    Args:
        stats: `stats.schema.ERROR_STATS`.
        recordings: `recordings.schema.RECORDINGS`.
        platform: Vehicle platform.
        release: Software release of the vehicle.
        drive_s: Duration of the drive, seconds.
        k: Number of faults to select.
        events: `faults.schema.ERROR_EVENTS`: the frames that show a fault, and the lamps that they lit.
        problems: `recordings.schema.PROBLEMS`: damage of the recordings.
        pairs: `stats.schema.CODE_PAIRS`: faults that occurred together.
        measurements: `stats.schema.MEASUREMENTS`: live values.
        remarks: `stats.schema.REMARKS`: warnings of the log.
        topics: `stats.schema.TOPIC_STATS`.
        vehicle: Pseudonym of the vehicle.
        past: Counts from earlier drives.
        describe: Describe a code in plain words.
    """
    chosen = top(stats, k).sort("rank")
    again = stats.filter(pl.col("same_as").is_not_null()).sort("rank")
    digests = dict(recordings.select("recording", pl.col("sha256").str.slice(0, SHA256_DIGITS)).iter_rows())
    appeared = _appeared(chosen)
    clears = None if events is None else clearings_of(events)
    sessions = None if events is None else sessions_of(events)
    ends_ns = _ends_ns(recordings, events)
    said = () if remarks is None else log_remarks(remarks, starts_ns=_starts_ns(recordings))
    stopped, over = stopped_at(said), recoveries(said)
    items: list[EvidenceItem] = []
    for row in chosen.iter_rows(named=True):
        mine = None if events is None else _activations(events, row)
        same = again.filter(same_as=row["rank"])
        others = same.select("source", "status").iter_rows()
        items.append(
            EvidenceItem(
                id=f"E{row['rank']}",
                code=redact(row["code"]),
                source=row["source"],
                ecu=redact(row["ecu"]),
                status=row["status"],
                severity=Severity(row["severity"]),
                state=_of_log(row, stopped, over, starts_ns=_starts_ns(recordings))
                or _state(row, same, events, clears, sessions, ends_ns=ends_ns, drive_s=drive_s),
                onset_seen=onset_seen(row["source"], row["seconds_into_drive"]),
                meaning=redact(describe(row["code"])),
                occurrences=row["occurrences"],
                frame_count=row["frame_count"],
                active_s=round(row["active_s"], 3),
                active_share_pct=round(row["active_share_pct"], 2),
                seconds_into_drive=round(row["seconds_into_drive"], 3),
                appeared=appeared[row["rank"]],
                lamps=() if mine is None else _lamps(mine),
                co_occurring=tuple(redact(code) for code in row["co_occurring"][:MAX_RELATED]),
                also_reported=tuple(f"{source}: {status}" for source, status in others)[:MAX_RELATED],
                message=redact(row["message"]) if row["message"] else None,
                values=() if mine is None else _values(mine),
                recording=row["recording"],
                recording_sha256=digests.get(row["recording"]) or "",
                frame=row["frame"],
                last_frame=None if mine is None else _last_frame(mine, row),
                history=None if past is None else past.items.get((row["code"], row["ecu"])),
            )
        )
    return Evidence(
        platform=safe_identifier(platform),
        release=safe_release(release),
        vehicle=vehicle,
        coverage=Coverage(
            recordings=recordings.height,
            recordings_read=recordings.filter(pl.col("state") != "failed").height,
            frames=int(recordings["frames"].sum()),
            frames_lost=int(recordings["frames_lost"].sum()),
            drive_s=round(drive_s, 3),
        ),
        items=tuple(items),
        pairs=() if pairs is None else _pairs(pairs, chosen["rank"].to_list()),
        damage=_damage(recordings, problems),
        history=None if past is None else past.history,
        observations=() if measurements is None else observations(measurements),
        read_outs=() if measurements is None else read_outs(measurements),
        units=() if measurements is None else units_seen(measurements, _starts_ns(recordings)),
        remarks=said,
        topics=() if topics is None else topics_seen(topics, starts_ns=_starts_ns(recordings)),
        codes_total=stats["same_as"].null_count(),
    )


def _of_log(
    row: Mapping[str, Any], stopped: float | None, over: Mapping[str, float], *, starts_ns: int
) -> FaultState | None:
    """Return the state that the rest of the log gives a text of software: of a stop, or over by its node's own words."""
    if row["source"] not in ("ros_log", "ros_diagnostic"):
        return None
    if stopped is not None and 0.0 <= row["seconds_into_drive"] - stopped <= AFTER_STOP_S:
        return "stopping"
    if row["source"] == "ros_log" and row["ecu"] in over:
        last_s = (int(row["last_seen"].timestamp() * 1e9) - starts_ns) / 1e9
        return "ended" if over[row["ecu"]] >= last_s else None
    return None


def _starts_ns(recordings: pl.DataFrame) -> int:
    """Return the time of the drive's first frame, nanoseconds since 1970 UTC."""
    first = recordings["first_timestamp"].dt.timestamp("ns").min()
    return 0 if first is None else int(first)  # type: ignore[arg-type]


def _ends_ns(recordings: pl.DataFrame, events: pl.DataFrame | None) -> int:
    """Return the time of the drive's last frame, nanoseconds since 1970 UTC."""
    ends = [recordings["last_timestamp"].dt.timestamp("ns").max()]
    if events is not None:
        ends.append(events["last_seen"].dt.timestamp("ns").max())
    return max((int(end) for end in ends if end is not None), default=0)  # type: ignore[arg-type]


def _state(
    row: Mapping[str, Any],
    same: pl.DataFrame,
    events: pl.DataFrame | None,
    clears: pl.DataFrame | None,
    sessions: pl.DataFrame | None,
    *,
    ends_ns: int,
    drive_s: float,
) -> FaultState:
    """Return the state of a fault by the activations of all its sources, or by its status alone."""
    if events is None or clears is None or sessions is None:
        return STATE_OF_STATUS[row["status"]]
    sources = [row["source"], *same["source"]]
    codes = [row["code"], *same["code"]]
    mine = events.filter(
        pl.col("code").is_in(codes) & (pl.col("ecu") == row["ecu"]) & pl.col("source").cast(pl.String).is_in(sources)
    )
    return fault_state(mine, clears, sessions, ends_ns=ends_ns, drive_s=drive_s)


def _appeared(chosen: pl.DataFrame) -> dict[int, int]:
    """Map rank to the place in the order of first appearance, from 1; faults within a second share a place."""
    seen = chosen.select("rank", at=pl.col("first_seen").dt.timestamp("ns")).sort("at", "rank")
    later = (pl.col("at").diff() > SAME_MOMENT_NS).fill_null(value=False).cum_sum() + 1
    return dict(seen.select("rank", later).iter_rows())


def _activations(events: pl.DataFrame, row: Mapping[str, Any]) -> pl.DataFrame:
    return events.filter(
        (pl.col("code") == row["code"])
        & (pl.col("ecu") == row["ecu"])
        & (pl.col("source").cast(pl.String) == row["source"])
    )


def _lamps(mine: pl.DataFrame) -> tuple[str, ...]:
    texts = mine["lamp_status"].drop_nulls().unique().sort()
    return tuple(sorted({lamp for text in texts for lamp in text.split(", ") if lamp}))


def _values(mine: pl.DataFrame) -> tuple[tuple[str, str], ...]:
    """Return what came with the first report that has something."""
    details = next((d for d in mine.sort("first_seen")["details"] if d is not None and len(d)), ())
    return tuple((redact(str(d["key"])), redact(str(d["value"]))[:MAX_VALUE]) for d in list(details)[:MAX_VALUES])


def _last_frame(mine: pl.DataFrame, row: Mapping[str, Any]) -> int | None:
    """Return the last frame that begins an activation, in the recording of the first report."""
    found = mine.filter((pl.col("recording") == row["recording"]) & (pl.col("frame") >= row["frame"]))
    last = found["frame"].max()
    return None if last is None else int(last)  # type: ignore[arg-type]


def _pairs(pairs: pl.DataFrame, ranks: list[int]) -> tuple[EvidencePair, ...]:
    """Return the pairs among the items, most frequent first."""
    found = pairs.filter(pl.col("rank_a").is_in(ranks) & pl.col("rank_b").is_in(ranks)).sort(
        "joint_activations", "rank_a", "rank_b", descending=[True, False, False]
    )
    return tuple(
        EvidencePair(
            a=f"E{row['rank_a']}",
            b=f"E{row['rank_b']}",
            joint_activations=row["joint_activations"],
            lift=None if row["lift"] is None else float(f"{row['lift']:.3g}"),
            median_lead_s=round(row["median_lead_s"], 2),
        )
        for row in found.head(MAX_PAIRS).iter_rows(named=True)
    )


def _damage(recordings: pl.DataFrame, problems: pl.DataFrame | None) -> tuple[Damage, ...]:
    kinds: dict[str, list[str]] = {}
    if problems is not None:
        for recording, kind in problems.select("recording", pl.col("kind").cast(pl.String)).iter_rows():
            kinds.setdefault(recording, []).append(kind)
    hurt = recordings.filter(pl.col("state") != "parsed").sort("recording")
    return tuple(
        Damage(
            recording=row["recording"],
            state=str(row["state"]),
            frames=row["frames"],
            frames_lost=row["frames_lost"],
            problems=tuple(dict.fromkeys(kinds.get(row["recording"], ())))[:MAX_KINDS],
        )
        for row in hurt.head(MAX_DAMAGE).iter_rows(named=True)
    )
