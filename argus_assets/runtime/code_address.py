"""Address and health of the code server."""

import os
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import yaml

from argus_assets.errors import BadSetting
from argus_assets.runtime.private_folder import fits_socket, is_private, make_socket_folder, noted_folder

if TYPE_CHECKING:
    from dagster._grpc.client import DagsterGrpcClient

ASK_SECONDS: Final = 10
"""How long an answer may take. It needs the lock that every start of a run takes, and nothing else."""

_SOCKET: Final = "code.sock"


@dataclass(frozen=True, slots=True)
class CodeAddress:
    """Address of a code server: a Unix socket, or host and port."""

    socket: Path | None = None
    host: str = "127.0.0.1"
    port: int | None = None

    def __str__(self) -> str:
        return f"{self.host}:{self.port}" if self.socket is None else str(self.socket)

    def options(self) -> list[str]:
        """Return the options of `argus code-server` and of `dagster api grpc` that make it listen here."""
        if self.socket is None:
            return ["--host", self.host, "--port", str(self.port)]
        return ["--socket", str(self.socket)]

    def workspace(self, location: str) -> str:
        """Return Dagster's workspace file for it."""
        where = {"host": self.host, "port": self.port} if self.socket is None else {"socket": str(self.socket)}
        return yaml.safe_dump({"load_from": [{"grpc_server": {**where, "location_name": location}}]})

    def client(self) -> "DagsterGrpcClient":
        """Return a client for it."""
        from dagster._grpc.client import DagsterGrpcClient

        if self.socket is None:
            return DagsterGrpcClient(port=self.port, host=self.host)
        return DagsterGrpcClient(socket=str(self.socket))

    def answers(self, seconds: int = ASK_SECONDS) -> bool:
        """Return true when it could start a run: when it takes the lock of its runs within so many seconds."""
        from dagster._core.errors import DagsterUserCodeUnreachableError
        from dagster._grpc.types import CanCancelExecutionRequest

        try:
            self.client().can_cancel_execution(CanCancelExecutionRequest(run_id="none"), timeout=seconds)
        except DagsterUserCodeUnreachableError:
            return False
        return True


def home_socket(home: Path) -> CodeAddress:
    """Return the socket in the home; where its path is too long, in a folder of a random name that the home notes.

    Raises:
        BadSetting: Others can get at the folder.
    """
    folder, me = home / "run", os.geteuid()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not is_private(folder, me):
        raise BadSetting(
            f"{folder} is a link, belongs to another user, or is open to other users: the code server cannot listen there.",
            help="Remove it.",
        )
    if not fits_socket(folder / _SOCKET):
        note = folder / "socket-folder"
        folder = noted_folder(note, me) or make_socket_folder(note, me)
    return CodeAddress(socket=folder / _SOCKET)


def addresses_in(workspace: Path, environ: Mapping[str, str]) -> list[CodeAddress]:
    """Return the code servers that a workspace file names; none when it cannot be read.

    Args:
        workspace: Dagster's workspace file.
        environ: Values that it takes from the environment (`{env: NAME}`).
    """
    try:
        document: Any = yaml.safe_load(workspace.read_text("utf-8"))
        servers = [entry["grpc_server"] for entry in document["load_from"] if "grpc_server" in entry]
        return [_address(server, environ) for server in servers]
    except (OSError, yaml.YAMLError, KeyError, TypeError, ValueError, AttributeError):
        return []


def _address(server: Mapping[str, Any], environ: Mapping[str, str]) -> CodeAddress:
    given = {k: environ[v["env"]] if isinstance(v, dict) else v for k, v in server.items()}
    if "socket" in given:
        return CodeAddress(socket=Path(given["socket"]))
    return CodeAddress(host=str(given.get("host", "localhost")), port=int(given["port"]))


def all_answer(addresses: Sequence[CodeAddress]) -> bool | None:
    """Return true when all of them answer; `None` when none is known."""
    return all(address.answers() for address in addresses) if addresses else None


class Probe:
    """Polls a code server in a thread of its own.

    Args:
        address: Of the code server.
        ask_seconds: How long an answer may take.
        pause_s: Between two polls.
        max_misses: Consecutive polls without an answer after which it counts as deaf.
    """

    def __init__(
        self, address: CodeAddress, *, ask_seconds: int = ASK_SECONDS, pause_s: float = 5.0, max_misses: int = 3
    ) -> None:
        self.heard = False
        self._address = address
        self._ask_seconds = ask_seconds
        self._pause_s = pause_s
        self._max_misses = max_misses
        self._misses = 0
        self._life = 0
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._ask, name="code server probe", daemon=True)
        self._thread.start()

    @property
    def deaf(self) -> bool:
        """True when a code server that has answered no longer does."""
        return self.heard and self._misses >= self._max_misses

    def restarted(self) -> None:
        """Start over: the code server was restarted, and gets the time that it needs."""
        self._life += 1
        self.heard, self._misses = False, 0

    def stop(self) -> None:
        """Stop polling."""
        self._end.set()

    def _ask(self) -> None:
        while not self._end.wait(self._pause_s):
            life = self._life
            answered = self._address.answers(self._ask_seconds)
            if life == self._life:
                self.heard = self.heard or answered
                self._misses = 0 if answered else self._misses + 1
