"""The Helm values, as far as they can be checked without a cluster and without Helm."""

from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml

from argus_assets.capacity import MEMORY_SHARE
from argus_assets.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
MI = {"Mi": 1, "Gi": 1024}


@pytest.fixture(scope="module")
def values(deploy: Path) -> dict[str, Any]:
    return yaml.safe_load((deploy / "kubernetes" / "values.yaml").read_text())


@pytest.fixture(scope="module")
def parts(values: dict[str, Any]) -> list[dict[str, Any]]:
    """What has pods that stay: the code server, the webserver, the daemon."""
    return [*values["dagster-user-deployments"]["deployments"], values["dagsterWebserver"], values["dagsterDaemon"]]


def test_the_instance_is_that_of_one_machine(values: dict[str, Any]) -> None:
    expected = yaml.safe_load((ROOT / "dagster.yaml").read_text())
    for taken_by_the_chart in ("storage", "run_launcher", "telemetry"):
        del expected[taken_by_the_chart]
    found = deepcopy(values["additionalInstanceConfig"])
    assert found["concurrency"]["runs"].pop("max_concurrent_runs") > 0
    del expected["concurrency"]["runs"]["max_concurrent_runs"]
    assert found == expected
    # What the chart would write under the same names would stand there twice.
    daemon = values["dagsterDaemon"]
    assert not any(daemon[part]["enabled"] for part in ("runCoordinator", "runMonitoring", "runRetries"))
    assert not any(daemon[part]["useThreads"] for part in ("sensors", "schedules"))
    assert not values["retention"]["enabled"]


def test_dagster_takes_the_instance(
    values: dict[str, Any], database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ARGUS_DATABASE_URL", database_url)
    storage = {"storage": {"postgres": {"postgres_url": {"env": "ARGUS_DATABASE_URL"}}}}
    (tmp_path / "dagster.yaml").write_text(yaml.safe_dump({**storage, **values["additionalInstanceConfig"]}))
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        assert instance.run_monitoring_max_runtime_seconds == 7200
        assert instance.run_retries_max_retries == 3
        assert not instance.run_retries_retry_on_asset_or_op_failure
        config = instance.get_concurrency_config().run_queue_config
        assert config is not None
        assert config.max_concurrent_runs == 8


def test_the_launcher_takes_its_settings(values: dict[str, Any]) -> None:
    launcher = pytest.importorskip("dagster_k8s").K8sRunLauncher
    from dagster._config import Shape, validate_config

    given = values["runLauncher"]["config"]["k8sRunLauncher"]
    assert values["runLauncher"]["type"] == "K8sRunLauncher"
    run = given["runK8sConfig"]
    config = {
        "service_account_name": "argus",
        "dagster_home": "/opt/dagster/dagster_home",
        "instance_config_map": "argus-instance",
        "postgres_password_secret": values["global"]["postgresqlSecretName"],
        "load_incluster_config": given["loadInclusterConfig"],
        "image_pull_policy": given["imagePullPolicy"],
        "labels": given["labels"],
        "resources": given["resources"],
        "fail_pod_on_run_failure": given["failPodOnRunFailure"],
        "run_k8s_config": {
            "pod_spec_config": run["podSpecConfig"],
            "job_spec_config": run["jobSpecConfig"],
        },
    }
    shape = Shape(launcher.config_type())
    done = validate_config(shape, config)
    assert done.success, done.errors
    assert not validate_config(shape, {**config, "image_pull_polici": "Always"}).success


def test_every_variable_and_secret_is_known(deploy: Path, parts: list[dict[str, Any]], values: dict[str, Any]) -> None:
    secrets = {
        s["metadata"]["name"]: set(s["stringData"])
        for s in yaml.safe_load_all((deploy / "kubernetes" / "secrets.example.yaml").read_text())
    }
    assert secrets[values["global"]["postgresqlSecretName"]] == {"postgresql-password"}
    sdk = {"AWS_ENDPOINT_URL", "AWS_DEFAULT_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}
    sdk.add("AWS_EC2_METADATA_DISABLED")
    for part in parts:
        env = {e["name"]: e["value"] for e in part["env"]}
        assert all(isinstance(v, str) for v in env.values())
        for source in part["envSecrets"]:
            assert not secrets[source["name"]] & env.keys()
            env |= dict.fromkeys(secrets[source["name"]], "postgresql://u:p@db/argus")
        assert env.keys() <= {*Settings.variables().values(), *sdk}
        assert {"ARGUS_DATABASE_URL", "ARGUS_PSEUDONYM_KEY", "ARGUS_LAKE_URL"} <= env.keys()
        assert Settings.from_env(env).run_memory_mb == int(env["ARGUS_RUN_MEMORY_MB"])


def test_no_secret_stands_in_the_files(deploy: Path) -> None:
    def strings(value: Any, name: str) -> Iterator[tuple[str, str]]:
        if isinstance(value, dict):
            for key, inner in value.items():
                yield from strings(inner, key)
        elif isinstance(value, str):
            yield name, value

    for secret in yaml.safe_load_all((deploy / "kubernetes" / "secrets.example.yaml").read_text()):
        assert {text for _, text in strings(secret["stringData"], "")} == {""}
    assert "postgresqlPassword" not in (deploy / "kubernetes" / "values.yaml").read_text()


def test_a_run_takes_no_more_than_its_pod_has(values: dict[str, Any], parts: list[dict[str, Any]]) -> None:
    limit = values["runLauncher"]["config"]["k8sRunLauncher"]["resources"]["limits"]["memory"]
    limit_mb = int(limit[:-2]) * MI[limit[-2:]]
    for part in parts:
        taken_mb = int(next(e["value"] for e in part["env"] if e["name"] == "ARGUS_RUN_MEMORY_MB"))
        assert taken_mb == int(limit_mb * MEMORY_SHARE)
        assert part["resources"]["limits"]["memory"]


def test_nothing_runs_as_root_and_what_is_written_to_is_mounted(parts: list[dict[str, Any]]) -> None:
    for part in parts:
        assert part["podSecurityContext"]["runAsNonRoot"] is True
        assert part["podSecurityContext"]["runAsUser"] == 10001
        assert part["securityContext"]["readOnlyRootFilesystem"] is True
        assert part["securityContext"]["allowPrivilegeEscalation"] is False
        assert part["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        mounted = {m["name"]: m["mountPath"] for m in part["volumeMounts"]}
        assert set(mounted) == {v["name"] for v in part["volumes"]}
        assert set(mounted.values()) == {"/var/lib/argus", "/tmp", "/opt/dagster/dagster_home/storage"}


def test_the_code_server_is_started_with_options_it_has(
    values: dict[str, Any], parses: Callable[[Sequence[str]], None]
) -> None:
    (deployment,) = values["dagster-user-deployments"]["deployments"]
    # The chart gives host and port itself.
    rest = ["-h", "0.0.0.0", "-p", str(deployment["port"])]
    parses(["dagster", "api", "grpc", *rest, *deployment["dagsterApiGrpcArgs"]])
    webserver = values["dagsterWebserver"]
    assert webserver["service"]["port"] == webserver["readinessProbe"]["httpGet"]["port"] >= 1024
    assert webserver["enableReadOnly"] is True
