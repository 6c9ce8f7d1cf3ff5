"""`argus quarantine` on what the sensor really set aside."""

import json
from datetime import UTC, datetime, timedelta
from hashlib import sha256

import pytest
from click.testing import CliRunner, Result

from argus_assets.cli import root
from argus_assets.drop.bucket import Bucket
from argus_assets.drop.intake import check_files, missing_file, wrong_sha256
from argus_assets.drop.keys import BatchRef, inbox_key, printable, recording_key
from argus_assets.drop.manifest import MAX_FILES, Manifest, ManifestFile, manifest_digest
from argus_assets.drop.quarantine import Reason, list_records, quarantine, quarantine_unknown
from argus_assets.drop.results import BatchResult, write_result
from argus_assets.drop.upload import manifest_bytes
from argus_assets.errors import BadSetting
from tests.support.values import VIN

NOW = datetime.now(UTC)
REF = BatchRef("truck-1", "b1")


@pytest.fixture
def store(tmp_path) -> Bucket:
    bucket = Bucket.from_url(str(tmp_path / "bucket"))
    bucket.ensure()
    return bucket


@pytest.fixture
def argus(store: Bucket, tmp_path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ARGUS_BUCKET_URL", store.url)
    monkeypatch.setenv("ARGUS_HOME", str(tmp_path / "home"))

    def run(*arguments: str) -> Result:
        return CliRunner().invoke(root, ["quarantine", *arguments], env={"COLUMNS": "200"})

    return run


def manifest_of(ref: BatchRef, contents: dict[str, bytes]) -> Manifest:
    return Manifest(
        vehicle_id=ref.vehicle_id,
        vin=VIN,
        batch_id=ref.batch_id,
        release="1",
        platform="truck",
        recorded_from=NOW,
        recorded_to=NOW,
        files=tuple(ManifestFile(name=n, size=len(b), sha256=sha256(b).hexdigest()) for n, b in contents.items()),
    )


def set_aside(store: Bucket, manifest: Manifest, reasons: list[Reason], at: datetime = NOW) -> str:
    raw = manifest_bytes(manifest)
    ref = BatchRef(manifest.vehicle_id, manifest.batch_id)
    digest = manifest_digest(raw)
    quarantine(store, ref, raw_manifest=raw, digest=digest, reasons=reasons, at=at)
    result = BatchResult(
        vehicle_id=ref.vehicle_id, batch_id=ref.batch_id, manifest_digest=digest, state="quarantined", at=at,
        reasons=tuple(reasons),
    )  # fmt: skip
    write_result(store, result)
    return digest


def test_a_missing_file_is_told_until_it_is_there(argus, store: Bucket) -> None:
    manifest = manifest_of(REF, {"a.mf4": b"aa", "b.mf4": b"bbb"})
    set_aside(store, manifest, list(check_files(manifest, {})))
    assert "truck-1/b1" in argus("ls").output
    assert "missing_file: a.mf4 and 1 more" in argus("ls", "--kind", "missing_file").output
    assert "truck-1" not in argus("ls", "--kind", "wrong_size").output
    assert "All of these reasons still hold" in argus("why", "truck-1/b1").output

    store.put(recording_key("truck-1", "b1", "a.mf4"), b"aa")
    store.put(recording_key("truck-1", "b1", "b.mf4"), b"b")
    tried = argus("retry", "truck-1/b1")
    assert tried.exit_code == 1
    assert "a.mf4" not in tried.output
    assert "wrong_size: b.mf4: expected 3 bytes, found 1 bytes" in tried.output
    assert not store.list_inbox(limit=1)

    store.put(recording_key("truck-1", "b1", "b.mf4"), b"bbb")
    assert "None of these reasons holds any more" in argus("why", "truck-1/b1").output
    tried = argus("retry", "truck-1/b1")
    assert (tried.exit_code, "put back" in tried.output) == (0, True)
    assert store.read(inbox_key("truck-1", "b1"), max_bytes=10_000) == manifest_bytes(manifest)
    assert "is already in the inbox" in argus("retry", "truck-1/b1").output
    assert json.loads(argus("ls", "--json").output)[0]["state"] == "waiting"


def test_what_a_later_drop_settled_is_only_shown_when_asked(argus, store: Bucket) -> None:
    manifest = manifest_of(REF, {"a.mf4": b"aa"})
    set_aside(store, manifest, [missing_file(manifest.files[0], "k")])
    later = BatchResult(
        vehicle_id="truck-1", batch_id="b1", manifest_digest="f" * 16, state="completed", at=NOW + timedelta(hours=1)
    )
    write_result(store, later)
    assert "truck-1" not in argus("ls").output
    assert "settled" in argus("ls", "--settled").output
    assert "0 put back, 0 still in quarantine" in argus("retry", "--all").output


def test_wrong_content_stays_wrong_until_it_is_put_again(argus, store: Bucket) -> None:
    manifest = manifest_of(REF, {"a.mf4": b"aa"})
    key = recording_key("truck-1", "b1", "a.mf4")
    store.put(key, b"xx")
    at = datetime.now(UTC) + timedelta(seconds=0.01)
    set_aside(store, manifest, [wrong_sha256(manifest.files[0], "x")], at=at)
    assert "All of these reasons still hold" in argus("why", "truck-1/b1").output
    assert argus("retry", "truck-1/b1").exit_code == 1
    while datetime.now(UTC) <= at:
        pass
    store.put(key, b"aa")
    assert argus("retry", "truck-1/b1").exit_code == 0


def test_all_of_a_kind_are_tried_and_only_what_can_be_used_is_taken(argus, store: Bucket) -> None:
    for n in range(3):
        manifest = manifest_of(BatchRef("v", f"b{n}"), {"a": b"a"})
        set_aside(store, manifest, [missing_file(manifest.files[0], "k")])
    bad = BatchRef("v", "bad")
    reason = Reason(kind="bad_manifest", file="manifest", expected="x", actual="y", help="z")
    quarantine(store, bad, raw_manifest=b"{", digest="0" * 16, reasons=[reason], at=NOW)
    store.put(recording_key("v", "b0", "a"), b"a")
    store.put(recording_key("v", "b2", "a"), b"a")
    told = argus("retry", "--all", "--kind", "missing_file")
    assert (told.exit_code, "2 put back, 1 still in quarantine" in told.output) == (0, True)
    assert [i.key for i in store.list_inbox(limit=9)] == ["inbox/v/b0.json", "inbox/v/b2.json"]
    assert "bad_manifest" in argus("retry", "--all", "--vehicle", "v").output
    assert isinstance(argus("retry").exception, BadSetting)
    assert isinstance(argus("why", "v/none").exception, BadSetting)
    assert isinstance(argus("why", "../results/x").exception, BadSetting)


def test_a_manifest_under_a_bad_key_comes_back_only_for_its_own_vehicle(argus, store: Bucket) -> None:
    own = manifest_of(BatchRef("truck-1", "b9"), {"a": b"a"})
    other = manifest_of(BatchRef("truck-2", "b9"), {"a": b"a"})
    for vehicle in ("truck-1", "truck-2"):
        store.put(recording_key(vehicle, "b9", "a"), b"a")
    for key, manifest in (("inbox/truck-1/b\u00f6.json", own), ("inbox/truck-1/\u202eb.json", other)):
        store.put(key, manifest_bytes(manifest))
        quarantine_unknown(store, key, at=NOW)
    names = [item["name"] for item in json.loads(argus("ls", "--json").output)]
    assert len(names) == 2
    assert "\u202e" not in argus("ls").output
    told = argus("retry", *names)
    assert told.exit_code == 1
    assert "1 put back, 1 still in quarantine" in told.output
    assert "\u202e" not in told.output
    assert [i.key for i in store.list_inbox(limit=9)] == ["inbox/truck-1/b9.json"]


def test_a_batch_above_the_limit_stays_until_the_limit_allows_it(
    argus, store: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = b"x" * 2000
    manifest = manifest_of(REF, {"a": content})
    store.put(recording_key("truck-1", "b1", "a"), content)
    files = {"a": store.list_prefix("batches/")[0]}
    (reason,) = check_files(manifest, files, max_bytes=1000)
    assert (reason.kind, reason.actual) == ("too_large", "2000 bytes")
    set_aside(store, manifest, [reason])
    monkeypatch.setenv("ARGUS_MAX_BATCH_GB", "0.000001")
    assert "too_large" in argus("retry", "truck-1/b1").output
    monkeypatch.setenv("ARGUS_MAX_BATCH_GB", "0.000002")
    assert argus("retry", "truck-1/b1").exit_code == 0


def test_a_prefix_with_too_many_objects_is_refused_with_one_reason() -> None:
    manifest = manifest_of(REF, {"a": b"a"})
    files = dict.fromkeys(map(str, range(MAX_FILES + 1)))
    (reason,) = check_files(manifest, files)
    assert reason.kind == "too_many_files"


def test_records_are_listed_by_vehicle_and_batch(bucket: Bucket) -> None:
    reason = Reason(kind="bad_manifest", file="manifest", expected="x", actual="y", help="z")
    for vehicle, batch in (("v2", "b"), ("v1", "c"), ("v1", "a.b")):
        quarantine(bucket, BatchRef(vehicle, batch), raw_manifest=b"", digest="0" * 16, reasons=[reason], at=NOW)
    bucket.put("inbox/v1/,.json", b"")
    quarantine_unknown(bucket, "inbox/v1/,.json", at=NOW)
    found = list(list_records(bucket))
    assert [(r.vehicle_id, r.batch_id) for r in found] == [("v1", "a.b"), ("v1", "c"), ("v2", "b"), (None, None)]
    assert [r.batch_id for r in list_records(bucket, vehicle_id="v1")] == ["a.b", "c"]
    assert found[-1].digest in found[-1].manifest


def test_nothing_from_outside_moves_the_cursor() -> None:
    assert printable("a\x1b[2J\u202e\u2066é") == "a\\x1b[2J\\u202e\\u2066é"
