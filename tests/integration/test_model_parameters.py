"""Parameters of models: set by those who operate the market, followed by simulated traders that go on trading."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from support.deadline import deadline_of
from support.tes_venue import Trader, Venue, eventually, running_venue, venue_config
from trading_engine.clients import AsyncClient
from trading_engine.clients.simulated.runner import run_until
from trading_engine.shared.config import BotsConfig, Config

ADMIN_PASSWORD = "the-administrator-1"
PATH = "/v1/model-parameters/simulated_traders/default"
MAKERS_ONLY = BotsConfig(
    seed=5, makers=2, takers=0, noise=0, orders_per_second=60.0, cash={"USD": "50000000.00"}, quantity_each="20000"
)


@pytest.fixture(autouse=True)
async def deadline(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    monkeypatch.setenv("TRADING_ENGINE_ADMIN_PASSWORD", ADMIN_PASSWORD)
    async with deadline_of(120.0):
        yield


@pytest.fixture
async def venue(tmp_path: Path) -> AsyncIterator[Venue]:
    async with running_venue(replace(venue_config(tmp_path), bots=MAKERS_ONLY)) as venue:
        yield venue


@asynccontextmanager
async def trading(config: Config) -> AsyncIterator[None]:
    stop = asyncio.Event()
    task = asyncio.create_task(run_until(stop, config))
    try:
        yield
    finally:
        stop.set()
        await task


async def put(admin: Trader, path: str = PATH, **body: Any) -> dict[str, Any]:
    response = await admin.request("PUT", path, json=body)
    assert response.is_success, response.text
    shown: dict[str, Any] = response.json()
    return shown


async def test_simulated_traders_follow_parameters_while_they_trade(venue: Venue) -> None:
    admin = await venue.log_in("admin", ADMIN_PASSWORD)
    async with trading(venue.config), AsyncClient(venue.tes.url) as anybody:

        async def is_spread(narrow: bool) -> bool:
            book = await anybody.book("AAPL")
            if book.best_bid is None or book.best_ask is None:
                return False
            return (book.best_ask.price - book.best_bid.price < Decimal("0.30")) is narrow

        await eventually(lambda: is_spread(narrow=True), 60.0)
        await put(admin, parameters={"half_spread": 40})
        await eventually(lambda: is_spread(narrow=False), 60.0)
        await put(admin, parameters={})
        await eventually(lambda: is_spread(narrow=True), 60.0)


async def test_active_parameters_are_the_newest_whose_time_has_come(venue: Venue) -> None:
    ann, admin = await venue.log_in("ann"), await venue.log_in("admin", ADMIN_PASSWORD)
    missing = await ann.request("GET", PATH)
    assert (missing.status_code, missing.json()["error"]["code"]) == (404, "NOT_FOUND")
    assert (await put(admin, parameters={"volatility": 2}))["version"] == 1
    later = await put(admin, parameters={"volatility": 3}, active_from="2200-01-01T00:00:00Z")
    assert (later["version"], later["active_from"][:20]) == (2, "2200-01-01T00:00:00.")
    active = await ann.get(PATH)
    assert (active["version"], active["parameters"]) == (1, {"volatility": 2})
    [act, *_] = [act for act in (await admin.get("/v1/audit"))["acts"] if act["action"] == "model_parameters.set"]
    assert (act["subject"], act["outcome"], act["detail"]) == ("simulated_traders default", "OK", {"version": 2})


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"parameters": {"volatility": -1}}, ">= 0"),
        ({"parameters": {"speed": 1}}, "the parameters are orders_per_second"),
        ({"parameters": []}, "parameters"),
        ({"parameters": {}, "active_from": "tomorrow"}, "active_from"),
    ],
)
async def test_parameters_that_the_model_does_not_take_are_refused(
    venue: Venue, body: dict[str, Any], said: str
) -> None:
    admin = await venue.log_in("admin", ADMIN_PASSWORD)
    response = await admin.request("PUT", PATH, json=body)
    assert (response.status_code, response.json()["error"]["code"]) == (400, "INVALID_REQUEST")
    assert said in response.json()["error"]["message"]


async def test_models_of_others_keep_what_they_are_given(venue: Venue) -> None:
    ann, admin = await venue.log_in("ann"), await venue.log_in("admin", ADMIN_PASSWORD)
    path = "/v1/model-parameters/forecast/nightly"
    parameters = {"weights": [0.25, -1], "horizon": {"minutes": 5}, "name": "é"}
    await put(admin, path, parameters=parameters)
    assert (await ann.get(path))["parameters"] == parameters
