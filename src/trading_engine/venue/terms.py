"""The venue's vocabulary: sides, order types, times in force, phases. Numeric values are those of FIX 4.4 where FIX has them."""

from enum import IntEnum
from typing import NamedTuple

import msgspec

from trading_engine.venue.reasons import Reason


class Side(IntEnum):
    """FIX Side(54)."""

    BUY = 1
    SELL = 2

    @property
    def opposite(self) -> "Side":
        return Side.SELL if self is Side.BUY else Side.BUY


class OrderType(IntEnum):
    """FIX OrdType(40)."""

    MARKET = 1
    LIMIT = 2
    STOP = 3
    """Enters the book as a market order when a trade reaches its stop price; its protection counts from there."""
    STOP_LIMIT = 4
    MARKET_TO_LIMIT = 20
    """FIX's K: takes the best opposite price only, and rests there."""
    PEGGED = 21
    """FIX's P: follows a price of the book, and never goes beyond its limit."""

    @property
    def has_limit(self) -> bool:
        """Whether the client says the limit; otherwise the venue makes one."""
        return self in (OrderType.LIMIT, OrderType.STOP_LIMIT, OrderType.PEGGED)

    @property
    def is_stop(self) -> bool:
        return self in (OrderType.STOP, OrderType.STOP_LIMIT)


class TimeInForce(IntEnum):
    """FIX TimeInForce(59)."""

    DAY = 0
    GTC = 1
    IOC = 3
    FOK = 4
    GTD = 6

    @property
    def is_immediate(self) -> bool:
        """Whether what does not trade at once is canceled instead of resting."""
        return self in (TimeInForce.IOC, TimeInForce.FOK)


class SelfTradePrevention(IntEnum):
    """What happens instead of a trade between two orders of one owner. The incoming order's mode counts."""

    NONE = 0
    """They trade."""
    CANCEL_INCOMING = 1
    CANCEL_RESTING = 2
    """The incoming order goes on matching with others."""
    CANCEL_BOTH = 3
    DECREMENT = 4
    """The smaller quantity is taken off both; what is left of the larger one stays as it was."""


class PegPrice(IntEnum):
    """What a pegged order follows: FIX PegPriceType(1094)."""

    NONE = 0
    MID = 2
    """The middle between best bid and best ask, rounded to the order's own passive side."""
    MARKET = 4
    """The best price of the opposite side."""
    PRIMARY = 5
    """The best price of the order's own side."""


class TradingPhase(IntEnum):
    """What an instrument's market takes: see `PHASE_RULES`."""

    CLOSED = 0
    CONTINUOUS = 1
    HALTED = 2


class SpecialTerms(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What an order has beyond a plain one. Plain orders have none of it, and pay for none of it."""

    stop_price_ticks: int = 0
    """The trade price that a STOP or STOP_LIMIT order waits for."""
    display_lots: int = 0
    """Iceberg: at most so much of the order is displayed at a time, and only that has priority; 0: all of it."""
    hidden: bool = False
    """Nothing of the order is displayed; it comes after all that is, at its price."""
    expire_time_ns: int = 0
    """When a GTD order ends, in nanoseconds since the Unix epoch."""
    minimum_lots: int = 0
    """At least so much has to trade as the order enters the book, or it is canceled."""
    reprice: bool = False
    """A post-only order that would trade rests one tick away from the best opposite price instead of being refused."""
    trail_ticks: int = 0
    """Trailing stop: the stop price follows the last price, never further from it than this and never back; 0: it stays."""
    peg: PegPrice = PegPrice.NONE
    """What a PEGGED order follows."""
    peg_offset_ticks: int = 0
    """Added to what a PEGGED order follows, whichever side it is on (FIX PegOffsetValue)."""
    all_or_none: bool = False
    """The order trades only when all of it can be filled in one go; until then it rests undisplayed (FIX ExecInst G)."""


class PhaseRule(NamedTuple):
    """What a phase allows, and the refusal that everything else meets."""

    new: bool
    replace: bool
    cancel: bool
    match: bool
    refusal: Reason | None


PHASE_RULES = {
    #                                    new    replace  cancel  match
    TradingPhase.CLOSED: PhaseRule(False, False, True, False, Reason.MARKET_CLOSED),
    TradingPhase.CONTINUOUS: PhaseRule(True, True, True, True, None),
    # A replace could improve a price while others cannot answer, so it waits for the end of the halt; whoever wants out gets out.
    TradingPhase.HALTED: PhaseRule(False, False, True, False, Reason.TRADING_HALTED),
}
