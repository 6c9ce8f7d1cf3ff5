"""Declarations of detectors: sources of their events, and severities of their reports.

The tables are declared from these, so nothing here or in a `declaration.py` knows a table or a detector.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Severity(StrEnum):
    """How bad a fault is, mildest first."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"
    CRITICAL = "critical"


@dataclass(frozen=True, slots=True, kw_only=True)
class Declaration:
    """A detector of this package, as `detectors.DETECTORS` lists it.

    Attributes:
        name: Its name, in lower case, by which a fleet disables it.
        module: The module that implements `detection.Detector`. Named, not imported: detectors fill the tables that are
            declared from here.
        sources: Values of the column `source` of its events.
        severities: Rule text → severity. Its reports name the rule; nothing else decides the severity of a fault.
        left_to_dictionary: Rules of reports that state a fault without a severity.
        reads: Contents of the frames that it wants, for the note on those that are left out; empty for a detector that
            reads every frame that it wants.
    """

    name: str
    module: str
    sources: tuple[str, ...]
    severities: Mapping[str, Severity] = field(default_factory=dict)
    left_to_dictionary: frozenset[str] = frozenset()
    reads: str = ""
