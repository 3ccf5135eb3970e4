"""Reading one's own: orders, fills, positions, portfolio."""

from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query, Response

from trading_engine.servers.tes.errors import not_allowed
from trading_engine.servers.tes.models.views import OrderView
from trading_engine.servers.tes.routes.answers import CurrentPrincipal, Digits, Limit, answer, number
from trading_engine.servers.tes.routes.examples import FILL, ORDER, TIME
from trading_engine.servers.tes.routes.market_data import Seconds
from trading_engine.servers.tes.routes.openapi import UNLISTED, described
from trading_engine.servers.tes.services.authentication import Authentication
from trading_engine.servers.tes.services.queue_positions import QueuePositions, QueueView
from trading_engine.servers.tes.services.readings import (
    FillsPage,
    OrdersPage,
    PortfolioView,
    PositionsView,
    Readings,
)
from trading_engine.servers.tes.services.statements import Statements, StatementView

READ_ERRORS = ("DATABASE_UNAVAILABLE",)
Symbol = Annotated[str | None, Query(description="Only this instrument", examples=["AAPL"])]

PORTFOLIO = {
    "portfolio_id": "1",
    "name": "Main",
    "cash": [{"currency": "USD", "balance": "1000000.00", "held": "13812.90", "available": "986187.10"}],
    "equity": "1115050.00",
    "market_value": "115050.00",
    "realized_pnl": "0.00",
    "unrealized_pnl": "50.00",
    "currency": "USD",
    "event_sequence": "4711",
}
QUEUE = {
    "order_id": "123",
    "symbol": "AAPL",
    "sequence": "815",
    "reference": "17",
    "quantity_ahead": "250",
    "orders_ahead": 2,
}
STATEMENT = {
    "portfolio_id": "1",
    "start": TIME,
    "end": TIME,
    "assets": [
        {
            "asset": "USD",
            "opening": "0.00",
            "closing": "986200.00",
            "kinds": [
                {"kind": "deposit", "credits": "1000000.00", "debits": "0.00", "entries": 1},
                {"kind": "trade", "credits": "0.00", "debits": "13800.00", "entries": 2},
            ],
        }
    ],
}
POSITION = {
    "symbol": "AAPL",
    "quantity": "500",
    "held": "0",
    "available": "500",
    "average_price": "230.00",
    "market_price": "230.10",
    "market_value": "115050.00",
    "unrealized_pnl": "50.00",
    "realized_pnl": "0.00",
}


def account_router(
    readings: Readings,
    queue_positions: QueuePositions,
    statements: Statements,
    authentication: Authentication,
) -> APIRouter:
    router = APIRouter(prefix="/v1")
    add_order_routes(router, readings)
    add_queue_route(router, readings, queue_positions)
    add_statement_route(router, statements)
    add_holding_routes(router, readings, authentication)
    return router


def add_order_routes(router: APIRouter, readings: Readings) -> None:
    @router.get(
        "/orders",
        tags=["Orders"],
        summary="Your orders, newest first",
        **described(
            OrdersPage,
            {"orders": [ORDER], "next": None},
            errors=("INVALID_REQUEST", UNLISTED, *READ_ERRORS),
        ),
    )
    async def orders(
        principal: CurrentPrincipal,
        status: Literal["open", "done", "all"] = "all",
        symbol: Symbol = None,
        limit: Limit = 100,
        before: Digits = None,
    ) -> Response:
        return answer(await readings.orders(principal, status, symbol, number(before), limit))

    @router.get(
        "/orders/by-client-id/{client_order_id}",
        tags=["Orders"],
        summary="One order by your own id",
        **described(OrderView, ORDER, errors=("INVALID_REQUEST", "UNKNOWN_ORDER", *READ_ERRORS)),
    )
    async def order_by_client_id(
        principal: CurrentPrincipal, client_order_id: Annotated[str, Path(examples=["my-1"])]
    ) -> Response:
        return answer(await readings.order_by_client_id(principal, client_order_id))

    @router.get(
        "/orders/{order_id}",
        tags=["Orders"],
        summary="One order",
        **described(OrderView, ORDER, errors=("UNKNOWN_ORDER", *READ_ERRORS)),
    )
    async def order(principal: CurrentPrincipal, order_id: Annotated[str, Path(examples=["123"])]) -> Response:
        return answer(await readings.order(principal, order_id))

    @router.get(
        "/fills",
        tags=["Account"],
        summary="Your fills, newest first",
        **described(
            FillsPage,
            {"fills": [FILL], "next": None},
            errors=("INVALID_REQUEST", "UNKNOWN_ORDER", UNLISTED, *READ_ERRORS),
        ),
    )
    async def fills(
        principal: CurrentPrincipal,
        symbol: Symbol = None,
        order_id: str | None = None,
        limit: Limit = 100,
        before: Digits = None,
    ) -> Response:
        return answer(await readings.fills(principal, symbol, order_id, number(before), limit))


def add_queue_route(router: APIRouter, readings: Readings, queue_positions: QueuePositions) -> None:
    @router.get(
        "/orders/{order_id}/queue",
        tags=["Orders"],
        summary="Where one of your orders stands: what is displayed before it at its price",
        **described(QueueView, QUEUE, errors=("UNKNOWN_ORDER", "MATCHING_UNAVAILABLE", *READ_ERRORS)),
    )
    async def queue(principal: CurrentPrincipal, order_id: Annotated[str, Path(examples=["123"])]) -> Response:
        return answer(queue_positions.view(await readings.order_state(principal, order_id)))


def add_statement_route(router: APIRouter, statements: Statements) -> None:
    @router.get(
        "/statement",
        tags=["Account"],
        summary="What came in and went out over a period, by kind, with the balances before and after",
        **described(StatementView, STATEMENT, errors=("INVALID_REQUEST", *READ_ERRORS)),
    )
    async def statement(principal: CurrentPrincipal, start: Seconds = None, end: Seconds = None) -> Response:
        return answer(await statements.statement(principal, start, end))


def add_holding_routes(router: APIRouter, readings: Readings, authentication: Authentication) -> None:
    @router.get(
        "/portfolio",
        tags=["Account"],
        summary="Cash, and what the account is worth",
        **described(PortfolioView, PORTFOLIO, errors=READ_ERRORS),
    )
    async def portfolio(principal: CurrentPrincipal) -> Response:
        portfolios = await authentication.portfolios_of(principal)
        if not portfolios:
            raise not_allowed("This user has no portfolio.")
        return answer(await readings.portfolio(principal, portfolios[0].name))

    @router.get(
        "/positions",
        tags=["Account"],
        summary="Your positions",
        **described(PositionsView, {"positions": [POSITION]}, errors=READ_ERRORS),
    )
    async def positions(principal: CurrentPrincipal) -> Response:
        return answer(await readings.positions(principal))
