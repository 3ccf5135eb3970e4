"""Orders beyond plain ones over the native API, against the real order book server: terms, groups, batches, safeguards."""

from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any

import pytest
import pytest_asyncio

from support.tes_venue import PASSWORD, Trader, Venue, eventually, order, running_venue, venue_config

pytestmark = pytest.mark.asyncio(loop_scope="module")

LAST = "230.00"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def venue(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Venue]:
    async with running_venue(venue_config(tmp_path_factory.mktemp("v"))) as venue:
        yield venue


@pytest_asyncio.fixture(loop_scope="module")
async def traders(venue: Venue) -> AsyncIterator[tuple[Trader, Trader]]:
    """Two traders, and a last price of 230.00 that both know of."""
    ann, bob = await venue.log_in("ann", PASSWORD), await venue.log_in("bob", PASSWORD)
    await trade_at(ann, bob, LAST)
    yield ann, bob
    await ann.cancel_all()
    await bob.cancel_all()


async def trade_at(ann: Trader, bob: Trader, price: str) -> None:
    await bob.place("sell", "1", price)
    taken = await ann.place("buy", "1", price)
    assert taken["status"] == "filled", taken


async def refused(trader: Trader, path: str = "/v1/orders", **body: Any) -> dict[str, Any]:
    response = await trader.request("POST", path, json=body)
    assert response.status_code in (400, 404, 409, 422), response.text
    error: dict[str, Any] = response.json()["error"]
    return error


async def asks(trader: Trader) -> list[list[Any]]:
    book = await trader.get("/v1/instruments/AAPL/book")
    shown: list[list[Any]] = book["asks"]
    return shown


def special(side: str, quantity: str, type_: str, **fields: Any) -> dict[str, Any]:
    return {"symbol": "AAPL", "side": side, "type": type_, "quantity": quantity, **fields}


# Terms


async def test_stop_order_waits_and_is_triggered_by_a_trade(traders: tuple[Trader, Trader]) -> None:
    ann, bob = traders
    stop = (
        await ann.request(
            "POST", "/v1/orders", json=special("buy", "3", "stop", stop_price="231.00", time_in_force="gtc")
        )
    ).json()
    assert (stop["type"], stop["status"], stop["stop_price"], stop["is_triggered"]) == ("stop", "new", "231.00", False)
    await bob.place("sell", "10", "231.50")
    await trade_at(ann, bob, "231.00")
    filled = await ann.get(f"/v1/orders/{stop['order_id']}")
    assert (filled["status"], filled["is_triggered"], filled["average_price"]) == ("filled", True, "231.50")


async def test_trailing_stop_begins_at_its_distance_from_the_last_price_and_follows(
    traders: tuple[Trader, Trader],
) -> None:
    ann, bob = traders
    body = special("sell", "2", "stop", trail="1.50", time_in_force="gtc")
    stop = (await ann.request("POST", "/v1/orders", json=body)).json()
    assert (stop["trail"], stop["stop_price"]) == ("1.50", "228.50")
    await trade_at(ann, bob, "232.00")
    assert (await ann.get(f"/v1/orders/{stop['order_id']}"))["stop_price"] == "230.50"


async def test_stop_price_of_a_waiting_stop_is_replaced(traders: tuple[Trader, Trader]) -> None:
    ann, _ = traders
    body = special("sell", "2", "stop_limit", stop_price="220.00", price="219.00", time_in_force="gtc")
    stop = (await ann.request("POST", "/v1/orders", json=body)).json()
    response = await ann.request("PATCH", f"/v1/orders/{stop['order_id']}", json={"stop_price": "221.00"})
    assert (response.json()["stop_price"], response.json()["price"]) == ("221.00", "219.00")


async def test_iceberg_and_hidden_orders_show_what_they_display_also_after_a_restart(
    venue: Venue, traders: tuple[Trader, Trader]
) -> None:
    ann, bob = traders
    iceberg = await bob.place("sell", "100", "233.00", display_quantity="10")
    hidden = await bob.place("sell", "50", "232.00", hidden=True)
    await bob.place("sell", "20", "234.00", all_or_none=True)
    await bob.request("POST", "/v1/orders", json=special("sell", "5", "stop", stop_price="200.00", time_in_force="gtc"))
    assert (iceberg["display_quantity"], hidden["hidden"]) == ("10", True)
    assert await asks(ann) == [["233.00", "10", 1]]
    await venue.tes.stop()
    await venue.tes.start()
    await venue.tes.ready()
    venue.http.base_url = venue.tes.url
    assert await asks(ann) == [["233.00", "10", 1]]
    assert (await bob.get(f"/v1/orders/{iceberg['order_id']}"))["display_quantity"] == "10"
    taken = await ann.place("buy", "5", "235.00", time_in_force="ioc")
    assert taken["average_price"] == "232.00"


async def test_good_till_date_order_expires_by_the_venues_clock(traders: tuple[Trader, Trader]) -> None:
    ann, _ = traders
    error = await refused(ann, **order("buy", "1", "200.00", time_in_force="gtd", expire_time="2020-01-01T00:00:00Z"))
    assert (error["code"], error["field"]) == ("EXPIRE_TIME_IN_PAST", "expire_time")
    now = datetime.fromisoformat((await ann.get("/v1/time"))["time"][:26] + "+00:00")
    soon = (now + timedelta(seconds=1)).isoformat()
    placed = await ann.place("buy", "1", "200.00", time_in_force="gtd", expire_time=soon)
    order_id = placed["order_id"]

    async def is_expired() -> bool:
        return bool((await ann.get(f"/v1/orders/{order_id}"))["status"] == "expired")

    await eventually(is_expired)


async def test_pegged_order_follows_the_best_price_of_its_side(traders: tuple[Trader, Trader]) -> None:
    ann, bob = traders
    await bob.place("buy", "1", "229.00")
    body = special("buy", "4", "pegged", price="229.80", peg="primary", peg_offset="0.10", time_in_force="gtc")
    peg = (await ann.request("POST", "/v1/orders", json=body)).json()
    assert (peg["peg"], peg["peg_offset"], peg["price"]) == ("primary", "0.10", "229.10")
    await bob.place("buy", "1", "229.50")
    assert (await ann.get(f"/v1/orders/{peg['order_id']}"))["price"] == "229.60"


async def test_minimum_quantity_that_cannot_trade_cancels_the_order(traders: tuple[Trader, Trader]) -> None:
    ann, bob = traders
    await bob.place("sell", "5", "230.50")
    placed = await ann.place("buy", "10", "230.50", minimum_quantity="6")
    assert (placed["status"], placed["reason"], placed["minimum_quantity"]) == (
        "canceled",
        "MINIMUM_NOT_FILLABLE",
        "6",
    )


async def test_market_to_limit_order_rests_at_the_price_it_took(traders: tuple[Trader, Trader]) -> None:
    ann, bob = traders
    await bob.place("sell", "5", "230.50")
    body = special("buy", "8", "market_to_limit")
    placed = (await ann.request("POST", "/v1/orders", json=body)).json()
    assert (placed["status"], placed["price"], placed["leaves_quantity"]) == ("partially_filled", "230.50", "3")


async def test_own_orders_do_not_trade_where_prevention_is_asked_for(traders: tuple[Trader, Trader]) -> None:
    ann, _ = traders
    resting = await ann.place("sell", "5", "230.50")
    placed = await ann.place("buy", "3", "230.50", self_trade_prevention="decrement")
    assert (placed["status"], placed["filled_quantity"], placed["prevented_quantity"]) == ("canceled", "0", "3")
    assert (await ann.get(f"/v1/orders/{resting['order_id']}"))["leaves_quantity"] == "2"


async def test_post_only_order_that_gives_way_rests_a_tick_away(traders: tuple[Trader, Trader]) -> None:
    ann, bob = traders
    await bob.place("sell", "5", "230.50")
    placed = await ann.place("buy", "3", "230.60", post_only=True, reprice=True)
    assert (placed["status"], placed["price"], placed["reprice"]) == ("new", "230.49", True)


REFUSED: list[tuple[dict[str, Any], str, str | None]] = [
    (special("buy", "1", "stop"), "INVALID_REQUEST", "stop_price"),
    (special("buy", "1", "stop", stop_price="229.00"), "STOP_WOULD_TRIGGER_IMMEDIATELY", "stop_price"),
    (special("buy", "1", "stop", stop_price="0"), "PRICE_NOT_POSITIVE", "stop_price"),
    (special("buy", "1", "stop", stop_price="a"), "INVALID_REQUEST", "stop_price"),
    (special("buy", "1", "stop", stop_price="231.005"), "PRICE_NOT_ON_TICK", "stop_price"),
    (special("buy", "1", "stop", stop_price="231.00", price="231.00"), "UNSUPPORTED_ORDER_ATTRIBUTES", "price"),
    (special("buy", "1", "stop_limit", stop_price="231.00"), "INVALID_REQUEST", "price"),
    (special("buy", "1", "pegged", peg="primary"), "INVALID_REQUEST", "price"),
    (special("buy", "1", "pegged", price="230.00", peg="best"), "INVALID_REQUEST", "peg"),
    (special("buy", "1", "limit", price="230.00", peg="mid"), "UNSUPPORTED_ORDER_ATTRIBUTES", None),
    (special("buy", "1", "limit", price="230.00", stop_price="231.00"), "UNSUPPORTED_ORDER_ATTRIBUTES", None),
    (special("buy", "1", "limit", price="230.00", display_quantity="2"), "DISPLAY_ABOVE_QUANTITY", "display_quantity"),
    (special("buy", "1", "limit", price="230.00", display_quantity=""), "INVALID_REQUEST", "display_quantity"),
    (special("buy", "1", "limit", price="230.00", minimum_quantity="2"), "MINIMUM_ABOVE_QUANTITY", "minimum_quantity"),
    (special("buy", "1", "limit", price="230.00", minimum_quantity="x"), "INVALID_REQUEST", "minimum_quantity"),
    (special("buy", "1", "limit", price="230.00", hidden=1), "INVALID_REQUEST", "hidden"),
    (special("buy", "1", "limit", price="230.00", expire_time="tomorrow"), "INVALID_REQUEST", "expire_time"),
    (special("buy", "1", "limit", price="230.00", expire_time="2030-01-01T00:00:00"), "INVALID_REQUEST", "expire_time"),
    (
        special("buy", "1", "limit", price="230.00", self_trade_prevention="x"),
        "INVALID_REQUEST",
        "self_trade_prevention",
    ),
]


@pytest.mark.parametrize(("body", "code", "field"), REFUSED, ids=[str(case[1]) for case in REFUSED])
async def test_terms_that_break_a_rule_are_refused_with_their_field(
    traders: tuple[Trader, Trader], body: dict[str, Any], code: str, field: str | None
) -> None:
    error = await refused(traders[0], **body)
    assert (error["code"], error.get("field")) == (code, field), error


# Groups


def bracket(quantity: str, **entry: Any) -> dict[str, Any]:
    return {
        "contingency": "bracket",
        "orders": [
            special("buy", quantity, "limit", price="230.50", time_in_force="gtc", **entry),
            special("sell", quantity, "limit", price="235.00", time_in_force="gtc"),
            special("sell", quantity, "stop", stop_price="225.00", time_in_force="gtc"),
        ],
    }


async def test_bracket_waits_for_its_entry_then_one_exit_cancels_the_other(traders: tuple[Trader, Trader]) -> None:
    ann, bob = traders
    response = await ann.request("POST", "/v1/order-groups", json=bracket("4"))
    assert response.status_code == 201, response.text
    group = response.json()
    assert group["group_id"] == group["orders"][0]["order_id"]
    assert [leg["status"] for leg in group["orders"]] == ["new", "held", "held"]
    await bob.place("sell", "4", "230.50")
    legs = [await ann.get(f"/v1/orders/{leg['order_id']}") for leg in group["orders"]]
    assert [leg["status"] for leg in legs] == ["filled", "new", "new"]
    await bob.place("buy", "4", "235.00")
    legs = [await ann.get(f"/v1/orders/{leg['order_id']}") for leg in group["orders"]]
    assert [(leg["status"], leg["reason"]) for leg in legs[1:]] == [("filled", None), ("canceled", "ORDER_GROUP")]


async def test_group_repeated_returns_the_first_one(traders: tuple[Trader, Trader]) -> None:
    ann, _ = traders
    body = bracket("1", client_order_id="bracket-1")
    for index, leg in enumerate(body["orders"]):
        leg["client_order_id"] = f"bracket-{index}"
    first = await ann.request("POST", "/v1/order-groups", json=body)
    second = await ann.request("POST", "/v1/order-groups", json=body)
    assert (first.status_code, second.status_code) == (201, 200)
    assert first.json() == second.json()


async def test_group_is_canceled_as_one(traders: tuple[Trader, Trader]) -> None:
    ann, _ = traders
    group = (await ann.request("POST", "/v1/order-groups", json=bracket("1"))).json()
    response = await ann.request("DELETE", f"/v1/order-groups/{group['group_id']}")
    assert response.json() == {"canceled": 3}
    again = await ann.request("DELETE", f"/v1/order-groups/{group['group_id']}")
    assert again.json()["error"]["code"] == "UNKNOWN_ORDER_GROUP"


@pytest.mark.parametrize("leg", [0, 1])
async def test_order_of_a_group_that_is_canceled_is_the_one_in_the_answer(
    traders: tuple[Trader, Trader], leg: int
) -> None:
    ann, _ = traders
    exits = {"contingency": "oco", "orders": bracket("1")["orders"][1:]}
    group = (await ann.request("POST", "/v1/order-groups", json=exits)).json()
    order_id = group["orders"][leg]["order_id"]
    canceled = (await ann.request("DELETE", f"/v1/orders/{order_id}")).json()
    assert (canceled["order_id"], canceled["reason"]) == (order_id, "REQUESTED")


async def test_group_with_a_wrong_order_is_refused_whole_and_names_it(traders: tuple[Trader, Trader]) -> None:
    ann, _ = traders
    body = bracket("1")
    body["orders"][1]["price"] = "99999999.00"
    error = await refused(ann, "/v1/order-groups", **body)
    assert (error["code"], error["field"]) == ("PRICE_ABOVE_MAXIMUM", "orders.1.price")
    assert not (await ann.get("/v1/orders", status="open"))["orders"]
    assert (await refused(ann, "/v1/order-groups", contingency="oco", orders=[]))["field"] == "orders"


# Batches


async def test_batch_places_its_orders_in_order_each_by_itself(traders: tuple[Trader, Trader]) -> None:
    ann, _ = traders
    orders = [order("buy", str(n), "200.00", client_order_id=f"batch-{n}") for n in range(1, 6)]
    orders[2]["price"] = "200.005"
    response = await ann.request("POST", "/v1/order-batches", json={"orders": orders})
    results = response.json()["results"]
    assert [sorted(result) for result in results] == [["order"], ["order"], ["error"], ["order"], ["order"]]
    assert results[2]["error"]["code"] == "PRICE_NOT_ON_TICK"
    ids = [int(result["order"]["order_id"]) for result in results if "order" in result]
    assert ids == sorted(ids)
    assert [result["order"]["quantity"] for result in results if "order" in result] == ["1", "2", "4", "5"]


@pytest.mark.parametrize("count", [0, 101])
async def test_batch_of_too_few_or_too_many_is_refused_whole(traders: tuple[Trader, Trader], count: int) -> None:
    error = await refused(traders[0], "/v1/order-batches", orders=[order("buy", "1", "200.00")] * count)
    assert (error["code"], error["field"]) == ("INVALID_REQUEST", "orders")


# Safeguards


async def test_countdown_cancels_unless_it_is_renewed(traders: tuple[Trader, Trader]) -> None:
    ann, _ = traders
    placed = await ann.place("buy", "1", "200.00", time_in_force="gtc")
    far = (await ann.request("PUT", "/v1/countdown", json={"timeout_ms": 60_000})).json()
    assert (far["symbol"], bool(far["cancels_at"])) == (None, True)
    await ann.request("PUT", "/v1/countdown", json={"timeout_ms": 1})

    async def is_canceled() -> bool:
        shown = await ann.get(f"/v1/orders/{placed['order_id']}")
        return bool((shown["status"], shown["reason"]) == ("canceled", "CONNECTION_LOST"))

    await eventually(is_canceled)
    ended = (await ann.request("PUT", "/v1/countdown", json={"timeout_ms": 0, "symbol": "AAPL"})).json()
    assert ended == {"symbol": "AAPL", "cancels_at": None}
    wrong = await ann.request("PUT", "/v1/countdown", json={"timeout_ms": -1})
    assert wrong.json()["error"]["code"] == "INVALID_COUNTDOWN"


async def test_orders_are_canceled_when_the_last_socket_is_lost_and_not_before(
    venue: Venue, traders: tuple[Trader, Trader]
) -> None:
    ann, bob = traders
    assert (await ann.request("PUT", "/v1/cancel-on-disconnect", json={"action": "day"})).json() == {"action": "day"}
    day, gtc = await ann.place("buy", "1", "200.00"), await ann.place("buy", "1", "200.00", time_in_force="gtc")
    kept = await bob.place("buy", "1", "200.00")
    async with venue.socket(ann):
        async with venue.socket(ann), venue.socket(bob):
            pass
        await ann.place("buy", "1", "199.00", time_in_force="ioc")
        assert (await ann.get(f"/v1/orders/{day['order_id']}"))["status"] == "new"

    async def is_canceled() -> bool:
        return bool((await ann.get(f"/v1/orders/{day['order_id']}"))["reason"] == "CONNECTION_LOST")

    await eventually(is_canceled)
    assert (await ann.get(f"/v1/orders/{gtc['order_id']}"))["status"] == "new"
    assert (await bob.get(f"/v1/orders/{kept['order_id']}"))["status"] == "new"
    await ann.request("PUT", "/v1/cancel-on-disconnect", json={"action": "none"})


async def test_private_stream_tells_each_step_of_a_stop(venue: Venue, traders: tuple[Trader, Trader]) -> None:
    ann, bob = traders
    async with venue.socket(ann) as socket:
        await socket.result(op="subscribe", channel="orders")
        placed = await socket.result(
            op="place", **special("buy", "3", "stop", stop_price="231.00", time_in_force="gtc")
        )
        await bob.place("sell", "10", "231.50")
        await bob.place("sell", "1", "231.00")
        await bob.place("buy", "1", "231.00")
        steps: list[str] = []
        while steps[-1:] != ["filled"]:
            message = await socket.of_type("order")
            if message["order"]["order_id"] == placed["order_id"]:
                steps.append(message["event"] if message["event"] != "trade" else message["order"]["status"])
        assert steps == ["new", "triggered", "filled"]
