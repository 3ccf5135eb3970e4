"""One TES in front of two order book servers, each with instruments of its own: AAPL on shard 0, COIN on shard 1."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from support.postgresql import new_database
from support.tes_venue import (
    PASSWORD,
    Socket,
    Trader,
    Venue,
    eventually,
    is_away,
    running_venue,
    two_shards,
    venue_config,
)
from trading_engine.cli.archive import export_venue, import_venue
from trading_engine.cli.check import check
from trading_engine.clients import AsyncClient
from trading_engine.clients.sdk.errors import MatchingUnavailable
from trading_engine.database.transfer import TransferFailed
from trading_engine.shared.config import DatabaseConfig

SECOND = 2**43
"""The numbers of shard 1 come after this."""
COIN = {"symbol": "COIN"}


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest) -> Iterator[DatabaseConfig]:
    if request.param == "sqlite":
        yield DatabaseConfig()
        return
    with new_database(request.getfixturevalue("postgresql_url")) as url:
        yield DatabaseConfig(transactional_url=url)


@pytest.fixture
async def venue(tmp_path: Path) -> AsyncIterator[Venue]:
    async with running_venue(two_shards(tmp_path)) as running:
        yield running


async def transfer(trader: Trader, amount: str, transfer_id: str = "rent", source: int = 0, target: int = 1) -> Any:
    body = {"transfer_id": transfer_id, "currency": "USD", "amount": amount, "from_shard": source, "to_shard": target}
    return await trader.request("POST", "/v1/transfers", json=body)


async def cash_of(trader: Trader) -> tuple[str, list[str]]:
    """In sum, and by shard."""
    portfolio = await trader.get("/v1/portfolio")
    return portfolio["cash"][0]["balance"], [shard["cash"][0]["balance"] for shard in portfolio["shards"]]


async def all_pages(trader: Trader, path: str, key: str, **query: Any) -> list[Any]:
    found: list[Any] = []
    before: dict[str, str] = {}
    while True:
        page = await trader.get(path, **query, **before)
        found += page[key]
        if page["next"] is None:
            return found
        before = {"before": page["next"]}


async def test_orders_go_to_the_shard_of_their_instrument_and_are_managed_there(venue: Venue) -> None:
    ann = await venue.log_in("ann")
    share = (await ann.place("buy", "10", "230.00"))["order_id"]
    coin = (await ann.place("buy", "0.02", "60000.0", **COIN))["order_id"]
    assert (int(share), int(coin)) == (1, SECOND + 1)
    response = await ann.request("PATCH", f"/v1/orders/{coin}", json={"price": "60000.5"})
    assert response.json()["price"] == "60000.5"
    assert [order["order_id"] for order in (await ann.get("/v1/orders", status="open"))["orders"]] == [coin, share]
    response = await ann.request("DELETE", f"/v1/orders/{coin}")
    assert response.json()["status"] == "canceled"
    assert (await ann.get(f"/v1/orders/{share}"))["status"] == "new"
    for nobodys in (5 * SECOND + 1, 2**62):
        assert (await ann.request("GET", f"/v1/orders/{nobodys}")).json()["error"]["code"] == "UNKNOWN_ORDER"
        assert (await ann.request("DELETE", f"/v1/orders/{nobodys}")).json()["error"]["code"] == "UNKNOWN_ORDER"


async def test_orders_known_by_name_alone_are_found_and_canceled_on_their_shard(venue: Venue) -> None:
    ann = await venue.log_in("ann")
    await ann.place("buy", "0.02", "60000.0", client_order_id="mine", **COIN)
    assert (await ann.get("/v1/orders/by-client-id/mine"))["symbol"] == "COIN"
    response = await ann.request("DELETE", "/v1/orders/by-client-id/mine")
    assert (response.status_code, response.json()["status"]) == (200, "canceled")
    response = await ann.request("DELETE", "/v1/orders/by-client-id/nobodys")
    assert response.json()["error"]["code"] == "UNKNOWN_ORDER"


async def test_all_orders_are_canceled_on_every_shard(venue: Venue) -> None:
    ann = await venue.log_in("ann")
    await ann.place("buy", "10", "230.00")
    await ann.place("buy", "0.02", "60000.0", **COIN)
    assert (await ann.request("DELETE", "/v1/orders")).json() == {"canceled": 2}
    assert (await ann.get("/v1/orders", status="open"))["orders"] == []


async def test_trades_on_both_shards_are_in_one_account(tmp_path: Path, database: DatabaseConfig) -> None:
    config = replace(two_shards(tmp_path), database=database)
    async with running_venue(config) as venue:
        ann, bob = await venue.log_in("ann"), await venue.log_in("bob")
        for number in range(5):
            await ann.place("sell", "10", f"{230 + number}.00")
            await bob.place("buy", "10", f"{230 + number}.00")
            await ann.place("sell", "0.02", f"{60000 + number}.0", **COIN)
            await bob.place("buy", "0.02", f"{60000 + number}.0", **COIN)
        positions = {position["symbol"]: position for position in (await bob.get("/v1/positions"))["positions"]}
        assert {symbol: position["quantity"] for symbol, position in positions.items()} == {
            "AAPL": "1050",
            "COIN": "1000.10",
        }
        fills = await all_pages(bob, "/v1/fills", "fills", limit=3)
        assert [fill["symbol"] for fill in fills] == ["COIN", "AAPL"] * 5
        assert fills == (await bob.get("/v1/fills"))["fills"]
        orders = await all_pages(bob, "/v1/orders", "orders", limit=3)
        assert [order["symbol"] for order in orders] == ["COIN", "AAPL"] * 5
        assert len({order["order_id"] for order in orders}) == 10
        coins = await all_pages(bob, "/v1/orders", "orders", limit=2, symbol="COIN")
        assert coins == [order for order in orders if order["symbol"] == "COIN"]
        for shard in config.shards:
            assert await check(config.of_shard(shard)) == []


async def test_account_has_equal_parts_of_its_cash_on_each_shard(venue: Venue) -> None:
    ann = await venue.log_in("ann")
    assert await cash_of(ann) == ("1000000.00", ["500000.00", "500000.00"])
    positions = {position["symbol"]: position["quantity"] for position in (await ann.get("/v1/positions"))["positions"]}
    assert positions == {"AAPL": "1000", "COIN": "1000.00"}


async def test_money_is_moved_to_where_it_is_needed(venue: Venue) -> None:
    ann = await venue.log_in("ann")
    dear = {"side": "buy", "quantity": "10.00", "price": "60000.0", "type": "limit", **COIN}
    refused = await ann.request("POST", "/v1/orders", json=dear)
    assert refused.json()["error"]["code"] == "INSUFFICIENT_FUNDS"
    response = await transfer(ann, "250000.00")
    assert response.status_code == 201
    assert response.json() == {
        "transfer_id": "rent",
        "currency": "USD",
        "amount": "250000.00",
        "from_shard": 0,
        "to_shard": 1,
        "status": "completed",
    }
    assert await cash_of(ann) == ("1000000.00", ["250000.00", "750000.00"])
    shards = {item["symbol"]: item["shard"] for item in (await ann.get("/v1/instruments"))["instruments"]}
    assert shards == {"AAPL": 0, "COIN": 1}
    assert (await ann.request("POST", "/v1/orders", json=dear)).status_code == 201
    again = await transfer(ann, "250000.00")
    assert (again.status_code, again.json()) == (200, response.json())
    assert await cash_of(ann) == ("1000000.00", ["250000.00", "750000.00"]), "the same transfer once"


WRONG_TRANSFERS: list[tuple[dict[str, Any], str]] = [
    ({"amount": "500000.01"}, "AMOUNT_OUT_OF_RANGE"),
    ({"amount": "0.00"}, "INVALID_REQUEST"),
    ({"amount": "1.001"}, "INVALID_REQUEST"),
    ({"currency": "EUR"}, "UNKNOWN_CURRENCY"),
    ({"to_shard": 0}, "INVALID_REQUEST"),
    ({"to_shard": 2}, "INVALID_REQUEST"),
    ({"from_shard": -1}, "INVALID_REQUEST"),
    ({"transfer_id": ""}, "INVALID_TRANSFER"),
    ({"transfer_id": "taken"}, "DUPLICATE_TRANSFER_ID"),
]


async def test_transfers_that_cannot_be_are_refused(venue: Venue) -> None:
    ann = await venue.log_in("ann")
    await venue.shards[1].stop()
    assert (await transfer(ann, "1.00", "taken")).json()["status"] == "begun"
    for change, code in WRONG_TRANSFERS:
        body = {"transfer_id": "new", "currency": "USD", "amount": "2.00", "from_shard": 0, "to_shard": 1, **change}
        response = await ann.request("POST", "/v1/transfers", json=body)
        assert response.json()["error"]["code"] == code, change


async def test_balances_are_told_in_sum(venue: Venue) -> None:
    ann = await venue.log_in("ann")
    async with venue.socket(ann) as socket:
        await socket.result(op="subscribe", channel="orders")
        await ann.place("buy", "10", "230.00")
        held = 2300 + int(2300 * 0.0003 * 100) / 100
        balance = await socket.of_type("balance")
        assert (balance["balance"], balance["held"]) == ("1000000.00", f"{held:.2f}")
        await ann.place("buy", "0.02", "60000.0", **COIN)
        balance = await socket.of_type("balance")
        held += 1200 + int(1200 * 0.0003 * 100) / 100
        assert (balance["balance"], balance["held"]) == ("1000000.00", f"{held:.2f}")


async def place_alternately(trader: Trader, count: int) -> list[str]:
    orders = []
    for number in range(count):
        symbol = COIN if number % 2 else {}
        quantity, price = ("0.02", "60000.0") if symbol else ("10", "230.00")
        orders.append((await trader.place("buy", quantity, price, **symbol))["order_id"])
    return orders


async def told(socket: Socket, count: int) -> list[tuple[str, int]]:
    messages = [await socket.of_type("order") for _ in range(count)]
    return [(message["order"]["order_id"], int(message["event_sequence"])) for message in messages]


async def test_private_stream_goes_on_from_a_place_in_each_shard(venue: Venue) -> None:
    """Over a restart of the TES, which has to have kept its own place in each."""
    ann = await venue.log_in("ann")
    async with venue.socket(ann) as socket:
        answer = await socket.result(op="subscribe", channel="orders")
        assert [int(sequence) // SECOND for sequence in answer["event_sequences"]] == [0, 1]
        first = await place_alternately(ann, 4)
        seen = await told(socket, 4)
        assert [order_id for order_id, _ in seen] == first
    since = [str(max(number for _, number in seen if number // SECOND == shard)) for shard in (0, 1)]
    missed = await place_alternately(ann, 4)
    await venue.tes.stop()
    await venue.tes.start()
    await venue.tes.ready()
    async with venue.socket(await venue.log_in("ann")) as socket:
        await socket.result(op="subscribe", channel="orders", since=since)
        replayed = [order_id for order_id, _ in await told(socket, 4)]
        assert sorted(replayed, key=int) == sorted(missed, key=int)
        live = await place_alternately(ann, 2)
        assert [order_id for order_id, _ in await told(socket, 2)] == live


async def test_shard_that_is_down_holds_up_only_its_own_instruments(venue: Venue) -> None:
    ann = await venue.log_in("ann")
    kept = (await ann.place("buy", "0.02", "60000.0", **COIN))["order_id"]
    share = (await ann.place("buy", "10", "230.00"))["order_id"]
    await venue.shards[1].stop()

    await eventually(lambda: is_away(venue, 1))
    health = (await venue.http.get("/v1/health")).json()
    assert (health["matching"], health["unavailable_shards"]) == ("partial", [1])
    coin = {"side": "buy", "quantity": "0.02", "price": "60000.0", "type": "limit", **COIN}
    assert (await ann.request("POST", "/v1/orders", json=coin)).json()["error"]["code"] == "MATCHING_UNAVAILABLE"
    other = (await ann.place("buy", "10", "229.00"))["order_id"]
    response = await ann.request("DELETE", "/v1/orders")
    error = response.json()["error"]
    assert (response.status_code, error.pop("code")) == (503, "MATCHING_UNAVAILABLE"), "it could not be done everywhere"
    assert error == {
        "message": "Shard 1 did not answer. On the others it was done, orders canceled: 2. Send it again.",
        "unavailable_shards": [1],
        "canceled_order_ids": [share, other],
    }
    assert (await ann.get(f"/v1/orders/{share}"))["status"] == "canceled", "but where it could"
    assert (await ann.get(f"/v1/orders/{kept}"))["status"] == "new"
    await venue.shards[1].start()
    await venue.tes.ready()
    assert (await ann.request("DELETE", "/v1/orders")).json() == {"canceled": 1}


async def test_clients_of_every_kind_are_told_what_was_canceled_and_where_nothing_was(venue: Venue) -> None:
    ann = await venue.log_in("ann")
    await ann.place("buy", "0.02", "60000.0", **COIN)
    async with AsyncClient(venue.tes.url, username="ann", password=PASSWORD) as client, venue.socket(ann) as socket:
        shares = [(await ann.place("buy", "10", "230.00"))["order_id"] for _ in range(3)]
        await venue.shards[1].stop()
        await eventually(lambda: is_away(venue, 1))
        error = await socket.error(op="cancel_all")
        assert (error["unavailable_shards"], error["canceled_order_ids"]) == ([1], shares)
        with pytest.raises(MatchingUnavailable) as raised:
            await client.cancel_all()
        assert (raised.value.unavailable_shards, raised.value.canceled_order_ids) == ((1,), ())
    countdown = await ann.request("PUT", "/v1/countdown", json={"timeout_ms": 60_000})
    assert countdown.json()["error"]["unavailable_shards"] == [1]
    refused = await ann.request("PUT", "/v1/countdown", json={"timeout_ms": -1})
    assert "unavailable_shards" not in refused.json()["error"], "it was done nowhere"


async def test_venue_with_all_its_shards_goes_on_elsewhere(tmp_path: Path) -> None:
    """It has to stand still while it is exported: money on its way would be in both copies, or in none."""
    here, archive = two_shards(tmp_path / "here"), tmp_path / "archive"
    async with running_venue(here) as venue:
        ann = await venue.log_in("ann")
        orders = await place_alternately(ann, 4)
        await transfer(ann, "250000.00")
        cash = await cash_of(ann)
        with pytest.raises(TransferFailed, match="exported with its servers stopped"):
            await export_venue(here, tmp_path / "running", print)
    exported = await export_venue(here, archive, print)
    assert exported.databases["shard-1/transactional"]["orders"].rows == 2
    there = replace(here, data_dir=str(tmp_path / "there"))
    with pytest.raises(TransferFailed, match="a venue with 2 shards"):
        await import_venue(venue_config(tmp_path / "other"), archive, print)
    assert await import_venue(there, archive, print) == exported
    async with running_venue(there) as venue:
        ann = await venue.log_in("ann")
        assert await cash_of(ann) == cash
        assert [order["order_id"] for order in (await ann.get("/v1/orders"))["orders"]] == orders[::-1]
        orders += await place_alternately(ann, 2)
        assert len(set(orders)) == 6
    for shard in there.shards:
        assert await check(there.of_shard(shard)) == []


async def test_books_and_places_are_exact_after_a_start_on_every_shard(venue: Venue) -> None:
    ann, bob = await venue.log_in("ann"), await venue.log_in("bob")
    for fields in ({}, COIN):
        price, quantity = ("60000.0", "0.2") if fields else ("230.00", "10")
        part = "0.06" if fields else "3"
        await ann.place("sell", quantity, price, display_quantity=part, **fields)
        await bob.place("buy", "0.02" if fields else "1", price, **fields)
    behind = await bob.place("sell", "0.02", "60000.0", **COIN)
    before = [await book_of(ann, symbol) for symbol in ("AAPL", "COIN")]
    assert [[row[1] for row in book["asks"]] for book in before] == [["2"], ["0.06"]]
    await venue.tes.stop()
    await venue.tes.start()
    await venue.tes.ready()
    assert [await book_of(ann, symbol) for symbol in ("AAPL", "COIN")] == before
    place = await bob.get(f"/v1/orders/{behind['order_id']}/queue")
    assert (place["quantity_ahead"], place["orders_ahead"]) == ("0.04", 1)


async def book_of(trader: Trader, symbol: str) -> dict[str, Any]:
    """Without its time: a server that starts knows that of the last trade alone."""
    return {**await trader.get(f"/v1/instruments/{symbol}/book"), "time": None}


async def test_account_is_reset_on_every_shard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRADING_ENGINE_ADMIN_PASSWORD", "the-administrator-1")
    async with running_venue(two_shards(tmp_path)) as venue:
        ann, admin = await venue.log_in("ann"), await venue.log_in("admin", "the-administrator-1")
        await ann.place("buy", "10", "230.00")
        await ann.place("buy", "0.02", "60000.0", **COIN)
        wanted = {"cash": {"USD": "1000.01"}, "positions": {"COIN": "0.04"}}
        response = await admin.request("POST", "/v1/accounts/1/reset", json=wanted)
        assert response.json() == {"portfolio_id": "1", "canceled": 2}
        assert await cash_of(ann) == ("1000.01", ["500.01", "500.00"])
        held = {one["symbol"]: float(one["quantity"]) for one in (await ann.get("/v1/positions"))["positions"]}
        assert held == {"AAPL": 0.0, "COIN": 0.04}
        assets = {asset["asset"]: asset["closing"] for asset in (await ann.get("/v1/statement"))["assets"]}
        assert assets == {"USD": "1000.01", "AAPL": "0", "COIN": "0.04"}
