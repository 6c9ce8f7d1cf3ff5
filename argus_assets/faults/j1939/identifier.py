"""Fields of a 29-bit identifier in SAE J1939: parameter group (PGN), source and destination address (J1939-21, 5.2)."""

from typing import Final

import polars as pl

from argus_assets.faults.can_frames import IS_EXTENDED

GLOBAL_ADDRESS: Final = 0xFF
"""The destination that means everybody."""

SOURCE_ADDRESS: Final = pl.col("arbitration_id").cast(pl.Int64) % 2**8
"""The address of the sender."""

DESTINATION_ADDRESS: Final = pl.col("arbitration_id").cast(pl.Int64) // 2**8 % 2**8
"""The address of the receiver, in a parameter group that is sent to one address (PDU1)."""

_FIRST_PDU2: Final = 0xF000
"""From here on the second byte of the identifier is part of the PGN; below, it is the destination."""

# A data page or extended data page bit makes another parameter group of the same low bits.
_PAGE_AND_FORMAT: Final = pl.col("arbitration_id") & 0x03FF0000
_PAGE_FORMAT_AND_EXTENSION: Final = pl.col("arbitration_id") & 0x03FFFF00


def carries(*pgns: int) -> pl.Expr:
    """Return a filter for the frames of these parameter groups (data page 0)."""
    to_one = [pgn << 8 for pgn in pgns if pgn < _FIRST_PDU2]
    to_all = [pgn << 8 for pgn in pgns if pgn >= _FIRST_PDU2]
    return IS_EXTENDED & (_PAGE_AND_FORMAT.is_in(to_one) | _PAGE_FORMAT_AND_EXTENSION.is_in(to_all))


def sa(address: int) -> str:
    """Format an address: `SA 0x0B`."""
    return f"SA 0x{address:02X}"


def sa_text(address: pl.Expr) -> pl.Expr:
    """Format a column of addresses as `sa` does."""
    return address.replace_strict({n: sa(n) for n in range(256)}, return_dtype=pl.String)
