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
import secrets
from collections.abc import Callable
from pathlib import Path

import argon2
import jwt
import msgspec

from trading_engine.servers.tes.errors import ApiError, not_authenticated

SECRET_VARIABLE = "TRADING_ENGINE_SECRET"  # noqa: S105 - the name of a variable
SECRET_CHARACTERS_MIN = 32
SECRET_FILE = "secret"  # noqa: S105 - the name of a file
TOKEN_ISSUER = "py-trading-engine"  # noqa: S105
TOKEN_CHARACTERS_MAX = 2048
VERIFIED_TOKENS_MAX = 10_000
PASSWORD_HASHES_AT_ONCE = 2
PASSWORD_CHARACTERS_MAX = 256
"""OWASP's second recommendation for argon2id: 19 MiB, two passes, one lane."""
ARGON2_MEMORY_KIB = 19 * 1024
ARGON2_PASSES = 2
NO_PASSWORD = "!"  # noqa: S105 - no hash has this form
"""Stands for a hash where nobody is to log in with a password."""


class SecretError(Exception):
    """The master secret cannot be used; the message says what to do."""


class Principal(msgspec.Struct, frozen=True):
    """Who is asking. Each user has one client with one portfolio, and the portfolio's id is the account's at the venue."""

    user_id: int
    username: str
    role: str
    account_id: int


class AccessClaims(msgspec.Struct, frozen=True):
    principal: Principal
    expires_at: int
    """Unix seconds."""


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
        self._nobody = self._hasher.hash(secrets.token_hex(16))

    async def hash(self, password: str) -> str:
        async with self._slots:
            return await asyncio.to_thread(self._hasher.hash, password)

    async def verify(self, password_hash: str | None, password: str) -> bool:
        """Whether the password is right; None stands for a user that does not exist."""
        async with self._slots:
            return await asyncio.to_thread(self._verify, password_hash, password)

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

    def issue(self, principal: Principal) -> str:
        now = int(self._now())
        claims = {
            "iss": TOKEN_ISSUER,
            "sub": str(principal.user_id),
            "name": principal.username,
            "role": principal.role,
            "account": str(principal.account_id),
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
        return claims.principal

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
                    "require": ["exp", "sub", "account", "role", "name"],
                    "verify_exp": False,
                    "verify_iat": False,
                },
            )
            principal = Principal(int(claims["sub"]), str(claims["name"]), str(claims["role"]), int(claims["account"]))
            return AccessClaims(principal, int(claims["exp"]))
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
