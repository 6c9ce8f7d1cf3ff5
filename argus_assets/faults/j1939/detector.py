"""SAE J1939-73: the trouble codes that ECUs of heavy vehicles report, and who cleared them.

Its parts are beside this module: identifiers (`identifier`), the diagnostic messages and their meaning (`dm`),
their bytes (`dtc`), transport of long ones (`transport`), NAMEs of the ECUs (`name`), and clearing (`clear`).
"""

from collections.abc import Iterator
from typing import Final

import polars as pl

from argus_assets.faults.activations import activations, as_reports
from argus_assets.faults.bounds import Bounded, bounded_faults, bounded_notes
from argus_assets.faults.can_frames import PROVENANCE, TIME_ORDER, data_frames
from argus_assets.faults.detector import Found
from argus_assets.faults.j1939.clear import IS_CLEAR, clear_events, cleared_lists, find_clears
from argus_assets.faults.j1939.dm import LISTS
from argus_assets.faults.j1939.dtc import MIN_BYTES, Dtc, parse
from argus_assets.faults.j1939.identifier import SOURCE_ADDRESS, carries, sa, sa_text
from argus_assets.faults.j1939.name import IS_CLAIM, find_claims, with_names
from argus_assets.faults.j1939.transport import reassemble
from argus_assets.faults.j1939.transport_frames import IS_TRANSPORT
from argus_assets.faults.schema import DETAILS
from argus_assets.recordings.drive import Drive

WANTED: Final = carries(*LISTS) | IS_TRANSPORT | IS_CLEAR | IS_CLAIM
"""Filter for the frames that carry trouble codes, clear them, or name the ECUs."""

_REPORTER: Final = ("channel", "source_address", "pgn")
"""An ECU's diagnostic message of one kind."""

_DTC: Final = pl.Struct({"code": pl.String, "occurrence_count": pl.UInt8, "message": pl.String, "details": DETAILS})
_CONTENT: Final = pl.Schema(
    {"payload": pl.Binary(), "rule": pl.String(), "lamp_status": pl.String(), "dtcs": pl.List(_DTC)}
)


def wanted(frames: pl.LazyFrame, _config: Bounded) -> pl.LazyFrame:
    """Select the frames of `WANTED`."""
    return data_frames(frames, WANTED)


def find(_drive: Drive, rows: pl.DataFrame, config: Bounded) -> Found:
    """Find the faults that ECUs report, and the clears.

    Args:
        rows: `wanted`.
        config: Its bounds.
    """
    rows = rows.sort(TIME_ORDER)
    claims, claim_notes = find_claims(rows)
    clears = find_clears(rows)
    transported = reassemble(rows, pgns=LISTS)
    messages = _messages(rows, transported.messages)
    # Many frames take much memory: only their messages are needed from here on.
    del rows
    short = messages.filter(pl.col("rule").is_null())
    cleared = cleared_lists(clears, messages.select("channel", "source_address"))
    reports = _reports(messages, cleared, claims)
    del messages
    events = [
        activations(reports.filter(pl.col("source").is_in(_sources(gap))), longest_gap_ns=gap)
        for gap in dict.fromkeys(dm.longest_gap_ns for dm in LISTS.values())
    ]
    notes = (clears.notes, _transport_notes(transported.sessions), _message_notes(short, reports), claim_notes)
    found = bounded_faults(Found.together([*events, clear_events(clears, claims)]), "J1939", config.bounds)
    return Found(found.events, (*found.notes, *(note for of_kind in notes for note in bounded_notes(of_kind))))


def _messages(rows: pl.DataFrame, transported: pl.DataFrame) -> pl.DataFrame:
    """Return all diagnostic messages in time order, with their content; `rule` is null where there is none."""
    columns = [*_REPORTER, "timestamp", *PROVENANCE, "payload"]
    single = rows.filter(carries(*LISTS)).with_columns(
        source_address=SOURCE_ADDRESS, pgn=pl.col("arbitration_id").cast(pl.Int64) // 2**8 % 2**16
    )
    every = pl.concat([single.select(columns), transported.select(columns)]).sort(TIME_ORDER)
    return every.join(_parse_distinct(every["payload"]), on="payload", how="left", maintain_order="left")


def _reports(messages: pl.DataFrame, cleared: pl.DataFrame, claims: pl.DataFrame) -> pl.DataFrame:
    """Report every code of every message: `activations.REPORTS`. A list that was cleared is a message without codes."""
    emptied = cleared.with_columns(dtcs=pl.lit([], dtype=_CONTENT["dtcs"]))
    listed = (
        pl.concat([messages.filter(pl.col("rule").is_not_null()), emptied], how="diagonal")
        .sort(TIME_ORDER, maintain_order=True)
        .with_columns(seq=pl.int_range(pl.len()).over(_REPORTER))
        .explode("dtcs", empty_as_null=True)
        .filter(pl.col("dtcs").is_not_null())
        .unnest("dtcs")
        .with_columns(
            source=_of_list("source"),
            status=_of_list("status"),
            severity_rule=pl.coalesce(_of_list("rule"), _by_lamps()),
            ecu=sa_text(pl.col("source_address")),
            address="source_address",
        )
    )
    return as_reports(with_names(listed, claims))


def _by_lamps() -> pl.Expr:
    """Return the rule of the lamps. The dictionary must not rate a code whose SPN may be another."""
    in_doubt = pl.col("details").is_not_null() & (pl.col("rule") == "lamp: not available")
    return pl.when(in_doubt).then(pl.lit("lamp: not available, SPN in doubt")).otherwise("rule")


def _parse_distinct(payloads: pl.Series) -> pl.DataFrame:
    """Parse each distinct payload. A DM1 repeats each second with the same bytes, so they are few."""
    rows: list[dict[str, object]] = []
    for payload in payloads.unique():
        message = parse(payload)
        if message is not None:
            rows.append(
                {
                    "payload": payload,
                    "rule": message.lamps.rule,
                    "lamp_status": message.lamps.text,
                    "dtcs": [
                        {"code": dtc.code, "occurrence_count": dtc.occurrence_count, **_doubt(dtc)}
                        for dtc in message.dtcs
                    ],
                }
            )
    return pl.DataFrame(rows, schema=_CONTENT)


def _doubt(dtc: Dtc) -> dict[str, object]:
    """Return the possible SPNs of a code whose SPN is in an older layout."""
    if not dtc.conversion_method:
        return {"message": None, "details": None}
    readings = {f"spn_version_{version}": str(spn) for version, spn in enumerate(dtc.older_spns, start=1)}
    first, second, third = readings.values()
    return {
        "message": f"SPN in an older layout (conversion method 1): {third}, or {first} or {second}; "
        "the ECU's maker knows which",
        "details": [{"key": key, "value": value} for key, value in readings.items()],
    }


def _sources(longest_gap_ns: int | None) -> list[str]:
    return [dm.source for dm in LISTS.values() if dm.longest_gap_ns == longest_gap_ns]


def _of_list(field: str) -> pl.Expr:
    """Return a field of `dm.Dm` for a column of PGNs."""
    return pl.col("pgn").replace_strict({pgn: getattr(dm, field) for pgn, dm in LISTS.items()}, return_dtype=pl.String)


def _transport_notes(sessions: pl.DataFrame) -> Iterator[str]:
    counts = sessions.group_by(_REPORTER).agg(incomplete=(~pl.col("complete")).sum(), sessions=pl.len())
    for channel, address, pgn, incomplete, total in counts.sort(_REPORTER).iter_rows():
        if incomplete:
            yield (
                f"{channel} {sa(address)}: {incomplete} of {total} {LISTS[pgn].name} messages by transport protocol "
                "are incomplete (lost or late packets, or aborted) and were left out."
            )


def _message_notes(short: pl.DataFrame, reports: pl.DataFrame) -> Iterator[str]:
    for channel, address, pgn, count in short.group_by(_REPORTER).len().sort(_REPORTER).iter_rows():
        yield (
            f"{channel} {sa(address)}: {count} {LISTS[pgn].name} frames are shorter than {MIN_BYTES} bytes "
            "and were left out."
        )
    old = reports.filter(pl.col("message").is_not_null()).unique(["channel", "ecu", "code"])
    for channel, ecu, codes in old.group_by("channel", "ecu").agg(pl.len()).sort(pl.all()).iter_rows():
        yield (
            f"{channel} {ecu}: {codes} codes use an older SPN layout (conversion method 1); their SPN may be wrong, "
            "and each event lists the others that it may be."
        )
