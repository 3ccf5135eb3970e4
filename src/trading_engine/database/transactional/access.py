"""Users and what they log in with: the rows that the TES owns. Times are handed in, so that the caller's clock is the only one.

`act` is what the audit log says of a change, in the same transaction. Secrets come as hashes, here and in every row: what the database
holds lets nobody in.
"""

from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Connection, Row, Select, delete, insert, select, update

from trading_engine.database.connections import Connections, Use
from trading_engine.database.transactional.audit import Act, insert_act
from trading_engine.database.transactional.errors import LastAdministrator, unique
from trading_engine.database.transactional.models import (
    AccountRow,
    ApiKeyRow,
    ClientRow,
    LoginAddressRow,
    PortfolioRow,
    RefreshTokenRow,
    UserRow,
    table_of,
)
from trading_engine.database.transactional.records import (
    AccessChanges,
    ApiKey,
    Client,
    LoginEnded,
    Page,
    Portfolio,
    RefreshToken,
    Registration,
    Role,
    User,
)

clients, users, portfolios = table_of(ClientRow), table_of(UserRow), table_of(PortfolioRow)
api_keys, refresh_tokens = table_of(ApiKeyRow), table_of(RefreshTokenRow)
login_addresses = table_of(LoginAddressRow)
accounts = table_of(AccountRow)

ADDRESS_REMEMBERED_NS = 180 * 24 * 3600 * 1_000_000_000
"""An address that a user has not logged in from for so long is as good as a new one."""
REPLAYED = "LOGIN_ENDED"
"""The outcome of a refresh token that comes again, in the audit log."""


class AccessRepository:
    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    # Users, clients, portfolios

    async def register(
        self,
        username: str,
        password_hash: str,
        role: Role,
        created_ns: int,
        *,
        client_name: str | None = None,
        portfolio_name: str = "Main",
        act: Act | None = None,
    ) -> Registration:
        """A new client with a portfolio and the user that acts for it: all of them or none. Raises `AlreadyExists`."""
        client_name = client_name or username

        def work(connection: Connection) -> Registration:
            client_id = _insert_id(connection, clients, name=client_name, created_ns=created_ns)
            user = _insert_user(connection, username, password_hash, role, client_id, created_ns)
            portfolio = _insert_portfolio(connection, client_id, portfolio_name, created_ns)
            _insert_act(connection, act)
            return Registration(Client(client_id, client_name, created_ns), user, portfolio)

        with unique(f"the user name {username!r} or the client name {client_name!r} is taken"):
            return await self._connections.run(Use.WRITE, work)

    async def create_user(
        self,
        username: str,
        password_hash: str,
        role: Role,
        created_ns: int,
        *,
        client_id: int | None = None,
        act: Act | None = None,
    ) -> User:
        """A user for an existing client, or for none. Raises `AlreadyExists`."""

        def work(connection: Connection) -> User:
            _insert_act(connection, act)
            return _insert_user(connection, username, password_hash, role, client_id, created_ns)

        with unique(f"the user name {username!r} is taken"):
            return await self._connections.run(Use.WRITE, work)

    async def create_portfolio(self, client_id: int, name: str, created_ns: int) -> Portfolio:
        """Raises `AlreadyExists`."""

        def work(connection: Connection) -> Portfolio:
            return _insert_portfolio(connection, client_id, name, created_ns)

        with unique(f"the client has a portfolio named {name!r} already"):
            return await self._connections.run(Use.WRITE, work)

    async def find_user(self, username: str) -> User | None:
        return await self._user_where(users.c.username == username)

    async def user(self, user_id: int) -> User | None:
        return await self._user_where(users.c.user_id == user_id)

    async def users(self, *, after: int = 0, limit: int = 100) -> Page[User]:
        """In the order in which they were made. `next` is the `after` of the next page."""
        query = select(users).where(users.c.user_id > after).order_by(users.c.user_id).limit(limit + 1)

        def work(connection: Connection) -> Page[User]:
            found = [_user(row) for row in connection.execute(query)]
            return Page(tuple(found[:limit]), found[limit - 1].user_id if len(found) > limit else None)

        return await self._connections.run(Use.READ, work)

    async def change_user(
        self,
        user_id: int,
        now_ns: int,
        *,
        role: Role | None = None,
        is_disabled: bool | None = None,
        password_hash: str | None = None,
        act: Act | None = None,
    ) -> User | None:
        """The user as it is then, or None where there is none. All its logins end. Raises `LastAdministrator`."""
        given = {"role": role and role.value, "is_disabled": is_disabled, "password_hash": password_hash}
        values = {name: value for name, value in given.items() if value is not None}

        def work(connection: Connection) -> User | None:
            administrators = _administrators(connection)
            connection.execute(
                update(users).where(users.c.user_id == user_id).values(access_changed_ns=now_ns, **values)
            )
            _end_logins(connection, user_id, now_ns)
            _insert_act(connection, act)
            row = connection.execute(select(users).where(users.c.user_id == user_id)).one_or_none()
            if administrators and not _administrators(connection):
                raise LastAdministrator("this is the only administrator that there is")
            return None if row is None else _user(row)

        return await self._connections.run(Use.WRITE, work)

    async def replace_password_hash(self, user_id: int, old_hash: str, new_hash: str) -> None:
        """The same password, hashed as it is done now; not if the password was changed meanwhile."""
        is_old = (users.c.user_id == user_id, users.c.password_hash == old_hash)
        statement = update(users).where(*is_old).values(password_hash=new_hash)
        await self._connections.run(Use.WRITE, lambda connection: connection.execute(statement))

    async def access_changes(self, since_ns: int) -> AccessChanges:
        """Whose access changed, which keys were revoked and which logins ended, at or after this time."""
        changed = select(users.c.user_id, users.c.access_changed_ns).where(users.c.access_changed_ns >= since_ns)
        revoked = select(api_keys.c.key_id).where(api_keys.c.revoked_ns >= since_ns)
        ended = select(refresh_tokens.c.family).where(refresh_tokens.c.revoked_ns >= since_ns).distinct()

        def work(connection: Connection) -> AccessChanges:
            changes = {row.user_id: row.access_changed_ns for row in connection.execute(changed)}
            revoked_keys = frozenset(connection.execute(revoked).scalars())
            return AccessChanges(changes, revoked_keys, frozenset(connection.execute(ended).scalars()))

        return await self._connections.run(Use.READ, work)

    async def _user_where(self, condition: ColumnElement[bool]) -> User | None:
        def work(connection: Connection) -> User | None:
            row = connection.execute(select(users).where(condition)).one_or_none()
            return None if row is None else _user(row)

        return await self._connections.run(Use.READ, work)

    async def portfolios_of_user(self, user_id: int) -> tuple[Portfolio, ...]:
        """Those of the client that the user acts for, oldest first."""
        query = select(portfolios).join(users, users.c.client_id == portfolios.c.client_id)
        return await self._portfolios(query.where(users.c.user_id == user_id))

    async def portfolios(self) -> tuple[Portfolio, ...]:
        return await self._portfolios(select(portfolios))

    async def _portfolios(self, query: Select[Any]) -> tuple[Portfolio, ...]:
        def work(connection: Connection) -> tuple[Portfolio, ...]:
            return tuple(Portfolio(*row) for row in connection.execute(query.order_by(portfolios.c.portfolio_id)))

        return await self._connections.run(Use.READ, work)

    # API keys

    async def create_api_key(
        self,
        key_id: str,
        user_id: int,
        label: str,
        secret_hash: str,
        created_ns: int,
        *,
        scopes: str = "read trade",
        addresses: str = "",
        rate_percent: int = 100,
        public_key: str = "",
        act: Act | None = None,
    ) -> ApiKey:
        """Raises `AlreadyExists`."""
        key = ApiKey(key_id, user_id, label, secret_hash, created_ns, scopes, addresses, rate_percent, public_key)

        def work(connection: Connection) -> None:
            connection.execute(insert(api_keys).values(msgspec.structs.asdict(key)))
            _insert_act(connection, act)

        with unique("the key id is taken"):
            await self._connections.run(Use.WRITE, work)
        return key

    async def api_keys_of_user(self, user_id: int) -> tuple[ApiKey, ...]:
        """Those that are not revoked, oldest first."""
        return await self._valid_keys(api_keys.c.user_id == user_id)

    async def find_api_key(self, key_id: str) -> ApiKey | None:
        """The key, unless it is revoked."""
        return next(iter(await self._valid_keys(api_keys.c.key_id == key_id)), None)

    async def _valid_keys(self, condition: ColumnElement[bool]) -> tuple[ApiKey, ...]:
        columns = [api_keys.c[name] for name in ApiKey.__struct_fields__]
        query = select(*columns).where(condition, api_keys.c.revoked_ns.is_(None))

        def work(connection: Connection) -> tuple[ApiKey, ...]:
            rows = connection.execute(query.order_by(api_keys.c.created_ns, api_keys.c.key_id))
            return tuple(ApiKey(*row) for row in rows)

        return await self._connections.run(Use.READ, work)

    async def revoke_api_key(self, user_id: int, key_id: str, revoked_ns: int, *, act: Act | None = None) -> bool:
        """Whether the user had such a key and it was valid until now."""
        statement = update(api_keys).where(
            api_keys.c.key_id == key_id, api_keys.c.user_id == user_id, api_keys.c.revoked_ns.is_(None)
        )

        def work(connection: Connection) -> bool:
            is_revoked = connection.execute(statement.values(revoked_ns=revoked_ns)).rowcount == 1
            if is_revoked:
                _insert_act(connection, act)
            return is_revoked

        return await self._connections.run(Use.WRITE, work)

    # Refresh tokens

    async def store_refresh_token(
        self,
        token_hash: str,
        user_id: int,
        issued_ns: int,
        expires_ns: int,
        *,
        address: str | None = None,
        act: Act | None = None,
    ) -> RefreshToken:
        """The first token of a login, from this address. The user's tokens that have expired by now are deleted."""
        token = RefreshToken(token_hash, token_hash, user_id, issued_ns, expires_ns)
        expired = (refresh_tokens.c.user_id == user_id, refresh_tokens.c.expires_ns <= issued_ns)

        def work(connection: Connection) -> None:
            connection.execute(
                select(users.c.user_id).where(users.c.user_id == user_id).with_for_update(key_share=True)
            )
            connection.execute(delete(refresh_tokens).where(*expired))
            _insert_token(connection, token)
            if address is not None:
                _remember_address(connection, user_id, address, issued_ns)
            _insert_act(connection, act)

        with unique("the token is in use"):
            await self._connections.run(Use.WRITE, work)
        return token

    async def has_logged_in_from(self, username: str, address: str) -> bool:
        query = select(login_addresses.c.user_id).join(users, users.c.user_id == login_addresses.c.user_id)
        query = query.where(users.c.username == username, login_addresses.c.address == address)

        def work(connection: Connection) -> bool:
            return connection.execute(query).first() is not None

        return await self._connections.run(Use.READ, work)

    async def rotate_refresh_token(
        self, token_hash: str, new_token_hash: str, now_ns: int, expires_ns: int, *, address: str = ""
    ) -> RefreshToken | LoginEnded | None:
        """Put a new token in the place of a valid one; None where there is no such token or it is expired or revoked.

        A token that comes a second time has been stolen, or its successor has: then all of its family are revoked (RFC 9700,
        section 4.14.2), and whoever holds one has to log in again. The audit log says so, with the address it came from.
        """

        def work(connection: Connection) -> RefreshToken | LoginEnded | None:
            return _rotate(connection, token_hash, new_token_hash, now_ns, expires_ns, address)

        return await self._connections.run(Use.WRITE, work)

    async def revoke_refresh_token(self, token_hash: str, now_ns: int) -> str | None:
        """End the login that the token belongs to: its family, or None where there is no such token."""
        query = select(refresh_tokens.c.family).where(refresh_tokens.c.token_hash == token_hash)

        def work(connection: Connection) -> str | None:
            family: str | None = connection.execute(query).scalar_one_or_none()
            if family is not None:
                _revoke_family(connection, family, now_ns)
            return family

        return await self._connections.run(Use.WRITE, work)


def _insert_act(connection: Connection, act: Act | None) -> None:
    if act is not None:
        insert_act(connection, act)


def _insert_id(connection: Connection, table: Any, **values: Any) -> int:
    result = connection.execute(insert(table).values(**values))
    assert result.inserted_primary_key is not None
    return int(result.inserted_primary_key[0])


def _insert_user(
    connection: Connection, username: str, password_hash: str, role: Role, client_id: int | None, created_ns: int
) -> User:
    user_id = _insert_id(
        connection,
        users,
        username=username,
        password_hash=password_hash,
        role=role.value,
        client_id=client_id,
        created_ns=created_ns,
    )
    return User(user_id, username, password_hash, role, client_id, created_ns)


def _insert_portfolio(connection: Connection, client_id: int, name: str, created_ns: int) -> Portfolio:
    portfolio_id = _insert_id(connection, portfolios, client_id=client_id, name=name, created_ns=created_ns)
    return Portfolio(portfolio_id, client_id, name, created_ns)


def _insert_token(connection: Connection, token: RefreshToken) -> None:
    connection.execute(insert(refresh_tokens).values(msgspec.structs.asdict(token)))


def _rotate(
    connection: Connection, token_hash: str, new_token_hash: str, now_ns: int, expires_ns: int, address: str
) -> RefreshToken | LoginEnded | None:
    is_old = refresh_tokens.c.token_hash == token_hash
    old = connection.execute(select(refresh_tokens).where(is_old).with_for_update()).one_or_none()
    if old is None:
        return None
    if old.used_ns is not None:
        _revoke_family(connection, old.family, now_ns)
        _insert_act(connection, _replay(connection, old.user_id, now_ns, address))
        return LoginEnded(old.family)
    if old.revoked_ns is not None or old.expires_ns <= now_ns:
        return None
    connection.execute(update(refresh_tokens).where(is_old).values(used_ns=now_ns))
    token = RefreshToken(new_token_hash, old.family, old.user_id, now_ns, expires_ns)
    _insert_token(connection, token)
    return token


def _replay(connection: Connection, user_id: int, now_ns: int, address: str) -> Act:
    username = connection.execute(select(users.c.username).where(users.c.user_id == user_id)).scalar_one()
    return Act(now_ns, username, "refresh_token.replay", username, REPLAYED, {"address": address})


def _administrators(connection: Connection) -> list[int]:
    """Who can give roles. Locked, so that two of them cannot take the role from each other at once."""
    is_administrator = (users.c.role == Role.ADMIN.value, users.c.is_disabled.is_(False))
    return list(
        connection.execute(select(users.c.user_id).where(*is_administrator).with_for_update(key_share=True)).scalars()
    )


def _end_logins(connection: Connection, user_id: int, now_ns: int) -> None:
    theirs = (refresh_tokens.c.user_id == user_id, refresh_tokens.c.revoked_ns.is_(None))
    connection.execute(update(refresh_tokens).where(*theirs).values(revoked_ns=now_ns))


def _remember_address(connection: Connection, user_id: int, address: str, now_ns: int) -> None:
    """The user's others that were not used for long are forgotten. The user's row has to be locked: two logins may come at once."""
    of_user = login_addresses.c.user_id == user_id
    forgotten = login_addresses.c.logged_in_ns <= now_ns - ADDRESS_REMEMBERED_NS
    connection.execute(delete(login_addresses).where(of_user, (login_addresses.c.address == address) | forgotten))
    connection.execute(insert(login_addresses).values(user_id=user_id, address=address, logged_in_ns=now_ns))


def _revoke_family(connection: Connection, family: str, now_ns: int) -> None:
    statement = update(refresh_tokens).where(refresh_tokens.c.family == family, refresh_tokens.c.revoked_ns.is_(None))
    connection.execute(statement.values(revoked_ns=now_ns))


def _user(row: Row[Any]) -> User:
    return User(
        row.user_id,
        row.username,
        row.password_hash,
        Role(row.role),
        row.client_id,
        row.created_ns,
        row.is_disabled,
    )
