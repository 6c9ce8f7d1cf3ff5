"""Error events → error stats: sums that add up, and a ranking that loudness cannot turn."""

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from argus_assets.faults.schema import ERROR_EVENTS, SOURCES, Severity
from argus_assets.stats.errors import aggregate, top
from argus_assets.stats.schema import ERROR_STATS

S = 1_000_000_000
DRIVE_FROM = 1_790_000_000 * S


def events_of(*rows: dict) -> pl.DataFrame:
    """Events from start_s, end_s and what differs from one E101."""
    full = [
        {
            "code": "E101", "source": "ros_log", "ecu": "n", "channel": "/rosout", "severity": "error",
            "severity_rule": "log: ERROR", "status": "occurred", "occurrence": 1, "frame_count": 1, "recording": "r", "frame": n,
            "payload_hex": "", "message": None,
            "first_seen": DRIVE_FROM + round(row["start_s"] * S), "last_seen": DRIVE_FROM + round(row["end_s"] * S),
            "active_s": row["end_s"] - row["start_s"],
            **{k: v for k, v in row.items() if k not in ("start_s", "end_s")},
        }
        for n, row in enumerate(rows)
    ]  # fmt: skip
    return ERROR_EVENTS.cast(pl.DataFrame(full, infer_schema_length=None))


def stats_of(*rows: dict, drive_s: float = 3600) -> pl.DataFrame:
    return aggregate(events_of(*rows), drive_from_ns=DRIVE_FROM, drive_to_ns=DRIVE_FROM + round(drive_s * S))


def spans(longest_s: int = 3600):
    return st.tuples(st.integers(0, longest_s), st.integers(0, 60))


rows = st.builds(
    lambda span, **row: {"start_s": span[0], "end_s": span[0] + span[1], **row},
    spans(),
    code=st.sampled_from(["E1", "E2", "E3", "P0301"]),
    source=st.sampled_from(SOURCES),
    ecu=st.sampled_from(["a", "b"]),
    severity=st.sampled_from([s.value for s in Severity]),
    frame_count=st.integers(1, 1000),
)


@given(st.lists(rows, min_size=1, max_size=40), st.sampled_from([0, 1, 3700]))
def test_stats_add_up_to_the_events(given_rows, drive_s):
    events = events_of(*given_rows)
    stats = stats_of(*given_rows, drive_s=drive_s)
    assert stats.schema == ERROR_STATS.schema
    assert stats["rank"].to_list() == list(range(1, stats.height + 1))
    assert stats["score"].is_sorted(descending=True)
    assert stats.height == events.select("code", "source", "ecu").n_unique()
    for row in stats.iter_rows(named=True):
        own = events.filter(code=row["code"], source=row["source"], ecu=row["ecu"])
        assert row["occurrences"] == own.height
        assert row["frame_count"] == own["frame_count"].sum()
        assert row["active_s"] == pytest.approx(own["active_s"].sum())
        assert row["first_seen"] == own["first_seen"].min()
        assert row["last_seen"] == own["last_seen"].max()
        assert row["severity"] == max(own["severity"], key=[s.value for s in Severity].index)
        assert row["seconds_into_drive"] == pytest.approx((own["first_seen"].dt.timestamp("ns").min() - DRIVE_FROM) / S)
        assert 0 <= row["active_share_pct"] <= 100
        assert (row["rate_per_hour"] is None) == (drive_s == 0)
        if drive_s:
            assert row["rate_per_hour"] == pytest.approx(own.height * 3600 / drive_s)
        evidence = own.filter(pl.col("first_seen") == row["first_seen"])
        assert row["frame"] in evidence["frame"].to_list()


@given(st.lists(rows, min_size=2, max_size=25))
def test_co_occurring_codes_equal_a_loop_over_pairs(given_rows):
    """Two activations belong together when at most 5 s lie between them; most shared time comes first."""
    stats = stats_of(*given_rows)
    for row in stats.iter_rows(named=True):
        own = [r for r in given_rows if all(r[k] == row[k] for k in ("code", "source", "ecu"))]
        near = {
            other["code"]
            for other in given_rows
            if other["code"] != row["code"]
            and any(max(other["start_s"], r["start_s"]) - min(other["end_s"], r["end_s"]) <= 5 for r in own)
        }
        assert set(row["co_occurring"]) == near


def test_most_overlap_comes_first():
    stats = stats_of(
        {"code": "A", "start_s": 0, "end_s": 100},
        {"code": "B", "start_s": 95, "end_s": 200},
        {"code": "C", "start_s": 50, "end_s": 100},
        {"code": "D", "start_s": 105.1, "end_s": 106},
    )
    assert stats.filter(code="A")["co_occurring"].to_list() == [["C", "B"]]


def test_the_root_stands_before_the_louder_consequence():
    root = {"code": "SPN100/FMI1", "start_s": 100, "end_s": 3600}
    loud = [{"code": "SPN1569/FMI31", "start_s": 105 + n, "end_s": 105.5 + n, "frame_count": 999} for n in range(3000)]
    assert stats_of(*loud, root)["code"].to_list() == ["SPN100/FMI1", "SPN1569/FMI31"]


@given(st.lists(rows, min_size=1, max_size=40))
def test_a_worse_fault_always_stands_higher(given_rows):
    worst = [list(Severity).index(Severity(s)) for s in stats_of(*given_rows)["severity"]]
    assert worst == sorted(worst, reverse=True)


@given(st.lists(rows, min_size=1, max_size=40), st.data())
def test_frames_do_not_count(given_rows, data):
    louder = [{**row, "frame_count": data.draw(st.integers(1, 10**6))} for row in given_rows]
    columns = ["rank", "score", "code", "source", "ecu"]
    assert stats_of(*louder).select(columns).equals(stats_of(*given_rows).select(columns))


def test_a_code_of_two_ecus_is_two_rows_and_of_two_channels_one():
    both = [{"start_s": 0, "end_s": 3600, "ecu": ecu, "channel": ch} for ecu in "ab" for ch in ("CAN1", "CAN2")]
    stats = stats_of(*both)
    assert stats.select("ecu", "occurrences", "active_share_pct").sort("ecu").rows() == [
        ("a", 2, 100.0),
        ("b", 2, 100.0),
    ]


def test_a_drive_of_unknown_length_lasts_as_long_as_its_events():
    events = events_of({"start_s": 10, "end_s": 20}, {"start_s": 30, "end_s": 40})
    row = aggregate(events, drive_from_ns=None, drive_to_ns=None).row(0, named=True)
    assert (row["seconds_into_drive"], row["rate_per_hour"]) == (0.0, pytest.approx(2 * 120))


def test_no_events_give_an_empty_table():
    assert aggregate(ERROR_EVENTS.empty(), drive_from_ns=None, drive_to_ns=None).equals(ERROR_STATS.empty())


def test_top_takes_the_first_by_rank():
    stats = stats_of(*({"code": f"E{n}", "start_s": n * 10, "end_s": n * 10} for n in range(20)))
    assert top(stats.reverse(), k=3)["rank"].to_list() == [1, 2, 3]
    assert top(stats).height == 10
