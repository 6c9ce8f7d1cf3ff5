"""A bar for long work, on a terminal only."""

from collections.abc import Callable, Generator
from contextlib import contextmanager

from argus_assets.cli.output import terminal


@contextmanager
def progress(what: str, total: int) -> Generator[Callable[[int], None]]:
    """A bar on a terminal; yields what advances it."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = terminal(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task(what, total=total)
        yield lambda n: bar.advance(task, n)
