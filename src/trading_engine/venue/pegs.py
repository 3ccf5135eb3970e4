"""Where a pegged order belongs: the price that it follows, its offset, and its limit.

What pegged orders follow are the best prices that are displayed by orders which are not pegged themselves; so none follows itself or
another that follows it, and bringing them to their prices cannot change those prices unless they trade. They are in the book in continuous
trading only. Without a price to follow, and where the offset leads out of the instrument's prices, they wait outside it.
"""

from trading_engine.venue.market import Market
from trading_engine.venue.order_book import OrderBook, RestingOrder
from trading_engine.venue.terms import PegPrice, Side, TradingPhase


def pegged_price(market: Market, order: RestingOrder) -> int:
    """The price in ticks at which the order has to stand now; 0 where it has to wait."""
    assert order.special, order
    if market.phase is not TradingPhase.CONTINUOUS:
        return 0
    followed_ticks = followed_price(market.book, order.side, order.special.peg)
    if followed_ticks is None:
        return 0
    price_ticks = followed_ticks + order.special.peg_offset_ticks
    if order.side is Side.BUY:
        return max(0, min(price_ticks, order.peg_limit_ticks))
    price_ticks = max(price_ticks, order.peg_limit_ticks)
    return price_ticks if price_ticks <= market.instrument.price_ticks_max else 0


def followed_price(book: OrderBook, side: Side, peg: PegPrice) -> int | None:
    """What an order of `side` follows, in ticks."""
    if peg is PegPrice.PRIMARY:
        return book.side(side).best_to_follow
    if peg is PegPrice.MARKET:
        return book.side(side.opposite).best_to_follow
    bid_ticks, ask_ticks = book.bids.best_to_follow, book.asks.best_to_follow
    if bid_ticks is None or ask_ticks is None:
        return None
    return (bid_ticks + ask_ticks + (side is Side.SELL)) // 2
