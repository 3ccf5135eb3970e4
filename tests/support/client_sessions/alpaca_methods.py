"""Every public method of alpaca-py's clients for trading and for stocks, each called at least once, and what it came to."""

import functools
import inspect
import json
import os
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from threading import Thread
from typing import Any
from uuid import UUID

from alpaca.common.exceptions import APIError
from alpaca.data.historical import StockHistoricalDataClient
from alpaca.data.live import StockDataStream
from alpaca.data.requests import (
    StockBarsRequest,
    StockLatestBarRequest,
    StockLatestQuoteRequest,
    StockLatestTradeRequest,
    StockQuotesRequest,
    StockSnapshotRequest,
    StockTradesRequest,
)
from alpaca.data.timeframe import TimeFrame
from alpaca.trading.client import TradingClient
from alpaca.trading.enums import AssetClass, CorporateActionType, OrderSide, TimeInForce
from alpaca.trading.requests import (
    CreateWatchlistRequest,
    GetAssetsRequest,
    GetCorporateAnnouncementsRequest,
    GetOptionContractsRequest,
    LimitOrderRequest,
    ReplaceOrderRequest,
    UpdateWatchlistRequest,
)
from alpaca.trading.stream import TradingStream

SYMBOL, OTHER = "AAPL", "COIN"
CONTRACT = "AAPL240119C00100000"
SECONDS = 40
ADDRESS = os.environ["ADDRESS"]
STREAMS = ADDRESS.replace("http", "ws")
BUY, SELL, DAY = OrderSide.BUY, OrderSide.SELL, TimeInForce.DAY
PLUMBING = {"get", "post", "put", "patch", "delete", "response_wrapper"}
NOWHERE = UUID(int=7)
called: dict[str, set[str]] = {}


def watched(kind: type[Any]) -> type[Any]:
    """The same, which notes in `called` what of it is called, from outside or by itself."""
    names = called.setdefault(kind.__name__, set())

    def noted(name: str, method: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(method)
        def call(*arguments: Any, **named: Any) -> Any:
            names.add(name)
            return method(*arguments, **named)

        return call

    return type(kind.__name__, (kind,), {name: noted(name, method) for name, method in public_methods(kind)})


def public_methods(kind: type[Any]) -> list[tuple[str, Callable[..., Any]]]:
    return [(name, method) for name, method in inspect.getmembers(kind, inspect.isfunction) if not name.startswith("_")]


def key(name: str) -> tuple[str, str]:
    return os.environ[f"KEY_{name}"], os.environ[f"SECRET_{name}"]


def limit(side: OrderSide, qty: float, price: float, **other: Any) -> LimitOrderRequest:
    return LimitOrderRequest(symbol=SYMBOL, side=side, time_in_force=DAY, qty=qty, limit_price=price, **other)


def refusal(attempt: Callable[[], object]) -> list[int]:
    try:
        attempt()
    except APIError as error:
        return [error.status_code, error.code]
    return []


def eventually(ask: Callable[[], Any]) -> Any:
    until = time.monotonic() + SECONDS
    while not (found := ask()):
        assert time.monotonic() < until
        time.sleep(0.02)
    return found


def trading(ann: Any, bob: Any) -> dict[str, Any]:
    resting = bob.submit_order(limit(SELL, 5, 231))
    edited = bob.replace_order_by_id(resting.id, ReplaceOrderRequest(qty=6))
    bought = ann.submit_order(limit(BUY, 2, 231, client_order_id="by-name"))
    waiting = ann.submit_order(limit(BUY, 1, 200))
    ann.cancel_order_by_id(waiting.id)
    ann.submit_order(limit(BUY, 1, 201))
    bob.submit_order(limit(BUY, 3000, 230))
    part = ann.get_open_position(SYMBOL)
    closed = ann.close_position(part.asset_id)
    return {
        "edited": [edited.qty, bob.get_order_by_id(edited.id).status],
        "found": ann.get_order_by_client_id("by-name").id == bought.id,
        "listed": [order.qty for order in ann.get_orders()],
        "canceled": [row.status for row in ann.cancel_orders()],
        "closed": [closed.filled_qty == part.qty, [position.symbol for position in ann.get_all_positions()]],
        "nothing bids": [row.status for row in ann.close_all_positions()],
        "exercised": refusal(lambda: ann.exercise_options_position(CONTRACT)),
    }


def account(ann: Any) -> dict[str, Any]:
    shown, settings = ann.get_account(), ann.get_account_configurations()
    return {
        "account": [shown.status, shown.multiplier, shown.shorting_enabled, shown.initial_margin, shown.crypto_status],
        "settings": ann.set_account_configurations(settings) == settings,
        "history": ann.get_portfolio_history().timeframe,
        "assets": [asset.symbol for asset in ann.get_all_assets()],
        "crypto": ann.get_all_assets(GetAssetsRequest(asset_class=AssetClass.CRYPTO)),
        "asset": ann.get_asset(SYMBOL).tradable,
        "open": ann.get_clock().is_open,
        "calendar": len(ann.get_calendar()) > 300,
    }


def watchlists(ann: Any) -> dict[str, Any]:
    made = ann.create_watchlist(CreateWatchlistRequest(name="mine", symbols=[SYMBOL]))
    more = ann.add_asset_to_watchlist_by_id(made.id, OTHER)
    less = ann.remove_asset_from_watchlist_by_id(made.id, SYMBOL)
    named = ann.update_watchlist_by_id(made.id, UpdateWatchlistRequest(name="other"))
    listed = ann.get_watchlists()
    seen = {
        "more": [asset.symbol for asset in more.assets],
        "less": [asset.symbol for asset in less.assets],
        "named": [named.name, named == ann.get_watchlist_by_id(made.id)],
        "listed": [[each.name, each.account_id == ann.get_account().id] for each in listed],
    }
    ann.delete_watchlist_by_id(made.id)
    return {**seen, "left": ann.get_watchlists()}


def absent(ann: Any) -> dict[str, Any]:
    today = datetime.now(UTC).date()
    announced = GetCorporateAnnouncementsRequest(ca_types=[CorporateActionType.SPLIT], since=today, until=today)
    return {
        "contracts": ann.get_option_contracts(GetOptionContractsRequest()).option_contracts,
        "contract": refusal(lambda: ann.get_option_contract(CONTRACT)),
        "announcements": ann.get_corporate_announcements(announced),
        "announcement": refusal(lambda: ann.get_corporate_announcement_by_id(NOWHERE)),
    }


def market_data(data: Any) -> dict[str, Any]:
    start = datetime.now(UTC) - timedelta(days=1)
    this: dict[str, Any] = {"symbol_or_symbols": SYMBOL}
    quotes = eventually(lambda: data.get_stock_quotes(StockQuotesRequest(**this, start=start)).data.get(SYMBOL))
    trades = data.get_stock_trades(StockTradesRequest(**this, start=start))[SYMBOL]
    bars = data.get_stock_bars(StockBarsRequest(**this, start=start, timeframe=TimeFrame.Minute))[SYMBOL]
    snapshot = data.get_stock_snapshot(StockSnapshotRequest(**this))[SYMBOL]
    return {
        "quotes": all(quote.symbol == SYMBOL for quote in quotes),
        "last": [
            data.get_stock_latest_trade(StockLatestTradeRequest(**this))[SYMBOL] == trades[-1] == snapshot.latest_trade,
            data.get_stock_latest_bar(StockLatestBarRequest(**this))[SYMBOL] == bars[-1] == snapshot.minute_bar,
            data.get_stock_latest_quote(StockLatestQuoteRequest(**this))[SYMBOL] == snapshot.latest_quote,
        ],
    }


class Heard:
    """What streams told, and orders that bring them to tell something."""

    def __init__(self, ann: Any, bob: Any) -> None:
        self._ann, self._bob = ann, bob
        self._kinds: set[str] = set()

    async def take(self, message: Any) -> None:
        self._kinds.add(type(message).__name__)

    def trade(self) -> None:
        self._bob.submit_order(limit(SELL, 1, 232))
        self._ann.submit_order(limit(BUY, 1, 232))

    def wait_for(self, *kinds: str) -> None:
        self._kinds.clear()

        def has_all() -> bool:
            self.trade()
            return set(kinds) <= self._kinds

        eventually(has_all)


CHANNELS = ("trades", "quotes", "bars", "updated_bars", "daily_bars", "trading_statuses")


def streams(heard: Heard, market: Any, own: Any) -> dict[str, Any]:
    for channel in CHANNELS[:2]:
        getattr(market, f"subscribe_{channel}")(heard.take, SYMBOL)
    market.register_trade_corrections(heard.take)
    market.register_trade_cancels(heard.take)
    own.subscribe_trade_updates(heard.take)
    running = [Thread(target=stream.run, daemon=True) for stream in (market, own)]
    for thread in running:
        thread.start()
    heard.wait_for("Trade", "Quote", "TradeUpdate")
    for channel in CHANNELS[2:]:
        getattr(market, f"subscribe_{channel}")(heard.take, SYMBOL)
    heard.wait_for("Trade")
    for channel in CHANNELS:
        getattr(market, f"unsubscribe_{channel}")(SYMBOL)
    for stream in (market, own):
        stream.stop()
    heard.trade()  # Each notices with its next message.
    for thread in running:
        thread.join(SECONDS)
    return {"stopped": [not thread.is_alive() for thread in running]}


def main() -> None:
    kinds = (TradingClient, StockHistoricalDataClient, StockDataStream, TradingStream)
    trader, data, market, own = (watched(kind) for kind in kinds)
    ann, bob = (trader(*key(name), url_override=ADDRESS) for name in ("ann", "bob"))
    seen = {
        "trading": trading(ann, bob),
        "account": account(ann),
        "watchlists": watchlists(ann),
        "absent": absent(ann),
        "market data": market_data(data(*key("ann"), url_override=ADDRESS)),
        "streams": streams(
            Heard(ann, bob),
            market(*key("ann"), url_override=f"{STREAMS}/v2/iex"),
            own(*key("ann"), url_override=f"{STREAMS}/stream"),
        ),
    }
    names = {kind.__name__: {name for name, _ in public_methods(kind)} - PLUMBING for kind in kinds}
    seen["not called"] = {name: sorted(all_of_it - called[name]) for name, all_of_it in names.items()}
    sys.stdout.write(json.dumps(seen))


if __name__ == "__main__":
    main()
