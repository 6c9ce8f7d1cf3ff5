"""S3 is gone, slow, refuses, cuts and corrupts, while a real platform works through a real proxy."""

import time

import pytest
from fault_proxy import SLOW_DOWN, Rule
from reliability_report import Report
from reliability_site import Site

pytestmark = [pytest.mark.reliability, pytest.mark.timeout(420)]


def test_s3_goes_away_in_the_middle_of_a_run(site: Site, report: Report) -> None:
    with report.scenario(10, "S3 down: connections refused, open ones cut", "mid-run, 8 s") as row:
        batches = site.drop("s3-down")
        site.wait(site.at_work(batches), 60, "a batch is at work")
        site.proxy.down()
        site.wait(lambda down=time.monotonic(): time.monotonic() - down > 8, 20, "8 s")
        site.proxy.heals()
        row.recovered_s = site.settle(batches)
        again = site.again(batches)
        site.check(batches, once=again == 0)
        row.batches = len(batches)
        row.happened = f"{again} failed, saying so"
        row.retries = f"{again} batches" if again else "no"


REFUSALS = {
    "without Retry-After": Rule("status", share=0.25, status=503),
    "with Retry-After: 1": Rule("status", share=0.25, status=503, retry_after_s=1),
    "SlowDown": Rule("status", share=0.25, status=503, body=SLOW_DOWN),
    "500 InternalError": Rule("status", share=0.25, status=500),
}
