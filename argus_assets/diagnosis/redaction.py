"""Redact texts from recordings: cap them, and remove whatever identifies a vehicle, a person or a place.

The rules cover, in this order: credentials, mail addresses, VINs, positions, network addresses, labelled serial numbers,
phone numbers, licence plates, names of persons, home folders. Whatever an engineer needs stays: fault codes, numbers with
units, rates, times and versions. An ambiguous text is redacted only if a label says what it is: `driver=` and `plate:`
do, a bare word does not.
"""

import re
import unicodedata
from collections.abc import Callable
from functools import lru_cache
from hashlib import sha256
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from itertools import pairwise
from typing import Final

MAX_TEXT: Final = 200
MAX_IDENTIFIER: Final = 64

_MAX_READ: Final = 4096
"""Characters of a text that are read; the rest is dropped."""

_CACHED: Final = 4096
"""Number of texts whose redaction is cached: a drive repeats the same few."""

Replacement = str | Callable[[re.Match[str]], str]


# ------------------------------------------------------------------------------------------------ Unicode

_IGNORABLE: Final = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164"
    "\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]+"
)
"""Invisible characters (Unicode: Default_Ignorable_Code_Point), and annotation marks."""

_UNPRINTABLE: Final = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\uf8ff]+")
_COMPATIBLE: Final = re.compile("[^µ²³…¼½¾]+")
"""Characters to normalise. The others carry meaning as they are: `m/s²`."""


def _normal(text: str) -> str:
    """Return `text` on one line, in Unicode compatibility form (NFKC), without invisible characters."""
    if text.isascii():
        return _UNPRINTABLE.sub(" ", text)
    shown = _UNPRINTABLE.sub(" ", _IGNORABLE.sub("", text))
    return _COMPATIBLE.sub(lambda match: unicodedata.normalize("NFKC", match[0]), shown)


# ------------------------------------------------------------------------------------------------ credentials

_CREDENTIALS: Final[tuple[tuple[re.Pattern[str], Replacement], ...]] = (
    (re.compile(r"(?<=://)[^\s/@<>]+@(?=[^\s/@])"), "<secret>@"),
    (re.compile(r"(?<![\w-])eyJ[\w-]{5,}\.[\w-]+(?:\.[\w-]*)?"), "<secret>"),
    (re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b|\b(?:sk|glpat|gh[opsru]|xox[abp])[-_][\w-]{16,}"), "<secret>"),
    (
        re.compile(
            r"(?<![a-z])(passw(?:or)?d|passwort|pwd|passphrase|secret|api[_-]?key|signature|sig)"
            r"(\"?'?\s*[:=]\s*\"?'?)[^\s\"'<>,;&]{3,}",
            re.IGNORECASE,
        ),
        r"\1\2<secret>",
    ),
    (
        re.compile(
            r"(?<![a-z])((?:[a-z]+[_-])?(?:token|key|credential)|bearer|basic|authorization)(\"?'?\s{0,9}(?:[:=]|\s)\s{0,9}\"?'?)"
            r"(?=[\w+/.~=-]*\d)[\w+/.~=-]{12,}",
            re.IGNORECASE,
        ),
        r"\1\2<secret>",
    ),
    (re.compile(r"(?<![A-Za-z0-9])[0-9a-fA-F]{32,}(?![A-Za-z0-9])"), "<secret>"),
    (re.compile(r"(?<![\w+/=-])[\w+/-]{32,}={0,2}(?![\w+/=-])", re.ASCII), lambda match: _unless_words(match[0])),
)

_MAX_WORD_CHANGES: Final = 0.3
"""Changes between upper case, lower case and digits per character: 0.65 in random base64, below 0.3 in words."""


def _unless_words(run: str) -> str:
    """Return a run of letters and digits unchanged if it consists of words, else redacted."""
    kinds = [2 if c.isdigit() else c.isupper() for c in run if c.isalnum()]
    changes = sum(a != b for a, b in pairwise(kinds))
    return "<secret>" if len(set(kinds)) == 3 and changes >= _MAX_WORD_CHANGES * len(kinds) else run


# ------------------------------------------------------------------------------------------------ VIN

_V: Final = "[A-HJ-NPR-Za-hj-npr-z0-9]"
_GROUPINGS: Final = (
    (3, 6, 8),
    (3, 5, 1, 8),
    (3, 6, 1, 1, 6),
    (3, 5, 1, 1, 1, 6),
    (4, 4, 4, 5),
    (5, 4, 4, 4),
    (1,) * 17,
)
"""Groupings in which people write a VIN: by its sections (WMI, VDS, VIS; ISO 3779), in fours, by character."""


def _grouped(lengths: tuple[int, ...]) -> str:
    first, *rest = (f"{_V}{{{n}}}" for n in lengths)
    return first + "(?P<separator>[ ._/:-])" + "(?P=separator)".join(rest)


def _unless_no_vin(match: re.Match[str]) -> str:
    """Return a grouped text unchanged unless its characters have the form of a VIN."""
    return "<vin>" if _has_form(re.sub(r"[ ._/:-]", "", match[0])) else match[0]


def _unless_no_vin_in(match: re.Match[str]) -> str:
    """Return a run of letters and digits unchanged unless a part of it looks like a VIN and not like a hex number."""
    run = match[0]
    parts = (run[at : at + 17] for at in range(len(run) - 16))
    return "<vin>" if any(_has_form(part) and re.search("[G-WYZg-wyz]", part) for part in parts) else run


def _has_form(vin: str) -> bool:
    """Return whether a text has the form of a VIN (ISO 3779): the last characters are digits; in practice others are mixed."""
    return vin[-3:].isdigit() and any(c.isdigit() for c in vin[:9]) and sum(c.isalpha() for c in vin) >= 3


_VIN: Final[tuple[tuple[re.Pattern[str], Replacement], ...]] = (
    (
        re.compile(
            rf"(?<![A-Za-z])((?:VIN|FIN|chassis|Fahrgestell\w*)[\"']?\s*(?:no\.?|number|nr\.?)?\s*[:=#-]?\s*[\"']?)"
            rf"(?=(?:{_V}[ ._-]?)*\d{{3}}(?![A-Za-z0-9])){_V}(?:[ ._-]?{_V}){{16}}(?![A-Za-z0-9])",
            re.IGNORECASE,
        ),
        r"\1<vin>",
    ),
    (
        re.compile(rf"(?<![A-Za-z0-9])(?!0[xX][0-9A-Fa-f]{{15}}(?!\w))(?={_V}*\d){_V}{{17}}(?![A-Za-z0-9])"),
        "<vin>",
    ),
    (re.compile(f"{_V}{{17,}}"), _unless_no_vin_in),
    *((re.compile(f"(?<![A-Za-z0-9]){_grouped(lengths)}(?![A-Za-z0-9])"), _unless_no_vin) for lengths in _GROUPINGS),
    # With one underscore, at any place.
    (re.compile(rf"(?<![A-Za-z0-9_])(?=\w{{18}}(?!\w)){_V}+_{_V}+(?![A-Za-z0-9_])"), _unless_no_vin),
)


_LOOK_ALIKE: Final = str.maketrans(
    "АВЕКМНРСТХУЅЈавекмнрстхуѕјОоЗ" "ΑΒΕΖΗΚΜΝΡΤΥΧορυχΟο",
    "ABEKMHPCTXYSJabekmhpctxysj003" "ABEZHKMNPTYXopux00",
)  # fmt: skip
"""Cyrillic and Greek letters that look like those of a VIN, which has neither I, O nor Q."""


def _without_disguised_vins(line: str) -> str:
    """Return a line without VINs that are disguised by letters of other alphabets."""
    if line.isascii():
        return line
    shown = line.translate(_LOOK_ALIKE)
    if shown == line:
        return line
    for pattern, replacement in _VIN:
        for match in reversed(list(pattern.finditer(shown))):
            text = replacement(match) if callable(replacement) else match.expand(replacement)
            if text != match[0]:
                line = line[: match.start()] + text + line[match.end() :]
                shown = shown[: match.start()] + text + shown[match.end() :]
    return line


# ------------------------------------------------------------------------------------------------ codes made by Argus

_OWN_CODE: Final = re.compile(r"(?<![A-Za-z0-9_])(LOG|DIAG)_([A-Z0-9]+(?:_[A-Z0-9]+)*)(_[0-9a-f]{8})?(?![A-Za-z0-9_])")
"""`faults.software.codes.log_code` and `diagnostic_code`: the name inside comes from the vehicle, the hash from Argus."""

_PLACE: Final = 0xE000
"""Private-use characters, which no text here contains, replace codes while the rules run."""


def _by_rules(line: str) -> str:
    """Apply the rules; a code that Argus made is kept, except for what the rules find in its name."""
    codes: list[str] = []

    def put_aside(match: re.Match[str]) -> str:
        made, name, digest = match[1], match[2], match[3] or ""
        codes.append(f"{made}_{_apply(name)}{digest}")
        return chr(_PLACE + len(codes) - 1)

    line = _apply(_OWN_CODE.sub(put_aside, line))
    return _PRIVATE.sub(lambda match: codes[ord(match[0]) - _PLACE], line) if codes else line


_PRIVATE: Final = re.compile("[\ue000-\uf8ff]")


def _apply(line: str) -> str:
    for pattern, replacement in _RULES:
        line = pattern.sub(replacement, line)
    return _without_disguised_vins(line)


# ------------------------------------------------------------------------------------------------ position

_NUMBER: Final = r"(?<![\d.])[-+]?\d{1,3}\.\d{3,}+"
_COMMA: Final = r"(?<![\d.,])[-+]?\d{1,3},\d{4,}+"
_HEMISPHERE: Final = r"(?:\s?°)?(?:\s?[NSEWO])?(?![A-Za-z0-9])"
_LATITUDE: Final = (
    r"(?<![A-Za-z])(?i:lat(?:itude)?|lon(?:gitude)?|lng|breitengrad|längengrad)(?:_?(?:deg|degrees|e7|wgs84))?"
    r"[\"']?\s*[:=]?\s*[\"']?"
)
_MEASURE: Final = r"(?:[numµμ]?s|[mck]?m|m/s²?|km/h|g|rad|%|Nm)"
"""Units of values that are no positions although labelled `lat`: latencies, lateral offsets and accelerations."""
_PLUS: Final = "[23456789CFGHJMPQRVWX]"
_SENTENCES: Final = "(?:GGA|GLL|RMC|GNS|RMA|RMB|RMT|WPL|BWC|BWR|GSV|GSA|VTG|ZDA|GST|HDT|BEC|FIX|GPQ|DTM|GBS|GRS)"

_POSITION: Final[tuple[tuple[re.Pattern[str], Replacement], ...]] = (
    (re.compile(r"[$!][A-Z]{2}[A-Z]{3},[^*\s]*(?:\*[0-9A-Fa-f]{2})?"), "<position>"),
    (re.compile(rf"\b(?:G[ABILNPQ]|BD|QZ){_SENTENCES},[^*\s]*(?:\*[0-9A-Fa-f]{{2}})?"), "<position>"),
    (re.compile(r"(?<![\d.])\d{4}\.\d+\s*,\s*[NS]\s*,\s*\d{5}\.\d+\s*,\s*[EW]"), "<position>"),
    (re.compile(r"\bgeo:[-+]?\d[^\s\"'<>]*", re.IGNORECASE), "<position>"),
    (
        re.compile(
            rf"(?:\b[NSEWO]\s?)?(?P<a>{_NUMBER}){_HEMISPHERE}\s*[,;/| ]\s*(?:{_LATITUDE}|[NSEWO]\s?)?"
            rf"(?P<b>{_NUMBER}){_HEMISPHERE}"
        ),
        lambda match: "<position>" if max(abs(float(match["a"])), abs(float(match["b"]))) <= 180 else match[0],
    ),
    (
        re.compile(
            r"(?:\b[NSEWO]\s?)?(?<![\d.])\d{1,3}\s?°\s?\d{1,2}(?:\.\d+)?\s?(?:['\u2032\u2019](?:\s?\d{1,2}(?:\.\d+)?\s?"
            r"(?:[\"\u2033\u201d]|['\u2032\u2019]{2}))?)(?:\s?[NSEWO]\b)?|\b[NSEWO]\s?\d{1,3}\s?°\s?\d{1,2}\.\d+"
            r"|(?<![\d.])\d{1,3}(?:\.\d+)?\s?°\s?[NSEWO]\b|\b[NSEWO]\s?\d{1,3}\.\d{3,}+\s?°"
        ),
        "<position>",
    ),
    (re.compile(rf"{_COMMA}{_HEMISPHERE}\s*[;/| ]\s*{_COMMA}{_HEMISPHERE}"), "<position>"),
    (
        re.compile(
            rf"{_LATITUDE}[-+]?(?:\d{{1,3}}[.,]\d++|\d{{6,10}}+)(?!\s?{_MEASURE}(?![A-Za-z0-9])){_HEMISPHERE}"
        ),
        "<position>",
    ),
    (re.compile(rf"(?<![A-Za-z0-9])(?i:{_PLUS}{{4}}(?:{_PLUS}{{2}}|{_PLUS}00|0000){_PLUS}{{0,2}}\+(?:{_PLUS}{{2,7}})?)(?![A-Za-z0-9])"), lambda match: _unless_sum(match[0])),
    (re.compile(rf"(?<![A-Za-z0-9]){_PLUS}{{4}}\+{_PLUS}{{2,3}}(?![A-Za-z0-9])"), lambda match: _unless_sum(match[0])),
    (re.compile(r"(?<![:/\w])///[^\W\d_]+\.[^\W\d_]+\.[^\W\d_]+"), "<position>"),
)  # fmt: skip


def _unless_sum(code: str) -> str:
    """Redact a plus code (Open Location Code), which has a letter; `2345+67` is a sum."""
    return "<position>" if any(c.isalpha() for c in code) else code


# ------------------------------------------------------------------------------------------------ network addresses

_VERSION_WORD: Final = re.compile(
    r"(?:(?<![a-z])v|version|release|firmware|software|fw|sw|build|rev(?:ision)?)[\s:=_.-]*$", re.IGNORECASE
)
_ADDRESS_WORD: Final = re.compile(
    r"(?:(?<![a-z])ip(?:v4)?|host|addr(?:ess)?|server|client|peer|gateway|from|to|://|@)[\s:=(\[-]*$", re.IGNORECASE
)


def _unless_no_ipv6(text: str) -> str:
    try:
        IPv6Address(text)
    except AddressValueError:
        return text
    return "<address>" if any(c.isdigit() for c in text) else text


def _unless_no_ipv4(match: re.Match[str]) -> str:
    """Redact four numbers unless they are a version: labelled as one, or unlabelled and starting below 10."""
    quad = match[0].removesuffix(match["port"] or "")
    before = match.string[max(0, match.start() - 24) : match.start()]
    try:
        IPv4Address(quad)
    except AddressValueError:
        return match[0]
    announced = match["port"] is not None or _ADDRESS_WORD.search(before) is not None
    if not announced and (_VERSION_WORD.search(before) or int(quad.partition(".")[0]) < 10):
        return match[0]
    return "<address>"


_NETWORK: Final[tuple[tuple[re.Pattern[str], Replacement], ...]] = (
    (re.compile(r"(?<![\w:-])[0-9A-Fa-f]{2}(?P<s>[:-])(?:[0-9A-Fa-f]{2}(?P=s)){4}[0-9A-Fa-f]{2}(?![\w:-])"), "<address>"),
    (
        re.compile(r"(?<![\w.])(?=[0-9.]*[a-fA-F])[0-9A-Fa-f]{4}\.[0-9A-Fa-f]{4}\.[0-9A-Fa-f]{4}(?![\w.])"),
        "<address>",
    ),
    (re.compile(r"(?<![\w:.])[0-9A-Fa-f:]*:[0-9A-Fa-f:]*:[0-9A-Fa-f:]*(?:\.\d+){0,3}(?![\w:])"), lambda match: _unless_no_ipv6(match[0])),
    (re.compile(r"(?<![\d.])(?:\d{1,3}\.){3}\d{1,3}(?![\d.]*\d)(?P<port>:\d{1,5}|/\d{1,2})?"), _unless_no_ipv4),
)  # fmt: skip


# ------------------------------------------------------------------------------------------------ people and devices

_UNIT: Final = r"(?!\s?(?:[numµμ]?s|[kMG]?Hz|[kMG]?i?B|bytes|bits|ticks|frames|rpm|[mk]?[mgVAW])\b)"

_DEVICES: Final[tuple[tuple[re.Pattern[str], Replacement], ...]] = (
    (
        re.compile(
            r"(?<![a-z])((?:imei(?:sv)?|iccid|imsi|meid|eid|msisdn|sim|s/?n|serien-?nummer|device[ _-]?id|serial(?:[ _-]?n(?:o|r|umber)\.?)?)"
            r"[\"']?\s?[:=#]?\s?[\"']?)\d(?:[ -]?\d){14,19}(?!\d)",
            re.IGNORECASE,
        ),
        r"\1<serial>",
    ),
    (
        re.compile(rf"(?<![\w.+])\+\d{{1,3}}[\s/-]?(?:\(\d{{1,4}}\)[\s/-]?)?\d(?:[\s/-]?\d){{6,11}}+(?!\d){_UNIT}"),
        "<phone>",
    ),
    (re.compile(r"(?<!\w)\(\d{3}\)\s?\d{3}-\d{4}(?!\d)|(?<![\w-])\d{3}-\d{3}-\d{4}(?![\w-])"), "<phone>"),
    (
        re.compile(
            r"(?<![a-z])((?:tel|phone|telephone|telefon|mobil|mobile|handy|fax)(?:[ _-]?(?:no|nr|number|nummer))?\.?\s*[:=]?\s*)"
            rf"[+(]?\d(?:[\s()/.-]{{0,3}}\d){{5,14}}+(?!\d){_UNIT}",
            re.IGNORECASE,
        ),
        r"\1<phone>",
    ),
)  # fmt: skip

_PLATE: Final[tuple[tuple[re.Pattern[str], Replacement], ...]] = (
    (
        re.compile(
            r"(?<![a-z])((?:licen[cs]e[ _-]?plate|number[ _-]?plate|plate[ _-]?(?:no|number)|nummernschild|kfz-?kz|"
            r"(?:kfz-?)?kennzeichen|plate(?=\s?[:=]))\.?\s*[:=]?\s*[\"']?)"
            r"(?![PCBUE]\d)(?=[^\s]*(?:\s\S+)?[ -]?\d)(?:[A-Z]{2}\d{2}\s?[A-Z]{3}|[A-ZÄÖÜ]{1,3}[ :·-]?[A-Z]{1,2}[ -]?\d{1,4}\s?[EH]?"
            r"|[A-Z]{2}[ -]?\d{3}[ -]?[A-Z]{2}|(?=[\w-]*\d)(?=[\w-]*[A-Z])[A-Z0-9][A-Z0-9-]{2,8}[A-Z0-9])(?![A-Za-z0-9])",
            re.IGNORECASE,
        ),
        r"\1<plate>",
    ),
)  # fmt: skip

_NAME: Final = r"[A-ZÄÖÜÀ-Þ][a-zäöüßà-ÿ]+(?:['\u2019-][A-ZÄÖÜ]?[a-zäöüßà-ÿ]+)?"
_NO_NAMES: Final = frozenset({
    "absent", "active", "airbag", "alarm", "alert", "assist", "assistance", "attention", "belt", "button", "camera",
    "cannot", "cell", "check", "console", "control", "could", "crashed", "data", "detected", "detection", "disabled",
    "disengaged", "display", "distraction", "door", "drowsiness", "enabled", "engaged", "error", "exited", "failed",
    "failure", "fatigue", "fault", "found", "frame", "frontal", "gone", "hands", "has", "head", "heating", "idle",
    "info", "initialised", "initialized", "input", "inside", "intervention", "invalid", "is", "key", "lamp", "left",
    "loaded", "lost", "message", "missing", "mode", "module", "monitor", "monitoring", "name", "no", "node", "none",
    "not", "ok", "off", "offline", "on", "online", "open", "outside", "override", "panel", "pedal", "presence",
    "present", "ready", "remote", "request", "restarted", "right", "room", "running", "screen", "seat", "seatbelt",
    "sensor", "side", "sitz", "sleep", "started", "state", "station", "status", "steering", "stopped", "switch",
    "system", "takeover", "terminal", "time", "timed", "timeout", "torque", "unit", "unknown", "update", "updated",
    "version", "waiting", "warning", "was", "wheel", "window", "with",
})  # fmt: skip
"""Words that follow `driver` and `operator` without being a name."""


def _unless_no_name(match: re.Match[str]) -> str:
    words = match["name"].replace(",", " ").lower().split()
    return match[0] if any(word in _NO_NAMES for word in words) else f"{match['label']}<person>"


_ROLE: Final = (
    r"(?i:(?:safety[ _-]?|co-?)?driver|operator|fahrer(?:in)?|bediener(?:in)?|technician|passenger|owner|halter)"
)
_ACCOUNT: Final = (
    r"(?i:user(?:[ _-]?(?:name|id))?|login|account|benutzer(?:name)?"
    r"|(?:driver|operator|fahrer|owner)[ _-]?(?:id|name)|(?:logged|signed) in as)"
)
_PERSON: Final[tuple[tuple[re.Pattern[str], Replacement], ...]] = (
    (
        re.compile(rf"(?<![A-Za-z0-9])(?P<label>{_ACCOUNT}[\"']?\s*[:=]\s*|(?i:(?:logged|signed) in as\s+))(?:\"[^\"]+\"|'[^']+'|[\w.@'\u2019-]+(?:,?\s{_NAME}){{0,2}})"),
        r"\g<label><person>",
    ),
    (
        re.compile(rf"(?<![A-Za-z0-9_])(?P<label>{_ROLE}[\"']?\s*(?:=\s*|:\s*(?=[\"'])))(?:\"[^\"]+\"|'[^']+'|[\w.@'\u2019-]+(?:,?\s{_NAME}){{0,2}})"),
        r"\g<label><person>",
    ),
    (
        re.compile(rf"(?<![A-Za-z0-9_])(?P<label>{_ROLE}\s*:\s*)(?P<name>{_NAME}(?:,?\s{_NAME}){{1,2}}|{_NAME}(?=\s*(?:[,;.)|]|$)))"),
        _unless_no_name,
    ),
    (re.compile(rf"(?<![A-Za-z0-9_])(?P<label>{_ROLE}\s+)(?P<name>{_NAME}(?:\s{_NAME}){{1,2}})"), _unless_no_name),
    (re.compile(rf"\b(?P<label>(?:Mr|Mrs|Ms|Herr|Frau)\b\.?\s+)(?:Dr\.?\s+)?{_NAME}(?:\s{_NAME})?"), r"\g<label><person>"),
)  # fmt: skip

_HOME: Final[tuple[tuple[re.Pattern[str], Replacement], ...]] = (
    (re.compile(r"(?<![\w.~-])((?:/home|/Users|/export/home)/)[^/\s:\"'<>]+"), r"\1<user>"),
    (
        re.compile(r"\b([A-Za-z]:[\\/]+(?:Users|Documents and Settings)[\\/]+)(?:[^\\/:*?\"<>|]{1,64}(?=[\\/])|[^\\/\s:*?\"<>|]+)"),
        r"\1<user>",
    ),
)  # fmt: skip

_MAIL: Final[tuple[tuple[re.Pattern[str], Replacement], ...]] = (
    (re.compile(r"(?<![\w.+-])[\w.+-]+@[\w-]+(?:\.[\w-]+)+"), "<mail>"),
)

_RULES: Final = (*_CREDENTIALS, *_MAIL, *_VIN, *_POSITION, *_NETWORK, *_DEVICES, *_PLATE, *_PERSON, *_HOME)


# ------------------------------------------------------------------------------------------------ public functions


@lru_cache(maxsize=_CACHED)
def redact(text: str) -> str:
    """Return `text` on one line, without whatever identifies a vehicle, a person or a place, capped at `MAX_TEXT`.

    Idempotent.
    """
    return _until_stable(text, lambda line: _capped(line, MAX_TEXT))


def redact_prose(text: str, max_characters: int) -> str:
    """Redact a text of several sentences, capped at `max_characters`."""
    return _until_stable(text[:_MAX_READ], lambda line: _capped(line, max_characters))


@lru_cache(maxsize=_CACHED)
def safe_identifier(text: str, *, max_characters: int = MAX_IDENTIFIER) -> str:
    """Return the name of an ECU, node, topic or file, redacted and without delimiter characters.

    Letters, digits, spaces and `_-./:+(),@%&=~` stay; anything else becomes a space. A longer name is cut and ends in a
    digest of the whole, so that different long names stay different. Idempotent.

    Args:
        text: The name.
        max_characters: Maximum length.
    """
    return _until_stable(text, lambda line: _cut_name(_plain(line), max_characters))


def safe_release(text: str) -> str:
    """Return a software release like `safe_identifier`, without taking four numbers for a network address."""
    is_version = len(text) <= MAX_IDENTIFIER and re.fullmatch(r"\d{1,6}(?:\.\d{1,6})*", text, re.ASCII) is not None
    return text if is_version else safe_identifier(text)


def _until_stable(text: str, form: Callable[[str], str]) -> str:
    """Redact until nothing changes any more: a cut or a replacement may join parts into a new match."""
    before, line = None, text
    while line != before:
        before, line = line, form(_by_rules(_normal(line[:_MAX_READ])[:_MAX_READ]))
    return line


def _capped(line: str, max_characters: int) -> str:
    return line if len(line) <= max_characters else f"{line[: max_characters - 1]}…"


def _plain(line: str) -> str:
    marked = line.replace("<", "(").replace(">", ")")
    kept = (c if c in " _-./:+(),@%&=~" or unicodedata.category(c)[0] in "LNM" else " " for c in marked)
    return " ".join("".join(kept).split())


def _cut_name(name: str, limit: int) -> str:
    if len(name) <= limit:
        return name
    return f"{name[: limit - 9]}~{sha256(name.encode()).hexdigest()[:8]}"
