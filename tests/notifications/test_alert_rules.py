"""Alert rules: what they hold for, how often they speak, and what a mistake in the file says."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from argus_assets.errors import BadSetting
from argus_assets.faults.schema import Severity
from argus_assets.notifications.alerts import AlertRule, AlertRules, Told, alerts_of, is_held_back, read_alerts
from argus_assets.notifications.events import DiagnosisCompleted, Fault, Outcome, StatusChanged

AT = datetime(2026, 11, 20, 12, tzinfo=UTC)
COMMON = {"batch_id": "b1", "partition_key": "2026-11-20_truck-1_b1", "manifest_digest": "0" * 16, "why": "intake"}


def diagnosis(*faults: tuple[str, str], vehicle: str = "truck-1", mode: str = "offline") -> Outcome:
    data = DiagnosisCompleted(
        **COMMON,
        vehicle_id=vehicle,
        platform="truck",
        release="2026.10",
        verdict="Oil pump.",
        severity=Severity.CRITICAL,
        drivable="no",
        cause="oil_pump",
        confidence=0.9,
        mode=mode,
        faults=tuple(Fault(code=c, severity=Severity(s)) for c, s in faults),
    )
    return Outcome("1", "DiagnosisCompleted", AT, data)


def failure(**fields) -> Outcome:
    data = StatusChanged(**{**COMMON, "vehicle_id": "truck-1", "state": "failed", "stage": "rec_frames", **fields})
    return Outcome("2", "StatusChanged", AT, data)


FAULTS = (("SPN100/FMI1", "critical"), ("SPN94/FMI18", "error"), ("U0100", "warning"), ("LIDAR", "info"))


@pytest.mark.parametrize(
    ("rule", "codes"),
    [
        ({}, ["SPN100/FMI1", "SPN94/FMI18"]),
        ({"severity": "critical"}, ["SPN100/FMI1"]),
        ({"severity": "info"}, ["SPN100/FMI1", "SPN94/FMI18", "U0100", "LIDAR"]),
        ({"severity": "info", "codes": ["U*", "LIDAR"]}, ["U0100", "LIDAR"]),
        ({"codes": "SPN94/*"}, ["SPN94/FMI18"]),
        ({"vehicles": "car-*"}, []),
        ({"vehicles": ["car-*", "truck-?"]}, ["SPN100/FMI1", "SPN94/FMI18"]),
        ({"releases": "2026.1*", "platforms": "truck"}, ["SPN100/FMI1", "SPN94/FMI18"]),
        ({"releases": "2026.9"}, []),
        ({"modes": ["llm"]}, []),
        ({"modes": ["llm", "offline"]}, ["SPN100/FMI1", "SPN94/FMI18"]),
        ({"on": ["failed", "quarantined"]}, []),
    ],
)
def test_a_rule_holds_for_what_it_names(rule: dict, codes: list[str]) -> None:
    rules = AlertRules.model_validate({"alert": [{"name": "r", **rule}]})
    assert [a.data.code for a in alerts_of(diagnosis(*FAULTS), rules)] == codes


@pytest.mark.parametrize(
    ("fields", "kinds"),
    [
        ({"permanent": True, "error": "no disk"}, ["failed"]),
        ({"permanent": True, "quarantined": True}, ["quarantined"]),
        ({"permanent": False, "error": "S3 is away"}, []),
        ({"crashed": True, "permanent": False}, []),
        ({"state": "completed"}, []),
    ],
)
def test_what_failed_for_good_is_alerted_and_what_is_tried_again_is_not(fields: dict, kinds: list[str]) -> None:
    rules = AlertRules.model_validate({"alert": [{"name": k, "on": k} for k in ("fault", "failed", "quarantined")]})
    found = alerts_of(failure(**fields), rules)
    assert [a.data.kind for a in found] == [a.data.rule for a in found] == kinds


def test_one_alert_of_one_manifest_rule_and_code_has_one_id() -> None:
    rules = AlertRules.model_validate({"alert": [{"name": "a"}, {"name": "b"}]})
    ids = [a.outcome().id for a in alerts_of(diagnosis(*FAULTS), rules)]
    assert len(set(ids)) == 4
    again = [a.outcome(held_back=3).id for a in alerts_of(diagnosis(*FAULTS, mode="llm"), rules)]
    assert again == ids


@given(
    repeat_h=st.floats(0, 48),
    most=st.integers(0, 5),
    since_h=st.one_of(st.none(), st.floats(-48, 48)),
    in_the_hour=st.integers(0, 10),
)
def test_limits(repeat_h, most, since_h, in_the_hour) -> None:
    rules = AlertRules.model_validate({"alert": [{"name": "r", "repeat_after_h": repeat_h, "most_per_hour": most}]})
    alert = alerts_of(diagnosis(*FAULTS), rules)[0]
    last = None if since_h is None else AT - timedelta(hours=since_h)
    too_soon = last is not None and abs((AT - last).total_seconds()) < timedelta(hours=repeat_h).total_seconds()
    assert is_held_back(alert, Told(last, in_the_hour)) == (too_soon or (most > 0 and in_the_hour >= most))


@given(
    at=st.datetimes(datetime(2026, 1, 1), datetime(2027, 1, 1), timezones=st.just(UTC)),
    begin=st.times(),
    end=st.times(),
    zone=st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata"]),
)
def test_nothing_is_sent_in_the_quiet_hours(at, begin, end, zone) -> None:
    hours = f"{begin:%H:%M}-{end:%H:%M}"
    due = AlertRule(name="r", quiet_hours=hours, timezone=zone).due_at(at)
    local, first, last = (
        due.astimezone(ZoneInfo(zone)).time(),
        begin.replace(second=0, microsecond=0),
        end.replace(second=0, microsecond=0),
    )
    assert due >= at
    assert due - at <= timedelta(hours=25)
    if first < last:
        assert not first <= local < last
    if first > last:
        assert last <= local < first


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[[alert]]\nname = 'a'\nseverty = 'error'", "unknown key 'severty'; allowed are name, on, severity"),
        ("[[alert]]\nname = 'a'\nseverity = 'bad'", "alert[0].severity (name = 'a')"),
        ("[[alert]]\nname = 'a'\n[[alert]]\nname = 'a'", "two rules are named 'a'"),
        ("[[alert]]\nname = 'a'\nquiet_hours = '25:00-06:00'", "quiet_hours"),
        ("[[alert]]\nname = 'a'\ntimezone = 'Mars'", "no time zone 'Mars'"),
        (
            "[[alert]]\nname = 'a'\nto = ['nobody']",
            "goes to nobody, which ARGUS_WEBHOOKS does not name; it names fleet",
        ),
        ("[[alert]", "is not valid TOML"),
    ],
)
def test_a_mistake_says_where_it_is(text: str, told: str, tmp_path: Path) -> None:
    file = tmp_path / "alerts.toml"
    file.write_text(text)
    with pytest.raises(BadSetting) as caught:
        read_alerts(file, endpoints=["fleet"])
    assert told in caught.value.what
    assert caught.value.help
