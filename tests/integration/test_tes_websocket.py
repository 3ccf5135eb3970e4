"""The WebSocket: market data that adds up, a private stream without gaps, orders, and clients that misbehave."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Collection
from typing import Any

import pytest
import pytest_asyncio
import websockets
from websockets.frames import Frame, Opcode

from support.stalled_socket import flood_until_cut_off, stalled_socket
from support.tes_venue import Socket, Trader, Venue, order, running_venue, venue_config
from trading_engine.servers.tes.services import gateway as gateway_module

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def venue(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Venue]:
    config = venue_config(tmp_path_factory.mktemp("v"), websocket_outbox_bytes_max=200_000)
    async with running_venue(config) as venue:
        yield venue


@pytest_asyncio.fixture(loop_scope="module")
async def ann(venue: Venue) -> AsyncIterator[Trader]:
    trader = await venue.log_in("ann")
    yield trader
    await trader.cancel_all()


@pytest_asyncio.fixture(loop_scope="module")
async def bob(venue: Venue) -> AsyncIterator[Trader]:
    trader = await venue.log_in("bob")
    yield trader
    await trader.cancel_all()


class LocalBook:
    """A book kept from messages, as a client keeps it."""

    def __init__(self, snapshot: dict[str, Any]) -> None:
        self.sequence = snapshot["sequence"]
        self.sides = {side: {level[0]: level[1:] for level in snapshot[side]} for side in ("bids", "asks")}

    def take(self, delta: dict[str, Any]) -> None:
        assert delta["previous_sequence"] == self.sequence
        self.sequence = delta["sequence"]
        for side in ("bids", "asks"):
            for price, *level in delta[side]:
                if level[0] == "0":
                    self.sides[side].pop(price, None)
                else:
                    self.sides[side][price] = level

    def shown(self) -> dict[str, list[list[Any]]]:
        return {
            "bids": [[p, *self.sides["bids"][p]] for p in sorted(self.sides["bids"], key=float, reverse=True)],
            "asks": [[p, *self.sides["asks"][p]] for p in sorted(self.sides["asks"], key=float)],
        }


# Market data


async def test_book_of_snapshot_and_deltas_is_the_book(venue: Venue, ann: Trader, bob: Trader) -> None:
    await ann.place("buy", "10", "229.00")
    async with venue.socket() as socket:
        await socket.result(op="subscribe", channel="book", symbol="AAPL")
        book = LocalBook(await socket.of_type("book_snapshot"))
        for number in range(60):
            await ann.place("buy", "2", f"{225 + number % 7}.00")
            if number % 3 == 0:
                await bob.place("sell", "3", f"{224 + number % 9}.00")
            if number % 10 == 9:
                await bob.cancel_all()
        wanted = (await venue.http.get("/v1/instruments/AAPL/book", params={"depth": 1000})).json()
        while book.sequence != wanted["sequence"]:
            book.take(await socket.of_type("book"))
        assert book.shown() == {"bids": wanted["bids"], "asks": wanted["asks"]}


async def test_subscriber_that_comes_later_fits_in_while_things_happen(venue: Venue, ann: Trader) -> None:
    async def churn() -> None:
        for number in range(150):
            await ann.place("buy", "1", f"{200 + number % 20}.00")

    async def follow() -> LocalBook:
        async with venue.socket() as socket:
            await socket.result(op="subscribe", channel="book", symbol="AAPL")
            book = LocalBook(await socket.of_type("book_snapshot"))
            for _ in range(3):
                book.take(await socket.of_type("book"))
            return book

    churning = asyncio.create_task(churn())
    books = [asyncio.create_task(follow()) for _ in range(5)]
    await asyncio.gather(*books)
    await churning


async def test_trades_come_before_the_book_that_they_led_to(venue: Venue, ann: Trader, bob: Trader) -> None:
    async with venue.socket() as socket:
        await socket.result(op="subscribe", channel="trades", symbol="AAPL")
        await socket.result(op="subscribe", channel="book", symbol="AAPL")
        await socket.of_type("book_snapshot")
        await bob.place("sell", "5", "230.00")
        await ann.place("buy", "5", "230.00")
        trades = await socket.of_type("trades")
        (trade,) = trades["trades"]
        assert (trade["price"], trade["quantity"], trade["side"]) == ("230.00", "5", "buy")
        book = await socket.until(lambda m: m["type"] == "book" and int(m["sequence"]) >= int(trade["sequence"]))
        assert int(book["previous_sequence"]) < int(trade["sequence"])


async def test_ticker_of_one_and_of_all(venue: Venue, ann: Trader) -> None:
    async with venue.socket() as socket:
        await socket.result(op="subscribe", channel="ticker", symbol="*")
        assert {(await socket.of_type("ticker"))["symbol"] for _ in range(2)} == {"AAPL", "COIN"}
        await ann.place("buy", "0.02", "59000.0", symbol="COIN")
        ticker = await socket.until(lambda m: m["type"] == "ticker" and m["bid"] == "59000.0")
        rest = (await venue.http.get("/v1/tickers")).json()["tickers"]
        assert {key: value for key, value in ticker.items() if key != "type"} in rest
        await socket.result(op="unsubscribe", channel="ticker", symbol="*")


async def test_unsubscribed_channel_is_silent(venue: Venue, ann: Trader) -> None:
    async with venue.socket() as socket:
        await socket.result(op="subscribe", channel="book", symbol="AAPL")
        await socket.of_type("book_snapshot")
        await socket.result(op="unsubscribe", channel="book", symbol="AAPL")
        await ann.place("buy", "1", "215.00")
        await socket.result(op="subscribe", channel="ticker", symbol="AAPL")
        await ann.place("buy", "1", "216.00")
        await socket.until(lambda m: m["type"] == "ticker")
        assert [m for m in socket.seen if m["type"] == "book"] == []


# Orders


async def test_order_is_placed_replaced_and_canceled_over_the_socket(venue: Venue, ann: Trader) -> None:
    async with venue.socket(ann) as socket:
        placed = await socket.result(op="place", **order("buy", "10", "215.00", client_order_id="ws-1"))
        assert placed == await ann.get(f"/v1/orders/{placed['order_id']}")
        replaced = await socket.result(op="replace", order_id=placed["order_id"], quantity="6", price="215.50")
        assert (replaced["quantity"], replaced["price"]) == ("6", "215.50")
        canceled = await socket.result(op="cancel", client_order_id="ws-1")
        assert (canceled["status"], canceled["order_id"]) == ("canceled", placed["order_id"])
        repeated = await socket.result(op="place", **order("buy", "10", "215.00", client_order_id="ws-1"))
        assert (repeated["order_id"], repeated["status"]) == (placed["order_id"], "canceled")
        await socket.result(op="place", **order("buy", "1", "215.00"))
        assert await socket.result(op="cancel_all", side="buy") == {"canceled": 1}


async def test_orders_sent_without_waiting_arrive_in_their_order(venue: Venue, ann: Trader) -> None:
    async with venue.socket(ann) as socket:
        numbers = [
            await socket.send(op="place", **order("buy", "1", "215.00", client_order_id=f"burst-{n}"))
            for n in range(700)
        ]
        answers = [await socket.answer_to(number) for number in numbers]
        ids = [int(answer["result"]["order_id"]) for answer in answers]
        assert ids == sorted(ids)
        assert [answer["result"]["client_order_id"] for answer in answers] == [f"burst-{n}" for n in range(700)]


async def test_order_never_overtakes_what_came_before_it(venue: Venue, ann: Trader) -> None:
    """Whatever is between them: requests that are not orders, what is wrong, a message in fragments, and all in one piece of data."""
    async with venue.socket(ann) as socket:
        for burst in range(20):
            placing = [
                {"op": "place", **order("buy", "1", "215.00", client_order_id=f"{burst}-{n}")} for n in range(40)
            ]
            requests = [
                *placing[:20],
                {"op": "ping"},
                *placing[20:30],
                {"op": "place", "symbol": "NOBODY"},
                *placing[30:36],
                {"op": "cancel_all"},
                *placing[36:],
            ]
            numbers = [socket.number() for _ in requests]
            data = b""
            for number, request in zip(numbers, requests, strict=True):
                text = json.dumps({"id": number, **request}).encode()
                at = len(text) if number % 7 else 9
                pieces = [text[:at], text[at:]] if text[at:] else [text]
                for place, piece in enumerate(pieces):
                    opcode = Opcode.CONT if place else Opcode.TEXT
                    data += Frame(opcode, piece, fin=place + 1 == len(pieces)).serialize(mask=True)
            socket.connection.transport.write(data)
            answers = {
                request.get("client_order_id", request["op"]): await socket.answer_to(number)
                for number, request in zip(numbers, requests, strict=True)
            }
            ids = [int(answers[f"{burst}-{n}"]["result"]["order_id"]) for n in range(40)]
            assert ids == sorted(ids)
            assert answers["cancel_all"]["result"] == {"canceled": 36}
            assert answers["place"]["error"]["code"] == "INVALID_REQUEST"
            assert await socket.result(op="cancel_all") == {"canceled": 4}


@pytest.mark.parametrize("pause_s", [0.0, 0.002])
async def test_order_behind_a_new_login_is_of_who_logs_in(
    venue: Venue, ann: Trader, bob: Trader, pause_s: float
) -> None:
    """A key takes long to check; meanwhile the connection is still the other's."""
    key = (await bob.request("POST", "/v1/api-keys", json={"label": "behind"})).json()
    async with venue.socket(ann) as socket:
        login = await socket.send(op="auth", key=key["key_id"], secret=key["secret"])
        await asyncio.sleep(pause_s)
        placing = await socket.send(op="place", **order("buy", "1", "215.00"))
        assert (await socket.answer_to(login))["type"] == "ack"
        placed = (await socket.answer_to(placing))["result"]
        assert placed["portfolio_id"] == (await bob.get(f"/v1/orders/{placed['order_id']}"))["portfolio_id"]


async def test_orders_beyond_what_the_venue_is_sent_at_once_wait_their_turn(
    venue: Venue, ann: Trader, bob: Trader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gateway_module, "IN_FLIGHT_MAX", 3)
    async with venue.socket(ann) as anns, venue.socket(bob) as bobs:
        sent = [
            (socket, await socket.send(op="place", **order("buy", "1", "215.00")))
            for _ in range(100)
            for socket in (anns, bobs)
        ]
        answers = [await socket.answer_to(number) for socket, number in sent]
        assert [answer["type"] for answer in answers] == ["ack"] * 200


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        ({"op": "place", **order("buy", "1", "230.005")}, "PRICE_NOT_ON_TICK"),
        ({"op": "place", "symbol": "AAPL"}, "INVALID_REQUEST"),
        ({"op": "place", **order("buy", "9" * 30, "230.00")}, "QUANTITY_ABOVE_MAXIMUM"),
        ({"op": "place", **order("buy", "1", "230.00", symbol="NOPE")}, "UNKNOWN_INSTRUMENT"),
        ({"op": "cancel"}, "INVALID_REQUEST"),
        ({"op": "cancel", "order_id": "1", "client_order_id": "a"}, "INVALID_REQUEST"),
        ({"op": "cancel", "order_id": "999999"}, "UNKNOWN_ORDER"),
        ({"op": "cancel", "order_id": "0"}, "UNKNOWN_ORDER"),
        ({"op": "cancel", "client_order_id": ""}, "UNKNOWN_ORDER"),
        ({"op": "replace", "order_id": "999999", "quantity": "1"}, "UNKNOWN_ORDER"),
        ({"op": "replace", "order_id": "1"}, "INVALID_REQUEST"),
        ({"op": "cancel_all", "side": "both"}, "INVALID_REQUEST"),
        ({"op": "subscribe", "channel": "book"}, "INVALID_REQUEST"),
        ({"op": "subscribe", "channel": "book", "symbol": "*"}, "UNKNOWN_INSTRUMENT"),
        ({"op": "subscribe", "channel": "book", "symbol": "AAPL", "since": "1"}, "INVALID_REQUEST"),
        ({"op": "subscribe", "channel": "orders", "symbol": "AAPL"}, "INVALID_REQUEST"),
        ({"op": "subscribe", "channel": "orders", "since": "yesterday"}, "INVALID_REQUEST"),
        ({"op": "subscribe", "channel": "news", "symbol": "AAPL"}, "INVALID_REQUEST"),
        ({"op": "auth"}, "INVALID_REQUEST"),
        ({"op": "auth", "token": "nonsense"}, "NOT_AUTHENTICATED"),
        ({"op": "auth", "key": "k", "secret": "s"}, "NOT_AUTHENTICATED"),
        ({"op": "auth", "token": "x", "key": "k", "secret": "s"}, "INVALID_REQUEST"),
        ({"op": "dance"}, "INVALID_REQUEST"),
    ],
    ids=lambda value: str(value)[:60],
)
async def test_request_that_is_wrong_is_answered_with_its_id(
    venue: Venue, ann: Trader, request_: dict[str, Any], code: str
) -> None:
    async with venue.socket(ann) as socket:
        answer = await socket.ask(**request_)
        assert (answer["type"], answer["op"], answer["error"]["code"]) == ("error", request_["op"], code)
        assert await socket.result(op="ping")


@pytest.mark.parametrize(
    "request_",
    [{"op": "place", **order("buy", "1", "215.00")}, {"op": "cancel_all"}, {"op": "subscribe", "channel": "orders"}],
)
async def test_private_request_without_a_login_is_refused(venue: Venue, request_: dict[str, Any]) -> None:
    async with venue.socket() as socket:
        assert (await socket.error(**request_))["code"] == "NOT_AUTHENTICATED"


async def test_api_key_opens_the_socket(venue: Venue, ann: Trader) -> None:
    key = (await ann.request("POST", "/v1/api-keys", json={"label": "ws"})).json()
    async with venue.socket() as socket:
        assert await socket.result(op="auth", key=key["key_id"], secret=key["secret"]) == {"portfolio_id": "1"}
        await socket.result(op="place", **order("buy", "1", "215.00"))


# The private stream


def report_of(order_id: str) -> Callable[[dict[str, Any]], bool]:
    return lambda message: message["type"] == "order" and message["order"]["order_id"] == order_id


def order_messages(socket: Socket) -> list[tuple[str, str, str]]:
    return [(m["event_sequence"], m["event"], m["order"]["order_id"]) for m in socket.seen if m["type"] == "order"]


async def test_private_stream_tells_each_change_and_the_balances(venue: Venue, ann: Trader, bob: Trader) -> None:
    async with venue.socket(ann) as socket:
        result = await socket.result(op="subscribe", channel="orders")
        placed = await ann.place("buy", "10", "230.00", client_order_id="mine-1")
        new = await socket.of_type("order")
        assert (new["event"], new["order"], new["fill"]) == ("new", placed, None)
        assert int(new["event_sequence"]) > int(result["event_sequence"])
        held = await socket.of_type("balance")
        assert (held["currency"], held["held"]) == ("USD", "2300.69")
        await bob.place("sell", "4", "230.00")
        trade = await socket.of_type("order")
        assert (trade["event"], trade["order"]["status"], trade["order"]["filled_quantity"]) == (
            "trade",
            "partially_filled",
            "4",
        )
        assert (trade["fill"]["liquidity"], trade["fill"]["quantity"]) == ("maker", "4")
        moved = await socket.of_type("position")
        assert (moved["symbol"], moved["event_sequence"]) == ("AAPL", moved["event_sequence"])
        await ann.request("PATCH", f"/v1/orders/{placed['order_id']}", json={"quantity": "6"})
        assert (await socket.of_type("order"))["event"] == "replaced"
        await ann.request("DELETE", f"/v1/orders/{placed['order_id']}")
        last = await socket.of_type("order")
        assert (last["event"], last["order"]["reason"]) == ("canceled", "REQUESTED")


async def test_private_stream_of_one_user_shows_nothing_of_another(venue: Venue, ann: Trader, bob: Trader) -> None:
    async with venue.socket(bob) as socket:
        await socket.result(op="subscribe", channel="orders")
        await ann.place("buy", "1", "215.00")
        mine = await bob.place("buy", "1", "215.00")
        assert (await socket.of_type("order"))["order"]["order_id"] == mine["order_id"]


@pytest.mark.parametrize("step", [0, 1, 7, 40])
async def test_stream_resumed_anywhere_misses_and_repeats_nothing(
    venue: Venue, ann: Trader, bob: Trader, step: int
) -> None:
    """One connection follows all the time; another resumes in the middle, while things go on happening."""

    async def trade(rounds: int) -> None:
        for number in range(rounds):
            await ann.place("buy", "3", "230.00")
            await bob.place("sell", "2", "230.00")
            if number % 4 == 3:
                await ann.cancel_all()

    async with venue.socket(ann) as whole, venue.socket(ann) as resumed:
        start = int((await whole.result(op="subscribe", channel="orders"))["event_sequence"])
        await trade(15)
        trading = asyncio.create_task(trade(15))
        await resumed.result(op="subscribe", channel="orders", since=str(start + step))
        await trading
        marker = await ann.place("buy", "1", "211.00")
        for socket in (whole, resumed):
            await socket.until(report_of(marker["order_id"]))
        wanted = [message for message in order_messages(whole) if int(message[0]) > start + step]
        assert order_messages(resumed) == wanted
        assert len(wanted) > 50


async def test_stream_resumed_beyond_what_has_happened_waits_for_what_comes_after(venue: Venue, ann: Trader) -> None:
    async with venue.socket(ann) as socket:
        now = int((await socket.result(op="subscribe", channel="orders"))["event_sequence"])
        await socket.result(op="subscribe", channel="orders", since=str(now + 3))
        first = await ann.place("buy", "1", "215.00")
        while int(first["event_sequence"]) <= now + 3:
            first = await ann.place("buy", "1", "215.00")
        assert (await socket.of_type("order"))["order"]["order_id"] == first["order_id"]


async def test_account_that_trades_with_itself_gets_both_reports(venue: Venue, ann: Trader) -> None:
    async with venue.socket(ann) as socket:
        await socket.result(op="subscribe", channel="orders")
        sold = await ann.place("sell", "2", "231.00")
        bought = await ann.place("buy", "2", "231.00")
        trades = [await socket.until(lambda m: m["type"] == "order" and m["event"] == "trade") for _ in range(2)]
        assert [t["order"]["order_id"] for t in trades] == [sold["order_id"], bought["order_id"]]
        assert trades[0]["event_sequence"] == trades[1]["event_sequence"]


# Clients that misbehave


async def test_socket_that_sends_garbage_gets_errors_and_is_closed_in_the_end(venue: Venue) -> None:
    garbage: list[str | bytes] = [
        "{",
        "[]",
        "null",
        '{"op": 5}',
        "\u0000",
        b"\x00\x01",
        '{"op":' * 1000,
        '{"op":"ping","x":1}',
    ]
    async with venue.socket() as socket:
        for number in range(20):
            await socket.connection.send(garbage[number % len(garbage)])
            answer = await socket.receive()
            assert answer["error"]["code"] in ("MALFORMED_JSON", "INVALID_REQUEST"), answer
        with pytest.raises(websockets.ConnectionClosedError) as closed:
            await socket.receive()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1008


async def test_socket_that_sends_sense_in_between_stays_open(venue: Venue) -> None:
    async with venue.socket() as socket:
        for _ in range(3):
            for _ in range(19):
                await socket.connection.send("{")
                await socket.receive()
            await socket.result(op="ping")


@pytest.mark.parametrize("request_id", ["9" * 5000, '"' + "x" * 200 + '"', "1.5", "null", "true", "[1]"])
async def test_request_id_that_cannot_be_sent_back_is_refused(venue: Venue, request_id: str) -> None:
    async with venue.socket() as socket:
        await socket.connection.send('{"op": "ping", "id": ' + request_id + "}")
        answer = await socket.receive()
        assert (answer["type"], answer["error"]["code"]) == ("error", "INVALID_REQUEST")
        assert await socket.result(op="ping")


async def test_message_beyond_the_limit_closes_the_socket(venue: Venue) -> None:
    async with venue.socket() as socket:
        await socket.connection.send("x" * 100_000)
        with pytest.raises(websockets.ConnectionClosed) as closed:
            await socket.receive()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1009


async def test_socket_that_never_reads_is_cut_off_and_hurts_nobody(venue: Venue, ann: Trader) -> None:
    subscribe = json.dumps({"op": "subscribe", "channel": "book", "symbol": "AAPL"}).encode()
    await asyncio.gather(*(ann.place("buy", "1", f"{120 + number * 0.1:.2f}") for number in range(500)))
    with stalled_socket(venue, "/v1/ws") as stalled:
        await flood_until_cut_off(stalled, sessions_of(venue), subscribe)
    async with venue.socket() as socket:
        await socket.result(op="ping")


def sessions_of(venue: Venue) -> Collection[object]:
    """The server's own connections: what never reads cannot be watched from outside."""
    return venue.server.websocket.sessions


async def test_handshake_elsewhere_is_refused_in_the_same_shape(venue: Venue) -> None:
    with pytest.raises(websockets.InvalidStatus) as refused:
        await websockets.connect(venue.tes.url.replace("http", "ws") + "/v1/other", proxy=None)
    assert refused.value.response.status_code == 404
    assert json.loads(refused.value.response.body)["error"]["code"] == "NOT_FOUND"
