"""Evidence, without a drive."""

from argus_assets.diagnosis.model import Coverage, Evidence, EvidenceItem
from argus_assets.faults.schema import Severity


def coverage(recordings: int = 2, read: int = 2, frames: int = 1000, lost: int = 0) -> Coverage:
    return Coverage(recordings=recordings, recordings_read=read, frames=frames, frames_lost=lost, drive_s=60.0)


def item(number: int, code: str, *, ecu: str = "engine", severity: Severity = Severity.ERROR, at: float = 10.0):
    return EvidenceItem(
        id=f"E{number}", code=code, source="j1939_dm1", ecu=ecu, status="active", severity=severity, occurrences=1,
        frame_count=1, active_s=1.0, active_share_pct=1.0, seconds_into_drive=at, recording="a", frame=number,
    )  # fmt: skip


def evidence(*items: EvidenceItem, covered: Coverage | None = None, total: int | None = None) -> Evidence:
    return Evidence(
        platform="truck", release="1", coverage=covered or coverage(), items=items, codes_total=total or len(items)
    )
