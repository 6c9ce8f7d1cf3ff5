"""The dictionary's data files: whole, consistent, enough of them, and written in one style."""

import csv
import re
import tomllib
from collections import Counter
from importlib.resources import files

import pytest

from argus_assets.faults.dictionary.data import load_tables
from argus_assets.faults.dictionary.lookup import describe
from argus_assets.faults.schema import Severity

DATA = files("argus_assets.faults") / "data" / "dictionary"
CSV_FILES = sorted(entry.name for entry in DATA.iterdir() if entry.name.endswith(".csv"))
TABLES = load_tables()
GENERIC = re.compile(r"(?:P[02]|[BCU]0)[0-9A-F]{3}|P3[4-9A-F][0-9A-F]{2}")
SYSTEMS = {
    "hydraulics",
    "air intake", "body", "brakes", "chassis", "climate", "computer", "control module", "cooling", "diagnostics",
    "driver controls", "electrical supply", "engine", "exhaust", "exhaust aftertreatment", "fuel", "fuel vapour",
    "hybrid drive", "ignition", "localisation", "lubrication", "network", "perception", "planning", "restraints",
    "steering", "suspension", "transmission",
}  # fmt: skip


def rows(file: str) -> list[dict[str, str]]:
    return list(csv.DictReader((DATA / file).read_text("utf-8").splitlines(), strict=True))


@pytest.mark.parametrize("file", CSV_FILES)
def test_every_row_has_every_cell_and_no_blanks_around_it(file):
    for row in rows(file):
        assert None not in row
        assert None not in row.values()
        assert all(cell == " ".join(cell.split()) for cell in row.values()), row


@pytest.mark.parametrize("file", sorted(set(CSV_FILES) - {"shapes.csv", "families.csv", "network_partners.csv"}))
def test_keys_are_listed_once_and_in_order(file):
    keys = [next(iter(row.values())) for row in rows(file)]
    assert len(keys) == len(set(keys))
    assert keys == sorted(keys, key=int if file in {"spn.csv", "fmi.csv"} else str)


def test_no_code_or_parameter_is_made_twice():
    # The code tables assert it when they are read; a parameter's range could run into the next one's.
    made = Counter(int(row["spn"]) + step for row in rows("spn.csv") for step in range(int(row["repeat"])))
    assert made.total() == len(made) == len(TABLES.parameters)


def test_every_guide_that_is_named_exists_and_every_one_that_exists_is_named():
    named = {
        row[column].removeprefix("*")
        for file in CSV_FILES
        for row in rows(file)
        for column in ("guide", "high", "low", "fault")
        if row.get(column)
    } - {""}
    # These two are named by the code of `dictionary.py` and by `_PARTNER_KINDS`, too.
    assert named | {"software_fault", "module_silent"} == set(TABLES.guides)


def test_a_family_that_leaves_the_guide_to_its_own_names_one():
    needy = {row["shape"] for row in rows("shapes.csv") if row["guide"] == "*"}
    assert all(row["guide"] for row in rows("families.csv") if row["shape"] in needy)
    shapes = {row["shape"] for row in rows("shapes.csv")}
    assert {row["shape"] for row in rows("families.csv")} == shapes


def test_as_much_is_listed_as_promised():
    generic = [code for code in TABLES.codes if GENERIC.fullmatch(code)]
    assert len(generic) >= 400
    assert {code[0] for code in generic} == set("PBCU")
    # Also without what follows by counting.
    single = [row["code"] for f in ("powertrain", "chassis", "body", "network") for row in rows(f"{f}.csv")]
    assert len(single) + len(rows("families.csv")) + len(rows("network_partners.csv")) >= 400
    assert len(rows("spn.csv")) >= 150
    assert sorted(TABLES.failure_modes) == list(range(32))
    assert {"11", "12", "13", "1C", "29", "31", "62", "87", "96"} < set(TABLES.failure_types)
    assert len(TABLES.guides) >= 80


def test_trouble_codes_are_generic_ones():
    dtcs = [code for code in TABLES.codes if re.fullmatch(r"[PBCU][0-3][0-9A-F]{3}", code)]
    assert all(GENERIC.fullmatch(code) for code in dtcs)


@pytest.mark.parametrize(
    "code",
    [
        "CAN_BUSOFF", "CAN_ERROR_PASSIVE", "CAN_ERROR_WARNING", "CAN_OVERLOAD", "CAN_BIT_ERROR", "CAN_FORM_ERROR",
        "CAN_STUFF_ERROR", "CAN_CRC_ERROR", "CAN_ACK_ERROR", "CAN_ARBITRATION_LOST", "CAN_TX_TIMEOUT",
        "CAN_TRANSCEIVER", "CAN_OVERFLOW", "CAN_RESTARTED", "CAN_ERROR", "CAN_SILENT", "CAN_GAP", "OBD_MIL", "RULE_CPU_TEMPERATURE",
        "RULE_LIDAR_POINT_RATE", "RULE_MEMORY_GROWTH", "RULE_DISK_LATENCY", "U0073-88", "UDS_NRC_10_22",
    ],
)  # fmt: skip
def test_what_the_detectors_report_besides_trouble_codes_is_listed(code):
    entry = describe(code)
    assert entry.known
    assert entry.severity is not None
    assert entry.causes
    assert entry.checks
    assert entry.must_not


def every_entry():
    yield from (describe(code) for code in TABLES.codes)
    yield from (describe(f"SPN{spn}/FMI{fmi}") for spn in TABLES.parameters for fmi in TABLES.failure_modes)
    yield from (describe(f"P0301-{byte}") for byte in TABLES.failure_types)
    yield from (describe(f"UDS_NRC_22_{response}") for response in TABLES.uds_responses)
    yield from (describe(f"UDS_NRC_{service}_31") for service in TABLES.uds_services)


def test_every_listed_code_has_all_that_an_entry_needs():
    for entry in every_entry():
        assert entry.known, entry
        assert entry.system in SYSTEMS, entry
        assert isinstance(entry.severity, Severity), entry
        assert all((entry.causes, entry.checks, entry.must_not)), entry


def test_texts_are_one_phrase_without_a_full_stop():
    for entry in every_entry():
        assert len(entry.text) <= 110, entry
        assert re.match(r"[A-Z0-9]", entry.text), entry
        assert not re.search(r"[.;{}]$|[{}]|  ", entry.text), entry


def test_guides_are_written_in_one_style():
    for name, guide in tomllib.loads((DATA / "guides.toml").read_text("utf-8")).items():
        assert set(guide) == {"severity", "causes", "checks", "must_not"}, name
        for key, minimum, maximum in (("causes", 1, 6), ("checks", 1, 4), ("must_not", 1, 3)):
            assert minimum <= len(guide[key]) <= maximum, (name, key)
            assert len(set(guide[key])) == len(guide[key]), (name, key)
        for text in guide["causes"]:
            assert re.fullmatch(r"[A-Z0-9].{2,100}[^.]", text), (name, text)
        for text in guide["checks"]:
            assert re.fullmatch(r"[A-Z].{3,170}\.", text), (name, text)
        for text in guide["must_not"]:
            assert re.fullmatch(r"Do not .{3,140}\.", text), (name, text)


def test_whatever_is_critical_says_that_the_vehicle_or_the_part_must_be_left_alone():
    # An engineer's reading list: these guides stop a vehicle, so each new one is looked at by hand.
    critical = {name for name, guide in TABLES.guides.items() if guide.severity is Severity.CRITICAL}
    assert critical == {
        "engine_overheating", "oil_pressure_low", "fuel_leak", "exhaust_temperature_high", "brake_fluid_low",
        "brake_booster", "brake_temperature", "air_pressure_low", "hv_isolation", "hv_interlock", "hv_contactor",
    }  # fmt: skip


def test_partners_on_the_network_are_named_alike_in_all_three_kinds_of_code():
    assert describe("U0121").text == "No communication: anti-lock brake control module"
    assert describe("U0315").text == "Software does not fit: anti-lock brake control module"
    assert describe("U0415").text == "Invalid data from anti-lock brake control module"


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("P0312", "Misfires in cylinder 12"),
        ("P0296", "Injector of cylinder 12: cylinder out of balance"),
        ("P0359", "Ignition coil I: circuit fault"),
        ("P0682", "Glow plug of cylinder 12: circuit fault"),
        ("P0774", "Shift solenoid E: acts only at times"),
        ("P2335", "Ignition coil L: secondary circuit fault"),
        ("P0167", "Oxygen sensor 3, bank 2: heater circuit fault"),
        ("P2157", "Supply of injector group D: voltage too high"),
        ("U0072", "Vehicle bus E: both wires shorted to each other"),
        ("U0009", "High-speed CAN: both wires shorted to each other"),
        ("SPN662/FMI6", "Injector, cylinder 12: current too high or circuit grounded"),
        ("SPN1334/FMI31", "Misfires in cylinder 12: the condition is present"),
        ("SPN3514/FMI4", "Sensor supply voltage, output 6: voltage too low or shorted to ground"),
    ],
)
def test_families_end_where_their_standard_ends_them(code, text):
    assert describe(code).text == text
