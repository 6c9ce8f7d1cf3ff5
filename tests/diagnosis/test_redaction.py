"""What leaves a drive's texts: what names a vehicle, a person or a place; what stays: everything an engineer needs."""

import base64
import random
import string
import unicodedata
from dataclasses import fields
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from argus_assets.diagnosis.redaction import MAX_IDENTIFIER, MAX_TEXT, redact, safe_identifier, safe_release
from argus_assets.faults.dictionary.data import load_tables
from argus_assets.faults.software.codes import diagnostic_code, log_code
from argus_assets.simulate import av
from argus_assets.simulate.av_scenarios import AV_SCENARIOS
from tests.support.values import VIN

VIN_LETTERS = "ABCDEFGHJKLMNPRSTUVWXYZ0123456789"

vins = st.text(VIN_LETTERS, min_size=17, max_size=17).filter(lambda v: any(c.isdigit() for c in v))
"""Any VIN that ISO 3779 may allow. One without a digit is a word, and none exists: VINs end in a serial number."""

real_vins = st.builds(
    lambda maker, model, digit, year, serial: f"{maker}{model}{digit}{year}{serial:07d}",
    st.sampled_from(["WVW", "1M8", "JH4", "KNA", "VF1", "SAL", "ZFF", "5YJ"]),
    st.text("ABCDEFGHJKLMNPRSTUVWXYZ", min_size=5, max_size=5).filter(lambda t: set(t) - set("ABCDEF")),
    st.sampled_from("0123456789X"),
    st.sampled_from("ABCDEFGHJKLMNPRSTVWXY123456789"),
    st.integers(0, 9_999_999),
).filter(lambda v: len(v) == 17 and any(c.isdigit() for c in v[:9]))
"""As makers number: maker, model, check digit, year, plant and serial number."""

degrees = st.decimals(-179, 179, places=6).map(str)
# Not letters or digits: any 17 of them make no VIN inside a longer word.
around = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "L", "N"]), max_size=30)
anything = st.text(max_size=60)
IGNORABLE = "\u200b\u200c\u200d\u2060\ufeff\u00ad\u202e\u2066\ufe0f\u034f\u3164\U000e0041"


@given(around, vins, around)
def test_no_vin_stays(before: str, vin: str, after: str) -> None:
    for told in (vin, vin.lower()):
        assert told not in redact(f"{before}{told}{after}")
        assert told not in safe_identifier(f"{before}{told}{after}")


@given(anything, real_vins, anything, st.booleans())
def test_no_vin_stays_whatever_it_is_glued_to(before: str, vin: str, after: str, lower: bool) -> None:
    told = vin.lower() if lower else vin
    for redacted in (redact(before + told + after), safe_identifier(before + told + after)):
        assert told not in redacted
        assert told.lower() not in redacted.lower()


@given(around, vins, around, st.sampled_from(IGNORABLE), st.integers(1, 16))
def test_characters_that_show_nothing_hide_no_vin(before: str, vin: str, after: str, sign: str, at: int) -> None:
    told = redact(f"{before}{vin[:at]}{sign}{vin[at:]}{after}")
    assert vin not in "".join(c for c in told if c.isalnum())


@given(around, vins, around)
def test_wide_letters_hide_no_vin(before: str, vin: str, after: str) -> None:
    wide = "".join(chr(ord(c) + 0xFEE0) for c in vin)
    told = redact(f"{before}{wide}{after}")
    assert wide not in told
    assert vin not in unicodedata.normalize("NFKC", told)


@given(
    around, real_vins, around, st.sampled_from(" -._"), st.sampled_from([(3, 9), (3, 8, 9), (4, 8, 12), range(1, 17)])
)
def test_a_vin_in_groups_does_not_stay(before: str, vin: str, after: str, separator: str, ends) -> None:
    cuts = [0, *ends, 17]
    grouped = separator.join(vin[a:b] for a, b in pairwise(cuts))
    for told in (grouped, f"VIN: {vin[:5]}{separator}{vin[5:]}"):
        redacted = redact(f"{before} {told} {after}")
        assert vin not in "".join(c for c in redacted if c.isalnum())


@given(around, degrees, st.sampled_from([", ", ";", " / ", " ", "N, ", "° N "]), degrees)
def test_no_position_stays(before: str, latitude: str, between: str, longitude: str) -> None:
    told = redact(f"{before} {latitude}{between}{longitude}")
    assert latitude not in told
    assert longitude not in told


@given(st.text(max_size=2000))
def test_one_line_of_bounded_length_and_doing_it_twice_changes_nothing(text: str) -> None:
    told = redact(text)
    assert len(told) <= MAX_TEXT
    assert not any(unicodedata.category(c) in {"Cc", "Zl", "Zp"} for c in told)
    assert redact(told) == told


snippets = st.sampled_from([
    VIN, "48.137154, 11.576124", "lat: 48.1", "jo@example.org", "+49 89 1234567", "10.0.0.4:80",
    "driver: Max Mustermann", "user=jo", "/home/jo", "plate: M-AB 1234", "password=hunter2", "IMEI 490154203237518",
    "aa:bb:cc:dd:ee:ff", "geo:1.0,2.0", "9f86d081884c7d659a2feaa0c55ad015", "a" * 17, "VIN ", "<", ">", "\u0338", "°", "…",
])  # fmt: skip


@given(st.lists(st.one_of(snippets, st.text(max_size=8)), max_size=40).map("".join))
def test_doing_it_twice_changes_nothing_when_there_is_much_to_do(text: str) -> None:
    assert redact(redact(text)) == redact(text)
    assert len(redact(text)) <= MAX_TEXT
    name = safe_identifier(text)
    assert safe_identifier(name) == name


@given(st.one_of(st.text(max_size=300), st.lists(snippets, max_size=8).map(" ".join)))
def test_an_identifier_is_short_and_delimits_nothing(text: str) -> None:
    name = safe_identifier(text)
    assert len(name) <= MAX_IDENTIFIER
    assert not set(name) & set("<>{}[]`\"'\\|*#$!?;^\n\r\t\x00")
    assert name == " ".join(name.split())


@given(st.text(string.ascii_lowercase + "_/", min_size=70, max_size=100), st.sampled_from("xyz"))
def test_long_identifiers_that_differ_stay_different(name: str, end: str) -> None:
    assert safe_identifier(name) != safe_identifier(name + end)


def test_long_hostile_texts_are_read_in_bounded_steps() -> None:
    # Quadratic patterns would take minutes for these.
    for unit in (
        "a",
        "1",
        "a.",
        "1:",
        "+1 ",
        "a@",
        "1.",
        "A-",
        "Max ",
        "user:",
        "48.1234567,",
        "N1°",
        "$GPGGA,",
        "/home",
    ):
        assert len(redact(unit * 20_000)) <= MAX_TEXT


@pytest.mark.parametrize(
    "text",
    [
        "E101: 37 of 1800 packets lost on /lidar/top",
        "planner cycle took 182.4 ms, limit 100.0 ms",
        "cycle times 1.234 s, 5.678 s, latency 12.5 ms, write_latency_ms=4.125",
        "lat 2.31 m off the lane, lat=4.125ms, long 3 s",
        "node perception_fusion_2 restarted",
        "temperature 92.5 degC, 20 °C, 5 µs, 2.5 m/s², -40…85 °C, steering 12.5°",
        "SPN 100 FMI 1 from 0x18FECA00",
        "2026-11-23T08:15:00.123456Z watchdog",
        "20261123T081500123Z at 1795000000123456789 ns",
        "P0301-11, P0301, SPN100/FMI1, U0100-87, UDS_NRC_22_31, LOG_PLANNER_1a2b3c4d",
        "version 10.2.0.1, v2.6.0.15, firmware 192.168.0.1-rc1, planner 1.4.0.2, release 2026.10",
        "payload 0x18FECA0012345678, 01 02 03 04 05 06 07 08",
        "550e8400-e29b-41d4-a716-446655440000",
        "offset +1000000000 ns, drift -12.5 ppm",
        "std::vector at 12:34:56",
        "lidar_driver: Packets Lost; driver: Timeout; Driver Door Open; NVIDIA driver 535.129",
        "clutch plate 92.5 degC, plate: E101 worn",
        "PerceptionFusionNode2ResultPublisherThread died on /perception/LidarDriver2/points_raw_filtered_0",
        "unexpected token: identifier, key not found",
        "home position lost in /opt/av/home/state",
        "2345+67 frames",
    ],
)
def test_what_an_engineer_needs_stays(text: str) -> None:
    assert redact(text) == text


SIMULATED = sorted({
    text
    for scenario in AV_SCENARIOS if isinstance(scenario.fault, av.AvFault)
    for told in (*(b.text for b in scenario.fault.bursts), *(s.message for s in scenario.fault.statuses))
    for text in (told.format(37), told.format(901))
})  # fmt: skip


def test_the_messages_of_simulated_drives_stay() -> None:
    assert len(SIMULATED) > 20
    assert [redact(text) for text in SIMULATED] == SIMULATED


@given(st.sampled_from(SIMULATED), real_vins)
def test_a_message_around_a_vin_stays(text: str, vin: str) -> None:
    assert redact(f"{text}; {vin}; {text}") == f"{text}; <vin>; {text}"


codes = st.one_of(
    st.from_regex(r"[PCBU][0-3][0-9A-F]{3}(-[0-9A-F]{2})?", fullmatch=True),
    st.from_regex(r"SPN[1-9][0-9]{0,5}/FMI([0-9]|[12][0-9]|3[01])", fullmatch=True),
    st.from_regex(r"[A-Z][0-9]{3,5}|0x[0-9A-F]{4,8}|UDS_NRC_[0-9A-F]{2}_[0-9A-F]{2}", fullmatch=True),
    st.builds("LOG_{}_{}".format, st.sampled_from(["PLANNER", "LIDAR_DRIVER"]), st.from_regex("[0-9a-f]{8}", fullmatch=True)),
)  # fmt: skip
numbers = st.builds(
    "{}{}{}".format,
    st.one_of(st.integers(-99_999, 9_999_999), st.decimals(-999, 999, places=2)),
    st.sampled_from(["", " "]),
    st.sampled_from(["ms", "s", "V", "kPa", "degC", "°C", "%", "Hz", "rpm", "km/h", "MiB", "m/s²", "/h"]),
)


@given(st.lists(codes, max_size=8), st.lists(numbers, max_size=8))
def test_codes_and_measures_stay(listed: list[str], measured: list[str]) -> None:
    text = f"{', '.join(listed)}: {', '.join(measured)}"
    assert redact(text) == (text if len(text) <= MAX_TEXT else f"{text[: MAX_TEXT - 1]}…")
    assert [safe_identifier(code) for code in listed] == listed


def test_the_texts_of_the_dictionary_stay() -> None:
    tables = load_tables()
    texts = {text for field in fields(tables) for text in _texts(getattr(tables, field.name))}
    short = {text for text in texts if len(text) <= MAX_TEXT}
    assert len(short) > 500
    assert {text for text in short if redact(text) != unicodedata.normalize("NFC", text)} == set()


def _texts(value: object) -> set[str]:
    if isinstance(value, str):
        return {value}
    if isinstance(value, dict):
        return {t for v in value.values() for t in _texts(v)}
    if isinstance(value, (list, tuple, set, frozenset)):
        return {t for v in value for t in _texts(v)}
    slots = getattr(value, "__dataclass_fields__", {})
    return {t for name in slots for t in _texts(getattr(value, name))}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("vin=1M8GDM9AXKP042788 failed", "vin=<vin> failed"),
        ("log_1M8GDM9AXKP042788_a.mcap", "log_<vin>_a.mcap"),
        ("VIN:1m8-gdm9ax-kp042788!", "VIN:<vin>!"),
        ("at 48.137154, 11.576124", "at <position>"),
        ("lat: 48.1 lon: 11.5", "<position> <position>"),
        ('{"lat": 48.1, "lng": 11.5}', '{"<position>, "<position>}'),
        ("gps_lat=481371540", "gps_<position>"),
        ("48,137154; 11,576124", "<position>"),
        ("48°08'13.8\"N 11°34'34.0\"E", "<position> <position>"),
        ("N48°08.230 E11°34.570", "<position> <position>"),
        ("$GPGGA,123519,4807.038,N,01131.000,E,1,08,0.9,545.4,M,46.9,M,,*47 lost", "<position> lost"),
        ("GNRMC,123519,A,4807.038,N,01131.000,E,022.4", "<position>"),
        ("raw 4807.038,N,01131.000,E", "raw <position>"),
        ("geo:48.1,11.5;u=35", "<position>"),
        ("8FWH4HX8+QR, 4HX8+QR", "<position>, <position>"),
        ("///filled.count.soap", "<position>"),
        ("ask jo.doe@example.org.", "ask <mail>."),
        ("call +49 89 1234567 or (555) 123-4567", "call <phone> or <phone>"),
        ("Telefon: 089 / 123456-7", "Telefon: <phone>"),
        ("10.0.0.4:8080 and 192.168.1.20 and host 8.8.8.8", "<address> and <address> and host <address>"),
        ("fe80::1ff:fe23:4567:890a via aa:bb:cc:dd:ee:ff", "<address> via <address>"),
        ("licence plate M-AB 1234 seen", "licence plate <plate> seen"),
        ("Kennzeichen: B XY 123E", "Kennzeichen: <plate>"),
        ("plate=AB12 CDE", "plate=<plate>"),
        ("driver=jdoe, user: root", "driver=<person>, user: <person>"),
        ("Driver: Max Mustermann took over", "Driver: <person> took over"),
        ("operator Jane Doe pressed stop", "operator <person> pressed stop"),
        ("Fahrer Max Mustermann, Frau Müller", "Fahrer <person>, Frau <person>"),
        ("/home/jdoe/ws/a.cpp and /Users/jo", "/home/<user>/ws/a.cpp and /Users/<user>"),
        (r"C:\Users\Jo Doe\logs\a.txt", r"C:\Users\<user>\logs\a.txt"),
        ("https://u:p@host/x?token=abc123def456ghi", "https://<secret>@host/x?token=<secret>"),
        ("password: hunter2", "password: <secret>"),
        ("Authorization: Bearer abcdef123456789", "Authorization: Bearer <secret>"),
        ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abc-DEF", "<secret>"),
        ("key AKIAIOSFODNN7EXAMPLE", "key <secret>"),
        ("sha 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08", "sha <secret>"),
        ("IMEI 49-015420-323751-8, SN: 123456789012345678", "IMEI <serial>, SN: <serial>"),
        ("line\u202eone\nline two", "lineone line two"),
        ("\uff25\uff11\uff10\uff11 \U0001d40b\U0001d422\U0001d41d", "E101 Lid"),
    ],
)
def test_known_texts(text: str, told: str) -> None:
    assert redact(text) == told


def test_random_base64_does_not_stay() -> None:
    luck = random.Random(5)
    secrets = [base64.b64encode(luck.randbytes(36)).decode() for _ in range(300)]
    assert [s for s in secrets if s in redact(f"got {s} back")] == []


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("SA 0x00", "SA 0x00"),
        ("/perception/lidar_driver: top (front)", "/perception/lidar_driver: top (front)"),
        ("drive_1M8GDM9AXKP042788_0001.mcap", "drive_(vin)_0001.mcap"),
        ('a"}\n```system', "a system"),
        ("Kühlmittelpumpe", "Kühlmittelpumpe"),
        ("", ""),
    ],
)
def test_known_identifiers(name: str, told: str) -> None:
    assert safe_identifier(name) == told


@pytest.mark.parametrize(
    ("release", "told"), [("10.2.0.1", "10.2.0.1"), ("2026.10-rc1", "2026.10-rc1"), (VIN, "(vin)")]
)
def test_a_release_of_four_numbers_is_no_address(release: str, told: str) -> None:
    assert safe_release(release) == told


words = st.lists(
    st.sampled_from(
        [
            "lidar",
            "camera",
            "timeout",
            "planner",
            "node",
            "lost",
            "frame",
            "sync",
            "brake",
            "ecu",
            "temp",
            "high",
            "can",
            "bus",
            "1",
            "2",
            "front",
            "left",
            "pointcloud",
            "driver",
            "failed",
            "script",
            "state",
            "token",
            "key",
            "user",
            "10",
            "perception",
            "localization",
        ]
    ),
    min_size=1,
    max_size=7,
)


@given(words, st.text(max_size=20))
def test_codes_that_argus_made_stay_as_they_are(name: list[str], template: str) -> None:
    """Their hash is none of a vehicle's, in a field, a cause or a sentence."""
    for code in (log_code("/" + "/".join(name), template), diagnostic_code(" ".join(name))):
        assert redact(code) == code
        assert redact(f"unexplained_code:{code}") == f"unexplained_code:{code}"
        assert code in redact(f"Most likely: {code} (and 2 more).")
        assert safe_identifier(code, max_characters=200) == code


@given(st.integers(0, 524_287), st.integers(0, 31))
def test_codes_of_buses_stay_as_they_are(spn: int, fmi: int) -> None:
    """Those of J1939, and all that the dictionary knows."""
    assert redact(f"SPN{spn}/FMI{fmi}") == f"SPN{spn}/FMI{fmi}"


def test_codes_of_the_dictionary_stay_as_they_are() -> None:
    """Each of them."""
    assert [code for code in load_tables().codes if redact(code) != code] == []


@given(real_vins, st.text("0123456789abcdef", min_size=8, max_size=8))
def test_a_vin_in_the_name_of_a_code_does_not_stay(vin: str, digest: str) -> None:
    """The form of a code is no way around the rules; what tells two codes apart stays."""
    for code in (f"LOG_{vin}_{digest}", f"LOG_NODE_{vin}_{digest}", f"DIAG_{vin}"):
        told = redact(code)
        assert vin not in told
        assert "<vin>" in told or "<secret>" in told
    assert redact(f"LOG_NODE_{vin}_{digest}").endswith(digest)


CYRILLIC = str.maketrans("ABEKMHPCTXY", "АВЕКМНРСТХУ")  # noqa: RUF001 - that is what the test is about
GREEK = str.maketrans("ABEZHKMNPTYX", "ΑΒΕΖΗΚΜΝΡΤΥΧ")  # noqa: RUF001


@given(real_vins, st.integers(1, 16))
def test_a_vin_in_letters_of_another_alphabet_or_split_by_an_underscore_is_found(vin: str, at: int) -> None:
    """Whatever looks the same to a reader."""
    for disguised in (vin.translate(CYRILLIC), vin.translate(GREEK), f"{vin[:at]}_{vin[at:]}"):
        assert redact(f"seen {disguised}, lost") == "seen <vin>, lost"


@pytest.mark.parametrize(
    "text", ["Отказ датчика температуры, код 12", "Βλάβη αισθητήρα 42", "Датчик ABS_2 не отвечает 100 ms"]
)
def test_honest_texts_of_other_alphabets_stay(text: str) -> None:
    """Look-alikes are looked for, not replaced."""
    assert redact(text) == text
