"""Start confined processes, give them jobs and watch them.

A process is forked from a warm server (`server.py`) in some milliseconds. It has no network, no secrets, no other process
to speak to; it reads what its jobs name and writes into one folder. What it may use is limited, and it is killed when it
goes beyond, or is silent for too long. Its jobs end in an `Ended`, whatever happens inside.
"""

import atexit
import json
import os
import pickle
import select
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Literal

from argus_assets.common.tempdirs import remove_folder, scratch_folder
from argus_assets.common.texts import clean
from argus_assets.containment import kernel, worker
from argus_assets.containment.job import BLOCK_BYTES, Readable
from argus_assets.errors import Unavailable

MIB: Final = 1024**2
SERVER: Final = "ARGUS_READERS"
"""Environment variable: socket of the server that this process and its children share."""

Reserve = Callable[[int], AbstractContextManager[None]]
"""Waits until so many bytes of memory are free, and holds them for the time of the block."""

_CHECK_EVERY_S: Final = 0.25
_MAX_FILES: Final = 100_000
_MAX_RESULT_BYTES: Final = 64 * MIB
_TAIL_BYTES: Final = 4096
_MAX_TEXT_CHARS: Final = 500
_MAX_ADDRESS_BYTES: Final = 103
"""Of a socket's path (unix(7): 108 with its end mark, macOS: 104)."""
_START_S: Final = 60.0
_CPU_GRACE_S: Final = 5.0
_MAX_THREADS: Final = 512
_MEMORY_GRACE: Final = 256 * MIB
"""Above what the kernel allows as private memory: shared pages, stacks, what was there before the job."""


def no_reserve(_: int) -> AbstractContextManager[None]:
    """Reserve nothing: for one job alone."""
    return nullcontext()


@dataclass(frozen=True, slots=True)
class Allowance:
    """Limits of one job.

    Attributes:
        memory_bytes: Private memory that it takes.
        cpu_s: Seconds of CPU time, of all its threads together.
        wall_s: Seconds from start to end.
        silent_s: Seconds without progress.
        output_bytes: Size of all files that it writes, together.
    """

    memory_bytes: int = 1024 * MIB
    cpu_s: int = 60
    wall_s: float = 3600.0
    silent_s: float = 300.0
    output_bytes: int = 16 * 1024 * MIB


@dataclass(frozen=True, slots=True)
class Ended:
    """The end of a job.

    Attributes:
        kind: `done`; `limit`, `memory` and `output`: it used what it may; `time`: it took too long, or was silent;
            `killed`: by a signal from elsewhere; `error`: it raised.
        text: What happened, in a few words.
        result: What it answered, when it is done.
        progress: What it said last of its progress.
    """

    kind: Literal["done", "limit", "memory", "output", "time", "killed", "error"]
    text: str = ""
    result: Mapping[str, Any] = field(default_factory=dict)
    progress: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Confinement:
    """Rights that the kernel took away from a process.

    Attributes:
        user: `nobody` where it was root's and dropped to that user, else empty.
        files: It opens nothing but what its jobs name (Landlock).
        calls: No sockets, no other processes (seccomp).
    """

    user: str
    files: bool
    calls: bool


class Confined:
    """One confined process, started with its first job and again after one that was killed.

    Args:
        folder: Where it works; see `workplace`.
        reads: Files and folders that its jobs read.
    """

    def __init__(self, folder: Path, reads: Sequence[Path] = ()) -> None:
        self._folder = folder
        self._reads = [str(path) for path in reads]
        self._connection: socket.socket | None = None
        self._pid = 0
        self._jobs = 0
        self._at_work = False
        self.confinement = Confinement("", files=False, calls=False)

    @property
    def pid(self) -> int:
        """Return its process id, 0 while there is no process."""
        return self._pid if self._connection is not None else 0

    def place(self) -> Path:
        """Return an empty folder for the next job's files."""
        self._jobs += 1
        place = self._folder / f"job_{self._jobs}"
        place.mkdir()
        if os.geteuid() == 0:
            os.chown(place, kernel.NOBODY, kernel.NOBODY)
        return place

    @contextmanager
    def given(self, folder: Path) -> Generator[Path]:
        """Move a folder to where the process reads, for the time of the block; it goes with it.

        Args:
            folder: On the same file system as temporary folders.
        """
        self._jobs += 1
        here = self._folder / f"given_{self._jobs}"
        folder.chmod(0o700)  # its writer may have closed it
        folder.rename(here)
        try:
            yield here
        finally:
            remove_folder(here)

    def run(
        self,
        job: str,
        arguments: Mapping[str, object],
        *,
        place: Path,
        allowance: Allowance,
        source: Readable | None = None,
        is_last_try: bool = True,
    ) -> Ended:
        """Do one job; unless it ends by itself, the process is killed.

        Args:
            job: Its name in `worker.JOBS`.
            arguments: What it takes.
            place: Its folder, of `place()`.
            allowance: What it may use.
            source: Bytes that it reads; they are read here.
            is_last_try: It keeps what it made even when memory does not suffice.

        Raises:
            Unavailable: No process could be started, or it was killed from outside.
            ArgusError: The source raised it.
        """
        connection = self._connection or self._start()
        order = {
            "job": job, "arguments": dict(arguments), "place": place.name, "cpu_s": allowance.cpu_s,
            "memory_bytes": allowance.memory_bytes, "output_bytes": allowance.output_bytes, "is_last_try": is_last_try,
            "source_bytes": None if source is None else source.seek(0, 2),
        }  # fmt: skip
        self._at_work = True
        try:
            with ExitStack() as stack:
                message = pickle.dumps(order)
                if len(message) > worker.MAX_MESSAGE:
                    (place / worker.ORDER_FILE).write_bytes(message)
                    if os.geteuid() == 0:
                        os.chown(place / worker.ORDER_FILE, kernel.NOBODY, kernel.NOBODY)
                    message = pickle.dumps({"place": place.name, "in_file": True})
                shared = -1
                try:
                    connection.send(message)
                    if source is not None:
                        shared = os.memfd_create("argus-block")
                        stack.callback(os.close, shared)
                        socket.send_fds(connection, [b"."], [shared])
                except OSError:  # it has ended; how is the last word on the connection
                    pass
                watch = _Watch(connection, self._pid, place=place, allowance=allowance, source=source, shared=shared)
                ended = watch.until_ended()
                self._at_work = ended.kind != "done"
                return ended
        finally:
            if self._at_work:
                self.end()

    def end(self) -> None:
        """End the process. One that is at work is gone on return; one that waits for a job ends by itself."""
        connection, self._connection = self._connection, None
        if connection is None:
            return
        with suppress(OSError):
            connection.shutdown(socket.SHUT_WR)
            if self._at_work:
                # The server kills it, reaps it and reports that.
                connection.settimeout(_START_S)
                while (data := connection.recv(worker.MAX_MESSAGE)) and "exit" not in _decoded(data):
                    pass
        connection.close()

    def _start(self) -> socket.socket:
        connection = connect()
        try:
            # A drive may have thousands of parts, which no message holds.
            (self._folder / worker.READS_FILE).write_text(json.dumps(self._reads))
            order = {"folder": str(self._folder), "drop_user": os.geteuid() == 0}
            connection.settimeout(_START_S)
            connection.send(json.dumps(order).encode())
            ready = json.loads(connection.recv(worker.MAX_MESSAGE) or b"{}")
            self._pid = int(ready["ready"])
        except (OSError, ValueError, KeyError) as error:
            connection.close()
            why = errors_tail(self._folder) or f"{type(error).__name__}: {error}"
            raise Unavailable(f"A confined process did not start: {why}.", help="Run it again.") from error
        connection.settimeout(None)
        self._connection = connection
        self.confinement = Confinement(ready["user"], files=ready["files"], calls=ready["calls"])
        return connection


class _Watch:
    """Answers a job's questions until it ends, or until there is a reason to end it."""

    def __init__(
        self,
        connection: socket.socket,
        pid: int,
        *,
        place: Path,
        allowance: Allowance,
        source: Readable | None,
        shared: int,
    ) -> None:
        self._connection = connection
        self._pid = pid
        self._place = place
        self._allowance = allowance
        self._source = source
        self._shared = shared
        self._progress: dict[str, Any] = {}
        self._cpu_at_start = _cpu_s(pid)

    def until_ended(self) -> Ended:
        started = heard = checked = time.monotonic()
        poll = select.poll()
        poll.register(self._connection, select.POLLIN)
        while True:
            ready = poll.poll(_CHECK_EVERY_S * 1000)
            now = time.monotonic()
            if ready:
                heard = now
                if (ended := self._hear()) is not None:
                    return replace(ended, progress=self._progress)
            if now - checked >= _CHECK_EVERY_S:
                checked = now
                if (ended := self._check(now - started, now - heard)) is not None:
                    return replace(ended, progress=self._progress)

    def _hear(self) -> Ended | None:
        try:
            heard = self._connection.recv(worker.MAX_MESSAGE)
        except OSError:
            heard = b""
        match _decoded(heard) if heard else {"exit": None}:
            case {"block": [int(offset), int(size)]} if self._source is not None and 0 <= size <= BLOCK_BYTES:
                self._source.seek(max(0, offset))
                data = self._source.read(size)
                os.pwrite(self._shared, data, 0)
                with suppress(OSError):
                    self._connection.send(worker.encoded({"size": len(data)}))
            case {"progress": dict(done)}:
                self._progress = done
            case {"ended": "done"}:
                return self._result()
            case {"ended": "memory" | "limit" | "output" | "error" as kind, "text": str(text)}:
                return Ended(kind, clean(text, max_chars=_MAX_TEXT_CHARS))
            case {"ended": "storage", "text": str(text)}:
                raise Unavailable(
                    f"Files of a confined process could not be written or read: {clean(text, max_chars=_MAX_TEXT_CHARS)}.",
                    help="Check space and permissions of the folder for temporary files (TMPDIR) and of the lake.",
                )
            case {"exit": int() | None as code}:
                return self._exit(code)
            case _:
                return Ended("killed", "it broke the protocol")
        return None

    def _check(self, took_s: float, silent_s: float) -> Ended | None:
        allowed = self._allowance
        if took_s > allowed.wall_s:
            return Ended("time", f"not done after {took_s:.0f} s, and killed")
        if silent_s > allowed.silent_s:
            return Ended("time", f"no progress for {silent_s:.0f} s, and killed")
        if _cpu_s(self._pid) - self._cpu_at_start > allowed.cpu_s + _CPU_GRACE_S:
            return Ended("time", f"more than {allowed.cpu_s} s of CPU time, and killed")
        private_bytes, threads = kernel.process_status(self._pid, "RssAnon", "Threads")
        if private_bytes > allowed.memory_bytes + _MEMORY_GRACE:
            return Ended("memory", f"more than {allowed.memory_bytes / MIB:.0f} MiB of memory, and killed")
        if threads > _MAX_THREADS:
            return Ended("limit", f"more than {_MAX_THREADS} threads, and killed")
        if not _fits(self._place, allowed.output_bytes):
            return Ended("output", f"more than {allowed.output_bytes / MIB:.0f} MiB written, and killed")
        return None

    def _result(self) -> Ended:
        path = self._place / worker.RESULT_FILE
        try:
            found = path.lstat()
            if not stat.S_ISREG(found.st_mode) or found.st_size > _MAX_RESULT_BYTES:
                return Ended("error", f"no answer of at most {_MAX_RESULT_BYTES} bytes")
            result = json.loads(path.read_bytes())
            path.unlink()
        except (OSError, ValueError, RecursionError) as error:
            return Ended("error", f"no answer: {error}")
        if not isinstance(result, dict) or not _fits(self._place, self._allowance.output_bytes):
            return Ended("error", "an answer of the wrong kind, or entries that are not regular files")
        return Ended("done", result=result)

    def _exit(self, code: int | None) -> Ended:
        tail = errors_tail(self._place.parent)
        if code == -signal.SIGKILL:
            # Not killed here, so by the kernel or by an operator: that says nothing about the recording.
            raise Unavailable(
                "A confined process was killed from outside (signal 9).",
                help="This machine may be short of memory: see the kernel's log, and ARGUS_RUN_MEMORY_MB.",
            )
        # Rust's allocator and C++'s end a process that gets no memory.
        if "memory" in tail.lower() and ("alloc" in tail.lower() or "MemoryError" in tail):
            return Ended("memory", f"{self._allowance.memory_bytes / MIB:.0f} MiB of memory were not enough")
        why = (
            "the server that forked it is gone"
            if code is None
            else f"exit code {code}"
            if code >= 0
            else f"signal {-code}"
        )
        return Ended("killed", f"{why}{'; it printed: ' + tail[-300:] if tail else ''}")


def _decoded(message: bytes) -> dict[str, Any]:
    """Return what a process said; nothing where that is not JSON object."""
    try:
        said = json.loads(message)
    except (ValueError, RecursionError):
        return {}
    return said if isinstance(said, dict) else {}


def errors_tail(folder: Path) -> str:
    """Return the end of what a confined process printed."""
    try:
        with (folder / worker.ERRORS_FILE).open("rb") as said:
            said.seek(max(0, said.seek(0, 2) - _TAIL_BYTES))
            return clean(said.read().decode("utf-8", "replace")).strip()
    except OSError:
        return ""


def _cpu_s(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _fits(place: Path, max_bytes: int) -> bool:
    """Return whether all that was written is regular files, not too many and not too large together."""
    total = files = 0
    try:
        for folder, folders, names in os.walk(place):
            for name in (*folders, *names):
                found = os.lstat(os.path.join(folder, name))  # noqa: PTH118 - called often
                files += 1
                total += found.st_size
                if not (stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode)):
                    return False
    except OSError:  # something was removed meanwhile
        return True
    except RecursionError:  # folders in folders, deeper than any job makes them
        return False
    return total <= max_bytes and files <= _MAX_FILES


# ---------------------------------------------------------------------------------------------- several of them


class Pool:
    """Confined processes of one batch, started when they are needed. What one batch made no other batch's can touch.

    Args:
        folder: Where they work; see `workplace`.
        reads: Files and folders that their jobs read.
    """

    def __init__(self, folder: Path, reads: Sequence[Path] = ()) -> None:
        self._folder = folder
        self._reads = reads
        self._idle: list[Confined] = []
        self._all: list[Confined] = []
        self._lock = threading.Lock()

    @contextmanager
    def process(self) -> Generator[Confined]:
        """Have a process for the time of the block: one that is idle, else a new one."""
        with self._lock:
            if self._idle:
                confined = self._idle.pop()
            else:
                folder = self._folder / f"process_{len(self._all)}"
                folder.mkdir()
                if os.geteuid() == 0:
                    os.chown(folder, kernel.NOBODY, kernel.NOBODY)
                confined = Confined(folder, self._reads)
                self._all.append(confined)
        try:
            yield confined
        finally:
            with self._lock:
                self._idle.append(confined)

    def end(self) -> None:
        """End them all."""
        for confined in self._all:
            confined.end()


@contextmanager
def pool(reads: Sequence[Path] = ()) -> Generator[Pool]:
    """Have confined processes for the time of the block; their files go with it.

    Args:
        reads: Files and folders that their jobs read.

    Raises:
        Unavailable: There is no room, or no permission.
    """
    with workplace() as folder:
        made = Pool(folder, reads)
        try:
            yield made
        finally:
            made.end()


# ---------------------------------------------------------------------------------------------- where it works


@contextmanager
def workplace() -> Generator[Path]:
    """Make a folder that a confined process can reach, as whichever user it runs.

    Raises:
        Unavailable: There is no room, or no permission.
    """
    with scratch_folder() as scratch:
        if os.geteuid() == 0:
            # Its own folder belongs to it. Those above may be passed, not read.
            scratch.parent.chmod(0o711)
            os.chown(scratch, kernel.NOBODY, kernel.NOBODY)
        yield scratch


# ---------------------------------------------------------------------------------------------- the server


_lock = threading.Lock()
_own: "Server | None" = None


class Server:
    """A server of confined processes that ends with this process, or when it is stopped.

    Args:
        module: What runs in it.
    """

    def __init__(self, module: str = "argus_assets.containment.server") -> None:
        self._stack = ExitStack()
        folder = self._stack.enter_context(scratch_folder())
        if len(os.fsencode(folder / "readers")) > _MAX_ADDRESS_BYTES:
            folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="argus-", dir="/tmp")))
        self.address = folder / "readers"
        environment = {
            "PATH": os.defpath, "LANG": "C.UTF-8", "TZ": "UTC",
            "PYTHONPATH": os.pathsep.join(p for p in sys.path if p),
            "PYTHONDONTWRITEBYTECODE": "1", "POLARS_MAX_THREADS": "1",
            # A pool of threads would not live through a fork, and an arena for each thread takes addresses.
            **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"), "MALLOC_ARENA_MAX": "2",
            # Arrow's own allocator takes 1 GiB at once where the limits let it.
            "ARROW_DEFAULT_MEMORY_POOL": "system",
        }  # fmt: skip
        # A client waits until the server has imported everything; once it is gone, nothing listens.
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
            listener.bind(str(self.address))
            listener.listen(128)
            self._process = subprocess.Popen(  # noqa: S603 - our own module
                [sys.executable, "-P", "-m", module, str(listener.fileno())],
                stdin=subprocess.PIPE,
                env=environment,
                pass_fds=[listener.fileno()],
                start_new_session=True,
            )
        self.process_id = os.getpid()

    @property
    def pid(self) -> int:
        """Return its process id."""
        return self._process.pid

    def is_running(self) -> bool:
        """Return whether this process started it and it has not ended."""
        return self.process_id == os.getpid() and self._process.poll() is None

    def stop(self) -> None:
        """End it, and all that it forked."""
        if self.process_id != os.getpid():
            return
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._stack.close()


def connect() -> socket.socket:
    """Connect to the server that is shared, or else to one of this process's own.

    Raises:
        Unavailable: There is none, and none can be started.
    """
    shared = os.environ.get(SERVER)
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        if shared is not None:
            with suppress(OSError):
                connection.connect(shared)
                return connection
        connection.connect(str(own_server().address))
    except OSError as error:
        connection.close()
        raise Unavailable(
            f"The server of confined processes does not answer: {error}.",
            help="Run it again, or check the memory of this machine.",
        ) from error
    return connection


def own_server() -> Server:
    """Return the server of this process alone, started when there is none."""
    global _own  # noqa: PLW0603 - one for each process
    with _lock:
        if _own is None or not _own.is_running():
            _own = Server()
            atexit.register(_own.stop)
        return _own


def share_server() -> Server:
    """Start a server for this process and all that it starts: they find it in their environment."""
    server = Server()
    os.environ[SERVER] = str(server.address)
    atexit.register(server.stop)
    return server
