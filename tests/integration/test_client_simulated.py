"""The simulated traders against the real servers, through restarts of everything."""

import asyncio
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path

import pytest
from msgspec import json, structs

from support.processes import venue_processes
from support.tes_venue import Venue, running_venue, venue_config
from support.tes_venue import eventually as eventually_within
from trading_engine.clients import AsyncClient
from trading_engine.clients.sdk import views
from trading_engine.clients.simulated import runner
from trading_engine.clients.simulated.runner import BotsFile, CannotTrade, read_bots_file, run_until
from trading_engine.shared.config import BotsConfig, Config

BOTS = BotsConfig(
    seed=5, makers=2, takers=2, noise=1, orders_per_second=40.0, cash={"USD": "50000000.00"}, quantity_each="20000"
)
SYMBOLS = ("AAPL", "COIN")
DEADLINE_S = 60.0
"""A market is made within a second or two; on a machine that does many other things it takes longer."""


def config_with_bots(folder: Path) -> Config:
    return structs.replace(venue_config(folder), bots=BOTS)


async def eventually(ask: Callable[[], Awaitable[bool]]) -> None:
    await eventually_within(ask, DEADLINE_S)


@asynccontextmanager
async def trading(config: Config) -> AsyncIterator[asyncio.Task[None]]:
    stop = asyncio.Event()
    task = asyncio.create_task(run_until(stop, config))
    try:
        yield task
    finally:
        stop.set()
        await task


async def market_is_made(client: AsyncClient) -> bool:
    books = [await client.book(symbol) for symbol in SYMBOLS]
    return all(min(len(book.bids), len(book.asks)) >= 15 for book in books)


async def trade_ids(client: AsyncClient, symbol: str) -> set[str]:
    return {trade.trade_id for trade in (await client.trades(symbol)).trades}


async def has_new_trades(client: AsyncClient, seen: dict[str, set[str]]) -> bool:
    return all([await trade_ids(client, symbol) - seen.get(symbol, set()) for symbol in SYMBOLS])


async def open_orders(config: Config) -> list[views.Order]:
    file = json.decode((config.data_path / runner.BOTS_FILE).read_bytes(), type=BotsFile)
    orders: list[views.Order] = []
    for bot in file.bots:
        async with AsyncClient(file.api_url, api_key=bot.key_id, api_secret=bot.secret) as client:
            orders += [order async for order in client.all_orders("open")]
    return orders


async def test_bots_make_a_deep_market_that_trades(tmp_path: Path) -> None:
    config = config_with_bots(tmp_path)
    async with running_venue(config) as venue, AsyncClient(venue.tes.url) as anybody, trading(config):
        await eventually(lambda: market_is_made(anybody))
        await eventually(lambda: has_new_trades(anybody, {}))
        for symbol, tick in (("AAPL", "0.01"), ("COIN", "0.5")):
            book = await anybody.book(symbol)
            assert book.best_bid is not None
            assert book.best_ask is not None
            assert book.best_bid.price < book.best_ask.price
            assert not book.best_bid.price % Decimal(tick)


async def test_bots_started_before_the_venue_wait_for_it(tmp_path: Path) -> None:
    config = config_with_bots(tmp_path)
    async with trading(config) as task:
        await asyncio.sleep(0)
        async with running_venue(config) as venue, AsyncClient(venue.tes.url) as anybody:
            await eventually(lambda: market_is_made(anybody))
            assert not task.done()


async def test_bots_begun_again_adopt_their_orders(tmp_path: Path) -> None:
    config = config_with_bots(tmp_path)
    async with running_venue(config) as venue, AsyncClient(venue.tes.url) as anybody:
        async with trading(config):
            await eventually(lambda: market_is_made(anybody))
            await eventually(lambda: has_new_trades(anybody, {}))
        left = await open_orders(config)
        assert len(left) >= 60
        seen = {symbol: await trade_ids(anybody, symbol) for symbol in SYMBOLS}
        async with trading(config):
            await eventually(lambda: has_new_trades(anybody, seen))
        now = await open_orders(config)
        assert len(now) < 1.4 * len(left)
        kept = {order.order_id for order in now} & {order.order_id for order in left}
        assert len(kept) > 0.5 * len(left)


async def test_bots_survive_the_order_book_server_and_the_trading_server(tmp_path: Path) -> None:
    config = config_with_bots(tmp_path)
    async with running_venue(config) as venue, AsyncClient(venue.tes.url) as anybody, trading(config) as task:
        await eventually(lambda: market_is_made(anybody))
        await restart_obs(venue)
        await trades_go_on(anybody)
        await venue.tes.stop()
        await venue.tes.start()
        await venue.tes.ready()
        await trades_go_on(anybody)
        assert not task.done()


async def restart_obs(venue: Venue) -> None:
    await venue.obs.stop()
    await venue.obs.start()
    await venue.tes.ready()


async def trades_go_on(client: AsyncClient) -> None:
    seen = {symbol: await trade_ids(client, symbol) for symbol in SYMBOLS}
    await eventually(lambda: has_new_trades(client, seen))
    await eventually(lambda: market_is_made(client))


@pytest.mark.parametrize(
    ("bots", "words"),
    [
        (structs.replace(BOTS, cash={}), "need cash and shares"),
        (structs.replace(BOTS, quantity_each="0"), "need cash and shares"),
        (structs.replace(BOTS, makers=0, takers=0, noise=0), "there are none"),
    ],
)
async def test_bots_without_means_say_what_to_configure(tmp_path: Path, bots: BotsConfig, words: str) -> None:
    config = structs.replace(venue_config(tmp_path), bots=bots)
    with pytest.raises(CannotTrade, match=words):
        await run_until(asyncio.Event(), config)


def test_bots_process_ends_when_it_is_told_to(tmp_path: Path) -> None:
    with venue_processes(tmp_path, {"bots": {"cash": {"USD": "1000"}, "quantity_each": "10"}}) as processes:
        processes.start("bots", "-c", "bots")
        until = time.monotonic() + DEADLINE_S
        while "waiting for the trading engine server" not in processes.log("bots"):
            assert time.monotonic() < until, processes.log("bots")
            time.sleep(0.02)
        assert processes.stop("bots") == 0


def test_bots_process_that_cannot_start_exits_with_two(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("bots: {makers: 1}")
    command = [
        sys.executable,
        "-m",
        "trading_engine",
        "--config",
        str(config),
        "--data-dir",
        str(tmp_path),
        "-c",
        "bots",
    ]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 2
    assert "set bots.cash" in ended.stderr


async def test_bots_file_puts_makers_first_and_hides_secrets(tmp_path: Path) -> None:
    path = tmp_path / "bots.json"
    bots = [
        {"username": f"b{n}", "kind": kind, "key_id": "k", "secret": "hunter2"}
        for n, kind in enumerate(("noise", "taker", "maker"))
    ]
    path.write_bytes(json.encode({"api_url": "http://127.0.0.1:1", "bots": bots, "later": 1}))
    file = await read_bots_file(path)
    assert [bot.kind for bot in file.bots] == ["maker", "taker", "noise"]
    assert "hunter2" not in repr(file)
