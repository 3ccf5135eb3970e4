"""Price, then time (CME: F): what an instrument without matching rules has, for those that ask for it by name."""

from collections.abc import Sequence

from trading_engine.venue.instrument import MatchingRules
from trading_engine.venue.matching import Allocation, Offer, Share

NAME = "price-time"
IN_TIME_ORDER = True


def allocate(_rules: MatchingRules, incoming_lots: int, offers: Sequence[Offer]) -> Sequence[Share]:
    allocation = Allocation(incoming_lots, offers)
    allocation.in_time_order()
    return allocation.shares
