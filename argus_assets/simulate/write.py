"""Recordings of the simulated fleet: MCAP by the batch writer beside this module, MDF4 bus logging by `asammdf`."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from argus_assets.simulate import ros
from argus_assets.simulate.av import Message
from argus_assets.simulate.can import F64, U8, CanLog
from argus_assets.simulate.mcap_writer import McapBatchWriter

CAN_SCHEMA: Final = "can_msgs/msg/Frame"

CHUNK_BYTES: Final = 256 * 1024
"""Small, as in loggers that must not lose much when their supply fails."""

_MDF_FRAME: Final = np.dtype(
    [
        ("CAN_DataFrame.BusChannel", "<u1"),
        ("CAN_DataFrame.ID", "<u4"),
        ("CAN_DataFrame.IDE", "<u1"),
        ("CAN_DataFrame.DLC", "<u1"),
        ("CAN_DataFrame.DataLength", "<u1"),
        ("CAN_DataFrame.DataBytes", "(8,)u1"),
        ("CAN_DataFrame.Dir", "<u1"),
        ("CAN_DataFrame.EDL", "<u1"),
        ("CAN_DataFrame.BRS", "<u1"),
        ("CAN_DataFrame.ESI", "<u1"),
    ]
)


def write_mcap(path: Path, *, can: CanLog, can_topic: str, messages: Sequence[Message], started_ns: int) -> int:
    """Write one MCAP file with zstd chunks; return the number of its messages. The same input gives the same bytes."""
    can_ns = _nanoseconds(can.time_s, started_ns)
    can_bytes = ros.can_frames(can_ns, can)
    times_ns = np.concatenate([can_ns, _nanoseconds(np.array([m.time_s for m in messages]), started_ns)])
    lengths = np.concatenate(
        [np.full(len(can_ns), can_bytes.shape[1], np.int64), np.array([len(m.data) for m in messages], np.int64)]
    )
    with (
        path.open("wb") as file,
        McapBatchWriter(file, profile="ros2", library="argus-simulate", chunk_bytes=CHUNK_BYTES) as writer,
    ):
        channels = _add_channels(
            writer, [(can_topic, CAN_SCHEMA)] * bool(len(can_ns)) + [(m.topic, m.schema) for m in messages]
        )
        numbers = np.array([channels[can_topic] for _ in can_ns] + [channels[m.topic] for m in messages], np.int64)
        order = np.argsort(times_ns, kind="stable")
        sequences = np.zeros(len(order), np.int64)
        for number in channels.values():
            rows = order[numbers[order] == number]
            sequences[rows] = np.arange(len(rows))
        writer.write(
            numbers[order],
            times_ns[order],
            _in_order(can_bytes, messages, lengths, order),
            lengths[order],
            sequences=sequences[order],
        )
    return len(order)


def _nanoseconds(time_s: F64, started_ns: int) -> npt.NDArray[np.int64]:
    return started_ns + np.rint(time_s * 1e9).astype(np.int64)


def _add_channels(writer: McapBatchWriter, used: Iterable[tuple[str, str]]) -> dict[str, int]:
    """Add channels in order of first use; return their ids by topic."""
    schemas: dict[str, int] = {}
    channels: dict[str, int] = {}
    for topic, schema in dict.fromkeys(used):
        if schema not in schemas:
            schemas[schema] = writer.add_schema(schema, "ros2msg", ros.DEFINITIONS[schema].encode())
        channels[topic] = writer.add_channel(topic, "cdr", schemas[schema])
    return channels


def _in_order(
    can_bytes: U8, messages: Sequence[Message], lengths: npt.NDArray[np.int64], order: npt.NDArray[np.int64]
) -> U8:
    """Return the payloads one behind another in order of time: CAN frames as rows of one size, messages one by one."""
    starts = np.empty(len(order), np.int64)
    starts[order] = np.cumsum(lengths[order]) - lengths[order]
    out = np.empty(int(lengths.sum()), np.uint8)
    count, size = can_bytes.shape
    out[starts[:count, None] + np.arange(size)] = can_bytes
    for start, message in zip(starts[count:].tolist(), messages, strict=True):
        out[start : start + len(message.data)] = np.frombuffer(message.data, np.uint8)
    return out


def write_mdf4(path: Path, *, can: CanLog, bus: int, started_ns: int) -> int:
    """Write one finalised MDF4 bus-logging file; return the number of its frames.

    The frames are the same for the same input. The bytes are not: the format's file history holds the time of writing.
    """
    from asammdf import MDF, Signal
    from asammdf.blocks import v4_constants as v4c
    from asammdf.blocks.v4_blocks import SourceInformation

    if can.error.any():
        raise NotImplementedError("Error frames are a channel group of their own in MDF4, which is not written here.")
    n = len(can.time_s)
    samples = np.zeros(n, _MDF_FRAME)
    samples["CAN_DataFrame.BusChannel"] = bus
    samples["CAN_DataFrame.ID"] = can.can_id
    samples["CAN_DataFrame.IDE"] = can.extended
    samples["CAN_DataFrame.DLC"] = can.length
    samples["CAN_DataFrame.DataLength"] = can.length
    samples["CAN_DataFrame.DataBytes"] = can.data
    with MDF(version="4.11") as mdf:
        mdf.start_time = datetime.fromtimestamp(started_ns // 10**9, UTC)
        offset_s = started_ns % 10**9 / 1e9
        source = SourceInformation(source_type=v4c.SOURCE_BUS, bus_type=v4c.BUS_TYPE_CAN)
        source.name = f"CAN{bus}"
        mdf.append(
            Signal(samples, can.time_s + offset_s, name="CAN_DataFrame", source=source),
            acq_name=f"CAN{bus}",
            acq_source=source,  # type: ignore[arg-type] # asammdf's hint names its own class, its code takes both
            common_timebase=True,
        )
        written = mdf.save(path, overwrite=True)
        if Path(written) != path:
            Path(written).replace(path)
    return n
