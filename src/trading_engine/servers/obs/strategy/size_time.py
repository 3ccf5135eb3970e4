"""The order that displays most comes first, among equals the oldest."""

from collections.abc import Sequence

from trading_engine.venue.instrument import MatchingRules
from trading_engine.venue.matching import Allocation, Offer, Share

NAME = "size-time"


def allocate(_rules: MatchingRules, incoming_lots: int, offers: Sequence[Offer]) -> Sequence[Share]:
    allocation = Allocation(incoming_lots, offers)
    for position in sorted(range(len(offers)), key=lambda position: -offers[position].displayed_lots):
        allocation.give(position, allocation.left_lots)
    return allocation.shares
