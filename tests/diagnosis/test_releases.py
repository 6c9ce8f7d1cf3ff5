"""The order of releases."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from argus_assets.diagnosis.releases import previous_release, release_key

texts = st.text(max_size=40)
numbers = st.lists(st.integers(0, 10**12), min_size=1, max_size=5)


@pytest.mark.parametrize(
    "in_order",
    [
        ["2026.9", "2026.10-rc2", "2026.10-rc10", "2026.10", "2026.10b", "2026.10.1", "2026.11", "2027.1"],
        ["1.9.9", "1.10.0-alpha", "1.10.0-beta", "1.10.0-rc.1", "1.10.0", "1.10.0-hotfix1", "1.10.1"],
        ["ota-8", "ota-9", "ota-10"],
        ["v1.2", "1.3", "V1.4"],
        ["", "release", "1"],
        ["9" * 5000, "1" + "0" * 5000],
    ],
)
def test_known_orders(in_order: list[str]) -> None:
    assert all(release_key(a) < release_key(b) for a, b in pairwise(in_order))


@given(numbers, numbers, st.sampled_from(".-_ /"))
def test_dotted_numbers_are_in_the_order_of_their_numbers(a: list[int], b: list[int], separator: str) -> None:
    first, second = (separator.join(map(str, numbers)) for numbers in (a, b))
    assert (release_key(first) < release_key(second)) == (a < b)
    assert (release_key(first) == release_key(second)) == (a == b)


@pytest.mark.parametrize(
    ("a", "b"), [("2026.9", "2026.09"), ("V2.1", "2.1"), ("2.1", "2-1"), ("RC 1", "rc1"), ("\uff12.1", "2.1")]
)
def test_what_does_not_count_does_not_count(a: str, b: str) -> None:
    assert release_key(a) == release_key(b)


@given(texts, st.lists(texts, max_size=8))
def test_the_previous_release_is_the_latest_of_the_earlier_ones(release: str, seen: list[str]) -> None:
    found = previous_release(release, seen)
    earlier = [s for s in seen if release_key(s) < release_key(release)]
    assert (found is None) == (not earlier)
    if found is not None:
        assert found in earlier
        assert all(release_key(s) <= release_key(found) for s in earlier)
    assert previous_release(release, reversed(seen)) == found
