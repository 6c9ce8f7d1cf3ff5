"""CAN error frames: what disturbs a bus, and the error states of the controller that recorded it.

A frame tells its class as SocketCAN does (`recordings.can_errors`). States last until the next one is told; all else
comes in bursts. Nobody but the recorder is known, so the channel stands for the ECU.
"""

from typing import Final, NamedTuple

import numpy as np
import polars as pl

from argus_assets.faults.activations import activations, as_reports
from argus_assets.faults.can import PROVENANCE, TIME_ORDER
from argus_assets.faults.detector import Found
from argus_assets.faults.severity import BUS_ERROR, MANY_BUS_ERRORS
from argus_assets.recordings import can_errors as socketcan
from argus_assets.recordings.drive import Drive

LONGEST_GAP_NS: Final = 10_000_000_000
"""Error frames of one kind that are further apart are two bursts."""

MANY: Final = 100
"""Error frames in a second from which on a bus is badly disturbed.

An error costs a sender 8 points of its error counter, a good frame gives one back (ISO 11898-1, 12.1.4): a sender of
1,000 frames a second drifts towards error passive when more than 1 in 9 fails.
"""

_SECOND_NS: Final = 1_000_000_000

_STATES: Final = {"CAN_BUSOFF": "CAN: bus-off", "CAN_ERROR_PASSIVE": "CAN: error passive", "CAN_ERROR_WARNING": "CAN: error warning"}  # fmt: skip
"""Error states of a controller, worst first, with their severity rule."""

_ACTIVE: Final = "active"
"""The state without a fault."""

_RULES: Final = {
    **_STATES,
    **dict.fromkeys(
        ("CAN_BIT_ERROR", "CAN_FORM_ERROR", "CAN_STUFF_ERROR", "CAN_CRC_ERROR", "CAN_ACK_ERROR", "CAN_ERROR"), BUS_ERROR
    ),
    "CAN_OVERLOAD": "CAN: overload",
    "CAN_OVERFLOW": "CAN: frames lost by the recorder",
    "CAN_ARBITRATION_LOST": "CAN: arbitration lost",
    "CAN_TX_TIMEOUT": "CAN: transmit timeout",
    "CAN_TRANSCEIVER": "CAN: transceiver",
    "CAN_RESTARTED": "CAN: restarted",
}
"""Code → severity rule."""

_TRANSCEIVER_LINES: Final = ((0x0F, "CAN high", {4: "no wire", 5: "short to battery", 6: "short to supply", 7: "short to ground"}),
                             (0xF0, "CAN low", {0x40: "no wire", 0x50: "short to battery", 0x60: "short to supply", 0x70: "short to ground", 0x80: "short to CAN high"}))  # fmt: skip


class CanError(NamedTuple):
    """What an error frame tells.

    Attributes:
        codes: Fault codes; none of a frame that tells only that the controller is well.
        state: The controller's error state, where it is told.
        details: Key and value of what else is known.
    """

    codes: tuple[str, ...]
    state: str | None
    details: tuple[tuple[str, str], ...]


def parse_error(class_bits: int, payload: bytes) -> CanError:
    """Decode an error frame.

    Args:
        class_bits: `arbitration_id` of the frame.
        payload: Its data; missing bytes count as 0, not known.
    """
    data = payload[: socketcan.ERROR_BYTES].ljust(socketcan.ERROR_BYTES, b"\0")
    codes = [
        code
        for bit, code in (
            (socketcan.TX_TIMEOUT, "CAN_TX_TIMEOUT"),
            (socketcan.LOST_ARBITRATION, "CAN_ARBITRATION_LOST"),
            (socketcan.TRANSCEIVER, "CAN_TRANSCEIVER"),
            (socketcan.RESTARTED, "CAN_RESTARTED"),
        )
        if class_bits & bit
    ]
    controller = data[1] if class_bits & socketcan.CONTROLLER else 0
    if controller & (socketcan.RX_OVERFLOW | socketcan.TX_OVERFLOW):
        codes.append("CAN_OVERFLOW")
    state = _state(class_bits, controller)
    if state in _STATES:
        codes.append(state)
    protocol = _protocol_codes(data[2], data[3]) if class_bits & socketcan.PROTOCOL else []
    if class_bits & socketcan.NO_ACK and "CAN_ACK_ERROR" not in protocol:
        protocol.append("CAN_ACK_ERROR")
    codes += protocol
    says_nothing_bad = state == _ACTIVE or class_bits == socketcan.COUNTERS
    if not codes and not says_nothing_bad:
        codes.append("CAN_ERROR")
    return CanError(tuple(codes), state, tuple(_details(class_bits, data)))


def _state(class_bits: int, controller: int) -> str | None:
    if class_bits & socketcan.BUS_OFF:
        return "CAN_BUSOFF"
    if controller & (socketcan.RX_PASSIVE | socketcan.TX_PASSIVE):
        return "CAN_ERROR_PASSIVE"
    if controller & (socketcan.RX_WARNING | socketcan.TX_WARNING):
        return "CAN_ERROR_WARNING"
    return _ACTIVE if controller & socketcan.BACK_TO_ACTIVE or class_bits & socketcan.RESTARTED else None


def _protocol_codes(kind: int, location: int) -> list[str]:
    codes = [
        code
        for bits, code in (
            (socketcan.BIT | socketcan.BIT_DOMINANT | socketcan.BIT_RECESSIVE, "CAN_BIT_ERROR"),
            (socketcan.FORM, "CAN_FORM_ERROR"),
            (socketcan.STUFF, "CAN_STUFF_ERROR"),
            (socketcan.OVERLOAD, "CAN_OVERLOAD"),
        )
        if kind & bits
    ]
    # SocketCAN has no bit for these: drivers give the place alone, some that of the delimiter.
    if not codes and location in (socketcan.AT_CRC, socketcan.AT_CRC_DELIMITER):
        codes.append("CAN_CRC_ERROR")
    if not codes and location in (socketcan.AT_ACK, socketcan.AT_ACK_DELIMITER):
        codes.append("CAN_ACK_ERROR")
    return codes


def _details(class_bits: int, data: bytes) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    if class_bits & socketcan.LOST_ARBITRATION and data[0]:
        found.append(("arbitration_lost_at_bit", str(data[0])))
    if class_bits & socketcan.PROTOCOL:
        if data[2] & socketcan.TRANSMITTING:
            found.append(("direction", "transmitting"))
        if data[3] in socketcan.LOCATIONS:
            found.append(("location", socketcan.LOCATIONS[data[3]]))
    if class_bits & socketcan.TRANSCEIVER:
        found += [
            (f"transceiver, {line}", faults[data[4] & mask])
            for mask, line, faults in _TRANSCEIVER_LINES
            if data[4] & mask in faults
        ]
    # Drivers filled the counters in before they had a class bit for them.
    if class_bits & socketcan.COUNTERS or data[6] or data[7]:
        found += [("tx_errors", str(data[6])), ("rx_errors", str(data[7]))]
    return found


def error_frames(frames: pl.LazyFrame) -> pl.LazyFrame:
    """The CAN error frames, unordered.

    Args:
        frames: `recordings.schema.FRAMES` with a column `recording`.

    Returns:
        timestamp (Int64, nanoseconds since 1970 UTC), channel (String), arbitration_id, payload, recording, frame.
    """
    return frames.filter((pl.col("kind") == "can") & pl.col("is_error_frame")).select(
        pl.col("timestamp").dt.timestamp("ns"),
        pl.col("channel").cast(pl.String),
        pl.col("arbitration_id").fill_null(0),
        "payload",
        *PROVENANCE,
    )


def find(drive: Drive) -> Found:
    """Find what the error frames of a drive tell."""
    return find_in(error_frames(drive.frames).collect())


def find_in(rows: pl.DataFrame) -> Found:
    """Find what error frames tell.

    Args:
        rows: `error_frames`.
    """
    told = rows.sort(TIME_ORDER).join(
        _parse_distinct(rows), on=["arbitration_id", "payload"], how="left", maintain_order="left"
    )
    reports = told.explode("codes", empty_as_null=True).rename({"codes": "code"})
    bursts = reports.filter(pl.col("code").is_not_null() & ~pl.col("code").is_in(list(_STATES)))
    events = [
        activations(_burst_reports(bursts), longest_gap_ns=LONGEST_GAP_NS),
        activations(_state_reports(told), longest_gap_ns=None),
    ]
    return Found(pl.concat(events))


def _parse_distinct(rows: pl.DataFrame) -> pl.DataFrame:
    """Each distinct frame with what it tells; a burst repeats the same bytes."""
    distinct = rows.select("arbitration_id", "payload").unique()
    told = [parse_error(class_bits, payload) for class_bits, payload in distinct.iter_rows()]
    details = [[{"key": key, "value": value} for key, value in t.details] or None for t in told]
    return distinct.with_columns(
        pl.Series("codes", [list(t.codes) for t in told], dtype=pl.List(pl.String)),
        pl.Series("state", [t.state for t in told], dtype=pl.String),
        pl.Series("details", details, dtype=pl.List(pl.Struct({"key": pl.String, "value": pl.String}))),
    )


def _burst_reports(rows: pl.DataFrame) -> pl.DataFrame:
    rule = pl.col("code").replace_strict(_RULES, return_dtype=pl.String)
    reports = rows.with_columns(severity_rule=rule)
    many = pl.Series(_in_dense_bursts(reports.filter(pl.col("severity_rule") == BUS_ERROR)), dtype=pl.UInt32)
    numbered = reports.with_row_index()
    disturbing = numbered.filter(pl.col("severity_rule") == BUS_ERROR)["index"].gather(many)
    return as_reports(
        numbered.with_columns(
            severity_rule=pl.when(pl.col("index").is_in(disturbing.implode()))
            .then(pl.lit(MANY_BUS_ERRORS))
            .otherwise("severity_rule"),
            source=pl.lit("can_error"),
            ecu="channel",
            status=pl.lit("occurred"),
            seq=pl.lit(0),
        )
    )


def _in_dense_bursts(rows: pl.DataFrame) -> np.ndarray:
    """Row numbers of those that are among `MANY` or more on their channel within a second. Channels are few."""
    found = [np.zeros(0, np.int64)]
    for (_,), group in rows.with_row_index().group_by("channel", maintain_order=True):
        times = group["timestamp"].to_numpy()
        first = np.flatnonzero(times[MANY - 1 :] - times[: max(len(times) - MANY + 1, 0)] < _SECOND_NS)
        steps = np.zeros(len(times) + 1, np.int64)
        steps[first] += 1
        np.subtract.at(steps, first + MANY, 1)
        found.append(group["index"].to_numpy()[np.cumsum(steps[:-1]) > 0])
    return np.concatenate(found)


def _state_reports(told: pl.DataFrame) -> pl.DataFrame:
    """Report each error state, and its end by the frame that tells of another one."""
    states = told.filter(pl.col("state").is_not_null()).with_columns(run=pl.col("state").rle_id().over("channel"))
    bad = states.filter(pl.col("state") != _ACTIVE).with_columns(status=pl.lit("active"))
    ends = (
        states.unique(["channel", "run"], keep="first", maintain_order=True)
        .with_columns(state=pl.col("state").shift(1).over("channel"), run=pl.col("run") - 1, status=pl.lit("occurred"))
        .filter(pl.col("state").is_not_null() & (pl.col("state") != _ACTIVE))
    )
    reports = pl.concat([bad, ends.select(bad.columns)]).with_columns(
        # A run is one activation, so that its numbers must not follow those of the next.
        seq=pl.col("run").cast(pl.Int64) * 2,
        code="state",
        severity_rule=pl.col("state").replace_strict(_STATES, return_dtype=pl.String),
        source=pl.lit("can_error"),
        ecu="channel",
    )
    return as_reports(reports)
