"""Clients that do not keep to HTTP, or take their time: each gets an answer in the API's shape, and nobody else notices."""

import asyncio
import json
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from support.tes_venue import DEADLINE_S, Venue, running_venue, venue_config
from trading_engine.servers.tes import asgi, connections

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def venue(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Venue]:
    async with running_venue(venue_config(tmp_path_factory.mktemp("v"))) as venue:
        yield venue


async def exchange(venue: Venue, *pieces: bytes) -> bytes:
    """Send the pieces and return everything that comes until the server closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", venue.tes.port)
    try:
        async with asyncio.timeout(DEADLINE_S):
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(0)
            return await reader.read()
    finally:
        writer.close()


def answer_of(raw: bytes) -> tuple[int, str]:
    head, _, body = raw.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)["error"]["code"]


async def is_well(venue: Venue) -> None:
    assert (await venue.http.get("/v1/health")).status_code == 200


@pytest.mark.parametrize(
    "raw", [b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"HELLO\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n"]
)
async def test_what_is_not_http_is_answered_and_closed(venue: Venue, raw: bytes) -> None:
    assert answer_of(await exchange(venue, raw)) == (400, "INVALID_REQUEST")
    await is_well(venue)


@pytest.mark.parametrize(
    "pieces",
    [
        (b"GET /v1/time HTTP/1.1\r\nHost: localhost\r\nX-Long: " + b"a" * 40_000 + b"\r\n\r\n",),
        (b"GET /" + b"a" * 40_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",),
        (b"GET /v1/time HTTP/1.1\r\n", *(b"X-%d: value\r\n" % n for n in range(5_000))),
    ],
    ids=["one header", "path", "many headers"],
)
async def test_head_beyond_the_limit_is_refused(venue: Venue, pieces: tuple[bytes, ...]) -> None:
    try:
        raw = await exchange(venue, *pieces)
    except ConnectionError:
        raw = b""  # it was closed while we were still writing
    assert not raw or answer_of(raw) == (431, "HEADERS_TOO_LARGE")
    await is_well(venue)


async def test_head_that_does_not_arrive_is_given_up(venue: Venue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "REQUEST_HEAD_SECONDS_MAX", 0.1)
    assert answer_of(await exchange(venue, b"")) == (408, "REQUEST_TIMEOUT")
    assert answer_of(await exchange(venue, b"GET /v1/time HTTP/1.1\r\nHos")) == (408, "REQUEST_TIMEOUT")
    await is_well(venue)


@pytest.mark.parametrize("path", [b"/v1/orders", b"/v1/auth/login"])
async def test_body_that_does_not_arrive_is_given_up(
    venue: Venue, monkeypatch: pytest.MonkeyPatch, path: bytes
) -> None:
    monkeypatch.setattr(asgi, "BODY_SECONDS_MAX", 0.1)
    ann = await venue.log_in("ann")
    token = ann.headers["Authorization"].encode()
    head = b"POST %s HTTP/1.1\r\nHost: localhost\r\nAuthorization: %s\r\nContent-Length: 500\r\n\r\n{" % (path, token)
    reader, writer = await asyncio.open_connection("127.0.0.1", venue.tes.port)
    writer.write(head)
    async with asyncio.timeout(DEADLINE_S):
        raw = await reader.readuntil(b"}}")
    assert answer_of(raw) == (408, "REQUEST_TIMEOUT")
    writer.close()
    await is_well(venue)


async def test_client_that_goes_away_amid_its_body_leaves_nothing_behind(venue: Venue) -> None:
    ann = await venue.log_in("ann")
    token = ann.headers["Authorization"].encode()
    for _ in range(20):
        _, writer = await asyncio.open_connection("127.0.0.1", venue.tes.port)
        writer.write(
            b"POST /v1/orders HTTP/1.1\r\nHost: localhost\r\nAuthorization: %s\r\nContent-Length: 500\r\n\r\n{" % token
        )
        await writer.drain()
        writer.transport.abort()
    await is_well(venue)


async def test_connections_beyond_the_limit_are_told_so(venue: Venue, monkeypatch: pytest.MonkeyPatch) -> None:
    await is_well(venue)
    monkeypatch.setattr(connections, "CONNECTIONS_MAX", 0)
    assert answer_of(await exchange(venue, b"")) == (503, "TOO_MANY_CONNECTIONS")


async def test_endless_body_is_cut_off(venue: Venue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "DISCARDED_BODY_BYTES_MAX", 1_000_000)
    head = b"POST /v1/auth/login HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    with pytest.raises(ConnectionError):
        await exchange(venue, head, *(b"10000\r\n" + b"x" * 0x10000 + b"\r\n" for _ in range(2_000)))
    await is_well(venue)


async def test_requests_in_one_packet_are_all_answered(venue: Venue) -> None:
    request = b"GET /v1/time HTTP/1.1\r\nHost: localhost\r\n\r\n"
    last = b"GET /v1/time HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    assert (await exchange(venue, 5 * request + last)).count(b"HTTP/1.1 200 OK") == 6
