"""Write frames to the recording formats of loggers: BLF by python-can, MDF 4 by asammdf, candump and ASC as text."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal

import numpy as np

from evals.drives.traffic import ERROR, EXTENDED, Frames

Format = Literal["blf", "log", "asc", "mf4"]
FORMATS: Final[tuple[Format, ...]] = ("blf", "log", "asc", "mf4")

_ID: Final = 0x1FFFFFFF


def write(frames: Frames, path: Path, started: float) -> None:
    """Write frames to a file; its suffix says the format.

    Args:
        frames: The frames.
        path: The file.
        started: Seconds since 1970 of the drive's start.
    """
    {".blf": _blf, ".log": _candump, ".asc": _asc, ".mf4": _mdf4}[path.suffix](frames, path, started)


def _blf(frames: Frames, path: Path, started: float) -> None:
    from can import BLFWriter, Message

    with BLFWriter(path, compression_level=1) as writer:
        for time, can_id, payload in frames.rows():
            is_error = bool(can_id & ERROR)
            writer.on_message_received(
                Message(
                    timestamp=started + time,
                    arbitration_id=0 if is_error else can_id & _ID,
                    is_extended_id=bool(can_id & EXTENDED),
                    is_error_frame=is_error,
                    data=payload,
                    channel=0,
                )
            )


def _candump(frames: Frames, path: Path, started: float) -> None:
    lines = [
        f"({started + time:.6f}) can0 {can_id & (_ID | ERROR):0{8 if can_id & (EXTENDED | ERROR) else 3}X}"
        f"#{payload.hex().upper()}"
        for time, can_id, payload in frames.rows()
    ]
    path.write_text("\n".join(lines) + "\n", "ascii")


def _asc(frames: Frames, path: Path, started: float) -> None:
    date = datetime.fromtimestamp(started, UTC).strftime("%a %b %d %H:%M:%S.000 %Y")
    lines = [f"date {date}", "base hex  timestamps absolute", "internal events logged", f"Begin Triggerblock {date}"]
    for time, can_id, payload in frames.rows():
        if can_id & ERROR:
            lines.append(f"{time: 9.6f} 1  ErrorFrame")
        else:
            name = f"{can_id & _ID:X}{'x' if can_id & EXTENDED else ''}"
            lines.append(f"{time: 9.6f} 1  {name:<15} Rx   d {len(payload):x} {payload.hex(' ').upper()}")
    path.write_text("\n".join([*lines, "End TriggerBlock"]) + "\n", "ascii")


def _mdf4(frames: Frames, path: Path, started: float) -> None:
    """Write the groups of ASAM's bus logging for data and error frames."""
    from asammdf import MDF, Signal, Source

    is_error = (frames.ids & ERROR) != 0
    with MDF(version="4.10") as mdf:
        mdf.header.start_time = datetime.fromtimestamp(started, UTC)
        source = Source(name="CAN", path="CAN", comment="", source_type=2, bus_type=2)
        for name, rows in (("CAN_DataFrame", ~is_error), ("CAN_ErrorFrame", is_error)):
            if rows.any():
                samples = np.zeros(
                    int(rows.sum()),
                    [
                        (f"{name}.BusChannel", "<u1"),
                        (f"{name}.ID", "<u4"),
                        (f"{name}.IDE", "<u1"),
                        (f"{name}.DLC", "<u1"),
                        (f"{name}.DataLength", "<u1"),
                        (f"{name}.DataBytes", "u1", (8,)),
                        (f"{name}.Dir", "<u1"),
                        (f"{name}.EDL", "<u1"),
                        (f"{name}.BRS", "<u1"),
                    ],
                )
                samples[f"{name}.BusChannel"] = 1
                samples[f"{name}.ID"] = np.where(is_error, 0, frames.ids & _ID)[rows]
                samples[f"{name}.IDE"] = ((frames.ids & EXTENDED) != 0)[rows]
                samples[f"{name}.DLC"] = samples[f"{name}.DataLength"] = frames.lengths[rows]
                samples[f"{name}.DataBytes"] = frames.data[rows]
                mdf.append(Signal(name=name, samples=samples, timestamps=frames.times[rows], source=source))
        mdf.save(path, overwrite=True, compression=1)
