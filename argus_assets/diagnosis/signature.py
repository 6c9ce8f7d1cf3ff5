"""Compute the fault signature of a drive: equal for the same faults in the same order.

It covers platform, release, and for each of the Top-K faults above severity info: ECU, code, status, and its place in the
order of first appearance. Faults that appear within a second share a place, so that jitter has no effect. Times, counts,
messages and the vehicle are left out.
"""

import json
from hashlib import sha256

from argus_assets.diagnosis.model import Evidence
from argus_assets.faults.schema import Severity


def fault_signature(evidence: Evidence) -> str:
    """Return the fault signature: SHA-256 in hex."""
    items = [item for item in evidence.items if item.severity is not Severity.INFO]
    places = {appeared: place for place, appeared in enumerate(sorted({item.appeared for item in items}))}
    faults = sorted((item.ecu, item.code, item.status, places[item.appeared]) for item in items)
    return _digest(["faults/1", evidence.platform, evidence.release, faults])


def cache_key(signature: str, *, prompt_version: str, model: str, knowledge_version: str) -> str:
    """Return the key of a saved answer."""
    return _digest(["answer/1", signature, prompt_version, model, knowledge_version])


def _digest(parts: list[object]) -> str:
    return sha256(json.dumps(parts, ensure_ascii=False, separators=(",", ":")).encode()).hexdigest()
