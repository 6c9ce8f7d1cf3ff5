"""The UI that only shows, the healthchecks of the containers, and nginx with a login before both."""

import base64
import json
import os
import re
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psycopg2
import pytest
import yaml

from argus_assets.runtime.child import Child
from argus_assets.runtime.connection import settings_for
from argus_assets.runtime.ports import free_port
from argus_assets.runtime.supervisor import Supervisor

pytestmark = [pytest.mark.integration, pytest.mark.timeout(240)]

MUTATION = """mutation { addDynamicPartition(partitionsDefName: "batches", partitionKey: "%s", repositorySelector:
    {repositoryLocationName: "argus", repositoryName: "__repository__"}) { __typename } }"""


@pytest.fixture(scope="module")
def platform(postgres: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Supervisor]:
    home = tmp_path_factory.mktemp("viewer") / "home"
    connection = psycopg2.connect(postgres)
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute("CREATE DATABASE viewer")
    outside = {k: v for k, v in os.environ.items() if not k.startswith(("ARGUS_", "AWS_", "DAGSTER_"))}
    outside |= {"DAGSTER_DISABLE_TELEMETRY": "yes"}
    given = {**outside, "ARGUS_DATABASE_URL": postgres.replace("/argus?", "/viewer?"), "ARGUS_PORT": "0"}
    made = Supervisor(settings_for(home, given), viewer_port=0, code_port=free_port(), environment=outside)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ARGUS_DATABASE_URL", given["ARGUS_DATABASE_URL"])
        made.start()
        try:
            yield made
        finally:
            made.stop()
    with connection.cursor() as cursor:
        cursor.execute("DROP DATABASE viewer WITH (FORCE)")
    connection.close()


def ask(
    url: str, query: str | None = None, *, body: bytes | None = None, login: str | None = None, **headers: str
) -> tuple[int, str]:
    """Status and text of a request; a GraphQL one when there is a query."""
    if query is not None:
        url, body = f"{url}/graphql", json.dumps({"query": query}).encode()
    if body is not None:
        headers["Content-Type"] = "application/json"
    if login is not None:
        headers["Authorization"] = "Basic " + base64.b64encode(login.encode()).decode()
    request = urllib.request.Request(url, data=body, headers={k.replace("_", "-"): v for k, v in headers.items()})
    try:
        with urllib.request.urlopen(request, timeout=30, context=_any_certificate()) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def _any_certificate() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def acted(platform: Supervisor, key: str) -> bool:
    """Whether the mutation with this key was carried out."""
    with platform.instance() as instance:
        return instance.has_dynamic_partition("batches", key)


def test_the_viewer_shows_and_does_not_act(platform: Supervisor) -> None:
    assert platform.viewer_url is not None
    names = "{ repositoriesOrError { ... on RepositoryConnection { nodes { jobs { name } } } } }"
    assert ask(platform.viewer_url, names) == ask(platform.ui_url, names)
    assert "batch_job" in ask(platform.viewer_url, names)[1]

    status, text = ask(platform.viewer_url, MUTATION % "by_viewer")
    assert "UnauthorizedError" in text, (status, text)
    assert not acted(platform, "by_viewer")
    status, text = ask(platform.ui_url, MUTATION % "by_operator")
    assert "AddDynamicPartitionSuccess" in text, (status, text)
    assert acted(platform, "by_operator")

    # What reports an event without GraphQL.
    report = "/report_asset_observation/outside"
    assert ask(platform.viewer_url + report, body=b"{}")[0] in (401, 403)
    assert ask(platform.ui_url + report, body=b"{}")[0] == 200


def test_a_page_of_another_site_cannot_act_through_a_browser_on_this_machine(platform: Supervisor) -> None:
    """Without a proxy: what an image, a form, a script and a name that leads here (DNS rebinding) would send."""

    def got(key: str, **headers: str) -> int:
        return ask(f"{platform.ui_url}/graphql?{urllib.parse.urlencode({'query': MUTATION % key})}", **headers)[0]

    own = platform.ui_url
    assert got("image", Sec_Fetch_Site="cross-site") == 403
    assert got("old-image") == 403
    assert ask(own, MUTATION % "script", Origin="http://elsewhere.example")[0] == 403
    assert ask(own, MUTATION % "script", Sec_Fetch_Site="same-site")[0] == 403
    assert ask(own, MUTATION % "rebound", Host="elsewhere.example", Sec_Fetch_Site="same-origin")[0] == 403
    assert ask(f"{own}/runs", Host=f"elsewhere.example:{platform.port}")[0] == 403
    for key in ("image", "old-image", "script", "rebound"):
        assert not acted(platform, key)
    # The UI's own page, opened under either name of loopback, and a program.
    for key, host in (("page-1", f"127.0.0.1:{platform.port}"), ("page-2", f"localhost:{platform.port}")):
        said = {"Host": host, "Origin": f"http://{host}", "Sec_Fetch_Site": "same-origin"}
        assert ask(own, MUTATION % key, **said)[0] == 200
        assert acted(platform, key)
    assert ask(own, MUTATION % "program")[0] == 200


@pytest.mark.parametrize(("origin", "first"), [(None, b"101"), ("own", b"101"), ("http://elsewhere.example", b"403")])
def test_a_page_of_another_site_cannot_subscribe(platform: Supervisor, origin: str | None, first: bytes) -> None:
    said = f"http://127.0.0.1:{platform.port}" if origin == "own" else origin
    lines = [
        "GET /graphql HTTP/1.1", f"Host: 127.0.0.1:{platform.port}", "Upgrade: websocket", "Connection: Upgrade",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Protocol: graphql-ws", *([f"Origin: {said}"] if said else []),
    ]  # fmt: skip
    with socket.create_connection(("127.0.0.1", platform.port), timeout=20) as connection:
        connection.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
        assert connection.recv(4096).split()[1] == first


def test_the_viewer_listens_on_loopback_only(platform: Supervisor) -> None:
    listening = subprocess.run(["ss", "-ltnH"], capture_output=True, text=True, check=True).stdout
    assert re.findall(rf"(\S+):{platform.viewer_port}\s", listening) == ["127.0.0.1"]


@pytest.mark.parametrize("service", ["code", "daemon", "webserver", "viewer"])
def test_the_healthcheck_of_a_container_passes_and_can_fail(deploy: Path, platform: Supervisor, service: str) -> None:
    compose = yaml.safe_load((deploy / "compose" / "compose.yaml").read_text())
    mode, program, *rest = compose["services"][service]["healthcheck"]["test"]
    assert mode == "CMD"
    programs = Path(sys.executable).parent
    command = [str(programs / program), *rest]
    right = {"code": ("4266", platform.code_port), "webserver": ("3000", platform.port)}
    right["viewer"] = ("3000", platform.viewer_port)

    def run(port: object, home: Path) -> int:
        usual = right.get(service, ("", ""))[0]
        asked = [part.replace(usual, str(port)) if usual else part for part in command]
        environment = {**platform.environment, "DAGSTER_HOME": str(home)}
        done = subprocess.run(asked, env=environment, capture_output=True, timeout=60, check=False)
        return done.returncode

    assert run(right.get(service, ("", ""))[1], platform.dagster_home) == 0
    if service != "daemon":
        assert run(free_port(), platform.dagster_home) != 0


@pytest.fixture(scope="module")
def public_folder() -> Iterator[Path]:
    """A folder that another user reaches too: nginx's workers read the passwords in it."""
    with tempfile.TemporaryDirectory(prefix="argus-proxy-") as folder:
        Path(folder).chmod(0o711)
        yield Path(folder)


@pytest.fixture(scope="module")
def proxy(platform: Supervisor, deploy: Path, public_folder: Path) -> Iterator[tuple[str, str]]:
    """Addresses of the operators' and the viewers' UI behind nginx."""
    if shutil.which("nginx") is None:
        pytest.skip("nginx (Debian package) is not installed")
    folder, ports = public_folder, (free_port(), free_port())
    text = (deploy / "proxy" / "argus.conf").read_text()
    text = text.replace("127.0.0.1:3000", f"127.0.0.1:{platform.port}")
    text = text.replace("127.0.0.1:3001", f"127.0.0.1:{platform.viewer_port}").replace("/etc/argus/", f"{folder}/")
    for port in ports:
        text = text.replace("listen 443 ssl;", f"listen 127.0.0.1:{port} ssl;", 1)
    (folder / "tls").mkdir()
    for name, person in (("operators", "alice"), ("viewers", "bob")):
        command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost"]
        command += ["-keyout", f"{folder}/tls/{name}.key", "-out", f"{folder}/tls/{name}.pem"]
        subprocess.run(command, check=True, capture_output=True)
        hashed = subprocess.run(
            ["openssl", "passwd", "-6", f"pass-of-{person}"], check=True, capture_output=True, text=True
        )
        (folder / f"{name}.htpasswd").write_text(f"{person}:{hashed.stdout}")
        (folder / f"{name}.htpasswd").chmod(0o644)
    user = "user www-data;\n" if os.getuid() == 0 else ""
    temporary = "".join(
        f"{kind}_temp_path {folder}/{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    main = (
        f"{user}pid {folder}/pid;\nerror_log {folder}/error.log;\ndaemon off;\nevents {{}}\nhttp {{\naccess_log off;\n"
    )
    (folder / "nginx.conf").write_text(f"{main}{temporary}{text}}}\n")
    checked = subprocess.run(["nginx", "-t", "-c", f"{folder}/nginx.conf"], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr
    child = Child("nginx", ["nginx", "-c", f"{folder}/nginx.conf"], "", folder / "nginx.log")
    child.start(os.environ)
    try:
        deadline = time.monotonic() + 15
        for port in ports:
            while True:
                with socket.socket() as probe:
                    if probe.connect_ex(("127.0.0.1", port)) == 0:
                        break
                assert child.alive(), child.tail()
                assert time.monotonic() < deadline
                time.sleep(0.05)
        yield f"https://127.0.0.1:{ports[0]}", f"https://127.0.0.1:{ports[1]}"
    finally:
        child.stop()


ALICE, BOB = "alice:pass-of-alice", "bob:pass-of-bob"


def test_nobody_comes_in_without_a_login(proxy: tuple[str, str]) -> None:
    operators, viewers = proxy
    for url, own, other in ((operators, ALICE, BOB), (viewers, BOB, ALICE)):
        for path in ("/server_info", "/graphql?query={version}", "/runs"):
            assert ask(url + path)[0] == 401
            assert ask(url + path, login="alice:guess")[0] == 401
            assert ask(url + path, login=other)[0] == 401
            assert ask(url + path, login=own)[0] == 200


def test_an_operator_acts_through_the_proxy_and_a_viewer_does_not(proxy: tuple[str, str], platform: Supervisor) -> None:
    operators, viewers = proxy
    ask(viewers, MUTATION % "bob_wants", login=BOB)
    assert not acted(platform, "bob_wants")
    assert ask(operators, MUTATION % "alice_wants", login=ALICE)[0] == 200
    assert acted(platform, "alice_wants")


def test_a_page_of_another_site_cannot_act_with_the_login_of_a_person(
    proxy: tuple[str, str], platform: Supervisor
) -> None:
    operators, _ = proxy
    for origin, status in (("cross-site", 403), ("same-site", 403), ("same-origin", 200)):
        key = origin.replace("-", "_")
        assert ask(operators, MUTATION % key, login=ALICE, Sec_Fetch_Site=origin)[0] == status
        assert acted(platform, key) is (status == 200)
    own = operators.partition("//")[2]
    for origin, status in (("https://elsewhere.example", 403), (f"https://{own}.example", 403), (operators, 200)):
        key = origin.partition("//")[2].replace(":", "-").replace(".", "-")
        assert ask(operators, MUTATION % key, login=ALICE, Origin=origin)[0] == status
        assert acted(platform, key) is (status == 200)
    # A link from elsewhere opens the UI.
    assert ask(f"{operators}/runs", login=ALICE, Sec_Fetch_Site="cross-site")[0] == 200


@pytest.mark.parametrize("which", [0, 1])
def test_subscriptions_pass(proxy: tuple[str, str], which: int) -> None:
    port = int(proxy[which].rpartition(":")[2])
    login = base64.b64encode((ALICE, BOB)[which].encode()).decode()
    lines = [
        "GET /graphql HTTP/1.1", "Host: 127.0.0.1", "Upgrade: websocket", "Connection: Upgrade",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Protocol: graphql-ws", f"Authorization: Basic {login}",
    ]  # fmt: skip
    for sent, expected in ((lines, b"HTTP/1.1 101"), (lines[:-1], b"HTTP/1.1 401")):
        with (
            socket.create_connection(("127.0.0.1", port), timeout=20) as plain,
            _any_certificate().wrap_socket(plain) as secured,
        ):
            secured.sendall(("\r\n".join(sent) + "\r\n\r\n").encode())
            assert secured.recv(4096).startswith(expected)
