"""The outbox on a real PostgreSQL, delivered to a real receiver that fails in every way."""

import multiprocessing
import os
import signal
import threading
import time
from collections import Counter
from datetime import UTC, datetime, timedelta

import psycopg2
import pytest

from argus_assets.adapters.postgres.database import Database
from argus_assets.adapters.postgres.outbox import Outbox
from argus_assets.adapters.webhook_sender import Delivered, deliver
from argus_assets.notifications.delivery import PAUSES, REFUSALS
from argus_assets.notifications.endpoints import Endpoint
from argus_assets.notifications.events import FileParsed, Outcome, outcome_id
from tests.support.webhook_receiver import OTHER_SECRET, SECRET, Answer, Receiver, receiver

SPAWN = multiprocessing.get_context("spawn")


@pytest.fixture
def outbox(database_url: str) -> Outbox:
    return Outbox(Database(database_url))


@pytest.fixture
def there():
    with receiver() as made:
        yield made


def at(there: Receiver, *, name: str = "fleet", secrets: tuple[str, ...] = (SECRET,)) -> Endpoint:
    return Endpoint(name, there.url, secrets)


def outcome(vehicle: str = "truck-1", batch: str = "b1", recording: str = "a.blf") -> Outcome:
    data = FileParsed(
        vehicle_id=vehicle,
        batch_id=batch,
        manifest_digest="0123456789abcdef",
        recording=recording,
        state="parsed",
        format="blf",
        frames=3,
        frames_lost=0,
    )
    return Outcome(outcome_id(vehicle, batch, recording), "FileParsed", datetime(2026, 11, 20, 12, tzinfo=UTC), data)


def put(outbox: Outbox, *outcomes: Outcome, endpoints: tuple[str, ...] = ("fleet",)) -> int:
    now = datetime.now(UTC)
    with outbox.writing() as writer:
        return writer.add([(o, endpoints, now) for o in outcomes], source="/argus", now=now)


def time_passes(url: str, **by: float) -> None:
    """Everything that waits is due so much earlier."""
    connection = psycopg2.connect(url)
    with connection, connection.cursor() as cursor:
        cursor.execute("UPDATE argus.outbox SET next_attempt_at = next_attempt_at - %s", (timedelta(**by),))
        cursor.execute("UPDATE argus.webhook_endpoints SET paused_until = paused_until - %s", (timedelta(**by),))
    connection.close()


def test_an_event_arrives_signed_and_once(outbox, there) -> None:
    event = outcome()
    assert put(outbox, event) == 1
    assert put(outbox, event) == 0, "the same event again"
    assert deliver(outbox, [at(there)]) == Delivered(delivered=1)
    assert deliver(outbox, [at(there)]) == Delivered()
    assert not there.refused
    (received,) = there.events
    assert (received["id"], received["type"], received["source"], received["subject"], received["time"]) == (
        event.id, "argus.FileParsed", "/argus", "truck-1/b1", "2026-11-20T12:00:00.000Z",
    )  # fmt: skip
    assert received.data == event.data.model_dump(mode="json", exclude_none=True)
    assert there.headers[0]["content-type"].startswith("application/cloudevents+json")


@pytest.mark.parametrize("known", [SECRET, OTHER_SECRET])
def test_while_a_secret_is_changed_both_verify(outbox, there, known) -> None:
    there.secret = known
    put(outbox, outcome())
    assert deliver(outbox, [at(there, secrets=(OTHER_SECRET, SECRET))]).delivered == 1
    assert not there.refused


def test_a_wrong_secret_is_refused_and_ends_as_a_dead_letter(outbox, there, database_url) -> None:
    put(outbox, outcome())
    for _ in range(REFUSALS):
        deliver(outbox, [at(there, secrets=(OTHER_SECRET,))])
        time_passes(database_url, hours=1)
    assert len(there.refused) == REFUSALS
    (dead,) = outbox.entries("dead")
    assert (dead.attempts, dead.last_error) == (REFUSALS, "answered 401 Unauthorized")
    assert outbox.retry(now=datetime.now(UTC)) == 1
    assert deliver(outbox, [at(there)]).delivered == 1


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (Answer(500), "answered 500 Internal Server Error"),
        (Answer(503, {"retry-after": "7200"}), "answered 503 Service Unavailable"),
        (Answer(cut=True), "the connection broke: RemoteProtocolError"),
        (Answer(hang_s=30), "no complete answer within 0.5 s"),
        (Answer(drip_s=0.02), "no complete answer within 0.5 s"),
        (Answer(302, {"location": "/elsewhere"}), "answered 302 Found: redirects are not followed"),
        (Answer(400), "answered 400 Bad Request"),
    ],
)
def test_what_fails_is_sent_again_with_its_id(outbox, there, database_url, answer, told) -> None:
    put(outbox, outcome())
    there.answer = lambda _: answer
    began = time.monotonic()
    assert deliver(outbox, [at(there)], timeout_s=0.5) == Delivered(again=1)
    assert time.monotonic() - began < 10
    (entry,) = outbox.entries("pending")
    assert (entry.attempts, entry.last_error) == (1, told)
    assert "not-to-be-told" not in entry.last_error
    assert deliver(outbox, [at(there)]) == Delivered(), "the pause holds"
    there.answer = lambda _: Answer(200)
    wait = 7200 if "retry-after" in answer.headers else PAUSES[0].total_seconds()
    time_passes(database_url, seconds=wait - 2)
    assert deliver(outbox, [at(there)]) == Delivered(), "the pause holds until its end"
    time_passes(database_url, seconds=2)
    assert deliver(outbox, [at(there)]) == Delivered(delivered=1)
    assert len(set(there.seen)) == 1
    assert len(there.seen) == 2


def test_a_receiver_that_never_recovers_gets_a_dead_letter_after_all_attempts(outbox, there, database_url) -> None:
    put(outbox, outcome())
    there.answer = lambda _: Answer(500)
    for _ in range(len(PAUSES) + 3):
        deliver(outbox, [at(there)])
        time_passes(database_url, days=2)
    assert len(there.seen) == len(PAUSES) + 1
    (dead,) = outbox.entries("dead")
    assert dead.attempts == len(PAUSES) + 1
    assert not outbox.entries("pending")


def test_gone_means_that_nothing_is_sent_any_more(outbox, there, database_url) -> None:
    put(outbox, *(outcome(batch=f"b{n}") for n in range(5)))
    there.answer = lambda _: Answer(410)
    assert deliver(outbox, [at(there)], workers=1) == Delivered(gone=1)
    time_passes(database_url, days=30)
    assert deliver(outbox, [at(there)]) == Delivered()
    (state,) = outbox.states(["fleet"])
    assert (state.disabled_why, state.pending, state.dead) == ("answered 410 Gone", 4, 1)
    there.answer = lambda _: Answer(200)
    assert outbox.retry(endpoint="fleet", now=datetime.now(UTC)) == 1
    assert deliver(outbox, [at(there)]).delivered == 5


def test_too_many_requests_lets_the_whole_endpoint_rest(outbox, there, database_url) -> None:
    put(outbox, *(outcome(batch=f"b{n}") for n in range(20)))
    there.answer = lambda _: Answer(429, {"retry-after": "60"})
    assert deliver(outbox, [at(there)], workers=1) == Delivered(again=1)
    there.answer = lambda _: Answer(200)
    time_passes(database_url, seconds=55)
    assert deliver(outbox, [at(there)]) == Delivered()
    time_passes(database_url, seconds=5)
    assert deliver(outbox, [at(there)]).delivered == 20


def test_an_endpoint_that_does_not_answer_is_asked_rarely_and_keeps_nobody_else_waiting(outbox, there) -> None:
    put(outbox, *(outcome(batch=f"b{n}") for n in range(200)), endpoints=("fleet", "down"))
    down = Endpoint("down", "http://127.0.0.1:9/", (SECRET,))
    done = deliver(outbox, [at(there), down], workers=2)
    assert done.delivered == 200
    assert 3 <= done.again <= 5
    pending = outbox.entries("pending", limit=500)
    assert len(pending) == 200
    assert {e.last_error for e in pending if e.attempts} == {"no connection: Connection refused"}


def test_a_long_answer_is_not_read(outbox, there) -> None:
    put(outbox, outcome())
    there.answer = lambda _: Answer(200, body_bytes=64 * 1024 * 1024)
    began = time.monotonic()
    assert deliver(outbox, [at(there)]).delivered == 1
    assert time.monotonic() - began < 5


def test_events_of_a_batch_come_in_order_also_when_one_fails(outbox, there, database_url) -> None:
    put(outbox, *(outcome(batch=f"b{b}", recording=f"{r:02}") for r in range(20) for b in range(5)))
    failed: set[str] = set()

    def sometimes(event) -> Answer:
        # Each third event fails at its first attempt.
        first = event["id"] not in failed
        failed.add(event["id"])
        return Answer(500 if first and int(event.data["recording"]) % 3 == 1 else 200)

    there.answer = sometimes
    for _ in range(30):
        deliver(outbox, [at(there)])
        time_passes(database_url, hours=1)
    assert not outbox.entries("pending")
    for b in range(5):
        recordings = [e.data["recording"] for e in there.events if e["subject"] == f"truck-1/b{b}"]
        assert recordings == [f"{r:02}" for r in range(20)]


def test_a_dead_letter_does_not_hold_back_what_follows(outbox, there, database_url) -> None:
    put(outbox, outcome(recording="0"), outcome(recording="1"))
    there.answer = lambda e: Answer(400 if e.data["recording"] == "0" else 200)
    for _ in range(REFUSALS):
        deliver(outbox, [at(there)])
        time_passes(database_url, hours=1)
    deliver(outbox, [at(there)])
    assert [e.data["recording"] for e in there.events] == ["1"]


def deliver_in_a_process(url: str, endpoint: Endpoint) -> None:
    deliver(Outbox(Database(url)), [endpoint], seconds=30)


def test_many_deliverers_at_once_send_nothing_twice(outbox, there, database_url) -> None:
    put(outbox, *(outcome(batch=f"b{n % 40}", recording=str(n)) for n in range(400)))
    processes = [SPAWN.Process(target=deliver_in_a_process, args=(database_url, at(there))) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert not outbox.entries("pending")
    assert there.most_at_once == 1
    assert Counter(there.seen).most_common(1)[0][1] == 1
    assert len(there.events) == 400


def test_killed_between_the_answer_and_its_record_the_event_comes_again_with_its_id(
    outbox, there, database_url
) -> None:
    event = outcome()
    put(outbox, event)
    arrived = threading.Event()

    def hold(_) -> Answer:
        arrived.set()
        return Answer(200, hang_s=5)

    there.answer = hold
    process = SPAWN.Process(target=deliver_in_a_process, args=(database_url, at(there)))
    process.start()
    assert arrived.wait(30)
    assert deliver(outbox, [at(there)]) == Delivered(), "somebody is at it"
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    there.released.set()
    there.answer = lambda _: Answer(200)
    deadline = time.monotonic() + 10
    while deliver(outbox, [at(there)]) != Delivered(delivered=1):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert [i for i, _ in there.seen] == [event.id, event.id]
    assert deliver(outbox, [at(there)]) == Delivered()


def test_no_secret_and_no_address_is_kept_or_shown(outbox, there, database_url) -> None:
    put(outbox, outcome())
    there.answer = lambda _: Answer(500)
    endpoint = at(there)
    deliver(outbox, [endpoint])
    assert SECRET not in repr(endpoint)
    assert there.url not in repr(endpoint)
    connection = psycopg2.connect(database_url)
    with connection.cursor() as cursor:
        for table in ("outbox", "webhook_endpoints", "outbox_cursor", "alerts"):
            cursor.execute(f"SELECT t::text FROM argus.{table} t")
            for (text,) in cursor.fetchall():
                assert SECRET.removeprefix("whsec_") not in text
                assert "not-to-be-told" not in text
                assert "127.0.0.1" not in text
    connection.close()


def test_what_was_delivered_long_ago_is_deleted_and_nothing_else(outbox, there, database_url) -> None:
    put(outbox, *(outcome(batch=f"b{n}") for n in range(3)))
    there.answer = lambda e: Answer(200 if e["subject"].endswith("b0") else 500)
    deliver(outbox, [at(there)])
    now = datetime.now(UTC)
    assert outbox.purge(before=now - timedelta(days=1)) == 0
    assert outbox.purge(before=now + timedelta(seconds=1)) == 1
    assert len(outbox.entries("pending")) == 2
