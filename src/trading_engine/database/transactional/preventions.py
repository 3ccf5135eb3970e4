"""Trades that were prevented, from the reports of their orders: each has two of one event, the maker's and the taker's.

The rows say what was left of both orders after the event. What prevention in mode DECREMENT took off is the difference to the order's
report of the prevention before; in the other modes nothing is taken off, and what is left is canceled by the events that follow.
"""

from collections.abc import Collection
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, desc, func, literal_column, select

from trading_engine.database.transactional.models import OrderEventRow, OrderRow, table_of
from trading_engine.database.transactional.records import Prevention
from trading_engine.venue.terms import SelfTradePrevention

orders, order_events = table_of(OrderRow), table_of(OrderEventRow)
earlier = order_events.alias("earlier")

# Spelled out rather than bound: only then does SQLite see that the partial index covers it.
PREVENTED: ColumnElement[str] = literal_column("'prevented'")


def read_preventions(
    connection: Connection, account_id: int, instrument_id: int, *conditions: ColumnElement[bool], limit: int
) -> tuple[Prevention, ...]:
    """Of the account's orders in a market, on either side; oldest first."""
    own = (
        select(order_events.c.event_sequence)
        .where(order_events.c.kind == PREVENTED, order_events.c.account_id == account_id, *conditions)
        .where(order_events.c.instrument_id == instrument_id)
    )
    sequences = connection.execute(own.distinct().order_by(order_events.c.event_sequence).limit(limit)).scalars().all()
    decremented_before = (
        select(func.coalesce(func.max(earlier.c.prevented_lots), 0))
        .where(earlier.c.kind == PREVENTED, earlier.c.order_id == order_events.c.order_id)
        .where(earlier.c.event_sequence < order_events.c.event_sequence)
        .scalar_subquery()
        .label("decremented_before")
    )
    rows = connection.execute(
        select(order_events, orders.c.self_trade_prevention, decremented_before)
        .join(orders, orders.c.order_id == order_events.c.order_id)
        .where(order_events.c.event_sequence.in_(sequences))
        .order_by(order_events.c.event_sequence, desc(order_events.c.is_maker), order_events.c.order_id)
    ).all()
    return tuple(prevention_of(maker, taker) for maker, taker in zip(rows[::2], rows[1::2], strict=True))


def read_last_preventions(connection: Connection, order_ids: Collection[int]) -> dict[int, int]:
    """Of those orders that were ever kept from a trade, the last event that did it."""
    query = select(order_events.c.order_id, func.max(order_events.c.event_sequence).label("last")).where(
        order_events.c.kind == PREVENTED, order_events.c.order_id.in_(order_ids)
    )
    rows = connection.execute(query.group_by(order_events.c.order_id))
    return {row.order_id: row.last for row in rows}


def prevention_of(maker: Row[Any], taker: Row[Any]) -> Prevention:
    return Prevention(
        event_sequence=maker.event_sequence,
        time_ns=maker.time_ns,
        mode=SelfTradePrevention(taker.self_trade_prevention),
        price_ticks=maker.price_ticks,
        maker_order_id=maker.order_id,
        maker_leaves_lots=leaves_lots(maker),
        taker_order_id=taker.order_id,
        taker_leaves_lots=leaves_lots(taker),
        decremented_lots=taker.prevented_lots - taker.decremented_before,
    )


def leaves_lots(row: Row[Any]) -> int:
    left: int = row.quantity_lots - row.filled_lots - row.prevented_lots
    return left
