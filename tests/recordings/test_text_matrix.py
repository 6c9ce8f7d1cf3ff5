"""Lines read as arrays: the same rows and problems as by regular expressions, whatever stands between them."""

import io
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from argus_assets.recordings.budget import Budget
from argus_assets.recordings.formats.text import matrix, reader
from argus_assets.recordings.formats.text.asc import ASC
from argus_assets.recordings.formats.text.candump import CANDUMP
from argus_assets.recordings.formats.text.reader import TextDecoder

HEADS = {
    CANDUMP: "(1795000000.000000) can0 123#0102\n",
    ASC: "date Tue Nov 17 12:00:00.000 2026\nbase hex  timestamps absolute\n",
}

HEX = st.sampled_from("0123456789ABCDEFabcdef")
DIGITS = st.text(st.sampled_from("0123456789"), min_size=0, max_size=12)
BLANK = st.sampled_from(["", " ", "  ", "\t", "   ", "\x0b", "\xa0"])


@st.composite
def candump_lines(draw: st.DrawFn) -> str:
    whole, decimals = draw(st.integers(0, 10**11)), draw(st.sampled_from([6, 6, 6, 3, 9, 0, 12]))
    ident = draw(st.text(HEX, min_size=draw(st.sampled_from([3, 8, 8, 3, 5])), max_size=8))
    size = draw(st.integers(0, 10) | st.sampled_from([12, 64, 65]))
    data = draw(st.text(HEX, min_size=2 * size, max_size=2 * size + draw(st.sampled_from([0, 0, 0, 1]))))
    flag = draw(st.sampled_from(["", "", "", "#0", "#1", "#G", "#"]))
    end = draw(st.sampled_from(["", "", " R", " T", " r", " X", "\r", " ", "_9", " R extra"]))
    part = "".join(draw(st.lists(st.sampled_from("0123456789"), min_size=decimals, max_size=decimals)))
    name = draw(st.sampled_from(["can0", "can1", "vcan0", "c", "x" * 20, "ü0"]))
    return f"({whole}.{part}){draw(st.sampled_from([' ', ' ', '  ', chr(9)]))}{name} {ident}#{flag}{data}{end}"


@st.composite
def asc_lines(draw: st.DrawFn) -> str:
    size = draw(st.integers(0, 9))
    code = draw(st.sampled_from([f"{size:x}", f"{size:x}", f"{size:x}", "f", "10", "", "g"]))
    gap = draw(st.sampled_from([" ", " ", " ", "  ", "\t"]))
    data = gap.join(
        draw(st.sampled_from(["00", "7F", "ff", "a1", "0", "123", "zz"] if draw(st.booleans()) else ["01", "E5"]))
        for _ in range(size)
    )
    tail = draw(
        st.sampled_from(["", "  Length = 237910 BitCount = 123 ID = 5", " errorframe", " \r", "  ErrorFrame x"])
    )
    time = draw(
        st.sampled_from(["0.000100", "12.345678", "-0.5", "7", "99999999999.123456", ".25", "1.5", "3.1234567"])
    )
    ident = draw(
        st.sampled_from(["123", "7FF", "800", "18FEF100x", "1FFFFFFFX", "3FFFFFFFx", "0x123", "Speed", "123456789x"])
    )
    way = draw(st.sampled_from(["Rx", "Tx", "Rx", "TxRq", "rx", "Q"]))
    kind = draw(st.sampled_from(["d", "d", "d", "r", "D", "e"]))
    channel = draw(st.sampled_from(["1", "2", "12", "CANFD", "x", "0001"]))
    return f"{draw(BLANK)}{time} {channel}  {ident:15} {way}   {kind} {code} {data}{tail}"


OTHER = st.sampled_from(
    ["", "#", "Begin Triggerblock Tue Nov 17 13:00:00.000 2026", "// note", "\x00\x01", "é", "(1.0) can0", "x" * 5000]
)


def read(decoder: TextDecoder, text: str) -> tuple[list[tuple[object, ...]], list[object]]:
    data = text.encode("utf-8", "surrogateescape")
    opened = decoder.open(io.BytesIO(data), Budget(size_bytes=len(data)))
    frames = [row for batch in opened for row in batch.frames.iter_rows()]
    return frames, [opened.summary.frames, *opened.summary.problems, *opened.summary.channels]


@pytest.mark.parametrize("decoder", [CANDUMP, ASC], ids=lambda d: d.name)
@given(st.data())
def test_arrays_read_what_expressions_read(decoder: TextDecoder, data: st.DataObject) -> None:
    line = candump_lines() if decoder is CANDUMP else asc_lines()
    lines = data.draw(st.lists(st.one_of(line, line, line, OTHER), max_size=12))
    text = (
        HEADS[decoder] + data.draw(st.sampled_from(["\n", "\r\n"])).join(lines) + data.draw(st.sampled_from(["", "\n"]))
    )
    assert read(decoder, text) == read(decoder.by_expressions(), text)


@pytest.mark.parametrize("decoder", [CANDUMP, ASC], ids=lambda d: d.name)
def test_plain_lines_are_read_as_arrays(decoder: TextDecoder, monkeypatch: pytest.MonkeyPatch) -> None:
    """No line of a plain log is left to the expressions, and blocks that end anywhere are read alike."""
    lines = [
        f"({1795000000 + n}.{n:06d}) can{n % 2} {n % 2048:03X}#{n:016X}"
        if decoder is CANDUMP
        else f"{n / 1000:11.6f} {n % 2 + 1}  {n % 2048:X}             Rx   d 8 {bytes([n % 256] * 8).hex(' ').upper()}"
        for n in range(500)
    ]
    text = HEADS[decoder] + "\n".join(lines) + "\n"
    left = []
    taken = matrix.Lines.table

    def counted(self: matrix.Lines, wanted: matrix.Flags | None = None) -> object:
        made = taken(self, wanted)
        left.extend(line for line in made["text"] if re.match(r"[\s(]*\d", line) and "timestamps" not in line)
        return made

    monkeypatch.setattr(matrix.Lines, "table", counted)
    whole = read(decoder, text)
    assert left == []
    monkeypatch.setattr(reader, "BLOCK_BYTES", 100)
    assert read(decoder, text)[0] == whole[0]
