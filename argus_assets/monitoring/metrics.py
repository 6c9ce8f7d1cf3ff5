"""Prometheus metrics: their names, units and meanings. Pure: `metrics_collector.py` reads the values.

Names follow Prometheus' conventions: base units (seconds, bytes), `_total` for counters.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric

Source = Literal["records", "bucket", "lake", "budget", "outbox", "code_server"]
CODE_SERVER: Final = "code_server"
"""Checked if its address is known. It provides no metrics, but no run starts without it."""

SOURCES: Final[tuple[Source, ...]] = ("records", "bucket", "lake", "budget", "outbox")

FAILURE_KINDS: Final = ("transient", "permanent", "quarantined", "crashed")

LATENCY_BOUNDS_S: Final = (1.0, 2.5, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0, 14400.0)
"""Upper bounds of the latency histogram; the last bucket is unbounded."""


@dataclass
class Totals:
    """Counters, accumulated from the events of batches in the order in which they are read.

    Attributes:
        failures: Failed attempts by kind.
        degraded: Diagnoses made by rules although a model is configured.
        latency_counts: Number of batches by latency, for each of `LATENCY_BOUNDS_S` and above.
        step_s: Total seconds by step, over all batches.
    """

    batches: int = 0
    frames: int = 0
    frames_lost: int = 0
    size_bytes: int = 0
    recordings: int = 0
    recordings_failed: int = 0
    readers_stopped: int = 0
    readers_failed: int = 0
    diagnoses: int = 0
    degraded: int = 0
    failures: dict[str, int] = field(default_factory=lambda: dict.fromkeys(FAILURE_KINDS, 0))
    latency_counts: list[int] = field(default_factory=lambda: [0] * (len(LATENCY_BOUNDS_S) + 1))
    latency_sum_s: float = 0.0
    step_s: dict[str, float] = field(default_factory=dict)

    def add_latency(self, total_s: float, steps: Mapping[str, float]) -> None:
        """Count the latency of a batch, from its manifest to its page."""
        index = next((i for i, bound in enumerate(LATENCY_BOUNDS_S) if total_s <= bound), len(LATENCY_BOUNDS_S))
        self.latency_counts[index] += 1
        self.latency_sum_s += total_s
        for name, seconds in steps.items():
            self.step_s[name] = self.step_s.get(name, 0.0) + seconds


@dataclass(frozen=True, slots=True)
class Records:
    """The current state according to Dagster's records.

    Attributes:
        batches: Number of batches by state, for every state.
        runs: Number of runs by status, for every status.
        oldest_taken_s: Age of the oldest accepted manifest whose batch has no page yet; 0 without one.
        tick_age_s: Seconds since the last tick of each sensor and schedule.
        heartbeat_age_s: Seconds since the last heartbeat of each daemon.
        oldest_starting_s: Seconds since the launch of the run that has waited longest for its worker; 0 without one.
    """

    batches: Mapping[str, int]
    runs: Mapping[str, int]
    oldest_taken_s: float
    tick_age_s: Mapping[tuple[str, str], float]
    heartbeat_age_s: Mapping[str, float]
    totals: Totals
    oldest_starting_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Inbox:
    """The current state of the bucket.

    Attributes:
        markers: Manifests in the inbox, at most `metrics_collector.MAX_MARKERS`.
        oldest_s: Age of the oldest one by the store's clock; 0 without one.
        quarantined: Batches in quarantine whose last drop is unsettled, at most
            `metrics_collector.MAX_QUARANTINED_OBJECTS`.
    """

    markers: int
    oldest_s: float
    quarantined: int


@dataclass(frozen=True, slots=True)
class Upkeep:
    """Results of the last maintenance passes, from the lake; `None` without a pass.

    Attributes:
        reconciled_at: End of the last complete reconciliation, seconds since 1970.
        retained_at: End of the last complete retention pass, seconds since 1970.
    """

    stale_uploads: int | None
    stale_bytes: int | None
    reconciled_at: float | None
    put_back: int | None
    unnamed_recordings: int | None
    retained_at: float | None


@dataclass(frozen=True, slots=True)
class Tokens:
    """The day's tokens, and the cost of all calls so far."""

    spent: int
    reserved: int
    limit: int
    calls: Mapping[str, int]
    tokens_total: int
    cost_usd_total: float


@dataclass(frozen=True, slots=True)
class Undelivered:
    """Events that an endpoint has not accepted.

    Attributes:
        oldest_s: Seconds since the oldest one entered the outbox; 0 without one.
        off: Whether the endpoint said that it is gone (410), so that nothing is sent any more.
    """

    waiting: int
    dead: int
    oldest_s: float
    off: bool


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All metrics at one moment; `None` for a source that did not answer.

    Attributes:
        seconds: Time taken to read them.
        retain_days: The setting.
        interval_s: The setting: seconds between ticks of the inbox sensor.
        code_server: Whether the code server answers; `None` if its address is unknown.
    """

    records: Records | None
    inbox: Inbox | None
    upkeep: Upkeep | None
    tokens: Tokens | None
    outbox: Mapping[str, Undelivered] | None
    seconds: float
    retain_days: int
    interval_s: int
    code_server: bool | None = None

    @property
    def oldest_waiting_s(self) -> float | None:
        """Return the seconds that the oldest waiting batch has waited, in the inbox or after it."""
        if self.records is None or self.inbox is None:
            return None
        return max(self.records.oldest_taken_s, self.inbox.oldest_s)

    @property
    def missing(self) -> tuple[Source, ...]:
        """Return the sources that did not answer."""
        found = (self.records, self.inbox, self.upkeep, self.tokens, self.outbox)
        away: tuple[Source, ...] = tuple(source for source, value in zip(SOURCES, found, strict=True) if value is None)
        return (*away, CODE_SERVER) if self.code_server is False else away


def families(snapshot: Snapshot) -> Iterator[Metric]:
    """Yield the snapshot as Prometheus metric families, without those of a missing source."""
    up = GaugeMetricFamily("argus_source_up", "Whether a source of the metrics answered.", labels=["source"])
    for source in SOURCES:
        up.add_metric([source], float(source not in snapshot.missing))
    if snapshot.code_server is not None:
        up.add_metric([CODE_SERVER], float(snapshot.code_server))
    yield up
    yield GaugeMetricFamily("argus_scrape_seconds", "Time taken to read all metrics.", value=snapshot.seconds)
    yield GaugeMetricFamily(
        "argus_retain_days", "Days that Dagster keeps a completed batch, as configured.", snapshot.retain_days
    )
    yield GaugeMetricFamily(
        "argus_sensor_interval_seconds",
        "Seconds between ticks of the inbox sensor, as configured.",
        snapshot.interval_s,
    )
    if (oldest := snapshot.oldest_waiting_s) is not None:
        yield GaugeMetricFamily(
            "argus_oldest_waiting_seconds",
            "Age of the oldest manifest whose batch has no page yet; 0 if none waits.",
            oldest,
        )
    if snapshot.inbox is not None:
        yield from _of_inbox(snapshot.inbox)
    if snapshot.records is not None:
        yield from _of_records(snapshot.records)
    if snapshot.upkeep is not None:
        yield from _of_upkeep(snapshot.upkeep)
    if snapshot.tokens is not None:
        yield from _of_tokens(snapshot.tokens)
    if snapshot.outbox is not None:
        yield from _of_outbox(snapshot.outbox)


def _by_label(
    family: type[GaugeMetricFamily | CounterMetricFamily], name: str, text: str, label: str, values: Mapping[str, float]
) -> Metric:
    made = family(name, text, labels=[label])
    for key, value in values.items():
        made.add_metric([key], value)
    return made


def _of_inbox(inbox: Inbox) -> Iterator[Metric]:
    yield GaugeMetricFamily("argus_inbox_markers", "Manifests waiting in the inbox.", inbox.markers)
    yield GaugeMetricFamily(
        "argus_inbox_oldest_seconds",
        "Age of the oldest manifest in the inbox; 0 if none waits.",
        inbox.oldest_s,
    )
    yield GaugeMetricFamily(
        "argus_quarantined_batches", "Batches in quarantine whose last drop is unsettled.", inbox.quarantined
    )


def _of_records(records: Records) -> Iterator[Metric]:
    yield _by_label(GaugeMetricFamily, "argus_batches", "Batches by state.", "state", records.batches)
    yield _by_label(GaugeMetricFamily, "argus_runs", "Runs by Dagster's status.", "status", records.runs)
    ticks = GaugeMetricFamily(
        "argus_last_tick_age_seconds", "Time since the last tick of a sensor or schedule.", labels=["name", "type"]
    )
    for (name, kind), age in records.tick_age_s.items():
        ticks.add_metric([name, kind], age)
    yield ticks
    yield _by_label(
        GaugeMetricFamily,
        "argus_daemon_heartbeat_age_seconds",
        "Time since the last heartbeat of a Dagster daemon.",
        "daemon",
        records.heartbeat_age_s,
    )
    yield GaugeMetricFamily(
        "argus_oldest_starting_seconds",
        "Time since the launch of the run that has waited longest for its worker; 0 if none waits.",
        records.oldest_starting_s,
    )
    totals = records.totals
    for name, text, value in (
        ("argus_batches_completed", "Pages made, including repeated ones.", totals.batches),
        ("argus_recordings", "Recordings read.", totals.recordings),
        ("argus_recordings_failed", "Recordings that could not be read at all.", totals.recordings_failed),
        ("argus_readers_stopped", "Recordings whose reader was stopped by a limit.", totals.readers_stopped),
        (
            "argus_readers_failed",
            "Recordings on which one of Argus's readers failed: please report these.",
            totals.readers_failed,
        ),
        ("argus_frames", "Frames read.", totals.frames),
        ("argus_frames_lost", "Frames lost to damage.", totals.frames_lost),
        ("argus_recorded_bytes", "Size of the recordings that were read.", totals.size_bytes),
        ("argus_diagnoses", "Diagnoses made.", totals.diagnoses),
        ("argus_diagnoses_degraded", "Diagnoses made by rules although a model is configured.", totals.degraded),
    ):
        yield CounterMetricFamily(name, text, value=value)
    yield _by_label(
        CounterMetricFamily, "argus_failures", "Failed attempts to process a batch, by kind.", "kind", totals.failures
    )
    counts, buckets = 0, list[tuple[str, float]]()
    for bound, count in zip((*map(str, LATENCY_BOUNDS_S), "+Inf"), totals.latency_counts, strict=True):
        counts += count
        buckets.append((bound, counts))
    yield HistogramMetricFamily(
        "argus_latency_seconds",
        "Time from the manifest of a batch to its page.",
        buckets=buckets,
        sum_value=totals.latency_sum_s,
    )
    yield _by_label(
        CounterMetricFamily, "argus_step_seconds", "Total time of each step over all batches.", "step", totals.step_s
    )


def _of_upkeep(upkeep: Upkeep) -> Iterator[Metric]:
    for name, text, value in (
        ("argus_stale_uploads", "Uploads that were started and never completed.", upkeep.stale_uploads),
        ("argus_stale_upload_bytes", "Size of these uploads.", upkeep.stale_bytes),
        (
            "argus_last_reconcile_timestamp_seconds",
            "End of the last complete comparison of the bucket with Dagster's records.",
            upkeep.reconciled_at,
        ),
        (
            "argus_last_retain_timestamp_seconds",
            "End of the last complete retention pass.",
            upkeep.retained_at,
        ),
        (
            "argus_reconcile_put_back",
            "Manifests that the last reconciliation put back into the inbox.",
            upkeep.put_back,
        ),
        (
            "argus_unnamed_recordings",
            "Recordings that no manifest names, by the last reconciliation.",
            upkeep.unnamed_recordings,
        ),
    ):
        if value is not None:
            yield GaugeMetricFamily(name, text, value)


def _of_tokens(tokens: Tokens) -> Iterator[Metric]:
    yield GaugeMetricFamily("argus_tokens_spent", "Tokens spent today (UTC).", tokens.spent)
    yield GaugeMetricFamily("argus_tokens_reserved", "Tokens reserved today (UTC).", tokens.reserved)
    yield GaugeMetricFamily("argus_tokens_limit", "Tokens that may be spent per day.", tokens.limit)
    yield CounterMetricFamily("argus_tokens", "Tokens spent since the first call.", value=tokens.tokens_total)
    yield CounterMetricFamily(
        "argus_cost_usd", "Cost in US dollars of all calls with a known price.", value=tokens.cost_usd_total
    )
    yield _by_label(
        CounterMetricFamily, "argus_model_calls", "Settled model calls by outcome.", "outcome", tokens.calls
    )


def _of_outbox(outbox: Mapping[str, Undelivered]) -> Iterator[Metric]:
    for name, text, values in (
        (
            "argus_events_waiting",
            "Events that an endpoint has not accepted yet.",
            {k: v.waiting for k, v in outbox.items()},
        ),
        (
            "argus_events_oldest_seconds",
            "Age of the oldest of these events.",
            {k: v.oldest_s for k, v in outbox.items()},
        ),
        ("argus_events_dead", "Events whose delivery was given up.", {k: v.dead for k, v in outbox.items()}),
        (
            "argus_endpoint_off",
            "Whether deliveries to an endpoint are switched off.",
            {k: float(v.off) for k, v in outbox.items()},
        ),
    ):
        yield _by_label(GaugeMetricFamily, name, text, "endpoint", values)


def example() -> Snapshot:
    """Return a snapshot with a value for every metric, for documentation and tests."""
    totals = Totals(step_s={"parse": 0.0})
    return Snapshot(
        records=Records(
            {"completed": 0},
            {"success": 0},
            0.0,
            {("completed_batches_sensor", "sensor"): 0.0},
            {"SENSOR": 0.0},
            totals,
        ),
        inbox=Inbox(0, 0.0, 0),
        upkeep=Upkeep(0, 0, 0.0, 0, 0, 0.0),
        tokens=Tokens(0, 0, 0, {"answered": 0}, 0, 0.0),
        outbox={"fleet": Undelivered(0, 0, 0.0, off=False)},
        seconds=0.0,
        retain_days=0,
        interval_s=0,
    )


def markdown() -> str:
    """Return the metrics as a Markdown table."""
    rows = ["| metric | kind | labels | meaning |", "|---|---|---|---|"]
    for family in families(example()):
        labels = sorted({label for sample in family.samples for label in sample.labels} - {"le"})
        name = f"{family.name}_total" if family.type == "counter" else family.name
        rows.append(f"| `{name}` | {family.type} | {', '.join(labels)} | {family.documentation} |")
    return "\n".join(rows) + "\n"
