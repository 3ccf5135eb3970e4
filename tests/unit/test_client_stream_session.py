"""The WebSocket's rules without a WebSocket: what is sent on each connection, and what reaches the program."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from trading_engine.clients.sdk import views
from trading_engine.clients.sdk.errors import (
    Disconnected,
    MatchingUnavailable,
    NotAllowed,
    NotAuthenticated,
    OutcomeUnknown,
    RateLimited,
    Refused,
    ServerFailed,
)
from trading_engine.clients.sdk.session import REPEAT_FOR_S, Pause
from trading_engine.clients.sdk.stream_session import (
    COMMANDS_WAITING_MAX,
    CommandSteps,
    Reconnection,
    Request,
    StreamSession,
    Wait,
    read_canceled,
    read_order,
)

KEY = {"key": "k", "secret": "s"}
ORDER = {
    "order_id": "7",
    "client_order_id": "mine",
    "portfolio_id": "1",
    "symbol": "AAPL",
    "side": "buy",
    "type": "limit",
    "time_in_force": "day",
    "post_only": False,
    "price": "230.10",
    "quantity": "100",
    "filled_quantity": "0",
    "leaves_quantity": "100",
    "average_price": None,
    "status": "new",
    "reason": None,
    "created_at": "2026-01-05T14:30:00.123456789Z",
    "updated_at": "2026-01-05T14:30:00.123456789Z",
    "event_sequence": "11",
}


class Running:
    """One command under way."""

    def __init__(self, steps: CommandSteps) -> None:
        self.steps = steps
        self.step: Wait | Pause = next(steps)

    @property
    def request(self) -> Request:
        assert isinstance(self.step, Wait)
        return self.step.request

    def go_on(self) -> bytes | None:
        """The result, or None when there is another step."""
        try:
            self.step = self.steps.send(None)
        except StopIteration as stop:
            result: bytes = stop.value
            return result
        return None


class Line:
    """A session with the venue played by the test."""

    def __init__(self) -> None:
        self.now = 0.0
        self.session = StreamSession(clock=lambda: self.now, seed=1)

    def connect(self, credentials: Mapping[str, str] | None = None) -> list[dict[str, Any]]:
        self.session.opened(credentials)
        return self.sent()

    def sent(self) -> list[dict[str, Any]]:
        return [msgspec.json.decode(frame) for frame in self.session.take_frames()]

    def receive(self, **message: object) -> list[views.StreamEvent]:
        return self.session.received(msgspec.json.encode(message))

    def acknowledge(self, request: Mapping[str, Any], **result: object) -> list[views.StreamEvent]:
        return self.receive(type="ack", id=request["id"], op=request["op"], result=result)

    def refuse(self, request: Mapping[str, Any], code: str) -> list[views.StreamEvent]:
        return self.receive(
            type="error", id=request["id"], op=request["op"], error={"code": code, "message": f"About {code}."}
        )

    def start(self, steps: CommandSteps) -> tuple[Running, dict[str, Any]]:
        running = Running(steps)
        return running, self.sent()[-1]

    def subscribed(self, channel: views.Channel, symbol: str = "", **options: Any) -> None:
        running, request = self.start(self.session.subscribe(channel, symbol, **options))
        self.acknowledge(request, event_sequence="10")
        assert running.go_on() is not None

    def order_update(self, sequence: int, order_id: str = "7") -> list[views.StreamEvent]:
        return self.receive(
            type="order", event="new", event_sequence=str(sequence), order={**ORDER, "order_id": order_id}, fill=None
        )

    def snapshot(self, sequence: int) -> list[views.StreamEvent]:
        return self.receive(
            type="book_snapshot", symbol="AAPL", sequence=str(sequence), bids=[["10.00", "5", 1]], asks=[]
        )

    def change(self, previous: int, sequence: int) -> list[views.StreamEvent]:
        levels = [["10.01", "2", 1]]
        return self.receive(
            type="book", symbol="AAPL", previous_sequence=str(previous), sequence=str(sequence), bids=levels, asks=[]
        )


@pytest.fixture
def line() -> Line:
    line = Line()
    line.connect()
    return line


# Connecting


def test_stream_without_credentials_is_ready_at_once() -> None:
    line = Line()
    assert line.session.opened(None) == [views.ConnectionChanged(connected=True)]
    assert line.sent() == []


def test_stream_authenticates_before_anything_else() -> None:
    line = Line()
    running = Running(line.session.command("ping", {}))
    sent = line.connect(KEY)
    assert [request["op"] for request in sent] == ["auth"]
    assert sent[0]["secret"] == "s"
    assert not line.session.is_ready
    assert line.acknowledge(sent[0], portfolio_id="1") == [views.ConnectionChanged(connected=True)]
    assert [request["op"] for request in line.sent()] == ["ping"]
    assert running.request.was_sent


def test_stream_credentials_turned_down_are_trouble() -> None:
    line = Line()
    line.refuse(line.connect(KEY)[0], "TOKEN_EXPIRED")
    assert isinstance(line.session.trouble, NotAuthenticated)
    line.session.closed("turned down")
    line.connect(KEY)
    assert line.session.trouble is None


def test_stream_subscribes_again_after_a_reconnect(line: Line) -> None:
    line.subscribed("book", "AAPL")
    line.subscribed("ticker", "*")
    line.subscribed("trades", "AAPL")
    running, request = line.start(line.session.unsubscribe("trades", "AAPL"))
    line.acknowledge(request)
    running.go_on()
    assert line.session.closed("gone") == [views.ConnectionChanged(connected=False, reason="gone")]
    again = line.connect()
    assert [(request["channel"], request["symbol"]) for request in again] == [("book", "AAPL"), ("ticker", "*")]


def test_stream_lost_before_it_was_ready_says_nothing() -> None:
    line = Line()
    line.connect(KEY)
    assert line.session.closed("gone") == []


def test_stream_subscription_refused_is_raised_and_not_made_again(line: Line) -> None:
    running, request = line.start(line.session.subscribe("book", "NONE"))
    line.refuse(request, "UNKNOWN_INSTRUMENT")
    with pytest.raises(Refused, match="UNKNOWN_INSTRUMENT"):
        running.go_on()
    line.session.closed("gone")
    assert line.connect() == []
    with pytest.raises(KeyError):
        line.session.book("NONE")


def test_stream_subscription_refused_after_a_reconnect_is_trouble(line: Line) -> None:
    line.subscribed("book", "AAPL")
    line.session.closed("gone")
    line.refuse(line.connect()[0], "RATE_LIMITED")
    assert isinstance(line.session.trouble, RateLimited)


def test_stream_subscription_in_doubt_is_sent_again_on_the_next_connection(line: Line) -> None:
    running, _ = line.start(line.session.subscribe("book", "AAPL"))
    line.session.closed("gone")
    assert running.go_on() is None
    assert isinstance(running.step, Pause)
    line.connect()
    running.go_on()
    assert [request["channel"] for request in line.sent()] == ["book"]


# Books


def test_stream_book_follows_snapshot_and_changes(line: Line) -> None:
    line.subscribed("book", "AAPL")
    assert [type(event) for event in line.snapshot(10)] == [views.BookUpdate]
    (event,) = line.change(10, 12)
    assert isinstance(event, views.BookUpdate)
    assert (event.sequence, event.is_snapshot) == (12, False)
    best = line.session.book("AAPL").best_bid
    assert best is not None
    assert best.price == Decimal("10.01")


def test_stream_book_gap_asks_for_a_snapshot_and_drops_what_comes_before_it(line: Line) -> None:
    line.subscribed("book", "AAPL")
    line.snapshot(10)
    assert line.change(11, 12) == []
    assert not line.session.book("AAPL").is_current
    (request,) = line.sent()
    assert (request["op"], request["channel"], request["symbol"]) == ("subscribe", "book", "AAPL")
    assert line.change(12, 13) == []
    assert line.sent() == []
    line.acknowledge(request)
    line.snapshot(14)
    assert line.session.book("AAPL").is_current
    assert len(line.change(14, 15)) == 1


def test_stream_book_change_that_the_snapshot_holds_already_is_dropped(line: Line) -> None:
    line.subscribed("book", "AAPL")
    line.snapshot(10)
    assert line.change(8, 10) == []
    assert line.session.book("AAPL").is_current
    assert line.sent() == []


def test_stream_book_is_not_current_after_a_lost_connection(line: Line) -> None:
    line.subscribed("book", "AAPL")
    line.snapshot(10)
    line.session.closed("gone")
    assert not line.session.book("AAPL").is_current
    line.connect()
    assert line.change(10, 11) == []
    line.snapshot(12)
    assert line.session.book("AAPL").is_current


def test_stream_book_of_nobody_s_interest_is_dropped(line: Line) -> None:
    assert line.snapshot(10) == []
    assert line.change(10, 11) == []


# Own orders


def test_stream_orders_resume_after_the_last_one_seen(line: Line) -> None:
    line.subscribed("orders", since=4)
    assert len(line.order_update(11)) == 1
    line.session.closed("gone")
    (request,) = line.connect()
    assert request["since"] == "10"
    assert line.order_update(11) == []
    assert len(line.order_update(12)) == 1
    assert line.session.order_sequence == 12


def test_stream_orders_of_one_event_both_come_across_a_break_between_them(line: Line) -> None:
    line.subscribed("orders", since=0)
    assert len(line.order_update(11, "7")) == 1
    line.session.closed("gone")
    line.connect()
    assert line.order_update(11, "7") == []
    assert len(line.order_update(11, "8")) == 1
    assert line.order_update(11, "8") == []


def test_stream_orders_before_the_starting_point_are_dropped(line: Line) -> None:
    line.subscribed("orders", since=10)
    assert line.order_update(9) == []
    assert line.order_update(10) == []
    line.session.closed("gone")
    assert line.connect()[0]["since"] == "10"


def test_stream_orders_without_since_begin_where_the_venue_says(line: Line) -> None:
    line.subscribed("orders")
    assert line.session.order_sequence == 10
    line.session.closed("gone")
    assert line.connect()[0]["since"] == "10"


def test_stream_orders_past_that_cannot_be_read_is_trouble(line: Line) -> None:
    running, request = line.start(line.session.subscribe("orders", since=1))
    line.acknowledge(request, event_sequence="10")
    running.go_on()
    line.refuse(request, "DATABASE_UNAVAILABLE")
    assert line.session.trouble is not None


# Commands


def place(line: Line) -> tuple[Running, dict[str, Any]]:
    fields = {"symbol": "AAPL", "side": "buy", "quantity": "1", "client_order_id": "mine"}
    return line.start(line.session.place(fields))


def test_stream_place_returns_the_order(line: Line) -> None:
    running, request = place(line)
    assert request == {
        "op": "place",
        "id": request["id"],
        "symbol": "AAPL",
        "side": "buy",
        "quantity": "1",
        "client_order_id": "mine",
    }
    line.acknowledge(request, **ORDER)
    assert read_order(running.go_on() or b"").order_id == "7"


def test_stream_place_refused_is_raised(line: Line) -> None:
    running, request = place(line)
    line.refuse(request, "PRICE_NOT_ON_TICK")
    with pytest.raises(Refused):
        running.go_on()


def test_stream_place_on_a_lost_connection_is_sent_again_with_its_id(line: Line) -> None:
    running, request = place(line)
    line.session.closed("gone")
    running.go_on()
    line.connect()
    running.go_on()
    (again,) = line.sent()
    assert again["client_order_id"] == request["client_order_id"]
    line.acknowledge(again, **ORDER)
    assert running.go_on() is not None


def test_stream_place_without_an_answer_in_time_raises_outcome_unknown(line: Line) -> None:
    running, _ = place(line)
    line.now += REPEAT_FOR_S
    with pytest.raises(OutcomeUnknown) as caught:
        running.go_on()
    assert caught.value.client_order_id == "mine"


def test_stream_place_that_never_went_out_raises_disconnected() -> None:
    line = Line()
    running = Running(line.session.place({"client_order_id": "mine"}))
    line.now += REPEAT_FOR_S
    with pytest.raises(Disconnected):
        running.go_on()
    assert line.connect() == []


def test_stream_matching_unavailable_is_raised_at_once(line: Line) -> None:
    running, request = place(line)
    line.refuse(request, "MATCHING_UNAVAILABLE")
    with pytest.raises(MatchingUnavailable):
        running.go_on()


def test_stream_replace_on_a_lost_connection_is_not_sent_again(line: Line) -> None:
    running, _ = line.start(line.session.replace("7", {"quantity": "5"}))
    line.session.closed("gone")
    with pytest.raises(OutcomeUnknown):
        running.go_on()


def test_stream_late_answer_to_a_command_given_up_is_passed_over(line: Line) -> None:
    running, request = place(line)
    line.now += REPEAT_FOR_S
    with pytest.raises(OutcomeUnknown):
        running.go_on()
    assert line.acknowledge(request, **ORDER) == []


def test_stream_that_is_over_leaves_what_was_sent_unknown(line: Line) -> None:
    running, request = line.start(line.session.cancel_all("AAPL", "buy"))
    assert (request["symbol"], request["side"]) == ("AAPL", "buy")
    line.session.fail(NotAllowed("no", code="NOT_ALLOWED"))
    with pytest.raises(OutcomeUnknown):
        running.go_on()


def test_stream_that_is_over_says_why_to_what_was_not_sent() -> None:
    line = Line()
    running = Running(line.session.place({"client_order_id": "mine"}))
    line.session.fail(NotAllowed("no", code="NOT_ALLOWED"))
    with pytest.raises(NotAllowed):
        running.go_on()
    with pytest.raises(NotAllowed):
        next(line.session.command("ping", {}))


def test_stream_too_many_commands_at_once_are_refused_here(line: Line) -> None:
    waiting = [line.start(line.session.command("ping", {}))[0] for _ in range(COMMANDS_WAITING_MAX)]
    assert all(running.request.was_sent for running in waiting)
    with pytest.raises(RateLimited):
        next(line.session.command("ping", {}))


def test_stream_mass_cancel_result_is_a_count() -> None:
    assert read_canceled(b'{"canceled":3}') == 3


# Messages


def test_stream_unknown_message_is_skipped_and_a_broken_one_is_not(line: Line) -> None:
    assert line.receive(type="weather", sky="blue") == []
    with pytest.raises(ServerFailed, match="does not know"):
        line.receive(type="ticker")


def test_stream_ticker_trades_balance_position_and_status_arrive_typed(line: Line) -> None:
    (ticker,) = line.receive(type="ticker", symbol="AAPL", last="230.10", bid=None)
    assert isinstance(ticker, views.Ticker)
    assert ticker.last == Decimal("230.10")
    trade = {
        "trade_id": "1",
        "sequence": "5",
        "price": "1.5",
        "quantity": "2",
        "side": "buy",
        "time": "2026-01-05T14:30:00Z",
    }
    (trades,) = line.receive(type="trades", symbol="AAPL", trades=[trade])
    assert isinstance(trades, views.TradesUpdate)
    assert trades.trades[0].sequence == 5
    (balance,) = line.receive(type="balance", event_sequence="5", currency="USD", balance="3", held="1", available="2")
    assert isinstance(balance, views.BalanceUpdate)
    (position,) = line.receive(
        type="position", event_sequence="5", symbol="AAPL", quantity="3", held="1", available="2"
    )
    assert isinstance(position, views.PositionUpdate)
    (status,) = line.receive(type="status", matching="unavailable")
    assert isinstance(status, views.MatchingStatus)
    assert not line.session.matching_is_up


# Connecting again


def test_reconnection_turned_down_once_gets_a_fresh_token_twice_is_final() -> None:
    renewed: list[int] = []
    reconnection = Reconnection(lambda: renewed.append(1), seed=1)
    problem = NotAuthenticated("ended", code="TOKEN_EXPIRED")
    assert reconnection.pause_after(problem) == 0
    assert renewed == [1]
    with pytest.raises(NotAuthenticated):
        reconnection.pause_after(problem)
    reconnection.succeeded()
    assert reconnection.pause_after(problem) == 0


def test_reconnection_wrong_password_is_final_at_once() -> None:
    with pytest.raises(NotAuthenticated):
        Reconnection(lambda: None).pause_after(NotAuthenticated("no", code="INVALID_CREDENTIALS"))


def test_reconnection_pauses_grow_until_it_succeeds() -> None:
    reconnection = Reconnection(lambda: None, seed=1)
    pauses = [reconnection.pause_after(Disconnected("gone")) for _ in range(6)]
    assert pauses[0] < 0.2 < pauses[-1]
    reconnection.succeeded()
    assert reconnection.pause_after(Disconnected("gone")) < 0.2


def test_reconnection_unreadable_answers_are_final() -> None:
    with pytest.raises(ServerFailed):
        Reconnection(lambda: None).pause_after(ServerFailed("what?", code="UNREADABLE_ANSWER"))
