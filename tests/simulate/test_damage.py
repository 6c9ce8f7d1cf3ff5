"""Damage does what it says: so many bytes cut, so many bits flipped, the same for the same seed."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from argus_assets.simulate.damage import flip_bits, truncate


@pytest.fixture(scope="session")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("damage") / "drive.mcap"


@given(content=st.binary(min_size=1, max_size=500), share=st.floats(0, 1))
def test_truncate_keeps_the_beginning(file: Path, content: bytes, share: float) -> None:
    file.write_bytes(content)
    cut = truncate(file, share)
    kept = file.read_bytes()
    assert content.startswith(kept)
    assert len(kept) + cut == len(content)
    assert len(kept) == pytest.approx(share * len(content), abs=1)


@given(content=st.binary(min_size=10, max_size=500), count=st.integers(0, 80), seed=st.integers(0, 2**32))
def test_flip_bits_flips_as_many_as_it_says(file: Path, content: bytes, count: int, seed: int) -> None:
    file.write_bytes(content)
    offsets = flip_bits(file, count, seed)
    damaged = file.read_bytes()
    flipped = [(a ^ b).bit_count() for a, b in zip(content, damaged, strict=True)]
    assert sum(flipped) == count
    assert offsets == sorted(offsets)
    assert offsets == [i for i, n in enumerate(flipped) for _ in range(n)]

    file.write_bytes(content)
    assert flip_bits(file, count, seed) == offsets
    assert file.read_bytes() == damaged
