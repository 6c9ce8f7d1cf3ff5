"""Cores and memory of a run: never more is held than there is, a small request passes a large one, nobody starves."""

import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from argus_assets.common.capacity import MIB, Capacity, WeightedSemaphore, computing_bytes, machine_memory
from argus_assets.recordings.contained import reader_bytes


@given(amounts=st.lists(st.integers(0, 12), min_size=1, max_size=30), total=st.integers(1, 10))
@settings(max_examples=30)
def test_never_more_is_held_than_there_is_and_everybody_gets_a_turn(amounts: list[int], total: int) -> None:
    share = WeightedSemaphore(total)
    lock = threading.Lock()
    held = most = 0

    def take(amount: int) -> None:
        nonlocal held, most
        with share.hold(amount):
            with lock:
                held += min(amount, total)
                most = max(most, held)
            time.sleep(random.random() / 2000)
            with lock:
                held -= min(amount, total)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(take, amounts))
    assert most <= total
    assert held == 0
    with share.hold(total):
        pass  # everything came back


def test_a_small_request_passes_a_large_one_that_waits() -> None:
    share = WeightedSemaphore(10)
    large_is_in = threading.Event()

    def large() -> None:
        with share.hold(10):
            large_is_in.set()

    with share.hold(4):
        waiting = threading.Thread(target=large)
        waiting.start()
        time.sleep(0.05)
        with share.hold(6):
            assert not large_is_in.is_set()
    waiting.join(10)
    assert large_is_in.is_set()


def test_what_is_held_comes_back_after_an_error() -> None:
    capacity = Capacity.of(cores=1, memory_bytes=100)
    for _ in range(3):
        with pytest.raises(ZeroDivisionError), capacity.computing(1000), capacity.reading(0):
            _ = 1 / 0
    with capacity.computing(100):
        pass


def test_estimates_grow_with_the_recording_up_to_what_decoders_hold() -> None:
    assert reader_bytes(0) < reader_bytes(50 * MIB) < reader_bytes(10**9) == reader_bytes(10**12)
    assert computing_bytes(0) > 0
    assert computing_bytes(10**8) > 10 * computing_bytes(10**6)
    assert machine_memory() > 256 * MIB
