"""Running a program that may fail in any way: in a process of its own, within limits, without network.

Whatever it does is an `Outcome`; only this machine's own failures raise. It writes into its own folder and reads what it is
given, its own installation and the system's libraries; as root, it runs as `nobody`. Where the kernel has no Landlock, it can
read and write what its user can.
"""

import json
import os
import pwd
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import argus_assets
from argus_assets.containment.kernel import NOBODY
from argus_assets.plugins import isolation_child

MIB: Final = 1024**2
_GRACE_S: Final = 15.0
PROGRAM_PATH: Final = "/usr/local/bin:/usr/bin:/bin"
"""Search path for a program without a folder in its name, and its own `PATH`."""

_SYSTEM_READS: Final = (
    "/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64",
    *(f"/etc/{name}" for name in (
        "alternatives", "ca-certificates", "fonts", "group", "host.conf", "hosts", "ld.so.cache", "ld.so.conf",
        "ld.so.conf.d", "locale.alias", "localtime", "mime.types", "nsswitch.conf", "os-release", "passwd", "pki/tls/certs",
        "protocols", "resolv.conf", "services", "ssl/certs", "ssl/openssl.cnf", "timezone",
    )),
    *(f"/dev/{name}" for name in ("full", "random", "urandom", "zero")),
    *(f"/proc/{name}" for name in ("cpuinfo", "filesystems", "loadavg", "meminfo", "stat", "sys", "uptime", "version")),
    "/sys/devices/system", "/sys/fs/cgroup",
)  # fmt: skip
"""Paths that any program may read: no file of the platform, and none that holds a secret."""

_BESIDE_BIN: Final = ("bin", "sbin", "lib", "lib64", "libexec")

_TRY_NETWORK: Final = """
import errno, socket
try:
    socket.socket().connect(("127.0.0.1", 9))
except OSError as error:
    raise SystemExit(error.errno not in (errno.EACCES, errno.ENETUNREACH))
raise SystemExit(1)
"""

_PACKAGE_FOLDER: Final = Path(argus_assets.__file__).parent.parent
_WATCHER: Final = """
import sys
sys.path.append(sys.argv[1])
from argus_assets.plugins.isolation_child import main
main()
"""

Network = Literal["none", "allowed"]
Method = Literal["seccomp", "namespace"]
METHODS: Final[tuple[Method, ...]] = ("seccomp", "namespace")
"""Ways to take the network away that need no privilege, the better one first."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """Limits of a program.

    Attributes:
        timeout_s: Seconds from start to end.
        memory_mib: Memory of the program and all that it starts, together; mapped files do not count.
        output_mib: Size of all files that it writes below its folder, together.
        processes: Processes and threads of it and all that it starts, together.
        network: `none`, or `allowed`.
        methods: Ways to take the network away, in the order in which they are tried.
    """

    timeout_s: float = 600.0
    memory_mib: int = 2048
    output_mib: int = 8192
    processes: int = 256
    network: Network = "none"
    methods: Sequence[Method] = METHODS


@dataclass(frozen=True, slots=True)
class Outcome:
    """The end of a program.

    Attributes:
        kind: `exited` and `signalled` by itself; `timeout`, `memory`, `output` and `processes` by a limit; `not_started`;
            `no_isolation`: the network could not be taken away, so it was not started.
        code: Exit code, or number of the signal.
        text: Why it was not started.
        tail: End of what it printed, both streams.
        seconds: From start to end.
        peak_bytes: Most memory that was seen.
        network: How the network was taken away, or `allowed`.
    """

    kind: Literal["exited", "signalled", "timeout", "memory", "output", "processes", "not_started", "no_isolation"]
    code: int = 0
    text: str = ""
    tail: str = ""
    seconds: float = 0.0
    peak_bytes: int = 0
    network: str = ""

    @property
    def ok(self) -> bool:
        """Return whether it ended with exit code 0."""
        return self.kind == "exited" and self.code == 0

    def sentence(self, bounds: Bounds) -> str:
        """Describe the end in a few words."""
        used = f"{self.peak_bytes / MIB:.0f} of {bounds.memory_mib} MiB used"
        match self.kind:
            case "exited":
                return f"exit code {self.code} after {self.seconds:.1f} s, {used}"
            case "signalled":
                return f"killed by {_signal_name(self.code)} after {self.seconds:.1f} s, {used}"
            case "timeout":
                return f"not done after {bounds.timeout_s:g} s, and killed"
            case "memory":
                return f"more than {bounds.memory_mib} MiB of memory, and killed"
            case "output":
                return f"more than {bounds.output_mib} MiB or {isolation_child.MAX_FILES:,} files written, and killed"
            case "processes":
                return f"more than {bounds.processes} processes and threads, and killed"
            case "not_started":
                return f"could not be started: {self.text}"
            case "no_isolation":
                return "not started: the kernel offers neither seccomp filters nor user namespaces"


def run_isolated(
    command: Sequence[str],
    *,
    folder: Path,
    environment: Mapping[str, str] | None = None,
    reads: Sequence[Path] = (),
    bounds: Bounds,
) -> Outcome:
    """Run a program to its end; all that it started has ended, too, on return.

    Args:
        command: Absolute path of the program, and its arguments.
        folder: Its working and home folder; what is written below counts as its output. Holds `tmp` for temporary
            files, which is created. As root, it is given to `nobody`.
        environment: Variables beside `PATH`, `HOME`, `TMPDIR`, `LANG` and `TZ`. No other reaches it.
        reads: What it may read beside its own folder, its installation and the system's libraries.
        bounds: What it may take.

    Raises:
        OSError: This machine cannot start any process.
    """
    scratch = folder / "tmp"
    scratch.mkdir(exist_ok=True)
    if os.geteuid() == 0:
        for place in (folder, *folder.rglob("*")):
            os.chown(place, NOBODY, NOBODY, follow_symlinks=False)
    order = {
        "command": list(command),
        "folder": str(folder),
        "reads": [*_SYSTEM_READS, *map(str, reads), *_installation(command[0])],
        "environment": {
            "PATH": PROGRAM_PATH, "HOME": str(folder), "TMPDIR": str(scratch), "LANG": "C.UTF-8", "TZ": "UTC",
            **(environment or {}),
        },
        "timeout_s": bounds.timeout_s,
        "memory_bytes": bounds.memory_mib * MIB,
        "output_bytes": bounds.output_mib * MIB,
        "processes": bounds.processes,
        "isolate_network": bounds.network == "none",
        "methods": list(bounds.methods),
    }  # fmt: skip
    # A session of its own: Ctrl-C at a terminal is the platform's to handle. No preexec_fn: there are threads here.
    child = subprocess.Popen(  # noqa: S603 - our own file
        [sys.executable, "-I", "-S", "-c", _WATCHER, str(_PACKAGE_FOLDER)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={},
        start_new_session=True,
    )
    try:
        report = _answer(child, order, time.monotonic() + bounds.timeout_s + _GRACE_S)
    finally:
        _end(child)
    if report is None:
        return Outcome("not_started", text="its watching process was lost")
    return Outcome(**report)


def _installation(program: str) -> list[str]:
    """Return what belongs to a program: its folder; beside a `bin`, the libraries of the same place."""
    found: list[str] = [program]
    for path in (Path(program), Path(program).resolve()):
        folder = path.parent
        if folder.name in ("bin", "sbin"):
            found += [str(folder.parent / name) for name in (*_BESIDE_BIN, "pyvenv.cfg")]
        elif not holds_a_home(folder):
            found.append(str(folder))
    return found


def holds_a_home(folder: Path) -> bool:
    """Return whether a folder is, or holds, the home of a user, with keys and other secrets."""
    homes = {Path(user.pw_dir) for user in pwd.getpwall()}
    return any(home == folder or folder in home.parents for home in homes if home != Path("/"))


def network_isolation(folder: Path, methods: Sequence[Method] = METHODS) -> str | None:
    """Try with a real process how a program's network can be taken away here; `None` when it cannot be.

    Args:
        folder: An empty folder.
        methods: Ways that are tried.
    """
    bounds = Bounds(timeout_s=10, methods=methods)
    outcome = run_isolated([sys.executable, "-I", "-S", "-c", _TRY_NETWORK], folder=folder, bounds=bounds)
    return outcome.network if outcome.ok else None


def _answer(child: "subprocess.Popen[bytes]", order: Mapping[str, object], deadline: float) -> dict[str, Any] | None:
    """Send the order and wait for the report; `None` when it does not come."""
    assert child.stdin is not None
    assert child.stdout is not None
    answer = b""
    with selectors.DefaultSelector() as selector, suppress(BrokenPipeError):
        child.stdin.write(json.dumps(order).encode() + b"\n")
        child.stdin.flush()
        selector.register(child.stdout, selectors.EVENT_READ)
        while selector.select(max(0.0, deadline - time.monotonic())):
            heard = child.stdout.read1(65536)  # type: ignore[attr-defined] # buffered, as Popen makes it
            if not heard:
                break
            answer += heard
    try:
        return json.loads(answer)
    except ValueError:
        return None


def _end(child: "subprocess.Popen[bytes]") -> None:
    """End the watching process: it kills what it watches when its input ends."""
    assert child.stdin is not None
    assert child.stdout is not None
    with suppress(BrokenPipeError):
        child.stdin.close()
    try:
        child.wait(_GRACE_S)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
    child.stdout.close()


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
