"""The venue: a pure function from numbered commands to numbered events.

    command ──▶ check ──▶ hold ──▶ match ──▶ settle ──▶ release ──▶ events
                  └─ refusal: one event, nothing else changed

No clock, no chance, no input or output: the sequence number and the time come with the command, and everything that happens is in the
events. Two venues that were given the same commands are equal to the last bit (`state_hash`), which is what recovery, replay and
the standby rest on.

Invariants, whenever `apply` has returned:
- no level crosses another, and no all-or-none order could be filled, while trading is continuous;
- an order is in the book, or waits for a price or an auction, exactly if it is among its account's open orders;
- every pegged order stands at its price (`pegs.pegged_price`), or waits where it has none;
- what an account holds is the sum of what its open orders need (`accounts.hold_needed`), and never more than it has;
- the cash of all accounts together, with what is in transit to other shards, is what was paid in less what was paid out; the same, without
  transit, for every instrument's lots.

Within a batch the order of events is: what became of the command, the trades and ends it caused, one after the other what those set
off with theirs (stops that were elected, pegged orders that follow, all-or-none orders that can be filled now), then the balances, then
the book.
"""

from bisect import bisect_left, insort
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from hashlib import blake2b
from itertools import islice
from typing import Any, Self, TypeVar

import msgspec

from trading_engine.venue import banding, halts, sessions, snapshot
from trading_engine.venue import commands as c
from trading_engine.venue import events as e
from trading_engine.venue.accounts import FEE_ACCOUNT_ID, Account, OrderContent, charge_fee, hold_needed, notional
from trading_engine.venue.bands import Bounds, bounds_of
from trading_engine.venue.changes import check_change
from trading_engine.venue.checks import (
    CLIENT_ORDER_ID_BYTES_MAX,
    Refusal,
    auction_limit,
    best_opposite,
    check_account,
    check_attributes,
    check_band,
    check_band_attributes,
    check_call_end,
    check_cover,
    check_expire_time,
    check_instrument,
    check_notional,
    check_open_orders,
    check_peg_limit,
    check_post_only,
    check_price,
    check_quantity,
    check_session,
    check_slices,
    check_special_quantities,
    check_standing,
    check_suspension,
    checked_exit_limit,
    checked_stop_limit,
    phase_refusal,
    protected_price,
    repriced,
    with_protection,
)
from trading_engine.venue.circuit_breakers import Breakers, CircuitBreakers
from trading_engine.venue.groups import OrderGroup, is_group_supported, needed_by_other, needed_now, trigger_exits
from trading_engine.venue.instrument import MONEY_MAX, Instrument
from trading_engine.venue.margin import (
    check_margin,
    check_margin_covers,
    check_margin_terms,
    closing_lots,
    closing_side,
    currencies_of,
    equity,
    free_margin,
    held,
    maintenance,
    orders_in,
)
from trading_engine.venue.market import Market
from trading_engine.venue.matching import NO_STRATEGIES, Strategy, TopOrder
from trading_engine.venue.order_book import OrderBook, PriceLevel, RestingOrder
from trading_engine.venue.pegs import pegged_price
from trading_engine.venue.reasons import EndReason, Reason
from trading_engine.venue.risk import (
    RiskControls,
    check_controls,
    check_countdown,
    check_limits,
    count_begin,
    count_delivery,
    count_end,
    count_leaves,
    count_message,
    count_order,
    count_trade,
    outlasts_connection,
    request_to_place,
    request_to_replace,
)
from trading_engine.venue.risk_limits import MarginTerms, RiskLimits, RiskScope, clipped, value_of
from trading_engine.venue.shards import number_before, shard_of_instrument
from trading_engine.venue.stops import is_reached
from trading_engine.venue.terms import (
    Contingency,
    OrderType,
    SelfTradePrevention,
    Side,
    SpecialTerms,
    TimeInForce,
    TradingPhase,
)
from trading_engine.venue.transfers import (
    TRANSFERS_IN_TRANSIT_MAX,
    Incoming,
    Transfer,
    Transfers,
    check_begin,
    check_receive,
)
from trading_engine.venue.views import DepthLevel, OrderView, view_of

T = TypeVar("T")

encode = msgspec.msgpack.Encoder().encode

PRODUCERS_REMEMBERED = 10_000
"""Producers whose last number is remembered; beyond it the one that has been silent for longest is forgotten."""


LEVELS_ALL = 2**31 - 1
"""More than a side of a book can have."""


class Venue:
    _saver: type[snapshot.Saver] = snapshot.Saver
    _loader: type[snapshot.Loader] = snapshot.Loader

    def __init__(self, strategies: Mapping[str, Strategy] = NO_STRATEGIES) -> None:
        """`strategies` are the matching algorithms, by name, that instruments may ask for."""
        self._strategies = strategies
        self.command_sequence = 0
        self.event_sequence = 0
        self.time_ns = 0
        self._last_order_id = 0
        self._last_trade_id = 0
        self._producers: dict[str, int] = {}
        self._issued_cash: dict[str, int] = {}
        self._transfers = Transfers()
        self._accounts: dict[int, Account] = {}
        self._markets: dict[int, Market] = {}
        self._risk = RiskControls(self._accounts, self._markets)
        self._open_order_count = 0
        self._expiries: list[tuple[int, int, int]] = []
        """(expire time, order id, account id) of the open GTD orders, sorted."""
        self._countdowns: list[tuple[int, int, int]] = []
        """(deadline, account id, instrument id or 0) of the countdowns that run, sorted."""
        self._limited: dict[int, Market] = {}
        """The markets with limit bands."""
        self._breakers = Breakers()
        self._called_for: set[int] = set()
        """Accounts whose margin terms this command has set."""
        self._events: list[e.AnyEvent] = []
        self._elected: deque[RestingOrder] = deque()
        """Stops that trades of this command have reached, and that enter the book when what is going on is done."""
        self._unsettled: set[int] = set()
        """Instruments in which something has changed that others follow; empty between commands."""
        self._cash_touched: dict[tuple[int, str], None] = {}
        self._positions_touched: dict[tuple[int, int], None] = {}
        self._levels_touched: dict[int, set[tuple[Side, int]]] = {}
        self._auctions_touched: set[int] = set()
        self._limits_touched: set[int] = set()
        self._handlers: dict[type[c.Command], Callable[[Any], None]] = {
            c.ListInstrument: self._list_instrument,
            c.OpenAccount: self._open_account,
            c.AdjustCash: self._adjust_cash,
            c.AdjustPosition: self._adjust_position,
            c.SuspendAccount: self._suspend_account,
            c.SetTradingPhase: self._set_trading_phase,
            c.AdvanceClock: self._advance_clock,
            c.PlaceOrder: self._place_order,
            c.CancelOrder: self._cancel_order,
            c.ReplaceOrder: self._replace_order,
            c.MassCancel: self._mass_cancel,
            c.SetRiskLimits: self._set_risk_limits,
            c.SetKillSwitch: self._set_kill_switch,
            c.SetCancelOnDisconnect: self._set_cancel_on_disconnect,
            c.ReportDisconnect: self._report_disconnect,
            c.SetCountdown: self._set_countdown,
            c.SetMargin: self._set_margin,
            c.PlaceOrderGroup: self._place_order_group,
            c.CancelOrderGroup: self._cancel_order_group,
            c.SetCircuitBreakers: self._set_circuit_breakers,
            c.BeginTransfer: self._begin_transfer,
            c.ReceiveTransfer: self._receive_transfer,
            c.CompleteTransfer: self._complete_transfer,
            c.ChangeInstrument: self._change_instrument,
        }
        self._accounts[FEE_ACCOUNT_ID] = self._new_account(FEE_ACCOUNT_ID, 0, 0, 0)

    # What the outside may ask

    @property
    def open_order_count(self) -> int:
        return self._open_order_count

    @property
    def next_event_ns(self) -> int:
        """When something is due that an `AdvanceClock` brings about (an expiry, the end of a countdown, a call, a halt or a limit state, a
        look at a reference price); 0 where nothing is."""
        due = [queue[0][0] for queue in (self._expiries, self._countdowns) if queue]
        return min(filter(None, (*due, sessions.next_end(self), halts.next_due(self))), default=0)

    @property
    def circuit_breakers(self) -> CircuitBreakers | None:
        return self._breakers.rules

    @property
    def instruments(self) -> Mapping[int, Instrument]:
        return {instrument_id: market.instrument for instrument_id, market in self._markets.items()}

    @property
    def account_ids(self) -> frozenset[int]:
        return frozenset(self._accounts)

    @property
    def transfers_in_transit(self) -> Mapping[tuple[int, int], Transfer]:
        """By shard and number, those to one shard in order."""
        return self._transfers.in_transit

    def book(self, instrument_id: int) -> OrderBook:
        """The live book of an instrument: look, do not touch."""
        return self._markets[instrument_id].book

    def depth(self, instrument_id: int, side: Side, levels_max: int = LEVELS_ALL) -> list[DepthLevel]:
        """What one side of the book displays, best level first."""
        book_side = self._markets[instrument_id].book.side(side)
        displayed = (
            DepthLevel(
                price_ticks, book_side.levels[price_ticks].quantity_lots, len(book_side.levels[price_ticks].orders)
            )
            for price_ticks in book_side.prices_best_first()
            if book_side.levels[price_ticks].orders
        )
        return list(islice(displayed, levels_max))

    def queue(self, instrument_id: int, side: Side, price_ticks: int) -> list[OrderView]:
        """The orders at one price, hidden ones too, in order of priority. All-or-none orders stand in no queue."""
        return [view_of(order) for order in self._markets[instrument_id].book.side(side).levels.get(price_ticks, ())]

    def working_order(self, account_id: int, order_id: int) -> OrderView | None:
        """An open order of an account, wherever it waits."""
        order = self._accounts[account_id].open_orders.get(order_id)
        return view_of(order) if order is not None else None

    def stops(self, instrument_id: int) -> Sequence[RestingOrder]:
        """The orders that wait for their stop price: look, do not touch."""
        return tuple(self._markets[instrument_id].stops)

    def pegs(self, instrument_id: int) -> Sequence[RestingOrder]:
        """The pegged orders, in the book or not, in order of entry: look, do not touch."""
        return tuple(self._markets[instrument_id].pegs.values())

    def top_order(self, instrument_id: int, side: Side) -> TopOrder | None:
        """The order that is filled first on a side, where the instrument's matching rules have one."""
        return self._markets[instrument_id].tops.get(side)

    def waiting(self, instrument_id: int) -> Sequence[RestingOrder]:
        """The orders that are in no book because they wait for an auction: look, do not touch."""
        return tuple(self._markets[instrument_id].call.waiting.values())

    def groups(self, instrument_id: int) -> Mapping[int, OrderGroup]:
        """The order groups, by id: look, do not touch."""
        return self._markets[instrument_id].groups

    def phase(self, instrument_id: int) -> TradingPhase:
        return self._markets[instrument_id].phase

    def account(self, account_id: int) -> Account:
        """The live account: look, do not touch."""
        return self._accounts[account_id]

    def risk_limits(self, scope: RiskScope, scope_id: int) -> RiskLimits:
        return self._risk.limits_of(scope, scope_id)

    def refusal_of(self, command: c.ListInstrument | c.ChangeInstrument | c.SetRiskLimits) -> Reason | None:
        """Why this command would be refused now, so that nobody need journal what comes to nothing."""
        try:
            match command:
                case c.ListInstrument(instrument):
                    self._check_listing(instrument)
                case c.ChangeInstrument(instrument):
                    self._checked_change(instrument)
                case c.SetRiskLimits():
                    self._check_risk_limits(command)
        except Refusal as refusal:
            return refusal.reason
        return None

    def snapshot(self) -> bytes:
        """The whole state in one canonical encoding: equal states have equal bytes."""
        return snapshot.save(self)

    def markets_snapshot(self) -> bytes:
        """The markets alone, without accounts and client order ids: what `snapshot.decode_markets` reads."""
        return snapshot.save_markets(self)

    @classmethod
    def restore(cls, data: bytes, strategies: Mapping[str, Strategy] = NO_STRATEGIES) -> Self:
        """The venue of which `snapshot` made `data`. It needs the strategies that its instruments name.

        Raises `SnapshotError`, `UnknownStrategy`.
        """
        venue = cls(strategies)
        snapshot.load(venue, data)
        return venue

    def state_hash(self) -> str:
        return blake2b(self.snapshot(), digest_size=16).hexdigest()

    # What a venue is made of

    def _new_account(self, account_id: int, open_orders_max: int, trade_group_id: int, firm_id: int) -> Account:
        return Account(account_id, open_orders_max, trade_group_id, firm_id)

    def _new_market(self, instrument: Instrument) -> Market:
        return Market(instrument, self._strategy_for(instrument))

    def _strategy_for(self, instrument: Instrument) -> Strategy | None:
        return self._strategies[instrument.matching.algorithm] if instrument.matching else None

    def _has_strategy_for(self, instrument: Instrument) -> bool:
        return instrument.matching is None or instrument.matching.algorithm in self._strategies

    # The one way in

    def apply(self, sequenced: c.SequencedCommand) -> e.EventBatch | None:
        """Apply the next command. None when its producer's number was applied before."""
        assert sequenced.sequence == self.command_sequence + 1, (sequenced.sequence, self.command_sequence)
        assert sequenced.time_ns >= self.time_ns, (sequenced.time_ns, self.time_ns)
        self.command_sequence = sequenced.sequence
        self.time_ns = sequenced.time_ns
        if not self._is_new(sequenced.producer, sequenced.producer_sequence):
            return None
        try:
            self._handlers[type(sequenced.command)](sequenced.command)
            if self._elected or self._unsettled:
                self._follow_up()
            if self._limited or self._breakers.has_traded:
                halts.settle(self)
            if self._risk.margin_accounts:
                self._call_margins()
                halts.settle(self)
        except Refusal as refusal:
            assert not self._events, (sequenced, self._events)
            self._events.append(refused(sequenced.command, refusal))
        self._report_touched()
        events, self._events = tuple(self._events), []
        batch = e.EventBatch(
            sequenced.sequence,
            sequenced.time_ns,
            sequenced.producer,
            sequenced.producer_sequence,
            self.event_sequence + 1,
            events,
        )
        self.event_sequence += len(events)
        return batch

    def apply_encoded(self, sequenced: c.SequencedCommand, encoded: bytes = b"") -> bytes | None:  # noqa: ARG002 (for compiled code)
        """`apply` for whoever wants the event batch as MessagePack; `encoded` is the command so, where that is at hand."""
        batch = self.apply(sequenced)
        return encode(batch) if batch else None

    def _follow_up(self) -> None:
        """What the command has set off, one thing after the other until nothing more comes of it.

        It ends: a leg is activated once, whatever trades or is prevented takes lots off open orders, an all-or-none order that enters
        trades, each stop is elected once, and without any of it nothing changes that a pegged order follows, so each moves once.
        """
        while self._elected or self._unsettled:
            market = self._markets[min(self._unsettled)] if self._unsettled else None
            if market is not None and market.broken_groups:
                self._cancel_exits(market, market.broken_groups.popleft())
            elif self._elected:
                self._trigger(self._elected.popleft())
            elif market is not None and not self._follow(market):
                self._unsettled.remove(market.instrument.instrument_id)

    def _follow(self, market: Market) -> bool:
        """One step of what others do because of what has changed; returns whether there was one."""
        return self._activate_leg(market) or self._reprice_pegs(market) or self._fill_all_or_none(market)

    def _is_new(self, producer: str, producer_sequence: int) -> bool:
        last = self._producers.pop(producer, 0)
        is_new = producer_sequence > last
        self._producers[producer] = producer_sequence if is_new else last
        if len(self._producers) > PRODUCERS_REMEMBERED:
            del self._producers[next(iter(self._producers))]
        return is_new

    def _report_touched(self) -> None:
        for account_id, currency in self._cash_touched:
            cash = self._accounts[account_id].cash_in(currency)
            assert 0 <= cash.held <= cash.quantity + self._accounts[account_id].credit_max, (
                account_id,
                currency,
                cash.held,
                cash.quantity,
            )
            self._events.append(e.CashChanged(account_id, currency, cash.quantity, cash.held))
        for account_id, instrument_id in self._positions_touched:
            position = self._accounts[account_id].position_in(instrument_id)
            short_lots_max = self._accounts[account_id].short_lots_max(self._markets[instrument_id].instrument)
            assert 0 <= position.held <= position.quantity + short_lots_max, (
                account_id,
                instrument_id,
                position.held,
                position.quantity,
            )
            self._events.append(e.PositionChanged(account_id, instrument_id, position.quantity, position.held))
        for instrument_id, touched in self._levels_touched.items():
            self._report_levels(self._markets[instrument_id], touched)
        if self._auctions_touched:
            sessions.indicate(self)
        if self._limited:
            banding.report_states(self)
        self._cash_touched.clear()
        self._positions_touched.clear()
        self._levels_touched.clear()

    def _report_levels(self, market: Market, touched: set[tuple[Side, int]]) -> None:
        levels = []
        for side, price_ticks in sorted(touched):
            level = market.book.side(side).levels.get(price_ticks)
            levels.append(
                (int(side), price_ticks, level.quantity_lots, len(level.orders))
                if level and level.orders
                else (int(side), price_ticks, 0, 0)
            )
        market.market_sequence += 1
        self._events.append(e.BookChanged(market.instrument.instrument_id, market.market_sequence, tuple(levels)))

    # Administration

    def _list_instrument(self, command: c.ListInstrument) -> None:
        instrument = command.instrument
        self._check_listing(instrument)
        self._add_market(self._new_market(instrument))
        self._issued_cash.setdefault(instrument.currency, 0)
        self._number_within(shard_of_instrument(instrument.instrument_id))
        self._events.append(e.InstrumentListed(instrument))

    def _number_within(self, shard: int) -> None:
        self._last_order_id = max(self._last_order_id, number_before(shard))
        self._last_trade_id = max(self._last_trade_id, number_before(shard))

    def _check_listing(self, instrument: Instrument) -> None:
        if instrument.instrument_id in self._markets or any(
            market.instrument.symbol == instrument.symbol for market in self._markets.values()
        ):
            raise Refusal(Reason.INSTRUMENT_EXISTS)
        check_instrument(instrument)
        if not self._has_strategy_for(instrument):
            raise Refusal(Reason.UNKNOWN_MATCHING_ALGORITHM)

    def _change_instrument(self, command: c.ChangeInstrument) -> None:
        instrument = command.instrument
        market = self._checked_change(instrument)
        fee_ppm_max = market.instrument.fee_ppm_max
        market.redefine(instrument)
        self._events.append(e.InstrumentChanged(instrument))
        if instrument.fee_ppm_max != fee_ppm_max:
            for order in market.open_orders():
                if order.side is Side.BUY:
                    self._hold(market, order)
        self._called_for |= market.margin_holders

    def _checked_change(self, instrument: Instrument) -> Market:
        market = self._find_market(instrument.instrument_id)
        check_change(market, instrument, self._accounts)
        return market

    def _add_market(self, market: Market) -> None:
        self._markets[market.instrument.instrument_id] = market
        if market.limits is not None:
            self._limited[market.instrument.instrument_id] = market

    def _open_account(self, command: c.OpenAccount) -> None:
        for instrument_id, _ in command.positions:
            self._find_market(instrument_id)
        if command.account_id in self._accounts:
            raise Refusal(Reason.ACCOUNT_EXISTS)
        for currency, _ in command.cash:
            self._check_currency(currency)
        self._check_opening_amounts(command)
        check_account(command.account_id, command.open_orders_max, command.trade_group_id, command.firm_id)
        account = self._new_account(
            command.account_id, command.open_orders_max, command.trade_group_id, command.firm_id
        )
        self._accounts[command.account_id] = account
        self._risk.bind(account)
        self._events.append(
            e.AccountOpened(account.account_id, account.open_orders_max, account.trade_group_id, account.firm_id)
        )
        for currency, amount in command.cash:
            self._move_cash_in(account, currency, amount, "opening")
        for instrument_id, lots in command.positions:
            self._move_lots_in(account, instrument_id, lots, "opening")

    def _check_opening_amounts(self, command: c.OpenAccount) -> None:
        """Amounts of one kind may come in several entries: none may be negative, and their sum must fit."""
        cash: dict[str, int] = {}
        for currency, amount in command.cash:
            cash[currency] = cash.get(currency, 0) + amount
            if amount < 0 or self._issued_cash[currency] + cash[currency] + self._risk.credit_max > MONEY_MAX:
                raise Refusal(Reason.AMOUNT_OUT_OF_RANGE)
        lots: dict[int, int] = {}
        for instrument_id, quantity_lots in command.positions:
            lots[instrument_id] = lots.get(instrument_id, 0) + quantity_lots
            issued = self._markets[instrument_id].issued_lots + lots[instrument_id]
            if quantity_lots < 0 or issued + self._risk.short_lots_max > MONEY_MAX:
                raise Refusal(Reason.AMOUNT_OUT_OF_RANGE)

    def _find_account(self, account_id: int) -> Account:
        account = self._accounts.get(account_id)
        if account is None:
            raise Refusal(Reason.UNKNOWN_ACCOUNT)
        return account

    def _find_trading_account(self, account_id: int) -> Account:
        if account_id == FEE_ACCOUNT_ID:
            raise Refusal(Reason.UNKNOWN_ACCOUNT)
        return self._find_account(account_id)

    def _find_market(self, instrument_id: int) -> Market:
        market = self._markets.get(instrument_id)
        if market is None:
            raise Refusal(Reason.UNKNOWN_INSTRUMENT)
        return market

    def _check_currency(self, currency: str) -> None:
        if currency not in self._issued_cash:
            raise Refusal(Reason.UNKNOWN_CURRENCY)

    def _move_cash_in(self, account: Account, currency: str, amount: int, reference: str) -> None:
        self._issued_cash[currency] += amount
        self._move_cash(account, currency, amount)
        self._events.append(e.CashAdjusted(account.account_id, currency, amount, reference))

    def _move_cash(self, account: Account, currency: str, amount: int) -> None:
        account.cash_in(currency).quantity += amount
        self._cash_touched[account.account_id, currency] = None

    def _move_lots_in(self, account: Account, instrument_id: int, lots: int, reference: str) -> None:
        account.position_in(instrument_id).quantity += lots
        market = self._markets[instrument_id]
        market.issued_lots += lots
        if account.controls:
            count_delivery(account, market, lots)
        self._positions_touched[account.account_id, instrument_id] = None
        self._events.append(e.PositionAdjusted(account.account_id, instrument_id, lots, reference))

    def _adjust_cash(self, command: c.AdjustCash) -> None:
        account = self._find_account(command.account_id)
        self._check_currency(command.currency)
        if command.amount < 0:
            self._check_free_cash(account, command.currency, -command.amount)
        elif not self._has_room_for(command.currency, command.amount):
            raise Refusal(Reason.AMOUNT_OUT_OF_RANGE)
        self._move_cash_in(account, command.currency, command.amount, command.reference)

    def _has_room_for(self, currency: str, amount: int) -> bool:
        return self._issued_cash[currency] + amount + self._risk.credit_max <= MONEY_MAX

    def _check_free_cash(self, account: Account, currency: str, amount: int) -> None:
        """Refuse to take out more than is free."""
        cash = account.cash.get(currency)
        if amount > max(0, cash.available if cash else 0):
            raise Refusal(Reason.AMOUNT_OUT_OF_RANGE)
        if account.margin is not None:
            self._check_free_margin(account, currency, amount)

    def _begin_transfer(self, command: c.BeginTransfer) -> None:
        account = self._find_trading_account(command.account_id)
        check_begin(command)
        known = self._transfers.known.get((command.account_id, command.transfer_id))
        if known is not None and not known.is_same(command):
            raise Refusal(Reason.DUPLICATE_TRANSFER_ID)
        if known is not None:
            received = self._transfers.ended.get(known.name)
            self._events.append(e.TransferRepeated(*known.name, known.to_shard, known.number, received))
            return
        check_standing(account)
        self._check_currency(command.currency)
        if command.amount <= 0:
            raise Refusal(Reason.AMOUNT_OUT_OF_RANGE)
        self._check_free_cash(account, command.currency, command.amount)
        if self._transfers.counts.get(command.account_id, 0) >= TRANSFERS_IN_TRANSIT_MAX:
            raise Refusal(Reason.TOO_MANY_TRANSFERS)
        transfer = self._transfers.begin(command)
        self._move_cash(account, command.currency, -command.amount)
        self._events.append(e.TransferBegun(*msgspec.structs.astuple(transfer)))

    def _receive_transfer(self, command: c.ReceiveTransfer) -> None:
        check_receive(command, self._transfers)
        incoming = self._transfers.received.setdefault(command.from_shard, Incoming())
        account_id, currency, amount, from_shard, number, settled = msgspec.structs.astuple(command)
        if number <= incoming.last:
            received = number not in incoming.rejected
            self._events.append(e.TransferAnswered(account_id, from_shard, number, received))
            return
        reason = self._why_not_received(command)
        incoming.take(number, settled, received=reason is None)
        if reason is not None:
            self._events.append(e.TransferRejected(account_id, currency, amount, from_shard, number, reason))
            return
        self._issued_cash[currency] += amount
        self._move_cash(self._accounts[account_id], currency, amount)
        self._events.append(e.TransferReceived(account_id, currency, amount, from_shard, number))

    def _why_not_received(self, command: c.ReceiveTransfer) -> Reason | None:
        if command.account_id == FEE_ACCOUNT_ID or command.account_id not in self._accounts:
            return Reason.UNKNOWN_ACCOUNT
        if command.currency not in self._issued_cash:
            return Reason.UNKNOWN_CURRENCY
        return None if self._has_room_for(command.currency, command.amount) else Reason.AMOUNT_OUT_OF_RANGE

    def _complete_transfer(self, command: c.CompleteTransfer) -> None:
        transfer = self._transfers.end(command.to_shard, command.number, received=command.received)
        if transfer is None:
            raise Refusal(Reason.UNKNOWN_TRANSFER)
        content = msgspec.structs.astuple(transfer)
        if command.received:
            self._issued_cash[transfer.currency] -= transfer.amount
            self._events.append(e.TransferCompleted(*content))
        else:
            self._move_cash(self._accounts[transfer.account_id], transfer.currency, transfer.amount)
            self._events.append(e.TransferReturned(*content))

    def _adjust_position(self, command: c.AdjustPosition) -> None:
        account = self._find_account(command.account_id)
        market = self._find_market(command.instrument_id)
        position = account.positions.get(command.instrument_id)
        available = position.available if position else 0
        issued, lots = market.issued_lots + command.quantity_lots, command.quantity_lots
        if issued + self._risk.short_lots_max > MONEY_MAX or (lots < 0 and available + lots < 0):
            raise Refusal(Reason.AMOUNT_OUT_OF_RANGE)
        if lots < 0 and account.margin is not None:
            self._check_free_margin(account, market.instrument.currency, value_of(market, -lots))
        self._move_lots_in(account, command.instrument_id, command.quantity_lots, command.reference)

    def _suspend_account(self, command: c.SuspendAccount) -> None:
        account = self._find_account(command.account_id)
        account.suspended = command.suspended
        self._events.append(e.AccountSuspended(command.account_id, command.suspended))

    def _set_trading_phase(self, command: c.SetTradingPhase) -> None:
        if command.instrument_id:
            markets = [self._find_market(command.instrument_id)]
        else:
            markets = [market for _, market in sorted(self._markets.items())]
        if not command.trading_day_ends and all(
            market.phase is command.phase and market.call.ends_ns == command.ends_ns for market in markets
        ):
            raise Refusal(Reason.PHASE_UNCHANGED)
        check_call_end(command, self.time_ns)
        halts.check_phase(self, command)
        self._events.append(
            e.TradingPhaseChanged(command.instrument_id, command.phase, command.trading_day_ends, command.ends_ns)
        )
        for market in markets:
            sessions.enter(self, market, command.phase, command.ends_ns)
            self._follow_up()
        if command.trading_day_ends:
            for market in markets:
                self._expire_day_orders(market)
                market.close_price_ticks = market.last_price_ticks
            self._follow_up()
            if not command.instrument_id:
                self._risk.begin_day()
                self._breakers.begin_day()

    def _expire_day_orders(self, market: Market) -> None:
        for order in market.open_orders():
            if order.time_in_force.ends_with_day:
                canceled_lots = self._take_out(market, order)
                self._events.append(
                    e.OrderExpired(order.order_id, order.account_id, canceled_lots, EndReason.END_OF_DAY)
                )

    def _advance_clock(self, _command: c.AdvanceClock) -> None:
        """All that is due, in order of time, each with what it sets off; what expires when a call ends has no part in its auction."""
        expired_count = 0
        while 0 < (due_ns := self.next_event_ns) <= self.time_ns:
            if self._expiries and self._expiries[0][0] == due_ns:
                self._expire_next()
                expired_count += 1
            elif self._countdowns and self._countdowns[0][0] == due_ns:
                self._elapse_next()
            elif sessions.next_end(self) == due_ns:
                sessions.end_call(self, due_ns)
            else:
                halts.elapse(self, due_ns)
            self._follow_up()
            halts.settle(self)
        self._events.insert(0, e.ClockAdvanced(expired_count))

    def _expire_next(self) -> None:
        _, order_id, account_id = self._expiries[0]
        order = self._accounts[account_id].find_order(order_id, "")
        assert order, order_id
        canceled_lots = self._take_out(self._markets[order.instrument_id], order)
        self._events.append(e.OrderExpired(order_id, account_id, canceled_lots, EndReason.EXPIRE_TIME_REACHED))

    def _set_circuit_breakers(self, command: c.SetCircuitBreakers) -> None:
        if command.breakers is not None:
            halts.check_circuit_breakers(self, command.breakers)
        halts.set_circuit_breakers(self, command.breakers)
        self._events.append(e.CircuitBreakersSet(command.breakers))

    def _check_risk_limits(self, command: c.SetRiskLimits) -> None:
        self._risk.check_scope(command.scope, command.scope_id)
        check_limits(command.limits)

    def _set_risk_limits(self, command: c.SetRiskLimits) -> None:
        self._check_risk_limits(command)
        self._risk.set_limits(command.scope, command.scope_id, command.limits)
        self._events.append(e.RiskLimitsSet(command.scope, command.scope_id, command.limits))

    def _set_kill_switch(self, command: c.SetKillSwitch) -> None:
        self._risk.check_scope(command.scope, command.scope_id)
        self._risk.set_killed(command.scope, command.scope_id, command.active)
        self._events.append(e.KillSwitchSet(command.scope, command.scope_id, command.active))
        if command.active:
            for order in self._risk.orders_in(command.scope, command.scope_id):
                self._withdraw(order, EndReason.KILL_SWITCH)

    def _set_cancel_on_disconnect(self, command: c.SetCancelOnDisconnect) -> None:
        account = self._find_trading_account(command.account_id)
        account.disconnect_action = command.action
        self._events.append(e.CancelOnDisconnectSet(command.account_id, command.action))

    def _report_disconnect(self, command: c.ReportDisconnect) -> None:
        account = self._find_trading_account(command.account_id)
        self._events.append(e.DisconnectReported(command.account_id))
        for _, order in sorted(account.open_orders.items()):
            if not outlasts_connection(order, account.disconnect_action):
                self._withdraw(order, EndReason.CONNECTION_LOST)

    def _set_countdown(self, command: c.SetCountdown) -> None:
        account = self._find_trading_account(command.account_id)
        if command.instrument_id:
            self._find_market(command.instrument_id)
        check_countdown(command.timeout_ns, self.time_ns)
        self._end_countdown(account, command.instrument_id)
        deadline_ns = self.time_ns + command.timeout_ns if command.timeout_ns else 0
        if deadline_ns:
            account.countdowns[command.instrument_id] = deadline_ns
            insort(self._countdowns, (deadline_ns, account.account_id, command.instrument_id))
        self._events.append(e.CountdownSet(command.account_id, command.instrument_id, deadline_ns))

    def _end_countdown(self, account: Account, instrument_id: int) -> None:
        deadline_ns = account.countdowns.pop(instrument_id, 0)
        if deadline_ns:
            del self._countdowns[bisect_left(self._countdowns, (deadline_ns, account.account_id, instrument_id))]

    def _elapse_next(self) -> None:
        """Cancel what the owner of the next countdown wanted canceled, had he not been heard of."""
        _, account_id, instrument_id = self._countdowns[0]
        account = self._accounts[account_id]
        self._end_countdown(account, instrument_id)
        self._events.append(e.CountdownElapsed(account_id, instrument_id))
        for _, order in sorted(account.open_orders.items()):
            if instrument_id in (0, order.instrument_id):
                self._withdraw(order, EndReason.CONNECTION_LOST)

    def _set_margin(self, command: c.SetMargin) -> None:
        account = self._find_trading_account(command.account_id)
        check_margin_terms(command.terms)
        before = account.margin or MarginTerms()
        terms = command.terms or MarginTerms()
        credit = self._risk.credit_max - before.credit_max + terms.credit_max
        short_lots = self._risk.short_lots_max - before.short_lots_max + terms.short_lots_max
        if (
            max(self._issued_cash.values(), default=0) + credit > MONEY_MAX
            or max((market.issued_lots for market in self._markets.values()), default=0) + short_lots > MONEY_MAX
        ):
            raise Refusal(Reason.INVALID_MARGIN)
        check_margin_covers(account, command.terms, self._markets)
        self._risk.set_margin(account, command.terms)
        self._events.append(e.MarginSet(command.account_id, command.terms))
        if account.margin is not None:
            self._called_for.add(account.account_id)

    def _check_free_margin(self, account: Account, currency: str, less: int) -> None:
        if free_margin(account, currency, self._markets) < less:
            raise Refusal(Reason.AMOUNT_OUT_OF_RANGE)

    def _call_margins(self) -> None:
        """Tell the margin accounts that this command has brought below maintenance margin or back; close out who has agreed to it.

        A close-out trades, and may bring down others, so all are looked at again after each; in each currency an account is closed
        out once in a command.
        """
        closed_out: set[tuple[int, str]] = set()
        while True:
            count = len(closed_out)
            for account in self._margin_accounts_touched():
                for currency in currencies_of(account, self._markets):
                    if self._call_margin(
                        account, currency, may_close_out=(account.account_id, currency) not in closed_out
                    ):
                        closed_out.add((account.account_id, currency))
                        self._close_out(account, currency)
            if len(closed_out) == count:
                self._called_for.clear()
                return

    def _margin_accounts_touched(self) -> list[Account]:
        """Those whose equity may have changed, by account id."""
        touched = {account_id for account_id, _ in (*self._cash_touched, *self._positions_touched)} | self._called_for
        for instrument_id in {instrument_id for _, instrument_id in self._positions_touched}:
            touched |= self._markets[instrument_id].margin_holders
        return [self._accounts[account_id] for account_id in sorted(touched & self._risk.margin_accounts.keys())]

    def _call_margin(self, account: Account, currency: str, *, may_close_out: bool) -> bool:
        """Returns whether the account is to be closed out."""
        assert account.margin is not None
        worth = equity(account, currency, self._markets)
        needed = maintenance(account, currency, self._markets)
        if worth >= needed:
            if currency in account.margin_calls:
                account.margin_calls.remove(currency)
                self._events.append(e.MarginRestored(account.account_id, currency))
            return False
        closes = (
            account.margin.liquidate
            and may_close_out
            and bool(
                orders_in(account, currency, self._markets)
                or any(closing_lots(account, market) for market, _ in held(account, currency, self._markets))
            )
        )
        if closes or currency not in account.margin_calls:
            account.margin_calls.add(currency)
            self._events.append(e.MarginCalled(account.account_id, currency, clipped(worth), clipped(needed), closes))
        return closes

    def _close_out(self, account: Account, currency: str) -> None:
        for order in orders_in(account, currency, self._markets):
            self._withdraw(order, EndReason.MARGIN_CALL)
        self._follow_up()
        for market, lots in list(held(account, currency, self._markets)):
            quantity_lots = closing_lots(account, market)
            if quantity_lots:
                self._close_position(account, market, closing_side(lots), quantity_lots)
                self._follow_up()

    def _close_position(self, account: Account, market: Market, side: Side, quantity_lots: int) -> None:
        """With a market order that no limit applies to."""
        order = RestingOrder(
            self._last_order_id + 1,
            account.account_id,
            "",
            market.instrument.instrument_id,
            side,
            OrderType.MARKET,
            TimeInForce.IOC,
            quantity_lots,
            protected_price(market, side),
            False,
            SelfTradePrevention.NONE,
            None,
        )
        self._last_order_id = order.order_id
        self._open_order_count += 1
        account.order_begins(order, content_of_order(order))
        count_begin(account, market, order)
        self._events.append(
            e.OrderAccepted(
                order.order_id,
                order.account_id,
                "",
                order.instrument_id,
                order.side,
                order.order_type,
                order.time_in_force,
                order.quantity_lots,
                order.price_ticks,
                order.post_only,
            )
        )
        self._hold(market, order)
        self._match_and_rest(market, order)

    def _withdraw(self, order: RestingOrder, reason: EndReason) -> None:
        """Cancel an order for its owner's or everybody's safety, whatever the phase."""
        canceled_lots = self._take_out(self._markets[order.instrument_id], order)
        self._events.append(e.OrderCanceled(order.order_id, order.account_id, canceled_lots, reason))

    # Orders

    def _place_order(self, command: c.PlaceOrder) -> None:
        account = self._find_trading_account(command.account_id)
        repeated = self._find_repeated(account, command)
        if repeated:
            self._events.append(e.OrderRepeated(repeated, command.account_id, command.client_order_id))
            return
        order, market = self._checked_order(account, command)
        is_gathering = not market.phase_rule.match or order.time_in_force.is_for_auction
        is_waiting = is_gathering and sessions.waits(market, order)
        self._begin(account, order, command, is_waiting)
        self._hold(market, order)
        if is_waiting:
            market.call.waiting[order.order_id] = order
        if order.special is None:
            self._match_and_rest(market, order)
        else:
            self._enter_special(market, order)

    def _begin(self, account: Account, order: RestingOrder, command: c.PlaceOrder, is_waiting: bool = False) -> None:
        self._last_order_id = order.order_id
        self._open_order_count += 1
        account.order_begins(order, content_of(command))
        if account.controls:
            count_order(account, self._markets[order.instrument_id], order, command, self.time_ns)
        self._events.append(
            e.OrderAccepted(
                order.order_id,
                order.account_id,
                order.client_order_id,
                order.instrument_id,
                order.side,
                order.order_type,
                order.time_in_force,
                order.quantity_lots,
                order.price_ticks,
                order.post_only,
                order.self_trade_prevention,
                order.special,
                entered_price(command, order),
                is_waiting,
            )
        )
        if order.special is not None and order.special.expire_time_ns:
            insort(self._expiries, expiry_of(order, order.special))

    def _enter_special(self, market: Market, order: RestingOrder) -> None:
        if order.stop_price_ticks:
            market.stops.add(order)
        elif order.order_type is OrderType.PEGGED:
            order.peg_limit_ticks, order.price_ticks = order.price_ticks, 0
            market.pegs[order.order_id] = order
            self._unsettle(market)
        else:
            self._match_and_rest(market, order)

    def _find_repeated(self, account: Account, command: c.PlaceOrder) -> int:
        """The id of the order that this one repeats, 0 where it is new."""
        if len(command.client_order_id.encode()) > CLIENT_ORDER_ID_BYTES_MAX:
            raise Refusal(Reason.CLIENT_ORDER_ID_TOO_LONG, CLIENT_ORDER_ID_BYTES_MAX)
        known = account.known_order(command.client_order_id) if command.client_order_id else None
        if known is None:
            return 0
        order_id, content = known
        if content != content_of(command):
            raise Refusal(Reason.DUPLICATE_CLIENT_ORDER_ID, order_id)
        return order_id

    def _checked_order(
        self, account: Account, command: c.PlaceOrder, legs_before: int | None = None
    ) -> tuple[RestingOrder, Market]:
        """The order, ready to be held for and matched; `legs_before` counts those of its group, None where it has none."""
        check_standing(account)
        market = self._find_market(command.instrument_id)
        instrument = market.instrument
        check_suspension(market)
        if not market.phase_rule.new:
            raise phase_refusal(market)
        if market.phase is not TradingPhase.CONTINUOUS or command.time_in_force.is_for_auction:
            check_session(market.phase, command)
        check_attributes(command)
        check_band_attributes(instrument, command)
        if command.special is not None:
            check_expire_time(command.special, command.time_in_force, self.time_ns)
        check_quantity(instrument, command.quantity_lots)
        if command.special is not None:
            check_special_quantities(command.special, command.quantity_lots)
        if command.order_type is OrderType.LIMIT:
            price_ticks = command.price_ticks
            check_price(instrument, price_ticks)
            check_band(market, price_ticks, market.last_price_ticks)
        else:
            price_ticks = limit_of_type(market, command)
        if command.special is not None and command.special.reprice:
            price_ticks = repriced(market, command.side, price_ticks)
        check_notional(instrument, price_ticks, command.quantity_lots)
        check_open_orders(account, command, legs_before)
        if command.post_only and command.order_type is not OrderType.PEGGED:
            check_post_only(market, command.side, price_ticks)
        if account.controls:
            request = request_to_place(account, market, self._markets, self.time_ns, command, price_ticks)
            check_controls(request)
            if account.margin is not None:
                check_margin(request)
        needed = hold_needed(instrument, command.side, price_ticks, command.quantity_lots)
        check_cover(account, instrument, command.side, needed)
        return resting_order(self._last_order_id + 1, command, price_ticks), market

    # Groups of orders

    def _place_order_group(self, command: c.PlaceOrderGroup) -> None:
        account = self._find_trading_account(command.account_id)
        check_standing(account)
        if not is_group_supported(command) or not self._may_have_groups(account, command):
            raise Refusal(Reason.UNSUPPORTED_ORDER_GROUP)
        repeated = [
            self._of_leg(leg, self._find_repeated, account, placed) for leg, placed in enumerate(command.orders, 1)
        ]
        if all(repeated):
            for known, placed in zip(repeated, command.orders, strict=True):
                self._events.append(e.OrderRepeated(known, placed.account_id, placed.client_order_id))
            return
        if any(repeated):
            leg, known = next((leg, known) for leg, known in enumerate(repeated, 1) if known)
            raise Refusal(Reason.DUPLICATE_CLIENT_ORDER_ID, known, leg)
        orders = [
            self._of_leg(leg, self._checked_leg, account, placed, leg, command.contingency)
            for leg, placed in enumerate(command.orders, 1)
        ]
        market = self._markets[orders[0].instrument_id]
        group = market.groups[orders[0].order_id] = OrderGroup(orders[0].order_id, command.contingency)
        self._events.append(
            e.OrderGroupAccepted(
                group.group_id,
                account.account_id,
                market.instrument.instrument_id,
                group.contingency,
                tuple(order.order_id for order in orders),
            )
        )
        for order, placed in zip(orders, command.orders, strict=True):
            group.add(order)
            self._begin(account, order, placed)
        self._unsettle(market)

    def _may_have_groups(self, account: Account, command: c.PlaceOrderGroup) -> bool:
        """Not under risk limits, which judge orders one by one, and not while orders gather."""
        market = self._markets.get(command.orders[0].instrument_id)
        is_gathering = market is not None and market.phase_rule.new and not market.phase_rule.match
        return not account.controls and not is_gathering

    @staticmethod
    def _of_leg(leg: int, check: Callable[..., T], *arguments: Any) -> T:
        """The result of a check whose refusal has to say which order of a group it is about."""
        try:
            return check(*arguments)
        except Refusal as refusal:
            refusal.leg = leg
            raise

    def _checked_leg(self, account: Account, command: c.PlaceOrder, leg: int, contingency: Contingency) -> RestingOrder:
        """The order, ready to wait. What will be active at once has to pass as an order by itself; for the others it is seen then."""
        if contingency is Contingency.OCO or leg == 1:
            order, _ = self._checked_order(account, command, leg - 1)
        else:
            order = self._checked_exit(account, command, leg - 1)
        order.order_id = self._last_order_id + leg
        order.is_waiting_leg = True
        return order

    def _checked_exit(self, account: Account, command: c.PlaceOrder, legs_before: int) -> RestingOrder:
        market = self._markets[command.instrument_id]
        check_attributes(command)
        if command.special is not None:
            check_expire_time(command.special, command.time_in_force, self.time_ns)
        check_quantity(market.instrument, command.quantity_lots)
        if command.special is not None:
            check_special_quantities(command.special, command.quantity_lots)
        stop_price_ticks = command.special.stop_price_ticks if command.special else 0
        price_ticks = checked_exit_limit(
            market, command.side, command.order_type, command.price_ticks, stop_price_ticks
        )
        check_notional(market.instrument, price_ticks, command.quantity_lots)
        check_open_orders(account, command, legs_before)
        return resting_order(0, command, price_ticks)

    def _activate_leg(self, market: Market) -> bool:
        """Let the first order in that waited for another and has not to any more; returns whether there was one."""
        if not market.phase_rule.match:
            return False
        order = next(filter(None, (group.next_due() for _, group in sorted(market.groups.items()))), None)
        if order is None:
            return False
        try:
            self._check_activation(market, order)
        except Refusal as refusal:
            self._events.append(e.LegRefused(order.order_id, order.account_id, refusal.reason, refusal.limit))
            self._cancel(market, order, EndReason.LEG_REFUSED)
            return True
        order.is_waiting_leg = False
        self._hold(market, order)
        self._events.append(e.LegActivated(order.order_id, order.account_id))
        last_price_ticks = market.last_price_ticks
        if (
            order.stop_price_ticks
            and last_price_ticks
            and is_reached(order.side, order.stop_price_ticks, last_price_ticks)
        ):
            self._elected.append(order)
        else:
            self._enter_special(market, order)
        return True

    def _check_activation(self, market: Market, order: RestingOrder) -> None:
        if order.order_type is OrderType.LIMIT:
            check_band(market, order.price_ticks, market.last_price_ticks)
        if order.post_only:
            check_post_only(market, order.side, order.price_ticks)
        needed = hold_needed(market.instrument, order.side, order.price_ticks, order.leaves_lots)
        self._check_more_needed(market, order, needed)

    def _cancel_other_exits(self, market: Market, *orders: RestingOrder) -> None:
        """Of two exits the one that trades, or is triggered, cancels the other at once: so never more than one is in the book."""
        for order in orders:
            group = order.group
            other = group.other_exit(order) if group is not None else None
            if group is None or other is None:
                continue
            group.let_go(other)
            if not group.legs:
                del market.groups[group.group_id]
            self._cancel_leg(market, other)
            self._hold(market, order)

    def _cancel_exits(self, market: Market, group: OrderGroup) -> None:
        for order in list(group.exits):
            self._cancel_leg(market, order)

    def _cancel_leg(self, market: Market, order: RestingOrder) -> None:
        if order in self._elected:
            self._elected.remove(order)
            self._cancel_outside(market, order, EndReason.ORDER_GROUP)
        else:
            self._cancel(market, order, EndReason.ORDER_GROUP)

    def _leave_group(self, order: RestingOrder, group: OrderGroup) -> None:
        group.remove(order)
        market = self._markets[order.instrument_id]
        if not group.legs:
            del market.groups[group.group_id]
        elif group.is_over:
            market.broken_groups.append(group)
            self._unsettle(market)

    def _cancel_order_group(self, command: c.CancelOrderGroup) -> None:
        account = self._find_trading_account(command.account_id)
        groups = (order.group for order in account.open_orders.values() if order.group is not None)
        group = next((group for group in groups if group.group_id == command.group_id), None)
        if group is None:
            raise Refusal(Reason.UNKNOWN_ORDER_GROUP)
        for order in list(group.legs):
            self._cancel(self._markets[order.instrument_id], order, EndReason.REQUESTED)

    def _replace_waiting_leg(
        self, market: Market, order: RestingOrder, quantity_lots: int, command: c.ReplaceOrder
    ) -> None:
        """Change an order that waits for another. It has no place that it could lose, and holds nothing."""
        if (command.price_ticks and not order.order_type.has_limit) or (
            command.stop_price_ticks and not order.stop_price_ticks
        ):
            raise Refusal(Reason.UNSUPPORTED_ORDER_ATTRIBUTES)
        check_quantity(market.instrument, quantity_lots)
        if order.special is not None:
            check_slices(order.special, quantity_lots)
        stop_price_ticks = command.stop_price_ticks or order.stop_price_ticks
        price_ticks = checked_exit_limit(
            market, order.side, order.order_type, command.price_ticks or order.price_ticks, stop_price_ticks
        )
        check_notional(market.instrument, price_ticks, quantity_lots)
        self._check_more_risk(market, order, quantity_lots, price_ticks, 0)
        order.quantity_lots = order.leaves_lots = quantity_lots
        order.price_ticks, order.stop_price_ticks = price_ticks, stop_price_ticks
        self._hold(market, order)
        self._report_replaced(order, priority_kept=True)

    def _trigger(self, order: RestingOrder) -> None:
        """Let an elected stop into the book."""
        market = self._markets[order.instrument_id]
        order.stop_price_ticks = 0
        self._events.append(e.OrderTriggered(order.order_id, order.account_id))
        if order.group is not None:
            self._cancel_other_exits(market, order)
        self._match_and_rest(market, order)

    def _match_and_rest(self, market: Market, order: RestingOrder) -> None:
        self._unsettle(market)
        if not market.phase_rule.match or order.time_in_force.is_for_auction:
            sessions.gather(self, market, order)
            return
        if market.limits is not None:
            banding.price_incoming(self, market, market.limits, order)
        at_once_lots = needed_at_once(order)
        bounds = bounds_of(market)
        if at_once_lots > 0 and not self._is_fillable(market, order, at_once_lots, bounds):
            if order.is_all_or_none:
                self._rest(market, order)
                return
            is_fok = order.time_in_force is TimeInForce.FOK
            reason = EndReason.FOK_NOT_FILLABLE if is_fok else EndReason.MINIMUM_NOT_FILLABLE
            self._cancel_outside(market, order, reason)
            return
        if self._match(market, order, bounds):
            return
        if order.leaves_lots == 0:
            return
        if order.time_in_force.is_immediate:
            self._cancel_outside(market, order, EndReason.IOC_REMAINDER)
        else:
            self._rest(market, order)

    def _is_fillable(self, market: Market, order: RestingOrder, lots: int, bounds: Bounds | None) -> bool:
        """Whether the book can fill so much of an incoming order within its limit and the instrument's band."""
        if bounds is None:
            return is_fillable(market, order, lots, self._have_one_owner)
        best = market.book.side(order.side.opposite).best
        is_buy, limit = order.side is Side.BUY, order.price_ticks
        if best is None or (best < bounds.lowest if is_buy else best > bounds.highest):
            return False
        order.price_ticks = min(limit, bounds.highest) if is_buy else max(limit, bounds.lowest)
        try:
            return is_fillable(market, order, lots, self._have_one_owner)
        finally:
            order.price_ticks = limit

    def _give_way(self, market: Market, order: RestingOrder) -> None:
        """The next trade of an incoming order would be outside the instrument's band: a call begins instead, or the order ends."""
        rules = market.instrument.bands
        assert rules is not None
        if not rules.call_ns:
            self._cancel_outside(market, order, EndReason.OUTSIDE_BAND)
            return
        sessions.interrupt(self, market, TradingPhase.VOLATILITY_CALL, rules.call_ns)
        sessions.gather(self, market, order)

    def _match(self, market: Market, order: RestingOrder, bounds: Bounds | None) -> bool:
        """Match an incoming order as far as it goes; returns whether it is taken care of, by prevention or by the band."""
        while order.leaves_lots:
            resting = market.book.next_match(order)
            if resting is None:
                return False
            if bounds is not None and not bounds.lowest <= resting.price_ticks <= bounds.highest:
                self._give_way(market, order)
                return True
            if market.strategy is not None and not resting.is_all_or_none:
                if self._share_out(market, resting.price_ticks, order):
                    return True
            elif not order.self_trade_prevention or not self._have_one_owner(order, resting):
                self._trade(market, resting, order)
            elif self._prevent_self_trade(market, resting, order):
                return True
        return False

    def _share_out(self, market: Market, price_ticks: int, incoming: RestingOrder) -> bool:
        """Match with one level whose orders share what is taken; returns whether prevention has ended the incoming order."""

        def is_own(resting: RestingOrder) -> bool:
            return bool(incoming.self_trade_prevention) and self._have_one_owner(incoming, resting)

        level = market.book.side(incoming.side.opposite).levels[price_ticks]
        for resting, lots, own in market.meetings(level, incoming, incoming.leaves_lots, is_own):
            if not own:
                self._trade(market, resting, incoming, lots)
            elif self._prevent_self_trade(market, resting, incoming):
                return True
        return False

    def _rest(self, market: Market, order: RestingOrder) -> None:
        if order.special is not None:
            order.show_slice()
        if market.strategy is not None:
            market.order_rests(order)
        market.book.side(order.side).add(order)
        self._touch_level(order)

    def _unsettle(self, market: Market) -> None:
        if market.has_followers:
            self._unsettled.add(market.instrument.instrument_id)

    def _reprice_pegs(self, market: Market) -> bool:
        """Bring pegged orders to their prices; returns whether one of them met somebody there, so that all has to be looked at again.

        All that move leave the book before the first enters it, or two of them could meet at a price that both are about to leave.
        """
        prices = [(order, pegged_price(market, order)) for order in market.pegs.values()]
        moving = [(order, price_ticks) for order, price_ticks in prices if price_ticks != order.price_ticks]
        for order, _ in moving:
            if order.price_ticks:
                self._unprice(market, order)
                self._events.append(e.OrderRestated(order.order_id, order.account_id, 0, 0))
        for order, price_ticks in moving:
            if not price_ticks or (order.post_only and market.book.crosses(order.side, price_ticks)):
                continue
            order.price_ticks = price_ticks
            self._events.append(e.OrderRestated(order.order_id, order.account_id, price_ticks, 0))
            told = len(self._events)
            self._match_and_rest(market, order)
            if len(self._events) > told:
                return True
        return False

    def _fill_all_or_none(self, market: Market) -> bool:
        """Fill the first all-or-none order for which there is enough now, buys before sells; returns whether there was one."""
        if not market.phase_rule.match:
            return False
        for order in [*market.book.bids.all_or_none, *market.book.asks.all_or_none]:
            if self._is_fillable(market, order, order.leaves_lots, bounds_of(market)):
                market.book.side(order.side).remove(order)
                self._match_and_rest(market, order)
                return True
        return False

    def _unprice(self, market: Market, order: RestingOrder) -> None:
        """Take a pegged order out of the book: it waits for a price."""
        self._leave_level(market, order)
        order.price_ticks = order.hidden_lots = 0

    def _trade(self, market: Market, resting: RestingOrder, incoming: RestingOrder, share_lots: int = 0) -> None:
        """Match at the resting order's price, and settle: as much as both have, or the resting order's share where it has one."""
        price_ticks = resting.price_ticks
        lots = share_lots or min(resting.leaves_lots - resting.hidden_lots, incoming.leaves_lots)
        if market.tops:
            market.order_taken(resting, lots)
        self._touch_level(resting)
        market.book.fill(resting, lots)
        incoming.leaves_lots -= lots
        self._execute(market, resting, incoming, lots, price_ticks)
        self._settle_groups_and_ends(market, resting, incoming)
        if market.stops.count:
            self._elect(market, price_ticks)

    def _settle_groups_and_ends(self, market: Market, *traded: RestingOrder) -> None:
        """What a trade does to the orders that it filled, and to those that depend on them."""
        if market.groups:
            trigger_exits(*traded)
        for order in traded:
            if order.leaves_lots == 0:
                self._end(order)
        if market.groups:
            self._cancel_other_exits(market, *traded)

    def _execute(
        self,
        market: Market,
        maker: RestingOrder,
        taker: RestingOrder,
        lots: int,
        price_ticks: int,
        is_auction: bool = False,
    ) -> None:
        """Settle and report a trade that both orders have given their lots for."""
        instrument = market.instrument
        value = notional(instrument, price_ticks, lots)
        if is_auction:
            maker_fee = charge_fee(maker, value, max(instrument.maker_fee_ppm, 0))
            taker_fee = charge_fee(taker, value, max(instrument.maker_fee_ppm, 0))
        else:
            taker_fee = charge_fee(taker, value, instrument.taker_fee_ppm)
            maker_fee = charge_fee(maker, value, instrument.maker_fee_ppm, -taker_fee)
        self._settle(market, maker, lots, value, maker_fee)
        self._settle(market, taker, lots, value, taker_fee)
        if maker_fee or taker_fee:
            self._accounts[FEE_ACCOUNT_ID].cash_in(instrument.currency).quantity += maker_fee + taker_fee
            self._cash_touched[FEE_ACCOUNT_ID, instrument.currency] = None
        market.last_price_ticks = price_ticks
        if market.limits is not None and not is_auction:
            market.limits.note(self.time_ns, price_ticks)
        if market.is_indexed:
            self._breakers.has_traded = True
        market.market_sequence += 1
        self._last_trade_id += 1
        self._events.append(
            e.TradeExecuted(
                self._last_trade_id,
                instrument.instrument_id,
                market.market_sequence,
                price_ticks,
                lots,
                taker.side,
                maker.order_id,
                maker.account_id,
                maker.leaves_lots,
                maker_fee,
                taker.order_id,
                taker.account_id,
                taker.leaves_lots,
                taker_fee,
                is_auction,
            )
        )

    def _elect(self, market: Market, price_ticks: int) -> None:
        """Let the stops see a trade."""
        self._elected += market.stops.elect(price_ticks)
        for order, stop_price_ticks in market.stops.followers(price_ticks):
            self._trail(market, order, stop_price_ticks)

    def _trail(self, market: Market, order: RestingOrder, stop_price_ticks: int) -> None:
        """Move a trailing stop, and its limit with it."""
        moved = stop_price_ticks - order.stop_price_ticks
        market.stops.remove(order)
        order.stop_price_ticks = stop_price_ticks
        market.stops.add(order)
        if order.order_type is OrderType.STOP:
            order.price_ticks = with_protection(market.instrument, order.side, stop_price_ticks)
        else:
            order.price_ticks = min(max(order.price_ticks + moved, 1), market.instrument.price_ticks_max)
        self._hold(market, order)
        self._events.append(e.OrderRestated(order.order_id, order.account_id, order.price_ticks, stop_price_ticks))

    def _have_one_owner(self, order: RestingOrder, other: RestingOrder) -> bool:
        return self._accounts[order.account_id].has_owner_of(self._accounts[other.account_id])

    def _prevent_self_trade(self, market: Market, resting: RestingOrder, incoming: RestingOrder) -> bool:
        """What the incoming order's mode has happen instead of a trade; returns whether the incoming order has ended by it."""
        mode = incoming.self_trade_prevention
        lots = min(resting.leaves_lots - resting.hidden_lots, incoming.leaves_lots)
        if mode is SelfTradePrevention.DECREMENT:
            self._touch_level(resting)
            if market.tops:
                market.order_taken(resting, lots)
            market.book.fill(resting, lots)
            incoming.leaves_lots -= lots
            self._hold(market, resting)
            self._hold(market, incoming)
        self._events.append(
            e.SelfTradePrevented(
                market.instrument.instrument_id,
                resting.price_ticks,
                lots,
                mode,
                resting.order_id,
                resting.account_id,
                resting.leaves_lots,
                incoming.order_id,
                incoming.account_id,
                incoming.leaves_lots,
            )
        )
        if resting.leaves_lots == 0:
            self._cancel_outside(market, resting, EndReason.SELF_TRADE_PREVENTED)
        elif mode in (SelfTradePrevention.CANCEL_RESTING, SelfTradePrevention.CANCEL_BOTH):
            self._cancel(market, resting, EndReason.SELF_TRADE_PREVENTED)
        ends = mode in (SelfTradePrevention.CANCEL_INCOMING, SelfTradePrevention.CANCEL_BOTH)
        if ends or incoming.leaves_lots == 0:
            self._cancel_outside(market, incoming, EndReason.SELF_TRADE_PREVENTED)
            return True
        return False

    def _settle(self, market: Market, order: RestingOrder, lots: int, value: int, fee: int) -> None:
        """Move cash and lots for one side of a trade, and give back what the order need not hold any more."""
        account = self._accounts[order.account_id]
        cash = account.cash_in(market.instrument.currency)
        position = account.position_in(market.instrument.instrument_id)
        self._hold(market, order)
        if order.side is Side.BUY:
            cash.quantity -= value + fee
            position.quantity += lots
            self._positions_touched[account.account_id, market.instrument.instrument_id] = None
        else:
            cash.quantity += value - fee
            position.quantity -= lots
            self._cash_touched[account.account_id, market.instrument.currency] = None
        if account.controls:
            count_trade(account, market, order.side, lots, value, fee)

    def _hold(self, market: Market, order: RestingOrder) -> None:
        """Bring what the account holds for this order to what it needs now. Called whenever anything of an order changes."""
        if market.phase_rule.call:
            self._auctions_touched.add(market.instrument.instrument_id)
        if order.group is not None:
            self._hold_for_legs(market, order, order.group)
            return
        needed = 0
        if order.leaves_lots:
            needed = hold_needed(market.instrument, order.side, order.limit_ticks, order.leaves_lots, order.fee_credit)
        self._set_held(market, order, needed)

    def _hold_for_legs(self, market: Market, order: RestingOrder, group: OrderGroup) -> None:
        """Of two exits the second holds what the first does not."""
        self._set_held(market, order, needed_now(market.instrument, order))
        if order is group.primary:
            return
        covered = 0
        for leg in group.exits:
            needed = needed_now(market.instrument, leg)
            self._set_held(market, leg, max(0, needed - covered))
            covered = max(covered, needed)

    def _set_held(self, market: Market, order: RestingOrder, needed: int) -> None:
        account = self._accounts[order.account_id]
        if order.side is Side.BUY:
            account.cash_in(market.instrument.currency).held += needed - order.held
            self._cash_touched[account.account_id, market.instrument.currency] = None
        else:
            account.position_in(market.instrument.instrument_id).held += needed - order.held
            self._positions_touched[account.account_id, market.instrument.instrument_id] = None
        order.held = needed
        if account.controls:
            count_leaves(account, market.instrument, order)

    def _end(self, order: RestingOrder) -> None:
        assert order.held == 0
        account = self._accounts[order.account_id]
        account.order_ends(order)
        if account.controls:
            count_end(account, self._markets[order.instrument_id], order)
        self._open_order_count -= 1
        if order.group is not None:
            self._leave_group(order, order.group)
        if order.special is not None:
            self._end_special(order, order.special)

    def _end_special(self, order: RestingOrder, special: SpecialTerms) -> None:
        if special.expire_time_ns:
            del self._expiries[bisect_left(self._expiries, expiry_of(order, special))]
        if order.peg_limit_ticks:
            del self._markets[order.instrument_id].pegs[order.order_id]

    def _cancel_outside(self, market: Market, order: RestingOrder, reason: EndReason) -> None:
        """End an order that is not in the book."""
        canceled_lots, order.leaves_lots = order.leaves_lots, 0
        self._hold(market, order)
        self._end(order)
        self._events.append(e.OrderCanceled(order.order_id, order.account_id, canceled_lots, reason))

    def _take_out(self, market: Market, order: RestingOrder) -> int:
        """End an order that is in the book or waits outside of it; returns the lots that were left of it."""
        self._unsettle(market)
        if order.is_waiting_leg:
            order.is_waiting_leg = False
        elif order.stop_price_ticks:
            market.stops.remove(order)
        elif market.call.waiting and order.order_id in market.call.waiting:
            del market.call.waiting[order.order_id]
        elif order.price_ticks:
            self._leave_level(market, order)
        canceled_lots, order.leaves_lots = order.leaves_lots, 0
        self._hold(market, order)
        self._end(order)
        return canceled_lots

    def _leave_level(self, market: Market, order: RestingOrder) -> None:
        self._touch_level(order)
        market.book.side(order.side).remove(order)
        if market.tops:
            market.order_leaves(order)

    def _touch_level(self, order: RestingOrder) -> None:
        if order.is_hidden:  # Nothing that anybody may see has changed.
            return
        self._levels_touched.setdefault(order.instrument_id, set()).add((order.side, order.price_ticks))

    def _find_order(self, account: Account, order_id: int, client_order_id: str) -> tuple[RestingOrder, Market]:
        order = account.find_order(order_id, client_order_id)
        if order is None:
            raise Refusal(Reason.UNKNOWN_ORDER)
        return order, self._markets[order.instrument_id]

    def _cancel_order(self, command: c.CancelOrder) -> None:
        account = self._find_trading_account(command.account_id)
        order, market = self._find_order(account, command.order_id, command.client_order_id)
        self._cancel(market, order, EndReason.REQUESTED)
        count_message(account, self.time_ns)

    def _mass_cancel(self, command: c.MassCancel) -> None:
        account = self._find_trading_account(command.account_id)
        if command.instrument_id:
            self._find_market(command.instrument_id)
        if command.side not in (0, Side.BUY, Side.SELL):
            raise Refusal(Reason.UNSUPPORTED_ORDER_ATTRIBUTES)
        orders = [
            order
            for _, order in sorted(account.open_orders.items())
            if command.instrument_id in (0, order.instrument_id) and command.side in (0, order.side)
        ]
        for order in orders:
            self._cancel(self._markets[order.instrument_id], order, EndReason.MASS_CANCELED)
        count_message(account, self.time_ns)
        self._events.append(e.MassCancelCompleted(command.account_id, command.instrument_id, command.side, len(orders)))

    def _cancel(self, market: Market, order: RestingOrder, reason: EndReason) -> None:
        assert market.phase_rule.cancel, market.phase
        canceled_lots = self._take_out(market, order)
        self._events.append(e.OrderCanceled(order.order_id, order.account_id, canceled_lots, reason))

    def _replace_order(self, command: c.ReplaceOrder) -> None:
        account = self._find_trading_account(command.account_id)
        check_standing(account)
        order, market = self._find_order(account, command.order_id, command.client_order_id)
        check_suspension(market)
        if not market.phase_rule.replace:
            raise phase_refusal(market)
        quantity_lots = command.quantity_lots or order.quantity_lots
        if order.is_waiting_leg:
            self._replace_waiting_leg(market, order, quantity_lots, command)
            count_message(account, self.time_ns)
            return
        if order.stop_price_ticks:
            self._replace_stop(market, order, quantity_lots, command)
            count_message(account, self.time_ns)
            return
        is_waiting = order.order_id in market.call.waiting
        if command.stop_price_ticks or (is_waiting and command.price_ticks and not order.order_type.has_limit):
            raise Refusal(Reason.UNSUPPORTED_ORDER_ATTRIBUTES)
        price_ticks = command.price_ticks or order.limit_ticks
        self._check_replace(market, order, quantity_lots, price_ticks)
        if quantity_lots <= order.done_lots:
            self._cancel(market, order, EndReason.REDUCED_TO_FILLED)
        elif is_waiting:
            self._replace_waiting(market, order, quantity_lots, price_ticks)
        elif keeps_priority(order, quantity_lots, price_ticks):
            self._reduce(market, order, quantity_lots)
        elif order.peg_limit_ticks:
            self._replace_pegged(market, order, quantity_lots, price_ticks)
        else:
            self._enter_anew(market, order, quantity_lots, price_ticks)
        count_message(account, self.time_ns)

    def _check_replace(self, market: Market, order: RestingOrder, quantity_lots: int, price_ticks: int) -> None:
        instrument = market.instrument
        ends_order = quantity_lots <= order.done_lots
        if not ends_order or quantity_lots <= 0:
            check_quantity(instrument, quantity_lots)
            if order.special is not None:
                check_slices(order.special, quantity_lots)
        check_price(instrument, price_ticks)
        if ends_order:
            return
        # Who only takes quantity off need not chase the market.
        reference = 0 if keeps_priority(order, quantity_lots, price_ticks) else market.last_price_ticks
        check_band(market, price_ticks, reference)
        check_notional(instrument, price_ticks, quantity_lots)
        if order.post_only and not order.peg_limit_ticks:
            check_post_only(market, order.side, price_ticks)
        self._check_more_cover(market, order, quantity_lots, price_ticks, reference)

    def _check_more_cover(
        self, market: Market, order: RestingOrder, quantity_lots: int, price_ticks: int, collar_reference_ticks: int
    ) -> None:
        self._check_more_risk(market, order, quantity_lots, price_ticks, collar_reference_ticks)
        leaves_lots = quantity_lots - order.done_lots
        needed = hold_needed(market.instrument, order.side, price_ticks, leaves_lots, order.fee_credit)
        self._check_more_needed(market, order, needed)

    def _check_more_risk(
        self, market: Market, order: RestingOrder, quantity_lots: int, price_ticks: int, collar_reference_ticks: int
    ) -> None:
        account = self._accounts[order.account_id]
        if account.controls:
            request = request_to_replace(
                account,
                market,
                self._markets,
                self.time_ns,
                order,
                quantity_lots,
                price_ticks,
                collar_reference_ticks,
            )
            check_controls(request)
            if account.margin is not None:
                check_margin(request)

    def _check_more_needed(self, market: Market, order: RestingOrder, needed: int) -> None:
        """Refuse where the account cannot hold what the order is to need, together with the other exit of its group."""
        instrument = market.instrument
        by_other = needed_by_other(instrument, order)
        more = max(needed, by_other) - max(needed_now(instrument, order), by_other)
        if more > 0:
            check_cover(self._accounts[order.account_id], instrument, order.side, more)

    def _replace_stop(self, market: Market, order: RestingOrder, quantity_lots: int, command: c.ReplaceOrder) -> None:
        """Change an order that waits. It has not traded yet, and does not trade now."""
        if command.price_ticks and not order.order_type.has_limit:
            raise Refusal(Reason.UNSUPPORTED_ORDER_ATTRIBUTES)
        check_quantity(market.instrument, quantity_lots)
        if order.special is not None:
            check_slices(order.special, quantity_lots)
        stop_price_ticks = command.stop_price_ticks or order.stop_price_ticks
        price_ticks = checked_stop_limit(
            market, order.side, order.order_type, command.price_ticks or order.price_ticks, stop_price_ticks
        )
        check_notional(market.instrument, price_ticks, quantity_lots)
        reference = stop_price_ticks if order.order_type.has_limit else 0
        self._check_more_cover(market, order, quantity_lots, price_ticks, reference)
        keeps = stop_price_ticks == order.stop_price_ticks
        if not keeps:
            market.stops.remove(order)
            order.stop_price_ticks = stop_price_ticks
            market.stops.add(order)
        order.quantity_lots = order.leaves_lots = quantity_lots
        order.price_ticks = price_ticks
        self._hold(market, order)
        self._report_replaced(order, keeps)

    def _replace_waiting(self, market: Market, order: RestingOrder, quantity_lots: int, price_ticks: int) -> None:
        """Change an order that waits for an auction. It has not traded yet, and does not trade now."""
        keeps = keeps_priority(order, quantity_lots, price_ticks)
        if not keeps:
            market.call.waiting[order.order_id] = market.call.waiting.pop(order.order_id)
        order.quantity_lots = order.leaves_lots = quantity_lots
        order.price_ticks = price_ticks
        self._hold(market, order)
        self._report_replaced(order, keeps)

    def _reduce(self, market: Market, order: RestingOrder, quantity_lots: int) -> None:
        """Take quantity off the order's back: it keeps its place in the queue."""
        if quantity_lots < order.quantity_lots:
            self._unsettle(market)
            if order.price_ticks:
                self._touch_level(order)
                market.book.side(order.side).reduce(order, order.quantity_lots - quantity_lots)
                if market.tops:
                    market.order_reduced(order)
            else:
                order.leaves_lots -= order.quantity_lots - quantity_lots
            order.quantity_lots = quantity_lots
            self._hold(market, order)
        self._report_replaced(order, priority_kept=True)

    def _enter_anew(self, market: Market, order: RestingOrder, quantity_lots: int, price_ticks: int) -> None:
        self._leave_level(market, order)
        order.leaves_lots += quantity_lots - order.quantity_lots
        order.quantity_lots = quantity_lots
        order.price_ticks = price_ticks
        self._hold(market, order)
        self._report_replaced(order, priority_kept=False)
        self._match_and_rest(market, order)

    def _replace_pegged(self, market: Market, order: RestingOrder, quantity_lots: int, limit_ticks: int) -> None:
        """Change a pegged order and have it find its price anew."""
        if order.price_ticks:
            self._unprice(market, order)
        self._unsettle(market)
        order.leaves_lots += quantity_lots - order.quantity_lots
        order.quantity_lots = quantity_lots
        order.peg_limit_ticks = limit_ticks
        self._hold(market, order)
        self._report_replaced(order, priority_kept=False)

    def _report_replaced(self, order: RestingOrder, priority_kept: bool) -> None:
        self._events.append(
            e.OrderReplaced(
                order.order_id,
                order.account_id,
                order.quantity_lots,
                order.leaves_lots,
                order.limit_ticks,
                priority_kept,
                order.stop_price_ticks,
            )
        )


def expiry_of(order: RestingOrder, special: SpecialTerms) -> tuple[int, int, int]:
    return special.expire_time_ns, order.order_id, order.account_id


def resting_order(order_id: int, command: c.PlaceOrder, price_ticks: int) -> RestingOrder:
    return RestingOrder(
        order_id,
        command.account_id,
        command.client_order_id,
        command.instrument_id,
        command.side,
        command.order_type,
        command.time_in_force,
        command.quantity_lots,
        price_ticks,
        command.post_only,
        command.self_trade_prevention,
        command.special,
    )


def content_of(command: c.PlaceOrder) -> OrderContent:
    return (
        command.instrument_id,
        int(command.side),
        int(command.order_type),
        int(command.time_in_force),
        command.quantity_lots,
        command.price_ticks,
        command.post_only,
        int(command.self_trade_prevention),
        command.special,
    )


def content_of_order(order: RestingOrder) -> OrderContent:
    """Of a market order that the venue made itself."""
    instrument_id, quantity_lots = order.instrument_id, order.quantity_lots
    return (
        instrument_id,
        int(order.side),
        int(order.order_type),
        int(order.time_in_force),
        quantity_lots,
        0,
        False,
        0,
        None,
    )


def limit_of_type(market: Market, command: c.PlaceOrder) -> int:
    """The limit of an order that is no limit order, checked where it is the client's."""
    if command.order_type is OrderType.MARKET:
        if command.time_in_force.is_for_auction or not market.phase_rule.match:
            return auction_limit(market, command.side)
        return protected_price(market, command.side)
    if command.order_type is OrderType.MARKET_TO_LIMIT:
        return best_opposite(market, command.side)
    assert command.special, command
    if command.order_type is OrderType.PEGGED:
        check_peg_limit(market, command.price_ticks)
        return command.price_ticks
    stop_price_ticks = command.special.stop_price_ticks
    return checked_stop_limit(market, command.side, command.order_type, command.price_ticks, stop_price_ticks)


def entered_price(command: c.PlaceOrder, order: RestingOrder) -> int:
    """The client's limit, where the venue has moved it; else 0."""
    is_moved = order.special is not None and order.special.reprice and order.price_ticks != command.price_ticks
    return command.price_ticks if is_moved else 0


def keeps_priority(order: RestingOrder, quantity_lots: int, price_ticks: int) -> bool:
    """Whether a replace leaves the order its place in the queue."""
    return price_ticks == order.limit_ticks and quantity_lots <= order.quantity_lots


def needed_at_once(order: RestingOrder) -> int:
    """How many lots have to trade as the order enters the book."""
    if order.time_in_force is TimeInForce.FOK:
        return order.leaves_lots
    if order.special is None:
        return 0
    if order.special.all_or_none:
        return order.leaves_lots
    return min(order.special.minimum_lots - order.done_lots, order.leaves_lots)


def is_fillable(
    market: Market, order: RestingOrder, lots: int, have_one_owner: Callable[[RestingOrder, RestingOrder], bool]
) -> bool:
    """Whether the book can fill so much of an incoming order within its limit, before a trade that would be prevented."""
    book = market.book
    if not order.self_trade_prevention and not book.side(order.side.opposite).all_or_none:
        return book.fillable_lots(order.side, order.price_ticks, lots) >= lots
    left_lots = order.leaves_lots

    def is_own(resting: RestingOrder) -> bool:
        return bool(order.self_trade_prevention) and have_one_owner(order, resting)

    def in_one_level(level: PriceLevel) -> Iterator[tuple[RestingOrder, int]]:
        return market.slices(level, order, left_lots, is_own)

    for resting, slice_lots in book.slices(order.side, order.price_ticks, in_one_level):
        if resting.is_all_or_none and slice_lots > left_lots:
            continue
        if not is_own(resting):
            left_lots -= slice_lots
        elif order.self_trade_prevention is not SelfTradePrevention.CANCEL_RESTING:
            return False
        if order.leaves_lots - left_lots >= lots:
            return True
    return False


def refused(command: c.Command, refusal: Refusal) -> e.AnyEvent:  # noqa: C901  # One row per kind of command.
    """The event that tells of a refusal."""
    match command:
        case c.PlaceOrder():
            return e.OrderRejected(
                command.account_id,
                command.client_order_id,
                command.instrument_id,
                command.side,
                command.order_type,
                command.time_in_force,
                command.quantity_lots,
                command.price_ticks,
                command.post_only,
                refusal.reason,
                refusal.limit,
                command.self_trade_prevention,
                command.special,
            )
        case c.CancelOrder():
            return e.CancelRejected(command.account_id, command.order_id, command.client_order_id, refusal.reason)
        case c.PlaceOrderGroup():
            return e.OrderGroupRejected(
                command.account_id, command.contingency, refusal.leg, refusal.reason, refusal.limit
            )
        case c.ReplaceOrder():
            return e.ReplaceRejected(
                command.account_id, command.order_id, command.client_order_id, refusal.reason, refusal.limit
            )
        case c.SetCancelOnDisconnect() | c.ReportDisconnect() | c.SetMargin():
            return command_refused(command, refusal.reason, command.account_id)
        case c.ListInstrument() | c.ChangeInstrument():
            return command_refused(command, refusal.reason, instrument_id=command.instrument.instrument_id)
        case c.SetCircuitBreakers():
            return command_refused(command, refusal.reason)
        case c.AdjustPosition() | c.MassCancel() | c.SetCountdown():
            return command_refused(command, refusal.reason, command.account_id, command.instrument_id)
        case c.SetTradingPhase():
            return command_refused(command, refusal.reason, instrument_id=command.instrument_id)
        case c.OpenAccount() | c.AdjustCash() | c.SuspendAccount() | c.CancelOrderGroup():
            return command_refused(command, refusal.reason, command.account_id)
        case c.BeginTransfer() | c.ReceiveTransfer():
            return command_refused(command, refusal.reason, command.account_id)
        case c.CompleteTransfer():
            return command_refused(command, refusal.reason)
        case c.SetRiskLimits() | c.SetKillSwitch():
            is_account = command.scope is RiskScope.ACCOUNT
            return command_refused(command, refusal.reason, command.scope_id if is_account else 0)
    raise AssertionError(command)


def command_refused(
    command: c.Command, reason: Reason, account_id: int = 0, instrument_id: int = 0
) -> e.CommandRefused:
    tag = command.__struct_config__.tag
    assert isinstance(tag, int)
    return e.CommandRefused(tag, account_id, instrument_id, reason)
