"""The workplace of a program: a copy of its input, a folder to work in, one for its output."""

import os
import re
import shutil
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from argus_assets.containment import client as confined
from argus_assets.containment import kernel
from argus_assets.containment.job import Readable

_TAIL_CHARACTERS: Final = 500


@dataclass(frozen=True, slots=True)
class Workplace:
    """The workplace of one run of a program.

    Attributes:
        folder: Its working folder; gone afterwards.
        recording: The recording, named `recording` with the suffix of its own name.
        output: An empty folder inside of `folder`.
    """

    folder: Path
    recording: Path
    output: Path

    def has_output(self) -> bool:
        """Return whether the output folder is one still: the program may have put a link in its place."""
        return self.output.is_dir() and not self.output.is_symlink()

    def shown(self, text: str) -> str:
        """Return the end of what a program printed, without the names of these folders and unprintable characters."""
        for path, name in ((self.recording, "{input}"), (self.output, "{output_dir}"), (self.folder, "{folder}")):
            text = text.replace(str(path), name)
        text = "".join(c if c.isprintable() else " " for c in text)
        text = re.sub(r" {2,}", " ", text).strip()
        return text if len(text) <= _TAIL_CHARACTERS else "..." + text[3 - _TAIL_CHARACTERS :]


@contextmanager
def workplace(source: Readable, name: str) -> Generator[Workplace]:
    """Make a recording available to a program; one that is no local file is copied.

    Raises:
        OSError: The source cannot be read, or there is no room for a copy.
    """
    with confined.workplace() as place:
        folder = place / "work"
        output = folder / "out"
        output.mkdir(parents=True)
        recording = place / f"recording{suffix_of(name)}"
        local = getattr(source, "name", None)
        # As root, the program runs as another user: without Landlock, that user reads only what is its own.
        may_link = os.geteuid() != 0 or kernel.landlock_version() > 0
        if may_link and isinstance(local, str) and Path(local).is_file():
            recording.symlink_to(Path(local).absolute())
        else:
            source.seek(0)
            with recording.open("wb") as copy:
                shutil.copyfileobj(source, copy, 1024 * 1024)  # type: ignore[arg-type]
            if os.geteuid() == 0:
                os.chown(recording, kernel.NOBODY, kernel.NOBODY)
        yield Workplace(folder, recording, output)


def suffix_of(name: str) -> str:
    """Return the suffix of a name, with its dot, of letters and digits only; empty without one."""
    found = re.search(r"\.([A-Za-z0-9_]{1,16})$", name)
    return f".{found[1]}" if found else ""
