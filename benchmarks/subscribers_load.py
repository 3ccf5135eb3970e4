"""Subscribers of market data, and one client that keeps it changing: what do they cost the server?

First the client alone is measured, then the same with everybody who follows. Options on standard input: port, tokens (one), symbols (one),
channels, subscribers, per_second (orders of the client), seconds, warm_up_s, pids.
"""

import asyncio
import base64
import json
import os
import sys
from functools import partial
from typing import Any, cast

import uvloop

from benchmarks.cpu import CpuMeter
from benchmarks.load_client import Pace
from benchmarks.websocket_load import FRAME_16, FRAME_64, Client, frame


class Subscriber(asyncio.Protocol):
    """Counts frames, and reads nothing of them."""

    def __init__(self, options: dict[str, Any]) -> None:
        self.frames = self.bytes = 0
        self._port: int = options["port"]
        requests = [
            {"op": "subscribe", "id": number, "channel": channel, "symbol": options["symbols"][0]}
            for number, channel in enumerate(options["channels"])
        ]
        self._requests = b"".join(frame(json.dumps(request).encode()) for request in requests)
        self._received = bytearray()
        self._is_open = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        key = base64.b64encode(os.urandom(16)).decode()
        self._transport.write(
            f"GET /v1/ws HTTP/1.1\r\nHost: 127.0.0.1:{self._port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )

    def data_received(self, data: bytes) -> None:
        self._received += data
        self.bytes += len(data)
        if not self._is_open:
            end = self._received.find(b"\r\n\r\n")
            if end < 0:
                return
            del self._received[: end + 4]
            self._is_open = True
            self._transport.write(self._requests)
        self._count_frames()

    def _count_frames(self) -> None:
        received, offset = self._received, 0
        while len(received) >= offset + 10 or (len(received) > offset + 1 and received[offset + 1] < FRAME_16):
            length, start = received[offset + 1], offset + 2
            if length == FRAME_16:
                length, start = int.from_bytes(received[start : start + 2], "big"), start + 2
            elif length == FRAME_64:
                length, start = int.from_bytes(received[start : start + 8], "big"), start + 8
            if len(received) < start + length:
                break
            self.frames += 1
            offset = start + length
        del received[:offset]


async def run(options: dict[str, Any]) -> dict[str, Any]:
    loop = asyncio.get_running_loop()
    results: dict[str, Any] = {"latencies_ns": [], "place": 0, "cancel": 0, "refused": 0}
    _, trader = await loop.create_connection(partial(Client, 0, options, results), "127.0.0.1", options["port"])
    await trader.opened
    pace = Pace()
    trader.start(pace)
    pace.start()
    alone = await measured(options)
    subscribers = [
        (await loop.create_connection(partial(Subscriber, options), "127.0.0.1", options["port"]))[1]
        for _ in range(options["subscribers"])
    ]
    followed = await measured(options, subscribers)
    trader.stop()
    await trader.closed
    return {"alone": alone, "followed": followed}


async def measured(options: dict[str, Any], subscribers: "list[Subscriber] | None" = None) -> dict[str, Any]:
    await asyncio.sleep(options["warm_up_s"])
    followers = subscribers or []
    before = sum(one.frames for one in followers), sum(one.bytes for one in followers)
    meter = CpuMeter(options["pids"])
    await asyncio.sleep(options["seconds"])
    cpu = meter.read()
    frames, size = sum(one.frames for one in followers) - before[0], sum(one.bytes for one in followers) - before[1]
    return {"cpu": cpu, "frames": frames, "bytes": size, "fewest": min((one.frames for one in followers), default=0)}


if __name__ == "__main__":
    json.dump(uvloop.run(run(json.load(sys.stdin))), sys.stdout)
