"""What an API key may do and from where, users who are shut out, and where users log in from.

New columns have defaults of the database's own, so the release before goes on beside: its keys read and trade, as they always did.

Revision ID: 0004
Revises: 0003
"""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    add("users", "is_disabled", sa.Boolean(), sa.false())
    add("users", "access_changed_ns", sa.BigInteger(), sa.text("0"))
    add("api_keys", "scopes", sa.Text(), sa.text("'read trade'"))
    add("api_keys", "addresses", sa.Text(), sa.text("''"))
    add("api_keys", "rate_percent", sa.BigInteger(), sa.text("100"))
    op.create_table(
        "login_addresses",
        sa.Column("user_id", ROW_ID, autoincrement=False, nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("logged_in_ns", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("user_id", "address", name=op.f("pk_login_addresses")),
        sa.ForeignKeyConstraint(["user_id"], ["users.user_id"], name=op.f("fk_login_addresses_user_id")),
        sqlite_with_rowid=False,
    )


def add(table: str, name: str, kind: sa.types.TypeEngine[Any], default: sa.ColumnElement[Any] | sa.TextClause) -> None:
    op.add_column(table, sa.Column(name, kind, nullable=False, server_default=default))
