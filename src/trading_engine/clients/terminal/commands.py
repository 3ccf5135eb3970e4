"""The terminal's commands: what may be typed, and what it means. Nothing here does I/O."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal

from trading_engine.clients.sdk.views import Side, TimeInForce

NUMBER = re.compile(r"\d{1,18}(\.\d{1,18})?")
SYMBOL = re.compile(r"[A-Z][A-Z0-9._/-]{0,31}")
TIMES_IN_FORCE: tuple[TimeInForce, ...] = ("day", "gtc", "ioc", "fok")


class CommandError(ValueError):
    """What was typed is no command; the message says what is wrong and how it would be right."""


@dataclass(frozen=True, slots=True)
class PlaceCommand:
    side: Side
    quantity: Decimal
    symbol: str
    price: Decimal | None
    """None for a market order."""
    time_in_force: TimeInForce | None = None
    post_only: bool = False


@dataclass(frozen=True, slots=True)
class CancelCommand:
    order_id: str


@dataclass(frozen=True, slots=True)
class CancelAllCommand:
    symbol: str | None = None


@dataclass(frozen=True, slots=True)
class ReplaceCommand:
    order_id: str
    quantity: Decimal | None
    price: Decimal | None


@dataclass(frozen=True, slots=True)
class ShowCommand:
    """Show something; `what` is the command's own name."""

    what: str
    symbol: str | None = None


@dataclass(frozen=True, slots=True)
class HelpCommand:
    name: str | None = None


@dataclass(frozen=True, slots=True)
class QuitCommand:
    pass


Command = PlaceCommand | CancelCommand | CancelAllCommand | ReplaceCommand | ShowCommand | HelpCommand | QuitCommand


@dataclass(frozen=True, slots=True)
class Entry:
    """One command as the help shows it."""

    name: str
    usage: str
    meaning: str
    parse: Callable[[str, Sequence[str]], Command]
    aliases: tuple[str, ...] = ()


def parse(line: str) -> Command | None:
    """The command in a line; None for an empty line or a comment (`# …`). Raises `CommandError`."""
    words = line.split("#", 1)[0].split()
    if not words:
        return None
    entry = find_entry(words[0])
    if entry is None:
        raise CommandError(f"There is no command {words[0]!r}. Type help for those there are.")
    return entry.parse(entry.name, words[1:])


def find_entry(name: str) -> Entry | None:
    name = name.lower()
    return next((entry for entry in ENTRIES if name == entry.name or name in entry.aliases), None)


def _place(name: str, words: Sequence[str]) -> Command:
    if len(words) < 3:
        raise _usage(name)
    side: Side = "buy" if name == "buy" else "sell"
    price = None if words[2].lower() in ("market", "mkt") else _number(words[2].removeprefix("@"), "price", name)
    time_in_force: TimeInForce | None = None
    post_only = False
    for word in (word.lower() for word in words[3:]):
        if word in ("post", "post-only"):
            post_only = True
        else:
            time_in_force = _time_in_force(word, name)
    return PlaceCommand(
        side, _number(words[0], "quantity", name), _symbol(words[1], name), price, time_in_force, post_only
    )


def _time_in_force(word: str, name: str) -> TimeInForce:
    for known in TIMES_IN_FORCE:
        if word == known:
            return known
    raise CommandError(
        f"{word!r} is neither a time in force ({', '.join(TIMES_IN_FORCE)}) nor post. Usage: {_usage_of(name)}"
    )


def _cancel(name: str, words: Sequence[str]) -> Command:
    if words and words[0].lower() == "all" and len(words) <= 2:
        return CancelAllCommand(_symbol(words[1], name) if len(words) == 2 else None)
    if len(words) != 1:
        raise _usage(name)
    return CancelCommand(_order_id(words[0], name))


def _replace(name: str, words: Sequence[str]) -> Command:
    if len(words) != 2:
        raise _usage(name)
    quantity, at, price = words[1].partition("@")
    if not quantity and not price:
        raise _usage(name)
    return ReplaceCommand(
        _order_id(words[0], name),
        _number(quantity, "quantity", name) if quantity else None,
        _number(price, "price", name) if at else None,
    )


def _show(name: str, words: Sequence[str]) -> Command:
    if len(words) > 1:
        raise _usage(name)
    return ShowCommand(name, _symbol(words[0], name) if words else None)


def _show_one(name: str, words: Sequence[str]) -> Command:
    if len(words) != 1:
        raise _usage(name)
    return ShowCommand(name, _symbol(words[0], name))


def _show_plain(name: str, words: Sequence[str]) -> Command:
    if words:
        raise _usage(name)
    return ShowCommand(name)


def _help(name: str, words: Sequence[str]) -> Command:
    if len(words) > 1:
        raise _usage(name)
    if words and find_entry(words[0]) is None:
        raise CommandError(f"There is no command {words[0]!r}. Type help for those there are.")
    return HelpCommand(words[0].lower() if words else None)


def _quit(name: str, words: Sequence[str]) -> Command:
    if words:
        raise _usage(name)
    return QuitCommand()


def _number(text: str, what: str, name: str) -> Decimal:
    if not NUMBER.fullmatch(text):
        raise CommandError(f"The {what} {text!r} is not a number such as 100 or 230.10. Usage: {_usage_of(name)}")
    return Decimal(text)


def _symbol(text: str, name: str) -> str:
    symbol = text.upper()
    if not SYMBOL.fullmatch(symbol):
        raise CommandError(f"{text!r} is not a symbol such as AAPL. Usage: {_usage_of(name)}")
    return symbol


def _order_id(text: str, name: str) -> str:
    if not text.isascii() or not text.isdigit():
        raise CommandError(f"{text!r} is not an order id such as 123. Usage: {_usage_of(name)}")
    return text


def _usage(name: str) -> CommandError:
    return CommandError(f"Usage: {_usage_of(name)}")


def _usage_of(name: str) -> str:
    return next(entry.usage for entry in ENTRIES if entry.name == name)


ENTRIES: tuple[Entry, ...] = (
    Entry(
        "buy",
        "buy QUANTITY SYMBOL PRICE|market [day|gtc|ioc|fok] [post]",
        "place a buy order: buy 100 AAPL 230.10",
        _place,
    ),
    Entry(
        "sell",
        "sell QUANTITY SYMBOL PRICE|market [day|gtc|ioc|fok] [post]",
        "place a sell order: sell 50 AAPL market",
        _place,
    ),
    Entry("cancel", "cancel ORDER | cancel all [SYMBOL]", "cancel one order, or all", _cancel),
    Entry("replace", "replace ORDER QUANTITY@PRICE", "change an order: 123 80@230.20, 123 @230.20 or 123 80", _replace),
    Entry("orders", "orders [SYMBOL]", "open orders", _show),
    Entry("history", "history [SYMBOL]", "orders that have ended, newest first", _show),
    Entry("fills", "fills [SYMBOL]", "executions, newest first", _show),
    Entry("positions", "positions", "holdings with profit and loss", _show_plain),
    Entry("account", "account", "cash and equity", _show_plain),
    Entry("book", "book [SYMBOL]", "the order book", _show),
    Entry("trades", "trades [SYMBOL]", "last trades of the market", _show),
    Entry("markets", "markets", "all instruments with their prices", _show_plain),
    Entry("watch", "watch SYMBOL", "follow another instrument", _show_one),
    Entry("help", "help [COMMAND]", "this list, or one command", _help, ("?",)),
    Entry("quit", "quit", "leave; orders stay in the market", _quit, ("exit", "q")),
)
