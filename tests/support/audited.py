"""Reads recordings in this process with an audit hook (PEP 578) that refuses whatever a decoder has no business with.

    python -m tests.support.audited HONEST FOLDER [--lock FILE] [--planted]

The recordings in the folder `HONEST` are read first, so that nothing has to be imported any more. Then those in `FOLDER`:
each event that is not a decoder's is refused and printed as a line of JSON, with the recording that was being read. The
last line says how many were read. With `--planted` there is a decoder that does what none must.
"""

import argparse
import importlib
import json
import os
import re
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]

FORBIDDEN: Final = (
    "exec", "compile", "import", "os.system", "os.exec", "os.spawn", "os.posix_spawn", "os.fork", "os.forkpty", "os.kill",
    "os.putenv", "subprocess.Popen", "pickle.find_class", "marshal.loads", "code.__new__", "function.__new__", "webbrowser.open",
)  # fmt: skip
FORBIDDEN_AREAS: Final = ("socket.", "ctypes.", "urllib.", "ftplib.", "smtplib.", "sqlite3.")
WATCHED: Final = {
    "numexpr": ("evaluate", "re_evaluate", "NumExpr", "validate"),
    "sympy": ("lambdify", "sympify", "parse_expr"),
    "mpmath": ("mpmathify",),
    "pandas": ("eval",),
}
"""Packages that evaluate texts, and their doors."""


class Refused(RuntimeError):
    """What a decoder has no business with."""


class Guard:
    """The hook. It cannot be taken away, so it is told when to watch."""

    def __init__(self, folders: tuple[str, ...]) -> None:
        self._folders = folders
        self.reading = ""

    def __call__(self, event: str, arguments: tuple[object, ...]) -> None:
        if not self.reading or not self._is_forbidden(event, arguments):
            return
        name, self.reading = self.reading, ""  # telling of it opens and imports nothing, but may be heard too
        self.tell(name, event, arguments)
        self.reading = name
        raise Refused(event)

    def tell(self, name: str, event: str, arguments: tuple[object, ...]) -> None:
        """Print one event."""
        print(json.dumps({"reading": name, "event": event, "what": repr(arguments)[:200]}), flush=True)

    def _is_forbidden(self, event: str, arguments: tuple[object, ...]) -> bool:
        if (
            event == "open"
        ):  # nothing but temporary files, the recording itself, data of our own, and lines for a traceback
            path = arguments[0] if isinstance(arguments[0], int) else os.fsdecode(arguments[0])  # type: ignore[arg-type]
            is_source = isinstance(path, str) and path.endswith(".py") and arguments[1] == "r"
            return not isinstance(path, int) and not is_source and not path.startswith(self._folders)
        return event in FORBIDDEN or event.startswith(FORBIDDEN_AREAS)


def close_doors(lock: Path, guard: Guard) -> None:
    """Have the doors of evaluators watched that a lock installs; take away those that it does not."""
    installed = {match[1].lower() for match in re.finditer(r"(?m)^([A-Za-z0-9_.-]+)==", lock.read_text())}
    for name, doors in WATCHED.items():
        if name not in installed:
            sys.modules[name] = None  # type: ignore[assignment] # as if it were not installed
            continue
        module: ModuleType = importlib.import_module(name)
        for door in doors:
            setattr(module, door, _closed(f"{name}.{door}", guard))


def _closed(door: str, guard: Guard) -> Callable[..., object]:
    def refuse(*arguments: object, **more: object) -> object:
        guard.tell(guard.reading, door, (*arguments, more))
        raise Refused(door)

    return refuse


def main() -> None:
    """Read two folders of recordings, the second one under guard."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("honest", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--lock", type=Path)
    parser.add_argument("--planted", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="argus-audited-") as name:
        tempfile.tempdir = name
        read(arguments, Path(name), Guard((name, str(arguments.folder), str(ROOT / "argus_assets"))))
    sys.stdout.flush()
    os._exit(0)  # the hook hears the interpreter's end, too


def read(arguments: argparse.Namespace, scratch: Path, guard: Guard) -> None:
    """Warm up, arm the guard, and read."""
    from argus_assets.faults.detection import find_events
    from argus_assets.recordings.drive import Drive
    from argus_assets.recordings.model import Limits
    from argus_assets.recordings.parts import scan_part, write_part
    from argus_assets.recordings.registry import BUILT_IN, Decoders

    decoders = BUILT_IN
    if arguments.planted:
        from tests.support.planted import Planted

        decoders = Decoders(plug_ins=(Planted(),))
    limits = Limits(workers=1)
    before = set(sys.modules)

    def one(path: Path) -> None:
        part = Path(tempfile.mkdtemp(dir=scratch))
        with path.open("rb") as file:
            summary = write_part(file, folder=part, limits=limits, decoders=decoders)
        if summary.frames or summary.topics:
            find_events(Drive.of([("a", scan_part(part))]))
        for problem in summary.problems:
            if problem.kind == "reader_failed":
                raise RuntimeError(problem.actual)

    for path in sorted(arguments.honest.iterdir()):
        one(path)
    lazily = sorted(set(sys.modules) - before)
    if arguments.lock is not None:
        close_doors(arguments.lock, guard)
    sys.addaudithook(guard)
    paths = sorted(arguments.folder.iterdir())
    for path in paths:
        print(json.dumps({"begun": path.name}), flush=True)
        guard.reading = path.name
        try:
            one(path)
        except BaseException as error:
            guard.reading = ""
            print(json.dumps({"raised": path.name, "what": f"{type(error).__name__}: {error}"[:300]}), flush=True)
        guard.reading = ""
    evaluators = sorted(module for module in WATCHED if sys.modules.get(module) is not None)
    print(json.dumps({"read": len(paths), "imported_lazily": lazily, "evaluators": evaluators}), flush=True)


if __name__ == "__main__":
    main()
