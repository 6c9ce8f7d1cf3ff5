"""Manifests are hostile input."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from argus_assets.drop.keys import batch_prefix, parse_inbox_key, parse_partition_key, partition_key, recording_key
from argus_assets.drop.manifest import MAX_MANIFEST_BYTES, name_problem, parse_manifest
from argus_assets.errors import BadManifest
from tests.support.values import VIN


def document(**changes: Any) -> dict[str, Any]:
    return {
        "vehicle_id": "truck-1",
        "vin": VIN,
        "batch_id": "b_1",
        "release": "2026.10",
        "platform": "truck",
        "recorded_from": "2026-11-23T08:00:00Z",
        "recorded_to": "2026-11-23T09:00:00+01:00",
        "files": [{"name": "rec/0001.mcap", "size": 3, "sha256": "a" * 64}],
        **changes,
    }


def parse(value: Any, raw: bytes | None = None) -> Any:
    return parse_manifest(json.dumps(value).encode() if raw is None else raw, vehicle_id="truck-1", batch_id="b_1")


def test_a_good_manifest_is_read() -> None:
    manifest = parse(document(recorded_to="2026-11-23T10:00:00+01:00"))
    assert manifest.size_bytes == 3
    assert manifest.recorded_to == datetime(2026, 11, 23, 9, tzinfo=UTC)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"recorded_to": "2026-11-23T07:00:00Z"}, "before recorded_from"),
        ({"recorded_from": "2026-11-23T08:00:00"}, "recorded_from"),
        ({"vin": "1M8GDM9AXKP04278O"}, "vin"),
        ({"files": []}, "files"),
        ({"files": [{"name": "a", "size": -1, "sha256": "a" * 64}]}, "files.0.size"),
        ({"files": [{"name": "a", "size": 1, "sha256": "A" * 64}]}, "files.0.sha256"),
        ({"files": [{"name": "../b_2/x", "size": 1, "sha256": "a" * 64}]}, "leaves its batch"),
        ({"files": [{"name": ".a.mcap", "size": 1, "sha256": "a" * 64}]}, "hidden"),
        ({"files": [{"name": "rec/.sync/x", "size": 1, "sha256": "a" * 64}]}, "hidden"),
        ({"files": [{"name": n, "size": 1, "sha256": "a" * 64} for n in ("Rec", "rec")]}, "same name"),
        ({"files": [{"name": n, "size": 1, "sha256": "a" * 64} for n in ("é", "é")]}, "same name"),
        ({"vehicle_id": "truck-2"}, "names batch truck-2"),
        ({"extra": 1}, "extra"),
        ({"schema_version": 2}, "schema_version"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(change: dict[str, Any], told: str) -> None:
    with pytest.raises(BadManifest, match=told) as caught:
        parse(document(recorded_to="2026-11-23T10:00:00+01:00") | change)
    assert caught.value.help


@pytest.mark.parametrize(
    "raw", [b"", b"{", b"\xff\xfe", b"[]", b"null", b"[" * 100_000, b" " * (MAX_MANIFEST_BYTES + 1)]
)
def test_what_is_no_manifest_is_refused(raw: bytes) -> None:
    with pytest.raises(BadManifest):
        parse(None, raw)


@given(st.text(min_size=1, max_size=300))
def test_no_accepted_name_leaves_its_batch(name: str) -> None:
    if name_problem(name) is None:
        key = recording_key("v", "b", name)
        path = Path("/bucket") / key
        assert path.resolve() == Path("/bucket") / batch_prefix("v", "b") / name
        assert path.resolve().is_relative_to("/bucket/batches/v/b")


@given(
    st.one_of(
        st.binary(max_size=200),
        st.dictionaries(st.text(max_size=8), st.integers()).map(lambda d: json.dumps(d).encode()),
    )
)
def test_no_bytes_raise_anything_but_a_bad_manifest(raw: bytes) -> None:
    with pytest.raises(BadManifest):
        parse(None, raw)


vehicle_ids = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9.-]{0,63}", fullmatch=True)
batch_ids = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}", fullmatch=True)


@given(vehicle_ids, batch_ids, st.datetimes(datetime(1980, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)))
def test_partition_keys_are_read_back(vehicle: str, batch: str, at: datetime) -> None:
    key = partition_key(at, vehicle, batch)
    ref = parse_partition_key(key)
    assert ref is not None
    assert (ref.vehicle_id, ref.batch_id, ref.recorded_on) == (vehicle, batch, at.date())
    assert "," not in key


@given(st.text(max_size=60))
def test_other_keys_are_no_inbox_keys(text: str) -> None:
    ref = parse_inbox_key(f"inbox/{text}")
    if ref is not None:
        assert f"inbox/{ref.vehicle_id}/{ref.batch_id}.json" == f"inbox/{text}"
