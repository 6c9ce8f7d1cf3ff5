"""Drop a simulated drive into a bucket as its vehicle would: recordings first, manifest last.

The same recordings are dropped as another batch or under another release with `dataclasses.replace(drive, …)`.
"""

from collections.abc import Iterable
from datetime import UTC, datetime

from argus_assets.drop.bucket import Bucket
from argus_assets.drop.manifest import Manifest, ManifestFile
from argus_assets.drop.upload import collect_files, drop_manifest, upload_files
from argus_assets.simulate.fleet import Drive


def drop_drive(bucket: Bucket, drive: Drive) -> Manifest:
    """Upload a drive and drop its manifest, which is returned."""
    manifest = upload_drive(bucket, drive)
    drop_manifest(bucket, manifest)
    return manifest


def upload_drive(bucket: Bucket, drive: Drive) -> Manifest:
    """Upload all files in a drive's folder; return its manifest, which is not dropped yet."""
    files = collect_files([drive.folder])
    done = upload_files(bucket, files, vehicle_id=drive.vehicle_id, batch_id=drive.batch_id)
    return drive_manifest(drive, (file.entry for file in done))


def drive_manifest(drive: Drive, files: Iterable[ManifestFile]) -> Manifest:
    """Return the manifest of a drive with these files."""
    return Manifest(
        vehicle_id=drive.vehicle_id,
        vin=drive.vin,
        batch_id=drive.batch_id,
        release=drive.release,
        platform=drive.platform,
        recorded_from=datetime.fromtimestamp(drive.recorded_from_ns / 1e9, UTC),
        recorded_to=datetime.fromtimestamp(drive.recorded_to_ns / 1e9, UTC),
        files=tuple(files),
    )
