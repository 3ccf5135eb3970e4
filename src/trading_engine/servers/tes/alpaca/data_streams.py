"""`/v2/{feed}`: trades, quotes, bars and trading statuses as they happen; who follows what, and what they are sent.

A message is encoded once for each of the two forms that readers may have asked for. A minute's bar is told when the minute is over,
and again as an updated one if a trade of that minute comes after that.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Literal

from trading_engine.servers.tes.alpaca.data_views import (
    MINUTE_NS,
    Bar,
    Message,
    Moment,
    bar_view,
    best_quotes,
    encode_json,
    encode_msgpack,
    quote_view,
    trade_view,
)
from trading_engine.servers.tes.alpaca.data_views import TAPE as NO_TAPE
from trading_engine.servers.tes.connections import binary_frame, text_frame
from trading_engine.servers.tes.models.views import PHASE_NAMES
from trading_engine.servers.tes.services.market_data import Market, MarketChange, MarketData, Subscriber
from trading_engine.venue.events import EventBatch, TradingPhaseChanged
from trading_engine.venue.order_state import OrderReport
from trading_engine.venue.terms import PHASE_RULES, TradingPhase

CHANNELS = ("trades", "quotes", "bars", "updatedBars", "dailyBars", "statuses")
ALL = "*"
DAY_MINUTES = 24 * 60

Form = Literal["json", "msgpack"]


def frame_of(form: Form, messages: Sequence[Message]) -> bytes:
    if form == "json":
        return text_frame(encode_json(messages))
    return binary_frame(encode_msgpack(messages))


class DataStreams:
    """An observer of the market data."""

    def __init__(self, market_data: MarketData, now_ns: Callable[[], int]) -> None:
        self._market_data = market_data
        self._followers: dict[tuple[str, str], dict[Subscriber, Form]] = {}
        self._told_quotes: dict[int, object] = {}
        self._minute = now_ns() // MINUTE_NS
        """The one whose bars are not told yet."""

    def follow(self, channel: str, symbol: str, subscriber: Subscriber, form: Form) -> None:
        """`symbol` may be `*`: all."""
        self._followers.setdefault((channel, symbol), {})[subscriber] = form

    def leave(self, channel: str, symbol: str, subscriber: Subscriber) -> None:
        followers = self._followers.get((channel, symbol), {})
        followers.pop(subscriber, None)
        if not followers:
            self._followers.pop((channel, symbol), None)

    # As an observer

    def wants(self, market: Market) -> bool:
        return any(self._following(channel, market) for channel in ("trades", "quotes", "updatedBars"))

    def tell(self, change: MarketChange) -> None:
        market, instrument = change.market, change.market.instrument
        self._send(
            "trades",
            market,
            lambda: [
                {"T": "t", **trade_view(event.trade_id, event.price_ticks, event.quantity_lots, time_ns, instrument)}
                for event, time_ns in change.trades
            ],
        )
        self._tell_late_bars(change)
        quotes = best_quotes(market)
        if self._told_quotes.get(instrument.instrument_id) != quotes:
            self._told_quotes[instrument.instrument_id] = quotes
            self._send("quotes", market, lambda: [{"T": "q", **quote_view(*quotes, market.time_ns, instrument)}])

    def _tell_late_bars(self, change: MarketChange) -> None:
        late = {time_ns // MINUTE_NS for _, time_ns in change.trades if time_ns // MINUTE_NS < self._minute}
        bars = [Bar.of_minute(bar) for bar in change.market.statistics.bars if bar.minute in late] if late else []
        self._send_bars("updatedBars", "u", change.market, bars)

    def tick(self, now_ns: int) -> None:
        """Tell the bars of a minute that is over."""
        if now_ns // MINUTE_NS <= self._minute:
            return
        over, self._minute = self._minute, now_ns // MINUTE_NS
        for market in self._market_data.markets.values():
            if self._following("bars", market) or self._following("dailyBars", market):
                self._tell_bars(market, over)

    def _tell_bars(self, market: Market, over: int) -> None:
        """Of a minute, and of its day so far; nothing where nothing was traded in it."""
        today = [
            Bar.of_minute(bar)
            for bar in market.statistics.bars
            if over // DAY_MINUTES * DAY_MINUTES <= bar.minute <= over
        ]
        if not today or today[-1].open_ns != over * MINUTE_NS:
            return
        self._send_bars("bars", "b", market, today[-1:])
        whole = today[0]._replace(open_ns=over // DAY_MINUTES * DAY_MINUTES * MINUTE_NS)
        for bar in today[1:]:
            whole = whole.joined(bar)
        self._send_bars("dailyBars", "d", market, [whole])

    def handle(self, batch: EventBatch, _: Sequence[OrderReport]) -> None:
        """Tell of trading phases."""
        for event in batch.events:
            if isinstance(event, TradingPhaseChanged):
                self._tell_status(event, status_view(event.phase, batch.time_ns))

    def _tell_status(self, event: TradingPhaseChanged, status: Message) -> None:
        """Of one market, or with instrument 0 of all."""
        markets = self._market_data.markets
        changed = [markets[event.instrument_id]] if event.instrument_id else markets.values()
        for market in changed:
            self._send("statuses", market, lambda: [status])

    # Sending

    def _following(self, channel: str, market: Market) -> bool:
        return (channel, market.instrument.symbol) in self._followers or (channel, ALL) in self._followers

    def _send_bars(self, channel: str, kind: str, market: Market, bars: Iterable[Bar]) -> None:
        self._send(channel, market, lambda: [{"T": kind, **bar_view(bar, market.instrument)} for bar in bars])

    def _send(self, channel: str, market: Market, make: Callable[[], list[Message]]) -> None:
        """`make` is asked where somebody follows."""
        if not self._following(channel, market):
            return
        symbol = market.instrument.symbol
        followers = self._followers.get((channel, ALL), {}) | self._followers.get((channel, symbol), {})
        messages = [{"T": message["T"], "S": symbol, **message} for message in make()]
        if not messages:
            return
        frames: dict[Form, bytes] = {}
        for subscriber, form in followers.items():
            if form not in frames:
                frames[form] = frame_of(form, messages)
            subscriber.send(frames[form])


def status_view(phase: TradingPhase, time_ns: int) -> Message:
    """Codes are those of UTP's trading actions where it has one."""
    code, words = status_of(phase)
    return {
        "T": "s",
        "sc": code,
        "sm": words,
        "rc": "",
        "rm": PHASE_NAMES[phase],
        "t": Moment(time_ns),
        "z": NO_TAPE,
    }


def status_of(phase: TradingPhase) -> tuple[str, str]:
    if PHASE_RULES[phase].match:
        return "T", "Trading"
    if phase is TradingPhase.VOLATILITY_CALL:
        return "P", "Volatility Trading Pause"
    if PHASE_RULES[phase].new:
        return "Q", "Quotation Only"
    return "H", "Trading Halt" if phase is TradingPhase.HALTED else "Closed"
