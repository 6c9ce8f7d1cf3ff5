"""The page in headless Chromium: what a person sees, on a desk, on a phone and on paper.

The golden text is what a reader of the page gets, folded parts opened. Make it anew with UPDATE_GOLDEN=1
and read the difference before you commit it.
"""

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from argus_assets.report.timeline import timeline_svg
from tests.support.drives import MadeDrive

pytestmark = pytest.mark.browser
GOLDEN = Path(__file__).parent / "golden"


@pytest.fixture(scope="module")
def browser() -> Iterator:
    """Chromium without a window; skips where there is none."""
    sync_api = pytest.importorskip("playwright.sync_api")
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("no Chromium is installed (Debian: apt-get install chromium)")
    with sync_api.sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield launched
        launched.close()


@pytest.fixture
def opened(browser, page_of):
    """Opens a drive's page in a window of a size; fails on anything it asks for, prints or throws."""
    contexts = []

    def open_page(drive: MadeDrive, width: int = 1200, scheme: str = "light"):
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
        contexts.append(context)
        page = context.new_page()
        file = page_of(drive)
        complaints: list[str] = []
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda r: complaints.append(r.url) if r.url != file.as_uri() else None)
        page.goto(file.as_uri())
        assert complaints == []
        return page

    yield open_page
    for context in contexts:
        context.close()


@pytest.mark.parametrize("name", ["faulty", "healthy"])
def test_the_reader_gets_the_golden_text(opened, request: pytest.FixtureRequest, name: str) -> None:
    page = opened(request.getfixturevalue(name))
    page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    # Recordings are written with the time of day in them: their digests are others each time.
    text = re.sub(r"\b[0-9a-f]{12,16}\b", "<digest>", page.inner_text("main") + "\n")
    file = GOLDEN / f"{name}.txt"
    if os.environ.get("UPDATE_GOLDEN"):
        GOLDEN.mkdir(exist_ok=True)
        file.write_text(text)
    assert text == file.read_text()


@pytest.mark.parametrize("width", [360, 768, 1200])
def test_nothing_runs_off_the_screen(opened, faulty: MadeDrive, width: int) -> None:
    page = opened(faulty, width)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    # What is wide scrolls in its own box.
    wide = page.evaluate(
        """[...document.querySelectorAll('main *')].filter(e => e.getBoundingClientRect().right > innerWidth + 1
           && !e.closest('.scroll, figure')).map(e => e.outerHTML.slice(0, 80))"""
    )
    assert wide == []


@pytest.mark.parametrize("code", ["RULE_CPU_TEMPERATURE_LIMIT", "WWWWWWWWWWWWWWWWWWWWWWWWWWWW", "P0301"])
def test_the_plot_holds_all_that_is_written_in_it(browser, faulty: MadeDrive, code: str) -> None:
    names = {"code": pl.lit(code), "ecu": pl.lit("/MMMMMM/compute/MMMM")}
    start = faulty.recordings["first_timestamp"].dt.timestamp("ns").min()
    svg = timeline_svg(
        faulty.events.with_columns(**names), faulty.stats.head(3).with_columns(**names), drive_from_ns=start,
        drive_to_ns=start + 30 * 10**9,
    )  # fmt: skip
    page = browser.new_page(viewport={"width": 1000, "height": 900})
    page.set_content(svg)
    outside = page.evaluate(
        """() => { const all = document.querySelector('svg').getBoundingClientRect();
        return [...document.querySelectorAll('svg text')].map(e => [e.textContent, e.getBoundingClientRect()])
          .filter(([, box]) => box.left < all.left || box.right > all.right).map(([text]) => text); }"""
    )
    page.close()
    assert outside == []


def test_a_link_to_evidence_leads_to_it(opened, faulty: MadeDrive) -> None:
    page = opened(faulty)
    page.click("article.cause a >> nth=0")
    target = page.url.partition("#")[2]
    assert target == faulty.diagnosis.root_causes[0].supports[0]
    assert page.locator(f"#{target}").bounding_box()["y"] < 900


def test_one_click_shows_recording_frame_and_bytes(opened, faulty: MadeDrive) -> None:
    page = opened(faulty)
    event = faulty.events.filter(code=faulty.evidence.items[0].code).row(0, named=True)
    bytes_shown = page.get_by_text(event["payload_hex"][:64])
    assert not bytes_shown.first.is_visible()
    page.click("article.cause a >> nth=0")
    assert bytes_shown.first.is_visible(), "a link into a folded part opens it"
    assert page.get_by_text(f"frame {event['frame']:,}").first.is_visible()


@pytest.mark.parametrize("width", [360, 1200])
def test_the_verdict_is_seen_without_scrolling(opened, faulty: MadeDrive, width: int) -> None:
    page = opened(faulty, width)
    for place in ("h1", ".verdict .tag >> nth=0", ".verdict .tag >> nth=1"):
        box = page.locator(place).bounding_box()
        assert box["y"] + box["height"] < 700


def test_text_can_be_read_on_its_background(opened, faulty: MadeDrive) -> None:
    """WCAG 2 AA: a contrast of 4.5 to 1 for every text outside the plot."""
    page = opened(faulty)
    page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    poor = page.evaluate(
        """() => {
        const rgb = c => (c.match(/[\\d.]+/g) || []).map(Number);
        const light = c => { const [r, g, b] = c.map(v => v / 255).map(v => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4);
          return .2126 * r + .7152 * g + .0722 * b; };
        const back = e => { for (; e; e = e.parentElement) { const c = rgb(getComputedStyle(e).backgroundColor);
          if (c.length === 3 || c[3] > 0) return c; } return [255, 255, 255]; };
        return [...document.querySelectorAll('main *')].filter(e => !e.closest('svg')
            && [...e.childNodes].some(n => n.nodeType === 3 && n.data.trim()))
          .map(e => { const [a, b] = [light(rgb(getComputedStyle(e).color)), light(back(e))].sort((x, y) => y - x);
            return [(a + .05) / (b + .05), e.textContent.trim().slice(0, 40)]; })
          .filter(([ratio]) => ratio < 4.5); }"""
    )
    assert poor == []


def test_it_prints(opened, faulty: MadeDrive) -> None:
    printed = opened(faulty).pdf(format="A4")
    assert printed.startswith(b"%PDF-")
    assert 1 <= printed.count(b"/Type /Page\n") + printed.count(b"/Type/Page/") <= 6


def test_the_plot_is_seen(opened, faulty: MadeDrive) -> None:
    """Coloured bars reach the screen: the pixels of the figure hold the colours of the severities."""
    page = opened(faulty)
    box = page.locator("figure svg").bounding_box()
    assert box["width"] > 500
    assert box["height"] > 60
    colours = page.evaluate(
        "[...new Set([...document.querySelectorAll('figure svg [style*=fill]')].map(e => getComputedStyle(e).fill))]"
    )
    severities = {item.severity.value for item in faulty.evidence.items}
    expected = {"critical": "rgb(165, 15, 21)", "error": "rgb(222, 106, 16)", "warning": "rgb(201, 164, 0)"}
    patterns = page.locator("figure svg pattern rect").evaluate_all("rs => rs.map(e => e.getAttribute('fill'))")
    seen = set(colours) | {_rgb(p) for p in patterns}
    assert {expected[s] for s in severities if s in expected} <= seen


def _rgb(fill: str) -> str:
    return f"rgb({int(fill[1:3], 16)}, {int(fill[3:5], 16)}, {int(fill[5:7], 16)})" if fill.startswith("#") else fill
