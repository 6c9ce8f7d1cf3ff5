"""The audit of the dependencies, against a real server that speaks OSV's protocol: what it finds is never hidden."""

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from argus_assets.runtime.ports import free_port

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "audit.py"
PACKAGES = {f"package-{number:02d}": "1.0" for number in range(30)}
BAD = "package-27"
Audit = Callable[..., tuple[int, str]]


class Service:
    """Has one vulnerability, and does not answer for the packages that are named."""

    def __init__(self) -> None:
        self.silent: set[str] = set()
        self.vulnerable = {BAD}
        self.asked: list[str] = []
        service = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                query = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                name = query["package"]["name"]
                service.asked.append(name)
                if name in service.silent:
                    self.connection.close()
                    return
                answer: dict[str, object] = {}
                if name in service.vulnerable:
                    events = [{"introduced": "0"}, {"fixed": "1.1"}]
                    ranges = [{"type": "ECOSYSTEM", "events": events}]
                    affected = [{"package": {"name": name, "ecosystem": "PyPI"}, "ranges": ranges}]
                    answer = {"vulns": [{"id": "PYSEC-0000-1", "summary": "bad", "affected": affected}]}
                body = json.dumps(answer).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1/query"


@pytest.fixture
def service() -> Iterator[Service]:
    made = Service()
    thread = threading.Thread(target=made.server.serve_forever)
    thread.start()
    yield made
    made.server.shutdown()
    thread.join()
    made.server.server_close()


@pytest.fixture
def audit(tmp_path: Path) -> Audit:
    """Runs the audit as `make audit` does; status and what it says."""
    lock = tmp_path / "requirements.lock"
    lock.write_text("".join(f"{n}=={v} \\\n    --hash=sha256:{'0' * 64}\n    # via x\n" for n, v in PACKAGES.items()))

    def run(url: str, **environment: str) -> tuple[int, str]:
        given = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "ARGUS_AUDIT_OSV_URL": url, **environment}
        done = subprocess.run(
            [sys.executable, str(SCRIPT), str(lock)],
            env=given,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert "Traceback" not in done.stderr, done.stderr
        return done.returncode, done.stdout

    return run


def test_a_vulnerability_fails_the_audit_and_is_named(service: Service, audit: Audit) -> None:
    status, told = audit(service.url)
    assert status == 1
    assert f"{BAD} 1.0: PYSEC-0000-1, mended in 1.1" in told
    assert set(service.asked) == set(PACKAGES)


def test_no_vulnerability_passes(service: Service, audit: Audit) -> None:
    service.vulnerable = set()
    assert audit(service.url) == (0, "audit: 30 of 30 packages audited, 0 vulnerabilities.\n")


def test_a_service_that_fails_for_others_hides_no_vulnerability(service: Service, audit: Audit) -> None:
    service.silent = PACKAGES.keys() - {BAD, "package-00"}
    status, told = audit(service.url)
    assert status == 1
    assert "PYSEC-0000-1" in told
    assert "2 of 30 packages audited, 1 vulnerabilities." in told
    assert told.count("not audited: ") == 28


def test_packages_that_were_not_audited_are_named(service: Service, audit: Audit) -> None:
    service.silent, service.vulnerable = {"package-03"}, set()
    status, told = audit(service.url)
    assert (status, "not audited: package-03 1.0" in told) == (1, True), (
        "where an index answers, all have to be looked at"
    )
    assert audit(service.url, ARGUS_AUDIT="required")[0] == 1


def test_where_nobody_answers_it_says_that_it_could_not_look(audit: Audit) -> None:
    url = f"http://127.0.0.1:{free_port()}/v1/query"
    status, told = audit(url)
    assert status == 0
    assert told.startswith("audit: COULD NOT LOOK: the service answered for none of 30 packages: ")
    assert "audited" not in told
    assert audit(url, ARGUS_AUDIT="required")[0] == 1


def test_the_lock_file_itself_is_read_whole() -> None:
    lock = (SCRIPT.parents[1] / "requirements.lock").read_text()
    program = "import audit, pathlib, sys; print(len(audit.pins(pathlib.Path(sys.argv[1]).read_text())))"
    command = [sys.executable, "-c", program, str(SCRIPT.parents[1] / "requirements.lock")]
    found = subprocess.run(command, cwd=SCRIPT.parent, capture_output=True, text=True, check=True)
    assert int(found.stdout) == sum("==" in line.split(";")[0] for line in lock.splitlines() if line[:1].isalnum())
