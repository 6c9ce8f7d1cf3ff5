"""The completion manifest: the list of what a vehicle has dropped. Hostile input until it is parsed.

The JSON schema in `docs/manifest.schema.json` is made from the models here.
"""

import json
import re
import unicodedata
from datetime import datetime
from hashlib import sha256
from typing import Annotated, Any, Final, Literal, Self

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from argus_assets.drop.keys import BATCH_ID, VEHICLE_ID, VERSION_MARK, is_hidden, printable
from argus_assets.errors import BadManifest

MAX_MANIFEST_BYTES: Final = 16 * 1024**2
MAX_FILES: Final = 10_000
MAX_SEGMENT_BYTES: Final = 255
MAX_NAME_BYTES: Final = 800
"""An S3 key has at most 1,024 bytes; the prefix takes the rest."""

MAX_VALUES: Final = 250_000
"""Objects, arrays and members of a manifest's JSON: far more than 10,000 files need, few enough for memory."""

FIRST_YEAR: Final = 1970
LAST_YEAR: Final = 2199

# An unterminated string matches to the end of the text: searching again for its end would take quadratic time.
_STRING: Final = re.compile(rb'"(?:[^"\\]|\\.)*+(?:"|\\?\Z)', re.DOTALL)
_MARKS: Final = (b",", b"[", b"{")
_NOT_PRINTED: Final = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
_MAX_MEMBERS: Final = {"document": 32, "file": 8, "ecu_releases": 500}
_MAX_SHOWN_CHARACTERS: Final = 1000


def _composed(text: str) -> str:
    """Normalise a text to NFC, one form for what looks the same, and refuse what does not print.

    Raises:
        ValueError: It has a character that does not print, or turns the direction of writing.
    """
    if any(unicodedata.category(c) in _NOT_PRINTED for c in text):
        raise ValueError("a character that does not print")
    return unicodedata.normalize("NFC", text)


def _plausible(moment: datetime) -> datetime:
    """Refuse times that a partition key cannot hold, whatever their offset.

    Raises:
        ValueError: The time is before 1970 or after 2199.
    """
    # The year as written: conversion to UTC fails at the ends of the calendar.
    if not FIRST_YEAR <= moment.year <= LAST_YEAR:
        raise ValueError(f"a time outside of {FIRST_YEAR} to {LAST_YEAR}")
    return moment


Label = Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[^\x00-\x1f\x7f]+$"), AfterValidator(_composed)]
Moment = Annotated[AwareDatetime, AfterValidator(_plausible)]


class ManifestFile(BaseModel):
    """One recording of the batch."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    name: Annotated[str, Field(min_length=1, description="Path inside the batch, with forward slashes.")]
    size: Annotated[int, Field(ge=0, lt=2**50, description="Size in bytes.")]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$", description="SHA-256 of the content, lower-case hex.")]

    @field_validator("name")
    @classmethod
    def _stays_inside(cls, name: str) -> str:
        problem = name_problem(name)
        if problem:
            raise ValueError(problem)
        return name


class Manifest(BaseModel):
    """The completion manifest of one batch: dropped last, it marks the batch as complete."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[1] = 1
    vehicle_id: Annotated[str, Field(pattern=f"^{VEHICLE_ID.pattern}$")]
    vin: Annotated[
        str,
        Field(
            pattern=r"^[A-HJ-NPR-Z0-9]{17}$",
            description="Vehicle identification number (ISO 3779). Personal data: it never leaves the manifest.",
        ),
    ]
    batch_id: Annotated[str, Field(pattern=f"^{BATCH_ID.pattern}$")]
    release: Annotated[Label, Field(description="Software release the vehicle ran.")]
    ecu_releases: Annotated[
        dict[Label, Label], Field(max_length=500, description="Software release by ECU, where known.")
    ] = {}
    platform: Annotated[Label, Field(description="Vehicle platform, such as `truck`.")]
    recorded_from: Annotated[Moment, Field(description="Start of the drive, with its offset from UTC.")]
    recorded_to: Annotated[Moment, Field(description="End of the drive, with its offset from UTC.")]
    files: Annotated[tuple[ManifestFile, ...], Field(min_length=1, max_length=MAX_FILES)]

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.recorded_to < self.recorded_from:
            raise ValueError(
                f"recorded_to {self.recorded_to.isoformat()} is before recorded_from {self.recorded_from.isoformat()}"
            )
        seen: dict[str, str] = {}
        for file in self.files:
            folded = unicodedata.normalize("NFC", file.name).casefold()
            if folded in seen:
                raise ValueError(f"files: {file.name!r} and {seen[folded]!r} are the same name on some file systems")
            seen[folded] = file.name
        return self

    @property
    def size_bytes(self) -> int:
        """Sum of the files' sizes."""
        return sum(f.size for f in self.files)


def name_problem(name: str) -> str | None:
    """Return why a file name cannot be used, `None` when it can: it must stay inside its batch and be printable."""
    if len(name.encode(errors="surrogatepass")) > MAX_NAME_BYTES:
        return f"a file name of more than {MAX_NAME_BYTES} bytes"
    if re.search(r"[\\]", name) or any(unicodedata.category(c) in _NOT_PRINTED for c in name):
        return f"file name {name!r} has a backslash or a character that does not print"
    if VERSION_MARK in name:
        return f"file name {name!r} reads as a version of another file: leave {VERSION_MARK!r} out"
    for segment in name.split("/"):
        if segment in {"", ".", ".."}:
            return f"file name {name!r} leaves its batch or has an empty part: use names like `rec/0001.mcap`"
        if len(segment.encode()) > MAX_SEGMENT_BYTES:
            return f"file name {name[:40]!r}… has a part of more than {MAX_SEGMENT_BYTES} bytes"
    if is_hidden(name):
        return f"file name {name!r} is hidden: no part of it may begin with a dot, because copying programs put unfinished files there"
    return None


def parse_manifest(raw: bytes, *, vehicle_id: str, batch_id: str) -> Manifest:
    """Parse a manifest and check it against the key that it was dropped under.

    Args:
        raw: The object's bytes.
        vehicle_id: From its key.
        batch_id: From its key.

    Raises:
        BadManifest: It is too large, not JSON, not a manifest, or of another batch.
    """
    where = f"The manifest of batch {vehicle_id}/{batch_id}"
    if len(raw) > MAX_MANIFEST_BYTES:
        raise BadManifest(
            f"{where} has {len(raw)} bytes, expected at most {MAX_MANIFEST_BYTES}.",
            help="Split the drive into batches.",
        )
    try:
        if _too_many_values(raw):
            raise BadManifest(
                f"{where} has more than {MAX_VALUES} values.",
                help=f"A manifest names at most {MAX_FILES} files; split the drive into batches.",
            )
        document = json.loads(raw.decode("utf-8"), object_pairs_hook=_members, parse_constant=_no_number)
    except UnicodeDecodeError as error:
        raise BadManifest(f"{where} is not UTF-8: byte {error.start}.", help="Write it as UTF-8 JSON.") from error
    except (ValueError, RecursionError) as error:
        raise BadManifest(f"{where} is not JSON: {_shown(error)}.", help="See docs/manifest.schema.json.") from error
    problem = _too_many(document)
    if problem:
        raise BadManifest(f"{where} is not a manifest: {problem}.", help="See docs/manifest.schema.json.")
    try:
        manifest = Manifest.model_validate(document)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)
        shown = "; ".join(
            f"{_shown('.'.join(map(str, e['loc'])) or 'document')}: {_shown(e['msg'])}" for e in first[:5]
        )
        more = f" (and {len(first) - 5} more)" if len(first) > 5 else ""
        raise BadManifest(f"{where} is not a manifest: {shown}{more}.", help="See docs/manifest.schema.json.") from None
    if (manifest.vehicle_id, manifest.batch_id) != (vehicle_id, batch_id):
        raise BadManifest(
            f"{where} names batch {manifest.vehicle_id}/{manifest.batch_id}.",
            help="Drop it as inbox/<vehicle_id>/<batch_id>.json with the ids that it names.",
        )
    return manifest


def _too_many_values(raw: bytes) -> bool:
    """Return whether a JSON text has more than `MAX_VALUES`, without parsing it: marks outside of strings are counted."""
    if sum(raw.count(mark) for mark in _MARKS) <= MAX_VALUES:
        return False
    outside = end = 0
    for strings, found in enumerate(_STRING.finditer(raw)):
        outside += sum(raw.count(mark, end, found.start()) for mark in _MARKS)
        end = found.end()
        if outside > MAX_VALUES or strings > MAX_VALUES:
            return True
    return outside + sum(raw.count(mark, end) for mark in _MARKS) > MAX_VALUES


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Build a JSON object, refusing duplicate names: parsers differ in which of two members counts.

    Raises:
        ValueError: Two members have one name.
    """
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("two members of an object have the same name")
    return members


def _no_number(text: str) -> float:
    raise ValueError(f"{text} is not a JSON number")


def _too_many(document: object) -> str | None:
    """Return what there is too much of, before every part of it is validated and reported on its own."""
    if not isinstance(document, dict):
        return "the document is not an object"
    files, ecus = document.get("files"), document.get("ecu_releases")
    if len(document) > _MAX_MEMBERS["document"]:
        return f"{len(document)} members"
    if isinstance(files, list):
        if len(files) > MAX_FILES:
            return f"files: {len(files)} of them, expected at most {MAX_FILES}"
        if any(isinstance(file, dict | list) and len(file) > _MAX_MEMBERS["file"] for file in files):
            return "files: one with too many members"
    if isinstance(ecus, dict) and len(ecus) > _MAX_MEMBERS["ecu_releases"]:
        return f"ecu_releases: {len(ecus)} of them, expected at most {_MAX_MEMBERS['ecu_releases']}"
    return None


def _shown(text: object) -> str:
    """Make a text from outside short and printable: it goes to terminals, pages and databases."""
    whole = str(text)
    return printable(whole[:_MAX_SHOWN_CHARACTERS]) + ("…" if len(whole) > _MAX_SHOWN_CHARACTERS else "")


def manifest_digest(raw: bytes) -> str:
    """Return the first 16 hex digits of the SHA-256, which identify a manifest by content, unlike a store's ETags."""
    return sha256(raw).hexdigest()[:16]


def json_schema() -> dict[str, Any]:
    """Return the JSON schema of a manifest."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **Manifest.model_json_schema()}
