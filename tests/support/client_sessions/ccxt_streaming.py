"""ccxt's WebSocket side (`ccxt.pro`): the market and the own account followed, and orders sent over the WebSocket API."""

import asyncio
import json
import os
import sys
from collections.abc import Awaitable
from typing import Any

import ccxt.pro as ccxt

SYMBOL = "AAPL/USD"
SECONDS = 60


def exchange(name: str) -> Any:
    address = os.environ["ADDRESS"]
    sockets = address.replace("http", "ws")
    api = f"{address}/api/v3"
    streams = {"spot": f"{sockets}/ws", "ws-api": {"spot": f"{sockets}/ws-api/v3"}}
    return ccxt.binance(
        {
            "apiKey": os.environ[f"KEY_{name}"],
            "secret": os.environ[f"SECRET_{name}"],
            "urls": {"api": {"public": api, "private": api, "sapi": f"{address}/sapi/v1", "ws": streams}},
            "options": {"fetchMarkets": {"types": ["spot"]}, "fetchMargins": False, "fetchCurrencies": False},
        }
    )


async def until(followed: Awaitable[Any], ann: Any, bob: Any) -> Any:
    """What comes next, while the two trade so that something does."""
    waiting = asyncio.ensure_future(followed)
    while not waiting.done():
        await bob.create_order_ws(SYMBOL, "limit", "sell", 2, 231.5)
        await ann.create_order_ws(SYMBOL, "limit", "buy", 2, 231.5)
        await asyncio.wait([waiting], timeout=0.2)
    return waiting.result()


async def main() -> None:
    ann, bob = exchange("ann"), exchange("bob")
    async with asyncio.timeout(SECONDS):
        await asyncio.gather(ann.load_markets(), bob.load_markets())
        resting = await bob.create_order_ws(SYMBOL, "limit", "sell", 1, 240)
        book = await until(ann.watch_order_book(SYMBOL), ann, bob)
        seen = {
            "status": (await ann.fetch_status())["status"],
            "fee": (await ann.fetch_trading_fee(SYMBOL))["taker"],
            "book": book["asks"][-1][:2],
            "ticker": (await until(ann.watch_ticker(SYMBOL), ann, bob))["last"],
            "best": (await until(ann.watch_bids_asks([SYMBOL]), ann, bob))[SYMBOL]["ask"] is not None,
            "trade": (await until(ann.watch_trades(SYMBOL), ann, bob))[-1]["price"],
            "candle": (await until(ann.watch_ohlcv(SYMBOL, "1m"), ann, bob))[-1][4],
            "order": (await until(ann.watch_orders(SYMBOL), ann, bob))[-1]["symbol"],
            "own trade": (await until(ann.watch_my_trades(SYMBOL), ann, bob))[-1]["side"],
            "balance": (await until(ann.watch_balance(), ann, bob))["USD"]["total"] > 0,
            "open": [order["id"] == resting["id"] for order in await bob.fetch_open_orders_ws(SYMBOL)],
            "canceled": (await bob.cancel_order_ws(resting["id"], SYMBOL))["status"],
        }
        await asyncio.gather(ann.close(), bob.close())
    sys.stdout.write(json.dumps(seen))


if __name__ == "__main__":
    asyncio.run(main())
