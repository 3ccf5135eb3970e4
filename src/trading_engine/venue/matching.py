"""Who gets how much of what an incoming order takes, in markets that do not match by price and time alone.

Best price first is the same everywhere; what differs is how the orders of one price level share a quantity. A `Strategy` says that, and
only that: from the quantity and the orders of the level, in time order with what they display, it makes shares. It knows no accounts'
balances, no events, and no book. `meetings` asks it and turns its answer into trades to make, one level at a time:

- Only what is displayed is shared out. An iceberg whose slice is taken displays the next one from the back of the queue, and what the
  incoming order still wants is then shared out anew. Hidden orders come when nothing displayed is left, first come, first served.
- An incoming order that takes everything at the level, concealed quantity included, takes it in time order, whatever the algorithm.
- Self-trade prevention: where orders are met one after the other it comes when an own order's turn comes. Where all are met at once
  it comes first: every own order at the level could trade, so none of it is shared out before they are dealt with (CME: "in FIFO
  markets SMP cancels the orders that would have executed, in all other markets those that could have executed").

`Allocation` holds the steps that algorithms are made of, those of CME Globex (Matching Algorithm Steps: TOP, LMM, pro rata, split,
leveling, FIFO). An order gets one share, the sum over the steps, and shares are reported in the order in which the steps came to the
orders.

A strategy is as much a part of the rules as the code here: the same journal with another strategy under the same name is another
history.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from trading_engine.venue.instrument import PERCENT, MatchingRules
from trading_engine.venue.order_book import PriceLevel, RestingOrder
from trading_engine.venue.terms import SelfTradePrevention


class Offer(NamedTuple):
    """One order of a price level, as a strategy sees it."""

    order_id: int
    account_id: int
    displayed_lots: int
    total_lots: int
    """With what an iceberg keeps back."""
    top_lots: int
    """How much of what is displayed is filled first, because the order was the first to better the market."""


Share = tuple[int, int]
"""(position among the offers, lots)."""

Allocate = Callable[[MatchingRules, int, Sequence[Offer]], Sequence[Share]]
"""(the instrument's rules, incoming lots, offers in time order) → shares in the order in which they are reported.

The shares have to add up to the incoming or the displayed quantity, whichever is smaller; each is at least one lot, at most what its
order displays, and the only one of its order. Equal arguments have to make equal shares.
"""


class Strategy(NamedTuple):
    """A matching algorithm by its name."""

    name: str
    allocate: Allocate
    in_time_order: bool = False
    """Whether the orders of a level are met one after the other, first come first served, as in price-time."""


NO_STRATEGIES: Mapping[str, Strategy] = MappingProxyType({})


class UnknownStrategy(ValueError):
    """A state has an instrument whose matching algorithm the venue was not given."""


class TopOrder(NamedTuple):
    """The order that bettered its side of the market first, and how much of it is still filled first."""

    order_id: int
    lots: int


class Allocation:
    """A quantity on its way to the offers of one level, step by step."""

    __slots__ = ("_given", "left_lots", "offers")

    def __init__(self, incoming_lots: int, offers: Sequence[Offer]) -> None:
        self.offers = offers
        self.left_lots = min(incoming_lots, sum(offer.displayed_lots for offer in offers))
        """What no step has given yet."""
        self._given: dict[int, int] = {}

    @property
    def shares(self) -> list[Share]:
        assert self.left_lots == 0, self.left_lots
        return list(self._given.items())

    def open_lots(self, position: int) -> int:
        """What an offer displays and has not got yet."""
        return self.offers[position].displayed_lots - self._given.get(position, 0)

    def give(self, position: int, lots: int) -> int:
        """Give an offer so much, as far as it and the quantity go; returns what it got."""
        lots = min(lots, self.open_lots(position), self.left_lots)
        if lots > 0:
            self._given[position] = self._given.get(position, 0) + lots
            self.left_lots -= lots
        return lots

    def top(self) -> None:
        """The first order to better the market is filled first."""
        for position, offer in enumerate(self.offers):
            self.give(position, offer.top_lots)

    def lead_market_makers(self, percents: Sequence[tuple[int, int]]) -> None:
        """Each lead market maker's orders get their percentage of what the steps before have left, in time order.

        An order that was filled first as the top order does not count here (CME, LMM algorithm with TOP).
        """
        lots = self.left_lots
        for account_id, percent in percents:
            due_lots = lots * percent // PERCENT
            for position, offer in enumerate(self.offers):
                if offer.account_id == account_id and not offer.top_lots:
                    due_lots -= self.give(position, due_lots)

    def pro_rata(self, lots: int, lots_min: int) -> list[int]:
        """Share `lots` in proportion to what the offers still have, rounded down, nothing below `lots_min`.

        Returns the positions of those that had something to offer and got nothing.
        """
        open_lots = [self.open_lots(position) for position in range(len(self.offers))]
        total = sum(open_lots)
        passed_over = []
        for position, own_lots in enumerate(open_lots):
            share = lots * own_lots // total if total else 0
            if share >= lots_min:
                self.give(position, share)
            elif own_lots:
                passed_over.append(position)
        return passed_over

    def level_out(self, positions: Sequence[int]) -> None:
        """One lot each to these, the one that displays most first, among equals the oldest."""
        for position in sorted(positions, key=lambda position: -self.offers[position].displayed_lots):
            self.give(position, 1)

    def in_time_order(self, lots: int | None = None) -> None:
        """First come, first served: so many lots, or all that is left."""
        lots = self.left_lots if lots is None else lots
        for position in range(len(self.offers)):
            lots -= self.give(position, lots)


class Meeting(NamedTuple):
    """What an incoming order does with a resting one: trade, or, where both have one owner, be kept from it."""

    order: RestingOrder
    lots: int
    is_own: bool


class _Waiting:
    """A resting order as the plan sees it: the book itself changes only when a meeting takes place."""

    __slots__ = ("displayed_lots", "order", "top_lots", "total_lots")

    def __init__(self, order: RestingOrder, top: TopOrder | None) -> None:
        self.order = order
        self.total_lots = order.leaves_lots
        self.displayed_lots = order.leaves_lots - order.hidden_lots
        self.top_lots = top.lots if top is not None and top.order_id == order.order_id else 0

    @property
    def offer(self) -> Offer:
        return Offer(self.order.order_id, self.order.account_id, self.displayed_lots, self.total_lots, self.top_lots)

    def take(self, lots: int) -> bool:
        """Returns whether nothing of the order is left where it stands."""
        self.total_lots -= lots
        self.displayed_lots -= lots
        self.top_lots = max(0, self.top_lots - lots)
        return self.displayed_lots == 0

    def display_next(self) -> None:
        display = self.order.special.display_lots if self.order.special else 0
        self.displayed_lots = min(self.total_lots, display or self.total_lots)


def meetings(
    strategy: Strategy,
    rules: MatchingRules,
    level: PriceLevel,
    top: TopOrder | None,
    incoming_lots: int,
    prevention: SelfTradePrevention,
    is_own: Callable[[RestingOrder], bool],
) -> Iterator[Meeting]:
    """The meetings of an incoming quantity at one level, in order. Whoever takes them may let the book follow each at once.

    Stop taking them when a meeting has ended the incoming order.
    """
    displayed = [_Waiting(order, top) for order in level.orders.values()]
    hidden = [_Waiting(order, None) for order in level.hidden_orders.values()]
    left_lots = incoming_lots
    while left_lots and (displayed or hidden):
        for waiting, lots in _round(strategy, rules, displayed, hidden, left_lots, is_own):
            own = is_own(waiting.order)
            yield Meeting(waiting.order, lots, own)
            queue = displayed or hidden
            if own and prevention is SelfTradePrevention.CANCEL_RESTING:
                queue.remove(waiting)
                break
            left_lots -= lots
            if waiting.take(lots):
                queue.remove(waiting)
                if waiting.total_lots:
                    waiting.display_next()
                    queue.append(waiting)


def _round(
    strategy: Strategy,
    rules: MatchingRules,
    displayed: list[_Waiting],
    hidden: list[_Waiting],
    left_lots: int,
    is_own: Callable[[RestingOrder], bool],
) -> list[tuple[_Waiting, int]]:
    """What comes next, as far as it can be said before an order displays anew or is canceled."""
    if not displayed:
        return [(hidden[0], min(hidden[0].total_lots, left_lots))]
    takes_all = left_lots >= sum(waiting.total_lots for waiting in (*displayed, *hidden))
    if not takes_all and not strategy.in_time_order:
        own = next((waiting for waiting in displayed if is_own(waiting.order)), None)
        if own is not None:
            return [(own, min(own.displayed_lots, left_lots))]
    offers = [waiting.offer for waiting in displayed]
    shares = in_time_order(rules, left_lots, offers) if takes_all else strategy.allocate(rules, left_lots, offers)
    assert is_sound(shares, left_lots, offers), (strategy.name, rules, left_lots, offers, shares)
    return [(displayed[position], lots) for position, lots in shares]


def in_time_order(_rules: MatchingRules, incoming_lots: int, offers: Sequence[Offer]) -> Sequence[Share]:
    allocation = Allocation(incoming_lots, offers)
    allocation.in_time_order()
    return allocation.shares


def is_sound(shares: Sequence[Share], incoming_lots: int, offers: Sequence[Offer]) -> bool:
    """Whether shares are what `Allocate` asks for."""
    displayed_lots = sum(offer.displayed_lots for offer in offers)
    return (
        len({position for position, _ in shares}) == len(shares)
        and all(0 < lots <= offers[position].displayed_lots for position, lots in shares)
        and sum(lots for _, lots in shares) == min(incoming_lots, displayed_lots)
    )
