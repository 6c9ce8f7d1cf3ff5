"""Dagster's webserver, which lets no page of another site act in the name of who has it open.

Dagster's own carries out a mutation in a GET of `/graphql`, asks no login and looks at no origin: an image in any page,
or a name of a stranger that leads to this machine, would be enough to start and stop runs.
"""

import re
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qs, urlsplit

from dagster._core.instance import DagsterInstance
from dagster._core.workspace.context import WorkspaceProcessContext, WorkspaceRequestContext
from dagster._core.workspace.load_target import WorkspaceFileTarget
from dagster_webserver.version import __version__
from dagster_webserver.webserver import DagsterWebserver
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.websockets import WebSocketClose

if TYPE_CHECKING:
    from pathlib import Path

    from starlette.types import ASGIApp, Receive, Scope, Send

LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_OWN: Final = frozenset({"same-origin", "none"})
"""What a browser says of a request that a page of the same server made, or a person (Fetch Metadata, `Sec-Fetch-Site`)."""

_ACTS: Final = re.compile(r"/(?:graphql|report_)")
_MUTATION: Final = re.compile(r"\bmutation\b")
_STATEMENT_TIMEOUT_MS: Final = 15_000
_POOL_RECYCLE_S: Final = 3600
_POOL_OVERFLOW: Final = 20
_POLL_MS: Final = 2000


def refusal(
    *, method: str, path: str, query: str, headers: Mapping[str, str], hosts: Collection[str] | None
) -> str | None:
    """Why a request is not carried out, `None` when it is.

    Args:
        method: Of HTTP; `WEBSOCKET` for one that opens a WebSocket.
        path: Of the URL.
        query: Of the URL, without the question mark.
        headers: Names in lower case.
        hosts: Names under which this server may be asked, `None` for any.
    """
    host = headers.get("host", "")
    if hosts is not None and urlsplit(f"//{host}").hostname not in hosts:
        return f"This server does not go by the name {host!r}."
    if method in ("GET", "HEAD", "OPTIONS") and not _ACTS.search(path):
        return None
    if method == "GET" and any(_MUTATION.search(text) for text in parse_qs(query).get("query", ())):
        return "A mutation has to be posted."
    if headers.get("sec-fetch-site", "none") not in _OWN:
        return "The request comes from a page of another site."
    origin = headers.get("origin")
    if origin is not None and urlsplit(origin).netloc != host:
        return f"The request comes from a page of {origin!r}."
    return None


class SameSiteOnly:
    """ASGI middleware that answers 403 where `refusal` says so."""

    def __init__(self, app: "ASGIApp", hosts: Collection[str] | None) -> None:
        self._app = app
        self._hosts = hosts

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        why = refusal(
            method=scope.get("method", "WEBSOCKET"),
            path=scope["path"],
            query=scope["query_string"].decode("latin-1"),
            headers={name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]},
            hosts=self._hosts,
        )
        if why is None:
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            await PlainTextResponse(why, status_code=403)(scope, receive, send)
        else:
            await WebSocketClose(reason=why)(scope, receive, send)


class Webserver(DagsterWebserver[WorkspaceProcessContext, WorkspaceRequestContext]):
    """Dagster's webserver behind `SameSiteOnly`."""

    def __init__(self, context: WorkspaceProcessContext, hosts: Collection[str] | None) -> None:
        self._hosts = hosts
        super().__init__(context, live_data_poll_rate=_POLL_MS)

    def build_middleware(self) -> list[Middleware]:
        """Dagster's middleware, and ours before it."""
        return [Middleware(SameSiteOnly, hosts=self._hosts), *super().build_middleware()]


def serve(workspace: "Path", *, host: str, port: int, read_only: bool, hosts: Collection[str]) -> None:
    """Run the webserver until SIGINT or SIGTERM.

    Args:
        workspace: Dagster's workspace file.
        host: Address to listen on.
        port: Port to listen on.
        read_only: Whether it only shows.
        hosts: Names under which it may be asked. On loopback its own names are among them; elsewhere none means any.
    """
    import uvicorn

    known = None if not hosts and host not in LOOPBACK else {*hosts, *LOOPBACK}
    with DagsterInstance.get() as instance:
        instance.optimize_for_webserver(_STATEMENT_TIMEOUT_MS, _POOL_RECYCLE_S, _POOL_OVERFLOW)
        with WorkspaceProcessContext(
            instance,
            version=__version__,
            read_only=read_only,
            workspace_load_target=WorkspaceFileTarget(paths=[str(workspace)]),
        ) as context:
            uvicorn.run(Webserver(context, known).create_asgi_app(), host=host, port=port, log_level="warning")
