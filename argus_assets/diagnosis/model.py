"""Define evidence and diagnosis, the two documents of this package.

Neither ever contains a VIN or a position.
"""

from datetime import date
from hashlib import sha256
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from argus_assets.diagnosis.states import FaultState
from argus_assets.diagnosis.vocabulary import CauseKind, Drivable, System
from argus_assets.faults.schema import Severity

Mode = Literal["llm", "cached", "fast_path", "offline"]
"""Source of the answer: a language model, a saved answer of one, a fast-path rule, or the rules as a fallback."""

Degraded = Literal["no_model", "over_budget", "model_failed", "invalid_answer"]
"""Why an offline diagnosis replaces a language model's; it is retried once the reason no longer applies."""


class Document(BaseModel):
    """Base of the documents: immutable, without unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ItemHistory(Document):
    """History of a fault (code and ECU) over earlier drives; all counts are numbers of drives.

    Attributes:
        vehicle: `new` (never before), `recurring` (also in the previous drive), `back` (earlier, but not in the previous
            drive); `None` for a vehicle without earlier drives.
        vehicle_drives_with: Earlier drives of this vehicle with the fault.
        days_since_last: Days since the last of them.
        release_drives_with: Drives with the fault of other vehicles of the same platform and release.
        previous_release_drives_with: The same for the previous release.
        vehicles_with: Other vehicles with the fault, under any release.
    """

    vehicle: Literal["new", "recurring", "back"] | None = None
    vehicle_drives_with: int = 0
    days_since_last: float | None = None
    release_drives_with: int = 0
    previous_release_drives_with: int = 0
    vehicles_with: int = 0


class History(Document):
    """Total drives behind the counts of an `ItemHistory`. Only drives recorded before this one count."""

    window_days: int
    vehicle_drives: int = 0
    release_drives: int = 0
    previous_release: str | None = None
    previous_release_drives: int = 0


class Citation(Document):
    """The frames that show what a claim states.

    Attributes:
        item: Id of the evidence item.
        code: Code of the fault.
        ecu: ECU that reports it.
        recording: Name of the recording.
        recording_sha256: First 12 hex digits of its SHA-256.
        first_frame: First frame that begins an activation.
        last_frame: Last such frame in the same recording.
    """

    item: str
    code: str
    ecu: str
    recording: str
    recording_sha256: str
    first_frame: int
    last_frame: int


class EvidenceItem(Document):
    """One fault of the drive, which claims may cite.

    Attributes:
        id: Stable within the document (`E1`, `E2`, … by rank).
        meaning: The code in plain words, from the dictionary.
        state: What it is at the end of the drive.
        onset_seen: Whether the first report shows when it began, and not only when it was read.
        appeared: Place in the order of first appearance, from 1; faults within a second share a place.
        lamps: Lamps commanded by its reports: `MIL`, `red stop`, `amber warning`, `protect`.
        values: Freeze frame, snapshot or key values that came with it: name and value.
        also_reported: Other sources that reported the same fault, with their status.
        recording: Recording of the first report.
        recording_sha256: First 12 hex digits of the recording's SHA-256; empty when unknown.
        frame: Frame of the first report.
        last_frame: The last frame in the same recording that begins an activation.
        history: Counts from earlier drives; `None` without a drive memory.
    """

    id: str
    code: str
    source: str
    ecu: str
    status: str
    severity: Severity
    state: FaultState = "present"
    onset_seen: bool = True
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
    values: tuple[tuple[str, str], ...] = ()
    recording: str
    recording_sha256: str = ""
    frame: int
    last_frame: int | None = None
    history: ItemHistory | None = None

    def citation(self) -> Citation:
        """Return the citation of this item."""
        return Citation(
            item=self.id,
            code=self.code,
            ecu=self.ecu,
            recording=self.recording,
            recording_sha256=self.recording_sha256,
            first_frame=self.frame,
            last_frame=self.frame if self.last_frame is None else self.last_frame,
        )


ObservedState = Literal["plausible", "not_too_low", "not_too_high", "too_low", "too_high", "error", "unknown"]
"""What a live value says: within its bounds all the time (of both sides, or of the one that has a bound), beyond one of them,
declared failed by its unit, or nothing."""


class Observation(Document):
    """A live value of a control unit: `stats.schema.MEASUREMENTS`, judged.

    Attributes:
        id: Stable within the document (`O1`, `O2`, …).
        quantity: What was measured, such as `oil_pressure`.
        component: Component of the catalogue that it is about.
        unit: Unit of the values.
        why: What was expected, or what the value says; may be empty.
        running: Whether the values are those of the running engine.
        low: Lowest value; likewise `typical` (median) and `high`.
        last: Last value of the drive.
    """

    id: str
    quantity: str
    component: str
    unit: str
    ecu: str
    source: str
    state: ObservedState
    why: str = ""
    running: bool = False
    low: float | None = None
    typical: float | None = None
    high: float | None = None
    last: float | None = None
    readings: int


class UnitSeen(Document):
    """A J1939 unit that sent anything: it lives from `first_s` to `last_s`, seconds into the drive."""

    ecu: str
    messages: int
    first_s: float
    last_s: float


class Remark(Document):
    """What a node logged below ERROR: `stats.schema.REMARKS`. It supports a cause, but is no fault.

    Attributes:
        id: Stable within the document (`R1`, `R2`, …).
        level: `info` or `warning`.
        first_s: First entry, seconds into the drive; likewise `last_s`.
    """

    id: str
    level: Literal["info", "warning"]
    node: str
    message: str
    entries: int
    first_s: float
    last_s: float


class TopicSeen(Document):
    """A topic: `stats.schema.TOPIC_STATS`; times are seconds into the drive.

    Attributes:
        period_s: Median time between messages; `None` for a single one.
        pause_s: The longest time between two messages; `pause_from_s` is its begin.
    """

    topic: str
    messages: int
    first_s: float
    last_s: float
    period_s: float | None = None
    pause_s: float | None = None
    pause_from_s: float | None = None


class ReadOut(Document):
    """A control unit that answered a request for its codes: `03`, `07`, `0A` of OBD, `19` of UDS, `18` of KWP2000."""

    ecu: str
    service: str
    answers: int


class EvidencePair(Document):
    """Two items that occurred together: `stats.schema.CODE_PAIRS`, by the ids of the items."""

    a: str
    b: str
    joint_activations: int
    lift: float | None
    median_lead_s: float


class Damage(Document):
    """A recording that was lost, partly or entirely."""

    recording: str
    state: str
    frames: int
    frames_lost: int
    problems: tuple[str, ...] = ()


class Coverage(Document):
    """The share of the drive that the evidence is based on."""

    recordings: int
    recordings_read: int
    frames: int
    frames_lost: int
    drive_s: float

    @property
    def frames_read_pct(self) -> float:
        """Return the share of the known frames that could be read, percent."""
        total = self.frames + self.frames_lost
        return 100.0 * self.frames / total if total else 0.0

    def statement(self) -> str:
        """Return the opening sentence of a diagnosis."""
        return (
            f"Based on {self.recordings_read} of {self.recordings} recordings, "
            f"{self.frames_read_pct:.1f}% of their frames, {self.drive_s / 60:.1f} minutes of driving."
        )


class Evidence(Document):
    """The faults of one drive, most important first (Top-K).

    Attributes:
        vehicle: Keyed pseudonym of the vehicle; empty without a key.
        observations: Live values, those first that are not plausible.
        units: J1939 units that sent anything.
        read_outs: Control units that answered a request for codes, also without any.
        remarks: What software logged below ERROR.
        topics: Topics of the recordings.
        codes_total: Number of faults in the drive; `items` holds the first of them.
    """

    platform: str
    release: str
    vehicle: str = ""
    coverage: Coverage
    items: tuple[EvidenceItem, ...]
    pairs: tuple[EvidencePair, ...] = ()
    damage: tuple[Damage, ...] = ()
    history: History | None = None
    observations: tuple[Observation, ...] = ()
    units: tuple[UnitSeen, ...] = ()
    read_outs: tuple[ReadOut, ...] = ()
    remarks: tuple[Remark, ...] = ()
    topics: tuple[TopicSeen, ...] = ()
    codes_total: int

    def key(self) -> str:
        """Return the SHA-256 of the canonical JSON: equal evidence has equal keys."""
        return sha256(self.model_dump_json().encode()).hexdigest()


class Claim(Document):
    """One statement about a cause, with its evidence. A claim without a valid citation is dropped.

    Attributes:
        cites: Frames that show it; none only where it rests on absent codes.
        absent: Codes that the drive was tested for and does not have.
    """

    text: str
    speaks: Literal["for", "against"]
    cites: tuple[Citation, ...] = ()
    absent: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _has_evidence(self) -> Self:
        if not self.cites and not self.absent:
            raise ValueError("a claim cites something")
        return self


class RootCause(Document):
    """One candidate cause.

    Attributes:
        cause: Identifier from the knowledge base, such as `ignition_coil_cylinder_1`, or
            `unexplained_code:<code>` if no pattern is known.
        confidence: 0 to 1.
        posterior: Probability by the model of the vehicle, before it is corrected; `None` without one.
        accounts_for: Share of the present faults, by severity, that it and the other likely causes explain, 0 to 1.
        findings: Number of present faults that it explains.
        basis: Where the confidence comes from, in words.
        supports: Ids of the items that support it; never empty.
        contradicts: Ids of the items that contradict it.
        actions: Checks, in order.
        claims: Statements about it, each with its evidence.
        is_independent: Whether it stands beside the first cause as a second fault, and is no alternative to it.
    """

    cause: str
    title: str
    explanation: str
    system: System = System.UNKNOWN
    kind: CauseKind = CauseKind.UNKNOWN
    confidence: float = Field(ge=0, le=1)
    posterior: float | None = None
    accounts_for: float = 0.0
    findings: int = 0
    basis: str = ""
    supports: tuple[str, ...] = Field(min_length=1)
    contradicts: tuple[str, ...] = ()
    actions: tuple[str, ...] = ()
    claims: tuple[Claim, ...] = ()
    is_independent: bool = False


class SimilarCase(Document):
    """A confirmed case that resembles this drive.

    Attributes:
        id: Id of the case.
        similarity: Cosine of the code vectors, 0 to 1.
        weight: Similarity times recency, by which cases are ranked.
        shared_codes: Codes in common.
        fix: The repair that helped.
        confirmed_on: Day on which it was confirmed or corrected.
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
        mode_reason: Reason for the mode: the rule of a fast path, the batch of a saved answer.
        degraded: Why no language model answered although one should have; `None` if the diagnosis is final.
        precedent: Partition of the batch that a saved answer was made for.
        verdict: One line.
        summary: A few sentences.
        checks: Checks over all causes, in order.
        calls: Calls to the language model, failed ones included.
        cached_tokens: Prompt tokens that the server had in its cache; part of `prompt_tokens`.
        cost_usd: Cost of all calls; `None` if a price is unknown.
        notes: Parts of a model's answer that were dropped or lowered, and other remarks on how it was made.
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
