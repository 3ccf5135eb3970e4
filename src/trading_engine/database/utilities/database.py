"""The utilities database as one object: open, migrate, read, write, follow, close.

Reads come from memory: `contents` is everything as of one change, and `following` keeps it fresh. How a change in another process is found:

| | asks the database for its mark | and besides |
|---|---|---|
| SQLite, or PostgreSQL alone | every `POLL_S` | |
| PostgreSQL with Redis | every `POLL_HEARD_S` while notices are heard, else every `POLL_S` | at each notice |

The mark is one row, and says whether there is anything to read. The database is the only truth: while it is away, `contents` stays as it
was last, which the log tells, and writes fail. Redis only makes readers faster (`redis_side`).
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import msgspec
from sqlalchemy import Connection, Table

from trading_engine.database.connections import Connections, Result, Use
from trading_engine.database.errors import DatabaseError, DatabaseUnavailable
from trading_engine.database.sql_database import SqlDatabase
from trading_engine.database.utilities import store
from trading_engine.database.utilities.errors import InvalidEntry
from trading_engine.database.utilities.flags import Flag, FlagT, FlagValue, flag_named
from trading_engine.database.utilities.records import (
    PARAMETERS_BYTES_MAX,
    Applied,
    Change,
    Contents,
    Holiday,
    Mark,
    ModelParameters,
    check_holiday,
    check_names,
    check_scope,
    definition_to_text,
    limits_to_text,
)
from trading_engine.shared.addresses import server_url
from trading_engine.shared.config import Config, ConfigError, InstrumentConfig
from trading_engine.shared.log import fields
from trading_engine.shared.model_parameters import fault_of
from trading_engine.venue.risk_limits import RiskLimits, RiskScope

if TYPE_CHECKING:
    from trading_engine.database.utilities.redis_side import RedisSide

UTILITIES_FILE = "utilities.db"
POLL_S = 0.4
STOP_S = 2.0
POLL_HEARD_S = 5.0
"""A notice that is lost costs this much at the most."""
CHANGES_SHOWN_MAX = 1_000

log = logging.getLogger(__name__)


def utilities_url(config: Config) -> str:
    """The configured one, or that of the SQLite file in the data directory. Raises `ConfigError`."""
    configured = server_url("database.utilities_url", config.database.utilities_url)
    return configured or f"sqlite:///{config.data_path / UTILITIES_FILE}"


def redis_url(config: Config) -> str:
    """Empty for none. Raises `ConfigError`."""
    return server_url("database.redis_url", config.database.redis_url)


def redis_side(url: str) -> "RedisSide":
    """Raises `ConfigError` where its package is not installed: it is not among those that the embedded default needs."""
    try:
        from trading_engine.database.utilities.redis_side import RedisSide
    except ModuleNotFoundError as error:
        raise ConfigError(f"database.redis_url needs the packages of requirements/prod.txt ({error})") from error
    return RedisSide(url)


class UtilitiesDatabase(SqlDatabase):
    MIGRATIONS = Path(__file__).with_name("migrations")
    VERSION_TABLE = "utilities_version"
    """Of its own, so that a database that has the tables of another one is found out."""

    def __init__(self, connections: Connections, redis: "RedisSide | None" = None) -> None:
        super().__init__(connections)
        self.redis = redis
        self._contents: Contents | None = None
        self._refreshing = asyncio.Lock()
        self._heard = asyncio.Event()
        self._changed = asyncio.Event()
        self._is_away = False
        self._is_following = False

    @classmethod
    def of(cls, config: Config) -> Self:
        """That of a configuration; connects to nothing yet. Raises `DatabaseUnavailable` for addresses that are none, or `ConfigError`."""
        redis = redis_url(config)
        return cls(Connections(utilities_url(config)), redis_side(redis) if redis else None)

    async def close(self) -> None:
        await super().close()
        if self.redis is not None:
            await self.redis.close()

    # Reading

    @property
    def contents(self) -> Contents:
        """Everything as of the last `refresh`, of which there must have been one."""
        assert self._contents is not None
        return self._contents

    def flag(self, flag: Flag[FlagT]) -> FlagT:
        return self.contents.flag(flag)

    def active_parameters(self, model: str, name: str) -> ModelParameters | None:
        """Those whose time has come, of several the newest."""
        return self.contents.active_parameters(model, name, time.time_ns())

    def assume(self, contents: Contents) -> None:
        """Take this for what it says until it can be asked."""
        self._contents = contents

    async def refresh(self) -> Contents:
        """Everything as it is now. Raises `DatabaseUnavailable`."""
        async with self._refreshing:
            mark = await self.connections.run(Use.READ, store.read_mark)
            if self._contents is None or self._contents.mark != mark:
                self._contents = await self._read(mark)
                self._changed.set()
                self._changed = asyncio.Event()
            return self._contents

    async def _read(self, mark: Mark) -> Contents:
        cached = await self.redis.get(mark) if self.redis is not None else None
        if cached is not None:
            return cached
        contents = await self.connections.run(Use.READ, store.read_contents)
        if self.redis is not None:
            await self.redis.put(contents)
        return contents

    async def changes(self, limit: int = CHANGES_SHOWN_MAX) -> list[Change]:
        """The audit: the newest changes, newest first."""
        return await self.connections.run(Use.READ, lambda connection: store.read_changes(connection, limit))

    async def applied(self) -> list[Applied]:
        return await self.connections.run(Use.READ, store.read_applied)

    # Following

    async def _follow(self) -> None:
        """Until the end of `following`: keep `contents` fresh. It never fails: while the database is away things stay as they were."""
        listening = None
        if self.redis is not None:
            epoch = (await self.refreshed_at_last()).mark.epoch
            listening = asyncio.create_task(self.redis.listen(epoch, self._heard), name="hear of changes")
        try:
            while True:
                self._heard.clear()
                if not self._is_following:
                    return
                await self._refresh_or_stay()
                await self._wait()
        finally:
            if listening is not None:
                listening.cancel()

    @asynccontextmanager
    async def following(self) -> AsyncIterator[None]:
        """Keeps `contents` fresh in the background until the block ends."""
        self._is_following = True
        task = asyncio.create_task(self._follow(), name="follow the utilities database")
        try:
            yield
        finally:
            self._is_following = False
            self._heard.set()
            await asyncio.wait([task], timeout=STOP_S)  # rather than to break off a query
            task.cancel()
            await asyncio.wait([task])

    async def refreshed_at_last(self) -> Contents:
        """Everything, as soon as the database is there."""
        while self._is_following and not await self._refresh_or_stay():  # noqa: ASYNC110 (nothing tells that a database is back)
            await asyncio.sleep(POLL_S)
        return self.contents

    async def changed_from(self, mark: Mark) -> Contents:
        """The next contents that differ from these, while somebody is `following`."""
        while self.contents.mark == mark:
            await self._changed.wait()
        return self.contents

    async def _refresh_or_stay(self) -> bool:
        try:
            await self.refresh()
        except DatabaseError as error:
            if not self._is_away:
                log.warning("the utilities database is away: its entries stay as they were", extra=fields(reason=error))
            self._is_away = True
            return False
        if self._is_away:
            log.info("the utilities database is back", extra=fields(version=self.contents.mark.version))
        self._is_away = False
        return True

    async def _wait(self) -> None:
        is_heard = self.redis is not None and self.redis.is_heard and not self._is_away
        try:
            async with asyncio.timeout(POLL_HEARD_S if is_heard else POLL_S):
                await self._heard.wait()
        except TimeoutError:
            return

    # Writing: `by` is who did it, for the audit; `expected` the version that the entry must have (0: none), None for any

    async def set_instrument(self, definition: InstrumentConfig, by: str, expected: int | None = None) -> int:
        """Returns the entry's new version. Raises `VersionConflict`, `DatabaseUnavailable`, as all below do; and `InvalidEntry`."""
        known = (await self.refresh()).instrument(definition.symbol)
        if known is not None and known.definition.shard != definition.shard:
            raise InvalidEntry(
                f"{definition.symbol}: an instrument stays on its shard, which is {known.definition.shard}"
            )
        key, values = {"symbol": definition.symbol}, {"definition": definition_to_text(definition)}
        return await self._put(store.INSTRUMENTS, key, values, by, expected)

    async def seed_instruments(self, definitions: Iterable[InstrumentConfig], by: str) -> list[str]:
        """Add those whose symbols are not there yet; returns their symbols."""
        known = {entry.symbol for entry in (await self.refresh()).instruments}
        new = [definition for definition in definitions if definition.symbol not in known]
        if not new:
            return []

        def seed(connection: Connection, author: store.Author) -> list[str]:
            store.lock(connection)
            known = {entry.symbol for entry in store.read_contents(connection).instruments}
            added = [definition for definition in new if definition.symbol not in known]
            for definition in added:
                values = {"definition": definition_to_text(definition)}
                store.put(connection, store.INSTRUMENTS, {"symbol": definition.symbol}, values, 0, author)
            return [definition.symbol for definition in added]

        return await self._write(by, seed)

    async def set_holiday(self, day: Holiday, by: str, expected: int | None = None) -> int:
        """Raises `InvalidEntry`."""
        check_holiday(day)
        key, values = split(day, "calendar", "date")
        return await self._put(store.HOLIDAYS, key, values, by, expected)

    async def import_holidays(self, days: Iterable[Holiday], by: str) -> int:
        """Bring the days of one source up to date; what operators entered stays. Returns how many are new or different."""
        known = {(day.calendar, day.date): day for day in (await self.refresh()).holidays}
        new = [day for day in days if not is_imported(known.get((day.calendar, day.date)), day)]

        def write(connection: Connection, author: store.Author) -> None:
            for day in new:
                before = known.get((day.calendar, day.date))
                key, values = split(day, "calendar", "date")
                store.put(connection, store.HOLIDAYS, key, values, before.version if before else 0, author)

        if new:
            await self._write(by, write)
        return len(new)

    async def unset_holiday(self, calendar: str, date: str, by: str, expected: int | None = None) -> bool:
        """Returns whether there was one."""
        return await self._remove(store.HOLIDAYS, {"calendar": calendar, "date": date}, by, expected)

    async def set_risk_limits(
        self, scope: RiskScope, scope_id: int, limits: RiskLimits, by: str, expected: int | None = None
    ) -> int:
        """Raises `InvalidEntry`."""
        check_scope(scope, scope_id)
        if not limits.is_valid:
            raise InvalidEntry(f"risk limits of {scope.name.lower()} {scope_id}: one is out of range")
        key, values = {"scope": int(scope), "scope_id": scope_id}, {"limits": limits_to_text(limits)}
        return await self._put(store.RISK_LIMITS, key, values, by, expected)

    async def set_flag(self, name: str, value: FlagValue, by: str, expected: int | None = None) -> int:
        """Raises `InvalidEntry`."""
        if not flag_named(name).takes(value):
            raise InvalidEntry(f"flag {name}: {value!r} is not a {type(flag_named(name).default).__name__}")
        values = {"value": msgspec.json.encode(value).decode()}
        return await self._put(store.FEATURE_FLAGS, {"name": name}, values, by, expected)

    async def unset_flag(self, name: str, by: str, expected: int | None = None) -> bool:
        """Let the default hold again; returns whether another value was set."""
        return await self._remove(store.FEATURE_FLAGS, {"name": name}, by, expected)

    async def add_model_parameters(
        self,
        model: str,
        name: str,
        parameters: dict[str, Any],
        active_from_ns: int,
        by: str,
        expected: int | None = None,
    ) -> int:
        """Returns the version of the new set; `expected` is that of the newest one before. Raises `InvalidEntry`."""
        check_names("model parameters", model, name)
        fault = fault_of(model, parameters)
        if fault:
            raise InvalidEntry(f"{model} {name}: {fault}")
        text = msgspec.json.encode(parameters).decode()
        if len(text) > PARAMETERS_BYTES_MAX:
            raise InvalidEntry(f"{model} {name}: {len(text)} bytes of parameters, {PARAMETERS_BYTES_MAX} are allowed")
        return await self._write(
            by,
            lambda connection, author: store.append_parameters(
                connection, model, name, text, active_from_ns, expected, author
            ),
        )

    async def report_applied(self, reports: list[Applied]) -> None:
        """What became of entries on the venue. It is no change of the entries."""
        now_ns = time.time_ns()
        await self.connections.run(Use.WRITE, lambda connection: store.write_applied(connection, reports, now_ns))

    async def _put(self, table: Table, key: store.Key, values: store.Key, by: str, expected: int | None) -> int:
        return await self._write(
            by, lambda connection, author: store.put(connection, table, key, values, expected, author)
        )

    async def _remove(self, table: Table, key: store.Key, by: str, expected: int | None) -> bool:
        return await self._write(by, lambda connection, author: store.remove(connection, table, key, expected, author))

    async def _write(self, by: str, work: Callable[[Connection, store.Author], Result]) -> Result:
        """In one transaction; then have everybody know."""
        check_names("who changes it", by)
        author = store.Author(by, time.time_ns())
        result = await self.connections.run(Use.WRITE, lambda connection: work(connection, author))
        await self._tell()
        return result

    async def _tell(self) -> None:
        """The change is made: that it cannot be read back at once is no failure of it."""
        try:
            contents = await self.refresh()
        except DatabaseUnavailable as error:
            log.warning("a change was written, and could not be read back", extra=fields(reason=error))
            return
        if self.redis is not None:
            await self.redis.notify(contents.mark)


def split(day: Holiday, *key: str) -> tuple[dict[str, str | int], dict[str, str | int]]:
    """Key and values of a row."""
    values = msgspec.structs.asdict(day)
    del values["version"]
    return {name: values.pop(name) for name in key}, values


def is_imported(known: Holiday | None, day: Holiday) -> bool:
    """Whether there is nothing to import: the day is known like this, or as one of an operator's or another source's."""
    return known is not None and (known.source != day.source or msgspec.structs.replace(known, version=0) == day)
