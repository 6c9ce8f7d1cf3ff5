"""Typed events (`argus_assets.events`) as Dagster's materialisations and observations, and back."""

from collections.abc import Mapping
from dataclasses import fields
from datetime import UTC, datetime
from enum import StrEnum
from functools import cache
from typing import Any, Final

import dagster as dg
from dagster._core.definitions.data_version import CODE_VERSION_TAG, DATA_VERSION_TAG, get_input_data_version_tag
from pydantic import BaseModel, TypeAdapter

from argus_assets.events import (
    NAMED,
    AssetMade,
    BatchCreated,
    DiagnosisMade,
    Event,
    Named,
    OldRemoved,
    StatusChanged,
    asset_of,
)

EVENT_KEY: Final = "argus/event"
"""Metadata key under which an event has its name."""

DIGEST: Final = "manifest_digest"
"""Metadata key of the manifest that an event is about."""

MADE_WITH: Final = "made_with"
"""Metadata key of a materialisation's recipe: what the asset was made with, name → version."""

DATA_VERSION: Final = DATA_VERSION_TAG
"""Tag of a materialisation; of `vehicle_drop` it holds the digest of the manifest."""

CODE_VERSION: Final = CODE_VERSION_TAG

AssetEvent = dg.AssetMaterialization | dg.AssetObservation


def input_version_tag(asset: str) -> str:
    """Return the tag that holds the data version of an input."""
    return get_input_data_version_tag(dg.AssetKey(asset))


def to_dagster(event: Named, *, partition: str | None = None, description: str | None = None) -> AssetEvent:
    """Return what Dagster records of an event.

    Args:
        event: What happened.
        partition: Key of the batch.
        description: Of the event, in a sentence.
    """
    key = dg.AssetKey(asset_of(event))
    metadata = {EVENT_KEY: type(event).__name__, **_metadata(event)}
    if isinstance(event, BatchCreated):
        tags = {DATA_VERSION: event.manifest_digest}
        return dg.AssetMaterialization(key, description=description, metadata=metadata, partition=partition, tags=tags)
    return dg.AssetObservation(key, description=description, metadata=metadata, partition=partition)


def materialization(
    asset: str,
    *,
    partition: str,
    digest: str,
    data_version: str,
    recipe: Mapping[str, str],
    code: str,
    made_from: tuple[str, str] | None,
    metadata: Mapping[str, Any],
) -> dg.AssetMaterialization:
    """Return the materialisation of a stage of a batch, by which Dagster and Argus know later what is out of date.

    Args:
        asset: Its name.
        partition: Key of the batch.
        digest: Of the manifest that it was made from.
        data_version: Hash of its content.
        recipe: What it was made with.
        code: Version of its code.
        made_from: Its input and that one's data version, `None` where that is not known.
        metadata: What the asset says of itself.
    """
    of_input = {} if made_from is None else {input_version_tag(made_from[0]): made_from[1]}
    return dg.AssetMaterialization(
        asset,
        partition=partition,
        metadata={DIGEST: digest, MADE_WITH: dg.MetadataValue.json(dict(recipe)), **metadata},
        tags={DATA_VERSION: data_version, CODE_VERSION: code, **of_input},
    )


def from_dagster(recorded: AssetEvent) -> Event | None:
    """Return the event that Dagster recorded; `None` for what is not of a batch, or of a version that is newer.

    Raises:
        ValueError: It lacks what every event of its name has.
    """
    asset = recorded.asset_key.path[-1]
    values = plain(recorded.metadata)
    name = values.get(EVENT_KEY)
    if name is not None:
        kind = NAMED.get(str(name))
        return None if kind is None else _read(kind, asset, values)
    if isinstance(recorded, dg.AssetObservation) or not values.get(DIGEST):
        return None
    if asset == DiagnosisMade.ASSET:
        return _adapter(DiagnosisMade).validate_python(values)
    return AssetMade(asset=asset, manifest_digest=str(values[DIGEST]))


def name_of(recorded: AssetEvent) -> str | None:
    """Return the name of an event, also of one that this version does not know; `None` for an asset that was made."""
    value = recorded.metadata.get(EVENT_KEY)
    return None if value is None else str(value.value)


def digest_of(recorded: AssetEvent) -> str | None:
    """Return the digest of the manifest that an event is about, `None` where it says none."""
    value = recorded.metadata.get(DIGEST)
    return None if value is None else str(value.value)


def plain(metadata: Mapping[str, dg.MetadataValue]) -> dict[str, Any]:
    """Return the values of metadata: times are seconds since 1970."""
    return {key: value.value for key, value in metadata.items()}


# ---------------------------------------------------------------------------------------------- fields and metadata


def _metadata(event: Named) -> dict[str, Any]:
    values = {f.name: getattr(event, f.name) for f in fields(event)}
    if isinstance(event, StatusChanged):
        del values["asset"]
    if isinstance(event, OldRemoved):
        values |= values.pop("removed")
    return {name: _written(value) for name, value in values.items() if value is not None}


def _written(value: object) -> object:
    match value:
        case datetime():
            return dg.MetadataValue.timestamp(value)
        case StrEnum():
            return str(value)
        case tuple():
            return dg.MetadataValue.json([_document(item) for item in value])
        case _:
            return value


def _document(item: object) -> object:
    return item.model_dump(mode="json") if isinstance(item, BaseModel) else item


def _read(kind: type[Named], asset: str, values: Mapping[str, Any]) -> Named:
    given = dict(values)
    if kind is StatusChanged:
        given["asset"] = asset
    if kind is OldRemoved:
        own = {f.name for f in fields(OldRemoved)} | {EVENT_KEY}
        given["removed"] = {name: value for name, value in values.items() if name not in own}
    for name in _times(kind):
        if isinstance(at := given.get(name), int | float):
            given[name] = datetime.fromtimestamp(at, UTC)
    return _adapter(kind).validate_python(given)


@cache
def _times(kind: type[Named]) -> tuple[str, ...]:
    return tuple(f.name for f in fields(kind) if "datetime" in str(f.type))


@cache
def _adapter(kind: type) -> TypeAdapter[Any]:
    return TypeAdapter(kind)
