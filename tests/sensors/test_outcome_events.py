"""Batches are dropped and run, and a real receiver is told: in order, once, and no repetition alerts again."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import psycopg2
import pytest
import sqlalchemy as sa
from dagster._core.storage.event_log.schema import SqlEventLogStorageTable

from argus_assets.adapters.postgres.database import Database
from argus_assets.adapters.postgres.outbox import Outbox
from argus_assets.adapters.webhook_sender import deliver
from argus_assets.event_log.events import EVENT_KEY, AssetEvent, to_dagster
from argus_assets.events import BatchCreated
from argus_assets.maintenance.retry_policy import LIMITS
from argus_assets.notifications.alerts import AlertRule, AlertRules
from argus_assets.notifications.endpoints import Endpoint
from argus_assets.partitions import request_run
from argus_assets.sensors.outcome_events import collect_outcomes
from tests.support.webhook_receiver import SECRET, Receiver, receiver

pytestmark = pytest.mark.wiring

RULES = AlertRules(
    alert=(
        AlertRule(name="bad", severity="error"),
        AlertRule(name="broken", on=("failed", "quarantined"), releases=("2026.*",)),
    )
)
TRUCK = "truck-oil-pressure"


@dataclass
class Teller:
    """The two sensors and a receiver of all events."""

    site: object
    outbox: Outbox
    there: Receiver
    rules: AlertRules = RULES

    def tell(self, *, max_events: int = 3000) -> str:
        endpoint = Endpoint("fleet", self.there.url, (SECRET,))
        told = collect_outcomes(
            self.site.instance,
            self.outbox,
            [endpoint],
            rules=self.rules,
            now=datetime.now(UTC),
            max_events=max_events,
        )
        deliver(self.outbox, [endpoint], workers=2, seconds=60)
        assert not self.there.refused
        assert not self.outbox.entries("pending")
        return told

    def alerts(self) -> list[tuple[str, str]]:
        return [(e.data["rule"], e.data["code"]) for e in self.there.events if e["type"] == "argus.AlertRaised"]


@pytest.fixture
def teller(site, argus_database_url: str) -> Iterator[Teller]:
    with receiver() as there:
        made = Teller(site, Outbox(Database(argus_database_url)), there)
        assert made.tell() == "Events from now on will be delivered."
        yield made


def run_again(site, partition: str, *, why: str, stage: str | None = None) -> dg.ExecuteInProcessResult:
    request = request_run("again", [partition], why=why)
    return site.run(request, **({"selection": [stage]} if stage else {}))


def test_a_batch_is_told_in_order_and_its_rerun_alerts_nobody(site, drives, teller) -> None:
    manifest = site.drop(drives["truck_oil_pressure"])
    (request,) = site.tick().run_requests
    teller.tell()
    assert teller.there.types() == ["argus.BatchCreated"]
    assert site.run(request).success
    teller.tell()
    events = [e for e in teller.there.events if e["type"] != "argus.AlertRaised"]
    told = [(e["type"].removeprefix("argus."), e.data.get("state")) for e in events]
    files = len(manifest.files)
    assert told == [
        ("BatchCreated", "uploaded"),
        ("StatusChanged", "scattering"),
        *[("FileParsed", "parsed")] * files,
        ("StatusChanged", "scattered"),
        ("StatusChanged", "gathering"),
        ("StatusChanged", "gathered"),
        ("StatusChanged", "diagnosing"),
        ("DiagnosisCompleted", None),
        ("StatusChanged", "completed"),
    ]
    assert {e["subject"] for e in events} == {f"{TRUCK}/b1"}
    assert {e.data.get("why") for e in events} == {None, "intake"}
    assert sorted(e.data["recording"] for e in events if "recording" in e.data) == sorted(
        f.name for f in manifest.files
    )
    diagnosis = next(e for e in events if e["type"] == "argus.DiagnosisCompleted")
    assert (diagnosis.data["release"], diagnosis.data["mode"]) == (manifest.release, "fast_path")
    severe = [f["code"] for f in diagnosis.data["faults"] if f["severity"] in ("error", "critical")]
    assert severe
    assert sorted(teller.alerts()) == sorted(("bad", code) for code in severe)
    assert not any(manifest.vin in str(e) + str(e.data) for e in teller.there.events)

    # Run again for all reasons there are, by a person in the UI too: told, but nobody is alerted.
    before = len(teller.there.events)
    for why in ("rerun", "replay", "rerun_failed", "rediagnose_degraded"):
        assert run_again(site, request.partition_key, why=why).success
    assert site.run(dg.RunRequest(partition_key=request.partition_key)).success
    teller.rules = AlertRules(alert=(*RULES.alert, AlertRule(name="new", severity="info", repeat_after_h=0)))
    teller.tell()
    again = teller.there.events[before:]
    assert [e.data.get("why") for e in again if e["type"] == "argus.DiagnosisCompleted"] == [
        "rerun", "replay", "rerun_failed", "rediagnose_degraded", None,
    ]  # fmt: skip
    assert len(teller.alerts()) == len(severe)
    assert len({e["id"] for e in teller.there.events}) == len(teller.there.events)


def test_what_was_diagnosed_before_there_was_an_outbox_alerts_nobody(site, drives, teller, argus_database_url) -> None:
    site.drop(drives["truck_oil_pressure"])
    (request,) = site.tick().run_requests
    assert site.run(request).success
    connection = psycopg2.connect(argus_database_url)
    with connection, connection.cursor() as cursor:
        cursor.execute("DELETE FROM argus.outbox_cursor")
    connection.close()
    teller.tell()
    assert run_again(site, request.partition_key, why="rerun").success
    teller.tell()
    assert "argus.DiagnosisCompleted" in teller.there.types()
    assert not teller.alerts()


def test_one_fault_in_many_batches_of_a_vehicle_is_one_alert_in_its_time(site, drives, teller) -> None:
    for number in range(3):
        site.drop(drives["truck_oil_pressure"], batch_id=f"b{number}")
    site.tick_and_run()
    teller.tell()
    codes = [code for _, code in teller.alerts()]
    assert codes
    assert len(codes) == len(set(codes))
    site.drop(drives["truck_oil_pressure"], batch_id="b9")
    teller.rules = AlertRules(alert=(RULES.alert[0].model_copy(update={"repeat_after_h": 0}),))
    site.tick_and_run()
    teller.tell()
    later = [e for e in teller.there.events if e["type"] == "argus.AlertRaised" and e["subject"] == f"{TRUCK}/b9"]
    assert sorted(e.data["code"] for e in later) == sorted(codes)
    assert {e.data["held_back"] for e in later} == {2}


def test_failures_for_good_and_what_cannot_be_used_are_alerted_once(site, drives, teller) -> None:
    site.drop(drives["car_healthy"], batch_id="b0")
    (request,) = site.tick().run_requests
    shutil.rmtree(Path(site.bucket.url) / "batches")
    assert not site.run(request).success
    assert not run_again(site, request.partition_key, why="rerun").success
    site.drop(drives["car_healthy"], batch_id="b1")
    shutil.rmtree(Path(site.bucket.url) / "batches")
    site.tick()
    teller.tell()
    failed = [e for e in teller.there.events if e.data.get("state") == "failed" and e["type"] == "argus.StatusChanged"]
    assert sorted((e["subject"], e.data["stage"]) for e in failed) == [
        ("car-healthy/b0", "rec_frames"),
        ("car-healthy/b0", "rec_frames"),
        ("car-healthy/b1", "vehicle_drop"),
    ]
    assert all(e.data["reasons"][0]["kind"] == "missing_file" for e in failed)
    # The rule asks for a release; of what never became a batch none is known.
    assert teller.alerts() == [("broken", "quarantined")]


def test_each_page_goes_on_where_the_last_one_ended(site, drives, teller) -> None:
    for number in range(4):
        site.drop(drives["car_healthy"], batch_id=f"b{number}")
    site.tick_and_run()
    ticks = 0
    while not teller.tell(max_events=7).startswith("0 events"):
        ticks += 1
        assert ticks < 40
    small = list(teller.there.events)
    for number in range(4):
        types = [e["type"] for e in small if e["subject"] == f"car-healthy/b{number}"]
        assert types[0] == "argus.BatchCreated"
        assert types[-2:] == ["argus.DiagnosisCompleted", "argus.StatusChanged"]
    assert len({e["id"] for e in small}) == len(small) == 4 * (8 + 2)


def dropped(n: int, *, digest: str | None = None) -> AssetEvent:
    """What the intake records of a drop."""
    at = datetime(2027, 1, 15, 8, tzinfo=UTC)
    event = BatchCreated(
        manifest_digest=digest or f"{n:016x}", vehicle_id="v", batch_id=f"b{n}", platform="truck", release="1",
        recorded_from=at, recorded_to=at, files=1, size_bytes=1, marker_at=at,
    )  # fmt: skip
    return to_dagster(event, partition=f"2026-11-20_v_b{n}")


def test_thousands_of_events_are_put_in_at_one_tick(site, teller) -> None:
    """As many as 3,000 batches make when they are dropped at once."""
    site.instance.report_runless_asset_event(dropped(0, digest="the-digest"))
    copy = (
        "INSERT INTO event_logs (run_id, event, dagster_event_type, timestamp, asset_key, partition) "
        "SELECT run_id, replace(event, 'the-digest', lpad(n::text, 16, '0')), dagster_event_type, timestamp, asset_key, "
        "partition FROM event_logs, generate_series(1, 2999) n WHERE event LIKE '%the-digest%'"
    )
    with site.instance.event_log_storage.index_connection() as connection:
        connection.execute(sa.text(copy))
    assert collect(teller) == "3000 events, 0 alerts, 3000 put into the outbox."
    assert collect(teller) == "0 events, 0 alerts, 0 put into the outbox."


def collect(teller: Teller) -> str:
    endpoint = Endpoint("fleet", teller.there.url, (SECRET,))
    return collect_outcomes(teller.site.instance, teller.outbox, [endpoint], rules=teller.rules, now=datetime.now(UTC))


def test_an_event_whose_transaction_ends_late_is_not_passed_by(site, teller) -> None:
    table = SqlEventLogStorageTable
    site.instance.report_runless_asset_event(dropped(1))
    with site.instance.event_log_storage.index_connection() as connection:
        # The row as it is while its transaction is open: its id is taken, and nobody sees it.
        row = connection.execute(sa.select(table).order_by(table.c.id.desc()).limit(1)).one()
        connection.execute(table.delete().where(table.c.id == row.id))
    site.instance.report_runless_asset_event(dropped(2))
    teller.tell()
    assert teller.there.types() == []
    with site.instance.event_log_storage.index_connection() as connection:
        connection.execute(table.insert().values(**row._mapping))  # noqa: SLF001 - public in SQLAlchemy
    site.instance.report_runless_asset_event(dropped(3))
    with site.instance.event_log_storage.index_connection() as connection:
        connection.execute(sa.text("SELECT nextval('event_logs_id_seq')"))  # one that was rolled back
    site.instance.report_runless_asset_event(dropped(4))
    teller.tell()
    assert sorted(e["subject"] for e in teller.there.events) == ["v/b1", "v/b2", "v/b3"]
    with site.instance.event_log_storage.index_connection() as connection:
        connection.execute(sa.text("UPDATE event_logs SET timestamp = timestamp - interval '61 s'"))
    teller.tell()
    assert sorted(e["subject"] for e in teller.there.events) == ["v/b1", "v/b2", "v/b3", "v/b4"]


def test_what_is_tried_no_more_is_alerted_and_a_new_drop_counts_anew(site, teller) -> None:
    """A failure that may pass by itself is none for people, until the schedule gives the batch up."""

    def fail(n: int, digest: str, **more: object) -> None:
        site.instance.report_runless_asset_event(
            dg.AssetObservation(
                "rec_frames",
                partition="2026-11-20_v_b1",
                metadata={
                    EVENT_KEY: "StatusChanged", "state": "failed", "error": "S3 is away", "permanent": False,
                    "manifest_digest": digest, "run_id": f"run-{n}", **more,
                },
            )
        )  # fmt: skip

    teller.rules = AlertRules(alert=(AlertRule(name="broken", on=("failed",), repeat_after_h=0),))
    for n in range(LIMITS.attempts - 1):
        fail(n, "first")
    teller.tell()
    assert not teller.alerts()
    fail(99, "first")
    fail(100, "first")
    teller.tell()
    assert teller.alerts() == [("broken", "failed")]
    for n in range(LIMITS.crashes - 1):
        fail(n, "second", crashed=True)
    site.instance.report_runless_asset_event(dropped(1, digest="second"))
    fail(50, "second", crashed=True)
    teller.tell()
    assert len(teller.alerts()) == 1
    for n in range(LIMITS.crashes - 1):
        fail(60 + n, "second", crashed=True)
    teller.tell()
    assert len(teller.alerts()) == 2


def test_an_event_that_cannot_be_read_keeps_nothing_back(site, teller) -> None:
    site.instance.report_runless_asset_event(
        dg.AssetObservation(
            "rec_frames", partition="2026-11-20_v_b1", metadata={EVENT_KEY: "FileParsed", "manifest_digest": "d"}
        )
    )
    site.instance.report_runless_asset_event(dropped(1))
    assert "1 could not be read: event " in teller.tell()
    assert teller.there.types() == ["argus.BatchCreated"]
