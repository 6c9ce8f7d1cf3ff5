"""The ranking: what is there before what was, worse before milder, root before loud, each trouble once."""

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from argus_assets.faults.schema import STATUSES, Severity
from argus_assets.stats.drive import aggregate
from argus_assets.stats.errors import top
from argus_assets.stats.ranking import PRESSING
from tests.support.stats_tables import NO_DEADLINE, drives, events_of, recordings_of

SEVERITIES = [s.value for s in Severity]


def stats_of(*rows: dict) -> pl.DataFrame:
    return aggregate(events_of(*rows), recordings_of((0, 3600))).error_stats


def standing(row: dict) -> int:
    if row["status"] == "occurred" and row["severity"] == "info":
        return 0
    return 1 if row["status"] in ("permanent", "previously_active") else 2


@NO_DEADLINE
@given(drives)
def test_heads_stand_by_standing_then_severity_then_score(rows):
    stats = stats_of(*rows)
    assert stats["rank"].to_list() == list(range(1, stats.height + 1))
    heads = stats.filter(pl.col("same_as").is_null())
    assert heads.equals(stats.head(heads.height)), "what repeats a trouble ranks behind all troubles"
    assert heads["score"].is_sorted(descending=True)
    keys = [(standing(row), SEVERITIES.index(row["severity"])) for row in heads.iter_rows(named=True)]
    assert keys == sorted(keys, reverse=True)


def trouble_of(row: dict, stats: pl.DataFrame) -> tuple[str, str, str]:
    """Of an OBD code without a failure type the one of its ECU that was seen first, by a loop."""
    base, _, kind = row["code"].partition("-")
    if not kind:
        typed = [r for r in stats.iter_rows(named=True) if r["ecu"] == row["ecu"] and r["code"].startswith(f"{base}-")]
        if typed:
            kind = min(typed, key=lambda r: (r["first_seen"], r["code"]))["code"].partition("-")[2]
    return row["ecu"], base, kind


@NO_DEADLINE
@given(drives)
def test_each_trouble_stands_once_by_its_highest_score(rows):
    stats = stats_of(*rows)
    troubles: dict[tuple, list[dict]] = {}
    for row in stats.iter_rows(named=True):
        troubles.setdefault(trouble_of(row, stats), []).append(row)
    for members in troubles.values():
        heads = [r for r in members if r["same_as"] is None]
        assert len(heads) == 1
        assert heads[0]["score"] == max(r["score"] for r in members)
        assert {r["same_as"] for r in members} <= {None, heads[0]["rank"]}
    assert top(stats, k=100).height == len(troubles)


@NO_DEADLINE
@given(drives, st.data())
def test_frames_do_not_count(rows, data):
    louder = [{**row, "frame_count": data.draw(st.integers(1, 10**6))} for row in rows]
    columns = ["rank", "score", "code", "source", "ecu"]
    assert stats_of(*louder).select(columns).equals(stats_of(*rows).select(columns))


def test_the_root_stands_before_the_louder_consequence():
    root = {"code": "SPN100/FMI1", "start_s": 100, "end_s": 3600}
    loud = [{"code": "SPN1569/FMI31", "start_s": 105 + n, "end_s": 105.5 + n, "frame_count": 999} for n in range(3000)]
    assert stats_of(*loud, root)["code"].to_list() == ["SPN100/FMI1", "SPN1569/FMI31"]


def test_one_code_by_three_services_fills_one_place():
    modes = [("obd_mode07", "pending", 10, "warning"), ("obd_mode03", "confirmed", 20, "error"),
             ("obd_mode0a", "permanent", 0, "error")]  # fmt: skip
    stats = stats_of(
        *({"code": "P0301", "source": s, "ecu": "0x7E8", "status": st_, "start_s": at, "end_s": 60, "severity": sev}
          for s, st_, at, sev in modes),
        {"code": "P0351", "source": "obd_mode03", "ecu": "0x7E8", "status": "confirmed", "start_s": 15, "end_s": 60},
    )  # fmt: skip
    assert stats.select("code", "source", "same_as").rows() == [
        ("P0301", "obd_mode03", None),
        ("P0351", "obd_mode03", None),
        ("P0301", "obd_mode07", 1),
        ("P0301", "obd_mode0a", 1),
    ], "the misfire was pending before the coil's code came; that it was permanent from an earlier drive says nothing"


@pytest.mark.parametrize("status", ["previously_active", "permanent", "occurred"])
def test_what_was_and_remarks_stand_below_the_mildest_active_fault(status: str):
    severity = "info" if status == "occurred" else "critical"
    stats = stats_of(
        {"code": "OLD", "status": status, "severity": severity, "start_s": 0, "end_s": 3600},
        {"code": "HERE", "status": "active", "severity": "info", "start_s": 1000, "end_s": 1000},
    )
    assert stats["code"].to_list() == ["HERE", "OLD"]


@NO_DEADLINE
@given(st.lists(st.sampled_from(STATUSES), min_size=1, max_size=6))
def test_the_most_pressing_status_counts(statuses):
    rows = [{"status": status, "start_s": n, "end_s": n} for n, status in enumerate(statuses)]
    assert stats_of(*rows)["status"].to_list() == [min(statuses, key=PRESSING.index)]


def test_every_status_has_its_place():
    assert sorted(PRESSING) == sorted(STATUSES)
