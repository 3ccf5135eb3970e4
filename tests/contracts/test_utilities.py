"""The utilities database on SQLite, on PostgreSQL, and on PostgreSQL with Redis: entries, versions, audit, and who sees a change."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from msgspec.structs import replace
from sqlalchemy import Connection, inspect

from support.postgresql import new_database
from support.utilities_databases import Addresses, seen
from trading_engine.database.analytics.database import AnalyticsDatabase
from trading_engine.database.connections import Use
from trading_engine.database.sql_database import SqlDatabase
from trading_engine.database.utilities.database import UtilitiesDatabase
from trading_engine.database.utilities.errors import InvalidEntry, VersionConflict
from trading_engine.database.utilities.flags import NEW_ORDERS
from trading_engine.database.utilities.models import Base
from trading_engine.database.utilities.records import Applied, Holiday, Mark
from trading_engine.shared.config import InstrumentConfig, MatchingConfig
from trading_engine.venue.risk_limits import RiskLimits, RiskScope

AAPL = InstrumentConfig(symbol="AAPL", name="Apple Inc", reference_price="230.00")
SHARED = MatchingConfig("split", lead_market_makers={7: 20})
MSFT = InstrumentConfig(symbol="MSFT", name="Microsoft", reference_price="431.00", matching=SHARED)
CHRISTMAS = Holiday("XNYS", "2026-12-25", name="Christmas", source="exchange_calendars")
LIMITS = RiskLimits(order_quantity_lots_max=100, day_loss_max=2**62)
SECOND_NS = 10**9


@pytest.fixture(params=["sqlite", "postgresql", "postgresql and redis"])
def addresses(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Addresses]:
    if request.param == "sqlite":
        yield Addresses(f"sqlite:///{tmp_path}/utilities.sqlite")
        return
    redis_url = request.getfixturevalue("redis_url") if "redis" in request.param else ""
    with new_database(request.getfixturevalue("postgresql_url")) as url:
        yield Addresses(url, redis_url)


async def test_migrations_make_the_schema_of_the_models(addresses: Addresses) -> None:
    def differences(connection: Connection) -> list[Any]:
        context = MigrationContext.configure(connection, opts={"version_table": UtilitiesDatabase.VERSION_TABLE})
        return list(compare_metadata(context, Base.metadata))

    async with addresses.opened() as database:
        assert await database.connections.run(Use.MIGRATE, differences) == []
        assert await database.migrate() == ("0001", "0001")


async def test_processes_that_migrate_at_the_same_time_find_one_database(addresses: Addresses) -> None:
    async def epoch() -> str:
        async with addresses.opened() as database:
            return database.contents.mark.epoch

    assert len(set(await asyncio.gather(*(epoch() for _ in range(4))))) == 1


async def test_entries_of_every_kind_come_back_as_they_were_set(addresses: Addresses) -> None:
    async with addresses.opened() as writer, addresses.opened() as reader:
        await writer.set_instrument(MSFT, "ann")
        await writer.set_instrument(AAPL, "ann")
        await writer.set_holiday(CHRISTMAS, "ann")
        await writer.set_risk_limits(RiskScope.FIRM, 7, LIMITS, "ann")
        await writer.set_flag(NEW_ORDERS.name, False, "ann")
        await writer.add_model_parameters("maker", "spread", {"ticks": [1, 2.5], "on": True}, 5, "ann")
        found = await reader.refresh()
    assert found == writer.contents
    assert found.mark == Mark(found.mark.epoch, 6)
    assert [entry.definition for entry in found.instruments] == [MSFT, AAPL]
    assert found.holidays == (replace(CHRISTMAS, version=3),)
    assert [(entry.scope, entry.scope_id, entry.limits) for entry in found.risk_limits] == [(RiskScope.FIRM, 7, LIMITS)]
    assert found.flag(NEW_ORDERS) is False
    assert found.model_parameters[0].parameters == {"ticks": [1, 2.5], "on": True}


async def test_change_in_one_process_is_seen_by_others_without_asking(addresses: Addresses) -> None:
    async with addresses.opened() as writer, addresses.opened() as one, addresses.opened() as another:
        await writer.set_flag(NEW_ORDERS.name, False, "ann")
        for follower in (one, another):
            assert (await seen(follower, lambda contents: not contents.flag(NEW_ORDERS))).mark.version == 1
        await writer.unset_flag(NEW_ORDERS.name, "ann")
        for follower in (one, another):
            await seen(follower, lambda contents: contents.flag(NEW_ORDERS))


async def test_writers_that_race_for_one_entry_do_not_overwrite_each_other(addresses: Addresses) -> None:
    async with addresses.opened() as one, addresses.opened() as another:
        version = await one.set_instrument(AAPL, "ann")
        changed = (replace(AAPL, taker_fee_bp=str(fee)) for fee in (4, 5))
        outcomes = await asyncio.gather(
            *(
                database.set_instrument(definition, by, expected=version)
                for database, definition, by in zip((one, another), changed, ("ann", "bob"), strict=True)
            ),
            return_exceptions=True,
        )
        won = [outcome for outcome in outcomes if isinstance(outcome, int)]
        [lost] = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
        assert won == [version + 1]
        assert isinstance(lost, VersionConflict)
        assert str(lost) == "instruments AAPL is at version 2, not 1: somebody has changed it; read it again"
        assert [change.changed_by for change in await one.changes()] == [["ann", "bob"][outcomes.index(won[0])], "ann"]


async def test_writers_of_different_entries_all_get_through_and_no_change_is_skipped(addresses: Addresses) -> None:
    async with addresses.opened() as one, addresses.opened() as another, addresses.opened() as reader:
        versions: list[int] = []

        async def watch() -> None:
            while len(reader.contents.holidays) < 40:
                contents = await reader.changed_from(reader.contents.mark)
                assert len(contents.holidays) == contents.mark.version
                versions.append(contents.mark.version)

        watching = asyncio.create_task(watch())
        await asyncio.gather(
            *(
                database.set_holiday(Holiday(calendar, f"2027-01-{day:02}"), "ann")
                for database, calendar in ((one, "XNYS"), (another, "XLON"))
                for day in range(1, 21)
            )
        )
        await asyncio.wait_for(watching, 30)
        assert versions == sorted(set(versions))
        assert [change.version for change in await one.changes()] == list(range(40, 0, -1))


@pytest.mark.parametrize("expected", [0, 2, 7])
async def test_write_that_expects_another_version_is_refused_and_changes_nothing(
    addresses: Addresses, expected: int
) -> None:
    async with addresses.opened() as database:
        await database.set_holiday(CHRISTMAS, "ann")
        before = await database.refresh()
        with pytest.raises(VersionConflict, match=f"is at version 1, not {expected}"):
            await database.set_holiday(replace(CHRISTMAS, name="Yule"), "bob", expected=expected)
        with pytest.raises(VersionConflict, match="holidays XNYS 2026-12-25"):
            await database.unset_holiday("XNYS", "2026-12-25", "bob", expected=expected)
        assert await database.refresh() == before


async def test_entry_made_anew_has_no_version_that_it_had_before(addresses: Addresses) -> None:
    async with addresses.opened() as database:
        first = await database.set_flag(NEW_ORDERS.name, False, "ann")
        assert await database.unset_flag(NEW_ORDERS.name, "bob")
        await database.set_flag(NEW_ORDERS.name, False, "cid")
        with pytest.raises(VersionConflict):
            await database.set_flag(NEW_ORDERS.name, True, "ann", expected=first)


async def test_setting_what_is_set_is_no_change(addresses: Addresses) -> None:
    async with addresses.opened() as database:
        assert await database.set_instrument(AAPL, "ann") == await database.set_instrument(AAPL, "bob") == 1
        assert not await database.unset_flag(NEW_ORDERS.name, "bob")
        assert (await database.refresh()).mark.version == 1


async def test_audit_tells_who_did_what_and_how_it_was_before(addresses: Addresses) -> None:
    async with addresses.opened() as database:
        await database.set_risk_limits(RiskScope.VENUE, 0, LIMITS, "ann")
        await database.set_risk_limits(RiskScope.VENUE, 0, RiskLimits(), "bob")
        await database.set_holiday(Holiday("XNYS", "2026-12-24", "09:30", "13:00"), "cid")
        await database.unset_holiday("XNYS", "2026-12-24", "dan")
        set_limits = '{"limits":"{\\"order_quantity_lots_max\\":100,\\"day_loss_max\\":4611686018427387904}"}'
        day = '{"opens_at":"09:30","closes_at":"13:00","name":"","source":"own"}'
        assert [
            (change.changed_by, change.kind, change.key, change.before, change.after)
            for change in reversed(await database.changes())
        ] == [
            ("ann", "risk_limits", "3 0", "", set_limits),
            ("bob", "risk_limits", "3 0", set_limits, '{"limits":"{}"}'),
            ("cid", "holidays", "XNYS 2026-12-24", "", day),
            ("dan", "holidays", "XNYS 2026-12-24", day, ""),
        ]


async def test_instruments_are_seeded_once_and_never_overwritten(addresses: Addresses) -> None:
    async with addresses.opened() as one, addresses.opened() as another:
        added = await asyncio.gather(*(database.seed_instruments((AAPL, MSFT), "obs") for database in (one, another)))
        assert sorted(added) == [[], ["AAPL", "MSFT"]]
        suspended = replace(AAPL, suspended=True)
        await one.set_instrument(suspended, "ann")
        assert await another.seed_instruments((MSFT, AAPL), "obs") == []
        assert [entry.definition for entry in another.contents.instruments] == [suspended, MSFT]


async def test_instrument_stays_on_its_shard(addresses: Addresses) -> None:
    async with addresses.opened() as database:
        await database.set_instrument(AAPL, "ann")
        with pytest.raises(InvalidEntry, match="AAPL: an instrument stays on its shard, which is 0"):
            await database.set_instrument(replace(AAPL, shard=1), "ann")


async def test_imported_holidays_leave_those_of_operators_alone(addresses: Addresses) -> None:
    half_day = Holiday("XNYS", "2026-12-24", "09:30", "13:00", source="exchange_calendars")
    own = Holiday("XNYS", "2026-12-24", name="all day off")
    async with addresses.opened() as database:
        await database.set_holiday(own, "ann")
        assert await database.import_holidays((half_day, CHRISTMAS), "obs") == 1
        assert await database.import_holidays((half_day, CHRISTMAS), "obs") == 0
        assert database.contents.own_holidays("XNYS") == (replace(own, version=1),)
        moved = replace(CHRISTMAS, opens_at="09:30", closes_at="12:00")
        assert await database.import_holidays((moved,), "obs") == 1
        assert database.contents.holidays[1] == replace(moved, version=3)


async def test_newest_parameters_whose_time_has_come_are_active(addresses: Addresses) -> None:
    async with addresses.opened() as database:
        for expected, active_from_ns in ((0, 10), (1, 30), (2, 20)):
            new = {"number": expected + 1}
            assert (
                await database.add_model_parameters("maker", "spread", new, active_from_ns, "ann", expected)
            ) == expected + 1
        with pytest.raises(VersionConflict, match="maker spread is at version 3, not 1"):
            await database.add_model_parameters("maker", "spread", {}, 0, "bob", expected=1)
        active = [database.contents.active_parameters("maker", "spread", at_ns) for at_ns in (9, 10, 20, 30)]
        assert [item and item.version for item in active] == [None, 1, 3, 3]
        assert database.active_parameters("maker", "width") is None


async def test_reports_of_the_venue_replace_each_other_and_are_no_change(addresses: Addresses) -> None:
    async with addresses.opened() as database:
        waits = Applied(0, "instruments", "AAPL", 3, "waits")
        await database.report_applied([waits, replace(waits, shard=1)])
        await database.report_applied([replace(waits, outcome="in effect", version=4)])
        assert await database.applied() == [replace(waits, outcome="in effect", version=4), replace(waits, shard=1)]
        assert (await database.refresh()).mark.version == 0


@pytest.mark.parametrize(
    ("day", "said"),
    [
        (Holiday("XNYS", "24.12.2026"), "the date is not one like 2026-12-24"),
        (Holiday("XNYS", "2026-02-30"), "the date is not one like"),
        (Holiday("XNYS", "2026-12-24", "09:30"), "belong together"),
        (Holiday("XNYS", "2026-12-24", "9:30", "13:00"), "9:30-13:00 are not two times"),
        (Holiday("XNYS", "2026-12-24", "13:00", "09:30"), "13:00-09:30 are not two times"),
        (Holiday("", "2026-12-24"), "'' is not a name"),
    ],
)
async def test_holiday_that_cannot_be_is_refused(tmp_path: Path, day: Holiday, said: str) -> None:
    async with Addresses(f"sqlite:///{tmp_path}/utilities.sqlite").opened() as database:
        with pytest.raises(InvalidEntry, match=said):
            await database.set_holiday(day, "ann")
        assert (await database.refresh()).mark.version == 0


async def test_other_entries_that_cannot_be_are_refused(tmp_path: Path) -> None:
    async with Addresses(f"sqlite:///{tmp_path}/utilities.sqlite").opened() as database:
        with pytest.raises(InvalidEntry, match=r"there is no flag 'new_order'; there are .*new_orders"):
            await database.set_flag("new_order", False, "ann")
        with pytest.raises(InvalidEntry, match="1 is not a bool"):
            await database.set_flag("new_orders", 1, "ann")
        with pytest.raises(InvalidEntry, match="account 0 cannot be"):
            await database.set_risk_limits(RiskScope.ACCOUNT, 0, LIMITS, "ann")
        with pytest.raises(InvalidEntry, match="out of range"):
            await database.set_risk_limits(RiskScope.ACCOUNT, 1, RiskLimits(orders_per_window_max=1), "ann")
        with pytest.raises(InvalidEntry, match="1048587 bytes"):
            await database.add_model_parameters("a", "b", {"text": "x" * 2**20}, 0, "ann")
        with pytest.raises(InvalidEntry, match="who changes it"):
            await database.set_flag("new_orders", False, "")
        assert (await database.refresh()).mark.version == 0


async def test_databases_that_are_migrated_at_once_each_get_their_own_tables(tmp_path: Path) -> None:
    utilities = [await UtilitiesDatabase.open(f"sqlite:///{tmp_path}/utilities-{n}.db") for n in range(4)]
    analytics = [await AnalyticsDatabase.open(f"sqlite:///{tmp_path}/analytics-{n}.db") for n in range(4)]
    await asyncio.gather(*(database.migrate() for pair in zip(utilities, analytics, strict=True) for database in pair))
    for database in utilities:
        assert "utilities_state" in await tables_of(database)
    for other in analytics:
        assert "daily_pnl" in await tables_of(other)
    for opened in (*utilities, *analytics):
        await opened.close()


async def tables_of(database: SqlDatabase) -> list[str]:
    return await database.connections.run(Use.READ, lambda connection: inspect(connection).get_table_names())
