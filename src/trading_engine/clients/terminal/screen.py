"""The full screen: live panes above, what was said and answered below them, the command line at the bottom.

prompt_toolkit owns the screen and the keys. The panes are drawn at most `FRAMES_PER_SECOND` times a second and only when something
changed; Rich draws the tables that commands answer with.
"""

import asyncio
import io
from collections import deque
from itertools import islice

from prompt_toolkit.application import Application
from prompt_toolkit.auto_suggest import AutoSuggestFromHistory
from prompt_toolkit.buffer import Buffer
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document
from prompt_toolkit.formatted_text import ANSI, StyleAndTextTuples
from prompt_toolkit.history import InMemoryHistory
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.layout import (
    Float,
    FloatContainer,
    HSplit,
    Layout,
    VSplit,
    Window,
)
from prompt_toolkit.layout.controls import BufferControl, FormattedTextControl
from prompt_toolkit.layout.menus import CompletionsMenu
from rich.console import Console, RenderableType
from rich.text import Text

from trading_engine.clients.sdk import views
from trading_engine.clients.sdk.errors import TradingError
from trading_engine.clients.terminal import panes, tables
from trading_engine.clients.terminal.commands import ENTRIES, CommandError, QuitCommand, find_entry, parse
from trading_engine.clients.terminal.desk import Desk, error_line

FRAMES_PER_SECOND = 4
HINTS = "buy 100 AAPL 230.10 · sell 50 AAPL market · cancel 123 · replace 123 80@230.20 · watch MSFT · help · quit"
SAID_LINES_MAX = 1000
SAID_ROWS = 10
COLUMNS_UNKNOWN = 100
OTHER_ROWS = 2
"""The command line and the hints under it."""


class Screen:
    """Runs until `quit`, Ctrl-C or Ctrl-D."""

    def __init__(self, venue_name: str) -> None:
        self._venue_name = venue_name
        self._said: deque[str] = deque(maxlen=SAID_LINES_MAX)
        self._scroll = 0
        self._record_drawn: tuple[tuple[str, ...], ANSI] = ((), ANSI(""))
        self._busy: set[asyncio.Task[None]] = set()
        self._application: Application[None] | None = None
        self._desk: Desk | None = None

    def tell(self, line: RenderableType) -> None:
        """Put something on the record."""
        columns = self._size()[1]
        self._said.extend(draw(line, columns).rstrip("\n").split("\n"))
        self._scroll = 0
        if self._application is not None:
            self._application.invalidate()

    async def run(self, desk: Desk) -> None:
        self._desk = desk
        line = Buffer(
            completer=CommandCompleter(desk),
            complete_while_typing=True,
            history=InMemoryHistory(),
            auto_suggest=AutoSuggestFromHistory(),
            multiline=False,
            accept_handler=self._accept,
        )
        said = Window(FormattedTextControl(self._record), height=SAID_ROWS, always_hide_cursor=True)
        prompt = VSplit(
            [Window(FormattedTextControl([("bold", "> ")]), width=2, height=1), Window(BufferControl(line), height=1)]
        )
        root = FloatContainer(
            HSplit(
                [
                    Window(FormattedTextControl(self._view), always_hide_cursor=True),
                    said,
                    prompt,
                    Window(FormattedTextControl([(panes.QUIET, HINTS)]), height=1),
                ]
            ),
            [Float(CompletionsMenu(max_height=8), xcursor=True, ycursor=True)],
        )
        self._application = Application(Layout(root, focused_element=line), key_bindings=self._keys(), full_screen=True)
        self.tell(Text(f"Logged in as {desk.username}. Type help for the commands, Tab completes.", style="dim"))
        frames = asyncio.create_task(self._draw_frames())
        try:
            await self._application.run_async()
        finally:
            frames.cancel()
            await asyncio.gather(frames, *self._busy, return_exceptions=True)

    # Commands

    def _accept(self, line: Buffer) -> bool:
        text = line.text.strip()
        if text:
            self.tell(Text(f"> {text}", style="bold"))
            task = asyncio.get_running_loop().create_task(self._carry_out(text))
            self._busy.add(task)
            task.add_done_callback(self._busy.discard)
        return False

    async def _carry_out(self, text: str) -> None:
        assert self._desk is not None
        assert self._application is not None
        try:
            command = parse(text)
            if isinstance(command, QuitCommand):
                self._application.exit()
            elif command is not None:
                self.tell(await self._desk.run(command))
        except CommandError as error:
            self.tell(Text(f"✗ {error}", style="yellow"))
        except TradingError as error:
            self.tell(error_line(error))

    def _keys(self) -> KeyBindings:
        keys = KeyBindings()

        @keys.add("c-c")
        @keys.add("c-d")
        def _leave(event: KeyPressEvent) -> None:
            event.app.exit()

        @keys.add("pageup")
        def _back(_: KeyPressEvent) -> None:
            self._scroll = min(self._scroll + SAID_ROWS - 1, max(0, len(self._said) - SAID_ROWS))

        @keys.add("pagedown")
        def _forth(_: KeyPressEvent) -> None:
            self._scroll = max(0, self._scroll - SAID_ROWS + 1)

        return keys

    # Drawing

    async def _draw_frames(self) -> None:
        shown = -1
        while True:
            await asyncio.sleep(1 / FRAMES_PER_SECOND)
            assert self._desk is not None
            assert self._application is not None
            if self._desk.changes != shown:
                shown = self._desk.changes
                self._application.invalidate()

    def _view(self) -> StyleAndTextTuples:
        assert self._desk is not None
        rows, columns = self._size()
        return panes.view(self._desk, self._venue_name, max(1, rows - SAID_ROWS - OTHER_ROWS), columns)

    def _size(self) -> tuple[int, int]:
        if self._application is None:
            return SAID_ROWS, COLUMNS_UNKNOWN
        size = self._application.output.get_size()
        return size.rows, size.columns

    def _record(self) -> ANSI:
        end = len(self._said) - self._scroll
        shown = tuple(islice(self._said, max(0, end - SAID_ROWS), end))
        if shown != self._record_drawn[0]:
            self._record_drawn = (shown, ANSI("\n".join(shown)))
        return self._record_drawn[1]


class CommandCompleter(Completer):
    """Command names, then symbols, own order ids and the words that a command takes."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> list[Completion]:
        if not document.text.strip() and not complete_event.completion_requested:
            return []  # An empty line asks for nothing; Tab does.
        words = document.text_before_cursor.split()
        is_new_word = not words or document.text_before_cursor.endswith(" ")
        done = words if is_new_word else words[:-1]
        start = "" if is_new_word else words[-1]
        return [
            Completion(candidate, start_position=-len(start), display_meta=meta)
            for candidate, meta in self._candidates([word.lower() for word in done])
            if candidate.lower().startswith(start.lower())
        ]

    def _candidates(self, done: list[str]) -> list[tuple[str, str]]:
        if not done:
            return [(entry.name, entry.usage) for entry in ENTRIES]
        entry = find_entry(done[0])
        name = entry.name if entry is not None else ""
        if name in ("buy", "sell"):
            return self._order_words(len(done))
        if name in ("cancel", "replace") and len(done) == 1:
            every = [("all", "every open order")] if name == "cancel" else []
            return [*every, *((order.order_id, order_meta(order)) for order in self._desk.orders.values())]
        if (name == "cancel" and done[1:] == ["all"]) or (
            name in ("orders", "history", "fills", "book", "trades", "watch") and len(done) == 1
        ):
            return self._symbols()
        if name == "help" and len(done) == 1:
            return [(entry.name, entry.meaning) for entry in ENTRIES]
        return []

    def _order_words(self, done: int) -> list[tuple[str, str]]:
        if done == 2:
            return self._symbols()
        if done == 3:
            return [("market", "at the best price there is")]
        return [(word, "") for word in ("day", "gtc", "ioc", "fok", "post")] if done > 3 else []

    def _symbols(self) -> list[tuple[str, str]]:
        return [
            (symbol, tables.number(ticker.last) if (ticker := self._desk.tickers.get(symbol)) else "")
            for symbol in self._desk.symbols
        ]


def order_meta(order: views.Order) -> str:
    return f"{order.side} {tables.number(order.leaves_quantity)} {order.symbol} at {tables.number(order.price)}"


def draw(renderable: RenderableType, columns: int) -> str:
    """Text with ANSI colours."""
    output = io.StringIO()
    console = Console(file=output, force_terminal=True, color_system="256", width=columns, legacy_windows=False)
    console.print(renderable, highlight=False)
    return output.getvalue()
