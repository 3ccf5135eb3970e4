"""Users and what they log in with: the rows that the TES owns. Times are handed in, so that the caller's clock is the only one.

`act` is what the audit log says of a change, in the same transaction. Secrets come as hashes, here and in every row: what the database
holds lets nobody in.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Connection, Row, Select, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from trading_engine.database.connections import Connections, Use
from trading_engine.database.transactional.audit import Act, insert_act
from trading_engine.database.transactional.errors import AlreadyExists
from trading_engine.database.transactional.models import (
    AccountRow,
    ApiKeyRow,
    ClientRow,
    PortfolioRow,
    RefreshTokenRow,
    UserRow,
    table_of,
)
from trading_engine.database.transactional.records import (
    ApiKey,
    Client,
    Portfolio,
    RefreshToken,
    Registration,
    Role,
    User,
)

clients, users, portfolios = table_of(ClientRow), table_of(UserRow), table_of(PortfolioRow)
api_keys, refresh_tokens = table_of(ApiKeyRow), table_of(RefreshTokenRow)
accounts = table_of(AccountRow)


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

        with _unique(f"the user name {username!r} or the client name {client_name!r} is taken"):
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

        with _unique(f"the user name {username!r} is taken"):
            return await self._connections.run(Use.WRITE, work)

    async def create_portfolio(self, client_id: int, name: str, created_ns: int) -> Portfolio:
        """Raises `AlreadyExists`."""

        def work(connection: Connection) -> Portfolio:
            return _insert_portfolio(connection, client_id, name, created_ns)

        with _unique(f"the client has a portfolio named {name!r} already"):
            return await self._connections.run(Use.WRITE, work)

    async def find_user(self, username: str) -> User | None:
        return await self._user_where(users.c.username == username)

    async def user(self, user_id: int) -> User | None:
        return await self._user_where(users.c.user_id == user_id)

    async def _user_where(self, condition: ColumnElement[bool]) -> User | None:
        def work(connection: Connection) -> User | None:
            row = connection.execute(select(users).where(condition)).one_or_none()
            return None if row is None else _user(row)

        return await self._connections.run(Use.READ, work)

    async def portfolios_of_user(self, user_id: int) -> tuple[Portfolio, ...]:
        """Those of the client that the user acts for, oldest first."""
        query = select(portfolios).join(users, users.c.client_id == portfolios.c.client_id)
        return await self._portfolios(query.where(users.c.user_id == user_id))

    async def portfolios_without_account(self) -> tuple[Portfolio, ...]:
        """Portfolios whose account the venue has not opened yet, as far as the projection has come."""
        query = select(portfolios).outerjoin(accounts, accounts.c.account_id == portfolios.c.portfolio_id)
        return await self._portfolios(query.where(accounts.c.account_id.is_(None)))

    async def _portfolios(self, query: Select[Any]) -> tuple[Portfolio, ...]:
        def work(connection: Connection) -> tuple[Portfolio, ...]:
            return tuple(Portfolio(*row) for row in connection.execute(query.order_by(portfolios.c.portfolio_id)))

        return await self._connections.run(Use.READ, work)

    # API keys

    async def create_api_key(
        self, key_id: str, user_id: int, label: str, secret_hash: str, created_ns: int, *, act: Act | None = None
    ) -> ApiKey:
        """Raises `AlreadyExists`."""
        key = ApiKey(key_id, user_id, label, secret_hash, created_ns)

        def work(connection: Connection) -> None:
            connection.execute(insert(api_keys).values(msgspec.structs.asdict(key)))
            _insert_act(connection, act)

        with _unique("the key id is taken"):
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
        self, token_hash: str, user_id: int, issued_ns: int, expires_ns: int, *, act: Act | None = None
    ) -> RefreshToken:
        """The first token of a login. The user's tokens that have expired by now are deleted."""
        token = RefreshToken(token_hash, token_hash, user_id, issued_ns, expires_ns)
        expired = (refresh_tokens.c.user_id == user_id, refresh_tokens.c.expires_ns <= issued_ns)

        def work(connection: Connection) -> None:
            connection.execute(delete(refresh_tokens).where(*expired))
            _insert_token(connection, token)
            _insert_act(connection, act)

        with _unique("the token is in use"):
            await self._connections.run(Use.WRITE, work)
        return token

    async def rotate_refresh_token(
        self, token_hash: str, new_token_hash: str, now_ns: int, expires_ns: int
    ) -> RefreshToken | None:
        """Put a new token in the place of a valid one; None where there is no such token or it is used up, expired or revoked.

        A token that comes a second time has been stolen, or its successor has: then all of its family are revoked (RFC 9700,
        section 4.14.2), and whoever holds one has to log in again.
        """

        def work(connection: Connection) -> RefreshToken | None:
            return _rotate(connection, token_hash, new_token_hash, now_ns, expires_ns)

        return await self._connections.run(Use.WRITE, work)

    async def revoke_refresh_token(self, token_hash: str, now_ns: int) -> bool:
        """End the login that the token belongs to. Whether there is such a token."""
        query = select(refresh_tokens.c.family).where(refresh_tokens.c.token_hash == token_hash)

        def work(connection: Connection) -> bool:
            family = connection.execute(query).scalar_one_or_none()
            if family is None:
                return False
            _revoke_family(connection, family, now_ns)
            return True

        return await self._connections.run(Use.WRITE, work)


@contextmanager
def _unique(message: str) -> Iterator[None]:
    """Turns the breach of a uniqueness rule into `AlreadyExists`."""
    try:
        yield
    except IntegrityError as error:
        if "unique" not in str(error.orig).lower():
            raise
        raise AlreadyExists(message) from error


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
    connection: Connection, token_hash: str, new_token_hash: str, now_ns: int, expires_ns: int
) -> RefreshToken | None:
    is_old = refresh_tokens.c.token_hash == token_hash
    old = connection.execute(select(refresh_tokens).where(is_old).with_for_update()).one_or_none()
    if old is None:
        return None
    if old.used_ns is not None:
        _revoke_family(connection, old.family, now_ns)
        return None
    if old.revoked_ns is not None or old.expires_ns <= now_ns:
        return None
    connection.execute(update(refresh_tokens).where(is_old).values(used_ns=now_ns))
    token = RefreshToken(new_token_hash, old.family, old.user_id, now_ns, expires_ns)
    _insert_token(connection, token)
    return token


def _revoke_family(connection: Connection, family: str, now_ns: int) -> None:
    statement = update(refresh_tokens).where(refresh_tokens.c.family == family, refresh_tokens.c.revoked_ns.is_(None))
    connection.execute(statement.values(revoked_ns=now_ns))


def _user(row: Row[Any]) -> User:
    return User(row.user_id, row.username, row.password_hash, Role(row.role), row.client_id, row.created_ns)
