"""The page as text: complete, self-contained, safe from what strangers write into a recording."""

from html.parser import HTMLParser

import polars as pl
import pytest
from drives import MadeDrive

from argus_assets.report.page import MAX_EVENTS_A_FAULT


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
    assert page.ids == ["recordings"]


def test_many_activations_are_cut_and_the_rest_is_counted(faulty: MadeDrive) -> None:
    code = faulty.evidence.items[0].code
    one = faulty.events.filter(code=code).head(1)
    many = MadeDrive(**{**vars(faulty), "events": pl.concat([one] * (MAX_EVENTS_A_FAULT + 5))})
    text = Page(many.page()).text
    assert "and 5 more activations in the table error_events" in text
    assert text.count(one["payload_hex"][0][:64]) == MAX_EVENTS_A_FAULT


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
