"""Error events → error stats: every number against a loop, sums that add up, lists that are bounded."""

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from argus_assets.faults.schema import ERROR_EVENTS, Severity
from argus_assets.stats.drive import aggregate
from argus_assets.stats.errors import top
from argus_assets.stats.schema import CODE_PAIRS, ERROR_STATS, HISTOGRAM_BINS
from tests.support.stats_tables import (
    DRIVE_FROM,
    NO_DEADLINE,
    S,
    by_fault,
    cells,
    covers,
    drives,
    events_of,
    recordings_of,
    spans_of,
)


def stats_of(*rows: dict, drive_s: float = 3600) -> pl.DataFrame:
    return aggregate(events_of(*rows), recordings_of((0, drive_s))).error_stats


@NO_DEADLINE
@given(drives, covers)
def test_every_number_equals_that_of_a_loop(rows, ranges):
    events = events_of(*rows)
    stats = aggregate(events, recordings_of(*ranges)).error_stats
    faults = by_fault(rows)
    recorded = cells(ranges)
    drive_from_s = min(start for start, _ in [*ranges, *spans_of(rows)])
    assert stats.schema == ERROR_STATS.schema
    assert stats.height == len(faults)
    for row in stats.iter_rows(named=True):
        own = faults[row["code"], row["source"], row["ecu"]]
        active = cells(spans_of(own))
        assert row["occurrences"] == len(own)
        assert row["frame_count"] == sum(r["frame_count"] for r in own)
        assert row["active_s"] == len(active)
        assert row["first_seen"].timestamp() * S == DRIVE_FROM + min(r["start_s"] for r in own) * S
        assert row["last_seen"].timestamp() * S == DRIVE_FROM + max(r["end_s"] for r in own) * S
        assert row["severity"] == max((r["severity"] for r in own), key=[s.value for s in Severity].index)
        assert row["seconds_into_drive"] == pytest.approx(min(r["start_s"] for r in own) - drive_from_s)
        if recorded:
            assert row["active_share_pct"] == pytest.approx(100 * len(active & recorded) / len(recorded))
            assert row["rate_per_hour"] == pytest.approx(len(own) * 3600 / len(recorded))
        else:
            assert (row["active_share_pct"], row["rate_per_hour"]) == (0.0, None)
        assert own_frames(events, row)[0] == row["frame"]


def own_frames(events: pl.DataFrame, row: dict) -> list[int]:
    """Frames of a fault's events in the order of time; of two at the same time the channel decides."""
    own = events.filter(code=row["code"], source=row["source"], ecu=row["ecu"])
    return own.sort("first_seen", "channel", maintain_order=True)["frame"].to_list()


@NO_DEADLINE
@given(drives, covers)
def test_the_histogram_equals_a_loop_over_its_bins_and_adds_up(rows, ranges):
    stats = aggregate(events_of(*rows), recordings_of(*ranges)).error_stats
    faults = by_fault(rows)
    every = [*ranges, *spans_of(rows)]
    first, last = min(s for s, _ in every), max(e for _, e in every)
    for row in stats.iter_rows(named=True):
        own = faults[row["code"], row["source"], row["ecu"]]
        assert len(row["active_s_by_bin"]) == len(row["occurrences_by_bin"]) == HISTOGRAM_BINS
        assert sum(row["active_s_by_bin"]) == pytest.approx(row["active_s"])
        assert sum(row["occurrences_by_bin"]) == row["occurrences"]
        wide = (last - first) / HISTOGRAM_BINS
        active = cells(spans_of(own))
        for n, seconds in enumerate(row["active_s_by_bin"]):
            low, high = first + n * wide, first + (n + 1) * wide
            assert seconds == pytest.approx(sum(max(0, min(c + 1, high) - max(c, low)) for c in active), abs=1e-6)
        if wide:
            expected = [0] * HISTOGRAM_BINS
            for r in own:
                expected[min(HISTOGRAM_BINS - 1, (r["start_s"] - first) * HISTOGRAM_BINS // (last - first))] += 1
            assert row["occurrences_by_bin"] == expected


@NO_DEADLINE
@given(drives)
def test_co_occurring_codes_equal_a_loop_over_pairs(rows):
    """Two activations belong together when at most 5 s lie between them; most shared time comes first."""
    stats = stats_of(*rows)
    for (code, source, ecu), own in by_fault(rows).items():
        near = {
            other["code"]
            for other in rows
            if other["code"] != code
            and any(max(other["start_s"], r["start_s"]) - min(other["end_s"], r["end_s"]) <= 5 for r in own)
        }
        assert set(stats.filter(code=code, source=source, ecu=ecu)["co_occurring"][0]) == near


def test_most_overlap_comes_first():
    stats = stats_of(
        {"code": "A", "start_s": 0, "end_s": 100},
        {"code": "B", "start_s": 95, "end_s": 200},
        {"code": "C", "start_s": 50, "end_s": 100},
        {"code": "D", "start_s": 105.1, "end_s": 106},
    )
    assert stats.filter(code="A")["co_occurring"].to_list() == [["C", "B"]]


def test_what_two_channels_report_at_once_is_active_once():
    both = [{"start_s": 0, "end_s": 3600, "ecu": ecu, "channel": ch} for ecu in "ab" for ch in ("CAN1", "CAN2")]
    stats = stats_of(*both)
    assert stats.select("ecu", "occurrences", "active_s", "active_share_pct").sort("ecu").rows() == [
        ("a", 2, 3600.0, 100.0),
        ("b", 2, 3600.0, 100.0),
    ]


def test_a_gap_between_recordings_is_no_driving():
    """An OBD code that was read before and after it was active, but the rate is of what was recorded."""
    stats = aggregate(events_of({"start_s": 0, "end_s": 7200}), recordings_of((0, 900), (6300, 7200))).error_stats
    assert stats.select("active_s", "active_share_pct", "rate_per_hour").rows() == [(7200.0, 100.0, 2.0)]


def test_without_recordings_a_drive_lasts_as_long_as_its_events():
    events = events_of({"start_s": 10, "end_s": 20}, {"start_s": 30, "end_s": 40})
    row = aggregate(events, recordings_of(None)).error_stats.row(0, named=True)
    assert (row["seconds_into_drive"], row["rate_per_hour"]) == (0.0, pytest.approx(2 * 120))


@pytest.mark.parametrize("recordings", [recordings_of(), recordings_of(None), recordings_of((0, 60))])
def test_no_events_give_empty_tables(recordings):
    made = aggregate(ERROR_EVENTS.empty(), recordings)
    assert made.error_stats.equals(ERROR_STATS.empty())
    assert made.pairs.equals(CODE_PAIRS.empty())
    assert made.totals["codes"].to_list() == [0]


@NO_DEADLINE
@given(st.permutations(range(20)))
def test_top_takes_the_first_by_rank(order):
    stats = stats_of(*({"code": f"E{n}", "start_s": n * 10, "end_s": n * 10} for n in range(20)))[order]
    assert top(stats, k=3)["rank"].to_list() == [1, 2, 3]
    assert top(stats).height == 10
