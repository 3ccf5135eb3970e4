"""The audit log: who did what to what, when, and with which outcome. Rows are only ever added; the database itself refuses the rest.

An act and its row are one transaction wherever the act is a change of this database. What the venue was told to do (deposits, suspensions,
limits, kill switches, phases) is in `venue_acts` besides, from the venue's own events, whoever told it.
"""

from typing import Any

import msgspec
from sqlalchemy import Connection, insert, select

from trading_engine.database.connections import Connections, Use
from trading_engine.database.transactional.models import AuditLogRow, VenueActRow, table_of
from trading_engine.database.transactional.records import Page

audit_log = table_of(AuditLogRow)
venue_acts = table_of(VenueActRow)

OK = "OK"
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
