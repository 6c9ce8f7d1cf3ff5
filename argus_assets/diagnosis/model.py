"""Evidence and diagnosis: the two documents of this package.

Neither ever holds a VIN or a position.
"""

from hashlib import sha256
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from argus_assets.faults.schema import Severity


class _Document(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class EvidenceItem(_Document):
    """One fault of the drive: what a claim may cite.

    `id` is stable within the document (`E1`, `E2`, … by rank). `also_reported` lists what else reported the same
    trouble, with its status.
    """

    id: str
    code: str
    source: str
    ecu: str
    status: str
    severity: Severity
    occurrences: int = Field(ge=1)
    frame_count: int
    active_s: float
    active_share_pct: float
    seconds_into_drive: float
    co_occurring: tuple[str, ...] = ()
    also_reported: tuple[str, ...] = ()
    message: str | None = None
    recording: str
    frame: int


class Coverage(_Document):
    """How much of the drive the evidence rests on."""

    recordings: int
    recordings_read: int
    frames: int
    frames_lost: int
    drive_s: float

    @property
    def frames_read_pct(self) -> float:
        """Share of the known frames that could be read, percent."""
        total = self.frames + self.frames_lost
        return 100.0 * self.frames / total if total else 0.0

    def statement(self) -> str:
        """The sentence a diagnosis starts with."""
        return (
            f"Based on {self.recordings_read} of {self.recordings} recordings, "
            f"{self.frames_read_pct:.1f}% of their frames, {self.drive_s / 60:.1f} minutes of driving."
        )


class Evidence(_Document):
    """What is known of one drive's faults, most important first (Top-K)."""

    platform: str
    release: str
    coverage: Coverage
    items: tuple[EvidenceItem, ...]
    codes_total: int

    def key(self) -> str:
        """SHA-256 of the canonical JSON: the same evidence has the same key."""
        return sha256(self.model_dump_json().encode()).hexdigest()


class RootCause(_Document):
    """One candidate cause.

    Attributes:
        cause: Identifier from the knowledge base, such as `ignition_coil_cylinder_1`, or
            `unexplained_code:<code>` where no pattern is known.
        confidence: 0 to 1.
        supports: Evidence ids that speak for it; never empty.
        contradicts: Evidence ids, or expected-but-absent codes, that speak against it.
    """

    cause: str
    title: str
    explanation: str
    confidence: float = Field(ge=0, le=1)
    supports: tuple[str, ...] = Field(min_length=1)
    contradicts: tuple[str, ...] = ()
    actions: tuple[str, ...] = ()


class Diagnosis(_Document):
    """The answer for one batch: coverage first, then verdict, then causes, most likely first."""

    mode: Literal["llm", "cached", "fast_path", "offline"]
    mode_reason: str
    coverage: str
    verdict: str
    severity: Severity
    drivable: Literal["yes", "with_care", "no"]
    root_causes: tuple[RootCause, ...]
    evidence_key: str
    knowledge_version: str
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost_usd: float | None = 0.0
