"""One object that the storage does not hand out, or not let go, keeps no other batch waiting."""

from collections.abc import Iterator

import pytest

from argus_assets.drop.bucket import Bucket
from argus_assets.drop.keys import BatchRef, inbox_key
from argus_assets.drop.results import read_result
from argus_assets.errors import Unavailable
from argus_assets.resources.bucket import BucketResource
from argus_assets.runtime.embedded.s3 import S3Server
from tests.support.buckets import fresh_bucket
from tests.support.fault_proxy import FaultProxy, Request, Rule

pytestmark = pytest.mark.wiring

VEHICLE = "truck-oil-pressure"


@pytest.fixture
def proxy(moto_server: S3Server) -> Iterator[FaultProxy]:
    with FaultProxy(moto_server.endpoint) as made:
        yield made


@pytest.fixture
def remote(site, moto_server: S3Server, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch):
    """The site with its bucket on S3 behind the proxy."""
    url = fresh_bucket(moto_server, "objects").url
    for name, value in {**moto_server.environment(), "AWS_ENDPOINT_URL": proxy.url}.items():
        monkeypatch.setenv(name, value)
    site.bucket = Bucket.from_url(url)
    site.resources["bucket"] = BucketResource(url=url)
    return site


def refuses(method: str, key: str) -> Rule:
    """The storage fails on one object for good; 501 is not tried again by clients, which keeps the test short."""

    def mine(request: Request) -> bool:
        return request.method == method and request.path.endswith(key)

    return Rule("status", status=501, matches=mine)


def state(site, batch: str) -> str | None:
    result = read_result(site.bucket, BatchRef(VEHICLE, batch))
    return result.state if result is not None else None


def test_a_manifest_that_cannot_be_read_keeps_no_other_waiting(remote, proxy: FaultProxy, drives) -> None:
    drive = drives["truck_oil_pressure"]
    remote.drop(drive, batch_id="stuck")
    remote.drop(drive, batch_id="fine")
    proxy.breaks(refuses("GET", inbox_key(VEHICLE, "stuck")))
    assert [run.success for run in remote.tick_and_run()] == [True]
    assert (state(remote, "fine"), state(remote, "stuck")) == ("completed", None)
    with pytest.raises(Unavailable, match="stuck"):
        remote.tick()  # nothing but what cannot be read: the tick says so
    proxy.heals()
    assert [run.success for run in remote.tick_and_run()] == [True]
    assert state(remote, "stuck") == "completed"


def test_a_manifest_that_cannot_leave_the_inbox_is_not_taken_twice(remote, proxy: FaultProxy, drives) -> None:
    drive = drives["truck_oil_pressure"]
    remote.drop(drive, batch_id="stuck")
    assert len(remote.tick_and_run()) == 1
    proxy.breaks(refuses("DELETE", inbox_key(VEHICLE, "stuck")))
    for _ in range(3):
        assert remote.tick_and_run() == []
    remote.drop(drive, batch_id="fine")
    assert [run.success for run in remote.tick_and_run()] == [True]
    proxy.heals()
    remote.tick()
    assert remote.bucket.list_inbox(limit=5) == []
    for key in remote.instance.get_dynamic_partitions("batches"):
        assert (remote.made("vehicle_drop", key), remote.made("batch_report", key)) == (1, 1)
