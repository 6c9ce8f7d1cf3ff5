"""Lines read as arrays: the same rows and problems as by regular expressions, whatever stands between them."""

import io
from base64 import b64encode

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from argus_assets.recordings.budget import Budget
from argus_assets.recordings.formats.text import matrix, reader
from argus_assets.recordings.formats.text.asc import ASC
from argus_assets.recordings.formats.text.candump import CANDUMP
from argus_assets.recordings.formats.text.candump_output import CANDUMP_OUTPUT
from argus_assets.recordings.formats.text.csv import CSV
from argus_assets.recordings.formats.text.loggers import BUSMASTER
from argus_assets.recordings.formats.text.reader import TextDecoder
from argus_assets.recordings.formats.text.trc import TRC

HEADS = {
    "candump": (CANDUMP, ["(1795000000.000000) can0 123#0102\n"]),
    "asc": (ASC, ["date Tue Nov 17 12:00:00.000 2026\nbase hex  timestamps absolute\n"]),
    "candump-output": (CANDUMP_OUTPUT, ["  can0  123   [2]  01 02\n", " (1795000000.5)  can0  123   [2]  01 02\n"]),
    "trc": (
        TRC,
        [
            ";$FILEVERSION=1.1\n;$STARTTIME=43008.920986006946\n",
            ";$FILEVERSION=1.3\n",
            ";$FILEVERSION=2.1\n;$STARTTIME=43008.920986006946\n;$COLUMNS=N,O,T,B,I,d,R,L,D\n",
            ";$FILEVERSION=2.0\n;$COLUMNS=N,O,T,I,d,l,D\n",
        ],
    ),
    "csv": (CSV, ["timestamp,arbitration_id,extended,remote,error,dlc,data\n"]),
    "busmaster": (
        BUSMASTER,
        ["***BUSMASTER Ver 3.2.2***\n***HEX***\n***START DATE AND TIME 17:11:2026 23:59:58:000***\n"],
    ),
}
"""Decoder and heads of each format."""

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
    if draw(st.integers(0, 2)) == 0:
        flags = draw(st.sampled_from(["1 0", "0 0", "1 2", "Name 1 0", "1"]))
        stated = draw(st.sampled_from([str(size), str(size), "64", "0"]))
        return f"{draw(BLANK)}{time} CANFD   1 {way}   {ident:15} {flags} {code} {stated} {data}{tail}"
    return f"{draw(BLANK)}{time} {channel}  {ident:15} {way}   {kind} {code} {data}{tail}"


IDS = st.sampled_from(
    ["123", "7FF", "800", "0123", "18FEF100", "1FFFFFFF", "3FFFFFFF", "FFFFFFFF", "20000004", "12345", "xyz"]
)
BYTES = st.sampled_from(["00", "7F", "ff", "a1", "E5", "0", "123", "zz", "RTR"])
NUMBERS = st.sampled_from(
    ["0.5", "12.345678", "1059.9", "7", "1795000000.123456", "1,5", ".25", "99999999999.1", "3.1234567891"]
)


def data_bytes(draw: st.DrawFn, size: int) -> str:
    usual = draw(st.booleans())
    gap = draw(st.sampled_from([" ", " ", " ", "  ", "\t"]))
    return gap.join(draw(st.sampled_from(["00", "7F", "a1"]) if usual else BYTES) for _ in range(size))


@st.composite
def output_lines(draw: st.DrawFn) -> str:
    size = draw(st.integers(0, 10))
    stated = draw(st.sampled_from([f"[{size}]", f"[{size}]", f"[{size:02}]", "[9]", "[]", "{8}", "[0123]"]))
    time = draw(st.sampled_from(["", "", f"({draw(NUMBERS)})  ", "(2026-11-17 12:00:00.000001)  "]))
    way = draw(st.sampled_from(["", "", "RX - -  ", "TX B -  "]))
    end = draw(st.sampled_from(["", "", "   '..A.'", "  remote request", " ", "\r"]))
    return f"{draw(BLANK)}{time}can{draw(st.sampled_from('01'))}  {way}{draw(IDS)}   {stated}  {data_bytes(draw, size)}{end}"


@st.composite
def trc_lines(draw: st.DrawFn) -> str:
    size = draw(st.integers(0, 9))
    number = draw(st.sampled_from(["1)", "1)", "2", "x", ";"]))
    kind = draw(st.sampled_from(["Rx", "Tx", "DT", "DT", "Warng", "RR", "FD"]))
    fields = {
        "short": f"{kind} {draw(IDS)} {size}",
        "bus": f"1 {kind} {draw(IDS)} - {size}",
        "new": f"{kind} 2 {draw(IDS)} {draw(st.sampled_from(['Rx', 'Tx', '-']))} - {size}",
        "plain": f"{kind} {draw(IDS)} {draw(st.sampled_from(['Rx', 'Tx']))} {size}",
    }
    return f"  {number} {draw(NUMBERS)} {draw(st.sampled_from(list(fields.values())))} {data_bytes(draw, size)}"


@st.composite
def csv_lines(draw: st.DrawFn) -> str:
    data = draw(st.binary(max_size=10) | st.binary(min_size=64, max_size=65))
    text = b64encode(data).decode()
    text = draw(st.sampled_from([text, text, text, text[:-1], text.replace("A", "B"), "====", "QQ==", "QR=="]))
    flags = ",".join(draw(st.sampled_from(["0", "0", "1", "x"])) for _ in range(3))
    time = draw(NUMBERS | st.sampled_from(["1e-05", "1795000000.5"]))
    size = draw(st.sampled_from([str(len(data)), str(len(data)), "8", ""]))
    end = draw(st.sampled_from(["", "", " ", "\r", ",1"]))
    return f"{time},0x{draw(IDS)},{flags},{size},{text}{end}"


@st.composite
def busmaster_lines(draw: st.DrawFn) -> str:
    size = draw(st.integers(0, 9))
    time = draw(
        st.sampled_from(["23:59:59:1234", "0:00:01:5", "17:55:04:595000", "1:2:3:4", "23:59:59:1234567", "24-00"])
    )
    way, kind = draw(st.sampled_from(["Rx", "Tx", "rx"])), draw(st.sampled_from(["s", "x", "s", "sr", "y"]))
    return f"{time} {way} {draw(st.sampled_from('12a'))} {draw(st.sampled_from(['0x', '']))}{draw(IDS)} {kind} {size} {data_bytes(draw, size)}"


OTHER = st.sampled_from(
    [
        "",
        "#",
        "Begin Triggerblock Tue Nov 17 13:00:00.000 2026",
        "// note",
        "; note",
        "\x00\x01",
        "é",
        "(1.0) can0",
        "x" * 5000,
    ]
)
LINES = {
    "candump": candump_lines(), "asc": asc_lines(), "candump-output": output_lines(), "trc": trc_lines(), "csv": csv_lines(),
    "busmaster": busmaster_lines(),
}  # fmt: skip


def read(decoder: TextDecoder, text: str) -> tuple[list[tuple[object, ...]], list[object]]:
    data = text.encode("utf-8", "surrogateescape")
    opened = decoder.open(io.BytesIO(data), Budget(size_bytes=len(data)))
    frames = [row for batch in opened for row in batch.frames.iter_rows()]
    return frames, [opened.summary.frames, *opened.summary.problems, *opened.summary.channels]


@pytest.mark.parametrize("name", HEADS)
@given(st.data())
def test_arrays_read_what_expressions_read(name: str, data: st.DataObject) -> None:
    decoder, heads = HEADS[name]
    line = LINES[name]
    lines = data.draw(st.lists(st.one_of(line, line, line, OTHER), max_size=12))
    end = data.draw(st.sampled_from(["\n", "\r\n"]))
    text = data.draw(st.sampled_from(heads)) + end.join(lines) + data.draw(st.sampled_from(["", "\n"]))
    assert read(decoder, text) == read(decoder.by_expressions(), text)


def plain_line(name: str, n: int) -> str:
    """A line as the usual program writes it."""
    data = bytes([n % 256] * 8)
    spaced = data.hex(" ").upper()
    match name:
        case "candump":
            return f"({1795000000 + n}.{n:06d}) can{n % 2} {n % 2048:03X}#{n:016X}"
        case "asc":
            return f"{n / 1000:11.6f} {n % 2 + 1}  {n % 2048:X}             Rx   d 8 {spaced}  Length = {n} BitCount = 9 ID = 5"
        case "candump-output":
            return f" (1795000000.5)  can0  {n % 2048:03X}   [8]  {spaced}"
        case "trc":
            return f"{n:6d}) {n + 0.5:11.1f}  Rx         {n % 2048:04X}  8  {spaced} "
        case "csv":
            return f"1795000000.{n + 1},0x{n % 2048:x},0,0,0,8,{b64encode(data).decode()}"
        case _:
            return f"17:55:{n % 60:02}:{n:04} Rx 1 0x{n % 2048:03X} s 8 {spaced} "


@pytest.mark.parametrize("name", HEADS)
def test_plain_lines_are_read_as_arrays(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """No line of a plain log is left to the expressions, and blocks that end anywhere are read alike."""
    decoder, heads = HEADS[name]
    text = heads[0] + "\n".join(plain_line(name, n) for n in range(500)) + "\n"
    left: list[str] = []
    table = matrix.Lines.table

    def counted(self: matrix.Lines, wanted: matrix.Flags | None = None) -> pl.DataFrame:
        made = table(self, wanted)
        left.extend(made["text"])
        return made

    monkeypatch.setattr(matrix.Lines, "table", counted)
    whole, _ = read(decoder, text)
    assert len(whole) == 500 + (name.startswith("candump"))
    assert len(left) <= 3, left[:5]
    monkeypatch.setattr(reader, "BLOCK_BYTES", 100)
    assert read(decoder, text)[0] == whole
