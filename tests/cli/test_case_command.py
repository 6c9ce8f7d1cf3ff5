"""`argus case` on batches that were really diagnosed."""

import csv
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from argus_assets.cli import root
from argus_assets.diagnosis.case_files import write_cases
from argus_assets.errors import BadSetting
from tests.support.case_data import case

pytestmark = pytest.mark.wiring

TRUCK = "2026-11-18_truck-oil-pressure_b1"

Argus = Callable[..., Result]


@pytest.fixture
def argus(site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Argus:
    """The command, on the site's database, bucket and lake."""
    monkeypatch.setenv("ARGUS_BUCKET_URL", site.bucket.url)
    monkeypatch.setenv("ARGUS_LAKE_URL", str(tmp_path / "lake"))
    monkeypatch.setenv("ARGUS_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments: str | Path) -> Result:
        result = CliRunner().invoke(root, ["case", *map(str, arguments)])
        if isinstance(result.exception, BadSetting):
            return result
        assert result.exit_code == 0, result.output
        return result

    return run


def told(result: Result) -> str:
    """What a person is told of an error."""
    assert isinstance(result.exception, BadSetting)
    return f"{result.exception.what} {result.exception.help}"


@pytest.fixture
def diagnosed(site, drives) -> None:
    for scenario in ("truck_oil_pressure", "car_healthy"):
        site.drop(drives[scenario])
    assert all(result.success for result in site.tick_and_run())


def test_a_diagnosis_is_confirmed_corrected_found_and_removed(site, drives, diagnosed, argus: Argus) -> None:
    assert "No batch is known as 'b1'" in told(argus("confirm", "b1")), "two vehicles have one"
    first = argus("confirm", "truck-oil-pressure/b1", "--fix", "pump, of 1M8GDM9AXKP042788", "--by", "Ada")
    assert (
        f"{TRUCK}: engine_oil_pressure_low (Engine oil pressure too low: level, pump, bearings or relief valve), as diagnosed"
        in first.output
    )
    shown = json.loads(argus("show", TRUCK, "--json").output)
    assert shown["fix"] == "pump, of <vin>"
    assert shown["recorded_at"].startswith("2026-11-18T")
    assert shown["predicted_cause"] == shown["cause"] == "engine_oil_pressure_low"

    again = argus("confirm", TRUCK, "--cause", "engine_oil_pressure_sensor", "--note", "measured by hand")
    assert "not engine_oil_pressure_low as diagnosed" in again.output
    assert "Replaces the case of " in again.output
    assert "Cases: 1." in again.output
    assert "engine_oil_pressure_sensor" in argus("ls").output
    assert "measured by hand" in argus("show", TRUCK).output

    assert "No case of platform truck shares a code" in argus("similar", TRUCK).output, "a batch does not find itself"
    site.drop(drives["truck_oil_pressure"], batch_id="b2")
    (result,) = site.tick_and_run()
    assert result.success
    other = argus("similar", "truck-oil-pressure/b2")
    assert "SPN100/FMI1" in other.output
    assert "Votes: engine_oil_pressure_sensor 100%" in other.output
    found = json.loads(argus("similar", "truck-oil-pressure/b2", "--json").output)
    assert [(c["id"], c["cause"]) for c in found["cases"]] == [(TRUCK, "engine_oil_pressure_sensor")]
    assert found["cases"][0]["similarity"] > 0.9
    page = site.lake.read_bytes("batches/2026-11-18_truck-oil-pressure_b2/diagnosis.json").decode()
    assert TRUCK in page, "the diagnosis was given it too"

    assert "Vectors of 1 case made by code counts." in argus("reindex").output
    assert "Removed" in argus("rm", TRUCK).output
    assert "There are no cases yet" in argus("ls").output
    assert "No case is known as" in told(argus("rm", TRUCK))


def test_what_cannot_be_confirmed_is_told(site, drives, diagnosed, argus: Argus) -> None:
    assert "Did you mean engine_oil_pressure_sensor" in told(argus("confirm", TRUCK, "--cause", "oil_pressure_sensor"))
    assert "cannot identify a cause" in told(
        argus("confirm", TRUCK, "--cause", "Bad Pump", "--new-cause", "--title", "x")
    )
    assert "--new-cause --title" in told(argus("confirm", TRUCK, "--cause", "zzz_qqq", "--new-cause"))
    assert "no fault codes" in told(argus("confirm", "car-healthy/b1"))
    assert "No batch is known as 'nowhere'" in told(argus("confirm", "nowhere"))
    site.drop(drives["truck_oil_pressure"], batch_id="b3")
    site.tick()
    assert "has no diagnosis yet" in told(argus("confirm", "truck-oil-pressure/b3"))
    named = argus("confirm", TRUCK, "--cause", "oil_pan_gasket", "--new-cause", "--title", "Oil pan gasket leaks")
    assert "oil_pan_gasket (Oil pan gasket leaks)" in named.output
    once_more = argus("confirm", TRUCK, "--cause", "oil_pan_gasket")
    assert "oil_pan_gasket (Oil pan gasket leaks)" in once_more.output, "a cause is known once a case has it"


@pytest.mark.parametrize("ending", ["jsonl", "csv"])
def test_cases_go_out_and_in_again(argus: Argus, tmp_path: Path, ending: str) -> None:
    file, copy = tmp_path / f"in.{ending}", tmp_path / "new" / f"out.{ending}"
    cases = [case(n, "P0420", "U0100-87", fix="new") for n in range(3)]
    file.write_text(write_cases(cases, ending))
    assert "Added 3 cases, replaced 0. Cases: 3." in argus("import", file).output
    assert "Added 0 cases, replaced 3. Cases: 3." in argus("import", file).output
    assert "3 cases in" in argus("export", copy).output
    assert sorted(copy.read_text().splitlines()) == sorted(file.read_text().splitlines())
    assert len(argus("ls", "--platform", "car", "--cause", "catalyst_worn", "--limit", "2").output.splitlines()) == 4
    assert "No case of platform bus. Cases: car 3." in argus("ls", "--platform", "bus").output
    assert "Did you mean c1" in told(argus("show", "c11"))


def test_a_bad_row_keeps_all_out_unless_it_may_be_left_out(argus: Argus, tmp_path: Path) -> None:
    file = tmp_path / "in.csv"
    good = {"id": "w1", "platform": "car", "release": "9", "recorded_at": "2026-03-01", "codes": "P0420",
            "cause": "catalist_worn", "title": "Catalyst", "confirmed_at": "2026-03-02"}  # fmt: skip
    with file.open("w", newline="", encoding="utf-8-sig") as out:
        writer = csv.DictWriter(out, good)
        writer.writeheader()
        writer.writerows([good, {**good, "id": "1M8GDM9AXKP042788"}])
    refused = argus("import", file)
    assert "1 of 2 rows" in told(refused)
    assert "in.csv: line 3: id: expected no vehicle identification number" in refused.output
    assert "1M8GDM9AXKP042788" not in refused.output
    assert "There are no cases yet" in argus("ls").output
    taken = argus("import", file, "--skip-bad")
    assert "Added 1 case, replaced 0; 1 row skipped" in taken.output
    assert "New cause catalist_worn; did you mean catalyst_worn" in taken.output


def test_a_file_that_is_none_is_told(argus: Argus, tmp_path: Path) -> None:
    assert "unknown ending" in told(argus("import", tmp_path / "cases.xlsx"))
    assert "unknown ending" in told(argus("export", tmp_path / "cases.xlsx"))
    assert "cannot be read" in told(argus("import", tmp_path / "none.csv"))
    (tmp_path / "latin.csv").write_bytes(b"id\n\xe4\n")
    assert "not UTF-8: byte 3" in told(argus("import", tmp_path / "latin.csv"))


def test_the_columns_are_in_the_help(argus: Argus) -> None:
    assert "P0301@engine*12" in argus("import", "--help").output
