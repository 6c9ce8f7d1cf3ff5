"""Expected minutes to the repair (ECR): what a mechanic spends on checks until the right cause is confirmed. Pure.

A mechanic does the checks of an answer one after the other, and pays the minutes of each that is begun. A check of the right
cause confirms it with chance `HIT`, whatever earlier ones found; a check of another cause confirms nothing. Who has done all
checks in vain searches freely for `SEARCH_MINUTES`. So the expectation, over the checks in their order, is

    sum of minutes times the chance that the cause is not yet confirmed, plus SEARCH_MINUTES times the chance that it never is

An answer without the right cause costs all its checks and the search. Of two faults both are to be confirmed. The search adds
to the checks even where nobody would do all of them: an answer that leads nowhere is to cost more than none.

Three orders of the same checks are compared:

    listed      as the diagnosis lists them (`Diagnosis.checks`); what it leaves out follows, by probability
    by p        those of the most likely cause first
    by p/c      the cause with the highest probability per minute of its checks first (Heckerman et al., CACM 38(3), 1995)

What is left to the search is the same in any order, so a difference between two orders does not depend on `SEARCH_MINUTES`.
Within a cause the order of its author holds in all three. Confirming a wrong cause (`FALSE_HIT`) is not counted: its repair
would have to be priced.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final

from argus_assets.diagnosis.model import Diagnosis, RootCause
from argus_assets.diagnosis.vehicle.catalogue import Catalogue, Template, load_catalogue, parse_check
from argus_assets.diagnosis.vehicle.checks import HIT, repair_order
from argus_assets.diagnosis.vehicle.network import shared_checks

SEARCH_MINUTES: Final = 60.0
"""Free search without a lead: the hour of diagnosis that workshops book first."""

UNSTATED_MINUTES: Final = 10.0
"""Of a check without stated minutes, such as one of the dictionary or of a language model: twice the median of the
catalogue's, so that what nobody estimated does not look cheap."""

_PLACEHOLDER: Final = re.compile(r"\\\{(?:component|name|Name)\\\}")


@dataclass(frozen=True, slots=True)
class Step:
    """A check: its minutes, and the causes of the answer, by their place in it, that it may confirm."""

    minutes: float
    causes: frozenset[int]


@dataclass(frozen=True, slots=True)
class RepairMinutes:
    """Expected minutes to the repair, by the order of the checks.

    Attributes:
        is_held: Whether the answer holds the right cause, or all of them.
    """

    listed: float
    by_chance: float
    by_chance_per_minute: float
    is_held: bool


@dataclass(frozen=True)
class CheckTexts:
    """Texts of a catalogue: what is a check, and how long it takes.

    Attributes:
        minutes: Text of a check → its minutes.
        no_checks: Texts that are no check: repairs, and what to do for safety.
        patterns: The same of templates, whose texts name a component: pattern → minutes, or `None` for no check.
    """

    minutes: Mapping[str, float]
    no_checks: frozenset[str]
    patterns: tuple[tuple[re.Pattern[str], float | None], ...]

    @classmethod
    def of(cls, catalogue: Catalogue) -> "CheckTexts":
        """Collect the texts of a catalogue, and of causes that findings share.

        A text that has several durations counts with the longest.
        """
        minutes: dict[str, float] = {}
        no_checks: set[str] = set()
        for check in [*shared_checks(), *(check for cause in catalogue.causes for check in cause.checks)]:
            parsed = parse_check(check)
            minutes[parsed.text] = max(parsed.minutes, minutes.get(parsed.text, 0.0))
        for cause in catalogue.causes:
            no_checks |= {cause.safety, *cause.repairs} - {""}
        patterns = [entry for template in catalogue.templates for entry in _patterns(template)]
        return cls(minutes, frozenset(no_checks), tuple(patterns))

    def minutes_of(self, text: str) -> float | None:
        """Return the minutes of a check, or `None` if the text is known to be none."""
        if text in self.minutes:
            return self.minutes[text]
        if text in self.no_checks:
            return None
        for pattern, minutes in self.patterns:
            if pattern.fullmatch(text):
                return minutes
        return UNSTATED_MINUTES


@cache
def shipped_texts() -> CheckTexts:
    """Return the texts of the catalogue that ships with Argus."""
    return CheckTexts.of(load_catalogue())


def repair_minutes(diagnosis: Diagnosis, targets: Sequence[frozenset[int]], texts: CheckTexts) -> RepairMinutes:
    """Return the expected minutes to the repair.

    Args:
        diagnosis: The answer.
        targets: For each fault the causes of the answer, by their place in it, that are right; empty if it is not held.
        texts: Texts that are checks, and their minutes.
    """
    causes = diagnosis.root_causes
    checks = [_checks_of(cause, texts) for cause in causes]
    by_chance = sorted(range(len(causes)), key=lambda n: -causes[n].confidence)
    with_checks = [n for n in range(len(causes)) if checks[n]]
    per_minute = repair_order(
        [causes[n].confidence for n in with_checks], [sum(checks[n].values()) for n in with_checks]
    )
    likely_first = [text for n in by_chance for text in checks[n]]
    listed = {text: minutes for text in diagnosis.checks if (minutes := texts.minutes_of(text)) is not None}
    minutes_of = {**listed, **{text: minutes for of_cause in checks for text, minutes in of_cause.items()}}

    def expected(order: Sequence[str]) -> float:
        steps = [
            Step(minutes_of[text], frozenset(n for n, of_cause in enumerate(checks) if text in of_cause))
            for text in dict.fromkeys(order)
        ]
        return expected_minutes(steps, targets)

    return RepairMinutes(
        listed=expected([*listed, *likely_first]),
        # What only the list has comes last: all orders are of the same checks.
        by_chance=expected([*likely_first, *listed]),
        by_chance_per_minute=expected([*(text for n in per_minute for text in checks[with_checks[n]]), *listed]),
        is_held=bool(targets) and all(targets),
    )


def expected_minutes(
    steps: Sequence[Step], targets: Sequence[frozenset[int]], *, search_minutes: float = SEARCH_MINUTES
) -> float:
    """Return the expected minutes until all faults are confirmed, the search included.

    Args:
        steps: The checks in their order.
        targets: For each fault the causes that are right.
        search_minutes: Free search after all checks.
    """
    open_chances = [1.0] * len(targets)
    total = 0.0
    for step in steps:
        total += step.minutes * _any_open(open_chances)
        open_chances = [
            chance * (1.0 - HIT) if step.causes & target else chance
            for chance, target in zip(open_chances, targets, strict=True)
        ]
    return total + search_minutes * _any_open(open_chances)


def _any_open(chances: Sequence[float]) -> float:
    """Return the chance that any fault is not confirmed yet; 1 without a fault to confirm."""
    confirmed = 1.0 if chances else 0.0
    for chance in chances:
        confirmed *= 1.0 - chance
    return 1.0 - confirmed


def _checks_of(cause: RootCause, texts: CheckTexts) -> dict[str, float]:
    """Return the checks of a cause with their minutes, in order."""
    return {text: minutes for text in cause.actions if (minutes := texts.minutes_of(text)) is not None}


def _patterns(template: Template) -> list[tuple[re.Pattern[str], float | None]]:
    checks = [parse_check(text) for text in template.checks]
    return [
        *((_pattern(check.text), check.minutes) for check in checks),
        *((_pattern(repair), None) for repair in template.repairs),
    ]


def _pattern(text: str) -> re.Pattern[str]:
    # Names of components are short: a bound keeps the matching of hostile texts linear enough.
    return re.compile(_PLACEHOLDER.sub(lambda _: ".{1,120}?", re.escape(text)))
