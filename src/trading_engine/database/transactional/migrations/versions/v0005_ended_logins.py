"""Which logins have ended lately is asked every few seconds by every server. An index only, so the release before goes on beside.

Revision ID: 0005
Revises: 0004
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.create_index(
        "ix_refresh_tokens_revoked",
        "refresh_tokens",
        ["revoked_ns"],
        sqlite_where=sa.text("revoked_ns IS NOT NULL"),
        postgresql_where=sa.text("revoked_ns IS NOT NULL"),
    )
