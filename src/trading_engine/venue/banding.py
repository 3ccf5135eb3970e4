"""What limit bands do in a market: they price orders to themselves, and are moved. What they are stands in `limit_bands.py`."""

from typing import TYPE_CHECKING

from trading_engine.venue import events as e
from trading_engine.venue.limit_bands import LimitBands
from trading_engine.venue.market import Market
from trading_engine.venue.order_book import BookSide, RestingOrder
from trading_engine.venue.terms import Side

if TYPE_CHECKING:
    from trading_engine.venue.venue import Venue


def price_incoming(venue: "Venue", market: Market, limits: LimitBands, order: RestingOrder) -> None:
    """Before it matches."""
    price_ticks = limits.within(order.side, order.price_ticks)
    if price_ticks != order.price_ticks:
        restate(venue, market, order, price_ticks)


def price_to_bands(venue: "Venue", market: Market, limits: LimitBands) -> None:
    """Bids, then asks, in order of priority: each goes to the back of the queue at its band. None of them meets anybody there, as it gives
    way."""
    for side in Side:
        for order in beyond(market.book.side(side), limits):
            venue._leave_level(market, order)
            restate(venue, market, order, limits.within(side, order.price_ticks))
            venue._rest(market, order)


def beyond(book_side: BookSide, limits: LimitBands) -> list[RestingOrder]:
    """The orders that stand where nobody may trade with them, in order of priority."""
    orders: list[RestingOrder] = []
    for price_ticks in book_side.prices_best_first():
        if limits.within(book_side.side, price_ticks) == price_ticks:
            break
        orders += book_side.levels[price_ticks]
    return orders


def restate(venue: "Venue", market: Market, order: RestingOrder, price_ticks: int) -> None:
    order.price_ticks = price_ticks
    venue._hold(market, order)
    venue._events.append(e.OrderRestated(order.order_id, order.account_id, price_ticks, 0))


def refer_to(venue: "Venue", market: Market, limits: LimitBands, reference_ticks: int) -> None:
    """Move the bands."""
    if reference_ticks == limits.reference_ticks:
        return
    limits.reference_ticks = reference_ticks
    venue._limits_touched.add(market.instrument.instrument_id)
    venue._events.append(
        e.LimitBandsChanged(market.instrument.instrument_id, reference_ticks, limits.lower_ticks, limits.upper_ticks)
    )
    if market.phase_rule.match:
        price_to_bands(venue, market, limits)


def auction_ends(venue: "Venue", market: Market, limits: LimitBands, price_ticks: int) -> None:
    limits.begin_anew()
    refer_to(venue, market, limits, price_ticks)


def phase_begins(venue: "Venue", market: Market, limits: LimitBands) -> None:
    venue._limits_touched.add(market.instrument.instrument_id)
    if market.phase_rule.match:
        price_to_bands(venue, market, limits)
    else:
        limits.begin_anew()


def update(venue: "Venue", market: Market, limits: LimitBands) -> None:
    """Look at the mean."""
    reference_ticks = limits.look(venue.time_ns)
    if reference_ticks:
        refer_to(venue, market, limits, reference_ticks)


def touched(venue: "Venue") -> list[tuple[Market, LimitBands]]:
    """The markets whose limit state this command may have changed, by instrument."""
    instrument_ids = (venue._levels_touched.keys() | venue._limits_touched) & venue._limited.keys()
    markets = (venue._markets[instrument_id] for instrument_id in sorted(instrument_ids))
    return [(market, market.limits) for market in markets if market.limits is not None]


def report_states(venue: "Venue") -> None:
    """Publish the limit states that have changed."""
    for market, limits in touched(venue):
        state = (limits.state_side, limits.state_ends_ns)
        if state != limits.told_state:
            limits.told_state = state
            side = limits.state_side or 0
            venue._events.append(e.LimitStateChanged(market.instrument.instrument_id, side, limits.state_ends_ns))
    venue._limits_touched.clear()
