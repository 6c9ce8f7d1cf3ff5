"""`argus policy`: the bucket policy for one vehicle's credential."""

import click

from argus_assets.cli.output import print_json


@click.command()
@click.argument("vehicle")
@click.option("--bucket", required=True, help="Name of the bucket.")
@click.option("--principal", help="Principal of the vehicle (default: arn:aws:iam:::user/VEHICLE).")
@click.option("--operator", help="Principal of Argus: adds the statement that lets it read what vehicles put.")
def policy(vehicle: str, bucket: str, principal: str | None, operator: str | None) -> None:
    """Print the bucket policy that lets VEHICLE put its own batches and nothing else."""
    from argus_assets.drop.policies import vehicle_policy

    print_json(vehicle_policy(bucket, vehicle, principal or f"arn:aws:iam:::user/{vehicle}", operator=operator))
