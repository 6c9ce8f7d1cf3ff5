"""Define scenarios: a simulated drive, changes to it, and the diagnosis that an engineer would expect."""

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

ROOT: Final = Path(__file__).parent / "scenarios"
FILE: Final = "scenario.toml"

Difficulty = Literal["easy", "medium", "hard"]
Tag = Literal[
    "healthy", "cascade", "misleading", "injection", "contradiction", "damage", "unseen", "two_faults", "lost_recording",
    "intermittent",
]  # fmt: skip


class Scenario(BaseModel):
    """One folder of `scenarios/`.

    Attributes:
        simulate: Scenario of the simulator.
        change: Changes to its error events, in order; see `changes.py`.
        expect: Causes of which one must rank first; none for a healthy vehicle.
        all_of: Whether all of `expect` must rank among the first three.
        evidence: Codes that the first cause must cite.
        must_not: Causes that must not rank first, and phrases that must not occur.
        severity: Allowed severities; any if empty.
        why: Why an engineer would expect this.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    simulate: str
    difficulty: Difficulty
    tags: tuple[Tag, ...] = ()
    why: Annotated[str, Field(min_length=20)]
    expect: tuple[str, ...] = ()
    all_of: bool = False
    evidence: tuple[str, ...] = ()
    must_not: tuple[str, ...] = ()
    severity: tuple[Literal["info", "warning", "error", "critical"], ...] = ()
    seconds: float = 30.0
    change: tuple[dict[str, Any], ...] = ()

    @property
    def is_healthy(self) -> bool:
        """Return whether the vehicle is healthy."""
        return not self.expect


@dataclass(frozen=True, slots=True)
class Named:
    """A scenario and the name of its folder."""

    name: str
    scenario: Scenario
    text: str


def load_scenarios(root: Path = ROOT) -> list[Named]:
    """Load all scenarios, sorted by name.

    Raises:
        ValueError: A file is invalid.
    """
    found: list[Named] = []
    for path in sorted(root.glob(f"*/{FILE}")):
        text = path.read_text("utf-8")
        try:
            found.append(Named(path.parent.name, Scenario.model_validate(tomllib.loads(text)), text))
        except ValueError as error:
            msg = f"{path.parent.name}/{FILE}: {error}"
            raise ValueError(msg) from error
    return found
