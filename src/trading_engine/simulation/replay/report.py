"""What a replay found out, for people and for programs."""

import msgspec
from rich.console import Console
from rich.table import Table

from trading_engine.simulation.replay.comparison import BookComparison, Difference
from trading_engine.simulation.replay.lobster_files import Level
from trading_engine.simulation.replay.market import ReplayMarket
from trading_engine.simulation.replay.recorded_orders import Counts


class ReplayReport(msgspec.Struct, frozen=True):
    """One replay. The JSON output holds exactly these fields, and those of `counts` beside them."""

    symbol: str
    messages: int
    messages_per_second: int
    seconds: float
    commands: int
    """Sent to the venue, the opening of its market and accounts included."""
    open_orders: int
    """At the end."""
    state_hash: str
    """Of the venue at the end: two replays of the same files agree in it."""
    rows_in_book_file: int
    levels_compared: int
    """On each side."""
    rows_compared: int
    rows_equal: int
    """Equal on all levels, before anything was taken over from the book file at that row."""
    rows_equal_as_far_as_known: int
    levels_revealed: int
    levels_corrected: int
    first_difference: Difference | None
    counts: Counts


def make_report(
    symbol: str,
    messages: int,
    seconds: float,
    rows_in_book_file: int,
    market: ReplayMarket,
    counts: Counts,
    comparison: BookComparison,
) -> ReplayReport:
    return ReplayReport(
        symbol=symbol,
        messages=messages,
        messages_per_second=round(messages / seconds),
        seconds=round(seconds, 3),
        commands=market.venue.command_sequence,
        open_orders=market.venue.open_order_count,
        state_hash=market.venue.state_hash(),
        rows_in_book_file=rows_in_book_file,
        levels_compared=comparison.level_count,
        rows_compared=comparison.rows_compared,
        rows_equal=comparison.rows_equal,
        rows_equal_as_far_as_known=comparison.rows_equal_as_far_as_known,
        levels_revealed=comparison.levels_revealed,
        levels_corrected=comparison.levels_corrected,
        first_difference=comparison.first_difference,
        counts=counts,
    )


def to_json(report: ReplayReport) -> str:
    fields = msgspec.to_builtins(report)
    fields |= fields.pop("counts")
    return msgspec.json.encode(fields).decode()


def print_report(report: ReplayReport, console: Console) -> None:
    """Only what came up: a line whose figure is 0 says nothing, except for the ones that a reader looks for."""
    table = Table(
        title=f"{report.symbol}: {report.messages:,} messages", title_justify="left", show_header=False, box=None
    )
    table.add_column(justify="left")
    table.add_column(justify="right")
    for label, value in _lines(report):
        table.add_row(label, value)
    console.print(table)
    if report.first_difference is not None:
        console.print(_difference_text(report.first_difference))


def _lines(report: ReplayReport) -> list[tuple[str, str]]:
    counts = report.counts
    lines = [("messages a second", f"{report.messages_per_second:,}")]
    if report.rows_in_book_file:
        lines.append(
            (
                f"book rows equal on all {report.levels_compared} levels",
                f"{report.rows_equal:,} of {report.rows_compared:,}",
            )
        )
        if report.rows_compared != report.rows_in_book_file:
            lines.append(("book rows without a message", f"{report.rows_in_book_file - report.rows_compared:,}"))
    if report.rows_equal != report.rows_compared:
        lines += [
            ("  equal as far as the messages can tell", f"{report.rows_equal_as_far_as_known:,}"),
            ("  levels that came into view, taken over", f"{report.levels_revealed:,}"),
            ("  other levels corrected", f"{report.levels_corrected:,}"),
        ]
    lines.append(("executions at the head of the queue", f"{counts.executions_at_head:,} of {counts.executions:,}"))
    optional = (
        ("  another order was at the head (undone)", counts.executions_off_head),
        ("  of orders that were never submitted", counts.executions_of_unknown_orders),
        ("orders from before the recording", counts.seeded_orders),
        ("submissions", counts.submissions),
        ("reductions", counts.reductions),
        ("  of orders that were never submitted", counts.reductions_of_unknown_orders),
        ("deletions", counts.deletions),
        ("  of orders that were never submitted", counts.deletions_of_unknown_orders),
        ("hidden executions (no effect on the book)", counts.hidden_executions),
        ("auction trades (no effect on the book)", counts.crosses),
        ("trading halts", counts.halts),
        ("  messages that a halted market refused", counts.refused_in_halt),
        ("messages that contradict earlier ones", counts.disagreements),
        ("orders removed because they would have traded", counts.stale_orders_removed),
    )
    lines += [(label, f"{value:,}") for label, value in optional if value]
    lines += [("orders open at the end", f"{report.open_orders:,}"), ("state hash", report.state_hash)]
    return lines


def _difference_text(difference: Difference) -> str:
    return (
        f"First difference: book row {difference.book_line} (message {difference.message_line}), {difference.side} level "
        f"{difference.level}: recorded {_level_text(difference.recorded)}, venue {_level_text(difference.venue)}."
    )


def _level_text(level: Level | None) -> str:
    return "nothing" if level is None else f"{level.size} at {level.price / 10_000:.4f}"
