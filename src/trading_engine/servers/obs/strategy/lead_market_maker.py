"""Lead market makers get their percentage before the rest goes by time (CME: T; with `top` S)."""

from collections.abc import Sequence

from trading_engine.venue.instrument import MatchingRules
from trading_engine.venue.matching import Allocation, Offer, Share

NAME = "lead-market-maker"


def allocate(rules: MatchingRules, incoming_lots: int, offers: Sequence[Offer]) -> Sequence[Share]:
    allocation = Allocation(incoming_lots, offers)
    allocation.top()
    allocation.lead_market_makers(rules.lead_market_makers)
    allocation.in_time_order()
    return allocation.shares
