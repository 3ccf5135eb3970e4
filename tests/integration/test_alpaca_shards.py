"""Alpaca's API over two order book servers, AAPL on one and COIN on the other: one account, one list, one stream."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
import websockets

from support.alpaca_account import Account, account_of
from support.tes_venue import Venue, eventually, is_away, running_venue, two_shards

pytestmark = pytest.mark.asyncio(loop_scope="module")

COIN = {"symbol": "COIN"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def venue(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Venue]:
    async with running_venue(two_shards(tmp_path_factory.mktemp("v"))) as venue:
        yield venue


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def ann(venue: Venue) -> Account:
    """After a trade on each, the one on COIN of an order that was replaced."""
    ann, bob = await account_of(venue, "ann"), await account_of(venue, "bob")
    await bob.place("sell", "2", "230.00")
    await ann.place("buy", "2", "230.00")
    placed = await ann.place("buy", "0.04", "60000", **COIN)
    await ann.ok("PATCH", f"orders/{placed['id']}", {"limit_price": "60000.5"})
    await bob.place("sell", "0.04", "60000.5", **COIN)
    return ann


async def test_orders_of_both_are_listed_with_what_they_are_called(ann: Account) -> None:
    listed = await ann.ok("GET", "orders", status="closed")
    assert [(order["symbol"], order["status"]) for order in listed] == [("COIN", "filled"), ("AAPL", "filled")]
    for order in listed:
        assert await ann.ok("GET", f"orders/{order['id']}") == order
    former = await ann.ok("GET", f"orders/{listed[0]['replaces']}")
    assert (former["status"], former["replaced_by"], former["limit_price"]) == ("replaced", listed[0]["id"], "60000.0")


async def test_bracket_is_placed_where_its_instrument_is(ann: Account) -> None:
    legs = {"order_class": "bracket", "take_profit": {"limit_price": 61000}, "stop_loss": {"stop_price": 59000}}
    placed = await ann.place("buy", "0.02", "60000", **COIN, **legs)
    assert await ann.ok("GET", f"orders/{placed['id']}", nested="true") == placed
    assert await ann.ok("GET", "orders", nested="true") == [placed]
    assert len(await ann.ok("DELETE", "orders")) == 3


async def test_activities_of_both_are_paged_without_loss(ann: Account) -> None:
    whole = await ann.ok("GET", "account/activities")
    assert {row["symbol"] for row in whole if row["activity_type"] == "FILL"} == {"AAPL", "COIN"}
    paged: list[Any] = []
    while page := await ann.ok(
        "GET", "account/activities", page_size=1, **({"page_token": paged[-1]["id"]} if paged else {})
    ):
        paged += page
    assert paged == whole


async def test_activities_of_both_are_in_the_order_of_their_time(ann: Account) -> None:
    bob = await account_of(ann.venue, "bob")
    for number in range(3):
        await bob.place("sell", "1", str(231 + number))
        await ann.place("buy", "1", str(231 + number))
        await bob.place("sell", "0.02", str(60001 + number), **COIN)
        await ann.place("buy", "0.02", str(60001 + number), **COIN)
    newest = await ann.ok("GET", "account/activities/FILL", page_size=6)
    assert [row["symbol"] for row in newest] == ["COIN", "AAPL"] * 3
    oldest = await ann.ok("GET", "account/activities/FILL", direction="asc")
    assert oldest[::-1] == await ann.ok("GET", "account/activities/FILL")
    times = [row["transaction_time"] for row in oldest]
    assert times == sorted(times)


async def test_account_and_its_history_are_of_both(ann: Account) -> None:
    account = await ann.ok("GET", "account")
    positions = await ann.ok("GET", "positions")
    assert [position["symbol"] for position in positions] == ["AAPL", "COIN"]
    history = await ann.ok("GET", "account/portfolio/history", period="1D", timeframe="1H")
    assert history["equity"][-1] == float(account["equity"])
    assert float(account["long_market_value"]) == sum(float(position["market_value"]) for position in positions)


async def test_what_happened_on_both_is_told_again(venue: Venue, ann: Account) -> None:
    url = venue.tes.url.replace("http", "ws") + "/stream?replay_s=3600"
    async with websockets.connect(url, compression=None, proxy=None) as stream:
        await stream.send(json.dumps({"action": "auth", "key": ann.key_id, "secret": ann.secret}))
        await stream.send(json.dumps({"action": "listen", "data": {"streams": ["trade_updates"]}}))
        filled: dict[str, str] = {}
        while len(filled) < 2:
            message = json.loads(await stream.recv())
            if message["data"].get("event") == "fill":
                order = message["data"]["order"]
                filled[order["symbol"]] = order["id"]
    listed = await ann.ok("GET", "orders", status="closed", symbols="AAPL,COIN")
    assert set(filled.values()) <= {order["id"] for order in listed}


async def test_cancel_of_all_tells_of_each_order_also_where_its_shard_is_away(venue: Venue, ann: Account) -> None:
    share = (await ann.place("buy", "1", "200"))["id"]
    coin = (await ann.place("buy", "0.02", "50000", **COIN))["id"]
    await venue.shards[1].stop()
    await eventually(lambda: is_away(venue, 1))
    response = await ann.send("DELETE", "orders")
    told = {row["id"]: (row["status"], row["body"]["status"]) for row in response.json()}
    assert (response.status_code, told) == (207, {share: (200, "canceled"), coin: (503, "new")})
    await venue.shards[1].start()
    await venue.tes.ready()
    assert [(row["id"], row["status"]) for row in await ann.ok("DELETE", "orders")] == [(coin, 200)]
