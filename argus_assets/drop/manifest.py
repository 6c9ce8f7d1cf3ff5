"""The completion manifest: what a vehicle says it has dropped. Hostile input until it is parsed.

The JSON schema in `docs/manifest.schema.json` is made from the models here.
"""

import json
import re
import unicodedata
from hashlib import sha256
from typing import Annotated, Any, Final, Literal, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from argus_assets.drop.keys import BATCH_ID, VEHICLE_ID
from argus_assets.errors import BadManifest

MAX_MANIFEST_BYTES: Final = 16 * 1024**2
MAX_FILES: Final = 10_000
MAX_SEGMENT_BYTES: Final = 255
MAX_NAME_BYTES: Final = 800
"""An S3 key has at most 1,024 bytes; the prefix takes the rest."""

Label = Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[^\x00-\x1f\x7f]+$")]


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
    """The completion manifest of one batch: dropped last, it says that everything else is there."""

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
    recorded_from: Annotated[AwareDatetime, Field(description="Start of the drive, with its offset from UTC.")]
    recorded_to: Annotated[AwareDatetime, Field(description="End of the drive, with its offset from UTC.")]
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
    """Why a file name cannot be used, `None` when it can: it must stay inside its batch and be printable."""
    if len(name.encode(errors="surrogatepass")) > MAX_NAME_BYTES:
        return f"a file name of more than {MAX_NAME_BYTES} bytes"
    if re.search(r"[\\]", name) or any(unicodedata.category(c) in {"Cc", "Cf", "Cs", "Zl", "Zp"} for c in name):
        return f"file name {name!r} has a backslash or a character that does not print"
    for segment in name.split("/"):
        if segment in {"", ".", ".."}:
            return f"file name {name!r} leaves its batch or has an empty part: use names like `rec/0001.mcap`"
        if len(segment.encode()) > MAX_SEGMENT_BYTES:
            return f"file name {name[:40]!r}… has a part of more than {MAX_SEGMENT_BYTES} bytes"
    return None


def parse_manifest(raw: bytes, *, vehicle_id: str, batch_id: str) -> Manifest:
    """Parse a manifest and hold it against the key it was dropped under.

    Args:
        raw: The object's bytes.
        vehicle_id: From its key.
        batch_id: From its key.

    Raises:
        BadManifest: It is too large, not JSON, not a manifest, or speaks of another batch.
    """
    where = f"The manifest of batch {vehicle_id}/{batch_id}"
    if len(raw) > MAX_MANIFEST_BYTES:
        raise BadManifest(
            f"{where} has {len(raw)} bytes, expected at most {MAX_MANIFEST_BYTES}.",
            help="Split the drive into batches.",
        )
    try:
        document = json.loads(raw.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise BadManifest(f"{where} is not UTF-8: byte {error.start}.", help="Write it as UTF-8 JSON.") from error
    except (json.JSONDecodeError, RecursionError) as error:
        raise BadManifest(f"{where} is not JSON: {error}.", help="See docs/manifest.schema.json.") from error
    try:
        manifest = Manifest.model_validate(document)
    except ValidationError as error:
        first = error.errors(include_url=False)
        told = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'document'}: {e['msg']}" for e in first[:5])
        more = f" (and {len(first) - 5} more)" if len(first) > 5 else ""
        raise BadManifest(f"{where} is not a manifest: {told}{more}.", help="See docs/manifest.schema.json.") from error
    if (manifest.vehicle_id, manifest.batch_id) != (vehicle_id, batch_id):
        raise BadManifest(
            f"{where} speaks of {manifest.vehicle_id}/{manifest.batch_id}.",
            help="Drop it as inbox/<vehicle_id>/<batch_id>.json with the ids that stand in it.",
        )
    return manifest


def manifest_digest(raw: bytes) -> str:
    """First 16 hex digits of the SHA-256: names a manifest by content, whatever a store's ETags look like."""
    return sha256(raw).hexdigest()[:16]


def json_schema() -> dict[str, Any]:
    """The JSON schema of a manifest."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **Manifest.model_json_schema()}
