"""docs/clients/tradingview.md in a real browser: its pages are served from another origin than the venue's, and draw its market."""

import json
from collections.abc import AsyncIterator, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import pytest
import pytest_asyncio
from chromium import ARGUMENTS
from playwright.async_api import Browser, Page, async_playwright

from support.client_programs import pointed_at, snippets_of
from support.portal import require_portal_files
from support.tes_venue import Venue, running_venue, venue_config
from trading_engine.frontend.trader_portal.bundle import NODE_MODULES

pytestmark = pytest.mark.asyncio(loop_scope="module")
DOCUMENT = Path(__file__).parents[2] / "docs" / "clients" / "tradingview.md"
LIBRARY = Path(__file__).parents[1] / "support" / "charts" / "charting_library.js"
LIGHTWEIGHT = NODE_MODULES / "lightweight-charts" / "dist" / "lightweight-charts.standalone.production.mjs"
TIMEOUT_MS = 20_000
CANDLE_COLOURS = ([38, 166, 154], [239, 83, 80])
"""Of lightweight-charts, up and down."""


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """A test's output is not the place."""


class Site(NamedTuple):
    """Pages of somebody else's."""

    folder: Path
    url: str


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(QuietHandler, directory=str(folder)))
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield Site(folder, f"http://127.0.0.1:{server.server_port}")
    server.shutdown()
    thread.join()
    server.server_close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def venue(tmp_path_factory: pytest.TempPathFactory, site: Site) -> AsyncIterator[Venue]:
    config = venue_config(tmp_path_factory.mktemp("v"), cors_origins=(site.url,))
    async with running_venue(config) as venue:
        await trade(venue, "230.05")
        yield venue


async def trade(venue: Venue, price: str) -> None:
    buyer, seller = await venue.log_in("ann"), await venue.log_in("bob")
    await buyer.place("buy", "2", price)
    await seller.place("sell", "2", price)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def chrome(chromium_path: Path) -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium_path, args=list(ARGUMENTS))
        yield browser
        await browser.close()


@pytest_asyncio.fixture(loop_scope="module")
async def tab(chrome: Browser) -> AsyncIterator[Page]:
    page = await chrome.new_page()
    page.set_default_timeout(TIMEOUT_MS)
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    yield page
    await page.close()
    assert {urlsplit(url).hostname for url in requests} == {"127.0.0.1"}


async def open_page(tab: Page, site: Site, html: str) -> None:
    (site.folder / "page.html").write_text(html)
    await tab.goto(f"{site.url}/page.html")


def snippet(venue: Venue, language: str) -> str:
    [found] = snippets_of(DOCUMENT, language)
    return pointed_at(venue, found)


async def test_documented_page_draws_the_market_and_follows_it(venue: Venue, site: Site, tab: Page) -> None:
    require_portal_files()
    (site.folder / LIGHTWEIGHT.name).write_bytes(LIGHTWEIGHT.read_bytes())
    await open_page(tab, site, snippet(venue, "html"))
    await tab.wait_for_function("document.title === 'AAPL 230.05'")
    await trade(venue, "231.5")
    await tab.wait_for_function("document.title === 'AAPL 231.5'")
    await tab.wait_for_function(
        """colours => [...document.querySelectorAll("canvas")].some((canvas) => {
          const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
          const seen = new Set();
          for (let at = 0; at < data.length; at += 4) seen.add(String(data.slice(at, at + 3)));
          return colours.some((colour) => seen.has(String(colour)));
        })""",
        arg=CANDLE_COLOURS,
    )


async def widget(venue: Venue, site: Site, tab: Page, symbol: str = "AAPL") -> None:
    """The documented widget, drawn or failed."""
    (site.folder / LIBRARY.name).write_text(LIBRARY.read_text())
    code = snippet(venue, "js").replace("AAPL", symbol)
    await open_page(tab, site, f"<div id=chart></div><script src={LIBRARY.name}></script><script>{code}</script>")
    await tab.wait_for_function("seen.bars.length || seen.errors.length")


async def ask(tab: Page, call: str) -> Any:
    """What the adapter answers to the chart, or the error that it raises."""
    return json.loads(
        await tab.evaluate(
            f"(async () => {{ try {{ return JSON.stringify(await datafeed.{call}) }}"
            " catch (error) { return JSON.stringify({ error: error.message }) } })()"
        )
    )


async def test_documented_widget_has_symbol_bars_and_what_is_traded_later(venue: Venue, site: Site, tab: Page) -> None:
    await widget(venue, site, tab)
    seen = await tab.evaluate("seen")
    assert seen["errors"] == []
    assert (seen["symbol"]["session"], seen["symbol"]["timezone"]) == ("24x7", "Etc/UTC")
    assert {bar["time"] % 60_000 for bar in seen["bars"]} == {0}
    await trade(venue, "229.5")
    await tab.wait_for_function("seen.ticks.some((bar) => bar.close === 229.5)")


async def test_chart_asks_for_all_else_and_is_answered_or_told_what_is_wrong(
    venue: Venue, site: Site, tab: Page
) -> None:
    await widget(venue, site, tab)
    assert [row["ticker"] for row in await ask(tab, "searchSymbols('aap', '', '')")] == ["AAPL"]
    assert [row["s"] for row in await ask(tab, "getQuotes(['AAPL', 'NONE'])")] == ["ok", "error"]
    assert await ask(tab, "getMarks(seen.symbol, 0, 2000000000, '1')") == []
    assert abs(await ask(tab, "getServerTime()") - await tab.evaluate("Date.now() / 1000")) < 60
    assert await ask(tab, "getBars(seen.symbol, '1', { from: 0, to: 60, countBack: 2 })") == {
        "bars": [],
        "meta": {"noData": True},
    }
    assert await ask(tab, "getBars(seen.symbol, '7', { from: 0, to: 60 })") == {
        "error": "unsupported resolution 7",
    }


async def test_chart_of_an_unknown_symbol_is_told_so(venue: Venue, site: Site, tab: Page) -> None:
    await widget(venue, site, tab, "NONE")
    assert await tab.evaluate("seen.errors") == ["Error: unknown_symbol"]
