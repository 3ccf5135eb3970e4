"""Trading from the page, against another client of the API."""

import re
import time
from decimal import Decimal

import httpx
import pytest
import yaml
from playwright.sync_api import expect

from support.portal_page import Portal
from support.processes import VenueProcesses
from trading_engine.clients import Client

from .conftest import PASSWORD, TRADER

pytestmark = pytest.mark.e2e

START_TIMEOUT_S = 60.0


def test_limit_order_is_seen_in_ladder_and_blotter_and_filled_by_another_client(
    portal: Portal, rival: Client, symbol: str
) -> None:
    rival.place(symbol, "sell", 50, price="101.00")
    portal.sign_in(TRADER, PASSWORD, symbol)
    expect(portal.level("asks", "101.00").locator(".size")).to_have_text("50")

    order_id = portal.place("buy", "100.25", "30")

    expect(portal.message).to_contain_text(re.compile(r"is working · acknowledged in [\d.]+ ms"))
    own_level = portal.level("bids", "100.25")
    expect(own_level).to_have_class(re.compile(r"\bown\b"))
    expect(own_level.locator(".mine")).to_have_text("30")
    expect(own_level.locator(".size")).to_have_text("30")
    row = portal.order_row(order_id)
    expect(row).to_contain_text("Working")
    assert portal.cells(row)[1:7] == [symbol, "Buy", "Limit", "DAY", "100.25", "30"]

    rival.place(symbol, "sell", 10, price="100.25")
    expect(row).to_contain_text("Partial")
    expect(own_level.locator(".mine")).to_have_text("20")
    rival.place(symbol, "sell", 20, price="100.00")
    expect(row).to_have_count(0)
    expect(own_level).to_have_count(0)
    expect(portal.toasts).to_contain_text(f"Bought 30 {symbol} at 100.25")

    portal.tab("Fills")
    expect(portal.rows).to_have_count(2)
    assert [portal.cells(found)[1:8] for found in portal.rows.all()] == [
        [symbol, "Buy", "100.25", "20", "2,005.00", "0.20", "maker"],
        [symbol, "Buy", "100.25", "10", "1,002.50", "0.11", "maker"],
    ]
    expect(portal.page.locator("#tape-rows .trade-row").first).to_contain_text("100.25")
    expect(portal.page.locator("#top-last")).to_have_text("100.25")
    portal.tab("Positions")
    expect(portal.rows.locator("td").nth(1)).to_have_text("1,030")


def test_order_is_canceled_from_the_blotter(portal: Portal, symbol: str) -> None:
    portal.sign_in(TRADER, PASSWORD, symbol)
    kept = portal.place("buy", "98.00", "5")
    order_id = portal.place("buy", "99.00", "5")
    expect(portal.level("bids", "99.00")).to_have_count(1)

    portal.page.get_by_role("button", name=f"Cancel order {order_id}").click()

    expect(portal.order_row(order_id)).to_have_count(0)
    expect(portal.level("bids", "99.00")).to_have_count(0)
    expect(portal.order_row(kept)).to_have_count(1)
    expect(portal.toasts).to_contain_text(f"Buy 5 {symbol} canceled")
    portal.tab("History")
    expect(portal.rows.first).to_contain_text("Canceled")


def test_cancel_all_leaves_no_order(portal: Portal, symbol: str) -> None:
    portal.sign_in(TRADER, PASSWORD, symbol)
    for price in ("97.00", "98.00", "99.00"):
        portal.place("buy", price, "5")
    expect(portal.rows).to_have_count(3)
    portal.page.get_by_role("button", name="Cancel all").click()
    expect(portal.rows).to_have_count(0)
    expect(portal.page.locator("#bids .level:not([hidden])")).to_have_count(0)


def test_order_is_changed_in_its_row(portal: Portal, rival: Client, symbol: str) -> None:
    portal.sign_in(TRADER, PASSWORD, symbol)
    order_id = portal.place("sell", "105.00", "40")
    row = portal.order_row(order_id)
    for name, text in (("quantity", "25"), ("price", "104.50")):
        row.get_by_title(f"Change the {name}").click()
        field = row.get_by_label(f"New {name}")
        field.fill(text)
        field.press("Enter")
        expect(row.get_by_title(f"Change the {name}")).to_have_text(text)
    expect(portal.level("asks", "104.50").locator(".mine")).to_have_text("25")
    expect(portal.level("asks", "105.00")).to_have_count(0)
    assert [str(level.quantity) for level in rival.book(symbol).asks] == ["25"]

    row.get_by_title("Change the price").click()
    row.get_by_label("New price").fill("1")
    row.get_by_label("New price").press("Escape")
    expect(row.get_by_title("Change the price")).to_have_text("104.50")


def test_what_is_wrong_is_said_before_sending(portal: Portal, symbol: str) -> None:
    portal.sign_in(TRADER, PASSWORD, symbol)
    for price, quantity, text in (
        ("100.005", "10", "multiple of the tick, 0.01"),
        ("", "10", "Enter a price"),
        ("100.00", "0", "greater than zero"),
        ("100.00", "", "Enter a quantity"),
        ("100.00", "2000000", "largest quantity is 1000000"),
    ):
        portal.choose("buy", price, quantity)
        portal.submit.click()
        expect(portal.message).to_contain_text(text)
    portal.tab("History")
    expect(portal.rows).to_have_count(0)


def test_refusals_of_the_venue_are_said_in_plain_words(portal: Portal, rival: Client, symbol: str) -> None:
    rival.place(symbol, "sell", 50, price="101.00")
    portal.sign_in(TRADER, PASSWORD, symbol)
    portal.choose("buy", "101.00", "10")
    portal.page.get_by_label("Post-only").check()
    portal.submit.click()
    expect(portal.message).to_contain_text("A post-only order would trade at once")
    portal.page.get_by_label("Post-only").uncheck()
    portal.choose("buy", "100.00", "999999")
    portal.submit.click()
    expect(portal.message).to_contain_text("The available cash does not cover the order")
    portal.choose("sell", "100.00", "1001")
    portal.submit.click()
    expect(portal.message).to_contain_text("The available position does not cover")
    expect(portal.rows).to_have_count(0)


def test_price_far_through_the_market_asks_for_a_second_press(portal: Portal, rival: Client, symbol: str) -> None:
    rival.place(symbol, "sell", 5, price="100.00")
    portal.sign_in(TRADER, PASSWORD, symbol)
    portal.choose("buy", "110.00", "5")
    portal.submit.click()
    expect(portal.message).to_contain_text("10.0% above the best ask")
    expect(portal.submit).to_have_text(f"Confirm: Buy 5 {symbol}")
    portal.submit.click()
    expect(portal.message).to_contain_text("is filled, 5 at 100.00")


def test_ticket_takes_prices_and_shares_from_what_is_known(
    portal: Portal, trader: Client, rival: Client, symbol: str
) -> None:
    rival.place(symbol, "buy", 50, price="99.00")
    rival.place(symbol, "sell", 70, price="100.00")
    portal.sign_in(TRADER, PASSWORD, symbol)
    portal.level("asks", "100.00").click()
    expect(portal.price).to_have_value("100.00")
    for name, price in (("Bid", "99.00"), ("Mid", "99.50"), ("Ask", "100.00")):
        portal.page.get_by_role("button", name=name, exact=True).click()
        expect(portal.price).to_have_value(price)
    most = int(trader.portfolio().cash[0].available / Decimal("100.03"))  # At 100.00 with the higher fee, of 3 bp.
    portal.page.get_by_role("button", name="Max", exact=True).click()
    expect(portal.quantity).to_have_value(str(most))
    portal.page.get_by_role("button", name="25%", exact=True).click()
    expect(portal.quantity).to_have_value(str(most // 4))
    portal.quantity.fill("249")
    expect(portal.page.locator("#est-notional")).to_have_text("24,900.00")
    expect(portal.page.locator("#est-fee")).to_have_text("7.47")
    portal.page.locator("#side-sell").click()
    portal.page.get_by_role("button", name="50%", exact=True).click()
    expect(portal.quantity).to_have_value("500")
    portal.price.press("ArrowUp")
    expect(portal.price).to_have_value("100.01")
    portal.price.press("Shift+ArrowDown")
    expect(portal.price).to_have_value("99.91")


def test_market_order_shows_only_the_fields_that_matter_and_fills(portal: Portal, rival: Client, symbol: str) -> None:
    rival.place(symbol, "sell", 10, price="100.00")
    rival.place(symbol, "sell", 10, price="100.50")
    portal.sign_in(TRADER, PASSWORD, symbol)
    portal.choose("buy", None, "15", order_type="market")
    expect(portal.price).to_be_hidden()
    expect(portal.page.get_by_label("Post-only")).to_be_hidden()
    expect(portal.page.locator("#est-notional")).to_have_text("1,502.50")
    portal.submit.click()
    expect(portal.message).to_contain_text("is filled, 15 at 100.166667")


def test_keys_reach_ticket_palette_and_help(portal: Portal, symbol: str) -> None:
    portal.sign_in(TRADER, PASSWORD, symbol)
    page = portal.page
    page.keyboard.press("s")
    expect(page.locator("#side-sell")).to_have_attribute("aria-checked", "true")
    expect(portal.quantity).to_be_focused()
    page.keyboard.press("b")
    expect(page.locator("#side-buy")).to_have_attribute("aria-checked", "true")
    page.keyboard.press("Escape")
    expect(portal.quantity).not_to_be_focused()
    page.keyboard.press("?")
    expect(page.locator("#help")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#help")).to_be_hidden()
    page.keyboard.press("/")
    page.keyboard.type("t2")
    page.keyboard.press("Escape")
    expect(page.locator("#palette")).to_be_hidden()
    page.keyboard.press("/")
    page.keyboard.type("t29")
    page.keyboard.press("Enter")
    expect(page.locator("#top-symbol")).to_have_text("T29")
    assert page.url.endswith("#T29")


def test_name_of_an_instrument_is_text_whatever_it_holds(portal: Portal) -> None:
    portal.sign_in(TRADER, PASSWORD, "T30")
    expect(portal.page.locator("#top-name")).to_contain_text("<img src=x onerror=")
    portal.page.keyboard.press("/")
    expect(portal.page.locator("#palette-list")).to_contain_text("<img src=x")
    assert portal.page.locator("img").count() == 0
    assert "taken over" not in portal.page.title()


def test_session_outlasts_a_reload_and_ends_with_signing_out(portal: Portal, symbol: str) -> None:
    portal.watch.allow("401")
    portal.open(symbol)
    portal.page.get_by_label("Username").fill(TRADER)
    portal.page.get_by_label("Password").fill("wrong")
    portal.page.keyboard.press("Enter")
    expect(portal.page.locator("#login-message")).not_to_be_empty()
    portal.sign_in(TRADER, PASSWORD, symbol)
    order_id = portal.place("buy", "99.00", "5")
    portal.page.reload()
    portal.ready(symbol)
    expect(portal.order_row(order_id)).to_have_count(1)
    portal.page.locator("#menu-button").click()
    portal.page.get_by_role("menuitem", name="Sign out").click()
    expect(portal.page.locator("#login")).to_be_visible()
    portal.page.reload()
    expect(portal.page.locator("#login")).to_be_visible()


def test_token_that_no_longer_serves_is_renewed_without_a_word(portal: Portal, symbol: str) -> None:
    portal.watch.allow("401")
    portal.sign_in(TRADER, PASSWORD, symbol)
    stored = "JSON.parse(sessionStorage.getItem('portal.session'))"
    portal.page.evaluate(
        f"() => sessionStorage.setItem('portal.session', JSON.stringify({{...{stored}, access: 'spent'}}))"
    )
    with portal.page.expect_response("**/v1/auth/refresh") as renewal:
        portal.page.reload()
    assert renewal.value.status == 200
    portal.ready(symbol)
    expect(portal.page.locator("#login")).to_be_hidden()
    portal.place("buy", "99.00", "5")
    assert portal.page.evaluate(f"() => {stored}.access") != "spent"


def test_market_can_be_watched_without_signing_in(portal: Portal, rival: Client, symbol: str) -> None:
    rival.place(symbol, "sell", 50, price="101.00")
    portal.open(symbol)
    portal.page.get_by_role("button", name="Watch the market without signing in").click()
    expect(portal.level("asks", "101.00")).to_have_count(1)
    expect(portal.submit).to_have_text("Sign in to trade")
    expect(portal.page.locator("#blotter-body")).to_contain_text("Sign in to see your account")
    portal.submit.click()
    expect(portal.page.locator("#login")).to_be_visible()


def test_settings_are_kept(portal: Portal, symbol: str) -> None:
    portal.sign_in(TRADER, PASSWORD, symbol)
    portal.page.locator("#menu-button").click()
    portal.page.get_by_role("menuitemcheckbox", name="Light theme").click()
    portal.page.get_by_role("menuitemcheckbox", name="Colour-blind palette").click()
    portal.page.reload()
    expect(portal.page.locator("html")).to_have_attribute("data-theme", "light")
    expect(portal.page.locator("html")).to_have_attribute("data-palette", "colourblind")


def test_portal_served_alone_reaches_the_api_of_the_venue(
    portal: Portal, quiet_venue: VenueProcesses, symbol: str
) -> None:
    portal.url = f"http://127.0.0.1:{portal_port(quiet_venue)}"
    quiet_venue.start(
        "portal", "--frontend", "trader", "--url", quiet_venue.url, "--port", str(portal_port(quiet_venue))
    )
    try:
        wait_until_served(portal.url)
        portal.sign_in(TRADER, PASSWORD, symbol)
        order_id = portal.place("buy", "99.00", "5")
        portal.page.get_by_role("button", name=f"Cancel order {order_id}").click()
        expect(portal.order_row(order_id)).to_have_count(0)
    finally:
        quiet_venue.kill("portal")


def portal_port(venue: VenueProcesses) -> int:
    """The port whose pages the TES lets use its API."""
    return int(yaml.safe_load(venue.config_path.read_text())["frontend"]["trader"]["port"])


def wait_until_served(url: str) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while True:
        try:
            httpx.get(url, trust_env=False).raise_for_status()
            return
        except httpx.HTTPError:
            assert time.monotonic() < deadline, "the portal was not served in time"
            time.sleep(0.05)
