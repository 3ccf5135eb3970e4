"""From events to the ledger: double entry, one row for each movement of cash or of lots.

A row is a debit and a credit of the same amount, so no row, and no set of rows, can be out of balance: over all accounts the sum is zero
in each currency and each instrument. Clients' balances are what the venue owes them, so the account that is credited has more
afterwards, and the one that is debited less; amounts are above zero.

| Kind | Debit | Credit |
|---|---|---|
| deposit | outside | the account |
| withdrawal | the account | outside |
| trade | buyer (cash), seller (lots) | seller (cash), buyer (lots) |
| fee | who pays it | the venue's fee account |
| rebate | the venue's fee account | who gets it |
| transfer | the account; in transit; outside | in transit; outside (or, returned, the account); the account |
| brought_forward | outside (or the account, where it owes) | the account |

A transfer to another shard goes from the account into transit and, when the other shard has it, outside; one from another shard comes from
outside. `brought_forward` stands in place of what the ledger did not see: the balances when it began, in a database that is older than
it, or while a release without it was at work.

The venue's own word on each cash balance (`CashChanged`) has to be what the postings add up to; anything else is a bug or a lost event.
"""

from collections.abc import Iterable
from typing import Any

from trading_engine.venue.accounts import FEE_ACCOUNT_ID
from trading_engine.venue.events import (
    CashAdjusted,
    CashChanged,
    PositionAdjusted,
    TradeExecuted,
    TransferBegun,
    TransferCompleted,
    TransferReceived,
    TransferReturned,
)
from trading_engine.venue.terms import Side

OUTSIDE_ACCOUNT_ID = -1
"""Where deposits come from and withdrawals go to: not an account of the venue."""
TRANSIT_ACCOUNT_ID = -2
"""What is on its way to other shards."""

Posting = tuple[Any, ...]
"""The columns of `ledger`, in their order."""


class Postings:
    """Makes the rows, and keeps every account's cash."""

    def __init__(self, cash: dict[tuple[int, str], int], brought_forward: Iterable[Posting] = ()) -> None:
        self._cash = cash
        self._rows = list(brought_forward)
        self._event_sequence = 0
        self._entry_number = 0
        self._time_ns = 0

    def take(self) -> list[Posting]:
        """Everything that was posted since the last call."""
        rows, self._rows = self._rows, []
        return rows

    def adjust_cash(self, event: CashAdjusted, sequence: int, time_ns: int) -> None:
        self._begin(sequence, time_ns)
        kind = "deposit" if event.amount > 0 else "withdrawal"
        self._post_cash(kind, OUTSIDE_ACCOUNT_ID, event.account_id, event.currency, event.amount, event.reference)

    def begin_transfer(self, event: TransferBegun, sequence: int, time_ns: int) -> None:
        self._transfer(event, event.account_id, TRANSIT_ACCOUNT_ID, sequence, time_ns)

    def complete_transfer(self, event: TransferCompleted, sequence: int, time_ns: int) -> None:
        self._transfer(event, TRANSIT_ACCOUNT_ID, OUTSIDE_ACCOUNT_ID, sequence, time_ns)

    def return_transfer(self, event: TransferReturned, sequence: int, time_ns: int) -> None:
        self._transfer(event, TRANSIT_ACCOUNT_ID, event.account_id, sequence, time_ns)

    def receive_transfer(self, event: TransferReceived, sequence: int, time_ns: int) -> None:
        self._begin(sequence, time_ns)
        reference = f"shard {event.from_shard} number {event.number}"
        self._post_cash("transfer", OUTSIDE_ACCOUNT_ID, event.account_id, event.currency, event.amount, reference)

    def _transfer(
        self,
        event: TransferBegun | TransferCompleted | TransferReturned,
        debit: int,
        credit: int,
        sequence: int,
        time_ns: int,
    ) -> None:
        self._begin(sequence, time_ns)
        self._post_cash("transfer", debit, credit, event.currency, event.amount, event.transfer_id)

    def adjust_position(self, event: PositionAdjusted, sequence: int, time_ns: int) -> None:
        self._begin(sequence, time_ns)
        kind, lots = "deposit" if event.quantity_lots > 0 else "withdrawal", event.quantity_lots
        self._post(kind, OUTSIDE_ACCOUNT_ID, event.account_id, "", event.instrument_id, lots, event.reference)

    def trade(self, event: TradeExecuted, currency: str, value: int, sequence: int, time_ns: int) -> None:
        self._begin(sequence, time_ns)
        buyer, seller = event.taker_account_id, event.maker_account_id
        if event.aggressor_side is not Side.BUY:
            buyer, seller = seller, buyer
        self._post_cash("trade", buyer, seller, currency, value)
        self._post("trade", seller, buyer, "", event.instrument_id, event.quantity_lots)
        for account_id, fee in (
            (event.maker_account_id, event.maker_fee),
            (event.taker_account_id, event.taker_fee),
        ):
            self._post_cash("fee" if fee > 0 else "rebate", account_id, FEE_ACCOUNT_ID, currency, fee)

    def check(self, event: CashChanged, sequence: int) -> None:
        posted = self._cash.get((event.account_id, event.currency), 0)
        assert posted == event.balance, (sequence, event, posted)

    def _begin(self, sequence: int, time_ns: int) -> None:
        self._event_sequence, self._entry_number, self._time_ns = sequence, 0, time_ns

    def _post_cash(self, kind: str, debit: int, credit: int, currency: str, amount: int, reference: str = "") -> None:
        self._cash[debit, currency] = self._cash.get((debit, currency), 0) - amount
        self._cash[credit, currency] = self._cash.get((credit, currency), 0) + amount
        self._post(kind, debit, credit, currency, 0, amount, reference)

    def _post(
        self,
        kind: str,
        debit: int,
        credit: int,
        currency: str,
        instrument_id: int,
        amount: int,
        reference: str = "",
    ) -> None:
        """One row; where the amount is below zero, the other way round."""
        if amount == 0:
            return
        if amount < 0:
            debit, credit, amount = credit, debit, -amount
        self._entry_number += 1
        self._rows.append(
            (
                self._event_sequence,
                self._entry_number,
                kind,
                debit,
                credit,
                currency,
                instrument_id,
                amount,
                self._time_ns,
                reference,
            )
        )
