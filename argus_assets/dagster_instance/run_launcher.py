"""Dagster's run launcher for code servers, with a health check of a run's worker.

A code server reports the death of its own workers, but not when the database is unreachable at that moment, nor when the
server dies itself. Without this check such a run counts as started until `max_runtime_seconds`, and its batches wait.

Workers are ended by their code server (`runtime/servers/code_server.py`), which alone knows that a process is still that worker.
"""

import json
import socket
from typing import Any, Final

import dagster as dg
from dagster import DagsterEventType, DefaultRunLauncher
from dagster._core.errors import DagsterUserCodeUnreachableError
from dagster._core.launcher.base import CheckRunHealthResult, WorkerStatus
from dagster._core.storage.tags import GRPC_INFO_TAG
from dagster._grpc.client import DagsterGrpcClient
from dagster._grpc.types import CanCancelExecutionRequest, CanCancelExecutionResult
from dagster._serdes import deserialize_value

from argus_assets.common.processes import has_ended

ASK_SECONDS: Final = 10
_THIS_MACHINE: Final = ("localhost", "127.0.0.1", "::1")


class ImpatientClient(DagsterGrpcClient):
    """`DagsterGrpcClient` that waits `ASK_SECONDS` for an answer, not a minute."""

    def _get_response(self, method: str, request: Any, timeout: int = ASK_SECONDS) -> Any:  # noqa: ANN401 - Dagster's own
        return super()._get_response(method, request, min(timeout, ASK_SECONDS))


class WatchedRunLauncher(DefaultRunLauncher):
    """`DefaultRunLauncher` whose workers run monitoring can check (`run_monitoring` in `dagster.yaml`)."""

    @property
    def supports_check_run_worker_health(self) -> bool:
        """True."""
        return True

    def check_run_worker_health(self, run: dg.DagsterRun) -> CheckRunHealthResult:
        """Check whether the code server knows the run, and on the same machine whether its process lives.

        A code server that does not answer proves nothing: the worker counts as running.
        """
        client = self._get_grpc_client_for_termination(run.run_id)
        if client is None:
            return CheckRunHealthResult(WorkerStatus.RUNNING, "It has not been launched yet, or has ended.")
        try:
            answer = client.can_cancel_execution(CanCancelExecutionRequest(run_id=run.run_id))
        except DagsterUserCodeUnreachableError:
            return CheckRunHealthResult(
                WorkerStatus.RUNNING, "The code server does not answer; nothing is known of the worker."
            )
        if not deserialize_value(answer, CanCancelExecutionResult).can_cancel:
            return CheckRunHealthResult(WorkerStatus.NOT_FOUND, "The code server has no worker for this run.")
        pid = self._worker_pid(run)
        if pid is not None and has_ended(pid):
            return CheckRunHealthResult(WorkerStatus.FAILED, f"Its worker, process {pid}, has ended without a report.")
        return CheckRunHealthResult(WorkerStatus.RUNNING)

    def _get_grpc_client_for_termination(self, run_id: str) -> DagsterGrpcClient | None:
        """Return a client of the run's code server that gives up soon, `None` without a run at work."""
        client = super()._get_grpc_client_for_termination(run_id)
        if client is None:
            return None
        host = client.host or "localhost"
        return ImpatientClient(port=client.port, socket=client.socket, host=host, use_ssl=client.use_ssl)

    def _worker_pid(self, run: dg.DagsterRun) -> int | None:
        """Return the process id that the worker reported, `None` where it runs on another machine or reported none."""
        host = json.loads(run.tags.get(GRPC_INFO_TAG, "{}")).get("host")
        if host not in (*_THIS_MACHINE, socket.gethostname()):
            return None
        for entry in self._instance.all_logs(run.run_id, of_type=DagsterEventType.ENGINE_EVENT):
            event = entry.dagster_event
            pid = event.engine_event_data.metadata.get("pid") if event is not None else None
            if pid is not None:
                return int(str(pid.value))
        return None
