"""What may be typed into the terminal, and what it shows, without a venue."""

from decimal import Decimal

import pytest
from rich.console import Console, RenderableType

from trading_engine.clients.sdk.views import Level
from trading_engine.clients.terminal import tables
from trading_engine.clients.terminal.commands import (
    ENTRIES,
    CancelAllCommand,
    CancelCommand,
    Command,
    CommandError,
    HelpCommand,
    PlaceCommand,
    QuitCommand,
    ReplaceCommand,
    ShowCommand,
    parse,
)

D = Decimal


@pytest.mark.parametrize(
    ("line", "command"),
    [
        ("buy 100 AAPL 230.10", PlaceCommand("buy", D(100), "AAPL", D("230.10"))),
        ("  SELL 50 aapl MARKET ", PlaceCommand("sell", D(50), "AAPL", None)),
        ("buy 0.5 BTC-USD @60000", PlaceCommand("buy", D("0.5"), "BTC-USD", D(60000))),
        ("buy 1 AAPL 2 gtc post", PlaceCommand("buy", D(1), "AAPL", D(2), "gtc", post_only=True)),
        ("buy 1 AAPL market fok", PlaceCommand("buy", D(1), "AAPL", None, "fok")),
        ("cancel 123", CancelCommand("123")),
        ("cancel all", CancelAllCommand()),
        ("cancel all aapl", CancelAllCommand("AAPL")),
        ("replace 123 80@230.20", ReplaceCommand("123", D(80), D("230.20"))),
        ("replace 123 @230.20", ReplaceCommand("123", None, D("230.20"))),
        ("replace 123 80", ReplaceCommand("123", D(80), None)),
        ("orders", ShowCommand("orders")),
        ("fills msft", ShowCommand("fills", "MSFT")),
        ("book AAPL # with a comment", ShowCommand("book", "AAPL")),
        ("watch AAPL", ShowCommand("watch", "AAPL")),
        ("positions", ShowCommand("positions")),
        ("account", ShowCommand("account")),
        ("help", HelpCommand()),
        ("? buy", HelpCommand("buy")),
        ("quit", QuitCommand()),
        ("exit", QuitCommand()),
        ("", None),
        ("   # nothing", None),
    ],
)
def test_command_is_understood(line: str, command: Command | None) -> None:
    assert parse(line) == command


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("bogus", "no command 'bogus'"),
        ("buy", "Usage: buy"),
        ("buy ten AAPL 1", "'ten' is not a number"),
        ("buy -5 AAPL 1", "'-5' is not a number"),
        ("buy 1e3 AAPL 1", "'1e3' is not a number"),
        ("buy 1 ?? 1", "'??' is not a symbol"),
        ("buy 1 AAPL cheap", "'cheap' is not a number"),
        ("buy 1 AAPL 1 later", "'later' is neither"),
        ("cancel", "Usage: cancel"),
        ("cancel x", "'x' is not an order id"),
        ("cancel all AAPL MSFT", "Usage: cancel"),
        ("replace 1", "Usage: replace"),
        ("replace 1 @", "Usage: replace"),
        ("replace 1 5@x", "'x' is not a number"),
        ("watch", "Usage: watch"),
        ("orders A B", "Usage: orders"),
        ("help bogus", "no command 'bogus'"),
        ("quit now", "Usage: quit"),
    ],
)
def test_command_that_is_wrong_is_explained(line: str, words: str) -> None:
    with pytest.raises(CommandError, match=words.replace("?", r"\?")):
        parse(line)


def shown(renderable: RenderableType) -> str:
    console = Console(width=120, force_terminal=False, record=True, file=None)
    with console.capture() as capture:
        console.print(renderable)
    return capture.get()


def test_help_lists_every_command_with_its_brackets() -> None:
    text = shown(tables.help_table(None))
    assert all(entry.usage in text for entry in ENTRIES)


def test_ladder_has_asks_above_bids_and_own_quantities() -> None:
    bids = [Level(D("10.00"), D(5), 1), Level(D("9.99"), D(1500), 2)]
    asks = [Level(D("10.02"), D(3), 1)]
    text = shown(tables.ladder(bids, asks, 2, {("buy", D("9.99")): D(40)}))
    lines = [line.split() for line in text.splitlines()[2:]]
    assert [line[:-1] for line in lines if line] == [
        ["3", "10.02"],
        ["spread"],
        ["5", "10.00"],
        ["40", "1,500", "9.99"],
    ]


def test_ladder_of_an_empty_book_says_so() -> None:
    assert "no market" in shown(tables.ladder([], [], 3))
