"""Evidence and diagnosis: the two documents of this package.

Neither ever holds a VIN or a position.
"""

from datetime import date
from hashlib import sha256
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from argus_assets.diagnosis.vocabulary import CauseKind, Drivable, System
from argus_assets.faults.schema import Severity

Mode = Literal["llm", "cached", "fast_path", "offline"]
"""Who answered: a language model, a saved answer of one, a rule that is sure enough, or the rules as a fallback."""

Degraded = Literal["no_model", "over_budget", "model_failed", "invalid_answer"]
"""Why an offline diagnosis stands where a language model's would: it is tried again when that has changed."""


class Document(BaseModel):
    """Base of the documents: immutable, and of known fields only."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ItemHistory(Document):
    """How a fault (code and ECU) stands against earlier drives; counts are of drives.

    Attributes:
        vehicle: `new` (never before), `recurring` (also in the drive before), `back` (earlier, not in the drive
            before); `None` for a vehicle without earlier drives.
        vehicle_drives_with: Earlier drives of this vehicle that had it.
        days_since_last: Since the last of them.
        release_drives_with: Drives of other vehicles of the same platform and release that had it.
        previous_release_drives_with: The same for the release before.
        vehicles_with: Other vehicles that had it, under any release.
    """

    vehicle: Literal["new", "recurring", "back"] | None = None
    vehicle_drives_with: int = 0
    days_since_last: float | None = None
    release_drives_with: int = 0
    previous_release_drives_with: int = 0
    vehicles_with: int = 0


class History(Document):
    """How many drives an `ItemHistory` is counted among. Only drives recorded before this one count."""

    window_days: int
    vehicle_drives: int = 0
    release_drives: int = 0
    previous_release: str | None = None
    previous_release_drives: int = 0


class Citation(Document):
    """Where what a claim says can be seen.

    Attributes:
        item: Id of the evidence item.
        code: Its code.
        ecu: Who reports it.
        recording: Name of the recording.
        recording_sha256: First 12 hex digits of its SHA-256.
        first_frame: First frame that begins an activation.
        last_frame: Last one, in the same recording.
    """

    item: str
    code: str
    ecu: str
    recording: str
    recording_sha256: str
    first_frame: int
    last_frame: int


class EvidenceItem(Document):
    """One fault of the drive: what a claim may cite.

    Attributes:
        id: Stable within the document (`E1`, `E2`, … by rank).
        meaning: The code in plain words, from the dictionary.
        appeared: Place in the order of first appearance, from 1; what appeared within a second shares a place.
        lamps: Lamps that its reports lit: `MIL`, `red stop`, `amber warning`, `protect`.
        also_reported: What else reported the same trouble, with its status.
        recording: Recording of the first report.
        recording_sha256: First 12 hex digits of the recording's SHA-256; empty when unknown.
        frame: Frame of the first report.
        last_frame: The last frame in the same recording that begins an activation.
        history: Against earlier drives; `None` when there is no memory of drives.
    """

    id: str
    code: str
    source: str
    ecu: str
    status: str
    severity: Severity
    meaning: str = ""
    occurrences: int = Field(ge=1)
    frame_count: int
    active_s: float
    active_share_pct: float
    seconds_into_drive: float
    appeared: int = 0
    lamps: tuple[str, ...] = ()
    co_occurring: tuple[str, ...] = ()
    also_reported: tuple[str, ...] = ()
    message: str | None = None
    recording: str
    recording_sha256: str = ""
    frame: int
    last_frame: int | None = None
    history: ItemHistory | None = None

    def citation(self) -> Citation:
        """Where it can be seen."""
        return Citation(
            item=self.id,
            code=self.code,
            ecu=self.ecu,
            recording=self.recording,
            recording_sha256=self.recording_sha256,
            first_frame=self.frame,
            last_frame=self.frame if self.last_frame is None else self.last_frame,
        )


class EvidencePair(Document):
    """Two items that came together: `stats.schema.CODE_PAIRS`, by the ids of the items."""

    a: str
    b: str
    joint_activations: int
    lift: float | None
    median_lead_s: float


class Damage(Document):
    """A recording that was lost in part or whole."""

    recording: str
    state: str
    frames: int
    frames_lost: int
    problems: tuple[str, ...] = ()


class Coverage(Document):
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


class Evidence(Document):
    """What is known of one drive's faults, most important first (Top-K).

    Attributes:
        vehicle: Keyed pseudonym of the vehicle; empty when there is no key.
        codes_total: Troubles of the drive, of which `items` are the first.
    """

    platform: str
    release: str
    vehicle: str = ""
    coverage: Coverage
    items: tuple[EvidenceItem, ...]
    pairs: tuple[EvidencePair, ...] = ()
    damage: tuple[Damage, ...] = ()
    history: History | None = None
    codes_total: int

    def key(self) -> str:
        """SHA-256 of the canonical JSON: the same evidence has the same key."""
        return sha256(self.model_dump_json().encode()).hexdigest()


class Claim(Document):
    """One statement about a cause, with what shows it. A claim without a citation that holds is not kept."""

    text: str
    speaks: Literal["for", "against"]
    cites: tuple[Citation, ...] = Field(min_length=1)


class RootCause(Document):
    """One candidate cause.

    Attributes:
        cause: Identifier from the knowledge base, such as `ignition_coil_cylinder_1`, or
            `unexplained_code:<code>` where no pattern is known.
        confidence: 0 to 1.
        supports: Evidence ids that speak for it; never empty.
        contradicts: Evidence ids that speak against it.
        actions: What to check, in order.
        claims: What is said of it, each statement with its evidence.
    """

    cause: str
    title: str
    explanation: str
    system: System = System.UNKNOWN
    kind: CauseKind = CauseKind.UNKNOWN
    confidence: float = Field(ge=0, le=1)
    supports: tuple[str, ...] = Field(min_length=1)
    contradicts: tuple[str, ...] = ()
    actions: tuple[str, ...] = ()
    claims: tuple[Claim, ...] = ()


class SimilarCase(Document):
    """A case that a person confirmed, as far as it is like this drive.

    Attributes:
        id: Of the case.
        similarity: Cosine of the code vectors, 0 to 1.
        weight: Similarity times recency: what it is ranked by.
        shared_codes: Codes that both have.
        fix: What helped.
        confirmed_on: Day on which a person confirmed or corrected it.
    """

    id: str
    cause: str
    title: str
    fix: str | None = None
    platform: str
    release: str
    similarity: float
    weight: float
    shared_codes: tuple[str, ...]
    confirmed_on: date


class Diagnosis(Document):
    """The answer for one batch: coverage first, then verdict, then causes, most likely first.

    Attributes:
        mode_reason: Why it was this mode, with the rule of a fast path and the batch of a saved answer.
        degraded: Why no language model answered though one should have; `None` when this is the best answer.
        precedent: Partition of the batch that a saved answer was made for.
        verdict: One line.
        summary: A few sentences.
        checks: What to check, in order, over all causes.
        calls: Calls to the language model, failed ones included.
        cached_tokens: Those of `prompt_tokens` that the server had in its cache.
        cost_usd: Of all calls; `None` when a price is not known.
        notes: What was dropped or lowered in a model's answer, and other remarks on how it was made.
    """

    mode: Mode
    mode_reason: str
    degraded: Degraded | None = None
    precedent: str | None = None
    coverage: str
    verdict: str
    summary: str = ""
    severity: Severity
    drivable: Drivable
    root_causes: tuple[RootCause, ...]
    checks: tuple[str, ...] = ()
    similar_cases: tuple[SimilarCase, ...] = ()
    evidence_key: str
    signature: str = ""
    knowledge_version: str
    prompt_version: str | None = None
    model: str | None = None
    calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    cost_usd: float | None = 0.0
    notes: tuple[str, ...] = ()
