"""The platform as a set of processes: PostgreSQL, code server, webserver, daemon. Starts, watches and stops them.

`argus up`, `argus demo` and the integration tests all run this.
"""

import ctypes
import fcntl
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Generator, Mapping
from collections.abc import Set as AbstractSet
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

from argus_assets.drop.bucket import Bucket
from argus_assets.errors import BadSetting, Unavailable
from argus_assets.runtime.code_address import ASK_SECONDS, CodeAddress, Probe, home_socket
from argus_assets.runtime.embedded.postgres import EmbeddedPostgres
from argus_assets.runtime.private_folder import own_home
from argus_assets.settings import Settings

if TYPE_CHECKING:
    import dagster as dg

LOCATION: Final = "argus"
START_SECONDS: Final = 120.0
STOP_SECONDS: Final = 15.0
_LOCK: Final = "platform.lock"
STABLE_SECONDS: Final = 60.0
MAX_BACKOFF_SECONDS: Final = 30.0

PYTHON: Final = (sys.executable, "-P")
"""Nothing is imported from the folder that somebody happens to stand in."""

_UMASK: Final = 0o077
_PR_SET_PDEATHSIG: Final = 1
_LIBC: Final = ctypes.CDLL(None)
_CHILD_MARK: Final = "ARGUS_PLATFORM_OF"
"""Variable in the environment of all children and of what they start: the home they belong to."""


_T = TypeVar("_T")


def settings_for(home: Path | None, environ: Mapping[str, str]) -> Settings:
    """Settings from the environment, with the home that a command was given."""
    return Settings.from_env({**environ, **({"ARGUS_HOME": str(home)} if home else {})})


def dagster_yaml() -> Path:
    """The instance settings: in a checkout at its top, in an installed package beside the modules."""
    for place in (Path(__file__).parents[2], Path(__file__).parents[1]):
        if (place / "dagster.yaml").is_file():
            return place / "dagster.yaml"
    raise BadSetting("dagster.yaml is missing from the installation.", help="Install Argus again.")


def prepare_dagster_home(settings: Settings) -> Path:
    """Make DAGSTER_HOME with the instance settings; returns it."""
    folder = settings.home / "dagster"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    shutil.copyfile(dagster_yaml(), folder / "dagster.yaml")
    return folder


@contextmanager
def connect(home: Path | None = None) -> Generator[tuple["dg.DagsterInstance", Bucket]]:
    """The instance and the bucket that the settings name; starts the embedded PostgreSQL when nobody else has.

    Raises:
        BadSetting: There is no platform at this home.
    """
    import dagster as dg

    from argus_assets.adapters.postgres.database import require_known_version

    settings = settings_for(home, os.environ)
    bucket = Bucket.from_url(settings.bucket_url)
    postgres: EmbeddedPostgres | None = None
    url = settings.database_url
    if url is None:
        if not (settings.home / "postgres").exists():
            raise BadSetting(
                f"There is no platform in {settings.home}.",
                help="Start one with `argus up`, or name its folder with --home or ARGUS_HOME.",
            )
        own_home(settings.home)
        postgres = EmbeddedPostgres(settings.home / "postgres")
        url = postgres.acquire()
    os.environ["ARGUS_DATABASE_URL"] = url  # dagster.yaml reads it from there
    try:
        require_known_version(url)
        with database_that_answers(), dg.DagsterInstance.from_config(str(prepare_dagster_home(settings))) as instance:
            yield instance, bucket
    finally:
        if postgres is not None:
            postgres.release()


@contextmanager
def database_that_answers() -> Generator[None]:
    """Translate what a database raises that is away, or has no free connection, into `Unavailable`."""
    import psycopg2
    from dagster_postgres.utils import DagsterPostgresException
    from sqlalchemy.exc import InterfaceError, OperationalError
    from sqlalchemy.exc import TimeoutError as PoolTimeoutError

    away = (
        DagsterPostgresException,
        OperationalError,
        InterfaceError,
        PoolTimeoutError,
        psycopg2.OperationalError,
        psycopg2.InterfaceError,
    )
    try:
        yield
    except away as error:
        said = str(error.__cause__ or error).strip().splitlines()[0]
        raise Unavailable(
            f"The database did not answer: {said}",
            help="Wait, and try again. If it stays so: does PostgreSQL run, and who holds its connections "
            "(`SELECT * FROM pg_stat_activity`)?",
        ) from error


def free_port() -> int:
    """A TCP port of the loopback interface that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def port_is_free(host: str, port: int) -> bool:
    """Whether a server could listen there."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


@dataclass
class Child:
    """One supervised process.

    Attributes:
        name: What people call it.
        command: Its command line.
        where: What to tell people about it.
        log: File that takes what it prints.
        folder: Where it works, `None` for where this process does.
    """

    name: str
    command: list[str]
    where: str
    log: Path
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    failures: int = 0
    restart_at: float = 0.0
    folder: Path | None = None

    def start(self, environment: Mapping[str, str]) -> None:
        """Start it in its own process group."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(  # noqa: S603 - our own command lines, no shell
                self.command,
                env=dict(environment),
                cwd=self.folder,
                umask=_UMASK,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=_die_with_parent,  # noqa: PLW1509 - one call of the C library, nothing that takes a lock
            )
        self.started = time.monotonic()

    def alive(self) -> bool:
        """Whether it runs."""
        return self.process is not None and self.process.poll() is None

    def stop(self, seconds: float = STOP_SECONDS) -> None:
        """Ask it to stop, then make its whole process group stop."""
        process = self.process
        if process is None:
            return
        if process.poll() is None:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(seconds)
        # What it started (run workers) is in its group, and may outlive it.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        self.process = None

    def tail(self, lines: int = 15) -> str:
        """The end of its log."""
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return "\n".join(text.splitlines()[-lines:])


def _die_with_parent() -> None:
    """On Linux the kernel ends the child when its parent dies, however it dies."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # whoever started us may have it ignored, which is inherited
    if sys.platform == "linux":
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def owner_of(home: Path) -> str | None:
    """Id of the process that runs the platform at this home, `None` without one."""
    lock = home / _LOCK
    if not lock.exists():
        return None
    with lock.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return file.read().strip() or "?"
    return None


def home_is_taken(home: Path) -> BadSetting:
    """The error to raise where a platform runs already."""
    return BadSetting(
        f"A platform already runs in {home} (process {owner_of(home)}).",
        help="Stop it first, or give another --home.",
    )


class Platform:
    """One running platform. One at a time for each home.

    Args:
        settings: Home, database, bucket, lake, sensor interval and port (0 for any free one).
        host: Address of the webserver.
        webserver: Whether to run one.
        metrics_port: Where to tell Prometheus the figures, `None` for nowhere.
        viewer_port: Port on loopback of a second webserver that only shows (0 for any free one), `None` for none.
        code_port: Port on loopback of the code server, `None` for a socket in the home, which others cannot reach.
        ask_seconds: How long the code server may take to answer; three times without an answer, and it starts again.
        environment: For the children, beside the settings.
        on_event: Called with (name, what happened) as things start, die and stop.
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
        self._environment = dict(environment)
        self._tell = on_event
        self._lock: int | None = None
        self._postgres: EmbeddedPostgres | None = None
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
        """Address of the Dagster UI that only shows, on loopback, `None` where there is none."""
        return None if self.viewer_port is None else f"http://127.0.0.1:{self.viewer_port}"

    @property
    def dagster_home(self) -> Path:
        """DAGSTER_HOME of the children."""
        return self.settings.home / "dagster"

    def start(self) -> None:
        """Start everything and wait until it is healthy. On an error, what was started is stopped again.

        Raises:
            BadSetting: The home is in use, or the port is.
            Unavailable: A part did not become healthy.
        """
        self._take_home()
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
            self._postgres = EmbeddedPostgres(settings.home / "postgres")
            url = self._postgres.acquire()
            self._tell("postgresql", f"embedded, data in {self._postgres.place}")
        else:
            self._tell("postgresql", f"at {redacted(url)}")
        require_known_version(url)
        self._environment |= {
            **settings.environment(),
            "ARGUS_DATABASE_URL": url,
            "DAGSTER_HOME": str(prepare_dagster_home(settings)),
            "PYTHONUNBUFFERED": "1",
            "PYTHONSAFEPATH": "1",
            _CHILD_MARK: str(settings.home),
        }
        left = self._end_leftovers()
        if left:
            self._tell("recovery", f"{left} processes of a platform that was killed were still at work, and are ended")
        recovered = self._recover()
        if recovered:
            self._tell("recovery", f"{recovered} runs were cut off when the platform stopped; they start again")

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
            f"looks into the inbox every {settings.sensor_interval_s} s",
            logs / "daemon.log",
        )
        webservers = [(web, self.ui_url)] if self._webserver else []
        if self.viewer_url is not None:
            command = [*serve, "--read-only", "--port", str(self.viewer_port)]
            viewer = Child("viewer", command, f"{self.viewer_url}, only shows", logs / "viewer.log")
            webservers.append((viewer, self.viewer_url))
        self._launch(code, address.answers)
        self._code, self._probe = code, Probe(address, ask_seconds=self._ask_seconds)
        for child, _ in webservers:
            self._begin(child)
        self._launch(daemon, self._daemon_beats)
        if self._metrics_port is not None:
            port = str(self._metrics_port)
            told_at = f"http://127.0.0.1:{port}/metrics"
            command = [*PYTHON, "-m", "argus_assets", "metrics", "--port", port]
            self._launch(Child("metrics", command, told_at, logs / "metrics.log"), lambda: _answers(told_at))
        for child, url in webservers:
            self._wait(child, partial(_answers, f"{url}/server_info"))

    def _launch(self, child: Child, healthy: Callable[[], bool]) -> None:
        self._begin(child)
        self._wait(child, healthy)

    def _begin(self, child: Child) -> None:
        child.folder = self.settings.home
        child.start(self._environment)
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
        self._tell(child.name, child.where)

    def watch(self) -> None:
        """Look once after everything: start again what has died, later and later when it keeps dying."""
        try:
            if self._postgres is not None and self._postgres.ensure_running():
                self._tell("postgresql", "had died, started again")
        except Unavailable as error:
            # A full disk, say. The others wait for it, and go on when there is room.
            self._tell("postgresql", f"has died and does not start, tried again: {error.what.splitlines()[0]}")
        self._end_deaf_code_server()
        for child in self.children:
            if child.alive():
                if child.failures and time.monotonic() - child.started > STABLE_SECONDS:
                    child.failures = 0
                continue
            if child.restart_at == 0.0:
                delay = min(MAX_BACKOFF_SECONDS, 2.0**child.failures - 1)
                child.restart_at = time.monotonic() + delay
                child.failures += 1
                self._tell(child.name, f"has died, starts again in {delay:.0f} s; see {child.log}")
            if time.monotonic() >= child.restart_at:
                child.stop()
                child.restart_at = 0.0
                if child is self._code:
                    # Its run workers died with it. When the database is away, run monitoring finds them later.
                    self._orphans |= self._try(self._runs_at_work, set())
                child.start(self._environment)
                if child is self._code and self._probe is not None:
                    self._probe.restarted()
        # Dagster starts a failed run again at once or never, and needs the code server for it.
        if self._orphans and self._probe is not None and self._probe.heard:
            self._try(partial(self._recover, self._orphans), 0)
            self._orphans = set()

    def _end_deaf_code_server(self) -> None:
        """Kill a code server that lives and does not answer, and its workers: `watch` starts it again as a dead one."""
        code, probe = self._code, self._probe
        if code is None or probe is None or not code.alive():
            return
        late = not probe.heard and time.monotonic() - code.started > START_SECONDS
        if probe.deaf or late:
            self._tell(code.name, "does not answer any more, is killed with its run workers")
            code.stop(0)

    def stop(self) -> None:
        """Stop everything, the daemon first, so that nothing new starts meanwhile; harmless when repeated."""
        if self._probe is not None:
            self._probe.stop()
        for child in reversed(self.children):
            child.stop()
            self._tell(child.name, "stopped")
        self.children.clear()
        if self._postgres is not None:
            self._postgres.release()
            self._postgres = None
            self._tell("postgresql", "stopped")
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    @contextmanager
    def instance(self) -> Generator["dg.DagsterInstance"]:
        """The Dagster instance of this platform."""
        import dagster as dg

        os.environ["ARGUS_DATABASE_URL"] = self._environment["ARGUS_DATABASE_URL"]
        with dg.DagsterInstance.from_config(str(self.dagster_home)) as instance:
            yield instance

    # ------------------------------------------------------------------------------------------ inside

    def _take_home(self) -> None:
        own_home(self.settings.home)
        lock = os.open(self.settings.home / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(lock)
            raise home_is_taken(self.settings.home) from error
        os.ftruncate(lock, 0)
        os.pwrite(lock, str(os.getpid()).encode(), 0)
        self._lock = lock

    def _runs_at_work(self) -> set[str]:
        """Ids of the runs that have a worker, or are about to get one."""
        with self.instance() as instance:
            return {run.run_id for run in instance.get_runs(filters=_at_work())}

    def _recover(self, run_ids: AbstractSet[str] | None = None) -> int:
        """End the runs whose workers cannot be alive. Dagster's run retries start those again that nobody cancelled.

        Args:
            run_ids: Look at these runs only.
        """
        import dagster as dg

        with self.instance() as instance:
            dead = instance.get_runs(filters=_at_work(run_ids))
            for run in dead:
                message = "The platform stopped while this run was at work; its worker is gone."
                if run.status is dg.DagsterRunStatus.CANCELING:
                    instance.report_run_canceled(run, message)
                else:
                    instance.report_run_failed(run, message)
        return len(dead)

    def _try(self, look: Callable[[], _T], otherwise: _T) -> _T:
        """Ask the database; when it does not answer, say so and go on."""
        from dagster_postgres.utils import DagsterPostgresException
        from sqlalchemy.exc import DBAPIError

        try:
            return look()
        except (DBAPIError, DagsterPostgresException) as error:
            self._tell("recovery", f"the database does not answer: {str(error).splitlines()[0]}")
            return otherwise

    def _end_leftovers(self) -> int:
        """End what a killed platform left of this home; returns how many processes.

        A run worker that goes on would take its batches through a second time, beside the run that is started again.
        """
        mark = f"{_CHILD_MARK}={self.settings.home}".encode()
        found: list[int] = []
        for entry in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if entry.name != str(os.getpid()) and mark in (entry / "environ").read_bytes().split(b"\0"):
                    os.kill(int(entry.name), signal.SIGKILL)
                    found.append(int(entry.name))
        deadline = time.monotonic() + STOP_SECONDS
        while any(_is_alive(pid) for pid in found) and time.monotonic() < deadline:
            time.sleep(0.05)
        return len(found)

    def _daemon_beats(self) -> bool:
        from dagster._daemon.controller import all_daemons_healthy

        with self.instance() as instance:
            return all_daemons_healthy(instance)


def _at_work(run_ids: AbstractSet[str] | None = None) -> "dg.RunsFilter":
    """Runs that have a worker or are about to get one, of these ids where any are given."""
    import dagster as dg

    status = dg.DagsterRunStatus
    return dg.RunsFilter(
        run_ids=None if run_ids is None else sorted(run_ids),
        statuses=[status.STARTING, status.STARTED, status.CANCELING],
    )


def _is_alive(pid: int) -> bool:
    """Whether a process is there and more than an entry that waits to be reaped."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def _absolute(url: str) -> str:
    """A folder as a path that does not depend on where a process works; any other URL as it is."""
    return url if "://" in url else str(Path(url).expanduser().absolute())


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as response:  # noqa: S310 - our own loopback address
            return response.status == 200
    except OSError:
        return False


def redacted(url: str) -> str:
    """A database URL without its password."""
    head, at, tail = url.rpartition("@")
    scheme, sep, user = head.partition("://")
    return f"{scheme}{sep}{user.partition(':')[0]}{at}{tail}" if at else url
