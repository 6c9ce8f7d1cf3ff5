"""BLF files that cost more than their size: each is read within bounds, and what is not read is told."""

import io
import itertools
import os
import struct
import zlib
from collections.abc import Callable
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from argus_assets.recordings.formats.blf import containers as containers_of_blf
from argus_assets.recordings.formats.blf import reader as blf
from argus_assets.recordings.model import Limits, RecordingSummary, concat_batches
from argus_assets.recordings.reading import open_recording
from fuzz.check import Counted

FRAME: Final = struct.pack("<4sHHII", b"LOBJ", 32, 1, 48, 86) + struct.pack(
    "<IHHQ HBBI8s", 2, 0, 0, 5, 1, 0, 8, 0x10, b"abcdefgh"
)
MIB: Final = 1024**2
LIMITS: Final = Limits(
    max_chunk_bytes=4 * MIB, min_total_bytes=16 * MIB, max_in_flight_bytes=8 * MIB, max_channels=50, max_blocks=500, workers=1
)  # fmt: skip


def log() -> bytes:
    head = bytearray(144)
    struct.pack_into("<4sI", head, 0, b"LOGG", 144)
    return bytes(head)


def container(data: bytes, method: int = 2, stated: int | None = None) -> bytes:
    packed = zlib.compress(data, 9) if method == 2 else data
    size = 32 + len(packed)
    head = struct.pack("<4sHHII", b"LOBJ", 16, 1, size, 10)
    return head + struct.pack("<H6xI4x", method, len(data) if stated is None else stated) + packed + bytes(size % 4)


def head_of(size: int, kind: int = 86) -> bytes:
    return struct.pack("<4sHHII", b"LOBJ", 32, 1, size, kind)


def nested(depth: int) -> bytes:
    data = FRAME
    for _ in range(depth):
        data = container(data)
    return data


HOSTILE: Final[dict[str, Callable[[], bytes]]] = {
    "containers inside of a container": lambda: container(container(bytes(3 * MIB)) * 400),
    "empty containers inside of a container": lambda: container(container(b"", 0) * 20_000),
    "containers deep inside of each other": lambda: nested(12),
    "lengths beyond the file": lambda: (
        (head_of(2**31, 10)[:4] + struct.pack("<HHII", 16, 1, 2**31, 10) + bytes(24)) * 3000
    ),
    "short containers": lambda: (struct.pack("<4sHHII", b"LOBJ", 16, 1, 20, 10) + bytes(4)) * 5000,
    "short objects": lambda: container(struct.pack("<4sHHII", b"LOBJ", 16, 1, 16, 1) * 200_000),
    "an object that never ends": lambda: (
        container(head_of(16 * MIB) + bytes(16))
        + b"".join(container(head_of(16 * MIB)[:16] * 60, 0) for _ in range(2000))
    ),
    "a size of 0 that is stated": lambda: container(FRAME * 40_000, stated=0) * 20,
    "a size of 10 that is stated": lambda: container(FRAME * 40_000, stated=10) * 20,
    "a size of 4 GB that is stated": lambda: container(FRAME * 40_000, stated=2**32 - 1) * 20,
    "signatures only": lambda: container(b"LOBJ" * 500_000),
    "letters of signatures": lambda: container(b"LLLJJJ" * 300_000),
    "gaps behind each object": lambda: container((FRAME + b"X" * 12) * 30_000),
    "objects that seem to be inside of objects": lambda: container(
        (FRAME[:-8] + b"LOBJ\x20\0\1\0" + struct.pack("<II", 60, 86) + bytes(40)) * 20_000
    ),
    "an interruption behind each object": lambda: (container(FRAME, 0) + b"XXXX" * 4) * 3000,
    "few frames in many bytes": lambda: container(FRAME + bytes(3 * MIB)) * 8,
    "no objects": lambda: container(os.urandom(MIB), 0),
    "more channels than a file may have": lambda: container(
        b"".join(FRAME[:32] + struct.pack("<H", n) + FRAME[34:] for n in range(2000))
    ),
}
TELLS_NOTHING: Final = ("an interruption", "empty")


def read(data: bytes, limits: Limits = LIMITS) -> tuple[int, RecordingSummary]:
    reader = open_recording(Counted(data), limits=limits)  # it fails when more is read than progress explains
    frames = concat_batches(list(reader)).frames
    summary = reader.summary
    assert frames["frame"].to_list() == list(range(frames.height))
    assert summary.frames == frames.height == sum(c.frames for c in summary.channels)
    assert summary.frames_lost == sum(p.frames_lost or 0 for p in summary.problems)
    assert not [p for p in summary.problems if p.kind == "reader_failed"]
    return frames.height, summary


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_inflates_no_more_than_its_budget(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    looked_at: list[int] = []
    objects = blf.find_objects

    def counted(buffer: Any, breaks: Any) -> Any:
        looked_at.append(len(buffer))
        return objects(buffer, breaks)

    monkeypatch.setattr(blf, "find_objects", counted)
    data = log() + HOSTILE[name]() + container(FRAME)
    _, summary = read(data)
    assert sum(looked_at) <= 4 * (LIMITS.min_total_bytes + len(data)), "each byte is looked at a few times, at most"
    assert max(looked_at) <= 40 * MIB
    assert len(looked_at) <= 200, "never once for each container or object"
    assert summary.problems or summary.frames or name.startswith(TELLS_NOTHING)


@pytest.mark.parametrize("name", [n for n in HOSTILE if "stated" in n or "gaps" in n or "interruption" in n])
def test_frames_in_a_hostile_file_are_read(name: str) -> None:
    data = HOSTILE[name]()
    frames, _ = read(log() + data, Limits(workers=1))
    inflated = zlib.decompressobj()
    assert frames >= (3000 if "interruption" in name else inflated.decompress(data[32:]).count(b"LOBJ"))


def test_containers_too_deep_are_told() -> None:
    frames, summary = read(log() + nested(12))
    assert frames == 0
    assert [(p.kind, p.actual) for p in summary.problems] == [("over_limit", "1 deeper")]


def test_further_channels_are_lost_and_told() -> None:
    frames, summary = read(log() + HOSTILE["more channels than a file may have"]())
    assert (frames, summary.frames_lost) == (50, 1950)
    assert [(p.kind, p.actual.split(",")[0], p.frames_lost) for p in summary.problems] == [("over_limit", "1", 1950)]


def test_an_end_of_year_65535_is_no_date() -> None:
    data = bytearray(log() + container(FRAME))
    struct.pack_into("<8H", data, 40, *[65535] * 8)
    frames, summary = read(bytes(data))
    assert frames == 1
    assert [p.kind for p in summary.problems] == ["bad_timestamp"]


def test_short_objects_are_told() -> None:
    _, summary = read(log() + HOSTILE["short objects"]())
    assert [(p.kind, p.actual) for p in summary.problems] == [("bad_length", "200000 shorter")]


Part = st.one_of(
    st.sampled_from([FRAME, b"LOBJ", b"L", bytes(3), bytes(9), b"J" * 20, head_of(2**24), head_of(0), head_of(40)]),
    st.builds(lambda n: FRAME * n, st.integers(0, 5)),
    st.binary(max_size=40),
)


@given(st.lists(Part, max_size=12), st.lists(st.integers(1, 400), max_size=8), st.integers(40, 300))
@settings(max_examples=200, deadline=None)
def test_how_a_stream_is_cut_into_pieces_makes_no_difference(parts: list[bytes], cuts: list[int], piece: int) -> None:
    data = b"".join(parts)
    bounds = sorted({0, len(data), *(c for c in cuts if c < len(data))})
    containers = b"".join(container(data[a:b], 0) for a, b in itertools.pairwise(bounds))
    whole, _ = read(log() + container(data, 0) + container(FRAME))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blf, "GROUP_BYTES", piece)
        patch.setattr(containers_of_blf, "GROUP_BYTES", piece)
        pieces, _ = read(log() + containers + container(FRAME))
    assert abs(whole - pieces) <= 1 + data.count(b"LOBJ") - data.count(FRAME)


@given(st.lists(st.tuples(st.sampled_from([0, 2, 7]), Part, st.integers(0, 3)), max_size=10), st.binary(max_size=20))
@settings(max_examples=200, deadline=None)
def test_no_bytes_raise(containers: list[tuple[int, bytes, int]], tail: bytes) -> None:
    data = log() + b"".join(container(part, method, len(part) * factor) for method, part, factor in containers) + tail
    read(data, Limits(workers=1, max_blocks=3))
    reader = open_recording(io.BytesIO(data[:144] + container(data[144:])), limits=Limits(workers=1))
    assert sum(batch.frames.height for batch in reader) == reader.summary.frames
