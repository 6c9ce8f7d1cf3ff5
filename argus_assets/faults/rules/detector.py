"""Rules over signals → error events: which rule was broken when, with the values that show it."""

from collections.abc import Sequence
from typing import Final, Protocol

import polars as pl

from argus_assets.faults.activations import MAX_EVIDENCE_BYTES, MAX_TEXT_CHARACTERS, numbered
from argus_assets.faults.bounds import bounded_notes
from argus_assets.faults.can_frames import TIME_ORDER, data_frames
from argus_assets.faults.detector import Found
from argus_assets.faults.evidence import on_channels_of, with_payloads
from argus_assets.faults.rules import signals
from argus_assets.faults.rules.conditions import S, conditions_hold, episodes, silences
from argus_assets.faults.rules.rules import Enumeration, Missing, Rate, Rule, SignalName, Stuck, Threshold
from argus_assets.faults.rules.signals import SignalsOf, read_samples
from argus_assets.faults.schema import ERROR_EVENTS
from argus_assets.recordings.drive import Drive

_DIGITS: Final = 6


class Config(Protocol):
    """The part of the configuration that this detector needs."""

    @property
    def rules(self) -> Sequence[Rule]:
        """Active rules."""
        ...

    @property
    def signals(self) -> SignalsOf:
        """Definitions of the signals that they name."""
        ...


def wanted(frames: pl.LazyFrame, config: Config) -> pl.LazyFrame:
    """Select the CAN frames that carry the signals of rules."""
    return data_frames(frames, signals.wanted(config.signals))


def find(drive: Drive, rows: pl.DataFrame, config: Config) -> Found:
    """Find where rules are broken.

    Args:
        drive: For topics.
        rows: `wanted`.
        config: Rules and the signals that they name.
    """
    reading = _Reading(drive, rows.sort(TIME_ORDER), config)
    found = [(rule, _broken(rule, reading)) for rule in config.rules]
    of_topics = pl.concat([ERROR_EVENTS.empty(), *(events for rule, events in found if rule.signal is None)])
    of_can = [events for rule, events in found if rule.signal is not None]
    # Once for all rules: a drive has many frames.
    events = pl.concat([with_payloads(of_topics, drive.frames, on_channels_of(of_topics, "message")), *of_can])
    # Several rules may share a code, such as one for each of two limits.
    return Found(numbered(events), bounded_notes(dict.fromkeys(reading.notes)))


class _Reading:
    """The signals of a drive, each read once."""

    def __init__(self, drive: Drive, rows: pl.DataFrame, config: Config) -> None:
        self.drive = drive
        self.notes: list[str] = []
        self._rows = rows
        self._config = config
        self._read: dict[tuple[object, ...], pl.DataFrame] = {}
        self._range: tuple[int, int] | None = None

    def samples(self, named: SignalName) -> pl.DataFrame:
        key = (named.signal, named.topic, named.message_schema, named.field, named.valid)
        if key not in self._read:
            self._read[key], notes = read_samples(self.drive, self._rows, self._config.signals, named)
            self.notes += notes
        return self._read[key]

    def range_ns(self) -> tuple[int, int]:
        """Return the first and last moment of the drive; measured signals count where there are no frames."""
        if self._range is None:
            time = pl.col("timestamp").dt.timestamp("ns")
            tables = [self.drive.frames, *self.drive.topics.values()]
            for table in tables:
                first, last = table.select(time.min().alias("first"), time.max().alias("last")).collect().row(0)
                if first is not None:
                    self._range = (
                        (first, last)
                        if self._range is None
                        else (min(first, self._range[0]), max(last, self._range[1]))
                    )
        assert self._range is not None, "there is a sample"
        return self._range


def _broken(rule: Rule, reading: _Reading) -> pl.DataFrame:
    """Return the events of one rule, those of topics without their bytes."""
    samples = reading.samples(rule)
    if samples.is_empty():
        return ERROR_EVENTS.empty()
    conditions = [(when, reading.samples(when)) for when in rule.when]
    if isinstance(rule, Missing):
        found = silences(samples, rule.for_s, reading.range_ns())
        overdue = found.with_columns(overdue=pl.col("first") + round(rule.for_s * S))
        found = found.filter(conditions_hold(overdue, "overdue", conditions))
    else:
        found = episodes(samples, rule, conditions_hold(samples, "timestamp", conditions))
    return ERROR_EVENTS.empty() if found.is_empty() else _events(rule, found)


def _events(rule: Rule, found: pl.DataFrame) -> pl.DataFrame:
    if rule.unit:
        found = found.with_columns(unit=pl.lit(rule.unit))
    units = {unit: rule.condition(unit or "") for unit in found["unit"].unique()}
    condition = pl.col("unit").replace_strict(units, return_dtype=pl.String)
    payload_hex = pl.col("payload").bin.slice(0, MAX_EVIDENCE_BYTES).bin.encode("hex").fill_null("")
    return ERROR_EVENTS.cast(
        found.select(
            "channel",
            "recording",
            "frame",
            code=pl.lit(rule.code),
            source=pl.lit("rule"),
            ecu=pl.col("ecu") if rule.ecu is None else pl.lit(rule.ecu),
            status=pl.lit("active"),
            severity=pl.lit(str(rule.severity)),
            severity_rule=pl.concat_str(
                pl.lit(f"rule: {rule.title}: "), condition, pl.lit(" ("), _how_bad(rule), pl.lit(")")
            ),
            occurrence=pl.lit(0),
            first_seen="first",
            last_seen="last",
            active_s=(pl.col("last") - pl.col("first")) / S,
            frame_count="samples",
            message=pl.lit(rule.message[:MAX_TEXT_CHARACTERS]),
            details=_details(rule),
            payload_hex=payload_hex,
        )
    )


def _how_bad(rule: Rule) -> pl.Expr:
    """Return the most telling value."""
    match rule:
        case Threshold():
            return pl.lit("max ") + _number("high") if rule.above is not None else pl.lit("min ") + _number("low")
        case Rate():
            return pl.lit("at most ") + _number("extreme") + pl.lit("/s")
        case Enumeration() | Stuck():
            return pl.lit("at ") + pl.coalesce(pl.col("text"), _number("value"))
        case Missing():
            silent_s = (pl.col("last") - pl.col("first")) / S
            return pl.lit("silent for ") + _shown(silent_s) + pl.lit(" s")


def _details(rule: Rule) -> pl.Expr:
    """Return signal, unit and values, as far as there are any."""
    values = {
        "signal": pl.lit(rule.signal or rule.field),
        "unit": pl.col("unit"),
        "min": _number("low"),
        "max": _number("high"),
        "at_start": pl.coalesce(pl.col("text"), _number("value")),
        "change_per_s": _number("extreme"),
    }
    pairs = [pl.struct(key=pl.lit(key), value=value) for key, value in values.items()]
    filled = pl.element().struct.field("value").fill_null("") != ""
    return pl.concat_list(pairs).list.eval(pl.element().filter(filled))


def _number(column: str) -> pl.Expr:
    return _shown(pl.col(column))


def _shown(number: pl.Expr) -> pl.Expr:
    """Format a number with six digits, as float32 fields have no more."""
    return number.round_sig_figs(_DIGITS).cast(pl.String).str.replace(r"\.0$", "")
