"""The audit log: who did what to what, when, and with which outcome. Rows are added, and go when their time is over, which a row says
first; the database itself refuses the rest (migration 0008).

An act and its row are one transaction wherever the act is a change of this database. What the venue was told to do (deposits, suspensions,
limits, kill switches, phases) is in `venue_acts` besides, from the venue's own events, whoever told it.
"""

from itertools import takewhile
from typing import Any

import msgspec
from sqlalchemy import Connection, delete, insert, select

from trading_engine.database.connections import Connections, Use
from trading_engine.database.transactional.models import AuditLogRow, VenueActRow, table_of
from trading_engine.database.transactional.records import Page

audit_log = table_of(AuditLogRow)
venue_acts = table_of(VenueActRow)

OK = "OK"
PURGER, PURGE = "audit-retention", "audit.purge"
"""Actor and action of the act that says that older ones are deleted; its subject is the time before which."""
PURGED_AT_ONCE = 10_000
"""In one transaction, which keeps other writers waiting."""
NAME_CHARACTERS_MAX = 100
"""Of an actor or a subject; what is longer is cut. A failed login may name anything as the user."""


class Act(msgspec.Struct, frozen=True):
    """`outcome` is `OK` or the code that the caller was given."""

    time_ns: int
    actor: str
    action: str
    subject: str
    outcome: str = OK
    detail: dict[str, Any] = {}


class AuditLog:
    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    async def record(self, act: Act) -> None:
        """Of an act that changes nothing in this database, or has failed."""
        await self._connections.run(Use.WRITE, lambda connection: insert_act(connection, act))

    async def acts(self, *, actor: str | None = None, before: int | None = None, limit: int = 100) -> Page[Act]:
        """Newest first, of everybody or of one actor. `next` is the `before` of the next page."""
        query = select(audit_log).order_by(audit_log.c.audit_id.desc()).limit(limit + 1)
        if actor is not None:
            query = query.where(audit_log.c.actor == actor)
        if before is not None:
            query = query.where(audit_log.c.audit_id < before)

        def work(connection: Connection) -> Page[Act]:
            rows = connection.execute(query).all()
            acts = tuple(_act(row) for row in rows[:limit])
            return Page(acts, rows[limit - 1].audit_id if len(rows) > limit else None)

        return await self._connections.run(Use.READ, work)

    async def purge(self, before_ns: int, now_ns: int) -> int:
        """Delete the acts from before that time: how many. With each transaction goes an act that says so."""
        total = 0
        while True:
            count = await self._connections.run(Use.WRITE, lambda connection: _purge(connection, before_ns, now_ns))
            total += count
            if count < PURGED_AT_ONCE:
                return total


def _purge(connection: Connection, before_ns: int, now_ns: int) -> int:
    """Acts are in the order of their times but for what clocks of several servers differ: the first that stays ends it."""
    oldest = select(audit_log.c.audit_id, audit_log.c.time_ns).order_by(audit_log.c.audit_id).limit(PURGED_AT_ONCE)
    ids = [row.audit_id for row in takewhile(lambda row: row.time_ns < before_ns, connection.execute(oldest))]
    if ids:
        insert_act(connection, Act(now_ns, PURGER, PURGE, str(before_ns), detail={"acts": len(ids)}))
        connection.execute(delete(audit_log).where(audit_log.c.audit_id <= ids[-1]))
    return len(ids)


def insert_act(connection: Connection, act: Act) -> None:
    connection.execute(
        insert(audit_log).values(
            time_ns=act.time_ns,
            actor=_name(act.actor),
            action=act.action,
            subject=_name(act.subject),
            outcome=act.outcome,
            detail=msgspec.json.encode(act.detail).decode(),
        )
    )


def _name(text: str) -> str:
    """Printable, and no longer than a name is."""
    return "".join(character if character.isprintable() else "?" for character in text[:NAME_CHARACTERS_MAX])


def _act(row: Any) -> Act:
    return Act(row.time_ns, row.actor, row.action, row.subject, row.outcome, msgspec.json.decode(row.detail))
