"""Find clearings of trouble codes: requests for DM3 and DM11, and the answers of the ECUs.

A tool asks for DM3 (previously active codes) or DM11 (active codes) by a request (PGN 59904; J1939-21, 5.4.2) to one
ECU or to all. An ECU that was asked alone acknowledges (PGN 59392; J1939-21, 5.4.4); to a request to all, silence is
the usual answer, because it must not be refused.
"""

from dataclasses import dataclass
from typing import Final

import polars as pl

from argus_assets.faults.activations import activations, as_reports
from argus_assets.faults.can_frames import PROVENANCE, TIME_ORDER, byte
from argus_assets.faults.clearings import CLEARED_ECU, ECU_SEPARATOR, REFUSED_ECU, SCOPE
from argus_assets.faults.detector import Found
from argus_assets.faults.j1939.dm import CLEARS, LISTS
from argus_assets.faults.j1939.identifier import DESTINATION_ADDRESS, GLOBAL_ADDRESS, SOURCE_ADDRESS, carries, sa_text
from argus_assets.faults.j1939.name import with_names

_IS_REQUEST: Final = carries(0xEA00)
_IS_ACKNOWLEDGEMENT: Final = carries(0xE800)

IS_CLEAR: Final = _IS_REQUEST | _IS_ACKNOWLEDGEMENT
"""Filter for the frames that can ask for a clear or answer to it."""

ANSWER_TIMEOUT_NS: Final = 5_000_000_000
"""Longest wait for an answer. J1939-21 gives an ECU 0.2 s, but erasing takes time: J1939-84 waits 5 s."""

MAX_REQUESTS: Final = 1_000
"""Requests to clear that are evaluated: each touches the lists of all ECUs of its channel, and a workshop visit has a few."""

_POSITIVE: Final = 0
_ANSWERS: Final = {_POSITIVE: "acknowledged", 1: "refused", 2: "access denied", 3: "busy"}
"""Control byte of an acknowledgement."""
_REFUSALS: Final = tuple(control for control in _ANSWERS if control != _POSITIVE)
_UNKNOWN_ANSWER: Final = "answered in a way that J1939 does not have"

_NOT_STATED: Final = 0xFF
"""Address acknowledged, from ECUs that are older than this byte."""


@dataclass(frozen=True, slots=True)
class Clears:
    """Requests to clear, and what came of them.

    Attributes:
        requests: In time order: request (number), channel, timestamp (ns), recording, frame, payload, pgn (of DM3 or
            DM11), requester and asked (addresses; requester null where nobody stated it), recorded (false: only the
            answer is in the recordings).
        answers: In time order: request, channel, timestamp (ns), recording, frame, pgn, address, control.
        notes: How many requests were left out.
    """

    requests: pl.DataFrame
    answers: pl.DataFrame
    notes: tuple[str, ...] = ()


def find_clears(rows: pl.DataFrame) -> Clears:
    """Return the requests to clear trouble codes among `rows`.

    Args:
        rows: `can.data_frames` in time order.
    """
    shared = ("channel", "timestamp", *PROVENANCE, "payload")
    wanted = pl.col("pgn").is_in(list(CLEARS))
    requests = (
        rows.filter(_IS_REQUEST)
        .select(*shared, pgn=_pgn_at(0), requester=SOURCE_ADDRESS, asked=DESTINATION_ADDRESS)
        .filter(wanted)
    )
    answers = (
        rows.filter(_IS_ACKNOWLEDGEMENT)
        .select(*shared, pgn=_pgn_at(5), address=SOURCE_ADDRESS, control=byte(0), acknowledged=byte(4))
        .filter(wanted)
        .with_columns(acknowledged=pl.when(pl.col("acknowledged") != _NOT_STATED).then("acknowledged"))
    )
    requests = requests.with_row_index("request").with_columns(recorded=pl.lit(value=True))
    answers = _with_request(answers, requests)
    # An answer alone tells of a request that was not recorded.
    alone = (
        answers.filter(pl.col("request").is_null())
        .drop("request")
        .with_row_index("request", offset=requests.height)
        .with_columns(requester="acknowledged", asked="address", recorded=pl.lit(value=False))
    )
    answered = pl.concat([answers.filter(pl.col("request").is_not_null()), alone.select(answers.columns)])
    every = pl.concat([requests, alone.select(requests.columns)]).sort(TIME_ORDER)
    kept = every.head(MAX_REQUESTS)
    more = every.height - kept.height
    return Clears(
        kept,
        answered.select("request", "channel", "timestamp", *PROVENANCE, "pgn", "address", "control")
        .join(kept.select("request"), on="request", how="semi")
        .sort(TIME_ORDER),
        (f"J1939: {more:,} of {every.height:,} requests to clear codes were left out, the latest ones.",)
        if more
        else (),
    )


def cleared_lists(clears: Clears, reporters: pl.DataFrame) -> pl.DataFrame:
    """Return the lists of trouble codes that became empty by a clear.

    An ECU that acknowledged is taken at its word, at that time. One that did not answer to a request to all has
    cleared its codes; one that refused has not, and neither has one that was asked alone and did not answer.

    Args:
        clears: `find_clears`.
        reporters: channel and source_address of the ECUs that report codes.

    Returns:
        channel, source_address, pgn (of the list), timestamp (ns), recording, frame.
    """
    moment = ("channel", "source_address", "clear", "timestamp", *PROVENANCE)
    acknowledged = clears.answers.filter(pl.col("control") == _POSITIVE).rename(
        {"address": "source_address", "pgn": "clear"}
    )
    answered = clears.answers.select("request", source_address="address")
    silent = (
        clears.requests.filter(pl.col("asked") == GLOBAL_ADDRESS)
        .rename({"pgn": "clear"})
        .join(reporters.unique(), on="channel")
        .join(answered, on=["request", "source_address"], how="anti")
    )
    affected = pl.DataFrame(
        [(clear, pgn) for pgn, dm in LISTS.items() for clear in dm.cleared_by],
        schema={"clear": pl.Int64, "pgn": pl.Int64},
        orient="row",
    )
    return (
        pl.concat([acknowledged.select(moment), silent.select(moment)])
        .join(affected, on="clear", maintain_order="left_right")
        .select("channel", "source_address", "pgn", "timestamp", *PROVENANCE)
    )


def clear_events(clears: Clears, claims: pl.DataFrame) -> Found:
    """Report each request as an event: who asked whom, and the answers.

    Args:
        clears: `find_clears`.
        claims: `j1939_name.find_claims`.

    Returns:
        `schema.ERROR_EVENTS`; the ECU is the one that was asked (`SA 0xFF`: all).
    """
    # An ECU that is busy may answer again: its last word counts.
    outcomes = (
        clears.answers.group_by("request", "address", maintain_order=True)
        .agg(pl.col("control").last())
        .with_columns(word=pl.col("control").replace_strict(_ANSWERS, default=_UNKNOWN_ANSWER, return_dtype=pl.String))
        .with_columns(word=pl.format("{} by {}", "word", sa_text(pl.col("address"))))
        .group_by("request", maintain_order=True)
        .agg(
            answer=pl.col("word").str.join(", "),
            **{
                key: sa_text(pl.col("address").filter(pl.col("control").is_in(controls))).str.join(ECU_SEPARATOR)
                for key, controls in ((CLEARED_ECU, (_POSITIVE,)), (REFUSED_ECU, _REFUSALS))
            },
        )
    )
    asked_all = pl.col("asked") == GLOBAL_ADDRESS
    answered = clears.requests.join(outcomes, on="request", how="left", maintain_order="left").with_columns(
        pl.col("answer").fill_null("no answer"),
        requested_by=sa_text(pl.col("requester")).fill_null("an unknown address"),
        ecu=sa_text(pl.col("asked")),
        seen=pl.when("recorded").then(pl.lit("")).otherwise(pl.lit(" (the request was not recorded)")),
        name=_of_clear("name"),
        what=_of_clear("what"),
    )
    named = with_names(answered.with_columns(address="asked"), claims)
    whom = pl.when(asked_all).then(pl.lit("all ECUs")).otherwise("ecu")
    reports = named.with_columns(
        code=pl.lit("J1939_CLEAR"),
        source=_of_clear("source"),
        status=pl.lit("occurred"),
        severity_rule=pl.lit("j1939: clear of trouble codes"),
        message=pl.format("{} asked {} to clear {} ({}): {}{}", "requested_by", whom, "what", "name", "answer", "seen"),
        details=pl.concat_list(
            pl.struct(key=pl.lit(key), value=value)
            for key, value in (
                ("requested_by", "requested_by"),
                ("requested_of", whom),
                ("answer", "answer"),
                (SCOPE, "name"),
                (CLEARED_ECU, CLEARED_ECU),
                (REFUSED_ECU, REFUSED_ECU),
            )
        ).list.eval(pl.element().filter(pl.element().struct.field("value").fill_null("") != "")),
        # Each request is an occurrence of its own.
        seq=2 * pl.int_range(pl.len()),
    )
    return activations(as_reports(reports), longest_gap_ns=None)


def _with_request(answers: pl.DataFrame, requests: pl.DataFrame) -> pl.DataFrame:
    """Add the number of the request that an answer is to: the latest one that asked this ECU, alone or with all."""
    asked_alone = requests.filter(pl.col("asked") != GLOBAL_ADDRESS).rename({"asked": "address"})
    asked_all = requests.filter(pl.col("asked") == GLOBAL_ADDRESS)
    by_request = {}
    for column, candidates, by in (
        ("_alone", asked_alone, ["channel", "pgn", "address"]),
        ("_with_all", asked_all, ["channel", "pgn"]),
    ):
        found = answers.join_asof(
            candidates.select(*by, "timestamp", "requester", "request"),
            on="timestamp",
            by=by,
            tolerance=ANSWER_TIMEOUT_NS,
            # polars cannot check the order within groups; both are sorted as a whole.
            check_sortedness=False,
        )
        is_to_it = (pl.col("acknowledged") == pl.col("requester")).fill_null(value=True)
        by_request[column] = found.select(pl.when(is_to_it).then("request")).to_series()
    return answers.with_columns(**by_request).select(pl.exclude(*by_request), request=pl.max_horizontal(*by_request))


def _pgn_at(index: int) -> pl.Expr:
    return byte(index) + byte(index + 1) * 2**8 + byte(index + 2) * 2**16


def _of_clear(field: str) -> pl.Expr:
    return pl.col("pgn").replace_strict(
        {pgn: getattr(clear, field) for pgn, clear in CLEARS.items()}, return_dtype=pl.String
    )
