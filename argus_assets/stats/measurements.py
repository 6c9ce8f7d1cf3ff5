"""Values that control units send while driving: parameters of SAE J1939-71, and answers to an OBD tester.

They confirm or clear a sensor, and need no DBC. Each quantity of each sender becomes one row of `schema.MEASUREMENTS`. A raw
J1939 number above 0xFA… is no value: 0xFE… says that the sensor failed, 0xFF… that there is none (SAE J1939-71, 5.1.4).

Values while the engine runs count apart from others: voltage falls while cranking, and oil pressure is none without engine.
Fuel trims count apart at idle and under load, which tells unmetered air from a weak fuel supply.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import polars as pl

from argus_assets.faults.can_frames import IS_EXTENDED, byte, data_frames
from argus_assets.faults.uds_obd.obd_pids import PIDS
from argus_assets.recordings.drive import Drive
from argus_assets.stats.readings import OBD_ANSWERS
from argus_assets.stats.schema import MEASUREMENTS

MAX_ROWS: Final = 512
"""More than 40 quantities of a dozen units; a file could name 254 senders on many channels."""

RUNNING_RPM: Final = 400.0
"""No engine idles below; cranking stays below."""

SETTLED_NS: Final = 10_000_000_000
"""An engine counts as running from 10 s after its start: pressures have built up, the alternator charges."""

IDLE_RPM: Final = 1100.0
DRIVING_RPM: Final = 2000.0
LOAD_PCT: Final = 50.0
"""Bounds of idle and load for fuel trims; between them nothing is told apart."""

ENGINE_AGE_NS: Final = 120_000_000_000
"""An engine speed or load holds for so long: a tester asks for one parameter after another."""

_PGN: Final = 0x03FFFF00
_ID: Final = pl.col("arbitration_id")


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of a J1939 message (SAE J1939-71).

    Attributes:
        spn: Its number.
        first: Index of its first byte, from 0.
        size: Bytes, 1 or 2; two are least significant first.
        factor: Unit of a bit.
        offset: Value of the raw number 0.
    """

    spn: int
    quantity: str
    unit: str
    first: int
    size: int
    factor: float
    offset: float = 0.0


ENGINE_SPEED: Final = "engine_speed"
ENGINE_LOAD: Final = "engine_load"

J1939: Final[dict[int, tuple[Parameter, ...]]] = {
    61443: (
        Parameter(91, "accelerator_pedal", "%", 1, 1, 0.4),
        Parameter(92, ENGINE_LOAD, "%", 2, 1, 1.0),
    ),
    61444: (Parameter(190, ENGINE_SPEED, "rpm", 3, 2, 0.125),),
    64891: (
        Parameter(3719, "particulate_filter_soot", "%", 0, 1, 1.0),
        Parameter(3720, "particulate_filter_ash", "%", 1, 1, 1.0),
    ),
    65110: (
        Parameter(1761, "exhaust_fluid_level", "%", 0, 1, 0.4),
        Parameter(3031, "exhaust_fluid_temperature", "°C", 1, 1, 1.0, -40.0),
    ),
    65198: (
        Parameter(46, "air_supply_pressure", "kPa", 0, 1, 8.0),
        Parameter(1087, "air_circuit_1_pressure", "kPa", 2, 1, 8.0),
        Parameter(1088, "air_circuit_2_pressure", "kPa", 3, 1, 8.0),
    ),
    65243: (Parameter(157, "fuel_rail_pressure", "kPa", 2, 2, 1000 / 256),),
    65262: (
        Parameter(110, "coolant_temperature", "°C", 0, 1, 1.0, -40.0),
        Parameter(174, "fuel_temperature", "°C", 1, 1, 1.0, -40.0),
        Parameter(175, "oil_temperature", "°C", 2, 2, 0.03125, -273.0),
    ),
    65263: (
        Parameter(94, "fuel_supply_pressure", "kPa", 0, 1, 4.0),
        Parameter(98, "oil_level", "%", 2, 1, 0.4),
        Parameter(100, "oil_pressure", "kPa", 3, 1, 4.0),
        Parameter(101, "crankcase_pressure", "kPa", 4, 2, 1 / 128, -250.0),
        Parameter(111, "coolant_level", "%", 7, 1, 0.4),
    ),
    65265: (Parameter(84, "vehicle_speed", "km/h", 1, 2, 1 / 256),),
    65269: (
        Parameter(108, "barometric_pressure", "kPa", 0, 1, 0.5),
        Parameter(171, "ambient_temperature", "°C", 3, 2, 0.03125, -273.0),
    ),
    65270: (
        Parameter(102, "boost_pressure", "kPa", 1, 1, 2.0),
        Parameter(105, "charge_air_temperature", "°C", 2, 1, 1.0, -40.0),
        Parameter(107, "air_filter_pressure_drop", "kPa", 4, 1, 0.05),
        Parameter(173, "exhaust_temperature", "°C", 5, 2, 0.03125, -273.0),
    ),
    65271: (
        Parameter(167, "charging_voltage", "V", 2, 2, 0.05),
        Parameter(168, "battery_voltage", "V", 4, 2, 0.05),
        Parameter(158, "supply_voltage", "V", 6, 2, 0.05),
    ),
    65272: (
        Parameter(127, "transmission_oil_pressure", "kPa", 3, 1, 16.0),
        Parameter(177, "transmission_oil_temperature", "°C", 4, 2, 0.03125, -273.0),
    ),
    65276: (Parameter(96, "fuel_level", "%", 1, 1, 0.4),),
}
"""Parameter group → its parameters; positions and scales of SAE J1939-71."""

OBD: Final[dict[int, str]] = {
    0x04: ENGINE_LOAD,
    0x05: "coolant_temperature",
    0x06: "short_fuel_trim_1",
    0x07: "long_fuel_trim_1",
    0x08: "short_fuel_trim_2",
    0x09: "long_fuel_trim_2",
    0x0A: "fuel_supply_pressure",
    0x0B: "intake_manifold_pressure",
    0x0C: ENGINE_SPEED,
    0x0D: "vehicle_speed",
    0x0F: "intake_air_temperature",
    0x10: "mass_air_flow",
    0x11: "throttle_position",
    0x22: "fuel_rail_pressure",
    0x23: "fuel_rail_pressure",
    0x2F: "fuel_level",
    0x33: "barometric_pressure",
    0x42: "battery_voltage",
    0x46: "ambient_temperature",
    0x59: "fuel_rail_pressure",
    0x5B: "hybrid_battery_life",
    0x5C: "oil_temperature",
}
"""Parameter of OBD service 01 (SAE J1979-DA) → its quantity; `PIDS` has the scale."""

MESSAGES: Final = "messages"
"""Quantity of the rows that count what a J1939 unit sent at all: it lives from the first to the last of them."""

READ_OUT: Final = "read_out_"
"""Beginning of the quantity of the rows that count answers to a request for codes, also empty ones; the service follows."""

_READ_OUTS: Final = {0x43: "03", 0x47: "07", 0x4A: "0A", 0x59: "19", 0x58: "18"}
"""First byte of an answer → the service that asked: OBD (SAE J1979), UDS (ISO 14229-1), KWP2000 (ISO 14230-3)."""

_MAY_ANSWER: Final = (~IS_EXTENDED & _ID.is_between(0x700, 0x7FF)) | (IS_EXTENDED & ((_ID & ~0xFF) == 0x18DAF100))
"""Identifiers of answers to a tester: those of ISO 15765-4, and of makers, whose units use what is left of 11 bits."""

_J1939_ADDRESSED: Final = IS_EXTENDED & ((_ID & 0x03FF0000) != 0x00DA0000) & ((_ID & 0x03FF0000) != 0x00DB0000)
"""29-bit frames but those of diagnostics on CAN (ISO 15765-2), whose addresses are others."""


def measured_frames(drive: Drive) -> pl.DataFrame:
    """Return the CAN frames of a drive that carry a value of this module, in one pass."""
    groups = [pgn << 8 for pgn in J1939]
    values = (IS_EXTENDED & (_ID & _PGN).is_in(groups)) | (OBD_ANSWERS & (byte(1) == 0x41) & byte(2).is_in(list(OBD)))
    read = list(_READ_OUTS)
    # A single frame has its length in front; the first of several has two bytes of it (ISO 15765-2, 9.2).
    lists = _MAY_ANSWER & (
        (byte(0).is_between(1, 7) & byte(1).is_in(read)) | ((byte(0) // 16 == 1) & byte(2).is_in(read))
    )
    wanted = values | lists
    return data_frames(drive.frames, wanted).collect()


def measure(drive: Drive, frames: pl.DataFrame | None = None) -> pl.DataFrame:
    """Measure the quantities of a drive.

    Args:
        drive: What was recorded.
        frames: Its `measured_frames`, if already read.

    Returns:
        `schema.MEASUREMENTS`, by quantity and sender.
    """
    frames = measured_frames(drive) if frames is None else frames
    values = pl.concat([_VALUES, *_j1939_values(frames), *_obd_values(frames)])
    rows = [_senders(drive), _read_outs(frames)]
    if not values.is_empty():
        rows.append(_summaries(values))
    found = pl.concat(rows, how="diagonal_relaxed").sort("quantity", "source", "sender", "channel").head(MAX_ROWS)
    names = [_name(source, sender) for source, sender in found.select("source", "sender").iter_rows()]
    return MEASUREMENTS.cast(found.with_columns(ecu=pl.Series(names, dtype=pl.String)).drop("sender"))


def _name(source: str, sender: int) -> str:
    """Return the name of a sender, as events have it."""
    return f"SA 0x{sender:02X}" if source == "j1939" else f"0x{sender:X}"


_VALUES: Final = pl.DataFrame(
    schema={
        "quantity": pl.String, "unit": pl.String, "source": pl.String, "sender": pl.Int64, "channel": pl.String,
        "timestamp": pl.Int64, "value": pl.Float64, "state": pl.String,
    }
)  # fmt: skip
"""Readings: value is null unless the state is `valid`; the others are `error` and `not_available`."""


def _j1939_values(frames: pl.DataFrame) -> Iterator[pl.DataFrame]:
    for pgn, parameters in J1939.items():
        of_group = frames.filter(IS_EXTENDED & (pgn << 8 == (_ID & _PGN)))
        if of_group.is_empty():
            continue
        for p in parameters:
            raw = byte(p.first) if p.size == 1 else byte(p.first) + 256 * byte(p.first + 1)
            top = pl.col("raw") // 256 ** (p.size - 1)
            yield (
                of_group.select("channel", "timestamp", sender=_ID & 0xFF, raw=raw)
                .drop_nulls("raw")
                .select(
                    quantity=pl.lit(p.quantity),
                    unit=pl.lit(p.unit),
                    source=pl.lit("j1939"),
                    sender=pl.col("sender").cast(pl.Int64),
                    channel="channel",
                    timestamp="timestamp",
                    value=pl.when(top <= 0xFA).then(pl.col("raw") * p.factor + p.offset),
                    # 0xFB to 0xFD are an indicator of the parameter, and no value.
                    state=pl.when(top <= 0xFA)
                    .then(pl.lit("valid"))
                    .when(top == 0xFE)
                    .then(pl.lit("error"))
                    .otherwise(pl.lit("not_available")),
                )
            )


def _obd_values(frames: pl.DataFrame) -> Iterator[pl.DataFrame]:
    answers = frames.filter(OBD_ANSWERS & (byte(1) == 0x41))
    if answers.is_empty():
        return
    for number, quantity in OBD.items():
        pid = PIDS[number]
        offset = pid.scale(bytes(pid.size))
        factor = pid.scale(bytes(pid.size - 1) + b"\x01") - offset
        raw = byte(3) if pid.size == 1 else 256 * byte(3) + byte(4)
        of_one = answers.filter((byte(0) == 2 + pid.size) & (byte(2) == number))
        yield of_one.select(
            quantity=pl.lit(quantity),
            unit=pl.lit(pid.unit),
            source=pl.lit("obd"),
            sender=_ID.cast(pl.Int64),
            channel="channel",
            timestamp="timestamp",
            value=raw * float(factor) + float(offset),
            state=pl.lit("valid"),
        )


def _senders(drive: Drive) -> pl.DataFrame:
    """Count what each J1939 unit sent."""
    rows = (
        data_frames(drive.frames, _J1939_ADDRESSED)
        .group_by("channel", sender=(_ID & 0xFF).cast(pl.Int64))
        .agg(readings=pl.len(), first_seen=pl.col("timestamp").min(), last_seen=pl.col("timestamp").max())
        .collect()
    )
    return rows.select(
        quantity=pl.lit(MESSAGES),
        unit=pl.lit(""),
        source=pl.lit("j1939"),
        sender="sender",
        channel="channel",
        readings="readings",
        errors=pl.lit(0),
        not_available=pl.lit(0),
        first_seen=_time("first_seen"),
        last_seen=_time("last_seen"),
    )


def _read_outs(frames: pl.DataFrame) -> pl.DataFrame:
    """Count the lists of codes that each control unit answered with."""
    service = pl.when(byte(0) // 16 == 1).then(byte(2)).otherwise(byte(1))
    rows = (
        frames.filter(_MAY_ANSWER)
        .select("channel", "timestamp", sender=_ID.cast(pl.Int64), service=service)
        .filter(pl.col("service").is_in(list(_READ_OUTS)))
        .group_by("channel", "sender", "service")
        .agg(readings=pl.len(), first_seen=pl.col("timestamp").min(), last_seen=pl.col("timestamp").max())
    )
    return rows.select(
        quantity=READ_OUT + pl.col("service").replace_strict(_READ_OUTS, return_dtype=pl.String),
        unit=pl.lit(""),
        source=pl.lit("obd"),
        sender="sender",
        channel="channel",
        readings="readings",
        errors=pl.lit(0),
        not_available=pl.lit(0),
        first_seen=_time("first_seen"),
        last_seen=_time("last_seen"),
    )


def _summaries(values: pl.DataFrame) -> pl.DataFrame:
    ordered = _with_engine(values.sort("timestamp"))
    valid, running = pl.col("state") == "valid", pl.col("running")
    value = pl.col("value")
    idle = running & (pl.col("rpm") <= IDLE_RPM) & (pl.col("load").fill_null(0.0) < LOAD_PCT)
    load = running & ((pl.col("load") >= LOAD_PCT) | (pl.col("rpm") >= DRIVING_RPM))
    return ordered.group_by("quantity", "unit", "source", "sender", "channel").agg(
        readings=valid.sum(),
        errors=(pl.col("state") == "error").sum(),
        not_available=(pl.col("state") == "not_available").sum(),
        first_seen=_time("timestamp").min(),
        last_seen=_time("timestamp").max(),
        minimum=value.min(),
        median=value.median(),
        maximum=value.max(),
        first=value.drop_nulls().first(),
        last=value.drop_nulls().last(),
        running_readings=(valid & running).sum(),
        # A single reading may be a glitch of the bus.
        running_minimum=value.filter(running).min(),
        running_low=value.filter(running).quantile(0.05, "nearest"),
        running_median=value.filter(running).median(),
        running_high=value.filter(running).quantile(0.95, "nearest"),
        running_maximum=value.filter(running).max(),
        idle_median=value.filter(idle).median(),
        load_median=value.filter(load).median(),
    )


def _time(column: str) -> pl.Expr:
    return pl.from_epoch(pl.col(column), "ns").dt.replace_time_zone("UTC")


def _with_engine(values: pl.DataFrame) -> pl.DataFrame:
    """Add engine speed and load of each moment, and whether the engine has been running for a while."""
    speed = _of_engine(values, ENGINE_SPEED)
    joined = _joined(values, speed, "rpm", "timestamp", "backward")
    joined = _joined(joined, _of_engine(values, ENGINE_LOAD), "load", "timestamp", "backward")
    joined = _joined(joined, speed, "rpm_after", "timestamp", "forward")
    joined = _joined(
        joined.with_columns(before=pl.col("timestamp") - SETTLED_NS), speed, "rpm_before", "before", "backward"
    )
    after = (pl.col("rpm_after") >= RUNNING_RPM).fill_null(value=True)
    running = (pl.col("rpm") >= RUNNING_RPM) & (pl.col("rpm_before") >= RUNNING_RPM) & after
    return joined.with_columns(running=running.fill_null(value=False))


def _joined(
    values: pl.DataFrame, of_engine: pl.DataFrame, column: str, on: str, strategy: Literal["backward", "forward"]
) -> pl.DataFrame:
    return values.join_asof(
        of_engine.rename({"value": column, "timestamp": "at"}),
        left_on=on,
        right_on="at",
        tolerance=ENGINE_AGE_NS,
        strategy=strategy,
        check_sortedness=False,
        coalesce=True,
    ).drop("at", strict=False)


def _of_engine(values: pl.DataFrame, quantity: str) -> pl.DataFrame:
    """Return the readings of the sender that gives a quantity of the engine most often."""
    rows = values.filter((pl.col("quantity") == quantity) & (pl.col("state") == "valid"))
    if rows.is_empty():
        return rows.select("timestamp", "value")
    senders = rows.group_by("source", "sender", "channel").len().sort("len", "source", "sender", "channel")
    best = senders.row(-1, named=True)
    mine: Sequence[pl.Expr] = [pl.col(name) == best[name] for name in ("source", "sender", "channel")]
    return rows.filter(*mine).select("timestamp", "value").sort("timestamp")
