"""Secrets, tokens, permissions and limits, on a clock of the test's own."""

import asyncio
from pathlib import Path

import pytest
from msgspec import structs

from trading_engine.database.transactional.records import Role
from trading_engine.servers.tes.connections import AddressCounts
from trading_engine.servers.tes.errors import ApiError
from trading_engine.servers.tes.services import credentials, rate_limits
from trading_engine.servers.tes.services.allowances import Allowances
from trading_engine.servers.tes.services.credentials import (
    NO_PASSWORD,
    AccessTokens,
    ApiKeySecrets,
    Passwords,
    Principal,
    SecretError,
    load_master_secret,
)
from trading_engine.servers.tes.services.permissions import Permission, permissions_of_scopes
from trading_engine.servers.tes.services.rate_limits import RateLimit, address_key

ANN = Principal(1, "ann", "trader", 7)
MASTER = b"m" * 40


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def code_of(error: pytest.ExceptionInfo[ApiError]) -> str:
    return error.value.code


# The master secret


def test_secret_is_made_once_and_readable_by_its_owner_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRADING_ENGINE_SECRET", raising=False)
    first = load_master_secret(tmp_path / "data")
    assert len(first) >= 32
    assert load_master_secret(tmp_path / "data") == first
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["secret"]
    assert (tmp_path / "data" / "secret").stat().st_mode & 0o777 == 0o600


def test_secret_of_the_environment_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRADING_ENGINE_SECRET", "e" * 32)
    assert load_master_secret(tmp_path) == b"e" * 32
    assert list(tmp_path.iterdir()) == []


def test_secret_that_is_too_short_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRADING_ENGINE_SECRET", "short")
    with pytest.raises(SecretError, match="at least 32"):
        load_master_secret(tmp_path)
    monkeypatch.delenv("TRADING_ENGINE_SECRET")
    (tmp_path / "secret").write_text("short\n")
    with pytest.raises(SecretError, match="too short"):
        load_master_secret(tmp_path)


# Tokens and keys


def test_token_is_good_until_it_expires_also_when_it_was_checked_before() -> None:
    clock = Clock()
    tokens = AccessTokens(MASTER, 900, clock)
    token = tokens.issue(ANN)
    assert tokens.check(token) == tokens.check(token) == ANN
    clock.now += 899
    assert tokens.check(token) == ANN
    clock.now += 1
    for _ in range(2):
        with pytest.raises(ApiError) as error:
            tokens.check(token)
        assert code_of(error) == "TOKEN_EXPIRED"


def test_token_of_another_secret_is_refused() -> None:
    token = AccessTokens(b"x" * 40, 900, Clock()).issue(ANN)
    with pytest.raises(ApiError) as error:
        AccessTokens(MASTER, 900, Clock()).check(token)
    assert code_of(error) == "NOT_AUTHENTICATED"


def test_tokens_remembered_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(credentials, "VERIFIED_TOKENS_MAX", 3)
    tokens = AccessTokens(MASTER, 900, Clock())
    made = [tokens.issue(ANN) for _ in range(10)]
    assert [tokens.check(token) for token in made + made[::-1]] == [ANN] * 20
    assert len(tokens._verified) == 3


def test_key_secret_is_derived_and_fits_its_own_key_only() -> None:
    keys = ApiKeySecrets(MASTER)
    assert keys.secret_of("k1") == ApiKeySecrets(MASTER).secret_of("k1") != keys.secret_of("k2")
    assert keys.matches("k1", keys.secret_of("k1"))
    assert not keys.matches("k2", keys.secret_of("k1"))
    assert not keys.matches("k1", "\ud800")
    assert len({keys.new_key_id() for _ in range(100)}) == 100


async def test_password_is_verified_and_one_that_is_none_never() -> None:
    passwords = Passwords()
    hashed = await passwords.hash("right-password")
    assert hashed.startswith("$argon2id$")
    assert await passwords.verify(hashed, "right-password")
    assert not await passwords.verify(hashed, "wrong-password")
    assert not await passwords.verify(None, "right-password")
    assert not await passwords.verify(NO_PASSWORD, NO_PASSWORD)
    assert not await passwords.verify(NO_PASSWORD, "")


# Limits


def test_bucket_gives_its_burst_then_its_rate() -> None:
    clock = Clock()
    limit = RateLimit("orders", 10, 3, clock)
    assert [limit.take("a") for _ in range(3)] == [2, 1, 0]
    with pytest.raises(ApiError) as error:
        limit.take("a")
    assert code_of(error) == "RATE_LIMITED"
    assert dict(error.value.headers) == {
        b"retry-after": b"1",
        b"x-ratelimit-limit": b"3",
        b"x-ratelimit-remaining": b"0",
    }
    assert limit.take("b") == 2
    clock.now += 0.25
    assert [limit.take("a") for _ in range(2)] == [1, 0]
    clock.now += 3600
    assert limit.take("a") == 2


def test_bucket_says_how_long_to_wait() -> None:
    clock = Clock()
    limit = RateLimit("logins", 1 / 30, 1, clock)
    limit.take("a")
    clock.now += 5
    with pytest.raises(ApiError) as error:
        limit.check("a")
    assert dict(error.value.headers)[b"retry-after"] == b"25"


def test_buckets_are_bounded_and_full_ones_go_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rate_limits, "BUCKETS_MAX", 3)
    clock = Clock()
    limit = RateLimit("requests", 1, 2, clock)
    limit.take("old")
    clock.now += 60
    for key in ("a", "a", "b", "c", "d"):
        limit.take(key)
    assert len(limit._buckets) == 3
    assert "old" not in limit._buckets


# Allowances


def principal(role: str = "trader", key_id: str = "", rate_percent: int = 100) -> Principal:
    permissions = permissions_of_scopes(["trade"]) if key_id else None
    return Principal(1, "ann", role, 7, key_id, permissions, rate_percent)


def allowances(burst: int = 10) -> Allowances:
    clock = Clock()
    return Allowances(RateLimit("orders", 1, burst, clock), RateLimit("requests", 1, burst, clock), 3)


def orders_until_refused(given: Allowances, sender: Principal) -> list[int]:
    """What was left after each."""
    left = []
    while True:
        try:
            left.append(int(dict(given.take_orders(sender))[b"x-ratelimit-remaining"]))
        except ApiError as error:
            if error.code != "RATE_LIMITED":
                raise
            return left


def test_market_maker_may_send_a_multiple() -> None:
    assert orders_until_refused(allowances(), principal("market_maker")) == list(range(29, -1, -1))


def test_key_has_a_share_of_what_its_account_has() -> None:
    given = allowances()
    assert orders_until_refused(given, principal(key_id="k1", rate_percent=40)) == [3, 2, 1, 0]
    assert orders_until_refused(given, principal(key_id="k2", rate_percent=40)) == [3, 2, 1, 0]
    assert orders_until_refused(given, principal()) == [1, 0]


def test_request_of_more_weight_takes_more() -> None:
    given = allowances()
    assert dict(given.take_request(None, "192.0.2.1", 4))[b"x-ratelimit-remaining"] == b"6"
    assert dict(given.take_request(principal(), "192.0.2.1", 3))[b"x-ratelimit-remaining"] == b"7"
    with pytest.raises(ApiError):
        given.take_request(None, "192.0.2.1", 7)


def test_orders_of_who_may_not_trade_cost_nothing() -> None:
    given = allowances(burst=1)
    with pytest.raises(ApiError) as error:
        given.take_orders(principal("analyst"))
    assert code_of(error) == "NOT_ALLOWED"
    assert orders_until_refused(given, principal()) == [0]


@pytest.mark.parametrize(
    ("address", "key"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
        ("no:address", "no:address"),
    ],
)
def test_address_is_counted_as_what_one_client_has(address: str, key: str) -> None:
    assert address_key(address) == key


def test_connections_are_counted_by_address_and_networks_of_ipv6() -> None:
    counts = AddressCounts(2, frozenset({"192.0.2.9"}))
    assert [counts.arrive(address) for address in ("192.0.2.1", "192.0.2.1", "192.0.2.1")] == [True, True, False]
    assert [counts.arrive(f"2001:db8::{number}") for number in (1, 2, 3)] == [True, True, False]
    assert [counts.arrive("192.0.2.9") for _ in range(4)] == [True] * 4
    assert counts.total == 10
    for address in ["192.0.2.1"] * 3 + ["2001:db8::7"] * 3 + ["192.0.2.9"] * 4:
        counts.leave(address)
    assert counts.total == 0
    assert counts.arrive("192.0.2.1")


# Permissions


def test_key_never_does_more_than_its_owner() -> None:
    every_scope = permissions_of_scopes(["read", "trade", "admin"])
    for role in Role:
        key = Principal(1, "ann", role, 7, "k1", every_scope)
        owner = Principal(1, "ann", role, 7)
        assert {p for p in Permission if key.may(p)} < {p for p in Permission if owner.may(p)}


def test_role_and_scope_that_are_not_known_may_nothing() -> None:
    assert not any(Principal(1, "ann", "king", 7).may(permission) for permission in Permission)
    assert permissions_of_scopes(["everything"]) == frozenset()


def test_token_is_void_when_access_changed_after_it_was_issued() -> None:
    clock = Clock()
    tokens = AccessTokens(MASTER, 900, clock)
    old = tokens.issue(ANN)
    assert tokens.check(old) == ANN
    clock.now += 1
    assert tokens.void(ANN.user_id, clock.now)
    assert not tokens.void(ANN.user_id, clock.now)
    with pytest.raises(ApiError) as error:
        tokens.check(old)
    assert code_of(error) == "NOT_AUTHENTICATED"
    assert tokens.check(tokens.issue(ANN)) == ANN


def test_token_is_void_when_its_login_has_ended_and_others_are_not() -> None:
    clock = Clock()
    tokens = AccessTokens(MASTER, 900, clock)
    first, second = (structs.replace(ANN, login=login) for login in ("first", "second"))
    checked, unseen, other, without = (tokens.issue(principal) for principal in (first, first, second, ANN))
    assert tokens.check(checked) == first
    assert (tokens.end_login("first"), tokens.end_login("first")) == (True, False)
    for token in (checked, unseen, tokens.issue(first)):
        with pytest.raises(ApiError) as error:
            tokens.check(token)
        assert code_of(error) == "NOT_AUTHENTICATED"
    assert [tokens.check(token) for token in (other, without)] == [second, ANN]


def test_login_that_ended_is_forgotten_with_its_last_token() -> None:
    clock = Clock()
    tokens = AccessTokens(MASTER, 900, clock)
    tokens.end_login("first")
    clock.now += 900
    tokens.end_login("second")
    assert list(tokens._ended_logins) == ["second"]


async def test_passwords_that_wait_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(credentials, "PASSWORDS_WAITING_MAX", 3)
    passwords = Passwords()
    results = await asyncio.gather(*(passwords.verify(None, "x") for _ in range(5)), return_exceptions=True)
    assert [isinstance(result, ApiError) for result in results] == [False, False, False, True, True]
    assert not await passwords.verify(None, "x")
