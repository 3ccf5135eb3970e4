"""binance-connector, whose package has the name of python-binance's: trading, and a listen key."""

import json
import os
import sys

from binance.spot import Spot

SYMBOL = "AAPLUSD"


def client(name: str) -> Spot:
    return Spot(
        api_key=os.environ[f"KEY_{name}"], api_secret=os.environ[f"SECRET_{name}"], base_url=os.environ["ADDRESS"]
    )


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
        "orders": ann.get_orders(SYMBOL)[-1]["status"],
        "book": ann.depth(SYMBOL)["bids"],
        "symbols": len(ann.exchange_info()["symbols"]),
        "listen key": [ann.renew_listen_key(listen_key), ann.close_listen_key(listen_key)],
    }
    sys.stdout.write(json.dumps(seen))


if __name__ == "__main__":
    main()
