"""Margin accounts: what they may borrow and sell short, and when they are called.

A cash account owns what it spends and sells. A margin account may let its cash go below zero, down to its credit in each currency,
and its position in an instrument that may be sold short, down to its limit. Beyond these bounds, which keep every balance of the
venue within `MONEY_MAX`, an order has to keep within what the account is worth:

    equity            = cash + value of all positions at the last price, those sold short with a minus
    initial margin    = for each position its value, for each working order the value of what would open a position, times the
                        instrument's initial margin; for orders the highest fee is added
    maintenance       = for each position its value times the instrument's maintenance margin

All of it is reckoned in each currency by itself, so nothing is converted. An order that could open a position needs an equity of at
least the initial margin with the order in it; one that only closes is not asked. Working orders on one side close a position in order
of entry, and only what is left of them then opens one; neither sales nor covers give anything back before they are executed. A buy
is worth its limit, a short sale the higher of its limit and 1.03 times the best ask (as at Alpaca).

Whose equity falls below maintenance is called, once for each currency until it is restored; who has agreed to it is closed out:
see `Venue`.
"""

from collections.abc import Iterable, Mapping

from trading_engine.venue.accounts import Account, hold_needed
from trading_engine.venue.checks import Refusal, protected_price
from trading_engine.venue.instrument import MONEY_MAX, PPM, Instrument
from trading_engine.venue.market import Market
from trading_engine.venue.order_book import RestingOrder
from trading_engine.venue.reasons import Reason
from trading_engine.venue.risk import RiskRequest
from trading_engine.venue.risk_limits import MarginTerms, value_of
from trading_engine.venue.terms import Side, TradingPhase

SHORT_VALUE_PPM = 1_030_000
"""A short sale is worth at least so many millionths of the best ask."""

Working = tuple[Side, int, int]
"""Side, lots and limit of an order."""


def equity(account: Account, currency: str, markets: Mapping[int, Market]) -> int:
    cash = account.cash.get(currency)
    return (cash.quantity if cash else 0) + sum(
        value_of(market, lots) for market, lots in held(account, currency, markets)
    )


def held(account: Account, currency: str, markets: Mapping[int, Market]) -> Iterable[tuple[Market, int]]:
    """The account's positions in instruments of a currency, in order of their ids."""
    for instrument_id, holding in sorted(account.positions.items()):
        market = markets[instrument_id]
        if holding.quantity and market.instrument.currency == currency:
            yield market, holding.quantity


def maintenance(account: Account, currency: str, markets: Mapping[int, Market]) -> int:
    return sum(
        share(abs(value_of(market, lots)), market.instrument.maintenance_ppm)
        for market, lots in held(account, currency, markets)
    )


def initial(account: Account, currency: str, markets: Mapping[int, Market], request: RiskRequest | None = None) -> int:
    """The initial margin, with what `request` asks for in it."""
    total = sum(
        share(abs(value_of(market, lots)), market.instrument.initial_ppm)
        for market, lots in held(account, currency, markets)
    )
    for instrument_id, working in working_orders(account, request).items():
        if markets[instrument_id].instrument.currency == currency:
            market, holding = markets[instrument_id], account.positions.get(instrument_id)
            lots_held = holding.quantity if holding else 0
            total += opening_margin(market.instrument, lots_held, market.book.asks.best, working)
    return total


def working_orders(account: Account, request: RiskRequest | None) -> dict[int, list[Working]]:
    """By instrument, in order of entry."""
    working: dict[int, list[Working]] = {}
    for order_id, order in sorted(account.open_orders.items()):
        lots, limit_ticks = order.leaves_lots, order.limit_ticks
        if request and order_id == request.replaced_order_id:
            lots, limit_ticks = lots + request.more_lots, request.price_ticks
        working.setdefault(order.instrument_id, []).append((order.side, lots, limit_ticks))
    if request and request.place:
        new = (request.side, request.quantity_lots, request.price_ticks)
        working.setdefault(request.market.instrument.instrument_id, []).append(new)
    return working


def opening_margin(instrument: Instrument, lots_held: int, best_ask: int | None, working: list[Working]) -> int:
    """Of the orders in one instrument, as far as they do not close what the account has there."""
    closing = {Side.BUY: max(0, -lots_held), Side.SELL: max(0, lots_held)}
    total = 0
    for side, lots, limit_ticks in working:
        closes = min(lots, closing[side])
        closing[side] -= closes
        value = (lots - closes) * valuation(best_ask, side, limit_ticks) * instrument.tick_value
        total += share(value, instrument.initial_ppm + instrument.fee_ppm_max)
    return total


def valuation(best_ask: int | None, side: Side, limit_ticks: int) -> int:
    """The price at which an order that opens a position is reckoned."""
    if side is Side.BUY or best_ask is None:
        return limit_ticks
    return max(limit_ticks, share(best_ask, SHORT_VALUE_PPM))


def share(value: int, ppm: int) -> int:
    """Rounded up: against the account."""
    return -(-value * ppm // PPM)


def free_margin(account: Account, currency: str, markets: Mapping[int, Market]) -> int:
    return equity(account, currency, markets) - initial(account, currency, markets)


def check_margin(request: RiskRequest) -> None:
    account, currency, markets = request.account, request.market.instrument.currency, request.markets
    if request.only_closes:
        return
    if equity(account, currency, markets) < initial(account, currency, markets, request):
        raise Refusal(Reason.INSUFFICIENT_MARGIN, min(MONEY_MAX, max(0, free_margin(account, currency, markets))))


def check_margin_terms(terms: MarginTerms | None) -> None:
    if terms is not None and not (0 <= terms.credit_max <= MONEY_MAX and 0 <= terms.short_lots_max <= MONEY_MAX):
        raise Refusal(Reason.INVALID_MARGIN)


def check_margin_covers(account: Account, terms: MarginTerms | None, markets: Mapping[int, Market]) -> None:
    """Refuse terms under which the account could not owe what it owes, or hold what it holds."""
    credit, short_lots = (terms.credit_max, terms.short_lots_max) if terms else (0, 0)
    for holding in account.cash.values():
        if holding.available + credit < 0:
            raise Refusal(Reason.MARGIN_IN_USE)
    for instrument_id, holding in account.positions.items():
        if holding.available + (short_lots if markets[instrument_id].instrument.shortable else 0) < 0:
            raise Refusal(Reason.MARGIN_IN_USE)


def currencies_of(account: Account, markets: Mapping[int, Market]) -> list[str]:
    """All in which the account owns or owes something."""
    of_positions = {markets[instrument_id].instrument.currency for instrument_id in account.positions}
    return sorted(of_positions | set(account.cash))


def closing_side(lots: int) -> Side:
    return Side.SELL if lots > 0 else Side.BUY


def closing_lots(account: Account, market: Market) -> int:
    """How much of a position the venue can close out now: what one market order may have, and the account can pay for."""
    instrument = market.instrument
    lots = account.positions[instrument.instrument_id].quantity
    side = closing_side(lots)
    if market.phase is not TradingPhase.CONTINUOUS or market.book.side(side.opposite).best is None:
        return 0
    price_ticks = protected_price(market, side)
    lots = min(
        abs(lots), instrument.quantity_lots_max, instrument.notional_max // (price_ticks * instrument.tick_value)
    )
    return lots if side is Side.SELL else min(lots, affordable_lots(account, instrument, price_ticks))


def affordable_lots(account: Account, instrument: Instrument, price_ticks: int) -> int:
    """With all cash and credit, when nothing is held."""
    cash = account.cash.get(instrument.currency)
    most = (cash.quantity if cash else 0) + account.credit_max
    lots = max(0, most) * PPM // (price_ticks * instrument.tick_value * (PPM + instrument.fee_ppm_max))
    while lots and hold_needed(instrument, Side.BUY, price_ticks, lots) > most:  # By what rounding up has added.
        lots -= 1
    return lots


def orders_in(account: Account, currency: str, markets: Mapping[int, Market]) -> list[RestingOrder]:
    """The account's working orders in instruments of a currency, in order of entry."""
    return [
        order
        for _, order in sorted(account.open_orders.items())
        if markets[order.instrument_id].instrument.currency == currency
    ]
