"""Recordings of the simulated fleet: MCAP by the batch writer beside this module, MDF4 bus logging by `asammdf`."""

from collections.abc import Iterable
from datetime import UTC, datetime
from heapq import merge as merge_sorted
from pathlib import Path
from typing import Final

import numpy as np

from argus_assets.simulate import ros
from argus_assets.simulate.av import Message
from argus_assets.simulate.can import CanLog
from argus_assets.simulate.mcap_writer import McapBatchWriter

CAN_SCHEMA: Final = "can_msgs/msg/Frame"

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


def write_mcap(path: Path, *, can: CanLog, can_topic: str, messages: Iterable[Message], started_ns: int) -> int:
    """Write one MCAP file with zstd chunks; returns its messages. The same input gives the same bytes."""
    ordered = list(merge_sorted(_can_messages(can, can_topic, started_ns), messages, key=lambda m: m.time_s))
    with path.open("wb") as file, McapBatchWriter(file, profile="ros2", library="argus-simulate") as writer:
        schemas: dict[str, int] = {}
        channels: dict[str, int] = {}
        for message in ordered:
            if message.schema not in schemas:
                definition = ros.DEFINITIONS[message.schema].encode()
                schemas[message.schema] = writer.add_schema(message.schema, "ros2msg", definition)
            if message.topic not in channels:
                channels[message.topic] = writer.add_channel(message.topic, "cdr", schemas[message.schema])
        numbers = np.array([channels[m.topic] for m in ordered], np.int64)
        sequences = np.zeros(len(ordered), np.int64)
        for number in channels.values():
            rows = np.flatnonzero(numbers == number)
            sequences[rows] = np.arange(len(rows))
        writer.write(
            numbers,
            np.array([started_ns + round(m.time_s * 1e9) for m in ordered], np.int64),
            np.frombuffer(b"".join(m.data for m in ordered), np.uint8),
            np.array([len(m.data) for m in ordered], np.int64),
            sequences=sequences,
        )
    return len(ordered)


def _can_messages(can: CanLog, topic: str, started_ns: int) -> Iterable[Message]:
    rows = zip(
        can.time_s.tolist(), can.can_id.tolist(), can.extended.tolist(), can.data, can.length.tolist(), strict=True
    )
    for at, can_id, extended, data, length in rows:
        frame = ros.can_frame(
            started_ns + round(at * 1e9), can_id, extended=extended, data=data.tobytes(), length=length
        )
        yield Message(at, topic, CAN_SCHEMA, frame)


def write_mdf4(path: Path, *, can: CanLog, bus: int, started_ns: int) -> int:
    """Write one finalised MDF4 bus-logging file; returns its frames.

    The frames are the same for the same input. The bytes are not: the format's file history holds the time of writing.
    """
    from asammdf import MDF, Signal
    from asammdf.blocks import v4_constants as v4c
    from asammdf.blocks.v4_blocks import SourceInformation

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
