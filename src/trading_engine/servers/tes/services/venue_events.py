"""What one of several shards says, as the venue says it: with event sequences among those of all shards (`venue.shards`), and with balances
that are those of all shards together. So whoever is told of a change of cash need not know that there are shards.
"""

from collections.abc import Iterable

from msgspec.structs import replace

from trading_engine.database.transactional.records import CashBalance
from trading_engine.venue.events import AnyEvent, CashChanged, EventBatch
from trading_engine.venue.shards import number_before

Amounts = tuple[int, int]
"""Balance and what is held of it."""


class VenueCash:
    """Each account's on each shard, as of the last event of that shard."""

    def __init__(self) -> None:
        self._shards: dict[tuple[int, str], dict[int, Amounts]] = {}

    def load(self, shard: int, balances: Iterable[CashBalance]) -> None:
        for cash in balances:
            self.change(shard, cash.account_id, cash.currency, cash.balance, cash.held)

    def change(self, shard: int, account_id: int, currency: str, balance: int, held: int) -> Amounts:
        """Returns the sums over all shards."""
        shards = self._shards.setdefault((account_id, currency), {})
        shards[shard] = balance, held
        return sum(balance for balance, _ in shards.values()), sum(held for _, held in shards.values())


class ShardEvents:
    def __init__(self, shard: int, cash: VenueCash) -> None:
        self._shard = shard
        self._cash = cash

    def in_venue(self, batch: EventBatch) -> EventBatch:
        """Every batch of the shard has to come by, once and in order."""
        events = tuple(self._told(event) for event in batch.events)
        return replace(
            batch, first_event_sequence=number_before(self._shard) + batch.first_event_sequence, events=events
        )

    def _told(self, event: AnyEvent) -> AnyEvent:
        if not isinstance(event, CashChanged):
            return event
        balance, held = self._cash.change(self._shard, event.account_id, event.currency, event.balance, event.held)
        return replace(event, balance=balance, held=held)
