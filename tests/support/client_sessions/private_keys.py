"""ccxt and python-binance, whose owner signs with a private key: an order placed and canceled, over REST and over the WebSocket API."""

import asyncio
import json
import os
import sys
from typing import Any

import ccxt
import ccxt.pro
from binance import Client

SYMBOL, PAIR = "AAPLUSD", "AAPL/USD"
ADDRESS = os.environ["ADDRESS"]
SOCKETS = ADDRESS.replace("http", "ws")
KEY, PRIVATE_KEY = os.environ["SIGNING_KEY"], os.environ["PRIVATE_KEY"]
LIMIT = {"symbol": SYMBOL, "quantity": "1", "price": "200.00"}


def python_binance() -> list[str]:
    Client.API_URL, Client.WS_API_URL = f"{ADDRESS}/api", f"{SOCKETS}/ws-api/v3"
    client = Client(KEY, private_key=PRIVATE_KEY)
    over_rest = client.order_limit_buy(**LIMIT)
    over_socket = client.ws_order_limit_buy(**LIMIT)
    numbers = [over_rest["orderId"], over_socket["orderId"]]
    return [client.cancel_order(symbol=SYMBOL, orderId=number)["status"] for number in numbers]


def settings() -> dict[str, Any]:
    rest = f"{ADDRESS}/api/v3"
    return {
        "apiKey": KEY,
        "secret": PRIVATE_KEY,
        "urls": {"api": {"public": rest, "private": rest, "ws": {"ws-api": {"spot": f"{SOCKETS}/ws-api/v3"}}}},
        "options": {"fetchMarkets": {"types": ["spot"]}, "fetchMargins": False, "fetchCurrencies": False},
    }


def over_ccxt() -> str:
    exchange = ccxt.binance(settings())
    order = exchange.create_order(PAIR, "limit", "buy", 1, 200)
    return str(exchange.cancel_order(order["id"], PAIR)["status"])


async def over_ccxt_pro() -> str:
    exchange = ccxt.pro.binance(settings())
    try:
        order = await exchange.create_order_ws(PAIR, "limit", "buy", 1, 200)
        return str((await exchange.cancel_order_ws(order["id"], PAIR))["status"])
    finally:
        await exchange.close()


def main() -> None:
    seen = {
        "python-binance": python_binance(),
        "ccxt": over_ccxt(),
        "ccxt.pro": asyncio.run(over_ccxt_pro()),
    }
    sys.stdout.write(json.dumps(seen))


if __name__ == "__main__":
    main()
