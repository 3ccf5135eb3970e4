"""The order book server as a process that is killed, and those who use it over all of its lives."""

import asyncio
import random
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import yaml

from support.order_book_server import connect, journaled, replayed, require_dense
from trading_engine.messaging import schemas
from trading_engine.messaging.broker import BrokerUnavailable, MessageBroker
from trading_engine.messaging.transports import broker_for
from trading_engine.shared.config import Config
from trading_engine.venue.commands import (
    AnyCommand,
    CancelOrder,
    MassCancel,
    PlaceOrder,
    ReplaceOrder,
    SubmittedCommand,
)
from trading_engine.venue.events import EventBatch
from trading_engine.venue.terms import OrderType, Side, TimeInForce

ACCOUNTS = 5
UNDER_WAY = 40


class Process:
    """The order book server as a process of its own."""

    def __init__(self, config: Config, folder: Path, name: str = "obs", *options: str) -> None:
        self._config_path = folder / f"{name}.yaml"
        self._config_path.write_text(yaml.safe_dump(msgspec.to_builtins(config)))
        self._log_path = folder / f"{name}.log"
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None
        self._log_begins = 0

    def start(self) -> None:
        command = [
            sys.executable,
            "-m",
            "trading_engine",
            "-s",
            "OBS",
            *self._options,
            "--config",
            str(self._config_path),
        ]
        with self._log_path.open("ab") as log:
            self._log_begins = log.tell()
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def kill(self) -> None:
        assert self._process is not None
        assert self._process.poll() is None, f"it ended by itself:\n{self.log}"
        self._process.kill()
        self._process.wait()

    def stop(self) -> int:
        assert self._process is not None
        self._process.terminate()
        return self._process.wait(60)

    def signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def wait(self) -> int:
        assert self._process is not None
        return self._process.wait(60)

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def close(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    @property
    def log_of_this_life(self) -> str:
        return self._log_path.read_bytes()[self._log_begins :].decode(errors="replace")

    @property
    def log(self) -> str:
        return self._log_path.read_text(errors="replace")[-4_000:]


class Producer:
    """Sends numbered commands, many at a time. What command a number is follows from the seed alone."""

    def __init__(self, name: str, seed: int) -> None:
        self.name = name
        self.seed = seed
        self.acknowledged = 0
        """All up to this number. Acknowledgements come in order, or the test would not know what to send again."""

    async def send(self, broker: MessageBroker) -> None:
        """From the first number that was not acknowledged on, until the connection is lost."""
        publisher = broker.publisher(schemas.command_queue(0))
        slots = asyncio.Semaphore(UNDER_WAY)
        is_lost = asyncio.Event()

        async def send_one(number: int) -> None:
            try:
                await publisher.publish(schemas.encode(SubmittedCommand(self.name, number, self.command(number))))
            except BrokerUnavailable:
                is_lost.set()
            else:
                assert number == self.acknowledged + 1
                self.acknowledged = number
            finally:
                slots.release()

        number = self.acknowledged
        async with asyncio.TaskGroup() as group:
            while not is_lost.is_set():
                await slots.acquire()
                number += 1
                group.create_task(send_one(number))

    def command(self, number: int) -> AnyCommand:
        rng = random.Random(f"{self.seed}/{self.name}/{number}")
        account_id = rng.randint(1, ACCOUNTS)
        client_order_id = f"{self.name}-{number - rng.randint(1, 20)}"
        match rng.random():
            case share if share < 0.15:
                return CancelOrder(account_id, client_order_id=client_order_id)
            case share if share < 0.25:
                return ReplaceOrder(account_id, 0, client_order_id, rng.randint(1, 50), rng.randint(9_980, 10_020))
            case share if share < 0.26:
                return MassCancel(account_id)
        return PlaceOrder(
            account_id,
            f"{self.name}-{number}",
            1,
            rng.choice((Side.BUY, Side.SELL)),
            OrderType.LIMIT,
            rng.choice((TimeInForce.GTC, TimeInForce.DAY, TimeInForce.IOC)),
            rng.randint(1, 50),
            rng.randint(9_980, 10_020),
        )


class Reader:
    """Follows the event stream over all lives of the server."""

    def __init__(self) -> None:
        self.batches: list[EventBatch] = []

    @property
    def position(self) -> int:
        return self.batches[-1].last_event_sequence if self.batches else 0

    async def follow(self, broker: MessageBroker) -> None:
        """Until the connection is lost."""
        try:
            async for messages in broker.stream_consumer(schemas.event_stream(0)).messages(self.position):
                for message in messages:
                    batch = schemas.decode_batch(message.payload)
                    assert batch.first_event_sequence == self.position + 1, "an event twice, or one missing"
                    self.batches.append(batch)
        except BrokerUnavailable:
            return


@asynccontextmanager
async def connected(config: Config) -> AsyncIterator[MessageBroker]:
    broker = broker_for(config)
    await connect(broker)
    try:
        yield broker
    finally:
        await broker.close()


async def settle(config: Config, reader: Reader) -> schemas.VenueStatus:
    """Read to the end of the stream, and ask for the hash of the state."""
    async with connected(config) as broker:
        query = schemas.encode(schemas.VenueQuery(state_hash=True))
        status = schemas.decode_status(await broker.call(schemas.venue_calls(0), query, timeout_s=30.0))
        following = asyncio.create_task(reader.follow(broker))
        while reader.position < status.event_sequence:  # noqa: ASYNC110 (the reader has no event for it)
            await asyncio.sleep(0.01)
        following.cancel()
    return status


def require_exactly_once(config: Config, producers: list[Producer], reader: Reader, state_hash: str) -> None:
    venue, batches = replayed(config.data_path)
    require_dense(reader.batches)
    assert reader.batches == batches
    assert venue.state_hash() == state_hash
    in_journal = {(command.producer, command.producer_sequence) for command in journaled(config.data_path)}
    in_effect = Counter((batch.producer, batch.producer_sequence) for batch in batches)
    assert set(in_effect.values()) == {1}
    for producer in producers:
        for number in range(1, producer.acknowledged + 1):
            assert (producer.name, number) in in_journal
            assert in_effect[producer.name, number] == 1
