"""Counting how far apart frames are."""

import numpy as np
import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from argus_assets.faults.can_bus.traffic import CLASSES, IDENTIFIER, count_spacing


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 2**40)), min_size=1, max_size=50))
def test_times_between_frames_are_counted_alike_for_few_and_for_many_identifiers(pairs: list[tuple[int, int]]) -> None:
    pairs.sort()
    group, steps = (np.array(part, np.int64) for part in zip(*pairs, strict=True))
    groups = pl.DataFrame({name: [f"{name}{n}" for n in range(6)] for name in IDENTIFIER})
    few = count_spacing(steps, group, groups)
    many = count_spacing(steps, group, groups, max_counted_groups=0)
    assert many.equals(few)
    assert few["count"].sum() == len(pairs)
    assert few["size_class"].is_between(0, CLASSES - 1).all()
