"""The drop bucket: a thin, thread-safe layer over fsspec that knows keys, sizes and errors, but not batches.

Works on `s3://bucket[/prefix]` and on a folder (`folder.py`). Keys are relative to the root. Objects are put whole or not
at all.
"""

import errno
import os
from collections.abc import Generator, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from itertools import islice
from pathlib import PurePosixPath
from typing import Any, BinaryIO, Final, Self, cast

import fsspec
from fsspec.asyn import sync
from fsspec.implementations.local import LocalFileSystem

from argus_assets.common.storage_errors import storage_errors
from argus_assets.drop.folder import Folder
from argus_assets.drop.keys import BATCH_ID, INBOX, VEHICLE_ID, VERSION_MARK, BatchRef, is_hidden
from argus_assets.drop.stream import RangedSource
from argus_assets.errors import BadFile, BadSetting, PermanentError

PART_BYTES: Final = 8 * 1024**2
"""Size of the parts of a multipart upload."""

SHA256_METADATA: Final = "sha256"
"""User metadata of an S3 object with its SHA-256 (`x-amz-meta-sha256`)."""

_LIST_PAGE: Final = 1000


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """An object of the bucket.

    Attributes:
        key: Key, relative to the root of the bucket.
        size: Bytes.
        etag: Changes with the content (S3) or with each write (folder).
        modified: When it was put, in UTC.
        sha256: As stated by its uploader, only where requested and known.
    """

    key: str
    size: int
    etag: str
    modified: datetime | None = None
    sha256: str | None = None


@dataclass(frozen=True, slots=True)
class UnfinishedUpload:
    """A multipart upload that was neither completed nor aborted."""

    key: str
    upload_id: str
    initiated: datetime


class Bucket:
    """Objects under one root."""

    def __init__(self, fs: fsspec.AbstractFileSystem, root: str, url: str) -> None:
        # What S3 adds (call_s3, metadata) is not in fsspec's base class, and s3fs is not imported here.
        self.fs: Any = fs
        self.url = url
        self._root = root.rstrip("/")
        self.is_local = isinstance(fs, LocalFileSystem)
        self._folder = Folder(self._root)
        self.only_new = False
        """Ask the store not to replace objects, as a policy may require of a vehicle."""

    @classmethod
    def from_url(cls, url: str, *, storage_options: Mapping[str, object] | None = None) -> Self:
        """Open a bucket.

        Args:
            url: `s3://bucket[/prefix]`, `file://…` or a folder path.
            storage_options: Options of the file system. By default, endpoint and credentials of S3 come from the standard
                `AWS_…` variables.

        Raises:
            BadSetting: The URL cannot be used.
        """
        remote = "://" in url and not url.startswith(("file:", "local:"))
        options: dict[str, Any] = {"use_listings_cache": False, "default_block_size": PART_BYTES} if remote else {}
        try:
            fs, root = fsspec.url_to_fs(url, **options, **(storage_options or {}))
        except (ValueError, ImportError) as error:
            raise BadSetting(
                f"The bucket URL {url!r} cannot be used: {error}", help="Give s3://bucket or a folder."
            ) from error
        return cls(fs, str(root), url)

    def path(self, key: str) -> str:
        """Return an object's path in the file system.

        Raises:
            PermanentError: The key leaves the bucket.
        """
        if key.startswith("/") or ".." in PurePosixPath(key).parts:
            raise PermanentError(f"Key {key!r} leaves the bucket.", help="Keys are relative and have no `..`.")
        return self._listed(key)

    def _listed(self, key: str) -> str:
        """Return the path of a key from a listing. S3 takes keys literally: `..` in one leads nowhere.

        Raises:
            PermanentError: The client would take it for another object's key.
        """
        if self.is_local and ".." in PurePosixPath(key).parts:
            raise PermanentError(f"Key {key!r} leaves the bucket.", help="Keys are relative and have no `..`.")
        if not self.is_local and VERSION_MARK in key:
            raise PermanentError(f"Key {key!r} reads as a version of another object.", help="Put it by another name.")
        return f"{self._root}/{key}"

    def ensure(self) -> None:
        """Make the folder of a folder bucket; an S3 bucket must exist."""
        if self.is_local:
            self._folder.ensure()

    # ------------------------------------------------------------------------------------------ listing

    def list_inbox(self, *, limit: int, start_after: str = "") -> list[ObjectInfo]:
        """Return up to `limit` objects of the inbox in key order, after the key `start_after`. Costs as much as it returns."""
        return list(islice(self._list(INBOX, start_after), limit))

    def list_prefix(self, prefix: str, *, limit: int | None = None) -> list[ObjectInfo]:
        """Return up to `limit` objects below `prefix`, which ends in a slash, in key order."""
        return list(islice(self._list(prefix, ""), limit))

    def iterate(self, prefix: str, *, start_after: str = "") -> Iterator[ObjectInfo]:
        """Iterate over objects below `prefix`, which ends in a slash, in key order, after the key `start_after`.

        On S3 a page is requested when it is needed, so memory does not grow with the number of objects.
        """
        return self._list(prefix, start_after)

    def list_names(self, prefix: str) -> list[str]:
        """Return the sorted names one level below a prefix: of objects, and of prefixes of objects."""
        return sorted(self._children(prefix.rstrip("/")))

    def list_unfinished_uploads(self, prefix: str, *, limit: int) -> list[UnfinishedUpload]:
        """Return up to `limit` multipart uploads below a prefix that were neither completed nor aborted.

        A folder has none.
        """
        if self.is_local:
            return []
        name, lead = self._bucket_and_lead()
        with self._errors("list uploads", prefix):
            page = self.fs.call_s3(
                "list_multipart_uploads", Bucket=name, Prefix=f"{lead}{prefix}", MaxUploads=min(limit, _LIST_PAGE)
            )
        return [
            UnfinishedUpload(item["Key"].removeprefix(lead), item["UploadId"], item["Initiated"])
            for item in page.get("Uploads", ())
            if item["Key"].startswith(f"{lead}{prefix}")
        ][:limit]

    def now(self) -> datetime:
        """Return the time of the clock that also stamps the objects: the store's, or this machine's for a folder."""
        if self.is_local:
            return datetime.now(UTC)
        name, _ = self._bucket_and_lead()
        with self._errors("ask the time of", name):
            page = self.fs.call_s3("head_bucket", Bucket=name)
        stated = page["ResponseMetadata"]["HTTPHeaders"].get("date")
        return parsedate_to_datetime(stated) if stated else datetime.now(UTC)

    def list_batches(self) -> list[BatchRef]:
        """Return all batches with a recording, a waiting or a quarantined manifest, in order."""
        found: set[BatchRef] = set()
        for top, suffix in (("batches", ""), ("inbox", ".json"), ("quarantine", "")):
            for vehicle in self._children(top):
                if not VEHICLE_ID.fullmatch(vehicle):
                    continue
                for name in self._children(f"{top}/{vehicle}"):
                    batch = name.removesuffix(suffix) if suffix else name
                    if BATCH_ID.fullmatch(batch) and (not suffix or name.endswith(suffix)):
                        found.add(BatchRef(vehicle, batch))
        return sorted(found)

    def stat(self, key: str) -> ObjectInfo | None:
        """Return size, ETag and stated SHA-256 of an object, `None` when there is none."""
        path = self.path(key)
        with self._errors("look up", key):
            if self.is_local:
                found = self._folder.stat(key)
                return None if found is None else _of_folder(key, found)
            try:
                info = self.fs.info(path)
            except FileNotFoundError:
                return None
            if info.get("type") != "file":
                return None
            stated = self.fs.metadata(path).get(SHA256_METADATA)
            etag = str(info.get("ETag", "")).strip('"')
            return ObjectInfo(key, info["size"], etag, info.get("LastModified"), stated)

    def exists(self, key: str) -> bool:
        """Return whether an object exists."""
        path = self.path(key)
        with self._errors("look up", key):
            if self.is_local:
                return self._folder.stat(key) is not None
            try:
                return self.fs.info(path).get("type") == "file"
            except FileNotFoundError:
                return False

    # ------------------------------------------------------------------------------------------ reading

    def read(self, key: str, *, max_bytes: int) -> bytes:
        """Return the bytes of an object.

        Raises:
            BadFile: There is none, or it has more than `max_bytes`.
        """
        with self.open(key) as file, self._errors("read", key):
            data = file.read(max_bytes + 1)
        if len(data) > max_bytes:
            raise BadFile(f"Object {key} has more than the {max_bytes} bytes that are read of such an object.")
        return data

    @contextmanager
    def open(self, key: str) -> Generator[BinaryIO]:
        """Open an object for reading; the file seeks and reads ranges.

        Raises:
            BadFile: There is none.
        """
        path = self.path(key)
        with self._errors("read", key), self._folder.open(key) if self.is_local else self.fs.open(path, "rb") as file:
            yield cast(BinaryIO, file)

    @contextmanager
    def stream(self, key: str, *, size: int) -> Generator[RangedSource]:
        """Open an object of `size` bytes for one reader that goes forward: parallel ranged reads, and its hash.

        Raises:
            BadFile: There is none.
        """
        path = self.path(key)
        if self.is_local:
            with self._errors("read", key), self._folder.open(key) as file:
                number = file.fileno()
                with RangedSource(lambda start, end: os.pread(number, end - start, start), size) as source:
                    yield source
            return

        def fetch(start: int, end: int) -> bytes:
            with self._errors("read", key):
                return bytes(self.fs.cat_file(path, start=start, end=end))  # type: ignore[arg-type] # always binary

        with RangedSource(fetch, size) as source:
            yield source

    # ------------------------------------------------------------------------------------------ writing

    def put(self, key: str, data: bytes) -> None:
        """Put an object whole."""
        target = self.path(key)
        with self._errors("write", key):
            if self.is_local:
                with self._folder.create(key) as file:
                    file.write(data)
            elif not self.only_new:
                self.fs.pipe_file(target, data)
            elif not self._create(target, data):
                raise BadFile(f"Object {key} exists and may not be replaced.", help="Wait until it was taken.")

    def put_new(self, key: str, data: bytes) -> bool:
        """Put an object whole where there is none; return `False` when there is one, which is left alone."""
        target = self.path(key)
        with self._errors("write", key):
            if self.is_local:
                try:
                    with self._folder.create(key, replace=False) as file:
                        file.write(data)
                except FileExistsError:
                    return False
                return True
            # A store without conditional writes overwrites: checking before makes that unlikely.
            if self.exists(key):
                return False
            return self._create(target, data)

    def upload_form(self, key: str, *, max_bytes: int, seconds: int) -> dict[str, Any]:
        """Return a presigned POST: its holder may put this one object of at most `max_bytes`, for `seconds` seconds.

        It is the only way of S3 to bound the size of what a vehicle puts. It has the `url` and the `fields` of a
        multipart/form-data request; the file is its last field, `file`.

        Raises:
            BadSetting: The bucket is a folder.
        """
        if self.is_local:
            raise BadSetting("A folder bucket takes no uploads over HTTP.", help="Use a bucket of an S3 server.")
        name, lead = self._bucket_and_lead()
        self.path(key)
        with self._errors("sign an upload of", key):
            self.fs.connect()
            form: Any = sync(
                self.fs.loop,
                self.fs.s3.generate_presigned_post,
                Bucket=name,
                Key=f"{lead}{key}",
                Conditions=[["content-length-range", 0, max_bytes]],
                ExpiresIn=seconds,
            )
            return form

    @contextmanager
    def create(self, key: str, *, sha256: str) -> Generator[BinaryIO]:
        """Open an object for writing as a stream; it appears when the block succeeds, else nothing appears.

        On S3 it is uploaded in parts of `PART_BYTES`, with `sha256` as metadata. With `only_new`, an existing object
        is kept: its content is compared when it is read.
        """
        target = self.path(key)
        with self._errors("write", key):
            if self.is_local:
                with self._folder.create(key) as file:
                    yield file
                return
            mode = "xb" if self.only_new else "wb"
            file = self.fs.open(target, mode, block_size=PART_BYTES, Metadata={SHA256_METADATA: sha256})
            try:
                yield cast(BinaryIO, file)
            except BaseException:
                file.discard()
                # A discarded file must not be completed by its own close.
                file.closed = True
                raise
            if file.tell() == 0:
                # s3fs would put an empty object without its metadata.
                file.closed = True
                self._create(target, b"", replace=not self.only_new, Metadata={SHA256_METADATA: sha256})
            with self._unless_there():
                file.close()

    def copy(self, source: str, target: str) -> None:
        """Copy an object inside the bucket; `source` may be any key from a listing."""
        old, new = self._listed(source), self.path(target)
        with self._errors("copy", source):
            if self.is_local:
                self._folder.copy(source, target)
            else:
                self.fs.cp_file(old, new)

    def delete(self, key: str) -> None:
        """Delete an object by any key from a listing; a missing one is fine."""
        path = self._listed(key)
        with self._errors("delete", key):
            if self.is_local:
                self._folder.delete(key)
                return
            try:
                self.fs.rm_file(path)
            except FileNotFoundError:
                return

    # ------------------------------------------------------------------------------------------ inside

    def _list(self, prefix: str, start_after: str) -> Iterator[ObjectInfo]:
        with self._errors("list", prefix):
            yield from self._list_folder(prefix, start_after) if self.is_local else self._list_s3(prefix, start_after)

    def _list_folder(self, prefix: str, start_after: str) -> Iterator[ObjectInfo]:
        self.path(prefix)
        return (_of_folder(key, found) for key, found in self._folder.walk(prefix, start_after))

    def _list_s3(self, prefix: str, start_after: str) -> Iterator[ObjectInfo]:
        """Yield the objects of all pages of ListObjectsV2, with StartAfter."""
        name, lead = self._bucket_and_lead()
        arguments: dict[str, Any] = {"Bucket": name, "Prefix": f"{lead}{prefix}", "MaxKeys": _LIST_PAGE}
        if start_after:
            arguments["StartAfter"] = f"{lead}{start_after}"
        while True:
            page = self.fs.call_s3("list_objects_v2", **arguments)
            for item in page.get("Contents", ()):
                key = item["Key"].removeprefix(lead)
                if not key.endswith("/"):
                    yield ObjectInfo(key, item["Size"], item["ETag"].strip('"'), item["LastModified"])
            if not page.get("IsTruncated"):
                return
            arguments["ContinuationToken"] = page["NextContinuationToken"]

    def _create(self, target: str, data: bytes, *, replace: bool = False, **arguments: object) -> bool:
        """Put an object on S3; return `False` when there is one that is not to be replaced."""
        with self._unless_there() as outcome:
            self.fs.pipe_file(target, data, mode="overwrite" if replace else "create", **arguments)
        return not outcome

    @contextmanager
    def _unless_there(self) -> Generator[list[OSError]]:
        """Catch the refusal of a conditional put, and hand it out."""
        refused: list[OSError] = []
        try:
            yield refused
        except FileExistsError as error:
            refused.append(error)
        except OSError as error:
            if error.errno != errno.EINVAL:  # how s3fs reports a failed precondition
                raise
            refused.append(error)

    def _bucket_and_lead(self) -> tuple[str, str]:
        """Return the name of the S3 bucket, and the prefix of all our keys in it."""
        name, _, base = self._root.partition("/")
        return name, f"{base}/" if base else ""

    def _children(self, prefix: str) -> list[str]:
        """Return the names one level below a prefix."""
        path = self.path(prefix)
        with self._errors("list", prefix):
            if self.is_local:
                return self._folder.names(prefix)
            try:
                names = self.fs.ls(path, detail=False)
            except FileNotFoundError:
                return []
        return [n for n in (str(name).rstrip("/").rsplit("/", 1)[-1] for name in names) if not is_hidden(n)]

    def _errors(self, verb: str, key: str) -> AbstractContextManager[None]:
        """Translate what the file system raises."""
        return storage_errors(
            verb, f"{key!r} in {self.url}", missing=BadFile, missing_help="Check that the bucket and the file exist."
        )


def _of_folder(key: str, found: os.stat_result) -> ObjectInfo:
    etag = f"{found.st_mtime}-{found.st_size}-{found.st_ino}"
    return ObjectInfo(key, found.st_size, etag, datetime.fromtimestamp(found.st_mtime, UTC))
