"""The whole venue on RabbitMQ when the lines to it are cut, when nobody matches, and when RabbitMQ comes later than the rest."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from msgspec.structs import replace
from yarl import URL

from support.deadline import deadline_of
from support.faulty_line import FaultyLine, faulty_line
from support.order_book_server import ManualClock, config_for, replayed
from support.order_book_server import running as running_obs
from support.rabbitmq import on_own_names, taken_from
from support.tes_venue import Trader, Venue, eventually, order, running_venue, venue_config
from trading_engine.messaging import schemas
from trading_engine.messaging.broker import StreamMessage
from trading_engine.messaging.transports import broker_for
from trading_engine.servers.obs.errors import CannotStart
from trading_engine.servers.obs.server import OrderBookServer
from trading_engine.shared.config import Config
from trading_engine.venue.events import EventBatch

DEADLINE_S = 60.0


@pytest.fixture(autouse=True)
async def deadline(rabbitmq_url: str) -> AsyncIterator[None]:
    del rabbitmq_url
    async with deadline_of(DEADLINE_S):
        yield


@asynccontextmanager
async def on_rabbitmq(config: Config, url: str) -> AsyncIterator[tuple[Config, FaultyLine]]:
    """The configuration on a line to the shared server, with names of its own."""
    address = URL(url)
    assert address.port
    async with on_own_names(config, url) as config, faulty_line(address.port) as line:
        rabbitmq = replace(config.messaging.rabbitmq, url=f"amqp://127.0.0.1:{line.listening_port}/")
        yield replace(config, messaging=replace(config.messaging, rabbitmq=rabbitmq)), line


async def events_on(config: Config, count: int) -> list[EventBatch]:
    """The first batches of the stream on RabbitMQ."""
    broker = broker_for(config)
    await broker.connect()
    batches: list[EventBatch] = []
    async for messages in broker.stream_consumer(schemas.event_stream(0)).messages(0):
        batches += [schemas.decode_batch(message.payload) for message in messages]
        if len(batches) >= count:
            break
    await broker.close()
    return batches


async def health(venue: Venue) -> int:
    return (await venue.http.get("/v1/health")).status_code


async def until_refused(venue: Venue, trader: Trader) -> None:
    async def is_refused() -> bool:
        response = await trader.request("POST", "/v1/orders", json=order("buy", "1", "1.00"))
        return response.status_code == 503 and response.json()["error"]["code"] == "MATCHING_UNAVAILABLE"

    await eventually(is_refused)
    assert await health(venue) == 503


async def until_ready(venue: Venue) -> None:
    async def is_ready() -> bool:
        return await health(venue) == 200

    await eventually(is_ready, 30.0)


class TestLineIsCut:
    async def test_orders_are_refused_while_it_is_down_and_go_on_afterwards(
        self, rabbitmq_url: str, tmp_path: Path
    ) -> None:
        settings = venue_config(tmp_path, order_timeout_s=1.0)
        async with on_rabbitmq(settings, rabbitmq_url) as (config, line), running_venue(config) as venue:
            ann, bob = await venue.log_in("ann"), await venue.log_in("bob")
            placed = await ann.place("buy", "5", "229.00", client_order_id="before")
            line.is_down = True
            line.cut()
            await until_refused(venue, ann)
            assert await ann.get(f"/v1/orders/{placed['order_id']}") == placed
            line.is_down = False
            await until_ready(venue)
            await bob.place("sell", "2", "229.00")
            assert (await ann.get(f"/v1/orders/{placed['order_id']}"))["filled_quantity"] == "2"
            assert [one["client_order_id"] for one in (await ann.get("/v1/orders"))["orders"]] == ["before"]

    async def test_batch_that_is_cut_off_is_in_effect_once_or_not_at_all(
        self, rabbitmq_url: str, tmp_path: Path
    ) -> None:
        """Nobody answers any more, as when the server hangs: what is under way cannot be known, and after that nothing is taken."""
        settings = venue_config(tmp_path, order_timeout_s=1.0)
        async with on_rabbitmq(settings, rabbitmq_url) as (config, line), running_venue(config) as venue:
            ann = await venue.log_in("ann")
            await ann.place("buy", "1", "200.00", client_order_id="first")
            line.loses_answers = True
            bodies = [order("buy", "1", "201.00", client_order_id=f"cut-{n}") for n in range(20)]
            answers = await asyncio.gather(*[ann.request("POST", "/v1/orders", json=body) for body in bodies])
            assert {answer.status_code for answer in answers} <= {503, 504}
            await until_refused(venue, ann)
            line.cut()
            await until_ready(venue)
            await ann.place("buy", "1", "202.00", client_order_id="last")
            listed = [one["client_order_id"] for one in (await ann.get("/v1/orders", limit="100"))["orders"]]
            assert len(listed) == len(set(listed))
            assert set(listed) <= {"first", "last", *(str(body["client_order_id"]) for body in bodies)}
            _, batches = replayed(config.data_path)
            assert await events_on(config, len(batches)) == batches


class TestNobodyMatches:
    async def test_order_that_waited_too_long_is_not_taken_but_parked(self, rabbitmq_url: str, tmp_path: Path) -> None:
        settings = venue_config(tmp_path, order_timeout_s=0.5)
        async with on_rabbitmq(settings, rabbitmq_url) as (config, _), running_venue(config) as venue:
            ann = await venue.log_in("ann")
            await venue.obs.stop()
            response = await ann.request("POST", "/v1/orders", json=order("buy", "1", "200.00", client_order_id="late"))
            await asyncio.sleep(0.6)
            await venue.obs.start()
            await until_ready(venue)
            assert (await ann.get("/v1/orders"))["orders"] == []
            if response.json()["error"]["code"] == "OUTCOME_UNKNOWN":
                dead = await taken_from(rabbitmq_url, config.messaging.rabbitmq.prefix + "commands.0.dead")
                assert "expired" in str(dead.headers["reason"])


class TestOrderBookServer:
    async def test_events_of_a_time_without_rabbitmq_are_published_by_the_next_life(
        self, rabbitmq_url: str, tmp_path: Path
    ) -> None:
        async with on_rabbitmq(config_for(tmp_path, tmp_path), rabbitmq_url) as (config, line):
            line.is_down = True
            async with running_obs(config):
                pass
            line.is_down = False
            _, batches = replayed(config.data_path)
            async with running_obs(config):
                assert await events_on(config, len(batches)) == batches
            async with running_obs(config):
                assert await events_on(config, len(batches)) == batches

    async def test_stream_of_another_journal_stops_it(self, rabbitmq_url: str, tmp_path: Path) -> None:
        async with on_rabbitmq(config_for(tmp_path, tmp_path), rabbitmq_url) as (config, _):
            broker = broker_for(config)
            await broker.connect()
            await broker.stream_publisher(schemas.event_stream(0)).append([StreamMessage(10_000, b"")])
            await broker.close()
            with pytest.raises(CannotStart, match="do not belong together"):
                await OrderBookServer(config, ManualClock()).run(asyncio.Event())
