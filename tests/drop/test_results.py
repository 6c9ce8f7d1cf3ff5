"""Outcomes in the bucket: what was written is read; what is damaged counts as none, and is told."""

import logging
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from argus_assets.drop.bucket import Bucket
from argus_assets.drop.keys import BatchRef, results_key
from argus_assets.drop.results import BatchResult, read_result, write_result

REF = BatchRef("v", "b")
RESULT = BatchResult(
    vehicle_id="v", batch_id="b", manifest_digest="d", state="completed", at=datetime(2026, 1, 1, tzinfo=UTC)
)
KEY = results_key("v", "b")


@pytest.fixture
def bucket(tmp_path: Path) -> Bucket:
    made = Bucket.from_url(str(tmp_path))
    made.ensure()
    return made


def test_what_was_written_is_read(bucket: Bucket) -> None:
    assert read_result(bucket, REF) is None
    write_result(bucket, RESULT)
    assert read_result(bucket, REF) == RESULT


@pytest.mark.parametrize(
    "content",
    [
        b"", b"{", b"null", b"[]", b"\xff\xfe", b"[" * 100_000, b'{"a":' * 50_000, b"\0" * 100, b" " * (5 << 20), b"9" * 5000,
        RESULT.model_dump_json().replace("completed", "done\x1b[31m").encode(),
        RESULT.model_dump_json().replace("2026-01-01T00:00:00Z", "2026-01-01T00:00:00").encode(),
        RESULT.model_dump_json().replace('"schema_version":1', '"schema_version":2').encode(),
    ],
)  # fmt: skip
def test_a_damaged_one_counts_as_none_and_is_told(
    bucket: Bucket, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    bucket.put(KEY, content)
    with caplog.at_level(logging.WARNING):
        assert read_result(bucket, REF) is None
    (record,) = caplog.records
    assert KEY in record.getMessage()
    assert record.getMessage().isprintable()
    assert len(record.getMessage()) < 1000


@given(data=st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=100)
def test_any_damage_is_none_or_a_result_that_can_be_compared(bucket: Bucket, data: st.DataObject) -> None:
    content = bytearray(RESULT.model_dump_json().encode())
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(content) - 1))
        content[at : at + data.draw(st.integers(0, 5))] = data.draw(st.binary(max_size=3))
    bucket.put(KEY, bytes(content))
    result = read_result(bucket, REF)
    assert result is None or isinstance(result.at < datetime.now(UTC), bool)
