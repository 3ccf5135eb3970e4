"""`/api/v3` over HTTP: a table of paths, and what each needs of its sender. Of `/sapi/v1` there is what clients ask before they trade."""

from collections.abc import Awaitable, Callable, Mapping
from enum import Enum
from functools import partial
from typing import Any, NamedTuple

import msgspec

from trading_engine.database.errors import DatabaseError
from trading_engine.servers.tes.asgi import (
    Header,
    Receive,
    Scope,
    Send,
    check_content_length,
    client_address,
    read_body,
    respond,
)
from trading_engine.servers.tes.binance.absent import EMPTY, REFUSED, REJECTED_ORDERS
from trading_engine.servers.tes.binance.account import AccountRequests
from trading_engine.servers.tes.binance.errors import BinanceError, translated
from trading_engine.servers.tes.binance.limits import UsedLimits
from trading_engine.servers.tes.binance.market import MarketQueries, book_ticker, price_ticker
from trading_engine.servers.tes.binance.order_lists import OrderLists
from trading_engine.servers.tes.binance.requests import Parameters
from trading_engine.servers.tes.binance.signing import KEY_HEADER, Asked, Signatures, read_parameters, signed_bytes
from trading_engine.servers.tes.binance.symbols import (
    EXCHANGE_FILTERS,
    Symbols,
    exchange_information,
    filters,
    symbol_of,
)
from trading_engine.servers.tes.binance.times import timestamp, told_in, unit_of
from trading_engine.servers.tes.binance.user_data import ListenKeys
from trading_engine.servers.tes.errors import ApiError
from trading_engine.servers.tes.services.allowances import Allowances
from trading_engine.servers.tes.services.credentials import Principal
from trading_engine.servers.tes.services.permissions import Permission
from trading_engine.servers.tes.services.readings import database_unavailable

PREFIX, WALLET_PREFIX = "/api/v3/", "/sapi/v1/"
JSON: Header = (b"content-type", b"application/json;charset=UTF-8")
TIME_UNIT_HEADER = b"x-mbx-time-unit"

encode = msgspec.json.Encoder().encode


class Security(Enum):
    """Binance's endpoint security types, as far as they differ here."""

    NONE = 0
    KEY = 1
    SIGNED = 2


class Sender(NamedTuple):
    principal: Principal
    parameters: Parameters


class Route(NamedTuple):
    security: Security
    weight: int
    answer: Callable[[Any], Any]
    """Of the parameters, or with a key of a `Sender`; may be awaitable."""
    permission: Permission = Permission.READ
    """What the sender has to have, where there is one."""
    orders: int = 0
    """How many it enters, for the limit on them."""
    weight_of: Callable[[Parameters], int] | None = None
    """Where the weight depends on what is asked."""

    def weighed(self, parameters: Parameters) -> int:
        return self.weight if self.weight_of is None else self.weight_of(parameters)


class BinanceServices(NamedTuple):
    """What the routes use."""

    symbols: Symbols
    market: MarketQueries
    account: AccountRequests
    lists: OrderLists
    signatures: Signatures
    listen_keys: ListenKeys
    used: UsedLimits
    allowances: Allowances
    now_ns: Callable[[], int]
    request_bytes_max: int


class BinanceRest:
    def __init__(self, services: BinanceServices) -> None:
        self._services = services
        self._routes = {**self._public_routes(), **self._account_routes(), **self._absent_routes()}

    @staticmethod
    def handles(path: str) -> bool:
        return path.startswith((PREFIX, WALLET_PREFIX))

    def _public_routes(self) -> dict[tuple[str, str], Route]:
        market = self._services.market
        public: dict[str, tuple[int, Callable[[Parameters], Any]]] = {
            "ping": (1, lambda _: {}),
            f"{WALLET_PREFIX}system/status": (1, lambda _: {"status": 0, "msg": "normal"}),
            "time": (1, lambda _: {"serverTime": timestamp(self._services.now_ns())}),
            "exchangeInfo": (20, self._exchange_information),
            "depth": (5, market.depth),
            "trades": (25, market.trades),
            "historicalTrades": (25, market.trades),
            "aggTrades": (4, market.aggregate_trades),
            "klines": (2, market.klines),
            "uiKlines": (2, market.klines),
            "avgPrice": (2, market.average_price),
            "ticker/24hr": (2, lambda parameters: market.tickers(parameters, market.day_ticker)),
            "ticker": (4, market.rolling_tickers),
            "ticker/tradingDay": (4, market.trading_day_tickers),
            "ticker/price": (2, lambda parameters: market.tickers(parameters, price_ticker)),
            "ticker/bookTicker": (2, lambda parameters: market.tickers(parameters, book_ticker)),
        }
        return {("GET", path): Route(Security.NONE, weight, answer) for path, (weight, answer) in public.items()}

    def _account_routes(self) -> dict[tuple[str, str], Route]:
        account, lists, keys = self._services.account, self._services.lists, self._services.listen_keys
        signed, trade = Security.SIGNED, Permission.TRADE
        return {
            ("POST", "order"): Route(signed, 1, lambda s: account.place(*s), trade, orders=1),
            ("POST", "order/test"): Route(signed, 1, lambda s: account.test(*s), trade),
            ("DELETE", "order"): Route(signed, 1, lambda s: account.cancel(*s), trade),
            ("GET", "order"): Route(signed, 4, lambda s: account.order(*s)),
            ("POST", "order/cancelReplace"): Route(signed, 1, lambda s: account.cancel_replace(*s), trade, orders=1),
            ("PUT", "order/amend/keepPriority"): Route(signed, 4, lambda s: account.amend(*s), trade),
            ("GET", "order/amendments"): Route(signed, 4, lambda s: account.amendments(*s)),
            ("GET", "openOrders"): Route(signed, 6, lambda s: account.open_orders(*s)),
            ("DELETE", "openOrders"): Route(signed, 1, lambda s: account.cancel_all(*s), trade),
            ("GET", "allOrders"): Route(signed, 20, lambda s: account.all_orders(*s)),
            ("POST", "orderList/oco"): Route(signed, 1, lambda s: lists.place_oco(*s), trade, orders=2),
            ("POST", "orderList/oto"): Route(signed, 1, lambda s: lists.place_oto(*s), trade, orders=2),
            ("POST", "orderList/otoco"): Route(signed, 1, lambda s: lists.place_otoco(*s), trade, orders=3),
            ("POST", "order/oco"): Route(signed, 1, lambda s: lists.place_legacy_oco(*s), trade, orders=2),
            ("GET", "orderList"): Route(signed, 4, lambda s: lists.status(*s)),
            ("DELETE", "orderList"): Route(signed, 1, lambda s: lists.cancel(*s), trade),
            ("GET", "openOrderList"): Route(signed, 6, lambda s: lists.open(*s)),
            ("GET", "allOrderList"): Route(signed, 20, lambda s: lists.all(*s)),
            ("GET", "myTrades"): Route(signed, 20, lambda s: account.trades(*s)),
            ("GET", "myPreventedMatches"): Route(
                signed, 20, lambda s: account.prevented_matches(*s), weight_of=self._weight_of_matches
            ),
            ("GET", "account"): Route(signed, 20, lambda s: account.account(*s)),
            ("GET", "account/commission"): Route(signed, 20, lambda s: account.commission(s.parameters)),
            ("GET", "myFilters"): Route(signed, 40, lambda s: self._filters(s.parameters)),
            ("GET", f"{WALLET_PREFIX}asset/tradeFee"): Route(signed, 1, lambda s: account.trade_fees(s.parameters)),
            ("GET", "rateLimit/order"): Route(
                signed, 40, lambda s: self._services.used.order_counts(s.principal.account_id)
            ),
            ("POST", "userDataStream"): Route(Security.KEY, 2, lambda s: keys.open(s.principal)),
            ("PUT", "userDataStream"): Route(Security.KEY, 2, lambda s: keys.keep(*s)),
            ("DELETE", "userDataStream"): Route(Security.KEY, 2, lambda s: keys.close(*s)),
        }

    def _weight_of_matches(self, parameters: Parameters) -> int:
        is_by_order = "orderId" in parameters and parameters.get("symbol") in self._services.symbols.all
        return 20 if is_by_order else 2

    def _absent_routes(self) -> dict[tuple[str, str], Route]:
        """Of what this venue has none of; a symbol that there is not is still told to be none."""
        public = {path: Route(Security.NONE, 2, partial(self._told, content)) for path, content in EMPTY.items()}
        public |= {path: Route(Security.NONE, 2, partial(self._refused, error)) for path, error in REFUSED.items()}
        return {
            **{("GET", path): route for path, route in public.items()},
            ("GET", "myAllocations"): Route(Security.SIGNED, 20, lambda s: self._told([], s.parameters)),
            **{
                ("POST", path): Route(Security.SIGNED, 1, partial(self._rejected, error), Permission.TRADE)
                for path, error in REJECTED_ORDERS.items()
            },
        }

    def _told(self, content: Any, parameters: Parameters) -> Any:
        if "symbol" in parameters:
            self._services.symbols.market(parameters["symbol"])
        return content

    def _refused(self, error: Callable[[], BinanceError], parameters: Parameters) -> None:
        self._services.symbols.named(parameters)
        raise error()

    def _rejected(self, error: Callable[[], BinanceError], sender: Sender) -> None:
        self._refused(error, sender.parameters)

    @property
    def routes(self) -> Mapping[tuple[str, str], Route]:
        """By method and path, without the prefix."""
        return self._routes

    def route(self, method: str, path: str) -> Route | None:
        """`path` is what follows `/api/v3/`, or all of it."""
        return self._routes.get((method, path))

    def _exchange_information(self, parameters: Parameters) -> dict[str, Any]:
        wanted = self._services.market.tickers(parameters, symbol_name)
        names = [wanted] if isinstance(wanted, str) else wanted
        markets = [self._services.symbols.market(name) for name in names]
        time = timestamp(self._services.now_ns())
        return exchange_information(markets, self._services.symbols, time, self._services.used.rules())

    def _filters(self, parameters: Parameters) -> dict[str, Any]:
        """Those of a symbol, and of the account at this exchange."""
        symbols = self._services.symbols
        market = symbols.named(parameters)
        return {
            "exchangeFilters": EXCHANGE_FILTERS,
            "symbolFilters": filters(market.instrument, symbols.decimals(market)),
            "assetFilters": [],
        }

    # A request

    async def __call__(self, scope: Scope, receive: Receive, send: Send, headers: list[Header]) -> None:
        """`headers` go out with every answer."""
        try:
            with told_in(unit_of(header_of(scope, TIME_UNIT_HEADER))):
                status, content = 200, encode(await self._answer(scope, receive, headers))
        except BinanceError as error:
            status, content = error.status, error.to_json()
            if error.retry_after_s:
                headers.append((b"retry-after", b"%d" % error.retry_after_s))
        length = (b"content-length", b"%d" % len(content))
        await respond(send, status, [JSON, length, *headers], content)

    async def _answer(self, scope: Scope, receive: Receive, headers: list[Header]) -> Any:
        route = self.route(scope["method"], scope["path"].removeprefix(PREFIX))
        if route is None:
            raise BinanceError(-1000, f"There is no {scope['method']} {scope['path'][:200]} here.", 404)
        try:
            check_content_length(scope["headers"], self._services.request_bytes_max)
            body = await read_body(receive, self._services.request_bytes_max)
            query: bytes = scope["query_string"]
            parameters = read_parameters(query, body)
            address = client_address(scope)
            headers.extend(self._services.used.count_request(address, route.weighed(parameters)))
            asked = Asked(header_of(scope, KEY_HEADER), parameters, signed_bytes(query, body), address)
            answer = route.answer(await self.argument(route, asked, headers))
            return await answer if isinstance(answer, Awaitable) else answer
        except ApiError as error:
            raise translated(error) from error
        except DatabaseError as error:
            raise translated(database_unavailable()) from error

    async def argument(self, route: Route, asked: Asked, headers: list[Header]) -> Parameters | Sender:
        """What the route answers, if it may be asked and is not too much. Raises `BinanceError` or `ApiError`."""
        if route.security is Security.NONE:
            self._services.allowances.take_request(None, asked.address)
            return asked.parameters
        principal = await self.sender(asked, is_signed=route.security is Security.SIGNED)
        principal.require(route.permission)
        if route.orders:
            self._services.allowances.take_orders(principal, route.orders)
            headers.extend(self._services.used.count_orders(principal.account_id, route.orders))
        else:
            self._services.allowances.take_request(principal, asked.address)
        return Sender(principal, asked.parameters)

    async def sender(self, asked: Asked, *, is_signed: bool) -> Principal:
        """Whoever proves nothing is counted by address."""
        signatures = self._services.signatures
        try:
            if is_signed:
                return await signatures.check(asked, self._services.now_ns())
            return await signatures.by_key(asked)
        except BinanceError:
            self._services.allowances.take_request(None, asked.address)
            raise


def header_of(scope: Scope, name: bytes) -> str | None:
    return next((value.decode("latin-1") for header, value in scope["headers"] if header == name), None)


def symbol_name(market: Any) -> Any:
    return symbol_of(market.instrument)
