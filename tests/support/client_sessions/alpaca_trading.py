"""alpaca-py: assets and market data, a day's trading, its streams, and a connection that is lost on the way."""

import asyncio
import json
import os
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from alpaca.common.exceptions import APIError
from alpaca.data.historical import StockHistoricalDataClient
from alpaca.data.live import StockDataStream
from alpaca.data.requests import (
    StockBarsRequest,
    StockLatestQuoteRequest,
    StockSnapshotRequest,
    StockTradesRequest,
)
from alpaca.data.timeframe import TimeFrame
from alpaca.trading.client import TradingClient
from alpaca.trading.enums import OrderClass, OrderSide, QueryOrderStatus, TimeInForce
from alpaca.trading.requests import (
    ClosePositionRequest,
    GetCalendarRequest,
    GetOrdersRequest,
    GetPortfolioHistoryRequest,
    LimitOrderRequest,
    MarketOrderRequest,
    ReplaceOrderRequest,
    StopLossRequest,
    TakeProfitRequest,
    TrailingStopOrderRequest,
)
from alpaca.trading.stream import TradingStream

SYMBOL = "AAPL"
SECONDS = 40
ADDRESS = os.environ["ADDRESS"]
STREAMS = os.environ["STREAMS"]
"""Over a line that the runner of this session can break."""
BUY, SELL, DAY, GTC = OrderSide.BUY, OrderSide.SELL, TimeInForce.DAY, TimeInForce.GTC


def key(name: str) -> tuple[str, str]:
    return os.environ[f"KEY_{name}"], os.environ[f"SECRET_{name}"]


def client(name: str) -> TradingClient:
    return TradingClient(*key(name), url_override=ADDRESS)


def limit(side: OrderSide, qty: float, price: float, **other: Any) -> LimitOrderRequest:
    return LimitOrderRequest(symbol=SYMBOL, side=side, time_in_force=DAY, qty=qty, limit_price=price, **other)


def trading(ann: TradingClient, bob: TradingClient) -> dict[str, Any]:
    resting = bob.submit_order(limit(SELL, 10, 230.5))
    taken = ann.submit_order(limit(BUY, 4, 231))
    half = bob.get_order_by_id(resting.id)
    edited = bob.replace_order_by_id(resting.id, ReplaceOrderRequest(qty=8, limit_price=230.75))
    former = bob.get_order_by_id(resting.id)
    by_money = ann.submit_order(MarketOrderRequest(symbol=SYMBOL, side=BUY, time_in_force=DAY, notional=500))
    trailing = ann.submit_order(
        TrailingStopOrderRequest(symbol=SYMBOL, side=SELL, time_in_force=GTC, qty=1, trail_percent=2)
    )
    ann.cancel_order_by_id(trailing.id)
    canceled = bob.cancel_orders()
    closed = ann.get_orders(GetOrdersRequest(status=QueryOrderStatus.CLOSED, symbols=[SYMBOL], limit=3))
    return {
        "taken": [taken.status, taken.filled_qty, taken.filled_avg_price],
        "half": [half.status, half.filled_qty],
        "edited": [edited.qty, edited.limit_price, edited.replaces == resting.id],
        "former": [former.status, former.qty, former.replaced_by == edited.id],
        "by money": [by_money.status, by_money.qty, by_money.filled_avg_price],
        "trailing": [trailing.status, trailing.trail_price, trailing.hwm],
        "canceled": [[row.id == edited.id, row.status] for row in canceled],
        "closed": [order.status for order in closed],
    }


def groups(ann: TradingClient, bob: TradingClient) -> dict[str, Any]:
    exits = {"take_profit": TakeProfitRequest(limit_price=240), "stop_loss": StopLossRequest(stop_price=220)}
    bracket = ann.submit_order(limit(BUY, 2, 229, order_class=OrderClass.BRACKET, **exits))
    bob.submit_order(limit(SELL, 2, 229))
    entered = ann.get_orders(GetOrdersRequest(status=QueryOrderStatus.ALL, nested=True, limit=1))[0]
    ann.cancel_orders()
    oco = ann.submit_order(
        LimitOrderRequest(symbol=SYMBOL, side=SELL, time_in_force=GTC, qty=2, order_class=OrderClass.OCO, **exits)
    )
    ann.cancel_order_by_id(oco.legs[0].id)
    return {
        "bracket": [bracket.order_class, [leg.status for leg in bracket.legs]],
        "entered": [entered.id == bracket.id, entered.status, [leg.status for leg in entered.legs]],
        "oco": [oco.order_class, oco.limit_price, ann.get_order_by_id(oco.id).status],
    }


def refusal(attempt: Callable[[], object]) -> list[int]:
    try:
        attempt()
    except APIError as error:
        return [error.status_code, error.code]
    return []


def refusals(ann: TradingClient) -> dict[str, list[int]]:
    return {
        "too much": refusal(lambda: ann.submit_order(limit(BUY, 90_000, 231))),
        "fraction": refusal(lambda: ann.submit_order(limit(BUY, 0.5, 231))),
        "unknown": refusal(lambda: ann.get_order_by_id("10000000-0000-8000-8000-0000000fffff")),
        "no position": refusal(lambda: ann.get_open_position("NOPE")),
        "forged": refusal(lambda: TradingClient(key("ann")[0], "wrong", url_override=ADDRESS).get_account()),
    }


def account(ann: TradingClient, bob: TradingClient) -> dict[str, Any]:
    bob.submit_order(limit(BUY, 1100, 230))
    part = ann.close_position(SYMBOL, ClosePositionRequest(qty="13"))
    half = ann.close_position(SYMBOL, ClosePositionRequest(percentage="50"))
    left = ann.get_open_position(SYMBOL)
    everything = {row.symbol: row.status for row in ann.close_all_positions(cancel_orders=True)}
    settings = ann.get_account_configurations()
    history = ann.get_portfolio_history(GetPortfolioHistoryRequest(period="1D", timeframe="5Min"))
    today = datetime.now(UTC).date()
    return {
        "closed": [part.side, part.filled_qty, half.filled_qty == left.qty],
        "everything": everything,
        "positions": [position.symbol for position in ann.get_all_positions()],
        "equity": equity_of_parts(ann),
        "settings": [settings.no_shorting, ann.set_account_configurations(settings) == settings],
        "history": [history.timeframe, history.equity[-1] == float(ann.get_account().equity)],
        "assets": [asset.symbol for asset in ann.get_all_assets()],
        "asset": ann.get_asset(SYMBOL).symbol,
        "open": ann.get_clock().is_open,
        "calendar": len(ann.get_calendar(GetCalendarRequest(start=today, end=today + timedelta(days=6)))),
    }


def equity_of_parts(ann: TradingClient) -> bool:
    """Whether it is what the cash and the positions come to."""
    worth = ann.get_account()
    values = [Decimal(position.market_value) for position in ann.get_all_positions()]
    return Decimal(worth.equity) == Decimal(worth.cash) + sum(values)


def market_data() -> dict[str, Any]:
    data = StockHistoricalDataClient(*key("ann"), url_override=ADDRESS)
    start = datetime.now(UTC) - timedelta(days=1)
    trades = data.get_stock_trades(StockTradesRequest(symbol_or_symbols=[SYMBOL], start=start))[SYMBOL]
    bars = data.get_stock_bars(StockBarsRequest(symbol_or_symbols=SYMBOL, timeframe=TimeFrame.Minute, start=start))
    quote = data.get_stock_latest_quote(StockLatestQuoteRequest(symbol_or_symbols=SYMBOL))[SYMBOL]
    snapshot = data.get_stock_snapshot(StockSnapshotRequest(symbol_or_symbols=SYMBOL))[SYMBOL]
    return {
        "trades and bars": sum(trade.size for trade in trades) == sum(bar.volume for bar in bars[SYMBOL]) > 0,
        "last": snapshot.latest_trade == trades[-1],
        "quote": snapshot.latest_quote.bid_price == quote.bid_price,
        "bar": snapshot.minute_bar == bars[SYMBOL][-1],
    }


class Heard:
    """What a stream told, and waiting for it."""

    def __init__(self) -> None:
        self.messages: list[Any] = []

    async def take(self, message: Any) -> None:
        self.messages.append(message)

    async def until(self, is_wanted: Callable[[Any], bool]) -> Any:
        while True:
            for message in self.messages:
                if is_wanted(message):
                    return message
            await asyncio.sleep(0.01)


async def streams(ann: TradingClient, bob: TradingClient) -> dict[str, Any]:
    updates, trades, quotes = Heard(), Heard(), Heard()
    own = TradingStream(*key("ann"), url_override=f"{STREAMS}/stream?replay_s=60")
    market = StockDataStream(*key("ann"), url_override=f"{STREAMS}/v2/iex")
    own.subscribe_trade_updates(updates.take)
    market.subscribe_trades(trades.take, SYMBOL)
    market.subscribe_quotes(quotes.take, SYMBOL)
    running = [asyncio.create_task(stream._run_forever()) for stream in (own, market)]
    async with asyncio.timeout(SECONDS):
        await until_told(ann, quotes)
        await asyncio.to_thread(bob.submit_order, limit(SELL, 3, 232))
        placed = await asyncio.to_thread(ann.submit_order, limit(BUY, 5, 232))
        fill = await updates.until(lambda u: u.order.id == placed.id and u.event == "partial_fill")
        trade = await trades.until(lambda t: t.price == 232)
        await asyncio.to_thread(have_done, "lose")
        await asyncio.to_thread(bob.submit_order, limit(SELL, 2, 232))  # nobody hears of it
        await asyncio.to_thread(have_done, "break")
        missed = await updates.until(lambda u: u.order.id == placed.id and u.event == "fill")
        await until_told(ann, quotes)
    for stream in (own, market):
        await stream.stop_ws()
    await asyncio.wait(running, timeout=10)
    told = {u.execution_id: u for u in updates.messages if u.order.id == placed.id}
    return {
        "events": sorted(u.event for u in told.values()),
        "fill": [fill.qty, fill.price, missed.order.filled_qty],
        "trade": [trade.symbol, trade.size],
    }


async def until_told(ann: TradingClient, quotes: Heard) -> None:
    """The market's stream is there once a quote comes that was made for it."""
    before = len(quotes.messages)
    while len(quotes.messages) == before:
        order = await asyncio.to_thread(ann.submit_order, limit(BUY, 1, 200))
        await asyncio.to_thread(ann.cancel_order_by_id, order.id)
        await asyncio.sleep(0.1)


def have_done(word: str) -> None:
    """By the runner of this session."""
    sys.stdout.write(word + "\n")
    sys.stdout.flush()
    sys.stdin.readline()


def main() -> None:
    ann, bob = client("ann"), client("bob")
    seen = {
        "trading": trading(ann, bob),
        "groups": groups(ann, bob),
        "refusals": refusals(ann),
        "market data": market_data(),
        "streams": asyncio.run(streams(ann, bob)),
        "account": account(ann, bob),
    }
    sys.stdout.write(json.dumps(seen))


if __name__ == "__main__":
    main()
