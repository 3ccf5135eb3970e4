"""Clients of the WebSocket: each cancels every order that was acknowledged, and places new ones as `load_client` has it. Or each order is
immediate or cancel, finds nobody, and there is nothing left to cancel.

Frames are made and read by hand (a mask of zeros leaves a payload as it is), so that the generator costs little beside what it measures.
Options on standard input: port, tokens (one per client), symbols, seconds, window or per_second, immediate.
"""

import asyncio
import base64
import json
import os
import sys
import time
from typing import Any

import msgspec
import uvloop

from benchmarks.load_client import LoadClient, run

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


class Client(LoadClient):
    def __init__(self, number: int, options: dict[str, Any], results: dict[str, Any]) -> None:
        super().__init__(number, options, results)
        self._port: int = options["port"]
        self._is_immediate: bool = options.get("immediate", False)
        order = {
            "op": "place",
            "id": 0,
            "symbol": options["symbols"][number % len(options["symbols"])],
            "side": "buy",
            "type": "limit",
            "quantity": "10",
            "price": f"{100 + number % 50}.00",
            "time_in_force": "ioc" if self._is_immediate else "gtc",
        }
        self._place_head, self._place_tail = json.dumps(order).encode().split(b'"id": 0')
        self._received = bytearray()
        self._is_open = False
        self._canceling: dict[int, bytes] = {}
        """Order ids, of cancels at a fixed pace: one that is refused is sent again, or open orders would pile up to the venue's limit."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        key = base64.b64encode(os.urandom(16)).decode()
        self._transport.write(
            f"GET /v1/ws HTTP/1.1\r\nHost: 127.0.0.1:{self._port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )

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
        self.close_if_done()

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
        if answer.op == "place" and not self._is_immediate:
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


if __name__ == "__main__":
    json.dump(uvloop.run(run(json.load(sys.stdin), Client)), sys.stdout)
