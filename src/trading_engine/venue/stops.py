"""Orders that wait for the market to reach their stop price.

They are in no book: nobody sees them, nothing trades with them. A trade at or beyond the stop price elects them; a buy waits for the
market to rise to its stop, a sell for it to fall there. Elected orders enter the book after the command whose trades elected them is
done, those of one trade nearest stop first, at one stop in order of entry. Their own trades may elect more, which queue behind them.

A trailing stop follows the market at its distance while that moves away from it, and stays while it comes back. A move is an entry
anew at the new stop price.
"""

from bisect import bisect_left, insort
from collections.abc import Iterator

from trading_engine.venue.order_book import RestingOrder
from trading_engine.venue.terms import Side


class Stops:
    """The waiting orders of one instrument, by side and stop price; `prices` is sorted upwards."""

    __slots__ = ("count", "levels", "prices", "trailing")

    def __init__(self) -> None:
        self.count = 0
        self.levels: dict[Side, dict[int, dict[int, RestingOrder]]] = {Side.BUY: {}, Side.SELL: {}}
        self.prices: dict[Side, list[int]] = {Side.BUY: [], Side.SELL: []}
        self.trailing: dict[int, RestingOrder] = {}

    def add(self, order: RestingOrder) -> None:
        levels = self.levels[order.side]
        if order.stop_price_ticks not in levels:
            levels[order.stop_price_ticks] = {}
            insort(self.prices[order.side], order.stop_price_ticks)
        levels[order.stop_price_ticks][order.order_id] = order
        self.count += 1
        if trail_of(order):
            self.trailing[order.order_id] = order

    def remove(self, order: RestingOrder) -> None:
        levels, prices = self.levels[order.side], self.prices[order.side]
        del levels[order.stop_price_ticks][order.order_id]
        if not levels[order.stop_price_ticks]:
            del levels[order.stop_price_ticks]
            del prices[bisect_left(prices, order.stop_price_ticks)]
        self.count -= 1
        self.trailing.pop(order.order_id, None)

    def elect(self, last_price_ticks: int) -> list[RestingOrder]:
        """Take out those that a trade at this price elects."""
        elected = self.reached(last_price_ticks)
        for order in elected:
            self.remove(order)
        return elected

    def reached(self, last_price_ticks: int) -> list[RestingOrder]:
        """What a trade at this price elects, in the order in which it is to enter the book."""
        reached: list[RestingOrder] = []
        for side in Side:
            for price_ticks in self.nearest_first(side):
                if not is_reached(side, price_ticks, last_price_ticks):
                    break
                reached += self.levels[side][price_ticks].values()
        return reached

    def followers(self, last_price_ticks: int) -> list[tuple[RestingOrder, int]]:
        """(order, new stop price) of the trailing stops that a trade at this price moves, in order of entry into the venue."""
        moves = [(order, trailed_stop(order, last_price_ticks)) for _, order in sorted(self.trailing.items())]
        return [(order, stop) for order, stop in moves if stop != order.stop_price_ticks]

    def quiet_prices(self, price_ticks_max: int) -> tuple[int, int]:
        """(lowest, highest) of the prices at which a trade neither elects nor moves an order; there are none where the lowest is higher."""
        lowest, highest = 1, price_ticks_max
        for price_ticks in self.prices[Side.SELL][-1:]:
            lowest = price_ticks + 1
        for price_ticks in self.prices[Side.BUY][:1]:
            highest = price_ticks - 1
        for order in self.trailing.values():
            if order.side is Side.BUY:
                lowest = max(lowest, order.stop_price_ticks - trail_of(order))
            else:
                highest = min(highest, order.stop_price_ticks + trail_of(order))
        return lowest, highest

    def __iter__(self) -> Iterator[RestingOrder]:
        """Buys, then sells; nearest stop first, at one stop in order of entry."""
        for side in Side:
            for price_ticks in self.nearest_first(side):
                yield from self.levels[side][price_ticks].values()

    def nearest_first(self, side: Side) -> Iterator[int]:
        """Stop prices in the order in which the market would reach them."""
        return iter(self.prices[side]) if side is Side.BUY else reversed(self.prices[side])


def trail_of(order: RestingOrder) -> int:
    return order.special.trail_ticks if order.special else 0


def trailed_stop(order: RestingOrder, last_price_ticks: int) -> int:
    """Where the stop price of a trailing order is after a trade at this price."""
    if order.side is Side.BUY:
        return min(order.stop_price_ticks, last_price_ticks + trail_of(order))
    return max(order.stop_price_ticks, last_price_ticks - trail_of(order))


def is_reached(side: Side, stop_price_ticks: int, last_price_ticks: int) -> bool:
    return last_price_ticks >= stop_price_ticks if side is Side.BUY else last_price_ticks <= stop_price_ticks
