"""Users and what they log in with: the rows that the TES owns. Times are handed in, so that the caller's clock is the only one.

Secrets come as hashes, here and in every row: what the database holds lets nobody in.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import ColumnElement, Row, delete, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from trading_engine.database.transactional.connections import Connections, Use
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
    ) -> Registration:
        """A new client with a portfolio and the user that acts for it: all of them or none. Raises `AlreadyExists`."""
        client_name = client_name or username
        with _unique(f"the user name {username!r} or the client name {client_name!r} is taken"):
            async with self._connections.transaction(Use.WRITE) as connection:
                client_id = await _insert_id(connection, clients, name=client_name, created_ns=created_ns)
                user = await _insert_user(connection, username, password_hash, role, client_id, created_ns)
                portfolio = await _insert_portfolio(connection, client_id, portfolio_name, created_ns)
        return Registration(Client(client_id, client_name, created_ns), user, portfolio)

    async def create_user(
        self, username: str, password_hash: str, role: Role, created_ns: int, *, client_id: int | None = None
    ) -> User:
        """A user for an existing client, or for none. Raises `AlreadyExists`."""
        with _unique(f"the user name {username!r} is taken"):
            async with self._connections.transaction(Use.WRITE) as connection:
                return await _insert_user(connection, username, password_hash, role, client_id, created_ns)

    async def create_portfolio(self, client_id: int, name: str, created_ns: int) -> Portfolio:
        """Raises `AlreadyExists`."""
        with _unique(f"the client has a portfolio named {name!r} already"):
            async with self._connections.transaction(Use.WRITE) as connection:
                return await _insert_portfolio(connection, client_id, name, created_ns)

    async def find_user(self, username: str) -> User | None:
        return await self._user_where(users.c.username == username)

    async def user(self, user_id: int) -> User | None:
        return await self._user_where(users.c.user_id == user_id)

    async def _user_where(self, condition: ColumnElement[bool]) -> User | None:
        async with self._connections.transaction(Use.READ) as connection:
            row = (await connection.execute(select(users).where(condition))).one_or_none()
        return None if row is None else _user(row)

    async def portfolios_of_user(self, user_id: int) -> tuple[Portfolio, ...]:
        """Those of the client that the user acts for, oldest first."""
        query = (
            select(portfolios)
            .join(users, users.c.client_id == portfolios.c.client_id)
            .where(users.c.user_id == user_id)
            .order_by(portfolios.c.portfolio_id)
        )
        async with self._connections.transaction(Use.READ) as connection:
            return tuple(Portfolio(*row) for row in await connection.execute(query))

    async def portfolios_without_account(self) -> tuple[Portfolio, ...]:
        """Portfolios whose account the venue has not opened yet, as far as the projection has come."""
        query = (
            select(portfolios)
            .outerjoin(accounts, accounts.c.account_id == portfolios.c.portfolio_id)
            .where(accounts.c.account_id.is_(None))
            .order_by(portfolios.c.portfolio_id)
        )
        async with self._connections.transaction(Use.READ) as connection:
            return tuple(Portfolio(*row) for row in await connection.execute(query))

    # API keys

    async def create_api_key(self, key_id: str, user_id: int, label: str, secret_hash: str, created_ns: int) -> ApiKey:
        """Raises `AlreadyExists`."""
        key = ApiKey(key_id, user_id, label, secret_hash, created_ns)
        statement = insert(api_keys).values(
            key_id=key_id, user_id=user_id, label=label, secret_hash=secret_hash, created_ns=created_ns
        )
        with _unique("the key id is taken"):
            async with self._connections.transaction(Use.WRITE) as connection:
                await connection.execute(statement)
        return key

    async def api_keys_of_user(self, user_id: int) -> tuple[ApiKey, ...]:
        """Those that are not revoked, oldest first."""
        query = _valid_keys().where(api_keys.c.user_id == user_id).order_by(api_keys.c.created_ns, api_keys.c.key_id)
        async with self._connections.transaction(Use.READ) as connection:
            return tuple(ApiKey(*row) for row in await connection.execute(query))

    async def find_api_key(self, key_id: str) -> ApiKey | None:
        """The key, unless it is revoked."""
        async with self._connections.transaction(Use.READ) as connection:
            row = (await connection.execute(_valid_keys().where(api_keys.c.key_id == key_id))).one_or_none()
        return None if row is None else ApiKey(*row)

    async def revoke_api_key(self, user_id: int, key_id: str, revoked_ns: int) -> bool:
        """Whether the user had such a key and it was valid until now."""
        statement = (
            update(api_keys)
            .where(api_keys.c.key_id == key_id, api_keys.c.user_id == user_id, api_keys.c.revoked_ns.is_(None))
            .values(revoked_ns=revoked_ns)
        )
        async with self._connections.transaction(Use.WRITE) as connection:
            return (await connection.execute(statement)).rowcount == 1

    # Refresh tokens

    async def store_refresh_token(self, token_hash: str, user_id: int, issued_ns: int, expires_ns: int) -> RefreshToken:
        """The first token of a login. The user's tokens that have expired by now are deleted."""
        token = RefreshToken(token_hash, token_hash, user_id, issued_ns, expires_ns)
        expired = delete(refresh_tokens).where(
            refresh_tokens.c.user_id == user_id, refresh_tokens.c.expires_ns <= issued_ns
        )
        with _unique("the token is in use"):
            async with self._connections.transaction(Use.WRITE) as connection:
                await connection.execute(expired)
                await _insert_token(connection, token)
        return token

    async def rotate_refresh_token(
        self, token_hash: str, new_token_hash: str, now_ns: int, expires_ns: int
    ) -> RefreshToken | None:
        """Put a new token in the place of a valid one; None where there is no such token or it is used up, expired or revoked.

        A token that comes a second time has been stolen, or its successor has: then all of its family are revoked (RFC 9700,
        section 4.14.2), and whoever holds one has to log in again.
        """
        async with self._connections.transaction(Use.WRITE) as connection:
            query = select(refresh_tokens).where(refresh_tokens.c.token_hash == token_hash).with_for_update()
            old = (await connection.execute(query)).one_or_none()
            if old is None:
                return None
            if old.used_ns is not None:
                await _revoke_family(connection, old.family, now_ns)
                return None
            if old.revoked_ns is not None or old.expires_ns <= now_ns:
                return None
            used = update(refresh_tokens).where(refresh_tokens.c.token_hash == token_hash).values(used_ns=now_ns)
            await connection.execute(used)
            token = RefreshToken(new_token_hash, old.family, old.user_id, now_ns, expires_ns)
            await _insert_token(connection, token)
            return token

    async def revoke_refresh_token(self, token_hash: str, now_ns: int) -> bool:
        """End the login that the token belongs to. Whether there is such a token."""
        async with self._connections.transaction(Use.WRITE) as connection:
            query = select(refresh_tokens.c.family).where(refresh_tokens.c.token_hash == token_hash)
            family = (await connection.execute(query)).scalar_one_or_none()
            if family is None:
                return False
            await _revoke_family(connection, family, now_ns)
            return True


@contextmanager
def _unique(message: str) -> Iterator[None]:
    """Turns the breach of a uniqueness rule into `AlreadyExists`."""
    try:
        yield
    except IntegrityError as error:
        if "unique" not in str(error.orig).lower():
            raise
        raise AlreadyExists(message) from error


async def _insert_id(connection: AsyncConnection, table: Any, **values: Any) -> int:
    result = await connection.execute(insert(table).values(**values))
    assert result.inserted_primary_key is not None
    return int(result.inserted_primary_key[0])


async def _insert_user(
    connection: AsyncConnection, username: str, password_hash: str, role: Role, client_id: int | None, created_ns: int
) -> User:
    user_id = await _insert_id(
        connection,
        users,
        username=username,
        password_hash=password_hash,
        role=role.value,
        client_id=client_id,
        created_ns=created_ns,
    )
    return User(user_id, username, password_hash, role, client_id, created_ns)


async def _insert_portfolio(connection: AsyncConnection, client_id: int, name: str, created_ns: int) -> Portfolio:
    portfolio_id = await _insert_id(connection, portfolios, client_id=client_id, name=name, created_ns=created_ns)
    return Portfolio(portfolio_id, client_id, name, created_ns)


async def _insert_token(connection: AsyncConnection, token: RefreshToken) -> None:
    await connection.execute(
        insert(refresh_tokens).values(
            token_hash=token.token_hash,
            family=token.family,
            user_id=token.user_id,
            issued_ns=token.issued_ns,
            expires_ns=token.expires_ns,
        )
    )


async def _revoke_family(connection: AsyncConnection, family: str, now_ns: int) -> None:
    statement = update(refresh_tokens).where(refresh_tokens.c.family == family, refresh_tokens.c.revoked_ns.is_(None))
    await connection.execute(statement.values(revoked_ns=now_ns))


def _valid_keys() -> Any:
    columns = api_keys.c
    return select(columns.key_id, columns.user_id, columns.label, columns.secret_hash, columns.created_ns).where(
        columns.revoked_ns.is_(None)
    )


def _user(row: Row[Any]) -> User:
    return User(row.user_id, row.username, row.password_hash, Role(row.role), row.client_id, row.created_ns)
