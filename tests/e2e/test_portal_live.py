"""The page on a market that moves by itself."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect

from support.portal import require_portal_files
from support.portal_page import Portal
from support.processes import VenueProcesses, venue_processes

from .conftest import EXPECT_TIMEOUT_MS, PASSWORD, TRADER, configuration, start_servers

pytestmark = pytest.mark.e2e

SYMBOL = "T01"
FIRST_TRADE_MS = 60_000


@pytest.fixture(scope="module")
def lively_venue(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VenueProcesses]:
    require_portal_files()
    with venue_processes(tmp_path_factory.mktemp("venue"), configuration(bots=2)) as venue:
        start_servers(venue)
        venue.start("bots", "-c", "bots")
        yield venue


def test_market_made_by_bots_is_shown_and_fills_an_order(chrome: Browser, lively_venue: VenueProcesses) -> None:
    context = chrome.new_context(viewport={"width": 1440, "height": 900}, locale="en-US")
    context.set_default_timeout(EXPECT_TIMEOUT_MS)
    portal = Portal(context.new_page(), lively_venue.url)
    portal.sign_in(TRADER, PASSWORD, SYMBOL)
    expect(portal.page.locator("#asks .level:not([hidden])").first).to_be_visible(timeout=FIRST_TRADE_MS)
    expect(portal.page.locator("#tape-rows .trade-row").first).to_have_text(re.compile(r"\d"), timeout=FIRST_TRADE_MS)
    expect(portal.page.locator("#ohlc dd").first).to_have_text(re.compile(r"^\d+\.\d\d$"))
    expect(portal.page.locator("#book-spread")).to_contain_text(re.compile(r"\d+ ticks? · [\d.]+ bp"))

    # At the worst ask on the screen: the best one may be gone by the time the order is there.
    portal.page.locator("#asks .level:not([hidden])").first.click()
    portal.quantity.fill("1")
    portal.submit.click()
    expect(portal.message).to_have_attribute("data-kind", "good")

    portal.tab("Fills")
    expect(portal.rows.first).to_contain_text(SYMBOL, timeout=FIRST_TRADE_MS)
    assert portal.cells(portal.rows.first)[4] == "1"
    portal.watch.check()
    context.close()
