"""Work that all hosts share: load the object of an entry point, do what the order says with it, and answer last.

A process that dies has no answer. Nothing of the other package is imported anywhere else.
"""

import json
import sys
from collections.abc import Callable, Mapping
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

from argus_assets.plugins.protocol import ANSWER, SETTINGS

Action = Callable[[Any, Mapping[str, Any]], object]
"""Takes the plug-in and the order, and returns the answer."""


def serve(actions: Mapping[str, Action]) -> None:
    """Do what the order says: a JSON file, whose path is the argument of this process.

    Args:
        actions: By what the order calls them.
    """
    order: dict[str, Any] = json.loads(Path(sys.argv[1]).read_text())
    loaded = EntryPoint(order["name"], order["value"], order["group"]).load()
    plug_in = loaded() if isinstance(loaded, type) else loaded
    answer = actions[order["do"]](plug_in, order)
    (Path(order["output"]) / ANSWER).write_text(json.dumps(answer))


def description(plug_in: Any, method: str) -> dict[str, Any]:  # noqa: ANN401 - of another package
    """Return what plug-ins of all kinds say of themselves, as `process.Description` has it.

    Args:
        plug_in: The plug-in.
        method: What it must have, with its arguments: `find(drive)`.

    Raises:
        TypeError: It has no such method.
    """
    if not callable(getattr(plug_in, method.partition("(")[0], None)):
        msg = f"{type(plug_in).__name__} has no method {method}"
        raise TypeError(msg)
    return {
        "name": plug_in.name,
        "version": plug_in.version,
        "bounds": {name: getattr(plug_in, name) for name in SETTINGS if hasattr(plug_in, name)},
    }
