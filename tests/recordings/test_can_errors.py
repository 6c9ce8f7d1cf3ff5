"""Error frames of every format become the same SocketCAN class bits and bytes."""

import io
import struct

import can
import numpy as np
import polars as pl
import pytest
from asammdf import MDF, Signal
from asammdf.blocks import v4_constants as v4c
from asammdf.blocks.v4_blocks import SourceInformation
from hypothesis import given
from hypothesis import strategies as st

from argus_assets.recordings.can_errors import LOCATIONS, of_mdf4, of_vector
from argus_assets.recordings.model import concat_batches
from argus_assets.recordings.reading import open_recording

PROTOCOL_ON_BUS = 0x88

KINDS = {
    # name: SJA1000 register while receiving, CAN core register while receiving, MDF 4 ErrorType, bytes 2 and 3
    "bit error in the data": (0x2A, 0x80, 1, 0x01, 0x0A),
    "form error at the ACK delimiter": (0x7B, 0x85, 2, 0x02, 0x1B),
    "stuff error in the identifier": (0xA2, 0x82, 3, 0x04, 0x02),
    "CRC error": (0xE8, 0x84, 4, 0x00, 0x08),
    "no acknowledge": (0xF9, 0x87, 5, 0x00, 0x19),
}


def read(data: bytes) -> list[tuple[object, ...]]:
    frames = concat_batches(list(open_recording(io.BytesIO(data)))).frames
    columns = "arbitration_id", "is_extended_id", "is_error_frame", "dlc", "payload"
    return frames.select(pl.col("channel").cast(pl.String), *columns).rows()


def asc(*errors: str) -> bytes:
    lines = "".join(f"   {i}.000000 2 ErrorFrame{text}\n" for i, text in enumerate(errors, 1))
    return f"date Mon May 6 10:00:00 2024\nbase hex  timestamps absolute\n{lines}".encode()


def blf(*objects: tuple[int, bytes]) -> bytes:
    head = bytearray(144)
    struct.pack_into("<4sI", head, 0, b"LOGG", 144)
    inside = b""
    for kind, body in objects:
        size = 32 + len(body)
        inside += struct.pack("<4sHHII", b"LOBJ", 32, 1, size, kind) + struct.pack("<IHHQ", 2, 0, 0, 5) + body
        inside += bytes(size % 4)
    outer = struct.pack("<4sHHIIH6xI4x", b"LOBJ", 16, 1, 32 + len(inside), 10, 0, len(inside))
    return bytes(head) + outer + inside


def error_ext(flags: int, code: int, *, can_id: int = 0, dlc: int = 0, data: bytes = b"") -> tuple[int, bytes]:
    return 73, struct.pack("<HHIBBBxIIHH8s", 2, 0, flags, code, 5, dlc, 0, can_id, 0, 0, data)


def fd_error(flags: int, code: int) -> tuple[int, bytes]:
    return 104, struct.pack("<BBBBHHHBBI28x", 2, 8, 0, code, flags, 0, 0, 0, 0, 0x123)


@pytest.mark.parametrize("name", list(KINDS))
def test_every_format_tells_the_same_of_an_error(name: str) -> None:
    sja1000, core, mdf4, kind, location = KINDS[name]
    whole = ("CAN2", PROTOCOL_ON_BUS, False, True, 8, bytes([0, 0, kind, location, 0, 0, 0, 0]))
    # The CAN core and MDF 4 know no segment, but for those that are the kind of error.
    coarse = (*whole[:-1], bytes([0, 0, kind, location if location in (0x08, 0x19) else 0, 0, 0, 0, 0]))
    of_core = whole if core == 0x85 else coarse
    assert read(asc(f" ECC: {sja1000:08b}")) == [whole]
    assert read(asc(f" Flags = 0xe CodeExt = 0x20a2 Code = 0x{core:x} ID = 0 DLC = 0 Position = 5")) == [of_core]
    assert read(blf(error_ext(1, sja1000), error_ext(0xE, core))) == [whole, of_core]
    assert read(blf(fd_error(0xE, core), fd_error(1, sja1000))) == [of_core, whole]
    assert of_mdf4(np.array([mdf4]), np.array([False]))[1][0, 2:4].tolist() == list(coarse[-1][2:4])


def test_an_error_while_transmitting_is_told() -> None:
    sent = bytes([0, 0, 0x81, 0, 0, 0, 0, 0])
    assert read(asc(" Flags = 0xe Code = 0xc0"))[0][-1] == sent
    assert read(blf(error_ext(1, 0x00)))[0][-1] == sent
    assert of_mdf4(np.array([1]), np.array([True]))[1][0].tobytes() == sent


def test_an_error_of_which_nothing_is_known_has_class_0_and_no_payload() -> None:
    unknown = ("CAN2", 0, False, True, 0, b"")
    vague = error_ext(0, 0, can_id=0x98FEF100, dlc=3, data=b"abc")
    assert read(blf((2, struct.pack("<HHI", 2, 0, 0)), vague, fd_error(0xC, 0x82))) == [unknown] * 3
    assert read(asc("", " Flags = 0x0 Code = 0x82", " Flags = 0xe", " and words")) == [
        unknown, unknown, ("CAN2", 0, False, True, 0, b""), unknown,
    ]  # fmt: skip


def test_socketcan_frames_that_python_can_logged_stay_as_they_are() -> None:
    message = can.Message(arbitration_id=0x44, is_error_frame=True, is_extended_id=False, dlc=8, data=bytes(range(8)))

    class Kept(io.BytesIO):
        def close(self) -> None:
            pass

    file = Kept()
    writer = can.BLFWriter(file, channel=2)
    writer.on_message_received(message)
    writer.stop()
    assert read(file.getvalue()) == [("CAN2", 0x44, False, True, 8, bytes(range(8)))]


def test_errors_of_an_mdf4_file_keep_their_type_and_not_the_identifier_that_they_broke(tmp_path) -> None:
    types = np.arange(8, dtype=np.uint8)
    names = ("BusChannel", "ID", "IDE", "Dir", "ErrorType")
    samples = np.zeros(8, [(f"CAN_ErrorFrame.{name}", "<u4" if name == "ID" else "<u1") for name in names])
    samples["CAN_ErrorFrame.BusChannel"] = 3
    samples["CAN_ErrorFrame.ID"] = 0x18FEF100
    samples["CAN_ErrorFrame.IDE"] = 1
    samples["CAN_ErrorFrame.ErrorType"] = types
    source = SourceInformation(source_type=v4c.SOURCE_BUS, bus_type=v4c.BUS_TYPE_CAN)
    with MDF(version="4.11") as mdf:
        signal = Signal(samples, types / 10, name="CAN_ErrorFrame", source=source)
        mdf.append(signal, acq_source=source, common_timebase=True)
        mdf.save(tmp_path / "errors.mf4", overwrite=True)
    got = read((tmp_path / "errors.mf4").read_bytes())
    told = [(0, 0), (1, 0), (2, 0), (4, 0), (0, 0x08), (0, 0x19), (0, 0), (0, 0)]
    assert got == [
        ("CAN3", 0x88, False, True, 8, bytes([0, 0, *pair, 0, 0, 0, 0])) if 1 <= kind <= 5 else ("CAN3", 0, False, True, 0, b"")
        for kind, pair in enumerate(told)
    ]  # fmt: skip


@given(st.lists(st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 255))))
def test_any_register_is_read_and_states_a_place_in_the_frame_or_none(registers: list[tuple[int, int]]) -> None:
    flags = np.array([r[0] for r in registers], np.int64)
    classes, details = of_vector(flags, np.array([r[1] for r in registers], np.uint8))
    assert (classes != 0).tolist() == [bool(f & 3) for f, _ in registers]
    assert not details[classes == 0].any()
    assert not details[:, [0, 1, 4, 5, 6, 7]].any()
    core = (flags & 1 == 0) & (flags & 2 != 0)
    assert set(details[core, 3].tolist()) <= {0, *LOCATIONS}
