"""The code server: its workers are forked from a process that is safe to fork from."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from multiprocessing.synchronize import Event as EventType
from pathlib import Path

import psutil
import pytest

from argus_assets.runtime.connection import dagster_yaml
from argus_assets.runtime.ports import free_port
from argus_assets.runtime.servers.code_server import PRELOAD, end_worker
from argus_assets.runtime.servers.preload import MODULES

LOOK = """
import sys, threading, psutil
import argus_assets.runtime.servers.preload
print(threading.active_count(), len(psutil.Process().net_connections()), len(psutil.Process().children()))
print(*sorted(sys.modules))
"""


def preloaded(**environment: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", LOOK], env={**os.environ, **environment}, capture_output=True, text=True, check=True
    )
    return done.stdout.splitlines()


def test_what_workers_are_forked_from_has_no_threads_of_pythons_and_no_connections() -> None:
    counts, modules = preloaded()
    assert counts == "1 0 0"
    assert {*MODULES} <= {*modules.split()}


def test_a_setting_that_is_wrong_is_left_to_the_worker_to_tell() -> None:
    counts, modules = preloaded(ARGUS_SENSOR_INTERVAL_S="often")
    assert counts == "1 0 0"
    assert "argus_assets.definitions" not in modules.split()
    assert "pyarrow.parquet" in modules.split()


def test_the_code_server_serves_and_has_its_fork_server_before_the_first_run(database_url: str, tmp_path: Path) -> None:
    from dagster._grpc.client import DagsterGrpcClient

    (tmp_path / "dagster.yaml").write_bytes(dagster_yaml().read_bytes())
    port = free_port()
    environment = {
        **os.environ, "DAGSTER_HOME": str(tmp_path), "ARGUS_HOME": str(tmp_path), "ARGUS_DATABASE_URL": database_url,
    }  # fmt: skip
    command = [sys.executable, "-m", "argus_assets", "code-server", "--port", str(port)]
    server = subprocess.Popen(command, env=environment)
    try:
        client = DagsterGrpcClient(port=port, host="127.0.0.1")
        end = time.monotonic() + 120
        while client.health_check_query() != "SERVING":
            assert server.poll() is None
            assert time.monotonic() < end
            time.sleep(0.2)
        assert "argus_assets.definitions" in client.list_repositories()
        (forking,) = [
            c for c in psutil.Process(server.pid).children() if "multiprocessing.forkserver" in " ".join(c.cmdline())
        ]
        assert forking.is_running()
    finally:
        server.terminate()
        assert server.wait(30) in (0, -15)
    # It goes with the server, for its pipe is closed.
    assert _gone(forking), "the fork server outlives its code server"


def sleeper(ready: EventType, *, stubborn: bool) -> None:
    """A worker that ends when it is interrupted, or does not."""
    signal.signal(signal.SIGINT, signal.SIG_IGN if stubborn else signal.default_int_handler)
    with suppress(KeyboardInterrupt):
        ready.set()  # from its middle on, the interruption may come
        time.sleep(600)


@pytest.mark.parametrize(
    ("stubborn", "stopped", "exit_code"), [(False, False, 0), (True, False, -9), (False, True, -9)]
)
def test_a_worker_is_interrupted_and_killed_only_when_that_does_not_end_it(
    *, stubborn: bool, stopped: bool, exit_code: int
) -> None:
    context = multiprocessing.get_context("forkserver")
    ready = context.Event()
    worker = context.Process(target=sleeper, args=[ready], kwargs={"stubborn": stubborn})
    worker.start()
    assert ready.wait(60)
    assert worker.pid is not None
    if stopped:
        os.kill(worker.pid, signal.SIGSTOP)
    end_worker(worker, 60 if exit_code == 0 else 0.2)
    worker.join(60)
    assert worker.exitcode == exit_code
    end_worker(worker, 0)  # it has ended: nothing is signalled


def test_workers_end_with_the_code_server_that_is_killed(tmp_path: Path) -> None:
    program = (
        "import multiprocessing, os, sys, time\n"
        "if __name__ == '__main__':\n"
        "    context = multiprocessing.get_context('forkserver')\n"
        f"    context.set_forkserver_preload(['{PRELOAD[0]}'])\n"
        "    workers = [context.Process(target=time.sleep, args=[600]) for _ in range(3)]\n"
        "    for worker in workers: worker.start()\n"
        "    print(*[w.pid for w in workers], flush=True)\n"
        "    time.sleep(600)\n"
    )
    (tmp_path / "server.py").write_text(program)
    server = subprocess.Popen([sys.executable, tmp_path / "server.py"], stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    workers = [psutil.Process(int(pid)) for pid in server.stdout.readline().split()]
    assert len(workers) == 3
    workers[0].suspend()
    server.kill()
    server.communicate()
    assert all(_gone(worker) for worker in workers)


def test_a_worker_that_is_forked_while_its_server_dies_ends_too() -> None:
    program = (
        "import os, signal, sys, time\n"
        "server = os.getpid()\n"
        "def wait():\n"
        "    while os.getppid() == server: time.sleep(0.01)\n"
        "os.register_at_fork(after_in_child=wait)\n"
        f"import {PRELOAD[0]}\n"
        "worker = os.fork()\n"
        "if worker:\n"
        "    os.write(1, b'%d\\n' % worker)\n"
        "    os.kill(server, signal.SIGKILL)\n"
        "time.sleep(600)\n"
    )
    server = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    worker = int(server.stdout.readline())
    server.wait(60)
    assert not psutil.pid_exists(worker) or _gone(psutil.Process(worker))
    server.communicate()


def _gone(process: psutil.Process) -> bool:
    _, alive = psutil.wait_procs([process], timeout=15)
    return not alive
