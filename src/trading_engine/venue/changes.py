"""What of a listed instrument may become different, and when.

| | Fields |
|---|---|
| never | by which prices and quantities are read, by which the queue was formed, or that only mattered at the start |
| while no order works | `bands` from none to some or back; `market_protection_ticks` up; `shortable` to false, nobody being short |
| where every working buy stays covered | `maker_fee_ppm`, `taker_fee_ppm`: a buy holds its highest fee |
| at any time | all others |

Why the middle rows: with bands no pegged and no all-or-none order may work, so none may be there; a trailing stop moves its limit by the
protection as it is then, and with a wider one would need more than it holds; a margin account's short sale is covered by
`shortable` alone. All other fields are looked at when an order comes in or is replaced, never afterwards, so working orders stay what they
are. A fill pays the fee of its time.
"""

from collections.abc import Iterator, Mapping

from trading_engine.venue.accounts import Account
from trading_engine.venue.checks import Refusal, check_instrument
from trading_engine.venue.groups import needed_now
from trading_engine.venue.instrument import Instrument
from trading_engine.venue.market import Market
from trading_engine.venue.order_book import RestingOrder
from trading_engine.venue.reasons import Reason
from trading_engine.venue.terms import Side

FIXED_FIELDS = (
    "symbol",
    "currency",
    "tick_size",
    "lot_size",
    "tick_value",
    "price_ticks_max",
    "reference_price_ticks",
    "matching",
    "limit_bands",
)


def check_change(market: Market, instrument: Instrument, accounts: Mapping[int, Account]) -> None:
    """Refuse another definition that breaks a rule, or that working orders stand against."""
    check_instrument(instrument)
    before = market.instrument
    if any(getattr(instrument, name) != getattr(before, name) for name in FIXED_FIELDS):
        raise Refusal(Reason.INSTRUMENT_FIELD_FIXED)
    if instrument == before:
        raise Refusal(Reason.INSTRUMENT_UNCHANGED)
    if is_idle_needed(before, instrument) and market.open_orders():
        raise Refusal(Reason.INSTRUMENT_IN_USE)
    if (
        before.shortable
        and not instrument.shortable
        and any(is_short(account, before) for account in accounts.values())
    ):
        raise Refusal(Reason.INSTRUMENT_IN_USE)
    if instrument.fee_ppm_max > before.fee_ppm_max:
        check_fees_covered(market, instrument, accounts)


def is_idle_needed(before: Instrument, after: Instrument) -> bool:
    return (
        (before.bands is None) != (after.bands is None)
        or after.market_protection_ticks > before.market_protection_ticks
        or (before.shortable and not after.shortable)
    )


def is_short(account: Account, instrument: Instrument) -> bool:
    position = account.positions.get(instrument.instrument_id)
    return position is not None and position.quantity < 0


def check_fees_covered(market: Market, instrument: Instrument, accounts: Mapping[int, Account]) -> None:
    """Refuse fees with which somebody's buys would need more than there is."""
    more: dict[int, int] = {}
    for order, needed in needed_by_buys(market, instrument):
        more[order.account_id] = more.get(order.account_id, 0) + needed - order.held
    for account_id, amount in more.items():
        account = accounts[account_id]
        if amount > account.cash_in(instrument.currency).available + account.credit_max:
            raise Refusal(Reason.FEES_NOT_COVERED)


def needed_by_buys(market: Market, instrument: Instrument) -> Iterator[tuple[RestingOrder, int]]:
    """(order, what it has to hold under this definition); of two exits of a group the second holds what the first does not."""
    for order in market.open_orders():
        if order.side is Side.BUY:
            covered = 0
            for leg in order.group.exits if order.group is not None and order is not order.group.primary else ():
                if leg is order:
                    break
                covered = max(covered, needed_now(instrument, leg))
            yield order, max(0, needed_now(instrument, order) - covered)
