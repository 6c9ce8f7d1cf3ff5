"""Two steps of work on threads with an ordered step between them, and no more in memory than a window."""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import ExitStack
from typing import ParamSpec, TypeVar

from argus_assets.common.capacity import usable_cores

_P = ParamSpec("_P")
_T = TypeVar("_T")
_Item = TypeVar("_Item")
_Opened = TypeVar("_Opened")
_Done = TypeVar("_Done")


def default_workers() -> int:
    """Return the threads for one recording: the usable cores, at most four, for more do not pay."""
    return min(4, usable_cores())


class InlineExecutor(Executor):
    """Runs everything at once in the caller's thread: what a pool of one would do, without its cost."""

    def submit(self, fn: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> "Future[_T]":
        """Call `fn`; the future is done."""
        future: Future[_T] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except BaseException as error:  # noqa: BLE001 - raised again where the result is asked for
            future.set_exception(error)
        return future


def pass_on(_: Executor, item: _T) -> "list[Future[_T]]":
    """Pass the item on: a second step without work."""
    done: Future[_T] = Future()
    done.set_result(item)
    return [done]


def staged(
    items: Iterable[_Item],
    first: Callable[[_Item], _Opened],
    second: Callable[[Executor, _Opened], "Sequence[Future[_Done]]"],
    *,
    workers: int,
    weight: Callable[[_Item], int] = lambda _: 0,
    max_weight: int = 0,
) -> Generator[_Done]:
    """Yield results in the order of the items.

    Args:
        items: Taken from the caller's thread, a window ahead.
        first: Called on a worker.
        second: Called from the caller's thread with what `first` made, in order; submits what is left to do.
        workers: Threads. With one, everything runs in the caller's.
        weight: Bytes that an item takes from when it is taken until its results are handed out.
        max_weight: Bytes that may be on their way together; an item that is heavier alone goes alone.
    """
    window = 2 * workers if workers > 1 else 0
    opening: deque[tuple[Future[_Opened], int]] = deque()
    finishing: deque[tuple[Future[_Done], int]] = deque()
    on_the_way = 0

    def go_on() -> None:
        """Begin the second step of the item that is next in order; its weight goes with its last result."""
        opened, taken = opening.popleft()
        submitted = second(pool, opened.result())
        if not submitted:
            nonlocal on_the_way
            on_the_way -= taken
        finishing.extend((future, taken if n == len(submitted) - 1 else 0) for n, future in enumerate(submitted))

    with ExitStack() as stack:
        pool: Executor = (
            stack.enter_context(ThreadPoolExecutor(workers, thread_name_prefix="recording"))
            if workers > 1
            else InlineExecutor()
        )
        try:
            for item in items:
                taken = weight(item)
                while on_the_way and on_the_way + taken > max_weight and (opening or finishing):
                    if not finishing:
                        go_on()
                        continue
                    future, freed = finishing.popleft()
                    yield future.result()
                    on_the_way -= freed
                on_the_way += taken
                opening.append((pool.submit(first, item), taken))
                if len(opening) > window:
                    go_on()
                while len(finishing) > window:
                    future, freed = finishing.popleft()
                    yield future.result()
                    on_the_way -= freed
            while opening or finishing:
                if opening and len(finishing) <= window:
                    go_on()
                    continue
                future, freed = finishing.popleft()
                yield future.result()
                on_the_way -= freed
        finally:
            for future, _ in (*opening, *finishing):
                future.cancel()
