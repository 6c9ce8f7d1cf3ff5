"""CAN error frames: what disturbs a bus, and the error states of the controller that recorded it.

Frames have the class bits of SocketCAN (`recordings.can_errors`). States last until another one is reported; all others
form bursts. Only the recorder is known, so the channel stands for the ECU.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple, Self

import numpy as np
import numpy.typing as npt
import polars as pl

from argus_assets.faults.activations import MAX_EVENTS, activations, as_reports
from argus_assets.faults.can_bus.declaration import BUS_ERROR, MANY_BUS_ERRORS
from argus_assets.faults.can_frames import PROVENANCE, TIME_ORDER
from argus_assets.faults.detector import Found
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

U8 = npt.NDArray[np.uint8]
U32 = npt.NDArray[np.uint32]
Flags = npt.NDArray[np.bool_]

_FOUND: Final = {"row": pl.UInt32, "number": pl.UInt32, "key": pl.String, "value": pl.String}

_STATES: Final = {"CAN_BUSOFF": "CAN: bus-off", "CAN_ERROR_PASSIVE": "CAN: error passive", "CAN_ERROR_WARNING": "CAN: error warning"}  # fmt: skip
"""Error states of a controller, worst first, with their severity rule."""

_ACTIVE: Final = "active"
"""The state without a fault."""

RULES: Final = {
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


@dataclass(frozen=True, slots=True)
class _Frames:
    """Error frames as arrays, so that memory does not follow how different they are.

    Attributes:
        class_bits: `arbitration_id` of each.
        data: Its bytes, shape (8, frames); missing bytes count as 0, not known.
    """

    class_bits: U32
    data: U8

    @classmethod
    def of(cls, rows: pl.DataFrame) -> Self:
        data = [pl.col("payload").bin.get(i, null_on_oob=True).fill_null(0) for i in range(socketcan.ERROR_BYTES)]
        return cls(
            rows["arbitration_id"].to_numpy(), np.stack([rows.select(one).to_series().to_numpy() for one in data])
        )

    def has(self, bits: int) -> Flags:
        """Return which frames have one of these class bits."""
        return (self.class_bits & np.uint32(bits)) != 0

    def shows(self, index: int, bits: int, class_bits: int) -> Flags:
        """Return which frames of a class have one of `bits` set in a byte."""
        return self.has(class_bits) & ((self.data[index] & bits) != 0)

    def is_at(self, *locations: int) -> Flags:
        """Return which frames have one of these in the byte of the location."""
        return np.isin(self.data[3], locations)


def _states(frames: _Frames) -> pl.Series:
    """Return the error state of the controller after each frame, null where the frame does not state it."""
    passive = frames.shows(1, socketcan.RX_PASSIVE | socketcan.TX_PASSIVE, socketcan.CONTROLLER)
    warning = frames.shows(1, socketcan.RX_WARNING | socketcan.TX_WARNING, socketcan.CONTROLLER)
    active = frames.shows(1, socketcan.BACK_TO_ACTIVE, socketcan.CONTROLLER) | frames.has(socketcan.RESTARTED)
    place = np.select([frames.has(socketcan.BUS_OFF), passive, warning, active], [0, 1, 2, 3], default=4)
    names = pl.Series([*_STATES, _ACTIVE, None], dtype=pl.Enum([*_STATES, _ACTIVE]))
    return names.gather(pl.Series(place)).alias("state")


def _codes(frames: _Frames, states: pl.Series) -> dict[str, Flags]:
    """Return the frames that report each fault code. A frame that only reports a healthy controller has no code."""
    protocol = frames.has(socketcan.PROTOCOL)
    kinds = {
        code: frames.shows(2, bits, socketcan.PROTOCOL)
        for code, bits in (
            ("CAN_BIT_ERROR", socketcan.BIT | socketcan.BIT_DOMINANT | socketcan.BIT_RECESSIVE),
            ("CAN_FORM_ERROR", socketcan.FORM),
            ("CAN_STUFF_ERROR", socketcan.STUFF),
            ("CAN_OVERLOAD", socketcan.OVERLOAD),
        )
    }
    # SocketCAN has no bit for these: drivers give the place alone, some that of the delimiter.
    placed = protocol & ~np.logical_or.reduce(list(kinds.values()))
    codes = {
        **kinds,
        "CAN_CRC_ERROR": placed & frames.is_at(socketcan.AT_CRC, socketcan.AT_CRC_DELIMITER),
        "CAN_ACK_ERROR": placed & frames.is_at(socketcan.AT_ACK, socketcan.AT_ACK_DELIMITER)
        | frames.has(socketcan.NO_ACK),
        "CAN_TX_TIMEOUT": frames.has(socketcan.TX_TIMEOUT),
        "CAN_ARBITRATION_LOST": frames.has(socketcan.LOST_ARBITRATION),
        "CAN_TRANSCEIVER": frames.has(socketcan.TRANSCEIVER),
        "CAN_RESTARTED": frames.has(socketcan.RESTARTED),
        "CAN_OVERFLOW": frames.shows(1, socketcan.RX_OVERFLOW | socketcan.TX_OVERFLOW, socketcan.CONTROLLER),
    }
    # Every state is a statement: a fault, or that there is none.
    is_statement = states.is_not_null().to_numpy() | (frames.class_bits == socketcan.COUNTERS)
    return {**codes, "CAN_ERROR": ~np.logical_or.reduce([*codes.values(), is_statement])}


class _Detail(NamedTuple):
    """A key of the details: which frames have it, and its value by the bytes of a frame."""

    key: str
    has: Callable[[_Frames], Flags]
    value: Callable[[U8], str]


def _transceiver(line: str, mask: int, faults: Mapping[int, str]) -> _Detail:
    return _Detail(
        f"transceiver, {line}",
        lambda frames: frames.has(socketcan.TRANSCEIVER) & np.isin(frames.data[4] & mask, list(faults)),
        lambda data: faults[int(data[4]) & mask],
    )


def _has_counters(frames: _Frames) -> Flags:
    # Drivers filled the counters in before they had a class bit for them.
    return frames.has(socketcan.COUNTERS) | (frames.data[6] != 0) | (frames.data[7] != 0)


_DETAILS: Final = (
    _Detail(
        "arbitration_lost_at_bit",
        lambda frames: frames.shows(0, 0xFF, socketcan.LOST_ARBITRATION),
        lambda data: str(data[0]),
    ),
    _Detail(
        "direction",
        lambda frames: frames.shows(2, socketcan.TRANSMITTING, socketcan.PROTOCOL),
        lambda _: "transmitting",
    ),
    _Detail(
        "location",
        lambda frames: frames.has(socketcan.PROTOCOL) & frames.is_at(*socketcan.LOCATIONS),
        lambda data: socketcan.LOCATIONS[int(data[3])],
    ),
    *(_transceiver(line, mask, faults) for mask, line, faults in _TRANSCEIVER_LINES),
    _Detail("tx_errors", _has_counters, lambda data: str(data[6])),
    _Detail("rx_errors", _has_counters, lambda data: str(data[7])),
)


def _with_details(reports: pl.DataFrame, frames: _Frames) -> pl.DataFrame:
    """Add the details, each key only to the first report of an activation that has it: an activation keeps no other.

    Args:
        reports: Of one code in time order: place (in `frames`), channel, and run, a number for each activation of a channel.
        frames: All frames.
    """
    mine = _Frames(frames.class_bits[reports["place"].to_numpy()], frames.data[:, reports["place"].to_numpy()])
    activation = reports.select(pl.struct("channel", "run").rle_id()).to_series().to_numpy()
    found: list[pl.DataFrame] = []
    for number, detail in enumerate(_DETAILS):
        filled = np.flatnonzero(detail.has(mine))
        first = filled[np.unique(activation[filled], return_index=True)[1]][:MAX_EVENTS]
        values = [detail.value(mine.data[:, row]) for row in first]
        found.append(pl.DataFrame({"row": first, "number": number, "key": detail.key, "value": values}, schema=_FOUND))
    details = (
        pl.concat(found)
        .sort("row", "number")
        .group_by("row", maintain_order=True)
        .agg(details=pl.struct("key", "value"))
    )
    return reports.with_row_index("row").join(details, on="row", how="left", maintain_order="left").drop("row")


def wanted(frames: pl.LazyFrame, _config: object) -> pl.LazyFrame:
    """Select the CAN error frames, unordered.

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


def find(_drive: Drive, rows: pl.DataFrame, _config: object) -> Found:
    """Find the faults that error frames report.

    Args:
        rows: `wanted`.
    """
    rows = rows.sort(TIME_ORDER).with_columns(place=pl.int_range(pl.len()))
    frames = _Frames.of(rows)
    states = _states(frames)
    codes = _codes(frames, states)
    bus_errors = sum((codes[code].astype(np.int64) for code in codes if RULES[code] == BUS_ERROR), start=np.int64(0))
    many = _in_dense_bursts(rows, np.broadcast_to(bus_errors, rows.height))
    found = [
        activations(_burst_reports(rows[np.flatnonzero(is_in)], code, many, frames), longest_gap_ns=LONGEST_GAP_NS)
        for code, is_in in codes.items()
        if is_in.any()
    ]
    stated = rows.with_columns(states).filter(pl.col("state").is_not_null())
    return Found.together([*found, activations(_state_reports(stated, frames), longest_gap_ns=None)])


def _burst_reports(rows: pl.DataFrame, code: str, many: Flags, frames: _Frames) -> pl.DataFrame:
    """Report the frames of one code."""
    is_new = (pl.col("timestamp").diff().over("channel") > LONGEST_GAP_NS).fill_null(value=True)
    runs = rows.with_columns(run=is_new.cast(pl.Int64).cum_sum().over("channel")).sort(
        "channel", "place", maintain_order=True
    )
    is_disturbing = many[runs["place"].to_numpy()] & (RULES[code] == BUS_ERROR)
    return as_reports(
        _with_details(runs, frames).with_columns(
            severity_rule=pl.when(pl.Series(is_disturbing))
            .then(pl.lit(MANY_BUS_ERRORS))
            .otherwise(pl.lit(RULES[code])),
            code=pl.lit(code),
            source=pl.lit("can_error"),
            ecu="channel",
            status=pl.lit("occurred"),
            seq=pl.lit(0),
        )
    )


def _in_dense_bursts(rows: pl.DataFrame, errors: npt.NDArray[np.int64]) -> Flags:
    """Return which frames are among `MANY` errors or more on their channel within a second. Channels are few.

    Args:
        rows: In time order.
        errors: Errors that each frame reports.
    """
    dense = np.zeros(rows.height, np.bool_)
    for _, group in rows.select("channel", "timestamp", "place").group_by("channel", maintain_order=True):
        place = group["place"].to_numpy()
        place = np.repeat(place, errors[place])
        times = rows["timestamp"].to_numpy()[place]
        first = np.flatnonzero(times[MANY - 1 :] - times[: max(len(times) - MANY + 1, 0)] < _SECOND_NS)
        steps = np.zeros(len(times) + 1, np.int64)
        steps[first] += 1
        np.subtract.at(steps, first + MANY, 1)
        dense[place[np.cumsum(steps[:-1]) > 0]] = True
    return dense


def _state_reports(stated: pl.DataFrame, frames: _Frames) -> pl.DataFrame:
    """Report each error state, and its end by the frame that reports another one."""
    states = stated.with_columns(run=pl.col("state").rle_id().over("channel").cast(pl.Int64))
    bad = states.filter(pl.col("state") != _ACTIVE).with_columns(status=pl.lit("active"))
    ends = (
        states.unique(["channel", "run"], keep="first", maintain_order=True)
        .with_columns(state=pl.col("state").shift(1).over("channel"), run=pl.col("run") - 1, status=pl.lit("occurred"))
        .filter(pl.col("state").is_not_null() & (pl.col("state") != _ACTIVE))
    )
    reports = _with_details(pl.concat([bad, ends.select(bad.columns)]).sort("channel", "run", "place"), frames)
    return as_reports(
        reports.with_columns(
            # A run is one activation, so that its numbers must not follow those of the next.
            seq=pl.col("run") * 2,
            code=pl.col("state").cast(pl.String),
            severity_rule=pl.col("state").cast(pl.String).replace_strict(_STATES, return_dtype=pl.String),
            source=pl.lit("can_error"),
            ecu="channel",
        )
    )
