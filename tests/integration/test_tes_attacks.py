"""Clients that mean no good: each is ended or bounded, what was kept for it is gone, and others are served meanwhile.

That others are not slowed is counted, not timed: how much of an attacker's work is done before somebody else's.
"""

import asyncio
import hashlib
import hmac
import itertools
import logging
import struct
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
import pytest_asyncio

from support.raw_websocket import RawWebSocket, client_frame, handshake
from support.tes_venue import DEADLINE_S, Venue, eventually, order, running_venue, venue_config
from trading_engine.servers.tes import connections
from trading_engine.shared.config import RateLimits

pytestmark = pytest.mark.asyncio(loop_scope="module")

TEXT, BINARY, CONTINUATION, PING = 0x1, 0x2, 0x0, 0x9
PING_REQUEST = b'{"op":"ping"}'


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def venue(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Venue]:
    async with running_venue(venue_config(tmp_path_factory.mktemp("v"))) as venue:
        yield venue


@asynccontextmanager
async def raw(venue: Venue) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", venue.tes.port)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


async def is_forgotten(venue: Venue) -> None:
    """Nothing is left of any client but the one that asks."""

    async def is_so() -> bool:
        await venue.http.get("/v1/time")
        return venue.tes.connection_count <= 1 and not venue.server.websocket.sessions

    await eventually(is_so)


async def ends(reader: asyncio.StreamReader) -> bytes:
    """What comes until the server closes."""
    async with asyncio.timeout(DEADLINE_S):
        try:
            return await reader.read()
        except ConnectionError:
            return b""


# Slow-loris


@pytest.mark.parametrize(
    "first",
    [b"", b"\r\n", b"GET /v1/time HTTP/1.1\r\nX-A: 1\r\n", b"GET /v1/time HTTP/1.1\r\nHost: localhost\r\n\r\n\r\n"],
    ids=["nothing", "line end", "half a head", "line end after a request"],
)
async def test_client_that_drips_is_ended_all_the_same(
    venue: Venue, monkeypatch: pytest.MonkeyPatch, first: bytes
) -> None:
    monkeypatch.setattr(connections, "REQUEST_HEAD_SECONDS_MAX", 0.3)
    async with raw(venue) as (reader, writer):
        writer.write(first)
        answer = asyncio.create_task(ends(reader))
        while not answer.done():
            if first:
                writer.write(b"\r\n" if first.endswith(b"\r\n\r\n\r\n") or first == b"\r\n" else b"X-B: 2\r\n")
            await asyncio.sleep(0.02)
        said = await answer  # nothing, where we were still writing as it was closed
        assert not said or b"408 Request Timeout" in said
    await is_forgotten(venue)


async def test_body_that_drips_after_its_request_was_refused_is_ended(
    venue: Venue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "REQUEST_HEAD_SECONDS_MAX", 0.3)
    async with raw(venue) as (reader, writer):
        writer.write(b"POST /v1/orders HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n{")
        answer = asyncio.create_task(ends(reader))
        while not answer.done():
            writer.write(b" ")
            await asyncio.sleep(0.02)
        assert (await answer).startswith(b"HTTP/1.1 401 Unauthorized")
    await is_forgotten(venue)


async def test_connection_is_kept_after_a_refused_body_that_arrived_in_time(venue: Venue) -> None:
    async with raw(venue) as (reader, writer):
        writer.write(b"POST /v1/orders HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\n{")
        async with asyncio.timeout(DEADLINE_S):
            await reader.readuntil(b"}}")
            writer.write(b"    GET /v1/time HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert (await reader.readline()).startswith(b"HTTP/1.1 200")


# Those who do not read


async def test_client_that_does_not_read_an_answer_is_dropped(venue: Venue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "UNREAD_SECONDS_MAX", 0.3)
    request = b"GET /docs/swagger-ui-bundle.js HTTP/1.1\r\nHost: localhost\r\n\r\n"
    async with raw(venue) as (reader, writer):
        stop_reading(reader)
        writer.write(8 * request)
        await eventually(lambda: is_closed(writer))
    await is_forgotten(venue)


async def test_client_that_is_closed_and_does_not_read_is_dropped(
    venue: Venue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "UNREAD_SECONDS_MAX", 0.3)
    request = b"GET /docs/swagger-ui-bundle.js HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    async with raw(venue) as (reader, writer):
        stop_reading(reader)
        writer.write(request)
        await is_forgotten(venue)


def stop_reading(reader: asyncio.StreamReader) -> None:
    """From now on what the server sends stays with the operating systems of both sides."""
    transport = reader._transport  # type: ignore[attr-defined] # there is no other way to it
    transport.pause_reading()


async def is_closed(writer: asyncio.StreamWriter) -> bool:
    """Whether the other side has dropped the connection: writing fails then."""
    writer.write(b"\r\n")
    return writer.transport.is_closing()


async def test_flood_of_pings_that_are_not_read_is_cut_off(venue: Venue) -> None:
    async with RawWebSocket.open(venue.tes.port) as socket:
        stop_reading(socket.reader)
        frame = client_frame(PING, b"x" * 125)
        await eventually(lambda: flooded(socket.writer, 500 * frame))
    await is_forgotten(venue)


async def flooded(writer: asyncio.StreamWriter, payload: bytes) -> bool:
    """Send once more. Whether the server has dropped the connection."""
    try:
        writer.write(payload)
        await writer.drain()
    except ConnectionError:
        return True
    return writer.transport.is_closing()


# Floods


async def test_flood_on_one_websocket_leaves_others_their_turns(venue: Venue) -> None:
    """Thousands of requests in one packet: somebody else is answered long before the last of them."""
    flood = 5_000
    async with RawWebSocket.open(venue.tes.port) as flooder, venue.socket() as other:
        await other.result(op="ping")
        flooder.writer.write(flood * client_frame(TEXT, PING_REQUEST))
        await flooder.read_messages(1)
        before = 0
        answer = asyncio.create_task(other.result(op="ping"))
        while not answer.done():
            before += await flooder.read_messages(1)
        assert before < flood / 4
        await flooder.read_messages(flood - 1 - before)
    await is_forgotten(venue)


async def test_requests_without_end_on_one_connection_end_it(venue: Venue) -> None:
    request = b"GET /v1/time HTTP/1.1\r\nHost: localhost\r\n\r\n"
    async with raw(venue) as (reader, writer):
        writer.write(20_000 * request)
        answered = (await ends(reader)).count(b"HTTP/1.1 200")
        assert answered <= connections.PIPELINED_MAX + 1
    await is_forgotten(venue)


async def test_orders_beyond_the_limit_are_refused_to_one_and_taken_from_another(tmp_path: Path) -> None:
    limits = RateLimits(orders_per_second=10, orders_burst=50)
    async with running_venue(venue_config(tmp_path, rate_limits=limits)) as venue:
        ann, bob = await venue.log_in("ann"), await venue.log_in("bob")
        async with venue.socket(ann) as flooder, venue.socket(bob) as other:
            numbers = [await flooder.send(op="place", **order("buy", "1", "150.00")) for _ in range(120)]
            placed = [await other.result(op="place", **order("buy", "1", "151.00")) for _ in range(40)]
            answers = [await flooder.answer_to(number) for number in numbers]
        assert [view["status"] for view in placed] == ["new"] * 40
        refused = [answer["error"]["code"] for answer in answers if answer["type"] == "error"]
        assert set(refused) == {"RATE_LIMITED"}
        assert len(refused) >= 20
        await is_forgotten(venue)


async def test_forged_signatures_are_refused_and_soon_not_even_looked_at(tmp_path: Path) -> None:
    limits = RateLimits(requests_per_second=1, requests_burst=30)
    async with running_venue(venue_config(tmp_path, rate_limits=limits)) as venue:
        ann = await venue.log_in("ann")
        key = (await ann.request("POST", "/v1/api-keys", json={"label": "signed"})).json()
        forged = [await signed(venue, key["key_id"], "not the secret") for _ in range(40)]
        assert {response.json()["code"] for response in forged[:20]} == {-1022}
        assert forged[-1].status_code == 429
        assert (await signed(venue, key["key_id"], key["secret"])).status_code == 200


async def signed(venue: Venue, key_id: str, secret: str) -> httpx.Response:
    query = f"timestamp={time.time_ns() // 10**6}"
    signature = hmac.new(secret.encode(), query.encode(), hashlib.sha256).hexdigest()
    headers = {"X-MBX-APIKEY": key_id}
    return await venue.http.get(f"/api/v3/openOrders?{query}&signature={signature}", headers=headers)


async def test_flood_of_requests_leaves_others_their_turns(venue: Venue) -> None:
    """Fifty connections ask as fast as they are answered: an order takes its turn among them, and no more of theirs are answered."""
    answered = 0
    is_over = asyncio.Event()

    async def flood() -> None:
        nonlocal answered
        async with raw(venue) as (reader, writer):
            while not is_over.is_set():
                writer.write(b"GET /v1/instruments HTTP/1.1\r\nHost: localhost\r\n\r\n")
                await reader.readuntil(b"}]}")
                answered += 1

    ann = await venue.log_in("ann")
    await ann.place("buy", "1", "150.00")
    floods = [asyncio.create_task(flood()) for _ in range(50)]
    before = answered
    for _ in range(20):
        await ann.place("buy", "1", "150.00")
    of_others = answered - before
    is_over.set()
    await asyncio.gather(*floods)
    await ann.cancel_all()
    assert of_others < 20 * 50 * 20  # twenty turns of everybody for each order, journal and all
    await is_forgotten(venue)


async def test_handshakes_beyond_the_limit_are_refused_and_fill_no_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    limits = RateLimits(requests_per_second=1, requests_burst=8)
    async with running_venue(venue_config(tmp_path, rate_limits=limits)) as venue:
        paths = itertools.cycle(["/v1/ws", "/ws", "/stream", "/nothing-there"])
        answers = [await handshake_status(venue, next(paths)) for _ in range(8)]
        assert answers == [101, 101, 101, 404] * 2
        while await handshake_status(venue, next(paths)) != 429:
            pass  # one a second is let in
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


async def handshake_status(venue: Venue, path: str) -> int:
    async with raw(venue) as (reader, writer):
        writer.write(handshake(path))
        return int((await reader.readline()).split()[1])


async def test_message_in_ever_more_fragments_is_ended(venue: Venue) -> None:
    async with RawWebSocket.open(venue.tes.port) as socket:
        socket.writer.write(client_frame(TEXT, b"{", is_final=False))
        socket.writer.write(2 * connections.FRAGMENTS_MAX * client_frame(CONTINUATION, b"", is_final=False))
        assert await socket.close_code() == 1008
    await is_forgotten(venue)


async def test_message_in_a_few_fragments_is_understood(venue: Venue) -> None:
    async with RawWebSocket.open(venue.tes.port) as socket:
        for number in range(len(PING_REQUEST)):
            opcode = CONTINUATION if number else TEXT
            is_final = number == len(PING_REQUEST) - 1
            socket.writer.write(client_frame(opcode, PING_REQUEST[number : number + 1], is_final=is_final))
        assert await socket.read_messages(1) == 1


@pytest.mark.parametrize("path", ["/v1/ws", "/ws", "/ws-api/v3"])
async def test_message_beyond_the_limit_is_refused(venue: Venue, path: str) -> None:
    async with RawWebSocket.open(venue.tes.port, path) as socket:
        size = venue.config.tes.request_bytes_max + 1
        socket.writer.write(struct.pack("!BBQ4s", 0x81, 0x80 | 127, size, b"mask"))
        assert await socket.close_code() == 1009
    await is_forgotten(venue)


# Many connections


async def test_address_has_so_many_connections_and_no_more(tmp_path: Path) -> None:
    async with running_venue(venue_config(tmp_path, connections_per_address_max=20)) as venue:
        held = [await asyncio.open_connection("127.0.0.1", venue.tes.port) for _ in range(20)]
        async with raw(venue) as (reader, _):
            assert b"TOO_MANY_CONNECTIONS" in await ends(reader)
        for _, writer in held[:3]:
            writer.transport.abort()

        async def is_let_in() -> bool:
            async with raw(venue) as (reader, writer):
                writer.write(b"GET /v1/time HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                return (await ends(reader)).startswith(b"HTTP/1.1 200")

        assert await eventually(is_let_in)
        for _, writer in held[3:]:
            writer.transport.abort()
        await is_forgotten(venue)


async def test_idle_connections_by_the_hundred_keep_nobody_from_trading(venue: Venue) -> None:
    await keep_idle(venue, 500)


@pytest.mark.soak
async def test_ten_thousand_idle_connections_keep_nobody_from_trading(tmp_path: Path) -> None:
    config = venue_config(tmp_path, connections_per_address_max=20_000, websocket_connections_max=20_000)
    async with running_venue(config) as venue:
        await keep_idle(venue, 9_900)


async def keep_idle(venue: Venue, count: int) -> None:
    """Half of them WebSockets that follow a book, half HTTP connections that have asked once: all stay, and orders are taken."""
    ann = await venue.log_in("ann")
    sockets = [await RawWebSocket.connect(venue.tes.port) for _ in range(count // 2)]
    for socket in sockets:
        socket.writer.write(client_frame(TEXT, b'{"op":"subscribe","channel":"book","symbol":"AAPL"}'))
    plain = [await asyncio.open_connection("127.0.0.1", venue.tes.port) for _ in range(count // 2)]
    for reader, writer in plain:
        writer.write(b"GET /v1/time HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await reader.readuntil(b'"}')
    for socket in sockets:
        await socket.read_messages(2)
    placed = [await ann.place("buy", "1", "150.00") for _ in range(20)]
    assert [view["status"] for view in placed] == ["new"] * 20
    for socket in sockets:
        await socket.read_messages(1)  # the change of the book
    assert venue.tes.connection_count >= count
    for socket in sockets:
        socket.writer.transport.abort()
    for _, writer in plain:
        writer.transport.abort()
    await ann.cancel_all()
    await is_forgotten(venue)


async def test_half_open_websocket_is_dropped_when_it_answers_no_ping(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trading_engine.servers.tes.server.WEBSOCKET_PING_SECONDS", 0.2)
    monkeypatch.setattr(connections, "UNREAD_SECONDS_MAX", 0.2)
    async with running_venue(venue_config(tmp_path)) as venue, RawWebSocket.open(venue.tes.port) as socket:
        assert await socket.close_code() == 1011
        await is_forgotten(venue)


async def test_open_files_of_attackers_are_given_back(venue: Venue) -> None:
    await is_forgotten(venue)
    before = open_files()
    for _ in range(100):
        async with raw(venue) as (_, writer):
            writer.write(b"GET /v1/time HTT")
    await is_forgotten(venue)
    assert open_files() <= before + 2


def open_files() -> int:
    """Of this process; 0 where the system does not say."""
    folder = Path("/proc/self/fd")
    return len(list(folder.iterdir())) if folder.exists() else 0
