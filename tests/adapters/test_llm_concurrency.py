"""Places for calls: never more at the same time than there are, over all processes, and none is lost with its holder."""

import multiprocessing
import os
import signal
import time
from concurrent.futures import ProcessPoolExecutor

import psycopg2
import pytest

from argus_assets.adapters.postgres.database import Database
from argus_assets.adapters.postgres.llm_concurrency import LOCK_CLASS, LlmConcurrencyLimit
from argus_assets.diagnosis.ports import ModelFailed

SPAWN = multiprocessing.get_context("spawn")


def hold(url: str, times: int) -> None:
    slots = LlmConcurrencyLimit(Database(url), 3)
    for _ in range(times):
        with slots.slot(60):
            time.sleep(0.02)


def hold_for_ever(url: str, ready) -> None:
    with LlmConcurrencyLimit(Database(url), 1).slot(10):
        ready.set()
        time.sleep(60)


def test_no_more_than_there_are_slots(database_url) -> None:
    Database(database_url).migrate()
    with ProcessPoolExecutor(6, mp_context=SPAWN) as pool:
        jobs = [pool.submit(hold, database_url, 5) for _ in range(12)]
        connection = psycopg2.connect(database_url)
        connection.autocommit = True
        most = 0
        with connection.cursor() as cursor:
            while not all(job.done() for job in jobs):
                cursor.execute(
                    "SELECT count(*) FROM pg_locks l JOIN pg_database d ON d.oid = l.database "
                    "WHERE locktype = 'advisory' AND classid = %s AND d.datname = current_database() AND granted",
                    (LOCK_CLASS,),
                )
                most = max(most, cursor.fetchone()[0])
                time.sleep(0.002)
        connection.close()
        for job in jobs:
            job.result()
    assert 1 <= most <= 3


def test_who_waits_in_vain_is_told_and_a_killed_holder_frees_its_slot(database_url) -> None:
    ready = SPAWN.Event()
    process = SPAWN.Process(target=hold_for_ever, args=(database_url, ready))
    process.start()
    assert ready.wait(30)
    slots = LlmConcurrencyLimit(Database(database_url), 1)
    with pytest.raises(ModelFailed, match="all 1 slots") as told, slots.slot(0.2):
        pass
    assert told.value.usage is not None
    assert told.value.usage.total == 0
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    with slots.slot(10):
        pass
