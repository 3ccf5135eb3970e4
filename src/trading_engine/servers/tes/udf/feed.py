"""`/udf`: a table of paths, and their parameters. All of it is public; errors are told as charts expect them, in the answer's body."""

from collections.abc import Awaitable, Callable, Sequence
from http import HTTPStatus
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

import msgspec

from trading_engine.database.errors import DatabaseError
from trading_engine.servers.schedule import TradingSession
from trading_engine.servers.tes.asgi import Header, Scope, Send, client_address, respond
from trading_engine.servers.tes.errors import ApiError
from trading_engine.servers.tes.services.allowances import Allowances
from trading_engine.servers.tes.services.market_data import Market, MarketData
from trading_engine.servers.tes.services.readings import database_unavailable
from trading_engine.servers.tes.services.sessions import TradingSessions
from trading_engine.servers.tes.udf.charts import SECOND_NS, Charts, quote
from trading_engine.servers.tes.udf.sessions import ChartHours, chart_hours
from trading_engine.servers.tes.udf.symbols import (
    EXCHANGE,
    MINUTES,
    RESOLUTION_SECONDS,
    SYMBOL_TYPE,
    configuration,
    found,
    symbol_info,
)
from trading_engine.shared.config import AuctionsConfig

PREFIX = "/udf/"
JSON: Header = (b"content-type", b"application/json;charset=UTF-8")
TEXT: Header = (b"content-type", b"text/plain;charset=UTF-8")
SEARCH_LIMIT, SEARCH_LIMIT_MAX = 30, 500
QUOTES_MAX = 500
SECONDS_MAX = 9_000_000_000
"""Unix seconds whose nanoseconds still fit 64 bits."""
QUERY_FIELDS_MAX = 50

Parameters = dict[str, str]
encode = msgspec.json.Encoder().encode


class BadRequest(Exception):
    """The message says what is wrong with the request."""

    def __init__(self, message: str, status: HTTPStatus = HTTPStatus.BAD_REQUEST) -> None:
        super().__init__(message)
        self.status = status


class FeedServices(NamedTuple):
    market_data: MarketData
    charts: Charts
    sessions: TradingSessions
    auctions: AuctionsConfig
    allowances: Allowances
    now_ns: Callable[[], int]


class Feed:
    def __init__(self, services: FeedServices) -> None:
        self._services = services
        self._hours: tuple[Sequence[TradingSession], ChartHours] | None = None
        """Worked out of these sessions; others are another sequence."""
        self._answers: dict[str, Callable[[Parameters], Any]] = {
            "config": lambda _: configuration(),
            "symbols": self._symbol,
            "search": self._search,
            "history": self._history,
            "marks": self._marks,
            "quotes": self._quotes,
        }

    @staticmethod
    def handles(path: str) -> bool:
        return path.startswith(PREFIX)

    async def __call__(self, scope: Scope, send: Send, headers: list[Header]) -> None:
        """`headers` go out with every answer."""
        kind = JSON
        try:
            headers.extend(self._services.allowances.take_request(None, client_address(scope)))
            if scope["path"] == PREFIX + "time":
                status, kind, content = HTTPStatus.OK, TEXT, b"%d" % (self._services.now_ns() // SECOND_NS)
            else:
                status, content = HTTPStatus.OK, encode(await self._answer(scope))
        except BadRequest as error:
            status, content = error.status, error_body(str(error))
        except ApiError as error:
            status, content = HTTPStatus(error.status), error_body(error.body.message)
            headers.extend(error.headers)
        except DatabaseError:
            status, content = HTTPStatus.SERVICE_UNAVAILABLE, error_body(database_unavailable().body.message)
        length = (b"content-length", b"%d" % len(content))
        await respond(send, status, [kind, length, *headers], content)

    async def _answer(self, scope: Scope) -> Any:
        answer = self._answers.get(scope["path"].removeprefix(PREFIX))
        if answer is None:
            raise BadRequest("there is nothing at this path", HTTPStatus.NOT_FOUND)
        if scope["method"] != "GET":
            raise BadRequest("only GET is possible here", HTTPStatus.METHOD_NOT_ALLOWED)
        result = answer(read_parameters(scope["query_string"]))
        return await result if isinstance(result, Awaitable) else result

    # Answers

    def _market(self, parameters: Parameters) -> Market:
        name = parameters.get("symbol", "")
        market = self._services.market_data.market(name.removeprefix(f"{EXCHANGE}:"))
        if market is None:
            raise BadRequest(f"unknown_symbol {name[:100]}", HTTPStatus.NOT_FOUND)
        return market

    async def _symbol(self, parameters: Parameters) -> dict[str, Any]:
        instrument = self._market(parameters).instrument
        sessions = await self._services.sessions.all()
        if self._hours is None or self._hours[0] is not sessions:
            self._hours = sessions, chart_hours(sessions, self._services.auctions, MINUTES)
        return symbol_info(instrument, self._hours[1])

    def _search(self, parameters: Parameters) -> list[dict[str, Any]]:
        limit = whole_number(parameters, "limit", SEARCH_LIMIT, SEARCH_LIMIT_MAX)
        is_other = parameters.get("exchange", "") not in ("", EXCHANGE) or parameters.get("type", "") not in (
            "",
            SYMBOL_TYPE,
        )
        return (
            [] if is_other else found(self._services.market_data.markets.values(), parameters.get("query", ""), limit)
        )

    def _history(self, parameters: Parameters) -> Awaitable[dict[str, Any]]:
        market = self._market(parameters)
        resolution = parameters.get("resolution", "")
        seconds = RESOLUTION_SECONDS.get(resolution)
        if seconds is None:
            raise BadRequest(f"unsupported resolution {resolution[:100]}")
        countback = whole_number(parameters, "countback", 0, SECONDS_MAX) if "countback" in parameters else None
        start_s, end_s = period(parameters)
        return self._services.charts.history(market, seconds, start_s, end_s, countback or None)

    def _marks(self, parameters: Parameters) -> Awaitable[dict[str, Any]]:
        market = self._market(parameters)
        return self._services.charts.marks(market, *period(parameters))

    def _quotes(self, parameters: Parameters) -> dict[str, Any]:
        names = parameters.get("symbols", "").split(",")[:QUOTES_MAX]
        return {"s": "ok", "errmsg": "", "d": [self._quote(name) for name in names]}

    def _quote(self, name: str) -> dict[str, Any]:
        try:
            return quote(self._market({"symbol": name}))
        except BadRequest as error:
            return {"s": "error", "n": name, "v": {}, "errmsg": str(error)}


def error_body(message: str) -> bytes:
    return encode({"s": "error", "errmsg": message})


def read_parameters(query: bytes) -> Parameters:
    try:
        return dict(parse_qsl(query.decode(), keep_blank_values=True, max_num_fields=QUERY_FIELDS_MAX))
    except ValueError as error:
        raise BadRequest("the query cannot be read") from error


def period(parameters: Parameters) -> tuple[int, int]:
    """From and to, in Unix seconds."""
    start_s, end_s = (whole_number(parameters, name, None, SECONDS_MAX) for name in ("from", "to"))
    if start_s > end_s:
        raise BadRequest(f"from {start_s} is after to {end_s}")
    return start_s, end_s


def whole_number(parameters: Parameters, name: str, default: int | None, maximum: int) -> int:
    """A larger one is taken as the maximum. Raises `BadRequest`."""
    text = parameters.get(name)
    if text is None and default is not None:
        return default
    if not (text and text.isascii() and text.isdecimal() and len(text) <= 19):
        raise BadRequest(f"{name} is no whole number: {(text or '')[:100]}")
    return min(int(text), maximum)
