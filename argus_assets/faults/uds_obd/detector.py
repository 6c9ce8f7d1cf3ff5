"""Diagnostics on CAN and over IP: OBD and UDS share their transports, so messages are reassembled once for both."""

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Protocol

import polars as pl

from argus_assets.faults.activations import activations
from argus_assets.faults.bounds import Bounded, bounded_faults, bounded_notes
from argus_assets.faults.can_frames import TIME_ORDER, data_frames
from argus_assets.faults.detector import Found
from argus_assets.faults.uds_obd import addressing, clearing, doip, kwp, negative_response, obd, programming, uds
from argus_assets.faults.uds_obd.addressing import Addressing, BySender, by_sender
from argus_assets.faults.uds_obd.addressing_proof import prove
from argus_assets.faults.uds_obd.isotp import Reassembled, reassemble
from argus_assets.faults.uds_obd.request_response import ANSWERS, converse, in_order
from argus_assets.recordings.drive import Drive


class Config(Bounded, Protocol):
    """The part of the configuration that this detector needs."""

    @property
    def addressings(self) -> Sequence[Addressing]:
        """Addressings of the vehicle's ECUs."""
        ...


def wanted(frames: pl.LazyFrame, config: Config) -> pl.LazyFrame:
    """Select the frames that can carry diagnostics by the configured addressings."""
    return data_frames(frames, addressing.wanted(config.addressings))


def find(drive: Drive, rows: pl.DataFrame, config: Config) -> Found:
    """Find the faults that ECUs report to testers.

    Args:
        drive: Has the messages over IP.
        rows: `wanted`, in any order.
        config: Says how the vehicle's ECUs are asked and answer; 29-bit identifiers mostly need no addressing.
    """
    over_ip = doip.messages(drive, config.bounds)
    if rows.is_empty() and over_ip.rows.is_empty():
        return Found.together(())
    rows = rows.sort(TIME_ORDER) if rows.height else rows
    answers, notes = _on_can(rows, config)
    del rows
    if over_ip.rows.height:
        answers = in_order([answers, converse(over_ip, over_ip.rows)])
    notes.append(over_ip.notes)
    del over_ip
    clears = clearing.clears(answers)
    # Stored codes stay until an answer or a clearing says otherwise, however rarely the tester asks.
    found: list[Found] = []
    for find_reports in (obd.find_reports, uds.find_reports, kwp.find_reports):
        reports, of_source = find_reports(answers, clears)
        notes.append(bounded_notes(of_source))
        found.append(activations(reports, longest_gap_ns=None))
        del reports
    refusals = negative_response.find_reports(answers)
    found += [
        activations(clearing.find_reports(clears), longest_gap_ns=None),
        activations(refusals, longest_gap_ns=negative_response.LONGEST_GAP_NS),
        activations(programming.find_reports(answers), longest_gap_ns=programming.LONGEST_GAP_NS),
    ]
    notes.append(bounded_notes(negative_response.notes(answers)))
    kept = bounded_faults(Found.together(found), "Diagnostics", config.bounds)
    return Found(kept.events, (*kept.notes, *chain.from_iterable(notes)))


def _on_can(rows: pl.DataFrame, config: Config) -> tuple[pl.DataFrame, list[tuple[str, ...]]]:
    """Return the answers on CAN, and notes on what could not be put together.

    Args:
        rows: `wanted`, in order of time.
        config: Says how ECUs are asked and answer.
    """
    if rows.is_empty():
        return ANSWERS.to_frame(eager=True), []
    proven, proof_notes = prove(rows, config.addressings)
    sent = by_sender(rows, (*config.addressings, *proven))
    reassembled = reassemble(sent.frames)
    notes = [
        bounded_notes(of_kind)
        for of_kind in (proof_notes, _transport_notes(sent, reassembled), _orphan_notes(sent, reassembled))
    ]
    return converse(sent, reassembled.messages), notes


def _transport_notes(sent: BySender, reassembled: Reassembled) -> Iterator[str]:
    counts = reassembled.multi_frame.group_by("sender").agg(
        refused=(pl.col("refused") & ~pl.col("complete")).sum(),
        incomplete=(~pl.col("complete") & ~pl.col("refused")).sum(),
        messages=pl.len(),
    )
    for sender, refused, incomplete, total in counts.sort("sender").iter_rows():
        of = f"of {total} messages of several frames (ISO-TP)"
        if incomplete:
            yield (f"{sent.names[sender]}: {incomplete} {of} are incomplete (lost or late frames) and were left out.")
        if refused:
            yield f"{sent.names[sender]}: {refused} {of} were refused by their receiver, which had no room for them."


def _orphan_notes(sent: BySender, reassembled: Reassembled) -> Iterator[str]:
    for sender, frames in reassembled.orphans.sort("sender").iter_rows():
        yield (
            f"{sent.names[sender]}: {frames} consecutive frames (ISO-TP) belong to no message (its first frame is "
            "missing or timed out) and were left out."
        )
