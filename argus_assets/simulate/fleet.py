"""Drives of a fleet on disk, with their ground truth in a side file that is never dropped."""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import numpy as np

from argus_assets.errors import BadSetting
from argus_assets.simulate import av, car, truck
from argus_assets.simulate.scenarios import SCENARIOS
from argus_assets.simulate.vin import make_vin
from argus_assets.simulate.write import write_mcap, write_mdf4

CAN_TOPIC: Final = {"car": "/can/powertrain", "av": "/can/vehicle"}


@dataclass(frozen=True, slots=True)
class Drive:
    """A simulated drive and what is wrong in it.

    Attributes:
        folder: Holds the recordings and nothing else.
        files: The recordings.
        recorded_from_ns: Start, nanoseconds since 1970 UTC.
        recorded_to_ns: End.
        fault_from_s: When the planted fault begins, seconds into the drive; `None` without one.
    """

    vehicle_id: str
    vin: str
    batch_id: str
    release: str
    platform: str
    scenario: str
    folder: Path
    files: tuple[Path, ...]
    recorded_from_ns: int
    recorded_to_ns: int
    frames: int
    root_cause: str | None
    codes: tuple[str, ...]
    codes_absent: tuple[str, ...]
    fault_from_s: float | None

    def truth(self) -> dict[str, object]:
        """The ground truth as a JSON document."""
        document = asdict(self) | {"folder": str(self.folder.name), "files": [f.name for f in self.files]}
        return {k: list(v) if isinstance(v, tuple) else v for k, v in document.items()}


def simulate_drive(
    folder: Path,
    *,
    scenario: str,
    seed: int,
    vehicle_id: str,
    vin: str,
    release: str,
    batch_id: str,
    started_ns: int,
    seconds: float = 60.0,
    files: int = 2,
) -> Drive:
    """Write the recordings of one drive into `folder`.

    Args:
        folder: Made when it is not there.
        scenario: A name of `SCENARIOS`.
        seed: The same seed gives the same frames.
        vehicle_id: Name of the vehicle.
        vin: Its VIN.
        release: Software release it runs.
        batch_id: Name of the drive.
        started_ns: Start, nanoseconds since 1970 UTC.
        seconds: Length.
        files: Into how many recordings it is split, by time.

    Raises:
        KeyError: No such scenario.
        BadSetting: The drive is too short for the scenario's codes to appear: its ground truth would be wrong.
    """
    kind = SCENARIOS[scenario]
    if seconds < kind.shortest_s:
        raise BadSetting(
            f"A drive of {scenario} was to last {seconds:g} s; its codes need {kind.shortest_s:g} s to appear.",
            help="Simulate a longer one.",
        )
    rng = np.random.default_rng([seed, list(SCENARIOS).index(scenario)])
    start_s = float(rng.uniform(0.2, 0.45)) * seconds
    folder.mkdir(parents=True, exist_ok=True)
    messages: list[av.Message] = []
    match kind.platform:
        case "truck":
            can = truck.drive(scenario, seconds, start_s, rng)
        case "car":
            can = car.drive(scenario, seconds, start_s, rng)
        case "av":
            can = av.vehicle_can(seconds, rng)
            messages = av.drive(scenario, seconds, start_s, started_ns, rng)
    edges = np.linspace(0, seconds, files + 1)
    edges[-1] = np.inf
    paths: list[Path] = []
    frames = 0
    for number in range(files):
        low, high = float(edges[number]), float(edges[number + 1])
        part = can.between(low, high)
        if kind.platform == "truck":
            path = folder / f"{number + 1:08d}.mf4"
            frames += write_mdf4(path, can=part, bus=1, started_ns=started_ns)
        else:
            path = folder / f"drive_{number}.mcap"
            some = [m for m in messages if low <= m.time_s < high]
            frames += write_mcap(
                path, can=part, can_topic=CAN_TOPIC[kind.platform], messages=some, started_ns=started_ns
            )
        paths.append(path)
    return Drive(
        vehicle_id=vehicle_id,
        vin=vin,
        batch_id=batch_id,
        release=release,
        platform=kind.platform,
        scenario=scenario,
        folder=folder,
        files=tuple(paths),
        recorded_from_ns=started_ns,
        recorded_to_ns=started_ns + round(seconds * 1e9),
        frames=frames,
        root_cause=kind.root_cause,
        codes=kind.codes,
        codes_absent=kind.codes_absent,
        fault_from_s=start_s if kind.root_cause else None,
    )


def simulate_fleet(
    folder: Path,
    *,
    seed: int,
    scenarios: Sequence[str] | None = None,
    started_ns: int,
    seconds: float = 60.0,
    on_drive: Callable[[Drive], None] = lambda _: None,
) -> list[Drive]:
    """Write one drive for each scenario, each of another vehicle.

    Recordings go to `folder/<vehicle_id>/<batch_id>/`, the ground truth to `folder/truth/<vehicle_id>/<batch_id>.json`.

    Args:
        folder: Where.
        seed: The same seed gives the same fleet.
        scenarios: Names, in order; all of them when `None`.
        started_ns: Start of the first drive; the others follow a minute apart.
        seconds: Length of each drive.
        on_drive: Called after each.
    """
    drives: list[Drive] = []
    for number, scenario in enumerate(scenarios if scenarios is not None else SCENARIOS):
        rng = np.random.default_rng([seed, 1000 + number])
        vehicle = f"{SCENARIOS[scenario].platform}-{number + 1:02d}"
        batch = f"drive-{number + 1:04d}"
        drive = simulate_drive(
            folder / vehicle / batch,
            scenario=scenario,
            seed=seed * 10_007 + number,
            vehicle_id=vehicle,
            vin=make_vin(rng),
            release=str(rng.choice(["2026.10", "2026.11"])),
            batch_id=batch,
            started_ns=started_ns + number * 60 * 10**9,
            seconds=seconds,
        )
        truth = folder / "truth" / vehicle / f"{batch}.json"
        truth.parent.mkdir(parents=True, exist_ok=True)
        truth.write_text(json.dumps(drive.truth(), indent=2))
        drives.append(drive)
        on_drive(drive)
    return drives
