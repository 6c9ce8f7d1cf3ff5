"""One look into the inbox takes of every vehicle, however many manifests one of them has dropped."""

import pytest

from argus_assets.drop.bucket import Bucket
from argus_assets.sensors import completed_batches
from argus_assets.sensors.completed_batches import list_fairly
from tests.support.buckets import put_unchecked


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(completed_batches, "MAX_MANIFESTS", 12)
    monkeypatch.setattr(completed_batches, "MAX_OF_VEHICLE", 3)


def looks(bucket: Bucket, number: int) -> list[list[str]]:
    """What so many looks see when all that a look saw has left the inbox before the next one."""
    seen, after = [], ""
    for _ in range(number):
        found, whole = list_fairly(bucket, after)
        seen.append([info.key for info in found])
        after = "" if whole else found[-1].key
        for info in found:
            bucket.delete(info.key)
    return seen


def test_a_vehicle_with_many_manifests_leaves_room_for_the_others(bucket: Bucket) -> None:
    flood = [f"inbox/a/b{n:02}.json" for n in range(30)]
    others = [f"inbox/{vehicle}/b.json" for vehicle in ("a-1", "a.b", "a0", "b", "z")]
    for name in flood + others:
        bucket.put(name, b"{}")
    first, second, third, last = looks(bucket, 4)
    assert set(others) <= set(first), "all others are seen by the first look"
    assert len(first) == len(second) == 12, "room that is left goes to the one that has more"
    assert sorted(first + second + third + last) == sorted(flood + others)
    assert len(third) == 11
    assert not last


def test_several_floods_share_a_look_and_none_is_forgotten(bucket: Bucket) -> None:
    names = [f"inbox/v{v}/b{n:02}.json" for v in range(6) for n in range(7)] + ["inbox/loose.json", "inbox//x.json"]
    if bucket.is_local:
        names.remove("inbox//x.json")  # no name of a file
    for name in names:
        put_unchecked(bucket, name) if not bucket.is_local else bucket.put(name, b"{}")
    seen = looks(bucket, 8)
    assert all(len(look) <= 12 for look in seen)
    assert len({name.split("/")[1] for name in seen[0]}) >= 4
    assert sorted(name for look in seen for name in look) == sorted(names)


def test_an_inbox_that_is_seen_whole_is_read_from_its_beginning(bucket: Bucket) -> None:
    for n in range(12):
        bucket.put(f"inbox/v/b{n:02}.json", b"{}")
    found, whole = list_fairly(bucket, "")
    assert len(found) == 12
    assert whole
    assert list_fairly(bucket, found[-1].key) == ([], True)
