"""Structured logs: with `ARGUS_LOG_FORMAT=json` every line of a run or a sensor is one JSON object.

Fields: time, level, logger, message, and if known run_id, job, step, event, asset, batch, stage, sensor, error. `fields`
adds fields to everything logged within its block by the same thread.
"""

import json
import logging
from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, Final, Literal

LogFormat = Literal["text", "json"]

_FIELDS: Final[ContextVar[dict[str, str] | None]] = ContextVar("argus_log_fields", default=None)
_DAGSTER: Final = "dagster_meta"
"""Attribute of a log record in which Dagster keeps its metadata."""


@contextmanager
def fields(**values: str) -> Generator[dict[str, str]]:
    """Add fields to everything that this thread logs within the block. The yielded mapping may be changed."""
    added = {**(_FIELDS.get() or {}), **values}
    token = _FIELDS.set(added)
    try:
        yield added
    finally:
        _FIELDS.reset(token)


class JsonFormatter(logging.Formatter):
    """Format each record as one line of JSON, whatever the message contains."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        meta: Any = getattr(record, _DAGSTER, None) or {}
        event = meta.get("dagster_event")
        data = getattr(event, "event_specific_data", None)
        error = getattr(data, "error", None)
        document: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": meta.get("orig_message") or record.getMessage(),
            "run_id": meta.get("run_id"),
            "job": meta.get("job_name"),
            "step": meta.get("step_key"),
            "event": getattr(getattr(event, "event_type", None), "value", None),
            "asset": asset.to_user_string() if (asset := getattr(event, "asset_key", None)) is not None else None,
            "batch": getattr(event, "partition", None),
            "sensor": meta.get("name"),
            "error": error.to_string() if error is not None else None,
        }
        if record.exc_info and record.exc_info[0] is not None:
            document["error"] = self.formatException(record.exc_info)
        document |= _FIELDS.get() or {}
        return json.dumps({key: value for key, value in document.items() if value is not None}, default=str)


class _JsonLogger(logging.Logger):
    """Logger class for Dagster's console loggers: Dagster adds a handler with a formatter of its own to each of them."""

    def addHandler(self, hdlr: logging.Handler) -> None:  # noqa: N802 - overrides
        """Add the handler, with our formatter."""
        if isinstance(hdlr, logging.StreamHandler):
            hdlr.setFormatter(JsonFormatter())
        super().addHandler(hdlr)


def configure(log_format: LogFormat) -> None:
    """Make all loggers of this process write in a format. Idempotent."""
    # It logs URLs, and that of a webhook may contain a token.
    logging.getLogger("httpx2").setLevel(logging.WARNING)
    if log_format == "text":
        return
    logging.setLoggerClass(_JsonLogger)
    root = logging.getLogger()
    if not root.handlers:
        root.addHandler(logging.StreamHandler())
    for name in ("", "dagster"):
        for handler in logging.getLogger(name).handlers:
            if isinstance(handler, logging.StreamHandler):
                handler.setFormatter(JsonFormatter())
