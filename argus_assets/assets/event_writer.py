"""Write the events of a run and of its batches into Dagster's event log: states, materialisations, checks, log lines."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from threading import Lock
from typing import Any, Final

import dagster as dg

from argus_assets.common.texts import one_line
from argus_assets.errors import ArgusError
from argus_assets.event_log.events import AssetEvent, materialization, to_dagster
from argus_assets.event_log.queries import materialization_records
from argus_assets.events import FileParsed, StatusChanged
from argus_assets.maintenance.staleness import CODE, Recipe
from argus_assets.partitions import WHY
from argus_assets.pipeline import INPUT, BatchState

EVENT_PAUSES_S: Final = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
"""Pauses between attempts to write an event while PostgreSQL does not answer: half a minute in all."""


class RunEvents:
    """Writes into Dagster's event log, one event at a time whichever thread it comes from.

    An event that the database did not take is written again for half a minute: an event twice is better than a batch
    whose outcome nobody knows.

    Args:
        context: Dagster's, of the op.
        recipes: What each asset is made with now.
    """

    def __init__(self, context: dg.AssetExecutionContext, recipes: Mapping[str, Recipe]) -> None:
        self._context = context
        self._lock = Lock()
        self.run_id = context.run.run_id
        self.why = context.run.tags.get(WHY)
        self.recipes = recipes
        self.instance = context.instance
        self.selected_checks = frozenset(context.selected_asset_check_keys)

    def write(self, event: AssetEvent | dg.AssetCheckEvaluation) -> None:
        """Write one event.

        Raises:
            Exception: The database's own, when it did not take the event for half a minute.
        """
        with self._lock:
            for pause in (*EVENT_PAUSES_S, None):
                try:
                    self._context.log_event(event)  # type: ignore[arg-type] # takes evaluations too; the hint lags
                except Exception as error:
                    if pause is None or not _is_of_database(error):
                        raise
                    time.sleep(pause)
                else:
                    return

    def info(self, text: str) -> None:
        """Log a line of level INFO."""
        with self._lock:
            self._context.log.info(one_line(text))

    def warning(self, text: str) -> None:
        """Log a line of level WARNING."""
        with self._lock:
            self._context.log.warning(one_line(text))

    def error(self, text: str, error: Exception | None) -> None:
        """Log a line of level ERROR, with the traceback of an error where one is given."""
        with self._lock:
            self._context.log.error(one_line(text), exc_info=error)


def _is_of_database(error: Exception) -> bool:
    from dagster_postgres.utils import DagsterPostgresException
    from sqlalchemy.exc import DBAPIError

    return isinstance(error, DBAPIError | DagsterPostgresException)


@dataclass
class BatchEvents:
    """Writes the events of one batch.

    Attributes:
        run: Writes them.
        partition: Key of the batch.
        stage: The one at work: what fails is recorded as its failure. The run loop sets it, and nothing else does.
        digest: Of the batch's manifest; empty until that is known.
        data_versions: Asset → data version, as far as this run made it or looked it up.
    """

    run: RunEvents
    partition: str
    stage: str
    digest: str = ""
    data_versions: dict[str, str] = field(default_factory=dict)

    def info(self, text: str) -> None:
        """Log a line of level INFO about the batch."""
        self.run.info(f"{self.partition}: {text}")

    def warning(self, text: str) -> None:
        """Log a line of level WARNING about the batch."""
        self.run.warning(f"{self.partition}: {text}")

    def error(self, error: Exception) -> None:
        """Log what failed the batch: an error of the drop in one line, a defect of Argus with its traceback."""
        self.run.error(f"{self.partition}: {error}", None if isinstance(error, ArgusError) else error)

    def state(self, state: BatchState, **details: Any) -> None:  # noqa: ANN401 - fields of the event
        """Record that the batch is in another state; `details` are fields of `StatusChanged`."""
        self._record(StatusChanged(asset=self.stage, manifest_digest=self.digest, state=str(state), **details))

    def file_parsed(self, row: Mapping[str, Any]) -> None:
        """Record that a recording was read: a row of `recordings.schema.RECORDINGS`."""
        self._record(
            FileParsed(
                manifest_digest=self.digest,
                recording=str(row["recording"]),
                state=str(row["state"]),
                format=str(row["format"]),
                frames=int(row["frames"]),
                frames_lost=int(row["frames_lost"]),
                parse_s=float(row["parse_s"]),
            )
        )

    def _record(self, event: StatusChanged | FileParsed) -> None:
        self.run.write(to_dagster(event, partition=self.partition))

    def input_version(self) -> str | None:
        """Return the data version of the stage's input: as this run made it, or as it was made last."""
        source = INPUT[self.stage]
        if source not in self.data_versions:
            made = materialization_records(self.run.instance, [self.partition], assets=[source])
            if source not in made.get(self.partition, {}):
                return None
            self.data_versions[source] = made[self.partition][source].data_version
        return self.data_versions[source]

    def materialized(self, *, data: bytes, metadata: Mapping[str, Any], unused: Sequence[str] = ()) -> None:
        """Record that the stage was made.

        Args:
            data: What its data version is the hash of.
            metadata: What the asset says of itself.
            unused: Names of its recipe that it did not use.
        """
        data_version = sha256(data).hexdigest()[:32]
        recipe = {name: version for name, version in self.run.recipes[self.stage].items() if name not in unused}
        made_from = self.input_version()
        self.run.write(
            materialization(
                self.stage,
                partition=self.partition,
                digest=self.digest,
                data_version=data_version,
                recipe=recipe,
                code=recipe[CODE],
                made_from=None if made_from is None else (INPUT[self.stage], made_from),
                metadata=metadata,
            )
        )
        self.data_versions[self.stage] = data_version

    def checked(self, name: str, *, passed: bool, severity: dg.AssetCheckSeverity, metadata: Mapping[str, Any]) -> None:
        """Record what a check of the stage found, if the run was to evaluate it."""
        key = dg.AssetKey(self.stage)
        if dg.AssetCheckKey(key, name) not in self.run.selected_checks:
            return
        self.run.write(
            dg.AssetCheckEvaluation(
                asset_key=key,
                check_name=name,
                passed=passed,
                severity=severity,
                partition=self.partition,
                metadata={"batch": self.partition, **metadata},
            )
        )
