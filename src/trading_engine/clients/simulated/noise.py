"""Noise traders: leave limit orders around and behind the best prices, and lose interest in them after a while.

Distances behind the best price follow a power law, lifetimes grow with the distance: what real books show. They give the book its
depth beyond the makers' ladders, and its unevenness.
"""

from random import Random

from trading_engine.clients.simulated.makers import rounded_lots
from trading_engine.clients.simulated.market_state import BUY, SELL, Account, Market, Place

DISTANCE_TAIL = 0.9
DISTANCE_MAX = 60
INSIDE_SPREAD = 0.15
"""Part of the orders that better the best price where the spread has room."""
LIFETIME_S = 60.0
"""Of an order near the best price, on average; it grows to `LIFETIME_FAR` times that."""
LIFETIME_FAR = 4.0
SIZE_MEDIAN = 0.5
SIZE_SPREAD = 0.9
INVENTORY_WEIGHT = 1.0


class NoiseTrader:
    """Leaves orders of one account in all markets."""

    def __init__(self, endowment_lots: dict[str, int], cash_reserve: dict[str, float]) -> None:
        self._endowment = endowment_lots
        self._cash_reserve = cash_reserve

    def decide(self, market: Market, account: Account, chance: Random) -> Place | None:
        """A new order to leave in the book, if the trader can afford it."""
        if market.bid is None or market.ask is None:
            return None
        side = BUY if chance.random() < self._buying(market, account) else SELL
        distance = self._distance(market, chance)
        own_best = market.bid if side == BUY else market.ask
        ticks = own_best - side * distance * market.grid
        lots = rounded_lots(market.ordinary_lots * SIZE_MEDIAN * chance.lognormvariate(0.0, SIZE_SPREAD), market)
        if ticks <= 0 or not self._can_afford(market, account, side, ticks, lots):
            return None
        return Place(market.symbol, side, lots, ticks, "gtc", post_only=True, lifetime=lifetime(distance, chance))

    def _buying(self, market: Market, account: Account) -> float:
        """How likely the next order is to buy: less, the more the trader has of it, so that it never runs out of either."""
        endowment = max(1, self._endowment[market.symbol])
        excess = (account.lots.get(market.symbol, 0) - endowment) / endowment
        return min(1.0, max(0.0, 0.5 - INVENTORY_WEIGHT * excess))

    def _distance(self, market: Market, chance: Random) -> int:
        """Grid steps behind the best price of the own side; negative is better than it."""
        assert market.bid is not None
        assert market.ask is not None
        room = (market.ask - market.bid) // market.grid
        if room > 1 and chance.random() < INSIDE_SPREAD * room:
            return -1
        return min(DISTANCE_MAX, int(chance.paretovariate(DISTANCE_TAIL)) - 1)

    def _can_afford(self, market: Market, account: Account, side: int, ticks: int, lots: int) -> bool:
        if side == SELL:
            return lots <= account.free_lots.get(market.symbol, 0)
        worth = ticks * lots * market.tick_worth * 1.001
        return worth <= account.cash.get(market.currency, 0.0) - self._cash_reserve.get(market.currency, 0.0)


def lifetime(distance: int, chance: Random) -> float:
    """Seconds until the trader loses interest in an order so many steps behind the best price."""
    mean = LIFETIME_S * (1.0 + (LIFETIME_FAR - 1.0) * min(1.0, max(0, distance) / 20))
    return chance.expovariate(1.0 / mean)
