"""Dagster's webserver, protected against requests that pages of other sites make in a user's browser.

Dagster's own executes a mutation in a GET of `/graphql`, asks for no login and checks no origin: an image in any page, or
a foreign name that resolves to this machine (DNS rebinding), would be enough to start and stop runs.
"""

from collections.abc import Collection
from typing import TYPE_CHECKING, Final

from dagster._core.instance import DagsterInstance
from dagster._core.workspace.context import WorkspaceProcessContext, WorkspaceRequestContext
from dagster._core.workspace.load_target import WorkspaceFileTarget
from dagster_webserver.version import __version__
from dagster_webserver.webserver import DagsterWebserver
from starlette.datastructures import MutableHeaders
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.websockets import WebSocketClose

from argus_assets.runtime.web_guard import HEADERS, own_names, refusal

if TYPE_CHECKING:
    from pathlib import Path

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

_STATEMENT_TIMEOUT_MS: Final = 15_000
_POOL_RECYCLE_S: Final = 3600
_POOL_OVERFLOW: Final = 20
_POLL_MS: Final = 2000


class SameSiteOnly:
    """ASGI middleware that answers 403 where `refusal` says so, and lets no other site frame an answer."""

    def __init__(self, app: "ASGIApp", hosts: Collection[str] | None) -> None:
        self._app = app
        self._hosts = hosts

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        given = [(name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in scope["headers"]]
        why = refusal(
            method=scope.get("method", "WEBSOCKET"),
            path=scope["path"],
            query=scope["query_string"].decode("latin-1"),
            # Two of a kind are none that is known: `a, b` is neither `a` nor `b`.
            headers={name: ", ".join(v for n, v in given if n == name) for name, _ in given},
            hosts=self._hosts,
        )

        async def send_unframed(message: "Message") -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.append(name, value)
            await send(message)

        if why is None:
            await self._app(scope, receive, send_unframed)
        elif scope["type"] == "http":
            await PlainTextResponse(why, status_code=403)(scope, receive, send_unframed)
        else:
            await WebSocketClose(reason=why)(scope, receive, send)


class Webserver(DagsterWebserver[WorkspaceProcessContext, WorkspaceRequestContext]):
    """Dagster's webserver behind `SameSiteOnly`."""

    def __init__(self, context: WorkspaceProcessContext, hosts: Collection[str] | None) -> None:
        self._hosts = hosts
        super().__init__(context, live_data_poll_rate=_POLL_MS)

    def build_middleware(self) -> list[Middleware]:
        """Return Dagster's middleware, with ours before it."""
        return [Middleware(SameSiteOnly, hosts=self._hosts), *super().build_middleware()]


def serve(workspace: "Path", *, host: str, port: int, read_only: bool, hosts: Collection[str]) -> None:
    """Run the webserver until SIGINT or SIGTERM.

    Args:
        workspace: Dagster's workspace file.
        host: Address to listen on.
        port: Port to listen on.
        read_only: True for one that shows and cannot act.
        hosts: Names under which it may be asked. On loopback its own names are among them; elsewhere none means any.
    """
    import uvicorn

    with DagsterInstance.get() as instance:
        instance.optimize_for_webserver(_STATEMENT_TIMEOUT_MS, _POOL_RECYCLE_S, _POOL_OVERFLOW)
        with WorkspaceProcessContext(
            instance,
            version=__version__,
            read_only=read_only,
            workspace_load_target=WorkspaceFileTarget(paths=[str(workspace)]),
        ) as context:
            uvicorn.run(
                Webserver(context, own_names(host, hosts)).create_asgi_app(), host=host, port=port, log_level="warning"
            )
