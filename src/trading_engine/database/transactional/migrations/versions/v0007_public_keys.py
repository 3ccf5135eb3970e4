"""The public halves of API keys whose owners sign with Ed25519. To the release before they are keys whose secret nobody knows.

Revision ID: 0007
Revises: 0006
"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.add_column("api_keys", sa.Column("public_key", sa.Text(), nullable=False, server_default=sa.text("''")))
