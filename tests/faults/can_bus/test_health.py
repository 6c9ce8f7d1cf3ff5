"""Silent ECUs, gaps and the load of channels."""

from dataclasses import replace

import can as python_can
import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from argus_assets.faults.can_bus.bit_timing import frame_bits
from argus_assets.faults.can_bus.health import find
from argus_assets.faults.can_bus.silence import MIN_SILENCE_AT_END_NS, SWITCHED_OFF_NS
from argus_assets.faults.can_bus.traffic import PAUSE_NS, read_traffic, size_class, summarise
from argus_assets.faults.config import Bus, default_config
from argus_assets.recordings.columns import FD_LENGTHS
from argus_assets.recordings.drive import Drive
from argus_assets.recordings.parts import scan_part, write_part
from argus_assets.recordings.schema import DIAGNOSTICS, FRAMES, LOGS
from argus_assets.simulate.fleet import simulate_drive

START_S = 1_790_000_000
MS = 1_000_000


def frames_of(*messages, recording="drive.mf4"):
    """Frames of (channel, arbitration_id, times in seconds), in time order."""
    parts = [
        pl.DataFrame(
            {"timestamp": np.rint((START_S + np.asarray(times, np.float64)) * 1e9).astype(np.int64)}
        ).with_columns(
            channel=pl.lit(channel), arbitration_id=pl.lit(can_id, pl.UInt32), is_extended_id=pl.lit(can_id > 0x7FF)
        )
        for channel, can_id, times in messages
    ]
    rows = pl.concat(parts).sort("timestamp")
    false = pl.lit(value=False)
    made = rows.with_row_index("frame").with_columns(
        kind=pl.lit("can"), is_fd=false, is_remote_frame=false, is_error_frame=false, is_rx=~false, dlc=pl.lit(8),
        payload=pl.lit(bytes(8)),
    )  # fmt: skip
    return FRAMES.cast(made).lazy().with_columns(recording=pl.lit(recording))


def drive_of(*frames):
    none = [t.empty().lazy().with_columns(recording=pl.lit("")) for t in (LOGS, DIAGNOSTICS)]
    return Drive(pl.concat(frames), *none)


def bus_health(drive, bitrate=None):
    buses = () if bitrate is None else (Bus(channels="*", bitrate=bitrate),)
    return find(drive, pl.DataFrame(), replace(default_config(), buses=buses))


def events_of(*messages):
    return reported(bus_health(drive_of(frames_of(*messages))))


def reported(health):
    """code, channel, ecu, first_seen and last_seen in seconds, status."""
    seconds = [((pl.col(n).dt.timestamp("ns") - START_S * 10**9) / 1e9).round(2) for n in ("first_seen", "last_seen")]
    return health.events.select("code", "channel", "ecu", *seconds, pl.col("status").cast(pl.String)).rows()


def every(period_s, start_s, end_s, *, seed=0, jitter=0.02):
    times = np.arange(start_s, end_s, period_s)
    noise = np.random.default_rng(seed).normal(0, jitter * period_s, len(times))
    return np.sort(np.clip(times + noise, start_s, end_s))


ALIVE = ("CAN1", 0x100, every(0.01, 0, 120))
"""A message that goes on, so that the channel does."""


def test_a_cyclic_message_that_stops_and_comes_back_is_one_event():
    stops = np.concatenate([np.arange(0, 30, 0.1), np.arange(40, 120, 0.1)])
    assert events_of(ALIVE, ("CAN1", 0x200, stops)) == [("CAN_SILENT", "CAN1", "0x200", 30.9, 40.0, "occurred")]


def test_a_cyclic_message_that_stops_for_good_is_active_to_the_end():
    events = events_of(ALIVE, ("CAN1", 0x200, np.arange(0, 30, 0.1)))
    assert events == [("CAN_SILENT", "CAN1", "0x200", 30.9, pytest.approx(120, abs=0.1), "active")]


def test_a_silence_counts_from_ten_periods_and_a_second():
    for period in (0.02, 0.1, 0.5):
        allowed = max(10 * period, 1.0)
        for away, expected in ((allowed - 0.1, 0), (allowed + 0.3, 1)):
            back = 20 + period * round(away / period)
            times = np.concatenate([np.arange(0, 20.0001, period), np.arange(back, 120, period)])
            assert len(events_of(ALIVE, ("CAN1", 0x200, times))) == expected, (period, away)


def test_the_evidence_is_the_last_frame_before(can_table, can):
    frames = frames_of(ALIVE, ("CAN1", 0x200, np.concatenate([np.arange(0, 30, 0.1), np.arange(40, 120, 0.1)])))
    event = bus_health(drive_of(frames)).events.row(0, named=True)
    last = frames.filter(pl.col("frame") == event["frame"]).collect().row(0, named=True)
    assert (last["arbitration_id"], round(last["timestamp"].timestamp() - START_S, 3)) == (0x200, 29.9)
    assert (event["payload_hex"], event["recording"], event["frame_count"]) == ("00" * 8, "drive.mf4", 1)
    details = {d["key"]: d["value"] for d in event["details"]}
    assert (details["period_ms"], details["silent_s"]) == ("100.0", "10.1")
    assert (event["severity"], event["source"]) == ("warning", "can_silence")


def test_messages_on_events_and_changes_of_pace_are_no_silence():
    random = np.random.default_rng(3)
    on_change = np.cumsum(random.exponential(0.5, 200))
    bursts = (np.arange(0, 120, 12)[:, None] + 0.0007 * np.arange(30)).ravel()
    slower = np.concatenate([np.arange(0, 30, 0.01), np.arange(30, 60, 1.003), np.arange(60, 120, 0.01)])
    slowest = np.concatenate([np.arange(0, 80, 0.01), np.arange(80, 120, 3.0)])
    messages = [("CAN1", 0x200 + n, times) for n, times in enumerate((on_change, bursts, slower, slowest))]
    assert events_of(ALIVE, *messages) == []


def test_a_message_that_comes_and_goes_is_silent_until_it_keeps_its_pace():
    times = np.concatenate([np.arange(0, 30, 0.1), [33.0, 41.0, 41.1, 55.0], np.arange(60, 120, 0.1)])
    assert events_of(ALIVE, ("CAN1", 0x200, times)) == [("CAN_SILENT", "CAN1", "0x200", 30.9, 60.0, "occurred")]


def test_testers_and_ecus_that_answer_them_never_fall_silent():
    asked = np.arange(0, 60, 0.1)
    messages = [("CAN1", can_id, asked) for can_id in (0x7DF, 0x7E8, 0x18DAF110, 0x18DB33F1, 0x17FC0076)]
    assert events_of(ALIVE, *messages) == []


def test_on_j1939_an_ecu_is_silent_when_all_its_messages_are():
    with_pause = np.concatenate([np.arange(0, 30, 0.05), np.arange(50, 120, 0.05)])
    slow = np.concatenate([np.arange(0.3, 30, 1.0), np.arange(50.3, 120, 1.0)])
    other = ("CAN1", 0x0CF00400, every(0.02, 0, 120))  # engine speed of SA 0x00
    both = events_of(other, ("CAN1", 0x18FEBF0B, with_pause), ("CAN1", 0x18FF110B, slow))
    assert both == [("CAN_SILENT", "CAN1", "SA 0x0B", 30.95, 50.0, "occurred")]
    assert events_of(other, ("CAN1", 0x18FEBF0B, with_pause), ("CAN1", 0x18FF110B, np.arange(0.3, 120, 0.5))) == []


def test_a_channel_that_stops_while_another_goes_on_is_a_gap_and_no_silent_ecus():
    other = ("CAN2", 0x100, every(0.01, 0, 120))
    stops = np.concatenate([np.arange(0, 30, 0.01), np.arange(40, 120, 0.01)])
    assert events_of(other, ("CAN1", 0x200, stops), ("CAN1", 0x201, stops + 0.003)) == [
        ("CAN_GAP", "CAN1", "CAN1", 30.99, 40.0, "occurred")
    ]
    ends = np.arange(0, 100, 0.01)
    assert events_of(other, ("CAN1", 0x200, ends), ("CAN1", 0x201, ends + 0.003)) == [
        ("CAN_GAP", "CAN1", "CAN1", 100.99, pytest.approx(120, abs=0.1), "active")
    ]


def test_while_nothing_is_recorded_nobody_is_missed():
    pause = np.concatenate([np.arange(0, 30, 0.01), np.arange(90, 120, 0.01)])
    assert events_of(("CAN1", 0x100, pause), ("CAN1", 0x200, pause + 0.002), ("CAN2", 0x300, pause + 0.004)) == []


def test_what_is_switched_off_is_reported_and_not_missed():
    ends = 120 - SWITCHED_OFF_NS / 1e9 / 2
    off = [("CAN1", 0x200 + n, np.arange(0, ends + n, 0.1)) for n in range(3)]
    health = bus_health(drive_of(frames_of(ALIVE, *off)))
    assert reported(health) == []
    assert health.notes == (
        "CAN1: 3 of 4 cyclic senders stopped shortly before the end; taken for a vehicle that was switched off.",
    )
    late = 120 - MIN_SILENCE_AT_END_NS / 1e9 + 0.5
    assert events_of(ALIVE, ("CAN1", 0x200, np.arange(0, late, 0.1))) == []


@settings(deadline=None, max_examples=15)
@given(
    cuts=st.lists(st.floats(0, 40), max_size=3),
    by_channel=st.booleans(),
    order=st.randoms(use_true_random=False),
    is_sorted=st.booleans(),
)
def test_recordings_in_any_order_overlapping_and_unsorted_give_the_same(cuts, by_channel, order, is_sorted):
    stops = np.concatenate([np.arange(0, 12, 0.05), np.arange(19, 40, 0.05)])
    messages = [("CAN1", 0x100, every(0.05, 0, 40)), ("CAN1", 0x200, stops), ("CAN2", 0x300, every(0.5, 0, 25))]
    whole = frames_of(*messages).collect()
    seconds = (whole["timestamp"].dt.timestamp("ns") - START_S * 10**9) / 1e9
    parts = whole.with_columns(number=pl.sum_horizontal(pl.lit(seconds) > cut for cut in [-1.0, *cuts])).partition_by(
        ["number", "channel"] if by_channel else ["number"]
    )
    order.shuffle(parts)
    named = [p.drop("number").with_columns(recording=pl.lit(f"{n}.mf4")) for n, p in enumerate(parts)]
    if not is_sorted:
        named = [p.sample(fraction=1, shuffle=True, seed=1) for p in named]
    one, many = (
        bus_health(drive_of(whole.lazy()), 500_000),
        bus_health(drive_of(*(p.lazy() for p in named)), 500_000),
    )
    assert reported(many) == reported(one)
    assert [event[:3] for event in reported(one)] == [("CAN_SILENT", "CAN1", "0x200"), ("CAN_GAP", "CAN2", "CAN2")]
    floats = ["load_mean_pct", "load_peak_pct", "load_peak_worst_pct"]
    assert many.buses.drop(floats).equals(one.buses.drop(floats))
    assert many.buses.select(floats).to_numpy() == pytest.approx(one.buses.select(floats).to_numpy())


@settings(deadline=None, max_examples=30)
@given(st.lists(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 40)), max_size=40), max_size=4))
def test_presence_is_that_of_a_loop(recordings):
    frames = [
        frames_of(
            *(("CAN1", 0x100 + n, [at * 0.3 for k, at in recording if k == n]) for n in range(3)), recording=f"{number}"
        )
        for number, recording in enumerate(recordings)
    ]
    presence = read_traffic(drive_of(*frames, frames_of(("CAN1", 0, [])))).presence
    expected = []
    for n in range(3):
        times = sorted(START_S * 10**9 + round(at * 0.3 * 10) * 10**8 for r in recordings for k, at in r if k == n)
        for time in times:
            if expected and expected[-1][0] == 0x100 + n and time - expected[-1][2] <= PAUSE_NS:
                expected[-1][2:] = [time, expected[-1][3] + 1]
            else:
                expected.append([0x100 + n, time, time, 1])
    found = presence.with_columns(pl.col("start", "end").round(-8) if False else pl.col("start", "end"))
    rounded = [
        [i, round(s, -8), round(e, -8), f]
        for i, s, e, f in found.select("arbitration_id", "start", "end", "frames").rows()
    ]
    assert rounded == expected


def test_an_empty_drive_has_no_channels():
    health = bus_health(drive_of(frames_of(("CAN1", 1, []))))
    assert health.buses.is_empty()
    assert health.events.is_empty()
    assert summarise([]).presence.is_empty()


@given(st.integers(1, 2**45))
def test_size_classes_are_as_wide_as_said(span_ns):
    near = size_class(np.array([span_ns, span_ns * 17 // 16 + 1, span_ns + 1]))
    assert near[0] <= near[2] <= near[1]
    if span_ns > 2**10:
        assert size_class(np.array([span_ns * 2]))[0] - near[0] == 16


@given(st.binary(max_size=8), st.booleans(), st.integers(0, 2**29 - 1))
def test_bits_of_a_frame_are_between_none_and_the_worst_stuffing(payload, extended, can_id):
    message = python_can.Message(
        arbitration_id=can_id if extended else can_id % 2048, is_extended_id=extended, data=payload
    )
    row = pl.DataFrame(
        {"is_extended_id": [extended], "is_fd": [False], "is_remote_frame": [False], "dlc": [len(payload)]}
    )
    mean, worst = (row.select(frame_bits(worst=w).nominal).item() for w in (False, True))
    real = len(payload) * 8 + (67 if extended else 47) + _stuff_bits(message)
    assert mean - (54 if extended else 34) / 30 - len(payload) * 8 / 30 <= real <= worst
    assert mean <= worst


def _stuff_bits(message) -> int:
    """Stuff bits of a classic frame, counted bit by bit (ISO 11898-1, 10.5)."""
    can_id, data = message.arbitration_id, bytes(message.data)
    head = f"0{can_id >> 18:011b}11{can_id & 0x3FFFF:018b}000" if message.is_extended_id else f"0{can_id:011b}000"
    bits = head + f"{len(data):04b}" + "".join(f"{b:08b}" for b in data)
    crc = 0
    for bit in bits:
        flip = int(bit) ^ (crc >> 14 & 1)
        crc = (crc << 1 & 0x7FFF) ^ (0x4599 if flip else 0)
    stuffed, run, last = 0, 0, ""
    for bit in bits + f"{crc:015b}":
        run = run + 1 if bit == last else 1
        last = bit
        if run == 5:
            stuffed += 1
            last, run = "1" if bit == "0" else "0", 1
    return stuffed


def test_random_frames_have_as_many_stuff_bits_as_the_mean_says():
    random = np.random.default_rng(1)
    counted = [
        _stuff_bits(
            python_can.Message(arbitration_id=int(random.integers(2**29)), is_extended_id=True, data=random.bytes(8))
        )
        for _ in range(2000)
    ]
    row = pl.DataFrame({"is_extended_id": [True], "is_fd": [False], "is_remote_frame": [False], "dlc": [8]})
    assert row.select(frame_bits().nominal).item() - 131 == pytest.approx(np.mean(counted), rel=0.1)


def test_the_load_is_frames_times_their_length_over_the_bit_rate():
    health = bus_health(drive_of(frames_of(("CAN1", 0x100, np.arange(0, 10, 0.001)))), 500_000)
    row = health.buses.row(0, named=True)
    assert (row["bit_rate_kbps"], row["bit_rate_source"], row["data_bit_rate_kbps"]) == (500, "configured", None)
    bits = 8 * 8 + 47 + (34 + 64 - 1) / 30
    assert row["load_peak_pct"] == pytest.approx(100 * 1000 * bits / 500_000)
    assert row["load_mean_pct"] == pytest.approx(row["load_peak_pct"], rel=0.01)
    assert row["load_peak_worst_pct"] == pytest.approx(100 * 1000 * (64 + 47 + 24) / 500_000)
    assert (row["frames"], row["data_bytes"], row["identifiers"], row["cyclic_identifiers"]) == (10_000, 80_000, 1, 1)


@pytest.mark.parametrize("kbps", [250, 500, 1000])
def test_the_bit_rate_shows_where_frames_follow_each_other(kbps):
    frame_s = (64 + 47 + 3) / (kbps * 1000)
    bursts = (np.arange(0, 60, 0.1)[:, None] + frame_s * np.arange(6)).ravel()
    stats = bus_health(drive_of(frames_of(("CAN1", 0x100, bursts)))).buses
    assert stats.select("bit_rate_kbps", "bit_rate_source").rows() == [(kbps, "estimated")]


def test_fd_frames_are_counted_at_both_bit_rates():
    lengths = {
        "dlc": list(range(16)),
        "is_extended_id": [False] * 16,
        "is_fd": [True] * 16,
        "is_remote_frame": [False] * 16,
    }
    rows = pl.DataFrame(lengths).select(nominal=frame_bits(worst=True).nominal, data=frame_bits(worst=True).data)
    assert rows["nominal"].unique().to_list() == [17 + 4 + 12]
    sizes = 8 * FD_LENGTHS
    assert rows["data"].to_list() == (5 + sizes + (4 + sizes) // 4 + np.where(sizes > 128, 33, 28)).tolist()


@pytest.mark.parametrize("scenario", ["truck_healthy", "car_healthy", "av_healthy"])
def test_a_healthy_drive_in_several_recordings_has_no_silence(scenario, tmp_path):
    made = simulate_drive(
        tmp_path / "drive", scenario=scenario, seed=5, vehicle_id="v", vin="v", release="r", batch_id="b",
        started_ns=START_S * 10**9, seconds=40, files=3,
    )  # fmt: skip
    parts = []
    for path in made.files:
        folder = tmp_path / path.stem
        folder.mkdir()
        with path.open("rb") as source:
            write_part(source, folder=folder)
        parts.append((path.name, scan_part(folder)))
    health = bus_health(Drive.of(parts))
    assert health.events.is_empty()
    assert health.notes == ()
    assert health.buses["frames"].sum() > 0
