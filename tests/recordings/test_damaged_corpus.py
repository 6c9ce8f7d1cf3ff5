"""Every kind of damage on every format: nothing is raised, nothing goes on for ever, nothing is lost in silence."""

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from argus_assets.recordings.model import FrameBatch
from fuzz.check import check
from fuzz.damage import damaged
from fuzz.decoders import TEXT
from fuzz.messages import SEEDS, check_message
from fuzz.seeds import FRAMES, seeds
from fuzz.target import DECODERS

ROOT = Path(__file__).resolve().parents[2]
SILENT = (*TEXT, "zstd")
"""Formats that state no number of frames, lengths or checksums (zstd: where its writer left them out)."""


@pytest.mark.parametrize("name", sorted(seeds()))
def test_the_seeds_are_whole(name: str) -> None:
    whole, summary = check(seeds()[name])
    assert [p for p in summary.problems if p.kind != "assumed"] == []
    assert whole.frames.height >= FRAMES * 0.8 or whole.topics


def rows_of(batch: FrameBatch) -> int:
    """Frames, and rows of topics that are no frames."""
    return batch.frames.height + sum(table["frame"].null_count() for table in batch.topics.values())


@pytest.mark.parametrize("name", sorted(seeds()))
def test_damage_raises_nothing_and_is_told(name: str) -> None:
    data = seeds()[name]
    whole, _ = check(data)
    for what, changed in damaged(name, data):
        got, summary = check(changed)
        # A group whose name was damaged is read as signals.
        if rows_of(got) < rows_of(whole) and not name.startswith(SILENT) and "remove" not in what:
            assert summary.problems, what


@pytest.mark.parametrize("name", [n for n in sorted(seeds()) if n.startswith(("mcap", "blf", "mdf4-sorted"))])
def test_frames_read_and_lost_are_what_the_file_claims(name: str) -> None:
    """Wherever the claim itself survives: here all damage lies in the middle of the file."""
    data = seeds()[name]
    whole, _ = check(data)
    first, last = int(len(data) * 0.35), int(len(data) * 0.55)
    for what, changed in damaged(name, data):
        if len(changed) != len(data) or changed[:first] != data[:first] or changed[last:] != data[last:]:
            continue
        got, summary = check(changed)
        # In BLF a flip may make a frame an object of another type, which is no loss that the file shows.
        assert summary.frames + summary.frames_lost >= whole.frames.height - (name == "blf"), what
        assert got.frames.height >= whole.frames.height / 4, what


@given(st.sampled_from(sorted(seeds())), st.data())
@settings(max_examples=150, deadline=None)
def test_random_changes_raise_nothing(name: str, data: st.DataObject) -> None:
    raw = bytearray(seeds()[name])
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, len(raw) - 1))
        raw[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=5))
        if not raw:
            break
    got, summary = check(bytes(raw))
    assert summary.frames == got.frames.height


@given(st.sampled_from(SEEDS), st.data())
@settings(max_examples=150, deadline=None)
def test_random_schemas_and_messages_raise_nothing(seed: bytes, data: st.DataObject) -> None:
    raw = bytearray(seed)
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, len(raw) - 1))
        raw[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=5))
        if not raw:
            break
    assert check_message(bytes(raw)) in (0, 2)


@pytest.mark.skipif(find_spec("atheris") is None, reason="atheris has no wheel for this Python or machine")
@pytest.mark.parametrize("target", DECODERS)
def test_fuzzing_for_a_moment_finds_nothing(target: str, tmp_path: Path) -> None:
    """`make fuzz` does it for longer."""
    command = [sys.executable, "-m", "fuzz", target, "--seconds", "3", "--folder", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=200)
    assert done.returncode == 0, done.stdout[-3000:]
    assert json.loads(done.stdout.splitlines()[-1])["executions"][target] > 0
