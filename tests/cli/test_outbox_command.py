"""`argus outbox`, the settings and the sensors as the daemon gets them, with a real receiver."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest
from click.testing import CliRunner, Result

from argus_assets.adapters.postgres.database import Database
from argus_assets.adapters.postgres.outbox import Outbox
from argus_assets.cli import root
from argus_assets.cli.doctor import run_checks
from argus_assets.cli.output import counted
from argus_assets.definitions import build_defs
from argus_assets.errors import BadSetting
from argus_assets.notifications.alerts import AlertRules
from argus_assets.notifications.endpoints import parse_endpoints
from argus_assets.sensors.outcome_events import collect_outcomes
from argus_assets.settings import Settings
from tests.support.webhook_receiver import SECRET, Answer, Receiver, receiver

pytestmark = pytest.mark.wiring


@pytest.fixture
def there() -> Iterator[Receiver]:
    with receiver() as made:
        yield made


@pytest.fixture
def environment(site, there, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    alerts = tmp_path / "alerts.toml"
    alerts.write_text("[[alert]]\nname = 'bad'\nseverity = 'error'\n")
    given = {
        "ARGUS_HOME": str(tmp_path / "home"),
        "ARGUS_BUCKET_URL": site.bucket.url,
        "ARGUS_LAKE_URL": str(tmp_path / "lake"),
        "ARGUS_WEBHOOKS": f"fleet={there.url}",
        "ARGUS_WEBHOOK_SECRETS": f"fleet={SECRET}",
        "ARGUS_ALERTS": str(alerts),
        "COLUMNS": "250",
    }
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    return given


def argus(*arguments: str) -> Result:
    result = CliRunner().invoke(root, ["outbox", *arguments])
    assert SECRET not in result.output
    assert "not-to-be-told" not in result.output
    return result


def evaluate(site, environment: dict[str, str], name: str) -> str:
    """One tick of a sensor, as the definitions have it."""
    definitions = build_defs(Settings.from_env(environment))
    sensor = definitions.resolve_sensor_def(name)
    resources = {"webhooks": definitions.resources["webhooks"]}
    with dg.build_sensor_context(instance=site.instance, definitions=definitions, resources=resources) as context:
        data = sensor.evaluate_tick(context)
    assert data.skip_message is not None
    return data.skip_message


def test_from_a_drop_to_a_dead_letter_and_back(site, drives, there, environment) -> None:
    assert evaluate(site, environment, "outcome_events_sensor") == "Events from now on will be delivered."
    site.drop(drives["truck_oil_pressure"])
    site.tick_and_run()
    there.answer = lambda e: Answer(400 if e["type"] == "argus.AlertRaised" else 204)
    collected = evaluate(site, environment, "outcome_events_sensor")
    alerts = int(collected.split()[2])
    assert alerts
    assert evaluate(site, environment, "deliver_webhooks_sensor").startswith("10 events delivered, ")
    waiting = json.loads(argus("ls", "--json").output)
    assert [(s["endpoint"], s["pending"], s["dead"]) for s in waiting["endpoints"]] == [("fleet", alerts, 0)]
    assert {e["last_error"] for e in waiting["pending"]} == {"answered 400 Bad Request"}
    assert "AlertRaised" in argus("ls").output

    database = Database(site.resources["diagnostician"].database_url)
    with database.transaction() as connection, connection.cursor() as cursor:
        cursor.execute("UPDATE argus.outbox SET next_attempt_at = now(), attempts = 99 WHERE delivered_at IS NULL")
    evaluate(site, environment, "deliver_webhooks_sensor")
    dead = json.loads(argus("dead", "--json").output)
    assert len(dead) == alerts
    assert "answered 400 Bad Request" in argus("dead").output
    assert argus("retry", "no-such-id").exit_code == 1
    assert argus("retry", dead[0]["id"]).output == "1 dead letter will be delivered again.\n"
    assert argus("retry", "--all").output == f"{counted(alerts - 1, 'dead letter')} will be delivered again.\n"
    there.answer = lambda _: Answer(200)
    assert evaluate(site, environment, "deliver_webhooks_sensor").startswith(f"{alerts} events delivered")
    assert argus("dead").output == "No dead letters.\n"


def test_a_test_event_is_sent_now(there, environment) -> None:
    assert argus("test").output == "fleet at 127.0.0.1: accepted (204)\n"
    (event,) = there.events
    assert event["subject"] == "argus-test/test"
    there.answer = lambda _: Answer(503)
    refused = argus("test", "--endpoint", "fleet")
    assert (refused.exit_code, refused.output) == (1, "fleet at 127.0.0.1: answered 503 Service Unavailable\n")
    assert isinstance(argus("test", "--endpoint", "nobody").exception, BadSetting)


def test_two_readers_at_once_put_each_event_in_once(site, drives, there, environment) -> None:
    box = Outbox(Database(site.resources["diagnostician"].database_url))
    endpoints = parse_endpoints(environment["ARGUS_WEBHOOKS"], environment["ARGUS_WEBHOOK_SECRETS"])

    def read(_: int) -> str:
        return collect_outcomes(site.instance, box, endpoints, rules=AlertRules(), now=datetime.now(UTC), max_events=3)

    read(0)
    for number in range(3):
        site.drop(drives["car_healthy"], batch_id=f"b{number}")
    site.tick_and_run()
    with ThreadPoolExecutor(4) as pool:
        told = list(pool.map(read, range(40)))
    assert sum(int(t.split()[0]) for t in told) == 30
    pending = box.entries("pending", limit=1000)
    assert len(pending) == len({e.id for e in pending}) == 30


def test_doctor_tells_of_the_endpoints_and_shows_no_secret(environment) -> None:
    findings = {f.check: f for f in run_checks(None)}
    assert findings["webhooks"].state == "ok"
    assert findings["webhooks"].found == "fleet at 127.0.0.1; 1 alert rule; send a test event with `argus outbox test`"
    shown = " ".join(f"{f.found} {f.help}" for f in findings.values())
    assert "ARGUS_WEBHOOK_SECRETS=" in shown
    assert SECRET not in shown
    assert "not-to-be-told" not in shown


@pytest.mark.parametrize(
    ("missing", "told"),
    [
        ("ARGUS_WEBHOOKS", "ARGUS_ALERTS has no ARGUS_WEBHOOKS."),
        ("ARGUS_WEBHOOK_SECRETS", "ARGUS_WEBHOOKS has no ARGUS_WEBHOOK_SECRETS."),
    ],
)
def test_half_of_the_settings_is_a_mistake(environment, missing: str, told: str) -> None:
    with pytest.raises(BadSetting) as caught:
        build_defs(Settings.from_env({k: v for k, v in environment.items() if k != missing}))
    assert caught.value.what == told


def test_no_definition_holds_a_secret(environment) -> None:
    resource = build_defs(Settings.from_env(environment)).resources["webhooks"]
    assert SECRET not in repr(resource)
    assert "not-to-be-told" not in repr(resource)
