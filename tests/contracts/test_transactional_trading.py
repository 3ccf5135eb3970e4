"""Questions to what the projection wrote, each against the same answer worked out from the events in plain Python."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec
import pytest

from support.random_market import ACCOUNTS, INSTRUMENTS, random_market
from support.venue_driver import AAPL, ALICE, BOB, BUY, MSFT, SELL, VenueDriver, open_venue
from trading_engine.database.transactional.database import TransactionalDatabase
from trading_engine.database.transactional.projection import TransactionalProjection
from trading_engine.database.transactional.records import (
    AccountState,
    Candle,
    CashBalance,
    InstrumentState,
    Page,
    Position,
    Prevention,
    StartState,
    Statistics,
    Trade,
)
from trading_engine.database.transactional.trading import OrderSelection
from trading_engine.venue import commands as c
from trading_engine.venue.events import EventBatch, OrderAccepted, OrderCanceled, SelfTradePrevented, TradeExecuted
from trading_engine.venue.order_state import Fill, LiveOrders, OrderReport, OrderState
from trading_engine.venue.reasons import EndReason
from trading_engine.venue.terms import Contingency, OrderType, SelfTradePrevention, Side, TimeInForce, TradingPhase

SEED = 20_260_108
COMMANDS = 600


class Market:
    """A random market, and what its events say about orders and trades."""

    def __init__(self, driver: VenueDriver) -> None:
        self.driver = driver
        self.live = LiveOrders()
        self.reports: list[OrderReport] = []
        for batch in driver.batches:
            self.reports += self.live.apply(batch)
        self.orders = {report.order.order_id: report.order for report in self.reports}
        self.trades = trades_of(driver.batches)

    def fills(self, account_id: int) -> list[Fill]:
        """Newest first."""
        fills = [r.fill for r in self.reports if r.fill is not None and r.order.account_id == account_id]
        return fills[::-1]


def trades_of(batches: Sequence[EventBatch]) -> list[Trade]:
    return [
        Trade(
            event.trade_id,
            event.instrument_id,
            event.market_sequence,
            event.price_ticks,
            event.quantity_lots,
            event.aggressor_side,
            batch.time_ns,
            sequence,
        )
        for batch in batches
        for sequence, event in enumerate(batch.events, batch.first_event_sequence)
        if isinstance(event, TradeExecuted)
    ]


@pytest.fixture(scope="module")
def market() -> Market:
    return Market(random_market(SEED, COMMANDS))


@pytest.fixture
async def filled(database: TransactionalDatabase, market: Market) -> TransactionalDatabase:
    await TransactionalProjection(database).apply(market.driver.batches)
    return database


async def all_pages(ask: Callable[[int | None], Awaitable[Page[Any]]], limit: int) -> list[Any]:
    items: list[Any] = []
    key: int | None = None
    while True:
        page = await ask(key)
        assert len(page.items) <= limit + 1
        items += page.items
        if page.next is None:
            return items
        assert len(page.items) >= limit, "a page before the last one is full"
        key = page.next


async def test_start_state_is_what_the_venue_has(filled: TransactionalDatabase, market: Market) -> None:
    venue = market.driver.venue
    listed = tuple(
        InstrumentState(
            instrument, venue.phase(instrument.instrument_id), market_sequence(market, instrument.instrument_id)
        )
        for instrument in INSTRUMENTS
    )
    live = tuple(market.live.live[order_id] for order_id in sorted(market.live.live))
    assert len(live) == venue.open_order_count > 0
    assert await filled.trading.start_state() == StartState(venue.event_sequence, venue.time_ns, listed, live)
    assert await filled.trading.instruments() == listed
    assert await filled.trading.reached_sequence() == venue.event_sequence


def market_sequence(market: Market, instrument_id: int) -> int:
    return max(
        getattr(event, "market_sequence", 0)
        for batch in market.driver.batches
        for event in batch.events
        if getattr(event, "instrument_id", 0) == instrument_id
    )


async def test_empty_database_answers_with_nothing(database: TransactionalDatabase) -> None:
    trading = database.trading
    assert await trading.start_state() == StartState(0, 0, (), ())
    assert await trading.order(1) is None
    assert await trading.order_by_client_id(1, "x") is None
    assert await trading.orders(1) == Page((), None)
    assert await trading.fills(1) == Page((), None)
    assert await trading.trades(1) == Page((), None)
    assert await trading.order_reports(1, after=0) == Page((), None)
    assert await trading.account_state(1) == AccountState(0, (), ())
    assert await trading.candles(1, 60 * 10**9) == ()
    assert await trading.statistics(0) == ()


# Orders


async def test_order_by_id_is_as_its_last_event_left_it(filled: TransactionalDatabase, market: Market) -> None:
    assert [await filled.trading.order(order_id) for order_id in market.orders] == list(market.orders.values())


@pytest.mark.parametrize("status", ["open", "done", "all"])
@pytest.mark.parametrize("instrument_id", [None, MSFT.instrument_id])
async def test_orders_page_newest_first_with_filters(
    filled: TransactionalDatabase, market: Market, status: Any, instrument_id: int | None
) -> None:
    def is_asked_for(order: OrderState) -> bool:
        return (
            order.account_id == ALICE
            and (status == "all" or order.status.is_live == (status == "open"))
            and instrument_id in (None, order.instrument_id)
        )

    pages = await all_pages(
        lambda before: filled.trading.orders(
            ALICE, status=status, instrument_id=instrument_id, before_order_id=before, limit=3
        ),
        3,
    )
    expected = [market.orders[order_id] for order_id in sorted(market.orders, reverse=True)]
    assert pages == [order for order in expected if is_asked_for(order)]
    assert pages


async def test_order_by_client_id_is_the_newest_of_the_account(database: TransactionalDatabase) -> None:
    driver = open_venue()
    driver.rest(ALICE, BUY, 1, 100, client_order_id="mine")
    driver.rest(BOB, BUY, 1, 100, client_order_id="mine")
    projection = TransactionalProjection(database)
    await projection.apply(driver.batches)
    first = Market(driver).orders[1]
    assert await database.trading.order_by_client_id(ALICE, "mine") == first
    assert await database.trading.order_by_client_id(ALICE, "other") is None
    # The venue remembers names for long, so here is what its events look like when it has forgotten one.
    accepted = next(e for batch in driver.batches for e in batch.events if isinstance(e, OrderAccepted))
    events = (OrderCanceled(1, ALICE, 1, EndReason.REQUESTED), msgspec.structs.replace(accepted, order_id=3))
    last = driver.batches[-1]
    await projection.apply([EventBatch(99, last.time_ns, "test", 99, last.last_event_sequence + 1, events)])
    newest = await database.trading.order_by_client_id(ALICE, "mine")
    assert newest is not None
    assert newest.order_id == 3


# Reports and fills


@pytest.mark.parametrize("account_id", ACCOUNTS)
async def test_order_reports_replay_each_change_once_and_in_order(
    filled: TransactionalDatabase, market: Market, account_id: int
) -> None:
    mine = [report for report in market.reports if report.order.account_id == account_id]
    after = mine[len(mine) // 3].event_sequence
    pages = await all_pages(
        lambda key: filled.trading.order_reports(account_id, after=after if key is None else key, limit=7), 7
    )
    expected = [
        msgspec.structs.replace(report, before=None, prevention=None)
        for report in mine
        if report.event_sequence > after
    ]
    assert pages == expected


def preventions_of(batches: Sequence[EventBatch], account_id: int) -> dict[Prevention, SelfTradePrevented]:
    """With the events that they are told from."""
    found = {}
    for batch in batches:
        for sequence, event in enumerate(batch.events, batch.first_event_sequence):
            if isinstance(event, SelfTradePrevented) and event.maker_account_id == account_id:
                prevention = Prevention(
                    sequence,
                    batch.time_ns,
                    event.mode,
                    event.price_ticks,
                    event.maker_order_id,
                    event.maker_leaves_lots,
                    event.taker_order_id,
                    event.taker_leaves_lots,
                    event.prevented_lots if event.mode is SelfTradePrevention.DECREMENT else 0,
                )
                found[prevention] = event
    return found


async def test_preventions_are_those_of_the_events_by_order_and_by_event(
    filled: TransactionalDatabase, market: Market
) -> None:
    ask = filled.trading.preventions
    last: dict[int, int] = {}
    modes = set()
    for account_id in ACCOUNTS:
        expected = preventions_of(market.driver.batches, account_id)
        for prevention, event in expected.items():
            modes.add(prevention.mode)
            found = await ask(account_id, event.instrument_id, event_sequence=prevention.event_sequence)
            assert found == (prevention,)
            for order_id in (event.maker_order_id, event.taker_order_id):
                of_order = [each for each in expected if order_id in (each.maker_order_id, each.taker_order_id)]
                assert await ask(account_id, event.instrument_id, order_id=order_id) == tuple(of_order)
                later = await ask(
                    account_id,
                    event.instrument_id,
                    order_id=order_id,
                    from_event_sequence=prevention.event_sequence,
                    limit=2,
                )
                assert later == tuple(of_order[of_order.index(prevention) :][:2])
                last[order_id] = prevention.event_sequence
            strangers = [each for each in ACCOUNTS if each != account_id]
            assert await ask(strangers[0], event.instrument_id, event_sequence=prevention.event_sequence) == ()
    assert modes == set(SelfTradePrevention) - {SelfTradePrevention.NONE}
    assert await filled.trading.last_preventions(list(market.orders)) == last


async def test_replaced_orders_are_told_with_what_they_were(filled: TransactionalDatabase, market: Market) -> None:
    replaced = [report for report in market.reports if report.kind == "replaced"]
    assert replaced
    expected: dict[int, tuple[int, ...]] = {}
    for report in replaced:
        order = report.order
        expected[order.order_id] = (*expected.get(order.order_id, ()), report.event_sequence)
        before = await filled.trading.order_before(order.account_id, order.order_id, report.event_sequence)
        assert before == report.before
    assert await filled.trading.replaces(list(market.orders)) == expected
    often = max(expected, key=lambda order_id: len(expected[order_id]))
    states = [report.order for report in replaced if report.order.order_id == often]
    assert len(states) > 1
    ask, owner = filled.trading.replaced, states[0].account_id
    assert await ask(owner, often) == tuple(states)
    assert await ask(owner, often, from_event_sequence=states[1].event_sequence, limit=1) == (states[1],)
    assert await ask(next(each for each in ACCOUNTS if each != owner), often) == ()
    assert await filled.trading.replaces() == {key: expected[key] for key in expected if key in market.live.live}


async def test_orders_are_selected_by_what_was_asked_for(filled: TransactionalDatabase, market: Market) -> None:
    mine = [order for order in market.orders.values() if order.account_id == ACCOUNTS[0]][::-1]
    early, late = mine[-10].created_ns, mine[10].created_ns
    only = OrderSelection((AAPL.instrument_id,), SELL, early, late)
    page = await filled.trading.orders(ACCOUNTS[0], only=only, limit=1000)
    assert page.items
    assert list(page.items) == [
        order
        for order in mine
        if order.instrument_id == AAPL.instrument_id and order.side is SELL and early < order.created_ns <= late
    ]


async def test_orders_of_a_group_are_found_together(database: TransactionalDatabase) -> None:
    driver = open_venue()
    legs = [
        c.PlaceOrder(ALICE, "", AAPL.instrument_id, side, OrderType.LIMIT, TimeInForce.GTC, 1, price)
        for side, price in ((BUY, 90), (SELL, 110))
    ]
    driver.do(legs[0])
    driver.do(c.PlaceOrderGroup(ALICE, Contingency.OTO, tuple(legs)))
    driver.do(legs[0])
    await TransactionalProjection(database).apply(driver.batches)
    found = await database.trading.group_orders([2])
    assert [(order.order_id, order.group_id, order.contingency) for order in found] == [
        (2, 2, Contingency.OTO),
        (3, 2, Contingency.OTO),
    ]
    assert await database.trading.group_orders([1]) == ()


@pytest.mark.parametrize("account_id", ACCOUNTS)
async def test_fills_page_newest_first(filled: TransactionalDatabase, market: Market, account_id: int) -> None:
    pages = await all_pages(lambda before: filled.trading.fills(account_id, before=before, limit=5), 5)
    assert pages == market.fills(account_id)
    assert pages


async def test_fills_of_one_instrument_or_order(filled: TransactionalDatabase, market: Market) -> None:
    fills = market.fills(BOB)
    of_instrument = await filled.trading.fills(BOB, instrument_id=MSFT.instrument_id, limit=1_000)
    assert list(of_instrument.items) == [fill for fill in fills if fill.instrument_id == MSFT.instrument_id]
    order_id = fills[0].order_id
    of_order = await filled.trading.fills(BOB, order_id=order_id)
    assert list(of_order.items) == [fill for fill in fills if fill.order_id == order_id]


async def test_two_fills_of_one_event_are_never_parted(database: TransactionalDatabase) -> None:
    driver = open_venue()
    for _ in range(3):
        driver.rest(ALICE, SELL, 1, 100)
        driver.place(ALICE, BUY, 1, 100)
    await TransactionalProjection(database).apply(driver.batches)
    fills = Market(driver).fills(ALICE)
    page = await database.trading.fills(ALICE, limit=1)
    assert list(page.items) == fills[:2]
    assert page.next == fills[1].event_sequence
    assert await all_pages(lambda before: database.trading.fills(ALICE, before=before, limit=1), 1) == fills
    reports = await all_pages(lambda key: database.trading.order_reports(ALICE, after=key or 0, limit=1), 1)
    assert reports == Market(driver).reports


async def test_page_limit_is_cut_to_its_bounds(filled: TransactionalDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trading_engine.database.transactional.trading.PAGE_ROWS_MAX", 4)
    assert len((await filled.trading.orders(ALICE, limit=10**9)).items) == 4
    assert len((await filled.trading.orders(ALICE, limit=0)).items) == 1


# The account


async def test_account_state_agrees_with_the_venue(filled: TransactionalDatabase, market: Market) -> None:
    for account_id in ACCOUNTS:
        account = market.driver.venue.account(account_id)
        state = await filled.trading.account_state(account_id)
        cash = account.cash["USD"]
        assert state.event_sequence == market.driver.venue.event_sequence
        assert state.cash == (CashBalance(account_id, "USD", cash.quantity, cash.held),)
        assert [(p.instrument_id, p.quantity_lots, p.held_lots) for p in state.positions] == [
            (instrument_id, position.quantity, position.held)
            for instrument_id, position in sorted(account.positions.items())
        ]


async def test_what_all_accounts_gained_together_is_what_they_paid_in_fees(database: TransactionalDatabase) -> None:
    """Valued at any one price, what one gains by trading another loses. What they started with came in at no cost."""
    market = Market(random_market(SEED, COMMANDS, orders_only=True))
    await TransactionalProjection(database).apply(market.driver.batches)
    fees = sum(fill.fee for account_id in ACCOUNTS for fill in market.fills(account_id))
    gained = 0
    for account_id in ACCOUNTS:
        state = await database.trading.account_state(account_id)
        gained += sum(position.realized_pnl - position.cost for position in state.positions)
    assert gained == -fees < 0


async def test_position_worked_example(database: TransactionalDatabase) -> None:
    """Delivered at the last price, bought, sold: MSFT has fees of 100 and 300 ppm; one lot at one tick is one cent."""
    driver = open_venue(accounts=(ALICE, BOB), lots=0)
    driver.do(c.AdjustPosition(BOB, MSFT.instrument_id, 100))
    driver.rest(BOB, SELL, 40, 50_000, instrument_id=2)
    driver.place(ALICE, BUY, 40, 50_000, instrument_id=2)
    driver.do(c.AdjustPosition(ALICE, MSFT.instrument_id, 10))
    driver.rest(BOB, BUY, 20, 60_000, instrument_id=2)
    driver.place(ALICE, SELL, 20, 60_000, instrument_id=2)
    await TransactionalProjection(database).apply(driver.batches)
    alice = (await database.trading.account_state(ALICE)).positions[-1]
    bob = (await database.trading.account_state(BOB)).positions[-1]
    # Alice: 40 @ 500.00 as taker (fee 6.00), 10 delivered at 500.00, sold 20 @ 600.00 as taker (fee 3.60).
    assert alice == Position(ALICE, 2, 30, 0, 30 * 50_000, 20 * 10_000 - 600 - 360)
    assert str(alice.average_price_ticks(MSFT)) == "50000.0000"
    assert alice.unrealized_pnl(MSFT, 60_000) == 30 * 10_000
    # Bob: 100 delivered before there was any price, so at no cost; sold 40 @ 500.00 as maker (fee 2.00),
    # bought 20 @ 600.00 as maker (fee 1.20).
    assert bob == Position(BOB, 2, 80, 0, 20 * 60_000, 40 * 50_000 - 200 - 120)


# Public trades


async def test_trades_page_newest_first(filled: TransactionalDatabase, market: Market) -> None:
    expected = [trade for trade in reversed(market.trades) if trade.instrument_id == MSFT.instrument_id]
    pages = await all_pages(
        lambda before: filled.trading.trades(MSFT.instrument_id, before_trade_id=before, limit=10), 10
    )
    assert pages == expected
    assert pages


def candles_of(trades: Sequence[Trade], interval_ns: int) -> list[Candle]:
    buckets: dict[int, list[Trade]] = {}
    for trade in trades:
        buckets.setdefault(trade.time_ns // interval_ns * interval_ns, []).append(trade)
    return [
        Candle(
            open_ns,
            inside[0].price_ticks,
            max(trade.price_ticks for trade in inside),
            min(trade.price_ticks for trade in inside),
            inside[-1].price_ticks,
            sum(trade.quantity_lots for trade in inside),
            len(inside),
            sum(value_of(trade) for trade in inside),
            sum(trade.quantity_lots for trade in inside if trade.aggressor_side is Side.BUY),
            sum(value_of(trade) for trade in inside if trade.aggressor_side is Side.BUY),
        )
        for open_ns, inside in buckets.items()
    ]


def value_of(trade: Trade) -> int:
    return trade.price_ticks * trade.quantity_lots


@pytest.mark.parametrize("interval_ns", [1_000, 7_000, 50_000, 10**9])
async def test_candles_hold_every_trade_once(filled: TransactionalDatabase, market: Market, interval_ns: int) -> None:
    trades = [trade for trade in market.trades if trade.instrument_id == AAPL.instrument_id]
    assert list(await filled.trading.candles(AAPL.instrument_id, interval_ns, limit=1_000)) == candles_of(
        trades, interval_ns
    )


async def test_candles_window_starts_aligned_and_ends_before_the_end(
    filled: TransactionalDatabase, market: Market
) -> None:
    every = candles_of([trade for trade in market.trades if trade.instrument_id == 1], 10_000)
    start, end = every[3].open_ns, every[8].open_ns

    async def ask(**window: int) -> list[Candle]:
        return list(await filled.trading.candles(1, 10_000, **window))

    assert await ask(start_ns=start + 9_999, end_ns=end) == every[3:8]
    assert await ask(start_ns=start, end_ns=end + 1) == every[3:9], "a candle that opens before the end is shown whole"
    assert await ask(start_ns=every[-1].open_ns + 10_000) == []
    assert await ask(end_ns=every[0].open_ns) == []


async def test_candles_limit_counts_intervals_from_the_start_or_back_from_the_end(
    filled: TransactionalDatabase, market: Market
) -> None:
    every = candles_of([trade for trade in market.trades if trade.instrument_id == 1], 10_000)

    def within(opened: int, closed: int) -> list[Candle]:
        return [candle for candle in every if opened <= candle.open_ns < closed]

    newest = await filled.trading.candles(1, 10_000, limit=5)
    assert list(newest) == within(every[-1].open_ns - 40_000, every[-1].open_ns + 1)
    earlier = await filled.trading.candles(1, 10_000, end_ns=newest[0].open_ns, limit=5)
    assert earlier
    assert earlier[-1] == every[every.index(newest[0]) - 1], "paging back leaves no candle out"
    oldest = await filled.trading.candles(1, 10_000, start_ns=0, limit=5)
    assert list(oldest) == within(every[0].open_ns, every[0].open_ns + 50_000)


async def test_statistics_since_a_moment(filled: TransactionalDatabase, market: Market) -> None:
    since_ns = market.trades[len(market.trades) // 2].time_ns

    def expected(instrument_id: int) -> Statistics:
        trades = [trade for trade in market.trades if trade.instrument_id == instrument_id]
        window = [trade for trade in trades if trade.time_ns >= since_ns]
        prices = [trade.price_ticks for trade in window]
        volume = sum(trade.quantity_lots for trade in window)
        return Statistics(instrument_id, trades[-1], prices[0], max(prices), min(prices), volume, len(window))

    assert await filled.trading.statistics(since_ns) == (expected(1), expected(2))
    last = {trade.instrument_id: trade for trade in market.trades}
    quiet = tuple(Statistics(i, last[i], None, None, None, 0, 0) for i in (1, 2))
    assert await filled.trading.statistics(market.driver.venue.time_ns + 1) == quiet


# Integers


async def test_largest_integers_pass_through_unchanged(database: TransactionalDatabase) -> None:
    huge = msgspec.structs.replace(
        AAPL,
        notional_max=2**61,
        price_ticks_max=2**31 - 1,
        quantity_lots_max=2**31 - 1,
        name='Ünï "cödé" \\ \n \0 ${1}',
    )
    driver = open_venue((huge,), (ALICE, BOB), cash=2**61, lots=2**31)
    driver.rest(BOB, SELL, 2**30 - 1, 2**31 - 1)
    driver.place(ALICE, BUY, 2**30 - 1, 2**31 - 1, client_order_id="huge")
    await TransactionalProjection(database).apply(driver.batches)
    order = await database.trading.order_by_client_id(ALICE, "huge")
    assert order == Market(driver).orders[2]
    assert order.filled_value == (2**30 - 1) * (2**31 - 1)
    state = await database.trading.account_state(ALICE)
    assert state.cash[0].balance == 2**61 - (2**30 - 1) * (2**31 - 1)
    assert (await database.trading.instruments())[0] == InstrumentState(huge, TradingPhase.CONTINUOUS, 3)
