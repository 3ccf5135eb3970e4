"""Deletes acts that have been in the audit log for long enough. That it did is in the log too; the database lets nothing else go."""

import asyncio
import logging
from collections.abc import Callable

from trading_engine.database.errors import DatabaseError
from trading_engine.database.transactional.audit import AuditLog
from trading_engine.shared.log import fields

INTERVAL_S = 3600.0
DAY_NS = 24 * 3600 * 1_000_000_000

log = logging.getLogger(__name__)


class AuditRetention:
    def __init__(self, audit: AuditLog, days: int, now_ns: Callable[[], int]) -> None:
        """0 days: acts are kept for ever."""
        self._audit = audit
        self._days = days
        self._now_ns = now_ns

    async def keep(self) -> None:
        """For ever."""
        while True:
            try:
                await self.purge()
            except DatabaseError as error:
                log.warning("the audit log is not purged for the time being", extra=fields(reason=error))
            await asyncio.sleep(INTERVAL_S)

    async def purge(self) -> int:
        """How many acts went. Raises `DatabaseError`."""
        if not self._days:
            return 0
        now_ns = self._now_ns()
        count = await self._audit.purge(now_ns - self._days * DAY_NS, now_ns)
        if count:
            log.info("audit log purged", extra=fields(acts=count, older_than_days=self._days))
        return count
