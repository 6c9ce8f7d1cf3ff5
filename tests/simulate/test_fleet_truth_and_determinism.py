"""The same seed gives the same fleet; its truth lies beside what is dropped, and its names are valid."""

import json
import re
import string
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from argus_assets.simulate.fleet import Drive, simulate_fleet
from argus_assets.simulate.scenarios import DEMO, SCENARIOS
from argus_assets.simulate.vin import check_digit, make_vin
from tests.support.values import VIN

STARTED_NS = 1_795_000_000_123_456_789
MCAP = [s.name for s in SCENARIOS.values() if s.platform != "truck"]
TRUCKS = [s.name for s in SCENARIOS.values() if s.platform == "truck"][::4]


@pytest.mark.parametrize("scenario", MCAP)
def test_same_seed_same_mcap_bytes(make_drive: Callable[..., Drive], scenario: str) -> None:
    one, same, other = (make_drive(scenario, seed) for seed in (5, 5, 6))
    assert [p.read_bytes() for p in one.files] == [p.read_bytes() for p in same.files]
    assert [p.read_bytes() for p in one.files] != [p.read_bytes() for p in other.files]


@pytest.mark.parametrize("scenario", TRUCKS)
def test_same_seed_same_mdf4_frames(make_drive: Callable[..., Drive], read_can, scenario: str) -> None:
    """Not the bytes: an MDF4 file tells when it was written."""
    one, same, other = (read_can(make_drive(scenario, seed)) for seed in (5, 5, 6))
    assert one == same
    assert one != other


@pytest.mark.parametrize("scenario", ["truck_charging", "car_misfire_coil"])
def test_splitting_a_drive_changes_no_frame(make_drive: Callable[..., Drive], read_can, scenario: str) -> None:
    whole = make_drive(scenario, files=1)
    assert [p.suffix for p in whole.files] == [".mf4" if whole.platform == "truck" else ".mcap"]
    for files in (2, 3):
        split = make_drive(scenario, files=files)
        assert len(split.files) == files
        frames = [f[1:] for f in read_can(split)]
        assert frames == [f[1:] for f in read_can(whole)]
        assert split.fault_from_s == whole.fault_from_s


def test_a_fleet_is_the_same_again(fleet: list[Drive], tmp_path: Path) -> None:
    chosen = ["car_healthy", "av_lidar_dropout"]
    first, second = (
        simulate_fleet(tmp_path / name, seed=3, scenarios=chosen, started_ns=STARTED_NS, seconds=12) for name in "ab"
    )
    for one, same in zip(first, second, strict=True):
        assert one.truth() == same.truth()
        assert [p.read_bytes() for p in one.files] == [p.read_bytes() for p in same.files]
    assert {d.vin for d in first}.isdisjoint(d.vin for d in fleet), "another seed, other vehicles"


def test_fleet_has_one_drive_of_each_scenario(fleet: list[Drive]) -> None:
    assert [d.scenario for d in fleet] == list(SCENARIOS)
    assert len({d.vehicle_id for d in fleet}) == len({d.vin for d in fleet}) == len(fleet)
    for drive in fleet:
        scenario = SCENARIOS[drive.scenario]
        assert (drive.platform, drive.root_cause) == (scenario.platform, scenario.root_cause)
        assert (drive.codes, drive.codes_absent) == (scenario.codes, scenario.codes_absent)
        assert drive.damage == (scenario.damage.kind if scenario.damage else None)


def test_names_fit_the_drop_protocol(fleet: list[Drive]) -> None:
    for drive in fleet:
        assert re.fullmatch(r"[A-Za-z0-9.-]+", drive.vehicle_id), "an underscore divides vehicle and batch"
        assert re.fullmatch(r"[A-Za-z0-9._-]+", drive.batch_id)


def test_truth_lies_outside_the_dropped_folder(fleet: list[Drive], fleet_folder: Path) -> None:
    for drive in fleet:
        assert drive.folder == fleet_folder / drive.vehicle_id / drive.batch_id
        assert sorted(drive.folder.iterdir()) == sorted(drive.files)
        truth = json.loads((fleet_folder / "truth" / drive.vehicle_id / f"{drive.batch_id}.json").read_text())
        assert truth == drive.truth()
        assert truth["codes"] == list(drive.codes)
        assert truth["root_cause"] == drive.root_cause
        assert str(fleet_folder) not in json.dumps(truth), "the truth is the same wherever it is written"


def test_progress_is_told_after_each_drive(tmp_path: Path) -> None:
    told: list[tuple[str, bool]] = []
    drives = simulate_fleet(
        tmp_path, seed=1, scenarios=["car_healthy", "av_healthy"], started_ns=STARTED_NS, seconds=5,
        on_drive=lambda d: told.append((d.scenario, all(f.is_file() for f in d.files))),
    )  # fmt: skip
    assert told == [(d.scenario, True) for d in drives]


def test_unknown_scenario_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(KeyError, match="flat_tyre"):
        simulate_fleet(tmp_path, seed=1, scenarios=["flat_tyre"], started_ns=STARTED_NS)


@pytest.mark.parametrize(
    ("vin", "digit"),
    [(VIN, "X"), ("11111111111111111", "1"), ("5GZCZ43D13S812715", "1")],
)
def test_check_digit_of_known_vins(vin: str, digit: str) -> None:
    """Published examples."""
    assert check_digit(vin) == digit == vin[8]


def test_enough_is_simulated_of_each_kind() -> None:
    """What the fault detectors are measured by: all kinds of vehicle, of faults and of damage."""
    by_platform = Counter(s.platform for s in SCENARIOS.values())
    assert min(by_platform["truck"], by_platform["car"], by_platform["av"]) >= 10
    assert all(s.name.startswith(f"{s.platform}_") for s in SCENARIOS.values())
    assert sum(s.root_cause is None for s in SCENARIOS.values()) >= 6, "healthy ones, some of them noisy"
    assert {s.damage.kind for s in SCENARIOS.values() if s.damage} == {"truncated", "flipped", "missing_tail"}
    assert all(s.codes for s in SCENARIOS.values() if s.root_cause)
    assert all(s.codes_absent for s in SCENARIOS.values())
    assert all(not set(s.codes) & set(s.codes_absent) for s in SCENARIOS.values())
    assert set(DEMO) <= set(SCENARIOS)


def test_the_demo_shows_each_kind_of_vehicle_healthy_and_not() -> None:
    shown = {(SCENARIOS[name].platform, SCENARIOS[name].root_cause is None) for name in DEMO}
    assert shown == {(platform, healthy) for platform in ("truck", "car", "av") for healthy in (True, False)}
    assert len(DEMO) <= 10
    assert not any(SCENARIOS[name].damage for name in DEMO), "the demo has a broken upload of its own"


@given(seed=st.integers(0, 2**64))
def test_a_made_vin_is_valid(seed: int) -> None:
    """49 CFR 565.15: 17 characters without I, O and Q; position 9 is the weighted sum modulo 11."""
    vin = make_vin(np.random.default_rng(seed))
    assert re.fullmatch(r"[A-HJ-NPR-Z0-9]{17}", vin)
    # The transliteration is EBCDIC's: the low digit of a letter's code.
    value = {c: (c.encode("cp037")[0] & 0x0F) for c in string.ascii_uppercase + string.digits}
    weights = [8, 7, 6, 5, 4, 3, 2, 10, 0, 9, 8, 7, 6, 5, 4, 3, 2]
    remainder = sum(w * value[c] for w, c in zip(weights, vin, strict=True)) % 11
    assert vin[8] == "0123456789X"[remainder]
