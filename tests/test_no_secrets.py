"""No secret and no VIN reaches what people and other systems read, whatever fails.

Recognisable secrets stand in every setting that may hold one. Batches are taken through while the model refuses its
key and tells it, a file is not the manifest's, and the store and the database are away. Then everything that was
written or printed is searched.
"""

import base64
import json
import logging
import os
import re
from dataclasses import replace
from functools import partial
from pathlib import Path

import dagster as dg
import psycopg2
import pytest
from click.testing import CliRunner
from prometheus_client import generate_latest

from argus_assets.cli import main, root
from argus_assets.cli.context import connected
from argus_assets.cli.metrics import registry_of
from argus_assets.definitions import build_defs
from argus_assets.diagnosis import fast_path
from argus_assets.drop.bucket import Bucket
from argus_assets.lake.store import Lake
from argus_assets.runtime.ports import free_port
from argus_assets.sensors.outcome_events import deliver_webhooks_sensor, outcome_events_sensor
from argus_assets.settings import Settings
from tests.support.scripted_model import ScriptedModel, error

pytestmark = pytest.mark.wiring

VIN = "1M8GDM9AXKP042788"
SIGNING = base64.b64encode(b"webhook signing key of 32 bytes!").decode()
PLANTED = {
    "address of the webhook": "hooktoken-Vb3nQs8dFk",
    "signing": SIGNING,
    "database": "dbpass-Kq7vXw2pLm",
    "s3": "s3secret-Zt4nBd9sRf",
    "session": "s3token-Hy6mPc3wVq",
    **{
        variable.name: f"setting-{variable.name.lower().replace('_', '')}-Jr5kTg8xNz"
        for variable in Settings.variables()
        if variable.is_secret and "WEBHOOK" not in variable.name
    },
}


def found_in(texts: dict[str, str]) -> list[str]:
    return [
        f"{name} in {where}: …{text[max(0, text.index(secret) - 80) : text.index(secret) + 60]}…"
        for where, text in texts.items()
        for name, secret in {**PLANTED, "vin": VIN}.items()
        if secret in text
    ]


def rows(database_url: str) -> dict[str, str]:
    """Everything in the database, by table."""
    with psycopg2.connect(database_url) as connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT table_schema, table_name FROM information_schema.tables "
            "WHERE table_type = 'BASE TABLE' AND table_schema NOT IN ('pg_catalog', 'information_schema')"
        )
        tables = cursor.fetchall()
        kept = {}
        for schema, table in tables:
            cursor.execute(f'SELECT t::text FROM "{schema}"."{table}" t')
            kept[f"table {schema}.{table}"] = "\n".join(text for (text,) in cursor.fetchall())
    connection.close()
    return kept


def files(folder: Path) -> dict[str, str]:
    return {
        str(p.relative_to(folder)): p.read_bytes().decode(errors="replace") for p in folder.rglob("*") if p.is_file()
    }


@pytest.fixture
def secret_site(site, moto_server, argus_database_url, tmp_path, monkeypatch):
    """The site on an S3 server, all of it set up from an environment full of secrets."""
    host = argus_database_url.partition("://")[2].rpartition("@")[2]
    monkeypatch.setenv("ARGUS_DATABASE_URL", f"postgresql://postgres:{PLANTED['database']}@{host}")
    for name, value in moto_server.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", PLANTED["s3"])
    monkeypatch.setenv("AWS_SESSION_TOKEN", PLANTED["session"])
    for name, value in PLANTED.items():
        if name.startswith("ARGUS_"):
            monkeypatch.setenv(name, value)
    prefix = os.urandom(6).hex()
    monkeypatch.setenv("ARGUS_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("ARGUS_BUCKET_URL", f"{moto_server.url}/{prefix}")
    monkeypatch.setenv("ARGUS_LAKE_URL", str(tmp_path / "lake"))
    return replace(
        site, bucket=Bucket.from_url(f"{moto_server.url}/{prefix}"), lake=Lake.from_url(str(tmp_path / "lake"))
    )


def test_nothing_that_is_written_or_printed_holds_a_secret(
    secret_site, drives, argus_database_url, moto_server, tmp_path, monkeypatch, capfd, caplog
):
    caplog.set_level(logging.DEBUG, "argus_assets")
    caplog.set_level(logging.INFO)
    site, told = secret_site, {}
    # The model is asked, however well known the fault is.
    monkeypatch.setattr(fast_path, "MIN_CONFIDENCE", 2.0)

    def refuse(handler, seen):
        sent = {name.lower(): value for name, value in seen.headers.items()}["authorization"]
        assert "setting-" in sent
        error(401, f"Incorrect API key provided: {sent}")(handler, seen)

    with ScriptedModel([refuse] * 20) as model, ScriptedModel([error(500, "no")] * 20) as hook:
        monkeypatch.setenv("ARGUS_WEBHOOKS", f"fleet={hook.url}/{PLANTED['address of the webhook']}")
        monkeypatch.setenv("ARGUS_WEBHOOK_SECRETS", f"fleet=whsec_{SIGNING}")
        monkeypatch.setenv("ARGUS_LLM_MODEL", "scripted-1")
        monkeypatch.setenv("ARGUS_LLM_URL", model.url)
        monkeypatch.setenv("ARGUS_EMBEDDING_MODEL", "scripted-2")
        monkeypatch.setenv("ARGUS_EMBEDDING_URL", model.url)
        settings = Settings.from_env(os.environ)
        definitions = build_defs(settings)
        site.resources = {name: definitions.resources[name] for name in site.resources}
        look = partial(
            dg.build_sensor_context, site.instance, resources={"webhooks": definitions.resources["webhooks"]}
        )
        outcome_events_sensor(look())
        site.drop(drives["truck_oil_pressure"])
        site.drop(drives["car_healthy"], batch_id="spoilt")
        tick = site.tick()
        spoilt = site.bucket.list_prefix("batches/car-healthy/spoilt/")[0]
        site.bucket.put(spoilt.key, b"x" * spoilt.size)
        outcomes = [site.run(request) for request in tick.run_requests]
        assert model.seen, "the model was asked"
        outcome_events_sensor(look())
        deliver_webhooks_sensor(look())
        assert hook.seen, "an event was sent"
    for run in outcomes:
        told[f"run {run.run_id}"] = "\n".join(str(entry) for entry in site.instance.all_logs(run.run_id)) + repr(
            site.instance.get_run_by_id(run.run_id)
        )

    def command(*arguments: str) -> None:
        result = CliRunner().invoke(root, list(arguments))
        told[f"argus {' '.join(arguments)} {len(told)}"] = result.output + "".join(
            f"{e!r} {e}" for e in causes(result.exception)
        )

    command("status")
    command("status", "--json")
    command("status", "--check")
    command("events", "truck-oil-pressure/b1")
    command("budget", "--json")
    command("quarantine", "ls")
    command("outbox", "ls", "--json")
    command("outbox", "test")
    command("lifecycle", "truck-oil-pressure")
    command("doctor", "--json")
    with connected(None) as context:
        watcher = context.metrics()
        told["metrics"] = generate_latest(registry_of(watcher)).decode()
        assert 'argus_failures_total{kind="quarantined"} 1.0' in told["metrics"]
        assert re.search(r'argus_events_waiting\{endpoint="fleet"\} [1-9]', told["metrics"])

    for prefix in ("results/", "quarantine/"):
        for info in site.bucket.list_prefix(prefix):
            if not info.key.endswith(".manifest.json"):  # what was dropped, as it was dropped
                told[info.key] = site.bucket.read(info.key, max_bytes=10**8).decode()

    # The store is away: a look of the sensor, a run, and commands.
    site.drop(drives["av_lidar_dropout"])
    requests = site.tick().run_requests
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://user:{PLANTED['s3']}@127.0.0.1:{free_port()}")
    monkeypatch.setattr("argus_assets.assets.run.TRANSIENT_ATTEMPTS", 1)
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    import s3fs

    s3fs.S3FileSystem.clear_instance_cache()
    away = site.run(requests[0])
    assert not away.success
    told["run without store"] = "\n".join(str(entry) for entry in site.instance.all_logs(away.run_id))
    command("doctor")

    # The database is away, or cannot even be named.
    monkeypatch.setenv("AWS_ENDPOINT_URL", moto_server.endpoint)
    monkeypatch.setenv("ARGUS_DATABASE_URL", f"postgresql://argus:{PLANTED['database']}@127.0.0.1:{free_port()}/x")
    command("doctor")
    for url in (
        f"postgresql://argus:{PLANTED['database']}/x@127.0.0.1/x",
        f"postgresql://argus:{PLANTED['database']}@127.0.0.1:{PLANTED['database']}/x",
        f"mysql://argus:{PLANTED['database']}@127.0.0.1/x",
    ):
        monkeypatch.setenv("ARGUS_DATABASE_URL", url)
        command("doctor")
        command("status")
        monkeypatch.setattr("sys.argv", ["argus", "status"])
        with pytest.raises(SystemExit):
            main()

    told |= rows(argus_database_url)
    assert any("401" in text for name, text in told.items() if "event_logs" in name), "the failure was recorded"
    told |= {
        name: text
        for name, text in files(tmp_path).items()
        # What was dropped stands in the manifest; the key of pseudonyms is made to be kept there.
        if not name.startswith("lake/manifests/") and "pseudonym" not in name
    }
    assert any(name.endswith("report.html") for name in told)
    out, err = capfd.readouterr()
    told |= {"stdout": out, "stderr": err, "python's log": caplog.text}
    told["settings"] = f"{settings!r} {settings}"
    found = found_in(told)
    assert not found, "\n".join(found)


def causes(error: BaseException | None):
    while error is not None:
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def test_the_search_would_find_a_secret():
    assert found_in({"a": f"x{PLANTED['s3']}y", "b": "", "c": VIN}) != []
    assert len(found_in({"a": json.dumps(PLANTED), "c": VIN})) == len(PLANTED) + 1
    assert {"ARGUS_LLM_API_KEY", "ARGUS_EMBEDDING_API_KEY", "ARGUS_PSEUDONYM_KEY"} <= PLANTED.keys()
