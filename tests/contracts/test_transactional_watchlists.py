"""Watchlists, on every backend."""

import asyncio
from dataclasses import dataclass

import pytest
from msgspec.structs import replace

from trading_engine.database.transactional import watchlists as watchlists_module
from trading_engine.database.transactional.database import TransactionalDatabase
from trading_engine.database.transactional.errors import AlreadyExists, TooMany
from trading_engine.database.transactional.records import Role, Watchlist

NOW, LATER = 1_767_623_400_000_000_000, 1_767_623_500_000_000_000


@dataclass(frozen=True)
class Owner:
    database: TransactionalDatabase
    portfolio_id: int

    async def make(self, name: str, *instrument_ids: int) -> Watchlist:
        return await self.database.watchlists.create(self.portfolio_id, name, instrument_ids, NOW)

    async def names(self) -> list[str]:
        return [each.name for each in await self.database.watchlists.watchlists(self.portfolio_id)]


async def owner(database: TransactionalDatabase, username: str = "alice") -> Owner:
    registration = await database.access.register(username, "hash", Role.TRADER, NOW)
    return Owner(database, registration.portfolio.portfolio_id)


async def test_watchlist_is_found_by_number_and_by_name_in_its_portfolio_alone(database: TransactionalDatabase) -> None:
    alice, bob = await owner(database), await owner(database, "bob")
    made = await alice.make("été", 3, 1, 2)
    assert made == Watchlist(made.watchlist_id, alice.portfolio_id, "été", (3, 1, 2), NOW, NOW)
    for key in (made.watchlist_id, "été"):
        assert await database.watchlists.find(alice.portfolio_id, key) == made
        assert await database.watchlists.find(bob.portfolio_id, key) is None
        assert await database.watchlists.change(bob.portfolio_id, key, LATER, lambda found: found) is None
        assert not await database.watchlists.delete(bob.portfolio_id, key)
    assert (await bob.make("été")).watchlist_id > made.watchlist_id
    assert await database.watchlists.delete(alice.portfolio_id, "été")
    assert not await database.watchlists.delete(alice.portfolio_id, made.watchlist_id)
    assert (await alice.names(), await bob.names()) == ([], ["été"])


async def test_name_that_is_taken_changes_nothing(database: TransactionalDatabase) -> None:
    alice = await owner(database)
    first, second = await alice.make("one", 1), await alice.make("two")
    with pytest.raises(AlreadyExists, match="'one'"):
        await alice.make("one")
    with pytest.raises(AlreadyExists):
        await database.watchlists.change(alice.portfolio_id, "two", LATER, lambda found: replace(found, name="one"))
    assert await database.watchlists.watchlists(alice.portfolio_id) == (first, second)


async def test_edit_that_fails_leaves_the_list_as_it_was(database: TransactionalDatabase) -> None:
    alice = await owner(database)
    made = await alice.make("one", 1)

    def fail(found: Watchlist) -> Watchlist:
        raise LookupError(found.name)

    with pytest.raises(LookupError, match="one"):
        await database.watchlists.change(alice.portfolio_id, "one", LATER, fail)
    assert await database.watchlists.find(alice.portfolio_id, "one") == made


async def test_changes_at_once_lose_nothing(database: TransactionalDatabase) -> None:
    alice = await owner(database)
    made = await alice.make("one")

    async def add(number: int) -> None:
        await database.watchlists.change(
            alice.portfolio_id,
            made.watchlist_id,
            LATER,
            lambda found: replace(found, instrument_ids=(*found.instrument_ids, number)),
        )

    await asyncio.gather(*(add(number) for number in range(20)))
    found = await database.watchlists.find(alice.portfolio_id, "one")
    assert found is not None
    assert sorted(found.instrument_ids) == list(range(20))
    assert (found.created_ns, found.updated_ns) == (NOW, LATER)


async def test_lists_beyond_the_most_are_refused_also_at_once(
    database: TransactionalDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watchlists_module, "WATCHLISTS_MAX", 3)
    alice, bob = await owner(database), await owner(database, "bob")
    outcomes = await asyncio.gather(*(alice.make(f"{number}") for number in range(6)), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes if not isinstance(outcome, Watchlist)] == [TooMany] * 3
    assert len(await alice.names()) == 3
    await bob.make("his")
