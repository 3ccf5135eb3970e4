"""Books, deltas and 24-hour statistics, from events alone."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trading_engine.servers.tes.services.market_data import (
    MINUTE_NS,
    TRADES_PER_MESSAGE_MAX,
    WINDOW_MINUTES,
    DayStatistics,
    Market,
    MarketData,
    MinuteBar,
)
from trading_engine.venue.events import BookChanged, EventBatch, InstrumentListed, TradeExecuted, TradingPhaseChanged
from trading_engine.venue.instrument import Instrument
from trading_engine.venue.terms import Side, TradingPhase

APPLE = Instrument(1, "AAPL", "Apple Inc", "USD", "0.01", "1", 1, reference_price_ticks=23000)
BUY, SELL = int(Side.BUY), int(Side.SELL)


class Screen:
    """A subscriber that keeps what it is sent."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []

    def send(self, frame: bytes) -> None:
        self.messages.append(json.loads(frame[frame.index(b"{") :]))

    def take(self) -> list[dict[str, Any]]:
        taken, self.messages = self.messages, []
        return taken


class Feed:
    """Market data on a clock of its own."""

    def __init__(self) -> None:
        self.now_ns = 10_000 * MINUTE_NS
        self.data = MarketData(lambda: self.now_ns)
        self._event_sequence = 0
        self._market_sequence = 0
        self.apply(InstrumentListed(APPLE), TradingPhaseChanged(0, TradingPhase.CONTINUOUS, False))
        self.market = self.data.markets[1]

    def apply(self, *events: Any) -> None:
        batch = EventBatch(1, self.now_ns, "p", 1, self._event_sequence + 1, events)
        self._event_sequence += len(events)
        self.data.apply(batch)

    def level(self, side: int, price: int, lots: int) -> None:
        self._market_sequence += 1
        self.apply(BookChanged(1, self._market_sequence, ((side, price, lots, 1 if lots else 0),)))

    def trade(self, price: int, lots: int) -> None:
        self._market_sequence += 1
        self.apply(TradeExecuted(7, 1, self._market_sequence, price, lots, Side.BUY, 1, 1, 0, 0, 2, 2, 0, 0))


def test_delta_follows_on_the_snapshot_of_a_subscriber_in_the_middle_of_an_interval() -> None:
    feed, early, late = Feed(), Screen(), Screen()
    feed.data.subscribe("book", feed.market, early)
    feed.level(BUY, 23000, 5)
    feed.data.subscribe("book", feed.market, late)
    feed.level(BUY, 23000, 8)
    feed.data.flush()
    assert [(m["type"], m.get("previous_sequence"), m["sequence"]) for m in early.take()] == [
        ("book_snapshot", None, "0"),
        ("book", "0", "1"),
        ("book", "1", "2"),
    ]
    snapshot, delta = late.take()
    assert (snapshot["sequence"], snapshot["bids"]) == ("1", [["230.00", "5", 1]])
    assert (delta["previous_sequence"], delta["bids"]) == ("1", [["230.00", "8", 1]])


def test_levels_that_changed_several_times_are_sent_once_as_they_are_in_the_end() -> None:
    feed, screen = Feed(), Screen()
    feed.data.subscribe("book", feed.market, screen)
    screen.take()
    for lots in (1, 2, 3, 0, 4):
        feed.level(SELL, 23100, lots)
    feed.level(SELL, 23200, 1)
    feed.level(SELL, 23200, 0)
    feed.data.flush()
    (delta,) = screen.take()
    assert delta["asks"] == [["231.00", "4", 1], ["232.00", "0", 0]]
    feed.data.flush()
    assert screen.take() == []


def test_trades_go_out_before_the_book_and_in_pieces() -> None:
    feed, screen = Feed(), Screen()
    feed.data.subscribe("trades", feed.market, screen)
    feed.data.subscribe("book", feed.market, screen)
    screen.take()
    for _ in range(TRADES_PER_MESSAGE_MAX + 1):
        feed.trade(23000, 1)
    feed.data.flush()
    messages = screen.take()
    assert [m["type"] for m in messages] == ["trades", "trades", "book"]
    assert [len(m["trades"]) for m in messages[:2]] == [TRADES_PER_MESSAGE_MAX, 1]


def test_trades_of_before_the_subscription_are_not_sent() -> None:
    feed, screen = Feed(), Screen()
    feed.trade(23000, 1)
    feed.data.subscribe("trades", feed.market, screen)
    feed.data.flush()
    assert screen.take() == []


def test_ticker_is_sent_at_most_once_an_interval_and_only_when_it_changed() -> None:
    feed, screen = Feed(), Screen()
    feed.data.subscribe("ticker", None, screen)
    assert [m["last"] for m in screen.take()] == [None]
    feed.trade(23000, 2)
    feed.trade(23100, 3)
    feed.data.subscribe("book", feed.market, Screen())
    feed.data.flush()
    (ticker,) = screen.take()
    assert {key: ticker[key] for key in ("open", "high", "low", "last", "volume", "change", "change_percent")} == {
        "open": "230.00",
        "high": "231.00",
        "low": "230.00",
        "last": "231.00",
        "volume": "5",
        "change": "1.00",
        "change_percent": "0.43",
    }
    feed.data.flush()
    assert screen.take() == []


def test_ticker_moves_on_with_time_when_nothing_is_traded() -> None:
    feed, screen = Feed(), Screen()
    feed.trade(23000, 2)
    feed.data.flush()
    feed.data.subscribe("ticker", feed.market, screen)
    screen.take()
    feed.now_ns += (WINDOW_MINUTES + 1) * MINUTE_NS
    feed.data.flush()
    (ticker,) = screen.take()
    assert (ticker["volume"], ticker["open"], ticker["last"]) == ("0", None, "230.00")


@pytest.mark.parametrize(("instrument_id", "phase"), [(0, "HALTED"), (1, "HALTED"), (2, "CONTINUOUS")])
def test_phase_of_one_market_or_of_all_is_changed(instrument_id: int, phase: str) -> None:
    feed = Feed()
    feed.apply(TradingPhaseChanged(instrument_id, TradingPhase.HALTED, False))
    assert feed.market.phase.name == phase


Trades = st.lists(
    st.tuples(st.integers(0, 3 * WINDOW_MINUTES), st.integers(1, 500), st.integers(1, 50)), min_size=1, max_size=60
)


@given(Trades, st.integers(0, 60))
def test_statistics_kept_step_by_step_are_those_summed_up_at_once(
    trades: list[tuple[int, int, int]], loaded: int
) -> None:
    """Also when the first ones are loaded from the database as bars."""
    trades = sorted(trades, key=lambda trade: trade[0])
    kept = DayStatistics()
    kept.load(bars_of(trades[:loaded]))
    for minute, price, lots in trades[loaded:]:
        kept.expire(minute * MINUTE_NS)
        kept.add(price, lots, minute * MINUTE_NS, True)
    last = trades[-1][0]
    kept.expire(last * MINUTE_NS)
    window = [trade for trade in trades if trade[0] > last - WINDOW_MINUTES]
    prices = [price for _, price, _ in window]
    assert (kept.open, kept.high, kept.low, kept.volume) == (
        prices[0],
        max(prices),
        min(prices),
        sum(lots for _, _, lots in window),
    )


def bars_of(trades: list[tuple[int, int, int]]) -> list[MinuteBar]:
    bars: dict[int, MinuteBar] = {}
    for minute, price, lots in trades:
        bar = bars.setdefault(minute, MinuteBar(minute, price, price, price, price, 0))
        bar.high, bar.low, bar.close = max(bar.high, price), min(bar.low, price), price
        bar.volume += lots
    return list(bars.values())


def test_market_without_a_trade_is_valued_at_its_reference_price() -> None:
    market = Market(APPLE)
    assert market.price_ticks == 23000
    assert Market(Instrument(2, "X", "X", "USD", "0.01", "1", 1)).price_ticks is None
