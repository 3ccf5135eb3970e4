"""What administrators make happen on a venue under test; and that a venue that is not under test has none of it."""

import asyncio
import re
import time
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
import websockets
from msgspec.structs import replace

from support.deadline import deadline_of
from support.order_book_server import replayed
from support.tes_venue import Trader, Venue, eventually, order, running_venue, venue_config
from trading_engine.shared.config import Config

DOCUMENT = Path(__file__).parents[2] / "docs" / "api" / "native.md"
ADMIN_PASSWORD = "the-administrator-1"


@pytest.fixture(autouse=True)
async def deadline(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    monkeypatch.setenv("TRADING_ENGINE_ADMIN_PASSWORD", ADMIN_PASSWORD)
    async with deadline_of(90.0):
        yield


@pytest.fixture
def config(tmp_path: Path) -> Config:
    config = venue_config(tmp_path, scenarios=True)
    return replace(config, obs=replace(config.obs, virtual_clock=True))


@pytest.fixture
async def venue(config: Config) -> AsyncIterator[Venue]:
    async with running_venue(config) as venue:
        yield venue


async def admin_of(venue: Venue) -> Trader:
    return await venue.log_in("admin", ADMIN_PASSWORD)


async def do(admin: Trader, method: str, path: str, **body: Any) -> Any:
    response = await admin.request(method, f"/v1/scenarios/{path}", json=body)
    assert response.is_success, response.text
    return response.json() if response.content else None


async def portfolio_of(trader: Trader) -> str:
    return str((await trader.get("/v1/me"))["portfolios"][0]["portfolio_id"])


def code_of(response: httpx.Response) -> str:
    return str(response.json()["error"]["code"])


async def place(trader: Trader, **fields: Any) -> httpx.Response:
    return await trader.request("POST", "/v1/orders", json=order("buy", "5", "229.00", **fields))


async def test_next_orders_of_an_account_are_rejected_and_nobody_elses(venue: Venue) -> None:
    ann, bob, admin = await venue.log_in("ann"), await venue.log_in("bob"), await admin_of(venue)
    path = f"accounts/{await portfolio_of(ann)}"
    told = await do(admin, "PUT", path, reject_orders=2, reject_code="TRADING_HALTED")
    assert (told["reject_orders"], told["reject_code"]) == (2, "TRADING_HALTED")
    codes = [await place(ann), await place(bob), await place(ann), await place(ann)]
    assert [response.status_code for response in codes] == [422, 201, 422, 201]
    assert code_of(codes[0]) == "TRADING_HALTED"
    _, batches = replayed(venue.config.data_path)
    assert sum(type(event).__name__ == "OrderAccepted" for batch in batches for event in batch.events) == 2
    assert (await admin.get(f"/v1/scenarios/{path}"))["reject_orders"] == 0


async def test_lost_answer_is_of_an_order_that_is_there(venue: Venue) -> None:
    ann, admin = await venue.log_in("ann"), await admin_of(venue)
    await do(admin, "PUT", f"accounts/{await portfolio_of(ann)}", lose_answers=1)
    lost = await place(ann, client_order_id="lost")
    assert (lost.status_code, code_of(lost)) == (503, "OUTCOME_UNKNOWN")
    again = await place(ann, client_order_id="lost")
    assert again.status_code == 200
    assert (await ann.get("/v1/orders"))["orders"] == [again.json()]


async def test_latency_holds_up_one_account_until_it_is_taken_away(venue: Venue) -> None:
    ann, bob, admin = await venue.log_in("ann"), await venue.log_in("bob"), await admin_of(venue)
    path = f"accounts/{await portfolio_of(ann)}"
    await do(admin, "PUT", path, latency_ms=60_000)
    slow = asyncio.create_task(place(ann))
    assert (await place(bob)).status_code == 201
    assert not slow.done()
    slow.cancel()
    await do(admin, "PUT", path)
    assert (await place(ann)).status_code == 201


async def test_disconnect_cuts_the_accounts_sockets_and_it_may_come_again(venue: Venue) -> None:
    ann, bob, admin = await venue.log_in("ann"), await venue.log_in("bob"), await admin_of(venue)
    async with venue.socket(ann) as of_ann, venue.socket(bob) as of_bob:
        await do(admin, "POST", f"accounts/{await portfolio_of(ann)}/disconnect")
        with pytest.raises(websockets.ConnectionClosed):
            await of_ann.receive()
        await of_bob.result(op="ping")
    async with venue.socket(ann) as again:
        await again.result(op="ping")


async def test_order_is_filled_in_part_by_a_counterparty_that_everything_else_is_true_of(venue: Venue) -> None:
    ann, bob, admin = await venue.log_in("ann"), await venue.log_in("bob"), await admin_of(venue)
    first = await ann.place("buy", "10", "229.00", time_in_force="gtc")
    behind = await bob.place("buy", "10", "229.00", time_in_force="gtc")
    sell = await bob.place("sell", "4", "231.00", time_in_force="gtc")
    filled = await do(admin, "POST", "fills", order_id=first["order_id"], quantity="3")
    assert (filled["filled"], filled["order"]["status"], filled["order"]["leaves_quantity"]) == (
        "3",
        "partially_filled",
        "7",
    )
    assert (await do(admin, "POST", "fills", order_id=sell["order_id"], quantity="4"))["order"]["status"] == "filled"
    passed_over = await admin.request(
        "POST", "/v1/scenarios/fills", json={"order_id": behind["order_id"], "quantity": "1"}
    )
    assert (passed_over.status_code, code_of(passed_over)) == (409, "NOT_FIRST_IN_QUEUE")
    too_many = await admin.request("POST", "/v1/scenarios/fills", json={"order_id": first["order_id"], "quantity": "8"})
    assert code_of(too_many) == "INVALID_REQUEST"
    assert (await ann.get("/v1/fills"))["fills"][0]["quantity"] == "3"
    _, batches = replayed(venue.config.data_path)
    assert batches[-1].last_event_sequence == venue.server.gateway.handled_sequences[0]


async def test_market_is_halted_and_goes_on(venue: Venue) -> None:
    ann, admin = await venue.log_in("ann"), await admin_of(venue)
    assert await do(admin, "PUT", "phase", symbol="AAPL", phase="halted") == {"symbol": "AAPL", "phase": "halted"}
    assert code_of(await place(ann)) == "TRADING_HALTED"
    assert (await ann.get("/v1/instruments/COIN"))["phase"] == "continuous"
    await do(admin, "PUT", "phase", symbol="AAPL", phase="continuous")
    assert (await place(ann)).status_code == 201
    for body in ({"phase": "asleep"}, {"phase": "halted", "symbol": "NONE"}, {"phase": "continuous"}):
        response = await admin.request("PUT", "/v1/scenarios/phase", json=body)
        assert response.status_code in (400, 422), body


async def test_clock_goes_on_and_orders_expire_by_it_and_a_restart_does_not_turn_it_back(venue: Venue) -> None:
    ann, admin = await venue.log_in("ann"), await admin_of(venue)
    began = datetime.fromisoformat((await do(admin, "PUT", "clock", speed=0))["time"])
    expire_time = datetime.fromtimestamp(began.timestamp() + 3600, began.tzinfo).isoformat()
    placed = await ann.place("buy", "5", "229.00", time_in_force="gtd", expire_time=expire_time)
    await do(admin, "PUT", "clock", advance_s=3500)
    assert (await ann.get(f"/v1/orders/{placed['order_id']}"))["status"] == "new"
    await do(admin, "PUT", "clock", advance_s=200)

    async def has_expired() -> bool:
        return bool((await ann.get(f"/v1/orders/{placed['order_id']}"))["status"] == "expired")

    await eventually(has_expired)
    before = datetime.fromisoformat((await admin.get("/v1/scenarios/clock"))["time"])
    assert 3699 <= before.timestamp() - began.timestamp() < 3705
    back = await admin.request("PUT", "/v1/scenarios/clock", json={"time": began.isoformat()})
    assert (back.status_code, code_of(back)) == (400, "INVALID_REQUEST")
    await venue.obs.stop()
    await venue.obs.start()
    await venue.tes.ready()
    after = await admin.get("/v1/scenarios/clock")
    assert datetime.fromisoformat(after["time"]) >= before
    assert after["speed"] == 1.0
    assert (await place(ann)).status_code == 201
    _, batches = replayed(venue.config.data_path)
    assert batches[-1].time_ns / 1e9 > time.time() + 3000


async def test_everybody_else_is_refused_and_every_act_is_in_the_audit_log(venue: Venue) -> None:
    ann, admin = await venue.log_in("ann"), await admin_of(venue)
    account = f"accounts/{await portfolio_of(ann)}"
    requests = [
        ("GET", account, None),
        ("PUT", account, {"latency_ms": 1}),
        ("POST", f"{account}/disconnect", None),
        ("PUT", "phase", {"phase": "halted"}),
        ("POST", "fills", {"order_id": "1", "quantity": "1"}),
        ("GET", "clock", None),
        ("PUT", "clock", {"speed": 2}),
    ]
    for method, path, body in requests:
        assert (await venue.http.request(method, f"/v1/scenarios/{path}", json=body)).status_code == 401
        response = await ann.request(method, f"/v1/scenarios/{path}", json=body)
        assert (response.status_code, code_of(response)) == (403, "NOT_ALLOWED"), path
    acts = (await admin.get("/v1/audit"))["acts"]
    refused = [act for act in acts if act["actor"] == "ann" and act["action"].startswith("scenario.")]
    assert len(refused) == len(requests)
    assert {act["outcome"] for act in refused} == {"NOT_ALLOWED"}


async def test_every_scenario_is_documented(venue: Venue) -> None:
    served = (await venue.http.get("/openapi.json")).json()["paths"]
    operations = {(method.upper(), path) for path, methods in served.items() for method in methods}
    wanted = {operation for operation in operations if "/scenarios/" in operation[1] and operation[0] != "GET"}
    table = re.findall(r"`(GET|POST|PUT|PATCH|DELETE) (/v1/scenarios/[^`?]*)", DOCUMENT.read_text())
    assert set(table) == wanted


IMPOSSIBLE: list[tuple[str, dict[str, Any]]] = [
    ("accounts/1", {"reject_orders": -1}),
    ("accounts/1", {"latency_ms": 60_001}),
    ("accounts/1", {"reject_code": "NONSENSE"}),
    ("accounts/1", {"unknown": 1}),
    ("clock", {"speed": -1}),
    ("clock", {"time": "2026-01-01T00:00:00"}),
    ("clock", {"time": "2040-01-01T00:00:00Z", "advance_s": 1}),
    ("clock", {"advance_s": -5}),
]


async def test_impossible_wish_is_refused(venue: Venue) -> None:
    admin = await admin_of(venue)
    for path, body in IMPOSSIBLE:
        response = await admin.request("PUT", f"/v1/scenarios/{path}", json=body)
        assert (response.status_code, code_of(response)) == (400, "INVALID_REQUEST"), body


async def test_venue_that_is_not_under_test_has_no_scenarios(tmp_path: Path) -> None:
    async with running_venue(venue_config(tmp_path)) as venue:
        admin = await admin_of(venue)
        for path in ("clock", "accounts/1", "phase", "fills"):
            assert (await admin.request("GET", f"/v1/scenarios/{path}")).status_code == 404
        assert not any("scenarios" in path for path in (await venue.http.get("/openapi.json")).json()["paths"])
