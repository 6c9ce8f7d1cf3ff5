"""An error that names the new place of a module which a user's own file still names by its old one."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

from argus_assets.errors import BadSetting


@dataclass(frozen=True)
class MovedModules(MetaPathFinder):
    """Asked by Python for modules that nobody else finds.

    Attributes:
        file: Name of the file that names them.
        lines: Old module → what to write in its place.
    """

    file: str
    lines: Mapping[str, str]

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None = None,  # noqa: ARG002 - the signature is Python's
        target: ModuleType | None = None,  # noqa: ARG002
    ) -> ModuleSpec | None:
        """Find nothing.

        Raises:
            BadSetting: The module has moved.
        """
        if fullname in self.lines:
            raise BadSetting(
                f"Your {self.file} names {fullname}, which has moved.",
                help=f"In {self.file}, replace it with {self.lines[fullname]}.",
            )
        return None

    def install(self) -> None:
        """Have Python ask from now on."""
        sys.meta_path.append(self)
