"""State of a fault: what is now, what was, and whether its onset was seen."""

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from argus_assets.diagnosis.states import clearings_of, fault_state, onset_seen, sessions_of
from argus_assets.faults.schema import ERROR_EVENTS

START = datetime(2026, 9, 1, tzinfo=UTC)
DRIVE_S = 300.0
ENDS_NS = int((START + timedelta(seconds=DRIVE_S)).timestamp() * 1e9)


def event(code: str, first: float, last: float | None = None, **more) -> dict:
    return {
        "code": code, "source": "j1939_dm1", "ecu": "SA 0x00", "channel": "CAN1", "status": "active",
        "severity": "warning", "severity_rule": "lamp: amber warning", "occurrence": 1,
        "first_seen": START + timedelta(seconds=first), "last_seen": START + timedelta(seconds=last or first),
        "active_s": (last or first) - first, "frame_count": 1, "recording": "a", "frame": 1, "payload_hex": "", **more,
    }  # fmt: skip


def table(*events: dict) -> pl.DataFrame:
    return ERROR_EVENTS.cast(pl.DataFrame([{**dict.fromkeys(ERROR_EVENTS.schema), **e} for e in events]))


def state(reports: list[dict], others: tuple[dict, ...] = ()) -> str:
    everything = table(*reports, *others)
    return fault_state(
        table(*reports), clearings_of(everything), sessions_of(everything), ends_ns=ENDS_NS, drive_s=DRIVE_S
    )


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (0x2F, "present"), (0xAF, "present"), (0x01, "present"), (0x2E, "intermittent"), (0x2C, "intermittent"),
        (0xA8, "intermittent"), (0x24, "pending"), (0x28, "stored"), (0x68, "stored"), (0x08, "stored"),
    ],
)  # fmt: skip
def test_the_status_byte_decides_over_the_list(status: int, expected: str) -> None:
    """ISO 14229-1, D.2."""
    assert state([event("P0301", 20.0, source="uds_dtc", status="confirmed", dtc_status=status)]) == expected


def test_a_broadcast_fault_is_present_if_it_is_there_at_the_end() -> None:
    assert state([event("SPN110/FMI3", 40.0, 299.0)]) == "present"
    assert state([event("SPN110/FMI3", 40.0, 120.0)]) == "ended"
    three = [event("SPN110/FMI3", 40.0 * n, 40.0 * n + 5, occurrence=n) for n in (1, 2, 3)]
    assert state(three) == "intermittent"


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ("confirmed", "present"), ("pending", "pending"), ("permanent", "permanent"),
        ("previously_active", "previous"), ("occurred", "moment"),
    ],
)  # fmt: skip
def test_a_list_stands_for_what_it_is(status: str, expected: str) -> None:
    assert state([event("P0301", 20.0, source="obd_mode03", status=status)]) == expected


def test_a_clearing_that_held_is_a_repair_and_one_that_did_not_is_none() -> None:
    clear = event("OBD_CLEAR", 100.0, source="obd_mode04", ecu="0x7E8", status="occurred")
    read = event("P0420", 20.0, source="obd_mode03", ecu="0x7E8", status="confirmed")
    assert state([read], (clear,)) == "cleared"
    assert state([read], ({**clear, "ecu": "0x7E9"},)) == "present", "another unit was cleared"
    again = event("P0420", 150.0, source="obd_mode03", ecu="0x7E8", status="confirmed")
    assert state([read, again], (clear,)) == "present"
    twice = ({**clear}, {**clear, **event("OBD_CLEAR", 200.0, source="obd_mode04", ecu="0x7E8", status="occurred")})
    assert state([read, again], twice) == "intermittent", "it came back after the first"
    waits = event("P0420", 25.0, 170.0, source="obd_mode0a", ecu="0x7E8", status="permanent")
    assert state([read, waits], (clear,)) == "permanent"


def test_a_silence_while_a_unit_is_programmed_is_none_of_the_vehicle() -> None:
    session = event("UDS_PROGRAMMING", 60.0, 120.0, source="uds_programming", ecu="0x7E9", status="occurred")
    silence = event("CAN_SILENT", 65.0, 125.0, source="can_silence", ecu="0x1A0")
    assert state([silence], (session,)) == "serviced"
    stays = event("CAN_SILENT", 65.0, 299.0, source="can_silence", ecu="0x1A0")
    assert state([stays], (session,)) == "present", "it did not come back"
    before = event("CAN_SILENT", 5.0, 125.0, source="can_silence", ecu="0x1A0")
    assert state([before], (session,)) == "ended"
    assert state([event("SPN110/FMI3", 65.0, 125.0)], (session,)) == "ended", "only silences are explained"


def test_the_time_of_reading_is_no_onset() -> None:
    assert onset_seen("j1939_dm1", 42.0)
    assert not onset_seen("j1939_dm1", 1.0), "it was there from the start"
    for source in ("obd_mode03", "uds_dtc", "j1939_dm2", "j1939_dm12"):
        assert not onset_seen(source, 42.0)
