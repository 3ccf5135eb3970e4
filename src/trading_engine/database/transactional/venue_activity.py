"""What happened in an account on all shards, asked like what happened on one (`ActivityRepository`).

Events are numbered as in `venue.shards`. Rows are in the order of the shards' clocks, and of the numbers of their events where these agree;
a window that goes on after or before an event goes on from its place in that order.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from operator import attrgetter
from typing import TypeVar

from trading_engine.database.transactional.activity import ActivityRepository, CashEntry, Movement, Traded, Window
from trading_engine.database.transactional.venue_trading import report_in_venue
from trading_engine.venue.order_state import OrderReport
from trading_engine.venue.shards import NUMBERS_PER_SHARD, number_before, shard_of_number

Row = TypeVar("Row", OrderReport, CashEntry)


class VenueActivity:
    def __init__(self, shards: Sequence[ActivityRepository]) -> None:
        self._shards = shards

    async def fills(self, account_id: int, window: Window) -> list[OrderReport]:
        async def ask(shard: int, of_shard: Window) -> list[OrderReport]:
            reports = await self._shards[shard].fills(account_id, of_shard)
            return [report_in_venue(report, shard) for report in reports]

        return await self._in_order(ask, window, time_of_report)

    async def cash(self, account_id: int, kinds: Collection[str], window: Window) -> list[CashEntry]:
        async def ask(shard: int, of_shard: Window) -> list[CashEntry]:
            entries = await self._shards[shard].cash(account_id, kinds, of_shard)
            return [entry._replace(event_sequence=number_before(shard) + entry.event_sequence) for entry in entries]

        return await self._in_order(ask, window, attrgetter("time_ns"))

    async def _in_order(
        self, ask: Callable[[int, Window], Awaitable[list[Row]]], window: Window, time_of: Callable[[Row], int]
    ) -> list[Row]:
        """An event is never parted, so these may be more than the limit."""
        windows = await self._windows(window)
        rows = [row for found in await asyncio.gather(*(ask(*each) for each in windows.items())) for row in found]
        rows.sort(key=lambda row: (time_of(row), row.event_sequence), reverse=not window.is_ascending)
        last = rows[window.limit - 1].event_sequence if len(rows) > window.limit else None
        return [row for place, row in enumerate(rows) if place < window.limit or row.event_sequence == last]

    async def _windows(self, window: Window) -> dict[int, Window]:
        """By shard, in its own numbers. Where the window goes on from an event, the other shards do so from the time of that event."""
        event = window.after if window.is_ascending else window.before
        unbounded = window._replace(after=None, before=None)
        shards = range(len(self._shards))
        if event is None:
            return dict.fromkeys(shards, unbounded)
        of_event, number = shard_of_number(event), event % NUMBERS_PER_SHARD
        time_ns = await self._shards[of_event].time_at(number) if of_event in shards else 0
        windows = {shard: beyond(unbounded, time_ns, is_before=shard < of_event) for shard in shards}
        if of_event in shards:
            windows[of_event] = (
                unbounded._replace(after=number) if window.is_ascending else unbounded._replace(before=number)
            )
        return windows

    async def movements(
        self, account_id: int, *, after: Sequence[int], up_to: Sequence[int], since_ns: int, interval_ns: int
    ) -> list[Movement]:
        """Sums of what moved from `since_ns` on, on each shard among the events after the one of it and up to the other."""
        found: list[Movement] = []
        for shard, (first, last) in enumerate(zip(after, up_to, strict=True)):
            found += await self._shards[shard].movements(
                account_id,
                after=first - number_before(shard),
                up_to=last - number_before(shard),
                since_ns=since_ns,
                interval_ns=interval_ns,
            )
        return found

    async def traded(self, account_id: int, *, after: Sequence[int]) -> dict[int, Traded]:
        """By instrument, on each shard in the events after the one of it."""
        found: dict[int, Traded] = {}
        for shard, first in enumerate(after):
            found |= await self._shards[shard].traded(account_id, after=first - number_before(shard))
        return found


def time_of_report(report: OrderReport) -> int:
    assert report.fill is not None, report
    return report.fill.time_ns


def beyond(window: Window, time_ns: int, *, is_before: bool) -> Window:
    """What is left of the window, on a shard that comes before or after that of an event where their clocks agree."""
    if window.is_ascending:
        since_ns = time_ns + 1 if is_before else time_ns
        return window._replace(since_ns=max(since_ns, window.since_ns or 0))
    until_ns = time_ns + 1 if is_before else time_ns
    return window._replace(until_ns=until_ns if window.until_ns is None else min(until_ns, window.until_ns))
