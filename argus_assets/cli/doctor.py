"""`argus doctor`: check every connection and setting, and say what to do about each failure."""

import os
import shutil
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import version
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

import click

from argus_assets.cli.context import bucket_of, connected, lake_of, settings_of
from argus_assets.cli.options import home_option, json_option
from argus_assets.cli.output import counted, print_json, table, terminal
from argus_assets.common.texts import rich_text
from argus_assets.errors import ArgusError

if TYPE_CHECKING:
    from argus_assets.settings import Settings

MIN_FREE_BYTES: Final = 2 * 1024**3
MAX_CLOCK_OFFSET_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check.

    Attributes:
        state: `ok`, `warn` (works, but deserves attention) or `fail`.
        help: What to do, empty when there is nothing to do.
    """

    check: str
    state: Literal["ok", "warn", "fail"]
    found: str
    help: str = ""


@click.command()
@home_option
@json_option
def doctor(home: Path | None, as_json: bool) -> None:
    """Check every connection and setting. Exits with 1 if a check fails."""
    from rich.text import Text

    findings = run_checks(home)
    if as_json:
        print_json([asdict(f) for f in findings])
    else:
        made = table("", "check", "found")
        styles = {"ok": "green", "warn": "yellow", "fail": "bold red"}
        for f in findings:
            text = rich_text(f.found)
            if f.help:
                text.append(f"\n→ {f.help}", style="bold")
            made.add_row(Text(f.state, style=styles[f.state]), f.check, text)
        terminal().print(made)
    if any(f.state == "fail" for f in findings):
        raise SystemExit(1)


def run_checks(home: Path | None) -> list[Finding]:
    """Run all checks, in the order in which they depend on each other. None raises."""
    findings = [_check("python", _python), _check("packages", _packages)]
    try:
        settings = settings_of(home)
    except ArgusError as error:
        return [*findings, Finding("settings", "fail", error.what, error.help)]
    findings.append(
        Finding(
            "settings",
            "ok",
            ", ".join(f"{k}={v}" for k, v in settings.environment(hide=True).items() if k != "ARGUS_DATABASE_URL"),
        )
    )
    findings += [
        _check("home", lambda: _home(settings)),
        _check("database", lambda: _database(settings)),
        _check("bucket", lambda: _bucket(settings)),
        _check("lake", lambda: _lake(settings)),
        _check("decoders", lambda: _decoders(settings)),
        _check("readers", lambda: _readers(settings)),
        _check("faults", lambda: _faults(settings)),
        _check("webhooks", lambda: _webhooks(settings)),
        _check("clock", lambda: _clock(settings)),
        _check("ui port", lambda: _port(settings)),
        _check("definitions", lambda: _definitions(settings)),
        _check("platform", lambda: _platform(settings)),
        _check("inbox", lambda: _inbox(settings)),
    ]
    return findings


def _check(name: str, check: Callable[[], Finding]) -> Finding:
    try:
        return check()
    except ArgusError as error:
        return Finding(name, "fail", error.what, error.help)
    except Exception as error:  # noqa: BLE001 - a check that breaks is a finding, not an end
        return Finding(
            name, "fail", f"{type(error).__name__}: {error}", "This is unexpected; the message may say what to do."
        )


def _python() -> Finding:
    found = sys.version.split()[0]
    if not (3, 11) <= sys.version_info[:2] <= (3, 13):
        return Finding("python", "fail", found, "Use Python 3.11, 3.12 or 3.13.")
    return Finding("python", "ok", found)


def _packages() -> Finding:
    """Check that Dagster's packages are of one release: they only work together."""
    dagster = version("dagster")
    wrong = [f"{name} {version(name)}" for name in ("dagster-webserver",) if version(name) != dagster]
    minor = dagster.split(".")[1:]
    for name in ("dagster-postgres", "dagster-aws"):
        found = version(name)
        if found.split(".")[1] != str(int(minor[0]) + 16) or found.split(".")[2] != minor[1]:
            wrong.append(f"{name} {found}")
    if tuple(map(int, version("sqlalchemy").split(".")[:2])) >= (2, 1):
        wrong.append(f"sqlalchemy {version('sqlalchemy')}")
    if wrong:
        return Finding(
            "packages",
            "fail",
            f"dagster {dagster} with {', '.join(wrong)}",
            "Install requirements.lock: these versions do not work together.",
        )
    return Finding("packages", "ok", f"dagster {dagster}, polars {version('polars')}")


def _home(settings: "Settings") -> Finding:
    place = settings.home
    while not place.exists():
        place = place.parent
    if not os.access(place, os.W_OK):
        return Finding(
            "home", "fail", f"{settings.home} is not writable", "Name a writable folder with ARGUS_HOME or --home."
        )
    free = shutil.disk_usage(place).free
    found = f"{settings.home}, {free / 1024**3:.1f} GiB free"
    if free < MIN_FREE_BYTES:
        return Finding("home", "warn", found, "Free some space: a full disk fails every batch.")
    return Finding("home", "ok", found)


@contextmanager
def _database_url(settings: "Settings") -> Generator[tuple[str, str]]:
    """Yield the URL of the database and its name; the embedded one is started for the time of the check."""
    from argus_assets.runtime.embedded.postgres import EmbeddedPostgres
    from argus_assets.settings import without_password

    if settings.database_url is not None:
        yield settings.database_url, without_password(settings.database_url)
        return
    server = EmbeddedPostgres(settings.home / "postgres")
    try:
        yield server.acquire(), "embedded"
    finally:
        server.release()


def _database(settings: "Settings") -> Finding:
    import psycopg2

    from argus_assets.adapters.postgres.database import require_known_version

    try:
        with _database_url(settings) as (url, name):
            require_known_version(url)
            connection = psycopg2.connect(url.replace("+psycopg2", ""), connect_timeout=5)
            try:
                with connection.cursor() as cursor:
                    cursor.execute("SHOW server_version")
                    server = str((cursor.fetchone() or ("?",))[0]).split()[0]
                    cursor.execute("SELECT default_version FROM pg_available_extensions WHERE name = 'vector'")
                    vector = cursor.fetchone()
            finally:
                connection.close()
    except psycopg2.Error as error:
        first_line = str(error).strip().splitlines()[0]
        return Finding(
            "database",
            "fail",
            first_line,
            "Check ARGUS_DATABASE_URL: postgresql://user:password@host:5432/database, and that the server answers.",
        )
    found = f"{name}: PostgreSQL {server}, pgvector {vector[0] if vector else 'missing'}"
    if not vector:
        return Finding(
            "database", "warn", found, "Install the extension pgvector on the server: similar cases need it."
        )
    return Finding("database", "ok", found)


def _bucket(settings: "Settings") -> Finding:
    bucket = bucket_of(settings)
    bucket.ensure()
    waiting = len(bucket.list_inbox(limit=1000))
    key = f"results/.doctor-{os.getpid()}"
    bucket.put(key, b"argus")
    right = bucket.read(key, max_bytes=16) == b"argus"
    bucket.delete(key)
    if not right:
        return Finding(
            "bucket",
            "fail",
            f"{settings.bucket_url}: what was put was not read back",
            "Look for a cache between this host and the bucket.",
        )
    return Finding(
        "bucket", "ok", f"{settings.bucket_url}: list, put, read, delete; {counted(waiting, 'manifest')} waiting"
    )


def _lake(settings: "Settings") -> Finding:
    from argus_assets.lake import layout

    lake, path = lake_of(settings), layout.probe(os.getpid())
    lake.write_bytes(path, b"argus")
    right = lake.read_bytes(path) == b"argus"
    lake.delete(path)
    if not right:
        return Finding(
            "lake",
            "fail",
            f"{settings.lake_url}: what was written was not read back",
            "Look for a cache between this host and the lake.",
        )
    return Finding("lake", "ok", f"{settings.lake_url}: write, read, delete")


def _decoders(settings: "Settings") -> Finding:
    import tempfile

    from argus_assets.plugins.isolation import network_isolation
    from argus_assets.recordings.plugins.loading import load_decoders
    from argus_assets.recordings.plugins.programs import ExternalDecoder

    decoders = load_decoders(settings.decoders)
    with tempfile.TemporaryDirectory(prefix="argus-doctor-") as folder:
        isolation = network_isolation(Path(folder))
    missing = {d.name: d.missing_program() for d in decoders.plug_ins if isinstance(d, ExternalDecoder)}
    wrong = [f"{name}: {why}" for name, why in missing.items() if why]
    if wrong:
        return Finding(
            "decoders", "fail", "; ".join(wrong), f"Correct the command in {settings.decoders}, or install the program."
        )
    offline = [d.name for d in decoders.plug_ins if d.isolates_network]
    if offline and isolation is None:
        return Finding(
            "decoders",
            "fail",
            f"the network cannot be taken away from {', '.join(offline)}",
            "Allow seccomp or user namespaces here, or declare network = 'allowed': otherwise they do not run.",
        )
    found = ", ".join(f"{d.name}/{d.version}" for d in decoders.plug_ins) or "no plug-in"
    found += f"; network taken away by {isolation}" if isolation else "; the network cannot be taken away here"
    if decoders.notes:
        return Finding("decoders", "warn", f"{found}; {' '.join(decoders.notes)}", "Repair or uninstall that package.")
    return Finding("decoders", "ok", found)


def _readers(settings: "Settings") -> Finding:
    """Start a confined process, and report what this kernel denies it."""
    from argus_assets.containment.client import Allowance, pool
    from argus_assets.containment.kernel import landlock_version
    from argus_assets.recordings.limits_file import read_limits

    limits = read_limits(settings.limits)
    with pool() as processes, processes.process() as process:
        ended = process.run(
            "read",
            {"name": "", "limits": limits, "stop": None},
            place=process.place(),
            allowance=Allowance(),
            source=BytesIO(),
        )
        taken = process.confinement
    if ended.kind != "done":
        return Finding(
            "readers", "fail", f"a reader ended: {ended.text}", "Run it again; check free memory and disk space."
        )
    missing = [
        name
        for name, has in (
            ("seccomp (no network, no other process)", taken.calls),
            ("Landlock (no other file)", taken.files),
        )
        if not has
    ]
    user = f"as {taken.user}" if taken.user else "as root" if os.geteuid() == 0 else "as this user"
    if missing:
        return Finding(
            "readers", "warn", f"{user}, without {' and '.join(missing)}",
            "Run it on a kernel that has them (Linux 5.13 or later, x86-64 or AArch64), and where its container allows them.",
        )  # fmt: skip
    return Finding(
        "readers", "ok", f"{user}, no network, no other process, own files only (Landlock {landlock_version()})"
    )


def _faults(settings: "Settings") -> Finding:
    from argus_assets.faults.plugins.packages import load_faults

    config = load_faults(settings.faults)
    detectors = ", ".join(p.identity for p in config.plug_ins) or "no plug-in"
    found = (
        f"{counted(len(config.rules), 'rule')}, {counted(len(config.signals), 'signal')} of DBC files; {detectors}; "
        f"version {config.version}"
    )
    if config.notes:
        return Finding("faults", "warn", f"{found}; {' '.join(config.notes)}", "Repair or uninstall that package.")
    return Finding("faults", "ok", found)


def _webhooks(settings: "Settings") -> Finding:
    from argus_assets.notifications.alerts import AlertRules, read_alerts
    from argus_assets.notifications.endpoints import parse_endpoints

    given = settings.notifications
    if given.webhooks is None:
        return Finding("webhooks", "ok", "none: no events are sent")
    secrets = given.webhook_secrets.get_secret_value() if given.webhook_secrets else ""
    endpoints = parse_endpoints(given.webhooks.get_secret_value(), secrets)
    names = [endpoint.name for endpoint in endpoints]
    rules = read_alerts(given.alerts, endpoints=names) if given.alerts else AlertRules()
    places = ", ".join(f"{endpoint.name} at {endpoint.host}" for endpoint in endpoints)
    alerts = counted(len(rules.alert), "alert rule")
    return Finding("webhooks", "ok", f"{places}; {alerts}; send a test event with `argus outbox test`")


def _clock(settings: "Settings") -> Finding:
    """Compare with the bucket's clock: S3 refuses requests that are signed more than 15 minutes off."""
    import urllib.error
    import urllib.request
    from datetime import UTC, datetime
    from email.utils import parsedate_to_datetime

    from argus_assets.settings import without_password

    endpoint = os.environ.get("AWS_ENDPOINT_URL")
    if not settings.bucket_url.startswith("s3://") or not endpoint:
        return Finding("clock", "ok", "not compared: the bucket is a folder or has no endpoint of its own")
    try:
        with urllib.request.urlopen(endpoint, timeout=5) as response:  # noqa: S310 - the operator's own endpoint
            date = response.headers.get("Date")
    except urllib.error.HTTPError as error:
        date = error.headers.get("Date")
    except OSError:
        return Finding(
            "clock", "warn", f"not compared: {without_password(endpoint)} does not answer", "Check AWS_ENDPOINT_URL."
        )
    if not date:
        return Finding("clock", "ok", "not compared: the endpoint sends no Date header")
    offset = abs((datetime.now(UTC) - parsedate_to_datetime(date)).total_seconds())
    state = "ok" if offset <= MAX_CLOCK_OFFSET_S else "warn"
    return Finding(
        "clock",
        state,
        f"{offset:.0f} s from the bucket's",
        "" if state == "ok" else "Set the clock: S3 refuses signatures that are off by 15 minutes.",
    )


def _port(settings: "Settings") -> Finding:
    from argus_assets.runtime.home_lock import owner_of
    from argus_assets.runtime.ports import port_is_free

    if settings.port == 0 or port_is_free("127.0.0.1", settings.port):
        return Finding("ui port", "ok", f"{settings.port or 'any free one'}")
    if owner_of(settings.home):
        return Finding("ui port", "ok", f"{settings.port}, in use while the platform runs")
    return Finding(
        "ui port",
        "warn",
        f"{settings.port} is in use by something else",
        "Give `argus up` another --port, or ARGUS_PORT.",
    )


def _definitions(settings: "Settings") -> Finding:
    from argus_assets.definitions import build_defs

    definitions = build_defs(settings)
    assets = definitions.resolve_asset_graph().get_all_asset_keys()
    return Finding("definitions", "ok", f"{counted(len(assets), 'asset')} loaded")


def _platform(settings: "Settings") -> Finding:
    from dagster._daemon.controller import get_daemon_statuses

    from argus_assets.runtime.home_lock import owner_of

    process = owner_of(settings.home)
    if process is None:
        return Finding("platform", "ok", "not running; start it with `argus up`")
    with connected(settings.home) as context:
        statuses = get_daemon_statuses(context.instance, context.instance.get_required_daemon_types())
    silent = sorted(name for name, status in statuses.items() if not status.healthy)
    if silent:
        return Finding(
            "platform",
            "fail",
            f"process {process}; daemons without a heartbeat: {', '.join(silent)}",
            f"See {settings.home / 'logs' / 'daemon.log'}.",
        )
    return Finding("platform", "ok", f"process {process}; {counted(len(statuses), 'daemon')} healthy")


def _inbox(settings: "Settings") -> Finding:
    """Check that waiting manifests are taken: with a dead daemon nothing else would report it."""
    from argus_assets.metrics_collector import inbox_silence
    from argus_assets.runtime.home_lock import owner_of

    if not bucket_of(settings).list_inbox(limit=1):
        return Finding("inbox", "ok", "no manifests waiting")
    if owner_of(settings.home) is None and settings.database_url is None:
        return Finding(
            "inbox", "warn", "manifests are waiting, and Argus does not run here", "Start it with `argus up`."
        )
    with connected(settings.home) as context:
        warning = inbox_silence(context.instance, context.bucket, interval_s=settings.sensor_interval_s)
    if warning is not None:
        what, _, help_text = warning.partition(": ")
        return Finding("inbox", "fail", what, help_text)
    return Finding("inbox", "ok", "manifests are waiting, and the sensor is ticking")
