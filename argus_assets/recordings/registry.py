"""The known formats and which of them a file has.

Of the formats that are built in, detection is by content alone: a file's name never decides. A plug-in may declare
patterns of names; they are tried when no format knows the content.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final, Protocol, runtime_checkable

from argus_assets.plugins.workplace import Workplace, suffix_of
from argus_assets.recordings.budget import Budget
from argus_assets.recordings.formats.blf.reader import BlfDecoder
from argus_assets.recordings.formats.cyber.reader import CyberDecoder
from argus_assets.recordings.formats.mcap.reader import McapDecoder
from argus_assets.recordings.formats.mdf4.reader import Mdf4Decoder
from argus_assets.recordings.formats.pcap.reader import PcapDecoder, PcapngDecoder
from argus_assets.recordings.formats.rosbag.bag import BagDecoder
from argus_assets.recordings.formats.rosbag.db3 import Db3Decoder
from argus_assets.recordings.formats.text.asc import ASC
from argus_assets.recordings.formats.text.candump import CANDUMP
from argus_assets.recordings.formats.text.candump_output import CANDUMP_OUTPUT
from argus_assets.recordings.formats.text.csv import CSV
from argus_assets.recordings.formats.text.loggers import LOGGERS
from argus_assets.recordings.formats.text.trc import TRC
from argus_assets.recordings.model import Limits, Problem, Reader, Source


class Decoder(Protocol):
    """A recording format.

    Attributes:
        seeks: Its reader needs random access, so a local file; others read forward.
    """

    name: str
    version: int
    seeks: bool

    def matches(self, head: bytes) -> bool:
        """Return whether a file that starts with these bytes (up to 4,096) has this format."""
        ...

    def open(self, source: Source, budget: Budget) -> Reader:
        """Return a reader over `source`, positioned anywhere, that stays within the file's budget."""
        ...


DECODERS: Final[tuple[Decoder, ...]] = (
    McapDecoder(),
    Mdf4Decoder(),
    BlfDecoder(),
    BagDecoder(),
    Db3Decoder(),
    CyberDecoder(),
    PcapDecoder(),
    PcapngDecoder(),
    CANDUMP,
    CANDUMP_OUTPUT,
    ASC,
    TRC,
    CSV,
    *LOGGERS,
)

HEAD_BYTES: Final = 4096
"""Bytes of a file's start that decide its format."""

_COMPRESSED: Final = re.compile(r"(?i)\.(?:gz|zst|zstd|bz2|xz)$")


class Collector(Protocol):
    """Reads what the program of a plug-in wrote. Can be pickled, and runs no foreign code."""

    def open(self, output: Path, *, size_bytes: int, limits: Limits) -> Reader:
        """Return a reader over what lies in a folder.

        Args:
            output: The folder.
            size_bytes: Size of the recording.
            limits: What it may cost.
        """
        ...


@runtime_checkable
class PlugIn(Decoder, Protocol):
    """A decoder of another package or program. None of its methods runs foreign code in this process, and none raises.

    Attributes:
        identity: Changes when the tables that it makes of a recording may change.
        isolates_network: Its code runs without network.
    """

    identity: str
    isolates_network: bool

    @property
    def collector(self) -> Collector:
        """Return the reader of its output."""
        ...

    def run(self, place: Workplace, limits: Limits) -> Problem | None:
        """Run it over the recording of a workplace; return why it failed, if it did."""
        ...

    def matches_name(self, name: str) -> bool:
        """Return whether a file of this name, whose content no format knows, is taken to have this format."""
        ...

    def open_named(self, source: Source, budget: Budget, name: str) -> Reader:
        """Return a reader over `source`; a program that is run for it sees a file with the suffix of `name`."""
        ...


@dataclass(frozen=True, slots=True)
class Decoders:
    """The active formats.

    Attributes:
        plug_ins: In the order in which they are asked, before the formats that are built in.
        notes: Plug-ins that are skipped, a sentence for each.
        skipped: Identities of those: another release of one may read a recording that this one cannot.
    """

    plug_ins: tuple[PlugIn, ...] = ()
    notes: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Return the names of all formats."""
        return tuple(d.name for d in (*self.plug_ins, *DECODERS))

    def detect(self, head: bytes, name: str = "") -> Decoder | None:
        """Return the decoder for a file that starts with `head`, `None` for an unknown format.

        Args:
            head: The first bytes, `HEAD_BYTES` unless the file is shorter.
            name: Of the file, without the suffix of a compression; tried when nothing knows the content.
        """
        by_content = next((d for d in (*self.plug_ins, *DECODERS) if head and d.matches(head)), None)
        if by_content is not None or not name or not head:
            return by_content
        return next((d for d in self.plug_ins if d.matches_name(name)), None)

    def version(self, name: str = "") -> str:
        """Return the part of the reader version that plug-ins add for a file of this name; empty without any.

        With plug-ins, the name counts: by the patterns, and by the suffix that a program sees.
        """
        if not self.plug_ins and not self.skipped:
            return ""
        inner = inner_name(name)
        by_name = [next((d.name for d in self.plug_ins if d.matches_name(n)), "") for n in (name, inner)]
        of_name = [suffix_of(name), suffix_of(inner), *by_name] if self.plug_ins else []
        parts: Sequence[str] = [*(d.identity for d in self.plug_ins), *self.skipped, "|", *of_name]
        return sha256("\n".join(parts).encode("utf-8", "replace")).hexdigest()[:12]


BUILT_IN: Final = Decoders()
"""Without any plug-in."""


def inner_name(name: str) -> str:
    """Return the name of a file inside a compressed one: without the suffix of the compression."""
    return _COMPRESSED.sub("", name)


def detect(head: bytes) -> Decoder | None:
    """Return the built-in decoder for a file that starts with `head`, `None` for an unknown format."""
    return BUILT_IN.detect(head)
