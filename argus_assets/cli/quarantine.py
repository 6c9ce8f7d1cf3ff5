"""`argus quarantine`: what was dropped and cannot be used, why, and its retry."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from argus_assets.cli.context import bucket_of, settings_of
from argus_assets.cli.options import home_option, json_option
from argus_assets.cli.output import echo, print_json, table, terminal
from argus_assets.common.texts import rich_text
from argus_assets.drop.keys import printable
from argus_assets.errors import BadSetting

if TYPE_CHECKING:
    from argus_assets.drop.bucket import Bucket
    from argus_assets.drop.quarantine import QuarantineRecord, Reason

KINDS: Final = ("bad_manifest", "bad_key", "missing_file", "wrong_size", "wrong_sha256", "too_large", "too_many_files")
MAX_REASONS: Final = 20


@click.group()
def quarantine() -> None:
    """List drops that cannot be used, show why, and retry them."""


@quarantine.command()
@click.option("--vehicle", help="Only this vehicle.")
@click.option("--kind", type=click.Choice(KINDS), help="Only with this kind of reason.")
@click.option("--settled", is_flag=True, help="Include what a later drop has settled.")
@json_option
@home_option
def ls(vehicle: str | None, kind: str | None, settled: bool, as_json: bool, home: Path | None) -> None:
    """List what is in quarantine."""
    from argus_assets.drop.retry import state_of

    bucket, _ = _bucket(home)
    found = [
        (record, state)
        for record in _records(bucket, vehicle, kind)
        if (state := state_of(bucket, record)) != "settled" or settled
    ]
    if as_json:
        print_json([{**r.model_dump(mode="json"), "name": name_of(r), "state": s} for r, s in found])
        return
    made = table("batch", "state", "since", "why")
    for record, state in found:
        first = record.reasons[0]
        more = f" and {len(record.reasons) - 1} more" if len(record.reasons) > 1 else ""
        made.add_row(
            name_of(record),
            state,
            f"{record.at:%Y-%m-%d %H:%M}",
            rich_text(f"{first.kind}: {printable(first.file)}{more}"),
        )
    if not found:
        made.add_row("nothing", "", "", "")
    terminal().print(made)


@quarantine.command()
@click.argument("batch")
@json_option
@home_option
def why(batch: str, as_json: bool, home: Path | None) -> None:
    """Show why BATCH is in quarantine, and which of the reasons still hold.

    BATCH is VEHICLE/BATCH, or `_unknown/…` as `argus quarantine ls` prints it.
    """
    from argus_assets.drop.retry import recheck, state_of

    bucket, max_bytes = _bucket(home)
    record = _find(bucket, batch)
    state = state_of(bucket, record)
    checked = recheck(bucket, record, max_bytes=max_bytes)
    if as_json:
        document = {
            **record.model_dump(mode="json"),
            "name": name_of(record),
            "state": state,
            "now": [r.model_dump() for r in checked.reasons],
        }
        print_json(document)
        return
    echo(f"{name_of(record)}: {state}, since {record.at:%Y-%m-%d %H:%M:%S} UTC")
    echo(f"manifest:   {record.manifest}")
    if record.recordings:
        echo(f"recordings: {record.recordings}")
    _print_reasons(record.reasons)
    if checked.reasons == record.reasons:
        echo("All of these reasons still hold.")
    elif checked.reasons:
        echo("Now:")
        _print_reasons(checked.reasons)
    else:
        echo(f"None of these reasons holds any more. Put it back with: argus quarantine retry {name_of(record)}")


@quarantine.command()
@click.argument("batches", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="All that is in quarantine and not settled.")
@click.option("--vehicle", help="With --all, only this vehicle.")
@click.option("--kind", type=click.Choice(KINDS), help="With --all, only with this kind of reason.")
@home_option
def retry(batches: tuple[str, ...], everything: bool, vehicle: str | None, kind: str | None, home: Path | None) -> None:
    """Check BATCHES again, and put those that can be used now back into the inbox.

    The others stay, and their reasons are printed. Exits with 1 if a named batch stays.
    """
    from argus_assets.drop.retry import recheck, state_of
    from argus_assets.drop.retry import retry as put_back

    if everything == bool(batches):
        raise BadSetting("Give either batches or --all.", help="`argus quarantine ls` lists the batches.")
    bucket, max_bytes = _bucket(home)
    records = _records(bucket, vehicle, kind) if everything else (_find(bucket, batch) for batch in batches)
    taken = stayed = 0
    for record in records:
        name = name_of(record)
        state = state_of(bucket, record)
        if state == "waiting":
            echo(f"{name}: a manifest is already in the inbox.")
            continue
        if state == "settled" and everything:
            continue
        checked = recheck(bucket, record, max_bytes=max_bytes)
        if checked.reasons:
            stayed += 1
            echo(f"{name}: still cannot be used:")
            _print_reasons(checked.reasons)
        elif put_back(bucket, checked):
            taken += 1
            echo(f"{name}: put back into the inbox.")
        else:
            echo(f"{name}: a manifest is already in the inbox.")
    echo(f"{taken:,} put back, {stayed:,} still in quarantine.")
    if stayed and not everything:
        raise SystemExit(1)


def name_of(record: "QuarantineRecord") -> str:
    """Return `VEHICLE/BATCH`, or `_unknown/…` for a key that names no batch."""
    if record.vehicle_id is None:
        return f"_unknown/{record.digest}"
    return f"{record.vehicle_id}/{record.batch_id}"


def _bucket(home: Path | None) -> "tuple[Bucket, int | None]":
    settings = settings_of(home)
    return bucket_of(settings), settings.max_batch_bytes


def _records(bucket: "Bucket", vehicle: str | None, kind: str | None) -> "Iterator[QuarantineRecord]":
    from argus_assets.drop.quarantine import list_records

    for record in list_records(bucket, vehicle_id=vehicle):
        if kind is None or any(reason.kind == kind for reason in record.reasons):
            yield record


def _find(bucket: "Bucket", name: str) -> "QuarantineRecord":
    from argus_assets.drop.keys import BATCH_ID, VEHICLE_ID, BatchRef
    from argus_assets.drop.quarantine import UNKNOWN_PREFIX, latest_record, read_record

    vehicle, _, batch = name.partition("/")
    record = None
    if BATCH_ID.fullmatch(batch):
        if vehicle == "_unknown":
            record = read_record(bucket, f"{UNKNOWN_PREFIX}{batch}/reason.json")
        elif VEHICLE_ID.fullmatch(vehicle):
            record = latest_record(bucket, BatchRef(vehicle, batch))
    if record is None:
        raise BadSetting(
            f"{name!r} is not in quarantine.", help="`argus quarantine ls --settled` lists all: VEHICLE/BATCH."
        )
    return record


def _print_reasons(reasons: "tuple[Reason, ...]") -> None:
    for reason in reasons[:MAX_REASONS]:
        echo(
            f"  {reason.kind}: {printable(reason.file)}: expected {printable(reason.expected)}, "
            f"found {printable(reason.actual)}. {printable(reason.help)}"
        )
    if len(reasons) > MAX_REASONS:
        echo(f"  and {len(reasons) - MAX_REASONS} more; `argus quarantine why BATCH --json` prints all.")
