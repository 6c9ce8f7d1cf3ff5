"""Write the documents that are made from the code: `python -m argus_assets.documentation docs`.

A test compares what is in `docs/` with what would be written.
"""

import json
import re
import sys
from pathlib import Path
from typing import Any, Final

from argus_assets.drop.manifest import json_schema
from argus_assets.faults.schema import BUS_STATS, ERROR_EVENTS
from argus_assets.monitoring import metrics
from argus_assets.notifications.events import event_schemas
from argus_assets.recordings.schema import DIAGNOSTICS, FRAMES, LOGS, PROBLEMS, RECORDINGS
from argus_assets.settings import Settings
from argus_assets.stats.schema import CODE_PAIRS, DRIVE_STATS, ERROR_STATS, MEASUREMENTS, REMARKS, SPEED, TOPIC_STATS

_TABLES = (
    FRAMES,
    LOGS,
    DIAGNOSTICS,
    RECORDINGS,
    PROBLEMS,
    ERROR_EVENTS,
    BUS_STATS,
    ERROR_STATS,
    CODE_PAIRS,
    DRIVE_STATS,
    SPEED,
    MEASUREMENTS,
    REMARKS,
    TOPIC_STATS,
)
_KINDS: Final = {"string": "text", "integer": "whole number", "number": "number"}
_BOUNDS: Final = {"exclusiveMinimum": "above", "minimum": "from", "maximum": "up to"}

_TABLES_HEAD = """# Tables

Made from the declared schemas by `make docs`. Times are integer nanoseconds since 1970-01-01 UTC.

`frames`, `logs` and `diagnostics` are kept for each recording under the hash of its content, the others for each batch.
"""
_METRICS_HEAD = """# Metrics

Made from `monitoring/metrics.py` by `make docs`. `argus metrics` exports them; [operations.md](operations.md) says how to
monitor them.

Counters count the events that Dagster holds when `argus metrics` starts, and all that come while it runs. A counter that
starts anew is what `rate()` and `increase()` expect of a restart. `argus_source_up` reports a source that does not answer; its
metrics are left out.

"""
_SETTINGS_HEAD = """# Settings

Made from `settings.py` by `make docs`. All are environment variables; an empty one counts as absent. Relative paths are those
of the working folder of `argus`, and `~` is the home of its user. `argus doctor` shows the settings it finds, and tries them.
Secrets are never shown, and stand in the environment only.

"""
_OTHER_VARIABLES = """
## Read by others

| variable | read by | means |
|---|---|---|
| `AWS_ENDPOINT_URL`, `AWS_DEFAULT_REGION`, `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_SESSION_TOKEN` | the S3 client | endpoint and credentials of bucket and lake |
| `DAGSTER_HOME` | Dagster | folder of `dagster.yaml`; `argus up` makes its own |
| `ARGUS_REDIS_URL` | `deploy/celery/dagster.yaml` | broker of the Celery workers |
| `ARGUS_CODE_HOST`, `ARGUS_CODE_PORT` | `workspace.yaml` of `deploy/` | where the code server listens |
| `ARGUS_AUDIT`, `ARGUS_AUDIT_OSV_URL` | `make audit` | `required` fails when nobody answers; an OSV service of your own |
| `ARGUS_RECORDINGS` | the tests | folder of real recordings |
"""


def _settings() -> str:
    """Return the page of all settings."""
    defaults = Settings.from_env({"HOME": "/~"}).environment()
    parts = [_SETTINGS_HEAD]
    for name, group in (("", Settings), *Settings.groups().items()):
        if name:
            parts.append(f"\n## {str(group.__doc__).rstrip('.')}\n\n")
        parts.append("| variable | means | value | default |\n|---|---|---|---|\n")
        schemas = group.model_json_schema()["properties"]
        for field, variable in group.names().items():
            means = re.sub(r"docs/(\w+\.md)", r"[\1](\1)", str(group.model_fields[field].description))
            default = defaults.get(variable, "none").replace("/~", "~")
            parts.append(f"| `{variable}` | {means} | {_value(schemas[field])} | {default} |\n")
    return "".join([*parts, _OTHER_VARIABLES])


def _value(schema: dict[str, Any]) -> str:
    """Return which values a JSON schema of a setting allows, in words."""
    given = next((part for part in schema.get("anyOf", ()) if part["type"] != "null"), schema)
    if "enum" in given:
        return " or ".join(f"`{value}`" for value in given["enum"])
    kind = {"path": "path", "password": "secret"}.get(given.get("format", ""), _KINDS[given["type"]])
    bounds = [f"{words} {given[key]:,}" for key, words in _BOUNDS.items() if key in given]
    return ", ".join([kind, *bounds])


def documents() -> dict[str, str]:
    """Return file name → content."""
    return {
        "settings.md": _settings(),
        "manifest.schema.json": json.dumps(json_schema(), indent=2) + "\n",
        "events.schema.json": json.dumps(event_schemas(), indent=2) + "\n",
        "tables.md": "\n".join([_TABLES_HEAD, *(table.markdown() for table in _TABLES)]),
        "metrics.md": _METRICS_HEAD + metrics.markdown(),
    }


def main() -> None:
    """Write the documents into the folder that is named on the command line."""
    folder = Path(sys.argv[1])
    for name, text in documents().items():
        (folder / name).write_text(text)


if __name__ == "__main__":
    main()
