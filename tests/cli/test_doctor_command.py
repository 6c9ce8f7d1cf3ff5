"""`argus doctor`: every failure is found, named, and has a remedy."""

import json
import socket
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from argus_assets.cli import root
from argus_assets.runtime.embedded.s3 import S3Server

pytestmark = pytest.mark.wiring


def doctor(home: Path, expect: int, **environment: str) -> dict[str, dict[str, Any]]:
    result = CliRunner().invoke(root, ["doctor", "--home", str(home), "--json"], env=environment)
    found = {finding["check"]: finding for finding in json.loads(result.output)}
    assert result.exit_code == expect, result.output
    for finding in found.values():
        assert (finding["state"] == "ok") == (finding["help"] == ""), "what is wrong has a remedy"
    return found


def test_a_sound_setting_passes(tmp_path: Path, postgres: str, moto_server: S3Server) -> None:
    found = doctor(
        tmp_path / "home",
        0,
        ARGUS_DATABASE_URL=postgres,
        ARGUS_BUCKET_URL=moto_server.url,
        ARGUS_PORT="0",
        **moto_server.environment(),
    )
    assert {f["state"] for f in found.values()} == {"ok"}, found
    assert "PostgreSQL 18" in found["database"]["found"]
    assert "pgvector" in found["database"]["found"]


def test_each_failure_is_found(tmp_path: Path) -> None:
    found = doctor(
        tmp_path / "home",
        1,
        ARGUS_DATABASE_URL="postgresql://jo:secret@127.0.0.1:9/d",
        ARGUS_BUCKET_URL="s3://nowhere",
        ARGUS_PORT="0",
        AWS_ENDPOINT_URL="http://127.0.0.1:9",
        AWS_ACCESS_KEY_ID="a",
        AWS_SECRET_ACCESS_KEY="b",
        AWS_DEFAULT_REGION="us-east-1",
        AWS_MAX_ATTEMPTS="1",
    )
    assert found["database"]["state"] == "fail"
    assert found["bucket"]["state"] == "fail"
    assert found["clock"]["state"] == "warn"
    assert found["lake"]["state"] == "ok", "a failure does not hide what works"
    assert found["definitions"]["state"] == "ok"
    assert "secret" not in json.dumps(found)


def test_declared_decoders_are_tried(tmp_path: Path, postgres: str) -> None:
    path = tmp_path / "decoders.toml"
    declared = """
[[decoder]]
name = "acme"
version = 3
magic = "41"
command = ["{}", "{{input}}", "{{output_dir}}"]
[[decoder.output]]
files = "*"
format = "csv"
table = "topic"
columns.timestamp = {{ column = "t", unit = "s" }}
"""
    environment = {"ARGUS_DATABASE_URL": postgres, "ARGUS_PORT": "0", "ARGUS_DECODERS": str(path)}
    path.write_text(declared.format("cat"))
    found = doctor(tmp_path / "home", 0, **environment)["decoders"]
    assert found["found"] == "acme/3; network taken away by seccomp"
    path.write_text(declared.format("./rec2csv"))
    found = doctor(tmp_path / "home", 1, **environment)["decoders"]
    assert (found["state"], found["found"]) == ("fail", f"acme: {tmp_path}/rec2csv does not exist")
    path.write_text("[[decoder]]\nname = 1")
    found = doctor(tmp_path / "home", 1, **environment)["decoders"]
    assert str(path) in found["found"]


def test_the_configuration_of_faults_is_read(tmp_path: Path, postgres: str) -> None:
    path = tmp_path / "faults.toml"
    environment = {"ARGUS_DATABASE_URL": postgres, "ARGUS_PORT": "0", "ARGUS_FAULTS": str(path)}
    path.write_text('[detectors]\ndisable = ["RULE_DISK_LATENCY"]\n')
    found = doctor(tmp_path / "home", 0, **environment)["faults"]
    assert found["found"].startswith("3 rules, 0 signals of DBC files; no plug-in; version ")
    path.write_text("[[rule]]\nkind = 1")
    found = doctor(tmp_path / "home", 1, **environment)["faults"]
    assert (found["state"], str(path) in found["found"]) == ("fail", True)


def test_a_wrong_setting_is_told(tmp_path: Path) -> None:
    found = doctor(tmp_path, 1, ARGUS_PORT="http")
    assert found["settings"]["state"] == "fail"
    assert "ARGUS_PORT" in found["settings"]["found"]


def test_a_port_in_use_is_a_warning(tmp_path: Path, postgres: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        found = doctor(tmp_path / "home", 0, ARGUS_DATABASE_URL=postgres, ARGUS_PORT=port)
    assert found["ui port"]["state"] == "warn"
    assert port in found["ui port"]["found"]


def test_people_get_a_table(tmp_path: Path, postgres: str) -> None:
    result = CliRunner().invoke(
        root,
        ["doctor", "--home", str(tmp_path / "home")],
        env={"ARGUS_DATABASE_URL": postgres, "ARGUS_PORT": "0", "COLUMNS": "120"},
    )
    assert result.exit_code == 0
    assert "database" in result.output
    assert "PostgreSQL 18" in result.output
