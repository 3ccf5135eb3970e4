"""Time comes into the order book server here and nowhere else, so that tests can hold the clock."""

import asyncio
import time
from typing import Protocol

SLEEP_S_MAX = 20.0
"""The wall clock may be set, and the machine may sleep: look at it again at least this often."""


class Clock(Protocol):
    def now_ns(self) -> int:
        """Nanoseconds since the Unix epoch."""

    async def sleep_until(self, time_ns: int) -> None: ...


class SystemClock:
    def now_ns(self) -> int:
        return time.time_ns()

    async def sleep_until(self, time_ns: int) -> None:
        while (left_ns := time_ns - time.time_ns()) > 0:  # noqa: ASYNC110 (nothing tells that the clock was set)
            await asyncio.sleep(min(SLEEP_S_MAX, left_ns / 1e9))
