"""What leaves a drive's texts: VINs, positions, mail addresses; what stays: everything an engineer needs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from argus_assets.diagnosis.redaction import MAX_TEXT, redact

VIN_LETTERS = "ABCDEFGHJKLMNPRSTUVWXYZ0123456789"

vins = st.text(VIN_LETTERS, min_size=17, max_size=17).filter(lambda v: any(c.isdigit() for c in v))
degrees = st.decimals(-179, 179, places=6).map(str)
# Not letters or digits: a VIN inside a longer word is no VIN.
around = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "L", "N"]), max_size=30)


@given(around, vins, around)
def test_no_vin_stays(before: str, vin: str, after: str) -> None:
    assert vin not in redact(f"{before}{vin}{after}")
    assert vin.lower() not in redact(f"{before}{vin.lower()}{after}")


@given(around, degrees, st.sampled_from([", ", ";", " / ", " "]), degrees)
def test_no_position_stays(before: str, latitude: str, between: str, longitude: str) -> None:
    told = redact(f"{before} {latitude}{between}{longitude}")
    assert latitude not in told
    assert longitude not in told


@given(st.text(max_size=2000))
def test_one_line_of_bounded_length_and_doing_it_twice_changes_nothing(text: str) -> None:
    told = redact(text)
    assert len(told) <= MAX_TEXT
    assert not any(ord(c) < 32 for c in told)
    assert redact(told) == told


@pytest.mark.parametrize(
    "text",
    [
        "E101: 37 of 1800 packets lost on /lidar/top",
        "planner cycle took 182.4 ms, limit 100.0 ms",
        "node perception_fusion_2 restarted",
        "temperature 92.5 degC",
        "SPN 100 FMI 1 from 0x18FECA00",
        "2026-11-23T08:15:00.123456Z watchdog",
    ],
)
def test_what_an_engineer_needs_stays(text: str) -> None:
    assert redact(text) == text


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("vin=1M8GDM9AXKP042788 failed", "vin=<vin> failed"),
        ("at 48.137154, 11.576124", "at <position>"),
        ("lat: 48.1 lon: 11.5", "<position> <position>"),
        ("ask jo.doe@example.org", "ask <mail>"),
        ("line\u202eone\nline two", "line one line two"),
    ],
)
def test_known_texts(text: str, told: str) -> None:
    assert redact(text) == told
