"""One platform for most scenarios, the undisturbed run that all are compared with, and the report."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from argus_assets.runtime.embedded.s3 import S3Server
from argus_assets.simulate.fleet import Drive
from tests.support.reliability_report import IS_FULL, Report
from tests.support.reliability_site import Site, running_site, simulate_drives

HOOKS = Path(__file__).parent / "hooks"


@pytest.fixture(scope="session")
def report() -> Iterator[Report]:
    """Rows of docs/reliability.md; written only by the full run."""
    made = Report()
    yield made
    if IS_FULL:
        made.write()


@pytest.fixture(scope="session")
def reliability_drives(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Drive]:
    return simulate_drives(tmp_path_factory.mktemp("drives"))


@pytest.fixture(scope="session")
def shared_site(moto_server: S3Server, reliability_drives: dict[str, Drive]) -> Iterator[Site]:
    """A platform whose bucket and lake are on S3, and the undisturbed run on it."""
    with (
        tempfile.TemporaryDirectory(prefix="argus-rel-") as home,
        running_site(Path(home), moto_server, reliability_drives, environment={"PYTHONPATH": str(HOOKS)}) as site,
    ):
        batches = site.drop("undisturbed")
        site.settle(batches)
        site.undisturbed = {batch.scenario: site.content(batch.partition) for batch in batches}
        site.check(batches)
        yield site


@pytest.fixture
def site(shared_site: Site) -> Iterator[Site]:
    """The shared platform, whole again, and with nothing parsed yet."""
    shared_site.forget_parts()
    shared_site.mark()
    yield shared_site
    shared_site.proxy.heals()
