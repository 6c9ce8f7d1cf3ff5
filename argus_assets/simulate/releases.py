"""An update that makes one thing worse: a fleet over two releases, with the ground truth of how much worse."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

import numpy as np

from argus_assets.simulate.fleet import Drive, simulate_drive, write_truth
from argus_assets.simulate.scenarios import SCENARIOS
from argus_assets.simulate.vin import make_vin

_DAY_NS: Final = 86_400 * 10**9


@dataclass(frozen=True, slots=True)
class ReleaseChange:
    """A fault that an update made more frequent, or did not.

    Attributes:
        name: Its name.
        scenario: The fault, a name of `SCENARIOS`.
        healthy: What the drives without it are.
        shares: For each release, older first, the share of drives with the fault.
        description: What happened, in a sentence.
    """

    name: str
    scenario: str
    healthy: str
    shares: tuple[tuple[str, float], tuple[str, float]]
    description: str


RELEASE_CHANGES: Final[Mapping[str, ReleaseChange]] = MappingProxyType(
    {
        change.name: change
        for change in (
            ReleaseChange(
                "planner_slower",
                scenario="av_planner_slow",
                healthy="av_healthy",
                shares=(("2026.10", 0.1), ("2026.11", 0.6)),
                description="A planner with a costlier search misses its deadlines six times as often.",
            ),
            ReleaseChange(
                "misfire_threshold",
                scenario="car_misfire_cleared",
                healthy="car_healthy",
                shares=(("2026.10", 0.05), ("2026.11", 0.4)),
                description="A changed threshold lets the engine unit report misfires of a good cylinder.",
            ),
            ReleaseChange(
                "oil_sensor_same",
                scenario="truck_oil_sensor",
                healthy="truck_healthy",
                shares=(("2026.10", 0.3), ("2026.11", 0.3)),
                description="A wire that chafes as often as before: the update has nothing to do with it.",
            ),
        )
    }
)
"""Changes by name."""


@dataclass(frozen=True, slots=True)
class ReleaseTruth:
    """The ground truth of one release.

    Attributes:
        release: Software release.
        drives: How many, each of another vehicle.
        hours: Driven together.
        drives_with_fault: In so many the fault happens.
        share_planted: Probability by which each drive got it.
    """

    release: str
    drives: int
    hours: float
    drives_with_fault: int
    share_planted: float

    @property
    def faulty_drives_per_hour(self) -> float:
        """Drives with the fault per hour driven."""
        return self.drives_with_fault / self.hours


@dataclass(frozen=True, slots=True)
class ReleaseFleet:
    """Drives of a fleet over two releases and their ground truth."""

    change: ReleaseChange
    drives: tuple[Drive, ...]
    truth: tuple[ReleaseTruth, ReleaseTruth]


def simulate_release_change(
    folder: Path,
    change: ReleaseChange,
    *,
    seed: int,
    vehicles: int,
    started_ns: int,
    seconds: float = 30.0,
    on_drive: Callable[[Drive], None] = lambda _: None,
) -> ReleaseFleet:
    """Write one drive of each vehicle under the older release, and a week later one under the newer.

    Recordings go to `folder/<vehicle_id>/<batch_id>/`, ground truths of drives to `folder/truth/` and that of the
    releases to `folder/truth/<name of the change>.json`.

    Args:
        folder: Where.
        change: What the update changed.
        seed: The same seed gives the same fleet.
        vehicles: How many.
        started_ns: Start of the first drive, nanoseconds since 1970 UTC.
        seconds: Length of each drive.
        on_drive: Called after each.
    """
    drives: list[Drive] = []
    platform = SCENARIOS[change.scenario].platform
    for round_number, (release, share) in enumerate(change.shares):
        for number in range(vehicles):
            luck = np.random.default_rng([seed, round_number, number])
            batch = f"{release}-{number + 1:04d}"
            vehicle = f"{platform}-{number + 1:04d}"
            drive = simulate_drive(
                folder / vehicle / batch,
                scenario=change.scenario if luck.random() < share else change.healthy,
                seed=int(luck.integers(2**31)),
                vehicle_id=vehicle,
                vin=make_vin(np.random.default_rng([seed, number])),
                release=release,
                batch_id=batch,
                started_ns=started_ns + round_number * 7 * _DAY_NS + number * 60 * 10**9,
                seconds=seconds,
                files=1,
            )
            write_truth(folder, drive)
            drives.append(drive)
            on_drive(drive)
    older, newer = (_truth(drives, release, share) for release, share in change.shares)
    document = {"change": asdict(change), "releases": [asdict(t) for t in (older, newer)]}
    (folder / "truth" / f"{change.name}.json").write_text(json.dumps(document, indent=2))
    return ReleaseFleet(change, tuple(drives), (older, newer))


def _truth(drives: Sequence[Drive], release: str, share: float) -> ReleaseTruth:
    own = [d for d in drives if d.release == release]
    return ReleaseTruth(
        release=release,
        drives=len(own),
        hours=sum(d.recorded_to_ns - d.recorded_from_ns for d in own) / 3.6e12,
        drives_with_fault=sum(d.root_cause is not None for d in own),
        share_planted=share,
    )
