"""Order software releases: decide which of two is later, whatever versioning scheme they follow."""

import re
import unicodedata
from collections.abc import Iterable
from typing import Final

ReleaseKey = tuple[tuple[int, int, str], ...]
"""Sort key; only its order is meaningful."""

_PART: Final = re.compile(r"[0-9]+|[^\W\d_]+")
_BEFORE_RELEASE: Final = frozenset({"alpha", "beta", "dev", "pre", "preview", "rc", "snapshot"})
_PRE, _END, _WORD, _NUMBER = range(4)


def release_key(release: str) -> ReleaseKey:
    """Return a key for natural order: numbers by value, words alphabetically; case and separators are ignored.

    `2026.9` < `2026.10-rc2` < `2026.10` < `2026.10b` < `2026.10.1`: a suffix makes a release later, except for
    pre-release words (`alpha`, `beta`, `dev`, `pre`, `preview`, `rc`, `snapshot`). A leading `v` is ignored. Any text
    has a key; texts with equal keys (`2026.9` and `2026.09`) are neither earlier nor later than each other.
    """
    parts = _PART.findall(unicodedata.normalize("NFKC", release).casefold())
    if len(parts) > 1 and parts[0] == "v":
        parts = parts[1:]
    return (*(_key_of(part) for part in parts), (_END, 0, ""))


def previous_release(release: str, seen: Iterable[str]) -> str | None:
    """Return the latest of the releases in `seen` that is earlier than `release`, or `None`.

    Of releases with equal keys, the last in text order is returned.
    """
    here = release_key(release)
    earlier = [(key, other) for other in seen if (key := release_key(other)) < here]
    return max(earlier)[1] if earlier else None


def _key_of(part: str) -> tuple[int, int, str]:
    if part[0] in "0123456789":
        digits = part.lstrip("0")
        return (_NUMBER, len(digits), digits)  # as text: int() refuses more than 4,300 digits
    return (_PRE if part in _BEFORE_RELEASE else _WORD, 0, part)
