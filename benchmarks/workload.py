"""The canonical mix of commands: seeded, the same for every release that applies it to the same effect.

Five instruments, twenty accounts. Of the orders' commands 45 % place a limit order, 40 % cancel one, 10 % replace one, 5 % take
(market or immediate-or-cancel). Prices lie around a middle that wanders; most orders rest and are canceled later, about one in
ten trades. A venue is run along while the commands are made, because cancels and replaces must name orders that are open.
"""

import random

from trading_engine.venue import Venue
from trading_engine.venue import commands as c
from trading_engine.venue import events as e
from trading_engine.venue.instrument import Instrument
from trading_engine.venue.terms import OrderType, Side, TimeInForce, TradingPhase

SEED = 20_260_105
INSTRUMENT_COUNT = 5
ACCOUNT_COUNT = 20
CASH = 10**15
LOTS = 10**9
OPEN_ORDERS_MAX = 1_000_000
MIDDLE_TICKS = 20_000
SPREAD_TICKS = 2
DEPTH_TICKS = 40
"""Mean distance of a limit order from the middle."""
FIRST_TIME_NS = 1_767_623_400_000_000_000
STEP_NS = 10_000
ORDERS_BEFORE = 5_000
"""Resting orders that each workload begins with."""

MIX = {"place": 45, "cancel": 40, "replace": 10, "take": 5}


class Workload:
    """Makes commands one by one, and knows what they came to."""

    def __init__(self, seed: int = SEED) -> None:
        self.venue = Venue()
        self._rng = random.Random(seed)
        self._middles = [MIDDLE_TICKS] * INSTRUMENT_COUNT
        self._open_orders: list[tuple[int, int, int]] = []
        """(order id, account, instrument) of orders that may still be open; those that have traded away stay until they are drawn."""
        self.commands: list[c.SequencedCommand] = []

    def opening(self) -> None:
        for number in range(1, INSTRUMENT_COUNT + 1):
            self.apply(c.ListInstrument(instrument(number)))
        self.apply(c.SetTradingPhase(0, TradingPhase.CONTINUOUS))
        positions = tuple((number, LOTS) for number in range(1, INSTRUMENT_COUNT + 1))
        for account_id in range(1, ACCOUNT_COUNT + 1):
            self.apply(c.OpenAccount(account_id, (("USD", CASH),), positions, OPEN_ORDERS_MAX))

    def rest(self, count: int, depth_ticks: int = DEPTH_TICKS) -> None:
        for _ in range(count):
            self.apply(self._limit_order(depth_ticks, post_only=True))

    def mix(self, count: int) -> None:
        kinds = self._rng.choices(list(MIX), list(MIX.values()), k=count)
        for kind in kinds:
            if self._rng.random() < 0.02:
                self._middles[self._rng.randrange(INSTRUMENT_COUNT)] += self._rng.choice((-1, 1))
            self.apply(self._command(kind))

    def apply(self, command: c.AnyCommand) -> None:
        sequence = len(self.commands) + 1
        sequenced = c.SequencedCommand(sequence, FIRST_TIME_NS + sequence * STEP_NS, "bench", sequence, command)
        self.commands.append(sequenced)
        batch = self.venue.apply(sequenced)
        assert batch is not None
        accepted = batch.events[0]
        if isinstance(accepted, e.OrderAccepted) and not accepted.time_in_force.is_immediate:
            self._open_orders.append((accepted.order_id, accepted.account_id, accepted.instrument_id))

    def _command(self, kind: str) -> c.AnyCommand:
        match kind:
            case "place":
                return self._limit_order(DEPTH_TICKS)
            case "take":
                return self._taking_order()
        order = self._draw_open_order(remove=kind == "cancel")
        if order is None:
            return self._limit_order(DEPTH_TICKS)
        order_id, account_id, instrument_id = order
        if kind == "cancel":
            return c.CancelOrder(account_id, order_id)
        resting = self.venue.account(account_id).open_orders[order_id]
        if self._rng.random() < 0.5 and resting.leaves_lots > 1:
            return c.ReplaceOrder(account_id, order_id, quantity_lots=resting.quantity_lots - 1)
        return c.ReplaceOrder(account_id, order_id, price_ticks=self._price(instrument_id, resting.side, DEPTH_TICKS))

    def _draw_open_order(self, remove: bool) -> tuple[int, int, int] | None:
        while self._open_orders:
            place = self._rng.randrange(len(self._open_orders))
            order = self._open_orders[place]
            is_open = order[0] in self.venue.account(order[1]).open_orders
            if remove or not is_open:
                self._open_orders[place] = self._open_orders[-1]
                self._open_orders.pop()
            if is_open:
                return order
        return None

    def _limit_order(self, depth_ticks: int, post_only: bool = False) -> c.PlaceOrder:
        instrument_id, side = self._rng.randint(1, INSTRUMENT_COUNT), self._rng.choice((Side.BUY, Side.SELL))
        return c.PlaceOrder(
            self._rng.randint(1, ACCOUNT_COUNT),
            f"c{len(self.commands)}",
            instrument_id,
            side,
            OrderType.LIMIT,
            TimeInForce.GTC,
            self._rng.randint(1, 500),
            self._price(instrument_id, side, depth_ticks),
            post_only,
        )

    def _taking_order(self) -> c.PlaceOrder:
        instrument_id, side = self._rng.randint(1, INSTRUMENT_COUNT), self._rng.choice((Side.BUY, Side.SELL))
        is_market = self._rng.random() < 0.5
        price_ticks = self._middles[instrument_id - 1] + (5 if side is Side.BUY else -5)
        return c.PlaceOrder(
            self._rng.randint(1, ACCOUNT_COUNT),
            "",
            instrument_id,
            side,
            OrderType.MARKET if is_market else OrderType.LIMIT,
            TimeInForce.IOC,
            self._rng.randint(1, 200),
            0 if is_market else price_ticks,
        )

    def _price(self, instrument_id: int, side: Side, depth_ticks: int) -> int:
        distance = int(self._rng.expovariate(1 / depth_ticks)) - SPREAD_TICKS
        middle = self._middles[instrument_id - 1]
        return max(1, middle - distance) if side is Side.BUY else middle + distance


def instrument(number: int) -> Instrument:
    return Instrument(
        number, f"BENCH{number}", f"Bench {number}", "USD", "0.01", "1", 1, maker_fee_ppm=100, taker_fee_ppm=300
    )


def canonical(count: int) -> Workload:
    """The opening, `ORDERS_BEFORE` resting orders, and `count` commands of the mix."""
    workload = Workload()
    workload.opening()
    workload.rest(ORDERS_BEFORE)
    workload.mix(count)
    return workload
