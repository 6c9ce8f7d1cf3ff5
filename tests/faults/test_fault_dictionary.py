"""The data files of the dictionary, and what is said of codes that it does not list."""

import csv
import re
from importlib.resources import files

import polars as pl
import pytest

from argus_assets.faults.dictionary import describe
from argus_assets.faults.schema import Severity
from argus_assets.faults.severity import RULES, severity_of
from argus_assets.simulate.scenarios import SCENARIOS

DATA = files("argus_assets.faults") / "data"


def rows(file: str) -> list[list[str]]:
    return list(csv.reader((DATA / file).read_text("utf-8").splitlines()))


@pytest.mark.parametrize("file", ["codes.csv", "spn.csv", "fmi.csv"])
def test_data_files_are_whole(file):
    head, *entries = rows(file)
    assert head[1:] == ["system", "description"]
    assert all(len(entry) == 3 and all(cell.strip() == cell != "" for cell in entry) for entry in entries)
    codes = [code for code, _, _ in entries]
    assert len(codes) == len(set(codes))


def test_enough_is_listed():
    codes = [code for code, _, _ in rows("codes.csv")[1:]]
    assert sum(bool(re.fullmatch(r"[PBCU]0[0-9A-F]{3}", code)) for code in codes) >= 40
    assert len(rows("spn.csv")) - 1 >= 30
    assert [fmi for fmi, _, _ in rows("fmi.csv")[1:]] == [str(n) for n in range(32)]


@pytest.mark.parametrize("code", sorted({code for s in SCENARIOS.values() for code in s.codes}))
def test_the_codes_of_the_scenarios_are_known(code):
    assert describe(code).known


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("SPN100/FMI1", "Engine oil pressure: dangerously low"),
        ("SPN1234/FMI5", "SPN 1234: current too low or circuit open"),
        ("P1234", "Manufacturer's own powertrain code"),
        ("P33FF", "Manufacturer's own powertrain code"),
        ("U2100", "Manufacturer's own network code"),
        ("P0799", "Generic code of transmission, not in the dictionary"),
        ("DIAG_CPU_TEMP", "Component cpu temp reports a fault"),
        ("LOG_PLANNER_MAIN_01ab23cd", "Error logged by planner main"),
        ("0x8004", "Code of the vehicle's software, not in the dictionary"),
    ],
)
def test_text(code, text):
    assert describe(code).text == text


def test_every_severity_rule_has_a_severity():
    found = pl.DataFrame({"rule": list(RULES)}).select(severity_of(pl.col("rule"))).to_series()
    assert found.to_list() == [str(s) for s in RULES.values()]
    assert set(RULES.values()) == set(Severity)
