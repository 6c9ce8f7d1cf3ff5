"""Two steps of work on threads with an ordered step between them, and no more in memory than a window."""

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import ExitStack
from typing import ParamSpec, TypeVar

_P = ParamSpec("_P")
_T = TypeVar("_T")
_Item = TypeVar("_Item")
_Opened = TypeVar("_Opened")
_Done = TypeVar("_Done")


def usable_cores() -> int:
    """Cores that this process may run on, at most four: more do not pay for one recording."""
    return min(4, len(os.sched_getaffinity(0)))


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


def staged(
    items: Iterable[_Item],
    first: Callable[[_Item], _Opened],
    second: Callable[[Executor, _Opened], "Sequence[Future[_Done]]"],
    *,
    workers: int,
) -> Generator[_Done]:
    """Results in the order of the items.

    Args:
        items: Taken from the caller's thread, a window ahead.
        first: Called on a worker.
        second: Called from the caller's thread with what `first` made, in order; submits what is left to do.
        workers: Threads. With one, everything runs in the caller's.
    """
    window = 2 * workers if workers > 1 else 0
    opening: deque[Future[_Opened]] = deque()
    finishing: deque[Future[_Done]] = deque()
    with ExitStack() as stack:
        pool: Executor = (
            stack.enter_context(ThreadPoolExecutor(workers, thread_name_prefix="recording"))
            if workers > 1
            else InlineExecutor()
        )
        try:
            for item in items:
                opening.append(pool.submit(first, item))
                if len(opening) > window:
                    finishing.extend(second(pool, opening.popleft().result()))
                while len(finishing) > window:
                    yield finishing.popleft().result()
            while opening:
                finishing.extend(second(pool, opening.popleft().result()))
                while len(finishing) > window:
                    yield finishing.popleft().result()
            while finishing:
                yield finishing.popleft().result()
        finally:
            for future in (*opening, *finishing):
                future.cancel()
