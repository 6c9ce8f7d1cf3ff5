"""`argus demo`: all of Argus on a simulated fleet, from drop to diagnosis, checked against the ground truth."""

import os
import shutil
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from argus_assets.cli.context import bucket_of
from argus_assets.cli.output import counted, table, terminal
from argus_assets.common.texts import rich_text

if TYPE_CHECKING:
    from rich.console import Console

    from argus_assets.drop.bucket import Bucket
    from argus_assets.runtime.supervisor import Supervisor
    from argus_assets.simulate.fleet import Drive
    from argus_assets.status import BatchStatus

DRIVE_S: Final = 60.0
MAX_WAIT_S: Final = 420.0
BROKEN: Final = "car-99"


@dataclass(frozen=True, slots=True)
class _Expected:
    drive: "Drive"
    broken: bool


@click.command()
@click.option(
    "--home",
    default=Path(".argus/demo"),
    show_default=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder to run in; emptied first.",
)
@click.option("--keep", is_flag=True, help="Keep Argus and its UI running until Ctrl-C.")
@click.option(
    "--port", default=0, type=click.IntRange(0, 65535), help="Port of the Dagster UI (default: any free one)."
)
@click.option("--seed", default=1, show_default=True, type=click.IntRange(0), help="Seed of the fleet.")
def demo(home: Path, keep: bool, port: int, seed: int) -> None:
    """Simulate a fleet, drop its drives into S3, let Dagster process them, and check every diagnosis.

    Exits with 0 only if each healthy drive completed without a fault, each faulty one was diagnosed with its planted
    cause first, and the broken upload was quarantined with its reason.
    """
    from argus_assets.runtime.embedded.s3 import s3_server
    from argus_assets.runtime.supervisor import Supervisor
    from argus_assets.settings import Settings

    def interrupt(_signum: int, _frame: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)
    console = terminal(soft_wrap=True)
    home = home.absolute()
    _empty(home)
    with s3_server(home / "s3-server.log", dict(os.environ)) as s3:
        os.environ.update(s3.environment())
        settings = Settings(home=home, bucket_url=s3.url, lake_url=str(home / "lake"), sensor_interval_s=2, port=port)
        _step(console, 1, f"Starting Argus in {home}")
        supervisor = Supervisor(settings, on_event=lambda name, text: console.print(f"   {name:<12} {text}"))
        console.print(f"   {'s3 server':<12} {s3.endpoint}, bucket {s3.bucket}")
        started = time.monotonic()
        supervisor.start()
        try:
            console.print(f"   ready after {time.monotonic() - started:.0f} s\n")
            bucket = bucket_of(settings)
            expected = _drop_fleet(console, bucket, home / "fleet", seed)
            found = _wait(console, supervisor, bucket, len(expected))
            ok = _report(console, expected, found)
            _say_where(console, home / "lake", expected, found)
            if keep:
                _hold(console, supervisor)
            else:
                console.print(
                    "The Dagster UI ran at " + supervisor.ui_url + "; `make demo KEEP=1` leaves it running.",
                    markup=False,
                )
        finally:
            try:
                console.print("Stopping Argus …")
            finally:  # also when the output is closed
                supervisor.stop()
    sys.exit(0 if ok else 1)


def _empty(home: Path) -> None:
    """Empty the folder of an earlier demo; never remove a folder that is not a demo's."""
    from argus_assets.errors import BadSetting
    from argus_assets.runtime.embedded.postgres import EmbeddedPostgres
    from argus_assets.runtime.home_lock import home_is_taken, owner_of
    from argus_assets.runtime.private_folder import own_home

    marker = home / ".argus-demo"
    if home.exists() and any(home.iterdir()):
        if not marker.exists():
            raise BadSetting(f"{home} is not empty and not a demo's folder.", help="Give another --home.")
        if owner_of(home) is not None:
            raise home_is_taken(home)
        left = EmbeddedPostgres(home / "postgres")  # by a demo that was killed
        left.stop("immediate")
        shutil.rmtree(left.place, ignore_errors=True)
        shutil.rmtree(home)
    own_home(home)
    marker.touch()


def _step(console: "Console", number: int, text: str) -> None:
    console.print(f"{number}. ", style="bold", end="")
    console.print(text)


def _drop_fleet(console: "Console", bucket: "Bucket", folder: Path, seed: int) -> list[_Expected]:
    """Simulate and drop a drive of each of the demo's scenarios, and one with a bit flipped on its way."""
    import numpy as np
    from rich.progress import Progress

    from argus_assets.drop.keys import recording_key
    from argus_assets.drop.upload import drop_manifest
    from argus_assets.simulate.damage import flip_bits
    from argus_assets.simulate.drop import upload_drive
    from argus_assets.simulate.fleet import simulate_drive, simulate_fleet
    from argus_assets.simulate.scenarios import DEMO
    from argus_assets.simulate.vin import make_vin

    _step(console, 2, f"Simulating {len(DEMO)} drives and one broken upload, dropping them through S3")
    started_ns = (time.time_ns() // 10**9 - 7200) * 10**9
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("   simulating", total=len(DEMO) + 1)
        drives = simulate_fleet(
            folder,
            seed=seed,
            scenarios=DEMO,
            started_ns=started_ns,
            seconds=DRIVE_S,
            on_drive=lambda _: progress.advance(task),
        )
        broken = simulate_drive(
            folder / BROKEN / "drive-0099",
            scenario="car_healthy",
            seed=seed,
            vehicle_id=BROKEN,
            vin=make_vin(np.random.default_rng(seed)),
            release="2026.11",
            batch_id="drive-0099",
            started_ns=started_ns,
            seconds=DRIVE_S,
        )
        progress.advance(task)
        task = progress.add_task("   dropping", total=len(drives) + 1)
        for drive in [*drives, broken]:
            manifest = upload_drive(bucket, drive)
            if drive is broken:
                damaged = drive.files[-1]
                flip_bits(damaged, 1, seed)
                bucket.put(recording_key(drive.vehicle_id, drive.batch_id, damaged.name), damaged.read_bytes())
            drop_manifest(bucket, manifest)
            progress.advance(task)
    expected = [_Expected(d, broken=d is broken) for d in [*drives, broken]]
    size = sum(f.stat().st_size for e in expected for f in e.drive.files)
    frames = sum(e.drive.frames for e in expected)
    console.print(f"   {counted(len(expected), 'batch')}, {size / 1e6:.1f} MB, {frames:,} frames\n")
    return expected


def _wait(console: "Console", supervisor: "Supervisor", bucket: "Bucket", count: int) -> "dict[str, BatchStatus]":
    """Wait until every batch has ended; return their states by vehicle."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    from argus_assets.pipeline import BatchState
    from argus_assets.status import list_batches

    _step(console, 3, "Waiting for the sensor and the daemon")
    started = time.monotonic()
    ended = {BatchState.COMPLETED, BatchState.FAILED}
    columns = (
        TextColumn("   {task.description}"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total}"),
        TimeElapsedColumn(),
    )
    with (
        supervisor.instance() as instance,
        Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress,
    ):
        task = progress.add_task("waiting", total=count)
        printed = ""
        while True:
            found = {status.vehicle_id: status for status in list_batches(instance, bucket)}
            states = [status.state for status in found.values()]
            text = ", ".join(f"{states.count(state)} {state}" for state in BatchState if state in states)
            progress.update(task, completed=sum(state in ended for state in states), description=text)
            if not console.is_terminal and text != printed:
                console.print(f"   {time.monotonic() - started:4.0f} s  {text}")
                printed = text
            if len(states) >= count and all(state in ended for state in states):
                break
            if time.monotonic() - started > MAX_WAIT_S:
                console.print(
                    f"   gave up after {MAX_WAIT_S:.0f} s; the logs are in {supervisor.settings.home / 'logs'}",
                    style="red",
                )
                break
            supervisor.watch()
            time.sleep(1.0)
    console.print(
        f"   {counted(len(found), 'batch')} finished {time.monotonic() - started:.0f} s after the last was dropped\n"
    )
    return found


def _report(console: "Console", expected: list[_Expected], found: "dict[str, BatchStatus]") -> bool:
    """Print the result of each batch beside what was planted; return whether all are right."""
    from rich.text import Text

    _step(console, 4, "Results")
    made = table("", "batch", "state", "diagnosis")
    all_right = True
    for entry in expected:
        status = found.get(entry.drive.vehicle_id)
        right, text = _judge(entry, status)
        all_right &= right
        mark = Text("ok", style="green") if right else Text("WRONG", style="bold red")
        planted = "a bit flipped on its way" if entry.broken else (entry.drive.root_cause or "no fault")
        state = Text(
            str(status.state) if status else "not found",
            style="green" if status and status.state == "completed" else "yellow",
        )
        outcome = rich_text(text)
        outcome.append(f"\nplanted: {planted}", style="dim")
        made.add_row(mark, f"{entry.drive.vehicle_id}/{entry.drive.batch_id}", state, outcome)
    console.print(made)
    if all_right:
        console.print(f"\nAll {counted(len(expected), 'batch')} ended as planted.", style="green")
    else:
        console.print("\nSome batches did not end as planted.", style="bold red")
    return all_right


def _judge(entry: _Expected, status: "BatchStatus | None") -> tuple[bool, str]:
    """Return whether a batch ended as planted, and its outcome in a line."""
    if status is None or status.result is None:
        return False, (status.reason or "no result") if status else "no result"
    result = status.result
    if entry.broken:
        damaged = entry.drive.files[-1].name
        caught = any(r.kind == "wrong_sha256" and r.file == damaged for r in result.reasons)
        first = result.reasons[0] if result.reasons else None
        text = f"{result.state}: {first.file} ({first.kind})" if first else status.reason or ""
        return status.state == "failed" and result.state == "quarantined" and caught, text
    causes = result.root_causes
    text = f"{result.severity}: " + (
        f"{causes[0].title} ({causes[0].confidence:.0%})" if causes else str(result.verdict)
    )
    right = (causes[0].cause if causes else None) == entry.drive.root_cause and result.frames == entry.drive.frames
    return status.state == "completed" and right, text


def _say_where(console: "Console", lake: Path, expected: list[_Expected], found: "dict[str, BatchStatus]") -> None:
    """Print where the pages are, with a clickable address of one that shows a fault."""
    from argus_assets.lake import layout

    console.print(f"\nPages of all batches: {lake / layout.BATCHES}/…/report.html")
    for entry in expected:
        status = found.get(entry.drive.vehicle_id)
        if entry.drive.root_cause and status is not None and status.partition_key:
            page = lake / layout.document(status.partition_key, layout.PAGE)
            if page.exists():
                console.print(f"For example: {page.as_uri()}")
                return


def _hold(console: "Console", supervisor: "Supervisor") -> None:
    console.print(f"\nThe Dagster UI is at {supervisor.ui_url}. Ctrl-C stops it.")
    try:
        while True:
            supervisor.watch()
            time.sleep(1.0)
    except KeyboardInterrupt:
        console.print()
