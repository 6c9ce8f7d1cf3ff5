"""What software logs below ERROR: warnings, and what it says when it is started or stopped.

A warning is no fault, but often carries the cause of one: a supply that dips, a link that fell back, a frame that never came.
Entries of one node whose texts differ only in numbers become one row of `schema.REMARKS`.
"""

from typing import Final

import polars as pl

from argus_assets.faults.software.codes import template
from argus_assets.recordings.drive import Drive
from argus_assets.stats.schema import REMARKS

MAX_ROWS: Final = 400
"""A stack of a hundred nodes warns in a few hundred different ways; a hostile file in millions."""

MAX_TEXT: Final = 400
"""Characters of a text that are kept."""

_WARN: Final = 30
_ERROR: Final = 40
_INFO: Final = 20
"""Levels of rcl_interfaces/msg/Log."""

STOPPED: Final = (
    r"(?i)\bsig(int|term)\b|signum ?= ?(2|15)\b|ctrl-?c|user interrupted|keyboard ?interrupt|shutdown (was )?requested"
    r"|\bshutting down\b.*\b(on request|by (user|operator)|all nodes|system|stack)"
    r"|received (a )?(shutdown|stop|termination) (request|signal)"
)
"""Somebody stopped the software on purpose."""

STARTED: Final = r"(?i)process started with pid|\blaunch(ing|ed)? (of )?(nodes?|stack|system)\b|starting managed nodes"
"""It was started (again)."""

RECOVERED: Final = r"(?i)\b(recovered|reconnected|re-?established|resumed|restored|normali[sz]ed|back (online|to normal|within)|returned to normal|is back)\b"
"""A node says that its trouble is over."""

_TOLD_AT_INFO: Final = (
    rf"{STOPPED}|{STARTED}|{RECOVERED}"
    r"|(?i)\b(fail(ed|ure|s|ing)?|errors?|unable|cannot|could not|timed? ?out|timeout|unavailable|not (available|found|received|synchroni[sz]ed)"
    r"|lost|disconnect(ed)?|reduced|degraded|denied|refused|dropp(ed|ing)|overflow|throttl(ed|ing)|usb (type|port|speed)?:? ?2)\b"
)
"""Texts at INFO that are kept: of starts and stops, and with a word of trouble."""


def remarks(drive: Drive) -> pl.DataFrame:
    """Condense the log below ERROR.

    Args:
        drive: The drive.

    Returns:
        `schema.REMARKS`: starts and stops, warnings, then the rest, in the order in which they began; at most `MAX_ROWS`.
    """
    level, text = pl.col("level"), pl.col("message")
    kept = drive.logs.filter(
        (level < _ERROR) & ((level >= _WARN) | ((level >= _INFO) & text.str.contains(_TOLD_AT_INFO)))
    )
    rows = (
        kept.select(
            "recording",
            "frame",
            "timestamp",
            "level",
            "name",
            message=text.str.slice(0, MAX_TEXT),
        )
        .with_columns(template=template(pl.col("message")))
        .sort("timestamp", "recording", "frame")
        .group_by("name", "level", "template", maintain_order=True)
        .agg(
            pl.col("message").first(),
            pl.col("recording").first().cast(pl.String),
            pl.col("frame").first(),
            first_seen=pl.col("timestamp").first(),
            last_seen=pl.col("timestamp").last(),
            entries=pl.len().cast(pl.UInt64),
        )
        .with_columns(
            is_mark=pl.col("message").str.contains(f"{STOPPED}|{STARTED}|{RECOVERED}"),
            is_warning=pl.col("level") >= _WARN,
        )
        .sort("is_mark", "is_warning", "first_seen", descending=[True, True, False], maintain_order=True)
        .head(MAX_ROWS)
        .select(REMARKS.schema.names())
        .collect()
    )
    return REMARKS.cast(rows)
