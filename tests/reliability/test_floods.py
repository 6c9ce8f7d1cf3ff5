"""Ten thousand manifests in the inbox at once, for the real daemon: ticks stay short, each batch is completed once."""

import os
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.scheduler.instigation import TickData
from dagster_shared.serdes import deserialize_value

from argus_assets.partitions import IN_FLIGHT
from argus_assets.pipeline import STAGES, BatchState
from argus_assets.runtime.embedded.s3 import S3Server
from argus_assets.simulate.fleet import Drive
from tests.support.reliability_report import Report, happened
from tests.support.reliability_site import Site, running_site

MARKERS = int(os.environ.get("ARGUS_TEST_MARKERS", "10000"))
GRPC_LIMIT_S = 60.0
"""Dagster gives up on a tick after so long."""

SECONDS_EACH = 2.0
"""More than a batch takes on a slow machine."""

LOOK_S = 10.0
READERS = 8

pytestmark = [
    pytest.mark.reliability,
    pytest.mark.reliability_full,
    pytest.mark.timeout(1800 + SECONDS_EACH * MARKERS),
]


def test_ten_thousand_manifests_at_once(
    moto_server: S3Server, reliability_drives: dict[str, Drive], report: Report
) -> None:
    with (
        tempfile.TemporaryDirectory(prefix="argus-flood-") as home,
        # The lake is a folder: for each listing, the small S3 server goes through all its keys.
        running_site(
            Path(home), moto_server, reliability_drives, lake_url=str(Path(home) / "lake"), sensor_interval_s=5
        ) as site,
        report.scenario(61, f"{MARKERS:,} manifests in the inbox at once", "dropped before the platform starts") as row,
    ):
        first = site.drop("undisturbed")
        site.settle(first)
        site.undisturbed = {batch.scenario: site.content(batch.partition) for batch in first}
        site.mark()
        site.platform.stop()
        batches = site.drop_many("flood", MARKERS)

        began = time.monotonic()
        site.start()
        taken_s = drained(site)
        took_s = time.monotonic() - began

        assert Counter(site.states(batches).values()) == {BatchState.COMPLETED: MARKERS}
        made = times_made(site)
        not_once = [(b.partition, s, n) for b in batches for s in STAGES if (n := made[s, b.partition]) != 1]
        assert not not_once, f"{len(not_once)} were not made once: {not_once[:10]}"
        with ThreadPoolExecutor(READERS) as pool:
            results = list(pool.map(site.result, batches))
            differences = list(pool.map(lambda b: site.differences_of(b.scenario, b.partition), batches))
        untold = [b.partition for b, r in zip(batches, results, strict=True) if r is None or r.state != "completed"]
        assert not untold, f"{len(untold)} have no result: {untold[:10]}"
        differing = [text for texts in differences for text in texts]
        assert not differing, f"{len(differing)} tables or documents differ: {differing[:10]}"

        ticks = sensor_ticks(site)
        row.batches = MARKERS
        row.recovered_s = took_s
        row.happened = happened(
            [
                f"taken in {taken_s / 60:.0f} min by {len(ticks)} ticks of at most {max(ticks):.0f} s",
                site.story([]),
                f"{MARKERS / took_s * 60:.0f} batches a minute",
            ]
        )
        assert max(ticks) < GRPC_LIMIT_S, "Dagster would have given up on the tick"


def drained(site: Site) -> float:
    """Wait until the inbox is empty and no run is left; returns the seconds after which the inbox was empty."""
    began = time.monotonic()
    taken_s: float | None = None
    quiet = 0
    while quiet < 2:  # a run that is started again is not there for a moment
        site.platform.watch()
        now = time.monotonic() - began
        assert now < SECONDS_EACH * MARKERS + 300, f"not done after {now:.0f} s\n{site.run_lines()}\n{site.tails()}"
        # What has left the inbox has been requested before.
        if taken_s is None and not site.bucket.list_inbox(limit=1):
            taken_s = now
        with site.instance() as instance:
            at_work = instance.get_runs(filters=dg.RunsFilter(statuses=list(IN_FLIGHT)))
            done = len(instance.get_materialized_partitions(dg.AssetKey("batch_report")))
        print(f"{now:6.0f} s: {done} of {MARKERS} completed, {len(at_work)} runs at work or waiting")
        quiet = quiet + 1 if taken_s is not None and not at_work else 0
        time.sleep(LOOK_S)
    assert taken_s is not None
    return taken_s


def times_made(site: Site) -> Counter[tuple[str, str]]:
    """How often each stage of each batch was materialised."""
    rows = site.sql(
        "SELECT asset_key, partition, count(*) FROM event_logs "
        "WHERE dagster_event_type = 'ASSET_MATERIALIZATION' GROUP BY asset_key, partition"
    )
    return Counter({(dg.AssetKey.from_db_string(key).to_user_string(), partition): n for key, partition, n in rows})  # pyright: ignore[reportOptionalMemberAccess]


def sensor_ticks(site: Site) -> list[float]:
    """Seconds that each tick of the sensor took in which it took something."""
    rows = site.sql("SELECT tick_body FROM job_ticks WHERE status = 'SUCCESS'")
    ticks = [deserialize_value(body, TickData) for (body,) in rows]
    return [
        tick.end_timestamp - tick.timestamp
        for tick in ticks
        if tick.instigator_name == "completed_batches_sensor" and tick.run_ids and tick.end_timestamp is not None
    ]
