"""The call auction: orders gather for a while, then all that can trade does, at one price.

The price is found in four steps (ASX, and the CME's rules for the indicative opening price, say the same):

1. it trades the most;
2. of those prices, it leaves the smallest surplus (what one side wants at that price beyond what the other gives);
3. if the surplus of all that are left is of buyers, the highest, if of sellers, the lowest: the market's pressure;
4. otherwise the one closest to the reference price, of two that are equally close the higher one.

Candidates are the limits of limit orders within the crossed range (from the lowest limit of a seller to the highest of a buyer), and the
reference price. No other price trades more: between two neighbouring limits supply and demand stay as they are. So the book is not
crossed afterwards.

Everything here is a pure function of quantities and prices; `sessions.py` says when there is an auction, and carries it out.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import NamedTuple, TypeVar

import msgspec

from trading_engine.venue.order_book import RestingOrder

Order = TypeVar("Order")

EXTENSIONS_MAX = 100
"""A call can be extended so many times for each reason at the most."""


EXTENSION_NS_MAX = 86_400 * 10**9


class AuctionRules(msgspec.Struct, frozen=True, array_like=True):
    """When a call does not end at its planned end, but goes on for `extension_ns` more (LSE: price monitoring, market order extension)."""

    collar_ppm: int = 0
    """Its price would be further than this from the reference price, in parts per million; 0: any price will do."""
    price_extensions_max: int = 0
    """So many times for that reason."""
    market_order_extensions_max: int = 0
    """So many times because a market order would not be filled."""
    extension_ns: int = 60 * 10**9


class BandRules(msgspec.Struct, frozen=True, array_like=True):
    """Between which prices trades happen, and what does instead of others: see `bands.py`. Widths in parts per million; 0: none."""

    dynamic_ppm: int = 0
    """Around the last price."""
    static_ppm: int = 0
    """Around the price of the last auction."""
    call_ns: int = 0
    """How long the volatility call is that begins; 0: there is none, the incoming order ends."""


class LimitBandRules(msgspec.Struct, frozen=True, array_like=True):
    """Limit up, limit down: see `limit_bands.py`. The defaults are those of the US plan."""

    width_ppm: int
    """How far the bands are from the reference price, in parts per million."""
    width_ticks_max: int = 0
    """And at most so far; 0: no such bound."""
    change_ppm: int = 10_000
    """The mean of the last trades becomes the reference when it is at least this far from it."""
    window_ns: int = 300 * 10**9
    """The last trades are those of so long."""
    update_ns: int = 30 * 10**9
    """The reference stays for at least so long."""
    limit_state_ns: int = 15 * 10**9
    """A limit state that lasts so long ends in a trading pause."""
    pause_ns: int = 300 * 10**9
    """How long the pause is."""


class AuctionPrice(NamedTuple):
    price_ticks: int
    """0: nothing can trade."""
    matched_lots: int
    surplus_lots: int
    """What buyers want at this price less what sellers give at it."""


NO_PRICE = AuctionPrice(0, 0, 0)


class Call:
    """What a market keeps for its auctions beside the book."""

    __slots__ = (
        "auction_price_ticks",
        "ends_ns",
        "indication",
        "market_order_extensions",
        "price_extensions",
        "waiting",
    )

    def __init__(self) -> None:
        self.waiting: dict[int, RestingOrder] = {}
        """Orders that are in no book, in order of entry: market orders of the call, and what waits for the closing call to begin."""
        self.auction_price_ticks = 0
        """Of the last auction; 0 before the first."""
        self.ends_ns = 0
        """When the call is to end, 0 where nothing is planned."""
        self.price_extensions = 0
        self.market_order_extensions = 0
        self.indication = NO_PRICE
        """The last one that was published in this call."""


def find_price(
    buys: Mapping[int, int], sells: Mapping[int, int], candidates: Iterable[int], reference_ticks: int
) -> AuctionPrice:
    """The auction's price for so many lots of buyers and sellers by limit. A reference of 0 is none: the middle stands for it then."""
    outcomes = list(outcomes_at(buys, sells, sorted(candidates)))
    matched_lots = max((outcome.matched_lots for outcome in outcomes), default=0)
    if matched_lots == 0:
        return NO_PRICE
    most = [outcome for outcome in outcomes if outcome.matched_lots == matched_lots]
    surplus_lots = min(abs(outcome.surplus_lots) for outcome in most)
    best = [outcome for outcome in most if abs(outcome.surplus_lots) == surplus_lots]
    if all(outcome.surplus_lots > 0 for outcome in best):
        return best[-1]
    if all(outcome.surplus_lots < 0 for outcome in best):
        return best[0]
    near = reference_ticks or (best[0].price_ticks + best[-1].price_ticks) // 2
    return min(best, key=lambda outcome: (abs(outcome.price_ticks - near), -outcome.price_ticks))


def outcomes_at(buys: Mapping[int, int], sells: Mapping[int, int], prices: Sequence[int]) -> Iterator[AuctionPrice]:
    """What would come of each price."""
    buy_limits, sell_limits = sorted(buys), sorted(sells)
    wanted_below = [0, *accumulate(buys[limit] for limit in buy_limits)]
    given_up_to = [0, *accumulate(sells[limit] for limit in sell_limits)]
    for price_ticks in prices:
        wanted = wanted_below[-1] - wanted_below[bisect_left(buy_limits, price_ticks)]
        given = given_up_to[bisect_right(sell_limits, price_ticks)]
        yield AuctionPrice(price_ticks, min(wanted, given), wanted - given)


def pairs(
    buys: Iterable[tuple[Order, int]], sells: Iterable[tuple[Order, int]], matched_lots: int
) -> Iterator[tuple[Order, Order, int]]:
    """(buy, sell, lots) until `matched_lots` are given out, from (order, lots) of each side in order of priority."""
    buyers, sellers = iter(buys), iter(sells)
    wanted = given = 0
    while matched_lots:
        if wanted == 0:
            buy, wanted = next(buyers)
        if given == 0:
            sell, given = next(sellers)
        lots = min(wanted, given, matched_lots)
        yield buy, sell, lots
        wanted, given, matched_lots = wanted - lots, given - lots, matched_lots - lots
