"""Who may do what in the bucket: the policy of a vehicle's own credential."""

from typing import Any

from argus_assets.drop.keys import VEHICLE_ID
from argus_assets.errors import BadSetting


def vehicle_policy(bucket: str, vehicle_id: str, principal: str, *, operator: str | None = None) -> dict[str, Any]:
    """A bucket policy that lets one vehicle put under its own two prefixes, and nothing else.

    It may send objects whole or in parts and give a part upload up. It may not read, list or delete. Where
    it may not even look at what it has put, a repeated upload sends everything again.

    Args:
        bucket: Name of the bucket.
        vehicle_id: The vehicle.
        principal: Who it signs in as, an ARN such as `arn:aws:iam:::user/truck-1`.
        operator: Who the platform signs in as. An object belongs to whoever put it: without this statement, a
            platform that is another user than the vehicle may not read what the vehicle put.

    Raises:
        BadSetting: The vehicle id cannot be used.
    """
    if not VEHICLE_ID.fullmatch(vehicle_id):
        raise BadSetting(
            f"Vehicle id {vehicle_id!r} cannot be used.",
            help="Letters, digits, dots and dashes, at most 64, no underscore.",
        )
    resources = [f"arn:aws:s3:::{bucket}/{prefix}/{vehicle_id}/*" for prefix in ("batches", "inbox")]
    statements: list[dict[str, Any]] = []
    if operator is not None:
        statements.append(
            {
                "Sid": "Operator",
                "Effect": "Allow",
                "Principal": {"AWS": [operator]},
                "Action": [
                    "s3:GetObject",
                    "s3:PutObject",
                    "s3:DeleteObject",
                    "s3:ListBucket",
                    "s3:AbortMultipartUpload",
                ],
                "Resource": [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"],
            }
        )
    return {
        "Version": "2012-10-17",
        "Statement": [
            *statements,
            {
                "Sid": f"Put{''.join(c for c in vehicle_id if c.isalnum())}",
                "Effect": "Allow",
                "Principal": {"AWS": [principal]},
                "Action": ["s3:PutObject", "s3:AbortMultipartUpload"],
                "Resource": resources,
            },
        ],
    }
