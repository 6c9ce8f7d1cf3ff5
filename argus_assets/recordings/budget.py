"""The remaining budget of one recording: one object that is carried through all readers of a file.

A reader asks before it spends: bytes before it inflates them, a channel before it opens one. A refusal is no error. The
reader goes on without what was refused, and the budget reports in the end, in one problem row for each kind, how much of it
there was, and where it began.
"""

from dataclasses import dataclass
from threading import Lock
from typing import Final, Literal

from argus_assets.common.texts import clean_name
from argus_assets.recordings.model import DEFAULT_LIMITS, Limits, Problem, ProblemLog, RecordingSummary

Counted = Literal["channels", "topics", "columns", "schemas", "blocks", "records", "values"]
"""Resources that are counted over a whole file; the limit of `x` is `Limits.max_x`, of columns `Limits.max_total_columns`."""

_LIMITS: Final[dict[Counted, str]] = {
    "channels": "max_channels",
    "topics": "max_topics",
    "columns": "max_total_columns",
    "schemas": "max_schemas",
    "blocks": "max_blocks",
    "records": "max_records",
    "values": "max_values",
}
_PER_BYTE: Final[dict[Counted, float]] = {"records": 0.25, "values": 4}
"""Amount that each byte of a file allows, where that is more."""
_MEANS: Final[dict[Counted, str]] = {
    "channels": "Frames of further channels were not read.",
    "topics": "Messages of further topics are kept as frames, undecoded; further signal groups were not read.",
    "columns": "Further fields were not read as columns.",
    "schemas": "Messages with further schemas are kept as frames, undecoded.",
    "blocks": "Further blocks were not read.",
    "records": "The rest of their chunks was not read.",
    "values": "Further messages are kept as frames, undecoded.",
}


@dataclass(slots=True)
class _Refused:
    count: int = 0
    at: int | None = None
    first: str = ""
    frames_lost: int | None = None


class Budget:
    """The budget of one file. Safe to use from several threads.

    Args:
        limits: What a file may cost.
        size_bytes: Size of the file as it was dropped; what is inside of a compression counts against it too.
    """

    def __init__(self, limits: Limits = DEFAULT_LIMITS, size_bytes: int = 0) -> None:
        self.limits = limits
        self.size_bytes = size_bytes
        self.inflated_bytes = 0
        self._taken: dict[Counted, int] = {}
        self._refused: dict[Counted, _Refused] = {}
        self._over: int | None = None
        self._lock = Lock()

    @property
    def max_inflated_bytes(self) -> int:
        """Return the bytes that the file may inflate to, over all its chunks."""
        return self.limits.total_bytes_of(self.size_bytes)

    @property
    def left_bytes(self) -> int:
        """Return the bytes that may still be inflated."""
        return 0 if self._over is not None else self.max_inflated_bytes - self.inflated_bytes

    def inflate(self, size: int, *, at: int) -> bool:
        """Spend inflated bytes; false where that is more than is left, and nothing more is to be inflated.

        Args:
            size: Bytes that a piece inflates to, as it claims or as it was found to.
            at: Offset of the piece in the file, for the problem row.
        """
        with self._lock:
            if self._over is not None:
                return False
            if self.inflated_bytes + size > self.max_inflated_bytes:
                self._over = at
                return False
            self.inflated_bytes += size
            return True

    def take(
        self, what: Counted, amount: int = 1, *, at: int | None = None, name: str = "", frames_lost: int | None = None
    ) -> bool:
        """Spend some of what is counted; false where that is more than is left.

        Args:
            what: What is spent.
            amount: How many; all or none are taken.
            at: Offset in the file, for the problem row.
            name: Of what is refused, for the problem row.
            frames_lost: Frames that are lost where it is refused; they count in the summary.
        """
        limit = self._limit(what)
        with self._lock:
            taken = self._taken.get(what, 0)
            if taken + amount <= limit:
                self._taken[what] = taken + amount
                return True
            refused = self._refused.setdefault(what, _Refused(at=at, first=clean_name(name)))
            refused.count += amount
            if frames_lost is not None:
                refused.frames_lost = (refused.frames_lost or 0) + frames_lost
            return False

    def _limit(self, what: Counted) -> int:
        return max(int(getattr(self.limits, _LIMITS[what])), int(_PER_BYTE.get(what, 0) * self.size_bytes))

    def lose(self, what: Counted, frames: int) -> None:
        """Count further frames as lost to a refusal that was reported before."""
        with self._lock:
            refused = self._refused[what]
            refused.frames_lost = (refused.frames_lost or 0) + frames

    def settle(self, summary: RecordingSummary) -> None:
        """Add what was refused to the problems of the file, once it has been read."""
        with self._lock:
            rows: list[Problem] = []
            if self._over is not None:
                rows.append(
                    Problem(
                        "over_limit", f"at most {self.max_inflated_bytes:,} bytes inflated from {self.size_bytes:,}", "more",
                        self._over, None,
                        "Looks like a decompression bomb; what was inflated before was read. If the recording is genuine, "
                        "raise max_total_ratio or max_total_bytes (ARGUS_LIMITS).",
                    )
                )  # fmt: skip
            for what, refused in self._refused.items():
                name = _LIMITS[what]
                limit = self._limit(what)
                first = f", the first of them {refused.first!r}" if refused.first else ""
                rows.append(
                    Problem(
                        "over_limit", f"at most {limit:,} {what}", f"{refused.count:,} more{first}", refused.at,
                        refused.frames_lost,
                        f"{_MEANS[what]} If the recording is genuine, raise {name} (ARGUS_LIMITS).",
                    )
                )  # fmt: skip
            self._over, self._refused = None, {}
        summary.problems += rows
        summary.frames_lost += sum(row.frames_lost or 0 for row in rows)
        if isinstance(summary.problems, ProblemLog):
            summary.problems.settle()
