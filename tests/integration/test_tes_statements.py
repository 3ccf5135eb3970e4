"""Account statements against the orders that made them, and accounts that begin again."""

from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest

from support.deadline import deadline_of
from support.tes_venue import Trader, Venue, order, running_venue, venue_config

ADMIN_PASSWORD = "the-administrator-1"
D = Decimal


@pytest.fixture(autouse=True)
async def deadline(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    monkeypatch.setenv("TRADING_ENGINE_ADMIN_PASSWORD", ADMIN_PASSWORD)
    async with deadline_of(60.0):
        yield


@pytest.fixture
async def venue(tmp_path: Path) -> AsyncIterator[Venue]:
    async with running_venue(venue_config(tmp_path)) as venue:
        yield venue


async def statement(trader: Trader, **period: int) -> dict[str, Any]:
    answer = await trader.get("/v1/statement", **period)
    return {asset["asset"]: asset for asset in answer["assets"]}


async def reset(admin: Trader, portfolio_id: str, **wanted: Any) -> httpx.Response:
    return await admin.request("POST", f"/v1/accounts/{portfolio_id}/reset", json=wanted)


async def portfolio(trader: Trader) -> tuple[str, Any, Any]:
    """Its id, what it has in cash, and its positions."""
    portfolio = await trader.get("/v1/portfolio")
    positions = (await trader.get("/v1/positions"))["positions"]
    cash = [(one["currency"], one["balance"], one["held"]) for one in portfolio["cash"]]
    held = {one["symbol"]: one["quantity"] for one in positions if D(one["quantity"])}
    return portfolio["portfolio_id"], cash, held


async def test_statement_adds_up_to_what_the_account_has(venue: Venue) -> None:
    ann, bob = await venue.log_in("ann"), await venue.log_in("bob")
    await ann.place("buy", "10", "230.00")
    await bob.place("sell", "4", "230.00")
    fees = sum(D(fill["fee"]) for fill in (await ann.get("/v1/fills"))["fills"])
    assets = await statement(ann)
    usd = assets["USD"]
    _, [(_, balance, _)], positions = await portfolio(ann)
    assert (usd["opening"], usd["closing"]) == ("0.00", balance)
    kinds = {kind["kind"]: kind for kind in usd["kinds"]}
    assert (kinds["trade"]["debits"], kinds["trade"]["entries"]) == ("920.00", 1)
    assert sum(D(kind["credits"]) - D(kind["debits"]) for kind in usd["kinds"]) == D(balance)
    assert D(balance) == D("1000000.00") - D("920.00") - fees
    assert {name: asset["closing"] for name, asset in assets.items() if name != "USD"} == positions
    assert positions["AAPL"] == "1004"


async def test_statement_of_a_later_period_begins_with_what_was_there(venue: Venue) -> None:
    ann = await venue.log_in("ann")
    later = await statement(ann, start=4_000_000_000, end=4_000_000_001)
    assert (later["USD"]["opening"], later["USD"]["closing"], later["USD"]["kinds"]) == (
        "1000000.00",
        "1000000.00",
        [],
    )
    assert await statement(ann, start=0, end=1) == {}
    response = await ann.request("GET", "/v1/statement", params={"start": 2, "end": 1})
    assert response.status_code == 400


async def test_reset_account_has_what_was_asked_for_and_may_trade(venue: Venue) -> None:
    ann, bob, admin = await venue.log_in("ann"), await venue.log_in("bob"), await venue.log_in("admin", ADMIN_PASSWORD)
    await ann.place("buy", "10", "230.00")
    await bob.place("sell", "4", "230.00")
    await ann.place("sell", "3", "240.00")
    portfolio_id, _, _ = await portfolio(ann)
    response = await reset(admin, portfolio_id, cash={"USD": "5000.00"}, positions={"COIN": "0.02"})
    assert (response.status_code, response.json()) == (200, {"portfolio_id": portfolio_id, "canceled": 2})
    assert await portfolio(ann) == (portfolio_id, [("USD", "5000.00", "0.00")], {"COIN": "0.02"})
    assert (await ann.get("/v1/orders", status="open"))["orders"] == []
    assert len((await ann.get("/v1/fills"))["fills"]) == 1
    await ann.place("buy", "1", "230.00")
    again = await reset(admin, portfolio_id, cash={"USD": "5000.00"}, positions={"COIN": "0.02"})
    assert again.json() == {"portfolio_id": portfolio_id, "canceled": 1}
    assert (await statement(ann))["USD"]["closing"] == "5000.00"


async def test_reset_that_was_interrupted_is_finished_by_the_same_request(venue: Venue) -> None:
    ann, admin = await venue.log_in("ann"), await venue.log_in("admin", ADMIN_PASSWORD)
    portfolio_id, _, _ = await portfolio(ann)
    suspended = await admin.request("PUT", f"/v1/accounts/{portfolio_id}/suspension", json={"suspended": True})
    assert suspended.status_code == 200
    assert (await ann.request("POST", "/v1/orders", json=order("buy", "1", "230.00"))).status_code == 422
    assert (await reset(admin, portfolio_id, cash={"USD": "1000.00"})).status_code == 200
    assert await portfolio(ann) == (portfolio_id, [("USD", "1000.00", "0.00")], {})
    await ann.place("buy", "1", "230.00")


IMPOSSIBLE: list[tuple[str, dict[str, Any], int, str]] = [
    ("x", {}, 404, "NOT_FOUND"),
    ("999999", {}, 422, "UNKNOWN_ACCOUNT"),
    ("1", {"cash": {"EUR": "1.00"}}, 400, "INVALID_REQUEST"),
    ("1", {"cash": {"USD": "-1.00"}}, 400, "INVALID_REQUEST"),
    ("1", {"positions": {"NONE": "1"}}, 422, "UNKNOWN_INSTRUMENT"),
]


async def test_reset_that_is_not_possible_changes_nothing(venue: Venue) -> None:
    ann, admin = await venue.log_in("ann"), await venue.log_in("admin", ADMIN_PASSWORD)
    before = await portfolio(ann)
    for portfolio_id, wanted, status, code in IMPOSSIBLE:
        response = await reset(admin, portfolio_id, **wanted)
        assert (response.status_code, response.json()["error"]["code"]) == (status, code), wanted
    assert await portfolio(ann) == before
