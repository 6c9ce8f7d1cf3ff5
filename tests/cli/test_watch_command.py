"""The live view on batches that really ran."""

import io
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
import psycopg2
import pytest
from click.testing import CliRunner
from rich.console import Console

from argus_assets import metrics_collector as figures
from argus_assets.adapters.postgres.database import Database
from argus_assets.adapters.postgres.ledger import PostgresLedger
from argus_assets.adapters.postgres.outbox import Outbox
from argus_assets.cli import root
from argus_assets.cli.watch import render, watch
from argus_assets.metrics_collector import MetricsCollector
from argus_assets.monitoring import overview
from argus_assets.runtime import code_address
from argus_assets.runtime.code_address import CodeAddress

pytestmark = pytest.mark.wiring


@dg.job
def at_work() -> None:
    """Stands for a run whose worker is somewhere else."""


def look(site, database_url):
    database = Database(database_url)
    ledger = PostgresLedger(database, daily_tokens=1000)
    return MetricsCollector(
        site.instance, site.bucket, site.lake, ledger, Outbox(database), retain_days=90, interval_s=5
    ).overview()


def test_a_run_at_work_its_progress_and_what_failed(site, drives, argus_database_url, tmp_path, monkeypatch, capsys):
    for number in range(3):
        site.drop(drives["car_healthy"], batch_id=f"b{number}")
    (request,) = site.tick().run_requests
    spoilt = site.bucket.list_prefix("batches/car-healthy/b1/")[0]
    site.bucket.put(spoilt.key, b"x" * spoilt.size)
    run = site.run(request)
    seen = look(site, argus_database_url)
    assert seen.rate.batches == pytest.approx(2 / 5)
    assert seen.rate.frames > 0
    (failure,) = seen.failures
    assert (failure.batch, failure.stage, failure.kind) == ("2026-11-18_car-healthy_b1", "rec_frames", "quarantined")
    assert spoilt.key.rsplit("/", 1)[1] in failure.reason

    # The same run as if it were at work, and another that waits.
    again = site.instance.create_run_for_job(at_work, tags=dict(request.tags), status=dg.DagsterRunStatus.STARTED)
    seen = look(site, argus_database_url)
    (shown,) = seen.runs
    assert (shown.run_id, shown.batches, shown.done, shown.status) == (again.run_id, 3, 2, "started")
    assert shown.name == "2026-11-18_car-healthy_b0 and 2 more"
    assert run.run_id != again.run_id

    for width in (30, 80, 200):
        console = Console(width=width, record=True, file=io.StringIO())
        console.print(render(seen))
        text = console.export_text()
        assert max(map(len, text.splitlines())) <= width
        words = re.sub(r"\s+", "", text)
        assert "2of3done" in words
        assert "quarantined" in words
    assert "2 of 3 done" in text
    assert "3 manifests in the inbox" in text

    monkeypatch.setenv("ARGUS_BUCKET_URL", site.bucket.url)
    home = tmp_path / "home"
    watch(home, as_json=True, times=2)
    first, second = map(json.loads, capsys.readouterr().out.splitlines()[-2:])
    assert first["markers"] == second["markers"] == 3
    watch(home, as_json=False, times=1)
    line = capsys.readouterr().out.splitlines()[-1]
    assert "inbox 3" in line
    assert "runs 1+0 queued" in line


@contextmanager
def code_server_that_never_answers(socket_path: Path) -> Iterator[None]:
    """Takes connections, as the kernel does for a stopped process, and says nothing."""
    with socket.socket(socket.AF_UNIX) as deaf:
        deaf.bind(str(socket_path))
        deaf.listen()
        yield


def test_check_fails_when_the_code_server_does_not_answer(site, tmp_path, monkeypatch):
    monkeypatch.setenv("ARGUS_BUCKET_URL", site.bucket.url)
    monkeypatch.setattr(code_address, "ASK_SECONDS", 1)
    monkeypatch.setattr(CodeAddress.answers, "__defaults__", (1,))
    home = tmp_path / "home"
    (home / "dagster").mkdir(parents=True)
    with tempfile.TemporaryDirectory() as short, code_server_that_never_answers(Path(short) / "s"):
        (home / "dagster" / "workspace.yaml").write_text(CodeAddress(socket=Path(short) / "s").workspace("argus"))
        result = CliRunner().invoke(root, ["status", "--check", "--home", str(home)])
    assert result.exit_code == 1
    assert "No answer from: code_server" in result.output


@pytest.mark.parametrize("seconds", [0, 60, 600])
def test_check_fails_when_a_run_gets_no_worker(site, tmp_path, monkeypatch, seconds):
    monkeypatch.setenv("ARGUS_BUCKET_URL", site.bucket.url)
    site.instance.create_run_for_job(at_work, status=dg.DagsterRunStatus.STARTING)
    now = time.time() + seconds
    monkeypatch.setattr(figures.time, "time", lambda: now)
    result = CliRunner().invoke(root, ["status", "--check", "--home", str(tmp_path / "home")])
    assert ("A run has been starting for" in result.output) is (seconds == 600)
    assert result.exit_code == (seconds == 600)


@pytest.mark.parametrize("command", [["status", "--check"], ["metrics", "--once"]])
def test_a_database_without_free_connections_is_told_without_a_traceback(
    site, tmp_path, monkeypatch, argus_database_url, command
):
    monkeypatch.setenv("ARGUS_BUCKET_URL", site.bucket.url)
    monkeypatch.setenv("ARGUS_DATABASE_URL", argus_database_url)
    taken: list[psycopg2.extensions.connection] = []
    try:
        with pytest.raises(psycopg2.OperationalError, match="too many clients"):
            while True:
                taken.append(psycopg2.connect(argus_database_url))
        done = subprocess.run(
            [sys.executable, "-m", "argus_assets", *command, "--home", str(tmp_path / "home")],
            env=dict(os.environ), capture_output=True, text=True, check=False,
        )  # fmt: skip
    finally:
        for connection in taken:
            connection.close()
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "\nerror: The database did not answer: " in f"\n{done.stderr}"


def test_check_fails_when_nobody_looks_into_the_inbox(site, drives, tmp_path, monkeypatch):
    monkeypatch.setenv("ARGUS_BUCKET_URL", site.bucket.url)
    monkeypatch.setenv("ARGUS_HOME", str(tmp_path / "home"))
    assert CliRunner().invoke(root, ["status", "--check"]).exit_code == 0
    site.drop(drives["car_healthy"])
    marker = next(Path(site.bucket.url).rglob("inbox/*/*.json"))
    os.utime(marker, (time.time() - 300, time.time() - 300))
    result = CliRunner().invoke(root, ["status", "--check"])
    assert result.exit_code == 1
    assert "has never ticked" in result.output
    assert "argus doctor" in result.output
    told = CliRunner().invoke(root, ["status"])
    assert told.exit_code == 0
    assert "has never ticked" in told.stderr
    found = {f["check"]: f for f in json.loads(CliRunner().invoke(root, ["doctor", "--json"]).output)}
    assert found["inbox"]["state"] == "fail"
    assert "has never ticked" in found["inbox"]["found"]
    monkeypatch.setattr(overview, "SILENT_AT_LEAST_S", 1000.0)
    assert CliRunner().invoke(root, ["status", "--check"]).exit_code == 0
