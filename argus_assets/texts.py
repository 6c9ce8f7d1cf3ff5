"""Texts of vehicles: cleaned where they enter the tables, escaped where they come out.

A name, a log line or a code of a recording is hostile until proven otherwise. Two steps keep it harmless: `clean` takes
away what does not print and bounds the length, before a text is stored; one function for each kind of output escapes
what is left. No other module escapes by itself.
"""

import re
import unicodedata
from typing import Final

MAX_NAME_CHARS: Final = 256
"""Of a topic, channel, signal, node, file or ECU name. The longest name of a ROS topic is 256 characters (DDS)."""

MAX_TEXT_CHARS: Final = 4096
"""Of a log message, a status or a value."""

UNPRINTABLE: Final = (
    # Control characters but tab and line feed, soft hyphen, the marks that turn or hide text, separators of lines and
    # paragraphs, surrogates, private use, and what no character will ever be.
    "\\x00-\\x08\\x0b-\\x1f\\x7f-\\x9f\\u00ad\\u034f\\u061c\\u115f\\u1160\\u17b4\\u17b5\\u180b-\\u180f\\u200b-\\u200f\\u2028-\\u202e"
    "\\u2060-\\u206f\\u3164\\ufe00-\\ufe0f\\ufeff\\uffa0\\ufff0-\\ufffb\\ufffe\\uffff"
)
_UNPRINTABLE: Final = re.compile(f"[{UNPRINTABLE}\ud800-\udfff\U000e0000-\U000e0fff\U000f0000-\U0010ffff]")


def clean(text: str, *, max_chars: int = MAX_TEXT_CHARS) -> str:
    """Return a text without what does not print, in NFC, cut to `max_chars`.

    Control characters (tab and line feed stay), bidirectional overrides (Unicode UAX 9), zero-width and private
    characters and lone surrogates are removed. A text that is cut ends with `…`.

    Args:
        text: Of a vehicle.
        max_chars: Longest result, at least 1.
    """
    # What is removed cannot make a text longer; cutting first bounds the work.
    kept = unicodedata.normalize("NFC", _UNPRINTABLE.sub("", text[: 4 * max_chars]))
    return kept if len(kept) <= max_chars and len(text) <= 4 * max_chars else kept[: max_chars - 1] + "…"


def clean_name(text: str) -> str:
    """Return a name on one line: `clean`, with blanks for tabs and line feeds, at most `MAX_NAME_CHARS` long."""
    return " ".join(clean(text, max_chars=MAX_NAME_CHARS).split())
