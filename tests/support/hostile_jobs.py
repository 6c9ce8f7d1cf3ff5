# ruff: noqa: PTH101, PTH108, PTH115, PTH208, PTH211, PLW0108
"""A server of confined processes that also does jobs which a hostile reader would do: `python -m tests.support.hostile_jobs`."""

import ctypes
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from argus_assets.containment import server, worker
from argus_assets.containment.job import Job
from argus_assets.recordings import jobs as honest
from argus_assets.recordings.model import Limits
from argus_assets.recordings.parts import Stop


def attempt(job: Job, *, what: str, at: str = "") -> dict[str, object]:
    """Try something that is not allowed; `refused` says how that ended."""
    try:
        return {"got": _ATTEMPTS[what](at), "refused": ""}
    except BaseException as error:
        return {"got": None, "refused": type(error).__name__}


def _signal(at: str) -> str:
    os.kill(int(at), 0)
    return "may signal"


def _thread_signal(at: str) -> str:
    if ctypes.CDLL(None, use_errno=True).syscall(234, int(at), int(at), 0) != 0:
        raise OSError(ctypes.get_errno(), "tgkill")
    return "may signal"


def _fork(_: str) -> str:
    if os.fork() == 0:
        os._exit(0)
    return "forked"


def _thread(_: str) -> str:
    threads = [threading.Thread(target=time.sleep, args=[0.01]) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return "ran"


def _memory_of(at: str) -> str:
    with Path(f"/proc/{at}/mem").open("rb") as memory:
        return f"opened {memory.fileno()}"


_ATTEMPTS = {
    "read": lambda at: Path(at).read_text(),
    "list": lambda at: os.listdir(at),
    "write": lambda at: Path(at).write_text("x"),
    "remove": lambda at: os.unlink(at),
    "link": lambda at: os.symlink(at, "link"),
    "hard link": lambda at: os.link(at, "hard"),
    "truncate": lambda at: os.truncate(at, 0),
    "mode": lambda at: os.chmod(at, 0o777),
    "tcp": lambda _: socket.socket().fileno(),
    "unix": lambda _: socket.socket(socket.AF_UNIX).fileno(),
    "netlink": lambda _: socket.socket(16, socket.SOCK_RAW).fileno(),
    "fork": _fork,
    "execute": lambda _: subprocess.run(["/bin/true"], check=True).returncode,
    "shell": lambda _: {0: "ran"}[os.system("true")],
    "signal": _signal,
    "thread signal": _thread_signal,
    "thread": _thread,
    "memory of": _memory_of,
    "environment of": lambda at: Path(f"/proc/{at}/environ").read_text(),
    "own environment": lambda _: sorted(os.environ),
    "memfd": lambda _: os.memfd_create("x"),
    "root again": lambda _: os.setuid(0),
    "own": lambda _: [os.getuid(), sorted(os.listdir("/proc/self/fd"))],
    "pandas": lambda _: __import__("pandas").__name__,
    "numexpr": lambda _: __import__("numexpr").__name__,
}  # fmt: skip


def misbehave(job: Job, *, how: str, after: int = 0) -> dict[str, object]:
    """End in a way that is no end."""
    for n in range(after):
        job.progress(batches=n + 1)
    match how:
        case "raise":
            raise RuntimeError("no")
        case "spin":
            while True:
                pass
        case "hold the interpreter":
            return {"sum": sum(range(10**13))}  # one loop in C, which looks at no signal
        case "sleep":
            time.sleep(3600)
        case "allocate":
            held = []
            while True:
                held.append(np.ones(1 << 20))
        case "allocate below Python":
            libc = ctypes.CDLL(None)
            libc.malloc.restype = ctypes.c_void_p
            while pointer := libc.malloc(1 << 20):
                ctypes.memset(pointer, 1, 1 << 20)
            os.abort()
        case "raise limits and allocate":
            import resource

            resource.setrlimit(resource.RLIMIT_DATA, (resource.RLIM_INFINITY,) * 2)
            resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY,) * 2)
            held = []
            while True:
                held.append(np.ones(1 << 20))
        case "start threads":
            threading.stack_size(64 * 1024)
            kept = threading.Event()
            for _ in range(1000):
                threading.Thread(target=kept.wait, daemon=True).start()
            time.sleep(3600)
        case "write":
            with (job.folder / "large").open("wb") as file:
                while True:
                    file.write(bytes(1 << 20))
        case "write 8 MiB":
            (job.folder / "large").write_bytes(bytes(8 << 20))
        case "write many":
            for n in range(1000):
                (job.folder / f"{n}").write_bytes(bytes(1 << 20))
        case "crash":
            ctypes.string_at(0)
        case "exit":
            os._exit(3)
        case "stop":
            os.kill(os.getpid(), signal.SIGSTOP)
        case "speak garbage":
            os.write(_connection(), b"\xff" * 1000)
            time.sleep(3600)
        case "speak at length":
            os.write(_connection(), b"[" * 60_000)
            time.sleep(3600)
        case "claim an exit":
            os.write(_connection(), b'{"exit": "now"}')
            time.sleep(3600)
        case "print markup":
            os.write(2, b"\x1b[31m[red]\xe2\x80\xae\0")
            ctypes.string_at(0)
        case "promise a folder":
            (job.folder / worker.RESULT_FILE).mkdir()
        case _:
            raise AssertionError(how)
    return {}


def _connection() -> int:
    return next(int(fd) for fd in os.listdir("/proc/self/fd") if _is_socket(fd))


def _is_socket(fd: str) -> bool:
    try:
        return os.readlink(f"/proc/self/fd/{fd}").startswith("socket:")
    except OSError:
        return False


def read(job: Job, *, name: str, limits: Limits, stop: Stop | None, with_tables: bool) -> dict[str, object]:
    """Read a recording, and misbehave as its name says after two batches: `crash.log`, in every attempt `crash!.log`."""
    how, _, _ = name.partition(".")

    def progress(**done: int) -> None:
        job.progress(**done)
        if done["batches"] == 2 and (stop is None or how.endswith("!")):
            misbehave(job, how=how.rstrip("!"))

    confined = (
        replace(job, progress=progress) if how.rstrip("!") in ("crash", "spin", "allocate", "raise", "exit") else job
    )
    return honest.read(confined, name=name, limits=limits, stop=stop, with_tables=with_tables)


def total(job: Job) -> dict[str, object]:
    """Read the whole source, some of it twice."""
    assert job.source is not None
    size = job.source.seek(0, 2)
    job.source.seek(size // 2)
    half = job.source.read(7)
    job.source.seek(0)
    read = 0
    while block := job.source.read(100_000):
        read += sum(block[::1000])
        job.progress(read=read)
    return {"size": size, "sum": read, "half": half.hex()}


if __name__ == "__main__":
    worker.JOBS |= {name: f"__main__:{name}" for name in ("attempt", "misbehave", "read", "total")}  # type: ignore[misc]
    server.main()
    sys.exit()
