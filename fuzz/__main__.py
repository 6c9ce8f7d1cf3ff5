"""Coverage-guided fuzzing with atheris: `python -m fuzz [TARGET …] --seconds 60 --jobs 2`.

Targets run side by side, each in a process of its own. One execution is one input given to the code under test. Inputs
that fail stay in `.fuzz/<target>/failed-…`, with the traceback beside them; what covers more is kept in `corpus/` and is
where the next run begins. Exits with 1 when an input failed. The last line is JSON for machines.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

from fuzz.target import TARGETS

_EXECUTED: Final = re.compile(r"stat::number_of_executed_units:\s*(\d+)")
_SHOWN: Final = re.compile(r"^#(\d+)\s", re.MULTILINE)
_say: Final = partial(print, flush=True)
_START_SECONDS: Final = 300
"""Longest that a process may take to start and to end, beside its own time."""


@dataclass(slots=True)
class Outcome:
    """The result of one target."""

    target: str
    executions: int = 0
    seconds: float = 0.0
    failures: list[Path] = field(default_factory=list)
    error: str = ""

    @property
    def per_second(self) -> float:
        """Return executions for each second of the process's life, including its start."""
        return self.executions / max(self.seconds, 0.001)


def fuzz(target: str, seconds: int, folder: Path) -> Outcome:
    """Fuzz one target for so many seconds; a process that an input ended is started again."""
    own = folder / target
    own.mkdir(parents=True, exist_ok=True)
    before = _failures(own)
    outcome = Outcome(target)
    started = time.monotonic()
    while (left := round(seconds - (time.monotonic() - started))) > 0:
        command = [sys.executable, "-m", "fuzz.target", target, "--seconds", str(left), "--folder", str(own)]
        try:
            done = subprocess.run(  # noqa: S603 - this module
                command, capture_output=True, text=True, errors="replace", check=False, timeout=left + _START_SECONDS
            )
        except subprocess.TimeoutExpired:
            outcome.error = f"did not end in {left + _START_SECONDS} s"
            break
        executed = _EXECUTED.search(done.stderr)
        shown = [int(number) for number in _SHOWN.findall(done.stderr)]
        outcome.executions += int(executed[1]) if executed else max(shown, default=0)
        if not (executed or shown):
            outcome.error = done.stderr[-2000:] or f"ended with {done.returncode} without an execution"
            break
    outcome.seconds = time.monotonic() - started
    outcome.failures = sorted(_failures(own) - before)
    return outcome


def _failures(folder: Path) -> set[Path]:
    return {path for path in folder.glob("failed-*") if path.suffix != ".txt"}


def main() -> None:
    """Fuzz the targets, and print the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"of {', '.join(TARGETS)}; all unless given")
    parser.add_argument("--seconds", type=int, default=60, help="for each target")
    parser.add_argument(
        "--jobs", type=int, default=os.process_cpu_count() if sys.version_info >= (3, 13) else os.cpu_count()
    )
    parser.add_argument("--folder", type=Path, default=Path(".fuzz"), help="where inputs and failures are kept")
    arguments = parser.parse_args()
    targets: list[str] = arguments.targets or list(TARGETS)
    if unknown := sorted(set(targets) - set(TARGETS)):
        parser.error(f"no target {', '.join(unknown)}; there are {', '.join(TARGETS)}")
    started = time.monotonic()
    outcomes: list[Outcome] = []
    with ThreadPoolExecutor(max(1, arguments.jobs)) as pool:
        for outcome in pool.map(lambda target: fuzz(target, arguments.seconds, arguments.folder.resolve()), targets):
            outcomes.append(outcome)
            _say(
                f"{outcome.target:<11} {outcome.executions:>14,} executions {outcome.per_second:>10,.0f}/s "
                f"{outcome.seconds:>6.0f} s {len(outcome.failures):>3} failures",
            )  # fmt: skip
    for outcome in outcomes:
        for path in outcome.failures:
            told = path.with_suffix(".txt")
            _say(
                f"\nFAILED {outcome.target}: {path}\n{told.read_text() if told.exists() else 'no traceback: it never ended, or took too much memory'}"
            )
        if outcome.error:
            _say(f"\nFAILED {outcome.target}: {outcome.error}")
    total = sum(outcome.executions for outcome in outcomes)
    failures = sum(len(outcome.failures) + bool(outcome.error) for outcome in outcomes)
    _say(
        f"\n{total:,} executions of {len(outcomes)} targets in {time.monotonic() - started:.0f} s, {failures} failures"
    )
    _say(
        json.dumps(
            {
                "executions": {outcome.target: outcome.executions for outcome in outcomes},
                "total": total,
                "seconds": round(time.monotonic() - started),
                "failures": failures,
            }
        )
    )
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
