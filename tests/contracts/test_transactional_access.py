"""Users, clients, portfolios, API keys and refresh tokens, on every backend."""

import asyncio

import pytest
from msgspec import structs
from sqlalchemy import Connection, text

from trading_engine.database.connections import Use
from trading_engine.database.transactional.database import TransactionalDatabase
from trading_engine.database.transactional.errors import AlreadyExists
from trading_engine.database.transactional.projection import TransactionalProjection
from trading_engine.database.transactional.records import (
    AccessChanges,
    ApiKey,
    Client,
    LoginEnded,
    Portfolio,
    RefreshToken,
    Registration,
    Role,
    User,
)
from trading_engine.venue.events import AccountOpened, AccountSuspended, AnyEvent, EventBatch, MarginSet
from trading_engine.venue.risk_limits import MarginTerms

NOW = 1_767_623_400_123_456_789
HOUR = 3_600 * 10**9


async def registered(database: TransactionalDatabase, username: str = "alice") -> User:
    return (await database.access.register(username, "hash", Role.TRADER, NOW)).user


async def test_register_makes_client_user_and_portfolio(database: TransactionalDatabase) -> None:
    registration = await database.access.register("alice", "hash", Role.TRADER, NOW)
    client = Client(1, "alice", NOW)
    user = User(1, "alice", "hash", Role.TRADER, 1, NOW)
    portfolio = Portfolio(1, 1, "Main", NOW)
    assert registration == Registration(client, user, portfolio)
    assert await database.access.find_user("alice") == user
    assert await database.access.user(1) == user
    assert await database.access.portfolios_of_user(1) == (portfolio,)


async def test_register_taken_username_leaves_nothing(database: TransactionalDatabase) -> None:
    await registered(database)
    with pytest.raises(AlreadyExists, match="'alice'"):
        await database.access.register("alice", "hash", Role.TRADER, NOW, client_name="Alice Ltd")
    registration = await database.access.register("bob", "hash", Role.TRADER, NOW, client_name="Alice Ltd")
    assert registration.client.name == "Alice Ltd"


async def test_portfolio_ids_are_never_given_twice(database: TransactionalDatabase) -> None:
    first = await database.access.register("alice", "hash", Role.TRADER, NOW)
    await database.connections.run(Use.WRITE, lambda connection: connection.execute(text("DELETE FROM portfolios")))
    again = await database.access.create_portfolio(first.client.client_id, "Second", NOW)
    assert again.portfolio_id > first.portfolio.portfolio_id > 0


async def test_find_user_unknown_is_none(database: TransactionalDatabase) -> None:
    assert await database.access.find_user("nobody") is None
    assert await database.access.user(1) is None
    assert await database.access.portfolios_of_user(1) == ()


async def test_create_user_for_no_client_has_no_portfolios(database: TransactionalDatabase) -> None:
    operator = await database.access.create_user("olga", "hash", Role.OPERATOR, NOW)
    assert operator.client_id is None
    assert await database.access.portfolios_of_user(operator.user_id) == ()


async def test_two_users_of_one_client_share_its_portfolios(database: TransactionalDatabase) -> None:
    registration = await database.access.register("alice", "hash", Role.TRADER, NOW, client_name="Fund")
    second = await database.access.create_portfolio(registration.client.client_id, "Hedge", NOW)
    await registered(database, "stranger")
    colleague = await database.access.create_user(
        "carol", "h", Role.TRADER, NOW, client_id=registration.client.client_id
    )
    assert await database.access.portfolios_of_user(colleague.user_id) == (registration.portfolio, second)


async def test_create_portfolio_taken_name_is_refused(database: TransactionalDatabase) -> None:
    user = await registered(database)
    assert user.client_id is not None
    with pytest.raises(AlreadyExists, match="'Main'"):
        await database.access.create_portfolio(user.client_id, "Main", NOW)


async def test_accounts_are_those_of_the_portfolios_that_the_venue_has_opened(database: TransactionalDatabase) -> None:
    first = (await database.access.register("alice", "hash", Role.TRADER, NOW)).portfolio
    second = (await database.access.register("bob", "hash", Role.TRADER, NOW)).portfolio
    assert await database.access.portfolios() == (first, second)
    assert await database.trading.accounts() == frozenset()
    await TransactionalProjection(database).apply(
        [EventBatch(1, NOW, "p", 1, 1, (AccountOpened(first.portfolio_id, 10),))]
    )
    assert await database.trading.accounts() == {first.portfolio_id}


async def test_users_registered_at_once_all_get_their_own(database: TransactionalDatabase) -> None:
    users = await asyncio.gather(*(registered(database, f"user{n}") for n in range(20)))
    assert len({user.user_id for user in users}) == 20


# Access that changes


async def test_user_that_is_changed_has_no_logins_any_more(database: TransactionalDatabase) -> None:
    user = await registered(database)
    await database.access.store_refresh_token("a", user.user_id, NOW, NOW + HOUR)
    changed = await database.access.change_user(user.user_id, NOW + 1, role=Role.ANALYST, is_disabled=True)
    assert changed == structs.replace(user, role=Role.ANALYST, is_disabled=True)
    assert await database.access.user(user.user_id) == changed
    assert await database.access.rotate_refresh_token("a", "b", NOW + 2, NOW + HOUR) is None
    assert await database.access.change_user(999, NOW + 1, role=Role.ANALYST) is None


async def test_last_administrator_stays_one_whoever_tries_at_once(database: TransactionalDatabase) -> None:
    first = await database.access.create_user("first", "hash", Role.ADMIN, NOW)
    second = await database.access.create_user("second", "hash", Role.ADMIN, NOW)
    results = await asyncio.gather(
        database.access.change_user(first.user_id, NOW, role=Role.TRADER),
        database.access.change_user(second.user_id, NOW, is_disabled=True),
        return_exceptions=True,
    )
    assert sorted(type(result).__name__ for result in results) == ["LastAdministrator", "User"]
    users = (await database.access.users()).items
    assert sum(user.role is Role.ADMIN and not user.is_disabled for user in users) == 1


async def test_changes_of_access_are_told_since_a_time(database: TransactionalDatabase) -> None:
    alice, bob = await registered(database), await registered(database, "bob")
    for number, at in ((1, NOW), (2, NOW + 10)):
        await database.access.create_api_key(f"key-{number}", alice.user_id, "bot", "hash", NOW)
        await database.access.revoke_api_key(alice.user_id, f"key-{number}", at)
    await database.access.change_user(alice.user_id, NOW + 5, role=Role.ANALYST)
    await database.access.change_user(bob.user_id, NOW + 15, password_hash="other")
    everything = AccessChanges({alice.user_id: NOW + 5, bob.user_id: NOW + 15}, frozenset({"key-1", "key-2"}))
    assert await database.access.access_changes(NOW) == everything
    assert await database.access.access_changes(NOW + 10) == AccessChanges(
        {bob.user_id: NOW + 15}, frozenset({"key-2"})
    )


async def test_logins_that_ended_are_told_since_a_time_whatever_ended_them(database: TransactionalDatabase) -> None:
    user, access = await registered(database), database.access
    for login in ("logged out", "replayed", "goes on"):
        await access.store_refresh_token(login, user.user_id, NOW, NOW + HOUR)
        await access.rotate_refresh_token(login, f"{login} 2", NOW + 1, NOW + HOUR)
    assert await access.access_changes(NOW) == AccessChanges({}, frozenset())
    assert await access.revoke_refresh_token("logged out 2", NOW + 5) == "logged out"
    assert await access.rotate_refresh_token("replayed", "third", NOW + 10, NOW + HOUR) == LoginEnded("replayed")
    assert (await access.access_changes(NOW + 5)).ended_logins == {"logged out", "replayed"}
    assert (await access.access_changes(NOW + 6)).ended_logins == {"replayed"}
    await access.change_user(user.user_id, NOW + 20, password_hash="other")
    assert (await access.access_changes(NOW + 20)).ended_logins == {"goes on"}


async def test_password_hash_is_renewed_unless_the_password_was_changed_meanwhile(
    database: TransactionalDatabase,
) -> None:
    user = await registered(database)
    await database.access.replace_password_hash(user.user_id, "not the one that there is", "newer")
    assert await database.access.user(user.user_id) == user
    await database.access.replace_password_hash(user.user_id, user.password_hash, "newer")
    assert await database.access.user(user.user_id) == structs.replace(user, password_hash="newer")


# API keys


async def test_api_key_with_terms_comes_back_as_it_was_made(database: TransactionalDatabase) -> None:
    user = await registered(database)
    made = await database.access.create_api_key(
        "key-1", user.user_id, "bot", "hash", NOW, scopes="read", addresses="192.0.2.0/24", rate_percent=40
    )
    assert await database.access.find_api_key("key-1") == made
    assert (made.scopes, made.addresses, made.rate_percent) == ("read", "192.0.2.0/24", 40)


async def test_rows_of_the_release_before_have_what_it_meant(database: TransactionalDatabase) -> None:
    """It goes on beside this one, and knows nothing of the newer columns."""

    def insert(connection: Connection) -> None:
        connection.execute(
            text(
                "INSERT INTO users (user_id, username, password_hash, role, created_ns) "
                "VALUES (7, 'old', 'hash', 'trader', 1)"
            )
        )
        connection.execute(
            text("INSERT INTO api_keys (key_id, user_id, label, secret_hash, created_ns) VALUES ('k', 7, 'l', 'h', 1)")
        )

    await database.connections.run(Use.WRITE, insert)
    assert await database.access.user(7) == User(7, "old", "hash", Role.TRADER, None, 1, is_disabled=False)
    assert await database.access.find_api_key("k") == ApiKey("k", 7, "l", "h", 1, "read trade", "", 100)


async def test_api_key_is_listed_and_found_until_revoked(database: TransactionalDatabase) -> None:
    user = await registered(database)
    key = await database.access.create_api_key("key-1", user.user_id, "bot", "secret-hash", NOW)
    assert key == ApiKey("key-1", user.user_id, "bot", "secret-hash", NOW)
    assert await database.access.find_api_key("key-1") == key
    assert await database.access.api_keys_of_user(user.user_id) == (key,)
    assert await database.access.revoke_api_key(user.user_id, "key-1", NOW + 1)
    assert await database.access.find_api_key("key-1") is None
    assert await database.access.api_keys_of_user(user.user_id) == ()
    assert not await database.access.revoke_api_key(user.user_id, "key-1", NOW + 2)


async def test_api_key_of_another_user_cannot_be_revoked(database: TransactionalDatabase) -> None:
    alice, bob = await registered(database), await registered(database, "bob")
    key = await database.access.create_api_key("key-1", alice.user_id, "bot", "hash", NOW)
    assert not await database.access.revoke_api_key(bob.user_id, "key-1", NOW)
    assert await database.access.find_api_key("key-1") == key


async def test_api_key_taken_id_is_refused(database: TransactionalDatabase) -> None:
    user = await registered(database)
    await database.access.create_api_key("key-1", user.user_id, "bot", "hash", NOW)
    with pytest.raises(AlreadyExists):
        await database.access.create_api_key("key-1", user.user_id, "other", "hash", NOW)


# Refresh tokens


async def test_refresh_token_rotates_once(database: TransactionalDatabase) -> None:
    user = await registered(database)
    await database.access.store_refresh_token("a", user.user_id, NOW, NOW + HOUR)
    rotated = await database.access.rotate_refresh_token("a", "b", NOW + 1, NOW + 2 * HOUR)
    assert rotated == RefreshToken("b", "a", user.user_id, NOW + 1, NOW + 2 * HOUR)


async def test_refresh_token_used_again_ends_the_whole_login(database: TransactionalDatabase) -> None:
    user = await registered(database)
    access = database.access
    await access.store_refresh_token("a", user.user_id, NOW, NOW + HOUR)
    await access.store_refresh_token("other", user.user_id, NOW, NOW + HOUR)
    assert await access.rotate_refresh_token("a", "b", NOW + 1, NOW + HOUR)
    assert await access.rotate_refresh_token("a", "c", NOW + 2, NOW + HOUR) == LoginEnded("a")
    assert await access.rotate_refresh_token("b", "d", NOW + 3, NOW + HOUR) is None
    assert await access.rotate_refresh_token("other", "e", NOW + 4, NOW + HOUR), "another login of the user goes on"


async def test_refresh_token_presented_twice_at_once_is_taken_once(database: TransactionalDatabase) -> None:
    user = await registered(database)
    await database.access.store_refresh_token("a", user.user_id, NOW, NOW + HOUR)
    results = await asyncio.gather(
        *(database.access.rotate_refresh_token("a", f"b{n}", NOW + 1, NOW + HOUR) for n in range(5))
    )
    assert sum(isinstance(result, RefreshToken) for result in results) == 1
    assert results.count(LoginEnded("a")) >= 1


async def test_refresh_token_unknown_expired_or_revoked_is_none(database: TransactionalDatabase) -> None:
    user = await registered(database)
    access = database.access
    assert await access.rotate_refresh_token("unknown", "x", NOW, NOW + HOUR) is None
    await access.store_refresh_token("expiring", user.user_id, NOW, NOW + HOUR)
    assert await access.rotate_refresh_token("expiring", "x", NOW + HOUR, NOW + 2 * HOUR) is None
    await access.store_refresh_token("revoked", user.user_id, NOW, NOW + HOUR)
    assert await access.revoke_refresh_token("revoked", NOW + 1) == "revoked"
    assert await access.rotate_refresh_token("revoked", "x", NOW + 2, NOW + HOUR) is None
    assert await access.revoke_refresh_token("unknown", NOW) is None


async def test_refresh_token_revoked_after_rotation_ends_its_successors(database: TransactionalDatabase) -> None:
    user = await registered(database)
    await database.access.store_refresh_token("a", user.user_id, NOW, NOW + HOUR)
    await database.access.rotate_refresh_token("a", "b", NOW + 1, NOW + HOUR)
    assert await database.access.revoke_refresh_token("b", NOW + 2) == "a"
    assert await database.access.rotate_refresh_token("b", "c", NOW + 3, NOW + HOUR) is None


async def test_login_deletes_the_expired_tokens_of_the_user(database: TransactionalDatabase) -> None:
    user = await registered(database)
    await database.access.store_refresh_token("old", user.user_id, NOW, NOW + HOUR)
    await database.access.store_refresh_token("new", user.user_id, NOW + HOUR, NOW + 2 * HOUR)
    query = text("SELECT token_hash FROM refresh_tokens")
    assert await database.connections.run(Use.READ, lambda connection: connection.execute(query).scalars().all()) == [
        "new"
    ]


# What an account may owe


async def test_margin_terms_are_those_that_were_set_last(database: TransactionalDatabase) -> None:
    alice = (await database.access.register("alice", "hash", Role.TRADER, NOW)).portfolio.portfolio_id
    bob = (await database.access.register("bob", "hash", Role.TRADER, NOW)).portfolio.portfolio_id
    projection, terms = TransactionalProjection(database), MarginTerms(10**6, 500, liquidate=True)
    assert await database.trading.margin_terms(alice) is None
    steps: list[tuple[tuple[AnyEvent, ...], MarginTerms | None]] = [
        ((AccountOpened(alice, 10), AccountOpened(bob, 10), MarginSet(alice, MarginTerms(5))), MarginTerms(5)),
        ((MarginSet(alice, terms), MarginSet(bob, MarginTerms(7)), AccountSuspended(alice, suspended=True)), terms),
        ((MarginSet(alice, None),), None),
    ]
    for number, (events, expected) in enumerate(steps):
        await projection.apply([EventBatch(number + 1, NOW, "p", number + 1, 3 * number + 1, events)])
        assert await database.trading.margin_terms(alice) == expected
    assert await database.trading.margin_terms(bob) == MarginTerms(7)
