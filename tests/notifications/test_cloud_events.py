"""Events for other systems: valid CloudEvents, one id for what happened once, and nothing that must stay inside."""

import json
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import jsonschema
import polars as pl
import pytest
from cloudevents.http import from_json
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook

from argus_assets import events
from argus_assets.drop.quarantine import Reason
from argus_assets.events import Recorded
from argus_assets.faults.schema import SEVERITY, Severity
from argus_assets.notifications.events import DATA, NAMES, envelope, example_alert, outcome_of, worst_faults
from argus_assets.notifications.signatures import body_of, headers_of
from tests.support.values import VIN
from tests.support.webhook_receiver import OTHER_SECRET, SECRET

AT = datetime(2026, 11, 20, 12, 0, 0, 123456, tzinfo=UTC)
PARTITION = "2026-11-20_truck-1_b1"
DIGEST = "0123456789abcdef"

REASON = Reason(
    kind="bad_manifest",
    file="manifest",
    expected="a VIN",
    actual=f"{VIN}; https://b.s3.amazonaws.com/k?X-Amz-Signature=5f1d0c8b9a7e6d5c4b3a29181706f5e4d3c2b1a0",
    help="Correct it.",
)
CREATED = events.BatchCreated(
    manifest_digest=DIGEST,
    vehicle_id="truck-1",
    batch_id="b1",
    platform="truck",
    release="2026.10",
    recorded_from=AT,
    recorded_to=AT + timedelta(minutes=10),
    files=2,
    size_bytes=10,
    marker_at=AT + timedelta(hours=1),
)
PARSED = events.FileParsed(
    manifest_digest=DIGEST, recording="a.blf", state="parsed", format="blf", frames=1, frames_lost=0, parse_s=0.1
)
DIAGNOSED = events.DiagnosisMade(
    manifest_digest=DIGEST,
    verdict="Oil pump.",
    severity="critical",
    drivable="no",
    cause="oil_pump",
    confidence=0.9,
    mode="offline",
    degraded="no",
    faults=[{"code": "SPN100/FMI1", "severity": "critical"}],
)
FAILED = events.StatusChanged(
    asset="rec_frames",
    manifest_digest=DIGEST,
    state="failed",
    error=f"The manifest of {VIN} says so.",
    permanent=True,
)
REJECTED = events.BatchQuarantined(
    manifest_digest=DIGEST, vehicle_id="truck-1", batch_id="b1", at=AT, reasons=(REASON,)
)


def recorded(event: events.Event, *, partition: str | None = PARTITION, **changes) -> Recorded:
    return Recorded(at=AT, event=event, partition=partition, **changes)


KINDS = {
    "created": recorded(CREATED),
    "parsed": recorded(PARSED, run_id="r1", why="intake"),
    "diagnosed": recorded(DIAGNOSED, run_id="r1", why="intake"),
    "scattering": recorded(replace(FAILED, state="scattering", error=None, permanent=None), run_id="r1"),
    "completed": recorded(events.AssetMade(asset="batch_report", manifest_digest=DIGEST), run_id="r1"),
    "failed": recorded(FAILED, run_id="r1"),
    "rejected": recorded(REJECTED, partition=None),
}


@pytest.mark.parametrize("kind", KINDS)
def test_each_is_a_cloud_event_as_documented_and_tells_no_vin(kind: str) -> None:
    outcome = outcome_of(KINDS[kind])
    assert outcome is not None
    document = envelope(outcome, source="/plant-3")
    event = from_json(body_of(document))  # the SDK checks what CloudEvents require
    assert event["type"] == f"argus.{outcome.name}"
    assert (event["source"], event["subject"], event["time"]) == ("/plant-3", "truck-1/b1", "2026-11-20T12:00:00.123Z")
    jsonschema.validate(event.data, DATA[outcome.name].model_json_schema(mode="serialization"))
    text = json.dumps(document)
    assert VIN not in text
    assert "5f1d0c8b9a7e" not in text


def test_the_id_is_of_what_happened() -> None:
    ids = {kind: outcome_of(event).id for kind, event in KINDS.items()}
    assert len(set(ids.values())) == len(KINDS)
    for kind, event in KINDS.items():
        assert outcome_of(replace(event, at=datetime(2027, 1, 1, tzinfo=UTC))).id == ids[kind], "recorded a second time"
    other_run = recorded(PARSED, run_id="r2")
    other_drop = recorded(replace(CREATED, marker_at=AT))
    assert outcome_of(other_run).id != ids["parsed"]
    assert outcome_of(other_drop).id != ids["created"]


@pytest.mark.parametrize(
    "event",
    [
        recorded(events.DuplicateDropped(manifest_digest=DIGEST)),
        recorded(events.AssetMade(asset="error_events", manifest_digest=DIGEST)),
        recorded(events.AssetMade(asset="somebody_elses", manifest_digest=DIGEST)),
        recorded(events.AssetMade(asset="batch_report", manifest_digest=DIGEST), partition="not-a-batch"),
        recorded(events.AssetMade(asset="batch_report", manifest_digest="")),
        recorded(FAILED, partition=None),
    ],
)
def test_what_concerns_nobody_else_is_not_told(event: Recorded) -> None:
    assert outcome_of(event) is None


@given(
    error=st.text(), codes=st.lists(st.text(max_size=20), max_size=5), secrets=st.permutations([SECRET, OTHER_SECRET])
)
def test_whatever_stands_in_it_can_be_kept_signed_and_read(error, codes, secrets) -> None:
    failed = outcome_of(recorded(replace(FAILED, error=error)))
    faults = [{"code": code, "severity": "error"} for code in codes]
    diagnosed = outcome_of(recorded(replace(DIAGNOSED, faults=faults)))
    for outcome in (failed, diagnosed):
        document = envelope(outcome)
        assert not re.search("\x00|[\ud800-\udfff]", json.dumps(document, ensure_ascii=False))
        body = body_of(json.loads(json.dumps(document)))
        now = datetime.now(UTC)
        for secret in secrets:
            assert Webhook(secret).verify(body, headers_of(outcome.id, body, secrets=secrets, at=now)) == document


@given(st.lists(st.tuples(st.sampled_from(["A", "B", "C", "D"]), st.sampled_from(list(Severity))), max_size=30))
def test_each_code_has_its_worst_severity_and_the_worst_come_first(rows) -> None:
    stats = pl.DataFrame(rows, schema={"code": pl.String, "severity": SEVERITY}, orient="row")
    order = list(Severity)
    found = [(fault["code"], order.index(Severity(fault["severity"]))) for fault in worst_faults(stats)]
    assert dict(found) == {c: max(order.index(s) for d, s in rows if d == c) for c, _ in rows}
    assert [badness for _, badness in found] == sorted((badness for _, badness in found), reverse=True)


def test_all_events_have_a_schema() -> None:
    assert (
        set(NAMES) == set(DATA) == {"BatchCreated", "StatusChanged", "FileParsed", "DiagnosisCompleted", "AlertRaised"}
    )
    assert example_alert(AT).name == "AlertRaised"
