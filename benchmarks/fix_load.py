"""Clients of the FIX gateway: each is a session of its own, and keeps a window of orders under way, canceling every order that was
reported and placing a new one; or places orders at fixed times (`per_second` of each), and then latencies are of these alone, counted
from when each was due.

Messages are made and read by hand, so that the generator costs little beside what it measures. Options on standard input: as those of
`websocket_load`, with user names as tokens, and `password`.
"""

import asyncio
import json
import random
import re
import sys
import time
from datetime import UTC, datetime
from typing import Any, cast

import uvloop

from benchmarks.websocket_load import run

TRAILER = re.compile(rb"\x0110=[0-9]{3}\x01")
ORDER = re.compile(rb"\x01(?:11|41)=o[^\x01]*-([0-9]+)\x01")
"""The number of the order in its ClOrdID, or in the OrigClOrdID of its cancel."""
NEW, CANCELED = b"\x01150=0\x01", b"\x01150=4\x01"
CLOCK_STEP_S = 0.2
"""So old SendingTime may be."""


class FixClient(asyncio.Protocol):
    def __init__(self, number: int, options: dict[str, Any], results: dict[str, Any]) -> None:
        loop = asyncio.get_running_loop()
        self.opened: asyncio.Future[None] = loop.create_future()
        self.closed: asyncio.Future[None] = loop.create_future()
        self._results = results
        self._window: int = options.get("window", 0)
        self._interval_ns = round(1e9 / options["per_second"]) if options.get("per_second") else 0
        self._due_ns = 0
        self._username: str = options["tokens"][number]
        self._password: str = options["password"]
        self._comp_id = f"BENCH-{time.time_ns()}-{number}"
        self._symbol: str = options["symbols"][number % len(options["symbols"])]
        self._price = f"{100 + number % 50}.00"
        self._received = bytearray()
        self._next_number = 1
        self._now = b""
        self._now_until = 0.0
        self._is_stopping = False
        self._in_flight = 0
        self._last_order = 0
        self._sent_ns: dict[int, int] = {}

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        logon = f"98=0\x01108=3600\x01553={self._username}\x01554={self._password}\x01"
        self._transport.write(self._message(b"A", logon.encode()))

    def connection_lost(self, exc: Exception | None) -> None:
        error = exc or ConnectionError(f"the gateway closed the connection: {bytes(self._received[-500:])!r}")
        for waiting in (self.opened, self.closed):
            if not waiting.done():
                waiting.set_exception(error)

    def start(self) -> None:
        if self._interval_ns:
            self._due_ns = time.perf_counter_ns() + random.Random(self._username).randrange(self._interval_ns)
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
            self._sent_ns[self._last_order] = self._due_ns
            self._due_ns += self._interval_ns
        asyncio.get_running_loop().call_later((self._due_ns - time.perf_counter_ns()) / 1e9, self._keep_pace)

    def stop(self) -> None:
        """Send nothing new; `closed` is done when the last order is canceled."""
        self._is_stopping = True

    def data_received(self, data: bytes) -> None:
        received, offset, out = self._received, 0, []
        received += data
        while (end := TRAILER.search(received, offset)) is not None:
            out.append(self._answer(bytes(received[offset : end.end()])))
            offset = end.end()
        del received[:offset]
        self._transport.write(b"".join(out))
        if self._is_stopping and self._in_flight == 0 and not self.closed.done():
            self.closed.set_result(None)

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
        self._last_order = number = self._last_order + 1
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
