"""Who is asking: logins, tokens and API keys against the users in the database."""

import hashlib
import hmac
import ipaddress
import time
from collections.abc import Callable, Iterable, Sequence

import msgspec

from trading_engine.database.transactional.access import AccessRepository
from trading_engine.database.transactional.audit import OK, Act, AuditLog
from trading_engine.database.transactional.records import ApiKey, LoginEnded, Portfolio, User
from trading_engine.database.utilities.flags import LOGINS
from trading_engine.servers.tes.errors import ApiError, invalid_request, not_allowed, not_authenticated, switched_off
from trading_engine.servers.tes.models.requests import USERNAME, ApiKeyRequest
from trading_engine.servers.tes.services.credentials import (
    AccessTokens,
    ApiKeySecrets,
    Passwords,
    Principal,
    new_refresh_token,
    refresh_token_hash,
)
from trading_engine.servers.tes.services.key_signatures import is_hmac, is_of_private_key, public_key_of
from trading_engine.servers.tes.services.login_guard import LoginGuard
from trading_engine.servers.tes.services.password_rules import PASSWORD_CHARACTERS_MAX, check_password
from trading_engine.servers.tes.services.permissions import (
    DEFAULT_SCOPES,
    Permission,
    permissions_of_role,
    permissions_of_scopes,
)
from trading_engine.servers.tes.services.rate_limits import RateLimit, address_key

API_KEYS_PER_USER_MAX = 50
API_KEY_LABEL_CHARACTERS_MAX = 100
API_KEY_ADDRESSES_MAX = 20
KNOWN_KEYS_MAX = 10_000
KNOWN_KEY_SECONDS = 30.0
"""A key is looked up again after so long, also where nothing says that it was changed."""
NANOSECONDS = 1_000_000_000

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class TokenPair(msgspec.Struct, frozen=True):
    access_token: str
    token_type: str
    expires_in: int
    refresh_token: str


class KnownKey(msgspec.Struct, frozen=True):
    principal: Principal
    networks: tuple[Network, ...]
    """Empty: from anywhere."""
    public_key: str
    """Of an owner who signs with Ed25519; else empty."""
    until_s: float


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
        takes_logins: Callable[[], bool],
        now_ns: Callable[[], int] = time.time_ns,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._access = access
        self._audit = audit
        self._tokens = tokens
        self._key_secrets = key_secrets
        self._passwords = passwords
        self._refresh_token_ns = refresh_token_days * 24 * 3600 * NANOSECONDS
        self._takes_logins = takes_logins
        self._now_ns = now_ns
        self._monotonic_s = monotonic_s
        self._known_keys: dict[str, KnownKey] = {}
        self._observers: list[Callable[[Callable[[Principal], bool]], None]] = []
        self._logins = RateLimit("logins", logins_per_minute / 60, logins_per_minute, monotonic_s)
        self._guard = LoginGuard(access, monotonic_s)

    @property
    def limits(self) -> tuple[RateLimit, ...]:
        """What servers that share a Redis count together."""
        return self._logins, *self._guard.limits

    @property
    def access_token_ns(self) -> int:
        return self._tokens.lifetime_s * NANOSECONDS

    def on_access_ended(self, observer: Callable[[Callable[[Principal], bool]], None]) -> None:
        """`observer` is given a test that says of a principal whether what it stands for has ended."""
        self._observers.append(observer)

    def access_changed(self, user_id: int, changed_ns: int) -> None:
        """From now on the user's older access tokens are void, and its keys are looked up anew."""
        if self._tokens.void(user_id, changed_ns / NANOSECONDS):
            self._end(lambda principal: principal.user_id == user_id)

    def disconnect(self, account_id: int) -> None:
        """Cut the account's WebSockets; whoever had them may come again."""
        self._end(lambda principal: principal.account_id == account_id)

    def key_revoked(self, key_id: str) -> None:
        self._end(lambda principal: principal.key_id == key_id)

    def login_ended(self, login: str) -> None:
        """From now on access tokens of this login are void."""
        if self._tokens.end_login(login):
            self._end(lambda principal: principal.login == login)

    def _end(self, has_ended: Callable[[Principal], bool]) -> None:
        self._known_keys = {
            key_id: known for key_id, known in self._known_keys.items() if not has_ended(known.principal)
        }
        for observer in self._observers:
            observer(has_ended)

    # With each request

    def by_token(self, token: str) -> Principal:
        """Raises `ApiError`."""
        return self._tokens.check(token)

    async def by_key(self, key_id: str, secret: str, address: str) -> Principal:
        """Raises `ApiError`. Only a secret that is right makes it to the database."""
        if not self._key_secrets.matches(key_id, secret):
            raise not_authenticated("The API key or its secret is wrong.")
        return await self.by_key_id(key_id, address)

    async def is_signature(self, key_id: str, payload: bytes, signature: str) -> bool:
        """Whether the key's owner signed this: with its secret (HMAC-SHA256, in hexadecimal digits) or a private key (Ed25519, in Base64).

        Raises `ApiError` where there is no such key; with a secret that is right, no database is asked.
        """
        if not is_hmac(signature):
            return is_of_private_key((await self._known_key(key_id)).public_key, payload, signature)
        expected = hmac.new(self._key_secrets.secret_of(key_id).encode(), payload, hashlib.sha256).hexdigest()
        return hmac.compare_digest(expected.encode(), signature.lower().encode())

    async def by_key_id(self, key_id: str, address: str) -> Principal:
        """Whose key it is, which proves nothing yet, if it may be used from this address. Raises `ApiError`."""
        known = await self._known_key(key_id)
        if known.networks and not is_within(address, known.networks):
            raise not_allowed(f"This API key may not be used from {address}: its addresses do not include that.")
        return known.principal

    async def _known_key(self, key_id: str) -> KnownKey:
        """Raises `ApiError`."""
        known = self._known_keys.get(key_id)
        return await self._look_up_key(key_id) if known is None or known.until_s <= self._monotonic_s() else known

    async def by_headers(self, headers: Iterable[tuple[bytes, bytes]], address: str) -> Principal | None:
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
        return await self.by_key(key, secret, address)

    async def _look_up_key(self, key_id: str) -> KnownKey:
        key = await self._access.find_api_key(key_id) if self._key_secrets.is_key_id(key_id) else None
        user = None if key is None else await self._access.user(key.user_id)
        if key is None or user is None or user.is_disabled:
            self._known_keys.pop(key_id, None)
            raise not_authenticated("This API key was deleted, or its owner was disabled.")
        known = KnownKey(
            await self.principal_of(user, key),
            tuple(ipaddress.ip_network(text) for text in key.addresses.split()),
            key.public_key,
            self._monotonic_s() + KNOWN_KEY_SECONDS,
        )
        if len(self._known_keys) >= KNOWN_KEYS_MAX:
            del self._known_keys[next(iter(self._known_keys))]
        self._known_keys[key_id] = known
        return known

    async def principal_of(self, user: User, key: ApiKey | None = None, login: str = "") -> Principal:
        portfolios = await self._access.portfolios_of_user(user.user_id)
        account_id = portfolios[0].portfolio_id if portfolios else 0
        if key is None:
            return Principal(user.user_id, user.username, user.role, account_id, login=login)
        permissions = permissions_of_scopes(key.scopes.split())
        return Principal(user.user_id, user.username, user.role, account_id, key.key_id, permissions, key.rate_percent)

    async def portfolios_of(self, principal: Principal) -> tuple[Portfolio, ...]:
        return await self._access.portfolios_of_user(principal.user_id)

    # Logins

    async def log_in(self, username: str, password: str, address: str) -> TokenPair:
        user = await self._checked_password(username, password, address, "login")
        refusal = self._why_not(user)
        if refusal is not None:
            await self._audit.record(self._act("login", username, address, refusal.code))
            raise refusal
        return await self._new_login(user, address, self._act("login", username, address, OK))

    def _why_not(self, user: User) -> ApiError | None:
        """May a user with this password not log in? Those who operate the market always may: how else could they?"""
        if user.is_disabled:
            return not_allowed("This user was disabled: ask an administrator.")
        if not self._takes_logins() and Permission.OPERATE not in permissions_of_role(user.role):
            return switched_off(LOGINS.name)
        return None

    async def change_password(self, principal: Principal, current: str, new: str, address: str) -> TokenPair:
        """All logins end, and a new one begins."""
        principal.require(Permission.MANAGE_ACCESS)
        check_password(new, principal.username, "new_password")
        user = await self._checked_password(principal.username, current, address, "password.change")
        password_hash = await self._passwords.hash(new)
        act = self._act("password.change", user.username, address, OK)
        changed_ns = self._now_ns()
        await self._access.change_user(user.user_id, changed_ns, password_hash=password_hash, act=act)
        self.access_changed(user.user_id, changed_ns)
        return await self._new_login(user, address, None)

    async def _checked_password(self, username: str, password: str, address: str, action: str) -> User:
        """The user, whose password this is. Raises `ApiError`."""
        network = address_key(address)
        self._logins.take(network)
        await self._guard.begin(username, network)
        try:
            user = await self.find_user(username)
            is_right = len(password) <= PASSWORD_CHARACTERS_MAX and await self._passwords.verify(
                None if user is None else user.password_hash, password
            )
        except BaseException:  # Nobody has learned whether it is right.
            self._guard.give_back(username, network)
            raise
        if user is None or not is_right:
            refusal = ApiError("INVALID_CREDENTIALS", "The user name or the password is wrong.")
            await self._audit.record(self._act(action, username, address, refusal.code))
            raise refusal
        self._guard.give_back(username, network)
        if self._passwords.is_outdated(user.password_hash):
            new_hash = await self._passwords.hash(password)
            await self._access.replace_password_hash(user.user_id, user.password_hash, new_hash)
        return user

    async def find_user(self, username: str) -> User | None:
        """A name that nobody can have is not looked for: it may be text that a database does not take."""
        return await self._access.find_user(username) if USERNAME.fullmatch(username) else None

    async def _new_login(self, user: User, address: str, act: Act | None) -> TokenPair:
        refresh_token = new_refresh_token()
        now_ns = self._now_ns()
        stored = await self._access.store_refresh_token(
            refresh_token_hash(refresh_token),
            user.user_id,
            now_ns,
            now_ns + self._refresh_token_ns,
            address=address_key(address),
            act=act,
        )
        return self._pair(await self.principal_of(user, login=stored.family), refresh_token)

    def _act(self, action: str, username: str, address: str, outcome: str) -> Act:
        return Act(self._now_ns(), username, action, username, outcome, {"address": address})

    async def refresh(self, refresh_token: str, address: str) -> TokenPair:
        """A new pair; the old refresh token is void. One that was used before ends the whole login."""
        self._logins.take(address_key(address))
        new_token = new_refresh_token()
        now_ns = self._now_ns()
        stored = await self._access.rotate_refresh_token(
            refresh_token_hash(refresh_token),
            refresh_token_hash(new_token),
            now_ns,
            now_ns + self._refresh_token_ns,
            address=address,
        )
        if isinstance(stored, LoginEnded):
            self.login_ended(stored.family)
            raise refresh_refused()
        user = None if stored is None else await self._access.user(stored.user_id)
        if stored is None or user is None or user.is_disabled:
            raise refresh_refused()
        return self._pair(await self.principal_of(user, login=stored.family), new_token)

    async def log_out(self, refresh_token: str) -> None:
        """End the login that the token belongs to, with its access tokens; one that is unknown needs no ending."""
        login = await self._access.revoke_refresh_token(refresh_token_hash(refresh_token), self._now_ns())
        if login is not None:
            self.login_ended(login)

    def _pair(self, principal: Principal, refresh_token: str) -> TokenPair:
        return TokenPair(self._tokens.issue(principal), "bearer", self._tokens.lifetime_s, refresh_token)

    # API keys

    async def api_keys_of(self, principal: Principal) -> tuple[ApiKey, ...]:
        principal.require(Permission.MANAGE_ACCESS)
        return await self._access.api_keys_of_user(principal.user_id)

    async def create_own_api_key(self, principal: Principal, request: ApiKeyRequest) -> tuple[ApiKey, str]:
        """The key and its secret, which can be computed again but is shown this once; empty where the owner has a private key."""
        principal.require(Permission.MANAGE_ACCESS)
        scopes = " ".join(sorted(set(request.scopes)))
        if not permissions_of_scopes(request.scopes):
            raise invalid_request("A key needs a scope, or it is good for nothing.", "scopes")
        if not 1 <= request.rate_percent <= 100:
            raise invalid_request("A key may use 1 to 100 percent.", "rate_percent", request.rate_percent)
        addresses = " ".join(checked_networks(request.addresses))
        public_key = public_key_of(request.public_key) if request.public_key else ""
        key, secret = await self.create_api_key(
            principal.user_id, principal.username, request.label, scopes, addresses, request.rate_percent, public_key
        )
        return key, "" if public_key else secret

    async def create_api_key(
        self,
        user_id: int,
        actor: str,
        label: str,
        scopes: str = " ".join(DEFAULT_SCOPES),
        addresses: str = "",
        rate_percent: int = 100,
        public_key: str = "",
    ) -> tuple[ApiKey, str]:
        if len(label) > API_KEY_LABEL_CHARACTERS_MAX:
            raise invalid_request(
                f"A label has up to {API_KEY_LABEL_CHARACTERS_MAX} characters; this one has {len(label)}.",
                "label",
                label,
            )
        if not label.isprintable():
            raise invalid_request("A label is printable text.", "label", label)
        if len(await self._access.api_keys_of_user(user_id)) >= API_KEYS_PER_USER_MAX:
            raise ApiError(
                "TOO_MANY_API_KEYS",
                f"A user has up to {API_KEYS_PER_USER_MAX} API keys: delete one that is not needed.",
            )
        key_id, now_ns = self._key_secrets.new_key_id(), self._now_ns()
        detail = {"label": label, "scopes": scopes, "addresses": addresses, "rate_percent": rate_percent}
        key = await self._access.create_api_key(
            key_id,
            user_id,
            label,
            self._key_secrets.fingerprint(key_id),
            now_ns,
            scopes=scopes,
            addresses=addresses,
            rate_percent=rate_percent,
            public_key=public_key,
            act=Act(now_ns, actor, "api_key.create", key_id, detail=detail),
        )
        return key, self._key_secrets.secret_of(key_id)

    async def delete_api_key(self, principal: Principal, key_id: str) -> None:
        principal.require(Permission.MANAGE_ACCESS)
        now_ns = self._now_ns()
        act = Act(now_ns, principal.username, "api_key.delete", key_id)
        is_key_id = self._key_secrets.is_key_id(key_id)
        if not is_key_id or not await self._access.revoke_api_key(principal.user_id, key_id, now_ns, act=act):
            raise ApiError("NOT_FOUND", "You have no such API key.", field="key_id", value=key_id)
        self.key_revoked(key_id)


def refresh_refused() -> ApiError:
    return ApiError("INVALID_CREDENTIALS", "The refresh token is not valid, or not any more: log in again.")


def bearer_token(value: bytes) -> str:
    scheme, _, token = value.decode("latin-1").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise not_authenticated("The Authorization header has to be 'Bearer' and an access token.")
    return token.strip()


def checked_networks(addresses: Sequence[str]) -> list[str]:
    """Each as a network. Raises `ApiError`."""
    if len(addresses) > API_KEY_ADDRESSES_MAX:
        raise invalid_request(f"A key has up to {API_KEY_ADDRESSES_MAX} addresses.", "addresses", len(addresses))
    networks = []
    for text in addresses:
        try:
            networks.append(str(ipaddress.ip_network(text)))
        except ValueError:
            raise invalid_request(
                "This is no address and no network, such as 192.0.2.7 or 192.0.2.0/24.", "addresses", text
            ) from None
    return networks


def is_within(address: str, networks: Iterable[Network]) -> bool:
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is not None:
        parsed = parsed.ipv4_mapped
    return any(parsed in network for network in networks)
