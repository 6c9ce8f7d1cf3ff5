"""One target in one process: what is given to the code under test, and what becomes of an input that fails.

`python -m fuzz.target NAME --seconds N --folder F` is started by `python -m fuzz`. An input that makes the code raise is
kept once for each place that raised, and the fuzzing goes on; one that never ends or takes too much memory ends it.
"""

import argparse
import importlib
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final

DECODERS: Final = ("mcap", "mdf4", "blf", "pcap", "pcapng", "text", "compressed")
FIELDS: Final = (
    "topics", "schemas", "ros_msg", "cdr", "log_heads", "times", "formulas", "texts", "escapes", "markdown", "redaction", "manifest", "keys",
    "cases", "toml", "answer",
)  # fmt: skip
TARGETS: Final = (*DECODERS, *FIELDS)


@dataclass(frozen=True, slots=True)
class Target:
    """A fuzz target.

    Attributes:
        check: Gives one input to the code under test; raises when something does not hold.
        seeds: Inputs to begin with.
        max_bytes: Longest input.
    """

    check: Callable[[bytes], object]
    seeds: Iterable[bytes]
    max_bytes: int = 512


def load(name: str) -> Target:
    """Import what a target needs, and no more: coverage is counted in what is imported here."""
    module = importlib.import_module("fuzz.decoders" if name in DECODERS else "fuzz.fields")
    made: Target = module.TARGETS[name]()
    return made


def main() -> None:
    """Fuzz one target until its time is over."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target", choices=TARGETS)
    parser.add_argument("--seconds", type=int, required=True)
    parser.add_argument("--folder", type=Path, required=True)
    arguments = parser.parse_args()
    import atheris

    with atheris.instrument_imports(include=["argus_assets"], enable_loader_override=False):
        target = load(arguments.target)
    folder: Path = arguments.folder
    corpus = folder / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    seen: set[str] = set()

    def run(data: bytes) -> None:
        try:
            target.check(data)
        except Exception as error:  # noqa: BLE001 - whatever the code raised
            keep_failure(folder, data, error, seen)

    with tempfile.TemporaryDirectory() as start:
        for number, data in enumerate(target.seeds):
            (Path(start) / str(number)).write_bytes(data[: target.max_bytes])
        options = [
            f"-max_total_time={arguments.seconds}", "-timeout=30", "-rss_limit_mb=4096", f"-max_len={target.max_bytes}",
            f"-artifact_prefix={folder}/failed-", "-print_final_stats=1", "-verbosity=1", "-reload=0",
        ]  # fmt: skip
        atheris.Setup([sys.argv[0], str(corpus), start, *options], run)
        atheris.Fuzz()


def keep_failure(folder: Path, data: bytes, error: Exception, seen: set[str]) -> None:
    """Keep the first input that raised at this place, with its traceback."""
    frames = traceback.extract_tb(error.__traceback__)
    place = "|".join([type(error).__name__, *(f"{frame.filename}:{frame.lineno}" for frame in frames[-3:])])
    if place in seen:
        return
    seen.add(place)
    path = folder / f"failed-{sha256(place.encode()).hexdigest()[:16]}"
    path.write_bytes(data)
    path.with_suffix(".txt").write_text("".join(traceback.format_exception(error)))


if __name__ == "__main__":
    main()
