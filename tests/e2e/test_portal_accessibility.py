"""Whether everybody can use the page: names, roles and contrast by axe-core, and the keyboard alone."""

import re

import pytest
from playwright.sync_api import Browser, Page, expect

from support.portal import require_portal_files
from support.portal_page import Portal
from support.processes import VenueProcesses
from trading_engine.clients import Client
from trading_engine.frontend.trader_portal.bundle import NODE_MODULES

from .conftest import EXPECT_TIMEOUT_MS, PASSWORD, TRADER

pytestmark = pytest.mark.e2e

RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
THEMES = [("dark", "classic"), ("dark", "colourblind"), ("light", "classic"), ("light", "colourblind")]
AXE = NODE_MODULES / "axe-core" / "axe.min.js"


def expect_no_violation(page: Page) -> None:
    found = page.evaluate(
        "(rules) => axe.run(document, { runOnly: rules, resultTypes: ['violations'] }).then((result) => result.violations)",
        RULES,
    )
    lines = [
        f"{violation['id']}: {' '.join(node['target'])}: {node['failureSummary']}"
        for violation in found
        for node in violation["nodes"]
    ]
    if lines:
        pytest.fail("\n".join(lines), pytrace=False)


@pytest.mark.parametrize(("theme", "palette"), THEMES)
def test_page_breaks_no_rule_of_wcag(
    chrome: Browser, quiet_venue: VenueProcesses, trader: Client, rival: Client, symbol: str, theme: str, palette: str
) -> None:
    require_portal_files(dev=True)
    rival.place(symbol, "sell", 50, price="101.00")
    trader.place(symbol, "buy", 20, price="99.00")
    # The checker itself is put into the page, which the page's policy forbids.
    context = chrome.new_context(viewport={"width": 1440, "height": 900}, bypass_csp=True, locale="en-US")
    context.set_default_timeout(EXPECT_TIMEOUT_MS)
    context.add_init_script(
        f"localStorage.setItem('portal.settings', JSON.stringify({{theme: '{theme}', palette: '{palette}'}}))"
    )
    portal = Portal(context.new_page(), quiet_venue.url)
    portal.open(symbol)
    portal.page.add_script_tag(path=AXE)
    expect_no_violation(portal.page)
    portal.sign_in(TRADER, PASSWORD, symbol)
    expect(portal.rows).to_have_count(1)
    expect_no_violation(portal.page)
    portal.page.keyboard.press("/")
    expect_no_violation(portal.page)
    portal.page.keyboard.press("Escape")
    for name in ("Positions", "Account", "History"):
        portal.tab(name)
        expect_no_violation(portal.page)
    context.close()


def test_order_is_placed_without_a_pointer(portal: Portal, rival: Client, symbol: str) -> None:
    rival.place(symbol, "buy", 50, price="99.00")
    portal.open(symbol)
    page = portal.page
    expect(page.get_by_label("Username")).to_be_focused()
    page.keyboard.type(TRADER)
    page.keyboard.press("Tab")
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Enter")
    portal.ready(symbol)
    page.locator("#ladder").focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(portal.price).to_have_value("99.00")
    page.keyboard.press("b")
    page.keyboard.type("3")
    page.keyboard.press("Enter")
    expect(portal.message).to_contain_text(re.compile(r"^Order \d+ is working"))
    expect(portal.level("bids", "99.00").locator(".size")).to_have_text("53")
