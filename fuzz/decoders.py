"""The decoders as targets: whole recordings, begun from those of the formats' own writers and from damaged ones."""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from types import MappingProxyType
from typing import Final

from argus_assets.recordings.formats.text.reader import TextDecoder
from argus_assets.recordings.registry import DECODERS
from fuzz.check import check
from fuzz.damage import damaged
from fuzz.seeds import seeds
from fuzz.target import Target

_MAX_BYTES: Final = 40_000
TEXT: Final = tuple(decoder.name for decoder in DECODERS if isinstance(decoder, TextDecoder))
"""Names of the text formats."""


def _target(formats: tuple[str, ...], magic: bytes = b"") -> Target:
    def given(data: bytes) -> None:
        # Whatever the first bytes are: get into the decoder.
        check(data if not magic or data.startswith((magic, b"UnFinMF 4.11")) else magic + data[len(magic) :])

    return Target(given, _seeds(formats), _MAX_BYTES)


def _seeds(formats: tuple[str, ...]) -> Iterator[bytes]:
    for name, data in seeds().items():
        if name.startswith(formats):
            yield data
            for _, changed in damaged(name, data):
                yield changed


TARGETS: Final[Mapping[str, Callable[[], Target]]] = MappingProxyType(
    {
        "mcap": partial(_target, ("mcap",), b"\x89MCAP0\r\n"),
        "mdf4": partial(_target, ("mdf4",), b"MDF     4.11    "),
        "blf": partial(_target, ("blf",), b"LOGG"),
        "pcap": partial(_target, ("pcap-",), b"\xd4\xc3\xb2\xa1"),
        "pcapng": partial(_target, ("pcapng",), b"\x0a\x0d\x0d\x0a"),
        "text": partial(_target, TEXT),
        "compressed": partial(_target, ("gzip", "zstd")),
    }
)
"""Factories of the targets."""
