"""`argus status`: the state of batches, from Dagster's records and the bucket."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from argus_assets.cli.context import Context, connected
from argus_assets.cli.options import home_option
from argus_assets.cli.output import echo, print_json, table, terminal
from argus_assets.common.texts import rich_text

if TYPE_CHECKING:
    from rich.table import Table

    from argus_assets.status import BatchStatus

STATE_STYLE: Final = {"completed": "green", "failed": "red", "pending": "dim", "uploaded": "cyan"}
REFRESH_S: Final = 2.0


@click.command()
@click.argument("batch", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print JSON: one object for BATCH, else an array.")
@click.option(
    "--watch",
    is_flag=True,
    help="Show Argus at work until Ctrl-C: queue, throughput, runs, failures; with BATCH, that batch. Refreshes every "
    "two seconds. Without a terminal it prints a line each time, with --json an object a line.",
)
@click.option(
    "--check",
    is_flag=True,
    help="Print one line of health; exit with 1 if manifests wait and the sensor is not ticking, or a source does not answer.",
)
@home_option
def status(batch: str | None, as_json: bool, watch: bool, check: bool, home: Path | None) -> None:
    """Show the state of all batches, or of BATCH and its recordings.

    BATCH is a partition key, VEHICLE/BATCH, or a batch id that only one vehicle has.
    """
    if batch is None and (watch or check):
        from argus_assets.cli import watch as live_view

        if check:
            live_view.check(home)
        else:
            live_view.watch(home, as_json=as_json)
        return
    from rich.live import Live

    with connected(home) as context:
        if as_json:
            document = [s.to_json() for s in _read(context, batch)]
            print_json(document[0] if batch else document)
            return
        console = terminal()
        _warn(context)
        if not watch:
            console.print(render(_read(context, batch), detailed=batch is not None))
            return
        with Live(console=console, auto_refresh=False) as live:
            try:
                while True:
                    live.update(render(_read(context, batch), detailed=batch is not None), refresh=True)
                    time.sleep(REFRESH_S)
            except KeyboardInterrupt:
                return


def _warn(context: Context) -> None:
    """Print a warning if manifests wait and the sensor is not ticking."""
    from argus_assets.metrics_collector import inbox_silence

    warning = inbox_silence(context.instance, context.bucket, interval_s=context.settings.sensor_interval_s)
    if warning is not None:
        echo(warning, fg="red", err=True)


def _read(context: Context, batch: str | None) -> "list[BatchStatus]":
    from argus_assets.status import batch_status, find_partition, list_batches

    instance, bucket = context.instance, context.bucket
    if batch is None:
        return list_batches(instance, bucket)
    if find_partition(instance, batch) is None:
        only_bucket = [
            s for s in list_batches(instance, bucket) if batch in (s.batch_id, f"{s.vehicle_id}/{s.batch_id}")
        ]
        if only_bucket:
            return only_bucket[:1]
    return [batch_status(instance, bucket, context.partition_of(batch))]


def render(found: "list[BatchStatus]", *, detailed: bool) -> "Table":
    """Return the batches as a table, with their recordings if detailed."""
    made = table("batch", "state", "frames", "result", right=["frames"])
    if not found:
        made.add_row("no batches yet", "", "", "drop one with `argus drop`")
    for status in found:
        result = status.result
        text = status.reason or ""
        if not text and result is not None and result.state == "completed":
            cause = (
                f": {result.root_causes[0].title} ({result.root_causes[0].confidence:.0%})"
                if result.root_causes
                else ""
            )
            text = f"{result.severity}{cause}" if cause else str(result.verdict)
        state = str(status.state) + (f" at {status.failed_stage}" if status.failed_stage else "")
        frames = f"{result.frames:,}" if result is not None and result.frames else ""
        made.add_row(
            status.partition_key or f"{status.vehicle_id}/{status.batch_id}",
            rich_text(state, style=STATE_STYLE.get(str(status.state), "yellow")),
            frames,
            rich_text(text),
        )
        if detailed:
            for recording in status.recordings:
                count = "" if recording.frames is None else f"{recording.frames:,}"
                lost = f", {recording.frames_lost:,} frames lost" if recording.frames_lost else ""
                made.add_row(
                    f"  {recording.recording}",
                    str(recording.state),
                    count,
                    rich_text(f"{recording.format or ''}{lost}", style="dim"),
                )
    return made
