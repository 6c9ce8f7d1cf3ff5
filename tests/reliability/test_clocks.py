"""Clocks that jump, and drives from before the epoch and after the end of the century."""

import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from reliability_report import Report
from reliability_site import SCENARIOS, Site, running_site

from argus_assets.embedded.s3 import S3Server
from argus_assets.simulate.fleet import Drive

pytestmark = [pytest.mark.reliability, pytest.mark.reliability_full, pytest.mark.timeout(420)]


def faketime() -> Path | None:
    """The library that gives processes another clock (Debian: libfaketime)."""
    return next(iter(sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))), None)


@pytest.fixture
def clock(tmp_path: Path) -> Path:
    path = tmp_path / "clock"
    path.write_text("+0")
    return path


@pytest.fixture
def moved(
    moto_server: S3Server, reliability_drives: dict[str, Drive], shared_site: Site, clock: Path
) -> Iterator[Site]:
    """A platform whose code server, workers and daemon read the clock from a file."""
    library = faketime()
    if library is None:
        pytest.skip("libfaketime is not installed (Debian: apt-get install libfaketime)")
    environment = {
        "LD_PRELOAD": str(library),
        "FAKETIME_TIMESTAMP_FILE": str(clock),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
    with (
        tempfile.TemporaryDirectory(prefix="argus-rel-") as home,
        running_site(Path(home), moto_server, reliability_drives, environment=environment) as site,
    ):
        site.undisturbed = shared_site.undisturbed
        yield site


def test_the_clock_jumps_forward_and_back(moved: Site, clock: Path, report: Report) -> None:
    site = moved
    for number, text, jump in (
        (70, "+1 day", "+86400"),
        (71, "2 days back", "-86400"),
        (72, "10 years ahead", "+315360000"),
    ):
        site.mark()
        with report.scenario(number, f"clock of daemon, code server and workers jumps: {text}", "mid-run") as row:
            batches = site.drop(f"clock-{number}")
            site.wait(site.at_work(batches), 90, "a batch is at work")
            clock.write_text(jump)
            row.recovered_s = site.outcome_known(batches, 200)
            row.happened = site.story(batches)
            again = site.again(batches)
            site.check(batches, once=False)
            row.batches = len(batches)
            row.retries = f"{again} batches" if again else "no"
    with report.scenario(73, "clock is set right again, 10 years back", "at rest; then drops") as row:
        site.mark()
        clock.write_text("+0")
        batches = site.drop("clock-73")
        row.recovered_s = site.outcome_known(batches, 200)
        row.happened = site.story(batches)
        site.check(batches)
        row.batches = len(batches)


DRIVEN = {
    "year 1": datetime(1, 1, 1, tzinfo=UTC),
    "1969": datetime(1969, 12, 31, 23, 59, 59, tzinfo=UTC),
    "1970": datetime(1970, 1, 1, tzinfo=UTC),
    "2106": datetime(2106, 2, 7, 6, 28, 16, tzinfo=UTC),
    "9999": datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC),
}


def test_drives_are_dated_by_clocks_that_were_never_set(site: Site, report: Report) -> None:
    with report.scenario(74, "manifests dated year 1, 1969, 1970, 2106 and 9999", "from drop to page") as row:
        batches = []
        for (name, start), scenario in zip(DRIVEN.items(), SCENARIOS, strict=False):
            end = min(start, datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC) - timedelta(seconds=20)) + timedelta(
                seconds=12
            )
            batches += site.drop(
                f"dated-{name.replace(' ', '-')}", [scenario], recorded_from=min(start, end), recorded_to=end
            )
        row.recovered_s = site.settle(batches)
        site.check([b for b in batches if (r := site.result(b)) is not None and r.state == "completed"])
        for batch in batches:
            result = site.result(batch)
            assert result is not None
            assert result.state == "completed" or (result.state == "quarantined" and result.reasons), result
        row.batches = len(batches)
        row.happened = (
            f"{sum(r == 'quarantined' for r in site.outcomes(batches).values())} in quarantine, the others completed"
        )
