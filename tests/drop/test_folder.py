"""A folder bucket of which others write parts: links, loops, pipes and names lead nowhere and stop nobody."""

import logging
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from argus_assets.drop.bucket import Bucket
from argus_assets.errors import AccessDenied, ArgusError, BadFile, BadSetting
from tests.support.disk_log import disk_log

SECRET = b"not of this bucket"


class Place:
    """A folder bucket with one honest object, and something outside of it."""

    def __init__(self, base: Path) -> None:
        self.root = base / "bucket"
        self.outside = base / "outside"
        self.outside.mkdir()
        (self.outside / "secret.log").write_bytes(SECRET)
        self.bucket = Bucket.from_url(str(self.root))
        self.bucket.ensure()
        self.bucket.put("batches/v/good/a.log", b"12")
        self.bucket.put("inbox/v/good.json", b"{}")

    def at(self, key: str) -> Path:
        path = self.root / key
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def listed(self) -> list[str]:
        return [info.key for info in self.bucket.iterate("")]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def link_to_file(place: Place, key: str) -> None:
    place.at(key).symlink_to(place.outside / "secret.log")


def link_to_neighbour(place: Place, key: str) -> None:
    place.at(key).symlink_to(place.root / "batches/v/good/a.log")


def link_to_folder(place: Place, key: str) -> None:
    place.at(key).symlink_to(place.outside)


def link_to_itself(place: Place, key: str) -> None:
    place.at(key).symlink_to(place.at(key).name)


def link_to_the_bucket(place: Place, key: str) -> None:
    place.at(key).symlink_to(place.root)


def dangling_link(place: Place, key: str) -> None:
    place.at(key).symlink_to("nothing")


def link_to_a_device(place: Place, key: str) -> None:
    place.at(key).symlink_to("/dev/zero")


def pipe(place: Place, key: str) -> None:
    os.mkfifo(place.at(key))


ODD: list[Callable[[Place, str], None]] = [
    link_to_file, link_to_neighbour, link_to_folder, link_to_itself, link_to_the_bucket, dangling_link, link_to_a_device, pipe,
]  # fmt: skip


@pytest.mark.parametrize("make", ODD)
@pytest.mark.parametrize("key", ["batches/v/b/x.log", "batches/v/x", "batches/w", "inbox/v/b.json", "inbox/w"])
def test_what_is_no_file_is_passed_over_and_told_once(place: Place, make, key: str, caplog) -> None:
    before = place.listed()
    make(place, key)
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            assert place.listed() == before
            assert place.bucket.stat(key) is None
            assert not place.bucket.exists(key)
            assert key.rpartition("/")[2] not in place.bucket.list_names(key.rpartition("/")[0])
            assert [info.key for info in place.bucket.list_inbox(limit=10)] == ["inbox/v/good.json"]
    assert [r.getMessage().split("'")[1] for r in caplog.records] == [key]
    with pytest.raises(BadFile), place.bucket.open(key) as file:
        file.read(1)
    with pytest.raises(BadFile), place.bucket.stream(key, size=5) as stream:
        stream.read(1)


@pytest.mark.parametrize("make", [link_to_folder, link_to_the_bucket, link_to_itself])
@pytest.mark.parametrize("top", ["batches/w", "batches/w/b", "inbox/w", "quarantine/w", "results/w"])
def test_nothing_is_reached_through_a_link_below_what_vehicles_share(place: Place, make, top: str) -> None:
    make(place, top)
    key = f"{top}/secret.log"
    outside = sorted(place.outside.rglob("*"))
    assert place.bucket.list_prefix(f"{top}/") == []
    assert place.bucket.stat(key) is None
    for act in (
        lambda: place.bucket.read(key, max_bytes=100),
        lambda: place.bucket.put(key, b""),
        lambda: place.bucket.put_new(f"{key}.new", b""),
        lambda: place.bucket.copy("inbox/v/good.json", key),
        lambda: place.bucket.copy(key, "results/v/x"),
        lambda: place.bucket.delete(key),
    ):
        with pytest.raises(AccessDenied, match="is a link"):
            act()
    with pytest.raises(AccessDenied), place.bucket.create(key, sha256="0" * 64) as file:
        file.write(b"1")
    assert sorted(place.outside.rglob("*")) == outside
    assert (place.outside / "secret.log").read_bytes() == SECRET


@pytest.mark.parametrize("top", ["accepted", "batches", "inbox", "quarantine", "results"])
def test_a_shared_folder_that_is_a_link_is_refused_and_never_taken_for_an_empty_one(tmp_path: Path, top: str) -> None:
    (tmp_path / "out").mkdir()
    bucket = Bucket.from_url(str(tmp_path / "bucket"))
    bucket.ensure()
    (tmp_path / "bucket" / top).symlink_to(tmp_path / "out")
    bucket.put("other/v/b.json", b"{}")
    for act in (
        lambda: bucket.list_prefix(f"{top}/"),
        lambda: bucket.list_prefix(f"{top}/v/b/"),
        lambda: bucket.list_names(top),
        lambda: bucket.stat(f"{top}/v/b.json"),
        lambda: bucket.copy("other/v/b.json", f"{top}/v/b.0.json"),
        lambda: bucket.put(f"{top}/v/b.0.json", b""),
    ):
        with pytest.raises(BadSetting, match=f"'{top}' in .* is a link"):
            act()
    assert list((tmp_path / "out").iterdir()) == []


def test_the_bucket_itself_may_be_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "bucket").symlink_to(tmp_path / "real")
    bucket = Bucket.from_url(str(tmp_path / "bucket"))
    bucket.ensure()
    bucket.put("inbox/v/b.json", b"{}")
    assert [info.key for info in bucket.list_inbox(limit=1)] == ["inbox/v/b.json"]


def test_a_link_in_place_of_an_object_is_replaced_and_not_written_through(place: Place) -> None:
    link_to_file(place, "results/v/b.json")
    place.bucket.put("results/v/b.json", b"{}")
    assert place.bucket.read("results/v/b.json", max_bytes=10) == b"{}"
    assert (place.outside / "secret.log").read_bytes() == SECRET
    link_to_file(place, "results/v/c.json")
    assert not place.bucket.put_new("results/v/c.json", b"{}")
    place.bucket.delete("results/v/c.json")
    assert (place.outside / "secret.log").read_bytes() == SECRET


def test_a_folder_that_may_not_be_read_stops_no_other(place: Place, caplog, monkeypatch) -> None:
    place.at("batches/w/b/x.log").write_bytes(b"1")
    open_ = os.open

    def refusing(path: str, *args: int, **kwargs: int) -> int:
        if path == "w":  # root may read every folder, so no mode says this to it
            raise PermissionError(13, "Permission denied", path)
        return open_(path, *args, **kwargs)

    monkeypatch.setattr(os, "open", refusing)
    assert place.listed() == ["batches/v/good/a.log", "inbox/v/good.json"]
    assert place.bucket.list_prefix("batches/w/b/") == []
    assert caplog.text.count("'batches/w' in") == 1
    with pytest.raises(AccessDenied):
        place.bucket.stat("batches/w/b/x.log")


@pytest.mark.parametrize("top", ["", "inbox/"])
def test_a_disk_that_does_not_answer_is_no_empty_folder(place: Place, top: str, monkeypatch) -> None:
    def broken(_: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "scandir", broken)
    with pytest.raises(ArgusError, match="Input/output error"):
        place.bucket.list_prefix(top)


def test_hidden_names_are_in_no_listing_and_no_manifest(place: Place) -> None:
    before = place.listed()
    for key in ("batches/v/b/.a.mcap", "batches/v/.b/a.mcap", "inbox/v/.b.json.Xy12", "inbox/.v/b.json"):
        place.at(key).write_bytes(b"1")
    assert place.listed() == before


def test_deep_folders_and_long_names_are_fine(place: Place) -> None:
    deep = "batches/v/deep/" + "/".join(["d" * 200] * 40)  # longer than the longest path of the system
    place.bucket.put(f"{deep}/a.log", b"12")
    assert f"{deep}/a.log" in place.listed()
    assert place.bucket.read(f"{deep}/a.log", max_bytes=2) == b"12"
    assert place.bucket.stat("batches/v/good/" + "x" * 300) is None
    assert place.bucket.stat("batches/v/good/a.log/below-a-file") is None


names = st.text("abc.-~ é", min_size=1, max_size=4).filter(lambda n: not n.startswith("."))


@given(st.dictionaries(st.tuples(names, names, names), st.sampled_from(["file", "link", "pipe"]), max_size=8), names)
def test_a_listing_is_the_files_in_key_order(entries: dict[tuple[str, str, str], str], after: str) -> None:
    with tempfile.TemporaryDirectory() as base:
        bucket = Bucket.from_url(f"{base}/bucket")
        bucket.ensure()
        files = []
        for parts, kind in entries.items():
            key = "/".join(("batches", *parts))
            path = Path(base, "bucket", key)
            path.parent.mkdir(parents=True, exist_ok=True)
            if kind == "file":
                path.write_bytes(b"1")
                files.append(key)
            elif kind == "link":
                path.symlink_to(base)
            else:
                os.mkfifo(path)
        found = [info.key for info in bucket.iterate("batches/", start_after=f"batches/{after}")]
        assert found == sorted(key for key in files if key > f"batches/{after}")


@pytest.mark.parametrize("replace", [True, False])
def test_what_was_put_is_there_after_a_power_cut(tmp_path: Path, *, replace: bool) -> None:
    bucket = Bucket.from_url(str(tmp_path))
    with disk_log() as log:
        bucket.put("batches/v/b/x", b"1") if replace else bucket.put_new("batches/v/b/x", b"1")
    target = str(tmp_path / "batches" / "v" / "b" / "x")
    assert log.lasts_at(log.step_of("x") + 1) == set()
    assert log.lasts_at(len(log.steps)) == {target}
    folders = [str(tmp_path / part) for part in ("", "batches", "batches/v")]
    assert [path for kind, path, *_ in log.steps if kind == "sync"][:3] == folders, "so do the folders it is in"
