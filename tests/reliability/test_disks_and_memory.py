"""No space left for the lake, for scratch files, for PostgreSQL; a decoder and a run worker without memory."""

import os
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread

import psutil
import pytest

from argus_assets.runtime.embedded.s3 import S3Server
from argus_assets.simulate.fleet import Drive
from tests.support.reliability_report import Report, Row
from tests.support.reliability_site import Dropped, Site, running_site

pytestmark = [
    pytest.mark.reliability,
    pytest.mark.reliability_full,
    pytest.mark.timeout(600),
    pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a small file system"),
]

LAKE_MIB, SCRATCH_MIB, HOME_MIB = 24, 16, 400
SPARE_BYTES = 64 * 1024
WORKER_BYTES = 150 * 2**20

HOG = """
import sys, time
taken = []
for _ in range(400):  # MiB
    taken.append(bytearray(b"x") * 2**20)
time.sleep(60)
"""


@contextmanager
def small_disk(mib: int) -> Iterator[Path]:
    """A file system of so many MiB."""
    with tempfile.TemporaryDirectory(prefix="argus-disk-") as folder:
        Path(folder).chmod(0o755)
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={mib}m,mode=755", "tmpfs", folder], capture_output=True, check=False
        )
        if mounted.returncode:
            pytest.skip(f"no small file system can be mounted here: {mounted.stderr.decode()}")
        try:
            yield Path(folder)
        finally:
            subprocess.run(["umount", "-l", folder], check=True)


@contextmanager
def full(disk: Path, spare: int = SPARE_BYTES) -> Iterator[None]:
    """Nothing but `spare` bytes left, for the time of the block."""
    filler = disk / "filler"
    try:
        for _ in range(50):  # others write meanwhile
            state = os.statvfs(disk)
            size = filler.stat().st_size if filler.exists() else 0
            wanted = size + state.f_bavail * state.f_frsize - spare
            if wanted > size:
                subprocess.run(["fallocate", "-l", str(wanted), filler], check=False, capture_output=True)
            state = os.statvfs(disk)
            if state.f_bavail * state.f_frsize <= spare + 64 * 1024:
                break
        else:
            raise AssertionError(f"{disk} could not be filled: {state.f_bavail * state.f_frsize} bytes are free")
        yield
    finally:
        filler.unlink(missing_ok=True)


@dataclass
class SmallSite:
    site: Site
    lake: Path
    scratch: Path


@pytest.fixture(scope="module")
def small(
    moto_server: S3Server,
    reliability_drives: dict[str, Drive],
    shared_site: Site,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[SmallSite]:
    """A platform whose lake, scratch folder and database stand on small disks, and that has a hungry decoder."""
    folder = tmp_path_factory.mktemp("hog")
    (folder / "hog.py").write_text(HOG)
    (folder / "decoders.toml").write_text(
        textwrap.dedent(f"""
        [[decoder]]
        name = "hog"
        version = 1
        name_pattern = "*.hog"
        command = [{sys.executable!r}, {str(folder / "hog.py")!r}, "{{input}}", "{{output_dir}}"]
        timeout_s = 60
        memory_mib = 128

        [[decoder.output]]
        files = "*.csv"
        format = "csv"
        table = "topic"
        message_schema = "hog/Nothing"
        [decoder.output.columns]
        timestamp = {{ column = "t_us", unit = "us" }}
        """)
    )
    with ExitStack() as stack:
        home, lake, scratch = (stack.enter_context(small_disk(mib)) for mib in (HOME_MIB, LAKE_MIB, SCRATCH_MIB))
        site = stack.enter_context(
            running_site(
                home / "argus",
                moto_server,
                reliability_drives,
                environment={"TMPDIR": str(scratch)},
                lake_url=str(lake / "lake"),
                decoders=folder / "decoders.toml",
            )
        )
        site.undisturbed = shared_site.undisturbed
        yield SmallSite(site, lake, scratch)


@pytest.fixture
def rig(small: SmallSite) -> SmallSite:
    small.site.forget_parts()
    small.site.mark()
    return small


def finish(site: Site, row: Row, batches: list[Dropped], failed_at_first: int) -> None:
    row.happened = site.story(batches)
    assert failed_at_first > 0, "the fault was not felt"
    again = site.again(batches, 240)
    site.check(batches, once=False)
    row.batches = len(batches)
    row.retries = f"{again} batches"


def leftovers(folder: Path) -> list[str]:
    return [str(p.relative_to(folder)) for p in folder.rglob("*") if p.name.endswith((".tmp", ".part"))]


def test_the_lakes_disk_is_full(rig: SmallSite, report: Report) -> None:
    with report.scenario(50, "disk of the lake full", "from drop to failure, then freed") as row:
        with full(rig.lake):
            batches = rig.site.drop("lake-full")
            rig.site.wait(
                lambda: bool(rig.site.failures(batches)) or bool(rig.site.failed_ticks()[0]), 120, "the fault is felt"
            )
            rig.site.wait(lambda: not rig.site.run_workers(), 120, "no run is at work")
        row.recovered_s = rig.site.outcome_known(batches, 200)
        finish(rig.site, row, batches, len(rig.site.failures(batches)) + rig.site.failed_ticks()[0])
        assert not leftovers(rig.lake)


def test_the_scratch_disk_is_full(rig: SmallSite, report: Report) -> None:
    with report.scenario(51, "disk of scratch files full", "from drop to failure, then freed") as row:
        with full(rig.scratch, 4096):
            batches = rig.site.drop("scratch-full")
            rig.site.wait(lambda: bool(rig.site.failures(batches)), 120, "the fault is felt")
            rig.site.outcome_known(batches, 200)
        row.recovered_s = rig.site.outcome_known(batches, 200)
        finish(rig.site, row, batches, len(rig.site.failures(batches)))


def test_the_databases_disk_is_full(rig: SmallSite, report: Report) -> None:
    with report.scenario(52, "disk of PostgreSQL full", "mid-run, 20 s, then freed") as row:
        site = rig.site
        batches = site.drop("database-full")
        site.wait(site.at_work(batches), 60, "a batch is at work")
        with full(site.home.parent, 0):
            time.sleep(20)
        row.recovered_s = site.outcome_known(batches, 240)
        row.happened = site.story(batches)
        again = site.again(batches, 240)
        site.check(batches, once=again == 0)
        row.batches = len(batches)
        row.retries = f"{again} batches" if again else "no"


def test_a_decoder_takes_more_memory_than_it_may(rig: SmallSite, report: Report, tmp_path: Path) -> None:
    with report.scenario(53, "a plug-in decoder exceeds its memory limit", "mid-run") as row:
        site = rig.site
        scenario = "truck_oil_pressure"
        drive = site.drives[scenario]
        folder = tmp_path / "with-hog"
        folder.mkdir()
        for file in drive.folder.iterdir():
            (folder / file.name).write_bytes(file.read_bytes())
        (folder / "memory.hog").write_bytes(b"hog" * 1000)
        (batch,) = site.drop("decoder-memory", [scenario], folder=folder)
        row.recovered_s = site.settle([batch])
        result = site.result(batch)
        assert result is not None
        assert (result.state, result.recordings, result.recordings_damaged) == ("completed", 3, 1)
        found, expected = site.content(batch.partition), site.undisturbed[scenario]
        hog = found["recordings"].filter(found["recordings"]["recording"] == "memory.hog")
        assert hog["state"].to_list() == ["failed"]
        (problem,) = found["problems"].filter(found["problems"]["recording"] == "memory.hog").to_dicts()
        # Which of the two notices first, the watch or the program itself, depends on how fast it takes memory.
        assert "128 MiB of memory" in str(problem) or "MemoryError" in str(problem), problem
        others = found["recordings"].filter(found["recordings"]["recording"] != "memory.hog")
        assert others.equals(expected["recordings"])
        for table in ("error_events", "error_stats", "code_pairs"):
            assert found[table].equals(expected[table]), table
        row.batches = 1
        row.happened = "the recording failed with its reason, the others of the drive were read"


@contextmanager
def too_little_memory(site: Site) -> Iterator[set[int]]:
    """As the kernel does it: whatever run worker takes memory is killed. Yields their process ids."""
    killed: set[int] = set()
    over = Event()

    def kill() -> None:
        while not over.wait(0.2):
            # Whatever ends at this moment must not end the watch.
            with suppress(psutil.NoSuchProcess):
                for worker in site.run_workers():
                    if worker.memory_info().rss > WORKER_BYTES:
                        worker.kill()
                        killed.add(worker.pid)

    thread = Thread(target=kill)
    thread.start()
    try:
        yield killed
    finally:
        over.set()
        thread.join()


def test_the_run_worker_has_too_little_memory(rig: SmallSite, report: Report) -> None:
    with report.scenario(54, "run worker killed for its memory", "every run, then there is enough") as row:
        site = rig.site
        with too_little_memory(site) as killed:
            batches = site.drop("worker-memory")
            site.wait(lambda: len(killed) > 0, 60, "a worker is killed")
            row.recovered_s = site.outcome_known(batches, 300)
        row.happened = site.story(batches)
        assert len(killed) > 1, "Dagster starts it again"
        again = site.again(batches, 240)
        assert again == len(batches)
        site.check(batches, once=False)
        # One is that of the server of confined processes, which lives on.
        site.wait(lambda: len(list(rig.scratch.glob("argus-scratch-*"))) <= 1, 30, "what the killed ones had is gone")
        row.batches = len(batches)
        row.retries = f"{again} batches"
