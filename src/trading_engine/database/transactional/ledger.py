"""The ledger's rows: what they add up to, and what has to be brought forward. What they mean is in `postings`."""

from typing import Any

from sqlalchemy import BigInteger, Connection, func, literal, select, union_all

from trading_engine.database.transactional.models import CashBalanceRow, LedgerRow, PositionRow, table_of
from trading_engine.database.transactional.postings import OUTSIDE_ACCOUNT_ID, Posting
from trading_engine.venue.accounts import FEE_ACCOUNT_ID

ledger = table_of(LedgerRow)
cash_balances, positions = table_of(CashBalanceRow), table_of(PositionRow)

LEDGER_STREAM = "events.0/ledger"
"""The row of `projection_state` that says which event the ledger has reached: a release without a ledger leaves it behind."""

Balances = dict[tuple[int, str, int], int]
"""(account_id, currency, 0), or (account_id, "", instrument_id) → balance; zeros are left out."""


def read_ledger_balances(connection: Connection) -> Balances:
    """What the entries of each account add up to. Reads all of the ledger."""
    sides = union_all(
        select(ledger.c.credit_account_id.label("account_id"), *_ASSET, ledger.c.amount),
        select(ledger.c.debit_account_id, *_ASSET, -ledger.c.amount),
    ).subquery("sides")
    key = (sides.c.account_id, sides.c.currency, sides.c.instrument_id)
    return _non_zero(connection, select(*key, func.sum(sides.c.amount)).group_by(*key))


def read_balances(connection: Connection) -> Balances:
    """What the tables of balances and positions say."""
    cash = select(cash_balances.c.account_id, cash_balances.c.currency, literal(0, BigInteger), cash_balances.c.balance)
    lots = select(
        positions.c.account_id, literal("").label("currency"), positions.c.instrument_id, positions.c.quantity_lots
    )
    return _non_zero(connection, cash) | _non_zero(connection, lots)


def read_brought_forward(connection: Connection, event_sequence: int, time_ns: int) -> list[Posting]:
    """Entries that lead from what the ledger says to the balances after this event."""
    posted, actual = read_ledger_balances(connection), read_balances(connection)
    entries: list[Posting] = []
    for key in sorted(actual.keys() | {key for key in posted if key[0] >= FEE_ACCOUNT_ID}):
        amount = actual.get(key, 0) - posted.get(key, 0)
        debit, credit = (OUTSIDE_ACCOUNT_ID, key[0]) if amount > 0 else (key[0], OUTSIDE_ACCOUNT_ID)
        if amount != 0:
            entry_number = len(entries) + 1
            entries.append(
                (event_sequence, entry_number, "brought_forward", debit, credit, *key[1:], abs(amount), time_ns, "")
            )
    return entries


_ASSET = (ledger.c.currency, ledger.c.instrument_id)


def _non_zero(connection: Connection, query: Any) -> Balances:
    return {(row[0], row[1], row[2]): int(row[3]) for row in connection.execute(query) if row[3] != 0}
