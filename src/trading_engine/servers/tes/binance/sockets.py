"""The WebSockets: `/ws` and `/stream` for what is told, `/ws-api/v3` for what is asked."""

import itertools
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, NamedTuple
from urllib.parse import parse_qs

import msgspec

from trading_engine.database.errors import DatabaseError
from trading_engine.servers.tes.asgi import Receive, Scope, Send, client_address
from trading_engine.servers.tes.binance.errors import NO_HMAC, TOO_MANY_SUBSCRIPTIONS, BinanceError, translated
from trading_engine.servers.tes.binance.rest import BinanceRest, BinanceServices
from trading_engine.servers.tes.binance.signing import Asked, rejected_key, sorted_bytes
from trading_engine.servers.tes.binance.streams import BadStream, Form, MarketStreams
from trading_engine.servers.tes.binance.times import timestamp, told_in, unit_of
from trading_engine.servers.tes.binance.user_data import Following, UserDataStreams
from trading_engine.servers.tes.connections import DirectWebSocket, connection_of, text_frame
from trading_engine.servers.tes.errors import ApiError
from trading_engine.servers.tes.models.views import encode
from trading_engine.servers.tes.services.credentials import Principal
from trading_engine.servers.tes.services.key_signatures import is_hmac
from trading_engine.servers.tes.services.order_entry import require_portfolio
from trading_engine.servers.tes.services.permissions import Permission
from trading_engine.servers.tes.services.readings import database_unavailable
from trading_engine.servers.tes.socket_sessions import CLOSE_POLICY, Garbage, SocketEndpoint, SocketSession, slow_down

STREAM_PATH, RAW_PATH, API_PATH = "/stream", "/ws", "/ws-api/v3"
STREAMS_MAX = 1024
"""Of one connection."""
OWN_METHOD_WEIGHT = 2
"""Of what is asked about the connection itself."""

METHODS: dict[str, tuple[str, str]] = {
    "ping": ("GET", "ping"),
    "time": ("GET", "time"),
    "exchangeInfo": ("GET", "exchangeInfo"),
    "depth": ("GET", "depth"),
    "trades.recent": ("GET", "trades"),
    "trades.historical": ("GET", "historicalTrades"),
    "trades.aggregate": ("GET", "aggTrades"),
    "klines": ("GET", "klines"),
    "uiKlines": ("GET", "uiKlines"),
    "avgPrice": ("GET", "avgPrice"),
    "ticker.24hr": ("GET", "ticker/24hr"),
    "ticker": ("GET", "ticker"),
    "ticker.tradingDay": ("GET", "ticker/tradingDay"),
    "ticker.price": ("GET", "ticker/price"),
    "ticker.book": ("GET", "ticker/bookTicker"),
    "order.place": ("POST", "order"),
    "order.test": ("POST", "order/test"),
    "order.status": ("GET", "order"),
    "order.cancel": ("DELETE", "order"),
    "order.cancelReplace": ("POST", "order/cancelReplace"),
    "order.amend.keepPriority": ("PUT", "order/amend/keepPriority"),
    "order.amendments": ("GET", "order/amendments"),
    "openOrders.status": ("GET", "openOrders"),
    "openOrders.cancelAll": ("DELETE", "openOrders"),
    "allOrders": ("GET", "allOrders"),
    "orderList.place": ("POST", "order/oco"),
    "orderList.place.oco": ("POST", "orderList/oco"),
    "orderList.place.oto": ("POST", "orderList/oto"),
    "orderList.place.otoco": ("POST", "orderList/otoco"),
    "orderList.status": ("GET", "orderList"),
    "orderList.cancel": ("DELETE", "orderList"),
    "openOrderLists.status": ("GET", "openOrderList"),
    "allOrderLists": ("GET", "allOrderList"),
    "myTrades": ("GET", "myTrades"),
    "myPreventedMatches": ("GET", "myPreventedMatches"),
    "account.status": ("GET", "account"),
    "account.commission": ("GET", "account/commission"),
    "account.rateLimits.orders": ("GET", "rateLimit/order"),
    "myFilters": ("GET", "myFilters"),
    "myAllocations": ("GET", "myAllocations"),
    "executionRules": ("GET", "executionRules"),
    "referencePrice": ("GET", "referencePrice"),
    "referencePrice.calculation": ("GET", "referencePrice/calculation"),
    "sor.order.place": ("POST", "sor/order"),
    "sor.order.test": ("POST", "sor/order/test"),
    "orderList.place.opo": ("POST", "orderList/opo"),
    "orderList.place.opoco": ("POST", "orderList/opoco"),
    "userDataStream.start": ("POST", "userDataStream"),
    "userDataStream.ping": ("PUT", "userDataStream"),
    "userDataStream.stop": ("DELETE", "userDataStream"),
}
"""Each is a path of the REST API asked over the socket."""


class SocketServices(NamedTuple):
    """What the sockets use."""

    rest: BinanceRest
    rest_services: BinanceServices
    streams: MarketStreams
    user_data: UserDataStreams
    outbox_bytes_max: int


class Request(msgspec.Struct, frozen=True):
    method: str
    params: Any = None
    id: str | int | None = None


decode_request = msgspec.json.Decoder(Request)


class Session(SocketSession):
    """What both kinds of connections have in common."""

    def __init__(self, services: SocketServices, connection: DirectWebSocket, address: str, unit_ns: int) -> None:
        super().__init__(connection, services.outbox_bytes_max)
        self.services = services
        self.address = address
        self.unit_ns = unit_ns
        """In which times are told."""

    def answer(self, message: object) -> None:
        self.send(text_frame(encode(message)))

    async def take(self, payload: str | bytes) -> None:
        try:
            request = decode_request.decode(payload)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise Garbage from None
        await self.handle(request)

    def complain(self) -> None:
        self.answer({"error": {"code": 3, "msg": "Invalid JSON: expected a request with a method."}, "id": None})

    async def handle(self, request: Request) -> None:
        raise NotImplementedError


class StreamSession(Session):
    """What is subscribed is told, as it is or within the stream's name."""

    def __init__(
        self,
        services: SocketServices,
        connection: DirectWebSocket,
        address: str,
        unit_ns: int,
        form: Form,
        wanted: Sequence[str],
    ) -> None:
        super().__init__(services, connection, address, unit_ns)
        self._form = form
        self._wanted = wanted
        self._followed: dict[str, Principal | None] = {}
        """Stream → who opened it, where it is a listen key."""

    async def begin(self) -> None:
        for name in self._wanted:
            try:
                self.follow(name)
            except BadStream as error:
                self.answer({"error": {"code": 2, "msg": f"There is no stream {str(error)[:100]!r}."}, "id": None})

    def follow(self, name: str) -> None:
        """Raises `BadStream`."""
        if name in self._followed:
            return
        if len(self._followed) >= STREAMS_MAX:
            raise BadStream(name)
        keys = self.services.rest_services.listen_keys
        opener = keys.opener_of(name)
        if opener is None:
            self.services.streams.follow(name, self, self._form, self.unit_ns)
        else:
            following = Following(self._wrap(name), lambda: keys.opener_of(name) is not None, self.unit_ns)
            self.services.user_data.follow(opener.account_id, self, name, following)
        self._followed[name] = opener

    def _wrap(self, name: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
        if self._form == "raw":
            return lambda message: message
        return lambda message: {"stream": name, "data": message}

    def leave(self, name: str) -> None:
        if name not in self._followed:
            return
        opener = self._followed.pop(name)
        if opener is None:
            self.services.streams.leave(name, self, self._form, self.unit_ns)
        else:
            self.services.user_data.leave(opener.account_id, self, name)

    @property
    def principals(self) -> Iterable[Principal]:
        return [opener for opener in self._followed.values() if opener is not None]

    async def handle(self, request: Request) -> None:
        names = request.params if isinstance(request.params, list) else []
        try:
            self.services.rest_services.allowances.take_request(None, self.address)
            match request.method:
                case "SUBSCRIBE":
                    for name in names:
                        self.follow(str(name))
                case "UNSUBSCRIBE":
                    for name in names:
                        self.leave(str(name))
                case "LIST_SUBSCRIPTIONS":
                    self.answer({"result": sorted(self._followed), "id": request.id})
                    return
                case _:
                    self._refuse(request, f"There is no method {request.method[:100]!r} here.")
                    return
        except BadStream as error:
            self._refuse(request, f"There is no stream {str(error)[:100]!r}.")
        except ApiError as error:
            self._refuse(request, error.body.message)
            await slow_down(error.status)
        else:
            self.answer({"result": None, "id": request.id})

    def _refuse(self, request: Request, words: str) -> None:
        self.answer({"error": {"code": 2, "msg": words}, "id": request.id})

    def end(self) -> None:
        for name in tuple(self._followed):
            self.leave(name)


class Logon(NamedTuple):
    """Whose connection it is, after `session.logon`."""

    key_id: str
    principal: Principal
    since_ns: int


class Subscription(NamedTuple):
    principal: Principal
    is_of_logon: bool
    """It ends when the connection is nobody's any more."""


class ApiSession(Session):
    """Requests of the REST API, and an account's stream. After a logon, requests need neither key nor signature."""

    def __init__(self, services: SocketServices, connection: DirectWebSocket, address: str, unit_ns: int) -> None:
        super().__init__(services, connection, address, unit_ns)
        self._connected_ns = services.rest_services.now_ns()
        self._logon: Logon | None = None
        self._subscriptions: dict[int, Subscription] = {}
        self._numbers = itertools.count()
        self._own_methods: dict[str, Callable[[dict[str, str]], Any]] = {
            "session.logon": self._log_on,
            "session.status": lambda _: self._status(),
            "session.logout": lambda _: self._log_out(),
            "session.subscriptions": lambda _: [{"subscriptionId": number} for number in self._subscriptions],
            "userDataStream.subscribe": self._subscribe_logged_on,
            "userDataStream.subscribe.signature": self._subscribe_signed,
            "userDataStream.unsubscribe": self._unsubscribe,
        }

    async def handle(self, request: Request) -> None:
        try:
            with told_in(self.unit_ns):
                status, content = 200, {"result": await self._result(request)}
        except (BinanceError, ApiError, DatabaseError) as failure:
            error = binance_error(failure)
            status, content = error.status, {"error": error.body}
        limits = self.services.rest_services.used.rules()
        self.answer({"id": request.id, "status": status, **content, "rateLimits": limits})
        await slow_down(status)

    async def _result(self, request: Request) -> Any:
        parameters = parameters_of(request.params)
        answer = await self._argued(request.method, parameters)
        return await answer if isinstance(answer, Awaitable) else answer

    async def _argued(self, method: str, parameters: dict[str, str]) -> Any:
        services = self.services.rest_services
        if method in self._own_methods:
            services.used.count_request(self.address, OWN_METHOD_WEIGHT)
            services.allowances.take_request(None, self.address)
            return self._own_methods[method](parameters)
        route = self.services.rest.route(*METHODS.get(method, ("", "")))
        if route is None:
            raise BinanceError(-1000, f"There is no method {method[:100]!r} here.", 404)
        services.used.count_request(self.address, route.weighed(parameters))
        return route.answer(await self.services.rest.argument(route, self._asked(parameters), []))

    def _asked(self, parameters: dict[str, str]) -> Asked:
        """Who names no key and signs nothing is whoever has logged on."""
        asked = Asked(parameters.get("apiKey"), parameters, sorted_bytes(parameters), self.address)
        if self._logon is None or "apiKey" in parameters or "signature" in parameters:
            return asked
        return asked._replace(key_id=self._logon.key_id, is_logged_on=True)

    # Whose connection it is

    async def _log_on(self, parameters: dict[str, str]) -> dict[str, Any]:
        asked = Asked(parameters.get("apiKey"), parameters, sorted_bytes(parameters), self.address)
        principal = await self.services.rest.sender(asked, is_signed=True)
        if is_hmac(parameters["signature"]):
            raise BinanceError(NO_HMAC, "HMAC_SHA256 API key is not supported.")
        if self._logon is not None and self._logon.principal.account_id != principal.account_id:
            self._log_out()
        self._logon = Logon(parameters["apiKey"], principal, self.services.rest_services.now_ns())
        return self._status()

    def _log_out(self) -> dict[str, Any]:
        for number, subscription in tuple(self._subscriptions.items()):
            if subscription.is_of_logon:
                self._drop(number)
        self._logon = None
        return self._status()

    def _status(self) -> dict[str, Any]:
        logon = self._logon
        return {
            "apiKey": logon and logon.key_id,
            "authorizedSince": logon and timestamp(logon.since_ns),
            "connectedSince": timestamp(self._connected_ns),
            "returnRateLimits": True,
            "serverTime": timestamp(self.services.rest_services.now_ns()),
            "userDataStream": any(subscription.is_of_logon for subscription in self._subscriptions.values()),
        }

    # An account's stream

    def _subscribe_logged_on(self, _: dict[str, str]) -> dict[str, int]:
        if self._logon is None:
            raise rejected_key()
        return self._subscribe(Subscription(self._logon.principal, is_of_logon=True))

    async def _subscribe_signed(self, parameters: dict[str, str]) -> dict[str, int]:
        asked = Asked(parameters.get("apiKey"), parameters, sorted_bytes(parameters), self.address)
        principal = await self.services.rest.sender(asked, is_signed=True)
        return self._subscribe(Subscription(principal, is_of_logon=False))

    def _subscribe(self, subscription: Subscription) -> dict[str, int]:
        principal = subscription.principal
        require_portfolio(principal, Permission.READ)
        if len(self._subscriptions) >= STREAMS_MAX:
            raise BinanceError(TOO_MANY_SUBSCRIPTIONS, "Maximum subscription ID reached for this connection.")
        number = next(self._numbers)
        self._subscriptions[number] = subscription
        self.services.user_data.follow(
            principal.account_id,
            self,
            str(number),
            Following(lambda message: {"subscriptionId": number, "event": message}, unit_ns=self.unit_ns),
        )
        return {"subscriptionId": number}

    def _unsubscribe(self, parameters: dict[str, str]) -> dict[str, Any]:
        wanted = parameters.get("subscriptionId")
        for number in tuple(self._subscriptions):
            if wanted is None or wanted == str(number):
                self._drop(number)
        return {}

    def _drop(self, number: int) -> None:
        account_id = self._subscriptions.pop(number).principal.account_id
        self.services.user_data.leave(account_id, self, str(number))

    @property
    def principals(self) -> Iterable[Principal]:
        """Also of whoever has logged on: there the key that ends was the last that proved anything."""
        subscribed = [subscription.principal for subscription in self._subscriptions.values()]
        return subscribed if self._logon is None else [*subscribed, self._logon.principal]

    def end(self) -> None:
        self._unsubscribe({})


def binance_error(failure: BinanceError | ApiError | DatabaseError) -> BinanceError:
    if isinstance(failure, BinanceError):
        return failure
    return translated(failure if isinstance(failure, ApiError) else database_unavailable())


def parameters_of(params: Any) -> dict[str, str]:
    """As they would stand in a query: numbers and truth values as their JSON."""
    if params is None:
        return {}
    if not isinstance(params, dict):
        raise BinanceError(-1100, "Illegal characters found in parameter 'params'.")
    return {str(name): value if isinstance(value, str) else encode(value).decode() for name, value in params.items()}


class BinanceSockets(SocketEndpoint):
    """The ASGI application of the paths."""

    def __init__(self, services: SocketServices, connections_max: int) -> None:
        super().__init__(self._session, connections_max)
        self._services = services

    def end_access(self, has_ended: Callable[[Principal], bool]) -> None:
        self._services.rest_services.listen_keys.end(has_ended)
        super().end_access(has_ended)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            unit_of_connection(scope)
        except BinanceError as error:
            await receive()
            await send({"type": "websocket.close", "code": CLOSE_POLICY, "reason": error.message})
        else:
            await super().__call__(scope, receive, send)

    @staticmethod
    def handles(path: str) -> bool:
        return path in (STREAM_PATH, RAW_PATH, API_PATH) or path.startswith(RAW_PATH + "/")

    def _session(self, scope: Scope) -> Session:
        connection, address, unit_ns = connection_of(scope), client_address(scope), unit_of_connection(scope)
        if scope["path"] == API_PATH:
            return ApiSession(self._services, connection, address, unit_ns)
        form: Form = "combined" if scope["path"] == STREAM_PATH else "raw"
        return StreamSession(self._services, connection, address, unit_ns, form, streams_of(scope))


def unit_of_connection(scope: Scope) -> int:
    """Raises `BinanceError`."""
    return unit_of(query_of(scope).get("timeUnit", [None])[0])


def query_of(scope: Scope) -> dict[str, list[Any]]:
    return parse_qs(scope["query_string"].decode("latin-1"))


def streams_of(scope: Scope) -> list[str]:
    """Those that the address names. A number is no stream: ccxt tells its connections apart by one."""
    listed = (
        scope["path"].removeprefix(RAW_PATH)
        if scope["path"] != STREAM_PATH
        else query_of(scope).get("streams", [""])[0]
    )
    return [name for name in listed.split("/") if name and not name.isdecimal()]
