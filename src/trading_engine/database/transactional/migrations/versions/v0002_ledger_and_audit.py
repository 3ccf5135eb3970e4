"""The ledger, the audit log and the venue's administrative acts. New tables only, so a release without them goes on beside.

Revision ID: 0002
Revises: 0001
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    create_ledger()
    create_venue_acts()
    create_audit_log()


def create_ledger() -> None:
    op.create_table(
        "ledger",
        sa.Column("event_sequence", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("entry_number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("debit_account_id", sa.BigInteger(), nullable=False),
        sa.Column("credit_account_id", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("instrument_id", sa.BigInteger(), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("time_ns", sa.BigInteger(), nullable=False),
        sa.Column("reference", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("event_sequence", "entry_number", name=op.f("pk_ledger")),
        sa.CheckConstraint("amount > 0", name=op.f("ck_ledger_amount")),
        sqlite_with_rowid=False,
    )
    for side in ("debit_account_id", "credit_account_id"):
        op.create_index(op.f(f"ix_ledger_{side}_event_sequence"), "ledger", [side, "event_sequence"], unique=False)


def create_venue_acts() -> None:
    op.create_table(
        "venue_acts",
        sa.Column("event_sequence", ROW_ID, autoincrement=False, nullable=False),
        sa.Column("time_ns", sa.BigInteger(), nullable=False),
        sa.Column("producer", sa.Text(), nullable=False),
        sa.Column("producer_sequence", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("account_id", sa.BigInteger(), nullable=True),
        sa.Column("content", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("event_sequence", name=op.f("pk_venue_acts")),
    )
    op.create_index(
        op.f("ix_venue_acts_account_id_event_sequence"), "venue_acts", ["account_id", "event_sequence"], unique=False
    )


def create_audit_log() -> None:
    op.create_table(
        "audit_log",
        sa.Column("audit_id", ROW_ID, nullable=False),
        sa.Column("time_ns", sa.BigInteger(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("audit_id", name=op.f("pk_audit_log")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_audit_log_actor_audit_id"), "audit_log", ["actor", "audit_id"], unique=False)
    for statement in APPEND_ONLY[op.get_bind().dialect.name]:
        op.execute(statement)


APPEND_ONLY = {
    "sqlite": [
        """
        CREATE TRIGGER audit_log_is_not_updated BEFORE UPDATE ON audit_log
        BEGIN SELECT RAISE(ABORT, 'the audit log is only appended to'); END
        """,
        """
        CREATE TRIGGER audit_log_is_not_deleted BEFORE DELETE ON audit_log
        BEGIN SELECT RAISE(ABORT, 'the audit log is only appended to'); END
        """,
    ],
    "postgresql": [
        """
        CREATE FUNCTION refuse_change_of_audit_log() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN RAISE EXCEPTION 'the audit log is only appended to'; END $$
        """,
        """
        CREATE TRIGGER audit_log_is_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_log
        FOR EACH STATEMENT EXECUTE FUNCTION refuse_change_of_audit_log()
        """,
    ],
}
