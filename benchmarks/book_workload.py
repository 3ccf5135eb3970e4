"""The canonical workload of the bare order book: five regimes, two million messages each, from a seed.

A reference price follows the regime's path with noise. New orders rest at an exponential distance behind it; 15 % of new orders are
immediate and reach a few ticks across. Resting orders are later modified (20 %: a new price near the reference, or a new quantity)
and canceled (95 %), roughly in the order of their arrival, and one cancel in fifty comes twice. Orders that were matched meanwhile
are modified and canceled all the same, as happens on real markets: those messages are refused.

| Regime | Path of the reference price, from 100,000 ticks | Orders meant to rest |
|---|---|---|
| calm | within 10 ticks | 100,000 |
| normal | a day within 2 % | 10,000 |
| swing25 | up and down by 25 % | 10,000 |
| swing40 | up and down by 40 % | 5,000 |
| crash60 | down by 60 % within a tenth of the messages, back in another | 5,000 |
"""

from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from trading_engine.venue.fast.bare_book import CANCEL, MESSAGE, MODIFY, NEW

CENTRE = 100_000
MESSAGES = 2_000_000


@dataclass(frozen=True, slots=True)
class Regime:
    name: str
    resting: int
    distance: float
    """Mean distance of a new order from the reference price, in ticks."""

    def path(self, count: int) -> NDArray[np.int64]:
        """The reference price at each message, without noise."""
        x = np.linspace(0.0, 1.0, count)
        shape = {
            "calm": 0.0001 * np.sin(40 * x),
            "normal": 0.01 * np.sin(9 * x) + 0.002 * np.sin(90 * x),
            "swing25": 0.25 * np.sin(4 * np.pi * x),
            "swing40": 0.40 * np.sin(4 * np.pi * x),
            "crash60": -0.60 * np.clip(np.minimum((x - 0.4) * 10, (0.7 - x) * 10), 0.0, 1.0),
        }[self.name]
        return (CENTRE * (1.0 + shape)).astype(np.int64)


REGIMES = (
    Regime("calm", 100_000, 200.0),
    Regime("normal", 10_000, 50.0),
    Regime("swing25", 10_000, 50.0),
    Regime("swing40", 5_000, 50.0),
    Regime("crash60", 5_000, 50.0),
)


def generate(regime: Regime, seed: int = 1, count: int = MESSAGES) -> NDArray[np.void]:
    """The regime's messages (dtype MESSAGE), the same for the same seed."""
    columns = np.zeros((count, 6), np.int64)
    _fill(columns, regime.path(count), regime.resting, regime.distance, seed)
    messages = np.zeros(count, MESSAGE)
    for index, name in enumerate(("kind", "order_id", "side", "price", "quantity", "immediate")):
        messages[name] = columns[:, index]
    messages["tag"] = np.arange(count)
    return messages


def _fill_python(columns: Any, path: Any, resting: int, distance: float, seed: int) -> None:
    np.random.seed(seed)
    count = len(columns)
    ids = np.zeros(count + 1, np.int64)
    sides = np.zeros(count + 1, np.int64)
    # Working orders, oldest first, between `first` and `last`; an order that is to be modified goes back to the end.
    first, last, next_id, noise, row = 0, 0, 1, 0, 0
    while row < count:
        noise += np.random.randint(-1, 2)
        noise -= noise // 64
        price = path[row] + noise
        if last - first < resting or np.random.random() < 0.49:
            side = np.random.randint(0, 2)
            immediate = 1 if np.random.random() < 0.15 else 0
            away = -np.random.randint(1, 6) if immediate else min(int(np.random.exponential(distance)), 4000)
            columns[row, 0], columns[row, 1], columns[row, 2] = NEW, next_id, side
            columns[row, 3] = price + away if side else price - away
            columns[row, 4], columns[row, 5] = np.random.randint(1, 200), immediate
            row += 1
            if not immediate and last < count:
                ids[last], sides[last] = next_id, side
                last += 1
            next_id += 1
            continue
        # One of the oldest tenth, swapped to the front.
        pick = first + np.random.randint(0, max(1, (last - first) // 10))
        ids[first], ids[pick] = ids[pick], ids[first]
        sides[first], sides[pick] = sides[pick], sides[first]
        draw = np.random.random()
        if draw < 0.17:
            side = sides[first]
            away = min(int(np.random.exponential(distance)), 4000)
            columns[row, 0], columns[row, 1], columns[row, 2] = MODIFY, ids[first], side
            columns[row, 3] = price + away if side else price - away
            columns[row, 4] = np.random.randint(1, 200)
            row += 1
            if last < count:
                ids[last], sides[last] = ids[first], side
                last += 1
            first += 1
            continue
        if draw < 0.96:
            columns[row, 0], columns[row, 1], columns[row, 2] = CANCEL, ids[first], sides[first]
            row += 1
            if draw < 0.19 and row < count:
                columns[row] = columns[row - 1]
                row += 1
        first += 1


_fill = numba.njit(_fill_python)
