"""The process that confined processes are forked from: `python -m argus_assets.containment.server DESCRIPTOR`.

It has imported all that the jobs need, has no secrets in its environment, no thread and no connection. Each connection to
its socket (SOCK_SEQPACKET) becomes one child, which gives up its rights for good and then takes jobs from the connection,
one after another. The child ends with the connection; its exit status is the last message. The server ends with its
standard input.
"""

import gc
import importlib
import os
import select
import signal
import socket
import struct
import sys
from contextlib import suppress
from typing import Final

from argus_assets.containment import worker

PRELOAD: Final = (
    "argus_assets.recordings.jobs",
    "argus_assets.recordings.plugins.packages",
    "argus_assets.recordings.plugins.programs",
    "argus_assets.faults.jobs",
    "argus_assets.faults.plugins.packages",
    "argus_assets.stats.jobs",
    # These are imported when they are used first.
    "google.protobuf.json_format",
    "google.protobuf.message_factory",
    "numpy.ma",
    "pyarrow.compute",
    "pyarrow.pandas_compat",
    "pydoc",
)
"""Imported once, in the server, with all that they import: a child finds everything in memory."""

NEVER: Final = ("pandas", "numexpr", "sympy", "asammdf")
"""Nothing that can evaluate a text as code is ever in a process that reads recordings; pyarrow does without pandas."""


def main() -> None:
    """Serve until standard input ends."""
    listener = socket.socket(fileno=int(sys.argv[1]))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C at a terminal is handled by the parent
    sys.meta_path.insert(0, _Refuse())
    for name in PRELOAD:
        importlib.import_module(name)
    readable = worker.readable_paths()
    gc.collect()
    gc.freeze()
    _Server(listener, readable).serve()


class _Refuse:
    """Finds none of the modules that are never to be imported."""

    def find_spec(self, name: str, _path: object = None, _target: object = None) -> None:
        if name.partition(".")[0] in NEVER:
            raise ModuleNotFoundError(f"{name} is not imported where recordings are read", name=name)


class _Server:
    """Give each connection a child, and reap it. One child is always forked ahead, so that no connection waits for it."""

    def __init__(self, listener: socket.socket, readable: tuple[str, ...]) -> None:
        self._listener = listener
        self._readable = readable
        self._epoll = select.epoll()
        self._epoll.register(0, select.EPOLLIN | select.EPOLLHUP)
        self._epoll.register(listener, select.EPOLLIN)
        self._of_connection: dict[int, tuple[socket.socket, int]] = {}
        self._of_pidfd: dict[int, tuple[socket.socket, int]] = {}
        self._spare: tuple[int, socket.socket] | None = self._fork()

    def serve(self) -> None:
        while True:
            for fd, _ in self._epoll.poll():
                if fd == 0:
                    if not os.read(0, 1):
                        return  # the kernel ends the children with their parent
                elif fd == self._listener.fileno():
                    with suppress(OSError):
                        self._give(self._listener.accept()[0])
                elif fd in self._of_pidfd:
                    self._reap(fd)
                elif fd in self._of_connection:  # the other side has hung up
                    self._epoll.unregister(fd)
                    with suppress(ProcessLookupError):
                        os.kill(self._of_connection[fd][1], signal.SIGKILL)

    def _fork(self) -> tuple[int, socket.socket]:
        """Fork a child that waits for its connection; return its id, and where the connection is to be sent."""
        server = os.getpid()
        ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        pid = os.fork()
        if pid == 0:
            ours.close()
            worker.wait_and_work(its, server, self._readable)
        its.close()
        return pid, ours

    def _give(self, connection: socket.socket) -> None:
        asked = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        if struct.unpack("3i", asked)[1] not in (os.geteuid(), 0):
            connection.close()
            return
        # Where there was no memory to fork ahead, it is tried again now; a waiting client learns of a failure at once.
        with suppress(OSError):
            self._spare = self._spare or self._fork()
        if self._spare is None:
            connection.close()
            return
        (pid, link), self._spare = self._spare, None
        with link, suppress(OSError):  # a spare that was killed is reaped as if it had begun
            socket.send_fds(link, [b"."], [connection.fileno()])
        pidfd = os.pidfd_open(pid)
        self._of_pidfd[pidfd] = self._of_connection[connection.fileno()] = connection, pid
        self._epoll.register(pidfd, select.EPOLLIN)
        # What is said on the connection is for the child; here only its end counts.
        self._epoll.register(connection, select.EPOLLRDHUP)
        self._spare = self._fork()

    def _reap(self, pidfd: int) -> None:
        connection, pid = self._of_pidfd.pop(pidfd)
        del self._of_connection[connection.fileno()]
        self._epoll.unregister(pidfd)
        os.close(pidfd)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        with suppress(OSError):
            connection.send(worker.encoded({"exit": code}), socket.MSG_DONTWAIT)
        with suppress(OSError, ValueError):
            self._epoll.unregister(connection)
        connection.close()


if __name__ == "__main__":
    main()
