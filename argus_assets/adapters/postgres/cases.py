"""Confirmed cases in PostgreSQL with pgvector. Keeps to the rules of `diagnosis.retrieval`.

All vectors of the table are made with one version: its idf table, or an embedding model. A version is replaced together
with all vectors, in one transaction, and a query reads version and vectors in one snapshot, so that it never compares
vectors of two versions. Writers take turns.
"""

import json
import logging
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from argus_assets.adapters.postgres.database import Database
from argus_assets.common.texts import json_document
from argus_assets.diagnosis.model import SimilarCase
from argus_assets.diagnosis.ports import Case, CaseQuery, CodeCount, ConfirmedPrediction, Embedder
from argus_assets.diagnosis.retrieval import (
    CANDIDATES,
    SAME_SIGNATURE,
    Found,
    MemoryCaseStore,
    best,
    case_text,
    is_enough,
    nearby,
)
from argus_assets.diagnosis.vectors import IdfTable, Vector, code_vector, features, padded
from argus_assets.errors import ArgusError, BadSetting
from argus_assets.faults.dictionary.lookup import describe

if TYPE_CHECKING:
    from psycopg2.extensions import cursor as Cursor  # noqa: N812 - the class is in lower case

CODES: Final = "codes"
"""Method of vectors that are made of code counts."""

WRITE_LOCK: Final = 0x63617365  # 'case': one transaction at a time writes cases
REINDEX_AT: Final = 2.0
"""Growth, as a factor of the cases of the active idf table, at which a new one is made."""

BATCH: Final = 500
"""Cases that are written by one statement."""

EF_SEARCH: Final = 400
"""Candidates that the index holds during a search: recall@5 is 0.99 on 20,000 clustered cases, 0.97 with 100."""

MAX_SCAN_TUPLES: Final = 200_000
"""How far the index is followed when a filter leaves little: to the end of what we expect to hold."""

UNINDEXED_CASES: Final = 2_000
"""Cases that are compared one by one when the vectors cannot be used, the newest first."""

_COLUMNS: Final = (
    "id, partition, platform, release, recorded_at, codes, signature, cause, title, fix, note, confirmed_at, "
    "confirmed_by, predicted_cause, predicted_confidence, predicted_mode"
)
_FIELDS: Final = tuple(_COLUMNS.split(", "))
_UPSERT: Final = (
    f"INSERT INTO argus.cases ({_COLUMNS}, features, vector, idf_version) VALUES %s ON CONFLICT (id) DO UPDATE SET "  # noqa: S608 - our own names
    + ", ".join(f"{name} = EXCLUDED.{name}" for name in (*_FIELDS[1:], "features", "vector", "idf_version"))
)
_VISIBLE: Final = "platform = %(platform)s AND confirmed_at <= %(at)s AND coalesce(partition <> %(partition)s, true)"
_RELEASES: Final = f"""
    WITH RECURSIVE seen(release) AS (
        SELECT min(release) FROM argus.cases WHERE {_VISIBLE}
        UNION ALL
        SELECT (SELECT min(c.release) FROM argus.cases c WHERE c.release > seen.release AND {_VISIBLE})
        FROM seen WHERE seen.release IS NOT NULL
    )
    SELECT release FROM seen WHERE release IS NOT NULL
"""  # noqa: S608 - our own text
"""The distinct releases, by one index lookup for each, not for each case."""

_log: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Version:
    """Method and model that made the vectors of the table."""

    number: int
    method: str
    documents: int


class PostgresCaseStore:
    """Cases in the table `argus.cases`. Safe to use from several threads and processes.

    Args:
        database: Where.
        embedder: Makes the vectors; without one they are made of code counts.

    Attributes:
        method: What this store makes vectors with: `codes`, or the name of the embedding model.
    """

    def __init__(self, database: Database, embedder: Embedder | None = None) -> None:
        self._database = database
        self._embedder = embedder
        self.method = CODES if embedder is None else embedder.name
        self._idf: dict[int, IdfTable] = {}

    # ------------------------------------------------------------------------------------------ reading

    def similar(self, query: CaseQuery, *, limit: int = 5) -> Sequence[SimilarCase]:
        """Return the most similar cases, best first."""
        return self.search(query, limit=limit).cases

    def search(self, query: CaseQuery, *, limit: int = 5) -> Found:
        """Return the most similar cases, and how they were found.

        Vectors of a model that is not set, or does not answer, are not used: the newest cases that share a code are
        compared by their codes instead.
        """
        if not query.codes:
            return Found((), "all releases")
        embedded = self._embedded_query(query)
        with self._reading() as cursor:
            version = _in_force(cursor)
            if version is None:
                return Found((), "all releases")
            if version.method == CODES:
                return self._nearest(
                    cursor, query, code_vector(query.codes, self._idf_of(cursor, version)), version, limit
                )
            if version.method == self.method and embedded is not None:
                return self._nearest(cursor, query, embedded, version, limit)
            _log.warning("The vectors of %s are not used: cases are compared by their codes", version.method)
            arguments = {**_arguments(query), "limit": UNINDEXED_CASES}
            found = _select(cursor, f"{_VISIBLE} AND features && %(features)s", arguments)
            return MemoryCaseStore(found).search(query, limit=limit)

    def with_signature(self, signature: str, *, platform: str) -> Sequence[Case]:
        """Return cases of exactly this fault signature, newest first, at most `SAME_SIGNATURE`."""
        if not signature:
            return []
        with self._reading() as cursor:
            where = "signature = %(signature)s AND platform = %(platform)s"
            arguments = {"signature": signature, "platform": platform, "limit": SAME_SIGNATURE}
            return _select(cursor, where, arguments)

    def outcomes(self) -> Sequence[ConfirmedPrediction]:
        """Return all confirmed predictions."""
        with self._reading() as cursor:
            cursor.execute(
                "SELECT coalesce(predicted_mode, ''), predicted_confidence, predicted_cause = cause, predicted_cause FROM argus.cases "
                "WHERE predicted_cause IS NOT NULL AND predicted_confidence IS NOT NULL ORDER BY id"
            )
            return [ConfirmedPrediction(*row) for row in cursor.fetchall()]

    def find(self, *, platform: str | None = None, cause: str | None = None, limit: int | None = None) -> list[Case]:
        """Return cases, newest first.

        Args:
            platform: Only of this one.
            cause: Only of this one.
            limit: How many at most.
        """
        where = "(%(platform)s IS NULL OR platform = %(platform)s) AND (%(cause)s IS NULL OR cause = %(cause)s)"
        with self._reading() as cursor:
            return _select(cursor, where, {"platform": platform, "cause": cause, "limit": limit})

    def get(self, id: str) -> Case | None:  # noqa: A002 - the field's name
        """Return one case, `None` without it."""
        with self._reading() as cursor:
            found = _select(cursor, "id = %(id)s", {"id": id, "limit": 1})
        return found[0] if found else None

    def causes(self) -> dict[str, str]:
        """Return all causes of cases with their titles, the latest where there are several."""
        with self._reading() as cursor:
            cursor.execute("SELECT DISTINCT ON (cause) cause, title FROM argus.cases ORDER BY cause, confirmed_at DESC")
            return dict(cursor.fetchall())

    def counts(self) -> dict[str, int]:
        """Return the number of cases by vehicle platform."""
        with self._reading() as cursor:
            cursor.execute("SELECT platform, count(*) FROM argus.cases GROUP BY platform ORDER BY platform")
            return dict(cursor.fetchall())

    def idf(self) -> IdfTable:
        """Return the active idf table; an empty one when there is none."""
        with self._reading() as cursor:
            version = _in_force(cursor)
            return IdfTable() if version is None else self._idf_of(cursor, version)

    # ------------------------------------------------------------------------------------------ writing

    def add(self, cases: Iterable[Case], *, on_written: Callable[[int], None] = lambda _: None) -> None:
        """Add cases, all or none; one with the id of another replaces it, and of two in `cases` the later counts.

        When that makes twice as many cases as the active idf table was counted from, a new table is made, and all
        vectors with it.

        Args:
            cases: What to add.
            on_written: Called with the number of cases written by each statement.

        Raises:
            BadSetting: The vectors that are there are made by another model.
            Unavailable: The embedding model or the database did not answer.
        """
        new = {case.id: case for case in cases}
        if not new:
            return
        embedded = self._embedded(list(new.values()))
        with self._writing() as cursor:
            version = _in_force(cursor)
            if version is not None and version.method != self.method:
                raise BadSetting(
                    f"The vectors of the cases are made by {_told(version.method)}, this would add some by "
                    f"{_told(self.method)}.",
                    help="`argus case reindex` makes all of them anew; or set ARGUS_EMBEDDING_MODEL as it was.",
                )
            cursor.execute("SELECT count(*) FROM argus.cases WHERE NOT id = ANY(%s)", (list(new),))
            others = _one(cursor)
            if version is None or (self._embedder is None and others + len(new) >= REINDEX_AT * version.documents):
                idf = self._new_version(cursor, new)
                self._write_anew(cursor, idf, but=new)
            else:
                idf = self._idf_of(cursor, version)
            vectors = embedded or {case.id: code_vector(case.codes, idf) for case in new.values()}
            _upsert(cursor, list(new.values()), vectors, idf.version, on_written)
            if len(new) > BATCH:
                cursor.execute("ANALYZE argus.cases")

    def remove(self, id: str) -> bool:  # noqa: A002 - the field's name
        """Remove a case; return true when there was one."""
        with self._writing() as cursor:
            cursor.execute("DELETE FROM argus.cases WHERE id = %s", (id,))
            return cursor.rowcount == 1

    def reindex(self, *, on_written: Callable[[int], None] = lambda _: None) -> int:
        """Make the idf table and all vectors anew; return the number of cases. Queries use the old ones meanwhile.

        Args:
            on_written: Called with the number of cases written by each statement.

        Raises:
            Unavailable: The embedding model or the database did not answer.
        """
        with self._writing() as cursor:
            idf = self._new_version(cursor, {})
            self._write_anew(cursor, idf, on_written=on_written)
            cursor.execute("ANALYZE argus.cases")
            return idf.documents

    # ------------------------------------------------------------------------------------------ inside

    @contextmanager
    def _reading(self) -> Generator["Cursor"]:
        """Use one snapshot for all statements of the block."""
        with self._database.transaction() as connection, connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            yield cursor

    @contextmanager
    def _writing(self) -> Generator["Cursor"]:
        with self._database.transaction() as connection, connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", (WRITE_LOCK,))
            yield cursor

    def _nearest(self, cursor: "Cursor", query: CaseQuery, vector: Vector, version: _Version, limit: int) -> Found:
        arguments = {
            **_arguments(query),
            "vector": _literal(vector),
            "version": version.number,
            "limit": CANDIDATES * limit,
        }
        cursor.execute(_RELEASES, arguments)
        releases = [release for (release,) in cursor.fetchall()]
        near = sorted(nearby(query.release, releases))
        # Filters leave out what the index finds: it goes on until there are enough (pgvector 0.8).
        cursor.execute(
            "SET LOCAL hnsw.iterative_scan = strict_order; SET LOCAL hnsw.ef_search = %s; "
            "SET LOCAL hnsw.max_scan_tuples = %s",
            (max(EF_SEARCH, min(1000, CANDIDATES * limit)), MAX_SCAN_TUPLES),
        )
        found = best(
            _by_distance(cursor, "AND release = ANY(%(near)s)", {**arguments, "near": near}), query, limit=limit
        )
        if is_enough(found, limit=limit):
            return Found(found, "near releases", version.method)
        if len(near) < len(releases):
            found = best(_by_distance(cursor, "", arguments), query, limit=limit)
        return Found(found, "all releases", version.method)

    def _idf_of(self, cursor: "Cursor", version: _Version) -> IdfTable:
        known = self._idf.get(version.number)
        if known is None:
            cursor.execute("SELECT df FROM argus.idf_versions WHERE version = %s", (version.number,))
            known = IdfTable(version.number, version.documents, _one(cursor))
            self._idf = {version.number: known}
        return known

    def _new_version(self, cursor: "Cursor", new: Mapping[str, Case]) -> IdfTable:
        """Count the table anew, with `new` in place of those of the same ids."""
        cursor.execute(
            "SELECT feature, count(*) FROM argus.cases, unnest(features) AS feature WHERE NOT id = ANY(%s) GROUP BY 1",
            (list(new),),
        )
        df: dict[str, int] = dict(cursor.fetchall()) if self._embedder is None else {}
        if self._embedder is None:
            for name, count in IdfTable.of([case.codes for case in new.values()]).df.items():
                df[name] = df.get(name, 0) + count
        cursor.execute("SELECT count(*) FROM argus.cases WHERE NOT id = ANY(%s)", (list(new),))
        documents = _one(cursor) + len(new)
        cursor.execute(
            "INSERT INTO argus.idf_versions (method, documents, df) VALUES (%s, %s, %s) RETURNING version",
            (self.method, documents, json.dumps(json_document(df))),
        )
        return IdfTable(_one(cursor), documents, df)

    def _write_anew(
        self,
        cursor: "Cursor",
        idf: IdfTable,
        *,
        but: Mapping[str, Case] | None = None,
        on_written: Callable[[int], None] = lambda _: None,
    ) -> None:
        """Make the vectors of all cases with a new version, but those that are about to be replaced."""
        last = ""
        while True:
            where = "id > %(last)s AND NOT id = ANY(%(but)s)"
            cases = _select(cursor, where, {"last": last, "but": list(but or ()), "limit": BATCH}, order="id")
            if not cases:
                break
            last = cases[-1].id
            vectors = self._embedded(cases) or {case.id: code_vector(case.codes, idf) for case in cases}
            _update_vectors(cursor, vectors, idf.version)
            on_written(len(cases))
        if but:  # they follow, and nothing may refer to an old version
            cursor.execute("DELETE FROM argus.cases WHERE id = ANY(%s)", (list(but),))
        cursor.execute("DELETE FROM argus.idf_versions WHERE version <> %s", (idf.version,))

    def _embedded(self, cases: Sequence[Case]) -> dict[str, Vector]:
        """Return vectors of cases by the embedding model; empty without one."""
        if self._embedder is None:
            return {}
        made = self._embedder.embed([case_text(case.codes, _meaning) for case in cases])
        return {case.id: padded(v, name=self.method) for case, v in zip(cases, made, strict=True)}

    def _embedded_query(self, query: CaseQuery) -> Vector | None:
        if self._embedder is None:
            return None
        try:
            return padded(self._embedder.embed([case_text(query.codes, _meaning)])[0], name=self.method)
        except ArgusError as error:
            _log.warning("%s", error)
            return None


def _meaning(code: str) -> str:
    return describe(code).text


def _told(method: str) -> str:
    return "code counts" if method == CODES else f"the embedding model {method}"


def _in_force(cursor: "Cursor") -> _Version | None:
    cursor.execute("SELECT version, method, documents FROM argus.idf_versions ORDER BY version DESC LIMIT 1")
    row = cursor.fetchone()
    return None if row is None else _Version(*row)


def _arguments(query: CaseQuery) -> dict[str, Any]:
    return {
        "platform": query.platform,
        "at": query.at,
        "partition": query.exclude_partition,
        "features": list(features(query.codes)),
    }


def _by_distance(cursor: "Cursor", where: str, arguments: Mapping[str, Any]) -> list[tuple[Case, float]]:
    cursor.execute(
        f"SELECT {_COLUMNS}, 1 - (vector <=> %(vector)s::vector) FROM argus.cases "  # noqa: S608 - our own names
        f"WHERE {_VISIBLE} AND features && %(features)s AND idf_version = %(version)s {where} "
        "ORDER BY vector <=> %(vector)s::vector LIMIT %(limit)s",
        arguments,
    )
    return [(_case(row), row[-1]) for row in cursor.fetchall()]


def _select(
    cursor: "Cursor", where: str, arguments: Mapping[str, Any], *, order: str = "confirmed_at DESC, id"
) -> list[Case]:
    cursor.execute(f"SELECT {_COLUMNS} FROM argus.cases WHERE {where} ORDER BY {order} LIMIT %(limit)s", arguments)  # noqa: S608 - our own names
    return [_case(row) for row in cursor.fetchall()]


def _case(row: Sequence[Any]) -> Case:
    fields = dict(zip(_FIELDS, row, strict=False))
    codes = tuple(CodeCount(code=code, ecu=ecu, occurrences=n) for code, ecu, n in fields.pop("codes"))
    return Case(codes=codes, **fields)


def _row(case: Case, vector: Vector, version: int) -> tuple[Any, ...]:
    fields = {
        **{name: getattr(case, name) for name in _FIELDS},
        "codes": json.dumps(json_document([[c.code, c.ecu, c.occurrences] for c in case.codes])),
    }
    return (*fields.values(), list(features(case.codes)), _literal(vector), version)


def _upsert(
    cursor: "Cursor",
    cases: Sequence[Case],
    vectors: Mapping[str, Vector],
    version: int,
    on_written: Callable[[int], None],
) -> None:
    from psycopg2.extras import execute_values

    for start in range(0, len(cases), BATCH):
        some = cases[start : start + BATCH]
        execute_values(cursor, _UPSERT, [_row(case, vectors[case.id], version) for case in some], page_size=BATCH)
        on_written(len(some))


def _update_vectors(cursor: "Cursor", vectors: Mapping[str, Vector], version: int) -> None:
    from psycopg2.extras import execute_values

    execute_values(
        cursor,
        "UPDATE argus.cases SET vector = new.vector::vector, idf_version = new.version FROM (VALUES %s) "
        "AS new (id, vector, version) WHERE cases.id = new.id",
        [(id, _literal(vector), version) for id, vector in vectors.items()],  # noqa: A001 - the field's name
        page_size=BATCH,
    )


def _literal(vector: Vector) -> str:
    """Return a vector as pgvector reads it; most of its numbers are 0."""
    return "[" + ",".join("0" if x == 0 else f"{x:.9g}" for x in vector.tolist()) + "]"


def _one(cursor: "Cursor") -> Any:  # noqa: ANN401 - a column of any type
    row = cursor.fetchone()
    assert row is not None
    return row[0]
