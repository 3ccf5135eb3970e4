"""A whole venue in the test's own process: the real OBS on its socket, the real TES on a free port, and clients that speak the wire.

The OBS can be stopped and started again on the same data, the TES too; both are the objects that the processes run.
"""

import asyncio
import json
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self, TypeVar

import httpx
import websockets
from msgspec.structs import replace

from trading_engine.database.historical.opening import open_history_projection
from trading_engine.messaging.broker import MessageBroker
from trading_engine.messaging.transports import broker_for
from trading_engine.servers.obs.server import OrderBookServer
from trading_engine.servers.projections.server import project_until
from trading_engine.servers.tes.asgi import ASGIApp
from trading_engine.servers.tes.server import TradingEngineServer, serve, trading_engine_server
from trading_engine.shared.addresses import listening_socket
from trading_engine.shared.config import (
    BotsConfig,
    Config,
    CurrencyConfig,
    DemoConfig,
    DemoUser,
    InstrumentConfig,
    RateLimits,
    TesConfig,
    VenueConfig,
)

DEADLINE_S = 20.0
PASSWORD = "long-enough-password"
USERS = ("ann", "bob")
PLENTY = 1_000_000
T = TypeVar("T")


def venue_config(folder: Path, **tes: Any) -> Config:
    """Two instruments, two users with cash and stock, limits that no test meets by chance."""
    tes.setdefault("rate_limits", RateLimits(PLENTY, PLENTY, PLENTY, PLENTY, PLENTY))
    tes.setdefault("market_data_interval_ms", 20)
    tes.setdefault("connections_per_address_max", PLENTY)
    tes.setdefault("projection_process", False)  # a second of CPU for each venue; tests of whole processes have it
    return Config(
        data_dir=str(folder),
        venue=VenueConfig(
            currencies={"USD": CurrencyConfig()},
            instruments=(
                InstrumentConfig(symbol="AAPL", name="Apple Inc", reference_price="230.00", quantity_max="100000"),
                InstrumentConfig(
                    symbol="COIN",
                    name="A coin",
                    tick_size="0.5",
                    lot_size="0.02",
                    reference_price="60000.0",
                    quantity_max="1000",
                    market_protection="500",
                ),
            ),
        ),
        tes=TesConfig(port=0, **tes),
        demo=DemoConfig(
            users=tuple(
                DemoUser(username=name, password=PASSWORD, cash={"USD": "1000000.00"}, quantity_each="1000")
                for name in USERS
            )
        ),
        bots=BotsConfig(makers=0, takers=0, noise=0),
    )


def two_shards(folder: Path, **tes: Any) -> Config:
    """The same with the second instrument on a shard of its own."""
    config = venue_config(folder, **tes)
    aapl, coin = config.venue.instruments
    return replace(config, venue=replace(config.venue, shards=2, instruments=(aapl, replace(coin, shard=1))))


async def eventually(ask: Callable[[], Awaitable[T]], deadline_s: float = DEADLINE_S, poll_s: float = 0.005) -> T:
    """What `ask` gives as soon as it gives something true."""
    until = time.monotonic() + deadline_s
    while True:
        value = await ask()
        if value:
            return value
        assert time.monotonic() < until, f"not within {deadline_s} s: {ask}"
        await asyncio.sleep(poll_s)


class ObsHandle:
    """The order book server, to be stopped and started again."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._stop = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._stop = asyncio.Event()
        server = OrderBookServer(self._config)
        self._task = asyncio.create_task(server.run(self._stop))
        ready = asyncio.create_task(server.is_ready.wait())
        await asyncio.wait([self._task, ready], return_when=asyncio.FIRST_COMPLETED)
        ready.cancel()
        if self._task.done():
            self._task.result()

    async def stop(self) -> None:
        if self._task is not None:
            self._stop.set()
            await self._task
            self._task = None


class TesHandle:
    """The trading engine server on a free port."""

    def __init__(
        self,
        config: Config,
        mounts: tuple[tuple[str, ASGIApp], ...] = (),
        brokers: Sequence[MessageBroker] = (),
    ) -> None:
        self._config = config
        self._mounts = mounts
        self._brokers = brokers
        self._stop = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.server: TradingEngineServer
        self.port = 0

    @property
    def url(self) -> str:
        return f"{'https' if self._config.tes.tls_certificate else 'http'}://127.0.0.1:{self.port}"

    @property
    def connection_count(self) -> int:
        """HTTP and WebSocket."""
        return self.server.addresses.total

    async def start(self) -> None:
        started = asyncio.Event()
        self._stop = asyncio.Event()
        self._task = asyncio.create_task(self._run(started))
        waiting = asyncio.create_task(started.wait())
        await asyncio.wait([self._task, waiting], return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        if self._task.done():
            self._task.result()

    async def _run(self, started: asyncio.Event) -> None:
        listener = listening_socket("127.0.0.1", self.port)
        self.port = listener.getsockname()[1]
        brokers = self._brokers or [broker_for(self._config.of_shard(shard)) for shard in self._config.shards]
        try:
            async with trading_engine_server(self._config, brokers, self._mounts) as server:
                self.server = server
                started.set()
                await serve(server, self._config, self._stop, listener)
        finally:
            for broker in brokers:
                await broker.close()

    async def stop(self) -> None:
        if self._task is not None:
            self._stop.set()
            await self._task
            self._task = None

    async def ready(self) -> None:
        async def is_ready() -> bool:
            assert self._task is not None
            if self._task.done():
                self._task.result()
            return self.server.health.can_take_orders

        await eventually(is_ready)


class Trader:
    """One user over REST."""

    def __init__(self, http: httpx.AsyncClient, tokens: dict[str, Any]) -> None:
        self.http = http
        self.tokens = tokens
        self.headers = {"Authorization": f"Bearer {tokens['access_token']}"}

    async def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        return await self.http.request(method, path, headers=self.headers, **options)

    async def get(self, path: str, **query: Any) -> Any:
        response = await self.request("GET", path, params=query)
        assert response.status_code == 200, response.text
        return response.json()

    async def place(self, side: str, quantity: str, price: str | None = None, **fields: Any) -> Any:
        response = await self.request("POST", "/v1/orders", json=order(side, quantity, price, **fields))
        assert response.status_code == 201, response.text
        return response.json()

    async def cancel_all(self) -> None:
        response = await self.request("DELETE", "/v1/orders")
        assert response.status_code == 200, response.text


def order(side: str, quantity: str, price: str | None = None, **fields: Any) -> dict[str, Any]:
    body = {
        "symbol": "AAPL",
        "side": side,
        "type": "market" if price is None else "limit",
        "quantity": quantity,
        **fields,
    }
    return body if price is None else {**body, "price": price}


class Socket:
    """A WebSocket client that keeps what it was not asked for yet."""

    def __init__(self, connection: websockets.ClientConnection) -> None:
        self.connection = connection
        self.seen: list[dict[str, Any]] = []
        self._id = 0

    def number(self) -> int:
        """For a request."""
        self._id += 1
        return self._id

    async def send(self, **request: Any) -> int:
        number = self.number()
        await self.connection.send(json.dumps({"id": number, **request}))
        return number

    async def receive(self) -> dict[str, Any]:
        async with asyncio.timeout(DEADLINE_S):
            message: dict[str, Any] = json.loads(await self.connection.recv())
        return message

    async def until(self, is_wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """The first message, of those seen or to come, that is wanted; it is taken out of those seen."""
        for index, message in enumerate(self.seen):
            if is_wanted(message):
                return self.seen.pop(index)
        while True:
            message = await self.receive()
            if is_wanted(message):
                return message
            self.seen.append(message)

    async def ask(self, **request: Any) -> dict[str, Any]:
        return await self.answer_to(await self.send(**request))

    async def answer_to(self, number: int) -> dict[str, Any]:
        return await self.until(lambda message: message.get("id") == number)

    async def result(self, **request: Any) -> Any:
        answer = await self.ask(**request)
        assert answer["type"] == "ack", answer
        return answer["result"]

    async def error(self, **request: Any) -> dict[str, Any]:
        answer = await self.ask(**request)
        assert answer["type"] == "error", answer
        error: dict[str, Any] = answer["error"]
        return error

    async def of_type(self, kind: str) -> dict[str, Any]:
        return await self.until(lambda message: message["type"] == kind)


class Venue:
    """OBS, one for each shard, and TES together."""

    def __init__(
        self, config: Config, mounts: tuple[tuple[str, ASGIApp], ...] = (), verify: ssl.SSLContext | bool = True
    ) -> None:
        self.config = config
        self.shards = [ObsHandle(config.of_shard(shard)) for shard in config.shards]
        self.obs = self.shards[0]
        self.tes = TesHandle(config, mounts)
        self.http = httpx.AsyncClient(trust_env=False, verify=verify)

    @property
    def server(self) -> TradingEngineServer:
        return self.tes.server

    async def start(self) -> Self:
        for shard in self.shards:
            await shard.start()
        await self.tes.start()
        await self.tes.ready()
        self.http.base_url = self.tes.url
        return self

    async def stop(self) -> None:
        await self.http.aclose()
        await self.tes.stop()
        for shard in self.shards:
            await shard.stop()

    @asynccontextmanager
    async def keeping_history(self) -> AsyncIterator[None]:
        """With the process that fills the historical database."""
        stop = asyncio.Event()
        keeping = asyncio.create_task(project_until(stop, "history", self.config, open_history_projection))
        try:
            yield
        finally:
            stop.set()
            await keeping

    async def log_in(self, username: str, password: str = PASSWORD) -> Trader:
        response = await self.http.post("/v1/auth/login", json={"username": username, "password": password})
        assert response.status_code == 200, response.text
        return Trader(self.http, response.json())

    @asynccontextmanager
    async def socket(self, trader: Trader | None = None, **options: Any) -> AsyncIterator[Socket]:
        url = self.tes.url.replace("http", "ws") + "/v1/ws"
        async with websockets.connect(url, compression=None, proxy=None, **options) as connection:
            socket = Socket(connection)
            if trader is not None:
                await socket.result(op="auth", token=trader.tokens["access_token"])
            yield socket


async def is_away(venue: Venue, shard: int) -> bool:
    return shard in (await venue.http.get("/v1/health")).json().get("unavailable_shards", [])


@asynccontextmanager
async def running_venue(
    config: Config, mounts: tuple[tuple[str, ASGIApp], ...] = (), verify: ssl.SSLContext | bool = True
) -> AsyncIterator[Venue]:
    """`verify` is what its own client trusts, where it serves TLS."""
    venue = await Venue(config, mounts, verify).start()
    try:
        yield venue
    finally:
        await venue.stop()


def with_tes(config: Config, **tes: Any) -> Config:
    return replace(config, tes=replace(config.tes, **tes))
