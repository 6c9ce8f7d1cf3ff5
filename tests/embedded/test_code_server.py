"""The code server: its workers are forked from a process that is safe to fork from."""

import os
import subprocess
import sys
import time
from pathlib import Path

import psutil

from argus_assets.embedded.platform import dagster_yaml, free_port
from argus_assets.embedded.preload import MODULES

LOOK = """
import sys, threading, psutil
import argus_assets.embedded.preload
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


def _gone(process: psutil.Process) -> bool:
    _, alive = psutil.wait_procs([process], timeout=15)
    return not alive
