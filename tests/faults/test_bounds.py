"""Bounds on what hostile frames make detectors report; what is left out is noted."""

from dataclasses import replace

import numpy as np
import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from argus_assets.faults.activations import FAULT
from argus_assets.faults.bounds import Bounds, bounded_faults, bounded_frames, bounded_notes
from argus_assets.faults.config import default_config
from argus_assets.faults.detector import Found
from argus_assets.faults.j1939 import detector as j1939
from argus_assets.faults.schema import ERROR_EVENTS
from argus_assets.faults.uds_obd import detector as diagnostic
from argus_assets.faults.uds_obd.uds import parse_dtc_answer
from tests.support.empty_drive import EMPTY_DRIVE


def frames(ids: list[int], payloads: list[bytes]) -> pl.DataFrame:
    """Data frames as `can.data_frames` gives them, 1 ms apart."""
    n = len(ids)
    return pl.DataFrame(
        {
            "timestamp": np.arange(n, dtype=np.int64) * 10**6,
            "channel": pl.repeat("CAN1", n, eager=True),
            "arbitration_id": pl.Series(ids, dtype=pl.UInt32),
            "is_extended_id": pl.repeat(value=True, n=n, eager=True, dtype=pl.Boolean),
            "payload": pl.Series(payloads, dtype=pl.Binary),
            "recording": pl.repeat("r", n, eager=True),
            "frame": pl.Series(range(n), dtype=pl.UInt64),
        }
    )


@given(st.integers(0, 400))
def test_notes_are_kept_or_counted(count: int) -> None:
    kept = bounded_notes(str(n) for n in range(count))
    assert kept[:100] == tuple(map(str, range(min(count, 100))))
    assert kept[100:] == ((f"{count - 100} more like the one before were left out.",) if count > 100 else ())


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 2)), max_size=60), st.integers(1, 12))
def test_the_worst_faults_are_kept_whole(events: list[tuple[int, int]], limit: int) -> None:
    levels = ERROR_EVENTS.schema["severity"].categories  # type: ignore[attr-defined] # an enum
    table = pl.DataFrame(
        {
            **{name: [f"{name}{code}" if name == "code" else "j1939_dm1" for code, _ in events] for name in FAULT},
            "severity": pl.Series([levels[level] for _, level in events], dtype=ERROR_EVENTS.schema["severity"]),
            "first_seen": list(range(len(events))),
        },
        schema_overrides={**dict.fromkeys(FAULT, pl.String), "first_seen": pl.Int64},
    )
    found = bounded_faults(Found(table), "J1939", Bounds(faults=limit))
    kept, notes = found.events, found.notes
    worst: dict[int, tuple[int, int]] = {}
    for at, (code, level) in enumerate(events):
        worst[code] = (min(worst.get(code, (0, 0))[0], -level), worst.get(code, (0, at))[1])
    expected = set(sorted(worst, key=lambda code: worst[code])[:limit])
    assert kept["first_seen"].to_list() == [at for at, (code, _) in enumerate(events) if code in expected]
    assert len(notes) == (len(worst) > limit)
    assert all(f"{len(worst) - limit} of {len(worst)} faults" in note for note in notes)


def test_first_frames_that_nothing_follows_are_counted_in_few_notes() -> None:
    ids = [0x18DA0000 + n for n in range(3000)]
    found = diagnostic.find(EMPTY_DRIVE, frames(ids, [bytes.fromhex("1FFF590200000000")] * 3000), default_config())
    assert found.events.is_empty()
    assert len(found.notes) == 101
    assert found.notes[-1].startswith("2,900 more")


def test_more_codes_than_a_vehicle_has_are_left_out_and_reported() -> None:
    config = replace(default_config(), bounds=Bounds(faults=50))
    payloads = [b"\x04\xff" + (n + 1).to_bytes(2, "little") + b"\x03\x01\xff\xff" for n in range(200)]
    found = j1939.find(EMPTY_DRIVE, frames([0x18FECA00] * 200, payloads), config)
    assert found.events.select(FAULT).n_unique() == 50
    assert "J1939: 150 of 200 faults were left out, the least severe and latest ones." in found.notes


@given(st.integers(0, 60), st.integers(1, 20), st.integers(0, 60))
def test_frames_of_a_detector_are_read_up_to_a_share_of_all(wanted: int, minimum: int, others: int) -> None:
    rows = frames([0x18FECA00] * wanted + [0x100] * others, [b""] * (wanted + others)).lazy()
    wanted_rows = rows.filter(pl.col("arbitration_id") == 0x18FECA00)
    kept, notes = bounded_frames(wanted_rows, rows, "J1939", Bounds(frames=minimum))
    limit = max(minimum, (wanted + others) // 10)
    assert kept["frame"].to_list() == list(range(min(wanted, limit)))
    assert len(notes) == (wanted > limit)
    assert all(f"J1939: {wanted - limit} of {wanted} frames were left out" in note for note in notes)


def test_requests_to_clear_that_no_visit_to_a_workshop_has_are_left_out_and_reported() -> None:
    # Each would touch the lists of all 200 ECUs.
    ids = [0x18FECA00 + n for n in range(200)] + [0x18EAFFF9] * 3000
    payloads = [bytes.fromhex("04FF640002010000")] * 200 + [bytes.fromhex("D3FE00")] * 3000
    found = j1939.find(EMPTY_DRIVE, frames(ids, payloads), default_config())
    assert found.events.filter(code="J1939_CLEAR").height == 1000
    assert found.events.filter(code="SPN100/FMI2").height == 200
    assert "J1939: 2,000 of 3,000 requests to clear codes were left out, the latest ones." in found.notes


def test_snapshots_of_many_codes_are_listed_in_one_pass() -> None:
    records = [(n % 5000).to_bytes(3, "big") + bytes([n % 7]) for n in range(20_000)]
    answer = parse_dtc_answer(b"\x59\x03" + b"".join(records), {})
    assert answer is not None
    stored: dict[bytes, list[str]] = {}
    for record in records:
        stored.setdefault(record[:3], []).append(f"{record[3]:02X}")
    assert [(c.dtc, c.details[0][1]) for c in answer.codes] == [(d, ", ".join(n)) for d, n in stored.items()]
