"""Clients of the FIX gateway, each a session of its own: it cancels every order that was reported, and places new ones as
`load_client` has it.

Messages are made and read by hand, so that the generator costs little beside what it measures. Options on standard input: as those of
`websocket_load`, with user names as tokens, and `password`.
"""

import asyncio
import json
import re
import sys
import time
from datetime import UTC, datetime
from typing import Any

import uvloop

from benchmarks.load_client import LoadClient, run

TRAILER = re.compile(rb"\x0110=[0-9]{3}\x01")
ORDER = re.compile(rb"\x01(?:11|41)=o[^\x01]*-([0-9]+)\x01")
"""The number of the order in its ClOrdID, or in the OrigClOrdID of its cancel."""
NEW, CANCELED = b"\x01150=0\x01", b"\x01150=4\x01"
CLOCK_STEP_S = 0.2
"""So old SendingTime may be."""


class FixClient(LoadClient):
    def __init__(self, number: int, options: dict[str, Any], results: dict[str, Any]) -> None:
        super().__init__(number, options, results)
        self._password: str = options["password"]
        self._comp_id = f"BENCH-{time.time_ns()}-{number}"
        self._symbol: str = options["symbols"][number % len(options["symbols"])]
        self._price = f"{100 + number % 50}.00"
        self._received = bytearray()
        self._next_number = 1
        self._now = b""
        self._now_until = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        logon = f"98=0\x01108=3600\x01553={self._token}\x01554={self._password}\x01"
        self._transport.write(self._message(b"A", logon.encode()))

    def data_received(self, data: bytes) -> None:
        received, offset, out = self._received, 0, []
        received += data
        while (end := TRAILER.search(received, offset)) is not None:
            out.append(self._answer(bytes(received[offset : end.end()])))
            offset = end.end()
        del received[:offset]
        self._transport.write(b"".join(out))
        self.close_if_done()

    def _answer(self, message: bytes) -> bytes:
        order = ORDER.search(message)
        if order is None:
            if b"\x0135=A\x01" not in message:
                raise RuntimeError(message[:500].decode())
            self.opened.set_result(None)
            return b""
        number = int(order[1])
        if NEW in message:
            self._took(number, "place")
            self._sent_ns[number] = time.perf_counter_ns()
            return self._cancel(number)
        if CANCELED not in message and not self._interval_ns:
            raise RuntimeError(message[:500].decode())
        if CANCELED in message:
            self._took(number, "cancel")
        else:
            self._results["refused"] += 1
        if self._is_stopping or self._interval_ns:
            self._in_flight -= 1
            return b""
        return self._place()

    def _took(self, number: int, what: str) -> None:
        latency_ns = time.perf_counter_ns() - self._sent_ns.pop(number)
        if what == "place" or not self._interval_ns:
            self._results["latencies_ns"].append(latency_ns)
        self._results[what] += 1

    def _place(self) -> bytes:
        self._last_id = number = self._last_id + 1
        self._sent_ns[number] = time.perf_counter_ns()
        terms = f"38=10\x0140=2\x0144={self._price}\x0159=1\x01"
        return self._message(b"D", f"11=o{self._comp_id}-{number}\x01{self._head()}{terms}".encode())

    def _cancel(self, number: int) -> bytes:
        names = f"11=c{self._comp_id}-{number}\x0141=o{self._comp_id}-{number}\x01"
        return self._message(b"F", f"{names}{self._head()}".encode())

    def _head(self) -> str:
        return f"55={self._symbol}\x0154=1\x0160={self._sending_time().decode()}\x01"

    def _message(self, kind: bytes, body: bytes) -> bytes:
        number, self._next_number = self._next_number, self._next_number + 1
        ends = b"49=%s\x0152=%s\x0156=VENUE\x01" % (self._comp_id.encode(), self._sending_time())
        content = b"35=%s\x0134=%d\x01" % (kind, number) + ends + body
        message = b"8=FIX.4.4\x019=%d\x01" % len(content) + content
        return message + b"10=%03d\x01" % (sum(message) & 0xFF)

    def _sending_time(self) -> bytes:
        now = time.monotonic()
        if now >= self._now_until:
            self._now_until = now + CLOCK_STEP_S
            self._now = datetime.now(UTC).strftime("%Y%m%d-%H:%M:%S.000").encode()
        return self._now


if __name__ == "__main__":
    json.dump(uvloop.run(run(json.load(sys.stdin), FixClient)), sys.stdout)
