"""Limits of readers that an operator sets: a TOML file, read strictly."""

from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, Field, create_model

from argus_assets.common.config_files import Strict, read_toml
from argus_assets.recordings.model import DEFAULT_LIMITS, Limits

GUIDE: Final = "docs/recordings.md"
_NOT_SET: Final = ("workers", "batch_frames")
"""They change how a recording is read, not how much of it."""


@cache
def _file() -> type[BaseModel]:
    """Read the file: its table `[recording]` has each limit that may be set, with its type and default."""
    names = [f.name for f in fields(DEFAULT_LIMITS) if f.name not in _NOT_SET]
    declared: dict[str, Any] = {
        name: (type(getattr(DEFAULT_LIMITS, name)), Field(getattr(DEFAULT_LIMITS, name), gt=0)) for name in names
    }
    recording = create_model("Recording", __base__=Strict, **declared)
    return create_model("LimitsFile", __base__=Strict, recording=(recording, Field(default_factory=recording)))


def read_limits(path: Path | None) -> Limits:
    """Return the limits that a file sets; those that it does not name, and all without a file, are the defaults.

    Args:
        path: TOML file with a table `[recording]` whose keys are attributes of `model.Limits`.

    Raises:
        BadSetting: There is no such file, or something in it cannot be used.
    """
    if path is None:
        return DEFAULT_LIMITS
    read: Any = read_toml(path, _file(), what="limits", setting="ARGUS_LIMITS or --limits", guide=GUIDE)
    return Limits(**read.recording.model_dump())
