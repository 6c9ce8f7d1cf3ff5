"""Output of all commands: texts, tables, JSON, counts with their nouns, and a progress bar.

Texts of vehicles are printed as they are, never as markup. Rich is imported when something is printed by it.
"""

import json
from collections.abc import Callable, Collection, Generator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from argus_assets.common.texts import printed, rich_text

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from argus_assets.errors import ArgusError


def terminal(*, soft_wrap: bool = False, stderr: bool = False, **options: Any) -> "Console":  # noqa: ANN401 - Rich's own
    """Return a console that takes no text for markup, emoji codes or control characters; styles come by `Text`."""
    from rich.console import Console

    class Terminal(Console):
        """Cleans each text that is not a `Text`: those are made by `texts.rich_text`."""

        def render_str(self, text: str, **options: Any) -> Any:  # noqa: ANN401 - as in Rich
            return super().render_str(rich_text(text).plain, **options)

    return Terminal(markup=False, emoji=False, highlight=False, soft_wrap=soft_wrap, stderr=stderr, **options)


def echo(text: str = "", *, err: bool = False, fg: str | None = None, bold: bool | None = None) -> None:
    """Print lines without what moves a cursor or sets a colour."""
    click.secho(printed(text), err=err, fg=fg, bold=bold)


def print_error(error: "ArgusError") -> None:
    """Print an error and what helps on standard error."""
    echo(f"error: {error.what}", fg="red", err=True)
    if error.help:
        echo(f"  {error.help}", err=True)


def print_json(document: object, *, indent: int | None = 2) -> None:
    """Print a JSON document; on one line with `indent=None`. Dates are written as text."""
    click.echo(json.dumps(document, indent=indent, default=str))


def table(*columns: str, right: Collection[str] = (), whole: Collection[str] = (), title: str | None = None) -> "Table":
    """Return an empty table without lines.

    Args:
        columns: Headers.
        right: Columns aligned to the right, such as numbers.
        whole: Columns that are never folded, such as codes that people search for.
        title: A line above it.
    """
    from rich.table import Table

    made = Table(
        title=title, title_justify="left", title_style="", box=None, pad_edge=False, header_style="bold",
        padding=(0, 2, 0, 0),
    )  # fmt: skip
    for column in columns:
        made.add_column(
            column, justify="right" if column in right else "left", no_wrap=column in whole, overflow="fold"
        )
    return made


def counted(count: int, noun: str) -> str:
    """Return a count with its noun in the right number: `1 drive`, `2,048 batches`, `0 entries`."""
    if count == 1:
        return f"1 {noun}"
    if noun.endswith(("ch", "sh", "s", "x")):
        plural = f"{noun}es"
    elif noun.endswith("y") and noun[-2] not in "aeiou":
        plural = f"{noun[:-1]}ies"
    else:
        plural = f"{noun}s"
    return f"{count:,} {plural}"


def shortened(texts: Sequence[str], limit: int) -> str:
    """Return the first distinct texts on one line, and how many more there are."""
    distinct = list(dict.fromkeys(texts))
    more = f" and {len(distinct) - limit:,} more" if len(distinct) > limit else ""
    return ", ".join(distinct[:limit]) + more


@contextmanager
def progress(what: str, total: int) -> Generator[Callable[[int], None]]:
    """Show a bar on a terminal, on standard error; yield the function that advances it."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = terminal(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task(what, total=total)
        yield lambda n: bar.advance(task, n)
