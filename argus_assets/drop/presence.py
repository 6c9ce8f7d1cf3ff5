"""Find which files of a batch are in the bucket: by a listing, then by a request for each file that is in doubt.

Some stores serve an object before they list it. What a listing lacks, or has with another size, is looked up before it
is reported as missing.
"""

from contextlib import suppress
from itertools import islice
from typing import Final

from argus_assets.drop.bucket import Bucket, ObjectInfo
from argus_assets.drop.keys import batch_prefix, recording_key
from argus_assets.drop.manifest import MAX_FILES, Manifest
from argus_assets.errors import AccessDenied, Unavailable

MAX_LOOKUPS: Final = 100
"""Most files of one batch that are looked up: a manifest may name 10,000 that were never there."""


def present_files(bucket: Bucket, manifest: Manifest) -> dict[str, ObjectInfo]:
    """Return what is below the prefix of a batch, by file name; at most `MAX_FILES + 1` objects.

    Raises:
        Unavailable: The store did not answer, or its listing omits more existing files than are looked up.
    """
    prefix = batch_prefix(manifest.vehicle_id, manifest.batch_id)
    files = {info.key.removeprefix(prefix): info for info in bucket.list_prefix(prefix, limit=MAX_FILES + 1)}
    if len(files) > MAX_FILES:
        return files
    doubtful = (f for f in manifest.files if (found := files.get(f.name)) is None or found.size != f.size)
    all_there = True
    for file in islice(doubtful, MAX_LOOKUPS):
        found = None
        with suppress(AccessDenied):
            found = bucket.stat(recording_key(manifest.vehicle_id, manifest.batch_id, file.name))
        if found is not None:
            files[file.name] = found
        all_there = all_there and found is not None and found.size == file.size
    if all_there and next(doubtful, None) is not None:
        raise Unavailable(
            f"The listing of {prefix} in {bucket.url} lacks more than {MAX_LOOKUPS} files of the manifest, and those "
            "that were looked up exist.",
            help="The store's listing lags behind. The manifest waits, and is checked again.",
        )
    return files
