"""The bucket's tests of the quick tier, on a production S3."""

import pytest

from argus_assets.drop.bucket import Bucket
from argus_assets.runtime.embedded.s3 import S3Server
from tests.support.bucket_contract import BucketContract, UploadContract
from tests.support.buckets import fresh_bucket

pytestmark = pytest.mark.s3


@pytest.fixture
def bucket(ceph_server: S3Server, request: pytest.FixtureRequest) -> Bucket:
    """An empty prefix on the gateway, in place of the quick tier's buckets."""
    return fresh_bucket(ceph_server, request.node.name)


class TestBucketOnGateway(BucketContract):
    """On the gateway."""


class TestUploadOnGateway(UploadContract):
    """On the gateway."""
