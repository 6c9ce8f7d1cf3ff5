"""The process between the platform and a program that is not trusted to end well.

Run without site-packages (`python -I -S`), so that nothing but the standard library is loaded; `isolation.py` starts
it. The order arrives as a line of JSON on standard input, which stays open: its end means that the
platform has ended. The report leaves as JSON on standard output.

The program gets limits, no network and an environment of its own before it is executed. This process is the reaper
of all that the program starts, also of what leaves its group or session, and kills what is left at the end.
"""

import json
import os
import resource
import select
import signal
import stat
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final, NoReturn

from argus_assets.containment import kernel

TAIL_BYTES: Final = 16 * 1024
MAX_FILES: Final = 10_000
_OPEN_FILES: Final = 4096
_SPARE_TASKS: Final = 256
"""Of other processes of the same user, which start threads meanwhile."""
_MAX_DEPTH: Final = 100
_PIPE_BYTES: Final = 64 * 1024
_SOCKET_BYTES: Final = 416 * 1024
"""Largest kernel buffer of an unread one (pipe(7), wmem_max)."""
_FIRST_WAIT_S: Final = 0.005
_LONGEST_WAIT_S: Final = 0.1
_WATCH_EVERY_S: Final = 0.1
_KILL_ROUNDS: Final = 500

# linux/prctl.h, linux/sched.h
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000

_Json = dict[str, Any]


def main() -> None:
    """Execute the order on standard input, and report."""
    order: _Json = json.loads(sys.stdin.buffer.readline())
    try:
        report = _run(order)
    except Exception as error:  # noqa: BLE001 - whatever it is, the platform has to know
        report = {"kind": "not_started", "text": f"{type(error).__name__}: {error}"}
    sys.stdout.write(json.dumps(report))
    sys.stdout.flush()


def _run(order: _Json) -> _Json:
    kernel.libc().prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    said_r, said_w = os.pipe()
    reports_r, reports_w = os.pipe()
    started = time.monotonic()
    program = os.fork()
    if program == 0:
        _become(order, said_w, reports_w)
    os.close(said_w)
    os.close(reports_w)
    os.set_blocking(said_r, False)
    before: _Json = {}
    with os.fdopen(reports_r) as reports:  # ends when the program is executed, or could not be
        for line in reports:
            before |= json.loads(line)
    watch = _Watch(order, program, said_r, started)
    try:
        result = {} if "kind" in before else watch.until_over()
    finally:
        _kill_descendants()
        watch.hear()
    if result.get("kind") == "exited" and watch.output_is_over():
        result = {"kind": "output"}
    return {
        **before,
        **result,
        "tail": watch.tail.decode("utf-8", "replace"),
        "seconds": time.monotonic() - started,
        "peak_bytes": max(watch.peak, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024),
    }


# ---------------------------------------------------------------------------------------------- becoming the program


def _become(order: _Json, said: int, reports: int) -> NoReturn:
    """Take limits, then execute the program, in the forked child. Does not return."""
    try:
        os.setsid()
        nothing = os.open(os.devnull, os.O_RDONLY)
        for fd, place in ((nothing, 0), (said, 1), (said, 2)):
            os.dup2(fd, place)
        os.chdir(order["folder"])
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE, signal.SIGXFSZ, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        network = _leave_network(order["methods"]) if order["isolate_network"] else "allowed"
        if network is None:
            _report(reports, {"kind": "no_isolation"})
            os._exit(127)
        _report(reports, {"network": network})
        for what, value in (
            (resource.RLIMIT_CORE, 0),
            (resource.RLIMIT_FSIZE, int(order["output_bytes"])),
            (resource.RLIMIT_NOFILE, _OPEN_FILES),
            # Address space is not limited: a program may map a recording of any size, or reserve what it never uses.
            (resource.RLIMIT_DATA, int(order["memory_bytes"])),
        ):
            kernel.limit(what, value)
        kernel.refuse_uncounted()
        has_landlock = kernel.landlock_version() > 0
        kernel.become_nobody(keep_reading=has_landlock, for_programs=True)
        kernel.limit(resource.RLIMIT_NPROC, _tasks_of(os.geteuid()) + int(order["processes"]) + _SPARE_TASKS)
        os.umask(0o077)
        if has_landlock and not kernel.restrict_program(
            reads=[*order["reads"], f"/proc/{os.getpid()}"], writes=[order["folder"], os.devnull]
        ):
            _report(reports, {"kind": "not_started", "text": "the kernel did not restrict its files"})
            os._exit(127)
        # A change of the user forgets this, so it comes after.
        kernel.libc().prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        os.execve(order["command"][0], order["command"], order["environment"])  # noqa: S606 - no shell is the point
    except BaseException as error:  # noqa: BLE001 - a forked child must end here
        text = error.strerror if isinstance(error, OSError) and error.strerror else f"{type(error).__name__}: {error}"
        _report(reports, {"kind": "not_started", "text": text})
    os._exit(127)


def _report(fd: int, what: _Json) -> None:
    os.write(fd, json.dumps(what).encode() + b"\n")


def _leave_network(methods: list[str]) -> str | None:
    """Give up the network by the first method that works; return its name, `None` when none does."""
    ways = {"seccomp": kernel.refuse_sockets, "namespace": _enter_empty_network}
    return next((name for name in methods if ways[name]()), None)


def _enter_empty_network() -> bool:
    """Enter a network namespace that has nothing but a loopback that is down."""
    if os.geteuid() == 0:
        return kernel.libc().unshare(_CLONE_NEWNET) == 0
    user, group = os.geteuid(), os.getegid()
    if kernel.libc().unshare(_CLONE_NEWUSER | _CLONE_NEWNET) != 0:
        return False
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
    Path("/proc/self/gid_map").write_text(f"{group} {group} 1")
    return True


# ---------------------------------------------------------------------------------------------- watching it


class _Watch:
    """Waits for the program's end, or for a reason to end it."""

    def __init__(self, order: _Json, program: int, said: int, started: float) -> None:
        self._order = order
        self._program = program
        self._said: int | None = said
        self._deadline = started + float(order["timeout_s"])
        self.tail = b""
        self.peak = 0

    def until_over(self) -> _Json:
        wait, look_at = _FIRST_WAIT_S, time.monotonic() + _WATCH_EVERY_S
        poll = select.poll()
        poll.register(0, select.POLLIN)
        if self._said is not None:
            poll.register(self._said, select.POLLIN)
        while True:
            ready = dict(poll.poll(wait * 1000))
            wait = min(2 * wait, _LONGEST_WAIT_S)
            if 0 in ready and not os.read(0, 1):
                return {"kind": "abandoned"}
            if self._said in ready and not self.hear():
                poll.unregister(self._said)
                self._said = None
            while (ended := _reaped()) is not None:
                if ended[0] == self._program:
                    code = os.waitstatus_to_exitcode(ended[1])
                    return {"kind": "exited", "code": code} if code >= 0 else {"kind": "signalled", "code": -code}
            now = time.monotonic()
            if now >= self._deadline:
                return {"kind": "timeout"}
            if now >= look_at:
                look_at = now + _WATCH_EVERY_S
                living = _descendants()
                held, deleted = _held_bytes(living)
                # What is no file's content: the process's own, and memory that it shares.
                used = held + sum(sum(kernel.process_status(pid, "RssAnon", "RssShmem")) for pid in living)
                self.peak = max(self.peak, used)
                if sum(living.values()) > self._order["processes"]:
                    return {"kind": "processes"}
                if used > self._order["memory_bytes"]:
                    return {"kind": "memory"}
                if self.output_is_over(deleted):
                    return {"kind": "output"}

    def hear(self) -> bool:
        """Take what the program printed, and keep its end; false when it can print no more."""
        while self._said is not None:
            try:
                heard = os.read(self._said, 65536)
            except BlockingIOError:
                return True
            if not heard:
                return False
            self.tail = (self.tail + heard)[-TAIL_BYTES:]
        return False

    def output_is_over(self, deleted: int = 0) -> bool:
        """Return whether the files below the folder exceed a limit of size, number or depth, or cannot be read.

        Args:
            deleted: Bytes of files that are open, and in no folder any more.
        """
        total, files = deleted, 0
        folders = [(self._order["folder"], 0)]
        while folders:
            folder, depth = folders.pop()
            try:
                with os.scandir(folder) as entries:
                    for entry in entries:
                        files += 1
                        if files > MAX_FILES:
                            return True
                        if entry.is_dir(follow_symlinks=False):
                            folders.append((entry.path, depth + 1))
                        elif entry.is_file(follow_symlinks=False):
                            total += entry.stat(follow_symlinks=False).st_size
            except FileNotFoundError:  # it was removed meanwhile
                continue
            except OSError:  # a path that is too long, or a folder that is closed
                return True
            if total > self._order["output_bytes"] or depth > _MAX_DEPTH:
                return True
        return False


def _reaped() -> tuple[int, int] | None:
    """Reap one child that ended; `None` when there is none."""
    try:
        pid, status = os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        return None
    return (pid, status) if pid else None


def _descendants() -> dict[int, int]:
    """Return all living processes below this one, each with the number of its threads."""
    children: dict[int, list[tuple[int, int]]] = {}
    for name in os.listdir("/proc"):  # noqa: PTH208 - called often
        if not name.isdigit():
            continue
        try:
            text = Path(f"/proc/{name}/stat").read_text(errors="replace")
        except OSError:
            continue
        fields = text.rpartition(")")[2].split()
        if fields[0] not in "ZX":
            children.setdefault(int(fields[1]), []).append((int(name), int(fields[17])))
    found: dict[int, int] = {}
    waiting = [os.getpid()]
    while waiting:
        below = children.get(waiting.pop(), [])
        found.update(below)
        waiting += [pid for pid, _ in below]
    return found


def _tasks_of(user: int) -> int:
    """Return how many processes and threads a user has."""
    tasks = 0
    for name in os.listdir("/proc"):  # noqa: PTH208 - called often
        try:
            if name.isdigit() and os.stat(f"/proc/{name}").st_uid == user:  # noqa: PTH116
                tasks += len(os.listdir(f"/proc/{name}/task"))  # noqa: PTH208
        except OSError:
            continue
    return tasks


def _held_bytes(pids: Iterable[int]) -> tuple[int, int]:
    """Return what processes hold that is in none of them and in no folder: memory of pipes and sockets, deleted files."""
    memory: dict[tuple[int, int], int] = {}
    deleted: dict[tuple[int, int], int] = {}
    mapped: dict[tuple[str, str, str], int] = {}
    for pid in pids:
        try:
            for name in os.listdir(f"/proc/{pid}/fd"):  # noqa: PTH208 - called often
                found = os.stat(f"/proc/{pid}/fd/{name}")  # noqa: PTH116
                key = found.st_dev, found.st_ino
                if stat.S_ISFIFO(found.st_mode):
                    memory[key] = _PIPE_BYTES
                elif stat.S_ISSOCK(found.st_mode):
                    memory[key] = _SOCKET_BYTES
                elif stat.S_ISREG(found.st_mode) and found.st_nlink == 0:
                    deleted[key] = found.st_blocks * 512
            for line in Path(f"/proc/{pid}/maps").read_text(errors="replace").splitlines():
                if line.endswith("(deleted)"):
                    addresses, _, offset, device, inode = line.split()[:5]
                    start, _, end = addresses.partition("-")
                    mapped[device, inode, offset] = int(end, 16) - int(start, 16)
        except OSError:  # it has ended
            continue
    return sum(memory.values()), sum(deleted.values()) + sum(mapped.values())


def _kill_descendants() -> None:
    """Kill until nothing is left: what is being started while this runs is met in the next round."""
    for _ in range(_KILL_ROUNDS):
        living = _descendants()
        for pid in living:
            try:
                os.kill(pid, signal.SIGKILL)
            except OSError:
                continue
        while _reaped() is not None:
            pass
        if not living:
            return
        time.sleep(0.002)
