"""`make audit`: ask whether the locked dependencies have known vulnerabilities.

Exit status 1 when one has, whatever else happened, and when the service answers but not for every package: then nobody
has looked at the others. Where it answers for no package at all (there is no network, or a mirror without its data says
"not found" for each, which pip-audit by itself takes for a pass), it could not look: that is said and the status is 0; with
ARGUS_AUDIT=required it is 1. ARGUS_AUDIT_OSV_URL names an OSV server to ask instead of the default.
"""

import os
import re
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import requests
from packaging.version import Version
from pip_audit._service import OsvService, PyPIService, ResolvedDependency, ServiceError, VulnerabilityService

PIN = re.compile(r"^([A-Za-z0-9._-]+)(?:\[[^\]]*\])?==([^ ;\\]+)", re.MULTILINE)
ATTEMPTS = 3
PROBES = 16
AT_ONCE = 8
TIMEOUT_S = 15
ACCEPTED: dict[str, str] = {}
"""Identifier of a vulnerability -> why it does not concern Argus."""


@dataclass(frozen=True)
class Answer:
    """What the service says of one package.

    Attributes:
        found: Identifiers of its vulnerabilities, and the versions that mend each.
        problem: Why it could not be asked, `None` when it was.
        unreachable: Whether the service did not answer.
    """

    package: str
    found: tuple[tuple[str, str], ...] = ()
    problem: str | None = None
    unreachable: bool = False


def pins(lock: str) -> list[tuple[str, str]]:
    """Name and version of all packages of a lock file."""
    return PIN.findall(lock)


def ask(service: VulnerabilityService, name: str, version: str) -> Answer:
    """Ask the service about one package, again when it does not answer."""
    problem = ""
    for _ in range(ATTEMPTS):
        try:
            asked, found = service.query(ResolvedDependency(name, Version(version)))
        except (ServiceError, requests.RequestException) as error:
            problem = str(error) or type(error).__name__
            continue
        if asked.is_skipped():
            return Answer(f"{name} {version}", problem=str(getattr(asked, "skip_reason", "skipped")))
        known = [v for v in found if not ACCEPTED.keys() & {v.id, *v.aliases}]
        told = tuple((v.id, ", ".join(map(str, v.fix_versions)) or "no version yet") for v in known)
        return Answer(f"{name} {version}", told)
    return Answer(f"{name} {version}", problem=problem, unreachable=True)


def judge(answers: Sequence[Answer], *, packages: int, required: bool) -> tuple[list[str], int]:
    """What to say, and the exit status.

    Args:
        answers: Of those packages that the service was asked about.
        packages: How many there are.
        required: Fail when nobody answers.
    """
    lines = [f"{a.package}: {found}, mended in {fixed}" for a in answers for found, fixed in a.found]
    silent = [a for a in answers if a.problem is not None]
    if len(silent) == len(answers):
        lines.append(
            f"COULD NOT LOOK: the service answered for none of {packages} packages: {silent[0].problem}. "
            "Whether they have known vulnerabilities is not known."
        )
        return lines, int(required)
    status = int(bool(lines or silent))
    lines.append(f"{packages - len(silent)} of {packages} packages audited, {len(lines)} vulnerabilities.")
    lines += [f"not audited: {a.package}: {a.problem}" for a in silent]
    return lines, status


def main(lock: Path) -> int:
    """Audit a lock file; returns the exit status."""
    url = os.environ.get("ARGUS_AUDIT_OSV_URL")
    service = OsvService(None, TIMEOUT_S, osv_url=url) if url else PyPIService(None, TIMEOUT_S)
    packages = pins(lock.read_text())
    if not packages:
        print(f"{lock} names no package.")
        return 1
    with ThreadPoolExecutor(AT_ONCE) as pool:
        answers = list(pool.map(lambda p: ask(service, *p), packages[:PROBES]))
        # Where nobody answers at all, that is known by now.
        if not all(a.unreachable for a in answers):
            answers += pool.map(lambda p: ask(service, *p), packages[PROBES:])
    lines, status = judge(answers, packages=len(packages), required=os.environ.get("ARGUS_AUDIT") == "required")
    print("\n".join(f"audit: {line}" for line in lines))
    return status


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
