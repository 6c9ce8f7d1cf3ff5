"""Texts of vehicles: cleaned where they enter the tables, escaped where they come out.

A name, a log line or a code of a recording is hostile until proven otherwise. Two steps keep it harmless: `clean` takes
away what does not print and bounds the length, before a text is stored; one function for each kind of output escapes
what is left. No other module escapes by itself.
"""

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import polars as pl
from markupsafe import Markup, escape

if TYPE_CHECKING:
    from rich.text import Text

MAX_NAME_CHARS: Final = 256
"""Of a topic, channel, signal, node, file or ECU name. The longest name of a ROS topic is 256 characters (DDS)."""

MAX_TEXT_CHARS: Final = 4096
"""Of a log message, a status or a value."""


# ------------------------------------------------------------------------------------------------ where they enter

_ASCII: Final = re.compile(r"[\t\n\x20-\x7e]*")
"""What `clean` leaves as it is, apart from its length."""

_COLOR: Final = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")
"""A control sequence of a terminal (ECMA-48, 5.4): loggers of robots colour their lines."""

_LINE_END: Final = re.compile("\r\n?|[\x0b\x0c\x85\u2028\u2029]")

UNPRINTABLE: Final = (
    # Cc but tab and line feed; Cf but the joiners below and the signs of Arabic, Syriac and Kaithi that print (U+0600
    # to 0605, 06DD, 070F, 0890, 0891, 08E2, 110BD, 110CD); letters and marks that show nothing (Unicode:
    # Default_Ignorable_Code_Point); Cs; Co; of Cn what will never be a character, and planes in which there is none.
    # What a later Unicode may assign stays: it shows as a box where it is not known.
    "\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u200e\u200f"
    "\u2028-\u202e\u2060-\u206f\u3164\ud800-\uf8ff\ufdd0-\ufdef\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\ufffe\uffff"
    "\U00013430-\U0001345f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U0001fffe\U0001ffff\U0002fffe\U0002ffff"
    "\U0003fffe-\U0010ffff"
)
"""The inside of a character class: what `clean` takes away."""

_UNPRINTABLE: Final = re.compile(f"[{UNPRINTABLE}]")

_JOINED: Final = "\u0600-\u0dff\u1000-\u109f\u1780-\u18af\ua800-\uabff\U00010a00-\U00011fff"
"""Scripts in which a joiner changes how a word is written, so what it means: Arabic to Sinhala, Burmese, Khmer, …"""

_PICTURE: Final = "\u2190-\u2bff\U0001f000-\U0001faff"
_LOOSE_JOINER: Final = re.compile(
    f"(?<![{_JOINED}{_PICTURE}])[\u200c\u200d]|(?<=[{_JOINED}])[\u200c\u200d](?![{_JOINED}])"
    f"|(?<=[{_PICTURE}])(?:\u200c|\u200d(?![{_PICTURE}]))"
)
"""A joiner that stands elsewhere than between two letters of such a script or two pictures, where it shows nothing."""

_MARK: Final = r"[^\w\s\x00-\u02ff\u2010-\u20cf\u2100-\u2bff\u2e00-\u3029\u3030-\u3098\u309b-\ua66e\ufe10-\ufe1f\ufe30-\uffff\U0001f000-\U0001faff]"
_PILE: Final = re.compile(f"({_MARK}{{30}}){_MARK}+")
"""More than 30 marks on one letter (UAX 15, stream-safe text): normalising takes time with their square."""


def clean(text: str, *, max_chars: int = MAX_TEXT_CHARS) -> str:
    """Return a text without what does not print, in NFC, cut to `max_chars`.

    Control characters, marks that turn the direction of writing (Unicode UAX 9), zero-width and private characters and
    lone surrogates are removed; so are colours of terminals, and marks of a letter beyond the 30th. Tab and line feed
    stay, other ends of lines become line feeds. A text that is cut ends with `…`.

    Args:
        text: Of a vehicle.
        max_chars: Longest result, at least 1.
    """
    if len(text) <= max_chars and _ASCII.fullmatch(text):
        return text
    # What is removed cannot make a text longer: cutting first bounds the work.
    part = text[: 4 * max_chars]
    kept = _UNPRINTABLE.sub("", _LINE_END.sub("\n", _COLOR.sub("", part)))
    cut = len(part) < len(text) or len(kept) > max_chars
    kept = _PILE.sub(r"\1", _LOOSE_JOINER.sub("", kept[:max_chars]))
    # Again, as a mark may become two.
    kept = _PILE.sub(r"\1", unicodedata.normalize("NFC", kept))
    if cut or len(kept) > max_chars:
        return kept[: max_chars - 1].rstrip("\u200c\u200d") + "…"
    return kept


def clean_name(text: str) -> str:
    """Return a name on one line: `clean`, with blanks for tabs and line feeds, at most `MAX_NAME_CHARS` long."""
    return " ".join(clean(text, max_chars=MAX_NAME_CHARS).split())


def clean_names(names: pl.Series) -> pl.Series:
    """Return a column with `clean_name` of each text in it; the same column where nothing has to be changed."""
    return _changed(names, clean_name, r"\A(?:[!-~]+(?: [!-~]+)*)?\z", max_chars=MAX_NAME_CHARS)


def clean_column(texts: pl.Series, *, max_chars: int = MAX_TEXT_CHARS) -> pl.Series:
    """Return a column with `clean` of each text in it; the same column where nothing has to be changed.

    Args:
        texts: A column of any dtype. Texts inside lists, arrays and structs are cleaned too; what holds none comes back
            as it is. An `Enum` whose categories change becomes a `String`.
        max_chars: Longest text, at least 1.
    """
    return _changed(texts, partial(clean, max_chars=max_chars), r"\A[\t\n -~]*\z", max_chars=max_chars)


def _changed(texts: pl.Series, change: Callable[[str], str], same: str, *, max_chars: int) -> pl.Series:
    """Change each text of a column; `same` matches what `change` leaves as it is, if not longer than `max_chars`."""
    changed: dict[str, str] = {}
    for column in _text_columns(texts):
        # What stays as it is is found without Python; of the rest each text is looked at once.
        odd = column.filter(~column.str.contains(same) | (column.str.len_bytes() > max_chars))
        changed |= {text: new for text in odd.unique() if (new := change(text)) != text}
    if not changed:
        return texts
    return texts.to_frame("").select(_replaced(pl.col(""), texts.dtype, changed)).to_series().alias(texts.name)


def _text_columns(column: pl.Series) -> Iterator[pl.Series]:
    """Yield the texts of a column, those inside lists, arrays and structs as columns of their own."""
    dtype = column.dtype
    if isinstance(dtype, pl.String):
        yield column
    elif isinstance(dtype, pl.Categorical | pl.Enum):
        yield column.unique().cast(pl.String)
    elif isinstance(dtype, pl.List | pl.Array):
        yield from _text_columns(column.explode())
    elif isinstance(dtype, pl.Struct):
        for field in column.struct.fields:
            yield from _text_columns(column.struct.field(field))


def _replaced(column: pl.Expr, dtype: object, changed: Mapping[str, str]) -> pl.Expr:
    """Return a column of `dtype` in which texts, wherever they stand in it, are replaced."""
    if isinstance(dtype, pl.String):
        return column.replace(changed)
    if isinstance(dtype, pl.Categorical):
        return column.cast(pl.String).replace(changed).cast(dtype)
    if isinstance(dtype, pl.Enum):
        return column.cast(pl.String).replace(changed)
    if isinstance(dtype, pl.List):
        return column.list.eval(_replaced(pl.element(), dtype.inner, changed))
    if isinstance(dtype, pl.Array):
        return column.arr.eval(_replaced(pl.element(), dtype.inner, changed))
    if isinstance(dtype, pl.Struct):
        fields = [_replaced(column.struct.field(f.name), f.dtype, changed).alias(f.name) for f in dtype.fields]
        return pl.when(column.is_not_null()).then(pl.struct(fields))
    return column


# ------------------------------------------------------------------------------------------------ where they come out

_UNCUT: Final = 2**20
"""Longest text that comes out anywhere: what was cut where it entered is not cut again."""


def one_line(text: str) -> str:
    """Return a text as a part of one line of a log or of a terminal: no text makes a line of its own."""
    return clean(text, max_chars=_UNCUT).replace("\n", " ").replace("\t", " ")


def printed(text: str) -> str:
    """Return a text for a terminal: it keeps its lines, and moves no cursor and sets no colour."""
    return clean(text, max_chars=_UNCUT)


def rich_text(text: str, style: str = "") -> "Text":
    """Return a text for Rich, which shows it as it is: `[red]` is no markup in it."""
    from rich.text import Text

    # Rich measures a tab as nothing.
    return Text(printed(text).expandtabs(4), style=style)


def html(text: str) -> Markup:
    """Return a text escaped for HTML, as content or inside a quoted attribute."""
    return escape(printed(text))


_MAY_BE_LINK: Final = re.compile(r"://|www\.|@", re.IGNORECASE)
_NO_CODE: Final = re.compile(r"([|\\`])")
_MARKUP: Final = re.compile(r"[&<>|\\`*\[\]~$#]|(?<![^\W_])_|_(?![^\W_])|\A[-+=:]|(?<=\d)[.)]\Z")
"""Marks of Markdown; those of lists and of headings only where a line may begin, `_` not inside of a word."""


def markdown(text: str) -> str:
    """Return a text on one line for Markdown (CommonMark and GFM), inside a paragraph or a cell of a table.

    Marks become character references, which are never markup. What GFM would make a link of (`https://…`, `www.…`, mail
    addresses) stands as code: renderers look for links once references are characters again.
    """
    return " ".join(_markdown_word(word) for word in printed(text).split())


def _markdown_word(word: str) -> str:
    if not _MAY_BE_LINK.search(word):
        return _MARKUP.sub(_reference, word)
    # Code knows no references, and a bar in it would end the cell: what cannot stand in code stands between.
    parts = _NO_CODE.split(word)
    return "".join(
        _NO_CODE.sub(_reference, part) if i % 2 else f"`{part}`" if part else "" for i, part in enumerate(parts)
    )


def _reference(mark: re.Match[str]) -> str:
    return f"&#{ord(mark[0])};"


def markdown_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table for Markdown.

    Args:
        columns: Names, of our own.
        rows: Texts of vehicles, one for each column.
    """
    head = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    return "\n".join([*head, *("| " + " | ".join(map(markdown, row)) + " |" for row in rows)])


_FORMULA: Final = r"[=+\-@＝＋－＠]"  # noqa: RUF001 - their full-width forms count too
_FIRST: Final = rf"(?:[\t\r\n]|[\s\"]*{_FORMULA})"
_LATER: Final = rf"([;\t\r\n][ \"]*)%s('*{_FORMULA})"


def csv_cell(text: str) -> str:
    """Return a text as a cell of CSV that no spreadsheet takes for a formula: with `'` before what would be one.

    Also after characters at which a spreadsheet may split the cell in two. `csv_text` undoes it exactly.
    """
    text = re.sub(_LATER % "", r"\1'\2", text)
    return f"'{text}" if re.match(f"'*{_FIRST}", text) else text


def csv_text(cell: str) -> str:
    """Return the text that `csv_cell` made a cell of; a cell that it never makes stays as it is."""
    text = cell[1:] if re.match(f"'+{_FIRST}", cell) else cell
    return re.sub(_LATER % "'", r"\1\2", text)


_NOT_STORABLE: Final = re.compile("[\0\ud800-\udfff]")


def storable(text: str) -> str:
    """Return a text for PostgreSQL, which holds neither NUL nor lone surrogates, and leave all else as it is."""
    return _NOT_STORABLE.sub("", text)


def json_document(value: Any) -> Any:  # noqa: ANN401 - whatever JSON holds
    """Return a document of JSON with each text in it as it is printed: for events, webhooks and columns of JSON."""
    match value:
        case str():
            return printed(value)
        case dict():
            return {json_document(key): json_document(item) for key, item in value.items()}
        case list() | tuple():
            return [json_document(item) for item in value]
        case _:
            return value
