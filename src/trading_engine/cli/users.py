"""`users`: who may log in, and what they may do.

It writes the database itself, whether the venue runs or not: that is how the first administrator comes to be. A Trading Engine Server that
runs takes notice within seconds. Each change is in the audit log, under the name of whoever gave the command.
"""

import asyncio
import getpass
import os
import sys
import time
from collections.abc import AsyncIterator

from trading_engine.cli.arguments import Arguments
from trading_engine.cli.utilities import Rows, show, time_text
from trading_engine.database.errors import DatabaseError
from trading_engine.database.transactional.audit import Act
from trading_engine.database.transactional.database import TransactionalDatabase, transactional_url
from trading_engine.database.transactional.records import Role, User
from trading_engine.servers.tes.errors import ApiError
from trading_engine.servers.tes.services.accounts import check_username
from trading_engine.servers.tes.services.credentials import Passwords
from trading_engine.servers.tes.services.password_rules import check_password
from trading_engine.shared.config import Config, ConfigError

PASSWORD_VARIABLE = "TRADING_ENGINE_PASSWORD"  # noqa: S105 - the name of a variable
USERS_AT_A_TIME = 1000
RUNS_THE_VENUE = (Role.OPERATOR, Role.ANALYST, Role.ADMIN)
USAGE = f"""\
list
create NAME operator|analyst|admin       somebody who trades needs an account as well: POST /v1/users makes both
role NAME trader|market_maker|operator|analyst|admin
disable NAME | enable NAME               shut out, or let in again
password NAME                            asked for, or taken from {PASSWORD_VARIABLE}"""


def run_users(arguments: Arguments) -> int:
    """Raises `ConfigError`."""
    actor = f"{arguments.by or getpass.getuser()} (command line)"
    try:
        asyncio.run(run(arguments.load_config(), list(arguments.words), actor))
    except (DatabaseError, ApiError) as error:
        raise ConfigError(error.body.message if isinstance(error, ApiError) else str(error)) from error
    return 0


async def run(config: Config, words: list[str], actor: str) -> None:
    database = await TransactionalDatabase.open(transactional_url(config))
    try:
        await database.migrate()
        await Registrar(database, actor).run(words)
    finally:
        await database.close()


class Registrar:
    """One command about users."""

    def __init__(self, database: TransactionalDatabase, actor: str) -> None:
        self._access = database.access
        self._actor = actor

    async def run(self, words: list[str]) -> None:
        match words:
            case ["list"]:
                show(listed([user async for user in self._users()]))
            case ["create", name, role]:
                await self._create(name, role_named(role))
            case ["role", name, role]:
                await self._change(name, role=role_named(role))
            case ["disable", name]:
                await self._change(name, is_disabled=True)
            case ["enable", name]:
                await self._change(name, is_disabled=False)
            case ["password", name]:
                await self._change(name, password=new_password(name))
            case _:
                raise ConfigError(f"users {' '.join(words)}: that is not a command\n\nusers …\n{USAGE}")

    async def _users(self) -> AsyncIterator[User]:
        after: int | None = 0
        while after is not None:
            page = await self._access.users(after=after, limit=USERS_AT_A_TIME)
            for user in page.items:
                yield user
            after = page.next

    async def _create(self, name: str, role: Role) -> None:
        if role not in RUNS_THE_VENUE:
            raise ConfigError(f"a {role.value} needs an account at the venue: POST /v1/users makes both")
        check_username(name)
        password_hash = await Passwords().hash(new_password(name))
        act = self._act("user.create", name, {"role": role.value})
        await self._access.create_user(name, password_hash, role, act.time_ns, act=act)
        print(f"{name} is {role.value}")

    async def _change(
        self, name: str, *, role: Role | None = None, is_disabled: bool | None = None, password: str | None = None
    ) -> None:
        known = await self._access.find_user(name)
        if known is None:
            raise ConfigError(f"there is no user {name!r}")
        password_hash = None if password is None else await Passwords().hash(password)
        act = self._act_of_change(name, role, is_disabled)
        changed = await self._access.change_user(
            known.user_id, act.time_ns, role=role, is_disabled=is_disabled, password_hash=password_hash, act=act
        )
        assert changed is not None
        print(f"{changed.username} is {changed.role.value}{', disabled' if changed.is_disabled else ''}")

    def _act_of_change(self, name: str, role: Role | None, is_disabled: bool | None) -> Act:
        if role is None and is_disabled is None:
            return self._act("password.change", name, {})
        said = {"role": role and role.value, "disabled": is_disabled}
        return self._act("user.change", name, {key: value for key, value in said.items() if value is not None})

    def _act(self, action: str, subject: str, detail: dict[str, object]) -> Act:
        return Act(time.time_ns(), self._actor, action, subject, detail=detail)


def listed(users: list[User]) -> Rows:
    yield "NAME", "ROLE", "ACCESS", "MADE"
    for user in users:
        yield user.username, user.role.value, "disabled" if user.is_disabled else "yes", time_text(user.created_ns)


def role_named(text: str) -> Role:
    """Raises `ConfigError`."""
    try:
        return Role(text)
    except ValueError:
        raise ConfigError(f"{text!r} is no role; the roles are {', '.join(Role)}") from None


def new_password(name: str) -> str:
    """Asked for twice at a terminal. Raises `ConfigError` and `ApiError`."""
    password = os.environ.get(PASSWORD_VARIABLE, "")
    if not password:
        if not sys.stdin.isatty():
            raise ConfigError(f"the password of {name} is taken from {PASSWORD_VARIABLE}, or asked for at a terminal")
        password = getpass.getpass(f"New password of {name}: ")
        if getpass.getpass("Again: ") != password:
            raise ConfigError("the two are not the same: nothing was changed")
    check_password(password, name)
    return password
