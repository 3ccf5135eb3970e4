"""Malformed and hostile WebSocket messages, seeded: every connection ends in order or goes on, and nothing fails inside the server."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from support.hostile_frames import REQUESTS, TEXT, Hostile
from support.raw_websocket import CLOSE, RawWebSocket, client_frame
from support.tes_venue import DEADLINE_S, Venue, eventually, running_venue, venue_config

pytestmark = pytest.mark.asyncio(loop_scope="module")

CLOSES = {1000, 1002, 1003, 1005, 1006, 1007, 1008, 1009, 1013}
"""Anything but 1011, a failure inside the server. 1005 and 1006: without a code, and without a close frame."""
PAYLOADS_MAX = 5
SEEDS, SEEDS_IN_THE_SOAK = 60, 4_000


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def venue(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Venue]:
    async with running_venue(venue_config(tmp_path_factory.mktemp("v"))) as venue:
        yield venue


@pytest.mark.parametrize("path", REQUESTS)
async def test_hostile_messages_end_in_order_and_fail_nothing(
    venue: Venue, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    await attack(venue, path, range(SEEDS), caplog)


@pytest.mark.soak
@pytest.mark.parametrize("path", REQUESTS)
async def test_hostile_messages_by_the_thousand_fail_nothing(
    venue: Venue, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    await attack(venue, path, range(SEEDS, SEEDS_IN_THE_SOAK), caplog)


async def attack(venue: Venue, path: str, seeds: range, caplog: pytest.LogCaptureFixture) -> None:
    """By strangers, and every other time by somebody who has a key."""
    caplog.set_level(logging.ERROR)
    ann = await venue.log_in("ann")
    made = (await ann.request("POST", "/v1/api-keys", json={"label": path})).json()
    greeting = client_frame(TEXT, json.dumps(authentication(path, made["key_id"], made["secret"])).encode())
    for seed in seeds:
        ended = await ending(venue, path, seed, greeting if seed % 2 else b"")
        assert ended in CLOSES, f"seed {seed} of {path} ended with {ended}"
        assert not caplog.records, f"seed {seed} of {path}: {caplog.records[0].getMessage()}\n{caplog.text[:5000]}"
    async with venue.socket() as socket:
        await socket.result(op="ping")
    if path == "/v1/ws":
        assert (await ann.get("/v1/orders"))["orders"], "some of it was understood, and done"

    async def is_forgotten() -> bool:
        return venue.tes.connection_count <= 1 and not venue.server.websocket.sessions

    await eventually(is_forgotten)


def authentication(path: str, key_id: str, secret: str) -> dict[str, Any]:
    """As the path has it; with Binance's each request is signed."""
    if path == "/v1/ws":
        return {"op": "auth", "key": key_id, "secret": secret}
    if path == "/stream":
        return {"action": "authenticate", "data": {"key_id": key_id, "secret_key": secret}}
    return {"action": "auth", "key": key_id, "secret": secret}


async def ending(venue: Venue, path: str, seed: int, greeting: bytes) -> int:
    """The code that the connection is closed with: by the server, or 1000 when we had enough."""
    hostile = Hostile(seed, path)
    async with RawWebSocket.open(venue.tes.port, path) as socket:
        socket.writer.write(greeting)
        for _ in range(PAYLOADS_MAX):
            socket.writer.write(hostile.payload())
        socket.writer.write_eof()  # what is not complete will not be
        return await read_to_the_end(socket)


async def read_to_the_end(socket: RawWebSocket) -> int:
    try:
        async with asyncio.timeout(DEADLINE_S):
            while True:
                opcode, payload = await socket.read_frame()
                assert b"INTERNAL_ERROR" not in payload, payload
                if opcode == CLOSE:
                    return int.from_bytes(payload[:2], "big") if payload else 1005
    except (asyncio.IncompleteReadError, ConnectionError):
        return 1006
