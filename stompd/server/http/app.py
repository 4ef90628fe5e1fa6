"""The table of paths, and what every answer has in common."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final

import trio
from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute

import stompd
from stompd.server.auth import Anonymous, is_trusted
from stompd.server.http import api, guard, health
from stompd.server.http.files import Console
from stompd.server.http.openapi import PREFIX, description
from stompd.server.http.websocket import stomp

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send
    from starlette.websockets import WebSocket

    from stompd.server.http.metrics import Metrics
    from stompd.server.http.port import HttpConnection, HttpPort
    from stompd.server.service import Service

# Of every answer; a page that is to load something says so itself.
_COMMON: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
_NOTHING_LOADS: Final = (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'")
# What a page of somebody else may do that the settings name.
_ALLOWED: Final = {
    "access-control-allow-methods": "GET, POST",
    "access-control-allow-headers": f"authorization, content-type, {api.MARK}",
    "access-control-max-age": "600",
}
# They may be asked for by any name: a page learns little from them.
_ALIVE: Final = frozenset(("/healthz", "/readyz"))
_METRICS: Final = "/metrics"
_NOT_KEPT: Final = (b"cache-control", b"no-store")


def application(service: Service, port: HttpPort) -> ASGIApp:
    """Return what answers requests and WebSockets that come in by ``port``."""

    async def websocket(websocket: WebSocket) -> None:
        await stomp(websocket, service)

    app = Starlette(routes=[WebSocketRoute("/ws", websocket), *_routes(service, port)])
    return _Front(app, service)


def _routes(service: Service, port: HttpPort) -> list[Route]:
    metrics: list[Metrics] = []
    console = Console()

    async def verb(request: Request) -> Response:
        return await api.answer(service, request)

    def describe(_request: Request) -> Response:
        return JSONResponse(description(stompd.__version__))

    async def measure(request: Request) -> Response:
        if not service.settings.http.metrics_open:
            try:
                visitor = await api.admit(service, request)
                if not visitor.monitors(service):
                    raise api.refused("forbidden", "/metrics needs the right monitor")
            except api.RefusedError as problem:
                return problem.response
        if not metrics:
            # Many a stompd is never asked, and need not load what it takes.
            from stompd.server.http.metrics import Metrics  # noqa: PLC0415

            metrics.append(Metrics(service, port))
        service.broker.now = trio.current_time()
        text, kind = metrics[0].written(request.headers.get("accept", ""))
        return Response(text, headers={"content-type": kind})

    def page(request: Request) -> Response:
        name = request.path_params.get("name", "index.html")
        found = console.answer(name, request) if service.settings.http.console else None
        return found or PlainTextResponse("there is nothing here\n", 404)

    return [
        Route("/", _answering(page)),
        Route("/console/{name:path}", _answering(page)),
        Route("/healthz", _answering(lambda _: health.alive(service))),
        Route("/readyz", _answering(lambda _: health.ready(service))),
        Route(_METRICS, measure),
        Route(f"{PREFIX}/openapi.json", _answering(describe)),
        Route(f"{PREFIX}/{{verb}}", verb, methods=api.METHODS),
    ]


def _answering(answer: Callable[[Request], Response]) -> Callable[[Request], Awaitable[Response]]:
    """Return an endpoint that answers here and now; starlette would take a thread for it."""

    async def endpoint(request: Request) -> Response:
        return answer(request)

    return endpoint


def _shared(scope: Scope, service: Service) -> list[tuple[bytes, bytes]]:
    """Return headers that let a page of somebody else read the answer, if the settings name it."""
    origin = Headers(scope=scope).get("origin")
    origins = service.settings.http.origins
    if not origins or origin is None or not guard.is_own_page(origin, None, origins):
        return []
    return [
        (b"access-control-allow-origin", origin.encode("latin-1")),
        (b"vary", b"Origin"),
        (b"cross-origin-resource-policy", b"cross-origin"),
    ]


def _asks_before(scope: Scope) -> bool:
    """Return whether a browser asks what a page of somebody else may do."""
    headers = Headers(scope=scope)
    return scope.get("method") == "OPTIONS" and "access-control-request-method" in headers


class _Exchange:
    """One request and its answer, as hypercorn wants them.

    It waits for ever if a request is not read to its end before the answer has been sent.
    """

    def __init__(self, scope: Scope, receive: Receive, send: Send, service: Service) -> None:
        self._connection: HttpConnection = scope["state"]["connection"]
        self._receive = receive
        self._send = send
        self._timeouts = service.settings.timeouts
        self._headers = [*_shared(scope, service), *_COMMON, _NOTHING_LOADS, _NOT_KEPT]
        # True when the whole request was read.
        self._read = scope["type"] != "http"

    async def receive(self) -> Message:
        """Return what comes next of the request."""
        message = await self._receive()
        if not message.get("more_body", False):
            self._read = True
        return message

    async def send(self, message: Message) -> None:
        """Send a part of the answer."""
        if message["type"].endswith("response.start"):
            if not self._read:
                await self._discard()
            given = {name.lower() for name, _ in message["headers"]}
            for header in self._headers:
                if header[0] not in given:
                    given.add(header[0])
                    message["headers"] = [*message["headers"], header]
        if self._read or message.get("more_body", False):
            await self._send(message)
        else:
            await self._send({**message, "more_body": True})
            # So much is still to come that it is better to end here.
            self._connection.cut()

    async def _discard(self) -> None:
        """Read and throw away the rest of a request that nobody has read, for a bounded time."""
        limit = self._timeouts.linger_bytes
        with trio.move_on_after(self._timeouts.linger):
            while not self._read and limit > 0:
                limit -= len((await self.receive()).get("body", b""))


def _is_ambiguous(scope: Scope) -> bool:
    """Return whether a request says in two ways how long it is."""
    names = {name for name, _ in scope.get("headers", ())}
    return b"content-length" in names and b"transfer-encoding" in names


class _Front:
    """What a request meets first: names that are not ours; and headers of every answer."""

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app = app
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or serve one WebSocket."""
        exchange = _Exchange(scope, receive, send, self._service)
        if _is_ambiguous(scope):
            # Who stands in between may have read it in the other way (RFC 9112, 6.1).
            unclear = PlainTextResponse(
                "Content-Length and Transfer-Encoding exclude each other\n",
                400,
                {"connection": "close"},
            )
            await unclear(scope, exchange.receive, exchange.send)
            return
        if self._is_strange(scope):
            refusal = JSONResponse(
                {
                    "ok": False,
                    "error": {
                        "code": "forbidden",
                        "message": "this name is not one of the server's; the setting http.hosts "
                        "lists them",
                    },
                },
                403,
            )
            await refusal(scope, exchange.receive, exchange.send)
            return
        if _asks_before(scope) and _shared(scope, self._service):
            await Response(None, 204, _ALLOWED)(scope, exchange.receive, exchange.send)
            return
        await self._app(scope, exchange.receive, exchange.send)

    def _is_strange(self, scope: Scope) -> bool:
        """Return whether a page may have led a browser here by a name of its own."""
        service = self._service
        if not isinstance(service.authenticator, Anonymous) or scope["path"] in _ALIVE:
            # No page has anybody's log-in under a name that is not ours.
            return False
        address = scope["state"]["connection"].address
        if scope["path"] == _METRICS and not is_trusted(service.authenticator, address):
            # What everybody may read is no secret.
            return False
        host = Headers(scope=scope).get("host")
        settings = service.settings.http
        names = {*settings.hosts, *(address.host for address in settings.listen)}
        return not guard.is_own_name(host, names)
