"""What the analytics come to, computed from scratch out of all events at once, in ways that are as simple and as different as can be.

Books are dictionaries, of which the state after every batch is kept; mids at a moment are looked up in that list; equity is what the
venue says of cash and positions, at last prices, so that it knows nothing of cost. Nothing is fast.
"""

import itertools
import statistics
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from random import Random
from typing import Any

from msgspec.structs import replace

from trading_engine.database.average_cost import Holding
from trading_engine.venue import events as e
from trading_engine.venue.instrument import Instrument
from trading_engine.venue.reasons import EndReason
from trading_engine.venue.terms import Side, TradingPhase

SECOND_NS = 10**9
MINUTE_NS = 60 * SECOND_NS
INTERVAL_NS = 5 * MINUTE_NS
IDLE_NS = 3_600 * SECOND_NS
STEPS_NS = (0, 0, 1_000, 300_000_000, 5 * SECOND_NS, 70 * SECOND_NS)
LONG_STEPS_NS = (20 * MINUTE_NS, 2 * IDLE_NS, 30 * IDLE_NS)

State = tuple[int, int]
"""Equity, and what has been paid in."""
Rows = dict[tuple[Any, ...], tuple[Any, ...]]


def spread_over_time(batches: Sequence[e.EventBatch], random: Random) -> list[e.EventBatch]:
    """The same batches over some days: many at once, some seconds apart, now and then after a long silence."""
    time_ns, spread = 1_767_625_000 * SECOND_NS, []
    for batch in batches:
        time_ns += random.choice(LONG_STEPS_NS if random.random() < 0.03 else STEPS_NS)
        spread.append(replace(batch, time_ns=time_ns))
    return spread


@dataclass(frozen=True)
class Top:
    """A book that counts."""

    bids: tuple[tuple[int, int], ...]
    """Price and lots, best first."""
    asks: tuple[tuple[int, int], ...]

    @property
    def mid(self) -> int:
        return self.bids[0][0] + self.asks[0][0]

    def figures(self) -> tuple[int, ...]:
        """Spread, lots at the best prices, lots at the best five prices."""
        return (
            self.asks[0][0] - self.bids[0][0],
            self.bids[0][1],
            self.asks[0][1],
            sum(lots for _, lots in self.bids[:5]),
            sum(lots for _, lots in self.asks[:5]),
        )


@dataclass
class Order:
    account_id: int
    instrument_id: int
    quantity_lots: int
    arrival: int | None
    filled_lots: int = 0


@dataclass
class Trade:
    event: e.TradeExecuted
    time_ns: int
    sequence: int
    mid: int | None
    maker_arrival: int | None
    taker_arrival: int | None

    def sides(self) -> list[tuple[int, int, int, int | None, bool]]:
        """(account, sign of what it gets, fee, mid at arrival, is maker) of both."""
        event, sign = self.event, 1 if self.event.aggressor_side is Side.BUY else -1
        return [
            (event.maker_account_id, -sign, event.maker_fee, self.maker_arrival, True),
            (event.taker_account_id, sign, event.taker_fee, self.taker_arrival, False),
        ]


@dataclass
class Account:
    """In one currency."""

    first_day: str
    equities: list[tuple[str, int, int]] = field(default_factory=list)
    """(day, equity, paid in) at the beginning of every minute with events."""
    paid_in: int = 0
    counts: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))
    last_sequence: int = 0


class NaiveAnalytics:
    def __init__(self, batches: Sequence[e.EventBatch]) -> None:
        self.instruments: dict[int, Instrument] = {}
        self.tops: defaultdict[int, list[tuple[int, Top | None]]] = defaultdict(list)
        """By instrument: when, and what the book was after a batch."""
        self.trades: list[Trade] = []
        self.accounts: dict[tuple[int, str], Account] = {}
        self.day_rows: Rows = {}
        self._times = [batch.time_ns for batch in batches]
        self._levels: defaultdict[tuple[int, int], dict[int, int]] = defaultdict(dict)
        self._phases: dict[int, TradingPhase] = {}
        self._orders: dict[int, Order] = {}
        self._prices: dict[int, int] = {}
        self._cash: dict[tuple[int, str], int] = {}
        self._lots: dict[tuple[int, int], int] = {}
        self._holdings: defaultdict[tuple[int, int], Holding] = defaultdict(Holding)
        self._marks: defaultdict[tuple[int, int], int] = defaultdict(int)
        self._opening: dict[tuple[int, int], tuple[int, int]] = {}
        """Realized and unrealized P&L at the beginning of the day."""
        self._moved: defaultdict[tuple[int, int], list[tuple[int, int, int]]] = defaultdict(list)
        """(signed lots, value, fee) of the day."""
        self._positions_of_day: dict[tuple[int, int], int] = {}
        """With the sequence of their last change."""
        self._last_change: dict[tuple[int, int], int] = {}
        self._day = ""
        last_ns = 0
        for batch in batches:
            if batch.time_ns // MINUTE_NS > last_ns // MINUTE_NS:
                self._begin_minute(day_of(batch.time_ns))
            last_ns = batch.time_ns
            self._take(batch)
        self._keep_day_rows()

    # Reading the events

    def _take(self, batch: e.EventBatch) -> None:
        before = {instrument_id: self._top(instrument_id) for instrument_id in self.instruments}
        for sequence, event in enumerate(batch.events, batch.first_event_sequence):
            self._take_event(event, sequence, batch.time_ns, before)
        for instrument_id in self.instruments:
            self.tops[instrument_id].append((batch.time_ns, self._top(instrument_id)))

    def _top(self, instrument_id: int) -> Top | None:
        bids = tuple(sorted(self._levels[instrument_id, Side.BUY].items(), reverse=True))
        asks = tuple(sorted(self._levels[instrument_id, Side.SELL].items()))
        is_open = self._phases.get(instrument_id) is TradingPhase.CONTINUOUS
        return Top(bids, asks) if is_open and bids and asks and bids[0][0] <= asks[0][0] else None

    def _take_event(self, event: e.AnyEvent, sequence: int, time_ns: int, before: dict[int, Top | None]) -> None:  # noqa: C901  # One row per kind of event.
        match event:
            case e.InstrumentListed(instrument):
                self.instruments[instrument.instrument_id] = instrument
                self._prices[instrument.instrument_id] = instrument.reference_price_ticks
            case e.TradingPhaseChanged(instrument_id, phase):
                self._phases |= dict.fromkeys([instrument_id] if instrument_id else self.instruments, phase)
            case e.BookChanged():
                for side, price_ticks, lots, _ in event.levels:
                    self._levels[event.instrument_id, side].pop(price_ticks, None)
                    if lots:
                        self._levels[event.instrument_id, side][price_ticks] = lots
            case e.CashAdjusted():
                account = self._account(event.account_id, event.currency)
                account.paid_in += event.amount
                account.last_sequence = sequence
            case e.TransferBegun() | e.TransferReceived() | e.TransferReturned():
                account = self._account(event.account_id, event.currency)
                account.paid_in += -event.amount if isinstance(event, e.TransferBegun) else event.amount
                account.last_sequence = sequence
            case e.PositionAdjusted():
                self._deliver(event, sequence)
            case e.CashChanged():
                self._cash[event.account_id, event.currency] = event.balance
            case e.PositionChanged():
                self._lots[event.account_id, event.instrument_id] = event.quantity_lots
            case _:
                self._take_order_event(event, sequence, time_ns, before)

    def _take_order_event(self, event: e.AnyEvent, sequence: int, time_ns: int, before: dict[int, Top | None]) -> None:
        def mid(instrument_id: int) -> int | None:
            top = before[instrument_id]
            return top.mid if top else None

        match event:
            case e.OrderAccepted():
                order = Order(event.account_id, event.instrument_id, event.quantity_lots, mid(event.instrument_id))
                self._orders[event.order_id] = order
                self._count(order, "entered", sequence)
            case e.OrderRejected() if event.instrument_id in self.instruments:
                currency = self.instruments[event.instrument_id].currency
                if (event.account_id, currency) in self.accounts:
                    order = Order(event.account_id, event.instrument_id, 0, None)
                    self._count(order, "rejected", sequence)
            case e.OrderTriggered() | e.LegActivated():
                order = self._orders[event.order_id]
                order.arrival = mid(order.instrument_id)
            case e.OrderReplaced():
                self._orders[event.order_id].quantity_lots = event.quantity_lots
                self._count(self._orders[event.order_id], "replaces", sequence)
            case e.OrderCanceled() | e.OrderExpired():
                order = self._orders[event.order_id]
                self._count(order, "ended_lots", sequence, order.quantity_lots)
                self._count(order, "ended_filled_lots", sequence, order.filled_lots)
                if event.reason in (EndReason.REQUESTED, EndReason.MASS_CANCELED):
                    self._count(order, "cancels", sequence)
            case e.TradeExecuted():
                self._trade(event, sequence, time_ns, mid(event.instrument_id))
            case _:
                pass

    def _account(self, account_id: int, currency: str) -> Account:
        return self.accounts.setdefault((account_id, currency), Account(self._day))

    def _count(self, order: Order, what: str, sequence: int, number: int = 1) -> None:
        account = self._account(order.account_id, self.instruments[order.instrument_id].currency)
        account.counts[what] += number
        account.last_sequence = sequence

    def _trade(self, event: e.TradeExecuted, sequence: int, time_ns: int, mid: int | None) -> None:
        maker, taker = self._orders[event.maker_order_id], self._orders[event.taker_order_id]
        trade = Trade(event, time_ns, sequence, mid, maker.arrival, taker.arrival)
        self.trades.append(trade)
        self._prices[event.instrument_id] = event.price_ticks
        value = self.value(event.instrument_id, event.price_ticks, event.quantity_lots)
        for account_id, sign, fee, _, _ in trade.sides():
            key = (account_id, event.instrument_id)
            holding = self._holdings[key]
            (holding.buy if sign > 0 else holding.sell)(event.quantity_lots, value, fee)
            self._moved[key].append((sign * event.quantity_lots, value, fee))
            self._mark(key, sequence)
            self._account(account_id, self.instruments[event.instrument_id].currency).last_sequence = sequence
        for order, leaves_lots in ((maker, event.maker_leaves_lots), (taker, event.taker_leaves_lots)):
            if not order.filled_lots:
                self._count(order, "traded", sequence)
            order.filled_lots += event.quantity_lots
            if not leaves_lots:
                self._count(order, "ended_lots", sequence, order.quantity_lots)
                self._count(order, "ended_filled_lots", sequence, order.filled_lots)

    def _deliver(self, event: e.PositionAdjusted, sequence: int) -> None:
        key = (event.account_id, event.instrument_id)
        holding, price_ticks = self._holdings[key], self._prices[event.instrument_id]
        cost = holding.cost
        holding.deliver(event.quantity_lots, self.value(event.instrument_id, price_ticks, event.quantity_lots))
        account = self._account(event.account_id, self.instruments[event.instrument_id].currency)
        account.paid_in += holding.cost - cost
        account.last_sequence = sequence
        self._mark(key, sequence)

    def value(self, instrument_id: int, price_ticks: int, lots: int) -> int:
        return price_ticks * lots * self.instruments[instrument_id].tick_value

    # Minutes and days

    def _mark(self, key: tuple[int, int], sequence: int | None = None) -> None:
        self._marks[key] = self._prices[key[1]]
        if sequence is not None:
            self._last_change[key] = sequence
            self._positions_of_day[key] = sequence

    def _begin_minute(self, day: str) -> None:
        for key, holding in self._holdings.items():
            if holding.quantity_lots:
                self._mark(key)
        for owner, account in self.accounts.items():
            account.equities.append((day, self.equity(owner), account.paid_in))
        if day != self._day:
            self._keep_day_rows()
            self._day = day
            self._positions_of_day = {
                key: self._last_change[key] for key, holding in self._holdings.items() if holding.quantity_lots
            }
            self._opening = {key: self._gains(key) for key in self._holdings}
            self._moved.clear()

    def equity(self, key: tuple[int, str]) -> int:
        """What the venue says of cash and positions, at last prices."""
        account_id, currency = key
        positions = sum(
            self.value(instrument_id, self._prices[instrument_id], lots)
            for (owner, instrument_id), lots in self._lots.items()
            if owner == account_id and self.instruments[instrument_id].currency == currency
        )
        return self._cash.get(key, 0) + positions

    def _gains(self, key: tuple[int, int]) -> tuple[int, int]:
        holding = self._holdings[key]
        worth = self.value(key[1], self._marks[key], holding.quantity_lots)
        return holding.realized_pnl, worth - holding.cost

    def _keep_day_rows(self) -> None:
        for key, sequence in self._positions_of_day.items():
            holding = self._holdings[key]
            realized, unrealized = self._gains(key)
            realized_before, unrealized_before = self._opening.get(key, (0, 0))
            moved = self._moved[key]
            self.day_rows[self._day, *key] = (
                self.instruments[key[1]].currency,
                self._lots[key],
                holding.cost,
                self._marks[key],
                realized - realized_before,
                unrealized,
                realized + unrealized - realized_before - unrealized_before,
                sum(fee for _, _, fee in moved),
                sum(lots for lots, _, _ in moved if lots > 0),
                sum(value for lots, value, _ in moved if lots > 0),
                -sum(lots for lots, _, _ in moved if lots < 0),
                sum(value for lots, value, _ in moved if lots < 0),
                len(moved),
                sequence,
            )

    # Answers

    def mid_at(self, instrument_id: int, time_ns: int) -> int | None:
        """None also where no event is later than that."""
        if self._times[-1] <= time_ns:
            return None
        tops = self.tops[instrument_id]
        top = tops[bisect_right(tops, time_ns, key=lambda entry: entry[0]) - 1][1]
        return top.mid if top else None

    def markouts(self, trade: Trade) -> list[int | None]:
        instrument_id = trade.event.instrument_id
        return [self.mid_at(instrument_id, trade.time_ns + seconds * SECOND_NS) for seconds in (1, 10, 60)]

    def trade_rows(self) -> Rows:
        return {
            (trade.event.trade_id,): (
                trade.event.instrument_id,
                trade.time_ns,
                trade.sequence,
                trade.event.price_ticks,
                trade.event.quantity_lots,
                trade.event.aggressor_side,
                trade.event.is_auction,
                trade.event.maker_account_id,
                trade.event.taker_account_id,
                trade.mid,
                trade.maker_arrival,
                trade.taker_arrival,
                *self.markouts(trade),
            )
            for trade in self.trades
        }

    def trader_rows(self) -> Rows:
        return {key: self._trader_row(key, account) for key, account in self.accounts.items()}

    def _trader_row(self, key: tuple[int, str], account: Account) -> tuple[Any, ...]:
        gains = [
            self._gains(held)
            for held in self._holdings
            if held[0] == key[0] and self.instruments[held[1]].currency == key[1]
        ]
        realized, unrealized = sum(gain[0] for gain in gains), sum(gain[1] for gain in gains)
        counts = account.counts
        return (
            account.paid_in,
            realized,
            unrealized,
            realized + unrealized,
            account.paid_in + realized + unrealized,
            self._fees(key),
            *self._returns(account),
            counts["entered"],
            counts["rejected"],
            counts["traded"],
            counts["replaces"],
            counts["cancels"],
            counts["ended_lots"],
            counts["ended_filled_lots"],
            *self._trading(key),
            account.last_sequence,
        )

    def _own(self, key: tuple[int, str]) -> list[tuple[Trade, int, int, int | None, bool, int]]:
        """(trade, sign, fee, mid at arrival, is maker, value) of each of the account's sides."""
        return [
            (trade, sign, fee, arrival, is_maker, self._value_of(trade))
            for trade in self.trades
            for account_id, sign, fee, arrival, is_maker in trade.sides()
            if account_id == key[0] and self.instruments[trade.event.instrument_id].currency == key[1]
        ]

    def _value_of(self, trade: Trade) -> int:
        return self.value(trade.event.instrument_id, trade.event.price_ticks, trade.event.quantity_lots)

    def _fees(self, key: tuple[int, str]) -> int:
        return sum(fee for _, _, fee, _, _, _ in self._own(key))

    def _trading(self, key: tuple[int, str]) -> tuple[int, ...]:
        own = self._own(key)
        slippages = [
            (sign * self._moved_value(trade, -arrival), value)
            for trade, sign, _, arrival, _, value in own
            if arrival is not None
        ]
        figures = [
            len(own),
            sum(value for *_, value in own),
            sum(value for trade, _, _, _, is_maker, value in own if is_maker and not trade.event.is_auction),
            sum(value for trade, *_, value in own if trade.event.is_auction),
            sum(paid for paid, _ in slippages) // 2,
            sum(value for _, value in slippages),
        ]
        for index in range(3):
            known = [
                (-sign * self._moved_value(trade, -mid), value)
                for trade, sign, _, _, _, value in own
                if (mid := self.markouts(trade)[index]) is not None
            ]
            figures += [sum(gain for gain, _ in known) // 2, sum(value for _, value in known)]
        return tuple(figures)

    def _moved_value(self, trade: Trade, minus_mid: int) -> int:
        """(2 price - mid) * quantity, in half minor units."""
        event = trade.event
        return self.value(event.instrument_id, 2 * event.price_ticks + minus_mid, event.quantity_lots)

    def _returns(self, account: Account) -> tuple[Any, ...]:
        """Money and ratio of the largest drawdown, time-weighted return, Sharpe ratios and how many returns they are of."""
        gains = [equity - paid_in for _, equity, paid_in in account.equities]
        falls = [max([0, *gains[: index + 1]]) - gain for index, gain in enumerate(gains)]
        states = [(0, 0), *((equity, paid_in) for _, equity, paid_in in account.equities)]
        minutes = rates(list(itertools.pairwise(states)))
        wealth = [1.0]
        for rate in minutes:
            wealth.append(wealth[-1] * (1 + rate))
        drawdown = max(1 - value / max(wealth[: index + 1]) for index, value in enumerate(wealth))
        days = rates(self._days(account))
        return max([0, *falls]), wealth[-1] - 1, drawdown, len(minutes), sharpe(minutes), len(days), sharpe(days)

    def _days(self, account: Account) -> list[tuple[State, State]]:
        """How each day began and ended on which something was traded."""
        trading_days = {day_of(trade.time_ns) for trade in self.trades}
        days, day, start = [], account.first_day, (0, 0)
        for next_day, equity, paid_in in account.equities:
            if next_day != day:
                if day in trading_days:
                    days.append((start, (equity, paid_in)))
                day, start = next_day, (equity, paid_in)
        return days

    def quality_rows(self) -> Rows:
        rows: Rows = {}
        for instrument_id, tops in self.tops.items():
            sums: defaultdict[int, list[int]] = defaultdict(lambda: [0] * 9)
            for (time_ns, top), next_ns in zip(tops, [entry[0] for entry in tops[1:]], strict=False):
                if top is not None:
                    self._integrate(sums, top, time_ns, min(next_ns, time_ns + IDLE_NS))
            for trade in self.trades:
                if trade.event.instrument_id == instrument_id:
                    row = sums[trade.time_ns // INTERVAL_NS * INTERVAL_NS]
                    row[6] += 1
                    row[7] += trade.event.quantity_lots
                    row[8] += self._value_of(trade)
            for start_ns, (quoted, *totals) in sums.items():
                means = [total * 1000 // quoted if quoted else None for total in totals[:5]]
                rows[instrument_id, start_ns] = (quoted, *means, *totals[5:])
        return rows

    def _integrate(self, sums: defaultdict[int, list[int]], top: Top, from_ns: int, to_ns: int) -> None:
        while from_ns < to_ns:
            start_ns = from_ns // INTERVAL_NS * INTERVAL_NS
            until_ns = min(to_ns, start_ns + INTERVAL_NS)
            for index, figure in enumerate((1, *top.figures())):
                sums[start_ns][index] += figure * (until_ns - from_ns)
            from_ns = until_ns


def rates(stretches: list[tuple[State, State]]) -> list[float]:
    """Money that came in meanwhile was there from the beginning."""
    found = []
    for (equity, paid_in), (next_equity, next_paid_in) in stretches:
        base = equity + next_paid_in - paid_in
        if base > 0:
            found.append((next_equity - base) / base)
    return found


def sharpe(returns: list[float]) -> float | None:
    if len(returns) < 2 or len(set(returns)) == 1:
        return None
    return statistics.mean(returns) / statistics.stdev(returns)


def day_of(time_ns: int) -> str:
    return datetime.fromtimestamp(time_ns // SECOND_NS, UTC).strftime("%Y-%m-%d")
