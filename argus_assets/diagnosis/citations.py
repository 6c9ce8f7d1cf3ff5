"""Verify citations in the tables that the evidence was made from."""

from dataclasses import dataclass
from typing import Self

import polars as pl

from argus_assets.diagnosis.model import Citation, Diagnosis, Evidence
from argus_assets.diagnosis.redaction import redact

SHA256_DIGITS = 12
"""Digits of a recording's SHA-256 in evidence and citations."""


@dataclass(frozen=True, slots=True)
class Facts:
    """The frames in which the activations of each fault begin.

    Attributes:
        begun: Code, ECU, recording and frame of each activation, as the vehicle names them.
        sha256: Recording → the first digits of its SHA-256.
    """

    begun: pl.DataFrame
    sha256: dict[str, str]

    @classmethod
    def of(cls, events: pl.DataFrame, recordings: pl.DataFrame) -> Self:
        """Collect the facts of a drive.

        Args:
            events: `faults.schema.ERROR_EVENTS`.
            recordings: `recordings.schema.RECORDINGS`.
        """
        digests = dict(recordings.select("recording", pl.col("sha256").str.slice(0, SHA256_DIGITS)).iter_rows())
        return cls(events.select("code", "ecu", "recording", "frame"), digests)

    def problem(self, citation: Citation, evidence: Evidence) -> str | None:
        """Return what is wrong with a citation, or `None` if it is valid."""
        item = next((item for item in evidence.items if item.id == citation.item), None)
        if item is None:
            return f"there is no item {citation.item}"
        if (item.code, item.ecu) != (citation.code, citation.ecu):
            return f"item {item.id} is {item.code} of {item.ecu}, not {citation.code} of {citation.ecu}"
        if self.sha256.get(citation.recording) != citation.recording_sha256:
            return f"recording {citation.recording} does not have the SHA-256 {citation.recording_sha256}…"
        missing = sorted({citation.first_frame, citation.last_frame} - self._begun_of(citation))
        if missing:
            return f"frame {missing[0]} of {citation.recording} begins no {citation.code} of {citation.ecu}"
        return None

    def has_code(self, code: str) -> bool:
        """Return whether any event of the drive has a code, with or without failure type or FMI."""
        whole = pl.col("code").str.to_uppercase()
        part = whole.str.split("-").list.first().str.split("/").list.first()
        return not self.begun.filter((whole == code) | (part == code)).is_empty()

    def _begun_of(self, citation: Citation) -> set[int]:
        """Return the cited frames in which an activation of the cited fault begins.

        Like the evidence, citations name codes and ECUs in redacted form. Only activations that begin in a cited frame are
        redacted here: a drive may have thousands of codes, and a diagnosis cites a few.
        """
        cited = self.begun.filter(
            pl.col("recording") == citation.recording,
            pl.col("frame").is_in([citation.first_frame, citation.last_frame]),
        )
        # One message may list thousands of codes; a verbatim match is enough.
        as_cited = cited.filter(code=citation.code, ecu=citation.ecu)["frame"]
        found = (
            set(as_cited) if (redact(citation.code), redact(citation.ecu)) == (citation.code, citation.ecu) else set()
        )
        if {citation.first_frame, citation.last_frame} <= found:
            return found
        return found | {
            frame
            for code, ecu, frame in cited.select("code", "ecu", "frame").unique().iter_rows()
            if redact(ecu) == citation.ecu and redact(code) == citation.code
        }


def citation_problems(diagnosis: Diagnosis, evidence: Evidence, facts: Facts) -> list[str]:
    """Return the problems of all citations of a diagnosis; empty if every one is valid."""
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
