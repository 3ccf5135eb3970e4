"""Every method of python-binance for the spot API, over REST and over its WebSocket API, and with which code each that fails does."""

import inspect
import json
import os
import re
import sys
from typing import Any

from binance import Client
from binance.exceptions import BinanceAPIException

SYMBOL = "AAPLUSD"
OF_VERSION_3 = re.compile(r"self\._(?:get|post|put|delete)\(\s*f?\"")
OTHER_MARKETS = ("futures", "margin", "options", "papi", "coin")
ORDER = {"symbol": SYMBOL, "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "1", "price": "200.00"}
THIS = {"symbol": SYMBOL}
BARS = {**THIS, "interval": "1m"}
MARKET = {**THIS, "quantity": "1"}
LIMIT = {**MARKET, "price": "200.00"}
EXITS = {"aboveType": "LIMIT_MAKER", "abovePrice": "280.00", "belowType": "STOP_LOSS", "belowStopPrice": "150.00"}
OCO = {**MARKET, "side": "SELL", **EXITS}
OTO = {
    "symbol": SYMBOL, "workingType": "LIMIT", "workingSide": "BUY", "workingPrice": "200.00", "workingQuantity": "1",
    "workingTimeInForce": "GTC", "pendingSide": "SELL", "pendingQuantity": "1",
}  # fmt: skip
ONE = {"pendingType": "LIMIT_MAKER", "pendingPrice": "240.00"}
TWO = {f"pending{name[0].upper()}{name[1:]}": value for name, value in EXITS.items()}
REPLACE = {**ORDER, "cancelReplaceMode": "STOP_ON_FAILURE"}


class Calls:
    """Calls by name, and what came of each."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.codes: dict[str, int] = {}
        """Of those that failed."""
        self.names: set[str] = set()

    def __call__(self, name: str, **parameters: Any) -> Any:
        self.names.add(name)
        try:
            return getattr(self._client, name)(**parameters)
        except BinanceAPIException as error:
            self.codes[name] = error.code
            return None


def spot_methods() -> set[str]:
    """Those that ask for something under `/api/v3`, or over its WebSocket API."""
    names = set()
    for name, method in inspect.getmembers(Client, inspect.isfunction):
        is_ours = name.startswith(("v3_", "ws_", "order_")) or OF_VERSION_3.search(inspect.getsource(method))
        if is_ours and not name.startswith("_") and not any(market in name for market in OTHER_MARKETS):
            names.add(name)
    return names


def of_the_market(call: Calls) -> None:
    for name in ("ping", "get_server_time", "get_exchange_info", "get_all_tickers", "get_orderbook_tickers"):
        call(name)
    for name in ("get_order_book", "get_recent_trades", "get_historical_trades", "get_aggregate_trades", "get_ticker"):
        call(name, **THIS)
    for name in ("get_avg_price", "get_symbol_ticker", "get_symbol_ticker_window", "get_orderbook_ticker"):
        call(name, **THIS)
    call("v3_get_ticker_trading_day", **THIS)
    for name in ("get_klines", "get_ui_klines"):
        call(name, **BARS)


def of_the_account(call: Calls) -> None:
    for name in ("get_account", "get_current_order_count", "get_open_oco_orders", "v3_get_all_order_list"):
        call(name)
    for name in ("v3_get_account_commission", "get_all_orders", "get_open_orders", "get_my_trades", "get_allocations"):
        call(name, **THIS)
    call("get_prevented_matches", **THIS, orderId=1)
    key = call("stream_get_listen_key")
    for name in ("stream_keepalive", "stream_close"):
        call(name, listenKey=key)


def of_orders(call: Calls) -> None:
    call("create_test_order", **ORDER)
    placed = call("create_order", **ORDER)["orderId"]
    call("get_order", **THIS, orderId=placed)
    replaced = call("cancel_replace_order", **REPLACE, cancelOrderId=placed)["newOrderResponse"]["orderId"]
    call("v3_post_cancel_replace", **REPLACE, cancelOrderId=replaced)
    call("cancel_order", **THIS, orderId=replaced)
    call("order_limit", **LIMIT, side="BUY")
    call("order_limit_buy", **LIMIT)
    call("order_limit_sell", **{**LIMIT, "price": "250.00", "quantity": "5"})
    call("order_market", **MARKET, side="BUY")
    call("order_market_buy", **MARKET)
    call("order_market_sell", **MARKET)
    call("cancel_all_open_orders", **THIS)
    for name in ("v3_post_sor_order", "v3_post_sor_order_test"):
        call(name, **ORDER)


def of_lists(call: Calls) -> None:
    listed = call("create_oco_order", **OCO)["orderListId"]
    call("v3_get_order_list", orderListId=listed)
    call("v3_delete_order_list", **THIS, orderListId=listed)
    call("order_oco_sell", **MARKET, **EXITS)
    below = {"belowType": "LIMIT_MAKER", "belowPrice": "150.00", "aboveType": "STOP_LOSS", "aboveStopPrice": "290.00"}
    call("order_oco_buy", **MARKET, **below)
    call("v3_post_order_list_oto", **OTO, **ONE)
    call("v3_post_order_list_otoco", **OTO, **TWO)
    call("cancel_all_open_orders", **THIS)


def over_the_socket(call: Calls) -> None:
    for name in ("ping", "get_time", "get_exchange_info", "get_account", "get_account_rate_limits_orders"):
        call(f"ws_{name}")
    for name in ("order_book", "recent_trades", "historical_trades", "aggregate_trades", "avg_price", "ticker"):
        call(f"ws_get_{name}", **THIS)
    for name in ("trading_day_ticker", "symbol_ticker_window", "symbol_ticker", "orderbook_ticker", "commission_rates"):
        call(f"ws_get_{name}", **THIS)
    for name in ("all_orders", "open_orders", "my_trades", "allocations"):
        call(f"ws_get_{name}", **THIS)
    call("ws_get_prevented_matches", **THIS, orderId=1)
    for name in ("klines", "uiKlines"):
        call(f"ws_get_{name}", **BARS)


def orders_over_the_socket(call: Calls) -> None:
    call("ws_create_test_order", **ORDER)
    placed = call("ws_create_order", **ORDER)["orderId"]
    call("ws_get_order", **THIS, orderId=placed)
    replaced = call("ws_cancel_and_replace_order", **REPLACE, cancelOrderId=placed)["newOrderResponse"]["orderId"]
    call("ws_cancel_order", **THIS, orderId=replaced)
    for name in ("ws_create_sor_order", "ws_create_test_sor_order"):
        call(name, **ORDER)
    call("ws_order_limit", **LIMIT, side="BUY")
    call("ws_order_limit_buy", **LIMIT)
    call("ws_order_limit_sell", **{**LIMIT, "price": "250.00", "quantity": "5"})
    call("ws_order_market", **MARKET, side="BUY")
    call("ws_order_market_buy", **MARKET)
    call("ws_order_market_sell", **MARKET)
    listed = call("ws_create_oco_order", **OCO)["orderListId"]
    call("ws_get_oco_order", orderListId=listed)
    call("ws_get_oco_open_orders")
    call("ws_cancel_oco_order", **THIS, orderListId=listed)
    call("ws_create_oto_order", **OTO, **ONE)
    call("ws_create_otoco_order", **OTO, **TWO)
    call("ws_cancel_all_open_orders", **THIS)


def main() -> None:
    address = os.environ["ADDRESS"]
    Client.API_URL, Client.WS_API_URL = f"{address}/api", f"{address.replace('http', 'ws')}/ws-api/v3"
    call = Calls(Client(*(os.environ[f"{kind}_ann"] for kind in ("KEY", "SECRET"))))
    of_orders(call)
    of_lists(call)
    of_the_market(call)
    of_the_account(call)
    over_the_socket(call)
    orders_over_the_socket(call)
    not_called = sorted(spot_methods() - call.names)
    sys.stdout.write(json.dumps({"codes": call.codes, "not called": not_called, "calls": len(call.names)}))


if __name__ == "__main__":
    main()
