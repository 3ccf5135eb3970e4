"""The order book server from the outside: commands in, events out, and back again after a stop."""

import asyncio
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import msgspec
import pytest
import yaml

from support.deadline import deadline_of
from support.order_book_server import (
    ManualClock,
    Trader,
    account,
    config_for,
    connect,
    copied,
    journaled,
    order,
    replayed,
    require_dense,
    running,
    time_ns,
    trading,
)
from trading_engine.messaging import schemas
from trading_engine.messaging.broker import BrokerUnavailable, RemoteError
from trading_engine.messaging.transports import broker_for
from trading_engine.servers.obs import recovery, sequencer
from trading_engine.servers.obs.errors import ApplyFailed, CannotStart, JournalCorrupt
from trading_engine.servers.obs.recovery import Paths
from trading_engine.servers.obs.strategy import strategies
from trading_engine.shared.config import (
    AuctionsConfig,
    CircuitBreakersConfig,
    Config,
    ConfigError,
    MatchingConfig,
    VenueConfig,
)
from trading_engine.venue.commands import SequencedCommand, SetTradingPhase
from trading_engine.venue.events import (
    AuctionUncrossed,
    EventBatch,
    OrderAccepted,
    OrderExpired,
    OrderRejected,
    TradeExecuted,
    TradingPhaseChanged,
)
from trading_engine.venue.fast.venue import FastVenue
from trading_engine.venue.reasons import Reason
from trading_engine.venue.terms import Side, SpecialTerms, TimeInForce, TradingPhase

DEADLINE_S = 60.0


@pytest.fixture(autouse=True)
async def deadline() -> AsyncIterator[None]:
    async with deadline_of(DEADLINE_S):
        yield


@pytest.fixture
def socket_dir() -> Iterator[Path]:
    directory = Path(tempfile.mkdtemp(prefix="te-"))
    yield directory
    shutil.rmtree(directory)


@pytest.fixture
def config(tmp_path: Path, socket_dir: Path) -> Config:
    return config_for(tmp_path / "data", socket_dir)


def phases(batches: list[EventBatch]) -> list[tuple[int, str, bool]]:
    events = [event for batch in batches for event in batch.events if isinstance(event, TradingPhaseChanged)]
    return [(event.instrument_id, event.phase.name, event.trading_day_ends) for event in events]


async def trade(trader: Trader, count: int) -> None:
    """Two accounts that trade with each other and leave orders behind."""
    await trader.send(account(1), account(2))
    for n in range(count):
        side = Side.BUY if n % 3 else Side.SELL
        await trader.send(order(1 + n % 2, side, 10_000 + n % 5, client_order_id=f"c{trader.name}{n}"))


@pytest.fixture(params=["in the event loop", "in a thread"])
def sync_place(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the journal is synced, which depends on how fast the disk is."""
    monkeypatch.setattr(sequencer, "SYNC_IN_LOOP_NS_MAX", 10**12 if request.param == "in the event loop" else -1)


@pytest.mark.usefixtures("sync_place")
class TestTrading:
    async def test_order_is_answered_by_its_batch_on_the_event_stream(self, config: Config) -> None:
        async with running(config), trading(config) as trader:
            await trader.send(account(1), account(2))
            [sold, bought] = await trader.send(order(1, Side.SELL), order(2, Side.BUY))
            assert isinstance(sold.events[0], OrderAccepted)
            assert [type(event) for event in bought.events[:2]] == [OrderAccepted, TradeExecuted]
            assert bought.time_ns == time_ns("2026-03-02T12:00:00")
            require_dense(trader.batches)

    async def test_publish_returned_when_the_command_is_journaled(self, config: Config) -> None:
        async with running(config), trading(config) as trader:
            await trader.send_as(1, account(1))
            assert journaled(config.data_path)[-1].command == account(1)

    async def test_command_sent_again_changes_nothing(self, config: Config) -> None:
        async with running(config), trading(config) as trader:
            await trader.send(account(1), order(1))
            before = await trader.status()
            await trader.send_as(2, order(1))
            after = await trader.status()
            assert (after.event_sequence, after.open_orders) == (before.event_sequence, 1)
            assert after.command_sequence == before.command_sequence + 1

    async def test_commands_that_gathered_share_a_group_and_keep_their_order(self, config: Config) -> None:
        async with running(config), trading(config) as trader:
            await trader.send(account(1))
            sending = [trader.send_as(n, order(1, client_order_id=f"c{n}")) for n in range(2, 302)]
            await asyncio.gather(*sending)
            assert [c.producer_sequence for c in journaled(config.data_path)[-300:]] == list(range(2, 302))

    async def test_time_never_goes_backwards(self, config: Config) -> None:
        clock = ManualClock()
        async with running(config, clock), trading(config) as trader:
            await trader.send(account(1))
            clock.set("2026-03-02T11:00:00")
            [batch] = await trader.send(order(1))
            assert batch.time_ns == time_ns("2026-03-02T12:00:00")
        async with running(config, ManualClock("2026-03-01T11:00:00")), trading(config, "other") as trader:
            [batch] = await trader.send(order(1))
            assert batch.time_ns == time_ns("2026-03-02T12:00:00")
            status = await trader.status()
        assert status.state_hash == replayed(config.data_path)[0].state_hash()

    async def test_query_that_is_none_is_answered_with_an_error(self, config: Config) -> None:
        async with running(config), trading(config) as trader:
            with pytest.raises(RemoteError, match="not a query"):
                await trader.broker.call(schemas.venue_calls(0), b"\xc1")

    @pytest.mark.parametrize(
        "payload",
        [
            b"",
            b"\xc1\xff",
            b"\x91" * 4_000,
            schemas.encode({"command": "place"}),
            schemas.encode(("p", 1, (99, 1))),
            schemas.encode(("p", 1, (10, 1))),
            schemas.encode(("p", "1", (11, 1))),
            schemas.encode(("p", 0, (11, 1))),
            schemas.encode(("p", 2**63, (11, 1))),
            schemas.encode(("", 1, (11, 1))),
            schemas.encode(("p" * 65, 1, (11, 1))),
            schemas.encode(("obs-calendar", 2**62, (6, 0, 0))),
            schemas.encode(("p", 1, (10, 1, "x", 1, 3, 2, 1, 1, 1))),
        ],
    )
    async def test_payload_that_is_no_command_is_parked_and_the_others_go_on(
        self, config: Config, payload: bytes
    ) -> None:
        async with running(config) as server, trading(config) as trader:
            await trader.send(account(1))
            await asyncio.gather(trader.send_as(2, order(1)), trader.send_raw(payload), trader.send_as(3, order(1)))
            parked = server.hub.queue(schemas.command_queue(0)).parked
            assert [message.payload for message in parked] == [payload]
            assert (await trader.status()).open_orders == 2


class TestStopAndStart:
    async def test_start_after_a_clean_stop_continues_with_everything(self, config: Config) -> None:
        async with running(config), trading(config) as trader:
            await trade(trader, 20)
            before = await trader.status()
            batches = await trader.read_up_to(before.event_sequence)
        async with running(config), trading(config, "second") as trader:
            after = await trader.status()
            assert after.open_orders == before.open_orders
            assert after.event_sequence == before.event_sequence
            assert after.snapshot_sequence == before.command_sequence
            assert await trader.read_up_to(before.event_sequence) == batches
            await trade(trader, 20)
            last = await trader.status()
            require_dense(await trader.read_up_to(last.event_sequence))
        venue, all_batches = replayed(config.data_path)
        assert venue.state_hash() == last.state_hash
        assert all_batches == trader.batches

    @pytest.mark.usefixtures("sync_place")
    async def test_stop_while_commands_come_in_loses_none_that_was_acknowledged(self, config: Config) -> None:
        acknowledged: list[int] = []

        async def keep_sending(trader: Trader, first: int) -> None:
            for n in range(first, 10_000, 10):
                try:
                    await trader.send_as(n, order(1))
                except BrokerUnavailable:
                    return
                acknowledged.append(n)

        async with trading_later(config) as trader:
            async with running(config):
                await connect(trader.broker)
                await trader.send(account(1))
                sending = [asyncio.create_task(keep_sending(trader, first)) for first in range(2, 12)]
                while len(acknowledged) < 50:  # noqa: ASYNC110 (the load that the stop comes into)
                    await asyncio.sleep(0.001)
            await asyncio.gather(*sending)
        sequences = [c.producer_sequence for c in journaled(config.data_path) if c.producer == "trader"]
        assert set(acknowledged) <= set(sequences)

    async def test_data_directory_is_for_its_owner_only(self, config: Config) -> None:
        async with running(config):
            paths = [config.data_path, *config.data_path.rglob("*")]
            assert [path for path in paths if stat.S_IMODE(path.stat().st_mode) & 0o077] == []

    async def test_second_server_on_the_same_data_is_refused(self, config: Config) -> None:
        async with running(config), trading(config) as trader:
            with pytest.raises(CannotStart, match=f"process {os.getpid()}"):
                async with running(config):
                    pass
            await trader.send(account(1))

    async def test_new_instrument_in_the_configuration_is_listed_at_the_next_start(self, config: Config) -> None:
        async with running(config):
            pass
        new = msgspec.structs.replace(config.venue.instruments[0], symbol="CCC", name="CCC")
        venue = VenueConfig(currencies=config.venue.currencies, instruments=(new, *config.venue.instruments))
        config = msgspec.structs.replace(config, venue=venue)
        async with running(config), trading(config) as trader:
            [_, batch] = await trader.send(account(1), order(1, instrument_id=3))
            assert isinstance(batch.events[0], OrderAccepted)
        assert {i.symbol: n for n, i in replayed(config.data_path)[0].instruments.items()} == {
            "AAA": 1,
            "BBB": 2,
            "CCC": 3,
        }

    async def test_configuration_that_the_venue_does_not_take_stops_the_start(self, config: Config) -> None:
        bad = msgspec.structs.replace(config.venue.instruments[0], symbol="BAD", taker_fee_bp="9999")
        config = msgspec.structs.replace(config, venue=msgspec.structs.replace(config.venue, instruments=(bad,)))
        with pytest.raises(ConfigError, match="BAD"):
            async with running(config):
                pass

    async def test_unknown_transport_stops_the_start(self, config: Config) -> None:
        config = msgspec.structs.replace(
            config, messaging=msgspec.structs.replace(config.messaging, transport="pigeon")
        )
        with pytest.raises(ConfigError, match="pigeon"):
            async with running(config):
                pass


def trading_later(config: Config) -> "_Later":
    return _Later(config)


class _Later:
    """A trader whose broker is not connected yet."""

    def __init__(self, config: Config) -> None:
        self.broker = broker_for(config)

    async def __aenter__(self) -> Trader:
        return Trader(self.broker)

    async def __aexit__(self, *_: object) -> None:
        await self.broker.close()


class TestTradingPhases:
    async def test_always_open_market_is_open_after_the_first_start(self, config: Config) -> None:
        async with running(config), trading(config) as trader:
            [_, batch] = await trader.send(account(1), order(1))
            assert isinstance(batch.events[0], OrderAccepted)

    async def test_always_open_day_ends_at_midnight_and_trading_goes_on(self, config: Config) -> None:
        clock = ManualClock()
        async with running(config, clock), trading(config) as trader:
            await trader.send(account(1), order(1, time_in_force=TimeInForce.DAY), order(1))
            before = await trader.status()
            clock.set("2026-03-03T00:00:00")
            batches = await trader.read_up_to(before.event_sequence + 3)
            assert phases(batches)[-2:] == [(0, "CLOSED", True), (0, "CONTINUOUS", False)]
            assert (await trader.status()).open_orders == 1
            [batch] = await trader.send(order(1))
            assert isinstance(batch.events[0], OrderAccepted)

    async def test_clock_that_leaps_over_days_ends_each(self, config: Config) -> None:
        clock = ManualClock()
        async with running(config, clock), trading(config) as trader:
            before = await trader.status()
            clock.set("2026-03-05T12:00:00")
            batches = await trader.read_up_to(before.event_sequence + 6)
            assert phases(batches)[-6:] == [(0, "CLOSED", True), (0, "CONTINUOUS", False)] * 3

    async def test_day_end_that_passed_while_stopped_is_made_up_for_once(self, config: Config) -> None:
        async with running(config), trading(config) as trader:
            await trader.send(account(1), order(1, time_in_force=TimeInForce.DAY), order(1))
        for name in ("first", "second"):
            async with running(config, ManualClock("2026-03-04T08:00:00")), trading(config, name) as trader:
                assert (await trader.status()).open_orders == {"first": 1, "second": 2}[name]
                await trader.send(order(1, time_in_force=TimeInForce.DAY))
        expired = [e for batch in replayed(config.data_path)[1] for e in batch.events if isinstance(e, OrderExpired)]
        assert len(expired) == 1

    async def test_restart_on_the_same_day_ends_no_day(self, config: Config) -> None:
        async with running(config), trading(config) as trader:
            await trader.send(account(1), order(1, time_in_force=TimeInForce.DAY))
            before = await trader.status()
        async with running(config, ManualClock("2026-03-02T23:59:59")), trading(config) as trader:
            after = await trader.status()
            assert (after.open_orders, after.event_sequence) == (1, before.event_sequence)

    async def test_restart_lifts_no_halt(self, config: Config) -> None:
        async with running(config), trading(config) as trader:
            await trader.send(SetTradingPhase(1, TradingPhase.HALTED))
        async with running(config), trading(config, "second") as trader:
            [_, halted, other] = await trader.send(account(1), order(1), order(1, instrument_id=2))
            assert isinstance(halted.events[0], OrderRejected)
            assert halted.events[0].reason is Reason.TRADING_HALTED
            assert isinstance(other.events[0], OrderAccepted)

    @pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the calendars, by pandas
    async def test_exchange_opens_and_closes_with_its_calendar(self, tmp_path: Path, socket_dir: Path) -> None:
        config = config_for(tmp_path / "data", socket_dir, calendar="XNYS")
        clock = ManualClock("2026-03-02T12:00:00")  # a Monday; New York opens at 14:30 UTC
        async with running(config, clock), trading(config) as trader:
            [_, early] = await trader.send(account(1), order(1))
            assert isinstance(early.events[0], OrderRejected)
            assert early.events[0].reason is Reason.MARKET_CLOSED
            clock.set("2026-03-02T14:30:00")
            while phases(trader.batches)[-1:] != [(0, "CONTINUOUS", False)]:
                await trader.read_more()
            [day, _] = await trader.send(order(1, time_in_force=TimeInForce.DAY), order(1))
            assert isinstance(day.events[0], OrderAccepted)
        # Stopped over the close and the next open.
        async with running(config, ManualClock("2026-03-03T15:00:00")), trading(config, "second") as trader:
            assert (await trader.status()).open_orders == 1
            await trader.send(order(1))
        venue, batches = replayed(config.data_path)
        assert {venue.phase(n) for n in venue.instruments} == {TradingPhase.CONTINUOUS}
        assert sum(isinstance(event, OrderExpired) for batch in batches for event in batch.events) == 1

    @pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the calendars, by pandas
    async def test_session_opens_and_closes_with_auctions(self, tmp_path: Path, socket_dir: Path) -> None:
        config = config_for(tmp_path / "data", socket_dir, calendar="XNYS")
        calls = AuctionsConfig(opening_call_s=600, closing_call_s=300)
        config = msgspec.structs.replace(config, venue=msgspec.structs.replace(config.venue, auctions=calls))
        clock = ManualClock("2026-03-02T14:20:00")  # a Monday; New York opens at 14:30 UTC
        async with running(config, clock), trading(config) as trader:
            await trader.send(account(1), account(2))
            await trader.send(order(1, Side.BUY, 10_100), order(2, Side.SELL, 9_900, 4))
            await trader.send(order(2, Side.SELL, 9_900, 6, time_in_force=TimeInForce.CLS))
            clock.set("2026-03-02T14:30:00")
            [opened] = await auctions(trader, 1)
            assert (opened.phase, opened.price_ticks, opened.quantity_lots) == (TradingPhase.OPENING_CALL, 10_100, 4)
            clock.set("2026-03-02T20:55:00")
            while phases(trader.batches)[-1:] != [(0, "CLOSING_CALL", False)]:
                await trader.read_more()
            clock.set("2026-03-02T21:00:00")
            [_, closed] = await auctions(trader, 2)
            assert (closed.phase, closed.quantity_lots) == (TradingPhase.CLOSING_CALL, 6)
            while phases(trader.batches)[-1:] != [(0, "CLOSED", True)]:
                await trader.read_more()
        assert replayed(config.data_path)[0].open_order_count == 0

    @pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the calendars, by pandas
    async def test_restart_in_a_call_leaves_it_to_its_end(self, tmp_path: Path, socket_dir: Path) -> None:
        config = config_for(tmp_path / "data", socket_dir, calendar="XNYS")
        calls = AuctionsConfig(opening_call_s=600, random_end_s=30)
        config = msgspec.structs.replace(config, venue=msgspec.structs.replace(config.venue, auctions=calls))
        async with running(config, ManualClock("2026-03-02T14:25:00")), trading(config) as trader:
            await trader.send(account(1), account(2))
            await trader.send(order(1, Side.BUY, 10_100), order(2, Side.SELL, 9_900, 4))
        clock = ManualClock("2026-03-02T14:29:00")
        async with running(config, clock), trading(config, "second") as trader:
            assert await auctions(trader, 0) == []
            clock.set("2026-03-02T14:30:30")
            [opened] = await auctions(trader, 1)
            assert opened.quantity_lots == 4

    @pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the calendars, by pandas
    async def test_fall_halts_all_markets_and_the_clock_reopens_them(self, tmp_path: Path, socket_dir: Path) -> None:
        config = config_for(tmp_path / "data", socket_dir, calendar="XNYS")
        breakers = CircuitBreakersConfig(index={"BBB": 1}, call_s=60, timed_until_s=2_100)
        config = msgspec.structs.replace(config, venue=msgspec.structs.replace(config.venue, circuit_breakers=breakers))
        clock = ManualClock("2026-03-02T15:00:00")
        async with running(config, clock), trading(config) as trader:
            [_, _, _, fallen] = await trader.send(
                account(1),
                account(2),
                order(1, Side.BUY, 9_000, instrument_id=2),
                order(2, Side.SELL, 9_000, instrument_id=2),
            )
            assert phases([fallen]) == [(1, "HALTED", False), (2, "HALTED", False)]
            clock.set("2026-03-02T15:15:00")
            while phases(trader.batches)[-1:] != [(2, "REOPENING_CALL", False)]:
                await trader.read_more()
            clock.set("2026-03-02T15:16:00")
            while phases(trader.batches)[-1:] != [(2, "CONTINUOUS", False)]:
                await trader.read_more()
            clock.set("2026-03-02T21:00:00")
            while phases(trader.batches)[-1:] != [(0, "CLOSED", True)]:
                await trader.read_more()
            await trader.send(order(1))
        rules = replayed(config.data_path)[0].circuit_breakers
        assert rules is not None
        assert rules.timed_until_ns == time_ns("2026-03-03T20:25:00")

    async def test_circuit_breakers_that_the_venue_refuses_keep_it_from_starting(self, config: Config) -> None:
        breakers = CircuitBreakersConfig(index={"AAA": 0})
        config = msgspec.structs.replace(config, venue=msgspec.structs.replace(config.venue, circuit_breakers=breakers))
        with pytest.raises(ConfigError, match="circuit_breakers"):
            async with running(config):
                pass


async def auctions(trader: Trader, count: int) -> list[AuctionUncrossed]:
    """The first auctions of instrument 1."""
    while True:
        found = [
            event
            for batch in trader.batches
            for event in batch.events
            if isinstance(event, AuctionUncrossed) and event.instrument_id == 1
        ]
        if len(found) >= count:
            return found
        await trader.read_more()


class TestTime:
    async def test_order_expires_when_its_time_has_come(self, config: Config) -> None:
        clock = ManualClock()
        until = msgspec.structs.replace(
            order(1, time_in_force=TimeInForce.GTD),
            special=SpecialTerms(expire_time_ns=time_ns("2026-03-02T12:00:05")),
        )
        async with running(config, clock), trading(config) as trader:
            [_, accepted, _] = await trader.send(account(1), until, order(1))
            assert isinstance(accepted.events[0], OrderAccepted)
            clock.set("2026-03-02T12:00:04")
            await trader.send(order(1))
            assert (await trader.status()).open_orders == 3
            clock.set("2026-03-02T12:00:05")
            while not any(isinstance(event, OrderExpired) for batch in trader.batches for event in batch.events):
                await trader.read_more()
            assert (await trader.status()).open_orders == 2

    async def test_order_that_expired_while_stopped_is_expired_at_the_start(self, config: Config) -> None:
        until = msgspec.structs.replace(
            order(1, time_in_force=TimeInForce.GTD),
            special=SpecialTerms(expire_time_ns=time_ns("2026-03-02T12:00:05")),
        )
        async with running(config), trading(config) as trader:
            await trader.send(account(1), until)
        async with running(config, ManualClock("2026-03-02T13:00:00")), trading(config, "second") as trader:
            while not any(isinstance(event, OrderExpired) for batch in trader.batches for event in batch.events):
                await trader.read_more()
            assert (await trader.status()).open_orders == 0


class TestRecovery:
    async def make_history(self, config: Config, commands: int = 40) -> schemas.VenueStatus:
        async with running(config), trading(config) as trader:
            await trade(trader, commands)
            return await trader.status()

    async def require_same(self, config: Config, before: schemas.VenueStatus) -> None:
        """A start on this data has the same venue and the same events, and the journal says so too."""
        async with running(config), trading(config, "after") as trader:
            after = await trader.status()
            batches = await trader.read_up_to(before.event_sequence)
            require_dense(batches)
        venue, all_batches = replayed(config.data_path)
        assert after.event_sequence == before.event_sequence
        assert after.state_hash == venue.state_hash()
        assert batches == all_batches

    @pytest.fixture
    def config(self, tmp_path: Path, socket_dir: Path) -> Config:
        return config_for(tmp_path / "data", socket_dir, snapshot_every_commands=7, journal_segment_bytes=2_000)

    def moved(self, config: Config, to: Path) -> Config:
        return msgspec.structs.replace(config, data_dir=str(copied(config.data_path, to)))

    async def test_data_as_it_is_at_any_moment_recovers(self, config: Config, tmp_path: Path) -> None:
        copies = []
        async with running(config), trading(config) as trader:
            await trader.send(account(1), account(2))
            for n in range(25):
                await trader.send(order(1 + n % 2, Side.BUY if n % 3 else Side.SELL))
                copies.append((self.moved(config, tmp_path / str(n)), await trader.status()))
        for copy, before in copies:
            await self.require_same(copy, before)

    async def test_newest_snapshot_damaged_falls_back_to_the_older(
        self, config: Config, caplog: pytest.LogCaptureFixture
    ) -> None:
        before = await self.make_history(config)
        newest = max(Paths.under(config.data_path).snapshots.iterdir())
        data = bytearray(newest.read_bytes())
        data[len(data) // 2] ^= 1
        newest.write_bytes(data)
        await self.require_same(config, before)
        assert "snapshot is damaged" in caplog.text

    @pytest.mark.parametrize("damage", ["cut", "empty", "garbage", "removed"])
    async def test_all_snapshots_damaged_replays_from_the_first_command(self, config: Config, damage: str) -> None:
        before = await self.make_history(config)
        snapshots = list(Paths.under(config.data_path).snapshots.iterdir())
        assert len(snapshots) == 2
        for path in snapshots:
            data = path.read_bytes()
            if damage == "removed":
                path.unlink()
            else:
                path.write_bytes({"cut": data[:-1], "empty": b"", "garbage": b"x" * len(data)}[damage])
        await self.require_same(config, before)

    async def test_snapshot_of_another_release_is_passed_over(self, config: Config) -> None:
        from trading_engine.servers.obs.snapshots import Snapshot, save_snapshot, sound_snapshots

        before = await self.make_history(config)
        directory = Paths.under(config.data_path).snapshots
        for snapshot in list(sound_snapshots(directory)):
            save_snapshot(directory, Snapshot(snapshot.command_sequence, snapshot.event_sequence, b"\x91\x63"))
        await self.require_same(config, before)

    async def test_snapshot_that_needs_an_algorithm_which_is_gone_stops_the_start(
        self, config: Config, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        shared = msgspec.structs.replace(
            config.venue.instruments[0], symbol="SHARED", matching=MatchingConfig(algorithm="split")
        )
        venue = msgspec.structs.replace(config.venue, instruments=(*config.venue.instruments, shared))
        config = msgspec.structs.replace(config, venue=venue)
        before = await self.make_history(config)
        await self.require_same(config, before)
        without = {name: found for name, found in strategies().items() if name != "split"}
        monkeypatch.setattr(recovery, "strategies", lambda: without)
        with pytest.raises(CannotStart, match="SHARED needs the matching algorithm split, which is not in"):
            async with running(config):
                pass

    async def test_event_log_removed_comes_back_byte_for_byte(self, config: Config) -> None:
        before = await self.make_history(config)
        events = Paths.under(config.data_path).events
        files = {path.name: path.read_bytes() for path in events.glob("*.events")}
        shutil.rmtree(events)
        await self.require_same(config, before)
        again = {path.name: path.read_bytes() for path in events.glob("*.events")}
        assert again.keys() == files.keys()
        assert all(again[name].startswith(data) for name, data in files.items())

    @pytest.mark.parametrize("keep", [0.0, 0.3, 0.9, 0.999])
    async def test_event_log_that_lost_its_end_comes_back(self, config: Config, keep: float) -> None:
        before = await self.make_history(config)
        paths = sorted(Paths.under(config.data_path).events.glob("*.events"))
        for path in paths[int(len(paths) * keep) + 1 :]:
            path.unlink()
        last = paths[int(len(paths) * keep)]
        last.write_bytes(last.read_bytes()[: int(last.stat().st_size * keep)])
        await self.require_same(config, before)

    async def test_event_log_with_events_nobody_journaled_stops_the_start(self, config: Config) -> None:
        """The journal lost its end to something other than a crash: what was acknowledged is gone."""
        await self.make_history(config)
        journal = max(Paths.under(config.data_path).journal.glob("*.journal"))
        journal.write_bytes(journal.read_bytes()[:-3])
        with pytest.raises(JournalCorrupt, match="its end is missing"):
            async with running(config):
                pass

    async def test_journal_damaged_in_the_middle_stops_the_start_and_nothing_is_changed(self, config: Config) -> None:
        await self.make_history(config)
        shutil.rmtree(Paths.under(config.data_path).snapshots)
        first = min(Paths.under(config.data_path).journal.glob("*.journal"))
        data = bytearray(first.read_bytes())
        data[-5] ^= 1
        first.write_bytes(data)
        for _ in range(2):
            with pytest.raises(JournalCorrupt, match="damaged"):
                async with running(config):
                    pass
        assert first.read_bytes() == data

    async def test_reader_of_a_damaged_event_log_is_cut_off_and_orders_go_on(
        self, config: Config, caplog: pytest.LogCaptureFixture
    ) -> None:
        await self.make_history(config)
        first = min(Paths.under(config.data_path).events.glob("*.events"))
        data = bytearray(first.read_bytes())
        data[100] ^= 1
        first.write_bytes(data)
        async with running(config), trading(config, "other") as trader:
            with pytest.raises(BrokerUnavailable):
                await trader.read_more()
            async with trading(config, "another") as another:
                await another.send_as(1, order(1))
        assert "made again from the journal" in str([record.__dict__.get("fields") for record in caplog.records])

    async def test_snapshots_are_made_while_trading_and_two_are_kept(self, config: Config) -> None:
        async with running(config), trading(config) as trader:
            await trade(trader, 60)
            status = await trader.status()
            while status.command_sequence - status.snapshot_sequence >= 20:  # The disk may be slower than the market.
                await trade(trader, 1)
                status = await trader.status()
        names = sorted(path.name for path in Paths.under(config.data_path).snapshots.iterdir())
        assert len(names) == 2
        assert names[-1].startswith(f"{status.command_sequence:020d}")


class TestBugsAndDisks:
    async def order_and_lose_the_server(self, config: Config) -> None:
        async with running(config), trading(config) as trader:
            await trader.send(account(1))
            with pytest.raises(BrokerUnavailable):
                await trader.send_as(2, order(1))

    async def test_command_that_breaks_the_venue_stops_the_server_and_is_in_the_journal(
        self, config: Config, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        apply = FastVenue.apply_encoded

        def break_on_order(venue: FastVenue, command: SequencedCommand, encoded: bytes = b"") -> bytes | None:
            if command.command == order(1):
                raise KeyError("a bug")
            return apply(venue, command, encoded)

        monkeypatch.setattr(FastVenue, "apply_encoded", break_on_order)
        with pytest.raises(ApplyFailed, match=r"command 6 broke the venue .*a bug.*PlaceOrder"):
            await self.order_and_lose_the_server(config)
        assert journaled(config.data_path)[-1].command == order(1)
        with pytest.raises(ApplyFailed):
            async with running(config):
                pass
        monkeypatch.undo()
        async with running(config), trading(config) as trader:
            assert (await trader.status()).open_orders == 1


class TestProcess:
    @pytest.fixture
    def config_path(self, config: Config, tmp_path: Path) -> Path:
        path = tmp_path / "config.yaml"
        path.write_text(yaml.safe_dump(msgspec.to_builtins(config)))
        return path

    def start(self, config_path: Path, *, file_size_max: int = -1) -> "subprocess.Popen[str]":
        limit = (
            f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({file_size_max}, resource.RLIM_INFINITY));"
        )
        code = (limit if file_size_max >= 0 else "") + (
            "import sys, trading_engine.cli; sys.exit(trading_engine.cli.main(sys.argv[1:]))"
        )
        return subprocess.Popen(
            [sys.executable, "-c", code, "-s", "OBS", "--config", str(config_path)], stderr=subprocess.PIPE, text=True
        )

    async def orders_until_the_end(self, trader: Trader) -> int:
        """How many were acknowledged before the server was gone."""
        for count in range(10_000):
            try:
                await trader.send_as(2 + count, order(1, client_order_id="x" * 60))
            except BrokerUnavailable:
                return count
        raise AssertionError("the server goes on for ever")

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
    async def test_process_told_to_stop_leaves_a_snapshot_and_status_zero(
        self, config: Config, config_path: Path, number: signal.Signals
    ) -> None:
        process = self.start(config_path)
        broker = broker_for(config)
        await connect(broker)
        await Trader(broker).send(account(1), order(1))
        process.send_signal(number)
        _, errors = await asyncio.to_thread(process.communicate)
        await broker.close()
        assert process.returncode == 0
        assert "OBS ready" in errors
        assert "OBS stopped" in errors
        [snapshot] = Paths.under(config.data_path).snapshots.iterdir()
        assert int(snapshot.stem) == journaled(config.data_path)[-1].sequence

    async def test_process_that_cannot_start_says_why_with_status_two(self, config: Config, config_path: Path) -> None:
        async with running(config):
            process = self.start(config_path)
            _, errors = await asyncio.to_thread(process.communicate)
        assert process.returncode == 2
        assert "is in use by another order book server" in errors
        assert "Traceback" not in errors

    async def test_full_disk_stops_the_process_and_nothing_after_it_is_acknowledged(
        self, config: Config, config_path: Path
    ) -> None:
        process = self.start(config_path, file_size_max=300_000)  # more than its database needs
        broker = broker_for(config)
        await connect(broker)
        trader = Trader(broker)
        await trader.send(account(1))
        acknowledged = 1 + await self.orders_until_the_end(trader)
        _, errors = await asyncio.to_thread(process.communicate)
        await broker.close()
        assert process.returncode == 1
        assert "cannot be written" in errors
        async with running(config), trading(config) as trader:
            status = await trader.status()
        sequences = [c.producer_sequence for c in journaled(config.data_path) if c.producer == "trader"]
        assert sequences in (list(range(1, acknowledged + 1)), list(range(1, acknowledged + 2)))
        assert status.state_hash == replayed(config.data_path)[0].state_hash()
