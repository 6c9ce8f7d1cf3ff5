"""rosbag2's SQLite storage (`.db3`), read only, from the file itself; `metadata.yaml` is not needed.

A database is hostile until proven otherwise: only ordinary tables named `topics`, `messages` and `message_definitions` are
asked, so that no view, trigger or virtual table of the file runs; values are bounded, and a program of SQLite that runs too
long is ended. Messages come in the order of their rows, which is that of recording.
"""

import os
import sqlite3
from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import zstandard

from argus_assets.recordings.budget import Budget
from argus_assets.recordings.formats.forward import ForwardDecoder
from argus_assets.recordings.formats.mcap.chunks import OpenedPiece, Piece
from argus_assets.recordings.formats.mcap.reader import McapReader
from argus_assets.recordings.formats.rosbag.records import MAX_CHANNELS, definitions, message
from argus_assets.recordings.model import Source

MAGIC: Final = b"SQLite format 3\0"

MAX_MESSAGE_BYTES: Final = 128 * 1024**2
MAX_IN_MEMORY: Final = 256 * 1024**2
_GROUP_BYTES: Final = 4 * 1024**2
_MAX_TOPICS: Final = 10_000
_MAX_STEPS: Final = 20_000
"""Times that SQLite may report 100,000 steps of its machine between two rows: minutes, which no row needs."""
_STEPS: Final = 100_000
_ZSTD: Final = b"\x28\xb5\x2f\xfd"


@dataclass(slots=True)
class _Rows(Piece):
    """Some rows of the messages, translated already."""

    opened: OpenedPiece = field(default_factory=lambda: OpenedPiece(0))


class Db3Reader(McapReader):
    """One pass over one database."""

    def __init__(self, source: Source, budget: Budget, *, name: str, version: int) -> None:
        super().__init__(source, budget, name=name, version=version)
        self._summary_loaded = True
        self._steps = 0

    def _size_of(self, piece: Piece) -> int:
        return len(piece.opened.data) + 512 if isinstance(piece, _Rows) else 512

    def _open_group(self, group: list[Piece]) -> list[OpenedPiece]:
        return [piece.opened for piece in group if isinstance(piece, _Rows)]

    def _load_summary(self) -> None:
        """Read nothing: tables have no end that repeats them."""

    def _pieces(self) -> Generator[Piece]:
        try:
            number = self._source.fileno()  # type: ignore[attr-defined] # a local file: the decoder seeks
        except (AttributeError, OSError):
            self._problem("unsupported", "a local file", "another source", 0, "SQLite reads local files only.")
            return
        # A file without a name, such as one that was inflated, can only be had from memory.
        nameless = os.fstat(number).st_nlink == 0
        if nameless and self._size > MAX_IN_MEMORY:
            self._problem(
                "over_limit", f"a compressed database of at most {MAX_IN_MEMORY:,} bytes", f"{self._size:,}", 0,
                advice="It was not read. Unpack it before it is dropped, or compress single messages.",
            )  # fmt: skip
            return
        try:
            with closing(self._opened(number, nameless=nameless)) as database:
                database.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MAX_MESSAGE_BYTES)
                database.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
                database.setlimit(sqlite3.SQLITE_LIMIT_VDBE_OP, 10_000)
                database.execute("PRAGMA trusted_schema = OFF")
                database.execute("PRAGMA cell_size_check = ON")
                database.execute("PRAGMA query_only = ON")
                database.set_progress_handler(self._too_long, _STEPS)
                yield from self._rows(database)
        except sqlite3.Error as error:
            self._problem(
                "truncated" if "malformed" in str(error) else "bad_record", "a whole database of rosbag2", str(error)[:200], 0,
                advice="What could be read before was read.",
            )  # fmt: skip

    def _opened(self, number: int, *, nameless: bool) -> sqlite3.Connection:
        """Open the file once more by its descriptor: nothing else is looked up, no journal is written or read."""
        address = ":memory:" if nameless else f"file:/proc/self/fd/{number}?mode=ro&immutable=1"
        database = sqlite3.connect(address, uri=not nameless, check_same_thread=False)
        if nameless:
            self._source.seek(0)
            database.deserialize(self._source.read(self._size))
        return database

    def _too_long(self) -> bool:
        self._steps += 1
        return self._steps > _MAX_STEPS

    def _rows(self, database: sqlite3.Connection) -> Generator[Piece]:
        tables = _tables(database)
        if not {"topics", "messages"} <= tables:
            self._problem(
                "unsupported", "the tables topics and messages", ", ".join(sorted(tables))[:200] or "none", 0,
                "It is a SQLite database, but none of rosbag2.", 0,
            )  # fmt: skip
            return
        known, defined, formats = self._topics(database, tables)
        opened = OpenedPiece(0, definitions=defined)
        records: list[bytes] = []
        places: list[int] = []
        size = 0
        beyond = 0
        cursor = database.execute("SELECT topic_id, timestamp, data FROM messages ORDER BY rowid")
        while True:
            try:
                row = cursor.fetchone()
            except sqlite3.Error:
                yield _closed(opened, records, places)
                raise
            self._steps = 0
            if row is None:
                break
            topic, time_ns, data = row
            number = known.get(topic) if isinstance(topic, int) else None
            if number is None or not isinstance(time_ns, int) or not isinstance(data, bytes):
                beyond += 1
                continue
            if data[:4] == _ZSTD and formats.get(topic) == "cdr":
                data = _inflated(data) or data
            record = message(number, time_ns, data)
            places.append(size)
            records.append(record)
            size += len(record)
            opened.counts[number] = opened.counts.get(number, 0) + 1
            if size > _GROUP_BYTES:
                yield _closed(opened, records, places)
                opened, records, places, size = OpenedPiece(0), [], [], 0
        yield _closed(opened, records, places)
        if beyond:
            self._problem(
                "bad_record",
                "messages of a known topic, with a time and bytes",
                f"{beyond} others",
                0,
                "They were not read.",
                beyond,
            )

    def _topics(
        self, database: sqlite3.Connection, tables: set[str]
    ) -> tuple[dict[int, int], list[tuple[int, bytes]], dict[int, str]]:
        """Return topics' numbers by their id, the definitions of all, and their serialisation."""
        by_type: dict[str, tuple[str, bytes]] = {}
        if "message_definitions" in tables:
            query = "SELECT topic_type, encoding, encoded_message_definition FROM message_definitions LIMIT ?"
            for name, encoding, text in database.execute(query, (_MAX_TOPICS,)):
                if isinstance(name, str) and isinstance(encoding, str) and isinstance(text, str):
                    by_type[name] = (encoding, text.encode("utf-8", "replace"))
        known: dict[int, int] = {}
        formats: dict[int, str] = {}
        defined: list[tuple[int, bytes]] = []
        query = "SELECT id, name, type, serialization_format FROM topics ORDER BY id LIMIT ?"
        for number, (id_, name, kind, encoding) in enumerate(database.execute(query, (_MAX_TOPICS,)), 1):
            if number > MAX_CHANNELS or not isinstance(id_, int) or not isinstance(name, str):
                continue
            known[id_], formats[id_] = number, str(encoding)
            schema_encoding, definition = by_type.get(str(kind), ("", b""))
            defined += definitions(
                number, name[:1024], str(kind)[:1024],
                encoding=str(encoding)[:64], schema_encoding=schema_encoding[:64], definition=definition,
            )  # fmt: skip
        return known, defined, formats


def _tables(database: sqlite3.Connection) -> set[str]:
    """Return the names of ordinary tables: rows of a view or a virtual table would run what the file says."""
    rows = database.execute("SELECT name, sql FROM sqlite_master WHERE type = 'table' LIMIT ?", (_MAX_TOPICS,))
    return {
        name
        for name, sql in rows
        if isinstance(name, str) and not str(sql).lstrip().upper().startswith("CREATE VIRTUAL")
    }


def _inflated(data: bytes) -> bytes | None:
    """Return a message that was compressed by itself, or `None` where it is no zstd."""
    try:
        return zstandard.ZstdDecompressor(max_window_size=MAX_MESSAGE_BYTES).decompress(
            data, max_output_size=MAX_MESSAGE_BYTES
        )
    except zstandard.ZstdError:
        return None


def _closed(opened: OpenedPiece, records: list[bytes], places: list[int]) -> _Rows:
    opened.data = b"".join(records)
    opened.size = len(opened.data)
    opened.messages = np.array(places, np.int64)
    return _Rows(0, b"", is_chunk=False, opened=opened)


class Db3Decoder(ForwardDecoder):
    """SQLite databases of rosbag2."""

    name = "db3"
    version = 1
    seeks = True
    """SQLite reads pages from anywhere."""
    reader = Db3Reader

    def matches(self, head: bytes) -> bool:
        """Return whether the file is a SQLite database; whether it is rosbag2's shows when it is read."""
        return head.startswith(MAGIC)
