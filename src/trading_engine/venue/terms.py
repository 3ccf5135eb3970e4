"""The venue's vocabulary: sides, order types, times in force, phases. Numeric values are those of FIX 4.4 where FIX has them."""

from enum import IntEnum


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


class TimeInForce(IntEnum):
    """FIX TimeInForce(59)."""

    DAY = 0
    GTC = 1
    IOC = 3
    FOK = 4

    @property
    def is_immediate(self) -> bool:
        """Whether what does not trade at once is canceled instead of resting."""
        return self in (TimeInForce.IOC, TimeInForce.FOK)


class TradingPhase(IntEnum):
    """What an instrument's market takes: see `venue.PHASE_RULES`."""

    CLOSED = 0
    CONTINUOUS = 1
    HALTED = 2
