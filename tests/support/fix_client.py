"""A FIX client for tests: it speaks the wire, keeps its numbers, and shows every message that it is sent."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Self

from msgspec.structs import replace

from support.tes_venue import DEADLINE_S, PASSWORD, Venue, eventually
from trading_engine.servers.fix.clock import Clock, utc_timestamp
from trading_engine.servers.fix.dictionary import HEADER
from trading_engine.servers.fix.server import FixServer
from trading_engine.servers.fix.store import STORE, SessionStore
from trading_engine.servers.fix.wire import Framer, Message, body_of, decode, frame_of
from trading_engine.shared.addresses import listening_socket
from trading_engine.shared.config import Config, FixConfig

CLOCK = Clock()


class FixGateway:
    """A gateway in the test's process in front of a running venue, to be stopped and started again."""

    def __init__(self, venue: Venue, **fix: object) -> None:
        self._venue = venue
        fix.setdefault("api_url", venue.tes.url)
        self.config: Config = replace(venue.config, fix=FixConfig(port=0, **fix))  # type: ignore[arg-type]
        self.clock = CLOCK
        """Of its clients too; a test may put another one here before it starts."""
        self._stop = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.server: FixServer
        self.store: SessionStore
        self.port = 0

    async def start(self) -> Self:
        listener = listening_socket("127.0.0.1", self.port)
        self.port = listener.getsockname()[1]
        self.store = SessionStore(self.config.data_path / STORE, self.config.fix.messages_kept)
        self.server = FixServer(self.config, self.store, self.clock)
        self._stop = asyncio.Event()
        self._task = asyncio.create_task(self.server.serve(listener, self._stop))
        await asyncio.sleep(0)
        return self

    async def stop(self) -> None:
        assert self._task is not None
        self._stop.set()
        await self._task
        self.store.close()

    async def outcome(self) -> BaseException | None:
        """What it failed with."""
        assert self._task is not None
        await asyncio.wait([self._task])
        return self._task.exception()

    @asynccontextmanager
    async def client(self, name: str = "ann", **options: Any) -> AsyncIterator["FixClient"]:
        client = FixClient(self.port, name, clock=self.clock, **options)
        try:
            yield client
        finally:
            client.drop()


@asynccontextmanager
async def fix_gateway(venue: Venue, **fix: object) -> AsyncIterator[FixGateway]:
    gateway = await FixGateway(venue, **fix).start()
    try:
        yield gateway
    finally:
        await gateway.stop()


class FixClient:
    """One initiator; its numbers outlive its connections."""

    def __init__(
        self,
        port: int,
        username: str,
        password: str = PASSWORD,
        *,
        begin_string: str = "FIX.4.4",
        comp_id: str = "",
        target: str = "VENUE",
        address: str = "127.0.0.1",
        tls: ssl.SSLContext | None = None,
        clock: Clock = CLOCK,
    ) -> None:
        self._clock = clock
        self._port = port
        self._username = username
        self._password = password
        self._begin_string = begin_string
        self._comp_id = comp_id or username.upper()
        self._target = target
        self._address = address
        self._tls = tls
        self.next_out = 1
        self.next_in = 1
        """The first number that has not come."""
        self._received: set[int] = set()
        self.seen: list[Message] = []
        """Messages that came and were not asked for yet."""
        self.sent: dict[int, tuple[str, tuple[tuple[int, str], ...]]] = {}
        self._framer = Framer(1 << 20)
        self._reader: asyncio.StreamReader
        self._writer: asyncio.StreamWriter | None = None

    def use_port(self, port: int) -> None:
        """Where the gateway is from now on."""
        self._port = port

    async def connect(self) -> None:
        self._framer = Framer(1 << 20)
        self._reader, self._writer = await asyncio.open_connection(
            "127.0.0.1", self._port, local_addr=(self._address, 0), ssl=self._tls
        )

    async def log_on(self, *more: tuple[int, str], heartbeat_s: int = 30) -> Message:
        """Connect and log on; the answer."""
        await self.connect()
        self.send("A", (98, "0"), (108, str(heartbeat_s)), (553, self._username), (554, self._password), *more)
        return await self.next("A", "5")

    async def log_on_again(self) -> None:
        """After a connection that was lost, which the gateway may not have noticed yet."""

        async def is_let_in() -> bool:
            answer = await self.log_on()
            if answer.msg_type == "5":
                self.next_out -= 1
            return answer.msg_type == "A"

        await eventually(is_let_in)

    async def log_out(self) -> None:
        self.send("5")
        await self.next("5")
        self.drop()

    def drop(self) -> None:
        """Lose the connection."""
        if self._writer is not None:
            self._writer.transport.abort()
            self._writer = None

    def frame(self, msg_type: str, *body: tuple[int, str], number: int | None = None) -> bytes:
        if number is None:
            number, self.next_out = self.next_out, self.next_out + 1
        header = [(35, msg_type), (34, str(number)), (49, self._comp_id), (52, self.now()), (56, self._target)]
        header += [field for field in body if field[0] in HEADER]
        return frame_of(self._begin_string, header, body_of(field for field in body if field[0] not in HEADER))

    def send(self, msg_type: str, *body: tuple[int, str], number: int | None = None) -> None:
        self.sent[self.next_out if number is None else number] = (msg_type, body)
        self.send_bytes(self.frame(msg_type, *body, number=number))

    def send_again(self, first: int) -> None:
        """What a ResendRequest from this number on asks for: messages about orders, and a gap fill for others."""
        for number in range(first, self.next_out):
            msg_type, body = self.sent.get(number, ("0", ()))
            again = ((43, "Y"), (122, self.now()))
            if msg_type in "DFG":
                self.send_bytes(self.frame(msg_type, *again, *body, number=number))
            else:
                self.send_bytes(self.frame("4", *again, (36, str(number + 1)), (123, "Y"), number=number))

    def send_bytes(self, data: bytes) -> None:
        assert self._writer is not None
        self._writer.write(data)

    def now(self) -> str:
        return utc_timestamp(self._clock.utc())

    async def receive(self) -> Message | None:
        """The next message; None when the connection is closed."""
        async with asyncio.timeout(DEADLINE_S):
            while (frame := self._framer.next_frame()) is None:
                try:
                    data = await self._reader.read(1 << 16)
                except ConnectionResetError:
                    return None
                if not data:
                    return None
                self._framer.feed(data)
        message = decode(frame)
        number = int(message.get(34))
        self._received |= set(range(number, int(message.get(36)))) if message.msg_type == "4" else {number}
        while self.next_in in self._received:
            self._received.remove(self.next_in)
            self.next_in += 1
        return message

    async def next(self, *msg_types: str) -> Message:
        """The next message of one of these types, or of any; others are kept in `seen`."""
        return await self.until(lambda message: not msg_types or message.msg_type in msg_types)

    async def until(self, is_wanted: Callable[[Message], bool]) -> Message:
        for index, earlier in enumerate(self.seen):
            if is_wanted(earlier):
                return self.seen.pop(index)
        while (message := await self.receive()) is not None:
            if is_wanted(message):
                return message
            self.seen.append(message)
        raise AssertionError(f"closed; seen: {self.seen}")

    async def closed(self) -> None:
        while (message := await self.receive()) is not None:
            self.seen.append(message)

    # Orders

    def order(self, name: str, side: str, quantity: str, price: str = "", *more: tuple[int, str]) -> None:
        body = [(11, name), (55, "AAPL"), (54, side), (60, self.now()), (38, quantity)]
        body += [(40, "2"), (44, price)] if price else [(40, "1")]
        said = dict(more)
        self.send("D", *[(tag, value) for tag, value in body if tag not in said], *more)

    def cancel(self, name: str, original: str, side: str = "1") -> None:
        self.send("F", (11, name), (41, original), (55, "AAPL"), (54, side), (60, self.now()))

    def replace(self, name: str, original: str, quantity: str, price: str, side: str = "1") -> None:
        self.send(
            "G",
            (11, name),
            (41, original),
            (55, "AAPL"),
            (54, side),
            (60, self.now()),
            (40, "2"),
            (38, quantity),
            (44, price),
        )

    async def report(self) -> dict[int, str]:
        """The next execution report."""
        return dict((await self.next("8")).fields)


def shown(report: dict[int, str], *tags: int) -> list[str]:
    return [report.get(tag, "-") for tag in tags]
