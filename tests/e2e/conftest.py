"""A real browser on a real venue: OBS and TES as processes, Chromium on the page that the TES serves.

The browser belongs to a module and not to the session: while Playwright's synchronous API is open an event loop runs in this thread, and
asynchronous tests of the same worker could not run.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
from chromium import ARGUMENTS
from playwright.sync_api import Browser, expect, sync_playwright

from support.portal import require_portal_files
from support.portal_page import Portal
from support.processes import VenueProcesses, free_port, venue_processes
from trading_engine.clients import Client

SYMBOLS = [f"T{number:02}" for number in range(1, 31)]
"""Each test trades in an instrument of its own."""
HOSTILE_NAME = "<img src=x onerror=\"document.title='taken over'\"> & Sons"
TRADER = "trader"
RIVAL = "rival"
PASSWORD = "a-password-of-a-test"
EXPECT_TIMEOUT_MS = 20_000

expect.set_options(timeout=EXPECT_TIMEOUT_MS)


def configuration(*, bots: int) -> dict[str, object]:
    plenty = 1_000_000
    return {
        "venue": {
            "currencies": {"USD": {"decimals": 2}},
            "instruments": [
                {
                    "symbol": symbol,
                    "name": HOSTILE_NAME if symbol == SYMBOLS[-1] else f"Test {symbol}",
                    "reference_price": "100.00",
                }
                for symbol in SYMBOLS
            ],
        },
        "tes": {
            "rate_limits": {
                "orders_per_second": plenty,
                "orders_burst": plenty,
                "requests_per_second": plenty,
                "requests_burst": plenty,
                "logins_per_minute": plenty,
            }
        },
        "frontend": {"trader": {"port": free_port()}},
        "demo": {
            "users": [
                {"username": user, "password": PASSWORD, "cash": {"USD": "100000.00"}, "quantity_each": "1000"}
                for user in (TRADER, RIVAL)
            ]
        },
        "bots": {
            "makers": bots,
            "takers": bots,
            "noise": bots,
            "orders_per_second": 60.0,
            "cash": {"USD": "100000000.00"},
            "quantity_each": "100000",
        },
    }


def start_servers(venue: VenueProcesses) -> None:
    venue.start("obs", "-s", "OBS")
    venue.start("tes", "-s", "TES", "--with-portal")
    venue.wait_ready()


@pytest.fixture(scope="module")
def quiet_venue(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VenueProcesses]:
    """Nobody trades here but the test."""
    require_portal_files()
    with venue_processes(tmp_path_factory.mktemp("venue"), configuration(bots=0)) as venue:
        start_servers(venue)
        yield venue


@pytest.fixture(scope="module")
def chrome(chromium_path: Path) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium_path, args=list(ARGUMENTS))
        yield browser
        browser.close()


_free_symbols = iter(SYMBOLS[:-1])


@pytest.fixture
def symbol() -> str:
    return next(_free_symbols)


@pytest.fixture
def trader(quiet_venue: VenueProcesses) -> Iterator[Client]:
    """The same user as on the page; what a test leaves open is canceled."""
    with Client(quiet_venue.url, username=TRADER, password=PASSWORD) as client:
        yield client
        client.cancel_all()


@pytest.fixture
def portal(chrome: Browser, quiet_venue: VenueProcesses, trader: Client) -> Iterator[Portal]:
    context = chrome.new_context(viewport={"width": 1440, "height": 900}, locale="en-US")
    context.set_default_timeout(EXPECT_TIMEOUT_MS)
    opened = Portal(context.new_page(), quiet_venue.url)
    assert trader.orders().orders == []
    yield opened
    opened.watch.check()
    context.close()


@pytest.fixture
def rival(quiet_venue: VenueProcesses) -> Iterator[Client]:
    """Another trader, through the Python client."""
    with Client(quiet_venue.url, username=RIVAL, password=PASSWORD) as client:
        yield client
        client.cancel_all()
