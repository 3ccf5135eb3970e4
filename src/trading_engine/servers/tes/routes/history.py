"""Public: the markets as they were, from the historical database."""

from collections.abc import Callable
from typing import Annotated

from fastapi import APIRouter, Query, Response

from trading_engine.servers.tes.errors import unknown_instrument
from trading_engine.servers.tes.routes.answers import Limit, answer
from trading_engine.servers.tes.routes.market_data import DEPTH_MAX, SECONDS_MAX, Seconds, Symbol
from trading_engine.servers.tes.routes.openapi import described
from trading_engine.servers.tes.services.history import BarsView, History, PastBookView
from trading_engine.servers.tes.services.market_data import Market

WIDTH_MAX_S = 366 * 86_400
BARS = {
    "symbol": "AAPL",
    "width": 90,
    "bars": [[1767623400, "230.10", "230.55", "230.02", "230.41", "12800", "230.27", 214]],
}
BOOK = {
    "symbol": "AAPL",
    "event_sequence": "4711",
    "bids": [["230.10", "300", 2]],
    "asks": [["230.12", "150", 1]],
}
ERRORS = ("INVALID_REQUEST", "UNKNOWN_INSTRUMENT", "DATABASE_UNAVAILABLE")


def history_router(history: History, market_of: Callable[[str], Market | None]) -> APIRouter:
    router = APIRouter(prefix="/v1/instruments/{symbol}/history", tags=["History"])

    def known(symbol: str) -> Market:
        market = market_of(symbol)
        if market is None:
            raise unknown_instrument(symbol)
        return market

    @router.get(
        "/bars",
        summary="Bars of any width, oldest first",
        **described(BarsView, BARS, errors=ERRORS, public=True),
    )
    async def bars(
        symbol: Symbol,
        width: Annotated[int, Query(ge=1, le=WIDTH_MAX_S, description="Seconds", examples=[90])] = 60,
        start: Seconds = None,
        end: Seconds = None,
        limit: Limit = 500,
    ) -> Response:
        return answer(await history.bars(known(symbol), width, start, end, limit))

    @router.get(
        "/book",
        summary="The order book as it was before a second",
        **described(PastBookView, BOOK, errors=ERRORS, public=True),
    )
    async def book(
        symbol: Symbol,
        time: Annotated[int, Query(ge=1, le=SECONDS_MAX, description="Unix seconds", examples=[1767623400])],
        depth: Annotated[int, Query(ge=1, le=DEPTH_MAX)] = 50,
    ) -> Response:
        return answer(await history.book(known(symbol), time, depth))

    return router
