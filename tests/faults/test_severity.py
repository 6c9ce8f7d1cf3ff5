"""Severity by the dictionary: only where the report itself says nothing of how bad the fault is."""

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from argus_assets.faults.dictionary.additions import read_csv
from argus_assets.faults.dictionary.lookup import Dictionary, built_in, describe
from argus_assets.faults.schema import ERROR_EVENTS, Severity
from argus_assets.faults.severity import RULES, STATES_NO_SEVERITY, severity_of, with_dictionary_severity

CODES = ["P0217", "P0456", "P1234", "SPN100/FMI1", "SPN100/FMI15", "SPN9999/FMI1", "E101", "U0100-87", "odd code"]


def events(*pairs: tuple[str, str]) -> pl.DataFrame:
    """Events of (code, rule)."""
    return ERROR_EVENTS.cast(
        pl.DataFrame(
            {
                "code": [code for code, _ in pairs],
                "severity_rule": [rule for _, rule in pairs],
            },
            schema={"code": pl.String, "severity_rule": pl.String},
        ).with_columns(
            severity=severity_of(pl.col("severity_rule")),
            source=pl.lit("obd_mode03"),
            ecu=pl.lit("0x7E8"),
            channel=pl.lit("CAN1"),
            status=pl.lit("confirmed"),
            occurrence=1,
            first_seen=0,
            last_seen=0,
            active_s=0.0,
            frame_count=1,
            recording=pl.lit("drive.mf4"),
            frame=0,
            payload_hex=pl.lit(""),
        )
    )


def test_every_severity_rule_has_a_severity():
    found = pl.DataFrame({"rule": list(RULES)}).select(severity_of(pl.col("rule"))).to_series()
    assert found.to_list() == [str(s) for s in RULES.values()]
    assert set(RULES.values()) == set(Severity)


def test_what_says_nothing_is_a_rule_and_no_lamp_that_is_on():
    assert set(RULES) > STATES_NO_SEVERITY
    assert not STATES_NO_SEVERITY & {"lamp: red stop", "lamp: malfunction", "lamp: amber warning", "lamp: protect"}


@given(pairs=st.lists(st.tuples(st.sampled_from(CODES), st.sampled_from(sorted(RULES)))))
def test_against_a_loop_over_the_events(pairs):
    before = events(*pairs)
    after = with_dictionary_severity(before, built_in())
    assert ERROR_EVENTS.check(after).height == before.height
    for (code, rule), row in zip(pairs, after.iter_rows(named=True), strict=True):
        entry = describe(code)
        if rule in STATES_NO_SEVERITY and entry.severity is not None:
            assert (row["severity"], row["severity_rule"]) == (entry.severity, f"dictionary: {code} {entry.text}")
        else:
            assert (row["severity"], row["severity_rule"]) == (RULES[rule], rule)
    untouched = [name for name in before.columns if name not in {"severity", "severity_rule"}]
    assert after.select(untouched).equals(before.select(untouched))


def test_a_red_lamp_stays_red_where_the_dictionary_thinks_little_of_the_code():
    after = with_dictionary_severity(events(("P0456", "lamp: red stop")), built_in())
    assert after["severity"].to_list() == ["critical"]


def test_a_users_severity_counts():
    dictionary = Dictionary.of([read_csv("code,severity\nP1234,critical\n", name="ours.csv")])
    after = with_dictionary_severity(events(("P1234", "obd: confirmed code (mode 03)")), dictionary)
    assert after.select("severity", "severity_rule").rows() == [
        ("critical", "dictionary: P1234 Manufacturer's own powertrain code")
    ]


@pytest.mark.parametrize("status", ["pending", "previously_active"])
def test_a_fault_that_is_not_there_keeps_the_severity_of_its_report(status):
    before = events(("P0217", "lamp: not available")).with_columns(status=pl.lit(status, ERROR_EVENTS.schema["status"]))
    assert with_dictionary_severity(before, built_in()).equals(before)


def test_no_events():
    assert with_dictionary_severity(ERROR_EVENTS.empty(), built_in()).equals(ERROR_EVENTS.empty())


def test_found_events_carry_it(can, can_table, find):
    overheating = can(0, 0x7E8, bytes.fromhex("0443010217"))
    not_available = can(0, 0x18FECA00, bytes.fromhex("ffff640001 01ffff".replace(" ", "")))
    found = find(can_table([overheating, not_available])).events
    assert found.select("code", "severity", "severity_rule").rows() == [
        ("SPN100/FMI1", "critical", "dictionary: SPN100/FMI1 Engine oil pressure: dangerously low"),
        ("P0217", "critical", "dictionary: P0217 Engine overheats"),
    ]
