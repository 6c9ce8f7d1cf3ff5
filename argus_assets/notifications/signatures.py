"""Requests for events: a structured CloudEvent, signed according to Standard Webhooks."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from standardwebhooks.webhooks import Webhook

CONTENT_TYPE: Final = "application/cloudevents+json; charset=utf-8"


def body_of(payload: Mapping[str, Any]) -> bytes:
    """Return the request body. It is signed as it is, so a receiver must verify it before parsing it."""
    return json.dumps(payload, ensure_ascii=False, separators=(",", ":")).encode()


def headers_of(event_id: str, body: bytes, *, secrets: Sequence[str], at: datetime) -> dict[str, str]:
    """Return the headers of a request.

    Args:
        event_id: The same at each attempt.
        body: What is posted.
        secrets: Keys; each of them signs.
        at: The time of this attempt, UTC.
    """
    text = body.decode()
    return {
        "content-type": CONTENT_TYPE,
        "webhook-id": event_id,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": " ".join(Webhook(secret).sign(event_id, at, text) for secret in secrets),
    }
