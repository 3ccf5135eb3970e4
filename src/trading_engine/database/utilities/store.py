"""Reading and writing the tables, each function within a transaction that is under way.

Whoever writes locks the state row first, until the commit (on SQLite a transaction that writes has the only write lock anyway). So writers
queue, what they compare with stays as it is, and numbers become visible in their order: no reader that has seen one can later find an
earlier one.
"""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import Connection, Table, and_, delete, func, insert, select, update

from trading_engine.database.utilities import models as m
from trading_engine.database.utilities.errors import VersionConflict
from trading_engine.database.utilities.records import (
    Applied,
    Change,
    Contents,
    FlagEntry,
    Holiday,
    InstrumentEntry,
    Mark,
    ModelParameters,
    RiskLimitsEntry,
    definition_of,
    limits_of,
)
from trading_engine.venue.risk_limits import RiskScope

STATE = m.table_of(m.StateRow)
INSTRUMENTS = m.table_of(m.InstrumentRow)
HOLIDAYS = m.table_of(m.HolidayRow)
RISK_LIMITS = m.table_of(m.RiskLimitsRow)
FEATURE_FLAGS = m.table_of(m.FeatureFlagRow)
MODEL_PARAMS = m.table_of(m.ModelParametersRow)
CHANGES = m.table_of(m.ChangeRow)
APPLIED = m.table_of(m.AppliedRow)

NOT_OF_THE_ENTRY = ("version", "place")
"""Columns that the audit leaves out."""

Key = Mapping[str, str | int]


class Author(NamedTuple):
    name: str
    now_ns: int


# Reading


def read_mark(connection: Connection) -> Mark:
    epoch, version = connection.execute(select(STATE.c.epoch, STATE.c.version)).one()
    return Mark(epoch, version)


def read_contents(connection: Connection) -> Contents:
    """In one snapshot, so the entries are those of the mark."""

    def rows(table: Table, *order: str) -> Iterable[Any]:
        return connection.execute(select(table).order_by(*(table.c[name] for name in order)))

    return Contents(
        read_mark(connection),
        tuple(
            InstrumentEntry(row.symbol, definition_of(row.symbol, row.definition), row.version)
            for row in rows(INSTRUMENTS, "place")
        ),
        tuple(Holiday(*row) for row in rows(HOLIDAYS, "calendar", "date")),
        tuple(
            RiskLimitsEntry(RiskScope(row.scope), row.scope_id, limits_of(row.limits), row.version)
            for row in rows(RISK_LIMITS, "scope", "scope_id")
        ),
        tuple(
            FlagEntry(row.name, msgspec.json.decode(row.value, type=bool | int | str), row.version)
            for row in rows(FEATURE_FLAGS, "name")
        ),
        tuple(
            ModelParameters(row.model, row.name, row.version, msgspec.json.decode(row.parameters), row.active_from_ns)
            for row in rows(MODEL_PARAMS, "model", "name", "version")
        ),
    )


def read_changes(connection: Connection, limit: int) -> list[Change]:
    """The newest, newest first."""
    newest = select(CHANGES).order_by(CHANGES.c.version.desc(), CHANGES.c.kind, CHANGES.c.key).limit(limit)
    return [Change(**row._mapping) for row in connection.execute(newest)]


def read_applied(connection: Connection) -> list[Applied]:
    rows = connection.execute(select(APPLIED).order_by(APPLIED.c.kind, APPLIED.c.key, APPLIED.c.shard))
    return [Applied(row.shard, row.kind, row.key, row.version, row.outcome) for row in rows]


# Writing


def lock(connection: Connection) -> None:
    connection.execute(select(STATE.c.version).with_for_update())


def next_version(connection: Connection) -> int:
    statement = update(STATE).values(version=STATE.c.version + 1).returning(STATE.c.version)
    version: int = connection.execute(statement).scalar_one()
    return version


def put(
    connection: Connection,
    table: Table,
    key: Key,
    values: Mapping[str, str | int],
    expected: int | None,
    author: Author,
) -> int:
    """Write the entry, and return the number of the change; one that is like this already stays. Raises `VersionConflict`."""
    lock(connection)
    before = _row(connection, table, key)
    _check_version(table, key, before, expected)
    if before is not None and all(before[name] == value for name, value in values.items()):
        return int(before["version"])
    version = next_version(connection)
    if before is None:
        connection.execute(insert(table).values(**key, **values, **_place(connection, table), version=version))
    else:
        connection.execute(update(table).where(_is(table, key)).values(**values, version=version))
    note(connection, table, key, before, values, version, author)
    return version


def remove(connection: Connection, table: Table, key: Key, expected: int | None, author: Author) -> bool:
    """Returns whether there was one. Raises `VersionConflict`."""
    lock(connection)
    before = _row(connection, table, key)
    _check_version(table, key, before, expected)
    if before is None:
        return False
    connection.execute(delete(table).where(_is(table, key)))
    note(connection, table, key, before, None, next_version(connection), author)
    return True


def append_parameters(
    connection: Connection,
    model: str,
    name: str,
    parameters: str,
    active_from_ns: int,
    expected: int | None,
    author: Author,
) -> int:
    """Returns the version of the new set. Raises `VersionConflict`."""
    lock(connection)
    key = {"model": model, "name": name}
    of_name = select(func.max(MODEL_PARAMS.c.version)).where(_is(MODEL_PARAMS, key))
    newest: int = connection.execute(of_name).scalar() or 0
    if expected not in (None, newest):
        raise VersionConflict(f"{model} {name} is at version {newest}, not {expected}: read it again")
    values = {"parameters": parameters, "active_from_ns": active_from_ns}
    connection.execute(insert(MODEL_PARAMS).values(**key, version=newest + 1, **values))
    note(connection, MODEL_PARAMS, {**key, "version": newest + 1}, None, values, next_version(connection), author)
    return newest + 1


def note(
    connection: Connection,
    table: Table,
    key: Key,
    before: Mapping[str, Any] | None,
    after: Mapping[str, Any] | None,
    version: int,
    author: Author,
) -> None:
    """Write the audit's line."""
    said = {name: value for name, value in (before or {}).items() if name not in (*NOT_OF_THE_ENTRY, *key)}
    connection.execute(
        insert(CHANGES).values(
            version=version,
            kind=table.name,
            key=key_text(key),
            changed_ns=author.now_ns,
            changed_by=author.name,
            before=msgspec.json.encode(said).decode() if before is not None else "",
            after=msgspec.json.encode(after).decode() if after is not None else "",
        )
    )


def write_applied(connection: Connection, reports: Iterable[Applied], now_ns: int) -> None:
    for report in reports:
        key: Key = {"shard": report.shard, "kind": report.kind, "key": report.key}
        values = {"version": report.version, "outcome": report.outcome, "reported_ns": now_ns}
        if connection.execute(update(APPLIED).where(_is(APPLIED, key)).values(**values)).rowcount == 0:
            connection.execute(insert(APPLIED).values(**key, **values))


def key_text(key: Key) -> str:
    return " ".join(str(part) for part in key.values())


def _row(connection: Connection, table: Table, key: Key) -> dict[str, Any] | None:
    row = connection.execute(select(table).where(_is(table, key))).one_or_none()
    return None if row is None else dict(row._mapping)


def _is(table: Table, key: Key) -> Any:
    return and_(*(table.c[name] == value for name, value in key.items()))


def _place(connection: Connection, table: Table) -> dict[str, int]:
    """Of a new instrument: behind all others."""
    if "place" not in table.c:
        return {}
    last: int = connection.execute(select(func.max(table.c.place))).scalar() or 0
    return {"place": last + 1}


def _check_version(table: Table, key: Key, before: Mapping[str, Any] | None, expected: int | None) -> None:
    found = before["version"] if before is not None else 0
    if expected not in (None, found):
        raise VersionConflict(
            f"{table.name} {key_text(key)} is at version {found}, not {expected}: somebody has changed it; read it again"
        )
