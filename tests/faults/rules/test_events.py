"""Rules over CAN signals and topics → events with their evidence, from real DBC and TOML files."""

from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from argus_assets.common.tables import TIMESTAMP
from argus_assets.faults.config import FaultConfig, default_config
from argus_assets.faults.plugins.packages import load_faults
from argus_assets.faults.rules.dbc import Dbc

S = 1_000_000_000
MS = 1_000_000

DBC = """VERSION ""
NS_ :
BS_:
BU_: ENGINE BRAKES
BO_ 256 Powertrain: 8 ENGINE
 SG_ Coolant : 0|8@1+ (1,-40) [-40|215] "degC" BRAKES
 SG_ Speed : 15|16@0+ (0.01,0) [0|655.35] "km/h" BRAKES
 SG_ State : 24|4@1+ (1,0) [0|15] "" BRAKES
BO_ 2364540158 EEC1: 8 Vector__XXX
 SG_ EngineSpeed : 24|16@1+ (0.125,0) [0|8031.875] "rpm" Vector__XXX
BO_ 2566852606 Long: 20 Vector__XXX
 SG_ Level : 128|8@1+ (0.4,0) [0|100] "%" Vector__XXX
BA_DEF_ BO_ "VFrameFormat" ENUM "StandardCAN","ExtendedCAN","reserved","J1939PG";
BA_DEF_DEF_ "VFrameFormat" "StandardCAN";
BA_ "VFrameFormat" BO_ 2364540158 3;
BA_ "VFrameFormat" BO_ 2566852606 3;
VAL_ 256 State 0 "Off" 1 "Ready" 14 "Fault" ;
"""


@pytest.fixture
def configured(tmp_path: Path) -> Callable[[str], FaultConfig]:
    """A configuration of rules, with a DBC beside it."""

    def write(rules: str) -> FaultConfig:
        (tmp_path / "vehicle.dbc").write_text(DBC)
        path = tmp_path / "faults.toml"
        path.write_text(f'[[database]]\nfile = "vehicle.dbc"\nchannels = "CAN*"\n\n{rules}')
        return load_faults(path, points=())

    return write


def rule(**keys: object) -> str:
    needed = {"code": "HOT", "severity": "error", "message": "Too hot"}
    shown = {
        k: ("true" if v is True else v if isinstance(v, int | float) else v if str(v)[:1] in "[{" else f'"{v}"')
        for k, v in {**needed, **keys}.items()
    }
    return "[[rule]]\n" + "\n".join(f"{key} = {value}" for key, value in shown.items()) + "\n"


def powertrain(can, at_s: float, *, coolant: int = 80, speed: float = 0, state: int = 1, channel: str = "CAN1"):
    payload = bytes([coolant + 40, *round(speed * 100).to_bytes(2, "big"), state, 0, 0, 0, 0])
    return can(round(at_s * S), 0x100, payload, channel=channel)


def topic_table(field: str, values, *, period_s: float = 1.0, recording: str = "drive.mcap", frames: bool = True):
    n = len(values)
    start = 1_790_000_000 * S
    return pl.DataFrame({field: values}).select(
        pl.int_range(n, dtype=pl.UInt64).alias("frame") if frames else pl.lit(None, pl.UInt64).alias("frame"),
        (start + (pl.int_range(n) * round(period_s * S))).cast(TIMESTAMP).alias("timestamp"),
        field,
        pl.lit(recording).alias("recording"),
    ).lazy()  # fmt: skip


def details(event: dict) -> dict[str, str]:
    return {pair["key"]: pair["value"] for pair in event["details"]}


def test_a_threshold_over_a_signal_says_what_decided_it(configured, can, can_table, find) -> None:
    config = configured(
        rule(kind="threshold", name="coolant", signal="Powertrain.Coolant", above=95, clear_at=90, for_s=5)
    )
    coolant = [80, 96, 99, 92, 103, 97, 96, 89, 100, 80]
    frames = [powertrain(can, n, coolant=value) for n, value in enumerate(coolant)]
    (event,) = find(can_table(frames), config=config).events.iter_rows(named=True)
    assert (event["code"], event["source"], event["ecu"], event["channel"]) == ("HOT", "rule", "ENGINE", "CAN1")
    assert event["severity_rule"] == "rule: coolant: above 95 degC for 5 s (max 103)"
    assert (event["severity"], event["status"], event["message"]) == ("error", "active", "Too hot")
    assert (event["frame"], event["payload_hex"]) == (1, frames[1].payload.hex())
    assert (event["frame_count"], event["active_s"], event["occurrence"]) == (6, 5.0, 1)
    assert details(event) == {
        "signal": "Powertrain.Coolant", "unit": "degC", "min": "92", "max": "103", "at_start": "96",
    }  # fmt: skip


def test_each_channel_is_judged_for_itself_and_only_those_of_the_file(configured, can, can_table, find) -> None:
    config = configured(rule(kind="threshold", signal="Coolant", above=95))
    frames = [
        powertrain(can, n, coolant=value, channel=channel)
        for n, value in enumerate([100, 80, 100])
        for channel in ("CAN1", "CAN2", "LIN1")
    ]
    events = find(can_table(frames), config=config).events
    assert events.select("channel", "occurrence").sort(pl.all()).rows() == [
        ("CAN1", 1), ("CAN1", 2), ("CAN2", 1), ("CAN2", 2),
    ]  # fmt: skip


def test_a_fault_value_by_its_name_in_the_value_table(configured, can, can_table, find) -> None:
    config = configured(rule(kind="enum", signal="State", values="Fault"))
    frames = [powertrain(can, n, state=state) for n, state in enumerate([1, 14, 14, 0])]
    (event,) = find(can_table(frames), config=config).events.iter_rows(named=True)
    assert (event["frame_count"], event["severity_rule"]) == (2, "rule: HOT: is Fault (at Fault)")
    assert details(event)["at_start"] == "Fault"


def test_a_stuck_value_counts_only_while_the_other_signal_says_that_it_should_move(
    configured, can, can_table, find
) -> None:
    config = configured(
        rule(kind="stuck", code="STUCK", signal="Coolant", for_s=3, when="{ signal = 'Speed', above = 10 }")
    )
    standing = [powertrain(can, n, speed=0) for n in range(6)]
    driving = [powertrain(can, 6 + n, speed=50) for n in range(5)]
    (event,) = find(can_table([*standing, *driving]), config=config).events.iter_rows(named=True)
    assert (event["frame"], event["active_s"]) == (6, 4.0)
    assert find(can_table(standing), config=config).events.is_empty()


def test_a_signal_that_stops_while_the_drive_goes_on(configured, can, can_table, find) -> None:
    config = configured(rule(kind="missing", code="SILENT", signal="Coolant", for_s=2))
    frames = [powertrain(can, n) for n in range(3)] + [can(10 * S, 0x7FF, b"")]
    (event,) = find(can_table(frames), config=config).events.iter_rows(named=True)
    assert (event["frame"], event["active_s"], event["frame_count"]) == (2, 8.0, 1)
    assert event["severity_rule"] == "rule: SILENT: no sample for 2 s (silent for 8 s)"
    never = [can(0, 0x7FF, b""), can(10 * S, 0x7FF, b"")]
    assert find(can_table(never), config=config).events.is_empty(), "a vehicle may not have it at all"


def test_j1939_messages_are_found_by_their_group_whatever_sends_them(configured, can, can_table, find) -> None:
    config = configured(rule(kind="threshold", code="OVERSPEED", signal="EngineSpeed", above=2000))
    fast, slow, not_available = (bytes([0, 0, 0, *v.to_bytes(2, "little"), 0, 0, 0]) for v in (20_000, 8000, 0xFFFF))
    frames = [
        can(n * S, identifier, payload)
        for n, payload in enumerate([slow, fast, not_available, slow])
        for identifier in (0x0CF00400, 0x18F00411)
    ]
    frames.append(can(5 * S, 0x0CF00300, fast))  # another group
    events = find(can_table(frames), config=config).events
    assert events.select("ecu", "frame_count", "frame").rows() == [("SA 0x00", 1, 2), ("SA 0x11", 1, 3)]
    # "Not available" is 8031.875 rpm by the definition, and no fault.
    assert {details(e)["max"] for e in events.iter_rows(named=True)} == {"2500"}


@pytest.mark.parametrize(
    ("attributes", "is_j1939"),
    [
        ('BA_DEF_ "ProtocolType" STRING ;\nBA_ "ProtocolType" "J1939";\n', True),
        ('BA_DEF_ "ProtocolType" STRING ;\nBA_ "ProtocolType" "CAN";\n', False),
        ("", False),
    ],
)
def test_a_dbc_says_that_it_is_j1939_by_its_protocol_too(attributes: str, is_j1939: bool) -> None:
    signals = DBC[: DBC.index("BA_DEF_ BO_")]
    dbc = Dbc(Path("x.dbc"), (signals + attributes).encode("cp1252"), ("*",))
    (found, plain) = (dbc.find(name) for name in ("EngineSpeed", "Coolant"))
    assert found is not None
    assert plain is not None
    assert (found.is_j1939, plain.is_j1939) == (is_j1939, False)
    assert found.pgn == 0xF004


def test_a_j1939_message_of_the_transport_protocol(configured, can, can_table, find) -> None:
    config = configured(rule(kind="threshold", code="FULL", signal="Long.Level", above=90))
    pgn = 0xFF0F
    message = bytes(16) + bytes([240, 0, 0, 0])
    announced = bytes([32, 20, 0, 3, 0xFF, *pgn.to_bytes(3, "little")])
    frames = [can(0, 0x18ECFF21, announced)]
    frames += [
        can((n + 1) * 60 * MS, 0x18EBFF21, bytes([n + 1]) + message[7 * n : 7 * n + 7].ljust(7, b"\xff"))
        for n in range(3)
    ]
    (event,) = find(can_table(frames), config=config).events.iter_rows(named=True)
    assert (event["ecu"], event["payload_hex"], event["frame"]) == ("SA 0x21", message.hex(), 0)
    assert details(event)["max"] == "96"


def test_messages_that_are_too_short_are_counted(configured, can, can_table, find) -> None:
    config = configured(rule(kind="threshold", signal="Speed", above=-1))
    found = find(can_table([can(0, 0x100, b"\0\0"), powertrain(can, 1, speed=3)]), config=config)
    assert found.events["frame"].to_list() == [1]
    assert found.notes == ("CAN1 ENGINE: 1 messages Powertrain are too short to hold Speed, and were left out.",)


def test_error_frames_and_remote_frames_are_never_decoded(configured, can, can_table, find) -> None:
    config = configured(rule(kind="threshold", signal="Coolant", above=95))
    frames = [can(0, 0x100, b"\xff" * 8, is_error_frame=True), can(1, 0x100, b"\xff" * 8, is_remote_frame=True)]
    assert find(can_table(frames), config=config).events.filter(source="rule").is_empty()


# ---------------------------------------------------------------------------------------------- topics

COMPUTE = ("/av/system/compute", "argus_msgs/msg/ComputeStatus")
LIDAR = ("/sensing/lidar/status", "argus_msgs/msg/LidarStatus")


def test_the_shipped_rules_find_what_they_are_for(find, message_table) -> None:
    topics = {
        ("/system/compute", COMPUTE[1]): topic_table("cpu_temperature_c", [70.0] * 10 + [99.5] * 10),
        COMPUTE: topic_table("memory_used_mib", [8000.0 + max(0, n - 30) * 5 for n in range(120)]),
        ("/b/system/compute", COMPUTE[1]): topic_table("disk_write_latency_ms", [2.0] * 5 + [240.0] * 6),
        LIDAR: topic_table("points_per_second", [600_000] * 5 + [300_000] * 6),
    }
    frames = message_table((n * S, "/system/compute", "message", bytes([n])) for n in range(12))
    events = find(frames, topics=topics).events
    assert dict(events.select("code", "severity_rule").rows()) == {
        "RULE_CPU_TEMPERATURE": "rule: CPU temperature: above 95 °C for 5 s (max 99.5)",
        "RULE_LIDAR_POINT_RATE": "rule: lidar point rate: below 450000 points/s for 2 s (min 300000)",
        "RULE_MEMORY_GROWTH": "rule: memory growth: rises faster than 2 MiB/s over 20 s for 20 s (at most 5/s)",
        "RULE_DISK_LATENCY": "rule: disk write latency: above 100 ms for 3 s (max 240)",
    }
    hot = events.row(by_predicate=pl.col("code") == "RULE_CPU_TEMPERATURE", named=True)
    assert (hot["ecu"], hot["channel"], hot["frame"]) == ("/system/compute", "/system/compute", 10)
    assert hot["payload_hex"] == "0a", "the message's bytes, from the frame table"


def test_healthy_topics_break_no_shipped_rule(find) -> None:
    topics = {
        COMPUTE: topic_table("cpu_temperature_c", [60.0 + n % 30 for n in range(100)]),
        LIDAR: topic_table("points_per_second", [590_000 + n for n in range(100)]),
        ("/system/compute", COMPUTE[1]): topic_table("memory_used_mib", [8000.0 + 100 * (n >= 50) for n in range(100)]),
    }
    # 100 MiB taken at once are no growth.
    assert find(topics=topics).events.is_empty()


def test_a_rule_of_ones_own_takes_the_place_of_a_shipped_one(configured, find) -> None:
    own = rule(
        kind="threshold", code="RULE_CPU_TEMPERATURE", topic="/thermal", field="zones.cpu", above=80, unit="°C", ecu="orin-0"
    )  # fmt: skip
    topics = {
        ("/thermal", "x/Zones"): topic_table("zones.cpu", [90.0, 91.0]),
        COMPUTE: topic_table("cpu_temperature_c", [99.0] * 20),
    }
    (event,) = find(topics=topics, config=configured(own)).events.iter_rows(named=True)
    assert (event["channel"], event["ecu"]) == ("/thermal", "orin-0")
    assert [r.code for r in configured(own).rules].count("RULE_CPU_TEMPERATURE") == 1
    assert len(configured("").rules) == len(default_config().rules) == 4


def test_measured_signals_point_to_their_sample(configured, find) -> None:
    config = configured(rule(kind="threshold", topic="Thermo*", field="T1", above=95, unit="°C"))
    first = topic_table("T1", [20.0, 96.0], frames=False, recording="a.mf4")
    second = topic_table("T1", [20.0, 20.0, 20.0], frames=False, recording="b.mf4")
    table = pl.concat([second, first])
    (event,) = find(topics={("Thermo 1", "signals"): table}, config=config).events.iter_rows(named=True)
    assert (event["recording"], event["frame"], event["payload_hex"]) == ("a.mf4", 1, "")


def test_fields_that_cannot_be_compared_are_reported(configured, find) -> None:
    config = configured(
        rule(kind="threshold", topic="/a", field="ranges", above=1)
        + rule(kind="enum", topic="/b", field="mode", values='["limp", "off"]')
        + rule(kind="threshold", topic="/c", field="nothing", above=1)
    )
    topics = {
        ("/a", "s"): topic_table("ranges", [[1.0]]),
        ("/b", "s"): topic_table("mode", ["drive", "limp"]),
        ("/c", "s"): topic_table("x", [1.0]),
    }
    found = find(topics=topics, config=config)
    assert found.events.select("channel", "frame").rows() == [("/b", 1)]
    assert found.notes == (
        "/a: the field 'ranges' is List(Float64), which no rule can compare.",
        "/c: there is no field 'nothing'; its fields are frame, timestamp, x, recording.",
    )


def test_values_outside_of_what_is_valid_are_no_samples(configured, find) -> None:
    config = configured(rule(kind="threshold", topic="/t", field="x", above=10, valid="[0, 100]"))
    table = topic_table("x", [5.0, 255.0, float("nan"), None, 50.0])
    assert find(topics={("/t", "s"): table}, config=config).events["frame"].to_list() == [4]


def test_rules_can_be_turned_off(configured, find) -> None:
    topics = {COMPUTE: topic_table("cpu_temperature_c", [99.0] * 20)}
    assert find(topics=topics).events.height == 1
    for name in ("rules", "RULE_CPU_TEMPERATURE"):
        config = configured(f'[detectors]\ndisable = ["{name}"]\n')
        assert find(topics=topics, config=config).events.is_empty()
