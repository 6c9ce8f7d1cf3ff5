"""S3 is gone, slow, refuses, cuts and corrupts, while a real platform works through a real proxy."""

import time

import pytest

from tests.support.fault_proxy import SLOW_DOWN, Request, Rule
from tests.support.reliability_report import Report, Row
from tests.support.reliability_site import Dropped, Site

pytestmark = [pytest.mark.reliability, pytest.mark.timeout(420)]


def finish(site: Site, row: Row, batches: list[Dropped], *, quarantined: bool = False) -> None:
    """The fault is over: wait for the outcomes, try again what failed for a while, and ask the oracle."""
    site.proxy.heals()
    if row.recovered_s is None:
        row.recovered_s = site.outcome_known(batches)
    row.happened = site.story(batches)
    again = site.again(batches, quarantined=quarantined)
    site.check(batches, once=again == 0)
    row.batches = len(batches)
    row.retries = f"{again} batches" if again else "no"


def for_seconds(site: Site, seconds: float) -> None:
    end = time.monotonic() + seconds
    site.wait(lambda: time.monotonic() > end, seconds + 10, "the fault lasts")


def test_s3_goes_away_in_the_middle_of_a_run(site: Site, report: Report) -> None:
    with report.scenario(10, "S3 down: refuses connections, cuts open ones", "mid-run, 5 s") as row:
        batches = site.drop("s3-down")
        site.wait(site.at_work(batches), 60, "a batch is at work")
        site.proxy.down()
        for_seconds(site, 5)
        finish(site, row, batches)


@pytest.mark.reliability_full
def test_s3_is_away_for_longer_than_a_batch_tries(site: Site, report: Report) -> None:
    with report.scenario(11, "S3 down", "mid-run, 60 s") as row:
        batches = site.drop("s3-down-long")
        site.wait(site.at_work(batches), 60, "a batch is at work")
        site.proxy.down()
        for_seconds(site, 60)
        finish(site, row, batches)


@pytest.mark.reliability_full
def test_s3_is_away_when_manifests_are_dropped(site: Site, report: Report) -> None:
    with report.scenario(12, "S3 down", "before and during ticks, 15 s") as row:
        site.proxy.down()
        batches = site.drop("s3-down-tick")
        for_seconds(site, 15)
        finish(site, row, batches)


@pytest.mark.reliability_full
def test_connections_to_s3_stay_open_and_say_nothing_any_more(site: Site, report: Report) -> None:
    when = "mid-run, all connections of 5 s; new ones work"
    with report.scenario(24, "S3 half open: connections stay and nobody answers on them", when) as row:
        batches = site.drop("s3-half-open")
        site.wait(site.at_work(batches), 60, "a batch is at work")
        site.proxy.breaks(Rule("silence"))
        for_seconds(site, 5)
        finish(site, row, batches)


REFUSALS = {
    "503": Rule("status", share=0.25, status=503),
    "503, Retry-After: 1": Rule("status", share=0.25, status=503, retry_after_s=1),
    "503 SlowDown": Rule("status", share=0.25, status=503, body=SLOW_DOWN),
    "500": Rule("status", share=0.25, status=500),
}


@pytest.mark.reliability_full
@pytest.mark.parametrize("name", REFUSALS)
def test_s3_refuses_every_fourth_request(site: Site, report: Report, name: str) -> None:
    number = 13 + list(REFUSALS).index(name)
    with report.scenario(number, f"S3 answers every fourth request with {name}", "from drop to page") as row:
        site.proxy.breaks(REFUSALS[name])
        batches = site.drop(f"s3-refuses-{number}")
        row.recovered_s = site.outcome_known(batches)
        finish(site, row, batches)


OTHERS = {
    "slow": (Rule("slow", seconds=0.5, bytes_per_s=100_000), "S3 slow: 0.5 s an answer, 100 kB/s"),
    "silent": (Rule("silence", share=0.02), "S3 never answers every 50th request"),
    "cut-answers": (Rule("cut answer", share=0.25), "every fourth answer is cut in mid-body"),
    "cut-requests": (
        Rule("cut request", share=0.25, matches=lambda r: r.method == "PUT"),
        "every fourth upload is cut in mid-body",
    ),
    "wrong-etag": (Rule("wrong etag", share=0.3), "every third answer has a wrong ETag"),
}


@pytest.mark.reliability_full
@pytest.mark.parametrize("name", OTHERS)
def test_s3_is_broken_from_drop_to_page(site: Site, report: Report, name: str) -> None:
    rule, text = OTHERS[name]
    with report.scenario(17 + list(OTHERS).index(name), text, "from drop to page") as row:
        site.proxy.breaks(rule)
        batches = site.drop(f"s3-{name}")
        row.recovered_s = site.outcome_known(batches, 300)
        finish(site, row, batches)


def is_recording(request: Request) -> bool:
    return request.method == "GET" and "/batches/rig-" in request.path


def is_lake(request: Request) -> bool:
    return request.method == "GET" and "-lake/" in request.path


@pytest.mark.reliability_full
def test_recordings_are_corrupted_on_the_way_once(site: Site, report: Report) -> None:
    with report.scenario(22, "bytes of every third recording are flipped on the way, no checksum", "mid-run") as row:
        site.proxy.breaks(Rule("flip answer", share=0.33, checksums=False, matches=is_recording))
        batches = site.drop("s3-flips")
        row.recovered_s = site.outcome_known(batches)
        finish(site, row, batches, quarantined=True)


@pytest.mark.reliability_full
def test_the_lake_is_corrupted_on_the_way(site: Site, report: Report) -> None:
    with report.scenario(
        23, "bytes of every fifth object read from the lake are flipped on the way", "mid-run; the server gives CRC32"
    ) as row:
        site.proxy.breaks(Rule("flip answer", share=0.2, after_bytes=0, matches=is_lake))
        batches = site.drop("lake-flips")
        row.recovered_s = site.outcome_known(batches)
        finish(site, row, batches)
