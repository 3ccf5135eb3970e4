"""WebSocket frames that no client should send, and requests that are nearly right: made from a seed, the same each time."""

import copy
import json
import random
import struct
from collections.abc import Callable
from typing import Any

from support.raw_websocket import client_frame

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
REQUESTS: dict[str, list[dict[str, Any]]] = {
    "/v1/ws": [
        {"op": "auth", "token": "eyJhbGciOiJIUzI1NiJ9.e30.x"},
        {"op": "auth", "key": "k1", "secret": "s"},
        {"op": "subscribe", "channel": "book", "symbol": "AAPL"},
        {"op": "subscribe", "channel": "orders", "since": "0"},
        {"op": "unsubscribe", "channel": "ticker", "symbol": "*"},
        {"op": "place", "symbol": "AAPL", "side": "buy", "type": "limit", "quantity": "1", "price": "150.00"},
        {"op": "replace", "order_id": "1", "quantity": "2"},
        {"op": "cancel", "client_order_id": "x"},
        {"op": "cancel_all", "symbol": "AAPL"},
        {"op": "ping", "id": 1},
    ],
    "/ws": [
        {"method": "SUBSCRIBE", "params": ["aapl@trade", "aapl@depth20@100ms"], "id": 1},
        {"method": "UNSUBSCRIBE", "params": ["aapl@kline_1m"], "id": "a"},
        {"method": "LIST_SUBSCRIPTIONS", "id": 2},
    ],
    "/ws-api/v3": [
        {"id": "1", "method": "depth", "params": {"symbol": "AAPL", "limit": 5}},
        {"id": "2", "method": "klines", "params": {"symbol": "AAPL", "interval": "1m", "startTime": 1}},
        {"id": "3", "method": "order.place", "params": {"apiKey": "k1", "signature": "00", "timestamp": 1}},
        {"id": "4", "method": "userDataStream.subscribe.signature", "params": {"apiKey": "k1"}},
        {"id": "5", "method": "userDataStream.unsubscribe", "params": {"subscriptionId": 0}},
    ],
    "/stream": [
        {"action": "authenticate", "data": {"key_id": "k1", "secret_key": "s"}},
        {"action": "listen", "data": {"streams": ["trade_updates"]}},
    ],
    "/v2/iex": [
        {"action": "auth", "key": "k1", "secret": "s"},
        {"action": "subscribe", "trades": ["AAPL"], "bars": ["*"]},
        {"action": "unsubscribe", "quotes": ["AAPL"]},
    ],
}
"""What each path understands; most of it is made wrong before it is sent."""
VALUES: list[Any] = [
    None,
    True,
    -1,
    0,
    2**63,
    10**400,
    -(10**30),
    1.5,
    1e308,
    "",
    "x" * 5000,
    "\u0000",
    "\U0001d54f\u202e",
    "'; DROP TABLE users; --",
    "../../etc/passwd",
    "%00%n%s",
    "-0",
    "1e9",
    "NaN",
    "9" * 400,
    [],
    {},
    [[]] * 50,
    {"$ne": None},
]


class Hostile:
    """Payloads of one seed."""

    def __init__(self, seed: int, path: str) -> None:
        self._random = random.Random(seed)
        self._requests = REQUESTS[path]
        self._kinds: list[Callable[[], bytes]] = [
            self._noise,
            self._strange_head,
            self._broken_text,
            self._fragments,
            self._control,
            self._broken_json,
            self._mutated,
            self._mutated,
            self._mutated,
            self._mutated,
            self._truncated,
        ]

    def payload(self) -> bytes:
        return self._random.choice(self._kinds)()

    def _bytes(self, most: int) -> bytes:
        return self._random.randbytes(self._random.randrange(most))

    def _noise(self) -> bytes:
        return self._bytes(200)

    def _strange_head(self) -> bytes:
        """Reserved bits, unknown opcodes, no mask, lengths that are not those of what follows."""
        first, second = self._random.randrange(256), self._random.randrange(256)
        length = struct.pack("!Q", self._random.getrandbits(self._random.choice((7, 16, 40, 64))))
        return bytes((first, second)) + self._random.choice((b"", length[-2:], length)) + self._bytes(100)

    def _broken_text(self) -> bytes:
        return client_frame(TEXT, self._random.choice((b"\xff\xfe", b"\xc3\x28", b"\xed\xa0\x80", self._bytes(50))))

    def _fragments(self) -> bytes:
        """In an order that may not be."""
        opcodes = self._random.choices((CONTINUATION, TEXT, BINARY, PING), k=self._random.randrange(1, 6))
        return b"".join(
            client_frame(opcode, self._bytes(20), is_final=self._random.random() < 0.5) for opcode in opcodes
        )

    def _control(self) -> bytes:
        opcode = self._random.choice((CLOSE, PING, PONG, 0x3, 0xB))
        return client_frame(opcode, self._bytes(300), is_final=self._random.random() < 0.8)

    def _broken_json(self) -> bytes:
        whole = json.dumps(self._random.choice(self._requests)).encode()
        texts = (
            whole[: self._random.randrange(len(whole))],
            b"[" * self._random.randrange(1, 20_000),
            b'{"op":' * 500,
            b"",
            b"null",
            b"[]",
            b'"op"',
            whole + whole,
            whole.replace(b'"', b"'"),
            b"\xef\xbb\xbf" + whole,
        )
        return client_frame(self._random.choice((TEXT, BINARY)), self._random.choice(texts))

    def _mutated(self) -> bytes:
        request = json.loads(json.dumps(self._random.choice(self._requests)))
        for _ in range(self._random.randrange(3)):
            self._mutate(request)
        return client_frame(self._random.choice((TEXT, TEXT, BINARY)), json.dumps(request).encode())

    def _mutate(self, request: dict[str, Any]) -> None:
        name = self._random.choice([*request, "id", "extra"])
        value = request.get(name)
        if isinstance(value, dict) and value and self._random.random() < 0.7:
            self._mutate(value)
        elif self._random.random() < 0.2:
            request.pop(name, None)
        else:
            request[name] = copy.deepcopy(self._random.choice(VALUES))

    def _truncated(self) -> bytes:
        frame = self._mutated()
        return frame[: self._random.randrange(1, len(frame))]
