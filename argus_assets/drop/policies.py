"""Access policies of the bucket: what a vehicle's own credential may do."""

import json
from collections.abc import Mapping
from typing import Any, Final

from argus_assets.drop.keys import VEHICLE_ID
from argus_assets.errors import BadSetting

MAX_POLICY_BYTES: Final = 20 * 1024
"""Limit of AWS for a bucket policy: enough for about 30 vehicles."""


def vehicle_policy(
    bucket: str,
    vehicle_id: str,
    principal: str,
    *,
    operator: str | None = None,
    tls_only: bool = False,
    new_only: bool = False,
) -> dict[str, Any]:
    """Return a bucket policy that lets one vehicle put under its own two prefixes, and nothing else.

    It may send objects whole or in parts, and abort a multipart upload. It may not read, list or delete. As it cannot
    check what it has put, a repeated upload sends everything again.

    A policy cannot bound the size of an object: there is no condition key for it. See `Bucket.upload_form`.

    Args:
        bucket: Name of the bucket.
        vehicle_id: The vehicle.
        principal: Identity of the vehicle, an ARN such as `arn:aws:iam:::user/truck-1`.
        operator: Identity of the platform. An object belongs to whoever put it: without this statement, a platform
            with another user than the vehicle may not read what the vehicle put.
        tls_only: Refuse requests of the vehicle without TLS.
        new_only: Refuse to replace objects: each put must send `If-None-Match: *`. Stores that do not support the
            condition keys `s3:if-none-match` and `s3:ObjectCreationOperation` would refuse every put, or none.

    Raises:
        BadSetting: The vehicle id cannot be used.
    """
    if not VEHICLE_ID.fullmatch(vehicle_id):
        raise BadSetting(
            f"Vehicle id {vehicle_id!r} cannot be used.",
            help="Letters, digits, dots and dashes, at most 64, no underscore.",
        )
    # A statement's id has letters and digits only, and two vehicles' must not be the same.
    name = "".join(c if c.isalnum() else f"x{ord(c):02x}" for c in vehicle_id)
    whole = [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"]
    own = [f"arn:aws:s3:::{bucket}/{prefix}/{vehicle_id}/*" for prefix in ("batches", "inbox")]
    vehicle = {"AWS": [principal]}
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
                    "s3:ListBucketMultipartUploads",
                    "s3:AbortMultipartUpload",
                ],
                "Resource": whole,
            }
        )
    statements.append(
        {
            "Sid": f"Put{name}",
            "Effect": "Allow",
            "Principal": vehicle,
            "Action": ["s3:PutObject", "s3:AbortMultipartUpload"],
            "Resource": own,
        }
    )
    if tls_only:
        statements.append(
            {
                "Sid": f"Tls{name}",
                "Effect": "Deny",
                "Principal": vehicle,
                "Action": ["s3:*"],
                "Resource": whole,
                # IfExists: some stores omit the key where there is no TLS.
                "Condition": {"BoolIfExists": {"aws:SecureTransport": "false"}},
            }
        )
    if new_only:
        statements.append(
            {
                "Sid": f"New{name}",
                "Effect": "Deny",
                "Principal": vehicle,
                "Action": ["s3:PutObject"],
                "Resource": own,
                # The parts of an upload cannot send it, only the request that creates the object.
                "Condition": {
                    "Null": {"s3:if-none-match": "true"},
                    "Bool": {"s3:ObjectCreationOperation": "true"},
                },
            }
        )
    return {"Version": "2012-10-17", "Statement": statements}


def add_to_policy(policy: Mapping[str, Any], added: Mapping[str, Any]) -> dict[str, Any]:
    """Add statements to a bucket's policy: a bucket has one policy, for all its vehicles.

    A statement with the same `Sid` is replaced.

    Raises:
        BadSetting: The result is longer than a bucket policy may be.
    """
    kept = {str(s.get("Sid", f"?{n}")): s for n, s in enumerate(policy.get("Statement", ()))}
    kept.update({s["Sid"]: s for s in added["Statement"]})
    merged = {"Version": "2012-10-17", "Statement": list(kept.values())}
    size = len(json.dumps(merged, separators=(",", ":")).encode())
    if size > MAX_POLICY_BYTES:
        raise BadSetting(
            f"The bucket's policy would have {size} bytes, expected at most {MAX_POLICY_BYTES}.",
            help="Give each vehicle's user a policy of its own: --for-user prints one.",
        )
    return merged


def user_policy(policy: Mapping[str, Any]) -> dict[str, Any]:
    """Return the vehicle's statements as a user policy: without `Principal`, and without the operator's statement."""
    statements = [
        {key: value for key, value in statement.items() if key != "Principal"}
        for statement in policy["Statement"]
        if statement["Sid"] != "Operator"
    ]
    return {"Version": policy["Version"], "Statement": statements}
