"""Alert rules: which outcomes raise an alert, by a file that people write. Pure.

A rule says what it applies to and how often it may alert. What was alerted before is passed in by whoever stores it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, field_validator, model_validator

from argus_assets.common.config_files import Patterns, Strict, read_toml
from argus_assets.errors import BadSetting
from argus_assets.faults.schema import Severity
from argus_assets.notifications.events import AlertRaised, Data, DiagnosisCompleted, Outcome, StatusChanged, outcome_id

SETTING: Final = "ARGUS_ALERTS"
GUIDE: Final = "docs/outcomes.md"
HOUR: Final = timedelta(hours=1)
MAX_CODES: Final = 10
"""Alerts of one rule for one batch: the worst codes."""

Kind = Literal["fault", "failed", "quarantined"]

_BADNESS: Final[Mapping[Severity, int]] = {severity: number for number, severity in enumerate(Severity)}
_HOURS: Final = r"^([01]\d|2[0-3]):[0-5]\d-([01]\d|2[0-3]):[0-5]\d$"


class AlertRule(Strict):
    """`[[alert]]`: when people are notified.

    Attributes:
        name: Of the rule; part of the alert.
        on: What it applies to: trouble codes of a drive (`fault`), batches that failed for good (`failed`), drops that
            cannot be used (`quarantined`).
        severity: The mildest that counts, for `fault`; for the others the severity of the alert.
        codes: Trouble codes, with `*` and `?`.
        vehicles: Vehicles, with `*` and `?`.
        platforms: The same of platforms.
        releases: The same of software releases.
        modes: Only diagnoses that were made this way.
        repeat_after_h: Hours in which a vehicle's code is not alerted again by this rule; 0 for no limit.
        most_per_hour: Alerts of one code in an hour by this rule, over all vehicles; 0 for no limit.
        quiet_hours: `22:00-06:00`: what is raised then is sent at the end of them.
        timezone: Of the quiet hours.
        to: Endpoints of `ARGUS_WEBHOOKS`; all that take alerts unless given.
    """

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]
    on: tuple[Kind, ...] = ("fault",)
    severity: Severity = Severity.ERROR
    codes: Patterns = ("*",)
    vehicles: Patterns = ("*",)
    platforms: Patterns = ("*",)
    releases: Patterns = ("*",)
    modes: tuple[Literal["llm", "cached", "fast_path", "offline"], ...] = ()
    repeat_after_h: Annotated[float, Field(ge=0, le=24 * 365)] = 24.0
    most_per_hour: Annotated[int, Field(ge=0, le=100_000)] = 20
    quiet_hours: Annotated[str | None, Field(pattern=_HOURS)] = None
    timezone: str = "UTC"
    to: tuple[str, ...] = ()

    @field_validator("timezone")
    @classmethod
    def _known(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError) as error:
            msg = f"no time zone {name!r}; write it like 'Europe/Berlin'"
            raise ValueError(msg) from error
        return name

    @field_validator("on", mode="before")
    @classmethod
    def _many(cls, given: object) -> object:
        return (given,) if isinstance(given, str) else given

    def due_at(self, at: datetime) -> datetime:
        """Return when an alert that is raised at `at` may be sent: then, or at the end of the quiet hours."""
        if self.quiet_hours is None:
            return at
        begin, end = (time.fromisoformat(text) for text in self.quiet_hours.split("-"))
        local = at.astimezone(ZoneInfo(self.timezone))
        now = local.time()
        quiet = begin <= now < end if begin <= end else now >= begin or now < end
        if not quiet:
            return at
        day = local.date() if now < end else local.date() + timedelta(days=1)
        return datetime.combine(day, end, local.tzinfo)


class AlertRules(Strict):
    """The file."""

    alert: tuple[AlertRule, ...] = ()

    @model_validator(mode="after")
    def _names_are_unique(self) -> Self:
        names = [rule.name for rule in self.alert]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            msg = f"two rules are named {', '.join(map(repr, twice))}; a name must be of one rule"
            raise ValueError(msg)
        return self


def read_alerts(path: Path, *, endpoints: Sequence[str]) -> AlertRules:
    """Read the alerts file.

    Args:
        path: The file.
        endpoints: Names of the configured ones.

    Raises:
        BadSetting: There is no such file, or something in it cannot be used.
    """
    rules = read_toml(path, AlertRules, what="alerts", setting=SETTING, guide=GUIDE)
    for rule in rules.alert:
        unknown = [name for name in rule.to if name not in endpoints]
        if unknown:
            raise BadSetting(
                f"{path}: the rule {rule.name!r} goes to {', '.join(unknown)}, which ARGUS_WEBHOOKS does not name; it "
                f"names {', '.join(endpoints) or 'nothing'}.",
                help="Correct `to`, or add the endpoint.",
            )
    return rules


@dataclass(frozen=True, slots=True)
class Alert:
    """An alert that a rule raises. Whether it was sent already is not known yet."""

    rule: AlertRule
    at: datetime
    data: AlertRaised

    def outcome(self, *, held_back: int = 0) -> Outcome:
        """Return its event.

        Args:
            held_back: Alerts that a limit held back since the last one.
        """
        data = self.data.model_copy(update={"held_back": held_back})
        identity = outcome_id("AlertRaised", data.vehicle_id, data.batch_id, data.manifest_digest, data.rule, data.code)
        return Outcome(identity, "AlertRaised", self.at, data)


@dataclass(frozen=True, slots=True)
class Told:
    """Earlier alerts of a rule for the same code.

    Attributes:
        last_at: Of the same vehicle, `None` when never.
        in_the_hour: Of all vehicles, in the hour before.
    """

    last_at: datetime | None = None
    in_the_hour: int = 0


def is_held_back(alert: Alert, earlier: Told) -> bool:
    """Return whether the limits of its rule hold an alert back."""
    rule = alert.rule
    # A batch that was recorded late may be processed before an earlier one: both directions count.
    if earlier.last_at is not None and abs(alert.at - earlier.last_at) < rule.repeat_after_h * HOUR:
        return True
    return 0 < rule.most_per_hour <= earlier.in_the_hour


def alerts_of(
    outcome: Outcome,
    rules: AlertRules,
    *,
    platform: str | None = None,
    release: str | None = None,
    given_up: bool = False,
) -> list[Alert]:
    """Return the alerts that the rules raise for an outcome.

    Args:
        outcome: A diagnosis, or a change of status; nothing else is alerted.
        rules: All of them.
        platform: Of the batch, where the outcome does not say it.
        release: The same.
        given_up: No automatic retry follows a transient failure.
    """
    found: list[Alert] = []
    match outcome.data:
        case DiagnosisCompleted() as data:
            for rule in rules.alert:
                if "fault" in rule.on and (not rule.modes or data.mode in rule.modes):
                    found += _of_faults(rule, outcome, data)
        case StatusChanged(state="failed") as data if data.quarantined or data.permanent or given_up:
            kind: Kind = "quarantined" if data.quarantined else "failed"
            for rule in rules.alert:
                if kind in rule.on and _concerns(rule, data.vehicle_id, platform, release):
                    found.append(_of_failure(rule, outcome, data, kind, {"platform": platform, "release": release}))
        case _:
            pass
    return found


def _concerns(rule: AlertRule, vehicle_id: str, platform: str | None, release: str | None) -> bool:
    return (
        _matches(rule.vehicles, vehicle_id)
        and _matches(rule.platforms, platform or "")
        and _matches(rule.releases, release or "")
    )


def _matches(patterns: Sequence[str], text: str) -> bool:
    return any(fnmatchcase(text, pattern) for pattern in patterns)


def _of_faults(rule: AlertRule, outcome: Outcome, data: DiagnosisCompleted) -> list[Alert]:
    if not _concerns(rule, data.vehicle_id, data.platform, data.release):
        return []
    faults = [
        fault
        for fault in data.faults
        if _BADNESS[fault.severity] >= _BADNESS[rule.severity] and _matches(rule.codes, fault.code)
    ]
    return [
        Alert(
            rule,
            outcome.at,
            AlertRaised(
                **_about(outcome),
                rule=rule.name,
                kind="fault",
                code=fault.code,
                severity=fault.severity,
                text=f"{data.vehicle_id}: {fault.code} ({fault.severity}). {data.verdict}",
                platform=data.platform,
                release=data.release,
                mode=data.mode,
            ),
        )
        for fault in faults[:MAX_CODES]
    ]


def _of_failure(rule: AlertRule, outcome: Outcome, data: StatusChanged, kind: Kind, known: Mapping[str, Any]) -> Alert:
    why = data.error
    if why is None and data.reasons:
        first = data.reasons[0]
        why = f"{first.kind}: {first.file}: expected {first.expected}, found {first.actual}. {first.help}"
    what = "cannot be used" if kind == "quarantined" else f"failed at {data.stage}"
    return Alert(
        rule,
        outcome.at,
        AlertRaised(
            **_about(outcome),
            rule=rule.name,
            kind=kind,
            code=kind,
            severity=rule.severity,
            text=f"{data.vehicle_id}/{data.batch_id} {what}: {why or 'no reason was recorded'}",
            **known,
        ),
    )


def _about(outcome: Outcome) -> dict[str, Any]:
    """Return the fields that all data have."""
    return outcome.data.model_dump(include=set(Data.model_fields))
