"""What generators of load have in common: a client keeps a window of orders under way, or places orders at fixed times (`per_second` of
each), and then latencies are of these alone, counted from when each was due.
"""

import asyncio
import random
import time
from abc import ABC, abstractmethod
from functools import partial
from heapq import heappop, heappush
from typing import Any, cast

from benchmarks.cpu import CpuMeter

TICK_S = 0.001


class LoadClient(asyncio.Protocol, ABC):
    """One connection. What comes on it is its subclass's to read, to count in the results, and to answer."""

    def __init__(self, number: int, options: dict[str, Any], results: dict[str, Any]) -> None:
        loop = asyncio.get_running_loop()
        self.opened: asyncio.Future[None] = loop.create_future()
        self.closed: asyncio.Future[None] = loop.create_future()
        self._results = results
        self._window: int = options.get("window", 0)
        self._interval_ns = round(1e9 / options["per_second"]) if options.get("per_second") else 0
        self._token: str = options["tokens"][number]
        self._is_stopping = False
        self._in_flight = 0
        self._last_id = 0
        """Of what was sent last."""
        self._sent_ns: dict[int, int] = {}

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        error = exc or ConnectionError("the server closed the connection")
        for waiting in (self.opened, self.closed):
            if not waiting.done():
                waiting.set_exception(error)

    def start(self, pace: "Pace") -> None:
        if self._interval_ns:
            pace.wake(self, time.perf_counter_ns() + random.Random(self._token).randrange(self._interval_ns))
            return
        self._in_flight = self._window
        self._transport.write(b"".join(self._place() for _ in range(self._window)))

    def place_due(self, due_ns: int) -> int | None:
        """Send what was due then. Returns when the next is, None for never."""
        if self._is_stopping:
            return None
        self._in_flight += 1
        self._transport.write(self._place())
        self._sent_ns[self._last_id] = due_ns
        return due_ns + self._interval_ns

    def stop(self) -> None:
        """Send nothing new; `closed` is done when the last answer is there."""
        self._is_stopping = True
        self.close_if_done()

    def close_if_done(self) -> None:
        if self._is_stopping and self._in_flight == 0 and not self.closed.done():
            self.closed.set_result(None)

    @abstractmethod
    def _place(self) -> bytes:
        """One more order, of which `_last_id` and `_sent_ns` know."""


class Pace:
    """Wakes those whose time has come: one timer for all of them, as fine as the event loop's are."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._waiting: list[tuple[int, int, LoadClient]] = []

    def wake(self, client: LoadClient, due_ns: int) -> None:
        heappush(self._waiting, (due_ns, id(client), client))

    def start(self) -> None:
        while self._waiting and self._waiting[0][0] <= time.perf_counter_ns():
            due_ns, _, client = heappop(self._waiting)
            next_ns = client.place_due(due_ns)
            if next_ns is not None:
                self.wake(client, next_ns)
        if self._waiting:
            self._loop.call_later(TICK_S, self.start)


async def run(options: dict[str, Any], client_type: type[LoadClient]) -> dict[str, Any]:
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
    pace = Pace()
    for client in clients:
        client.start(pace)
    pace.start()
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
