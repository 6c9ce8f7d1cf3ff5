"""Supervised processes: stopped with what they started, started again later and later, gone with their parent."""

import itertools
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from argus_assets.errors import BadSetting
from argus_assets.runtime.child import HOME_MARK, PYTHON, Child, end_leftovers
from argus_assets.runtime.code_address import CodeAddress
from argus_assets.runtime.connection import dagster_yaml, settings_for
from argus_assets.runtime.ports import free_port, port_is_free
from argus_assets.runtime.supervisor import Supervisor
from argus_assets.settings import without_password


def child(tmp_path: Path, code: str) -> Child:
    return Child("worker", [sys.executable, "-c", code], "here", tmp_path / "worker.log")


def gone(pid: int) -> bool:
    try:
        return (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def until(reached, seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_what_it_started_stops_with_it(tmp_path: Path) -> None:
    one = child(
        tmp_path,
        "import subprocess, sys, time\n"
        "p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        "print(p.pid, flush=True)\n"
        "time.sleep(600)",
    )
    one.start(os.environ)
    until(lambda: one.log.exists() and one.log.read_text().strip().isdigit())
    grandchild = int(one.log.read_text())
    assert one.alive()
    one.stop()
    assert not one.alive()
    until(lambda: gone(grandchild))


def test_one_that_does_not_listen_is_killed(tmp_path: Path) -> None:
    one = child(
        tmp_path,
        "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint('up', flush=True)\ntime.sleep(600)",
    )
    one.start(os.environ)
    until(lambda: one.log.exists() and "up" in one.log.read_text())
    one.stop(seconds=0.2)
    assert not one.alive()


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel ends children with their parent on Linux only")
@pytest.mark.parametrize("started_with", ["", "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"])
def test_it_ends_with_a_killed_parent(tmp_path: Path, started_with: str) -> None:
    code = (
        f"import os, signal, sys, time\n{started_with}from pathlib import Path\nfrom argus_assets.runtime.child import Child\n"
        f"c = Child('w', [sys.executable, '-c', 'import time; time.sleep(600)'], '', Path({str(tmp_path / 'w.log')!r}))\n"
        "c.start(os.environ)\nprint(c.process.pid, flush=True)\ntime.sleep(600)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    assert not gone(pid)
    parent.send_signal(signal.SIGKILL)
    parent.communicate()
    until(lambda: gone(pid))


def test_one_that_keeps_dying_is_started_later_and_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    supervisor = Supervisor(settings_for(tmp_path, {}), webserver=False, on_event=lambda _n, text: told.append(text))
    one = child(tmp_path, "raise SystemExit(3)")
    supervisor.children.append(one)
    now = [1000.0]
    monkeypatch.setattr("argus_assets.runtime.supervisor.time.monotonic", lambda: now[0])
    one.start(os.environ)
    starts: list[float] = []
    for _ in range(1200):
        before = one.process
        if before is not None:
            before.wait()
        supervisor.watch()
        if one.process is not before:
            starts.append(now[0])
        now[0] += 0.1
    one.stop()
    gaps = [round(b - a) for a, b in itertools.pairwise(starts)]
    assert gaps[:5] == [1, 3, 7, 15, 30]
    assert all("restarts in" in text for text in told)


def test_ports() -> None:
    port = free_port()
    assert port_is_free("127.0.0.1", port)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port))
        taken.listen()
        assert not port_is_free("127.0.0.1", port)


def test_a_port_in_use_is_told_before_anything_starts(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        settings = settings_for(tmp_path, {"ARGUS_PORT": str(taken.getsockname()[1])})
        with pytest.raises(BadSetting, match="is in use"):
            Supervisor(settings).start()
    assert not (tmp_path / "postgres").exists()


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("postgresql://jo:secret@host:5432/db", "postgresql://…@host:5432/db"),
        ("postgresql://jo:p@ss@host/db", "postgresql://…@host/db"),
        ("postgresql://host/db", "postgresql://host/db"),
    ],
)
def test_a_password_is_never_told(url: str, told: str) -> None:
    assert without_password(url) == told


PLANTED = ("argus_assets", "gql", "dagster", "sitecustomize", "numpy")


@pytest.fixture
def planted(tmp_path: Path) -> Path:
    """A folder with modules of names that Argus and its libraries import; each leaves a trace when it is."""
    folder = tmp_path / "planted"
    folder.mkdir()
    for name in PLANTED:
        (folder / f"{name}.py").write_text(f"open({str(tmp_path / 'executed')!r}, 'a').write('{name} ')\n")
    return folder


def test_children_import_nothing_from_the_folder_somebody_stands_in(
    tmp_path: Path, planted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(planted)
    one = Child("worker", [*PYTHON, "-c", "import numpy, argus_assets.cli, gql; print('up')"], "here", tmp_path / "log")
    one.start(os.environ)
    assert one.process is not None
    one.process.wait()
    assert not (tmp_path / "executed").exists(), (tmp_path / "executed").read_text()


def test_the_command_as_a_module_imports_nothing_from_there_either(planted: Path) -> None:
    # Python itself puts the folder first, and would take a planted package of Argus's own name: that is not Argus any more.
    (planted / "argus_assets.py").unlink()
    command = [sys.executable, "-m", "argus_assets", "status", "--help"]
    done = subprocess.run(command, cwd=planted, capture_output=True, text=True, check=True)
    assert "BATCH" in done.stdout
    assert not (planted.parent / "executed").exists()


def test_the_code_server_loads_its_definitions_from_no_working_folder(
    tmp_path: Path, planted: Path, database_url: str
) -> None:
    (tmp_path / "home" / "dagster").mkdir(parents=True, mode=0o700)
    (tmp_path / "home" / "dagster" / "dagster.yaml").write_bytes(dagster_yaml().read_bytes())
    environment = {
        **os.environ, "ARGUS_HOME": str(tmp_path / "home"), "ARGUS_DATABASE_URL": database_url,
        "DAGSTER_HOME": str(tmp_path / "home" / "dagster"),
    }  # fmt: skip
    # By its script, as a unit of systemd starts it: without -P.
    command = [str(Path(sys.executable).parent / "argus"), "code-server", "--socket", str(tmp_path / "s")]
    with (tmp_path / "log").open("wb") as log:
        server = subprocess.Popen(command, cwd=planted, env=environment, stdout=log, stderr=log)
    try:
        until(lambda: CodeAddress(socket=tmp_path / "s").answers(1), 120)
    finally:
        server.terminate()
        server.wait(30)
    assert not (tmp_path / "executed").exists(), (tmp_path / "executed").read_text()


def test_what_children_write_is_closed_to_others(tmp_path: Path) -> None:
    one = child(tmp_path, f"open({str(tmp_path / 'made')!r}, 'w')")
    one.start(os.environ)
    assert one.process is not None
    assert one.process.wait() == 0
    assert (tmp_path / "made").stat().st_mode & 0o077 == 0


def test_a_relative_folder_is_the_same_for_children_that_work_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    supervisor = Supervisor(settings_for(Path("home"), {"ARGUS_BUCKET_URL": "drops", "ARGUS_LAKE_URL": "s3://lake/x"}))
    assert supervisor.settings.bucket_url == str(tmp_path / "drops")
    assert supervisor.settings.lake_url == "s3://lake/x"
    assert supervisor.settings.home == tmp_path / "home"


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_what_a_killed_platform_left_at_work_is_ended_and_nothing_else(tmp_path: Path) -> None:
    homes = {name: tmp_path / name for name in ("mine", "mine-too", "other")}
    asleep = [sys.executable, "-c", "import time; time.sleep(600)"]
    left = {
        name: subprocess.Popen(asleep, env={**os.environ, HOME_MARK: str(home)}, start_new_session=True)
        for name, home in homes.items()
    }
    left["unmarked"] = subprocess.Popen(asleep, start_new_session=True)
    try:
        until(lambda: all((Path("/proc") / str(p.pid) / "environ").read_bytes() for p in left.values()))
        assert end_leftovers(homes["mine"]) == 1
        assert gone(left["mine"].pid)
        assert not any(gone(left[name].pid) for name in ("mine-too", "other", "unmarked"))
    finally:
        for process in left.values():
            process.kill()
            process.wait()
