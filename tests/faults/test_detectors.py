"""Every detector of the package: what it declares, and that it is what it declares."""

import inspect

import polars as pl
import pytest

from argus_assets.faults.config import default_config
from argus_assets.faults.declaration import Declaration
from argus_assets.faults.detection import BUILT_IN, BuiltIn, find_built_in
from argus_assets.faults.detectors import DETECTORS, NAMES
from argus_assets.faults.schema import BUS_STATS, ERROR_EVENTS, PLUG_IN, SOURCES
from argus_assets.faults.severity import RULES, STATES_NO_SEVERITY
from tests.support.empty_drive import EMPTY_DRIVE

EACH = pytest.mark.parametrize(("declared", "detector"), BUILT_IN, ids=NAMES)


IN_TABLES = (
    "j1939_dm1", "j1939_dm2", "j1939_dm3", "j1939_dm6", "j1939_dm11", "j1939_dm12", "j1939_dm23", "j1939_dm27", "j1939_dm28",
    "obd_mode01", "obd_mode03", "obd_mode04", "obd_mode07", "obd_mode0a", "uds_dtc", "uds_clear", "uds_negative",
    "can_error", "can_silence", "can_gap", "ros_log", "ros_diagnostic", "rule", "plug_in",
)  # fmt: skip
"""Sources that users' tables hold."""


def test_sources_that_are_in_tables_stay_in_their_order() -> None:
    assert tuple(source for source in SOURCES if source in IN_TABLES) == IN_TABLES


def test_no_two_detectors_declare_the_same() -> None:
    for declared in (NAMES, [s for d in DETECTORS for s in d.sources], [r for d in DETECTORS for r in d.severities]):
        assert len(set(declared)) == len(declared)
    assert PLUG_IN not in NAMES
    assert RULES.keys() >= STATES_NO_SEVERITY


@EACH
def test_a_detector_has_the_functions_of_its_interface(declared: Declaration, detector: BuiltIn) -> None:
    for name in ("wanted", "find"):
        # The protocol's own first parameter is the module.
        expected = list(inspect.signature(getattr(BuiltIn, name)).parameters)[1:]
        found = [p.lstrip("_") for p in inspect.signature(getattr(detector, name)).parameters]
        assert found == expected, declared.module


@EACH
def test_a_drive_without_anything_has_no_faults(declared: Declaration, detector: BuiltIn) -> None:
    config = default_config()
    rows = detector.wanted(EMPTY_DRIVE.frames, config)
    found = detector.find(EMPTY_DRIVE, pl.DataFrame() if rows is None else rows.collect(), config)
    assert found.events.equals(ERROR_EVENTS.empty()), declared.name
    assert found.buses.equals(BUS_STATS.empty())
    assert found.notes == ()


def test_all_detectors_run_over_a_drive() -> None:
    found = find_built_in(EMPTY_DRIVE, default_config())
    assert found.events.schema == ERROR_EVENTS.schema
    assert found.buses.schema == BUS_STATS.schema
