"""A user's additions to the dictionary: CSV files and DBC attributes."""

import contextlib
import csv
import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from argus_assets.errors import BadSetting
from argus_assets.faults.dictionary.additions import COLUMNS, read_additions, read_csv, read_dbc
from argus_assets.faults.dictionary.lookup import Dictionary, built_in, describe
from argus_assets.faults.schema import Severity

OURS = """code,description,system,severity,causes,checks,must_not
P1234,Coolant pump runs dry,cooling,error,Pump worn; Air in the circuit,Bleed it.;Look at the level.,Do not run it dry.
P0301,Our misfire,,,,,
SPN520192,Aerial lift angle,body,warning,,,
SPN520192/FMI7,Aerial lift does not move,,critical,,,
SPN100,Our oil pressure,,,,,
"""

DBC = """VERSION ""
NS_ :
BS_:
BU_: ECU
BO_ 256 Lift: 8 ECU
 SG_ Lift_Angle_Fault : 0|1@1+ (1,0) [0|1] "" ECU
 SG_ Lift_Angle : 8|8@1+ (1,0) [0|255] "deg" ECU
 SG_ Oil : 16|8@1+ (1,0) [0|255] "kPa" ECU
BO_ 257 Pump_Fault: 8 ECU
 SG_ Plain : 0|8@1+ (1,0) [0|255] "" ECU
CM_ SG_ 256 Lift_Angle_Fault "Angle sensors
of the lift disagree";
CM_ SG_ 256 Lift_Angle "Angle of the lift";
BA_DEF_ SG_ "ArgusCode" STRING ;
BA_DEF_ SG_ "SPN" INT 0 524287;
BA_DEF_ SG_ "ArgusChecks" STRING ;
BA_DEF_ BO_ "DTC" STRING ;
BA_DEF_ SG_ "ArgusSeverity" ENUM "info","warning","error","critical";
BA_DEF_DEF_ "ArgusCode" "";
BA_DEF_DEF_ "ArgusChecks" "";
BA_DEF_DEF_ "DTC" "";
BA_DEF_DEF_ "SPN" 0;
BA_DEF_DEF_ "ArgusSeverity" "info";
BA_ "ArgusCode" SG_ 256 Lift_Angle_Fault "c1a10";
BA_ "ArgusSeverity" SG_ 256 Lift_Angle_Fault 2;
BA_ "ArgusChecks" SG_ 256 Lift_Angle_Fault "Level the vehicle.; Read both angles.";
BA_ "SPN" SG_ 256 Lift_Angle 520193;
BA_ "SPN" SG_ 256 Oil 100;
BA_ "DTC" BO_ 257 "P1A00";
"""


@pytest.fixture(scope="module")
def ours() -> Dictionary:
    return Dictionary.of([read_csv(OURS, name="ours.csv")])


def test_a_users_entry_describes_a_code_that_nobody_else_knows(ours):
    entry = ours.describe("P1234")
    assert (entry.text, entry.system, entry.severity, entry.known) == (
        "Coolant pump runs dry", "cooling", Severity.ERROR, True,
    )  # fmt: skip
    assert entry.causes == ("Pump worn", "Air in the circuit")
    assert entry.checks == ("Bleed it.", "Look at the level.")
    assert entry.must_not == ("Do not run it dry.",)
    assert entry.source == "ours.csv, line 2"


def test_a_users_words_win_and_what_they_leave_empty_stays(ours):
    entry, built = ours.describe("P0301"), describe("P0301")
    assert entry.text == "Our misfire"
    assert (entry.system, entry.severity, entry.causes) == (built.system, built.severity, built.causes)
    assert ours.describe("P0302") == describe("P0302")


def test_a_users_code_holds_for_every_failure_type(ours):
    entry = ours.describe("P1234-13")
    assert entry.text == "Coolant pump runs dry (circuit open)"
    assert entry.severity is Severity.ERROR
    assert entry.causes == ("Pump worn", "Air in the circuit")


def test_a_users_parameter_holds_for_every_failure_mode_but_one_that_it_names(ours):
    assert ours.describe("SPN520192/FMI5").text == "Aerial lift angle: current too low or circuit open"
    assert ours.describe("SPN520192/FMI5").system == "body"
    assert ours.describe("SPN520192/FMI5").severity is Severity.WARNING
    assert ours.describe("SPN520192/FMI7").text == "Aerial lift does not move"
    assert ours.describe("SPN520192/FMI7").severity is Severity.CRITICAL
    oil, built = ours.describe("SPN100/FMI1"), describe("SPN100/FMI1")
    assert oil.text == "Our oil pressure: dangerously low"
    assert (oil.system, oil.severity, oil.causes) == (built.system, built.severity, built.causes)


def test_the_version_changes_with_the_text_of_any_file(ours):
    changed = Dictionary.of([read_csv(OURS.replace("dry", "empty"), name="ours.csv")])
    assert len({built_in().version, ours.version, changed.version}) == 3
    assert ours.version == Dictionary.of([read_csv(OURS, name="other name.csv")]).version


def test_of_two_files_the_later_wins():
    first, second = (read_csv(f"code,description\nP1234,{text}\n", name=text) for text in ("a", "b"))
    assert Dictionary.of([first, second]).describe("P1234").text == "b"


words = st.text("abc Ä,\"'", min_size=1).map(lambda text: " ".join(text.split())).filter(bool)
lists = st.lists(words, max_size=3)


@given(
    st.dictionaries(
        st.builds("P1{:03X}".format, st.integers(0, 0xFFF)),
        st.tuples(words, words, st.sampled_from(["", *Severity]), lists, lists, lists),
    )
)
def test_csv_round_trip(content):
    sheet = io.StringIO()
    writer = csv.writer(sheet)
    writer.writerow(COLUMNS)
    for code, (text, system, severity, *several) in content.items():
        writer.writerow([code.lower(), text, system, severity, *(";".join(parts) for parts in several)])
    entries = read_csv(sheet.getvalue(), name="sheet.csv").entries
    assert {
        code: (e.text, e.system, e.severity or "", list(e.causes), list(e.checks), list(e.must_not))
        for code, e in entries.items()
    } == content


@pytest.mark.parametrize(
    ("text", "reported"),
    [
        ("", "line 1: header: expected columns"),
        ("description\nx\n", "line 1: header: expected columns"),
        ("code;description\nP1;x\n", "found code;description"),
        ("code,colour\nP1234,red\n", "found code, colour"),
        ("code,code\nP1234,P1234\n", "each once"),
        ("code,description\nP1234,a,b\n", "line 2: row: expected 2 cells, found 3"),
        ("code,description\n\nP1234,a\n,b\n", "line 4: code: expected one code without spaces, found ''"),
        ("code,description\nP 1234,a\n", "found 'P 1234'"),
        ("code,description\nP1234,a\np1234,b\n", "line 3: code: expected each code once, found P1234 again"),
        ("code,severity\nP1234,bad\n", "line 2: severity: expected one of info, warning, error, critical"),
        ("code,description\nP1234,\n", "found nothing"),
        ('code,description\nP1234,"a\n', "expected CSV"),
    ],
)
def test_a_bad_row_is_reported_with_line_expectation_and_finding(text, reported):
    with pytest.raises(BadSetting) as caught:
        read_csv(text, name="ours.csv")
    assert caught.value.what.startswith("Dictionary ours.csv, line ")
    assert reported in caught.value.what
    assert caught.value.help


@given(st.text())
def test_any_text_is_read_or_refused(text):
    with contextlib.suppress(BadSetting):
        assert len(read_csv(text, name="any.csv").entries) < max(len(text.splitlines()), 1)


def test_attributes_of_a_dbc_describe_codes():
    dictionary = Dictionary.of([read_dbc(DBC, name="lift.dbc")])
    fault = dictionary.describe("C1A10")
    assert fault.text == "Angle sensors of the lift disagree"
    assert fault.severity is Severity.ERROR
    assert fault.checks == ("Level the vehicle.", "Read both angles.")
    assert fault.source == "lift.dbc, signal Lift.Lift_Angle_Fault"
    # A message without a comment is called by its name.
    assert dictionary.describe("P1A00").text == "Pump Fault"
    # `SPN` names parameters, but not those that are listed.
    assert dictionary.describe("SPN520193/FMI2").text == "Angle of the lift: signal is erratic or contradicts others"
    assert dictionary.describe("SPN100/FMI1") == describe("SPN100/FMI1")
    assert set(dictionary.additions) == {"C1A10", "P1A00", "SPN520193"}


@pytest.mark.parametrize(
    ("text", "reported"),
    [
        ("no database", "expected a DBC file"),
        (DBC.replace('BA_ "DTC" BO_ 257 "P1A00"', 'BA_ "DTC" BO_ 257 "C1A10"'), "message Pump_Fault: code: expected"),
        (DBC.replace('"c1a10"', '"C1 A10"'), "signal Lift.Lift_Angle_Fault: code: expected one code"),
    ],
)
def test_a_bad_dbc_is_reported_with_its_place(text, reported):
    # The second is found at whichever of the two comes later.
    with pytest.raises(BadSetting, match=r"lift\.dbc") as caught:
        read_dbc(text, name="lift.dbc")
    assert reported in caught.value.what
    assert caught.value.help


def test_files_are_read_by_their_ending(tmp_path: Path):
    # Excel writes a byte-order mark; DBC tools write cp1252.
    (tmp_path / "ours.csv").write_text(OURS, "utf-8-sig")
    (tmp_path / "lift.DBC").write_bytes(DBC.replace("Angle of the lift", "Winkel in °").encode("cp1252"))
    dictionary = Dictionary.of(read_additions(sorted(tmp_path.iterdir(), reverse=True)))
    assert dictionary.describe("P1234").text == "Coolant pump runs dry"
    assert dictionary.describe("SPN520193/FMI31").text == "Winkel in °: the condition is present"


def test_files_that_cannot_be_read_are_reported(tmp_path: Path):
    (tmp_path / "codes.xlsx").write_bytes(b"PK")
    (tmp_path / "latin.csv").write_bytes(b"code,description\nP1234,\xe4\n")
    for name, reported in (
        ("codes.xlsx", "found '.xlsx'"),
        ("latin.csv", "byte 0xE4"),
        ("gone.csv", "could not be read"),
    ):
        with pytest.raises(BadSetting, match=reported):
            read_additions([tmp_path / name])
