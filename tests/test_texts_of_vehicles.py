"""Whatever a vehicle names its things: each kind of output shows it as text, and makes nothing else of it.

What comes out is read by a parser of that format, not compared with what an escape is thought to look like.
"""

import csv
import io
import json
import logging
import re
from dataclasses import replace
from datetime import UTC, datetime
from html.parser import HTMLParser
from types import SimpleNamespace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families
from rich.table import Table

from argus_assets.cli.output import terminal
from argus_assets.common.texts import (
    csv_cell,
    csv_text,
    html,
    json_document,
    markdown,
    markdown_table,
    one_line,
    printed,
    rich_text,
)
from argus_assets.diagnosis.case_files import read_cases, write_cases
from argus_assets.diagnosis.model import Diagnosis, Evidence, EvidenceItem, RootCause
from argus_assets.diagnosis.ports import Case, CodeCount
from argus_assets.diagnosis.redaction import redact
from argus_assets.drop.manifest import parse_manifest
from argus_assets.errors import BadManifest
from argus_assets.faults.schema import Severity
from argus_assets.monitoring.logs import JsonFormatter
from argus_assets.monitoring.metrics import Undelivered, families
from argus_assets.monitoring.metrics import example as example_snapshot
from argus_assets.report.summary import diagnosis_markdown

HOSTILE = (
    "[/x].log", "[red]x[/red]", "[link=http://evil]x[/link]", "[/]", "\\[/x]", ":smile:", "a\nb", "a\rb", "a\tb", "\x1b[31mx",
    "![i](http://127.0.0.1:1/p.png)", "[c](javascript:alert(1))", "<http://evil.example>", "http://evil.example/?q=1", "www.evil.example",
    "a@evil.example", "HTTPS://EVIL.example", "xhttp://evil.example|`", "`www.a.b`", "``", "\\", "a\\|b", "a|b", "||", "[^1]", "[^1]: x", "[x]: http://evil",
    "&lt;b&gt;", "&#91;x", "&amp", "<img src=x onerror=alert(1)>", "</script>", "<!-- x", "<![CDATA[x]]>", "*a*", "__a__", "_a_", "a_b_c", "~~a~~", "$x$", "$$",
    "# x", "- x", "+ x", "1. x", "1) x", "> x", "---", "===", "```", "    x", ":---", "| a |", "x\n---\ny", "http://a|b`c\\d@e.fg",
    '"><script>alert(1)</script>', "'", "' onload='x", "{{7*7}}", "{% raw %}",
    "=1+1", "+1", "-1", "@SUM(1)", "\t=1", "\r=1", "\n=1", " =1", "＝1", "＠x", "'=1", "''=1", "'", "'a", "a;=1", "a;'=1", 'a;"=1', 'x"\n=1', "=cmd|' /C calc'!A0",  # noqa: RUF001 - full-width
    "\u202egnp.exe\u202c", "a\x00b", "\ud800", "x" * 5000, "2026-01-01 ERROR forged", 'x\n{"level":"error"}',
)  # fmt: skip
"""Texts that meant something to one of the outputs; hypothesis joins and changes them."""

_piece = st.one_of(
    st.sampled_from(HOSTILE),
    st.text(max_size=8),
    st.sampled_from([*"|`\\[]()<>&*_~#$!:.@=+-;'\"\t\r\n ", "http://", "www."]),
)
hostile = st.lists(_piece, max_size=6).map("".join)


def words(text: str) -> list[str]:
    """The text as a reader sees it where blanks fold."""
    return text.split()


# ------------------------------------------------------------------------------------------------ Markdown

_GFM = MarkdownIt("commonmark").enable(["table", "strikethrough"])
_LINKS = (
    re.compile(r"(https?://|www(?=\.))([-.\w]+)([^ \t\r\n]*)", re.IGNORECASE),
    re.compile(r"([-.\w+]+)@([-\w]+(?:\.[-\w]+)+)"),
)
"""What remark-gfm, the renderer of Dagster's UI, makes links of in the text nodes that a parser leaves."""

_STRUCTURE = {
    f"{kind}_{end}" for kind in ("paragraph", "table", "thead", "tbody", "tr", "th", "td") for end in ("open", "close")
}


def _read_markdown(source: str) -> list[Token]:
    """The inline tokens of a document that has nothing else than paragraphs and tables of plain text."""
    found = _GFM.parse(source)
    assert {t.type for t in found} <= _STRUCTURE | {"inline"}
    inlines = [t for t in found if t.type == "inline"]
    for inline in inlines:
        for node in inline.children or []:
            assert node.type in {"text", "text_special", "code_inline"}, node
            if node.type != "code_inline":
                assert not any(link.search(node.content) for link in _LINKS), node
    return inlines


def _shown(inline: Token) -> str:
    return "".join(node.content for node in inline.children or [])


@given(hostile)
def test_markdown_shows_a_text_in_a_paragraph(text: str) -> None:
    """Also at the beginning of a line, where lists and headings begin."""
    shown = [_shown(inline) for inline in _read_markdown(markdown(text))]
    assert words("".join(shown)) == words(printed(text))
    assert len(shown) <= 1


@given(st.lists(st.tuples(hostile, hostile), max_size=3))
def test_markdown_shows_texts_in_the_cells_of_a_table(rows: list[tuple[str, str]]) -> None:
    """Each in its own cell."""
    cells = [_shown(inline) for inline in _read_markdown(markdown_table(["one", "two"], rows))]
    assert [words(c) for c in cells] == [["one"], ["two"], *(words(printed(text)) for row in rows for text in row)]


# ------------------------------------------------------------------------------------------------ HTML


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, list[tuple[str, str | None]]]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, attrs))

    def handle_data(self, data: str) -> None:
        self.text += data

    def handle_comment(self, data: str) -> None:
        self.tags.append((data, []))

    def handle_decl(self, decl: str) -> None:
        self.tags.append((decl, []))

    def handle_pi(self, data: str) -> None:
        self.tags.append((data, []))


@given(hostile)
def test_html_shows_a_text_as_content_and_in_an_attribute(text: str) -> None:
    """No tag, attribute or comment comes of it."""
    reader = _Reader()
    reader.feed(f'<p title="{html(text)}">{html(text)}</p>')
    reader.close()
    assert reader.tags == [("p", [("title", printed(text))])]
    assert reader.text == printed(text)


# ------------------------------------------------------------------------------------------------ terminals and logs


@given(hostile)
def test_a_terminal_shows_a_text_without_markup(text: str) -> None:
    """Printed, in a cell, and with a style of ours."""
    for cell in (text, rich_text(text, "red")):
        console = terminal(file=io.StringIO(), record=True, width=100_000)
        table = Table(box=None, show_header=False)
        table.add_row(cell)
        console.print(table)
        console.print(cell)
        shown = console.export_text(styles=False)
        assert words(shown) == 2 * words(printed(text))


@given(hostile)
def test_no_text_makes_a_line_of_its_own_or_moves_a_cursor(text: str) -> None:
    """Whatever a reader of logs takes for the end of a line."""
    line = one_line(text)
    assert len(f"x{line}x".splitlines()) == 1
    assert line.isprintable() or not {c for c in line if ord(c) < 32 or 127 <= ord(c) < 160}
    assert words(line) == words(printed(text))


# ------------------------------------------------------------------------------------------------ CSV

_FORMULA = re.compile(r"\s*[=+\-@＝＋－＠]")  # noqa: RUF001 - their full-width forms


@given(hostile)
@example("'=1")
@example("a;'''=1")
def test_csv_cells_hold_no_formula_and_come_back_exactly(text: str) -> None:
    """As a spreadsheet reads them that takes commas, semicolons or tabs for what separates cells."""
    assert csv_text(csv_cell(text)) == text
    out = io.StringIO()
    csv.writer(out, lineterminator="\n", quoting=csv.QUOTE_ALL).writerow(["a", csv_cell(text), "b"])
    assert next(csv.reader(io.StringIO(out.getvalue(), newline="")))[1] == csv_cell(text)
    for delimiter in ",;\t":
        for row in csv.reader(io.StringIO(out.getvalue(), newline=""), delimiter=delimiter):
            assert not any(_FORMULA.match(cell) for cell in row), (delimiter, row)
    assert not re.match(r"[\t\r\n]", csv_cell(text))


@given(hostile)
def test_cells_that_other_programs_wrote_stay_as_they_are(text: str) -> None:
    """An apostrophe that is not there to defuse something is text."""
    if not text.startswith("'") and "'" not in text:
        assert csv_text(text) == text
    assert csv_text("'80s part; 'quoted'") == "'80s part; 'quoted'"


# ------------------------------------------------------------------------------------------------ whole documents

_PROSE = _STRUCTURE | {
    f"{kind}_{end}" for kind in ("ordered_list", "bullet_list", "list_item") for end in ("open", "close")
}


@given(hostile, hostile)
def test_a_diagnosis_in_markdown_has_only_markup_of_our_own(text: str, other: str) -> None:
    """Whatever stands in codes, ECUs, causes, actions and reasons."""
    item = EvidenceItem.model_construct(id="E1", code=text, ecu=other)
    cause = RootCause.model_construct(
        cause="c", title=text, explanation=other, confidence=0.5, supports=("E1",), actions=(text, other)
    )
    diagnosis = Diagnosis.model_construct(
        verdict=text, severity=Severity.ERROR, drivable="no", coverage=other, root_causes=(cause,), mode="offline",
        mode_reason=text,
    )  # fmt: skip
    source = diagnosis_markdown(diagnosis, Evidence.model_construct(items=(item,)))
    for token in _GFM.parse(source):
        assert token.type in _PROSE | {"inline"}, token
        for node in token.children or []:
            assert node.type in {
                "text",
                "text_special",
                "code_inline",
                "softbreak",
                "strong_open",
                "strong_close",
                "em_open",
                "em_close",
            }
            assert node.type == "code_inline" or not any(link.search(node.content) for link in _LINKS), node


@given(hostile, hostile)
def test_events_for_other_systems_hold_texts_as_json(text: str, key: str) -> None:
    """What PostgreSQL's jsonb and every parser of JSON takes, and reads as the text."""
    document = {key: [text, {"n": 1, "x": None}]}
    read = json.loads(json.dumps(json_document(document)).encode())
    assert read == {printed(key): [printed(text), {"n": 1, "x": None}]}
    assert "\0" not in json.dumps(read, ensure_ascii=False)


@given(hostile)
def test_a_line_of_a_json_log_is_one_object(text: str) -> None:
    """With the text as its message."""
    record = logging.LogRecord("argus", logging.ERROR, "x.py", 1, "%s", (text,), None)
    line = JsonFormatter().format(record)
    assert len(line.splitlines()) == 1
    assert json.loads(line)["message"] == text


@given(hostile)
def test_metrics_hold_any_label_as_a_label(text: str) -> None:
    """As Prometheus' own parser reads them."""
    name = printed(text)
    snapshot = replace(example_snapshot(), outbox={name: Undelivered(1, 0, 0.0, off=False)})
    registry = SimpleNamespace(collect=lambda: families(snapshot))
    exposed = generate_latest(registry).decode()  # type: ignore[arg-type] # it only collects
    read = {family.name: family for family in text_string_to_metric_families(exposed)}
    assert set(read) >= {family.name for family in families(example_snapshot())}
    assert [sample.labels for sample in read["argus_events_waiting"].samples] == [{"endpoint": name}]


def test_no_label_of_a_metric_is_a_text_of_a_vehicle() -> None:
    """So that their number is bounded, whatever vehicles name their things."""
    labels = {label for family in families(example_snapshot()) for sample in family.samples for label in sample.labels}
    assert labels == {
        "source",
        "state",
        "status",
        "name",
        "type",
        "daemon",
        "kind",
        "le",
        "step",
        "outcome",
        "endpoint",
    }


@given(hostile.map(printed), hostile.map(printed))
def test_cases_come_back_from_a_spreadsheet_as_they_went(text: str, code: str) -> None:
    """Through the CSV that `argus case export` writes and `argus case import` reads."""
    at = datetime(2026, 1, 1, tzinfo=UTC)
    case = Case(
        id="c1", platform="car", release="1", recorded_at=at, codes=(CodeCount(code="P0301", ecu="e", occurrences=2),),
        cause="loose", title=redact(f"t{text}"), fix=redact(code) or None, confirmed_at=at,
    )  # fmt: skip
    (read,) = read_cases(write_cases([case], "csv"), "csv", {})
    assert read == case.model_copy(update={"fix": case.fix if case.fix and case.fix.strip() else None})


@pytest.mark.parametrize("end", ["", "\\", '\\"'])
def test_a_manifest_of_a_text_without_end_is_refused_at_once(end: str) -> None:
    """A mebibyte of escaped quotes behind more values than are taken: time does not grow with its square."""
    raw = ("[" + "," * 250_001 + '"' + '\\"' * 500_000 + end).encode()
    with pytest.raises(BadManifest):
        parse_manifest(raw, vehicle_id="v", batch_id="b")
