"""The tests that a bucket passes whatever is below it: a folder, moto, a Ceph gateway.

A test module takes them by a class of its own, which gives the fixture `bucket`.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path

import pytest

from argus_assets.drop.bucket import PART_BYTES, Bucket
from argus_assets.drop.upload import collect_files, upload_files
from argus_assets.errors import BadFile, PermanentError


def recorded_drive(folder: Path) -> Path:
    """Make a folder of recordings: small, of two parts, and empty; and a hidden file, which nobody drops."""
    made = folder / "drive"
    (made / "cam").mkdir(parents=True)
    (made / "a.mcap").write_bytes(os.urandom(300_000))
    (made / "cam" / "b.mcap").write_bytes(os.urandom(9 * 1024**2))
    (made / "empty.mcap").write_bytes(b"")
    (made / ".hidden").write_bytes(b"not dropped")
    return made


class BucketContract:
    """Objects are put, read, listed, copied and deleted alike."""

    def test_what_is_put_is_read_back(self, bucket: Bucket) -> None:
        bucket.put("results/v/b.json", b"{}")
        assert bucket.read("results/v/b.json", max_bytes=10) == b"{}"
        assert bucket.exists("results/v/b.json")
        info = bucket.stat("results/v/b.json")
        assert info is not None
        assert info.size == 2

    def test_a_missing_object_is_told_apart_from_an_empty_one(self, bucket: Bucket) -> None:
        bucket.put("results/v/empty.json", b"")
        assert bucket.stat("results/v/none.json") is None
        assert not bucket.exists("results/v/none.json")
        empty = bucket.stat("results/v/empty.json")
        assert empty is not None
        assert empty.size == 0
        with pytest.raises(BadFile, match="not there"):
            bucket.read("results/v/none.json", max_bytes=1)

    def test_reading_is_bounded(self, bucket: Bucket) -> None:
        bucket.put("results/v/b.json", b"x" * 100)
        with pytest.raises(BadFile, match="more than the 99 bytes"):
            bucket.read("results/v/b.json", max_bytes=99)

    def test_the_inbox_is_listed_in_order_and_in_pieces(self, bucket: Bucket) -> None:
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

    def test_listing_goes_past_one_page_of_the_protocol(self, bucket: Bucket) -> None:
        if bucket.is_local:
            pytest.skip("a folder has no pages")
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda n: bucket.put(f"inbox/v/b{n:04d}.json", b"{}"), range(1010)))
        assert len(bucket.list_inbox(limit=5000)) == 1010

    def test_nothing_appears_of_a_stream_that_fails(self, bucket: Bucket) -> None:
        for size in (10, 2 * PART_BYTES):
            with (
                pytest.raises(RuntimeError, match="lost"),
                bucket.create("batches/v/b/rec.mcap", sha256="0" * 64) as file,
            ):
                file.write(b"x" * size)
                raise RuntimeError("connection lost")
            assert not bucket.exists("batches/v/b/rec.mcap")
            assert bucket.list_prefix("batches/v/b/") == []

    def test_a_stream_of_many_parts_arrives_whole_and_states_its_hash(self, bucket: Bucket) -> None:
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

    def test_copy_and_delete_can_be_repeated(self, bucket: Bucket) -> None:
        bucket.put("inbox/v/b.json", b"{}")
        for _ in range(2):
            bucket.copy("inbox/v/b.json", "accepted/v/b.1.json")
        for _ in range(2):
            bucket.delete("inbox/v/b.json")
        assert bucket.read("accepted/v/b.1.json", max_bytes=10) == b"{}"
        assert bucket.list_inbox(limit=10) == []

    @pytest.mark.parametrize("key", ["../outside", "batches/../../outside", "/absolute"])
    def test_a_key_cannot_leave_the_bucket(self, bucket: Bucket, key: str) -> None:
        with pytest.raises(PermanentError, match="leaves the bucket"):
            bucket.put(key, b"")

    def test_batches_are_found_wherever_they_have_left_a_trace(self, bucket: Bucket) -> None:
        bucket.put("batches/v1/a/rec.mcap", b"")
        bucket.put("inbox/v2/b.json", b"")
        bucket.put("quarantine/v3/c/reason.json", b"")
        bucket.put("quarantine/_unknown/abc/reason.json", b"")
        assert [(r.vehicle_id, r.batch_id) for r in bucket.list_batches()] == [("v1", "a"), ("v2", "b"), ("v3", "c")]


class UploadContract:
    """Recordings arrive whole, once, and with their hashes."""

    @pytest.fixture
    def drive(self, tmp_path: Path) -> Path:
        return recorded_drive(tmp_path)

    def test_files_arrive_with_their_names_and_hashes(self, bucket: Bucket, drive: Path) -> None:
        files = collect_files([drive])
        done = upload_files(bucket, files, vehicle_id="v", batch_id="b")
        assert [f.entry.name for f in done] == ["a.mcap", "cam/b.mcap", "empty.mcap"]
        for f in done:
            raw = (drive / f.entry.name).read_bytes()
            assert f.entry.sha256 == sha256(raw).hexdigest()
            with bucket.open(f"batches/v/b/{f.entry.name}") as there:
                assert there.read() == raw
        assert bucket.list_inbox(limit=1) == [], "no manifest before drop_manifest"

    def test_what_is_there_is_not_sent_again(self, bucket: Bucket, drive: Path) -> None:
        upload_files(bucket, collect_files([drive]), vehicle_id="v", batch_id="b")
        bucket.delete("batches/v/b/a.mcap")
        (drive / "cam" / "b.mcap").write_bytes(os.urandom(9 * 1024**2))  # same size, other content
        again = upload_files(bucket, collect_files([drive]), vehicle_id="v", batch_id="b")
        assert {f.entry.name for f in again if f.sent} == {"a.mcap", "cam/b.mcap"}

    def test_progress_counts_every_byte_twice(self, bucket: Bucket, drive: Path) -> None:
        files = collect_files([drive])
        for _ in range(2):  # sent, then found to be there
            counted: list[int] = []
            upload_files(bucket, files, vehicle_id="v", batch_id="b", on_bytes=counted.append)
            assert sum(counted) == 2 * sum(f.size for f in files)

    def test_a_file_that_changes_on_the_way_is_refused(self, bucket: Bucket, tmp_path: Path) -> None:
        path = tmp_path / "growing.mcap"
        path.write_bytes(b"x" * 3 * 1024**2)
        changed = False

        def touch(_: int) -> None:
            nonlocal changed
            if not changed:
                changed = True
                path.write_bytes(b"y" * 3 * 1024**2)

        with pytest.raises(BadFile, match=r"changed|grew"):
            upload_files(bucket, collect_files([path]), vehicle_id="v", batch_id="b", on_bytes=touch)
        assert not bucket.exists("batches/v/b/growing.mcap")
