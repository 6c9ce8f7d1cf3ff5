"""Conversions of MDF 4: as asammdf applies them where it is right, and as the standard says where it is not."""

import io
import struct
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from asammdf import MDF, Signal
from hypothesis import given, settings
from hypothesis import strategies as st

from argus_assets.recordings.model import Limits, RecordingSummary, concat_batches
from argus_assets.recordings.reading import open_recording
from tests.support.hostile_mdf4 import Hostile

NUMBERS = st.floats(-1e6, 1e6).map(lambda v: round(v, 3))
TEXTS = st.text(st.characters(codec="latin-1", categories=("L", "N", "Zs")), min_size=1, max_size=12)
SIGNALS = "mdf4.signals"


def read(data: bytes, **limits: int) -> tuple[pl.DataFrame, RecordingSummary]:
    """The one table of signals of a file."""
    reader = open_recording(io.BytesIO(data), limits=Limits(**{"workers": 1, **limits}))
    batch = concat_batches(list(reader))
    [table] = batch.topics.values()
    return table, reader.summary


def converted(
    raw: Sequence[Any], make: Callable[[Hostile], int], *, dtype: str = "<f8", items: int = 1, **limits: int
) -> tuple[pl.Series, RecordingSummary]:
    """The column of a signal with raw values and a conversion."""
    values = np.array(raw, dtype)
    data_type = {"u": 0, "i": 2, "f": 4, "S": 7}[values.dtype.kind]
    size = values.dtype.itemsize
    m = Hostile()
    array = m.block(b"##CA", [0], struct.pack("<BBHIiIQ", 0, 0, 1, 0, 0, 0, items)) if items > 1 else 0
    channel = m.cn(m.name("v"), bits=8 * size, data_type=data_type, cc=make(m), inner=array)
    n = len(values) // items
    records = b"".join(struct.pack("<d", i) + values[i * items : (i + 1) * items].tobytes() for i in range(n))
    m.dg(m.cg(m.time(channel), 8 + size * items, cycles=n), m.dt(records))
    table, summary = read(m.finished(), **limits)
    return table["v"], summary


# ---------------------------------------------------------------------------------------------- against asammdf


def formula() -> st.SearchStrategy[str]:
    return st.recursive(
        st.sampled_from(["X", "X1", "2.5", "0.125", "3.0"]),
        lambda inner: st.one_of(
            st.tuples(inner, st.sampled_from("+-*/"), inner).map(lambda t: f"({t[0]}{t[1]}{t[2]})"),
            st.tuples(
                st.sampled_from(["sin", "cos", "exp", "arctan", "sqrt", "abs", "log", "log10", "tanh"]), inner
            ).map(lambda t: f"{t[0]}({t[1]})"),
        ),
        max_leaves=8,
    ).filter(lambda text: "X" in text)


def numbered(**lists: Sequence[Any]) -> dict[str, Any]:
    return {f"{name}_{i}": value for name, values in lists.items() for i, value in enumerate(values)}


@st.composite
def conversions(draw: st.DrawFn) -> dict[str, Any]:
    """A conversion as asammdf takes it."""
    kind = draw(
        st.sampled_from(["linear", "rational", "formula", "between", "nearest", "ranges", "texts", "text ranges"])
    )
    keys = sorted(draw(st.lists(st.integers(-50, 250), min_size=2, max_size=12, unique=True)))
    values = draw(st.lists(NUMBERS, min_size=len(keys), max_size=len(keys)))
    texts = [t.encode() for t in draw(st.lists(TEXTS, min_size=len(keys), max_size=len(keys)))]
    match kind:
        case "linear":
            return {"a": draw(NUMBERS), "b": draw(NUMBERS)}
        case "rational":
            # asammdf divides by the last two where the others are zero, whatever they are.
            return {f"P{i}": draw(NUMBERS.filter(bool) if i > 4 else NUMBERS) for i in range(1, 7)}
        case "formula":
            return {"formula": draw(formula())}
        case "between" | "nearest":
            return numbered(raw=keys, phys=values) | {"interpolation": kind == "between"}
        case "ranges":
            return numbered(lower=keys[:-1], upper=keys[1:], phys=values[:-1]) | {"default": draw(NUMBERS)}
        case "texts":
            return numbered(val=keys, text=texts) | {"default": draw(TEXTS).encode()}
        case _:
            return numbered(lower=keys[:-1], upper=keys[1:], text=texts[:-1]) | {"default": draw(TEXTS).encode()}


@given(conversions(), st.lists(st.integers(-60, 255) | NUMBERS, min_size=1, max_size=40))
@settings(max_examples=150, deadline=None)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_values_equal_those_of_asammdf(
    tmp_path_factory: pytest.TempPathFactory, conversion: dict[str, Any], raw: list[float]
) -> None:
    path = tmp_path_factory.mktemp("mdf") / "a.mf4"
    samples = np.array(raw, "<f8")
    with MDF(version="4.11") as mdf:
        mdf.append([Signal(samples, np.arange(len(raw)) / 10, name="v", conversion=conversion)])
        mdf.save(path)
    table, summary = read(path.read_bytes())
    assert summary.problems == []
    with MDF(path) as mdf:
        theirs = mdf.get("v").samples
    if theirs.dtype.kind == "S":
        assert table["v"].to_list() == [v.decode() for v in theirs.tolist()]
    else:
        np.testing.assert_allclose(table["v"].to_numpy(), theirs, rtol=1e-9)


@pytest.mark.parametrize("dtype", ["<u1", "<i2", "<u8", "<f4"])
@given(raw=st.lists(st.integers(0, 120), min_size=1, max_size=20), p=st.lists(NUMBERS, min_size=6, max_size=6))
@settings(max_examples=20, deadline=None)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_rational_conversions_of_all_types_are_polynomials(dtype: str, raw: list[int], p: list[float]) -> None:
    found, summary = converted(raw, lambda m: m.cc(2, p), dtype=dtype)
    x = np.array(raw, np.float64)
    with np.errstate(all="ignore"):
        wanted = (p[0] * x**2 + p[1] * x + p[2]) / (p[3] * x**2 + p[4] * x + p[5])
    np.testing.assert_allclose(found.to_numpy(), wanted, rtol=1e-9)
    assert summary.problems == []


# ---------------------------------------------------------------------------------------------- where asammdf is not right


def test_a_range_of_integers_holds_its_upper_bound_and_one_of_floats_does_not() -> None:
    def ranges(m: Hostile) -> int:
        return m.cc(6, [0, 9, 1, 10, 19, 2, 30, 30, 3, -1])

    def texts(m: Hostile) -> int:
        return m.cc(8, [0, 9, 10, 19, 30, 30], [m.name("a"), m.name("b"), m.name("c"), m.name("-")])

    raw = [0, 5, 9, 10, 19, 20, 30, 31]
    assert converted(raw, ranges, dtype="<u1")[0].to_list() == [1, 1, 1, 2, 2, -1, 3, -1]
    assert converted(raw, ranges, dtype="<f8")[0].to_list() == [1, 1, -1, 2, -1, -1, -1, -1]
    assert converted(raw, texts, dtype="<i2")[0].to_list() == ["a", "a", "a", "b", "b", "-", "c", "-"]
    assert converted(raw, texts, dtype="<f4")[0].to_list() == ["a", "a", "-", "b", "-", "-", "-", "-"]


def test_keys_in_any_order_are_found() -> None:
    found, _ = converted(
        [3, 1, 2, 9], lambda m: m.cc(7, [3, 1, 2], [m.name("c"), m.name("a"), m.name("b"), 0]), dtype="<u1"
    )
    assert found.to_list() == ["c", "a", "b", ""]
    found, _ = converted([1.5, 3.0], lambda m: m.cc(4, [3, 30, 1, 10, 2, 20]))
    assert found.to_list() == [15.0, 30.0]


def test_values_that_are_no_numbers_stay_none() -> None:
    nan = float("nan")
    for kind, values in ((1, [1, 2]), (2, [0, 1, 2, 0, 0, 3]), (4, [1, 2, 3, 4]), (5, [1, 2, 3, 4])):
        found, _ = converted([nan, 1.0], lambda m, k=kind, v=values: m.cc(k, v))
        assert found.is_nan().to_list() == [True, False], kind
    assert converted([nan], lambda m: m.cc(6, [0, 1, 5, 7]))[0].to_list() == [7]
    assert converted([nan], lambda m: m.cc(7, [0], [m.name("a"), m.name("-")]))[0].to_list() == ["-"]


def test_texts_become_numbers_and_texts() -> None:
    raw = [b"on", b"off", b"?", b""]

    def to_value(m: Hostile) -> int:
        return m.cc(9, [1, 0, -7], [m.name("on"), m.name("off")])

    def to_text(m: Hostile) -> int:
        return m.cc(10, [], [m.name("on"), m.name("ein"), m.name("off"), m.name("aus"), m.name("-")])

    assert converted(raw, to_value, dtype="S4")[0].to_list() == [1.0, 0.0, -7.0, -7.0]
    assert converted(raw, to_text, dtype="S4")[0].to_list() == ["ein", "aus", "-", "-"]
    assert converted(raw, lambda m: m.cc(9, [5], []), dtype="S4")[0].to_list() == [5.0] * 4


def test_a_bit_field_is_the_texts_of_its_fields() -> None:
    def make(m: Hostile) -> int:
        gear = m.cc(7, [0x00, 0x10, 0x20], [m.name("N"), m.name("1"), m.name("2"), m.name("?")])
        door = m.cc(8, [1, 3], [m.name("open"), 0])
        m.link(door, 0, m.name("door"))
        level = m.cc(1, [0, 0.5])
        m.link(level, 0, m.name("level"))
        masks = struct.pack("<4Q", 0x30, 0x03, 2**63, 0x40)
        return m.cc(11, references=[gear, door, level, m.name("lamp")], raw=masks)

    found, summary = converted([0, 0x13, 0x20 | 2**63, 0x40], make, dtype="<u8")
    assert summary.problems == []
    assert found.to_list() == [
        "N|door=|level=0.0", "1|door=open|level=0.0", f"2|door=|level={2.0**62}", "N|door=|level=0.0|lamp",
    ]  # fmt: skip
    assert converted([1.5, float("nan"), 0x13], make)[0].to_list() == ["", "", "1|door=open|level=0.0"]


@pytest.mark.parametrize("depth", [1, 5, 30])
def test_tables_refer_to_other_conversions(depth: int) -> None:
    def make(m: Hostile) -> int:
        at = m.cc(1, [0, 0.5])
        for i in range(depth):
            at = m.cc(7, [200 + i], [m.name(f"text {i}"), at])
        return at

    found, summary = converted([4, 200, 10, 200 + depth - 1], make, dtype="<u1")
    assert summary.problems == []
    assert found.to_list() == ["2.0", "text 0", "5.0", f"text {depth - 1}"]


def test_a_table_of_numbers_alone_is_a_column_of_numbers() -> None:
    def make(m: Hostile) -> int:
        half, twice = m.cc(1, [0, 0.5]), m.cc(3, references=[m.name("X*2")])
        return m.cc(8, [0, 9, 10, 19], [half, twice, 0])

    found, _ = converted([4, 15, 99], make, dtype="<u1")
    assert found.dtype == pl.Float64
    assert found.to_list()[:2] == [2.0, 30.0]
    assert np.isnan(found[2])


@given(st.lists(st.integers(0, 255), min_size=1, max_size=60), st.integers(1, 20))
@settings(max_examples=30, deadline=None)
def test_a_column_has_one_type_whatever_its_values_are(raw: list[int], batch_frames: int) -> None:
    """Batches that differ could not be written to one table."""

    def make(m: Hostile) -> int:
        return m.cc(7, [255], [m.name("not available"), m.cc(1, [0, 0.5])])

    m = Hostile()
    m.dg(
        m.cg(m.time(m.cn(m.name("v"), cc=make(m))), 9, cycles=len(raw)),
        m.dl([m.dz(struct.pack("<dB", i, v)) for i, v in enumerate(raw)]),
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("argus_assets.recordings.formats.mdf4.reader.JOINED_BYTES", 1)
        reader = open_recording(io.BytesIO(m.finished()), limits=Limits(batch_frames=batch_frames, workers=1))
        tables = [table for batch in reader for table in batch.topics.values()]
    assert {table["v"].dtype for table in tables} == {pl.String()}
    assert pl.concat(tables)["v"].to_list() == ["not available" if v == 255 else str(v / 2) for v in raw]


@pytest.mark.parametrize("kind", ["linear", "formula", "texts"])
def test_arrays_are_converted_item_by_item(kind: str) -> None:
    def make(m: Hostile) -> int:
        if kind == "linear":
            return m.cc(1, [1, 2])
        if kind == "formula":
            return m.cc(3, references=[m.name("X1*2+1")])
        return m.cc(7, [1, 2], [m.name("a"), m.name("b"), m.name("-")])

    found, summary = converted([1, 2, 3, 1, 2, 3], make, dtype="<u2", items=3)
    assert summary.problems == []
    assert found.to_list() == ([["a", "b", "-"]] * 2 if kind == "texts" else [[3, 5, 7]] * 2)


def test_times_are_converted_too() -> None:
    m = Hostile()
    half = m.cc(3, references=[m.name("X/2")])
    channel = m.cn(m.name("t"), m.cn(m.name("v")), byte=0, bits=64, data_type=4, kind=2, sync=1, cc=half)
    m.dg(m.cg(channel, 9, cycles=2), m.dt(struct.pack("<dBdB", 1, 1, 3, 2)))
    table, summary = read(m.finished())
    assert summary.problems == []
    assert np.diff(table["timestamp"].to_physical()).tolist() == [10**9]


# ---------------------------------------------------------------------------------------------- what is refused

REFUSED: dict[str, tuple[Callable[[Hostile], int], str]] = {
    "a formula that is code": (lambda m: m.cc(3, references=[m.name("__import__('os').system('id')")]), "__import__"),
    "a formula that is missing": (lambda m: m.cc(3, references=[0]), "operand"),
    "no reference to a formula": (lambda m: m.cc(3), "operand"),
    "a kind that is none": (lambda m: m.cc(12, [1, 2]), "12"),
    "too few values": (lambda m: m.cc(2, [1, 2]), "6"),
    "no values": (lambda m: m.cc(4), "2"),
    "keys that are no numbers": (lambda m: m.cc(5, [float("nan"), 1, 2, 3]), "not numbers"),
    "too few references": (lambda m: m.cc(7, [1, 2, 3], [0]), "3 values and 1"),
    "texts wanted": (lambda m: m.cc(9, [1, 2], [0]), "texts"),
    "nested texts wanted": (lambda m: m.cc(7, [1], [m.cc(10, [], [0]), 0]), "texts"),
    "nested code": (lambda m: m.cc(7, [1], [m.cc(3, references=[m.name("exec(X)")]), 0]), "exec"),
    "a block that is none": (lambda m: m.name("a text"), "not a conversion block"),
    "linear without values": (lambda m: m.cc(1), "2"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_applied_leaves_raw_values_and_a_problem_that_says_why(name: str) -> None:
    make, reason = REFUSED[name]
    found, summary = converted([1, 2, 3], make, dtype="<u1")
    assert found.to_list() == [1, 2, 3]
    [problem] = [p for p in summary.problems if p.kind == "unsupported"]
    assert " v " in problem.expected
    assert reason in problem.actual
    assert len(problem.actual) < 500
    assert "raw values" in problem.help


def test_texts_with_a_conversion_of_numbers_stay_texts() -> None:
    found, summary = converted([b"a", b"b"], lambda m: m.cc(1, [1, 2]), dtype="S1")
    assert found.to_list() == ["a", "b"]
    assert [p.kind for p in summary.problems] == ["unsupported"]
    found, summary = converted([b"a", b"b"], lambda m: m.cc(1, [0, 1]), dtype="S1")
    assert found.to_list() == ["a", "b"]
    assert summary.problems == []


def test_conversions_that_refer_to_each_other_are_read_once_each(tmp_path: Path) -> None:
    """By count of reads: of n blocks that each refer to the next three times, there are 3^n ways."""
    reads: list[int] = []

    class Counted(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            reads.append(1)
            return super().read(size)

    counts = []
    for depth in (8, 16):
        m = Hostile()
        at = m.cc(1, [0, 2])
        for _ in range(depth):
            at = m.cc(7, [1.0, 2.0], [at, at, at])
        m.dg(m.cg(m.time(m.cn(m.name("v"), cc=at)), 9, cycles=1), m.dt(bytes([1] * 9)))
        reads.clear()
        list(open_recording(Counted(m.finished()), limits=Limits(workers=1)))
        counts.append(len(reads))
    assert counts[1] <= 2 * counts[0] + 20
