"""A file is missing when the store says so of that file, not when a listing leaves it out."""

from datetime import UTC, datetime

import pytest

from argus_assets.drop.bucket import Bucket, ObjectInfo
from argus_assets.drop.intake import check_files
from argus_assets.drop.keys import recording_key
from argus_assets.drop.manifest import Manifest, ManifestFile
from argus_assets.drop.presence import MAX_LOOKUPS, present_files
from argus_assets.errors import Unavailable
from tests.support.values import VIN

AT = datetime(2026, 11, 25, tzinfo=UTC)


def manifest_of(names: list[str]) -> Manifest:
    return Manifest(
        vehicle_id="v",
        vin=VIN,
        batch_id="b",
        release="1",
        platform="truck",
        recorded_from=AT,
        recorded_to=AT,
        files=tuple(ManifestFile(name=n, size=2, sha256="0" * 64) for n in names),
    )


class Lagging:
    """Counts what is looked up, and lists some objects late: not at all, or as they were before."""

    def __init__(self, bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
        self.late: set[str] = set()
        self.looked_up: list[str] = []
        list_prefix, stat = bucket.list_prefix, bucket.stat

        def lagging_list(prefix: str, *, limit: int | None = None) -> list[ObjectInfo]:
            return [info for info in list_prefix(prefix, limit=limit) if info.key not in self.late]

        def counted_stat(key: str) -> ObjectInfo | None:
            self.looked_up.append(key)
            return stat(key)

        monkeypatch.setattr(bucket, "list_prefix", lagging_list)
        monkeypatch.setattr(bucket, "stat", counted_stat)


def test_a_lagging_listing_makes_nothing_missing(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["a", "sub/b", "c", "gone"]
    for name in names[:3]:
        bucket.put(recording_key("v", "b", name), b"12")
    store = Lagging(bucket, monkeypatch)
    manifest = manifest_of(names[:3])
    assert check_files(manifest, present_files(bucket, manifest)) == ()
    assert store.looked_up == [], "what the listing has is not looked up"
    store.late = {recording_key("v", "b", n) for n in ("sub/b", "c")}
    assert check_files(manifest, present_files(bucket, manifest)) == ()
    assert sorted(store.looked_up) == sorted(store.late)
    manifest = manifest_of(names)
    (reason,) = check_files(manifest, present_files(bucket, manifest))
    assert (reason.kind, reason.file) == ("missing_file", "gone")


def test_an_old_size_in_a_listing_is_looked_up(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    key = recording_key("v", "b", "a")
    bucket.put(key, b"12")
    listed = bucket.list_prefix("batches/v/b/")
    old = [ObjectInfo(key, 1, "e", AT)]
    monkeypatch.setattr(bucket, "list_prefix", lambda *_, **__: old)
    manifest = manifest_of(["a"])
    assert present_files(bucket, manifest)["a"].size == listed[0].size
    bucket.put(key, b"123")
    (reason,) = check_files(manifest, present_files(bucket, manifest))
    assert (reason.kind, reason.actual) == ("wrong_size", "3 bytes")


@pytest.mark.parametrize("bucket", ["folder"], indirect=True)
def test_lookups_are_bounded_and_a_listing_that_lags_far_behind_is_waited_for(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"f{n}" for n in range(3 * MAX_LOOKUPS)]
    store = Lagging(bucket, monkeypatch)
    manifest = manifest_of(names)
    assert len(check_files(manifest, present_files(bucket, manifest))) == len(names)
    assert len(store.looked_up) == MAX_LOOKUPS
    for name in names:
        bucket.put(recording_key("v", "b", name), b"12")
    store.late = {recording_key("v", "b", name) for name in names}
    with pytest.raises(Unavailable, match="listing"):
        present_files(bucket, manifest)
    store.late = {recording_key("v", "b", name) for name in names[:MAX_LOOKUPS]}
    assert check_files(manifest, present_files(bucket, manifest)) == ()
