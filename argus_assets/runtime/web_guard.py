"""Rules by which a server without login refuses requests: for other host names, and from pages of other sites."""

import re
from collections.abc import Collection, Mapping
from typing import Final
from urllib.parse import parse_qs, urlsplit

LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})

HEADERS: Final = {"X-Frame-Options": "DENY", "Content-Security-Policy": "frame-ancestors 'none'"}
"""Sent with every answer: no page of another site shows this one in a frame, where a click would count as its own.

The policy adds to that of the server itself: a browser obeys both.
"""

_OWN: Final = frozenset({"same-origin", "none"})
"""Headers by which a browser marks a request that a page of the same server made, or a person (Fetch Metadata, `Sec-Fetch-Site`)."""

_ACTS: Final = re.compile(r"/(?:graphql|report_)")
_MUTATION: Final = re.compile(r"\bmutation\b")
_HOST: Final = re.compile(r"(?:\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?P<name>[A-Za-z0-9._-]+))(?::[0-9]{1,5})?")
"""`Host` as RFC 9110 (7.2) has it, of the names that servers have."""


def own_names(host: str, given: Collection[str]) -> Collection[str] | None:
    """Return the names under which a server may be asked, `None` for any.

    Args:
        host: Address that it listens on.
        given: More names. Without one, on another address than loopback, any will do.
    """
    return None if not given and host not in LOOPBACK else {*given, *LOOPBACK}


def refusal(
    *, method: str, path: str, query: str, headers: Mapping[str, str], hosts: Collection[str] | None
) -> str | None:
    """Return why a request is refused, `None` when it is served.

    Args:
        method: Of HTTP; `WEBSOCKET` for one that opens a WebSocket.
        path: Of the URL.
        query: Of the URL, without the question mark.
        headers: Names in lower case.
        hosts: Names under which this server may be asked, `None` for any.
    """
    host = headers.get("host", "")
    named = _HOST.fullmatch(host)
    if named is None and (host or hosts is not None):
        return f"{host!r} is not a host name."
    if named is not None and hosts is not None and (named["v6"] or named["name"]).lower() not in hosts:
        return f"This server is not known by the name {host!r}."
    if method in ("GET", "HEAD", "OPTIONS") and not _ACTS.search(path):
        return None
    if method == "GET" and any(_MUTATION.search(text) for text in parse_qs(query).get("query", ())):
        return "A mutation has to be sent with POST."
    if headers.get("sec-fetch-site", "none") not in _OWN:
        return "The request comes from a page of another site."
    origin = headers.get("origin")
    if origin is not None and _server_of(origin) != host:
        return f"The request comes from a page of {origin!r}."
    return None


def _server_of(origin: str) -> str | None:
    try:
        return urlsplit(origin).netloc
    except ValueError:  # no closing bracket, a name that changes when it is normalised
        return None
