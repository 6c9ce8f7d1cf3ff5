"""What the simulator writes is read by the formats' own libraries: mcap, mcap_ros2, asammdf and python-can."""

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from asammdf import MDF
from hypothesis import given
from hypothesis import strategies as st
from mcap.reader import make_reader
from mcap.records import Schema
from mcap_ros2.decoder import DecoderFactory

from argus_assets.simulate import ros
from argus_assets.simulate.can import ERROR_FLAG, CanLog, from_rows
from argus_assets.simulate.fleet import Drive
from argus_assets.simulate.scenarios import SCENARIOS
from argus_assets.simulate.write import write_mcap, write_mdf4

MCAP = [s.name for s in SCENARIOS.values() if s.platform != "truck" and s.damage is None][::3]
"""Some of each kind: all of them are written by the same code."""

TRUCKS = [s.name for s in SCENARIOS.values() if s.platform == "truck"][::5]
STARTED_NS = 1_795_000_000_123_456_789

times_ns = st.integers(0, 2**31 * 10**9 - 1)
texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))


def decode(schema: str, data: bytes) -> SimpleNamespace:
    record = Schema(id=1, name=schema, encoding="ros2msg", data=ros.DEFINITIONS[schema].encode())
    decoder = DecoderFactory().decoder_for("cdr", record)
    assert decoder is not None
    return decoder(data)


@st.composite
def can_logs(draw: st.DrawFn) -> CanLog:
    """Any CAN frames, times rising, of 0 to 8 bytes."""
    n = draw(st.integers(1, 30))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    length = rng.integers(0, 9, n).astype(np.uint8)
    extended = rng.integers(0, 2, n).astype(np.bool_)
    data = rng.integers(0, 256, (n, 8)).astype(np.uint8)
    data[np.arange(8) >= length[:, None]] = 0
    return CanLog(
        np.sort(rng.uniform(0, 100, n)),
        np.where(extended, rng.integers(0, 1 << 29, n), rng.integers(0, 1 << 11, n)).astype(np.uint32),
        extended, data, length,
    )  # fmt: skip


@pytest.mark.parametrize("scenario", MCAP)
def test_mcap_counts_order_and_times(make_drive: Callable[..., Drive], read_mcap, scenario: str) -> None:
    drive = make_drive(scenario)
    messages = [m for path in drive.files for m in read_mcap(path)]
    assert len(messages) == drive.frames
    log_times = [m.log_time_ns for m in messages]
    assert log_times == sorted(log_times), "one file follows the other, and each is ordered"
    assert drive.recorded_from_ns <= log_times[0]
    assert log_times[-1] < drive.recorded_to_ns
    stamped = [m for m in messages if hasattr(m.content, "header")]
    assert stamped
    assert all(m.content.header.stamp.sec * 10**9 + m.content.header.stamp.nanosec == m.log_time_ns for m in stamped)


@pytest.mark.parametrize("scenario", MCAP)
def test_mcap_summary_agrees_with_its_messages(make_drive: Callable[..., Drive], scenario: str) -> None:
    counts = []
    for path in make_drive(scenario).files:
        with path.open("rb") as file:
            summary = make_reader(file, validate_crcs=True).get_summary()
        assert summary is not None
        assert summary.statistics is not None
        assert {c.compression for c in summary.chunk_indexes} == {"zstd"}
        counts.append(summary.statistics.message_count)
    assert sum(counts) == make_drive(scenario).frames


@pytest.mark.parametrize("scenario", TRUCKS)
def test_mdf4_by_asammdf_and_by_python_can(make_drive: Callable[..., Drive], read_can, scenario: str) -> None:
    drive = make_drive(scenario)
    frames = read_can(drive)
    assert len(frames) == drive.frames
    assert all(a.time_s <= b.time_s for a, b in pairwise(frames))
    # python-can's times are floats: about 250 ns at this epoch.
    assert frames[0].time_s > -1e-6
    assert frames[-1].time_s < 30 + 1e-6
    assert {f.extended for f in frames} == {True}, "J1939 has 29-bit identifiers only"

    ids, rows = [], []
    for path in drive.files:
        with MDF(path) as mdf:
            assert mdf.header.start_time.timestamp() == STARTED_NS // 10**9
            signal = mdf.get("CAN_DataFrame")
            ids += (signal.samples["CAN_DataFrame.ID"] & 0x1FFF_FFFF).tolist()
            lengths = signal.samples["CAN_DataFrame.DataLength"].tolist()
            data = signal.samples["CAN_DataFrame.DataBytes"]
            rows += [row[:n].tobytes() for row, n in zip(data, lengths, strict=True)]
    assert ids == [f.can_id for f in frames]
    assert rows == [f.data for f in frames]


@given(log=can_logs())
def test_any_can_log_survives_mcap(tmp_path_factory: pytest.TempPathFactory, read_mcap, log: CanLog) -> None:
    path = tmp_path_factory.getbasetemp() / "any.mcap"
    assert write_mcap(path, can=log, can_topic="/can", messages=[], started_ns=STARTED_NS) == len(log.time_s)
    read = [(m.content.id, m.content.is_extended, m.content.dlc, bytes(m.content.data)) for m in read_mcap(path)]
    expected = zip(log.can_id.tolist(), log.extended.tolist(), log.length.tolist(), log.data, strict=True)
    assert read == [(i, e, n, d.tobytes()) for i, e, n, d in expected]


@given(log=can_logs())
def test_any_can_log_survives_mdf4(tmp_path_factory: pytest.TempPathFactory, log: CanLog) -> None:
    import can

    path = tmp_path_factory.getbasetemp() / "any.mf4"
    assert write_mdf4(path, can=log, bus=3, started_ns=STARTED_NS) == len(log.time_s)
    with can.MF4Reader(path) as reader:
        read = list(reader)
    assert [m.arbitration_id for m in read] == log.can_id.tolist()
    assert [m.is_extended_id for m in read] == log.extended.tolist()
    assert [bytes(m.data) for m in read] == [
        d[:n].tobytes() for d, n in zip(log.data, log.length.tolist(), strict=True)
    ]
    assert {m.channel for m in read} == {3}
    expected = log.time_s + STARTED_NS / 1e9
    assert np.allclose([m.timestamp for m in read], expected, rtol=0, atol=1e-6)


def test_mdf4_is_written_to_the_name_that_was_asked_for(tmp_path: Path) -> None:
    one = CanLog(
        np.zeros(1), np.ones(1, np.uint32), np.zeros(1, np.bool_), np.zeros((1, 8), np.uint8), np.full(1, 8, np.uint8)
    )
    for name in ("a.mf4", "B.MF4", "no-suffix"):
        write_mdf4(tmp_path / name, can=one, bus=1, started_ns=STARTED_NS)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["B.MF4", "a.mf4", "no-suffix"]


@given(log=can_logs(), errors=st.booleans())
def test_can_frames_are_what_ros_decodes(log: CanLog, errors: bool) -> None:
    classes = np.where(errors, (log.can_id & 0x1FF) | ERROR_FLAG, log.can_id).astype(np.uint32)
    log = replace(log, can_id=classes)
    times = np.rint(log.time_s * 1e9).astype(np.int64) + STARTED_NS
    for n, row in enumerate(ros.can_frames(times, log)):
        m = decode("can_msgs/msg/Frame", row.tobytes())
        assert (m.header.stamp.sec * 10**9 + m.header.stamp.nanosec, m.header.frame_id) == (times[n], "can0")
        assert (m.id, m.is_extended) == (int(log.can_id[n]) & 0x1FFFFFFF, bool(log.extended[n]))
        assert (m.is_rtr, m.is_error, m.dlc) == (False, errors, log.length[n])
        assert bytes(m.data) == log.data[n].tobytes()
        if not errors:
            fields = {"extended": m.is_extended, "data": bytes(m.data), "length": m.dlc}
            assert ros.can_frame(int(times[n]), m.id, **fields) == row.tobytes()


def test_error_frames_are_not_written_as_data_frames_of_mdf4(tmp_path: Path) -> None:
    log = from_rows([(0.0, ERROR_FLAG | 0x40, bytes(8))], before_s=1)
    with pytest.raises(NotImplementedError, match="Error frames"):
        write_mdf4(tmp_path / "a.mf4", can=log, bus=1, started_ns=STARTED_NS)
    assert not list(tmp_path.iterdir())


floats = st.floats(width=32, allow_nan=False)


@given(ns=times_ns, values=st.tuples(floats, floats, floats, floats), points=st.integers(0, 2**32 - 1))
def test_compute_and_lidar_status_are_what_ros_decodes(ns: int, values: tuple, points: int) -> None:
    m = decode("argus_msgs/msg/ComputeStatus", ros.compute_status(ns, *values))
    assert m.header.stamp.sec * 10**9 + m.header.stamp.nanosec == ns
    read = (m.cpu_temperature_c, m.cpu_load_pct, m.memory_used_mib, m.disk_write_latency_ms)
    assert read == values
    m = decode("argus_msgs/msg/LidarStatus", ros.lidar_status(ns, points, values[0]))
    assert (m.points_per_second, m.packet_loss_pct) == (points, values[0])


@given(ns=times_ns, status=st.integers(-1, 2), latitude=st.floats(-90, 90), longitude=st.floats(-180, 180))
def test_nav_sat_fix_is_what_ros_decodes(ns: int, status: int, latitude: float, longitude: float) -> None:
    m = decode("sensor_msgs/msg/NavSatFix", ros.nav_sat_fix(ns, status, latitude, longitude, 5.0))
    assert m.header.stamp.sec * 10**9 + m.header.stamp.nanosec == ns
    assert (m.status.status, m.latitude, m.longitude, m.altitude) == (status, latitude, longitude, 5.0)
    assert list(m.position_covariance) == [0.0] * 9


@given(ns=times_ns, level=st.integers(0, 255), name=texts, message=texts, line=st.integers(0, 2**32 - 1))
def test_log_is_what_ros_decodes(ns: int, level: int, name: str, message: str, line: int) -> None:
    m = decode("rcl_interfaces/msg/Log", ros.log(ns, level, name, message, line))
    assert (m.stamp.sec * 10**9 + m.stamp.nanosec, m.level, m.name, m.msg) == (ns, level, name, message)
    assert (m.file, m.function, m.line) == (f"{name}.cpp", "tick", line)


@given(
    ns=times_ns,
    statuses=st.lists(
        st.tuples(st.integers(0, 3), texts, texts, texts, st.dictionaries(texts, texts, max_size=3)), max_size=4
    ),
)
def test_diagnostic_array_is_what_ros_decodes(ns: int, statuses: list) -> None:
    m = decode("diagnostic_msgs/msg/DiagnosticArray", ros.diagnostic_array(ns, statuses))
    assert m.header.stamp.sec * 10**9 + m.header.stamp.nanosec == ns
    assert [
        (ord(s.level) if isinstance(s.level, bytes) else s.level, s.name, s.message, s.hardware_id,
         {v.key: v.value for v in s.values})
        for s in m.status
    ] == statuses  # fmt: skip


@given(value=st.floats(allow_nan=False))
def test_float64_is_what_ros_decodes(value: float) -> None:
    assert decode("std_msgs/msg/Float64", ros.float64(value)).data == value
