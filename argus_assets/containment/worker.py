"""The confined process itself: a child of `server.py` that gives up its rights, then takes jobs.

What comes in is an order of the platform's, pickled. What goes out is JSON, and files in the job's folder: nobody
unpickles anything that comes from here.
"""

import errno
import importlib
import json
import os
import pickle
import resource
import signal
import socket
import sys
import sysconfig
import tempfile
import traceback
from pathlib import Path
from types import FrameType
from typing import Any, Final, NoReturn

import polars as pl

import argus_assets
from argus_assets.containment import kernel
from argus_assets.containment.job import Function, Job, LimitReached, Readable, RemoteSource

JOBS: Final = {
    "read": "argus_assets.recordings.jobs:read",
    "inflate": "argus_assets.recordings.jobs:inflate",
    "collect": "argus_assets.recordings.jobs:collect",
    "find": "argus_assets.faults.jobs:find",
    "collect_events": "argus_assets.faults.jobs:collect_events",
    "measure": "argus_assets.stats.jobs:measure",
    "count": "argus_assets.stats.jobs:count",
}
"""Every job there is, and the function that does it. Nothing else is ever run."""

MAX_MESSAGE: Final = 64 * 1024
ORDER_FILE: Final = "order"
"""Of an order that is too large for a message, in the job's folder."""
READS_FILE: Final = "reads.json"
"""File in its folder that lists what its jobs may read."""
RESULT_FILE: Final = "result.json"
ERRORS_FILE: Final = "errors.txt"
"""File in its folder with what the process printed."""

_MAX_OPEN_FILES: Final = 512
_MAX_TASKS: Final = 16_384
"""Of the user, in all processes together: so many that one process, which is ended long before, keeps no other from
starting a thread."""
_MAX_DESCRIPTOR: Final = 65536
_SPARE_ADDRESSES: Final = 4 * 1024**3
"""Address space beyond what may be used: allocators reserve more than they take."""

_PR_SET_PDEATHSIG: Final = 1
_NO_ROOM: Final = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.ENFILE)
"""The fault of this machine, not of what was read."""

_Json = dict[str, Any]


def readable_paths() -> tuple[str, ...]:
    """Return what a confined process may read beside its job: Python, its packages, the system's libraries."""
    libraries = {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    return (
        *sorted(libraries),
        str(Path(sys.base_prefix) / "lib"),
        str(Path(argus_assets.__file__).parent),
        "/lib",
        "/lib64",
        "/usr/lib",
        "/usr/share/zoneinfo",
        "/etc/ld.so.cache",
        "/etc/localtime",
        "/dev/urandom",
        "/sys/devices/system/cpu",
        "/sys/fs/cgroup",
    )


def encoded(message: _Json) -> bytes:
    """Return a message as it goes over the connection."""
    return json.dumps(message).encode()


def wait_and_work(link: socket.socket, server: int, readable: tuple[str, ...]) -> NoReturn:
    """Wait until the server sends a connection, then `work`; ends with the server."""
    _close_all_but(link.fileno())  # a connection of another process would not end while it is held here
    try:
        _, descriptors, _, _ = socket.recv_fds(link, 1, 1)
        if descriptors:
            link.close()
            work(socket.socket(fileno=descriptors[0]), server, readable)
    except BaseException:  # noqa: BLE001 - a forked child must end here
        traceback.print_exc()
    os._exit(1)


def work(connection: socket.socket, server: int, readable: tuple[str, ...]) -> NoReturn:
    """Be the confined process until the connection ends. Never returns to the server's code."""
    code = 1
    try:
        order: _Json = json.loads(connection.recv(MAX_MESSAGE))
        connection.send(encoded({"ready": os.getpid(), **_confine(order, connection, server, readable)}))
        while data := connection.recv(MAX_MESSAGE):
            connection.send(encoded(_do(pickle.loads(data), connection, Path(order["folder"]))))  # noqa: S301 - of the platform's own
        code = 0
    except BaseException:  # noqa: BLE001 - whatever it was, this process ends here
        traceback.print_exc()
        sys.stderr.flush()
    os._exit(code)


def _confine(order: _Json, connection: socket.socket, server: int, readable: tuple[str, ...]) -> _Json:
    """Give up all rights but to compute, to read some files, and to write into one folder."""
    folder = str(order["folder"])
    reads: list[str] = json.loads((Path(folder) / READS_FILE).read_bytes())
    os.setsid()
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.umask(0o077)
    os.chdir(folder)
    nothing = os.open(os.devnull, os.O_RDONLY)
    said = os.open(ERRORS_FILE, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for fd, place in ((nothing, 0), (said, 1), (said, 2)):
        os.dup2(fd, place)
    _close_all_but(connection.fileno())
    tempfile.tempdir = folder
    for what, value in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, _MAX_OPEN_FILES),
    ):
        kernel.limit(what, value)
    has_landlock = kernel.landlock_version() > 0
    dropped = kernel.become_nobody(keep_reading=has_landlock) if order["drop_user"] else False
    if dropped:
        # It counts all tasks of a user, and a user who works at this machine may have any number of them.
        kernel.limit(resource.RLIMIT_NPROC, _MAX_TASKS)
    # A change of the user forgets this, so it comes after.
    kernel.libc().prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != server:
        os._exit(1)
    files = kernel.restrict_files(reads=[*readable, *reads, f"/proc/{os.getpid()}"], writes=[folder, os.devnull])
    calls = kernel.refuse_all_but_computing()
    return {"user": "nobody" if dropped else "", "files": files, "calls": calls}


def _close_all_but(kept: int) -> None:
    """Close all descriptors but the standard streams and this one."""
    os.closerange(3, kept)
    os.closerange(kept + 1, _MAX_DESCRIPTOR)


def _do(order: _Json, connection: socket.socket, folder: Path) -> _Json:
    """Do one job within its limits; return how it ended."""
    place = folder / order["place"]
    if order.get("in_file"):
        order |= pickle.loads((place / ORDER_FILE).read_bytes())  # noqa: S301 - of the platform's own
        (place / ORDER_FILE).unlink()
    _take_limits(cpu_s=order["cpu_s"], memory_bytes=order["memory_bytes"], output_bytes=order["output_bytes"])
    try:

        def progress(**done: int) -> None:
            connection.send(encoded({"progress": done}))

        job = Job(place, _source(order, connection), progress, is_last_try=order["is_last_try"])
        module, _, name = JOBS[order["job"]].partition(":")
        function: Function = getattr(importlib.import_module(module), name)
        (place / RESULT_FILE).write_text(json.dumps(function(job, **order["arguments"])))
    except MemoryError as error:
        return {"ended": "memory", "text": f"{error}"[:500]}
    except LimitReached as reached:
        return {"ended": "limit", "text": reached.what}
    except (Exception, pl.exceptions.PanicException) as error:  # noqa: BLE001 - reported to the platform, which decides
        number = error.errno if isinstance(error, OSError) else None
        if number == errno.EFBIG:
            return {"ended": "output", "text": "more output than allowed, and ended"}
        if number in _NO_ROOM:
            return {"ended": "storage", "text": f"{error}"[:500]}
        traceback.print_exc()
        sys.stderr.flush()
        return {"ended": "error", "text": f"{type(error).__name__}: {error}"[:2000]}
    finally:
        signal.signal(signal.SIGXCPU, signal.SIG_IGN)
    return {"ended": "done"}


def _take_limits(*, cpu_s: int, memory_bytes: int, output_bytes: int) -> None:
    """Allow a job so much more than was used before it, and files of at most `output_bytes`."""
    used = resource.getrusage(resource.RUSAGE_SELF)

    def reached(_signal: int, _frame: FrameType | None) -> NoReturn:
        raise LimitReached(f"{cpu_s} s of CPU time")

    signal.signal(signal.SIGXCPU, reached)
    kernel.limit(resource.RLIMIT_CPU, int(used.ru_utime + used.ru_stime) + 1 + cpu_s, kind="soft")
    kernel.limit(resource.RLIMIT_FSIZE, output_bytes, kind="soft")
    addresses, data = kernel.memory_bytes()
    kernel.limit(resource.RLIMIT_DATA, data + memory_bytes, kind="soft")
    kernel.limit(resource.RLIMIT_AS, addresses + 2 * memory_bytes + _SPARE_ADDRESSES, kind="soft")


def _source(order: _Json, connection: socket.socket) -> Readable | None:
    """Return the job's source: bytes that the process outside reads, one block at a time through shared memory."""
    if order["source_bytes"] is None:
        return None
    _, (shared,), _, _ = socket.recv_fds(connection, MAX_MESSAGE, 1)

    def ask(offset: int, size: int) -> int:
        connection.send(encoded({"block": [offset, size]}))
        return int(json.loads(connection.recv(MAX_MESSAGE))["size"])

    return RemoteSource(ask, shared, order["source_bytes"])
