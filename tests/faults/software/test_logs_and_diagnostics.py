"""Logs and diagnostic statuses → events."""

import re
from dataclasses import replace

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from argus_assets.faults.config import CodePattern, default_config
from argus_assets.faults.software.codes import VARYING, diagnostic_code, log_code, template

S = 1_000_000_000
OK, WARN, ERROR, STALE = 0, 1, 2, 3


def test_a_burst_ends_after_ten_seconds_without_the_fault(log_table, find):
    times = [0, 3, 10, 20, 31]
    events = find(
        logs=log_table((t * S, 40, "lidar_driver", f"E101 lidar_top: {t} packets lost") for t in times)
    ).events
    assert events.select("code", "source", "ecu", "channel", "occurrence", "frame_count").rows() == [
        ("E101", "ros_log", "lidar_driver", "/rosout", 1, 4),
        ("E101", "ros_log", "lidar_driver", "/rosout", 2, 1),
    ]
    assert events["message"][0] == "E101 lidar_top: 0 packets lost"


def test_levels_below_error_are_no_faults(log_table, find):
    events = find(
        logs=log_table((n * S, level, "a", "E101") for n, level in enumerate([10, 20, 30, 39, 40, 50]))
    ).events
    assert events["frame_count"].to_list() == [2]
    assert (events["severity"][0], events["severity_rule"][0]) == ("critical", "log: FATAL")


def test_texts_that_differ_in_numbers_and_ids_are_one_fault(log_table, find):
    texts = [
        "request 17 of 0x7f failed after 1.5 s (deadbeef01234567)",
        "request 9 of 0xA0 failed after 20 s (0123456789abcdef)",
        "request denied",
    ]
    events = find(logs=log_table((n * S, 40, "/planner/main", text) for n, text in enumerate(texts))).events
    assert events["frame_count"].to_list() == [2, 1]
    assert all(re.fullmatch(r"LOG_PLANNER_MAIN_[0-9a-f]{8}", code) for code in events["code"])


def masked_texts(texts):
    return pl.DataFrame({"text": texts}, schema={"text": pl.String}).select(template(pl.col("text")))["text"].to_list()


@given(st.text(max_size=60), st.integers(0, 10**9), st.uuids())
def test_numbers_and_uuids_do_not_change_the_code(text, number, uuid):
    other = f"{text} 7; {'0' * 8}-{'1' * 4}-4000-8000-{'2' * 12}"
    masked = masked_texts([f"{text} {number}; {uuid}", other, text])
    assert log_code("n", masked[0]) == log_code("n", masked[1])
    assert masked_texts(masked) == masked


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("thermal: E201 throttling", "E201"),
        ("fault 0x8004 from drive", "0x8004"),
        ("error code: 0x1F02A", "0x1F02A"),
        ("X12 E30155 C100", "E30155"),
    ],
)
def test_codes_in_texts(text, code, log_table, diagnostic_table, find):
    assert find(logs=log_table([(0, 40, "n", text)])).events["code"].to_list() == [code]
    assert find(diagnostics=diagnostic_table([(0, ERROR, "n", text, {})])).events["code"].to_list() == [code]


@pytest.mark.parametrize(
    ("values", "text", "code"),
    [
        ({"error_code": "E101", "code": "E9"}, "E202", "E101"),
        ({"code": "E9"}, "E202", "E9"),
        ({"error_code": " ", "code": "E9"}, "", "E9"),
        ({"other": "E5"}, "E202", "E202"),
        ({}, "too hot", "DIAG_CPU_0_TEMP"),
    ],
)
def test_where_the_code_of_a_status_comes_from(values, text, code, diagnostic_table, find):
    events = find(diagnostics=diagnostic_table([(0, WARN, "cpu 0: temp", text, values)])).events
    assert events["code"].to_list() == [code]


def details(event):
    return {pair["key"]: pair["value"] for pair in event["details"]}


def test_a_status_brings_its_hardware_and_key_values(diagnostic_table, find):
    statuses = [(0, ERROR, "cpu", "hot", {"temperature_c": "99.5", "core": "3"}), (S, STALE, "cpu", "hot", {})]
    table = diagnostic_table(statuses).with_columns(hardware_id=pl.lit("orin-0"))
    (event,) = find(diagnostics=table).events.iter_rows(named=True)
    assert (event["ecu"], event["ecu_name"], event["frame_count"]) == ("cpu", "orin-0", 2)
    assert details(event) == {"temperature_c": "99.5", "core": "3"}
    (bare,) = find(diagnostics=diagnostic_table([(0, WARN, "cpu", "hot", {})])).events.iter_rows(named=True)
    assert (bare["ecu_name"], bare["details"]) == (None, None)


def test_a_log_says_where_in_the_source_it_comes_from(log_table, find):
    table = log_table([(0, 40, "planner", "E101 late")]).with_columns(file=pl.lit("planner.cpp"), line=pl.lit(17))
    (event,) = find(logs=table).events.iter_rows(named=True)
    assert details(event) == {"logged_at": "planner.cpp:17"}
    (bare,) = find(logs=log_table([(0, 40, "planner", "E101 late")])).events.iter_rows(named=True)
    assert bare["details"] is None


def test_patterns_of_ones_own_come_before_the_shipped_one(log_table, diagnostic_table, find):
    config = replace(
        default_config(),
        code_patterns=(CodePattern(pattern=r"ERR-(\d+)", group=1), CodePattern(pattern=r"fault <(\w*)>", group=1)),
    )
    texts = ["E101 then ERR-77", "fault <PUMP> E5000", "fault <> E5000", "E101 alone"]
    logs = log_table((n, 40, "n", text) for n, text in enumerate(texts))
    assert find(logs=logs, config=config).events["code"].to_list() == ["77", "PUMP", "E5000", "E101"]
    diagnostics = diagnostic_table((n * S, ERROR, f"n{n}", text, {}) for n, text in enumerate(texts))
    assert find(diagnostics=diagnostics, config=config).events["code"].to_list() == ["77", "PUMP", "E5000", "E101"]


@given(st.lists(st.text(alphabet="ab cdefxX0123456789-.,:#é٣", max_size=40), max_size=10))
def test_templates_are_the_same_as_python_makes_them(texts):
    assert masked_texts(texts) == [re.sub(VARYING, "#", text) for text in texts]


def test_a_name_without_letters_still_makes_a_code():
    assert diagnostic_code("///") == "DIAG_UNNAMED"


def test_a_status_is_active_until_its_component_is_ok_or_reports_another_code(diagnostic_table, find):
    hot, full = {"error_code": "E201"}, {"error_code": "E202"}
    statuses = [
        (0, WARN, "cpu", "warm", hot), (1, OK, "disk", "", {}), (60, ERROR, "cpu", "hot", hot), (61, OK, "cpu", "", {}),
        (62, STALE, "cpu", "", hot), (63, ERROR, "cpu", "", full), (64, WARN, "cpu", "", hot),
    ]  # fmt: skip
    events = find(diagnostics=diagnostic_table((t * S, *rest) for t, *rest in statuses)).events
    assert events.select("code", "occurrence", "frame_count", "severity_rule").rows() == [
        ("E201", 1, 2, "diagnostic: ERROR"),
        ("E201", 2, 1, "diagnostic: STALE"),
        ("E202", 1, 1, "diagnostic: ERROR"),
        ("E201", 3, 1, "diagnostic: WARN"),
    ]
    assert events["message"][0] == "warm"


def test_an_unknown_level_is_a_warning_that_says_so(diagnostic_table, find):
    event = find(diagnostics=diagnostic_table([(0, 9, "cpu", "", {})])).events.row(0, named=True)
    assert (event["severity"], event["severity_rule"]) == ("warning", "diagnostic: unknown level")


def test_evidence_is_the_frame_that_carried_the_first_report(message_table, log_table, find):
    frames = message_table([(n * S, "/rosout", "log", bytes([n]) * 300) for n in range(3)])
    events = find(frames, logs=log_table((n * S, 20 if n == 0 else 40, "n", "E101") for n in range(3))).events
    assert events.select("recording", "frame", "payload_hex").rows() == [("drive.mcap", 1, "01" * 256)]
