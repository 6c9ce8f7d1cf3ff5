"""The timeline: one lane per fault, in the order of first appearance, bars where the events were."""

import re
from xml.etree import ElementTree as ET

import polars as pl
import pytest

from argus_assets.report.timeline import LANES, MAX_ALL_BARS, MAX_BARS, timeline_svg
from argus_assets.stats.drive import aggregate
from tests.support.drives import MadeDrive

SVG = "{http://www.w3.org/2000/svg}"
BAR = r'<g id="patch_\d+">\s*<path d="[^"]*" clip-path'
S = 10**9


def plot(drive: MadeDrive, **changes) -> str:
    first = drive.recordings["first_timestamp"].dt.timestamp("ns").min()
    given = {"drive_from_ns": first, "drive_to_ns": first + 30 * S, **changes}
    return timeline_svg(changes.pop("events", drive.events), drive.stats, **given)


def texts(svg: str) -> list[str]:
    return [element.text or "" for element in ET.fromstring(svg).iter(f"{SVG}text")]


def test_lanes_stand_in_the_order_of_first_appearance(faulty: MadeDrive) -> None:
    svg = plot(faulty)
    lanes = [text for text in texts(svg) if text.startswith("SPN")]
    order = faulty.stats.head(LANES).sort("first_seen", "rank")["code"].to_list()
    assert [lane.split("  ")[0] for lane in lanes] == order
    spoken = ET.fromstring(svg).attrib["aria-label"]
    assert [spoken.index(code) for code in order] == sorted(spoken.index(code) for code in order)


def test_a_long_code_leaves_the_plot_its_room_and_stays_readable(faulty: MadeDrive) -> None:
    names = {"code": pl.lit("RULE_LIDAR_POINT_RATE"), "ecu": pl.lit("/sensing/lidar/status")}
    svg = timeline_svg(
        faulty.events.with_columns(**names), faulty.stats.head(1).with_columns(**names),
        drive_from_ns=faulty.recordings["first_timestamp"].dt.timestamp("ns").min(), drive_to_ns=2 * 10**18,
    )  # fmt: skip
    assert "RULE_LIDAR_POINT_RATE  /sensi…" in texts(svg)


def test_there_is_a_bar_for_every_activation(faulty: MadeDrive) -> None:
    lanes = faulty.stats.head(LANES).select("code", "ecu")
    shown = faulty.events.join(lanes, on=["code", "ecu"], how="semi")
    assert len(re.findall(BAR, plot(faulty))) == shown.height


def test_a_lane_of_very_many_activations_shows_how_full_each_part_of_the_drive_was(faulty: MadeDrive) -> None:
    """Thousands of bars side by side could not be told apart, and would take seconds to draw."""
    code = faulty.stats["code"][0]
    one = faulty.events.filter(code=code).head(1)
    step = pl.duration(milliseconds=pl.int_range(MAX_BARS + 1) * 20)
    many = pl.concat([one] * (MAX_BARS + 1)).with_columns(
        first_seen=pl.col("first_seen") + step, last_seen=pl.col("first_seen") + step + pl.duration(milliseconds=10)
    )
    stats = aggregate(many, faulty.recordings).error_stats
    filled = sum(n > 0 for n in stats["occurrences_by_bin"][0])
    first = faulty.recordings["first_timestamp"].dt.timestamp("ns").min()
    svg = timeline_svg(many, stats, drive_from_ns=first, drive_to_ns=first + 30 * S)
    assert len(re.findall(BAR, svg)) == filled < MAX_BARS


def test_a_trouble_that_is_told_twice_has_one_lane(faulty: MadeDrive) -> None:
    again = faulty.events.with_columns(source=pl.lit("j1939_dm2").cast(faulty.events.schema["source"]))
    stats = aggregate(pl.concat([faulty.events, again]), faulty.recordings).error_stats
    first = faulty.recordings["first_timestamp"].dt.timestamp("ns").min()
    svg = timeline_svg(faulty.events, stats, drive_from_ns=first, drive_to_ns=first + 30 * S)
    assert len([text for text in texts(svg) if text.startswith("SPN")]) == faulty.stats.height


@pytest.mark.parametrize(("seconds", "unit"), [(30, "seconds"), (180, "seconds"), (181, "minutes"), (7200, "minutes")])
def test_the_axis_has_a_unit_that_people_read(faulty: MadeDrive, seconds: int, unit: str) -> None:
    first = faulty.recordings["first_timestamp"].dt.timestamp("ns").min()
    svg = plot(faulty, drive_to_ns=first + seconds * S)
    assert f"{unit} since the drive's first frame" in texts(svg)


def test_no_faults_no_plot(healthy: MadeDrive) -> None:
    assert plot(healthy) == ""


def test_a_drive_of_one_moment_can_be_drawn(faulty: MadeDrive) -> None:
    first = faulty.recordings["first_timestamp"].dt.timestamp("ns").min()
    assert ET.fromstring(plot(faulty, drive_to_ns=first)).tag.endswith("svg")


@pytest.mark.parametrize("name", ["$x^2$", "$\\frac$", "a$b$c", "$$", "</text><script>", '"><x', "]]>", "&lt;", "a\nb"])
def test_a_name_is_text_in_the_plot(faulty: MadeDrive, name: str) -> None:
    """Neither mathematics of matplotlib nor elements of SVG come of it."""
    names = {"code": pl.lit(name), "ecu": pl.lit(name), "lamp_status": pl.lit(name)}
    stats = faulty.stats.head(1).with_columns(code=names["code"], ecu=names["ecu"])
    svg = timeline_svg(
        faulty.events.with_columns(**names), stats, drive_from_ns=1_795_000_000 * S, drive_to_ns=1_795_000_030 * S
    )
    shown = name.replace("\n", " ")
    assert any(text.startswith(shown) for text in texts(svg))
    assert shown in " ".join(ET.fromstring(svg).attrib["aria-label"].split())
    assert {element.tag for element in ET.fromstring(svg).iter()} <= {
        f"{SVG}{tag}" for tag in ("svg", "g", "path", "text", "defs", "style", "use", "clipPath", "rect", "pattern")
    }


def test_all_lanes_together_have_no_more_bars_than_a_small_page_holds(faulty: MadeDrive) -> None:
    one = faulty.events.head(1)
    step = pl.duration(milliseconds=pl.int_range(MAX_BARS) * 20)
    lanes = [
        pl.concat([one] * MAX_BARS).with_columns(
            code=pl.lit(f"SPN{lane}/FMI1"),
            first_seen=pl.col("first_seen") + step,
            last_seen=pl.col("first_seen") + step,
        )
        for lane in range(LANES)
    ]
    many = pl.concat(lanes)
    first = faulty.recordings["first_timestamp"].dt.timestamp("ns").min()
    stats = aggregate(many, faulty.recordings).error_stats
    svg = timeline_svg(many, stats, drive_from_ns=first, drive_to_ns=first + 30 * S)
    assert LANES <= len(re.findall(BAR, svg)) <= MAX_ALL_BARS
