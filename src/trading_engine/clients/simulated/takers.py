"""Takers: trade at once against what stands in the book.

They come in bursts: each trade makes another more likely for a few seconds (a Hawkes process). A taker works large intentions off in
slices, so that the signs of trades are correlated, as in real markets. A direction is chosen by the gap between the hidden value and
the price, by the recent trend (momentum takers follow it, the others fade it), and by what the taker holds.
"""

import math
from dataclasses import dataclass
from random import Random

from trading_engine.clients.simulated.makers import rounded_lots
from trading_engine.clients.simulated.market_state import BUY, SELL, Account, Market, Place

BRANCHING = 0.55
"""Trades that one trade calls forth, on average."""
EXCITEMENT_HALF_LIFE_S = 2.0
VALUE_WEIGHT = 0.55
TREND_WEIGHT = 0.12
INVENTORY_WEIGHT = 2.0
INTENTION_TAIL = 1.6
"""Exponent of the Pareto distribution of what a taker wants to trade in all, in ordinary orders."""
INTENTION_MAX = 60.0
SLICE_MEDIAN = 0.55
SLICE_SPREAD = 0.9
THROUGH_TOUCH = 0.25
"""Part of the orders that go through a few levels; the rest takes what is at the best price."""
MARKET_ORDERS = 0.08
LEVELS_THROUGH_MAX = 4


class Excitement:
    """How likely a trade is at the moment, for one market."""

    def __init__(self, trades_per_second: float) -> None:
        self.set_rate(trades_per_second)
        self._decay = math.log(2.0) / EXCITEMENT_HALF_LIFE_S
        self._extra = 0.0

    def set_rate(self, trades_per_second: float) -> None:
        self._base = trades_per_second * (1.0 - BRANCHING)

    def strikes(self, dt: float, swing: float, chance: Random) -> bool:
        """Whether somebody trades within the next `dt` seconds."""
        self._extra *= math.exp(-self._decay * dt)
        if chance.random() >= (self._base * swing + self._extra) * dt:
            return False
        self._extra += BRANCHING * self._decay
        return True


@dataclass(slots=True)
class Intention:
    side: int
    lots: int


class Taker:
    """Trades one account in all markets."""

    def __init__(self, number: int, endowment_lots: dict[str, int], cash_reserve: dict[str, float]) -> None:
        self._trend_weight = TREND_WEIGHT if number % 2 == 0 else -TREND_WEIGHT
        self._endowment = endowment_lots
        self._cash_reserve = cash_reserve
        self._intentions: dict[str, Intention] = {}

    def decide(self, market: Market, account: Account, chance: Random) -> Place | None:
        """The order to send now, if there is anything to trade against."""
        intention = self._intentions.get(market.symbol)
        if intention is None or intention.lots <= 0:
            intention = self._intentions[market.symbol] = self._new_intention(market, account, chance)
        touch = market.ask if intention.side == BUY else market.bid
        if touch is None:
            return None
        slice_lots = rounded_lots(
            market.ordinary_lots * SLICE_MEDIAN * chance.lognormvariate(0.0, SLICE_SPREAD), market
        )
        lots = min(slice_lots, max(intention.lots, market.lots_min))
        intention.lots -= lots
        through = chance.random()
        levels = chance.randint(1, LEVELS_THROUGH_MAX) if through < THROUGH_TOUCH else 0
        ticks = touch + intention.side * levels * market.grid
        if ticks <= 0 or not self._can_afford(market, account, intention.side, ticks, lots):
            intention.lots = 0
            return None
        is_market = through < MARKET_ORDERS
        return Place(market.symbol, intention.side, lots, None if is_market else ticks, "ioc")

    def _new_intention(self, market: Market, account: Account, chance: Random) -> Intention:
        gap = (market.value - market.middle) / market.grid
        pull = VALUE_WEIGHT * gap + self._trend_weight * market.trend / market.grid
        endowment = self._endowment[market.symbol]
        if endowment:
            pull -= INVENTORY_WEIGHT * (account.lots.get(market.symbol, 0) - endowment) / endowment
        side = BUY if chance.random() < 1.0 / (1.0 + math.exp(-max(-8.0, min(8.0, pull)))) else SELL
        size = min(chance.paretovariate(INTENTION_TAIL), INTENTION_MAX)
        return Intention(side, max(1, round(size * market.ordinary_lots)))

    def _can_afford(self, market: Market, account: Account, side: int, ticks: int, lots: int) -> bool:
        if side == SELL:
            return lots <= account.free_lots.get(market.symbol, 0)
        # The venue holds the worst price of a market order: leave room for it.
        worth = ticks * lots * market.tick_worth * 1.1
        return worth <= account.cash.get(market.currency, 0.0) - self._cash_reserve.get(market.currency, 0.0)
