"""Run a plug-in over a recording: a local copy, a folder to work in, and the problem row of a failure."""

from collections.abc import Iterator

from argus_assets.plugins.isolation import Bounds, Outcome
from argus_assets.plugins.workplace import Workplace, workplace
from argus_assets.recordings.model import FrameBatch, Limits, Problem, RecordingSummary, Source
from argus_assets.recordings.registry import PlugIn


class PlugInReader:
    """One run of a plug-in over one recording; see `model.Reader`."""

    def __init__(self, plug_in: PlugIn, source: Source, limits: Limits, name: str) -> None:
        self._plug_in = plug_in
        self._source = source
        self._limits = limits
        self._name = name
        self.summary = summary_of(plug_in.name, plug_in.version, source.seek(0, 2))

    def __iter__(self) -> Iterator[FrameBatch]:
        with workplace(self._source, self._name) as place:
            failed = run_plug_in(self._plug_in, place, self._limits)
            if failed is not None:
                fail(self.summary, failed)
                return
            reader = self._plug_in.collector.open(place.output, size_bytes=self.summary.size_bytes, limits=self._limits)
            self.summary = reader.summary
            yield from reader


def run_plug_in(plug_in: PlugIn, place: Workplace, limits: Limits) -> Problem | None:
    """Run a plug-in over the recording of a workplace; return why its output cannot be read, if so."""
    failed = plug_in.run(place, limits)
    if failed is None and not place.has_output():
        failed = Problem(
            "decoder_failed", "a folder of files", "no folder where its output should be", None, None,
            f"This is for the author of {plug_in.name}.",
        )  # fmt: skip
    return failed


def summary_of(name: str, version: int, size_bytes: int) -> RecordingSummary:
    """Return the summary of a recording of a plug-in's format, of which nothing was read yet."""
    return RecordingSummary(name, f"{name}/{version}", size_bytes)


def fail(summary: RecordingSummary, problem: Problem) -> None:
    """Note that a plug-in failed: the next run reads the recording again."""
    summary.problems.append(problem)
    summary.try_again = True


def failure(name: str, expected: str, outcome: Outcome, bounds: Bounds, place: Workplace) -> Problem:
    """Return the problem of a program that did not end well."""
    tail = place.shown(outcome.tail)
    helps = {
        "timeout": "Raise timeout_s, or find out why it takes so long.",
        "memory": "Raise memory_mib, or find out why it takes so much.",
        "output": "Raise output_mib, or find out why it writes so much.",
        "processes": "Raise processes, or find out why it starts so many.",
        "not_started": "Check the command in the declaration: `argus doctor` tries it.",
        "no_isolation": "Allow seccomp or user namespaces here, or declare network = 'allowed' for it.",
    }
    said = f"; it printed: {tail}" if tail else ""
    return Problem(
        "decoder_failed",
        expected,
        outcome.sentence(bounds) + said,
        None,
        None,
        helps.get(outcome.kind, f"Run {name} on this recording by hand. What it wrote before was not used."),
    )
