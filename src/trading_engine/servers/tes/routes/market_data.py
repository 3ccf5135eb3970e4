"""Public: instruments, books, trades, candles, tickers, time, health."""

from collections.abc import Callable
from typing import Annotated, Literal

import msgspec
from fastapi import APIRouter, Path, Query, Response

from trading_engine.servers.tes.errors import unknown_instrument
from trading_engine.servers.tes.models.views import InstrumentView, instrument_view, rfc3339
from trading_engine.servers.tes.routes.answers import Digits, Limit, answer, number
from trading_engine.servers.tes.routes.examples import TIME
from trading_engine.servers.tes.routes.openapi import described
from trading_engine.servers.tes.services.health import Health, HealthView
from trading_engine.servers.tes.services.market_data import BookView, Market, MarketData, TickerView
from trading_engine.servers.tes.services.order_by_order import OrdersView
from trading_engine.servers.tes.services.readings import CandlesView, Readings, TradesPage
from trading_engine.servers.tes.services.session_state import SessionView

DEPTH_MAX = 5000
SECONDS_MAX = 9_000_000_000
"""Unix seconds whose nanoseconds still fit 64 bits."""

Symbol = Annotated[str, Path(examples=["AAPL"])]
Seconds = Annotated[int | None, Query(ge=0, le=SECONDS_MAX, description="Unix seconds", examples=[1767623400])]
INSTRUMENT = {
    "symbol": "AAPL",
    "name": "Apple Inc",
    "currency": "USD",
    "tick_size": "0.01",
    "lot_size": "1",
    "quantity_min": "1",
    "quantity_max": "1000000",
    "price_max": "1000000.00",
    "notional_max": "1000000000.00",
    "market_protection": "5.00",
    "price_band_percent": "50",
    "maker_fee_bp": "1",
    "taker_fee_bp": "3",
    "phase": "continuous",
    "shard": 0,
}
BOOK = {
    "symbol": "AAPL",
    "sequence": "815",
    "time": TIME,
    "checksum": 3310070434,
    "bids": [["230.10", "300", 2]],
    "asks": [["230.12", "150", 1]],
}
ORDERS = {
    "symbol": "AAPL",
    "sequence": "815",
    "time": TIME,
    "checksum": 187003511,
    "bids": [["17", "230.10", "100"], ["21", "230.10", "200"]],
    "asks": [["19", "230.12", "150"]],
}
SESSION = {
    "symbol": "AAPL",
    "phase": "opening_call",
    "ends_at": TIME,
    "halted_by": None,
    "auction": {"price": "230.11", "quantity": "1200", "imbalance": "300", "imbalance_side": "buy"},
    "last_auction": None,
    "limit_bands": None,
    "limit_state": None,
}
TRADE = {
    "trade_id": "77",
    "sequence": "814",
    "price": "230.08",
    "quantity": "40",
    "side": "buy",
    "time": TIME,
}
CANDLES = {
    "symbol": "AAPL",
    "interval": "1m",
    "candles": [[1767623400, "230.10", "230.55", "230.02", "230.41", "12800"]],
}
TICKER = {
    "symbol": "AAPL",
    "last": "230.08",
    "bid": "230.10",
    "bid_quantity": "300",
    "ask": "230.12",
    "ask_quantity": "150",
    "open": "229.50",
    "high": "231.00",
    "low": "229.40",
    "volume": "182000",
    "change": "0.58",
    "change_percent": "0.25",
    "time": TIME,
}
HEALTH = {
    "status": "ok",
    "matching": "ok",
    "database": "ok",
    "event_sequence": "4711",
    "projection_lag": "0",
    "version": "0.1.0",
}


class InstrumentsView(msgspec.Struct, frozen=True):
    instruments: list[InstrumentView]


class TickersView(msgspec.Struct, frozen=True):
    tickers: list[TickerView]


class TimeView(msgspec.Struct, frozen=True):
    time: str


def market_data_router(
    market_data: MarketData,
    readings: Readings,
    health: Health,
    decimals_of: Callable[[str], int],
    now_ns: Callable[[], int],
) -> APIRouter:
    router = APIRouter(prefix="/v1", tags=["Market data"])

    def market_of(symbol: str) -> Market:
        market = market_data.market(symbol)
        if market is None:
            raise unknown_instrument(symbol)
        return market

    add_instrument_routes(router, market_data, decimals_of, market_of)
    add_price_routes(router, market_data, readings, market_of)
    add_service_routes(router, health, now_ns)
    return router


def add_instrument_routes(
    router: APIRouter,
    market_data: MarketData,
    decimals_of: Callable[[str], int],
    market_of: Callable[[str], Market],
) -> None:
    def view(market: Market) -> InstrumentView:
        return instrument_view(market.instrument, market.phase, decimals_of(market.instrument.currency))

    @router.get(
        "/instruments",
        summary="What is traded here",
        **described(InstrumentsView, {"instruments": [INSTRUMENT]}, public=True),
    )
    async def instruments() -> Response:
        return answer(InstrumentsView([view(market) for market in market_data.markets.values()]))

    @router.get(
        "/instruments/{symbol}",
        summary="One instrument",
        **described(InstrumentView, INSTRUMENT, errors=("UNKNOWN_INSTRUMENT",), public=True),
    )
    async def instrument(symbol: Symbol) -> Response:
        return answer(view(market_of(symbol)))


def add_price_routes(
    router: APIRouter, market_data: MarketData, readings: Readings, market_of: Callable[[str], Market]
) -> None:
    @router.get(
        "/instruments/{symbol}/book",
        summary="The order book by price level, best first",
        **described(BookView, BOOK, errors=("INVALID_REQUEST", "UNKNOWN_INSTRUMENT"), public=True),
    )
    async def book(symbol: Symbol, depth: Annotated[int, Query(ge=1, le=DEPTH_MAX)] = 50) -> Response:
        return answer(market_of(symbol).book_view(depth))

    @router.get(
        "/instruments/{symbol}/l3",
        summary="The order book order by order, first in the queue first",
        **described(
            OrdersView, ORDERS, errors=("INVALID_REQUEST", "UNKNOWN_INSTRUMENT", "MATCHING_UNAVAILABLE"), public=True
        ),
    )
    async def orders(symbol: Symbol, depth: Annotated[int, Query(ge=1, le=DEPTH_MAX)] = 50) -> Response:
        return answer(market_of(symbol).orders_view(depth))

    @router.get(
        "/instruments/{symbol}/session",
        summary="The phase, what an auction would come to, halts and limit bands",
        **described(SessionView, SESSION, errors=("UNKNOWN_INSTRUMENT",), public=True),
    )
    async def session(symbol: Symbol) -> Response:
        market = market_of(symbol)
        return answer(SessionView(**market.session.fields(market.instrument)))

    @router.get(
        "/instruments/{symbol}/trades",
        summary="Trades, newest first",
        **described(
            TradesPage,
            {"trades": [TRADE], "next": None},
            errors=("INVALID_REQUEST", "UNKNOWN_INSTRUMENT", "DATABASE_UNAVAILABLE"),
            public=True,
        ),
    )
    async def trades(symbol: Symbol, limit: Limit = 100, before: Digits = None) -> Response:
        return answer(await readings.trades(market_of(symbol), number(before), limit))

    @router.get(
        "/instruments/{symbol}/candles",
        summary="Candles, oldest first",
        **described(
            CandlesView, CANDLES, errors=("INVALID_REQUEST", "UNKNOWN_INSTRUMENT", "DATABASE_UNAVAILABLE"), public=True
        ),
    )
    async def candles(
        symbol: Symbol,
        interval: Literal["1s", "5s", "15s", "1m", "5m", "15m", "1h", "1d"] = "1m",
        start: Seconds = None,
        end: Seconds = None,
        limit: Limit = 500,
    ) -> Response:
        return answer(await readings.candles(market_of(symbol), interval, start, end, limit))

    @router.get(
        "/tickers",
        summary="Last price, best prices and the last 24 hours of every instrument",
        **described(TickersView, {"tickers": [TICKER]}, public=True),
    )
    async def tickers() -> Response:
        return answer(TickersView(market_data.ticker_views()))


def add_service_routes(router: APIRouter, health: Health, now_ns: Callable[[], int]) -> None:
    @router.get("/time", summary="The server's time", **described(TimeView, {"time": TIME}, public=True))
    async def server_time() -> Response:
        return answer(TimeView(rfc3339(now_ns())))

    @router.get(
        "/health",
        summary="Whether orders can be placed",
        **described(HealthView, HEALTH, also={503: "Orders cannot be placed now"}, public=True),
    )
    async def service_health() -> Response:
        view = health.view()
        return answer(view, 200 if health.can_take_orders else 503)
