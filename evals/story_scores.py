"""Score answers to documented drives. Pure.

Verdict of the first cause of a drive with a fault; the text that patterns are matched with is its identifier, the words of
the identifier, and its title:

    honest      `unexplained_code:` with a code of the root; codes only: with another code
    wrong       matches `wrong`, whatever else it matches, or nothing of what follows
    right       matches `accept`
    partial     matches `partial`: the right area, not the cause
    silent      there is no cause at all

A wrong one of `CONFIDENT` or more is wrong and confident. A drive without a fault is judged by what it would make somebody do:

    false alarm     severity error or worse, or it must not be driven
    names a fault   a cause of `CONFIDENT` or more is named, other than a code and than "nothing to repair"
    right           neither

Scores:

    top-1, top-3    share of faulty drives whose first cause is right, or one of the first three; of two faults, both among three
    macro-F1        mean F1 over the areas (`area`) of the roots. A right answer is one of its story's area; any other named
                    cause counts against the area of the code that it rests on first
    Brier           mean squared error of the first cause's confidence, of faulty drives in which a cause is named
    log loss        mean negative logarithm of the chance given to what was the case, of the same
    ECE             mean distance of stated confidence and share that was right, over `BINS` bins of equal counts
    ECR             mean expected minutes to the repair, of faulty drives: checks until the right cause is confirmed, in the
                    order of the answer (`repair_minutes.py`); by p and by p/c: with the same checks in other orders; saved:
                    what the order of the answer saves against these; held: of answers that hold the right cause
    AURC            area under the curve of risk over coverage: mean share of wrong causes among the k most confident, over all k

Intervals are Wilson's for 95% (1927), and percentiles of a bootstrap over sources: twins of one document are no two witnesses.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from math import log
from typing import Final, Literal

import numpy as np

from argus_assets.diagnosis.composition import NO_REPAIR
from argus_assets.diagnosis.model import Diagnosis, RootCause
from argus_assets.diagnosis.vocabulary import UNEXPLAINED
from evals.repair_minutes import RepairMinutes, repair_minutes, shipped_texts
from evals.scores import Share
from evals.story import Story

CONFIDENT: Final = 0.6
BINS: Final = 10
RESAMPLES: Final = 1_000

Verdict = Literal["right", "partial", "honest", "codes only", "silent", "wrong", "false alarm", "names a fault"]

NAMED: Final[tuple[Verdict, ...]] = ("right", "partial", "wrong")
"""Verdicts of a faulty drive in which a cause is named."""

_MIN_CHANCE: Final = 1e-3


@dataclass(frozen=True, slots=True)
class StoryAnswer:
    """The judged answer to a story.

    Attributes:
        name: Name of the story.
        verdict: Verdict.
        confidence: Of the first cause, or of the most confident claim where nothing is to be repaired.
        causes: Identifiers and confidences, most likely first.
        top_3: Whether a right cause is among the first three, or all of them.
        alarm: Whether the drive has no fault, but the answer is an alarm.
        claims: Whether the drive has no fault, but the answer names one with `CONFIDENT` or more.
        area: Area of the root.
        answered: Area that a wrong cause speaks of; empty where none is named.
        minutes: Expected minutes to the repair; `None` where nothing is to be repaired.
    """

    name: str
    story: Story
    verdict: Verdict
    confidence: float
    causes: tuple[tuple[str, float], ...]
    top_3: bool
    alarm: bool
    claims: bool
    severity: str
    severity_right: bool
    drivable: str
    drivable_right: bool
    area: str
    answered: str
    minutes: RepairMinutes | None = None

    @property
    def right(self) -> bool:
        """Return whether the first cause is the confirmed one, or nothing was raised where nothing is to be repaired."""
        return self.verdict == "right"

    @property
    def confidently_wrong(self) -> bool:
        """Return whether a wrong cause is stated with confidence."""
        return self.verdict == "wrong" and self.confidence >= CONFIDENT


def judge(name: str, story: Story, diagnosis: Diagnosis, codes: dict[str, str]) -> StoryAnswer:
    """Compare a diagnosis with the confirmed answer.

    Args:
        name: Name of the story.
        story: The story.
        diagnosis: The diagnosis of its drive.
        codes: Code of each item of evidence.
    """
    causes = diagnosis.root_causes
    verdicts: list[Verdict] = [verdict_of(story, cause) for cause in causes]
    claims = [c.confidence for c in causes if not c.cause.startswith((UNEXPLAINED, NO_REPAIR))]
    alarm = diagnosis.severity.value in ("error", "critical") or diagnosis.drivable == "no"
    targets = _targets(story, causes, verdicts)
    top_3 = all(any(n < 3 for n in target) for target in targets)
    claimed = max(claims, default=0.0) >= CONFIDENT
    verdict: Verdict = verdicts[0] if verdicts else "silent"
    confidence = causes[0].confidence if causes else 0.0
    if not story.has_fault:
        verdict = "false alarm" if alarm else "names a fault" if claimed else "right"
        confidence = max(claims, default=0.0)
    return StoryAnswer(
        name=name,
        story=story,
        verdict=verdict,
        confidence=confidence,
        causes=tuple((c.cause, c.confidence) for c in causes),
        top_3=top_3,
        alarm=not story.has_fault and alarm,
        claims=not story.has_fault and claimed,
        severity=diagnosis.severity.value,
        severity_right=diagnosis.severity.value in story.severity,
        drivable=diagnosis.drivable,
        drivable_right=diagnosis.drivable in story.drivable,
        area=area(story.platform, story.root[0]) if story.has_fault else "",
        answered=_answered(story, causes, verdict, codes),
        minutes=repair_minutes(diagnosis, targets, shipped_texts()) if story.has_fault else None,
    )


def _targets(story: Story, causes: Sequence[RootCause], verdicts: Sequence[Verdict]) -> list[frozenset[int]]:
    """Return for each fault of a story the causes, by their place in the answer, that are right."""
    if not story.all_of:
        return [frozenset(n for n, verdict in enumerate(verdicts) if verdict == "right")]
    texts = [text_of(cause) for cause in causes]
    return [frozenset(n for n, text in enumerate(texts) if _has((pattern,), text)) for pattern in story.all_of]


def verdict_of(story: Story, cause: RootCause) -> Verdict:
    """Return the verdict of one cause of a drive with a fault."""
    if cause.cause.startswith(UNEXPLAINED):
        code = cause.cause.removeprefix(UNEXPLAINED)
        return "honest" if any(fnmatchcase(code, pattern) for pattern in story.root) else "codes only"
    text = text_of(cause)
    if _has(story.wrong, text):
        return "wrong"
    if _has(story.accept, text):
        return "right"
    return "partial" if _has(story.partial, text) else "wrong"


def text_of(cause: RootCause) -> str:
    """Return the text that patterns are matched with."""
    return f"{cause.cause} {cause.cause.replace('_', ' ')} {cause.title}"


def _has(patterns: Iterable[str], text: str) -> bool:
    return any(re.search(pattern, text, re.IGNORECASE) for pattern in patterns)


def _answered(story: Story, causes: Sequence[RootCause], verdict: Verdict, codes: dict[str, str]) -> str:
    if not causes or verdict == "right" or causes[0].cause.startswith((UNEXPLAINED, NO_REPAIR)):
        return ""
    return area(story.platform, next((codes[i] for i in causes[0].supports if i in codes), ""))


_SPNS: Final = (
    ("network", lambda spn: spn in (639, 625, 1231, 1235) or 2000 <= spn <= 2255),
    ("brakes and air", lambda spn: spn in (46, 70, 116, 117, 118, 521, 561, 562, 563, 575, 576, 577) or 789 <= spn <= 811 or 1043 <= spn <= 1100),
    ("electrical", lambda spn: spn in (115, 158, 167, 168, 620, 627, 677, 678, 1079, 1080, 2623, 3464) or 3509 <= spn <= 3514),
    ("transmission", lambda spn: spn in (123, 124, 126, 127, 160, 161, 177, 191, 523, 524, 525, 604) or 733 <= spn <= 788),
    ("aftertreatment", lambda spn: spn in (1761, 3031, 5246, 5394) or 3216 <= spn <= 3260 or 3360 <= spn <= 3490 or 3515 <= spn <= 3850 or 4331 <= spn <= 4400 or 4760 <= spn <= 4880 or spn == 4094),
    ("cooling", lambda spn: spn in (109, 110, 111, 647, 975, 986, 1639)),
)  # fmt: skip
"""Areas of a heavy vehicle by SPN; what is left is the engine's."""

_CAR: Final = (
    ("network", "U"), ("chassis", "C"), ("body", "B"), ("hybrid", "P0A|P0B|P0C|P0D|P1A"), ("ignition", "P03"),
    ("emissions", "P04"), ("fuel and air", "P00|P01|P02|P2"), ("transmission", "P07|P08|P09"), ("computer", "P06"),
)  # fmt: skip
"""Areas of a car by the beginning of the code (SAE J2012); what is left is the powertrain's."""

_STACK: Final = (
    ("perception", "lidar|velodyne|ouster|hesai|camera|radar|image|points|realsense|usb|depth|scan"),
    ("localisation", "gnss|gps|ndt|ekf|imu|amcl|locali|odom|rtk|pose|novatel|septentrio"),
    ("time", "clock|ptp|ntp|chrony|tf|time|stamp"),
    ("network", "dds|rtps|fast|cyclone|qos|socket|udp|ethernet|net|discovery|can"),
    ("computer", "cpu|gpu|mem|disk|hdd|ssd|therm|temp|volt|power|throttl|system|kernel|xid|battery|bms"),
)
"""Areas of a stack by words of the code; what is left is planning and control."""


def area(platform: str, code: str) -> str:
    """Return the area of a code, or of a pattern of codes."""
    if found := re.match(r"SPN(\d+)", code):
        spn = int(found[1])
        name = next((name for name, holds in _SPNS if holds(spn)), "engine")
    elif code.startswith("CAN_"):
        name = "network"
    elif platform != "av" and re.match(r"[PCBU][0-9A-F]", code):
        name = next((name for name, start in _CAR if re.match(start, code)), "powertrain")
    elif platform == "av":
        name = next((name for name, words in _STACK if re.search(words, code, re.IGNORECASE)), "planning and control")
    else:
        name = "other"
    return f"{platform}: {name}"


# ---------------------------------------------------------------------------------------------------------- figures


@dataclass(frozen=True, slots=True)
class StoryScores:
    """Scores of a set of answers.

    Attributes:
        intervals: 95% of the bootstrap over sources, by the score's name; only of `bootstrapped` scores.
    """

    stories: int
    sources: int
    top_1: Share
    top_3: Share
    honest: Share
    codes_only: Share
    partial: Share
    silent: Share
    wrong: Share
    confidently_wrong: Share
    false_alarms: Share
    claims: Share
    severity: Share
    drivable: Share
    macro_f1: float | None
    brier: float | None
    log_loss: float | None
    ece: float | None
    aurc: float | None
    ecr: float | None
    ecr_by_chance: float | None
    ecr_by_chance_per_minute: float | None
    saved_to_chance: float | None
    saved_to_chance_per_minute: float | None
    ecr_held: float | None
    intervals: dict[str, tuple[float, float]]


def score(answers: Sequence[StoryAnswer]) -> StoryScores:
    """Compute all scores, without the bootstrap."""
    faulty = [a for a in answers if a.story.has_fault]
    others = [a for a in answers if not a.story.has_fault]

    def share(verdict: str) -> Share:
        return Share(sum(a.verdict == verdict for a in faulty), len(faulty))

    named = [(a.confidence, a.right) for a in faulty if a.verdict in NAMED]
    minutes = [a.minutes for a in faulty if a.minutes is not None]
    return StoryScores(
        stories=len(answers),
        sources=len({a.story.source_key for a in answers}),
        top_1=share("right"),
        top_3=Share(sum(a.top_3 for a in faulty), len(faulty)),
        honest=share("honest"),
        codes_only=share("codes only"),
        partial=share("partial"),
        silent=share("silent"),
        wrong=share("wrong"),
        confidently_wrong=Share(sum(a.confidently_wrong for a in faulty), len(faulty)),
        false_alarms=Share(sum(a.alarm for a in others), len(others)),
        claims=Share(sum(a.claims for a in others), len(others)),
        severity=Share(sum(a.severity_right for a in answers), len(answers)),
        drivable=Share(sum(a.drivable_right for a in answers), len(answers)),
        macro_f1=macro_f1(faulty, others),
        brier=_mean([(stated - right) ** 2 for stated, right in named]),
        log_loss=_mean([-log(max(_MIN_CHANCE, stated if right else 1 - stated)) for stated, right in named]),
        ece=calibration_error(named),
        aurc=risk_coverage_area(named),
        ecr=_mean([m.listed for m in minutes]),
        ecr_by_chance=_mean([m.by_chance for m in minutes]),
        ecr_by_chance_per_minute=_mean([m.by_chance_per_minute for m in minutes]),
        saved_to_chance=_mean([m.by_chance - m.listed for m in minutes]),
        saved_to_chance_per_minute=_mean([m.by_chance_per_minute - m.listed for m in minutes]),
        ecr_held=_mean([m.listed for m in minutes if m.is_held]),
        intervals={},
    )


def with_bootstrap(answers: Sequence[StoryAnswer], *, seed: int = 18) -> StoryScores:
    """Compute all scores, with intervals of a bootstrap over sources."""
    by_source: dict[str, list[StoryAnswer]] = {}
    for answer in answers:
        by_source.setdefault(answer.story.source_key, []).append(answer)
    sources = list(by_source.values())
    rng = np.random.default_rng(seed)
    drawn: dict[str, list[float]] = {}
    for _ in range(RESAMPLES if len(sources) > 1 else 0):
        sample = [a for number in rng.integers(len(sources), size=len(sources)) for a in sources[number]]
        values = score(sample)
        for name, value_of in BOOTSTRAPPED.items():
            value = value_of(values)
            if value is not None:
                drawn.setdefault(name, []).append(value)
    intervals = {
        name: (float(np.percentile(values, 2.5)), float(np.percentile(values, 97.5))) for name, values in drawn.items()
    }
    return replace(score(answers), intervals=intervals)


BOOTSTRAPPED: Final[dict[str, Callable[[StoryScores], float | None]]] = {
    "top-1": lambda s: s.top_1.value,
    "top-3": lambda s: s.top_3.value,
    "honest": lambda s: s.honest.value,
    "wrong": lambda s: s.wrong.value,
    "wrong and confident": lambda s: s.confidently_wrong.value,
    "macro-F1": lambda s: s.macro_f1,
    "Brier": lambda s: s.brier,
    "log loss": lambda s: s.log_loss,
    "ECE": lambda s: s.ece,
    "AURC": lambda s: s.aurc,
    "ECR": lambda s: s.ecr,
    "ECR by p": lambda s: s.ecr_by_chance,
    "ECR by p/c": lambda s: s.ecr_by_chance_per_minute,
    "saved to p": lambda s: s.saved_to_chance,
    "saved to p/c": lambda s: s.saved_to_chance_per_minute,
    "ECR held": lambda s: s.ecr_held,
}
"""Scores that the bootstrap covers."""


def macro_f1(faulty: Sequence[StoryAnswer], others: Sequence[StoryAnswer]) -> float | None:
    """Return the mean F1 over the areas of the roots."""
    scores: list[float] = []
    for label in sorted({a.area for a in faulty}):
        right = sum(a.right for a in faulty if a.area == label)
        missed = sum(not a.right for a in faulty if a.area == label)
        false = sum(a.answered == label for a in (*faulty, *others))
        scores.append(2 * right / (2 * right + missed + false))
    return _mean(scores)


def equal_bins(named: Sequence[tuple[float, bool]], bins: int = BINS) -> list[tuple[int, float, float]]:
    """Return count, mean stated confidence and share that was right, in bins of equal counts, lowest first."""
    ordered = sorted(named)
    parts = [p for p in np.array_split(np.arange(len(ordered)), min(bins, len(ordered))) if len(p)] if ordered else []
    return [
        (len(part), float(np.mean([ordered[i][0] for i in part])), float(np.mean([ordered[i][1] for i in part])))
        for part in parts
    ]


def calibration_error(named: Sequence[tuple[float, bool]]) -> float | None:
    """Return the expected calibration error over bins of equal counts."""
    bins = equal_bins(named)
    total = sum(count for count, _, _ in bins)
    return sum(count * abs(stated - right) for count, stated, right in bins) / total if total else None


def risk_coverage_area(named: Sequence[tuple[float, bool]]) -> float | None:
    """Return the mean share of wrong causes among the k most confident ones, over all k. Equal confidences share their risk."""
    if not named:
        return None
    stated = np.array([c for c, _ in named])
    wrong = np.array([not right for _, right in named], np.float64)
    order = np.argsort(-stated, kind="stable")
    stated, wrong = stated[order], wrong[order]
    for value in np.unique(stated):
        wrong[stated == value] = wrong[stated == value].mean()
    return float(np.mean(np.cumsum(wrong) / np.arange(1, len(wrong) + 1)))


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None
