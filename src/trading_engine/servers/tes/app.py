"""The application from the socket inwards: what every request passes, and where it goes from there.

    CORS ─▶ last resort (500) ─▶ Edge ─┬─▶ WebSocketEndpoint   /v1/ws
                                       ├─▶ Binance             /api/v3, /sapi/v1, /ws, /stream, /ws-api/v3
                                       ├─▶ Alpaca              /v2, /stream, /v2/{feed}
                                       ├─▶ UDF                 /udf
                                       ├─▶ OrdersFront         placing, canceling, replacing
                                       ├─▶ FastAPI             the rest of /v1, /docs, /openapi.json
                                       └─▶ mounted apps        everything else (the portal)

The edge gives every request an id and every answer its security headers, reads bodies (bounded, so that no framework does), says who is
asking and limits how often. It is plain ASGI; only the rest of the API pays for a framework.
"""

import itertools
import re
import secrets
import time
from collections.abc import Sequence

from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.errors import ServerErrorMiddleware
from starlette.requests import Request
from starlette.responses import Response

from trading_engine.database.utilities.flags import ALPACA_API, BINANCE_API, CHART_FEED, Flag
from trading_engine.servers.tes.alpaca.rest import AlpacaRest
from trading_engine.servers.tes.alpaca.sockets import AlpacaSockets
from trading_engine.servers.tes.asgi import (
    ASGIApp,
    Disconnected,
    Header,
    Message,
    Receive,
    Scope,
    Send,
    check_content_length,
    client_address,
    has_body,
    read_body,
    replaying,
    respond,
)
from trading_engine.servers.tes.binance.rest import BinanceRest
from trading_engine.servers.tes.binance.sockets import BinanceSockets
from trading_engine.servers.tes.errors import ApiError, switched_off
from trading_engine.servers.tes.hosts import Hosts
from trading_engine.servers.tes.routes.answers import PRINCIPAL_KEY
from trading_engine.servers.tes.routes.orders_front import OrdersFront
from trading_engine.servers.tes.routes.websocket import WebSocketEndpoint, internal_error, refuse
from trading_engine.servers.tes.services.allowances import Allowances
from trading_engine.servers.tes.services.authentication import Authentication
from trading_engine.servers.tes.services.credentials import Principal
from trading_engine.servers.tes.services.order_times import request_received_ns
from trading_engine.servers.tes.stream_choice import STREAM_PATH, StreamChoice
from trading_engine.servers.tes.switches import IsOn
from trading_engine.servers.tes.udf.feed import Feed

WEBSOCKET_PATH = "/v1/ws"
HEALTH_PATH = "/v1/health"
API_PATHS = frozenset({"/v1", "/docs", "/openapi.json"})
API_PREFIXES = ("/v1/", "/docs/")
PUBLIC_PREFIXES = ("/v1/instruments/", "/v1/auth/")
PUBLIC_PATHS = frozenset({"/v1/instruments", "/v1/tickers", "/v1/time", HEALTH_PATH})
"""Credentials are not looked at there. Of the other paths each demands them itself, so a new path is closed until it says otherwise."""
HISTORY, HISTORY_WEIGHT = "/history/", 10
"""A question about the past takes its database tenths of a second, and there is one thread for all of them."""
REQUEST_ID = re.compile(rb"[A-Za-z0-9._\-]{1,64}")
COMMON_HEADERS: tuple[Header, ...] = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
)
STRICT_TRANSPORT: Header = (b"strict-transport-security", b"max-age=31536000")
"""Browsers never come without TLS again."""
API_HEADERS: tuple[Header, ...] = (
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
)
JSON: Header = (b"content-type", b"application/json")
CORS_HEADERS = ["Authorization", "Content-Type", "X-API-Key", "X-API-Secret", "X-Request-Id"]
CORS_EXPOSED = ["X-Request-Id", "Retry-After", "X-RateLimit-Limit", "X-RateLimit-Remaining"]
CORS_MAX_AGE_SECONDS = 600


class Edge:
    def __init__(
        self,
        orders_front: OrdersFront,
        api: ASGIApp,
        websocket: WebSocketEndpoint,
        binance: BinanceRest,
        binance_sockets: ASGIApp,
        alpaca: AlpacaRest,
        alpaca_sockets: ASGIApp,
        stream_choice: StreamChoice,
        chart_feed: Feed,
        mounts: Sequence[tuple[str, ASGIApp]],
        authentication: Authentication,
        allowances: Allowances,
        hosts: Hosts,
        request_bytes_max: int,
        is_on: IsOn,
    ) -> None:
        self._is_on = is_on
        self._orders_front = orders_front
        self._api = api
        self._websocket = websocket
        self._binance = binance
        self._binance_sockets = binance_sockets
        self._alpaca = alpaca
        self._alpaca_sockets = alpaca_sockets
        self._stream_choice = stream_choice
        self._chart_feed = chart_feed
        self._mounts = sorted(mounts, key=lambda mount: len(mount[0]), reverse=True)
        self._authentication = authentication
        self._allowances = allowances
        self._hosts = hosts
        self._request_bytes_max = request_bytes_max
        self.common_headers = COMMON_HEADERS
        """Of every answer."""
        self._request_prefix = secrets.token_hex(4).encode()
        self._request_numbers = itertools.count(1)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            request_received_ns.set(time.time_ns())
            await self._http(scope, receive, send)
        elif scope["type"] == "websocket":
            await self._open_websocket(scope, receive, send)

    async def _open_websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        """A handshake is a request of its address, whatever path it is for."""
        try:
            self._hosts.check(scope["headers"])
            self._allowances.take_request(None, client_address(scope))
        except ApiError as error:
            await receive()
            await refuse(send, error)
            return
        if scope["path"] == WEBSOCKET_PATH:
            await self._websocket(scope, receive, send)
        elif scope["path"] == STREAM_PATH:
            await self._stream_choice(scope, receive, send)
        elif AlpacaSockets.handles(scope["path"]):
            await self._alpaca_sockets(scope, receive, send)
        elif BinanceSockets.handles(scope["path"]):
            await self._binance_sockets(scope, receive, send)
        else:
            await receive()
            await refuse(send, nothing_at(scope["path"]))

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers: list[Header] = [(b"x-request-id", self._request_id(scope["headers"])), *self.common_headers]
        path = scope["path"]
        try:
            self._hosts.check(scope["headers"])
            if OrdersFront.handles(scope["method"], path):
                headers.extend(API_HEADERS)
                await self._orders_front(scope, receive, send, headers)
            elif BinanceRest.handles(path):
                self._require_on(BINANCE_API)
                await self._binance(scope, receive, send, [*headers, *API_HEADERS])
            elif AlpacaRest.handles(path):
                self._require_on(ALPACA_API)
                await self._alpaca(scope, receive, send, [*headers, *API_HEADERS])
            elif Feed.handles(path):
                self._require_on(CHART_FEED)
                await self._chart_feed(scope, send, [*headers, *API_HEADERS])
            elif is_api(path):
                await self._serve_api(scope, receive, send, headers)
            else:
                await self._serve_mounted(scope, receive, send, headers)
        except ApiError as error:
            body = error.to_json()
            length = (b"content-length", b"%d" % len(body))
            await respond(send, error.status, [JSON, length, *merged(headers, error.headers)], body)
        except Disconnected:
            return

    def _require_on(self, flag: Flag[bool]) -> None:
        if not self._is_on(flag):
            raise switched_off(flag.name)

    async def _serve_api(self, scope: Scope, receive: Receive, send: Send, headers: list[Header]) -> None:
        path = scope["path"]
        scope[PRINCIPAL_KEY] = None
        if path.startswith("/v1/") and path != HEALTH_PATH:
            principal = None if is_public(path) else await self._authenticated(scope)
            scope[PRINCIPAL_KEY] = principal
            weight = HISTORY_WEIGHT if HISTORY in path else 1
            headers.extend(self._allowances.take_request(principal, client_address(scope), weight))
        await self._pass_on(self._api, scope, receive, send, [*headers, *API_HEADERS])

    async def _authenticated(self, scope: Scope) -> Principal | None:
        """Who is asking. Whoever sends wrong credentials is counted by address, so that guessing is slow."""
        address = client_address(scope)
        try:
            return await self._authentication.by_headers(scope["headers"], address)
        except ApiError:
            self._allowances.take_request(None, address)
            raise

    async def _serve_mounted(self, scope: Scope, receive: Receive, send: Send, headers: list[Header]) -> None:
        path = scope["path"]
        for prefix, app in self._mounts:
            stem = prefix.rstrip("/")
            if path == stem or path.startswith(stem + "/"):
                inner = dict(scope, root_path=scope.get("root_path", "") + stem)
                await self._pass_on(app, inner, receive, send, headers)
                return
        raise nothing_at(path)

    async def _pass_on(self, app: ASGIApp, scope: Scope, receive: Receive, send: Send, headers: list[Header]) -> None:
        if has_body(scope["headers"]):
            check_content_length(scope["headers"], self._request_bytes_max)
            receive = replaying(await read_body(receive, self._request_bytes_max), receive)

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = merged(headers, message.get("headers", ()))
            await send(message)

        await app(scope, receive, send_with_headers)

    def _request_id(self, headers: Sequence[Header]) -> bytes:
        """The client's own, where it has a harmless one: then its log and ours can be laid side by side."""
        for name, value in headers:
            if name == b"x-request-id" and REQUEST_ID.fullmatch(value):
                return value
        return b"%s-%x" % (self._request_prefix, next(self._request_numbers))


def create_app(edge: Edge, cors_origins: Sequence[str], *, is_tls: bool = False) -> ASGIApp:
    """The whole application. Pages of `cors_origins` may use the API; credentials are never cookies, so none are allowed."""
    if is_tls:
        edge.common_headers = (*COMMON_HEADERS, STRICT_TRANSPORT)
    guarded = ServerErrorMiddleware(edge, handler=last_resort)
    cross_origin = CORSMiddleware(
        guarded,
        allow_origins=list(cors_origins),
        allow_methods=["GET", "POST", "PUT", "PATCH", "DELETE"],
        allow_headers=CORS_HEADERS,
        expose_headers=CORS_EXPOSED,
        max_age=CORS_MAX_AGE_SECONDS,
    )

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        """Only browsers send an origin: programs do not pay for what it needs."""
        is_cross_origin = any(name == b"origin" for name, _ in scope.get("headers", ()))
        await (cross_origin if is_cross_origin else guarded)(scope, receive, send)

    return app


async def last_resort(_: Request, __: Exception) -> Response:
    """A bug. The server logs it, with the traceback."""
    error = internal_error()
    return Response(error.to_json(), error.status, media_type="application/json")


def merged(headers: Sequence[Header], own: Sequence[Header]) -> list[Header]:
    """An application's own headers, and those of ours that it does not set itself."""
    names = {name.lower() for name, _ in own}
    return [*own, *(header for header in headers if header[0] not in names)]


def is_api(path: str) -> bool:
    return path in API_PATHS or path.startswith(API_PREFIXES)


def is_public(path: str) -> bool:
    return path in PUBLIC_PATHS or path.startswith(PUBLIC_PREFIXES)


def nothing_at(path: str) -> ApiError:
    return ApiError("NOT_FOUND", f"There is nothing at {path[:200]}.")
