"""Endpoints that events are sent to, as the settings name them. Pure.

`ARGUS_WEBHOOKS` holds entries that are separated by blanks: `name=https://host/path`, or, for some types of events,
`name[DiagnosisCompleted,AlertRaised]=https://host/path`. `ARGUS_WEBHOOK_SECRETS` holds `name=whsec_…`; a name that has
two secrets is signed with both, so that a secret can be changed without a gap.
"""

import re
from base64 import b64decode
from binascii import Error as NotBase64
from collections.abc import Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

from argus_assets.errors import BadSetting
from argus_assets.notifications.events import NAMES, EventName

SETTING: Final = "ARGUS_WEBHOOKS"
SECRETS_SETTING: Final = "ARGUS_WEBHOOK_SECRETS"
SECRET_PREFIX: Final = "whsec_"  # noqa: S105 - what each one begins with
MIN_SECRET_BYTES: Final = 24
MAX_SECRET_BYTES: Final = 64

_ENTRY: Final = re.compile(r"(?P<name>[A-Za-z0-9][A-Za-z0-9_.-]{0,63})(?:\[(?P<types>[A-Za-z,]*)\])?=(?P<url>\S+)")
_HELP: Final = "Write name=https://host/path, or name[DiagnosisCompleted,AlertRaised]=https://host/path."
_HOW_TO_WRITE: Final = "Write name=whsec_ and 24 to 64 random bytes in base64: `openssl rand -base64 32` makes some."


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A receiver.

    Attributes:
        name: Shown instead of its address, which may hold a secret.
        url: Where events are posted.
        secrets: Signing keys, `whsec_…`; the newest first.
        types: Events that it takes.
    """

    name: str
    url: str = field(repr=False)
    secrets: tuple[str, ...] = field(repr=False)
    types: tuple[EventName, ...] = NAMES

    @property
    def host(self) -> str:
        """Return its host, without anything that may be secret."""
        return urlsplit(self.url).hostname or "?"


def parse_endpoints(webhooks: str, secrets: str) -> tuple[Endpoint, ...]:
    """Return the endpoints of the two settings.

    Raises:
        BadSetting: Something in them cannot be used. The text names no address and no secret.
    """
    keys: dict[str, list[str]] = {}
    for number, entry in enumerate(secrets.split(), 1):
        name, _, secret = entry.partition("=")
        if not secret or not _is_secret(secret):
            raise BadSetting(f"{SECRETS_SETTING}: entry {number} is not a name with a secret.", help=_HOW_TO_WRITE)
        keys.setdefault(name, []).append(secret)
    found: dict[str, Endpoint] = {}
    for number, entry in enumerate(webhooks.split(), 1):
        match = _ENTRY.fullmatch(entry)
        if match is None:
            raise BadSetting(f"{SETTING}: entry {number} is not a name with an address.", help=_HELP)
        name = match["name"]
        if name in found:
            raise BadSetting(f"{SETTING}: {name!r} is named twice.", help="Give each endpoint a name of its own.")
        _check_url(name, match["url"])
        if name not in keys:
            raise BadSetting(f"{SECRETS_SETTING} has no secret for the endpoint {name!r}.", help=_HOW_TO_WRITE)
        found[name] = Endpoint(name, match["url"], tuple(keys[name]), _types(name, match["types"]))
    unused = sorted(keys.keys() - found.keys())
    if unused:
        raise BadSetting(
            f"{SECRETS_SETTING} has a secret for {', '.join(map(repr, unused))}, which {SETTING} does not name.",
            help="Correct the name, or remove the secret.",
        )
    return tuple(found.values())


def wanted_by(endpoints: Sequence[Endpoint], name: EventName) -> tuple[str, ...]:
    """Return the names of the endpoints that take such events."""
    return tuple(endpoint.name for endpoint in endpoints if name in endpoint.types)


def _is_secret(text: str) -> bool:
    if not text.startswith(SECRET_PREFIX):
        return False
    try:
        key = b64decode(text.removeprefix(SECRET_PREFIX), validate=True)
    except (NotBase64, ValueError):
        return False
    return MIN_SECRET_BYTES <= len(key) <= MAX_SECRET_BYTES


def _check_url(name: str, url: str) -> None:
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host, parts = None, urlsplit("")
    if not host or parts.scheme not in ("https", "http"):
        raise BadSetting(f"{SETTING}: the address of {name!r} is not an https:// URL.", help=_HELP)
    if parts.scheme == "http" and not _is_loopback(host):
        raise BadSetting(
            f"{SETTING}: the address of {name!r} is not encrypted.", help="Use https://; http:// is for loopback only."
        )
    if parts.username or parts.password:
        raise BadSetting(
            f"{SETTING}: the address of {name!r} holds a login.", help="Events are signed: check the signature instead."
        )


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _types(name: str, given: str | None) -> tuple[EventName, ...]:
    if given is None:
        return NAMES
    wanted = [text for text in given.split(",") if text]
    unknown = [text for text in wanted if text not in NAMES]
    if unknown or not wanted:
        raise BadSetting(
            f"{SETTING}: {name!r} is to get {', '.join(unknown) or 'nothing'}; the events are {', '.join(NAMES)}.",
            help=_HELP,
        )
    return tuple(known for known in NAMES if known in wanted)
