"""Where an instrument lets trades happen: within its collars around two reference prices (JSE and LSE style).

The dynamic reference is the last price as an incoming order finds it, so that one order cannot walk the reference before it; the static
one is the price of the last auction, before the first one the instrument's reference. A trade outside either collar does not happen.
What does instead is the instrument's choice: a volatility call, in which the order rests beside all others, or the end of the order,
which makes the collars an execution band.
"""

from typing import NamedTuple

from trading_engine.venue.instrument import PPM
from trading_engine.venue.market import Market


class Bounds(NamedTuple):
    """The lowest and the highest price, in ticks, at which an order may trade."""

    lowest: int
    highest: int


def bounds_of(market: Market) -> Bounds | None:
    """For an order that comes in now; None where it may trade at any price."""
    rules = market.instrument.bands
    if rules is None:
        return None
    lowest, highest = 0, market.instrument.price_ticks_max
    for reference, width_ppm in (
        (market.last_price_ticks, rules.dynamic_ppm),
        (market.call.auction_price_ticks or market.instrument.reference_price_ticks, rules.static_ppm),
    ):
        if reference and width_ppm:
            width = reference * width_ppm // PPM
            lowest, highest = max(lowest, reference - width), min(highest, reference + width)
    return Bounds(lowest, highest)
