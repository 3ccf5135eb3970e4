"""Clients of the order book server's socket: each has a connection and a producer name of its own and publishes, waits, publishes.

Options on standard input: socket, clients, seconds, first_account. Result on standard output.
"""

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import uvloop

from benchmarks.cpu import CpuMeter
from trading_engine.messaging.schemas import command_queue, encode
from trading_engine.messaging.transports.embedded import EmbeddedBroker
from trading_engine.venue.commands import AnyCommand, CancelOrder, OpenAccount, PlaceOrder, SubmittedCommand
from trading_engine.venue.terms import OrderType, Side, TimeInForce

WARM_UP = 50
CASH = 10**12

Publish = Callable[[AnyCommand], Awaitable[None]]


async def client(socket: Path, account_id: int, seconds: float, ready: asyncio.Barrier) -> list[int]:
    broker = EmbeddedBroker(socket)
    await broker.connect()
    publisher = broker.publisher(command_queue(0))
    producer = f"bench-{account_id}"
    latencies: list[int] = []
    sequence = 0

    async def publish(command: AnyCommand) -> None:
        nonlocal sequence
        sequence += 1
        payload = encode(SubmittedCommand(producer, sequence, command))
        started = time.perf_counter_ns()
        await publisher.publish(payload)
        latencies.append(time.perf_counter_ns() - started)

    await publish(OpenAccount(account_id, (("USD", CASH),)))
    for number in range(WARM_UP):
        await place_and_cancel(publish, account_id, f"w{number}")
    await ready.wait()
    latencies.clear()
    end = time.perf_counter() + seconds
    number = 0
    while time.perf_counter() < end:
        number += 1
        await place_and_cancel(publish, account_id, f"o{number}")
    await broker.close()
    return latencies


async def place_and_cancel(publish: Publish, account_id: int, name: str) -> None:
    await publish(
        PlaceOrder(
            account_id, name, 1 + account_id % 5, Side.BUY, OrderType.LIMIT, TimeInForce.GTC, 10, 100 + account_id
        )
    )
    await publish(CancelOrder(account_id, 0, name))


async def run(options: dict[str, Any]) -> dict[str, object]:
    count = int(options["clients"])
    ready = asyncio.Barrier(count + 1)
    first = int(options["first_account"])
    socket, seconds = Path(str(options["socket"])), float(options["seconds"])
    tasks = [asyncio.create_task(client(socket, first + number, seconds, ready)) for number in range(count)]
    await ready.wait()
    meter = CpuMeter(options["pids"])
    latencies = [latency for result in await asyncio.gather(*tasks) for latency in result]
    return {"latencies_ns": latencies, "cpu": meter.read()}


if __name__ == "__main__":
    json.dump(uvloop.run(run(json.load(sys.stdin))), sys.stdout)
