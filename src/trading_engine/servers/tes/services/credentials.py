"""Proofs of identity: passwords, access tokens, refresh tokens, API keys. Nothing here knows the database.

Everything secret is derived from one master secret, so that no secret has to be stored:

- access tokens are HS256 JSON web tokens signed with HMAC(master, "access-token");
- an API key's secret is HMAC(master, "api-key:" + key id): it can be computed again to check it, or to check a request's signature,
  and a stolen database does not contain it;
- refresh tokens are random; the database holds only their SHA-256;
- passwords are hashed with argon2id, off the event loop, a few at a time because each takes 19 MiB.
"""

import asyncio
import base64
import hashlib
import hmac
import os
import re
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import ParamSpec, TypeVar

import argon2
import jwt
import msgspec

from trading_engine.servers.tes.errors import ApiError, not_allowed, not_authenticated
from trading_engine.servers.tes.services.permissions import Permission, permissions_of_role

SECRET_VARIABLE = "TRADING_ENGINE_SECRET"  # noqa: S105 - the name of a variable
SECRET_CHARACTERS_MIN = 32
SECRET_FILE = "secret"  # noqa: S105 - the name of a file
TOKEN_ISSUER = "py-trading-engine"  # noqa: S105
TOKEN_CHARACTERS_MAX = 2048
VERIFIED_TOKENS_MAX = 10_000
PASSWORD_HASHES_AT_ONCE = 2
PASSWORDS_WAITING_MAX = 200
"""About five seconds of work; whoever comes then is asked to come again."""
"""OWASP's second recommendation for argon2id: 19 MiB, two passes, one lane."""
ARGON2_MEMORY_KIB = 19 * 1024
ARGON2_PASSES = 2
KEY_ID = re.compile(r"k[0-9a-f]{24}")
NO_PASSWORD = "!"  # noqa: S105 - no hash has this form
"""Stands for a hash where nobody is to log in with a password."""

P = ParamSpec("P")
Result = TypeVar("Result")


class SecretError(Exception):
    """The master secret cannot be used; the message says what to do."""


class Principal(msgspec.Struct, frozen=True):
    """Who is asking. Each user has one client with one portfolio, and the portfolio's id is the account's at the venue."""

    user_id: int
    username: str
    role: str
    account_id: int
    key_id: str = ""
    """The API key that is used; empty with a login."""
    key_permissions: frozenset[Permission] | None = None
    """What the key's scopes have; None with a login, which has all that the role has."""
    rate_percent: int = 100
    """How much of the account's rate limits the key may use."""
    login: str = ""
    """The login that an access token comes from: the family of its refresh tokens. Empty with a key."""

    def may(self, permission: Permission) -> bool:
        return permission in permissions_of_role(self.role) and (
            self.key_permissions is None or permission in self.key_permissions
        )

    def require(self, permission: Permission) -> None:
        """Raises `ApiError`."""
        if self.may(permission):
            return
        if permission in permissions_of_role(self.role):
            raise not_allowed(f"This API key may not {permission}: its scopes do not include that.")
        raise not_allowed(f"The role {self.role} may not {permission}.")


class AccessClaims(msgspec.Struct, frozen=True):
    """Times are Unix seconds."""

    principal: Principal
    expires_at: float
    issued_at: float


def load_master_secret(data_path: Path) -> bytes:
    """From the environment, or from `<data_dir>/secret`, which is made at the first start with mode 0600."""
    from_environment = os.environ.get(SECRET_VARIABLE, "")
    if from_environment:
        if len(from_environment) < SECRET_CHARACTERS_MIN:
            raise SecretError(f"{SECRET_VARIABLE} has to be at least {SECRET_CHARACTERS_MIN} characters long.")
        return from_environment.encode()
    path = data_path / SECRET_FILE
    if not path.exists():
        _write_new_secret(path)
    secret = path.read_text(encoding="ascii").strip()
    if len(secret) < SECRET_CHARACTERS_MIN:
        raise SecretError(
            f"{path} is too short to be a secret: remove it, and every login and API key has to be made anew."
        )
    return secret.encode()


def _write_new_secret(path: Path) -> None:
    """Two processes may start at once: the one whose link comes first wins, and neither sees half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    write_private_file(draft, secrets.token_urlsafe(48) + "\n")
    try:
        os.link(draft, path)
    except FileExistsError:
        pass
    finally:
        draft.unlink()


def write_private_file(path: Path, text: str) -> None:
    """Write a file that only its owner can read, never readable by others in between."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        os.fchmod(file.fileno(), 0o600)
        file.write(text)


def derive(master: bytes, purpose: str) -> bytes:
    return hmac.digest(master, purpose.encode(), hashlib.sha256)


def base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Passwords:
    """argon2id hashes, computed in threads. A wrong user name costs as much time as a wrong password."""

    def __init__(self) -> None:
        self._hasher = argon2.PasswordHasher(time_cost=ARGON2_PASSES, memory_cost=ARGON2_MEMORY_KIB, parallelism=1)
        self._slots = asyncio.Semaphore(PASSWORD_HASHES_AT_ONCE)
        self._waiting = 0
        self._nobody = self._hasher.hash(secrets.token_hex(16))

    async def hash(self, password: str) -> str:
        return await self._in_thread(self._hasher.hash, password)

    async def verify(self, password_hash: str | None, password: str) -> bool:
        """Whether the password is right; None stands for a user that does not exist."""
        return await self._in_thread(self._verify, password_hash, password)

    def is_outdated(self, password_hash: str) -> bool:
        """Whether it was made with other parameters than hashes are made with now."""
        return self._hasher.check_needs_rehash(password_hash)

    async def _in_thread(self, work: Callable[P, Result], *arguments: P.args, **named: P.kwargs) -> Result:
        """Raises `ApiError` where too many are waiting: a flood of logins must not pile up."""
        if self._waiting >= PASSWORDS_WAITING_MAX:
            raise ApiError(
                "RATE_LIMITED", "Too many logins at once. Try again in a moment.", headers=((b"retry-after", b"1"),)
            )
        self._waiting += 1
        try:
            async with self._slots:
                return await asyncio.to_thread(work, *arguments, **named)
        finally:
            self._waiting -= 1

    def _verify(self, password_hash: str | None, password: str) -> bool:
        can_match = password_hash is not None and password_hash != NO_PASSWORD
        try:
            is_right = self._hasher.verify(password_hash if password_hash and can_match else self._nobody, password)
        except argon2.exceptions.VerificationError:
            return False
        return is_right and can_match


class AccessTokens:
    """Makes and checks access tokens. A token that was checked once is remembered until it expires (88 µs become 0.1)."""

    def __init__(self, master: bytes, lifetime_s: int, now: Callable[[], float]) -> None:
        self._key = derive(master, "access-token")
        self.lifetime_s = lifetime_s
        self._now = now
        self._verified: dict[str, AccessClaims] = {}
        self._void_before: dict[int, float] = {}
        """By user: tokens that were issued before this time are void."""
        self._ended_logins: dict[str, float] = {}
        """By login, oldest first: until when there can be tokens of it, all of which are void."""

    def issue(self, principal: Principal) -> str:
        now = self._now()
        claims = {
            "iss": TOKEN_ISSUER,
            "sub": str(principal.user_id),
            "name": principal.username,
            "role": principal.role,
            "account": str(principal.account_id),
            "login": principal.login,
            "iat": now,
            "exp": now + self.lifetime_s,
            "jti": secrets.token_urlsafe(9),
        }
        return jwt.encode(claims, self._key, algorithm="HS256")

    def check(self, token: str) -> Principal:
        """Raises `ApiError` for a token that is not ours, was changed or has expired."""
        claims = self._verified.get(token)
        if claims is None:
            claims = self._verify(token)
            if len(self._verified) >= VERIFIED_TOKENS_MAX:
                del self._verified[next(iter(self._verified))]
            self._verified[token] = claims
        if claims.expires_at <= self._now():
            self._verified.pop(token, None)
            raise token_expired()
        if claims.issued_at < self._void_before.get(claims.principal.user_id, 0.0):
            self._verified.pop(token, None)
            raise not_authenticated("The access token is void: the user's access was changed. Log in again.")
        if claims.principal.login in self._ended_logins:
            self._verified.pop(token, None)
            raise not_authenticated("The access token is void: its login has ended. Log in again.")
        return claims.principal

    def void(self, user_id: int, issued_before: float) -> bool:
        """Whether that is news. What is older than any token can be is forgotten."""
        if issued_before <= self._void_before.get(user_id, 0.0):
            return False
        oldest = self._now() - self.lifetime_s
        self._void_before = {user: time for user, time in self._void_before.items() if time >= oldest}
        self._void_before[user_id] = issued_before
        return True

    def end_login(self, login: str) -> bool:
        """Whether that is news. A login is forgotten when the last token that it can have has expired."""
        now = self._now()
        while self._ended_logins and next(iter(self._ended_logins.values())) <= now:
            del self._ended_logins[next(iter(self._ended_logins))]
        if login in self._ended_logins:
            return False
        self._ended_logins[login] = now + self.lifetime_s
        return True

    def _verify(self, token: str) -> AccessClaims:
        if len(token) > TOKEN_CHARACTERS_MAX:
            raise not_authenticated("The access token is not valid.")
        try:
            claims = jwt.decode(
                token,
                self._key,
                algorithms=["HS256"],
                issuer=TOKEN_ISSUER,
                options={
                    "require": ["exp", "iat", "sub", "account", "role", "name"],
                    "verify_exp": False,
                    "verify_iat": False,
                },
            )
            principal = Principal(
                int(claims["sub"]),
                str(claims["name"]),
                str(claims["role"]),
                int(claims["account"]),
                login=str(claims.get("login", "")),
            )
            return AccessClaims(principal, float(claims["exp"]), float(claims["iat"]))
        except (jwt.InvalidTokenError, ValueError, TypeError) as error:
            raise not_authenticated("The access token is not valid.") from error


def token_expired() -> ApiError:
    return ApiError(
        "TOKEN_EXPIRED",
        "The access token has expired: get a new one with the refresh token, or log in again.",
        headers=((b"www-authenticate", b'Bearer error="invalid_token"'),),
    )


class ApiKeySecrets:
    """The secrets of API keys, computed from their ids."""

    def __init__(self, master: bytes) -> None:
        self._master = master

    @staticmethod
    def is_key_id(text: str) -> bool:
        return KEY_ID.fullmatch(text) is not None

    def new_key_id(self) -> str:
        return "k" + secrets.token_hex(12)

    def secret_of(self, key_id: str) -> str:
        return base64url(derive(self._master, "api-key:" + key_id))

    def fingerprint(self, key_id: str) -> str:
        """What the database keeps of the secret: it tells an operator whether the master secret is still the one the key was made with."""
        return hashlib.sha256(self.secret_of(key_id).encode()).hexdigest()

    def matches(self, key_id: str, secret: str) -> bool:
        return hmac.compare_digest(self.secret_of(key_id).encode(), secret.encode("utf-8", "replace"))


def new_refresh_token() -> str:
    return secrets.token_urlsafe(32)


def refresh_token_hash(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()
