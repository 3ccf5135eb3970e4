"""The page on a phone: one view at a time, targets for fingers."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect

from support.portal_page import Portal
from support.processes import VenueProcesses
from trading_engine.clients import Client

from .conftest import EXPECT_TIMEOUT_MS, PASSWORD, TRADER

pytestmark = pytest.mark.e2e

PANELS = {"markets": ".watchlist", "chart": ".chart", "book": ".book", "trade": ".ticket", "orders": ".blotter"}
TARGET_PX = 44


@pytest.fixture
def phone(chrome: Browser, quiet_venue: VenueProcesses, trader: Client) -> Iterator[Portal]:
    context = chrome.new_context(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True, locale="en-US")
    context.set_default_timeout(EXPECT_TIMEOUT_MS)
    opened = Portal(context.new_page(), quiet_venue.url)
    assert trader.orders().orders == []
    yield opened
    opened.watch.check()
    context.close()


def show(phone: Portal, view: str) -> None:
    phone.page.locator(f"#bottom-tabs [data-view={view}]").tap()
    expect(phone.page.locator(PANELS[view])).to_be_visible()


def test_each_view_shows_its_panel_alone_and_fits_the_width(phone: Portal, symbol: str) -> None:
    phone.open(symbol)
    phone.page.get_by_label("Username").fill(TRADER)
    phone.page.get_by_label("Password").fill(PASSWORD)
    phone.page.get_by_role("button", name="Sign in", exact=True).tap()
    for view, panel in PANELS.items():
        show(phone, view)
        for other in set(PANELS.values()) - {panel}:
            expect(phone.page.locator(other)).to_be_hidden()
        width = phone.page.evaluate("() => document.documentElement.scrollWidth")
        assert width <= 390, view


def test_order_is_placed_and_canceled_with_a_thumb(phone: Portal, rival: Client, symbol: str) -> None:
    rival.place(symbol, "buy", 50, price="99.00")
    phone.sign_in(TRADER, PASSWORD, symbol)
    show(phone, "book")
    phone.level("bids", "99.00").tap()
    expect(phone.page.locator(".ticket")).to_be_visible()
    expect(phone.price).to_have_value("99.00")
    order_id = phone.place("buy", "99.00", "7")
    show(phone, "orders")
    phone.page.get_by_role("button", name=f"Cancel order {order_id}").tap()
    expect(phone.order_row(order_id)).to_have_count(0)


def test_controls_of_the_ticket_are_large_enough_for_a_finger(phone: Portal, symbol: str) -> None:
    phone.sign_in(TRADER, PASSWORD, symbol)
    show(phone, "trade")
    controls = phone.page.locator(
        "#ticket :is(button, select):visible, #bottom-tabs button, #menu-button, #symbol-button"
    )
    heights = {
        control.get_attribute("id") or control.inner_text(): control.bounding_box() for control in controls.all()
    }
    assert len(heights) > 15
    small = {
        name: box["height"] for name, box in heights.items() if box is not None and box["height"] < TARGET_PX - 0.5
    }
    assert small == {}
