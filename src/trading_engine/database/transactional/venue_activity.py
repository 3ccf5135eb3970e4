"""What happened in an account on all shards, asked like what happened on one (`ActivityRepository`).

Events are numbered as in `venue.shards` and rows are in the order of these numbers: those of a shard are together.
"""

from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import TypeVar

from trading_engine.database.transactional.activity import ActivityRepository, CashEntry, Movement, Traded, Window
from trading_engine.database.transactional.venue_trading import report_in_venue
from trading_engine.venue.order_state import OrderReport
from trading_engine.venue.shards import NUMBERS_PER_SHARD, number_before

Row = TypeVar("Row")


class VenueActivity:
    def __init__(self, shards: Sequence[ActivityRepository]) -> None:
        self._shards = shards

    async def fills(self, account_id: int, window: Window) -> list[OrderReport]:
        async def ask(shard: int, of_shard: Window) -> list[OrderReport]:
            reports = await self._shards[shard].fills(account_id, of_shard)
            return [report_in_venue(report, shard) for report in reports]

        return await self._in_order(ask, window)

    async def cash(self, account_id: int, kinds: Collection[str], window: Window) -> list[CashEntry]:
        async def ask(shard: int, of_shard: Window) -> list[CashEntry]:
            entries = await self._shards[shard].cash(account_id, kinds, of_shard)
            return [entry._replace(event_sequence=number_before(shard) + entry.event_sequence) for entry in entries]

        return await self._in_order(ask, window)

    async def _in_order(self, ask: Callable[[int, Window], Awaitable[list[Row]]], window: Window) -> list[Row]:
        rows: list[Row] = []
        shards = range(len(self._shards))
        for shard in shards if window.is_ascending else reversed(shards):
            if len(rows) < window.limit:
                rows += await ask(shard, window_of(window, shard)._replace(limit=window.limit - len(rows)))
        return rows

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


def window_of(window: Window, shard: int) -> Window:
    """In the shard's own numbers."""

    def own(number: int | None) -> int | None:
        return None if number is None else min(max(0, number - number_before(shard)), NUMBERS_PER_SHARD)

    return window._replace(after=own(window.after), before=own(window.before))
