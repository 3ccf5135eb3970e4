"""The ledger: double entry, equal to the balances, and the audit log, on every backend."""

from collections import Counter
from typing import Any

import pytest
from sqlalchemy import Connection, delete, select, text

from support.random_market import ACCOUNTS, random_market
from support.venue_driver import AAPL, ALICE, BOB, BUY, MSFT, SELL, VenueDriver, open_venue
from trading_engine.database.connections import Use
from trading_engine.database.transactional import audit
from trading_engine.database.transactional.audit import Act, venue_acts
from trading_engine.database.transactional.database import TransactionalDatabase
from trading_engine.database.transactional.ledger import (
    LEDGER_STREAM,
    Balances,
    ledger,
    read_balances,
    read_ledger_balances,
)
from trading_engine.database.transactional.postings import OUTSIDE_ACCOUNT_ID, TRANSIT_ACCOUNT_ID
from trading_engine.database.transactional.projection import TransactionalProjection
from trading_engine.database.transactional.records import Page, Role, StatementLine
from trading_engine.database.transactional.trading import projection_state
from trading_engine.venue import commands as c
from trading_engine.venue.accounts import FEE_ACCOUNT_ID
from trading_engine.venue.events import CashChanged

NOW = 1_767_623_400_123_456_789


@pytest.fixture(scope="module")
def driver() -> VenueDriver:
    return random_market(seed=20_260_109, commands=400)


@pytest.fixture
async def filled(database: TransactionalDatabase, driver: VenueDriver) -> TransactionalDatabase:
    await TransactionalProjection(database).apply(driver.batches)
    return database


async def balances(database: TransactionalDatabase) -> tuple[Balances, Balances]:
    """Of the accounts, by the ledger and by their tables."""
    posted = await database.connections.run(Use.READ, read_ledger_balances)
    actual = await database.connections.run(Use.READ, read_balances)
    return {key: amount for key, amount in posted.items() if key[0] != OUTSIDE_ACCOUNT_ID}, actual


async def entries(database: TransactionalDatabase) -> list[tuple[Any, ...]]:
    columns = [column for column in ledger.c if column.name not in ("event_sequence", "entry_number", "time_ns")]
    query = select(*columns).order_by(ledger.c.event_sequence, ledger.c.entry_number)
    return await database.connections.run(Use.READ, lambda c: [tuple(row) for row in c.execute(query)])


async def test_ledger_of_every_account_adds_up_to_its_balances_and_the_venues(
    filled: TransactionalDatabase, driver: VenueDriver
) -> None:
    posted, actual = await balances(filled)
    assert posted == actual
    for account_id in (*ACCOUNTS, FEE_ACCOUNT_ID):
        cash = driver.venue.account(account_id).cash["USD"].quantity
        assert posted.get((account_id, "USD", 0), 0) == cash
    assert posted[FEE_ACCOUNT_ID, "USD", 0] != 0, "the market is to have paid fees"


async def test_ledger_of_all_accounts_adds_up_to_nothing_in_each_asset(filled: TransactionalDatabase) -> None:
    totals: Counter[tuple[str, int]] = Counter()
    for (_, currency, instrument_id), amount in (await filled.connections.run(Use.READ, read_ledger_balances)).items():
        totals[currency, instrument_id] += amount
    assert dict(totals) == {("USD", 0): 0, ("", AAPL.instrument_id): 0, ("", MSFT.instrument_id): 0}


@pytest.mark.parametrize("account_id", [*ACCOUNTS, FEE_ACCOUNT_ID])
async def test_statement_is_what_the_entries_of_a_period_come_to(
    filled: TransactionalDatabase, driver: VenueDriver, account_id: int
) -> None:
    times = sorted({batch.time_ns for batch in driver.batches})
    for start_ns, end_ns in ((0, times[-1] + 1), (times[50], times[-20]), (times[30], times[30]), (0, 0)):
        lines = await filled.trading.statement(account_id, start_ns, end_ns)
        assert list(lines) == await naive_statement(filled, account_id, start_ns, end_ns)
    everything = await filled.trading.statement(account_id, 0, times[-1] + 1)
    cash = sum(line.credits - line.debits for line in everything if line.currency == "USD")
    assert cash == driver.venue.account(account_id).cash["USD"].quantity


async def naive_statement(
    database: TransactionalDatabase, account_id: int, start_ns: int, end_ns: int
) -> list[StatementLine]:
    rows = await database.connections.run(Use.READ, lambda c: c.execute(select(ledger)).all())
    sums: dict[tuple[str, int, str], list[int]] = {}
    for row in rows:
        for account, sign in ((row.credit_account_id, 1), (row.debit_account_id, -1)):
            if account == account_id and row.time_ns < end_ns:
                numbers = sums.setdefault((row.currency, row.instrument_id, row.kind), [0, 0, 0, 0])
                if row.time_ns < start_ns:
                    numbers[0] += sign * row.amount
                else:
                    numbers[1 if sign > 0 else 2] += row.amount
                    numbers[3] += 1
    return [StatementLine(*key, *sums[key]) for key in sorted(sums)]


async def test_ledger_worked_example(database: TransactionalDatabase) -> None:
    """Deposits, a withdrawal, and a trade with a fee and a rebate of the maker."""
    driver = open_venue(accounts=(ALICE, BOB), lots=0, cash=10_000_000)
    driver.do(c.AdjustPosition(BOB, MSFT.instrument_id, 100, "delivery 7"))
    driver.do(c.AdjustCash(ALICE, "USD", -250, "wire 9"))
    before = len(driver.batches)
    driver.rest(BOB, SELL, 40, 50_000, instrument_id=2)
    driver.place(ALICE, BUY, 40, 50_000, instrument_id=2)
    assert len(driver.batches) > before
    await TransactionalProjection(database).apply(driver.batches)
    # MSFT has fees of 100 and 300 ppm; one lot at one tick is one cent: 2,000,000 cents of value.
    assert await entries(database) == [
        ("deposit", OUTSIDE_ACCOUNT_ID, ALICE, "USD", 0, 10_000_000, "opening"),
        ("deposit", OUTSIDE_ACCOUNT_ID, BOB, "USD", 0, 10_000_000, "opening"),
        ("deposit", OUTSIDE_ACCOUNT_ID, BOB, "", 2, 100, "delivery 7"),
        ("withdrawal", ALICE, OUTSIDE_ACCOUNT_ID, "USD", 0, 250, "wire 9"),
        ("trade", ALICE, BOB, "USD", 0, 2_000_000, ""),
        ("trade", BOB, ALICE, "", 2, 40, ""),
        ("fee", BOB, FEE_ACCOUNT_ID, "USD", 0, 200, ""),
        ("fee", ALICE, FEE_ACCOUNT_ID, "USD", 0, 600, ""),
    ]


async def test_ledger_of_transfers_to_and_from_other_shards(database: TransactionalDatabase) -> None:
    """One that arrives, one that comes back, one that is still in transit, and one from another shard."""
    driver = open_venue(accounts=(ALICE,), lots=0, cash=1_000)
    for transfer_id, amount in (("rent", 100), ("gift", 20), ("loan", 3)):
        driver.do(c.BeginTransfer(ALICE, transfer_id, "USD", amount, 1))
    driver.do(c.CompleteTransfer(1, 1, received=True))
    driver.do(c.CompleteTransfer(1, 2, received=False))
    driver.do(c.ReceiveTransfer(ALICE, "USD", 5, 2, 1))
    await TransactionalProjection(database).apply(driver.batches)
    assert await entries(database) == [
        ("deposit", OUTSIDE_ACCOUNT_ID, ALICE, "USD", 0, 1_000, "opening"),
        ("transfer", ALICE, TRANSIT_ACCOUNT_ID, "USD", 0, 100, "rent"),
        ("transfer", ALICE, TRANSIT_ACCOUNT_ID, "USD", 0, 20, "gift"),
        ("transfer", ALICE, TRANSIT_ACCOUNT_ID, "USD", 0, 3, "loan"),
        ("transfer", TRANSIT_ACCOUNT_ID, OUTSIDE_ACCOUNT_ID, "USD", 0, 100, "rent"),
        ("transfer", TRANSIT_ACCOUNT_ID, ALICE, "USD", 0, 20, "gift"),
        ("transfer", OUTSIDE_ACCOUNT_ID, ALICE, "USD", 0, 5, "shard 2 number 1"),
    ]
    posted = await database.connections.run(Use.READ, read_ledger_balances)
    assert posted[ALICE, "USD", 0] == 1_000 - 100 - 3 + 5
    assert posted[TRANSIT_ACCOUNT_ID, "USD", 0] == 3


async def test_ledger_that_a_release_without_it_left_behind_is_brought_forward(
    database: TransactionalDatabase, driver: VenueDriver
) -> None:
    """First a database that never had one, then one whose last events it did not see."""
    third = len(driver.batches) // 3

    def as_if_never(connection: Connection) -> None:
        connection.execute(delete(ledger))
        connection.execute(delete(projection_state).where(projection_state.c.stream == LEDGER_STREAM))

    def as_if_half(connection: Connection) -> None:
        latest = driver.batches[third].last_event_sequence
        connection.execute(delete(ledger).where(ledger.c.event_sequence > latest))
        behind = projection_state.update().where(projection_state.c.stream == LEDGER_STREAM)
        connection.execute(behind.values(event_sequence=latest))

    await TransactionalProjection(database).apply(driver.batches[:third])
    for older_release, end in ((as_if_never, 2 * third), (as_if_half, 3 * third)):
        await database.connections.run(Use.WRITE, older_release)
        await TransactionalProjection(database).apply(driver.batches[:end])
        posted, actual = await balances(database)
        assert posted == actual
    kinds = [entry[0] for entry in await entries(database)]
    assert kinds[0] == "brought_forward"
    assert set(kinds) >= {"brought_forward", "trade", "fee"}


async def test_ledger_cash_that_the_venue_contradicts_stops_the_projection(database: TransactionalDatabase) -> None:
    market = open_venue(accounts=(ALICE,))
    projection = TransactionalProjection(database)
    reached = await projection.apply(market.batches)
    last = market.batches[-1]
    lost = type(last)(99, last.time_ns, "p", 1, reached + 1, (CashChanged(ALICE, "USD", 1, 0),))
    with pytest.raises(AssertionError):
        await projection.apply([lost])
    assert await projection.position() == reached


# The audit log


async def test_audit_log_holds_acts_newest_first_with_what_a_name_may_not_hold_replaced(
    database: TransactionalDatabase,
) -> None:
    acts = [Act(NOW + n, "olga", "login", f"user {n}", "OK", {"address": "::1"}) for n in range(5)]
    for act in acts:
        await database.audit.record(act)
    await database.audit.record(Act(NOW, "a\0b\ud800" + "c" * 200, "login", "x", "INVALID_CREDENTIALS"))
    first = await database.audit.acts(limit=4)
    assert first.items[0] == Act(NOW, "a?b?" + "c" * 96, "login", "x", "INVALID_CREDENTIALS")
    assert first.items[1:] == tuple(acts[:1:-1])
    assert first.next is not None
    assert await database.audit.acts(before=first.next, limit=4) == Page(tuple(acts[1::-1]), None)


async def assert_is_refused(database: TransactionalDatabase, statement: str) -> None:
    with pytest.raises(Exception, match="only appended to"):
        await database.connections.run(Use.WRITE, lambda connection: connection.execute(text(statement)))


@pytest.mark.parametrize("statement", ["UPDATE audit_log SET actor = 'nobody'", "DELETE FROM audit_log"])
async def test_audit_log_is_only_appended_to(database: TransactionalDatabase, statement: str) -> None:
    act = Act(NOW, "olga", "login", "olga")
    await database.audit.record(act)
    await assert_is_refused(database, statement)
    assert (await database.audit.acts()).items == (act,)


async def test_audit_log_lets_go_what_its_own_row_says_is_going_and_nothing_else(
    database: TransactionalDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit, "PURGED_AT_ONCE", 2)
    acts = [Act(NOW + n, "olga", "login", "olga") for n in range(8)]
    for act in acts:
        await database.audit.record(act)
    assert await database.audit.purge(NOW, NOW + 100) == 0
    assert (await database.audit.acts()).items == tuple(reversed(acts)), "nothing is said where nothing goes"
    assert await database.audit.purge(NOW + 5, NOW + 100) == 5
    said = [Act(NOW + 100, "audit-retention", "audit.purge", str(NOW + 5), detail={"acts": n}) for n in (1, 2, 2)]
    left = (*said, *reversed(acts[5:]))
    assert (await database.audit.acts()).items == left
    for statement in ("DELETE FROM audit_log", f"DELETE FROM audit_log WHERE time_ns >= {NOW + 5}"):
        await assert_is_refused(database, statement)
    assert (await database.audit.acts()).items == left


async def test_act_that_asks_for_no_purge_lets_nothing_go(database: TransactionalDatabase) -> None:
    acts = [
        Act(NOW, "audit-retention", "login", str(NOW + 10)),
        Act(NOW, "olga", "audit.purge", str(NOW + 10)),
    ]
    for act in acts:
        await database.audit.record(act)
    await assert_is_refused(database, "DELETE FROM audit_log")
    assert (await database.audit.acts()).items == tuple(reversed(acts))


async def test_act_is_recorded_with_the_change_or_not_at_all(database: TransactionalDatabase) -> None:
    act = Act(NOW, "admin", "user.create", "alice")
    await database.access.register("alice", "hash", Role.TRADER, NOW, act=act)
    with pytest.raises(Exception, match="taken"):
        await database.access.register("alice", "hash", Role.TRADER, NOW, act=act)
    assert (await database.audit.acts()).items == (act,)


async def test_venue_acts_name_who_sent_what_and_what_was_refused(database: TransactionalDatabase) -> None:
    driver = open_venue(accounts=(ALICE,))
    begun = driver.batches[-1].last_event_sequence
    driver.do(c.SuspendAccount(ALICE, True))
    driver.do(c.AdjustCash(ALICE, "USD", -(10**15), "too much"))
    driver.place(ALICE, BUY, 1, 100)
    await TransactionalProjection(database).apply(driver.batches)
    query = select(venue_acts).where(venue_acts.c.event_sequence > begun).order_by(venue_acts.c.event_sequence)
    rows = await database.connections.run(Use.READ, lambda connection: connection.execute(query).all())
    assert [(row.kind, row.account_id) for row in rows] == [("AccountSuspended", ALICE), ("CommandRefused", ALICE)]
    batch = driver.batches[-3]
    assert (rows[0].producer, rows[0].producer_sequence) == (batch.producer, batch.producer_sequence)
    assert rows[0].content == f"[5,{ALICE},true]"
