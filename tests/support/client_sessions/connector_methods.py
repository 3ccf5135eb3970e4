"""Every method of binance-connector for the spot API, and with which code each that fails does."""

import inspect
import json
import os
import sys
from typing import Any

from binance.error import ClientError
from binance.spot import Spot

SYMBOL = "AAPLUSD"
ORDER = {"side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "1", "price": "200.00"}
EXITS = {"aboveType": "LIMIT_MAKER", "abovePrice": "280.00", "belowType": "STOP_LOSS", "belowStopPrice": "150.00"}
WORKING = {
    "workingType": "LIMIT", "workingSide": "BUY", "workingPrice": "200.00", "workingQuantity": "1",
    "workingTimeInForce": "GTC", "pendingSide": "SELL", "pendingQuantity": "1",
}  # fmt: skip
PENDING = {f"pending{name[0].upper()}{name[1:]}": value for name, value in EXITS.items()}


class Calls:
    """Calls by name, and what came of each."""

    def __init__(self, client: Spot) -> None:
        self._client = client
        self.codes: dict[str, int] = {}
        """Of those that failed."""
        self.names: set[str] = set()

    def __call__(self, name: str, *arguments: Any, **parameters: Any) -> Any:
        self.names.add(name)
        try:
            return getattr(self._client, name)(*arguments, **parameters)
        except ClientError as error:
            self.codes[name] = error.error_code
            return None


def spot_methods() -> set[str]:
    methods = inspect.getmembers(Spot, inspect.isfunction)
    return {name for name, method in methods if "/api/v3/" in inspect.getsource(method) and not name.startswith("_")}


def of_the_market(call: Calls) -> None:
    for name in ("ping", "time", "exchange_info"):
        call(name)
    for name in ("depth", "trades", "historical_trades", "agg_trades", "avg_price", "ticker_24hr", "ticker_price"):
        call(name, SYMBOL)
    for name in ("trading_day_ticker", "book_ticker", "rolling_window_ticker"):
        call(name, SYMBOL)
    for name in ("klines", "ui_klines"):
        call(name, SYMBOL, "1m")


def of_the_account(call: Calls) -> None:
    for name in ("account", "get_oco_orders", "get_oco_open_orders", "get_order_rate_limit"):
        call(name)
    for name in ("get_open_orders", "get_orders", "my_trades", "query_commission_rates", "query_allocations"):
        call(name, SYMBOL)
    call("query_prevented_matches", SYMBOL, orderId=1)
    key = call("new_listen_key")["listenKey"]
    for name in ("renew_listen_key", "close_listen_key"):
        call(name, key)


def of_orders(call: Calls) -> None:
    call("new_order_test", SYMBOL, **ORDER)
    placed = call("new_order", SYMBOL, **ORDER)["orderId"]
    call("get_order", SYMBOL, orderId=placed)
    mode = {"cancelReplaceMode": "STOP_ON_FAILURE", "cancelOrderId": placed}
    replaced = call("cancel_and_replace", SYMBOL, **ORDER, **mode)["newOrderResponse"]["orderId"]
    call("cancel_order", SYMBOL, orderId=replaced)
    listed = call("new_oco_order", SYMBOL, "SELL", 1, **EXITS)["orderListId"]
    call("get_oco_order", orderListId=listed)
    call("cancel_oco_order", SYMBOL, orderListId=listed)
    call("new_oto_order", SYMBOL, **WORKING, pendingType="LIMIT_MAKER", pendingPrice="240.00")
    call("new_otoco_order", SYMBOL, **WORKING, **PENDING)
    call("cancel_open_orders", SYMBOL)


def main() -> None:
    key, secret = (os.environ[f"{kind}_ann"] for kind in ("KEY", "SECRET"))
    call = Calls(Spot(api_key=key, api_secret=secret, base_url=os.environ["ADDRESS"]))
    of_orders(call)
    of_the_market(call)
    of_the_account(call)
    not_called = sorted(spot_methods() - call.names)
    sys.stdout.write(json.dumps({"codes": call.codes, "not called": not_called, "calls": len(call.names)}))


if __name__ == "__main__":
    main()
