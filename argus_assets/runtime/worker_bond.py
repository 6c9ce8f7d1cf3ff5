"""Have run workers end with their code server, however it ends. Imported by the fork server only.

A worker whose code server was killed would take its batches on while the run is started again. The kernel ends the fork
server with the code server, and the workers with the fork server.
"""

import ctypes
import os
import signal
import sys
from typing import Final

_PR_SET_PDEATHSIG: Final = 1
_LIBC: Final = ctypes.CDLL(None)
_FORK_SERVER: Final = os.getpid()


def end_with_parent() -> None:
    """Have the kernel kill this process when its parent dies."""
    if sys.platform == "linux":
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


_is_bound = False


def _bind_worker() -> None:
    """Bind a worker that was just forked; processes that a worker forks have another parent, and other rules."""
    global _is_bound  # noqa: PLW0603 - one for each process, inherited by those that it forks
    if _is_bound:
        return
    _is_bound = True
    end_with_parent()
    if os.getppid() != _FORK_SERVER:  # it ended before the kernel knew what to do then
        os._exit(1)


end_with_parent()
os.register_at_fork(after_in_child=_bind_worker)
