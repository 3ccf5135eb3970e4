"""Keeps the venue as the utilities database wants it: instruments, risk limits, and the days of its calendar.

What was wanted last is kept in the data directory as well, so that an order book server starts without its database when it has to: it is
then as up to date as it was when it saw the database last.
"""

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import msgspec

from trading_engine.database.errors import DatabaseError, DatabaseUnavailable, MigrationFailed
from trading_engine.database.utilities.database import UtilitiesDatabase
from trading_engine.database.utilities.records import Applied, Contents, Holiday
from trading_engine.servers.obs.desired import WAITS, Wanted, wanted_of
from trading_engine.servers.obs.errors import CannotStart, ObsError
from trading_engine.servers.obs.listing import check_definition
from trading_engine.servers.obs.services import OrderBookService
from trading_engine.servers.schedule import holidays_of, schedule_for
from trading_engine.shared.config import Config, ConfigError
from trading_engine.shared.log import fields

AUTHOR = "obs"
"""In the audit, of what comes from the configuration and from the calendar."""
RETRY_S = 0.5
"""What waits is compared again after so long."""
REMEMBERED_FILE = "utilities.last"

log = logging.getLogger(__name__)


async def open_utilities(config: Config, now_ns: int) -> UtilitiesDatabase:
    """Migrated, with what the configuration and the calendar add to it, and read. Raises `ConfigError`, `ObsError`."""
    for definition in config.venue.instruments:
        check_definition(definition, config.venue)
    holidays = holidays_of(config.venue.calendar, now_ns)
    try:
        database = UtilitiesDatabase.of(config)
    except DatabaseUnavailable as error:
        raise ConfigError(f"database: {error}") from error
    try:
        await fill(database, config, holidays)
    except BaseException:
        await database.close()
        raise
    return database


async def fill(database: UtilitiesDatabase, config: Config, holidays: Sequence[Holiday]) -> None:
    try:
        await database.migrate()
        await database.seed_instruments(config.venue.instruments, AUTHOR)
        await database.import_holidays(holidays, AUTHOR)
    except MigrationFailed as error:
        raise CannotStart(str(error)) from error
    except DatabaseUnavailable as error:
        remember_instead(database, config.obs_path / REMEMBERED_FILE, error)
    else:
        await read(database, config)


async def read(database: UtilitiesDatabase, config: Config) -> None:
    """What is wanted now; what a standby read when it began may be long past. Raises `ObsError`."""
    try:
        await database.refresh()
    except DatabaseUnavailable as error:
        remember_instead(database, config.obs_path / REMEMBERED_FILE, error)


def remember_instead(database: UtilitiesDatabase, path: Path, error: DatabaseUnavailable) -> None:
    """Go on with what was known last. Raises `ObsError` where nothing was."""
    try:
        contents = msgspec.msgpack.decode(path.read_bytes(), type=Contents)
    except (OSError, msgspec.MsgspecError) as unreadable:
        raise ObsError(f"{error}; and nothing usable is in {path}: {unreadable}") from error
    log.warning(
        "the utilities database is away: starting with what it said last", extra=fields(reason=error, file=path)
    )
    database.assume(contents)


def remember(path: Path, contents: Contents) -> None:
    """As well as can be: without it the server only cannot start without its database."""
    try:
        write(path, contents)
    except OSError as error:
        log.warning("what is wanted cannot be kept for a later start", extra=fields(file=path, reason=error))


def write(path: Path, contents: Contents) -> None:
    new_path = path.with_suffix(".new")
    new_path.touch(mode=0o600)
    new_path.write_bytes(msgspec.msgpack.encode(contents))
    new_path.rename(path)


class VenueKeeper:
    """Compares, sends, reports."""

    def __init__(self, config: Config, database: UtilitiesDatabase, service: OrderBookService) -> None:
        self._config = config
        self._database = database
        self._service = service
        self._days = self.own_days
        self._reported: dict[tuple[str, str], Applied] = {}

    @property
    def own_days(self) -> tuple[Holiday, ...]:
        """Those that overrule the calendar."""
        return self._database.contents.own_holidays(self._config.venue.calendar)

    async def keep(self) -> None:
        """For ever: as soon as the database changes, and again and again while something waits."""
        async with self._database.following():
            while True:
                mark = self._database.contents.mark
                waits = await self.apply()
                with suppress(TimeoutError):
                    async with asyncio.timeout(RETRY_S if waits else None):
                        await self._database.changed_from(mark)

    async def apply(self) -> bool:
        """Bring the venue to where it may be brought to now. Returns whether something has to wait."""
        contents = self._database.contents
        remember(self._config.obs_path / REMEMBERED_FILE, contents)
        wanted = self._wanted(contents)
        commands = [entry.command for entry in wanted if entry.command is not None]
        if commands:
            await self._service.commit_wanted(commands)
            log.info("the venue was changed as the utilities database says", extra=fields(commands=len(commands)))
            wanted = self._wanted(contents)
        if self.own_days != self._days:
            self._days = self.own_days
            await self._service.change_schedule(
                schedule_for(self._config.venue.calendar, self._config.venue.auctions, self._days)
            )
        await self._report(wanted)
        # A command that was overtaken by an order, and refused, is compared again as well.
        return any(entry.command is not None or entry.outcome.startswith(WAITS) for entry in wanted)

    def _wanted(self, contents: Contents) -> list[Wanted]:
        return wanted_of(contents, self._config.venue, self._service.venue, self._config.obs.shard)

    async def _report(self, wanted: Sequence[Wanted]) -> None:
        """Tell operators what became of their entries, as far as it is news."""
        reports = [entry.report(self._config.obs.shard) for entry in wanted if entry.command is None]
        news = [report for report in reports if self._reported.get((report.kind, report.key)) != report]
        if not news:
            return
        try:
            await self._database.report_applied(news)
        except DatabaseError as error:
            log.warning("what became of entries cannot be reported", extra=fields(reason=error))
            return
        self._reported |= {(report.kind, report.key): report for report in news}
