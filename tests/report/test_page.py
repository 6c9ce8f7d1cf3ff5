"""The page as text: complete, self-contained, safe from what strangers write into a recording."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from html.parser import HTMLParser

import polars as pl
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from argus_assets.diagnosis.evidence import build_evidence
from argus_assets.diagnosis.model import History, ItemHistory, SimilarCase
from argus_assets.faults.dictionary.lookup import describe
from argus_assets.faults.schema import DETAILS
from argus_assets.report.page import MAX_EVENTS_A_FAULT, MAX_NOTES, PageBatch, duration_text, render_page
from tests.support.drives import MadeDrive


class Page(HTMLParser):
    """Tags, ids, links and text of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.text = ""
        self._hidden = 0
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self._hidden += tag in ("style", "svg")
        for name, value in attrs:
            if name == "id":
                self.ids.append(value or "")
            if name in ("href", "src", "xlink:href", "action", "data"):
                self.links.append(value or "")

    def handle_endtag(self, tag: str) -> None:
        self._hidden -= tag in ("style", "svg")

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self.text += data


def test_the_page_needs_nothing_else(faulty: MadeDrive) -> None:
    page = Page(faulty.page())
    assert not {"script", "link", "iframe", "img", "object"} & set(page.tags)
    assert {link[0] for link in page.links} == {"#"}, "only links within the page"
    assert {link[1:] for link in page.links} <= set(page.ids)
    assert len(page.ids) == len(set(page.ids))


def test_the_same_drive_gives_the_same_page(faulty: MadeDrive) -> None:
    assert faulty.page() == faulty.page()


def test_everything_that_counts_is_on_it(faulty: MadeDrive) -> None:
    text = Page(faulty.page()).text
    assert faulty.diagnosis.verdict in text
    assert faulty.diagnosis.coverage in text
    for cause in faulty.diagnosis.root_causes:
        assert cause.title in text
        assert all(action in text for action in cause.actions)
    for item in faulty.evidence.items:
        assert item.code in text
        assert item.ecu in text
    for row in faulty.recordings.iter_rows(named=True):
        assert row["recording"] in text
        assert f"{row['frames']:,}" in text
    for row in faulty.problems.iter_rows(named=True):
        assert row["help"] in text
    assert faulty.manifest.vin not in text, "the page travels"


def test_a_drive_without_faults_says_so_and_has_no_empty_sections(healthy: MadeDrive) -> None:
    page = Page(healthy.page())
    assert "No fault found." in page.text
    assert "svg" not in page.tags
    assert page.ids == ["recordings", "made"]


def test_the_head_tells_hours_distance_and_bus_load_where_they_are_known(faulty: MadeDrive) -> None:
    assert "km by odometer" in Page(faulty.page()).text
    gap = faulty.totals.with_columns(span_h=pl.lit(2.0), recorded_h=pl.lit(1.5), busiest_channel=pl.lit("CAN1"))
    loaded = gap.with_columns(bus_load_mean_pct=pl.lit(41.7), bus_load_peak_pct=pl.lit(88.2))
    text = Page(MadeDrive(**{**vars(faulty), "totals": loaded}).page()).text
    assert "1 h 30 min of it recorded" in text
    assert "Bus load 42% on CAN1, peak 88%" in text
    unknown = faulty.totals.with_columns(distance_km=pl.lit(None, pl.Float64))
    assert " km by " not in Page(MadeDrive(**{**vars(faulty), "totals": unknown}).page()).text


def test_order_is_told_from_both_sides_and_chance_only_of_what_came_often(faulty: MadeDrive) -> None:
    first, second = faulty.pairs.select("code_a", "code_b").row(0)
    text = Page(faulty.page()).text
    assert f"It began 3.0 s before {second} of SA 0x00 (1 time together)" in text
    assert f"It began 3.0 s after {first} of SA 0x00 (1 time together)" in text
    often = faulty.pairs.with_columns(
        joint_activations=pl.lit(4, pl.UInt32), lift=pl.lit(2.5), median_lead_s=pl.lit(0.5)
    )
    text = Page(MadeDrive(**{**vars(faulty), "pairs": often}).page()).text
    assert (
        f"It began together with {second} of SA 0x00 (4 times together, 2.5 times as long as chance would give)" in text
    )


def test_many_activations_are_cut_and_the_rest_is_counted(faulty: MadeDrive) -> None:
    code = faulty.evidence.items[0].code
    one = faulty.events.filter(code=code).head(1)
    many = MadeDrive(**{**vars(faulty), "events": pl.concat([one] * (MAX_EVENTS_A_FAULT + 5))})
    text = Page(many.page()).text
    assert "and 5 more activations in the table error_events" in text
    assert text.count(one["payload_hex"][0][:64]) == MAX_EVENTS_A_FAULT


def test_rows_and_details_beyond_what_people_read_are_counted(faulty: MadeDrive) -> None:
    code = faulty.evidence.items[0].code
    details = [{"key": f"key {n}", "value": "v" * 10_000} for n in range(5000)]
    shown = pl.when(pl.col("code") == code).then(pl.lit(pl.Series([details], dtype=DETAILS))).otherwise("details")
    parsed = faulty.recordings.filter(pl.col("state").cast(pl.String) == "parsed").head(1)
    recordings = pl.concat([*[parsed] * 2000, faulty.recordings])
    problems = pl.concat([faulty.problems.head(1)] * 3000)
    changed = {"events": faulty.events.with_columns(details=shown), "recordings": recordings, "problems": problems}
    page = MadeDrive(**{**vars(faulty), **changed}).page()
    text = Page(page).text
    assert len(page) < 500_000
    assert "and 4,950 more in the table error_events" in text
    assert f"and {recordings.height - 300:,} more in the table recordings." in text
    assert "and 2,900 more in the table problems." in text
    # The damaged one is shown, though it is the last.
    assert "notes.bin" in text


def test_what_detectors_left_out_is_said_and_beyond_what_people_read_counted(faulty: MadeDrive) -> None:
    notes = [f"CAN1 0x7E8: {n} <b>answers</b> of 10.0.0.5 were left out." for n in range(MAX_NOTES + 3)]
    page = Page(page_with(faulty, notes))
    assert "CAN1 0x7E8: 0 <b>answers</b> of " in page.text
    assert "10.0.0.5" not in page.text
    assert page.text.count("were left out.") == MAX_NOTES
    assert "and 3 more in the batch's notes.json." in page.text
    assert "Left out of the search for faults" not in Page(page_with(faulty, ())).text


def page_with(drive: MadeDrive, notes: Sequence[str]) -> str:
    made = drive.manifest
    return render_page(
        batch=PageBatch("k", "v", "b", made.release, made.platform, made.recorded_from, made.recorded_to),
        recordings=drive.recordings, problems=drive.problems, events=drive.events, stats=drive.stats, pairs=drive.pairs,
        totals=drive.totals, speed=drive.speed, diagnosis=drive.diagnosis, evidence=drive.evidence, describe=describe,
        notes=notes,
    )  # fmt: skip


def renamed(drive: MadeDrive, names: list[tuple[str, str]]) -> MadeDrive:
    """The drive with other codes and ECUs for its most important faults, and the evidence for that."""
    real = drive.stats.sort("rank").select("code", "ecu").head(len(names)).rows()

    def change(table: pl.DataFrame) -> pl.DataFrame:
        code, ecu = pl.col("code"), pl.col("ecu")
        changes = {"code": code, "ecu": ecu}
        for (old_code, old_ecu), (new_code, new_ecu) in zip(real, names, strict=True):
            is_it = (code == old_code) & (ecu == old_ecu)
            changes["code"] = pl.when(is_it).then(pl.lit(new_code)).otherwise(changes["code"])
            changes["ecu"] = pl.when(is_it).then(pl.lit(new_ecu)).otherwise(changes["ecu"])
        return table.with_columns(**changes)

    events, stats = change(drive.events), change(drive.stats)
    evidence = build_evidence(
        stats, drive.recordings, platform="truck", release="1", drive_s=30.0, events=events, pairs=drive.pairs
    )
    return replace(drive, events=events, stats=stats, evidence=evidence)


def test_ecus_that_look_alike_on_the_page_have_their_own_events(faulty: MadeDrive) -> None:
    drive = renamed(faulty, [("CAMERA_LOST", "camera 10.0.0.5"), ("CAMERA_LOST", "camera 10.0.0.6")])
    first, second = drive.evidence.items[:2]
    assert first.ecu == second.ecu
    page = Page(drive.page()).text
    for item, ecu in ((first, "camera 10.0.0.5"), (second, "camera 10.0.0.6")):
        count = drive.events.filter(code="CAMERA_LOST", ecu=ecu).height
        assert count
        assert f"{item.id} {item.code} of {item.ecu}: {count} activation{'s' if count > 1 else ''}," in page
    assert "10.0.0" not in drive.page(), "in the timeline neither"


def test_a_code_that_is_shown_otherwise_has_its_events_and_its_meaning(faulty: MadeDrive) -> None:
    drive = renamed(faulty, [("LOG camera 10.0.0.5", "SA 0x00")])
    item = drive.evidence.items[0]
    assert item.code != "LOG camera 10.0.0.5"
    count = drive.events.filter(code="LOG camera 10.0.0.5").height
    assert count
    page = Page(drive.page()).text
    assert f"{item.id} {item.code} of SA 0x00: {count} activation" in page
    assert item.meaning in page
    assert "10.0.0.5" not in page


@pytest.mark.parametrize(
    "hostile", ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "{{ 7*7 }}", "</style></svg><b>bold"]
)
def test_what_strangers_write_stays_text(faulty: MadeDrive, hostile: str) -> None:
    spoiled = MadeDrive(
        **{
            **vars(faulty),
            "recordings": faulty.recordings.with_columns(recording=pl.lit(hostile)),
            "events": faulty.events.with_columns(ecu=pl.lit(hostile), recording=pl.lit(hostile)),
            "stats": faulty.stats.with_columns(ecu=pl.lit(hostile)),
            "evidence": faulty.evidence.model_copy(
                update={
                    "items": tuple(
                        i.model_copy(update={"message": hostile, "ecu": hostile}) for i in faulty.evidence.items
                    )
                }
            ),
        }
    )
    page = Page(spoiled.page())
    assert hostile in page.text
    assert not {"script", "img", "b"} & (set(page.tags) - set(Page(faulty.page()).tags))
    assert page.tags.count("b") == Page(faulty.page()).tags.count("b")


def full(drive: MadeDrive) -> MadeDrive:
    """The drive, diagnosed by a model, with history and a similar case."""
    past = ItemHistory(vehicle="new", release_drives_with=14, vehicles_with=9)
    history = History(window_days=90, release_drives=240, previous_release="2026.09", previous_release_drives=310)
    items = tuple(i.model_copy(update={"history": past}) for i in drive.evidence.items)
    case = SimilarCase(
        id="c-17", cause="engine_oil_pressure_low", title="Oil pressure too low", fix="<b>New pump</b>", platform="truck",
        release="2026.09", similarity=0.93, weight=0.8, shared_codes=("SPN100/FMI1",), confirmed_on=date(2026, 10, 4),
    )  # fmt: skip
    diagnosis = drive.diagnosis.model_copy(
        update={
            "mode": "llm", "mode_reason": "answered", "degraded": None, "model": "m-1", "prompt_version": "p1", "calls": 2,
            "prompt_tokens": 4000, "completion_tokens": 21, "cost_usd": None, "similar_cases": (case,),
            "summary": "See [E1] and [E77] <i>x</i>.", "notes": ("a claim was dropped: <script>",),
        }
    )  # fmt: skip
    return replace(
        drive, evidence=drive.evidence.model_copy(update={"items": items, "history": history}), diagnosis=diagnosis
    )


def test_who_answered_at_what_cost_and_what_was_dropped_is_told(faulty: MadeDrive) -> None:
    page = Page(full(faulty).page())
    for told in (
        "A language model answered", "m-1, prompt p1", "unknown: 2 calls, 4,021 tokens", "a claim was dropped: <script>",
        "<b>New pump</b>", "93%", "new on this vehicle; release 2026.10: 14 of 240 other drives; 2026.09: 0 of 310",
        "See E1 and [E77] <i>x</i>.", faulty.diagnosis.signature[:16],
    ):  # fmt: skip
        assert told in page.text
    assert "script" not in page.tags
    assert page.links.count("#E1") >= 3
    assert {link[1:] for link in page.links} <= set(page.ids)


@pytest.mark.parametrize("reason", ["over_budget", "model_failed", "invalid_answer"])
def test_a_degraded_diagnosis_says_so_beside_its_verdict(faulty: MadeDrive, reason: str) -> None:
    degraded = faulty.diagnosis.model_copy(update={"degraded": reason})
    html = replace(faulty, diagnosis=degraded).page()
    assert "Diagnosed by rules:" in html[: html.index('id="checks"')]
    assert "Diagnosed by rules:" not in faulty.page()


def test_every_claim_leads_to_its_frames(faulty: MadeDrive) -> None:
    text = Page(faulty.page()).text
    for cause in faulty.diagnosis.root_causes:
        for claim in cause.claims:
            for cite in claim.cites:
                assert f"(SHA-256 {cite.recording_sha256}…), frame {cite.first_frame:,}" in text


@given(st.floats(0, 1e6))
@example(59.96)
@example(119.9996)
@example(3599.7)
def test_a_duration_is_the_nearest_that_its_form_can_say(seconds: float) -> None:
    units = {"h": 3600, "min": 60, "s": 1}
    words = duration_text(seconds).split()
    parts = {unit: float(number) for number, unit in zip(words[::2], words[1::2], strict=True)}
    assert all(number < 60 for unit, number in parts.items() if unit != "h")
    finest = 60 if "h" in parts else 1 if "min" in parts else 0.1
    assert abs(sum(number * units[unit] for unit, number in parts.items()) - seconds) <= finest / 2 + 0.5
