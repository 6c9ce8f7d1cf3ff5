"""The benchmark of hostile recordings: what is within bounds passes, what never ends is ended and fails."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.hostile_recordings import HOSTILE, SMALL

ROOT = Path(__file__).resolve().parents[2]


def bounds(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks.bounds", "--size", str(SMALL), *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=200)


def test_an_attack_within_bounds_has_all_its_figures_and_passes(tmp_path: Path) -> None:
    (tmp_path / "benchmarks").mkdir()
    done = bounds("--only", "candump_span", "--write", str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    written = (tmp_path / "benchmarks" / "bounds.md").read_text()
    (row,) = [line for line in written.splitlines() if line.startswith("| candump_span")]
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[1] == HOSTILE["candump_span"].kind
    assert cells[-1] == "yes"
    assert all(float(cell) >= 0 for cell in cells[2:10])
    assert float(cells[8]) > 50, "the memory of a Python process"


def test_an_attack_that_does_not_end_is_ended_and_fails() -> None:
    done = bounds("--only", "candump_span", "--limit", "0.1")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "ENDED" in done.stdout


def test_a_name_that_is_none_is_refused() -> None:
    done = bounds("--only", "no_such_attack")
    assert done.returncode == 2
    assert "candump_span" in done.stderr


@pytest.mark.parametrize("name", sorted(HOSTILE))
def test_an_attack_is_what_it_says(name: str) -> None:
    """The same bytes each time, small when it may be small, and begun as its format begins."""
    attack = HOSTILE[name]
    data = attack.make(2000)
    assert data == attack.make(2000)
    assert 0 < len(data) < 500_000
    assert attack.attacks
    starts = {
        ".mcap": b"\x89MCAP0\r\n",
        ".mf4": b"MDF     ",
        ".blf": b"LOGG",
        ".gz": b"\x1f\x8b",
        ".zst": b"\x28\xb5\x2f\xfd",
    }
    magic = next((magic for suffix, magic in starts.items() if attack.file.endswith(suffix)), b"")
    assert data.startswith(magic)
