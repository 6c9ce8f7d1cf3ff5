"""Sessions of loggers without manifests: complete when quiet, each split once, dropped as a vehicle would."""

from datetime import UTC, datetime, timedelta
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from argus_assets.drop.bucket import Bucket, ObjectInfo
from argus_assets.drop.idle_sessions import Logger, Session, checked_prefix, chosen_files, drive_time, read_loggers
from argus_assets.drop.intake import check_files
from argus_assets.drop.keys import batch_prefix, inbox_key
from argus_assets.drop.manifest import MAX_MANIFEST_BYTES, Manifest, parse_manifest
from argus_assets.errors import BadSetting
from argus_assets.sensors.idle_sessions import find_quiet, take_sessions
from tests.support.values import VIN

PREFIX = "loggers/"
QUIET = timedelta(minutes=30)
LOGGERS = {
    device: Logger(vehicle_id=vehicle, vin=VIN, platform="truck", release="2026.10")
    for device, vehicle in (("2F6913DB", "truck-1"), ("3B912722", "truck-2"))
}


def look(bucket: Bucket, after: timedelta = QUIET * 2, **changes) -> list[str]:
    given = {"now": bucket.now() + after, "quiet": QUIET, **changes}
    found, cursor = find_quiet(bucket, PREFIX, LOGGERS, **given)
    assert not cursor
    return found


def dropped(bucket: Bucket, vehicle: str, batch: str) -> Manifest:
    raw = bucket.read(inbox_key(vehicle, batch), max_bytes=MAX_MANIFEST_BYTES)
    return parse_manifest(raw, vehicle_id=vehicle, batch_id=batch)


def test_a_quiet_session_is_dropped_once_and_again_when_it_grows(bucket: Bucket) -> None:
    contents = {"00000001-61D9D080.MF4": b"first", "00000002-61D9D1AC.MF4": b"second"}
    for name, content in contents.items():
        bucket.put(f"loggers/2F6913DB/00000012/{name}", content)
    assert look(bucket, QUIET / 2) == [], "it may go on"
    assert look(bucket) == ["loggers/2F6913DB/00000012/"]
    assert take_sessions(bucket, PREFIX, look(bucket), LOGGERS) == []
    manifest = dropped(bucket, "truck-1", "2F6913DB-00000012")
    assert {f.name: f.sha256 for f in manifest.files} == {n: sha256(c).hexdigest() for n, c in contents.items()}
    assert manifest.recorded_from == datetime(2022, 1, 8, 17, 57, 20, tzinfo=UTC)
    assert manifest.recorded_to - manifest.recorded_from == timedelta(seconds=300)
    prefix = batch_prefix("truck-1", "2F6913DB-00000012")
    files = {info.key.removeprefix(prefix): info for info in bucket.list_prefix(prefix)}
    assert check_files(manifest, files) == ()
    assert look(bucket) == []

    bucket.put("loggers/2F6913DB/00000012/00000003-61D9D2D8.MF4", b"third")
    assert look(bucket, timedelta(0)) == []
    assert take_sessions(bucket, PREFIX, look(bucket), LOGGERS) == []
    assert [f.name[:8] for f in dropped(bucket, "truck-1", "2F6913DB-00000012").files] == [
        "00000001", "00000002", "00000003",
    ]  # fmt: skip
    assert look(bucket) == []
    assert len(list(bucket.iterate("loggers/"))) == 3, "what the logger put stays"


def test_a_crash_before_the_end_is_repeated_to_the_same_end(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    bucket.put("loggers/2F6913DB/00000012/00000001-61D9D080.MF4", b"first")
    put = Bucket.put

    def crashing(self: Bucket, key: str, data: bytes) -> None:
        if key.startswith("quiet/"):
            raise KeyboardInterrupt
        put(self, key, data)

    with monkeypatch.context() as patched:
        patched.setattr(Bucket, "put", crashing)
        with pytest.raises(KeyboardInterrupt):
            take_sessions(bucket, PREFIX, look(bucket), LOGGERS)
    first = bucket.read(inbox_key("truck-1", "2F6913DB-00000012"), max_bytes=MAX_MANIFEST_BYTES)
    take_sessions(bucket, PREFIX, look(bucket), LOGGERS)
    assert bucket.read(inbox_key("truck-1", "2F6913DB-00000012"), max_bytes=MAX_MANIFEST_BYTES) == first
    assert look(bucket) == []


def test_what_is_no_session_of_a_known_logger_is_left_alone(bucket: Bucket) -> None:
    for key in ("loggers/device.json", "loggers/FFFFFFFF/00000001/00000001.MF4", "loggers/2F6913DB/config-01.09.json"):
        bucket.put(key, b"x")
    bucket.put("loggers/3B912722/00000001/readme.txt", b"x")
    told: list[str] = []
    found = look(bucket, log=told.append)
    assert "FFFFFFFF" in told[0]
    assert found == ["loggers/3B912722/00000001/"]
    assert take_sessions(bucket, PREFIX, found, LOGGERS) == []
    assert look(bucket) == []
    assert not list(bucket.iterate("inbox/"))


def test_looks_go_on_where_the_last_one_left(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = []
    for device in LOGGERS:
        for session in range(1, 4):
            wanted.append(f"loggers/{device}/{session:08d}/")
            bucket.put(f"{wanted[-1]}00000001-61D9D080.MF4", b"x")
    monkeypatch.setattr("argus_assets.sensors.idle_sessions.MAX_SESSIONS", 2)
    found, cursor = [], ""
    while True:
        some, cursor = find_quiet(
            bucket, PREFIX, LOGGERS, now=bucket.now() + QUIET * 2, quiet=QUIET, start_after=cursor
        )
        found += some
        if not cursor:
            break
    assert found == wanted


def info(name: str, size: int, at: int, etag: str = "e") -> ObjectInfo:
    return ObjectInfo(f"loggers/d/1/{name}", size, etag, datetime(2026, 1, 1, 0, at, tzinfo=UTC))


def chosen(*files: ObjectInfo) -> list[str]:
    return [f.key.rpartition("/")[2] for f in chosen_files(Session("d", "1", "loggers/d/1/", files))]


def test_of_the_copies_of_a_split_one_counts() -> None:
    cut, whole = info("00000001-61D9D080.MF4", 10, 5), info("00000001-61D9D081.MF4", 20, 1)
    assert chosen(cut, whole) == ["00000001-61D9D081.MF4"], "the longest, though the other came later"
    again = info("00000001-61D9D082.MF4", 20, 9)
    assert chosen(whole, again, cut) == ["00000001-61D9D082.MF4"], "the last of those"
    packed = info("00000001-61D9D083.MFC", 99, 9)
    assert chosen(packed, cut) == ["00000001-61D9D080.MF4"], "the one that can be read"
    assert chosen(packed) == ["00000001-61D9D083.MFC"]
    assert chosen(info("00000002.MF4", 1, 1), info("1.MF4", 1, 1), info("a/00000001.MF4", 1, 1)) == ["00000002.MF4"]


names = st.builds(
    lambda split, epoch, extension: f"{split:08d}-{epoch:08X}.{extension}",
    st.integers(1, 3),
    st.integers(0, 2**32 - 1),
    st.sampled_from(["MF4", "MFC", "mf4", "txt"]),
)


@given(st.lists(st.builds(info, names, st.integers(0, 3), st.integers(0, 3)), max_size=8, unique_by=lambda i: i.key))
def test_every_split_is_there_once_whatever_the_order(files: list[ObjectInfo]) -> None:
    found = chosen(*files)
    assert found == chosen(*reversed(files))
    assert [name[:8] for name in found] == sorted({f.key.rpartition("/")[2][:8] for f in files})
    if files:
        begun, ended = drive_time(found, files)
        assert begun <= ended
        assert 1970 <= begun.year <= 2199


def test_a_logger_without_a_clock_is_dated_by_the_store() -> None:
    files = [info("00000001-00000010.MF4", 1, 3), info("00000002-00000020.MF4", 1, 7)]
    begun, ended = drive_time([f.key.rpartition("/")[2] for f in files], files)
    assert (begun, ended) == (files[0].modified, files[1].modified)


@pytest.mark.parametrize("prefix", ["", "/", "batches", "inbox/x", "/quiet/"])
def test_loggers_have_a_prefix_of_their_own(prefix: str) -> None:
    with pytest.raises(BadSetting):
        checked_prefix(prefix)
    assert checked_prefix("/log") == "log/"


def test_the_file_of_loggers_is_read_strictly(tmp_path) -> None:
    file = tmp_path / "loggers.toml"
    good = '[device.2F6913DB]\nvehicle_id = "truck-1"\nvin = "1M8GDM9AXKP042788"\nplatform = "truck"\nrelease = "1"\n'
    file.write_text(good)
    assert read_loggers(file)["2F6913DB"].vehicle_id == "truck-1"
    for wrong in (good.replace("truck-1", "truck_1"), good + "x = 1\n", good.replace("platform", "plat")):
        file.write_text(wrong)
        with pytest.raises(BadSetting):
            read_loggers(file)
