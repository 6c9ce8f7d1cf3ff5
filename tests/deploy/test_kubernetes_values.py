"""The Helm values without a cluster: alone, and rendered where Helm and Dagster's chart are.

ARGUS_TEST_DAGSTER_CHART names the chart: a folder, or the .tgz of `helm pull dagster/dagster`. It is rendered by the
program `helm`, or by the package helm-python-sdk.
"""

import json
import os
import shlex
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml
from dagster._core.code_pointer import ModuleCodePointer
from dagster._core.origin import JobPythonOrigin, RepositoryPythonOrigin

from argus_assets.common.capacity import MEMORY_SHARE
from argus_assets.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
MI = {"Mi": 1, "Gi": 1024}
STORAGES = ("run_storage", "event_log_storage", "schedule_storage")
DATABASE = {"postgres": {"postgres_url": {"env": "ARGUS_DATABASE_URL"}}}


@pytest.fixture(scope="module")
def values(deploy: Path) -> dict[str, Any]:
    return yaml.safe_load((deploy / "kubernetes" / "values.yaml").read_text())


@pytest.fixture(scope="module")
def parts(values: dict[str, Any]) -> list[dict[str, Any]]:
    """What has pods that stay: the code server, the webserver, the daemon."""
    return [*values["dagster-user-deployments"]["deployments"], values["dagsterWebserver"], values["dagsterDaemon"]]


@pytest.fixture(scope="module")
def secrets(deploy: Path) -> dict[str, set[str]]:
    """Name of a Secret → its keys."""
    documents = yaml.safe_load_all((deploy / "kubernetes" / "secrets.example.yaml").read_text())
    return {s["metadata"]["name"]: set(s["stringData"]) for s in documents}


@pytest.fixture
def launched(monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Any]]:
    """The Job that dagster-k8s would create for a run."""
    pytest.importorskip("dagster_k8s")
    import kubernetes
    from dagster_k8s import K8sRunLauncher
    from dagster_k8s.job import construct_dagster_k8s_job

    monkeypatch.setattr(kubernetes.config, "load_incluster_config", lambda: None)

    def job(config: Mapping[str, Any], container_context: Mapping[str, Any] | None = None) -> dict[str, Any]:
        launcher = K8sRunLauncher(**config)
        repository = RepositoryPythonOrigin(
            executable_path="python",
            code_pointer=ModuleCodePointer("argus_assets.definitions", "defs"),
            container_image="registry.example.org/argus:0.1.0",
            container_context=container_context,
        )
        run = dg.DagsterRun(job_name="batches", job_code_origin=JobPythonOrigin("batches", repository))
        context = launcher.get_container_context_for_run(run)
        made = construct_dagster_k8s_job(
            job_config=context.get_k8s_job_config(job_image=repository.container_image, run_launcher=launcher),
            args=["dagster", "api", "execute_run", "{}"],
            job_name="dagster-run-1",
            user_defined_k8s_config=context.run_k8s_config,
        )
        plain = kubernetes.client.ApiClient().sanitize_for_serialization(made)
        assert isinstance(plain, dict)
        return plain

    return job


def without_what_the_chart_has(instance: Mapping[str, Any]) -> dict[str, Any]:
    """Of instance settings, what all ways of running Argus share."""
    shared = deepcopy(dict(instance))
    for name in ("storage", *STORAGES, "scheduler", "run_launcher", "compute_logs", "telemetry"):
        shared.pop(name, None)
    assert shared["concurrency"]["runs"].pop("max_concurrent_runs") > 0
    return shared


def links(service: str) -> dict[str, str]:
    """Some of the variables by which Kubernetes names a Service to each pod that starts after it."""
    prefix = service.upper().replace("-", "_")
    return {f"{prefix}_SERVICE_HOST": "10.96.0.7", f"{prefix}_PORT": "tcp://10.96.0.7:4266"}


def is_closed(pod: Mapping[str, Any]) -> None:
    """Nothing in a pod runs as root, or writes to its root."""
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] == 10001
    for container in [*pod.get("initContainers", []), *pod["containers"]]:
        assert container["securityContext"]["readOnlyRootFilesystem"] is True
        assert container["securityContext"]["allowPrivilegeEscalation"] is False
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    mounted = {m["mountPath"]: m["name"] for m in pod["containers"][0]["volumeMounts"]}
    assert {"/var/lib/argus", "/tmp", "/opt/dagster/dagster_home/storage"} <= mounted.keys()
    assert set(mounted.values()) == {v["name"] for v in pod["volumes"]}


def has_what_a_run_needs(job: Mapping[str, Any], secrets: Mapping[str, set[str]]) -> None:
    """Memory, settings, secrets, and no second try by Kubernetes."""
    pod = job["spec"]["template"]["spec"]
    is_closed(pod)
    assert pod["restartPolicy"] == "Never"
    assert job["spec"]["backoffLimit"] == 0
    (container,) = pod["containers"]
    assert container["image"] == "registry.example.org/argus:0.1.0"
    env = {e["name"]: e.get("value", "") for e in container["env"]}
    assert len(env) == len(container["env"])
    limit = container["resources"]["limits"]["memory"]
    assert int(env["ARGUS_RUN_MEMORY_MB"]) == int(int(limit[:-2]) * MI[limit[-2:]] * MEMORY_SHARE)
    assert container["resources"]["requests"]["memory"] == limit
    named = [e["secretRef"]["name"] for e in container["envFrom"] if "secretRef" in e]
    assert "argus" in named
    assert "DAGSTER_PG_PASSWORD" in env
    given = {key: "postgresql://u:p@db/argus" for name in named for key in secrets[name]}
    assert Settings.from_env({**links("argus"), **given, **env}).lake_url == "s3://argus-lake/lake"


def test_the_instance_is_that_of_one_machine(values: dict[str, Any]) -> None:
    expected = without_what_the_chart_has(yaml.safe_load((ROOT / "dagster.yaml").read_text()))
    found = without_what_the_chart_has(values["additionalInstanceConfig"])
    daemon = values["dagsterDaemon"]
    # The chart writes a coordinator in any case.
    assert daemon["runCoordinator"]["enabled"]
    assert daemon["runCoordinator"]["type"] == "CustomRunCoordinator"
    assert daemon["runCoordinator"]["config"]["customRunCoordinator"] == expected.pop("run_coordinator")
    assert found == expected
    # What the chart would write under the same names would stand there twice.
    assert not any(daemon[part]["enabled"] for part in ("runMonitoring", "runRetries"))
    assert not any(daemon[part]["useThreads"] for part in ("sensors", "schedules"))
    assert not any(values[part]["enabled"] for part in ("retention", "concurrency"))


def test_dagster_takes_the_instance(
    values: dict[str, Any], database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ARGUS_DATABASE_URL", database_url)
    coordinator = values["dagsterDaemon"]["runCoordinator"]["config"]["customRunCoordinator"]
    given = {"storage": DATABASE, "run_coordinator": coordinator, **values["additionalInstanceConfig"]}
    (tmp_path / "dagster.yaml").write_text(yaml.safe_dump(given))
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        assert instance.run_monitoring_max_runtime_seconds == 7200
        assert instance.run_retries_max_retries == 3
        assert not instance.run_retries_retry_on_asset_or_op_failure
        config = instance.get_concurrency_config().run_queue_config
        assert config is not None
        assert config.max_concurrent_runs == 8


@pytest.fixture
def config(values: dict[str, Any]) -> dict[str, Any]:
    """The launcher's settings as the chart writes them."""
    given = values["runLauncher"]["config"]["k8sRunLauncher"]
    run = given["runK8sConfig"]
    return {
        "service_account_name": "argus",
        "dagster_home": "/opt/dagster/dagster_home",
        "instance_config_map": "argus-dagster-instance",
        "job_namespace": "argus",
        "postgres_password_secret": values["global"]["postgresqlSecretName"],
        "load_incluster_config": given["loadInclusterConfig"],
        "image_pull_policy": given["imagePullPolicy"],
        "env_secrets": [secret["name"] for secret in given["envSecrets"]],
        "volumes": given["volumes"],
        "volume_mounts": given["volumeMounts"],
        "security_context": given["securityContext"],
        "labels": given["labels"],
        "resources": given["resources"],
        "fail_pod_on_run_failure": given["failPodOnRunFailure"],
        "run_k8s_config": {
            "container_config": run["containerConfig"],
            "pod_spec_config": run["podSpecConfig"],
            "job_spec_config": run["jobSpecConfig"],
        },
    }


def test_the_launcher_takes_its_settings(values: dict[str, Any], config: dict[str, Any]) -> None:
    launcher = pytest.importorskip("dagster_k8s").K8sRunLauncher
    from dagster._config import Shape, validate_config

    assert values["runLauncher"]["type"] == "K8sRunLauncher"
    shape = Shape(launcher.config_type())
    done = validate_config(shape, config)
    assert done.success, done.errors
    assert not validate_config(shape, {**config, "image_pull_polici": "Always"}).success


def test_the_pod_of_a_run_is_the_launchers(
    values: dict[str, Any],
    config: dict[str, Any],
    secrets: dict[str, set[str]],
    launched: Callable[..., dict[str, Any]],
) -> None:
    (deployment,) = values["dagster-user-deployments"]["deployments"]
    # What a code server gives to its runs goes over what the launcher gives, and its resources are its own.
    assert deployment["includeConfigInLaunchedRuns"] == {"enabled": False}
    job = launched(config, {"k8s": {"resources": deployment["resources"]}})
    assert job["spec"]["template"]["spec"]["containers"][0]["resources"] == deployment["resources"]
    has_what_a_run_needs(launched(config), secrets)


def test_every_variable_and_secret_is_known(
    secrets: dict[str, set[str]], parts: list[dict[str, Any]], values: dict[str, Any]
) -> None:
    assert secrets[values["global"]["postgresqlSecretName"]] == {"postgresql-password"}
    sdk = {"AWS_ENDPOINT_URL", "AWS_DEFAULT_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}
    sdk.add("AWS_EC2_METADATA_DISABLED")
    for part in parts:
        env = {e["name"]: e["value"] for e in part["env"]}
        assert all(isinstance(v, str) for v in env.values())
        for source in part["envSecrets"]:
            assert not secrets[source["name"]] & env.keys()
            env |= dict.fromkeys(secrets[source["name"]], "postgresql://u:p@db/argus")
        assert env.keys() <= {*(v.name for v in Settings.variables()), *sdk}
        # The Service of a code server has its name.
        (deployment,) = values["dagster-user-deployments"]["deployments"]
        settings = Settings.from_env({**links(deployment["name"]), **env})
        assert settings.run_memory_mb == int(env["ARGUS_RUN_MEMORY_MB"])


def test_a_secret_is_only_where_it_is_used(secrets: dict[str, set[str]], values: dict[str, Any]) -> None:
    (deployment,) = values["dagster-user-deployments"]["deployments"]
    runs = values["runLauncher"]["config"]["k8sRunLauncher"]
    for part in (deployment, runs):
        given = {key for source in part["envSecrets"] for key in secrets[source["name"]]}
        assert {"ARGUS_DATABASE_URL", "ARGUS_PSEUDONYM_KEY", "AWS_SECRET_ACCESS_KEY"} <= given
    for part in (values["dagsterWebserver"], values["dagsterDaemon"]):
        assert part["envSecrets"] == []


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
        container = {"securityContext": part["securityContext"], "volumeMounts": part["volumeMounts"]}
        pod = {"securityContext": part["podSecurityContext"], "containers": [container], "volumes": part["volumes"]}
        is_closed(pod)


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


class NoKeyTwice(yaml.SafeLoader):
    """YAML as it is meant: a key that stands there twice is a mistake."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Refuses what the base class takes."""
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        assert len(keys) == len(set(keys)), f"twice: {sorted(k for k in keys if keys.count(k) > 1)}"
        return super().construct_mapping(node, deep)


@pytest.fixture(scope="module")
def rendered(deploy: Path) -> list[dict[str, Any]]:
    """The objects of Kubernetes that Helm makes of the chart and the values."""
    chart = os.environ.get("ARGUS_TEST_DAGSTER_CHART")
    if not chart:
        pytest.skip("no chart: ARGUS_TEST_DAGSTER_CHART names what `helm pull dagster/dagster` brings")
    values = deploy / "kubernetes" / "values.yaml"
    if helm := shutil.which("helm"):
        command = [helm, "template", "argus", chart, "--namespace", "argus", "--values", values]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        manifests = [done.stdout]
    else:
        helm_python = pytest.importorskip(
            "helm_python", reason="neither the program helm nor the package helm-python-sdk is installed"
        )
        with helm_python.Chart.load(chart) as loaded:
            made = loaded.render(yaml.safe_load(values.read_text()), name="argus", namespace="argus")
        manifests = [text for template, text in made.items() if template.endswith(".yaml")]
    return [document for text in manifests for document in yaml.load_all(text, NoKeyTwice) if document]


@pytest.fixture(scope="module")
def instance(rendered: list[dict[str, Any]]) -> dict[str, Any]:
    """`dagster.yaml` of all pods."""
    (config_map,) = [o for o in rendered if o["metadata"]["name"] == "argus-dagster-instance"]
    return yaml.load(config_map["data"]["dagster.yaml"], NoKeyTwice)


@pytest.fixture(scope="module")
def pods(rendered: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Deployment → the specification of its pods."""
    return {o["metadata"]["name"]: o["spec"]["template"]["spec"] for o in rendered if o["kind"] == "Deployment"}


def test_rendered_instance_is_that_of_one_machine(
    instance: dict[str, Any], database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = yaml.safe_load((ROOT / "dagster.yaml").read_text())
    assert without_what_the_chart_has(instance) == without_what_the_chart_has(expected)
    assert instance["telemetry"] == expected["telemetry"]
    for storage in STORAGES:
        assert instance[storage]["config"]["postgres_db"]["params"] == {"sslmode": "require"}
    monkeypatch.setenv("ARGUS_DATABASE_URL", database_url)
    with_another_database = {k: v for k, v in instance.items() if k not in STORAGES} | {"storage": DATABASE}
    (tmp_path / "dagster.yaml").write_text(yaml.safe_dump(with_another_database))
    with dg.DagsterInstance.from_config(str(tmp_path)) as taken:
        assert type(taken.run_coordinator).__name__ == "ClockStepTolerantRunCoordinator"
        config = taken.get_concurrency_config().run_queue_config
        assert config is not None
        assert config.max_concurrent_runs == 8


def test_rendered_runs_have_what_they_need(
    instance: dict[str, Any],
    pods: dict[str, dict[str, Any]],
    secrets: dict[str, set[str]],
    launched: Callable[..., dict[str, Any]],
) -> None:
    launcher = pytest.importorskip("dagster_k8s").K8sRunLauncher
    from dagster._config import Shape, validate_config

    config = instance["run_launcher"]["config"]
    done = validate_config(Shape(launcher.config_type()), config)
    assert done.success, done.errors
    (container,) = pods["argus-dagster-user-deployments-argus"]["containers"]
    env = {e["name"]: e.get("value", "") for e in container["env"]}
    context = json.loads(env.get("DAGSTER_CLI_API_GRPC_CONTAINER_CONTEXT", "{}"))
    has_what_a_run_needs(launched(config, context), secrets)


def test_rendered_pods_find_what_they_name(
    rendered: list[dict[str, Any]],
    pods: dict[str, dict[str, Any]],
    secrets: dict[str, set[str]],
    parses: Callable[[Sequence[str]], None],
) -> None:
    services = {o["metadata"]["name"]: o["spec"]["ports"][0]["port"] for o in rendered if o["kind"] == "Service"}
    config_maps = {o["metadata"]["name"] for o in rendered if o["kind"] == "ConfigMap"}
    accounts = {o["metadata"]["name"] for o in rendered if o["kind"] == "ServiceAccount"}
    assert not [o for o in rendered if o["kind"] == "Secret"]
    (workspace,) = [o for o in rendered if o["metadata"]["name"] == "argus-dagster-workspace-yaml"]
    for entry in yaml.safe_load(workspace["data"]["workspace.yaml"])["load_from"]:
        assert services[entry["grpc_server"]["host"]] == entry["grpc_server"]["port"]
    commands = []
    for pod in pods.values():
        is_closed(pod)
        assert pod["serviceAccountName"] in accounts
        assert {v["configMap"]["name"] for v in pod["volumes"] if "configMap" in v} <= config_maps
        (container,) = pod["containers"]
        assert container["resources"]["limits"]["memory"]
        env = {name: value for service in services for name, value in links(service).items()}
        for source in container["envFrom"]:
            if "configMapRef" in source:
                assert source["configMapRef"]["name"] in config_maps
            elif not source["secretRef"].get("optional"):
                env |= dict.fromkeys(secrets[source["secretRef"]["name"]], "postgresql://u:p@db/argus")
        for variable in container["env"]:
            if reference := variable.get("valueFrom"):
                assert reference["secretKeyRef"]["key"] in secrets[reference["secretKeyRef"]["name"]]
            else:
                env[variable["name"]] = variable["value"]
        assert Settings.from_env(env).lake_url == "s3://argus-lake/lake"
        commands.append(container["args"] if "args" in container else shlex.split(container["command"][-1]))
    for command in commands:
        parses([part for part in command if not part.startswith("/dagster-workspace") and part != "-w"])
    programs = sorted((command[0], "--read-only" in command) for command in commands)
    webservers = [("dagster-webserver", False), ("dagster-webserver", True)]
    assert programs == [("dagster", False), ("dagster-daemon", False), *webservers]


def test_rendered_objects_are_those_of_kubernetes(rendered: list[dict[str, Any]]) -> None:
    kubernetes_validate = pytest.importorskip("kubernetes_validate")
    refused: dict[str, str] = {}
    for made in rendered:
        try:
            kubernetes_validate.validate(made, "1.31", strict=True)
        except kubernetes_validate.ValidationError as error:
            refused[f"{made['kind']} {made['metadata']['name']}"] = error.message
    assert refused == {}
