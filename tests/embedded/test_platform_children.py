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

from argus_assets.embedded.platform import Child, Platform, free_port, port_is_free, redacted, settings_for
from argus_assets.errors import BadSetting


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
        f"import os, signal, sys, time\n{started_with}from pathlib import Path\nfrom argus_assets.embedded.platform import Child\n"
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
    platform = Platform(settings_for(tmp_path, {}), webserver=False, on_event=lambda _n, text: told.append(text))
    one = child(tmp_path, "raise SystemExit(3)")
    platform.children.append(one)
    now = [1000.0]
    monkeypatch.setattr("argus_assets.embedded.platform.time.monotonic", lambda: now[0])
    one.start(os.environ)
    starts: list[float] = []
    for _ in range(1200):
        before = one.process
        if before is not None:
            before.wait()
        platform.watch()
        if one.process is not before:
            starts.append(now[0])
        now[0] += 0.1
    one.stop()
    gaps = [round(b - a) for a, b in itertools.pairwise(starts)]
    assert gaps[:5] == [1, 3, 7, 15, 30]
    assert all("starts again in" in text for text in told)


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
            Platform(settings).start()
    assert not (tmp_path / "postgres").exists()


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("postgresql://jo:secret@host:5432/db", "postgresql://jo@host:5432/db"),
        ("postgresql://jo:p@ss@host/db", "postgresql://jo@host/db"),
        ("postgresql://host/db", "postgresql://host/db"),
    ],
)
def test_a_password_is_never_told(url: str, told: str) -> None:
    assert redacted(url) == told


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_what_a_killed_platform_left_at_work_is_ended_and_nothing_else(tmp_path: Path) -> None:
    homes = {name: tmp_path / name for name in ("mine", "mine-too", "other")}
    asleep = [sys.executable, "-c", "import time; time.sleep(600)"]
    left = {
        name: subprocess.Popen(asleep, env={**os.environ, "ARGUS_PLATFORM_OF": str(home)}, start_new_session=True)
        for name, home in homes.items()
    }
    left["unmarked"] = subprocess.Popen(asleep, start_new_session=True)
    try:
        platform = Platform(settings_for(homes["mine"], {}), webserver=False)
        until(lambda: all((Path("/proc") / str(p.pid) / "environ").read_bytes() for p in left.values()))
        assert platform._end_leftovers() == 1
        assert gone(left["mine"].pid)
        assert not any(gone(left[name].pid) for name in ("mine-too", "other", "unmarked"))
    finally:
        for process in left.values():
            process.kill()
            process.wait()
