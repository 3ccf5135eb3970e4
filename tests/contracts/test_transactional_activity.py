"""What happened in an account, and what it was worth, each against the same worked out forwards from the events."""

from typing import Any

import pytest

from support.random_market import ACCOUNTS, INSTRUMENTS, random_market
from support.venue_driver import VenueDriver
from trading_engine.database.transactional.activity import Traded, Window
from trading_engine.database.transactional.database import TransactionalDatabase
from trading_engine.database.transactional.projection import TransactionalProjection
from trading_engine.database.transactional.venue_activity import VenueActivity
from trading_engine.database.transactional.venue_trading import VenueTrading
from trading_engine.servers.tes.services.equity import EquityHistory
from trading_engine.servers.tes.services.market_data import Market, MarketData
from trading_engine.venue.events import (
    CashAdjusted,
    CashChanged,
    PositionChanged,
    TradeExecuted,
)
from trading_engine.venue.order_state import LiveOrders, OrderReport
from trading_engine.venue.terms import Side

COMMANDS = 400
COMMAND_NS = 1_000
"""Between two commands of a driver."""


@pytest.fixture(scope="module")
def driver() -> VenueDriver:
    return random_market(seed=20_261_130, commands=COMMANDS)


@pytest.fixture
async def filled(database: TransactionalDatabase, driver: VenueDriver) -> TransactionalDatabase:
    await TransactionalProjection(database).apply(driver.batches)
    return database


def fills_of(driver: VenueDriver, account_id: int) -> list[OrderReport]:
    """Oldest first."""
    live = LiveOrders()
    reports = [report for batch in driver.batches for report in live.apply(batch)]
    return [report for report in reports if report.fill is not None and report.order.account_id == account_id]


@pytest.mark.parametrize("account_id", ACCOUNTS)
@pytest.mark.parametrize("is_ascending", [True, False])
async def test_fills_are_paged_by_event_from_either_end(
    filled: TransactionalDatabase, driver: VenueDriver, account_id: int, is_ascending: bool
) -> None:
    expected = fills_of(driver, account_id)
    assert len(expected) > 10
    found: list[OrderReport] = []
    last: int | None = None
    while True:
        window = Window(
            after=last if is_ascending else None,
            before=None if is_ascending else last,
            is_ascending=is_ascending,
            limit=5,
        )
        page = await filled.activity.fills(account_id, window)
        if not page:
            break
        found += page
        last = page[-1].event_sequence
    assert sorted(found, key=key_of) == sorted(expected, key=key_of)
    sequences = [report.event_sequence for report in found]
    assert sequences == sorted(sequences, reverse=not is_ascending)


def key_of(report: OrderReport) -> tuple[int, int]:
    return report.event_sequence, report.order.order_id


async def test_fills_of_a_time_are_those_in_it(filled: TransactionalDatabase, driver: VenueDriver) -> None:
    expected = fills_of(driver, ACCOUNTS[0])
    since, until = (expected[len(expected) * part // 4].order.updated_ns for part in (1, 3))
    found = await filled.activity.fills(
        ACCOUNTS[0], Window(since_ns=since, until_ns=until, is_ascending=True, limit=500)
    )
    assert found == [report for report in expected if since <= report.order.updated_ns < until]


@pytest.mark.parametrize("account_id", ACCOUNTS)
async def test_what_was_traded_is_summed_by_instrument(
    filled: TransactionalDatabase, driver: VenueDriver, account_id: int
) -> None:
    fills = fills_of(driver, account_id)
    after = fills[len(fills) // 2].event_sequence
    expected: dict[int, Traded] = {}
    for fill in (report.fill for report in fills if report.event_sequence > after):
        assert fill is not None
        sign, known = (1 if fill.side is Side.BUY else -1), expected.get(fill.instrument_id, Traded(0, 0))
        lots = sign * fill.quantity_lots
        expected[fill.instrument_id] = Traded(known.lots + lots, known.value + lots * fill.price_ticks)
    assert await filled.activity.traded(account_id, after=after) == expected


@pytest.mark.parametrize("account_id", ACCOUNTS)
async def test_cash_is_told_by_kind_as_it_moved(
    filled: TransactionalDatabase, driver: VenueDriver, account_id: int
) -> None:
    entries = await filled.activity.cash(account_id, ("deposit", "withdrawal"), Window(is_ascending=True, limit=500))
    adjusted = [
        (sequence, event.currency, event.amount)
        for batch in driver.batches
        for sequence, event in enumerate(batch.events, batch.first_event_sequence)
        if isinstance(event, CashAdjusted) and event.account_id == account_id
    ]
    assert [(entry.event_sequence, entry.currency, entry.amount) for entry in entries] == adjusted
    everything = await filled.activity.cash(
        account_id, ("deposit", "withdrawal", "trade", "fee", "rebate"), Window(limit=5_000)
    )
    state = await filled.trading.account_state(account_id)
    # Trades with oneself move nothing.
    traded_with_itself = await own_trades(driver, account_id)
    moved = sum(entry.amount for entry in everything if (entry.event_sequence, entry.kind) not in traded_with_itself)
    assert moved == state.cash[0].balance


async def own_trades(driver: VenueDriver, account_id: int) -> set[tuple[int, str]]:
    return {
        (sequence, "trade")
        for batch in driver.batches
        for sequence, event in enumerate(batch.events, batch.first_event_sequence)
        if isinstance(event, TradeExecuted) and event.maker_account_id == event.taker_account_id == account_id
    }


class Forwards:
    """An account's worth, event by event."""

    def __init__(self, account_id: int) -> None:
        self.account_id = account_id
        self.cash = 0
        self.lots: dict[int, int] = {}
        self.prices = {instrument.instrument_id: instrument.reference_price_ticks for instrument in INSTRUMENTS}

    def apply(self, event: Any) -> None:
        match event:
            case TradeExecuted():
                self.prices[event.instrument_id] = event.price_ticks
            case CashChanged() if event.account_id == self.account_id:
                self.cash = event.balance
            case PositionChanged() if event.account_id == self.account_id:
                self.lots[event.instrument_id] = event.quantity_lots

    @property
    def equity(self) -> int:
        return self.cash + sum(
            self.lots.get(i.instrument_id, 0) * self.prices[i.instrument_id] * i.tick_value for i in INSTRUMENTS
        )


@pytest.mark.parametrize("account_id", ACCOUNTS)
@pytest.mark.parametrize(("interval_commands", "start_commands"), [(1, 0), (7, 70), (50, 200), (500, 0)])
async def test_equity_worked_out_backwards_is_what_it_was(
    filled: TransactionalDatabase, driver: VenueDriver, account_id: int, interval_commands: int, start_commands: int
) -> None:
    interval_ns, start_ns = interval_commands * COMMAND_NS, start_commands * COMMAND_NS
    count = (driver.batches[-1].time_ns - start_ns) // interval_ns + 1
    market_data = MarketData(lambda: 0)
    for instrument in INSTRUMENTS:
        market_data.add_market(Market(instrument))
    history = EquityHistory(
        VenueTrading([filled.trading]), VenueActivity([filled.activity]), market_data, INSTRUMENTS[0].currency
    )
    base, worth = await history.over(account_id, start_ns, interval_ns, count)
    forwards = Forwards(account_id)
    at_end: dict[int, int] = {}
    before = 0
    for batch in driver.batches:
        number = (batch.time_ns - start_ns) // interval_ns
        for event in batch.events:
            forwards.apply(event)
        if number < 0:
            before = forwards.equity
        at_end[number] = forwards.equity
    assert base == before
    equity, expected = before, []
    for number in range(count):
        equity = at_end.get(number, equity)
        expected.append(equity)
    assert [at.equity for at in worth] == expected
    if interval_commands == 1 and start_commands == 0:
        assert worth[-1].paid_in == paid_in_forwards(driver, account_id)


def paid_in_forwards(driver: VenueDriver, account_id: int) -> int:
    """Where each command has an interval of its own, what came from outside is the change of equity that no trade explains."""
    forwards, paid = Forwards(account_id), 0
    for batch in driver.batches:
        before = forwards.equity
        for event in batch.events:
            forwards.apply(event)
        if not any(isinstance(event, TradeExecuted) for event in batch.events):
            paid += forwards.equity - before
    return paid
