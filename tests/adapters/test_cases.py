"""The cases in PostgreSQL against the exact store in memory, with and without the index."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import numpy as np
import psycopg2
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from argus_assets.adapters.postgres.cases import BATCH, EF_SEARCH, PostgresCaseStore
from argus_assets.adapters.postgres.database import Database
from argus_assets.diagnosis.model import SimilarCase
from argus_assets.diagnosis.ports import Case, CaseQuery, ConfirmedPrediction
from argus_assets.diagnosis.retrieval import CANDIDATES, SAME_SIGNATURE, MemoryCaseStore, is_visible
from argus_assets.diagnosis.vectors import IdfTable, code_vector, features
from argus_assets.errors import BadSetting, Unavailable
from benchmarks.case_fleet import make_cases
from tests.support.case_data import DAY0, case, queries, query, some_cases

FEW = settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
EXACT = "&options=-c%20enable_indexscan%3Doff"


@pytest.fixture
def store(database_url: str) -> PostgresCaseStore:
    return PostgresCaseStore(Database(database_url))


@contextmanager
def sql(url: str) -> Iterator["psycopg2.extensions.cursor"]:
    connection = psycopg2.connect(url)
    with connection, connection.cursor() as cursor:
        yield cursor
    connection.close()


def empty(url: str) -> None:
    with sql(url) as cursor:
        cursor.execute("TRUNCATE argus.cases, argus.idf_versions")


def agree(one: list[SimilarCase], other: list[SimilarCase]) -> None:
    """The same cases, but for those whose weights cannot be told apart in single precision."""
    assert [s.weight for s in one] == pytest.approx([s.weight for s in other], abs=2e-4)
    if one:
        least = min(one[-1].weight, other[-1].weight) + 3e-4
        assert {s.id for s in one if s.weight > least} == {s.id for s in other if s.weight > least}
    by_id = {s.id: s for s in other}
    for found in one:
        if found.id in by_id:
            told = {"similarity", "weight"}
            assert found.model_dump(exclude=told) == by_id[found.id].model_dump(exclude=told)


@FEW
@given(cases=some_cases(), asked=st.lists(queries, min_size=1, max_size=4), limit=st.integers(1, 6))
def test_without_the_index_the_answer_is_that_of_the_exact_store(
    database_url: str, cases: list[Case], asked: list[CaseQuery], limit: int
) -> None:
    store = PostgresCaseStore(Database(database_url + EXACT))
    store.find(limit=1)
    empty(database_url)
    store.add(cases)
    idf = store.idf()
    oracle = MemoryCaseStore(cases, idf=idf)
    for one in asked:
        sharing = [c for c in cases if is_visible(c, one) and features(one.codes).keys() & features(c.codes).keys()]
        cosines = sorted(
            (float(code_vector(c.codes, idf) @ code_vector(one.codes, idf)) for c in sharing), reverse=True
        )
        cut = CANDIDATES * limit
        assume(len(cosines) <= cut or cosines[cut - 1] - cosines[cut] > 1e-5)  # else either may be left out
        found, expected = store.search(one, limit=limit), oracle.search(one, limit=limit)
        assert found.scope == expected.scope
        agree(list(found.cases), list(expected.cases))


def test_with_the_index_nearly_all_of_the_nearest_are_found(database_url: str) -> None:
    store = PostgresCaseStore(Database(database_url))
    cases = list(make_cases(1000, 3))
    store.add(cases)
    idf = store.idf()
    matrix = np.stack([code_vector(c.codes, idf) for c in cases])
    hits = total = 0
    with sql(database_url) as cursor:
        cursor.execute(
            f"SET enable_seqscan = off; SET hnsw.iterative_scan = strict_order; SET hnsw.ef_search = {EF_SEARCH}"
        )
        order = "SELECT id FROM argus.cases ORDER BY vector <=> %s::vector LIMIT 5"
        for asked in make_cases(100, 4):
            vector = code_vector(asked.codes, idf)
            text = str(vector.tolist())
            cursor.execute("EXPLAIN " + order, (text,))
            assert "cases_vector" in str(cursor.fetchall())
            cursor.execute(order, (text,))
            cosines = matrix @ vector
            fifth = np.sort(cosines)[-5]
            found = [cosines[int(id_[1:])] for (id_,) in cursor.fetchall()]
            hits += sum(cosine >= fifth - 1e-5 for cosine in found)
            total += 5
    assert hits / total >= 0.95


def test_filters_hold_and_starve_nothing_when_the_index_is_used(database_url: str) -> None:
    """One case in sixty is of the platform: what an index alone returns first is nearly all of the other."""
    cases = [
        case(n, "P0301", "P0351", platform="car" if n % 60 else "truck", id=f"c{n}", partition=f"p{n}")
        for n in range(600)
    ]
    url = database_url + "&options=-c%20enable_seqscan%3Doff%20-c%20enable_bitmapscan%3Doff%20-c%20enable_sort%3Doff"
    store = PostgresCaseStore(Database(url))
    store.add(cases)
    found = store.similar(query("P0301", "P0351", platform="truck", exclude_partition="p60"), limit=5)
    assert len(found) == 5
    assert {s.platform for s in found} == {"truck"}
    assert "c60" not in {s.id for s in found}


@FEW
@given(cases=some_cases(max_size=20), asked=queries)
def test_what_was_confirmed_later_is_never_found(database_url: str, cases: list[Case], asked: CaseQuery) -> None:
    store = PostgresCaseStore(Database(database_url))
    store.find(limit=1)
    empty(database_url)
    store.add(cases)
    confirmed = {c.id: c.confirmed_at for c in cases}
    assert all(confirmed[s.id] <= asked.at for s in store.similar(asked, limit=20))


@FEW
@given(cases=some_cases(max_size=15))
def test_what_was_added_comes_back_as_it_was(database_url: str, cases: list[Case]) -> None:
    store = PostgresCaseStore(Database(database_url))
    store.find(limit=1)
    empty(database_url)
    store.add(cases)
    assert {c.id: c for c in store.find()} == {c.id: c for c in cases}
    assert [c.confirmed_at for c in store.find()] == sorted((c.confirmed_at for c in cases), reverse=True)
    assert store.counts() == {p: n for p in ("car", "truck") if (n := sum(c.platform == p for c in cases))}
    for one in cases:
        assert store.get(one.id) == one


def test_a_case_is_replaced_removed_and_found_by_what_is_asked(store: PostgresCaseStore) -> None:
    first = case(1, "P0420", fix="new catalyst", signature="s", predicted_cause="catalyst_worn",
                 predicted_confidence=0.5, predicted_mode="offline")  # fmt: skip
    store.add([first, case(2, "P0420", cause="oxygen_sensor"), case(3, "P0420", platform="truck", signature="s")])
    store.add([first.model_copy(update={"cause": "oxygen_sensor", "fix": None})])
    assert store.get("c1") == first.model_copy(update={"cause": "oxygen_sensor", "fix": None})
    assert len(store.find()) == 3
    assert [c.id for c in store.find(platform="car", cause="oxygen_sensor")] == ["c1", "c2"]
    assert len(store.find(limit=2)) == 2
    assert [c.id for c in store.with_signature("s", platform="car")] == ["c1"]
    assert store.with_signature("", platform="car") == []
    assert list(store.outcomes()) == [ConfirmedPrediction("offline", 0.5, False, "catalyst_worn")]
    assert store.remove("c1")
    assert not store.remove("c1")
    assert store.get("c1") is None


def test_of_one_signature_the_newest_are_looked_at(store: PostgresCaseStore) -> None:
    cases = [
        case(n, "P0420", signature="s", recorded_at=DAY0 + timedelta(minutes=n)) for n in range(SAME_SIGNATURE + 5)
    ]
    store.add(cases)
    found = store.with_signature("s", platform="car")
    assert list(found) == list(MemoryCaseStore(cases).with_signature("s", platform="car"))
    assert [c.id for c in found] == [f"c{n}" for n in range(SAME_SIGNATURE + 4, 4, -1)]


def test_an_empty_store_and_a_drive_without_codes_find_nothing(store: PostgresCaseStore) -> None:
    assert store.similar(query("P0420")) == ()
    assert store.idf() == IdfTable()
    assert store.reindex() == 0
    store.add([])
    store.add([case(1, "P0420")])
    assert store.similar(query()) == ()


def test_of_one_id_twice_in_one_call_the_later_counts(store: PostgresCaseStore) -> None:
    store.add([case(1, "P0420"), case(1, "P0420", cause="oxygen_sensor")])
    assert [c.cause for c in store.find()] == ["oxygen_sensor"]


# ------------------------------------------------------------------------------------------- versions


def versions(url: str) -> list[tuple[int, int]]:
    """(documents of a version, cases made with it)."""
    with sql(url) as cursor:
        cursor.execute(
            "SELECT documents, (SELECT count(*) FROM argus.cases WHERE idf_version = version) FROM argus.idf_versions"
        )
        return cursor.fetchall()


def test_a_new_table_is_made_when_the_cases_have_doubled(store: PostgresCaseStore, database_url: str) -> None:
    seen = []
    for n in range(9):
        store.add([case(n, "P0420", f"P03{n:02d}")])
        seen.append(versions(database_url))
    assert seen == [
        [(1, 1)], [(2, 2)], [(2, 3)], [(4, 4)], [(4, 5)], [(4, 6)], [(4, 7)], [(8, 8)], [(8, 9)],
    ]  # fmt: skip


@pytest.mark.parametrize("count", [3, BATCH + 7])
def test_all_vectors_are_those_of_the_table_in_force(store: PostgresCaseStore, database_url: str, count: int) -> None:
    store.add([case(n, "P0420", f"P03{n % 20:02d}") for n in range(count)])
    store.add([case(count - 1, "P0128"), *(case(n, "P0420", "E101") for n in range(count, 2 * count + 1))])
    assert versions(database_url) == [(2 * count + 1, 2 * count + 1)]
    idf = store.idf()
    assert idf == IdfTable.of([c.codes for c in store.find()], version=idf.version)
    with sql(database_url) as cursor:
        cursor.execute("SELECT id, vector::real[] FROM argus.cases")
        vectors = dict(cursor.fetchall())
    for one in store.find():
        assert np.asarray(vectors[one.id]) == pytest.approx(code_vector(one.codes, idf), abs=1e-6)


def test_a_new_table_by_request_counts_the_cases_that_are_there(store: PostgresCaseStore, database_url: str) -> None:
    store.add([case(n, "P0420") for n in range(8)])
    for n in range(6):
        store.remove(f"c{n}")
    written: list[int] = []
    assert store.reindex(on_written=written.append) == 2 == sum(written)
    assert versions(database_url) == [(2, 2)]
    assert dict(store.idf().df) == {"P0420": 2}


def test_queries_beside_writers_always_see_one_version(store: PostgresCaseStore, database_url: str) -> None:
    """Each case of the same codes as the query has cosine 1 with it, unless the two were made with different tables."""
    store.add([case(0, "P0301", "P0351")])
    other, failures, done = PostgresCaseStore(Database(database_url)), [], threading.Event()

    def ask() -> None:
        try:
            while not done.is_set():
                found = other.similar(query("P0301", "P0351"))
                failures.extend(s for s in found if s.similarity < 0.999)
        except Exception as error:
            failures.append(error)

    def write(start: int) -> None:
        try:
            for n in range(start, start + 25):
                PostgresCaseStore(Database(database_url)).add(
                    [case(n, "P0301", "P0351") if n % 5 == 0 else case(n, f"X{n}")]
                )
        except Exception as error:
            failures.append(error)

    reader = threading.Thread(target=ask)
    writers = [threading.Thread(target=write, args=(start,)) for start in (100, 200)]
    for thread in (reader, *writers):
        thread.start()
    for thread in writers:
        thread.join()
    done.set()
    reader.join()
    assert failures == []
    assert len(store.find()) == 51
    (documents, made), = versions(database_url)  # fmt: skip
    assert made == 51
    assert documents > 25


def test_a_failed_add_leaves_nothing(store: PostgresCaseStore, database_url: str) -> None:
    store.add([case(1, "P0420")])
    with pytest.raises(psycopg2.IntegrityError):
        store.add([case(2, "P0420"), case(3, "P0420").model_copy(update={"title": None})])
    assert [c.id for c in store.find()] == ["c1"]
    assert versions(database_url) == [(1, 1)]


def test_what_postgresql_cannot_hold_costs_a_character_and_not_the_case(store: PostgresCaseStore) -> None:
    """NUL and lone surrogates, in texts and inside of JSON."""
    store.add([case(1, "P04\x0020", title="a\0b\ud800c", fix="\x00")])
    (kept,) = store.find()
    assert (kept.title, kept.fix, [c.code for c in kept.codes]) == ("abc", "", ["P0420"])


# ------------------------------------------------------------------------------------------- embeddings


class Letters:
    """An embedding model that counts letters."""

    def __init__(self, name: str = "letters") -> None:
        self.name = name
        self.broken = False
        self.texts: list[str] = []

    def embed(self, texts: list[str]) -> list[list[float]]:
        if self.broken:
            raise Unavailable("The model did not answer.")
        self.texts += texts
        return [[float(text.count(chr(65 + n))) + 0.1 for n in range(26)] for text in texts]


def test_with_a_model_texts_of_codes_are_compared(database_url: str) -> None:
    model = Letters()
    store = PostgresCaseStore(Database(database_url), model)
    store.add([case(n, "P0420", *(["U0100-87"] * (n > 2))) for n in range(5)])
    found = store.search(query("P0420", "U0100-87"))
    assert found.compared_by == "letters"
    assert {s.id for s in found.cases[:2]} == {"c3", "c4"}
    assert [s.similarity for s in found.cases[:2]] == pytest.approx([1, 1], abs=1e-4)
    assert all(text.startswith("P0420: ") for text in model.texts)
    before = len(model.texts)
    store.add([case(n, "P0420") for n in range(10, 30)])
    assert len(model.texts) == before + 20, "a model knows no idf table: nothing is made anew"


def test_when_the_model_is_silent_cases_are_compared_by_codes(database_url: str, caplog) -> None:
    model = Letters()
    store = PostgresCaseStore(Database(database_url), model)
    cases = [case(n, "P0420", *(["P0301"] * n)) for n in range(3)]
    store.add(cases)
    model.broken = True
    found = store.search(query("P0420", "P0301"))
    assert found == MemoryCaseStore(cases).search(query("P0420", "P0301"))
    assert found.compared_by == "codes"
    assert "did not answer" in caplog.text
    with pytest.raises(Unavailable):
        store.add([case(9, "P0420")])
    assert len(store.find()) == 3


def test_another_model_makes_all_vectors_anew_when_asked_to(database_url: str) -> None:
    PostgresCaseStore(Database(database_url)).add([case(1, "P0420"), case(2, "P0301")])
    store = PostgresCaseStore(Database(database_url), Letters())
    assert store.search(query("P0420")).compared_by == "codes", "queries go on with the vectors that are there"
    with pytest.raises(BadSetting, match="code counts") as refused:
        store.add([case(3, "P0420")])
    assert "argus case reindex" in refused.value.help
    assert store.reindex() == 2
    assert store.search(query("P0420")).compared_by == "letters"
    store.add([case(3, "P0420")])
    back = PostgresCaseStore(Database(database_url))
    assert {s.id for s in back.search(query("P0420")).cases} == {"c1", "c3"}, "by their codes, one by one"
    assert back.reindex() == 3
    assert back.search(query("P0420")).compared_by == "codes"
    assert len(versions(database_url)) == 1


def test_recency_ranks_among_equals(store: PostgresCaseStore) -> None:
    store.add([case(n, "P0420", recorded_at=DAY0 + timedelta(days=n)) for n in range(10)])
    assert [s.id for s in store.similar(query("P0420"), limit=3)] == ["c9", "c8", "c7"]
