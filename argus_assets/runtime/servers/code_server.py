"""Dagster's code server: run workers are forked from a warm process, and can always be ended.

Dagster's own starts a new Python for each run: 5 seconds of CPU before the first byte is read. Forking from the code
server itself would be unsafe, for its threads hold locks. `multiprocessing`'s fork server only imports (`preload`)
and forks: it has no thread of Python's, and those that libraries start when they are imported (OpenBLAS, jemalloc)
come through a fork by their own handlers.

Dagster's own cancels a run by an event that it shares with the worker, and waits for the worker while it holds the lock
that every start of a run takes: one worker that sleeps blocks all runs. Here a worker is signalled.
"""

import logging
import multiprocessing
import multiprocessing.forkserver
import os
import signal
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from typing import Any, Final

import dagster as dg
import dagster._grpc.server as dagster_server
from dagster._cli.api import api_cli
from dagster._core.instance import InstanceRef
from dagster._grpc.__generated__ import dagster_api_pb2
from dagster._grpc.types import (
    CanCancelExecutionRequest,
    CanCancelExecutionResult,
    CancelExecutionRequest,
    CancelExecutionResult,
    ExecuteExternalJobArgs,
)
from dagster._serdes import deserialize_value, serialize_value
from dagster._utils import get_run_crash_explanation

from argus_assets.containment.client import share_server

MODULE: Final = "argus_assets.definitions"
PRELOAD: Final = ("argus_assets.runtime.worker_bond", "argus_assets.runtime.servers.preload")

GRACE_S: Final = 15.0
"""Grace for a worker to end by itself: after it was interrupted, and after its run has ended."""

START_S: Final = 45.0
"""Deadline for a worker to report that it has started. Below the minute after which Dagster starts the run once more."""

_SCAN_S: Final = 5.0
"""Seconds between two scans of the workers' runs."""

_log = logging.getLogger("dagster.argus")


class ForkingApiServer(dagster_server.DagsterApiServer):
    """`DagsterApiServer` that forks its run workers and ends them itself.

    Nothing here waits for a worker, the database or a disk while it holds `_execution_lock`.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - Dagster's own
        self._cancelled: set[str] = set()
        self._ended_since: dict[str, float] = {}
        self._next_scan = 0.0
        super().__init__(*args, **kwargs)
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload([*PRELOAD])
        # Imports while nobody waits for a run yet.
        multiprocessing.forkserver.ensure_running()
        self._mp_ctx = context

    def StartRun(  # noqa: N802 - Dagster's own
        self, request: dagster_api_pb2.StartRunRequest, _context: object
    ) -> dagster_api_pb2.StartRunReply:
        """Start a run's worker; one that does not begin in time is killed, and so is a former one of the same run."""
        run_id = deserialize_value(request.serialized_execute_run_args, ExecuteExternalJobArgs).run_id
        former = self._worker(run_id)
        if former is not None:
            _log.warning("Run %s starts again: its former worker, process %s, is killed.", run_id, former.pid)
            _signal(former, signal.SIGKILL)
            wait([former.sentinel], GRACE_S)
        watchdog = threading.Timer(START_S, self._kill, [run_id, f"has not begun after {START_S:.0f} s"])
        watchdog.daemon = True
        watchdog.start()
        try:
            return super().StartRun(request, _context)  # pyright: ignore[reportArgumentType] - not used by Dagster
        finally:
            watchdog.cancel()

    def CancelExecution(  # noqa: N802 - Dagster's own
        self, request: dagster_api_pb2.CancelExecutionRequest, _context: object
    ) -> dagster_api_pb2.CancelExecutionReply:
        """Interrupt a run's worker, and kill it when it does not end."""
        run_id = deserialize_value(request.serialized_cancel_execution_request, CancelExecutionRequest).run_id
        worker = self._worker(run_id)
        if worker is not None:
            self._cancelled.add(run_id)
            threading.Thread(target=end_worker, args=[worker], name=f"cancel {run_id}", daemon=True).start()
        result = CancelExecutionResult(success=worker is not None, message=None, serializable_error_info=None)
        return dagster_api_pb2.CancelExecutionReply(serialized_cancel_execution_result=serialize_value(result))

    def CanCancelExecution(  # noqa: N802 - Dagster's own
        self, request: dagster_api_pb2.CanCancelExecutionRequest, _context: object
    ) -> dagster_api_pb2.CanCancelExecutionReply:
        """Return true when a run has a worker that was not cancelled yet."""
        run_id = deserialize_value(request.serialized_can_cancel_execution_request, CanCancelExecutionRequest).run_id
        result = CanCancelExecutionResult(can_cancel=self._worker(run_id) is not None and run_id not in self._cancelled)
        return dagster_api_pb2.CanCancelExecutionReply(serialized_can_cancel_execution_result=serialize_value(result))

    # ------------------------------------------------------------------------------------------ inside

    def _worker(self, run_id: str) -> BaseProcess | None:
        with self._execution_lock:
            found = self._executions.get(run_id)
        return found[0] if found is not None else None

    def _clear_run(self, run_id: str) -> None:
        """Forget a run; the lock is held."""
        for known in (self._executions, self._termination_events, self._termination_times, self._ended_since):
            known.pop(run_id, None)
        self._cancelled.discard(run_id)

    def _kill(self, run_id: str, why: str) -> None:
        worker = self._worker(run_id)
        if worker is not None:
            _log.warning("Run %s %s: its worker, process %s, is killed.", run_id, why, worker.pid)
            _signal(worker, signal.SIGKILL)

    def _check_for_orphaned_runs(self) -> None:
        """Scan the workers. A thread of Dagster's calls this twice a second, and an error would end it."""
        try:
            self._scan_workers()
        except Exception:  # noqa: BLE001 - the thread has to go on
            _log.exception("The run workers could not be scanned; retrying.")
            time.sleep(1.0)

    def _scan_workers(self) -> None:
        with self._execution_lock:
            workers = dict(self._executions)
        for run_id, (process, instance_ref) in workers.items():
            if process.is_alive():
                continue
            _report_end(run_id, process, instance_ref)
            with self._execution_lock:
                if self._executions.get(run_id, (None,))[0] is process:
                    self._clear_run(run_id)
        if time.monotonic() >= self._next_scan:
            self._next_scan = time.monotonic() + _SCAN_S
            self._end_workers_of_ended_runs()
        with self._execution_lock:
            if self._shutdown_once_executions_finish_event.is_set() and not self._executions:
                self._server_termination_event.set()

    def _end_workers_of_ended_runs(self) -> None:
        """Kill workers whose run has ended for Dagster: cancelled by force, failed by run monitoring, too slow to start."""
        with self._execution_lock:
            refs = {run_id: ref for run_id, (_, ref) in self._executions.items()}
        if not refs:
            return
        with dg.DagsterInstance.from_ref(next(iter(refs.values()))) as instance:
            runs = instance.get_runs(filters=dg.RunsFilter(run_ids=[*refs]))
        now = time.monotonic()
        for run in runs:
            if run.is_finished and now - self._ended_since.setdefault(run.run_id, now) >= GRACE_S:
                self._kill(run.run_id, f"is {run.status.value} for {GRACE_S:.0f} s")


def end_worker(worker: BaseProcess, grace_s: float = GRACE_S) -> None:
    """Interrupt a worker as Ctrl-C does, and kill it when it is still there after the grace.

    Args:
        worker: A process that this one started.
        grace_s: Seconds between both.
    """
    _signal(worker, signal.SIGINT)
    if not wait([worker.sentinel], grace_s):
        _log.warning("Process %s did not end when interrupted, and is killed.", worker.pid)
        _signal(worker, signal.SIGKILL)


def _signal(worker: BaseProcess, number: int) -> None:
    """Signal a worker that has not ended. When it has, its id may be another's."""
    if worker.pid is not None and not wait([worker.sentinel], 0):
        with suppress(ProcessLookupError):
            os.kill(worker.pid, number)


def _report_end(run_id: str, process: BaseProcess, instance_ref: InstanceRef) -> None:
    """Report the end of a worker whose run has not ended. One that was being cancelled is cancelled: nothing retries it."""
    with dg.DagsterInstance.from_ref(instance_ref) as instance:
        run = instance.get_run_by_id(run_id)
        if run is None or run.is_finished:
            return
        message = get_run_crash_explanation(f"Run execution process for {run_id}", process.exitcode or 0)
        instance.report_engine_event(message, run, cls=ForkingApiServer)
        if run.status is dg.DagsterRunStatus.CANCELING:
            instance.report_run_canceled(run)
        else:
            instance.report_run_failed(run)


def serve(*, listen: Sequence[str], location: str, options: Sequence[str] = ()) -> None:
    """Run the code server until SIGINT or SIGTERM.

    Args:
        listen: Where, as options of `dagster api grpc`: `--socket PATH`, or `--host NAME --port NUMBER`.
        location: Name of the code location.
        options: More options of `dagster api grpc`.
    """
    dagster_server.DagsterApiServer = ForkingApiServer  # what `dagster api grpc` starts; it has no option for it
    # Nothing is imported from where this process works: neither by the fork server, nor by Dagster.
    os.environ["PYTHONSAFEPATH"] = "1"
    share_server()  # the runs that are started from here fork their readers from one server
    what = ["--module-name", MODULE, "--empty-working-directory", "--location-name", location]
    api_cli.main(["grpc", *what, *listen, *options], prog_name="argus code-server")
