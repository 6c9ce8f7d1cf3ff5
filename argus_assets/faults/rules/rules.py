"""Rules over signals as they are written in the configuration: what each kind takes, checked, and in words.

They are evaluated in `conditions.py`, over the signals of `signals.py`.
"""

from typing import Annotated, Final, Literal, Self

from pydantic import BeforeValidator, Field, StringConstraints, model_validator

from argus_assets.common.config_files import Patterns, Strict, exactly_one
from argus_assets.faults.schema import Severity

_Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
_Seconds = Annotated[float, Field(ge=0, le=86_400, allow_inf_nan=False)]
_Number = Annotated[float, Field(allow_inf_nan=False)]
_Text = Annotated[str, StringConstraints(min_length=1, max_length=200)]


def _one_or_many(given: object) -> object:
    return given if isinstance(given, list | tuple) else (given,)


Values = Annotated[tuple[float | _Text, ...], BeforeValidator(_one_or_many), Field(min_length=1, max_length=1000)]
"""Numbers, or names of a value table or a text field."""


class SignalName(Strict):
    """Name of a signal: one of a DBC file, or a field of a topic.

    Attributes:
        signal: `Message.Signal` of a DBC file, or `Signal` where only one message has it.
        topic: Patterns of topics or of signal groups (MDF4).
        message_schema: Patterns of their schemas.
        field: Path of the field, such as `pose.position.x`.
        valid: Lowest and highest value that is one: what is outside, such as a value for "not available", is no sample.
        max_gap_s: A sample's value holds until the next one, but no longer than this.
    """

    signal: _Text | None = None
    topic: Patterns | None = None
    message_schema: Patterns = ("*",)
    field: _Text | None = None
    valid: tuple[_Number, _Number] | None = None
    max_gap_s: _Seconds = 10

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        exactly_one(self, "signal", "topic")
        if (self.topic is None) != (self.field is None):
            msg = "topic and field go together: which topics, and which of their fields"
            raise ValueError(msg)
        if self.valid is not None and self.valid[0] > self.valid[1]:
            msg = f"valid goes from the lowest to the highest value, found {list(self.valid)}"
            raise ValueError(msg)
        return self

    @property
    def named(self) -> str:
        """The signal in a word or two."""
        return self.signal or f"{self.field} of {', '.join(self.topic or ())}"


class When(SignalName):
    """A condition on another signal. It holds while the last sample fulfils it, and not where there is none.

    Attributes:
        above: It is larger.
        below: It is smaller.
        values: It is one of these.
    """

    above: _Number | None = None
    below: _Number | None = None
    values: Values | None = None

    @model_validator(mode="after")
    def _one_condition(self) -> Self:
        exactly_one(self, "above", "below", "values")
        return self


class _Rule(SignalName):
    """Keys that all kinds of rules have.

    Attributes:
        code: Of the events.
        name: In their severity rule; the code unless given.
        severity: Of the events.
        message: Their text.
        ecu: Reporting ECU, for a signal of a DBC the sender of its message unless given, else the topic.
        unit: Of the field of a topic; a DBC has it.
        when: The rule counts only while all of these hold.
    """

    code: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_./-]{0,63}$")
    name: _Text | None = None
    severity: Severity
    message: str = Field(min_length=1, max_length=500)
    ecu: _Text | None = None
    unit: str = Field("", max_length=40)
    when: Annotated[tuple[When, ...], BeforeValidator(_one_or_many)] = ()

    @property
    def title(self) -> str:
        """Name of it in the severity rule."""
        return self.name or self.code

    def condition(self, unit: str) -> str:
        """Return the condition in words.

        Args:
            unit: Of the signal.
        """
        raise NotImplementedError


class _Lasting(_Rule):
    """A rule whose condition may have to hold for some time.

    Attributes:
        for_s: How long, from its first sample to its last.
    """

    for_s: _Seconds = 0


class Threshold(_Lasting):
    """A value that is too high or too low.

    Attributes:
        above: Active when the value is larger.
        below: Active when it is smaller.
        clear_at: Stays active until the value is back at this one: hysteresis.
    """

    kind: Literal["threshold"]
    above: _Number | None = None
    below: _Number | None = None
    clear_at: _Number | None = None

    @model_validator(mode="after")
    def _hysteresis(self) -> Self:
        exactly_one(self, "above", "below")
        if self.clear_at is not None and (
            (self.above is not None and self.clear_at > self.above)
            or (self.below is not None and self.clear_at < self.below)
        ):
            msg = f"clear_at = {self.clear_at:g} is on the wrong side: a value there would be a fault"
            raise ValueError(msg)
        return self

    def condition(self, unit: str) -> str:
        """See `_Rule`."""
        side, limit = ("above", self.above) if self.above is not None else ("below", self.below)
        return _lasting(f"{side} {limit:g}{_spaced(unit)}", self.for_s)


class Enumeration(_Lasting):
    """A value that stands for a fault.

    Attributes:
        values: Such values.
    """

    kind: Literal["enum"]
    values: Values

    def condition(self, unit: str) -> str:
        """See `_Rule`."""
        shown = " or ".join(v if isinstance(v, str) else f"{v:g}{_spaced(unit)}" for v in self.values)
        return _lasting(f"is {shown}", self.for_s)


class Stuck(_Rule):
    """A value that does not change.

    Attributes:
        for_s: For how long it may be the same.
        tolerance: From one sample to the next this much is no change.
    """

    kind: Literal["stuck"]
    for_s: _Positive
    tolerance: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0

    def condition(self, unit: str) -> str:
        """See `_Rule`."""
        more = f" of more than {self.tolerance:g}{_spaced(unit)}" if self.tolerance else ""
        return _lasting(f"no change{more}", self.for_s)


class Rate(_Lasting):
    """A value that changes too fast.

    Attributes:
        rise_per_s: Active when it rises faster, in units per second.
        fall_per_s: Active when it falls faster; a positive number.
        over_s: Measured over this time; 0 for one sample to the next.
    """

    kind: Literal["rate"]
    rise_per_s: _Positive | None = None
    fall_per_s: _Positive | None = None
    over_s: _Seconds = 0

    @model_validator(mode="after")
    def _some_limit(self) -> Self:
        if self.rise_per_s is None and self.fall_per_s is None:
            msg = "give rise_per_s, fall_per_s or both, found none"
            raise ValueError(msg)
        return self

    def condition(self, unit: str) -> str:
        """See `_Rule`."""
        ways = (("rises", self.rise_per_s), ("falls", self.fall_per_s))
        changes = " or ".join(
            f"{way} faster than {limit:g}{_spaced(unit)}/s" for way, limit in ways if limit is not None
        )
        return _lasting(f"{changes} over {self.over_s:g} s" if self.over_s else changes, self.for_s)


class Missing(_Rule):
    """A signal that does not come while the drive is recorded.

    Attributes:
        for_s: Longest time without a sample that is no fault.
    """

    kind: Literal["missing"]
    for_s: _Positive

    def condition(self, unit: str) -> str:  # noqa: ARG002 - as the others have it
        """See `_Rule`."""
        return f"no sample for {self.for_s:g} s"


def _lasting(condition: str, for_s: float) -> str:
    return f"{condition} for {for_s:g} s" if for_s else condition


def _spaced(unit: str) -> str:
    return f" {unit}" if unit else ""


Rule = Annotated[Threshold | Enumeration | Stuck | Rate | Missing, Field(discriminator="kind")]
"""A rule of any kind."""


class RuleFile(Strict):
    """The shipped rules."""

    rule: tuple[Rule, ...] = ()


SHIPPED: Final = "data/rules.toml"
"""The rules that are active without any configuration, below this package."""
