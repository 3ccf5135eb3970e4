"""Orders, fills, trades, positions and balances: questions to the rows that the projection owns. Nothing here writes.

What one method returns was read in one transaction and belongs to one moment. Pages are cut by key, never by offset: a page costs the
same however far back it lies, and rows that come in meanwhile shift nothing. `limit` beyond `PAGE_ROWS_MAX` is taken as that.
"""

from collections.abc import Callable, Collection
from typing import Any, Literal, NamedTuple, TypeVar

import msgspec
from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Row,
    Select,
    case,
    desc,
    func,
    literal,
    literal_column,
    select,
    union_all,
)

from trading_engine.database.connections import Connections, Use
from trading_engine.database.transactional.fold import decode_definition, decode_terms
from trading_engine.database.transactional.models import (
    AccountRow,
    CashBalanceRow,
    InstrumentRow,
    LedgerRow,
    OrderEventRow,
    OrderRow,
    PositionRow,
    ProjectionStateRow,
    TradeRow,
    VenueActRow,
    table_of,
)
from trading_engine.database.transactional.preventions import read_last_preventions, read_preventions
from trading_engine.database.transactional.records import (
    AccountState,
    Candle,
    CashBalance,
    InstrumentState,
    Page,
    PhaseChange,
    Position,
    Prevention,
    StartState,
    StatementLine,
    Statistics,
    Trade,
)
from trading_engine.venue.events import MarginSet, TradingPhaseChanged
from trading_engine.venue.order_state import Fill, OrderReport, OrderState, OrderStatus
from trading_engine.venue.reasons import EndReason
from trading_engine.venue.risk_limits import MarginTerms
from trading_engine.venue.terms import Contingency, OrderType, SelfTradePrevention, Side, TimeInForce, TradingPhase

PAGE_ROWS_MAX = 1_000
decode_phase_change = msgspec.json.Decoder(TradingPhaseChanged).decode
decode_margin = msgspec.json.Decoder(MarginSet).decode
GROUP_ORDERS_MAX = 3
EVENT_STREAM = "events.0"

OrderFilter = Literal["open", "done", "all"]
Item = TypeVar("Item")

projection_state, instruments, orders = table_of(ProjectionStateRow), table_of(InstrumentRow), table_of(OrderRow)
order_events, trades = table_of(OrderEventRow), table_of(TradeRow)
positions, cash_balances = table_of(PositionRow), table_of(CashBalanceRow)
venue_acts, ledger = table_of(VenueActRow), table_of(LedgerRow)
accounts = table_of(AccountRow)

# Spelled out rather than bound: only then does SQLite see that the partial index covers it.
IS_LIVE: ColumnElement[bool] = orders.c.status < literal_column(str(int(OrderStatus.FILLED)))
IS_REPLACE: ColumnElement[bool] = order_events.c.kind == literal_column("'replaced'")
IS_BUY: ColumnElement[bool] = trades.c.aggressor_side == int(Side.BUY)
PUBLIC_TRADE = [
    trades.c[name]
    for name in (
        "trade_id",
        "instrument_id",
        "market_sequence",
        "price_ticks",
        "quantity_lots",
        "aggressor_side",
        "time_ns",
        "event_sequence",
    )
]


class OrderSelection(NamedTuple):
    """What else may be asked of orders; None: anything."""

    instrument_ids: Collection[int] | None = None
    side: Side | None = None
    after_ns: int | None = None
    until_ns: int | None = None
    """Entered after the one time, and not after the other."""
    is_first_of_group: bool = False
    """Whether only orders by which groups are named."""

    def conditions(self) -> list[ColumnElement[bool]]:
        found: list[ColumnElement[bool]] = []
        if self.instrument_ids is not None:
            found.append(orders.c.instrument_id.in_(self.instrument_ids))
        if self.side is not None:
            found.append(orders.c.side == int(self.side))
        if self.after_ns is not None:
            found.append(orders.c.created_ns > self.after_ns)
        if self.until_ns is not None:
            found.append(orders.c.created_ns <= self.until_ns)
        if self.is_first_of_group:
            found.append(orders.c.group_id == orders.c.order_id)
        return found


ALL_ORDERS = OrderSelection()


class TradingRepository:
    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    async def reached_sequence(self) -> int:
        """The last event that the rows show, 0 before the first."""
        return await self._connections.run(Use.READ, lambda connection: read_reached(connection)[0])

    async def start_state(self) -> StartState:
        """All that can still change, with the event sequence it belongs to: what a read side starts from."""
        return await self._connections.run(Use.READ, read_start_state)

    async def instruments(self) -> tuple[InstrumentState, ...]:
        return await self._connections.run(Use.READ, _instruments)

    # Orders

    async def order(self, order_id: int) -> OrderState | None:
        return await self._first_order(select(orders).where(orders.c.order_id == order_id))

    async def order_by_client_id(self, account_id: int, client_order_id: str) -> OrderState | None:
        """The account's newest order of this name: the venue lets a name be used again when the order has long ended."""
        query = select(orders).where(orders.c.account_id == account_id, orders.c.client_order_id == client_order_id)
        return await self._first_order(query.order_by(desc(orders.c.order_id)).limit(1))

    async def _first_order(self, query: Select[Any]) -> OrderState | None:
        def work(connection: Connection) -> OrderState | None:
            row = connection.execute(query).one_or_none()
            return None if row is None else _order(row)

        return await self._connections.run(Use.READ, work)

    async def orders(
        self,
        account_id: int,
        *,
        status: OrderFilter = "all",
        instrument_id: int | None = None,
        before_order_id: int | None = None,
        from_order_id: int | None = None,
        only: OrderSelection = ALL_ORDERS,
        limit: int = 100,
    ) -> Page[OrderState]:
        """Newest first, with `next` as the `before_order_id` of the next page; from an order on, oldest first."""
        query = select(orders).where(orders.c.account_id == account_id, *only.conditions())
        if status != "all":
            query = query.where(IS_LIVE if status == "open" else ~IS_LIVE)
        if instrument_id is not None:
            query = query.where(orders.c.instrument_id == instrument_id)
        if before_order_id is not None:
            query = query.where(orders.c.order_id < before_order_id)
        if from_order_id is None:
            return await self._page(query.order_by(desc(orders.c.order_id)), limit, _order, "order_id")
        query = query.where(orders.c.order_id >= from_order_id)
        return await self._page(query.order_by(orders.c.order_id), limit, _order, "order_id")

    async def open_orders(self, account_id: int, instrument_id: int | None = None) -> tuple[OrderState, ...]:
        """All of the account's, in order of entry: the venue limits how many there are."""
        query = select(orders).where(orders.c.account_id == account_id, IS_LIVE).order_by(orders.c.order_id)
        if instrument_id is not None:
            query = query.where(orders.c.instrument_id == instrument_id)
        return await self._connections.run(
            Use.READ, lambda connection: tuple(_order(row) for row in connection.execute(query))
        )

    async def group_orders(self, group_ids: Collection[int]) -> tuple[OrderState, ...]:
        """All orders of the groups, in order of entry. A group is named by its first order, which the others follow at once."""
        near = [group_id + number for group_id in group_ids for number in range(GROUP_ORDERS_MAX)]
        query = select(orders).where(orders.c.order_id.in_(near), orders.c.group_id.in_(group_ids))

        def work(connection: Connection) -> tuple[OrderState, ...]:
            return tuple(_order(row) for row in connection.execute(query.order_by(orders.c.order_id)))

        return await self._connections.run(Use.READ, work)

    async def replaces(self, order_ids: Collection[int] | None = None) -> dict[int, tuple[int, ...]]:
        """Of orders that were ever replaced, the events that did it, oldest first. None: of all that are open."""
        query = select(order_events.c.order_id, order_events.c.event_sequence).where(IS_REPLACE)
        if order_ids is None:
            query = query.join(orders, orders.c.order_id == order_events.c.order_id).where(IS_LIVE)
        else:
            query = query.where(order_events.c.order_id.in_(order_ids))

        def work(connection: Connection) -> dict[int, tuple[int, ...]]:
            found: dict[int, tuple[int, ...]] = {}
            for order_id, sequence in connection.execute(query.order_by(order_events.c.event_sequence)):
                found[order_id] = (*found.get(order_id, ()), sequence)
            return found

        return await self._connections.run(Use.READ, work)

    async def replaced(
        self, account_id: int, order_id: int, *, from_event_sequence: int = 0, limit: int = 100
    ) -> tuple[OrderState, ...]:
        """The account's order as each replace left it, from an event on, oldest first."""
        query = select_reports().where(
            IS_REPLACE,
            order_events.c.order_id == order_id,
            order_events.c.account_id == account_id,
            order_events.c.event_sequence >= from_event_sequence,
        )
        query = query.order_by(order_events.c.event_sequence).limit(max(1, min(limit, PAGE_ROWS_MAX)))
        return await self._connections.run(
            Use.READ, lambda connection: tuple(_order(row) for row in connection.execute(query))
        )

    async def order_before(self, account_id: int, order_id: int, event_sequence: int) -> OrderState | None:
        """The account's order as it was before that event."""
        query = select_reports().where(
            order_events.c.account_id == account_id,
            order_events.c.order_id == order_id,
            order_events.c.event_sequence < event_sequence,
        )
        return await self._first_order(query.order_by(desc(order_events.c.event_sequence)).limit(1))

    async def preventions(
        self,
        account_id: int,
        instrument_id: int,
        *,
        order_id: int | None = None,
        event_sequence: int | None = None,
        from_event_sequence: int = 0,
        limit: int = PAGE_ROWS_MAX,
    ) -> tuple[Prevention, ...]:
        """Trades of the account's orders in a market that were prevented, from an event on, oldest first: of an order, or by an event."""
        sequence = order_events.c.event_sequence
        # Not both conditions: SQLite would look through all that come after.
        conditions = [sequence >= from_event_sequence if event_sequence is None else sequence == event_sequence]
        if order_id is not None:
            conditions.append(order_events.c.order_id == order_id)
        limit = max(1, min(limit, PAGE_ROWS_MAX))
        return await self._connections.run(
            Use.READ,
            lambda connection: read_preventions(connection, account_id, instrument_id, *conditions, limit=limit),
        )

    async def last_preventions(self, order_ids: Collection[int]) -> dict[int, int]:
        """Of those orders that were ever kept from a trade, the last event that did it."""
        return await self._connections.run(Use.READ, lambda connection: read_last_preventions(connection, order_ids))

    async def fills(
        self,
        account_id: int,
        *,
        instrument_id: int | None = None,
        order_id: int | None = None,
        before: int | None = None,
        from_trade_id: int | None = None,
        since_ns: int | None = None,
        until_ns: int | None = None,
        limit: int = 100,
    ) -> Page[Fill]:
        """Newest first, with `next` as the `before` of the next page: an event sequence. From a trade on, oldest first.

        With `since_ns` and `until_ns`, those of since_ns <= time < until_ns.
        """
        query = select_reports().where(order_events.c.account_id == account_id, order_events.c.trade_id.is_not(None))
        if from_trade_id is None:
            query = query.order_by(desc(order_events.c.event_sequence), order_events.c.is_maker)
        else:
            query = query.where(order_events.c.trade_id >= from_trade_id)
            query = query.order_by(order_events.c.event_sequence, desc(order_events.c.is_maker))
        if instrument_id is not None:
            query = query.where(order_events.c.instrument_id == instrument_id)
        if order_id is not None:
            query = query.where(order_events.c.order_id == order_id)
        if before is not None:
            query = query.where(order_events.c.event_sequence < before)
        if since_ns is not None:
            query = query.where(order_events.c.time_ns >= since_ns)
        if until_ns is not None:
            query = query.where(order_events.c.time_ns < until_ns)
        return await self._page(query, limit, _fill, "event_sequence")

    async def order_reports(self, account_id: int | None, *, after: int, limit: int = 100) -> Page[OrderReport]:
        """What changed about an account's orders, or with None all accounts', after an event, oldest first. `next` is the `after` of
        the next page."""
        query = (
            select_reports()
            .where(order_events.c.event_sequence > after)
            .order_by(order_events.c.event_sequence, desc(order_events.c.is_maker), order_events.c.order_id)
        )
        if account_id is not None:
            query = query.where(order_events.c.account_id == account_id)
        return await self._page(query, limit, report_of, "event_sequence")

    async def last_report_before(self, account_id: int, time_ns: int) -> int:
        """The event of the account's last report that is older; 0 where there is none."""
        query = select(order_events.c.event_sequence).where(
            order_events.c.account_id == account_id, order_events.c.time_ns < time_ns
        )

        def work(connection: Connection) -> int:
            return connection.execute(query.order_by(desc(order_events.c.event_sequence)).limit(1)).scalar() or 0

        return await self._connections.run(Use.READ, work)

    async def _page(self, query: Select[Any], limit: int, convert: Callable[[Row[Any]], Item], key: str) -> Page[Item]:
        """Up to `limit` rows, with the last one's `key` when there are more.

        An account that trades with itself has two reports of one event. They are never parted, or the key could not tell where to
        go on: such a page holds one row more.
        """
        limit = max(1, min(limit, PAGE_ROWS_MAX))

        def work(connection: Connection) -> Page[Item]:
            rows = connection.execute(query.limit(limit + 2)).all()
            keys = [getattr(row, key) for row in rows]
            end = limit + 1 if len(rows) > limit and keys[limit] == keys[limit - 1] else limit
            return Page(tuple(convert(row) for row in rows[:end]), keys[end - 1] if len(rows) > end else None)

        return await self._connections.run(Use.READ, work)

    # The account

    async def statement(self, account_id: int, start_ns: int, end_ns: int) -> tuple[StatementLine, ...]:
        """From the ledger, by asset and kind of entry: at or after the start and before the end, and what was before."""

        def work(connection: Connection) -> tuple[StatementLine, ...]:
            rows = connection.execute(_statement_query(account_id, start_ns, end_ns))
            return tuple(StatementLine(*row[:3], *(int(number) for number in row[3:])) for row in rows)

        return await self._connections.run(Use.READ, work)

    async def account_state(self, account_id: int) -> AccountState:
        """Balances and positions together, and whether it is suspended; empty for an account that the rows do not know."""
        cash_query = select(
            cash_balances.c.account_id, cash_balances.c.currency, cash_balances.c.balance, cash_balances.c.held
        ).where(cash_balances.c.account_id == account_id)
        position_query = select(
            positions.c.account_id,
            positions.c.instrument_id,
            positions.c.quantity_lots,
            positions.c.held_lots,
            positions.c.cost,
            positions.c.realized_pnl,
        ).where(positions.c.account_id == account_id)
        suspended_query = select(accounts.c.is_suspended).where(accounts.c.account_id == account_id)

        def work(connection: Connection) -> AccountState:
            event_sequence, _ = read_reached(connection)
            cash = connection.execute(cash_query.order_by(cash_balances.c.currency))
            held = connection.execute(position_query.order_by(positions.c.instrument_id))
            return AccountState(
                event_sequence,
                tuple(CashBalance(*row) for row in cash),
                tuple(Position(*row) for row in held),
                bool(connection.execute(suspended_query).scalar()),
            )

        return await self._connections.run(Use.READ, work)

    async def margin_terms(self, account_id: int) -> MarginTerms | None:
        """Those that were set last; None: it is a cash account."""
        query = (
            select(venue_acts.c.content)
            .where(venue_acts.c.account_id == account_id, venue_acts.c.kind == MarginSet.__name__)
            .order_by(desc(venue_acts.c.event_sequence))
            .limit(1)
        )

        def work(connection: Connection) -> MarginTerms | None:
            content = connection.execute(query).scalar()
            return None if content is None else decode_margin(content).terms

        return await self._connections.run(Use.READ, work)

    async def cash_balances(self) -> tuple[CashBalance, ...]:
        """Of all accounts."""
        rows = cash_balances.c
        query = select(rows.account_id, rows.currency, rows.balance, rows.held)

        def work(connection: Connection) -> tuple[CashBalance, ...]:
            return tuple(CashBalance(*row) for row in connection.execute(query))

        return await self._connections.run(Use.READ, work)

    async def accounts(self) -> frozenset[int]:
        """All that the venue has opened, as far as the projection has come."""
        query = select(accounts.c.account_id)
        return await self._connections.run(Use.READ, lambda connection: frozenset(connection.execute(query).scalars()))

    # Public trades

    async def trades(
        self,
        instrument_id: int,
        *,
        before_trade_id: int | None = None,
        from_trade_id: int | None = None,
        since_ns: int | None = None,
        until_ns: int | None = None,
        limit: int = 100,
    ) -> Page[Trade]:
        """Newest first, with `next` as the `before_trade_id` of the next page; from a trade on, oldest first.

        Trades are in from `since_ns` on and before `until_ns`.
        """
        query = select(*PUBLIC_TRADE).where(trades.c.instrument_id == instrument_id)
        if since_ns is not None:
            query = query.where(trades.c.time_ns >= since_ns)
        if until_ns is not None:
            query = query.where(trades.c.time_ns < until_ns)
        if from_trade_id is not None:
            query = query.where(trades.c.trade_id >= from_trade_id).order_by(trades.c.trade_id)
            return await self._page(query, limit, _trade, "trade_id")
        if before_trade_id is not None:
            query = query.where(trades.c.trade_id < before_trade_id)
        return await self._page(query.order_by(desc(trades.c.trade_id)), limit, _trade, "trade_id")

    async def candles(
        self,
        instrument_id: int,
        interval_ns: int,
        *,
        start_ns: int | None = None,
        end_ns: int | None = None,
        limit: int = 500,
    ) -> tuple[Candle, ...]:
        """Oldest first; intervals are aligned to the epoch (days to midnight UTC), and those without a trade are left out.

        A candle is in when it opens at or after `start_ns` (rounded down to the interval) and before `end_ns`. Without a start they
        are the `limit` intervals up to the newest trade before the end; with one, the `limit` intervals from the first trade on. So
        the work is bounded by `limit`, and where a market trades seldom there may be fewer candles than that.
        """
        limit = max(1, min(limit, PAGE_ROWS_MAX))

        def work(connection: Connection) -> tuple[Candle, ...]:
            window = _candle_window(connection, instrument_id, interval_ns, start_ns, end_ns, limit)
            if window is None:
                return ()
            return tuple(Candle(*row) for row in connection.execute(_candle_query(instrument_id, interval_ns, *window)))

        return await self._connections.run(Use.READ, work)

    async def phase_changes(
        self, instrument_id: int, start_ns: int, end_ns: int, limit: int
    ) -> tuple[PhaseChange, ...]:
        """Of one market, at or after the start and before the end, oldest first: the newest `limit` of those of all markets."""
        query = (
            select(venue_acts.c.event_sequence, venue_acts.c.time_ns, venue_acts.c.content)
            .where(venue_acts.c.kind == TradingPhaseChanged.__name__)
            .where(venue_acts.c.time_ns >= start_ns, venue_acts.c.time_ns < end_ns)
            .order_by(desc(venue_acts.c.event_sequence))
            .limit(limit)
        )

        def work(connection: Connection) -> tuple[PhaseChange, ...]:
            changes = [(row, decode_phase_change(row.content)) for row in connection.execute(query)]
            return tuple(
                PhaseChange(row.event_sequence, row.time_ns, change.phase)
                for row, change in reversed(changes)
                if change.instrument_id in (0, instrument_id)
            )

        return await self._connections.run(Use.READ, work)

    async def statistics(self, since_ns: int) -> tuple[Statistics, ...]:
        """Every instrument's trading since a moment. Costs time in proportion to the number of trades since then."""

        def work(connection: Connection) -> tuple[Statistics, ...]:
            listed = connection.execute(select(instruments.c.instrument_id).order_by(instruments.c.instrument_id))
            last = read_last_trades(connection)
            since = {row.instrument_id: row for row in connection.execute(_window_query(since_ns))}
            return tuple(_statistics(i, last.get(i), since.get(i)) for i in listed.scalars())

        return await self._connections.run(Use.READ, work)


# Queries


def read_reached(connection: Connection, stream: str = EVENT_STREAM) -> tuple[int, int]:
    query = select(projection_state.c.event_sequence, projection_state.c.updated_ns)
    row = (connection.execute(query.where(projection_state.c.stream == stream))).one_or_none()
    return (0, 0) if row is None else (row.event_sequence, row.updated_ns)


def read_start_state(connection: Connection) -> StartState:
    event_sequence, time_ns = read_reached(connection)
    listed = _instruments(connection)
    live = connection.execute(select(orders).where(IS_LIVE).order_by(orders.c.order_id))
    return StartState(event_sequence, time_ns, listed, tuple(_order(row) for row in live))


def _instruments(connection: Connection) -> tuple[InstrumentState, ...]:
    rows = connection.execute(select(instruments).order_by(instruments.c.instrument_id))
    return tuple(
        InstrumentState(decode_definition(row.definition), TradingPhase(row.phase), row.market_sequence) for row in rows
    )


def read_last_trades(connection: Connection) -> dict[int, Trade]:
    """By instrument; one index lookup each."""
    last_id = (
        select(func.max(trades.c.trade_id))
        .where(trades.c.instrument_id == instruments.c.instrument_id)
        .correlate(instruments)
        .scalar_subquery()
    )
    query = select(*PUBLIC_TRADE).select_from(instruments).join(trades, trades.c.trade_id == last_id)
    return {row.instrument_id: _trade(row) for row in connection.execute(query)}


def select_reports() -> Select[Any]:
    """Order events with what never changes about their orders."""
    return select(
        order_events,
        orders.c.client_order_id,
        orders.c.side,
        orders.c.order_type,
        orders.c.time_in_force,
        orders.c.post_only,
        orders.c.created_ns,
        orders.c.self_trade_prevention,
        orders.c.special,
        orders.c.group_id,
        orders.c.contingency,
    ).join(orders, orders.c.order_id == order_events.c.order_id)


def _candle_window(
    connection: Connection,
    instrument_id: int,
    interval_ns: int,
    start_ns: int | None,
    end_ns: int | None,
    limit: int,
) -> tuple[int, int] | None:
    """[from, to) in whole intervals, at most `limit` of them; None where there is no trade to show."""
    end = None if end_ns is None else -(-end_ns // interval_ns) * interval_ns
    bound = func.max(trades.c.time_ns) if start_ns is None else func.min(trades.c.time_ns)
    query = select(bound).where(trades.c.instrument_id == instrument_id)
    if end is not None:
        query = query.where(trades.c.time_ns < end)
    if start_ns is not None:
        query = query.where(trades.c.time_ns >= start_ns // interval_ns * interval_ns)
    trade_ns = (connection.execute(query)).scalar()
    if trade_ns is None:
        return None
    opened = trade_ns // interval_ns * interval_ns
    if start_ns is None:
        return opened - (limit - 1) * interval_ns, opened + interval_ns
    last = opened + limit * interval_ns
    return opened, last if end is None else min(end, last)


def _candle_query(instrument_id: int, interval_ns: int, start_ns: int, end_ns: int) -> Select[Any]:
    interval = literal(interval_ns, BigInteger)
    bars = (
        select(
            (trades.c.time_ns // interval).label("bucket"),
            func.min(trades.c.trade_id).label("first_id"),
            func.max(trades.c.trade_id).label("last_id"),
            func.max(trades.c.price_ticks).label("high"),
            func.min(trades.c.price_ticks).label("low"),
            func.sum(trades.c.quantity_lots).label("volume"),
            func.count().label("trade_count"),
            func.sum(trades.c.price_ticks * trades.c.quantity_lots).label("value"),
            func.sum(case((IS_BUY, trades.c.quantity_lots), else_=0)).label("bought"),
            func.sum(case((IS_BUY, trades.c.price_ticks * trades.c.quantity_lots), else_=0)).label("bought_value"),
        )
        .where(trades.c.instrument_id == instrument_id, trades.c.time_ns >= start_ns, trades.c.time_ns < end_ns)
        .group_by("bucket")
        .subquery("bars")
    )
    first, last = trades.alias("first"), trades.alias("last")
    return (
        select(
            bars.c.bucket * interval,
            first.c.price_ticks,
            bars.c.high,
            bars.c.low,
            last.c.price_ticks,
            func.cast(bars.c.volume, BigInteger),
            bars.c.trade_count,
            *(func.cast(bars.c[name], BigInteger) for name in ("value", "bought", "bought_value")),
        )
        .join(first, first.c.trade_id == bars.c.first_id)
        .join(last, last.c.trade_id == bars.c.last_id)
        .order_by(bars.c.bucket)
    )


def _window_query(since_ns: int) -> Select[Any]:
    window = (
        select(
            instruments.c.instrument_id,
            func.min(trades.c.trade_id).label("first_id"),
            func.max(trades.c.price_ticks).label("high"),
            func.min(trades.c.price_ticks).label("low"),
            func.sum(trades.c.quantity_lots).label("volume"),
            func.count().label("trade_count"),
        )
        .join(trades, trades.c.instrument_id == instruments.c.instrument_id)
        .where(trades.c.time_ns >= since_ns)
        .group_by(instruments.c.instrument_id)
        .subquery("window")
    )
    return select(window, trades.c.price_ticks.label("open")).join(trades, trades.c.trade_id == window.c.first_id)


def _statement_query(account_id: int, start_ns: int, end_ns: int) -> Select[Any]:
    asset = (ledger.c.currency, ledger.c.instrument_id, ledger.c.kind, ledger.c.time_ns)
    sides = union_all(
        select(*asset, ledger.c.amount).where(ledger.c.credit_account_id == account_id),
        select(*asset, (-ledger.c.amount).label("amount")).where(ledger.c.debit_account_id == account_id),
    ).subquery("sides")
    amount, is_within = sides.c.amount, sides.c.time_ns >= start_ns

    def sum_where(condition: ColumnElement[bool], value: ColumnElement[Any]) -> ColumnElement[Any]:
        return func.coalesce(func.sum(case((condition, value), else_=0)), 0)

    key = (sides.c.currency, sides.c.instrument_id, sides.c.kind)
    return (
        select(
            *key,
            sum_where(~is_within, amount),
            sum_where(is_within & (amount > 0), amount),
            sum_where(is_within & (amount < 0), -amount),
            sum_where(is_within, literal(1)),
        )
        .where(sides.c.time_ns < end_ns)
        .group_by(*key)
        .order_by(*key)
    )


# Rows to records


def _order(row: Row[Any]) -> OrderState:
    """Of a row of `orders`, or of `order_events` joined with it: then as it was right after that event."""
    mapping = row._mapping
    is_event = "time_ns" in mapping
    return OrderState(
        order_id=row.order_id,
        account_id=row.account_id,
        client_order_id=row.client_order_id,
        instrument_id=row.instrument_id,
        side=Side(row.side),
        order_type=OrderType(row.order_type),
        time_in_force=TimeInForce(row.time_in_force),
        post_only=row.post_only,
        price_ticks=row.price_ticks,
        quantity_lots=row.quantity_lots,
        filled_lots=row.filled_lots,
        filled_value=row.filled_value,
        status=OrderStatus(row.status),
        end_reason=None if row.end_reason is None else EndReason(row.end_reason),
        created_ns=row.created_ns,
        updated_ns=row.time_ns if is_event else row.updated_ns,
        event_sequence=row.event_sequence,
        self_trade_prevention=SelfTradePrevention(row.self_trade_prevention),
        prevented_lots=row.prevented_lots,
        special=None if row.special is None else decode_terms(row.special),
        stop_price_ticks=row.stop_price_ticks,
        group_id=row.group_id,
        contingency=None if row.contingency is None else Contingency(row.contingency),
    )


def _fill(row: Row[Any]) -> Fill:
    return Fill(
        event_sequence=row.event_sequence,
        trade_id=row.trade_id,
        order_id=row.order_id,
        client_order_id=row.client_order_id,
        account_id=row.account_id,
        instrument_id=row.instrument_id,
        side=Side(row.side),
        price_ticks=row.fill_price_ticks,
        quantity_lots=row.fill_quantity_lots,
        fee=row.fee,
        is_maker=row.is_maker,
        time_ns=row.time_ns,
        group_id=row.group_id,
    )


def report_of(row: Row[Any]) -> OrderReport:
    return OrderReport(row.event_sequence, row.kind, _order(row), None if row.trade_id is None else _fill(row))


def _trade(row: Row[Any]) -> Trade:
    return Trade(
        trade_id=row.trade_id,
        instrument_id=row.instrument_id,
        market_sequence=row.market_sequence,
        price_ticks=row.price_ticks,
        quantity_lots=row.quantity_lots,
        aggressor_side=Side(row.aggressor_side),
        time_ns=row.time_ns,
        event_sequence=row.event_sequence,
    )


def _statistics(instrument_id: int, last: Trade | None, row: Row[Any] | None) -> Statistics:
    if row is None:
        return Statistics(instrument_id, last, None, None, None, 0, 0)
    return Statistics(instrument_id, last, row.open, row.high, row.low, int(row.volume), row.trade_count)
