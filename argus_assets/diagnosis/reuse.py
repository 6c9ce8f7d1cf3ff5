"""Reuse a model's valid answer for another drive with the same fault signature."""

import json
import re
from collections import Counter
from datetime import datetime
from typing import Any, Final

from argus_assets.diagnosis.answer import Answer, parse_answer
from argus_assets.diagnosis.model import Evidence, EvidenceItem
from argus_assets.diagnosis.ports import SavedAnswer

_ITEM: Final = re.compile(r"\bE\d{1,2}\b")


def saved_answer(text: str, evidence: Evidence, *, precedent: str, model: str, made_at: datetime) -> SavedAnswer:
    """Build the record of an answer to be saved.

    Args:
        text: The answer.
        evidence: Evidence that it is based on.
        precedent: Partition of that batch.
        model: Model that answered.
        made_at: Time of the answer, UTC.
    """
    items = {item.id: _fault(item) for item in evidence.items}
    return SavedAnswer(answer=text, items=items, precedent=precedent, model=model, made_at=made_at)


def reuse(saved: SavedAnswer, evidence: Evidence) -> Answer | None:
    """Return the answer with this drive's items in place of the precedent's, or `None` if one of them is missing."""
    start, end = saved.answer.find("{"), saved.answer.rfind("}")
    try:
        document = json.loads(saved.answer[start : end + 1])
    except ValueError:
        return None
    here = Counter(_fault(item) for item in evidence.items)
    id_of = {_fault(item): item.id for item in evidence.items}
    new_id = {old: id_of[fault] for old, fault in saved.items.items() if here[fault] == 1}
    try:
        renamed = _renamed(document, new_id, set(saved.items))
    except KeyError:
        return None
    answer = parse_answer(json.dumps(renamed))
    return None if isinstance(answer, list) else answer


def _fault(item: EvidenceItem) -> tuple[str, str, str]:
    return (item.ecu, item.code, item.status)


def _renamed(value: Any, new_id: dict[str, str], old: set[str]) -> Any:  # noqa: ANN401 - JSON
    """Replace ids in JSON: as whole values, and within texts as `[E1]` or `E1`.

    Raises:
        KeyError: An id has no counterpart.
    """
    if isinstance(value, dict):
        return {key: _renamed(v, new_id, old) for key, v in value.items()}
    if isinstance(value, list):
        return [_renamed(v, new_id, old) for v in value]
    if isinstance(value, str):
        return _ITEM.sub(lambda match: new_id[match[0]] if match[0] in old else match[0], value)
    return value
