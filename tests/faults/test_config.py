"""The configuration of faults: its keys, the errors of wrong ones, and the version that follows from it."""

from pathlib import Path

import pytest

from argus_assets.cli import root
from argus_assets.errors import BadSetting
from argus_assets.faults.bounds import Bounds
from argus_assets.faults.config import Addressing, Bus, default_config
from argus_assets.faults.plugins.packages import load_faults

DBC = """VERSION ""
BU_: ENGINE
BO_ 256 Powertrain: 8 ENGINE
 SG_ Coolant : 0|8@1+ (1,-40) [-40|215] "degC" ENGINE
 SG_ Counter : 8|8@1+ (1,0) [0|255] "" ENGINE
 SG_ Long : 16|48@1+ (1,0) [0|1] "" ENGINE
BO_ 257 Other: 8 ENGINE
 SG_ Counter : 8|8@1+ (1,0) [0|255] "" ENGINE
BO_ 258 Wide: 64 ENGINE
 SG_ Blob : 0|128@1+ (1,0) [0|1] "" ENGINE
VAL_ 256 Coolant 255 "Invalid" ;
"""

FULL = """
[[database]]
file = "vehicle.dbc"
channels = ["CAN1", "CAN2"]

[[rule]]
code = "HOT"
kind = "threshold"
signal = "Coolant"
above = 95
for_s = 5
severity = "error"
message = "Too hot"
when = { signal = "Powertrain.Counter", above = 3 }

[[code_pattern]]
pattern = 'ERR-(\\d+)'
group = 1

[[dictionary]]
files = ["codes.csv"]

[[bus]]
channels = "CAN*"
bitrate = 500_000
data_bitrate = 2_000_000

[[addressing]]
request_id = 0x6F1
response_id = 0x612
mode = "extended"
response_address = 0xF1
ecu = "DME"

[detectors]
disable = ["diagnostics", "RULE_DISK_LATENCY"]

[bounds]
frames = 2_000_000
faults = 20_000
"""


@pytest.fixture
def load(tmp_path: Path):
    def write(text: str, *, dbc: str = DBC, codes: str = "code,description\nACME-7,Pump stands still\n"):
        (tmp_path / "vehicle.dbc").write_text(dbc)
        (tmp_path / "codes.csv").write_text(codes)
        path = tmp_path / "faults.toml"
        path.write_text(text)
        return load_faults(path, points=())

    return write


def test_everything_that_can_be_configured(load, tmp_path: Path) -> None:
    config = load(FULL)
    assert [r.code for r in config.rules] == [
        "RULE_CPU_TEMPERATURE", "RULE_LIDAR_POINT_RATE", "RULE_MEMORY_GROWTH", "HOT",
    ]  # fmt: skip
    assert {name: [s.message for s in found] for name, found in config.signals.items()} == {
        "Coolant": ["Powertrain"], "Powertrain.Counter": ["Powertrain"],
    }  # fmt: skip
    assert config.signals["Coolant"][0].channels == ("CAN1", "CAN2")
    assert config.signals["Coolant"][0].sender == "ENGINE"
    assert [(p.pattern, p.group) for p in config.code_patterns] == [(r"ERR-(\d+)", 1)]
    assert config.dictionary.describe("ACME-7").text == "Pump stands still"
    assert config.buses == (Bus(channels=("CAN*",), bitrate=500_000, data_bitrate=2_000_000),)
    assert config.addressings[-1] == Addressing(
        request_id=0x6F1, response_id=0x612, mode="extended", response_address=0xF1, ecu_name="DME"
    )
    assert config.bounds == Bounds(frames=2_000_000, frames_share=0.1, faults=20_000)
    assert not config.runs("diagnostics")
    assert config.runs("j1939")


def test_without_a_file_the_shipped_rules_are_active() -> None:
    config = load_faults(None, points=())
    assert config == default_config()
    assert {r.code for r in config.rules} == {
        "RULE_CPU_TEMPERATURE", "RULE_LIDAR_POINT_RATE", "RULE_MEMORY_GROWTH", "RULE_DISK_LATENCY",
    }  # fmt: skip
    assert len({r.title for r in config.rules}) == 4


def test_the_version_follows_whatever_can_change_events(load) -> None:
    versions = [
        default_config().version,
        load("").version,
        load(FULL).version,
        load(FULL.replace("above = 95", "above = 96")).version,
        load(FULL.replace("500_000", "250_000")).version,
        load(FULL.replace('disable = ["diagnostics", ', "disable = [")).version,
        load(FULL.replace("faults = 20_000", "faults = 30_000")).version,
        load(FULL, dbc=DBC.replace("(1,-40)", "(1,-41)")).version,
        load(FULL, codes="code,description\nX,y\n").version,
    ]
    assert versions[0] == versions[1], "an empty file changes nothing"
    assert len(set(versions[1:])) == len(versions) - 1
    assert load(FULL).version == versions[2]
    assert load(FULL + "\n# a remark\n").version == versions[2]


def test_a_file_without_bounds_keeps_the_version_that_it_had_before_there_were_any(load) -> None:
    text = '[[bus]]\nchannels = "CAN*"\nbitrate = 500_000\n'
    assert load(text).digest == "5bb758844d6f", "of Argus 0.1, whose rules are those that are shipped"
    assert load(text + "[bounds]\nframes = 1_000_000\n").digest == load(text).digest


@pytest.mark.parametrize(
    ("old", "new", "reported"),
    [
        ('kind = "threshold"', 'kind = "treshold"', r"rule\[0\] \(code = 'HOT'\): .*'treshold'.*'threshold', 'enum'"),
        ('kind = "threshold"', "", r"rule\[0\] \(code = 'HOT'\): .*'kind'"),
        ("above = 95", "abov = 95", r"rule\[0\] \(code = 'HOT'\): unknown key 'abov'; allowed are signal, topic"),
        ("above = 95", 'above = "hot"', r"rule\[0\]\.above \(code = 'HOT'\): .*valid number.*, found 'hot'"),
        ("above = 95", "above = 95\nbelow = 1", "give one of above, below, found above and below"),
        ("above = 95", "above = 95\nclear_at = 96", "clear_at = 96 is on the wrong side"),
        ("for_s = 5", "for_s = -5", r"rule\[0\]\.for_s .*greater than or equal to 0, found -5"),
        ('severity = "error"', 'severity = "bad"', r"severity .*'info', 'warning', 'error' or 'critical', found 'bad'"),
        ('signal = "Coolant"', "", r"give one of signal, topic, found none"),
        ('signal = "Coolant"', 'topic = "/t"', "topic and field go together"),
        ('signal = "Coolant"', 'signal = "Coolnt"', "rule 'HOT': No DBC file has the signal 'Coolnt'"),
        ('signal = "Coolant"', 'signal = "Counter"', "the signal 'Counter' is in several messages"),
        ('signal = "Coolant"', 'signal = "Blob"', "'Blob' cannot be used: 128 bits"),
        ("above = 3 }", "above = 3, values = [1] }", r"rule\[0\]\.when\[0\] .*: give one of above, below, values"),
        ("above = 3 }", 'values = "Lost" }', "Powertrain.Counter has no value 'Lost'"),
        (r"'ERR-(\d+)'", "'ERR-('", r"code_pattern\[0\].*: pattern is no regular expression: unclosed group"),
        ("group = 1", "group = 2", "group is 2, but the pattern has 1"),
        ('"vehicle.dbc"', '"no.dbc"', "no.dbc cannot be read: No such file"),
        ('"codes.csv"', '"no.csv"', "no.csv cannot be read: No such file"),
        ('"vehicle.dbc"', '"codes.csv"', "codes.csv cannot be read as a DBC file"),
        ("bitrate = 500_000", "bitrate = 0", r"bus\[0\]\.bitrate: .*greater than 0, found 0"),
        ("request_id = 0x6F1", "request_id = 0x20000000", r"addressing\[0\]\.request_id"),
        ('mode = "extended"', "", "mode 'normal' has no address byte"),
        ('"diagnostics", ', '"diagnosticz", ', "there is no detector 'diagnosticz'"),
        ("frames = 2_000_000", "frames = 0", r"bounds\.frames: .*greater than or equal to 1, found 0"),
        ("frames = 2_000_000", "frames_share = 1.5", r"bounds\.frames_share: .*less than or equal to 1, found 1.5"),
        ("[[bus]]", "[[buses]]", "unknown key 'buses'; allowed are database, rule"),
        ("[[bus]]", "[[bus", "is not valid TOML"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_reported_with_its_place(load, old: str, new: str, reported: str) -> None:
    assert old in FULL
    with pytest.raises(BadSetting, match=reported) as caught:
        load(FULL.replace(old, new, 1))
    assert "faults.toml" in caught.value.what
    assert caught.value.help


def test_a_file_that_is_not_there_is_reported(tmp_path: Path) -> None:
    from click.testing import CliRunner

    result = CliRunner().invoke(root, ["rec", "events", "--faults", str(tmp_path / "no.toml"), __file__])
    assert isinstance(result.exception, BadSetting)
    assert "ARGUS_FAULTS or --faults" in result.exception.help
