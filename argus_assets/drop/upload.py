"""Upload a batch as a vehicle does: the files in parallel, as streams, and the manifest last.

Each file is read twice: once for its SHA-256, which an S3 upload has to state at its start, and once to send it.
Memory does not grow with the size of a file. What is already there with the same size and hash is not sent again.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from threading import Event
from typing import Final

from argus_assets.drop.bucket import PART_BYTES, Bucket
from argus_assets.drop.keys import inbox_key, recording_key
from argus_assets.drop.manifest import Manifest, ManifestFile, name_problem
from argus_assets.errors import AccessDenied, BadFile

_READ_BYTES: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class LocalFile:
    """A file to upload and its name inside the batch."""

    path: Path
    name: str
    size: int


@dataclass(frozen=True, slots=True)
class UploadedFile:
    """A file that is in the bucket now.

    Attributes:
        entry: Its entry in the manifest.
        sent: Whether it was sent; otherwise it was already there.
    """

    entry: ManifestFile
    sent: bool


def collect_files(paths: Sequence[Path]) -> list[LocalFile]:
    """Return the files under `paths`: those in folders by their relative names, single files by their own.

    Hidden files are skipped.

    Raises:
        BadFile: A path does not exist, a name cannot be used, two files have the same name, or there are no files.
    """
    found: dict[str, LocalFile] = {}
    for path in paths:
        if path.is_dir():
            inside = sorted(p for p in path.rglob("*") if p.is_file())
            named = [
                (p, p.relative_to(path).as_posix())
                for p in inside
                if not any(s.startswith(".") for s in p.relative_to(path).parts)
            ]
        elif path.is_file():
            named = [(path, path.name)]
        else:
            raise BadFile(f"{path} does not exist.", help="Give files, or a folder of recordings.")
        for file, name in named:
            problem = name_problem(name)
            if problem:
                raise BadFile(f"{file}: {problem}.", help="Rename the file.")
            if name in found:
                raise BadFile(
                    f"{file} and {found[name].path} would both be {name!r}.",
                    help="Drop them as two batches, or rename one.",
                )
            found[name] = LocalFile(file, name, file.stat().st_size)
    if not found:
        raise BadFile(f"No files in {', '.join(map(str, paths))}.", help="Give files, or a folder of recordings.")
    return [found[name] for name in sorted(found)]


def upload_files(
    bucket: Bucket,
    files: Sequence[LocalFile],
    *,
    vehicle_id: str,
    batch_id: str,
    workers: int = 4,
    on_bytes: Callable[[int], None] = lambda _: None,
) -> list[UploadedFile]:
    """Upload the files of a batch. Nothing is processed before `drop_manifest`.

    Args:
        bucket: The drop bucket.
        files: The files.
        vehicle_id: Of the vehicle.
        batch_id: Name of the drive.
        workers: Files sent in parallel.
        on_bytes: Called with the bytes done since the last call: hashed, sent, or found in the bucket, so that the
            total is twice the files' sizes. Called from several threads.

    Raises:
        BadFile: A file changed while it was uploaded.
        Unavailable: The bucket did not answer; calling again continues.
    """
    stop = Event()

    def one(file: LocalFile) -> UploadedFile:
        try:
            return _upload_one(bucket, file, recording_key(vehicle_id, batch_id, file.name), on_bytes, stop)
        except BaseException:
            stop.set()
            raise

    with ThreadPoolExecutor(max_workers=max(1, workers), thread_name_prefix="upload") as pool:
        return list(pool.map(one, files))


def drop_manifest(bucket: Bucket, manifest: Manifest) -> str:
    """Put the completion manifest, the last step of a drop, and return its key."""
    key = inbox_key(manifest.vehicle_id, manifest.batch_id)
    bucket.put(key, manifest_bytes(manifest))
    return key


def manifest_bytes(manifest: Manifest) -> bytes:
    """Serialise a manifest: the same manifest gives the same bytes."""
    return json.dumps(manifest.model_dump(mode="json"), indent=2, sort_keys=True).encode()


def _upload_one(
    bucket: Bucket, file: LocalFile, key: str, on_bytes: Callable[[int], None], stop: Event
) -> UploadedFile:
    digest, size = _hash(_blocks(file.path, stop), on_bytes)
    if size != file.size:
        raise BadFile(
            f"{file.path} grew from {file.size} to {size} bytes while it was read.", help="Upload it once it is closed."
        )
    entry = ManifestFile(name=file.name, size=size, sha256=digest)
    try:
        there = bucket.stat(key)
    except AccessDenied:
        # A vehicle's own credential may only put: it cannot check, so it sends.
        there = None
    if there is not None and there.size == size:
        stated = there.sha256
        if bucket.is_local:
            with bucket.open(key) as old:
                stated, _ = _hash(iter(lambda: old.read(_READ_BYTES), b""), lambda _: None)
        if stated == digest:
            on_bytes(size)
            return UploadedFile(entry, sent=False)
    sent = sha256()
    with bucket.create(key, sha256=digest) as target:
        for block in _blocks(file.path, stop, PART_BYTES):
            sent.update(block)
            target.write(block)
            on_bytes(len(block))
        if sent.hexdigest() != digest:
            raise BadFile(f"{file.path} changed while it was uploaded.", help="Upload it once it is closed.")
    return UploadedFile(entry, sent=True)


def _blocks(path: Path, stop: Event, size: int = _READ_BYTES) -> Iterable[bytes]:
    with path.open("rb") as source:
        while block := source.read(size):
            if stop.is_set():
                raise BadFile(f"{path}: stopped, another file could not be uploaded.")
            yield block


def _hash(blocks: Iterable[bytes], on_bytes: Callable[[int], None]) -> tuple[str, int]:
    digest = sha256()
    size = 0
    for block in blocks:
        digest.update(block)
        size += len(block)
        on_bytes(len(block))
    return digest.hexdigest(), size
