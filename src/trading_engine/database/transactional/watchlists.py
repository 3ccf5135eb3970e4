"""Watchlists of portfolios: rows that the TES owns. A list is named by its number or by its name, which is unique in its portfolio."""

from collections.abc import Callable
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Connection, Row, delete, func, insert, select, update

from trading_engine.database.connections import Connections, Use
from trading_engine.database.transactional.errors import TooMany, unique
from trading_engine.database.transactional.models import PortfolioRow, WatchlistRow, table_of
from trading_engine.database.transactional.records import Watchlist

watchlists, portfolios = table_of(WatchlistRow), table_of(PortfolioRow)

WATCHLISTS_MAX = 200
"""Of a portfolio; one more is refused."""

Key = int | str
"""A list's number or its name."""
decode_ids = msgspec.json.Decoder(tuple[int, ...]).decode


class WatchlistRepository:
    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    async def watchlists(self, portfolio_id: int) -> tuple[Watchlist, ...]:
        """Oldest first."""
        query = select(watchlists).where(watchlists.c.portfolio_id == portfolio_id).order_by(watchlists.c.watchlist_id)

        def work(connection: Connection) -> tuple[Watchlist, ...]:
            return tuple(_watchlist(row) for row in connection.execute(query))

        return await self._connections.run(Use.READ, work)

    async def find(self, portfolio_id: int, key: Key) -> Watchlist | None:
        def work(connection: Connection) -> Watchlist | None:
            return _find(connection, portfolio_id, key)

        return await self._connections.run(Use.READ, work)

    async def create(self, portfolio_id: int, name: str, instrument_ids: tuple[int, ...], created_ns: int) -> Watchlist:
        """Raises `AlreadyExists`, `TooMany`."""
        values = {"portfolio_id": portfolio_id, "name": name, "created_ns": created_ns, "updated_ns": created_ns}
        statement = insert(watchlists).values(**values, instrument_ids=_encoded(instrument_ids))
        count = select(func.count()).where(watchlists.c.portfolio_id == portfolio_id)
        # Its row is locked, so that no two of its lists are the last that there may be.
        lock = select(portfolios.c.portfolio_id).where(portfolios.c.portfolio_id == portfolio_id)

        def work(connection: Connection) -> Watchlist:
            connection.execute(lock.with_for_update(key_share=True))
            if connection.execute(count).scalar_one() >= WATCHLISTS_MAX:
                raise TooMany(f"a portfolio may have {WATCHLISTS_MAX} watchlists")
            number = connection.execute(statement).inserted_primary_key
            assert number is not None
            return Watchlist(int(number[0]), portfolio_id, name, instrument_ids, created_ns, created_ns)

        with unique(f"there is a watchlist named {name!r} already"):
            return await self._connections.run(Use.WRITE, work)

    async def change(
        self, portfolio_id: int, key: Key, now_ns: int, edit: Callable[[Watchlist], Watchlist]
    ) -> Watchlist | None:
        """The list as `edit` made it from what it was; None where there is none. What `edit` raises leaves all as it was.

        Raises `AlreadyExists`.
        """

        def work(connection: Connection) -> Watchlist | None:
            found = _find(connection, portfolio_id, key, is_locked=True)
            if found is None:
                return None
            edited = msgspec.structs.replace(edit(found), updated_ns=now_ns)
            values = {"name": edited.name, "instrument_ids": _encoded(edited.instrument_ids), "updated_ns": now_ns}
            this = watchlists.c.watchlist_id == found.watchlist_id
            connection.execute(update(watchlists).where(this).values(**values))
            return edited

        with unique("there is a watchlist of this name already"):
            return await self._connections.run(Use.WRITE, work)

    async def delete(self, portfolio_id: int, key: Key) -> bool:
        """Whether there was one."""
        statement = delete(watchlists).where(*_named(portfolio_id, key))
        return await self._connections.run(Use.WRITE, lambda connection: connection.execute(statement).rowcount == 1)


def _named(portfolio_id: int, key: Key) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    column = watchlists.c.watchlist_id if isinstance(key, int) else watchlists.c.name
    return watchlists.c.portfolio_id == portfolio_id, column == key


def _find(connection: Connection, portfolio_id: int, key: Key, *, is_locked: bool = False) -> Watchlist | None:
    query = select(watchlists).where(*_named(portfolio_id, key))
    row = connection.execute(query.with_for_update() if is_locked else query).one_or_none()
    return None if row is None else _watchlist(row)


def _encoded(instrument_ids: tuple[int, ...]) -> str:
    return msgspec.json.encode(instrument_ids).decode()


def _watchlist(row: Row[Any]) -> Watchlist:
    return Watchlist(
        row.watchlist_id,
        row.portfolio_id,
        row.name,
        decode_ids(row.instrument_ids),
        row.created_ns,
        row.updated_ns,
    )
