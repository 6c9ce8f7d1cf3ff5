"""Of a damaged file no frame is missed that the format's official reader still gets right."""

import io
import json
import logging
import signal
import subprocess
import sys
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import can
import dpkt
import polars as pl
import pytest
from mcap.reader import NonSeekingReader

from fuzz.check import check
from fuzz.damage import damaged
from fuzz.seeds import seeds

Frame = tuple[int, int, bytes]
"""Time in the hour in steps of 10 µs (python-can takes the times of ASC as local), identifier or the number of the topic's message, and bytes."""

_SUFFIXES = {"candump": ".log", "asc": ".asc", "csv": ".csv", "trc": ".trc", "blf": ".blf"}
_CAPTURES = ("pcap-micro", "pcapng-two")
_HOUR = 3600 * 10**5
_SECONDS = 1.0
"""python-can may never end on a damaged file."""


_AGAIN_SECONDS = 0.05


class TooLateError(BaseException):
    """No `Exception`: readers that pass over what fails would pass over this too."""


def official(name: str, data: bytes, folder: Path) -> Counter[Frame]:
    """What the official reader gives until it ends, fails, or takes too long."""
    found: Counter[Frame] = Counter()
    reading = True

    def late(*_: Any) -> None:
        if reading:
            raise TooLateError

    before = signal.signal(signal.SIGALRM, late)
    # Again and again: where it is raised in a finalizer, Python only prints it.
    signal.setitimer(signal.ITIMER_REAL, _SECONDS, _AGAIN_SECONDS)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if name.startswith("pcap"):
                reader = dpkt.pcapng.Reader if name.startswith("pcapng") else dpkt.pcap.Reader
                for time, packet in reader(io.BytesIO(data)):
                    can_id = int.from_bytes(packet[:4], "big")
                    found[round(float(time) * 1e5) % _HOUR, can_id, bytes(packet[8 : 8 + packet[4]])] += 1
            elif name.startswith("mcap"):
                for _, _, message in NonSeekingReader(io.BytesIO(data)).iter_messages(log_time_order=False):
                    found[message.log_time // 10**4, 0, message.data] += 1
            else:
                path = folder / f"damaged{_SUFFIXES[name.partition('-')[0]]}"
                path.write_bytes(data)
                absolute = {"relative_timestamp": False} if name == "asc" else {}
                with can.LogReader(path, **absolute) as reader:
                    for message in reader:
                        found[round(message.timestamp * 1e5) % _HOUR, message.arbitration_id, bytes(message.data)] += 1
    except BaseException:
        pass
    finally:
        reading = False
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    return found


def official_mdf4(files: dict[str, bytes], folder: Path) -> dict[str, Counter[Frame]]:
    """As `official`, in a process of its own: asammdf leaves files open that it cannot read."""
    for number, data in enumerate(files.values()):
        (folder / str(number)).write_bytes(data)
    script = (
        "import json, sys, can\n"
        "for n in range(int(sys.argv[1])):\n"
        "    found = []\n"
        "    try:\n"
        "        for m in can.io.MF4Reader(f'{sys.argv[2]}/{n}'):\n"
        "            if m.timestamp == m.timestamp: found.append([m.timestamp, m.arbitration_id, m.data.hex()])\n"
        "    except BaseException: pass\n"
        "    print('frames', json.dumps(found))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(len(files)), str(folder)], capture_output=True, text=True, check=True
    )
    lines = [json.loads(line.partition(" ")[2]) for line in done.stdout.splitlines() if line.startswith("frames ")]
    return {
        name: Counter((round(t * 1e5) % _HOUR, can_id, bytes.fromhex(data)) for t, can_id, data in frames)
        for name, frames in zip(files, lines, strict=True)
    }


def ours(name: str, data: bytes) -> Counter[Frame]:
    frames = check(data)[0].frames
    times = frames["timestamp"].dt.timestamp("ns").to_list()
    if name.startswith("mcap"):
        # As it came: a CAN frame's message is longer than its data bytes.
        return Counter((t // 10**4, 0, b"") for t in times)
    ids = frames["arbitration_id"].cast(pl.Int64).to_list()
    return Counter(zip([round(t / 1e4) % _HOUR for t in times], ids, frames["payload"].to_list(), strict=True))


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(
    "name", [n for n in sorted(seeds()) if n.startswith(("mcap", "mdf4", *_SUFFIXES, *_CAPTURES)) and "zipped" not in n]
)
def test_no_fewer_right_frames_than_the_official_reader(
    name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL + 1)
    data = seeds()[name]
    variants = dict(damaged(name, data))
    if name.startswith("mdf4"):
        read = official_mdf4({"": data, **variants}, tmp_path)
    else:
        read = {what: official(name, changed, tmp_path) for what, changed in {"": data, **variants}.items()}
    right = read[""]
    compared = 0
    for what, changed in variants.items():
        theirs = read[what] & right  # garbage that is taken for a frame does not count
        if name.startswith("mcap"):
            theirs = Counter((t, number, b"") for t, number, _ in theirs.elements())
        missed = theirs - ours(name, changed)
        assert not missed, f"{what}: {missed.total()} of {theirs.total()}, such as {next(iter(missed))}"
        compared += theirs.total()
    if right:
        assert compared > 10 * right.total(), "the official reader reads some of the damaged files"
