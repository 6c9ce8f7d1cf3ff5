"""`argus status` and `argus events`: what became of batches, from Dagster's records and the bucket."""

import json
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from argus_assets.cli.output import echo, terminal
from argus_assets.common.texts import one_line, rich_text

if TYPE_CHECKING:
    import dagster as dg
    from rich.table import Table

    from argus_assets.drop.bucket import Bucket
    from argus_assets.status import BatchStatus

STATE_STYLE = {"completed": "green", "failed": "red", "pending": "dim", "uploaded": "cyan"}
WATCH_SECONDS = 2.0


@contextmanager
def _connected(home: Path | None) -> Generator[tuple["dg.DagsterInstance", "Bucket"]]:
    """The Dagster instance and the bucket of the running (or configured) platform."""
    from argus_assets.runtime.connection import connect

    with connect(home) as (instance, bucket):
        yield instance, bucket


home_option = click.option(
    "--home",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of the platform, as given to `argus up` (default: ARGUS_HOME, else ~/.argus).",
)


@click.command()
@click.argument("batch", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print JSON: one object for BATCH, else an array.")
@click.option(
    "--watch",
    is_flag=True,
    help="Show the platform at work every two seconds until Ctrl-C: queue, speed, runs, failures. With BATCH, the batch. "
    "Without a terminal a line each time, with --json an object a line.",
)
@click.option(
    "--check", is_flag=True, help="One line; exits with 1 when manifests wait and nobody looks, or a source is away."
)
@home_option
def status(batch: str | None, as_json: bool, watch: bool, check: bool, home: Path | None) -> None:
    """Show the state of all batches, or of BATCH and its recordings.

    BATCH is a partition key, VEHICLE/BATCH, or a batch id that only one vehicle has.
    """
    from rich.live import Live

    if batch is None and (watch or check):
        from argus_assets.cli import watch as live_view

        if check:
            live_view.check(home)
        else:
            live_view.watch(home, as_json=as_json)
        return
    with _connected(home) as (instance, bucket):
        if as_json:
            found = _read(instance, bucket, batch)
            document = [s.to_json() for s in found]
            click.echo(json.dumps(document[0] if batch else document, indent=2))
            return
        console = terminal()
        _warn(instance, bucket, home)
        if not watch:
            console.print(_render(_read(instance, bucket, batch), detailed=batch is not None))
            return
        with Live(console=console, auto_refresh=False) as live:
            try:
                while True:
                    live.update(_render(_read(instance, bucket, batch), detailed=batch is not None), refresh=True)
                    time.sleep(WATCH_SECONDS)
            except KeyboardInterrupt:
                return


def _warn(instance: "dg.DagsterInstance", bucket: "Bucket", home: Path | None) -> None:
    """Say so when manifests wait and nobody looks into the inbox."""
    import os

    from argus_assets.metrics_collector import inbox_silence
    from argus_assets.runtime.connection import settings_for

    told = inbox_silence(instance, bucket, interval_s=settings_for(home, os.environ).sensor_interval_s)
    if told is not None:
        echo(told, fg="red", err=True)


@click.command()
@click.argument("batch")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array.")
@home_option
def events(batch: str, as_json: bool, home: Path | None) -> None:
    """Print everything that happened to BATCH, oldest first."""
    from argus_assets.status import timeline

    with _connected(home) as (instance, _):
        found = timeline(instance, partition_of(instance, batch))
    if as_json:
        click.echo(
            json.dumps(
                [
                    {
                        "at": e.at.isoformat(),
                        "event": e.event,
                        "asset": e.asset,
                        "run_id": e.run_id,
                        "details": dict(e.details),
                    }
                    for e in found
                ],
                indent=2,
                default=str,
            )
        )
        return
    console = terminal(soft_wrap=True)
    for event in found:
        details = " ".join(f"{k}={_short(v)}" for k, v in event.details.items() if k != "manifest_digest")
        at = event.at.strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]
        console.print(f"{at} ", style="dim", end="")
        console.print(f"{event.event:<18} ", style="bold", end="")
        console.print(f"{event.asset:<13} {details}")


def _short(value: object) -> str:
    """On one line, so that an event is one."""
    return f"{value:.3g}" if isinstance(value, float) and value < 1e6 else one_line(" / ".join(str(value).splitlines()))


def partition_of(instance: "dg.DagsterInstance", batch: str) -> str:
    """Partition key of BATCH as a person named it.

    Raises:
        BadSetting: No batch is known by that name.
    """
    from argus_assets.errors import BadSetting
    from argus_assets.status import find_partition

    key = find_partition(instance, batch)
    if key is None:
        raise BadSetting(
            f"No batch is known as {batch!r}.",
            help="`argus status` lists all; give the partition key, or VEHICLE/BATCH.",
        )
    return key


def _read(instance: "dg.DagsterInstance", bucket: "Bucket", batch: str | None) -> "list[BatchStatus]":
    from argus_assets.status import batch_status, find_partition, list_batches

    if batch is None:
        return list_batches(instance, bucket)
    if find_partition(instance, batch) is None:
        only_bucket = [
            s for s in list_batches(instance, bucket) if batch in (s.batch_id, f"{s.vehicle_id}/{s.batch_id}")
        ]
        if only_bucket:
            return only_bucket[:1]
    return [batch_status(instance, bucket, partition_of(instance, batch))]


def _render(found: "list[BatchStatus]", *, detailed: bool) -> "Table":
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("batch", "state", "frames", "result"):
        table.add_column(column, overflow="fold", justify="right" if column == "frames" else "left")
    if not found:
        table.add_row("no batches yet", "", "", "drop one with `argus drop`")
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
        table.add_row(
            status.partition_key or f"{status.vehicle_id}/{status.batch_id}",
            rich_text(state, style=STATE_STYLE.get(str(status.state), "yellow")),
            frames,
            rich_text(text),
        )
        if detailed:
            for recording in status.recordings:
                count = "" if recording.frames is None else f"{recording.frames:,}"
                lost = f", {recording.frames_lost:,} frames lost" if recording.frames_lost else ""
                table.add_row(
                    f"  {recording.recording}",
                    str(recording.state),
                    count,
                    rich_text(f"{recording.format or ''}{lost}", style="dim"),
                )
    return table
