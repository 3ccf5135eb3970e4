"""Secrets, tokens and limits, on a clock of the test's own."""

from pathlib import Path

import pytest

from trading_engine.servers.tes.errors import ApiError
from trading_engine.servers.tes.services import credentials, rate_limits
from trading_engine.servers.tes.services.credentials import (
    NO_PASSWORD,
    AccessTokens,
    ApiKeySecrets,
    Passwords,
    Principal,
    SecretError,
    load_master_secret,
)
from trading_engine.servers.tes.services.rate_limits import RateLimit

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
