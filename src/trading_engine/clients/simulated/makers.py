"""Market makers: quote both sides of the book around the value, several levels deep.

A ladder of fixed distances that moved as a whole would cost a message per level for each tick of movement. So a level need not
stand exactly where it is wanted: the deeper, the more it may be off. When the value moves up one tick, the bid that has become too
deep is replaced to the front and the ask that has become too cheap is replaced to the back: two messages, whatever the depth.

Inventory: with more than its target, a maker lowers both sides (it would rather sell); with less it raises them. The target
follows what it has slowly, between half and one and a half times what it began with, so that a maker comes back from any
one-sided hour.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from trading_engine.clients.simulated.market_state import (
    BUY,
    SELL,
    Account,
    Action,
    Cancel,
    Market,
    OwnOrder,
    Place,
    Replace,
)
from trading_engine.shared.model_parameters import SimulatedTraders

LADDERS: tuple[tuple[int, ...], ...] = (
    (0, 1, 3, 5, 7, 9, 12, 15, 19, 24),
    (0, 2, 4, 6, 8, 10, 13, 17, 21, 27),
    (0, 1, 2, 4, 7, 11, 14, 18, 22, 30),
)
"""Grid steps behind the best price; makers take turns, so that two of them leave few holes."""
TOLERANCE = 3
"""A level at distance d may be off by (d + 1) // TOLERANCE steps, and too deep by one at least."""
MOVE_THRESHOLD = 0.6
"""Grid steps that the value moves before the quotes do."""
HALF_SPREAD_BY_SWING = 0.35
OPINION_DEVIATION = 0.3
OPINION_HALF_LIFE_S = 20.0
INVENTORY_ORDERS_PER_STEP = 25.0
"""So many ordinary orders too much or too little move the quotes by one grid step."""
SKEW_MAX = 6.0
TARGET_HALF_LIFE_S = 900.0
SIZE_SPREAD = 0.45
SIZE_BY_DISTANCE = 0.09
REFILL_BELOW = 0.3
"""A quote with less than this part of an ordinary order left is made new."""
FIRST = -1
LAST = 1000
"""Urgencies; in between it is the distance from the best price."""
CROSSED_PATIENCE = 3
"""So many steps a maker waits for a price in its way to go, before it trades with it."""


@dataclass(slots=True)
class Quotes:
    """What a maker remembers of one market."""

    target_lots: float
    endowment_lots: int
    opinion: float = 0.0
    anchor: float = math.nan
    needs_work: bool = True
    crossed_steps: int = 0


class Maker:
    """Quotes one account's ladder in all markets."""

    def __init__(self, number: int, endowment_lots: dict[str, int], cash_reserve: dict[str, float]) -> None:
        self.offsets = LADDERS[number % len(LADDERS)]
        self._half_spread = SimulatedTraders().half_spread
        self._cash_reserve = cash_reserve
        self._quotes = {symbol: Quotes(float(lots), lots) for symbol, lots in endowment_lots.items()}

    def set_half_spread(self, grid_steps: float) -> None:
        """From the value to the best quote, while the market is quiet."""
        self._half_spread = grid_steps
        for quotes in self._quotes.values():
            quotes.needs_work = True

    def note_change(self, symbol: str) -> None:
        """An order of this maker changed: look at the market again."""
        self._quotes[symbol].needs_work = True

    def decide(self, market: Market, account: Account, dt: float, chance: Random, actions_max: int) -> list[Action]:
        """What to do now, the most urgent first, at most `actions_max`."""
        quotes = self._quotes[market.symbol]
        self._drift(quotes, account.lots.get(market.symbol, 0), dt, chance)
        price = market.value + market.grid * (quotes.opinion + self._skew(market, quotes, account))
        moved = not abs(price - quotes.anchor) <= MOVE_THRESHOLD * market.grid
        if not moved and not quotes.needs_work:
            return []
        if moved:
            quotes.anchor = price
        half = market.grid * (self._half_spread + HALF_SPREAD_BY_SWING * max(0.0, market.swing - 0.8))
        orders = account.orders_in(market.symbol)
        work = _Work(market, account, self._cash_reserve.get(market.currency, 0.0), chance)
        crossed_before = quotes.crossed_steps
        for side in (BUY, SELL):
            best = market.on_grid(quotes.anchor - side * half, side)
            if self._may_cross(market, quotes, side, best):
                self._plan_side(work, side, best, [order for order in orders if order.side == side])
        is_crossed = quotes.crossed_steps > crossed_before
        if not is_crossed:
            quotes.crossed_steps = 0
        actions = work.in_order()
        quotes.needs_work = len(actions) > actions_max or is_crossed
        return actions[:actions_max]

    def _drift(self, quotes: Quotes, lots: int, dt: float, chance: Random) -> None:
        fade = 1.0 - 0.5 ** (dt / OPINION_HALF_LIFE_S)
        quotes.opinion += -quotes.opinion * fade + OPINION_DEVIATION * math.sqrt(2.0 * fade) * chance.gauss(0.0, 1.0)
        target = quotes.target_lots + (lots - quotes.target_lots) * (1.0 - 0.5 ** (dt / TARGET_HALF_LIFE_S))
        quotes.target_lots = min(max(target, 0.5 * quotes.endowment_lots), 1.5 * quotes.endowment_lots)

    def _skew(self, market: Market, quotes: Quotes, account: Account) -> float:
        excess = account.lots.get(market.symbol, 0) - quotes.target_lots
        steps = excess / (INVENTORY_ORDERS_PER_STEP * market.ordinary_lots)
        return -max(-SKEW_MAX, min(SKEW_MAX, steps))

    def _may_cross(self, market: Market, quotes: Quotes, side: int, best: int) -> bool:
        """Whether the best quote may go where it is wanted, even where it trades with what stands there.

        Mostly what stands there is a quote that its owner is about to move: it gets a moment. What is still there then is stale, and
        taken: so prices move by trades.
        """
        opposite = market.ask if side == BUY else market.bid
        if opposite is None or (opposite - best) * side > 0:
            return True
        quotes.crossed_steps += 1
        return quotes.crossed_steps > CROSSED_PATIENCE

    def _plan_side(self, work: "_Work", side: int, best: int, orders: list[OwnOrder]) -> None:
        missing, front, back = match_ladder(self.offsets, orders, best, side, work.market)
        for order in front:
            # Too good a price: away with it first, to the deepest level that is missing.
            if missing:
                work.move(order, side, best, missing.pop(), urgency=FIRST)
            else:
                work.cancel(order, urgency=FIRST)
        for offset in missing:
            if back:
                work.move(back.pop(), side, best, offset, urgency=offset)
            else:
                work.place(side, best, offset)
        for order in back:
            work.cancel(order, urgency=LAST)


def match_ladder(
    offsets: Sequence[int], orders: Sequence[OwnOrder], best: int, side: int, market: Market
) -> tuple[list[int], list[OwnOrder], list[OwnOrder]]:
    """Which distances have no order; which orders stand too far in front; which others are not needed (the most useless last).

    Orders on their way count where they are going, and are not given out again.
    """
    placed = sorted(((best - order.ticks) * side / market.grid, number, order) for number, order in enumerate(orders))
    missing: list[int] = []
    front: list[OwnOrder] = []
    back: list[OwnOrder] = []
    index = 0
    for offset in offsets:
        tolerance = (offset + 1) // TOLERANCE
        while index < len(placed) and placed[index][0] < offset - tolerance:
            (front if placed[index][0] < 0 else back).append(placed[index][2])
            index += 1
        if index < len(placed) and placed[index][0] <= offset + max(1, tolerance):
            order = placed[index][2]
            index += 1
            if order.is_pending or order.leaves_lots >= REFILL_BELOW * market.ordinary_lots:
                continue
            back.append(order)
        missing.append(offset)
    back.extend(order for _, _, order in placed[index:])
    return (
        missing,
        [order for order in front if not order.is_pending],
        [order for order in back if not order.is_pending],
    )


class _Work:
    """Collects one decision's actions while it watches what the account can afford."""

    def __init__(self, market: Market, account: Account, cash_reserve: float, chance: Random) -> None:
        self.market = market
        self._actions: list[tuple[int, Action]] = []
        self._chance = chance
        self._free_lots = account.free_lots.get(market.symbol, 0)
        self._cash = account.cash.get(market.currency, 0.0) - cash_reserve

    def move(self, order: OwnOrder, side: int, best: int, offset: int, *, urgency: int) -> None:
        ticks = best - side * offset * self.market.grid
        wanted = self._size(offset)
        leaves = order.leaves_lots
        if leaves < 0.5 * wanted and self._can_hold(side, ticks, wanted - leaves):
            leaves = wanted
        self._actions.append((urgency, Replace(order, order.filled_lots + leaves, ticks)))

    def cancel(self, order: OwnOrder, *, urgency: int) -> None:
        self._actions.append((urgency, Cancel(order)))

    def place(self, side: int, best: int, offset: int) -> None:
        ticks = best - side * offset * self.market.grid
        lots = self._size(offset)
        if ticks > 0 and self._can_hold(side, ticks, lots):
            self._actions.append((offset, Place(self.market.symbol, side, lots, ticks, "gtc")))

    def in_order(self) -> list[Action]:
        """The most urgent first."""
        return [action for _, action in sorted(self._actions, key=lambda item: item[0])]

    def _can_hold(self, side: int, ticks: int, lots: int) -> bool:
        if side == SELL:
            if lots > self._free_lots:
                return False
            self._free_lots -= lots
            return True
        worth = ticks * lots * self.market.tick_worth * 1.001
        if worth > self._cash:
            return False
        self._cash -= worth
        return True

    def _size(self, offset: int) -> int:
        mean = self.market.ordinary_lots * (0.9 + SIZE_BY_DISTANCE * offset)
        return rounded_lots(mean * self._chance.lognormvariate(0.0, SIZE_SPREAD), self.market)


def rounded_lots(lots: float, market: Market) -> int:
    """A size as people choose them: two digits at most, within what the instrument takes."""
    if lots < 10:
        whole = max(1, round(lots))
    else:
        power = 10 ** (math.floor(math.log10(lots)) - 1)
        whole = round(lots / power) * power
    return min(max(whole, market.lots_min), market.lots_max)
