"""A market's way through the phases of its day, and the auctions on that way.

While orders gather (`PhaseRule.match` is False, `new` is True) they rest without a match, so the book may be crossed. A call that is left
is uncrossed, and so is whatever crosses when a market begins to match; only a halt uncrosses nothing, it keeps what has gathered.

    enter ──▶ uncross (find the price, let stops join, trade, cancel what was for this auction only) ──▶ admit (CLS, to the closing call)

Two kinds of orders are in no book, but in `Call.waiting`: market orders while orders gather, which have no price to show, and orders at
the close (CLS) before the closing call. Of all that takes part, best price goes first; a market order, whose limit is its protection,
before limit orders at that price; then the queue as in the book. Nothing is kept back in an auction: icebergs take part with all
that is left of them in their place, what they conceal trading first; hidden orders come behind what is displayed. Self-trade prevention
has no say: there is one price for all, found for all, and nobody gains by trading with himself at it (LSE and Nasdaq do the same).
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from trading_engine.venue import banding
from trading_engine.venue import events as e
from trading_engine.venue.auction import NO_PRICE, AuctionPrice, find_price, pairs
from trading_engine.venue.instrument import PPM, TIME_NS_MAX
from trading_engine.venue.market import Market
from trading_engine.venue.order_book import RestingOrder, within_limit
from trading_engine.venue.reasons import EndReason
from trading_engine.venue.terms import PHASE_RULES, OrderType, Side, TimeInForce, TradingPhase

if TYPE_CHECKING:
    from trading_engine.venue.venue import Venue


# Phases


def enter(venue: "Venue", market: Market, phase: TradingPhase, ends_ns: int) -> None:
    """Move a market to a phase; of a phase that goes on, only the planned end changes."""
    market.call.ends_ns = ends_ns
    if phase is market.phase:
        return
    rule, ended = PHASE_RULES[phase], market.phase_rule
    if (ended.call and phase is not TradingPhase.HALTED) or (rule.match and not ended.match):
        uncross(venue, market)
    market.phase = phase
    if market.limits is not None:
        banding.phase_begins(venue, market, market.limits)
    market.call.price_extensions = market.call.market_order_extensions = 0
    market.call.indication = NO_PRICE
    venue._unsettle(market)
    if not rule.match:
        venue._reprice_pegs(market)  # They have no part in what is to come.
    if phase is TradingPhase.CLOSING_CROSS:
        cross_at_close(venue, market)
    if rule.call:
        venue._auctions_touched.add(market.instrument.instrument_id)
        admit(venue, market)


def admit(venue: "Venue", market: Market) -> None:
    """Limit orders whose call has begun enter the book, behind all that are there."""
    for order in list(market.call.waiting.values()):
        if order.order_type is OrderType.LIMIT and not waits(market, order):
            del market.call.waiting[order.order_id]
            venue._events.append(e.OrderTriggered(order.order_id, order.account_id))
            venue._rest(market, order)


def waits(market: Market, order: RestingOrder) -> bool:
    """Whether an order that is no stop has no place in the book yet."""
    if order.time_in_force is TimeInForce.CLS and market.phase is not TradingPhase.CLOSING_CALL:
        return True
    return order.order_type is OrderType.MARKET and not market.phase_rule.match


def gather(venue: "Venue", market: Market, order: RestingOrder) -> None:
    """Let an order in without a match. One that can only do with a match, a stop elected by an auction, ends."""
    if order.order_id in market.call.waiting:
        return
    if order.time_in_force is TimeInForce.FOK:
        venue._cancel_outside(market, order, EndReason.FOK_NOT_FILLABLE)
    elif needs_minimum(order):
        venue._cancel_outside(market, order, EndReason.MINIMUM_NOT_FILLABLE)
    elif order.time_in_force is TimeInForce.IOC:
        venue._cancel_outside(market, order, EndReason.IOC_REMAINDER)
    else:
        venue._rest(market, order)
        if market.phase is TradingPhase.CLOSING_CROSS:
            cross_at_close(venue, market)


def interrupt(venue: "Venue", market: Market, phase: TradingPhase, duration_ns: int) -> None:
    """Let a phase begin that no command has asked for; 0: no end of it is planned."""
    ends_ns = min(venue.time_ns + duration_ns, TIME_NS_MAX) if duration_ns else 0
    instrument_id = market.instrument.instrument_id
    venue._events.append(e.TradingPhaseChanged(instrument_id, phase, trading_day_ends=False, ends_ns=ends_ns))
    enter(venue, market, phase, ends_ns)


def next_end(venue: "Venue") -> int:
    """The earliest planned end of a call or a halt, 0 where there is none."""
    return min((market.call.ends_ns for market in venue._markets.values() if market.call.ends_ns), default=0)


def end_call(venue: "Venue", due_ns: int) -> None:
    """The call whose planned end has come: it ends, or goes on for a while. A halt is followed by a call."""
    due = (instrument_id for instrument_id, market in venue._markets.items() if market.call.ends_ns == due_ns)
    market = venue._markets[min(due)]
    if market.phase is TradingPhase.HALTED:
        reopen(venue, market)
        return
    if extend(venue, market):
        return
    phase = market.phase_rule.then
    assert phase is not None, market.phase
    venue._events.append(e.TradingPhaseChanged(market.instrument.instrument_id, phase, trading_day_ends=False))
    enter(venue, market, phase, 0)


def reopen(venue: "Venue", market: Market) -> None:
    """After a halt of circuit breakers; without a call where there are none any more."""
    rules = venue._breakers.rules
    if rules is not None:
        interrupt(venue, market, TradingPhase.REOPENING_CALL, rules.call_ns)
    else:
        interrupt(venue, market, TradingPhase.CONTINUOUS, 0)


def extend(venue: "Venue", market: Market) -> bool:
    """Whether the instrument's rules let a call go on beyond its planned end."""
    rules, call = market.instrument.auctions, market.call
    if rules is None:
        return False
    price = auction_price(market)
    is_far = is_outside_collar(price.price_ticks, market.last_price_ticks, rules.collar_ppm)
    if is_far and call.price_extensions < rules.price_extensions_max:
        call.price_extensions += 1
        is_for_market_orders = False
    elif call.market_order_extensions < rules.market_order_extensions_max and leaves_market_order(market, price):
        call.market_order_extensions += 1
        is_for_market_orders = True
    else:
        return False
    call.ends_ns = min(call.ends_ns + rules.extension_ns, TIME_NS_MAX)
    venue._events.append(e.AuctionExtended(market.instrument.instrument_id, is_for_market_orders, call.ends_ns))
    return True


def is_outside_collar(price_ticks: int, reference_ticks: int, collar_ppm: int) -> bool:
    if not (price_ticks and reference_ticks and collar_ppm):
        return False
    return abs(price_ticks - reference_ticks) * PPM > reference_ticks * collar_ppm


def leaves_market_order(market: Market, price: AuctionPrice) -> bool:
    """Whether a market order would not be filled."""
    for side in Side:
        left_lots = price.matched_lots
        for order in ranked(market, side, price.price_ticks) if price.matched_lots else ():
            left_lots -= order.leaves_lots
            if left_lots < 0 and order.order_id in market.call.waiting:
                return True
        if any(not is_within(order, price.price_ticks) for order in market_orders(market, side)):
            return True
    return False


# The auction


def auction_price(market: Market) -> AuctionPrice:
    """What an auction now would come to."""
    lowest, highest = crossed_range(market)
    if lowest > highest:
        return NO_PRICE
    buys, sells = limits(market, Side.BUY, lowest), limits(market, Side.SELL, highest)
    candidates = {*buys, *sells}
    if market.last_price_ticks:
        candidates.add(market.last_price_ticks)
    for side, lots_by_limit in ((Side.BUY, buys), (Side.SELL, sells)):
        for order in market_orders(market, side):
            lots_by_limit[order.price_ticks] = lots_by_limit.get(order.price_ticks, 0) + order.leaves_lots
    return find_price(buys, sells, candidates, market.last_price_ticks)


def crossed_range(market: Market) -> tuple[int, int]:
    """(lowest limit of a seller, highest limit of a buyer), upside down where nothing can trade."""
    bids = [order.price_ticks for order in market_orders(market, Side.BUY)]
    asks = [order.price_ticks for order in market_orders(market, Side.SELL)]
    bids += market.book.bids.prices[-1:]
    asks += market.book.asks.prices[:1]
    return (min(asks), max(bids)) if asks and bids else (1, 0)


def limits(market: Market, side: Side, bound_ticks: int) -> dict[int, int]:
    """Lots by limit of the orders in the book that may trade at the bound."""
    found = {}
    book_side = market.book.side(side)
    for price_ticks in book_side.prices_best_first():
        if not within_limit(side, price_ticks, bound_ticks):
            break
        level = book_side.levels[price_ticks]
        found[price_ticks] = level.quantity_lots + level.hidden_lots
    return found


def market_orders(market: Market, side: Side) -> list[RestingOrder]:
    """Those that take part, in order of entry."""
    return [order for order in market.call.waiting.values() if order.side is side and takes_part(market, order)]


def takes_part(market: Market, order: RestingOrder) -> bool:
    """Of the orders that wait, those at the close take part in no other auction."""
    return order.time_in_force is not TimeInForce.CLS or market.phase is TradingPhase.CLOSING_CALL


def is_within(order: RestingOrder, price_ticks: int) -> bool:
    return price_ticks > 0 and within_limit(order.side, order.price_ticks, price_ticks)


def ranked(market: Market, side: Side, price_ticks: int) -> list[RestingOrder]:
    """The orders that may trade at this price, in order of priority."""
    orders = [order for order in market_orders(market, side) if is_within(order, price_ticks)]
    book_side = market.book.side(side)
    for level_ticks in book_side.prices_best_first():
        if not within_limit(side, level_ticks, price_ticks):
            break
        orders += book_side.levels[level_ticks]
    sign = -1 if side is Side.BUY else 1
    return sorted(orders, key=lambda order: sign * order.price_ticks)


def cross_at_close(venue: "Venue", market: Market) -> None:
    """Trade what can trade at the closing price."""
    closing_ticks = market.last_price_ticks
    buys, sells = (limits(market, side, closing_ticks) for side in Side)
    price = find_price(buys, sells, [closing_ticks], closing_ticks)
    if price.matched_lots:
        venue._events.append(e.AuctionUncrossed(market.instrument.instrument_id, market.phase, *price))
        trade(venue, market, price)


def uncross(venue: "Venue", market: Market) -> None:
    """The auction with which the market's phase ends."""
    price, joined = price_with_stops(venue, market)
    market.call.auction_price_ticks = price.price_ticks or market.call.auction_price_ticks
    if market.phase_rule.call or price.matched_lots:
        venue._events.append(e.AuctionUncrossed(market.instrument.instrument_id, market.phase, *price))
    venue._events += (e.OrderTriggered(order.order_id, order.account_id) for order in joined)
    trade(venue, market, price)
    cancel_remainders(venue, market)
    if price.matched_lots and market.stops.count:
        venue._elect(market, price.price_ticks)
    if price.matched_lots and market.limits is not None:
        banding.auction_ends(venue, market, market.limits, price.price_ticks)


def price_with_stops(venue: "Venue", market: Market) -> tuple[AuctionPrice, list[RestingOrder]]:
    """The price, and the stops that joined: each that a price reached, though the last price, which they made, need not (CME)."""
    joined: list[RestingOrder] = []
    while True:
        price = auction_price(market)
        if not price.matched_lots or not market.stops.count:
            return price, joined
        reached = [order for order in market.stops.reached(price.price_ticks) if may_join(order)]
        if not reached:
            return price, joined
        for order in reached:
            market.stops.remove(order)
            order.stop_price_ticks = 0
            venue._rest(market, order)
        joined += reached


def may_join(order: RestingOrder) -> bool:
    """What is to trade whole or to a minimum at once cannot be promised that by an auction: it enters the book after it. So does an exit
    whose other is in the book: only one of the two may take part."""
    if order.group is not None and order.group.other_exit(order) is not None:
        return False
    return not (order.time_in_force is TimeInForce.FOK or order.is_all_or_none or needs_minimum(order))


def needs_minimum(order: RestingOrder) -> bool:
    return order.special is not None and order.special.minimum_lots > order.done_lots


def trade(venue: "Venue", market: Market, price: AuctionPrice) -> None:
    buys, sells = ([(order, order.leaves_lots) for order in ranked(market, side, price.price_ticks)] for side in Side)
    for buy, sell, lots in pairs(buys, sells, price.matched_lots):
        fill(venue, market, buy, lots)
        fill(venue, market, sell, lots)
        venue._execute(market, sell, buy, lots, price.price_ticks, is_auction=True)
        venue._settle_groups_and_ends(market, sell, buy)


def fill(venue: "Venue", market: Market, order: RestingOrder, lots: int) -> None:
    if order.order_id not in market.call.waiting:
        venue._touch_level(order)
        market.book.fill_in_full(order, lots)
        if market.tops:
            if order.leaves_lots:
                market.order_reduced(order)
            else:
                market.order_leaves(order)
        return
    order.leaves_lots -= lots
    if order.leaves_lots == 0:
        del market.call.waiting[order.order_id]


def cancel_remainders(venue: "Venue", market: Market) -> None:
    """Those that wait in order of entry, then those in the book in order of priority."""
    for order, reason in list(remainders(market)):
        venue._cancel(market, order, reason)


def remainders(market: Market) -> Iterator[tuple[RestingOrder, EndReason]]:
    """What was for this auction only, and stops that joined it and do not rest."""
    for order in market.call.waiting.values():
        if takes_part(market, order):
            yield order, EndReason.AUCTION_REMAINDER
    for side in (market.book.bids, market.book.asks):
        for order in side:
            if order.time_in_force.is_for_auction:
                yield order, EndReason.AUCTION_REMAINDER
            elif order.time_in_force is TimeInForce.IOC:
                yield order, EndReason.IOC_REMAINDER


# While a call goes on


def indicate(venue: "Venue") -> None:
    """Publish what the auctions that this command has touched would come to, where that has changed."""
    for instrument_id in sorted(venue._auctions_touched):
        market = venue._markets[instrument_id]
        if not market.phase_rule.call:
            continue
        indication = auction_price(market)
        if indication != market.call.indication:
            market.call.indication = indication
            venue._events.append(e.AuctionIndicated(instrument_id, *indication))
    venue._auctions_touched.clear()
