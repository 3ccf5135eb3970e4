"""Time comes into the order book server here and nowhere else, so that tests can hold the clock."""

import asyncio
import time
from contextlib import suppress
from typing import Protocol

from trading_engine.messaging.broker import RemoteError
from trading_engine.messaging.schemas import ClockControl, ClockStatus

PPM = 1_000_000

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


class VirtualClock:
    """For venues under test: goes as fast as it is told, and on to any later time, but never back.

    What it says is stamped on commands and journaled like any time, so a replay has the same times. A start sets it to the wall clock's
    time, or to the venue's where that is later, at the real speed.
    """

    def __init__(self) -> None:
        self._base_ns = time.time_ns()
        self._since_ns = time.monotonic_ns()
        self._speed_ppm = PPM
        self._changed = asyncio.Event()

    def now_ns(self) -> int:
        return self._base_ns + (time.monotonic_ns() - self._since_ns) * self._speed_ppm // PPM

    def begin_at(self, time_ns: int) -> None:
        self._go_to(max(self.now_ns(), time_ns))

    async def control(self, control: ClockControl) -> ClockStatus:
        """Raises `RemoteError` for a time that is over."""
        now_ns = self.now_ns()
        if 0 < control.time_ns < now_ns:
            raise RemoteError("the clock is past this time, and does not go back")
        self._go_to(max(now_ns, control.time_ns) + control.advance_ns)
        if control.speed_ppm >= 0:
            self._speed_ppm = control.speed_ppm
        return ClockStatus(self._base_ns, self._speed_ppm)

    def _go_to(self, time_ns: int) -> None:
        self._base_ns, self._since_ns = time_ns, time.monotonic_ns()
        self._changed.set()
        self._changed = asyncio.Event()

    async def sleep_until(self, time_ns: int) -> None:
        while (left_ns := time_ns - self.now_ns()) > 0:
            real_s = left_ns / 1e9 * PPM / self._speed_ppm if self._speed_ppm else SLEEP_S_MAX
            with suppress(TimeoutError):
                async with asyncio.timeout(min(SLEEP_S_MAX, real_s)):
                    await self._changed.wait()


def wall_ns(clock: Clock) -> int:
    """When a command expires is said by its sender's clock, which is never virtual."""
    return time.time_ns() if isinstance(clock, VirtualClock) else clock.now_ns()
