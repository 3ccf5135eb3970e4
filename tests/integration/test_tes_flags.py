"""What operators switch off while the server runs is off within a second, and on again as soon; what is not named goes on."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import websockets

from support.deadline import deadline_of
from support.tes_venue import PASSWORD, Trader, Venue, order, running_venue, venue_config
from trading_engine.database.utilities.database import UtilitiesDatabase
from trading_engine.database.utilities.flags import (
    ALPACA_API,
    BINANCE_API,
    CHART_FEED,
    FLAGS,
    LOGINS,
    NEW_ORDERS,
    SCENARIOS,
    Flag,
)

ADMIN_PASSWORD = "the-administrator-1"
SWITCHED_OFF = "SWITCHED_OFF"
UTILITIES_DOCUMENT = Path(__file__).parents[2] / "docs" / "utilities.md"

Ask = Callable[[], Awaitable[str]]
"""Returns the code of what came; empty where it was served."""


@pytest.fixture(autouse=True)
async def deadline(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    monkeypatch.setenv("TRADING_ENGINE_ADMIN_PASSWORD", ADMIN_PASSWORD)
    async with deadline_of(120.0):
        yield


@pytest.fixture
async def venue(tmp_path: Path) -> AsyncIterator[Venue]:
    async with running_venue(venue_config(tmp_path / "v", scenarios=True)) as venue:
        yield venue


@pytest.fixture
async def operator(venue: Venue) -> AsyncIterator[UtilitiesDatabase]:
    """As the command line works: a connection of its own."""
    utilities = UtilitiesDatabase.of(venue.config)
    yield utilities
    await utilities.close()


async def becomes(code: str, ask: Ask) -> None:
    while (came := await ask()) != code:
        assert came in ("", SWITCHED_OFF, "ORDERS_NOT_TAKEN")
        await asyncio.sleep(0.02)


async def code_of_get(venue: Venue, path: str) -> str:
    response = await venue.http.get(path)
    return "" if response.is_success else str(response.json()["error"]["code"])


async def code_of_login(venue: Venue, username: str, password: str = PASSWORD) -> str:
    response = await venue.http.post("/v1/auth/login", json={"username": username, "password": password})
    return "" if response.is_success else str(response.json()["error"]["code"])


async def code_of_request(trader: Trader, method: str, path: str, **body: Any) -> str:
    response = await trader.request(method, path, json=body or None)
    return "" if response.is_success else str(response.json()["error"]["code"])


async def code_of_alpaca(venue: Venue) -> str:
    """It wants a key, which is as good as being served."""
    code = (await venue.http.get("/v2/account")).json().get("error", {})
    return str(code.get("code", "")) if isinstance(code, dict) else ""


async def connect_for_ever(url: str) -> None:
    while True:
        async with websockets.connect(url, proxy=None):
            await asyncio.sleep(0.02)


async def test_each_api_can_be_switched_off_and_on_by_itself(venue: Venue, operator: UtilitiesDatabase) -> None:
    asks: dict[Flag[bool], Ask] = {
        BINANCE_API: lambda: code_of_get(venue, "/api/v3/ping"),
        ALPACA_API: lambda: code_of_alpaca(venue),
        CHART_FEED: lambda: code_of_get(venue, "/udf/time"),
    }
    for flag, ask in asks.items():
        assert await ask() == ""
        await operator.set_flag(flag.name, False, "ann")
        await becomes(SWITCHED_OFF, ask)
        assert [await other() for name, other in asks.items() if name is not flag] == ["", ""]
        await operator.unset_flag(flag.name, "ann")
        await becomes("", ask)


@pytest.mark.parametrize(
    ("flag", "path"),
    [(BINANCE_API, "/ws/btcusdt@trade"), (BINANCE_API, "/stream?streams=a@trade"), (ALPACA_API, "/v2/iex")],
)
async def test_connections_of_an_api_that_is_off_are_refused(
    venue: Venue, operator: UtilitiesDatabase, flag: Flag[bool], path: str
) -> None:
    url = venue.tes.url.replace("http", "ws") + path
    async with websockets.connect(url, proxy=None):
        """Served."""
    await operator.set_flag(flag.name, False, "ann")
    with pytest.raises(websockets.InvalidStatus, match="403"):
        await connect_for_ever(url)


async def test_traders_cannot_log_in_while_logins_are_off_but_those_who_operate_can(
    venue: Venue, operator: UtilitiesDatabase
) -> None:
    ann = await venue.log_in("ann")
    await operator.set_flag(LOGINS.name, False, "ann")
    await becomes(SWITCHED_OFF, lambda: code_of_login(venue, "bob"))
    assert await code_of_login(venue, "bob", "a-wrong-password") == "INVALID_CREDENTIALS"
    assert await code_of_login(venue, "admin", ADMIN_PASSWORD) == ""
    assert await code_of_request(ann, "POST", "/v1/orders", **order("buy", "1", "150.00")) == ""
    [refused] = [
        act
        for act in (await (await venue.log_in("admin", ADMIN_PASSWORD)).get("/v1/audit"))["acts"]
        if act["outcome"] == SWITCHED_OFF and act["actor"] == "bob"
    ][:1]
    assert refused["action"] == "login"


async def test_scenarios_can_be_switched_off(venue: Venue, operator: UtilitiesDatabase) -> None:
    admin = await venue.log_in("admin", ADMIN_PASSWORD)
    await operator.set_flag(SCENARIOS.name, False, "ann")
    await becomes(SWITCHED_OFF, lambda: code_of_request(admin, "GET", "/v1/scenarios/accounts/1"))


async def test_orders_that_are_not_taken_can_still_be_canceled(venue: Venue, operator: UtilitiesDatabase) -> None:
    ann = await venue.log_in("ann")
    placed = await ann.place("buy", "1", "150.00")
    await operator.set_flag(NEW_ORDERS.name, False, "ann")
    await becomes("ORDERS_NOT_TAKEN", lambda: code_of_request(ann, "POST", "/v1/orders", **order("buy", "1", "150.00")))
    assert await code_of_request(ann, "DELETE", f"/v1/orders/{placed['order_id']}") == ""


def test_each_flag_is_documented() -> None:
    text = UTILITIES_DOCUMENT.read_text()
    assert [f"| `{name}` |" for name in FLAGS if f"| `{name}` |" not in text] == []
