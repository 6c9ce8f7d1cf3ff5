"""`make bench-diagnosis`: what a diagnosis by rules costs, with few and with many cases, and what retrieval finds.

On an embedded PostgreSQL of its own. Cases are those of `case_fleet`. Ratios are of one run.
"""

import argparse
import io
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import psycopg2
from rich.progress import track

from argus_assets.adapters.postgres.cases import CODES, EF_SEARCH, PostgresCaseStore
from argus_assets.adapters.postgres.database import Database
from argus_assets.assets.ingest import parse_recordings
from argus_assets.assets.open_drive import aggregate_stats, detect_faults
from argus_assets.diagnosis.evidence import build_evidence
from argus_assets.diagnosis.offline import diagnose_offline
from argus_assets.diagnosis.ports import Case, CaseQuery, CodeCount
from argus_assets.diagnosis.retrieval import case_query
from argus_assets.diagnosis.signature import fault_signature
from argus_assets.diagnosis.vectors import DIMENSIONS, IdfTable, code_vector, features
from argus_assets.diagnosis.vehicle.catalogue import load_catalogue
from argus_assets.drop.bucket import Bucket
from argus_assets.lake.store import Lake
from argus_assets.runtime.embedded.postgres import EmbeddedPostgres
from argus_assets.simulate.drop import upload_drive
from argus_assets.simulate.fleet import simulate_drive
from argus_assets.stats.recorded import RecordedTime
from benchmarks.case_fleet import DAYS, OWN_LOG_MEAN, START, make_cases
from benchmarks.machine import describe_machine, table

ROOT = Path(__file__).resolve().parents[1]
QUERIES = 100
BATCHES = 100
EXACT = "SET enable_indexscan = off; SET enable_bitmapscan = off"
BY_INDEX = f"SET enable_seqscan = off; SET hnsw.iterative_scan = strict_order; SET hnsw.ef_search = {EF_SEARCH}"

Matrix = npt.NDArray[np.float32]


@dataclass
class Filled:
    """What filling the table took."""

    cases: int
    copy_s: float
    index_s: float
    table_mib: float
    index_mib: float


def fill(url: str, cases: Sequence[Case]) -> Filled:
    """Copy the cases in, then build the vector index at once, as one would for an import of this size."""
    PostgresCaseStore(Database(url)).counts()  # brings the tables up to date
    idf = IdfTable.of([case.codes for case in cases])
    connection = psycopg2.connect(url)
    with connection, connection.cursor() as cursor:
        cursor.execute("TRUNCATE argus.cases, argus.idf_versions")
        cursor.execute("SELECT indexdef FROM pg_indexes WHERE indexname = 'cases_vector'")
        (definition,) = cursor.fetchone() or ("",)
        cursor.execute("DROP INDEX argus.cases_vector")
        cursor.execute(
            "INSERT INTO argus.idf_versions (method, documents, df) VALUES (%s, %s, %s) RETURNING version",
            (CODES, idf.documents, json.dumps(dict(idf.df))),
        )
        (version,) = cursor.fetchone() or (0,)
        started = time.perf_counter()
        for start in range(0, len(cases), 5000):
            text = io.StringIO("".join(_line(case, idf, version) for case in cases[start : start + 5000]))
            cursor.copy_expert(
                "COPY argus.cases (id, partition, platform, release, recorded_at, codes, features, signature, cause, title, "
                "confirmed_at, vector, idf_version) FROM STDIN",
                text,
            )
        copy_s = time.perf_counter() - started
        started = time.perf_counter()
        cursor.execute("SET maintenance_work_mem = '2GB'")
        cursor.execute(definition)
        index_s = time.perf_counter() - started
        cursor.execute("SELECT pg_total_relation_size('argus.cases'), pg_relation_size('argus.cases_vector')")
        total, index = cursor.fetchone() or (0, 0)
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE argus.cases")
    connection.close()
    return Filled(len(cases), copy_s, index_s, (total - index) / 2**20, index / 2**20)


def _line(case: Case, idf: IdfTable, version: int) -> str:
    vector = "[" + ",".join("0" if x == 0 else f"{x:.9g}" for x in code_vector(case.codes, idf).tolist()) + "]"
    cells = (
        case.id, case.partition or "\\N", case.platform, case.release, case.recorded_at.isoformat(),
        json.dumps([[c.code, c.ecu, c.occurrences] for c in case.codes]), "{" + ",".join(f'"{f}"' for f in features(case.codes)) + "}",
        case.signature, case.cause, case.title, case.confirmed_at.isoformat(), vector, str(version),
    )  # fmt: skip
    return "\t".join(cells) + "\n"


def query_of(case: Case) -> CaseQuery:
    return CaseQuery(case.codes, case.platform, case.release, case.recorded_at + timedelta(days=1), case.partition)


# ------------------------------------------------------------------------------------------------- recall


def recall(url: str, queries: Sequence[Case], k: int) -> tuple[float, float, float]:
    """Share of the `k` nearest that the index finds, over all cases; median ms by index and by comparing all.

    A case counts as found when it is no farther than the k-th nearest: many cases are equally far.
    """
    idf = PostgresCaseStore(Database(url)).idf()
    connection = psycopg2.connect(url)
    connection.autocommit = True
    distances: dict[str, list[list[float]]] = {}
    times: dict[str, list[float]] = {}
    with connection.cursor() as cursor:
        for how in (EXACT, BY_INDEX):
            cursor.execute("RESET ALL")
            cursor.execute(how)
            for case in queries:
                text = str(code_vector(case.codes, idf).tolist())
                started = time.perf_counter()
                cursor.execute(
                    "SELECT vector <=> %s::vector FROM argus.cases ORDER BY vector <=> %s::vector LIMIT %s",
                    (text, text, k),
                )
                distances.setdefault(how, []).append([d for (d,) in cursor.fetchall()])
                times.setdefault(how, []).append(1000 * (time.perf_counter() - started))
    connection.close()
    shares = [
        sum(d <= exact[-1] + 1e-5 for d in found) / k
        for exact, found in zip(distances[EXACT], distances[BY_INDEX], strict=True)
    ]
    return statistics.mean(shares), statistics.median(times[BY_INDEX]), statistics.median(times[EXACT])


def recall_of_store(url: str, queries: Sequence[Case], limit: int) -> tuple[float, list[float], list[float]]:
    """Share of what the store finds without an index that it finds as it is; milliseconds of each search, and without."""
    exact = PostgresCaseStore(Database(f"{url}&options=-c%20enable_indexscan%3Doff%20-c%20enable_bitmapscan%3Doff"))
    store = PostgresCaseStore(Database(url))
    hits = total = 0
    times: list[float] = []
    times_exact: list[float] = []
    for case in queries:
        query = query_of(case)
        started = time.perf_counter()
        found = store.similar(query, limit=limit)
        times.append(1000 * (time.perf_counter() - started))
        started = time.perf_counter()
        expected = exact.similar(query, limit=limit)
        times_exact.append(1000 * (time.perf_counter() - started))
        # Of many equally similar cases either may be among the candidates: similarity decides, not the id.
        least = min((s.similarity for s in expected), default=0.0)
        hits += min(len(expected), sum(s.similarity >= least - 1e-4 for s in found))
        total += len(expected)
    return hits / max(1, total), times, times_exact


# ------------------------------------------------------------------------------------------------- quality


def quality(
    vector: Callable[[Case, IdfTable], Matrix], known: Sequence[Case], asked: Sequence[Case]
) -> tuple[float, float]:
    """Share of drives whose five nearest cases vote for the right cause, and share of right ones among the five."""
    idf = IdfTable.of([case.codes for case in known])
    matrix = np.stack([vector(case, idf) for case in known])
    platforms = np.array([case.platform for case in known])
    right = share = 0.0
    for case in asked:
        cosines = np.where(platforms == case.platform, matrix @ vector(case, idf), -1.0)
        votes: dict[str, float] = {}
        nearest = np.argsort(-cosines, kind="stable")[:5]
        for i in nearest:
            votes[known[i].cause] = votes.get(known[i].cause, 0.0) + float(cosines[i])
        right += max(votes, key=votes.__getitem__) == case.cause
        share += sum(known[i].cause == case.cause for i in nearest) / 5
    return right / len(asked), share / len(asked)


def by_log_idf(case: Case, idf: IdfTable) -> Matrix:
    return code_vector(case.codes, idf)


def by_presence_idf(case: Case, idf: IdfTable) -> Matrix:
    return code_vector([CodeCount(code=code) for code in {c.code for c in case.codes}], idf)


def by_counts(case: Case, _idf: IdfTable) -> Matrix:
    """Raw counts, hashed as the others are."""
    vector = np.zeros(DIMENSIONS)
    for code in case.codes:
        vector += code.occurrences * code_vector([CodeCount(code=code.code)], IdfTable())
    return (vector / np.linalg.norm(vector)).astype(np.float32)


def qualities() -> list[list[str]]:
    rows: list[list[str]] = []
    for name, mean in (("rarer", OWN_LOG_MEAN - 1), ("as frequent", OWN_LOG_MEAN), ("more frequent", OWN_LOG_MEAN + 1)):
        cases = list(make_cases(2300, 11, chatter_log_mean=mean))
        order = np.random.default_rng(11).permutation(len(cases))
        known, asked = [cases[i] for i in order[:2000]], [cases[i] for i in order[2000:]]
        for told, vector in (
            ("raw counts", by_counts),
            ("log1p(count)·idf", by_log_idf),
            ("presence·idf", by_presence_idf),
        ):
            vote, share = quality(vector, known, asked)
            rows.append([name, told, f"{vote:.2f}", f"{share:.2f}"])
    return rows


# ------------------------------------------------------------------------------------------------- a batch


@dataclass
class MadeDrive:
    """A simulated drive as the diagnosis gets it."""

    stats: pl.DataFrame
    recordings: pl.DataFrame
    events: pl.DataFrame
    platform: str
    drive_s: float


def make_drive(folder: Path, scenario: str) -> MadeDrive:
    drive = simulate_drive(
        folder / "drive", scenario=scenario, seed=5, vehicle_id="v", vin="1M8GDM9AXKP042788", release="2026.10",
        batch_id="b", started_ns=1_795_000_000 * 10**9, seconds=60.0,
    )  # fmt: skip
    bucket, lake = Bucket.from_url(str(folder / "bucket")), Lake.from_url(str(folder / "lake"))
    bucket.ensure()
    manifest = upload_drive(bucket, drive)
    recordings = parse_recordings(manifest, bucket=bucket, lake=lake, workers=2).recordings
    events = detect_faults(recordings, lake=lake).events
    stats = aggregate_stats(events, recordings, lake=lake).error_stats
    return MadeDrive(stats, recordings, events, drive.platform, RecordedTime.of(recordings).recorded_s)


def times_of_batches(url: str, drives: Sequence[MadeDrive]) -> dict[str, list[float]]:
    """Milliseconds of each step of the diagnosis by rules, drive after drive."""
    store, catalogue = PostgresCaseStore(Database(url)), load_catalogue()
    times: dict[str, list[float]] = {}

    def timed(step: str, run: Callable[[], Any]) -> Any:
        started = time.perf_counter()
        result = run()
        times.setdefault(step, []).append(1000 * (time.perf_counter() - started))
        return result

    for number in range(BATCHES + 5):
        drive = drives[number % len(drives)]
        if number == 5:
            times.clear()  # of the first the imports are measured
        started = time.perf_counter()
        evidence = timed(
            "evidence",
            lambda: build_evidence(
                drive.stats, drive.recordings, events=drive.events, platform=drive.platform, release="2026.10",  # noqa: B023
                drive_s=drive.drive_s,  # noqa: B023
            ),
        )  # fmt: skip
        query = case_query(evidence, START + timedelta(days=DAYS + 1), f"batch {number}")
        similar = timed("similar cases", lambda: store.similar(query))  # noqa: B023
        signature = fault_signature(evidence)
        timed("cases of the signature", lambda: store.with_signature(signature, platform=drive.platform))  # noqa: B023
        timed("answer by rules", lambda: diagnose_offline(evidence, catalogue, cases=similar))  # noqa: B023
        times.setdefault("together", []).append(1000 * (time.perf_counter() - started))
    return times


# ------------------------------------------------------------------------------------------------- report


def report(sizes: Sequence[int]) -> str:
    fills: list[list[str]] = []
    recalls: list[list[str]] = []
    steps: dict[str, list[str]] = {}
    with tempfile.TemporaryDirectory(prefix="argus-bench-") as folder, EmbeddedPostgres(Path(folder) / "pg") as url:
        drives = [
            make_drive(Path(folder) / scenario, scenario)
            for scenario in ("truck_oil_pressure", "car_air_flow", "av_lidar_dropout")
        ]
        for size in track(sizes, description="measuring", transient=True):
            filled = fill(url, list(make_cases(size, 1)))
            queries = list(make_cases(QUERIES, 2, prefix="q"))
            fills.append(
                [
                    f"{size:,}",
                    f"{filled.copy_s:.1f}",
                    f"{filled.index_s:.1f}",
                    f"{filled.table_mib:.0f}",
                    f"{filled.index_mib:.0f}",
                ]
            )
            for k in (5, 20):
                share, by_index, by_all = recall(url, queries, k)
                recalls.append(
                    [
                        f"{size:,}",
                        f"index alone, nearest {k}",
                        f"{share:.3f}",
                        f"{by_index:.1f}",
                        f"{by_all:.1f}",
                        f"{by_all / by_index:.1f}",
                    ]
                )
            for limit in (5, 20):
                share, times, exact = recall_of_store(url, queries, limit)
                mine, theirs = statistics.median(times), statistics.median(exact)
                recalls.append(
                    [
                        f"{size:,}",
                        f"with filters, {limit} cases",
                        f"{share:.3f}",
                        f"{mine:.1f}",
                        f"{theirs:.1f}",
                        f"{theirs / mine:.1f}",
                    ]
                )
            for step, times in times_of_batches(url, drives).items():
                steps.setdefault(step, []).extend(f"{np.percentile(times, p):.1f}" for p in (50, 95))
    columns = ["step", *(f"{size:,} cases, {p}" for size in sizes for p in ("p50", "p95"))]
    return "\n".join(
        [
            "# Diagnosis by rules, and its cases", "", "`make bench-diagnosis` prints this; one run, one machine.", "",
            f"Machine: {describe_machine()}.", "",
            ("Embedded PostgreSQL. Cases are made up: clustered by cause as the catalogue's effects are, with missing "
            "codes, consequences and everyday chatter (`benchmarks/case_fleet.py`)."), "",
            "Milliseconds a batch, connections to the database included:", "", table(columns, [[s, *t] for s, t in steps.items()]), "",
            (f"Recall is the share of the exact answer that is found ({QUERIES} queries; ties count as found). The index alone is "
            "asked for the nearest of all cases; with filters, the store's own search is compared with the same search "
            "without any index. Milliseconds are medians."), "",
            table(["cases", "search", "recall", "ms", "ms without index", "ratio"], recalls), "",
            "Filling the table by COPY, then building the vector index:", "",
            table(["cases", "copy s", "index s", "table MiB", "index MiB"], fills), "",
            ("What retrieval finds, on 2,000 cases and 300 drives of the same platforms and causes. `vote`: share of drives whose "
            "five nearest cases vote for the right cause. `right of five`: share of cases of the right cause. The everyday codes "
            "occur more rarely than those of the cause, as frequently, or more frequently. `presence` counts every code once."), "",
            table(["everyday codes", "vector", "vote", "right of five"], qualities()), "",
        ]
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, nargs="+", default=[1_000, 100_000])
    parser.add_argument("--to", type=Path, default=ROOT / "docs" / "benchmarks" / "diagnosis.md")
    arguments = parser.parse_args()
    text = report(arguments.cases)
    arguments.to.write_text(text)
    print(text)


if __name__ == "__main__":
    main()
