"""The token ledger: no crowd of processes spends a token too much, and nothing that was set aside is forgotten."""

import multiprocessing
import os
import random
import signal
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import psycopg2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from argus_assets.adapters.postgres.database import Database
from argus_assets.adapters.postgres.ledger import PostgresLedger
from argus_assets.diagnosis.budget import share_of_budget
from argus_assets.diagnosis.ports import OverBudget, Usage

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
SPAWN = multiprocessing.get_context("spawn")


@pytest.fixture
def database(database_url: str) -> Database:
    return Database(database_url)


def diagnose_a_lot(url: str, number: int, limit: int, rounds: int) -> int:
    """One process of the crowd; returns what it spent by its own count."""
    ledger, dice, spent = (
        PostgresLedger(Database(url), daily_tokens=limit, clock=lambda: NOON),
        random.Random(number),
        0,
    )
    for _ in range(rounds):
        try:
            reservation = ledger.reserve(dice.randint(500, 3000), batch=f"b{number}", model="m", priority=dice.random())
        except OverBudget:
            continue
        used = Usage(prompt_tokens=dice.randint(0, reservation.tokens))
        ledger.settle(reservation, used, outcome="answered", cost_usd=None)
        spent += used.total
    return spent


def ten_at_a_time(url: str, first: int, limit: int) -> int:
    with ThreadPoolExecutor(10) as threads:
        return sum(threads.map(lambda n: diagnose_a_lot(url, n, limit, 4), range(first, first + 10)))


def test_fifty_at_the_same_time_never_pass_the_limit(database, database_url) -> None:
    limit = 40_000
    database.migrate()
    worst = 0
    with ProcessPoolExecutor(5, mp_context=SPAWN) as pool:
        jobs = [pool.submit(ten_at_a_time, database_url, first, limit) for first in range(0, 50, 10)]
        connection = psycopg2.connect(database_url)
        connection.autocommit = True
        with connection.cursor() as cursor:
            while not all(job.done() for job in jobs):
                cursor.execute("SELECT coalesce(sum(spent + reserved), 0) FROM argus.token_days")
                worst = max(worst, int(cursor.fetchone()[0]))
                time.sleep(0.002)
            spent = sum(job.result() for job in jobs)
            cursor.execute("SELECT spent, reserved FROM argus.token_days")
            assert cursor.fetchone() == (spent, 0)
        connection.close()
    assert 0 < worst <= limit
    today = PostgresLedger(database, daily_tokens=limit, clock=lambda: NOON).today()
    assert today.spent == today.prompt_tokens + today.completion_tokens == spent
    with pytest.raises(OverBudget):
        PostgresLedger(database, daily_tokens=limit, clock=lambda: NOON).reserve(
            limit - spent + 1, batch="b", model="m", priority=1.0
        )


def reserve_and_hang(url: str, ready) -> None:
    PostgresLedger(Database(url), daily_tokens=10_000, clock=lambda: NOON).reserve(
        4000, batch="b", model="m", priority=1.0
    )
    ready.set()
    time.sleep(60)


def test_what_a_killed_process_set_aside_stays_spent(database, database_url) -> None:
    ready = SPAWN.Event()
    process = SPAWN.Process(target=reserve_and_hang, args=(database_url, ready))
    process.start()
    assert ready.wait(30)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    ledger = PostgresLedger(database, daily_tokens=10_000, clock=lambda: NOON)
    assert ledger.today().left == 6000
    with pytest.raises(OverBudget, match=r"6,001 are wanted, 0 are spent and 4,000 set aside of 10,000"):
        ledger.reserve(6001, batch="b", model="m", priority=1.0)
    ledger.reserve(6000, batch="b", model="m", priority=1.0)


steps = st.lists(
    st.one_of(
        st.tuples(st.just("reserve"), st.integers(0, 4000), st.floats(0, 1)),
        st.tuples(st.just("settle"), st.integers(0, 5), st.integers(0, 5000)),
        st.tuples(st.just("tomorrow"), st.just(0), st.just(0)),
        st.tuples(st.just("limit"), st.integers(0, 12_000), st.just(0)),
    ),
    max_size=25,
)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps)
def test_the_ledger_counts_as_a_list_would(database, commands) -> None:
    with database.transaction() as connection, connection.cursor() as cursor:
        cursor.execute("TRUNCATE argus.token_days CASCADE")
    day, limit = NOON, 8000
    open_, totals = [], {}
    for name, first, second in commands:
        ledger = PostgresLedger(database, daily_tokens=limit, clock=lambda day=day: day)
        spent, held = totals.setdefault(day.date(), [0, 0])
        if name == "reserve":
            fits = spent + held + first <= int(limit * share_of_budget(second))
            try:
                reservation = ledger.reserve(first, batch="b", model="m", priority=second)
            except OverBudget:
                assert not fits
            else:
                assert fits
                totals[day.date()][1] += first
                open_.append((reservation, day.date()))
        elif name == "settle" and open_:
            reservation, of = open_.pop(first % len(open_))
            for _ in range(2):  # twice is once
                ledger.settle(reservation, Usage(completion_tokens=second), outcome="timeout", cost_usd=0.5)
            totals[of][0] += second
            totals[of][1] -= reservation.tokens
        elif name == "tomorrow":
            day += timedelta(days=1)
        elif name == "limit":
            limit = first
    found = {d.day: (d.spent, d.reserved) for d in PostgresLedger(database, daily_tokens=limit).days(last=100)}
    assert found == {d: tuple(t) for d, t in totals.items() if d in found}
    assert all(t == [0, 0] for d, t in totals.items() if d not in found)


def test_calls_are_told_with_what_they_took(database) -> None:
    ledger = PostgresLedger(database, daily_tokens=10_000, clock=lambda: NOON)
    for outcome, cost in (("answered", 0.01), ("server_error", None), ("rate_limited", 0.0)):
        used = Usage() if outcome == "rate_limited" else Usage(100, 20, 10, estimated=cost is None)
        ledger.settle(ledger.reserve(500, batch="b1", model="m", priority=0.5), used, outcome=outcome, cost_usd=cost)
    ledger.reserve(700, batch="b2", model="m", priority=0.5)
    today = ledger.today()
    assert (today.calls, today.failed, today.batches, today.spent, today.reserved) == (4, 2, 2, 240, 700)
    assert (today.cost_usd, today.calls_without_price) == (0.01, 1)
    calls = ledger.calls_of("b1")
    assert [(c.outcome, c.prompt_tokens, c.estimated) for c in calls] == [
        ("answered", 100, False), ("server_error", 100, True), ("rate_limited", 0, False),
    ]  # fmt: skip
    assert ledger.calls_of("b2")[0].settled_at is None


def partition(vehicle: str, number: int) -> str:
    return f"2026-11-20_{vehicle}_b_{number}"


def one_vehicle_asks_a_lot(url: str, vehicle: str, limit: int) -> None:
    ledger, dice = PostgresLedger(Database(url), daily_tokens=limit, clock=lambda: NOON), random.Random(vehicle)
    for number in range(12):
        try:
            reservation = ledger.reserve(
                dice.randint(200, 900), batch=partition(vehicle, number), model="m", priority=1.0
            )
        except OverBudget:
            continue
        if dice.random() < 0.7:
            used = Usage(prompt_tokens=dice.randint(0, reservation.tokens))
            ledger.settle(reservation, used, outcome="answered", cost_usd=None)


def test_no_vehicle_takes_more_than_its_share_however_many_ask_at_once(database, database_url) -> None:
    limit, share = 20_000, 5_000
    database.migrate()
    vehicles = ["v.1", "v.1", "v.1", "v-1", "w"]
    with ThreadPoolExecutor(len(vehicles)) as threads:
        list(threads.map(lambda v: one_vehicle_asks_a_lot(database_url, v, limit), vehicles))
    taken: dict[str, int] = {}
    ledger = PostgresLedger(database, daily_tokens=limit, clock=lambda: NOON)
    for vehicle in set(vehicles):
        calls = [call for number in range(12) for call in ledger.calls_of(partition(vehicle, number))]
        taken[vehicle] = sum(
            c.reserved if c.settled_at is None else c.prompt_tokens + c.completion_tokens for c in calls
        )
    assert all(0 < tokens <= share for tokens in taken.values()), taken
    assert sum(taken.values()) == ledger.today().spent + ledger.today().reserved
    flood = partition("v.1", 99)
    with pytest.raises(OverBudget, match=r"one vehicle do not allow.* may have 5,000 of 20,000"):
        ledger.reserve(share + 1 - taken["v.1"], batch=flood, model="m", priority=1.0)
    ledger.reserve(share - taken["v.1"], batch=flood, model="m", priority=1.0)


def test_the_first_call_of_a_vehicle_is_bounded_by_the_priority_alone(database) -> None:
    ledger = PostgresLedger(database, daily_tokens=10_000, vehicle_share=0.1, clock=lambda: NOON)
    ledger.reserve(4_000, batch=partition("v", 1), model="m", priority=0.0)
    with pytest.raises(OverBudget, match="one vehicle"):
        ledger.reserve(1, batch=partition("v", 2), model="m", priority=1.0)
    ledger.reserve(6_000, batch=partition("w", 1), model="m", priority=1.0)
    with pytest.raises(OverBudget, match="The day's tokens do not allow"):
        ledger.reserve(1, batch=partition("x", 1), model="m", priority=1.0)
    tomorrow = PostgresLedger(database, daily_tokens=10_000, vehicle_share=0.1, clock=lambda: NOON + timedelta(days=1))
    tomorrow.reserve(4_000, batch=partition("v", 2), model="m", priority=0.0)
    whole = PostgresLedger(database, daily_tokens=10_000, vehicle_share=1.0, clock=lambda: NOON + timedelta(days=1))
    whole.reserve(6_000, batch=partition("v", 3), model="m", priority=1.0)
