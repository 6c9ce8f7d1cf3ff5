"""The image and the compose file, as far as they can be checked without a container engine."""

import json
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import click
import pytest
import yaml

from argus_assets.drop.policies import vehicle_policy
from argus_assets.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
OURS = ("code", "daemon", "webserver", "viewer", "metrics")
SECRETS = {
    "POSTGRES_PASSWORD": {"postgres", "code", "daemon", "webserver", "viewer", "metrics"},
    "S3_ROOT_PASSWORD": {"s3", "bucket"},
    "S3_SECRET_KEY": {"bucket", "code", "metrics"},
    "ARGUS_PSEUDONYM_KEY": {"code"},
    "ARGUS_LLM_API_KEY": {"code"},
    "ARGUS_WEBHOOKS": {"code"},  # an address may hold a key
    "ARGUS_WEBHOOK_SECRETS": {"code"},
}
"""Variable of `.env` -> the services that use it."""
PIN = re.compile(r"^([A-Za-z0-9._-]+(?:\[[^\]]*\])?==[^ ;\\]+)", re.MULTILINE)
Parses = Callable[[Sequence[str]], None]


@pytest.fixture(scope="module")
def compose(deploy: Path) -> dict[str, Any]:
    return yaml.safe_load((deploy / "compose" / "compose.yaml").read_text())


@pytest.fixture(scope="module")
def dockerfile(deploy: Path) -> list[tuple[str, str]]:
    """Instructions and their arguments."""
    text = (deploy / "Dockerfile").read_text().replace("\\\n", " ")
    return [tuple(line.split(maxsplit=1)) for line in text.splitlines() if line and not line.startswith("#")]  # type: ignore[misc]


def environment_of(deploy: Path) -> dict[str, str]:
    lines = (deploy / "compose" / ".env.example").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))  # type: ignore[misc]


def composed(deploy: Path, folder: Path, values: dict[str, str]) -> subprocess.CompletedProcess[str]:
    (folder / "env").write_text("".join(f"{k}={v}\n" for k, v in values.items()))
    command = ["docker-compose", "-f", str(deploy / "compose" / "compose.yaml"), "--env-file", str(folder / "env")]
    return subprocess.run([*command, "config"], capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.skipif(shutil.which("docker-compose") is None, reason="docker-compose (Debian package) is not installed")
def test_docker_compose_takes_the_file_and_wants_every_secret(deploy: Path, tmp_path: Path) -> None:
    example = environment_of(deploy)
    secrets = {"POSTGRES_PASSWORD", "S3_ROOT_PASSWORD", "S3_SECRET_KEY", "ARGUS_PSEUDONYM_KEY"}
    assert all(example[name] == "" for name in secrets)
    given = {**example, **{name: f"a-{name}" for name in SECRETS}}
    done = composed(deploy, tmp_path, given)
    assert done.returncode == 0, done.stderr
    services = yaml.safe_load(done.stdout)["services"]
    assert services["code"]["environment"]["AWS_SECRET_ACCESS_KEY"] == "a-S3_SECRET_KEY"
    for secret, users in SECRETS.items():
        text = f"a-{secret}"
        found = {n for n, s in services.items() if re.search(rf"{text}(?![A-Z_])", json.dumps(s))}
        assert found == users, secret
    published = {str(port) for service in services.values() for port in service.get("ports", [])}
    ports = ("9000:9000", "3000:3000", "3001:3000", "9464:9464")
    assert published == {f"127.0.0.1:{port}/tcp" for port in ports}
    for name in secrets:
        assert composed(deploy, tmp_path, {**given, name: ""}).returncode != 0, name


def test_every_variable_is_a_setting_or_is_read_by_a_file_beside_it(deploy: Path, compose: dict[str, Any]) -> None:
    workspace = (deploy / "compose" / "workspace.yaml").read_text()
    assert workspace == (deploy / "celery" / "workspace.yaml").read_text()
    sdk = {"AWS_ENDPOINT_URL", "AWS_DEFAULT_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}
    sdk.add("AWS_EC2_METADATA_DISABLED")
    for name in OURS:
        for variable in compose["services"][name]["environment"]:
            known = (
                variable in {v.name for v in Settings.variables()}
                or variable in sdk
                or f"{{env: {variable}}}" in workspace
            )
            assert known, f"{name}: {variable}"
    used = set(re.findall(r"\$\{(\w+)", (deploy / "compose" / "compose.yaml").read_text()))
    assert used | {"COMPOSE_PROJECT_NAME"} == set(environment_of(deploy))
    # An empty variable is no setting: what the example leaves empty stays away.
    empty = {v.name: "" for v in Settings.variables()}
    assert Settings.from_env(empty).llm.model is None


def test_the_parser_of_the_programs_refuses_what_they_would(parses: Parses) -> None:
    with pytest.raises(click.UsageError):
        parses(["argus", "webserver", "--read-only", "--wurkspace", "x"])
    with pytest.raises(click.UsageError):
        parses(["argus", "worker", "--slots", "none"])
    with pytest.raises(click.UsageError):
        parses(["dagster", "api", "grpcc"])


def test_every_command_parses(deploy: Path, compose: dict[str, Any], parses: Parses, tmp_path: Path) -> None:
    # The parser of Dagster looks for the file.
    workspace = str(deploy / "compose" / "workspace.yaml")
    for name in OURS:
        command = [
            c.replace("/etc/argus/dagster/workspace.yaml", workspace) for c in compose["services"][name]["command"]
        ]
        parses(command)
    assert "--read-only" in compose["services"]["viewer"]["command"]
    assert "--read-only" not in compose["services"]["webserver"]["command"]


def test_no_part_of_ours_runs_as_root_or_writes_to_its_root(
    compose: dict[str, Any], dockerfile: list[tuple[str, str]]
) -> None:
    for name in OURS:
        service = compose["services"][name]
        assert service["user"] == dict(dockerfile)["USER"] == "10001:10001"
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        writable = {v.split(":")[1] for v in service["volumes"]} | {t.split(":")[0] for t in service["tmpfs"]}
        assert writable == {"/var/lib/argus", "/etc/argus/dagster/storage", "/tmp"}
        assert "healthcheck" in service
    assert not compose["services"]["code"]["tmpfs"], "copies of recordings are not kept in memory"
    assert {n for n, s in compose["services"].items() if "outside" not in s["networks"]} == {
        "postgres",
        "bucket",
        "daemon",
    }


def test_what_the_dockerfile_copies_is_there_and_is_let_through(dockerfile: list[tuple[str, str]]) -> None:
    ignore = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    assert ignore[0] == "*"
    let_through = {line[1:] for line in ignore if line.startswith("!")}
    copied: set[str] = set()
    for instruction, arguments in dockerfile:
        if instruction == "COPY" and not arguments.startswith("--from"):
            copied |= set(arguments.split()[:-1])
    assert copied == let_through
    assert all((ROOT / path).exists() for path in copied)
    for instruction, arguments in dockerfile:
        if instruction in ("ARG", "ENV"):
            assert not re.search(r"(?i)key|secret|password|token", arguments), arguments


def test_the_command_of_the_image_parses(dockerfile: list[tuple[str, str]], parses: Parses) -> None:
    command = json.loads(dict(dockerfile)["CMD"])
    parses(command)
    # Only on all interfaces do other containers reach it.
    assert command[:2] == ["argus", "code-server"]
    assert command[command.index("--host") + 1] == "0.0.0.0"


def test_the_lock_file_of_the_image_is_part_of_the_lock_file_and_has_what_runs(deploy: Path) -> None:
    image = set(PIN.findall((deploy / "requirements.lock").read_text()))
    whole = set(PIN.findall((ROOT / "requirements.lock").read_text()))
    assert len(image) > 100
    assert image <= whole
    assert len(re.findall(r"--hash=sha256:[0-9a-f]{64}", (deploy / "requirements.lock").read_text())) >= len(image)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    names = {pin.partition("==")[0].partition("[")[0].lower() for pin in image}
    for wanted in (*project["dependencies"], *project["optional-dependencies"]["celery"]):
        assert re.split(r"[^A-Za-z0-9._-]", wanted)[0].lower() in names, wanted
    assert not names & {"pytest", "moto", "playwright", "pyright", "atheris"}


def test_a_secret_is_only_where_it_is_used(deploy: Path, compose: dict[str, Any]) -> None:
    services = compose["services"]
    empty = {name for name, value in environment_of(deploy).items() if not value}
    assert empty - {"ARGUS_LLM_MODEL", "ARGUS_LLM_URL"} == SECRETS.keys()
    for secret, users in SECRETS.items():
        found = {name for name, service in services.items() if f"${{{secret}" in json.dumps(service)}
        assert found == users, secret
    root = {name for name, service in services.items() if "S3_ROOT" in json.dumps(service)}
    assert root == {"s3", "bucket"}


def test_every_container_is_closed_and_bounded(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert "cap_add" not in service, name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["user"].split(":")[0] not in {"0", "root"}, name
        assert re.fullmatch(r"\d+[mg]|\$\{CODE_MEMORY:-\d+g\}", str(service["mem_limit"])), name
        assert 0 < service["pids_limit"] <= 4096, name
        assert service["ulimits"]["nofile"]["hard"] >= 1024, name
        assert not service.get("privileged")
        assert not any("docker.sock" in volume for volume in service.get("volumes", ()))


def test_images_are_exact_versions_and_no_digest_is_made_up(deploy: Path, compose: dict[str, Any]) -> None:
    arguments = re.findall(r"^ARG \w+_IMAGE=(\S+)$", (deploy / "compose/minio/Dockerfile").read_text(), re.MULTILINE)
    images = {service["image"] for service in compose["services"].values()} | set(arguments)
    for image in images:
        tag = image.partition(":")[2]
        assert re.search(r"\d+\.\d+", tag), f"{image} may be another one tomorrow"
        assert "latest" not in tag
    # Of these, releases since the repair of CVE-2025-62506.
    (release,) = re.findall(r"minio/minio@RELEASE\.(\S+)", (deploy / "compose/minio/Dockerfile").read_text())
    assert release >= "2025-10-15T17-29-55Z"


STANDS_IN_FOR_MC = """#!/bin/sh
printf '%s\\n' "$*" >> "$CALLS"
case "$1 $2 $3" in
  "admin policy create") cp "$6" "$POLICY" ;;
  "admin policy attach") exit "${ATTACHED:-0}" ;;
  "admin user info") echo "PolicyName: argus-platform" ;;
esac
"""


@pytest.mark.parametrize("attached", ["0", "1"])
def test_the_store_gives_argus_a_user_that_may_work_in_its_bucket_and_nothing_else(
    deploy: Path, compose: dict[str, Any], tmp_path: Path, attached: str
) -> None:
    program = tmp_path / "mc"
    program.write_text(STANDS_IN_FOR_MC)
    program.chmod(0o755)
    names = compose["services"]["bucket"]["environment"]
    environment = {name: f"a-{name}" for name in names} | {
        "PATH": f"{tmp_path}:/usr/bin:/bin",
        "TMPDIR": str(tmp_path),
        "CALLS": str(tmp_path / "calls"),
        "POLICY": str(tmp_path / "policy.json"),
        "ATTACHED": attached,
    }
    subprocess.run([deploy / "compose/minio/setup.sh"], env=environment, check=True, timeout=30)
    calls = (tmp_path / "calls").read_text().splitlines()
    assert "admin user add s3 a-S3_ACCESS_KEY a-S3_SECRET_KEY" in calls
    assert "admin policy attach s3 argus-platform --user a-S3_ACCESS_KEY" in calls
    assert "mb --ignore-existing s3/a-ARGUS_BUCKET" in calls
    policy = json.loads((tmp_path / "policy.json").read_text())
    allowed = {(action, resource) for s in policy["Statement"] for action in s["Action"] for resource in s["Resource"]}
    assert all(s["Effect"] == "Allow" for s in policy["Statement"])
    assert {resource for _, resource in allowed} == {f"arn:aws:s3:::a-ARGUS_BUCKET{rest}" for rest in ("", "/*")}
    # What the platform's user needs, by the policy that `argus policy --operator` prints.
    statements = vehicle_policy("a-ARGUS_BUCKET", "v", "p", operator="o")["Statement"]
    (needed,) = [set(s["Action"]) for s in statements if s["Sid"] == "Operator"]
    given = {action for action, _ in allowed}
    assert needed <= given
    assert given - needed == {"s3:GetBucketLocation", "s3:ListMultipartUploadParts"}
    assert not any("*" in action for action in given)


def test_the_instance_of_several_hosts_differs_in_what_is_about_workers(deploy: Path) -> None:
    one = yaml.safe_load((ROOT / "dagster.yaml").read_text())
    several = yaml.safe_load((deploy / "celery" / "dagster.yaml").read_text())
    for instance in (one, several):
        del instance["run_launcher"], instance["run_monitoring"]["poll_interval_seconds"]
        del instance["concurrency"]["runs"]["max_concurrent_runs"]
    assert several == one


def test_units_start_what_there_is(deploy: Path, parses: Parses) -> None:
    folder = "systemd"
    example = (deploy / folder / "argus.env.example").read_text()
    offered = set(re.findall(r"^#?([A-Z][A-Z0-9_]+)=", example, re.MULTILINE))
    units = sorted((deploy / folder).glob("*.service"))
    assert len(units) == 7
    for unit in units:
        text = unit.read_text()
        command = re.findall(r"^ExecStart=(.*)$", text, re.MULTILINE)[0]
        assert set(re.findall(r"\$\{(\w+)\}", command)) <= offered
        command = re.sub(r"\$\{\w+PORT\}|%i", "1", command).replace("${ARGUS_CODE_HOST}", "127.0.0.1")
        command = command.replace("/etc/argus/dagster/workspace.yaml", str(deploy / "celery" / "workspace.yaml"))
        parses(command.split())
        assert "User=argus" in text
        assert "ProtectSystem=strict" in text
    known = {
        *(v.name for v in Settings.variables()),
        "ARGUS_REDIS_URL",
        "ARGUS_CODE_HOST",
        "ARGUS_CODE_PORT",
        "DAGSTER_HOME",
    }
    assert {name for name in offered if not name.startswith("AWS_")} <= known


SHUT: Final = (
    "NoNewPrivileges=true", "ProtectSystem=strict", "ProtectHome=true", "ProtectProc=invisible", "PrivateTmp=true",
    "PrivateDevices=true", "RestrictSUIDSGID=true", "RestrictNamespaces=true", "LockPersonality=true", "UMask=0077",
    "CapabilityBoundingSet=", "SystemCallArchitectures=native", "SystemCallFilter=@system-service", "LimitCORE=0",
    "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK", "StateDirectoryMode=0700",
)  # fmt: skip
READS_RECORDINGS: Final = {"argus.service", "argus-worker@.service", "argus-code-server.service"}


def test_units_are_closed_bounded_and_let_readers_shut_themselves_in(deploy: Path) -> None:
    for unit in (deploy / "systemd").glob("*.service"):
        lines = unit.read_text().splitlines()
        assert set(SHUT) <= set(lines), unit.name
        settings = dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))
        assert re.fullmatch(r"\d+(G|%)", settings["MemoryMax"])
        assert int(settings["TasksMax"]) >= 256
        assert int(settings["LimitNOFILE"]) >= 65536
        # No group of the service's has these: without the line a reader could not take its own rights away.
        landlock = "SystemCallFilter=landlock_create_ruleset landlock_add_rule landlock_restrict_self seccomp"
        assert (landlock in lines) == (unit.name in READS_RECORDINGS), unit.name


def test_units_forget_the_secrets_that_they_do_not_use(deploy: Path) -> None:
    example = (deploy / "systemd" / "argus.env.example").read_text()
    assert "mode 0600, owner root" in example
    code_only = set(SECRETS) & {"ARGUS_PSEUDONYM_KEY", "ARGUS_LLM_API_KEY", "ARGUS_WEBHOOKS", "ARGUS_WEBHOOK_SECRETS"}
    for unit in (deploy / "systemd").glob("*.service"):
        (forgotten,) = re.findall(r"^UnsetEnvironment=(.*)$", unit.read_text(), re.MULTILINE) or [""]
        names = set(forgotten.split())
        assert names == set() if unit.name in READS_RECORDINGS else code_only <= names
        store = {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}
        parts_without_store = {f"argus-{part}.service" for part in ("daemon", "webserver", "viewer")}
        assert (store <= names) == (unit.name in parts_without_store)


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
def test_systemd_takes_the_units(deploy: Path, tmp_path: Path) -> None:
    for unit in (deploy / "systemd").glob("*.service"):
        made = tmp_path / unit.name.replace("@", "@1")
        made.write_text(re.sub(r"ExecStart=\S+", f"ExecStart={sys.executable}", unit.read_text()))
        done = subprocess.run(
            ["systemd-analyze", "verify", str(made)], capture_output=True, text=True, timeout=60, check=False
        )
        told = [line for line in done.stderr.splitlines() if unit.stem.strip("@") in line]
        assert not told, told
