"""Coverage-guided fuzzing with atheris: `python -m fuzz TARGET --seconds 60`; a failing input is left in the folder."""

import argparse
import sys
import tempfile
from pathlib import Path

TARGETS = ("mcap", "mdf4", "blf", "text", "compressed", "topics")
PREFIXES = {"mcap": (b"\x89MCAP0\r\n",), "mdf4": (b"MDF     4.11    ", b"UnFinMF 4.11    "), "blf": (b"LOGG",)}
SEEDS = {
    "mcap": ("mcap",), "mdf4": ("mdf4",), "blf": ("blf",), "text": ("candump", "asc", "csv", "trc"),
    "compressed": ("gzip", "zstd"), "topics": (),
}  # fmt: skip


def main() -> None:
    """Fuzz one target."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target", choices=TARGETS)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--folder", type=Path, default=Path(".fuzz"), help="where inputs and failures are kept")
    arguments = parser.parse_args()
    import atheris

    with atheris.instrument_imports(include=["argus_assets.recordings"], enable_loader_override=False):
        from fuzz.check import check
        from fuzz.messages import SEEDS as MESSAGES
        from fuzz.messages import check_message
    from fuzz.damage import damaged
    from fuzz.seeds import seeds

    name: str = arguments.target
    folder = arguments.folder / name
    folder.mkdir(parents=True, exist_ok=True)
    prefixes = PREFIXES.get(name, ())

    def test(data: bytes) -> None:
        if name == "topics":
            check_message(data)
        elif not prefixes or data.startswith(prefixes):
            check(data)
        else:  # get into the decoder
            check(prefixes[0] + data[len(prefixes[0]) :])

    with tempfile.TemporaryDirectory() as start:
        inputs = dict(enumerate(MESSAGES)) if name == "topics" else {}
        if name != "topics":
            for seed, data in seeds().items():
                if seed.startswith(SEEDS[name]):
                    inputs |= {seed: data, **{f"{seed}-{what}": changed for what, changed in damaged(seed, data)}}
        for number, data in enumerate(inputs.values()):
            (Path(start) / str(number)).write_bytes(data)
        options = [
            f"-max_total_time={arguments.seconds}", "-timeout=30", "-rss_limit_mb=4096", "-max_len=40000",
            f"-artifact_prefix={folder}/failed-", "-print_final_stats=1",
        ]  # fmt: skip
        atheris.Setup([sys.argv[0], str(folder), start, *options], test)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
