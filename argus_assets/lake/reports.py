"""Reports of the last passes of maintenance, one file of the lake each."""

from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from pydantic import BaseModel

from argus_assets.lake import layout
from argus_assets.lake.store import Lake
from argus_assets.maintenance.reconcile import ReconcileReport
from argus_assets.maintenance.retention import RetentionReport
from argus_assets.maintenance.stale_uploads import StaleUploads

_Report = TypeVar("_Report", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class ReportFile(Generic[_Report]):
    """A report that each pass replaces.

    Attributes:
        path: Path in the lake.
        model: Model of its content.
    """

    path: str
    model: type[_Report]

    def load(self, lake: Lake) -> _Report | None:
        """Return the report of the last pass; `None` before the first, or when another version wrote it differently."""
        if not lake.exists(self.path):
            return None
        try:
            return self.model.model_validate_json(lake.read_bytes(self.path))
        except ValueError:
            return None

    def save(self, lake: Lake, report: _Report) -> None:
        """Replace the report."""
        lake.write_bytes(self.path, report.model_dump_json(indent=2).encode())


RECONCILE: Final = ReportFile(layout.RECONCILE_REPORT, ReconcileReport)
"""Last pass over the bucket that changed something, with its progress until it has ended."""

RETENTION: Final = ReportFile(layout.RETENTION_REPORT, RetentionReport)
"""Last pass that removed something."""

STALE_UPLOADS: Final = ReportFile(layout.STALE_UPLOADS_REPORT, StaleUploads)
"""Last complete pass."""
