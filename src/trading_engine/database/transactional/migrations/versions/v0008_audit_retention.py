"""Rows of the audit log go when their time is over: the database lets those go, and no others, that a row of the log itself says are going.

That row is written first: by `audit-retention`, with the action `audit.purge`, and with the time before which acts go as its subject. The
release before deletes nothing, and goes on beside.

Revision ID: 0008
Revises: 0007
"""

from alembic import op

revision = "0008"
down_revision = "0007"

PURGED_BEFORE = """
    SELECT CAST(subject AS BIGINT) FROM audit_log
    WHERE actor = 'audit-retention' AND action = 'audit.purge' ORDER BY audit_id DESC LIMIT 1
"""


def upgrade() -> None:
    for statement in STATEMENTS[op.get_bind().dialect.name]:
        op.execute(statement)


STATEMENTS = {
    "sqlite": [
        "DROP TRIGGER audit_log_is_not_deleted",
        f"""
        CREATE TRIGGER audit_log_is_not_deleted BEFORE DELETE ON audit_log
        WHEN OLD.time_ns >= COALESCE(({PURGED_BEFORE}), 0)
        BEGIN SELECT RAISE(ABORT, 'the audit log is only appended to'); END
        """,
    ],
    "postgresql": [
        f"""
        CREATE FUNCTION refuse_early_purge_of_audit_log() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN
            IF OLD.time_ns >= COALESCE(({PURGED_BEFORE}), 0) THEN
                RAISE EXCEPTION 'the audit log is only appended to';
            END IF;
            RETURN OLD;
        END $$
        """,
        """
        CREATE TRIGGER audit_log_is_not_deleted BEFORE DELETE ON audit_log
        FOR EACH ROW EXECUTE FUNCTION refuse_early_purge_of_audit_log()
        """,
        "DROP TRIGGER audit_log_is_append_only ON audit_log",
        """
        CREATE TRIGGER audit_log_is_append_only BEFORE UPDATE OR TRUNCATE ON audit_log
        FOR EACH STATEMENT EXECUTE FUNCTION refuse_change_of_audit_log()
        """,
    ],
}
