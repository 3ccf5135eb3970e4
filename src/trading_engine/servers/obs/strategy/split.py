"""A percentage goes by time, the rest in proportion, both after the top order and the lead market makers (CME: K)."""

from collections.abc import Sequence

from trading_engine.venue.instrument import PERCENT, MatchingRules
from trading_engine.venue.matching import Allocation, Offer, Share

NAME = "split"


def allocate(rules: MatchingRules, incoming_lots: int, offers: Sequence[Offer]) -> Sequence[Share]:
    allocation = Allocation(incoming_lots, offers)
    allocation.top()
    allocation.lead_market_makers(rules.lead_market_makers)
    allocation.in_time_order(allocation.left_lots * rules.fifo_percent // PERCENT)
    passed_over = allocation.pro_rata(allocation.left_lots, rules.pro_rata_lots_min)
    if rules.leveling:
        allocation.level_out(passed_over)
    allocation.in_time_order()
    return allocation.shares
