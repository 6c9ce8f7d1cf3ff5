"""Check what must hold for any bytes."""

from argus_assets.recordings.model import FrameBatch, Limits, RecordingSummary, concat_batches
from argus_assets.recordings.reading import open_recording
from argus_assets.recordings.schema import DAMAGE_KINDS, DIAGNOSTICS, FRAMES, LOGS

LIMITS = Limits(max_chunk_bytes=4 * 1024**2, max_total_bytes=64 * 1024**2, batch_frames=1000, workers=1)
_READ_TIMES = 200
_READ_BYTES = 64 * 1024**2


class Endless(AssertionError):
    """More was read than progress explains."""


class Counted:
    """A source that counts what is read; see `recordings.model.Source`."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0
        self._left = _READ_BYTES + _READ_TIMES * len(data)

    def seek(self, offset: int, whence: int = 0, /) -> int:
        self._at = offset + (0, self._at, len(self._data))[whence]
        if self._at < 0:
            raise ValueError("negative seek position")
        return self._at

    def tell(self) -> int:
        return self._at

    def read(self, size: int = -1, /) -> bytes:
        out = self._data[self._at :] if size < 0 else self._data[self._at : self._at + size]
        self._at += len(out)
        self._left -= len(out) + 16
        if self._left < 0:
            raise Endless(f"more than {_READ_TIMES} times the file's {len(self._data)} bytes were read")
        return out


def check(data: bytes) -> tuple[FrameBatch, RecordingSummary]:
    """Read any bytes; nothing may be raised, and tables and summary have to agree."""
    reader = open_recording(Counted(data), limits=LIMITS)
    batches = list(reader)
    summary = reader.summary
    for batch in batches:
        FRAMES.check(batch.frames)
        LOGS.check(batch.logs)
        DIAGNOSTICS.check(batch.diagnostics)
        for table in batch.topics.values():
            assert table.columns[:2] == ["frame", "timestamp"]
    whole = concat_batches(batches)
    frames = whole.frames
    assert summary.frames == frames.height
    assert frames["frame"].to_list() == list(range(frames.height))
    assert sum(c.frames for c in summary.channels) == frames.height, (summary.channels, frames.height)
    if frames.height:
        times = frames["timestamp"].to_physical()
        assert summary.first_timestamp_ns is not None
        assert summary.last_timestamp_ns is not None
        assert summary.first_timestamp_ns <= times.min()  # type: ignore[operator]
        assert summary.last_timestamp_ns >= times.max()  # type: ignore[operator]
    assert summary.frames_lost >= 0
    for problem in summary.problems:
        assert problem.kind in DAMAGE_KINDS
        assert problem.expected
        assert problem.actual
        assert problem.offset is None or 0 <= problem.offset < 2**63
    assert sum(p.frames_lost or 0 for p in summary.problems) == summary.frames_lost
    return whole, summary
