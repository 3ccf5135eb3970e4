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
    OPG = 2
    """At the opening: for the opening call, and canceled after it."""
    IOC = 3
    FOK = 4
    GTD = 6
    CLS = 7
    """At the close: for the closing call, and canceled after it."""

    @property
    def is_immediate(self) -> bool:
        """Whether what does not trade at once is canceled instead of resting."""
        return self in (TimeInForce.IOC, TimeInForce.FOK)

    @property
    def is_for_auction(self) -> bool:
        return self in (TimeInForce.OPG, TimeInForce.CLS)

    @property
    def ends_with_day(self) -> bool:
        return self is TimeInForce.DAY or self.is_for_auction


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


class Contingency(IntEnum):
    """How the orders of a group depend on each other: FIX ContingencyType(1385), which has no value for a bracket."""

    OCO = 1
    """One cancels the other."""
    OTO = 2
    """One triggers the other."""
    BRACKET = 20
    """One triggers two that cancel each other: an entry, and its exits for profit and for loss."""

    @property
    def has_primary(self) -> bool:
        return self is not Contingency.OCO

    @property
    def has_two_exits(self) -> bool:
        return self is not Contingency.OTO


class TradingPhase(IntEnum):
    """What an instrument's market takes: see `PHASE_RULES`."""

    CLOSED = 0
    CONTINUOUS = 1
    HALTED = 2
    PRE_OPEN = 3
    OPENING_CALL = 4
    VOLATILITY_CALL = 5
    INTRADAY_CALL = 6
    CLOSING_CALL = 7
    REOPENING_CALL = 8
    """After a halt."""
    CLOSING_PUBLICATION = 9
    """The closing price stands: time to look at it."""
    CLOSING_CROSS = 10
    """Trading at the closing price only."""
    POST_CLOSE = 11


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
    call: bool = False
    """Orders gather for an auction, with which the phase ends."""
    then: TradingPhase | None = None
    """The phase that follows a call whose planned end has come."""


PHASE_RULES = {
    #                                    new    replace  cancel  match
    TradingPhase.CLOSED: PhaseRule(False, False, True, False, Reason.MARKET_CLOSED),
    TradingPhase.CONTINUOUS: PhaseRule(True, True, True, True, None),
    # A replace could improve a price while others cannot answer, so it waits for the end of the halt; whoever wants out gets out.
    TradingPhase.HALTED: PhaseRule(False, False, True, False, Reason.TRADING_HALTED),
    # JSE: start of trading takes new orders and cancels only.
    TradingPhase.PRE_OPEN: PhaseRule(True, False, True, False, Reason.SESSION_DOES_NOT_ALLOW),
    TradingPhase.OPENING_CALL: PhaseRule(True, True, True, False, None, True, TradingPhase.CONTINUOUS),
    TradingPhase.VOLATILITY_CALL: PhaseRule(True, True, True, False, None, True, TradingPhase.CONTINUOUS),
    TradingPhase.INTRADAY_CALL: PhaseRule(True, True, True, False, None, True, TradingPhase.CONTINUOUS),
    TradingPhase.CLOSING_CALL: PhaseRule(True, True, True, False, None, True, TradingPhase.CLOSING_PUBLICATION),
    TradingPhase.REOPENING_CALL: PhaseRule(True, True, True, False, None, True, TradingPhase.CONTINUOUS),
    TradingPhase.CLOSING_PUBLICATION: PhaseRule(False, False, True, False, Reason.MARKET_CLOSED),
    # What matches there does so at one price: see `sessions.cross_at_close`.
    TradingPhase.CLOSING_CROSS: PhaseRule(True, True, True, False, None),
    TradingPhase.POST_CLOSE: PhaseRule(False, False, True, False, Reason.MARKET_CLOSED),
}
