"""binance-connector, whose package has the name of python-binance's: trading, a listen key, and its two WebSocket clients."""

import json
import os
import queue
import sys

from binance.spot import Spot
from binance.websocket.spot.websocket_api import SpotWebsocketAPIClient
from binance.websocket.spot.websocket_stream import SpotWebsocketStreamClient

SYMBOL = "AAPLUSD"
SECONDS = 30


def client(name: str) -> Spot:
    return Spot(
        api_key=os.environ[f"KEY_{name}"], api_secret=os.environ[f"SECRET_{name}"], base_url=os.environ["ADDRESS"]
    )


def over_sockets(bob: Spot) -> dict[str, object]:
    """Its clients hand what comes to callbacks, in threads of their own."""
    user, answers, trades = "ann", queue.SimpleQueue[str](), queue.SimpleQueue[str]()
    address = os.environ["ADDRESS"].replace("http", "ws")
    stream = SpotWebsocketStreamClient(stream_url=address, on_message=lambda _, message: trades.put(message))
    stream.trade(symbol=SYMBOL)
    assert json.loads(trades.get(timeout=SECONDS))["result"] is None
    api = SpotWebsocketAPIClient(
        stream_url=f"{address}/ws-api/v3",
        api_key=os.environ[f"KEY_{user}"],
        api_secret=os.environ[f"SECRET_{user}"],
        on_message=lambda _, message: answers.put(message),
    )
    bob.new_order(SYMBOL, "SELL", "LIMIT", quantity=3, price=231, timeInForce="GTC")
    api.new_order(symbol=SYMBOL, side="BUY", type="LIMIT", timeInForce="GTC", quantity=3, price=231)
    placed, trade = (json.loads(heard.get(timeout=SECONDS)) for heard in (answers, trades))
    stream.stop()
    api.stop()
    return {"placed": placed["result"]["status"], "trade": [trade["p"], trade["q"]]}


def main() -> None:
    ann, bob = client("ann"), client("bob")
    bob.new_order(SYMBOL, "SELL", "LIMIT", quantity=2, price=230, timeInForce="GTC")
    taken = ann.new_order(SYMBOL, "BUY", "LIMIT", quantity=5, price=230, timeInForce="GTC")
    canceled = ann.cancel_open_orders(SYMBOL)
    exits = {"aboveType": "LIMIT_MAKER", "abovePrice": 240, "belowType": "STOP_LOSS", "belowStopPrice": 220}
    oco = ann.new_oco_order(SYMBOL, "SELL", 1, **exits)
    opened = [row["orderListId"] == oco["orderListId"] for row in ann.get_oco_open_orders()]
    ended = ann.cancel_oco_order(SYMBOL, orderListId=oco["orderListId"])["listOrderStatus"]
    listen_key = ann.new_listen_key()["listenKey"]
    seen = {
        "taken": [taken["status"], taken["executedQty"]],
        "canceled": [[order["status"], order["executedQty"]] for order in canceled],
        "oco": [opened, ended, ann.get_oco_order(orderListId=oco["orderListId"])["listStatusType"]],
        "window": ann.rolling_window_ticker(SYMBOL, windowSize="1h")["lastPrice"],
        "sockets": over_sockets(bob),
        "orders": ann.get_orders(SYMBOL)[-1]["status"],
        "book": ann.depth(SYMBOL)["bids"],
        "symbols": len(ann.exchange_info()["symbols"]),
        "listen key": [ann.renew_listen_key(listen_key), ann.close_listen_key(listen_key)],
    }
    sys.stdout.write(json.dumps(seen))


if __name__ == "__main__":
    main()
