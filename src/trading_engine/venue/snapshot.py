"""The venue's whole state as bytes, and back.

The encoding is canonical: wherever order carries meaning (queues, the age of client order ids and producers) it is kept, everywhere
else it is sorted, so equal states have equal bytes. Sums over orders (what an account holds, level totals) are not stored but made again.

What there are millions of, plain orders and client order ids, stands in columns (`columns.py`), so that the fast venue can write and
read it without an object for each. Everything else is a record. What is read is not trusted: a venue is made of it whole, or
`SnapshotError` is raised.
"""

from bisect import insort
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Annotated, TypeVar

import msgspec

from trading_engine.venue import halts
from trading_engine.venue.accounts import FEE_ACCOUNT_ID, Account, hold_needed
from trading_engine.venue.auction import AuctionPrice, Call
from trading_engine.venue.checks import Refusal, check_account, check_instrument
from trading_engine.venue.circuit_breakers import BREAKER_LEVELS_MAX, CircuitBreakers
from trading_engine.venue.columns import (
    NOTIONAL_MAX,
    NameColumns,
    OrderColumns,
    columns_of,
    is_plain,
    name_columns,
    names_in,
    plain_orders,
    unpack,
)
from trading_engine.venue.columns import (
    SnapshotError as SnapshotError,
)
from trading_engine.venue.groups import OrderGroup
from trading_engine.venue.instrument import ID_MAX, MONEY_MAX, PPM, PRICE_TICKS_MAX, QUANTITY_LOTS_MAX, Instrument
from trading_engine.venue.limit_bands import SLICES, LimitBands
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
from trading_engine.venue.transfers import TransfersRecord, load_transfers, save_transfers

if TYPE_CHECKING:
    from trading_engine.venue.venue import Venue

FORMAT = 12

Order = TypeVar("Order")
Other = TypeVar("Other")
Record = TypeVar("Record", "VenueRecord", "MarketsRecord")
Number = Annotated[int, msgspec.Meta(ge=0, le=ID_MAX)]
Amount = Annotated[int, msgspec.Meta(ge=-MONEY_MAX, le=MONEY_MAX)]


class OrderRecord(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Its client order id is the one that is kept for its order id."""

    order_id: int
    account_id: int
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


class BookRecord(msgspec.Struct, frozen=True, array_like=True):
    """Bids, then asks; best price first, at one price first in the queue first."""

    plain: OrderColumns
    others: list[tuple[int, OrderRecord]]
    """(place among all orders of the book, order)."""


class CallRecord(msgspec.Struct, frozen=True, array_like=True, gc=False):
    ends_ns: Number
    price_extensions: Number
    market_order_extensions: Number
    indication: AuctionPrice
    auction_price_ticks: Number


class LimitsRecord(msgspec.Struct, frozen=True, array_like=True, gc=False):
    reference_ticks: Annotated[int, msgspec.Meta(ge=0, le=PRICE_TICKS_MAX)]
    slices: Annotated[list[tuple[Number, Number, Number]], msgspec.Meta(max_length=SLICES)]
    update_due_ns: Number
    state_side: Side | None
    state_ends_ns: Number


class MarketRecord(msgspec.Struct, frozen=True, array_like=True):
    instrument: Instrument
    phase: TradingPhase
    last_price_ticks: Number
    market_sequence: Number
    issued_lots: Number
    book: BookRecord
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
    close_price_ticks: Annotated[int, msgspec.Meta(ge=0, le=PRICE_TICKS_MAX)]
    limits: LimitsRecord | None


class AccountRecord(msgspec.Struct, frozen=True, array_like=True):
    account_id: Number
    open_orders_max: Number
    trade_group_id: Number
    firm_id: Number
    suspended: bool
    countdowns: list[tuple[int, int]]
    disconnect_action: DisconnectAction
    margin_calls: list[str]
    cash: list[tuple[str, Amount]]
    positions: list[tuple[int, Amount]]


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


class BreakersRecord(msgspec.Struct, frozen=True, array_like=True):
    rules: CircuitBreakers | None
    tripped: Number
    halted_until_ns: Number


class VenueRecord(msgspec.Struct, frozen=True, array_like=True):
    format: Number
    command_sequence: Number
    event_sequence: Number
    time_ns: Number
    last_order_id: Number
    last_trade_id: Number
    producers: list[tuple[str, int]]
    issued_cash: list[tuple[str, int]]
    markets: list[MarketRecord]
    accounts: list[AccountRecord]
    risk_controls: list[RiskControlRecord]
    names: NameColumns
    breakers: BreakersRecord
    transfers: TransfersRecord = TransfersRecord()


class MarketsRecord(msgspec.Struct, frozen=True, array_like=True):
    """The markets alone: nothing of accounts, balances and client order ids."""

    format: Number
    event_sequence: Number
    time_ns: Number
    markets: list[MarketRecord]


def save(venue: "Venue") -> bytes:
    return msgspec.msgpack.encode(venue._saver(venue).save())


def save_markets(venue: "Venue") -> bytes:
    """What public market data begins with. Takes time in proportion to the open orders, like a snapshot, but far less of it."""
    markets = venue._saver(venue).markets()
    return msgspec.msgpack.encode(MarketsRecord(FORMAT, venue.event_sequence, venue.time_ns, markets))


def book_of(orders: Iterable[RestingOrder]) -> BookRecord:
    plain: list[RestingOrder] = []
    others: list[tuple[int, OrderRecord]] = []
    for place, order in enumerate(orders):
        if is_plain(order):
            plain.append(order)
        else:
            others.append((place, _save_order(order)))
    return BookRecord(columns_of(plain), others)


class Saver:
    """Makes the record of a venue. One that keeps its orders in another way has a saver of its own, which makes the same record."""

    def __init__(self, venue: "Venue") -> None:
        self.venue = venue

    def save(self) -> VenueRecord:
        venue = self.venue
        return VenueRecord(
            FORMAT,
            venue.command_sequence,
            venue.event_sequence,
            venue.time_ns,
            venue._last_order_id,
            venue._last_trade_id,
            list(venue._producers.items()),
            sorted(venue._issued_cash.items()),
            self.markets(),
            [_save_account(account) for _, account in sorted(venue._accounts.items())],
            [_save_control(key, venue._risk.controls[key]) for key in sorted(venue._risk.controls)],
            self.names(),
            BreakersRecord(venue._breakers.rules, venue._breakers.tripped, venue._breakers.halted_until_ns),
            save_transfers(venue._transfers),
        )

    def markets(self) -> list[MarketRecord]:
        return [self._market(market) for _, market in sorted(self.venue._markets.items())]

    def _market(self, market: Market) -> MarketRecord:
        return MarketRecord(
            market.instrument,
            market.phase,
            market.last_price_ticks,
            market.market_sequence,
            market.issued_lots,
            self.book(market),
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
            market.close_price_ticks,
            _save_limits(market.limits) if market.limits is not None else None,
        )

    def book(self, market: Market) -> BookRecord:
        return book_of(market.resting_orders())

    def names(self) -> NameColumns:
        accounts = [account for _, account in sorted(self.venue._accounts.items())]
        names = sorted(
            (order_id, account.account_id, name, content)
            for account in accounts
            for name, (order_id, content) in account.client_orders.items()
        )
        places = {order_id: place for place, (order_id, _, _, _) in enumerate(names)}
        ended = [
            places[account.client_orders[name][0]] for account in accounts for name in account.ended_client_order_ids
        ]
        return name_columns(names, ended)


def _save_call(call: Call) -> CallRecord:
    return CallRecord(
        call.ends_ns, call.price_extensions, call.market_order_extensions, call.indication, call.auction_price_ticks
    )


def _save_limits(limits: LimitBands) -> LimitsRecord:
    """What was told last is what is the case: this is between two commands."""
    return LimitsRecord(
        limits.reference_ticks, list(limits.slices), limits.update_due_ns, limits.state_side, limits.state_ends_ns
    )


def _save_order(order: RestingOrder) -> OrderRecord:
    return OrderRecord(
        order.order_id,
        order.account_id,
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
    return _decoded(data, VenueRecord)


def decode_markets(data: bytes) -> MarketsRecord:
    """What `save_markets` made. Raises `SnapshotError`."""
    return _decoded(data, MarketsRecord)


def _decoded(data: bytes, kind: type[Record]) -> Record:
    try:
        record = msgspec.msgpack.decode(data, type=kind)
    except msgspec.DecodeError as error:
        raise SnapshotError(str(error)) from error
    if record.format != FORMAT:
        raise SnapshotError(f"snapshot format {record.format} is not {FORMAT}")
    return record


def in_turn(plain: Iterable[Order], others: Iterable[tuple[int, Other]]) -> Iterator[Order | Other]:
    """The plain orders of a book, and the others at their places among them. Raises `SnapshotError`."""
    rest = iter(plain)
    place = 0
    for other_place, other in others:
        before = list(islice(rest, other_place - place)) if other_place >= place else []
        yield from before
        place += len(before)
        if place != other_place:
            raise SnapshotError(f"place {other_place} of an order in its book")
        yield other
        place += 1
    yield from rest


def orders_in(market: MarketRecord) -> Iterator[OrderRecord | RestingOrder]:
    """What is in the book, in order of priority. Raises `SnapshotError`."""
    return in_turn(plain_orders(market.book.plain, market.instrument), market.book.others)


def load(venue: "Venue", data: bytes) -> None:
    """Give a new venue the state that was saved. Raises `SnapshotError`, `UnknownStrategy`."""
    try:
        venue._loader(venue, decode(data)).load()
    except (SnapshotError, UnknownStrategy):
        raise
    except Refusal as refusal:
        raise SnapshotError(f"an instrument or account that would be refused: {refusal.reason.name}") from refusal
    except (KeyError, ValueError, OverflowError) as error:
        raise SnapshotError(f"what does not fit together: {error!r}") from error


def require(condition: bool, complaint: str) -> None:
    """Raises `SnapshotError`."""
    if not condition:
        raise SnapshotError(complaint)


class Loader:
    """Gives a new venue the state of a record, of which nothing is trusted. The counterpart of `Saver`."""

    def __init__(self, venue: "Venue", record: VenueRecord) -> None:
        self.venue = venue
        self.record = record
        self._order_ids: set[int] = set()
        self._working: dict[int, tuple[int, str]] = {}
        """Order id → (account id, client order id) of the names whose orders are still to come."""

    def load(self) -> None:
        venue, record = self.venue, self.record
        venue.command_sequence = record.command_sequence
        venue.event_sequence = record.event_sequence
        venue.time_ns = record.time_ns
        venue._last_order_id = record.last_order_id
        venue._last_trade_id = record.last_trade_id
        venue._producers = dict(record.producers)
        venue._issued_cash = dict(record.issued_cash)
        venue._transfers = load_transfers(record.transfers)
        for market in record.markets:
            _load_market(venue, market)
        _load_breakers(venue, record.breakers)
        for account in record.accounts:
            _load_account(venue, account)
        for transfer in venue._transfers.in_transit.values():
            require(transfer.account_id in venue._accounts, f"transfer {transfer} is of no account")
        self.names(record.names)
        for market in record.markets:
            self._orders(market)
        self.end_orders()
        for control in record.risk_controls:
            _load_control(venue, control)
        for account_id, bound in venue._accounts.items():
            venue._risk.bind(bound)
            for instrument_id, deadline_ns in bound.countdowns.items():
                insort(venue._countdowns, (deadline_ns, account_id, instrument_id))

    # Client order ids

    def names(self, columns: NameColumns) -> None:
        names = names_in(columns)
        last = 0
        for order_id, account_id, name, content in names:
            require(last < order_id <= self.record.last_order_id, f"client order id of order {order_id}")
            known = self.venue._accounts[account_id].client_orders
            require(name not in known, f"account {account_id} has {name!r} twice")
            known[name] = (order_id, content)
            self._working[order_id] = (account_id, name)
            last = order_id
        for place in unpack("I", columns.ended):
            require(place < len(names), f"client order id {place} of {len(names)}")
            order_id, account_id, name, _ = names[place]
            require(order_id in self._working, f"order {order_id} has ended twice")
            del self._working[order_id]
            self.venue._accounts[account_id].ended_client_order_ids[name] = None

    def take_name(self, order_id: int, account_id: int) -> str:
        """The client order id of an open order, empty where it has none."""
        known_id, name = self._working.pop(order_id, (account_id, ""))
        require(known_id == account_id, f"order {order_id} and its client order id are of two accounts")
        return name

    def end_orders(self) -> None:
        """All orders are there."""
        require(not self._working, "client order ids of no order")

    # Orders

    def _orders(self, record: MarketRecord) -> None:
        instrument = record.instrument
        market = self.venue._markets[instrument.instrument_id]
        in_book = self.book(market, record)
        for item in record.stops:
            market.stops.add(self._order(instrument, item))
        for item in record.legs:
            self._order(instrument, item).is_waiting_leg = True
        for group_id, account_id, contingency, is_triggered, order_ids in record.groups:
            group = market.groups[group_id] = OrderGroup(group_id, contingency)
            group.is_triggered = is_triggered
            for order_id in order_ids:
                group.add(self.venue._accounts[account_id].open_orders[order_id])
        waiting = [self._order(instrument, item) for item in record.pegs]
        pegs = [order for order in in_book if order.peg_limit_ticks]
        market.pegs = {order.order_id: order for order in sorted([*pegs, *waiting], key=lambda order: order.order_id)}
        market.tops = {side: TopOrder(order_id, lots) for side, order_id, lots in record.tops}
        market.call = _load_call(record.call)
        for item in record.waiting:
            market.call.waiting[item.order_id] = self._order(instrument, item)

    def book(self, market: Market, record: MarketRecord) -> list[RestingOrder]:
        """Fill the book; returns those that are not plain."""
        instrument = market.instrument
        others = [(place, self._order(instrument, item)) for place, item in record.book.others]
        for order in in_turn(self._plain(record.book.plain, instrument), others):
            market.book.side(order.side).add(order)
        return [order for _, order in others]

    def _plain(self, columns: OrderColumns, instrument: Instrument) -> Iterator[RestingOrder]:
        for order in plain_orders(columns, instrument):
            order.held = hold_needed(instrument, order.side, order.price_ticks, order.leaves_lots, order.fee_credit)
            self._take(order, instrument)
            yield order

    def _order(self, instrument: Instrument, record: OrderRecord) -> RestingOrder:
        require_bounds(record, instrument)
        order = RestingOrder(
            record.order_id,
            record.account_id,
            "",
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
        self._take(order, instrument)
        return order

    def _take(self, order: RestingOrder, instrument: Instrument) -> None:
        """Put the order among its account's open ones, with what it holds held."""
        require(0 < order.order_id <= self.record.last_order_id, f"order {order.order_id}")
        require(order.order_id not in self._order_ids, f"order {order.order_id} is there twice")
        require(order.account_id != FEE_ACCOUNT_ID, f"order {order.order_id} is the venue's own")
        self._order_ids.add(order.order_id)
        venue = self.venue
        account = venue._accounts[order.account_id]
        order.client_order_id = self.take_name(order.order_id, order.account_id)
        account.order_resumes(order)
        venue._open_order_count += 1
        if order.special is not None and order.special.expire_time_ns:
            insort(venue._expiries, (order.special.expire_time_ns, order.order_id, order.account_id))
        is_buy = order.side is Side.BUY
        holding = account.cash_in(instrument.currency) if is_buy else account.position_in(instrument.instrument_id)
        holding.held += order.held
        require(holding.held <= MONEY_MAX, f"order {order.order_id} holds more than there is")


def require_bounds(record: OrderRecord, instrument: Instrument) -> None:
    prices = (record.price_ticks, record.stop_price_ticks, record.peg_limit_ticks)
    require(
        all(0 <= price <= PRICE_TICKS_MAX for price in prices)
        and 0 < record.leaves_lots <= record.quantity_lots <= QUANTITY_LOTS_MAX
        and 0 <= record.hidden_lots <= record.leaves_lots
        and 0 <= record.held <= MONEY_MAX
        and abs(record.fee_credit) <= MONEY_MAX * PPM
        and (record.special is not None or record.price_ticks <= instrument.price_ticks_max)
        and record.price_ticks * record.leaves_lots * instrument.tick_value <= NOTIONAL_MAX,
        f"order {record.order_id} is out of bounds",
    )


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
        check_account(record.account_id, record.open_orders_max, record.trade_group_id, record.firm_id)
        require(record.account_id not in venue._accounts, f"account {record.account_id} is there twice")
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


def _load_market(venue: "Venue", record: MarketRecord) -> None:
    instrument = record.instrument
    check_instrument(instrument)
    require(instrument.instrument_id not in venue._markets, f"{instrument.symbol} is there twice")
    if instrument.matching and not venue._has_strategy_for(instrument):
        raise UnknownStrategy(f"{instrument.symbol} needs the matching algorithm {instrument.matching.algorithm}")
    market = venue._new_market(instrument)
    venue._add_market(market)
    market.phase = record.phase
    market.last_price_ticks = record.last_price_ticks
    market.market_sequence = record.market_sequence
    market.issued_lots = record.issued_lots
    market.close_price_ticks = record.close_price_ticks
    require((record.limits is None) == (market.limits is None), f"limit bands of {instrument.symbol}")
    if market.limits is not None and record.limits is not None:
        _load_limits(market.limits, record.limits)


def _load_limits(limits: LimitBands, record: LimitsRecord) -> None:
    numbers = [number for number, _, _ in record.slices]
    require(numbers == sorted(set(numbers)), "slices of time out of order")
    require(all(0 < trades <= total for _, total, trades in record.slices), "prices of slices of time")
    limits.reference_ticks = record.reference_ticks
    limits.slices.extend(record.slices)
    limits.update_due_ns = record.update_due_ns
    limits.state_side, limits.state_ends_ns = limits.told_state = (record.state_side, record.state_ends_ns)


def _load_breakers(venue: "Venue", record: BreakersRecord) -> None:
    if record.rules is not None:
        halts.check_circuit_breakers(venue, record.rules)
        require(record.tripped <= BREAKER_LEVELS_MAX, f"circuit breaker {record.tripped}")
    halts.set_circuit_breakers(venue, record.rules)
    venue._breakers.tripped = record.tripped
    venue._breakers.halted_until_ns = record.halted_until_ns


def _load_call(record: CallRecord) -> Call:
    call = Call()
    call.ends_ns = record.ends_ns
    call.price_extensions = record.price_extensions
    call.market_order_extensions = record.market_order_extensions
    call.indication = record.indication
    call.auction_price_ticks = record.auction_price_ticks
    return call
