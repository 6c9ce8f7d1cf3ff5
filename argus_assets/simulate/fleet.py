"""Drives of a fleet on disk, with their ground truth in a side file that is never dropped."""

import json
import zlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import numpy as np

from argus_assets.errors import BadSetting
from argus_assets.simulate import av, car, truck
from argus_assets.simulate.car_faults import CarFault
from argus_assets.simulate.scenarios import SCENARIOS
from argus_assets.simulate.timing import Ride
from argus_assets.simulate.truck import TruckFault
from argus_assets.simulate.vin import make_vin
from argus_assets.simulate.write import write_mcap, write_mdf4

CAN_TOPIC: Final = {"car": "/can/powertrain", "av": "/can/vehicle"}


@dataclass(frozen=True, slots=True)
class Drive:
    """A simulated drive and its ground truth.

    Attributes:
        folder: Holds the recordings and nothing else.
        files: The recordings that arrive.
        recorded_from_ns: Start, nanoseconds since 1970 UTC.
        recorded_to_ns: End.
        frames: Written, before any damage.
        damage: What happened to the recordings afterwards (`damage.Damage.kind`).
        root_cause: The planted cause, `None` when the vehicle is healthy.
        codes: Codes that have to be found.
        codes_absent: Codes that must not be found.
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
    damage: str | None
    root_cause: str | None
    codes: tuple[str, ...]
    codes_absent: tuple[str, ...]
    fault_from_s: float | None

    def truth(self) -> dict[str, object]:
        """Return the ground truth as a JSON document."""
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
    # By name and not by place: a further scenario changes none of the others.
    rng = np.random.default_rng([seed, zlib.crc32(scenario.encode())])
    start_s = float(rng.uniform(*kind.begins_share)) * seconds
    folder.mkdir(parents=True, exist_ok=True)
    messages: list[av.Message] = []
    ride = Ride(seconds, start_s, started_ns, rng)
    match kind.fault:
        case TruckFault():
            can = truck.drive(kind.fault, ride)
        case CarFault():
            can = car.drive(kind.fault, ride)
        case av.AvFault():
            can = av.vehicle_can(kind.fault, ride)
            messages = av.drive(kind.fault, ride)
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
    if kind.damage:
        paths = list(kind.damage.apply(paths, seed))
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
        damage=kind.damage.kind if kind.damage else None,
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
        write_truth(folder, drive)
        drives.append(drive)
        on_drive(drive)
    return drives


def write_truth(folder: Path, drive: Drive) -> None:
    """Write the ground truth of a drive to `folder/truth/<vehicle_id>/<batch_id>.json`."""
    path = folder / "truth" / drive.vehicle_id / f"{drive.batch_id}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(drive.truth(), indent=2))
