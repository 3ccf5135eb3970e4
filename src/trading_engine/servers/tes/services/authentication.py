"""Who is asking: logins, tokens and API keys against the users in the database."""

import hashlib
import hmac
import time
from collections.abc import Callable, Iterable

import msgspec

from trading_engine.database.transactional.access import AccessRepository
from trading_engine.database.transactional.audit import OK, Act, AuditLog
from trading_engine.database.transactional.records import ApiKey, Portfolio, User
from trading_engine.servers.tes.errors import ApiError, not_authenticated
from trading_engine.servers.tes.services.credentials import (
    PASSWORD_CHARACTERS_MAX,
    AccessTokens,
    ApiKeySecrets,
    Passwords,
    Principal,
    new_refresh_token,
    refresh_token_hash,
)
from trading_engine.servers.tes.services.rate_limits import RateLimit

API_KEYS_PER_USER_MAX = 50
API_KEY_LABEL_CHARACTERS_MAX = 100
KNOWN_KEYS_MAX = 10_000
KNOWN_KEY_SECONDS = 30.0
"""A key that was revoked through another process is honoured here for so long at most."""
FAILED_LOGINS_MAX = 10
FAILED_LOGIN_FORGOTTEN_SECONDS = 30.0
"""Of the wrong passwords for one user from one address, one is forgotten each time."""
NANOSECONDS = 1_000_000_000


class TokenPair(msgspec.Struct, frozen=True):
    access_token: str
    token_type: str
    expires_in: int
    refresh_token: str


class Authentication:
    def __init__(
        self,
        access: AccessRepository,
        audit: AuditLog,
        tokens: AccessTokens,
        key_secrets: ApiKeySecrets,
        passwords: Passwords,
        refresh_token_days: int,
        logins_per_minute: int,
        now_ns: Callable[[], int] = time.time_ns,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._access = access
        self._audit = audit
        self._tokens = tokens
        self._key_secrets = key_secrets
        self._passwords = passwords
        self._refresh_token_ns = refresh_token_days * 24 * 3600 * NANOSECONDS
        self._now_ns = now_ns
        self._monotonic_s = monotonic_s
        self._known_keys: dict[str, tuple[Principal, float]] = {}
        self._logins = RateLimit("logins", logins_per_minute / 60, logins_per_minute, monotonic_s)
        self._failures = RateLimit(
            "wrong passwords for this user", 1 / FAILED_LOGIN_FORGOTTEN_SECONDS, FAILED_LOGINS_MAX, monotonic_s
        )

    # With each request

    def by_token(self, token: str) -> Principal:
        """Raises `ApiError`."""
        return self._tokens.check(token)

    async def by_key(self, key_id: str, secret: str) -> Principal:
        """Raises `ApiError`. Only a secret that is right makes it to the database."""
        if not self._key_secrets.matches(key_id, secret):
            raise not_authenticated("The API key or its secret is wrong.")
        return await self.by_key_id(key_id)

    def is_signature(self, key_id: str, payload: bytes, signature: str) -> bool:
        """Whether somebody who has the key's secret signed this, with HMAC-SHA256 in hexadecimal digits."""
        expected = hmac.new(self._key_secrets.secret_of(key_id).encode(), payload, hashlib.sha256).hexdigest()
        return hmac.compare_digest(expected.encode(), signature.encode("utf-8", "replace"))

    async def by_key_id(self, key_id: str) -> Principal:
        """Whose key it is, which proves nothing yet. Raises `ApiError`."""
        known = self._known_keys.get(key_id)
        if known is not None and known[1] > self._monotonic_s():
            return known[0]
        return await self._look_up_key(key_id)

    async def by_headers(self, headers: Iterable[tuple[bytes, bytes]]) -> Principal | None:
        """Who sent these headers, or None when they name nobody. Raises `ApiError` for credentials that are wrong."""
        key = secret = None
        for name, value in headers:
            if name == b"authorization":
                return self.by_token(bearer_token(value))
            if name == b"x-api-key":
                key = value.decode("latin-1")
            elif name == b"x-api-secret":
                secret = value.decode("latin-1")
        if key is None and secret is None:
            return None
        if key is None or secret is None:
            raise not_authenticated("X-API-Key and X-API-Secret belong together: one of them is missing.")
        return await self.by_key(key, secret)

    async def _look_up_key(self, key_id: str) -> Principal:
        key = await self._access.find_api_key(key_id)
        user = None if key is None else await self._access.user(key.user_id)
        if user is None:
            self._known_keys.pop(key_id, None)
            raise not_authenticated("This API key was deleted.")
        principal = await self.principal_of(user)
        if len(self._known_keys) >= KNOWN_KEYS_MAX:
            del self._known_keys[next(iter(self._known_keys))]
        self._known_keys[key_id] = (principal, self._monotonic_s() + KNOWN_KEY_SECONDS)
        return principal

    async def principal_of(self, user: User) -> Principal:
        portfolios = await self._access.portfolios_of_user(user.user_id)
        return Principal(user.user_id, user.username, user.role, portfolios[0].portfolio_id if portfolios else 0)

    async def portfolios_of(self, principal: Principal) -> tuple[Portfolio, ...]:
        return await self._access.portfolios_of_user(principal.user_id)

    # Logins

    async def log_in(self, username: str, password: str, address: str) -> TokenPair:
        self._logins.take(address)
        self._failures.check((username, address))
        user = await self._access.find_user(username)
        is_right = len(password) <= PASSWORD_CHARACTERS_MAX and await self._passwords.verify(
            None if user is None else user.password_hash, password
        )
        if user is None or not is_right:
            self._failures.take((username, address))
            refusal = ApiError("INVALID_CREDENTIALS", "The user name or the password is wrong.")
            await self._audit.record(self._login(username, address, refusal.code))
            raise refusal
        refresh_token = new_refresh_token()
        now_ns = self._now_ns()
        await self._access.store_refresh_token(
            refresh_token_hash(refresh_token),
            user.user_id,
            now_ns,
            now_ns + self._refresh_token_ns,
            act=self._login(username, address, OK),
        )
        return self._pair(await self.principal_of(user), refresh_token)

    def _login(self, username: str, address: str, outcome: str) -> Act:
        return Act(self._now_ns(), username, "login", username, outcome, {"address": address})

    async def refresh(self, refresh_token: str, address: str) -> TokenPair:
        """A new pair; the old refresh token is void. One that was used before ends the whole login."""
        self._logins.take(address)
        new_token = new_refresh_token()
        now_ns = self._now_ns()
        stored = await self._access.rotate_refresh_token(
            refresh_token_hash(refresh_token), refresh_token_hash(new_token), now_ns, now_ns + self._refresh_token_ns
        )
        user = None if stored is None else await self._access.user(stored.user_id)
        if user is None:
            raise ApiError("INVALID_CREDENTIALS", "The refresh token is not valid, or not any more: log in again.")
        return self._pair(await self.principal_of(user), new_token)

    async def log_out(self, refresh_token: str) -> None:
        """End the login that the token belongs to; one that is unknown needs no ending."""
        await self._access.revoke_refresh_token(refresh_token_hash(refresh_token), self._now_ns())

    def _pair(self, principal: Principal, refresh_token: str) -> TokenPair:
        return TokenPair(self._tokens.issue(principal), "bearer", self._tokens.lifetime_s, refresh_token)

    # API keys

    async def api_keys_of(self, principal: Principal) -> tuple[ApiKey, ...]:
        return await self._access.api_keys_of_user(principal.user_id)

    async def create_api_key(self, user_id: int, username: str, label: str) -> tuple[ApiKey, str]:
        """The key and its secret, which can be computed again but is shown this once."""
        if len(label) > API_KEY_LABEL_CHARACTERS_MAX:
            raise ApiError(
                "INVALID_REQUEST",
                f"A label has up to {API_KEY_LABEL_CHARACTERS_MAX} characters; this one has {len(label)}.",
                field="label",
                value=label,
            )
        if len(await self._access.api_keys_of_user(user_id)) >= API_KEYS_PER_USER_MAX:
            raise ApiError(
                "TOO_MANY_API_KEYS",
                f"A user has up to {API_KEYS_PER_USER_MAX} API keys: delete one that is not needed.",
            )
        key_id, now_ns = self._key_secrets.new_key_id(), self._now_ns()
        act = Act(now_ns, username, "api_key.create", key_id, detail={"label": label})
        key = await self._access.create_api_key(
            key_id, user_id, label, self._key_secrets.fingerprint(key_id), now_ns, act=act
        )
        return key, self._key_secrets.secret_of(key_id)

    async def delete_api_key(self, principal: Principal, key_id: str) -> None:
        self._known_keys.pop(key_id, None)
        now_ns = self._now_ns()
        act = Act(now_ns, principal.username, "api_key.delete", key_id)
        if not await self._access.revoke_api_key(principal.user_id, key_id, now_ns, act=act):
            raise ApiError("NOT_FOUND", "You have no such API key.", field="key_id", value=key_id)


def bearer_token(value: bytes) -> str:
    scheme, _, token = value.decode("latin-1").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise not_authenticated("The Authorization header has to be 'Bearer' and an access token.")
    return token.strip()
