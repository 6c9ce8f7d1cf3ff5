"""What a confined process can and cannot do, and that nothing it does stops whoever started it."""

import io
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from argus_assets.common.texts import clean
from argus_assets.containment import client as containment
from argus_assets.containment import kernel
from argus_assets.containment.client import MIB, SERVER, Allowance, Confined, Pool, Server, pool
from argus_assets.errors import Unavailable

ALLOWED = Allowance(memory_bytes=256 * MIB, cpu_s=30, wall_s=120, silent_s=60, output_bytes=64 * MIB)
NEEDS_LANDLOCK = pytest.mark.skipif(
    kernel.landlock_version() < 6, reason="this kernel's Landlock is older than version 6"
)
NEEDS_SECCOMP = pytest.mark.skipif(not kernel.support().seccomp, reason="this kernel has no seccomp filters")


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    before = os.environ.get("ARGUS_LLM_API_KEY")
    os.environ["ARGUS_LLM_API_KEY"] = "sk-secret"
    made = Server("tests.support.hostile_jobs")
    yield made
    made.stop()
    if before is None:
        del os.environ["ARGUS_LLM_API_KEY"]


@pytest.fixture
def processes(server: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pool]:
    monkeypatch.setenv(SERVER, str(server.address))
    with pool() as made:
        yield made


@pytest.fixture
def process(processes: Pool) -> Iterator[Confined]:
    with processes.process() as made:
        yield made


def attempt(process: Confined, what: str, at: object = "") -> dict[str, object]:
    ended = process.run("attempt", {"what": what, "at": str(at)}, place=process.place(), allowance=ALLOWED)
    assert ended.kind == "done", ended
    return dict(ended.result)


def misbehave(process: Confined, how: str, allowance: Allowance = ALLOWED, after: int = 0) -> containment.Ended:
    return process.run("misbehave", {"how": how, "after": after}, place=process.place(), allowance=allowance)


def works(process: Confined) -> bool:
    data = np.random.default_rng(1).integers(0, 256, 20 * MIB + 12_345, np.uint8).tobytes()
    ended = process.run("total", {}, place=process.place(), allowance=ALLOWED, source=io.BytesIO(data))
    half = data[len(data) // 2 :][:7].hex()
    parts = [data[i : i + 100_000] for i in range(0, len(data), 100_000)]
    return dict(ended.result) == {"size": len(data), "sum": sum(sum(p[::1000]) for p in parts), "half": half}


def test_a_job_reads_every_byte_of_its_source(process: Confined) -> None:
    assert works(process)
    assert works(process)


@NEEDS_LANDLOCK
def test_files_of_the_platform_are_out_of_reach(process: Confined, tmp_path: Path) -> None:
    secret, folder = tmp_path / "secret", tmp_path / "folder"
    secret.write_text("sk-secret")
    folder.mkdir()
    for what, at in (
        ("read", secret), ("list", folder), ("write", tmp_path / "new"), ("remove", secret), ("truncate", secret),
        ("mode", secret), ("link", secret), ("hard link", secret), ("read", "/etc/passwd"), ("read", "/proc/1/environ"),
        ("write", "/dev/shm/argus-test"), ("write", "/tmp/argus-test"), ("list", Path.home()),
        ("read", f"/proc/{os.getpid()}/environ"),
    ):  # fmt: skip
        assert attempt(process, what, at)["refused"], (what, at)
    assert secret.read_text() == "sk-secret"
    assert not Path("/tmp/argus-test").exists()


def test_what_a_job_names_can_be_read_and_not_written(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(SERVER, str(server.address))
    part = tmp_path / "private" / "part"
    part.mkdir(parents=True)
    (tmp_path / "private").chmod(0o700)
    (part / "frames").write_text("mine")
    (tmp_path / "private" / "other").write_text("not mine")
    with pool([part]) as processes, processes.process() as process:
        assert attempt(process, "read", part / "frames")["got"] == "mine"
        if kernel.landlock_version():
            assert attempt(process, "write", part / "frames")["refused"]
            assert attempt(process, "read", tmp_path / "private" / "other")["refused"]


@NEEDS_SECCOMP
@pytest.mark.parametrize("what", ["tcp", "unix", "netlink", "fork", "execute", "shell", "memfd"])
def test_no_network_and_no_other_process(process: Confined, what: str) -> None:
    assert attempt(process, what)["refused"]


@NEEDS_SECCOMP
def test_no_other_process_is_signalled_or_looked_into(process: Confined) -> None:
    for pid in (os.getpid(), os.getppid(), 1):
        for what in ("signal", "thread signal", "memory of", "environment of"):
            assert attempt(process, what, pid)["refused"], (what, pid)


def test_no_secret_is_in_its_environment(process: Confined) -> None:
    names = attempt(process, "own environment")["got"]
    assert isinstance(names, list)
    assert not [name for name in names if "ARGUS" in name or "AWS" in name or "KEY" in name]


@pytest.mark.parametrize("name", ["pandas", "numexpr"])
def test_what_evaluates_texts_cannot_be_imported(process: Confined, name: str) -> None:
    assert attempt(process, name)["refused"] == "ModuleNotFoundError"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_as_root_it_is_nobody_and_stays_so(process: Confined) -> None:
    uid, descriptors = attempt(process, "own")["got"]  # type: ignore[misc]
    assert uid == kernel.NOBODY
    assert len(descriptors) <= 6  # standard streams, its connection, the listing itself
    assert attempt(process, "root again")["refused"]
    assert process.confinement.user == "nobody"


@pytest.mark.parametrize(
    ("how", "allowed", "kinds"),
    [
        ("raise", ALLOWED, {"error"}),
        ("spin", replace(ALLOWED, cpu_s=1), {"limit"}),
        ("hold the interpreter", replace(ALLOWED, cpu_s=1), {"time"}),
        ("sleep", replace(ALLOWED, silent_s=1), {"time"}),
        ("sleep", replace(ALLOWED, wall_s=1), {"time"}),
        ("stop", replace(ALLOWED, silent_s=1), {"time"}),
        ("allocate", ALLOWED, {"memory"}),
        ("allocate below Python", ALLOWED, {"memory", "killed"}),
        ("raise limits and allocate", ALLOWED, {"memory"}),
        ("start threads", ALLOWED, {"limit"}),
        ("write", ALLOWED, {"output"}),
        ("write many", ALLOWED, {"output", "error"}),
        ("crash", ALLOWED, {"killed"}),
        ("exit", ALLOWED, {"killed"}),
        ("speak garbage", ALLOWED, {"killed"}),
        ("speak at length", ALLOWED, {"killed"}),
        ("promise a folder", ALLOWED, {"error"}),
        ("claim an exit", ALLOWED, {"killed"}),
        ("print markup", ALLOWED, {"killed"}),
    ],
)
def test_however_a_job_ends_the_next_one_works(
    process: Confined, how: str, allowed: Allowance, kinds: set[str]
) -> None:
    ended = misbehave(process, how, allowed, after=3)
    assert ended.kind in kinds, ended
    assert ended.text
    assert clean(ended.text) == ended.text
    assert ended.progress == {"batches": 3}
    assert works(process)


def test_a_job_that_goes_wrong_stops_no_other_process(processes: Pool) -> None:
    with processes.process() as first, processes.process() as second:
        assert misbehave(first, "crash").kind == "killed"
        assert works(second)
        assert works(first)


def test_each_job_may_write_what_it_is_allowed_whatever_others_were(process: Confined) -> None:
    small, large = replace(ALLOWED, output_bytes=2 * MIB), replace(ALLOWED, output_bytes=64 * MIB)
    first = process.run("attempt", {"what": "own", "at": ""}, place=process.place(), allowance=small)
    pid = process.pid
    assert first.kind == "done"
    assert misbehave(process, "write 8 MiB", large).kind == "done"
    assert process.pid == pid
    assert misbehave(process, "write 8 MiB", small).kind in {"output", "error"}


@pytest.mark.skipif(os.geteuid() != 0, reason="as another user, there is no user whom others share")
def test_tasks_of_another_process_keep_none_from_starting_a_thread(process: Confined) -> None:
    code = (
        "import os, threading, time\n"
        f"os.setgid({kernel.NOBODY}); os.setuid({kernel.NOBODY})\n"
        "threading.stack_size(64 * 1024)\n"
        "for _ in range(1500): threading.Thread(target=time.sleep, args=[600], daemon=True).start()\n"
        "print(threading.active_count(), flush=True)\n"
        "time.sleep(600)\n"
    )
    bomb = subprocess.Popen([sys.executable, "-I", "-S", "-c", code], stdout=subprocess.PIPE, text=True)
    try:
        assert bomb.stdout is not None
        assert bomb.stdout.readline() == "1501\n"
        assert attempt(process, "thread") == {"got": "ran", "refused": ""}
    finally:
        bomb.kill()
        bomb.communicate()


def test_a_source_that_fails_fails_the_caller_and_ends_the_job(process: Confined) -> None:
    class Away(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            raise Unavailable("away", help="")

    with pytest.raises(Unavailable, match="away"):
        process.run("total", {}, place=process.place(), allowance=ALLOWED, source=Away(bytes(10)))
    assert works(process)


def test_a_process_that_somebody_else_kills_says_nothing_of_what_it_read(process: Confined) -> None:
    assert works(process)
    timer = threading.Timer(0.5, os.kill, (process.pid, signal.SIGKILL))
    timer.start()
    with pytest.raises(Unavailable, match="killed from outside"):
        misbehave(process, "sleep")
    timer.join()
    assert works(process)


def _children(pid: int) -> list[int]:
    return [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _gone(pid: int) -> bool:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX":
                return True
        except FileNotFoundError:
            return True
        time.sleep(0.05)
    return False


def test_nothing_is_left_when_the_pool_ends_or_the_server_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    made = Server("tests.support.hostile_jobs")
    monkeypatch.setenv(SERVER, str(made.address))
    with pool() as processes, processes.process() as process:
        assert works(process)
        child = process.pid
    assert _gone(child)
    with pool() as processes, processes.process() as process:
        assert works(process)
        children = {process.pid, *_children(made.pid)}
        os.kill(made.pid, signal.SIGKILL)
        assert all(map(_gone, children))
        # The next job finds a server of this process's own, which knows nothing of hostile jobs.
        assert misbehave(process, "spin").kind == "killed"
        assert misbehave(process, "spin").kind == "error"
    made.stop()
