"""What the page does when the venue, or the line to it, fails."""

import json
import re
from collections.abc import Callable

import pytest
from playwright.sync_api import WebSocketRoute, expect

from support.portal_page import Portal
from support.processes import VenueProcesses
from trading_engine.clients import Client

from .conftest import PASSWORD, TRADER

pytestmark = pytest.mark.e2e

SOCKET = re.compile(r".*/v1/ws$")


def through(keep: Callable[[str], bool]) -> Callable[[WebSocketRoute], None]:
    """Put a filter between the page and the venue: only messages that `keep` takes reach the page."""

    def handle(page_side: WebSocketRoute) -> None:
        venue_side = page_side.connect_to_server()
        venue_side.on_message(lambda message: page_side.send(message) if keep(str(message)) else None)

    return handle


def test_tes_restart_is_shown_and_nothing_of_it_is_lost(
    portal: Portal, quiet_venue: VenueProcesses, rival: Client, symbol: str
) -> None:
    portal.watch.allow_lost_connection()
    portal.sign_in(TRADER, PASSWORD, symbol)
    order_id = portal.place("buy", "100.00", "30")
    rival.place(symbol, "sell", 10, price="100.00")
    expect(portal.order_row(order_id)).to_contain_text("Partial")

    quiet_venue.kill("tes")
    expect(portal.banner).to_contain_text("Connection lost")
    expect(portal.connection).to_have_attribute("data-state", re.compile("down|connecting"))
    quiet_venue.start("tes", "-s", "TES", "--with-portal")
    quiet_venue.wait_ready()
    rival.place(symbol, "sell", 20, price="100.00")

    expect(portal.connection).to_have_attribute("data-state", "live", timeout=40_000)
    expect(portal.banner).to_be_hidden()
    expect(portal.order_row(order_id)).to_have_count(0)
    portal.tab("Fills")
    expect(portal.rows).to_have_count(2)
    again = portal.place("sell", "120.00", "3")
    expect(portal.level("asks", "120.00").locator(".mine")).to_have_text("3")
    portal.tab("Orders")
    expect(portal.order_row(again)).to_have_count(1)


def test_stopped_matching_is_shown_and_orders_are_held_back(
    portal: Portal, quiet_venue: VenueProcesses, symbol: str
) -> None:
    portal.watch.allow_lost_connection()
    portal.sign_in(TRADER, PASSWORD, symbol)
    portal.choose("buy", "99.00", "5")
    quiet_venue.stop("obs")
    expect(portal.banner).to_contain_text("Matching is unavailable")
    expect(portal.submit).to_be_disabled()
    quiet_venue.start("obs", "-s", "OBS")
    expect(portal.banner).to_be_hidden(timeout=40_000)
    portal.place("buy", "99.00", "5")


def test_lost_book_change_makes_the_page_ask_for_the_book_again(portal: Portal, rival: Client, symbol: str) -> None:
    dropped: list[str] = []

    def drop_one(text: str) -> bool:
        if dropped or json.loads(text)["type"] != "book":
            return True
        dropped.append(text)
        return False

    portal.page.route_web_socket(SOCKET, through(drop_one))
    portal.sign_in(TRADER, PASSWORD, symbol)
    rival.place(symbol, "sell", 50, price="101.00")
    rival.place(symbol, "sell", 60, price="102.00")
    # Changes of the same interval go out together: the one that follows the loss has to be of a later interval.
    while not dropped:
        portal.page.wait_for_timeout(20)
    rival.place(symbol, "sell", 70, price="103.00")

    for price, size in (("101.00", "50"), ("102.00", "60"), ("103.00", "70")):
        expect(portal.level("asks", price).locator(".size")).to_have_text(size)
    assert any("a change is missing" in text for text in portal.watch.warnings)


def test_silent_line_is_called_old_until_it_speaks_again(portal: Portal, symbol: str) -> None:
    is_silent = False
    portal.page.route_web_socket(SOCKET, through(lambda _text: not is_silent))
    portal.sign_in(TRADER, PASSWORD, symbol)
    is_silent = True
    expect(portal.banner).to_contain_text("silent", timeout=30_000)
    is_silent = False
    expect(portal.banner).to_be_hidden(timeout=30_000)
    expect(portal.connection).to_have_attribute("data-state", "live")


def test_lost_answer_does_not_make_a_second_order(portal: Portal, rival: Client, symbol: str) -> None:
    """The venue takes the order, the line dies before the answer: the page sends the same order again, by REST."""
    portal.watch.allow_lost_connection()
    sent: list[str] = []

    def cut_after_order(page_side: WebSocketRoute) -> None:
        venue_side = page_side.connect_to_server()

        def to_venue(message: str | bytes) -> None:
            venue_side.send(message)
            if json.loads(message)["op"] == "place":
                sent.append(str(message))

        def to_page(message: str | bytes) -> None:
            if sent and json.loads(message)["type"] == "ack" and json.loads(message)["op"] == "place":
                page_side.close(code=1011, reason="cut by the test")
            else:
                page_side.send(message)

        page_side.on_message(to_venue)
        venue_side.on_message(to_page)

    portal.page.route_web_socket(SOCKET, cut_after_order)
    portal.sign_in(TRADER, PASSWORD, symbol)
    portal.place("buy", "99.00", "5")
    assert len(sent) == 1
    expect(portal.rows).to_have_count(1)
    assert [str(level.quantity) for level in rival.book(symbol).bids] == ["5"]
