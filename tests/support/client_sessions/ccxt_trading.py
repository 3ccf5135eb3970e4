"""ccxt: a session as a bot has it, what it makes of refusals, and its own checks of an exchange."""

import importlib
import json
import os
import sys
from collections.abc import Callable
from typing import Any

import ccxt

PAIR = "AAPL/USD"
BALANCE, OF_A_PAIR = (), (PAIR,)
CHECKS: dict[str, tuple[str, ...]] = {
    "fetch_balance": BALANCE,
    **dict.fromkeys(("fetch_ticker", "fetch_tickers", "fetch_order_book", "fetch_l2_order_book"), OF_A_PAIR),
    **dict.fromkeys(("fetch_trades", "fetch_ohlcv", "fetch_last_prices"), OF_A_PAIR),
    **dict.fromkeys(("fetch_orders", "fetch_open_orders", "fetch_closed_orders", "fetch_my_trades"), OF_A_PAIR),
}
"""Those that are about the spot API: others ask for futures, or another API of Binance's."""
NOT_TOLD = {"timestamp": "Binance's books have none", "datetime": "as above"}


def client(name: str, secret: str | None = None) -> Any:
    address = os.environ["ADDRESS"] + "/api/v3"
    return ccxt.binance(
        {
            "apiKey": os.environ[f"KEY_{name}"],
            "secret": secret or os.environ[f"SECRET_{name}"],
            "urls": {"api": {"public": address, "private": address}},
            "options": {"fetchMarkets": {"types": ["spot"]}, "fetchMargins": False, "fetchCurrencies": False},
        }
    )


def trading(ann: Any, bob: Any) -> dict[str, Any]:
    resting = bob.create_order(PAIR, "limit", "sell", 10, 230.5)
    taken = ann.create_order(PAIR, "limit", "buy", 4, 231)
    half = bob.fetch_order(resting["id"], PAIR)
    edited = bob.edit_order(resting["id"], PAIR, "limit", "sell", 6, 230.75)
    stop = ann.create_order(PAIR, "STOP_LOSS_LIMIT", "sell", 1, 220, {"stopPrice": 221})
    opened = [order["id"] for order in ann.fetch_open_orders(PAIR)]
    canceled = ann.cancel_order(stop["id"], PAIR)
    bob.cancel_all_orders(PAIR)
    return {
        "taken": [taken["status"], taken["average"], [trade["amount"] for trade in taken["trades"]]],
        "half": [half["status"], half["filled"], half["remaining"]],
        "edited": [edited["status"], edited["price"], edited["amount"]],
        "stop": [stop["status"], stop["stopPrice"], opened == [stop["id"]], canceled["status"]],
        "left": bob.fetch_open_orders(PAIR),
        "trade": [[trade["side"], trade["takerOrMaker"]] for trade in bob.fetch_my_trades(PAIR)[-1:]],
        "held": bob.fetch_balance()["AAPL"]["used"],
    }


def refusal(attempt: Callable[[], object]) -> str:
    try:
        attempt()
    except ccxt.BaseError as error:
        return type(error).__name__
    return "nothing"


def refusals(ann: Any, bob: Any) -> dict[str, str]:
    bob.create_order(PAIR, "limit", "sell", 1, 231)
    attempts: dict[str, Callable[[], object]] = {
        "too much": lambda: ann.create_order(PAIR, "limit", "buy", 90_000, 231),
        "crossing": lambda: ann.create_order(PAIR, "LIMIT_MAKER", "buy", 1, 231),
        "unknown": lambda: ann.cancel_order("987654321", PAIR),
        "forged": lambda: client("ann", "wrong").fetch_balance(),
    }
    seen = {name: refusal(attempt) for name, attempt in attempts.items()}
    bob.cancel_all_orders(PAIR)
    return seen


def check(exchange: Any, name: str, arguments: tuple[str, ...]) -> str:
    """What ccxt's own check of an exchange finds wrong."""
    run = getattr(importlib.import_module(f"ccxt.test.exchange.sync.test_{name}"), f"test_{name}")
    try:
        run(exchange, NOT_TOLD if "order_book" in name else {}, *arguments)
    except (AssertionError, ccxt.BaseError) as error:
        return f"{type(error).__name__}: {error}"
    return ""


def main() -> None:
    ann, bob = client("ann"), client("bob")
    ann.load_markets()
    seen = {"trading": trading(ann, bob), "refusals": refusals(ann, bob)}
    seen["checks"] = {name: check(ann, name, arguments) for name, arguments in CHECKS.items()}
    sys.stdout.write(json.dumps(seen))


if __name__ == "__main__":
    main()
