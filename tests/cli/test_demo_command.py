"""`argus demo` in the folder of an earlier one: what was left of it ends, what is at work is left alone."""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from argus_assets.cli import root
from argus_assets.cli.demo import _empty
from argus_assets.runtime.embedded.postgres import EmbeddedPostgres
from argus_assets.runtime.home_lock import HomeLock


@pytest.fixture
def home() -> Iterator[Path]:
    """A folder that PostgreSQL's own user can reach."""
    with tempfile.TemporaryDirectory(prefix="argus-demo-") as folder:
        Path(folder).chmod(0o711)
        yield Path(folder) / "demo"


def demo(home: Path) -> str:
    done = CliRunner().invoke(root, ["demo", "--home", str(home)])
    assert done.exit_code != 0
    return done.output + str(done.exception)


def test_a_folder_of_somebody_else_is_left_alone(home: Path) -> None:
    home.mkdir()
    (home / "letter.txt").write_text("dear")
    assert "not a demo's folder" in demo(home)
    assert (home / "letter.txt").read_text() == "dear"


def test_a_demo_at_work_is_left_alone(home: Path) -> None:
    home.mkdir()
    (home / ".argus-demo").touch()
    first = HomeLock(home)
    first.acquire()
    try:
        assert f"already runs in {home} (process {os.getpid()})" in demo(home)
        assert (home / "platform.lock").exists()
    finally:
        first.release()


@pytest.mark.integration
@pytest.mark.timeout(300)
@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGKILL])
def test_a_demo_that_is_stopped_or_killed_and_read_no_longer_does_no_harm_to_the_next_one(
    home: Path, sent: signal.Signals
) -> None:
    command = [sys.executable, "-m", "argus_assets", "demo", "--home", str(home)]
    told: list[str] = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            told.append(line)
            if "ready after" in line:
                break
        process.send_signal(sent)
    assert process.returncode != 0, told  # its output is read no longer, as after a terminal was closed
    left = EmbeddedPostgres(home / "postgres")
    assert left.running() == (sent is signal.SIGKILL)

    pid = int((home / "postgres/data/postmaster.pid").read_text().split()[0]) if left.running() else None
    _empty(home)
    assert [entry.name for entry in home.iterdir()] == [".argus-demo"]
    assert pid is None or "postgres" not in _command(pid)


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""
