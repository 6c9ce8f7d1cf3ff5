"""Sessions of loggers that write no manifest: which are complete, which files count, and what Argus drops for them.

The layout is that of the CSS CANedge: `<prefix>/<device>/<session>/<split>-<epoch>.<extension>`. The session counts the
power cycles of the device, eight digits; the split counts the files of a session, eight digits; the epoch is the
device's time in seconds, hexadecimal. Extensions are MF4, and MFC, MFE, MFM for compressed and encrypted ones.
Nothing marks the end of a session: it is idle, and taken as complete, when no file has arrived for a configured time.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from itertools import groupby
from pathlib import Path
from typing import Annotated, Final

from pydantic import Field

from argus_assets.common.config_files import Strict, read_toml
from argus_assets.drop.bucket import Bucket, ObjectInfo
from argus_assets.drop.keys import BATCH_ID, VEHICLE_ID, recording_key
from argus_assets.drop.manifest import FIRST_YEAR, LAST_YEAR, MAX_FILES, Label, Manifest, ManifestFile
from argus_assets.drop.upload import drop_manifest
from argus_assets.errors import BadFile, BadSetting, Unavailable

MARKERS: Final = "quiet/"
"""Prefix of the objects that record which sessions were taken: `quiet/<device>/<session>/<fingerprint>`."""

RESERVED: Final = ("batches/", "inbox/", "accepted/", "quarantine/", "results/", MARKERS)

_SPLIT: Final = re.compile(r"(?P<split>\d{8})(?:-(?P<epoch>[0-9A-Fa-f]{8}))?\.(?P<extension>[A-Za-z0-9]{1,4})")
_READ_BYTES: Final = 8 * 1024**2
_UNPACKED: Final = frozenset({"mf4"})


class Logger(Strict):
    """The vehicle in which a logger is."""

    vehicle_id: Annotated[str, Field(pattern=f"^{VEHICLE_ID.pattern}$")]
    vin: Annotated[str, Field(pattern=r"^[A-HJ-NPR-Z0-9]{17}$")]
    platform: Label
    release: Label


class LoggersFile(Strict):
    """`ARGUS_QUIET_LOGGERS`.

    Attributes:
        device: The vehicle of each logger, by the device's id.
    """

    device: dict[str, Logger]


def read_loggers(path: Path) -> Mapping[str, Logger]:
    """Return the vehicle of each logger.

    Raises:
        BadSetting: The file cannot be used.
    """
    found = read_toml(path, LoggersFile, what="loggers", setting="ARGUS_QUIET_LOGGERS", guide="docs/drop.md")
    return found.device


def checked_prefix(prefix: str) -> str:
    """Return the prefix of the loggers, ending in a slash.

    Raises:
        BadSetting: It is empty, or inside a prefix that vehicles or Argus use.
    """
    whole = prefix.strip("/") + "/"
    if whole == "/" or whole.startswith(RESERVED):
        raise BadSetting(
            f"ARGUS_QUIET_PREFIX={prefix!r} cannot be used.", help=f"Not empty and not inside {', '.join(RESERVED)}."
        )
    return whole


@dataclass(frozen=True, slots=True)
class Session:
    """A session as it is in the bucket now.

    Attributes:
        prefix: Prefix of its objects, ending in a slash.
        files: All of its objects.
    """

    device: str
    session: str
    prefix: str
    files: tuple[ObjectInfo, ...]

    @property
    def newest(self) -> datetime | None:
        """Return when the last file arrived, by the store's clock."""
        return max((f.modified for f in self.files if f.modified is not None), default=None)

    @property
    def fingerprint(self) -> str:
        """Hash that changes with every file that arrives or changes."""
        text = "|".join(f"{f.key}@{f.size}@{f.etag}" for f in self.files)
        return sha256(text.encode(errors="surrogatepass")).hexdigest()[:16]

    @property
    def batch_id(self) -> str:
        """`<device>-<session>`."""
        return f"{self.device}-{self.session}"

    @property
    def marker(self) -> str:
        """Key of the object that records that it was taken in this state."""
        return f"{MARKERS}{self.device}/{self.session}/{self.fingerprint}"


def sessions(bucket: Bucket, prefix: str, *, start_after: str = "") -> Iterator[Session]:
    """Yield the sessions below a prefix in key order, one in memory at a time.

    A session of more objects than a manifest may name keeps the first of them.

    Args:
        bucket: The drop bucket.
        prefix: Prefix of the loggers.
        start_after: Key after which the listing starts.
    """

    def of(info: ObjectInfo) -> tuple[str, str]:
        device, _, rest = info.key.removeprefix(prefix).partition("/")
        session, slash, _ = rest.partition("/")
        return (device, session) if slash else (device, "")

    for (device, session), files in groupby(bucket.iterate(prefix, start_after=start_after), key=of):
        if session and BATCH_ID.fullmatch(f"{device}-{session}"):
            kept: list[ObjectInfo] = []
            for info in files:
                if len(kept) <= MAX_FILES:
                    kept.append(info)
            yield Session(device, session, f"{prefix}{device}/{session}/", tuple(kept))


def is_idle(session: Session, *, now: datetime, after: timedelta) -> bool:
    """Return whether no file has arrived for that long, by the store's clock: a logger's own may be wrong by years."""
    newest = session.newest
    return newest is not None and now - newest >= after


def chosen_files(session: Session) -> tuple[ObjectInfo, ...]:
    """Return the files that count: one per split, in order.

    A logger that lost its connection sends a split again, sometimes under another epoch or extension. A plain copy
    counts before a compressed or encrypted one, because readers can read it; then the longest, because a truncated copy
    is the beginning of the whole one; then the latest, because it was sent to replace the other; then the first name.
    """
    by_split: dict[str, list[ObjectInfo]] = {}
    for info in session.files:
        match = _SPLIT.fullmatch(info.key.removeprefix(session.prefix))
        if match is not None:
            by_split.setdefault(match["split"], []).append(info)

    def rank(info: ObjectInfo) -> tuple[bool, int, float, list[int]]:
        extension = info.key.rpartition(".")[2].lower()
        at = info.modified.timestamp() if info.modified is not None else 0.0
        return (extension in _UNPACKED, info.size, at, [-ord(c) for c in info.key])

    return tuple(max(copies, key=rank) for _, copies in sorted(by_split.items()))


def drive_time(names: Sequence[str], files: Sequence[ObjectInfo]) -> tuple[datetime, datetime]:
    """Return start and end of the drive: the epochs of the first and last split, else when the files arrived.

    No name has the end of the last split; its start is used.
    """
    stated: list[datetime] = []
    for name in names:
        match = _SPLIT.fullmatch(name)
        if match is not None and match["epoch"]:
            moment = datetime.fromtimestamp(int(match["epoch"], 16), UTC)
            # A device without a clock counts from 1970, which is not a date.
            if FIRST_YEAR < moment.year <= LAST_YEAR:
                stated.append(moment)
    if not stated:
        stated = [f.modified for f in files if f.modified is not None]
    return min(stated), max(stated)


def drop_session(bucket: Bucket, session: Session, logger: Logger) -> Manifest | None:
    """Copy a session's files into its batch and drop the manifest, as a vehicle would.

    Harmless when repeated: the same files make the same manifest. A repetition after a crash copies what is missing.

    Args:
        bucket: The drop bucket.
        session: As it was listed.
        logger: Its vehicle.

    Returns:
        The manifest, `None` when no file is named like a split.

    Raises:
        BadFile: It has more files than a manifest names.
        Unavailable: A file changed while it was read, or the bucket did not answer; try again.
    """
    chosen = chosen_files(session)
    if not chosen:
        bucket.put(session.marker, b"")
        return None
    if len(session.files) > MAX_FILES:
        raise BadFile(
            f"Session {session.prefix} has more than {MAX_FILES} objects.",
            help="Configure the logger to start new sessions more often.",
        )
    names = [info.key.removeprefix(session.prefix) for info in chosen]
    entries = tuple(_take(bucket, info, name, session, logger) for info, name in zip(chosen, names, strict=True))
    begun, ended = drive_time(names, chosen)
    manifest = Manifest(
        vehicle_id=logger.vehicle_id,
        vin=logger.vin,
        batch_id=session.batch_id,
        release=logger.release,
        platform=logger.platform,
        recorded_from=begun,
        recorded_to=ended,
        files=entries,
    )
    drop_manifest(bucket, manifest)
    # Last: without the marker all of this is repeated, with the same result.
    bucket.put(session.marker, b"")
    return manifest


def _take(bucket: Bucket, info: ObjectInfo, name: str, session: Session, logger: Logger) -> ManifestFile:
    """Hash a file and copy it inside the store."""
    digest = sha256()
    with bucket.open(info.key) as source:
        while block := source.read(_READ_BYTES):
            digest.update(block)
    target = recording_key(logger.vehicle_id, session.batch_id, name)
    there = bucket.stat(target)
    if there is None or there.size != info.size or there.modified is None or _older(there.modified, info.modified):
        bucket.copy(info.key, target)
    now = bucket.stat(info.key)
    if now is None or now.size != info.size or now.etag != info.etag:
        raise Unavailable(f"{info.key} changed while it was taken.", help="It is taken once it is idle again.")
    return ManifestFile(name=name, size=info.size, sha256=digest.hexdigest())


def _older(copied: datetime, put: datetime | None) -> bool:
    return put is None or copied <= put
