"""`/v2`, and what of `/v1beta…` clients ask for, over HTTP: a table of paths, and what answers each."""

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from http import HTTPStatus
from typing import Any, NamedTuple

from trading_engine.database.errors import DatabaseError
from trading_engine.database.transactional.watchlists import Key as WatchlistKey
from trading_engine.servers.tes.alpaca.absent import EMPTY, NAME, REFUSED, Path
from trading_engine.servers.tes.alpaca.account import Account
from trading_engine.servers.tes.alpaca.activities import Activities
from trading_engine.servers.tes.alpaca.assets import Assets
from trading_engine.servers.tes.alpaca.data import MarketDataQueries
from trading_engine.servers.tes.alpaca.data_views import encode_json
from trading_engine.servers.tes.alpaca.errors import AlpacaError, not_found, translated
from trading_engine.servers.tes.alpaca.keys import Keys
from trading_engine.servers.tes.alpaca.orders import Orders
from trading_engine.servers.tes.alpaca.positions import Positions
from trading_engine.servers.tes.alpaca.requests import (
    Parameters,
    decode_order,
    decode_replace,
    read_parameters,
)
from trading_engine.servers.tes.alpaca.watchlists import (
    Watchlists,
    decode_symbol,
    decode_watchlist,
    key_of_id,
    key_of_name,
)
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
from trading_engine.servers.tes.errors import ApiError
from trading_engine.servers.tes.models.requests import decode_body
from trading_engine.servers.tes.services.allowances import Allowances
from trading_engine.servers.tes.services.credentials import Principal
from trading_engine.servers.tes.services.permissions import Permission
from trading_engine.servers.tes.services.readings import database_unavailable

PREFIXES = ("/v2/", "/v1beta1/", "/v1beta3/")
JSON: Header = (b"content-type", b"application/json")
HISTORY_WEIGHT = 10
"""As with the native API: such a question takes a database tenths of a second."""
MULTI_STATUS, NO_CONTENT = int(HTTPStatus.MULTI_STATUS), int(HTTPStatus.NO_CONTENT)


class Asked(NamedTuple):
    """A request: who asks, what the path names, and what was sent."""

    principal: Principal
    names: Path
    parameters: Parameters
    body: bytes

    @property
    def name(self) -> str:
        """The first of them; empty where the path names nothing."""
        return self.names[0] if self.names else ""


class Route(NamedTuple):
    answer: Callable[[Asked], Any]
    """May be awaitable."""
    status: int = 200
    is_order: bool = False
    weight: int = 1
    """It counts as so many requests."""


def refuse(_: Asked) -> None:
    raise not_found("endpoint not found")


NOTHING = Route(refuse)
"""Where there is no route."""


class AlpacaServices(NamedTuple):
    """What the routes use."""

    keys: Keys
    assets: Assets
    orders: Orders
    positions: Positions
    account: Account
    activities: Activities
    watchlists: Watchlists
    data: MarketDataQueries
    allowances: Allowances
    request_bytes_max: int


Key = tuple[str, Path]
"""A method and the parts of a path."""


class AlpacaRest:
    def __init__(self, services: AlpacaServices) -> None:
        self._services = services
        native = self._order_routes() | self._account_routes() | self._watchlist_routes() | self._data_routes()
        self._routes = {(method, ("v2", *path)): route for (method, path), route in native.items()} | absent_routes()
        self._patterns: dict[tuple[str, int], list[tuple[Path, Route]]] = {}
        """Of each method and length, those that name less first."""
        for (method, path), route in sorted(self._routes.items(), key=lambda entry: entry[0][1].count(NAME)):
            self._patterns.setdefault((method, len(path)), []).append((path, route))

    @staticmethod
    def handles(path: str) -> bool:
        return path.startswith(PREFIXES)

    def _order_routes(self) -> dict[Key, Route]:
        orders, positions = self._services.orders, self._services.positions
        return {
            ("POST", ("orders",)): Route(
                lambda a: orders.place(a.principal, decode_body(a.body, decode_order)), is_order=True
            ),
            ("GET", ("orders",)): Route(lambda a: orders.orders(a.principal, a.parameters)),
            ("DELETE", ("orders",)): Route(lambda a: orders.cancel_all(a.principal), MULTI_STATUS),
            ("GET", ("orders", NAME)): Route(lambda a: orders.order(a.principal, a.name, a.parameters)),
            ("PATCH", ("orders", NAME)): Route(
                lambda a: orders.replace(a.principal, a.name, decode_body(a.body, decode_replace)), is_order=True
            ),
            ("DELETE", ("orders", NAME)): Route(lambda a: orders.cancel(a.principal, a.name), NO_CONTENT),
            ("GET", ("orders:by_client_order_id",)): Route(
                lambda a: orders.order_by_client_id(a.principal, a.parameters)
            ),
            ("GET", ("positions",)): Route(lambda a: positions.positions(a.principal)),
            ("DELETE", ("positions",)): Route(
                lambda a: positions.close_all(a.principal, a.parameters), MULTI_STATUS, is_order=True
            ),
            ("GET", ("positions", NAME)): Route(lambda a: positions.position(a.principal, a.name)),
            ("DELETE", ("positions", NAME)): Route(
                lambda a: positions.close(a.principal, a.name, a.parameters), is_order=True
            ),
        }

    def _account_routes(self) -> dict[Key, Route]:
        account, activities, assets = self._services.account, self._services.activities, self._services.assets
        return {
            ("GET", ("account",)): Route(lambda a: account.account(a.principal)),
            ("GET", ("account", "configurations")): Route(lambda a: account.settings(a.principal)),
            ("PATCH", ("account", "configurations")): Route(lambda a: account.change_settings(a.principal, a.body)),
            ("GET", ("account", "portfolio", "history")): Route(
                lambda a: account.history(a.principal, a.parameters), weight=HISTORY_WEIGHT
            ),
            ("GET", ("account", "activities")): Route(lambda a: activities.activities(a.principal, "", a.parameters)),
            ("GET", ("account", "activities", NAME)): Route(
                lambda a: activities.activities(a.principal, a.name, a.parameters)
            ),
            ("GET", ("assets",)): Route(lambda a: assets.assets(a.parameters)),
            ("GET", ("assets", NAME)): Route(lambda a: assets.asset(a.name)),
            ("GET", ("clock",)): Route(lambda _: assets.clock()),
            ("GET", ("calendar",)): Route(lambda a: assets.calendar(a.parameters)),
        }

    def _watchlist_routes(self) -> dict[Key, Route]:
        """By id, and by the name in the query."""
        lists = self._services.watchlists
        keys: list[tuple[Path, Callable[[Asked], WatchlistKey]]] = [
            (("watchlists", NAME), lambda a: key_of_id(a.name)),
            (("watchlists:by_name",), lambda a: key_of_name(a.parameters)),
        ]
        routes: dict[Key, Route] = {
            ("GET", ("watchlists",)): Route(lambda a: lists.all(a.principal)),
            ("POST", ("watchlists",)): Route(
                lambda a: lists.create(a.principal, decode_body(a.body, decode_watchlist))
            ),
            ("DELETE", ("watchlists", NAME, NAME)): Route(
                lambda a: lists.remove(a.principal, key_of_id(a.name), a.names[1])
            ),
        }
        for path, key_of in keys:
            routes |= self._routes_of_watchlist(path, key_of)
        return routes

    def _routes_of_watchlist(self, path: Path, key_of: Callable[[Asked], WatchlistKey]) -> dict[Key, Route]:
        lists = self._services.watchlists
        return {
            ("GET", path): Route(lambda a: lists.one(a.principal, key_of(a))),
            ("PUT", path): Route(lambda a: lists.update(a.principal, key_of(a), decode_body(a.body, decode_watchlist))),
            ("POST", path): Route(lambda a: lists.add(a.principal, key_of(a), decode_body(a.body, decode_symbol))),
            ("DELETE", path): Route(lambda a: lists.delete(a.principal, key_of(a)), NO_CONTENT),
        }

    def _data_routes(self) -> dict[Key, Route]:
        """Each of the symbols in the query, and of the one in the path."""
        data = self._services.data
        routes: dict[Path, Route] = {
            ("snapshots",): Route(lambda a: data.snapshots("", a.parameters)),
            (NAME, "snapshot"): Route(lambda a: data.snapshots(a.name, a.parameters)),
        }
        for kind in ("bars", "trades", "quotes"):
            past = Route(partial(self._past, kind), weight=HISTORY_WEIGHT if kind == "quotes" else 1)
            latest = Route(partial(self._latest, kind))
            routes |= {(kind,): past, (NAME, kind): past, (kind, "latest"): latest, (NAME, kind, "latest"): latest}
        return {("GET", ("stocks", *path)): route for path, route in routes.items()}

    def _past(self, kind: str, asked: Asked) -> Awaitable[Any]:
        return self._services.data.past(kind, asked.name, asked.parameters)

    def _latest(self, kind: str, asked: Asked) -> Awaitable[Any]:
        return self._services.data.latest(kind, asked.name, asked.parameters)

    @property
    def routes(self) -> Mapping[Key, Route]:
        """By method and path, without the prefix."""
        return self._routes

    def _found(self, method: str, path: str) -> tuple[Route, Path]:
        """What answers, and what the path names."""
        parts = tuple(path[1:].split("/"))
        for pattern, route in self._patterns.get((method, len(parts)), ()):
            if (names := names_in(parts, pattern)) is not None:
                return route, names
        return NOTHING, ()

    # A request

    async def __call__(self, scope: Scope, receive: Receive, send: Send, headers: list[Header]) -> None:
        """`headers` go out with every answer."""
        try:
            status, content = await self._answer(scope, receive, headers)
        except AlpacaError as error:
            status, content = error.status, error.to_json()
            headers.extend(error.headers)
        if status == NO_CONTENT:
            await respond(send, status, headers, b"")
            return
        await respond(send, status, [JSON, (b"content-length", b"%d" % len(content)), *headers], content)

    async def _answer(self, scope: Scope, receive: Receive, headers: list[Header]) -> tuple[int, bytes]:
        try:
            check_content_length(scope["headers"], self._services.request_bytes_max)
            body = await read_body(receive, self._services.request_bytes_max)
            principal = await self._principal(scope)
            route, names = self._found(scope["method"], scope["path"])
            headers.extend(self._services.allowances.take_request(principal, client_address(scope), route.weight))
            principal.require(permission_of(scope["method"]))
            if route.is_order:
                self._services.allowances.take_orders(principal)
            answer = route.answer(Asked(principal, names, read_parameters(scope["query_string"]), body))
            return route.status, encode_json(await answer if isinstance(answer, Awaitable) else answer)
        except ApiError as error:
            raise translated(error) from error
        except DatabaseError as error:
            raise translated(database_unavailable()) from error

    async def _principal(self, scope: Scope) -> Principal:
        """Who is asking. Whoever sends wrong credentials is counted by address, so that guessing is slow."""
        address = client_address(scope)
        try:
            return await self._services.keys.by_headers(scope["headers"], address)
        except AlpacaError:
            self._services.allowances.take_request(None, address)
            raise


def permission_of(method: str) -> Permission:
    """Of a route: what changes something is about orders here."""
    return Permission.READ if method == "GET" else Permission.TRADE


def names_in(parts: Path, pattern: Path) -> Path | None:
    """What stands where the pattern says that something is named; None where it is of another path."""
    if any(part != fixed and (fixed != NAME or not part) for part, fixed in zip(parts, pattern, strict=True)):
        return None
    return tuple(part for part, fixed in zip(parts, pattern, strict=True) if fixed == NAME)


def absent_routes() -> dict[Key, Route]:
    empty: dict[Key, Route] = {("GET", path): Route(partial(_told, content)) for path, content in EMPTY.items()}
    return empty | {key: Route(partial(_refused, error_of)) for key, error_of in REFUSED.items()}


def _told(content: Any, _: Asked) -> Any:
    return content


def _refused(error_of: Callable[[], AlpacaError], _: Asked) -> None:
    raise error_of()
