"""Load the active plug-ins: declared programs first, then the decoders of installed packages."""

from collections.abc import Iterable
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

from argus_assets.plugins.process import find_usable
from argus_assets.recordings.plugins.declarations import read_declarations
from argus_assets.recordings.plugins.packages import GROUP, EntryPointDecoder, describe
from argus_assets.recordings.plugins.programs import ExternalDecoder
from argus_assets.recordings.registry import DECODERS, Decoders, PlugIn


def load_decoders(declarations: Path | None, *, points: Iterable[EntryPoint] | None = None) -> Decoders:
    """Load the active plug-ins. A package whose decoder cannot be used is skipped and noted.

    Args:
        declarations: TOML file of external programs.
        points: Entry points, those of the installed packages unless given.

    Raises:
        BadSetting: The file cannot be used.
    """
    built_in = [d.name for d in DECODERS]
    declared = () if declarations is None else read_declarations(declarations, reserved=built_in)
    found = entry_points(group=GROUP) if points is None else points
    usable = find_usable("decoder", found, describe, [*built_in, *(d.name for d in declared)])
    plug_ins: list[PlugIn] = [*(ExternalDecoder(d) for d in declared), *usable.plug_ins]
    # To ask a child takes a process: only for a file that no other plug-in takes.
    plug_ins.sort(key=lambda d: isinstance(d, EntryPointDecoder) and d.asks_child)
    return Decoders(tuple(plug_ins), usable.notes, usable.skipped)
