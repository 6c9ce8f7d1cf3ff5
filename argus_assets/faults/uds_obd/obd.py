"""OBD-II: stored codes (modes 03, 07, 0A), the lamp and readiness (mode 01 PID 01), freeze frames (mode 02).

Services: ISO 15031-5 / SAE J1979. Clearing (mode 04) is in `clearing.py`, refusals in `negative_response.py`.
"""

from typing import Final

import polars as pl

from argus_assets.faults.activations import as_reports
from argus_assets.faults.schema import DETAILS
from argus_assets.faults.uds_obd.clearing import cleared_before
from argus_assets.faults.uds_obd.dtc import dtc_text
from argus_assets.faults.uds_obd.freeze_frames import attach
from argus_assets.faults.uds_obd.obd_pids import (
    PID_FREEZE_FRAME_CODE,
    PID_MONITOR_STATUS,
    monitor_status,
    pid_value,
    split_pids,
)
from argus_assets.faults.uds_obd.request_response import EVIDENCE, REPORTER, positive

_CURRENT_DATA: Final = 0x01
_FREEZE_FRAME: Final = 0x02
_PERMANENT: Final = 0x0A

CODE_MODES: Final = {
    0x03: ("obd_mode03", "confirmed", "obd: confirmed code (mode 03)"),
    0x07: ("obd_mode07", "pending", "obd: pending code (mode 07)"),
    _PERMANENT: ("obd_mode0a", "permanent", "obd: permanent code (mode 0A)"),
}
"""Modes that list codes: source, status, severity rule."""

MIL_CODE: Final = "OBD_MIL"


def parse_codes(payload: bytes) -> tuple[str, ...] | None:
    """Parse the codes of a mode 03, 07 or 0A answer, in its order; `None` when it is shorter than the count it states.

    Over CAN the number of codes follows the service byte. The pair 0x0000 is filling.

    Args:
        payload: A whole message that starts with 0x43, 0x47 or 0x4A.
    """
    if len(payload) < 2 or len(payload) < 2 + 2 * payload[1]:
        return None
    pairs = [payload[at : at + 2] for at in range(2, 2 + 2 * payload[1], 2)]
    return tuple(dict.fromkeys(dtc_text(*pair) for pair in pairs if any(pair)))


def find_reports(answers: pl.DataFrame, clears: pl.DataFrame) -> tuple[pl.DataFrame, tuple[str, ...]]:
    """Report every code of every list, and the lamp whenever it is on.

    Args:
        answers: `conversation.ANSWERS`.
        clears: `clearing.clears`.

    Returns:
        `activations.REPORTS`, and notes on what could not be read.
    """
    clears = clears.with_columns(scope=pl.col("scope").str.slice(0, len("P0301")))
    found = [_codes(answers, clears, mode) for mode in CODE_MODES]
    codes = pl.concat([reports for reports, _ in found])
    frames, frame_notes = _freeze_frames(answers, clears)
    lamp, lamp_notes = _lamp(answers)
    codes, unclaimed = attach(codes, frames)
    fault = [*REPORTER, "code"]
    notes = [note for _, of_mode in found for note in of_mode] + lamp_notes + frame_notes
    notes += [
        f"{channel} {ecu}: a freeze frame of {code} was read, but no answer that lists this code."
        for channel, ecu, code in unclaimed.select(fault).unique().sort(fault).iter_rows()
    ]
    return pl.concat([as_reports(codes), as_reports(lamp)]), tuple(notes)


def _codes(answers: pl.DataFrame, clears: pl.DataFrame, mode: int) -> tuple[pl.DataFrame, list[str]]:
    """Return the reports of one mode, with `order`."""
    source, status, rule = CODE_MODES[mode]
    lists = positive(answers, mode)
    # Answers repeat as often as the tester asks, so the distinct ones are few.
    distinct = lists["payload"].unique()
    parsed = pl.DataFrame(
        [(payload, parse_codes(payload)) for payload in distinct],
        schema={"payload": pl.Binary, "code": pl.List(pl.String)},
        orient="row",
    )
    lists = lists.join(parsed, on="payload", maintain_order="left")
    reports = (
        lists.filter(pl.col("code").is_not_null())
        .select(*EVIDENCE, "code", seq=pl.int_range(pl.len()).over(REPORTER))
        .explode("code", empty_as_null=True)
        .filter(pl.col("code").is_not_null())
        .with_columns(source=pl.lit(source), status=pl.lit(status), severity_rule=pl.lit(rule))
    )
    if mode != _PERMANENT:  # No tester can clear a permanent code.
        reports = reports.with_columns(seq=pl.col("seq") + cleared_before(reports, clears))
    short = lists.filter(pl.col("code").is_null()).group_by(REPORTER).len().sort(REPORTER)
    return reports, [
        f"{channel} {ecu}: {count} mode {mode:02X} answers hold fewer codes than they state and were left out."
        for channel, ecu, count in short.iter_rows()
    ]


def _parameters(answers: pl.DataFrame, mode: int) -> tuple[pl.DataFrame, list[str]]:
    """Return the parameters of mode 01 or 02 answers, and notes on answers that are cut short.

    Returns:
        Columns of `EVIDENCE`, pid, number (of the freeze frame), data.
    """
    of_mode = positive(answers, mode)
    if mode == _CURRENT_DATA:
        # All other current data are signals, and by far the most answers. One of several parameters may hold it behind.
        status, size = bytes([PID_MONITOR_STATUS]), pl.col("payload").bin.size()
        has_status = pl.col("payload").bin.slice(1, 1) == status
        of_mode = of_mode.filter(has_status | ((size > 6) & pl.col("payload").bin.contains(status)))
    rows: list[dict[str, object]] = []
    for payload in of_mode["payload"].unique():
        parameters, rest = split_pids(payload[1:], with_frame_number=mode == _FREEZE_FRAME)
        rows.append(
            {
                "payload": payload,
                "parameters": [{"pid": p.pid, "number": p.frame_number, "data": p.data} for p in parameters],
                "is_whole": not rest,
            }
        )
    parameter = pl.Struct({"pid": pl.Int64, "number": pl.Int64, "data": pl.Binary})
    schema = {"payload": pl.Binary, "parameters": pl.List(parameter), "is_whole": pl.Boolean}
    split = of_mode.select(EVIDENCE).join(pl.DataFrame(rows, schema=schema), on="payload", maintain_order="left_right")
    short = split.filter(~pl.col("is_whole")).group_by(REPORTER).len().sort(REPORTER)
    notes = [
        f"{channel} {ecu}: {count} mode {mode:02X} answers end inside a parameter, which was left out."
        for channel, ecu, count in short.iter_rows()
    ]
    return split.drop("is_whole").explode("parameters", empty_as_null=True).unnest("parameters").drop_nulls(
        "pid"
    ), notes


def _lamp(answers: pl.DataFrame) -> tuple[pl.DataFrame, list[str]]:
    """Report each answer that says that the malfunction lamp is on."""
    parameters, notes = _parameters(answers, _CURRENT_DATA)
    states = parameters.filter(pl.col("pid") == PID_MONITOR_STATUS)
    rows: list[dict[str, object]] = []
    for data in states["data"].unique():
        status = monitor_status(data)
        details = {
            "dtc_count": str(status.dtc_count),
            "ignition": "compression" if status.is_compression else "spark",
            **{f"readiness {name}": "complete" if done else "incomplete" for name, done in status.readiness.items()},
        }
        rows.append(
            {
                "data": data,
                "is_on": status.is_lamp_on,
                "message": f"malfunction lamp on, {status.dtc_count} confirmed codes",
                "details": [{"key": key, "value": value} for key, value in details.items()],
            }
        )
    schema = {"data": pl.Binary, "is_on": pl.Boolean, "message": pl.String, "details": DETAILS}
    reports = (
        states.with_columns(seq=pl.int_range(pl.len()).over(REPORTER))
        .join(pl.DataFrame(rows, schema=schema), on="data", maintain_order="left")
        .filter("is_on")
        .with_columns(
            code=pl.lit(MIL_CODE),
            source=pl.lit("obd_mode01"),
            status=pl.lit("active"),
            severity_rule=pl.lit("obd: malfunction lamp on (mode 01)"),
        )
    )
    return reports, notes


def _freeze_frames(answers: pl.DataFrame, clears: pl.DataFrame) -> tuple[pl.DataFrame, list[str]]:
    """Return freeze frames with the code that they were stored for.

    A frame is read by an answer for each of its values. Its code is in PID 02, and a clearing erases it.

    Returns:
        order, channel, ecu, code and details, and notes on values that have no code.
    """
    values, cut_short = _parameters(answers, _FREEZE_FRAME)
    values = values.sort("order")
    codes = {
        data: dtc_text(*data) if any(data) else None
        for data in values.filter(pl.col("pid") == PID_FREEZE_FRAME_CODE)["data"].unique()
    }
    states = values.select("pid", "data").unique().filter(pl.col("pid") != PID_FREEZE_FRAME_CODE)
    texts = pl.DataFrame(
        [(pid, data, *pid_value(pid, data)) for pid, data in states.iter_rows()],
        schema={"pid": pl.Int64, "data": pl.Binary, "key": pl.String, "value": pl.String},
        orient="row",
    )
    stored_code = pl.when(pl.col("pid") == PID_FREEZE_FRAME_CODE).then("data")
    frame = [*REPORTER, "number", "epoch"]
    values = values.with_columns(code=pl.lit(None, dtype=pl.String)).with_columns(
        # Clearings of single codes leave the other codes' frames alone.
        epoch=cleared_before(values.select("order", *REPORTER, code=pl.lit("")), clears.filter(pl.col("scope") == ""))
    )
    values = values.with_columns(
        # The latest code that was read before a value, else the first one read after it.
        code=stored_code.forward_fill()
        .over(frame)
        .fill_null(stored_code.backward_fill().over(frame))
        .replace_strict(codes, default=None, return_dtype=pl.String)
    )
    named = values.filter(pl.col("pid") != PID_FREEZE_FRAME_CODE).join(texts, on=["pid", "data"], maintain_order="left")
    lost = named.filter(pl.col("code").is_null()).group_by(REPORTER).len().sort(REPORTER)
    notes = cut_short + [
        f"{channel} {ecu}: {count} freeze frame values belong to no code (PID 02 was not read) and were left out."
        for channel, ecu, count in lost.iter_rows()
    ]
    frames = (
        named.filter(pl.col("code").is_not_null())
        .unique([*frame, "code", "key"], keep="last", maintain_order=True)
        .group_by(*frame, "code", maintain_order=True)
        .agg(
            pl.col("order").min(),
            details=pl.struct(key=pl.format("freeze frame {}: {}", "number", "key"), value="value"),
        )
    )
    return frames.sort("order"), notes
