"""The known formats. Detection is by content; a file's name never decides."""

from typing import Final

from argus_assets.recordings.blf import BlfDecoder
from argus_assets.recordings.mcap import McapDecoder
from argus_assets.recordings.mdf4 import Mdf4Decoder
from argus_assets.recordings.model import Decoder
from argus_assets.recordings.text import ASC, CANDUMP, CSV, TRC

DECODERS: Final[tuple[Decoder, ...]] = (McapDecoder(), Mdf4Decoder(), BlfDecoder(), CANDUMP, ASC, TRC, CSV)

HEAD_BYTES: Final = 4096
"""How much of a file's start decides its format."""


def detect(head: bytes) -> Decoder | None:
    """The decoder for a file that starts with `head`, `None` for an unknown format."""
    return next((decoder for decoder in DECODERS if decoder.matches(head)), None)
