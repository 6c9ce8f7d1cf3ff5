"""Vectors of codes: of norm 1, the same everywhere, and as like each other as the codes are."""

import subprocess
import sys
from math import log, log1p, sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from argus_assets.diagnosis.ports import CodeCount
from argus_assets.diagnosis.vectors import DIMENSIONS, IdfTable, code_vector, component_of, features, padded
from argus_assets.errors import BadSetting
from tests.support.case_data import code_counts

tables = st.lists(code_counts, max_size=8).map(IdfTable.of)
any_codes = st.lists(
    st.builds(CodeCount, code=st.text(min_size=1, max_size=12), occurrences=st.integers(1, 10**9)), min_size=1, max_size=30
).map(tuple)  # fmt: skip


def sparse(codes: tuple[CodeCount, ...], idf: IdfTable) -> dict[str, float]:
    """The vector before it is hashed."""
    values = {name: log1p(n) * idf.idf(name) for name, n in features(codes).items()}
    norm = sqrt(sum(x * x for x in values.values()))
    return {name: x / norm for name, x in values.items()}


@given(any_codes, tables)
def test_a_vector_has_norm_1_whatever_the_codes_are(codes: tuple[CodeCount, ...], idf: IdfTable) -> None:
    vector = code_vector(codes, idf)
    assert vector.shape == (DIMENSIONS,)
    assert vector.dtype == np.float32
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-5)


@given(any_codes, tables, st.randoms())
def test_the_order_of_codes_does_not_matter(codes: tuple[CodeCount, ...], idf: IdfTable, random) -> None:
    shuffled = list(codes)
    random.shuffle(shuffled)
    assert (code_vector(codes, idf) == code_vector(shuffled, idf)).all()


@given(code_counts, code_counts, tables)
def test_the_cosine_is_that_of_the_codes(a, b, idf) -> None:
    """The codes of `case_data` fall on dimensions of their own, so that hashing loses nothing."""
    one, other = sparse(a, idf), sparse(b, idf)
    exact = sum(x * other.get(name, 0.0) for name, x in one.items())
    assert float(code_vector(a, idf) @ code_vector(b, idf)) == pytest.approx(exact, abs=1e-5)


def test_the_error_of_hashing_has_no_direction_and_the_size_that_is_told() -> None:
    rng = np.random.default_rng(7)
    idf = IdfTable()
    errors = []
    for n in range(2000):
        a, b = ([CodeCount(code=f"X{n}_{i}", occurrences=int(rng.integers(1, 50))) for i in part] for part in
                (range(10), range(5, 15)))  # fmt: skip
        b = [*a[5:], *b[5:]]
        one, other = sparse(tuple(a), idf), sparse(tuple(b), idf)
        exact = sum(x * other.get(name, 0.0) for name, x in one.items())
        errors.append(float(code_vector(a, idf) @ code_vector(b, idf)) - exact)
    assert abs(np.mean(errors)) < 4 * np.std(errors) / sqrt(len(errors))
    assert np.std(errors) < 1.5 / sqrt(DIMENSIONS)


def test_codes_that_cancel_each_other_leave_the_strongest() -> None:
    names = [f"X{n}" for n in range(400)]
    vectors = {name: code_vector([CodeCount(code=name)], IdfTable()) for name in names}
    one, other = next((a, b) for a in names for b in names if float(vectors[a] @ vectors[b]) < -0.99)
    vector = code_vector([CodeCount(code=one), CodeCount(code=other)], IdfTable())
    assert np.linalg.norm(vector) == pytest.approx(1)


@given(tables)
def test_a_rarer_code_weighs_more_and_an_unknown_one_most(idf: IdfTable) -> None:
    by_count = sorted(idf.df, key=idf.df.__getitem__)
    weights = [idf.idf(name) for name in by_count]
    assert weights == sorted(weights, reverse=True)
    assert all(idf.idf("never seen") >= weight >= 1 for weight in weights)
    assert idf.idf("never seen") == pytest.approx(log(1 + idf.documents) + 1)


def test_without_cases_every_code_weighs_1() -> None:
    assert IdfTable().idf("P0301") == 1


@pytest.mark.parametrize(
    ("code", "component"),
    [("U0100-87", "U0100"), ("SPN100/FMI1", "SPN100"), ("P0301", None), ("DTC_0A1B2C", None), ("E101-01", None)],
)
def test_the_component_of_a_code(code: str, component: str | None) -> None:
    assert component_of(code) == component


def test_other_failure_types_of_one_component_are_alike() -> None:
    def cosine(a: str, b: str) -> float:
        return float(code_vector([CodeCount(code=a)], IdfTable()) @ code_vector([CodeCount(code=b)], IdfTable()))

    assert cosine("U0100-87", "U0100-00") == pytest.approx(0.5, abs=1e-5)
    assert cosine("U0100-87", "U0100") == pytest.approx(sqrt(0.5), abs=1e-5)


def test_another_process_makes_the_same_vector() -> None:
    program = (
        "from argus_assets.diagnosis.vectors import *; from argus_assets.diagnosis.ports import CodeCount;"
        "print(code_vector([CodeCount(code='P0301'), CodeCount(code='E101')], IdfTable()).nonzero()[0].tolist())"
    )
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    here = code_vector([CodeCount(code="P0301"), CodeCount(code="E101")], IdfTable())
    assert told.stdout.strip() == str(here.nonzero()[0].tolist())


def test_an_embedding_is_padded_and_keeps_its_cosines() -> None:
    a, b = padded([3.0, 4.0], name="m"), padded([4.0, 3.0], name="m")
    assert a.shape == (DIMENSIONS,)
    assert float(a @ b) == pytest.approx(24 / 25)


@pytest.mark.parametrize("embedding", [[1.0] * (DIMENSIONS + 1), [0.0, 0.0], [float("nan")], [float("inf"), 1.0]])
def test_an_embedding_that_cannot_be_stored_is_refused(embedding: list[float]) -> None:
    with pytest.raises(BadSetting, match="model m"):
        padded(embedding, name="m")
