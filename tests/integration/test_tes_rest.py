"""The native API over REST, against the real order book server: every documented path, and every documented error."""

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from support.tes_venue import Trader, Venue, order, running_venue, venue_config

pytestmark = pytest.mark.asyncio(loop_scope="module")

DOCUMENT = Path(__file__).parents[2] / "docs" / "api" / "native.md"
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def venue(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Venue]:
    async with running_venue(venue_config(tmp_path_factory.mktemp("v"))) as venue:
        yield venue


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def traders(venue: Venue) -> dict[str, Trader]:
    return {name: await venue.log_in(name) for name in ("ann", "bob")}


@pytest_asyncio.fixture(loop_scope="module")
async def ann(traders: dict[str, Trader]) -> AsyncIterator[Trader]:
    yield traders["ann"]
    await traders["ann"].cancel_all()


@pytest_asyncio.fixture(loop_scope="module")
async def bob(traders: dict[str, Trader]) -> AsyncIterator[Trader]:
    yield traders["bob"]
    await traders["bob"].cancel_all()


def error_of(response: httpx.Response, status: int, code: str) -> dict[str, Any]:
    assert (response.status_code, response.json()["error"]["code"]) == (status, code), response.text
    assert response.headers["x-request-id"]
    assert response.headers["content-type"] == "application/json"
    error: dict[str, Any] = response.json()["error"]
    assert set(error) <= {"code", "message", "field", "value"}
    return error


# Orders


async def test_order_placed_and_canceled_is_shown_as_documented(ann: Trader) -> None:
    placed = await ann.place("buy", "100", "200.10", client_order_id="first-1")
    times = [placed.pop("created_at"), placed.pop("updated_at")]
    assert all(TIME.fullmatch(time) for time in times)
    order_id, sequence = placed.pop("order_id"), placed.pop("event_sequence")
    expected = {
        "client_order_id": "first-1",
        "portfolio_id": "1",
        "symbol": "AAPL",
        "side": "buy",
        "type": "limit",
        "time_in_force": "day",
        "post_only": False,
        "price": "200.10",
        "quantity": "100",
        "filled_quantity": "0",
        "leaves_quantity": "100",
        "average_price": None,
        "status": "new",
        "reason": None,
    }
    assert placed == expected
    canceled = (await ann.request("DELETE", f"/v1/orders/{order_id}")).json()
    assert (canceled["status"], canceled["reason"], canceled["leaves_quantity"]) == ("canceled", "REQUESTED", "0")
    assert int(canceled["event_sequence"]) > int(sequence)
    assert await ann.get(f"/v1/orders/{order_id}") == canceled


async def test_orders_of_two_users_trade_and_both_see_it(ann: Trader, bob: Trader) -> None:
    resting = await bob.place("sell", "60", "230.08", time_in_force="gtc")
    taken = await ann.place("buy", "100", "230.10", client_order_id="taker-1")
    assert (taken["status"], taken["filled_quantity"], taken["leaves_quantity"]) == ("partially_filled", "60", "40")
    assert taken["average_price"] == "230.08"
    assert (await bob.get(f"/v1/orders/{resting['order_id']}"))["status"] == "filled"
    fill = (await ann.get("/v1/fills", limit=1))["fills"][0]
    assert {
        key: fill[key] for key in ("order_id", "client_order_id", "side", "price", "quantity", "liquidity", "fee")
    } == {
        "order_id": taken["order_id"],
        "client_order_id": "taker-1",
        "side": "buy",
        "price": "230.08",
        "quantity": "60",
        "liquidity": "taker",
        "fee": "4.15",
    }
    others = (await bob.get("/v1/fills", order_id=resting["order_id"]))["fills"]
    assert [(f["liquidity"], f["trade_id"]) for f in others] == [("maker", fill["trade_id"])]
    trades = (await ann.get("/v1/instruments/AAPL/trades", limit=1))["trades"]
    assert (trades[0]["trade_id"], trades[0]["price"], trades[0]["side"]) == (fill["trade_id"], "230.08", "buy")


async def test_order_repeated_returns_the_first_one(ann: Trader) -> None:
    body = order("buy", "5", "199.00", client_order_id="again-1")
    first = await ann.request("POST", "/v1/orders", json=body)
    second = await ann.request("POST", "/v1/orders", json=body)
    assert (first.status_code, second.status_code) == (201, 200)
    assert first.json() == second.json()
    await ann.request("DELETE", "/v1/orders/by-client-id/again-1")
    third = await ann.request("POST", "/v1/orders", json=body)
    assert (third.status_code, third.json()["status"]) == (200, "canceled")


async def test_client_order_id_reused_for_another_order_is_refused(ann: Trader) -> None:
    first = await ann.place("buy", "5", "199.00", client_order_id="taken-1")
    response = await ann.request("POST", "/v1/orders", json=order("buy", "6", "199.00", client_order_id="taken-1"))
    error = error_of(response, 409, "DUPLICATE_CLIENT_ORDER_ID")
    assert (error["field"], error["value"]) == ("client_order_id", "taken-1")
    assert first["order_id"] in error["message"]


async def test_client_order_id_of_another_account_is_free(ann: Trader, bob: Trader) -> None:
    mine = await ann.place("buy", "5", "199.00", client_order_id="shared-name")
    theirs = await bob.place("buy", "6", "199.00", client_order_id="shared-name")
    assert mine["order_id"] != theirs["order_id"]
    assert (await bob.get("/v1/orders/by-client-id/shared-name"))["quantity"] == "6"


async def test_order_of_someone_else_is_unknown(ann: Trader, bob: Trader) -> None:
    order_id = (await ann.place("buy", "5", "199.00", client_order_id="private-1"))["order_id"]
    for method, path, body in [
        ("GET", f"/v1/orders/{order_id}", None),
        ("DELETE", f"/v1/orders/{order_id}", None),
        ("PATCH", f"/v1/orders/{order_id}", {"quantity": "4"}),
        ("GET", "/v1/orders/by-client-id/private-1", None),
        ("DELETE", "/v1/orders/by-client-id/private-1", None),
    ]:
        error_of(await bob.request(method, path, json=body), 404, "UNKNOWN_ORDER")
    assert (await ann.get(f"/v1/orders/{order_id}"))["status"] == "new"
    assert order_id not in [found["order_id"] for found in (await bob.get("/v1/orders"))["orders"]]


async def test_replace_changes_quantity_and_price(ann: Trader) -> None:
    order_id = (await ann.place("buy", "100", "199.00"))["order_id"]
    response = await ann.request("PATCH", f"/v1/orders/{order_id}", json={"quantity": "80", "price": "199.50"})
    assert response.status_code == 200, response.text
    assert (response.json()["quantity"], response.json()["price"], response.json()["status"]) == ("80", "199.50", "new")


async def test_replace_that_crosses_trades_at_once(ann: Trader, bob: Trader) -> None:
    await bob.place("sell", "10", "231.00")
    order_id = (await ann.place("buy", "10", "229.00"))["order_id"]
    response = await ann.request("PATCH", f"/v1/orders/{order_id}", json={"price": "231.00"})
    assert (response.json()["status"], response.json()["average_price"]) == ("filled", "231.00")


async def test_market_order_without_quotes_is_refused(ann: Trader) -> None:
    response = await ann.request("POST", "/v1/orders", json=order("buy", "1", symbol="COIN"))
    error_of(response, 422, "NO_LIQUIDITY")


async def test_mass_cancel_takes_only_what_is_asked_for(ann: Trader) -> None:
    await ann.place("buy", "1", "199.00")
    await ann.place("buy", "0.02", "50000.0", symbol="COIN")
    await ann.place("sell", "1", "260.00")
    assert (await ann.request("DELETE", "/v1/orders", params={"side": "sell"})).json() == {"canceled": 1}
    assert (await ann.request("DELETE", "/v1/orders", params={"symbol": "COIN"})).json() == {"canceled": 1}
    left = (await ann.get("/v1/orders", status="open"))["orders"]
    assert [(found["symbol"], found["side"]) for found in left] == [("AAPL", "buy")]


@pytest.mark.parametrize("query", ["sid=buy", "side=bid", "symbol=AAPL&x=1"])
async def test_mass_cancel_with_a_misspelt_filter_cancels_nothing(ann: Trader, query: str) -> None:
    placed = await ann.place("buy", "1", "199.00")
    error_of(await ann.request("DELETE", f"/v1/orders?{query}"), 400, "INVALID_REQUEST")
    assert (await ann.get(f"/v1/orders/{placed['order_id']}"))["status"] == "new"


async def test_orders_are_paged_newest_first(bob: Trader) -> None:
    placed = [(await bob.place("buy", "1", "150.00"))["order_id"] for _ in range(5)]
    first = await bob.get("/v1/orders", status="open", limit=3)
    second = await bob.get("/v1/orders", status="open", limit=3, before=first["next"])
    assert [found["order_id"] for found in first["orders"] + second["orders"]] == placed[::-1]
    assert second["next"] is None


async def test_order_just_acknowledged_is_in_every_reading(ann: Trader) -> None:
    for number in range(20):
        placed = await ann.place("buy", "1", f"{150 + number}.00", client_order_id=f"seen-{number}")
        newest = (await ann.get("/v1/orders", status="open", limit=1))["orders"]
        assert [found["order_id"] for found in newest] == [placed["order_id"]]


async def test_many_orders_at_once_get_each_their_own_answer(ann: Trader) -> None:
    answers = await asyncio.gather(
        *(ann.place("buy", str(n), "150.00", client_order_id=f"par-{n}") for n in range(1, 101))
    )
    assert [answer["quantity"] for answer in answers] == [str(n) for n in range(1, 101)]
    assert len({answer["order_id"] for answer in answers}) == 100


# What is refused, and how

REFUSED: list[tuple[dict[str, Any], int, str, str | None]] = [
    ({"price": "230.005"}, 422, "PRICE_NOT_ON_TICK", "price"),
    ({"quantity": "1.5"}, 422, "QUANTITY_NOT_ON_LOT", "quantity"),
    ({"quantity": "0"}, 422, "QUANTITY_NOT_POSITIVE", "quantity"),
    ({"quantity": "-5"}, 422, "QUANTITY_NOT_POSITIVE", "quantity"),
    ({"quantity": "100001"}, 422, "QUANTITY_ABOVE_MAXIMUM", "quantity"),
    ({"quantity": "9" * 39}, 422, "QUANTITY_ABOVE_MAXIMUM", "quantity"),
    ({"quantity": "9" * 41}, 400, "INVALID_REQUEST", "quantity"),
    ({"quantity": "1e5"}, 400, "INVALID_REQUEST", "quantity"),
    ({"quantity": "NaN"}, 400, "INVALID_REQUEST", "quantity"),
    ({"quantity": ""}, 400, "INVALID_REQUEST", "quantity"),
    ({"quantity": "\u0661\u0660"}, 400, "INVALID_REQUEST", "quantity"),
    ({"quantity": 10}, 400, "INVALID_REQUEST", "quantity"),
    ({"quantity": 1e400}, 400, "MALFORMED_JSON", None),
    ({"quantity": None}, 400, "INVALID_REQUEST", "quantity"),
    ({"price": "0"}, 422, "PRICE_NOT_POSITIVE", "price"),
    ({"price": "-1"}, 422, "PRICE_NOT_POSITIVE", "price"),
    ({"price": "-" + "9" * 38}, 422, "PRICE_NOT_POSITIVE", "price"),
    ({"price": "9" * 38}, 422, "PRICE_ABOVE_MAXIMUM", "price"),
    ({"price": "1000.00"}, 422, "PRICE_OUTSIDE_BAND", "price"),
    ({"price": None}, 400, "INVALID_REQUEST", "price"),
    ({"price": "230.00", "quantity": "100000"}, 422, "INSUFFICIENT_FUNDS", None),
    ({"side": "sell", "quantity": "5000"}, 422, "INSUFFICIENT_POSITION", "quantity"),
    ({"symbol": "NOPE"}, 422, "UNKNOWN_INSTRUMENT", "symbol"),
    ({"symbol": "*"}, 422, "UNKNOWN_INSTRUMENT", "symbol"),
    ({"symbol": 7}, 400, "INVALID_REQUEST", "symbol"),
    ({"side": "hold"}, 400, "INVALID_REQUEST", "side"),
    ({"type": "nonsense"}, 400, "INVALID_REQUEST", "type"),
    ({"type": "market"}, 422, "UNSUPPORTED_ORDER_ATTRIBUTES", "price"),
    ({"time_in_force": "gtd"}, 422, "UNSUPPORTED_ORDER_ATTRIBUTES", None),
    ({"time_in_force": "someday"}, 400, "INVALID_REQUEST", "time_in_force"),
    ({"time_in_force": "ioc", "post_only": True}, 422, "UNSUPPORTED_ORDER_ATTRIBUTES", None),
    ({"post_only": "yes"}, 400, "INVALID_REQUEST", "post_only"),
    ({"client_order_id": "a b"}, 400, "INVALID_REQUEST", "client_order_id"),
    ({"client_order_id": "x" * 65}, 400, "INVALID_REQUEST", "client_order_id"),
    ({"client_order_id": "line\n"}, 400, "INVALID_REQUEST", "client_order_id"),
    ({"qty": "1"}, 400, "INVALID_REQUEST", "qty"),
]


@pytest.mark.parametrize(("change", "status", "code", "field"), REFUSED, ids=[str(case[0])[:40] for case in REFUSED])
async def test_order_that_breaks_a_rule_is_refused_with_field_and_value(
    ann: Trader, change: dict[str, Any], status: int, code: str, field: str | None
) -> None:
    body = {**order("buy", "1", "230.00"), **change}
    response = (
        await ann.request("POST", "/v1/orders", json=body)
        if code != "MALFORMED_JSON"
        else await ann.request(
            "POST", "/v1/orders", content='{"symbol": "AAPL", "side": "buy", "type": "limit", "quantity": Infinity}'
        )
    )
    error = error_of(response, status, code)
    assert error.get("field") == field
    if field and field != "qty" and isinstance(change.get(field), str):
        assert error["value"] == change[field]
    assert (await ann.get("/v1/orders", status="open"))["orders"] == []


async def test_refusal_names_the_value_and_the_bound(ann: Trader) -> None:
    response = await ann.request("POST", "/v1/orders", json=order("buy", "100001", "230.00"))
    assert response.json()["error"]["message"].endswith(": 100001, the most is 100000.")
    response = await ann.request("POST", "/v1/orders", json=order("sell", "5000", "230.00"))
    assert re.search(r": 5000, available is \d+\.$", response.json()["error"]["message"])
    response = await ann.request("POST", "/v1/orders", json=order("buy", "1", "230.005"))
    assert response.json()["error"]["message"] == (
        "The price is not a multiple of the instrument's tick size: 230.005 is not a multiple of 0.01."
    )


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "MALFORMED_JSON"),
        (b"{", "MALFORMED_JSON"),
        (b"\xff\xfe", "MALFORMED_JSON"),
        (b'{"symbol": "\xff"}', "MALFORMED_JSON"),
        (b'{"symbol": "\\ud800"}', "MALFORMED_JSON"),
        (b"[" * 50_000, "INVALID_REQUEST"),
        (b'{"symbol":' * 6_000, "INVALID_REQUEST"),
        (b"[]", "INVALID_REQUEST"),
        (b"null", "INVALID_REQUEST"),
        (b'"text"', "INVALID_REQUEST"),
        (b'{"symbol": ' + b"9" * 5_000 + b"}", "INVALID_REQUEST"),
    ],
    ids=lambda value: repr(value)[:24],
)
async def test_body_that_is_no_order_is_explained(ann: Trader, body: bytes, code: str) -> None:
    error_of(await ann.request("POST", "/v1/orders", content=body), 400, code)


@pytest.mark.parametrize("name", ["0", "-1", "abc", "1.0", "9" * 19, "9" * 40, "\u0663", "%00"])
async def test_order_id_that_cannot_be_one_is_unknown(ann: Trader, name: str) -> None:
    for method in ("GET", "DELETE", "PATCH"):
        body = {"quantity": "1"} if method == "PATCH" else None
        error_of(await ann.request(method, f"/v1/orders/{name}", json=body), 404, "UNKNOWN_ORDER")


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({}, 400, "INVALID_REQUEST"),
        ({"quantity": "0"}, 422, "QUANTITY_NOT_POSITIVE"),
        ({"quantity": "-1"}, 422, "QUANTITY_NOT_POSITIVE"),
        ({"price": "0.00"}, 422, "PRICE_NOT_POSITIVE"),
        ({"price": "199.001"}, 422, "PRICE_NOT_ON_TICK"),
        ({"price": "1"}, 422, "PRICE_OUTSIDE_BAND"),
        ({"quantity": "9" * 30}, 422, "QUANTITY_ABOVE_MAXIMUM"),
        ({"side": "sell"}, 400, "INVALID_REQUEST"),
    ],
    ids=str,
)
async def test_replace_that_breaks_a_rule_leaves_the_order(
    ann: Trader, body: dict[str, str], status: int, code: str
) -> None:
    placed = await ann.place("buy", "5", "199.00")
    error_of(await ann.request("PATCH", f"/v1/orders/{placed['order_id']}", json=body), status, code)
    assert await ann.get(f"/v1/orders/{placed['order_id']}") == placed


async def test_body_of_ten_megabytes_is_refused_and_the_connection_lives(ann: Trader) -> None:
    for path in ("/v1/orders", "/v1/auth/login", "/v1/api-keys"):
        error_of(await ann.request("POST", path, content=b"x" * 10_000_000), 413, "REQUEST_TOO_LARGE")
    await ann.get("/v1/me")


async def test_body_in_chunks_beyond_the_limit_is_refused(ann: Trader) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(300):
            yield b"x" * 1_000

    for path in ("/v1/orders", "/v1/auth/login"):
        error_of(await ann.request("POST", path, content=chunks()), 413, "REQUEST_TOO_LARGE")


async def test_path_or_method_that_does_not_exist_is_said_in_the_same_shape(ann: Trader) -> None:
    error_of(await ann.request("GET", "/v1/nothing"), 404, "NOT_FOUND")
    error_of(await ann.request("GET", "/v1/orders/1/2/3"), 404, "NOT_FOUND")
    error_of(await ann.request("GET", "/elsewhere"), 404, "NOT_FOUND")
    response = await ann.request("PUT", "/v1/orders", json={})
    error_of(response, 405, "METHOD_NOT_ALLOWED")
    assert response.headers["allow"] == "DELETE, GET, POST"


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("/v1/orders?limit=0", "limit"),
        ("/v1/orders?limit=ten", "limit"),
        ("/v1/orders?status=closed", "status"),
        ("/v1/orders?before=x", "before"),
        ("/v1/fills?limit=99999999999999999999999", "limit"),
        ("/v1/instruments/AAPL/book?depth=-1", "depth"),
        ("/v1/instruments/AAPL/candles?interval=2m", "interval"),
        ("/v1/instruments/AAPL/candles?start=1e3", "start"),
        ("/v1/instruments/AAPL/candles?end=99999999999999", "end"),
    ],
)
async def test_query_parameter_that_is_wrong_is_named(ann: Trader, path: str, field: str) -> None:
    assert error_of(await ann.request("GET", path), 400, "INVALID_REQUEST")["field"] == field


async def test_symbol_in_a_path_that_is_not_listed_is_not_found(ann: Trader) -> None:
    for tail in ("", "/book", "/trades", "/candles", "/history/bars", "/history/book?time=1"):
        error_of(await ann.request("GET", f"/v1/instruments/NOPE{tail}"), 404, "UNKNOWN_INSTRUMENT")
    error_of(await ann.request("GET", "/v1/orders?symbol=NOPE"), 422, "UNKNOWN_INSTRUMENT")


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/v1/orders"), ("DELETE", "/v1/orders/1"), ("GET", "/v1/tickers"), ("GET", "/v1/orders")],
)
async def test_bug_in_the_server_is_answered_in_the_same_shape(
    ann: Trader, venue: Venue, monkeypatch: pytest.MonkeyPatch, method: str, path: str
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("secret inside")

    server = venue.server
    for part, name in ((server.gateway, "submit"), (server.market_data, "ticker_views"), (server.readings, "orders")):
        monkeypatch.setattr(part, name, broken)
    body = order("buy", "1", "200.00") if method == "POST" else None
    response = await ann.request(method, path, json=body)
    assert (response.status_code, response.json()["error"]["code"]) == (500, "INTERNAL_ERROR")
    assert "secret" not in response.text


# What is mounted beside the API


async def test_mounted_page_is_served_beside_the_api(tmp_path: Path) -> None:
    async def page(scope: Any, receive: Any, send: Any) -> None:
        del receive
        headers = [(b"content-type", b"text/plain"), (b"x-frame-options", b"SAMEORIGIN")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": scope["path"].encode()})

    async with running_venue(venue_config(tmp_path), mounts=(("/", page),)) as venue:
        response = await venue.http.get("/some/file.js")
        assert (response.text, response.headers["x-frame-options"]) == ("/some/file.js", "SAMEORIGIN")
        assert response.headers["x-content-type-options"] == "nosniff"
        assert (await venue.http.get("/v1/time")).status_code == 200
        error_of(await venue.http.get("/v1/nothing"), 404, "NOT_FOUND")


# Reading


async def test_book_shows_levels_best_first(ann: Trader, bob: Trader) -> None:
    for price, quantity in (("229.00", "10"), ("229.50", "20"), ("229.50", "5")):
        await ann.place("buy", quantity, price)
    await bob.place("sell", "7", "232.00")
    book = await ann.get("/v1/instruments/AAPL/book")
    assert book["bids"] == [["229.50", "25", 2], ["229.00", "10", 1]]
    assert book["asks"] == [["232.00", "7", 1]]
    assert int(book["sequence"]) > 0
    assert TIME.fullmatch(book["time"])
    assert (await ann.get("/v1/instruments/AAPL/book", depth=1))["bids"] == [["229.50", "25", 2]]


async def test_instruments_are_described(ann: Trader) -> None:
    listed = (await ann.get("/v1/instruments"))["instruments"]
    assert [one["symbol"] for one in listed] == ["AAPL", "COIN"]
    assert await ann.get("/v1/instruments/COIN") == {
        "symbol": "COIN",
        "name": "A coin",
        "currency": "USD",
        "tick_size": "0.5",
        "lot_size": "0.02",
        "quantity_min": "0.02",
        "quantity_max": "1000.00",
        "price_max": listed[1]["price_max"],
        "notional_max": "10000000000.00",
        "market_protection": "500.0",
        "price_band_percent": "50",
        "maker_fee_bp": "1",
        "taker_fee_bp": "3",
        "phase": "continuous",
        "shard": 0,
    }


async def test_portfolio_and_positions_follow_a_trade(ann: Trader, bob: Trader) -> None:
    before, position_before = await ann.get("/v1/portfolio"), await position(ann, "COIN")
    await bob.place("sell", "0.10", "60000.5", symbol="COIN")
    await ann.place("buy", "0.10", "60000.5", symbol="COIN")
    after, position_after = await ann.get("/v1/portfolio"), await position(ann, "COIN")
    spent = float(before["cash"][0]["balance"]) - float(after["cash"][0]["balance"])
    assert round(spent, 2) == 6001.86
    assert (position_before["quantity"], position_after["quantity"]) == ("1000.00", "1000.10")
    assert position_after["market_price"] == "60000.5"
    assert after["cash"][0]["held"] == "0.00"
    assert after["realized_pnl"] != before["realized_pnl"]
    assert int(after["event_sequence"]) > int(before["event_sequence"])


async def position(trader: Trader, symbol: str) -> Any:
    return next(p for p in (await trader.get("/v1/positions"))["positions"] if p["symbol"] == symbol)


async def test_candles_and_tickers_show_trades(ann: Trader, bob: Trader) -> None:
    for price in ("228.00", "227.00", "229.00"):
        await bob.place("sell", "1", price)
        await ann.place("buy", "1", price)
    candles = await ann.get("/v1/instruments/AAPL/candles", interval="1d", limit=1)
    opened, _, _, low, close, _ = candles["candles"][0]
    assert (opened % 86_400, low, close) == (0, "227.00", "229.00")
    ticker = next(t for t in (await ann.get("/v1/tickers"))["tickers"] if t["symbol"] == "AAPL")
    assert (ticker["last"], ticker["low"]) == ("229.00", "227.00")


async def test_health_and_time_need_no_login(venue: Venue) -> None:
    health = await venue.http.get("/v1/health")
    assert health.status_code == 200
    assert health.json() | {"event_sequence": "", "projection_lag": ""} == {
        "status": "ok",
        "matching": "ok",
        "database": "ok",
        "event_sequence": "",
        "projection_lag": "",
        "version": "0.1.0",
    }
    assert TIME.fullmatch((await venue.http.get("/v1/time")).json()["time"])


# Headers


async def test_request_id_of_the_client_is_given_back(ann: Trader) -> None:
    response = await ann.http.get("/v1/time", headers={"X-Request-Id": "mine-1"})
    assert response.headers["x-request-id"] == "mine-1"
    response = await ann.http.get("/v1/time", headers={"X-Request-Id": "no good"})
    assert response.headers["x-request-id"] != "no good"


async def test_answers_carry_security_headers(ann: Trader) -> None:
    for response in (await ann.request("GET", "/v1/me"), await ann.request("POST", "/v1/orders", json={})):
        assert response.headers["x-content-type-options"] == "nosniff"
        assert response.headers["cache-control"] == "no-store"
        assert "default-src 'none'" in response.headers["content-security-policy"]
        assert "server" not in response.headers


async def test_page_of_the_portal_may_use_the_api_and_others_may_not(venue: Venue) -> None:
    preflight = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
    allowed = await venue.http.options("/v1/orders", headers={"Origin": "http://127.0.0.1:8080", **preflight})
    assert allowed.headers["access-control-allow-origin"] == "http://127.0.0.1:8080"
    refused = await venue.http.options("/v1/orders", headers={"Origin": "http://evil.example", **preflight})
    assert "access-control-allow-origin" not in refused.headers


# The document


async def test_openapi_document_has_every_path_with_examples(venue: Venue) -> None:
    document = (await venue.http.get("/openapi.json")).json()
    documented = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}
    table = re.findall(r"`(GET|POST|PUT|PATCH|DELETE) (/v1/[^`?]*)", DOCUMENT.read_text())
    always = {(method, path.rstrip("/")) for method, path in table if not path.startswith("/v1/scenarios/")}
    assert always == documented
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            assert "422" not in operation["responses"] or "HTTPValidationError" not in str(
                operation["responses"]["422"]
            )
            for status, response in operation["responses"].items():
                for content in response.get("content", {}).values():
                    assert content.get("example") or content.get("examples"), (method, path, status)


async def test_documentation_page_loads_nothing_from_elsewhere(venue: Venue) -> None:
    page = await venue.http.get("/docs")
    assert "http" not in page.text.replace("<!doctype html>", "")
    assert "script-src 'self'" in page.headers["content-security-policy"]
    for name in re.findall(r'(?:src|href)="(/docs/[^"]+)"', page.text):
        assert (await venue.http.get(name)).status_code == 200, name
    error_of(await venue.http.get("/docs/..%2F..%2Fpyproject.toml"), 404, "NOT_FOUND")
