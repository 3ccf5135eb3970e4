"""Binance's API over two order book servers, AAPL on one and COIN on the other: one account, one list, one stream."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from support.binance_account import SYMBOL, Account, account_of, ask, receive, socket
from support.tes_venue import Venue, running_venue, two_shards

pytestmark = pytest.mark.asyncio(loop_scope="module")

COIN = "COINUSD"
EXITS: dict[str, dict[str, Any]] = {
    SYMBOL: {"quantity": "1", "abovePrice": "240.00", "belowStopPrice": "220.00"},
    COIN: {"quantity": "0.02", "abovePrice": "61000", "belowStopPrice": "59000"},
}
SAFE_INTEGER_MAX = 2**53
"""Clients in other languages read no larger number out of JSON."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def venue(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Venue]:
    async with running_venue(two_shards(tmp_path_factory.mktemp("v"))) as venue:
        yield venue


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def ann(venue: Venue) -> Account:
    """After a trade on each."""
    ann, bob = await account_of(venue, "ann"), await account_of(venue, "bob")
    await bob.place("SELL", "2", "230.00")
    await ann.place("BUY", "2", "230.00")
    await bob.place("SELL", "0.04", "60000", symbol=COIN)
    await ann.place("BUY", "0.04", "60000", symbol=COIN)
    return ann


async def place_exits(account: Account, symbol: str) -> Any:
    kinds = {"side": "SELL", "aboveType": "LIMIT_MAKER", "belowType": "STOP_LOSS"}
    return await account.ok("POST", "orderList/oco", symbol=symbol, **kinds, **EXITS[symbol])


async def test_orders_and_trades_of_each_are_listed(ann: Account) -> None:
    for symbol in (SYMBOL, COIN):
        (order,) = await ann.ok("GET", "allOrders", symbol=symbol, startTime=1)
        (trade,) = await ann.ok("GET", "myTrades", symbol=symbol, startTime=1)
        assert order["orderId"] == trade["orderId"] < SAFE_INTEGER_MAX
        assert trade["id"] < SAFE_INTEGER_MAX
        assert await ann.ok("GET", "myTrades", symbol=symbol, fromId=trade["id"]) == [trade]


async def test_amendments_are_numbered_as_the_answers_to_them(ann: Account) -> None:
    for symbol, price, quantities in ((SYMBOL, "200.00", ("3", "2")), (COIN, "50000", ("0.06", "0.04"))):
        placed = await ann.place("BUY", quantities[0], price, symbol=symbol)
        order = {"symbol": symbol, "orderId": placed["orderId"]}
        amended = await ann.ok("PUT", "order/amend/keepPriority", **order, newQty=quantities[1])
        [told] = await ann.ok("GET", "order/amendments", **order, fromExecutionId=amended["executionId"])
        assert (told["executionId"], told["origQty"], told["newQty"]) == (amended["executionId"], *quantities)
        await ann.ok("DELETE", "order", **order)


async def test_prevented_matches_of_each_are_found_by_numbers_that_differ(ann: Account) -> None:
    numbers = {}
    for symbol, quantity, price in ((SYMBOL, "1", "232.00"), (COIN, "0.02", "60100")):
        await ann.place("SELL", quantity, price, symbol=symbol)
        placed = await ann.place("BUY", quantity, price, symbol=symbol, selfTradePreventionMode="EXPIRE_BOTH")
        [match] = placed["preventedMatches"]
        [found] = await ann.ok("GET", "myPreventedMatches", symbol=symbol, orderId=placed["orderId"])
        numbers[symbol] = found["preventedMatchId"]
        assert found.items() >= match.items()
        order = await ann.ok("GET", "order", symbol=symbol, orderId=placed["orderId"])
        assert (order["preventedMatchId"], order["preventedQuantity"]) == (numbers[symbol], quantity)
        assert await ann.ok("GET", "myPreventedMatches", symbol=symbol, preventedMatchId=numbers[symbol]) == [found]
    assert numbers[SYMBOL] != numbers[COIN] < SAFE_INTEGER_MAX
    assert await ann.ok("GET", "myPreventedMatches", symbol=SYMBOL, preventedMatchId=numbers[COIN]) == []


async def test_order_lists_of_both_are_found_told_and_canceled(venue: Venue, ann: Account) -> None:
    async with socket(venue, "/ws-api/v3") as api:
        await ask(api, "userDataStream.subscribe.signature", ann.signed())
        numbers = [(await place_exits(ann, symbol))["orderListId"] for symbol in (SYMBOL, COIN)]
        assert [row["orderListId"] for row in await ann.ok("GET", "openOrderList")] == numbers
        assert [row["orderListId"] for row in await ann.ok("GET", "allOrderList", fromId=numbers[0])] == numbers
        told: list[tuple[int, str]] = []
        for symbol, number in zip((SYMBOL, COIN), numbers, strict=True):
            canceled = await ann.ok("DELETE", "orderList", symbol=symbol, orderListId=number)
            assert [report["status"] for report in canceled["orderReports"]] == ["CANCELED", "CANCELED"]
        while len(told) < 4:
            event = (await receive(api))["event"]
            if event["e"] == "listStatus":
                told.append((event["g"], event["L"]))
    assert told == [(n, "EXECUTING") for n in numbers] + [(n, "ALL_DONE") for n in numbers]


async def test_balances_are_told_in_sum(venue: Venue, ann: Account) -> None:
    usd = next(row for row in (await ann.ok("GET", "account"))["balances"] if row["asset"] == "USD")
    async with socket(venue, "/ws-api/v3") as api:
        await ask(api, "userDataStream.subscribe.signature", ann.signed())
        for symbol, quantity, price in ((SYMBOL, "1", "200.00"), (COIN, "0.02", "59000")):
            order = await ann.place("BUY", quantity, price, symbol=symbol)
            await ann.ok("DELETE", "order", symbol=symbol, orderId=order["orderId"])
        last: list[dict[str, str]] = []
        while len(last) < 4:
            event = (await receive(api))["event"]
            if event["e"] == "outboundAccountPosition":
                last += [row for row in event["B"] if row["a"] == "USD"]
    assert last[1] == last[3] == {"a": "USD", "f": usd["free"], "l": usd["locked"]}
