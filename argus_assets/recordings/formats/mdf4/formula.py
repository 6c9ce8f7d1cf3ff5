"""Formulas of algebraic conversions (ASAM MDF 4.1, 4.17.5; ASAM MCD-2 MC formulas): parsed here, evaluated by numpy.

A formula is a text of the file. It becomes a short program of operations from a closed list, on float64 only, and
it is never given to an interpreter. Anything outside the list is an error that names it.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

MAX_CHARS: Final = 4096
"""Of a formula; the longest that was seen has about 200."""

_MAX_STEPS: Final = 512
_MAX_DEPTH: Final = 32

F64 = npt.NDArray[np.float64]

_FUNCTIONS: Final[dict[str, tuple[int, Callable[..., Any]]]] = {
    # name: arguments, what computes it. Names as MCD-2 MC has them, and as Python writers do.
    "abs": (1, np.abs),
    "acos": (1, np.arccos), "arccos": (1, np.arccos),
    "asin": (1, np.arcsin), "arcsin": (1, np.arcsin),
    "atan": (1, np.arctan), "arctan": (1, np.arctan),
    "atan2": (2, np.arctan2), "arctan2": (2, np.arctan2),
    "ceil": (1, np.ceil),
    "cos": (1, np.cos),
    "cosh": (1, np.cosh),
    "exp": (1, np.exp),
    "floor": (1, np.floor),
    "int": (1, np.trunc), "trunc": (1, np.trunc),
    "ln": (1, np.log), "log": (1, np.log),
    "log10": (1, np.log10),
    "max": (2, np.maximum),
    "min": (2, np.minimum),
    "pow": (2, np.power), "power": (2, np.power),
    "round": (1, np.rint),
    "sgn": (1, np.sign), "sign": (1, np.sign),
    "sin": (1, np.sin),
    "sinh": (1, np.sinh),
    "sqrt": (1, np.sqrt),
    "tan": (1, np.tan),
    "tanh": (1, np.tanh),
}  # fmt: skip
_VARIABLES: Final = ("x", "x1")
_CONSTANTS: Final = {"pi": np.pi}
_TERMS: Final = {"+": np.add, "-": np.subtract}
_FACTORS: Final = {"*": np.multiply, "/": np.divide}
_POWERS: Final = ("^", "**")

_TOKEN: Final = re.compile(
    r"\s*(?:(?P<hex>0[xX][0-9a-fA-F]{1,16})|(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)"
    r"|(?P<name>[A-Za-z_][A-Za-z0-9_]*)|(?P<sign>\*\*|[-+*/^(),]))",
    re.ASCII,
)


class FormulaError(ValueError):
    """A text is not a formula, or one that is not supported; the message says why."""


@dataclass(frozen=True, slots=True)
class _Step:
    """One operation on a stack.

    Attributes:
        function: Computes the result of the topmost `arguments` values; `None` pushes.
        value: What is pushed, `None` for the variable.
    """

    function: Callable[..., Any] | None = None
    arguments: int = 0
    value: np.float64 | None = None


@dataclass(frozen=True, slots=True)
class Formula:
    """A function of one variable."""

    steps: tuple[_Step, ...]

    def __call__(self, values: npt.NDArray[Any]) -> F64:
        """Return the result for each value, of the same shape; NaN or infinite where there is none."""
        x = values.astype(np.float64)
        stack: list[Any] = []
        with np.errstate(all="ignore"):
            for step in self.steps:
                if step.function is None:
                    stack.append(x if step.value is None else step.value)
                else:
                    first = len(stack) - step.arguments
                    stack[first:] = [step.function(*stack[first:])]
        return np.broadcast_to(np.asarray(stack[0], np.float64), x.shape).copy()


def parse_formula(text: str) -> Formula:
    """Parse a formula.

    The grammar: `+` and `-`, then `*` and `/`, then a sign, then `^` (or `**`), which binds to the right. Numbers are
    decimal, with or without exponent, or hexadecimal. The variable is `X`, `x` or `X1`.

    Raises:
        FormulaError: The text is no formula, or too long, too deep or with names that are not known.
    """
    if len(text) > MAX_CHARS:
        raise FormulaError(f"more than {MAX_CHARS} characters")
    parser = _Parser(_tokens(text))
    parser.sum(0)
    if parser.kind:
        raise FormulaError(f"{parser.text!r} behind its end")
    return Formula(tuple(parser.steps))


def _tokens(text: str) -> list[tuple[str, str]]:
    tokens: list[tuple[str, str]] = []
    text = text.rstrip()
    at = 0
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None or found.lastgroup is None:
            raise FormulaError(f"{text[at:].lstrip()[:8]!r}, which is neither number, name nor operator")
        tokens.append((found.lastgroup, found[found.lastgroup]))
        at = found.end()
    return tokens


class _Parser:
    """Recursive descent over tokens; `kind` and `text` are those of the next one, empty behind the last."""

    def __init__(self, tokens: list[tuple[str, str]]) -> None:
        self._tokens = iter(tokens)
        self.steps: list[_Step] = []
        self.kind = self.text = ""
        self._next()

    def _next(self) -> str:
        """Advance by one token; return the text of the one before."""
        text = self.text
        self.kind, self.text = next(self._tokens, ("", ""))
        return text

    def _add(self, step: _Step) -> None:
        if len(self.steps) >= _MAX_STEPS:
            raise FormulaError(f"more than {_MAX_STEPS} operations and operands")
        self.steps.append(step)

    def _expect(self, sign: str) -> None:
        if (self.kind, self.text) != ("sign", sign):
            raise FormulaError(
                f"{self.text!r} where {sign!r} is missing" if self.kind else f"{sign!r} missing at its end"
            )
        self._next()

    def sum(self, depth: int) -> None:
        if depth > _MAX_DEPTH:
            raise FormulaError(f"more than {_MAX_DEPTH} levels of nesting")
        self._product(depth)
        while self.kind == "sign" and self.text in _TERMS:
            function = _TERMS[self._next()]
            self._product(depth)
            self._add(_Step(function, 2))

    def _product(self, depth: int) -> None:
        self._signed(depth)
        while self.kind == "sign" and self.text in _FACTORS:
            function = _FACTORS[self._next()]
            self._signed(depth)
            self._add(_Step(function, 2))

    def _signed(self, depth: int) -> None:
        negative = False
        while self.kind == "sign" and self.text in _TERMS:
            negative ^= self._next() == "-"
        self._operand(depth)
        if self.kind == "sign" and self.text in _POWERS:
            self._next()
            if depth > _MAX_DEPTH:
                raise FormulaError(f"more than {_MAX_DEPTH} levels of nesting")
            self._signed(depth + 1)
            self._add(_Step(np.power, 2))
        if negative:
            self._add(_Step(np.negative, 1))

    def _operand(self, depth: int) -> None:
        kind, text = self.kind, self._next()
        if kind == "number":
            self._add(_Step(value=np.float64(text)))
        elif kind == "hex":
            self._add(_Step(value=np.float64(float.fromhex(text))))
        elif kind == "name":
            self._named(text, depth)
        elif (kind, text) == ("sign", "("):
            self.sum(depth + 1)
            self._expect(")")
        else:
            raise FormulaError(f"{text!r} where an operand is missing" if kind else "an operand missing at its end")

    def _named(self, text: str, depth: int) -> None:
        name = text.lower()
        if name in _VARIABLES:
            self._add(_Step())
        elif name in _CONSTANTS:
            self._add(_Step(value=np.float64(_CONSTANTS[name])))
        elif name in _FUNCTIONS:
            arguments, function = _FUNCTIONS[name]
            self._expect("(")
            for number in range(arguments):
                if number:
                    self._expect(",")
                self.sum(depth + 1)
            self._expect(")")
            self._add(_Step(function, arguments))
        else:
            raise FormulaError(f"{text[:40]!r}, which is neither variable nor function")
