"""Binance's API as it is spoken: signatures, errors, headers, streams and the WebSocket API, byte for byte where that matters."""

import itertools
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
import websockets

from support.binance_account import SYMBOL, Account, account_of, ask, receive, socket
from support.tes_venue import Venue, running_venue, venue_config
from trading_engine.servers.tes.binance.signing import signature_of

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def venue(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Venue]:
    async with running_venue(venue_config(tmp_path_factory.mktemp("v"))) as venue:
        yield venue


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def accounts(venue: Venue) -> tuple[Account, Account]:
    return await account_of(venue, "ann"), await account_of(venue, "bob")


@pytest_asyncio.fixture(loop_scope="module")
async def ann(accounts: tuple[Account, Account]) -> AsyncIterator[Account]:
    yield accounts[0]
    await accounts[0].send("DELETE", "openOrders", symbol=SYMBOL)


@pytest_asyncio.fixture(loop_scope="module")
async def bob(accounts: tuple[Account, Account]) -> AsyncIterator[Account]:
    yield accounts[1]
    await accounts[1].send("DELETE", "openOrders", symbol=SYMBOL)


# Signatures


async def test_signature_in_the_body_of_a_post_is_as_good_as_in_the_query(venue: Venue, ann: Account) -> None:
    query = f"symbol={SYMBOL}&side=BUY&type=LIMIT&timeInForce=GTC"
    body = f"quantity=1&price=200&timestamp={int(time.time() * 1000)}"
    signed = f"{body}&signature={signature_of(ann.secret, (query + body).encode())}"
    headers = {"X-MBX-APIKEY": ann.key_id, "Content-Type": "application/x-www-form-urlencoded"}
    response = await venue.http.post(f"/api/v3/order?{query}", content=signed, headers=headers)
    assert (response.status_code, response.json()["status"]) == (200, "NEW"), response.text


async def test_request_that_is_altered_old_early_or_unsigned_is_refused(venue: Venue, ann: Account) -> None:
    now = int(time.time() * 1000)
    assert await ann.error("GET", "account", timestamp=now - 6000) == (400, -1021)
    assert await ann.error("GET", "account", timestamp=now + 5000) == (400, -1021)
    assert await ann.error("GET", "account", recvWindow=60001) == (400, -1131)
    assert (await ann.send("GET", "account", timestamp=now - 6000, recvWindow=10000)).status_code == 200
    altered = ann.query(symbol=SYMBOL).replace("AAPL", "COIN")
    headers = {"X-MBX-APIKEY": ann.key_id}
    for url, code, status in [
        (f"/api/v3/openOrders?{altered}", -1022, 400),
        (f"/api/v3/account?timestamp={now}", -1102, 400),
        (f"/api/v3/account?{ann.query()}&recvWindow=5000&recvWindow=5000", -1101, 400),
    ]:
        response = await venue.http.get(url, headers=headers)
        assert (response.json()["code"], response.status_code) == (code, status), response.text
    assert (await venue.http.get(f"/api/v3/account?{ann.query()}")).json()["code"] == -2014
    unknown = await venue.http.get(f"/api/v3/account?{ann.query()}", headers={"X-MBX-APIKEY": "k" + "0" * 24})
    assert unknown.json()["code"] == -1022


async def test_key_that_was_deleted_is_refused(venue: Venue) -> None:
    trader = await venue.log_in("ann")
    key = (await trader.request("POST", "/v1/api-keys", json={"label": "gone"})).json()
    gone = Account(venue, key)
    assert (await gone.send("GET", "account")).status_code == 200
    await trader.request("DELETE", f"/v1/api-keys/{key['key_id']}")
    assert await gone.error("GET", "account") == (401, -2015)


# Orders


async def test_order_is_shown_with_its_fills_and_as_short_as_asked(ann: Account, bob: Account) -> None:
    await bob.place("SELL", "2", "230.00")
    await bob.place("SELL", "2", "230.50")
    placed = await ann.place("BUY", "3", "231.00", newClientOrderId="mine-1")
    assert (placed["status"], placed["executedQty"], placed["cummulativeQuoteQty"]) == ("FILLED", "3", "690.50")
    assert [(fill["price"], fill["qty"]) for fill in placed["fills"]] == [("230.00", "2"), ("230.50", "1")]
    queried = await ann.ok("GET", "order", symbol=SYMBOL, origClientOrderId="mine-1")
    assert (queried["orderId"], queried["isWorking"], queried["price"]) == (placed["orderId"], True, "231.00")
    short = await ann.place("BUY", "1", "200.00", newOrderRespType="ACK")
    assert set(short) == {"symbol", "orderId", "orderListId", "clientOrderId", "transactTime"}
    again = await ann.send(
        "POST", "order", symbol=SYMBOL, side="BUY", type="LIMIT", timeInForce="GTC", quantity="3", price="231.00",
        newClientOrderId="mine-1",
    )  # fmt: skip
    assert again.json() == {"code": -2010, "msg": "Duplicate order sent."}


async def test_immediate_order_expires_and_own_orders_expire_in_match(ann: Account, bob: Account) -> None:
    await bob.place("SELL", "2", "230.00")
    part = await ann.place("BUY", "3", "230.00", timeInForce="IOC")
    assert (part["status"], part["executedQty"]) == ("EXPIRED", "2")
    await ann.place("SELL", "2", "230.00")
    prevented = await ann.place("BUY", "2", "230.00", selfTradePreventionMode="EXPIRE_TAKER")
    assert (prevented["status"], prevented["selfTradePreventionMode"]) == ("EXPIRED_IN_MATCH", "EXPIRE_TAKER")


# Self-trade prevention


async def prevented(
    account: Account, mode: str, quantity: str, price: str = "230.00"
) -> tuple[dict[str, Any], dict[str, Any]]:
    """An own order for 2 that rests, and one that would take it."""
    resting = await account.place("SELL", "2", price)
    return resting, await account.place("BUY", quantity, price, selfTradePreventionMode=mode)


LEFT_BY_MODE: list[tuple[str, str | None, str | None, str, str]] = [
    ("EXPIRE_TAKER", "3", None, "NEW", "EXPIRED_IN_MATCH"),
    ("EXPIRE_MAKER", None, "2", "EXPIRED_IN_MATCH", "NEW"),
    ("EXPIRE_BOTH", "3", "2", "EXPIRED_IN_MATCH", "EXPIRED_IN_MATCH"),
    ("DECREMENT", "2", "2", "EXPIRED_IN_MATCH", "NEW"),
]


@pytest.mark.parametrize(
    ("mode", "taken", "made", "maker", "taker"), LEFT_BY_MODE, ids=[row[0] for row in LEFT_BY_MODE]
)
async def test_prevented_match_is_told_with_what_it_cost_each_order(
    ann: Account, mode: str, taken: str | None, made: str | None, maker: str, taker: str
) -> None:
    resting, incoming = await prevented(ann, mode, "3")
    [match] = incoming["preventedMatches"]
    quantities = {"takerPreventedQuantity": taken, "makerPreventedQuantity": made}
    assert match == {
        "preventedMatchId": match["preventedMatchId"],
        "makerSymbol": SYMBOL,
        "makerOrderId": resting["orderId"],
        "price": "230.00",
        **{name: quantity for name, quantity in quantities.items() if quantity},
    }
    [found] = await ann.ok("GET", "myPreventedMatches", symbol=SYMBOL, orderId=resting["orderId"])
    assert found == {
        "symbol": SYMBOL,
        "takerOrderId": incoming["orderId"],
        "tradeGroupId": -1,
        "selfTradePreventionMode": mode,
        "transactTime": incoming["transactTime"],
        **match,
    }
    number = match["preventedMatchId"]
    assert await ann.ok("GET", "myPreventedMatches", symbol=SYMBOL, preventedMatchId=number) == [found]
    for placed, status, quantity in ((resting, maker, made), (incoming, taker, taken)):
        order = await ann.ok("GET", "order", symbol=SYMBOL, orderId=placed["orderId"])
        assert order["status"] == status
        assert (order.get("preventedMatchId"), order.get("preventedQuantity")) == (quantity and number, quantity)


async def test_prevented_matches_of_an_order_are_listed_from_one_on_and_to_their_owner_only(
    ann: Account, bob: Account
) -> None:
    makers = [(await ann.place("SELL", "1", price))["orderId"] for price in ("230.00", "230.01", "230.02")]
    taker = await ann.place("BUY", "5", "230.02", selfTradePreventionMode="DECREMENT")
    ask = {"symbol": SYMBOL, "orderId": taker["orderId"]}
    found = await ann.ok("GET", "myPreventedMatches", **ask)
    assert [(match["makerOrderId"], match["makerPreventedQuantity"]) for match in found] == [(n, "1") for n in makers]
    assert [match["preventedMatchId"] for match in taker["preventedMatches"]] == [
        match["preventedMatchId"] for match in found
    ]
    second = found[1]["preventedMatchId"]
    assert await ann.ok("GET", "myPreventedMatches", **ask, fromPreventedMatchId=second) == found[1:]
    assert await ann.ok("GET", "myPreventedMatches", **ask, fromPreventedMatchId=second, limit=1) == found[1:2]
    async with socket(ann.venue, "/ws-api/v3") as api:
        assert (await ask_for_matches(api, ann, preventedMatchId=second))["result"] == found[1:2]
    [shown] = await ann.ok("GET", "openOrders", symbol=SYMBOL)
    assert (shown["preventedMatchId"], shown["preventedQuantity"]) == (found[2]["preventedMatchId"], "3")
    assert await bob.ok("GET", "myPreventedMatches", **ask) == []
    assert await bob.ok("GET", "myPreventedMatches", symbol=SYMBOL, preventedMatchId=second) == []
    assert await ann.ok("GET", "myPreventedMatches", symbol="COINUSD", preventedMatchId=second) == []


async def ask_for_matches(api: websockets.ClientConnection, account: Account, **parameters: Any) -> Any:
    return await ask(api, "myPreventedMatches", account.signed(symbol=SYMBOL, **parameters))


@pytest.mark.parametrize(
    ("parameters", "error"),
    [
        ({}, (400, -1128)),
        ({"orderId": 1, "preventedMatchId": 1}, (400, -1128)),
        ({"fromPreventedMatchId": 1}, (400, -1128)),
        ({"preventedMatchId": 1, "fromPreventedMatchId": 1}, (400, -1128)),
        ({"orderId": "x"}, (400, -1100)),
        ({"orderId": 1, "limit": "many"}, (400, -1100)),
        ({"orderId": 1, "symbol": "NOPE"}, (400, -1121)),
    ],
)
async def test_prevented_matches_asked_for_in_no_offered_way_are_refused(
    ann: Account, parameters: dict[str, Any], error: tuple[int, int]
) -> None:
    assert await ann.error("GET", "myPreventedMatches", **{"symbol": SYMBOL, **parameters}) == error


async def test_prevented_matches_weigh_more_by_order_than_by_number(ann: Account) -> None:
    async def weight(**parameters: Any) -> int:
        response = await ann.send("GET", "myPreventedMatches", **{"symbol": SYMBOL, **parameters})
        return int(response.headers["x-mbx-used-weight-1m"])

    used = [
        await weight(**asked) for asked in ({"preventedMatchId": 1}, {"orderId": 1}, {"orderId": 1, "symbol": "NOPE"})
    ]
    if used == sorted(used):  # Otherwise a new minute has begun.
        assert [later - earlier for earlier, later in itertools.pairwise(used)] == [20, 2]


async def test_own_stream_tells_what_was_prevented_once_for_each_order_that_it_cost_something(ann: Account) -> None:
    async with socket(ann.venue, "/ws-api/v3") as api:
        await ask(api, "userDataStream.subscribe.signature", ann.signed())
        resting, incoming = await prevented(ann, "DECREMENT", "3")
        [match] = incoming["preventedMatches"]
        _, taker_only = await prevented(ann, "EXPIRE_TAKER", "1", "231.00")
        reports: list[dict[str, Any]] = []
        while not reports or reports[-1]["i"] != taker_only["orderId"] or reports[-1]["x"] == "NEW":
            event = (await receive(api))["event"]
            if event["e"] == "executionReport":
                reports.append(event)
    assert [(r["i"], r["x"], r["X"]) for r in reports if r["x"] != "NEW"] == [
        (resting["orderId"], "TRADE_PREVENTION", "EXPIRED_IN_MATCH"),
        (incoming["orderId"], "TRADE_PREVENTION", "NEW"),
        (taker_only["orderId"], "TRADE_PREVENTION", "EXPIRED_IN_MATCH"),
    ]
    told = next(r for r in reports if r["i"] == incoming["orderId"] and r["x"] != "NEW")
    assert {name: told[name] for name in ("v", "A", "B", "U", "Cs", "pl", "pL", "pY")} == {
        "v": match["preventedMatchId"],
        "A": "2",
        "B": "2",
        "U": resting["orderId"],
        "Cs": SYMBOL,
        "pl": "2",
        "pL": "230.00",
        "pY": "460.00",
    }


REFUSED: list[tuple[dict[str, Any], int, str]] = [
    ({"symbol": "NOPE"}, -1121, "Invalid symbol."),
    ({"side": "HOLD"}, -1117, "Invalid side."),
    ({"type": "FANCY"}, -1116, "Invalid orderType."),
    ({"type": "TAKE_PROFIT", "stopPrice": "240"}, -2010, "Take profit orders are not supported for this symbol."),
    ({"type": "TAKE_PROFIT_LIMIT"}, -2010, "Take profit limit orders are not supported"),
    ({"timeInForce": "GTX"}, -1115, "Invalid timeInForce."),
    ({"quantity": ""}, -1102, "'quantity'"),
    ({"quantity": "x"}, -1100, "'quantity'"),
    ({"quantity": "1.5"}, -1013, "LOT_SIZE"),
    ({"quantity": "1000000"}, -1013, "LOT_SIZE"),
    ({"price": "230.005"}, -1013, "PRICE_FILTER"),
    ({"price": "900"}, -1013, "PERCENT_PRICE"),
    ({"icebergQty": "5"}, -1013, "ICEBERG_PARTS"),
    ({"quantity": "90000"}, -2010, "insufficient balance"),
    ({"newClientOrderId": "a b"}, -1100, "'newClientOrderId'"),
    ({"newOrderRespType": "LONG"}, -1100, "'newOrderRespType'"),
    ({"selfTradePreventionMode": "X"}, -1100, "selfTradePreventionMode"),
    ({"trailingDelta": "100"}, -2010, "Unsupported order combination"),
    ({"stopPrice": "240"}, -2010, "Unsupported order combination"),
    ({"pegPriceType": "PRIMARY_PEG"}, -2010, "Pegged orders are not supported"),
    ({"type": "STOP_LOSS"}, -1102, "'stopPrice'"),
    ({"type": "STOP_LOSS", "trailingDelta": "0"}, -1013, "TRAILING_DELTA"),
    ({"type": "STOP_LOSS", "trailingDelta": "2001"}, -1013, "TRAILING_DELTA"),
    ({"type": "STOP_LOSS", "trailingDelta": "100", "stopPrice": "240"}, -2010, "Unsupported order combination"),
    ({"type": "MARKET", "quoteOrderQty": "5.005", "quantity": None}, -1111, "precision"),
]


@pytest.mark.parametrize(("change", "code", "words"), REFUSED, ids=[str(case[0])[:40] for case in REFUSED])
async def test_order_that_cannot_be_is_refused_with_binances_code(
    ann: Account, change: dict[str, Any], code: int, words: str
) -> None:
    order = {"symbol": SYMBOL, "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "1", "price": "230"}
    body = {name: value for name, value in {**order, **change}.items() if value is not None}
    response = await ann.send("POST", "order", **body)
    error = response.json()
    assert (response.status_code, error["code"], words in error["msg"]) == (400, code, True), error


async def test_cancel_replace_says_what_became_of_both(ann: Account) -> None:
    first = await ann.place("BUY", "1", "200.00")
    change = {
        "symbol": SYMBOL,
        "side": "BUY",
        "type": "LIMIT",
        "timeInForce": "GTC",
        "quantity": "2",
        "price": "201",
        "cancelReplaceMode": "STOP_ON_FAILURE",
    }
    done = await ann.ok("POST", "order/cancelReplace", **change, cancelOrderId=first["orderId"])
    assert (done["cancelResponse"]["status"], done["newOrderResponse"]["origQty"]) == ("CANCELED", "2")
    failed = await ann.send("POST", "order/cancelReplace", **change, cancelOrderId=first["orderId"])
    data = failed.json()["data"]
    assert (failed.status_code, failed.json()["code"]) == (400, -2022)
    assert (data["cancelResult"], data["newOrderResult"]) == ("FAILURE", "NOT_ATTEMPTED")
    allowed = {**change, "cancelReplaceMode": "ALLOW_FAILURE"}
    half = await ann.send("POST", "order/cancelReplace", **allowed, cancelOrderId=first["orderId"])
    assert (half.status_code, half.json()["code"]) == (409, -2021)
    assert half.json()["data"]["newOrderResponse"]["status"] == "NEW"


async def test_amend_takes_less_and_keeps_the_place(ann: Account, bob: Account) -> None:
    first = await bob.place("SELL", "5", "230.00")
    await bob.place("SELL", "5", "230.00")
    amended = await bob.ok("PUT", "order/amend/keepPriority", symbol=SYMBOL, orderId=first["orderId"], newQty="3")
    assert amended["amendedOrder"]["origQty"] == "3"
    await ann.place("BUY", "3", "230.00")
    assert (await bob.ok("GET", "order", symbol=SYMBOL, orderId=first["orderId"]))["status"] == "FILLED"
    more = {"symbol": SYMBOL, "orderId": (await ann.place("BUY", "1", "200"))["orderId"], "newQty": "2"}
    assert await ann.error("PUT", "order/amend/keepPriority", **more) == (400, -2038)


async def test_amendments_of_an_order_are_listed_from_one_on_and_to_its_owner_only(ann: Account, bob: Account) -> None:
    placed = await ann.place("BUY", "5", "200.00", newClientOrderId="amended-1")
    order = {"symbol": SYMBOL, "orderId": placed["orderId"]}
    assert await ann.ok("GET", "order/amendments", **order) == []
    answers = [await ann.ok("PUT", "order/amend/keepPriority", **order, newQty=quantity) for quantity in ("4", "2")]
    amendments = await ann.ok("GET", "order/amendments", **order)
    assert amendments == [
        {
            **order,
            "executionId": answer["executionId"],
            "origClientOrderId": "amended-1",
            "newClientOrderId": "amended-1",
            "origQty": before,
            "newQty": after,
            "time": answer["transactTime"],
        }
        for answer, before, after in zip(answers, ("5", "4"), ("4", "2"), strict=True)
    ]
    second = {**order, "fromExecutionId": answers[1]["executionId"]}
    assert await ann.ok("GET", "order/amendments", **second) == amendments[1:]
    assert await ann.ok("GET", "order/amendments", **order, limit=1) == amendments[:1]
    async with socket(ann.venue, "/ws-api/v3") as api:
        assert (await ask(api, "order.amendments", ann.signed(**order)))["result"] == amendments
    assert await bob.ok("GET", "order/amendments", **order) == []
    assert await ann.ok("GET", "order/amendments", **{**order, "symbol": "COINUSD"}) == []
    assert await ann.error("GET", "order/amendments", symbol=SYMBOL) == (400, -1102)


async def test_market_order_without_a_price_on_the_other_side_is_rejected(ann: Account) -> None:
    order = {"symbol": "COINUSD", "side": "BUY", "type": "MARKET", "quantity": "0.02"}
    assert await ann.error("POST", "order", **order, newClientOrderId="nothing-there") == (400, -2010)
    assert await ann.error("GET", "order", symbol="COINUSD", origClientOrderId="nothing-there") == (400, -2013)


async def test_orders_and_trades_are_listed_from_an_id_on(ann: Account, bob: Account) -> None:
    ids = [(await ann.place("BUY", "1", "200.00"))["orderId"] for _ in range(3)]
    listed = await ann.ok("GET", "allOrders", symbol=SYMBOL, orderId=ids[1])
    assert [order["orderId"] for order in listed][:2] == ids[1:]
    assert [order["orderId"] for order in await ann.ok("GET", "openOrders")] == ids
    canceled = await ann.ok("DELETE", "openOrders", symbol=SYMBOL)
    assert [order["orderId"] for order in canceled] == ids
    assert await ann.error("DELETE", "openOrders", symbol=SYMBOL) == (400, -2011)
    assert await ann.error("DELETE", "order", symbol=SYMBOL, orderId=ids[0]) == (400, -2011)
    assert await ann.error("GET", "order", symbol=SYMBOL, orderId=10**12) == (400, -2013)
    assert await ann.error("GET", "order", symbol=SYMBOL) == (400, -1102)
    await bob.place("SELL", "1", "230.00")
    await ann.place("BUY", "1", "230.00")
    last = (await ann.ok("GET", "myTrades", symbol=SYMBOL))[-1]
    assert await ann.ok("GET", "myTrades", symbol=SYMBOL, fromId=last["id"]) == [last]
    assert await bob.ok("GET", "allOrders", symbol="COINUSD") == []


async def test_order_test_places_nothing(ann: Account) -> None:
    order = {"symbol": SYMBOL, "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "1", "price": "230"}
    assert await ann.ok("POST", "order/test", **order) == {}
    assert await ann.error("POST", "order/test", **{**order, "price": "230.005"}) == (400, -1013)
    assert await ann.ok("GET", "openOrders") == []


async def test_answers_count_what_was_used(ann: Account) -> None:
    order = {"symbol": SYMBOL, "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "1", "price": "200"}
    headers = (await ann.send("POST", "order", **order)).headers
    assert int(headers["x-mbx-used-weight-1m"]) > 0
    assert int(headers["x-mbx-order-count-10s"]) > 0
    counts = await ann.ok("GET", "rateLimit/order")
    assert counts[0]["count"] >= 1


async def test_commission_and_balances_are_those_of_the_venue(ann: Account) -> None:
    rates = (await ann.ok("GET", "account/commission", symbol=SYMBOL))["standardCommission"]
    assert (rates["maker"], rates["taker"]) == ("0.00010000", "0.00030000")
    fee = {"symbol": SYMBOL, "makerCommission": "0.00010000", "takerCommission": "0.00030000"}
    response = await ann.venue.http.get(
        f"/sapi/v1/asset/tradeFee?{ann.query(symbol=SYMBOL)}", headers={"X-MBX-APIKEY": ann.key_id}
    )
    assert response.json() == [fee]
    assert (await ann.venue.http.get("/sapi/v1/asset/tradeFee")).status_code == 401
    assert (await ann.venue.http.get("/sapi/v1/system/status")).json()["status"] == 0
    await ann.place("BUY", "10", "200.00")
    account = await ann.ok("GET", "account")
    assert (account["takerCommission"], account["commissionRates"]["maker"]) == (3, "0.00010000")
    usd = next(row for row in account["balances"] if row["asset"] == "USD")
    assert usd["locked"] == "2000.60"


async def test_orders_and_trades_are_listed_from_a_time_on(ann: Account, bob: Account) -> None:
    first = await ann.place("BUY", "1", "199.00")
    start = await ann.venue_ms_after(first["transactTime"])
    await bob.place("SELL", "1", "230.00")
    ids = [(await ann.place("BUY", "1", price))["orderId"] for price in ("230.00", "200.00")]
    listed = await ann.ok("GET", "allOrders", symbol=SYMBOL, startTime=start, limit=2)
    assert [order["orderId"] for order in listed] == ids
    assert [trade["orderId"] for trade in await ann.ok("GET", "myTrades", symbol=SYMBOL, startTime=start)] == ids[:1]
    before = await ann.ok("GET", "allOrders", symbol=SYMBOL, endTime=first["transactTime"], limit=1)
    assert before[0]["orderId"] == first["orderId"]
    assert await ann.ok("GET", "myTrades", symbol=SYMBOL, startTime=1, endTime=2) == []


async def test_cancel_with_a_restriction_that_cannot_be_kept_is_refused(ann: Account) -> None:
    order = await ann.place("BUY", "1", "200.00")
    restricted = {"symbol": SYMBOL, "orderId": order["orderId"], "cancelRestrictions": "ONLY_NEW"}
    assert await ann.error("DELETE", "order", **restricted) == (400, -1128)
    assert len(await ann.ok("GET", "openOrders")) == 1


# Stops and order lists


async def trade_at(price: str, ann: Account, bob: Account) -> None:
    """So that the last price is known."""
    await bob.place("SELL", "1", price)
    await ann.place("BUY", "1", price, timeInForce="IOC")


async def test_trailing_stop_follows_the_market_at_its_distance(ann: Account, bob: Account) -> None:
    await trade_at("230.00", ann, bob)
    stop = {"symbol": SYMBOL, "side": "SELL", "quantity": "1", "newOrderRespType": "RESULT"}
    placed = await ann.ok("POST", "order", **stop, type="STOP_LOSS", trailingDelta="100")
    assert (placed["stopPrice"], placed["trailingDelta"], placed["workingTime"]) == ("227.70", 100, -1)
    await trade_at("232.00", ann, bob)
    moved = await ann.ok("GET", "order", symbol=SYMBOL, orderId=placed["orderId"])
    assert (moved["stopPrice"], moved["isWorking"]) == ("229.70", False)


OCO = {"symbol": SYMBOL, "side": "SELL", "quantity": "2", "aboveType": "LIMIT_MAKER", "abovePrice": "240.00"}
OCO |= {"belowType": "STOP_LOSS_LIMIT", "belowStopPrice": "225.00", "belowPrice": "224.00", "belowTimeInForce": "GTC"}


async def test_oco_is_one_list_of_which_one_order_cancels_the_other(ann: Account, bob: Account) -> None:
    await trade_at("230.00", ann, bob)
    placed = await ann.ok("POST", "orderList/oco", **OCO, listClientOrderId="list-1", belowClientOrderId="below-1")
    number = placed["orderListId"]
    assert (placed["contingencyType"], placed["listStatusType"], placed["listOrderStatus"]) == (
        "OCO", "EXEC_STARTED", "EXECUTING",
    )  # fmt: skip
    assert [order["clientOrderId"] for order in placed["orders"]] == ["list-1", "below-1"]
    above, below = placed["orderReports"]
    assert [(report["type"], report["status"], report["orderListId"]) for report in (above, below)] == [
        ("LIMIT_MAKER", "NEW", number),
        ("STOP_LOSS_LIMIT", "NEW", number),
    ]
    assert (below["stopPrice"], below["price"], below["workingTime"]) == ("225.00", "224.00", -1)
    assert [row["orderListId"] for row in await ann.ok("GET", "openOrderList")] == [number]
    assert (await ann.ok("GET", "orderList", origClientOrderId="list-1"))["listOrderStatus"] == "EXECUTING"
    await bob.place("BUY", "2", "240.00")
    done = await ann.ok("GET", "orderList", orderListId=number)
    assert (done["listStatusType"], done["listOrderStatus"]) == ("ALL_DONE", "ALL_DONE")
    statuses = [
        (await ann.ok("GET", "order", symbol=SYMBOL, orderId=leg["orderId"]))["status"] for leg in (above, below)
    ]
    assert statuses == ["FILLED", "CANCELED"]
    assert (await ann.ok("GET", "myTrades", symbol=SYMBOL))[-1]["orderListId"] == number
    assert await ann.ok("GET", "openOrderList") == []


async def test_order_lists_are_found_by_id_and_time_and_only_by_their_owner(ann: Account, bob: Account) -> None:
    await trade_at("230.00", ann, bob)
    numbers = [(await ann.ok("POST", "orderList/oco", **OCO))["orderListId"] for _ in range(2)]
    listed = await ann.ok("GET", "allOrderList", fromId=numbers[0])
    assert [row["orderListId"] for row in listed] == numbers
    assert [row["orderListId"] for row in await ann.ok("GET", "allOrderList", limit=1)] == numbers[1:]
    since = await ann.ok("GET", "allOrderList", startTime=listed[1]["transactionTime"], limit=1000)
    assert numbers[1] in [row["orderListId"] for row in since]
    assert await bob.error("GET", "orderList", orderListId=numbers[0]) == (400, -2013)
    assert await bob.error("DELETE", "orderList", symbol=SYMBOL, orderListId=numbers[0]) == (400, -2011)
    assert await ann.error("GET", "orderList") == (400, -1102)
    assert await ann.error("GET", "orderList", orderListId=listed[0]["orders"][1]["orderId"]) == (400, -2013)
    assert await bob.ok("GET", "allOrderList") == []


async def test_list_is_canceled_whole_whoever_of_it_is_canceled(ann: Account, bob: Account) -> None:
    await trade_at("230.00", ann, bob)
    oco = await ann.ok("POST", "orderList/oco", **OCO, listClientOrderId="gone-1")
    canceled = await ann.ok("DELETE", "orderList", symbol=SYMBOL, listClientOrderId="gone-1")
    assert (canceled["orderListId"], canceled["listOrderStatus"]) == (oco["orderListId"], "ALL_DONE")
    assert [report["status"] for report in canceled["orderReports"]] == ["CANCELED", "CANCELED"]
    assert await ann.error("DELETE", "orderList", symbol=SYMBOL, orderListId=oco["orderListId"]) == (400, -2011)
    pair = await ann.ok("POST", "orderList/oto", **OTO)
    pending = pair["orders"][1]["orderId"]
    canceled = await ann.ok("DELETE", "order", symbol=SYMBOL, orderId=pending)
    assert [report["status"] for report in canceled["orderReports"]] == ["CANCELED", "CANCELED"]
    await ann.ok("POST", "orderList/oco", **OCO)
    alone = await ann.place("BUY", "1", "200.00")
    answers = await ann.ok("DELETE", "openOrders", symbol=SYMBOL)
    assert [answer.get("orderId") for answer in answers] == [alone["orderId"], None]
    assert [report["status"] for report in answers[1]["orderReports"]] == ["CANCELED", "CANCELED"]


OTO = {
    "symbol": SYMBOL, "workingType": "LIMIT", "workingSide": "BUY", "workingPrice": "229.00", "workingQuantity": "1",
    "workingTimeInForce": "GTC", "pendingType": "LIMIT", "pendingSide": "SELL", "pendingQuantity": "1",
    "pendingPrice": "235.00", "pendingTimeInForce": "GTC",
}  # fmt: skip
OTOCO = {
    name: value for name, value in OTO.items() if name not in ("pendingType", "pendingPrice", "pendingTimeInForce")
}
OTOCO |= {"pendingAboveType": "LIMIT_MAKER", "pendingAbovePrice": "235.00"}
OTOCO |= {"pendingBelowType": "STOP_LOSS", "pendingBelowStopPrice": "220.00"}


async def test_otoco_waits_for_its_working_order_and_the_account_is_told_each_step(
    venue: Venue, ann: Account, bob: Account
) -> None:
    await trade_at("230.00", ann, bob)
    async with socket(venue, "/ws-api/v3") as api:
        await ask(api, "userDataStream.subscribe.signature", ann.signed())
        placed = (await ask(api, "orderList.place.otoco", ann.signed(**OTOCO), 2))["result"]
        assert [report["status"] for report in placed["orderReports"]] == ["NEW", "PENDING_NEW", "PENDING_NEW"]
        await bob.place("SELL", "1", "229.00")
        await bob.place("BUY", "1", "235.00")
    statuses = [
        (await ann.ok("GET", "order", symbol=SYMBOL, orderId=order["orderId"]))["status"] for order in placed["orders"]
    ]
    assert statuses == ["FILLED", "FILLED", "CANCELED"]


async def test_user_data_stream_tells_an_order_list_from_its_start_to_its_end(
    venue: Venue, ann: Account, bob: Account
) -> None:
    await trade_at("230.00", ann, bob)
    key = (await venue.http.post("/api/v3/userDataStream", headers={"X-MBX-APIKEY": ann.key_id})).json()["listenKey"]
    async with socket(venue, f"/ws/{key}") as stream:
        placed = await ann.ok("POST", "orderList/otoco", **OTOCO)
        await bob.place("SELL", "1", "229.00")
        await bob.place("BUY", "1", "235.00")
        seen: list[tuple[Any, ...]] = []
        while seen[-1:] != [("listStatus", "ALL_DONE", "ALL_DONE")]:
            message = await receive(stream)
            if message["e"] == "executionReport":
                assert message["g"] == placed["orderListId"]
                seen.append((message["i"] - placed["orderListId"], message["x"], message["X"], message["w"]))
            elif message["e"] == "listStatus":
                assert [row["i"] for row in message["O"]] == [order["orderId"] for order in placed["orders"]]
                assert message["C"] == placed["listClientOrderId"]
                seen.append(("listStatus", message["l"], message["L"]))
    assert seen == [
        (1, "NEW", "PENDING_NEW", False),
        (2, "NEW", "PENDING_NEW", False),
        (0, "NEW", "NEW", True),
        ("listStatus", "EXEC_STARTED", "EXECUTING"),
        (0, "TRADE", "FILLED", False),
        (1, "NEW", "NEW", True),
        (2, "NEW", "NEW", False),
        (1, "TRADE", "FILLED", False),
        (2, "CANCELED", "CANCELED", False),
        ("listStatus", "ALL_DONE", "ALL_DONE"),
    ]


async def test_order_list_that_outlives_the_server_ends_with_all_its_orders(
    venue: Venue, ann: Account, bob: Account
) -> None:
    await trade_at("230.00", ann, bob)
    placed = await ann.ok("POST", "orderList/otoco", **OTOCO)
    await bob.place("SELL", "1", "229.00")
    await venue.tes.stop()
    await venue.tes.start()
    await venue.tes.ready()
    async with socket(venue, "/ws-api/v3") as api:
        await ask(api, "userDataStream.subscribe.signature", ann.signed())
        await bob.place("BUY", "1", "235.00")
        message = await receive(api)
        while message.get("event", {}).get("e") != "listStatus":
            message = await receive(api)
    assert [row["i"] for row in message["event"]["O"]] == [order["orderId"] for order in placed["orders"]]
    assert message["event"]["L"] == "ALL_DONE"


async def test_order_list_of_the_older_kind_is_the_same_list(ann: Account, bob: Account) -> None:
    await trade_at("230.00", ann, bob)
    legacy = {"symbol": SYMBOL, "side": "SELL", "quantity": "1", "price": "240.00", "stopPrice": "225.00"}
    placed = await ann.ok("POST", "order/oco", **legacy, stopClientOrderId="stop-1", newOrderRespType="FULL")
    assert [(report["type"], report["fills"]) for report in placed["orderReports"]] == [
        ("LIMIT_MAKER", []), ("STOP_LOSS", []),
    ]  # fmt: skip
    assert placed["orders"][1]["clientOrderId"] == "stop-1"


REFUSED_LISTS: list[tuple[str, dict[str, Any], int, str]] = [
    ("orderList/oco", OCO | {"belowType": "LIMIT_MAKER"}, -2010, "Unsupported order combination"),
    ("orderList/oco", OCO | {"aboveType": "TAKE_PROFIT"}, -2010, "Take profit orders are not supported"),
    ("orderList/oco", OCO | {"belowStopPrice": "235.00", "belowPrice": "234.00"}, -2010, "relationship of the prices"),
    ("orderList/oco", OCO | {"abovePrice": "240.005"}, -1013, "PRICE_FILTER"),
    ("orderList/oco", OCO | {"abovePegPriceType": "MARKET_PEG"}, -2010, "Pegged orders are not supported"),
    ("orderList/oco", OCO | {"aboveType": ""}, -1102, "'aboveType'"),
    ("orderList/oco", OCO | {"side": ""}, -1102, "'side'"),
    ("orderList/oco", OCO | {"listClientOrderId": "a b"}, -1100, "'listClientOrderId'"),
    ("orderList/oco", OCO | {"quantity": "5000"}, -2010, "insufficient balance"),
    ("orderList/oco", OCO | {"newOrderRespType": "LONG"}, -1100, "newOrderRespType"),
    ("orderList/oto", OTO | {"workingType": "MARKET"}, -1116, "workingType"),
    ("orderList/oto", OTO | {"pendingType": "MARKET"}, -2010, "Unsupported order combination"),
    ("orderList/otoco", OTOCO | {"pendingBelowType": ""}, -1102, "'pendingBelowType'"),
    ("order/oco", {"symbol": SYMBOL, "side": "SELL", "quantity": "1", "price": "240"}, -1102, "'stopPrice'"),
]


@pytest.mark.parametrize(
    ("path", "body", "code", "words"), REFUSED_LISTS, ids=[f"{case[0]} {case[3]}" for case in REFUSED_LISTS]
)
async def test_order_list_that_cannot_be_is_refused_whole(
    ann: Account, bob: Account, path: str, body: dict[str, Any], code: int, words: str
) -> None:
    await trade_at("230.00", ann, bob)
    response = await ann.send("POST", path, **body)
    error = response.json()
    assert (response.status_code, error["code"], words in error["msg"]) == (400, code, True), error
    assert await ann.ok("GET", "openOrders") == []


async def test_order_list_that_was_sent_twice_is_a_duplicate(ann: Account, bob: Account) -> None:
    await trade_at("230.00", ann, bob)
    named = OCO | {"aboveClientOrderId": "twice-1", "belowClientOrderId": "twice-2"}
    await ann.ok("POST", "orderList/oco", **named)
    again = await ann.send("POST", "orderList/oco", **named)
    assert again.json() == {"code": -2010, "msg": "Duplicate order sent."}


# Market data


async def test_public_paths_answer_without_a_key(venue: Venue, ann: Account, bob: Account) -> None:
    await bob.place("SELL", "2", "230.00")
    await ann.place("BUY", "1", "230.00")
    http = venue.http
    information = (await http.get("/api/v3/exchangeInfo", params={"symbol": SYMBOL})).json()
    steps = {rule["filterType"]: rule for rule in information["symbols"][0]["filters"]}
    assert (steps["PRICE_FILTER"]["tickSize"], steps["LOT_SIZE"]["stepSize"]) == ("0.01", "1")
    assert (steps["TRAILING_DELTA"]["maxTrailingAboveDelta"], information["symbols"][0]["ocoAllowed"]) == (2000, True)
    assert information["exchangeFilters"] == [{"filterType": "EXCHANGE_MAX_NUM_ORDERS", "maxNumOrders": 1000}]
    depth = (await http.get("/api/v3/depth", params={"symbol": SYMBOL, "limit": 5})).json()
    assert depth["asks"] == [["230.00", "1"]]
    assert (await http.get("/api/v3/ping")).json() == {}
    trades = (await http.get("/api/v3/trades", params={"symbol": SYMBOL})).json()
    assert trades[-1]["isBuyerMaker"] is False
    day = (await http.get("/api/v3/ticker/24hr", params={"symbol": SYMBOL})).json()
    assert (day["lastPrice"], day["lastId"], day["askPrice"]) == ("230.00", trades[-1]["id"], "230.00")
    assert day["count"] == len((await http.get("/api/v3/trades", params={"symbol": SYMBOL, "limit": 1000})).json())
    for path in ("ticker?windowSize=1d&", "ticker/tradingDay?", "ticker?windowSize=59m&"):
        window = (await http.get(f"/api/v3/{path}symbol={SYMBOL}")).json()
        assert (window["lastPrice"], window["count"]) == ("230.00", day["count"])
    both = (await http.get("/api/v3/ticker/price", params={"symbols": '["AAPLUSD","COINUSD"]'})).json()
    assert [row["symbol"] for row in both] == ["AAPLUSD", "COINUSD"]
    assert len((await http.get("/api/v3/ticker/bookTicker")).json()) == 2
    start = (await http.get("/api/v3/klines", params={"symbol": SYMBOL, "interval": "1m"})).json()[-1][0]
    since = await http.get("/api/v3/klines", params={"symbol": SYMBOL, "interval": "1m", "startTime": start})
    assert since.json()[0][0] == start
    recent = await http.get("/api/v3/aggTrades", params={"symbol": SYMBOL, "startTime": start, "limit": 1000})
    assert recent.json()[-1]["a"] == trades[-1]["id"]
    for path, parameters, code in [
        ("klines", {"symbol": SYMBOL, "interval": "7m"}, -1120),
        ("depth", {"symbol": "aaplusd"}, -1121),
        ("depth", {}, -1102),
        ("ticker", {}, -1102),
        ("ticker", {"symbol": SYMBOL, "windowSize": "2d"}, -1100),
        ("ticker/tradingDay", {"symbol": SYMBOL, "timeZone": "9"}, -1100),
        ("trades", {"symbol": SYMBOL, "limit": "many"}, -1100),
    ]:
        assert (await http.get(f"/api/v3/{path}", params=parameters)).json()["code"] == code
    assert (await http.get("/api/v3/nothing")).status_code == 404


# Streams


async def test_book_kept_by_the_published_steps_is_the_venues(venue: Venue, ann: Account, bob: Account) -> None:
    async with socket(venue, f"/ws/{SYMBOL.lower()}@depth@100ms") as stream:
        for step in range(5):
            await bob.place("SELL", "2", f"23{step}.00")
            await ann.place("BUY", "1", f"23{step}.00")
        snapshot = (await venue.http.get("/api/v3/depth", params={"symbol": SYMBOL})).json()
        book = {side: dict(snapshot[side]) for side in ("bids", "asks")}
        last = snapshot["lastUpdateId"]
        await bob.place("SELL", "7", "240.00")
        before = None
        while "240.00" not in book["asks"]:
            update = await receive(stream)
            if update["u"] <= last:
                continue
            assert update["U"] <= last + 1 <= update["u"] if before is None else update["U"] == before + 1
            before = update["u"]
            for side, changes in (("bids", update["b"]), ("asks", update["a"])):
                for price, quantity in changes:
                    book[side][price] = quantity
                    if float(quantity) == 0:
                        del book[side][price]
        shown = (await venue.http.get("/api/v3/depth", params={"symbol": SYMBOL})).json()
        assert book == {side: dict(shown[side]) for side in ("bids", "asks")}


async def test_streams_are_subscribed_listed_and_left(venue: Venue, ann: Account, bob: Account) -> None:
    async with socket(venue, f"/stream?streams={SYMBOL.lower()}@trade") as stream:
        wanted = [f"{SYMBOL.lower()}@{kind}" for kind in ("bookTicker", "aggTrade", "ticker", "miniTicker", "depth5")]
        assert await ask(stream, "SUBSCRIBE", wanted) == {"result": None, "id": 1}
        assert (await ask(stream, "SUBSCRIBE", ["aaplusd@nothing"]))["error"]["code"] == 2
        assert (await ask(stream, "LIST_SUBSCRIPTIONS"))["result"] == sorted([*wanted, f"{SYMBOL.lower()}@trade"])
        await bob.place("SELL", "1", "230.00")
        await ann.place("BUY", "1", "230.00")
        heard: set[str] = set()
        while heard != {*wanted, f"{SYMBOL.lower()}@trade"}:
            message = await receive(stream)
            heard.add(message["stream"])
            if message["stream"].endswith("@aggTrade"):
                assert message["data"]["f"] == message["data"]["l"] == message["data"]["a"]
        assert await ask(stream, "UNSUBSCRIBE", [*wanted, f"{SYMBOL.lower()}@trade"]) == {"result": None, "id": 1}
        assert (await ask(stream, "LIST_SUBSCRIPTIONS"))["result"] == []
        await stream.send("no json")
        assert (await receive(stream))["error"]["code"] == 3


async def test_tickers_of_all_markets_come_as_they_change(venue: Venue, bob: Account) -> None:
    async with socket(venue, "/stream?streams=!ticker@arr/!miniTicker@arr") as stream:
        assert (await ask(stream, "LIST_SUBSCRIPTIONS"))["result"] == ["!miniTicker@arr", "!ticker@arr"]
        await bob.place("SELL", "1", "230.00", symbol="AAPLUSD")
        await bob.place("SELL", "0.02", "61000", symbol="COINUSD")
        heard: set[tuple[str, str]] = set()
        while len(heard) < 4:
            message = await receive(stream)
            heard |= {(message["stream"], ticker["s"]) for ticker in message["data"]}
        await ask(stream, "UNSUBSCRIBE", ["!ticker@arr", "!miniTicker@arr"])
    await bob.send("DELETE", "openOrders", symbol="COINUSD")


async def test_connection_that_is_named_by_a_number_is_told_what_it_subscribes(venue: Venue, bob: Account) -> None:
    async with socket(venue, "/ws/7") as stream:
        assert await ask(stream, "SUBSCRIBE", [f"{SYMBOL.lower()}@bookTicker"]) == {"result": None, "id": 1}
        await bob.place("SELL", "1", "230.00")
        while (await receive(stream))["a"] != "230.00":
            pass


async def test_socket_that_sends_garbage_is_closed_and_others_are_not(venue: Venue) -> None:
    async with socket(venue, "/ws") as other, socket(venue, "/ws") as noisy:
        for _ in range(20):
            await noisy.send(b"\x00\xff")
            await receive(noisy)
        with pytest.raises(websockets.ConnectionClosed) as closed:
            await receive(noisy)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1008
        assert (await ask(other, "LIST_SUBSCRIPTIONS"))["result"] == []


async def test_listen_key_is_a_stream_of_ones_own_account_only(venue: Venue, ann: Account, bob: Account) -> None:
    headers = {"X-MBX-APIKEY": ann.key_id}
    key = (await venue.http.post("/api/v3/userDataStream", headers=headers)).json()["listenKey"]
    foreign = await venue.http.put(
        "/api/v3/userDataStream", params={"listenKey": key}, headers={"X-MBX-APIKEY": bob.key_id}
    )
    assert foreign.json()["code"] == -1125
    async with socket(venue, f"/ws/{key}") as stream:
        await bob.place("BUY", "1", "199.00")
        placed = await ann.place("BUY", "1", "200.00")
        report = await receive(stream)
        assert (report["e"], report["x"], report["i"]) == ("executionReport", "NEW", placed["orderId"])
        position = await receive(stream)
        assert (position["e"], position["B"][0]["a"]) == ("outboundAccountPosition", "USD")
        await ann.ok("DELETE", "order", symbol=SYMBOL, orderId=placed["orderId"])
        assert (await receive(stream))["x"] == "CANCELED"
        await venue.http.put("/api/v3/userDataStream", params={"listenKey": key}, headers=headers)
        await venue.http.delete("/api/v3/userDataStream", params={"listenKey": key}, headers=headers)
        for _ in range(2):
            await ann.place("BUY", "1", "200.00")
        message = await receive(stream)
        while message["e"] == "outboundAccountPosition":  # of the cancel
            message = await receive(stream)
        assert (message["e"], message["listenKey"]) == ("listenKeyExpired", key)
        await stream.send(json.dumps({"id": 1, "method": "LIST_SUBSCRIPTIONS"}))
        assert await receive(stream) == {"result": [key], "id": 1}, "the second order was told"
    async with socket(venue, f"/ws/{key}") as stream:
        assert (await receive(stream))["error"]["code"] == 2


# The WebSocket API


async def test_websocket_api_places_and_tells_what_became_of_it(venue: Venue, ann: Account, bob: Account) -> None:
    async with socket(venue, "/ws-api/v3") as api:
        assert (await ask(api, "time"))["status"] == 200
        followed = await ask(api, "userDataStream.subscribe.signature", ann.signed())
        assert followed["result"] == {"subscriptionId": 0}
        order = {"symbol": SYMBOL, "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": 2, "price": "200"}
        await api.send(json.dumps({"id": "place", "method": "order.place", "params": ann.signed(**order)}))
        events, answer = [], None
        while answer is None or not events:
            message = await receive(api)
            if message.get("id") == "place":
                answer = message
            elif message["event"]["e"] == "executionReport":
                events.append(message["event"])
        assert (answer["status"], answer["result"]["origQty"], events[0]["x"]) == (200, "2", "NEW")
        number = answer["result"]["orderId"]
        status = await ask(api, "order.status", ann.signed(symbol=SYMBOL, orderId=number), 2)
        assert status["result"]["status"] == "NEW"
        foreign = await ask(api, "order.cancel", bob.signed(symbol=SYMBOL, orderId=number), 3)
        assert (foreign["status"], foreign["error"]["code"]) == (400, -2011)
        forged = {**ann.signed(symbol=SYMBOL, orderId=number), "symbol": "COINUSD"}
        assert (await ask(api, "order.cancel", forged, 4))["error"]["code"] == -1022
        assert (await ask(api, "no.such.method", {}, 5))["status"] == 404
        assert (await ask(api, "order.place", [1], 6))["error"]["code"] == -1100
        assert (await ask(api, "userDataStream.unsubscribe", {}, 7))["result"] == {}
