"""The order of software releases: which of two texts is the later one, whatever scheme they follow."""

import re
import unicodedata
from collections.abc import Iterable
from typing import Final

ReleaseKey = tuple[tuple[int, int, str], ...]
"""A key to sort by. Only its order means anything."""

_PART: Final = re.compile(r"[0-9]+|[^\W\d_]+")
_BEFORE_RELEASE: Final = frozenset({"alpha", "beta", "dev", "pre", "preview", "rc", "snapshot"})
_PRE, _END, _WORD, _NUMBER = range(4)


def release_key(release: str) -> ReleaseKey:
    """Natural order: numbers by value, words by letters, case and separators without meaning.

    `2026.9` < `2026.10-rc2` < `2026.10` < `2026.10b` < `2026.10.1`: what is appended makes a release later, but for
    the words for what comes before it (`alpha`, `beta`, `dev`, `pre`, `preview`, `rc`, `snapshot`). A leading `v`
    does not count. Any text has a key; texts with the same key (`2026.9` and `2026.09`) are neither earlier nor
    later than each other.
    """
    parts = _PART.findall(unicodedata.normalize("NFKC", release).casefold())
    if len(parts) > 1 and parts[0] == "v":
        parts = parts[1:]
    return (*(_key_of(part) for part in parts), (_END, 0, ""))


def previous_release(release: str, seen: Iterable[str]) -> str | None:
    """The latest of the releases in `seen` that is earlier than `release`, `None` when there is none.

    Of those with the same key, the last by its text.
    """
    here = release_key(release)
    earlier = [(key, other) for other in seen if (key := release_key(other)) < here]
    return max(earlier)[1] if earlier else None


def _key_of(part: str) -> tuple[int, int, str]:
    if part[0] in "0123456789":
        digits = part.lstrip("0")
        return (_NUMBER, len(digits), digits)  # as text: int() refuses more than 4,300 digits
    return (_PRE if part in _BEFORE_RELEASE else _WORD, 0, part)
