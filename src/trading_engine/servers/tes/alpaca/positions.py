"""`/v2/positions`: what an account has, and closing it."""

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

from trading_engine.database.transactional.activity import Traded
from trading_engine.database.transactional.records import Position
from trading_engine.database.transactional.venue_activity import VenueActivity
from trading_engine.database.transactional.venue_trading import VenueTrading
from trading_engine.servers.tes.alpaca.assets import Assets
from trading_engine.servers.tes.alpaca.errors import AlpacaError, invalid, not_found, translated, unprocessable
from trading_engine.servers.tes.alpaca.orders import Orders
from trading_engine.servers.tes.alpaca.requests import Parameters, flag, new_name, percentage
from trading_engine.servers.tes.alpaca.views import ASSET_CLASS, EXCHANGE, asset_id
from trading_engine.servers.tes.errors import ApiError
from trading_engine.servers.tes.models.requests import PlaceRequest
from trading_engine.servers.tes.services.credentials import Principal
from trading_engine.servers.tes.services.market_data import Market, MarketData
from trading_engine.servers.tes.services.order_entry import require_portfolio
from trading_engine.servers.tes.services.order_terms import positive_lots
from trading_engine.servers.tes.services.readings import Readings, average_cost, market_value_of, unrealized_pnl_of
from trading_engine.venue.conversion import lots_to_quantity, minor_to_amount, ticks_to_price

DAY_NS = 86_400 * 10**9
RATIO_PLACES = 6
NOTHING_TRADED = Traded(0, 0)
PERCENT = 100


class Positions:
    def __init__(
        self,
        assets: Assets,
        orders: Orders,
        market_data: MarketData,
        readings: Readings,
        trading: VenueTrading,
        activity: VenueActivity,
        decimals_of: Callable[[str], int],
        now_ns: Callable[[], int],
    ) -> None:
        self._assets = assets
        self._orders = orders
        self._market_data = market_data
        self._readings = readings
        self._trading = trading
        self._activity = activity
        self._decimals_of = decimals_of
        self._now_ns = now_ns

    # Reading

    async def positions(self, principal: Principal) -> list[dict[str, Any]]:
        return await self._views(principal, await self._held(principal))

    async def position(self, principal: Principal, name: str) -> dict[str, Any]:
        (view,) = await self._views(principal, [await self._one(principal, name)])
        return view

    async def _held(self, principal: Principal) -> list[Position]:
        await self._readings.barrier()
        state = await self._trading.account_state(principal.account_id)
        return [position for position in state.positions if position.quantity_lots]

    async def _one(self, principal: Principal, name: str) -> Position:
        market = self._assets.market(name)
        for position in await self._held(principal):
            if position.instrument_id == market.instrument.instrument_id:
                return position
        raise not_found("position does not exist")

    async def _views(self, principal: Principal, positions: Sequence[Position]) -> list[dict[str, Any]]:
        midnight_ns = self._now_ns() // DAY_NS * DAY_NS
        before = await self._trading.last_reports_before(principal.account_id, midnight_ns)
        traded = await self._activity.traded(principal.account_id, after=before)
        return [
            await self._view(position, traded.get(position.instrument_id, NOTHING_TRADED), midnight_ns)
            for position in positions
        ]

    async def _view(self, position: Position, today: Traded, midnight_ns: int) -> dict[str, Any]:
        market = self._market_data.markets[position.instrument_id]
        decimals = self._decimals_of(market.instrument.currency)
        last_close = await self._last_close(market, midnight_ns)
        return position_view(position, market, decimals, last_close) | day_fields(
            position, market, decimals, last_close, today
        )

    async def _last_close(self, market: Market, midnight_ns: int) -> int | None:
        """In ticks: the last price of the days before this one (UTC), before the first trade the reference price."""
        candles = await self._trading.candles(market.instrument.instrument_id, DAY_NS, end_ns=midnight_ns, limit=1)
        return candles[-1].close_ticks if candles else market.instrument.reference_price_ticks or None

    # Closing

    async def close(self, principal: Principal, name: str, parameters: Parameters) -> dict[str, Any]:
        require_portfolio(principal)
        position = await self._one(principal, name)
        market = self._market_data.markets[position.instrument_id]
        return await self._close(principal, market, position.quantity_lots, self._lots(position, market, parameters))

    def _lots(self, position: Position, market: Market, parameters: Parameters) -> int:
        """How much of it to close: all, a quantity, or a percentage in whole lots, rounded down."""
        lots = abs(position.quantity_lots)
        quantity, percent = parameters.get("qty"), parameters.get("percentage")
        if quantity and percent:
            raise invalid("only one of qty and percentage may be given")
        if quantity:
            return positive_lots(quantity, market.instrument)
        if not percent:
            return lots
        wanted = int(lots * percentage(percent) / PERCENT)
        if wanted == 0:
            raise unprocessable(f"{percent} percent of {lots_to_quantity(lots, market.instrument)} is no whole lot")
        return wanted

    async def _close(self, principal: Principal, market: Market, held_lots: int, lots: int) -> dict[str, Any]:
        if lots > abs(held_lots):
            raise unprocessable("qty is more than the position has")
        request = PlaceRequest(
            symbol=market.instrument.symbol,
            side="sell" if held_lots > 0 else "buy",
            type="market",
            quantity=lots_to_quantity(lots, market.instrument),
            time_in_force="day",
            client_order_id=new_name(),
        )
        return await self._orders.place_simple(principal, request)

    async def close_all(self, principal: Principal, parameters: Parameters) -> list[dict[str, Any]]:
        require_portfolio(principal)
        if flag(parameters, "cancel_orders"):
            await self._orders.cancel_all(principal)
        return [await self._closed(principal, position) for position in await self._held(principal)]

    async def _closed(self, principal: Principal, position: Position) -> dict[str, Any]:
        """What became of closing one of several."""
        market = self._market_data.markets[position.instrument_id]
        symbol, lots = market.instrument.symbol, position.quantity_lots
        try:
            order = await self._close(principal, market, lots, abs(lots))
        except (AlpacaError, ApiError) as failure:
            error = failure if isinstance(failure, AlpacaError) else translated(failure)
            return {"symbol": symbol, "status": error.status, "body": {**error.body, "symbol": symbol}}
        return {"symbol": symbol, "status": 200, "order_id": order["id"], "body": order}


def position_view(position: Position, market: Market, decimals: int, last_close: int | None) -> dict[str, Any]:
    """What there is no price for is null."""
    instrument, price = market.instrument, market.price_ticks
    value, unrealized = market_value_of(position, market), unrealized_pnl_of(position, market)
    change = None if price is None or last_close is None else ratio(price - last_close, last_close)
    return {
        "asset_id": asset_id(instrument),
        "symbol": instrument.symbol,
        "exchange": EXCHANGE,
        "asset_class": ASSET_CLASS,
        "asset_marginable": instrument.initial_margin_ppm != 0,
        "qty": lots_to_quantity(position.quantity_lots, instrument),
        "qty_available": lots_to_quantity(position.available_lots, instrument),
        "side": "long" if position.quantity_lots > 0 else "short",
        "avg_entry_price": average_cost(position, market),
        "cost_basis": minor_to_amount(position.cost, decimals),
        "market_value": None if value is None else minor_to_amount(value, decimals),
        "unrealized_pl": None if unrealized is None else minor_to_amount(unrealized, decimals),
        "unrealized_plpc": None if unrealized is None else ratio(unrealized, abs(position.cost)),
        "current_price": None if price is None else ticks_to_price(price, instrument),
        "lastday_price": None if last_close is None else ticks_to_price(last_close, instrument),
        "change_today": change,
    }


def day_fields(
    position: Position, market: Market, decimals: int, last_close: int | None, today: Traded
) -> dict[str, str | None]:
    """What the position is worth now, less what it was at the last close, less what was paid for it since; without fees."""
    if market.price_ticks is None or last_close is None:
        return {"unrealized_intraday_pl": None, "unrealized_intraday_plpc": None}
    at_first = last_close * (position.quantity_lots - today.lots)
    profit = market.price_ticks * position.quantity_lots - at_first - today.value
    return {
        "unrealized_intraday_pl": minor_to_amount(profit * market.instrument.tick_value, decimals),
        "unrealized_intraday_plpc": ratio(profit, abs(at_first) + max(0, today.value)),
    }


def ratio(part: int, whole: int) -> str | None:
    return f"{Decimal(part) / whole:.{RATIO_PLACES}f}" if whole else None
