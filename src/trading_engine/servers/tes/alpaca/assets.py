"""Instruments as assets, and when they trade."""

from collections.abc import Callable, Iterable
from typing import Any

from trading_engine.servers.schedule import TradingSession
from trading_engine.servers.tes.alpaca.errors import not_found, unknown_asset
from trading_engine.servers.tes.alpaca.ids import Kind, numbers_of
from trading_engine.servers.tes.alpaca.requests import Parameters, moment
from trading_engine.servers.tes.alpaca.views import ASSET_CLASS, EXCHANGE, asset_id
from trading_engine.servers.tes.models.views import rfc3339
from trading_engine.servers.tes.services.market_data import Market, MarketData
from trading_engine.servers.tes.services.sessions import TradingSessions
from trading_engine.venue.conversion import lots_to_quantity
from trading_engine.venue.instrument import Instrument
from trading_engine.venue.order_state import OrderState
from trading_engine.venue.terms import PHASE_RULES

MIDNIGHT, END_OF_DAY = "00:00", "23:59"
"""Calendars there know no 24:00: so a session is shown that lasts until midnight."""


class Assets:
    def __init__(self, market_data: MarketData, sessions: TradingSessions, now_ns: Callable[[], int]) -> None:
        self._market_data = market_data
        self._sessions = sessions
        self._now_ns = now_ns

    # Look-ups

    def find(self, name: str) -> Market | None:
        """By symbol or by id."""
        market = self._market_data.market(name)
        if market is None and (numbers := numbers_of(Kind.ASSET, name)) is not None:
            market = self._market_data.markets.get(numbers.number)
        return market

    def market(self, name: str) -> Market:
        """Raises `AlpacaError`."""
        market = self.find(name)
        if market is None:
            raise unknown_asset(name)
        return market

    def instrument(self, order: OrderState) -> Instrument:
        return self._market_data.instrument(order.instrument_id)

    # Answers

    def asset(self, name: str) -> dict[str, Any]:
        market = self.find(name)
        if market is None:
            raise not_found(f"asset not found for {name[:100]}")
        return asset_view(market.instrument)

    def assets(self, parameters: Parameters) -> list[dict[str, Any]]:
        views = [asset_view(market.instrument) for market in self._market_data.markets.values()]
        wanted = {"status": "status", "asset_class": "class", "exchange": "exchange"}
        given = {field: parameters[name] for name, field in wanted.items() if parameters.get(name)}
        return [view for view in views if all(view[field] == value for field, value in given.items())]

    def of_instruments(self, instrument_ids: Iterable[int]) -> list[dict[str, Any]]:
        """Those that there are."""
        markets = self._market_data.markets
        return [asset_view(markets[number].instrument) for number in instrument_ids if number in markets]

    async def clock(self) -> dict[str, Any]:
        """Open is a market in which orders match."""
        now_ns = self._now_ns()
        sessions = await self._sessions.all()
        opens = next((session.opens_ns for session in sessions if session.opens_ns > now_ns), 0)
        closes = next((session.closes_ns for session in sessions if session.closes_ns > now_ns), 0)
        return {
            "timestamp": rfc3339(now_ns),
            "is_open": any(PHASE_RULES[market.phase].match for market in self._market_data.markets.values()),
            "next_open": rfc3339(opens),
            "next_close": rfc3339(closes),
        }

    async def calendar(self, parameters: Parameters) -> list[dict[str, Any]]:
        """As far back and ahead as the venue's calendar is kept."""
        start_ns, end_ns = moment(parameters, "start"), moment(parameters, "end")
        first_day = None if start_ns is None else rfc3339(start_ns)[:10]
        last_day = None if end_ns is None else rfc3339(end_ns)[:10]
        views = [calendar_view(session) for session in await self._sessions.all()]
        return [
            view
            for view in views
            if (first_day is None or view["date"] >= first_day) and (last_day is None or view["date"] <= last_day)
        ]


def asset_view(instrument: Instrument) -> dict[str, Any]:
    return {
        "id": asset_id(instrument),
        "class": ASSET_CLASS,
        "exchange": EXCHANGE,
        "symbol": instrument.symbol,
        "name": instrument.name,
        "status": "inactive" if instrument.suspended else "active",
        "tradable": not instrument.suspended,
        "marginable": instrument.initial_margin_ppm != 0,
        "shortable": instrument.shortable,
        "easy_to_borrow": instrument.shortable,
        "fractionable": "." in instrument.lot_size,
        "min_order_size": lots_to_quantity(instrument.quantity_lots_min, instrument),
        "min_trade_increment": instrument.lot_size,
        "price_increment": instrument.tick_size,
        "attributes": [],
    }


def calendar_view(session: TradingSession) -> dict[str, Any]:
    day = session.day.isoformat()
    closes_at = END_OF_DAY if session.closes_at == MIDNIGHT else session.closes_at
    return {
        "date": day,
        "open": session.opens_at,
        "close": closes_at,
        "session_open": session.opens_at.replace(":", ""),
        "session_close": closes_at.replace(":", ""),
        "settlement_date": day,
    }
