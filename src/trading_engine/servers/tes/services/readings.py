"""What GET shows, from the database: never older than what this process has told anybody.

Everything a client was told came from an event that this process had handled. So each reading first waits until the projection has
written that event, and a client that has seen its order acknowledged finds it, whichever way it asks.
"""

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from trading_engine.database.errors import DatabaseUnavailable, ProjectionError
from trading_engine.database.projection import ProjectionWriter
from trading_engine.database.transactional.records import Candle, CashBalance, Page, Position
from trading_engine.database.transactional.trading import OrderFilter
from trading_engine.database.transactional.venue_trading import VenueTrading, in_sum
from trading_engine.servers.tes.errors import ApiError, unknown_order, unlisted_symbol
from trading_engine.servers.tes.models.requests import checked_client_order_id, order_id_of
from trading_engine.servers.tes.models.views import (
    SIDE_NAMES,
    FillView,
    OrderView,
    average_price,
    fill_view,
    order_view,
    rfc3339,
)
from trading_engine.servers.tes.services.credentials import Principal
from trading_engine.servers.tes.services.market_data import Market, MarketData, TradeView
from trading_engine.servers.tes.services.permissions import Permission
from trading_engine.servers.tes.services.venue_gateway import VenueGateway
from trading_engine.venue.conversion import lots_to_quantity, minor_to_amount, ticks_to_price
from trading_engine.venue.order_state import OrderReport, OrderState

REPLAY_PAGE = 500
SECOND_NS = 1_000_000_000
INTERVALS_NS: dict[str, int] = {
    "1s": SECOND_NS,
    "5s": 5 * SECOND_NS,
    "15s": 15 * SECOND_NS,
    "1m": 60 * SECOND_NS,
    "5m": 300 * SECOND_NS,
    "15m": 900 * SECOND_NS,
    "1h": 3600 * SECOND_NS,
    "1d": 86_400 * SECOND_NS,
}


class OrdersPage(msgspec.Struct, frozen=True):
    orders: list[OrderView]
    next: str | None


class FillsPage(msgspec.Struct, frozen=True):
    fills: list[FillView]
    next: str | None


class TradesPage(msgspec.Struct, frozen=True):
    trades: list[TradeView]
    next: str | None


class CandlesView(msgspec.Struct, frozen=True):
    symbol: str
    interval: str
    candles: list[tuple[int, str, str, str, str, str]]


class CashView(msgspec.Struct, frozen=True):
    currency: str
    balance: str
    held: str
    available: str


class ShardCashView(msgspec.Struct, frozen=True):
    """What can be traded with on one shard, as of its event."""

    shard: int
    event_sequence: str
    cash: list[CashView]


class PortfolioView(msgspec.Struct, frozen=True):
    portfolio_id: str
    name: str
    cash: list[CashView]
    equity: str
    market_value: str
    realized_pnl: str
    unrealized_pnl: str
    currency: str
    event_sequence: str
    shards: list[ShardCashView] | msgspec.UnsetType = msgspec.UNSET
    """Where there are several; the rest is of all together, and `event_sequence` the first one's."""


class PositionView(msgspec.Struct, frozen=True):
    symbol: str
    quantity: str
    held: str
    available: str
    average_price: str | None
    market_price: str | None
    market_value: str | None
    unrealized_pnl: str | None
    realized_pnl: str


class PositionsView(msgspec.Struct, frozen=True):
    positions: list[PositionView]


def database_unavailable() -> ApiError:
    return ApiError(
        "DATABASE_UNAVAILABLE",
        "This cannot be read at the moment: the database is not reachable or is behind. Orders are not affected; try again in a moment.",
        headers=((b"retry-after", b"1"),),
    )


class Readings:
    def __init__(
        self,
        trading: VenueTrading,
        projections: Sequence[ProjectionWriter],
        gateway: VenueGateway,
        market_data: MarketData,
        decimals_of: Callable[[str], int],
        currency: str,
    ) -> None:
        self._trading = trading
        self._projections = projections
        self._gateway = gateway
        self._market_data = market_data
        self._decimals_of = decimals_of
        self._currency = currency

    async def barrier(self) -> None:
        """Return when the rows show all that this process has handled.

        Raises `ApiError`, at once where the database is known to be away.
        """
        for projection, gateway in zip(self._projections, self._gateway.shards, strict=True):
            if isinstance(projection.error, DatabaseUnavailable) and projection.lag:
                raise database_unavailable()
            try:
                await projection.reached(gateway.handled_sequence)
            except (ProjectionError, DatabaseUnavailable) as error:
                raise database_unavailable() from error

    # Orders and fills

    async def orders(
        self, principal: Principal, status: OrderFilter, symbol: str | None, before: int | None, limit: int
    ) -> OrdersPage:
        principal.require(Permission.READ)
        await self.barrier()
        page = await self._trading.orders(
            principal.account_id,
            status=status,
            instrument_id=self._instrument_id(symbol),
            before_order_id=before,
            limit=limit,
        )
        return OrdersPage([self._order_view(order) for order in page.items], next_of(page))

    async def order(self, principal: Principal, order_id: str) -> OrderView:
        return self._order_view(await self.order_state(principal, order_id))

    async def order_state(self, principal: Principal, order_id: str) -> OrderState:
        """An own order by its id as a client sends it. Raises `ApiError`."""
        principal.require(Permission.READ)
        number = order_id_of(order_id)
        if number is None:
            raise unknown_order(order_id)
        return await self.own_order(principal, number)

    async def own_order(self, principal: Principal, order_id: int) -> OrderState:
        """Also for those who may trade and not read: it is the answer to an order that was sent again."""
        order = self._gateway.live_orders.live.get(order_id)
        if order is None:
            await self.barrier()
            order = await self._trading.order(order_id)
        if order is None or order.account_id != principal.account_id:
            raise unknown_order(str(order_id))
        return order

    async def order_by_client_id(self, principal: Principal, client_order_id: str) -> OrderView:
        principal.require(Permission.READ)
        name = checked_client_order_id(client_order_id)
        await self.barrier()
        order = await self._trading.order_by_client_id(principal.account_id, name) if name else None
        if order is None:
            raise unknown_order(client_order_id, "client_order_id")
        return self._order_view(order)

    async def fills(
        self, principal: Principal, symbol: str | None, order_id: str | None, before: int | None, limit: int
    ) -> FillsPage:
        principal.require(Permission.READ)
        number = None
        if order_id is not None:
            number = order_id_of(order_id)
            if number is None:
                raise unknown_order(order_id)
        await self.barrier()
        page = await self._trading.fills(
            principal.account_id,
            instrument_id=self._instrument_id(symbol),
            order_id=number,
            before=before,
            limit=limit,
        )
        views = []
        for fill in page.items:
            instrument = self._market_data.instrument(fill.instrument_id)
            views.append(fill_view(fill, instrument, self._decimals_of(instrument.currency)))
        return FillsPage(views, next_of(page))

    async def reports(self, account_id: int | None, after: int, up_to: int) -> Sequence[OrderReport]:
        """The next page of an account's reports of a shard, or with None of all accounts', with after < event sequence <= up_to, which
        has to have been handled."""
        if after >= up_to:
            return ()
        await self.barrier()
        page = await self._trading.order_reports(account_id, after=after, limit=REPLAY_PAGE)
        return [report for report in page.items if report.event_sequence <= up_to]

    def _order_view(self, order: OrderState) -> OrderView:
        return order_view(order, self._market_data.instrument(order.instrument_id))

    def _instrument_id(self, symbol: str | None) -> int | None:
        if symbol is None:
            return None
        market = self._market_data.market(symbol)
        if market is None:
            raise unlisted_symbol(symbol)
        return market.instrument.instrument_id

    # The account

    async def portfolio(self, principal: Principal, name: str) -> PortfolioView:
        """Cash, and what the positions are worth at the last trade, or the reference price where there was none.

        The totals are of the currency that the venue's instruments trade in; with several currencies, of the first one.
        """
        principal.require(Permission.READ)
        await self.barrier()
        states = await self._trading.account_states(principal.account_id)
        state = in_sum(states)
        currency = self._currency
        decimals = self._decimals_of(currency)
        held = [
            (position, self._market_data.markets[position.instrument_id])
            for position in state.positions
            if self._market_data.instrument(position.instrument_id).currency == currency
        ]
        market_value = sum(market_value_of(position, market) or 0 for position, market in held)
        unrealized = sum(unrealized_pnl_of(position, market) or 0 for position, market in held)
        realized = sum(position.realized_pnl for position, _ in held)
        balance = sum(cash.balance for cash in state.cash if cash.currency == currency)
        return PortfolioView(
            portfolio_id=str(principal.account_id),
            name=name,
            cash=self._cash_views(state.cash),
            equity=minor_to_amount(balance + market_value, decimals),
            market_value=minor_to_amount(market_value, decimals),
            realized_pnl=minor_to_amount(realized, decimals),
            unrealized_pnl=minor_to_amount(unrealized, decimals),
            currency=currency,
            event_sequence=str(state.event_sequence),
            shards=[
                ShardCashView(shard, str(of_shard.event_sequence), self._cash_views(of_shard.cash))
                for shard, of_shard in enumerate(states)
            ]
            if len(states) > 1
            else msgspec.UNSET,
        )

    def _cash_views(self, balances: Sequence[CashBalance]) -> list[CashView]:
        return [
            CashView(
                cash.currency,
                *(
                    minor_to_amount(amount, self._decimals_of(cash.currency))
                    for amount in (cash.balance, cash.held, cash.available)
                ),
            )
            for cash in balances
        ]

    async def positions(self, principal: Principal) -> PositionsView:
        principal.require(Permission.READ)
        await self.barrier()
        state = await self._trading.account_state(principal.account_id)
        return PositionsView([self._position_view(position) for position in state.positions])

    def _position_view(self, position: Position) -> PositionView:
        market = self._market_data.markets[position.instrument_id]
        instrument = market.instrument
        decimals = self._decimals_of(instrument.currency)
        price, value = market.price_ticks, market_value_of(position, market)
        unrealized = unrealized_pnl_of(position, market)
        return PositionView(
            symbol=instrument.symbol,
            quantity=lots_to_quantity(position.quantity_lots, instrument),
            held=lots_to_quantity(position.held_lots, instrument),
            available=lots_to_quantity(position.available_lots, instrument),
            average_price=average_cost(position, market),
            market_price=None if price is None else ticks_to_price(price, instrument),
            market_value=None if value is None else minor_to_amount(value, decimals),
            unrealized_pnl=None if unrealized is None else minor_to_amount(unrealized, decimals),
            realized_pnl=minor_to_amount(position.realized_pnl, decimals),
        )

    # Market data

    async def trades(self, market: Market, before: int | None, limit: int) -> TradesPage:
        await self.barrier()
        instrument = market.instrument
        page = await self._trading.trades(instrument.instrument_id, before_trade_id=before, limit=limit)
        views = [
            TradeView(
                str(trade.trade_id),
                str(trade.market_sequence),
                ticks_to_price(trade.price_ticks, instrument),
                lots_to_quantity(trade.quantity_lots, instrument),
                SIDE_NAMES[trade.aggressor_side],
                rfc3339(trade.time_ns),
            )
            for trade in page.items
        ]
        return TradesPage(views, next_of(page))

    async def candles(
        self, market: Market, interval: str, start_s: int | None, end_s: int | None, limit: int
    ) -> CandlesView:
        await self.barrier()
        candles = await self._trading.candles(
            market.instrument.instrument_id,
            INTERVALS_NS[interval],
            start_ns=None if start_s is None else start_s * SECOND_NS,
            end_ns=None if end_s is None else end_s * SECOND_NS,
            limit=limit,
        )
        return CandlesView(market.instrument.symbol, interval, [candle_view(candle, market) for candle in candles])


def candle_view(candle: Candle, market: Market) -> tuple[int, str, str, str, str, str]:
    instrument = market.instrument
    return (
        candle.open_ns // SECOND_NS,
        ticks_to_price(candle.open_ticks, instrument),
        ticks_to_price(candle.high_ticks, instrument),
        ticks_to_price(candle.low_ticks, instrument),
        ticks_to_price(candle.close_ticks, instrument),
        lots_to_quantity(candle.volume_lots, instrument),
    )


def market_value_of(position: Position, market: Market) -> int | None:
    """Minor units; None where the market has no price."""
    if market.price_ticks is None:
        return None
    return market.price_ticks * position.quantity_lots * market.instrument.tick_value


def unrealized_pnl_of(position: Position, market: Market) -> int | None:
    return None if market.price_ticks is None else position.unrealized_pnl(market.instrument, market.price_ticks)


def average_cost(position: Position, market: Market) -> str | None:
    """What a unit cost on average, as a price; None without a position."""
    if position.quantity_lots == 0:
        return None
    tick_value = market.instrument.tick_value
    return average_price(position.cost, position.quantity_lots * tick_value, market.instrument.tick_size)


def next_of(page: Page[Any]) -> str | None:
    return None if page.next is None else str(page.next)
