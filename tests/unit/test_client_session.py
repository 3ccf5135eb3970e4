"""The client's rules around a call, without network or clock: what is sent, what is repeated, and what is raised in the end."""

import random
from collections.abc import Iterable
from typing import Any, TypeVar

import msgspec
import pytest

from trading_engine.clients.sdk import calls
from trading_engine.clients.sdk.errors import (
    Disconnected,
    InvalidRequest,
    MatchingUnavailable,
    NotAllowed,
    NotAuthenticated,
    NotFound,
    OutcomeUnknown,
    RateLimited,
    Refused,
    ServerFailed,
    TradingError,
    Unavailable,
)
from trading_engine.clients.sdk.session import (
    PAUSE_MAX_S,
    REPEAT_FOR_S,
    ApiKeyCredentials,
    Credentials,
    Exchange,
    NoReply,
    PasswordCredentials,
    Pause,
    Reply,
    Session,
    Steps,
    pause_before,
)

T = TypeVar("T")

NOT_SENT = NoReply(was_sent=False, reason="connection refused")
LOST = NoReply(was_sent=True, reason="the connection broke")
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
    "filled_quantity": "40",
    "leaves_quantity": "60",
    "average_price": "230.08",
    "status": "partially_filled",
    "reason": None,
    "created_at": "2026-01-05T14:30:00.123456789Z",
    "updated_at": "2026-01-05T14:30:00.123456789Z",
    "event_sequence": "4711",
}
PLACE = calls.place(calls.order_fields("AAPL", "buy", 100, price="230.10", client_order_id="mine"))


def ok(value: object) -> Reply:
    return Reply(200, msgspec.json.encode(value))


def refused(status: int, code: str, retry_after: str = "") -> Reply:
    body = {"error": {"code": code, "message": f"About {code}.", "field": "price", "value": "1"}}
    return Reply(status, msgspec.json.encode(body), retry_after, "req-1")


def tokens(access: str, refresh: str = "r1", expires_in: int = 900) -> Reply:
    return ok({"access_token": access, "token_type": "bearer", "expires_in": expires_in, "refresh_token": refresh})


class Wire:
    """Answers a session's exchanges from a script, on a clock that moves by its pauses."""

    def __init__(self, credentials: Credentials, answers: Iterable[Reply | NoReply]) -> None:
        self.now = 1000.0
        self.answers = iter(answers)
        self.sent: list[Exchange] = []
        self.pauses: list[float] = []
        self.session = Session(credentials, clock=lambda: self.now, seed=1)

    def run(self, steps: Steps[T]) -> T:
        answer: Reply | NoReply | None = None
        try:
            while True:
                step = steps.send(answer)
                answer = None
                if isinstance(step, Pause):
                    self.pauses.append(step.seconds)
                    self.now += step.seconds
                else:
                    self.sent.append(step)
                    answer = next(self.answers)
        except StopIteration as stop:
            result: T = stop.value
            return result

    @property
    def requests(self) -> list[str]:
        return [f"{exchange.method} {exchange.path}" for exchange in self.sent]


def with_key(*answers: Reply | NoReply) -> Wire:
    return Wire(ApiKeyCredentials("key", "secret"), answers)


def with_password(*answers: Reply | NoReply) -> Wire:
    return Wire(PasswordCredentials("ann", "password"), answers)


def forever(answer: Reply | NoReply) -> Wire:
    return Wire(ApiKeyCredentials("key", "secret"), iter(lambda: answer, None))


# Reading answers


def test_session_order_is_read_with_exact_numbers() -> None:
    order = with_key(ok(ORDER)).session.perform(PLACE)
    view = Wire(None, [ok(ORDER)]).run(order)
    assert (str(view.price), str(view.leaves_quantity), view.event_sequence, view.is_open) == (
        "230.10",
        "60",
        4711,
        True,
    )


def test_session_answer_with_more_fields_is_read() -> None:
    wire = with_key(ok({**ORDER, "colour": "blue"}))
    assert wire.run(wire.session.perform(PLACE)).order_id == "7"


def test_session_unreadable_answer_raises_server_failed() -> None:
    wire = with_key(ok({"order_id": "7"}))
    with pytest.raises(ServerFailed, match="not what this client knows"):
        wire.run(wire.session.perform(PLACE))


# Credentials


def test_session_api_key_is_sent_with_every_call() -> None:
    wire = with_key(ok(ORDER))
    wire.run(wire.session.perform(PLACE))
    assert wire.sent[0].headers["X-API-Key"] == "key"
    assert wire.sent[0].headers["X-API-Secret"] == "secret"


def test_session_credentials_are_not_shown_in_their_text() -> None:
    assert "hunter2" not in repr(ApiKeyCredentials("key", "hunter2"))
    assert "hunter2" not in repr(PasswordCredentials("ann", "hunter2"))


def test_session_password_logs_in_once_for_many_calls() -> None:
    wire = with_password(tokens("a1"), ok(ORDER), ok(ORDER))
    for _ in range(2):
        wire.run(wire.session.perform(PLACE))
    assert wire.requests == ["POST /v1/auth/login", "POST /v1/orders", "POST /v1/orders"]
    assert wire.sent[1].headers["Authorization"] == "Bearer a1"


def test_session_public_call_needs_no_login() -> None:
    wire = with_password(ok({"tickers": []}))
    assert wire.run(wire.session.perform(calls.tickers())) == []
    assert wire.requests == ["GET /v1/tickers"]


def test_session_token_about_to_end_is_refreshed_first() -> None:
    wire = with_password(tokens("a1"), ok(ORDER), tokens("a2", "r2"), ok(ORDER))
    wire.run(wire.session.perform(PLACE))
    wire.now += 880
    wire.run(wire.session.perform(PLACE))
    assert wire.requests[2:] == ["POST /v1/auth/refresh", "POST /v1/orders"]
    assert wire.sent[2].body == b'{"refresh_token":"r1"}'
    assert wire.sent[3].headers["Authorization"] == "Bearer a2"


def test_session_token_ended_early_is_renewed_and_the_call_repeated() -> None:
    wire = with_password(tokens("a1"), refused(401, "TOKEN_EXPIRED"), tokens("a2", "r2"), ok(ORDER))
    assert wire.run(wire.session.perform(PLACE)).order_id == "7"
    assert wire.sent[-1].headers["Authorization"] == "Bearer a2"


def test_session_refresh_token_used_up_logs_in_again() -> None:
    wire = with_password(
        tokens("a1"), refused(401, "TOKEN_EXPIRED"), refused(401, "NOT_AUTHENTICATED"), tokens("a2"), ok(ORDER)
    )
    wire.run(wire.session.perform(PLACE))
    assert wire.requests[2:] == ["POST /v1/auth/refresh", "POST /v1/auth/login", "POST /v1/orders"]


def test_session_wrong_password_is_raised_at_once() -> None:
    wire = with_password(refused(401, "INVALID_CREDENTIALS"))
    with pytest.raises(NotAuthenticated, match="INVALID_CREDENTIALS"):
        wire.run(wire.session.log_in())


def test_session_fresh_token_turned_down_is_raised() -> None:
    wire = with_password(tokens("a1"), refused(401, "TOKEN_EXPIRED"), tokens("a2"), refused(401, "TOKEN_EXPIRED"))
    with pytest.raises(NotAuthenticated):
        wire.run(wire.session.perform(PLACE))


def test_session_calls_side_by_side_use_a_refresh_token_once() -> None:
    wire = with_password(tokens("a1"))
    wire.run(wire.session.log_in())
    wire.session.expire_token()
    first, second = wire.session.perform(PLACE), wire.session.perform(PLACE)
    assert isinstance(step := next(first), Exchange)
    assert step.path == "/v1/auth/refresh"
    assert isinstance(next(second), Pause)
    assert isinstance(step := first.send(tokens("a2", "r2")), Exchange)
    assert step.path == "/v1/orders"
    assert isinstance(step := second.send(None), Exchange)
    assert step.headers["Authorization"] == "Bearer a2"


def test_session_log_out_voids_the_tokens() -> None:
    wire = with_password(tokens("a1"), Reply(204, b""))
    wire.run(wire.session.log_in())
    wire.run(wire.session.log_out())
    assert wire.requests[-1] == "POST /v1/auth/logout"
    assert wire.session.tokens is None


# Errors


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (400, "MALFORMED_JSON", InvalidRequest),
        (400, "INVALID_REQUEST", InvalidRequest),
        (401, "NOT_AUTHENTICATED", NotAuthenticated),
        (403, "NOT_ALLOWED", NotAllowed),
        (404, "UNKNOWN_ORDER", NotFound),
        (405, "METHOD_NOT_ALLOWED", InvalidRequest),
        (409, "DUPLICATE_CLIENT_ORDER_ID", Refused),
        (413, "REQUEST_TOO_LARGE", InvalidRequest),
        (422, "PRICE_NOT_ON_TICK", Refused),
        (422, "A_RULE_OF_TOMORROW", Refused),
        (503, "MATCHING_UNAVAILABLE", MatchingUnavailable),
    ],
)
def test_session_error_of_the_venue_is_raised_by_what_can_be_done(
    status: int, code: str, kind: type[TradingError]
) -> None:
    wire = with_key(refused(status, code))
    with pytest.raises(kind) as caught:
        wire.run(wire.session.perform(PLACE))
    error = caught.value
    assert type(error) is kind
    assert (error.code, error.message, error.request_id) == (code, f"About {code}.", "req-1")
    assert wire.pauses == []


def test_session_refusal_says_field_and_value() -> None:
    wire = with_key(refused(422, "PRICE_NOT_ON_TICK"))
    with pytest.raises(Refused) as caught:
        wire.run(wire.session.perform(PLACE))
    assert (caught.value.field, caught.value.value) == ("price", "1")


def test_session_page_that_is_no_api_raises_server_failed_at_once() -> None:
    wire = with_key(Reply(404, b"<html>not here</html>"))
    with pytest.raises(ServerFailed, match="HTTP_404"):
        wire.run(wire.session.perform(PLACE))


# Repeating


def test_session_venue_not_there_is_tried_for_a_while() -> None:
    wire = with_key(NOT_SENT, NOT_SENT, NOT_SENT, ok(ORDER))
    assert wire.run(wire.session.perform(PLACE)).order_id == "7"
    assert len(wire.pauses) == 3


def test_session_venue_never_there_raises_disconnected_after_its_patience() -> None:
    wire = forever(NOT_SENT)
    with pytest.raises(Disconnected, match="connection refused"):
        wire.run(wire.session.perform(PLACE))
    assert REPEAT_FOR_S - PAUSE_MAX_S <= sum(wire.pauses) <= REPEAT_FOR_S


@pytest.mark.parametrize("doubt", [LOST, refused(503, "OUTCOME_UNKNOWN"), Reply(502, b"bad gateway")])
def test_session_place_in_doubt_is_repeated_with_the_same_client_order_id(doubt: Reply | NoReply) -> None:
    wire = with_key(doubt, ok(ORDER))
    assert wire.run(wire.session.perform(PLACE)).order_id == "7"
    assert wire.sent[0].body == wire.sent[1].body
    assert b'"client_order_id":"mine"' in (wire.sent[0].body or b"")


def test_session_place_in_doubt_to_the_end_raises_outcome_unknown_with_the_id() -> None:
    wire = forever(LOST)
    with pytest.raises(OutcomeUnknown) as caught:
        wire.run(wire.session.perform(PLACE))
    assert caught.value.client_order_id == "mine"


def test_session_matching_unavailable_is_raised_at_once() -> None:
    wire = with_key(refused(503, "MATCHING_UNAVAILABLE"))
    with pytest.raises(MatchingUnavailable):
        wire.run(wire.session.perform(PLACE))


def test_session_matching_unavailable_after_doubt_is_no_denial() -> None:
    wire = with_key(LOST, *[refused(503, "MATCHING_UNAVAILABLE")] * 100)
    with pytest.raises(OutcomeUnknown) as caught:
        wire.run(wire.session.perform(PLACE))
    assert caught.value.client_order_id == "mine"
    assert len(wire.sent) > 2


def test_session_refusal_after_doubt_stands() -> None:
    wire = with_key(LOST, refused(422, "MARKET_CLOSED"))
    with pytest.raises(Refused) as caught:
        wire.run(wire.session.perform(PLACE))
    assert caught.value.is_after_uncertain_attempt


@pytest.mark.parametrize(
    "call", [calls.replace("7", 50, None), calls.cancel_all("AAPL", None)], ids=["replace", "cancel all"]
)
def test_session_command_that_must_not_run_twice_is_not_repeated(call: calls.Call[Any]) -> None:
    wire = with_key(LOST)
    with pytest.raises(OutcomeUnknown):
        wire.run(wire.session.perform(call))
    assert len(wire.sent) == 1


def test_session_command_never_sent_is_repeated_whatever_it_is() -> None:
    wire = with_key(NOT_SENT, ok({"canceled": 3}))
    assert wire.run(wire.session.perform(calls.cancel_all(None, None))) == 3


def test_session_rate_limit_is_waited_for_as_long_as_it_says() -> None:
    wire = with_key(refused(429, "RATE_LIMITED", "2.5"), ok(ORDER))
    wire.run(wire.session.perform(PLACE))
    assert wire.pauses == [2.5]


def test_session_rate_limit_longer_than_patience_is_raised() -> None:
    wire = with_key(refused(429, "RATE_LIMITED", "60"))
    with pytest.raises(RateLimited) as caught:
        wire.run(wire.session.perform(PLACE))
    assert caught.value.retry_after == 60


def test_session_read_in_doubt_is_repeated_and_raises_disconnected() -> None:
    wire = forever(LOST)
    with pytest.raises(Disconnected):
        wire.run(wire.session.perform(calls.portfolio()))


def test_session_database_away_is_waited_for() -> None:
    wire = with_key(refused(503, "DATABASE_UNAVAILABLE"), ok({"positions": []}))
    assert wire.run(wire.session.perform(calls.positions())) == []
    wire = forever(refused(503, "DATABASE_UNAVAILABLE"))
    with pytest.raises(Unavailable):
        wire.run(wire.session.perform(calls.positions()))


def test_session_cancel_repeated_finds_the_order_gone_and_returns_it() -> None:
    wire = with_key(LOST, refused(404, "UNKNOWN_ORDER"), ok({**ORDER, "status": "canceled", "reason": "REQUESTED"}))
    assert wire.run(wire.session.cancel("7")).status == "canceled"
    assert wire.requests == ["DELETE /v1/orders/7", "DELETE /v1/orders/7", "GET /v1/orders/7"]


def test_session_cancel_of_an_unknown_order_is_raised() -> None:
    wire = with_key(refused(404, "UNKNOWN_ORDER"))
    with pytest.raises(NotFound):
        wire.run(wire.session.cancel(client_order_id="mine"))
    assert wire.requests == ["DELETE /v1/orders/by-client-id/mine"]


def test_session_health_of_a_venue_not_ready_is_an_answer() -> None:
    wire = with_key(Reply(503, b'{"status":"degraded","matching":"unavailable","database":"ok","event_sequence":"5"}'))
    health = wire.run(wire.session.perform(calls.health(), repeat_for_s=0))
    assert (health.is_ready, health.matching, health.event_sequence) == (False, "unavailable", 5)


def test_session_pauses_grow_to_a_bound() -> None:
    chance = random.Random(3)
    pauses = [pause_before(attempt, chance) for attempt in range(50)]
    assert max(pauses) <= PAUSE_MAX_S
    assert pauses[0] < pauses[3] < pauses[5]
