"""In which state a market is, as clients see it: phases, halts, auctions, and after a restart in the middle of a call."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from support.deadline import deadline_of
from support.tes_venue import Socket, Venue, running_venue, venue_config
from trading_engine.servers.tes.models.views import rfc3339
from trading_engine.venue.commands import SetTradingPhase
from trading_engine.venue.terms import TradingPhase

ENDS_NS = 4_102_444_800_000_000_000
NOTHING = {"price": None, "quantity": "0", "imbalance": "0", "imbalance_side": None}


@pytest.fixture(autouse=True)
async def deadline() -> AsyncIterator[None]:
    async with deadline_of(60.0):
        yield


@pytest.fixture
async def venue(tmp_path: Path) -> AsyncIterator[Venue]:
    async with running_venue(venue_config(tmp_path)) as venue:
        yield venue


async def change_phase(venue: Venue, phase: TradingPhase, ends_ns: int = 0, instrument_id: int = 1) -> None:
    await venue.server.gateway.submit(SetTradingPhase(instrument_id, phase, ends_ns=ends_ns))


async def next_session(socket: Socket, phase: str) -> dict[str, Any]:
    message = await socket.until(lambda m: m["type"] == "session" and m["phase"] == phase)
    return {key: value for key, value in message.items() if key != "type"}


async def test_call_is_told_with_its_end_its_indications_and_its_auction(venue: Venue) -> None:
    ann, bob = await venue.log_in("ann"), await venue.log_in("bob")
    async with venue.socket() as socket:
        assert await socket.result(op="subscribe", channel="session", symbol="*") == {
            "channel": "session",
            "symbol": "*",
        }
        first = [await socket.of_type("session") for _ in range(2)]
        assert [(message["symbol"], message["phase"], message["auction"]) for message in first] == [
            ("AAPL", "continuous", None),
            ("COIN", "continuous", None),
        ]
        await change_phase(venue, TradingPhase.INTRADAY_CALL, ENDS_NS)
        begun = await next_session(socket, "intraday_call")
        assert (begun["symbol"], begun["ends_at"], begun["auction"]) == ("AAPL", rfc3339(ENDS_NS), NOTHING)
        await ann.place("buy", "30", "231.00")
        await bob.place("sell", "20", "229.00")
        indicated = await socket.until(lambda m: m["type"] == "session" and m["auction"]["quantity"] == "20")
        auction = {"price": "231.00", "quantity": "20", "imbalance": "10", "imbalance_side": "buy"}
        assert indicated["auction"] == auction
        assert (await ann.get("/v1/instruments/AAPL/session"))["auction"] == auction
        await change_phase(venue, TradingPhase.CONTINUOUS)
        over = await next_session(socket, "continuous")
        assert (over["ends_at"], over["auction"]) == (None, None)
        assert over["last_auction"] == {**auction, "phase": "intraday_call", "time": over["last_auction"]["time"]}
        assert await ann.get("/v1/instruments/AAPL/session") == over


async def test_call_is_the_same_for_a_server_that_starts_in_it(venue: Venue) -> None:
    ann, bob = await venue.log_in("ann"), await venue.log_in("bob")
    await change_phase(venue, TradingPhase.REOPENING_CALL, ENDS_NS)
    await ann.place("buy", "30", "231.00")
    await bob.place("sell", "50", "229.00", display_quantity="10")
    before = await ann.get("/v1/instruments/AAPL/session")
    book = await ann.get("/v1/instruments/AAPL/l3")
    assert (before["ends_at"], before["auction"]["quantity"]) == (rfc3339(ENDS_NS), "30")
    assert [row[1:] for row in book["asks"]] == [["229.00", "10"]]
    await venue.tes.stop()
    await venue.tes.start()
    await venue.tes.ready()
    assert await ann.get("/v1/instruments/AAPL/session") == before
    again = await ann.get("/v1/instruments/AAPL/l3")
    assert {**again, "time": None} == {**book, "time": None}


async def test_halt_of_all_markets_is_told_of_each(venue: Venue) -> None:
    async with venue.socket() as socket:
        await socket.result(op="subscribe", channel="session", symbol="*")
        await change_phase(venue, TradingPhase.HALTED, instrument_id=0)
        halted = [await next_session(socket, "halted") for _ in range(2)]
        assert [message["symbol"] for message in halted] == ["AAPL", "COIN"]
        assert {message["halted_by"] for message in halted} == {None}


IMPOSSIBLE = [
    ({"channel": "session"}, "INVALID_REQUEST"),
    ({"channel": "book", "symbol": "*"}, "UNKNOWN_INSTRUMENT"),
    ({"channel": "l3", "symbol": "*"}, "UNKNOWN_INSTRUMENT"),
    ({"channel": "session", "symbol": "NONE"}, "UNKNOWN_INSTRUMENT"),
    ({"channel": "queue"}, "NOT_AUTHENTICATED"),
    ({"channel": "l4", "symbol": "AAPL"}, "INVALID_REQUEST"),
    ({"channel": "queue", "symbol": "AAPL"}, "NOT_AUTHENTICATED"),
]


async def test_subscription_that_is_not_possible_is_refused(venue: Venue) -> None:
    async with venue.socket() as socket:
        for request, code in IMPOSSIBLE:
            assert (await socket.error(op="subscribe", **request))["code"] == code, request
    async with venue.socket(await venue.log_in("ann")) as socket:
        assert (await socket.error(op="subscribe", channel="queue", symbol="AAPL"))["field"] == "symbol"
