"""Work on files, done in processes of its own that are killed before one step after the other.

    python -m tests.support.killed tests.lake.test_store:put_part /folder

calls `put_part(Path("/folder"))` in a forked process that is killed before its first change of the disk, then in another
that is killed before the second, and so on, until one is not killed. After each it prints `inspect(Path("/folder"))` of the
same module, in JSON.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, Final

CHANGES: Final = ("open", "fsync", "replace", "link", "unlink", "mkdir")
"""Of `os`: each is a step. Opening a file for reading counts too."""


def killed_at_every_step(work: str, folder: Path) -> list[Any]:
    """Return what `inspect` says after each process.

    Args:
        work: `module:function`, which takes the folder.
        folder: Where it works; each process begins with what the one before left.
    """
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.killed", work, str(folder)],
        check=True, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    return [json.loads(line) for line in done.stdout.splitlines()]


def _count_down(steps: int) -> None:
    """Kill this process before it takes more than so many steps."""
    left = steps

    def counted(name: str) -> Callable[..., Any]:
        real = getattr(os, name)

        def call(*args: Any, **keywords: Any) -> Any:
            nonlocal left
            if not left:
                os.kill(os.getpid(), signal.SIGKILL)
            left -= 1
            return real(*args, **keywords)

        return call

    for name in CHANGES:
        setattr(os, name, counted(name))


def _main(work: str, folder: Path) -> None:
    module_name, _, name = work.partition(":")
    module = import_module(module_name)
    for steps in range(1000):
        process = os.fork()
        if not process:
            _count_down(steps)
            getattr(module, name)(folder)
            os._exit(0)
        _, status = os.waitpid(process, 0)
        print(json.dumps(module.inspect(folder)), flush=True)
        if os.waitstatus_to_exitcode(status) != -signal.SIGKILL:
            assert status == 0, f"the work failed after {steps} steps"
            return
    raise AssertionError("the work takes more than 1,000 steps")


if __name__ == "__main__":
    _main(sys.argv[1], Path(sys.argv[2]))
