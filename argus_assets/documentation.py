"""Documents that are made from the code: `python -m argus_assets.documentation docs` writes them.

A test compares what is in `docs/` with what would be written.
"""

import json
import sys
from pathlib import Path

from argus_assets.drop.manifest import json_schema
from argus_assets.faults.schema import BUS_STATS, ERROR_EVENTS
from argus_assets.monitoring import metrics
from argus_assets.notifications.events import event_schemas
from argus_assets.recordings.schema import DIAGNOSTICS, FRAMES, LOGS, PROBLEMS, RECORDINGS
from argus_assets.stats.schema import CODE_PAIRS, DRIVE_STATS, ERROR_STATS, SPEED

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
)
_TABLES_HEAD = """# Tables

Made from the declared schemas by `make docs`. Times are integer nanoseconds since 1970-01-01 UTC.

`frames`, `logs` and `diagnostics` are kept for each recording under the hash of its content, the others for each batch.
"""
_METRICS_HEAD = """# Metrics

Made from `monitoring/metrics.py` by `make docs`. `argus metrics` tells them; [operations.md](operations.md) says how to
watch them.

Counters count the events that Dagster holds when `argus metrics` starts, and all that come while it runs. A counter that
begins anew is what `rate()` and `increase()` expect of a restart. A source that does not answer is told by
`argus_source_up`, and its figures are left out.

"""


def documents() -> dict[str, str]:
    """File name → content."""
    return {
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
