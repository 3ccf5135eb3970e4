"""`python main.py -c trader`: trade from a terminal, or from a pipe.

On a terminal it is a full screen with live panes and a command line. With standard input or output redirected it reads one command a
line and prints plain text, so that it can be scripted.
"""

import asyncio
import contextlib
import os
import sys

from rich.console import Console
from rich.text import Text

from trading_engine.clients.sdk.async_client import AsyncClient
from trading_engine.clients.sdk.errors import TradingError
from trading_engine.clients.terminal.commands import CommandError, QuitCommand, parse
from trading_engine.clients.terminal.desk import Desk, error_line
from trading_engine.clients.terminal.login import CannotLogIn, log_in, wait_for_venue
from trading_engine.clients.terminal.screen import Screen
from trading_engine.shared.config import Config

PIPE_PATIENCE_S = 60.0
"""So long a script waits for the venue; a person waits until they press Ctrl-C."""
PIPE_WIDTH = 120


def run_terminal(config: Config, *, username: str | None = None, base_url: str = "") -> int:
    """Trade until `quit`; the exit status: 0, or 1 when a scripted command failed or nobody could log in."""
    is_interactive = sys.stdin.isatty() and sys.stdout.isatty()
    console = Console() if is_interactive else Console(width=PIPE_WIDTH, force_terminal=False)
    try:
        return asyncio.run(
            _run(
                config,
                base_url or f"http://{config.tes.host}:{config.tes.port}",
                username or "",
                console,
                is_interactive,
            )
        )
    except CannotLogIn as problem:
        console.print(str(problem), style="yellow", highlight=False)
        return 1
    except TradingError as error:
        console.print(error_line(error))
        return 1
    except (KeyboardInterrupt, EOFError):
        return 0
    except BrokenPipeError:
        # Whoever read the output has seen enough. Python would complain once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


async def _run(config: Config, base_url: str, username: str, console: Console, is_interactive: bool) -> int:
    await wait_for_venue(base_url, console, None if is_interactive else PIPE_PATIENCE_S)
    client = await log_in(base_url, username, console, is_interactive=is_interactive)
    async with client:
        return await (_trade_on_screen(client, config) if is_interactive else _trade_in_pipe(client, console))


async def _trade_on_screen(client: AsyncClient, config: Config) -> int:
    screen = Screen(config.venue.name)
    stream = client.stream()
    desk = Desk(client, stream, screen.tell)
    stream.on_event = desk.on_event
    async with stream:
        await desk.open()
        await screen.run(desk)
    await _log_out(client)
    return 0


async def _trade_in_pipe(client: AsyncClient, console: Console) -> int:
    """Commands from standard input, one a line; what happens by itself is printed as it happens."""

    def tell(line: Text) -> None:
        console.print(line, highlight=False)

    status = 0
    stream = client.stream()
    desk = Desk(client, stream, tell)
    stream.on_event = desk.on_event
    async with stream:
        await desk.open()
        console.print(f"Logged in as {desk.username}. Type help for the commands.", highlight=False)
        while line := await asyncio.to_thread(sys.stdin.readline):
            try:
                command = parse(line)
                if isinstance(command, QuitCommand):
                    break
                if command is not None:
                    console.print(await desk.run(command), highlight=False)
            except CommandError as error:
                console.print(f"✗ {error}", highlight=False, markup=False)
                status = 1
            except TradingError as error:
                console.print(error_line(error), highlight=False)
                status = 1
    await _log_out(client)
    return status


async def _log_out(client: AsyncClient) -> None:
    with contextlib.suppress(TradingError):  # The tokens end by themselves too.
        await client.log_out()
