"""Structured logs: with `ARGUS_LOG_FORMAT=json` every line of a run or a sensor is one JSON object.

Fields: time, level, logger, message, and where they are known run_id, job, step, event, asset, batch, stage, sensor,
error. `fields` adds to all that is logged inside of it, in its own thread.
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
"""Attribute of a log record in which Dagster keeps what it knows of it."""


@contextmanager
def fields(**values: str) -> Generator[dict[str, str]]:
    """Add fields to all that this thread logs inside of the block; the mapping that it gives may be changed."""
    added = {**(_FIELDS.get() or {}), **values}
    token = _FIELDS.set(added)
    try:
        yield added
    finally:
        _FIELDS.reset(token)


class JsonFormatter(logging.Formatter):
    """One JSON object a line, whatever is in the message."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
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
    """What Dagster makes its consoles of: it takes Python's logger class and adds a handler that it has formatted."""

    def addHandler(self, hdlr: logging.Handler) -> None:  # noqa: N802 - overrides
        """Take the handler, with our format."""
        if isinstance(hdlr, logging.StreamHandler):
            hdlr.setFormatter(JsonFormatter())
        super().addHandler(hdlr)


def configure(log_format: LogFormat) -> None:
    """Make all loggers of this process write in a format. Harmless when repeated."""
    # It logs addresses, and that of a webhook may hold a token.
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
