"""The projection that keeps the transactional database up to date: what it reads of the rows, and what it writes to them."""

from sqlalchemy import Connection, select

from trading_engine.database.average_cost import Holding
from trading_engine.database.bulk import insert_rows, upsert_rows
from trading_engine.database.projection import SqlProjection, move_on
from trading_engine.database.transactional.audit import venue_acts
from trading_engine.database.transactional.database import TransactionalDatabase
from trading_engine.database.transactional.fold import Account, ProjectionFold
from trading_engine.database.transactional.ledger import LEDGER_STREAM, ledger, read_brought_forward
from trading_engine.database.transactional.trading import (
    EVENT_STREAM,
    accounts,
    cash_balances,
    instruments,
    order_events,
    orders,
    positions,
    projection_state,
    read_last_trades,
    read_reached,
    read_start_state,
    trades,
)


class TransactionalProjection(SqlProjection[ProjectionFold]):
    """Keeps live orders, holdings, accounts and instruments between transactions."""

    def __init__(self, database: TransactionalDatabase, *, follows_another: bool = False) -> None:
        super().__init__(database.connections, follows_another=follows_another)

    def reached(self, connection: Connection) -> int:
        event_sequence, _ = read_reached(connection)
        return event_sequence

    def load(self, connection: Connection) -> ProjectionFold:
        start = read_start_state(connection)
        ledger_reached, _ = read_reached(connection, LEDGER_STREAM)
        is_behind = ledger_reached != start.event_sequence
        return ProjectionFold(
            start.event_sequence,
            start.time_ns,
            start.instruments,
            [Account(*row) for row in connection.execute(select(accounts))],
            start.live_orders,
            {(row[0], row[1]): Holding(*row[2:]) for row in connection.execute(select(positions))},
            {instrument_id: trade.price_ticks for instrument_id, trade in read_last_trades(connection).items()},
            {(row.account_id, row.currency): row.balance for row in connection.execute(select(cash_balances))},
            read_brought_forward(connection, start.event_sequence, start.time_ns) if is_behind else (),
        )

    def write(self, connection: Connection, fold: ProjectionFold, reached: int) -> None:
        changes = fold.take_changes()
        values = {"event_sequence": changes.event_sequence, "updated_ns": changes.time_ns}
        move_on(connection, projection_state, EVENT_STREAM, reached, **values)
        upsert_rows(connection, instruments, changes.instruments)
        upsert_rows(connection, accounts, changes.accounts)
        upsert_rows(connection, orders, changes.orders)
        insert_rows(connection, trades, changes.trades)
        insert_rows(connection, order_events, changes.order_events)
        upsert_rows(connection, positions, changes.positions)
        upsert_rows(connection, cash_balances, changes.cash_balances)
        insert_rows(connection, ledger, changes.ledger)
        insert_rows(connection, venue_acts, changes.venue_acts)
        upsert_rows(connection, projection_state, [(LEDGER_STREAM, changes.event_sequence, changes.time_ns)])
