"""Orders share in proportion to what they display, and what rounding leaves goes by time (CME: C; with `top` A and O; with lead market
makers as well Q)."""

from collections.abc import Sequence

from trading_engine.venue.instrument import MatchingRules
from trading_engine.venue.matching import Allocation, Offer, Share

NAME = "pro-rata"


def allocate(rules: MatchingRules, incoming_lots: int, offers: Sequence[Offer]) -> Sequence[Share]:
    allocation = Allocation(incoming_lots, offers)
    allocation.top()
    allocation.lead_market_makers(rules.lead_market_makers)
    allocation.pro_rata(allocation.left_lots, rules.pro_rata_lots_min)
    allocation.in_time_order()
    return allocation.shares
