"""nautilus_trader: a node with its Binance data and execution clients, and a strategy that buys in part, cancels the rest and sells."""

import asyncio
import json
import os
import sys
from typing import Any

from nautilus_trader.model.enums import OrderSide
from nautilus_trader.model.identifiers import InstrumentId
from nautilus_trader.trading.strategy import Strategy

INSTRUMENT = InstrumentId.from_str("AAPLUSD.BINANCE")
SECONDS = 60


class BuyAndSell(Strategy):  # type: ignore[misc]
    """Begins when it knows the book."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: dict[str, Any] = {"events": [], "fills": [], "trades": [], "quotes": [], "books": 0}
        self.is_done = asyncio.Event()
        self.entry: Any = None
        self.exit: Any = None

    def on_start(self) -> None:
        self.subscribe_quote_ticks(INSTRUMENT)
        self.subscribe_trade_ticks(INSTRUMENT)
        self.subscribe_order_book_deltas(INSTRUMENT)

    def on_quote_tick(self, tick: Any) -> None:
        self.seen["quotes"].append([str(tick.bid_price), str(tick.ask_price)])

    def on_order_book_deltas(self, deltas: Any) -> None:
        self.seen["books"] += len(deltas.deltas)
        if self.entry is None:
            instrument = self.cache.instrument(INSTRUMENT)
            self.entry = self.order_factory.limit(
                INSTRUMENT, OrderSide.BUY, instrument.make_qty(12), instrument.make_price(230)
            )
            self.submit_order(self.entry)

    def on_trade_tick(self, tick: Any) -> None:
        self.seen["trades"].append([str(tick.price), str(tick.size)])
        self._end()

    def on_order_filled(self, event: Any) -> None:
        self.seen["fills"].append([str(event.last_px), str(event.last_qty), str(event.commission)])
        if self.entry.is_open:
            self.cancel_order(self.entry)
        self._end()

    def on_order_canceled(self, _: Any) -> None:
        instrument = self.cache.instrument(INSTRUMENT)
        self.exit = self.order_factory.market(INSTRUMENT, OrderSide.SELL, instrument.make_qty(4))
        self.submit_order(self.exit)

    def on_event(self, event: Any) -> None:
        if type(event).__name__.startswith("Order"):
            self.seen["events"].append(type(event).__name__)

    def _end(self) -> None:
        if self.exit is not None and self.exit.is_closed and len(self.seen["trades"]) == len(self.seen["fills"]):
            self.is_done.set()


def documented_node() -> Any:
    """As the documentation has it."""
    user = "ann"
    names: dict[str, Any] = {"key_id": os.environ[f"KEY_{user}"], "secret": os.environ[f"SECRET_{user}"]}
    exec(os.environ["SNIPPET"], names)
    return names["node"]


async def stop_when_done(node: Any, strategy: BuyAndSell) -> None:
    try:
        await asyncio.wait_for(strategy.is_done.wait(), SECONDS)
    finally:
        node.stop()


def main() -> None:
    node, strategy = documented_node(), BuyAndSell()
    node.trader.add_strategy(strategy)
    node.build()
    stopping = node.get_event_loop().create_task(stop_when_done(node, strategy))
    try:
        node.run()
        position = node.portfolio.net_position(INSTRUMENT)
    finally:
        node.dispose()
    del stopping
    sys.stdout.write(json.dumps({**strategy.seen, "position": str(position)}))


if __name__ == "__main__":
    main()
