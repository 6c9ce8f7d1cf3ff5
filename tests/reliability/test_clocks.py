"""Clocks that jump, and drives from before the epoch and after the end of the century."""

import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from argus_assets.drop.keys import BatchRef, inbox_key
from argus_assets.drop.results import read_result
from argus_assets.drop.upload import collect_files, upload_files
from argus_assets.runtime.embedded.s3 import S3Server
from argus_assets.simulate.fleet import Drive
from tests.support.reliability_report import Report
from tests.support.reliability_site import SCENARIOS, Site, running_site

pytestmark = [pytest.mark.reliability, pytest.mark.reliability_full, pytest.mark.timeout(420)]


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What gives processes another clock of the day."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler (Debian: apt-get install gcc libc6-dev)")
    made = tmp_path_factory.mktemp("clock") / "moved_clock.so"
    source = Path(__file__).with_name("moved_clock.c")
    subprocess.run([compiler, "-shared", "-fPIC", "-O2", "-o", str(made), str(source), "-ldl"], check=True)
    return made


@pytest.fixture
def clock(tmp_path: Path) -> Path:
    path = tmp_path / "clock"
    path.write_text("0")
    return path


@pytest.fixture
def moved(
    moto_server: S3Server, reliability_drives: dict[str, Drive], shared_site: Site, clock: Path, library: Path
) -> Iterator[Site]:
    """A platform whose code server, workers and daemon read the clock from a file."""
    environment = {"LD_PRELOAD": str(library), "MOVED_CLOCK": str(clock)}
    with (
        tempfile.TemporaryDirectory(prefix="argus-rel-") as home,
        running_site(Path(home), moto_server, reliability_drives, environment=environment) as site,
    ):
        site.undisturbed = shared_site.undisturbed
        yield site


def test_the_clock_jumps_forward_and_back(moved: Site, clock: Path, report: Report) -> None:
    site = moved
    for number, text, before, after in (
        (70, "+1 day", "0", "86400"),
        (71, "2 days back", "86400", "-86400"),
        (72, "10 years ahead", "86400", "315360000"),
    ):
        site.mark()
        clock.write_text(before)
        with report.scenario(number, f"clock of daemon, code server and workers jumps: {text}", "mid-run") as row:
            batches = site.drop(f"clock-{number}")
            site.wait(site.at_work(batches), 90, "a batch is at work")
            clock.write_text(after)
            row.recovered_s = site.outcome_known(batches, 200)
            row.happened = site.story(batches)
            again = site.again(batches)
            site.check(batches, once=False)
            row.batches = len(batches)
            row.retries = f"{again} batches" if again else "no"
    with report.scenario(73, "clock is set right again, 10 years back", "at rest") as row:
        site.mark()
        clock.write_text("0")
        batches = site.drop("clock-73")
        row.recovered_s = site.outcome_known(batches, 200)
        row.happened = site.story(batches)
        site.check(batches)
        row.batches = len(batches)


DATED = {
    "year 1": ("0001-01-01T00:00:00+01:00", "0001-01-01T00:00:12+01:00"),
    "1969": ("1969-12-31T23:59:59Z", "1970-01-01T00:00:11Z"),
    "1970": ("1970-01-01T00:00:00Z", "1970-01-01T00:00:12Z"),
    "2106": ("2106-02-07T06:28:16Z", "2106-02-07T06:28:28Z"),
    "9999": ("9999-12-31T23:59:47-01:00", "9999-12-31T23:59:59-01:00"),
}


def test_drives_are_dated_by_clocks_that_were_never_set(site: Site, report: Report) -> None:
    with report.scenario(74, "manifests dated year 1, 1969, 1970, 2106 and 9999", "from drop to page") as row:
        (good,) = site.drop("dated", SCENARIOS[:1])
        dated: dict[str, BatchRef] = {}
        for number, (name, (start, end)) in enumerate(DATED.items()):
            ref = BatchRef(f"dated-{number}", "b")
            document = json.loads(good.raw) | {"recorded_from": start, "recorded_to": end}
            document |= {"vehicle_id": ref.vehicle_id, "batch_id": ref.batch_id, "platform": ref.vehicle_id}
            drive = site.drives[good.scenario]
            upload_files(site.bucket, collect_files([drive.folder]), vehicle_id=ref.vehicle_id, batch_id=ref.batch_id)
            site.bucket.put(inbox_key(ref.vehicle_id, ref.batch_id), json.dumps(document).encode())
            dated[name] = ref
        site.wait(lambda: all(read_result(site.bucket, ref) for ref in dated.values()), 120, "each has an outcome")
        row.recovered_s = site.settle([good])
        told: list[str] = []
        for name, ref in dated.items():
            result = read_result(site.bucket, ref)
            assert result is not None
            told.append(f"{name} {result.state}")
            if result.state == "completed":
                assert result.partition_key is not None
                assert site.differences_of(good.scenario, result.partition_key) == []
            else:
                assert result.state == "quarantined"
                assert "a time outside" in str(result.reasons)
        site.check([good])
        row.batches = 1 + len(dated)
        row.happened = ", ".join(told)
