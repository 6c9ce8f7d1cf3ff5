"""What a vehicle can send to hurt the platform or another vehicle, and what comes of it."""

import json
import time
import tracemalloc
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from argus_assets.drop.bucket import Bucket
from argus_assets.drop.keys import (
    batch_prefix,
    parse_accepted_key,
    parse_inbox_key,
    parse_partition_key,
    partition_key,
    printable,
    recording_key,
)
from argus_assets.drop.manifest import MAX_FILES, MAX_MANIFEST_BYTES, Manifest, name_problem, parse_manifest
from argus_assets.drop.quarantine import quarantine_unknown, read_record, reasons_of
from argus_assets.errors import BadManifest, PermanentError
from tests.support.buckets import place_of, put_unchecked
from tests.support.hostile_drops import FILE, HOSTILE_KEYS, HOSTILE_MANIFESTS, document, dumped


def refused(raw: bytes) -> BadManifest:
    """It is refused, and the refusal can be kept and shown wherever it goes."""
    with pytest.raises(BadManifest) as caught:
        parse_manifest(raw, vehicle_id="truck-1", batch_id="b_1")
    told = caught.value.what
    assert len(told) < 8000
    assert told.isprintable()
    (reason,) = reasons_of(caught.value)
    assert json.loads(reason.model_dump_json())["actual"] == told
    return caught.value


def read_or_refused(raw: bytes) -> None:
    try:
        manifest = parse_manifest(raw, vehicle_id="truck-1", batch_id="b_1")
    except BadManifest:
        refused(raw)
    else:
        assert (manifest.vehicle_id, manifest.batch_id) == ("truck-1", "b_1")


@pytest.mark.parametrize("raw", HOSTILE_MANIFESTS, ids=range(len(HOSTILE_MANIFESTS)))
def test_what_json_readers_stumble_over_is_refused(raw: bytes) -> None:
    refused(raw)


@pytest.mark.parametrize("text", ["2026\u202e.10", "2026\u200b.10", "2026\u2028", "a\x7f", "\u2066x", "\ufeff2026"])
@pytest.mark.parametrize("field", ["release", "platform"])
def test_a_label_that_does_not_look_like_what_it_is_is_refused(field: str, text: str) -> None:
    refused(dumped(document(**{field: text})))
    refused(dumped(document(ecu_releases={text: "1"})))


def test_labels_that_look_the_same_are_the_same() -> None:
    composed, decomposed = (
        parse_manifest(dumped(document(release=r)), vehicle_id="truck-1", batch_id="b_1") for r in ("é1", "e\u03011")
    )
    assert composed.release == decomposed.release


@pytest.mark.parametrize("vehicle", ["truck\u20101", "trück-1", "truck-\uff11", "\u0441ar", "truck-1\n", "truck 1", ".truck", "truck_1", "a" * 65])  # fmt: skip
def test_an_id_has_one_alphabet(vehicle: str) -> None:
    with pytest.raises(BadManifest):
        parse_manifest(dumped(document(vehicle_id=vehicle)), vehicle_id=vehicle, batch_id="b_1")
    assert parse_inbox_key(f"inbox/{vehicle}/b.json") is None
    assert parse_partition_key(f"2026-11-23_{vehicle}_b") is None or "_" in vehicle


@pytest.mark.parametrize(
    "moment",
    ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "0800-01-01T00:00:00Z", "1969-12-30T00:00:00Z"],
)
def test_times_beyond_the_calendar_are_refused(moment: str) -> None:
    assert "1970" in refused(dumped(document(recorded_from=moment, recorded_to=moment))).what


@given(st.datetimes(timezones=st.timezones()))
def test_every_accepted_time_makes_a_partition_key(moment: datetime) -> None:
    text = moment.isoformat()
    try:
        manifest = parse_manifest(
            dumped(document(recorded_from=text, recorded_to=text)), vehicle_id="truck-1", batch_id="b_1"
        )
    except BadManifest:
        return
    parsed = parse_partition_key(partition_key(manifest.recorded_from, "truck-1", "b_1"))
    assert parsed is not None
    assert parsed.recorded_on == manifest.recorded_from.astimezone(UTC).date()


many = [
    ("10,001 files", dumped(document(files=[{**FILE, "name": f"{n}"} for n in range(MAX_FILES + 1)]))),
    ("a million empty files", b'{"files":[' + b",".join([b"{}"] * 1_000_000) + b"]}"),
    ("a million names", b'{"files":[' + b",".join([b'"x"'] * 1_000_000) + b"]}"),
    ("a million members", b"{" + b",".join(b'"%d":1' % n for n in range(1_000_000)) + b"}"),
    ("five million lists", b"[" + b",".join([b"[]"] * 5_000_000) + b"]"),
    ("a file of many members", dumped(document(files=[{f"{n}": 1 for n in range(200_000)}]))),
    ("many ECUs", dumped(document(ecu_releases={f"{n}": "1" for n in range(200_000)}))),
    ("16 MiB of one string", b'{"vin":"' + b"\\u0041" * (MAX_MANIFEST_BYTES // 6 - 10) + b'"}'),
    ("16 MiB of quotes", b'"' * MAX_MANIFEST_BYTES),
    ("16 MiB of backslashes", b'"' + b"\\" * (MAX_MANIFEST_BYTES - 1)),
    ("quotes and commas", b'",' * (MAX_MANIFEST_BYTES // 2)),
    ("one byte too many", b" " * (MAX_MANIFEST_BYTES + 1)),
]


@pytest.mark.parametrize("raw", [raw for _, raw in many], ids=[name for name, _ in many])
def test_too_much_is_refused_in_bounded_memory(raw: bytes) -> None:
    tracemalloc.start()
    try:
        refused(raw)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 8 * MAX_MANIFEST_BYTES


def test_the_largest_manifest_that_is_allowed_is_read() -> None:
    names = [f"{n:05d}," + "/".join(["[{,é" * 30] * 4) for n in range(MAX_FILES)]
    raw = json.dumps(document(files=[{**FILE, "name": n} for n in names]), ensure_ascii=False).encode()
    assert len(raw) < MAX_MANIFEST_BYTES
    assert len(parse_manifest(raw, vehicle_id="truck-1", batch_id="b_1").files) == MAX_FILES


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=20,
)
FIELDS = [*Manifest.model_fields, "extra"]


@given(st.dictionaries(st.sampled_from(FIELDS), json_values, max_size=4))
def test_no_value_of_a_field_raises_anything_but_a_bad_manifest(changes: dict[str, Any]) -> None:
    read_or_refused(dumped(document(**changes)))


@given(st.integers(0, 400), st.binary(max_size=4), st.integers(0, 8))
def test_no_damage_raises_anything_but_a_bad_manifest(at: int, inserted: bytes, removed: int) -> None:
    raw = dumped(document())
    read_or_refused(raw[:at] + inserted + raw[at + removed :])


segments = st.sampled_from(["..", ".", "", "%2e%2e", "..%2f", "a", "\u2025", "..\\", "~", "C:", "\x00", "\u202e"])
names = st.lists(segments | st.text(max_size=6), min_size=1, max_size=6).map("/".join)


@given(names)
@example("../truck-2/b/x")
@example("/etc/passwd")
@example("a/../../x")
def test_no_accepted_file_leaves_its_batch(name: str) -> None:
    try:
        manifest = parse_manifest(
            dumped(document(files=[{**FILE, "name": name}])), vehicle_id="truck-1", batch_id="b_1"
        )
    except BadManifest:
        return
    assert name_problem(name) is None
    key = recording_key("truck-1", "b_1", manifest.files[0].name)
    parts = PurePosixPath(Bucket.from_url("/bucket").path(key)).parts
    assert parts[:5] == ("/", "bucket", "batches", "truck-1", "b_1")
    assert ".." not in parts
    assert "." not in parts
    assert "/".join(parts[2:]) == key, "nothing in it is left out when it becomes a path"
    assert key.startswith(batch_prefix("truck-1", "b_1"))


@given(st.text(max_size=80))
def test_a_key_is_read_in_one_way_or_not_at_all(text: str) -> None:
    parsed = parse_accepted_key(f"accepted/{text}")
    if parsed is not None:
        ref, digest = parsed
        assert f"accepted/{ref.vehicle_id}/{ref.batch_id}.{digest}.json" == f"accepted/{text}"
    assert printable(text).isprintable()


@pytest.mark.parametrize("bucket", ["moto"], indirect=True)
def test_every_key_that_a_store_lists_is_moved_out_of_the_way(bucket: Bucket) -> None:
    for key in HOSTILE_KEYS:
        put_unchecked(bucket, key)
    listed = [info.key for info in bucket.list_inbox(limit=100)]
    assert sorted(listed) == sorted(HOSTILE_KEYS)
    at = datetime(2026, 11, 25, tzinfo=UTC)
    for key in listed:
        assert parse_inbox_key(key) is None
        record = quarantine_unknown(bucket, key, at=at)
        kept = read_record(bucket, record.manifest.replace("/object", "/reason.json"))
        assert kept == record
    left = [info.key for info in bucket.iterate("")]
    assert len(left) == 2 * len(HOSTILE_KEYS)
    assert all(key.startswith("quarantine/_unknown/") for key in left)


@pytest.mark.parametrize("bucket", ["moto"], indirect=True)
def test_a_key_that_the_client_would_take_for_another_touches_nothing(bucket: Bucket) -> None:
    """s3fs reads `?versionId=` at the end of a key as a version of another object."""
    name, lead = place_of(bucket)
    bucket.put("inbox/v/b.json", b"manifest")
    hostile = "inbox/v/b.json?versionId=1"
    bucket.fs.call_s3("put_object", Bucket=name, Key=f"{lead}{hostile}", Body=b"{}")
    assert hostile in [info.key for info in bucket.list_inbox(limit=10)]
    with pytest.raises(PermanentError):
        quarantine_unknown(bucket, hostile, at=datetime(2026, 11, 25, tzinfo=UTC))
    assert bucket.read("inbox/v/b.json", max_bytes=100) == b"manifest"
    refused(dumped(document(files=[{**FILE, "name": "a.mcap?versionId=1"}])))


def test_a_folder_refuses_what_would_leave_it(tmp_path) -> None:
    (tmp_path / "secret").write_bytes(b"1")
    bucket = Bucket.from_url(str(tmp_path / "bucket"))
    bucket.ensure()
    for action in (bucket.delete, bucket.exists, bucket.stat, lambda key: bucket.copy(key, "x")):
        with pytest.raises(PermanentError):
            action("../secret")
    assert (tmp_path / "secret").exists()


def test_a_name_that_is_not_unicode_is_set_aside(tmp_path) -> None:
    bucket = Bucket.from_url(str(tmp_path))
    folder = tmp_path / "inbox" / "v"
    folder.mkdir(parents=True)
    (folder / b"\xff.json".decode("utf-8", "surrogateescape")).write_bytes(b"{}")
    (info,) = bucket.list_inbox(limit=10)
    record = quarantine_unknown(bucket, info.key, at=datetime(2026, 11, 25, tzinfo=UTC))
    assert record.reasons[0].file == "inbox/v/\\udcff.json"
    assert not bucket.list_inbox(limit=10)


def test_a_listing_stops_at_its_limit(tmp_path) -> None:
    """A prefix of a million objects costs what the limit costs: pages are asked for one by one."""

    class Pages:
        asked = 0

        def call_s3(self, _: str, **arguments: Any) -> dict[str, Any]:
            self.asked += 1
            first = self.asked * 1000
            item = {"Size": 1, "ETag": '"e"', "LastModified": datetime.now(UTC)}
            contents = [{**item, "Key": f"batches/v/b/{first + n:07d}"} for n in range(arguments["MaxKeys"])]
            return {"Contents": contents, "IsTruncated": True, "NextContinuationToken": "t"}

    pages = Pages()
    bucket = Bucket(pages, "bucket", "s3://bucket")  # type: ignore[arg-type]
    began = time.monotonic()
    assert len(bucket.list_prefix("batches/v/b/", limit=MAX_FILES + 1)) == MAX_FILES + 1
    assert pages.asked == MAX_FILES // 1000 + 1
    assert began <= time.monotonic()
