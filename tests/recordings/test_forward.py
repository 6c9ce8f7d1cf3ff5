"""What the readers of all formats share: the block in memory, groups of work, damage that is counted, batches."""

import io
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from argus_assets.recordings.budget import Budget
from argus_assets.recordings.formats import forward
from argus_assets.recordings.formats.forward import Block, ForwardReader, Repeated, grouped
from argus_assets.recordings.model import FrameBatch, Limits
from argus_assets.recordings.schema import DIAGNOSTICS, FRAMES, LOGS


@given(st.binary(max_size=300), st.lists(st.tuples(st.integers(0, 310), st.integers(0, 90)), max_size=20))
def test_a_block_reads_what_the_file_holds(data: bytes, reads: list[tuple[int, int]]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(forward, "BLOCK_BYTES", 50)
        block = Block(io.BytesIO(data), len(data))
        for at, size in reads:
            assert block.read(at, size) == data[at : at + size]


@given(st.lists(st.integers(0, 30), max_size=50), st.integers(1, 60))
def test_groups_keep_the_order_and_are_no_larger_than_they_have_to_be(sizes: list[int], min_bytes: int) -> None:
    groups = list(grouped(sizes, lambda size: size, min_bytes))
    assert [size for group in groups for size in group] == sizes
    assert all(sum(group) >= min_bytes > sum(group[:-1]) for group in groups[:-1])


def test_repeated_damage_keeps_the_place_of_the_first() -> None:
    damage = Repeated()
    damage.add(0, 5, "none")
    damage.add(2, 40, "later")
    damage.add(1, 30, "first")
    assert (damage.count, damage.at, damage.example) == (3, 30, "first")


class Counting(ForwardReader[int]):
    """A reader of streams of numbers: each is a piece of so many frames and bytes."""

    max_batch_bytes = 100

    def __init__(self, streams: list[list[int]], limits: Limits) -> None:
        super().__init__(io.BytesIO(), Budget(limits), name="counting", version=1)
        self._of = streams

    def _streams(self) -> Iterator[Iterator[int]]:
        yield from map(iter, self._of)

    def _take(self, decoded: int) -> tuple[FrameBatch, int]:
        self.summary.frames += decoded
        frames = FRAMES.empty().clear(decoded)
        return FrameBatch(frames, LOGS.empty(), DIAGNOSTICS.empty()), decoded

    def _finish(self) -> None:
        self.summary.try_again = True


@pytest.mark.parametrize(
    ("streams", "batch_frames", "expected"),
    [
        ([[1, 2, 3]], 1000, [6]),
        ([[1, 2, 3]], 3, [3, 3]),
        ([[1, 2], [3]], 1000, [3, 3]),
        ([[60, 60, 1]], 1000, [120, 1]),
        ([[0, 0], []], 1000, []),
    ],
    ids=["all at once", "by frames", "by stream", "by bytes", "nothing"],
)
def test_batches_end_by_frames_bytes_and_streams(
    streams: list[list[int]], batch_frames: int, expected: list[int]
) -> None:
    reader = Counting(streams, Limits(batch_frames=batch_frames))
    assert [batch.frames.height for batch in reader] == expected
    assert reader.summary.try_again, "finished at the end"
    assert reader.summary.decoder == "counting/1"
