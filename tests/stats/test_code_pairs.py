"""Pairs of faults against loops over their activations."""

from itertools import combinations
from statistics import median

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from argus_assets.stats.drive import aggregate
from argus_assets.stats.errors import top
from argus_assets.stats.pairs import MAX_FAULTS
from argus_assets.stats.schema import CODE_PAIRS
from tests.support.stats_tables import NO_DEADLINE, by_fault, cells, covers, drives, events_of, recordings_of, spans_of

NEAR_S = 5


def halves(spans, margin: int = 0) -> set[int]:
    """The half seconds that spans cover, each widened by `margin` of them on both sides."""
    return cells((2 * start - margin, 2 * end + margin) for start, end in spans)


def leads_of(a, b) -> list[int]:
    """For each stretch of activations that hang together and are of both: seconds from the start of A to that of B."""
    found: list[int] = []
    starts: dict[str, int] = {}
    reach = 0
    for start, end, side in sorted([(*s, "a") for s in a] + [(*s, "b") for s in b]):
        if start - reach > NEAR_S:
            if len(starts) == 2:
                found.append(starts["b"] - starts["a"])
            starts = {}
        starts.setdefault(side, start)
        reach = max(reach, end)
    if len(starts) == 2:
        found.append(starts["b"] - starts["a"])
    return found


@NO_DEADLINE
@given(drives, covers)
def test_every_number_of_a_pair_equals_that_of_loops(rows, ranges):
    made = aggregate(events_of(*rows), recordings_of(*ranges))
    assert made.pairs.schema == CODE_PAIRS.schema
    faults = by_fault(rows)
    heads = made.error_stats.filter(pl.col("same_as").is_null()).sort("rank").iter_rows(named=True)
    recorded = halves(ranges)
    expected = {}
    for a, b in combinations(heads, 2):
        own = [spans_of(faults[x["code"], x["source"], x["ecu"]]) for x in (a, b)]
        leads = leads_of(*own)
        if not leads:
            continue
        near_a, near_b = (halves(s, margin=NEAR_S) & recorded for s in own)
        expected[a["rank"], b["rank"]] = {
            **{f"{n}_a": a[n] for n in ("rank", "code", "source", "ecu")},
            **{f"{n}_b": b[n] for n in ("rank", "code", "source", "ecu")},
            "shared_s": len(cells(own[0]) & cells(own[1])),
            "joint_activations": len(leads),
            "lift": len(near_a & near_b) * len(recorded) / (len(near_a) * len(near_b)) if near_a and near_b else None,
            "a_first_pct": 100 * sum(lead > 1 for lead in leads) / len(leads),
            "b_first_pct": 100 * sum(lead < -1 for lead in leads) / len(leads),
            "median_lead_s": median(leads),
        }
    assert made.pairs.select("rank_a", "rank_b").rows() == list(expected)
    for row in made.pairs.iter_rows(named=True):
        assert row == pytest.approx(expected[row["rank_a"], row["rank_b"]], abs=1e-6)


def test_a_cause_leads_its_consequence_and_stands_above_chance():
    """The bus goes off ten times in an hour, and each time another unit misses the messages three seconds later."""
    times = range(100, 3600, 350)
    rows = [{"code": "CAN_BUSOFF", "start_s": t, "end_s": t + 10, "severity": "critical"} for t in times]
    rows += [{"code": "U0100", "start_s": t + 3, "end_s": t + 13} for t in times]
    row = aggregate(events_of(*rows), recordings_of((0, 3600))).pairs.row(0, named=True)
    assert (row["code_a"], row["code_b"]) == ("CAN_BUSOFF", "U0100")
    assert (row["shared_s"], row["joint_activations"], row["a_first_pct"], row["b_first_pct"]) == (70, 10, 100, 0)
    assert row["median_lead_s"] == 3
    assert row["lift"] == pytest.approx(12 * 10 * 3600 / (150 * 150))


def test_a_fault_that_is_always_there_says_nothing_of_another():
    rows = [{"code": "A", "start_s": 0, "end_s": 3600}, *({"code": "B", "start_s": t, "end_s": t} for t in (500, 900))]
    assert aggregate(events_of(*rows), recordings_of((0, 3600))).pairs["lift"].to_list() == [pytest.approx(1.0)]


@NO_DEADLINE
@given(st.integers(MAX_FAULTS, MAX_FAULTS + 8))
def test_the_number_of_pairs_is_bounded(count):
    rows = [{"code": f"E{n}", "start_s": 0, "end_s": 10} for n in range(count)]
    made = aggregate(events_of(*rows), recordings_of((0, 60)))
    assert made.pairs.height == MAX_FAULTS * (MAX_FAULTS - 1) // 2
    paired = set(made.pairs["rank_a"]) | set(made.pairs["rank_b"])
    assert paired == set(top(made.error_stats, MAX_FAULTS)["rank"])
