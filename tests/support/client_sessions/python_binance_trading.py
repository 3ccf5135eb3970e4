"""python-binance: trading over REST; then the market, the own account and orders over its WebSockets."""

import asyncio
import json
import os
import sys
from typing import Any

from binance import AsyncClient, BinanceSocketManager, Client

SYMBOL = "AAPLUSD"
SECONDS = 30


def point_here(address: str) -> None:
    """The addresses are attributes of its classes."""
    sockets = address.replace("http", "ws")
    for kind in (Client, AsyncClient):
        kind.API_URL = f"{address}/api"
        kind.WS_API_URL = f"{sockets}/ws-api/v3"
    BinanceSocketManager.STREAM_URL = f"{sockets}/"


def key(name: str) -> tuple[str, str]:
    return os.environ[f"KEY_{name}"], os.environ[f"SECRET_{name}"]


def over_rest() -> dict[str, Any]:
    ann, bob = Client(*key("ann")), Client(*key("bob"))
    resting = bob.order_limit_sell(symbol=SYMBOL, quantity="5", price="231.00")
    bought = ann.order_market_buy(symbol=SYMBOL, quoteOrderQty="500.00")
    canceled = bob.cancel_order(symbol=SYMBOL, orderId=resting["orderId"])
    exits = {"aboveType": "LIMIT_MAKER", "abovePrice": "240.00", "belowType": "STOP_LOSS", "belowStopPrice": "220.00"}
    oco = ann.create_oco_order(symbol=SYMBOL, side="SELL", quantity="1", **exits)
    opened = [row["listClientOrderId"] for row in ann.get_open_oco_orders()]
    ended = ann.cancel_order(symbol=SYMBOL, orderId=oco["orders"][1]["orderId"])
    return {
        "oco": [opened == [oco["listClientOrderId"]], ended["listOrderStatus"], len(ann.get_open_oco_orders())],
        "bought": [bought["status"], bought["executedQty"], bought["fills"][0]["price"]],
        "canceled": [canceled["status"], canceled["executedQty"]],
        "trade": ann.get_my_trades(symbol=SYMBOL)[-1]["qty"],
        "kline": ann.get_klines(symbol=SYMBOL, interval="1m")[-1][4],
        "aggregate": ann.get_aggregate_trades(symbol=SYMBOL)[-1]["q"],
        "average": float(ann.get_avg_price(symbol=SYMBOL)["price"]) > 200,
    }


async def wait_until_followed(own: Any, ann: Any) -> None:
    """An order that rests is told once the subscription is there."""
    while True:
        order = await ann.order_limit_buy(symbol=SYMBOL, quantity="1", price="200.00")
        await ann.cancel_order(symbol=SYMBOL, orderId=order["orderId"])
        try:
            await asyncio.wait_for(own.recv(), 0.5)
        except TimeoutError:
            continue
        return


async def over_sockets() -> dict[str, Any]:
    ann, bob = await AsyncClient.create(*key("ann")), await AsyncClient.create(*key("bob"))
    sockets = BinanceSocketManager(ann)
    pair = SYMBOL.lower()
    async with (
        sockets.trade_socket(SYMBOL) as trades,
        sockets.multiplex_socket([f"{pair}@depth", f"{pair}@kline_1m"]) as many,
        sockets.user_socket() as own,
    ):
        await wait_until_followed(own, ann)
        await bob.order_limit_sell(symbol=SYMBOL, quantity="3", price="232.00")
        placed = await ann.ws_create_order(
            symbol=SYMBOL, side="BUY", type="LIMIT", timeInForce="GTC", quantity="3", price="232.00"
        )
        trade = await trades.recv()
        while trade["q"] != "3":
            trade = await trades.recv()
        reports: list[list[str]] = []
        while reports[-1:] != [["TRADE", "FILLED"]]:
            message = await own.recv()
            if message["e"] == "executionReport" and message["i"] == placed["orderId"]:
                reports.append([message["x"], message["X"]])
        kinds: set[str] = set()
        while kinds != {"depthUpdate", "kline"}:
            kinds.add((await many.recv())["data"]["e"])
    return {"placed": [placed["status"], placed["executedQty"]], "trade": [trade["p"], trade["m"]], "reports": reports}


async def main() -> None:
    point_here(os.environ["ADDRESS"])
    seen = {"rest": await asyncio.to_thread(over_rest)}
    async with asyncio.timeout(SECONDS):
        seen["sockets"] = await over_sockets()
    sys.stdout.write(json.dumps(seen))
    sys.stdout.flush()
    os._exit(0)  # its WebSocket API waits for half a minute before it closes


if __name__ == "__main__":
    asyncio.run(main())
