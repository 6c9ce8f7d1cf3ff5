"""The bucket's tests of the quick tier, on a production S3."""

import pytest

from argus_assets.drop.bucket import Bucket
from argus_assets.runtime.embedded.s3 import S3Server
from tests.drop.test_bucket import (  # noqa: F401 - collected here, with this module's bucket
    test_a_key_cannot_leave_the_bucket,
    test_a_missing_object_is_told_apart_from_an_empty_one,
    test_a_stream_of_many_parts_arrives_whole_and_states_its_hash,
    test_batches_are_found_wherever_they_have_left_a_trace,
    test_copy_and_delete_can_be_repeated,
    test_listing_goes_past_one_page_of_the_protocol,
    test_nothing_appears_of_a_stream_that_fails,
    test_reading_is_bounded,
    test_the_inbox_is_listed_in_order_and_in_pieces,
    test_what_is_put_is_read_back,
)
from tests.drop.test_upload import (  # noqa: F401 - collected here, with this module's bucket
    drive,
    test_a_file_that_changes_on_the_way_is_refused,
    test_files_arrive_with_their_names_and_hashes,
    test_progress_counts_every_byte_twice,
    test_what_is_there_is_not_sent_again,
)
from tests.support.buckets import fresh_bucket

pytestmark = pytest.mark.s3


@pytest.fixture
def bucket(ceph_server: S3Server, request: pytest.FixtureRequest) -> Bucket:
    """An empty prefix on the gateway, in place of the quick tier's buckets."""
    return fresh_bucket(ceph_server, request.node.name)
