"""What the bucket holds of a batch's files: by a listing, and by a look at each file that the listing leaves in doubt.

Some stores list an object later than they hand it out. What a listing does not have, or has with another size, is
looked up before anybody is told that it is missing.
"""

from contextlib import suppress
from itertools import islice
from typing import Final

from argus_assets.drop.bucket import Bucket, ObjectInfo
from argus_assets.drop.keys import batch_prefix, recording_key
from argus_assets.drop.manifest import MAX_FILES, Manifest
from argus_assets.errors import AccessDenied, Unavailable

MAX_LOOKUPS: Final = 100
"""Files of one batch that are looked up: a manifest may name 10,000 that were never there."""


def present_files(bucket: Bucket, manifest: Manifest) -> dict[str, ObjectInfo]:
    """What is below the prefix of a manifest's batch, by file name; of more than `MAX_FILES`, one more than that.

    Raises:
        Unavailable: The store did not answer, or its listing leaves out more files that are there than are looked up.
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
            "that were looked up are there.",
            help="The store's listing lags behind. The manifest waits and is looked at again.",
        )
    return files
