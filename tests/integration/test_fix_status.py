"""SecurityStatus and TradingSessionStatus of markets whose phases change."""

import pytest

from support.fix_client import FixClient, FixGateway, shown
from support.tes_venue import Venue
from trading_engine.servers.fix.market_status import CODES
from trading_engine.servers.tes.models.views import PHASE_NAMES
from trading_engine.venue.commands import SetTradingPhase
from trading_engine.venue.terms import TradingPhase

pytestmark = pytest.mark.asyncio(loop_scope="module")
AAPL, COIN = 1, 2


async def set_phase(venue: Venue, instrument_id: int, phase: TradingPhase) -> None:
    await venue.server.gateway.submit(SetTradingPhase(instrument_id, phase))


async def status(client: FixClient) -> list[str]:
    return shown(dict((await client.next("f")).fields), 324, 55, 325, 326, 58)


async def session_status(client: FixClient) -> list[str]:
    return shown(dict((await client.next("h")).fields), 335, 336, 325, 340)


async def test_every_phase_has_codes() -> None:
    assert CODES.keys() == set(PHASE_NAMES.values())


@pytest.mark.parametrize(("begin_string", "call", "word"), [("FIX.4.4", "22", True), ("FIX.4.2", "5", False)])
async def test_security_status_is_told_at_once_and_when_it_changes(
    venue: Venue, gateway: FixGateway, begin_string: str, call: str, word: bool
) -> None:
    async with gateway.client(begin_string=begin_string, comp_id="STATUS") as ann:
        await ann.log_on()
        ann.send("e", (324, "S1"), (55, "AAPL"), (263, "1"))
        told = [await status(ann)]
        for phase in (TradingPhase.HALTED, TradingPhase.OPENING_CALL, TradingPhase.CONTINUOUS):
            await set_phase(venue, COIN, phase)
            await set_phase(venue, AAPL, phase)
            told.append(await status(ann))
        assert [row[:2] for row in told] == [["S1", "AAPL"]] * 4
        assert [row[2:4] for row in told] == [["N", "17"], ["Y", "2"], ["Y", call], ["Y", "17"]]
        words = ["continuous", "halted", "opening_call", "continuous"]
        assert [row[4] for row in told] == (words if word else ["-"] * 4)
        ann.send("e", (324, "S1"), (55, "AAPL"), (263, "2"))
        await set_phase(venue, AAPL, TradingPhase.HALTED)
        ann.send("e", (324, "S2"), (55, "AAPL"), (263, "0"))
        assert (await status(ann))[:4] == ["S2", "AAPL", "N", "2"]
        await set_phase(venue, AAPL, TradingPhase.CONTINUOUS)
        ann.send("e", (324, "S3"), (55, "NONE"), (263, "0"))
        assert (await status(ann))[:4] == ["S3", "NONE", "N", "20"]


async def test_venue_is_in_the_state_of_the_market_that_is_most_open(venue: Venue, gateway: FixGateway) -> None:
    async with gateway.client(comp_id="VENUE-STATUS") as ann, gateway.client("bob", comp_id="VENUE-STATUS") as bob:
        for client in (ann, bob):
            await client.log_on()
            client.send("g", (335, "T1"), (263, "1"))
            assert await session_status(client) == ["T1", "1", "N", "2"]
        await set_phase(venue, AAPL, TradingPhase.HALTED)
        await set_phase(venue, COIN, TradingPhase.CLOSED)
        assert [await session_status(client) for client in (ann, bob)] == [["T1", "1", "Y", "1"]] * 2
        await set_phase(venue, AAPL, TradingPhase.CLOSED)
        assert await session_status(ann) == ["T1", "1", "Y", "3"]
        bob.drop()
        await set_phase(venue, COIN, TradingPhase.CLOSING_CALL)
        assert await session_status(ann) == ["T1", "1", "Y", "5"]
        for instrument in (AAPL, COIN):
            await set_phase(venue, instrument, TradingPhase.CONTINUOUS)
        assert await session_status(ann) == ["T1", "1", "Y", "2"]


@pytest.mark.parametrize(
    ("msg_type", "fields", "text"),
    [
        ("g", [(335, "R"), (263, "0"), (336, "NIGHT")], "TradingSessionID(336) is 1: there is one"),
        ("e", [(324, "AGAIN"), (55, "AAPL"), (263, "1")], "there is a subscription of this id already"),
    ],
)
async def test_status_that_cannot_be_had_is_refused(
    gateway: FixGateway, msg_type: str, fields: list[tuple[int, str]], text: str
) -> None:
    async with gateway.client(comp_id=f"NO-STATUS-{msg_type}") as ann:
        await ann.log_on()
        ann.send("e", (324, "AGAIN"), (55, "AAPL"), (263, "1"))
        await ann.next("f")
        ann.send(msg_type, *fields)
        assert shown(dict((await ann.next("j")).fields), 372, 380, 58) == [msg_type, "0", text]
