"""Signatures against the vector that Binance publishes, and what of a request they cover."""

import pytest

from trading_engine.servers.tes.binance.errors import BinanceError
from trading_engine.servers.tes.binance.signing import (
    check_time,
    read_parameters,
    signature_of,
    signed_bytes,
    sorted_bytes,
)

SECRET = "NhqPtmdSJYdKjVHjA7PZj4Mge3R5YNiP1e3UZjInClVN65XAbvqqM6A7H5fATj0j"
QUERY = b"symbol=LTCBTC&side=BUY&type=LIMIT&timeInForce=GTC"
BODY = b"quantity=1&price=0.1&recvWindow=5000&timestamp=1499827319559"
SIGNATURE = "c8db56825ae71d6d79447849e617115f4a920fa2acdcab2b053c4b2838bd6b71"
MIXED_SIGNATURE = "0fd168b8ddb4876a0358a8d14d0c9f3da0e9b20c5d52b2a00fcf7d1c602f9a77"
"""Binance, "SIGNED Endpoint Examples for POST /api/v3/order": as a query, and parted between query and body."""


def test_signature_is_that_of_the_published_example() -> None:
    assert signature_of(SECRET, signed_bytes(QUERY + b"&" + BODY, b"")) == SIGNATURE
    assert signature_of(SECRET, signed_bytes(QUERY, BODY)) == MIXED_SIGNATURE


@pytest.mark.parametrize(
    ("query", "body"),
    [
        (b"signature=x&" + QUERY, BODY),
        (QUERY + b"&signature=x", BODY),
        (QUERY, BODY + b"&signature=x"),
    ],
)
def test_signature_covers_all_but_itself(query: bytes, body: bytes) -> None:
    assert signed_bytes(query, body) == QUERY + BODY


def test_signature_of_a_websocket_request_covers_its_parameters_by_name() -> None:
    assert sorted_bytes({"symbol": "B", "apiKey": "A", "signature": "x"}) == b"apiKey=A&symbol=B"


@pytest.mark.parametrize(
    ("parameters", "code"),
    [
        ({}, -1102),
        ({"timestamp": "x"}, -1100),
        ({"timestamp": "1000", "recvWindow": "-1"}, -1131),
        ({"timestamp": "1000", "recvWindow": "60001"}, -1131),
        ({"timestamp": "4999", "recvWindow": "5000"}, -1021),
        ({"timestamp": "11000"}, -1021),
    ],
)
def test_request_at_another_time_is_refused(parameters: dict[str, str], code: int) -> None:
    with pytest.raises(BinanceError) as refused:
        check_time(parameters, 10_000)
    assert refused.value.code == code


@pytest.mark.parametrize("timestamp", ["5000", "10999", "1796021585419000"])
def test_request_in_time_is_taken(timestamp: str) -> None:
    check_time({"timestamp": timestamp}, 10_000 if len(timestamp) < 10 else 1_796_021_586_000)


def test_parameter_that_comes_twice_is_refused() -> None:
    assert read_parameters(b"a=1", b"b=2&c=") == {"a": "1", "b": "2", "c": ""}
    with pytest.raises(BinanceError):
        read_parameters(b"a=1", b"a=1")
