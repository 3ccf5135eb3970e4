"""kill -9 of the OBS, of the TES and of RabbitMQ, alone and together, under load: what clients were told is in effect, and once.

CRASH_SEED makes it another; `make soak` runs many rounds.
"""

import asyncio
import contextlib
import random
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from private_servers import PrivateServer, RabbitMQ

from support.processes import VenueProcesses, venue_processes
from support.venue_under_load import CONFIGURATION, SEED, Fault, check_all_agrees, run_under_load
from trading_engine.messaging import schemas
from trading_engine.messaging.broker import BrokerUnavailable
from trading_engine.messaging.transports.rabbitmq import RabbitMQBroker
from trading_engine.venue.events import EventBatch

Victims = tuple[str, ...]
BROKER = "rabbitmq"
EACH_ONCE: list[Victims] = [(BROKER,), ("obs", BROKER, "tes")]
SOAK: list[Victims] = [("obs",), ("tes",), (BROKER,), ("obs", BROKER), ("obs", "tes"), ("obs", "tes", BROKER)]


def killing(broker: PrivateServer, victims: Sequence[Victims]) -> Fault:
    """A fault each: the victims die together, and come back in any order."""
    ones = iter(victims)

    async def kill(venue: VenueProcesses, rng: random.Random) -> None:
        dying = next(ones)
        if BROKER in dying:
            broker.kill()
        venue.kill(*[name for name in dying if name != BROKER])
        for name in rng.sample(dying, len(dying)):
            if name == BROKER:
                await asyncio.to_thread(broker.start)
            else:
                venue.start(name, "-s", name.upper())
        await until_matching(broker.url)

    return kill


async def until_matching(url: str) -> None:
    """Until an order book server answers: the trading engine server notices only after a second that one is gone."""
    broker = RabbitMQBroker(url)
    await broker.connect()
    answer = b""
    while not answer:
        with contextlib.suppress(BrokerUnavailable):
            answer = await broker.call(schemas.venue_calls(0), schemas.encode(schemas.VenueQuery()))
            continue
        await asyncio.sleep(0.05)
    await broker.close()


async def published(url: str, last_event: int) -> list[EventBatch]:
    """All that is in the stream on RabbitMQ."""
    broker = RabbitMQBroker(url)
    await broker.connect()
    batches: list[EventBatch] = []
    async for messages in broker.stream_consumer(schemas.event_stream(0)).messages(0):
        batches += [schemas.decode_batch(message.payload) for message in messages]
        if batches[-1].last_event_sequence >= last_event:
            break
    await broker.close()
    return batches


def victims_of(rounds: int) -> list[Victims]:
    rng = random.Random(SEED)
    return EACH_ONCE if rounds == len(EACH_ONCE) else [rng.choice(SOAK) for _ in range(rounds)]


@pytest.mark.timeout(7200)  # a RabbitMQ that starts takes many seconds of a slow machine
@pytest.mark.parametrize("rounds", [len(EACH_ONCE), pytest.param(40, marks=pytest.mark.soak)])
async def test_venue_and_broker_killed_under_load_keep_what_was_acknowledged_and_nothing_twice(
    rounds: int, tmp_path: Path, start_server: Callable[[type[PrivateServer]], PrivateServer]
) -> None:
    print(f"CRASH_SEED={SEED}")  # noqa: T201 (shown when the test fails)
    broker = await asyncio.to_thread(start_server, RabbitMQ)
    messaging = {"transport": "rabbitmq", "rabbitmq": {"url": f"amqp://127.0.0.1:{broker.port}/"}}
    with venue_processes(tmp_path, {**CONFIGURATION, "messaging": messaging}) as venue:
        venue.start_servers()
        venue.wait_ready()
        records = await run_under_load(venue, random.Random(SEED), rounds, killing(broker, victims_of(rounds)))
        replayed = await check_all_agrees(venue, records, rounds)
        batches = await published(broker.url, replayed.event_sequence)
    expected = 1
    for batch in batches:
        assert batch.first_event_sequence == expected, "an event twice, or one missing"
        expected = batch.last_event_sequence + 1
