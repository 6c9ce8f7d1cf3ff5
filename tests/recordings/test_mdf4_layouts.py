"""MDF 4 in all its layouts: what was written is read, asammdf reads the same, and damage costs what it must and is told."""

import io
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from asammdf import MDF, Signal
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from argus_assets.recordings.formats.mdf4 import blocks as mdf4_blocks
from argus_assets.recordings.formats.mdf4 import reader as mdf4
from argus_assets.recordings.model import FrameBatch, Limits, RecordingSummary, concat_batches
from argus_assets.recordings.reading import open_recording
from argus_assets.recordings.schema import FRAMES
from tests.support import mdf4_builder as build
from tests.support.values import START_NS

CAN, VALUES, LIN, ERROR, SIGNAL = 1, 2, 3, 4, 5


def read(data: bytes, *, piece: int = 0, **limits: int) -> tuple[FrameBatch, RecordingSummary]:
    with pytest.MonkeyPatch.context() as patch:
        if piece:
            patch.setattr(mdf4_blocks, "PIECE_BYTES", piece)
            patch.setattr(mdf4, "MIXED_PIECE_BYTES", piece)
        reader = open_recording(io.BytesIO(data), limits=Limits(**limits))
        batch = concat_batches(list(reader))
    FRAMES.check(batch.frames)
    assert batch.frames.height == reader.summary.frames
    assert batch.frames["frame"].to_list() == list(range(batch.frames.height))
    return batch, reader.summary


@dataclass(frozen=True)
class Row:
    """One record to be written."""

    kind: int
    time_us: int
    can_id: int
    bus: int
    payload: bytes
    flag: bool


ROWS = st.lists(
    st.builds(
        Row,
        st.sampled_from([CAN, CAN, CAN, LIN, ERROR, SIGNAL]),
        st.integers(1, 10**9),
        st.integers(0, 2**29 - 1),
        st.integers(0, 3),
        st.binary(max_size=64),
        st.booleans(),
    ),
    max_size=80,
)


def unsorted_file(
    rows: list[Row], *, id_bytes: int, value_first: bool, unfinished: int = 0x25, ordinal: bool = False
) -> tuple[bytes, list[int]]:
    """An unsorted file, and where in its data each row is complete."""
    rows = sorted(rows, key=lambda r: r.time_us)
    data = bytearray()
    offset = 0
    ends: list[int] = []

    def record(number: int, content: bytes) -> bytes:
        return number.to_bytes(id_bytes, "little") + content

    for row in rows:
        at = row.time_us / 1e6
        if row.kind == CAN:
            value = record(VALUES, struct.pack("<I", len(row.payload)) + row.payload)
            fixed = build.can_record(
                at, row.can_id, extended=row.flag, bus=row.bus, dlc=min(len(row.payload), 15),
                length=len(row.payload), fd=len(row.payload) > 8, tx=row.flag,
            )  # fmt: skip
            own = record(CAN, fixed + struct.pack("<Q", 0 if ordinal else offset))
            offset += 4 + len(row.payload)
            data += value + own if value_first else own + value
        elif row.kind == LIN:
            data += record(LIN, build.lin_record(at, row.can_id % 64, bus=row.bus, data=row.payload[:8]))
        elif row.kind == ERROR:
            data += record(ERROR, struct.pack("<dB", at, 4 | row.bus))
        else:
            data += record(SIGNAL, struct.pack("<dHb", at, row.can_id % 65536, row.bus - 2))
        ends.append(len(data))
    count = dict.fromkeys(range(6), 0)
    for row in rows:
        count[row.kind] += 1
    told = not unfinished & 1
    groups = [
        build.can_group(CAN, values_in=1, cycles=count[CAN] * told),
        build.Cg(VALUES, 0, flags=build.VLSD_GROUP),
        build.lin_group(LIN, count[LIN] * told),
        build.error_group(ERROR, count[ERROR] * told),
        build.signal_group(SIGNAL, count[SIGNAL] * told),
    ]
    raw = build.Builder().finish(
        groups, bytes(data), id_bytes=id_bytes, start_ns=START_NS, unfinished=unfinished, stated=0 if unfinished else -1
    )
    return raw, [len(raw) - len(data) + end for end in ends]


BIT_ERROR = bytes([0, 0, 1, 0, 0, 0, 0, 0])
"""How SocketCAN tells what the error records above hold: `ErrorType` 1."""


def expected(rows: list[Row]) -> list[tuple[object, ...]]:
    found: list[tuple[object, ...]] = []
    for row in sorted(rows, key=lambda r: r.time_us):
        at = START_NS + row.time_us * 1000
        if row.kind == CAN:
            found.append((at, f"CAN{row.bus}", "can", row.can_id, row.flag, not row.flag, row.payload, False))
        elif row.kind == LIN:
            found.append((at, f"LIN{row.bus}", "lin", row.can_id % 64, False, True, row.payload[:8], False))
        elif row.kind == ERROR:
            found.append((at, f"CAN{row.bus}", "can", 0x88, False, True, BIT_ERROR, True))
    return found


def got(batch: FrameBatch) -> list[tuple[object, ...]]:
    columns = "channel", "kind", "arbitration_id", "is_extended_id", "is_rx", "payload", "is_error_frame"
    return batch.frames.select(pl.col("timestamp").to_physical(), *columns).rows()


LAYOUT = {
    "id_bytes": st.sampled_from([1, 2, 4, 8]),
    "value_first": st.booleans(),
}


@given(ROWS, st.fixed_dictionaries(LAYOUT), st.integers(16, 3000), st.sampled_from([1, 2]), st.sampled_from([0, 0x25]))
@settings(max_examples=80, deadline=None)
def test_unsorted_files_are_read_back(
    rows: list[Row], layout: dict[str, object], piece: int, workers: int, unfinished: int
) -> None:
    raw, _ = unsorted_file(rows, **layout, unfinished=unfinished)  # type: ignore[arg-type]
    batch, summary = read(raw, piece=piece, workers=workers)
    assert summary.problems == []
    assert got(batch) == expected(rows)
    signals = sorted((r for r in rows if r.kind == SIGNAL), key=lambda r: r.time_us)
    if signals:
        table = batch.topics["EEC1", "mdf4.signals"]
        assert table["EngineSpeed"].to_list() == [10 + 0.125 * (r.can_id % 65536) for r in signals]
        assert table["Torque"].to_list() == [r.bus - 2 for r in signals]
        assert table["timestamp"].to_physical().to_list() == [START_NS + r.time_us * 1000 for r in signals]
        assert table["frame"].null_count() == len(signals)


@given(ROWS, st.integers(16, 3000))
@settings(max_examples=30, deadline=None)
def test_offsets_that_were_never_written_are_not_needed(rows: list[Row], piece: int) -> None:
    raw, _ = unsorted_file(rows, id_bytes=1, value_first=False, unfinished=0x65, ordinal=True)
    batch, summary = read(raw, piece=piece)
    assert summary.problems == []
    assert got(batch) == expected(rows)


@given(ROWS.filter(lambda rows: any(r.kind == CAN for r in rows)), st.booleans())
@settings(max_examples=20, deadline=None)
def test_asammdf_reads_the_same_from_unsorted_files(
    tmp_path_factory: pytest.TempPathFactory, rows: list[Row], value_first: bool
) -> None:
    assume(all(b"##" not in r.payload for r in rows))  # asammdf looks for blocks inside of payloads
    raw, _ = unsorted_file(rows, id_bytes=1, value_first=value_first)
    path = tmp_path_factory.mktemp("mdf") / "a.mf4"
    path.write_bytes(raw)
    batch, _ = read(raw)
    frames = batch.frames.filter((pl.col("kind") == "can") & ~pl.col("is_error_frame"))
    with MDF(path, process_bus_logging=False) as mdf:
        ids = mdf.get("CAN_DataFrame.ID", raw=True)
        lengths = mdf.get("CAN_DataFrame.DataLength", raw=True).samples
        data = mdf.get("CAN_DataFrame.DataBytes", raw=True).samples
    assert frames["arbitration_id"].to_list() == ids.samples.tolist()
    theirs = [bytes(d)[:n] for d, n in zip(data, lengths, strict=True)]
    assert frames["payload"].to_list() == theirs


@given(ROWS, st.data(), st.integers(64, 3000))
@settings(max_examples=60, deadline=None)
def test_of_a_cut_file_all_before_the_cut_is_read(rows: list[Row], data: st.DataObject, piece: int) -> None:
    raw, ends = unsorted_file(rows, id_bytes=1, value_first=False)
    first = len(raw) - (ends[-1] - ends[0] if ends else 0)
    cut = data.draw(st.integers(min(first, len(raw)), len(raw)))
    batch, summary = read(raw[:cut], piece=piece)
    whole = [row for row, end in zip(sorted(rows, key=lambda r: r.time_us), ends, strict=True) if end <= cut]
    assert got(batch) == expected(whole)
    if cut not in (*ends, len(raw)) and cut > first:
        assert summary.problems


@given(ROWS, st.data(), st.integers(64, 3000), st.sampled_from([0, 0x25]))
@settings(max_examples=150, deadline=None)
def test_flipped_bytes_raise_nothing_and_nothing_is_lost_silently(
    rows: list[Row], data: st.DataObject, piece: int, unfinished: int
) -> None:
    raw, _ = unsorted_file(rows, id_bytes=1, value_first=False, unfinished=unfinished)
    damaged = bytearray(raw)
    for place in data.draw(st.lists(st.integers(0, len(raw) - 1), min_size=1, max_size=4)):
        damaged[place] ^= data.draw(st.integers(1, 255))
    batch, summary = read(bytes(damaged), piece=piece)
    claimed = sum(r.kind != SIGNAL for r in rows)
    structure = len(raw) - 4096
    if damaged[: max(structure, 0)] == raw[: max(structure, 0)] and batch.frames.height < claimed and not unfinished:
        assert summary.problems


def sorted_file(n: int, *, cycles: int | None = None, unfinished: int = 0) -> bytes:
    records = b"".join(
        build.can_record(i / 1000, i % 2048, extended=False, bus=1, dlc=8, length=8, fd=False, tx=False)
        + i.to_bytes(8, "little")
        for i in range(1, n + 1)
    )
    group = build.can_group(0, values_in=None, cycles=n if cycles is None else cycles)
    return build.Builder().finish([group], records, id_bytes=0, start_ns=START_NS, unfinished=unfinished)


@given(st.integers(1, 200), st.data(), st.integers(16, 2000))
@settings(max_examples=50, deadline=None)
def test_a_finalised_file_that_was_cut_is_read_to_its_end(n: int, data: st.DataObject, piece: int) -> None:
    """asammdf reads nothing of such a file."""
    raw = sorted_file(n)
    cut = data.draw(st.integers(len(raw) - 22 * n, len(raw)))
    batch, summary = read(raw[:cut], piece=piece)
    whole = n - -(-(len(raw) - cut) // 22)
    assert [int.from_bytes(p, "little") for p in batch.frames["payload"]] == list(range(1, whole + 1))
    assert summary.frames + summary.frames_lost == n
    assert bool(summary.problems) == (whole < n)


@pytest.mark.parametrize("unfinished", [0, 0x5])
def test_space_that_was_never_written_makes_no_frames(unfinished: int) -> None:
    raw = bytearray(sorted_file(100, unfinished=unfinished))
    raw[-22 * 40 :] = bytes(22 * 40)
    batch, summary = read(bytes(raw), piece=1000)
    assert batch.frames.height == 60
    assert next(p.kind for p in summary.problems) == "truncated"
    assert summary.frames_lost == (0 if unfinished else 40)


def test_links_that_go_in_a_circle_end() -> None:
    raw = bytearray(sorted_file(5))
    group = raw.index(b"##DG")
    struct.pack_into("<Q", raw, group + 24, group)
    batch, summary = read(bytes(raw))
    assert batch.frames.height == 5
    assert any("circle" in p.actual for p in summary.problems)


@pytest.mark.parametrize("compression", [0, 1, 2])
@pytest.mark.parametrize("workers", [1, 2])
def test_signals_equal_asammdf(tmp_path: Path, compression: int, workers: int) -> None:
    rng = np.random.default_rng(compression)
    n = 5000
    times = np.cumsum(rng.uniform(0.001, 0.02, n))
    texts = np.array([f"state {i % 7}" for i in range(n)], dtype="S")
    gears = {
        "val_0": 0,
        "val_1": 1,
        "val_2": 2,
        "text_0": b"park",
        "text_1": b"drive",
        "text_2": b"reverse",
        "default": b"?",
    }
    wheels = rng.integers(0, 1000, (n, 3)).astype("<u2")
    signals = [
        Signal(rng.integers(0, 60000, n).astype("<u2"), times, name="Speed", conversion={"a": 0.01, "b": -5.0}),
        Signal(rng.integers(-100, 100, n).astype("<i4"), times, name="Torque"),
        Signal(rng.normal(size=n), times, name="Yaw"),
        Signal(rng.normal(size=n).astype("<f4"), times, name="Slip"),
        Signal(rng.integers(0, 4, n).astype("<u1"), times, name="Gear", conversion=gears),
        Signal(texts, times, name="State", encoding="latin-1"),
        Signal(np.rec.fromarrays([wheels], dtype=[("Wheels", "(3,)<u2")]), times, name="Wheels"),
    ]
    path = tmp_path / "a.mf4"
    with MDF(version="4.11") as mdf:
        mdf.append(signals[:4], acq_name="chassis", common_timebase=True)
        mdf.append(signals[4:], acq_name="driver", common_timebase=True)
        mdf.save(path, compression=compression)
    batch, summary = read(path.read_bytes(), workers=workers)
    assert summary.problems == []
    assert batch.frames.is_empty()
    tables = {topic: table for (topic, _), table in batch.topics.items()}
    with MDF(path) as mdf:
        start_ns = int(mdf.header.abs_time)
        for topic, names in (("chassis", ["Speed", "Torque", "Yaw", "Slip"]), ("driver", ["Gear", "State"])):
            at = tables[topic]["timestamp"].to_physical().to_numpy() - start_ns
            for name in names:
                theirs = mdf.get(name)
                assert np.abs(at - theirs.timestamps * 1e9).max() <= 1
                ours = tables[topic][name].to_list()
                wanted = [v.decode() if isinstance(v, bytes) else v for v in theirs.samples.tolist()]
                assert ours == wanted, name
        assert tables["driver"]["Wheels"].to_list() == wheels.tolist()


@given(st.lists(st.binary(max_size=40), min_size=1, max_size=300), st.sampled_from([0, 1, 2]))
@settings(max_examples=15, deadline=None)
def test_values_of_variable_length_in_sorted_files(
    tmp_path_factory: pytest.TempPathFactory, payloads: list[bytes], compression: int
) -> None:
    path = tmp_path_factory.mktemp("mdf") / "a.mf4"
    texts = [p.hex() + "x" for p in payloads]
    times = np.arange(len(texts)) / 10
    with MDF(version="4.11") as mdf:
        mdf.append([Signal(np.array(texts, dtype="S"), times, name="Text", encoding="utf-8")])
        mdf.save(path, compression=compression)
    batch, summary = read(path.read_bytes())
    assert summary.problems == []
    [table] = batch.topics.values()
    assert table["Text"].to_list() == texts


@given(
    st.lists(st.integers(1, 10**6), min_size=1, max_size=200), st.lists(st.integers(1, 10**6), min_size=1, max_size=200)
)
@settings(max_examples=20, deadline=None)
def test_groups_are_merged_by_time(
    tmp_path_factory: pytest.TempPathFactory, first: list[int], second: list[int]
) -> None:
    path = tmp_path_factory.mktemp("mdf") / "a.mf4"
    dtype = [
        ("CAN_DataFrame.BusChannel", "<u1"),
        ("CAN_DataFrame.ID", "<u4"),
        ("CAN_DataFrame.DLC", "<u1"),
        ("CAN_DataFrame.DataBytes", "(8,)u1"),
    ]
    with MDF(version="4.11") as mdf:
        for bus, times in enumerate((sorted(first), sorted(second)), 1):
            samples = np.zeros(len(times), dtype)
            samples["CAN_DataFrame.BusChannel"] = bus
            samples["CAN_DataFrame.ID"] = np.arange(len(times))
            samples["CAN_DataFrame.DLC"] = 8
            mdf.append(Signal(samples, np.array(times) / 1e3, name="CAN_DataFrame"), common_timebase=True)
        mdf.save(path)
    batch, summary = read(path.read_bytes(), piece=300)
    assert summary.problems == []
    assert batch.frames["timestamp"].is_sorted()
    for bus, times in (("CAN1", first), ("CAN2", second)):
        own = batch.frames.filter(pl.col("channel").cast(pl.String) == bus)
        assert own["arbitration_id"].to_list() == list(range(len(times)))
        assert [len(p) for p in own["payload"]] == [8] * len(times)
