"""`argus events`: everything that happened to a batch, from Dagster's event log."""

from pathlib import Path

import click

from argus_assets.cli.context import connected
from argus_assets.cli.options import home_option, json_option
from argus_assets.cli.output import print_json, terminal
from argus_assets.common.texts import one_line


@click.command()
@click.argument("batch")
@json_option
@home_option
def events(batch: str, as_json: bool, home: Path | None) -> None:
    """Print everything that happened to BATCH, oldest first.

    BATCH is a partition key, VEHICLE/BATCH, or a batch id that only one vehicle has.
    """
    from argus_assets.event_log.events import DIGEST
    from argus_assets.status import timeline

    with connected(home) as context:
        found = timeline(context.instance, context.partition_of(batch))
    if as_json:
        print_json(
            [
                {
                    "at": e.at.isoformat(),
                    "event": e.event,
                    "asset": e.asset,
                    "run_id": e.run_id,
                    "details": dict(e.details),
                }
                for e in found
            ]
        )
        return
    console = terminal(soft_wrap=True)
    for event in found:
        details = " ".join(f"{k}={_short(v)}" for k, v in event.details.items() if k != DIGEST)
        at = event.at.strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]
        console.print(f"{at} ", style="dim", end="")
        console.print(f"{event.event:<18} ", style="bold", end="")
        console.print(f"{event.asset:<13} {details}")


def _short(value: object) -> str:
    """Return a value on one line, so that an event is one."""
    return f"{value:.3g}" if isinstance(value, float) and value < 1e6 else one_line(" / ".join(str(value).splitlines()))
