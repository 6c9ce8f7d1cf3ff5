"""Dagster's run launcher for Celery workers on several hosts, with a health check of a run's worker.

`CeleryRunLauncher` trusts what the result store says last. A host that dies says nothing more: its runs would count as
started until `max_runtime_seconds`. And a run that a person stops would count as crashed, and be retried.
"""

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import dagster as dg
from celery.exceptions import BackendError
from dagster._core.launcher.base import CheckRunHealthResult, LaunchRunContext, WorkerStatus
from dagster._serdes import ConfigurableClassData
from dagster_celery.launcher import CeleryRunLauncher
from dagster_celery.tags import DAGSTER_CELERY_TASK_ID_TAG
from dagster_celery.tasks import create_execute_job_task, create_resume_job_task
from kombu.exceptions import KombuError
from redis.exceptions import RedisError

if TYPE_CHECKING:
    from celery import Celery

SILENT_SECONDS: Final = 30.0
BROKER_PATIENCE_S: Final = 60.0
"""How long a launch waits for the broker. Well below `start_timeout_seconds`, which runs meanwhile."""

_ASK_SECONDS: Final = 3.0
_BROKER_ERRORS: Final = (KombuError, RedisError, BackendError, OSError)
_ENDED: Final = ("SUCCESS", "FAILURE", "REVOKED")

_CELERY: Final[Mapping[str, Any]] = {
    # A worker takes a run when it has a place for it, not before: the host beside it may be idle.
    "worker_prefetch_multiplier": 1,
    "worker_disable_prefetch": True,
    # A run is handed out once. What a dead worker had is found by run monitoring, and retries make a new run of it: a
    # second delivery of the same run would be recognised only by luck.
    "task_acks_late": False,
    "task_reject_on_worker_lost": False,
    "broker_connection_retry_on_startup": True,
    # What a worker had taken from the queue and not begun when it died comes back after this; the run is failed by
    # `start_timeout_seconds` before that, and a message of a run that has ended does nothing.
    "broker_transport_options": {"visibility_timeout": 3600, "socket_timeout": 20, "socket_connect_timeout": 5},
    "redis_socket_timeout": 20.0,
    "redis_socket_connect_timeout": 5.0,
    "result_backend_transport_options": {"retry_policy": {"timeout": 5.0, "max_retries": 2}},
    "result_expires": 86_400,
    # Memory that a library does not give back goes with its process.
    "worker_max_tasks_per_child": 50,
    "worker_hijack_root_logger": False,
}


class WatchedCeleryLauncher(CeleryRunLauncher):
    """`CeleryRunLauncher` whose workers run monitoring can check (`deploy/celery/dagster.yaml`).

    Args:
        silent_seconds: How long a worker may be silent, or not know of its run, before it counts as dead. Longer than
            a cut of the network that workers outlive: a worker that counts as dead and is not works on.
        config_source: Settings of Celery, over those above.
        arguments: As for `CeleryRunLauncher`.
    """

    def __init__(
        self,
        silent_seconds: float = SILENT_SECONDS,
        config_source: Mapping[str, Any] | None = None,
        **arguments: Any,  # noqa: ANN401 - Dagster's own
    ) -> None:
        self._silent_s = silent_seconds
        self._missing: dict[str, float] = {}
        super().__init__(config_source={**_CELERY, **(config_source or {})}, **arguments)

    @classmethod
    def config_type(cls) -> dict[str, Any]:  # pyright: ignore[reportIncompatibleMethodOverride] - Dagster's is a union
        """Return Dagster's fields and `silent_seconds`."""
        return {
            **super().config_type(),  # pyright: ignore[reportGeneralTypeIssues]
            "silent_seconds": dg.Field(
                float,
                is_required=False,
                default_value=SILENT_SECONDS,
                description="How long a worker may be silent before its runs count as lost.",
            ),
        }

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData, config_value: Mapping[str, Any]
    ) -> "WatchedCeleryLauncher":
        """Return the launcher that `dagster.yaml` configures."""
        return cls(inst_data=inst_data, **config_value)

    def worker_app(self) -> "Celery":
        """Return the Celery app with the tasks that a worker executes."""
        create_execute_job_task(self.celery)
        create_resume_job_task(self.celery)
        return self.celery

    def launch_run(self, context: LaunchRunContext) -> None:
        """Put a run into the queue; wait for a broker that is unreachable for a while.

        Raises:
            OperationalError: It stayed unreachable. Dagster fails the run, and retries it.
        """
        with self.celery.connection_for_write() as connection:
            connection.ensure_connection(
                timeout=BROKER_PATIENCE_S, interval_start=0.5, interval_step=0.5, interval_max=3
            )
        super().launch_run(context)

    def terminate(self, run_id: str) -> bool:
        """Interrupt a run as Ctrl-C does; one that is still waiting for a worker will not begin."""
        run = self._instance.get_run_by_id(run_id)
        if run is None or run.is_finished:
            return False
        self._instance.report_run_canceling(run)
        task_id = run.tags.get(DAGSTER_CELERY_TASK_ID_TAG)
        if task_id is not None:
            # A worker's processes ignore SIGINT but while Dagster is at work in them. SIGTERM would end the process.
            try:
                self.celery.control.revoke(task_id, terminate=True, signal="SIGINT")
            except _BROKER_ERRORS:  # a connection of before the broker was started again; the next one is new
                self.celery.control.revoke(task_id, terminate=True, signal="SIGINT")
        return True

    def check_run_worker_health(self, run: dg.DagsterRun) -> CheckRunHealthResult:
        """Check whether the worker that began the run still has it.

        A broker that does not answer proves nothing: the worker counts as running.
        """
        task_id = run.tags.get(DAGSTER_CELERY_TASK_ID_TAG)
        if task_id is None:
            return CheckRunHealthResult(
                WorkerStatus.RUNNING, "Its task is not known yet; nothing is known of its worker."
            )
        try:
            worker, found = self._find(task_id)
            state = self.celery.AsyncResult(task_id).state
        except _BROKER_ERRORS as error:
            self._missing.clear()
            return CheckRunHealthResult(
                WorkerStatus.RUNNING, f"The broker does not answer; nothing is known of the worker: {error}"
            )
        if found:
            self._missing.pop(run.run_id, None)
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        if state in _ENDED:
            self._missing.pop(run.run_id, None)
            return CheckRunHealthResult(
                WorkerStatus.FAILED, f"Its Celery task has ended ({state}), and the run has not: its process died."
            )
        now = time.monotonic()
        silent_s = now - self._missing.setdefault(run.run_id, now)
        if silent_s < self._silent_s:
            return CheckRunHealthResult(WorkerStatus.RUNNING, f"Not found for {silent_s:.0f} s.")
        del self._missing[run.run_id]
        return CheckRunHealthResult(
            WorkerStatus.NOT_FOUND,
            f"Worker {worker or '(unknown)'} has not reported it, or not answered, for {silent_s:.0f} s: "
            "its host or process died.",
        )

    def _find(self, task_id: str) -> tuple[str | None, bool]:
        """Return the worker that began a task, from the result store, and true when it or any other still executes it."""
        result = self.celery.AsyncResult(task_id)
        info = result.info if result.state == "STARTED" else None
        worker = info.get("hostname") if isinstance(info, dict) else None
        inspect = self.celery.control.inspect(
            destination=[worker] if worker else None, timeout=_ASK_SECONDS, limit=1 if worker else None
        )
        answers = inspect.active() or {}
        return worker, any(task["id"] == task_id for tasks in answers.values() for task in tasks)
