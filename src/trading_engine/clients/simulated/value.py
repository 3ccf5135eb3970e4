"""The hidden value of each instrument: what the simulated traders quote around and trade towards.

Per instrument, in ticks, with dt in seconds:

    dx = -k (x - m) dt + s · swing · sqrt(dt) · (b·F + sqrt(1 - b²)·e)

x is the distance from the reference price, F one normal shock that all instruments share (the market factor), e one of its own. `swing`
is the exponential of a mean-reverting process that jumps up now and then: quiet and lively minutes take turns, as in real markets
(volatility clustering). x and m move with what outsiders buy or sell in total from the simulated traders: their trades have a lasting
effect on the price, and the simulated traders never end up having sold everything at an old price. The pull towards m keeps the price
within about a percent of it, over any length of time.
"""

import math
from collections.abc import Sequence
from random import Random

from trading_engine.clients.simulated.market_state import Market

HALF_LIFE_S = 4 * 3600.0
FACTOR_LOADING = 0.45
SWING_HALF_LIFE_S = 45.0
SWING_DEVIATION = 0.45
JUMPS_PER_HOUR = 4.0
JUMP_SIZE = 0.9
SWING_MAX = 4.0
TREND_HALF_LIFE_S = 15.0
OUTSIDE_LIMIT = 0.2
"""Outsiders move the price by this part of the reference at the most."""
OUTSIDE_ORDERS_PER_TICK = 10
"""So many ordinary orders of net outside demand move the price by one grid step for good."""


class Values:
    """Moves the `value`, `swing` and `trend` of all markets."""

    def __init__(self, markets: Sequence[Market], grid_steps_per_root_second: Sequence[float], seed: int) -> None:
        self._markets = markets
        self._speeds = grid_steps_per_root_second
        self._factor_chance = Random(f"{seed}:factor")  # noqa: S311 - a simulation, not a secret
        self._chances = [Random(f"{seed}:value:{market.symbol}") for market in markets]  # noqa: S311
        self._log_swings = [chance.gauss(0.0, SWING_DEVIATION) for chance in self._chances]
        self._slow = [market.value for market in markets]
        self.outside_shift = [0.0] * len(markets)
        """Ticks, by market."""

    def set_speeds(self, grid_steps_per_root_second: Sequence[float]) -> None:
        """How fast the value of each market moves from now on."""
        self._speeds = grid_steps_per_root_second

    def start_at(self, index: int, ticks: float) -> None:
        """Go on from a price that was seen."""
        self._markets[index].value = self._slow[index] = ticks

    def set_outside_demand(self, index: int, lots: int) -> None:
        """Outsiders hold `lots` more than the simulated traders began with."""
        market = self._markets[index]
        steps = lots / (OUTSIDE_ORDERS_PER_TICK * market.ordinary_lots)
        limit = OUTSIDE_LIMIT * market.reference
        shift = max(-limit, min(limit, steps * market.grid))
        # The whole of it at once: who sells to an outsider learns from that.
        market.value += shift - self.outside_shift[index]
        self._slow[index] += shift - self.outside_shift[index]
        self.outside_shift[index] = shift

    def step(self, dt: float) -> None:
        root = math.sqrt(dt)
        factor = self._factor_chance.gauss(0.0, 1.0)
        pull = 1.0 - 0.5 ** (dt / HALF_LIFE_S)
        for index, market in enumerate(self._markets):
            chance = self._chances[index]
            market.swing = self._swing(index, chance, dt)
            shock = FACTOR_LOADING * factor + math.sqrt(1.0 - FACTOR_LOADING**2) * chance.gauss(0.0, 1.0)
            mean = market.reference + self.outside_shift[index]
            move = self._speeds[index] * market.grid * market.swing * root * shock
            # The value may not reach zero, however long the tail.
            market.value = max(0.2 * market.reference, market.value + move - pull * (market.value - mean))
            self._slow[index] += (market.value - self._slow[index]) * (1.0 - 0.5 ** (dt / TREND_HALF_LIFE_S))
            market.trend = market.value - self._slow[index]

    def _swing(self, index: int, chance: Random, dt: float) -> float:
        fade = 1.0 - 0.5 ** (dt / SWING_HALF_LIFE_S)
        level = self._log_swings[index] * (1.0 - fade) + SWING_DEVIATION * math.sqrt(2.0 * fade) * chance.gauss(
            0.0, 1.0
        )
        if chance.random() < JUMPS_PER_HOUR / 3600.0 * dt:
            level += JUMP_SIZE
        self._log_swings[index] = level
        # Divided by the mean of a log-normal variable, so that the usual swing is about 1.
        return min(SWING_MAX, math.exp(level - SWING_DEVIATION**2 / 2))
