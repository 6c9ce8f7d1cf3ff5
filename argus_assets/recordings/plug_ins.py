"""Which plug-ins are in force: declared programs first, then the decoders of installed packages."""

from collections.abc import Iterable
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

from argus_assets.errors import BadRecording
from argus_assets.recordings.declarations import read_declarations
from argus_assets.recordings.entry_points import GROUP, EntryPointDecoder, describe
from argus_assets.recordings.external import ExternalDecoder
from argus_assets.recordings.plug_in_process import unusable_identity
from argus_assets.recordings.registry import DECODERS, Decoders, PlugIn


def load_decoders(declarations: Path | None, *, points: Iterable[EntryPoint] | None = None) -> Decoders:
    """The formats in force. A package whose decoder cannot be used is passed over and noted.

    Args:
        declarations: TOML file of external programs.
        points: Entry points, those of the installed packages unless given.

    Raises:
        BadSetting: The file cannot be used.
    """
    built_in = [d.name for d in DECODERS]
    declared = () if declarations is None else read_declarations(declarations, reserved=built_in)
    plug_ins: list[PlugIn] = [ExternalDecoder(d) for d in declared]
    notes: list[str] = []
    passed_over: list[str] = []
    found = entry_points(group=GROUP) if points is None else points
    for point in sorted(found, key=lambda p: (p.name, p.value)):
        try:
            decoder = describe(point)
        except BadRecording as error:
            notes.append(error.what)
            passed_over.append(unusable_identity(point))
            continue
        if decoder.name in (*built_in, *(d.name for d in plug_ins)):
            notes.append(
                f"The decoder {point.name!r} ({unusable_identity(point)}) is passed over: "
                f"the name {decoder.name!r} is taken."
            )
            passed_over.append(unusable_identity(point))
            continue
        plug_ins.append(decoder)
    # To ask a child takes a process: only for a file that no other plug-in takes.
    plug_ins.sort(key=lambda d: isinstance(d, EntryPointDecoder) and d.asks_child)
    return Decoders(tuple(plug_ins), tuple(notes), tuple(passed_over))
