"""The order in which a process syncs and renames files: what would be on a disk after a power cut."""

import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


class DiskLog:
    """What was done, in order: `("sync", path)` and `("name", path, new path)`."""

    def __init__(self) -> None:
        self.steps: list[tuple[str, ...]] = []

    def lasts_at(self, step: int) -> set[str]:
        """Return the files that are on the disk for certain, name and content, before a step."""
        synced: set[str] = set()
        named: dict[str, str] = {}
        lasting: set[str] = set()
        for kind, *paths in self.steps[:step]:
            if kind == "name":
                old, new = paths
                named[new] = old
            else:
                synced.add(paths[0])
                lasting |= {new for new, old in named.items() if str(Path(new).parent) == paths[0] and old in synced}
        return lasting

    def step_of(self, name: str) -> int:
        """Return the step that gives a file its name."""
        (found,) = (n for n, step in enumerate(self.steps) if step[0] == "name" and Path(step[2]).name == name)
        return found


@contextmanager
def disk_log() -> Generator[DiskLog]:
    """Note what the block does."""
    log = DiskLog()
    fsync, replace, link = os.fsync, os.replace, os.link

    def noted_sync(number: int) -> None:
        path = _path_of(number)
        fsync(number)
        log.steps.append(("sync", str(path)))

    def named(real: Any) -> Any:
        def call(old: Any, new: Any, **keywords: Any) -> None:
            before, after = (_path_of(keywords.get(where)) for where in ("src_dir_fd", "dst_dir_fd"))
            real(old, new, **keywords)
            log.steps.append(("name", str(before / old), str(after / new)))

        return call

    os.fsync, os.replace, os.link = noted_sync, named(replace), named(link)
    try:
        yield log
    finally:
        os.fsync, os.replace, os.link = fsync, replace, link


def _path_of(number: int | None) -> Path:
    return Path() if number is None else Path(f"/proc/self/fd/{number}").readlink()
