"""Live values: decoded as an independent decoder reads the same bytes, apart by sender, and bounded."""

import struct

import cantools
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from argus_assets.stats.measurements import J1939, MAX_ROWS, measure
from argus_assets.stats.schema import MEASUREMENTS
from tests.support.motion import drive_of

EEC1, VEP1, EFLP1 = 0x0CF00400, 0x18FEF700, 0x18FEEF00


def eec1(rpm: float) -> bytes:
    return struct.pack("<BBBHBBB", 0xFF, 0xFF, 0xFF, round(rpm * 8), 0xFF, 0xFF, 0xFF)


def vep1(volt: float) -> bytes:
    return struct.pack("<HHHH", 0xFFFF, 0xFFFF, round(volt * 20), 0xFFFF)


def row(drive, quantity: str, ecu: str = "SA 0x00") -> dict:
    found = MEASUREMENTS.check(measure(drive)).filter(quantity=quantity, ecu=ecu)
    assert found.height == 1, found
    return found.row(0, named=True)


def dbc() -> cantools.database.can.Database:
    """A database of all parameters, written as DBC: another program's reading of positions and scales."""
    lines = ['VERSION ""', "BU_: X"]
    for pgn, parameters in J1939.items():
        lines.append(f"BO_ {(0x18 << 24 | pgn << 8 | 0x80000000)} G{pgn}: 8 X")
        lines += [
            f' SG_ S{p.spn} : {8 * p.first}|{8 * p.size}@1+ ({p.factor!r},{p.offset!r}) [0|0] "" X' for p in parameters
        ]
    return cantools.database.load_string("\n".join(lines) + "\n", "dbc")


DBC = dbc()


@given(st.sampled_from(sorted(J1939)), st.lists(st.binary(min_size=8, max_size=8), min_size=1, max_size=6))
def test_values_are_those_of_another_decoder(pgn: int, payloads: list[bytes]) -> None:
    drive = drive_of(*((n, 0x18 << 24 | pgn << 8, payload) for n, payload in enumerate(payloads)))
    found = {r["quantity"]: r for r in measure(drive).filter(ecu="SA 0x00").iter_rows(named=True)}
    decoded = [DBC.decode_message(f"G{pgn}", payload, scaling=True) for payload in payloads]
    raw = [DBC.decode_message(f"G{pgn}", payload, scaling=False) for payload in payloads]
    for p in J1939[pgn]:
        tops = [r[f"S{p.spn}"] >> 8 * (p.size - 1) for r in raw]
        values = [d[f"S{p.spn}"] for d, top in zip(decoded, tops, strict=True) if top <= 0xFA]
        mine = found[p.quantity]
        assert mine["readings"] == len(values)
        assert mine["errors"] == sum(top == 0xFE for top in tops)
        assert mine["not_available"] == len(tops) - len(values) - mine["errors"]
        for name, expected in (("minimum", min), ("maximum", max)):
            assert mine[name] == (pytest.approx(expected(values), abs=1e-6) if values else None)


def test_a_voltage_counts_apart_while_the_engine_runs() -> None:
    frames = [(at, EEC1, eec1(0 if at < 20 else 800)) for at in range(60)]
    frames += [(at + 0.5, VEP1, vep1(24.0 if at < 20 else 9.0 if at == 20 else 28.0)) for at in range(60)]
    volt = row(drive_of(*frames), "battery_voltage")
    assert (volt["minimum"], volt["running_minimum"], volt["running_median"]) == (9.0, 28.0, 28.0)
    assert volt["running_readings"] == 30  # from 10 s after the start, until no speed follows


def test_senders_are_told_apart_and_counted() -> None:
    drive = drive_of((0, EEC1, eec1(800)), (1, EEC1 | 0x03, eec1(900)), (2, EEC1 | 0x03, eec1(901)))
    assert row(drive, "engine_speed", "SA 0x03")["maximum"] == 901
    assert row(drive, "messages", "SA 0x03")["readings"] == 2


def test_answers_of_obd_by_the_scale_of_the_standard() -> None:
    drive = drive_of((0, 0x7E8, bytes.fromhex("0441422EE0000000")), (1, 0x7E8, bytes.fromhex("03410550AAAAAAAA")))
    assert row(drive, "battery_voltage", "0x7E8")["last"] == pytest.approx(12.0)
    assert row(drive, "coolant_temperature", "0x7E8")["last"] == 40


@pytest.mark.parametrize(
    ("payload", "quantity"),
    [
        ("0143000000000000", "read_out_03"), ("0247000000000000", "read_out_07"), ("024A000000000000", "read_out_0A"),
        ("035902FF00000000", "read_out_19"), ("1014590208000000", "read_out_19"), ("0258000000000000", "read_out_18"),
    ],
)  # fmt: skip
def test_an_answer_without_a_code_is_a_read_out(payload: str, quantity: str) -> None:
    assert row(drive_of((0, 0x7E8, bytes.fromhex(payload))), quantity, "0x7E8")["readings"] == 1


def test_no_file_makes_more_rows_than_are_bounded() -> None:
    frames = [(n / 1000, VEP1 | n % 250, vep1(28.0)) for n in range(800)]
    channels = pl.concat([measure(drive_of(*frames))])
    assert channels.height <= MAX_ROWS


def test_a_drive_without_values_has_none() -> None:
    assert measure(drive_of()).is_empty()
    assert measure(drive_of((0, EFLP1, b""), (1, 0x7E8, b"\x04\x41"))).filter(pl.col("readings") > 0)[
        "quantity"
    ].to_list() == ["messages"]
