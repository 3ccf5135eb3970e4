"""A gateway's share of the work, over any transport: numbered orders out, event batches in, and the time between an order and its outcome.

Orders come in pairs that trade with each other, so the book stays empty. Where a rate is asked for, an order counts from when it was due,
so one that is late because the ones before it were late counts as such; otherwise so many are under way all the time.

Options on standard input: config, seconds, per_second or under_way, first_account, pids. Result on standard output.
"""

import asyncio
import json
import sys
import time
from pathlib import Path
from typing import Any

import uvloop

from benchmarks.cpu import CpuMeter
from trading_engine.messaging.broker import BrokerUnavailable, MessageBroker
from trading_engine.messaging.schemas import (
    VenueQuery,
    command_queue,
    decode_batch,
    decode_status,
    encode,
    event_stream,
    venue_calls,
)
from trading_engine.messaging.transports import broker_for
from trading_engine.shared.config import load_config
from trading_engine.venue.commands import AnyCommand, OpenAccount, PlaceOrder, SubmittedCommand
from trading_engine.venue.terms import OrderType, Side, TimeInForce

CASH = 10**15
LOTS = 10**9
PRICE_TICKS = 20_000
WARM_UP_S = 1.0
TICK_S = 0.001
CONNECT_TIMEOUT_S = 120.0


class Load:
    def __init__(self, broker: MessageBroker, first_account: int) -> None:
        self._broker = broker
        self._publisher = broker.publisher(command_queue(0))
        self._producer = f"bench-{first_account}"
        self._accounts = (first_account, first_account + 1)
        self._number = 0
        self._started: dict[int, int] = {}
        self._publishing: set[asyncio.Task[None]] = set()
        self._came = asyncio.Event()
        self.latencies: list[int] = []

    async def follow(self, after: int) -> None:
        async for messages in self._broker.stream_consumer(event_stream(0)).messages(after):
            now = time.perf_counter_ns()
            for message in messages:
                batch = decode_batch(message.payload)
                if batch.producer == self._producer:
                    self.latencies.append(now - self._started.pop(batch.producer_sequence))
            self._came.set()

    def send(self, command: AnyCommand, due_ns: int) -> None:
        self._number += 1
        self._started[self._number] = due_ns
        payload = encode(SubmittedCommand(self._producer, self._number, command))
        task = asyncio.create_task(self._publisher.publish(payload))
        self._publishing.add(task)
        task.add_done_callback(self._publishing.discard)

    def send_order(self, due_ns: int) -> None:
        is_buy = self._number % 2 == 0
        account, side = (self._accounts[0], Side.BUY) if is_buy else (self._accounts[1], Side.SELL)
        self.send(PlaceOrder(account, "", 1, side, OrderType.LIMIT, TimeInForce.GTC, 1, PRICE_TICKS), due_ns)

    async def open_accounts(self) -> None:
        for account in self._accounts:
            self.send(OpenAccount(account, (("USD", CASH),), ((1, LOTS),)), time.perf_counter_ns())
        await self.until_under_way(0)

    async def keep_under_way(self, count: int, seconds: float) -> None:
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            now = time.perf_counter_ns()
            for _ in range(count - len(self._started)):
                self.send_order(now)
            await self.until_under_way(count - 1)

    async def keep_pace(self, per_second: float, seconds: float) -> None:
        begun = time.perf_counter_ns()
        sent = 0
        while sent < per_second * seconds:
            due = int((time.perf_counter_ns() - begun) * per_second / 1e9) + 1
            for number in range(sent, due):
                self.send_order(begun + int(number * 1e9 / per_second))
            sent = max(sent, due)
            await asyncio.sleep(TICK_S)

    async def until_under_way(self, count_max: int) -> None:
        while len(self._started) > count_max:
            self._came.clear()
            await self._came.wait()


async def connected(config_path: Path) -> tuple[MessageBroker, int]:
    """A broker, and where the event stream is now, once the order book server answers."""
    broker = broker_for(load_config(config_path))
    async with asyncio.timeout(CONNECT_TIMEOUT_S):
        while True:
            try:
                await broker.connect()
                answer = await broker.call(venue_calls(0), encode(VenueQuery()))
                return broker, decode_status(answer).event_sequence
            except BrokerUnavailable:
                await asyncio.sleep(0.1)


async def run(options: dict[str, Any]) -> dict[str, object]:
    broker, position = await connected(Path(options["config"]))
    load = Load(broker, int(options["first_account"]))
    following = asyncio.create_task(load.follow(position))
    await load.open_accounts()

    async def generate(seconds: float) -> None:
        if options.get("per_second"):
            await load.keep_pace(float(options["per_second"]), seconds)
        else:
            await load.keep_under_way(int(options["under_way"]), seconds)
        await load.until_under_way(0)

    await generate(WARM_UP_S)
    load.latencies.clear()
    meter = CpuMeter(options["pids"])
    await generate(float(options["seconds"]))
    cpu = meter.read()
    following.cancel()
    await broker.close()
    return {"latencies_ns": load.latencies, "cpu": cpu}


if __name__ == "__main__":
    json.dump(uvloop.run(run(json.load(sys.stdin))), sys.stdout)
