"""The health of the CAN channels of a drive: their load, silent ECUs and gaps, all from one pass over the frames."""

from collections.abc import Callable
from typing import Protocol

import polars as pl

from argus_assets.faults.can_bus.bit_timing import USUAL_FD_RATIO, BitRate, estimated_kbps, frame_bits
from argus_assets.faults.can_bus.silence import Silences, find_silences
from argus_assets.faults.can_bus.traffic import Traffic, read_traffic
from argus_assets.faults.can_frames import PROVENANCE
from argus_assets.faults.detector import Found
from argus_assets.faults.evidence import with_payloads
from argus_assets.faults.schema import BUS_STATS, ERROR_EVENTS
from argus_assets.faults.severity import severity_of
from argus_assets.recordings.columns import FD_LENGTHS
from argus_assets.recordings.drive import Drive

BitRateOf = Callable[[str], BitRate | None]


class Config(Protocol):
    """The part of the configuration that this detector needs."""

    def bit_rate_of(self, channel: str) -> BitRate | None:
        """Return the configured bit rates of a channel, `None` without any."""
        ...


def wanted(_frames: pl.LazyFrame, _config: Config) -> None:
    """Select nothing: all frames are read once, in batches and without their bytes (`traffic.read_traffic`)."""


def find(drive: Drive, _rows: pl.DataFrame, config: Config) -> Found:
    """Find silent ECUs and gaps, and measure the CAN channels of a drive.

    Args:
        drive: The drive.
        config: Its bit rates; those of other channels are estimated.
    """
    traffic = read_traffic(drive)
    silences = find_silences(traffic)
    events = pl.concat([_silence_events(silences.senders), _gap_events(silences.channels)])
    # The last frames before the silences: few, of many.
    are_last = (pl.col("kind") == "can") & pl.col("frame").is_in(events["frame"].unique().implode())
    return Found(
        with_payloads(events, drive.frames, are_last), silences.notes, bus_stats(traffic, silences, config.bit_rate_of)
    )


# ------------------------------------------------------------------------------------------------- events


def _silence_events(silences: pl.DataFrame) -> pl.DataFrame:
    rule = (
        pl.when("came_back")
        .then(pl.lit("CAN: a cyclic message stopped and came back"))
        .otherwise(pl.lit("CAN: a cyclic message stopped"))
    )
    return _events(silences.with_columns(code=pl.lit("CAN_SILENT"), source=pl.lit("can_silence"), severity_rule=rule))


def _gap_events(gaps: pl.DataFrame) -> pl.DataFrame:
    rule = pl.lit("CAN: a channel without frames")
    return _events(gaps.with_columns(code=pl.lit("CAN_GAP"), source=pl.lit("can_gap"), severity_rule=rule))


def _events(silences: pl.DataFrame) -> pl.DataFrame:
    """Return silences as events; a silence counts from when it was noticed."""
    events = silences.sort("channel", "ecu", "missed").select(
        "code",
        "source",
        "ecu",
        "channel",
        "severity_rule",
        *PROVENANCE,
        status=pl.when("came_back").then(pl.lit("occurred")).otherwise(pl.lit("active")),
        severity=severity_of(pl.col("severity_rule")),
        occurrence=pl.int_range(1, pl.len() + 1).over("channel", "ecu"),
        first_seen="missed",
        last_seen="until",
        active_s=(pl.col("until") - pl.col("missed")) / 1e9,
        frame_count=pl.lit(1),
        details=pl.concat_list(
            _detail("period_ms", pl.col("period_ns") / 1e6),
            _detail("silent_s", pl.col("silent_ns") / 1e9),
            _detail("last_seen", pl.from_epoch("last_seen", time_unit="ns").dt.strftime("%Y-%m-%dT%H:%M:%S%.6fZ")),
        ),
        payload_hex=pl.lit(""),
    )
    return ERROR_EVENTS.cast(events)


def _detail(key: str, value: pl.Expr) -> pl.Expr:
    text = value if key == "last_seen" else value.round(3).cast(pl.String)
    return pl.struct(key=pl.lit(key), value=text)


# ------------------------------------------------------------------------------------------------- load


def bus_stats(traffic: Traffic, silences: Silences, bit_rate_of: BitRateOf) -> pl.DataFrame:
    """Measure the CAN channels: `schema.BUS_STATS`."""
    can = pl.col("kind") == "can"
    error = pl.col("is_error_frame").fill_null(value=False)
    presence, seconds = traffic.presence.filter(can), traffic.seconds.filter(can & ~error)
    heard = presence.group_by("channel").agg(
        frames=pl.col("frames").filter(~error).sum(),
        error_frames=pl.col("frames").filter(error).sum(),
        identifiers=pl.struct("is_extended_id", "arbitration_id").filter(~error).n_unique(),
        first_timestamp=pl.col("start").min(),
        last_timestamp=pl.col("end").max(),
    )
    gaps = (
        presence.filter(~error)
        .sort("channel", "start")
        .group_by("channel")
        .agg(longest_gap_s=(pl.col("start") - pl.col("end").cum_max().shift(1)).max().fill_null(0).clip(0) / 1e9)
        .with_columns(pl.when(pl.col("longest_gap_s") > 1).then("longest_gap_s").otherwise(0.0).alias("longest_gap_s"))
    )
    cyclic = silences.cyclic.group_by("channel").agg(cyclic_identifiers=pl.len())
    lengths = pl.when(_flag("is_fd")).then(_length(64)).otherwise(_length(8))
    data = seconds.group_by("channel").agg(
        data_bytes=(pl.when(_flag("is_remote_frame")).then(0).otherwise(lengths) * pl.col("frames")).sum(),
        has_fd=_flag("is_fd").any(),
    )
    rates = _rates(heard["channel"], seconds, traffic.fastest, bit_rate_of)
    load = _load(seconds.join(rates, on="channel"), recorded=traffic.seconds["second"].unique().sort())
    stats = heard
    for table in (gaps, cyclic, data, rates, load):
        stats = stats.join(table, on="channel", how="left")
    data_rate = pl.when(pl.col("has_fd")).then("data_bit_rate_kbps")
    return BUS_STATS.cast(
        stats.with_columns(
            pl.col(
                "cyclic_identifiers",
                "data_bytes",
                "load_mean_pct",
                "load_peak_pct",
                "load_peak_worst_pct",
                "longest_gap_s",
            ).fill_null(0),
            data_rate.alias("data_bit_rate_kbps"),
        )
        .drop("has_fd")
        .sort("channel")
    )


def _flag(name: str) -> pl.Expr:
    return pl.col(name).fill_null(value=False)


def _length(max_bytes: int) -> pl.Expr:
    code = pl.min_horizontal(pl.col("dlc").fill_null(0), 15)
    return pl.min_horizontal(
        code.replace_strict(dict(enumerate(FD_LENGTHS.tolist())), return_dtype=pl.Int64), max_bytes
    )


def _rates(channels: pl.Series, seconds: pl.DataFrame, fastest: pl.DataFrame, bit_rate_of: BitRateOf) -> pl.DataFrame:
    """Return the bit rates of each channel: configured ones, else estimates."""
    bits = frame_bits()
    busiest = (
        seconds.group_by("channel", "second")
        .agg(kbit=((bits.nominal + bits.data / USUAL_FD_RATIO) * pl.col("frames")).sum() / 1000)
        .group_by("channel")
        .agg(pl.col("kbit").max())
    )
    shown = fastest.sort("windows").group_by("channel", maintain_order=True).last()
    rows: list[tuple[str, float, float, str]] = []
    measured = channels.to_frame().join(busiest, on="channel", how="left").join(shown, on="channel", how="left")
    for channel, kbit, kbps, windows in measured.iter_rows():
        known = bit_rate_of(channel)
        rate = known or BitRate(estimated_kbps(kbps, windows or 0, kbit or 0.0))
        source = "estimated" if known is None else "configured"
        rows.append((channel, rate.kbps, rate.data_kbps or rate.kbps * USUAL_FD_RATIO, source))
    names = ("channel", "bit_rate_kbps", "data_bit_rate_kbps", "bit_rate_source")
    return pl.DataFrame(
        rows, schema=dict(zip(names, (pl.String, pl.Float64, pl.Float64, pl.String), strict=True)), orient="row"
    )


def _load(seconds: pl.DataFrame, recorded: pl.Series) -> pl.DataFrame:
    """Return the mean and peak load of each channel, percent."""
    rate, data_rate = pl.col("bit_rate_kbps"), pl.col("data_bit_rate_kbps")
    usual, worst = (frame_bits(worst=w).seconds(rate, data_rate) * pl.col("frames") for w in (False, True))
    by_second = seconds.group_by("channel", "second").agg(usual=usual.sum(), worst=worst.sum())
    load = by_second.group_by("channel").agg(
        pl.col("second").min().alias("first"),
        pl.col("second").max().alias("last"),
        total=pl.col("usual").sum(),
        load_peak_pct=pl.col("usual").max() * 100,
        load_peak_worst_pct=pl.col("worst").max() * 100,
    )
    recorded_s = recorded.search_sorted(load["last"], "right").cast(pl.Int64) - recorded.search_sorted(
        load["first"], "left"
    ).cast(pl.Int64)
    return load.with_columns(load_mean_pct=pl.col("total") * 100 / recorded_s).drop("first", "last", "total")
