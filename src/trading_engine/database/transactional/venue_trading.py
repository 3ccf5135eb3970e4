"""The rows of all shards as those of one venue; it is asked like the rows of one (`TradingRepository`), which each shard has for itself.

What is asked of one instrument or order is asked of its shard. What is asked of an account is asked of all and put together, the newest
first by the times of the shards' clocks. The `next` of such a page is the place in each shard, as the digits of one number to the
base 2^43; with one shard it is that shard's own.

Event sequences in the answers are numbered as in `venue.shards`.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from heapq import merge
from typing import TypeVar

from msgspec.structs import replace

from trading_engine.database.transactional.records import (
    AccountState,
    Candle,
    CashBalance,
    Page,
    PhaseChange,
    Prevention,
    StatementLine,
    Trade,
)
from trading_engine.database.transactional.trading import (
    ALL_ORDERS,
    PAGE_ROWS_MAX,
    OrderFilter,
    OrderSelection,
    TradingRepository,
)
from trading_engine.venue.order_state import Fill, OrderReport, OrderState
from trading_engine.venue.risk_limits import MarginTerms
from trading_engine.venue.shards import NUMBERS_PER_SHARD, number_before, shard_of_instrument, shard_of_number

Item = TypeVar("Item", OrderState, Fill)


class VenueTrading:
    def __init__(self, shards: Sequence[TradingRepository]) -> None:
        self._shards = shards

    # Orders and fills

    async def order(self, order_id: int) -> OrderState | None:
        shard = shard_of_number(order_id)
        order = await self._shards[shard].order(order_id) if shard < len(self._shards) else None
        return None if order is None else in_venue(order, shard)

    async def order_by_client_id(self, account_id: int, client_order_id: str) -> OrderState | None:
        """The account's newest order of this name."""
        asked = [shard.order_by_client_id(account_id, client_order_id) for shard in self._shards]
        found = [
            in_venue(order, shard) for shard, order in enumerate(await asyncio.gather(*asked)) if order is not None
        ]
        return max(found, key=lambda order: order.created_ns, default=None)

    async def orders(
        self,
        account_id: int,
        *,
        status: OrderFilter = "all",
        instrument_id: int | None = None,
        before_order_id: int | None = None,
        from_order_id: int | None = None,
        only: OrderSelection = ALL_ORDERS,
        limit: int = 100,
    ) -> Page[OrderState]:
        """Newest first; from an order on, by ids, so that those of a shard are together."""

        async def ask(shard: int, before: int | None) -> Page[OrderState]:
            return await self._shards[shard].orders(
                account_id,
                status=status,
                instrument_id=instrument_id,
                before_order_id=None if before is None else number_before(shard) + before,
                from_order_id=from_order_id,
                only=only,
                limit=limit,
            )

        if instrument_id is not None:
            return await self._page_of(shard_of_instrument(instrument_id), ask, before_order_id)
        if from_order_id is not None:
            return await self._by_id(ask, limit)
        return await self._newest(ask, before_order_id, limit, lambda order: order.order_id % NUMBERS_PER_SHARD)

    async def open_orders(self, account_id: int, instrument_id: int | None = None) -> tuple[OrderState, ...]:
        """All of the account's; those of a shard in order of entry."""
        shards = range(len(self._shards)) if instrument_id is None else [shard_of_instrument(instrument_id)]
        asked = await asyncio.gather(*(self._shards[shard].open_orders(account_id, instrument_id) for shard in shards))
        return tuple(in_venue(order, shard) for shard, orders in zip(shards, asked, strict=True) for order in orders)

    async def group_orders(self, group_ids: Collection[int]) -> tuple[OrderState, ...]:
        """All orders of the groups; those of a shard in order of entry."""
        found = []
        for shard, numbers in self._by_shard(group_ids):
            found += [in_venue(order, shard) for order in await self._shards[shard].group_orders(numbers)]
        return tuple(found)

    async def replaces(self, order_ids: Collection[int] | None = None) -> dict[int, tuple[int, ...]]:
        """Of orders that were ever replaced, the events that did it, oldest first. None: of all that are open."""
        asked = (
            [(shard, None) for shard in range(len(self._shards))] if order_ids is None else self._by_shard(order_ids)
        )
        found = {}
        for shard, numbers in asked:
            for order_id, sequences in (await self._shards[shard].replaces(numbers)).items():
                found[order_id] = tuple(sequence + number_before(shard) for sequence in sequences)
        return found

    async def replaced(
        self, account_id: int, order_id: int, *, from_event_sequence: int = 0, limit: int = 100
    ) -> tuple[OrderState, ...]:
        """The account's order as each replace left it, from an event on, oldest first."""
        for shard, _ in self._by_shard([order_id]):
            first = from_event_sequence - number_before(shard)
            found = await self._shards[shard].replaced(account_id, order_id, from_event_sequence=first, limit=limit)
            return tuple(in_venue(order, shard) for order in found)
        return ()

    async def order_before(self, account_id: int, order_id: int, event_sequence: int) -> OrderState | None:
        """The account's order as it was before that event."""
        for shard, _ in self._by_shard([order_id]):
            sequence = event_sequence - number_before(shard)
            order = await self._shards[shard].order_before(account_id, order_id, sequence)
            return None if order is None else in_venue(order, shard)
        return None

    def _by_shard(self, order_ids: Collection[int]) -> list[tuple[int, list[int]]]:
        """Those of each shard that there is."""
        return [
            (shard, numbers)
            for shard in range(len(self._shards))
            if (numbers := [order_id for order_id in order_ids if shard_of_number(order_id) == shard])
        ]

    async def preventions(
        self,
        account_id: int,
        instrument_id: int,
        *,
        order_id: int | None = None,
        event_sequence: int | None = None,
        from_event_sequence: int = 0,
        limit: int = PAGE_ROWS_MAX,
    ) -> tuple[Prevention, ...]:
        """As `TradingRepository.preventions`."""
        shard = shard_of_instrument(instrument_id)
        base = number_before(shard)
        found = await self._shards[shard].preventions(
            account_id,
            instrument_id,
            order_id=order_id,
            event_sequence=None if event_sequence is None else event_sequence - base,
            from_event_sequence=from_event_sequence - base,
            limit=limit,
        )
        return tuple(replace(each, event_sequence=each.event_sequence + base) for each in found)

    async def last_preventions(self, order_ids: Collection[int]) -> dict[int, int]:
        """Of those orders that were ever kept from a trade, the last event that did it."""
        found: dict[int, int] = {}
        for shard, numbers in self._by_shard(order_ids):
            for order_id, sequence in (await self._shards[shard].last_preventions(numbers)).items():
                found[order_id] = sequence + number_before(shard)
        return found

    async def fills(
        self,
        account_id: int,
        *,
        instrument_id: int | None = None,
        order_id: int | None = None,
        before: int | None = None,
        from_trade_id: int | None = None,
        since_ns: int | None = None,
        until_ns: int | None = None,
        limit: int = 100,
    ) -> Page[Fill]:
        """Newest first; from a trade on, by ids, so that those of a shard are together."""

        async def ask(shard: int, before: int | None) -> Page[Fill]:
            return await self._shards[shard].fills(
                account_id,
                instrument_id=instrument_id,
                order_id=order_id,
                before=before,
                from_trade_id=from_trade_id,
                since_ns=since_ns,
                until_ns=until_ns,
                limit=limit,
            )

        if instrument_id is not None:
            return await self._page_of(shard_of_instrument(instrument_id), ask, before)
        if from_trade_id is not None:
            return await self._by_id(ask, limit)
        return await self._newest(ask, before, limit, lambda fill: fill.event_sequence)

    async def order_reports(self, account_id: int | None, *, after: int, limit: int = 100) -> Page[OrderReport]:
        """What changed about an account's orders, or with None all accounts', on a shard after one of its events, oldest first."""
        shard = shard_of_number(after)
        base = number_before(shard)
        page = await self._shards[shard].order_reports(account_id, after=after - base, limit=limit)
        reports = tuple(report_in_venue(report, shard) for report in page.items)
        return Page(reports, None if page.next is None else page.next + base)

    async def last_reports_before(self, account_id: int, time_ns: int) -> list[int]:
        """The last event before that moment that changed an order of the account, on each shard."""
        asked = [shard.last_report_before(account_id, time_ns) for shard in self._shards]
        return [number_before(shard) + number for shard, number in enumerate(await asyncio.gather(*asked))]

    async def _page_of(
        self, shard: int, ask: Callable[[int, int | None], Awaitable[Page[Item]]], before: int | None
    ) -> Page[Item]:
        page = await ask(shard, None if before is None else before % NUMBERS_PER_SHARD)
        return Page(tuple(in_venue(item, shard) for item in page.items), page.next)

    async def _by_id(self, ask: Callable[[int, int | None], Awaitable[Page[Item]]], limit: int) -> Page[Item]:
        """The first page, which is all that is asked for."""
        taken: list[Item] = []
        for shard in range(len(self._shards)):
            page = await ask(shard, None)
            taken += [in_venue(item, shard) for item in page.items]
        return Page(tuple(taken[:limit]), None)

    async def _newest(
        self,
        ask: Callable[[int, int | None], Awaitable[Page[Item]]],
        before: int | None,
        limit: int,
        number_of: Callable[[Item], int],
    ) -> Page[Item]:
        """Up to `limit` of all shards. Items of one number are never parted, as the pages of the shards do not part them."""
        limit = max(1, min(limit, PAGE_ROWS_MAX))
        places = places_of(before, len(self._shards))
        pages = await asyncio.gather(*(ask(shard, place) for shard, place in enumerate(places)))
        rows = merge(
            *([(shard, item) for item in page.items] for shard, page in enumerate(pages)),
            key=lambda row: time_of(row[1]),
            reverse=True,
        )
        taken: list[tuple[int, Item]] = []
        for shard, item in rows:
            is_parted = bool(taken) and (shard, number_of(item)) == (taken[-1][0], number_of(taken[-1][1]))
            if len(taken) >= limit and not is_parted:
                break
            taken.append((shard, item))
        numbers = [[number_of(item) for of, item in taken if of == shard] for shard in range(len(pages))]
        following = [place_after(*each) for each in zip(pages, numbers, places, strict=True)]
        return Page(tuple(in_venue(item, shard) for shard, item in taken), next_of(following))

    # The account

    async def account_state(self, account_id: int) -> AccountState:
        """Of all shards together."""
        return in_sum(await self.account_states(account_id))

    async def statement(self, account_id: int, start_ns: int, end_ns: int) -> list[StatementLine]:
        """Of all shards together; what is moved between them is an entry of each."""
        sums: dict[tuple[str, int, str], list[int]] = {}
        for lines in await asyncio.gather(*(shard.statement(account_id, start_ns, end_ns) for shard in self._shards)):
            for line in lines:
                numbers = sums.setdefault((line.currency, line.instrument_id, line.kind), [0, 0, 0, 0])
                for place, number in enumerate((line.before, line.credits, line.debits, line.entries)):
                    numbers[place] += number
        return [StatementLine(*key, *sums[key]) for key in sorted(sums)]

    async def account_states(self, account_id: int) -> list[AccountState]:
        """By shard, each of a moment of its own."""
        states = await asyncio.gather(*(shard.account_state(account_id) for shard in self._shards))
        return [
            replace(state, event_sequence=state.event_sequence + number_before(shard))
            for shard, state in enumerate(states)
        ]

    async def margin_terms(self, account_id: int) -> MarginTerms | None:
        """Every shard has the same."""
        return await self._shards[0].margin_terms(account_id)

    async def accounts(self) -> frozenset[int]:
        """Those that are open on every shard, as far as the projections have come."""
        first, *others = await asyncio.gather(*(shard.accounts() for shard in self._shards))
        return first.intersection(*others)

    # Public trades

    async def trades(
        self,
        instrument_id: int,
        *,
        before_trade_id: int | None = None,
        from_trade_id: int | None = None,
        since_ns: int | None = None,
        until_ns: int | None = None,
        limit: int = 100,
    ) -> Page[Trade]:
        """Newest first; from a trade on, oldest first. Their event sequences are the shard's own."""
        return await self._shards[shard_of_instrument(instrument_id)].trades(
            instrument_id,
            before_trade_id=before_trade_id,
            from_trade_id=from_trade_id,
            since_ns=since_ns,
            until_ns=until_ns,
            limit=limit,
        )

    async def candles(
        self,
        instrument_id: int,
        interval_ns: int,
        *,
        start_ns: int | None = None,
        end_ns: int | None = None,
        limit: int = 500,
    ) -> tuple[Candle, ...]:
        """As `TradingRepository.candles`."""
        shard = self._shards[shard_of_instrument(instrument_id)]
        return await shard.candles(instrument_id, interval_ns, start_ns=start_ns, end_ns=end_ns, limit=limit)

    async def phase_changes(
        self, instrument_id: int, start_ns: int, end_ns: int, limit: int
    ) -> tuple[PhaseChange, ...]:
        """As `TradingRepository.phase_changes`; their event sequences are the shard's own."""
        shard = self._shards[shard_of_instrument(instrument_id)]
        return await shard.phase_changes(instrument_id, start_ns, end_ns, limit)


def in_venue(item: Item, shard: int) -> Item:
    return replace(item, event_sequence=item.event_sequence + number_before(shard)) if shard else item


def report_in_venue(report: OrderReport, shard: int) -> OrderReport:
    fill = None if report.fill is None else in_venue(report.fill, shard)
    sequence = report.event_sequence + number_before(shard)
    return OrderReport(sequence, report.kind, in_venue(report.order, shard), fill)


def time_of(item: OrderState | Fill) -> int:
    return item.created_ns if isinstance(item, OrderState) else item.time_ns


def in_sum(states: Sequence[AccountState]) -> AccountState:
    """What an account has on all shards together; its event is the first shard's."""
    sums: dict[str, CashBalance] = {}
    for each in (each for state in states for each in state.cash):
        known = sums.get(each.currency, replace(each, balance=0, held=0))
        sums[each.currency] = replace(known, balance=known.balance + each.balance, held=known.held + each.held)
    cash = tuple(sums[currency] for currency in sorted(sums))
    positions = tuple(held for state in states for held in state.positions)
    return AccountState(states[0].event_sequence, cash, positions, any(state.is_suspended for state in states))


# Places in a list that several shards have a part of


def places_of(number: int | None, shards: int) -> list[int | None]:
    """By shard: what comes before this number of its own. None: from the newest on."""
    if number is None:
        return [None] * shards
    return [number // NUMBERS_PER_SHARD**shard % NUMBERS_PER_SHARD for shard in range(shards)]


def place_after(page: Page[Item], taken: Sequence[int], place: int | None) -> int:
    """Where the next page goes on in a shard, of whose page the items of these numbers were taken. 0: there is no more."""
    if page.next is None and len(taken) == len(page.items):
        return 0
    if taken:
        return taken[-1]
    return NUMBERS_PER_SHARD - 1 if place is None else place


def next_of(places: Sequence[int]) -> int | None:
    return sum(place * NUMBERS_PER_SHARD**shard for shard, place in enumerate(places)) or None
