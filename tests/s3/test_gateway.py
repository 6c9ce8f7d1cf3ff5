"""The bucket's tests on a production S3, and what only such a server enforces: signatures and policies."""

import json
import os
import urllib.error
import urllib.request
from datetime import timedelta

import fsspec
import pytest

from argus_assets.drop.bucket import Bucket
from argus_assets.drop.policies import vehicle_policy
from argus_assets.drop.quarantine import quarantine_unknown
from argus_assets.errors import AccessDenied, BadFile
from argus_assets.maintenance.stale_uploads import StaleUploads, find_stale
from argus_assets.runtime.embedded.s3 import S3Server
from tests.support.buckets import fresh_bucket, place_of, put_unchecked
from tests.support.hostile_drops import HOSTILE_KEYS

pytestmark = pytest.mark.s3


@pytest.fixture
def bucket(ceph_server: S3Server, request: pytest.FixtureRequest) -> Bucket:
    """An empty prefix on the gateway: takes the place of the quick tiers' buckets."""
    return fresh_bucket(ceph_server, request.node.name)


class User:
    """A user of the gateway with its own credential."""

    def __init__(self, server: S3Server, name: str, secret: str) -> None:
        self.options = {**server.storage_options(), "key": name, "secret": secret}
        self.fs = fsspec.filesystem("s3", **self.options, use_listings_cache=False, skip_instance_cache=True)


@pytest.fixture(scope="module")
def vehicles(ceph_server: S3Server, ceph_admin) -> dict[str, User]:
    """Two vehicles with the policy that `argus policy` prints, and what the operator sees."""
    owner = User(ceph_server, ceph_server.access_key, ceph_server.secret_key)
    users: dict[str, User] = {"operator": owner}
    statements = []
    for name in ("truck-1", "truck-2", "truck-tls"):
        ceph_admin(
            "user",
            "create",
            "--uid",
            name,
            "--display-name",
            name,
            "--access-key",
            name,
            "--secret-key",
            f"{name}-secret",
        )
        users[name] = User(ceph_server, name, f"{name}-secret")
        operator = "arn:aws:iam:::user/argus" if name == "truck-1" else None
        policy = vehicle_policy(
            ceph_server.bucket,
            name,
            f"arn:aws:iam:::user/{name}",
            operator=operator,
            tls_only=name == "truck-tls",
        )
        statements += policy["Statement"]
    owner.fs.call_s3(
        "put_bucket_policy",
        Bucket=ceph_server.bucket,
        Policy=json.dumps({"Version": "2012-10-17", "Statement": statements}),
    )
    return users


def test_a_wrong_secret_is_refused(ceph_server: S3Server) -> None:
    wrong = {**ceph_server.storage_options(), "secret": "wrong"}
    bucket = Bucket.from_url(ceph_server.url, storage_options=wrong)
    with pytest.raises(AccessDenied, match="access denied"):
        bucket.list_inbox(limit=1)


@pytest.mark.parametrize("size", [10, 20 * 1024**2])
def test_a_vehicle_may_put_its_own(vehicles: dict[str, User], ceph_server: S3Server, size: int) -> None:
    data = os.urandom(size)
    bucket = Bucket.from_url(ceph_server.url, storage_options=vehicles["truck-1"].options)
    with bucket.create("batches/truck-1/b1/a.mcap", sha256="0" * 64) as file:
        file.write(data)
    bucket.put("inbox/truck-1/b1.json", b"{}")
    operator = Bucket.from_url(ceph_server.url, storage_options=vehicles["operator"].options)
    assert operator.read("batches/truck-1/b1/a.mcap", max_bytes=size) == data


@pytest.mark.parametrize(
    "key",
    [
        "batches/truck-2/b1/a.mcap",
        "inbox/truck-2/b1.json",
        "accepted/truck-1/b1.x.json",
        "results/truck-1/b1.json",
        "quarantine/truck-1/b1/reason.json",
        "other",
    ],
)
def test_a_vehicle_may_put_nowhere_else(vehicles: dict[str, User], ceph_server: S3Server, key: str) -> None:
    bucket = Bucket.from_url(ceph_server.url, storage_options=vehicles["truck-1"].options)
    with pytest.raises(AccessDenied, match="access denied"):
        bucket.put(key, b"overwritten")


def test_a_vehicle_may_not_read_list_or_delete_even_its_own(vehicles: dict[str, User], ceph_server: S3Server) -> None:
    operator = Bucket.from_url(ceph_server.url, storage_options=vehicles["operator"].options)
    operator.put("inbox/truck-1/secret.json", b"{}")
    bucket = Bucket.from_url(ceph_server.url, storage_options=vehicles["truck-1"].options)
    for action in (
        lambda: bucket.read("inbox/truck-1/secret.json", max_bytes=10),
        lambda: bucket.list_inbox(limit=1),
        lambda: bucket.delete("inbox/truck-1/secret.json"),
        lambda: bucket.copy("inbox/truck-1/secret.json", "inbox/truck-1/copy.json"),
    ):
        with pytest.raises(AccessDenied, match="access denied"):
            action()
    assert operator.exists("inbox/truck-1/secret.json")


def test_a_vehicle_with_only_its_policy_can_drop_a_batch(
    vehicles: dict[str, User], ceph_server: S3Server, tmp_path
) -> None:
    from argus_assets.drop.upload import collect_files, upload_files

    (tmp_path / "a.mcap").write_bytes(os.urandom(1000))
    bucket = Bucket.from_url(ceph_server.url, storage_options=vehicles["truck-2"].options)
    first = upload_files(bucket, collect_files([tmp_path]), vehicle_id="truck-2", batch_id="b7")
    assert [f.sent for f in first] == [True], "it may not look what is there, so it sends"
    # This server lets the owner of an object look at it, so the second time nothing has to be sent.
    upload_files(bucket, collect_files([tmp_path]), vehicle_id="truck-2", batch_id="b7")
    operator = Bucket.from_url(ceph_server.url, storage_options=vehicles["operator"].options)
    assert operator.read("batches/truck-2/b7/a.mcap", max_bytes=1000) == (tmp_path / "a.mcap").read_bytes()


def test_a_vehicle_that_has_to_use_tls_may_not_put_without(vehicles: dict[str, User], ceph_server: S3Server) -> None:
    assert ceph_server.endpoint.startswith("http://")
    bucket = Bucket.from_url(ceph_server.url, storage_options=vehicles["truck-tls"].options)
    with pytest.raises(AccessDenied, match="access denied"):
        bucket.put("inbox/truck-tls/b1.json", b"{}")


def test_a_put_that_asks_for_it_replaces_nothing(vehicles: dict[str, User], ceph_server: S3Server) -> None:
    bucket = Bucket.from_url(ceph_server.url, storage_options=vehicles["truck-1"].options)
    bucket.only_new = True
    # This gateway knows the condition for whole objects, and not at the end of an upload in parts.
    for content in (b"1", b"2"):
        with bucket.create("batches/truck-1/new/a", sha256="0" * 64) as file:
            file.write(content)
    operator = Bucket.from_url(ceph_server.url, storage_options=vehicles["operator"].options)
    assert operator.read("batches/truck-1/new/a", max_bytes=10) == b"1"
    bucket.put("inbox/truck-1/new.json", b"1")
    with pytest.raises(BadFile, match="may not be replaced"):
        bucket.put("inbox/truck-1/new.json", b"2")


def test_a_form_takes_a_file_of_bounded_size_at_one_key(bucket: Bucket) -> None:
    """What a policy cannot do: bound the size."""
    form = bucket.upload_form("batches/v/b/a.mcap", max_bytes=1000, seconds=60)

    def post(size: int, **changes: str) -> int:
        boundary = "b0undary"
        parts = [
            f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
            for name, value in {**form["fields"], **changes}.items()
        ]
        parts.append(f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n')
        body = "".join(parts).encode() + b"x" * size + f"\r\n--{boundary}--\r\n".encode()
        request = urllib.request.Request(
            form["url"], body, {"Content-Type": f"multipart/form-data; boundary={boundary}"}
        )
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return answer.status
        except urllib.error.HTTPError as error:
            error.close()
            return error.code

    assert post(1001) >= 400
    assert not bucket.exists("batches/v/b/a.mcap")
    assert post(1000) in {200, 204}
    assert bucket.stat("batches/v/b/a.mcap").size == 1000
    assert post(10, key=form["fields"]["key"].replace("/b/", "/c/")) == 403


def test_an_upload_in_parts_that_was_not_completed_is_found(bucket: Bucket) -> None:
    name, lead = place_of(bucket)
    bucket.fs.call_s3("create_multipart_upload", Bucket=name, Key=f"{lead}batches/v/b1/big.mcap")
    now = bucket.now()
    early = find_stale(bucket, StaleUploads(started_at=now), quiet=timedelta(hours=1))
    assert early.count == 0
    (upload,) = find_stale(bucket, StaleUploads(started_at=now + timedelta(hours=2)), quiet=timedelta(hours=1)).uploads
    assert (upload.kind, upload.missing) == ("unfinished_file", ("batches/v/b1/big.mcap",))


def test_hostile_keys_are_moved_out_of_the_way(bucket: Bucket) -> None:
    keys = [*HOSTILE_KEYS, "inbox/v/\n.json"]
    for key in keys:
        put_unchecked(bucket, key)
    listed = [info.key for info in bucket.list_inbox(limit=100)]
    assert sorted(listed) == sorted(keys)
    for key in listed:
        quarantine_unknown(bucket, key, at=bucket.now())
    left = [info.key for info in bucket.iterate("")]
    assert len(left) == 2 * len(keys)
    assert all(key.startswith("quarantine/_unknown/") for key in left)
