"""The lake: files and declared tables under one fsspec URL. `layout.py` has the paths, `batches.py` the contents.

Everything is written whole or not at all: a reader never sees half a table.
"""

import io
import shutil
from collections.abc import Generator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Final, Self

import fsspec
import polars as pl
from fsspec.implementations.local import LocalFileSystem

from argus_assets.common.atomic_file import file_in, make_folder, open_folder, sync_folder, write_file
from argus_assets.common.storage_errors import storage_errors
from argus_assets.common.tables import Table
from argus_assets.common.tempdirs import scratch_folder
from argus_assets.errors import PermanentError

_COPY_BYTES: Final = 1024 * 1024


class Lake:
    """Reads and writes under one URL. Safe to use from several threads."""

    def __init__(self, fs: fsspec.AbstractFileSystem, root: str) -> None:
        self._fs = fs
        self._root = root.rstrip("/")

    @classmethod
    def from_url(cls, url: str) -> Self:
        """Open a lake: a folder path, `file://…`, or `s3://bucket/prefix` (credentials as botocore finds them)."""
        # A listing cache would hide what another process has just written.
        options = {"use_listings_cache": False} if "://" in url and not url.startswith("file:") else {}
        fs, root = fsspec.url_to_fs(url, **options)
        return cls(fs, root)

    def path(self, relative: str) -> str:
        """Return the full path of `relative`, as the file system names it."""
        return f"{self._root}/{relative}"

    @property
    def is_local(self) -> bool:
        """Return whether the lake is a folder of this machine."""
        return isinstance(self._fs, LocalFileSystem)

    def exists(self, relative: str) -> bool:
        """Return whether a file exists."""
        with _storage_errors("look up", self.path(relative)):
            return bool(self._fs.exists(self.path(relative)))

    def write_bytes(self, relative: str, data: bytes) -> str:
        """Write a whole file, and return its path."""
        target = self.path(relative)
        with _storage_errors("write", target):
            if self.is_local:
                make_folder(Path(target).parent)
                write_file(Path(target), data)
            else:
                self._fs.pipe_file(target, data)
        return target

    def read_bytes(self, relative: str) -> bytes:
        """Read a whole file.

        Raises:
            PermanentError: It does not exist.
        """
        target = self.path(relative)
        with _storage_errors("read", target):
            return bytes(self._fs.cat_file(target))  # type: ignore[arg-type] # binary unless a mode says otherwise

    def names(self, relative: str) -> list[str]:
        """Return the sorted names of the files in a folder; none when the folder does not exist."""
        target = self.path(relative)
        with _storage_errors("list", target):
            try:
                found = self._fs.ls(target, detail=True)
            except FileNotFoundError:
                return []
        names = (Path(str(entry["name"])).name for entry in found if entry["type"] == "file")
        return sorted(name for name in names if not name.startswith("."))

    def delete(self, relative: str) -> None:
        """Remove a file."""
        with _storage_errors("delete", self.path(relative)):
            self._fs.rm_file(self.path(relative))

    def write_table(self, relative: str, frame: pl.DataFrame, table: Table) -> str:
        """Write a declared table as Parquet (zstd), and return its path."""
        buffer = io.BytesIO()
        table.check(frame).write_parquet(buffer, compression="zstd", compression_level=1)
        return self.write_bytes(relative, buffer.getvalue())

    def read_table(self, relative: str, table: Table) -> pl.DataFrame:
        """Read a declared table and check that it is that table."""
        return table.read(pl.read_parquet(io.BytesIO(self.read_bytes(relative))))

    def put_folder(self, local: Path, relative: str, *, last: str) -> None:
        """Copy the files of a flat local folder, the file named `last` at the end: it marks the folder as whole.

        In a local lake the others are on the disk before that, so that the mark holds after a power cut, too.
        """
        target = self.path(relative)
        others = sorted(f.name for f in local.iterdir() if f.name != last)
        with _storage_errors("write", target):
            if not self.is_local:
                for name in (*others, last):
                    self._fs.put_file(str(local / name), f"{target}/{name}")
                return
            make_folder(Path(target))
            with open_folder(Path(target)) as folder:
                for names in (others, [last]):
                    for name in names:
                        with (local / name).open("rb") as source, file_in(folder, name) as file:
                            shutil.copyfileobj(source, file, _COPY_BYTES)
                    sync_folder(folder)

    @contextmanager
    def local_folder(self, relative: str) -> Generator[Path]:
        """Open a folder of the lake as a local one: itself in a local lake, else a copy for the time of the block."""
        target = self.path(relative)
        if self.is_local:
            yield Path(target)
            return
        with scratch_folder() as temporary:
            with _storage_errors("read", target):
                for found in self._fs.ls(target, detail=False):
                    self._fs.get_file(found, str(temporary / Path(found).name))
            yield temporary


def _storage_errors(verb: str, where: str) -> AbstractContextManager[None]:
    return storage_errors(verb, where, missing=PermanentError, missing_help="Materialise the asset that writes it.")
