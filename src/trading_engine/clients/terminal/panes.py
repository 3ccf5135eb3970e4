"""The live panes, as styled text for prompt_toolkit: one text for the whole view.

They are drawn several times a second, so they are put together from padded strings. The same from Rich tables took twenty times as long,
and as nested windows of prompt_toolkit three times.
"""

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from itertools import islice

from prompt_toolkit.formatted_text import StyleAndTextTuples

from trading_engine.clients.sdk import views
from trading_engine.clients.terminal.desk import Desk
from trading_engine.clients.terminal.tables import BAR_CHARACTERS, clock, number

Line = list[tuple[str, str]]
"""Pieces of text with their styles; all lines of a pane are equally wide."""

STYLES = {"buy": "ansigreen", "sell": "ansired"}
QUIET = "ansibrightblack"
TITLE = "bold"
LADDER_WIDTH = 8 + 11 + 12 + 2 + BAR_CHARACTERS
TRADES_WIDTH = 8 + 12 + 10
OWN_WIDTH = 43
GAP = "  │ "


def view(desk: Desk, venue_name: str, rows: int, columns: int) -> StyleAndTextTuples:
    """Everything live, `rows` high: as many panes as `columns` have room for."""
    height = rows - 1
    panes = [(ladder(desk, height), LADDER_WIDTH), (trades(desk, height), TRADES_WIDTH), (own(desk, height), OWN_WIDTH)]
    shown: list[tuple[list[Line], int]] = []
    for lines, width in panes:
        columns -= width + len(GAP)
        if not shown or columns >= 0:
            shown.append((lines, width))
    text: StyleAndTextTuples = [*heading(desk, venue_name), ("", "\n")]
    for row in range(height):
        for number_, (lines, width) in enumerate(shown):
            if number_:
                text.append((QUIET, GAP))
            text.extend(lines[row] if row < len(lines) else [("", " " * width)])
        text.append(("", "\n"))
    return text


def heading(desk: Desk, venue_name: str) -> Line:
    ticker = desk.tickers.get(desk.symbol)
    line: Line = [("reverse", f" {venue_name} "), ("bold", f"  {desk.symbol}")]
    if ticker is not None:
        change = ticker.change or Decimal(0)
        style = STYLES["buy"] if change > 0 else STYLES["sell"] if change < 0 else ""
        line += [
            ("bold", f"  {number(ticker.last)}"),
            (style, f"  {change:+,f}"),
            ("", f"  volume {number(ticker.volume)}"),
        ]
    line += [("", f"   {cash.currency} {number(cash.available)} available") for cash in desk.cash.values()]
    if desk.connection:
        line.append(("bold ansiyellow", f"   {desk.connection}"))
    return line


def ladder(desk: Desk, height: int) -> list[Line]:
    """Asks above, bids below; bars show cumulative quantity."""
    lines: list[Line] = [[(TITLE, f"{desk.symbol + ' book':{LADDER_WIDTH}}")]]
    lines.append([(QUIET, f"{'own':>8}{'quantity':>11}{'price':>12}  {'depth':{BAR_CHARACTERS}}")])
    book = desk.book
    if book is None:
        return lines
    rows = max(1, (height - len(lines) - 1) // 2)
    asks, bids = book.asks(rows), book.bids(rows)
    own_levels = desk.own_levels(desk.symbol)
    ask_sums, bid_sums = _sums(asks), _sums(bids)
    deepest = max([*ask_sums[-1:], *bid_sums[-1:], Decimal(1)])
    lines += [[("", " " * LADDER_WIDTH)]] * (rows - len(asks))
    for level, total in zip(reversed(asks), reversed(ask_sums), strict=True):
        lines.append(_ladder_line("sell", level, total / deepest, own_levels))
    spread = f"{asks[0].price - bids[0].price:f}" if asks and bids else "-"
    lines.append([(QUIET, f"{'':8}{'spread':>11}{spread:>12}  {'':{BAR_CHARACTERS}}")])
    for level, total in zip(bids, bid_sums, strict=True):
        lines.append(_ladder_line("buy", level, total / deepest, own_levels))
    return lines


def _sums(levels: Sequence[views.Level]) -> list[Decimal]:
    total = Decimal(0)
    return [total := total + level.quantity for level in levels]


def _ladder_line(
    side: str, level: views.Level, part: Decimal, own_levels: Mapping[tuple[str, Decimal], Decimal]
) -> Line:
    mine = own_levels.get((side, level.price))
    bar = "█" * max(1, round(part * BAR_CHARACTERS))
    return [
        ("bold", f"{number(mine) if mine else '':>8}"),
        ("", f"{number(level.quantity):>11}"),
        (STYLES[side], f"{number(level.price):>12}"),
        (QUIET, f"  {bar:{BAR_CHARACTERS}}"),
    ]


def trades(desk: Desk, height: int) -> list[Line]:
    """Newest first."""
    lines: list[Line] = [
        [(TITLE, f"{'last trades':{TRADES_WIDTH}}")],
        [(QUIET, f"{'time':8}{'price':>12}{'quantity':>10}")],
    ]
    for trade in islice(desk.trades, max(0, height - len(lines))):
        price = (STYLES[trade.side], f"{number(trade.price):>12}")
        lines.append([("", clock(trade.time)), price, ("", f"{number(trade.quantity):>10}")])
    return lines


def own(desk: Desk, height: int) -> list[Line]:
    """Open orders, newest first, and below them what the account holds."""
    held = [position for position in desk.positions.values() if position.quantity]
    rows = max(1, height - 5 - min(len(held), height // 2))
    lines = orders(desk.orders.values(), rows)
    lines.append([("", " " * OWN_WIDTH)])
    return [*lines, *positions(desk, held)][:height]


def orders(open_orders: Iterable[views.Order], rows: int) -> list[Line]:
    newest_first = sorted(open_orders, key=lambda order: -int(order.order_id))
    title = f"open orders ({len(newest_first)})"
    lines: list[Line] = [
        [(TITLE, f"{title:{OWN_WIDTH}}")],
        [(QUIET, f"{'order':>8} side {'symbol':8}{'left':>9}{'price':>12} ")],
    ]
    for order in newest_first[:rows]:
        side = (STYLES[order.side], f"{order.side:4} ")
        rest = f"{order.symbol:8}{number(order.leaves_quantity):>9}{number(order.price):>12} "
        lines.append([("", f"{order.order_id:>8} "), side, ("", rest)])
    return lines


def positions(desk: Desk, held: Sequence[views.PositionUpdate]) -> list[Line]:
    lines: list[Line] = [
        [(TITLE, f"{'positions':{OWN_WIDTH}}")],
        [(QUIET, f"{'symbol':8}{'quantity':>11}{'available':>12}{'last':>12}")],
    ]
    for position in held:
        ticker = desk.tickers.get(position.symbol)
        last = number(ticker.last) if ticker is not None else "-"
        quantities = f"{number(position.quantity):>11}{number(position.available):>12}"
        lines.append([("", f"{position.symbol:8}{quantities}{last:>12}")])
    return lines
