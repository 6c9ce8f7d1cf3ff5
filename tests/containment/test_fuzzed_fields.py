"""The targets of fuzzing: what they begin with holds, a failure is seen and kept, and random changes break nothing."""

import json
import subprocess
import sys
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fuzz import decoders, fields
from fuzz.__main__ import fuzz
from fuzz.target import DECODERS, FIELDS, Target, keep_failure, load

ROOT = Path(__file__).resolve().parents[2]
BYTES = st.one_of(
    st.binary(max_size=6),
    st.sampled_from(
        [b"\0", b"\xff" * 8, b"9" * 400, b"`", b"|", b'"', b"\\", b"[[[[", "\u202e".encode(), b"e999", b"\xed\xa0\x80"]
    ),
)


@cache
def target(name: str) -> tuple[Target, tuple[bytes, ...]]:
    made = load(name)
    return made, tuple(made.seeds)


def test_each_name_is_a_target() -> None:
    assert set(decoders.TARGETS) == set(DECODERS)
    assert set(fields.TARGETS) == set(FIELDS)


@pytest.mark.parametrize("name", FIELDS)
def test_what_a_field_begins_with_holds(name: str) -> None:
    made, seeds = target(name)
    assert seeds
    for data in seeds:
        made.check(data)


@pytest.mark.parametrize("name", FIELDS)
@given(st.data())
@settings(max_examples=100, deadline=None)
def test_random_changes_of_a_field_break_nothing(name: str, data: st.DataObject) -> None:
    made, seeds = target(name)
    raw = bytearray(data.draw(st.sampled_from(seeds)))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(raw)))
        raw[at : at + data.draw(st.integers(0, 3))] = data.draw(BYTES)
    made.check(bytes(raw[: made.max_bytes]))


def test_a_failure_is_kept_once_for_each_place_with_its_traceback(tmp_path: Path) -> None:
    seen: set[str] = set()
    for data in (b"first", b"second"):
        with pytest.raises(UnicodeDecodeError) as raised:
            (data + b"\xff").decode()
        keep_failure(tmp_path, data, raised.value, seen)
    (kept,) = [path for path in tmp_path.iterdir() if path.suffix != ".txt"]
    assert kept.read_bytes() == b"first"
    assert "UnicodeDecodeError" in kept.with_suffix(".txt").read_text()


@pytest.mark.skipif(find_spec("atheris") is None, reason="atheris has no wheel for this Python or machine")
def test_an_input_that_fails_fails_the_run_and_does_not_end_it(tmp_path: Path) -> None:
    """In a copy of the harness whose target is wrong about every second input."""
    (tmp_path / "fuzz").mkdir()
    for name in ("__init__", "__main__", "target"):
        (tmp_path / "fuzz" / f"{name}.py").write_text((ROOT / "fuzz" / f"{name}.py").read_text())
    (tmp_path / "fuzz" / "fields.py").write_text(
        "from fuzz.target import Target\n"
        "def check(data):\n    assert len(data) % 2 == 0\n"
        "TARGETS = {'keys': lambda: Target(check, [b'ab', b'abc'])}\n"
    )
    command = [
        sys.executable,
        "-m",
        "fuzz",
        "keys",
        "--seconds",
        "1",
        "--jobs",
        "1",
        "--folder",
        str(tmp_path / "kept"),
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=200)
    assert done.returncode == 1, done.stdout
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["failures"] == 1
    assert told["executions"]["keys"] > 1000
    assert "AssertionError" in done.stdout


@pytest.mark.skipif(find_spec("atheris") is None, reason="atheris has no wheel for this Python or machine")
def test_a_field_is_fuzzed_for_a_moment(tmp_path: Path) -> None:
    outcome = fuzz("keys", 1, tmp_path)
    assert (outcome.error, outcome.failures) == ("", [])
    assert outcome.executions > 1000
