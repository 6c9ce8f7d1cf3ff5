"""What the commands print: texts of vehicles as they are, never as markup.

Commands print by these functions only. Rich is imported when something is printed by it.
"""

from typing import TYPE_CHECKING, Any

import click

from argus_assets.common.texts import printed, rich_text

if TYPE_CHECKING:
    from rich.console import Console


def terminal(*, soft_wrap: bool = False, stderr: bool = False, **options: Any) -> "Console":  # noqa: ANN401 - Rich's own
    """Return a console that takes no text for markup, emoji codes or control characters; styles come by `Text`."""
    from rich.console import Console

    class Terminal(Console):
        """Cleans each text that is not a `Text`: those are made by `texts.rich_text`."""

        def render_str(self, text: str, **options: Any) -> Any:  # noqa: ANN401 - as in Rich
            return super().render_str(rich_text(text).plain, **options)

    return Terminal(markup=False, emoji=False, highlight=False, soft_wrap=soft_wrap, stderr=stderr, **options)


def echo(text: str = "", *, err: bool = False, fg: str | None = None, bold: bool | None = None) -> None:
    """Print lines; what in them moves a cursor or sets a colour is left out."""
    click.secho(printed(text), err=err, fg=fg, bold=bold)
