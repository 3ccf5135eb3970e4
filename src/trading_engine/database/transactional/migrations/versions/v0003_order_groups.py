"""Which group an order was entered with, and which orders were replaced when. A release without them goes on beside.

Orders that were entered before have no group here: nothing in the rows tells it.

Revision ID: 0003
Revises: 0002
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

IS_REPLACED = sa.text("kind = 'replaced'")


def upgrade() -> None:
    op.add_column("orders", sa.Column("group_id", sa.BigInteger(), server_default="0", nullable=False))
    op.add_column("orders", sa.Column("contingency", sa.BigInteger(), nullable=True))
    op.create_index(
        "ix_order_events_replaced",
        "order_events",
        ["order_id", "event_sequence"],
        unique=False,
        sqlite_where=IS_REPLACED,
        postgresql_where=IS_REPLACED,
    )
