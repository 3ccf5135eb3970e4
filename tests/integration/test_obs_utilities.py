"""The order book server brings its venue to where the utilities database wants it: once, in the journal, and whatever dies meanwhile."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from msgspec.structs import replace
from private_servers import PostgreSQL, PrivateServer

from support.order_book_server import (
    ManualClock,
    Trader,
    account,
    config_for,
    copied,
    journaled,
    order,
    replayed,
    running,
    trading,
)
from support.utilities_databases import Addresses
from trading_engine.database.utilities.database import UtilitiesDatabase, utilities_url
from trading_engine.database.utilities.records import Applied, Holiday
from trading_engine.servers.obs.server import OrderBookServer
from trading_engine.servers.obs.services import UTILITIES_PRODUCER
from trading_engine.shared.config import BandsConfig, Config, DatabaseConfig, InstrumentConfig
from trading_engine.venue.commands import AnyCommand, CancelOrder, ChangeInstrument, ListInstrument, SetRiskLimits
from trading_engine.venue.events import (
    CommandRefused,
    Event,
    EventBatch,
    InstrumentChanged,
    InstrumentListed,
    OrderRejected,
    RiskLimitsSet,
    TradingPhaseChanged,
)
from trading_engine.venue.reasons import Reason
from trading_engine.venue.risk_limits import RiskLimits, RiskScope
from trading_engine.venue.terms import TradingPhase

CCC = InstrumentConfig(symbol="CCC", name="CCC", reference_price="5.00")
LIMITS = RiskLimits(order_quantity_lots_max=5)
WAIT_S = 60.0


@asynccontextmanager
async def operated(config: Config) -> AsyncIterator[tuple[Trader, UtilitiesDatabase]]:
    """A running venue, a trader, and an operator's view of the utilities database."""
    addresses = Addresses(utilities_url(config))
    async with running(config), trading(config) as trader, addresses.opened() as utilities:
        yield trader, utilities


async def event_of(trader: Trader, kind: type[Event], holds: Callable[[Event], bool] = lambda _: True) -> EventBatch:
    """The first batch with such an event."""
    async with asyncio.timeout(WAIT_S):
        while True:
            for batch in trader.batches:
                if any(type(event) is kind and holds(event) for event in batch.events):
                    return batch
            await trader.read_more()


async def outcome_of(utilities: UtilitiesDatabase, key: str, version: int) -> str:
    """What the server says of this version of an entry, as soon as it says anything."""
    async with asyncio.timeout(WAIT_S):
        while True:
            for item in await utilities.applied():
                if (item.key, item.version) == (key, version):
                    return item.outcome
            await asyncio.sleep(0.05)


async def outcome_becomes(utilities: UtilitiesDatabase, expected: Applied) -> None:
    async with asyncio.timeout(WAIT_S):
        while expected not in await utilities.applied():  # noqa: ASYNC110 (nothing tells of reports)
            await asyncio.sleep(0.05)


def wanted_commands(data_dir: Path) -> list[AnyCommand]:
    return [command.command for command in journaled(data_dir) if command.producer == UTILITIES_PRODUCER]


async def test_changes_reach_the_running_venue_as_journaled_commands(tmp_path: Path) -> None:
    config = config_for(tmp_path / "data", tmp_path)
    async with operated(config) as (trader, utilities):
        await trader.send(account(1))
        aaa = utilities.contents.instruments[0].definition
        await utilities.set_instrument(replace(aaa, taker_fee_bp="7", suspended=True), "ann")
        changed = await event_of(trader, InstrumentChanged)
        [[rejected]] = [batch.events for batch in await trader.send(order(1))]
        assert isinstance(rejected, OrderRejected)
        assert rejected.reason is Reason.INSTRUMENT_SUSPENDED
        await utilities.set_instrument(CCC, "ann")
        await event_of(trader, InstrumentListed, lambda event: event.instrument.symbol == "CCC")  # type: ignore[attr-defined]
        await event_of(trader, TradingPhaseChanged, lambda event: event.instrument_id == 3)  # type: ignore[attr-defined]
        [accepted] = await trader.send(order(1, instrument_id=3, price_ticks=500))
        assert not isinstance(accepted.events[0], OrderRejected)
        await utilities.set_risk_limits(RiskScope.VENUE, 0, LIMITS, "ann")
        await event_of(trader, RiskLimitsSet)
        assert await outcome_of(utilities, "CCC", 4) == "in effect"
        state_hash = (await trader.status()).state_hash
    assert (changed.producer, changed.events[0].instrument.taker_fee_ppm) == (UTILITIES_PRODUCER, 700)  # type: ignore[union-attr]
    assert list(map(type, wanted_commands(tmp_path / "data"))) == [
        ListInstrument,
        ListInstrument,
        ChangeInstrument,
        ListInstrument,
        SetRiskLimits,
    ]
    assert replayed(tmp_path / "data")[0].state_hash() == state_hash


async def test_standby_takes_over_with_what_is_wanted_then_not_what_was_when_it_began(tmp_path: Path) -> None:
    config = config_for(tmp_path / "data", tmp_path)
    standby = OrderBookServer(replace(config, obs=replace(config.obs, standby=True)), ManualClock())
    stop = asyncio.Event()
    async with operated(config) as (trader, utilities):
        await utilities.set_risk_limits(RiskScope.VENUE, 0, LIMITS, "ann")
        await event_of(trader, RiskLimitsSet)
        waiting = asyncio.create_task(standby.run(stop))
        while not standby.is_following.is_set():
            await asyncio.wait([waiting], timeout=0.05)
        wider = RiskLimits(order_quantity_lots_max=9)
        await utilities.set_risk_limits(RiskScope.VENUE, 0, wider, "ann")
        await event_of(trader, RiskLimitsSet, lambda event: event.limits == wider)  # type: ignore[attr-defined]
        sent = wanted_commands(tmp_path / "data")
    await standby.is_ready.wait()
    stop.set()
    await waiting
    assert wanted_commands(tmp_path / "data") == sent


async def test_entry_that_has_to_wait_is_not_journaled_before_it_may(tmp_path: Path) -> None:
    config = config_for(tmp_path / "data", tmp_path)
    async with operated(config) as (trader, utilities):
        [_, placed] = await trader.send(account(1), order(1))
        aaa = utilities.contents.instruments[0].definition
        banded = await utilities.set_instrument(replace(aaa, bands=BandsConfig(dynamic_percent="5")), "ann")
        limited = await utilities.set_risk_limits(RiskScope.ACCOUNT, 7, LIMITS, "ann")
        assert (await outcome_of(utilities, "AAA", banded)).startswith("waits: INSTRUMENT_IN_USE")
        assert (await outcome_of(utilities, "1 7", limited)).startswith("waits: UNKNOWN_ACCOUNT")
        await trader.send(CancelOrder(1, placed.events[0].order_id), account(7))  # type: ignore[union-attr]
        await outcome_becomes(utilities, Applied(0, "instruments", "AAA", banded, "in effect"))
        await outcome_becomes(utilities, Applied(0, "risk_limits", "1 7", limited, "in effect"))
    _, batches = replayed(tmp_path / "data")
    assert not [event for batch in batches for event in batch.events if isinstance(event, CommandRefused)]


async def test_entry_that_the_venue_never_takes_is_told_and_keeps_nobody_else_waiting(tmp_path: Path) -> None:
    config = config_for(tmp_path / "data", tmp_path)
    async with operated(config) as (trader, utilities):
        aaa, bbb = (entry.definition for entry in utilities.contents.instruments)
        other_tick = await utilities.set_instrument(replace(aaa, tick_size="0.05"), "ann")
        other_currency = await utilities.set_instrument(replace(CCC, currency="EUR"), "ann")
        await utilities.set_instrument(replace(bbb, name="Bee"), "ann")
        await event_of(trader, InstrumentChanged)
        assert (await outcome_of(utilities, "AAA", other_tick)).startswith("refused: INSTRUMENT_FIELD_FIXED")
        assert "EUR is not among" in await outcome_of(utilities, "CCC", other_currency)


async def test_configuration_adds_instruments_and_does_not_overrule_the_database(tmp_path: Path) -> None:
    config = config_for(tmp_path / "data", tmp_path)
    async with operated(config) as (trader, utilities):
        aaa, bbb = (entry.definition for entry in utilities.contents.instruments)
        await utilities.set_instrument(replace(aaa, name="Changed"), "ann")
        await event_of(trader, InstrumentChanged)
    edited = replace(config, venue=replace(config.venue, instruments=(replace(aaa, name="Configured"), bbb, CCC)))
    async with operated(edited) as (trader, utilities):
        definitions = [entry.definition for entry in utilities.contents.instruments]
        assert definitions == [replace(aaa, name="Changed"), bbb, CCC]
    assert len(wanted_commands(tmp_path / "data")) == 4


async def test_server_that_died_after_the_commit_changes_nothing_again(tmp_path: Path) -> None:
    config = config_for(tmp_path / "data", tmp_path)
    async with operated(config) as (trader, utilities):
        await utilities.set_risk_limits(RiskScope.VENUE, 0, LIMITS, "ann")
        await event_of(trader, RiskLimitsSet)
        died = copied(tmp_path / "data", tmp_path / "died")
    before = wanted_commands(died)
    async with operated(replace(config, data_dir=str(died))) as (_, utilities):
        assert await outcome_of(utilities, "3 0", 3) == "in effect"
    assert wanted_commands(died) == before


async def test_day_that_is_closed_while_it_goes_on_closes_the_markets_until_it_is_opened_again(tmp_path: Path) -> None:
    config = config_for(tmp_path / "data", tmp_path)
    async with operated(config) as (trader, utilities):
        await event_of(trader, TradingPhaseChanged)
        await utilities.set_holiday(Holiday("24/7", "2026-03-02", name="mourning"), "ann")
        await event_of(trader, TradingPhaseChanged, lambda event: is_to(event, TradingPhase.CLOSED, 2))
        trader.batches.clear()
        await utilities.unset_holiday("24/7", "2026-03-02", "ann")
        await event_of(trader, TradingPhaseChanged, lambda event: is_to(event, TradingPhase.CONTINUOUS, 2))


def is_to(event: Event, phase: TradingPhase, instrument_id: int) -> bool:
    assert isinstance(event, TradingPhaseChanged)
    return (event.phase, event.instrument_id) == (phase, instrument_id)


async def test_hours_of_a_day_that_is_to_come_are_kept(tmp_path: Path) -> None:
    config, clock = config_for(tmp_path / "data", tmp_path), ManualClock()
    async with (
        running(config, clock),
        trading(config) as trader,
        Addresses(utilities_url(config)).opened() as utilities,
    ):
        await utilities.set_holiday(Holiday("24/7", "2026-03-03", "09:30", "13:00"), "ann")
        await utilities.set_risk_limits(RiskScope.VENUE, 0, LIMITS, "ann")  # after it, so the day is known as well then
        await event_of(trader, RiskLimitsSet)
        for time, phase in (("00:00", "CLOSED"), ("09:30", "CONTINUOUS"), ("13:00", "CLOSED")):
            trader.batches = trader.batches[-1:]
            clock.set(f"2026-03-03T{time}:00")
            await event_of(trader, TradingPhaseChanged, lambda event, phase=phase: is_to(event, TradingPhase[phase], 0))  # type: ignore[misc]


async def test_server_starts_without_its_database_and_finds_it_again(
    tmp_path: Path, start_server: Callable[[type[PrivateServer]], PrivateServer]
) -> None:
    postgresql = start_server(PostgreSQL)
    config = replace(config_for(tmp_path / "data", tmp_path), database=DatabaseConfig(utilities_url=postgresql.url))
    async with operated(config) as (trader, utilities):
        aaa = utilities.contents.instruments[0].definition
        await utilities.set_instrument(replace(aaa, name="Changed"), "ann")
        await event_of(trader, InstrumentChanged)
    postgresql.kill()
    async with running(config), trading(config) as trader:
        await asyncio.to_thread(postgresql.start)
        async with Addresses(postgresql.url).opened() as utilities:
            await utilities.set_instrument(replace(aaa, name="Again"), "ann")
            await event_of(trader, InstrumentChanged, lambda event: event.instrument.name == "Again")  # type: ignore[attr-defined]


async def test_server_that_never_saw_its_database_does_not_start(tmp_path: Path) -> None:
    config = replace(
        config_for(tmp_path / "data", tmp_path),
        database=DatabaseConfig(utilities_url="postgresql://postgres@127.0.0.1:1/postgres"),
    )
    with pytest.raises(Exception, match="nothing usable is in"):
        async with running(config):
            pass
