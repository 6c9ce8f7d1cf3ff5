"""Every event survives Dagster's event log, and the log of the last version is read."""

from datetime import UTC, datetime

import dagster as dg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from argus_assets.drop.quarantine import Reason
from argus_assets.event_log.events import EVENT_KEY, digest_of, from_dagster, name_of, to_dagster
from argus_assets.events import (
    NAMED,
    asset_of,
)
from argus_assets.pipeline import BatchState
from tests.support.events_of_last_version import OF_LAST_VERSION

TIMES = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))
TEXTS = st.text(max_size=20)
COUNTS = st.integers(0, 2**53)
SECONDS = st.floats(0, 1e9)
REASONS = st.builds(Reason, kind=st.sampled_from(["bad_manifest", "missing_file"]), file=TEXTS, expected=TEXTS, actual=TEXTS, help=TEXTS)  # fmt: skip
DOCUMENTS = st.lists(st.dictionaries(TEXTS, st.integers() | TEXTS, max_size=3), max_size=3).map(tuple)
OF_TYPE = {"reasons": st.lists(REASONS, max_size=3).map(tuple), "unnamed": DOCUMENTS, "kept": DOCUMENTS}
EVENTS = st.one_of(
    *(
        st.builds(
            kind,
            **{
                name: strategy
                for name, strategy in {
                    **OF_TYPE,
                    "state": st.sampled_from(["parsed", BatchState.FAILED]),
                    "asset": st.sampled_from(["rec_frames", "diagnosis"]),
                    "removed": st.dictionaries(st.sampled_from(["old_runs", "partitions"]), COUNTS),
                }.items()
                if name in kind.__dataclass_fields__
            },
        )
        for kind in NAMED.values()
    )
)
st.register_type_strategy(datetime, TIMES)


@given(EVENTS, st.none() | st.just("2026-11-20_v_b1"))
def test_an_event_comes_back_as_it_was_written(event, partition: str | None) -> None:
    recorded = to_dagster(event, partition=partition, description="In words.")
    stored = dg.deserialize_value(dg.serialize_value(recorded), type(recorded))
    assert from_dagster(stored) == event
    assert (name_of(stored), stored.partition, stored.description) == (type(event).__name__, partition, "In words.")
    assert stored.asset_key.path == [asset_of(event)]
    assert digest_of(stored) == getattr(event, "manifest_digest", None)


def test_names_are_those_that_homes_hold() -> None:
    assert set(NAMED) == {
        "BatchCreated", "DuplicateDropped", "BatchQuarantined", "FileParsed", "StatusChanged", "UploadStalled",
        "BucketReconciled", "OldRemoved",
    }  # fmt: skip


# As version 0.1 wrote them, from its own code.


@pytest.mark.parametrize("kind", OF_LAST_VERSION)
def test_the_log_of_the_last_version_is_read(kind: str) -> None:
    recorded, event = OF_LAST_VERSION[kind]
    assert from_dagster(recorded) == event


def test_an_event_that_lacks_what_its_kind_has_is_refused() -> None:
    with pytest.raises(ValueError, match="recording"):
        from_dagster(dg.AssetObservation("rec_frames", metadata={EVENT_KEY: "FileParsed", "manifest_digest": "d"}))
