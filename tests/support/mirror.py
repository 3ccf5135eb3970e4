"""The venue's state as its events alone tell it.

A second, deliberately naive account of what the venue holds: queues are lists, books are scanned, sums are made again after every
command. It sees no command and imports none of the venue's machinery, so it shares no mistake with it. Every event is checked against
the state before it, and what the events say of balances and books (`CashChanged`, `PositionChanged`, `BookChanged`) is compared with
what the trades and orders make of them: two accounts that have to agree after every batch.

An event that does not follow is an assertion with the event in it.
"""

from dataclasses import dataclass, field
from fractions import Fraction

from support.margin_mirror import MarginMirror
from support.naive_auction import NOTHING, Interest, Outcome, naive_price
from support.naive_limits import LATEST, NaiveLimits
from support.risk_mirror import RiskMirror
from trading_engine.venue import accounts, transfers
from trading_engine.venue import events as e
from trading_engine.venue.circuit_breakers import CircuitBreakers
from trading_engine.venue.instrument import Instrument
from trading_engine.venue.reasons import EndReason, Reason
from trading_engine.venue.terms import (
    Contingency,
    OrderType,
    SelfTradePrevention,
    Side,
    SpecialTerms,
    TimeInForce,
    TradingPhase,
)

FEE_ACCOUNT = 0
TRANSFER = ("account_id", "transfer_id", "currency", "amount")
MILLION = 1_000_000

REFUSALS = (
    e.OrderGroupRejected,
    e.CommandRefused,
    e.OrderRejected,
    e.OrderRepeated,
    e.CancelRejected,
    e.ReplaceRejected,
)

LIMITED = (OrderType.LIMIT, OrderType.STOP_LIMIT, OrderType.PEGGED)
"""Types whose limit is the client's."""
CALLS = (
    TradingPhase.OPENING_CALL,
    TradingPhase.VOLATILITY_CALL,
    TradingPhase.INTRADAY_CALL,
    TradingPhase.CLOSING_CALL,
    TradingPhase.REOPENING_CALL,
)
GATHERING = (*CALLS, TradingPhase.PRE_OPEN, TradingPhase.CLOSING_CROSS)
"""Phases in which orders are taken and not matched."""
AUCTION_TIMES = (TimeInForce.OPG, TimeInForce.CLS)
Content = tuple[int, Side, OrderType, TimeInForce, int, int, bool, SelfTradePrevention, SpecialTerms | None]
LevelKey = tuple[int, Side, int]
"""Instrument, side, price."""


@dataclass
class MirrorGroup:
    """The open orders of a group, by id."""

    instrument_id: int
    contingency: Contingency
    primary_id: int
    exit_ids: list[int]
    is_triggered: bool


@dataclass
class MirrorOrder:
    accepted: e.OrderAccepted
    quantity_lots: int
    leaves_lots: int
    price_ticks: int
    fee_exact: int = 0
    """Sum over the fills, in millionths of a minor unit."""
    fee_taken: int = 0
    stop_price_ticks: int = 0
    """What it waits for; 0 once it is in the book."""
    shown_lots: int = 0
    """Of an order in the book: what can be traded before it would have to go to the back."""
    peg_limit_ticks: int = 0
    """Of a pegged order, whose price is where it stands, or 0 while it waits outside the book."""

    @property
    def order_id(self) -> int:
        return self.accepted.order_id

    @property
    def account_id(self) -> int:
        return self.accepted.account_id

    @property
    def instrument_id(self) -> int:
        return self.accepted.instrument_id

    @property
    def side(self) -> Side:
        return self.accepted.side

    is_waiting_leg: bool = False
    group_id: int = 0

    @property
    def limit_ticks(self) -> int:
        return self.peg_limit_ticks or self.price_ticks

    @property
    def is_pegged(self) -> bool:
        return self.accepted.order_type is OrderType.PEGGED

    @property
    def done_lots(self) -> int:
        """Filled or prevented."""
        return self.quantity_lots - self.leaves_lots

    @property
    def is_hidden(self) -> bool:
        return bool(self.accepted.special and self.accepted.special.hidden) or self.is_all_or_none

    @property
    def is_all_or_none(self) -> bool:
        return bool(self.accepted.special and self.accepted.special.all_or_none)

    def show(self) -> None:
        """Display as much as the terms allow."""
        display = self.accepted.special.display_lots if self.accepted.special else 0
        self.shown_lots = min(self.leaves_lots, display or self.leaves_lots)

    @property
    def level(self) -> LevelKey:
        return self.instrument_id, self.side, self.price_ticks

    def take_fee(self, value: int, ppm: int, least: int = 0) -> int:
        """The fee of one more fill, when the sum of the order's fees is rounded up once, and no fill pays out more than `-least`."""
        self.fee_exact += value * ppm
        fee = max(least, ceil_millionths(self.fee_exact) - self.fee_taken)
        self.fee_taken += fee
        return fee

    def hold(self, instrument: Instrument) -> int:
        """What the account has to keep back for what is left, but for what another exit of its group does."""
        if self.is_waiting_leg:
            return 0
        if self.side is Side.SELL:
            return self.leaves_lots
        value = self.leaves_lots * self.limit_ticks * instrument.tick_value
        ppm = max(instrument.maker_fee_ppm, instrument.taker_fee_ppm)
        return value + max(0, ceil_millionths(self.fee_exact + value * ppm) - self.fee_taken)


def ceil_millionths(amount: int) -> int:
    return (amount + MILLION - 1) // MILLION


@dataclass
class MirrorAccount:
    open_orders_max: int
    trade_group_id: int = 0
    firm_id: int = 0
    suspended: bool = False
    cash: dict[str, int] = field(default_factory=dict)
    lots: dict[int, int] = field(default_factory=dict)
    client_orders: dict[str, tuple[int, Content]] = field(default_factory=dict)
    ended: list[str] = field(default_factory=list)
    """Client order ids of orders that ended, oldest first."""


@dataclass
class MirrorMarket:
    instrument: Instrument
    phase: TradingPhase = TradingPhase.CLOSED
    last_price_ticks: int = 0
    market_sequence: int = 0
    ends_ns: int = 0
    auction_price_ticks: int = 0
    """Of the last auction; 0 before the first."""
    ended: TradingPhase = TradingPhase.CLOSED
    """The phase before this one."""
    price_extensions: int = 0
    market_order_extensions: int = 0
    indication: Outcome = NOTHING
    uncrossing: e.AuctionUncrossed | None = None
    """The auction of this batch."""
    uncrossed_lots: int = 0
    """What its trades were so far."""
    close_price_ticks: int = 0
    """The last price when a trading day ended."""
    limits: NaiveLimits | None = None
    day_ends: bool = False
    """Whether this batch ended its trading day."""


class Mirror:
    def __init__(self) -> None:
        self.event_sequence = 0
        self.time_ns = 0
        self.last_order_id = 0
        self.last_trade_id = 0
        self.risk = RiskMirror(self)
        self.margin = MarginMirror(self)
        self.markets: dict[int, MirrorMarket] = {}
        self.accounts: dict[int, MirrorAccount] = {FEE_ACCOUNT: MirrorAccount(0)}
        self.orders: dict[int, MirrorOrder] = {}
        self.queues: dict[LevelKey, list[int]] = {}
        """Order ids, first in the queue first."""
        self.stops: list[int] = []
        """Order ids of those that wait for their stop price, in order of entry."""
        self.groups: dict[int, MirrorGroup] = {}
        self._legs: tuple[int, ...] = ()
        """Order ids of the group that was accepted last."""
        self.uncovered: dict[int, e.LegRefused] = {}
        """Refusals of legs by what their accounts had at that moment, in the batch that is being judged: see `_refuse_leg`."""
        self.all_or_none: list[int] = []
        """Order ids of those that rest, in order of time."""
        self.unpriced: set[int] = set()
        """Order ids of pegged orders that wait for a price."""
        self.waiting: list[int] = []
        """Order ids of those that wait for an auction outside the book, in order of entry."""
        self.issued_cash: dict[str, int] = {}
        self.issued_lots: dict[int, int] = {}
        self.sent: dict[int, int] = {}
        """By shard, the number of the last transfer to it."""
        self.received: dict[int, int] = {}
        """By shard, the number of the last transfer from it that had its turn."""
        self.rejected: set[tuple[int, int]] = set()
        """(shard, number) of those from others that were rejected."""
        self.settled: dict[int, int] = {}
        """By shard, up to which number it has said to know what became of its transfers."""
        self.in_transit: dict[tuple[int, int], e.TransferBegun] = {}
        """By shard and number."""
        self.transfers: dict[tuple[int, str], e.TransferBegun] = {}
        """By account and transfer id, in transit or ended not long ago."""
        self.ended_transfers: dict[tuple[int, str], bool] = {}
        self.reported_cash: dict[tuple[int, str], tuple[int, int]] = {}
        self.reported_lots: dict[tuple[int, int], tuple[int, int]] = {}
        self.reported_levels: dict[LevelKey, tuple[int, int]] = {}
        self.tops: dict[tuple[int, Side], tuple[int, int]] = {}
        """By instrument and side, the order that is filled first, and how much of it."""
        self._incoming: MirrorOrder | None = None
        """The order that is on its way in: it may take, and joins its queue when the batch is over."""
        self.breakers: CircuitBreakers | None = None
        self.tripped = 0
        """The deepest level of the circuit breakers that has tripped today."""
        self.halted_until_ns = 0
        self._to_halt: list[int] = []
        """Instruments that circuit breakers are to halt next."""
        self._has_index_traded = False
        self._day_ends = False
        """Whether this batch ended the trading day of all markets."""
        self._prevented: set[int] = set()
        """Orders that self-trade prevention has to cancel in this batch."""

    # Questions

    def prices(self, instrument_id: int, side: Side) -> list[int]:
        """Occupied prices, best first."""
        prices = (price for of, on, price in self.queues if of == instrument_id and on is side)
        return sorted(prices, reverse=side is Side.BUY)

    def best(self, instrument_id: int, side: Side) -> int | None:
        return next(iter(self.prices(instrument_id, side)), None)

    def matches(self, instrument_id: int, side: Side, limit: int) -> list[tuple[int, int, int]]:
        """(order id, price, leaves) of what an order of `side` could trade with, in the order in which it would."""
        other = Side.SELL if side is Side.BUY else Side.BUY
        return [
            (order_id, price, self.orders[order_id].leaves_lots)
            for price in self.prices(instrument_id, other)
            if (price <= limit if side is Side.BUY else price >= limit)
            for order_id in self.in_order((instrument_id, other, price))
        ]

    def first_match(self, taker: MirrorOrder) -> MirrorOrder:
        """Whom an order on its way in meets first: at one price all-or-none orders come last, and only those that it would fill."""
        found = [(price, 0, place) for place, (_, price, _) in enumerate(self.in_levels(taker))]
        waiting = (
            [] if taker.accepted.post_only else self.all_or_none_in_order(taker.instrument_id, taker.side.opposite)
        )
        found += (
            (order.price_ticks, 1, place)
            for place, order in enumerate(waiting)
            if order.leaves_lots <= taker.leaves_lots and self.is_within(taker, order.price_ticks)
        )
        sign = 1 if taker.side is Side.BUY else -1
        _, is_waiting, place = min(found, key=lambda key: (sign * key[0], *key[1:]))
        return waiting[place] if is_waiting else self.orders[self.in_levels(taker)[place][0]]

    def in_levels(self, taker: MirrorOrder) -> list[tuple[int, int, int]]:
        return self.matches(taker.instrument_id, taker.side, taker.price_ticks)

    @staticmethod
    def is_within(taker: MirrorOrder, price: int) -> bool:
        return price <= taker.price_ticks if taker.side is Side.BUY else price >= taker.price_ticks

    def all_or_none_in_order(self, instrument_id: int, side: Side) -> list[MirrorOrder]:
        """Best price first, at one price in order of time."""
        orders = [
            order
            for order in map(self.orders.__getitem__, self.all_or_none)
            if order.instrument_id == instrument_id and order.side is side
        ]
        return sorted(orders, key=lambda order: order.price_ticks * (-1 if side is Side.BUY else 1))

    def in_order(self, level: LevelKey) -> list[int]:
        """The orders of a level in order of priority: hidden ones come last."""
        return sorted(self.queues[level], key=lambda order_id: self.orders[order_id].is_hidden)

    def held(self) -> dict[tuple[int, str | int], int]:
        """What open orders hold, by account and currency for buys, by account and instrument for sells."""
        held: dict[tuple[int, str | int], int] = {}
        for order in self.orders.values():
            instrument = self.markets[order.instrument_id].instrument
            key = (order.account_id, instrument.currency if order.side is Side.BUY else order.instrument_id)
            held[key] = held.get(key, 0) + self.held_by(order, instrument)
        return held

    def held_by(self, order: MirrorOrder, instrument: Instrument) -> int:
        """Of two exits the second holds what the first does not."""
        group = self.groups.get(order.group_id)
        if group is None or group.exit_ids[-1:] != [order.order_id]:
            return order.hold(instrument)
        return max(0, order.hold(instrument) - self.needed_by_other(order, instrument))

    def needed_by_other(self, order: MirrorOrder, instrument: Instrument) -> int:
        group = self.groups.get(order.group_id)
        if group is None or order.order_id not in group.exit_ids:
            return 0
        others = (self.orders[order_id] for order_id in group.exit_ids if order_id != order.order_id)
        return sum(other.hold(instrument) for other in others)

    def available_cash(self, account_id: int, currency: str) -> int:
        return self.accounts[account_id].cash.get(currency, 0) - self.held().get((account_id, currency), 0)

    def available_lots(self, account_id: int, instrument_id: int) -> int:
        return self.accounts[account_id].lots.get(instrument_id, 0) - self.held().get((account_id, instrument_id), 0)

    def open_orders(self, account_id: int) -> list[MirrorOrder]:
        """By order id."""
        return [order for _, order in sorted(self.orders.items()) if order.account_id == account_id]

    # Events

    def apply(self, batch: e.EventBatch) -> None:
        assert batch.events, batch
        assert batch.first_event_sequence == self.event_sequence + 1, batch
        self.event_sequence = batch.last_event_sequence
        self.time_ns = batch.time_ns
        ranks = [rank(event) for event in batch.events]
        assert ranks == sorted(ranks), batch
        for event in batch.events:
            self._apply_one(event)
            self.margin.see(event)
            self.risk.see(event)
        self._rest_incoming()
        self.risk.end_batch()
        assert not self._prevented, (self._prevented, batch)
        self.margin.check()
        self._check_reports(batch)
        for market in self.markets.values():
            self._check_auction(market)
            self._check_limit_state(market)
        self._check_breakers()

    def _apply_one(self, event: e.AnyEvent) -> None:  # noqa: C901  # One row per kind of event.
        match event:
            case e.InstrumentChanged(instrument):
                self.markets[instrument.instrument_id].instrument = instrument
            case e.InstrumentListed(instrument):
                assert instrument.instrument_id not in self.markets, event
                shard = (instrument.instrument_id - 1) // 1_000_000
                before = shard * 2**43 if shard <= 999 else 0
                self.last_order_id = max(self.last_order_id, before)
                self.last_trade_id = max(self.last_trade_id, before)
                self.markets[instrument.instrument_id] = MirrorMarket(
                    instrument,
                    last_price_ticks=instrument.reference_price_ticks,
                    close_price_ticks=instrument.reference_price_ticks,
                    limits=NaiveLimits(instrument.limit_bands, instrument.reference_price_ticks)
                    if instrument.limit_bands
                    else None,
                )
                self.issued_cash.setdefault(instrument.currency, 0)
                self.issued_lots[instrument.instrument_id] = 0
            case e.AccountOpened(account_id, open_orders_max, trade_group_id, firm_id):
                assert account_id not in self.accounts, event
                self.accounts[account_id] = MirrorAccount(open_orders_max, trade_group_id, firm_id)
            case e.CashAdjusted(account_id, currency, amount):
                self._pay(account_id, currency, amount)
                self.issued_cash[currency] += amount
            case e.TransferBegun(account_id, transfer_id, currency, amount, to_shard, number):
                assert number == self.sent.get(to_shard, 0) + 1, event
                self.sent[to_shard] = number
                self.in_transit[to_shard, number] = event
                self.transfers[account_id, transfer_id] = event
                self._pay(account_id, currency, -amount)
            case e.TransferReceived(account_id, currency, amount, from_shard, number):
                self._receive(from_shard, number)
                self._pay(account_id, currency, amount)
                self.issued_cash[currency] += amount
            case e.TransferRejected(from_shard=from_shard, number=number):
                self._receive(from_shard, number)
                self.rejected.add((from_shard, number))
            case e.TransferAnswered(_, from_shard, number, received):
                assert self.settled.get(from_shard, 0) < number <= self.received[from_shard], event
                assert received == ((from_shard, number) not in self.rejected), event
            case e.TransferCompleted(_, _, currency, amount):
                self._end_transfer(event)
                self.issued_cash[currency] -= amount
            case e.TransferReturned(account_id, _, currency, amount):
                self._end_transfer(event)
                self._pay(account_id, currency, amount)
            case e.TransferRepeated(account_id, transfer_id, to_shard, number, received):
                known = self.transfers[account_id, transfer_id]
                assert (to_shard, number) == (known.to_shard, known.number), event
                assert received == self.ended_transfers.get((account_id, transfer_id)), event
            case e.PositionAdjusted(account_id, instrument_id, lots):
                self._deliver(account_id, instrument_id, lots)
                self.issued_lots[instrument_id] += lots
            case e.AccountSuspended(account_id, suspended):
                self.accounts[account_id].suspended = suspended
            case e.TradingPhaseChanged(instrument_id, phase, day_ends, ends_ns):
                if self._to_halt:
                    assert (instrument_id, phase) == (self._to_halt.pop(0), TradingPhase.HALTED), event
                    assert ends_ns == (self.halted_until_ns if self.halted_until_ns < LATEST else 0), event
                for market in [self.markets[instrument_id]] if instrument_id else self.markets.values():
                    self._change_phase(market, phase, ends_ns)
                    market.day_ends = day_ends
                self._day_ends = day_ends and not instrument_id
            case e.LimitBandsChanged():
                self._move_bands(event)
            case e.LimitStateChanged(instrument_id, side, ends_ns):
                limits = self.markets[instrument_id].limits
                assert limits is not None, event
                assert not side or ends_ns == min(self.time_ns + limits.rules.limit_state_ns, LATEST), event
                limits.state, limits.state_ends_ns = side, ends_ns
            case e.CircuitBreakersSet(breakers):
                self.breakers = breakers
                if breakers is None:
                    self.tripped = self.halted_until_ns = 0
            case e.CircuitBreakerTripped():
                self._trip(event)
            case e.AuctionUncrossed():
                self._uncross(event)
            case e.AuctionExtended():
                self._extend(event)
            case e.AuctionIndicated():
                market = self.markets[event.instrument_id]
                outcome = (event.price_ticks, event.matched_lots, event.surplus_lots)
                assert market.indication != outcome, event
                market.indication = outcome
            case e.OrderAccepted():
                self._accept(event)
            case e.TradeExecuted():
                self._trade(event)
            case e.SelfTradePrevented():
                self._prevent(event)
            case e.OrderRestated():
                self._restate(event)
            case e.OrderGroupAccepted():
                self._accept_group(event)
            case e.LegActivated():
                self._activate(event)
            case e.LegRefused():
                self._refuse_leg(event)
            case e.OrderTriggered():
                self._trigger(event)
            case e.OrderCanceled() | e.OrderExpired():
                self._end_order(event)
            case e.OrderReplaced():
                self._replace(event)
            case e.CashChanged(account_id, currency, balance, held):
                self.reported_cash[account_id, currency] = (balance, held)
            case e.PositionChanged(account_id, instrument_id, lots, held):
                self.reported_lots[account_id, instrument_id] = (lots, held)
            case e.BookChanged():
                self._change_book(event)
            case e.ClockAdvanced():
                self._look_at_trades()
            case e.MassCancelCompleted():
                """The ends before or after it say all."""
            case e.MarginCalled() | e.MarginRestored():
                self._rest_incoming()
            case (
                e.MarginSet()
                | e.RiskLimitsSet()
                | e.KillSwitchSet()
                | e.CancelOnDisconnectSet()
                | e.DisconnectReported()
                | e.CountdownSet()
                | e.CountdownElapsed()
            ):
                """For the mirror of risk."""
            case _:
                assert isinstance(event, REFUSALS), event

    def _pay(self, account_id: int, currency: str, amount: int) -> None:
        cash = self.accounts[account_id].cash
        cash[currency] = cash.get(currency, 0) + amount

    def _deliver(self, account_id: int, instrument_id: int, lots: int) -> None:
        position = self.accounts[account_id].lots
        position[instrument_id] = position.get(instrument_id, 0) + lots

    def _accept(self, event: e.OrderAccepted) -> None:
        assert event.order_id == self.last_order_id + 1, event
        if self.margin.closing:
            self._rest_incoming()
        assert self._incoming is None, event
        self.last_order_id = event.order_id
        order = MirrorOrder(event, event.quantity_lots, event.quantity_lots, event.price_ticks)
        self.orders[event.order_id] = order
        if order.order_id in self._legs:
            order.is_waiting_leg = True
            order.group_id = self._legs[0]
            order.stop_price_ticks = event.special.stop_price_ticks if event.special else 0
        elif order.is_pegged:
            order.peg_limit_ticks, order.price_ticks = order.price_ticks, 0
            self.unpriced.add(order.order_id)
        elif event.special and event.special.stop_price_ticks:
            order.stop_price_ticks = event.special.stop_price_ticks
            self.stops.append(order.order_id)
        elif self._waits(order):
            assert event.is_waiting, event
            self.waiting.append(order.order_id)
        else:
            self._incoming = order
        if event.client_order_id:
            account = self.accounts[event.account_id]
            assert event.client_order_id not in account.client_orders, event
            account.client_orders[event.client_order_id] = (event.order_id, content(event))

    def _accept_group(self, event: e.OrderGroupAccepted) -> None:
        count = len(event.order_ids)
        assert event.order_ids == tuple(range(self.last_order_id + 1, self.last_order_id + 1 + count)), event
        assert event.group_id == event.order_ids[0], event
        has_primary = event.contingency is not Contingency.OCO
        assert count == (3 if event.contingency is Contingency.BRACKET else 2), event
        self._legs = event.order_ids
        self.groups[event.group_id] = MirrorGroup(
            event.instrument_id,
            event.contingency,
            event.group_id if has_primary else 0,
            [*event.order_ids[has_primary:]],
            is_triggered=not has_primary,
        )

    def _missing_for_leg(self, order: MirrorOrder) -> tuple[int, int]:
        """(more than is held now, available) of what the leg needs to become active."""
        instrument = self.markets[order.instrument_id].instrument
        by_other = self.needed_by_other(order, instrument)
        order.is_waiting_leg = False
        needed = order.hold(instrument)
        order.is_waiting_leg = True
        more = max(needed, by_other) - by_other
        if order.side is Side.BUY:
            return more, self.available_cash(order.account_id, instrument.currency)
        return more, self.available_lots(order.account_id, order.instrument_id)

    def _activate(self, event: e.LegActivated) -> None:
        self._rest_incoming()
        order = self.orders[event.order_id]
        group = self.groups[order.group_id]
        assert order.is_waiting_leg, event
        assert group.is_triggered or group.primary_id == order.order_id, event
        more, available = self._missing_for_leg(order)
        assert more <= max(0, available), event
        order.is_waiting_leg = False
        if order.stop_price_ticks:
            self.stops.append(order.order_id)
        else:
            self._incoming = order

    def _refuse_leg(self, event: e.LegRefused) -> None:
        order = self.orders[event.order_id]
        if event.order_id in self.uncovered:
            self._rest_incoming()
            more, available = self._missing_for_leg(order)
            assert more > available == event.limit, (event, more, available)
            lacks = Reason.INSUFFICIENT_FUNDS if order.side is Side.BUY else Reason.INSUFFICIENT_POSITION
            assert event.reason is lacks, event

    def _trigger(self, event: e.OrderTriggered) -> None:
        self._rest_incoming()
        order = self.orders[event.order_id]
        assert order.account_id == event.account_id, event
        market = self.markets[order.instrument_id]
        if order.order_id in self.waiting:
            assert market.phase is TradingPhase.CLOSING_CALL, event
            assert order.accepted.time_in_force is TimeInForce.CLS, event
            self.waiting.remove(order.order_id)
            self._rest(order)
            return
        joins_auction = market.uncrossing is not None and market.uncrossed_lots < market.uncrossing.quantity_lots
        assert order.stop_price_ticks > 0, event
        self.stops.remove(order.order_id)
        order.stop_price_ticks = 0
        if joins_auction:
            self._rest(order)
        else:
            assert market.last_price_ticks, event
            self._incoming = order

    def _waits(self, order: MirrorOrder) -> bool:
        """Whether an order that is no stop has no place in the book yet."""
        phase = self.markets[order.instrument_id].phase
        if order.accepted.time_in_force is TimeInForce.CLS and phase is not TradingPhase.CLOSING_CALL:
            return True
        return order.accepted.order_type is OrderType.MARKET and phase in GATHERING

    # Auctions

    def _change_phase(self, market: MirrorMarket, phase: TradingPhase, ends_ns: int) -> None:
        market.ends_ns = ends_ns
        if phase is not market.phase:
            if market.limits and phase is not TradingPhase.CONTINUOUS:
                market.limits.forget()
            market.ended, market.phase = market.phase, phase
            market.indication = NOTHING
            market.price_extensions = market.market_order_extensions = 0

    def _extend(self, event: e.AuctionExtended) -> None:
        market = self.markets[event.instrument_id]
        assert market.phase in CALLS, event
        assert market.instrument.auctions, event
        assert event.ends_ns == min(market.ends_ns + market.instrument.auctions.extension_ns, 2**63 - 1), event
        market.ends_ns = event.ends_ns
        if event.is_for_market_orders:
            market.market_order_extensions += 1
        else:
            market.price_extensions += 1

    # Limit bands and circuit breakers

    def _move_bands(self, event: e.LimitBandsChanged) -> None:
        self._rest_incoming()
        limits = self.markets[event.instrument_id].limits
        assert limits is not None, event
        assert event.reference_price_ticks != limits.reference, event
        limits.reference = event.reference_price_ticks
        assert (event.lower_price_ticks, event.upper_price_ticks) == limits.bands(), event

    def _look_at_trades(self) -> None:
        """The clock goes on: whatever comes of it is for the auditor to say."""
        for market in self.markets.values():
            if market.limits and 0 < market.limits.look_ns <= self.time_ns:
                market.limits.look(self.time_ns)

    def limit_state(self, market: MirrorMarket) -> int:
        if market.limits is None or market.phase is not TradingPhase.CONTINUOUS:
            return 0
        shown = {
            (side, price)
            for (of, side, price), ids in self.queues.items()
            if of == market.instrument.instrument_id and not all(self.orders[order_id].is_hidden for order_id in ids)
        }
        bids, asks = ([price for on, price in shown if on is side] for side in (Side.BUY, Side.SELL))
        return market.limits.side_at_band(bids, asks)

    def _check_limit_state(self, market: MirrorMarket) -> None:
        if market.limits is None:
            return
        state = self.limit_state(market)
        assert market.limits.state == state, (market.instrument.instrument_id, market.limits.state, state)

    def index(self) -> tuple[int, int]:
        """Value now and at the close; nothing without all the prices."""
        assert self.breakers
        parts = [(self.markets[number], weight) for number, weight in self.breakers.index]
        if not all(market.last_price_ticks and market.close_price_ticks for market, _ in parts):
            return 0, 0
        value = sum(market.last_price_ticks * weight for market, weight in parts)
        return value, sum(market.close_price_ticks * weight for market, weight in parts)

    def next_level(self) -> int:
        """The level of the circuit breakers that has to trip, 0 for none."""
        if self.breakers is None:
            return 0
        value, close = self.index()
        is_late = 0 < self.breakers.timed_until_ns <= self.time_ns
        reached = [
            number
            for number, level in enumerate(self.breakers.levels, start=1)
            if close and close - value >= Fraction(close * level.fall_ppm, MILLION)
            if number > self.tripped and not (is_late and level.halt_ns)
        ]
        return max(reached, default=0)

    def _trip(self, event: e.CircuitBreakerTripped) -> None:
        self._rest_incoming()
        assert self.breakers, event
        assert self._has_index_traded, event
        assert event.level == self.next_level(), event
        assert (event.index_value, event.index_close) == self.index(), event
        halt_ns = self.breakers.levels[event.level - 1].halt_ns
        self.tripped = event.level
        self.halted_until_ns = min(self.time_ns + halt_ns, LATEST) if halt_ns else LATEST
        assert event.ends_ns == (self.halted_until_ns if halt_ns else 0), event
        self._to_halt = [
            number
            for number, market in sorted(self.markets.items())
            if market.phase is TradingPhase.CONTINUOUS or market.phase in GATHERING or market.ends_ns
        ]

    def _check_breakers(self) -> None:
        assert not self._to_halt, self._to_halt
        for market in self.markets.values():
            if market.day_ends:
                market.close_price_ticks, market.day_ends = market.last_price_ticks, False
        if self._day_ends:
            self.tripped, self.halted_until_ns, self._day_ends = 0, 0, False
        if self._has_index_traded:
            assert self.next_level() == 0, self.index()
        self._has_index_traded = False

    def _note_trade(self, market: MirrorMarket) -> None:
        indexed = dict(self.breakers.index) if self.breakers else {}
        if market.instrument.instrument_id in indexed:
            self._has_index_traded = True

    def _uncross(self, event: e.AuctionUncrossed) -> None:
        self._rest_incoming()
        market = self.markets[event.instrument_id]
        if market.limits and event.quantity_lots and event.phase is not TradingPhase.CLOSING_CROSS:
            market.limits.forget()
        is_cross = event.phase is market.phase is TradingPhase.CLOSING_CROSS
        assert is_cross or event.phase is market.ended, event
        assert (event.price_ticks > 0) == (event.quantity_lots > 0), event
        assert not is_cross or event.price_ticks == market.last_price_ticks, event
        assert market.uncrossing is None or market.uncrossed_lots == market.uncrossing.quantity_lots, event
        market.uncrossing, market.uncrossed_lots = event, 0
        if not is_cross:
            market.auction_price_ticks = event.price_ticks or market.auction_price_ticks

    def _trade_in_auction(self, event: e.TradeExecuted) -> None:
        market = self.markets[event.instrument_id]
        sale, buy = self.orders[event.maker_order_id], self.orders[event.taker_order_id]
        auction = market.uncrossing
        assert auction is not None, event
        assert event.price_ticks == auction.price_ticks, event
        assert sale.price_ticks <= event.price_ticks <= buy.price_ticks, event
        assert (sale.side, buy.side, event.aggressor_side) == (Side.SELL, Side.BUY, Side.BUY), event
        assert event.quantity_lots in (sale.leaves_lots, buy.leaves_lots, auction.quantity_lots - market.uncrossed_lots)
        assert event.trade_id == self.last_trade_id + 1, event
        self._next_market_sequence(market, event.market_sequence)
        self.last_trade_id = event.trade_id
        market.last_price_ticks = event.price_ticks
        self._note_trade(market)
        market.uncrossed_lots += event.quantity_lots
        value = event.price_ticks * event.quantity_lots * market.instrument.tick_value
        for order, fee, leaves_lots in (
            (sale, event.maker_fee, event.maker_leaves_lots),
            (buy, event.taker_fee, event.taker_leaves_lots),
        ):
            order.leaves_lots -= event.quantity_lots
            assert order.leaves_lots == leaves_lots, event
            assert fee == order.take_fee(value, max(0, market.instrument.maker_fee_ppm)), event
            self._settle(order, market.instrument, event.quantity_lots, value, fee)
            order.shown_lots = min(order.shown_lots, order.leaves_lots)
            self._shrink_top(order)
            if order.leaves_lots == 0:
                self._forget(order)

    def _check_auction(self, market: MirrorMarket) -> None:
        instrument_id = market.instrument.instrument_id
        if market.uncrossing is not None:
            assert market.uncrossed_lots == market.uncrossing.quantity_lots, market.uncrossing
            market.uncrossing = None
        bid, ask = self.best(instrument_id, Side.BUY), self.best(instrument_id, Side.SELL)
        assert market.phase is not TradingPhase.CONTINUOUS or bid is None or ask is None or bid < ask, (bid, ask)
        expected = NOTHING
        if market.phase in CALLS:
            expected = naive_price(self.interests(instrument_id), market.last_price_ticks)
        assert market.indication == expected, (market.indication, expected)

    def interests(self, instrument_id: int) -> list[Interest]:
        """All that takes part in an auction now."""
        booked = [
            self.orders[order_id] for (of, _, _), ids in self.queues.items() if of == instrument_id for order_id in ids
        ]
        return [
            *(Interest(order.side, order.price_ticks, order.leaves_lots) for order in booked),
            *(
                Interest(order.side, order.price_ticks, order.leaves_lots, is_market=True)
                for order in self.waiting_orders(instrument_id)
                if order.accepted.time_in_force is not TimeInForce.CLS
                or self.markets[instrument_id].phase is TradingPhase.CLOSING_CALL
            ),
        ]

    def waiting_orders(self, instrument_id: int) -> list[MirrorOrder]:
        return [order for order in map(self.orders.__getitem__, self.waiting) if order.instrument_id == instrument_id]

    def _restate(self, event: e.OrderRestated) -> None:
        order = self.orders[event.order_id]
        if order.is_pegged:
            self._restate_pegged(order, event)
            return
        if not order.stop_price_ticks:
            self._restate_to_band(order, event)
            return
        assert order.accepted.special, event
        assert order.accepted.special.trail_ticks > 0, event
        last = self.markets[order.instrument_id].last_price_ticks
        sign = 1 if order.side is Side.BUY else -1
        assert event.stop_price_ticks == last + sign * order.accepted.special.trail_ticks, event
        assert sign * (order.stop_price_ticks - event.stop_price_ticks) > 0, event
        self.stops.remove(order.order_id)
        self.stops.append(order.order_id)
        order.stop_price_ticks, order.price_ticks = event.stop_price_ticks, event.price_ticks

    def _restate_to_band(self, order: MirrorOrder, event: e.OrderRestated) -> None:
        """Its limit was beyond a limit band: on its way in, or in the book."""
        limits = self.markets[order.instrument_id].limits
        assert limits is not None, event
        assert event.price_ticks == limits.within(order.side, order.price_ticks) != order.price_ticks, event
        assert event.stop_price_ticks == 0, event
        if order is not self._incoming:
            self._rest_incoming()
            self._leave_queue(order)
            self._incoming = order
        order.price_ticks = event.price_ticks

    def _restate_pegged(self, order: MirrorOrder, event: e.OrderRestated) -> None:
        """It leaves the book, or enters it."""
        self._rest_incoming()
        assert event.stop_price_ticks == 0, event
        if event.price_ticks == 0:
            self._leave_queue(order)
            self.unpriced.add(order.order_id)
            order.price_ticks = order.shown_lots = 0
            return
        assert self.markets[order.instrument_id].phase is TradingPhase.CONTINUOUS, event
        is_within = event.price_ticks <= order.peg_limit_ticks
        assert is_within if order.side is Side.BUY else event.price_ticks >= order.peg_limit_ticks, event
        self.unpriced.remove(order.order_id)
        order.price_ticks = event.price_ticks
        self._incoming = order

    def pegs(self, instrument_id: int) -> list[MirrorOrder]:
        """In order of entry."""
        return [
            order
            for _, order in sorted(self.orders.items())
            if order.is_pegged and order.instrument_id == instrument_id
        ]

    def stops_in_order(self, instrument_id: int) -> list[MirrorOrder]:
        """Those that wait: buys, then sells, nearest stop first, at one stop in order of entry."""
        waiting = [order for order in map(self.orders.__getitem__, self.stops) if order.instrument_id == instrument_id]
        buys = [order for order in waiting if order.side is Side.BUY]
        sells = [order for order in waiting if order.side is Side.SELL]
        return [
            *sorted(buys, key=lambda order: order.stop_price_ticks),
            *sorted(sells, key=lambda order: -order.stop_price_ticks),
        ]

    def _trade(self, event: e.TradeExecuted) -> None:
        if event.is_auction:
            self._trade_in_auction(event)
            return
        taker = self._taker(event.taker_order_id)
        maker = self.orders[event.maker_order_id]
        market = self.markets[event.instrument_id]
        assert not (taker.accepted.self_trade_prevention and self.have_one_owner(maker.account_id, taker.account_id)), (
            event
        )
        assert maker.price_ticks == event.price_ticks == self.first_match(taker).price_ticks, event
        assert 0 < event.quantity_lots <= min(maker.shown_lots, taker.leaves_lots), event
        if market.instrument.matching is None:  # Else who shares in what is for the auditor to say.
            assert maker is self.first_match(taker), event
            assert event.quantity_lots == min(maker.shown_lots, taker.leaves_lots), event
        assert event.trade_id == self.last_trade_id + 1, event
        assert market.phase is TradingPhase.CONTINUOUS, event
        self._next_market_sequence(market, event.market_sequence)
        self.last_trade_id = event.trade_id
        market.last_price_ticks = event.price_ticks
        self._note_trade(market)
        if market.limits:
            market.limits.trade(self.time_ns, event.price_ticks)
            lowest, highest = market.limits.bands()
            assert not market.limits.reference or lowest <= event.price_ticks <= highest, event
        self._take_off(maker, event.quantity_lots)
        taker.leaves_lots -= event.quantity_lots
        value = event.price_ticks * event.quantity_lots * market.instrument.tick_value
        taker_fee = taker.take_fee(value, market.instrument.taker_fee_ppm)
        assert event.maker_fee + event.taker_fee >= 0 <= event.taker_fee, event
        expected = e.TradeExecuted(
            trade_id=event.trade_id,
            instrument_id=taker.instrument_id,
            market_sequence=market.market_sequence,
            price_ticks=maker.price_ticks,
            quantity_lots=event.quantity_lots,
            aggressor_side=taker.side,
            maker_order_id=maker.order_id,
            maker_account_id=maker.account_id,
            maker_leaves_lots=maker.leaves_lots,
            maker_fee=maker.take_fee(value, market.instrument.maker_fee_ppm, -taker_fee),
            taker_order_id=taker.order_id,
            taker_account_id=taker.account_id,
            taker_leaves_lots=taker.leaves_lots,
            taker_fee=taker_fee,
        )
        assert event == expected, (event, expected)
        self._settle(maker, market.instrument, event.quantity_lots, value, event.maker_fee)
        self._settle(taker, market.instrument, event.quantity_lots, value, event.taker_fee)
        if maker.leaves_lots == 0:
            self._forget(maker)
        if taker.leaves_lots == 0:
            self._forget(taker)

    def _prevent(self, event: e.SelfTradePrevented) -> None:
        taker = self._taker(event.taker_order_id)
        maker = self.first_match(taker)
        if self.markets[event.instrument_id].instrument.matching is not None:
            maker = self.orders[event.maker_order_id]
        assert self.have_one_owner(maker.account_id, taker.account_id), event
        mode = taker.accepted.self_trade_prevention
        assert mode is not SelfTradePrevention.NONE, event
        lots = min(maker.shown_lots, taker.leaves_lots)
        if mode is SelfTradePrevention.DECREMENT:
            self._take_off(maker, lots)
            taker.leaves_lots -= lots
        assert event == e.SelfTradePrevented(
            taker.instrument_id,
            maker.price_ticks,
            lots,
            mode,
            maker.order_id,
            maker.account_id,
            maker.leaves_lots,
            taker.order_id,
            taker.account_id,
            taker.leaves_lots,
        ), event
        if maker.leaves_lots == 0 or mode in (SelfTradePrevention.CANCEL_RESTING, SelfTradePrevention.CANCEL_BOTH):
            self._prevented.add(maker.order_id)
        if taker.leaves_lots == 0 or mode in (SelfTradePrevention.CANCEL_INCOMING, SelfTradePrevention.CANCEL_BOTH):
            self._prevented.add(taker.order_id)

    def _taker(self, order_id: int) -> MirrorOrder:
        """The order on its way in; an all-or-none order may become it by having enough to take."""
        if self._incoming is None or self._incoming.order_id != order_id:
            self._rest_incoming()
            self.all_or_none.remove(order_id)
            self._incoming = self.orders[order_id]
        return self._incoming

    def _take_off(self, maker: MirrorOrder, lots: int) -> None:
        """Off what a resting order displays; when nothing of it is left on display, more is, from the back of the queue."""
        maker.leaves_lots -= lots
        maker.shown_lots -= lots
        assert not (maker.is_all_or_none and maker.leaves_lots), maker
        top_id, first_lots = self.tops.get((maker.instrument_id, maker.side), (0, 0))
        if top_id == maker.order_id:
            self._set_top(maker, max(0, first_lots - lots))
        if maker.shown_lots == 0 < maker.leaves_lots:
            maker.show()
            self.queues[maker.level].remove(maker.order_id)
            self.queues[maker.level].append(maker.order_id)

    def have_one_owner(self, account_id: int, other_id: int) -> bool:
        group, other_group = self.accounts[account_id].trade_group_id, self.accounts[other_id].trade_group_id
        return account_id == other_id or (group != 0 and group == other_group)

    def _settle(self, order: MirrorOrder, instrument: Instrument, lots: int, value: int, fee: int) -> None:
        if order.group_id and self.groups[order.group_id].primary_id == order.order_id:
            self.groups[order.group_id].is_triggered = order.leaves_lots == 0
        sign = 1 if order.side is Side.BUY else -1
        self._pay(order.account_id, instrument.currency, -sign * value - fee)
        self._pay(FEE_ACCOUNT, instrument.currency, fee)
        self._deliver(order.account_id, instrument.instrument_id, sign * lots)

    def _end_order(self, event: e.OrderCanceled | e.OrderExpired) -> None:
        if isinstance(event, e.OrderExpired):  # What came in before, by a change of phase, has rested by then.
            self._rest_incoming()
        order = self.orders[event.order_id]
        assert (event.account_id, event.canceled_lots) == (order.account_id, order.leaves_lots), event
        expiries = (EndReason.END_OF_DAY, EndReason.EXPIRE_TIME_REACHED)
        assert isinstance(event, e.OrderExpired) == (event.reason in expiries), event
        immediate = {EndReason.IOC_REMAINDER: TimeInForce.IOC, EndReason.FOK_NOT_FILLABLE: TimeInForce.FOK}
        if event.reason is EndReason.SELF_TRADE_PREVENTED:
            self._prevented.remove(order.order_id)
        elif event.reason is EndReason.MINIMUM_NOT_FILLABLE:
            assert order is self._incoming, event
            assert order.accepted.special, event
            assert order.accepted.special.minimum_lots > order.done_lots, event
        elif event.reason is EndReason.OUTSIDE_BAND:
            assert order is self._incoming, event
        elif event.reason is EndReason.AUCTION_REMAINDER:
            assert order.order_id in self.waiting or order.accepted.time_in_force in AUCTION_TIMES, event
        elif event.reason in immediate:
            has_joined_auction = order.accepted.special and self.markets[order.instrument_id].uncrossing
            assert order is self._incoming or has_joined_auction, event
            assert order.accepted.time_in_force is immediate[event.reason], event
        elif order.is_waiting_leg:
            """It is nowhere."""
        elif order.order_id not in (*self.stops, *self.unpriced, *self.all_or_none, *self.waiting):
            assert order.order_id in self.queues[order.level], event
        self._forget(order)

    def _forget(self, order: MirrorOrder) -> None:
        del self.orders[order.order_id]
        if order.group_id:
            self._leave_group(order)
        if order is self._incoming:
            self._incoming = None
        elif order.is_waiting_leg:
            """It is nowhere."""
        elif order.order_id in self.stops:
            self.stops.remove(order.order_id)
        elif order.order_id in self.unpriced:
            self.unpriced.remove(order.order_id)
        elif order.order_id in self.all_or_none:
            self.all_or_none.remove(order.order_id)
        elif order.order_id in self.waiting:
            self.waiting.remove(order.order_id)
        else:
            self._leave_queue(order)
        if order.accepted.client_order_id:
            account = self.accounts[order.account_id]
            account.ended.append(order.accepted.client_order_id)
            if len(account.ended) > accounts.CLIENT_ORDER_IDS_REMEMBERED:
                del account.client_orders[account.ended.pop(0)]

    def _set_top(self, order: MirrorOrder, first_lots: int) -> None:
        self.tops[order.instrument_id, order.side] = (order.order_id, first_lots)
        if first_lots == 0:
            del self.tops[order.instrument_id, order.side]

    def _shrink_top(self, order: MirrorOrder) -> None:
        """Of an order that has become smaller: no more is filled first than it displays."""
        top_id, first_lots = self.tops.get((order.instrument_id, order.side), (0, 0))
        if top_id == order.order_id:
            self._set_top(order, min(first_lots, order.shown_lots))

    def _become_top(self, order: MirrorOrder) -> None:
        """Of an order that is about to rest: it is filled first if it betters what its side displays."""
        rules = self.markets[order.instrument_id].instrument.matching
        if rules is None or not rules.top or order.is_hidden:
            return
        prices = [price for (of, side, price) in self.levels() if (of, side) == (order.instrument_id, order.side)]
        sign = 1 if order.side is Side.BUY else -1
        if all(sign * (order.price_ticks - price) > 0 for price in prices):
            counts = order.shown_lots >= rules.top_lots_min
            self._set_top(order, min(order.shown_lots, rules.top_lots_max or order.shown_lots) if counts else 0)

    def _leave_group(self, order: MirrorOrder) -> None:
        group = self.groups[order.group_id]
        if group.primary_id == order.order_id:
            group.primary_id = 0
        else:
            group.exit_ids.remove(order.order_id)
        if not group.primary_id and not group.exit_ids:
            del self.groups[order.group_id]

    def _leave_queue(self, order: MirrorOrder) -> None:
        if self.tops.get((order.instrument_id, order.side), (0, 0))[0] == order.order_id:
            self._set_top(order, 0)
        queue = self.queues[order.level]
        queue.remove(order.order_id)
        if not queue:
            del self.queues[order.level]

    def _replace(self, event: e.OrderReplaced) -> None:
        order = self.orders[event.order_id]
        if order.is_waiting_leg:
            lots = event.quantity_lots
            assert (event.leaves_lots, event.priority_kept) == (lots, True), event
            order.quantity_lots = order.leaves_lots = lots
            order.price_ticks, order.stop_price_ticks = event.price_ticks, event.stop_price_ticks
            return
        if order.stop_price_ticks:
            self._replace_stop(order, event)
            return
        keeps = event.price_ticks == order.limit_ticks and event.quantity_lots <= order.quantity_lots
        leaves_lots = event.quantity_lots - order.done_lots
        assert event == e.OrderReplaced(
            order.order_id, order.account_id, event.quantity_lots, leaves_lots, event.price_ticks, keeps
        ), event
        assert leaves_lots > 0, event
        if order.order_id in self.waiting:
            if not keeps:
                self.waiting.remove(order.order_id)
                self.waiting.append(order.order_id)
        elif not keeps:
            assert self._incoming is None, event
            self._take_out(order)
        order.quantity_lots, order.leaves_lots = event.quantity_lots, leaves_lots
        if order.is_pegged:
            order.peg_limit_ticks = event.price_ticks
        else:
            order.price_ticks = event.price_ticks
        order.shown_lots = min(order.shown_lots, leaves_lots)
        self._shrink_top(order)

    def _take_out(self, order: MirrorOrder) -> None:
        """Out of its queue, to enter the book anew."""
        if order.order_id in self.unpriced:
            return
        if order.is_all_or_none:
            self.all_or_none.remove(order.order_id)
            self._incoming = order
            return
        self._leave_queue(order)
        if order.is_pegged:
            self.unpriced.add(order.order_id)
            order.price_ticks = order.shown_lots = 0
        else:
            self._incoming = order

    def _replace_stop(self, order: MirrorOrder, event: e.OrderReplaced) -> None:
        keeps = event.stop_price_ticks == order.stop_price_ticks
        lots = event.quantity_lots
        assert event == e.OrderReplaced(
            order.order_id, order.account_id, lots, lots, event.price_ticks, keeps, event.stop_price_ticks
        ), event
        assert lots > 0 < event.stop_price_ticks, event
        if not keeps:
            self.stops.remove(order.order_id)
            self.stops.append(order.order_id)
        order.quantity_lots = order.leaves_lots = lots
        order.price_ticks, order.stop_price_ticks = event.price_ticks, event.stop_price_ticks

    def _change_book(self, event: e.BookChanged) -> None:
        self._next_market_sequence(self.markets[event.instrument_id], event.market_sequence)
        self._rest_incoming()
        keys = [(side, price) for side, price, _, _ in event.levels]
        assert keys == sorted(set(keys)), event
        assert keys, event
        for side, price, lots, count in event.levels:
            key = (event.instrument_id, Side(side), price)
            if count:
                self.reported_levels[key] = (lots, count)
            else:
                assert lots == 0, event
                self.reported_levels.pop(key, None)

    def _rest_incoming(self) -> None:
        order, self._incoming = self._incoming, None
        if order is None:
            return
        assert not order.accepted.time_in_force.is_immediate, order
        if order.is_all_or_none:
            assert order.done_lots == 0, order
        else:
            is_gathering = self.markets[order.instrument_id].phase in GATHERING
            assert is_gathering or not self.matches(order.instrument_id, order.side, order.price_ticks), order
        self._rest(order)

    def _rest(self, order: MirrorOrder) -> None:
        if order.is_all_or_none:
            order.show()
            self.all_or_none.append(order.order_id)
            return
        order.show()
        self._become_top(order)
        self.queues.setdefault(order.level, []).append(order.order_id)

    @staticmethod
    def _next_market_sequence(market: MirrorMarket, market_sequence: int) -> None:
        assert market_sequence == market.market_sequence + 1, (market, market_sequence)
        market.market_sequence = market_sequence

    # What the batch said of balances and books must be what its trades and orders made of them

    def _check_reports(self, batch: e.EventBatch) -> None:
        for kind in (e.CashChanged, e.PositionChanged, e.BookChanged, e.AuctionIndicated):
            subjects = [event_subject(event) for event in batch.events if isinstance(event, kind)]
            assert len(subjects) == len(set(subjects)), batch
        cash, lots = self.balances()
        assert {key: value for key, value in self.reported_cash.items() if any(value)} == cash, batch
        assert {key: value for key, value in self.reported_lots.items() if any(value)} == lots, batch
        assert self.reported_levels == self.levels(), batch
        self._check_conservation(batch)

    def balances(self) -> tuple[dict[tuple[int, str], tuple[int, int]], dict[tuple[int, int], tuple[int, int]]]:
        """(balance, held) by account and currency, and by account and instrument; without those that are nothing at all."""
        held = self.held()
        cash = {
            (account_id, currency): (account.cash.get(currency, 0), held.get((account_id, currency), 0))
            for account_id, account in self.accounts.items()
            for currency in self.issued_cash
        }
        lots = {
            (account_id, instrument_id): (account.lots.get(instrument_id, 0), held.get((account_id, instrument_id), 0))
            for account_id, account in self.accounts.items()
            for instrument_id in self.markets
        }
        for (account_id, _), (amount, kept) in cash.items():
            assert 0 <= kept <= amount + self.margin.credit(account_id), (account_id, amount, kept)
        for (account_id, instrument_id), (quantity, kept) in lots.items():
            assert 0 <= kept <= quantity + self.margin.short_lots(account_id, instrument_id), (
                account_id,
                quantity,
                kept,
            )
        return (
            {key: value for key, value in cash.items() if any(value)},
            {key: value for key, value in lots.items() if any(value)},
        )

    def _receive(self, from_shard: int, number: int) -> None:
        assert number == self.received.get(from_shard, 0) + 1, (from_shard, number)
        self.received[from_shard] = number

    def _end_transfer(self, event: e.TransferCompleted | e.TransferReturned) -> None:
        begun = self.in_transit.pop((event.to_shard, event.number))
        assert [getattr(begun, field) for field in TRANSFER] == [getattr(event, field) for field in TRANSFER], event
        self.ended_transfers[event.account_id, event.transfer_id] = isinstance(event, e.TransferCompleted)
        if len(self.ended_transfers) > transfers.TRANSFER_IDS_REMEMBERED:
            oldest = next(iter(self.ended_transfers))
            del self.ended_transfers[oldest], self.transfers[oldest]

    def levels(self) -> dict[LevelKey, tuple[int, int]]:
        """(lots, orders) of each level that displays anything."""
        displayed = {
            key: [order for order in map(self.orders.__getitem__, queue) if not order.is_hidden]
            for key, queue in self.queues.items()
        }
        return {
            key: (sum(order.shown_lots for order in orders), len(orders)) for key, orders in displayed.items() if orders
        }

    def _check_conservation(self, batch: e.EventBatch) -> None:
        for currency, issued in self.issued_cash.items():
            transit = sum(transfer.amount for transfer in self.in_transit.values() if transfer.currency == currency)
            assert sum(account.cash.get(currency, 0) for account in self.accounts.values()) + transit == issued, batch
        for instrument_id, issued in self.issued_lots.items():
            assert sum(account.lots.get(instrument_id, 0) for account in self.accounts.values()) == issued, batch
        queued = [order_id for queue in self.queues.values() for order_id in queue]
        legs = [order.order_id for order in self.orders.values() if order.is_waiting_leg]
        waiting = [*self.stops, *self.unpriced, *self.all_or_none, *self.waiting, *legs]
        assert sorted(self.orders) == sorted([*queued, *waiting]), batch


def content(event: e.OrderAccepted) -> Content:
    """What the client sent; the price of a market order is the venue's, not the client's."""
    return (
        event.instrument_id,
        event.side,
        event.order_type,
        event.time_in_force,
        event.quantity_lots,
        (event.entered_price_ticks or event.price_ticks) if event.order_type in LIMITED else 0,
        event.post_only,
        event.self_trade_prevention,
        event.special,
    )


def rank(event: e.AnyEvent) -> int:
    """Where an event's kind stands within a batch."""
    match event:
        case e.CashChanged():
            return 1
        case e.PositionChanged():
            return 2
        case e.BookChanged():
            return 3
        case e.AuctionIndicated():
            return 4
        case e.LimitStateChanged():
            return 5
        case _:
            return 0


def event_subject(event: e.AnyEvent) -> tuple[object, ...]:
    match event:
        case e.CashChanged(account_id, currency):
            return account_id, currency
        case e.PositionChanged(account_id, instrument_id):
            return account_id, instrument_id
        case e.BookChanged(instrument_id) | e.AuctionIndicated(instrument_id):
            return (instrument_id,)
        case _:
            raise AssertionError(event)
