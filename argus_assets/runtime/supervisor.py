"""Supervise the processes of one running Argus: PostgreSQL, code server, webservers, daemon.

`argus up`, `argus demo` and the integration tests all run this.
"""

import os
import sys
import time
import urllib.request
from collections.abc import Callable, Generator, Mapping
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

from argus_assets.drop.bucket import Bucket
from argus_assets.errors import BadSetting, Unavailable
from argus_assets.runtime.child import HOME_MARK, PYTHON, Child, end_leftovers
from argus_assets.runtime.code_address import ASK_SECONDS, CodeAddress, Probe, home_socket
from argus_assets.runtime.connection import database_that_answers, prepare_dagster_home
from argus_assets.runtime.embedded.postgres import EmbeddedPostgres
from argus_assets.runtime.home_lock import HomeLock
from argus_assets.runtime.ports import free_port, port_is_free
from argus_assets.settings import Settings, without_password

if TYPE_CHECKING:
    import dagster as dg

LOCATION: Final = "argus"
START_SECONDS: Final = 120.0
STABLE_SECONDS: Final = 60.0
MAX_BACKOFF_SECONDS: Final = 30.0

_T = TypeVar("_T")


class Supervisor:
    """Starts, watches and stops the processes of one home. A home has one supervisor at a time.

    Args:
        settings: Home, database, bucket, lake, sensor interval and port (0 for any free one).
        host: Address of the webserver.
        webserver: Whether to run one.
        metrics_port: Port on loopback where Prometheus scrapes metrics, `None` for none.
        viewer_port: Port on loopback of a second, read-only webserver (0 for any free one), `None` for none.
        code_port: Port on loopback of the code server, `None` for a socket in the home, which others cannot reach.
        ask_seconds: How long the code server may take to answer; after three times without an answer it is restarted.
        environment: For the children, beside the settings.
        on_event: Called with (name, what happened) as processes start, die and stop.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        host: str = "127.0.0.1",
        webserver: bool = True,
        metrics_port: int | None = None,
        viewer_port: int | None = None,
        code_port: int | None = None,
        ask_seconds: int = ASK_SECONDS,
        environment: Mapping[str, str] = os.environ,
        on_event: Callable[[str, str], None] = lambda _name, _text: None,
    ) -> None:
        # Children work in the home.
        places = {name: _absolute(getattr(settings, name)) for name in ("bucket_url", "lake_url")}
        self.settings = settings.model_copy(update={"home": settings.home.absolute(), **places})
        self.host = host
        self.port = settings.port or free_port()
        self.children: list[Child] = []
        self.viewer_port = free_port() if viewer_port == 0 else viewer_port
        self._webserver = webserver
        self._metrics_port = metrics_port
        self.environment = dict(environment)
        self._notify = on_event
        self._lock = HomeLock(self.settings.home)
        self.postgres: EmbeddedPostgres | None = None
        self.code_port = code_port
        self._ask_seconds = ask_seconds
        self._code: Child | None = None
        self._probe: Probe | None = None
        self._orphans: set[str] = set()

    @property
    def ui_url(self) -> str:
        """Address of the Dagster UI."""
        return f"http://{self.host}:{self.port}"

    @property
    def viewer_url(self) -> str | None:
        """Address of the read-only Dagster UI, on loopback, `None` where there is none."""
        return None if self.viewer_port is None else f"http://127.0.0.1:{self.viewer_port}"

    @property
    def dagster_home(self) -> Path:
        """DAGSTER_HOME of the children."""
        return self.settings.home / "dagster"

    def start(self) -> None:
        """Start everything and wait until it is healthy. On an error, stop what was started.

        Raises:
            BadSetting: The home or a port is in use.
            Unavailable: A part did not become healthy.
        """
        self._lock.acquire()
        try:
            with database_that_answers():
                self._start()
        except BaseException:
            self.stop()
            raise

    def _start(self) -> None:
        from argus_assets.adapters.postgres.database import require_known_version

        settings = self.settings
        if self._webserver and not port_is_free(self.host, self.port):
            raise BadSetting(
                f"Port {self.port} on {self.host} is in use.",
                help="Give another one: --port, or ARGUS_PORT; 0 takes any.",
            )
        if self.viewer_port is not None and not port_is_free("127.0.0.1", self.viewer_port):
            raise BadSetting(
                f"Port {self.viewer_port} on 127.0.0.1 is in use.", help="Give another one: --viewer-port; 0 takes any."
            )
        logs = settings.home / "logs"
        logs.mkdir(mode=0o700, parents=True, exist_ok=True)
        Bucket.from_url(settings.bucket_url).ensure()

        url = settings.database_url
        if url is None:
            self.postgres = EmbeddedPostgres(settings.home / "postgres")
            url = self.postgres.acquire()
            self._notify("postgresql", f"embedded, data in {self.postgres.place}")
        else:
            self._notify("postgresql", f"at {without_password(url)}")
        require_known_version(url)
        self.environment |= {
            **settings.environment(),
            "ARGUS_DATABASE_URL": url,
            "DAGSTER_HOME": str(prepare_dagster_home(settings)),
            "PYTHONUNBUFFERED": "1",
            "PYTHONSAFEPATH": "1",
            HOME_MARK: str(settings.home),
        }
        left = end_leftovers(settings.home)
        if left:
            self._notify(
                "recovery", f"killed {left} process{'es' if left > 1 else ''} that a killed supervisor had left behind"
            )
        recovered = self._recover()
        if recovered:
            self._notify(
                "recovery",
                f"{recovered} run{'s were' if recovered > 1 else ' was'} interrupted when Argus stopped; Dagster retries",
            )

        address = home_socket(settings.home) if self.code_port is None else CodeAddress(port=self.code_port)
        workspace = self.dagster_home / "workspace.yaml"
        workspace.write_text(address.workspace(LOCATION))
        programs = Path(sys.executable).parent
        log_format = ["--log-format", "json"] if settings.log_format == "json" else []
        code = Child(
            "code server",
            [
                *PYTHON,
                "-m",
                "argus_assets",
                "code-server",
                *address.options(),
                "--location-name",
                LOCATION,
                *log_format,
            ],
            str(address),
            logs / "code-server.log",
        )
        serve = [*PYTHON, "-m", "argus_assets", "webserver", "--workspace", str(workspace)]
        web = Child(
            "webserver",
            [*serve, "--host", self.host, "--port", str(self.port)],
            self.ui_url,
            logs / "webserver.log",
        )
        daemon = Child(
            "daemon",
            [*PYTHON, str(programs / "dagster-daemon"), "run", "-w", str(workspace), *log_format],
            f"scans the inbox every {settings.sensor_interval_s} s",
            logs / "daemon.log",
        )
        webservers = [(web, self.ui_url)] if self._webserver else []
        if self.viewer_url is not None:
            command = [*serve, "--read-only", "--port", str(self.viewer_port)]
            viewer = Child("viewer", command, f"{self.viewer_url}, read-only", logs / "viewer.log")
            webservers.append((viewer, self.viewer_url))
        self._launch(code, address.answers)
        self._code, self._probe = code, Probe(address, ask_seconds=self._ask_seconds)
        for child, _ in webservers:
            self._begin(child)
        self._launch(daemon, self._daemon_beats)
        if self._metrics_port is not None:
            port = str(self._metrics_port)
            metrics_url = f"http://127.0.0.1:{port}/metrics"
            command = [*PYTHON, "-m", "argus_assets", "metrics", "--port", port]
            self._launch(Child("metrics", command, metrics_url, logs / "metrics.log"), lambda: _answers(metrics_url))
        for child, url in webservers:
            self._wait(child, partial(_answers, f"{url}/server_info"))

    def _launch(self, child: Child, healthy: Callable[[], bool]) -> None:
        self._begin(child)
        self._wait(child, healthy)

    def _begin(self, child: Child) -> None:
        child.folder = self.settings.home
        child.start(self.environment)
        self.children.append(child)

    def _wait(self, child: Child, healthy: Callable[[], bool]) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not healthy():
            if not child.alive():
                raise Unavailable(f"The {child.name} ended while starting:\n{child.tail()}", help=f"See {child.log}.")
            if time.monotonic() > deadline:
                raise Unavailable(
                    f"The {child.name} did not answer in {START_SECONDS:.0f} s.", help=f"See {child.log}."
                )
            time.sleep(0.2)
        self._notify(child.name, child.where)

    def watch(self) -> None:
        """Check every process once; restart what has died, with a longer delay each time it dies again."""
        try:
            if self.postgres is not None and self.postgres.ensure_running():
                self._notify("postgresql", "had died, restarted")
        except Unavailable as error:
            # A full disk, say. The others wait for it, and go on when there is room.
            self._notify("postgresql", f"has died and does not start, retrying: {error.what.splitlines()[0]}")
        self._kill_deaf_code_server()
        for child in self.children:
            if child.alive():
                if child.failures and time.monotonic() - child.started > STABLE_SECONDS:
                    child.failures = 0
                continue
            if child.restart_at == 0.0:
                delay = min(MAX_BACKOFF_SECONDS, 2.0**child.failures - 1)
                child.restart_at = time.monotonic() + delay
                child.failures += 1
                self._notify(child.name, f"has died, restarts in {delay:.0f} s; see {child.log}")
            if time.monotonic() >= child.restart_at:
                child.stop()
                child.restart_at = 0.0
                if child is self._code:
                    # Its run workers died with it. When the database is away, run monitoring finds them later.
                    self._orphans |= self._try(self._active_runs, set())
                child.start(self.environment)
                if child is self._code and self._probe is not None:
                    self._probe.restarted()
        # Dagster retries a failed run at once or never, and needs the code server for it.
        if self._orphans and self._probe is not None and self._probe.heard:
            self._try(partial(self._recover, self._orphans), 0)
            self._orphans = set()

    def _kill_deaf_code_server(self) -> None:
        """Kill a code server that lives and does not answer, and its workers: `watch` then restarts it."""
        code, probe = self._code, self._probe
        if code is None or probe is None or not code.alive():
            return
        late = not probe.heard and time.monotonic() - code.started > START_SECONDS
        if probe.deaf or late:
            self._notify(code.name, "no longer answers, killed with its run workers")
            code.stop(0)

    def stop(self) -> None:
        """Stop everything, the daemon first, so that nothing new starts; harmless when repeated."""
        if self._probe is not None:
            self._probe.stop()
        for child in reversed(self.children):
            child.stop()
            self._notify(child.name, "stopped")
        self.children.clear()
        if self.postgres is not None:
            self.postgres.release()
            self.postgres = None
            self._notify("postgresql", "stopped")
        self._lock.release()

    @contextmanager
    def instance(self) -> Generator["dg.DagsterInstance"]:
        """Open the Dagster instance of this home."""
        import dagster as dg

        os.environ["ARGUS_DATABASE_URL"] = self.environment["ARGUS_DATABASE_URL"]
        with dg.DagsterInstance.from_config(str(self.dagster_home)) as instance:
            yield instance

    # ------------------------------------------------------------------------------------------ inside

    def _active_runs(self) -> set[str]:
        """Return the ids of the runs that have a worker, or are about to get one."""
        with self.instance() as instance:
            return {run.run_id for run in instance.get_runs(filters=_active())}

    def _recover(self, run_ids: AbstractSet[str] | None = None) -> int:
        """Fail the runs whose workers cannot be alive. Dagster retries those that nobody cancelled; return how many there were.

        Args:
            run_ids: Of these runs only.
        """
        import dagster as dg

        with self.instance() as instance:
            dead = instance.get_runs(filters=_active(run_ids))
            for run in dead:
                message = "Argus stopped during this run; its worker is gone."
                if run.status is dg.DagsterRunStatus.CANCELING:
                    instance.report_run_canceled(run, message)
                else:
                    instance.report_run_failed(run, message)
        return len(dead)

    def _try(self, query: Callable[[], _T], otherwise: _T) -> _T:
        """Return what a query of the database brings; when there is no answer, report that and return `otherwise`."""
        from dagster_postgres.utils import DagsterPostgresException
        from sqlalchemy.exc import DBAPIError

        try:
            return query()
        except (DBAPIError, DagsterPostgresException) as error:
            self._notify("recovery", f"the database does not answer: {str(error).splitlines()[0]}")
            return otherwise

    def _daemon_beats(self) -> bool:
        from dagster._daemon.controller import all_daemons_healthy

        with self.instance() as instance:
            return all_daemons_healthy(instance)


def _active(run_ids: AbstractSet[str] | None = None) -> "dg.RunsFilter":
    """Return a filter for runs that have a worker or are about to get one, of these ids where any are given."""
    import dagster as dg

    status = dg.DagsterRunStatus
    return dg.RunsFilter(
        run_ids=None if run_ids is None else sorted(run_ids),
        statuses=[status.STARTING, status.STARTED, status.CANCELING],
    )


def _absolute(url: str) -> str:
    """Return a folder as an absolute path, any other URL as it is."""
    return url if "://" in url else str(Path(url).expanduser().absolute())


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as response:  # noqa: S310 - our own loopback address
            return response.status == 200
    except OSError:
        return False
