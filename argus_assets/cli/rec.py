"""`argus rec`: inspect recordings without a running Argus."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from argus_assets.cli import LazyGroup
from argus_assets.cli.options import decoders_option, limits_option, load_decoders, load_limits
from argus_assets.cli.output import counted, echo, print_json, table, terminal
from argus_assets.cli.reading import read_files
from argus_assets.common.texts import rich_text

if TYPE_CHECKING:
    from argus_assets.recordings.model import RecordingSummary


@click.group(cls=LazyGroup, commands_at={"events": "argus_assets.cli.rec_events:events"})
def rec() -> None:
    """Inspect recordings without a running Argus."""


FILES = click.Path(path_type=Path, exists=True, dir_okay=False)


@rec.command()
@click.argument("files", nargs=-1, required=True, type=FILES)
@click.option("--json", "as_json", is_flag=True, help="Print JSON: an object for one FILE, an array for several.")
@decoders_option
@limits_option
def info(files: tuple[Path, ...], as_json: bool, declarations: Path | None, limits_file: Path | None) -> None:
    """Show format, frames, time range, channels and damage of each FILE.

    Exits with 1 if nothing could be read of one of them.
    """
    decoders, limits = load_decoders(declarations), load_limits(limits_file)
    summaries: list[tuple[Path, RecordingSummary]] = []
    for path in files:
        with read_files([path], decoders=decoders, limits=limits, with_tables=False) as (part,):
            summaries.append((path, part.summary))
    if as_json:
        documents = [_document(path, summary) for path, summary in summaries]
        print_json(documents[0] if len(documents) == 1 else documents)
    else:
        for path, summary in summaries:
            _print(path, summary)
    if any(s.frames == 0 and s.problems for _, s in summaries):
        raise SystemExit(1)


@rec.command()
@click.argument("file", type=FILES)
@click.option(
    "--to", "to", required=True, type=click.Path(path_type=Path, dir_okay=False), help="Parquet file to write."
)
@decoders_option
@limits_option
def frames(file: Path, to: Path, declarations: Path | None, limits_file: Path | None) -> None:
    """Write the frame table of FILE as Parquet (columns: docs/tables.md)."""
    import shutil

    from argus_assets.common.atomic_file import atomic_file

    with read_files([file], decoders=load_decoders(declarations), limits=load_limits(limits_file)) as (part,):
        summary = part.summary
        to.parent.mkdir(parents=True, exist_ok=True)
        with (part.folder / "frames.parquet").open("rb") as source, atomic_file(to) as target:
            shutil.copyfileobj(source, target)
    echo(f"{counted(summary.frames, 'frame')} in {to}")
    for problem in summary.problems:
        echo(
            f"{problem.kind}: expected {problem.expected}, found {problem.actual}. {problem.help}",
            fg="yellow",
            err=True,
        )
    if summary.frames == 0 and summary.problems:
        raise SystemExit(1)


def _document(path: Path, summary: "RecordingSummary") -> dict[str, Any]:
    return {
        "path": str(path),
        "format": summary.format,
        "decoder": summary.decoder,
        "size_bytes": summary.size_bytes,
        "frames": summary.frames,
        "frames_lost": summary.frames_lost,
        "first_timestamp_ns": summary.first_timestamp_ns,
        "last_timestamp_ns": summary.last_timestamp_ns,
        "channels": [asdict(c) for c in summary.channels],
        "problems": [asdict(p) for p in summary.problems],
    }


def _print(path: Path, summary: "RecordingSummary") -> None:
    from datetime import UTC, datetime

    console = terminal()
    console.print(rich_text(str(path), style="bold"))
    console.print(f"  format    {summary.format}, {summary.size_bytes:,} bytes")
    lost = f", {summary.frames_lost:,} lost" if summary.frames_lost else ""
    console.print(f"  frames    {summary.frames:,}{lost}")
    if summary.first_timestamp_ns is not None and summary.last_timestamp_ns is not None:
        start = datetime.fromtimestamp(summary.first_timestamp_ns // 10**9, UTC)
        seconds = (summary.last_timestamp_ns - summary.first_timestamp_ns) / 1e9
        console.print(f"  time      {start:%Y-%m-%d %H:%M:%S} UTC, {seconds:,.3f} s")
    if summary.channels:
        made = table("  channel", "kind", "frames", "schema", right=["frames"])
        for c in summary.channels:
            made.add_row(rich_text(f"  {c.channel}"), c.kind, f"{c.frames:,}", c.schema)
        console.print(made)
    for p in summary.problems:
        at = f" at byte {p.offset}" if p.offset is not None else ""
        console.print(rich_text(f"  {p.kind}{at}: expected {p.expected}, found {p.actual}. {p.help}", style="yellow"))
    console.print()
