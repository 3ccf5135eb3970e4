"""Times in microseconds, where a client asks for them: in requests, over the WebSocket API and in streams; and taken as such."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
import websockets

from support.binance_account import SYMBOL, Account, account_of, ask, receive, socket
from support.tes_venue import Venue, running_venue, venue_config

pytestmark = pytest.mark.asyncio(loop_scope="module")

MICROSECONDS = {"X-MBX-TIME-UNIT": "MICROSECOND"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def venue(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Venue]:
    async with running_venue(venue_config(tmp_path_factory.mktemp("v"))) as venue:
        yield venue


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def ann(venue: Venue) -> Account:
    return await account_of(venue, "ann")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def traded(venue: Venue, ann: Account) -> dict[str, Any]:
    """An order of hers that was filled, with its times in milliseconds."""
    bob = await account_of(venue, "bob")
    await bob.place("SELL", "1", "230.00")
    return dict(await ann.place("BUY", "1", "230.00"))


def times_of(content: Any) -> list[int]:
    """All numbers that are times since 2001, in the order in which they stand."""
    if isinstance(content, dict):
        content = list(content.values())
    if isinstance(content, list):
        return [time for part in content for time in times_of(part)]
    return [content] if isinstance(content, int) and not isinstance(content, bool) and content > 10**12 else []


PATHS: list[tuple[str, bool, dict[str, Any]]] = [
    ("trades", False, {"symbol": SYMBOL}),
    ("aggTrades", False, {"symbol": SYMBOL}),
    ("klines", False, {"symbol": SYMBOL, "interval": "1d"}),
    ("avgPrice", False, {"symbol": SYMBOL}),
    ("allOrders", True, {"symbol": SYMBOL}),
    ("myTrades", True, {"symbol": SYMBOL}),
]


@pytest.mark.usefixtures("traded")
@pytest.mark.parametrize(("path", "is_private", "parameters"), PATHS, ids=[path for path, *_ in PATHS])
async def test_every_time_of_an_answer_is_in_the_unit_that_was_asked_for(
    venue: Venue, ann: Account, path: str, is_private: bool, parameters: dict[str, Any]
) -> None:
    async def asked(headers: dict[str, str]) -> list[int]:
        query = f"?{ann.query(**parameters)}" if is_private else ""
        key = {"X-MBX-APIKEY": ann.key_id} if is_private else {}
        response = await venue.http.get(
            f"/api/v3/{path}{query}", params=None if is_private else parameters, headers={**key, **headers}
        )
        assert response.status_code == 200, response.text
        return times_of(response.json())

    milliseconds, microseconds = await asked({}), await asked(MICROSECONDS)
    assert milliseconds
    assert [time // 1000 for time in microseconds] == milliseconds
    assert await asked({"X-MBX-TIME-UNIT": "millisecond"}) == milliseconds


async def test_unit_that_there_is_not_is_refused(venue: Venue) -> None:
    refused = await venue.http.get("/api/v3/time", headers={"X-MBX-TIME-UNIT": "SECOND"})
    assert (refused.status_code, refused.json()["code"]) == (400, -1194)
    for path in (f"/ws/{SYMBOL.lower()}@trade", "/ws-api/v3"):
        with pytest.raises(websockets.InvalidStatus):
            async with socket(venue, f"{path}?timeUnit=SECOND"):
                pass


async def test_times_are_taken_in_both_units(ann: Account, traded: dict[str, Any]) -> None:
    time_ms = traded["transactTime"]
    for unit in (1, 1000):
        since = await ann.ok("GET", "myTrades", symbol=SYMBOL, startTime=time_ms * unit)
        before = await ann.ok("GET", "myTrades", symbol=SYMBOL, endTime=(time_ms - 1) * unit + unit - 1)
        assert ([row["orderId"] for row in since], before) == ([traded["orderId"]], [])
    until = await ann.ok("GET", "myTrades", symbol=SYMBOL, endTime=time_ms * 1000 + 999)
    assert len(until) == 1


async def test_streams_of_both_units_are_told_the_same_things(venue: Venue, ann: Account) -> None:
    bob = await account_of(venue, "bob")
    names = f"/stream?streams={SYMBOL.lower()}@trade/{SYMBOL.lower()}@kline_1m"
    async with socket(venue, names) as usual, socket(venue, f"{names}&timeUnit=microsecond") as fine:
        for connection in (usual, fine):
            assert (await ask(connection, "LIST_SUBSCRIPTIONS"))["result"]
        await bob.place("SELL", "1", "231.00")
        await ann.place("BUY", "1", "231.00")
        told = [
            {(m := await receive(connection))["stream"]: m["data"] for _ in range(2)} for connection in (usual, fine)
        ]
    for name in told[0]:
        assert [time // 1000 for time in times_of(told[1][name])] == times_of(told[0][name])


async def test_account_is_told_in_the_unit_of_its_connection(venue: Venue, ann: Account) -> None:
    key = (await venue.http.post("/api/v3/userDataStream", headers={"X-MBX-APIKEY": ann.key_id})).json()["listenKey"]
    async with (
        socket(venue, "/ws-api/v3?timeUnit=MICROSECOND") as api,
        socket(venue, f"/ws/{key}") as usual,
        socket(venue, f"/ws/{key}?timeUnit=MICROSECOND") as fine,
    ):
        for connection in (usual, fine):
            await ask(connection, "LIST_SUBSCRIPTIONS")
        await ask(api, "userDataStream.subscribe.signature", ann.signed())
        assert (await ask(api, "time"))["result"]["serverTime"] > 10**15
        placed = await ann.place("BUY", "1", "200.00")
        over_api = (await receive(api))["event"]
        over_keys = [await receive(connection) for connection in (usual, fine)]
        await ann.ok("DELETE", "order", symbol=SYMBOL, orderId=placed["orderId"])
    assert over_api == over_keys[1]
    assert [time // 1000 for time in times_of(over_api)] == times_of(over_keys[0])
    assert times_of(over_keys[0])
