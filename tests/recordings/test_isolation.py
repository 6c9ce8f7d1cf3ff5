"""Programs that fail in any way: each way is an outcome, nothing is left of them, and they reach neither network nor secrets."""

import os
import re
import signal
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from argus_assets.common.tempdirs import remove_folder
from argus_assets.containment import kernel
from argus_assets.plugins.isolation import METHODS, Bounds, Outcome, network_isolation, run_isolated

needs_landlock = pytest.mark.skipif(not kernel.landlock_version(), reason="no Landlock here")

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


@needs_landlock
def test_the_platform_itself_is_out_of_reach(tmp_path: Path) -> None:
    me = os.getpid()
    assert not run(tmp_path, f"import os; os.kill({me}, 0)").ok
    assert not run(tmp_path, f"open('/proc/{me}/mem', 'rb')").ok
    code = f"""
import ctypes
libc = ctypes.CDLL(None)
print(libc.ptrace(16, {me}, 0, 0), libc.syscall(438, libc.syscall(434, {me}, 0), 0, 0), libc.syscall(424, libc.syscall(434, {me}, 0), 0, None, 0))
"""
    assert run(tmp_path, code).tail.strip() == "-1 -1 -1"


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
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        outcome = run(tmp_path, code)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert (outcome.kind, outcome.code) == ("signalled", 15)
    assert outcome.tail == "set()\n"


# ---------------------------------------------------------------------------------------------- files


@pytest.fixture
def work(tmp_path: Path) -> Iterator[Path]:
    """The program's folder, beside others of the platform."""
    folder = tmp_path / "work"
    folder.mkdir()
    yield folder
    remove_folder(folder)


@needs_landlock
def test_only_what_is_given_is_read(work: Path, tmp_path: Path) -> None:
    (tmp_path / "given").mkdir()
    for name in ("given/file", "other"):
        (tmp_path / name).write_text("content")
    (tmp_path / "link").symlink_to(tmp_path / "other")
    tried = [
        tmp_path / "given" / "file", tmp_path / "other", tmp_path / "link", tmp_path / "given" / ".." / "other",
        Path("/etc/shadow"), Path("/etc/hostname"), Path("/root"), Path("/home"), Path("/tmp"), Path("/proc"),
        Path("/proc/1/status"), Path(f"/proc/{os.getpid()}/cmdline"), Path("/sys/kernel"), Path("/dev"), Path("/var"),
    ]  # fmt: skip
    code = f"""
import os
for path in {[str(path) for path in tried]!r}:
    try:
        os.listdir(path) if os.path.isdir(path) else open(path).read()
        print("read", path)
    except OSError:
        pass
os.symlink({str(tmp_path / "other")!r}, "own")
try: open("own").read(); print("read by a link of its own")
except OSError: pass
"""
    outcome = run_isolated(
        [sys.executable, "-I", "-S", "-c", code], folder=work, reads=[tmp_path / "given"], bounds=Bounds(timeout_s=20)
    )
    assert outcome.tail.splitlines() == [f"read {tried[0]}"]


@needs_landlock
@pytest.mark.parametrize(
    "act",
    [
        "open(OUT, 'w')", "os.truncate(OLD, 0)", "os.mkdir(OUT)", "os.symlink('x', OUT)", "os.mkfifo(OUT)", "os.unlink(OLD)",
        "os.rename(OLD, 'mine')", "os.link(OLD, 'mine')", "os.rename('own', OUT)", "os.link('own', OUT)",
        "os.mknod('device', 0o60600, 0)", "os.mknod('device', 0o20600, 0)", "open('/dev/shm/argus', 'w')", "open('/tmp/argus', 'w')",
        "open('/dev/zero', 'r+b')", "open('/proc/self/oom_score_adj', 'w')", "os.chroot('.')",
    ],
)  # fmt: skip
def test_nothing_is_written_but_in_its_own_folder(work: Path, tmp_path: Path, act: str) -> None:
    old = tmp_path / "old"
    old.write_text("content")
    code = f"""
import os
OUT, OLD = {str(tmp_path / "out")!r}, {str(old)!r}
open("own", "w").close()
try: {act}
except OSError: print("refused")
"""
    outcome = run(work, code)
    assert outcome.tail.strip() == "refused"
    assert old.read_text() == "content"
    assert not (tmp_path / "out").exists()


@needs_landlock
def test_in_its_own_folder_it_does_what_it_likes(work: Path) -> None:
    code = """
import os, subprocess, sys
os.makedirs("a/b")
open("a/b/file", "w").write("x")
os.rename("a/b/file", "tmp/file")
os.link("tmp/file", "second"); os.symlink("second", "third"); os.mkfifo("pipe"); os.truncate("third", 0)
os.unlink("second"); os.rmdir("a/b")
open(os.devnull, "w").write("x")
open("tool", "w").write("#!/bin/sh" + chr(10) + "echo from a script")
os.chmod("tool", 0o700)
print(subprocess.run(["./tool"], capture_output=True, text=True).stdout)
"""
    assert run(work, code).tail.strip() == "from a script"


@pytest.mark.skipif(os.geteuid() != 0, reason="not root")
def test_roots_programs_are_nobodys(work: Path, tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    code = """
import os
print(os.getresuid(), os.getresgid(), os.getgroups(), open("/proc/self/status").read().split("CapEff:")[1].split()[0])
try: os.setuid(0)
except OSError: print("refused")
"""
    outcome = run(work, code)
    nobody = kernel.NOBODY
    may_read = 1 << kernel.CAP_DAC_READ_SEARCH if kernel.landlock_version() else 0
    assert outcome.tail.splitlines() == [f"{(nobody,) * 3} {(nobody,) * 3} [] {may_read:016x}", "refused"]


# ---------------------------------------------------------------------------------------------- what nobody counts


@pytest.mark.skipif(not kernel.support().seccomp, reason="no seccomp here")
@pytest.mark.parametrize(
    "act",
    [
        "os.memfd_create('x')", "mmap.mmap(-1, 4096)", "mmap.mmap(-1, 4096, flags=mmap.MAP_SHARED | mmap.MAP_ANONYMOUS)",
        "fcntl.fcntl(os.pipe()[1], 1031, 1 << 20)", "call(libc.shmget, 0, 4096, 0o1600)", "call(libc.msgget, 0, 0o1600)",
        "call(libc.semget, 0, 1, 0o1600)", "call(libc.mq_open, b'/argus', 0o102, 0o600, None)", "call(libc.unshare, 0x10000000)",
        "call(libc.mount, b'none', b'.', b'tmpfs', 0, None)", "call(libc.open_by_handle_at, -1, None, 0)",
        "call(libc.setns, 0, 0)", "call(libc.prctl, 4, 0, 0, 0, 0)",
    ],
)  # fmt: skip
@pytest.mark.parametrize("network", ["none", "allowed"])
def test_what_nobody_counts_is_refused(work: Path, act: str, network: str) -> None:
    code = f"""
import ctypes, errno, fcntl, mmap, os
libc = ctypes.CDLL(None, use_errno=True)
def call(function, *arguments):
    if function(*arguments) == -1:
        raise OSError(ctypes.get_errno(), "")
try: {act}
except OSError as error: print(error.errno == errno.EPERM)
"""
    assert run(work, code, network=network).tail.strip() == "True"


def test_private_memory_stays(work: Path) -> None:
    code = "import mmap; m = mmap.mmap(-1, 1 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS); m[5] = 1; print(m[5])"
    assert run(work, code).tail == "1\n"


@pytest.mark.parametrize(
    "start",
    ["os.fork() or time.sleep(60)", "threading.Thread(target=time.sleep, args=(60,), daemon=True).start()"],
    ids=["processes", "threads"],
)
def test_processes_and_threads_are_limited(work: Path, start: str) -> None:
    code = f"import os, threading, time\nfor _ in range(60):\n  {start}\ntime.sleep(60)"
    outcome = run(work, code, processes=50, memory_mib=4096, timeout_s=30)
    assert outcome.kind == "processes"
    assert "50 processes" in outcome.sentence(Bounds(processes=50))


def test_a_fork_bomb_is_refused_before_it_is_seen(work: Path) -> None:
    """However many there are already: what it may start beside them is bounded by the kernel."""
    code = """
import os, time
started = 0
try:
    for _ in range(4000):
        if os.fork() == 0:
            os.read(r, 1) if (r := os.pipe()[0]) else None
            os._exit(0)
        started += 1
finally:
    print("started", started, flush=True)
"""
    outcome = run(work, code, processes=1000, memory_mib=64 * 1024)
    assert outcome.kind in ("processes", "exited")
    told = re.search(r"started (\d+)", outcome.tail)
    assert told is None or int(told[1]) < 1300


@pytest.mark.parametrize(
    ("act", "kind"),
    [
        ("r, w = os.pipe(); kept.append((r, w)); os.set_blocking(w, False); os.write(w, bytes(65536))", "memory"),
        ("a, b = socket.socketpair(); kept.append((a, b))", "memory"),
        ("f = open('x', 'wb'); os.unlink('x'); f.write(bytes(1 << 20)); f.flush(); kept.append(f)", "output"),
        (
            "kept.append(mapped())",
            "output",
        ),
    ],
    ids=["pipes", "sockets", "deleted files", "mapped deleted files"],
)
def test_what_is_in_no_process_and_in_no_folder_is_counted(work: Path, act: str, kind: str) -> None:
    code = f"""
import mmap, os, socket, time
def mapped():
    with open("x", "w+b") as file:
        os.unlink("x")
        file.truncate(1 << 20)
        return mmap.mmap(file.fileno(), 1 << 20, access=mmap.ACCESS_READ)
kept = []
for _ in range(800):
    {act}
time.sleep(60)
"""
    assert run(work, code, memory_mib=40, output_mib=100).kind == kind


@pytest.mark.parametrize(
    "act",
    [
        "for _ in range(2000): os.mkdir('d'); os.chdir('d')",
        "for _ in range(60): os.mkdir('d' * 250); os.chdir('d' * 250)",
        "for n in range(12000): os.mkdir(str(n))",
        "for n in range(12000): os.symlink('x', str(n))",
    ],
    ids=["deep", "longer than a path", "many folders", "many links"],
)
def test_folders_are_output_too(work: Path, act: str) -> None:
    assert run(work, f"import os\n{act}", timeout_s=60).kind == "output"


@pytest.mark.skipif(os.geteuid() == 0, reason="a closed folder is open to root")
def test_a_folder_that_cannot_be_looked_into_is_too_much(work: Path) -> None:
    assert run(work, "import os; os.mkdir('d'); open('d/x', 'w'); os.chmod('d', 0)").kind == "output"
