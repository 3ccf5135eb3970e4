"""Orders for an amount of money, where the venue knows quantities only."""

from trading_engine.servers.tes.services.market_data import Market
from trading_engine.venue.terms import Side


def lots_for_amount(market: Market, side: Side, amount: int) -> int:
    """So much of the book as it is now as the amount, in minor units, buys or fetches: whole lots, best price first."""
    lots, opposite = 0, market.sides[side.opposite]
    for price_ticks in opposite.prices(None):
        value = price_ticks * market.instrument.tick_value
        taken = min(opposite.levels[price_ticks][0], amount // value)
        lots, amount = lots + taken, amount - taken * value
        if amount < value:
            break
    return lots


def lots_at_price(market: Market, price_ticks: int, amount: int) -> int:
    """The whole lots that the amount, in minor units, is worth at a price."""
    return amount // (price_ticks * market.instrument.tick_value)
