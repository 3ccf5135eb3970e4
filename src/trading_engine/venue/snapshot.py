"""The venue's whole state as bytes, and back.

The encoding is canonical: wherever order carries meaning (queues, the age of client order ids and producers) it is kept, everywhere
else it is sorted, so equal states have equal bytes. Sums over orders (what an account holds, level totals) are not stored but made again.
"""

from bisect import insort
from typing import TYPE_CHECKING

import msgspec

from trading_engine.venue.accounts import FEE_ACCOUNT_ID, Account, OrderContent
from trading_engine.venue.auction import AuctionPrice, Call
from trading_engine.venue.groups import OrderGroup
from trading_engine.venue.instrument import Instrument
from trading_engine.venue.market import Market
from trading_engine.venue.matching import TopOrder, UnknownStrategy
from trading_engine.venue.order_book import RestingOrder
from trading_engine.venue.risk_limits import (
    DisconnectAction,
    MarginTerms,
    RecentOrder,
    RiskControl,
    RiskLimits,
    RiskScope,
)
from trading_engine.venue.terms import (
    Contingency,
    OrderType,
    SelfTradePrevention,
    Side,
    SpecialTerms,
    TimeInForce,
    TradingPhase,
)

if TYPE_CHECKING:
    from trading_engine.venue.venue import Venue

FORMAT = 10


class OrderRecord(msgspec.Struct, frozen=True, array_like=True, gc=False):
    order_id: int
    account_id: int
    client_order_id: str
    side: Side
    order_type: OrderType
    time_in_force: TimeInForce
    quantity_lots: int
    leaves_lots: int
    price_ticks: int
    post_only: bool
    self_trade_prevention: SelfTradePrevention
    special: SpecialTerms | None
    stop_price_ticks: int
    hidden_lots: int
    held: int
    fee_credit: int
    peg_limit_ticks: int


class CallRecord(msgspec.Struct, frozen=True, array_like=True, gc=False):
    ends_ns: int
    price_extensions: int
    market_order_extensions: int
    indication: AuctionPrice
    auction_price_ticks: int


class MarketRecord(msgspec.Struct, frozen=True, array_like=True):
    instrument: Instrument
    phase: TradingPhase
    last_price_ticks: int
    market_sequence: int
    issued_lots: int
    orders: list[OrderRecord]
    """Bids, then asks; best price first, at one price first in the queue first."""
    stops: list[OrderRecord]
    """In the order in which they would be elected."""
    pegs: list[OrderRecord]
    """The pegged orders that are not in the book, in order of entry."""
    tops: list[tuple[Side, int, int]]
    """(side, order id, lots that are still filled first)."""
    waiting: list[OrderRecord]
    """For an auction, in order of entry."""
    call: CallRecord
    legs: list[OrderRecord]
    """The orders of groups that wait for another, in order of entry."""
    groups: list[tuple[int, int, Contingency, bool, list[int]]]
    """(id, account id, contingency, whether triggered, ids of the open orders)."""


class AccountRecord(msgspec.Struct, frozen=True, array_like=True):
    account_id: int
    open_orders_max: int
    trade_group_id: int
    firm_id: int
    suspended: bool
    countdowns: list[tuple[int, int]]
    disconnect_action: DisconnectAction
    margin_calls: list[str]
    cash: list[tuple[str, int]]
    positions: list[tuple[int, int]]
    client_orders: list[tuple[str, int, OrderContent]]
    ended_client_order_ids: list[str]


class RiskControlRecord(msgspec.Struct, frozen=True, array_like=True):
    """What is open and what is owned is not stored but counted again."""

    scope: RiskScope
    scope_id: int
    limits: RiskLimits
    killed: bool
    margin: MarginTerms | None
    flow: list[tuple[str, int]]
    turnover: list[tuple[str, int]]
    window: int
    orders_in_window: int
    messages_in_window: int
    recent: list[tuple[RecentOrder, int]]


class VenueRecord(msgspec.Struct, frozen=True, array_like=True):
    format: int
    command_sequence: int
    event_sequence: int
    time_ns: int
    last_order_id: int
    last_trade_id: int
    producers: list[tuple[str, int]]
    issued_cash: list[tuple[str, int]]
    markets: list[MarketRecord]
    accounts: list[AccountRecord]
    risk_controls: list[RiskControlRecord]


class SnapshotError(ValueError):
    """The bytes are no snapshot that this release can read."""


def save(venue: "Venue") -> bytes:
    record = VenueRecord(
        FORMAT,
        venue.command_sequence,
        venue.event_sequence,
        venue.time_ns,
        venue._last_order_id,
        venue._last_trade_id,
        list(venue._producers.items()),
        sorted(venue._issued_cash.items()),
        [_save_market(market) for _, market in sorted(venue._markets.items())],
        [_save_account(account) for _, account in sorted(venue._accounts.items())],
        [_save_control(key, venue._risk.controls[key]) for key in sorted(venue._risk.controls)],
    )
    return msgspec.msgpack.encode(record)


def _save_market(market: Market) -> MarketRecord:
    return MarketRecord(
        market.instrument,
        market.phase,
        market.last_price_ticks,
        market.market_sequence,
        market.issued_lots,
        [_save_order(order) for order in market.resting_orders()],
        [_save_order(order) for order in market.stops],
        [_save_order(order) for order in market.pegs.values() if not order.price_ticks],
        [(side, top.order_id, top.lots) for side, top in sorted(market.tops.items())],
        [_save_order(order) for order in market.call.waiting.values()],
        _save_call(market.call),
        [_save_order(order) for order in market.waiting_legs()],
        [
            (
                group_id,
                group.legs[0].account_id,
                group.contingency,
                group.is_triggered,
                [leg.order_id for leg in group.legs],
            )
            for group_id, group in sorted(market.groups.items())
        ],
    )


def _save_call(call: Call) -> CallRecord:
    return CallRecord(
        call.ends_ns, call.price_extensions, call.market_order_extensions, call.indication, call.auction_price_ticks
    )


def _save_order(order: RestingOrder) -> OrderRecord:
    return OrderRecord(
        order.order_id,
        order.account_id,
        order.client_order_id,
        order.side,
        order.order_type,
        order.time_in_force,
        order.quantity_lots,
        order.leaves_lots,
        order.price_ticks,
        order.post_only,
        order.self_trade_prevention,
        order.special,
        order.stop_price_ticks,
        order.hidden_lots,
        order.held,
        order.fee_credit,
        order.peg_limit_ticks,
    )


def _save_account(account: Account) -> AccountRecord:
    return AccountRecord(
        account.account_id,
        account.open_orders_max,
        account.trade_group_id,
        account.firm_id,
        account.suspended,
        sorted(account.countdowns.items()),
        account.disconnect_action,
        sorted(account.margin_calls),
        sorted((currency, cash.quantity) for currency, cash in account.cash.items() if cash.quantity),
        sorted(
            (instrument_id, position.quantity)
            for instrument_id, position in account.positions.items()
            if position.quantity
        ),
        sorted((client_order_id, *known) for client_order_id, known in account.client_orders.items()),
        list(account.ended_client_order_ids),
    )


def _save_control(key: tuple[RiskScope, int], control: RiskControl) -> RiskControlRecord:
    return RiskControlRecord(
        *key,
        control.limits,
        control.killed,
        control.margin,
        sorted((currency, amount) for currency, amount in control.flow.items() if amount),
        sorted((currency, amount) for currency, amount in control.turnover.items() if amount),
        control.window,
        control.orders_in_window,
        control.messages_in_window,
        list(control.recent.items()),
    )


def decode(data: bytes) -> VenueRecord:
    """Raises `SnapshotError`."""
    try:
        record = msgspec.msgpack.decode(data, type=VenueRecord)
    except msgspec.DecodeError as error:
        raise SnapshotError(str(error)) from error
    if record.format != FORMAT:
        raise SnapshotError(f"snapshot format {record.format} is not {FORMAT}")
    return record


def load(venue: "Venue", data: bytes) -> None:
    """Give a new venue the state that was saved. Raises `SnapshotError`, `UnknownStrategy`."""
    record = decode(data)
    venue.command_sequence = record.command_sequence
    venue.event_sequence = record.event_sequence
    venue.time_ns = record.time_ns
    venue._last_order_id = record.last_order_id
    venue._last_trade_id = record.last_trade_id
    venue._producers = dict(record.producers)
    venue._issued_cash = dict(record.issued_cash)
    for market in record.markets:
        _load_market(venue, market)
    for account in record.accounts:
        _load_account(venue, account)
    for market in record.markets:
        _load_orders(venue, market)
    for control in record.risk_controls:
        _load_control(venue, control)
    for account_id, bound in venue._accounts.items():
        venue._risk.bind(bound)
        for instrument_id, deadline_ns in bound.countdowns.items():
            insort(venue._countdowns, (deadline_ns, account_id, instrument_id))


def _load_control(venue: "Venue", record: RiskControlRecord) -> None:
    control = venue._risk.controls[record.scope, record.scope_id] = RiskControl()
    venue._risk.take_over(control, venue._risk.accounts_in(record.scope, record.scope_id))
    control.limits = record.limits
    control.killed = record.killed
    control.margin = record.margin
    control.flow = dict(record.flow)
    control.turnover = dict(record.turnover)
    control.window = record.window
    control.orders_in_window = record.orders_in_window
    control.messages_in_window = record.messages_in_window
    control.recent = dict(record.recent)


def _load_account(venue: "Venue", record: AccountRecord) -> None:
    if record.account_id != FEE_ACCOUNT_ID:
        account = venue._new_account(record.account_id, record.open_orders_max, record.trade_group_id, record.firm_id)
        venue._accounts[record.account_id] = account
    account = venue._accounts[record.account_id]
    account.suspended = record.suspended
    account.countdowns = dict(record.countdowns)
    account.disconnect_action = record.disconnect_action
    account.margin_calls = set(record.margin_calls)
    for currency, amount in record.cash:
        account.cash_in(currency).quantity = amount
    for instrument_id, lots in record.positions:
        account.position_in(instrument_id).quantity = lots
    account.client_orders = {
        client_order_id: (order_id, content) for client_order_id, order_id, content in record.client_orders
    }
    account.ended_client_order_ids = dict.fromkeys(record.ended_client_order_ids)


def _load_market(venue: "Venue", record: MarketRecord) -> None:
    instrument = record.instrument
    if instrument.matching and not venue._has_strategy_for(instrument):
        raise UnknownStrategy(f"{instrument.symbol} needs the matching algorithm {instrument.matching.algorithm}")
    market = venue._markets[instrument.instrument_id] = venue._new_market(instrument)
    market.phase = record.phase
    market.last_price_ticks = record.last_price_ticks
    market.market_sequence = record.market_sequence
    market.issued_lots = record.issued_lots


def _load_orders(venue: "Venue", record: MarketRecord) -> None:
    instrument = record.instrument
    market = venue._markets[instrument.instrument_id]
    for item in record.orders:
        order = _load_order(venue, instrument, item)
        market.book.side(order.side).add(order)
    for item in record.stops:
        market.stops.add(_load_order(venue, instrument, item))
    for item in record.legs:
        _load_order(venue, instrument, item).is_waiting_leg = True
    for group_id, account_id, contingency, is_triggered, order_ids in record.groups:
        group = market.groups[group_id] = OrderGroup(group_id, contingency)
        group.is_triggered = is_triggered
        for order_id in order_ids:
            group.add(venue._accounts[account_id].open_orders[order_id])
    waiting = [_load_order(venue, instrument, item) for item in record.pegs]
    pegs = [order for side in (market.book.bids, market.book.asks) for order in side if order.peg_limit_ticks]
    market.pegs = {order.order_id: order for order in sorted([*pegs, *waiting], key=lambda order: order.order_id)}
    market.tops = {side: TopOrder(order_id, lots) for side, order_id, lots in record.tops}
    market.call = _load_call(record.call)
    for item in record.waiting:
        market.call.waiting[item.order_id] = _load_order(venue, instrument, item)


def _load_call(record: CallRecord) -> Call:
    call = Call()
    call.ends_ns = record.ends_ns
    call.price_extensions = record.price_extensions
    call.market_order_extensions = record.market_order_extensions
    call.indication = record.indication
    call.auction_price_ticks = record.auction_price_ticks
    return call


def _load_order(venue: "Venue", instrument: Instrument, record: OrderRecord) -> RestingOrder:
    """The order, among its account's open ones and with what it holds held."""
    order = RestingOrder(
        record.order_id,
        record.account_id,
        record.client_order_id,
        instrument.instrument_id,
        record.side,
        record.order_type,
        record.time_in_force,
        record.quantity_lots,
        record.price_ticks,
        record.post_only,
        record.self_trade_prevention,
        record.special,
    )
    order.leaves_lots = record.leaves_lots
    order.stop_price_ticks = record.stop_price_ticks
    order.hidden_lots = record.hidden_lots
    order.held = record.held
    order.fee_credit = record.fee_credit
    order.peg_limit_ticks = record.peg_limit_ticks
    account = venue._accounts[order.account_id]
    account.order_resumes(order)
    venue._open_order_count += 1
    if order.special is not None and order.special.expire_time_ns:
        insort(venue._expiries, (order.special.expire_time_ns, order.order_id, order.account_id))
    if order.side is Side.BUY:
        account.cash_in(instrument.currency).held += order.held
    else:
        account.position_in(instrument.instrument_id).held += order.held
    return order
