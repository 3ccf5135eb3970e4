"""The order book server finds its matching algorithms by the place where they are."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.transcript import PLAIN
from support.venue_driver import ALICE, BOB, BUY, SELL, VenueDriver, of_type
from trading_engine.servers.obs import strategy
from trading_engine.servers.obs.strategy import BrokenStrategy, strategies
from trading_engine.venue import Venue
from trading_engine.venue import commands as c
from trading_engine.venue import events as e
from trading_engine.venue.instrument import MatchingRules
from trading_engine.venue.terms import TradingPhase

NEWEST_FIRST = """
from trading_engine.venue.matching import Allocation

NAME = "newest-first"


def allocate(_rules, incoming_lots, offers):
    allocation = Allocation(incoming_lots, offers)
    for position in reversed(range(len(offers))):
        allocation.give(position, allocation.left_lots)
    return allocation.shares
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder in which the package's modules are looked for too."""
    monkeypatch.setattr(strategy, "__path__", [*strategy.__path__, str(tmp_path)])
    known = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - known:
        del sys.modules[name]


def test_strategies_are_the_modules_of_the_package() -> None:
    assert sorted(strategies()) == ["lead-market-maker", "price-time", "pro-rata", "size-time", "split"]
    assert [name for name, found in strategies().items() if found.in_time_order] == ["price-time"]


def test_strategy_that_was_added_as_one_file_is_found_and_trades(folder: Path) -> None:
    (folder / "newest_first.py").write_text(NEWEST_FIRST)
    driver = VenueDriver(Venue(strategies()))
    driver.do(c.ListInstrument(PLAIN))
    listed = PLAIN.__class__(2, "NEW", "", "USD", "1", "1", 1, matching=MatchingRules("newest-first"))
    assert driver.do(c.ListInstrument(listed)) == (e.InstrumentListed(listed),)
    driver.do(c.SetTradingPhase(0, TradingPhase.CONTINUOUS))
    for account_id in (ALICE, BOB):
        driver.do(c.OpenAccount(account_id, (("USD", 10_000),), ((2, 100),)))
    first = driver.rest(ALICE, SELL, 5, 100, instrument_id=2)
    second = driver.rest(ALICE, SELL, 5, 100, instrument_id=2)
    trades = of_type(driver.place(BOB, BUY, 7, 100, instrument_id=2), e.TradeExecuted)
    assert [(trade.maker_order_id, trade.quantity_lots) for trade in trades if isinstance(trade, e.TradeExecuted)] == [
        (second, 5),
        (first, 2),
    ]


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("def allocate(*_): return []", "NAME is to be the name"),
        ("NAME = ''", "NAME is to be the name"),
        ("NAME = 'mine'", "no function allocate"),
        ("NAME = 'pro-rata'\ndef allocate(*_): return []", "another module has the name 'pro-rata' too"),
    ],
)
def test_strategy_that_is_none_stops_the_start(folder: Path, code: str, message: str) -> None:
    (folder / "zzz_broken.py").write_text(code)
    with pytest.raises(BrokenStrategy, match=message):
        strategies()
