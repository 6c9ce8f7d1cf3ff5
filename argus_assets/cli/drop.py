"""`argus drop`: upload recordings as a vehicle would."""

import os
from datetime import UTC, datetime
from pathlib import Path

import click

from argus_assets.cli.options import decoders_option, load_decoders
from argus_assets.cli.output import counted, terminal
from argus_assets.cli.reading import read_files
from argus_assets.errors import BadSetting


@click.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--vehicle", required=True, help="Vehicle id: letters, digits, dots and dashes.")
@click.option("--vin", required=True, help="Vehicle identification number, 17 characters.")
@click.option("--release", required=True, help="Software release that the vehicle ran.")
@click.option("--platform", default="unknown", show_default=True, help="Vehicle platform, such as truck, car or av.")
@click.option("--batch", help="Batch id (default: the name of the only folder, else the time).")
@click.option(
    "--from", "recorded_from", help="Start of the drive, ISO 8601 with offset (default: the recordings' first frame)."
)
@click.option(
    "--until", "recorded_to", help="End of the drive, in the same form (default: the recordings' last frame)."
)
@click.option("--to", "to", help="Bucket: s3://bucket[/prefix] or a folder (default: ARGUS_BUCKET_URL).")
@click.option(
    "--workers", default=4, show_default=True, type=click.IntRange(1, 64), help="Files uploaded at the same time."
)
@click.option("--only-new", is_flag=True, help="Overwrite nothing, as `argus vehicle add --new-only` requires.")
@decoders_option
def drop(
    paths: tuple[Path, ...],
    vehicle: str,
    vin: str,
    release: str,
    platform: str,
    batch: str | None,
    recorded_from: str | None,
    recorded_to: str | None,
    to: str | None,
    workers: int,
    only_new: bool,
    declarations: Path | None,
) -> None:
    """Upload files, or all files of a folder, as one batch: the recordings first, the completion manifest last.

    A file that is already there with the same size and SHA-256 is not sent again, so the same command resumes a broken
    upload. Endpoint and credentials of S3 come from AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID,
    AWS_SECRET_ACCESS_KEY and AWS_DEFAULT_REGION.
    """
    from pydantic import ValidationError
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    from argus_assets.drop.bucket import Bucket
    from argus_assets.drop.manifest import Manifest, ManifestFile
    from argus_assets.drop.upload import collect_files, drop_manifest, upload_files

    url = to or os.environ.get("ARGUS_BUCKET_URL")
    if not url:
        raise BadSetting("No bucket was given.", help="Name it with --to or ARGUS_BUCKET_URL: s3://bucket or a folder.")
    files = collect_files(paths)
    if batch is None:
        folder = paths[0] if len(paths) == 1 and paths[0].is_dir() else None
        batch = folder.resolve().name if folder else datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    first, last = _drive_time([f.path for f in files], recorded_from, recorded_to, declarations)
    try:
        # Check what a person typed before hours of upload.
        described = Manifest(
            vehicle_id=vehicle,
            vin=vin,
            batch_id=batch,
            release=release,
            platform=platform,
            recorded_from=first,
            recorded_to=last,
            files=tuple(ManifestFile(name=f.name, size=f.size, sha256="0" * 64) for f in files),
        )
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors(include_url=False))
        raise BadSetting(f"The batch's description is not valid: {wrong}.", help="See docs/drop.md.") from error
    bucket = Bucket.from_url(url)
    bucket.only_new = only_new
    console = terminal(soft_wrap=True)
    progress = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
    )
    total = sum(f.size for f in files)
    with progress:
        task = progress.add_task(counted(len(files), "file"), total=2 * total)
        done = upload_files(
            bucket,
            files,
            vehicle_id=vehicle,
            batch_id=batch,
            workers=workers,
            on_bytes=lambda n: progress.advance(task, n),
        )
    manifest = described.model_copy(update={"files": tuple(f.entry for f in done)})
    key = drop_manifest(bucket, Manifest.model_validate(manifest.model_dump()))
    sent = sum(f.sent for f in done)
    console.print(
        f"Dropped {counted(len(files), 'file')} ({total:,} bytes) as {vehicle}/{batch}: {sent:,} sent, "
        f"{len(done) - sent:,} already there."
    )
    console.print(f"Manifest: {url.rstrip('/')}/{key}")


def _drive_time(
    paths: list[Path], recorded_from: str | None, recorded_to: str | None, declarations: Path | None
) -> tuple[datetime, datetime]:
    """Return start and end of the drive: as given, else of the first and last frame, else the files' times."""
    given = [_parse(name, value) for name, value in (("--from", recorded_from), ("--until", recorded_to))]
    if given[0] and given[1]:
        return given[0], given[1]
    from argus_assets.recordings.model import DEFAULT_LIMITS

    decoders = load_decoders(declarations)
    times: list[float] = []
    for path in paths:
        with read_files([path], decoders=decoders, limits=DEFAULT_LIMITS, with_tables=False) as (part,):
            ends = (part.summary.first_timestamp_ns, part.summary.last_timestamp_ns)
        times.extend(ns / 1e9 for ns in ends if ns is not None)
    if not times:
        times = [path.stat().st_mtime for path in paths]
    return (
        given[0] or datetime.fromtimestamp(min(times), UTC),
        given[1] or datetime.fromtimestamp(max(times), UTC),
    )


def _parse(name: str, value: str | None) -> datetime | None:
    if value is None:
        return None
    try:
        moment = datetime.fromisoformat(value)
    except ValueError as error:
        raise BadSetting(
            f"{name} {value!r} is not a time.", help="Give ISO 8601, such as 2026-11-23T08:15:00+01:00."
        ) from error
    if moment.tzinfo is None:
        raise BadSetting(f"{name} {value!r} has no offset from UTC.", help="Add Z or +01:00.")
    return moment
