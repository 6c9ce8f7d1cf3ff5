"""Define stories: documented field faults, what their drives recorded, and the answer that was confirmed.

A story is a TOML file in `stories/<platform>/`. It is written from its source alone, before any answer of Argus to it is
looked at. `stories/README.md` says how to write one.
"""

import re
import tomllib
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

STORIES: Final = Path(__file__).parent / "stories"

Platform = Literal["truck", "car", "av"]
Kind = Literal["fault", "two_faults", "healthy", "repaired", "misleading"]
StorySplit = Literal["train", "test", "sealed"]
Severity = Literal["info", "warning", "error", "critical"]
Drivable = Literal["yes", "with_care", "no"]
Seconds = Annotated[float, Field(ge=0, le=7200)]
"""Seconds since the drive's first frame."""

SignalName = Literal[
    "engine_speed",
    "vehicle_speed",
    "pedal",
    "load",
    "coolant_temperature",
    "oil_temperature",
    "oil_pressure",
    "coolant_level",
    "battery_voltage",
    "fuel_supply_pressure",
    "fuel_rail_pressure",
    "fuel_level",
    "boost_pressure",
    "intake_temperature",
    "ambient_temperature",
    "def_level",
    "exhaust_temperature",
    "soot_load",
    "air_pressure",
    "short_fuel_trim_1",
    "long_fuel_trim_1",
    "short_fuel_trim_2",
    "long_fuel_trim_2",
    "mass_air_flow",
    "hv_battery_voltage",
    "hv_battery_current",
    "state_of_charge",
]
"""Quantities of a vehicle; units: rpm, km/h, %, °C, kPa, V, A, g/s."""


class Part(BaseModel):
    """Base of the parts of a story."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Trouble(Part):
    """A trouble code that a J1939 control unit broadcasts (DM1), or lists as previously active (DM2).

    Attributes:
        at: When it becomes active; 0 means that it is so from the first frame.
        until: When it becomes inactive; the end of the drive by default.
        unit: Source address.
        count: The unit's own occurrence counter.
        lamp: Lamps that the unit commands while the code is active.
        previous: Whether it is listed by DM2 at `at` instead of being broadcast.
    """

    at: Seconds
    until: Seconds | None = None
    unit: Annotated[int, Field(ge=0, le=253)]
    spn: Annotated[int, Field(ge=0, le=524_287)]
    fmi: Annotated[int, Field(ge=0, le=31)]
    count: Annotated[int, Field(ge=1, le=126)] = 1
    lamp: tuple[Literal["red", "amber", "mil", "protect"], ...] = ()
    previous: bool = False


class Read(Part):
    """A tester reads the codes of one control unit.

    Attributes:
        unit: CAN identifier of the unit's answers, such as 0x7E8.
        service: OBD service (03, 07, 0A) or UDS 19 02.
        codes: Codes, with a failure type and a status byte for UDS: `P0301`, `P0301-00:2F`.
        mil: Whether the unit's monitor status (PID 01) says that the lamp is on; `None` to leave it out.
        freeze: Values of the freeze frame of the first code, by signal name.
    """

    at: Seconds
    unit: Annotated[int, Field(ge=0, le=0x1FFFFFFF)]
    service: Literal["03", "07", "0A", "19"]
    codes: tuple[Annotated[str, Field(pattern=r"^[PCBU][0-3][0-9A-F]{3}(-[0-9A-F]{2}(:[0-9A-F]{2})?)?$")], ...] = ()
    mil: bool | None = None
    freeze: dict[SignalName, float] = {}

    @model_validator(mode="after")
    def _status(self) -> Self:
        for code in self.codes:
            if (self.service == "19") != (":" in code):
                raise ValueError(f"{code}: service 19 takes codes like P0301-00:2F, the others codes like P0301")
        return self


class Clear(Part):
    """A tester clears the codes: OBD 04, UDS 14, or J1939 DM11 (`unit` is then a source address)."""

    at: Seconds
    unit: int
    by: Literal["obd", "uds", "dm11"]
    refused: bool = False


class Refusal(Part):
    """A control unit answers a tester's request negatively (7F `service` `reason`)."""

    at: Seconds
    unit: int
    service: Annotated[int, Field(ge=0, le=0xFF)]
    reason: Annotated[int, Field(ge=0, le=0xFF)]
    times: Annotated[int, Field(ge=1, le=200)] = 1


class Silence(Part):
    """A control unit sends nothing from `at` until `until` (its messages stop; it answers no tester).

    Attributes:
        unit: J1939 source address, or identifier of the answers of a car's unit.
        reset: Whether it comes back as after a reset (J1939: with an address claim).
    """

    at: Seconds
    until: Seconds | None = None
    unit: int
    reset: bool = False


class Programming(Part):
    """A tester programs a control unit: 10 02, 31, 34, 36 …, 37, 11, while its own messages stop."""

    at: Seconds
    unit: int
    seconds: Annotated[float, Field(gt=0, le=3600)] = 30.0


class BusErrors(Part):
    """Error frames on the CAN bus, `rate` a second, from `at` until `until`; bus-off ends the traffic of all."""

    at: Seconds
    until: Seconds | None = None
    rate: Annotated[float, Field(gt=0, le=2000)] = 20.0
    bus_off: bool = False


class Signal(Part):
    """The course of a quantity: (seconds, value) points, linear between them.

    Attributes:
        by: J1939 broadcast, or OBD polling (mode 01) by a tester; chosen by the platform if absent.
    """

    name: SignalName
    points: Annotated[tuple[tuple[float, float], ...], Field(min_length=1)]
    by: Literal["j1939", "obd"] | None = None


class Log(Part):
    """A line of a node's log (rcl_interfaces/msg/Log), repeated `times` every `every` seconds.

    Attributes:
        text: As the program writes it, in the shape of its source; `{n}` counts.
    """

    at: Seconds
    node: Annotated[str, Field(min_length=1, max_length=200)]
    level: Literal["debug", "info", "warn", "error", "fatal"]
    text: Annotated[str, Field(min_length=1, max_length=500)]
    times: Annotated[int, Field(ge=1, le=2000)] = 1
    every: Annotated[float, Field(gt=0, le=600)] = 1.0


class Diagnostic(Part):
    """A status of diagnostic_msgs/msg/DiagnosticArray, sent every second from `at` until `until`; OK before and after.

    Attributes:
        name: As published, such as `lidar_driver: velodyne_packets topic status`.
        level: Level meanwhile.
        values: Key values.
        ok: Message while it is OK.
    """

    at: Seconds
    until: Seconds | None = None
    name: Annotated[str, Field(min_length=1, max_length=200)]
    hardware_id: str = ""
    level: Literal["ok", "warn", "error", "stale"]
    message: Annotated[str, Field(max_length=500)]
    values: dict[str, str] = {}
    ok: str = "OK"


class Topic(Part):
    """A sensor's topic: `rate` messages a second, and `then` from `at` until `until`.

    Attributes:
        kind: Type of its messages: PointCloud2, LaserScan, Image, NavSatFix, or a header alone.
        rate: Messages a second while nothing is wrong.
        then: Messages a second meanwhile; 0 for a gap.
        behind: Seconds by which the stamps are behind meanwhile; negative if they are from the future.
    """

    at: Seconds
    until: Seconds | None = None
    name: Annotated[str, Field(pattern=r"^(/[A-Za-z0-9_]{1,60}){1,10}$")]
    kind: Literal["cloud", "scan", "image", "fix", "header"] = "header"
    rate: Annotated[float, Field(gt=0, le=100)] = 10.0
    then: Annotated[float, Field(ge=0, le=100)] = 0.0
    behind: Annotated[float, Field(ge=-100_000, le=1_790_000_000)] = 0.0


class ClockStep(Part):
    """The computer's clock is stepped: what is recorded from `at` on has times and stamps that are shifted.

    Attributes:
        seconds: Size of the step; negative if the clock jumps back.
    """

    at: Seconds
    seconds: Annotated[float, Field(ge=-100_000_000, le=100_000_000)]


class Story(Part):
    """One documented drive and its confirmed answer.

    Attributes:
        source: Document that it is from: publisher, title or number, place.
        source_key: Key of that document; stories of one document, and twins of one bulletin, share it. The split is by its hash.
        grade: A: maker's bulletin or maintainer's confirmation; B: workshop or trade press; C: forum or blog.
        vehicle: Make, model, year, engine or stack, as far as the source says.
        cause: Confirmed root cause in own words; for `healthy` why there is nothing to repair.
        accept: Regular expressions, any case: the first cause is right if its id or title matches one of them.
        partial: The same for the right area without the cause.
        wrong: The same for answers that the story is known to mislead to; they never count as right.
        root: Patterns of the codes of the root (`SPN110/*`): an unexplained one of these first is honest.
        all_of: Regular expressions that the first three causes together must match (two independent faults).
        severity: Allowed severities.
        drivable: Allowed verdicts on driving.
        seconds: Length of the drive.
        units: Control units beside those that the parts name: source addresses, or identifiers of answers.
        nodes: Nodes of the software beside those that the parts name.
        note: What an evaluator should know; what the source leaves open.
    """

    source: Annotated[str, Field(min_length=8)]
    source_key: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{2,79}$")]
    grade: Literal["A", "B", "C"]
    platform: Platform
    vehicle: str = ""
    kind: Kind
    title: Annotated[str, Field(min_length=8, max_length=120)]
    cause: Annotated[str, Field(min_length=12)]
    accept: tuple[str, ...] = ()
    partial: tuple[str, ...] = ()
    wrong: tuple[str, ...] = ()
    root: tuple[str, ...] = ()
    all_of: tuple[str, ...] = ()
    severity: Annotated[tuple[Severity, ...], Field(min_length=1)]
    drivable: Annotated[tuple[Drivable, ...], Field(min_length=1)]
    note: str = ""
    seconds: Annotated[float, Field(ge=20, le=1800)] = 120.0
    units: tuple[int, ...] = ()
    nodes: tuple[str, ...] = ()
    trouble: tuple[Trouble, ...] = ()
    read: tuple[Read, ...] = ()
    clear: tuple[Clear, ...] = ()
    refusal: tuple[Refusal, ...] = ()
    silence: tuple[Silence, ...] = ()
    programming: tuple[Programming, ...] = ()
    bus_errors: tuple[BusErrors, ...] = ()
    signal: tuple[Signal, ...] = ()
    log: tuple[Log, ...] = ()
    diagnostic: tuple[Diagnostic, ...] = ()
    topic: tuple[Topic, ...] = ()
    clock_step: tuple[ClockStep, ...] = ()

    @model_validator(mode="after")
    def _complete(self) -> Self:
        for pattern in (*self.accept, *self.partial, *self.wrong, *self.all_of):
            re.compile(pattern)
        if self.has_fault and not (self.accept and self.root):
            raise ValueError("a story of a fault states what is accepted, and the codes of the root")
        if self.kind == "two_faults" and len(self.all_of) < 2:
            raise ValueError("a story of two faults states both in all_of")
        parts = (*self.trouble, *self.read, *self.clear, *self.silence, *self.programming, *self.bus_errors)
        if not (parts or self.log or self.diagnostic or self.refusal or self.signal or self.topic):
            raise ValueError("the drive records nothing")
        timed = (*parts, *self.refusal, *self.log, *self.diagnostic, *self.topic, *self.clock_step)
        latest = max((part.at for part in timed), default=0.0)
        if latest >= self.seconds:
            raise ValueError(f"something happens at {latest:g} s, after the drive's end at {self.seconds:g} s")
        return self

    @property
    def has_fault(self) -> bool:
        """Return whether something is to be repaired; `misleading` stories have a fault when they state what is accepted."""
        return self.kind in ("fault", "two_faults") or (self.kind == "misleading" and bool(self.accept))

    @property
    def split(self) -> StorySplit:
        """Return the split, a third each, by the hash of the source; a source that was looked into is for training."""
        third = int(sha256(self.source_key.encode()).hexdigest(), 16) % 3
        split: StorySplit = ("train", "test", "sealed")[third]
        return "train" if split == "test" and self.source_key in _looked_into() else split


@cache
def _looked_into() -> frozenset[str]:
    """Return the keys of sources of the test third that were looked into since; sealed ones never are."""
    lines = (STORIES / "looked_into.txt").read_text("utf-8").splitlines()
    return frozenset(line for line in lines if line and not line.startswith("#"))


def load_stories(root: Path = STORIES) -> dict[str, Story]:
    """Load all stories by `<platform>/<name>`, sorted.

    Raises:
        ValueError: A file is invalid. The message names it.
    """
    found: dict[str, Story] = {}
    for path in sorted(root.glob("*/*.toml")):
        name = f"{path.parent.name}/{path.stem}"
        try:
            story = Story.model_validate(tomllib.loads(path.read_text("utf-8")))
        except ValueError as error:
            msg = f"{name}: {error}"
            raise ValueError(msg) from error
        if story.platform != path.parent.name:
            msg = f"{name}: its platform is {story.platform}"
            raise ValueError(msg)
        found[name] = story
    return found
