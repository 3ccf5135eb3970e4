"""From events to rows: what each batch changes in the tables that the projection owns. No input or output.

`ProjectionFold` carries what it needs to know from one batch to the next (instruments, accounts, live orders, holdings, last prices) and
gathers the changed rows until `take_changes`. A row that changed several times is gathered once, as it is in the end.
"""

from collections.abc import Callable, Iterable
from typing import Any

import msgspec
from msgspec.structs import astuple, replace

from trading_engine.database.average_cost import Holding
from trading_engine.database.transactional.postings import Postings
from trading_engine.database.transactional.records import InstrumentState
from trading_engine.venue.events import (
    AccountOpened,
    AccountSuspended,
    BookChanged,
    CashAdjusted,
    CashChanged,
    CircuitBreakersSet,
    CommandRefused,
    Event,
    EventBatch,
    InstrumentChanged,
    InstrumentListed,
    KillSwitchSet,
    MarginSet,
    PositionAdjusted,
    PositionChanged,
    RiskLimitsSet,
    TradeExecuted,
    TradingPhaseChanged,
    TransferBegun,
    TransferCompleted,
    TransferReceived,
    TransferReturned,
)
from trading_engine.venue.instrument import Instrument
from trading_engine.venue.order_state import Fill, LiveOrders, OrderReport, OrderState
from trading_engine.venue.terms import Side, SpecialTerms, TradingPhase

Row = tuple[Any, ...]

encode_json = msgspec.json.Encoder().encode
decode_definition = msgspec.json.Decoder(Instrument).decode
decode_terms = msgspec.json.Decoder(SpecialTerms).decode


ADMINISTRATIVE: frozenset[type[Event]] = frozenset(
    (
        AccountOpened,
        AccountSuspended,
        CashAdjusted,
        CircuitBreakersSet,
        CommandRefused,
        InstrumentChanged,
        InstrumentChanged,
        InstrumentListed,
        KillSwitchSet,
        MarginSet,
        PositionAdjusted,
        RiskLimitsSet,
        TradingPhaseChanged,
    )
)
"""Events of commands that are for those who run the venue."""


class Account(msgspec.Struct, frozen=True):
    """The columns of `accounts`, in their order."""

    account_id: int
    open_orders_max: int
    is_suspended: bool
    opened_ns: int


class Changes(msgspec.Struct):
    """Rows to write, each as a tuple of all columns in the order of its table."""

    event_sequence: int
    time_ns: int
    instruments: list[Row]
    accounts: list[Row]
    orders: list[Row]
    trades: list[Row]
    order_events: list[Row]
    positions: list[Row]
    cash_balances: list[Row]
    ledger: list[Row]
    venue_acts: list[Row]


class ProjectionFold:
    def __init__(
        self,
        event_sequence: int = 0,
        time_ns: int = 0,
        instruments: Iterable[InstrumentState] = (),
        accounts: Iterable[Account] = (),
        live_orders: Iterable[OrderState] = (),
        holdings: dict[tuple[int, int], Holding] | None = None,
        last_prices: dict[int, int] | None = None,
        cash: dict[tuple[int, str], int] | None = None,
        brought_forward: Iterable[Row] = (),
    ) -> None:
        self.event_sequence = event_sequence
        self._time_ns = time_ns
        self._instruments = {state.instrument.instrument_id: state for state in instruments}
        self._market_sequences = {number: state.market_sequence for number, state in self._instruments.items()}
        """Apart from the rest, which seldom changes."""
        self._accounts = {account.account_id: account for account in accounts}
        self._orders = LiveOrders(live_orders)
        self._holdings = holdings if holdings is not None else {}
        self._last_prices = last_prices if last_prices is not None else {}
        self._postings = Postings(cash if cash is not None else {}, brought_forward)
        # Orders are folded by `LiveOrders`; refusals leave no row.
        self._handlers: dict[type[Event], Callable[[Any, int, int], None]] = {
            InstrumentListed: self._list_instrument,
            InstrumentChanged: self._redefine_instrument,
            AccountOpened: self._open_account,
            AccountSuspended: self._suspend_account,
            TradingPhaseChanged: self._change_phase,
            TradeExecuted: self._take_trade,
            CashAdjusted: self._postings.adjust_cash,
            TransferBegun: self._postings.begin_transfer,
            TransferReceived: self._postings.receive_transfer,
            TransferCompleted: self._postings.complete_transfer,
            TransferReturned: self._postings.return_transfer,
            CashChanged: self._settle_cash,
            PositionAdjusted: self._deliver,
            PositionChanged: self._settle_position,
            BookChanged: self._change_book,
        }
        self._forget_changes()

    def _forget_changes(self) -> None:
        self._instruments_changed: dict[int, None] = {}
        self._accounts_changed: dict[int, None] = {}
        self._orders_changed: dict[int, OrderState] = {}
        self._holdings_changed: dict[tuple[int, int], None] = {}
        self._cash: dict[tuple[int, str], Row] = {}
        self._trades: list[Row] = []
        self._order_events: list[Row] = []
        self._venue_acts: list[Row] = []

    def take_changes(self) -> Changes:
        """Everything that changed since the last call."""
        changes = Changes(
            event_sequence=self.event_sequence,
            time_ns=self._time_ns,
            instruments=[self._instrument_row(instrument_id) for instrument_id in self._instruments_changed],
            accounts=[astuple(self._accounts[account_id]) for account_id in self._accounts_changed],
            orders=[_order_row(order) for order in self._orders_changed.values()],
            trades=self._trades,
            order_events=self._order_events,
            positions=[(*key, *astuple(self._holdings[key])) for key in self._holdings_changed],
            cash_balances=list(self._cash.values()),
            ledger=self._postings.take(),
            venue_acts=self._venue_acts,
        )
        self._forget_changes()
        return changes

    def apply(self, batch: EventBatch) -> None:
        """Take in the next batch."""
        assert batch.first_event_sequence == self.event_sequence + 1, (batch.first_event_sequence, self.event_sequence)
        for report in self._orders.apply(batch):
            self._take_report(report)
        for sequence, event in enumerate(batch.events, batch.first_event_sequence):
            handler = self._handlers.get(type(event))
            if handler is not None:
                handler(event, sequence, batch.time_ns)
            if type(event) in ADMINISTRATIVE:
                self._venue_acts.append(_venue_act_row(event, sequence, batch))
        self.event_sequence = batch.last_event_sequence
        self._time_ns = batch.time_ns

    # Orders, fills and trades

    def _take_report(self, report: OrderReport) -> None:
        order = report.order
        self._orders_changed[order.order_id] = order
        self._order_events.append(_order_event_row(report))
        if report.fill is not None:
            self._settle_fill(report.fill)

    def _settle_fill(self, fill: Fill) -> None:
        value = fill.price_ticks * fill.quantity_lots * self._instruments[fill.instrument_id].instrument.tick_value
        holding = self._holding(fill.account_id, fill.instrument_id)
        if fill.side is Side.BUY:
            holding.buy(fill.quantity_lots, value, fill.fee)
        else:
            holding.sell(fill.quantity_lots, value, fill.fee)

    def _take_trade(self, event: TradeExecuted, sequence: int, time_ns: int) -> None:
        self._last_prices[event.instrument_id] = event.price_ticks
        self._move_market(event)
        instrument = self._instruments[event.instrument_id].instrument
        value = event.price_ticks * event.quantity_lots * instrument.tick_value
        self._postings.trade(event, instrument.currency, value, sequence, time_ns)
        self._trades.append(
            (
                event.trade_id,
                event.instrument_id,
                event.market_sequence,
                event.price_ticks,
                event.quantity_lots,
                int(event.aggressor_side),
                event.maker_order_id,
                event.maker_account_id,
                event.maker_fee,
                event.taker_order_id,
                event.taker_account_id,
                event.taker_fee,
                time_ns,
                sequence,
            )
        )

    # Balances and positions

    def _settle_cash(self, event: CashChanged, sequence: int, _time_ns: int) -> None:
        key = (event.account_id, event.currency)
        self._cash[key] = (*key, event.balance, event.held, sequence)
        self._postings.check(event, sequence)

    def _holding(self, account_id: int, instrument_id: int) -> Holding:
        key = (account_id, instrument_id)
        self._holdings_changed[key] = None
        if key not in self._holdings:
            self._holdings[key] = Holding()
        return self._holdings[key]

    def _deliver(self, event: PositionAdjusted, sequence: int, time_ns: int) -> None:
        self._postings.adjust_position(event, sequence, time_ns)
        instrument = self._instruments[event.instrument_id].instrument
        price_ticks = self._last_prices.get(event.instrument_id, instrument.reference_price_ticks)
        holding = self._holding(event.account_id, event.instrument_id)
        holding.deliver(event.quantity_lots, price_ticks * event.quantity_lots * instrument.tick_value)

    def _settle_position(self, event: PositionChanged, sequence: int, _time_ns: int) -> None:
        """The venue's word on a position. Had an event been lost, its quantity would differ from what the fills add up to."""
        holding = self._holding(event.account_id, event.instrument_id)
        assert holding.quantity_lots == event.quantity_lots, (sequence, event, holding)
        holding.held_lots = event.held_lots
        holding.event_sequence = sequence

    # Instruments and accounts

    def _list_instrument(self, event: InstrumentListed, _sequence: int, _time_ns: int) -> None:
        state = InstrumentState(event.instrument, TradingPhase.CLOSED, 0)
        self._instruments[event.instrument.instrument_id] = state
        self._market_sequences[event.instrument.instrument_id] = 0
        self._instruments_changed[event.instrument.instrument_id] = None

    def _redefine_instrument(self, event: InstrumentChanged, _sequence: int, _time_ns: int) -> None:
        self._change_instrument(event.instrument.instrument_id, instrument=event.instrument)

    def _change_instrument(self, instrument_id: int, **changes: Any) -> None:
        self._instruments[instrument_id] = replace(self._instruments[instrument_id], **changes)
        self._instruments_changed[instrument_id] = None

    def _change_book(self, event: BookChanged, _sequence: int, _time_ns: int) -> None:
        self._move_market(event)

    def _move_market(self, event: BookChanged | TradeExecuted) -> None:
        self._market_sequences[event.instrument_id] = event.market_sequence
        self._instruments_changed[event.instrument_id] = None

    def _change_phase(self, event: TradingPhaseChanged, _sequence: int, _time_ns: int) -> None:
        for instrument_id in [event.instrument_id] if event.instrument_id else list(self._instruments):
            self._change_instrument(instrument_id, phase=event.phase)

    def _instrument_row(self, instrument_id: int) -> Row:
        state = self._instruments[instrument_id]
        definition = encode_json(state.instrument).decode()
        market_sequence = self._market_sequences[instrument_id]
        return (instrument_id, state.instrument.symbol, int(state.phase), market_sequence, definition)

    def _open_account(self, event: AccountOpened, _sequence: int, time_ns: int) -> None:
        self._store_account(Account(event.account_id, event.open_orders_max, False, time_ns))

    def _suspend_account(self, event: AccountSuspended, _sequence: int, _time_ns: int) -> None:
        self._store_account(replace(self._accounts[event.account_id], is_suspended=event.suspended))

    def _store_account(self, account: Account) -> None:
        self._accounts[account.account_id] = account
        self._accounts_changed[account.account_id] = None


def _venue_act_row(event: Event, sequence: int, batch: EventBatch) -> Row:
    return (
        sequence,
        batch.time_ns,
        batch.producer,
        batch.producer_sequence,
        type(event).__name__,
        getattr(event, "account_id", None),
        encode_json(event).decode(),
    )


def _order_row(order: OrderState) -> Row:
    """Plain integers: the drivers take enumerations as well, but look for an adapter for each one first."""
    return (
        order.order_id,
        order.account_id,
        order.client_order_id,
        order.instrument_id,
        int(order.side),
        int(order.order_type),
        int(order.time_in_force),
        order.post_only,
        order.price_ticks,
        order.quantity_lots,
        order.filled_lots,
        order.filled_value,
        int(order.status),
        None if order.end_reason is None else int(order.end_reason),
        order.created_ns,
        order.updated_ns,
        order.event_sequence,
        int(order.self_trade_prevention),
        order.prevented_lots,
        None if order.special is None else encode_json(order.special).decode(),
        order.stop_price_ticks,
        order.group_id,
        None if order.contingency is None else int(order.contingency),
    )


def _order_event_row(report: OrderReport) -> Row:
    order = report.order
    return (
        report.event_sequence,
        order.order_id,
        order.account_id,
        order.instrument_id,
        report.kind,
        order.price_ticks,
        order.quantity_lots,
        order.filled_lots,
        order.filled_value,
        int(order.status),
        None if order.end_reason is None else int(order.end_reason),
        order.updated_ns,
        *_fill_columns(report),
        order.prevented_lots,
        order.stop_price_ticks,
    )


def _fill_columns(report: OrderReport) -> Row:
    fill, prevention = report.fill, report.prevention
    if fill is not None:
        return (fill.trade_id, fill.price_ticks, fill.quantity_lots, fill.fee, fill.is_maker)
    is_maker = None if prevention is None else prevention.maker_order_id == report.order.order_id
    return (None, None, None, None, is_maker)
