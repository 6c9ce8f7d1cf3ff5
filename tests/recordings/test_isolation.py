"""Programs that fail in any way: each way is an outcome, nothing is left of them, and they reach neither network nor secrets."""

import os
import socket
import sys
import time
from pathlib import Path

import pytest

from argus_assets.recordings.isolation import METHODS, Bounds, Outcome, network_isolation, run_isolated

CONNECT = """
import os, socket, sys
def attempt():
    try:
        socket.create_connection(("127.0.0.1", {port}), timeout=5).close()
    except OSError as error:
        print("refused", error.errno)
    else:
        print("connected")
attempt()
sys.stdout.flush()
if os.fork() == 0:
    attempt()
    sys.stdout.flush()
    os._exit(0)
os.wait()
"""


def run(folder: Path, code: str, **bounds) -> Outcome:
    return run_isolated(
        [sys.executable, "-I", "-S", "-c", code],
        folder=folder,
        environment={"GIVEN": "yes"},
        bounds=Bounds(**{"timeout_s": 20, "memory_mib": 512, **bounds}),
    )


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_program_that_ends_well(tmp_path: Path) -> None:
    outcome = run(tmp_path, "print('done')")
    assert outcome.ok
    assert outcome.tail == "done\n"
    assert outcome.network == "seccomp"


def test_an_exit_code_and_what_was_printed(tmp_path: Path) -> None:
    outcome = run(tmp_path, "import sys; print('x' * 100_000); sys.exit('no such channel')")
    assert (outcome.kind, outcome.code) == ("exited", 1)
    assert outcome.tail.strip().endswith("no such channel")
    assert len(outcome.tail) <= 16 * 1024


def test_a_crash_names_its_signal(tmp_path: Path) -> None:
    outcome = run(tmp_path, "import os; os.kill(os.getpid(), 11)")
    assert (outcome.kind, outcome.code) == ("signalled", 11)
    assert "SIGSEGV" in outcome.sentence(Bounds())
    assert not list(tmp_path.glob("core*"))


@pytest.mark.parametrize("leave", ["", "os.setsid()", "os.setsid(); (os.fork() and os._exit(0))"])
def test_a_timeout_ends_all_that_was_started(tmp_path: Path, leave: str) -> None:
    code = f"""
import os, time
if os.fork() == 0:
    {leave or "pass"}
    open("pid", "w").write(str(os.getpid()))
    while True: time.sleep(1)
while True: time.sleep(1)
"""
    started = time.monotonic()
    outcome = run(tmp_path, code, timeout_s=0.5)
    assert outcome.kind == "timeout"
    assert time.monotonic() - started < 10
    assert not alive(int((tmp_path / "pid").read_text()))


def test_what_is_left_in_the_background_ends_with_the_program(tmp_path: Path) -> None:
    code = """
import os, time
if os.fork() == 0:
    os.setsid()
    open("pid", "w").write(str(os.getpid()))
    while True: time.sleep(1)
while not os.path.exists("pid") or not open("pid").read(): time.sleep(0.01)
"""
    assert run(tmp_path, code).ok
    assert not alive(int((tmp_path / "pid").read_text()))


def test_memory_is_limited_in_one_process(tmp_path: Path) -> None:
    outcome = run(tmp_path, "x = b'x' * (400 << 20); print('had it')", memory_mib=200)
    assert not outcome.ok
    assert "had it" not in outcome.tail


def test_memory_is_limited_over_all_processes(tmp_path: Path) -> None:
    code = """
import os, time
for _ in range(4):
    if os.fork() == 0:
        x = b"x" * (60 << 20)
        time.sleep(30)
time.sleep(30)
"""
    outcome = run(tmp_path, code, memory_mib=100)
    assert outcome.kind == "memory"
    assert outcome.peak_bytes > 100 << 20


def test_a_mapped_recording_is_no_memory(tmp_path: Path) -> None:
    with (tmp_path / "recording").open("wb") as file:
        file.truncate(300 << 20)
    code = "import mmap; f = open('recording', 'rb'); m = mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ); print(max(m[i] for i in range(0, len(m), 4096)))"
    assert run(tmp_path, code, memory_mib=100).ok


@pytest.mark.parametrize(
    "flood",
    [
        "f = open('big', 'wb')\nwhile True: f.write(bytes(65536))",
        "for i in range(10**6): open(f'big{i}', 'wb').write(bytes(65536))",
        "for i in range(10**6): open(f'none{i}', 'wb')",
    ],
    ids=["one file", "many files", "empty files"],
)
def test_output_is_limited(tmp_path: Path, flood: str) -> None:
    outcome = run(tmp_path, flood, output_mib=5)
    assert not outcome.ok
    assert outcome.kind in ("output", "exited")


@pytest.mark.parametrize("method", METHODS)
def test_the_network_is_out_of_reach(tmp_path: Path, method: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        code = CONNECT.format(port=server.getsockname()[1])
        assert run(tmp_path, code, network="allowed").tail.split() == ["connected", "connected"]
        outcome = run(tmp_path, code, methods=[method])
    if outcome.kind == "no_isolation":
        pytest.skip(f"no {method} here")
    assert outcome.network == method
    assert "connected" not in outcome.tail
    assert outcome.tail.count("refused") == 2


def test_a_local_database_is_out_of_reach(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()
        code = f"import socket; socket.socket(socket.AF_UNIX).connect({str(path)!r}); print('connected')"
        assert run(tmp_path, code, network="allowed").ok
        assert not run(tmp_path, code).ok


def test_pairs_of_sockets_between_its_own_processes_stay(tmp_path: Path) -> None:
    assert run(tmp_path, "import socket; a, b = socket.socketpair(); a.send(b'x'); assert b.recv(1) == b'x'").ok


def test_without_a_way_to_isolate_nothing_is_started(tmp_path: Path) -> None:
    outcome = run(tmp_path, "open('started', 'w')", methods=())
    assert outcome.kind == "no_isolation"
    assert not (tmp_path / "started").exists()
    assert network_isolation(tmp_path, ()) is None
    assert network_isolation(tmp_path) in METHODS
    assert run(tmp_path, "open('started', 'w')", methods=(), network="allowed").ok


def test_no_variable_of_the_platform_arrives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hush")
    monkeypatch.setenv("ARGUS_DATABASE_URL", "postgresql://jo:hush@h/d")
    outcome = run(tmp_path, "import os; print(sorted(os.environ), os.getcwd(), os.environ['HOME'])")
    assert outcome.tail == f"['GIVEN', 'HOME', 'LANG', 'PATH', 'TMPDIR', 'TZ'] {tmp_path} {tmp_path}\n"


def test_the_platform_itself_is_out_of_reach(tmp_path: Path) -> None:
    if "landlock" not in _security_modules():
        pytest.skip("no Landlock here")
    me = os.getpid()
    assert not run(tmp_path, f"import os; os.kill({me}, 0)").ok
    assert not run(tmp_path, f"open('/proc/{me}/mem', 'rb')").ok


def _security_modules() -> str:
    try:
        return Path("/sys/kernel/security/lsm").read_text()
    except OSError:
        import ctypes

        version = ctypes.CDLL(None).syscall(444, None, ctypes.c_size_t(0), 1)
        return "landlock" if version > 0 else ""


def test_no_open_file_of_the_platform_arrives(tmp_path: Path) -> None:
    with (tmp_path / "mine").open("w") as mine:
        os.set_inheritable(mine.fileno(), True)
        outcome = run(
            tmp_path,
            "import os; print([os.readlink(f'/proc/self/fd/{n}') for n in os.listdir('/proc/self/fd') if int(n) > 2][:-1])",
        )
    assert "mine" not in outcome.tail


def test_a_program_that_does_not_exist(tmp_path: Path) -> None:
    outcome = run_isolated(["/no/such/program"], folder=tmp_path, bounds=Bounds())
    assert outcome.kind == "not_started"
    assert "No such file" in outcome.sentence(Bounds())


def test_sigterm_has_its_default_meaning(tmp_path: Path) -> None:
    code = (
        "import os, signal; print(signal.pthread_sigmask(signal.SIG_BLOCK, ()), flush=True); os.kill(os.getpid(), 15)"
    )
    import signal

    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        outcome = run(tmp_path, code)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert (outcome.kind, outcome.code) == ("signalled", 15)
    assert outcome.tail == "set()\n"
