"""Pseudonymise vehicles: the same vehicle always gets the same name, which is irreversible without the key."""

import hmac
from base64 import b32encode

CHARACTERS = 12
"""60 bits: two of a million vehicles share a pseudonym with a chance below 1 in a million."""


def pseudonym(vehicle_id: str, key: bytes) -> str:
    """Return `v-` and 12 characters of an HMAC-SHA256.

    Args:
        vehicle_id: Name of the vehicle, which may be its VIN.
        key: Secret key of the fleet.
    """
    digest = hmac.digest(key, b"argus/vehicle/1\0" + vehicle_id.encode(), "sha256")
    return f"v-{b32encode(digest).decode().lower()[:CHARACTERS]}"
