"""Guessing passwords: what it costs, and whom it does not keep out."""

import asyncio

import pytest

from trading_engine.database.transactional.database import TransactionalDatabase
from trading_engine.database.transactional.records import LoginEnded, Role
from trading_engine.servers.tes.errors import ApiError
from trading_engine.servers.tes.services.login_guard import (
    ADDRESS_FAILURES_MAX,
    PAIR_FAILURES_MAX,
    USER_FAILURES_MAX,
    USER_FORGOTTEN_SECONDS,
    LoginGuard,
)

NOW = 1_767_600_000_000_000_000
HOME = "192.0.2.1"


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


async def owner_of(database: TransactionalDatabase) -> int:
    """A user who has logged in from home."""
    user = (await database.access.register("alice", "hash", Role.TRADER, NOW)).user
    await database.access.store_refresh_token("token", user.user_id, NOW, NOW + 1, address=HOME)
    return user.user_id


def guard_of(database: TransactionalDatabase) -> tuple[LoginGuard, Clock]:
    clock = Clock()
    return LoginGuard(database.access, clock), clock


async def is_let_in(guard: LoginGuard, username: str, address: str) -> bool:
    try:
        await guard.begin(username, address)
    except ApiError as error:
        if error.code != "RATE_LIMITED":
            raise
        return False
    return True


async def failures(guard: LoginGuard, username: str, address: str, most: int) -> int:
    count = 0
    while count < most and await is_let_in(guard, username, address):
        count += 1
    return count


async def exhaust(guard: LoginGuard, username: str) -> int:
    """Guess from a new address every few times, until no new one is let in. How often it was possible."""
    total = 0
    for number in range(10_000):
        count = await failures(guard, username, f"198.51.100.{number}", 5)
        total += count
        if not count:
            return total
    raise AssertionError("guessing was never stopped")


async def test_wrong_passwords_of_one_address_for_one_user_are_few(database: TransactionalDatabase) -> None:
    guard, clock = guard_of(database)
    assert await failures(guard, "alice", HOME, 1000) == PAIR_FAILURES_MAX
    assert await is_let_in(guard, "bob", HOME)
    assert await is_let_in(guard, "alice", "192.0.2.2")
    clock.now += 30
    assert await failures(guard, "alice", HOME, 1000) == 1


async def test_wrong_passwords_of_one_address_for_many_users_are_bounded(database: TransactionalDatabase) -> None:
    guard, _ = guard_of(database)
    tried = [await is_let_in(guard, f"user{number}", HOME) for number in range(ADDRESS_FAILURES_MAX + 5)]
    assert tried == [True] * ADDRESS_FAILURES_MAX + [False] * 5
    assert await is_let_in(guard, "alice", "192.0.2.2")


async def test_wrong_passwords_for_one_user_are_bounded_and_do_not_keep_the_owner_out(
    database: TransactionalDatabase,
) -> None:
    await owner_of(database)
    guard, clock = guard_of(database)
    assert await exhaust(guard, "alice") == USER_FAILURES_MAX
    assert not await is_let_in(guard, "alice", "203.0.113.1")
    assert await is_let_in(guard, "alice", HOME)
    guard.give_back("alice", HOME)
    clock.now += USER_FORGOTTEN_SECONDS
    assert await is_let_in(guard, "alice", "203.0.113.1")


async def test_right_passwords_count_as_nothing(database: TransactionalDatabase) -> None:
    guard, _ = guard_of(database)
    for _ in range(3 * ADDRESS_FAILURES_MAX):
        await guard.begin("alice", HOME)
        guard.give_back("alice", HOME)


async def test_attempts_at_once_are_all_counted(database: TransactionalDatabase) -> None:
    guard, _ = guard_of(database)
    let_in = await asyncio.gather(*(is_let_in(guard, "alice", HOME) for _ in range(200)))
    assert sum(let_in) == PAIR_FAILURES_MAX


async def test_name_that_nobody_can_have_is_counted_in_little_memory(database: TransactionalDatabase) -> None:
    guard, _ = guard_of(database)
    name = "x" * 50_000
    assert await failures(guard, name, HOME, 1000) == PAIR_FAILURES_MAX
    assert max(len(str(key)) for limit in guard.limits for key in limit._buckets) < 200


def test_buckets_of_different_kinds_have_different_names(database: TransactionalDatabase) -> None:
    """Servers that share a Redis tell buckets apart by name and key, and the keys are made of what clients send."""
    guard, _ = guard_of(database)
    assert len({limit.name for limit in guard.limits}) == len(guard.limits)


async def test_address_is_forgotten_when_it_was_not_used_for_half_a_year(database: TransactionalDatabase) -> None:
    user_id = await owner_of(database)
    assert await database.access.has_logged_in_from("alice", HOME)
    assert not await database.access.has_logged_in_from("bob", HOME)
    later = NOW + 181 * 24 * 3600 * 10**9
    await database.access.store_refresh_token("later", user_id, later, later + 1, address="192.0.2.9")
    assert not await database.access.has_logged_in_from("alice", HOME)
    assert await database.access.has_logged_in_from("alice", "192.0.2.9")


async def test_logins_from_one_address_at_once_are_all_stored(database: TransactionalDatabase) -> None:
    user_id = await owner_of(database)
    await asyncio.gather(
        *(
            database.access.store_refresh_token(f"t{number}", user_id, NOW, NOW + 1, address=HOME)
            for number in range(20)
        )
    )
    assert await database.access.has_logged_in_from("alice", HOME)


@pytest.mark.parametrize("is_replayed", [False, True])
async def test_refresh_token_that_comes_again_is_in_the_audit_log(
    database: TransactionalDatabase, is_replayed: bool
) -> None:
    await owner_of(database)
    await database.access.rotate_refresh_token("token", "next", NOW, NOW + 1, address=HOME)
    if is_replayed:
        again = await database.access.rotate_refresh_token("token", "third", NOW, NOW + 1, address="203.0.113.9")
        assert again == LoginEnded("token")
    acts = [(act.actor, act.action, act.outcome, act.detail) for act in (await database.audit.acts()).items]
    replay = ("alice", "refresh_token.replay", "LOGIN_ENDED", {"address": "203.0.113.9"})
    assert acts == ([replay] if is_replayed else [])
