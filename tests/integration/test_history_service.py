"""The process that keeps the history, killed under load: what it has in the end is what the journal says."""

import asyncio
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from random import Random

import msgspec
import pytest
import yaml
from private_servers import QIPC

from support.history_backends import kdb_boot_script, serving
from support.naive_history import NaiveHistory
from support.order_book_server import account, config_for, order, replayed, running, trading
from trading_engine.database.historical.opening import history_folder, open_history, open_history_projection
from trading_engine.database.historical.tick_files import version_in
from trading_engine.servers.projections.server import project_until
from trading_engine.shared.config import Config
from trading_engine.venue.terms import Side

DEADLINE_S = 60.0
STREAM = "events.0"


@pytest.fixture
def config(tmp_path: Path) -> Iterator[Config]:
    with tempfile.TemporaryDirectory(prefix="te-") as socket_folder:
        yield config_for(tmp_path / "data", Path(socket_folder))


async def trade(config: Config, name: str, orders: int = 40) -> int:
    """Some orders that trade; returns the last event."""
    async with trading(config, name) as trader:
        await trader.send(account(1), account(2))
        await trader.send(*(order(1 + number % 2, (Side.BUY, Side.SELL)[number % 2]) for number in range(orders)))
        return (await trader.status()).event_sequence


async def reached(config: Config, event_sequence: int) -> None:
    """Returns when the history has this event."""
    async with asyncio.timeout(DEADLINE_S):
        while reached_now(config) < event_sequence:  # noqa: ASYNC110 (it tells nobody)
            await asyncio.sleep(0.02)


def reached_now(config: Config) -> int:
    if not config.database.historical_url and not version_in(history_folder(config)):
        return 0
    with open_history(config) as history:
        return history.reached(STREAM)


def check_against_journal(config: Config) -> None:
    _, batches = replayed(config.data_path)
    naive = NaiveHistory(batches)
    assert sum(len(symbol.trades) for symbol in naive.symbols.values()) >= 20
    with open_history(config) as history:
        assert history.reached(STREAM) == naive.sequence
        for symbol in naive.symbols:
            assert history.trades(symbol) == naive.trades(symbol)
            assert history.quotes(symbol) == naive.quotes(symbol)
            assert history.depth_changes(symbol) == naive.depth_changes(symbol)
            assert history.book(symbol) == naive.book(symbol)


def start_history(config: Config, folder: Path) -> subprocess.Popen[bytes]:
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(msgspec.to_builtins(config)))
    with (folder / "history.log").open("ab") as log:
        command = [sys.executable, "-m", "trading_engine", "--config", str(path), "-s", "history"]
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)


async def test_history_killed_under_load_has_each_event_once(config: Config, tmp_path: Path) -> None:
    database = msgspec.structs.replace(config.database, historical_roll_rows=20, projection_batch_max=10)
    config = msgspec.structs.replace(config, database=database)
    random = Random(5)
    async with running(config):
        for number in range(3):
            process = start_history(config, tmp_path)
            try:
                await trade(config, f"trader-{number}")
                await reached(config, random.randint(1, await trade(config, f"other-{number}")))
            finally:
                process.kill()
                process.wait()
        process = start_history(config, tmp_path)
        try:
            await reached(config, await trade(config, "last"))
        finally:
            process.terminate()
            assert process.wait(DEADLINE_S) == 0, (tmp_path / "history.log").read_text()
    check_against_journal(config)


async def test_history_follows_an_order_book_server_that_goes_and_comes(config: Config) -> None:
    stop = asyncio.Event()
    projecting = asyncio.create_task(project_until(stop, "history", config, open_history_projection))
    for name in ("first", "second"):
        async with running(config):
            await reached(config, await trade(config, name))
    stop.set()
    await projecting
    check_against_journal(config)


async def test_history_on_kdb_follows_the_order_book_server(config: Config, tmp_path: Path) -> None:
    pytest.importorskip("kola", reason="needs kola, which there is none of for this machine")
    server = QIPC(tmp_path / "q")
    server.boot_script = kdb_boot_script()
    server.folder.mkdir()
    with serving(server):
        database = msgspec.structs.replace(config.database, historical_url=f"kdb://127.0.0.1:{server.port}")
        config = msgspec.structs.replace(config, database=database)
        stop = asyncio.Event()
        projecting = asyncio.create_task(project_until(stop, "history", config, open_history_projection))
        async with running(config):
            await reached(config, await trade(config, "first"))
        stop.set()
        await projecting
        check_against_journal(config)
