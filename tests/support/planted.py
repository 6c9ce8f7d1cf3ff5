"""A decoder that does what no decoder may do: shows that it would be seen."""

import ctypes
import os
import pickle
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import CodeType, FunctionType
from typing import Final

from argus_assets.recordings.budget import Budget
from argus_assets.recordings.model import FrameBatch, RecordingSummary, Source

MARK: Final = b"planted:"

_CALL: Final = b"cposix\nsystem\n(S'true'\ntR."
"""A pickle that calls a function when it is loaded."""

_UNUSED_MODULE: Final = "this"


def _import_unused() -> object:
    assert _UNUSED_MODULE not in sys.modules
    return __import__(_UNUSED_MODULE)


def _function() -> object:
    code: CodeType = (lambda: 1).__code__
    return FunctionType(code.replace(co_name="planted"), {})


DEEDS: Final[dict[str, tuple[str, Callable[[], object]]]] = {
    "eval": ("compile", lambda: eval("1 + 1")),
    "exec": ("compile", lambda: exec("x = 1")),
    "exec_code": ("exec", lambda: exec((lambda: 1).__code__)),
    "compile": ("compile", lambda: compile("1", "<planted>", "eval")),
    "import": ("import", _import_unused),
    "system": ("os.system", lambda: os.system("true")),
    "popen": ("subprocess.Popen", lambda: subprocess.run(["true"], check=False)),
    "posix_spawn": ("os.posix_spawn", lambda: os.posix_spawn("/bin/true", ["true"], {})),
    "fork": ("os.fork", os.fork),
    "execv": ("os.exec", lambda: os.execv("/bin/true", ["true"])),
    "pickle": ("pickle.find_class", lambda: pickle.loads(_CALL)),
    "dlopen": ("ctypes.dlopen", lambda: ctypes.CDLL("libm.so.6")),
    "socket": ("socket.__new__", socket.socket),
    "resolve": ("socket.getaddrinfo", lambda: socket.getaddrinfo(b"localhost", 80)),
    "function": ("code.__new__", _function),
    "read_elsewhere": ("open", lambda: Path("/etc/hostname").read_bytes()),
    "write_elsewhere": ("open", lambda: Path("argus-was-here").write_bytes(b"")),
}  # fmt: skip
"""What is done, and the event by which it is seen."""


class Planted:
    """Takes every file that starts with `MARK`, and does what the rest of it names; see `registry.PlugIn`."""

    name = "planted"
    version = 1
    seeks = False
    identity = "planted"
    isolates_network = False

    def matches(self, head: bytes) -> bool:
        return head.startswith(MARK)

    def matches_name(self, name: str) -> bool:
        return False

    def open(self, source: Source, budget: Budget) -> "PlantedReader":
        source.seek(0)
        return PlantedReader(source.read().removeprefix(MARK).decode())

    def open_named(self, source: Source, budget: Budget, name: str) -> "PlantedReader":
        return self.open(source, budget)


class PlantedReader:
    """Does it while it is read."""

    def __init__(self, deed: str) -> None:
        self._deed = deed
        self.summary = RecordingSummary("planted", "planted/1", 0)

    def __iter__(self) -> Iterator[FrameBatch]:
        DEEDS[self._deed][1]()
        yield from ()
