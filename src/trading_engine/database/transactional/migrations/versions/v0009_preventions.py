"""Reports of trades that were prevented say whose order rested, and those of an order are found. A release without it goes on beside.

Of those from before, the maker is the order that had not entered the book last. That is wrong only for all-or-none orders, which trade
without entering again; and of those that a release without it writes afterwards, nobody says it: readers take the older order.

Revision ID: 0009
Revises: 0008
"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"

IS_PREVENTED = sa.text("kind = 'prevented'")
MARK_MAKERS = """
    UPDATE order_events AS own SET is_maker = own.order_id <> (
        SELECT entry.order_id FROM order_events AS entry
        WHERE entry.event_sequence < own.event_sequence
            AND entry.kind IN ('new', 'activated', 'triggered', 'replaced', 'restated')
            AND entry.order_id IN (SELECT met.order_id FROM order_events AS met WHERE met.event_sequence = own.event_sequence)
        ORDER BY entry.event_sequence DESC LIMIT 1
    )
    WHERE own.kind = 'prevented'
"""


def upgrade() -> None:
    op.create_index(
        "ix_order_events_prevented",
        "order_events",
        ["order_id", "event_sequence"],
        unique=False,
        sqlite_where=IS_PREVENTED,
        postgresql_where=IS_PREVENTED,
    )
    op.execute(MARK_MAKERS)
