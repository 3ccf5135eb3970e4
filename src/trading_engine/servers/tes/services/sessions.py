"""The venue's trading sessions, for those who ask when it opens and closes. What it does at a moment is decided elsewhere."""

import asyncio
from collections.abc import Callable, Sequence

from trading_engine.database.utilities.records import Holiday
from trading_engine.servers.schedule import DAY_NS, TradingSession, trading_sessions


class TradingSessions:
    """Worked out in a thread, because calendars take seconds to load, and kept for a day or until operators change one."""

    def __init__(self, calendar: str, own_days: Callable[[], Sequence[Holiday]], now_ns: Callable[[], int]) -> None:
        self._calendar = calendar
        self._own_days = own_days
        self._now_ns = now_ns
        self._known: Sequence[TradingSession] = ()
        self._known_for: tuple[int, Sequence[Holiday]] | None = None
        self._loading = asyncio.Lock()

    async def all(self) -> Sequence[TradingSession]:
        """In order, some weeks back and a year ahead."""
        async with self._loading:
            now_ns, own_days = self._now_ns(), self._own_days()
            wanted = (now_ns // DAY_NS, own_days)
            if self._known_for != wanted:
                self._known = await asyncio.to_thread(trading_sessions, self._calendar, now_ns, own_days)
                self._known_for = wanted
            return self._known
