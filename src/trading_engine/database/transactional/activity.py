"""What happened in an account over time: its fills, its cash, and by how much what it has moved. Nothing here writes.

Rows are in the order of events, and an event is never parted between two pages: a page may be longer than its limit by that.
"""

from collections.abc import Callable, Collection, Sequence
from typing import Any, NamedTuple, TypeVar

from sqlalchemy import BigInteger, ColumnElement, Connection, Row, Select, Table, case, desc, func, literal, or_, select

from trading_engine.database.connections import Connections, Use
from trading_engine.database.transactional.models import LedgerRow, OrderEventRow, OrderRow, table_of
from trading_engine.database.transactional.trading import report_of, select_reports
from trading_engine.venue.order_state import OrderReport
from trading_engine.venue.terms import Side

order_events, orders, ledger = table_of(OrderEventRow), table_of(OrderRow), table_of(LedgerRow)
Item = TypeVar("Item")


class Window(NamedTuple):
    """Which rows: events after and before a number, times in [since, until), and from which end on."""

    after: int | None = None
    before: int | None = None
    since_ns: int | None = None
    until_ns: int | None = None
    is_ascending: bool = False
    limit: int = 100

    def conditions(self, table: Table) -> list[ColumnElement[bool]]:
        sequence, time_ns = table.c.event_sequence, table.c.time_ns
        bounds: list[tuple[int | None, Callable[[Any], ColumnElement[bool]]]] = [
            (self.after, sequence.__gt__),
            (self.before, sequence.__lt__),
            (self.since_ns, time_ns.__ge__),
            (self.until_ns, time_ns.__lt__),
        ]
        return [compare(bound) for bound, compare in bounds if bound is not None]


class CashEntry(NamedTuple):
    """A movement of an account's cash, in minor units; below zero it has less afterwards. `kind` is the ledger's."""

    event_sequence: int
    entry_number: int
    kind: str
    currency: str
    amount: int
    time_ns: int
    reference: str


class Movement(NamedTuple):
    """What an account got within an interval, or with a negative amount gave: cash of a currency, or lots of an instrument."""

    interval: int
    currency: str
    instrument_id: int
    is_paid_in: bool
    """From outside, or to there: no trade and no fee."""
    amount: int


class Traded(NamedTuple):
    """What an account bought of an instrument, less what it sold: lots, and ticks times lots."""

    lots: int
    value: int


class ActivityRepository:
    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    async def fills(self, account_id: int, window: Window) -> list[OrderReport]:
        query = select_reports().where(
            order_events.c.account_id == account_id,
            order_events.c.trade_id.is_not(None),
            *window.conditions(order_events),
        )
        return await self._rows(query, order_events, order_events.c.is_maker, window, report_of)

    async def cash(self, account_id: int, kinds: Collection[str], window: Window) -> list[CashEntry]:
        sign = case((ledger.c.credit_account_id == account_id, ledger.c.amount), else_=-ledger.c.amount)
        query = select(
            ledger.c.event_sequence,
            ledger.c.entry_number,
            ledger.c.kind,
            ledger.c.currency,
            sign.label("amount"),
            ledger.c.time_ns,
            ledger.c.reference,
        ).where(of_account(account_id), ledger.c.currency != "", ledger.c.kind.in_(kinds), *window.conditions(ledger))
        return await self._rows(query, ledger, ledger.c.entry_number, window, CashEntry._make)

    async def time_at(self, event_sequence: int) -> int:
        """Of the last event up to this one that any account has a row of; 0 where there is none."""
        asked = [
            select(table.c.time_ns)
            .where(table.c.event_sequence <= event_sequence)
            .order_by(desc(table.c.event_sequence))
            .limit(1)
            for table in (order_events, ledger)
        ]

        def work(connection: Connection) -> int:
            return max(connection.execute(query).scalar() or 0 for query in asked)

        return await self._connections.run(Use.READ, work)

    async def _rows(
        self,
        query: Select[Any],
        table: Table,
        second_key: ColumnElement[Any],
        window: Window,
        convert: Callable[[Row[Any]], Item],
    ) -> list[Item]:
        """One event more than the limit may hold would be needed to know that it is whole: so the rest of the last one is asked for."""
        sequence = table.c.event_sequence
        order = (sequence, second_key) if window.is_ascending else (desc(sequence), desc(second_key))

        def work(connection: Connection) -> list[Item]:
            rows: Sequence[Row[Any]] = connection.execute(query.order_by(*order).limit(window.limit)).all()
            if len(rows) == window.limit:
                last = rows[-1].event_sequence
                whole = connection.execute(query.where(sequence == last).order_by(*order)).all()
                rows = [*(row for row in rows if row.event_sequence != last), *whole]
            return [convert(row) for row in rows]

        return await self._connections.run(Use.READ, work)

    async def movements(
        self, account_id: int, *, after: int, up_to: int, since_ns: int, interval_ns: int
    ) -> list[Movement]:
        """Sums of what moved from `since_ns` on, by interval, among the events after the one and up to the other."""
        amount = case((ledger.c.credit_account_id == account_id, ledger.c.amount), else_=-ledger.c.amount)
        is_paid_in = or_(ledger.c.credit_account_id < 0, ledger.c.debit_account_id < 0)
        interval = (ledger.c.time_ns - literal(since_ns, BigInteger)) // literal(interval_ns, BigInteger)
        query = (
            select(
                interval.label("interval"),
                ledger.c.currency,
                ledger.c.instrument_id,
                is_paid_in.label("is_paid_in"),
                func.sum(amount),
            )
            .where(
                of_account(account_id),
                ledger.c.debit_account_id != ledger.c.credit_account_id,
                ledger.c.event_sequence > after,
                ledger.c.event_sequence <= up_to,
                ledger.c.time_ns >= since_ns,
            )
            .group_by("interval", ledger.c.currency, ledger.c.instrument_id, "is_paid_in")
        )

        def work(connection: Connection) -> list[Movement]:
            return [
                Movement(int(row[0]), row[1], row[2], bool(row[3]), int(row[4])) for row in connection.execute(query)
            ]

        return await self._connections.run(Use.READ, work)

    async def traded(self, account_id: int, *, after: int) -> dict[int, Traded]:
        """By instrument, in the events after this one."""
        sign = case((orders.c.side == int(Side.BUY), 1), else_=-1)
        lots = order_events.c.fill_quantity_lots
        query = (
            select(
                order_events.c.instrument_id,
                func.sum(sign * lots),
                func.sum(sign * lots * order_events.c.fill_price_ticks),
            )
            .join(orders, orders.c.order_id == order_events.c.order_id)
            .where(
                order_events.c.account_id == account_id,
                order_events.c.trade_id.is_not(None),
                order_events.c.event_sequence > after,
            )
            .group_by(order_events.c.instrument_id)
        )

        def work(connection: Connection) -> dict[int, Traded]:
            return {row[0]: Traded(int(row[1]), int(row[2])) for row in connection.execute(query)}

        return await self._connections.run(Use.READ, work)


def of_account(account_id: int) -> ColumnElement[bool]:
    return or_(ledger.c.debit_account_id == account_id, ledger.c.credit_account_id == account_id)
