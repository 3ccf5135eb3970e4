"""freqtrade, started as people start it and with real orders: it is done when its strategy's first trade is closed.

It takes only candles that are over, so the other user trades all the while, and the first entry waits for the next full minute.
"""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import ccxt

PAIR = "AAPL/USD"
STRATEGIES = Path(__file__).parent / "freqtrade"
SECONDS, SECONDS_TO_END = 110, 30


def key(name: str) -> tuple[str, str]:
    return os.environ[f"KEY_{name}"], os.environ[f"SECRET_{name}"]


def configuration(folder: Path) -> dict[str, Any]:
    """The documented one, with a key and a place for the trades."""
    documented: dict[str, Any] = json.loads(os.environ["SNIPPET"])
    key_id, secret = key("ann")
    documented["exchange"] |= {"key": key_id, "secret": secret}
    return {**documented, "db_url": f"sqlite:///{folder / 'trades.sqlite'}"}


def closed_trade(folder: Path) -> dict[str, Any] | None:
    """What the bot's own database says of its first trade, once it is closed and its orders are."""
    database = folder / "trades.sqlite"
    if not database.is_file():
        return None
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        connection.row_factory = sqlite3.Row
        made = connection.execute("SELECT name FROM sqlite_master").fetchall()
        if not {"trades", "orders"} <= {row["name"] for row in made}:
            return None
        trade = connection.execute("SELECT * FROM trades WHERE is_open = 0").fetchone()
        orders = connection.execute("SELECT ft_order_side, status, filled, average FROM orders ORDER BY id").fetchall()
    if trade is None:
        return None
    return {
        "pair": trade["pair"],
        "exit": trade["exit_reason"],
        "fees": [round(trade["fee_open_cost"], 2), round(trade["fee_close_cost"], 2)],
        "orders": [list(order) for order in orders],
    }


def wait_for_trade(bot: subprocess.Popen[bytes], folder: Path, ccxt_config: dict[str, Any]) -> dict[str, Any]:
    key_id, secret = key("bob")
    bob = ccxt.binance({"apiKey": key_id, "secret": secret, **ccxt_config})
    bob.create_order(PAIR, "limit", "sell", 500, 230.1)
    bob.create_order(PAIR, "limit", "buy", 500, 229.9)
    until = time.monotonic() + SECONDS
    while time.monotonic() < until and bot.poll() is None:
        bob.create_order(PAIR, "limit", "buy", 1, 230.1)
        found = closed_trade(folder)
        if found is not None:
            return found
        time.sleep(1)
    raise AssertionError("the bot's trade was not closed in time")


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        config = configuration(folder)
        (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
        command = [sys.executable, "-m", "freqtrade", "trade", "--config", str(folder / "config.json")]
        command += ["--userdir", name, "--strategy-path", str(STRATEGIES), "--strategy", "InAndOut"]
        with (folder / "log").open("wb") as log:
            bot = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            seen = wait_for_trade(bot, folder, config["exchange"]["ccxt_config"])
        except AssertionError:
            sys.stderr.write((folder / "log").read_text(encoding="utf-8"))
            raise
        finally:
            bot.send_signal(signal.SIGINT)
            bot.wait(SECONDS_TO_END)
    sys.stdout.write(json.dumps(seen))


if __name__ == "__main__":
    main()
