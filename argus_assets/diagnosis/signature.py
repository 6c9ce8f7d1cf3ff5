"""The signature of a drive's faults: the same faults in the same order, whatever the drive.

It covers platform, release, and for each of the Top-K faults that is more than a remark: ECU, code, status, and its
place in the order of first appearance among them. What appeared within a second of each other shares a place, so that
jitter changes nothing. Times, counts, messages and the vehicle are left out.
"""

import json
from hashlib import sha256

from argus_assets.diagnosis.model import Evidence
from argus_assets.faults.schema import Severity


def fault_signature(evidence: Evidence) -> str:
    """SHA-256 in hex."""
    items = [item for item in evidence.items if item.severity is not Severity.INFO]
    places = {appeared: place for place, appeared in enumerate(sorted({item.appeared for item in items}))}
    faults = sorted((item.ecu, item.code, item.status, places[item.appeared]) for item in items)
    return _digest(["faults/1", evidence.platform, evidence.release, faults])


def cache_key(signature: str, *, prompt_version: str, model: str, knowledge_version: str) -> str:
    """What a saved answer is kept under."""
    return _digest(["answer/1", signature, prompt_version, model, knowledge_version])


def _digest(parts: list[object]) -> str:
    return sha256(json.dumps(parts, ensure_ascii=False, separators=(",", ":")).encode()).hexdigest()
