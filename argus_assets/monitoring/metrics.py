"""What Prometheus gets: names, units and meanings of the platform's figures. Pure: `metrics_collector.py` reads them.

Names follow Prometheus' conventions: base units (seconds, bytes), `_total` for what only grows.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric

Source = Literal["records", "bucket", "lake", "budget", "outbox", "code_server"]
CODE_SERVER: Final = "code_server"
"""Asked where its address is known. It gives no figures, but nothing starts without it."""

SOURCES: Final[tuple[Source, ...]] = ("records", "bucket", "lake", "budget", "outbox")

FAILURE_KINDS: Final = ("transient", "permanent", "quarantined", "crashed")

LATENCY_BOUNDS_S: Final = (1.0, 2.5, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0, 14400.0)
"""Upper bounds of the latency histogram; the last bucket has none."""


@dataclass
class Totals:
    """What only grows, counted from the events of batches in the order in which they are read.

    Attributes:
        failures: Failed attempts by kind.
        degraded: Diagnoses that the rules made although a model was asked for.
        latency_counts: For each of `LATENCY_BOUNDS_S` and what is above them, how many batches took so long.
        step_s: Seconds of the steps of all batches.
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
        """Count a batch's seconds from its manifest to its page."""
        index = next((i for i, bound in enumerate(LATENCY_BOUNDS_S) if total_s <= bound), len(LATENCY_BOUNDS_S))
        self.latency_counts[index] += 1
        self.latency_sum_s += total_s
        for name, seconds in steps.items():
            self.step_s[name] = self.step_s.get(name, 0.0) + seconds


@dataclass(frozen=True, slots=True)
class Records:
    """What Dagster's records say now.

    Attributes:
        batches: How many are in each state; every state is there.
        runs: How many have each status; every status is there.
        oldest_taken_s: Seconds since the oldest manifest that was taken and has no page yet was put, 0 without one.
        tick_age_s: Seconds since each sensor and schedule last ticked.
        heartbeat_age_s: Seconds since each daemon last told that it lives.
        oldest_starting_s: Seconds since the run was launched that has waited longest for its worker, 0 without one.
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
    """What the bucket says now.

    Attributes:
        markers: Manifests in the inbox, at most `figures.MAX_MARKERS`.
        oldest_s: Seconds since the oldest was put, by the store's clock, 0 without one.
        quarantined: Batches in quarantine whose last drop is not settled, at most `figures.MAX_QUARANTINED`.
    """

    markers: int
    oldest_s: float
    quarantined: int


@dataclass(frozen=True, slots=True)
class Upkeep:
    """What the last passes of upkeep left in the lake; `None` where there was none.

    Attributes:
        reconciled_at: When the last whole pass ended, seconds since 1970.
        retained_at: When what is old was last removed, to the end of it.
    """

    stale_uploads: int | None
    stale_bytes: int | None
    reconciled_at: float | None
    put_back: int | None
    unnamed_recordings: int | None
    retained_at: float | None


@dataclass(frozen=True, slots=True)
class Tokens:
    """The day's tokens, and what the calls cost since the first one."""

    spent: int
    reserved: int
    limit: int
    calls: Mapping[str, int]
    tokens_total: int
    cost_usd_total: float


@dataclass(frozen=True, slots=True)
class Undelivered:
    """Events for one endpoint of another system that it has not taken.

    Attributes:
        oldest_s: Seconds since the oldest was put in, 0 without one.
        off: It said that it is gone: nothing is sent any more.
    """

    waiting: int
    dead: int
    oldest_s: float
    off: bool


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All figures of one moment; `None` where a source did not answer.

    Attributes:
        seconds: What it took to read them.
        retain_days: The setting.
        interval_s: Seconds between two looks into the inbox, the setting.
        code_server: Whether the code server answers, `None` where nobody knows its address.
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
        """Seconds that the batch has waited that has waited longest, in the inbox or behind it."""
        if self.records is None or self.inbox is None:
            return None
        return max(self.records.oldest_taken_s, self.inbox.oldest_s)

    @property
    def missing(self) -> tuple[Source, ...]:
        """Sources that did not answer."""
        found = (self.records, self.inbox, self.upkeep, self.tokens, self.outbox)
        away: tuple[Source, ...] = tuple(source for source, value in zip(SOURCES, found, strict=True) if value is None)
        return (*away, CODE_SERVER) if self.code_server is False else away


def families(snapshot: Snapshot) -> Iterator[Metric]:
    """The snapshot as Prometheus' metric families. What a missing source would have told is left out."""
    up = GaugeMetricFamily("argus_source_up", "Whether a source of the figures answered.", labels=["source"])
    for source in SOURCES:
        up.add_metric([source], float(source not in snapshot.missing))
    if snapshot.code_server is not None:
        up.add_metric([CODE_SERVER], float(snapshot.code_server))
    yield up
    yield GaugeMetricFamily("argus_scrape_seconds", "What it took to read all figures.", value=snapshot.seconds)
    yield GaugeMetricFamily(
        "argus_retain_days", "Days that Dagster keeps a completed batch, as set.", snapshot.retain_days
    )
    yield GaugeMetricFamily(
        "argus_sensor_interval_seconds", "Seconds between two looks into the inbox, as set.", snapshot.interval_s
    )
    if (oldest := snapshot.oldest_waiting_s) is not None:
        yield GaugeMetricFamily(
            "argus_oldest_waiting_seconds",
            "Since the manifest was put of the batch that has waited longest for its page; 0 when none waits.",
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
    yield GaugeMetricFamily("argus_inbox_markers", "Manifests that wait in the inbox.", inbox.markers)
    yield GaugeMetricFamily(
        "argus_inbox_oldest_seconds",
        "Since the oldest manifest in the inbox was put; 0 when none waits.",
        inbox.oldest_s,
    )
    yield GaugeMetricFamily(
        "argus_quarantined_batches", "Batches whose last drop cannot be used and was not settled.", inbox.quarantined
    )


def _of_records(records: Records) -> Iterator[Metric]:
    yield _by_label(GaugeMetricFamily, "argus_batches", "Batches by state.", "state", records.batches)
    yield _by_label(GaugeMetricFamily, "argus_runs", "Runs by Dagster's status.", "status", records.runs)
    ticks = GaugeMetricFamily(
        "argus_last_tick_age_seconds", "Since a sensor or schedule last ticked.", labels=["name", "type"]
    )
    for (name, kind), age in records.tick_age_s.items():
        ticks.add_metric([name, kind], age)
    yield ticks
    yield _by_label(
        GaugeMetricFamily,
        "argus_daemon_heartbeat_age_seconds",
        "Since a daemon of Dagster last told that it lives.",
        "daemon",
        records.heartbeat_age_s,
    )
    yield GaugeMetricFamily(
        "argus_oldest_starting_seconds",
        "Since the run was launched that has waited longest for its worker; 0 when none waits.",
        records.oldest_starting_s,
    )
    totals = records.totals
    for name, text, value in (
        ("argus_batches_completed", "Pages made, repeated ones included.", totals.batches),
        ("argus_recordings", "Recordings read.", totals.recordings),
        ("argus_recordings_failed", "Recordings of which nothing could be read.", totals.recordings_failed),
        ("argus_readers_stopped", "Recordings whose reader was ended by a limit.", totals.readers_stopped),
        ("argus_readers_failed", "Recordings on which a reader of Argus failed: report these.", totals.readers_failed),
        ("argus_frames", "Frames read.", totals.frames),
        ("argus_frames_lost", "Frames lost to damage.", totals.frames_lost),
        ("argus_recorded_bytes", "Bytes of the recordings that were read.", totals.size_bytes),
        ("argus_diagnoses", "Diagnoses made.", totals.diagnoses),
        ("argus_diagnoses_degraded", "Diagnoses that rules made although a model was to be asked.", totals.degraded),
    ):
        yield CounterMetricFamily(name, text, value=value)
    yield _by_label(
        CounterMetricFamily, "argus_failures", "Failed attempts at batches by kind.", "kind", totals.failures
    )
    counts, buckets = 0, list[tuple[str, float]]()
    for bound, count in zip((*map(str, LATENCY_BOUNDS_S), "+Inf"), totals.latency_counts, strict=True):
        counts += count
        buckets.append((bound, counts))
    yield HistogramMetricFamily(
        "argus_latency_seconds",
        "From the manifest of a batch to its page.",
        buckets=buckets,
        sum_value=totals.latency_sum_s,
    )
    yield _by_label(
        CounterMetricFamily, "argus_step_seconds", "Seconds of the steps of all batches.", "step", totals.step_s
    )


def _of_upkeep(upkeep: Upkeep) -> Iterator[Metric]:
    for name, text, value in (
        ("argus_stale_uploads", "Uploads that were begun and never completed.", upkeep.stale_uploads),
        ("argus_stale_upload_bytes", "Their bytes.", upkeep.stale_bytes),
        (
            "argus_last_reconcile_timestamp_seconds",
            "When the bucket was last held against Dagster's records to its end.",
            upkeep.reconciled_at,
        ),
        (
            "argus_last_retain_timestamp_seconds",
            "When what is old was last removed, to the end of it.",
            upkeep.retained_at,
        ),
        ("argus_reconcile_put_back", "Manifests that this pass put back into the inbox.", upkeep.put_back),
        ("argus_unnamed_recordings", "Recordings that no manifest names, by this pass.", upkeep.unnamed_recordings),
    ):
        if value is not None:
            yield GaugeMetricFamily(name, text, value)


def _of_tokens(tokens: Tokens) -> Iterator[Metric]:
    yield GaugeMetricFamily("argus_tokens_spent", "Tokens spent of this day's (UTC).", tokens.spent)
    yield GaugeMetricFamily("argus_tokens_reserved", "Tokens set aside of this day's.", tokens.reserved)
    yield GaugeMetricFamily("argus_tokens_limit", "Tokens that may be spent in a day.", tokens.limit)
    yield CounterMetricFamily("argus_tokens", "Tokens spent since the first call.", value=tokens.tokens_total)
    yield CounterMetricFamily("argus_cost_usd", "US dollars of the calls of known price.", value=tokens.cost_usd_total)
    yield _by_label(CounterMetricFamily, "argus_model_calls", "Settled calls by outcome.", "outcome", tokens.calls)


def _of_outbox(outbox: Mapping[str, Undelivered]) -> Iterator[Metric]:
    for name, text, values in (
        (
            "argus_events_waiting",
            "Events that an endpoint has not taken yet.",
            {k: v.waiting for k, v in outbox.items()},
        ),
        (
            "argus_events_oldest_seconds",
            "Since the oldest of them was put into the outbox.",
            {k: v.oldest_s for k, v in outbox.items()},
        ),
        ("argus_events_dead", "Events that were given up.", {k: v.dead for k, v in outbox.items()}),
        ("argus_endpoint_off", "Whether nothing is sent to it any more.", {k: float(v.off) for k, v in outbox.items()}),
    ):
        yield _by_label(GaugeMetricFamily, name, text, "endpoint", values)


def example() -> Snapshot:
    """A snapshot with something in every figure: what there is to be read, for documents and tests."""
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
    """The figures as a Markdown table."""
    rows = ["| figure | kind | labels | meaning |", "|---|---|---|---|"]
    for family in families(example()):
        labels = sorted({label for sample in family.samples for label in sample.labels} - {"le"})
        name = f"{family.name}_total" if family.type == "counter" else family.name
        rows.append(f"| `{name}` | {family.type} | {', '.join(labels)} | {family.documentation} |")
    return "\n".join(rows) + "\n"
