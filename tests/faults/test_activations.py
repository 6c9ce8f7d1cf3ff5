"""Reports → activations, with a loop over them as the oracle."""

from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from argus_assets.faults.activations import FAULT, REPORTS, activations
from argus_assets.faults.schema import ERROR_EVENTS, Severity
from argus_assets.faults.severity import RULES

LEVELS = list(Severity)
DETAILS = st.none() | st.lists(
    st.fixed_dictionaries({"key": st.sampled_from("kj"), "value": st.sampled_from("vw")}), max_size=3
)
REPORT = st.fixed_dictionaries(
    {
        "source": st.sampled_from(["j1939_dm1", "ros_log"]), "channel": st.sampled_from("xy"), "ecu": st.sampled_from("ab"),
        "ecu_name": st.sampled_from([None, "n1", "n2"]), "code": st.sampled_from("cd"), "seq": st.integers(0, 9),
        "timestamp": st.integers(0, 40), "status": st.sampled_from(["active", "occurred"]),
        "severity": st.sampled_from([None, "info", "error"]),
        "severity_rule": st.sampled_from(["lamp: red stop", "lamp: none on", "lamp: protect"]),
        "message": st.sampled_from([None, "m" * 600, "q"]), "lamp_status": st.sampled_from([None, "red stop"]),
        "occurrence_count": st.sampled_from([None, 3, 4]), "details": DETAILS, "payload": st.binary(max_size=300),
    }
)  # fmt: skip


def by_loop(reports: list[dict[str, Any]], gap: int | None) -> list[dict[str, Any]]:
    """What `activations` says of reports, one after another."""
    events: list[dict[str, Any]] = []
    order = pl.Enum(REPORTS["source"].categories).categories.to_list()  # type: ignore[attr-defined] # an enum
    runs: list[list[dict[str, Any]]] = []
    for report in sorted(
        reports, key=lambda r: (order.index(r["source"]), *(r[k] for k in (*FAULT[1:], "timestamp", "seq")))
    ):
        before = runs[-1][-1] if runs else None
        if (
            before is None
            or any(before[k] != report[k] for k in FAULT)
            or report["seq"] - before["seq"] > 1
            or (gap is not None and report["timestamp"] - before["timestamp"] > gap)
        ):
            runs.append([])
        runs[-1].append(report)
    for run in runs:
        severities = [Severity(r["severity"]) if r["severity"] else RULES[r["severity_rule"]] for r in run]
        worst = max(range(len(run)), key=lambda n: (LEVELS.index(severities[n]), -n))
        details: dict[str, str] = {}
        for pair in (pair for r in run for pair in r["details"] or ()):
            details.setdefault(pair["key"], pair["value"])
        same = [e for e in events if all(e[k] == run[0][k] for k in FAULT)]
        events.append(
            {
                **{k: run[0][k] for k in (*FAULT, "recording", "frame")}, "occurrence": len(same) + 1,
                "severity": str(severities[worst]), "severity_rule": run[worst]["severity_rule"],
                "lamp_status": run[worst]["lamp_status"], "message": run[0]["message"] and run[0]["message"][:512],
                "ecu_name": next((r["ecu_name"] for r in run if r["ecu_name"]), None), "status": run[-1]["status"],
                "occurrence_count": run[-1]["occurrence_count"], "frame_count": len(run),
                "details": [{"key": k, "value": v} for k, v in details.items()] or None,
                "payload_hex": run[0]["payload"][:256].hex(), "active_s": (run[-1]["timestamp"] - run[0]["timestamp"]) / 1e9,
            }
        )  # fmt: skip
    return events


def table(reports: list[dict[str, Any]]) -> pl.DataFrame:
    rows = [{"dtc_status": None, **r, "recording": "r", "frame": n} for n, r in enumerate(reports)]
    return pl.DataFrame(rows, schema=REPORTS)


@settings(deadline=None)
@given(st.lists(REPORT, max_size=40), st.sampled_from([None, 3]))
def test_activations_are_those_of_a_loop(reports: list[dict[str, Any]], gap: int | None) -> None:
    rows = table(reports)
    expected = by_loop(rows.to_dicts(), gap)
    found = activations(rows, longest_gap_ns=gap)
    assert found.notes == ()
    assert found.events.columns == ERROR_EVENTS.schema.names()
    names = [name for name in ERROR_EVENTS.schema.names() if name not in ("first_seen", "last_seen", "dtc_status")]
    reported = found.events.select(names).to_dicts()
    assert [row | {"active_s": None} for row in reported] == [
        {n: row[n] for n in names} | {"active_s": None} for row in expected
    ]
    assert [row["active_s"] for row in reported] == pytest.approx([row["active_s"] for row in expected])


@settings(deadline=None)
@given(st.lists(REPORT, min_size=1, max_size=40), st.integers(1, 10))
def test_further_activations_of_each_fault_are_left_out_and_counted(reports: list[dict[str, Any]], count: int) -> None:
    every = activations(table(reports), longest_gap_ns=3).events
    found = activations(table(reports), longest_gap_ns=3, max_events=count)
    faults = every.select(FAULT).n_unique()
    each = every.height if every.height <= count else max(count // faults, 1)
    assert found.events.equals(every.filter(pl.col("occurrence") <= each))
    more = every.height - found.events.height
    assert len(found.notes) == (more > 0)
    assert all(f"{more} of {every.height} activations were left out" in note for note in found.notes)
