"""Hostile recordings between honest ones: on the whole platform, from the drop to the page."""

from pathlib import Path

import polars as pl
import pytest

from tests.support.hostile_recordings import HOSTILE, SMALL
from tests.support.reliability_report import Report
from tests.support.reliability_site import Site

pytestmark = [pytest.mark.reliability, pytest.mark.timeout(420)]

KINDS = ("code", "nesting", "claim", "value", "inflate")
OF_A_KIND = 6


def test_hostile_recordings_cost_nobody_else_anything(site: Site, report: Report, tmp_path: Path) -> None:
    with report.scenario(59, "hostile recordings of each format", "dropped together with others") as row:
        folder = tmp_path / "hostile"
        folder.mkdir()
        chosen = [
            h for kind in KINDS for h in [h for h in HOSTILE.values() if h.kind == kind][:: max(1, 40 // OF_A_KIND)]
        ]
        for hostile in chosen:
            (folder / f"{hostile.name}{hostile.suffix}").write_bytes(hostile.make(SMALL))
        good = next(iter(site.drives.values()))
        for file in good.folder.iterdir():
            (folder / file.name).write_bytes(file.read_bytes())
        hostile_batches = site.drop("hostile", [good.scenario], folder=folder)
        others = site.drop("beside-hostile")
        row.recovered_s = site.settle([*hostile_batches, *others], 240)
        (batch,) = hostile_batches
        result = site.result(batch)
        assert result is not None
        assert result.state == "completed", result
        found, expected = site.content(batch.partition), site.undisturbed[good.scenario]
        honest = set(expected["recordings"]["recording"])
        assert found["recordings"].filter(pl.col("recording").is_in(honest)).equals(expected["recordings"])
        assert not found["problems"].filter(pl.col("kind") == "reader_failed").height
        site.check(others)
        row.batches = 1 + len(others)
        told = found["problems"].filter(~pl.col("recording").is_in(honest))
        row.happened = (
            f"{len(chosen)} hostile recordings in one batch, {told['recording'].n_unique()} of them with problems told; "
            "that batch and the others were completed, every honest recording as ever"
        )
