"""Writes many rows with one statement that has one parameter: the rows as a JSON array of arrays, unpacked inside the database.

Not `executemany`, for two measured reasons (500 rows of 17 columns a commit, SQLite, one core). Preparing the parameters of each row
in Python costs the event loop 17 µs a row; encoding the rows as JSON and handing them over, 5 µs. And the SQLite driver gives up and
takes back the interpreter's lock once for each row it steps over: while the event loop is busy, each of these costs the driver's
thread up to a switch interval (5 ms), and 31,000 rows/s become 185. As one statement they become 4,800.

The statement is the same on SQLite and PostgreSQL but for the name of the unpacking function. 64-bit integers go through JSON
unchanged on both: neither reads them as floating point.
"""

from collections.abc import Collection, Sequence
from functools import lru_cache
from typing import Any

import msgspec
from sqlalchemy import Table, TextClause, text
from sqlalchemy.ext.asyncio import AsyncConnection

ROWS_PER_STATEMENT_MAX = 2_000
"""Keeps one parameter below about half a megabyte and the encoding of it below a few milliseconds."""

_encode = msgspec.json.Encoder().encode

Rows = Collection[Sequence[Any]]
"""Each row holds the values of all columns, in the order of the table's definition."""


async def insert_rows(connection: AsyncConnection, table: Table, rows: Rows) -> None:
    await _write(connection, _statement(table, connection.dialect.name, replaces=False), rows)


async def upsert_rows(connection: AsyncConnection, table: Table, rows: Rows) -> None:
    """Insert, or give the row with the same primary key these values. No two of `rows` may have the same key."""
    await _write(connection, _statement(table, connection.dialect.name, replaces=True), rows)


async def _write(connection: AsyncConnection, statement: TextClause, rows: Rows) -> None:
    ordered = rows if isinstance(rows, Sequence) else list(rows)
    for start in range(0, len(ordered), ROWS_PER_STATEMENT_MAX):
        chunk = ordered[start : start + ROWS_PER_STATEMENT_MAX]
        await connection.execute(statement, {"rows": _encode(chunk).decode()})


@lru_cache(maxsize=64)
def _statement(table: Table, dialect_name: str, *, replaces: bool) -> TextClause:
    names = [column.name for column in table.columns]
    if dialect_name == "sqlite":
        values = ", ".join(f"json_extract(value, '$[{index}]')" for index in range(len(names)))
        source = "json_each(:rows)"
    else:
        values = ", ".join(f"CAST(value->>{i} AS {_postgresql_type(table, name)})" for i, name in enumerate(names))
        source = "json_array_elements(CAST(:rows AS json))"
    # "WHERE true" keeps SQLite from reading ON CONFLICT as the ON of a join.
    sql = f"INSERT INTO {table.name} ({', '.join(names)}) SELECT {values} FROM {source} WHERE true"  # noqa: S608 (own names only)
    if replaces:
        key = [column.name for column in table.primary_key]
        changes = ", ".join(f"{name} = excluded.{name}" for name in names if name not in key)
        sql += f" ON CONFLICT ({', '.join(key)}) DO UPDATE SET {changes}"
    return text(sql)


def _postgresql_type(table: Table, name: str) -> str:
    return {int: "bigint", bool: "boolean", str: "text"}[table.columns[name].type.python_type]
