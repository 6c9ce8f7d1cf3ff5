"""Evidence: the ranked head of the stats, and how much could be read."""

from pathlib import Path

import polars as pl
import pytest

from argus_assets.diagnosis.evidence import K, build_evidence
from argus_assets.stats.drive import aggregate
from tests.support.drives import made_drive
from tests.support.values import VIN


@pytest.mark.parametrize("k", [1, 2, K])
def test_evidence_is_the_head_of_the_stats(tmp_path: Path, k: int) -> None:
    drive = made_drive(tmp_path, "truck_oil_pressure")
    evidence = build_evidence(drive.stats, drive.recordings, platform="truck", release="9", drive_s=30.0, k=k)
    ranked = drive.stats.sort("rank").head(k)
    assert [i.id for i in evidence.items] == [f"E{rank}" for rank in ranked["rank"]]
    assert [i.code for i in evidence.items] == ranked["code"].to_list()
    assert evidence.codes_total == drive.stats.height
    assert [i.status for i in evidence.items] == ranked["status"].to_list()
    assert evidence.coverage.frames == drive.recordings["frames"].sum()


def test_a_failed_recording_is_not_counted_as_read(tmp_path: Path) -> None:
    drive = made_drive(tmp_path, "truck_oil_pressure", junk={"notes.bin": b"no recording at all"})
    evidence = build_evidence(drive.stats, drive.recordings, platform="truck", release="9", drive_s=30.0)
    assert evidence.coverage.recordings == drive.recordings.height
    assert evidence.coverage.recordings_read == drive.recordings.height - 1
    assert evidence.coverage.statement().startswith(
        f"Based on {drive.recordings.height - 1} of {drive.recordings.height} recordings"
    )


def test_the_key_follows_the_content(tmp_path: Path) -> None:
    drive = made_drive(tmp_path, "car_air_flow")

    def key(**changes: str) -> str:
        given = {"platform": "car", "release": "9", **changes}
        return build_evidence(drive.stats, drive.recordings, drive_s=30.0, **given).key()

    assert key() == key()
    assert key(release="10") != key()


def test_no_vin_from_a_text_gets_into_the_evidence(tmp_path: Path) -> None:
    drive = made_drive(tmp_path, "av_lidar_dropout")
    vin = VIN
    told = drive.stats.with_columns(message=pl.lit(f"vehicle {vin} at 48.137154, 11.576124"), ecu=pl.lit(f"n {vin}"))
    evidence = build_evidence(told, drive.recordings, platform="av", release="1", drive_s=30.0)
    assert vin not in evidence.model_dump_json()
    assert "48.137" not in evidence.model_dump_json()


def test_a_trouble_that_is_told_twice_is_one_item_that_says_so(tmp_path: Path) -> None:
    drive = made_drive(tmp_path, "truck_oil_pressure")
    again = drive.events.with_columns(
        source=pl.lit("j1939_dm2").cast(drive.events.schema["source"]),
        status=pl.lit("previously_active").cast(drive.events.schema["status"]),
    )
    stats = aggregate(pl.concat([drive.events, again]), drive.recordings).error_stats
    evidence = build_evidence(stats, drive.recordings, platform="truck", release="9", drive_s=30.0)
    assert [(i.id, i.source) for i in evidence.items] == [("E1", "j1939_dm1"), ("E2", "j1939_dm1")]
    assert {i.also_reported for i in evidence.items} == {("j1939_dm2: previously_active",)}
    assert evidence.codes_total == 2
