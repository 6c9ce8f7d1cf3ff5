"""Formulas of MDF 4: what they compute, what they refuse, and that nothing of them is ever run as code."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import numexpr
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from argus_assets.recordings.formats.mdf4.formula import MAX_CHARS, FormulaError, parse_formula

VALUES = np.array([-3.0, -1.0, -0.25, 0.0, 0.5, 1.0, 2.0, 7.0, 250.0])
X = object()
UNARY = {
    "sin": np.sin, "cos": np.cos, "tan": np.tan, "arcsin": np.arcsin, "arccos": np.arccos, "arctan": np.arctan,
    "asin": np.arcsin, "acos": np.arccos, "atan": np.arctan, "sinh": np.sinh, "cosh": np.cosh, "tanh": np.tanh,
    "exp": np.exp, "ln": np.log, "log": np.log, "log10": np.log10, "sqrt": np.sqrt, "abs": np.abs, "int": np.trunc,
    "floor": np.floor, "ceil": np.ceil,
}  # fmt: skip
BINARY = {"+": np.add, "-": np.subtract, "*": np.multiply, "/": np.divide, "^": np.power, "**": np.power}
PAIRS = {"pow": np.power, "atan2": np.arctan2, "min": np.minimum, "max": np.maximum}

_events: list[str] | None = None


def _audit(event: str, _: object) -> None:
    if _events is not None and event in {"exec", "compile", "import", "os.system", "subprocess.Popen", "open"}:
        _events.append(event)


sys.addaudithook(_audit)


@contextmanager
def audited() -> Iterator[list[str]]:
    """What Python was asked to run, compile, import or open meanwhile."""
    global _events  # noqa: PLW0603 - an audit hook stays for ever, and hears only while somebody listens
    _events = []
    try:
        yield _events
    finally:
        _events = None


Tree = tuple[str, np.ndarray]
"""A formula in full parentheses, and its values."""

LEAVES = st.one_of(
    st.just(("X", VALUES)),
    st.just(("x", VALUES)),
    st.just(("X1", VALUES)),
    st.floats(0, 1e6).map(lambda v: (repr(v), np.full(len(VALUES), v))),
    st.integers(0, 2**64 - 1).map(lambda v: (str(v), np.full(len(VALUES), float(v)))),
    st.integers(0, 2**64 - 1).map(lambda v: (hex(v), np.full(len(VALUES), float(v)))),
)


def grown(inner: st.SearchStrategy[Tree]) -> st.SearchStrategy[Tree]:
    with np.errstate(all="ignore"):
        return st.one_of(
            st.tuples(st.sampled_from(sorted(UNARY)), inner).map(
                lambda t: (f"{t[0]} ( {t[1][0]})", UNARY[t[0]](t[1][1]))
            ),
            st.tuples(st.sampled_from(sorted(BINARY)), inner, inner).map(
                lambda t: (f"({t[1][0]}){t[0]}({t[2][0]})", BINARY[t[0]](t[1][1], t[2][1]))
            ),
            st.tuples(st.sampled_from(sorted(PAIRS)), inner, inner).map(
                lambda t: (f"{t[0]}({t[1][0]}, {t[2][0]})", PAIRS[t[0]](t[1][1], t[2][1]))
            ),
            inner.map(lambda t: (f"-({t[0]})", -t[1])),
        )


@given(st.recursive(LEAVES, grown, max_leaves=20))
@settings(max_examples=300, deadline=None)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_formulas_are_what_numpy_computes(tree: Tree) -> None:
    text, wanted = tree
    got = parse_formula(text)(VALUES)
    assert np.array_equal(np.broadcast_to(got, VALUES.shape), wanted, equal_nan=True), text


@given(
    st.lists(st.sampled_from(["X", "2", "0.5", "3"]), min_size=2, max_size=7),
    st.lists(st.sampled_from(["+", "-", "*", "/", "**"]), min_size=6, max_size=6),
    st.lists(st.sampled_from(["", "-"]), min_size=7, max_size=7),
)
@settings(max_examples=300, deadline=None)
def test_operators_bind_as_in_numexpr(operands: list[str], operators: list[str], signs: list[str]) -> None:
    signed = [f"{sign}{operand}" for sign, operand in zip(signs, operands, strict=False)]
    text = signed[0] + "".join(f"{o}{v}" for o, v in zip(operators, signed[1:], strict=False))
    x = np.array([0.5, 1.5, 2.0])
    wanted = numexpr.evaluate(text.replace("2", "2.0").replace("3", "3.0"), {"X": x})  # no integers: they differ
    ours = parse_formula(text)
    np.testing.assert_allclose(ours(x), np.broadcast_to(wanted, x.shape), rtol=1e-12)
    np.testing.assert_array_equal(parse_formula(text.replace("**", "^"))(x), ours(x))


@pytest.mark.parametrize(
    "text", ["9**9**9**9", "9^9^9^9", "1e999", "9" * 4000, "exp(1e9)", "pow(9, pow(9, pow(9, 9)))"]
)
def test_a_result_beyond_all_numbers_is_infinite(text: str) -> None:
    assert parse_formula(text)(np.zeros(2)).tolist() == [np.inf, np.inf]


@pytest.mark.parametrize(
    "raw", [np.arange(6, dtype=np.uint8), np.zeros(0), np.arange(6, dtype=np.uint64).reshape(2, 3)]
)
@pytest.mark.parametrize("text", ["5", "X", "X+1", "1/0"])
def test_results_have_the_shape_of_the_raw_values(text: str, raw: np.ndarray) -> None:
    found = parse_formula(text)(raw)
    assert found.shape == raw.shape
    assert found.dtype == np.float64
    found[...] = 0  # its own memory
    assert raw.sum() == np.arange(raw.size).sum()


CODE = [
    "__import__('os').system('touch x')", "X.__class__", "X+sin(*(eval('1') for i in (1,)))", "(lambda: X)()", "[X]", "{X}",
    "X if X else 1", "X; X", "X = 1", "eval(X)", "exec(X)", "open(X)", "where(X>1, X, 1)", "X and X", "not X", "~X", "X & 1",
    "X << 1", "X % 2", "X // 2", "'X'", '"X"', "X[0]", "f(X)", "XX", "X2", "inf", "nan", "1j", "0b1", "1_000", "sin",
    "sin X", "sin()", "sin(X, X)", "pow(X)", "pow(X, X, X)", "()", "(", ")", "", "  ", "X X", "2X", "1.2.3", "1e", "0x",
    "0xg", "X,X", "+", "X*", "X^", "X***X", "\x00", "X\x00", "\uff38", "\u0661", "X\u2212X", "X\n#\nX",
]  # fmt: skip


@pytest.mark.parametrize("text", CODE)
def test_what_is_no_formula_is_refused(text: str) -> None:
    with pytest.raises(FormulaError) as error:
        parse_formula(text)
    assert str(error.value)


@given(st.text(max_size=60) | st.text("X1().+-*/^,esin 0xpow", max_size=60))
@settings(max_examples=500, deadline=None)
def test_any_text_is_a_formula_or_refused_and_none_is_run(text: str) -> None:
    with audited() as events:
        try:
            found = parse_formula(text)(VALUES)
        except FormulaError:
            found = VALUES
    assert found.shape == VALUES.shape
    assert events == []


@pytest.mark.parametrize(
    "text",
    ["(" * 40 + "X" + ")" * 40, "^".join(["X"] * 40), "sin(" * 40 + "X" + ")" * 40, "+".join("X" * 600), "-" * MAX_CHARS + "X",
     "(" * MAX_CHARS, "X" + "^-" * 2000],
)  # fmt: skip
def test_length_depth_and_number_of_operations_are_bounded(text: str) -> None:
    with pytest.raises(FormulaError):
        parse_formula(text)
