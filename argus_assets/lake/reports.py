"""Reports of maintenance, each one file of the lake: what the last pass found and did."""

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
        path: In the lake.
        model: What is in it.
    """

    path: str
    model: type[_Report]

    def load(self, lake: Lake) -> _Report | None:
        """Return the report of the last pass; `None` before the first, or where another version wrote another report."""
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
"""Of the last pass over the bucket that changed something; how far it is, while it is not at its end."""

RETENTION: Final = ReportFile(layout.RETENTION_REPORT, RetentionReport)
"""Of the last pass that removed something."""

STALE_UPLOADS: Final = ReportFile(layout.STALE_UPLOADS_REPORT, StaleUploads)
"""Of the last whole pass."""
