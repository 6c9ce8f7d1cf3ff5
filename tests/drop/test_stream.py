"""Ranged reads give the bytes of the object, hash each once, and keep no more than their window."""

import hashlib
import io
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from argus_assets.drop.bucket import Bucket
from argus_assets.drop.stream import RangedSource
from argus_assets.errors import Unavailable

MOVES = st.lists(
    st.one_of(
        st.tuples(st.just("read"), st.integers(-1, 400), st.just(0)),
        st.tuples(st.just("seek"), st.integers(0, 2200), st.just(0)),
        st.tuples(st.just("seek"), st.integers(-300, 0), st.just(2)),
        st.tuples(st.just("seek"), st.integers(0, 50), st.just(1)),
    ),
    max_size=30,
)


class Store:
    """Bytes behind `fetch`, which counts."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.asked: list[int] = []
        self.lock = threading.Lock()

    def fetch(self, start: int, end: int) -> bytes:
        with self.lock:
            self.asked.append(start)
        return self.data[start:end]


@given(st.binary(max_size=2000), MOVES, st.integers(1, 300), st.integers(2, 6))
@settings(max_examples=150, deadline=None)
def test_it_reads_as_a_file_does(data: bytes, moves: list[tuple[str, int, int]], block: int, window: int) -> None:
    store = Store(data)
    plain = io.BytesIO(data)
    with RangedSource(store.fetch, len(data), block_bytes=block, window=window) as source:
        for what, number, whence in moves:
            if what == "read":
                assert source.read(number) == plain.read(number)
            elif not (whence == 2 and len(data) + number < 0):
                assert source.seek(number, whence) == plain.seek(number, whence)
            assert source.tell() == plain.tell()
            assert source.blocks_held <= window + 1
        assert source.finish() == (hashlib.sha256(data).hexdigest(), len(data))


@given(st.integers(1, 5000), st.integers(1, 300))
@settings(max_examples=50, deadline=None)
def test_reading_forward_asks_for_each_block_once(size: int, block: int) -> None:
    store = Store(bytes(size))
    with RangedSource(store.fetch, size, block_bytes=block) as source:
        while source.read(97):
            pass
        source.finish()
    assert sorted(store.asked) == list(range(0, size, block))


def test_blocks_ahead_are_on_their_way_while_one_is_read() -> None:
    together = threading.Barrier(3, timeout=10)

    def fetch(start: int, end: int) -> bytes:
        if start < 30:
            together.wait()  # passes only when three reads are under way at once
        return bytes(end - start)

    with RangedSource(fetch, 100, block_bytes=10) as source:
        assert source.read(10) == bytes(10)


def test_what_fails_for_a_moment_is_tried_again() -> None:
    failures = [Unavailable("busy", help=""), Unavailable("busy", help="")]

    def fetch(start: int, end: int) -> bytes:
        if start == 0 and failures:
            raise failures.pop()
        return bytes(end - start)

    with RangedSource(fetch, 30, block_bytes=10) as source:
        assert source.read() == bytes(30)


def test_an_object_that_became_shorter_is_told() -> None:
    with (
        RangedSource(lambda start, end: bytes(5) if start == 10 else bytes(end - start), 30, block_bytes=10) as source,
        pytest.raises(Unavailable, match="Bytes 10 to 20 could not be read whole"),
    ):
        source.read()


def test_it_reads_from_a_bucket(bucket: Bucket, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    data = hashlib.shake_256(b"x").digest(300_000)
    monkeypatch.setattr("argus_assets.drop.stream.BLOCK_BYTES", 64 * 1024)
    bucket.put("batches/truck-1/b1/a.bin", data)
    with bucket.stream("batches/truck-1/b1/a.bin", size=len(data)) as source:
        source.seek(-10, 2)
        assert source.read() == data[-10:]
        source.seek(100)
        assert source.read(70_000) == data[100:70_100]
        assert source.finish() == (hashlib.sha256(data).hexdigest(), len(data))
