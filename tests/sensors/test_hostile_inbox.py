"""A vehicle that sends the worst it can holds up nobody: one look sets it all aside and takes the good batch."""

import pytest

from argus_assets.drop.keys import inbox_key
from argus_assets.drop.quarantine import list_records
from tests.support.buckets import fresh_bucket, place_of, put_unchecked
from tests.support.hostile_drops import HOSTILE_KEYS, HOSTILE_MANIFESTS

pytestmark = pytest.mark.wiring


def test_one_look_sets_everything_hostile_aside_and_takes_the_good(site, drives, moto_server) -> None:
    site.bucket = fresh_bucket(moto_server, "hostile")
    site.drop(drives["car_healthy"])
    name, lead = place_of(site.bucket)
    for key in HOSTILE_KEYS:
        put_unchecked(site.bucket, key)
    stays = "inbox/truck-1/b.json?versionId=1"
    site.bucket.fs.call_s3("put_object", Bucket=name, Key=f"{lead}{stays}", Body=b"{}")
    for number, raw in enumerate(HOSTILE_MANIFESTS):
        site.bucket.put(inbox_key("truck-1", f"b{number}"), raw)
    result = site.tick()
    assert [r.partition_key for r in result.run_requests] == ["2026-11-18_car-healthy_b1"]
    assert len(list(list_records(site.bucket))) == len(HOSTILE_KEYS) + len(HOSTILE_MANIFESTS)
    site.tick()
    assert [info.key for info in site.bucket.iterate("inbox/")] == [stays]
