"""A margin account over Alpaca's API: what it owes, what it has sold short, what it may still buy, and that the venue sees it the same."""

from collections.abc import AsyncIterator
from decimal import Decimal

import pytest
import pytest_asyncio
from msgspec.structs import replace

from support.alpaca_account import Account, account_of
from support.tes_venue import Venue, running_venue, venue_config
from trading_engine.venue.commands import SetMargin
from trading_engine.venue.risk_limits import MarginTerms

pytestmark = pytest.mark.asyncio(loop_scope="module")

CREDIT = 10_000_000_00
SHORT_LOTS = 5_000


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def venue(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Venue]:
    """One instrument that needs half its value as equity and can be sold short, and one that needs all of it; no fees."""
    config = venue_config(tmp_path_factory.mktemp("v"))
    aapl, coin = (replace(each, maker_fee_bp="0", taker_fee_bp="0") for each in config.venue.instruments)
    aapl = replace(aapl, initial_margin_percent=50, maintenance_margin_percent=30, shortable=True)
    async with running_venue(replace(config, venue=replace(config.venue, instruments=(aapl, coin)))) as venue:
        yield venue


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def bob(venue: Venue) -> Account:
    return await account_of(venue, "bob")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def ann(venue: Venue, bob: Account) -> Account:
    """With credit, and short: she has sold the 1000 that she had, and 1000 more, at 230. She still has 1000 COIN at 60,000."""
    ann = await account_of(venue, "ann")
    account_id = int((await ann.ok("GET", "account"))["account_number"])
    await venue.server.gateway.submit(SetMargin(account_id, MarginTerms(CREDIT, SHORT_LOTS)))
    await bob.place("buy", "2000", "230")
    await ann.place("sell", "2000", "230")
    return ann


async def amounts(account: Account, *names: str) -> list[Decimal]:
    shown = await account.ok("GET", "account")
    return [Decimal(shown[name]) for name in names]


async def test_cash_account_has_no_margin_and_buys_with_what_it_has(bob: Account) -> None:
    shown = await bob.ok("GET", "account")
    assert (shown["multiplier"], shown["shorting_enabled"]) == ("1", False)
    assert (shown["initial_margin"], shown["maintenance_margin"]) == ("0.00", "0.00")
    assert shown["buying_power"] == shown["cash"] == shown["non_marginable_buying_power"]
    settings = await bob.ok("GET", "account/configurations")
    assert (settings["max_margin_multiplier"], settings["no_shorting"]) == ("1", True)


async def test_margin_account_is_shown_with_what_it_needs_and_may_buy(ann: Account) -> None:
    assert await amounts(ann, "cash", "long_market_value", "short_market_value", "equity") == [
        *(1_460_000, 60_000_000, -230_000, 61_230_000)
    ]
    assert await amounts(ann, "initial_margin", "maintenance_margin") == [60_115_000, 60_069_000]
    assert await amounts(ann, "multiplier", "buying_power", "non_marginable_buying_power") == [2, 2_230_000, 1_115_000]
    settings = await ann.ok("GET", "account/configurations")
    assert (settings["max_margin_multiplier"], settings["no_shorting"]) == ("2", False)
    assert await ann.ok("PATCH", "account/configurations", {"no_shorting": False}) == settings
    assert await ann.error("PATCH", "account/configurations", {"no_shorting": True}) == (422, 42210000)


async def test_short_position_is_negative_and_gains_when_the_price_falls(ann: Account, bob: Account) -> None:
    held = await ann.ok("GET", "positions/AAPL")
    assert (held["side"], held["qty"], held["market_value"], held["cost_basis"]) == (
        *("short", "-1000", "-230000.00", "-230000.00"),
    )
    assert (held["avg_entry_price"], held["unrealized_pl"], held["asset_marginable"]) == ("230.00", "0.00", True)
    await bob.place("buy", "1", "229")
    await bob.place("sell", "1", "229")
    moved = await ann.ok("GET", "positions/AAPL")
    assert (moved["unrealized_pl"], moved["unrealized_plpc"]) == ("1000.00", "0.004348")
    await bob.place("buy", "1", "230")
    await bob.place("sell", "1", "230")


@pytest.mark.parametrize(
    ("symbol", "price", "most", "step"), [("COIN", 60_000, "18.58", "18.6"), ("AAPL", 230, "10695", "10696")]
)
async def test_venue_takes_what_can_be_bought_and_no_more(
    ann: Account, symbol: str, price: int, most: str, step: str
) -> None:
    """Of AAPL the first 1000 only close."""
    order = {"symbol": symbol, "side": "buy", "type": "limit", "time_in_force": "day", "limit_price": price}
    refused = await ann.send("POST", "orders", {**order, "qty": step})
    assert (refused.status_code, "insufficient buying power" in refused.text) == (403, True)
    placed = await ann.place("buy", most, price, symbol=symbol)
    (left,) = await amounts(ann, "buying_power")
    assert 0 <= left < (2 if symbol == "COIN" else 1) * price
    await ann.ok("DELETE", f"orders/{placed['id']}")
    assert await amounts(ann, "buying_power") == [2_230_000]


async def test_sale_beyond_what_may_be_short_is_refused(ann: Account) -> None:
    """1000 are short already."""
    order = {"symbol": "AAPL", "side": "sell", "type": "limit", "time_in_force": "day", "limit_price": 240}
    refused = await ann.send("POST", "orders", {**order, "qty": SHORT_LOTS - 999})
    assert (refused.status_code, "insufficient qty available" in refused.text) == (403, True), refused.text
    await ann.place("sell", SHORT_LOTS - 1000, 240)
    await ann.ok("DELETE", "orders")


async def test_short_position_is_closed_by_buying(ann: Account, bob: Account) -> None:
    await bob.place("sell", "1000", "230")
    closed = await ann.ok("DELETE", "positions/AAPL")
    assert (closed["side"], closed["filled_qty"]) == ("buy", "1000")
    assert await ann.error("GET", "positions/AAPL") == (404, 40410000)
    assert await amounts(ann, "short_market_value", "buying_power") == [0, 2_460_000]
