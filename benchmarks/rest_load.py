"""Clients of the REST API, as light as Python can: one keep-alive connection each, request bytes prepared, answers read by hand.

Options on standard input: port, tokens (one per client), symbols, seconds, and `per_second` (orders a second of each client) or null for a
closed loop: place, wait for the answer, cancel, wait, again. A paced client places at its fixed times and never cancels. Where it is late
because the answer before came late, the time is counted from when the order was due.
"""

import asyncio
import json
import random
import sys
import time
from typing import Any, cast

import uvloop

from benchmarks.cpu import CpuMeter

SEED = 7
WARM_UP = 20
CONTENT_LENGTH = b"\r\ncontent-length: "
ORDER_ID = b'"order_id":"'


class Connection(asyncio.Protocol):
    """One request at a time."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._received = b""
        self._answer: asyncio.Future[tuple[int, bytes]] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(exc or ConnectionError("the server closed the connection"))

    def ask(self, request: bytes) -> "asyncio.Future[tuple[int, bytes]]":
        assert self._transport is not None
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return self._answer

    def data_received(self, data: bytes) -> None:
        received = self._received + data if self._received else data
        end = received.find(b"\r\n\r\n")
        start = received.lower().find(CONTENT_LENGTH, 0, end + 2) if end >= 0 else -1
        if start >= 0:
            start += len(CONTENT_LENGTH)
            length = int(received[start : received.index(b"\r", start)])
            if len(received) >= end + 4 + length:
                assert self._answer is not None
                self._received = b""
                self._answer.set_result((int(received[9:12]), received[end + 4 :]))
                return
        self._received = received


class Client:
    def __init__(self, number: int, options: dict[str, Any], results: dict[str, Any]) -> None:
        self._number = number
        self._port: int = options["port"]
        self._seconds: float = options["seconds"]
        self._per_second: float | None = options["per_second"]
        self._results = results
        self._head = f"Host: 127.0.0.1:{self._port}\r\nAuthorization: Bearer {options['tokens'][number]}\r\n".encode()
        symbols = options["symbols"]
        price = 100 + number % 50
        self._place = self._request(
            "POST",
            "/v1/orders",
            json.dumps(
                {
                    "symbol": symbols[number % len(symbols)],
                    "side": "buy",
                    "type": "limit",
                    "quantity": "10",
                    "price": f"{price}.00",
                    "time_in_force": "gtc",
                }
            ).encode(),
        )

    def _request(self, method: str, path: str, body: bytes = b"") -> bytes:
        content = b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
        return f"{method} {path} HTTP/1.1\r\n".encode() + self._head + (content if body else b"\r\n")

    async def run(self, ready: asyncio.Barrier) -> None:
        _, self._connection = await asyncio.get_running_loop().create_connection(Connection, "127.0.0.1", self._port)
        for _ in range(WARM_UP):
            await self._place_and_cancel([], [])
        await ready.wait()
        if self._per_second is None:
            end = time.perf_counter() + self._seconds
            while time.perf_counter() < end:
                await self._place_and_cancel(self._results["place_ns"], self._results["cancel_ns"])
        else:
            await self._paced(self._per_second)
        await self._timed(self._request("DELETE", "/v1/orders"), 0, [], 200)

    async def _place_and_cancel(self, place_ns: list[int], cancel_ns: list[int]) -> None:
        body = await self._timed(self._place, 0, place_ns, 201)
        start = body.index(ORDER_ID) + len(ORDER_ID)
        order_id = body[start : body.index(b'"', start)].decode()
        await self._timed(self._request("DELETE", f"/v1/orders/{order_id}"), 0, cancel_ns, 200)

    async def _paced(self, per_second: float) -> None:
        interval_ns = round(1e9 / per_second)
        due_ns = time.perf_counter_ns() + random.Random(SEED + self._number).randrange(interval_ns)
        end_ns = due_ns + round(self._seconds * 1e9)
        while due_ns < end_ns:
            late_ns = time.perf_counter_ns() - due_ns
            if late_ns < 0:
                await asyncio.sleep(-late_ns / 1e9)
                late_ns = 0
            await self._timed(self._place, late_ns, self._results["place_ns"], 201)
            due_ns += interval_ns

    async def _timed(self, request: bytes, late_ns: int, latencies_ns: list[int], expected_status: int) -> bytes:
        started = time.perf_counter_ns()
        status, body = await self._connection.ask(request)
        latencies_ns.append(time.perf_counter_ns() - started + late_ns)
        if status != expected_status:
            raise RuntimeError(f"status {status}, not {expected_status}: {body[:500]!r}")
        return body


async def run(options: dict[str, Any]) -> dict[str, Any]:
    results: dict[str, Any] = {"place_ns": [], "cancel_ns": []}
    count = len(options["tokens"])
    ready = asyncio.Barrier(count + 1)
    tasks = [asyncio.create_task(Client(number, options, results).run(ready)) for number in range(count)]
    opening = asyncio.create_task(ready.wait())
    done, _ = await asyncio.wait({opening, *tasks}, return_when=asyncio.FIRST_COMPLETED)
    for task in done:
        task.result()  # a client that failed before the start
    meter = CpuMeter(options["pids"])
    await asyncio.gather(*tasks)
    return {**results, "cpu": meter.read()}


if __name__ == "__main__":
    json.dump(uvloop.run(run(json.load(sys.stdin))), sys.stdout)
