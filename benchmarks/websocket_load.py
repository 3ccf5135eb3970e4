"""Clients of the WebSocket: each keeps a window of requests under way, canceling every order that was acknowledged and placing a new one;
or places orders at fixed times (`per_second` of each), and then latencies are of these alone, counted from when each was due.

Frames are made and read by hand (a mask of zeros leaves a payload as it is), so that the generator costs little beside what it measures.
Options on standard input: port, tokens (one per client), symbols, seconds, window or per_second.
"""

import asyncio
import base64
import json
import os
import random
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol, cast

import msgspec
import uvloop

from benchmarks.cpu import CpuMeter

MASKED = 0x80
TEXT = 0x81
PONG = 0x8A
NO_MASK = bytes(4)
FRAME_16 = 126
FRAME_64 = 127
OPCODE_PING, OPCODE_CLOSE = 0x9, 0x8
CANCEL_AGAIN_S = 0.5


class Result(msgspec.Struct):
    order_id: str = ""


class Error(msgspec.Struct, frozen=True):
    code: str = ""


class Answer(msgspec.Struct):
    type: str
    id: int | None = None
    op: str = ""
    result: Result | None = None
    error: Error = Error()


decode_answer = msgspec.json.Decoder(Answer).decode


def frame(payload: bytes) -> bytes:
    length = len(payload)
    if length < FRAME_16:
        return bytes((TEXT, MASKED | length)) + NO_MASK + payload
    return bytes((TEXT, MASKED | FRAME_16)) + length.to_bytes(2, "big") + NO_MASK + payload


def pong(payload: bytes) -> bytes:
    return bytes((PONG, MASKED | len(payload))) + NO_MASK + payload


class Client(asyncio.Protocol):
    def __init__(self, number: int, options: dict[str, Any], results: dict[str, Any]) -> None:
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._results = results
        self._window: int = options.get("window", 0)
        self._interval_ns = round(1e9 / options["per_second"]) if options.get("per_second") else 0
        self._due_ns = 0
        self._token: str = options["tokens"][number]
        self._port: int = options["port"]
        order = {
            "op": "place",
            "id": 0,
            "symbol": options["symbols"][number % len(options["symbols"])],
            "side": "buy",
            "type": "limit",
            "quantity": "10",
            "price": f"{100 + number % 50}.00",
            "time_in_force": "gtc",
        }
        self._place_head, self._place_tail = json.dumps(order).encode().split(b'"id": 0')
        self._received = bytearray()
        self._is_open = False
        self._is_stopping = False
        self._in_flight = 0
        self._last_id = 0
        self._sent_ns: dict[int, int] = {}
        self._canceling: dict[int, bytes] = {}
        """Order ids, of cancels at a fixed pace: one that is refused is sent again, or open orders would pile up to the venue's limit."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        key = base64.b64encode(os.urandom(16)).decode()
        self._transport.write(
            f"GET /v1/ws HTTP/1.1\r\nHost: 127.0.0.1:{self._port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )

    def connection_lost(self, exc: Exception | None) -> None:
        error = exc or ConnectionError("the server closed the connection")
        for waiting in (self.opened, self.closed):
            if not waiting.done():
                waiting.set_exception(error)

    def start(self) -> None:
        if self._interval_ns:
            self._due_ns = time.perf_counter_ns() + random.Random(self._token).randrange(self._interval_ns)
            self._keep_pace()
            return
        self._in_flight = self._window
        self._transport.write(b"".join(self._place() for _ in range(self._window)))

    def _keep_pace(self) -> None:
        """Send what is due, and come back for the next."""
        if self._is_stopping:
            return
        while self._due_ns <= time.perf_counter_ns():
            self._in_flight += 1
            self._transport.write(self._place())
            self._sent_ns[self._last_id] = self._due_ns
            self._due_ns += self._interval_ns
        asyncio.get_running_loop().call_later((self._due_ns - time.perf_counter_ns()) / 1e9, self._keep_pace)

    def stop(self) -> None:
        """Send nothing new; `closed` is done when the last answer is there."""
        self._is_stopping = True

    def data_received(self, data: bytes) -> None:
        self._received += data
        if not self._is_open and not self._opened():
            return
        out = []
        offset, received = 0, self._received
        while (found := self._frame_at(offset)) is not None:
            start, end, opcode = found
            if opcode == OPCODE_CLOSE:
                raise RuntimeError(f"closed by the server: {bytes(received[start:end])!r}")
            payload = bytes(received[start:end])
            out.append(pong(payload) if opcode == OPCODE_PING else self._answer(payload))
            offset = end
        del received[:offset]
        if out:
            self._transport.write(b"".join(out))
        if self._is_stopping and self._in_flight == 0 and not self.closed.done():
            self.closed.set_result(None)

    def _opened(self) -> bool:
        end = self._received.find(b"\r\n\r\n")
        if end < 0:
            return False
        if not self._received.startswith(b"HTTP/1.1 101"):
            raise RuntimeError(f"no WebSocket: {bytes(self._received[:200])!r}")
        del self._received[: end + 4]
        self._is_open = True
        self._transport.write(frame(json.dumps({"op": "auth", "token": self._token, "id": 0}).encode()))
        return True

    def _frame_at(self, offset: int) -> tuple[int, int, int] | None:
        """(payload start, end, opcode) of the frame at `offset`, None while it is not whole."""
        received = self._received
        if len(received) < offset + 2:
            return None
        length = received[offset + 1]
        start = offset + 2
        if length == FRAME_16:
            length, start = int.from_bytes(received[start : start + 2], "big"), start + 2
        elif length == FRAME_64:
            length, start = int.from_bytes(received[start : start + 8], "big"), start + 8
        end = start + length
        return (start, end, received[offset] & 0xF) if len(received) >= end else None

    def _answer(self, payload: bytes) -> bytes:
        answer = decode_answer(payload)
        if answer.type != "ack":
            return self._not_acknowledged(answer, payload)
        if answer.op == "auth":
            self.opened.set_result(None)
            return b""
        assert answer.id is not None
        latency_ns = time.perf_counter_ns() - self._sent_ns.pop(answer.id)
        if answer.op == "place" or not self._interval_ns:
            self._results["latencies_ns"].append(latency_ns)
        self._results[answer.op] += 1
        if answer.op == "place":
            assert answer.result is not None
            return self._cancel(answer.result.order_id.encode())
        self._canceling.pop(answer.id, None)
        if self._is_stopping or self._interval_ns:
            self._in_flight -= 1
            return b""
        return self._place()

    def _not_acknowledged(self, answer: Answer, payload: bytes) -> bytes:
        """What is refused under a load that is too high is counted; without a pace there is no such load."""
        if answer.type == "error":
            if not self._interval_ns or answer.id is None:
                raise RuntimeError(payload[:500].decode())
            del self._sent_ns[answer.id]
            self._results["refused"] += 1
            order_id = self._canceling.pop(answer.id, None)
            if order_id is None or answer.error.code == "UNKNOWN_ORDER":  # It took effect when its outcome was unknown.
                self._in_flight -= 1
            else:
                asyncio.get_running_loop().call_later(
                    CANCEL_AGAIN_S, lambda: self._transport.write(self._cancel(order_id))
                )
        return b""

    def _place(self) -> bytes:
        number = self._next_id()
        return frame(self._place_head + b'"id": %d' % number + self._place_tail)

    def _cancel(self, order_id: bytes) -> bytes:
        number = self._next_id()
        if self._interval_ns:
            self._canceling[number] = order_id
        return frame(b'{"op":"cancel","order_id":"%s","id":%d}' % (order_id, number))

    def _next_id(self) -> int:
        self._last_id += 1
        self._sent_ns[self._last_id] = time.perf_counter_ns()
        return self._last_id


class LoadClient(Protocol):
    opened: "asyncio.Future[None]"
    closed: "asyncio.Future[None]"

    def start(self) -> None: ...

    def stop(self) -> None: ...


async def run(options: dict[str, Any], client_type: Callable[..., Any] = Client) -> dict[str, Any]:
    """What clients of this type, one for each token, had done in the time that is measured."""
    loop = asyncio.get_running_loop()
    failed: asyncio.Future[None] = loop.create_future()

    def fail(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        if not failed.done():
            failed.set_exception(context.get("exception") or RuntimeError(context["message"]))

    loop.set_exception_handler(fail)
    results: dict[str, Any] = {"latencies_ns": [], "place": 0, "cancel": 0, "refused": 0}
    clients: list[LoadClient] = []
    for number in range(len(options["tokens"])):
        _, client = await loop.create_connection(
            partial(client_type, number, options, results), "127.0.0.1", options["port"]
        )
        clients.append(client)
    await first_of(failed, asyncio.gather(*(client.opened for client in clients)))
    for client in clients:
        client.start()
    await asyncio.wait([failed], timeout=options["warm_up_s"])
    results |= {"latencies_ns": [], "place": 0, "cancel": 0, "refused": 0}
    meter = CpuMeter(options["pids"])
    await asyncio.wait([failed], timeout=options["seconds"])
    measured = dict(results, cpu=meter.read())
    measured["latencies_ns"] = list(results["latencies_ns"])
    for client in clients:
        client.stop()
    await first_of(failed, asyncio.gather(*(client.closed for client in clients)))
    return measured


async def first_of(failed: "asyncio.Future[None]", done: "asyncio.Future[Any]") -> None:
    await asyncio.wait({failed, done}, return_when=asyncio.FIRST_COMPLETED)
    if failed.done():
        failed.result()
    await done


if __name__ == "__main__":
    json.dump(uvloop.run(run(json.load(sys.stdin))), sys.stdout)
