"""A venue that is trading is exported, and put up again elsewhere: on the other kind of database, with every row, and it goes on."""

import asyncio
import gzip
import json
import sqlite3
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from pathlib import Path

import httpx
import pytest
from msgspec.structs import replace
from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError

from support.postgresql import new_database
from support.processes import VenueProcesses, venue_processes
from support.tes_venue import eventually
from trading_engine.cli.archive import MANIFEST, export_venue, import_venue
from trading_engine.cli.check import check, check_history
from trading_engine.clients import AsyncClient
from trading_engine.database.analytics.database import AnalyticsDatabase, analytics_url
from trading_engine.database.connections import Use
from trading_engine.database.errors import DatabaseUnavailable
from trading_engine.database.historical.errors import UnknownSymbol
from trading_engine.database.historical.opening import history_folder, open_history
from trading_engine.database.transactional.database import TransactionalDatabase, transactional_url
from trading_engine.database.transactional.records import Role
from trading_engine.database.transfer import TransferFailed
from trading_engine.servers.fix.store import STORE, SessionStore
from trading_engine.servers.obs.journal import read_journal
from trading_engine.servers.obs.recovery import Paths
from trading_engine.shared.config import Config, load_config

TRADES_MIN = 20
CONFIGURATION: dict[str, object] = {
    "venue": {
        "instruments": [
            {"symbol": "AAA", "name": "Triple A", "reference_price": "100.00"},
            {"symbol": "BBB", "name": "Triple B", "reference_price": "50.00"},
        ],
        "currencies": {"USD": {"decimals": 2}},
    },
    "obs": {"snapshot_every_commands": 200, "journal_segment_bytes": 20_000, "core": "reference"},
    "demo": {
        "users": [
            {"username": "alice", "password": "alice-password", "cash": {"USD": "1000.00"}, "quantity_each": "10"}
        ]
    },
    "bots": {"orders_per_second": 200.0, "cash": {"USD": "1000000.00"}, "quantity_each": "10000"},
}


class Place:
    """Where a venue is, or will be."""

    def __init__(self, folder: Path, database_url: str) -> None:
        folder.mkdir()
        self.folder = folder
        database = {"transactional_url": database_url, "analytics_url": database_url} if database_url else {}
        self.configuration = {**CONFIGURATION, "database": database}

    @property
    def config(self) -> Config:
        path = self.folder / "config.yaml"
        path.write_text(json.dumps(self.configuration))
        return replace(load_config(path), data_dir=str(self.folder / "data"))


@pytest.fixture(params=[("sqlite", "postgresql"), ("postgresql", "sqlite")], ids="-to-".join)
def places(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Place, Place]]:
    """From here to there."""
    with ExitStack() as stack:

        def place(name: str, kind: str) -> Place:
            if kind == "sqlite":
                return Place(tmp_path / name, "")
            return Place(tmp_path / name, stack.enter_context(new_database(request.getfixturevalue("postgresql_url"))))

        here, there = request.param
        yield place("here", here), place("there", there)


def until_traded(venue: VenueProcesses) -> None:
    deadline = time.monotonic() + 60
    while True:
        trades = httpx.get(f"{venue.url}/v1/instruments/AAA/trades", params={"limit": 100}, trust_env=False).json()
        if len(trades["trades"]) >= TRADES_MIN:
            return
        assert time.monotonic() < deadline, trades
        time.sleep(0.1)


async def test_running_venue_goes_on_elsewhere_with_every_row(places: tuple[Place, Place], tmp_path: Path) -> None:
    here, there = places
    archive = tmp_path / "archive"
    with venue_processes(here.folder, here.configuration) as venue:
        venue.start_servers()
        await asyncio.to_thread(venue.wait_ready)
        venue.start("analytics", "-s", "analytics")
        venue.start("history", "-s", "history")
        venue.start("bots", "-c", "bots")
        await asyncio.to_thread(until_traded, venue)
        await eventually(lambda: has_history(here.config), 120)
        await eventually(lambda: has_analytics(here.config), 120)
        exported = await export_venue(here.config, archive, print)
        assert await check(here.config) == [], "also while it is running"
    assert check_history(here.config) == []
    check_that_a_changed_price_is_found(here.config)
    imported = await import_venue(there.config, archive, print)
    assert imported == exported
    assert await check(there.config) == []
    again = await export_venue(there.config, tmp_path / "again", print)
    assert again.databases == exported.databases, "every row, compared once more"
    assert exported.databases["transactional"]["trades"].rows > 0
    assert exported.databases["analytics"]["trader_metrics"].rows > 0
    with venue_processes(there.folder, there.configuration) as venue:
        venue.start_servers()
        await asyncio.to_thread(venue.wait_ready)
        async with AsyncClient(venue.url, username="alice", password="alice-password") as alice:
            order = await alice.place("AAA", "buy", 1, price="60.00", client_order_id="there")
            assert (await alice.order(order.order_id)).client_order_id == "there"
        assert venue.stop("tes") == 0
        assert venue.stop("obs") == 0
    assert await check(there.config) == []
    await check_that_accounts_and_users_agree(there.config)
    await check_that_a_changed_row_is_found(there.config)


async def check_that_accounts_and_users_agree(config: Config) -> None:
    """No account without a user: the next user would be given it."""
    database = await TransactionalDatabase.open(transactional_url(config))
    registration = await database.access.register("newcomer", "hash", Role.TRADER, 1)
    accounts = {
        getattr(sequenced.command, "account_id", 0) for sequenced in read_journal(Paths.under(config.data_path).journal)
    }
    await database.close()
    assert registration.portfolio.portfolio_id > max(accounts)


async def has_history(config: Config) -> bool:
    with suppress(DatabaseUnavailable, UnknownSymbol), open_history(config) as history:
        return bool(history.trades("AAA", limit=1))
    return False


async def has_analytics(config: Config) -> bool:
    with suppress(DatabaseUnavailable, ProgrammingError):
        database = await AnalyticsDatabase.open(analytics_url(config))
        try:
            query = text("SELECT count(*) FROM trader_metrics")
            return bool(await database.connections.run(Use.READ, lambda connection: connection.execute(query).scalar()))
        finally:
            await database.close()
    return False


def check_that_a_changed_price_is_found(config: Config) -> None:
    with closing(sqlite3.connect(history_folder(config) / "hot.db")) as connection, connection:
        connection.execute("UPDATE trade SET price = price + 1 WHERE trade_id = (SELECT max(trade_id) FROM trade)")
    (difference,) = check_history(config)
    assert difference.startswith("trade has")


async def check_that_a_changed_row_is_found(config: Config) -> None:
    database = await TransactionalDatabase.open(transactional_url(config))
    change = text("UPDATE trades SET taker_fee = taker_fee + 1 WHERE trade_id = 1")
    await database.connections.run(Use.WRITE, lambda connection: connection.execute(change))
    await database.close()
    (difference,) = await check(config)
    assert difference.startswith("trades has")


@pytest.fixture
async def archive(tmp_path: Path) -> Path:
    """Of a venue that has a user and has never traded."""
    config = Config(data_dir=str(tmp_path / "source"))
    database = await TransactionalDatabase.open(transactional_url(config))
    await database.migrate()
    await database.access.register("ann", "hash", Role.TRADER, 1)
    await database.close()
    journal = Paths.under(config.data_path).journal
    journal.mkdir()
    (journal / "00000000000000000000.journal").write_bytes(b"not read here")
    SessionStore(config.data_path / STORE, 10).close()
    await export_venue(config, tmp_path / "archive", print)
    return tmp_path / "archive"


async def test_import_into_what_is_not_empty_is_refused(archive: Path, tmp_path: Path) -> None:
    config = Config(data_dir=str(tmp_path / "target"))
    await import_venue(config, archive, print)
    with pytest.raises(TransferFailed, match="there is a journal"):
        await import_venue(config, archive, print)
    journal = Paths.under(config.data_path).journal
    journal.rename(journal.with_name("elsewhere"))
    with pytest.raises(TransferFailed, match="there are FIX sessions"):
        await import_venue(config, archive, print)
    (config.data_path / STORE).unlink()
    with pytest.raises(TransferFailed, match="clients has rows"):
        await import_venue(config, archive, print)


@pytest.mark.parametrize("damage", ["row changed", "row missing", "file changed", "no manifest"])
async def test_import_of_a_damaged_archive_leaves_nothing(archive: Path, tmp_path: Path, damage: str) -> None:
    users = archive / "transactional" / "users.jsonl.gz"
    match damage:
        case "row changed":
            users.write_bytes(gzip.compress(gzip.decompress(users.read_bytes()).replace(b"ann", b"eve")))
        case "row missing":
            users.write_bytes(gzip.compress(b""))
        case "file changed":
            (archive / "data" / "journal" / "00000000000000000000.journal").write_bytes(b"not read here!")
        case "no manifest":
            (archive / MANIFEST).unlink()
    config = Config(data_dir=str(tmp_path / "target"))
    with pytest.raises(TransferFailed):
        await import_venue(config, archive, print)
    assert not Paths.under(config.data_path).journal.exists()
    database = await TransactionalDatabase.open(transactional_url(config))
    await database.migrate()
    assert await database.access.find_user("ann") is None
    await database.close()


async def test_export_leaves_what_is_there_alone(archive: Path, tmp_path: Path) -> None:
    with pytest.raises(TransferFailed, match="exists already"):
        await export_venue(Config(data_dir=str(tmp_path / "source")), archive, print)


def test_export_is_for_its_owner_alone(archive: Path) -> None:
    assert archive.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o077 for path in archive.glob("*/*.gz")} == {0}
