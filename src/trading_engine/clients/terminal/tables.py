"""How the terminal shows things: Rich renderables from views. Red and green are for direction only."""

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal

from rich import box
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from trading_engine.clients.sdk import views
from trading_engine.clients.terminal.commands import ENTRIES, find_entry

UP = "green"
DOWN = "red"
QUIET = "bright_black"
BAR_CHARACTERS = 12


def side_style(side: str) -> str:
    return UP if side == "buy" else DOWN


def number(value: Decimal | None) -> str:
    """With thousands separators; a dash for nothing."""
    return "-" if value is None else f"{value:,f}"


def signed(value: Decimal | None) -> Text:
    if value is None:
        return Text("-")
    return Text(f"{value:+,f}", style=UP if value > 0 else DOWN if value < 0 else "")


def clock(moment: object) -> str:
    return f"{moment:%H:%M:%S}" if moment is not None else "-"


def price_words(order: views.Order) -> str:
    """A market order has a limit too, from its protection; it matters only while the order is open."""
    return "market" if order.price is None or (order.type == "market" and not order.is_open) else number(order.price)


def _table(*columns: tuple[str, str]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, header_style=QUIET)
    for name, justify in columns:
        table.add_column(name, justify="right" if justify == "r" else "left", no_wrap=True)
    return table


def orders_table(orders: Iterable[views.Order]) -> Table:
    table = _table(
        ("order", "r"),
        ("side", "l"),
        ("symbol", "l"),
        ("quantity", "r"),
        ("filled", "r"),
        ("price", "r"),
        ("average", "r"),
        ("tif", "l"),
        ("status", "l"),
    )
    for order in orders:
        status = order.status.replace("_", " ") + (f" ({order.reason.lower()})" if order.reason else "")
        table.add_row(
            order.order_id,
            Text(order.side, style=side_style(order.side)),
            order.symbol,
            number(order.quantity),
            number(order.filled_quantity),
            price_words(order),
            number(order.average_price),
            order.time_in_force,
            status,
        )
    return table


def fills_table(fills: Iterable[views.Fill]) -> Table:
    table = _table(
        ("time", "l"),
        ("order", "r"),
        ("side", "l"),
        ("symbol", "l"),
        ("quantity", "r"),
        ("price", "r"),
        ("fee", "r"),
        ("", "l"),
    )
    for fill in fills:
        table.add_row(
            clock(fill.time),
            fill.order_id,
            Text(fill.side, style=side_style(fill.side)),
            fill.symbol,
            number(fill.quantity),
            number(fill.price),
            number(fill.fee),
            fill.liquidity,
        )
    return table


def positions_table(positions: Iterable[views.Position]) -> Table:
    table = _table(
        ("symbol", "l"),
        ("quantity", "r"),
        ("available", "r"),
        ("average", "r"),
        ("market", "r"),
        ("value", "r"),
        ("unrealized", "r"),
        ("realized", "r"),
    )
    for position in positions:
        table.add_row(
            position.symbol,
            number(position.quantity),
            number(position.available),
            number(position.average_price),
            number(position.market_price),
            number(position.market_value),
            signed(position.unrealized_pnl),
            signed(position.realized_pnl),
        )
    return table


def account_table(portfolio: views.Portfolio) -> Table:
    table = _table((portfolio.name, "l"), ("balance", "r"), ("held by orders", "r"), ("available", "r"))
    for cash in portfolio.cash:
        table.add_row(cash.currency, number(cash.balance), number(cash.held), number(cash.available))
    table.add_section()
    table.add_row("shares", number(portfolio.market_value), "", "")
    table.add_row("equity", number(portfolio.equity), "", "")
    table.add_row("profit and loss", signed(_sum(portfolio.realized_pnl, portfolio.unrealized_pnl)), "", "")
    return table


def _sum(*values: Decimal | None) -> Decimal | None:
    known = [value for value in values if value is not None]
    return sum(known, Decimal(0)) if known else None


def markets_table(tickers: Iterable[views.Ticker]) -> Table:
    table = _table(
        ("symbol", "l"),
        ("last", "r"),
        ("change %", "r"),
        ("bid", "r"),
        ("ask", "r"),
        ("high", "r"),
        ("low", "r"),
        ("volume", "r"),
    )
    for ticker in tickers:
        table.add_row(
            ticker.symbol,
            number(ticker.last),
            signed(ticker.change_percent),
            number(ticker.bid),
            number(ticker.ask),
            number(ticker.high),
            number(ticker.low),
            number(ticker.volume),
        )
    return table


def trades_table(trades: Iterable[views.Trade]) -> Table:
    table = _table(("time", "l"), ("price", "r"), ("quantity", "r"))
    for trade in trades:
        table.add_row(
            clock(trade.time), Text(number(trade.price), style=side_style(trade.side)), number(trade.quantity)
        )
    return table


def ladder(
    bids: Sequence[views.Level],
    asks: Sequence[views.Level],
    rows: int,
    own: Mapping[tuple[str, Decimal], Decimal] | None = None,
) -> Table:
    """Asks above, bids below, best prices in the middle; bars show cumulative quantity, `own` the quantity of own orders."""
    own = own or {}
    table = _table(("own", "r"), ("quantity", "r"), ("price", "r"), ("depth", "l"))
    asks, bids = asks[:rows], bids[:rows]
    deepest = max(_total(asks), _total(bids), Decimal(1))
    sums = [_total(asks[: index + 1]) for index in range(len(asks))]
    for _ in range(rows - len(asks)):
        table.add_row("", "", "", "")
    for level, total in zip(reversed(asks), reversed(sums), strict=True):
        _ladder_row(table, level, total / deepest, DOWN, own.get(("sell", level.price)))
    table.add_row("", "", Text(_spread(bids, asks), style=QUIET), "")
    total = Decimal(0)
    for level in bids:
        total += level.quantity
        _ladder_row(table, level, total / deepest, UP, own.get(("buy", level.price)))
    return table


def _ladder_row(table: Table, level: views.Level, part: Decimal, style: str, own: Decimal | None) -> None:
    bar = "█" * max(1, round(part * BAR_CHARACTERS))
    table.add_row(
        number(own) if own else "",
        number(level.quantity),
        Text(number(level.price), style=style),
        Text(bar, style=f"dim {style}"),
    )


def _total(levels: Sequence[views.Level]) -> Decimal:
    return sum((level.quantity for level in levels), Decimal(0))


def _spread(bids: Sequence[views.Level], asks: Sequence[views.Level]) -> str:
    return f"spread {asks[0].price - bids[0].price:f}" if bids and asks else "no market"


def help_table(name: str | None) -> RenderableType:
    entry = find_entry(name) if name else None
    entries = ENTRIES if entry is None else (entry,)
    table = _table(("command", "l"), ("", "l"))
    for item in entries:
        table.add_row(Text(item.usage), Text(item.meaning))  # The brackets are no markup.
    return table
