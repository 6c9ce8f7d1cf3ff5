"""Text logs, plain and compressed, that cost more than their size: read within bounds, and what is not read is told."""

import gzip
from collections.abc import Callable
from typing import Any, Final

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from argus_assets.recordings.formats.text import reader as text
from argus_assets.recordings.model import FrameBatch, Limits, RecordingSummary, concat_batches
from argus_assets.recordings.reading import open_recording
from fuzz.check import Counted

CANDUMP: Final = b"(1.0) can0 123#00\n"
ASC: Final = b"date Mon Nov 23 08:00:00 2026\nbase hex timestamps absolute\n"
ASC_FRAME: Final = b"0.5 1 100 Rx d 1 00\n"
TRC: Final = b";$FILEVERSION=2.0\n;$STARTTIME=44548.5\n;$COLUMNS=N,O,T,I,d,l,D\n"
TRC_FRAME: Final = b"1 1.0 DT 0100 Rx 1 00\n"
CSV: Final = b"timestamp,arbitration_id,extended,remote,error,dlc,data\n"
START_NS: Final = 1_795_420_800 * 10**9


def read(data: bytes, **limits: Any) -> tuple[FrameBatch, RecordingSummary]:
    reader = open_recording(Counted(data), limits=Limits(**({"workers": 1} | limits)))
    batch = concat_batches(list(reader))
    frames, summary = batch.frames, reader.summary
    assert frames["frame"].to_list() == list(range(frames.height))
    assert summary.frames == frames.height == sum(c.frames for c in summary.channels)
    assert summary.frames_lost == sum(p.frames_lost or 0 for p in summary.problems)
    assert not [p for p in summary.problems if p.kind == "reader_failed"], summary.problems
    return batch, summary


def times(batch: FrameBatch) -> list[int]:
    return batch.frames["timestamp"].dt.timestamp("ns").to_list()


NO_LINES: Final[dict[str, bytes]] = {
    "empty lines": CANDUMP + b"\n" * 300_000,
    "carriage returns in between": CANDUMP + b"\r\n" * 150_000,
    "lines of blanks": CANDUMP + b" \n" * 150_000,
    "comments": TRC + TRC_FRAME + b"; comment\n" * 30_000,
    "heads": TRC * 2000 + TRC_FRAME,
    "starts of blocks": ASC + b"Begin Triggerblock\n" * 20_000 + ASC_FRAME,
}


@pytest.mark.parametrize("name", NO_LINES)
def test_lines_without_frames_cost_nothing_but_their_bytes(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    blocks: list[int] = []
    lines = text.Lines.of

    def counted(data: bytes) -> text.Lines:
        blocks.append(len(data))
        return lines(data)

    monkeypatch.setattr(text.Lines, "of", counted)
    batch, summary = read(NO_LINES[name])
    assert batch.frames.height == 1
    assert summary.problems == []
    assert len(blocks) <= 3


BAD_LINES: Final[dict[str, bytes]] = {
    "a line of 2 MB": CANDUMP + b"x" * 2_000_000 + b"\n",
    "a line of characters of several bytes": CANDUMP + "é".encode() * 100_000 + b"\n",
    "bytes that are no text": CANDUMP + b"\xff" * 100_000 + b"\n",
    "zeros": CANDUMP + bytes(100_000) + b"\n",
    "a channel of 3,000 letters": CANDUMP + b"(1.0) " + b"c" * 3000 + b" 100#00\n",
    "a time of 3,000 digits": CANDUMP + b"(" + b"1" * 3000 + b".0) can0 100#00\n",
    "a time that is no number": CANDUMP + b"(nan) can0 100#00\n",
    "a time with an exponent": CANDUMP + b"(1e400) can0 100#00\n",
    "a time at the end of 64 bits": CANDUMP + b"(9223372036.854775807) can0 100#00\n",
    "an identifier of 3,000 digits": ASC + ASC_FRAME + b"0.1 1 " + b"F" * 3000 + b" Rx d 1 00\n",
    "a length of 64 bits": ASC + ASC_FRAME + b"0.1 CANFD 1 Rx 100 0 0 f 9223372036854775807 00\n",
    "a length of 64 bits in TRC": TRC + TRC_FRAME + b"1 1.0 DT 0100 Rx 9223372036854775807 00\n",
    "a length of 30 digits in TRC": TRC + TRC_FRAME + b"1 1.0 DT 0100 Rx " + b"9" * 30 + b" 00\n",
    "commas": CSV + b"1.0,0x1,0,0,0,1,AA==\n" + b"," * 100_000 + b"\n",
    "bytes that are no base64": CSV + b"1.0,0x1,0,0,0,1,AA==\n1.0,0x1,0,0,0,1,A\n",
}


@pytest.mark.parametrize("name", BAD_LINES)
def test_a_line_that_is_no_frame_is_one_lost_frame(name: str) -> None:
    batch, summary = read(BAD_LINES[name])
    assert batch.frames.height == 1
    assert [(p.kind, p.frames_lost) for p in summary.problems] == [("bad_record", 1)]


DATES: Final[dict[str, bytes]] = {
    "an hour of 5,000 digits": b"date Mon Nov 23 " + b"8" * 5000 + b":00:00 2026",
    "year 9999": b"date Fri Dec 31 23:59:59.999999999 9999",
    "day 99": b"date Mon Nov 99 08:00:00 2026",
    "no month": b"date Mon Xyz 23 08:00:00 2026",
    "infinite": b"date Mon Nov inf nan:00:00 2026",
}


@pytest.mark.parametrize("name", DATES)
def test_a_date_that_is_none_is_told(name: str) -> None:
    batch, summary = read(DATES[name] + b"\nbase hex timestamps absolute\n" + ASC_FRAME)
    assert times(batch) == [500_000_000]
    assert [(p.kind, p.frames_lost) for p in summary.problems] == [("bad_timestamp", 0)]


@pytest.mark.parametrize(
    "days", [b"1" + b"0" * 30, b"1" * 5000, b"1e999999999", b"NaN", b"-inf", b"1." * 3000, b"999999.5", b".5", b"1_0"]
)
def test_a_start_that_is_none_is_told(days: bytes) -> None:
    batch, summary = read(b";$FILEVERSION=2.0\n;$STARTTIME=" + days + b"\n" + TRC_FRAME)
    assert times(batch) == [1_000_000]
    assert [(p.kind, p.frames_lost) for p in summary.problems] == [("bad_timestamp", 0)]


def test_times_from_one_to_the_next_end_at_64_bits() -> None:
    step = b"4000000000.0 1 100 Rx d 1 00\n"
    batch, summary = read(ASC.replace(b"absolute", b"relative") + step * 5)
    assert times(batch) == []
    assert [(p.kind, p.frames_lost) for p in summary.problems] == [("bad_timestamp", 5)]
    batch, summary = read(ASC.replace(b"absolute", b"relative") + b"1000000000.0 1 100 Rx d 1 00\n" * 5)
    assert times(batch) == [START_NS + n * 10**18 for n in (1, 2)]
    assert summary.frames_lost == 3


Line = st.sampled_from(
    [
        (b"Begin Triggerblock\n", None), (b"Begin Triggerblock Mon Nov 23 09:00:00 2026\n", START_NS + 3600 * 10**9),
        (b"Begin Triggerblock Mon Nov 23 10:00:00.5 2026\n", START_NS + 7200 * 10**9 + 500_000_000),
        (b"Begin Triggerblock Mon Nov 77 10:00:00 2026\n", None), (b"End TriggerBlock\n", None), (ASC_FRAME, 0), (b"\n", None),
    ]
)  # fmt: skip


@given(st.lists(Line, max_size=40), st.integers(1, 200))
@settings(max_examples=100, deadline=None)
def test_each_frame_counts_from_the_last_date_before_it(lines: list[tuple[bytes, int | None]], block: int) -> None:
    expected: list[int] = []
    start = START_NS
    for _, value in lines:
        if value == 0:
            expected.append(start + 500_000_000)
        elif value is not None:
            start = value
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text, "BLOCK_BYTES", block)
        batch, summary = read(ASC + b"".join(line for line, _ in lines))
    assert times(batch) == expected
    bad = sum(b"77" in line for line, _ in lines)
    assert [p.actual.split()[0] for p in summary.problems if p.kind == "bad_timestamp"] == [str(bad)] * (bad > 0)


def test_further_channels_are_lost_and_told() -> None:
    lines = b"".join(b"(1.0) c%d 100#00\n" % (n % 300) for n in range(900))
    batch, summary = read(lines, max_channels=100)
    assert batch.frames.height == 300
    assert [(p.kind, p.frames_lost) for p in summary.problems] == [("over_limit", 600)]
    assert summary.problems[0].actual == "200 more, the first of them 'c100'"


@given(st.sampled_from([CANDUMP, ASC, TRC, CSV]), st.text("0123456789.:,;#()-+eE xRTdr\t\r\n\0é", max_size=200))
@settings(max_examples=300, deadline=None)
def test_no_text_raises(head: bytes, tail: str) -> None:
    read(head + tail.encode())


# ---------------------------------------------------------------------------------------------- compressed

PACK: Final[dict[str, Callable[[bytes], bytes]]] = {"gzip": gzip.compress, "zstd": zstandard.compress}


@pytest.mark.parametrize("name", PACK)
def test_what_fits_into_the_budget_is_read_to_the_byte(name: str) -> None:
    packed = PACK[name](CANDUMP * 50_000)
    limit = 200 * len(CANDUMP)
    batch, summary = read(packed, max_total_ratio=0, min_total_bytes=limit)
    assert batch.frames.height == 200
    assert [p.kind for p in summary.problems] == ["over_limit"]


@pytest.mark.parametrize("name", PACK)
@pytest.mark.parametrize("tail", [b"garbage", b"\x1f\x8b\x08garbage", b"\x28\xb5\x2f\xfd"])
def test_what_stands_behind_is_told_and_costs_nothing_before_it(name: str, tail: bytes) -> None:
    batch, summary = read(PACK[name](CANDUMP * 1000) + tail)
    assert batch.frames.height == 1000
    assert [p.kind for p in summary.problems] == ["bad_compression"]


@pytest.mark.parametrize("name", PACK)
def test_many_members_are_one_recording(name: str) -> None:
    pack = PACK[name]
    batch, summary = read(pack(b"") * 5000 + pack(CANDUMP) * 500 + bytes(100_000) + pack(CANDUMP))
    assert batch.frames.height == 501
    assert summary.problems == []


@pytest.mark.parametrize("outer", PACK)
@pytest.mark.parametrize("inner", PACK)
def test_one_compression_is_taken_off_and_a_second_one_told(outer: str, inner: str) -> None:
    batch, summary = read(PACK[outer](PACK[inner](CANDUMP)))
    assert batch.frames.height == 0
    assert [(p.kind, p.actual) for p in summary.problems] == [("unknown_format", "another compression")]


def windowed(log: int) -> bytes:
    parameters = zstandard.ZstdCompressionParameters(window_log=log, enable_ldm=True, hash_log=6, chain_log=6)
    stream = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    return stream.compress(CANDUMP * 100) + stream.flush()


def test_windows_and_dictionaries_of_zstd() -> None:
    skipped = b"\x50\x2a\x4d\x18" + (5).to_bytes(4, "little") + b"hello"
    batch, summary = read(zstandard.compress(CANDUMP) + skipped + zstandard.compress(CANDUMP))
    assert (batch.frames.height, summary.problems) == (2, [])
    dictionary = zstandard.ZstdCompressionDict(CANDUMP * 50)
    for data in (
        zstandard.ZstdCompressor(dict_data=dictionary).compress(CANDUMP * 100),
        zstandard.compress(CANDUMP * 100)[:5]
        + b"\xff"
        + zstandard.compress(CANDUMP * 100)[6:],  # a window of terabytes
    ):
        batch, summary = read(data)
        assert batch.frames.height == 0
        assert "bad_compression" in {p.kind for p in summary.problems}


def test_blocks_of_one_repeated_byte_inflate_in_bounded_steps() -> None:
    blocks = b"\x28\xb5\x2f\xfd\x00\x58" + b"\x02\x00\x10\n" * 20_000
    _, summary = read(blocks, min_total_bytes=8 * 1024**2, max_total_ratio=1)
    assert {p.kind for p in summary.problems} >= {"over_limit"}


@given(st.sampled_from(list(PACK)), st.integers(0, 400), st.binary(max_size=30))
@settings(max_examples=150, deadline=None)
def test_a_cut_or_damaged_compression_never_raises(name: str, cut: int, tail: bytes) -> None:
    whole = PACK[name](CANDUMP * 30)
    batch, summary = read(whole[: cut % (len(whole) + 1)] + tail)
    assert batch.frames.height <= 30
    assert summary.problems or batch.frames.height == 30
