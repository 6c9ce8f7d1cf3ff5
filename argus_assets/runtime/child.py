"""Supervised processes: each in a process group of its own, stopped with all it started, gone with its parent."""

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from argus_assets.common.processes import has_ended

STOP_SECONDS: Final = 15.0

PYTHON: Final = (sys.executable, "-P")
"""With -P, nothing is imported from the current folder."""

HOME_MARK: Final = "ARGUS_PLATFORM_OF"
"""Variable in the environment of all children and of what they start: the home they belong to."""

_UMASK: Final = 0o077
_PR_SET_PDEATHSIG: Final = 1
_LIBC: Final = ctypes.CDLL(None)


@dataclass
class Child:
    """One supervised process.

    Attributes:
        name: Shown to people.
        command: Its command line.
        where: Its address, or what it does; shown to people.
        log: File that takes what it prints.
        folder: Its working folder, `None` for that of this process.
    """

    name: str
    command: list[str]
    where: str
    log: Path
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    failures: int = 0
    restart_at: float = 0.0
    folder: Path | None = None

    def start(self, environment: Mapping[str, str]) -> None:
        """Start it in its own process group."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(  # noqa: S603 - our own command lines, no shell
                self.command,
                env=dict(environment),
                cwd=self.folder,
                umask=_UMASK,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=_die_with_parent,  # noqa: PLW1509 - one call of the C library, nothing that takes a lock
            )
        self.started = time.monotonic()

    def alive(self) -> bool:
        """Return true while it runs."""
        return self.process is not None and self.process.poll() is None

    def stop(self, seconds: float = STOP_SECONDS) -> None:
        """Ask it to stop, then kill its whole process group."""
        process = self.process
        if process is None:
            return
        if process.poll() is None:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(seconds)
        # What it started (run workers) is in its group, and may outlive it.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        self.process = None

    def tail(self, lines: int = 15) -> str:
        """Return the end of its log."""
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return "\n".join(text.splitlines()[-lines:])


def _die_with_parent() -> None:
    """Have the kernel (Linux) end this child when its parent dies, however it dies."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # whoever started us may have it ignored, which is inherited
    if sys.platform == "linux":
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def end_leftovers(home: Path) -> int:
    """Kill the processes that a killed supervisor left of this home; return how many.

    A run worker that goes on would take its batches through a second time, beside the run that is started again.
    """
    mark = f"{HOME_MARK}={home}".encode()
    found: list[int] = []
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if entry.name != str(os.getpid()) and mark in (entry / "environ").read_bytes().split(b"\0"):
                os.kill(int(entry.name), signal.SIGKILL)
                found.append(int(entry.name))
    deadline = time.monotonic() + STOP_SECONDS
    while not all(has_ended(pid) for pid in found) and time.monotonic() < deadline:
        time.sleep(0.05)
    return len(found)
