"""Dates in the heads of text logs: in the words of a dozen languages, or as ISO 8601 writes them."""

import re
from datetime import UTC, datetime, timedelta, timezone
from typing import Final

from argus_assets.recordings.formats.text.lines import MAX_HEAD_LINE, bounded_ns

_MONTHS_BY_LANGUAGE: Final = (
    "january february march april may june july august september october november december",
    "januar februar märz april mai juni juli august september oktober november dezember",
    "jänner feber mrz - - - - - - - - -",
    "enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre diciembre",
    "gennaio febbraio marzo aprile maggio giugno luglio agosto settembre ottobre novembre dicembre",
    "janeiro fevereiro março abril maio junho julho agosto setembro outubro novembro dezembro",
    "janvier février mars avril mai juin juillet août septembre octobre novembre décembre",
    "januari februari maart april mei juni juli augustus september oktober november december",
    "januari februari mars april maj juni juli augusti september oktober november december",
    "styczeń luty marzec kwiecień maj czerwiec lipiec sierpień wrzesień październik listopad grudzień",
    "leden únor březen duben květen červen červenec srpen září říjen listopad prosinec",
    "ocak şubat mart nisan mayıs haziran temmuz ağustos eylül ekim kasım aralık",  # noqa: RUF001
)
"""Names of months, by language; a `-` is none."""


def _months() -> dict[str, int]:
    found: dict[str, int] = {}
    for language in _MONTHS_BY_LANGUAGE:
        mine: dict[str, int] = {}
        for number, name in enumerate(language.split(), 1):
            for size in range(3, len(name) + 1):
                # Two months of one language that begin alike are told apart by more letters only.
                mine[name[:size]] = 0 if mine.get(name[:size], number) != number else number
        found = {**{prefix: number for prefix, number in mine.items() if number}, **found}
    return found


MONTHS: Final = _months()
"""Beginning of a month's name, at least three letters, in lower case → its number; the languages above go before those below."""

_TIME: Final = r"([0-9]{1,2}):([0-9]{1,2}):([0-9]{1,2})(?:[.,:]([0-9]{1,9})[0-9]*)?"
_NAMED: Final = re.compile(
    rf"([^\W\d_]{{3,12}})\.?[ \t]+([0-9]{{1,2}})\.?,?[ \t]+{_TIME}(?:[ \t]*([ap])\.?m\b\.?)?(?:[ \t]+([A-Z]{{3,5}}))?[ \t]+([0-9]{{4}})\b",
    re.IGNORECASE,
)
"""`Sep 27 09:30:00.000 am 2023`, also with the name of a zone. The number of digits is bounded: Python refuses long ones."""
_DAY_FIRST: Final = re.compile(
    rf"\b([0-9]{{1,2}})\.?[ \t]+([^\W\d_]{{3,12}})\.?[ \t]+([0-9]{{4}})[ \t]+{_TIME}", re.IGNORECASE
)
"""`27. September 2023 09:30:00`."""
_DOTTED: Final = re.compile(rf"\b([0-9]{{1,2}})[.:]([0-9]{{1,2}})[.:]([0-9]{{4}})[ \t]+{_TIME}")
"""`27.09.2023 09:30:00`, `27:09:2023 09:30:00:000`."""
_ISO: Final = re.compile(
    rf"\b([0-9]{{4}})-([0-9]{{2}})-([0-9]{{2}})[T ]+{_TIME}[ ]*(Z|[+-][0-9]{{2}}:?[0-9]{{2}})?", re.IGNORECASE
)


def date_of(text: str) -> int | None:
    """Parse a date and time to nanoseconds since 1970, or return `None`; without an offset it counts as UTC.

    Args:
        text: A line that holds it.
    """
    text = text[:MAX_HEAD_LINE]
    if match := _ISO.search(text):
        return _ns(match[1], int(match[2]), match[3], match.group(4, 5, 6, 7), offset=match[8] or "")
    if match := _NAMED.search(text):
        month = MONTHS.get(match[1].lower())
        if month is not None:
            return _ns(match[9], month, match[2], match.group(3, 4, 5, 6), half=match[7] or "")
    if match := _DAY_FIRST.search(text):
        month = MONTHS.get(match[2].lower())
        if month is not None:
            return _ns(match[3], month, match[1], match.group(4, 5, 6, 7))
    if match := _DOTTED.search(text):
        return _ns(match[3], int(match[2]), match[1], match.group(4, 5, 6, 7))
    return None


def _ns(
    year: str, month: int, day: str, time: tuple[str | None, ...], *, half: str = "", offset: str = ""
) -> int | None:
    hour, minute, second, fraction = (part or "" for part in time)
    hours = int(hour)
    # Some tools write a clock of 24 hours and am or pm behind it: an hour above 12 says so.
    if half and hours <= 12:
        hours = hours % 12 + (12 if half.lower() == "p" else 0)
    zone = UTC
    if offset and offset.upper() != "Z":
        sign = -1 if offset[0] == "-" else 1
        zone = timezone(sign * timedelta(hours=int(offset[1:3]), minutes=int(offset[-2:])))
    try:
        at = datetime(int(year), month, int(day), hours, int(minute), int(second), tzinfo=zone)
        whole = int(at.timestamp())
    except (ValueError, OverflowError):
        return None
    return bounded_ns(whole * 10**9 + int(fraction.ljust(9, "0")))
