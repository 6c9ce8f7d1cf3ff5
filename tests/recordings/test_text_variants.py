"""Text logs as other tools write them: every frame, and a word on whatever is not read or not stated."""

import io
from dataclasses import dataclass
from datetime import UTC, datetime

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from argus_assets.recordings.formats.text.dates import MONTHS, date_of
from argus_assets.recordings.model import FrameBatch, RecordingSummary, concat_batches
from argus_assets.recordings.reading import open_recording
from argus_assets.recordings.schema import FRAMES, NOTICE_KINDS

START = datetime(2023, 9, 27, 9, 30, tzinfo=UTC)
START_NS = int(START.timestamp()) * 10**9


def read(data: bytes) -> tuple[FrameBatch, RecordingSummary]:
    reader = open_recording(io.BytesIO(data))
    batch = concat_batches(list(reader))
    FRAMES.check(batch.frames)
    return batch, reader.summary


def times(data: bytes) -> list[int]:
    return read(data)[0].frames["timestamp"].dt.timestamp("ns").to_list()


def kinds(summary: RecordingSummary) -> list[str]:
    return [p.kind for p in summary.problems]


# ------------------------------------------------------------------------------------------------- dates


@pytest.mark.parametrize(
    "line",
    [
        "Wed Sep 27 09:30:00.000 am 2023", "Wed Sep 27 09:30:00 2023", "Mit Sep 27 09:30:00 2023", "mi\u00e9 sep 27 09:30:00 2023",
        "mer set 27 09:30:00.000 2023", "qua set 27 09:30:00 2023", "mer. sept. 27 09:30:00 2023", "wo sep 27 09:30:00 2023",
        "\u015br wrz 27 09:30:00 2023", "Wed Sep 27 09:30:00 UTC 2023", "Wed\tSep 27 09:30:00 2023", "2023-09-27T09:30:00Z",
        "2023-09-27 09:30:00", "2023-09-27T11:30:00+02:00", "27.09.2023 09:30:00", "27:9:2023 09:30:00:000", "27. September 2023 09:30:00",
    ],
)  # fmt: skip
def test_a_date_is_read_in_many_words(line: str) -> None:
    assert date_of(line) == START_NS


@pytest.mark.parametrize(
    ("hour", "half", "expected"), [(13, "am", 13), (15, "pm", 15), (12, "am", 0), (12, "pm", 12), (1, "pm", 13)]
)
def test_an_hour_above_twelve_is_one_of_24(hour: int, half: str, expected: int) -> None:
    found = date_of(f"Wed Sep 27 {hour:02}:00:00 {half} 2023")
    assert found is not None
    assert found // 10**9 % 86_400 // 3600 == expected


@given(st.text(max_size=200))
def test_any_text_is_a_date_or_none(text: str) -> None:
    found = date_of(text)
    assert found is None or abs(found) < 2**62


def test_english_months_are_what_they_are() -> None:
    names = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
    assert [MONTHS[name] for name in names] == list(range(1, 13))


FRAME = b"   0.010000 1  123             Rx   d 2 01 02\n"


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_the_encoding_of_windows_is_read(encoding: str) -> None:
    text = "date Wed Sep 27 09:30:00.000 am 2023\nbase hex  timestamps absolute\n" + FRAME.decode() * 3
    mark = {"utf-16-le": b"\xff\xfe", "utf-16-be": b"\xfe\xff"}.get(encoding, b"")
    batch, summary = read(mark + text.encode(encoding))
    assert (batch.frames.height, kinds(summary)) == (3, [])
    assert batch.frames["timestamp"].dt.timestamp("ns")[0] == START_NS + 10_000_000


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"base hex timestamps absolute\n" + FRAME, "assumed"),
        (b"date nobody knows 12 when\nbase hex timestamps absolute\n" + FRAME, "bad_timestamp"),
        (b";$FILEVERSION=1.1\n     1)  1.5  Rx  0001  1  00\n", "assumed"),
        (b"  can0  123   [2]  11 22\n", "assumed"),
        (b" (000.010000)  can0  123   [2]  11 22\n", "assumed"),
    ],
)
def test_1970_is_never_silent(data: bytes, told: str) -> None:
    batch, summary = read(data)
    assert batch.frames["timestamp"].dt.year().to_list() == [1970]
    assert kinds(summary) == [told]


def test_seconds_of_the_day_count_from_midnight() -> None:
    head = b"date Wed Sep 27 09:30:00 am 2023\nbase hex  no internal events logged\n"
    assert times(head + b"34200.5000 1 122 Rx d 1 E3\n") == [START_NS + 500_000_000]
    assert times(head + b"0.5000 1 122 Rx d 1 E3\n") == [START_NS + 500_000_000]


# ------------------------------------------------------------------------------------------------- ASC

HEAD = b"date Wed Sep 27 09:30:00.000 am 2023\nbase hex  timestamps absolute\n"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"  -0.020000 1  100             Rx   d 2 AA BB\n", (-20_000_000, 0x100, "aabb")),
        (b".2 1 124 Rx d 2 01 02\n", (200_000_000, 0x124, "0102")),
        (b"3 1 125 Rx d 2 01 02\n", (3_000_000_000, 0x125, "0102")),
        (b"0.01\t1\t123\tRx\td\t2\t01\t02\n", (10_000_000, 0x123, "0102")),
        (b"0.01 1  123  Rx  d 2  01  02\n", (10_000_000, 0x123, "0102")),
        (b"0.01 1  0x123  Rx  d 2 01 02\n", (10_000_000, 0x123, "0102")),
        (b"0.01 CANFD 1  101  Tx   1 0 d 2 2 F1 F2  Length = 209000\n", (10_000_000, 0x101, "f1f2")),
        (b"0.01 CANFD 1 Rx 101 2nd_msg 1 0 2 2 F1 F2 0 0 0\n", (10_000_000, 0x101, "f1f2")),
    ],
)
def test_variants_of_asc(line: bytes, expected: tuple[int, int, str]) -> None:
    batch, summary = read(HEAD + line)
    (row,) = batch.frames.iter_rows(named=True)
    assert kinds(summary) == []
    assert (times(HEAD + line)[0], row["arbitration_id"], row["payload"].hex()) == (
        START_NS + expected[0], expected[1], expected[2]
    )  # fmt: skip


@pytest.mark.parametrize(
    ("line", "what"),
    [
        (b"  42.01 Li 14   Rx 2 2a 79  checksum = 07\n", "LIN"),
        (b"  42.01 L1 14   Rx 2 2a 79\n", "LIN"),
        (b"  59.17 CANXL   2 Rx   XLFF   984438 4656 432 msgXl e0 0\n", "CAN XL"),
        (b"   1.00 Fr RMSG  0 0 1 1 5 Rx 0 1 2\n", "FlexRay"),
        (b"   1.00 ETH 1 Rx 40 0102030405060708\n", "Ethernet"),
        (b"   1.00 1  EngineData      Rx   d 2 01 02\n", "CAN frames under a name instead of an identifier"),
    ],
)
def test_lines_of_other_buses_are_counted(line: bytes, what: str) -> None:
    batch, summary = read(HEAD + FRAME + line * 3)
    (problem,) = summary.problems
    assert (batch.frames.height, problem.kind, problem.frames_lost) == (1, "unsupported", 0)
    assert problem.actual.startswith(f"3 lines of {what}, first: ")


# ------------------------------------------------------------------------------------------------- candump, TRC


@pytest.mark.parametrize(
    ("line", "dlc", "payload", "remote"),
    [
        ("123#R8_E", 14, "", True), ("123#1122334455667788_B", 11, "1122334455667788", False), ("123#11.22", 2, "1122", False),
        ("12345678##1112233", 3, "112233", False),
    ],
)  # fmt: skip
def test_variants_of_candump(line: str, dlc: int, payload: str, remote: bool) -> None:
    batch, summary = read(f"# a comment\n7 (1.5) can0 {line}\n".encode())
    (row,) = batch.frames.iter_rows(named=True)
    assert (row["dlc"], row["payload"].hex(), row["is_remote_frame"], kinds(summary)) == (dlc, payload, remote, [])


def test_the_screen_of_candump_with_its_options() -> None:
    lines = [
        " (1695807000.000000)  can0  RX - -  123   [2]  11 22   '\".'",
        " (1695807000.000001)  can0  TX B E  18FEF100  [12]  01 02 03 04 05 06 07 08 09 0A 0B 0C",
        " (1695807000.000002)  vcan-1  RX - -  20000004   [8]  00 00 00 00 00 00 00 00   ERRORFRAME",
        " (1695807000.000003)  can0  RX - -  7DF   [0]  remote request",
    ]
    batch, summary = read("\n".join(lines).encode() + b"\n")
    rows = batch.frames.select(
        pl.col("timestamp").dt.timestamp("ns") - 1695807000 * 10**9,
        "is_rx",
        "is_fd",
        "is_error_frame",
        "is_remote_frame",
    ).rows()
    assert kinds(summary) == []
    assert rows == [
        (0, True, False, False, False), (1000, False, True, False, False), (2000, True, False, True, False),
        (3000, True, False, False, True),
    ]  # fmt: skip


def test_times_of_candump_since_the_frame_before_are_added_up() -> None:
    steps = [" (000.000000)", " (000.010000)", " (000.000500)", " (000.020000)"]
    assert times("".join(f"{at}  can0  123   [0]\n" for at in steps).encode()) == [
        0,
        10**7,
        10**7 + 500_000,
        3 * 10**7 + 500_000,
    ]
    zero = [" (000.000000)", " (000.010000)", " (000.010500)", " (000.030500)"]
    assert times("".join(f"{at}  can0  123   [0]\n" for at in zero).encode()) == [
        0,
        10**7,
        10**7 + 500_000,
        3 * 10**7 + 500_000,
    ]


def test_status_of_trc_is_no_lost_frame() -> None:
    rows = b"     1)  1.5  Rx  0001  1  00\n     2)  1.7  Warng  FFFFFFFF  4  00 00 00 08  BUSHEAVY\n     3)  1.9  Error  0008  4  00 00 00 00\n"
    batch, summary = read(b";$FILEVERSION=1.1\n;$STARTTIME=45196,3958333333\n" + rows)
    assert (batch.frames.height, kinds(summary)) == (1, [])
    assert batch.frames["timestamp"].dt.timestamp("ns")[0] == pytest.approx(START_NS + 1_500_000, abs=100_000)


def test_trc_states_its_start_in_a_comment() -> None:
    data = b";###\n;  Start time: 27.09.2023 09:30:00.000\n     1)      1841     0001  1  00\n"
    assert times(data) == [START_NS + 1_841_000_000]


# ------------------------------------------------------------------------------------------------- loggers


@dataclass
class Frame:
    at_us: int
    number: int
    extended: bool
    data: bytes


frames = st.lists(
    st.builds(
        lambda at, number, extended, data: Frame(at, number if extended else number & 0x7FF, extended, data),
        st.integers(0, 3_600_000_000 - 1),
        st.integers(0, 0x1FFFFFFF),
        st.booleans(),
        st.binary(min_size=1, max_size=8),
    ),
    min_size=1,
    max_size=8,
)


def by_time(found: list[Frame]) -> list[Frame]:
    return sorted(found, key=lambda f: f.at_us)


def screen(found: list[Frame]) -> bytes:
    return "".join(
        f" ({START_NS // 10**9 + f.at_us // 10**6}.{f.at_us % 10**6:06})  can0  {f.number:0{8 if f.extended else 3}X}   "
        f"[{len(f.data)}]  {f.data.hex(' ').upper()}\n"
        for f in found
    ).encode()


def busmaster(found: list[Frame]) -> bytes:
    def line(f: Frame) -> str:
        at = 34_200 * 10**4 + f.at_us // 100
        clock = f"{at // 36_000_000:02}:{at // 600_000 % 60:02}:{at // 10_000 % 60:02}:{at % 10_000:04}"
        return f"{clock} Rx 1 0x{f.number:X} {'x' if f.extended else 's'} {len(f.data)} {f.data.hex(' ').upper()} \n"

    head = "***BUSMASTER Ver 3.2.2***\n***PROTOCOL CAN***\n***START DATE AND TIME 27:9:2023 9:30:0:000***\n***HEX***\n"
    return (head + "".join(map(line, found)) + "***[STOP LOGGING SESSION]***\n").encode()


def canhacker(found: list[Frame]) -> bytes:
    rows = [
        f"{f.at_us // 10**6},{f.at_us % 10**6:06}   {f.number:0{8 if f.extended else 3}X}      {len(f.data)}           {f.data.hex(' ').upper()}\n"
        for f in found
    ]
    return ("Time     ID        DLC       Data                    Comment\n" + "".join(rows)).encode()


def cl2000(found: list[Frame]) -> bytes:
    rows = [
        f"{datetime.fromtimestamp((START_NS // 10**3 + f.at_us) / 1e6, UTC):%Y%m%dT%H%M%S}{f.at_us // 1000 % 1000:03};{int(f.extended)};"
        f"{f.number:x};{f.data.hex()}\n"
        for f in found
    ]
    return ('# Logger type: CANLogger2000\n# Value separator: ";"\nTimestamp;Type;ID;Data\n' + "".join(rows)).encode()


def gvret(found: list[Frame]) -> bytes:
    rows = [
        f"{f.at_us},{f.number:08X},{str(f.extended).lower()},Rx,0,{len(f.data)},{','.join(f'{b:02X}' for b in f.data)},\n"
        for f in found
    ]
    return ("Time Stamp,ID,Extended,Dir,Bus,LEN,D1,D2,D3,D4,D5,D6,D7,D8\n" + "".join(rows)).encode()


def kvaser(found: list[Frame]) -> bytes:
    rows = [
        f"{n},{f.at_us // 10**6}.{f.at_us % 10**6:06},1,{f.number:X},{'X' if f.extended else ''},{len(f.data)},{','.join(f'{b:X}' for b in f.data)}\n"
        for n, f in enumerate(found, 1)
    ]
    return ("Counter,Time,Chn,Identifier,Flags,DLC,Data0,Data1\n" + "".join(rows)).encode()


def cabana(found: list[Frame]) -> bytes:
    rows = [f"{f.at_us // 10**6}.{f.at_us % 10**6:06},{f.number},0,{f.data.hex()}\n" for f in found]
    return ("time,addr,bus,data\n" + "".join(rows)).encode()


@pytest.mark.parametrize(
    ("write", "start_ns", "resolution_us", "knows_extended"),
    [
        (screen, START_NS, 1, True), (busmaster, START_NS, 100, True), (canhacker, 0, 1, True), (cl2000, START_NS, 1000, True),
        (gvret, 0, 1, True), (kvaser, 0, 1, True), (cabana, 0, 1, False),
    ],
)  # fmt: skip
@given(frames)
def test_frames_of_each_logger_are_those_that_were_written(
    write, start_ns, resolution_us, knows_extended, found
) -> None:
    # cabana marks no extended identifiers; Kvaser's short ones are marked by a flag only.
    sent = [f for f in by_time(found) if knows_extended or f.extended == (f.number > 0x7FF)]
    if not sent:
        return
    batch, summary = read(write(sent))
    assert [k for k in kinds(summary) if k not in NOTICE_KINDS] == []
    rows = batch.frames.select(
        pl.col("timestamp").dt.timestamp("ns"), "arbitration_id", "is_extended_id", "payload"
    ).rows()
    assert rows == [
        (start_ns + f.at_us // resolution_us * resolution_us * 1000, f.number, f.extended, f.data) for f in sent
    ]


def test_busmaster_goes_on_after_midnight() -> None:
    head = b"***BUSMASTER Ver 3.2.2***\n***START DATE AND TIME 27:9:2023 23:59:59:000***\n***HEX***\n"
    found = times(head + b"23:59:59:5000 Rx 1 0x123 s 1 01\n00:00:01:0000 Rx 1 0x123 s 1 01\n")
    assert found[1] - found[0] == 1_500_000_000
