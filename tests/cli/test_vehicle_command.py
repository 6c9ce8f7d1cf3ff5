"""`argus vehicle`: the documents; what they enforce is tested on a server that enforces."""

import json

import pytest
from click.testing import CliRunner, Result

from argus_assets.cli import root
from argus_assets.drop.policies import MAX_POLICY_BYTES, vehicle_policy
from argus_assets.errors import BadSetting


def argus(*arguments: str) -> Result:
    return CliRunner().invoke(root, ["vehicle", *arguments])


def test_a_policy_allows_two_prefixes_and_only_over_tls() -> None:
    document = json.loads(argus("add", "truck-1", "--bucket", "drops").output)
    allow, deny = document["Statement"]
    assert (allow["Effect"], sorted(allow["Action"])) == ("Allow", ["s3:AbortMultipartUpload", "s3:PutObject"])
    assert allow["Resource"] == ["arn:aws:s3:::drops/batches/truck-1/*", "arn:aws:s3:::drops/inbox/truck-1/*"]
    assert (deny["Effect"], deny["Condition"]) == ("Deny", {"BoolIfExists": {"aws:SecureTransport": "false"}})
    (only,) = json.loads(argus("add", "truck-1", "--bucket", "drops", "--without-tls").output)["Statement"]
    assert only == allow


def test_nothing_is_replaced_where_that_is_asked_for() -> None:
    *_, new = json.loads(argus("add", "truck-1", "--bucket", "drops", "--new-only").output)["Statement"]
    assert (new["Effect"], new["Action"]) == ("Deny", ["s3:PutObject"])
    assert new["Condition"] == {
        "Null": {"s3:if-none-match": "true"},
        "Bool": {"s3:ObjectCreationOperation": "true"},
    }


def test_a_users_policy_names_no_principal() -> None:
    document = json.loads(argus("add", "v", "--bucket", "b", "--operator", "arn:o", "--for-user").output)
    assert len(document["Statement"]) == 2
    assert all("Principal" not in statement for statement in document["Statement"])


def test_vehicles_share_the_policy_of_a_bucket(tmp_path) -> None:
    file = tmp_path / "policy.json"
    for vehicle in ("truck-1", "truck.1", "truck-1"):
        assert argus("add", vehicle, "--bucket", "b", "--operator", "arn:o", "--into", str(file)).exit_code == 0
    statements = json.loads(file.read_text())["Statement"]
    assert len({s["Sid"] for s in statements}) == len(statements) == 5
    assert all(s["Sid"].isalnum() for s in statements)
    for number in range(60):
        result = argus("add", f"truck-{number:040d}", "--bucket", "b", "--into", str(file))
        if result.exception is not None:
            break
    assert isinstance(result.exception, BadSetting)
    assert f"at most {MAX_POLICY_BYTES}" in str(result.exception)
    assert len(json.dumps(json.loads(file.read_text()), separators=(",", ":"))) <= MAX_POLICY_BYTES


@pytest.mark.parametrize("vehicle", ["*", "truck_1", "../x", "a/b", "truck-1\n", "${aws:username}"])
def test_no_policy_is_made_for_what_is_no_vehicle(vehicle: str) -> None:
    with pytest.raises(BadSetting):
        vehicle_policy("b", vehicle, "arn")


def test_a_form_is_only_made_for_a_file_inside_a_batch(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARGUS_BUCKET_URL", str(tmp_path))
    for arguments in (("v", "b", "../x"), ("v", "b/c", "x"), ("v_1", "b", "x"), ("v", "b", "x")):
        assert isinstance(argus("form", *arguments).exception, BadSetting)
