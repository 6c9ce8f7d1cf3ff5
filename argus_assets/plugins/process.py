"""Processes in which objects of entry points run: what they are asked, within which bounds, and what they answer.

For plug-ins of all kinds. A *host* is a module of ours that such a process executes: it takes the path of an order, a
JSON file, loads the entry point that it names, and writes its answer last.
"""

import json
import os
import sys
import sysconfig
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from io import BytesIO
from pathlib import Path
from typing import Annotated, Any, Final, Generic, Protocol, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from argus_assets.common.regular_file import read_regular
from argus_assets.errors import BadRecording
from argus_assets.plugins.isolation import Bounds, Network, Outcome, run_isolated
from argus_assets.plugins.protocol import ANSWER
from argus_assets.plugins.workplace import Workplace, workplace

_ASK_BOUNDS: Final = Bounds(timeout_s=30, memory_mib=4096, output_mib=64)
_MAX_ANSWER_BYTES: Final = 16 * 1024**2


class _HasName(Protocol):
    @property
    def name(self) -> str: ...


_Named = TypeVar("_Named", bound=_HasName)


class PlugInBounds(BaseModel):
    """`isolation.Bounds`, as a plug-in may declare them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    timeout_s: Annotated[float, Field(gt=0, le=86_400)] = 600
    memory_mib: Annotated[int, Field(ge=256, le=1024**2)] = 4096
    output_mib: Annotated[int, Field(ge=1, le=16 * 1024**2)] = 8192
    processes: Annotated[int, Field(ge=1, le=10_000)] = 256
    network: Network = "none"

    @property
    def bounds(self) -> Bounds:
        """Return the limits of its process."""
        return Bounds(**self.model_dump())


class Description(BaseModel):
    """Description that a plug-in gives of itself; each kind of plug-in adds to it.

    Attributes:
        name: Its name, in lower case.
        version: Its author raises it when it makes something else of the same input.
        bounds: What its processes may take.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_.-]{0,39}$")
    version: int = Field(ge=0)
    bounds: PlugInBounds = PlugInBounds()


_Description = TypeVar("_Description", bound=Description)


def package_of(point: EntryPoint) -> str:
    """Name and version of the package that has an entry point."""
    return f"{point.dist.name} {point.dist.version}" if point.dist is not None else "an unknown package"


def unusable_identity(point: EntryPoint) -> str:
    """Return what identifies an entry point that cannot be used: another release of its package may be better."""
    return f"{point.value}@{package_of(point)}"


@dataclass(frozen=True, slots=True)
class Usable(Generic[_Named]):
    """The entry points of a group, usable and not.

    Attributes:
        plug_ins: Those that can be used, in the order of their entry points' names.
        notes: A sentence for each that cannot.
        skipped: Identities of those.
    """

    plug_ins: tuple[_Named, ...]
    notes: tuple[str, ...]
    skipped: tuple[str, ...]


def find_usable(
    kind: str, points: Iterable[EntryPoint], describe: Callable[[EntryPoint], _Named], reserved: Collection[str]
) -> Usable[_Named]:
    """Return the usable plug-ins of a group; the others are skipped.

    Args:
        kind: What they should be, for the notes: `decoder`.
        points: Entry points.
        describe: Makes a plug-in of one, or raises `BadRecording`.
        reserved: Names that they may not have.
    """
    plug_ins: list[_Named] = []
    notes: list[str] = []
    skipped: list[str] = []
    for point in sorted(points, key=lambda p: (p.name, p.value)):
        try:
            plug_in = describe(point)
        except BadRecording as error:
            notes.append(error.what)
            skipped.append(unusable_identity(point))
            continue
        if plug_in.name in (*reserved, *(p.name for p in plug_ins)):
            notes.append(
                f"The {kind} {point.name!r} ({unusable_identity(point)}) is skipped: "
                f"the name {plug_in.name!r} is taken."
            )
            skipped.append(unusable_identity(point))
            continue
        plug_ins.append(plug_in)
    return Usable(tuple(plug_ins), tuple(notes), tuple(skipped))


def ask(kind: str, host: str, point: EntryPoint, question: Mapping[str, object]) -> object:
    """Ask an entry point a small question, in a process of its own.

    Args:
        kind: What it should be, for the error: `decoder`.
        host: The module that the process executes.
        point: The entry point.
        question: The order.

    Raises:
        BadRecording: Its process did not end well.
    """
    with workplace(BytesIO(), "") as place:
        outcome = run_host(host, point, question, place, _ASK_BOUNDS)
        if outcome.ok:
            return read_answer(place.output)
        said = place.shown(outcome.tail)
    raise BadRecording(
        f"The {kind} {point.name!r} ({point.value}) of {package_of(point)} is skipped: "
        f"{outcome.sentence(_ASK_BOUNDS)}{'; it printed: ' + said if said else ''}.",
        help="Repair or uninstall that package.",
    )


def ask_description(kind: str, host: str, point: EntryPoint, model: type[_Description], *, guide: str) -> _Description:
    """Ask a process what an entry point is.

    Args:
        kind: What it should be, for the error: `decoder`.
        host: The module that the process executes.
        point: The entry point.
        model: What it should say.
        guide: The page that says so.

    Raises:
        BadRecording: It cannot be imported, or is something else.
    """
    try:
        return model.model_validate(ask(kind, host, point, {"do": "describe"}))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise BadRecording(
            f"The {kind} {point.name!r} ({point.value}) of {package_of(point)} is skipped: {where}: {first['msg']}.",
            help=f"See {guide} for what a {kind} has.",
        ) from error


def run_host(
    host: str,
    point: EntryPoint,
    order: Mapping[str, object],
    place: Workplace,
    bounds: Bounds,
    *,
    reads: Sequence[Path] = (),
) -> Outcome:
    """Run a host over an entry point.

    Args:
        host: The module that the process executes.
        point: The entry point.
        order: What to do.
        place: Where; the answer and all else that it writes goes to its output folder.
        bounds: What the process may take.
        reads: What it may read beside Python and its packages.
    """
    document = {**order, "name": point.name, "value": point.value, "group": point.group, "output": str(place.output)}
    path = place.folder / "order.json"
    path.write_text(json.dumps(document))
    environment = {
        "PYTHONPATH": os.pathsep.join(p for p in sys.path if p),
        "PYTHONSAFEPATH": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        # Threads cost memory, and other recordings are read at the same time.
        **dict.fromkeys(("POLARS_MAX_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "2"),
    }
    command = [sys.executable, "-m", host, str(path)]
    packages = [*map(Path, (*filter(None, sys.path), *_libraries())), *reads]
    return run_isolated(command, folder=place.folder, environment=environment, reads=packages, bounds=bounds)


def _libraries() -> set[str]:
    """Return where Python and its packages are."""
    return {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}


def read_answer(output: Path) -> Any:  # noqa: ANN401 - JSON
    """Read the answer of a process from its folder; `None` when there is none, or no JSON."""
    try:
        return json.loads(read_regular(output / ANSWER, _MAX_ANSWER_BYTES, follow=False))
    except (OSError, ValueError, RecursionError):
        return None
