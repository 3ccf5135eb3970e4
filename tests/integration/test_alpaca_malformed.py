"""Requests and messages of chance: none brings a server error, and the next one is answered as if nothing had been."""

import json
import logging
from collections.abc import AsyncIterator
from random import Random
from typing import Any

import msgspec
import pytest
import pytest_asyncio
import websockets

from support.alpaca_account import Account, account_of
from support.tes_venue import Venue, eventually, running_venue, venue_config

pytestmark = pytest.mark.asyncio(loop_scope="module")

SEED = 20_261_130
REQUESTS = 400
MESSAGES, MESSAGES_IN_THE_SOAK = 300, 20_000
HUGE = "9" * 60
VALUES = [
    "",
    "0",
    "-1",
    "1",
    "1.5",
    "NaN",
    "Infinity",
    "1e9",
    HUGE,
    "x" * 300,
    "AAPL",
    "COIN",
    "NOPE",
    "*",
    "é",
    "\x00",
]
TIMES = ["2026-01-05", "2026-13-40", "2026-01-05T14:30:00Z", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "now"]
IDS = [
    "10000000-0000-8000-8000-000000000001",
    "10000000-0000-8000-bfff-ffffffffffff",
    "1fffffff-ffff-8fff-8000-000000000001",
]
NAMES = {
    "symbols": VALUES, "symbol": VALUES, "timeframe": ["1Min", "1Week", "0Min", "99Day", ""], "start": TIMES, "end": TIMES,
    "after": TIMES, "until": TIMES, "date": TIMES, "date_end": TIMES, "limit": VALUES, "page_token": [*VALUES, "QUFQTHw5"],
    "sort": ["asc", "desc", "up"], "direction": ["asc", "desc"], "status": ["open", "closed", "all", "x"], "side": ["buy", "x"],
    "nested": ["true", "x"], "period": ["1D", "9A", "999A", "0D", "x"], "qty": VALUES, "percentage": VALUES,
    "client_order_id": VALUES, "activity_types": ["FILL,CSD", "x"], "page_size": VALUES, "cancel_orders": ["true"],
}  # fmt: skip
NUMBERS: list[Any] = [None, 0, -1, 1, 1.5, 230, 230.005, 1e300, True, [], {}, "1", "x", HUGE, "1." + "0" * 30]
BODY: dict[str, list[Any]] = {
    "symbol": ["AAPL", "COIN", "NOPE", IDS[0], None, 1], "type": ["market", "limit", "stop", "stop_limit", "trailing_stop", "x"],
    "time_in_force": ["day", "gtc", "opg", "cls", "ioc", "fok", "x"], "side": ["buy", "sell", None], "qty": NUMBERS,
    "notional": NUMBERS, "limit_price": NUMBERS, "stop_price": NUMBERS, "trail_price": NUMBERS, "trail_percent": NUMBERS,
    "trail": NUMBERS, "order_class": ["", "simple", "bracket", "oco", "oto", "mleg", 1], "client_order_id": VALUES,
    "take_profit": [None, {}, {"limit_price": 240}, [1]], "stop_loss": [None, {}, {"stop_price": 220, "limit_price": "x"}],
    "position_intent": ["buy_to_open", "x"], "extended_hours": [True, "x"],
}  # fmt: skip

GARBAGE: list[str | bytes] = ["", "{", "[]", "7", b"\xc1", b"\x80", bytes(range(20)), '{"action": 1}', "x" * 5_000]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def venue(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Venue]:
    async with running_venue(venue_config(tmp_path_factory.mktemp("v"))) as venue:
        yield venue


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def ann(venue: Venue) -> Account:
    return await account_of(venue, "ann")


def some(random: Random, choices: dict[str, list[Any]], most: int) -> dict[str, Any]:
    names = random.sample(sorted(choices), random.randint(0, most))
    return {name: random.choice(choices[name]) for name in names}


def body_of(random: Random) -> bytes:
    if random.random() < 0.1:
        return random.choice([b"", b"{", b"[]", b"null", b"\xff\xfe", b'"x"', b"[" * 5_000])
    base = {"symbol": "AAPL", "type": "limit", "time_in_force": "day", "side": "buy", "qty": 1, "limit_price": 200}
    return json.dumps({**base, **some(random, BODY, 5)}).encode()


async def test_request_of_chance_brings_no_server_error(venue: Venue, ann: Account) -> None:
    random = Random(SEED)
    routes = sorted(venue.server.alpaca.routes)
    statuses = set()
    for number in range(REQUESTS):
        method, parts = random.choice(routes)
        path = "/" + "/".join(part if part != "*" else random.choice(["AAPL", "x", *IDS]) for part in parts)
        query = some(random, NAMES, 4)
        content = body_of(random) if method in ("POST", "PATCH", "PUT") else None
        response = await venue.http.request(method, path, params=query, content=content, headers=ann.headers)
        context = (SEED, number, method, path, query, content, response.text)
        # Nobody keeps a history of quotes here.
        assert response.status_code < 500 or (response.status_code == 503 and path.endswith("quotes")), context
        statuses.add(response.status_code)
        if response.status_code >= 400:
            assert set(response.json()) == {"code", "message"}, context
    assert statuses >= {200, 207, 400, 404, 422}
    assert (await ann.ok("GET", "clock"))["is_open"]


def message_of(random: Random, account: Account) -> str | bytes:
    if random.random() < 0.3:
        return random.choice(GARBAGE)
    auth = {"key": random.choice([account.key_id, "x", None, 1]), "secret": random.choice([account.secret, 1, None])}
    message: dict[str, Any] = {
        "action": random.choice(["auth", "subscribe", "unsubscribe", "authenticate", "listen", "x", None]),
        **random.choice([auth, {"data": random.choice([auth, None, 1, {"streams": [1, "trade_updates"]}])}]),
    }
    for channel in random.sample(["trades", "quotes", "bars", "statuses", "lulds", "news"], 2):
        message[channel] = random.choice([["AAPL"], ["*"], ["NOPE"], [1, None], "AAPL", {}, []])
    return json.dumps(message)


def packed(random: Random, message: str | bytes) -> bytes:
    """The same in MessagePack, every other time with a byte that is another one, or without its end."""
    try:
        data = bytearray(msgspec.msgpack.encode(json.loads(message)))
    except ValueError:
        return random.randbytes(random.randrange(40))
    if random.random() < 0.5:
        data[random.randrange(len(data))] = random.randrange(256)
    return bytes(data if random.random() < 0.8 else data[: random.randrange(len(data))])


@pytest.mark.parametrize(("path", "is_packed"), [("/v2/iex", False), ("/v2/iex", True), ("/stream", False)])
async def test_message_of_chance_ends_no_more_than_its_connection(
    venue: Venue, ann: Account, path: str, is_packed: bool, caplog: pytest.LogCaptureFixture
) -> None:
    await send_by_chance(venue, ann, path, is_packed, MESSAGES)
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


@pytest.mark.soak
@pytest.mark.parametrize(("path", "is_packed"), [("/v2/iex", False), ("/v2/iex", True), ("/stream", False)])
async def test_messages_of_chance_by_the_thousand_end_no_more_than_their_connections(
    venue: Venue, ann: Account, path: str, is_packed: bool, caplog: pytest.LogCaptureFixture
) -> None:
    await send_by_chance(venue, ann, path, is_packed, MESSAGES_IN_THE_SOAK)
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


async def send_by_chance(venue: Venue, ann: Account, path: str, is_packed: bool, count: int) -> None:
    random, sent, codes = Random(SEED), 0, set()
    url = venue.tes.url.replace("http", "ws") + path
    headers = {"Content-Type": "application/msgpack"} if is_packed else {}
    while sent < count:
        async with websockets.connect(
            url, compression=None, proxy=None, max_queue=None, additional_headers=headers
        ) as connection:
            try:
                for _ in range(30):
                    message = message_of(random, ann)
                    await connection.send(packed(random, message) if is_packed else message)
                    sent += 1
            except websockets.ConnectionClosed as closed:
                codes.add(None if closed.rcvd is None else closed.rcvd.code)
    assert codes <= {None, 1003, 1007, 1008}, (SEED, codes)

    async def all_are_gone() -> bool:
        return not venue.server.alpaca_sockets.sessions

    await eventually(all_are_gone)
    assert (await ann.ok("GET", "clock"))["is_open"]
