"""The terminal against the real servers: from a pipe as a process of its own, and on a screen played by prompt_toolkit."""

import asyncio
import io
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from prompt_toolkit.application import create_app_session
from prompt_toolkit.completion import CompleteEvent
from prompt_toolkit.document import Document
from prompt_toolkit.input import PipeInput, create_pipe_input
from prompt_toolkit.output import DummyOutput
from rich.console import Console
from rich.text import Text

from support.tes_venue import PASSWORD, Venue, eventually, running_venue, venue_config
from trading_engine.clients import AsyncClient
from trading_engine.clients.terminal import panes
from trading_engine.clients.terminal.commands import parse
from trading_engine.clients.terminal.desk import Desk
from trading_engine.clients.terminal.login import (
    PASSWORD_VARIABLE,
    USERNAME_VARIABLE,
    CannotLogIn,
    log_in,
    wait_for_venue,
)
from trading_engine.clients.terminal.screen import CommandCompleter, Screen

PATIENCE_S = 60.0
SCRIPT = """# first a look
book AAPL
buy 5 AAPL market
buy 10 AAPL 229.90 gtc post
orders
positions
account
fills AAPL
trades
history
markets
watch COIN
cancel all
quit
orders
"""

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def venue(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Venue]:
    async with running_venue(venue_config(tmp_path_factory.mktemp("v"))) as venue:
        yield venue


@pytest_asyncio.fixture(loop_scope="module")
async def bob(venue: Venue) -> AsyncIterator[AsyncClient]:
    async with AsyncClient(venue.tes.url, username="bob", password=PASSWORD) as client:
        yield client
        await client.cancel_all()


async def piped(venue: Venue, typed: str, *options: str, folder: Path, **environment: str) -> tuple[int, str]:
    """Exit status and output of the terminal with `typed` as its input."""
    command = [
        sys.executable,
        "-m",
        "trading_engine",
        "--data-dir",
        str(folder),
        "--port",
        str(venue.tes.port),
        "-c",
        "trader",
    ]
    process = await asyncio.create_subprocess_exec(
        *command,
        *options,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={**os.environ, **environment},
    )
    async with asyncio.timeout(PATIENCE_S):
        output, _ = await process.communicate(typed.encode())
    assert process.returncode is not None
    return process.returncode, output.decode()


async def test_terminal_in_a_pipe_trades_line_by_line(venue: Venue, bob: AsyncClient, tmp_path: Path) -> None:
    await bob.place("AAPL", "sell", 5, price="230.50")
    typed = f"ann\n{PASSWORD}\n{SCRIPT}"
    status, output = await piped(venue, typed, folder=tmp_path)
    assert status == 0, output
    assert "Logged in as ann" in output
    assert " 5 230.50 " in " ".join(output.split())
    assert "Bought 5 AAPL at 230.50" in output
    assert "is filled: buy 5 AAPL at market, 5 filled at 230.50." in output
    assert "is in the book: buy 10 AAPL at 229.90." in output
    assert "Watching COIN." in output
    assert "1 order canceled." in output
    assert "No open orders." not in output
    assert PASSWORD not in output
    assert "Traceback" not in output


async def test_terminal_in_a_pipe_explains_errors_and_exits_with_one(venue: Venue, tmp_path: Path) -> None:
    typed = "buy 1 AAPL 230.005\nbogus\nbuy 1 NONE 2\nreplace 999999 5\nhelp buy\n"
    environment = {USERNAME_VARIABLE: "ann", PASSWORD_VARIABLE: PASSWORD}
    status, output = await piped(venue, typed, folder=tmp_path, **environment)
    assert status == 1
    assert "✗ The price is not a multiple of the instrument's tick size: 230.005 is not a multiple of 0.01." in output
    assert "✗ There is no command 'bogus'. Type help for those there are." in output
    assert "NONE" in output
    assert "✗ You have no such order: 999999." in output
    assert "[day|gtc|ioc|fok]" in output
    assert "Traceback" not in output


async def test_terminal_with_a_wrong_password_says_so(venue: Venue, tmp_path: Path) -> None:
    status, output = await piped(venue, "not-this-one\n", "--username", "ann", folder=tmp_path)
    assert status == 1
    assert "Not logged in." in output
    assert "Traceback" not in output


async def test_terminal_waits_for_a_venue_and_says_so(venue: Venue) -> None:
    output = io.StringIO()
    console = Console(file=output, width=200)
    with pytest.raises(CannotLogIn, match="No venue at"):
        await wait_for_venue("http://127.0.0.1:9", console, 1.5)
    assert (
        "Waiting for a venue at http://127.0.0.1:9. Is it running? Start one with: python main.py up"
        in output.getvalue()
    )
    await wait_for_venue(venue.tes.url, console, 5)


async def test_terminal_asks_for_name_and_password_on_a_screen(venue: Venue) -> None:
    with create_pipe_input() as keys, create_app_session(input=keys, output=DummyOutput()):
        keys.send_text(f"ann\rwrong-password\rann\r{PASSWORD}\r")
        client = await log_in(venue.tes.url, "", Console(file=io.StringIO()), is_interactive=True)
        async with client:
            assert (await client.me()).username == "ann"


# On a screen


class Seat:
    """A trader before a screen."""

    def __init__(self, desk: Desk, screen: Screen, keys: PipeInput) -> None:
        self.desk = desk
        self.screen = screen
        self.keys = keys

    def type(self, text: str) -> None:
        self.keys.send_text(text + "\r")

    async def reads(self, words: str) -> None:
        """Wait until the record says so."""

        async def is_there() -> bool:
            return words in Text.from_ansi("\n".join(self.screen._said)).plain

        await eventually(is_there, PATIENCE_S)

    async def sees(self, words: str) -> None:
        """Wait until the live panes show it."""

        async def is_there() -> bool:
            return words in self.view()

        await eventually(is_there, PATIENCE_S)

    def view(self, columns: int = 160) -> str:
        return "".join(str(piece[1]) for piece in panes.view(self.desk, "Venue", 30, columns))


@pytest_asyncio.fixture(loop_scope="module")
async def seat(venue: Venue) -> AsyncIterator[Seat]:
    async with AsyncClient(venue.tes.url, username="ann", password=PASSWORD) as client:
        screen = Screen("Venue")
        stream = client.stream()
        desk = Desk(client, stream, screen.tell)
        stream.on_event = desk.on_event
        with create_pipe_input() as keys, create_app_session(input=keys, output=DummyOutput()):
            async with stream:
                await desk.open()
                running = asyncio.create_task(screen.run(desk))
                yield Seat(desk, screen, keys)
                keys.send_text("\x03")
                await running
        await client.cancel_all()


async def test_screen_shows_an_own_order_in_ladder_and_list(seat: Seat) -> None:
    seat.type("buy 7 AAPL 228.10")
    await seat.reads("is in the book: buy 7 AAPL at 228.10.")
    await seat.sees("open orders (1)")
    await seat.sees("       7          7      228.10")
    order_id = next(iter(seat.desk.orders))
    seat.type(f"replace {order_id} 5@228.20")
    await seat.reads(f"Order {order_id} is now: buy 5 AAPL at 228.20, new.")
    seat.type(f"cancel {order_id}")
    await seat.reads(f"Order {order_id} canceled: buy 5 AAPL at 228.20.")
    await seat.sees("open orders (0)")


async def test_screen_tells_fills_as_they_happen(seat: Seat, bob: AsyncClient) -> None:
    seat.type("sell 6 AAPL 230.30")
    await seat.reads("is in the book: sell 6 AAPL at 230.30.")
    await bob.place("AAPL", "buy", 4)
    await seat.reads("Sold 4 AAPL at 230.30")
    await seat.reads("2 left).")
    await seat.sees("230.30         4")


async def test_screen_tells_what_somebody_else_did_to_an_own_order(seat: Seat, venue: Venue) -> None:
    seat.type("buy 3 AAPL 228.40")
    await seat.reads("is in the book: buy 3 AAPL at 228.40.")
    async with AsyncClient(venue.tes.url, username="ann", password=PASSWORD) as elsewhere:
        await elsewhere.cancel_all()
    await seat.reads("canceled: buy 3 AAPL at 228.40.")


async def test_screen_explains_what_was_typed_wrong(seat: Seat) -> None:
    seat.type("bogus")
    await seat.reads("✗ There is no command 'bogus'.")
    seat.type("buy 1 AAPL 228.105")
    await seat.reads("✗ The price is not a multiple")


async def test_screen_watches_another_instrument(seat: Seat, bob: AsyncClient) -> None:
    await bob.place("COIN", "sell", "0.04", price="60000.5")
    seat.type("watch COIN")
    await seat.reads("Watching COIN.")
    await seat.sees("60,000.5")
    assert "COIN book" in seat.view(columns=60)
    assert "last trades" not in seat.view(columns=60)


async def test_screen_says_when_matching_is_away(seat: Seat, venue: Venue) -> None:
    await venue.obs.stop()
    try:
        await seat.reads("Matching is unavailable")
        await seat.sees("matching unavailable")
        seat.type("buy 1 AAPL 200")
        await seat.reads("✗ The order book server cannot be reached")
    finally:
        await venue.obs.start()
    await seat.reads("Matching is back.")


@pytest.mark.parametrize(
    ("typed", "completions"),
    [
        ("", []),
        ("bu", ["buy"]),
        ("buy 1 ", ["AAPL", "COIN"]),
        ("buy 1 c", ["COIN"]),
        ("buy 1 AAPL ", ["market"]),
        ("sell 1 AAPL 5 g", ["gtc"]),
        ("watch ", ["AAPL", "COIN"]),
        ("help hi", ["history"]),
        ("positions ", []),
        ("bogus ", []),
    ],
)
async def test_screen_completes_what_is_typed(seat: Seat, typed: str, completions: list[str]) -> None:
    completer = CommandCompleter(seat.desk)
    found = completer.get_completions(Document(typed), CompleteEvent(text_inserted=True))
    assert [completion.text for completion in found] == completions


async def test_screen_completes_own_order_ids(seat: Seat) -> None:
    command = parse("buy 2 AAPL 228.00")
    assert command is not None
    await seat.desk.run(command)
    await seat.sees("open orders (1)")
    order_id = next(iter(seat.desk.orders))
    found = CommandCompleter(seat.desk).get_completions(Document("cancel "), CompleteEvent(completion_requested=True))
    assert [completion.text for completion in found] == ["all", order_id]
