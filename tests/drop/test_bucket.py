"""A bucket behaves the same whatever is below it. The same tests run on a Ceph gateway in tests/s3."""

import pytest

from argus_assets.drop.bucket import PART_BYTES, Bucket
from argus_assets.errors import BadFile, PermanentError, Unavailable


def test_what_is_put_is_read_back(bucket: Bucket) -> None:
    bucket.put("results/v/b.json", b"{}")
    assert bucket.read("results/v/b.json", max_bytes=10) == b"{}"
    assert bucket.exists("results/v/b.json")
    info = bucket.stat("results/v/b.json")
    assert info is not None
    assert info.size == 2


def test_a_missing_object_is_told_apart_from_an_empty_one(bucket: Bucket) -> None:
    bucket.put("results/v/empty.json", b"")
    assert bucket.stat("results/v/none.json") is None
    assert not bucket.exists("results/v/none.json")
    empty = bucket.stat("results/v/empty.json")
    assert empty is not None
    assert empty.size == 0
    with pytest.raises(BadFile, match="not there"):
        bucket.read("results/v/none.json", max_bytes=1)


def test_reading_is_bounded(bucket: Bucket) -> None:
    bucket.put("results/v/b.json", b"x" * 100)
    with pytest.raises(BadFile, match="more than the 99 bytes"):
        bucket.read("results/v/b.json", max_bytes=99)


def test_the_inbox_is_listed_in_order_and_in_pieces(bucket: Bucket) -> None:
    names = [f"inbox/v-{n % 3}/b{n:02d}.json" for n in range(25)]
    for name in names:
        bucket.put(name, name.encode())
    bucket.put("batches/v-0/b00/rec.mcap", b"not in the inbox")
    seen: list[str] = []
    after = ""
    while page := bucket.list_inbox(limit=7, start_after=after):
        assert len(page) <= 7
        seen += [info.key for info in page]
        after = page[-1].key
    assert seen == sorted(names)


def test_listing_goes_past_one_page_of_the_protocol(bucket: Bucket) -> None:
    if bucket.is_local:
        pytest.skip("a folder has no pages")
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: bucket.put(f"inbox/v/b{n:04d}.json", b"{}"), range(1010)))
    assert len(bucket.list_inbox(limit=5000)) == 1010


def test_nothing_appears_of_a_stream_that_fails(bucket: Bucket) -> None:
    for size in (10, 2 * PART_BYTES):
        with pytest.raises(RuntimeError, match="lost"), bucket.create("batches/v/b/rec.mcap", sha256="0" * 64) as file:
            file.write(b"x" * size)
            raise RuntimeError("connection lost")
        assert not bucket.exists("batches/v/b/rec.mcap")
        assert bucket.list_prefix("batches/v/b/") == []


def test_a_stream_of_many_parts_arrives_whole_and_states_its_hash(bucket: Bucket) -> None:
    block = bytes(range(256)) * 4096
    with bucket.create("batches/v/b/rec.mcap", sha256="ab" * 32) as file:
        for _ in range(20):
            file.write(block)
    info = bucket.stat("batches/v/b/rec.mcap")
    assert info is not None
    assert info.size == 20 * len(block)
    assert bucket.is_local or info.sha256 == "ab" * 32
    with bucket.open("batches/v/b/rec.mcap") as file:
        file.seek(7 * len(block))
        assert file.read(len(block)) == block


def test_copy_and_delete_can_be_repeated(bucket: Bucket) -> None:
    bucket.put("inbox/v/b.json", b"{}")
    for _ in range(2):
        bucket.copy("inbox/v/b.json", "accepted/v/b.1.json")
    for _ in range(2):
        bucket.delete("inbox/v/b.json")
    assert bucket.read("accepted/v/b.1.json", max_bytes=10) == b"{}"
    assert bucket.list_inbox(limit=10) == []


@pytest.mark.parametrize("key", ["../outside", "batches/../../outside", "/absolute"])
def test_a_key_cannot_leave_the_bucket(bucket: Bucket, key: str) -> None:
    with pytest.raises(PermanentError, match="leaves the bucket"):
        bucket.put(key, b"")


def test_batches_are_found_wherever_they_have_left_a_trace(bucket: Bucket) -> None:
    bucket.put("batches/v1/a/rec.mcap", b"")
    bucket.put("inbox/v2/b.json", b"")
    bucket.put("quarantine/v3/c/reason.json", b"")
    bucket.put("quarantine/_unknown/abc/reason.json", b"")
    assert [(r.vehicle_id, r.batch_id) for r in bucket.list_batches()] == [("v1", "a"), ("v2", "b"), ("v3", "c")]


def test_a_server_that_does_not_answer_is_a_transient_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    options = {
        "key": "k",
        "secret": "s",
        "endpoint_url": "http://127.0.0.1:9",
        "config_kwargs": {"retries": {"max_attempts": 0}},
    }
    gone = Bucket.from_url("s3://nobody", storage_options=options)
    gone.fs.retries = 1
    with pytest.raises(Unavailable, match="inbox"):
        gone.list_inbox(limit=1)
