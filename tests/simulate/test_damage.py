"""Damage does what it says: so many bytes cut, so many bits flipped, the same for the same seed."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from argus_assets.simulate.damage import flip_bits, truncate
from argus_assets.simulate.scenarios import SCENARIOS


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


@pytest.mark.parametrize("scenario", [s.name for s in SCENARIOS.values() if s.damage])
def test_a_damaged_drive_is_the_whole_one_with_its_damage(make_drive, monkeypatch, scenario: str) -> None:
    damaged = make_drive(scenario)
    damage = SCENARIOS[scenario].damage
    assert damage is not None
    assert damaged.damage == damage.kind
    undamaged = replace(SCENARIOS[scenario], damage=None)
    monkeypatch.setattr("argus_assets.simulate.fleet.SCENARIOS", {scenario: undamaged})
    whole = make_drive(scenario)
    assert damaged.frames == whole.frames, "frames are counted before the damage"
    one, other = ([p.read_bytes() for p in d.files] for d in (damaged, whole))
    match damage.kind:
        case "truncated":
            assert one[0] == other[0]
            assert other[1].startswith(one[1])
            assert 0 < len(one[1]) < len(other[1])
        case "flipped":
            assert one[1] == other[1]
            places = [n for n, (a, b) in enumerate(zip(*(files[0] for files in (one, other)), strict=True)) if a != b]
            assert 0 < len(places) <= 3
            assert places[-1] < damage.share * len(one[0])
        case "missing_tail":
            assert one == other[:1]


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
