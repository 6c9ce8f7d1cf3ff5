"""Old batches leave Dagster and the bucket, whole or not at all, and are never taken up again."""

import os
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import psycopg2
import pytest
from click.testing import CliRunner
from dagster._core.test_utils import create_run_for_test

from argus_assets.adapters.postgres.database import Database
from argus_assets.cli import root
from argus_assets.drop.keys import BatchRef, batch_prefix
from argus_assets.drop.results import read_result, write_result
from argus_assets.event_log.retention_store import PostgresRetentionStore
from argus_assets.lake.reports import RETENTION
from argus_assets.maintenance.reconcile import GRACE
from argus_assets.maintenance.reruns import new_request
from argus_assets.maintenance.retention import Policy, RetentionReport, retain
from argus_assets.partitions import BATCHES
from argus_assets.resources.database import DatabaseResource
from argus_assets.schedules.reconcile_bucket import run_pass
from argus_assets.schedules.retain import build_retain_job, is_due, retention_store
from argus_assets.sensors.rerun_requests import save_request

DAYS = timedelta(days=100)
POLICY = Policy(batches=timedelta(days=90), runs=timedelta(days=90))
VEHICLE = "car-healthy"


def query(text: str, *values: object) -> list[tuple]:
    with psycopg2.connect(os.environ["ARGUS_DATABASE_URL"]) as connection, connection.cursor() as cursor:
        cursor.execute(text, values)
        return cursor.fetchall() if cursor.description else []


def partition(site, batch: str) -> str:
    return next(k for k in site.instance.get_dynamic_partitions(BATCHES) if k.endswith(f"_{batch}"))


def age(site, *batches: str, runs: Sequence[str] = ()) -> None:
    """Let batches, and runs, be from 100 days ago."""
    keys = [partition(site, b) for b in batches]
    query("UPDATE event_logs SET timestamp = timestamp - %s WHERE partition = ANY(%s)", DAYS, keys)
    query("UPDATE runs SET update_timestamp = update_timestamp - %s WHERE run_id = ANY(%s)", DAYS, list(runs))
    for batch in batches:
        result = read_result(site.bucket, BatchRef(VEHICLE, batch))
        if result is not None:
            write_result(site.bucket, result.model_copy(update={"at": result.at - DAYS}))
        for top in ("accepted", "batches"):
            for info in site.bucket.iterate(f"{top}/{VEHICLE}/"):
                if info.key.split("/")[2].startswith(batch):
                    old = info.modified.timestamp() - DAYS.total_seconds()
                    os.utime(site.bucket.path(info.key), (old, old))


@pytest.fixture
def aged(site, drives) -> dict[str, str]:
    """Batches in every state, most of them old; the id of the run of each."""
    runs: dict[str, str] = {}

    def drop(*batches: str) -> None:
        for batch in batches:
            site.drop(drives["car_healthy"], batch_id=batch)

    def take(*batches: str) -> None:
        for request in site.tick().run_requests:
            runs.update(dict.fromkeys(batches, site.run(request).run_id))
        site.tick()

    drop("old-1", "old-2")
    take("old-1", "old-2")
    drop("mixed-old", "mixed-young")
    take("mixed-old", "mixed-young")
    drop("failed")
    for info in site.bucket.list_prefix(batch_prefix(VEHICLE, "failed")):
        path = Path(site.bucket.path(info.key))
        path.write_bytes(b"\0" * path.stat().st_size)
    take("failed")
    drop("flying")
    (request,) = site.tick().run_requests
    site.tick()
    create_run_for_test(
        site.instance, tags={"dagster/partition": request.partition_key}, status=dg.DagsterRunStatus.STARTED
    )
    # Its manifest was dropped again, changed: two are accepted, the later one counts.
    site.drop(drives["car_healthy"], batch_id="old-2", release="2026.11")
    site.tick_and_run()
    site.tick()
    names = ("old-1", "old-2", "mixed-old", "failed", "flying")
    age(site, *names, runs=list(runs.values()))
    return runs


def records_of(site, kind=PostgresRetentionStore) -> PostgresRetentionStore:
    database = Database(os.environ["ARGUS_DATABASE_URL"])
    return retention_store(site.instance, database, site.bucket, site.lake, kind=kind)


def pass_over(site, records=None, *, policy: Policy = POLICY, dry_run: bool = False, now=None) -> RetentionReport:
    return retain(
        records or records_of(site), site.bucket, policy=policy, now=now or datetime.now(UTC), dry_run=dry_run
    )


def live(site) -> set[str]:
    return {k.split("_", 2)[2] for k in site.instance.get_dynamic_partitions(BATCHES)}


def lake_files(site) -> dict[str, bytes]:
    top = Path(site.lake.path(""))
    return {str(p.relative_to(top)): p.read_bytes() for p in top.rglob("*") if p.is_file()}


def keys(site, top: str) -> list[str]:
    return [i.key for i in site.bucket.iterate(f"{top}/")]


def rows(site) -> dict[str, list[tuple]]:
    """All that Dagster holds, but for what only its own counting uses."""
    return {
        "partitions": query("SELECT partition FROM dynamic_partitions ORDER BY 1"),
        "events": query("SELECT id, run_id, dagster_event_type, asset_key, partition FROM event_logs ORDER BY id"),
        "tags": query("SELECT event_id, key, value FROM asset_event_tags ORDER BY 1, 2"),
        "checks": query("SELECT run_id, check_name, partition FROM asset_check_executions ORDER BY 1, 2, 3"),
        "runs": query("SELECT run_id FROM runs ORDER BY 1"),
        "run tags": query("SELECT run_id, key FROM run_tags ORDER BY 1, 2"),
    }


def test_old_batches_go_whole_and_nothing_else_does(site, drives, aged, monkeypatch) -> None:
    before, tables, recordings = rows(site), lake_files(site), keys(site, "batches")
    told = pass_over(site, dry_run=True)
    assert rows(site) == before
    assert lake_files(site) == tables
    report = pass_over(site)
    assert {(g.kind, g.count, g.oldest, g.newest) for g in report.gone} == {
        (g.kind, g.count, g.oldest, g.newest) for g in told.gone
    }, "what it said it would do"
    assert {g.kind: g.count for g in report.gone} == {"batches": 3, "accepted manifests": 4, "runs": 1}
    assert {k.because: [n.rpartition("_")[2] for n in k.batches] for k in report.kept} == {
        "failed, and waits for a person": ["failed"],
        "in flight, or a rerun was asked for": ["flying"],
    }
    assert live(site) == {"mixed-young", "failed", "flying"}
    after = rows(site)
    gone = ("old-1", "old-2", "mixed-old")
    for table in ("events", "checks"):
        assert not [r for r in after[table] if r[-1] and r[-1].endswith(gone)]
    ids = {r[0] for r in after["events"]}
    assert {r[0] for r in after["tags"]} <= ids
    assert aged["old-1"] not in {r[0] for r in after["runs"]}
    assert {aged["mixed-old"], aged["failed"]} <= {r[0] for r in after["runs"]}
    kept = [r for r in before["events"] if r[-1] and not r[-1].endswith(gone)]
    assert [r for r in after["events"] if r[-1]] == kept
    assert {k.split("/")[2].split(".")[0] for k in keys(site, "accepted")} == live(site)
    assert lake_files(site) == tables
    assert keys(site, "batches") == recordings

    # The second run of old-2 ended today: it stays for a day, then it goes.
    assert not pass_over(site).gone
    report = pass_over(site, now=datetime.now(UTC) + timedelta(days=2))
    assert {g.kind: g.count for g in report.gone} == {"runs": 1}

    # Neither the sensor nor the daily pass over the bucket takes up what is gone.
    now = site.bucket.now
    monkeypatch.setattr(type(site.bucket), "now", lambda _: now() + GRACE * 2)
    assert run_pass(site.instance, site.bucket, site.lake, retain=DAYS * 9).put_back == []
    assert not site.tick().run_requests
    monkeypatch.undo()
    os.environ["ARGUS_DATABASE_URL"] = site.resources["diagnostician"].database_url

    # What is dropped again is processed as new.
    site.drop(drives["car_healthy"], batch_id="old-1")
    (run,) = site.tick_and_run()
    assert run.success
    key = partition(site, "old-1")
    assert site.made("batch_report", key) == site.made("vehicle_drop", key) == 1


class Killed(Exception):
    pass


class Mortal(PostgresRetentionStore):
    """Removes so many things, and then dies; of a run it may die in the middle."""

    left = 0
    halves = False

    def _step(self) -> None:
        if self.left <= 0:
            raise Killed
        self.left -= 1

    def delete_batches(self, batches):
        self._step()
        return super().delete_batches(batches)

    def delete_run(self, run_id):
        if self.halves and self.left <= 0:
            self._instance.event_log_storage.delete_events(run_id)
        self._step()
        super().delete_run(run_id)

    def delete_events(self, *, before):
        self._step()
        return super().delete_events(before=before)

    def delete_object(self, key):
        self._step()
        super().delete_object(key)


def test_killed_at_any_step_the_next_pass_does_the_rest(site, aged) -> None:
    later = datetime.now(UTC) + timedelta(days=2)
    policy = Policy(batches=POLICY.batches, runs=POLICY.runs, recordings=timedelta(days=90))
    total = {g.kind: g.count for g in pass_over(site, policy=policy, dry_run=True, now=later).gone}
    steps = 0
    while True:
        mortal = records_of(site, Mortal)
        mortal.left, mortal.halves = (1, True)
        try:
            report = pass_over(site, mortal, policy=policy, now=later)
        except Killed:
            steps += 1
            # At each moment: a live batch is whole, and what is no live batch has left nothing that could come back.
            for key in site.instance.get_dynamic_partitions(BATCHES):
                name = key.rpartition("_")[2]
                if name not in ("failed", "flying"):
                    assert site.made("vehicle_drop", key) >= 1
                    assert site.made("batch_report", key) >= 1
            assert run_pass(site.instance, site.bucket, site.lake, retain=DAYS * 9, dry_run=True).put_back == []
            assert steps < 100
            continue
        break
    assert steps >= total["accepted manifests"] + total["recordings"] + total["runs"], "each was the last one once"
    assert not report.gone or sum(g.count for g in report.gone) <= 1
    assert live(site) == {"mixed-young", "failed", "flying"}
    after = rows(site)
    assert not [r for r in after["events"] if r[-1] and r[-1].endswith(("old-1", "old-2", "mixed-old"))]
    assert {r[1] for r in after["events"] if r[1]} <= {r[0] for r in after["runs"]}, "no events of a run that is gone"
    assert {r[0] for r in after["tags"]} <= {r[0] for r in after["events"]}
    assert aged["old-1"] not in {r[0] for r in after["runs"]}
    assert not [k for k in keys(site, "accepted") if k.split("/")[2].startswith(("old-", "mixed-old"))]
    left = {k.split("/")[2] for k in keys(site, "batches")}
    assert left == {"mixed-young", "failed", "flying"}
    assert not pass_over(site, policy=policy, now=later).gone


def test_of_too_many_the_oldest_go_and_what_was_not_delivered_or_dropped_again_stays(site, drives, aged) -> None:
    later = datetime.now(UTC) + GRACE * 2
    policy = Policy(batches=timedelta(days=900), max_batches=3, runs=POLICY.runs)
    Path(site.bucket.path(f"results/{VEHICLE}/old-1.json")).unlink()
    report = pass_over(site, policy=policy, now=later)
    assert live(site) == {"old-1", "mixed-young", "failed", "flying"}
    assert report.over == 1
    assert [k.because for k in report.kept] == ["outcome not delivered"]
    assert "1 partitions more than allowed" in report.lines()[-1]

    # Other systems were told of nothing that happened after the first event.
    query("INSERT INTO argus.outbox_cursor SELECT 'event_log', min(id) FROM event_logs")
    assert {k.because for k in pass_over(site, now=later).kept} >= {"outcome not delivered"}
    policy = replace(POLICY, batches=GRACE)
    assert not pass_over(site, policy=policy, now=later).gone
    nobody = replace(policy, others_are_notified=False)
    assert pass_over(site, policy=nobody, now=later, dry_run=True).of("batches").count == 1, "nobody is to be told"
    query("UPDATE argus.outbox_cursor SET storage_id = (SELECT max(id) FROM event_logs)")
    told = pass_over(site, policy=policy, now=later, dry_run=True)
    assert {g.kind: g.count for g in told.gone} == {"batches": 1, "accepted manifests": 1, "runs": 1}

    records = records_of(site)
    # One that somebody wants to be made again.
    order = site.instance.get_dynamic_partitions(BATCHES)
    wanted = new_request(
        [partition(site, "mixed-young")], order=order, by="me", text="young", from_stage=None, now=later
    )
    save_request(site.lake, wanted)
    assert [b.ref.batch_id for b in records.live_batches() if b.state == "working"] == ["mixed-young", "flying"]

    # A batch that is dropped again after the plan was made.
    plan = [b for b in records.live_batches() if b.ref == BatchRef(VEHICLE, "old-1")]
    site.drop(drives["car_healthy"], batch_id="old-1", release="2027.01")
    (request,) = site.tick().run_requests
    assert records.delete_batches(plan) == []
    assert site.run(request).success
    assert "old-1" in live(site)


def test_the_job_tells_what_it_removed_and_the_command_removes_nothing_unasked(
    site, drives, aged, tmp_path, monkeypatch
) -> None:
    monkeypatch.setenv("ARGUS_BUCKET_URL", site.bucket.url)
    monkeypatch.setenv("ARGUS_LAKE_URL", str(tmp_path / "lake"))
    monkeypatch.setenv("ARGUS_HOME", str(tmp_path / "home"))
    before = rows(site)
    told = CliRunner().invoke(root, ["retain"], catch_exceptions=False).output
    assert "3 batches would be deleted" in told
    assert "--apply" in told
    assert rows(site) == before
    assert RETENTION.load(site.lake) is None
    # Manifests are to be kept longer than their batches.
    policy = replace(POLICY, accepted=DAYS * 2)
    result = build_retain_job(policy).execute_in_process(
        instance=site.instance,
        resources={**site.resources, "database": DatabaseResource(url=os.environ["ARGUS_DATABASE_URL"])},
    )
    assert result.success
    (event,) = site.instance.fetch_observations(dg.AssetKey("vehicle_drop"), limit=1).records
    assert event.asset_observation.metadata["batches"].value == 3
    report = RETENTION.load(site.lake)
    assert report is not None
    assert report.ended_at is not None
    assert report.listed_at is not None
    assert len(keys(site, "accepted")) == 7
    assert run_pass(site.instance, site.bucket, site.lake, retain=DAYS * 9).put_back == [], "all have their outcome"
    told = CliRunner().invoke(root, ["retain", "--apply", "--json"], catch_exceptions=False).output
    report = RetentionReport.model_validate_json(told)
    assert {g.kind: g.count for g in report.gone} == {"accepted manifests": 4}, "they go by their own age"
    assert len(keys(site, "accepted")) == 3


def test_events_of_no_run_and_rows_of_our_own_go_by_age(site, drives) -> None:
    site.drop(drives["car_healthy"])
    site.tick_and_run()
    key = partition(site, "b1")
    site.instance.report_runless_asset_event(dg.AssetObservation("vehicle_drop", metadata={"argus/event": "Told"}))
    quarantined = dg.AssetObservation("vehicle_drop", metadata={"argus/event": "BatchQuarantined"}, partition="x")
    site.instance.report_runless_asset_event(quarantined)
    query(
        "INSERT INTO argus.answers VALUES ('k', 'a', '[]', '', 'm', now() - interval '400 days'), ('l', 'a', '[]', '', 'm', now())"
    )
    query("UPDATE argus.drives SET recorded_from = now() - interval '400 days'")
    query("INSERT INTO argus.token_days (day) VALUES ('2020-01-01'), ('2020-01-02')")
    for day, settled in (("2020-01-01", "now()"), ("2020-01-02", "NULL")):
        query(
            f"INSERT INTO argus.model_calls (day, batch, model, priority, reserved, reserved_at, settled_at) VALUES ('{day}', 'b', 'm', 1, 1, '{day}', {settled})"
        )
    query(
        "UPDATE event_logs SET timestamp = timestamp - %s WHERE run_id = '' AND partition IS DISTINCT FROM %s",
        DAYS,
        key,
    )
    for subject in (f"{VEHICLE}/b1", f"{VEHICLE}/gone"):
        old = "now() - interval '400 days'"
        query(f"INSERT INTO argus.alerted_manifests VALUES ('d', '{subject}', {old})")
        query(f"INSERT INTO argus.alerts VALUES ('d', 'r', 'c', '{VEHICLE}', '{subject}', {old}, false)")
        query(f"INSERT INTO argus.failed_attempts VALUES ('d', '{subject}', 'e', false)")
    report = pass_over(site)
    assert {g.kind: g.count for g in report.gone} == {
        "events": 1,
        "answers": 1,
        "drives": 1,
        "model calls": 1,
        "alerts": 1,
        "alerted manifests": 1,
    }
    for table in ("alerts", "alerted_manifests", "failed_attempts"):
        assert query(f"SELECT subject FROM argus.{table}") == [(f"{VEHICLE}/b1",)], "the batch lives"
    assert query("SELECT key FROM argus.answers") == [("l",)]
    assert query("SELECT day::text FROM argus.token_days ORDER BY 1") == [("2020-01-02",)], "nobody settled its call"
    assert query("SELECT count(*) FROM argus.drive_faults") == [(0,)]
    assert [r[0] for r in query("SELECT partition FROM event_logs WHERE run_id = ''")] == [key, "x"]
    assert live(site) == {"b1"}


def test_a_pass_begins_daily_and_whenever_there_is_too_much() -> None:
    at = datetime(2026, 11, 25, 4, 43, tzinfo=UTC)
    done = RetentionReport(started_at=at, ended_at=at, dry_run=False)
    hours = [at + timedelta(hours=h) for h in range(1, 24)]
    assert is_due(None, at, too_many=False)
    assert not any(is_due(done, h, too_many=False) for h in hours)
    assert all(is_due(done, h, too_many=True) for h in hours)
    assert all(is_due(done.model_copy(update={"ended_at": None}), h, too_many=False) for h in hours)
    assert is_due(done, at + timedelta(hours=26), too_many=False)
