"""Fields as targets: what a recording, a manifest, a file of cases or a model's answer holds, parsed without I/O.

Each target imports what it needs when it is made, so that a process counts coverage of that alone.
"""

import json
import os
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from fuzz.target import Target


def _text(data: bytes) -> str:
    """Return a text of any bytes; what is not UTF-8 becomes lone surrogates, which vehicles and models can send too."""
    return data.decode("utf-8", "surrogateescape")


# ---------------------------------------------------------------------------------------------- recordings


def topics() -> Target:
    """Fuzz messages with their schema."""
    from fuzz.messages import SEEDS, check_message

    return Target(check_message, SEEDS, 4096)


def schemas() -> Target:
    """Fuzz schemas alone: a byte for the encoding, then the schema."""
    from argus_assets.recordings.messages.topics import flattener
    from fuzz.messages import ENCODINGS, SEEDS

    def check(data: bytes) -> None:
        if data:
            encoding, schema_encoding = ENCODINGS[data[0] % len(ENCODINGS)]
            flattener(encoding, "t.M" if encoding == "protobuf" else "t/msg/M", schema_encoding, data[1:])

    return Target(check, [seed[:1] + seed[3 : 3 + int.from_bytes(seed[1:3], "little")] for seed in SEEDS], 1024)


def ros_msg() -> Target:
    """Fuzz definitions of ROS messages."""
    from argus_assets.recordings.messages.ros_msg import BadDefinition, parse_message
    from argus_assets.simulate import ros

    def check(data: bytes) -> None:
        try:
            fields = parse_message("t/msg/M", data.decode("utf-8", "replace"))
        except BadDefinition:
            return
        assert fields

    odd = b"float64[] a\nstring<=9 b\nuint8[3] c\nInner[<=2] d\n===\nMSG: t/Inner\nbool x\nbuiltin_interfaces/Time t\nint8 X=3"
    return Target(check, [*(definition.encode() for definition in ros.DEFINITIONS.values()), odd])


def cdr() -> Target:
    """Log entries and diagnostics, in CDR and JSON: a byte for which, then the message."""
    from argus_assets.recordings.messages.standard import FOXGLOVE_LOG, decode_diagnostics, decode_log
    from argus_assets.simulate import ros

    def check(data: bytes) -> None:
        if not data:
            return
        encoding = "json" if data[0] & 1 else "cdr"
        try:
            if data[0] & 2:
                statuses = decode_diagnostics(data[1:], encoding)
                assert all(0 <= status["level"] <= 255 for status in statuses)
            else:
                entry = decode_log(data[1:], FOXGLOVE_LOG if data[0] & 4 else "rcl_interfaces/msg/Log", encoding)
                assert 0 <= entry["level"] <= 255
                assert 0 <= entry["line"] < 2**32
        except (ValueError, TypeError, OverflowError):  # what the MCAP reader takes for a message that is none
            return

    diagnostics = ros.diagnostic_array(10**18, [(2, "a", "b", "c", {"k": "v"}), (0, "", "", "", {})])
    log = {"level": 4, "message": "m", "name": "n", "file": "f", "line": 3, "timestamp": {"sec": 1, "nsec": 2}}
    status = {
        "status": [
            {"level": 2, "name": "a", "message": "b", "hardware_id": "c", "values": [{"key": "k", "value": "v"}]}
        ]
    }
    return Target(
        check,
        [
            b"\0" + ros.log(10**18, 40, "node", "text", 3), b"\2" + diagnostics, b"\1" + json.dumps(log).encode(),
            b"\5" + json.dumps({**log, "level": "ERROR"}).encode(), b"\3" + json.dumps(status).encode(),
        ],
    )  # fmt: skip


def log_heads() -> Target:
    """Fuzz heads of text logs: format, version, base, columns and the date, which each format writes in its own way."""
    from argus_assets.recordings.budget import Budget
    from argus_assets.recordings.formats.text.reader import TextDecoder
    from argus_assets.recordings.registry import DECODERS

    formats = [decoder for decoder in DECODERS if isinstance(decoder, TextDecoder)]

    def check(data: bytes) -> None:
        for decoder in formats:
            if decoder.matches(data):
                decoder.open(BytesIO(data), Budget(size_bytes=len(data)))

    return Target(
        check,
        [
            b"date Mon Nov 23 08:00:00.123 am 2026\nbase hex timestamps absolute\n",
            b"date Mo Nov 23 23:59:59 2026\nbase dec timestamps relative\n// version 9.0.0\n",
            b"base hex  timestamps absolute\nBegin Triggerblock Mon Nov 23 08:00:00 pm 2026\n",
            b";$FILEVERSION=2.1\n;$STARTTIME=46344.4166666667\n;$COLUMNS=N,O,T,B,I,d,R,L,D\n",
            b";$FILEVERSION=1.3\n;$STARTTIME=46344.5\n;   Start time: 18.11.2026 10:00:00.000.0\n",
            b"(1700000000.000001) can0 18FECA00#04FF6E0003010000 R\n",
            b"timestamp,arbitration_id,extended,remote,error,dlc,data\n1700000000.5,0x100,0,0,0,8,AAAAAAAAAAA=\n",
        ],
    )  # fmt: skip


def times() -> Target:
    """Fuzz times of text logs: a byte for the format, then the time in an otherwise whole line."""
    from fuzz.check import check as check_recording

    lines: Final = (
        b"(%s) can0 100#00\n",
        b"date Mon Nov 23 08:00:00 2026\nbase hex timestamps absolute\n%s 1 100 Rx d 1 00\n",
        b"date %s\nbase hex timestamps absolute\n0.5 1 100 Rx d 1 00\n",
        b"base hex timestamps relative\nBegin Triggerblock %s\n0.5 1 100 Rx d 1 00\n",
        b";$FILEVERSION=2.0\n;$STARTTIME=%s\n;$COLUMNS=N,O,T,I,d,l,D\n      1      0.100 DT 0100 Rx 1 00\n",
        b";$FILEVERSION=2.0\n;$STARTTIME=46344.5\n;$COLUMNS=N,O,T,I,d,l,D\n      1      %s DT 0100 Rx 1 00\n",
        b"timestamp,arbitration_id,extended,remote,error,dlc,data\n%s,0x100,0,0,0,1,AA==\n",
    )

    def check(data: bytes) -> None:
        if data:
            check_recording(lines[data[0] % len(lines)] % data[1:].replace(b"\n", b" "))

    moments = (
        b"1700000000.123456",
        b"0.5",
        b"Mon Nov 23 08:00:00.5 am 2026",
        b"Mon Nov 23 23:59:59 9999",
        b"46344.5",
        b"12.3",
        b"9223372036.854775807",
    )
    return Target(check, [bytes([i]) + moment for i in range(len(lines)) for moment in moments], 96)


def formulas() -> Target:
    """Fuzz formulas of MDF conversions."""
    import numpy as np

    from argus_assets.recordings.formats.mdf4.formula import FormulaError, parse_formula

    values = np.array([-1.0, 0.0, 0.5, 1e300, np.inf, np.nan])

    def check(data: bytes) -> None:
        try:
            formula = parse_formula(_text(data))
        except FormulaError:
            return
        found = formula(values)
        assert found.shape == values.shape
        assert found.dtype == np.float64

    return Target(
        check,
        [
            b"X", b"2*X+1", b"(X-32)*5/9", b"sin(X)^2+cos(X)**2", b"pow(X, 2)/sqrt(abs(X))", b"-X", b"1e-3*X", b"exp(log(X))",
            b"9^9^9^9", b"((((X))))", b"X1 + x", b"if(X>1, 2, 3)", b"__import__('os').system('id')", b"X.real",
        ],
        256,
    )  # fmt: skip


# ---------------------------------------------------------------------------------------------- texts


def texts() -> Target:
    """Fuzz the cleaning of names and texts."""
    from argus_assets.common.texts import MAX_NAME_CHARS, clean, clean_name

    def check(data: bytes) -> None:
        text = _text(data)
        cleaned, short, name = clean(text), clean(text, max_chars=8), clean_name(text)
        assert clean(cleaned) == cleaned
        assert len(short) <= 8
        assert clean_name(name) == name
        assert len(name) <= MAX_NAME_CHARS
        assert "\n" not in name
        for shown in (cleaned, short, name):
            shown.encode()  # a lone surrogate has no UTF-8
            assert not any(c in shown for c in "\0\x1b\x7f\u202e\u2066\u200b\ufeff"), repr(shown)

    return Target(check, [text.encode() for text in _TEXTS])


_TEXTS: Final = (
    "plain", "näive 温度 حرارة 🚗\u200d💨", "a\0b\x1b[31m\x07", "\u202egnp.exe\u202c", "e\u0301", "a\tb\nc\r\n", "x" * 300,
    "\ufeff\u2028\U000e0041", "![i](http://127.0.0.1/p.png)", "<script>alert(1)</script>", '=HYPERLINK("x")', "[/x]",
    "a|b\\|c `d` *e* _f_ ~g~ &amp; www.example.org a@example.org", "`` ` ``", "```\nx\n```",
)  # fmt: skip


def escapes() -> Target:
    """Fuzz the escaping of texts: Markdown, HTML, CSV and lines."""
    import csv
    import io

    from argus_assets.common.texts import csv_cell, csv_text, html, markdown, markdown_table, one_line

    span = re.compile(r"`[^`|\\]+`")

    def check(data: bytes) -> None:
        text = _text(data)
        told = markdown(text)
        outside = span.sub("", told)
        assert not set("<>[]|*\\`~\n\r") & set(outside), told
        assert not re.search(r"://|www\.|@", outside, re.IGNORECASE), told
        assert markdown_table(["a", "b"], [[text, text]]).count("\n") == 2
        assert not set("<>\"'") & set(html(text))
        assert len(one_line(text).splitlines()) <= 1
        cell = csv_cell(text)
        assert csv_text(cell) == text
        assert not cell.lstrip('\t\r\n "').startswith(("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20"))
        if "\0" not in text and "\r" not in text:
            out = io.StringIO(newline="")
            csv.writer(out).writerow([cell])
            assert [csv_text(one) for row in csv.reader(io.StringIO(out.getvalue(), newline="")) for one in row] == [
                text
            ]

    return Target(check, [text.encode() for text in _TEXTS])


def markdown() -> Target:
    """Fuzz a diagnosis as Markdown for Dagster's UI, with an ECU's name and a title of any text."""
    from argus_assets.diagnosis.offline import diagnose_offline
    from argus_assets.report.summary import diagnosis_markdown

    catalogue, evidence = _catalogue(), _evidence()
    diagnosis = diagnose_offline(evidence, catalogue)

    def check(data: bytes) -> None:
        text = _text(data)
        cause = diagnosis.root_causes[0].model_copy(update={"title": text, "explanation": text, "actions": (text,)})
        told = diagnosis.model_copy(update={"verdict": text, "mode_reason": text, "root_causes": (cause,)})
        made = diagnosis_markdown(told, evidence)
        assert made

    return Target(check, [t.encode("utf-8", "surrogateescape") for t in _TEXTS])


def redaction() -> Target:
    """Fuzz the redaction of texts, names and releases."""
    from argus_assets.diagnosis.redaction import MAX_IDENTIFIER, redact, redact_prose, safe_identifier, safe_release

    def check(data: bytes) -> None:
        text = _text(data)
        line = redact(text)
        assert redact(line) == line
        name = safe_identifier(text)
        assert safe_identifier(name) == name
        assert len(name) <= MAX_IDENTIFIER
        prose = redact_prose(text, 60)
        assert len(prose) <= 60
        assert len(safe_release(text)) <= MAX_IDENTIFIER

    return Target(
        check,
        [
            b"VIN 1M8GDM9AXKP042788 of the truck", b"1m8gdm9axkp042788", b"mail a.b@example.org", b"192.168.0.1:8080", b"fe80::1%eth0",
            b"token=eyJhbGciOi.JIUzI1NiJ9.abc", b"48.137154, 11.576124", b"N 48 8.1 E 11 34.5", b"+49 170 1234567", b"/home/anna/log",
            b"AKIAIOSFODNN7EXAMPLE", b"SPN609/FMI9", b"LOG_TIMEOUT_1a2b3c4d", b"P0301 E101 U0100-87", b"Mr. Smith", b"2026.4.1",
        ],
        300,
    )  # fmt: skip


# ---------------------------------------------------------------------------------------------- documents


def manifest() -> Target:
    """Fuzz manifests."""
    from argus_assets.drop.manifest import BadManifest, parse_manifest

    whole = {
        "vehicle_id": "v", "vin": "1M8GDM9AXKP042788", "batch_id": "b", "release": "1", "platform": "car",
        "recorded_from": "2026-11-23T08:00:00Z", "recorded_to": "2026-11-23T09:00:00+01:00", "ecu_releases": {"engine": "1.2"},
        "files": [{"name": "a.mcap", "size": 1, "sha256": "0" * 64}, {"name": "rec/b.blf", "size": 2**40, "sha256": "f" * 64}],
    }  # fmt: skip

    def check(data: bytes) -> None:
        try:
            read = parse_manifest(data, vehicle_id="v", batch_id="b")
        except BadManifest as error:
            told = str(error)
        else:
            assert parse_manifest(read.model_dump_json().encode(), vehicle_id="v", batch_id="b") == read
            return
        assert told.isprintable(), told

    compact = json.dumps(whole, separators=(",", ":")).encode()
    return Target(check, [compact, json.dumps(whole, indent=1).encode(), b"[]", b'{"files":[]}', compact[:200]], 1024)


def keys() -> Target:
    """Fuzz keys of objects and partitions, and names of files."""
    from argus_assets.drop import keys
    from argus_assets.drop.manifest import name_problem

    def check(data: bytes) -> None:
        text = _text(data)
        if (batch := keys.parse_inbox_key(text)) is not None:
            assert keys.inbox_key(batch.vehicle_id, batch.batch_id) == text
        if (accepted := keys.parse_accepted_key(text)) is not None:
            assert keys.accepted_key(accepted[0].vehicle_id, accepted[0].batch_id, accepted[1]) == text
        if (partition := keys.parse_partition_key(text)) is not None:
            assert (
                text == f"{partition.recorded_on:%Y-%m-%d}_{partition.vehicle_id}_{partition.batch_id}"
                or partition.recorded_on.year < 1000
            )
        assert keys.printable(text).isprintable()
        if name_problem(text) is None:
            assert not {"", ".", ".."} & set(text.split("/"))
            text.encode()

    return Target(
        check,
        [
            b"inbox/v/b.json",
            b"accepted/v/b.0123456789abcdef.json",
            b"2026-11-23_v_b",
            b"rec/0001.mcap",
            b"../a",
            b"a//b",
        ],
        128,
    )


def cases() -> Target:
    """Fuzz files of cases: a byte for the format, then the file."""
    from argus_assets.diagnosis.case_files import COLUMNS, BadRow, read_cases, write_cases
    from argus_assets.diagnosis.ports import Case

    row = {
        "id": "c1", "platform": "car", "release": "2026.4", "recorded_at": "2026-03-01T00:00:00Z", "cause": "catalyst_worn",
        "title": "=Worn", "confirmed_at": "2026-03-02", "fix": "-", "note": "+1", "predicted_confidence": 0.5,
    }  # fmt: skip

    def check(data: bytes) -> None:
        if not data:
            return
        text = data[1:].decode("utf-8", "replace")
        found = list(read_cases(text, "jsonl" if data[0] & 1 else "csv", {"catalyst_worn": "Catalyst is worn"}))
        assert all(isinstance(one, Case | BadRow) for one in found)
        for one in found:
            str(one)
        good = [one for one in found if isinstance(one, Case)]
        for form in ("jsonl", "csv"):
            assert list(read_cases(write_cases(good, form), form, {})) == good, form

    lines = json.dumps({**row, "codes": [{"code": "P0301", "ecu": "engine", "occurrences": 12}]}).encode()
    values = {**dict.fromkeys(COLUMNS, ""), **row, "codes": "P0301@engine*12;P0351"}
    table = ",".join(values).encode() + b"\n" + ",".join(str(value) for value in values.values()).encode()
    return Target(
        check,
        [b"\1" + lines, b"\0" + table, b"\0" + table.replace(b",", b";"), b"\0" + table.replace(b",", b"\t")],
        1024,
    )


def toml() -> Target:
    """Fuzz files of operators: a byte for which, then the file."""
    from argus_assets.diagnosis.prices import Prices
    from argus_assets.drop.idle_sessions import read_loggers
    from argus_assets.errors import BadSetting
    from argus_assets.faults.config import read_config
    from argus_assets.recordings.plugins.declarations import read_declarations

    file = os.memfd_create("fuzz.toml")  # a path without a disk, of which nothing is left
    path = Path(f"/proc/self/fd/{file}")
    docs = Path(__file__).resolve().parents[1] / "docs"
    fenced = re.compile(r"^```toml\n(.*?)^```", re.MULTILINE | re.DOTALL)
    examples = [match[1].encode() for page in sorted(docs.glob("*.md")) for match in fenced.finditer(page.read_text())]
    odd = b"a = [[[[1]]]]\nb.c.d = 1979-05-27T07:32:00Z\ne = 0x_f\nf = inf\n"
    readers: list[Callable[[Path], Any]] = [read_config, read_declarations, read_loggers, Prices.load]

    def check(data: bytes) -> None:
        if not data:
            return
        os.ftruncate(file, 0)
        os.pwrite(file, data[1:], 0)
        with suppress(BadSetting):
            readers[data[0] % len(readers)](path)

    return Target(check, [bytes([i]) + seed for i in range(len(readers)) for seed in (*examples, odd)], 1200)


def answer() -> Target:
    """Fuzz answers of a language model."""
    from argus_assets.diagnosis.answer import MAX_CONFIDENCE, Answer, parse_answer, repair_message, validate_answer
    from argus_assets.diagnosis.model import Citation, Evidence
    from argus_assets.diagnosis.severity_floor import severity_floor

    class Holds:
        def problem(self, citation: Citation, evidence: Evidence) -> str | None:
            del citation, evidence
            return None

    catalogue, evidence, facts = _catalogue(), _evidence(), Holds()
    order = ["info", "warning", "error", "critical"]
    link = re.compile(r"\]\([^)]*\)|[a-z]://|<script", re.IGNORECASE)

    def check(data: bytes) -> None:
        read = parse_answer(_text(data))
        if not isinstance(read, Answer):
            repair_message(read)
            return
        valid = validate_answer(read, evidence, (), catalogue, facts)
        assert order.index(valid.severity.value) >= order.index(severity_floor(evidence).value)
        for cause in valid.root_causes:
            assert 0 <= cause.confidence <= MAX_CONFIDENCE
            assert cause.supports
        shown = [valid.summary, *(claim.text for cause in valid.root_causes for claim in cause.claims)]
        assert not any(link.search(text) for text in shown), shown

    claim = {"text": "It misfires [E1].", "speaks": "for", "evidence": [{"item": "E1", "code": "P0301"}]}
    cause = {
        "cause": "misfire_cylinder_1", "title": "Misfire", "system": "ignition", "kind": "mechanical", "confidence": 0.8,
        "explanation": "See [x](http://y). <b>P0301</b>", "claims": [claim], "checks": ["Look at the plug."],
    }  # fmt: skip
    told = {"summary": "It misfires.", "severity": "warning", "drivable": "yes", "root_causes": [cause]}
    compact = json.dumps(told, separators=(",", ":")).encode()
    return Target(check, [compact, b"```json\n" + compact + b"\n```", b"{}", b"no"], 1024)


def _catalogue() -> Any:  # noqa: ANN401 - its type is imported with it
    from argus_assets.diagnosis.vehicle.catalogue import load_catalogue

    return load_catalogue()


def _evidence() -> Any:  # noqa: ANN401
    from argus_assets.diagnosis.model import Coverage, Evidence, EvidenceItem
    from argus_assets.faults.schema import Severity

    items = tuple(
        EvidenceItem(
            id=f"E{number}", code=code, source="uds", ecu="engine", status="active", severity=Severity.ERROR, occurrences=1,
            frame_count=1, active_s=1.0, active_share_pct=1.0, seconds_into_drive=1.0, recording="a", frame=number,
        )
        for number, code in enumerate(("P0301", "U0100-87"), 1)
    )  # fmt: skip
    coverage = Coverage(recordings=1, recordings_read=1, frames=1000, frames_lost=0, drive_s=60.0)
    return Evidence(platform="car", release="1", coverage=coverage, items=items, codes_total=2)


TARGETS: Final[Mapping[str, Callable[[], Target]]] = MappingProxyType(
    {
        target.__name__: target
        for target in (
            topics, schemas, ros_msg, cdr, log_heads, times, formulas, texts, escapes, markdown, redaction, manifest, keys, cases, toml,
            answer,
        )
    }
)  # fmt: skip
"""Factories of the targets."""
