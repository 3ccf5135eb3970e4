"""Opening and migrating the transactional database."""

import asyncio
import sqlite3
import stat
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from msgspec.structs import replace
from sqlalchemy import Connection, inspect, text

from support.venue_driver import ALICE, BUY, GTC, SELL, open_venue
from trading_engine.database.connections import Use
from trading_engine.database.errors import DatabaseUnavailable, MigrationFailed
from trading_engine.database.setup import set_up
from trading_engine.database.transactional.database import TransactionalDatabase, transactional_url
from trading_engine.database.transactional.models import Base, OrderRow, table_of
from trading_engine.database.transactional.projection import TransactionalProjection
from trading_engine.database.transactional.records import Role
from trading_engine.shared.config import Config, ConfigError, DatabaseConfig
from trading_engine.venue import commands as c
from trading_engine.venue.order_state import OrderState
from trading_engine.venue.terms import OrderType, SelfTradePrevention


async def execute(database: TransactionalDatabase, use: Use, statement: str) -> None:
    await database.connections.run(use, lambda connection: connection.execute(text(statement)))


async def test_migrations_make_the_schema_of_the_models(transactional_url: str) -> None:
    """In a database of its own: that of other tests may have been shared with another schema."""

    def differences(connection: Connection) -> list[Any]:
        return list(compare_metadata(MigrationContext.configure(connection), Base.metadata))

    database = await TransactionalDatabase.open(transactional_url)
    await database.migrate()
    assert await database.connections.run(Use.MIGRATE, differences) == []
    await database.close()


async def test_migrating_twice_changes_nothing(database: TransactionalDatabase) -> None:
    assert await database.migrate() == ("0009", "0009")


async def test_makers_of_preventions_from_before_are_found_by_who_entered_last(transactional_url: str) -> None:
    database = await TransactionalDatabase.open(transactional_url)
    await database.migrate()
    driver = open_venue()
    older = c.PlaceOrder(
        ALICE, "", 1, SELL, OrderType.LIMIT, GTC, 1, 110, self_trade_prevention=SelfTradePrevention.CANCEL_INCOMING
    )
    driver.do(older)
    driver.rest(ALICE, BUY, 1, 100)
    driver.do(replace(older, price_ticks=100))
    driver.do(c.ReplaceOrder(ALICE, 1, "", 1, 100))
    await TransactionalProjection(database).apply(driver.batches)

    def preventions(connection: Connection) -> list[Any]:
        columns = "event_sequence, order_id, is_maker"
        return list(
            connection.execute(text(f"SELECT {columns} FROM order_events WHERE kind = 'prevented' ORDER BY 1, 2"))
        )

    written = await database.connections.run(Use.READ, preventions)
    assert {bool(row.is_maker) for row in written[::2]} == {True, False}, "the older order is not always the maker"
    for statement in (
        "UPDATE order_events SET is_maker = NULL WHERE kind = 'prevented'",
        "DROP INDEX ix_order_events_prevented",
        "UPDATE alembic_version SET version_num = '0008'",
    ):
        await execute(database, Use.WRITE, statement)
    [unmarked] = await database.trading.preventions(ALICE, 1, order_id=3)
    assert (unmarked.maker_order_id, unmarked.taker_order_id) == (2, 3), "the older order is taken for the maker"
    assert await database.migrate() == ("0008", "0009")
    assert await database.connections.run(Use.READ, preventions) == written
    await database.close()


async def test_migrating_a_database_of_a_later_release_is_refused(transactional_url: str) -> None:
    database = await TransactionalDatabase.open(transactional_url)
    await database.migrate()
    await execute(database, Use.WRITE, "UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(MigrationFailed, match="9999"):
        await database.migrate()
    await database.close()


async def test_migration_that_fails_leaves_nothing_behind(transactional_url: str) -> None:
    database = await TransactionalDatabase.open(transactional_url)
    await execute(database, Use.WRITE, "CREATE TABLE positions (in_the_way BIGINT)")
    with pytest.raises(MigrationFailed, match="positions"):
        await database.migrate()
    assert await database.connections.run(Use.READ, lambda c: inspect(c).get_table_names()) == ["positions"]
    await database.close()


def test_order_columns_are_the_fields_of_the_order_state() -> None:
    assert [column.name for column in table_of(OrderRow).columns] == list(OrderState.__struct_fields__)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("nonsense", "cannot be read"),
        ("mysql://localhost/x", "mysql is not supported"),
        ("sqlite+aiosqlite:///x", "not supported"),
        ("sqlite://", "needs a file"),
        ("sqlite:///:memory:", "needs a file"),
    ],
)
async def test_opening_an_unusable_url_says_what_to_do(url: str, message: str) -> None:
    with pytest.raises(DatabaseUnavailable, match=message):
        await TransactionalDatabase.open(url)


async def test_opening_what_is_no_database_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").write_text(
        "this is no database, but it is long enough to have a header of one hundred bytes" * 3
    )
    with pytest.raises(DatabaseUnavailable, match="not a database"):
        await TransactionalDatabase.open(f"sqlite:///{tmp_path}/file")


async def test_writing_to_a_locked_file_is_unavailable_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trading_engine.database.connections.BUSY_TIMEOUT_MS", 1)
    database = await TransactionalDatabase.open(f"sqlite:///{tmp_path}/file")
    with closing(sqlite3.connect(tmp_path / "file", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(DatabaseUnavailable, match="locked"):
            await database.migrate()
        with pytest.raises(DatabaseUnavailable, match="locked"):
            await database.access.register("alice", "hash", Role.TRADER, 0)
    await database.migrate()
    assert await database.access.find_user("alice") is None
    await database.close()


async def test_failure_messages_hold_no_password() -> None:
    database_url = "postgresql://user:open-sesame@127.0.0.1:1/none"
    with pytest.raises(DatabaseUnavailable) as caught:
        await TransactionalDatabase.open(database_url)
    assert "open-sesame" not in str(caught.value)


async def test_readers_cannot_write(database: TransactionalDatabase) -> None:
    with pytest.raises(DatabaseUnavailable, match=r"read-?only"):
        await execute(database, Use.READ, "DELETE FROM users")


async def test_more_transactions_than_may_wait_are_refused(
    database: TransactionalDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trading_engine.database.connections.WAITING_MAX", 3)
    asked = await asyncio.gather(*(database.ping() for _ in range(5)), return_exceptions=True)
    assert [type(answer) for answer in asked] == [type(None)] * 3 + [DatabaseUnavailable] * 2
    await database.ping()


async def test_sqlite_file_is_in_wal_mode_and_durable_where_it_has_to_be(tmp_path: Path) -> None:
    database = await TransactionalDatabase.open(f"sqlite:///{tmp_path}/file")
    await database.migrate()

    async def pragma(use: Use, name: str) -> Any:
        return await database.connections.run(use, lambda c: c.execute(text(f"PRAGMA {name}")).scalar())

    full, normal = 2, 1
    assert await pragma(Use.WRITE, "journal_mode") == "wal"
    assert await pragma(Use.WRITE, "synchronous") == full
    assert await pragma(Use.PROJECT, "synchronous") == normal
    assert await pragma(Use.WRITE, "foreign_keys") == 1
    await database.close()


async def test_set_up_creates_then_finds_the_database_and_says_so(tmp_path: Path) -> None:
    config = Config(data_dir=str(tmp_path / "data"))
    said: list[str] = []
    said_again: list[str] = []
    await set_up(config, said.append)
    await set_up(config, said_again.append)
    file = tmp_path / "data" / "transactional.db"
    assert said[1] == "  created, schema 0009"
    assert said_again[1] == "  up to date, schema 0009"
    assert str(file) in said[0]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_configured_url_comes_before_the_data_directory() -> None:
    config = Config(data_dir="/data", database=DatabaseConfig(transactional_url="sqlite:////elsewhere/x"))
    assert transactional_url(config) == "sqlite:////elsewhere/x"
    assert transactional_url(Config(data_dir="/data")) == "sqlite:////data/transactional.db"


def test_password_comes_from_the_environment_and_not_from_the_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    config = Config(database=DatabaseConfig(transactional_url="postgresql://venue:open-sesame@database/venue"))
    with pytest.raises(ConfigError, match="TRADING_ENGINE_TRANSACTIONAL_URL") as caught:
        transactional_url(config)
    assert "open-sesame" not in str(caught.value)
    monkeypatch.setenv("TRADING_ENGINE_TRANSACTIONAL_URL", "postgresql://venue:other@elsewhere/venue")
    assert transactional_url(config) == "postgresql://venue:other@elsewhere/venue"
