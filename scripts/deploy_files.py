"""Write what `deploy/` says as `dagster.yaml` does: `python scripts/deploy_files.py` (run by `make docs`).

`dagster.yaml` at the top is the one source of the instance settings. Here stands what differs for Celery workers and for
Kubernetes. A test compares what is in `deploy/` with what would be written.
"""

import re
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]

_CELERY: Final = {
    """\
# Dagster's instance settings. `argus up` uses this file as it is; so does any other way of running Dagster
# (DAGSTER_HOME has to hold it, and ARGUS_DATABASE_URL has to name the database).
""": """\
# Dagster's instance settings for workers on several hosts. Every host needs this file in DAGSTER_HOME, and
# ARGUS_DATABASE_URL and ARGUS_REDIS_URL (redis://:password@host:6379/0, or rediss:// with TLS). See README.md here.
# Made from the dagster.yaml at the top of the repository by `make docs`; what differs stands in scripts/deploy_files.py.
""",
    """\
    max_concurrent_runs: 2
""": """\
    # The slots of all workers together. With more, runs wait for a worker, and after start_timeout_seconds they fail.
    max_concurrent_runs: 4
""",
    """\
# Dagster's launcher for code servers; run monitoring can check whether a run's worker is still alive.
run_launcher:
  module: argus_assets.dagster_instance.run_launcher
  class: WatchedRunLauncher
""": """\
# Runs go to Celery workers (`argus worker`) through redis; run monitoring can check whether they are still alive.
run_launcher:
  module: argus_assets.dagster_instance.celery_launcher
  class: WatchedCeleryLauncher
  config:
    broker: {env: ARGUS_REDIS_URL}
    backend: {env: ARGUS_REDIS_URL}
    # A worker that is silent for so long counts as dead.
    silent_seconds: 30.0
""",
    "  poll_interval_seconds: 20\n": "  poll_interval_seconds: 10\n",
}

_HELM_RUNS: Final = {
    "    max_concurrent_runs: 2\n": "    # The pods that the cluster has room for.\n    max_concurrent_runs: 8\n",
}
_NOT_IN_HELM: Final = ("telemetry", "storage", "run_coordinator", "run_launcher")
"""The chart writes these itself, from values of their own."""


def files() -> dict[str, str]:
    """Return path in the repository → content."""
    instance = (ROOT / "dagster.yaml").read_text()
    values = (ROOT / "deploy" / "kubernetes" / "values.yaml").read_text()
    return {
        "deploy/celery/dagster.yaml": _replaced(instance, _CELERY),
        "deploy/kubernetes/values.yaml": _values(values, _sections(instance)),
    }


def _replaced(text: str, changes: dict[str, str]) -> str:
    for old, new in changes.items():
        if text.count(old) != 1:
            raise SystemExit(f"dagster.yaml does not have this once, as scripts/deploy_files.py expects:\n{old}")
        text = text.replace(old, new)
    return text


def _sections(text: str) -> dict[str, str]:
    """Return the sections of an instance file by their key, each with the comment above it."""
    paragraphs = text.strip().split("\n\n")
    return {re.findall(r"^(\w+):", paragraph, re.MULTILINE)[0]: paragraph for paragraph in paragraphs}


def _values(values: str, sections: dict[str, str]) -> str:
    """Return the Helm values with the coordinator and the `additionalInstanceConfig` of these sections."""
    coordinator = "".join(re.findall(r"^  .*\n", sections["run_coordinator"] + "\n", re.MULTILINE))
    values = _region(values, "      customRunCoordinator:\n", 8, _indented(coordinator, 6))
    shared = "\n\n".join(text for key, text in sections.items() if key not in _NOT_IN_HELM)
    return _region(values, "additionalInstanceConfig:\n", 2, _indented(_replaced(shared, _HELM_RUNS) + "\n", 2))


def _region(text: str, key: str, indent: int, content: str) -> str:
    """Return a text in which the lines below `key` that are indented so far are these."""
    head, found, tail = text.partition(key)
    if not found:
        raise SystemExit(f"deploy/kubernetes/values.yaml has no line {key!r}")
    rest = re.sub(rf"\A(?:(?: {{{indent}}}.*)?\n)*", "", tail)
    return head + key + content + rest


def _indented(text: str, spaces: int) -> str:
    return "".join(" " * spaces + line if line.strip() else line for line in text.splitlines(keepends=True))


if __name__ == "__main__":
    for name, content in files().items():
        (ROOT / name).write_text(content)
