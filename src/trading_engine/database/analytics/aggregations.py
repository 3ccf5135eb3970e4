"""From events to metrics: an incremental fold without input or output, clock or chance.

    batch at T ─▶ mids for mark-outs due before T ─▶ minute and day ends up to T ─▶ the batch's events, one by one

Everything follows from the sequence of batches: neither how they are cut into transactions, nor where the process was stopped in between,
changes a bit of what comes out. So an account's position is marked at moments of event time, not when rows are written.

`state` is all that the fold needs to go on, as bytes; `take_changes` gives the rows that changed, each as it is now. A row's values are
absolute, never increments, so writing one again does no harm.

Definitions, with their sources, stand where the numbers are made: here (orders and trades), in `accounts` (P&L, returns), `market` (spread,
depth) and `returns` (Sharpe, drawdown); docs/analytics.md has them all with their units.
"""

from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import msgspec

from trading_engine.database.analytics.accounts import HORIZONS_NS, Performance, Position
from trading_engine.database.analytics.market import IDLE_NS_MAX, Interval, Market, MarketRecord
from trading_engine.venue import events as e
from trading_engine.venue.reasons import EndReason
from trading_engine.venue.terms import Side

FORMAT = 1
MINUTE_NS = 60 * 10**9
DAY_NS = 86_400 * 10**9
OWNER_CANCELS = (EndReason.REQUESTED, EndReason.MASS_CANCELED)

Row = tuple[Any, ...]


class WorkingOrder(msgspec.Struct, array_like=True, gc=False):
    """What its fills and its end need to know of an order."""

    order_id: int
    account_id: int
    instrument_id: int
    quantity_lots: int
    filled_lots: int
    arrival_half_ticks: int | None
    """Twice the mid before the command with which the order came, or with which it stopped waiting."""


class TradeRecord(msgspec.Struct, array_like=True, gc=False):
    """A row of `trade_analytics`, in the order of its columns."""

    trade_id: int
    instrument_id: int
    time_ns: int
    event_sequence: int
    price_ticks: int
    quantity_lots: int
    aggressor_side: int
    is_auction: bool
    maker_account_id: int
    taker_account_id: int
    mid_half_ticks: int | None
    maker_arrival_half_ticks: int | None
    taker_arrival_half_ticks: int | None
    mid_1s_half_ticks: int | None = None
    mid_10s_half_ticks: int | None = None
    mid_60s_half_ticks: int | None = None


MARKOUT_FIELDS = ("mid_1s_half_ticks", "mid_10s_half_ticks", "mid_60s_half_ticks")


class UnknownState(ValueError):
    """The state is not one that this release makes."""


class FoldFormat(msgspec.Struct):
    format: int


class FoldState(FoldFormat):
    event_sequence: int
    time_ns: int
    minute_ends_ns: int
    day: str
    day_trade_count: int
    markets: list[MarketRecord]
    performances: list[Performance]
    positions: list[Position]
    orders: list[WorkingOrder]
    waiting_trades: list[TradeRecord]
    """Those that wait for the mid at a horizon, by time."""


class Changes(msgspec.Struct):
    """Rows to write, each as a tuple of all columns in the order of its table."""

    event_sequence: int
    time_ns: int
    daily_pnl: list[Row]
    trader_metrics: list[Row]
    trade_analytics: list[Row]
    market_quality: list[Row]


class AnalyticsFold:
    """Feed it every batch once and in order."""

    def __init__(self, state: bytes | None = None) -> None:
        self.event_sequence = 0
        self.time_ns = 0
        self._minute_ends_ns = 0
        self._day = ""
        self._day_trade_count = 0
        self._markets: dict[int, Market] = {}
        self._performances: dict[tuple[int, str], Performance] = {}
        self._positions: dict[tuple[int, int], Position] = {}
        self._orders: dict[int, WorkingOrder] = {}
        self._waiting: tuple[deque[TradeRecord], ...] = tuple(deque() for _ in HORIZONS_NS)
        """Trades that wait for the mid at each of the horizons, oldest first."""
        self._phase_changed: list[Market] = []
        """In this batch, throughout which the mid is that before it."""
        self._handlers: dict[type[e.Event], Callable[[Any, int, int], None]] = {
            e.InstrumentListed: self._list_instrument,
            e.TradingPhaseChanged: self._change_phase,
            e.CashAdjusted: self._pay_in,
            e.TransferBegun: self._transfer_out,
            e.TransferReceived: self._pay_in,
            e.TransferReturned: self._pay_in,
            e.PositionAdjusted: self._deliver,
            e.OrderAccepted: self._accept,
            e.OrderRejected: self._reject,
            e.OrderTriggered: self._arrive,
            e.LegActivated: self._arrive,
            e.OrderReplaced: self._replace,
            e.OrderCanceled: self._end,
            e.OrderExpired: self._end,
            e.TradeExecuted: self._trade,
            e.BookChanged: self._change_book,
        }
        if state is not None:
            self._load(decode_state(state))
        self._forget_changes()

    # Between processes

    def state(self) -> bytes:
        """Equal folds have equal bytes."""
        waiting = {trade.trade_id: trade for trades in self._waiting for trade in trades}
        return encode_state(
            FoldState(
                FORMAT,
                self.event_sequence,
                self.time_ns,
                self._minute_ends_ns,
                self._day,
                self._day_trade_count,
                [market.record() for _, market in sorted(self._markets.items())],
                [performance for _, performance in sorted(self._performances.items())],
                [position for _, position in sorted(self._positions.items())],
                [order for _, order in sorted(self._orders.items())],
                [trade for _, trade in sorted(waiting.items())],
            )
        )

    def _load(self, state: FoldState) -> None:
        self.event_sequence = state.event_sequence
        self.time_ns = state.time_ns
        self._minute_ends_ns = state.minute_ends_ns
        self._day = state.day
        self._day_trade_count = state.day_trade_count
        self._markets = {record.instrument.instrument_id: Market(record) for record in state.markets}
        self._performances = {(p.account_id, p.currency): p for p in state.performances}
        self._positions = {(p.account_id, p.instrument_id): p for p in state.positions}
        self._orders = {order.order_id: order for order in state.orders}
        for trade in state.waiting_trades:
            for horizon_ns, waiting in zip(HORIZONS_NS, self._waiting, strict=True):
                if trade.time_ns + horizon_ns >= self.time_ns:
                    waiting.append(trade)

    def _forget_changes(self) -> None:
        self._changed_performances: dict[tuple[int, str], None] = {}
        self._changed_trades: dict[int, TradeRecord] = {}
        self._changed_intervals: dict[tuple[int, int], Interval] = {}
        self._changed_positions: dict[tuple[int, int], None] = {}
        self._day_rows: dict[tuple[str, int, int], Row] = {}

    def take_changes(self) -> Changes:
        """Everything that changed since the last call."""
        for key in self._changed_positions:
            self._keep_day_row(self._positions[key])
        changes = Changes(
            self.event_sequence,
            self.time_ns,
            list(self._day_rows.values()),
            [performance_row(self._performances[key]) for key in self._changed_performances],
            [msgspec.structs.astuple(trade) for trade in self._changed_trades.values()],
            [interval_row(key[0], interval) for key, interval in self._changed_intervals.items()],
        )
        self._forget_changes()
        return changes

    # The one way in

    def apply(self, batch: e.EventBatch) -> None:
        assert batch.first_event_sequence == self.event_sequence + 1, (batch.first_event_sequence, self.event_sequence)
        time_ns = batch.time_ns
        self._look_at_mids(time_ns)
        if time_ns >= self._minute_ends_ns:
            self._pass_time(time_ns)
        self.time_ns = time_ns
        handlers = self._handlers
        for sequence, event in enumerate(batch.events, batch.first_event_sequence):
            handler = handlers.get(type(event))
            if handler is not None:
                handler(event, sequence, time_ns)
        for market in self._phase_changed:
            market.look_at_top()
        self._phase_changed.clear()
        self.event_sequence = batch.last_event_sequence

    # Time

    def _look_at_mids(self, time_ns: int) -> None:
        """What a mid was at a moment is known when the first event after that moment has come."""
        for index, horizon_ns in enumerate(HORIZONS_NS):
            waiting = self._waiting[index]
            while waiting and waiting[0].time_ns + horizon_ns < time_ns:
                self._mark_out(waiting.popleft(), index)

    def _mark_out(self, trade: TradeRecord, index: int) -> None:
        """Mark-out of a trade (post-trade price move against its counterparties): its sign is that of the account's gain."""
        market = self._markets[trade.instrument_id]
        mid = market.mid_half_ticks
        if mid is None:
            return
        setattr(trade, MARKOUT_FIELDS[index], mid)
        self._changed_trades[trade.trade_id] = trade
        moved = market.value(mid - 2 * trade.price_ticks, trade.quantity_lots)
        value = market.value(trade.price_ticks, trade.quantity_lots)
        taker_gains = moved if trade.aggressor_side == Side.BUY else -moved
        for account_id, gain in ((trade.taker_account_id, taker_gains), (trade.maker_account_id, -taker_gains)):
            performance = self._performance(account_id, market.instrument.currency)
            performance.markouts[index].half_value += gain
            performance.markouts[index].traded_value += value

    def _pass_time(self, time_ns: int) -> None:
        """Minutes have ended, and perhaps a day. Prices were the same since the last event, so one look is enough for all of them."""
        self._advance_markets(time_ns)
        for position in self._positions.values():
            if position.holding.quantity_lots:
                self._mark(position, self._markets[position.instrument_id].last_price_ticks)
        for key, performance in self._performances.items():
            performance.end_minute()
            self._changed_performances[key] = None
        day = day_of(time_ns)
        if day != self._day:
            self._end_day(day)
        self._minute_ends_ns = time_ns - time_ns % MINUTE_NS + MINUTE_NS

    def _end_day(self, day: str) -> None:
        for key in self._changed_positions:
            self._keep_day_row(self._positions[key])
        self._changed_positions.clear()
        for performance in self._performances.values():
            performance.end_day(counts=self._day_trade_count > 0)
        for key, position in self._positions.items():
            position.begin_day()
            if position.holding.quantity_lots:
                self._changed_positions[key] = None
        self._day, self._day_trade_count = day, 0

    def _advance_markets(self, time_ns: int) -> None:
        idle_from_ns = self.time_ns + IDLE_NS_MAX
        for market in self._markets.values():
            if time_ns > idle_from_ns:
                self._advance(market, idle_from_ns)
                market.skip_to(time_ns)
            self._advance(market, time_ns)

    def _advance(self, market: Market, time_ns: int) -> None:
        instrument_id = market.instrument.instrument_id
        for interval in (*market.advance(time_ns), market.interval):
            if interval.quoted_ns or interval.trade_count:  # An empty one has no row.
                self._changed_intervals[instrument_id, interval.start_ns] = interval

    # Instruments

    def _list_instrument(self, event: e.InstrumentListed, _sequence: int, time_ns: int) -> None:
        self._markets[event.instrument.instrument_id] = Market.listed(event.instrument, time_ns)

    def _change_phase(self, event: e.TradingPhaseChanged, _sequence: int, time_ns: int) -> None:
        for market in [self._markets[event.instrument_id]] if event.instrument_id else list(self._markets.values()):
            self._advance(market, time_ns)
            market.change_phase(event.phase)
            self._phase_changed.append(market)

    def _change_book(self, event: e.BookChanged, _sequence: int, time_ns: int) -> None:
        market = self._markets[event.instrument_id]
        self._advance(market, time_ns)
        market.change_book(event)

    # Accounts

    def _performance(self, account_id: int, currency: str) -> Performance:
        """To be changed."""
        key = (account_id, currency)
        self._changed_performances[key] = None
        performance = self._performances.get(key)
        if performance is None:
            performance = self._performances[key] = Performance(account_id, currency)
        return performance

    def _position(self, account_id: int, instrument_id: int) -> Position:
        """To be changed."""
        key = (account_id, instrument_id)
        self._changed_positions[key] = None
        position = self._positions.get(key)
        if position is None:
            position = self._positions[key] = Position(account_id, instrument_id)
        return position

    def _transfer_out(self, event: e.TransferBegun, sequence: int, _time_ns: int) -> None:
        """To a balance of the same account on another shard: like what is withdrawn, no loss here."""
        performance = self._performance(event.account_id, event.currency)
        performance.paid_in -= event.amount
        performance.event_sequence = sequence

    def _pay_in(
        self, event: e.CashAdjusted | e.TransferReceived | e.TransferReturned, sequence: int, _time_ns: int
    ) -> None:
        performance = self._performance(event.account_id, event.currency)
        performance.paid_in += event.amount
        performance.event_sequence = sequence

    def _deliver(self, event: e.PositionAdjusted, sequence: int, _time_ns: int) -> None:
        """What comes in is worth the last price, so that it is no profit at that moment; what goes out takes its cost with it."""
        market = self._markets[event.instrument_id]
        performance = self._performance(event.account_id, market.instrument.currency)
        position = self._position(event.account_id, event.instrument_id)
        cost = position.holding.cost
        position.holding.deliver(event.quantity_lots, market.value(market.last_price_ticks, event.quantity_lots))
        performance.paid_in += position.holding.cost - cost
        self._mark(position, market.last_price_ticks)
        position.event_sequence = performance.event_sequence = sequence

    def _mark(self, position: Position, price_ticks: int) -> None:
        """Value the position at this price."""
        market = self._markets[position.instrument_id]
        holding = position.holding
        unrealized_pnl = market.value(price_ticks, holding.quantity_lots) - holding.cost
        if unrealized_pnl != position.unrealized_pnl or price_ticks != position.mark_price_ticks:
            performance = self._performance(position.account_id, market.instrument.currency)
            performance.unrealized_pnl += unrealized_pnl - position.unrealized_pnl
            position.unrealized_pnl, position.mark_price_ticks = unrealized_pnl, price_ticks
            self._changed_positions[position.account_id, position.instrument_id] = None

    # Orders

    def _accept(self, event: e.OrderAccepted, sequence: int, _time_ns: int) -> None:
        market = self._markets[event.instrument_id]
        self._orders[event.order_id] = WorkingOrder(
            event.order_id,
            event.account_id,
            event.instrument_id,
            event.quantity_lots,
            0,
            market.mid_half_ticks,
        )
        performance = self._performance(event.account_id, market.instrument.currency)
        performance.orders_entered += 1
        performance.event_sequence = sequence

    def _reject(self, event: e.OrderRejected, sequence: int, _time_ns: int) -> None:
        """Of an account and an instrument that there are."""
        market = self._markets.get(event.instrument_id)
        if market is None:
            return
        key = (event.account_id, market.instrument.currency)
        if key in self._performances:
            performance = self._performance(*key)
            performance.orders_rejected += 1
            performance.event_sequence = sequence

    def _arrive(self, event: e.OrderTriggered | e.LegActivated, _sequence: int, _time_ns: int) -> None:
        """It waited outside the book for this moment, which its owner could not choose: slippage counts from here."""
        order = self._orders[event.order_id]
        order.arrival_half_ticks = self._markets[order.instrument_id].mid_half_ticks

    def _replace(self, event: e.OrderReplaced, sequence: int, _time_ns: int) -> None:
        order = self._orders[event.order_id]
        order.quantity_lots = event.quantity_lots
        performance = self._performance_of(order)
        performance.replaces += 1
        performance.event_sequence = sequence

    def _end(self, event: e.OrderCanceled | e.OrderExpired, sequence: int, _time_ns: int) -> None:
        performance = self._close(self._orders.pop(event.order_id))
        if event.reason in OWNER_CANCELS:
            performance.cancels += 1
        performance.event_sequence = sequence

    def _close(self, order: WorkingOrder) -> Performance:
        performance = self._performance_of(order)
        performance.ended_lots += order.quantity_lots
        performance.ended_filled_lots += order.filled_lots
        return performance

    def _performance_of(self, order: WorkingOrder) -> Performance:
        return self._performance(order.account_id, self._markets[order.instrument_id].instrument.currency)

    # Trades

    def _trade(self, event: e.TradeExecuted, sequence: int, time_ns: int) -> None:
        market = self._markets[event.instrument_id]
        value = market.value(event.price_ticks, event.quantity_lots)
        self._advance(market, time_ns)
        market.trade(event.price_ticks, event.quantity_lots, value)
        self._changed_intervals[event.instrument_id, market.interval.start_ns] = market.interval
        self._day_trade_count += 1
        maker, taker = self._orders[event.maker_order_id], self._orders[event.taker_order_id]
        trade = TradeRecord(
            event.trade_id,
            event.instrument_id,
            time_ns,
            sequence,
            event.price_ticks,
            event.quantity_lots,
            int(event.aggressor_side),
            event.is_auction,
            event.maker_account_id,
            event.taker_account_id,
            market.mid_half_ticks,
            maker.arrival_half_ticks,
            taker.arrival_half_ticks,
        )
        self._changed_trades[event.trade_id] = trade
        for waiting in self._waiting:
            waiting.append(trade)
        taker_buys = event.aggressor_side is Side.BUY
        maker_share = 0 if event.is_auction else value
        self._fill(maker, trade, market, value, event.maker_fee, maker_share, is_buy=not taker_buys)
        self._fill(taker, trade, market, value, event.taker_fee, 0, is_buy=taker_buys)
        for order, leaves_lots in ((maker, event.maker_leaves_lots), (taker, event.taker_leaves_lots)):
            if not leaves_lots:
                del self._orders[order.order_id]
                self._close(order)

    def _fill(
        self,
        order: WorkingOrder,
        trade: TradeRecord,
        market: Market,
        value: int,
        fee: int,
        maker_value: int,
        *,
        is_buy: bool,
    ) -> None:
        """One side of a trade."""
        performance = self._performance(order.account_id, market.instrument.currency)
        performance.fills += 1
        performance.orders_traded += not order.filled_lots
        order.filled_lots += trade.quantity_lots
        performance.fees += fee
        performance.traded_value += value
        performance.maker_value += maker_value
        performance.auction_value += value if trade.is_auction else 0
        if order.arrival_half_ticks is not None:
            paid = market.value(2 * trade.price_ticks - order.arrival_half_ticks, trade.quantity_lots)
            performance.slippage_half_value += paid if is_buy else -paid
            performance.slippage_base += value
        performance.event_sequence = trade.event_sequence
        self._settle(order, trade, performance, value, fee, is_buy=is_buy)

    def _settle(
        self, order: WorkingOrder, trade: TradeRecord, performance: Performance, value: int, fee: int, *, is_buy: bool
    ) -> None:
        position = self._position(order.account_id, order.instrument_id)
        realized_pnl = position.holding.realized_pnl
        if is_buy:
            position.holding.buy(trade.quantity_lots, value, fee)
            position.bought_lots += trade.quantity_lots
            position.bought_value += value
        else:
            position.holding.sell(trade.quantity_lots, value, fee)
            position.sold_lots += trade.quantity_lots
            position.sold_value += value
        position.fees += fee
        position.trade_count += 1
        position.event_sequence = trade.event_sequence
        performance.realized_pnl += position.holding.realized_pnl - realized_pnl
        self._mark(position, trade.price_ticks)

    # Rows

    def _keep_day_row(self, position: Position) -> None:
        key = (self._day, position.account_id, position.instrument_id)
        currency = self._markets[position.instrument_id].instrument.currency
        self._day_rows[key] = day_row(self._day, position, currency)


def day_of(time_ns: int) -> str:
    """The UTC day, whatever the venue's calendar says: 2026-01-05."""
    return datetime.fromtimestamp(time_ns // 10**9, UTC).date().isoformat()


def day_row(day: str, position: Position, currency: str) -> Row:
    holding = position.holding
    return (
        day,
        position.account_id,
        position.instrument_id,
        currency,
        holding.quantity_lots,
        holding.cost,
        position.mark_price_ticks,
        position.day_realized_pnl,
        position.unrealized_pnl,
        position.day_pnl,
        position.fees,
        position.bought_lots,
        position.bought_value,
        position.sold_lots,
        position.sold_value,
        position.trade_count,
        position.event_sequence,
    )


def performance_row(performance: Performance) -> Row:
    p = performance
    return (
        p.account_id,
        p.currency,
        p.paid_in,
        p.realized_pnl,
        p.unrealized_pnl,
        p.pnl,
        p.equity,
        p.fees,
        p.drawdown_max,
        p.wealth.value - 1.0,
        p.wealth.drawdown_max,
        p.minute_returns.count,
        p.minute_returns.sharpe,
        p.day_returns.count,
        p.day_returns.sharpe,
        p.orders_entered,
        p.orders_rejected,
        p.orders_traded,
        p.replaces,
        p.cancels,
        p.ended_lots,
        p.ended_filled_lots,
        p.fills,
        p.traded_value,
        p.maker_value,
        p.auction_value,
        p.slippage_half_value // 2,
        p.slippage_base,
        *(figure for markout in p.markouts for figure in (markout.half_value // 2, markout.traded_value)),
        p.event_sequence,
    )


def interval_row(instrument_id: int, interval: Interval) -> Row:
    return (
        instrument_id,
        interval.start_ns,
        interval.quoted_ns,
        interval.mean_milli(interval.spread_sum),
        interval.mean_milli(interval.bid_sum),
        interval.mean_milli(interval.ask_sum),
        interval.mean_milli(interval.bid_depth_sum),
        interval.mean_milli(interval.ask_depth_sum),
        interval.trade_count,
        interval.volume_lots,
        interval.volume_value,
    )


# JSON, not MessagePack: sums of money times nanoseconds leave 64 bits.
encode_state = msgspec.json.Encoder().encode
_decode_format = msgspec.json.Decoder(FoldFormat).decode
_decode_state = msgspec.json.Decoder(FoldState).decode


def decode_state(data: bytes) -> FoldState:
    """Raises `UnknownState`."""
    found = _decode_format(data).format
    if found != FORMAT:
        raise UnknownState(f"format {found} of the state is not {FORMAT}")
    return _decode_state(data)
