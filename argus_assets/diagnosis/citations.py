"""Citations, looked up again in the tables that the evidence was made from."""

from dataclasses import dataclass
from typing import Self

import polars as pl

from argus_assets.diagnosis.model import Citation, Diagnosis, Evidence
from argus_assets.diagnosis.redaction import redact

SHA256_DIGITS = 12
"""Of a recording's SHA-256 in evidence and citations."""


@dataclass(frozen=True, slots=True)
class Facts:
    """Where each fault's activations begin.

    Attributes:
        frames: (code, ECU, recording) → frames that begin an activation.
        sha256: Recording → the first digits of its SHA-256.
    """

    frames: dict[tuple[str, str, str], frozenset[int]]
    sha256: dict[str, str]

    @classmethod
    def of(cls, events: pl.DataFrame, recordings: pl.DataFrame) -> Self:
        """Facts of a drive.

        Args:
            events: `faults.schema.ERROR_EVENTS`.
            recordings: `recordings.schema.RECORDINGS`.
        """
        frames: dict[tuple[str, str, str], set[int]] = {}
        for code, ecu, recording, frame in events.select("code", "ecu", "recording", "frame").iter_rows():
            frames.setdefault((redact(code), redact(ecu), recording), set()).add(frame)
        digests = dict(recordings.select("recording", pl.col("sha256").str.slice(0, SHA256_DIGITS)).iter_rows())
        return cls({fault: frozenset(found) for fault, found in frames.items()}, digests)

    def problem(self, citation: Citation, evidence: Evidence) -> str | None:
        """What is wrong with a citation; `None` when it holds."""
        item = next((item for item in evidence.items if item.id == citation.item), None)
        if item is None:
            return f"there is no item {citation.item}"
        if (item.code, item.ecu) != (citation.code, citation.ecu):
            return f"item {item.id} is {item.code} of {item.ecu}, not {citation.code} of {citation.ecu}"
        if self.sha256.get(citation.recording) != citation.recording_sha256:
            return f"recording {citation.recording} has not the SHA-256 {citation.recording_sha256}…"
        begun = self.frames.get((citation.code, citation.ecu, citation.recording), frozenset())
        missing = sorted({citation.first_frame, citation.last_frame} - begun)
        if missing:
            return f"frame {missing[0]} of {citation.recording} begins no {citation.code} of {citation.ecu}"
        return None


def citation_problems(diagnosis: Diagnosis, evidence: Evidence, facts: Facts) -> list[str]:
    """What is wrong with all that a diagnosis cites; empty when everything holds."""
    known = {item.id for item in evidence.items}
    problems: list[str] = []
    for cause in diagnosis.root_causes:
        problems += [f"{cause.cause}: no item {i}" for i in (*cause.supports, *cause.contradicts) if i not in known]
        problems += [
            f"{cause.cause}: {problem}"
            for claim in cause.claims
            for cite in claim.cites
            if (problem := facts.problem(cite, evidence)) is not None
        ]
    return problems
