"""What a vehicle can drop to hurt the platform or another vehicle: manifests, and keys in the inbox."""

import json
from typing import Any

from tests.support.values import VIN

FILE = {"name": "rec/0001.mcap", "size": 3, "sha256": "a" * 64}


def document(**changes: Any) -> dict[str, Any]:
    return {
        "vehicle_id": "truck-1",
        "vin": VIN,
        "batch_id": "b_1",
        "release": "2026.10",
        "platform": "truck",
        "recorded_from": "2026-11-23T08:00:00Z",
        "recorded_to": "2026-11-23T09:00:00Z",
        "files": [FILE],
        **changes,
    }


def dumped(value: Any) -> bytes:
    return json.dumps(value).encode()


HOSTILE_MANIFESTS = [
    dumped(document(recorded_from=0)).replace(b'_from": 0', b'_from": 1e400'),
    dumped(document(recorded_from=0)).replace(b'_from": 0', b'_from": ' + b"9" * 5000),
    dumped(document(files=[{**FILE, "size": 0}])).replace(b'"size": 0', b'"size": 1e3'),
    dumped(document(files=[{**FILE, "size": 0}])).replace(b'"size": 0', b'"size": NaN'),
    dumped(document(files=[{**FILE, "size": 0}])).replace(b'"size": 0', b'"size": -Infinity'),
    dumped(document(files=[{**FILE, "size": 0}])).replace(b'"size": 0', b'"size": ' + b"9" * 4000),
    dumped(document(files=[{**FILE, "size": True}])),
    dumped(document(files=[{**FILE, "size": "3"}])),
    dumped(document())[:-1] + b', "vehicle_id": "truck-2"}',
    dumped(document()).replace(b'"size": 3', b'"size": 4, "size": 3'),
    b"\xef\xbb\xbf" + dumped(document()),
    dumped(document()).decode().encode("utf-16"),
    dumped(document()) + b"\x00",
    dumped(document(**{"k" * 5_000_000: 1})),
    dumped(document(**{"\ud800\u202e\x00": 1})),
    dumped(document(release="\ud800")),
    dumped(document(ecu_releases={"\udfff": "1"})),
    b'{"a":' * 50_000,
    b'{"files":' + b"[" * 100_000,
]  # fmt: skip
"""Texts that JSON readers read in different ways, or not at all."""

HOSTILE_KEYS = [
    "inbox/v/../../accepted/x.json", "inbox/v/..", "inbox//x.json", "inbox/v/%2e%2e.json", "inbox/v/./y.json",
    "inbox/v/a/b.json", "inbox/v/\x01.json", "inbox/v/a\u202ejson.", "inbox/v/a b+c&d=é.json", "inbox/v/" + "é" * 400,
    "inbox/v/b.json ", "inbox/V_1/b.json", "inbox/v/*", "inbox/v/[a-z].json",
    "inbox/v/?",
]  # fmt: skip
"""Keys that an S3 store takes, and that name nothing of a drop."""
