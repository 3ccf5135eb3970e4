"""The rules that a command is checked against before anything changes.

Each check raises the `Refusal` of its rule, with the bound that was broken. `Venue` calls them in the order of precedence of `Reason`,
and changes nothing before the last one has passed, so that a refused command leaves no trace.
"""

from trading_engine.venue import commands as c
from trading_engine.venue.accounts import Account, notional
from trading_engine.venue.auction import EXTENSION_NS_MAX, EXTENSIONS_MAX, AuctionRules, BandRules, LimitBandRules
from trading_engine.venue.conversion import NotADecimal, parse_decimal
from trading_engine.venue.instrument import (
    CURRENCY_CHARACTERS_MAX,
    FEE_PPM_MAX,
    ICEBERG_SLICES_MAX,
    ID_MAX,
    LEAD_MARKET_MAKERS_MAX,
    MARGIN_PPM_MAX,
    MONEY_MAX,
    NAME_CHARACTERS_MAX,
    PERCENT,
    PPM,
    PRICE_TICKS_MAX,
    QUANTITY_LOTS_MAX,
    SYMBOL_CHARACTERS_MAX,
    TIME_NS_MAX,
    Instrument,
    MatchingRules,
)
from trading_engine.venue.market import Market
from trading_engine.venue.reasons import Reason
from trading_engine.venue.stops import is_reached
from trading_engine.venue.terms import PHASE_RULES, OrderType, PegPrice, Side, SpecialTerms, TimeInForce, TradingPhase

CLIENT_ORDER_ID_BYTES_MAX = 64
"""In UTF-8."""


class Refusal(Exception):
    """Carries a refusal from the check that found it to `Venue.apply`, which turns it into an event. Never leaves the venue."""

    def __init__(self, reason: Reason, limit: int = 0, leg: int = 0) -> None:
        self.reason = reason
        self.limit = limit
        self.leg = leg
        """Which order of a group, from 1; 0 where it is not about one of them."""


# Orders


def check_standing(account: Account) -> None:
    """Refuse whoever may do nothing but cancel."""
    reason = account.barred_by
    if reason is not None:
        raise Refusal(reason)


def phase_refusal(market: Market) -> Refusal:
    """What meets a command that the market's phase does not allow."""
    reason = market.phase_rule.refusal
    assert reason is not None, market.phase
    return Refusal(reason)


def check_suspension(market: Market) -> None:
    if market.instrument.suspended:
        raise Refusal(Reason.INSTRUMENT_SUSPENDED)


def check_session(phase: TradingPhase, command: c.PlaceOrder) -> None:
    """What a phase does not take of the orders that it takes, and when orders for an auction are taken."""
    gathers = not PHASE_RULES[phase].match
    time_in_force = command.time_in_force
    if (
        (time_in_force is TimeInForce.OPG and phase not in (TradingPhase.PRE_OPEN, TradingPhase.OPENING_CALL))
        or (phase is TradingPhase.CLOSING_CROSS and not (is_plain_limit(command)))
        or (gathers and wants_at_once(command))
    ):
        raise Refusal(Reason.SESSION_DOES_NOT_ALLOW)


def is_plain_limit(command: c.PlaceOrder) -> bool:
    return command.order_type is OrderType.LIMIT and not command.time_in_force.is_for_auction


def wants_at_once(command: c.PlaceOrder) -> bool:
    """Whether an order has terms that only a match at once can fulfil: there is none while orders gather."""
    return (
        command.time_in_force.is_immediate
        or command.post_only
        or command.order_type is OrderType.MARKET_TO_LIMIT
        or (command.special is not None and (command.special.minimum_lots != 0 or command.special.all_or_none))
    )


def check_call_end(command: c.SetTradingPhase, now_ns: int) -> None:
    if command.ends_ns and not (PHASE_RULES[command.phase].call and now_ns < command.ends_ns <= TIME_NS_MAX):
        raise Refusal(Reason.CALL_END_OUT_OF_RANGE)


def check_attributes(command: c.PlaceOrder) -> None:
    order_type = command.order_type
    is_immediate = command.time_in_force.is_immediate
    may_be_post_only = order_type in (OrderType.LIMIT, OrderType.PEGGED) and not is_immediate
    needs_terms = order_type.is_stop or order_type is OrderType.PEGGED or command.time_in_force is TimeInForce.GTD
    if (
        (command.price_ticks and not order_type.has_limit)
        or (command.post_only and not may_be_post_only)
        or (command.time_in_force.is_for_auction and (needs_terms or wants_at_once(command)))
        or (command.special is None and needs_terms)
        or (command.special is not None and not is_supported(command, command.special))
    ):
        raise Refusal(Reason.UNSUPPORTED_ORDER_ATTRIBUTES)


def is_supported(command: c.PlaceOrder, special: SpecialTerms) -> bool:
    """Whether special terms go together, and with the order. Terms that say nothing are none: there is one way to say each thing."""
    is_stop, is_gtd = command.order_type.is_stop, command.time_in_force is TimeInForce.GTD
    is_concealed = special.hidden or special.display_lots != 0
    return (
        (is_stop or special.stop_price_ticks == 0)
        and (is_gtd or special.expire_time_ns == 0)
        and (is_stop or is_gtd or special != SpecialTerms())
        and special.expire_time_ns <= TIME_NS_MAX
        and special.display_lots >= 0
        and not (special.hidden and special.display_lots)
        and special.minimum_lots >= 0
        and not (special.minimum_lots and (command.post_only or command.time_in_force is TimeInForce.FOK))
        and (command.post_only or not special.reprice)
        and (special.trail_ticks == 0 or (is_stop and 0 < special.trail_ticks <= PRICE_TICKS_MAX))
        and not (is_concealed and command.time_in_force.is_immediate)
        and is_peg_supported(command, special)
        and not (special.all_or_none and not may_be_all_or_none(command, special))
    )


def may_be_all_or_none(command: c.PlaceOrder, special: SpecialTerms) -> bool:
    """It displays nothing anyway, may take when it is filled, and as an immediate order is called fill-or-kill."""
    return not (
        command.time_in_force.is_immediate
        or command.post_only
        or command.order_type is OrderType.PEGGED
        or special.hidden
        or special.display_lots
        or special.minimum_lots
    )


def is_peg_supported(command: c.PlaceOrder, special: SpecialTerms) -> bool:
    """Whether an order that follows a price says which, and nothing that makes no sense for an order that enters again and again."""
    if command.order_type is not OrderType.PEGGED:
        return special.peg is PegPrice.NONE and special.peg_offset_ticks == 0
    return (
        special.peg is not PegPrice.NONE
        and abs(special.peg_offset_ticks) <= PRICE_TICKS_MAX
        and not command.time_in_force.is_immediate
        and special.minimum_lots == 0
        and not special.reprice
    )


def check_band_attributes(instrument: Instrument, command: c.PlaceOrder) -> None:
    """Orders that trade because of what becomes of others are not for markets that stop before a price that is too far."""
    is_all_or_none = command.special is not None and command.special.all_or_none
    has_bands = instrument.bands is not None or instrument.limit_bands is not None
    if has_bands and (command.order_type is OrderType.PEGGED or is_all_or_none):
        raise Refusal(Reason.UNSUPPORTED_ORDER_ATTRIBUTES)


def check_expire_time(special: SpecialTerms, time_in_force: TimeInForce, now_ns: int) -> None:
    if time_in_force is TimeInForce.GTD and special.expire_time_ns <= now_ns:
        raise Refusal(Reason.EXPIRE_TIME_IN_PAST, now_ns)


def check_special_quantities(special: SpecialTerms, quantity_lots: int) -> None:
    if special.display_lots > quantity_lots:
        raise Refusal(Reason.DISPLAY_ABOVE_QUANTITY, quantity_lots)
    check_slices(special, quantity_lots)
    if special.minimum_lots > quantity_lots:
        raise Refusal(Reason.MINIMUM_ABOVE_QUANTITY, quantity_lots)


def check_slices(special: SpecialTerms, quantity_lots: int) -> None:
    if 0 < special.display_lots * ICEBERG_SLICES_MAX < quantity_lots:
        raise Refusal(Reason.DISPLAY_BELOW_MINIMUM, -(-quantity_lots // ICEBERG_SLICES_MAX))


def check_quantity(instrument: Instrument, quantity_lots: int) -> None:
    if quantity_lots <= 0:
        raise Refusal(Reason.QUANTITY_NOT_POSITIVE)
    if quantity_lots < instrument.quantity_lots_min:
        raise Refusal(Reason.QUANTITY_BELOW_MINIMUM, instrument.quantity_lots_min)
    if quantity_lots > instrument.quantity_lots_max:
        raise Refusal(Reason.QUANTITY_ABOVE_MAXIMUM, instrument.quantity_lots_max)


def check_price(instrument: Instrument, price_ticks: int) -> None:
    if price_ticks <= 0:
        raise Refusal(Reason.PRICE_NOT_POSITIVE)
    if price_ticks > instrument.price_ticks_max:
        raise Refusal(Reason.PRICE_ABOVE_MAXIMUM, instrument.price_ticks_max)


def check_peg_limit(market: Market, limit_ticks: int) -> None:
    check_price(market.instrument, limit_ticks)
    check_band(market, limit_ticks, market.last_price_ticks)


def check_stop(market: Market, side: Side, stop_price_ticks: int) -> None:
    last = market.last_price_ticks
    if last and is_reached(side, stop_price_ticks, last):
        raise Refusal(Reason.STOP_WOULD_TRIGGER_IMMEDIATELY, last)


def checked_stop_limit(
    market: Market, side: Side, order_type: OrderType, price_ticks: int, stop_price_ticks: int
) -> int:
    """The limit of a stop: the client's, or for a STOP the one that protection gives it from its stop price."""
    instrument = market.instrument
    if order_type is OrderType.STOP:
        check_price(instrument, stop_price_ticks)
        check_stop(market, side, stop_price_ticks)
        return with_protection(instrument, side, stop_price_ticks)
    check_price(instrument, min(price_ticks, stop_price_ticks))
    check_price(instrument, max(price_ticks, stop_price_ticks))
    check_stop(market, side, stop_price_ticks)
    check_band(market, price_ticks, stop_price_ticks)
    return price_ticks


def checked_exit_limit(
    market: Market, side: Side, order_type: OrderType, price_ticks: int, stop_price_ticks: int
) -> int:
    """The limit of an order that waits for another: what the market is like then, nobody knows now."""
    instrument = market.instrument
    if order_type is OrderType.STOP:
        check_price(instrument, stop_price_ticks)
        return with_protection(instrument, side, stop_price_ticks)
    prices = (price_ticks,) if order_type is OrderType.LIMIT else (price_ticks, stop_price_ticks)
    check_price(instrument, min(prices))
    check_price(instrument, max(prices))
    if order_type is OrderType.STOP_LIMIT:
        check_band(market, price_ticks, stop_price_ticks)
    return price_ticks


def check_band(market: Market, price_ticks: int, reference: int) -> None:
    check_ppm_around(reference, market.instrument.price_band_ppm, price_ticks, Reason.PRICE_OUTSIDE_BAND)


def check_ppm_around(reference: int, width_ppm: int, price_ticks: int, reason: Reason) -> None:
    """Refuse a price further than `width_ppm` from the reference; 0 of either: there is no such bound."""
    if not width_ppm or not reference:
        return
    width = reference * width_ppm // PPM
    if price_ticks > reference + width:
        raise Refusal(reason, reference + width)
    if price_ticks < reference - width:
        raise Refusal(reason, reference - width)


def check_notional(instrument: Instrument, price_ticks: int, quantity_lots: int) -> None:
    value = notional(instrument, price_ticks, quantity_lots)
    if value < instrument.notional_min:
        raise Refusal(Reason.NOTIONAL_BELOW_MINIMUM, instrument.notional_min)
    if value > instrument.notional_max:
        raise Refusal(Reason.NOTIONAL_ABOVE_MAXIMUM, instrument.notional_max)


def check_open_orders(account: Account, command: c.PlaceOrder, legs_before: int | None = None) -> None:
    """An immediate order never stays open, so it does not count, unless it is a stop, which waits, or has others of a group before it
    (`legs_before`, which is None for an order by itself)."""
    if account.open_order_count + (legs_before or 0) < account.open_orders_max:
        return
    if not command.time_in_force.is_immediate or command.order_type.is_stop or legs_before is not None:
        raise Refusal(Reason.MAX_OPEN_ORDERS, account.open_orders_max)


def check_post_only(market: Market, side: Side, price_ticks: int) -> None:
    if market.book.crosses(side, price_ticks):
        raise Refusal(Reason.POST_ONLY_WOULD_CROSS, market.book.side(side.opposite).best or 0)


def check_cover(account: Account, instrument: Instrument, side: Side, more: int) -> None:
    """Refuse unless the account can hold `more` than it does (minor units for a buy, lots for a sell)."""
    if side is Side.BUY:
        cash = account.cash.get(instrument.currency)
        available = cash.available if cash else 0
        if more > available + account.credit_max:
            raise Refusal(Reason.INSUFFICIENT_FUNDS, available + account.credit_max)
    else:
        position = account.positions.get(instrument.instrument_id)
        available = position.available if position else 0
        if more > available:
            check_short(account, instrument, more, available)


def check_short(account: Account, instrument: Instrument, more: int, available: int) -> None:
    """Refuse to sell more than there is, but for what a margin account may sell short."""
    short_lots = account.short_lots_max(instrument)
    if account.margin is not None and short_lots == 0:
        raise Refusal(Reason.SHORT_NOT_PERMITTED, max(0, available))
    if more > available + short_lots:
        raise Refusal(Reason.INSUFFICIENT_POSITION, available + short_lots)


def best_opposite(market: Market, side: Side) -> int:
    """The limit of a market-to-limit order."""
    best = market.book.side(side.opposite).best
    if best is None:
        raise Refusal(Reason.NO_LIQUIDITY)
    return best


def protected_price(market: Market, side: Side) -> int:
    """The limit of a market order: the best opposite price and the instrument's protection beyond it (CME: market with protection)."""
    return with_protection(market.instrument, side, best_opposite(market, side))


def auction_limit(market: Market, side: Side) -> int:
    """The limit of a market order for an auction: protection counts from the reference price, where there is none from the best
    opposite price."""
    return with_protection(market.instrument, side, market.last_price_ticks or best_opposite(market, side))


def repriced(market: Market, side: Side, price_ticks: int) -> int:
    """A limit that does not cross: one tick away from the best opposite price, where there is room for that."""
    best = market.book.side(side.opposite).best
    if best is None or not market.book.crosses(side, price_ticks):
        return price_ticks
    away = best - 1 if side is Side.BUY else best + 1
    return away if 0 < away <= market.instrument.price_ticks_max else price_ticks


def with_protection(instrument: Instrument, side: Side, price_ticks: int) -> int:
    """The instrument's protection beyond a price, within the domain."""
    if side is Side.BUY:
        return min(price_ticks + instrument.market_protection_ticks, instrument.price_ticks_max)
    return max(price_ticks - instrument.market_protection_ticks, 1)


# Administration


def check_instrument(instrument: Instrument) -> None:
    """Refuse a definition whose own bounds would let a price, quantity or value leave the venue's integers."""
    if not (
        0 < instrument.instrument_id <= ID_MAX
        and is_name(instrument.symbol, SYMBOL_CHARACTERS_MAX)
        and is_name(instrument.currency, CURRENCY_CHARACTERS_MAX)
        and len(instrument.name) <= NAME_CHARACTERS_MAX
        and is_step(instrument.tick_size)
        and is_step(instrument.lot_size)
        and 0 < instrument.tick_value <= MONEY_MAX
        and 0 < instrument.quantity_lots_min <= instrument.quantity_lots_max <= QUANTITY_LOTS_MAX
        and 0 < instrument.price_ticks_max <= PRICE_TICKS_MAX
        and 0 <= instrument.notional_min <= instrument.notional_max <= MONEY_MAX // 2
        and 0 <= instrument.market_protection_ticks <= PRICE_TICKS_MAX
        and 0 <= instrument.price_band_ppm <= 100 * PPM
        and 0 <= instrument.taker_fee_ppm <= FEE_PPM_MAX
        and -instrument.taker_fee_ppm <= instrument.maker_fee_ppm <= FEE_PPM_MAX
        and 0 <= instrument.initial_margin_ppm <= MARGIN_PPM_MAX
        and 0 <= instrument.maintenance_margin_ppm <= instrument.initial_ppm
        and 0 <= instrument.reference_price_ticks <= instrument.price_ticks_max
        and (instrument.matching is None or are_matching_rules(instrument.matching))
        and (instrument.auctions is None or are_auction_rules(instrument.auctions))
        and (instrument.bands is None or are_band_rules(instrument.bands))
        and (instrument.limit_bands is None or are_limit_band_rules(instrument.limit_bands))
        and not (instrument.bands and instrument.limit_bands)
    ):
        raise Refusal(Reason.INVALID_INSTRUMENT)


def are_matching_rules(rules: MatchingRules) -> bool:
    """Whether the parameters are within their bounds. Lead market makers may be accounts that are still to be opened."""
    account_ids = {account_id for account_id, _ in rules.lead_market_makers}
    return (
        0 < rules.top_lots_min <= QUANTITY_LOTS_MAX
        and 0 <= rules.top_lots_max <= QUANTITY_LOTS_MAX
        and 0 < rules.pro_rata_lots_min <= QUANTITY_LOTS_MAX
        and 0 <= rules.fifo_percent <= PERCENT
        and len(account_ids) == len(rules.lead_market_makers) <= LEAD_MARKET_MAKERS_MAX
        and all(0 < account_id <= ID_MAX and percent > 0 for account_id, percent in rules.lead_market_makers)
        and sum(percent for _, percent in rules.lead_market_makers) <= PERCENT
    )


def are_band_rules(rules: BandRules) -> bool:
    widths = (rules.dynamic_ppm, rules.static_ppm)
    return all(0 <= width <= 100 * PPM for width in widths) and 0 <= rules.call_ns <= EXTENSION_NS_MAX


def are_limit_band_rules(rules: LimitBandRules) -> bool:
    durations = (rules.window_ns, rules.update_ns, rules.limit_state_ns, rules.pause_ns)
    return (
        0 < rules.width_ppm <= PPM
        and 0 <= rules.width_ticks_max <= PRICE_TICKS_MAX
        and 0 <= rules.change_ppm <= PPM
        and all(0 < duration <= EXTENSION_NS_MAX for duration in durations)
    )


def are_auction_rules(rules: AuctionRules) -> bool:
    return (
        0 <= rules.collar_ppm <= 100 * PPM
        and 0 <= rules.price_extensions_max <= EXTENSIONS_MAX
        and 0 <= rules.market_order_extensions_max <= EXTENSIONS_MAX
        and 0 < rules.extension_ns <= EXTENSION_NS_MAX
    )


def is_name(text: str, characters_max: int) -> bool:
    """Visible ASCII without spaces: it has to survive addresses, file names and terminals."""
    return 0 < len(text) <= characters_max and text.isascii() and text.isprintable() and " " not in text


def is_step(text: str) -> bool:
    """Whether the edge can convert by it."""
    try:
        return parse_decimal(text) > 0
    except NotADecimal:
        return False


def check_account(account_id: int, open_orders_max: int, trade_group_id: int, firm_id: int) -> None:
    numbers = (open_orders_max, trade_group_id, firm_id)
    if not (0 < account_id <= ID_MAX and all(0 <= number <= ID_MAX for number in numbers)):
        raise Refusal(Reason.INVALID_ACCOUNT)
