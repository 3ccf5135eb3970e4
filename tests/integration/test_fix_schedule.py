"""Sessions with hours: the gateway's clock is the test's."""

import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest
import pytest_asyncio

from support.fix_client import FixGateway, shown
from support.tes_venue import Venue, running_venue, venue_config
from trading_engine.servers.fix.clock import Clock

pytestmark = pytest.mark.asyncio(loop_scope="module")

MONDAY = datetime(2026, 11, 30, tzinfo=UTC).timestamp()
HOUR_S = 3600.0
DAY_S = 24 * HOUR_S


class SetClock:
    def __init__(self, utc_s: float) -> None:
        self.utc_s = utc_s
        self.clock = Clock(lambda: self.utc_s, time.monotonic)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def venue(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Venue]:
    async with running_venue(venue_config(tmp_path_factory.mktemp("v"))) as venue:
        yield venue


async def gateway_at(venue: Venue, clock: SetClock, **fix: object) -> FixGateway:
    gateway = FixGateway(venue, **fix)
    gateway.clock = clock.clock
    return await gateway.start()


async def test_session_ends_with_its_hours_and_the_next_one_begins_with_number_1(venue: Venue) -> None:
    clock = SetClock(MONDAY + 16 * HOUR_S)
    gateway = await gateway_at(venue, clock, session_start="08:00", session_end="17:00")
    bob = await venue.log_in("bob")
    async with gateway.client(comp_id="HOURS") as ann:
        assert shown(dict((await ann.log_on()).fields), 34) == ["1"]
        ann.order("s1", "1", "10", "230.00", (59, "1"))
        await ann.report()
        clock.utc_s += 2 * HOUR_S
        assert (await ann.next("5")).get(58) == "The session's time is over"
        ann.send("5")
        await ann.closed()
        assert (await ann.log_on()).get(58) == "It is not the time of a session"
        await bob.place("sell", "4", "230.00")
        clock.utc_s = MONDAY + DAY_S + 8 * HOUR_S
        ann.next_out = 1
        assert shown(dict((await ann.log_on()).fields), 35, 34) == ["A", "1"]
        assert shown(await ann.report(), 34, 11, 14) == ["2", "s1", "4"]
        ann.drop()
    await gateway.stop()


async def test_session_that_is_logged_on_again_within_its_hours_goes_on(venue: Venue) -> None:
    clock = SetClock(MONDAY + 23 * HOUR_S)
    hours = {
        "session_start": "22:00",
        "session_end": "21:00",
        "session_start_day": "sunday",
        "session_end_day": "friday",
    }
    gateway = await gateway_at(venue, clock, **hours)
    async with gateway.client(comp_id="WEEK") as ann:
        await ann.log_on()
        await ann.log_out()
        clock.utc_s += 3 * DAY_S
        await gateway.stop()
        await gateway.start()
        assert shown(dict((await ann.log_on()).fields), 35, 34) == ["A", "3"]
    await gateway.stop()


async def test_logon_begins_anew_where_that_is_configured(venue: Venue) -> None:
    gateway = await gateway_at(venue, SetClock(MONDAY), reset_on_logon=True)
    async with gateway.client(comp_id="ANEW") as ann:
        for _ in range(2):
            ann.next_out = 1
            assert shown(dict((await ann.log_on()).fields), 35, 34) == ["A", "1"]
            ann.send("2", (7, "1"), (16, "0"))
            assert shown(dict((await ann.next("4")).fields), 34, 36) == ["1", "2"]
            await ann.log_out()
    await gateway.stop()
