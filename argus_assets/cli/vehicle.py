"""`argus vehicle`: the policy for a vehicle's credential, and upload forms of bounded size."""

import json
from pathlib import Path

import click

from argus_assets.cli.context import bucket_of, settings_of
from argus_assets.cli.options import home_option
from argus_assets.cli.output import echo, print_json


@click.group()
def vehicle() -> None:
    """Vehicles: what each may put into the bucket."""


@vehicle.command()
@click.argument("vehicle_id", metavar="VEHICLE")
@click.option("--bucket", required=True, help="Name of the bucket.")
@click.option("--principal", help="Principal of the vehicle (default: arn:aws:iam:::user/VEHICLE).")
@click.option("--operator", help="Principal of Argus: adds the statement that lets it read what vehicles put.")
@click.option(
    "--new-only", is_flag=True, help="Require `If-None-Match: *` with each put, so that nothing is overwritten (AWS)."
)
@click.option("--without-tls", is_flag=True, help="Allow plain HTTP, for a server on loopback.")
@click.option("--for-user", is_flag=True, help="Print a user policy for the vehicle instead of a bucket policy.")
@click.option(
    "--into",
    type=click.Path(path_type=Path, dir_okay=False),
    help="File with the bucket policy: add or replace the vehicle's statements in it.",
)
def add(
    vehicle_id: str,
    bucket: str,
    principal: str | None,
    operator: str | None,
    new_only: bool,
    without_tls: bool,
    for_user: bool,
    into: Path | None,
) -> None:
    """Print the policy that lets VEHICLE put its own batches over TLS, and nothing else.

    Whoever administers the store has to apply it; Argus needs no such right.
    """
    from argus_assets.drop.policies import add_to_policy, user_policy, vehicle_policy
    from argus_assets.errors import BadSetting

    if for_user and into is not None:
        raise BadSetting("--for-user and --into exclude each other.", help="--into is for a bucket policy.")
    document = vehicle_policy(
        bucket,
        vehicle_id,
        principal or f"arn:aws:iam:::user/{vehicle_id}",
        operator=operator,
        tls_only=not without_tls,
        new_only=new_only,
    )
    if for_user:
        document = user_policy(document)
    if into is None:
        print_json(document)
        return
    try:
        there = json.loads(into.read_text(encoding="utf-8")) if into.exists() else {}
    except ValueError as error:
        raise BadSetting(f"{into} is not JSON: {error}.", help="Give a file with a bucket policy.") from error
    into.write_text(json.dumps(add_to_policy(there, document), indent=2) + "\n", encoding="utf-8")
    echo(f"{into}: {vehicle_id} may put under batches/{vehicle_id}/ and inbox/{vehicle_id}/.")


@vehicle.command()
@click.argument("vehicle_id", metavar="VEHICLE")
@click.argument("batch")
@click.argument("file")
@click.option("--max-mb", default=1024.0, show_default=True, help="Largest file, in MB (10^6 bytes).")
@click.option(
    "--hours", default=24.0, show_default=True, type=click.FloatRange(0, 168), help="How long the form is valid."
)
@home_option
def form(vehicle_id: str, batch: str, file: str, max_mb: float, hours: float, home: Path | None) -> None:
    """Print a presigned POST for one FILE of a batch, of bounded size: URL and form fields as JSON."""
    from argus_assets.drop.keys import BATCH_ID, VEHICLE_ID, recording_key
    from argus_assets.drop.manifest import name_problem
    from argus_assets.errors import BadSetting

    problem = name_problem(file)
    if not VEHICLE_ID.fullmatch(vehicle_id) or not BATCH_ID.fullmatch(batch) or problem:
        raise BadSetting(
            problem or f"{vehicle_id}/{batch} cannot name a batch.", help="See docs/drop.md for allowed names."
        )
    signed = bucket_of(settings_of(home)).upload_form(
        recording_key(vehicle_id, batch, file), max_bytes=int(max_mb * 1e6), seconds=int(hours * 3600)
    )
    print_json(signed)
