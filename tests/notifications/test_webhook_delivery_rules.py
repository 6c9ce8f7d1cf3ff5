"""What becomes of an attempt, and which endpoints can be named."""

from base64 import b64encode
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from argus_assets.errors import BadSetting
from argus_assets.notifications.delivery import (
    ENDPOINT_PAUSES,
    MAX_RETRY_AFTER,
    PAUSES,
    REFUSALS,
    Reply,
    endpoint_pause,
    judge,
    parse_retry_after,
)
from argus_assets.notifications.endpoints import parse_endpoints, wanted_by
from tests.support.webhook_receiver import OTHER_SECRET, SECRET

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
statuses = st.one_of(st.none(), st.integers(100, 599))


@given(
    status=statuses,
    attempts=st.integers(1, 30),
    wait=st.one_of(st.none(), st.timedeltas(timedelta(0), MAX_RETRY_AFTER)),
)
def test_every_attempt_ends_in_one_way_and_no_event_is_tried_for_ever(status, attempts, wait) -> None:
    verdict, pause = judge(Reply(status, retry_after=wait), attempts=attempts)
    if status is not None and 200 <= status < 300:
        assert verdict == "delivered"
    elif status == 410:
        assert verdict == "gone"
    elif attempts > len(PAUSES):
        assert verdict == "dead"
    elif status is None or status >= 500 or status in (408, 425, 429):
        assert verdict == "again"
    else:
        assert verdict == ("again" if attempts < REFUSALS else "dead")
    if verdict == "again":
        assert pause >= max(PAUSES[attempts - 1], wait or timedelta(0))
        assert pause <= max(PAUSES[-1], MAX_RETRY_AFTER)


@given(failures=st.integers(1, 1000), wait=st.one_of(st.none(), st.timedeltas(timedelta(0), MAX_RETRY_AFTER)))
def test_an_endpoint_that_fails_longer_rests_no_shorter(failures, wait) -> None:
    pause, next_pause = (endpoint_pause(n, Reply(503, retry_after=wait)) for n in (failures, failures + 1))
    assert (pause or timedelta(0)) <= (next_pause or timedelta(0))
    assert (pause or timedelta(0)) <= max(ENDPOINT_PAUSES[-1], wait or timedelta(0))
    if wait is not None:
        assert pause == wait


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("120", 120),
        (" 0 ", 0),
        ("Fri, 20 Nov 2026 12:01:00 GMT", 60),
        ("Fri, 20 Nov 2026 11:00:00 GMT", 0),
        ("99999999999999999999", 86400),
        ("-5", None),
        ("soon", None),
        ("", None),
        (None, None),
        ("²", None),
    ],
)
def test_retry_after(value, seconds) -> None:
    wait = parse_retry_after(value, now=NOW)
    assert wait == (None if seconds is None else timedelta(seconds=seconds))


@given(st.text(max_size=40))
def test_no_retry_after_of_a_stranger_breaks_it(text) -> None:
    wait = parse_retry_after(text, now=NOW)
    assert wait is None or timedelta(0) <= wait <= MAX_RETRY_AFTER


def test_endpoints_have_names_types_and_secrets() -> None:
    fleet, workshop = parse_endpoints(
        "fleet=https://hooks.example.com/argus?key=1 workshop[AlertRaised,DiagnosisCompleted]=http://127.0.0.1:9000/",
        f"fleet={SECRET} fleet={OTHER_SECRET}\nworkshop={SECRET}",
    )
    assert (fleet.url, fleet.secrets, fleet.host) == (
        "https://hooks.example.com/argus?key=1", (SECRET, OTHER_SECRET), "hooks.example.com",
    )  # fmt: skip
    assert workshop.types == ("DiagnosisCompleted", "AlertRaised")
    assert wanted_by((fleet, workshop), "AlertRaised") == ("fleet", "workshop")
    assert wanted_by((fleet, workshop), "FileParsed") == ("fleet",)


@pytest.mark.parametrize(
    ("webhooks", "secrets", "told"),
    [
        ("https://h/p4ss", f"a={SECRET}", "entry 1 is not a name with an address"),
        ("a=http://example.com/p4ss", f"a={SECRET}", "'a' is not encrypted"),
        ("a=http://10.0.0.1/p4ss", f"a={SECRET}", "'a' is not encrypted"),
        ("a=http://127.0.0.1.example.com/p4ss", f"a={SECRET}", "'a' is not encrypted"),
        ("a=ftp://h/p4ss", f"a={SECRET}", "'a' is not an https:// URL"),
        ("a=https://", f"a={SECRET}", "'a' is not an https:// URL"),
        ("a=https://h:99999/p4ss", f"a={SECRET}", "'a' is not an https:// URL"),
        ("a=https://u:p4ss@h/", f"a={SECRET}", "'a' holds a login"),
        ("a=https://h/p4ss a=https://i/", f"a={SECRET}", "'a' is named twice"),
        ("a=https://h/p4ss", "", "no secret for the endpoint 'a'"),
        ("a=https://h/p4ss", f"a={SECRET} b={SECRET}", "a secret for 'b'"),
        ("a=https://h/", "a=p4ssp4ssp4ssp4ssp4ssp4ss", "entry 1 is not a name with a secret"),
        ("a=https://h/", "whsec_p4ss", "entry 1 is not a name with a secret"),
        ("a=https://h/", "a=whsec_" + b64encode(b"p4ss" * 2).decode(), "entry 1 is not a name with a secret"),
        ("a[Nothing]=https://h/p4ss", f"a={SECRET}", "'a' is to get Nothing; the events are BatchCreated"),
        ("a[]=https://h/p4ss", f"a={SECRET}", "'a' is to get nothing"),
    ],
)
def test_a_mistake_is_told_without_an_address_and_a_secret(webhooks: str, secrets: str, told: str) -> None:
    with pytest.raises(BadSetting) as caught:
        parse_endpoints(webhooks, secrets)
    assert told in caught.value.what
    assert "p4ss" not in str(caught.value)
    assert SECRET not in str(caught.value)
