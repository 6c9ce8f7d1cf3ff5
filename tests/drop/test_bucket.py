"""A bucket behaves the same whatever is below it. The same tests run on a Ceph gateway in tests/s3."""

import pytest

from argus_assets.drop.bucket import Bucket
from argus_assets.errors import Unavailable
from tests.support.bucket_contract import BucketContract


class TestBucket(BucketContract):
    """On a folder and on moto."""


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
