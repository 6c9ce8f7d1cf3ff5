"""`argus vehicle`: what a vehicle's credential may do, and uploads of bounded size."""

import json
import os
from pathlib import Path

import click

from argus_assets.cli.output import echo
from argus_assets.cli.status import home_option


@click.group()
def vehicle() -> None:
    """Vehicles: who may put what into the bucket."""


@vehicle.command()
@click.argument("vehicle_id", metavar="VEHICLE")
@click.option("--bucket", required=True, help="Name of the bucket.")
@click.option("--principal", help="Who the vehicle signs in as (default: arn:aws:iam:::user/VEHICLE).")
@click.option(
    "--operator", help="Who the platform signs in as: adds the statement that lets it read what vehicles put."
)
@click.option("--new-only", is_flag=True, help="Each put has to say `If-None-Match: *`: nothing is replaced (AWS).")
@click.option("--without-tls", is_flag=True, help="Allow plain HTTP, for a server on loopback.")
@click.option("--for-user", is_flag=True, help="Print a policy of the vehicle's user in place of one of the bucket.")
@click.option(
    "--into",
    type=click.Path(path_type=Path, dir_okay=False),
    help="File of the bucket's policy: the vehicle's statements are added to it or replaced in it.",
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
    """Print the policy with which VEHICLE may put its own batches over TLS, and do nothing else.

    The document has to be given to the store by who administers it; Argus needs no such right.
    """
    from argus_assets.drop.policies import add_to_policy, user_policy, vehicle_policy
    from argus_assets.errors import BadSetting

    if for_user and into is not None:
        raise BadSetting("--for-user and --into do not go together.", help="A bucket's policy names its users.")
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
        click.echo(json.dumps(document, indent=2))
        return
    try:
        there = json.loads(into.read_text(encoding="utf-8")) if into.exists() else {}
    except ValueError as error:
        raise BadSetting(f"{into} is not JSON: {error}.", help="Give the file of a bucket policy.") from error
    into.write_text(json.dumps(add_to_policy(there, document), indent=2) + "\n", encoding="utf-8")
    echo(f"{into}: {vehicle_id} may put under batches/{vehicle_id}/ and inbox/{vehicle_id}/.")


@vehicle.command()
@click.argument("vehicle_id", metavar="VEHICLE")
@click.argument("batch")
@click.argument("file")
@click.option("--max-mb", default=1024.0, show_default=True, help="Largest file, in MB (10^6 bytes).")
@click.option("--hours", default=24.0, show_default=True, type=click.FloatRange(0, 168), help="How long it holds.")
@home_option
def form(vehicle_id: str, batch: str, file: str, max_mb: float, hours: float, home: Path | None) -> None:
    """Print a presigned POST for one FILE of a batch, of bounded size: URL and form fields as JSON."""
    from argus_assets.drop.bucket import Bucket
    from argus_assets.drop.keys import BATCH_ID, VEHICLE_ID, recording_key
    from argus_assets.drop.manifest import name_problem
    from argus_assets.errors import BadSetting
    from argus_assets.runtime.connection import settings_for

    problem = name_problem(file)
    if not VEHICLE_ID.fullmatch(vehicle_id) or not BATCH_ID.fullmatch(batch) or problem:
        raise BadSetting(problem or f"{vehicle_id}/{batch} is no batch.", help="See docs/drop.md for allowed names.")
    bucket = Bucket.from_url(settings_for(home, os.environ).bucket_url)
    signed = bucket.upload_form(
        recording_key(vehicle_id, batch, file), max_bytes=int(max_mb * 1e6), seconds=int(hours * 3600)
    )
    click.echo(json.dumps(signed, indent=2))
