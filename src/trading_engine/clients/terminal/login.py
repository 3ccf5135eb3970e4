"""Reaching the venue and logging in."""

import asyncio
import os
import sys
from dataclasses import dataclass, field
from typing import TextIO

from prompt_toolkit import PromptSession
from rich.console import Console

from trading_engine.clients.sdk.async_client import AsyncClient
from trading_engine.clients.sdk.errors import Disconnected, NotAuthenticated

USERNAME_VARIABLE = "TRADING_ENGINE_USERNAME"
PASSWORD_VARIABLE = "TRADING_ENGINE_PASSWORD"  # noqa: S105 - the name of a variable
POLL_S = 0.5
SAY_AFTER_POLLS = 2
ATTEMPTS_MAX = 3


class CannotLogIn(Exception):
    """The message says why."""


@dataclass(frozen=True, slots=True)
class Login:
    username: str
    password: str = field(repr=False)


async def wait_for_venue(base_url: str, console: Console, timeout_s: float | None) -> None:
    """Return when the venue answers and can take orders; say what is waited for. Raises `CannotLogIn` after `timeout_s`."""
    loop = asyncio.get_running_loop()
    deadline = None if timeout_s is None else loop.time() + timeout_s
    said = ""
    polls = 0
    async with AsyncClient(base_url) as client:
        while True:
            try:
                health = await client.health()
                problem = (
                    "" if health.is_ready else f"The venue at {base_url} is starting (matching {health.matching}) …"
                )
            except Disconnected:
                problem = f"Waiting for a venue at {base_url}. Is it running? Start one with: python main.py up"
            if not problem:
                if said:
                    console.print("The venue is open.")
                return
            polls += 1
            if problem != said and polls >= SAY_AFTER_POLLS:
                console.print(problem, highlight=False, soft_wrap=True)
                said = problem
            if deadline is not None and loop.time() > deadline:
                raise CannotLogIn(f"No venue at {base_url} was ready within {timeout_s:g} s.")
            await asyncio.sleep(POLL_S)


async def log_in(
    base_url: str, username: str, console: Console, *, is_interactive: bool, lines: TextIO = sys.stdin
) -> AsyncClient:
    """A client that is logged in. Raises `CannotLogIn` when the password was wrong too often."""
    username = username or os.environ.get(USERNAME_VARIABLE, "")
    password = os.environ.get(PASSWORD_VARIABLE, "")
    attempts = ATTEMPTS_MAX if is_interactive else 1
    for attempt in range(1, attempts + 1):
        login = await _ask(username, password, is_interactive=is_interactive, lines=lines)
        client = AsyncClient(base_url, username=login.username, password=login.password)
        try:
            await client.log_in()
        except NotAuthenticated as error:
            await client.close()
            console.print(error.message, style="yellow", highlight=False)
            if attempt == attempts:
                raise CannotLogIn("Not logged in.") from None
            password = ""
        else:
            return client
    raise AssertionError("unreachable")


async def _ask(username: str, password: str, *, is_interactive: bool, lines: TextIO) -> Login:
    if is_interactive:
        session: PromptSession[str] = PromptSession()
        username = username or (await session.prompt_async("User name: ")).strip()
        password = password or await session.prompt_async(f"Password for {username}: ", is_password=True)
    else:
        username = username or (await asyncio.to_thread(lines.readline)).strip()
        password = password or (await asyncio.to_thread(lines.readline)).strip()
    if not username or not password:
        raise CannotLogIn(
            f"A user name and a password are needed (also from {USERNAME_VARIABLE} and {PASSWORD_VARIABLE})."
        )
    return Login(username, password)
