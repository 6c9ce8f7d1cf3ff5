"""The totals of a drive, each against a loop."""

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from argus_assets.faults.schema import ERROR_EVENTS, Severity
from argus_assets.stats.distance import Distance
from argus_assets.stats.drive import Measured, aggregate
from argus_assets.stats.schema import DRIVE_STATS
from tests.support.stats_tables import NO_DEADLINE, cells, covers, drives, events_of, recordings_of, spans_of

SEVERITIES = [s.value for s in Severity]


@NO_DEADLINE
@given(drives, covers)
def test_totals_add_up(rows, ranges):
    made = aggregate(events_of(*rows), recordings_of(*ranges))
    assert made.totals.schema == DRIVE_STATS.schema
    totals = made.totals.row(0, named=True)
    every = [*ranges, *spans_of(rows)]
    assert totals["recorded_h"] == pytest.approx(len(cells(ranges)) / 3600)
    assert totals["span_h"] == pytest.approx((max(e for _, e in every) - min(s for s, _ in every)) / 3600)
    assert totals["events"] == len(rows)
    assert totals["codes"] == len({r["code"] for r in rows})
    worst: dict[str, str] = {}
    for r in rows:
        worst[r["code"]] = max(worst.get(r["code"], "info"), r["severity"], key=SEVERITIES.index)
    for severity in SEVERITIES:
        assert totals[f"codes_{severity}"] == list(worst.values()).count(severity)
    assert totals["ecus_with_faults"] == len({r["ecu"] for r in rows if r["severity"] != "info"})
    assert totals["troubles"] == made.error_stats["same_as"].null_count()


@NO_DEADLINE
@given(
    st.lists(
        st.tuples(st.sampled_from(["parsed", "damaged", "failed"]), st.integers(0, 99), st.integers(0, 99)), max_size=6
    )
)
def test_damage_is_summed_up(given_recordings):
    parts = [
        recordings_of((n, n + 1), state=state, frames=frames, frames_lost=lost)
        for n, (state, frames, lost) in enumerate(given_recordings)
    ]
    totals = aggregate(ERROR_EVENTS.empty(), pl.concat([recordings_of(), *parts])).totals.row(0, named=True)
    read, lost = sum(f for _, f, _ in given_recordings), sum(n for _, _, n in given_recordings)
    assert (totals["recordings"], totals["frames"], totals["frames_lost"]) == (len(parts), read, lost)
    assert totals["recordings_damaged"] == sum(state != "parsed" for state, _, _ in given_recordings)
    assert totals["frames_read_pct"] == (pytest.approx(100 * read / (read + lost)) if read + lost else None)


def test_distance_and_bus_load_are_told_where_they_are_known():
    buses = pl.DataFrame(
        {
            "channel": ["CAN1", "CAN2", "CAN3"],
            "frames": [10, 20, 0],
            "load_mean_pct": [20.0, 35.0, None],
            "load_peak_pct": [80.0, 50.0, None],
        }
    )
    columns = ["distance_km", "distance_source", "distance_signal", "busiest_channel", "bus_load_mean_pct", "bus_load_peak_pct"]  # fmt: skip
    far = Distance(12.5, "gnss", "/gps/fix")
    made = aggregate(ERROR_EVENTS.empty(), recordings_of((0, 60)), measured=Measured(far), buses=buses)
    assert made.totals.select(columns).row(0) == (12.5, "gnss", "/gps/fix", "CAN2", 35.0, 80.0)
    for none in (None, buses.clear(), buses.filter(channel="CAN3")):
        unknown = aggregate(ERROR_EVENTS.empty(), recordings_of((0, 60)), buses=none).totals
        assert unknown.select(columns).row(0) == (None,) * 6


def test_recordings_side_by_side_count_once():
    totals = aggregate(ERROR_EVENTS.empty(), recordings_of((0, 1800), (900, 3600), (7200, 10800))).totals
    assert totals.select("recorded_h", "span_h").row(0) == (2.0, 3.0)
