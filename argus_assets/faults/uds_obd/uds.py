"""UDS ReadDTCInformation (0x19): the trouble codes that an ECU lists with their status (ISO 14229-1, 11.3).

Clearing (0x14) is in `clearing.py`, refusals in `negative_response.py`. Clauses are those of ISO 14229-1:2013.
"""

from collections.abc import Iterator, Mapping
from functools import reduce
from operator import or_
from typing import Final, NamedTuple

import polars as pl

from argus_assets.faults.activations import FAULT, as_reports
from argus_assets.faults.can_frames import byte
from argus_assets.faults.schema import DETAILS
from argus_assets.faults.uds_obd.clearing import cleared_before
from argus_assets.faults.uds_obd.dtc import COUNT_BY_STATUS_MASK, READ_DTC_INFORMATION, dtc_formats, uds_dtc_text
from argus_assets.faults.uds_obd.freeze_frames import attach
from argus_assets.faults.uds_obd.request_response import EVIDENCE, REPORTER, positive

_READ_DATA_BY_IDENTIFIER: Final = 0x22

_BY_STATUS_MASK: Final = 0x02
_SNAPSHOT_IDENTIFICATION: Final = 0x03
_SNAPSHOT: Final = 0x04
_EXTENDED_DATA: Final = 0x06
_SUPPORTED: Final = 0x0A
_PERMANENT: Final = 0x15
_LISTS: Final = (_BY_STATUS_MASK, _SUPPORTED, 0x0B, 0x0C, 0x0D, 0x0E, 0x0F, 0x13, _PERMANENT)
"""Sub-functions whose answer is an availability mask and codes with status. 0x0B to 0x0E give the first or the most
recent code, 0x0F those of the mirror memory, 0x13 those that concern emissions."""
_COUNTERS: Final = 0x14


class _Layout(NamedTuple):
    """An answer whose codes have more around them.

    Attributes:
        mask_at: Where the availability mask stands, behind the sub-function.
        first: Where the first code's record starts.
        size: Bytes of a record.
        dtc_at: Where its code stands; its status is the last byte.
        format_at: Where the DTC format stands, `None` where it has none.
    """

    mask_at: int
    first: int
    size: int
    dtc_at: int = 0
    format_at: int | None = None


_LAYOUTS: Final[Mapping[int, _Layout]] = {
    0x08: _Layout(0, 1, 6, 2),  # by severity: severity, functional unit, code, status
    0x09: _Layout(0, 1, 6, 2),
    0x17: _Layout(1, 2, 4),  # user memory: which one, then a list
    0x1A: _Layout(0, 2, 4),  # codes with an extended data record
    0x42: _Layout(1, 4, 5, 1, 3),  # WWH-OBD: functional group, two masks, format; severity, code, status
    0x55: _Layout(1, 3, 4, 0, 2),  # WWH-OBD permanent: functional group, mask, format
    0x56: _Layout(1, 4, 4, 0, 2),  # by readiness group: functional group, mask, format, readiness group
}
"""Sub-function → its layout (ISO 14229-1:2020, 12.3)."""
_PERMANENTS: Final = (_PERMANENT, 0x55)

TEST_FAILED: Final = 0x01
PENDING: Final = 0x04
CONFIRMED: Final = 0x08
WARNING_INDICATOR: Final = 0x80

STATUS_BITS: Final = {
    TEST_FAILED: "test failed",
    0x02: "failed this operation cycle",
    PENDING: "pending",
    CONFIRMED: "confirmed",
    0x10: "not tested since clearing",
    0x20: "failed since clearing",
    0x40: "not tested this operation cycle",
    WARNING_INDICATOR: "warning indicator requested",
}
"""Bits of the DTC status (D.2)."""

FAULT_BITS: Final = TEST_FAILED | PENDING | CONFIRMED | WARNING_INDICATOR
"""A code without any of these is no fault: it is known to the ECU, not tested yet, or over."""

_ALL_BITS: Final = 0xFF


class ListedCode(NamedTuple):
    """A code in an answer.

    Attributes:
        dtc: Its three bytes.
        status: Its status byte, `None` where the answer has none.
        details: What came along with it, as key and value.
    """

    dtc: bytes
    status: int | None
    details: tuple[tuple[str, str], ...] = ()


class DtcAnswer(NamedTuple):
    """An answer to ReadDTCInformation.

    Attributes:
        sub_function: What was asked for.
        availability_mask: Status bits that the ECU supports; `None` where the answer does not say.
        codes: The codes that it lists, in its order.
        dtc_format: DTC format identifier, only of a count.
        total: Codes that match, only of a count.
    """

    sub_function: int
    availability_mask: int | None = None
    codes: tuple[ListedCode, ...] = ()
    dtc_format: int | None = None
    total: int | None = None


def parse_dtc_answer(payload: bytes, did_sizes: Mapping[int, int]) -> DtcAnswer | None:
    """Decode an answer to ReadDTCInformation, `None` when it is not whole or its sub-function is not known here.

    Args:
        payload: A whole message that starts with 0x59.
        did_sizes: Bytes of the data of data identifiers (DIDs), as far as they are known.
    """
    if len(payload) < 2:
        return None
    sub_function, data = payload[1], payload[2:]
    if sub_function == COUNT_BY_STATUS_MASK and len(data) == 4:
        return DtcAnswer(
            sub_function, availability_mask=data[0], dtc_format=data[1], total=int.from_bytes(data[2:], "big")
        )
    if sub_function in _LISTS and len(data) % 4 == 1:
        records = [data[at : at + 4] for at in range(1, len(data), 4)]
        return DtcAnswer(sub_function, availability_mask=data[0], codes=tuple(ListedCode(r[:3], r[3]) for r in records))
    layout = _LAYOUTS.get(sub_function)
    if layout is not None and len(data) >= layout.first and (len(data) - layout.first) % layout.size == 0:
        records = [data[at : at + layout.size] for at in range(layout.first, len(data), layout.size)]
        dtc = slice(layout.dtc_at, layout.dtc_at + 3)
        return DtcAnswer(
            sub_function,
            availability_mask=data[layout.mask_at],
            codes=tuple(ListedCode(record[dtc], record[-1]) for record in records),
            dtc_format=None if layout.format_at is None else data[layout.format_at],
        )
    if sub_function == _COUNTERS and len(data) % 4 == 0:
        records = [data[at : at + 4] for at in range(0, len(data), 4)]
        return DtcAnswer(
            sub_function,
            codes=tuple(ListedCode(r[:3], None, (("fault detection counter", str(r[3])),)) for r in records),
        )
    if sub_function == _SNAPSHOT_IDENTIFICATION and len(data) % 4 == 0:
        numbers: dict[bytes, list[int]] = {}
        for at in range(0, len(data), 4):
            numbers.setdefault(data[at : at + 3], []).append(data[at + 3])
        return DtcAnswer(
            sub_function,
            codes=tuple(
                ListedCode(dtc, None, (("snapshots stored", ", ".join(f"{n:02X}" for n in stored)),))
                for dtc, stored in numbers.items()
            ),
        )
    if sub_function in {_SNAPSHOT, _EXTENDED_DATA} and len(data) >= 4:
        read = _snapshot if sub_function == _SNAPSHOT else _extended_data
        return DtcAnswer(sub_function, codes=(ListedCode(data[:3], data[3], tuple(read(data[4:], did_sizes))),))
    return None


def _snapshot(data: bytes, did_sizes: Mapping[int, int]) -> Iterator[tuple[str, str]]:
    """Parse snapshot records: number, number of DIDs, and each DID with its data.

    An answer does not say how long a DID's data are. Where a size is not known, the rest cannot be split and is
    given in hex as it is, but for a record of one DID that ends the answer.
    """
    while len(data) >= 2:
        record, dids = f"snapshot {data[0]:02X}", data[1]
        fields: list[tuple[str, str]] = []
        at = 2
        for left in range(dids, 0, -1):
            did = int.from_bytes(data[at : at + 2], "big")
            size = did_sizes.get(did, len(data) - at - 2 if left == 1 else None)
            if size is None or at + 2 + size > len(data) or size < 0:
                yield f"{record}, {dids} DIDs", data[2:].hex()
                return
            fields.append((f"{record}, DID {did:04X}", data[at + 2 : at + 2 + size].hex()))
            at += 2 + size
        yield from fields
        data = data[at:]
    if data:
        yield "snapshot, rest", data.hex()


def _extended_data(data: bytes, _: Mapping[int, int]) -> Iterator[tuple[str, str]]:
    """Parse extended data records. Their sizes are the maker's, so what follows the first number stays together."""
    if data:
        yield f"extended data {data[0]:02X}", data[1:].hex()


def status_text(status: int) -> str:
    """Describe the bits of a DTC status."""
    return ", ".join(text for bit, text in STATUS_BITS.items() if status & bit) or "no status bit set"


def find_reports(answers: pl.DataFrame, clears: pl.DataFrame) -> tuple[pl.DataFrame, tuple[str, ...]]:
    """Report every code that an answer says is a fault.

    A code is over when it is listed without a fault bit, when a list that would hold it does not, or when it was
    cleared.

    Args:
        answers: `conversation.ANSWERS`.
        clears: `clearing.clears`.

    Returns:
        `activations.REPORTS`, and notes on what could not be read.
    """
    decoded = _decoded(answers)
    listed = _listed(decoded.filter("is_whole"))
    decoded = decoded.select(*REPORTER, "sub_function", "is_whole", "total", "mask")
    has_status = pl.col("dtc_status").is_not_null()
    stated = listed.filter(has_status)
    reports = (
        stated.with_columns(seq=_seq(stated) + cleared_before(stated, clears))
        .filter(pl.col("dtc_status") & FAULT_BITS != 0)
        .with_columns(
            status=_status(),
            severity_rule=_severity_rule(),
            message=pl.col("dtc_status").replace_strict(
                {s: status_text(s) for s in stated["dtc_status"].unique()}, return_dtype=pl.String
            ),
        )
    )
    without_status = listed.filter(~has_status)
    del listed, stated
    reports, unclaimed = attach(reports, without_status)
    return as_reports(reports), tuple(_notes(decoded, unclaimed))


def _decoded(answers: pl.DataFrame) -> pl.DataFrame:
    """Decode the answers to 0x19: columns of `EVIDENCE`, is_whole, those of `DtcAnswer`, and their ECU's dtc_format.

    `asked` holds the status bits for which this answer lists every code: 0 where what it does not list stays open.
    """
    of_service = positive(answers, READ_DTC_INFORMATION)
    sizes = _did_sizes(answers)
    # Snapshots are split by what their ECU's identifiers hold; all other answers repeat and are decoded once.
    distinct = of_service.select(*REPORTER, "payload").unique()
    rows: list[dict[str, object]] = []
    for channel, ecu, payload in distinct.iter_rows():
        answer = parse_dtc_answer(payload, sizes.get((channel, ecu), {}))
        rows.append(
            {
                "channel": channel,
                "ecu": ecu,
                "payload": payload,
                "is_whole": answer is not None,
                "sub_function": payload[1] if len(payload) > 1 else None,
                **(
                    {}
                    if answer is None
                    else {
                        "availability_mask": answer.availability_mask,
                        "codes": [
                            {
                                "dtc": code.dtc,
                                "dtc_status": code.status,
                                "details": [{"key": key, "value": value} for key, value in code.details] or None,
                            }
                            for code in answer.codes
                        ],
                        "total": answer.total,
                    }
                ),
            }
        )
    schema = {
        "channel": pl.String,
        "ecu": pl.String,
        "payload": pl.Binary,
        "is_whole": pl.Boolean,
        "sub_function": pl.Int64,
        "availability_mask": pl.Int64,
        "codes": pl.List(pl.Struct({"dtc": pl.Binary, "dtc_status": pl.Int64, "details": DETAILS})),
        "total": pl.Int64,
    }
    mask = pl.col("request").bin.get(2, null_on_oob=True).cast(pl.Int64)
    asked = (
        # Without its request a list counts as one of all codes: most testers ask for the same mask all the time.
        pl.when(pl.col("sub_function") == _BY_STATUS_MASK)
        .then(mask.fill_null(_ALL_BITS))
        .when(pl.col("sub_function") == _SUPPORTED)
        .then(_ALL_BITS)
        .otherwise(0)
    )
    # An ECU without any status bit could not list a code, so it did not fill in the mask.
    supported = pl.when(pl.col("availability_mask") != 0).then("availability_mask")
    return (
        of_service.select(*EVIDENCE, "request")
        .join(pl.DataFrame(rows, schema=schema), on=[*REPORTER, "payload"], maintain_order="left")
        .join(dtc_formats(answers), on=REPORTER, how="left", maintain_order="left")
        .with_columns(
            # The bits that an ECU supports do not change.
            availability_mask=supported.fill_null(supported.drop_nulls().last().over(REPORTER)).fill_null(_ALL_BITS),
            mask=mask,
            asked=asked,
        )
    )


def _did_sizes(answers: pl.DataFrame) -> dict[tuple[str, str], dict[int, int]]:
    """Return the size of each DID's data by channel and ECU, as answers to requests of one DID show it."""
    shown = (
        positive(answers, _READ_DATA_BY_IDENTIFIER)
        .filter(pl.col("request").bin.size() == 3, pl.col("request").bin.slice(1) == pl.col("payload").bin.slice(1, 2))
        .select(*REPORTER, did=byte(1) * 256 + byte(2), size=pl.col("payload").bin.size().cast(pl.Int64) - 3)
        .unique()
        # One that changes its size shows nothing.
        .filter(pl.len().over(*REPORTER, "did") == 1)
    )
    sizes: dict[tuple[str, str], dict[int, int]] = {}
    for channel, ecu, did, size in shown.iter_rows():
        sizes.setdefault((channel, ecu), {})[did] = size
    return sizes


def _listed(decoded: pl.DataFrame) -> pl.DataFrame:
    """Return a row for each code of each answer, with `code`, and the number of lists of each mask up to it."""
    masks = [m for m in decoded["asked"].unique().sort() if m]
    listed = (
        decoded.with_columns(
            (pl.col("asked") == mask).cast(pl.Int64).cum_sum().over(REPORTER).alias(f"lists {mask}") for mask in masks
        )
        .explode("codes", empty_as_null=True)
        .unnest("codes")
        .filter(pl.col("dtc").is_not_null())
        .with_columns(pl.col("dtc_status") & pl.col("availability_mask"))
    )
    distinct = listed.select("dtc", "dtc_format").unique()
    texts = distinct.with_columns(code=pl.Series([uds_dtc_text(*d) for d in distinct.iter_rows()], dtype=pl.String))
    return (
        listed.join(texts, on=["dtc", "dtc_format"], nulls_equal=True, maintain_order="left")
        .with_columns(source=pl.lit("uds_dtc"))
        .unique([*FAULT, "order"], keep="first", maintain_order=True)
    )


def _seq(stated: pl.DataFrame) -> pl.Series:
    """Number the reports of each code: one more than the last unless it ended in between."""

    def before(name: str) -> pl.Expr:
        return pl.col(name).shift(1).over(FAULT)

    masks = [int(name.removeprefix("lists ")) for name in stated.columns if name.startswith("lists ")]
    missed = [
        # Lists in between that asked for a bit which the code had, and did not hold it.
        (pl.col(f"lists {mask}") - (pl.col("asked") == mask).cast(pl.Int64) > before(f"lists {mask}"))
        & (before("dtc_status") & mask != 0)
        for mask in masks
    ]
    over = reduce(or_, missed, before("dtc_status") & FAULT_BITS == 0)
    step = 1 + over.fill_null(value=False).cast(pl.Int64)
    return stated.select(seq=step.cum_sum().over(FAULT))["seq"]


def _notes(decoded: pl.DataFrame, unclaimed: pl.DataFrame) -> Iterator[str]:
    unread = decoded.filter(~pl.col("is_whole")).group_by(*REPORTER, "sub_function").len()
    for channel, ecu, sub_function, count in unread.sort(pl.all()).iter_rows():
        what = "without a sub-function" if sub_function is None else f"of sub-function 0x{sub_function:02X}"
        yield f"{channel} {ecu}: {count} ReadDTCInformation answers {what} could not be read and were left out."
    lists = decoded.filter("is_whole", pl.col("sub_function").is_in([*_LISTS, *_LAYOUTS]))
    only_counted = (
        decoded.filter(pl.col("total") > 0)
        .join(lists, on=REPORTER, how="anti")
        .group_by(*REPORTER, "mask")
        .agg(pl.col("total").max())
    )
    for channel, ecu, mask, count in only_counted.sort(pl.all()).iter_rows():
        asked = "a status mask that was not recorded" if mask is None else f"status mask 0x{mask:02X}"
        yield f"{channel} {ecu}: counts {count} codes for {asked}, but no list of codes was recorded."
    for channel, ecu, codes in unclaimed.group_by(REPORTER).agg(pl.col("code").n_unique()).sort(pl.all()).iter_rows():
        yield f"{channel} {ecu}: {codes} codes have snapshots, but no answer says that they are faults."


def _status() -> pl.Expr:
    status = pl.col("dtc_status")
    return (
        pl.when(pl.col("sub_function").is_in(_PERMANENTS))
        .then(pl.lit("permanent"))
        .when(status & TEST_FAILED != 0)
        .then(pl.lit("active"))
        .when((status & FAULT_BITS) == PENDING)
        .then(pl.lit("pending"))
        .otherwise(pl.lit("confirmed"))
    )


def _severity_rule() -> pl.Expr:
    status = pl.col("dtc_status")
    is_failing, is_confirmed = status & TEST_FAILED != 0, status & CONFIRMED != 0
    return (
        pl.when(status & WARNING_INDICATOR != 0)
        .then(pl.lit("uds: warning indicator requested"))
        .when(is_failing & is_confirmed)
        .then(pl.lit("uds: test failed now and confirmed"))
        .when(is_failing)
        .then(pl.lit("uds: test failed now, not confirmed"))
        .when(is_confirmed)
        .then(pl.lit("uds: confirmed, not failing now"))
        .otherwise(pl.lit("uds: pending, not failing now"))
    )
